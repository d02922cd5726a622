/* Points in time as dates, in UTC and English whatever the machine's time zone and locale. */

#include "bridge.h"

#include <inttypes.h>

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int year_length(int64_t year)
{
    return is_leap(year) ? 366 : 365;
}

static int month_length(int64_t year, int month)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return lengths[month] + (month == 1 && is_leap(year) ? 1 : 0);
}

/* By the calendar alone: gmtime_r() may look for the time zone of the machine in a file. */
struct date date_utc(int64_t time)
{
    int64_t days = time / 86400;
    int second = (int)(time % 86400);
    struct date d = {.year = 1970, .hour = second / 3600, .minute = second / 60 % 60, .second = second % 60};
    d.weekday = (int)((days + 4) % 7); /* 1970 began on a Thursday */
    for (; days >= year_length(d.year); d.year++) {
        days -= year_length(d.year);
    }
    for (; days >= month_length(d.year, d.month); d.month++) {
        days -= month_length(d.year, d.month);
    }
    d.day = (int)days + 1;
    return d;
}

void date_mail(struct buf *out, int64_t time)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct date d = date_utc(time);
    buf_fmt(out, "%s, %d %s %04" PRId64 " %02d:%02d:%02d +0000", days[d.weekday], d.day, months[d.month],
            d.year, d.hour, d.minute, d.second);
}

void date_plain(struct buf *out, int64_t time)
{
    struct date d = date_utc(time);
    buf_fmt(out, "%04" PRId64 "-%02d-%02d %02d:%02d:%02d UTC", d.year, d.month + 1, d.day, d.hour, d.minute,
            d.second);
}
