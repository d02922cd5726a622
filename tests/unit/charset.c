/* Labels and conversions of the Encoding Standard. */

#include "bridge.h"

#include <iconv.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static const char *name_of(const char *label)
{
    const char *name = charset_name(label, strlen(label));
    return name == NULL ? "" : name;
}

static void assert_reads(const char *label, const char *in, const char *want, long wrong)
{
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(charset_to_utf8(label, strlen(label), in, strlen(in), &out), wrong);
    assert_non_null(buf_text(&out));
    assert_string_equal(buf_text(&out), want);
    buf_free(&out);
}

static void labels_without_a_converter_are_always_known(void **state)
{
    (void)state; /* runs before charset_open() */
    assert_string_equal(name_of("utf-8"), "UTF-8");
    assert_string_equal(name_of("latin1"), "windows-1252");
    assert_string_equal(name_of("koi8-r"), "");
    charset_open();
    assert_string_equal(name_of("koi8-r"), "KOI8-R");
}

static void labels_mean_what_the_standard_says(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"UTF8", "UTF-8"},
        {"ascii", "windows-1252"},
        {"iso-8859-1", "windows-1252"},
        {"us-ascii", "windows-1252"},
        {"iso-8859-9", "windows-1254"},
        {"tis-620", "windows-874"},
        {"gb2312", "GBK"},
        {"gb18030", "gb18030"},
        {"sjis", "Shift_JIS"},
        {"ks_c_5601-1987", "EUC-KR"},
        {"big5-hkscs", "Big5"},
        {"logical", "ISO-8859-8-I"},
        {"visual", "ISO-8859-8"},
        {"866", "IBM866"},
        {"l9", "ISO-8859-15"},
        {" \tUTF-8\r\n", "UTF-8"},
        {"Windows-1251", "windows-1251"},
    };
    for (size_t i = 0; i < COUNT(pairs); i++) {
        assert_string_equal(name_of(pairs[i][0]), pairs[i][1]);
    }
}

static void labels_that_are_no_encoding_of_a_form_are_unknown(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      " ",
                                      "utf-16",
                                      "utf-16le",
                                      "ucs-2",
                                      "utf-7",
                                      "replacement",
                                      "x-user-defined",
                                      "latin",
                                      "l",
                                      "utf-8 utf8",
                                      "martian",
                                      "iso_8859-2:1987xxxxxxxxxxxxxxxxxxxxx"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_string_equal(name_of(bad[i]), "");
    }
    assert_null(charset_name("utf-8\0", 6));
    struct buf out;
    buf_init(&out, 10);
    assert_int_equal(charset_to_utf8("utf-16", 6, "a", 1, &out), -1);
    assert_int_equal(out.len, 0);
}

static void every_encoding_has_its_converter_here(void **state)
{
    (void)state;
    static const char *const names[] = {
        "UTF-8",        "IBM866",       "ISO-8859-2",   "ISO-8859-3",   "ISO-8859-4",     "ISO-8859-5",
        "ISO-8859-6",   "ISO-8859-7",   "ISO-8859-8",   "ISO-8859-8-I", "ISO-8859-10",    "ISO-8859-13",
        "ISO-8859-14",  "ISO-8859-15",  "ISO-8859-16",  "KOI8-R",       "KOI8-U",         "macintosh",
        "windows-874",  "windows-1250", "windows-1251", "windows-1252", "windows-1253",   "windows-1254",
        "windows-1255", "windows-1256", "windows-1257", "windows-1258", "x-mac-cyrillic", "GBK",
        "gb18030",      "Big5",         "EUC-JP",       "ISO-2022-JP",  "Shift_JIS",      "EUC-KR",
    };
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_string_equal(name_of(names[i]), names[i]);
        assert_reads(names[i], "Order 1: ~", "Order 1: ~", 0);
    }
}

static void text_becomes_what_was_typed(void **state)
{
    (void)state;
    assert_reads("windows-1252", "\x80\x9f\xe9\x81", "\xe2\x82\xac\xc5\xb8\xc3\xa9\xc2\x81", 0);
    assert_reads("iso-8859-15", "\xa4", "\xe2\x82\xac", 0);
    assert_reads("windows-1251", "\xcf\xf0\xe8", "\xd0\x9f\xd1\x80\xd0\xb8", 0);
    assert_reads("gbk", "\xc4\xe3\x80", "\xe4\xbd\xa0\xe2\x82\xac", 0);
    assert_reads("gb18030", "\x94\x39\xfc\x36", "\xf0\x9f\x98\x80", 0);
    assert_reads("big5", "\xa7\x41", "\xe4\xbd\xa0", 0);
    assert_reads("euc-jp", "\xa1\xc1\xad\xa1", "\xef\xbd\x9e\xe2\x91\xa0", 0);
    assert_reads("euc-jp", "\xfc\xe2\xb6\xb6\x8e\xb1\x8f\xb0\xa1", "髙橋ｱ丂", 0);
    assert_reads("iso-2022-jp", "\x1b$B|b66\x1b(J\\\x1b(I1\x1b(B\\", "髙橋¥ｱ\\", 0);
    assert_reads("big5", "\xa3\xe1", "€", 0);
    assert_reads("shift_jis", "\x81\x60\x87\x40\\", "\xef\xbd\x9e\xe2\x91\xa0\\", 0);
    assert_reads("euc-kr", "\xb0\xa1\x81\x41", "\xea\xb0\x80\xea\xb0\x82", 0);
    assert_reads("iso-2022-jp", "\x1b$B$\"\x1b(B!", "\xe3\x81\x82!", 0);
    assert_reads("windows-1258", "a\xcc", "\xc3\xa0", 0); /* composed, the same to Unicode */
}

