/*
 * A certificate of our own making, for the demo and for first steps: P-256,
 * self-signed, for these names and for loopback.
 */

#include "bridge.h"

#include <string.h>

#define OID_COMMON_NAME   "2.5.4.3"
#define OID_KEY_USAGE     "2.5.29.15"
#define OID_CONSTRAINTS   "2.5.29.19"
#define OID_EXT_KEY_USAGE "2.5.29.37"
#define OID_SERVER_AUTH   "1.3.6.1.5.5.7.3.1"

enum {
    RANDOM_BYTES = 64, /* the serial number, then the seed of the key */
    SERIAL_BYTES = 16, /* RFC 5280 §4.1.2.2: at most 20 */
};

static void put_extension(struct buf *b, const char *oid, bool critical, const struct buf *value)
{
    size_t extension = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, oid);
    if (critical) {
        der_put_boolean(b, true);
    }
    der_put(b, DER_OCTET_STRING, value->data, value->len);
    der_end(b, extension);
}

static void put_names(struct buf *b, const char *const *names, size_t count)
{
    static const unsigned char loopback4[4] = {127, 0, 0, 1}, loopback6[16] = {[15] = 1};
    struct buf value;
    buf_init(&value, b->max);
    size_t list = der_begin(&value, DER_SEQUENCE);
    for (size_t i = 0; i < count; i++) {
        der_put_text(&value, GENERAL_NAME_DNS, names[i]);
    }
    der_put(&value, GENERAL_NAME_IP, loopback4, sizeof loopback4);
    der_put(&value, GENERAL_NAME_IP, loopback6, sizeof loopback6);
    der_end(&value, list);
    put_extension(b, OID_SUBJECT_NAMES, false, &value);
    b->failed = b->failed || !buf_ok(&value);
    buf_free(&value);
}

/* RFC 5280 §4.2.1.3, .9, .12: it signs handshakes and nothing else. */
static void put_uses(struct buf *b)
{
    unsigned char memory[32];
    struct buf value;
    buf_borrow(&value, memory, sizeof memory);
    der_put(&value, DER_SEQUENCE, NULL, 0); /* not a CA */
    put_extension(b, OID_CONSTRAINTS, true, &value);
    buf_clear(&value);
    der_put(&value, DER_BIT_STRING, "\x07\x80", 2); /* bit 0, digitalSignature; 7 bits unused */
    put_extension(b, OID_KEY_USAGE, true, &value);
    buf_clear(&value);
    size_t list = der_begin(&value, DER_SEQUENCE);
    der_put_oid(&value, OID_SERVER_AUTH);
    der_end(&value, list);
    put_extension(b, OID_EXT_KEY_USAGE, false, &value);
    b->failed = b->failed || !buf_ok(&value);
}

static void put_algorithm(struct buf *b, const char *oid, const char *parameter)
{
    size_t algorithm = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, oid);
    if (parameter != NULL) {
        der_put_oid(b, parameter);
    }
    der_end(b, algorithm);
}

/* A Name of one common name, whose ceiling is 64 (RFC 5280 A.1). */
static void put_name(struct buf *b, const char *common_name)
{
    size_t name = der_begin(b, DER_SEQUENCE);
    size_t set = der_begin(b, DER_SET);
    size_t attribute = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, OID_COMMON_NAME);
    der_put_text(b, DER_UTF8_STRING, strlen(common_name) <= 64 ? common_name : "formbridge");
    der_end(b, attribute);
    der_end(b, set);
    der_end(b, name);
}

struct request { /* for a certificate */
    const char *const *names;
    size_t count;
    int64_t from, to;
    const unsigned char *serial; /* SERIAL_BYTES */
    br_ec_public_key public;
};

