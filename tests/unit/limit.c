/* limit.c: a person is never in the way of the limit, a flood always. */

#include "bridge.h"

#include <setjmp.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SECOND = 1000000 };
static const int64_t start = INT64_C(5000) * SECOND;
static const struct rate three_in_a_minute = {.count = 3, .seconds = 60};

static int setup(void **state)
{
    *state = limit_new();
    return *state == NULL;
}

static int teardown(void **state)
{
    limit_free(*state);
    return 0;
}

static void test_takes_so_many_at_once_and_then_evenly(void **state)
{
    struct limit *l = *state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(limit_take(l, &three_in_a_minute, "order", 7, start), 0);
    }
    assert_int_equal(limit_take(l, &three_in_a_minute, "order", 7, start), 20);
    assert_int_equal(limit_take(l, &three_in_a_minute, "order", 7, start + 19 * SECOND + SECOND / 2), 1);
    assert_int_equal(limit_take(l, &three_in_a_minute, "order", 7, start + 20 * SECOND), 0);
    assert_int_equal(limit_take(l, &three_in_a_minute, "order", 7, start + 20 * SECOND), 20);
    for (int i = 0; i < 3; i++) { /* after a quiet time all of them again, and no more */
        assert_int_equal(limit_take(l, &three_in_a_minute, "order", 7, start + 600 * SECOND), 0);
    }
    assert_int_not_equal(limit_take(l, &three_in_a_minute, "order", 7, start + 600 * SECOND), 0);
}

static void test_refused_ones_do_not_count(void **state)
{
    struct limit *l = *state;
    for (int i = 0; i < 100; i++) {
        limit_take(l, &three_in_a_minute, "order", 7, start);
    }
    assert_int_equal(limit_take(l, &three_in_a_minute, "order", 7, start + 20 * SECOND), 0);
}

static void test_visitors_and_forms_count_apart(void **state)
{
    struct limit *l = *state;
    const struct rate one = {.count = 1, .seconds = 60};
    assert_int_equal(limit_take(l, &one, "order", 7, start), 0);
    assert_int_equal(limit_take(l, &one, "order", 8, start), 0);
    assert_int_equal(limit_take(l, &one, "contact", 7, start), 0);
    assert_int_equal(limit_take(l, &one, "order", LIMIT_ALL, start), 0);
    assert_int_equal(limit_take(l, &one, "order", 7, start), 60);
}

static void test_off_is_off(void **state)
{
    const struct rate off = {.count = 0};
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(limit_take(*state, &off, "order", 7, start), 0);
    }
}

static void test_a_changed_rate_does_not_lock_out_for_longer_than_its_own_time(void **state)
{
    struct limit *l = *state;
    const struct rate a_day = {.count = 1, .seconds = 86400}, a_minute = {.count = 1, .seconds = 60};
    assert_int_equal(limit_take(l, &a_day, "order", 7, start), 0);
    assert_int_equal(limit_take(l, &a_day, "order", 7, start), 86400);
    assert_int_equal(limit_take(l, &a_minute, "order", 7, start), 60);
}

static void test_many_visitors_do_not_free_the_one_who_floods(void **state)
{
    struct limit *l = *state;
    const struct rate rate = {.count = 50, .seconds = 300};
    for (int i = 0; i < 50; i++) {
        assert_int_equal(limit_take(l, &rate, "order", 7, start), 0);
    }
    for (uint64_t v = 1000; v < 301000; v++) { /* far more than there is room for */
        assert_int_equal(limit_take(l, &rate, "order", v, start), 0);
    }
    assert_int_not_equal(limit_take(l, &rate, "order", 7, start), 0);
}

static void test_counts_over_all_processes(void **state)
{
    struct limit *l = *state;
    const struct rate rate = {.count = 400, .seconds = 86400};
    int passed = 0, code;
    for (int p = 0; p < 4; p++) {
        if (fork() == 0) {
            int n = 0;
            for (int i = 0; i < 200; i++) {
                n += limit_take(l, &rate, "order", 7, start) == 0;
            }
            _exit(n);
        }
    }
    while (wait(&code) > 0) {
        passed += WEXITSTATUS(code);
    }
    assert_int_equal(passed, 400);
}

static void test_a_rate_is_a_number_and_a_time(void **state)
{
    (void)state;
    struct rate r;
    assert_true(value_rate("60/5m", &r));
    assert_int_equal(r.count, 60);
    assert_int_equal(r.seconds, 300);
    assert_true(value_rate("1/1d", &r));
    assert_true(value_rate("off", &r));
    assert_int_equal(r.count, 0);
    assert_true(value_rate("0", &r));
    static const char *const bad[] = {"",      "60",         "/5m",   "60/",
                                      "0/5m",  "60/0",       "60/2d", "-1/5m",
                                      "60/5x", "1000001/1s", "6 0/5", "1/18446744073709551616s"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(value_rate(bad[i], &r));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_takes_so_many_at_once_and_then_evenly, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_ones_do_not_count, setup, teardown),
        cmocka_unit_test_setup_teardown(test_visitors_and_forms_count_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_off_is_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_changed_rate_does_not_lock_out_for_longer_than_its_own_time,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_visitors_do_not_free_the_one_who_floods, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counts_over_all_processes, setup, teardown),
        cmocka_unit_test(test_a_rate_is_a_number_and_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
