#include "bridge.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The exchange of RFC 7677 §3. Its nonce is base64 of these 15 bytes; ours has 18, so the tests set it by
 * hand. */
#define USER         "user"
#define PASSWORD     "pencil"
#define NONCE        "rOprNGfwEbeRWgbNEkqO"
#define SERVER_FIRST "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define CLIENT_FINAL                                                                                         \
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+"                         \
    "Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define SERVER_FINAL "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

static const unsigned char random_bytes[18] = "0123456789abcdefg";

static void encode(const char *text, char *out, size_t size)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = strlen(text), n = 0;
    assert_true(size > (len + 2) / 3 * 4);
    for (size_t i = 0; i < len; i += 3) {
        unsigned group = 0;
        for (size_t k = 0; k < 3; k++) {
            group = group << 8 | (i + k < len ? (unsigned char)text[i + k] : 0U);
        }
        for (size_t k = 0; k < 4; k++) {
            out[n++] = i + k <= len ? alphabet[group >> (18 - 6 * k) & 63] : '=';
        }
    }
    out[n] = '\0';
}

/* Answers a challenge given in clear. */
static bool step(struct auth *a, const char *challenge, struct buf *out)
{
    char text[4096];
    encode(challenge, text, sizeof text);
    buf_clear(out);
    return auth_step(a, text, strlen(text), out);
}

static void assert_says(struct buf *out, const char *clear)
{
    char text[4096];
    encode(clear, text, sizeof text);
    assert_string_equal(buf_text(out), text);
}

static void begin_scram(struct auth *a, struct buf *out)
{
    buf_init(out, 8192);
    auth_start(a, AUTH_SCRAM_SHA_256, USER, PASSWORD, random_bytes);
    text_copy(a->nonce, sizeof a->nonce, NONCE);
    assert_true(step(a, "", out));
    assert_says(out, "n,,n=user,r=" NONCE);
}

static void scram_speaks_as_the_rfc_does(void **state)
{
    (void)state;
    struct auth a;
    struct buf out;
    begin_scram(&a, &out);
    assert_true(step(&a, SERVER_FIRST, &out));
    assert_says(&out, CLIENT_FINAL);
    assert_false(a.proved);
    assert_true(step(&a, SERVER_FINAL, &out));
    assert_int_equal(out.len, 0);
    assert_true(a.proved);
    assert_false(step(&a, "", &out));
    buf_free(&out);
    auth_end(&a);
}

static void scram_refuses(const char *first, const char *final, const char *why)
{
    struct auth a;
    struct buf out;
    begin_scram(&a, &out);
    bool ok = step(&a, first, &out);
    if (ok && final != NULL) {
        ok = step(&a, final, &out);
    }
    assert_false(ok);
    assert_false(a.proved);
    assert_non_null(strstr(a.why, why));
    buf_free(&out);
    auth_end(&a);
}

static void a_host_that_does_not_know_the_password_is_refused(void **state)
{
    (void)state;
    scram_refuses(SERVER_FIRST, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=", "server signature");
    scram_refuses(SERVER_FIRST, "v=AAAATRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "impostor");
    scram_refuses(SERVER_FIRST, "v=AAAA", "without a server signature");
    scram_refuses(SERVER_FIRST, "", "without a server signature");
    scram_refuses(SERVER_FIRST, "e=invalid-proof", "password is wrong");
}

static void a_challenge_that_weakens_scram_is_refused(void **state)
{
    (void)state;
    scram_refuses("r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", NULL, "replays");
    scram_refuses("r=" NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", NULL, "replays");
    scram_refuses("r=" NONCE "x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4095", NULL, "iteration");
    scram_refuses("r=" NONCE "x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1000001", NULL, "iteration");
    scram_refuses("r=" NONCE "x,s=,i=4096", NULL, "RFC 5802");
    scram_refuses("r=" NONCE "x,s=!!!!,i=4096", NULL, "RFC 5802");
    scram_refuses("r=" NONCE "x,s=W22ZaJ0SNY7soEsUEjb6gQ==", NULL, "RFC 5802");
    scram_refuses("m=must,r=" NONCE "x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", NULL, "RFC 5802");
    scram_refuses("", NULL, "RFC 5802");
}

static void names_are_escaped_in_scram(void **state)
{
    (void)state;
    struct auth a;
    struct buf out;
    buf_init(&out, 1000);
    auth_start(&a, AUTH_SCRAM_SHA_256, "a=b,c", PASSWORD, random_bytes);
    text_copy(a.nonce, sizeof a.nonce, NONCE);
    assert_true(step(&a, "", &out));
    assert_says(&out, "n,,n=a=3Db=2Cc,r=" NONCE);
    buf_free(&out);
    auth_end(&a);
}

static void nonces_come_from_the_random_bytes(void **state)
{
    (void)state;
    struct auth a, b;
    unsigned char other[18] = {1};
    auth_start(&a, AUTH_SCRAM_SHA_256, USER, PASSWORD, random_bytes);
    auth_start(&b, AUTH_SCRAM_SHA_256, USER, PASSWORD, other);
    assert_int_equal(strlen(a.nonce), 24);
    assert_string_not_equal(a.nonce, b.nonce);
    auth_end(&a);
    auth_end(&b);
}

static void plain_is_one_answer(void **state)
{
    (void)state;
    struct auth a;
    struct buf out;
    buf_init(&out, 1000);
    auth_start(&a, AUTH_PLAIN, USER, PASSWORD, random_bytes);
    assert_false(a.proved);
    assert_true(step(&a, "", &out));
    assert_string_equal(buf_text(&out), "AHVzZXIAcGVuY2ls");
    assert_true(a.proved);
    assert_false(step(&a, "", &out));
    buf_free(&out);
    auth_end(&a);
}

static void login_is_name_then_password(void **state)
{
    (void)state;
    struct auth a;
    struct buf out;
    buf_init(&out, 1000);
    auth_start(&a, AUTH_LOGIN, USER, PASSWORD, random_bytes);
    assert_true(auth_step(&a, "not base64", 10, &out));
    assert_string_equal(buf_text(&out), "dXNlcg==");
    assert_false(a.proved);
    assert_true(step(&a, "Password:", &out));
    assert_string_equal(buf_text(&out), "cGVuY2ls");
    assert_true(a.proved);
    assert_false(step(&a, "Again:", &out));
    buf_free(&out);
    auth_end(&a);
}

static void base64_is_read_strictly(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "A", "AA", "AAA", "AB==", "AAB=", "A===", "====", "AA=A", "AAAA=", "AA A", "QUJD\n"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct auth a;
        struct buf out;
        buf_init(&out, 1000);
        auth_start(&a, AUTH_PLAIN, USER, PASSWORD, random_bytes);
        assert_false(auth_step(&a, bad[i], strlen(bad[i]), &out));
        assert_int_equal(out.len, 0);
        buf_free(&out);
        auth_end(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scram_speaks_as_the_rfc_does),
        cmocka_unit_test(a_host_that_does_not_know_the_password_is_refused),
        cmocka_unit_test(a_challenge_that_weakens_scram_is_refused),
        cmocka_unit_test(names_are_escaped_in_scram),
        cmocka_unit_test(nonces_come_from_the_random_bytes),
        cmocka_unit_test(plain_is_one_answer),
        cmocka_unit_test(login_is_name_then_password),
        cmocka_unit_test(base64_is_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
