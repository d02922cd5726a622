/* SHA-256 by the instructions that the CPU has for it, from Nettle, in the form of a BearSSL hash: four to six times as
 * fast as BearSSL's, of which a resumed handshake alone computes fifty blocks. Nettle's structure is part of its ABI
 * (nettle/sha2.h), for callers allocate it. */

#include "bridge.h"

#include <nettle/sha2.h>
#include <string.h>

struct sha256 {
    const br_hash_class *vtable;
    struct sha256_ctx nettle;
};

/* BearSSL keeps any hash in the largest of its own. */
_Static_assert(sizeof(struct sha256) <= sizeof(br_hash_compat_context), "no room for a hash");

static struct sha256 *mutable(const br_hash_class **ctx)
{
    return (struct sha256 *)(void *)ctx;
}

static const struct sha256 *readable(const br_hash_class *const *ctx)
{
    return (const struct sha256 *)(const void *)ctx;
}

static void init(const br_hash_class **ctx)
{
    mutable(ctx)->vtable = &hash_sha256;
    sha256_init(&mutable(ctx)->nettle);
}

static void update(const br_hash_class **ctx, const void *data, size_t len)
{
    sha256_update(&mutable(ctx)->nettle, len, data);
}

static void out(const br_hash_class *const *ctx, void *digest)
{
    struct sha256_ctx copy = readable(ctx)->nettle;
    sha256_digest(&copy, SHA256_DIGEST_SIZE, digest);
}

/* After whole blocks, the number of bytes; the words as they stand in a digest. */
static uint64_t state(const br_hash_class *const *ctx, void *words)
{
    const struct sha256_ctx *nettle = &readable(ctx)->nettle;
    unsigned char *p = words;
    for (size_t i = 0; i < SHA256_DIGEST_SIZE; i++) {
        p[i] = (unsigned char)(nettle->state[i / 4] >> (24 - 8 * (i % 4)));
    }
    return nettle->count * SHA256_BLOCK_SIZE + nettle->index;
}

static void set_state(const br_hash_class **ctx, const void *words, uint64_t count)
{
    struct sha256_ctx *nettle = &mutable(ctx)->nettle;
    const unsigned char *p = words;
    for (size_t i = 0; i < SHA256_DIGEST_SIZE; i += 4) {
        nettle->state[i / 4] =
            (uint32_t)p[i] << 24 | (uint32_t)p[i + 1] << 16 | (uint32_t)p[i + 2] << 8 | p[i + 3];
    }
    nettle->count = count / SHA256_BLOCK_SIZE;
    nettle->index = 0;
}

const br_hash_class hash_sha256 = {
    .context_size = sizeof(struct sha256),
    .desc = BR_HASHDESC_ID(br_sha256_ID) | BR_HASHDESC_OUT(SHA256_DIGEST_SIZE) |
            BR_HASHDESC_STATE(SHA256_DIGEST_SIZE) | BR_HASHDESC_LBLEN(6) | BR_HASHDESC_MD_PADDING |
            BR_HASHDESC_MD_PADDING_BE,
    .init = init,
    .update = update,
    .out = out,
    .state = state,
    .set_state = set_state,
};

void hash_digest(const void *bytes, size_t len, unsigned char digest[br_sha256_SIZE])
{
    struct sha256_ctx sha;
    sha256_init(&sha);
    sha256_update(&sha, len, bytes);
    sha256_digest(&sha, br_sha256_SIZE, digest);
    explicit_bzero(&sha, sizeof sha);
}

void hash_hmac(const void *key, size_t key_len, const void *bytes, size_t len,
               unsigned char digest[br_sha256_SIZE])
{
    br_hmac_key_context keyed;
    br_hmac_context hmac;
    br_hmac_key_init(&keyed, &hash_sha256, key, key_len);
    br_hmac_init(&hmac, &keyed, 0);
    br_hmac_update(&hmac, bytes, len);
    br_hmac_out(&hmac, digest);
    explicit_bzero(&keyed, sizeof keyed);
    explicit_bzero(&hmac, sizeof hmac);
}

void hash_pbkdf2(const char *password, const void *salt, size_t salt_len, uint64_t rounds,
                 unsigned char key[br_sha256_SIZE])
{
    br_hmac_key_context keyed;
    br_hmac_context hmac;
    unsigned char u[br_sha256_SIZE];
    br_hmac_key_init(&keyed, &hash_sha256, password, strlen(password));
    br_hmac_init(&hmac, &keyed, 0);
    br_hmac_update(&hmac, salt, salt_len);
    br_hmac_update(&hmac, "\0\0\0\1", 4);
    br_hmac_out(&hmac, u);
    memcpy(key, u, sizeof u);
    for (uint64_t round = 1; round < rounds; round++) {
        br_hmac_init(&hmac, &keyed, 0);
        br_hmac_update(&hmac, u, sizeof u);
        br_hmac_out(&hmac, u);
        for (size_t i = 0; i < sizeof u; i++) {
            key[i] ^= u[i];
        }
    }
    explicit_bzero(&keyed, sizeof keyed);
    explicit_bzero(&hmac, sizeof hmac);
    explicit_bzero(u, sizeof u);
}

bool hash_same(const void *a, const void *b, size_t len)
{
    const unsigned char *x = a, *y = b;
    unsigned differ = 0;
    for (size_t i = 0; i < len; i++) {
        differ |= (unsigned)(x[i] ^ y[i]);
    }
    return differ == 0;
}

/* RFC 5246 §5; BearSSL's inner.h has it. */
void br_tls_phash(void *out, size_t len, const br_hash_class *hash, const void *secret, size_t secret_len,
                  const char *label, size_t seed_count, const br_tls_prf_seed_chunk *seed);

void hash_prf_sha256(void *bytes, size_t len, const void *secret, size_t secret_len, const char *label,
                     size_t seed_count, const br_tls_prf_seed_chunk *seed)
{
    memset(bytes, 0, len); /* it adds to what is there */
    br_tls_phash(bytes, len, &hash_sha256, secret, secret_len, label, seed_count, seed);
}
