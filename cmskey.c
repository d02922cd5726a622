/*
 * A content-encryption key for one recipient: CMS RecipientInfos (RFC 5652
 * §6.2) for RSA (RFC 3370 §4.2.1, RFC 4055 §4.1) and for elliptic curves
 * (RFC 5753 §3.1, with a fresh key of the sender for each message).
 */

#include "bridge.h"

#include <string.h>

#define OID_RSA_OAEP       "1.2.840.113549.1.1.7"
#define OID_MGF1           "1.2.840.113549.1.1.8"
#define OID_AES256_WRAP    "2.16.840.1.101.3.4.1.45"
#define OID_ECDH_SHA256KDF "1.3.132.1.11.1" /* dhSinglePass-stdDH-sha256kdf-scheme */

enum {
    BLOCK = 16,
    HALF = BLOCK / 2,

    COORDINATE_MAX = 48,
    VERSION_KEY_TRANS = 0, /* with issuer and serial number */
    VERSION_KEY_AGREE = 3,
};

void cmskey_put_name(struct buf *b, const struct cert *c)
{
    size_t name = der_begin(b, DER_SEQUENCE);
    buf_put(b, c->issuer.at, c->issuer.len);
    buf_put(b, c->serial.at, c->serial.len);
    der_end(b, name);
}

/* ---- AES key wrap ---------------------------------------------------------------------------- */

/* Asked once: CPUID traps under a hypervisor, and takes longer than the AES of a small mail. */
const br_block_cbcenc_class *cmskey_aes_cbc(void)
{
    static const br_block_cbcenc_class *_Atomic fastest;
    if (fastest == NULL) {
        const br_block_cbcenc_class *ni = br_aes_x86ni_cbcenc_get_vtable();
        fastest = ni != NULL ? ni : &br_aes_ct64_cbcenc_vtable;
    }
    return fastest;
}

/* RFC 3394 §2.2.1. CBC with an IV of zeros is AES itself for one block. */
void cmskey_wrap(unsigned char out[CMS_WRAPPED_SIZE], const unsigned char kek[CMS_KEY_SIZE],
                 const unsigned char cek[CMS_KEY_SIZE])
{
    enum { REGISTERS = CMS_KEY_SIZE / HALF, ROUNDS = 6 };
    const br_block_cbcenc_class *aes = cmskey_aes_cbc();
    br_aes_gen_cbcenc_keys key;
    unsigned char block[BLOCK];
    aes->init(&key.vtable, kek, CMS_KEY_SIZE);
    memset(out, 0xa6, HALF); /* §2.2.3.1 */
    memcpy(out + HALF, cek, CMS_KEY_SIZE);
    for (size_t t = 1; t <= (size_t)ROUNDS * REGISTERS; t++) {
        unsigned char *r = out + HALF + (t - 1) % REGISTERS * HALF;
        unsigned char iv[BLOCK] = {0};
        memcpy(block, out, HALF);
        memcpy(block + HALF, r, HALF);
        aes->run(&key.vtable, iv, block, sizeof block);
        memcpy(out, block, HALF);
        memcpy(r, block + HALF, HALF);
        out[HALF - 1] ^= (unsigned char)t; /* the counter, big-endian, never above 255 */
    }
    explicit_bzero(block, sizeof block);
    explicit_bzero(&key, sizeof key);
}

/* ---- RSA ------------------------------------------------------------------------------------- */

/* RFC 8017 §7.2.1: 00 02, at least eight bytes that are not zero, 00, the message. */
static void pad_pkcs1(unsigned char *block, size_t len, const unsigned char cek[CMS_KEY_SIZE],
                      const br_prng_class **rng)
{
    size_t zero = len - CMS_KEY_SIZE - 1;
    (*rng)->generate(rng, block, zero);
    block[0] = 0;
    block[1] = 2;
    for (size_t i = 2; i < zero; i++) {
        while (block[i] == 0) {
            (*rng)->generate(rng, &block[i], 1);
        }
    }
    block[zero] = 0;
    memcpy(block + zero + 1, cek, CMS_KEY_SIZE);
}

static size_t encrypt_rsa(unsigned char out[RSA_MAX], const struct cmskey *k, const br_rsa_public_key *rsa)
{
    if (rsa->nlen > RSA_MAX || rsa->nlen < RSA_BITS_MIN / 8) {
        return 0;
    }
    if (k->modern) {
        return br_rsa_oaep_encrypt_get_default()(k->rng, &br_sha256_vtable, NULL, 0, rsa, out, RSA_MAX,
                                                 k->cek, CMS_KEY_SIZE);
    }
    pad_pkcs1(out, rsa->nlen, k->cek, k->rng);
    return rsa_public(out, rsa->nlen, rsa) ? rsa->nlen : 0;
}

/* RFC 4055 §4.1: SHA-256 for both of its hashes; the label is empty, which is the default. */
static void put_oaep(struct buf *b)
{
    size_t algorithm = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, OID_RSA_OAEP);
    size_t parameters = der_begin(b, DER_SEQUENCE);
    size_t hash = der_begin(b, DER_CONTEXT_CONSTRUCTED + 0);
    algid_put_null(b, OID_SHA256);
    der_end(b, hash);
    size_t mask = der_begin(b, DER_CONTEXT_CONSTRUCTED + 1);
    size_t function = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, OID_MGF1);
    algid_put_null(b, OID_SHA256);
    der_end(b, function);
    der_end(b, mask);
    der_end(b, parameters);
    der_end(b, algorithm);
}

