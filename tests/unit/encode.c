/* encode.c: bytes as lines of ASCII that every mail host and mailbox passes on unchanged. */

#include "bridge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct buf out;

static int setup(void **state)
{
    (void)state;
    buf_init(&out, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_free(&out);
    return 0;
}

static void assert_lines_at_most(size_t max)
{
    size_t len = 0;
    for (const char *s = buf_text(&out); *s != '\0'; s++) {
        len = *s == '\n' ? 0 : len + 1;
        assert_true(len <= max);
    }
}

/* ---- quoted-printable ------------------------------------------------------------------------ */

/* Lines are given with '\n' between them. */
static const char *qp(const char *text)
{
    struct buf_sink s;
    struct encode_qp q;
    buf_clear(&out);
    buf_sink(&s, &out);
    encode_qp_begin(&q, &s.sink);
    for (;;) {
        size_t n = strcspn(text, "\n");
        encode_qp_put(&q, text, n);
        if (text[n] == '\0') {
            break;
        }
        encode_qp_break(&q);
        text += n + 1;
    }
    assert_true(encode_qp_end(&q));
    return buf_text(&out);
}

static void test_qp_leaves_plain_text_readable(void **state)
{
    (void)state;
    assert_string_equal(qp("Hello, world: 1 < 2 & \"x\""), "Hello, world: 1 < 2 & \"x\"\n");
    assert_string_equal(qp("a\n\nb\n"), "a\n\nb\n");
}

static void test_qp_escapes_what_is_not_printable_ascii(void **state)
{
    (void)state;
    assert_string_equal(qp("1=2 \xC3\xA4 \r\x7F\x1B"), "1=3D2 =C3=A4 =0D=7F=1B\n");
}

static void test_qp_keeps_white_space_at_the_end_of_a_line(void **state)
{
    (void)state;
    assert_string_equal(qp("a \nb\t\n \n\t"), "a=20\nb=09\n=20\n=09\n");
    assert_string_equal(qp("a \t b"), "a \t b\n");
}

static void test_qp_line_never_begins_like_an_mbox_separator_or_the_end_of_smtp_data(void **state)
{
    (void)state;
    assert_string_equal(qp("From me\nfrom me\nFrom\n.\n..x\n>From x"),
                        "=46rom me\nfrom me\nFrom\n=2E\n=2E.x\n>From x\n");
}

static void test_qp_soft_breaks_protect_the_next_line_too(void **state)
{
    (void)state;
    char text[400];
    for (size_t shift = 0; shift < 80; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 5 < sizeof text; i += 5) {
            memcpy(text + i, i % 2 ? "From " : "....=", 5);
        }
        text[sizeof text - 5] = '\0';
        qp(text);
        assert_lines_at_most(76);
        assert_null(strstr(buf_text(&out), "\nFrom "));
        assert_null(strstr(buf_text(&out), "\n."));
    }
}

static void test_qp_long_lines_are_within_76(void **state)
{
    (void)state;
    for (size_t n = 60; n < 100; n++) {
        for (const char *filler = "x =.F\t"; *filler != '\0'; filler++) {
            char text[128];
            memset(text, *filler, n);
            text[n] = '\0';
            qp(text);
            assert_lines_at_most(76);
        }
    }
}

/* ---- base64 ---------------------------------------------------------------------------------- */

static const char *base64(const void *bytes, size_t len)
{
    struct buf_sink s;
    buf_clear(&out);
    buf_sink(&s, &out);
    assert_true(encode_base64(&s.sink, bytes, len));
    return buf_text(&out);
}

static void test_base64_known_answers(void **state)
{
    (void)state;
    assert_string_equal(base64("", 0), ""); /* RFC 4648 §10 */
    assert_string_equal(base64("f", 1), "Zg==\n");
    assert_string_equal(base64("fo", 2), "Zm8=\n");
    assert_string_equal(base64("foo", 3), "Zm9v\n");
    assert_string_equal(base64("foob", 4), "Zm9vYg==\n");
    assert_string_equal(base64("fooba", 5), "Zm9vYmE=\n");
    assert_string_equal(base64("foobar", 6), "Zm9vYmFy\n");
    assert_string_equal(base64("\xFF\xEF\xBE\x00", 4), "/+++AA==\n");
}

