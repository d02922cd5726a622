/* smime.c: everything of a message goes inside, and nothing of it is seen outside. */

#include "tests/envelope_parts.h"

enum { LARGE = 1 << 20, NOW = 1795305136 };

static const char message[] = "Received: from [192.0.2.7] by forms.example.com\n"
                              " (formbridge) MARKER\n"
                              "From: website@example.com\n"
                              "To: orders@example.com,\n"
                              " shop@example.com\n"
                              "Subject: Order from MARKER\n"
                              "Reply-To: marker@example.org\n"
                              "MIME-Version: 1.0\n"
                              "Content-Type: text/plain; charset=UTF-8\n"
                              "\n"
                              "MARKER\n"
                              "two\n";

static const char sealed_inside[] = "Received: from [192.0.2.7] by forms.example.com\r\n"
                                    " (formbridge) MARKER\r\n"
                                    "From: website@example.com\r\n"
                                    "To: orders@example.com,\r\n"
                                    " shop@example.com\r\n"
                                    "Subject: Order from MARKER\r\n"
                                    "Reply-To: marker@example.org\r\n"
                                    "MIME-Version: 1.0\r\n"
                                    "Content-Type: text/plain; charset=UTF-8;\r\n"
                                    " hp=\"cipher\"; protected-headers=\"v1\"\r\n"
                                    "HP-Outer: From: website@example.com\r\n"
                                    "HP-Outer: To: orders@example.com, shop@example.com\r\n"
                                    "HP-Outer: Subject: order 7K2M-Q9XD-4TRW\r\n"
                                    "\r\n"
                                    "MARKER\r\n"
                                    "two\r\n";

static const char sealed_outside[] = "From: website@example.com\n"
                                     "To: orders@example.com,\n"
                                     " shop@example.com\n"
                                     "Subject: order 7K2M-Q9XD-4TRW\n"
                                     "MIME-Version: 1.0\n"
                                     "Content-Type: application/pkcs7-mime;\n"
                                     " smime-type=enveloped-data; name=\"smime.p7m\"\n"
                                     "Content-Transfer-Encoding: base64\n"
                                     "Content-Disposition: attachment; filename=\"smime.p7m\"\n"
                                     "\n";

struct task { /* and all it points to */
    struct smime_job job;
    struct owner owner;
    struct zeros rng;
};

static void make_task(struct task *j)
{
    make_ec(&j->owner, BR_EC_secp256r1);
    j->rng = zeros();
    j->job = (struct smime_job){
        .to = {.certs = {&j->owner.cert}, .count = 1},
        .subject = "order 7K2M-Q9XD-4TRW",
        .time = NOW,
        .rng = &j->rng.vtable,
    };
}

static bool seal(const struct task *j, const char *text, size_t len, size_t piece, struct buf *out)
{
    struct buf_sink sink;
    buf_sink(&sink, out);
    struct smime *s = smime_new(&j->job, &sink.sink);
    assert_non_null(s);
    bool ok = true;
    for (size_t at = 0; at < len && ok; at += piece) {
        ok = smime_sink(s)->put(smime_sink(s), text + at, len - at < piece ? len - at : piece);
    }
    ok = smime_end(s) && ok;
    smime_free(s);
    return ok;
}

static void decode_base64(const char *text, struct buf *out)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    unsigned have = 0;
    for (; *text != '\0'; text++) {
        const char *digit = strchr(alphabet, *text);
        if (digit == NULL) {
            continue;
        }
        bits = bits << 6 | (uint32_t)(digit - alphabet);
        have += 6;
        if (have >= 8) {
            have -= 8;
            buf_byte(out, (unsigned char)(bits >> have));
        }
    }
}

static void everything_is_inside_and_nothing_outside(void **state)
{
    (void)state;
    static struct task j;
    for (size_t piece = 1; piece < sizeof message; piece += 13) {
        struct buf out, ber;
        struct opened o;
        unsigned char cek[CMS_KEY_SIZE];
        struct zeros again = zeros();
        make_task(&j);
        buf_init(&out, LARGE);
        buf_init(&ber, LARGE);
        assert_true(seal(&j, message, sizeof message - 1, piece, &out));
        assert_memory_equal(out.data, sealed_outside, sizeof sealed_outside - 1);
        decode_base64(buf_text(&out) + sizeof sealed_outside - 1, &ber);
        take_apart(&o, &ber, false);
        zeros_generate(&again.vtable, cek, sizeof cek);
        open_cbc(&o, cek);
        assert_int_equal(o.content.len, sizeof sealed_inside - 1);
        assert_memory_equal(o.content.data, sealed_inside, sizeof sealed_inside - 1);
        buf_free(&o.content);
        buf_free(&ber);
        buf_free(&out);
    }
}

static bool holds(const struct buf *b, const char *text)
{
    return b->len > 0 && memmem(b->data, b->len, text, strlen(text)) != NULL;
}

static void what_is_no_message_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "\n",
        "\nMARKER\n",
        "Subject: MARKER\n",
        "Subject: MARKER\n\nMARKER\n",
        "Content-Type: text/plain\nContent-Type: text/html\n\nMARKER\n",
        "Content-Type: text/plain\nMARKER\n\nMARKER\n",
        " MARKER\nContent-Type: text/plain\n\nMARKER\n",
        "Content-Type: text/plain\n: MARKER\n\nMARKER\n",
    };
    static struct task j;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf out;
        make_task(&j);
        buf_init(&out, LARGE);
        assert_false(seal(&j, cases[i], strlen(cases[i]), 3, &out));
        assert_false(holds(&out, "MARKER"));
        buf_free(&out);
    }
}

static size_t refuse_to_sign(void *ctx, unsigned hash, unsigned char *data, size_t hash_len, size_t len)
{
    (void)ctx;
    (void)hash;
    (void)data;
    (void)hash_len;
    (void)len;
    return 0;
}

static void without_its_signature_there_is_no_mail(void **state)
{
    (void)state;
    static struct task j;
    struct chain chain;
    char why[REASON_SIZE];
    struct buf cert, key, out;
    static const char *const names[] = {"forms.example.com"};
    unsigned char random[64] = {1};
    buf_init(&cert, LARGE);
    buf_init(&key, LARGE);
    buf_init(&out, LARGE);
    assert_true(x509_self_signed(names, 1, NOW, 30, random, &cert, &key));
    assert_true(x509_chain_parse(&chain, "sign.pem", cert.data, cert.len, why, sizeof why));
    const struct cms_signer signer = {.chain = &chain, .sign = refuse_to_sign};
    make_task(&j);
    j.job.signer = &signer;
    assert_false(seal(&j, message, sizeof message - 1, 100, &out));
    x509_chain_free(&chain);
    buf_free(&cert);
    buf_free(&key);
    buf_free(&out);
}

/* A destination that fails after so many bytes; nothing of what it is given may be the marker. */
static void a_full_disk_shows_nothing(void **state)
{
    (void)state;
    static struct task j;
    bool whole = false;
    for (size_t room = 0; !whole; room += 97) {
        struct buf out;
        make_task(&j);
        buf_init(&out, room);
        whole = seal(&j, message, sizeof message - 1, 11, &out);
        assert_false(holds(&out, "MARKER"));
        assert_false(holds(&out, "marker@"));
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_inside_and_nothing_outside),
        cmocka_unit_test(what_is_no_message_is_refused),
        cmocka_unit_test(without_its_signature_there_is_no_mail),
        cmocka_unit_test(a_full_disk_shows_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
