/* Base64 (RFC 4648). What goes through here may be a password, so no table is looked into, whose entry's place in the
 * cache could tell of it, and no way taken that depends on which letter it is. Pure. */

#include "bridge.h"

/* All bits if a < b, else none; neither is more than a byte. */
static unsigned below(unsigned a, unsigned b)
{
    return 0u - ((a - b) >> 31);
}

static unsigned within(unsigned c, unsigned first, unsigned last)
{
    return ~below(c, first) & ~below(last, c);
}

static unsigned char letter_of(unsigned value, const char *last)
{
    unsigned c = 'A' + value;
    c += below(25, value) & ('a' - 'Z' - 1);
    c -= below(51, value) & ('z' + 1 - '0');
    c += below(61, value) & (unsigned)(last[0] - '9' - 1);
    c += below(62, value) & (unsigned)(last[1] - last[0] - 1);
    return (unsigned char)c;
}

/* One more than its value; 0: it is no letter. */
static unsigned read_letter(unsigned char c, const char *last)
{
    return (within(c, 'A', 'Z') & (c - 'A' + 1u)) | (within(c, 'a', 'z') & (c - 'a' + 27u)) |
           (within(c, '0', '9') & (c - '0' + 53u)) |
           (within(c, (unsigned char)last[0], (unsigned char)last[0]) & 63) |
           (within(c, (unsigned char)last[1], (unsigned char)last[1]) & 64);
}

void base64_put(struct buf *out, const void *bytes, size_t len, const char *last)
{
    const unsigned char *in = bytes;
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t bits = (uint32_t)in[i] << 16;
        bits |= n > 1 ? (uint32_t)in[i + 1] << 8 : 0;
        bits |= n > 2 ? (uint32_t)in[i + 2] : 0;
        for (size_t k = 0; k < 4; k++) {
            buf_byte(out, k <= n ? letter_of(bits >> (18 - 6 * k) & 63, last) : '=');
        }
    }
}

bool base64_get(struct buf *out, const char *text, size_t len, const char *last)
{
    size_t letters = len;
    while (letters > 0 && len - letters < 2 && text[letters - 1] == '=') {
        letters--;
    }
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < letters; i++) {
        unsigned letter = read_letter((unsigned char)text[i], last);
        if (letter == 0) {
            return false;
        }
        bits = bits << 6 | (letter - 1);
        held += 6;
        if (held >= 8) {
            held -= 8;
            buf_byte(out, (unsigned char)(bits >> held));
            bits &= (1u << held) - 1;
        }
    }
    return len % 4 == 0 && bits == 0 && buf_ok(out);
}
