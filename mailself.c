/* A self-signed mail certificate and its key, for owners of a mailbox who have none. */

#include "bridge.h"

#include <string.h>

#define OID_COMMON_NAME   "2.5.4.3"
#define OID_KEY_ID        "2.5.29.14"
#define OID_KEY_USAGE     "2.5.29.15"
#define OID_CONSTRAINTS   "2.5.29.19"
#define OID_EXT_KEY_USAGE "2.5.29.37"
#define OID_EMAIL_USAGE   "1.3.6.1.5.5.7.3.4"
#define OID_SHA256_RSA    "1.2.840.113549.1.1.11"

enum {
    RSA_BITS = 3072, /* as strong as the 128 bits of P-256 */
    RSA_BYTES = RSA_BITS / 8,
    RSA_EXPONENT = 65537,
    SERIAL_BYTES = 16, /* RFC 5280 §4.1.2.2: at most 20 */
    COMMON_NAME_MAX = 64,
    DER_MAX = 8192,
    KEY_ID = 20, /* RFC 7093 §2: the first 160 bits of a SHA-256 */
    DAY = 86400,
};

struct pair { /* a new key, both halves */
    bool ec;
    br_rsa_private_key rsa;
    br_rsa_public_key rsa_public;
    br_ec_private_key ec_private;
    br_ec_public_key ec_public;
    unsigned char private_memory[BR_RSA_KBUF_PRIV_SIZE(RSA_BITS)];
    unsigned char public_memory[BR_RSA_KBUF_PUB_SIZE(RSA_BITS)];
};

static bool make_pair(struct pair *p, const br_prng_class **rng)
{
    const br_ec_impl *ec = br_ec_get_default();
    if (p->ec) {
        return br_ec_keygen(rng, ec, &p->ec_private, p->private_memory, BR_EC_secp256r1) > 0 &&
               br_ec_compute_pub(ec, &p->ec_public, p->public_memory, &p->ec_private) > 0;
    }
    return br_rsa_keygen_get_default()(rng, &p->rsa, p->private_memory, &p->rsa_public, p->public_memory,
                                       RSA_BITS, RSA_EXPONENT) == 1;
}

/* PKCS #8. */
static bool put_key(struct buf *b, const struct pair *p)
{
    unsigned char d[RSA_BYTES], *room = buf_room(b, DER_MAX);
    size_t len = 0;
    if (room == NULL) {
        return false;
    }
    if (p->ec) {
        len = br_encode_ec_pkcs8_der(room, &p->ec_private, &p->ec_public);
    } else if (br_rsa_compute_privexp_get_default()(d, &p->rsa, RSA_EXPONENT) == sizeof d) {
        len = br_encode_rsa_pkcs8_der(room, &p->rsa, &p->rsa_public, d, sizeof d);
    }
    explicit_bzero(d, sizeof d);
    b->len += len;
    return len > 0;
}

/* ---- the certificate ------------------------------------------------------------------------- */

static void put_extension(struct buf *b, const char *oid, bool critical, const struct buf *value)
{
    size_t extension = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, oid);
    if (critical) {
        der_put_boolean(b, true);
    }
    der_put(b, DER_OCTET_STRING, value->data, value->len);
    der_end(b, extension);
    b->failed = b->failed || !buf_ok(value);
}

/* RFC 8550 §4.4: for this address, to sign mail and to have it encrypted, and for nothing else. */
static void put_extensions(struct buf *b, const struct mailself *m, const unsigned char key_id[KEY_ID])
{
    unsigned char memory[MAIL_ADDRESS_MAX + 16];
    struct buf value;
    buf_borrow(&value, memory, sizeof memory);
    size_t list = der_begin(&value, DER_SEQUENCE);
    der_put_text(&value, GENERAL_NAME_MAIL, m->address);
    der_end(&value, list);
    put_extension(b, OID_SUBJECT_NAMES, false, &value);
    buf_clear(&value);
    der_put(&value, DER_SEQUENCE, NULL, 0); /* not a CA */
    put_extension(b, OID_CONSTRAINTS, true, &value);
    buf_clear(&value);
    /* digitalSignature with keyAgreement, or with keyEncipherment */
    der_put(&value, DER_BIT_STRING, m->ec ? "\x03\x88" : "\x05\xa0", 2);
    put_extension(b, OID_KEY_USAGE, true, &value);
    buf_clear(&value);
    list = der_begin(&value, DER_SEQUENCE);
    der_put_oid(&value, OID_EMAIL_USAGE);
    der_end(&value, list);
    put_extension(b, OID_EXT_KEY_USAGE, false, &value);
    buf_clear(&value);
    der_put(&value, DER_OCTET_STRING, key_id, KEY_ID);
    put_extension(b, OID_KEY_ID, false, &value);
}

static void put_signature_algorithm(struct buf *b, bool ec)
{
    if (ec) {
        algid_put(b, OID_ECDSA_SHA256);
    } else {
        algid_put_null(b, OID_SHA256_RSA);
    }
}

/* A common name has at most 64 characters (RFC 5280 A.1); the address as such is in the SubjectAltName. */
static void put_name(struct buf *b, const char *address)
{
    size_t name = der_begin(b, DER_SEQUENCE);
    size_t set = der_begin(b, DER_SET);
    size_t attribute = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, OID_COMMON_NAME);
    der_put_text(b, DER_UTF8_STRING, strlen(address) <= COMMON_NAME_MAX ? address : "S/MIME");
    der_end(b, attribute);
    der_end(b, set);
    der_end(b, name);
}

