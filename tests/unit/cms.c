/* cmskey.c, cms.c: each recipient gets the content key, and the content comes back whole. */

#include "tests/envelope_parts.h"

enum { SMALL = 4096, LARGE = 1 << 20 };

/* ---- content keys ---------------------------------------------------------------------------- */

static void keys_are_wrapped_as_rfc_3394_has_it(void **state)
{
    (void)state;
    unsigned char kek[32], cek[32], out[CMS_WRAPPED_SIZE];
    for (unsigned i = 0; i < 32; i++) {
        kek[i] = (unsigned char)i;
        cek[i] = (unsigned char)(i < 16 ? i * 0x11 : i - 16);
    }
    cmskey_wrap(out, kek, cek);
    assert_memory_equal(out,
                        "\x28\xc9\xf4\x04\xc4\xb8\x10\xf4\xcb\xcc\xb3\x5c\xfb\x87\xf8\x26\x3f\x57\x86\xe2"
                        "\xd8\x0e\xd3\x26\xcb\xc7\xf0\xe7\x1a\x99\xf4\x3b\xfb\x98\x8b\x9b\x7a\x02\xdd\x21",
                        sizeof out); /* §4.6 */
}

static const unsigned char content_key[CMS_KEY_SIZE] = "0123456789abcdef0123456789abcde";

/* The last OCTET STRING of a KeyTransRecipientInfo. */
static struct der encrypted_key(const struct buf *info)
{
    struct der d = der_read(info->data, info->len);
    struct der seq = der_next(&d, DER_SEQUENCE);
    assert_int_equal(der_small(&seq), 0);
    der_next(&seq, DER_SEQUENCE);
    der_next(&seq, DER_SEQUENCE);
    struct der key = der_next(&seq, DER_OCTET_STRING);
    assert_true(der_done(&seq) && der_done(&d));
    return key;
}

static void pkcs1_padding_has_no_zero_in_it(void **state)
{
    (void)state;
    static struct owner o;
    unsigned char block[256];
    struct zeros rng = zeros();
    struct buf info;
    make_rsa(&o);
    buf_init(&info, SMALL);
    const struct cmskey k = {.cek = content_key, .rng = &rng.vtable};
    assert_true(cmskey_put(&info, &k, &o.cert));
    struct der key = encrypted_key(&info);
    assert_int_equal(key.len, sizeof block);
    memcpy(block, key.at, sizeof block);
    assert_true(br_rsa_private_get_default()(block, &o.rsa));
    size_t zero = sizeof block - CMS_KEY_SIZE - 1;
    assert_memory_equal(block, "\x00\x02", 2);
    assert_ptr_equal(memchr(block + 2, 0, sizeof block - 2), block + zero);
    assert_memory_equal(block + zero + 1, content_key, CMS_KEY_SIZE);
    buf_free(&info);
}

static void oaep_is_with_sha_256(void **state)
{
    (void)state;
    static struct owner o;
    unsigned char block[256];
    struct zeros rng = zeros();
    struct buf info;
    make_rsa(&o);
    buf_init(&info, SMALL);
    const struct cmskey k = {.cek = content_key, .modern = true, .rng = &rng.vtable};
    assert_true(cmskey_put(&info, &k, &o.cert));
    struct der key = encrypted_key(&info);
    size_t len = key.len;
    assert_int_equal(len, sizeof block);
    memcpy(block, key.at, sizeof block);
    assert_true(br_rsa_oaep_decrypt_get_default()(&br_sha256_vtable, NULL, 0, &o.rsa, block, &len));
    assert_int_equal(len, CMS_KEY_SIZE);
    assert_memory_equal(block, content_key, CMS_KEY_SIZE);
    buf_free(&info);
}

