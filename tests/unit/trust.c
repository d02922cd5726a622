#include "bridge.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { NOW = 1800000000, DAY = 86400 };

/* A host with a self-signed certificate of its own, which is also the trust anchor. */
static struct {
    char dir[32], path[64];
    struct chain chain;
    struct anchors *anchors;
} host;

static int make_host(void **state)
{
    (void)state;
    static const char *const names[] = {"mail.example.com", "smtp.example.com"};
    unsigned char random[64];
    char why[REASON_SIZE];
    struct buf cert, key;
    memset(random, 7, sizeof random);
    buf_init(&cert, 10000);
    buf_init(&key, 10000);
    text_copy(host.dir, sizeof host.dir, "/tmp/trustXXXXXX");
    bool ok =
        x509_self_signed(names, COUNT(names), NOW, 30, random, &cert, &key) && mkdtemp(host.dir) != NULL;
    text_fmt(host.path, sizeof host.path, "%s/cert.pem", host.dir);
    FILE *f = ok ? fopen(host.path, "w") : NULL;
    ok = f != NULL && fwrite(cert.data, 1, cert.len, f) == cert.len && fclose(f) == 0;
    ok = ok && x509_chain_load(&host.chain, host.path, why, sizeof why);
    host.anchors = ok ? anchors_load(host.path, NOW, why, sizeof why) : NULL;
    buf_free(&cert);
    buf_free(&key);
    return host.anchors == NULL;
}

static int remove_host(void **state)
{
    (void)state;
    anchors_free(host.anchors);
    x509_chain_free(&host.chain);
    return unlink(host.path) != 0 || rmdir(host.dir) != 0;
}

static void give(const br_x509_class **x, const unsigned char *der, size_t len, size_t step)
{
    (*x)->start_cert(x, (uint32_t)len);
    for (size_t at = 0; at < len; at += step) {
        (*x)->append(x, der + at, len - at < step ? len - at : step);
    }
    (*x)->end_cert(x);
}

/* The verdict on the host's certificate; why receives the sentence. */
static unsigned judge(const struct mailhost *m, const struct anchors *a, int64_t now, size_t step, char *why)
{
    struct trust_check *c = trust_check_new(m, a, now);
    const br_x509_class **x = trust_check_class(c);
    (*x)->start_chain(x, NULL); /* whatever BearSSL passes on: the name that counts is the configured one */
    give(x, host.chain.certs[0].data, host.chain.certs[0].data_len, step);
    unsigned error = (*x)->end_chain(x);
    text_copy(why, REASON_SIZE, trust_check_why(c));
    assert_int_equal(error == 0, why[0] == '\0');
    trust_check_free(c);
    return error;
}

static struct mailhost named(char *name)
{
    return (struct mailhost){.server = name};
}

static void a_host_is_who_it_says_however_the_bytes_arrive(void **state)
{
    (void)state;
    char why[REASON_SIZE], name[] = "mail.example.com", dotted[] = "SMTP.example.com.";
    struct mailhost m = named(name), d = named(dotted);
    for (size_t step = 1; step < 700; step = step * 2 + 1) {
        assert_int_equal(judge(&m, host.anchors, NOW, step, why), 0);
    }
    assert_int_equal(judge(&d, host.anchors, NOW, 1000, why), 0);
}

static void another_name_is_refused_even_if_the_engine_asks_for_none(void **state)
{
    (void)state;
    char why[REASON_SIZE], name[] = "www.example.com";
    struct mailhost m = named(name);
    assert_int_equal(judge(&m, host.anchors, NOW, 1000, why), BR_ERR_X509_BAD_SERVER_NAME);
    assert_non_null(strstr(why, "is not for www.example.com (it names mail.example.com, smtp.example.com"));
}

static void dates_are_read_to_the_second(void **state)
{
    (void)state;
    char why[REASON_SIZE], name[] = "mail.example.com";
    struct mailhost m = named(name);
    int64_t first = host.chain.not_before, last = host.chain.not_after;
    assert_int_equal(judge(&m, host.anchors, first, 1000, why), 0);
    assert_int_equal(judge(&m, host.anchors, last, 1000, why), 0);
    assert_int_equal(judge(&m, host.anchors, first - 1, 1000, why), BR_ERR_X509_EXPIRED);
    assert_non_null(strstr(why, "not valid before"));
    assert_int_equal(judge(&m, host.anchors, last + 1, 1000, why), BR_ERR_X509_EXPIRED);
    assert_non_null(strstr(why, "expired on"));
}

