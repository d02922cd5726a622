/* mailcert.c, mailself.c: mail is encrypted for those whom it is for, while their certificates last, and for nobody else. */

#include "bridge.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

enum { LARGE = 1 << 20, NOW = 1795305136, DAY = 86400 };

static void seeded(br_hmac_drbg_context *rng, const char *seed)
{
    br_hmac_drbg_init(rng, &br_sha256_vtable, seed, strlen(seed));
}

/* A self-signed one on P-256. */
static void add_cert(struct mailcert **list, const char *address, int64_t from, unsigned days)
{
    char why[REASON_SIZE] = "";
    br_hmac_drbg_context rng;
    struct buf pem, p12;
    seeded(&rng, address);
    buf_init(&pem, LARGE);
    buf_init(&p12, LARGE);
    const struct mailself m = {
        .address = address, .password = "secret", .now = from, .days = days, .ec = true, .rng = &rng.vtable};
    assert_true(mailself_make(&m, &pem, &p12));
    if (!mailcert_parse(list, "orders.pem", pem.data, pem.len, why, sizeof why)) {
        fail_msg("%s", why);
    }
    buf_free(&pem);
    buf_free(&p12);
}

/* ---- which certificate for whom -------------------------------------------------------------- */

static char *const orders[] = {"orders@example.com"};

static void the_address_must_be_in_the_certificate(void **state)
{
    (void)state;
    char why[REASON_SIZE];
    struct cms_recipients chosen;
    struct mailcert *list = NULL;
    add_cert(&list, "Orders@Example.com", NOW, 30);
    assert_true(mailcert_choose(list, orders, 1, NOW, &chosen, why, sizeof why));
    assert_int_equal(chosen.count, 1);
    assert_false(mailcert_names(list, "orders@example.co"));
    assert_false(mailcert_names(list, "orders@example.com.au"));
    assert_false(mailcert_names(list, ""));
    char *const both[] = {"orders@example.com", "shop@example.com"};
    assert_false(mailcert_choose(list, both, 2, NOW, &chosen, why, sizeof why));
    assert_string_equal(
        why, "orders.pem: has no certificate for shop@example.com, to whom the form's mail goes: add it");
    assert_int_equal(chosen.count, 0);
    mailcert_free(list);
}

static void a_stranger_is_never_a_recipient(void **state)
{
    (void)state;
    char why[REASON_SIZE];
    struct cms_recipients chosen;
    struct mailcert *list = NULL;
    add_cert(&list, "orders@example.com", NOW, 30);
    add_cert(&list, "other@example.org", NOW, 30);
    assert_false(mailcert_choose(list, orders, 1, NOW, &chosen, why, sizeof why));
    assert_non_null(strstr(why, "for none of the form's addresses"));
    assert_int_equal(chosen.count, 0);
    mailcert_free(list);
    assert_false(mailcert_choose(NULL, orders, 1, NOW, &chosen, why, sizeof why));
    assert_int_equal(chosen.count, 0);
}

static void an_old_and_a_new_certificate_stand_side_by_side(void **state)
{
    (void)state;
    char why[REASON_SIZE];
    struct cms_recipients chosen;
    struct mailcert *list = NULL;
    add_cert(&list, "orders@example.com", NOW, 30);
    add_cert(&list, "orders@example.com", NOW + 20 * DAY, 30);
    assert_int_equal(mailcert_expiry(list, orders, 1), NOW + 50 * DAY);
    static const struct {
        int64_t day;
        size_t count;
        const char *why;
    } cases[] = {
        {-1, 0, "not valid before"}, {0, 1, ""}, {19, 1, ""}, {21, 2, ""}, {31, 1, ""}, {51, 0, "expired on"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        bool ok = mailcert_choose(list, orders, 1, NOW + cases[i].day * DAY, &chosen, why, sizeof why);
        assert_int_equal(ok, cases[i].count > 0);
        assert_int_equal(chosen.count, cases[i].count);
        if (!ok) {
            assert_non_null(strstr(why, cases[i].why));
        }
    }
    mailcert_free(list);
}

static void a_certificate_is_described_in_words(void **state)
{
    (void)state;
    struct mailcert *list = NULL;
    struct buf out;
    buf_init(&out, LARGE);
    add_cert(&list, "orders@example.com", NOW, 30);
    assert_true(mailcert_describe(list, NOW + DAY, &out));
    const char *text = buf_text(&out);
    assert_non_null(strstr(text, "  for          orders@example.com\n"));
    assert_non_null(strstr(text, ", 29 days left\n"));
    assert_non_null(strstr(text, "  key          on the curve P-256\n"));
    assert_non_null(strstr(text, "  to encrypt   yes\n"));
    buf_clear(&out);
    assert_false(mailcert_describe(list, NOW + 31 * DAY, &out));
    assert_non_null(
        strstr(buf_text(&out), "  to encrypt   no: orders.pem: certificate 1 expired on 2026-12-21"));
    buf_free(&out);
    mailcert_free(list);
}

static void a_private_key_beside_the_certificate_is_refused(void **state)
{
    (void)state;
    static const char pem[] = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    char why[REASON_SIZE];
    struct mailcert *list = NULL;
    assert_false(mailcert_parse(&list, "orders.pem", pem, sizeof pem - 1, why, sizeof why));
    assert_null(list);
    assert_string_equal(
        why, "orders.pem: holds a private key, which must stay with the person who reads the mail: put "
             "the certificate alone here");
    assert_false(mailcert_parse(&list, "orders.pem", "", 0, why, sizeof why));
    assert_non_null(strstr(why, "has no certificate"));
}

/* ---- certificates of our own ----------------------------------------------------------------- */

static void passwords_that_readers_disagree_about_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *address, *password;
    } cases[] = {
        {"orders@example.com", ""},
        {"orders@example.com", "gr\xc3\xbc\xc3\x9f"},
        {"orders@example.com", "tab\there"},
        {"orders", "secret"},
        {"orders@ex\xc3\xa4mple.com", "secret"},
        {"or ders@example.com", "secret"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        br_hmac_drbg_context rng;
        struct buf cert, p12;
        seeded(&rng, "self");
        buf_init(&cert, LARGE);
        buf_init(&p12, LARGE);
        const struct mailself m = {.address = cases[i].address,
                                   .password = cases[i].password,
                                   .now = NOW,
                                   .days = 30,
                                   .ec = true,
                                   .rng = &rng.vtable};
        assert_false(mailself_make(&m, &cert, &p12));
        assert_int_equal(cert.len + p12.len, 0);
        buf_free(&cert);
        buf_free(&p12);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_address_must_be_in_the_certificate),
        cmocka_unit_test(a_stranger_is_never_a_recipient),
        cmocka_unit_test(an_old_and_a_new_certificate_stand_side_by_side),
        cmocka_unit_test(a_certificate_is_described_in_words),
        cmocka_unit_test(a_private_key_beside_the_certificate_is_refused),
        cmocka_unit_test(passwords_that_readers_disagree_about_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
