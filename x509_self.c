/* A key and a self-signed certificate, for those who have none (RFC 5280): a host's, for the demo and for first steps,
 * and what mailself.c asks for. */

#include "bridge.h"

#include <string.h>

#define OID_KEY_ID "2.5.29.14"

enum {
    RSA_BITS = 3072, /* as strong as the 128 bits of P-256 */
    RSA_BYTES = RSA_BITS / 8,
    RSA_EXPONENT = 65537,
    PKCS8_MAX = 8192, /* bytes of a key, with room */
    KEY_ID = 20,      /* RFC 7093 §2: the first 160 bits of a SHA-256 */
    RANDOM_BYTES = 64,
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
    unsigned char d[RSA_BYTES], *room = buf_room(b, PKCS8_MAX);
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

/* content: of the one element, with this tag, that is its value. */
static void put_extension(struct buf *b, const char *oid, bool critical, unsigned tag, const void *content,
                          size_t len)
{
    size_t extension = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, oid);
    if (critical) {
        der_put_boolean(b, true);
    }
    size_t value = der_begin(b, DER_OCTET_STRING);
    der_put(b, tag, content, len);
    der_end(b, value);
    der_end(b, extension);
}

/* RFC 5280 §4.2.1: for these names and this purpose, and for nothing else. */
static void put_extensions(struct buf *b, const struct x509_self *s, const unsigned char *key_id)
{
    unsigned char memory[32];
    struct buf purpose;
    buf_borrow(&purpose, memory, sizeof memory);
    der_put_oid(&purpose, s->purpose);
    put_extension(b, OID_SUBJECT_NAMES, false, DER_SEQUENCE, s->names->data, s->names->len);
    put_extension(b, OID_BASIC_CONSTRAINTS, true, DER_SEQUENCE, NULL, 0); /* not a CA */
    put_extension(b, OID_KEY_USAGE, true, DER_BIT_STRING, s->usage, 2);
    put_extension(b, OID_EXT_KEY_USAGE, false, DER_SEQUENCE, purpose.data, purpose.len);
    if (s->key_id) {
        put_extension(b, OID_KEY_ID, false, DER_OCTET_STRING, key_id, KEY_ID);
    }
    b->failed = b->failed || !buf_ok(s->names) || !buf_ok(&purpose);
}

static void put_signature_algorithm(struct buf *b, bool ec)
{
    if (ec) {
        algid_put(b, OID_ECDSA_SHA256);
    } else {
        algid_put_null(b, OID_SHA256_RSA);
    }
}

/* A Name of one common name. */
static void put_name(struct buf *b, const char *common_name)
{
    size_t name = der_begin(b, DER_SEQUENCE);
    size_t set = der_begin(b, DER_SET);
    size_t attribute = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, OID_COMMON_NAME);
    der_put_text(b, DER_UTF8_STRING, common_name);
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
    hash_digest(key.data, key.len, id);
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

static void put_tbs(struct buf *b, const struct x509_self *s, const struct pair *p)
{
    unsigned char id[br_sha256_SIZE];
    const char *name = strlen(s->name) <= 64 ? s->name : s->short_name; /* RFC 5280 A.1 */
    size_t tbs = der_begin(b, DER_SEQUENCE);
    size_t version = der_begin(b, DER_CONTEXT_CONSTRUCTED + 0);
    der_put_small(b, 2); /* v3 */
    der_end(b, version);
    der_put_unsigned(b, s->serial, X509_SERIAL);
    put_signature_algorithm(b, p->ec);
    put_name(b, name);
    size_t validity = der_begin(b, DER_SEQUENCE);
    der_put_time(b, s->now);
    der_put_time(b, s->now + (int64_t)s->days * DAY);
    der_end(b, validity);
    put_name(b, name);
    put_spki(b, p, id);
    size_t wrapped = der_begin(b, DER_CONTEXT_CONSTRUCTED + 3);
    size_t extensions = der_begin(b, DER_SEQUENCE);
    put_extensions(b, s, id);
    der_end(b, extensions);
    der_end(b, wrapped);
    der_end(b, tbs);
}

/* The two fields that follow the TBSCertificate, which b holds from tbs on. */
static void sign_tbs(struct buf *b, size_t tbs, const struct pair *p)
{
    unsigned char hash[br_sha256_SIZE], signature[SIGNATURE_MAX];
    size_t len = RSA_BYTES;
    if (!buf_ok(b)) {
        return;
    }
    hash_digest(b->data + tbs, b->len - tbs, hash);
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

static bool put_cert(struct buf *b, const struct x509_self *s, const struct pair *p)
{
    size_t cert = der_begin(b, DER_SEQUENCE);
    size_t tbs = b->len;
    put_tbs(b, s, p);
    sign_tbs(b, tbs, p);
    der_end(b, cert);
    return buf_ok(b);
}

bool x509_self_make(const struct x509_self *s, struct buf *cert, struct buf *key)
{
    struct pair pair = {.ec = s->ec};
    bool ok = make_pair(&pair, s->rng) && put_key(key, &pair) && put_cert(cert, s, &pair);
    explicit_bzero(&pair, sizeof pair);
    return ok;
}

/* ---- of a host ------------------------------------------------------------------------------- */

static bool put_host_names(struct buf *b, const char *const *names, size_t count)
{
    static const unsigned char loopback4[4] = {127, 0, 0, 1}, loopback6[16] = {[15] = 1};
    for (size_t i = 0; i < count; i++) {
        if (!x509_is_name(names[i], strlen(names[i]))) {
            return false;
        }
        der_put_text(b, GENERAL_NAME_DNS, names[i]);
    }
    der_put(b, GENERAL_NAME_IP, loopback4, sizeof loopback4);
    der_put(b, GENERAL_NAME_IP, loopback6, sizeof loopback6);
    return count > 0;
}

bool x509_self_signed(const char *const *names, size_t count, int64_t now, unsigned days,
                      const unsigned char *random, struct buf *cert_pem, struct buf *key_pem)
{
    struct buf list, cert, key;
    br_hmac_drbg_context rng;
    buf_init(&list, PEM_FILE_MAX);
    buf_init(&cert, PEM_FILE_MAX);
    buf_init(&key, PEM_FILE_MAX);
    br_hmac_drbg_init(&rng, &br_sha256_vtable, random + X509_SERIAL, RANDOM_BYTES - X509_SERIAL);
    bool ok = put_host_names(&list, names, count);
    if (ok) {
        const struct x509_self self = {
            .name = names[0],
            .short_name = "formbridge",
            .names = &list,
            .usage = "\x07\x80", /* digitalSignature: it signs handshakes */
            .purpose = OID_SERVER_AUTH,
            .serial = random,
            .now = now,
            .days = days,
            .ec = true,
            .rng = &rng.vtable,
        };
        ok = x509_self_make(&self, &cert, &key) && pem_put(key_pem, BR_ENCODE_PEM_PKCS8, &key) &&
             pem_put(cert_pem, "CERTIFICATE", &cert);
    }
    buf_free(&list);
    buf_free(&cert);
    buf_free(&key);
    explicit_bzero(&rng, sizeof rng);
    return ok;
}
