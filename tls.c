/* What TLS means here: one profile for every engine, a server policy whose private key is in another process,
 * and a session cache that all fronts share. */

#include "bridge.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

/* ECDHE with an AEAD and nothing else: forward secrecy, and no CBC. AES-128 first: with AES-NI it is the
 * fastest, and nothing gains from the longer key. */
static const uint16_t suites[] = {
    BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,       BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,       BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
};

/* What this CPU does best. Asking it costs traps on a virtual machine, so it is asked once. */
static pthread_once_t asked = PTHREAD_ONCE_INIT;
static struct {
    br_ec_impl ec;
    br_rsa_pkcs1_vrfy rsa_verify;
    br_ecdsa_vrfy ecdsa_verify;
    const br_block_ctr_class *aes_ctr;
    br_ghash ghash;
    br_chacha20_run chacha20;
    br_poly1305_run poly1305;
} best;

static void choose_implementations(void)
{
    best.ec = *curve_impl();
    best.ec.supported_curves = (1u << BR_EC_curve25519) | (1u << BR_EC_secp256r1);
    best.rsa_verify = br_rsa_pkcs1_vrfy_get_default();
    best.ecdsa_verify = br_ecdsa_vrfy_asn1_get_default();
    best.aes_ctr = br_aes_x86ni_ctr_get_vtable();
    if (best.aes_ctr == NULL) {
        best.aes_ctr = &br_aes_ct64_ctr_vtable; /* constant-time without tables */
    }
    best.ghash = br_ghash_pclmul_get();
    if (best.ghash == NULL) {
        best.ghash = &br_ghash_ctmul64;
    }
    best.chacha20 = br_chacha20_sse2_get();
    if (best.chacha20 == NULL) {
        best.chacha20 = &br_chacha20_ct_run;
    }
    best.poly1305 = br_poly1305_ctmulq_get();
    if (best.poly1305 == NULL) {
        best.poly1305 = &br_poly1305_ctmul_run;
    }
}

void tls_profile(br_ssl_engine_context *cc)
{
    pthread_once(&asked, choose_implementations);
    br_ssl_engine_set_versions(cc, BR_TLS12, BR_TLS12);
    br_ssl_engine_set_suites(cc, suites, COUNT(suites));
    br_ssl_engine_add_flags(cc, BR_OPT_NO_RENEGOTIATION);

    /* No MD5 and no SHA-1 means no signature over them is offered or taken. */
    br_ssl_engine_set_hash(cc, br_sha256_ID, &hash_sha256);
    br_ssl_engine_set_hash(cc, br_sha384_ID, &br_sha384_vtable);
    br_ssl_engine_set_hash(cc, br_sha512_ID, &br_sha512_vtable);
    br_ssl_engine_set_prf_sha256(cc, &hash_prf_sha256);
    br_ssl_engine_set_prf_sha384(cc, &br_tls12_sha384_prf);

    br_ssl_engine_set_ec(cc, &best.ec);
    br_ssl_engine_set_rsavrfy(cc, best.rsa_verify);
    br_ssl_engine_set_ecdsa(cc, best.ecdsa_verify);

    br_ssl_engine_set_gcm(cc, &br_sslrec_in_gcm_vtable, &br_sslrec_out_gcm_vtable);
    br_ssl_engine_set_aes_ctr(cc, best.aes_ctr);
    br_ssl_engine_set_ghash(cc, best.ghash);
    br_ssl_engine_set_chapol(cc, &br_sslrec_in_chapol_vtable, &br_sslrec_out_chapol_vtable);
    br_ssl_engine_set_chacha20(cc, best.chacha20);
    br_ssl_engine_set_poly1305(cc, best.poly1305);

    /* BearSSL 0.6 alone would trust RDRAND and nothing else. */
    unsigned char seed[32];
    if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        abort(); /* never on Linux for 32 bytes; going on without entropy would be worse */
    }
    br_ssl_engine_inject_entropy(cc, seed, sizeof seed);
    explicit_bzero(seed, sizeof seed);
    cc->rng_os_rand_done = 1; /* RDRAND has nothing to add, and asking for it traps on a virtual machine */
}

/* ---- the server's side of the private key ---------------------------------------------------- */

