/* der.c: DER is written in the one right way, and read in no other. */

#include "bridge.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define READ(bytes) der_read(bytes, sizeof(bytes) - 1)
#define WROTE(b, bytes)                                                                                      \
    do {                                                                                                     \
        assert_true(buf_ok(b));                                                                              \
        assert_int_equal((b)->len, sizeof(bytes) - 1);                                                       \
        assert_memory_equal((b)->data, bytes, sizeof(bytes) - 1);                                            \
        buf_clear(b);                                                                                        \
    } while (0)

static void only_the_shortest_length_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        bool good;
    } cases[] = {
        {"\x04\x00", 2, true},
        {"\x04\x01x", 3, true},
        {"\x04\x02x", 3, false},                     /* content beyond the end */
        {"\x04", 1, false},                          /* no length */
        {"\x04\x80x\x00\x00", 5, false},             /* indefinite */
        {"\x04\x81\x01x", 4, false},                 /* long form of a short length */
        {"\x04\x82\x00\x01x", 5, false},             /* leading zero */
        {"\x04\x84\xff\xff\xff\xff", 6, false},      /* far beyond the end */
        {"\x04\x85\x00\x00\x00\x00\x01x", 8, false}, /* more length bytes than any element here needs */
        {"\x04\x82\x01", 3, false},                  /* length cut off */
        {"\x1f\x04\x00", 3, false},                  /* tag of several bytes */
        {"\x05\x00", 2, false},                      /* another type */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct der d = der_read(cases[i].bytes, cases[i].len);
        struct der content = der_next(&d, DER_OCTET_STRING);
        assert_int_equal(der_done(&d), cases[i].good);
        assert_int_equal(content.failed, !cases[i].good);
    }
}

static void a_failure_stays(void **state)
{
    (void)state;
    struct der d = READ("\x02\x01\x05\x02\x01\x06");
    der_next(&d, DER_SEQUENCE);
    assert_int_equal(der_small(&d), 0);
    assert_int_equal(der_whole(&d).len, 0);
    assert_false(der_is(&d, DER_INTEGER));
    assert_false(der_done(&d));
    struct der outer = READ("\x30\x03\x02\x01\x05");
    struct der inner = der_next(&outer, DER_SET);
    assert_false(der_is(&inner, DER_INTEGER));
    assert_true(inner.failed);
}

static void integers_are_minimal_and_not_negative(void **state)
{
    (void)state;
    struct der d = READ("\x02\x01\x00\x02\x01\x7f\x02\x02\x00\x80\x02\x04\x7f\xff\xff\xff");
    assert_int_equal(der_small(&d), 0);
    assert_int_equal(der_small(&d), 0x7f);
    assert_int_equal(der_small(&d), 0x80);
    assert_int_equal(der_small(&d), 0x7fffffff);
    assert_true(der_done(&d));
    static const char *const bad[] = {"\x02\x01\xff", "\x02\x02\x00\x7f", "\x02\x00"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        d = der_read(bad[i], 2 + (size_t)bad[i][1]);
        der_unsigned(&d);
        assert_false(der_done(&d));
    }
    d = READ("\x02\x05\x00\x80\x00\x00\x00"); /* 2^31 */
    der_small(&d);
    assert_false(der_done(&d));

    struct buf b;
    buf_init(&b, 100);
    der_put_small(&b, 0);
    der_put_small(&b, 127);
    der_put_small(&b, 128);
    der_put_unsigned(&b, "\x00\x00\x01\x00", 4);
    WROTE(&b, "\x02\x01\x00\x02\x01\x7f\x02\x02\x00\x80\x02\x02\x01\x00");
    buf_free(&b);
}

static void object_identifiers_are_told_apart(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    der_put_oid(&b, OID_RSA);
    WROTE(&b, "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01");
    der_put_oid(&b, "2.5.29.17");
    WROTE(&b, "\x06\x03\x55\x1d\x11");
    der_put_oid(&b, "2.999.127.128");
    WROTE(&b, "\x06\x05\x88\x37\x7f\x81\x00");
    buf_free(&b);
    struct der d = READ("\x06\x03\x55\x1d\x11\x06\x03\x55\x1d\x11\x06\x02\x55\x1d");
    assert_true(der_oid(&d, "2.5.29.17"));
    assert_false(der_oid(&d, "2.5.29.15"));
    assert_false(der_oid(&d, "2.5.29.17"));
    assert_true(der_done(&d));
    assert_false(der_oid(&d, "2.5.29.17"));
}

static void booleans_and_bits_have_one_form(void **state)
{
    (void)state;
    struct der d = READ("\x01\x01\xff\x01\x01\x00\x03\x02\x00x");
    assert_true(der_boolean(&d));
    assert_false(der_boolean(&d));
    assert_int_equal(der_bits(&d).len, 1);
    assert_true(der_done(&d));
    d = READ("\x01\x01\x01");
    der_boolean(&d);
    assert_false(der_done(&d));
    d = READ("\x03\x02\x01x");
    der_bits(&d);
    assert_false(der_done(&d));
    d = READ("\x03\x00");
    der_bits(&d);
    assert_false(der_done(&d));
}

