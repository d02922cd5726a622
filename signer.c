/* The only process that holds a private key: a digest in, a signature out. */

#include "bridge.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { DIGEST_MAX = 64 };

struct request {
    uint64_t number;
    uint32_t key;  /* which of the signer's */
    uint32_t hash; /* BearSSL's id: 4 SHA-256, 5 SHA-384, 6 SHA-512 */
    uint32_t len;
    unsigned char digest[DIGEST_MAX];
};

struct answer {
    uint64_t number;
    uint32_t len; /* 0: refused */
    unsigned char signature[SIGNATURE_MAX];
};

/* ---- the client's side ----------------------------------------------------------------------- */

void signer_link_init(struct signer_link *l, int fd)
{
    *l = (struct signer_link){.fd = fd};
    if (getrandom(&l->next, sizeof l->next, 0) != (ssize_t)sizeof l->next) {
        abort();
    }
}

/* false: nothing came in time. Answers to others, who no longer wait, are skipped; but the signer lives. */
static bool await_answer(struct signer_link *l, uint64_t number, struct answer *a)
{
    int64_t deadline = clock_ms() + (l->silent ? SIGNER_PROBE_WAIT : SIGNER_WAIT);
    for (;;) {
        int64_t left = deadline - clock_ms();
        struct pollfd p = {.fd = l->fd, .events = POLLIN};
        if (left <= 0 || (poll(&p, 1, (int)left) < 0 && errno != EINTR)) {
            return false;
        }
        ssize_t n = recv(l->fd, a, sizeof *a, MSG_DONTWAIT);
        if (n == (ssize_t)sizeof *a && l->silent) {
            log_info("the signer answers again");
            l->silent = false;
            deadline = clock_ms() + SIGNER_WAIT;
        }
        if (n == (ssize_t)sizeof *a && a->number == number) {
            return true;
        }
        if (n == 0 && (p.revents & POLLHUP) != 0) {
            return false;
        }
    }
}

/* Whoever waits for a dead signer holds up all that its loop serves. So that happens once: until an answer comes
 * again, a request is made only now and then, with little patience, and the others fail at once. */
static bool ask(struct signer_link *l, const struct request *r, struct answer *a)
{
    if (l->silent && clock_ms() < l->ask_again) {
        return false;
    }
    if (send(l->fd, r, sizeof *r, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof *r &&
        await_answer(l, r->number, a)) {
        return true;
    }
    if (!l->silent) {
        log_error("the signer does not answer: handshakes and signatures fail until it does");
    }
    l->silent = true;
    l->ask_again = clock_ms() + SIGNER_PROBE_EVERY;
    return false;
}

size_t signer_sign(void *ctx, unsigned hash, unsigned char *data, size_t hash_len, size_t len)
{
    struct signer_link *l = ctx;
    struct request r = {.number = l->next++, .key = l->key, .hash = hash, .len = (uint32_t)hash_len};
    struct answer a;
    if (hash_len > sizeof r.digest) {
        return 0;
    }
    memcpy(r.digest, data, hash_len);
    if (!ask(l, &r, &a) || a.len == 0 || a.len > sizeof a.signature || a.len > len) {
        return 0;
    }
    memcpy(data, a.signature, a.len);
    return a.len;
}

/* ---- the role -------------------------------------------------------------------------------- */

static size_t sign_rsa(const struct key *key, const struct request *r, unsigned char *signature)
{
    static const unsigned char *const oids[] = {
        [br_sha256_ID] = (const unsigned char *)BR_HASH_OID_SHA256,
        [br_sha384_ID] = (const unsigned char *)BR_HASH_OID_SHA384,
        [br_sha512_ID] = (const unsigned char *)BR_HASH_OID_SHA512,
    };
    return rsa_sign(oids[r->hash], r->digest, r->len, &key->rsa_public, &key->rsa, signature);
}

static size_t sign_ec(const struct key *key, const struct request *r, unsigned char *signature)
{
    static const br_hash_class *const classes[] = {
        [br_sha256_ID] = &hash_sha256,
        [br_sha384_ID] = &br_sha384_vtable,
        [br_sha512_ID] = &br_sha512_vtable,
    };
    unsigned char noise[CURVE_NOISE];
    size_t len = 0;
    if (getrandom(noise, sizeof noise, 0) == (ssize_t)sizeof noise) {
        len = curve_sign(classes[r->hash], r->digest, &key->ec, noise, signature);
    } else {
        log_error("the kernel gives no randomness: nothing is signed");
    }
    explicit_bzero(noise, sizeof noise);
    return len;
}

/* first and count: the keys of who asks. */
static void answer_request(const struct key *first, size_t count, const struct request *r, struct answer *a)
{
    static const uint32_t digest_len[] = {[br_sha256_ID] = 32, [br_sha384_ID] = 48, [br_sha512_ID] = 64};
    *a = (struct answer){.number = r->number};
    if (r->key >= count || first[r->key].type == 0 || r->hash < br_sha256_ID || r->hash > br_sha512_ID ||
        r->len != digest_len[r->hash]) {
        return;
    }
    const struct key *key = &first[r->key];
    size_t len = key->type == BR_KEYTYPE_RSA ? sign_rsa(key, r, a->signature) : sign_ec(key, r, a->signature);
    a->len = (uint32_t)len;
}

/* false: the client has shut its end, or has ended and the parent with it. What has not the size of a request is none,
 * an empty message included, for which recv(2) returns 0 as at the end. */
static bool serve_request(const struct signer_client *c, short events)
{
    struct request r;
    struct answer a;
    ssize_t n = recv(c->fd, &r, sizeof r, MSG_DONTWAIT | MSG_TRUNC);
    if (n == 0) {
        return (events & (POLLHUP | POLLRDHUP)) == 0;
    }
    if (n != (ssize_t)sizeof r) {
        return true;
    }
    answer_request(c->keys, c->key_count, &r, &a);
    if (send(c->fd, &a, sizeof a, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        static int64_t complained;
        log_seldom(&complained, "an answer found no room: its handshake fails");
    }
    return true;
}

void signer_run(const struct signer_client *clients, size_t count, const volatile sig_atomic_t *stop)
{
    struct pollfd polls[SIGNER_CLIENTS_MAX];
    if (count > COUNT(polls)) {
        count = COUNT(polls);
    }
    for (size_t i = 0; i < count; i++) {
        polls[i] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN | POLLRDHUP};
    }
    sigset_t none;
    sigemptyset(&none);
    for (size_t open = count; !*stop && open > 0;) {
        if (ppoll(polls, (nfds_t)count, NULL, &none) <= 0) { /* the only place where a signal can come */
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            short events = polls[i].revents;
            bool gone = (events & POLLIN) != 0 ? !serve_request(&clients[i], events) : events != 0;
            if (gone) {
                polls[i].fd = -1;
                open--;
            }
        }
    }
}
