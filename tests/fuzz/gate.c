/*
 * The gate under arbitrary bytes: cutting the input differently changes
 * nothing, and whatever passes is one plain request after another to a
 * second, simpler reader.
 */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_HEAD = 1024, MAX_BODY = 200 };

struct verdict {
    struct buf out;
    unsigned status;
};

static void must(bool truth)
{
    if (!truth) {
        abort();
    }
}

/* The number of fields of that name; value and value_len are of the last. */
static unsigned fields(const char *head, const char *end, const char *name, const char **value,
                       size_t *value_len)
{
    unsigned n = 0;
    const char *line = memchr(head, '\n', (size_t)(end - head));
    for (line++; line < end; line = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1) {
        size_t len = strlen(name);
        if ((size_t)(end - line) > len && strncasecmp(line, name, len) == 0 && line[len] == ':') {
            n++;
            *value = line + len + 1;
            *value_len = (size_t)((const char *)memchr(line, '\r', (size_t)(end - line)) - *value);
        }
    }
    return n;
}

/* A head that has passed: checks it, returns the length of its body. */
static uint64_t check_head(const struct gate *g, const char *head, size_t len)
{
    const char *end = head + len;
    must(len >= 4 && len <= MAX_HEAD && memcmp(end - 4, "\r\n\r\n", 4) == 0);
    must(memmem(head, len - 1, "\r\n\r\n", 4) == NULL);
    must(strchr("\r\n\t ", head[0]) == NULL);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)head[i];
        must(c == '\t' || c == '\r' || c == '\n' || (c >= 0x20 && c != 0x7f));
        must(c != '\n' || (i > 0 && head[i - 1] == '\r'));
        must(c != '\r' || head[i + 1] == '\n');
        must(c != '\n' || i + 1 == len || (head[i + 1] != ' ' && head[i + 1] != '\t'));
    }
    const char *value = NULL;
    size_t value_len = 0;
    bool old =
        memmem(head, (size_t)((const char *)memchr(head, '\n', len) - head), " HTTP/1.0\r", 10) != NULL;
    unsigned hosts = fields(head, end, "Host", &value, &value_len);
    must(hosts == 1 || (hosts == 0 && old));
    must(fields(head, end, "Transfer-Encoding", &value, &value_len) == 0);
    unsigned lengths = fields(head, end, "Content-Length", &value, &value_len);
    must(lengths <= 1);
    must(g->post == (strncmp(head, "POST ", 5) == 0));
    must(lengths == 1 || !g->post);
    if (lengths == 0) {
        return 0;
    }
    char *stop;
    unsigned long body = strtoul(value, &stop, 10);
    must(body <= MAX_BODY && strspn(stop, " \t") == (size_t)(value + value_len - stop));
    return body;
}

/* Feeds it all in pieces whose sizes follow from seed; 0: in one. */
static void run(const uint8_t *data, size_t size, unsigned seed, struct verdict *v)
{
    struct gate g;
    uint64_t body_left = 0;
    buf_init(&v->out, size + 1);
    gate_init(&g, MAX_HEAD, MAX_BODY);
    for (size_t at = 0; at < size;) {
        const void *out;
        size_t out_len;
        seed = seed == 0 ? 0 : seed * 1103515245u + 12345u;
        size_t piece = seed == 0 ? size - at : 1 + (seed >> 16) % 9;
        piece = piece < size - at ? piece : size - at;
        size_t taken = gate_feed(&g, data + at, piece, &out, &out_len);
        must(taken <= piece && (taken > 0) == (g.state != GATE_REFUSED));
        if (taken == 0) {
            must(g.status >= 400 && g.why != NULL && out_len == 0);
            break;
        }
        if (out_len > 0 && body_left > 0) {
            must(out == data + at && out_len == taken && out_len <= body_left);
            body_left -= out_len;
        } else if (out_len > 0) {
            must(g.passed);
            body_left = check_head(&g, out, out_len);
        }
        must(g.body_left == body_left && (g.state == GATE_BODY) == (body_left > 0));
        buf_put(&v->out, out, out_len);
        at += taken;
    }
    /* What an answer is made by, also of a head that was cut off or refused. */
    struct span accept = gate_field(&g, "accept");
    const char *head = (const char *)g.head.data;
    must(accept.len == 0 || (accept.at >= head && accept.at + accept.len <= head + g.head.len));
    must(accept.len == 0 || memchr(accept.at, '\n', accept.len) == NULL);
    v->status = g.status;
    gate_free(&g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct verdict whole, cut;
    run(data, size, 0, &whole);
    for (unsigned seed = 1; seed < 4; seed++) {
        run(data, size, seed, &cut);
        must(cut.status == whole.status && cut.out.len == whole.out.len);
        must(whole.out.len == 0 || memcmp(cut.out.data, whole.out.data, whole.out.len) == 0);
        buf_free(&cut.out);
    }
    buf_free(&whole.out);
    return 0;
}
