/* forwarded.c: whom a request is taken to come from, and how; network.c under it. */

#include "bridge.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#define XFF   "X-Forwarded-For: "
#define PROTO "X-Forwarded-Proto: "
#define FWD   "Forwarded: "
#define HTTPS PROTO "https\r\n"

/* fields: whole lines. address: "" for one that nobody tells. 10.0.0.0/8, 192.0.2.1 and 2001:db8:1::/48 are ours. */
static void expect(const char *fields, enum forwarded_verdict want, const char *address)
{
    struct network trusted[3];
    struct sockaddr_storage visitor, wanted;
    struct buf head;
    assert_true(network_read(&trusted[0], "10.0.0.0/8"));
    assert_true(network_read(&trusted[1], "192.0.2.1"));
    assert_true(network_read(&trusted[2], "2001:db8:1::/48"));
    buf_init(&head, 1 << 16);
    buf_fmt(&head, "POST /f/order HTTP/1.1\r\nHost: forms.example.com\r\n%sContent-Length: 0\r\n\r\n",
            fields);
    enum forwarded_verdict got = forwarded_read(&visitor, head.data, head.len, trusted, COUNT(trusted));
    buf_free(&head);
    network_address(&wanted, address, strlen(address));
    if (got != want || !network_same(&visitor, &wanted)) {
        fail_msg("verdict %d instead of %d, or another visitor: %s", got, want, fields);
    }
    assert_int_equal(forwarded_why(got) == NULL, got == FORWARDED_HTTPS);
}

static void the_visitor_is_the_rightmost_who_is_no_proxy_of_ours(void **state)
{
    (void)state;
    expect(HTTPS XFF "203.0.113.7\r\n", FORWARDED_HTTPS, "203.0.113.7");
    expect(HTTPS XFF "198.51.100.1, 203.0.113.7\r\n", FORWARDED_HTTPS, "203.0.113.7");
    expect(HTTPS XFF "198.51.100.1, 203.0.113.7, 10.1.2.3, 192.0.2.1\r\n", FORWARDED_HTTPS, "203.0.113.7");
    expect(HTTPS XFF "10.1.2.3\r\n" XFF "203.0.113.7\r\n", FORWARDED_HTTPS, "203.0.113.7");
    expect(HTTPS XFF "203.0.113.7\r\n" XFF "10.1.2.3\r\n", FORWARDED_HTTPS, "203.0.113.7");
    expect(HTTPS XFF "10.1.2.3, 10.4.5.6\r\n", FORWARDED_HTTPS, "10.1.2.3"); /* a visitor from among us */
    expect(HTTPS XFF "2001:db8::7, 2001:db8:1::9\r\n", FORWARDED_HTTPS, "2001:db8::7");
    expect(HTTPS XFF "203.0.113.7, ::ffff:10.1.2.3\r\n", FORWARDED_HTTPS, "203.0.113.7");
    expect("x-forwarded-PROTO:HTTPS\r\nx-FORWARDED-for:\t203.0.113.7 \r\n", FORWARDED_HTTPS, "203.0.113.7");
    expect(HTTPS XFF "unknown\r\n", FORWARDED_HTTPS, "");
    expect(HTTPS XFF "203.0.113.7, unknown\r\n", FORWARDED_HTTPS, "");
    expect(HTTPS XFF "203.0.113.7,, 10.1.2.3,\r\n", FORWARDED_HTTPS, "203.0.113.7");
}

static void addresses_come_with_ports_and_brackets(void **state)
{
    (void)state;
    expect(HTTPS XFF "203.0.113.7:50000\r\n", FORWARDED_HTTPS, "203.0.113.7");
    expect(HTTPS XFF "[2001:db8::7]\r\n", FORWARDED_HTTPS, "2001:db8::7");
    expect(HTTPS XFF "[2001:db8::7]:50000\r\n", FORWARDED_HTTPS, "2001:db8::7");
    expect(FWD "for=203.0.113.7;proto=https\r\n", FORWARDED_HTTPS, "203.0.113.7");
    expect(FWD "for=\"203.0.113.7:50000\";proto=https\r\n", FORWARDED_HTTPS, "203.0.113.7");
    expect(FWD "For=\"[2001:db8::7]:50000\" ; Proto=HTTPS;by=_me;host=x\r\n", FORWARDED_HTTPS, "2001:db8::7");
    expect(FWD "proto=\"https\";for=\"[2001:db8::7]:_port\"\r\n", FORWARDED_HTTPS, "2001:db8::7");
    expect(FWD "for=\"\\2\\03.0.113.7\";proto=ht\"\r\n", FORWARDED_WRONG, "");
    expect(FWD "for=\"\\203.0.113.7\";proto=https\r\n", FORWARDED_HTTPS, "203.0.113.7");
    expect(FWD "for=unknown;proto=https\r\n", FORWARDED_HTTPS, "");
    expect(FWD "for=_SEVKISEK;proto=https\r\n", FORWARDED_HTTPS, "");
    expect(FWD "for=1.2.3.4;proto=http, for=203.0.113.7;proto=https, for=10.1.2.3;proto=https\r\n",
           FORWARDED_HTTPS, "203.0.113.7");
    expect(FWD "for=203.0.113.7;proto=https;secret=\"a,b;c=\\\"d\"\r\n", FORWARDED_HTTPS, "203.0.113.7");
}

