/* Large pieces of memory, used again and again: mapping one anew, page by page, costs more than wiping it. */

#include "bridge.h"

#include <string.h>
#include <sys/mman.h>

enum { SPARES_MAX = 16 };

struct spare {
    struct spare *next;
};

void *spare_take(struct spares *all, size_t size)
{
    struct spare *s = all->first;
    if (s == NULL) {
        void *fresh = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return fresh == MAP_FAILED ? NULL : fresh;
    }
    all->first = s->next;
    all->count--;
    s->next = NULL;
    return s;
}

void spare_give(struct spares *all, void *memory, size_t size, const struct iovec *written, size_t count)
{
    if (all->count == SPARES_MAX || written == NULL) {
        munmap(memory, size);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        explicit_bzero(written[i].iov_base, written[i].iov_len);
    }
    struct spare *s = memory;
    s->next = all->first;
    all->first = s;
    all->count++;
}
