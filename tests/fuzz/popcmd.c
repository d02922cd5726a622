/* What a client of the pickup may send: byte 0 is where it is cut. However it is cut, the session answers the same; no
 * command is understood as two; a PLAIN login that is taken has a user and a password of a length that fits. No mailbox
 * is opened and no password computed: a login is always wrong. */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SAID_MAX = 1 << 20 };

static void drive(struct popsession *s, struct buf *said)
{
    if (s->want == WANT_CHECK) {
        if (memchr(s->login.user, '\0', sizeof s->login.user) == NULL ||
            memchr(s->login.password, '\0', sizeof s->login.password) == NULL) {
            abort();
        }
        s->right = false;
        popsession_worked(s);
    }
    buf_put(said, s->out.data, s->out.len);
    buf_clear(&s->out);
    popsession_more(s);
    if (s->want != WANT_INPUT || s->out.len != 0 || s->state == POP_TRANSACTION) {
        abort();
    }
}

static void talk(const char *bytes, size_t len, size_t step, struct buf *said)
{
    static const struct pickup pickup = {.name = (char *)(uintptr_t) "orders"};
    struct popsession s;
    popsession_start(&s, &pickup);
    buf_init(said, SAID_MAX);
    drive(&s, said);
    for (size_t at = 0; at < len && s.state != POP_OVER;) {
        size_t piece = len - at < step ? len - at : step;
        size_t n = popsession_take(&s, bytes + at, piece);
        if (n == 0 || n > piece) {
            abort();
        }
        at += n;
        drive(&s, said);
    }
    popsession_end(&s);
}

static void parse(const char *line, size_t len)
{
    struct popcmd c;
    bool ok = popcmd_parse(&c, line, len);
    if (ok != (c.why == NULL)) {
        abort();
    }
    if (ok && c.text != NULL && (c.text < line || c.text + c.len != line + len) && c.verb != POP_AUTH) {
        abort();
    }
    struct popcmd_login l = {.user = ""};
    if (popcmd_plain(&l, line, len) &&
        (strlen(l.user) > POPCMD_USER_MAX || strlen(l.password) > POPCMD_PASSWORD_MAX)) {
        abort();
    }
}

/* The same message in pieces is the same on the wire, and as long as was counted. */
static void text(const char *bytes, size_t len, size_t step, uint64_t lines)
{
    struct poptext whole, cut;
    struct popcount count = {.octets = 0};
    struct buf a, b;
    buf_init(&a, SAID_MAX);
    buf_init(&b, SAID_MAX);
    poptext_top(&whole, lines);
    cut = whole;
    poptext_put(&whole, bytes, len, &a);
    poptext_end(&whole, &a);
    for (size_t at = 0; at < len; at += step) {
        size_t n = len - at < step ? len - at : step;
        poptext_put(&cut, bytes + at, n, &b);
        popcount_put(&count, bytes + at, n);
    }
    poptext_end(&cut, &b);
    if (a.len != b.len || memcmp(a.data, b.data, a.len) != 0 || memcmp(b.data + b.len - 3, ".\r\n", 3) != 0 ||
        popcount_end(&count) > 2 * len + 2) {
        abort();
    }
    buf_free(&a);
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 8192) {
        return 0;
    }
    const char *bytes = (const char *)data + 1;
    size_t len = size - 1, step = data[0] == 0 ? 1 : data[0];
    struct buf whole, cut;
    talk(bytes, len, len + 1, &whole);
    talk(bytes, len, step, &cut);
    if (whole.len != cut.len || memcmp(whole.data, cut.data, whole.len) != 0) {
        abort();
    }
    buf_free(&whole);
    buf_free(&cut);
    parse(bytes, len);
    text(bytes, len, step, data[0]);
    return 0;
}
