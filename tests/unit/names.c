/* names.c: a long queue is found again name by name. */

#include "bridge.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { THINGS = 5000 };

static void remove_odd_lengths(void *arg, struct named *thing)
{
    struct names *n = arg;
    if (strlen(thing->name) % 2 == 1) {
        names_remove(n, thing);
    }
}

static void what_was_added_is_found_until_it_is_removed(void **state)
{
    (void)state;
    struct names n = {.count = 0};
    struct named *things = calloc(THINGS, sizeof *things);
    char name[SPOOL_NAME_SIZE];
    assert_null(names_find(&n, "1"));
    for (unsigned i = 0; i < THINGS; i++) {
        text_fmt(name, sizeof name, "%u", i);
        assert_true(names_add(&n, &things[i], name));
    }
    assert_int_equal(n.count, THINGS);
    names_each(&n, remove_odd_lengths, &n); /* those of one and of three digits */
    assert_int_equal(n.count, THINGS - 10 - 900);
    for (unsigned i = 0; i < THINGS; i++) {
        text_fmt(name, sizeof name, "%u", i);
        assert_ptr_equal(names_find(&n, name), strlen(name) % 2 == 1 ? NULL : &things[i]);
    }
    names_free(&n);
    assert_null(names_find(&n, "10"));
    free(things);
}

static void a_name_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct names n = {.count = 0};
    struct named thing;
    char name[SPOOL_NAME_SIZE + 1];
    memset(name, 'x', SPOOL_NAME_SIZE);
    name[SPOOL_NAME_SIZE] = '\0';
    assert_false(names_add(&n, &thing, name));
    assert_int_equal(n.count, 0);
    assert_true(names_add(&n, &thing, name + 1));
    names_free(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_is_found_until_it_is_removed),
        cmocka_unit_test(a_name_that_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
