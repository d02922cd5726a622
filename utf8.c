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

/* ---- words ----------------------------------------------------------------------------------- */

/* Pairs of letters that stand side by side, the capital first; parity: of the capital's code. */
static bool is_paired(uint32_t c, unsigned parity)
{
    return (c & 1) == parity;
}

/* The blocks Latin-1 Supplement and Latin Extended-A. */
static uint32_t fold_latin(uint32_t c)
{
    if (c >= 0xC0 && c <= 0xDE && c != 0xD7) {
        return c + 0x20;
    }
    if (c == 0x130 || c == 0x131) { /* Turkish: both are an i to whoever looks for words */
        return 'i';
    }
    if (c == 0x178) {
        return 0xFF;
    }
    bool even = (c >= 0x100 && c <= 0x137) || (c >= 0x14A && c <= 0x177);
    bool odd = (c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E);
    return (even && is_paired(c, 0)) || (odd && is_paired(c, 1)) ? c + 1 : c;
}

static uint32_t fold_greek(uint32_t c)
{
    switch (c) {
    case 0x386: return 0x3AC;
    case 0x388:
    case 0x389:
    case 0x38A: return c + 0x25;
    case 0x38C: return 0x3CC;
    case 0x38E:
    case 0x38F: return c + 0x3F;
    case 0x3C2: return 0x3C3; /* the sigma at the end of a word */
    default: return c >= 0x391 && c <= 0x3AB && c != 0x3A2 ? c + 0x20 : c; /* U+03A2 is none */
    }
}

static uint32_t fold_cyrillic(uint32_t c)
{
    if (c <= 0x40F) {
        return c + 0x50;
    }
    if (c <= 0x42F) {
        return c + 0x20;
    }
    bool even = (c >= 0x460 && c <= 0x481) || (c >= 0x48A && c <= 0x4BF) || (c >= 0x4D0 && c <= 0x52F);
    return even && is_paired(c, 0) ? c + 1 : c;
}

uint32_t utf8_fold(uint32_t c)
{
    if (c < 0x80) {
        return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
    }
    if (c >= 0xFF01 && c <= 0xFF5E) { /* fullwidth forms of ASCII */
        return utf8_fold(c - 0xFEE0);
    }
    return c < 0x180                  ? fold_latin(c)
           : c >= 0x386 && c <= 0x3C2 ? fold_greek(c)
           : c >= 0x400 && c <= 0x52F ? fold_cyrillic(c)
                                      : c;
}

bool utf8_in_word(uint32_t c)
{
    if (c < 0x80) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    }
    if (c < 0xC0) {
        return c == 0xAA || c == 0xB5 || c == 0xBA;
    }
    bool sign = c == 0xD7 || c == 0xF7 || (c >= 0x2000 && c <= 0x206F) || /* General Punctuation */
                (c >= 0x20A0 && c <= 0x20CF) ||                           /* Currency Symbols */
                (c >= 0x2190 && c <= 0x2BFF) ||                           /* Arrows to Symbols and Arrows */
                (c >= 0x3000 && c <= 0x303F) ||                           /* CJK Punctuation */
                (c >= 0xFE00 && c <= 0xFE0F) ||                           /* Variation Selectors */
                (c >= 0x1F000 && c <= 0x1FAFF) || c == UTF8_REPLACEMENT;
    bool wide = c >= 0xFF01 && c <= 0xFF5E;
    return wide ? utf8_in_word(c - 0xFEE0) : !sign && utf8_class(c) == UTF8_TEXT;
}
