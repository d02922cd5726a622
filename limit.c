/* How often a visitor, and a form, may be heard: token buckets in memory that all fronts share.
 *
 * A bucket is one number: the time at which it will be full again ("theoretical arrival time" in the generic
 * cell rate algorithm, ITU-T I.371). One that is full says nothing and its place is free, so nothing needs to
 * be tidied up. No lock: two fronts that take the same place in the same instant lose one count. */

#include "bridge.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

/* A megabyte, of which only what is used costs memory. */
enum { SETS = 8192, WAYS = 8, SECOND = 1000000 };

struct bucket {
    _Atomic uint64_t id;
    _Atomic int64_t full_at;
};

struct limit { /* each process's own, but for the buckets */
    br_hmac_key_context key;
    struct bucket (*sets)[WAYS];
};

struct limit *limit_new(void)
{
    unsigned char secret[32];
    struct limit *l = calloc(1, sizeof *l);
    if (l == NULL || getrandom(secret, sizeof secret, 0) != (ssize_t)sizeof secret) {
        free(l);
        return NULL;
    }
    br_hmac_key_init(&l->key, &hash_sha256, secret, sizeof secret);
    explicit_bzero(secret, sizeof secret);
    void *shared =
        mmap(NULL, SETS * sizeof *l->sets, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        free(l);
        return NULL;
    }
    l->sets = shared;
    return l;
}

void limit_free(struct limit *l)
{
    if (l != NULL) {
        munmap(l->sets, SETS * sizeof *l->sets);
        explicit_bzero(l, sizeof *l); /* the key of its hash */
        free(l);
    }
}

/* A keyed hash, so that nobody can choose addresses that share a set and push each other out. */
static uint64_t bucket_id(const struct limit *l, const char *form, uint64_t visitor)
{
    br_hmac_context hmac;
    unsigned char out[8];
    uint64_t id;
    br_hmac_init(&hmac, &l->key, sizeof out);
    br_hmac_update(&hmac, &visitor, sizeof visitor);
    br_hmac_update(&hmac, form, strlen(form));
    br_hmac_out(&hmac, out);
    memcpy(&id, out, sizeof id);
    return id | 1; /* never 0, which is an empty place */
}

/* The bucket of this id. If there is none, that of the set which is full, or will be first: who has taken most
 * stays longest. */
static struct bucket *find_bucket(struct limit *l, uint64_t id)
{
    struct bucket *set = l->sets[(id >> 8) % SETS], *least = &set[0];
    for (int i = 0; i < WAYS; i++) {
        if (atomic_load_explicit(&set[i].id, memory_order_acquire) == id) {
            return &set[i];
        }
        if (atomic_load_explicit(&set[i].full_at, memory_order_relaxed) <
            atomic_load_explicit(&least->full_at, memory_order_relaxed)) {
            least = &set[i];
        }
    }
    atomic_store_explicit(&least->full_at, 0, memory_order_relaxed);
    atomic_store_explicit(&least->id, id, memory_order_release);
    return least;
}

unsigned limit_take(struct limit *l, const struct rate *rate, const char *form, uint64_t visitor, int64_t now)
{
    if (rate->count == 0) {
        return 0;
    }
    struct bucket *b = find_bucket(l, bucket_id(l, form, visitor));
    const int64_t all = (int64_t)rate->seconds * SECOND, one = all / rate->count;
    int64_t full_at = atomic_load_explicit(&b->full_at, memory_order_relaxed);
    for (;;) {
        int64_t from = full_at < now         ? now
                       : full_at > now + all ? now + all
                                             : full_at; /* a reload changed the rate */
        if (from + one > now + all) {
            return (unsigned)((from + one - now - all + SECOND - 1) / SECOND);
        }
        if (atomic_compare_exchange_weak_explicit(&b->full_at, &full_at, from + one, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return 0;
        }
    }
}