static int letter_value(char c)
{
    const char *alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    return (int)(strchr(alphabet, c) - alphabet);
}

static void test_base64_of_every_size_decodes_to_itself_in_lines_of_76(void **state)
{
    (void)state;
    unsigned char in[6000];
    unsigned char back[sizeof in + 3];
    for (size_t i = 0; i < sizeof in; i++) {
        in[i] = (unsigned char)(i * 7 + i / 251);
    }
    for (size_t size = 0; size <= sizeof in; size += size < 200 ? 1 : 53) {
        size_t letters = 0;
        size_t pads = 0;
        uint32_t bits = 0;
        for (const char *s = base64(in, size); *s != '\0'; s++) {
            if (*s == '\n') {
                continue;
            }
            pads += *s == '=' ? 1 : 0;
            bits = bits << 6 | (uint32_t)(*s == '=' ? 0 : letter_value(*s));
            if (++letters % 4 == 0) {
                unsigned char *three = back + letters / 4 * 3 - 3;
                three[0] = (unsigned char)(bits >> 16);
                three[1] = (unsigned char)(bits >> 8);
                three[2] = (unsigned char)bits;
            }
        }
        assert_int_equal(letters / 4 * 3 - pads, size);
        assert_memory_equal(back, in, size);
        assert_lines_at_most(76);
    }
}

struct failing_sink {
    struct sink sink;
    unsigned left;
};

static bool put_until_full(struct sink *s, const void *bytes, size_t len)
{
    (void)bytes;
    (void)len;
    struct failing_sink *f = (struct failing_sink *)s;
    return f->left > 0 && f->left-- > 0;
}

static void test_a_full_disk_is_reported(void **state)
{
    (void)state;
    static const char bytes[10000];
    struct failing_sink full = {{put_until_full}, 1};
    assert_false(encode_base64(&full.sink, bytes, sizeof bytes));
    full.left = 3;
    struct encode_qp q;
    encode_qp_begin(&q, &full.sink);
    encode_qp_put(&q, bytes, sizeof bytes);
    assert_false(encode_qp_end(&q));
}

/* ---- header fields --------------------------------------------------------------------------- */

static void test_header_folds_at_spaces(void **state)
{
    (void)state;
    encode_header(&out, "To",
                  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.com, bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb@example.com, "
                  "c@example.org");
    assert_string_equal(buf_text(&out), "To: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.com,\n"
                                        " bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb@example.com, c@example.org\n");
}

static void test_header_line_is_filled_to_78_and_no_further(void **state)
{
    (void)state;
    char value[100];
    for (size_t n = 60; n <= 72; n++) {
        buf_clear(&out);
        memset(value, 'x', n);
        memcpy(value + n, " y", 3);
        encode_header(&out, "Name", value);
        assert_lines_at_most(78);
        assert_true((strstr(buf_text(&out), "x y\n") != NULL) == (n <= 70));
    }
}

static void test_header_text_that_is_plain_stays_plain(void **state)
{
    (void)state;
    encode_header_text(&out, "Subject", "Order 5 = 2 ? from Ada");
    encode_header_text(&out, "Subject", "");
    assert_string_equal(buf_text(&out), "Subject: Order 5 = 2 ? from Ada\nSubject:\n");
}

