/* rsa.c computes what BearSSL computes. */

#include "bridge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_and_exponent_agrees_with_bearssl),
        cmocka_unit_test(the_smallest_and_the_greatest_message_agree),
        cmocka_unit_test(what_is_no_key_is_refused_and_nothing_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
