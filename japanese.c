/* EUC-JP and ISO-2022-JP as the Encoding Standard reads them (§12.1, §12.2). Pure.
 *
 * The converters of iconv know these by older rules, in which the characters that NEC and IBM added are private or
 * absent. Browsers send them: without them the names Takahashi and Yamazaki, as many who bear them write them, are
 * lost. */

#include "bridge.h"

enum { SIDE = 94, FIRST = 0x21, KATAKANA = 0xFF61 };

void japanese_cell(size_t cell, unsigned char shift_jis[2], unsigned char euc[2])
{
    size_t row = cell / SIDE, column = cell % SIDE;
    size_t lead = row / 2 + (row < 62 ? 0x81 : 0xC1);
    size_t trail = row % 2 == 1 ? column + 0x9F : column + (column < 63 ? 0x40 : 0x41);
    shift_jis[0] = (unsigned char)lead;
    shift_jis[1] = (unsigned char)trail;
    euc[0] = (unsigned char)(row + 0xA1);
    euc[1] = (unsigned char)(column + 0xA1);
}

/* Writes what a table has for two bytes, 0x21 to 0x7E each. Returns 1 if that is nothing, else 0. */
static long put_cell(const uint16_t *table, unsigned row, unsigned column, struct buf *out)
{
    unsigned char bytes[4];
    uint32_t c = table[(row - FIRST) * SIDE + (column - FIRST)];
    buf_put(out, bytes, utf8_bytes(c != 0 ? c : UTF8_REPLACEMENT, bytes));
    return c == 0;
}

static long put_wrong(struct buf *out)
{
    unsigned char bytes[4];
    buf_put(out, bytes, utf8_bytes(UTF8_REPLACEMENT, bytes));
    return 1;
}

static void put_katakana(unsigned position, struct buf *out)
{
    unsigned char bytes[4];
    buf_put(out, bytes, utf8_bytes(KATAKANA + position, bytes));
}

static bool in_table(unsigned char byte)
{
    return byte >= 0xA1 && byte <= 0xFE;
}

long japanese_from_euc(const struct japanese *t, const unsigned char *in, size_t len, struct buf *out)
{
    long wrong = 0;
    for (size_t at = 0; at < len;) {
        const unsigned char *p = in + at;
        size_t left = len - at;
        if (p[0] < 0x80) {
            buf_byte(out, p[0]);
            at++;
        } else if (p[0] == 0x8E && left >= 2 && p[1] >= 0xA1 && p[1] <= 0xDF) {
            put_katakana(p[1] - 0xA1u, out);
            at += 2;
        } else if (p[0] == 0x8F && left >= 3 && in_table(p[1]) && in_table(p[2])) {
            wrong += put_cell(t->jis0212, p[1] & 0x7Fu, p[2] & 0x7Fu, out);
            at += 3;
        } else if (in_table(p[0]) && left >= 2 && in_table(p[1])) {
            wrong += put_cell(t->jis0208, p[0] & 0x7Fu, p[1] & 0x7Fu, out);
            at += 2;
        } else {
            wrong += put_wrong(out);
            at++;
        }
    }
    return wrong;
}

enum jis_set { SET_ASCII, SET_ROMAN, SET_KATAKANA, SET_JIS0208, SET_NONE };

/* The set that the escape sequence at p chooses. */
static enum jis_set escaped(const unsigned char *p, size_t left)
{
    if (left < 3) {
        return SET_NONE;
    }
    if (p[1] == '$') {
        return p[2] == '@' || p[2] == 'B' ? SET_JIS0208 : SET_NONE;
    }
    if (p[1] != '(') {
        return SET_NONE;
    }
    switch (p[2]) {
    case 'B': return SET_ASCII;
    case 'J': return SET_ROMAN;
    case 'I': return SET_KATAKANA;
    default: return SET_NONE;
    }
}

/* Writes the character at p, which is no escape sequence, and moves on behind it. */
static long put_of_set(const struct japanese *t, enum jis_set set, const unsigned char *in, size_t len,
                       size_t *at, struct buf *out)
{
    const unsigned char *p = in + (*at)++;
    if (p[0] == '\n' || p[0] == '\r' || (set == SET_ASCII && p[0] < 0x80)) {
        buf_byte(out, p[0]);
    } else if (set == SET_ROMAN && p[0] < 0x80) {
        if (p[0] == 0x5C || p[0] == 0x7E) {
            buf_str(out, p[0] == 0x5C ? "\xC2\xA5" : "\xE2\x80\xBE");
        } else {
            buf_byte(out, p[0]);
        }
    } else if (set == SET_KATAKANA && p[0] >= 0x21 && p[0] <= 0x5F) {
        put_katakana(p[0] - 0x21u, out);
    } else if (set == SET_JIS0208 && in_table(p[0] | 0x80) && p[0] < 0x80 && *at < len && p[1] < 0x80 &&
               in_table(p[1] | 0x80)) {
        (*at)++;
        return put_cell(t->jis0208, p[0], p[1], out);
    } else {
        return put_wrong(out);
    }
    return 0;
}

long japanese_from_2022(const struct japanese *t, const unsigned char *in, size_t len, struct buf *out)
{
    enum jis_set set = SET_ASCII;
    long wrong = 0;
    for (size_t at = 0; at < len;) {
        enum jis_set next = in[at] == 0x1B ? escaped(in + at, len - at) : SET_NONE;
        if (next != SET_NONE) {
            set = next;
            at += 3;
        } else if (in[at] == 0x1B) {
            wrong += put_wrong(out);
            at++;
        } else {
            wrong += put_of_set(t, set, in, len, &at, out);
        }
    }
    return wrong;
}
