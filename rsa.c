/*
 * RSA by GMP and Nettle, which the process has loaded anyway (libmicrohttpd, GnuTLS). BearSSL raises to 65537 as if it
 * were a secret exponent of any length, in six times as long; its private operation takes two to four times as long,
 * and stays as the fallback.
 *
 * What is encrypted is a content key. mpn_sec_powm takes as long and touches the same memory for all values of one
 * size: GMP manual, "Low-level functions for cryptography". The conversions here are plain loops over all bytes.
 */

#include "bridge.h"

#include <gmp.h>
#include <nettle/bignum.h>
#include <nettle/rsa.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    LIMB = sizeof(mp_limb_t),
    LIMBS_MAX = RSA_MAX / LIMB,
    PRIME_MAX = LIMBS_MAX / 2,
    SCRATCH_MAX = 16 * LIMBS_MAX,
    INFO_MAX = 128,     /* of a DigestInfo */
    RANDOM_BLOCK = 256, /* so much is never cut short (getrandom(2)) */
};

/* Big-endian bytes as limbs, the lowest first; those that are left become 0. */
static void load(mp_limb_t *limbs, size_t count, const unsigned char *bytes, size_t len)
{
    memset(limbs, 0, count * LIMB);
    for (size_t i = 0; i < len; i++) {
        limbs[i / LIMB] |= (mp_limb_t)bytes[len - 1 - i] << 8 * (i % LIMB);
    }
}

static void store(unsigned char *bytes, size_t len, const mp_limb_t *limbs)
{
    for (size_t i = 0; i < len; i++) {
        bytes[len - 1 - i] = (unsigned char)(limbs[i / LIMB] >> 8 * (i % LIMB));
    }
}

static mp_bitcnt_t bits(mp_limb_t n)
{
    mp_bitcnt_t count = 0;
    for (; n != 0; n >>= 1) {
        count++;
    }
    return count;
}

bool rsa_public(unsigned char *x, size_t len, const br_rsa_public_key *key)
{
    mp_limb_t n[LIMBS_MAX], base[LIMBS_MAX], result[LIMBS_MAX], e, scratch[SCRATCH_MAX];
    if (len == 0 || len > RSA_MAX || len != key->nlen || key->n[0] == 0 || (key->n[len - 1] & 1) == 0 ||
        x[0] != 0 || key->elen == 0 || key->elen > LIMB) {
        return false;
    }
    mp_size_t count = (mp_size_t)((len + LIMB - 1) / LIMB);
    load(&e, 1, key->e, key->elen);
    if (e == 0 || mpn_sec_powm_itch(count, bits(e), count) > SCRATCH_MAX) {
        return false;
    }
    load(n, (size_t)count, key->n, len);
    load(base, (size_t)count, x, len);
    mpn_sec_powm(result, base, count, &e, bits(e), n, count, scratch);
    store(x, len, result);
    explicit_bzero(base, sizeof base);
    explicit_bzero(scratch, sizeof scratch);
    return true;
}

/* ---- signing ---------------------------------------------------------------------------------
 *
 * NEWS of Nettle 3.4.1: "All functions using RSA private keys are now side-channel silent, meaning that they try hard
 * to avoid any branches or memory accesses depending on secret data", but for the lowest and highest few bits of the
 * primes, which GMP looks up in small tables. In Debian's builds, valgrind with the private key marked as undefined
 * finds just these lookups, and branches on what is public: that the primes are odd, and the signature. The lengths of
 * the numbers in limbs show, too.
 *
 * Nettle's manual, section 7.7.1.1, asks for the functions on _tr. They blind the message with a random number, half of
 * what they cost, and check the result with the public key before they unblind it: of a wrong one, which may betray
 * the primes (Boneh, DeMillo, Lipton 1997), nothing comes out. BearSSL does not check its own, so that is done here.
 *
 * The numbers of the key stay in limbs, here, and an mpz_t only points to them. The manual also asks for
 * rsa_private_key_prepare(), which multiplies the primes by mpz_mul(), of which nothing is said, to learn the size that
 * the modulus has. What else it checks is checked here.
 */

struct numbers {
    struct rsa_public_key public;
    struct rsa_private_key private;
    mp_limb_t n[LIMBS_MAX], e, p[PRIME_MAX], q[PRIME_MAX], dp[PRIME_MAX], dq[PRIME_MAX], iq[PRIME_MAX];
};

/* How many limbs it has; 0: no room, or none. */
static size_t point_to(mpz_t z, mp_limb_t *limbs, size_t max, const unsigned char *bytes, size_t len)
{
    if (len > max * LIMB) {
        return 0;
    }
    load(limbs, max, bytes, len);
    mpz_roinit_n(z, limbs, (mp_size_t)max);
    return mpz_size(z);
}

