/* rsa.c computes what BearSSL computes. */

#include "bridge.h"
#include "tests/rsa_keys.h"

#include <gmp.h>
#include <malloc.h>
#include <nettle/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <cmocka.h>

#include "tests/freed.h"

static void fill(unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (unsigned char)rand(); /* the same ones in each run */
    }
}

static void same(const br_rsa_public_key *key, const unsigned char *block)
{
    unsigned char ours[RSA_MAX], theirs[RSA_MAX];
    memcpy(ours, block, key->nlen);
    memcpy(theirs, block, key->nlen);
    assert_true(rsa_public(ours, key->nlen, key));
    assert_int_equal(br_rsa_i31_public(theirs, key->nlen, key), 1);
    assert_memory_equal(ours, theirs, key->nlen);
}

static void every_length_and_exponent_agrees_with_bearssl(void **state)
{
    (void)state;
    static const size_t lengths[] = {256, 257, 263, 264, 265, 383, 384, 511, 512};
    static unsigned char exponents[][8] = {{3}, {17}, {1, 0, 1}, {0, 1, 0, 1}, {0xff, 0xff, 0xff, 0xff}};
    static const size_t exponent_lengths[] = {1, 1, 3, 4, 4};
    for (size_t l = 0; l < COUNT(lengths); l++) {
        unsigned char n[RSA_MAX], x[RSA_MAX];
        fill(n, lengths[l]);
        n[0] |= l % 2 == 0 ? 0x80 : 1;
        n[lengths[l] - 1] |= 1;
        for (size_t e = 0; e < COUNT(exponents); e++) {
            const br_rsa_public_key key = {n, lengths[l], exponents[e], exponent_lengths[e]};
            fill(x, lengths[l]);
            x[0] = 0;
            same(&key, x);
        }
    }
}

static void the_smallest_and_the_greatest_message_agree(void **state)
{
    (void)state;
    unsigned char n[256], x[256] = {0}, e[] = {1, 0, 1};
    const br_rsa_public_key key = {n, sizeof n, e, sizeof e};
    memset(n, 0xff, sizeof n);
    same(&key, x);
    x[255] = 1;
    same(&key, x);
    memset(x + 1, 0xff, sizeof x - 1);
    same(&key, x);
    memset(n, 0, sizeof n);
    n[0] = n[255] = 1; /* one more than the message */
    same(&key, x);
}

static void what_is_no_key_is_refused_and_nothing_touched(void **state)
{
    (void)state;
    unsigned char n[RSA_MAX + 1], x[RSA_MAX + 1] = {0}, before[RSA_MAX + 1], e[9] = {1, 0, 1}, none[] = {0};
    memset(n, 0xff, sizeof n);
    x[5] = 7;
    memcpy(before, x, sizeof x);
    br_rsa_public_key key = {n, 256, e, 3};
    assert_false(rsa_public(x, 255, &key));
    key.nlen = sizeof n;
    assert_false(rsa_public(x, sizeof n, &key));
    key.nlen = 0;
    assert_false(rsa_public(x, 0, &key));
    key = (br_rsa_public_key){n, 256, e, sizeof e};
    assert_false(rsa_public(x, 256, &key));
    key = (br_rsa_public_key){n, 256, e, 0};
    assert_false(rsa_public(x, 256, &key));
    key = (br_rsa_public_key){n, 256, none, 1};
    assert_false(rsa_public(x, 256, &key));
    key = (br_rsa_public_key){n, 256, e, 3};
    n[255] = 2;
    assert_false(rsa_public(x, 256, &key));
    n[255] = 3;
    n[0] = 0;
    assert_false(rsa_public(x, 256, &key));
    n[0] = 0xff;
    assert_memory_equal(x, before, sizeof x);
    x[0] = 1;
    assert_false(rsa_public(x, 256, &key));
}

/* ---- what the tests replace ------------------------------------------------------------------ */

static bool broken;  /* Nettle cannot sign */
static size_t asked; /* how often it was to */
static size_t drawn; /* bytes of randomness */

