/* The arithmetic of X25519 and P-256, from Nettle, behind BearSSL's interface. BearSSL 0.6 has no code for 64-bit
 * multipliers and takes three to nine times as long; it stays as the fallback, and as what each process compares
 * Nettle with before the first use.
 *
 * Nettle's manual, section 7.7.3.1 "Side-channel silence", says of its elliptic curve operations that timing and
 * memory accesses depend only on the size of the input and its place in memory, not on the bits, and NEWS of 3.3 and
 * 3.4.1 repeat it for private keys on curves. Of these operations this file uses curve25519_mul, curve25519_mul_g
 * (section 7.7.3.4), ecc_point_mul, ecc_point_mul_g (ecc.h) and ecc_ecdsa_sign (ecdsa.h, the step within ecdsa_sign
 * of section 7.7.3.2 that takes the nonce). In Debian's build, valgrind with their secrets marked as undefined finds no
 * secret address and no secret branch in them but assertions, which always hold.
 *
 * Nothing of the kind is said about GMP's mpz_t, which ecc_scalar_set(), ecc_point_get() and the signature of
 * ecdsa_sign() go through. So secrets enter and leave as limbs, here, and an mpz_t holds only the point that the peer
 * sent in clear. ecdsa_sign() would also leave its nonce behind in freed memory. */

#include "bridge.h"

#include <gmp.h>
#include <nettle/curve25519.h>
#include <nettle/ecc-curve.h>
#include <nettle/ecdsa.h>
#include <pthread.h>
#include <string.h>

enum {
    SIZE = 32,                          /* bytes of a number, on either curve */
    LIMBS = SIZE / sizeof(mp_limb_t),   /* of a number, least significant first */
    POINT = 1 + 2 * SIZE,               /* 04 X Y */
    SCRATCH = 2048 / sizeof(mp_limb_t), /* limbs; ecc_ecdsa_sign() of Nettle 3.8 asks for 352 bytes */
};

static pthread_once_t chosen = PTHREAD_ONCE_INIT;
static br_ec_impl chosen_impl;
static bool trusted; /* Nettle agrees with BearSSL */

/* ---- X25519, RFC 7748 §5 --------------------------------------------------------------------- */

/* The least significant byte first, as in the RFC: so BearSSL has it here, other than its header says. */
static void x25519_scalar(uint8_t out[SIZE], const unsigned char *x, size_t len)
{
    memset(out, 0, SIZE);
    memcpy(out, x, len);
}

static uint32_t x25519_mul(unsigned char *point, size_t point_len, const unsigned char *x, size_t len)
{
    if (point_len != SIZE || len > SIZE) {
        return 0;
    }
    uint8_t n[SIZE], product[SIZE], any = 0;
    x25519_scalar(n, x, len);
    curve25519_mul(product, n, point);
    for (size_t i = 0; i < SIZE; i++) {
        any |= product[i];
    }
    memcpy(point, product, SIZE);
    explicit_bzero(n, sizeof n);
    explicit_bzero(product, sizeof product);
    return any != 0; /* RFC 8422 §5.11: all zero must be refused, which BearSSL 0.6 does not */
}

static size_t x25519_mulgen(unsigned char *point, const unsigned char *x, size_t len)
{
    uint8_t n[SIZE];
    x25519_scalar(n, x, len < SIZE ? len : SIZE);
    curve25519_mul_g(point, n);
    explicit_bzero(n, sizeof n);
    return SIZE;
}

/* ---- P-256 ----------------------------------------------------------------------------------- */

static void to_limbs(mp_limb_t n[LIMBS], const unsigned char bytes[SIZE])
{
    memset(n, 0, SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        n[i / sizeof *n] |= (mp_limb_t)bytes[SIZE - 1 - i] << i % sizeof *n * 8;
    }
}

static void to_bytes(unsigned char bytes[SIZE], const mp_limb_t n[LIMBS])
{
    for (size_t i = 0; i < SIZE; i++) {
        bytes[SIZE - 1 - i] = (unsigned char)(n[i / sizeof *n] >> i % sizeof *n * 8);
    }
}

