/* Memory that runs out while a mail is sealed: every allocation fails once, the mail fails as a whole, and nothing of it
 * has reached the outside. Linked with --wrap=malloc and calloc. */

#include "bridge.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static long left = -1; /* allocations until the one that fails; negative: none does */

static bool fails(void)
{
    return left >= 0 && left-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

enum { NOW = 1795305136, ROOM = 1 << 16 };

struct world {
    struct buf owner_pem;
    struct chain chain;
    struct key key;
    struct cms_signer signer;
};

static size_t sign(void *ctx, unsigned hash, unsigned char *data, size_t hash_len, size_t len)
{
    const struct key *key = ctx;
    unsigned char digest[br_sha256_SIZE];
    if (hash != br_sha256_ID || hash_len != sizeof digest || len < SIGNATURE_MAX) {
        return 0;
    }
    memcpy(digest, data, sizeof digest);
    return br_ecdsa_sign_asn1_get_default()(br_ec_get_default(), &br_sha256_vtable, digest, &key->ec, data);
}

static void make_world(struct world *w)
{
    static const char *const names[] = {"forms.example.com"};
    unsigned char random[64] = {1};
    char why[REASON_SIZE];
    br_hmac_drbg_context rng;
    struct buf cert, key, p12;
    buf_init(&cert, ROOM);
    buf_init(&key, ROOM);
    buf_init(&p12, ROOM);
    buf_init(&w->owner_pem, ROOM);
    br_hmac_drbg_init(&rng, &br_sha256_vtable, "seed", 4);
    const struct mailself owner = {.address = "orders@example.com",
                                   .password = "secret",
                                   .now = NOW,
                                   .days = 30,
                                   .ec = true,
                                   .rng = &rng.vtable};
    assert_true(mailself_make(&owner, &w->owner_pem, &p12));
    assert_true(x509_self_signed(names, 1, NOW, 30, random, &cert, &key));
    assert_true(x509_chain_parse(&w->chain, "sign.pem", cert.data, cert.len, why, sizeof why));
    assert_true(x509_key_parse(&w->key, "sign.key", key.data, key.len, why, sizeof why));
    w->signer = (struct cms_signer){.chain = &w->chain, .sign = sign, .ctx = &w->key};
    buf_free(&cert);
    buf_free(&key);
    buf_free(&p12);
}

static void free_world(struct world *w)
{
    x509_chain_free(&w->chain);
    x509_key_free(&w->key);
    buf_free(&w->owner_pem);
}

static bool put_message(struct smime *s)
{
    static const char head[] = "From: website@example.com\nSubject: MARKER\nContent-Type: text/plain\n\n";
    struct sink *in = smime_sink(s);
    bool ok = in->put(in, head, sizeof head - 1);
    for (size_t i = 0; i < 1000 && ok; i++) {
        ok = in->put(in, "MARKER MARKER\n", 14);
    }
    return smime_end(s) && ok;
}

/* From the certificate file to the end of the mail, as a submission goes. */
static bool seal(const struct world *w, struct sink *out)
{
    static char *const to[] = {"orders@example.com"};
    char why[REASON_SIZE];
    struct mailcert *list = NULL;
    br_hmac_drbg_context rng;
    br_hmac_drbg_init(&rng, &br_sha256_vtable, "message", 7);
    struct smime_job job = {.signer = &w->signer, .subject = "order", .time = NOW, .rng = &rng.vtable};
    bool ok = mailcert_parse(&list, "orders.pem", w->owner_pem.data, w->owner_pem.len, why, sizeof why) &&
              mailcert_choose(list, to, 1, NOW, &job.to, why, sizeof why);
    struct smime *s = ok ? smime_new(&job, out) : NULL;
    ok = s != NULL && put_message(s);
    smime_free(s);
    mailcert_free(list);
    return ok;
}

static void each_allocation_that_fails_fails_the_mail_and_shows_nothing(void **state)
{
    (void)state;
    static struct world w;
    static unsigned char room[ROOM];
    bool whole = false;
    long n = 0;
    make_world(&w);
    for (; !whole; n++) {
        struct buf out;
        struct buf_sink sink;
        buf_borrow(&out, room, sizeof room);
        buf_sink(&sink, &out);
        left = n;
        bool ok = seal(&w, &sink.sink);
        whole = left >= 0; /* the one that was to fail was never asked for */
        left = -1;
        if (ok != whole) {
            fail_msg("allocation %ld: %s", n, ok ? "sealed all the same" : "not sealed without it");
        }
        assert_true(buf_ok(&out));
        assert_null(memmem(out.data, out.len, "MARKER", 6));
    }
    assert_true(n > 20);
    free_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_that_fails_fails_the_mail_and_shows_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
