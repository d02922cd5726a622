/* control.c: control fields do what the config allows, in the dialects that it names, and nothing visitors typed is
 * lost. */

#include "bridge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    ALL =
        CONTROL_NEXT | CONTROL_SUBJECT | CONTROL_REPLYTO | CONTROL_LANGUAGE | CONTROL_REQUIRED | CONTROL_SORT,
};

static struct form *form;
static struct control control;

static int setup(void **state)
{
    (void)state;
    const struct form_limits limits = {.body = 1 << 20, .fields = 20000, .files = 100};
    form = form_new(FORM_URLENCODED, NULL, NULL, &limits);
    return form == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    control_free(&control);
    form_free(form);
    return 0;
}

static void start_again(void)
{
    teardown(NULL);
    assert_int_equal(setup(NULL), 0);
}

static struct field *add(const char *name, const char *value)
{
    struct field *f = form_add(form);
    assert_non_null(f);
    buf_str(&f->name, name);
    buf_str(&f->value, value);
    return f;
}

static void read_all(unsigned dialects)
{
    control_free(&control);
    control_read(form, dialects, ALL, &control);
}

static void shown(const char *want)
{
    struct buf names;
    buf_init(&names, 1 << 20);
    for (size_t i = 0; i < form_count(form); i++) {
        struct field *f = form_field(form, i);
        if (!f->hidden) {
            buf_fmt(&names, "%s%s", names.len > 0 ? " " : "", buf_text(&f->name));
        }
    }
    assert_string_equal(names.len > 0 ? buf_text(&names) : "", want);
    buf_free(&names);
}

static void span_is(struct span s, const char *want)
{
    assert_int_equal(s.len, strlen(want));
    assert_true(s.len == 0 || memcmp(s.at, want, s.len) == 0);
}

static void formspree_controls_are_read_and_hidden(void **state)
{
    (void)state;
    add("name", "Ada");
    add("_next", " /thanks.html ");
    add("_subject", "New order");
    add("_replyto", "ada@example.org");
    add("_language", "de");
    add("_gotcha", "");
    add("_cc", "evil@example.net");
    add("_format", "plain");
    add("email", "other@example.org");
    read_all(DIALECT_FORMSPREE);
    span_is(control.next, "/thanks.html");
    span_is(control.language, "de");
    span_is(control.missing, "");
    assert_string_equal(control.subject, "{_subject}");
    assert_string_equal(control.reply_to, "{_replyto}");
    assert_string_equal(control.email, "{email}");
    shown("name _subject _replyto email"); /* the subject until it is spent */
    assert_true(buf_equal(&control.spent->name, "_subject"));
}

static void formmail_controls_are_read_and_hidden(void **state)
{
    (void)state;
    add("recipient", "evil@example.net");
    add("subject", "Order");
    add("realname", "Ada");
    add("email", "ada@example.org");
    add("redirect", "");
    add("good_url", "/thanks");
    add("missing_fields_redirect", "/oops");
    add("required", "realname, email:Your address,phone|fax, ,item ");
    add("print_config", "email");
    add("env_report", "REMOTE_HOST");
    add("title", "Thanks");
    read_all(DIALECT_FORMMAIL);
    span_is(control.next, "/thanks");
    span_is(control.missing, "/oops");
    assert_string_equal(control.subject, "{subject}");
    assert_null(control.reply_to);
    assert_string_equal(control.email, "{email}");
    assert_int_equal(control.required_count, 3);
    assert_string_equal(control_required(&control, 0), "realname");
    assert_string_equal(control_required(&control, 1), "email");
    assert_string_equal(control_required(&control, 2), "item");
    shown("subject realname email");
}

static void a_dialect_that_is_not_spoken_is_data(void **state)
{
    (void)state;
    add("_next", "/a");
    add("redirect", "/b");
    add("subject", "s");
    add("form-name", "contact");
    add("access_key", "k");
    add("email", "ada@example.org");
    read_all(0);
    shown("_next redirect subject form-name access_key email");
    assert_null(control.subject);
    assert_null(control.email);
    span_is(control.next, "");
    read_all(DIALECT_FORMSPREE);
    shown("redirect subject form-name access_key email");
    assert_null(control.subject);
}

