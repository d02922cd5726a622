/* proxy.c: which bytes are a PROXY header, and whom it names. */

#include "bridge.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4        "\xcb\x00\x71\x07\xc0\x00\x02\x01\xc3\x50\x01\xbb" /* 203.0.113.7:50000 to 192.0.2.1:443 */
#define V6_HOST   "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
#define V6        V6_HOST V6_HOST "\xc3\x50\x01\xbb"

static void named(const struct proxy *p, const char *address)
{
    struct sockaddr_storage want;
    network_address(&want, address, strlen(address));
    assert_int_equal(want.ss_family, p->visitor.ss_family);
    assert_true(network_same(&want, &p->visitor));
}

/* In every length: more is wanted until it is whole, and what follows is left alone. address: "" for none. */
static void good(const char *bytes, size_t len, const char *address)
{
    char whole[PROXY_MAX + 16];
    struct proxy p;
    assert_true(len + 8 <= sizeof whole);
    memcpy(whole, bytes, len);
    memcpy(whole + len, "\x16\x03\x01\x02\x00\x01\x00\x01", 8);
    for (size_t n = 0; n < len; n++) {
        assert_int_equal(proxy_read(&p, whole, n), PROXY_MORE);
        assert_int_equal(p.visitor.ss_family, AF_UNSPEC);
    }
    for (size_t n = len; n <= len + 8; n++) {
        assert_int_equal(proxy_read(&p, whole, n), PROXY_READ);
        assert_int_equal(p.len, len);
        named(&p, address);
    }
}

/* Wrong as a whole, and once wrong then wrong for good. */
static void bad(const char *bytes, size_t len, const char *why)
{
    struct proxy p;
    bool before = false;
    for (size_t n = 0; n <= len; n++) {
        enum proxy_result r = proxy_read(&p, bytes, n);
        assert_true(r != PROXY_READ);
        assert_true(!before || r == PROXY_WRONG);
        before = r == PROXY_WRONG;
    }
    if (!before || strstr(p.why, why) == NULL) {
        fail_msg("\"%s\" instead of \"%s\" for %.*s", before ? p.why : "(more)", why, (int)len, bytes);
    }
}

#define GOOD(text, address) good(text, sizeof(text) - 1, address)
#define BAD(text, why)      bad(text, sizeof(text) - 1, why)