/* less = x - order. 1: x was smaller, 0: not. In a time that does not tell. */
static unsigned less_order(unsigned char less[SIZE], const unsigned char x[SIZE])
{
    size_t len;
    const unsigned char *order = br_ec_get_default()->order(BR_EC_secp256r1, &len);
    unsigned borrow = 0;
    for (size_t i = SIZE; i-- > 0;) {
        unsigned byte = (unsigned)x[i] - order[i] - borrow;
        less[i] = (unsigned char)byte;
        borrow = byte >> 8 & 1;
    }
    return borrow;
}

/* Multipliers, nonces and private keys: false unless 0 < x < order, which is all that Nettle takes. bytes is x in its
 * full length. */
static bool to_scalar(mp_limb_t n[LIMBS], unsigned char bytes[SIZE], const unsigned char *x, size_t len)
{
    unsigned char less[SIZE];
    unsigned any = 0;
    if (len > SIZE) {
        return false;
    }
    memmove(bytes + SIZE - len, x, len);
    memset(bytes, 0, SIZE - len);
    for (size_t i = 0; i < SIZE; i++) {
        any |= bytes[i];
    }
    bool good = less_order(less, bytes) & (any != 0);
    to_limbs(n, bytes);
    explicit_bzero(less, sizeof less);
    return good;
}

/* n times from, or times the generator. */
static void p256_times(unsigned char out[POINT], mp_limb_t n[LIMBS], const struct ecc_point *from)
{
    mp_limb_t limbs[2 * LIMBS]; /* X and Y */
    struct ecc_scalar scalar = {.ecc = nettle_get_secp_256r1(), .p = n};
    struct ecc_point product = {.ecc = scalar.ecc, .p = limbs};
    if (from == NULL) {
        ecc_point_mul_g(&product, &scalar);
    } else {
        ecc_point_mul(&product, &scalar, from);
    }
    out[0] = 4; /* SEC 1 §2.3.3: not compressed */
    to_bytes(out + 1, limbs);
    to_bytes(out + 1 + SIZE, limbs + LIMBS);
    explicit_bzero(limbs, sizeof limbs);
}

/* What the peer sent, public. false: not on the curve, or not in the form that TLS asks for (RFC 8422 §5.4.1). */
static bool read_point(struct ecc_point *p, const unsigned char *point, size_t len)
{
    if (len != POINT || point[0] != 4) {
        return false;
    }
    mpz_t x, y;
    mpz_init(x);
    mpz_init(y);
    mpz_import(x, SIZE, 1, 1, 0, 0, point + 1);
    mpz_import(y, SIZE, 1, 1, 0, 0, point + 1 + SIZE);
    bool on_curve = ecc_point_set(p, x, y) == 1;
    mpz_clear(x);
    mpz_clear(y);
    return on_curve;
}

static uint32_t p256_mul(unsigned char *point, size_t point_len, const unsigned char *x, size_t len)
{
    mp_limb_t n[LIMBS], limbs[2 * LIMBS];
    unsigned char bytes[SIZE];
    struct ecc_point from = {.ecc = nettle_get_secp_256r1(), .p = limbs};
    if (!read_point(&from, point, point_len)) {
        return 0;
    }
    /* BearSSL draws multipliers by bits: one in 2^32 is beyond the order. Those are its own to compute. */
    bool good = to_scalar(n, bytes, x, len);
    uint32_t done = 1;
    if (good) {
        p256_times(point, n, &from);
    } else {
        done = br_ec_get_default()->mul(point, point_len, x, len, BR_EC_secp256r1);
    }
    explicit_bzero(n, sizeof n);
    explicit_bzero(bytes, sizeof bytes);
    return done;
}

static size_t p256_mulgen(unsigned char *point, const unsigned char *x, size_t len)
{
    mp_limb_t n[LIMBS];
    unsigned char bytes[SIZE];
    size_t point_len = POINT;
    if (to_scalar(n, bytes, x, len)) {
        p256_times(point, n, NULL);
    } else {
        point_len = br_ec_get_default()->mulgen(point, x, len, BR_EC_secp256r1);
    }
    explicit_bzero(n, sizeof n);
    explicit_bzero(bytes, sizeof bytes);
    return point_len;
}

