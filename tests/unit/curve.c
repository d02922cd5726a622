/* curve.c against the vectors of the RFCs, against BearSSL's own arithmetic byte by byte, and against OpenSSL. */

#include "bridge.h"

#include <gmp.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>

#include <cmocka.h>

#include "tests/freed.h"

enum { SIZE = 32, POINT = 65, X25519_ROUNDS = 300, P256_ROUNDS = 100, SIGN_ROUNDS = 100 };

static const char order_hex[] = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
static br_hmac_drbg_context numbers; /* the same in each run */

static void unhex(const char *hex, unsigned char *out, size_t len)
{
    assert_int_equal(strlen(hex), 2 * len);
    for (size_t i = 0; i < len; i++) {
        unsigned value;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &value), 1);
        out[i] = (unsigned char)value;
    }
}

static void assert_hex(const unsigned char *bytes, size_t len, const char *hex)
{
    unsigned char expected[128];
    unhex(hex, expected, len);
    assert_memory_equal(bytes, expected, len);
}

/* ---- what the tests replace ------------------------------------------------------------------ */

static bool broken; /* curve25519_mul_g() of this machine is not the one we tested */

void __real_nettle_curve25519_mul_g(uint8_t *q, const uint8_t *n);
void __wrap_nettle_curve25519_mul_g(uint8_t *q, const uint8_t *n);
void __wrap_nettle_curve25519_mul_g(uint8_t *q, const uint8_t *n)
{
    __real_nettle_curve25519_mul_g(q, n);
    q[7] ^= broken ? 1 : 0;
}

static bool faulty; /* BearSSL's second signature is */

static size_t sign_with_fault(const br_ec_impl *impl, const br_hash_class *hash_class, const void *hash,
                              const br_ec_private_key *key, void *signature)
{
    static unsigned calls;
    size_t len = br_ecdsa_i31_sign_asn1(impl, hash_class, hash, key, signature);
    ((unsigned char *)signature)[len - 1] ^= ++calls % 2 == 0 ? 1 : 0;
    return len;
}

br_ecdsa_sign __real_br_ecdsa_sign_asn1_get_default(void);
br_ecdsa_sign __wrap_br_ecdsa_sign_asn1_get_default(void);
br_ecdsa_sign __wrap_br_ecdsa_sign_asn1_get_default(void)
{
    return faulty ? sign_with_fault : __real_br_ecdsa_sign_asn1_get_default();
}

/* ---- X25519 ---------------------------------------------------------------------------------- */

static uint32_t x25519(unsigned char out[SIZE], const unsigned char scalar[SIZE],
                       const unsigned char point[SIZE])
{
    memmove(out, point, SIZE);
    return curve_impl()->mul(out, SIZE, scalar, SIZE, BR_EC_curve25519);
}

static void test_x25519_rfc7748_section_5_2(void **state)
{
    (void)state;
    static const char *const vectors[][3] = {
        {"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
         "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
         "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"},
        {"4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
         "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
         "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"},
    };
    for (size_t i = 0; i < COUNT(vectors); i++) {
        unsigned char scalar[SIZE], point[SIZE];
        unhex(vectors[i][0], scalar, SIZE);
        unhex(vectors[i][1], point, SIZE);
        assert_int_equal(x25519(point, scalar, point), 1);
        assert_hex(point, SIZE, vectors[i][2]);
    }
}

