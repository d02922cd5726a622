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

void spare_give(struct spares *all, void *memory, size_t size, size_t rare, size_t rare_len)
{
    unsigned char *bytes = memory;
    if (all->count == SPARES_MAX || madvise(bytes + rare, rare_len, MADV_DONTNEED) != 0) {
        munmap(memory, size);
        return;
    }
    explicit_bzero(bytes, rare);
    explicit_bzero(bytes + rare + rare_len, size - rare - rare_len);
    struct spare *s = memory;
    s->next = all->first;
    all->first = s;
    all->count++;
}
