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
    size_t made = curve_sign(&br_sha256_vtable, data, &private_key, NULL, signature);
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
    static const uint16_t suites[] = {0xC013, 0xC02B, 0xC009,
                                      0x002F}; /* three that the server will not see */
    br_ssl_engine_set_suites(&c->tls.eng, suites, COUNT(suites));
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

/* ---- the shorter message --------------------------------------------------------------------- */

static const uint16_t offered_suites[] = {0xC02B, 0xC02F};
static const struct hello_offer offer = {.suites = offered_suites,
                                         .suite_count = COUNT(offered_suites),
                                         .curves = 1u << 29 | 1u << 23,
                                         .hashes = 1u << 4 | 1u << 5};

#define FRONT                                                                                                \
    "\x03\x03" RANDOM RANDOM "\x02"                                                                          \
    "ID"
#define RANDOM "0123456789abcdef"

/* A message of these parts; suites and extensions without their lengths. Returns its length. */
static size_t put_hello(unsigned char *message, const char *suites, size_t suites_len, const char *extensions,
                        size_t extensions_len)
{
    struct buf b;
    buf_borrow(&b, message, 20000);
    buf_put(&b, "\x01\0\0\0", 4);
    buf_put(&b, FRONT, sizeof FRONT - 1);
    buf_byte(&b, (unsigned char)(suites_len >> 8));
    buf_byte(&b, (unsigned char)suites_len);
    buf_put(&b, suites, suites_len);
    buf_put(&b, "\x01\0", 2);
    buf_byte(&b, (unsigned char)(extensions_len >> 8));
    buf_byte(&b, (unsigned char)extensions_len);
    buf_put(&b, extensions, extensions_len);
    assert_true(buf_ok(&b));
    message[2] = (unsigned char)((b.len - 4) >> 8);
    message[3] = (unsigned char)(b.len - 4);
    return b.len;
}

#define HELLO(m, suites, extensions)                                                                         \
    put_hello(m, suites, sizeof(suites) - 1, extensions, sizeof(extensions) - 1)

#define NAME                                                                                                 \
    "\0\0\0\x07\0\x05\0\0\x02"                                                                               \
    "ab"
#define GROUPS(list)     "\0\x0a" list
#define SIGNATURES(list) "\0\x0d" list
#define KEY_SHARE                                                                                            \
    "\0\x33\0\x06"                                                                                           \
    "abcdef"

static void test_what_is_of_no_use_is_left_out(void **state)
{
    (void)state;
    static const struct {
        const char *suites, *extensions, *left_suites, *left_extensions;
        size_t lens[4];
    } cases[] = {
#define CASE(a, b, c, d)                                                                                     \
    {                                                                                                        \
        a, b, c, d,                                                                                          \
        {                                                                                                    \
            sizeof(a) - 1, sizeof(b) - 1, sizeof(c) - 1, sizeof(d) - 1                                       \
        }                                                                                                    \
    }
        /* suites: order, repeats and the signals stay */
        CASE("\x13\x01\xc0\x2f\x00\xff\xc0\x2b\x56\x00\xc0\x2f\x00\x2f", NAME,
             "\xc0\x2f\x00\xff\xc0\x2b\x56\x00\xc0\x2f", NAME),
        CASE("\x13\x01", NAME, "", NAME),
        CASE("", NAME, "", NAME),
        /* groups: a 25th and 4588 go, and what would be one of ours if only its low bits counted */
        CASE("", GROUPS("\0\x0c\0\x0a\x11\xec\0\x1d\0\x17\0\x19\x01\x1d") NAME, "",
             GROUPS("\0\x06\0\x04\0\x1d\0\x17") NAME),
        CASE("", GROUPS("\0\x04\0\x02\0\x19") NAME, "", GROUPS("\0\x02\0\0") NAME),
        /* signatures: SHA-256 and SHA-384 with RSA and ECDSA */
        CASE("", SIGNATURES("\0\x10\0\x0e\x04\x03\x08\x04\x05\x01\x02\x01\x06\x03\x04\x02\x24\x03") NAME, "",
             SIGNATURES("\0\x06\0\x04\x04\x03\x05\x01") NAME),
        /* extensions */
        CASE("",
             KEY_SHARE NAME KEY_SHARE "\xff\x01\0\x01\0"
                                      "\0\x10\0\x05\0\x03\x02h2"
                                      "\0\x01\0\x01\x02" KEY_SHARE NAME,
             "",
             NAME "\xff\x01\0\x01\0"
                  "\0\x10\0\x05\0\x03\x02h2"
                  "\0\x01\0\x01\x02" NAME),
        /* the last one keeps its last byte, whatever it is */
        CASE("", NAME KEY_SHARE, "",
             NAME "\0\x33\0\x01"
                  "f"),
        CASE("", NAME "\0\x17\0\0", "", NAME "\0\x17\0\0"),
        CASE("", NAME GROUPS("\0\x08\0\x06\0\x1d\0\x17\0\x19"), "",
             NAME GROUPS("\0\x08\0\x06\0\x1d\0\x17\0\x19")),
        CASE("", NAME SIGNATURES("\0\x06\0\x04\x04\x03\x02\x01"), "",
             NAME SIGNATURES("\0\x06\0\x04\x04\x03\x02\x01")),
#undef CASE
    };
    static unsigned char message[20000], expected[20000];
    for (size_t i = 0; i < COUNT(cases); i++) {
        const size_t *lens = cases[i].lens;
        size_t len = put_hello(message, cases[i].suites, lens[0], cases[i].extensions, lens[1]);
        size_t left = put_hello(expected, cases[i].left_suites, lens[2], cases[i].left_extensions, lens[3]);
        assert_int_equal(hello_trim(message, len, &offer), left);
        assert_memory_equal(message, expected, left);
        assert_int_equal(hello_trim(message, left, &offer), left);
        assert_memory_equal(message, expected, left);
    }
}