static int policy_choose(const br_ssl_server_policy_class **ctx, const br_ssl_server_context *sc,
                         br_ssl_server_choices *choices)
{
    const struct tls_policy *p = (const struct tls_policy *)(const void *)ctx;
    *choices = (br_ssl_server_choices){.cipher_suite = 0}; /* BearSSL copies them even if nothing is chosen */
    bool ec = p->chain->key_type == BR_KEYTYPE_EC;
    uint32_t hashes = br_ssl_server_get_client_hashes(sc) >> (ec ? 8 : 0);
    unsigned hash = 0;
    static const unsigned preferred[] = {br_sha256_ID, br_sha384_ID, br_sha512_ID};
    for (size_t i = 0; i < COUNT(preferred) && hash == 0; i++) {
        hash = (hashes >> preferred[i]) & 1 ? preferred[i] : 0;
    }
    if (hash == 0) {
        return 0;
    }

    size_t count;
    const br_suite_translated *client = br_ssl_server_get_client_suites(sc, &count);
    for (size_t i = 0; i < count; i++) {
        if (client[i][1] >> 12 == (ec ? BR_SSLKEYX_ECDHE_ECDSA : BR_SSLKEYX_ECDHE_RSA)) {
            choices->cipher_suite = client[i][0];
            choices->algo_id = 0xFF00 + hash;
            choices->chain = p->chain->certs;
            choices->chain_len = p->chain->count;
            return 1;
        }
    }
    return 0;
}

/* Only ECDHE suites are on offer, so the key never has to decrypt. */
static uint32_t policy_keyx(const br_ssl_server_policy_class **ctx, unsigned char *data, size_t *len)
{
    (void)ctx, (void)data, (void)len;
    return 0;
}

static size_t policy_sign(const br_ssl_server_policy_class **ctx, unsigned algo, unsigned char *data,
                          size_t hash_len, size_t len)
{
    struct tls_policy *p = (struct tls_policy *)(void *)ctx;
    return p->sign(p->sign_ctx, algo & 0xFF, data, hash_len, len);
}

static const br_ssl_server_policy_class policy_class = {
    .context_size = sizeof(struct tls_policy),
    .choose = policy_choose,
    .do_keyx = policy_keyx,
    .do_sign = policy_sign,
};

void tls_policy_init(struct tls_policy *p, const struct chain *chain,
                     size_t (*sign)(void *, unsigned, unsigned char *, size_t, size_t), void *sign_ctx)
{
    *p = (struct tls_policy){.vtable = &policy_class, .chain = chain, .sign = sign, .sign_ctx = sign_ctx};
}

void tls_server(br_ssl_server_context *sc, struct tls_policy *policy, struct tls_cache *cache)
{
    br_ssl_server_zero(sc);
    tls_profile(&sc->eng);
    br_ssl_engine_add_flags(&sc->eng, BR_OPT_ENFORCE_SERVER_PREFERENCES);
    br_ssl_server_set_policy(sc, &policy->vtable);
    /* No ALPN: for a resumed session without a common protocol BearSSL 0.6 reads far behind its list. */
    if (cache != NULL) {
        br_ssl_server_set_cache(sc, tls_cache_class(cache));
    }
}

bool tls_server_start(br_ssl_server_context *sc)
{
    if (!br_ssl_server_reset(sc)) {
        return false;
    }
    hello_hasten(sc);
    return true;
}

/* ---- session cache ------------------------------------------------------------------------------
 *
 * A session is found by the first bytes of its id, which are random, in a set of a few slots. Each slot has a
 * lock that is only ever tried: a process that dies inside one costs that slot, and nobody waits. With the secret of a
 * session that is too old, what was said in it could still be read by one who recorded it and later gets at the memory:
 * it is wiped by the next who looks into its set, or else by a sweep. */

enum { SETS = 1024, WAYS = 4, LIFETIME = 3600, SWEEP_EVERY = 60 }; /* seconds */

struct session {
    atomic_flag busy;
    uint32_t saved; /* seconds, CLOCK_MONOTONIC; 0: empty */
    br_ssl_session_parameters params;
};

struct sessions {
    _Atomic uint32_t sweep_at; /* as saved; 0: there is nothing to sweep */
    atomic_uchar used[SETS];   /* the others have never been touched, and take no memory */
    struct session sets[SETS][WAYS];
};

/* Only the sessions are shared: what a process calls through is its own. */
struct tls_cache {
    const br_ssl_session_cache_class *vtable;
    struct sessions *shared;
};

static uint32_t now_seconds(void)
{
    return (uint32_t)(clock_ms() / 1000) + 1; /* never 0 */
}

static size_t session_set(const br_ssl_session_parameters *p)
{
    return (size_t)(p->session_id[0] | p->session_id[1] << 8) % SETS;
}

/* false: it is not to be had. A session that is too old is none any more. */
static bool slot_take(struct session *s)
{
    if (atomic_flag_test_and_set_explicit(&s->busy, memory_order_acquire)) {
        return false;
    }
    if (s->saved != 0 && now_seconds() - s->saved >= LIFETIME) {
        explicit_bzero(&s->params, sizeof s->params);
        s->saved = 0;
    }
    return true;
}

