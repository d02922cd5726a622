/* SASL as SMTP AUTH uses it: SCRAM-SHA-256 (RFC 5802, RFC 7677), PLAIN (RFC 4616) and LOGIN (pure). */

#include "bridge.h"

#include <string.h>

enum {
    ITERATIONS_MIN = 4096,    /* RFC 7677 §4 */
    ITERATIONS_MAX = 1000000, /* about a second of work; more is a host that wastes our time */
    HASH = br_sha256_SIZE,
};

static bool scram_first(struct auth *a, struct buf *out)
{
    buf_str(&a->transcript, "n=");
    for (const char *p = a->user; *p != '\0'; p++) { /* saslname, RFC 5802 §5.1 */
        if (*p == ',' || *p == '=') {
            buf_str(&a->transcript, *p == ',' ? "=2C" : "=3D");
        } else {
            buf_byte(&a->transcript, (unsigned char)*p);
        }
    }
    buf_fmt(&a->transcript, ",r=%s", a->nonce);
    if (!buf_ok(&a->transcript)) {
        return false;
    }
    buf_str(out, "n,,"); /* gs2-header: no channel binding, no authzid */
    buf_put(out, a->transcript.data, a->transcript.len);
    return true;
}

/* Takes "x=VALUE" from the front of a comma-separated list. */
static bool attribute(const char **text, size_t *left, char name, const char **value, size_t *len)
{
    if (*left < 2 || (*text)[0] != name || (*text)[1] != '=') {
        return false;
    }
    const char *comma = memchr(*text, ',', *left);
    size_t all = comma == NULL ? *left : (size_t)(comma - *text);
    *value = *text + 2;
    *len = all - 2;
    *text += comma == NULL ? all : all + 1;
    *left -= comma == NULL ? all : all + 1;
    return true;
}

/* Proof and expected server signature from the AuthMessage in a->transcript (RFC 5802 §3). */
static void scram_keys(struct auth *a, const struct buf *salt, uint64_t iterations, unsigned char proof[HASH])
{
    unsigned char salted[HASH], key[HASH], stored[HASH];
    hash_pbkdf2(a->password, salt->data, salt->len, iterations, salted);
    hash_hmac(salted, HASH, "Client Key", 10, key);
    hash_digest(key, HASH, stored);
    hash_hmac(stored, HASH, a->transcript.data, a->transcript.len, proof);
    for (size_t i = 0; i < HASH; i++) {
        proof[i] ^= key[i];
    }
    hash_hmac(salted, HASH, "Server Key", 10, key);
    hash_hmac(key, HASH, a->transcript.data, a->transcript.len, a->signature);
    explicit_bzero(salted, sizeof salted);
    explicit_bzero(key, sizeof key);
    explicit_bzero(stored, sizeof stored);
}

static bool scram_final(struct auth *a, const struct buf *challenge, struct buf *out)
{
    const char *text = (const char *)challenge->data;
    size_t left = challenge->len;
    const char *nonce, *salt64, *count;
    size_t nonce_len, salt_len, count_len;
    uint64_t iterations;
    unsigned char memory[1024], proof[HASH];
    struct buf salt;
    buf_borrow(&salt, memory, sizeof memory);
    if (!attribute(&text, &left, 'r', &nonce, &nonce_len) ||
        !attribute(&text, &left, 's', &salt64, &salt_len) ||
        !attribute(&text, &left, 'i', &count, &count_len) || !base64_get(&salt, salt64, salt_len, BASE64) ||
        salt.len == 0 || !text_number(count, count_len, &iterations)) {
        a->why = "sent a SCRAM challenge that is not of RFC 5802";
        return false;
    }
    if (nonce_len <= strlen(a->nonce) || memcmp(nonce, a->nonce, strlen(a->nonce)) != 0) {
        a->why = "sent a SCRAM challenge that does not continue our nonce: somebody replays";
        return false;
    }
    if (iterations < ITERATIONS_MIN || iterations > ITERATIONS_MAX) {
        a->why = "asks for a SCRAM iteration count outside 4096 to 1000000";
        return false;
    }
    size_t mark = a->transcript.len + 1 + challenge->len + 1;
    buf_byte(&a->transcript, ',');
    buf_put(&a->transcript, challenge->data, challenge->len);
    buf_str(&a->transcript, ",c=biws,r="); /* base64 of "n,," */
    buf_put(&a->transcript, nonce, nonce_len);
    if (!buf_ok(&a->transcript)) {
        a->why = "sent a SCRAM challenge that is too long";
        return false;
    }
    scram_keys(a, &salt, iterations, proof);
    buf_put(out, a->transcript.data + mark, a->transcript.len - mark);
    buf_str(out, ",p=");
    base64_put(out, proof, HASH, BASE64);
    explicit_bzero(proof, sizeof proof);
    return true;
}

