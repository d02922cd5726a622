/* state.c: what a retry must know survives being written and read, and nothing doubtful is believed. */

#include "bridge.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool parses(struct state *st, const char *text)
{
    return state_parse(st, text, strlen(text));
}

static void everything_comes_back_as_it_was_written(void **state)
{
    (void)state;
    static const char text[] = "formbridge-state 1\n"
                               "since 1795305136\n"
                               "held no [form order]\n"
                               "target maildir:/home/ada/Maildir of orders\n"
                               "done\n"
                               "target main\n"
                               "failed 550 5.1.1 unknown\n"
                               "tries 3\n"
                               "next 1795305999\n"
                               "reason 451 4.3.0 later, please\n"
                               "has orders@example.com\n"
                               "refused b\xc3\xbcro@example.org 550 5.1.1 unknown\n";
    struct state st;
    struct buf out;
    assert_true(parses(&st, text));
    assert_int_equal(st.since, 1795305136);
    assert_string_equal(st.held, "no [form order]");
    assert_true(state_find(&st, "maildir:/home/ada/Maildir of orders")->done);
    const struct state_target *t = state_find(&st, "main");
    assert_false(t->done);
    assert_int_equal(t->tries, 3);
    assert_int_equal(t->next_try, 1795305999);
    assert_string_equal(t->reason, "451 4.3.0 later, please");
    assert_null(state_recipient(t, "orders@example.com")->failed);
    assert_string_equal(state_recipient(t, "b\xc3\xbcro@example.org")->failed, "550 5.1.1 unknown");
    assert_null(state_recipient(t, "other@example.com"));
    assert_null(state_find(&st, "spare"));

    buf_init(&out, STATE_SIZE_MAX);
    state_write(&st, &out);
    assert_true(buf_equal(&out, text));
    buf_free(&out);
    state_free(&st);
}

static void nothing_to_remember_is_one_line(void **state)
{
    (void)state;
    struct state st = {.since = 0};
    struct buf out;
    buf_init(&out, STATE_SIZE_MAX);
    state_write(&st, &out);
    assert_true(buf_equal(&out, "formbridge-state 1\n"));
    assert_true(state_parse(&st, out.data, out.len));
    buf_free(&out);
    state_free(&st);
}

static void an_answer_of_a_host_stays_on_its_line(void **state)
{
    (void)state;
    struct state st = {.since = 0};
    struct buf out;
    state_text(&state_target(&st, "main")->reason, "451 a\r\ndone\nhas x@example.com\x1b[2J");
    buf_init(&out, STATE_SIZE_MAX);
    state_write(&st, &out);
    state_free(&st);
    assert_true(state_parse(&st, out.data, out.len));
    assert_false(state_find(&st, "main")->done);
    assert_string_equal(state_find(&st, "main")->reason, "451 a??done?has x@example.com?[2J");
    buf_free(&out);
    state_free(&st);
}

static void doubtful_text_is_not_believed(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "formbridge-state 1",
        "formbridge-state 2\n",
        "\n",
        "formbridge-state 1\ndone\n",
        "formbridge-state 1\n\n",
        "formbridge-state 1\nsince\n",
        "formbridge-state 1\nsince -1\n",
        "formbridge-state 1\nsince 99999999999999999999\n",
        "formbridge-state 1\nsince 9999999999999999999\n",
        "formbridge-state 1\ntarget\n",
        "formbridge-state 1\ntarget main",
        "formbridge-state 1\ntarget main\ntarget main\n",
        "formbridge-state 1\ntarget main\ndone yes\n",
        "formbridge-state 1\ntarget main\nDone\n",
        "formbridge-state 1\ntarget main\ntries 4294967297\n",
        "formbridge-state 1\ntarget main\nnext soon\n",
        "formbridge-state 1\ntarget main\nhas\n",
        "formbridge-state 1\ntarget main\nhas a@example.com b\n",
        "formbridge-state 1\ntarget main\nhas a@example.com\nrefused a@example.com x\n",
        "formbridge-state 1\ntarget main\nrefused a@example.com\n",
        "formbridge-state 1\ntarget main\nrefused  x\n",
        "formbridge-state 1\ntarget main\nheld x\n",
        "formbridge-state 1\r\n",
        "formbridge-state 1\ntarget ma\tin\n",
    };
    struct state st;
    for (size_t i = 0; i < COUNT(texts); i++) {
        assert_false(parses(&st, texts[i]));
        assert_null(st.targets);
        assert_null(st.held);
    }
    assert_false(state_parse(&st, "formbridge-state 1\nheld \0\n", 26));
}

static void a_release_forgets_failures_and_keeps_deliveries(void **state)
{
    (void)state;
    struct state st;
    assert_true(parses(&st,
                       "formbridge-state 1\nheld x\ntarget a\ndone\ntarget main\nfailed x\ntries 9\nnext 5\n"
                       "reason x\nrefused r@example.com x\nhas h@example.com\nrefused s@example.com y\n"));
    state_release(&st, 1000);
    assert_null(st.held);
    assert_int_equal(st.since, 1000);
    assert_true(state_find(&st, "a")->done);
    const struct state_target *t = state_find(&st, "main");
    assert_null(t->failed);
    assert_null(t->reason);
    assert_int_equal(t->tries, 0);
    assert_int_equal(t->next_try, 0);
    assert_null(state_recipient(t, "r@example.com"));
    assert_null(state_recipient(t, "s@example.com"));
    assert_non_null(state_recipient(t, "h@example.com"));
    state_free(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_comes_back_as_it_was_written),
        cmocka_unit_test(nothing_to_remember_is_one_line),
        cmocka_unit_test(an_answer_of_a_host_stays_on_its_line),
        cmocka_unit_test(doubtful_text_is_not_believed),
        cmocka_unit_test(a_release_forgets_failures_and_keeps_deliveries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