static void test_header_text_is_encoded_where_it_must_be(void **state)
{
    (void)state;
    encode_header_text(&out, "Subject", "M\xC3\xBCller");
    encode_header_text(&out, "Subject", "=?x");
    assert_string_equal(buf_text(&out), "Subject: =?UTF-8?Q?M=C3=BCller?=\nSubject: =?UTF-8?Q?=3D=3Fx?=\n");
    char word[90];
    memset(word, 'x', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    encode_header_text(&out, "Subject", word);
    assert_lines_at_most(78);
}

static void test_encoded_words_hold_whole_characters_and_are_within_75(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        buf_clear(&out);
        char text[300] = "";
        memset(text, 'x', shift);
        for (size_t i = shift; i + 4 < sizeof text; i += 4) {
            memcpy(text + i, "\xF0\x9F\x98\x80", 5);
        }
        encode_header_text(&out, "Subject", text);
        assert_lines_at_most(78);
        size_t characters = 0;
        for (const char *s = strstr(buf_text(&out), "=?"); s != NULL; s = strstr(s, "=?UTF-8?Q?")) {
            const char *end = strstr(s + 10, "?=");
            assert_true(end + 2 - s <= 75);
            for (s += 10; s < end; characters++) {
                bool whole = *s == 'x' || strncmp(s, "=F0=9F=98=80", 12) == 0;
                assert_true(whole);
                s += *s == 'x' ? 1 : 12;
            }
        }
        assert_int_equal(characters, shift + (sizeof text - 1 - shift) / 4);
    }
}

/* ---- parameters ------------------------------------------------------------------------------ */

static const char *parameter(const char *value)
{
    buf_clear(&out);
    encode_parameter(&out, "filename", value);
    return buf_text(&out);
}

static const char *parameter_ascii(const char *value)
{
    buf_clear(&out);
    encode_parameter_ascii(&out, "name", value);
    return buf_text(&out);
}

static void test_parameter_forms(void **state)
{
    (void)state;
    assert_string_equal(parameter("photo 1.jpg"), ";\n filename=\"photo 1.jpg\"");
    assert_string_equal(parameter("a\"; x=\"b"), ";\n filename*=UTF-8''a%22%3B%20x%3D%22b");
    assert_string_equal(parameter("\xC3\xA4.txt"), ";\n filename*=UTF-8''%C3%A4.txt");
    assert_string_equal(parameter("100%'*"), ";\n filename*=UTF-8''100%25%27%2A");
}

static void test_parameter_pieces_are_short_and_hold_whole_characters(void **state)
{
    (void)state;
    char value[256];
    for (size_t i = 0; i < 255; i += 3) {
        memcpy(value + i, "\xE2\x82\xAC", 4);
    }
    parameter(value);
    assert_lines_at_most(78);
    const char *text = buf_text(&out);
    assert_non_null(strstr(text, ";\n filename*0*=UTF-8''%E2%82%AC"));
    assert_non_null(strstr(text, ";\n filename*14*=%E2%82%AC"));
    assert_null(strstr(text, "*15*"));
    assert_null(strstr(text, "*=%82"));
    assert_null(strstr(text, "*=%AC"));
}

static void test_parameter_in_ascii_keeps_the_extension(void **state)
{
    (void)state;
    assert_string_equal(parameter_ascii("\xC3\xA4\xE2\x82\xAC\"\\.txt"), ";\n name=\"____.txt\"");
    char value[120];
    memset(value, 'x', 100);
    memcpy(value + 100, ".docx", 6);
    parameter_ascii(value);
    assert_int_equal(out.len, strlen(";\n name=\"\"") + 60);
    assert_non_null(strstr(buf_text(&out), "xxx.docx\""));
    assert_string_equal(parameter_ascii(".x"), ";\n name=\".x\"");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_qp_leaves_plain_text_readable),
        TEST(test_qp_escapes_what_is_not_printable_ascii),
        TEST(test_qp_keeps_white_space_at_the_end_of_a_line),
        TEST(test_qp_line_never_begins_like_an_mbox_separator_or_the_end_of_smtp_data),
        TEST(test_qp_soft_breaks_protect_the_next_line_too),
        TEST(test_qp_long_lines_are_within_76),
        TEST(test_base64_known_answers),
        TEST(test_base64_of_every_size_decodes_to_itself_in_lines_of_76),
        TEST(test_a_full_disk_is_reported),
        TEST(test_header_folds_at_spaces),
        TEST(test_header_line_is_filled_to_78_and_no_further),
        TEST(test_header_text_that_is_plain_stays_plain),
        TEST(test_header_text_is_encoded_where_it_must_be),
        TEST(test_encoded_words_hold_whole_characters_and_are_within_75),
        TEST(test_parameter_forms),
        TEST(test_parameter_pieces_are_short_and_hold_whole_characters),
        TEST(test_parameter_in_ascii_keeps_the_extension),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
