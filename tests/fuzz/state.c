/* Whatever state_parse() accepts is written back to something that means the same. */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_out(const struct state *st, struct buf *out)
{
    buf_init(out, 2 * STATE_SIZE_MAX);
    state_write(st, out);
    if (!buf_ok(out)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct state st;
    if (!state_parse(&st, data, size)) {
        if (st.targets != NULL || st.held != NULL || st.since != 0) {
            abort();
        }
        return 0;
    }
    struct buf once, twice;
    write_out(&st, &once);
    state_free(&st);
    if (!state_parse(&st, once.data, once.len)) {
        abort();
    }
    write_out(&st, &twice);
    if (once.len != twice.len || memcmp(once.data, twice.data, once.len) != 0) {
        abort();
    }
    state_release(&st, 1);
    for (const struct state_target *t = st.targets; t != NULL; t = t->next) {
        if (t->failed != NULL || t->tries != 0 || t->next_try != 0) {
            abort();
        }
    }
    buf_free(&once);
    buf_free(&twice);
    state_free(&st);
    return 0;
}