static void slot_leave(struct session *s)
{
    if (s != NULL) {
        atomic_flag_clear_explicit(&s->busy, memory_order_release);
    }
}

static void cache_save(const br_ssl_session_cache_class **ctx, br_ssl_server_context *sc,
                       const br_ssl_session_parameters *params)
{
    (void)sc;
    struct sessions *shared = ((struct tls_cache *)(void *)ctx)->shared;
    size_t number = session_set(params);
    struct session *set = shared->sets[number];
    struct session *oldest = NULL; /* and ours, until it is left */
    for (int i = 0; i < WAYS; i++) {
        struct session *other = &set[i];
        if (!slot_take(other)) {
            continue;
        }
        if (oldest == NULL || other->saved < oldest->saved) {
            other = oldest;
            oldest = &set[i];
        }
        slot_leave(other);
    }
    if (oldest != NULL) {
        oldest->params = *params;
        oldest->saved = now_seconds();
        uint32_t none = 0;
        atomic_store(&shared->used[number], 1);
        atomic_compare_exchange_strong(&shared->sweep_at, &none, oldest->saved + LIFETIME);
    }
    slot_leave(oldest);
}

static int cache_load(const br_ssl_session_cache_class **ctx, br_ssl_server_context *sc,
                      br_ssl_session_parameters *params)
{
    (void)sc;
    struct session *set = ((struct tls_cache *)(void *)ctx)->shared->sets[session_set(params)];
    int found = 0;
    for (int i = 0; i < WAYS; i++) {
        struct session *s = &set[i];
        if (!slot_take(s)) {
            continue;
        }
        if (!found && s->saved != 0 && s->params.session_id_len == params->session_id_len &&
            memcmp(s->params.session_id, params->session_id, params->session_id_len) == 0) {
            *params = s->params;
            found = 1;
        }
        slot_leave(s);
    }
    return found;
}

int64_t tls_cache_sweep_at(const struct tls_cache *c)
{
    uint32_t at = atomic_load_explicit(&c->shared->sweep_at, memory_order_relaxed);
    return at == 0 ? 0 : (int64_t)(at - 1) * 1000;
}

/* When the first of its sessions was saved; 0: it has none. Of one that another process holds nothing is known. */
static uint32_t sweep_set(struct session *set)
{
    uint32_t first = 0;
    for (int i = 0; i < WAYS; i++) {
        uint32_t saved = now_seconds();
        if (slot_take(&set[i])) {
            saved = set[i].saved;
            slot_leave(&set[i]);
        }
        first = saved != 0 && (first == 0 || saved < first) ? saved : first;
    }
    return first;
}

void tls_cache_sweep(struct tls_cache *c)
{
    struct sessions *shared = c->shared;
    uint32_t first = 0, soon = now_seconds() + SWEEP_EVERY;
    if (atomic_exchange(&shared->sweep_at, 0) ==
        0) { /* another does it. Who saves from here on, sets it again */
        return;
    }
    for (size_t i = 0; i < SETS; i++) {
        if (atomic_exchange(&shared->used[i], 0) != 0) {
            uint32_t saved = sweep_set(shared->sets[i]);
            if (saved != 0) {
                atomic_store(&shared->used[i], 1);
                first = first == 0 || saved < first ? saved : first;
            }
        }
    }
    if (first != 0) {
        uint32_t due = first + LIFETIME;
        atomic_store(&shared->sweep_at, due > soon ? due : soon);
    }
}

static const br_ssl_session_cache_class cache_class = {
    .context_size = sizeof(struct tls_cache),
    .save = cache_save,
    .load = cache_load,
};

struct tls_cache *tls_cache_new(void)
{
    struct tls_cache *c = calloc(1, sizeof *c);
    void *shared =
        c == NULL ? MAP_FAILED
                  : mmap(NULL, sizeof *c->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        free(c);
        return NULL;
    }
    c->vtable = &cache_class;
    c->shared = shared;
    return c;
}

/* The last process to unmap the secrets gives them back to the kernel, which zeroes them. */
void tls_cache_free(struct tls_cache *c)
{
    if (c != NULL) {
        munmap(c->shared, sizeof *c->shared);
        free(c);
    }
}

const br_ssl_session_cache_class **tls_cache_class(struct tls_cache *c)
{
    return &c->vtable;
}

/* ---- words ----------------------------------------------------------------------------------- */

const char *tls_suite_name(uint16_t suite)
{
    switch (suite) {
    case BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: return "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    case BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: return "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    case BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: return "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    case BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: return "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";
    case BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256:
        return "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    case BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: return "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256";
    default: return "unknown cipher suite";
    }
}

