/* hello.c: whatever a client sends, BearSSL's server does the same with the shorter way as without it. */

#include "bridge.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static const unsigned char private_bytes[32] = {1, 2, 3};
static const br_ec_private_key private_key = {BR_EC_secp256r1, (unsigned char *)private_bytes, 32};
static unsigned char not_read[] = "a certificate";
static br_x509_certificate certificate = {not_read, sizeof not_read};
static struct chain chain = {.certs = &certificate, .count = 1, .key_type = BR_KEYTYPE_EC};
static struct tls_policy policy;

static size_t sign(void *ctx, unsigned hash, unsigned char *data, size_t hash_len, size_t len)
{
    (void)ctx, (void)hash, (void)hash_len;
    unsigned char signature[SIGNATURE_MAX];
    size_t made = curve_sign(&br_sha256_vtable, data, &private_key, signature);
    assert_true(made <= len);
    memcpy(data, signature, made);
    return made;
}

struct server {
    br_ssl_server_context tls;
    unsigned char in[BR_SSL_BUFSIZE_INPUT], out[BR_SSL_BUFSIZE_OUTPUT];
};

static void start(struct server *s, bool hastened, struct tls_cache *cache)
{
    tls_policy_init(&policy, &chain, sign, NULL);
    tls_server(&s->tls, &policy, cache);
    br_ssl_engine_set_buffers_bidi(&s->tls.eng, s->in, sizeof s->in, s->out, sizeof s->out);
    assert_true(hastened ? tls_server_start(&s->tls) : br_ssl_server_reset(&s->tls) == 1);
}

/* Whole records; what is left over after an error is dropped. */
static void feed(br_ssl_engine_context *eng, const unsigned char *bytes, size_t len)
{
    while (len > 0 && br_ssl_engine_current_state(eng) & BR_SSL_RECVREC) {
        size_t room;
        unsigned char *to = br_ssl_engine_recvrec_buf(eng, &room);
        room = room < len ? room : len;
        memcpy(to, bytes, room);
        br_ssl_engine_recvrec_ack(eng, room);
        bytes += room;
        len -= room;
    }
}

static size_t take(br_ssl_engine_context *eng, unsigned char *bytes, size_t size)
{
    size_t len = 0, part;
    while (br_ssl_engine_current_state(eng) & BR_SSL_SENDREC) {
        unsigned char *from = br_ssl_engine_sendrec_buf(eng, &part);
        assert_true(part <= size - len);
        memcpy(bytes + len, from, part);
        len += part;
        br_ssl_engine_sendrec_ack(eng, part);
    }
    return len;
}

struct client {
    br_ssl_client_context tls;
    br_x509_knownkey_context server;
    br_ec_impl curves;
    unsigned char point[65], in[BR_SSL_BUFSIZE_INPUT], out[BR_SSL_BUFSIZE_OUTPUT];
};

static void start_client_with(struct client *c, const br_ssl_session_parameters *session, uint32_t curves)
{
    br_ec_public_key public = {BR_EC_secp256r1, c->point, sizeof c->point};
    curve_impl()->mulgen(c->point, private_bytes, sizeof private_bytes, BR_EC_secp256r1);
    br_ssl_client_zero(&c->tls);
    tls_profile(&c->tls.eng);
    c->curves = *curve_impl();
    c->curves.supported_curves = curves;
    br_ssl_engine_set_ec(&c->tls.eng, &c->curves);
    br_x509_knownkey_init_ec(&c->server, &public, BR_KEYTYPE_SIGN);
    br_ssl_engine_set_x509(&c->tls.eng, &c->server.vtable);
    br_ssl_engine_set_buffers_bidi(&c->tls.eng, c->in, sizeof c->in, c->out, sizeof c->out);
    if (session != NULL) {
        br_ssl_engine_set_session_parameters(&c->tls.eng, session);
    }
    assert_int_equal(br_ssl_client_reset(&c->tls, "localhost", session != NULL), 1);
}

static void start_client(struct client *c, const br_ssl_session_parameters *session)
{
    start_client_with(c, session, 1u << BR_EC_curve25519 | 1u << BR_EC_secp256r1);
}