/* ---- ECDSA on P-256 --------------------------------------------------------------------------
 *
 * The nonce is that of RFC 6979: HMAC_DRBG is its generator (§3.2 and §3.3), the seed the key, the hash and noise
 * (§3.6). It cannot repeat however bad the noise is; with it, a fault in one of two signatures of the same hash does not
 * betray the key, as it would if both had one nonce. Without noise the signature is the very bytes that BearSSL would
 * make, which the tests hold it to. */

static void nonce_init(br_hmac_drbg_context *nonces, const br_hash_class *hash_class,
                       const unsigned char key[SIZE], const unsigned char hash[SIZE],
                       const unsigned char *noise)
{
    enum { KNOWN = 2 * SIZE };
    unsigned char seed[KNOWN + CURVE_NOISE], less[SIZE];
    unsigned keep = 0U - less_order(less, hash); /* all ones: the hash is below the order as it is */
    memcpy(seed, key, SIZE);
    for (size_t i = 0; i < SIZE; i++) { /* bits2octets(), §2.3.4 */
        seed[SIZE + i] = (unsigned char)((hash[i] & keep) | (less[i] & ~keep));
    }
    if (noise != NULL) {
        memcpy(seed + KNOWN, noise, CURVE_NOISE);
    }
    br_hmac_drbg_init(nonces, hash_class, seed, noise != NULL ? sizeof seed : KNOWN);
    explicit_bzero(seed, sizeof seed);
    explicit_bzero(less, sizeof less);
}

static bool is_zero(const mp_limb_t n[LIMBS])
{
    mp_limb_t any = 0;
    for (size_t i = 0; i < LIMBS; i++) {
        any |= n[i];
    }
    return any == 0;
}

/* signature: r and s, SIZE bytes each. */
static void p256_sign(const br_hash_class *hash_class, const unsigned char hash[SIZE],
                      const mp_limb_t key[LIMBS], const unsigned char key_bytes[SIZE],
                      const unsigned char *noise, unsigned char signature[2 * SIZE])
{
    mp_limb_t k[LIMBS], r[LIMBS], s[LIMBS], scratch[SCRATCH];
    unsigned char bytes[SIZE];
    br_hmac_drbg_context nonces;
    nonce_init(&nonces, hash_class, key_bytes, hash, noise);
    do {
        do {
            br_hmac_drbg_generate(&nonces, bytes, sizeof bytes);
        } while (!to_scalar(k, bytes, bytes, sizeof bytes));
        ecc_ecdsa_sign(nettle_get_secp_256r1(), key, k, SIZE, hash, r, s, scratch);
    } while (is_zero(r) || is_zero(s)); /* both are public from here on */
    to_bytes(signature, r);
    to_bytes(signature + SIZE, s);
    explicit_bzero(&nonces, sizeof nonces);
    explicit_bzero(bytes, sizeof bytes);
    explicit_bzero(k, sizeof k);
    explicit_bzero(scratch, sizeof scratch);
}

/* BearSSL's nonce is the same for the same hash, so of two signatures that differ, one is wrong, and would betray the
 * key beside a good one. */
static size_t sign_by_bearssl(const br_hash_class *hash_class, const void *hash, const br_ec_private_key *key,
                              unsigned char *signature)
{
    unsigned char again[SIGNATURE_MAX];
    br_ecdsa_sign sign_asn1 = br_ecdsa_sign_asn1_get_default();
    size_t len = sign_asn1(br_ec_get_default(), hash_class, hash, key, signature);
    if (len > 0 && (sign_asn1(br_ec_get_default(), hash_class, hash, key, again) != len ||
                    memcmp(signature, again, len) != 0)) {
        log_error("two signatures of the same differ, so one is wrong: this machine computes unreliably");
        explicit_bzero(signature, SIGNATURE_MAX);
        len = 0;
    }
    explicit_bzero(again, sizeof again);
    return len;
}