static void test_x25519_rfc7748_section_5_2_iterated(void **state)
{
    (void)state;
    unsigned char k[SIZE] = {9}, u[SIZE] = {9}, next[SIZE];
    for (int i = 1; i <= 1000; i++) {
        assert_int_equal(x25519(next, k, u), 1);
        memcpy(u, k, SIZE);
        memcpy(k, next, SIZE);
        if (i == 1) {
            assert_hex(k, SIZE, "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
        }
    }
    assert_hex(k, SIZE, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

static void test_x25519_rfc7748_section_6_1(void **state)
{
    (void)state;
    static const char *const keys[][2] = {
        {"77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
         "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"},
        {"5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
         "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"},
    };
    for (size_t i = 0; i < 2; i++) {
        unsigned char private[SIZE], public[SIZE];
        unhex(keys[i][0], private, SIZE);
        assert_int_equal(curve_impl()->mulgen(public, private, SIZE, BR_EC_curve25519), SIZE);
        assert_hex(public, SIZE, keys[i][1]);
        unhex(keys[1 - i][1], public, SIZE);
        assert_int_equal(x25519(public, private, public), 1);
        assert_hex(public, SIZE, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    }
}

/* mul and mulgen of both, on the same input. BearSSL first, for it may change the point's unused bit. */
static void compare(const unsigned char *point, size_t point_len, const unsigned char *x, size_t len,
                    int curve)
{
    const br_ec_impl *theirs = br_ec_get_default();
    unsigned char a[POINT + 1] = {0}, b[POINT + 1] = {0};
    memcpy(a, point, point_len);
    memcpy(b, point, point_len);
    assert_int_equal(theirs->mul(a, point_len, x, len, curve), 1);
    assert_int_equal(curve_impl()->mul(b, point_len, x, len, curve), 1);
    assert_memory_equal(a, b, point_len);
    size_t made = theirs->mulgen(a, x, len, curve);
    assert_int_equal(curve_impl()->mulgen(b, x, len, curve), made);
    assert_memory_equal(a, b, made);
}

static void test_x25519_is_bearssl_on_random_numbers(void **state)
{
    (void)state;
    unsigned char x[SIZE], point[SIZE];
    for (int i = 0; i < X25519_ROUNDS; i++) {
        br_hmac_drbg_generate(&numbers, x, sizeof x);
        br_hmac_drbg_generate(&numbers, point, sizeof point); /* every bit, the unused one too */
        compare(point, SIZE, x, i % 3 == 0 ? 1 + (size_t)i % SIZE : SIZE, BR_EC_curve25519);
    }
}

static void test_x25519_is_bearssl_at_the_edges(void **state)
{
    (void)state;
    static const char *const scalars[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "ecd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010", /* the order of the base point, less 1 */
        "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010",
    };
    static const char *const points[] = {
        "0900000000000000000000000000000000000000000000000000000000000000",
        "0200000000000000000000000000000000000000000000000000000000000000", /* on the twist */
        "ebffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* p - 2 */
        "efffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* p + 2, not reduced */
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    };
    unsigned char x[SIZE], point[SIZE];
    for (size_t i = 0; i < COUNT(scalars); i++) {
        for (size_t k = 0; k < COUNT(points); k++) {
            unhex(scalars[i], x, SIZE);
            unhex(points[k], point, SIZE);
            compare(point, SIZE, x, SIZE, BR_EC_curve25519);
        }
    }
    compare(point, SIZE, x, 0, BR_EC_curve25519);
}

/* RFC 8422 §5.11. BearSSL hands out the zeros. */
static void test_x25519_refuses_points_of_small_order(void **state)
{
    (void)state;
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    unsigned char x[SIZE], point[SIZE];
    br_hmac_drbg_generate(&numbers, x, sizeof x);
    for (size_t i = 0; i < COUNT(points); i++) {
        for (unsigned char top = 0; top < 2; top++) {
            unhex(points[i], point, SIZE);
            point[SIZE - 1] |= (unsigned char)(top << 7);
            assert_int_equal(curve_impl()->mul(point, SIZE, x, SIZE, BR_EC_curve25519), 0);
        }
    }
}

static void test_x25519_refuses_wrong_lengths(void **state)
{
    (void)state;
    unsigned char x[SIZE + 1] = {1}, point[SIZE + 1] = {9};
    static const size_t lengths[] = {0, 1, 31, 33};
    for (size_t i = 0; i < COUNT(lengths); i++) {
        assert_int_equal(curve_impl()->mul(point, lengths[i], x, SIZE, BR_EC_curve25519), 0);
    }
    assert_int_equal(curve_impl()->mul(point, SIZE, x, SIZE + 1, BR_EC_curve25519), 0);
}

/* ---- P-256 ----------------------------------------------------------------------------------- */

static void random_scalar(unsigned char x[SIZE])
{
    br_hmac_drbg_generate(&numbers, x, SIZE);
    x[0] &= 0x7f;
}

static void random_point(unsigned char point[POINT])
{
    unsigned char x[SIZE];
    random_scalar(x);
    assert_int_equal(br_ec_get_default()->mulgen(point, x, SIZE, BR_EC_secp256r1), POINT);
}

static void test_p256_rfc5903_section_8_1(void **state)
{
    (void)state;
    static const char *const keys[][3] = {
        {"c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
         "dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180",
         "5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3"},
        {"c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
         "d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63",
         "56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab"},
    };
    for (size_t i = 0; i < 2; i++) {
        unsigned char private[SIZE], public[POINT];
        unhex(keys[i][0], private, SIZE);
        assert_int_equal(curve_impl()->mulgen(public, private, SIZE, BR_EC_secp256r1), POINT);
        assert_int_equal(public[0], 4);
        assert_hex(public + 1, SIZE, keys[i][1]);
        assert_hex(public + 1 + SIZE, SIZE, keys[i][2]);
        unhex(keys[1 - i][1], public + 1, SIZE);
        unhex(keys[1 - i][2], public + 1 + SIZE, SIZE);
        assert_int_equal(curve_impl()->mul(public, POINT, private, SIZE, BR_EC_secp256r1), 1);
        assert_hex(public + 1, SIZE, "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de");
        assert_hex(public + 1 + SIZE, SIZE,
                   "522bde0af0d8585b8def9c183b5ae38f50235206a8674ecb5d98edb20eb153a2");
    }
}

static void test_p256_is_bearssl_on_random_numbers(void **state)
{
    (void)state;
    unsigned char x[SIZE], point[POINT];
    for (int i = 0; i < P256_ROUNDS; i++) {
        random_scalar(x);
        random_point(point);
        compare(point, POINT, x, i % 3 == 0 ? 1 + (size_t)i % SIZE : SIZE, BR_EC_secp256r1);
    }
}

/* order + by. */
static void near_order(unsigned char x[SIZE], int by)
{
    unhex(order_hex, x, SIZE);
    x[SIZE - 1] = (unsigned char)(x[SIZE - 1] + by); /* 0x51: no carry for what is asked here */
}

static void test_p256_is_bearssl_at_the_edges(void **state)
{
    (void)state;
    unsigned char x[SIZE], point[POINT];
    random_point(point);
    static const int near[] = {-2, -1, 1, 2};
    for (size_t i = 0; i < COUNT(near); i++) {
        near_order(x, near[i]);
        compare(point, POINT, x, SIZE, BR_EC_secp256r1);
        memset(x, 0, SIZE);
        x[SIZE - 1] = (unsigned char)(i + 1);
        compare(point, POINT, x, SIZE, BR_EC_secp256r1);
        compare(point, POINT, x + SIZE - 1, 1, BR_EC_secp256r1);
    }
    memset(x, 0xff, SIZE);
    compare(point, POINT, x, SIZE, BR_EC_secp256r1);
}

/* Neither has an answer for them: only that nothing worse happens, and that both say the same. */
static void test_p256_without_a_product(void **state)
{
    (void)state;
    unsigned char x[SIZE] = {0}, point[POINT], a[POINT], b[POINT];
    random_point(point);
    for (int i = 0; i < 2; i++) {
        memcpy(a, point, POINT);
        memcpy(b, point, POINT);
        assert_int_equal(curve_impl()->mul(a, POINT, x, SIZE, BR_EC_secp256r1),
                         br_ec_get_default()->mul(b, POINT, x, SIZE, BR_EC_secp256r1));
        near_order(x, 0);
    }
}

static void test_p256_refuses_what_is_no_point(void **state)
{
    (void)state;
    unsigned char x[SIZE], good[POINT + 1] = {0}, point[POINT + 1];
    random_scalar(x);
    random_point(good);
    static const size_t lengths[] = {0, 1, 32, 33, 64, 66};
    for (size_t i = 0; i < COUNT(lengths); i++) {
        memcpy(point, good, sizeof point);
        assert_int_equal(curve_impl()->mul(point, lengths[i], x, SIZE, BR_EC_secp256r1), 0);
    }
    for (unsigned first = 0; first < 256; first++) { /* compressed, hybrid, at infinity, none */
        memcpy(point, good, sizeof point);
        point[0] = (unsigned char)first;
        assert_int_equal(curve_impl()->mul(point, POINT, x, SIZE, BR_EC_secp256r1), first == 4);
    }
    for (size_t i = 1; i < POINT; i++) { /* off the curve by a bit */
        unsigned char theirs[POINT];
        memcpy(point, good, sizeof point);
        point[i] ^= 0x10;
        memcpy(theirs, point, POINT);
        assert_int_equal(curve_impl()->mul(point, POINT, x, SIZE, BR_EC_secp256r1), 0);
        if (i % 16 == 0) {
            assert_int_equal(br_ec_get_default()->mul(theirs, POINT, x, SIZE, BR_EC_secp256r1), 0);
        }
    }
    memset(point + 1, 0, 2 * SIZE);
    assert_int_equal(curve_impl()->mul(point, POINT, x, SIZE, BR_EC_secp256r1), 0);
    memset(point + 1, 0xff, 2 * SIZE); /* not below p */
    assert_int_equal(curve_impl()->mul(point, POINT, x, SIZE, BR_EC_secp256r1), 0);
    /* x = 5 is on the curve; x = p + 5 is the same point in another spelling */
    unhex("ffffffff00000001000000000000000000000001000000000000000000000004", point + 1, SIZE);
    unhex("459243b9aa581806fe913bce99817ade11ca503c64d9a3c533415c083248fbcc", point + 1 + SIZE, SIZE);
    assert_int_equal(curve_impl()->mul(point, POINT, x, SIZE, BR_EC_secp256r1), 0);
}

/* ---- ECDSA ----------------------------------------------------------------------------------- */

static const br_hash_class *const hashes[] = {&br_sha256_vtable, &br_sha384_vtable, &br_sha512_vtable};
static const size_t hash_sizes[] = {32, 48, 64};

static void test_sign_rfc6979_section_a_2_5(void **state)
{
    (void)state;
    static const struct {
        const char *message, *r, *s;
    } vectors[] = {
        {"sample", "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
         "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"},
        {"sample", "0eafea039b20e9b42309fb1d89e213057cbf973dc0cfc8f129edddc800ef7719",
         "4861f0491e6998b9455193e34e7b0d284ddd7149a74b95b9261f13abde940954"},
        {"sample", "8496a60b5e9b47c825488827e0495b0e3fa109ec4568fd3f8d1097678eb97f00",
         "2362ab1adbe2b8adf9cb9edab740ea6049c028114f2460f96554f61fae3302fe"},
        {"test", "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367",
         "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083"},
        {"test", "83910e8b48bb0c74244ebdf7f07a1c5413d61472bd941ef3920e623fbccebeb6",
         "8ddbec54cf8cd5874883841d712142a56a8d0f218f5003cb0296b6b509619f2c"},
        {"test", "461d93f31b6540894788fd206c07cfa0cc35f46fa3c91816fff1040ad1581a04",
         "39af9f15de0db8d97e72719c74820d304ce5226e32dedae67519e840d1194e55"},
    };
    unsigned char x[SIZE], hash[64], signature[SIGNATURE_MAX];
    unhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721", x, SIZE);
    br_ec_private_key key = {BR_EC_secp256r1, x, SIZE};
    for (size_t i = 0; i < COUNT(vectors); i++) {
        br_hash_compat_context h;
        hashes[i % 3]->init(&h.vtable);
        hashes[i % 3]->update(&h.vtable, vectors[i].message, strlen(vectors[i].message));
        hashes[i % 3]->out(&h.vtable, hash);
        size_t len = curve_sign(hashes[i % 3], hash, &key, NULL, signature);
        assert_int_equal(br_ecdsa_asn1_to_raw(signature, len), 2 * SIZE);
        assert_hex(signature, SIZE, vectors[i].r);
        assert_hex(signature + SIZE, SIZE, vectors[i].s);
    }
}

static bool openssl_verifies(const br_ec_public_key *key, const unsigned char *hash, size_t hash_len,
                             const unsigned char *signature, size_t len)
{
    char group[] = "prime256v1";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, key->q, key->qlen),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *public = NULL;
    EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    assert_int_equal(EVP_PKEY_fromdata_init(maker), 1);
    assert_int_equal(EVP_PKEY_fromdata(maker, &public, EVP_PKEY_PUBLIC_KEY, parameters), 1);
    EVP_PKEY_CTX *verifier = EVP_PKEY_CTX_new(public, NULL);
    assert_int_equal(EVP_PKEY_verify_init(verifier), 1);
    bool good = EVP_PKEY_verify(verifier, signature, len, hash, hash_len) == 1;
    EVP_PKEY_CTX_free(verifier);
    EVP_PKEY_CTX_free(maker);
    EVP_PKEY_free(public);
    return good;
}

/* The same bytes as BearSSL, which OpenSSL takes, and takes for nothing else. zero: a hash that is 0 modulo the order,
 * for which BearSSL makes a signature and then does not verify it. */
static void check_signature(const br_ec_private_key *key, size_t which, unsigned char *hash, bool zero)
{
    unsigned char ours[SIGNATURE_MAX], theirs[SIGNATURE_MAX], q[POINT];
    size_t len = curve_sign(hashes[which], hash, key, NULL, ours);
    assert_int_equal(len, br_ecdsa_i31_sign_asn1(br_ec_get_default(), hashes[which], hash, key, theirs));
    assert_true(len > 0);
    assert_memory_equal(ours, theirs, len);
    br_ec_public_key public = {BR_EC_secp256r1, q,
                               curve_impl()->mulgen(q, key->x, key->xlen, BR_EC_secp256r1)};
    assert_int_equal(br_ecdsa_i31_vrfy_asn1(br_ec_get_default(), hash, hash_sizes[which], &public, ours, len),
                     !zero);
    assert_true(openssl_verifies(&public, hash, hash_sizes[which], ours, len));
    hash[5] ^= 1;
    assert_false(openssl_verifies(&public, hash, hash_sizes[which], ours, len));
    hash[5] ^= 1;
}

static void test_signatures_are_bearssls_and_openssl_takes_them(void **state)
{
    (void)state;
    unsigned char x[SIZE], hash[64];
    for (int i = 0; i < SIGN_ROUNDS; i++) {
        random_scalar(x);
        br_hmac_drbg_generate(&numbers, hash, sizeof hash);
        br_ec_private_key key = {BR_EC_secp256r1, x, i % 5 == 0 ? 1 + (size_t)i % SIZE : SIZE};
        check_signature(&key, (size_t)i % 3, hash, false);
    }
}

static void test_sign_with_keys_and_hashes_at_the_edges(void **state)
{
    (void)state;
    unsigned char one[SIZE] = {0}, last[SIZE], hash[64];
    one[SIZE - 1] = 1;
    near_order(last, -1);
    br_ec_private_key keys[] = {{BR_EC_secp256r1, one, SIZE}, {BR_EC_secp256r1, last, SIZE}};
    for (size_t i = 0; i < COUNT(keys); i++) {
        for (size_t k = 0; k < COUNT(hashes); k++) {
            memset(hash, 0, sizeof hash);
            check_signature(&keys[i], k, hash, true);
            memset(hash, 0xff, sizeof hash);
            check_signature(&keys[i], k, hash, false);
            for (int by = -1; by <= 1; by++) { /* around where bits2octets() reduces */
                near_order(hash, by);
                check_signature(&keys[i], k, hash, by == 0);
            }
        }
    }
}

static void test_sign_refuses_what_is_no_key(void **state)
{
    (void)state;
    unsigned char x[SIZE + 1] = {0}, hash[32] = {1}, signature[SIGNATURE_MAX];
    br_ec_private_key key = {BR_EC_secp256r1, x, SIZE};
    assert_int_equal(curve_sign(&br_sha256_vtable, hash, &key, NULL, signature), 0);
    near_order(x, 0);
    assert_int_equal(curve_sign(&br_sha256_vtable, hash, &key, NULL, signature), 0);
    memset(x, 0xff, sizeof x);
    assert_int_equal(curve_sign(&br_sha256_vtable, hash, &key, NULL, signature), 0);
    key.xlen = SIZE + 1;
    assert_int_equal(curve_sign(&br_sha256_vtable, hash, &key, NULL, signature), 0);
}

static void test_noise_makes_another_signature_each_time(void **state)
{
    (void)state;
    unsigned char x[SIZE], hash[64], q[POINT], noise[CURVE_NOISE], first[SIGNATURE_MAX],
        second[SIGNATURE_MAX];
    for (size_t i = 0; i < 30; i++) {
        random_scalar(x);
        br_hmac_drbg_generate(&numbers, hash, sizeof hash);
        br_hmac_drbg_generate(&numbers, noise, sizeof noise);
        br_ec_private_key key = {BR_EC_secp256r1, x, SIZE};
        br_ec_public_key public = {BR_EC_secp256r1, q, curve_impl()->mulgen(q, x, SIZE, BR_EC_secp256r1)};
        size_t len = curve_sign(hashes[i % 3], hash, &key, noise, first);
        assert_true(openssl_verifies(&public, hash, hash_sizes[i % 3], first, len));
        assert_int_equal(curve_sign(hashes[i % 3], hash, &key, noise, second), len);
        assert_memory_equal(first, second, len);
        assert_int_equal(br_ecdsa_asn1_to_raw(first, len), 2 * SIZE);
        noise[i % CURVE_NOISE] ^= 0x20;
        len = curve_sign(hashes[i % 3], hash, &key, noise, second);
        assert_true(openssl_verifies(&public, hash, hash_sizes[i % 3], second, len));
        assert_int_equal(br_ecdsa_asn1_to_raw(second, len), 2 * SIZE);
        assert_memory_not_equal(first, second, SIZE); /* r, so another nonce */
    }
}

static void test_p384_is_bearssls(void **state)
{
    (void)state;
    unsigned char x[48], point[97], a[SIGNATURE_MAX], b[SIGNATURE_MAX], hash[48] = {7};
    br_hmac_drbg_generate(&numbers, x, sizeof x);
    x[0] &= 0x7f;
    assert_int_equal(curve_impl()->mulgen(point, x, sizeof x, BR_EC_secp384r1), sizeof point);
    assert_int_equal(curve_impl()->mul(point, sizeof point, x, sizeof x, BR_EC_secp384r1), 1);
    br_ec_private_key key = {BR_EC_secp384r1, x, sizeof x};
    size_t len = curve_sign(&br_sha384_vtable, hash, &key, NULL, a);
    assert_int_equal(len, br_ecdsa_i31_sign_asn1(br_ec_get_default(), &br_sha384_vtable, hash, &key, b));
    assert_memory_equal(a, b, len);
}

static void test_a_signature_that_does_not_come_out_twice_is_not_handed_out(void **state)
{
    (void)state;
    unsigned char x[48] = {1, 2, 3}, hash[48] = {7}, signature[SIGNATURE_MAX], nothing[SIGNATURE_MAX] = {0};
    br_ec_private_key key = {BR_EC_secp384r1, x, sizeof x};
    faulty = true;
    size_t len = curve_sign(&br_sha384_vtable, hash, &key, NULL, signature);
    faulty = false;
    assert_int_equal(len, 0);
    assert_memory_equal(signature, nothing, sizeof signature);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void use_everything(void)
{
    unsigned char x[SIZE] = {0x31, 0x41, 0x59}, point[POINT], signature[SIGNATURE_MAX],
                  noise[CURVE_NOISE] = {26};
    br_ec_private_key key = {BR_EC_secp256r1, x, SIZE};
    static const int curves[] = {BR_EC_curve25519, BR_EC_secp256r1};
    for (size_t i = 0; i < COUNT(curves); i++) {
        size_t len = curve_impl()->mulgen(point, x, SIZE, curves[i]);
        assert_int_equal(curve_impl()->mul(point, len, x, SIZE, curves[i]), 1);
    }
    assert_true(curve_sign(&br_sha256_vtable, x, &key, noise, signature) > 0);
}

static void test_working_memory_is_wiped_before_it_is_freed(void **state)
{
    (void)state;
    void (*release)(void *, size_t);
    curve_impl();
    mp_get_memory_functions(NULL, NULL, &release);
    mp_set_memory_functions(allocate_clean, NULL, release); /* all of a block was clean before it was used */
    watching = true;
    use_everything();
    watching = false;
    assert_true(freed > 0);
    assert_int_equal(dirty, 0);
}

/* Another libhogweed than the one that was tested: slower, but right. */
static void test_a_library_that_computes_otherwise_is_not_used(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) { /* the first call of its process */
        broken = true;
        bool fell_back = curve_impl()->mul == br_ec_get_default()->mul;
        use_everything();
        _exit(fell_back ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void *work(void *failures)
{
    unsigned char x[SIZE] = {1, 2, 3}, point[SIZE];
    for (int i = 0; i < 50; i++) {
        curve_impl()->mulgen(point, x, SIZE, BR_EC_curve25519);
        unsigned char again[SIZE];
        br_ec_get_default()->mulgen(again, x, SIZE, BR_EC_curve25519);
        *(int *)failures += memcmp(point, again, SIZE) != 0;
        memcpy(x, point, SIZE);
    }
    return NULL;
}

static void test_threads_do_not_disturb_each_other(void **state)
{
    (void)state;
    pthread_t threads[4];
    int failures[4] = {0};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, work, &failures[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(failures[i], 0);
    }
}

int main(void)
{
    br_hmac_drbg_init(&numbers, &br_sha256_vtable, "curve", 5);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_library_that_computes_otherwise_is_not_used), /* before all that decide */
        cmocka_unit_test(test_x25519_rfc7748_section_5_2),
        cmocka_unit_test(test_x25519_rfc7748_section_5_2_iterated),
        cmocka_unit_test(test_x25519_rfc7748_section_6_1),
        cmocka_unit_test(test_x25519_is_bearssl_on_random_numbers),
        cmocka_unit_test(test_x25519_is_bearssl_at_the_edges),
        cmocka_unit_test(test_x25519_refuses_points_of_small_order),
        cmocka_unit_test(test_x25519_refuses_wrong_lengths),
        cmocka_unit_test(test_p256_rfc5903_section_8_1),
        cmocka_unit_test(test_p256_is_bearssl_on_random_numbers),
        cmocka_unit_test(test_p256_is_bearssl_at_the_edges),
        cmocka_unit_test(test_p256_without_a_product),
        cmocka_unit_test(test_p256_refuses_what_is_no_point),
        cmocka_unit_test(test_sign_rfc6979_section_a_2_5),
        cmocka_unit_test(test_signatures_are_bearssls_and_openssl_takes_them),
        cmocka_unit_test(test_sign_with_keys_and_hashes_at_the_edges),
        cmocka_unit_test(test_sign_refuses_what_is_no_key),
        cmocka_unit_test(test_noise_makes_another_signature_each_time),
        cmocka_unit_test(test_p384_is_bearssls),
        cmocka_unit_test(test_a_signature_that_does_not_come_out_twice_is_not_handed_out),
        cmocka_unit_test(test_working_memory_is_wiped_before_it_is_freed),
        cmocka_unit_test(test_threads_do_not_disturb_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
