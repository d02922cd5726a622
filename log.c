/* Lines for stderr, ready for journald. */

#include "bridge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SELDOM = 10 }; /* seconds */

static const char *role_name = "formbridge";

void log_role(const char *role)
{
    role_name = role;
}

/* One write a line, so that the lines of several roles never mix. The <N> prefix is a syslog priority that
 * journald takes off (sd-daemon(3)); on a terminal or in a file it would only be noise. */
static void log_line(int priority, const char *word, const char *fmt, va_list args)
{
    char line[1024];
    struct buf b;
    buf_borrow(&b, line, sizeof line - 1);
    if (getenv("JOURNAL_STREAM") != NULL) {
        buf_fmt(&b, "<%d>", priority);
    }
    buf_fmt(&b, "%s: %s", role_name, word);

    char text[900];
    int n = vsnprintf(text, sizeof text, fmt, args);
    for (int i = 0; i < n && i < (int)sizeof text - 1; i++) {
        unsigned char c = (unsigned char)text[i];
        buf_byte(&b, c < 0x20 || c > 0x7e ? '?' : c);
    }
    line[b.len] = '\n';
    ssize_t written = write(STDERR_FILENO, line, b.len + 1);
    (void)written; /* nowhere left to say so */
}

void log_error(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_line(3, "error: ", fmt, args);
    va_end(args);
}

void log_warn(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_line(4, "warning: ", fmt, args);
    va_end(args);
}

void log_info(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_line(6, "", fmt, args);
    va_end(args);
}

void log_seldom(int64_t *last, const char *fmt, ...)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (*last != 0 && now.tv_sec - *last < SELDOM) {
        return;
    }
    *last = (int64_t)now.tv_sec;
    va_list args;
    va_start(args, fmt);
    log_line(4, "warning: ", fmt, args);
    va_end(args);
}

void log_errors(const struct buf *lines)
{
    const char *at = (const char *)lines->data, *end = at + lines->len;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline == NULL ? end : newline;
        log_error("%.*s", (int)(stop - at), at);
        at = stop + 1;
    }
}
