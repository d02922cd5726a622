/*
 * CMS (RFC 5652): an envelope for several recipients, written as it is
 * filled, and a detached signature.
 *
 * The envelope is BER with indefinite lengths and its content a run of
 * OCTET STRINGs (X.690 §8.7.3), so nothing is held but one chunk:
 *
 *     ContentInfo                      EnvelopedData (§6.1), or
 *       OID                            AuthEnvelopedData (RFC 5083 §2.1)
 *       [0] version, recipients,
 *           EncryptedContentInfo
 *             OID, algorithm and IV
 *             [0] chunk chunk ...      what the reader decrypts
 *           mac                        (AuthEnvelopedData) the tag of GCM
 */

#include "bridge.h"

#include <string.h>

#define OID_SIGNED_DATA    "1.2.840.113549.1.7.2"
#define OID_ENVELOPED_DATA "1.2.840.113549.1.7.3"
#define OID_AUTH_ENVELOPED "1.2.840.113549.1.9.16.1.23"
#define OID_AES256_GCM     "2.16.840.1.101.3.4.1.46"
#define OID_CONTENT_TYPE   "1.2.840.113549.1.9.3"
#define OID_MESSAGE_DIGEST "1.2.840.113549.1.9.4"
#define OID_SIGNING_TIME   "1.2.840.113549.1.9.5"

enum {
    BLOCK = 16,
    GCM_NONCE = 12, /* RFC 5084 §3.2 */
    INFOS_MAX =
        1 << 18, /* bytes of all RecipientInfos: names of issuers are the only part without a ceiling */
    ATTRIBUTES_MAX = 256, /* bytes of the signed attributes */
};

/* ---- the envelope ---------------------------------------------------------------------------- */

/* X.690 §8.1.3.6: a constructed element whose end is marked, not counted. */
static void open_element(struct buf *b, unsigned tag)
{
    buf_byte(b, (unsigned char)tag);
    buf_byte(b, 0x80);
}

static void close_elements(struct buf *b, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        buf_put(b, "\0\0", 2);
    }
}

/* A CBC envelope with key agreement is of version 2 (RFC 5652 §6.1); the other kind is 0 always. */
static unsigned envelope_version(const struct cms_envelope *e, const struct cms_recipients *to)
{
    for (size_t i = 0; i < to->count && !e->gcm; i++) {
        if (to->certs[i]->key.key_type == BR_KEYTYPE_EC) {
            return 2;
        }
    }
    return 0;
}

static bool put_recipients(struct buf *b, const struct cms_recipients *to, const struct cmskey *k)
{
    size_t set = der_begin(b, DER_SET);
    for (size_t i = 0; i < to->count; i++) {
        if (!cmskey_put(b, k, to->certs[i])) {
            return false;
        }
    }
    der_end(b, set);
    return to->count > 0 && buf_ok(b);
}

static void put_cipher(struct buf *b, const struct cms_envelope *e)
{
    if (!e->gcm) {
        algid_put_bytes(b, OID_AES256_CBC, e->iv, BLOCK);
        return;
    }
    size_t algorithm = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, OID_AES256_GCM);
    size_t parameters = der_begin(b, DER_SEQUENCE);
    der_put(b, DER_OCTET_STRING, e->iv, GCM_NONCE);
    der_put_small(b, BLOCK); /* of the tag */
    der_end(b, parameters);
    der_end(b, algorithm);
}

/* Everything before the content. */
static bool put_head(struct cms_envelope *e, struct buf *b, const struct cms_recipients *to,
                     const struct cmskey *k)
{
    open_element(b, DER_SEQUENCE);
    der_put_oid(b, e->gcm ? OID_AUTH_ENVELOPED : OID_ENVELOPED_DATA);
    open_element(b, DER_CONTEXT_CONSTRUCTED + 0);
    open_element(b, DER_SEQUENCE);
    der_put_small(b, envelope_version(e, to));
    if (!put_recipients(b, to, k)) {
        return false;
    }
    open_element(b, DER_SEQUENCE);
    der_put_oid(b, OID_DATA);
    put_cipher(b, e);
    open_element(b, DER_CONTEXT_CONSTRUCTED + 0);
    return buf_ok(b) && e->out->put(e->out, b->data, b->len);
}