static void netlify_and_web3forms_are_understood(void **state)
{
    (void)state;
    add("form-name", "contact");
    add("bot-field", "");
    add("name", "Ada");
    read_all(DIALECT_NETLIFY);
    shown("name");
    start_again();
    add("access_key", "k");
    add("redirect", "/thanks");
    add("replyto", "ada@example.org");
    add("from_name", "x");
    add("botcheck", "");
    read_all(DIALECT_WEB3FORMS);
    span_is(control.next, "/thanks");
    assert_string_equal(control.reply_to, "{replyto}");
    shown("replyto");
}

static void a_control_that_is_off_does_nothing(void **state)
{
    (void)state;
    add("_next", "/a");
    add("_subject", "s");
    add("_replyto", "ada@example.org");
    control_read(form, DIALECT_FORMSPREE, 0, &control);
    span_is(control.next, "");
    assert_null(control.subject);
    assert_null(control.reply_to);
    shown("_subject _replyto"); /* which a visitor may have typed */
}

static void what_cannot_be_a_header_stays_a_field(void **state)
{
    (void)state;
    char longest[CONTROL_SUBJECT_MAX + 2] = "";
    memset(longest, 'x', CONTROL_SUBJECT_MAX + 1);
    const char *const bad[] = {"a\r\nBcc: evil@example.net", "a\nb", "a\rb", longest};
    for (size_t i = 0; i < COUNT(bad); i++) {
        start_again();
        add("_subject", bad[i]);
        read_all(DIALECT_FORMSPREE);
        assert_null(control.subject);
        assert_null(control.spent);
        shown("_subject");
    }
    static const char *const addresses[] = {"ada", "a@b, c@d", "ada@example.org\nBcc: x@example.net",
                                            "<ada@example.org>", "ada@example.org evil@example.net"};
    for (size_t i = 0; i < COUNT(addresses); i++) {
        start_again();
        add("_replyto", addresses[i]);
        add("email", addresses[i]);
        read_all(DIALECT_FORMSPREE);
        assert_null(control.reply_to);
        assert_null(control.email);
        shown("_replyto email");
    }
}

static void an_upload_controls_nothing(void **state)
{
    (void)state;
    assert_true(form_file(form, add("_next", "/a")));
    read_all(DIALECT_FORMSPREE);
    span_is(control.next, "");
    shown("_next");
}

static void the_page_orders_the_fields(void **state)
{
    (void)state;
    add("c", "1");
    add("sort", "alphabetic");
    add("a", "2");
    add("b", "3");
    add("a", "4");
    read_all(DIALECT_FORMMAIL);
    shown("a a b c");
    assert_true(buf_equal(&form_field(form, 0)->value, "2") && buf_equal(&form_field(form, 1)->value, "4"));
    start_again();
    add("c", "1");
    add("b", "2");
    add("a", "3");
    add("sort", "order: a , x,,b");
    read_all(DIALECT_FORMMAIL);
    shown("a b c");
    start_again();
    add("b", "1");
    add("a", "2");
    add("sort", "upwards");
    read_all(DIALECT_FORMMAIL);
    shown("b a");
    start_again();
    add("b", "1");
    add("a", "2");
    add("sort", "alphabetic");
    read_all(DIALECT_FORMSPREE);
    shown("b a sort");
}

static void a_list_without_end_is_cut(void **state)
{
    (void)state;
    struct field *f = add("required", "");
    for (size_t i = 0; i < 100000; i++) {
        buf_str(&f->value, "a,");
    }
    read_all(DIALECT_FORMMAIL);
    assert_int_equal(control.required_count, CONTROL_NAMES_MAX);
}

static void words_of_the_config_are_known(void **state)
{
    (void)state;
    unsigned bit = 99;
    assert_true(control_dialect("none", &bit) && bit == 0);
    assert_true(control_dialect("formmail", &bit) && bit == DIALECT_FORMMAIL);
    assert_false(control_dialect("Formmail", &bit));
    assert_true(control_word("sort", &bit) && bit == CONTROL_SORT);
    assert_false(control_word("recipient", &bit));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(formspree_controls_are_read_and_hidden, setup, teardown),
        cmocka_unit_test_setup_teardown(formmail_controls_are_read_and_hidden, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dialect_that_is_not_spoken_is_data, setup, teardown),
        cmocka_unit_test_setup_teardown(netlify_and_web3forms_are_understood, setup, teardown),
        cmocka_unit_test_setup_teardown(a_control_that_is_off_does_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_a_header_stays_a_field, setup, teardown),
        cmocka_unit_test_setup_teardown(an_upload_controls_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(the_page_orders_the_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(a_list_without_end_is_cut, setup, teardown),
        cmocka_unit_test(words_of_the_config_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