static const struct {
    int code;
    const char *text;
} errors[] = {
    {BR_ERR_OK, "no error"},
    {BR_ERR_UNSUPPORTED_VERSION, "the peer offers no TLS 1.2"},
    {BR_ERR_BAD_VERSION, "a record of another TLS version"},
    {BR_ERR_BAD_LENGTH, "a record of a wrong length"},
    {BR_ERR_TOO_LARGE, "a record that is too large"},
    {BR_ERR_BAD_MAC, "a record that was tampered with or damaged"},
    {BR_ERR_NO_RANDOM, "no randomness"},
    {BR_ERR_UNKNOWN_TYPE, "a record of unknown type: this is not TLS"},
    {BR_ERR_UNEXPECTED, "a message out of order"},
    {BR_ERR_BAD_HANDSHAKE, "a malformed handshake message"},
    {BR_ERR_BAD_CIPHER_SUITE, "no cipher suite in common"},
    {BR_ERR_BAD_SECRENEG, "a wrong renegotiation indication"},
    {BR_ERR_LIMIT_EXCEEDED, "a message over a limit of ours"},
    {BR_ERR_BAD_FINISHED, "a Finished message that does not verify"},
    {BR_ERR_RESUME_MISMATCH, "a resumed session with other parameters"},
    {BR_ERR_INVALID_ALGORITHM, "no algorithm in common"},
    {BR_ERR_BAD_SIGNATURE, "a signature that does not verify"},
    {BR_ERR_WRONG_KEY_USAGE, "a key of the wrong kind"},
    {BR_ERR_NO_CLIENT_AUTH, "the peer asks for a client certificate"},
    {BR_ERR_X509_EMPTY_CHAIN, "no certificate was sent"},
    {BR_ERR_X509_BAD_SIGNATURE, "a certificate whose signature does not verify"},
    {BR_ERR_X509_EXPIRED, "a certificate that is expired or not yet valid"},
    {BR_ERR_X509_DN_MISMATCH, "certificates in the wrong order, or not of one chain"},
    {BR_ERR_X509_BAD_SERVER_NAME, "a certificate for another name"},
    {BR_ERR_X509_CRITICAL_EXTENSION, "a certificate with a critical extension that is not understood"},
    {BR_ERR_X509_NOT_CA, "a certificate issued by one that may not issue"},
    {BR_ERR_X509_FORBIDDEN_KEY_USAGE, "a certificate whose key may not be used for this"},
    {BR_ERR_X509_WEAK_PUBLIC_KEY, "a certificate with an RSA key of less than 2048 bits"},
    {BR_ERR_X509_NOT_TRUSTED, "a chain that leads to no trusted certificate, or lacks an intermediate one"},
    {BR_ERR_X509_UNSUPPORTED, "a certificate with a key or signature of an unsupported kind"},
    {BR_ERR_RECV_FATAL_ALERT + BR_ALERT_HANDSHAKE_FAILURE, "the peer found nothing in common (alert 40)"},
    {BR_ERR_RECV_FATAL_ALERT + BR_ALERT_PROTOCOL_VERSION, "the peer refuses TLS 1.2 (alert 70)"},
    {BR_ERR_RECV_FATAL_ALERT + BR_ALERT_INSUFFICIENT_SECURITY,
     "the peer wants other cipher suites (alert 71)"},
    {BR_ERR_RECV_FATAL_ALERT + BR_ALERT_UNKNOWN_CA, "the peer does not trust our certificate (alert 48)"},
    {BR_ERR_RECV_FATAL_ALERT + BR_ALERT_BAD_CERTIFICATE, "the peer refuses our certificate (alert 42)"},
    {BR_ERR_RECV_FATAL_ALERT + BR_ALERT_CERTIFICATE_EXPIRED,
     "the peer finds our certificate expired (alert 45)"},
    {BR_ERR_RECV_FATAL_ALERT + BR_ALERT_CERTIFICATE_UNKNOWN, "the peer refuses our certificate (alert 46)"},
    {BR_ERR_RECV_FATAL_ALERT + 112, "the peer does not know this server name (alert 112)"},
};

const char *tls_error_text(int error)
{
    for (size_t i = 0; i < COUNT(errors); i++) {
        if (errors[i].code == error) {
            return errors[i].text;
        }
    }
    if (error >= BR_ERR_SEND_FATAL_ALERT) {
        return "the handshake was refused by us";
    }
    if (error >= BR_ERR_RECV_FATAL_ALERT) {
        return "the peer broke the connection off with an alert";
    }
    return error >= BR_ERR_X509_INVALID_VALUE ? "a malformed certificate" : "a TLS protocol error";
}
