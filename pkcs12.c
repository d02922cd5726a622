/*
 * PKCS #12 (RFC 7292): a private key and its certificate for a mail program
 * to import.
 *
 *     PFX
 *       AuthenticatedSafe
 *         encrypted:  SafeContents: the certificate
 *         plain:      SafeContents: the key, encrypted by itself
 *       MAC over the AuthenticatedSafe
 *
 * Both are encrypted by PBES2 (RFC 8018 §6.2); a program finds out which key
 * belongs to which certificate by the local key id that both carry.
 */

#include "bridge.h"

#include <string.h>

#define OID_ENCRYPTED_DATA "1.2.840.113549.1.7.6"
#define OID_PBES2          "1.2.840.113549.1.5.13"
#define OID_PBKDF2         "1.2.840.113549.1.5.12"
#define OID_HMAC_SHA256    "1.2.840.113549.2.9"
#define OID_KEY_BAG        "1.2.840.113549.1.12.10.1.2" /* pkcs8ShroudedKeyBag */
#define OID_CERT_BAG       "1.2.840.113549.1.12.10.1.3"
#define OID_X509_CERT      "1.2.840.113549.1.9.22.1"
#define OID_FRIENDLY_NAME  "1.2.840.113549.1.9.20"
#define OID_LOCAL_KEY_ID   "1.2.840.113549.1.9.21"

enum {
    DER_BMP_STRING = 0x1e,
    SAFE_MAX = 1 << 16,
    BLOCK = 16,
    SALT = 16,
    ROUNDS = 100000, /* of both derivations: what a guess at the password costs */
    PASSWORD_MAX = 127,
    HASH = br_sha256_SIZE,
    HASH_BLOCK = 64,
    WIDE_MAX = 2 * (PASSWORD_MAX + 1), /* UTF-16 with its NUL */
    WIDE_BLOCKS_MAX = (WIDE_MAX + HASH_BLOCK - 1) / HASH_BLOCK * HASH_BLOCK,
};

/* ---- PBES2 ----------------------------------------------------------------------------------- */

/* RFC 8018 A.2, A.4. */
static void put_pbes2(struct buf *b, const unsigned char salt[SALT], const unsigned char iv[BLOCK])
{
    size_t algorithm = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, OID_PBES2);
    size_t parameters = der_begin(b, DER_SEQUENCE);
    size_t derivation = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, OID_PBKDF2);
    size_t settings = der_begin(b, DER_SEQUENCE);
    der_put(b, DER_OCTET_STRING, salt, SALT);
    der_put_small(b, ROUNDS);
    algid_put_null(b, OID_HMAC_SHA256);
    der_end(b, settings);
    der_end(b, derivation);
    algid_put_bytes(b, OID_AES256_CBC, iv, BLOCK);
    der_end(b, parameters);
    der_end(b, algorithm);
}

/* Appends the algorithm, and plain as an element with this tag. */
static void put_encrypted(struct buf *b, unsigned tag, const void *plain, size_t len, const struct pkcs12 *p,
                          const br_prng_class **rng)
{
    unsigned char salt[SALT], iv[BLOCK];
    (*rng)->generate(rng, salt, sizeof salt);
    (*rng)->generate(rng, iv, sizeof iv);
    put_pbes2(b, salt, iv);
    size_t encrypted = der_begin(b, tag);
    size_t padded = len + BLOCK - len % BLOCK;
    unsigned char *room = buf_room(b, padded);
    if (room != NULL) {
        unsigned char key[HASH];
        br_aes_gen_cbcenc_keys aes;
        hash_pbkdf2(p->password, salt, SALT, ROUNDS, key);
        memcpy(room, plain, len);
        memset(room + len, (int)(padded - len), padded - len); /* RFC 8018 §6.1.1 */
        cmskey_aes_cbc()->init(&aes.vtable, key, sizeof key);
        aes.vtable->run(&aes.vtable, iv, room, padded);
        b->len += padded;
        explicit_bzero(&aes, sizeof aes);
        explicit_bzero(key, sizeof key);
    }
    der_end(b, encrypted);
}

/* ---- the bags -------------------------------------------------------------------------------- */

static void put_wide_name(struct buf *b, const char *name)
{
    size_t text = der_begin(b, DER_BMP_STRING);
    for (; *name != '\0'; name++) {
        buf_byte(b, 0);
        buf_byte(b, (unsigned char)*name);
    }
    der_end(b, text);
}

static void put_attributes(struct buf *b, const struct pkcs12 *p)
{
    unsigned char id[HASH];
    hash_digest(p->cert, p->cert_len, id);
    size_t set = der_begin(b, DER_SET);
    size_t values, attribute = cms_attribute_begin(b, OID_LOCAL_KEY_ID, &values);
    der_put(b, DER_OCTET_STRING, id, sizeof id);
    cms_attribute_end(b, attribute, values);
    attribute = cms_attribute_begin(b, OID_FRIENDLY_NAME, &values);
    put_wide_name(b, p->name);
    cms_attribute_end(b, attribute, values);
    der_end(b, set);
}

/* SafeContents of one bag, RFC 7292 §4.2.3. */
static void put_cert_bag(struct buf *b, const struct pkcs12 *p)
{
    size_t contents = der_begin(b, DER_SEQUENCE);
    size_t bag = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, OID_CERT_BAG);
    size_t value = der_begin(b, DER_CONTEXT_CONSTRUCTED + 0);
    size_t cert = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, OID_X509_CERT);
    size_t bytes = der_begin(b, DER_CONTEXT_CONSTRUCTED + 0);
    der_put(b, DER_OCTET_STRING, p->cert, p->cert_len);
    der_end(b, bytes);
    der_end(b, cert);
    der_end(b, value);
    put_attributes(b, p);
    der_end(b, bag);
    der_end(b, contents);
}