/* Does as the recipient would, RFC 5753 §3.1.3. */
static void check_agreement(int curve)
{
    static const char shared_info[] = "\x30\x15\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2d"
                                      "\xa2\x06\x04\x04\x00\x00\x01\x00";
    static struct owner o;
    struct zeros rng = zeros();
    struct buf info;
    make_ec(&o, curve);
    buf_init(&info, SMALL);
    const struct cmskey k = {.cek = content_key, .rng = &rng.vtable};
    assert_true(cmskey_put(&info, &k, &o.cert));
    struct der d = der_read(info.data, info.len);
    struct der seq = der_next(&d, DER_CONTEXT_CONSTRUCTED + 1);
    assert_int_equal(der_small(&seq), 3);
    struct der originator = der_next(&seq, DER_CONTEXT_CONSTRUCTED + 0);
    struct der public = der_next(&originator, DER_CONTEXT_CONSTRUCTED + 1);
    der_next(&public, DER_SEQUENCE);
    struct der point = der_bits(&public);
    der_next(&seq, DER_SEQUENCE);
    struct der list = der_next(&seq, DER_SEQUENCE);
    struct der one = der_next(&list, DER_SEQUENCE);
    der_next(&one, DER_SEQUENCE);
    struct der key = der_next(&one, DER_OCTET_STRING);
    assert_true(der_done(&one) && der_done(&list) && der_done(&seq) && der_done(&d) && der_done(&public));

    unsigned char shared[97], kek[32], wrapped[CMS_WRAPPED_SIZE];
    size_t len, x = br_ec_get_default()->xoff(curve, &len);
    assert_true(point.len <= sizeof shared);
    memcpy(shared, point.at, point.len);
    assert_true(br_ec_get_default()->mul(shared, point.len, o.ec.x, o.ec.xlen, curve));
    br_sha256_context sha;
    br_sha256_init(&sha);
    br_sha256_update(&sha, shared + x, len);
    br_sha256_update(&sha, "\0\0\0\1", 4);
    br_sha256_update(&sha, shared_info, sizeof shared_info - 1);
    br_sha256_out(&sha, kek);
    cmskey_wrap(wrapped, kek, content_key);
    assert_int_equal(key.len, sizeof wrapped);
    assert_memory_equal(key.at, wrapped, sizeof wrapped);
    buf_free(&info);
}

static void curves_agree_on_the_key_that_wraps(void **state)
{
    (void)state;
    check_agreement(BR_EC_secp256r1);
    check_agreement(BR_EC_secp384r1);
}

static void a_point_off_the_curve_is_refused(void **state)
{
    (void)state;
    static struct owner o;
    struct zeros rng = zeros();
    struct buf info;
    make_ec(&o, BR_EC_secp256r1);
    o.public_memory[1 + 32 + 31] ^= 1;
    buf_init(&info, SMALL);
    const struct cmskey k = {.cek = content_key, .rng = &rng.vtable};
    assert_false(cmskey_put(&info, &k, &o.cert));
    buf_free(&info);
}

/* ---- the envelope ---------------------------------------------------------------------------- */

/* The content key is the first that the generator gave. */
static void check_envelope(const struct owner *owner, enum cms_profile profile, size_t len, size_t piece)
{
    static struct cms_envelope e;
    struct zeros rng = zeros(), again = zeros();
    unsigned char cek[CMS_KEY_SIZE], *content = malloc(len + 1);
    struct buf ber;
    struct buf_sink out;
    struct cms_recipients to = {.certs = {&owner->cert}, .count = 1};
    assert_non_null(content);
    for (size_t i = 0; i < len; i++) {
        content[i] = (unsigned char)(i * 31 ^ i >> 8);
    }
    zeros_generate(&again.vtable, cek, sizeof cek);
    buf_init(&ber, PARTS_MAX);
    buf_sink(&out, &ber);
    assert_true(cms_envelope_begin(&e, profile, &to, &rng.vtable, &out.sink));
    for (size_t at = 0; at < len; at += piece) {
        assert_true(e.sink.put(&e.sink, content + at, len - at < piece ? len - at : piece));
    }
    assert_true(cms_envelope_end(&e));
    struct opened o;
    take_apart(&o, &ber, profile == CMS_MODERN);
    if (profile == CMS_MODERN) {
        open_gcm(&o, cek);
    } else {
        open_cbc(&o, cek);
    }
    assert_int_equal(o.content.len, len);
    assert_true(len == 0 || memcmp(o.content.data, content, len) == 0);
    assert_int_equal(o.version,
                     owner->cert.key.key_type == BR_KEYTYPE_EC && profile == CMS_COMPATIBLE ? 2 : 0);
    assert_int_equal(o.recipients, 1);
    buf_free(&o.content);
    buf_free(&ber);
    free(content);
}

