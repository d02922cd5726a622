/* For tests of what GMP and Nettle leave behind: sees each block that is freed (Makefile: --wrap=free). */

#ifndef FREED_H
#define FREED_H

#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>

static size_t freed, dirty; /* blocks; those that still held something */
static bool watching;

void __real_free(void *memory);
void __wrap_free(void *memory);
void __wrap_free(void *memory)
{
    if (watching && memory != NULL) {
        size_t used = 0;
        for (size_t i = 0; i < malloc_usable_size(memory); i++) {
            used += ((const unsigned char *)memory)[i] != 0;
        }
        freed++;
        dirty += used > 0;
    }
    __real_free(memory);
}

/* For mp_set_memory_functions(): what was never written is no trace. */
static void *allocate_clean(size_t size)
{
    void *memory = calloc(1, size);
    assert_non_null(memory);
    return memory;
}

#endif
