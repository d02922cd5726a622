/*
 * PEM files (RFC 7468): certificates and keys as administrators keep them,
 * with whatever text around the blocks.
 */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_BLOCKS = 1024, /* a file of trust anchors has some 150 */
    PIECE = 4096,
};

bool pem_complain(const struct pem_source *source, const char *fmt, ...)
{
    char what[REASON_SIZE];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    text_fmt(source->why, source->why_size, "%s: %s", source->path, what);
    return false;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

struct decoder {
    struct pem *pem;
    br_pem_decoder_context br;
    struct buf blocks; /* of struct pem_block */
    bool inside;       /* the last of them is not complete yet */
    size_t line;       /* of the file, from 1 */
};

static struct pem_block *last_block(struct decoder *d)
{
    return (struct pem_block *)(void *)(d->blocks.data + d->blocks.len) - 1;
}

static void take_der(void *der, const void *bytes, size_t len)
{
    buf_put(der, bytes, len);
}

static bool begin_block(struct decoder *d)
{
    struct pem_block block = {.at = d->pem->der.len};
    text_copy(block.label, sizeof block.label, br_pem_decoder_name(&d->br));
    buf_put(&d->blocks, &block, sizeof block);
    if (!buf_ok(&d->blocks)) {
        return pem_complain(d->pem->source, "has more than %d PEM blocks, or there is no memory for them",
                            MAX_BLOCKS);
    }
    d->inside = true;
    br_pem_decoder_setdest(&d->br, take_der, &d->pem->der);
    return true;
}

static bool take_event(struct decoder *d)
{
    switch (br_pem_decoder_event(&d->br)) {
    case BR_PEM_BEGIN_OBJ: return begin_block(d);
    case BR_PEM_END_OBJ:
        last_block(d)->len = d->pem->der.len - last_block(d)->at;
        d->inside = false;
        return true;
    case BR_PEM_ERROR:
        return pem_complain(d->pem->source, "line %zu is damaged: not base64. Fetch or copy the file again",
                            d->line);
    default: return true;
    }
}

static bool take_bytes(struct decoder *d, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    while (len > 0) {
        size_t n = br_pem_decoder_push(&d->br, at, len);
        at += n;
        len -= n;
        if (!take_event(d)) {
            return false;
        }
    }
    return true;
}

/* One line. br_pem_decoder takes a CR or a space at its end for a part of the label, so it gets none. */
static bool take_line(struct decoder *d, const unsigned char *line, size_t len)
{
    while (len > 0 && line[len - 1] <= ' ') {
        len--;
    }
    return take_bytes(d, line, len) && take_bytes(d, "\n", 1);
}

static bool take_lines(struct decoder *d, const unsigned char *bytes, size_t len)
{
    while (len > 0) {
        const unsigned char *end = memchr(bytes, '\n', len);
        size_t line = end != NULL ? (size_t)(end - bytes) : len;
        size_t step = end != NULL ? line + 1 : line;
        d->line++;
        if (!take_line(d, bytes, line)) {
            return false;
        }
        bytes += step;
        len -= step;
    }
    if (d->inside) {
        return pem_complain(d->pem->source,
                            "ends inside a PEM block: its END line is missing. Fetch or copy the file again");
    }
    return buf_ok(&d->pem->der) || pem_complain(d->pem->source, "there is no memory for it");
}

static bool is_encrypted(const void *bytes, size_t len)
{
    static const char pkcs8[] = "-----BEGIN ENCRYPTED PRIVATE KEY";
    static const char legacy[] = "Proc-Type: 4,ENCRYPTED"; /* RFC 1421 §4.6.1.1 */
    return memmem(bytes, len, pkcs8, sizeof pkcs8 - 1) != NULL ||
           memmem(bytes, len, legacy, sizeof legacy - 1) != NULL;
}

bool pem_parse(struct pem *p, const struct pem_source *source, const void *bytes, size_t len)
{
    *p = (struct pem){.source = source};
    if (len > PEM_FILE_MAX) {
        return pem_complain(source, "is larger than %d bytes, too large for certificates or a key",
                            PEM_FILE_MAX);
    }
    if (len > 0 && is_encrypted(bytes, len)) {
        return pem_complain(source,
                            "holds an encrypted key, but formbridge starts unattended: decrypt it with "
                            "openssl pkey");
    }
    p->binary = len > 0 && *(const unsigned char *)bytes == DER_SEQUENCE;
    struct decoder d = {.pem = p};
    buf_init(&p->der, PEM_FILE_MAX);
    buf_init(&d.blocks, MAX_BLOCKS * sizeof(struct pem_block));
    br_pem_decoder_init(&d.br);
    bool ok = take_lines(&d, bytes, len);
    explicit_bzero(&d.br, sizeof d.br);
    p->blocks = (struct pem_block *)(void *)d.blocks.data;
    p->count = d.blocks.len / sizeof(struct pem_block);
    if (!ok) {
        pem_free(p);
    }
    return ok;
}

void pem_free(struct pem *p)
{
    buf_free(&p->der);
    free(p->blocks);
    *p = (struct pem){0};
}

struct der pem_der(const struct pem *p, size_t index)
{
    const struct pem_block *b = &p->blocks[index];
    return b->len > 0 ? der_read(p->der.data + b->at, b->len) : der_read(NULL, 0);
}

bool pem_is(const struct pem_block *b, const char *label)
{
    return strcmp(b->label, label) == 0;
}

bool pem_is_key(const struct pem_block *b)
{
    return strstr(b->label, "PRIVATE KEY") != NULL;
}

bool pem_is_cert(const struct pem_block *b)
{
    return pem_is(b, "CERTIFICATE") || pem_is(b, "X509 CERTIFICATE");
}

bool pem_without(const struct pem *p, const char *wanted)
{
    if (p->count > 0) {
        const char *label = p->blocks[0].label;
        return pem_complain(p->source, "has no %s in it, but %s", wanted,
                            label[0] != '\0' ? label : "something else");
    }
    if (p->binary) {
        return pem_complain(p->source,
                            "is binary (DER or PKCS #12) and must be PEM: convert it with openssl x509, "
                            "openssl pkey or openssl pkcs12");
    }
    return pem_complain(p->source, "has no %s in it: PEM is expected, with a line -----BEGIN ...-----",
                        wanted);
}

bool pem_put(struct buf *b, const char *label, const struct buf *der)
{
    size_t len = br_pem_encode(NULL, der->data, der->len, label, BR_PEM_LINE64);
    char *room = buf_room(b, len + 1); /* br_pem_encode ends with a NUL */
    if (room != NULL) {
        br_pem_encode(room, der->data, der->len, label, BR_PEM_LINE64);
        b->len += len;
    }
    return buf_ok(b);
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool check_file(const struct pem_source *source, int fd, bool secret)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return pem_complain(source, "cannot be read: %s", strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return pem_complain(source, "is not a regular file");
    }
    if (secret && (st.st_mode & (S_IWGRP | S_IWOTH | S_IROTH)) != 0) {
        return pem_complain(source,
                            "has mode %04o, but only its owner may write a private key and the world must "
                            "not read it: chmod 640 or 600",
                            (unsigned)(st.st_mode & 07777));
    }
    return true;
}

/* Up to one piece beyond the ceiling: pem_parse() says that it is too large. */
static bool read_file(const struct pem_source *source, int fd, struct buf *out)
{
    while (out->len <= PEM_FILE_MAX) {
        unsigned char *room = buf_room(out, PIECE);
        if (room == NULL) {
            return pem_complain(source, "there is no memory for it");
        }
        ssize_t n = read(fd, room, PIECE);
        if (n < 0) {
            return pem_complain(source, "cannot be read: %s", strerror(errno));
        }
        if (n == 0) {
            break;
        }
        out->len += (size_t)n;
    }
    return true;
}

bool pem_load(struct pem *p, const struct pem_source *source, bool secret)
{
    *p = (struct pem){.source = source};
    int fd =
        open(source->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a FIFO must not hold us up */
    if (fd < 0) {
        return pem_complain(source, "cannot be opened: %s", strerror(errno));
    }
    struct buf file;
    buf_init(&file, PEM_FILE_MAX + 2 * PIECE);
    bool ok = check_file(source, fd, secret) && read_file(source, fd, &file) &&
              pem_parse(p, source, file.data, file.len);
    buf_free(&file);
    close(fd);
    return ok;
}