int __real_nettle_rsa_pkcs1_sign_tr(const struct rsa_public_key *public,
                                    const struct rsa_private_key *private, void *ctx,
                                    nettle_random_func *random, size_t len, const uint8_t *info, mpz_t s);
int __wrap_nettle_rsa_pkcs1_sign_tr(const struct rsa_public_key *public,
                                    const struct rsa_private_key *private, void *ctx,
                                    nettle_random_func *random, size_t len, const uint8_t *info, mpz_t s);
int __wrap_nettle_rsa_pkcs1_sign_tr(const struct rsa_public_key *public,
                                    const struct rsa_private_key *private, void *ctx,
                                    nettle_random_func *random, size_t len, const uint8_t *info, mpz_t s)
{
    asked++;
    return broken ? 0 : __real_nettle_rsa_pkcs1_sign_tr(public, private, ctx, random, len, info, s);
}

ssize_t __real_getrandom(void *out, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *out, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *out, size_t len, unsigned flags)
{
    drawn += len;
    return __real_getrandom(out, len, flags);
}

/* ---- signing --------------------------------------------------------------------------------- */

static const struct {
    const unsigned char *oid;
    size_t size;
} hashes[] = {
    {(const unsigned char *)BR_HASH_OID_SHA256, 32},
    {(const unsigned char *)BR_HASH_OID_SHA384, 48},
    {(const unsigned char *)BR_HASH_OID_SHA512, 64},
};

/* The same bytes as BearSSL, with each hash. */
static void check_signatures(const struct pair *k)
{
    unsigned char hash[64], ours[SIGNATURE_MAX], theirs[SIGNATURE_MAX];
    for (size_t i = 0; i < COUNT(hashes); i++) {
        fill(hash, sizeof hash);
        assert_int_equal(rsa_sign(hashes[i].oid, hash, hashes[i].size, &k->public, &k->private, ours),
                         k->public.nlen);
        assert_int_equal(br_rsa_i31_pkcs1_sign(hashes[i].oid, hash, hashes[i].size, &k->private, theirs), 1);
        assert_memory_equal(ours, theirs, k->public.nlen);
    }
}

static void signatures_are_bearssls(void **state)
{
    (void)state;
    static const struct prime pairs[][2] = {
        {{1024, 0, 118}, {1024, 1, 2348}},  {{1024, 1, 2348}, {1024, 0, 118}},
        {{1536, 0, 1370}, {1536, 1, 105}},  {{2048, 0, 1492}, {2048, 1, 3171}},
        {{1032, 0, 3014}, {1032, 1, 93}},   {{1050, 0, 1166}, {1050, 1, 33}},
        {{1050, 0, 1166}, {1032, 1, 93}},   {{1032, 0, 3014}, {1050, 1, 33}},
        {{1000, 0, 1306}, {1000, 1, 1643}},
    };
    for (size_t i = 0; i < COUNT(pairs); i++) {
        struct pair k;
        make_pair(&k, &pairs[i][0], &pairs[i][1]);
        asked = drawn = 0;
        check_signatures(&k);
        assert_int_equal(asked, COUNT(hashes));                         /* Nettle did it */
        assert_in_range(drawn, COUNT(hashes) * k.public.nlen, 1 << 14); /* and blinded each anew */
    }
}

static void primes_of_different_lengths_are_left_to_bearssl(void **state)
{
    (void)state;
    static const struct prime pairs[][2] = {
        {{1048, 0, 563}, {1000, 0, 1306}},
        {{1000, 0, 1306}, {1048, 0, 563}},
        {{1020, 0, 809}, {1028, 0, 1008}},
    };
    asked = 0;
    for (size_t i = 0; i < COUNT(pairs); i++) {
        struct pair k;
        make_pair(&k, &pairs[i][0], &pairs[i][1]);
        check_signatures(&k);
    }
    assert_int_equal(asked, 0);
}

static void what_nettle_cannot_sign_bearssl_does(void **state)
{
    (void)state;
    struct pair k;
    make_pair(&k, &prime_1024[0], &prime_1024[1]);
    asked = 0;
    broken = true;
    check_signatures(&k);
    broken = false;
    assert_int_equal(asked, COUNT(hashes));
}