static void a_table_holds_what_the_converter_says(void **state)
{
    (void)state;
    static const char *const names[] = {
        "IBM866",      "ISO-8859-2", "ISO-8859-3",  "ISO-8859-4",  "ISO-8859-5",  "ISO-8859-6",
        "ISO-8859-7",  "ISO-8859-8", "ISO-8859-10", "ISO-8859-13", "ISO-8859-14", "ISO-8859-15",
        "ISO-8859-16", "KOI8-R",     "KOI8-U",      "macintosh",
    };
    for (size_t i = 0; i < COUNT(names); i++) {
        iconv_t cd = iconv_open("UTF-8", names[i]);
        assert_true(cd != (iconv_t)-1);
        for (int byte = 1; byte < 256; byte++) {
            char in[] = {(char)byte, '\0'}, want[8] = "", *from = in, *to = want;
            size_t left = 1, room = sizeof want - 1;
            bool known = iconv(cd, &from, &left, &to, &room) != (size_t)-1;
            assert_reads(names[i], in, known ? want : "\xef\xbf\xbd", !known);
        }
        iconv_close(cd);
    }
}

static void what_means_nothing_is_replaced_and_counted(void **state)
{
    (void)state;
    assert_reads("utf-8", "a\xff\xc3\xa9\xe2\x82", "a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd", 3);
    assert_reads("shift_jis", "\x82", "\xef\xbf\xbd", 1);
    assert_reads("shift_jis",
                 "\xff"
                 "a",
                 "\xef\xbf\xbd"
                 "a",
                 1);
    assert_reads("gb18030", "\x80", "\xef\xbf\xbd", 1);
    assert_reads("euc-jp",
                 "\xa4\x8e\x8f\xa1\xa9\xa1"
                 "a",
                 "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                 "a",
                 4);
    assert_reads("iso-2022-jp", "\x1b(X\xa4", "\xef\xbf\xbd(X\xef\xbf\xbd", 2);
    assert_reads("iso-2022-jp", "\x1b$B$", "\xef\xbf\xbd", 1);
    assert_reads("iso-8859-7", "\xff\xe1", "\xef\xbf\xbd\xce\xb1", 1);
}

static void a_conversion_that_ended_half_way_leaves_no_state(void **state)
{
    (void)state;
    assert_reads("iso-2022-jp", "\x1b$B$\"", "\xe3\x81\x82", 0);
    assert_reads("iso-2022-jp", "$\"", "$\"", 0);
    assert_reads("big5", "\x88", "\xef\xbf\xbd", 1);
    assert_reads("big5", "a", "a", 0);
}

static void long_text_passes_through_in_pieces(void **state)
{
    (void)state;
    char in[5000];
    memset(in, '\xa4', sizeof(in));
    struct buf out;
    buf_init(&out, 3 * sizeof(in));
    assert_int_equal(charset_to_utf8("iso-8859-15", 11, in, sizeof(in), &out), 0);
    assert_true(buf_ok(&out));
    assert_int_equal(out.len, 3 * sizeof(in));
    for (size_t i = 0; i < out.len; i += 3) {
        assert_memory_equal(out.data + i, "\xe2\x82\xac", 3);
    }
    buf_free(&out);
}

static void output_beyond_the_ceiling_fails_the_buffer(void **state)
{
    (void)state;
    static const char *const labels[] = {"utf-8", "latin1", "koi8-r", "gbk"};
    for (size_t i = 0; i < COUNT(labels); i++) {
        for (size_t max = 0; max < 6; max++) {
            struct buf out;
            buf_init(&out, max);
            charset_to_utf8(labels[i], strlen(labels[i]), "abcdef", 6, &out);
            assert_false(buf_ok(&out));
            assert_true(out.len <= max);
            buf_free(&out);
        }
    }
}

static void utf8_is_told_from_what_only_looks_like_it(void **state)
{
    (void)state;
    assert_true(charset_is_utf8(NULL, 0));
    static const char *const good[] = {"a",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbd",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2"
                                      "a",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xe2\x82"
                                      "a",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xf0\x9f\x98"};
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_true(charset_is_utf8(good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(charset_is_utf8(bad[i], strlen(bad[i])));
    }
    assert_true(charset_is_utf8("a\0b", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_without_a_converter_are_always_known),
        cmocka_unit_test(labels_mean_what_the_standard_says),
        cmocka_unit_test(labels_that_are_no_encoding_of_a_form_are_unknown),
        cmocka_unit_test(every_encoding_has_its_converter_here),
        cmocka_unit_test(text_becomes_what_was_typed),
        cmocka_unit_test(a_table_holds_what_the_converter_says),
        cmocka_unit_test(what_means_nothing_is_replaced_and_counted),
        cmocka_unit_test(a_conversion_that_ended_half_way_leaves_no_state),
        cmocka_unit_test(long_text_passes_through_in_pieces),
        cmocka_unit_test(output_beyond_the_ceiling_fails_the_buffer),
        cmocka_unit_test(utf8_is_told_from_what_only_looks_like_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
