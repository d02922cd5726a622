/* text.c: what is a letter, a token, a number, and what fits. */

#include "bridge.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* All bytes but the NUL, in order. */
static void make_all(char all[256])
{
    for (int i = 1; i < 256; i++) {
        all[i - 1] = (char)i;
    }
    all[255] = '\0';
}

static void expect_class(bool (*is)(char), const char *members)
{
    char all[256];
    make_all(all);
    assert_false(is('\0'));
    for (size_t i = 0; i < 255; i++) {
        assert_int_equal(is(all[i]), strchr(members, all[i]) != NULL);
    }
}

#define DIGITS   "0123456789"
#define LETTERS  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define TOKEN    DIGITS LETTERS "!#$%&'*+-.^_`|~"
#define LATIN_AE "\xC4" /* a letter to a locale */

static void classes_are_those_of_ascii(void **state)
{
    (void)state;
    expect_class(text_digit, DIGITS);
    expect_class(text_letter, LETTERS);
    expect_class(text_alnum, DIGITS LETTERS);
}

static void only_capitals_of_ascii_become_small(void **state)
{
    (void)state;
    char all[256];
    make_all(all);
    for (size_t i = 0; i < 255; i++) {
        char capital = strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ", all[i]) != NULL ? 'a' - 'A' : 0;
        assert_int_equal(text_lower(all[i]), (char)(all[i] + capital));
    }
    assert_int_equal(text_lower('\0'), '\0');
}

static void a_digit_has_its_value_in_either_case(void **state)
{
    (void)state;
    static const char small[] = "0123456789abcdef", capital[] = "0123456789ABCDEF";
    for (int c = -128; c < 128; c++) {
        const char *at = c == 0 ? NULL : strchr(small, c);
        int value = at == NULL ? -1 : (int)(at - small);
        at = c == 0 ? NULL : strchr(capital, c);
        value = at == NULL ? value : (int)(at - capital);
        assert_int_equal(text_hex((char)c), value);
    }
}

static void no_set_holds_the_nul(void **state)
{
    (void)state;
    assert_true(text_one_of('b', "ab"));
    assert_false(text_one_of('c', "ab"));
    assert_false(text_one_of('\0', "ab"));
    assert_false(text_one_of('a', ""));
}

static void a_token_ends_where_another_byte_stands(void **state)
{
    (void)state;
    char all[256];
    make_all(all);
    for (size_t i = 0; i < 255; i++) {
        assert_int_equal(text_token(&all[i], 1), strchr(TOKEN, all[i]) != NULL);
    }
    assert_int_equal(text_token("name=x", 6), 4);
    assert_int_equal(text_token("name", 3), 3);
    assert_int_equal(text_token("na\0me", 5), 2);
    assert_int_equal(text_token("", 0), 0);
}

static void a_word_is_the_same_in_any_case(void **state)
{
    (void)state;
    assert_true(text_same("CoNtent-7", 9, "content-7"));
    assert_true(text_same("content-7", 9, "Content-7"));
    assert_true(text_same("", 0, ""));
    assert_true(text_same("abc", 2, "ab"));
    assert_false(text_same("abc", 3, "ab"));
    assert_false(text_same("a", 1, "ab"));
    assert_false(text_same("ab\0", 3, "ab"));
    assert_false(text_same("@", 1, "`")); /* as far apart as "A" and "a" */
    assert_false(text_same(LATIN_AE, 1, "\xE4"));
}

static void expect_trimmed(const char *text, size_t len, const char *left)
{
    struct span s = text_trim((struct span){text, len}, TEXT_SPACES);
    assert_int_equal(s.len, strlen(left));
    assert_memory_equal(s.at, left, s.len);
}

static void what_is_around_is_taken_away(void **state)
{
    (void)state;
    expect_trimmed(" \t a b\r\n", 8, "a b");
    expect_trimmed("a", 1, "a");
    expect_trimmed(" \t\r\n", 4, "");
    expect_trimmed(" a ", 1, "");
    assert_int_equal(text_trim((struct span){" \0 ", 3}, TEXT_SPACES).len, 1);
    assert_int_equal(text_trim((struct span){"\nb\n", 3}, TEXT_BLANKS).len, 3);
    assert_int_equal(text_trim(text_span(NULL), TEXT_BLANKS).len, 0);
    assert_int_equal(text_span("ab").len, 2);
}

static void a_number_is_digits_and_nothing_else(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "-1", "+1", " 1", "1 ", "1.0", "0x1", "12345678901234567890"};
    uint64_t n = 7;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        assert_false(text_number(wrong[i], strlen(wrong[i]), &n));
        assert_int_equal(n, 7);
    }
    assert_true(text_number("9999999999999999999", 19, &n));
    assert_true(n == UINT64_C(9999999999999999999));
    assert_true(text_number("007x", 3, &n));
    assert_int_equal(n, 7);
}

static void what_does_not_fit_is_said(void **state)
{
    (void)state;
    char out[4] = "xyz";
    assert_true(text_copy(out, sizeof out, "abc"));
    assert_string_equal(out, "abc");
    assert_false(text_copy(out, sizeof out, "abcd"));
    assert_string_equal(out, "");
    assert_false(text_copy(NULL, 0, ""));
    assert_true(text_fmt(out, sizeof out, "%d", 123));
    assert_string_equal(out, "123");
    assert_false(text_fmt(out, sizeof out, "%d", 1234));
    assert_string_equal(out, "123");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_are_those_of_ascii),
        cmocka_unit_test(only_capitals_of_ascii_become_small),
        cmocka_unit_test(a_digit_has_its_value_in_either_case),
        cmocka_unit_test(no_set_holds_the_nul),
        cmocka_unit_test(a_token_ends_where_another_byte_stands),
        cmocka_unit_test(a_word_is_the_same_in_any_case),
        cmocka_unit_test(what_is_around_is_taken_away),
        cmocka_unit_test(a_number_is_digits_and_nothing_else),
        cmocka_unit_test(what_does_not_fit_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