static void put_public_key(struct buf *b, const struct pair *p)
{
    if (p->ec) {
        buf_put(b, p->ec_public.q, p->ec_public.qlen);
        return;
    }
    size_t numbers = der_begin(b, DER_SEQUENCE);
    der_put_unsigned(b, p->rsa_public.n, p->rsa_public.nlen);
    der_put_unsigned(b, p->rsa_public.e, p->rsa_public.elen);
    der_end(b, numbers);
}

/* SubjectPublicKeyInfo; the key's bytes give its id. */
static void put_spki(struct buf *b, const struct pair *p, unsigned char id[br_sha256_SIZE])
{
    unsigned char memory[RSA_BYTES + 32];
    struct buf key;
    buf_borrow(&key, memory, sizeof memory);
    put_public_key(&key, p);
    br_sha256_context sha;
    br_sha256_init(&sha);
    br_sha256_update(&sha, key.data, key.len);
    br_sha256_out(&sha, id);
    size_t spki = der_begin(b, DER_SEQUENCE);
    if (p->ec) {
        algid_put_oid(b, OID_EC, OID_P256);
    } else {
        algid_put_null(b, OID_RSA);
    }
    der_put_bits(b, key.data, key.len);
    der_end(b, spki);
    b->failed = b->failed || !buf_ok(&key);
}

static void put_tbs(struct buf *b, const struct mailself *m, const struct pair *p)
{
    unsigned char serial[SERIAL_BYTES], id[br_sha256_SIZE];
    (*m->rng)->generate(m->rng, serial, sizeof serial);
    size_t tbs = der_begin(b, DER_SEQUENCE);
    size_t version = der_begin(b, DER_CONTEXT_CONSTRUCTED + 0);
    der_put_small(b, 2); /* v3 */
    der_end(b, version);
    der_put_unsigned(b, serial, sizeof serial);
    put_signature_algorithm(b, p->ec);
    put_name(b, m->address);
    size_t validity = der_begin(b, DER_SEQUENCE);
    der_put_time(b, m->now);
    der_put_time(b, m->now + (int64_t)m->days * DAY);
    der_end(b, validity);
    put_name(b, m->address);
    put_spki(b, p, id);
    size_t wrapped = der_begin(b, DER_CONTEXT_CONSTRUCTED + 3);
    size_t extensions = der_begin(b, DER_SEQUENCE);
    put_extensions(b, m, id);
    der_end(b, extensions);
    der_end(b, wrapped);
    der_end(b, tbs);
}

/* The two fields that follow the TBSCertificate, which b holds from tbs on. */
static void sign_tbs(struct buf *b, size_t tbs, const struct pair *p)
{
    unsigned char hash[br_sha256_SIZE], signature[SIGNATURE_MAX];
    size_t len = RSA_BYTES;
    br_sha256_context sha;
    if (!buf_ok(b)) {
        return;
    }
    br_sha256_init(&sha);
    br_sha256_update(&sha, b->data + tbs, b->len - tbs);
    br_sha256_out(&sha, hash);
    if (p->ec) {
        len = br_ecdsa_sign_asn1_get_default()(br_ec_get_default(), &br_sha256_vtable, hash, &p->ec_private,
                                               signature);
    } else if (!br_rsa_pkcs1_sign_get_default()(BR_HASH_OID_SHA256, hash, sizeof hash, &p->rsa, signature)) {
        len = 0;
    }
    b->failed = len == 0;
    put_signature_algorithm(b, p->ec);
    der_put_bits(b, signature, len);
}

static bool put_cert(struct buf *b, const struct mailself *m, const struct pair *p)
{
    size_t cert = der_begin(b, DER_SEQUENCE);
    size_t tbs = b->len;
    put_tbs(b, m, p);
    sign_tbs(b, tbs, p);
    der_end(b, cert);
    return buf_ok(b);
}

static bool put_pem(struct buf *b, const struct buf *der)
{
    size_t len = br_pem_encode(NULL, der->data, der->len, "CERTIFICATE", BR_PEM_LINE64);
    char *room = buf_room(b, len + 1); /* br_pem_encode ends with a NUL */
    if (room != NULL) {
        br_pem_encode(room, der->data, der->len, "CERTIFICATE", BR_PEM_LINE64);
        b->len += len;
    }
    return buf_ok(b);
}

static bool is_ascii(const char *text)
{
    while (*text > ' ' && *text <= '~') {
        text++;
    }
    return *text == '\0';
}

bool mailself_make(const struct mailself *m, struct buf *cert_pem, struct buf *p12)
{
    if (!mime_address_ok(m->address, strlen(m->address)) || !is_ascii(m->address)) {
        return false;
    }
    struct pair pair = {.ec = m->ec};
    struct buf key, cert;
    buf_init(&key, DER_MAX);
    buf_init(&cert, DER_MAX);
    bool ok = make_pair(&pair, m->rng) && put_key(&key, &pair) && put_cert(&cert, m, &pair);
    if (ok) {
        const struct pkcs12 file = {
            .key = key.data,
            .key_len = key.len,
            .cert = cert.data,
            .cert_len = cert.len,
            .name = m->address,
            .password = m->password,
        };
        ok = pkcs12_put(p12, &file, m->rng) && put_pem(cert_pem, &cert);
    }
    buf_free(&key);
    buf_free(&cert);
    explicit_bzero(&pair, sizeof pair);
    return ok;
}
