/* date.c: the calendar, in UTC and English. */

#include "bridge.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void assert_same_as_libc(int64_t time)
{
    struct tm tm;
    time_t t = (time_t)time;
    assert_non_null(gmtime_r(&t, &tm));
    struct date d = date_utc(time);
    assert_int_equal(d.year, tm.tm_year + 1900);
    assert_int_equal(d.month, tm.tm_mon);
    assert_int_equal(d.day, tm.tm_mday);
    assert_int_equal(d.weekday, tm.tm_wday);
    assert_int_equal(d.hour, tm.tm_hour);
    assert_int_equal(d.minute, tm.tm_min);
    assert_int_equal(d.second, tm.tm_sec);
    assert_true(date_real(&d));
    assert_int_equal(date_time(&d), time);
}

static void test_every_day_for_six_centuries_is_that_of_the_c_library(void **state)
{
    (void)state;
    for (int64_t day = -110000; day < 110000; day++) {
        assert_same_as_libc(day * 86400);
        assert_same_as_libc(day * 86400 + 86399);
    }
}

static void test_every_second_of_a_day(void **state)
{
    (void)state;
    for (int64_t second = 0; second < 86400; second++) {
        assert_same_as_libc(1709164800 + second); /* 29 February 2024 */
    }
}

static void test_first_and_last_year_of_four_digits(void **state)
{
    (void)state;
    assert_same_as_libc(INT64_C(253402300799)); /* 9999-12-31 23:59:59 */
    assert_same_as_libc(-INT64_C(62167219200)); /* 0000-01-01 00:00:00 */
    assert_same_as_libc(-INT64_C(62162121601)); /* 0000-02-28 23:59:59 */
    assert_same_as_libc(-INT64_C(62167219201)); /* the second before the year 0 */
}

static void test_first_and_last_second(void **state)
{
    (void)state;
    char text[DATE_SIZE];
    date_machine(text, INT64_MAX);
    assert_string_equal(text, "292277026596-12-04T15:30:07Z");
    date_machine(text, INT64_MIN);
    assert_string_equal(text, "-292277022657-01-27T08:29:52Z");
}

static void test_what_is_no_date_is_known_and_carries_over(void **state)
{
    (void)state;
    static const struct {
        struct date wrong, real;
    } cases[] = {
        {{.year = 2026, .month = 3, .day = 31}, {.year = 2026, .month = 4, .day = 1}},
        {{.year = 2026, .month = 1, .day = 29}, {.year = 2026, .month = 2, .day = 1}},
        {{.year = 1900, .month = 1, .day = 29}, {.year = 1900, .month = 2, .day = 1}},
        {{.year = 2026, .month = 0, .day = 0}, {.year = 2025, .month = 11, .day = 31}},
        {{.year = 2026, .day = 1, .hour = 24}, {.year = 2026, .day = 2}},
        {{.year = 2026, .day = 1, .minute = 60}, {.year = 2026, .day = 1, .hour = 1}},
        {{.year = 2026, .day = 1, .second = 60}, {.year = 2026, .day = 1, .minute = 1}},
        {{.year = 2026, .day = 2, .second = -1},
         {.year = 2026, .day = 1, .hour = 23, .minute = 59, .second = 59}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_false(date_real(&cases[i].wrong));
        assert_true(date_real(&cases[i].real));
        assert_int_equal(date_time(&cases[i].wrong), date_time(&cases[i].real));
    }
    assert_false(date_real(&(struct date){.year = 2026, .month = 12, .day = 1}));
    assert_false(date_real(&(struct date){.year = 2026, .month = -1, .day = 1}));
    assert_true(date_real(&(struct date){.year = 2000, .month = 1, .day = 29}));
}

static void test_texts(void **state)
{
    (void)state;
    char text[DATE_SIZE];
    date_day(text, 1795305136);
    assert_string_equal(text, "2026-11-21");
    date_day(text, -1);
    assert_string_equal(text, "1969-12-31");
    date_minute(text, 1795305136);
    assert_string_equal(text, "2026-11-21 23:52 UTC");
    date_machine(text, 1795305136);
    assert_string_equal(text, "2026-11-21T23:52:16Z");
    date_asctime(text, 1795305136);
    assert_string_equal(text, "Sat Nov 21 23:52:16 2026");
    date_asctime(text, 86399);
    assert_string_equal(text, "Thu Jan  1 23:59:59 1970");
}

static void test_time_zone_and_locale_do_not_matter(void **state)
{
    (void)state;
    setenv("TZ", "Pacific/Auckland", 1);
    tzset();
    setlocale(LC_ALL, "");
    char memory[64];
    struct buf b;
    buf_borrow(&b, memory, sizeof memory);
    date_mail(&b, 1795305136);
    assert_string_equal(buf_text(&b), "Sat, 21 Nov 2026 23:52:16 +0000");
    buf_clear(&b);
    date_plain(&b, 1709164801);
    assert_string_equal(buf_text(&b), "2024-02-29 00:00:01 UTC");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_day_for_six_centuries_is_that_of_the_c_library),
        cmocka_unit_test(test_every_second_of_a_day),
        cmocka_unit_test(test_first_and_last_year_of_four_digits),
        cmocka_unit_test(test_first_and_last_second),
        cmocka_unit_test(test_what_is_no_date_is_known_and_carries_over),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_time_zone_and_locale_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