/* §4.2.2; the key is encrypted, so that the bag need not be. */
static void put_key_bag(struct buf *b, const struct pkcs12 *p, const br_prng_class **rng)
{
    size_t contents = der_begin(b, DER_SEQUENCE);
    size_t bag = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, OID_KEY_BAG);
    size_t value = der_begin(b, DER_CONTEXT_CONSTRUCTED + 0);
    size_t key = der_begin(b, DER_SEQUENCE);
    put_encrypted(b, DER_OCTET_STRING, p->key, p->key_len, p, rng);
    der_end(b, key);
    der_end(b, value);
    put_attributes(b, p);
    der_end(b, bag);
    der_end(b, contents);
}

/* ---- the file -------------------------------------------------------------------------------- */

static void put_data(struct buf *b, const struct buf *content)
{
    size_t info = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, OID_DATA);
    size_t wrapped = der_begin(b, DER_CONTEXT_CONSTRUCTED + 0);
    der_put(b, DER_OCTET_STRING, content->data, content->len);
    der_end(b, wrapped);
    der_end(b, info);
    b->failed = b->failed || !buf_ok(content);
}

/* EncryptedData, RFC 5652 §8. */
static void put_encrypted_data(struct buf *b, const struct buf *content, const struct pkcs12 *p,
                               const br_prng_class **rng)
{
    size_t info = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, OID_ENCRYPTED_DATA);
    size_t wrapped = der_begin(b, DER_CONTEXT_CONSTRUCTED + 0);
    size_t data = der_begin(b, DER_SEQUENCE);
    der_put_small(b, 0);
    size_t encrypted = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, OID_DATA);
    put_encrypted(b, DER_CONTEXT + 0, content->data, content->len, p, rng);
    der_end(b, encrypted);
    der_end(b, data);
    der_end(b, wrapped);
    der_end(b, info);
    b->failed = b->failed || !buf_ok(content);
}

static void put_safe(struct buf *b, const struct pkcs12 *p, const br_prng_class **rng)
{
    struct buf bag;
    buf_init(&bag, SAFE_MAX);
    size_t safe = der_begin(b, DER_SEQUENCE);
    put_cert_bag(&bag, p);
    put_encrypted_data(b, &bag, p, rng);
    buf_clear(&bag);
    put_key_bag(&bag, p, rng);
    put_data(b, &bag);
    der_end(b, safe);
    buf_free(&bag);
}

/* Repeats bytes to whole blocks; returns their length. */
static size_t fill_blocks(unsigned char *out, const unsigned char *bytes, size_t len)
{
    size_t total = (len + HASH_BLOCK - 1) / HASH_BLOCK * HASH_BLOCK;
    for (size_t i = 0; i < total; i++) {
        out[i] = bytes[i % len];
    }
    return total;
}

/* RFC 7292 B.2 for the key of the MAC (B.3: ID 3), of which the first hash is enough. The password is UTF-16, big-endian,
 * with its NUL (B.1). */
static void derive_mac_key(unsigned char key[HASH], const char *password, const unsigned char salt[SALT])
{
    unsigned char wide[WIDE_MAX] = {0}, input[2 * HASH_BLOCK + WIDE_BLOCKS_MAX];
    size_t len = strlen(password);
    for (size_t i = 0; i < len; i++) {
        wide[2 * i + 1] = (unsigned char)password[i];
    }
    memset(input, 3, HASH_BLOCK);
    size_t at = HASH_BLOCK;
    at += fill_blocks(input + at, salt, SALT);
    at += fill_blocks(input + at, wide, 2 * (len + 1));
    hash_digest(input, at, key);
    for (unsigned round = 1; round < ROUNDS; round++) {
        hash_digest(key, HASH, key);
    }
    explicit_bzero(wide, sizeof wide);
    explicit_bzero(input, sizeof input);
}

/* MacData, RFC 7292 §4. */
static void put_mac(struct buf *b, const struct buf *safe, const struct pkcs12 *p, const br_prng_class **rng)
{
    unsigned char salt[SALT], key[HASH], mac[HASH];
    (*rng)->generate(rng, salt, sizeof salt);
    derive_mac_key(key, p->password, salt);
    hash_hmac(key, sizeof key, safe->data, safe->len, mac);
    size_t data = der_begin(b, DER_SEQUENCE);
    size_t digest = der_begin(b, DER_SEQUENCE);
    algid_put_null(b, OID_SHA256);
    der_put(b, DER_OCTET_STRING, mac, sizeof mac);
    der_end(b, digest);
    der_put(b, DER_OCTET_STRING, salt, sizeof salt);
    der_put_small(b, ROUNDS);
    der_end(b, data);
    explicit_bzero(key, sizeof key);
}

static bool is_ascii(const char *text)
{
    while (*text >= ' ' && *text <= '~') {
        text++;
    }
    return *text == '\0';
}

bool pkcs12_put(struct buf *out, const struct pkcs12 *p, const br_prng_class **rng)
{
    size_t len = strlen(p->password);
    if (len == 0 || len > PASSWORD_MAX || !is_ascii(p->password) || !is_ascii(p->name)) {
        return false;
    }
    struct buf safe;
    buf_init(&safe, SAFE_MAX);
    put_safe(&safe, p, rng);
    size_t pfx = der_begin(out, DER_SEQUENCE);
    der_put_small(out, 3); /* the version */
    put_data(out, &safe);
    put_mac(out, &safe, p, rng);
    der_end(out, pfx);
    buf_free(&safe);
    return buf_ok(out);
}