/* The host must show that it knows the password too (RFC 5802 §3, ServerSignature). */
static bool scram_verify(struct auth *a, const struct buf *challenge)
{
    const char *text = (const char *)challenge->data;
    size_t left = challenge->len;
    const char *value;
    size_t len;
    unsigned char memory[HASH];
    struct buf signature;
    buf_borrow(&signature, memory, sizeof memory);
    if (attribute(&text, &left, 'e', &value, &len)) {
        a->why = "refused the SCRAM proof: the user name or the password is wrong";
        return false;
    }
    if (!attribute(&text, &left, 'v', &value, &len) || !base64_get(&signature, value, len, BASE64) ||
        signature.len != HASH) {
        a->why = "ended SCRAM without a server signature";
        return false;
    }
    if (!hash_same(memory, a->signature, HASH)) {
        a->why = "sent a wrong SCRAM server signature: it does not know the password and may be an impostor";
        return false;
    }
    a->proved = true;
    return true;
}

static bool step_scram(struct auth *a, const struct buf *challenge, struct buf *out)
{
    switch (a->step++) {
    case 0: return scram_first(a, out);
    case 1: return scram_final(a, challenge, out);
    case 2: return scram_verify(a, challenge);
    default: a->why = "asks on after SCRAM has ended"; return false;
    }
}

static bool step_plain(struct auth *a, struct buf *out)
{
    if (a->step++ > 0) {
        a->why = "asks on after PLAIN has ended";
        return false;
    }
    buf_byte(out, '\0');
    buf_str(out, a->user);
    buf_byte(out, '\0');
    buf_str(out, a->password);
    a->proved = true;
    return true;
}

static bool step_login(struct auth *a, struct buf *out)
{
    if (a->step > 1) {
        a->why = "asks on after LOGIN has ended";
        return false;
    }
    buf_str(out, a->step++ == 0 ? a->user : a->password);
    a->proved = a->step == 2;
    return true;
}

void auth_start(struct auth *a, enum auth_mechanism mechanism, const char *user, const char *password,
                const unsigned char random[18])
{
    *a = (struct auth){.mechanism = mechanism, .user = user, .password = password};
    struct buf nonce;
    buf_borrow(&nonce, a->nonce, sizeof a->nonce - 1);
    base64_put(&nonce, random, 18, BASE64);
    buf_init(&a->transcript, 8192);
}

bool auth_step(struct auth *a, const char *challenge, size_t len, struct buf *out)
{
    struct buf in, plain;
    buf_init(&in, 4096);
    buf_init(&plain, 8192);
    bool ok = false;
    a->why = "sent a challenge that is not base64";
    if (a->mechanism == AUTH_LOGIN) { /* its prompts carry nothing, and not every host encodes them */
        ok = step_login(a, &plain);
    } else if (base64_get(&in, challenge, len, BASE64)) {
        ok = a->mechanism == AUTH_PLAIN ? step_plain(a, &plain) : step_scram(a, &in, &plain);
    }
    if (ok) {
        base64_put(out, plain.data, plain.len, BASE64);
        ok = buf_ok(&plain) && buf_ok(out);
        a->why = "needs an answer longer than there is memory for";
    }
    buf_free(&in);
    buf_free(&plain);
    return ok;
}

void auth_end(struct auth *a)
{
    buf_free(&a->transcript);
    explicit_bzero(a, sizeof *a);
}

const char *auth_name(enum auth_mechanism mechanism)
{
    static const char *const names[] = {"none", "LOGIN", "PLAIN", "SCRAM-SHA-256"};
    return names[mechanism];
}
