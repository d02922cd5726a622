/*
 * A token: who has one has asked this server for it, for one form, at a time that it tells. Pure.
 *
 *     version   1 byte
 *     time      8 bytes    seconds since 1970, big-endian
 *     random   11 bytes
 *     MAC      16 bytes    HMAC-SHA-256 (RFC 2104, cut as its §5 has it) over the 20 bytes above and the form's
 *                          name, under a secret that only the fronts know
 *
 * as 48 letters of base64url (RFC 4648 §5): 36 bytes need no padding, so there is one way to write each.
 *
 * Nothing is remembered of a token, so it may be used again for as long as it lives. That lets a visitor send two
 * orders from one page; what limits a robot with one good token are the limits of each address and form, and the
 * proof of work, if the form asks for it, is then one for many posts. What always holds: a token cannot be made
 * without the secret, not be used at another form, not be older than TOKEN_LIFE, and its age cannot be changed.
 */

#include "bridge.h"

#include <string.h>

enum {
    VERSION = 1,
    TIME_SIZE = 8,
    SIGNED_SIZE = 1 + TIME_SIZE + TOKEN_RANDOM,
    MAC_SIZE = 16,
    SIZE = SIGNED_SIZE + MAC_SIZE,
    CLOCK_STEP =
        60, /* seconds that a token may be ahead of the clock: the clock may have been set back a little */
};

_Static_assert(SIZE % 3 == 0 && SIZE / 3 * 4 == TOKEN_LEN, "no padding");

static void make_mac(unsigned char mac[MAC_SIZE], const struct token_key *k, const unsigned char *bytes)
{
    br_hmac_key_context key;
    br_hmac_context hmac;
    unsigned char whole[br_sha256_SIZE];
    br_hmac_key_init(&key, &hash_sha256, k->secret, SECRET_SIZE);
    br_hmac_init(&hmac, &key, 0);
    br_hmac_update(&hmac, bytes, SIGNED_SIZE);
    br_hmac_update(&hmac, k->form, strlen(k->form));
    br_hmac_out(&hmac, whole);
    memcpy(mac, whole, MAC_SIZE);
    explicit_bzero(&key, sizeof key);
    explicit_bzero(&hmac, sizeof hmac);
}

void token_make(char out[TOKEN_LEN + 1], const struct token_key *k, int64_t time,
                const unsigned char random[TOKEN_RANDOM])
{
    unsigned char bytes[SIZE] = {VERSION};
    for (size_t i = 0; i < TIME_SIZE; i++) {
        bytes[1 + i] = (unsigned char)((uint64_t)time >> (56 - 8 * i));
    }
    memcpy(bytes + 1 + TIME_SIZE, random, TOKEN_RANDOM);
    make_mac(bytes + SIGNED_SIZE, k, bytes);
    struct buf text;
    buf_borrow(&text, out, TOKEN_LEN);
    base64_put(&text, bytes, sizeof bytes, BASE64_URL);
    out[TOKEN_LEN] = '\0';
}

enum token_verdict token_read(const struct token_key *k, const void *text, size_t len, int64_t now,
                              int64_t *age)
{
    unsigned char bytes[SIZE], mac[MAC_SIZE];
    *age = 0;
    if (len == 0) {
        return TOKEN_NONE;
    }
    struct buf given;
    buf_borrow(&given, bytes, sizeof bytes);
    if (len != TOKEN_LEN || !base64_get(&given, text, len, BASE64_URL) || given.len != SIZE ||
        bytes[0] != VERSION) {
        return TOKEN_FORGED;
    }
    make_mac(mac, k, bytes);
    if (!hash_same(mac, bytes + SIGNED_SIZE, MAC_SIZE)) {
        return TOKEN_FORGED;
    }
    uint64_t time = 0; /* one that we have written ourselves */
    for (size_t i = 0; i < TIME_SIZE; i++) {
        time = time << 8 | bytes[1 + i];
    }
    int64_t old = now - (int64_t)time;
    if (old < -CLOCK_STEP || old > TOKEN_LIFE) {
        return TOKEN_EXPIRED;
    }
    *age = old < 0 ? 0 : old;
    return TOKEN_GOOD;
}

/* ---- proof of work --------------------------------------------------------------------------- */

static unsigned leading_zeros(const unsigned char *digest)
{
    unsigned zeros = 0;
    while (zeros < 8 * br_sha256_SIZE && (digest[zeros / 8] >> (7 - zeros % 8) & 1) == 0) {
        zeros++;
    }
    return zeros;
}

bool token_proved(const void *token, size_t token_len, const void *proof, size_t proof_len, unsigned bits)
{
    unsigned char digest[br_sha256_SIZE];
    br_sha256_context sha;
    if (proof_len == 0 || proof_len > TOKEN_PROOF_MAX) {
        return false;
    }
    br_sha256_init(&sha);
    br_sha256_update(&sha, token, token_len);
    br_sha256_update(&sha, ":", 1);
    br_sha256_update(&sha, proof, proof_len);
    br_sha256_out(&sha, digest);
    return leading_zeros(digest) >= bits;
}

void token_prove(const char *token, unsigned bits, char proof[TOKEN_PROOF_MAX + 1])
{
    for (uint64_t n = 0;; n++) {
        text_fmt(proof, TOKEN_PROOF_MAX + 1, "%llu", (unsigned long long)n);
        if (token_proved(token, strlen(token), proof, strlen(proof), bits)) {
            return;
        }
    }
}
