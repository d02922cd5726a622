/* fieldtype.c: what is one of its type, and which comes first. */

#include "bridge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NOON = 1795305600 }; /* 2026-11-22 00:00:00 UTC */

static struct span span(const char *text)
{
    return (struct span){text, strlen(text)};
}

static void all_are(enum field_type type, bool ok, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fieldtype_ok(type, span(texts[i])) != ok) {
            fail_msg("\"%s\" is%s a %s", texts[i], ok ? " not" : "", fieldtype_name(type));
        }
    }
}

#define GOOD(type, ...)                                                                                      \
    do {                                                                                                     \
        static const char *const texts[] = {__VA_ARGS__};                                                    \
        all_are(type, true, texts, COUNT(texts));                                                            \
    } while (0)
#define BAD(type, ...)                                                                                       \
    do {                                                                                                     \
        static const char *const texts[] = {__VA_ARGS__};                                                    \
        all_are(type, false, texts, COUNT(texts));                                                           \
    } while (0)

static void addresses(void **state)
{
    (void)state;
    GOOD(FIELD_EMAIL, "ada@example.org", " ada+x@mail.example.org\r\n", "\u00FCrsula@ex\u00E4mple.org");
    BAD(FIELD_EMAIL, "", "ada", "ada@", "@example.org", "ada@localhost", "a@b@example.org",
        "Ada <ada@example.org>", "ada@example.org, bea@example.org", "ada@example.org\nBcc: x@example.org",
        "ada@.org", "ada @example.org");
}

static void numbers(void **state)
{
    (void)state;
    GOOD(FIELD_NUMBER, "0", "12", "-12.5", "+3", "12,5", ".5", "007", " 8 ",
         "1234567890123456789012345678901234567890");
    BAD(FIELD_NUMBER, "", "-", ".", "5.", "1e5", "1.2.3", "1,234.5", "0x10", "12 5", "NaN", "1_0", "\uFF11",
        "12345678901234567890123456789012345678901");
    GOOD(FIELD_INTEGER, "0", "-12", "+3", " 8 ");
    BAD(FIELD_INTEGER, "", "1.0", "1,5", "a", "--1");
}

static void dates_that_there_are(void **state)
{
    (void)state;
    GOOD(FIELD_DATE, "2026-11-30", "30.11.2026", "1.2.2026", "2024-02-29", "2000-02-29", "29.2.2024",
         " 2026-01-31 ");
    BAD(FIELD_DATE, "", "2026-11-31", "2026-02-29", "2100-02-29", "2026-13-01", "2026-00-10", "2026-01-00",
        "0000-01-01", "11/30/2026", "30.11.26", "2026-1-1", "2026-11-30T00:00", "today", "32.1.2026",
        "1.13.2026", "..2026", "1..2026", "2026.11.30", "001.1.2026");
}

static void times_of_the_day(void **state)
{
    (void)state;
    GOOD(FIELD_TIME, "00:00", "23:59", "14:30:59", " 09:05");
    BAD(FIELD_TIME, "", "24:00", "9:05", "12:60", "12:30:60", "12.30", "12:30 pm", "12:30:", "12:3", "1230");
}

static void web_addresses(void **state)
{
    (void)state;
    GOOD(FIELD_URL, "https://www.example.com/", "http://example.com", "HTTPS://Example.COM/a?b#c",
         "https://m\u00FCnchen.example/stra\u00DFe");
    BAD(FIELD_URL, "", "www.example.com", "https://", "https://localhost/", "javascript:alert(1)",
        "ftp://example.com/", "https://example.com/a b", "https://example.com/\"x", "https://example.com/<x>",
        "https:///x.y", "https://.x", "https://example.com/\u202E", "//example.com/");
}

static void telephone_numbers(void **state)
{
    (void)state;
    GOOD(FIELD_TEL, "112", "+49 30 1234567", "(030) 123-45/67", "030.1234");
    BAD(FIELD_TEL, "", "11", "none", "+", "123456789012345678901", "030 12a4", "0301234;ext=5");
}

static int compare(enum field_type type, const char *a, const char *b)
{
    int order = fieldtype_compare(type, span(a), span(b));
    return (order > 0) - (order < 0);
}

