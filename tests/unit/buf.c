/* buf.c: what is read into a buffer, and what it says of itself. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The end of a pipe that gives these bytes and ends. */
static int giving(const void *bytes, size_t len)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], bytes, len), len);
    close(ends[1]);
    return ends[0];
}

static void expect_read(const void *bytes, size_t len, size_t max, int error)
{
    struct buf b;
    int fd = giving(bytes, len);
    buf_init(&b, max);
    buf_byte(&b, '!');
    errno = 0;
    assert_int_equal(buf_read(fd, &b), error == 0);
    assert_int_equal(errno, error);
    if (error == 0) {
        assert_int_equal(b.len, 1 + len);
        assert_int_equal(b.data[0], '!');
        assert_memory_equal(b.data + 1, bytes, len);
    }
    buf_free(&b);
    close(fd);
}

static void it_takes_all_or_says_that_it_cannot(void **state)
{
    (void)state;
    static unsigned char bytes[10000];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(i * 7);
    }
    static const size_t lengths[] = {0, 1, 4095, 4096, 4097, 10000};
    for (size_t i = 0; i < COUNT(lengths); i++) {
        expect_read(bytes, lengths[i], 1 << 20, 0);
        expect_read(bytes, lengths[i], lengths[i] + 1, 0);
        if (lengths[i] > 0) {
            expect_read(bytes, lengths[i], lengths[i], EFBIG);
        }
    }
}

static void what_cannot_be_read_has_its_reason(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    assert_false(buf_read(-1, &b));
    assert_int_equal(errno, EBADF);
    assert_false(buf_read_file("/", &b));
    assert_int_equal(errno, EISDIR);
    assert_false(buf_read_file("/nowhere", &b));
    assert_int_equal(errno, ENOENT);
    buf_free(&b);
}

static void bytes_become_digits(void **state)
{
    (void)state;
    char memory[5] = "....";
    struct buf b;
    buf_borrow(&b, memory, 4);
    buf_hex(&b, "\x0f\xa9", 2);
    assert_true(buf_ok(&b));
    assert_string_equal(memory, "0fa9");
    buf_hex(&b, "", 1);
    assert_false(buf_ok(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_takes_all_or_says_that_it_cannot),
        cmocka_unit_test(what_cannot_be_read_has_its_reason),
        cmocka_unit_test(bytes_become_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
