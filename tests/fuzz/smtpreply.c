/* What a mail host may answer: replies, capabilities and challenges. */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_text(const struct wire_reply *r)
{
    char text[300];
    memset(text, 'x', sizeof text);
    wire_reply_text(r, text, sizeof text);
    size_t len = strnlen(text, sizeof text);
    require(len >= 3 && len < sizeof text);
    for (size_t i = 0; i < len; i++) {
        require(text[i] >= 0x20 && text[i] <= 0x7e);
    }
}

static void check_caps(const struct wire_reply *r)
{
    struct wire_caps c;
    wire_caps_read(&c, r);
    require(c.size == 0 || (c.offers & CAP_SIZE));
    require(!(c.offers & (CAP_PLAIN | CAP_LOGIN | CAP_SCRAM_SHA_256)) || (c.offers & CAP_AUTH));
}

/* A host that knows no password must never be believed. */
static void check_auth(const struct wire_reply *r, enum auth_mechanism mechanism)
{
    static const unsigned char random[18] = "0123456789abcdefg";
    struct auth a;
    const char *line;
    size_t len;
    auth_start(&a, mechanism, "website", "correct horse", random);
    bool going = true;
    for (size_t at = 0; going && wire_reply_each(r, &at, &line, &len);) {
        struct buf out;
        buf_init(&out, 16384);
        going = auth_step(&a, line, len, &out);
        require(going || a.why != NULL);
        require(mechanism != AUTH_SCRAM_SHA_256 || !a.proved);
        buf_free(&out);
    }
    auth_end(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_reply r;
    wire_reply_init(&r);
    bool good = true;
    while (size > 0 && good && !r.done) {
        const uint8_t *lf = memchr(data, '\n', size);
        size_t len = lf == NULL ? size : (size_t)(lf - data);
        unsigned code = r.code;
        good = wire_reply_line(&r, (const char *)data, len);
        require(!good || (r.code >= 200 && r.code < 600 && (code == 0 || code == r.code)));
        size -= lf == NULL ? len : len + 1;
        data += lf == NULL ? len : len + 1;
    }
    if (good && r.lines > 0) {
        check_text(&r);
        check_caps(&r);
        check_auth(&r, AUTH_PLAIN);
        check_auth(&r, AUTH_LOGIN);
        check_auth(&r, AUTH_SCRAM_SHA_256);
    }
    return 0;
}
