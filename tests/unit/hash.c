/* hash.c against BearSSL's own SHA-256, in all the ways in which BearSSL uses a hash. */

#include "bridge.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static unsigned char bytes[1000];

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(i * 7 + i / 256);
    }
    return 0;
}

static void theirs(const void *data, size_t len, unsigned char digest[32])
{
    br_sha256_context c;
    br_sha256_init(&c);
    br_sha256_update(&c, data, len);
    br_sha256_out(&c, digest);
}

/* FIPS 180-2, appendix B.1. */
static void the_vector_of_the_standard(void **state)
{
    (void)state;
    static const unsigned char expected[32] = {
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
        0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    unsigned char digest[32];
    br_hash_compat_context c;
    hash_sha256.init(&c.vtable);
    assert_ptr_equal(c.vtable, &hash_sha256);
    c.vtable->update(&c.vtable, "abc", 3);
    c.vtable->out(&c.vtable, digest);
    assert_memory_equal(digest, expected, 32);
}

static void the_same_digests_of_any_length_in_any_pieces(void **state)
{
    (void)state;
    for (size_t len = 0; len < 300; len++) {
        for (size_t piece = 1; piece < 140; piece += 23) {
            unsigned char expected[32], digest[32];
            br_hash_compat_context c;
            hash_sha256.init(&c.vtable);
            for (size_t at = 0; at < len; at += piece) {
                c.vtable->update(&c.vtable, bytes + at, len - at < piece ? len - at : piece);
                c.vtable->out(&c.vtable, digest); /* and it goes on as if nobody had asked */
            }
            c.vtable->out(&c.vtable, digest);
            theirs(bytes, len, expected);
            assert_memory_equal(digest, expected, 32);
        }
    }
}

static void a_state_goes_from_one_to_the_other(void **state)
{
    (void)state;
    for (size_t blocks = 0; blocks < 5; blocks++) {
        br_hash_compat_context ours;
        br_sha256_context other;
        unsigned char a[32], b[32];
        hash_sha256.init(&ours.vtable);
        br_sha256_init(&other);
        hash_sha256.update(&ours.vtable, bytes, blocks * 64);
        br_sha256_update(&other, bytes, blocks * 64);
        assert_int_equal(hash_sha256.state(&ours.vtable, a), blocks * 64);
        assert_int_equal(br_sha256_state(&other, b), blocks * 64);
        assert_memory_equal(a, b, 32);
        memset(&ours, 0x55, sizeof ours);
        hash_sha256.init(&ours.vtable);
        hash_sha256.update(&ours.vtable, "left over", 9);
        hash_sha256.set_state(&ours.vtable, b, blocks * 64);
        hash_sha256.update(&ours.vtable, bytes + blocks * 64, 100);
        assert_int_equal(hash_sha256.state(&ours.vtable, a), blocks * 64 + 100);
        hash_sha256.out(&ours.vtable, a);
        theirs(bytes, blocks * 64 + 100, b);
        assert_memory_equal(a, b, 32);
    }
}

static void it_says_of_itself_what_bearssl_says_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(hash_sha256.desc, br_sha256_vtable.desc);
    assert_true(hash_sha256.context_size <= sizeof(br_hash_compat_context));
}

static void in_a_multihash(void **state)
{
    (void)state;
    for (size_t len = 0; len < 400; len += 13) {
        br_multihash_context m;
        unsigned char expected[32], digest[32];
        br_multihash_zero(&m);
        br_multihash_setimpl(&m, br_sha256_ID, &hash_sha256);
        br_multihash_setimpl(&m, br_sha512_ID, &br_sha512_vtable);
        br_multihash_init(&m);
        br_multihash_update(&m, bytes, len / 3);
        br_multihash_update(&m, bytes + len / 3, len - len / 3);
        assert_int_equal(br_multihash_out(&m, br_sha256_ID, digest), 32);
        theirs(bytes, len, expected);
        assert_memory_equal(digest, expected, 32);
    }
}

static void in_an_hmac(void **state)
{
    (void)state;
    for (size_t key = 0; key < 150; key += 7) {
        unsigned char a[32], b[32];
        br_hmac_key_context ours, other;
        br_hmac_context c;
        br_hmac_key_init(&ours, &hash_sha256, bytes, key);
        br_hmac_key_init(&other, &br_sha256_vtable, bytes, key);
        br_hmac_init(&c, &ours, 0);
        br_hmac_update(&c, bytes + 100, 77);
        br_hmac_out(&c, a);
        br_hmac_init(&c, &other, 0);
        br_hmac_update(&c, bytes + 100, 77);
        br_hmac_out(&c, b);
        assert_memory_equal(a, b, 32);
    }
}

