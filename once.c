/* Once is once: a double click, a reload, a retry are answered with the receipt of the first, and are no second
 * mail.
 *
 * A submission is known by a fingerprint. Who wants to store one claims its fingerprint first, in a table that
 * all fronts share:
 *
 *     EMPTY    nobody has it
 *     CLAIMED  a front is about to store it, under this receipt; others with the same wait
 *     STORED   it is durable: others with the same get its receipt
 *     OPEN     the front failed, or died and may have got as far as the rename: the next with the same takes
 *              over, and stores it under the same receipt, which makes the same file and the same mail of it
 *
 * The table is sets of a few slots, each set under one of a few robust mutexes. In a slot the state is written
 * last, so that a process that dies inside leaves it empty or whole. Only the owner ends a claim, and the
 * parent for an owner that is dead: neither needs the lock. What is kept are keyed hashes, receipts and times,
 * nothing that a visitor wrote. */

#include "bridge.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>

enum {
    SETS = 4096,
    WAYS = 16, /* four megabytes, of which only what is used costs memory */
    LOCKS = 64,
    LOCK_WAIT = 100, /* milliseconds: longer only if its holder was stopped in the middle */
};

enum claim_state { EMPTY, CLAIMED, STORED, OPEN };

struct slot {
    _Atomic uint32_t state;
    int32_t owner;
    int64_t time;
    unsigned char key[ONCE_KEY], check[ONCE_KEY];
    char ref[REF_SIZE];
};

struct shared {
    pthread_mutex_t locks[LOCKS];
    unsigned char secret[ONCE_SECRET];
    _Atomic uint64_t place; /* in the journal, the next one */
    _Atomic bool used[SETS];
    struct slot sets[SETS][WAYS];
};

struct once { /* each process's own, but for what is shared */
    struct shared *shared;
    bool ready; /* the rest is derived from the secret */
    br_hmac_key_context hmac;
    unsigned char content_key[16];
    br_ghash ghash;
};

/* ---- shared memory --------------------------------------------------------------------------- */

