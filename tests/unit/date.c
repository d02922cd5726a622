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
}

static void test_every_day_for_three_centuries_is_the_day_of_the_c_library(void **state)
{
    (void)state;
    for (int64_t day = 0; day < 110000; day++) {
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
        cmocka_unit_test(test_every_day_for_three_centuries_is_the_day_of_the_c_library),
        cmocka_unit_test(test_every_second_of_a_day),
        cmocka_unit_test(test_time_zone_and_locale_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
