/* log.c: one line for each thing said, whole, printable, in order, and in as few writes as is asked for. */

#include "bridge.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- stderr is a socket that keeps writes apart ---------------------------------------------- */

static int said[2], terminal;

static int setup(void **state)
{
    (void)state;
    unsetenv("JOURNAL_STREAM");
    terminal = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    return terminal < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, said) != 0 ||
           dup2(said[1], STDERR_FILENO) < 0;
}

static int teardown(void **state)
{
    (void)state;
    dup2(terminal, STDERR_FILENO);
    close(terminal);
    close(said[0]);
    close(said[1]);
    return 0;
}

/* The next write, or "". */
static const char *next(void)
{
    static char bytes[2 * PIPE_BUF];
    ssize_t n = recv(said[0], bytes, sizeof bytes - 1, 0);
    bytes[n < 0 ? 0 : n] = '\0';
    return bytes;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void a_line_names_its_role_and_leaves_at_once(void **state)
{
    (void)state;
    log_role("front");
    log_info("accepted %d", 1);
    log_warn("%s", "slow");
    log_error("broken");
    assert_string_equal(next(), "front: accepted 1\n");
    assert_string_equal(next(), "front: warning: slow\n");
    assert_string_equal(next(), "front: error: broken\n");
}

static void journald_is_told_the_priority(void **state)
{
    (void)state;
    setenv("JOURNAL_STREAM", "9:9", 1);
    log_role("front");
    log_info("a");
    log_warn("b");
    log_error("c");
    unsetenv("JOURNAL_STREAM");
    assert_string_equal(next(), "<6>front: a\n");
    assert_string_equal(next(), "<4>front: warning: b\n");
    assert_string_equal(next(), "<3>front: error: c\n");
}

static void what_is_not_printable_cannot_make_a_line_of_its_own(void **state)
{
    (void)state;
    log_role("front");
    log_info("%s", "a\nerror: b\x1b[0m\xc3\xa4");
    assert_string_equal(next(), "front: a?error: b?[0m??\n");
    assert_string_equal(next(), "");
}

static void a_long_line_is_cut_and_ends(void **state)
{
    (void)state;
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_role("front");
    log_info("%s", text);
    const char *line = next();
    assert_int_equal(strlen(line), strlen("front: ") + 899 + 1);
    assert_int_equal(line[strlen(line) - 1], '\n');
}

static void lines_that_are_held_leave_together_and_whole(void **state)
{
    (void)state;
    enum { LINES = 500 };
    char expected[32];
    unsigned writes = 0, line = 0;
    log_role("front");
    log_hold();
    for (unsigned i = 0; i < LINES; i++) {
        log_info("line %u", i);
    }
    log_release();
    for (const char *at; *(at = next()) != '\0'; writes++) {
        assert_true(strlen(at) <= PIPE_BUF);
        for (; *at != '\0'; at += strlen(expected), line++) {
            snprintf(expected, sizeof expected, "front: line %u\n", line);
            assert_memory_equal(at, expected, strlen(expected));
        }
    }
    assert_int_equal(line, LINES);
    assert_true(writes < 4);
    log_info("alone");
    assert_string_equal(next(), "front: alone\n");
}

static void a_warning_waits_for_nobody_and_keeps_its_place(void **state)
{
    (void)state;
    log_role("front");
    log_hold();
    log_info("first");
    assert_string_equal(next(), "");
    log_warn("second");
    assert_string_equal(next(), "front: first\nfront: warning: second\n");
    log_info("third");
    log_error("fourth");
    assert_string_equal(next(), "front: third\nfront: error: fourth\n");
    log_release();
    assert_string_equal(next(), "");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_line_names_its_role_and_leaves_at_once),
        TEST(journald_is_told_the_priority),
        TEST(what_is_not_printable_cannot_make_a_line_of_its_own),
        TEST(a_long_line_is_cut_and_ends),
        TEST(lines_that_are_held_leave_together_and_whole),
        TEST(a_warning_waits_for_nobody_and_keeps_its_place),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