static void every_length_around_blocks_and_chunks_comes_back(void **state)
{
    (void)state;
    static struct owner rsa, ec;
    static const size_t middles[] = {16, 64, 128, 256, CMS_CHUNK, 2 * CMS_CHUNK};
    make_rsa(&rsa);
    make_ec(&ec, BR_EC_secp256r1);
    for (size_t i = 0; i < COUNT(middles); i++) {
        for (size_t len = middles[i] - (i == 0 ? 16 : 17); len <= middles[i] + 17; len++) {
            check_envelope(len % 8 == 0 ? &ec : &rsa, CMS_COMPATIBLE, len, 1 + len % 5000);
            check_envelope(len % 8 == 0 ? &ec : &rsa, CMS_MODERN, len, 1 + len % 777);
        }
    }
    check_envelope(&rsa, CMS_COMPATIBLE, 25 * LARGE, 65536);
    check_envelope(&rsa, CMS_MODERN, 3 * LARGE + 5, 4097);
}

static void nobody_to_encrypt_for_is_a_failure(void **state)
{
    (void)state;
    static struct cms_envelope e;
    struct zeros rng = zeros();
    struct buf ber;
    struct buf_sink out;
    struct cms_recipients nobody = {.count = 0};
    static const struct cert keyless;
    struct cms_recipients no_key = {.certs = {&keyless}, .count = 1};
    buf_init(&ber, SMALL);
    buf_sink(&out, &ber);
    assert_false(cms_envelope_begin(&e, CMS_COMPATIBLE, &nobody, &rng.vtable, &out.sink));
    assert_false(e.sink.put(&e.sink, "clear", 5));
    assert_false(cms_envelope_end(&e));
    assert_false(cms_envelope_begin(&e, CMS_MODERN, &no_key, &rng.vtable, &out.sink));
    assert_false(cms_envelope_end(&e));
    assert_int_equal(ber.len, 0);
}

static void an_attribute_is_its_name_and_a_set_of_values(void **state)
{
    (void)state;
    static const unsigned char want[] = {0x30, 9, 0x06, 2, 0x2a, 3, 0x31, 3, 0x02, 1, 5};
    unsigned char memory[32];
    struct buf b;
    buf_borrow(&b, memory, sizeof memory);
    size_t values, attribute = cms_attribute_begin(&b, "1.2.3", &values);
    der_put_small(&b, 5);
    cms_attribute_end(&b, attribute, values);
    assert_true(buf_ok(&b));
    assert_int_equal(b.len, sizeof want);
    assert_memory_equal(b.data, want, sizeof want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_wrapped_as_rfc_3394_has_it),
        cmocka_unit_test(pkcs1_padding_has_no_zero_in_it),
        cmocka_unit_test(oaep_is_with_sha_256),
        cmocka_unit_test(curves_agree_on_the_key_that_wraps),
        cmocka_unit_test(a_point_off_the_curve_is_refused),
        cmocka_unit_test(every_length_around_blocks_and_chunks_comes_back),
        cmocka_unit_test(nobody_to_encrypt_for_is_a_failure),
        cmocka_unit_test(an_attribute_is_its_name_and_a_set_of_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
