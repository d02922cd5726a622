/* UTF-8 (RFC 3629), one character at a time, and what a character may do to a line of text. */

#include "bridge.h"

/* How many bytes this first byte announces, and the least character that needs them; 0: none begins so. */
static size_t sequence_length(unsigned char first, uint32_t *least)
{
    if (first >= 0xC2 && first <= 0xDF) {
        *least = 0x80;
        return 2;
    }
    if (first >= 0xE0 && first <= 0xEF) {
        *least = 0x800;
        return 3;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        *least = 0x10000;
        return 4;
    }
    return 0;
}

size_t utf8_next(const void *bytes, size_t len, uint32_t *c)
{
    const unsigned char *s = bytes;
    if (s[0] < 0x80) {
        *c = s[0];
        return 1;
    }
    *c = UTF8_REPLACEMENT;
    uint32_t least = 0;
    size_t n = sequence_length(s[0], &least);
    if (n == 0 || n > len) {
        return 1;
    }
    uint32_t value = s[0] & (0x7FU >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80) {
            return 1;
        }
        value = value << 6 | (s[i] & 0x3F);
    }
    bool surrogate = value >= 0xD800 && value <= 0xDFFF;
    if (value < least || value > 0x10FFFF || surrogate) {
        return 1;
    }
    *c = value;
    return n;
}

size_t utf8_plain(const void *bytes, size_t len)
{
    const unsigned char *s = bytes;
    size_t n = 0;
    while (n < len && s[n] >= ' ' && s[n] <= '~') {
        n++;
    }
    return n;
}

size_t utf8_bytes(uint32_t c, unsigned char out[4])
{
    if (c < 0x80) {
        out[0] = (unsigned char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (unsigned char)(0xC0 | c >> 6);
        out[1] = (unsigned char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (unsigned char)(0xE0 | c >> 12);
        out[1] = (unsigned char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (unsigned char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (unsigned char)(0xF0 | c >> 18);
    out[1] = (unsigned char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (unsigned char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (unsigned char)(0x80 | (c & 0x3F));
    return 4;
}

size_t utf8_cut(const void *bytes, size_t len, size_t max)
{
    const unsigned char *s = bytes;
    size_t end = 0;
    while (end < len) {
        uint32_t c;
        size_t n = utf8_next(s + end, len - end, &c);
        if (n > max - end) {
            break;
        }
        end += n;
    }
    return end;
}

/* Unicode 15, property White_Space without the line ends. */
static bool is_space(uint32_t c)
{
    return c == ' ' || c == '\t' || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

/* Unicode 15, property Bidi_Control. */
static bool is_bidi(uint32_t c)
{
    return c == 0x061C || c == 0x200E || c == 0x200F || (c >= 0x202A && c <= 0x202E) ||
           (c >= 0x2066 && c <= 0x2069);
}

/* Controls, and the code points that Unicode keeps out of interchange. */
static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c <= 0x9F) || (c >= 0xFDD0 && c <= 0xFDEF) || (c & 0xFFFE) == 0xFFFE;
}

static uint32_t picture(uint32_t c)
{
    if (c < 0x20) {
        return 0x2400 + c; /* SYMBOL FOR NULL and so on */
    }
    if (c == 0x7F) {
        return 0x2421; /* SYMBOL FOR DELETE */
    }
    bool line_end = c == 0x85 || c == 0x2028 || c == 0x2029;
    return line_end ? 0x2424 /* SYMBOL FOR NEWLINE */ : UTF8_REPLACEMENT;
}

uint32_t utf8_shown(uint32_t c)
{
    enum utf8_class class = utf8_class(c);
    return class == UTF8_TEXT || (class == UTF8_SPACE && c != '\t') ? c : picture(c);
}

enum utf8_class utf8_class(uint32_t c)
{
    if (c > ' ' && c < 0x7F) {
        return UTF8_TEXT; /* most of what is asked for */
    }
    if (c == '\n' || c == '\r' || c == 0x85 || c == 0x2028 || c == 0x2029) {
        return UTF8_BREAK;
    }
    if (is_space(c)) {
        return UTF8_SPACE;
    }
    if (is_bidi(c)) {
        return UTF8_BIDI;
    }
    return is_control(c) ? UTF8_CONTROL : UTF8_TEXT;
}
