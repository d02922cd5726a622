/* network.c: whose address is it, and in which network. */

#include "bridge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct sockaddr_storage none = {.ss_family = AF_UNSPEC}, local = {.ss_family = AF_UNIX};

static struct sockaddr_storage at(const char *address)
{
    struct sockaddr_storage a;
    assert_true(network_address(&a, address, strlen(address)));
    return a;
}

static void an_address_is_the_text_that_it_was(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"192.0.2.1", "192.0.2.1"}, {"2001:DB8:0::1", "2001:db8::1"}, {"::ffff:192.0.2.1", "192.0.2.1"}};
    char text[INET6_ADDRSTRLEN];
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sockaddr_storage a = at(cases[i][0]);
        assert_true(network_is_internet(&a));
        assert_true(network_text(&a, text));
        assert_string_equal(text, cases[i][1]);
        assert_int_equal(network_port(&a), 0);
    }
    assert_false(network_text(&none, text) || network_text(&local, text));
    assert_false(network_is_internet(&none) || network_is_internet(&local));
}

static void a_port_is_that_of_either_kind_of_address(void **state)
{
    (void)state;
    struct endpoint e;
    assert_true(value_endpoint("192.0.2.1:443", &e));
    assert_int_equal(network_port(&e.addr), 443);
    assert_true(value_endpoint("[2001:db8::1]:65535", &e));
    assert_int_equal(network_port(&e.addr), 65535);
    assert_true(value_socket("/run/socket", &e));
    assert_int_equal(network_port(&e.addr), 0);
}

static void loopback_is_this_machine_alone(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        bool is;
    } cases[] = {{"127.0.0.1", true}, {"127.9.9.9", true},  {"::1", true},       {"10.0.0.1", false},
                 {"::", false},       {"::2", false},       {"127::1", false},   {"fe80::1", false},
                 {"0.0.0.0", false},  {"128.0.0.1", false}, {"126.0.0.1", false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sockaddr_storage a = at(cases[i].address);
        assert_int_equal(network_is_loopback(&a), cases[i].is);
    }
    assert_false(network_is_loopback(&none) || network_is_loopback(&local));
}

static void an_ipv6_network_of_64_bits_is_one_host(void **state)
{
    (void)state;
    struct sockaddr_storage a = at("2001:db8:1:2::5"), b = at("2001:db8:1:2:ffff:ffff:ffff:ffff"),
                            c = at("2001:db8:1:3::5");
    assert_int_equal(network_id(&a), network_id(&b));
    assert_int_not_equal(network_id(&a), network_id(&c));
    a = at("203.0.113.7");
    b = at("203.0.113.8");
    assert_int_not_equal(network_id(&a), network_id(&b));
    assert_int_equal(network_id(&none), 0);
    assert_int_equal(network_id(&local), 0);
}

static void no_ipv4_address_is_an_ipv6_one(void **state)
{
    (void)state;
    struct sockaddr_storage a = at("32.1.13.184"), b = at("2001:db8::1"), c = at("32.1.13.185"),
                            d = at("2001:db8:100::1");
    assert_int_not_equal(network_id(&a), network_id(&b));
    assert_int_not_equal(network_id(&a), network_id(&c));
    assert_int_not_equal(network_id(&a), network_id(&d));
}

static void a_network_has_whom_it_should(void **state)
{
    (void)state;
    static const struct {
        const char *network, *address;
        bool has;
    } cases[] = {
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"0.0.0.0/0", "203.0.113.7", true},
        {"0.0.0.0/0", "2001:db8::7", false},
        {"::/0", "203.0.113.7", false},
        {"::/0", "2001:db8::7", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.128/25", "192.0.2.128", true},
        {"192.0.2.1/32", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"2001:db8::/33", "2001:db8:7fff::", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"::1", "::1", true},
        {"::ffff:192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "::ffff:192.0.2.1", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct network n;
        struct sockaddr_storage a;
        assert_true(network_read(&n, cases[i].network));
        assert_true(network_address(&a, cases[i].address, strlen(cases[i].address)));
        assert_int_equal(network_has(&n, 1, &a), cases[i].has);
    }
    struct network all;
    assert_true(network_read(&all, "0.0.0.0/0"));
    assert_false(network_has(&all, 1, &none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_the_text_that_it_was),
        cmocka_unit_test(a_port_is_that_of_either_kind_of_address),
        cmocka_unit_test(loopback_is_this_machine_alone),
        cmocka_unit_test(an_ipv6_network_of_64_bits_is_one_host),
        cmocka_unit_test(no_ipv4_address_is_an_ipv6_one),
        cmocka_unit_test(a_network_has_whom_it_should),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