static void put_tbs(struct buf *b, const struct request *r)
{
    size_t tbs = der_begin(b, DER_SEQUENCE);
    size_t version = der_begin(b, DER_CONTEXT_CONSTRUCTED + 0);
    der_put_small(b, 2); /* v3 */
    der_end(b, version);
    der_put_unsigned(b, r->serial, SERIAL_BYTES);
    put_algorithm(b, OID_ECDSA_SHA256, NULL);
    put_name(b, r->names[0]);
    size_t validity = der_begin(b, DER_SEQUENCE);
    der_put_time(b, r->from);
    der_put_time(b, r->to);
    der_end(b, validity);
    put_name(b, r->names[0]);
    size_t spki = der_begin(b, DER_SEQUENCE);
    put_algorithm(b, OID_EC, OID_P256);
    der_put_bits(b, r->public.q, r->public.qlen);
    der_end(b, spki);
    size_t wrapped = der_begin(b, DER_CONTEXT_CONSTRUCTED + 3);
    size_t extensions = der_begin(b, DER_SEQUENCE);
    put_names(b, r->names, r->count);
    put_uses(b);
    der_end(b, extensions);
    der_end(b, wrapped);
    der_end(b, tbs);
}

/* The two fields that follow the TBSCertificate, which b holds from tbs on. */
static void sign_tbs(struct buf *b, size_t tbs, const br_ec_private_key *private)
{
    unsigned char hash[br_sha256_SIZE], signature[SIGNATURE_MAX];
    br_sha256_context sha;
    br_sha256_init(&sha);
    if (!buf_ok(b)) {
        return;
    }
    br_sha256_update(&sha, b->data + tbs, b->len - tbs);
    br_sha256_out(&sha, hash);
    size_t len =
        br_ecdsa_sign_asn1_get_default()(br_ec_get_default(), &br_sha256_vtable, hash, private, signature);
    b->failed = b->failed || len == 0;
    put_algorithm(b, OID_ECDSA_SHA256, NULL);
    der_put_bits(b, signature, len);
}

static bool put_pem(struct buf *b, const char *label, const void *der, size_t len)
{
    size_t text = br_pem_encode(NULL, der, len, label, BR_PEM_LINE64);
    char *room = buf_room(b, text + 1); /* br_pem_encode ends with a NUL */
    if (room != NULL) {
        br_pem_encode(room, der, len, label, BR_PEM_LINE64);
        b->len += text;
    }
    return buf_ok(b);
}

static bool put_key(struct buf *b, const br_ec_private_key *private, const br_ec_public_key *public)
{
    unsigned char der[256];
    size_t len = br_encode_ec_pkcs8_der(NULL, private, public);
    bool ok = len > 0 && len <= sizeof der && br_encode_ec_pkcs8_der(der, private, public) == len &&
              put_pem(b, BR_ENCODE_PEM_PKCS8, der, len);
    explicit_bzero(der, sizeof der);
    return ok;
}

static bool put_cert(struct buf *b, const struct request *r, const br_ec_private_key *private)
{
    struct buf der;
    buf_init(&der, PEM_FILE_MAX);
    size_t cert = der_begin(&der, DER_SEQUENCE);
    size_t tbs = der.len;
    put_tbs(&der, r);
    sign_tbs(&der, tbs, private);
    der_end(&der, cert);
    bool ok = buf_ok(&der) && put_pem(b, "CERTIFICATE", der.data, der.len);
    buf_free(&der);
    return ok;
}

bool x509_self_signed(const char *const *names, size_t count, int64_t now, unsigned days,
                      const unsigned char *random, struct buf *cert_pem, struct buf *key_pem)
{
    for (size_t i = 0; i < count; i++) {
        if (!x509_is_name(names[i], strlen(names[i]))) {
            return false;
        }
    }
    unsigned char private_memory[BR_EC_KBUF_PRIV_MAX_SIZE], public_memory[BR_EC_KBUF_PUB_MAX_SIZE];
    const br_ec_impl *ec = br_ec_get_default();
    br_ec_private_key private;
    br_hmac_drbg_context rng;
    struct request r = {.names = names, .count = count, .from = now, .to = now + (int64_t)days * 86400};
    r.serial = random;
    br_hmac_drbg_init(&rng, &br_sha256_vtable, random + SERIAL_BYTES, RANDOM_BYTES - SERIAL_BYTES);
    bool ok = count > 0 && br_ec_keygen(&rng.vtable, ec, &private, private_memory, BR_EC_secp256r1) > 0 &&
              br_ec_compute_pub(ec, &r.public, public_memory, &private) > 0 &&
              put_key(key_pem, &private, &r.public) && put_cert(cert_pem, &r, &private);
    explicit_bzero(private_memory, sizeof private_memory);
    explicit_bzero(&rng, sizeof rng);
    return ok;
}
