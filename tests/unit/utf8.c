/* utf8.c: characters from hostile bytes. */

#include "bridge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_every_character_survives_a_round_trip(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c <= 0xDFFF) {
            continue;
        }
        unsigned char bytes[4];
        uint32_t back;
        size_t n = utf8_bytes(c, bytes);
        assert_int_equal(utf8_next(bytes, n, &back), n);
        assert_int_equal(back, c);
    }
}

static void test_what_is_not_utf8_is_one_replacement_a_byte(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80",
        "\xBF",
        "\xC0\x80",
        "\xC1\xBF",
        "\xE0\x80\x80",
        "\xE0\x9F\xBF",
        "\xED\xA0\x80",
        "\xED\xBF\xBF",
        "\xF0\x80\x80\x80",
        "\xF0\x8F",
        "\xF4\x90\x80\x80",
        "\xF5\x80",
        "\xF8\x88\x80\x80",
        "\xFE",
        "\xFF",
        "\xC3",
        "\xE2\x82",
        "\xF0\x9F\x98",
        "\xC3(",
        "\xE2(\xA1",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        uint32_t c = 0;
        assert_int_equal(utf8_next(bad[i], strlen(bad[i]), &c), 1);
        assert_int_equal(c, UTF8_REPLACEMENT);
    }
}

static void test_a_character_is_never_read_past_the_end(void **state)
{
    (void)state;
    uint32_t c;
    assert_int_equal(utf8_next("\xE2\x82\xAC", 2, &c), 1);
    assert_int_equal(c, UTF8_REPLACEMENT);
    assert_int_equal(utf8_next("\xE2\x82\xAC", 3, &c), 3);
    assert_int_equal(c, 0x20AC);
}

static void test_a_cut_falls_between_characters(void **state)
{
    (void)state;
    static const char text[] = "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"; /* lengths 1 2 3 4 */
    static const size_t expected[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    for (size_t max = 0; max < COUNT(expected); max++) {
        assert_int_equal(utf8_cut(text, strlen(text), max), expected[max]);
    }
}

static void test_classes(void **state)
{
    (void)state;
    static const struct {
        uint32_t c;
        enum utf8_class class;
    } cases[] = {
        {'a', UTF8_TEXT},
        {0xE4, UTF8_TEXT},
        {0x1F600, UTF8_TEXT},
        {0x200D, UTF8_TEXT},
        {UTF8_REPLACEMENT, UTF8_TEXT},
        {' ', UTF8_SPACE},
        {'\t', UTF8_SPACE},
        {0xA0, UTF8_SPACE},
        {0x3000, UTF8_SPACE},
        {'\n', UTF8_BREAK},
        {'\r', UTF8_BREAK},
        {0x85, UTF8_BREAK},
        {0x2028, UTF8_BREAK},
        {0x2029, UTF8_BREAK},
        {0, UTF8_CONTROL},
        {0x1B, UTF8_CONTROL},
        {0x7F, UTF8_CONTROL},
        {0x9B, UTF8_CONTROL},
        {0xFFFE, UTF8_CONTROL},
        {0x1FFFF, UTF8_CONTROL},
        {0xFDD0, UTF8_CONTROL},
        {0x202E, UTF8_BIDI},
        {0x2066, UTF8_BIDI},
        {0x200F, UTF8_BIDI},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(utf8_class(cases[i].c), cases[i].class);
    }
}

/* Folded twice is folded once, and what was folded is as much of a word as before. */
static void test_folding_is_to_small_letters_and_ends(void **state)
{
    (void)state;
    static const uint32_t pairs[][2] = {
        {'A', 'a'},     {'Z', 'z'},     {'[', '['},     {'@', '@'},     {0xC4, 0xE4},     {0xD7, 0xD7},
        {0xDF, 0xDF},   {0x130, 'i'},   {0x100, 0x101}, {0x101, 0x101}, {0x139, 0x13A},   {0x178, 0xFF},
        {0x17D, 0x17E}, {0x386, 0x3AC}, {0x388, 0x3AD}, {0x38C, 0x3CC}, {0x38F, 0x3CE},   {0x391, 0x3B1},
        {0x3A9, 0x3C9}, {0x3C2, 0x3C3}, {0x401, 0x451}, {0x410, 0x430}, {0x42F, 0x44F},   {0x48A, 0x48B},
        {0x4D0, 0x4D1}, {0x4C0, 0x4C0}, {0xFF21, 'a'},  {0xFF5A, 'z'},  {0x4E00, 0x4E00},
    };
    for (size_t i = 0; i < COUNT(pairs); i++) {
        assert_int_equal(utf8_fold(pairs[i][0]), pairs[i][1]);
    }
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        assert_int_equal(utf8_fold(utf8_fold(c)), utf8_fold(c));
        assert_int_equal(utf8_in_word(utf8_fold(c)), utf8_in_word(c));
    }
}

static void test_words_are_made_of_letters_and_digits(void **state)
{
    (void)state;
    static const uint32_t in[] = {'a',   'Z',   '0',    0xE4,  0x3B1,  0x436,
                                  0x5D0, 0x627, 0x4E00, 0x301, 0xFF21, 0xAC00};
    static const uint32_t not_in[] = {' ',
                                      '-',
                                      '_',
                                      '\'',
                                      0,
                                      0x7F,
                                      0xA0,
                                      0xAB,
                                      0xD7,
                                      0x2014,
                                      0x20AC,
                                      0x2665,
                                      0x3002,
                                      0xFE0F,
                                      0x1F600,
                                      0xFF01,
                                      UTF8_REPLACEMENT};
    for (size_t i = 0; i < COUNT(in); i++) {
        assert_true(utf8_in_word(in[i]));
    }
    for (size_t i = 0; i < COUNT(not_in); i++) {
        assert_false(utf8_in_word(not_in[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folding_is_to_small_letters_and_ends),
        cmocka_unit_test(test_words_are_made_of_letters_and_digits),
        cmocka_unit_test(test_every_character_survives_a_round_trip),
        cmocka_unit_test(test_what_is_not_utf8_is_one_replacement_a_byte),
        cmocka_unit_test(test_a_character_is_never_read_past_the_end),
        cmocka_unit_test(test_a_cut_falls_between_characters),
        cmocka_unit_test(test_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
