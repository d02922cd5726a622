/* Preloaded: what goes to syslog(3) is appended to the file that SYSLOG_FILE names, a line each. */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void append(int priority, const char *fmt, va_list args)
{
    FILE *f = fopen(getenv("SYSLOG_FILE"), "a");
    if (f != NULL) {
        fprintf(f, "<%d>", priority);
        vfprintf(f, fmt, args);
        fputc('\n', f);
        fclose(f);
    }
}

void syslog(int priority, const char *fmt, ...);
void __syslog_chk(int priority, int flag, const char *fmt, ...);

void syslog(int priority, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    append(priority, fmt, args);
    va_end(args);
}

void __syslog_chk(int priority, int flag, const char *fmt, ...)
{
    (void)flag;
    va_list args;
    va_start(args, fmt);
    append(priority, fmt, args);
    va_end(args);
}