static void numbers_are_ordered_without_rounding(void **state)
{
    (void)state;
    static const char *const ascending[] = {"-100",
                                            "-99.5",
                                            "-99,4",
                                            "-0.1",
                                            "0",
                                            ".05",
                                            "0.5",
                                            "0.51",
                                            "1",
                                            "9",
                                            "10",
                                            "99999999999999999999",
                                            "99999999999999999999.1",
                                            "100000000000000000000"};
    for (size_t i = 0; i < COUNT(ascending); i++) {
        for (size_t k = 0; k < COUNT(ascending); k++) {
            assert_int_equal(compare(FIELD_NUMBER, ascending[i], ascending[k]), (i > k) - (i < k));
        }
    }
    assert_int_equal(compare(FIELD_NUMBER, "-0", "0.00"), 0);
    assert_int_equal(compare(FIELD_NUMBER, "+07.50", " 7,5"), 0);
}

static void dates_and_times_are_ordered(void **state)
{
    (void)state;
    assert_int_equal(compare(FIELD_DATE, "2026-11-30", "1.12.2026"), -1);
    assert_int_equal(compare(FIELD_DATE, "30.11.2026", "2026-11-30"), 0);
    assert_int_equal(compare(FIELD_DATE, "2027-01-01", "31.12.2026"), 1);
    assert_int_equal(compare(FIELD_TIME, "09:00", "09:00:00"), 0);
    assert_int_equal(compare(FIELD_TIME, "09:00:01", "09:00"), 1);
}

static void limits_may_move_with_the_day(void **state)
{
    (void)state;
    char limit[FIELD_LIMIT_SIZE];
    assert_true(fieldtype_limit(FIELD_DATE, "today", NOON, limit));
    assert_string_equal(limit, "2026-11-22");
    assert_true(fieldtype_limit(FIELD_DATE, "today+40", NOON, limit));
    assert_string_equal(limit, "2027-01-01");
    assert_true(fieldtype_limit(FIELD_DATE, "today-22", NOON, limit));
    assert_string_equal(limit, "2026-10-31");
    assert_true(fieldtype_limit(FIELD_INTEGER, "18", NOON, limit));
    assert_string_equal(limit, "18");
    static const char *const wrong[] = {"today+",   "today+x", "today 1",   "today+100001",
                                        "tomorrow", "",        "2026-02-30"};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        assert_false(fieldtype_limit(FIELD_DATE, wrong[i], NOON, limit));
    }
    assert_false(fieldtype_limit(FIELD_INTEGER, "today", NOON, limit));
    assert_false(fieldtype_limit(FIELD_TEXT, "5", NOON, limit));
}

static void an_input_of_html_shows_what_it_is_given(void **state)
{
    (void)state;
    assert_true(fieldtype_html(FIELD_NUMBER, span("-12.5")));
    assert_true(fieldtype_html(FIELD_DATE, span("2026-11-30")));
    assert_true(fieldtype_html(FIELD_DATE, span("")));
    assert_true(fieldtype_html(FIELD_TEXT, span("anything")));
    static const char *const not_numbers[] = {"12,5", "+3", ".5", " 3", "abc"};
    for (size_t i = 0; i < COUNT(not_numbers); i++) {
        assert_false(fieldtype_html(FIELD_NUMBER, span(not_numbers[i])));
    }
    assert_false(fieldtype_html(FIELD_DATE, span("30.11.2026")));
    assert_false(fieldtype_html(FIELD_DATE, span("2026-02-30")));
    assert_false(fieldtype_html(FIELD_TIME, span("9 o'clock")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(numbers),
        cmocka_unit_test(dates_that_there_are),
        cmocka_unit_test(times_of_the_day),
        cmocka_unit_test(web_addresses),
        cmocka_unit_test(telephone_numbers),
        cmocka_unit_test(numbers_are_ordered_without_rounding),
        cmocka_unit_test(dates_and_times_are_ordered),
        cmocka_unit_test(limits_may_move_with_the_day),
        cmocka_unit_test(an_input_of_html_shows_what_it_is_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
