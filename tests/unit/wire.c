#include "bridge.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool feed(struct wire_reply *r, const char *line)
{
    return wire_reply_line(r, line, strlen(line));
}

static void a_reply_is_one_code_to_its_last_line(void **state)
{
    (void)state;
    struct wire_reply r;
    char text[64];
    wire_reply_init(&r);
    assert_true(feed(&r, "550-5.1.1 No such"));
    assert_false(r.done);
    assert_true(feed(&r, "550-5.1.1 user"));
    assert_true(feed(&r, "550 5.1.1 here"));
    assert_true(r.done);
    assert_int_equal(r.code, 550);
    wire_reply_text(&r, text, sizeof text);
    assert_string_equal(text, "550 5.1.1 No such user here");
    assert_false(feed(&r, "550 more"));
}

static void what_is_no_reply_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    "2",    "25",     "150 x",  "650 x",  "2a0 x",
                                      "abc", "250x", "250_ok", " 250 x", "-250 x", "\x32\xb2\xb0 x"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct wire_reply r;
        wire_reply_init(&r);
        assert_false(feed(&r, bad[i]));
    }
    struct wire_reply r;
    wire_reply_init(&r);
    assert_true(feed(&r, "250-a"));
    assert_false(feed(&r, "251 b"));
}

static void a_reply_without_text_is_a_reply(void **state)
{
    (void)state;
    struct wire_reply r;
    char text[8];
    wire_reply_init(&r);
    assert_true(feed(&r, "354"));
    assert_true(r.done);
    wire_reply_text(&r, text, sizeof text);
    assert_string_equal(text, "354");
}

static void a_reply_has_an_end(void **state)
{
    (void)state;
    struct wire_reply r;
    wire_reply_init(&r);
    size_t lines = 0;
    while (feed(&r, "250-x")) {
        lines++;
    }
    assert_in_range(lines, 50, 1000);
    char large[1900];
    memset(large, 'x', sizeof large);
    memcpy(large, "250-", 4);
    wire_reply_init(&r);
    for (lines = 0; wire_reply_line(&r, large, sizeof large); lines++) {
    }
    assert_in_range(lines, 2, 10);
}

static void control_characters_do_not_reach_the_log(void **state)
{
    (void)state;
    struct wire_reply r;
    char text[64];
    wire_reply_init(&r);
    assert_true(feed(&r, "550 a\tb\x1b[31m\xc3\xa4"));
    wire_reply_text(&r, text, sizeof text);
    assert_string_equal(text, "550 a?b?[31m??");
    char small[8];
    wire_reply_text(&r, small, sizeof small);
    assert_string_equal(small, "550 a?b");
}

static void enhanced_codes_are_recognised_exactly(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
    } cases[] = {
        {"5.1.1 x", 5},  {"2.0.0", 5}, {"4.999.999 x", 9}, {"5.1.1x", 0}, {"3.1.1 x", 0},
        {"5.1 x", 0},    {"5..1", 0},  {"5.1.", 0},        {"5", 0},      {"", 0},
        {"5.1000.1", 0}, {"51.1", 0},  {"5.1.1000", 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(wire_enhanced(cases[i].text, strlen(cases[i].text)), cases[i].len);
    }
}

static struct wire_caps caps_of(const char *const *lines, size_t count)
{
    struct wire_reply r;
    struct wire_caps c;
    wire_reply_init(&r);
    for (size_t i = 0; i < count; i++) {
        assert_true(feed(&r, lines[i]));
    }
    wire_caps_read(&c, &r);
    return c;
}

static void capabilities_are_read_in_any_case(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "250-mail.example.com STARTTLS",           "250-size 1000",  "250-Pipelining",
        "250-AUTH LOGIN plain SCRAM-SHA-256-PLUS", "250-X-STARTTLS", "250 8BITMIME"};
    struct wire_caps c = caps_of(lines, COUNT(lines));
    assert_int_equal(c.offers, CAP_SIZE | CAP_PIPELINING | CAP_AUTH | CAP_LOGIN | CAP_PLAIN | CAP_8BITMIME);
    assert_int_equal(c.size, 1000);
}

static void an_unreadable_size_is_no_limit(void **state)
{
    (void)state;
    static const char *const lines[] = {"250-m", "250 SIZE 99999999999999999999"};
    struct wire_caps c = caps_of(lines, COUNT(lines));
    assert_int_equal(c.offers, CAP_SIZE);
    assert_int_equal(c.size, 0);
}

