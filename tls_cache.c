/* TLS sessions that can be resumed, in memory that all fronts share.
 *
 * A session is found by the first bytes of its id, which are random, in a set of a few slots. Each slot has a
 * lock that is only ever tried: a process that dies inside one costs that slot, and nobody waits. With the secret of a
 * session that is too old, what was said in it could still be read by one who recorded it and later gets at the memory:
 * it is wiped by the next who looks into its set, or else by a sweep. */

#include "bridge.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { SETS = 1024, WAYS = 4, LIFETIME = 3600, SWEEP_EVERY = 60 }; /* seconds */

struct session {
    atomic_flag busy;
    uint32_t saved; /* seconds, CLOCK_MONOTONIC; 0: empty */
    br_ssl_session_parameters params;
};

struct sessions {
    _Atomic uint32_t sweep_at; /* as saved; 0: there is nothing to sweep */
    atomic_uchar used[SETS];   /* the others have never been touched, and take no memory */
    struct session sets[SETS][WAYS];
};

/* Only the sessions are shared: what a process calls through is its own. */
struct tls_cache {
    const br_ssl_session_cache_class *vtable;
    struct sessions *shared;
};

static uint32_t now_seconds(void)
{
    return (uint32_t)(clock_ms() / 1000) + 1; /* never 0 */
}

static size_t session_set(const br_ssl_session_parameters *p)
{
    return (size_t)(p->session_id[0] | p->session_id[1] << 8) % SETS;
}

/* false: it is not to be had. A session that is too old is none any more. */
static bool slot_take(struct session *s)
{
    if (atomic_flag_test_and_set_explicit(&s->busy, memory_order_acquire)) {
        return false;
    }
    if (s->saved != 0 && now_seconds() - s->saved >= LIFETIME) {
        explicit_bzero(&s->params, sizeof s->params);
        s->saved = 0;
    }
    return true;
}

static void slot_leave(struct session *s)
{
    if (s != NULL) {
        atomic_flag_clear_explicit(&s->busy, memory_order_release);
    }
}

static void cache_save(const br_ssl_session_cache_class **ctx, br_ssl_server_context *sc,
                       const br_ssl_session_parameters *params)
{
    (void)sc;
    struct sessions *shared = ((struct tls_cache *)(void *)ctx)->shared;
    size_t number = session_set(params);
    struct session *set = shared->sets[number];
    struct session *oldest = NULL; /* and ours, until it is left */
    for (int i = 0; i < WAYS; i++) {
        struct session *other = &set[i];
        if (!slot_take(other)) {
            continue;
        }
        if (oldest == NULL || other->saved < oldest->saved) {
            other = oldest;
            oldest = &set[i];
        }
        slot_leave(other);
    }
    if (oldest != NULL) {
        oldest->params = *params;
        oldest->saved = now_seconds();
        uint32_t none = 0;
        atomic_store(&shared->used[number], 1);
        atomic_compare_exchange_strong(&shared->sweep_at, &none, oldest->saved + LIFETIME);
    }
    slot_leave(oldest);
}

static int cache_load(const br_ssl_session_cache_class **ctx, br_ssl_server_context *sc,
                      br_ssl_session_parameters *params)
{
    (void)sc;
    struct session *set = ((struct tls_cache *)(void *)ctx)->shared->sets[session_set(params)];
    int found = 0;
    for (int i = 0; i < WAYS; i++) {
        struct session *s = &set[i];
        if (!slot_take(s)) {
            continue;
        }
        if (!found && s->saved != 0 && s->params.session_id_len == params->session_id_len &&
            memcmp(s->params.session_id, params->session_id, params->session_id_len) == 0) {
            *params = s->params;
            found = 1;
        }
        slot_leave(s);
    }
    return found;
}

int64_t tls_cache_sweep_at(const struct tls_cache *c)
{
    uint32_t at = atomic_load_explicit(&c->shared->sweep_at, memory_order_relaxed);
    return at == 0 ? 0 : (int64_t)(at - 1) * 1000;
}

/* When the first of its sessions was saved; 0: it has none. Of one that another process holds nothing is known. */
static uint32_t sweep_set(struct session *set)
{
    uint32_t first = 0;
    for (int i = 0; i < WAYS; i++) {
        uint32_t saved = now_seconds();
        if (slot_take(&set[i])) {
            saved = set[i].saved;
            slot_leave(&set[i]);
        }
        first = saved != 0 && (first == 0 || saved < first) ? saved : first;
    }
    return first;
}

void tls_cache_sweep(struct tls_cache *c)
{
    struct sessions *shared = c->shared;
    uint32_t first = 0, soon = now_seconds() + SWEEP_EVERY;
    if (atomic_exchange(&shared->sweep_at, 0) ==
        0) { /* another does it. Who saves from here on, sets it again */
        return;
    }
    for (size_t i = 0; i < SETS; i++) {
        if (atomic_exchange(&shared->used[i], 0) != 0) {
            uint32_t saved = sweep_set(shared->sets[i]);
            if (saved != 0) {
                atomic_store(&shared->used[i], 1);
                first = first == 0 || saved < first ? saved : first;
            }
        }
    }
    if (first != 0) {
        uint32_t due = first + LIFETIME;
        atomic_store(&shared->sweep_at, due > soon ? due : soon);
    }
}

static const br_ssl_session_cache_class cache_class = {
    .context_size = sizeof(struct tls_cache),
    .save = cache_save,
    .load = cache_load,
};

struct tls_cache *tls_cache_new(void)
{
    struct tls_cache *c = calloc(1, sizeof *c);
    void *shared =
        c == NULL ? MAP_FAILED
                  : mmap(NULL, sizeof *c->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        free(c);
        return NULL;
    }
    c->vtable = &cache_class;
    c->shared = shared;
    return c;
}

/* The last process to unmap the secrets gives them back to the kernel, which zeroes them. */
void tls_cache_free(struct tls_cache *c)
{
    if (c != NULL) {
        munmap(c->shared, sizeof *c->shared);
        free(c);
    }
}

const br_ssl_session_cache_class **tls_cache_class(struct tls_cache *c)
{
    return &c->vtable;
}