static void a_pin_is_asked_for_beside_the_chain_or_instead(void **state)
{
    (void)state;
    char why[REASON_SIZE], name[] = "mail.example.com", address[] = "192.0.2.1";
    unsigned char pins[2][32] = {{0}};
    struct mailhost m = named(name), only = named(address);
    m.pins = only.pins = pins;
    m.pin_count = only.pin_count = 2;
    only.pin_only = true;
    assert_int_equal(judge(&m, host.anchors, NOW, 1000, why), BR_ERR_X509_NOT_TRUSTED);
    assert_int_equal(judge(&only, NULL, NOW, 1000, why), BR_ERR_X509_NOT_TRUSTED);
    memcpy(pins[1], host.chain.spki_sha256, 32);
    assert_int_equal(judge(&m, host.anchors, NOW, 1000, why), 0);
    assert_int_equal(judge(&only, NULL, host.chain.not_after + 1, 1000, why), 0);
    only.pin_count = 0;
    assert_int_equal(judge(&only, NULL, NOW, 1000, why), BR_ERR_X509_NOT_TRUSTED);
}

static void there_is_always_a_name_to_check(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "192.0.2.1", "2001:db8::1", "m\xc3\xa4il.example.com"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        char name[64];
        text_copy(name, sizeof name, bad[i]);
        struct mailhost m = named(name);
        struct trust_check *c = trust_check_new(&m, host.anchors, NOW);
        assert_string_not_equal(trust_check_why(c), "");
        assert_null(trust_check_name(c));
        /* and if it were used nevertheless: */
        const br_x509_class **x = trust_check_class(c);
        (*x)->start_chain(x, NULL);
        give(x, host.chain.certs[0].data, host.chain.certs[0].data_len, 1000);
        assert_int_not_equal((*x)->end_chain(x), 0);
        trust_check_free(c);
    }
}

static void a_damaged_certificate_is_never_accepted_with_another_key(void **state)
{
    (void)state;
    char name[] = "mail.example.com";
    unsigned char damaged[2048];
    size_t len = host.chain.certs[0].data_len, accepted = 0;
    assert_true(len < sizeof damaged);
    struct mailhost m = named(name);
    for (size_t i = 0; i < len; i++) {
        memcpy(damaged, host.chain.certs[0].data, len);
        damaged[i] ^= 0x41;
        struct trust_check *c = trust_check_new(&m, host.anchors, NOW);
        const br_x509_class **x = trust_check_class(c);
        (*x)->start_chain(x, NULL);
        give(x, damaged, len, 1000);
        if ((*x)->end_chain(x) == 0) {
            const br_x509_pkey *key = (*x)->get_pkey(x, NULL);
            assert_int_equal(key->key_type, BR_KEYTYPE_EC);
            assert_memory_equal(key->key.ec.q, host.anchors->list[0].pkey.key.ec.q, key->key.ec.qlen);
            accepted++;
        }
        trust_check_free(c);
    }
    assert_true(accepted < len / 2); /* a trusted certificate's own signature says nothing, its key does */
}

static void an_empty_or_endless_chain_is_refused(void **state)
{
    (void)state;
    char name[] = "mail.example.com";
    struct mailhost m = named(name);
    for (size_t count = 0; count < 40; count += 13) {
        struct trust_check *c = trust_check_new(&m, host.anchors, NOW);
        const br_x509_class **x = trust_check_class(c);
        (*x)->start_chain(x, NULL);
        for (size_t i = 0; i < count; i++) {
            give(x, host.chain.certs[0].data, host.chain.certs[0].data_len, 1000);
        }
        assert_int_not_equal((*x)->end_chain(x), 0);
        assert_string_not_equal(trust_check_why(c), "");
        trust_check_free(c);
    }
}

static void expired_anchors_are_left_out(void **state)
{
    (void)state;
    char why[REASON_SIZE];
    assert_null(anchors_load(host.path, host.chain.not_after + 1, why, sizeof why));
    assert_non_null(strstr(why, "expired"));
    assert_null(anchors_load("/nonexistent/file.pem", NOW, why, sizeof why));
    assert_non_null(strstr(why, "/nonexistent/file.pem: cannot be opened: No such file"));
}

static void a_certificate_that_is_no_ca_vouches_for_itself_alone(void **state)
{
    (void)state;
    assert_int_equal(host.anchors->count, 1);
    assert_int_equal(host.anchors->list[0].flags, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_is_who_it_says_however_the_bytes_arrive),
        cmocka_unit_test(another_name_is_refused_even_if_the_engine_asks_for_none),
        cmocka_unit_test(dates_are_read_to_the_second),
        cmocka_unit_test(a_pin_is_asked_for_beside_the_chain_or_instead),
        cmocka_unit_test(there_is_always_a_name_to_check),
        cmocka_unit_test(a_damaged_certificate_is_never_accepted_with_another_key),
        cmocka_unit_test(an_empty_or_endless_chain_is_refused),
        cmocka_unit_test(expired_anchors_are_left_out),
        cmocka_unit_test(a_certificate_that_is_no_ca_vouches_for_itself_alone),
    };
    return cmocka_run_group_tests(tests, make_host, remove_host);
}
