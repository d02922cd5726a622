/* clock.c: it goes forward, and both its units tell the same. */

#include "bridge.h"

#include <setjmp.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static void it_goes_forward_in_both_units(void **state)
{
    (void)state;
    int64_t ns = clock_ns(), ms = clock_ms();
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    int64_t ns_later = clock_ns(), ms_later = clock_ms();
    assert_true(ms > 0);
    assert_true(ms_later - ms >= 20);
    assert_true(ns_later - ns >= 20000000);
    assert_true(ms >= ns / 1000000 && ms_later >= ns_later / 1000000);
}

/* Other programs, and pthread_cond_timedwait() where it was told so, count by it. */
static void it_is_the_monotonic_one(void **state)
{
    (void)state;
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    int64_t ns = clock_ns();
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_true(ns >= (int64_t)before.tv_sec * 1000000000 + before.tv_nsec);
    assert_true(ns <= (int64_t)after.tv_sec * 1000000000 + after.tv_nsec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_goes_forward_in_both_units),
        cmocka_unit_test(it_is_the_monotonic_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
