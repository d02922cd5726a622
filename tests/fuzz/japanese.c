/*
 * EUC-JP and ISO-2022-JP under arbitrary bytes: what comes out is UTF-8, has
 * a U+FFFD for each thing that was wrong, and is not many times longer.
 *
 * The tables are made up: the bytes choose a cell, not what is in it.
 */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

static struct japanese tables;
static bool filled;

static void check(long wrong, const struct buf *out, size_t size)
{
    long marks = 0;
    for (size_t at = 0; at + 2 < out->len; at++) {
        marks += memcmp(out->data + at, "\xEF\xBF\xBD", 3) == 0;
    }
    if (!buf_ok(out) || !charset_is_utf8(out->data, out->len) || marks != wrong || out->len > 3 * size) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < JAPANESE_CELLS && !filled; i++) {
        tables.jis0208[JAPANESE_CELLS - 1 - i] = (uint16_t)(i % 7 == 0 ? 0 : 0x4E00 + i);
        tables.jis0212[JAPANESE_CELLS - 1 - i] = (uint16_t)(i % 5 == 0 ? 0 : 0x80 + i % 500);
    }
    filled = true;
    struct buf out;
    buf_init(&out, 3 * size + 1);
    check(japanese_from_euc(&tables, data, size, &out), &out, size);
    buf_clear(&out);
    check(japanese_from_2022(&tables, data, size, &out), &out, size);
    buf_free(&out);
    return 0;
}