struct once *once_new(void)
{
    struct once *o = calloc(1, sizeof *o);
    void *shared =
        o == NULL ? MAP_FAILED
                  : mmap(NULL, sizeof *o->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t robust;
    if (shared == MAP_FAILED) {
        free(o);
        return NULL;
    }
    o->shared = shared;
    if (getrandom(o->shared->secret, ONCE_SECRET, 0) != ONCE_SECRET || pthread_mutexattr_init(&robust) != 0) {
        once_free(o);
        return NULL;
    }
    pthread_mutexattr_setpshared(&robust, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
    for (size_t i = 0; i < LOCKS; i++) {
        pthread_mutex_init(&o->shared->locks[i], &robust);
    }
    pthread_mutexattr_destroy(&robust);
    return o;
}

void once_free(struct once *o)
{
    if (o != NULL) {
        munmap(o->shared, sizeof *o->shared);
        explicit_bzero(o, sizeof *o);
        free(o);
    }
}

void once_secret(struct once *o, const unsigned char secret[ONCE_SECRET])
{
    memcpy(o->shared->secret, secret, ONCE_SECRET);
}

static void hash(struct once *o, unsigned char out[ONCE_KEY], char kind, struct span a, struct span b)
{
    br_hmac_context hmac;
    const uint64_t a_len = a.len; /* where one ends and the other begins */
    br_hmac_init(&hmac, &o->hmac, ONCE_KEY);
    br_hmac_update(&hmac, &kind, 1);
    br_hmac_update(&hmac, &a_len, sizeof a_len);
    br_hmac_update(&hmac, a.at, a.len);
    br_hmac_update(&hmac, b.at, b.len);
    br_hmac_out(&hmac, out);
}

/* The first use is after the secret is known. */
static void derive(struct once *o)
{
    if (o->ready) {
        return;
    }
    br_hmac_key_init(&o->hmac, &hash_sha256, o->shared->secret, ONCE_SECRET);
    hash(o, o->content_key, 'h', (struct span){"", 0}, (struct span){"", 0});
    o->ghash = br_ghash_pclmul_get();
    if (o->ghash == 0) {
        o->ghash = br_ghash_ctmul64;
    }
    o->ready = true;
}

void once_seal(struct once *o, const void *bytes, size_t len, unsigned char seal[ONCE_KEY])
{
    derive(o);
    hash(o, seal, 'j', (struct span){bytes, len}, (struct span){"", 0});
}

uint64_t once_place(struct once *o, uint64_t count)
{
    return atomic_fetch_add_explicit(&o->shared->place, count, memory_order_relaxed);
}

/* ---- fingerprints ---------------------------------------------------------------------------- */

/* Uploads are large and the loop waits: GHASH (NIST SP 800-38D §6.4) with a secret key is many times faster than
 * SHA-256 and as good at telling contents apart for whoever does not know the key; what leaves this file has gone
 * through HMAC behind it. A block with kind and length stands before each part, so that no two contents are the same
 * blocks. */
static void mix(struct once *o, unsigned char y[16], unsigned char kind, const void *bytes, size_t len)
{
    unsigned char block[16] = {kind};
    const uint64_t n = len;
    memcpy(block + 8, &n, sizeof n);
    o->ghash(y, o->content_key, block, sizeof block);
    if (len > 0) {
        o->ghash(y, o->content_key, bytes, len);
    }
}

/* Those that a page fetches anew each time it is shown. All others count, also the hidden ones: a mended _replyto is
 * another mail. */
static bool is_fleeting(const struct field *f)
{
    static const char *const names[] = {ONCE_FIELD, TOKEN_FIELD, TOKEN_PROOF_FIELD};
    for (size_t i = 0; i < COUNT(names); i++) {
        if (!f->file && buf_equal(&f->name, names[i])) {
            return true;
        }
    }
    return false;
}

static void mix_fields(struct once *o, unsigned char y[16], struct form *fields)
{
    for (size_t i = 0; i < form_count(fields); i++) {
        const struct field *f = form_field(fields, i);
        if (!is_fleeting(f)) {
            mix(o, y, f->file ? 'f' : 'n', f->name.data, f->name.len);
            mix(o, y, 'u', f->filename.data, f->filename.len);
            mix(o, y, 'v', f->value.data, f->value.len);
        }
    }
}

bool once_header(const char *text, struct span *key)
{
    size_t len = strlen(text);
    bool quoted = len >= 2 && text[0] == '"' && text[len - 1] == '"';
    *key = (struct span){text + (quoted ? 1 : 0), len - (quoted ? 2 : 0)};
    for (size_t i = 0; i < key->len; i++) {
        char c = key->at[i];
        if (c < ' ' || c > '~' || c == '"' || (!quoted && (c == ' ' || c == ',' || c == ';'))) {
            return false;
        }
    }
    return key->len > 0 && key->len <= ONCE_HEADER_MAX;
}

void once_identify(struct once *o, struct once_claim *c, const char *form, struct form *fields,
                   const struct once_sender *from)
{
    unsigned char content[16] = {0};
    struct span name = {form, strlen(form)}, all = {(const char *)content, sizeof content};
    const struct field *nonce = form_find(fields, ONCE_FIELD);
    derive(o);
    mix_fields(o, content, fields);
    memset(c->check, 0, sizeof c->check);
    if (from->key.at != NULL) {
        hash(o, c->key, 'k', name, from->key);
        hash(o, c->check, 'c', name, all);
        return;
    }
    if (nonce != NULL && nonce->value.len > 0) {
        mix(o, content, 'o', nonce->value.data, nonce->value.len);
        hash(o, c->key, 'o', name, all);
        return;
    }
    mix(o, content, 'a', &from->visitor, sizeof from->visitor);
    if (from->agent != NULL) {
        mix(o, content, 'b', from->agent, strlen(from->agent));
    }
    hash(o, c->key, 'a', name, all);
}

void once_hide(struct form *fields)
{
    for (size_t i = 0; i < form_count(fields); i++) {
        struct field *f = form_field(fields, i);
        f->hidden = f->hidden || (!f->file && buf_equal(&f->name, ONCE_FIELD));
    }
}

/* ---- claims ---------------------------------------------------------------------------------- */

static uint32_t state_of(const struct slot *s)
{
    return atomic_load_explicit(&s->state, memory_order_acquire);
}

static void set_state(struct slot *s, enum claim_state state)
{
    atomic_store_explicit(&s->state, state, memory_order_release);
}

static size_t set_of(const unsigned char key[ONCE_KEY])
{
    return (size_t)(key[0] | key[1] << 8) % SETS; /* the key is a keyed hash: nobody can choose it */
}

static pthread_mutex_t *lock_of(struct once *o, size_t set)
{
    return &o->shared->locks[set % LOCKS];
}

/* What an owner that died left is whole, see above. */
static bool is_locked(pthread_mutex_t *lock, int error)
{
    return (error == EOWNERDEAD ? pthread_mutex_consistent(lock) : error) == 0;
}

static bool lock_set(struct once *o, size_t set)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += LOCK_WAIT * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    return is_locked(lock_of(o, set), pthread_mutex_timedlock(lock_of(o, set), &until));
}

static bool try_lock_set(struct once *o, size_t set)
{
    return is_locked(lock_of(o, set), pthread_mutex_trylock(lock_of(o, set)));
}

static void unlock_set(struct once *o, size_t set)
{
    pthread_mutex_unlock(lock_of(o, set));
}

static struct slot *find_slot(struct slot *set, const unsigned char key[ONCE_KEY])
{
    for (int i = 0; i < WAYS; i++) {
        if (state_of(&set[i]) != EMPTY && memcmp(set[i].key, key, ONCE_KEY) == 0) {
            return &set[i];
        }
    }
    return NULL;
}

/* An empty one, else the oldest that nobody is at work on. */
static struct slot *find_place(struct slot *set)
{
    struct slot *oldest = NULL;
    for (int i = 0; i < WAYS; i++) {
        uint32_t state = state_of(&set[i]);
        if (state == EMPTY) {
            return &set[i];
        }
        if (state != CLAIMED && (oldest == NULL || set[i].time < oldest->time)) {
            oldest = &set[i];
        }
    }
    return oldest;
}

/* Clocks are set, so the future counts as well. */
static bool is_recent(const struct slot *s, int64_t now, unsigned window)
{
    int64_t age = now - s->time;
    return age < (int64_t)window && age > -(int64_t)window;
}

static void fill(struct slot *s, const struct once_claim *c, int32_t owner, enum claim_state state)
{
    set_state(s, EMPTY);
    s->owner = owner;
    s->time = c->time;
    memcpy(s->key, c->key, ONCE_KEY);
    memcpy(s->check, c->check, ONCE_KEY);
    memcpy(s->ref, c->ref, REF_SIZE);
    set_state(s, state);
}

static void hold(struct once *o, struct once_claim *c, struct slot *s)
{
    c->slot = (uint32_t)(s - &o->shared->sets[0][0]);
    c->held = true;
}

/* The receipt becomes part of a file name: it is looked at again, since another front wrote it. */
static bool adopt(struct once_claim *c, const struct slot *s)
{
    if (s->ref[REF_LEN] != '\0' || !spool_ref_ok(s->ref)) {
        return false;
    }
    c->time = s->time;
    memcpy(c->ref, s->ref, REF_SIZE);
    return true;
}

static enum once_verdict claim_in(struct once *o, struct slot *set, struct once_claim *c, unsigned window,
                                  int32_t owner)
{
    struct slot *s = find_slot(set, c->key);
    uint32_t state = s == NULL ? EMPTY : state_of(s);
    bool same = s != NULL && memcmp(s->check, c->check, ONCE_KEY) == 0;
    if (state == CLAIMED) {
        return same ? ONCE_WAIT : ONCE_OTHER;
    }
    if (s != NULL && is_recent(s, c->time, window)) {
        if (state == STORED && !same) {
            return ONCE_OTHER;
        }
        bool adopted = same && adopt(c, s);
        if (state == STORED && adopted) {
            return ONCE_REPEAT;
        }
        c->again = adopted;
    }
    if (s == NULL) {
        s = find_place(set);
        if (s != NULL && state_of(s) != EMPTY && is_recent(s, c->time, window)) {
            stats_add(STAT_ONCE_EVICTED, 1);
        }
    }
    if (s != NULL) { /* else all are claims: this one goes without */
        fill(s, c, owner, CLAIMED);
        hold(o, c, s);
    }
    return ONCE_FIRST;
}

enum once_verdict once_claim(struct once *o, struct once_claim *c, unsigned window, int32_t owner)
{
    size_t set = set_of(c->key);
    c->held = c->again = false;
    if (!lock_set(o, set)) {
        return ONCE_FIRST;
    }
    atomic_store_explicit(&o->shared->used[set], true, memory_order_relaxed);
    enum once_verdict verdict = claim_in(o, o->shared->sets[set], c, window, owner);
    unlock_set(o, set);
    return verdict;
}

void once_settle(struct once *o, struct once_claim *c, bool stored)
{
    if (c->held) {
        set_state(&o->shared->sets[0][0] + c->slot, stored ? STORED : OPEN);
        c->held = false;
    }
}

/* Whoever takes a front over finds receipts and times here, which are names in the spool: so no longer than they are of
 * use. A lock that is taken, by a front that works or hangs, is left for the next time. */
void once_sweep(struct once *o, int64_t before)
{
    for (size_t set = 0; set < SETS; set++) {
        if (!atomic_load_explicit(&o->shared->used[set], memory_order_relaxed) || !try_lock_set(o, set)) {
            continue;
        }
        for (int i = 0; i < WAYS; i++) {
            struct slot *s = &o->shared->sets[set][i];
            uint32_t state = state_of(s);
            if ((state == STORED || state == OPEN) && s->time < before) {
                set_state(s, EMPTY);
                explicit_bzero(s, sizeof *s);
            }
        }
        unlock_set(o, set);
    }
}

void once_forget(struct once *o, int32_t owner)
{
    for (size_t set = 0; set < SETS; set++) {
        if (!atomic_load_explicit(&o->shared->used[set], memory_order_relaxed)) {
            continue; /* reading it would only make the kernel find memory for it */
        }
        for (int i = 0; i < WAYS; i++) {
            struct slot *s = &o->shared->sets[set][i];
            if (state_of(s) == CLAIMED && s->owner == owner) {
                set_state(s, OPEN);
            }
        }
    }
}

void once_restore(struct once *o, const struct once_claim *c, bool stored)
{
    size_t set = set_of(c->key);
    if (!lock_set(o, set)) {
        return;
    }
    atomic_store_explicit(&o->shared->used[set], true, memory_order_relaxed);
    struct slot *s = find_slot(o->shared->sets[set], c->key);
    if (s == NULL) {
        s = find_place(o->shared->sets[set]);
    } else if (state_of(s) == STORED && s->time >= c->time) {
        s = NULL; /* what is known is as good */
    }
    if (s != NULL) {
        fill(s, c, 0, stored ? STORED : OPEN);
    }
    unlock_set(o, set);
}