static void what_cannot_be_read_names_nobody(void **state)
{
    (void)state;
    static const char *const nodes[] = {
        "203.0.113",
        "203.0.113.7:",
        "203.0.113.7:65536",
        "203.0.113.7:123456",
        "203.0.113.7 x",
        "[2001:db8::7",
        "[203.0.113.7]",
        "[]",
        "[2001:db8::7]x",
        "_",
        "_a b",
        "_a/b",
        "localhost",
        "<script>",
        "fe80::1%eth0",
        "203.0.113.7, 1.2.3",
        "203.0.113.7, 10.1.2.3, x",
        "\"203.0.113.7\"",
        ":80",
        "0x7f000001",
    };
    for (size_t i = 0; i < COUNT(nodes); i++) {
        char fields[256];
        text_fmt(fields, sizeof fields, HTTPS XFF "%s\r\n", nodes[i]);
        expect(fields, FORWARDED_WRONG, "");
    }
    static const char *const lists[] = {
        "for=203.0.113.7:80;proto=https",
        "for=2001:db8::7;proto=https",
        "for=\"2001:db8::7\";proto=https",
        "for=203.0.113.7;for=203.0.113.7;proto=https",
        "for=203.0.113.7;proto=https;proto=https",
        "for=\"203.0.113.7;proto=https",
        "for=\"203.0.113.7\\",
        "for=203.0.113.7;proto=https, for=\"",
        "for= 203.0.113.7;proto=https",
        "for =203.0.113.7;proto=https",
        "for;proto=https",
        "for=;proto=https",
        "=x;for=203.0.113.7;proto=https",
        "for=203.0.113.7 proto=https",
        "for=203.0.113.7;proto=https x",
    };
    for (size_t i = 0; i < COUNT(lists); i++) {
        char fields[256];
        text_fmt(fields, sizeof fields, FWD "%s\r\n", lists[i]);
        expect(fields, FORWARDED_WRONG, "");
    }
}

/* What a visitor writes stands on the left of what the proxy appends, and cannot hide it. */
static void a_visitor_cannot_speak_for_the_proxy(void **state)
{
    (void)state;
    expect(HTTPS XFF "garbage <x>, 203.0.113.7\r\n", FORWARDED_HTTPS, "203.0.113.7");
    expect(HTTPS XFF "127.0.0.1, 203.0.113.7\r\n", FORWARDED_HTTPS, "203.0.113.7");
    expect(FWD "for=\"a, for=203.0.113.7;proto=https\r\n", FORWARDED_WRONG, "");
    expect(FWD "for=\"a\r\n" FWD "for=203.0.113.7;proto=https\r\n", FORWARDED_WRONG, "");
    expect(FWD "for=1.2.3.4;proto=https, for=203.0.113.7\r\n", FORWARDED_SILENT, "203.0.113.7");
    expect(FWD "for=1.2.3.4, proto=https\r\n", FORWARDED_NOBODY, "");
    expect(HTTPS XFF "203.0.113.7\r\n" FWD "for=1.2.3.4;proto=https\r\n", FORWARDED_TORN, "");
    expect(HTTPS XFF "203.0.113.7\r\n" FWD "for=unknown;proto=https\r\n", FORWARDED_TORN, "");
    expect(HTTPS XFF "203.0.113.7\r\n" FWD "for=203.0.113.7;proto=https\r\n", FORWARDED_HTTPS, "203.0.113.7");
    expect(HTTPS XFF "203.0.113.7\r\n" FWD "proto=https\r\n", FORWARDED_HTTPS, "203.0.113.7");
}

static void a_leg_without_encryption_is_told(void **state)
{
    (void)state;
    expect(PROTO "http\r\n" XFF "203.0.113.7\r\n", FORWARDED_HTTP, "203.0.113.7");
    expect(PROTO "https, http\r\n" XFF "203.0.113.7\r\n", FORWARDED_HTTP, "203.0.113.7");
    expect(PROTO "http, https\r\n" XFF "203.0.113.7\r\n", FORWARDED_HTTP, "203.0.113.7");
    expect(PROTO "https\r\n" PROTO "http\r\n" XFF "203.0.113.7\r\n", FORWARDED_HTTP, "203.0.113.7");
    expect(PROTO "httpsx\r\n" XFF "203.0.113.7\r\n", FORWARDED_HTTP, "203.0.113.7");
    expect(PROTO "\r\n" XFF "203.0.113.7\r\n", FORWARDED_HTTP, "203.0.113.7");
    expect(FWD "for=203.0.113.7;proto=http\r\n", FORWARDED_HTTP, "203.0.113.7");
    expect(HTTPS FWD "for=203.0.113.7;proto=http\r\n", FORWARDED_HTTP, "203.0.113.7");
    expect(FWD "for=203.0.113.7;proto=https, for=10.1.2.3;proto=http\r\n", FORWARDED_HTTP, "203.0.113.7");
    expect(FWD "for=203.0.113.7;proto=https, for=10.1.2.3\r\n", FORWARDED_SILENT, "203.0.113.7");
    expect(XFF "203.0.113.7\r\n", FORWARDED_SILENT, "203.0.113.7");
    expect("", FORWARDED_SILENT, "");
    expect(HTTPS, FORWARDED_NOBODY, "");
    expect(HTTPS XFF "\r\n", FORWARDED_NOBODY, "");
    expect(HTTPS "X-Real-IP: 1.2.3.4\r\nX-Forwarded-For-It: 1.2.3.4\r\n", FORWARDED_NOBODY, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_visitor_is_the_rightmost_who_is_no_proxy_of_ours),
        cmocka_unit_test(addresses_come_with_ports_and_brackets),
        cmocka_unit_test(what_cannot_be_read_names_nobody),
        cmocka_unit_test(a_visitor_cannot_speak_for_the_proxy),
        cmocka_unit_test(a_leg_without_encryption_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