static size_t sign(const br_hash_class *hash_class, const void *hash, const br_ec_private_key *key,
                   const unsigned char *noise, unsigned char *signature)
{
    mp_limb_t n[LIMBS];
    unsigned char bytes[SIZE];
    size_t hash_len = hash_class->desc >> BR_HASHDESC_OUT_OFF & BR_HASHDESC_OUT_MASK;
    bool ours = key->curve == BR_EC_secp256r1 && hash_len >= SIZE && to_scalar(n, bytes, key->x, key->xlen);
    size_t len = 0;
    if (ours) {
        p256_sign(hash_class, hash, n, bytes, noise, signature);
        len = br_ecdsa_raw_to_asn1(signature, (size_t)2 * SIZE);
    } else {
        len = sign_by_bearssl(hash_class, hash, key, signature);
    }
    explicit_bzero(n, sizeof n);
    explicit_bzero(bytes, sizeof bytes);
    return len;
}

/* ---- choosing -------------------------------------------------------------------------------- */

static uint32_t mul(unsigned char *point, size_t point_len, const unsigned char *x, size_t len, int curve)
{
    return curve == BR_EC_curve25519  ? x25519_mul(point, point_len, x, len)
           : curve == BR_EC_secp256r1 ? p256_mul(point, point_len, x, len)
                                      : br_ec_get_default()->mul(point, point_len, x, len, curve);
}

static size_t mulgen(unsigned char *point, const unsigned char *x, size_t len, int curve)
{
    return curve == BR_EC_curve25519  ? x25519_mulgen(point, x, len)
           : curve == BR_EC_secp256r1 ? p256_mulgen(point, x, len)
                                      : br_ec_get_default()->mulgen(point, x, len, curve);
}

/* This binary was tested with one build of the library; the machine may have another. Any numbers will do. */
static bool agrees(void)
{
    const br_ec_impl *theirs = br_ec_get_default();
    static const int curves[] = {BR_EC_curve25519, BR_EC_secp256r1};
    unsigned char x[SIZE], a[SIGNATURE_MAX], b[SIGNATURE_MAX];
    for (size_t i = 0; i < SIZE; i++) {
        x[i] = (unsigned char)(17 * i + 1);
    }
    for (size_t i = 0; i < COUNT(curves); i++) {
        size_t len = mulgen(a, x, sizeof x, curves[i]);
        if (theirs->mulgen(b, x, sizeof x, curves[i]) != len || memcmp(a, b, len) != 0 ||
            mul(a, len, x, sizeof x, curves[i]) != 1 || theirs->mul(b, len, x, sizeof x, curves[i]) != 1 ||
            memcmp(a, b, len) != 0) {
            return false;
        }
    }
    br_ec_private_key key = {BR_EC_secp256r1, x, sizeof x};
    size_t len = sign(&br_sha256_vtable, x, &key, NULL, a);
    return len > 0 && len == br_ecdsa_sign_asn1_get_default()(theirs, &br_sha256_vtable, x, &key, b) &&
           memcmp(a, b, len) == 0;
}

static void choose(void)
{
    chosen_impl = *br_ec_get_default();
    wipe_gmp();
    trusted = ecc_size(nettle_get_secp_256r1()) == LIMBS &&
              ecc_ecdsa_sign_itch(nettle_get_secp_256r1()) <= SCRATCH && agrees();
    if (trusted) {
        chosen_impl.mul = mul;
        chosen_impl.mulgen = mulgen;
    } else {
        log_warn(
            "the curves of libhogweed differ from BearSSL's, which are used instead: handshakes cost more");
    }
}

const br_ec_impl *curve_impl(void)
{
    pthread_once(&chosen, choose);
    return &chosen_impl;
}

size_t curve_sign(const br_hash_class *hash_class, const void *hash, const br_ec_private_key *key,
                  const unsigned char *noise, unsigned char *signature)
{
    pthread_once(&chosen, choose);
    return trusted ? sign(hash_class, hash, key, noise, signature)
                   : sign_by_bearssl(hash_class, hash, key, signature);
}
