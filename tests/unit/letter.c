/* letter.c: the text of the mail, in which nothing that was typed can pass for something else. */

#include "bridge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FOOTER "\n-- \nReceipt: 7K2M-Q9XD-4TRW\nForm: order\nReceived: 2026-11-21 23:52:16 UTC\n"

static struct form *form;
static struct buf raw;
static struct buf text;

static int setup(void **state)
{
    (void)state;
    const struct form_limits limits = {.body = 1 << 20, .fields = 20000, .files = 100};
    form = form_new(FORM_URLENCODED, NULL, NULL, &limits);
    buf_init(&raw, 16 << 20);
    buf_init(&text, 16 << 20);
    return form == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    form_free(form);
    buf_free(&raw);
    buf_free(&text);
    return 0;
}

static void start_again(void)
{
    teardown(NULL);
    assert_int_equal(setup(NULL), 0);
}

static struct field *add(const char *name, const char *value)
{
    struct field *f = form_add(form);
    assert_non_null(f);
    buf_str(&f->name, name);
    buf_str(&f->value, value);
    return f;
}

static unsigned char hex_digit(unsigned char c)
{
    return (unsigned char)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* RFC 2045 §6.7. */
static void decode(void)
{
    for (size_t i = 0; i < raw.len; i++) {
        const unsigned char *s = raw.data + i;
        if (*s != '=') {
            buf_byte(&text, *s);
        } else if (s[1] == '\n') {
            i++;
        } else {
            buf_byte(&text, (unsigned char)(hex_digit(s[1]) << 4 | hex_digit(s[2])));
            i += 2;
        }
    }
}

static const char *letter(void)
{
    char *none[] = {NULL};
    struct message m = {
        .form = "order", .ref = "7K2M-Q9XD-4TRW", .time = 1795305136, .to = none, .fields = form};
    struct buf_sink s;
    buf_clear(&raw);
    buf_clear(&text);
    buf_sink(&s, &raw);
    assert_true(letter_write(&m, &s.sink));
    decode();
    return buf_text(&text);
}

static void test_short_fields_stand_on_one_line_in_order(void **state)
{
    (void)state;
    add("name", "Ada");
    add("color", "red");
    add("color", "blue");
    add("comment", "");
    add("Stra\xC3\x9F"
        "e",
        " 5 ");
    assert_string_equal(letter(), "name: Ada\ncolor: red\ncolor: blue\ncomment:\nStra\xC3\x9F"
                                  "e:  5 \n" FOOTER);
}

static void test_an_empty_form_is_a_footer(void **state)
{
    (void)state;
    assert_string_equal(letter(), FOOTER);
}

static void test_every_kind_of_line_end_is_a_line_of_the_block(void **state)
{
    (void)state;
    add("a", "1\r\n2\n3\r4\n\r5\xC2\x85"
             "6\xE2\x80\xA8"
             "7\xE2\x80\xA9"
             "8\n");
    assert_string_equal(letter(), "a:\n  1\n  2\n  3\n  4\n  \n  5\n  6\n  7\n  8\n  \n" FOOTER);
}

static void test_a_value_cannot_pass_for_a_field_a_remark_or_the_footer(void **state)
{
    (void)state;
    add("note", "x\ntotal: 0\n(photo: attached, 1 byte, a.jpg)\n-- \nReceipt: none");
    assert_string_equal(
        letter(),
        "note:\n  x\n  total: 0\n  (photo: attached, 1 byte, a.jpg)\n  -- \n  Receipt: none\n" FOOTER);
}

static void test_a_label_cannot_pass_for_anything_else(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *label;
    } cases[] = {
        {"", "\"\""},
        {"a: b", "\"a: b\""},
        {"  a", "\"  a\""},
        {"a ", "\"a \""},
        {"(a", "\"(a\""},
        {"-- ", "\"-- \""},
        {"--", "\"--\""},
        {"\"a\"", "\"\\\"a\\\"\""},
        {"a:\\\"", "\"a:\\\\\\\"\""},
        {"a\\b", "a\\b"},
        {"\xE3\x80\x80"
         "a",
         "\"\xE3\x80\x80"
         "a\""},
        {"a\r\nb", "a\xE2\x90\x8D\xE2\x90\x8A"
                   "b"},
        {"\nb", "\xE2\x90\x8A"
                "b"},
        {"a\tb", "a\xE2\x90\x89"
                 "b"},
        {"a\xE2\x80\xA8"
         "b",
         "a\xE2\x90\xA4"
         "b"},
        {"a\xE2\x80\xAE"
         "b",
         "a\xEF\xBF\xBD"
         "b"},
        {"a\xFF", "a\xEF\xBF\xBD"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        start_again();
        add(cases[i].name, "v");
        char expected[256];
        assert_true(text_fmt(expected, sizeof expected, "%s: v\n" FOOTER, cases[i].label));
        assert_string_equal(letter(), expected);
    }
}

static void test_controls_are_pictures_and_text_is_exact(void **state)
{
    (void)state;
    struct field *f = add("a", "\x1B]0;x\x07\x7F\xC2\x9B\tx \xE2\x80\x8F\xF0\x9F\x98\x80\xFF");
    buf_byte(&f->value, 0);
    assert_string_equal(letter(), "a: \xE2\x90\x9B]0;x\xE2\x90\x87\xE2\x90\xA1\xEF\xBF\xBD\tx "
                                  "\xE2\x80\x8F\xF0\x9F\x98\x80\xEF\xBF\xBD\xE2\x90\x80\n" FOOTER);
}

static void test_a_long_value_is_a_block_and_is_not_wrapped(void **state)
{
    (void)state;
    char value[5000];
    for (size_t n = 70; n < 80; n++) {
        start_again();
        memset(value, 'x', n);
        value[n] = '\0';
        add("a", value);
        bool block = strncmp(letter(), "a:\n  x", 6) == 0;
        assert_int_equal(block, n > 75); /* "a: " and 75 make 78 */
    }
    start_again();
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    add("a", value);
    assert_memory_equal(letter(), "a:\n  ", 5);
    assert_memory_equal(buf_text(&text) + 5, value, sizeof value - 1);
    assert_memory_equal(buf_text(&text) + 5 + sizeof value - 1, "\n\n-- ", 5);
}

static void test_the_width_is_counted_in_characters(void **state)
{
    (void)state;
    char value[121] = "";
    for (size_t i = 0; i < 120; i += 2) {
        memcpy(value + i, "\xD0\xB6", 2);
    }
    add("a", value);
    assert_memory_equal(letter(), "a: \xD0\xB6", 5);
}

static void test_uploads_and_repairs_are_remarks(void **state)
{
    (void)state;
    struct field *f = add("photo", "");
    f->file = true;
    buf_str(&f->filename, "C:\\x\\photo.jpg");
    static const char zeros[12345];
    buf_put(&f->value, zeros, sizeof zeros);
    f = add("a:", "x");
    f->file = true;
    f = add("name", "M\xC3\xBCller");
    f->repaired = REPAIRED_CHARSET | REPAIRED_NUL;
    assert_string_equal(letter(),
                        "(photo: attached, 12,345 bytes, photo.jpg)\n"
                        "(\"a:\": attached, 1 byte, upload)\n"
                        "name: M\xC3\xBCller\n"
                        "(name: was not in the encoding that the form claimed; letters may be wrong)\n"
                        "(name: held bytes of value zero, shown as \xE2\x90\x80)\n" FOOTER);
}

static void test_ten_thousand_fields_are_all_there(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10000; i++) {
        char value[16];
        assert_true(text_fmt(value, sizeof value, "%u", i));
        add("n", value);
    }
    const char *at = letter();
    for (unsigned i = 0; i < 10000; i++) {
        char line[32];
        assert_true(text_fmt(line, sizeof line, "n: %u\n", i));
        assert_memory_equal(at, line, strlen(line));
        at += strlen(line);
    }
    assert_string_equal(at, FOOTER);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_short_fields_stand_on_one_line_in_order),
        TEST(test_an_empty_form_is_a_footer),
        TEST(test_every_kind_of_line_end_is_a_line_of_the_block),
        TEST(test_a_value_cannot_pass_for_a_field_a_remark_or_the_footer),
        TEST(test_a_label_cannot_pass_for_anything_else),
        TEST(test_controls_are_pictures_and_text_is_exact),
        TEST(test_a_long_value_is_a_block_and_is_not_wrapped),
        TEST(test_the_width_is_counted_in_characters),
        TEST(test_uploads_and_repairs_are_remarks),
        TEST(test_ten_thousand_fields_are_all_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