/* Through the wire and back: what a server makes of our bytes, RFC 5321 §4.5.2. */
static void assert_body(const char *message, const char *wire)
{
    size_t len = strlen(message);
    for (size_t cut = 0; cut <= len; cut++) {
        struct buf out;
        struct wire_body body = {0};
        struct wire_scan scan;
        buf_init(&out, 1000);
        wire_scan_init(&scan);
        wire_body(&body, message, cut, &out);
        wire_body(&body, message + cut, len - cut, &out);
        wire_scan(&scan, message, cut);
        wire_scan(&scan, message + cut, len - cut);
        wire_body_end(&body, &out);
        wire_scan_end(&scan);
        assert_true(buf_equal(&out, wire));
        size_t stuffed = 0;
        for (const char *p = message; *p != '\0'; p++) {
            stuffed += *p == '.' && (p == message || p[-1] == '\n');
        }
        assert_null(scan.fault);
        assert_int_equal(scan.size, out.len - 3 - stuffed);
        buf_free(&out);
    }
}

static void bodies_are_stuffed_however_they_are_cut(void **state)
{
    (void)state;
    assert_body("", ".\r\n");
    assert_body("a\n", "a\r\n.\r\n");
    assert_body("a", "a\r\n.\r\n");
    assert_body(".\n..\n...a\nb.c\n", "..\r\n...\r\n....a\r\nb.c\r\n.\r\n");
    assert_body("\n\n.", "\r\n\r\n..\r\n.\r\n");
}

static const char *fault_of(const void *bytes, size_t len)
{
    struct wire_scan s;
    wire_scan_init(&s);
    wire_scan(&s, bytes, len);
    wire_scan_end(&s);
    return s.fault;
}

static void what_could_smuggle_a_message_is_refused(void **state)
{
    (void)state;
    assert_non_null(fault_of("a\r\n", 3));
    assert_non_null(fault_of("a\n\r.\n", 5));
    assert_non_null(fault_of("a\r", 2));
    assert_non_null(fault_of("a\0b\n", 4));
    assert_null(fault_of("a\n.\nb\n", 6));
}

static void lines_end_at_998_bytes(void **state)
{
    (void)state;
    char line[1001];
    memset(line, 'x', sizeof line);
    line[998] = '\n';
    assert_null(fault_of(line, 999));
    line[998] = 'x';
    line[999] = '\n';
    assert_non_null(fault_of(line, 1000));
}

static void eight_bits_are_told_apart_by_place(void **state)
{
    (void)state;
    struct wire_scan s;
    static const char body[] = "A: b\n\n\xc3\xa4\n", header[] = "A: \xc3\xa4\n\nb\n";
    wire_scan_init(&s);
    wire_scan(&s, body, sizeof body - 1);
    assert_true(s.eight_bit);
    assert_false(s.eight_bit_header);
    wire_scan_init(&s);
    wire_scan(&s, header, sizeof header - 1);
    assert_true(s.eight_bit_header);
}

static void a_path_holds_no_way_out(void **state)
{
    (void)state;
    static const char *const bad[] = {"a>b@c", "<a@b", "a b@c", "a\r\n@b", "a\t@b", "a\x7f@b"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(wire_path_ok(bad[i]));
    }
    assert_true(wire_path_ok("ada@example.com"));
    assert_true(wire_path_ok("\xc3\xa4@example.com"));
    char longest[MAIL_ADDRESS_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[MAIL_ADDRESS_MAX] = '\0';
    assert_true(wire_path_ok(longest));
    longest[MAIL_ADDRESS_MAX] = 'a';
    longest[MAIL_ADDRESS_MAX + 1] = '\0';
    assert_false(wire_path_ok(longest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_is_one_code_to_its_last_line),
        cmocka_unit_test(what_is_no_reply_is_refused),
        cmocka_unit_test(a_reply_without_text_is_a_reply),
        cmocka_unit_test(a_reply_has_an_end),
        cmocka_unit_test(control_characters_do_not_reach_the_log),
        cmocka_unit_test(enhanced_codes_are_recognised_exactly),
        cmocka_unit_test(capabilities_are_read_in_any_case),
        cmocka_unit_test(an_unreadable_size_is_no_limit),
        cmocka_unit_test(bodies_are_stuffed_however_they_are_cut),
        cmocka_unit_test(what_could_smuggle_a_message_is_refused),
        cmocka_unit_test(lines_end_at_998_bytes),
        cmocka_unit_test(eight_bits_are_told_apart_by_place),
        cmocka_unit_test(a_path_holds_no_way_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
