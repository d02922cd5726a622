/*
 * What is read back for once.c: the Idempotency-Key of a request, and a record of the journal. A key that is taken lies
 * inside its header and is printable; a record that was not sealed with our secret is never taken.
 */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

enum { RECORD = 64 };

static void must(bool truth)
{
    if (!truth) {
        abort();
    }
}

static void try_header(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    must(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    struct span key;
    if (once_header(text, &key)) {
        must(key.len > 0 && key.len <= ONCE_HEADER_MAX && key.at >= text &&
             key.at + key.len <= text + strlen(text));
        for (size_t i = 0; i < key.len; i++) {
            must(key.at[i] >= ' ' && key.at[i] <= '~' && key.at[i] != '"');
        }
    }
    free(text);
}

static void try_record(const uint8_t *data, size_t size)
{
    static struct once *once;
    once = once != NULL ? once : once_new();
    must(once != NULL);
    unsigned char record[RECORD] = {0};
    memcpy(record, data, size < RECORD ? size : RECORD);
    struct once_claim c;
    bool stored;
    must(!oncelog_record(once, record, &c, &stored));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_header(data, size);
    try_record(data, size);
    return 0;
}