/* record_len: of the payload of the client's first records. Both sides end ready for data. */
static void shake_hands(struct client *c, struct server *s, size_t record_len)
{
    unsigned char bytes[BR_SSL_BUFSIZE_OUTPUT], record[BR_SSL_BUFSIZE_OUTPUT];
    size_t len = take(&c->tls.eng, bytes, sizeof bytes);
    for (size_t at = 5; at < len; at += record_len) {
        size_t part = len - at < record_len ? len - at : record_len;
        memcpy(record, bytes, 3);
        record[3] = (unsigned char)(part >> 8);
        record[4] = (unsigned char)part;
        memcpy(record + 5, bytes + at, part);
        feed(&s->tls.eng, record, 5 + part);
    }
    for (int i = 0; i < 4; i++) {
        feed(&c->tls.eng, bytes, take(&s->tls.eng, bytes, sizeof bytes));
        feed(&s->tls.eng, bytes, take(&c->tls.eng, bytes, sizeof bytes));
    }
    assert_int_equal(br_ssl_engine_last_error(&s->tls.eng), 0);
    assert_int_equal(br_ssl_engine_last_error(&c->tls.eng), 0);
    assert_true(br_ssl_engine_current_state(&s->tls.eng) & BR_SSL_SENDAPP);
    assert_true(br_ssl_engine_current_state(&c->tls.eng) & BR_SSL_SENDAPP);
}

static struct client client;
static struct server server, slower;

