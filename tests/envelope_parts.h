/* What the tests of CMS and S/MIME share: a known generator, owners of keys, and a reader of envelopes. */

#ifndef TESTS_ENVELOPE_PARTS_H
#define TESTS_ENVELOPE_PARTS_H

#include "bridge.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PARTS_MAX = 32 << 20 };

/* ---- a generator that is known, and gives many zeros ----------------------------------------- */

struct zeros {
    const br_prng_class *vtable;
    unsigned next;
};

static inline void zeros_generate(const br_prng_class **ctx, void *out, size_t len)
{
    struct zeros *c = (struct zeros *)(void *)ctx;
    unsigned char *bytes = out;
    for (size_t i = 0; i < len; i++) {
        bytes[i] = c->next % 3 == 0 ? 0 : (unsigned char)(c->next * 167);
        c->next++;
    }
}

static const br_prng_class zeros_class = {.context_size = sizeof(struct zeros), .generate = zeros_generate};

static inline struct zeros zeros(void)
{
    return (struct zeros){.vtable = &zeros_class};
}

static inline void seeded(br_hmac_drbg_context *rng, const char *seed)
{
    br_hmac_drbg_init(rng, &br_sha256_vtable, seed, strlen(seed));
}

/* ---- keys and certificates ------------------------------------------------------------------- */

struct owner { /* of a key, with a certificate that has no more than CMS needs */
    struct cert cert;
    br_ec_private_key ec;
    br_rsa_private_key rsa;
    unsigned char private_memory[BR_RSA_KBUF_PRIV_SIZE(2048)], public_memory[BR_RSA_KBUF_PUB_SIZE(2048)];
};

static inline void name_owner(struct owner *o)
{
    o->cert.issuer = der_read("\x30\x00", 2);
    o->cert.serial = der_read("\x02\x01\x07", 3);
}

static inline void make_rsa(struct owner *o)
{
    br_hmac_drbg_context rng;
    seeded(&rng, "rsa");
    *o = (struct owner){0};
    name_owner(o);
    o->cert.key.key_type = BR_KEYTYPE_RSA;
    o->cert.key_bits = 2048;
    assert_true(br_rsa_keygen_get_default()(&rng.vtable, &o->rsa, o->private_memory, &o->cert.key.key.rsa,
                                            o->public_memory, 2048, 65537));
}

static inline void make_ec(struct owner *o, int curve)
{
    br_hmac_drbg_context rng;
    seeded(&rng, "ec");
    *o = (struct owner){0};
    name_owner(o);
    o->cert.key.key_type = BR_KEYTYPE_EC;
    assert_true(br_ec_keygen(&rng.vtable, br_ec_get_default(), &o->ec, o->private_memory, curve) > 0);
    assert_true(br_ec_compute_pub(br_ec_get_default(), &o->cert.key.key.ec, o->public_memory, &o->ec) > 0);
}

/* ---- the envelope ---------------------------------------------------------------------------- */

/* BER with indefinite lengths, as cms.c writes it. */
static inline bool skip_open(struct der *d, unsigned tag)
{
    bool ok = d->len >= 2 && d->at[0] == tag && d->at[1] == 0x80;
    d->at += 2;
    d->len -= 2;
    return ok;
}

/* der_next() wants the shortest length; chunks have two bytes of it. */
static inline size_t take_chunk(struct der *d, struct buf *out)
{
    if (d->len < 4 || d->at[0] != DER_OCTET_STRING || d->at[1] != 0x82) {
        return 0;
    }
    size_t len = (size_t)d->at[2] << 8 | d->at[3];
    assert_true(len > 0 && len <= CMS_CHUNK && d->len >= 4 + len);
    buf_put(out, d->at + 4, len);
    d->at += 4 + len;
    d->len -= 4 + len;
    return len;
}

struct opened {
    struct buf content; /* still encrypted */
    unsigned char iv[16];
    struct der tag;
    unsigned version;
    size_t recipients;
};

static inline void take_apart(struct opened *o, const struct buf *ber, bool gcm)
{
    struct der d = der_read(ber->data, ber->len);
    *o = (struct opened){0};
    buf_init(&o->content, PARTS_MAX);
    assert_true(skip_open(&d, DER_SEQUENCE));
    der_next(&d, DER_OID);
    assert_true(skip_open(&d, DER_CONTEXT_CONSTRUCTED + 0) && skip_open(&d, DER_SEQUENCE));
    o->version = der_small(&d);
    for (struct der set = der_next(&d, DER_SET); set.len > 0 && !set.failed; o->recipients++) {
        der_whole(&set);
    }
    assert_true(skip_open(&d, DER_SEQUENCE));
    der_next(&d, DER_OID);
    struct der algorithm = der_next(&d, DER_SEQUENCE);
    der_next(&algorithm, DER_OID);
    struct der parameters = gcm ? der_next(&algorithm, DER_SEQUENCE) : algorithm;
    struct der iv = der_next(&parameters, DER_OCTET_STRING);
    assert_int_equal(iv.len, gcm ? 12 : 16);
    memcpy(o->iv, iv.at, iv.len);
    assert_true(skip_open(&d, DER_CONTEXT_CONSTRUCTED + 0));
    while (take_chunk(&d, &o->content) > 0) {
    }
    assert_false(d.failed);
    assert_memory_equal(d.at, "\0\0\0\0", 4);
    d.at += 4;
    d.len -= 4;
    if (gcm) {
        o->tag = der_next(&d, DER_OCTET_STRING);
    }
    assert_int_equal(d.len, 6);
    assert_memory_equal(d.at, "\0\0\0\0\0\0", 6);
}

static inline void open_cbc(struct opened *o, const unsigned char *cek)
{
    br_aes_ct64_cbcdec_keys keys;
    struct buf *b = &o->content;
    assert_int_equal(b->len % 16, 0);
    br_aes_ct64_cbcdec_init(&keys, cek, CMS_KEY_SIZE);
    br_aes_ct64_cbcdec_run(&keys, o->iv, b->data, b->len);
    unsigned char pad = b->data[b->len - 1];
    assert_true(pad >= 1 && pad <= 16);
    for (size_t i = 1; i <= pad; i++) {
        assert_int_equal(b->data[b->len - i], pad);
    }
    b->len -= pad;
}

static inline void open_gcm(struct opened *o, const unsigned char *cek)
{
    br_aes_ct64_ctr_keys keys;
    br_gcm_context gcm;
    br_aes_ct64_ctr_init(&keys, cek, CMS_KEY_SIZE);
    br_gcm_init(&gcm, &keys.vtable, br_ghash_ctmul64);
    br_gcm_reset(&gcm, o->iv, 12);
    br_gcm_flip(&gcm);
    br_gcm_run(&gcm, 0, o->content.data, o->content.len);
    assert_int_equal(o->tag.len, 16);
    assert_true(br_gcm_check_tag(&gcm, o->tag.at));
}

#endif
