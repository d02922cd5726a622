/* peers.c: how many connections each address has open. */

#include "bridge.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static struct sockaddr_storage at(const char *address)
{
    struct sockaddr_storage a;
    assert_true(network_address(&a, address, strlen(address)));
    return a;
}

static void addresses_are_counted_over_all_fronts(void **state)
{
    (void)state;
    struct peers *p = peers_new(2);
    struct sockaddr_storage a = at("203.0.113.7"), b = at("2001:db8::7"), same_net = at("2001:db8::8");
    assert_non_null(p);
    peers_enter(p, 0, &a);
    peers_enter(p, 1, &a);
    peers_enter(p, 1, &b);
    assert_int_equal(peers_count(p, &a), 2);
    assert_int_equal(peers_count(p, &same_net), 1);
    assert_int_equal(peers_total(p), 3);
    peers_leave(p, 0, &a);
    assert_int_equal(peers_count(p, &a), 1);
    assert_int_equal(peers_forget(p, 1), 2);
    assert_int_equal(peers_count(p, &a), 0);
    assert_int_equal(peers_total(p), 0);
    peers_free(p);
}

static void one_address_may_have_very_many(void **state)
{
    (void)state;
    struct peers *p = peers_new(1);
    struct sockaddr_storage a = at("203.0.113.7");
    assert_non_null(p);
    for (int i = 0; i < 70000; i++) {
        peers_enter(p, 0, &a);
    }
    assert_int_equal(peers_count(p, &a), 70000);
    peers_free(p);
}

/* As proxies are, whose visitors count and not they. */
static void what_is_nobody_counts_in_the_total_alone(void **state)
{
    (void)state;
    struct peers *p = peers_new(1);
    const struct sockaddr_storage none = {.ss_family = AF_UNSPEC}, local = {.ss_family = AF_UNIX};
    struct sockaddr_storage zero = at("0.0.0.0");
    assert_non_null(p);
    for (int i = 0; i < 70000; i++) { /* more than a counter of one address holds */
        peers_enter(p, 0, i % 2 == 0 ? &none : &local);
    }
    assert_int_equal(peers_count(p, &none), 0);
    assert_int_equal(peers_count(p, &local), 0);
    assert_int_equal(peers_count(p, &zero), 0);
    assert_int_equal(peers_total(p), 70000);
    peers_leave(p, 0, &none);
    assert_int_equal(peers_total(p), 69999);
    peers_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_counted_over_all_fronts),
        cmocka_unit_test(one_address_may_have_very_many),
        cmocka_unit_test(what_is_nobody_counts_in_the_total_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