/* KeyTransRecipientInfo, RFC 5652 §6.2.1. */
static bool put_key_trans(struct buf *b, const struct cmskey *k, const struct cert *to)
{
    unsigned char encrypted[RSA_MAX];
    size_t len = encrypt_rsa(encrypted, k, &to->key.key.rsa);
    if (len > 0) {
        size_t info = der_begin(b, DER_SEQUENCE);
        der_put_small(b, VERSION_KEY_TRANS);
        cmskey_put_name(b, to);
        if (k->modern) {
            put_oaep(b);
        } else {
            algid_put_null(b, OID_RSA);
        }
        der_put(b, DER_OCTET_STRING, encrypted, len);
        der_end(b, info);
    }
    explicit_bzero(encrypted, sizeof encrypted); /* as it holds the padded key where RSA failed */
    return len > 0 && buf_ok(b);
}

/* ---- elliptic curves ------------------------------------------------------------------------- */

/* RFC 5753 §7.2: ECC-CMS-SharedInfo, which binds the derived key to its use. */
static void put_shared_info(struct buf *b)
{
    static const unsigned char kek_bits[4] = {0, 0, CMS_KEY_SIZE * 8 >> 8, CMS_KEY_SIZE * 8 & 0xff};
    size_t info = der_begin(b, DER_SEQUENCE);
    algid_put(b, OID_AES256_WRAP);
    size_t public = der_begin(b, DER_CONTEXT_CONSTRUCTED + 2);
    der_put(b, DER_OCTET_STRING, kek_bits, sizeof kek_bits);
    der_end(b, public);
    der_end(b, info);
}

/* ANSI X9.63 key derivation as in SEC 1 §3.6.1; one SHA-256 is as much as is needed. */
static bool derive_kek(unsigned char kek[br_sha256_SIZE], const unsigned char *shared, size_t len)
{
    static const unsigned char counter[4] = {0, 0, 0, 1};
    unsigned char memory[64];
    struct buf info;
    buf_borrow(&info, memory, sizeof memory);
    put_shared_info(&info);
    br_sha256_context sha;
    br_sha256_init(&sha);
    br_sha256_update(&sha, shared, len);
    br_sha256_update(&sha, counter, sizeof counter);
    br_sha256_update(&sha, info.data, info.len);
    br_sha256_out(&sha, kek);
    explicit_bzero(&sha, sizeof sha);
    return buf_ok(&info);
}

struct ephemeral { /* the sender's half: a key for this message and recipient alone */
    br_ec_public_key public;
    unsigned char public_memory[BR_EC_KBUF_PUB_MAX_SIZE];
    unsigned char wrapped[CMS_WRAPPED_SIZE];
};

/* SEC 1 §3.3.1: the secret is the x coordinate of the product. BearSSL refuses a point off the curve. */
static bool agree(struct ephemeral *e, const struct cmskey *k, const br_ec_public_key *to)
{
    const br_ec_impl *ec = br_ec_get_default();
    unsigned char private_memory[BR_EC_KBUF_PRIV_MAX_SIZE], point[1 + 2 * COORDINATE_MAX],
        kek[br_sha256_SIZE];
    br_ec_private_key private;
    if (to->qlen > sizeof point || br_ec_keygen(k->rng, ec, &private, private_memory, to->curve) == 0 ||
        br_ec_compute_pub(ec, &e->public, e->public_memory, &private) == 0) {
        explicit_bzero(private_memory, sizeof private_memory);
        return false;
    }
    size_t len;
    memcpy(point, to->q, to->qlen);
    size_t x = ec->xoff(to->curve, &len);
    bool ok = ec->mul(point, to->qlen, private.x, private.xlen, to->curve) == 1 && x + len <= sizeof point &&
              derive_kek(kek, point + x, len);
    if (ok) {
        cmskey_wrap(e->wrapped, kek, k->cek);
    }
    explicit_bzero(private_memory, sizeof private_memory);
    explicit_bzero(point, sizeof point);
    explicit_bzero(kek, sizeof kek);
    return ok;
}

/* OriginatorPublicKey, RFC 5753 §7.2. The curve is the recipient's: it is named all the same, as some readers
 * look for it here. */
static void put_originator(struct buf *b, const br_ec_public_key *public)
{
    size_t originator = der_begin(b, DER_CONTEXT_CONSTRUCTED + 0);
    size_t key = der_begin(b, DER_CONTEXT_CONSTRUCTED + 1);
    algid_put_oid(b, OID_EC, public->curve == BR_EC_secp384r1 ? OID_P384 : OID_P256);
    der_put_bits(b, public->q, public->qlen);
    der_end(b, key);
    der_end(b, originator);
}

static void put_agreement(struct buf *b)
{
    size_t algorithm = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, OID_ECDH_SHA256KDF);
    algid_put(b, OID_AES256_WRAP);
    der_end(b, algorithm);
}

/* KeyAgreeRecipientInfo, RFC 5652 §6.2.2. */
static bool put_key_agree(struct buf *b, const struct cmskey *k, const struct cert *to)
{
    struct ephemeral e;
    if (!agree(&e, k, &to->key.key.ec)) {
        return false;
    }
    size_t info = der_begin(b, DER_CONTEXT_CONSTRUCTED + 1);
    der_put_small(b, VERSION_KEY_AGREE);
    put_originator(b, &e.public);
    put_agreement(b);
    size_t list = der_begin(b, DER_SEQUENCE);
    size_t one = der_begin(b, DER_SEQUENCE);
    cmskey_put_name(b, to);
    der_put(b, DER_OCTET_STRING, e.wrapped, sizeof e.wrapped);
    der_end(b, one);
    der_end(b, list);
    der_end(b, info);
    return buf_ok(b);
}

bool cmskey_put(struct buf *b, const struct cmskey *k, const struct cert *to)
{
    switch (to->key.key_type) {
    case BR_KEYTYPE_RSA: return put_key_trans(b, k, to);
    case BR_KEYTYPE_EC: return put_key_agree(b, k, to);
    default: return false;
    }
}
