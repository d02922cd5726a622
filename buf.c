/* Bytes with a length, a ceiling and a sticky failure. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_borrow(struct buf *b, void *memory, size_t cap)
{
    *b = (struct buf){.data = memory, .cap = cap, .max = cap, .borrowed = true};
}

void buf_free(struct buf *b)
{
    if (b->data != NULL && !b->borrowed) {
        explicit_bzero(b->data, b->cap);
        free(b->data);
    }
    if (!b->borrowed) {
        b->data = NULL;
        b->cap = 0;
    }
    b->len = 0;
    b->failed = false;
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}

bool buf_ok(const struct buf *b)
{
    return !b->failed;
}

/* Moves by hand: realloc would leave the old bytes behind unwiped. */
static bool grow(struct buf *b, size_t need)
{
    size_t cap = b->cap < 64 ? 64 : b->cap;
    while (cap < need) {
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    }
    if (cap > b->max) {
        cap = b->max;
    }
    unsigned char *data = malloc(cap);
    if (data == NULL) {
        return false;
    }
    if (b->data != NULL) {
        memcpy(data, b->data, b->len);
        explicit_bzero(b->data, b->cap);
        free(b->data);
    }
    b->data = data;
    b->cap = cap;
    return true;
}

void *buf_room(struct buf *b, size_t len)
{
    if (b->failed) {
        return NULL;
    }
    if (len > b->max - b->len) {
        b->failed = true;
        return NULL;
    }
    if (len > b->cap - b->len && (b->borrowed || !grow(b, b->len + len))) {
        b->failed = true;
        return NULL;
    }
    return b->data == NULL ? NULL : b->data + b->len;
}

void buf_put(struct buf *b, const void *bytes, size_t len)
{
    if (len == 0) {
        return;
    }
    void *room = buf_room(b, len);
    if (room != NULL) {
        memcpy(room, bytes, len);
        b->len += len;
    }
}

void buf_byte(struct buf *b, unsigned char byte)
{
    buf_put(b, &byte, 1);
}

void buf_str(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

void buf_fmt(struct buf *b, const char *fmt, ...)
{
    va_list args;
    size_t left = b->failed ? 0 : b->cap - b->len; /* mostly enough, so that once will do */
    va_start(args, fmt);
    int need = vsnprintf(left > 0 ? (char *)b->data + b->len : NULL, left, fmt, args);
    va_end(args);
    if (need < 0) {
        b->failed = true;
        return;
    }
    if ((size_t)need >= left) {
        char *room = buf_room(b, (size_t)need + 1); /* vsnprintf ends with a NUL */
        if (room == NULL) {
            return;
        }
        va_start(args, fmt);
        vsnprintf(room, (size_t)need + 1, fmt, args);
        va_end(args);
    }
    b->len += (size_t)need;
}

void buf_hex(struct buf *b, const void *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *at = bytes;
    for (size_t i = 0; i < len; i++) {
        buf_byte(b, (unsigned char)digits[at[i] >> 4]);
        buf_byte(b, (unsigned char)digits[at[i] & 15]);
    }
}

const char *buf_text(struct buf *b)
{
    char *room = buf_room(b, 1);
    if (room == NULL) {
        return NULL;
    }
    *room = '\0';
    return (const char *)b->data;
}

bool buf_equal(const struct buf *b, const char *text)
{
    size_t len = strlen(text);
    return b->len == len && (len == 0 || memcmp(b->data, text, len) == 0);
}

struct span buf_span(const struct buf *b)
{
    return (struct span){(const char *)b->data, b->len};
}

static bool put_buf(struct sink *s, const void *bytes, size_t len)
{
    struct buf *b = ((struct buf_sink *)s)->buf;
    buf_put(b, bytes, len);
    return buf_ok(b);
}

void buf_sink(struct buf_sink *s, struct buf *b)
{
    s->sink.put = put_buf;
    s->buf = b;
}

static ssize_t read_some(int fd, void *bytes, size_t len)
{
    ssize_t n;
    do {
        n = read(fd, bytes, len);
    } while (n < 0 && errno == EINTR);
    return n;
}

bool buf_read(int fd, struct buf *out)
{
    unsigned char more = 0;
    ssize_t n = 1;
    while (n > 0 && out->len < out->max) {
        size_t left = out->max - out->len, len = left < 4096 ? left : 4096;
        void *room = buf_room(out, len);
        n = room != NULL ? read_some(fd, room, len) : -1;
        errno = room != NULL ? errno : ENOMEM;
        out->len += n > 0 ? (size_t)n : 0;
    }
    if (n > 0 && (n = read_some(fd, &more, 1)) > 0) { /* it takes no more: is there any? */
        errno = EFBIG;
        n = -1;
    }
    return n == 0;
}

bool buf_read_file(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    bool ok = buf_read(fd, out);
    int error = errno;
    close(fd);
    errno = error;
    return ok;
}
