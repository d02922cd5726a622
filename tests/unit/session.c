/* tls.c: the session cache, with its slots in sight and a clock of our own. */

#include "bridge.h"

static int64_t seconds = 1000;

static int our_clock(clockid_t id, struct timespec *t)
{
    (void)id;
    *t = (struct timespec){.tv_sec = seconds};
    return 0;
}

#define clock_gettime our_clock
#include "tls.c"

#include <setjmp.h>

#include <cmocka.h>

static br_ssl_session_parameters session(unsigned char set, unsigned char number)
{
    br_ssl_session_parameters p = {.session_id_len = 32, .version = BR_TLS12};
    memset(p.master_secret, 0x5a, sizeof p.master_secret);
    p.session_id[0] = set;
    p.session_id[31] = number;
    return p;
}

static void save(struct tls_cache *c, unsigned char set, unsigned char number)
{
    br_ssl_session_parameters p = session(set, number);
    const br_ssl_session_cache_class **class = tls_cache_class(c);
    (*class)->save(class, NULL, &p);
}

/* A handshake knows the id alone. */
static bool load(struct tls_cache *c, unsigned char set, unsigned char number)
{
    br_ssl_session_parameters full = session(set, number), p = {.session_id_len = 32};
    memcpy(p.session_id, full.session_id, sizeof p.session_id);
    const br_ssl_session_cache_class **class = tls_cache_class(c);
    return (*class)->load(class, NULL, &p) == 1 &&
           memcmp(p.master_secret, full.master_secret, sizeof p.master_secret) == 0;
}

static void test_the_newest_sessions_of_a_set_are_found(void **state)
{
    (void)state;
    struct tls_cache *c = tls_cache_new();
    for (unsigned char i = 0; i < 10; i++, seconds++) {
        save(c, 1, i);
    }
    for (unsigned char i = 0; i < 10; i++) {
        assert_int_equal(load(c, 1, i), i >= 10 - WAYS);
        assert_false(load(c, 2, i));
    }
    tls_cache_free(c);
}

static void test_a_slot_whose_process_died_costs_that_slot(void **state)
{
    (void)state;
    struct tls_cache *c = tls_cache_new();
    for (int dead = 0; dead < WAYS; dead++) {
        struct session *set = c->sets[dead];
        atomic_flag_test_and_set(&set[dead].busy);
        for (unsigned char i = 0; i < 20; i++, seconds++) {
            save(c, (unsigned char)dead, i);
            assert_true(load(c, (unsigned char)dead, i));
            assert_int_equal(load(c, (unsigned char)dead, (unsigned char)(i - 1)), i > 0);
        }
        for (int i = 0; i < WAYS; i++) { /* and nothing else is held */
            assert_int_equal(atomic_flag_test_and_set(&set[i].busy), i == dead);
        }
    }
    tls_cache_free(c);
}

static void test_a_set_of_which_every_slot_is_held_finds_nothing_and_waits_for_nobody(void **state)
{
    (void)state;
    struct tls_cache *c = tls_cache_new();
    for (int i = 0; i < WAYS; i++) {
        atomic_flag_test_and_set(&c->sets[7][i].busy);
    }
    save(c, 7, 1);
    assert_false(load(c, 7, 1));
    tls_cache_free(c);
}

static size_t secrets(const struct session *set)
{
    size_t n = 0;
    for (int i = 0; i < WAYS; i++) {
        for (size_t k = 0; k < sizeof set[i].params.master_secret; k++) {
            n += set[i].params.master_secret[k] != 0;
        }
    }
    return n;
}

static void test_the_secret_of_a_session_that_is_too_old_is_wiped_by_the_next_look(void **state)
{
    (void)state;
    struct tls_cache *c = tls_cache_new();
    save(c, 3, 1);
    save(c, 4, 1);
    seconds += LIFETIME - 1;
    assert_true(load(c, 3, 1));
    assert_int_equal(secrets(c->sets[3]), 48);
    seconds += 1;
    assert_false(load(c, 3, 1)); /* the one that was asked for */
    assert_int_equal(secrets(c->sets[3]), 0);
    save(c, 4, 2); /* one beside it */
    assert_int_equal(secrets(c->sets[4]), 48);
    assert_false(load(c, 4, 1));
    assert_true(load(c, 4, 2));
    tls_cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_newest_sessions_of_a_set_are_found),
        cmocka_unit_test(test_a_slot_whose_process_died_costs_that_slot),
        cmocka_unit_test(test_a_set_of_which_every_slot_is_held_finds_nothing_and_waits_for_nobody),
        cmocka_unit_test(test_the_secret_of_a_session_that_is_too_old_is_wiped_by_the_next_look),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
