/* Points in time as dates, in UTC and English whatever the machine's time zone and locale. */

#include "bridge.h"

#include <inttypes.h>

enum {
    DAY = 86400,
    CYCLE = 146097, /* days of 400 years */
};

static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

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
    int64_t left = time / DAY, second = time % DAY; /* days, and of the last one */
    left -= second < 0 ? 1 : 0;
    second += second < 0 ? DAY : 0;
    struct date d = {.hour = (int)second / 3600, .minute = (int)second / 60 % 60, .second = (int)second % 60};
    d.weekday = (int)((left % 7 + 7 + 4) % 7); /* 1970 began on a Thursday */
    int64_t cycles = left / CYCLE - (left < 0 ? 1 : 0);
    left -= cycles * CYCLE;
    d.year = 1970 + cycles * 400;
    for (; left >= year_length(d.year); d.year++) {
        left -= year_length(d.year);
    }
    for (; left >= month_length(d.year, d.month); d.month++) {
        left -= month_length(d.year, d.month);
    }
    d.day = (int)left + 1;
    return d;
}

int64_t date_time(const struct date *d)
{
    /* Days since the 1st of March 400 years before the year 0: the leap day is the last of a year that begins in March. */
    int64_t year = d->year + 400 - (d->month < 2 ? 1 : 0);
    int month = (d->month + 10) % 12;
    int64_t whole = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + d->day - 1;
    int second = (d->hour * 60 + d->minute) * 60 + d->second;
    return (whole - 865565) * DAY + second;
}

bool date_real(const struct date *d)
{
    return d->month >= 0 && d->month < 12 && d->day >= 1 && d->day <= month_length(d->year, d->month) &&
           d->hour >= 0 && d->hour < 24 && d->minute >= 0 && d->minute < 60 && d->second >= 0 &&
           d->second < 60;
}

void date_mail(struct buf *out, int64_t time)
{
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

void date_day(char out[DATE_SIZE], int64_t time)
{
    struct date d = date_utc(time);
    text_fmt(out, DATE_SIZE, "%04" PRId64 "-%02d-%02d", d.year, d.month + 1, d.day);
}

void date_minute(char out[DATE_SIZE], int64_t time)
{
    struct date d = date_utc(time);
    text_fmt(out, DATE_SIZE, "%04" PRId64 "-%02d-%02d %02d:%02d UTC", d.year, d.month + 1, d.day, d.hour,
             d.minute);
}

void date_machine(char out[DATE_SIZE], int64_t time)
{
    struct date d = date_utc(time);
    text_fmt(out, DATE_SIZE, "%04" PRId64 "-%02d-%02dT%02d:%02d:%02dZ", d.year, d.month + 1, d.day, d.hour,
             d.minute, d.second);
}

void date_asctime(char out[DATE_SIZE], int64_t time)
{
    struct date d = date_utc(time);
    text_fmt(out, DATE_SIZE, "%s %s %2d %02d:%02d:%02d %" PRId64, days[d.weekday], months[d.month], d.day,
             d.hour, d.minute, d.second, d.year);
}
