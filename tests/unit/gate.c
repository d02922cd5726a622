/* gate.c: what may pass as a request head, and what must not. */

#include "bridge.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_HEAD = 4096, MAX_BODY = 1000 };

#define HOST "Host: forms.example.com\r\n"
#define POST "POST /f/order HTTP/1.1\r\n" HOST

/* Feeds everything in pieces of at most step bytes and collects what comes out. */
static void feed(struct gate *g, const char *in, size_t len, size_t step, struct buf *out)
{
    size_t at = 0;
    while (at < len) {
        const void *run;
        size_t run_len;
        size_t piece = len - at < step ? len - at : step;
        size_t taken = gate_feed(g, in + at, piece, &run, &run_len);
        assert_true(taken <= piece);
        buf_put(out, run, run_len);
        if (taken == 0) {
            assert_int_equal(g->state, GATE_REFUSED);
            return;
        }
        at += taken;
    }
}

static unsigned status_of(const char *in, size_t len, size_t step, struct buf *out)
{
    struct gate g;
    gate_init(&g, MAX_HEAD, MAX_BODY);
    feed(&g, in, len, step, out);
    unsigned status = g.status;
    assert_int_equal(status != 0, g.state == GATE_REFUSED);
    assert_int_equal(status != 0, g.why != NULL);
    gate_free(&g);
    return status;
}

static void expect_bytes(const char *in, size_t len, unsigned status)
{
    struct buf whole, pieces;
    buf_init(&whole, 1 << 20);
    buf_init(&pieces, 1 << 20);
    unsigned got = status_of(in, len, len, &whole);
    if (got != status) {
        fail_msg("status %u instead of %u for: %.*s", got, status, (int)len, in);
    }
    for (size_t step = 1; step < 8; step++) {
        buf_clear(&pieces);
        assert_int_equal(status_of(in, len, step, &pieces), status);
        assert_int_equal(pieces.len, whole.len);
        if (whole.len > 0) {
            assert_memory_equal(pieces.data, whole.data, whole.len);
        }
    }
    if (status == 0) {
        assert_int_equal(whole.len, len);
        assert_memory_equal(whole.data, in, len);
    }
    buf_free(&whole);
    buf_free(&pieces);
}

static void expect(const char *in, unsigned status)
{
    expect_bytes(in, strlen(in), status);
}

