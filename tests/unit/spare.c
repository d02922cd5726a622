/* spare.c: what was in a piece of memory is not in it for the next. */

#include "bridge.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

enum { PAGE = 4096, SIZE = 8 * PAGE };

static size_t used(const unsigned char *bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < SIZE; i++) {
        n += bytes[i] != 0;
    }
    return n;
}

static void test_memory_is_all_zero_when_it_is_used_again(void **state)
{
    (void)state;
    struct spares all = {0};
    static const size_t rare[][2] = {{2, 4}, {1, 7}, {7, 1}, {4, 0}};
    unsigned char *bytes = spare_take(&all, SIZE);
    for (size_t i = 0; i < COUNT(rare); i++) {
        assert_int_equal(used(bytes), 0);
        memset(bytes, 0x5a, SIZE);
        spare_give(&all, bytes, SIZE, rare[i][0] * PAGE, rare[i][1] * PAGE);
        assert_ptr_equal(spare_take(&all, SIZE), bytes);
    }
    assert_int_equal(used(bytes), 0);
}

static void test_a_few_pieces_are_kept_and_each_has_one_owner(void **state)
{
    (void)state;
    struct spares all = {0};
    unsigned char *pieces[100];
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT(pieces); i++) {
            pieces[i] = spare_take(&all, SIZE);
            assert_non_null(pieces[i]);
            assert_int_equal(used(pieces[i]), 0);
            memset(pieces[i], (int)i + 1, SIZE);
        }
        assert_int_equal(all.count, 0);
        for (size_t i = 0; i < COUNT(pieces); i++) {
            assert_int_equal(pieces[i][0], i + 1);
            assert_int_equal(pieces[i][SIZE - 1], i + 1);
            spare_give(&all, pieces[i], SIZE, PAGE, 4 * PAGE);
        }
        assert_in_range(all.count, 1, 32);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_all_zero_when_it_is_used_again),
        cmocka_unit_test(test_a_few_pieces_are_kept_and_each_has_one_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
