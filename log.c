/* Lines for stderr, ready for journald. */

#include "bridge.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SELDOM = 10000, /* milliseconds */
    LINE_SIZE = 1024,
    TEXT_SIZE = 900, /* of it, behind the priority, the role and the word */
    PRIORITY_ERROR = 3,
    PRIORITY_WARNING = 4,
    PRIORITY_INFO = 6, /* syslog(3) */
};

static const char *role_name = "formbridge";

void log_role(const char *role)
{
    role_name = role;
}

/* Lines of one thread that wait to leave together. A write of at most PIPE_BUF is never torn apart (pipe(7)), so that
 * the lines of several roles do not mix. */
static _Thread_local struct {
    bool holding;
    size_t len;
    char bytes[PIPE_BUF];
} waiting;

static void leave(void)
{
    if (waiting.len > 0) {
        ssize_t written = write(STDERR_FILENO, waiting.bytes, waiting.len);
        (void)written; /* nowhere left to say so */
        waiting.len = 0;
    }
}

/* The <N> prefix is a syslog priority that journald takes off (sd-daemon(3)); on a terminal or in a file it would only
 * be noise. */
static void log_line(int priority, const char *word, const char *fmt, va_list args)
{
    if (waiting.len > sizeof waiting.bytes - LINE_SIZE) {
        leave();
    }
    char *line = waiting.bytes + waiting.len;
    size_t len = 0;
    if (getenv("JOURNAL_STREAM") != NULL) {
        len += (size_t)snprintf(line, LINE_SIZE, "<%d>", priority);
    }
    len += (size_t)snprintf(line + len, LINE_SIZE - len, "%s: %s", role_name, word);

    int n = vsnprintf(line + len, TEXT_SIZE, fmt, args);
    size_t end = len + (n < 0 ? 0 : n < TEXT_SIZE ? (size_t)n : TEXT_SIZE - 1);
    for (; len < end; len++) {
        unsigned char c = (unsigned char)line[len];
        line[len] = c < 0x20 || c > 0x7e ? '?' : (char)c;
    }
    line[len++] = '\n';
    waiting.len += len;
    if (!waiting.holding || priority < PRIORITY_INFO) {
        leave();
    }
}

void log_hold(void)
{
    waiting.holding = true;
}

void log_release(void)
{
    waiting.holding = false;
    leave();
}

void log_error(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_line(PRIORITY_ERROR, "error: ", fmt, args);
    va_end(args);
}

void log_warn(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_line(PRIORITY_WARNING, "warning: ", fmt, args);
    va_end(args);
}

void log_info(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_line(PRIORITY_INFO, "", fmt, args);
    va_end(args);
}

void log_seldom(int64_t *last, const char *fmt, ...)
{
    int64_t now = clock_ms();
    if (*last != 0 && now - *last < SELDOM) {
        return;
    }
    *last = now;
    va_list args;
    va_start(args, fmt);
    log_line(PRIORITY_WARNING, "warning: ", fmt, args);
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