static void in_the_pseudorandom_function_of_tls(void **state)
{
    (void)state;
    const br_tls_prf_seed_chunk seed[] = {{bytes, 32}, {bytes + 40, 32}};
    for (size_t len = 1; len < 200; len += 9) {
        unsigned char a[200], b[200];
        memset(a, 0x55, sizeof a);
        memset(b, 0x55, sizeof b);
        hash_prf_sha256(a, len, bytes + 200, 48, "key expansion", 2, seed);
        br_tls12_sha256_prf(b, len, bytes + 200, 48, "key expansion", 2, seed);
        assert_memory_equal(a, b, sizeof a);
    }
}

static void in_one_go(void **state)
{
    (void)state;
    unsigned char expected[32], digest[32];
    theirs(bytes, 500, expected);
    hash_digest(bytes, 500, digest);
    assert_memory_equal(digest, expected, 32);
    theirs(NULL, 0, expected);
    hash_digest(NULL, 0, digest);
    assert_memory_equal(digest, expected, 32);
}

/* RFC 4231 §4.3. */
static void keyed_in_one_go(void **state)
{
    (void)state;
    static const unsigned char expected[32] = {
        0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
        0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
    unsigned char digest[32];
    hash_hmac("Jefe", 4, "what do ya want for nothing?", 28, digest);
    assert_memory_equal(digest, expected, 32);
}

/* The vectors of RFC 7914 §11, of which one block is the beginning. */
static void a_password_becomes_a_key(void **state)
{
    (void)state;
    static const unsigned char one[32] = {0x55, 0xac, 0x04, 0x6e, 0x56, 0xe3, 0x08, 0x9f, 0xec, 0x16, 0x91,
                                          0xc2, 0x25, 0x44, 0xb6, 0x05, 0xf9, 0x41, 0x85, 0x21, 0x6d, 0xde,
                                          0x04, 0x65, 0xe6, 0x8b, 0x9d, 0x57, 0xc2, 0x0d, 0xac, 0xbc};
    static const unsigned char many[32] = {0x4d, 0xdc, 0xd8, 0xf6, 0x0b, 0x98, 0xbe, 0x21, 0x83, 0x0c, 0xee,
                                           0x5e, 0xf2, 0x27, 0x01, 0xf9, 0x64, 0x1a, 0x44, 0x18, 0xd0, 0x4c,
                                           0x04, 0x14, 0xae, 0xff, 0x08, 0x87, 0x6b, 0x34, 0xab, 0x56};
    unsigned char key[32];
    hash_pbkdf2("passwd", "salt", 4, 1, key);
    assert_memory_equal(key, one, 32);
    hash_pbkdf2("Password", "NaCl", 4, 80000, key);
    assert_memory_equal(key, many, 32);
}

static void any_difference_is_one(void **state)
{
    (void)state;
    unsigned char other[100];
    memcpy(other, bytes, sizeof other);
    assert_true(hash_same(bytes, other, sizeof other));
    assert_true(hash_same(bytes, "", 0));
    for (size_t i = 0; i < sizeof other; i++) {
        for (unsigned bit = 1; bit < 256; bit <<= 1) {
            other[i] ^= (unsigned char)bit;
            assert_false(hash_same(bytes, other, sizeof other));
            other[i] ^= (unsigned char)bit;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vector_of_the_standard),
        cmocka_unit_test(the_same_digests_of_any_length_in_any_pieces),
        cmocka_unit_test(a_state_goes_from_one_to_the_other),
        cmocka_unit_test(it_says_of_itself_what_bearssl_says_of_its_own),
        cmocka_unit_test(in_a_multihash),
        cmocka_unit_test(in_an_hmac),
        cmocka_unit_test(in_one_go),
        cmocka_unit_test(keyed_in_one_go),
        cmocka_unit_test(a_password_becomes_a_key),
        cmocka_unit_test(any_difference_is_one),
        cmocka_unit_test(in_the_pseudorandom_function_of_tls),
    };
    return cmocka_run_group_tests_name("hash", tests, setup, NULL);
}
