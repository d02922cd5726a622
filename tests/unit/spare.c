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
    unsigned char *bytes = spare_take(&all, SIZE);
    for (size_t i = 0; i < 5; i++) {
        const struct iovec written[] = {
            {bytes + PAGE, i * PAGE}, {bytes + 6 * PAGE, 2 * PAGE}, {bytes, PAGE}};
        assert_int_equal(used(bytes), 0);
        for (size_t k = 0; k < COUNT(written); k++) {
            memset(written[k].iov_base, 0x5a, written[k].iov_len);
        }
        spare_give(&all, bytes, SIZE, written, COUNT(written));
        assert_ptr_equal(spare_take(&all, SIZE), bytes);
    }
    assert_int_equal(used(bytes), 0);
}

static void test_memory_of_which_much_was_written_is_not_kept(void **state)
{
    (void)state;
    struct spares all = {0};
    unsigned char *bytes = spare_take(&all, SIZE);
    memset(bytes, 0x5a, SIZE);
    spare_give(&all, bytes, SIZE, NULL, 0);
    assert_int_equal(all.count, 0);
    assert_int_equal(used(spare_take(&all, SIZE)), 0);
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
            const struct iovec written = {pieces[i], SIZE};
            spare_give(&all, pieces[i], SIZE, &written, 1);
        }
        assert_in_range(all.count, 1, 32);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_all_zero_when_it_is_used_again),
        cmocka_unit_test(test_memory_of_which_much_was_written_is_not_kept),
        cmocka_unit_test(test_a_few_pieces_are_kept_and_each_has_one_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