/* false: no key, or one that is BearSSL's to use. Nettle asserts most of this, and would end the process. Primes of
 * different lengths it takes, but nobody makes them. */
static bool read_key(struct numbers *k, const br_rsa_public_key *public, const br_rsa_private_key *private)
{
    size_t n = point_to(k->public.n, k->n, LIMBS_MAX, public->n, public->nlen);
    size_t e = point_to(k->public.e, &k->e, 1, public->e, public->elen);
    size_t p = point_to(k->private.p, k->p, PRIME_MAX, private->p, private->plen);
    size_t q = point_to(k->private.q, k->q, PRIME_MAX, private->q, private->qlen);
    size_t dp = point_to(k->private.a, k->dp, PRIME_MAX, private->dp, private->dplen);
    size_t dq = point_to(k->private.b, k->dq, PRIME_MAX, private->dq, private->dqlen);
    size_t iq = point_to(k->private.c, k->iq, PRIME_MAX, private->iq, private->iqlen);
    k->public.size = k->private.size = public->nlen;
    return e > 0 && n == (public->nlen + LIMB - 1) / LIMB && p == q && (2 * p == n || 2 * p == n + 1) &&
           dp > 0 && dp <= p && dq > 0 && dq <= p && iq > 0 && iq <= p;
}

static void draw(void *ctx, size_t len, uint8_t *out)
{
    (void)ctx;
    for (size_t n; len > 0; out += n, len -= n) {
        n = len < RANDOM_BLOCK ? len : RANDOM_BLOCK;
        if (getrandom(out, n, 0) != (ssize_t)n) {
            log_error("the kernel gives no randomness: nothing can be signed");
            abort();
        }
    }
}

/* RFC 8017 §9.2, step 2. oid: its length first, as BearSSL has it. */
static size_t write_info(unsigned char out[INFO_MAX], const unsigned char *oid, const unsigned char *hash,
                         size_t hash_len)
{
    size_t oid_len = oid[0] + (size_t)1;
    unsigned char *at = out;
    if (oid_len + hash_len > INFO_MAX - 9) {
        return 0;
    }
    *at++ = 0x30;
    *at++ = (unsigned char)(7 + oid_len + hash_len);
    *at++ = 0x30;
    *at++ = (unsigned char)(3 + oid_len);
    *at++ = 0x06;
    memcpy(at, oid, oid_len);
    at += oid_len;
    *at++ = 0x05; /* NULL */
    *at++ = 0;
    *at++ = 0x04;
    *at++ = (unsigned char)hash_len;
    memcpy(at, hash, hash_len);
    return (size_t)(at + hash_len - out);
}

static bool sign_by_nettle(const struct numbers *k, const unsigned char *info, size_t info_len,
                           unsigned char *signature)
{
    mpz_t s;
    mpz_init(s);
    bool done = rsa_pkcs1_sign_tr(&k->public, &k->private, NULL, draw, info_len, info, s) == 1;
    if (done) {
        nettle_mpz_get_str_256(k->public.size, signature, s);
    }
    mpz_clear(s);
    return done;
}

static bool sign_by_bearssl(const unsigned char *oid, const unsigned char *hash, size_t hash_len,
                            const br_rsa_public_key *public, const br_rsa_private_key *private,
                            unsigned char *signature)
{
    unsigned char out[INFO_MAX];
    if (br_rsa_pkcs1_sign_get_default()(oid, hash, hash_len, private, signature) == 1 &&
        br_rsa_pkcs1_vrfy_get_default()(signature, public->nlen, oid, hash_len, public, out) == 1 &&
        memcmp(out, hash, hash_len) == 0) {
        return true;
    }
    explicit_bzero(signature, SIGNATURE_MAX); /* a wrong one may betray the key */
    return false;
}

size_t rsa_sign(const unsigned char *oid, const unsigned char *hash, size_t hash_len,
                const br_rsa_public_key *public, const br_rsa_private_key *private, unsigned char *signature)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;
    struct numbers k = {0};
    unsigned char info[INFO_MAX];
    size_t info_len = write_info(info, oid, hash, hash_len);
    memset(signature, 0, SIGNATURE_MAX);
    if (info_len == 0 || public->nlen == 0 || public->nlen > RSA_MAX || public->n[0] == 0 ||
        public->nlen != (private->n_bitlen + 7) / 8) {
        return 0;
    }
    wipe_gmp();
    bool mine = read_key(&k, public, private);
    bool done = mine && sign_by_nettle(&k, info, info_len, signature);
    explicit_bzero(&k, sizeof k);
    if (done) {
        return public->nlen;
    }
    if (!sign_by_bearssl(oid, hash, hash_len, public, private, signature)) {
        return 0;
    }
    if (mine && !atomic_flag_test_and_set(&told)) {
        log_warn("libhogweed cannot sign with a key with which BearSSL can: handshakes cost more");
    }
    return public->nlen;
}