/* One half of it right and the other wrong is what betrays the primes. */
static void assert_refused(const struct pair *k)
{
    static const unsigned char none[SIGNATURE_MAX];
    unsigned char hash[32] = {7}, signature[SIGNATURE_MAX];
    memset(signature, 0x55, sizeof signature);
    assert_int_equal(rsa_sign(hashes[0].oid, hash, sizeof hash, &k->public, &k->private, signature), 0);
    assert_memory_equal(signature, none, sizeof none);
}

static void a_key_with_a_wrong_part_signs_nothing(void **state)
{
    (void)state;
    struct pair k;
    make_pair(&k, &prime_1024[0], &prime_1024[1]);
    unsigned char *parts[] = {k.private.p, k.private.q, k.private.dp, k.private.dq, k.private.iq, k.n};
    static const size_t places[] = {1, 64, 127};
    for (size_t i = 0; i < COUNT(parts); i++) {
        for (size_t place = 0; place < COUNT(places); place++) {
            parts[i][places[place]] ^= 2;
            assert_refused(&k);
            parts[i][places[place]] ^= 2;
        }
        parts[i][127] ^= 1; /* an even prime, among others */
        assert_refused(&k);
        parts[i][127] ^= 1;
    }
    k.n[0] ^= 0x80;
    assert_refused(&k);
    k.n[0] ^= 0x80;
    unsigned char top = k.n[0];
    k.n[0] = 0;
    assert_refused(&k);
    k.n[0] = top;
    k.e[2] = 3;
    assert_refused(&k);
    k.e[2] = 1;
    check_signatures(&k);
}

static void a_key_with_a_part_too_short_or_too_long_signs_nothing(void **state)
{
    (void)state;
    struct pair k;
    make_pair(&k, &prime_1024[0], &prime_1024[1]);
    br_rsa_private_key whole = k.private;
    size_t *lengths[] = {&k.private.plen,  &k.private.qlen, &k.private.dplen, &k.private.dqlen,
                         &k.private.iqlen, &k.public.nlen,  &k.public.elen};
    for (size_t i = 0; i < COUNT(lengths); i++) {
        size_t len = *lengths[i];
        for (size_t less = 1; less <= len; less += less < 9 ? 1 : 40) {
            *lengths[i] = len - less;
            assert_refused(&k);
        }
        *lengths[i] = len;
    }
    assert_memory_equal(&k.private, &whole, sizeof whole);
    unsigned char **parts[] = {&k.private.p, &k.private.q, &k.private.dp, &k.private.dq, &k.private.iq};
    for (size_t i = 0; i < COUNT(parts); i++) { /* or too long */
        k.private = whole;
        *parts[i] = k.n;
        *lengths[i] = k.public.nlen;
        assert_refused(&k);
    }
}

static void working_memory_is_wiped_before_it_is_freed(void **state)
{
    (void)state;
    void (*release)(void *, size_t);
    struct pair k;
    make_pair(&k, &prime_1024[0], &prime_1024[1]);
    wipe_gmp();
    mp_get_memory_functions(NULL, NULL, &release);
    mp_set_memory_functions(allocate_clean, NULL, release); /* all of a block was clean before it was used */
    unsigned char hash[32] = {7}, signature[SIGNATURE_MAX];
    watching = true;
    size_t len = rsa_sign(hashes[0].oid, hash, sizeof hash, &k.public, &k.private, signature);
    watching = false;
    assert_int_equal(len, 256);
    assert_true(freed > 0);
    assert_int_equal(dirty, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_and_exponent_agrees_with_bearssl),
        cmocka_unit_test(the_smallest_and_the_greatest_message_agree),
        cmocka_unit_test(what_is_no_key_is_refused_and_nothing_touched),
        cmocka_unit_test(signatures_are_bearssls),
        cmocka_unit_test(primes_of_different_lengths_are_left_to_bearssl),
        cmocka_unit_test(what_nettle_cannot_sign_bearssl_does),
        cmocka_unit_test(a_key_with_a_wrong_part_signs_nothing),
        cmocka_unit_test(a_key_with_a_part_too_short_or_too_long_signs_nothing),
        cmocka_unit_test(working_memory_is_wiped_before_it_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