static void times_are_real_and_in_utc(void **state)
{
    (void)state;
    static const struct {
        unsigned char tag;
        const char *text;
        int64_t time;
        bool good;
    } cases[] = {
        {DER_UTC_TIME, "700101000000Z", 0, true},
        {DER_UTC_TIME, "691231235959Z", -1, true},
        {DER_UTC_TIME, "491231235959Z", 2524607999, true},
        {DER_UTC_TIME, "500101000000Z", -631152000, true},
        {DER_GENERALIZED_TIME, "20500101000000Z", 2524608000, true},
        {DER_GENERALIZED_TIME, "99991231235959Z", 253402300799, true},
        {DER_UTC_TIME, "240229120000Z", 1709208000, true},
        {DER_UTC_TIME, "230229120000Z", 0, false},
        {DER_UTC_TIME, "230431120000Z", 0, false},
        {DER_UTC_TIME, "231301120000Z", 0, false},
        {DER_UTC_TIME, "230001120000Z", 0, false},
        {DER_UTC_TIME, "230100120000Z", 0, false},
        {DER_UTC_TIME, "230101240000Z", 0, false},
        {DER_UTC_TIME, "230101126000Z", 0, false},
        {DER_UTC_TIME, "2301011200Z", 0, false},
        {DER_UTC_TIME, "230101120000+0100", 0, false},
        {DER_UTC_TIME, "23010112000 Z", 0, false},
        {DER_GENERALIZED_TIME, "20500101000000.5Z", 0, false},
        {DER_GENERALIZED_TIME, "20500101000000", 0, false},
        {DER_IA5_STRING, "230101120000Z", 0, false},
    };
    struct buf b;
    buf_init(&b, 100);
    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_clear(&b);
        der_put_text(&b, cases[i].tag, cases[i].text);
        struct der d = der_read(b.data, b.len);
        int64_t time = der_time(&d);
        assert_int_equal(der_done(&d), cases[i].good);
        assert_int_equal(time, cases[i].time);
    }
    buf_clear(&b);
    der_put_time(&b, 2524607999);
    WROTE(&b, "\x17\x0d"
              "491231235959Z");
    der_put_time(&b, 2524608000);
    WROTE(&b, "\x18\x0f"
              "20500101000000Z");
    der_put_time(&b, 253402300800); /* the year 10000 */
    assert_false(buf_ok(&b));
    buf_free(&b);
}

static void nested_elements_get_their_lengths(void **state)
{
    (void)state;
    static unsigned char zeros[70000];
    static const size_t sizes[] = {0, 1, 123, 124, 125, 126, 127, 128, 253, 256, 65530, 65536, 70000};
    struct buf b;
    buf_init(&b, 100000);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        buf_clear(&b);
        buf_str(&b, "before");
        size_t outer = der_begin(&b, DER_SEQUENCE);
        size_t inner = der_begin(&b, DER_CONTEXT_CONSTRUCTED + 0);
        der_put(&b, DER_OCTET_STRING, zeros, sizes[i]);
        der_end(&b, inner);
        der_put_null(&b);
        der_put_boolean(&b, true);
        der_put_bits(&b, "x", 1);
        der_end(&b, outer);
        assert_true(buf_ok(&b));
        assert_memory_equal(b.data, "before", 6);
        struct der d = der_read(b.data + 6, b.len - 6);
        struct der sequence = der_next(&d, DER_SEQUENCE);
        struct der context = der_next(&sequence, DER_CONTEXT_CONSTRUCTED + 0);
        assert_int_equal(der_next(&context, DER_OCTET_STRING).len, sizes[i]);
        assert_int_equal(der_next(&sequence, DER_NULL).len, 0);
        assert_true(der_boolean(&sequence));
        assert_int_equal(der_bits(&sequence).at[0], 'x');
        assert_true(der_done(&d) && der_done(&sequence) && der_done(&context));
    }
    buf_free(&b);
}

static void a_full_buffer_is_a_failure(void **state)
{
    (void)state;
    for (size_t room = 0; room < 16; room++) {
        struct buf b;
        buf_init(&b, room);
        size_t outer = der_begin(&b, DER_SEQUENCE);
        der_put_text(&b, DER_UTF8_STRING, "twelve bytes");
        der_end(&b, outer);
        assert_false(buf_ok(&b));
        assert_true(b.len <= room);
        buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_shortest_length_is_read),
        cmocka_unit_test(a_failure_stays),
        cmocka_unit_test(integers_are_minimal_and_not_negative),
        cmocka_unit_test(object_identifiers_are_told_apart),
        cmocka_unit_test(booleans_and_bits_have_one_form),
        cmocka_unit_test(times_are_real_and_in_utc),
        cmocka_unit_test(nested_elements_get_their_lengths),
        cmocka_unit_test(a_full_buffer_is_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
