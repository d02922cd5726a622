/* tls_cache.c: the session cache, with its slots in sight and a clock of our own. */

#include "bridge.h"

static int64_t seconds = 1000;

static int64_t our_clock(void)
{
    return seconds * 1000;
}

#define clock_ms our_clock
#include "tls_cache.c"

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
        struct session *set = c->shared->sets[dead];
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
        atomic_flag_test_and_set(&c->shared->sets[7][i].busy);
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
    assert_int_equal(secrets(c->shared->sets[3]), 48);
    seconds += 1;
    assert_false(load(c, 3, 1)); /* the one that was asked for */
    assert_int_equal(secrets(c->shared->sets[3]), 0);
    save(c, 4, 2); /* one beside it */
    assert_int_equal(secrets(c->shared->sets[4]), 48);
    assert_false(load(c, 4, 1));
    assert_true(load(c, 4, 2));
    tls_cache_free(c);
}

static void test_a_sweep_wipes_what_nobody_looks_at(void **state)
{
    (void)state;
    struct tls_cache *c = tls_cache_new();
    assert_int_equal(tls_cache_sweep_at(c), 0);
    tls_cache_sweep(c);
    assert_int_equal(tls_cache_sweep_at(c), 0);
    int64_t start = seconds;
    for (unsigned char set = 1; set <= 3; set++) { /* an hour and 0, 100 and 110 seconds from now */
        save(c, set, 1);
        save(c, set, 2);
        assert_int_equal(tls_cache_sweep_at(c), (start + LIFETIME) * 1000);
        seconds = start + (set == 1 ? 100 : 110);
    }
    seconds = start + LIFETIME - 1;
    tls_cache_sweep(c); /* too early, or by one who looked at the time before another did it */
    assert_true(load(c, 1, 1) && load(c, 2, 1) && load(c, 3, 1));
    seconds = start + LIFETIME;
    assert_true(secrets(c->shared->sets[1]) > 0);
    tls_cache_sweep(c);
    assert_int_equal(secrets(c->shared->sets[1]), 0);
    assert_true(load(c, 2, 1) && load(c, 2, 2) && load(c, 3, 1) && load(c, 3, 2));
    assert_int_equal(tls_cache_sweep_at(c), (start + LIFETIME + 100) * 1000); /* the next that is due */
    save(c, 1, 3);
    seconds = start + LIFETIME + 100;
    tls_cache_sweep(c);
    assert_int_equal(secrets(c->shared->sets[2]), 0);
    assert_true(load(c, 3, 1) && load(c, 1, 3));
    assert_int_equal(tls_cache_sweep_at(c), (seconds + SWEEP_EVERY) * 1000); /* and not for each one alone */
    seconds += SWEEP_EVERY;
    tls_cache_sweep(c);
    assert_int_equal(secrets(c->shared->sets[3]), 0);
    assert_true(load(c, 1, 3));
    seconds += LIFETIME;
    tls_cache_sweep(c);
    assert_int_equal(secrets(c->shared->sets[1]), 0);
    assert_int_equal(tls_cache_sweep_at(c), 0); /* nobody has to wake */
    tls_cache_free(c);
}

static void test_a_sweep_touches_no_set_that_was_never_used(void **state)
{
    (void)state;
    struct tls_cache *c = tls_cache_new();
    save(c, 200, 1);
    memset(c->shared->sets[201], 0x33, sizeof c->shared->sets[201]); /* as old as can be */
    seconds += LIFETIME;
    tls_cache_sweep(c);
    assert_int_equal(secrets(c->shared->sets[200]), 0);
    assert_int_equal(secrets(c->shared->sets[201]), WAYS * 48);
    tls_cache_free(c);
}

static void test_a_slot_that_is_held_is_looked_at_again(void **state)
{
    (void)state;
    struct tls_cache *c = tls_cache_new();
    save(c, 9, 1);
    atomic_flag_test_and_set(&c->shared->sets[9][0].busy);
    seconds += LIFETIME;
    tls_cache_sweep(c);
    assert_int_equal(secrets(c->shared->sets[9]), 48);
    atomic_flag_clear(&c->shared->sets[9][0].busy);
    assert_int_equal(tls_cache_sweep_at(c), (seconds + LIFETIME) * 1000);
    seconds += LIFETIME;
    tls_cache_sweep(c);
    assert_int_equal(secrets(c->shared->sets[9]), 0);
    tls_cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_newest_sessions_of_a_set_are_found),
        cmocka_unit_test(test_a_slot_whose_process_died_costs_that_slot),
        cmocka_unit_test(test_a_set_of_which_every_slot_is_held_finds_nothing_and_waits_for_nobody),
        cmocka_unit_test(test_the_secret_of_a_session_that_is_too_old_is_wiped_by_the_next_look),
        cmocka_unit_test(test_a_sweep_wipes_what_nobody_looks_at),
        cmocka_unit_test(test_a_sweep_touches_no_set_that_was_never_used),
        cmocka_unit_test(test_a_slot_that_is_held_is_looked_at_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