static void test_a_handshake_in_records_of_any_size(void **state)
{
    (void)state;
    for (size_t len = 1; len < 200; len++) {
        start(&server, true, NULL);
        start_client(&client, NULL);
        shake_hands(&client, &server, len);
        br_ssl_session_parameters session;
        br_ssl_engine_get_session_parameters(&client.tls.eng, &session);
        assert_int_equal(session.cipher_suite, BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
    }
}

static void test_a_handshake_over_either_curve(void **state)
{
    (void)state;
    static const int curves[] = {BR_EC_curve25519, BR_EC_secp256r1};
    for (size_t i = 0; i < COUNT(curves); i++) {
        start(&server, true, NULL);
        /* P-256 stays for the signature; the server prefers X25519 where it may. */
        start_client_with(&client, NULL, 1u << curves[i] | 1u << BR_EC_secp256r1);
        shake_hands(&client, &server, 16384);
        assert_int_equal(br_ssl_engine_get_ecdhe_curve(&server.tls.eng), curves[i]);
    }
}

static void test_a_session_is_resumed(void **state)
{
    (void)state;
    struct tls_cache *cache = tls_cache_new();
    br_ssl_session_parameters session, again;
    start(&server, true, cache);
    start_client(&client, NULL);
    shake_hands(&client, &server, 16384);
    br_ssl_engine_get_session_parameters(&client.tls.eng, &session);
    start(&server, true, cache);
    start_client(&client, &session);
    shake_hands(&client, &server, 16384);
    br_ssl_engine_get_session_parameters(&client.tls.eng, &again);
    assert_memory_equal(again.session_id, session.session_id, 32);
    tls_cache_free(cache);
}

/* A ClientHello with these suites, in one record. Returns its length. */
static size_t make_hello(unsigned char *record, const uint16_t *suites, size_t count)
{
    static const unsigned char extensions[] = {
        0, 20, 0, 10, 0, 4, 0, 2, 0, 29, 0, 13, 0, 8, 0, 6, 4, 3, 5, 3, 4, 1,
    };
    unsigned char *at = record + 9;
    *at++ = 3;
    *at++ = 3;
    memset(at, 0x55, 33);
    at[32] = 0; /* no session */
    at += 33;
    *at++ = (unsigned char)(count >> 7);
    *at++ = (unsigned char)(count << 1);
    for (size_t i = 0; i < count; i++) {
        *at++ = (unsigned char)(suites[i] >> 8);
        *at++ = (unsigned char)suites[i];
    }
    *at++ = 1;
    *at++ = 0;
    memcpy(at, extensions, sizeof extensions);
    at += sizeof extensions;
    size_t len = (size_t)(at - record);
    unsigned char head[] = {22,
                            3,
                            1,
                            (unsigned char)((len - 5) >> 8),
                            (unsigned char)(len - 5),
                            1,
                            0,
                            (unsigned char)((len - 9) >> 8),
                            (unsigned char)(len - 9)};
    memcpy(record, head, sizeof head);
    return len;
}

static int outcome(struct server *s, const unsigned char *record, size_t len)
{
    unsigned char answer[BR_SSL_BUFSIZE_OUTPUT];
    feed(&s->tls.eng, record, len);
    take(&s->tls.eng, answer, sizeof answer);
    int error = br_ssl_engine_last_error(&s->tls.eng);
    return error != 0 ? -error : s->tls.eng.session.cipher_suite;
}

static int outcomes(const unsigned char *record, size_t len)
{
    start(&server, true, NULL);
    start(&slower, false, NULL);
    int fast = outcome(&server, record, len);
    assert_int_equal(fast, outcome(&slower, record, len));
    return fast;
}

static void test_the_same_suite_is_chosen(void **state)
{
    (void)state;
    static const struct {
        uint16_t suites[5];
        int chosen; /* negative: the error */
    } hellos[] = {
        {{0x1301, 0xC030, 0xCCA9, 0xC02B}, 0xC02B}, /* ours first */
        {{0xC02C}, 0xC02C},
        {{0x000A, 0xCCA9, 0x00FF}, 0xCCA9},
        {{0x000A}, -(BR_ERR_SEND_FATAL_ALERT + 40)}, /* what the empty places get is not on offer */
        {{0xC02F}, -(BR_ERR_SEND_FATAL_ALERT + 40)}, /* for an RSA key */
        {{0x1301, 0x1302}, -(BR_ERR_SEND_FATAL_ALERT + 40)},
        {{0}, -(BR_ERR_SEND_FATAL_ALERT + 40)},
    };
    for (size_t i = 0; i < COUNT(hellos); i++) {
        unsigned char record[256];
        size_t count = 0;
        while (hellos[i].suites[count] != 0) {
            count++;
        }
        assert_int_equal(outcomes(record, make_hello(record, hellos[i].suites, count)), hellos[i].chosen);
    }
}

/* Or all this would be for nothing. */
static void test_the_empty_places_are_filled(void **state)
{
    (void)state;
    static const uint16_t suites[] = {0xC02B, 0xC02F};
    unsigned char record[256];
    assert_int_equal(outcomes(record, make_hello(record, suites, 2)), 0xC02B);
    assert_int_equal(server.tls.client_suites_num, BR_MAX_CIPHER_SUITES);
    assert_int_equal(slower.tls.client_suites_num, 2);
}

static void test_as_many_suites_as_a_hello_can_hold(void **state)
{
    (void)state;
    static uint16_t suites[8000];
    static unsigned char record[20000];
    for (size_t i = 0; i < COUNT(suites); i++) {
        suites[i] = (uint16_t)(i + 1); /* 0x5600 is not among them */
    }
    suites[COUNT(suites) - 1] = 0xC02B;
    assert_int_equal(outcomes(record, make_hello(record, suites, COUNT(suites))), 0xC02B);
    assert_int_equal(outcomes(record, make_hello(record, suites, COUNT(suites) - 1)),
                     -(BR_ERR_SEND_FATAL_ALERT + 40));
}

/* Cut short with the lengths as they were, and each byte changed in some ways. */
static void test_the_same_errors(void **state)
{
    (void)state;
    static const uint16_t suites[] = {0xC02B, 0xC02F};
    unsigned char good[256], record[256];
    size_t len = make_hello(good, suites, 2);
    for (size_t i = 5; i < len; i++) {
        memcpy(record, good, len);
        record[4] = (unsigned char)(i - 5);
        outcomes(record, i);
        static const unsigned char change[] = {0x01, 0x10, 0x80, 0xff};
        for (size_t k = 0; k < COUNT(change); k++) {
            memcpy(record, good, len);
            record[i] ^= change[k];
            outcomes(record, len);
        }
    }
}

static void test_where_the_suites_end(void **state)
{
    (void)state;
    static const uint16_t suites[] = {0xC02B, 0xC02F};
    unsigned char record[256];
    size_t len = make_hello(record, suites, 2) - 5, end = 4 + 2 + 32 + 1 + 2 + 4;
    for (size_t i = 0; i <= len; i++) {
        assert_int_equal(hello_suites_end(record + 5, i), i > end ? end : 0);
    }
    record[5] = 2;
    assert_int_equal(hello_suites_end(record + 5, len), 0);
    record[5] = 1;
    record[5 + 38] = 0xff; /* a session beyond the message */
    assert_int_equal(hello_suites_end(record + 5, len), 0);
    record[5 + 38] = 0;
    record[5 + 39] = 0xff; /* suites beyond it */
    assert_int_equal(hello_suites_end(record + 5, len), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_handshake_in_records_of_any_size),
        cmocka_unit_test(test_a_handshake_over_either_curve),
        cmocka_unit_test(test_a_session_is_resumed),
        cmocka_unit_test(test_the_same_suite_is_chosen),
        cmocka_unit_test(test_the_empty_places_are_filled),
        cmocka_unit_test(test_as_many_suites_as_a_hello_can_hold),
        cmocka_unit_test(test_the_same_errors),
        cmocka_unit_test(test_where_the_suites_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