static void a_line_of_version_1_names_the_visitor(void **state)
{
    (void)state;
    GOOD("PROXY TCP4 203.0.113.7 192.0.2.1 50000 443\r\n", "203.0.113.7");
    GOOD("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255");
    GOOD("PROXY TCP4 1.2.3.4 5.6.7.8 0 0\r\n", "1.2.3.4");
    GOOD("PROXY TCP6 2001:db8::7 2001:db8::1 50000 443\r\n", "2001:db8::7");
    GOOD("PROXY TCP6 ::ffff:203.0.113.7 ::1 50000 443\r\n", "203.0.113.7");
    GOOD("PROXY UNKNOWN\r\n", "");
    GOOD("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", "");
    GOOD("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
         "65535\r\n",
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

static void what_is_not_exactly_a_line_of_version_1_is_wrong(void **state)
{
    (void)state;
    BAD("PROXY TCP4 203.0.113.7 192.0.2.1 50000 443\n", "CR LF");
    BAD("PROXY TCP4 203.0.113.7 192.0.2.1 50000 443 \r\n", "two addresses and two ports");
    BAD("PROXY TCP4  203.0.113.7 192.0.2.1 50000 443\r\n", "two addresses and two ports");
    BAD("PROXY TCP4 203.0.113.7 192.0.2.1 50000\r\n", "two addresses and two ports");
    BAD("PROXY TCP4 203.0.113.7 192.0.2.1 50000 443 1\r\n", "two addresses and two ports");
    BAD("PROXY TCP4\r\n", "two addresses and two ports");
    BAD("PROXY TCP4 203.0.113.7 192.0.2.1 050 443\r\n", "a port");
    BAD("PROXY TCP4 203.0.113.7 192.0.2.1 65536 443\r\n", "a port");
    BAD("PROXY TCP4 203.0.113.7 192.0.2.1 -1 443\r\n", "a port");
    BAD("PROXY TCP4 203.0.113.7 192.0.2.1 99999999999999999999 443\r\n", "a port");
    BAD("PROXY TCP4 2001:db8::7 2001:db8::1 50000 443\r\n", "of its family");
    BAD("PROXY TCP6 203.0.113.7 192.0.2.1 50000 443\r\n", "of its family");
    BAD("PROXY TCP6 2001:db8::7 192.0.2.1 50000 443\r\n", "of its family");
    BAD("PROXY TCP4 203.0.113 192.0.2.1 50000 443\r\n", "of its family");
    BAD("PROXY TCP4 203.0.113.07x 192.0.2.1 50000 443\r\n", "of its family");
    BAD("PROXY TCP6 fe80::1%eth0 ::1 50000 443\r\n", "of its family");
    BAD("PROXY UDP4 203.0.113.7 192.0.2.1 50000 443\r\n", "neither TCP4");
    BAD("PROXY tcp4 203.0.113.7 192.0.2.1 50000 443\r\n", "neither TCP4");
    BAD("PROXY \r\n", "neither TCP4");
    BAD("PROXY\r\n", "there is none");
    BAD("proxy TCP4 203.0.113.7 192.0.2.1 50000 443\r\n", "there is none");
    BAD("PROXY UNKNOWN \r x\r\n", "not text");
    BAD("PROXY UNKNOWN a\0b\r\n", "not text");
    BAD("PROXY TCP4 203.0.113.7\t192.0.2.1 50000 443\r\n", "not text");
    BAD("GET / HTTP/1.1\r\n", "there is none");
    BAD("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "there is none");
    char line[200];
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    bad(line, sizeof line, "longer than 107");
    memcpy(line + 105, "\r\n", 2); /* just fits */
    good(line, 107, "");
    memset(line + 105, 'x', 2);
    memcpy(line + 106, "\r\n", 2);
    bad(line, 108, "longer than 107");
}

static void a_header_of_version_2_names_the_visitor(void **state)
{
    (void)state;
    GOOD(SIGNATURE "\x21\x11\x00\x0c" V4, "203.0.113.7");
    GOOD(SIGNATURE "\x21\x21\x00\x24" V6, "2001:db8::7");
    GOOD(SIGNATURE "\x21\x11\x00\x13" V4 "\x05\x00\x04\x01\x02\x03\x04", "203.0.113.7"); /* a unique ID */
    GOOD(SIGNATURE "\x21\x11\x00\x15" V4 "\x04\x00\x03\x00\x00\x00\x02\x00\x00", "203.0.113.7");
    GOOD(SIGNATURE "\x20\x00\x00\x00", "");
    GOOD(SIGNATURE "\x20\x11\x00\x0c" V4, ""); /* LOCAL: the addresses mean nothing */
    GOOD(SIGNATURE "\x20\x77\x00\x03"
                   "abc",
         "");
    GOOD(SIGNATURE "\x21\x00\x00\x05"
                   "\xff\xff\xff\xff\xff",
         "");
    char local[16 + 216 + 3] = SIGNATURE "\x21\x31\x00\xdb/run/a";
    memcpy(local + 16 + 216, "\x04\0\0", 3);
    good(local, sizeof local, "");
    char large[PROXY_MAX] = SIGNATURE "\x21\x11\x0f\xf0" V4 "\x04\x0f\xe1";
    good(large, sizeof large, "203.0.113.7");
}

static void what_is_not_exactly_a_header_of_version_2_is_wrong(void **state)
{
    (void)state;
    BAD(SIGNATURE "\x11\x11\x00\x0c" V4, "version");
    BAD(SIGNATURE "\x22\x11\x00\x0c" V4, "version");
    BAD(SIGNATURE "\x21\x12\x00\x0c" V4, "TCP connection"); /* a datagram */
    BAD(SIGNATURE "\x21\x41\x00\x0c" V4, "TCP connection");
    BAD(SIGNATURE "\x21\x11\x00\x0b" V4, "shorter than its addresses");
    BAD(SIGNATURE "\x21\x21\x00\x0c" V4, "shorter than its addresses");
    BAD(SIGNATURE "\x21\x31\x00\x0c" V4, "shorter than its addresses");
    BAD(SIGNATURE "\x21\x11\x00\x0e" V4 "\x05\x00", "TLVs");
    BAD(SIGNATURE "\x21\x11\x00\x0f" V4 "\x05\x00\x01", "TLVs");
    BAD(SIGNATURE "\x21\x11\x00\x10" V4 "\x05\xff\xff\x00", "TLVs");
    BAD(SIGNATURE "\x21\x11\x0f\xf1", "longer than 4096");
    BAD(SIGNATURE "\x21\x11\xff\xff", "longer than 4096");
    BAD("\r\n\r\n\0\r\nQUIT\r", "there is none");
    BAD("\r\n\r\nx", "there is none");
}

/* The sum was computed by another program, bit order reversed, which gives 0xe3069283 for "123456789". */
static void a_checksum_that_is_there_must_be_right(void **state)
{
    (void)state;
    char header[] = SIGNATURE "\x21\x11\x00\x13" V4 "\x03\x00\x04\x50\x10\x12\x9c";
    good(header, sizeof header - 1, "203.0.113.7");
    for (size_t i = 16; i < sizeof header - 1; i++) {
        struct proxy p;
        if (i == 28) { /* its type: then it is no checksum */
            continue;
        }
        header[i] ^= 1;
        assert_int_equal(proxy_read(&p, header, sizeof header - 1), PROXY_WRONG);
        header[i] ^= 1;
    }
    BAD(SIGNATURE "\x21\x11\x00\x12" V4 "\x03\x00\x03\x00\x00\x00", "checksum");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_of_version_1_names_the_visitor),
        cmocka_unit_test(what_is_not_exactly_a_line_of_version_1_is_wrong),
        cmocka_unit_test(a_header_of_version_2_names_the_visitor),
        cmocka_unit_test(what_is_not_exactly_a_header_of_version_2_is_wrong),
        cmocka_unit_test(a_checksum_that_is_there_must_be_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
