/* How many connections each address has open, over all fronts, in a few kilobytes.
 *
 * A count-min sketch: two tables of counters, each indexed by another keyed hash of the address; the smaller
 * of an address's two counters is never less than the truth and seldom more. Every front writes only its own
 * rows, so that the parent can forget what a dead one had open. */

#include "bridge.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

enum { SLOTS = 8192, TABLES = 2 };

struct row {
    _Atomic uint32_t open;
    _Atomic uint32_t count[TABLES][SLOTS];
};

struct peers {             /* each process's own, but for the rows */
    uint64_t keys[TABLES]; /* odd and secret: nobody can choose addresses that collide */
    unsigned fronts;
    struct row *rows;
};

struct peers *peers_new(unsigned fronts)
{
    struct peers *p = calloc(1, sizeof *p);
    void *shared = p == NULL ? MAP_FAILED
                             : mmap(NULL, fronts * sizeof(struct row), PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        free(p);
        return NULL;
    }
    p->fronts = fronts;
    p->rows = shared;
    if (getrandom(p->keys, sizeof p->keys, 0) != (ssize_t)sizeof p->keys) {
        peers_free(p);
        return NULL;
    }
    p->keys[0] |= 1;
    p->keys[1] |= 1;
    return p;
}

void peers_free(struct peers *p)
{
    if (p != NULL) {
        munmap(p->rows, p->fronts * sizeof(struct row));
        explicit_bzero(p, sizeof *p); /* the keys of its hash */
        free(p);
    }
}

/* Multiplication by a secret odd number; the high bits are the well-mixed ones. */
static size_t slot(const struct peers *p, int table, uint64_t id)
{
    uint64_t h = (id ^ id >> 29) * p->keys[table];
    h = (h ^ h >> 32) * p->keys[table];
    return (size_t)(h >> 51) % SLOTS;
}

unsigned peers_count(const struct peers *p, const struct sockaddr_storage *addr)
{
    uint64_t id = network_id(addr);
    unsigned least = UINT32_MAX;
    if (!network_is_internet(addr)) {
        return 0;
    }
    for (int t = 0; t < TABLES; t++) {
        unsigned sum = 0;
        for (unsigned f = 0; f < p->fronts; f++) {
            sum += atomic_load_explicit(&p->rows[f].count[t][slot(p, t, id)], memory_order_relaxed);
        }
        least = sum < least ? sum : least;
    }
    return least;
}

unsigned peers_total(const struct peers *p)
{
    unsigned sum = 0;
    for (unsigned f = 0; f < p->fronts; f++) {
        sum += atomic_load_explicit(&p->rows[f].open, memory_order_relaxed);
    }
    return sum;
}

static void change(struct peers *p, unsigned front, const struct sockaddr_storage *addr, int by)
{
    uint64_t id = network_id(addr);
    struct row *r = &p->rows[front];
    atomic_fetch_add_explicit(&r->open, (uint32_t)by, memory_order_relaxed);
    for (int t = 0; t < TABLES && network_is_internet(addr); t++) {
        atomic_fetch_add_explicit(&r->count[t][slot(p, t, id)], (uint32_t)by, memory_order_relaxed);
    }
}

void peers_enter(struct peers *p, unsigned front, const struct sockaddr_storage *addr)
{
    change(p, front, addr, 1);
}

void peers_leave(struct peers *p, unsigned front, const struct sockaddr_storage *addr)
{
    change(p, front, addr, -1);
}

unsigned peers_forget(struct peers *p, unsigned front)
{
    unsigned open = atomic_load_explicit(&p->rows[front].open, memory_order_relaxed);
    memset(&p->rows[front], 0, sizeof p->rows[front]);
    return open;
}