static void start_cipher(struct cms_envelope *e, const unsigned char cek[CMS_KEY_SIZE])
{
    if (!e->gcm) {
        cmskey_aes_cbc()->init(&e->key.cbc.vtable, cek, CMS_KEY_SIZE);
        return;
    }
    const br_block_ctr_class *ni = br_aes_x86ni_ctr_get_vtable();
    br_ghash pclmul = br_ghash_pclmul_get();
    (ni != NULL ? ni : &br_aes_ct64_ctr_vtable)->init(&e->key.ctr.vtable, cek, CMS_KEY_SIZE);
    br_gcm_init(&e->tag, &e->key.ctr.vtable, pclmul != 0 ? pclmul : br_ghash_ctmul64);
    br_gcm_reset(&e->tag, e->iv, GCM_NONCE);
    br_gcm_flip(&e->tag); /* nothing but the content is authenticated: there are no attributes */
}

/* Encrypts the chunk in place and writes it. Its length is whole blocks, but for the last one in GCM. */
static bool put_chunk(struct cms_envelope *e)
{
    unsigned char *content = e->chunk + CMS_CHUNK_HEAD;
    if (e->gcm) {
        br_gcm_run(&e->tag, 1, content, e->len);
    } else {
        e->key.cbc.vtable->run(&e->key.cbc.vtable, e->iv, content, e->len);
    }
    e->chunk[0] = DER_OCTET_STRING;
    e->chunk[1] = 0x82; /* a length of two bytes, which BER allows for short ones too */
    e->chunk[2] = (unsigned char)(e->len >> 8);
    e->chunk[3] = (unsigned char)e->len;
    bool ok = e->out->put(e->out, e->chunk, CMS_CHUNK_HEAD + e->len);
    e->len = 0;
    return ok;
}

static bool envelope_put(struct sink *s, const void *bytes, size_t len)
{
    struct cms_envelope *e = (struct cms_envelope *)s;
    const unsigned char *at = bytes;
    while (len > 0 && !e->failed) {
        size_t n = CMS_CHUNK - e->len < len ? CMS_CHUNK - e->len : len;
        memcpy(e->chunk + CMS_CHUNK_HEAD + e->len, at, n);
        e->len += n;
        at += n;
        len -= n;
        if (e->len == CMS_CHUNK) {
            e->failed = !put_chunk(e);
        }
    }
    return !e->failed;
}

bool cms_envelope_begin(struct cms_envelope *e, enum cms_profile profile, const struct cms_recipients *to,
                        const br_prng_class **rng, struct sink *out)
{
    unsigned char cek[CMS_KEY_SIZE];
    struct buf head;
    e->sink.put = envelope_put;
    e->out = out;
    e->gcm = profile == CMS_MODERN;
    e->len = 0;
    (*rng)->generate(rng, cek, sizeof cek);
    (*rng)->generate(rng, e->iv, sizeof e->iv);
    start_cipher(e, cek);
    buf_init(&head, INFOS_MAX);
    struct cmskey k = {.cek = cek, .modern = profile == CMS_MODERN, .rng = rng};
    e->failed = !put_head(e, &head, to, &k);
    buf_free(&head);
    explicit_bzero(cek, sizeof cek);
    return !e->failed;
}

/* RFC 5652 §6.3: as many bytes as are missing, a whole block if none is, each of them their number. */
static void pad(struct cms_envelope *e)
{
    size_t missing = BLOCK - e->len % BLOCK;
    memset(e->chunk + CMS_CHUNK_HEAD + e->len, (int)missing, missing);
    e->len += missing;
}

static bool put_tail(struct cms_envelope *e)
{
    unsigned char memory[64];
    struct buf tail;
    buf_borrow(&tail, memory, sizeof memory);
    close_elements(&tail, 2); /* the content, EncryptedContentInfo */
    if (e->gcm) {
        unsigned char tag[BLOCK];
        br_gcm_get_tag(&e->tag, tag);
        der_put(&tail, DER_OCTET_STRING, tag, sizeof tag);
    }
    close_elements(&tail, 3); /* the envelope, [0], ContentInfo */
    return buf_ok(&tail) && e->out->put(e->out, tail.data, tail.len);
}

bool cms_envelope_end(struct cms_envelope *e)
{
    if (!e->gcm) {
        pad(e);
    }
    bool ok = !e->failed && (e->len == 0 || put_chunk(e)) && put_tail(e);
    explicit_bzero(e, sizeof *e);
    return ok;
}

/* ---- the signature --------------------------------------------------------------------------- */

size_t cms_attribute_begin(struct buf *b, const char *oid, size_t *values)
{
    size_t attribute = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, oid);
    *values = der_begin(b, DER_SET);
    return attribute;
}

void cms_attribute_end(struct buf *b, size_t attribute, size_t values)
{
    der_end(b, values);
    der_end(b, attribute);
}