static void assert_untouched(unsigned char *message, size_t len)
{
    static unsigned char before[20000];
    memcpy(before, message, len);
    assert_int_equal(hello_trim(message, len, &offer), 0);
    assert_memory_equal(message, before, len);
}

static void test_what_is_not_as_it_should_be_stays_as_it_is(void **state)
{
    (void)state;
    static unsigned char message[20000], good[20000];
    size_t len = HELLO(good, "\x13\x01\xc0\x2b", GROUPS("\0\x06\0\x04\0\x1d\0\x19") KEY_SHARE NAME);
    for (size_t i = 0; i < len; i++) { /* cut off, and more than one message */
        memcpy(message, good, len);
        assert_untouched(message, i);
    }
    memcpy(message, good, len);
    message[len] = 0;
    assert_untouched(message, len + 1);
    message[0] = 2;
    assert_untouched(message, len);

    static const char *const extensions[] = {
        "\0\x0a\0\x06\0\x05\0\x1d\0\x17", /* odd */
        "\0\x0a\0\x06\0\x02\0\x1d\0\x17", /* more behind the list */
        "\0\x0a\0\x06\0\x08\0\x1d\0\x17", /* a list beyond its extension */
        "\0\x0a\0\x16\0\x04\0\x1d\0\x17", /* an extension beyond all */
    };
    for (size_t i = 0; i < COUNT(extensions); i++) {
        char with_name[64];
        memcpy(with_name, extensions[i], 10);
        memcpy(with_name + 10, NAME, sizeof NAME - 1);
        len = put_hello(message, "\xc0\x2b", 2, with_name, 10 + sizeof NAME - 1);
        assert_untouched(message, len);
    }
    assert_untouched(message, HELLO(message, "\xc0\x2b", ""));
    assert_untouched(message, HELLO(message, "\xc0\x2b\xc0", NAME)); /* half a suite */
}

/* Of a list of the right ones only nothing can be left out. */
static void test_what_stays_too_long_stays_as_it_is(void **state)
{
    (void)state;
    static unsigned char message[20000];
    static char suites[8000];
    for (size_t len = 0; len < sizeof suites; len += 2) {
        memcpy(suites + len, "\xc0\x2b", 2);
    }
    size_t len = put_hello(message, suites, 800, NAME, sizeof NAME - 1);
    assert_int_equal(hello_trim(message, len, &offer), len);
    assert_untouched(message, put_hello(message, suites, sizeof suites, NAME, sizeof NAME - 1));
}

/* A client's hello with more in it than BearSSL's own client sends, in one record, for the server to compare. */
static void test_the_same_is_done_after_extensions_of_all_kinds(void **state)
{
    (void)state;
    static const char curve[] = GROUPS("\0\x08\0\x06\x11\xec\0\x1d\0\x17"),
                      hashes[] = SIGNATURES("\0\x08\0\x06\x08\x04\x04\x03\x04\x01");
    static const struct {
        const char *bytes;
        size_t len;
    } more[] = {
        {"", 0},
        {KEY_SHARE, sizeof KEY_SHARE - 1},
        {NAME, sizeof NAME - 1},
        {"\xff\x01\0\x01\0", 5},
        {"\xff\x01\0\x01\x01", 5},       /* a renegotiation: refused */
        {"\0\x01\0\x01\x01", 5},         /* short records */
        {"\0\x01\0\x01\x09", 5},         /* of a length that is none */
        {"\0\x10\0\x05\0\x03\x02h2", 9}, /* not asked for */
        {"\0\x0a\0\x04\0\x02\0\x19", 8}, /* the last list counts */
        {"\0\x0d\0\x04\0\x02\x08\x04", 8},
        {"\0\x0d\0\x04\0\x02\x02\x03", 8}, /* SHA-1 alone */
        {"\0\x0d\0\x04\0\x03\x04\x03", 8}, /* broken */
        {"\0\0\0\x02\0\x05", 6},
    };
    static unsigned char record[2000];
    unsigned done = 0;
    for (size_t i = 0; i < COUNT(more); i++) {
        for (size_t k = 0; k < COUNT(more); k++) {
            struct buf b;
            char bytes[256];
            buf_borrow(&b, bytes, sizeof bytes);
            buf_put(&b, curve, sizeof curve - 1);
            buf_put(&b, hashes, sizeof hashes - 1);
            buf_put(&b, more[i].bytes, more[i].len);
            buf_put(&b, more[k].bytes, more[k].len);
            size_t len = put_hello(record + 5, "\x13\x01\xc0\x2b\xc0\x2f\0\xff", 8, bytes, b.len);
            memcpy(record, "\x16\x03\x01\0\0", 5);
            record[3] = (unsigned char)(len >> 8);
            record[4] = (unsigned char)len;
            done += outcomes(record, len + 5) == 0xC02B ? 1 : 0;
            record[0] = 21; /* an alert, whatever is in it */
            assert_true(outcomes(record, len + 5) <= 0);
        }
    }
    assert_in_range(done, 20, COUNT(more) * COUNT(more) - 20);
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
        cmocka_unit_test(test_what_is_of_no_use_is_left_out),
        cmocka_unit_test(test_what_is_not_as_it_should_be_stays_as_it_is),
        cmocka_unit_test(test_what_stays_too_long_stays_as_it_is),
        cmocka_unit_test(test_the_same_is_done_after_extensions_of_all_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
