/* Short texts, and what an ASCII character is, whatever the locale says, which ctype.h would ask. Pure. */

#include "bridge.h"

#include <string.h>

/* ---- characters ------------------------------------------------------------------------------ */

char text_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool text_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool text_letter(char c)
{
    return text_lower(c) >= 'a' && text_lower(c) <= 'z';
}

bool text_alnum(char c)
{
    return text_letter(c) || text_digit(c);
}

int text_hex(char c)
{
    if (text_digit(c)) {
        return c - '0';
    }
    char small = text_lower(c);
    return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

bool text_one_of(char c, const char *set)
{
    while (*set != '\0' && *set != c) {
        set++;
    }
    return *set != '\0';
}

/* ---- runs of them ---------------------------------------------------------------------------- */

size_t text_token(const char *text, size_t len)
{
    size_t n = 0;
    while (n < len && (text_alnum(text[n]) || text_one_of(text[n], "!#$%&'*+-.^_`|~"))) {
        n++;
    }
    return n;
}

bool text_same(const char *text, size_t len, const char *word)
{
    for (size_t i = 0; i < len; i++) {
        if (word[i] == '\0' || text_lower(text[i]) != text_lower(word[i])) {
            return false;
        }
    }
    return word[len] == '\0';
}

struct span text_span(const char *text)
{
    return (struct span){text, text != NULL ? strlen(text) : 0};
}

struct span text_trim(struct span s, const char *set)
{
    while (s.len > 0 && text_one_of(s.at[0], set)) {
        s.at++;
        s.len--;
    }
    while (s.len > 0 && text_one_of(s.at[s.len - 1], set)) {
        s.len--;
    }
    return s;
}

bool text_number(const char *text, size_t len, uint64_t *out)
{
    if (len == 0 || len > 19) { /* 19 digits cannot overflow 64 bits */
        return false;
    }
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (!text_digit(text[i])) {
            return false;
        }
        n = n * 10 + (uint64_t)(text[i] - '0');
    }
    *out = n;
    return true;
}

/* ---- strings --------------------------------------------------------------------------------- */

bool text_copy(char *out, size_t size, const char *text)
{
    size_t len = strlen(text);
    if (len >= size) {
        if (size > 0) {
            out[0] = '\0';
        }
        return false;
    }
    memcpy(out, text, len + 1);
    return true;
}

bool text_fmt(char *out, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(out, size, fmt, args);
    va_end(args);
    return n >= 0 && (size_t)n < size;
}