/* The content of the SET OF SignedAttributes (RFC 5652 §5.3, §11). In DER a SET OF is sorted by its members'
 * bytes (X.690 §11.6), which here is by their lengths: each is longer than the one before. */
static void put_attributes(struct buf *b, const unsigned char digest[br_sha256_SIZE], int64_t time)
{
    size_t values, attribute = cms_attribute_begin(b, OID_CONTENT_TYPE, &values);
    der_put_oid(b, OID_DATA);
    cms_attribute_end(b, attribute, values);
    attribute = cms_attribute_begin(b, OID_SIGNING_TIME, &values);
    der_put_time(b, time);
    cms_attribute_end(b, attribute, values);
    attribute = cms_attribute_begin(b, OID_MESSAGE_DIGEST, &values);
    der_put(b, DER_OCTET_STRING, digest, br_sha256_SIZE);
    cms_attribute_end(b, attribute, values);
}

/* RFC 5652 §5.4: signed as a SET, though it stands in SignerInfo as [0]. signature: SIGNATURE_MAX. */
static size_t sign_attributes(const struct cms_signer *s, const struct buf *attributes,
                              unsigned char *signature)
{
    unsigned char memory[ATTRIBUTES_MAX];
    struct buf set;
    buf_borrow(&set, memory, sizeof memory);
    der_put(&set, DER_SET, attributes->data, attributes->len);
    hash_digest(set.data, set.len, signature);
    bool ok = buf_ok(attributes) && buf_ok(&set);
    return ok ? s->sign(s->ctx, br_sha256_ID, signature, br_sha256_SIZE, SIGNATURE_MAX) : 0;
}

static bool put_signer_info(struct buf *b, const struct cms_signer *s, const struct cert *leaf,
                            const unsigned char digest[br_sha256_SIZE], int64_t time)
{
    unsigned char memory[ATTRIBUTES_MAX], signature[SIGNATURE_MAX];
    struct buf attributes;
    buf_borrow(&attributes, memory, sizeof memory);
    put_attributes(&attributes, digest, time);
    size_t len = sign_attributes(s, &attributes, signature);
    if (len == 0) {
        return false;
    }
    size_t info = der_begin(b, DER_SEQUENCE);
    der_put_small(b, 1); /* with issuer and serial number */
    cmskey_put_name(b, leaf);
    algid_put(b, OID_SHA256);
    der_put(b, DER_CONTEXT_CONSTRUCTED + 0, attributes.data, attributes.len);
    if (leaf->key.key_type == BR_KEYTYPE_RSA) {
        algid_put_null(b, OID_RSA); /* RFC 3370 §3.2; the digest is named above */
    } else {
        algid_put(b, OID_ECDSA_SHA256);
    }
    der_put(b, DER_OCTET_STRING, signature, len);
    der_end(b, info);
    return true;
}

static void put_certificates(struct buf *b, const struct chain *c)
{
    size_t certificates = der_begin(b, DER_CONTEXT_CONSTRUCTED + 0);
    for (size_t i = 0; i < c->count; i++) {
        buf_put(b, c->certs[i].data, c->certs[i].data_len);
    }
    der_end(b, certificates);
}

bool cms_sign(const struct cms_signer *s, const unsigned char digest[br_sha256_SIZE], int64_t time,
              struct buf *out)
{
    struct cert leaf;
    if (s->chain->count == 0 || !x509_read(&leaf, s->chain->certs[0].data, s->chain->certs[0].data_len)) {
        return false;
    }
    size_t info = der_begin(out, DER_SEQUENCE);
    der_put_oid(out, OID_SIGNED_DATA);
    size_t wrapped = der_begin(out, DER_CONTEXT_CONSTRUCTED + 0);
    size_t data = der_begin(out, DER_SEQUENCE);
    der_put_small(out, 1); /* RFC 5652 §5.1: of plain data, with X.509 certificates alone */
    size_t digests = der_begin(out, DER_SET);
    algid_put(out, OID_SHA256); /* RFC 5754 §2: without parameters */
    der_end(out, digests);
    algid_put(out, OID_DATA); /* EncapsulatedContentInfo whose content is elsewhere looks the same */
    put_certificates(out, s->chain);
    size_t signers = der_begin(out, DER_SET);
    bool ok = put_signer_info(out, s, &leaf, digest, time);
    der_end(out, signers);
    der_end(out, data);
    der_end(out, wrapped);
    der_end(out, info);
    return ok && buf_ok(out);
}