static void one_clear_request_passes_unchanged(void **state)
{
    (void)state;
    expect("GET / HTTP/1.1\r\n" HOST "\r\n", 0);
    expect("GET /f/order?a=%20b&c={x} HTTP/1.1\r\nhost:forms.example.com:8443\r\n\r\n", 0);
    expect("GET / HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n", 0);
    expect("GET / HTTP/1.1\r\nHost: 192.0.2.1:\r\n\r\n", 0);
    expect("GET / HTTP/1.0\r\n\r\n", 0);
    expect("HEAD / HTTP/1.0\r\n" HOST "\r\n", 0);
    expect("OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 0);
    expect("OPTIONS /f/order HTTP/1.1\r\n" HOST "\r\n", 0);
    expect("DELETE /f/order HTTP/1.1\r\n" HOST "\r\n", 0);
    expect(POST "Content-Length: 0\r\n\r\n", 0);
    expect(POST "Content-Length: \t 5 \t\r\n\r\nab=cd", 0);
    expect(POST "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\na=", 0);
    expect("GET / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", 0);
    expect("GET / HTTP/1.1\r\n" HOST "X: \xc3\xa4\t\"~\"\r\nEmpty:\r\nUpgrade: h2c\r\n\r\n", 0);
}

static void what_can_be_read_in_two_ways_is_refused(void **state)
{
    (void)state;
    /* body length */
    expect(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nab=cd", 400);
    expect(POST "Content-Length: 5, 5\r\n\r\nab=cd", 400);
    expect(POST "Content-Length: +5\r\n\r\nab=cd", 400);
    expect(POST "Content-Length: -1\r\n\r\n", 400);
    expect(POST "Content-Length: 0x5\r\n\r\nab=cd", 400);
    expect(POST "Content-Length: 05\r\n\r\nab=cd", 400);
    expect(POST "Content-Length: 5 5\r\n\r\nab=cd", 400);
    expect(POST "Content-Length:\r\n\r\n", 400);
    expect(POST "Content-Length : 5\r\n\r\nab=cd", 400);
    expect(POST "Content-Length:\r\n 5\r\n\r\nab=cd", 400);
    expect(POST "Content-Length: 5\n\r\nab=cd", 400);
    expect(POST "Content-Length: 5\r\r\n\r\nab=cd", 400);
    expect(POST "X: y\rContent-Length: 5\r\n\r\nab=cd", 400);
    expect(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    expect(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    expect("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    /* host */
    expect("GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400);
    expect("GET / HTTP/1.1\r\n\r\n", 400);
    expect("GET / HTTP/1.0\r\n" HOST HOST "\r\n", 400);
    /* what the pages and the origin check rely on */
    expect(POST "Content-Type: a/b\r\ncontent-type: c/d\r\n\r\n", 400);
    expect(POST "Origin: https://a.example\r\nOrigin: null\r\n\r\n", 400);
    /* lines */
    expect("GET / HTTP/1.1\n" HOST "\r\n", 400);
    expect("GET / HTTP/1.1\r\n" HOST "\n", 400);
    expect("GET / HTTP/1.1\r\n X: y\r\n" HOST "\r\n", 400);
    expect("GET / HTTP/1.1\r\n" HOST "\tX: y\r\n\r\n", 400);
    expect("GET / HTTP/1.1\r\n" HOST "no colon\r\n\r\n", 400);
    expect("GET / HTTP/1.1\r\n" HOST ": no name\r\n\r\n", 400);
    expect("GET / HTTP/1.1\r\n" HOST "a b: c\r\n\r\n", 400);
}

static void a_body_of_unknown_length_is_refused(void **state)
{
    (void)state;
    expect(POST "\r\n", 411);
    expect(POST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411);
    expect(POST "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", 411);
    expect(POST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501);
    expect(POST "Transfer-Encoding: identity\r\n\r\n", 501);
    expect(POST "Transfer-Encoding:\r\n\r\n", 501);
}

static void a_bad_request_line_is_refused(void **state)
{
    (void)state;
    expect("GET /\r\n\r\n", 400);
    expect("GET  / HTTP/1.1\r\n" HOST "\r\n", 400);
    expect("GET / HTTP/1.1 \r\n" HOST "\r\n", 400);
    expect("GET / / HTTP/1.1\r\n" HOST "\r\n", 400);
    expect(" GET / HTTP/1.1\r\n" HOST "\r\n", 400);
    expect("GET\t/\tHTTP/1.1\r\n" HOST "\r\n", 400);
    expect("GET / http/1.1\r\n" HOST "\r\n", 400);
    expect("GET / HTTP/1.10\r\n" HOST "\r\n", 400);
    expect("GET / HTTP/1.2\r\n" HOST "\r\n", 505);
    expect("GET / HTTP/0.9\r\n" HOST "\r\n", 505);
    expect("GET / HTTP/2.0\r\n" HOST "\r\n", 505);
    expect("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    expect("G(T / HTTP/1.1\r\n" HOST "\r\n", 400);
    expect("ABCDEFGHIJKLMNOPQ / HTTP/1.1\r\n" HOST "\r\n", 501);
    expect("ABCDEFGHIJKLMNOP / HTTP/1.1\r\n" HOST "\r\n", 0);
    expect("TRACE / HTTP/1.1\r\n" HOST "\r\n", 501);
    expect("CONNECT forms.example.com:443 HTTP/1.1\r\n" HOST "\r\n", 501);
    expect("GET * HTTP/1.1\r\n" HOST "\r\n", 400);
    expect("GET f/order HTTP/1.1\r\n" HOST "\r\n", 400);
    expect("GET https://forms.example.com/ HTTP/1.1\r\n" HOST "\r\n", 400);
    expect("GET /#a HTTP/1.1\r\n" HOST "\r\n", 400);
    expect("GET /\x7f HTTP/1.1\r\n" HOST "\r\n", 400);
    expect("GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n", 400);
}

static void a_host_is_a_host(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",        "a b",   "a,b",          "user@a", "a/b",        "a:b",       "a:1:2",
        "a:65536", "::1",   "[::1",         "[]",     "[::1]x",     "[::1]:x",   "[a@b]",
        ":80",     "a%2eb", "\xc3\xa4.com", "a:-1",   "a:99999999", "https://a", "[fe80::1%25eth0]"};
    char request[256];
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_true(text_fmt(request, sizeof request, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", bad[i]));
        expect(request, 400);
    }
}

static void an_unknown_expectation_is_refused(void **state)
{
    (void)state;
    expect(POST "Expect: coffee\r\nContent-Length: 1\r\n\r\na", 417);
    expect(POST "Expect: 100-continue, x\r\nContent-Length: 1\r\n\r\na", 417);
    expect(POST "Expect:\r\nContent-Length: 1\r\n\r\na", 417);
}

static void no_control_character_passes(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char value[] = "GET / HTTP/1.1\r\n" HOST "X: a?b\r\n\r\n";
        char name[] = "GET / HTTP/1.1\r\n" HOST "a?b: c\r\n\r\n";
        *strchr(value, '?') = (char)c;
        *strchr(name, '?') = (char)c;
        bool text = c == '\t' || (c >= 0x20 && c != 0x7f);
        bool token = c > 0x20 && c < 0x7f && strchr("\"(),/;<=>?@[\\]{}", c) == NULL;
        expect_bytes(value, sizeof value - 1, text ? 0 : 400);
        expect_bytes(name, sizeof name - 1, token ? 0 : 400);
    }
}

static void the_ceilings_hold_to_the_byte(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int over = 0; over < 2; over++) {
        buf_clear(&b); /* the head */
        buf_str(&b, "GET / HTTP/1.1\r\n" HOST "X: ");
        while (b.len < (size_t)(MAX_HEAD - 4 + over)) {
            buf_byte(&b, 'x');
        }
        buf_str(&b, "\r\n\r\n");
        expect(buf_text(&b), over ? 431 : 0);

        buf_clear(&b); /* the number of fields, Host included */
        buf_str(&b, "GET / HTTP/1.1\r\n" HOST);
        for (int i = 0; i < 99 + over; i++) {
            buf_str(&b, "X: y\r\n");
        }
        buf_str(&b, "\r\n");
        expect(buf_text(&b), over ? 431 : 0);

        buf_clear(&b); /* the target */
        buf_str(&b, "GET /");
        for (int i = 0; i < 2047 + over; i++) {
            buf_byte(&b, 'x');
        }
        buf_str(&b, " HTTP/1.1\r\n" HOST "\r\n");
        expect(buf_text(&b), over ? 414 : 0);

        buf_clear(&b); /* the body */
        buf_fmt(&b, POST "Content-Length: %d\r\n\r\n", MAX_BODY + over);
        expect(buf_text(&b), over ? 413 : 0);
    }
    buf_clear(&b); /* a request line without end */
    while (b.len < (size_t)MAX_HEAD + 1) {
        buf_byte(&b, 'x');
    }
    expect(buf_text(&b), 414);
    buf_free(&b);
    expect(POST "Content-Length: 18446744073709551617\r\n\r\n", 413);
    expect(POST "Content-Length: 99999999999999999999999999\r\n\r\n", 413);
}

static void a_body_is_counted_and_the_next_head_found(void **state)
{
    (void)state;
    static const char both[] = POST "Content-Length: 27\r\n\r\nGET /inside HTTP/1.1\r\n\r\na=b"
                                    "GET /next HTTP/1.1\r\n" HOST "\r\n";
    expect(both, 0);
    struct gate g;
    const void *out;
    size_t out_len;
    gate_init(&g, MAX_HEAD, MAX_BODY);
    size_t taken = gate_feed(&g, both, strlen(both), &out, &out_len);
    const void *head = out;
    const size_t head_len = out_len;
    assert_int_equal(taken, out_len);
    assert_true(g.post);
    assert_int_equal(g.state, GATE_BODY);
    assert_int_equal(g.body_left, 27);
    taken += gate_feed(&g, both + taken, strlen(both) - taken, &out, &out_len);
    assert_int_equal(out_len, 27);
    assert_ptr_equal((const char *)out + out_len, both + taken);
    assert_memory_equal(head, both, head_len); /* so that it can be passed on with its body */
    assert_int_equal(g.state, GATE_HEAD);
    assert_int_equal(gate_feed(&g, both + taken, 3, &out, &out_len), 3);
    assert_int_equal(out_len, 0);
    taken += 3;
    taken += gate_feed(&g, both + taken, strlen(both) - taken, &out, &out_len);
    assert_int_equal(taken, strlen(both));
    assert_false(g.post);
    assert_int_equal(g.state, GATE_HEAD);
    gate_free(&g);
}

static void one_empty_line_before_a_head_is_dropped(void **state)
{
    (void)state;
    static const char after_post[] = POST "Content-Length: 1\r\n\r\nx\r\nGET / HTTP/1.1\r\n" HOST "\r\n";
    struct buf out;
    buf_init(&out, 4096);
    for (size_t step = 1; step < sizeof after_post; step++) {
        buf_clear(&out);
        assert_int_equal(status_of(after_post, strlen(after_post), step, &out), 0);
        assert_true(buf_equal(&out, POST "Content-Length: 1\r\n\r\nxGET / HTTP/1.1\r\n" HOST "\r\n"));
    }
    buf_free(&out);
    expect("\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 400);
    expect("\nGET / HTTP/1.1\r\n" HOST "\r\n", 400);
}

static void nothing_passes_after_a_request_that_closes(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        bool last;
    } cases[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: keep-alive\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: closed\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" HOST "connection: x ,\tCLOSE\r\n\r\n", true},
        {"GET / HTTP/1.1\r\n" HOST "Connection: keep-alive\r\nConnection: close\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", false},
        {POST "Connection: close\r\nContent-Length: 4\r\n\r\na=bc", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct gate g;
        struct buf out;
        gate_init(&g, MAX_HEAD, MAX_BODY);
        buf_init(&out, 4096);
        feed(&g, cases[i].head, strlen(cases[i].head), 4096, &out);
        assert_int_equal(g.last, cases[i].last);
        size_t before = out.len;
        feed(&g, "GET /more HTTP/1.1\r\n" HOST "\r\n", 20 + strlen(HOST) + 2, 4096, &out);
        assert_int_equal(out.len > before, !cases[i].last);
        assert_int_equal(g.state, GATE_HEAD);
        buf_free(&out);
        gate_free(&g);
    }
}

static void fields_can_be_read_of_what_was_refused(void **state)
{
    (void)state;
    static const struct {
        const char *in, *accept;
    } cases[] = {
        {"", ""},
        {"GET /", ""},
        {POST "Accept: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", "application/json"},
        {POST "aCCept:\t a b \t\r\nAccept: second\r\nContent-Length: x\r\n\r\n", "a b"},
        {POST "Accept: cut", ""},
        {POST "Accept: a\nX: y\r\n", "a"},
        {POST "Accepted: no\r\nX: Accept: no\r\n", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct gate g;
        struct buf out;
        buf_init(&out, 1 << 20);
        gate_init(&g, MAX_HEAD, MAX_BODY);
        feed(&g, cases[i].in, strlen(cases[i].in), 3, &out);
        struct span accept = gate_field(&g, "accept");
        assert_int_equal(accept.len, strlen(cases[i].accept));
        assert_true(accept.len == 0 || memcmp(accept.at, cases[i].accept, accept.len) == 0);
        buf_free(&out);
        gate_free(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_clear_request_passes_unchanged),
        cmocka_unit_test(what_can_be_read_in_two_ways_is_refused),
        cmocka_unit_test(a_body_of_unknown_length_is_refused),
        cmocka_unit_test(a_bad_request_line_is_refused),
        cmocka_unit_test(a_host_is_a_host),
        cmocka_unit_test(an_unknown_expectation_is_refused),
        cmocka_unit_test(no_control_character_passes),
        cmocka_unit_test(the_ceilings_hold_to_the_byte),
        cmocka_unit_test(a_body_is_counted_and_the_next_head_found),
        cmocka_unit_test(one_empty_line_before_a_head_is_dropped),
        cmocka_unit_test(nothing_passes_after_a_request_that_closes),
        cmocka_unit_test(fields_can_be_read_of_what_was_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
