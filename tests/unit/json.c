/* JSON bodies: one flat object, strictly. */

#include "tests/form_body.h"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct form_limits roomy = {.body = 65536, .fields = 100, .files = 10};

/* The whole, every cut in two, and byte by byte: all the same. */
static struct form *parse(const char *bytes, size_t len)
{
    struct body b = {.kind = FORM_JSON, .charset = "latin1", .limits = roomy, .bytes = bytes, .len = len};
    struct form *whole = body_parse(&b, 0, 0);
    assert_non_null(whole);
    for (size_t cut = 1; cut < len; cut++) {
        struct form *two = body_parse(&b, cut, 0);
        assert_true(body_same(whole, two));
        form_free(two);
    }
    struct form *bytewise = body_parse(&b, 1, 1);
    assert_true(body_same(whole, bytewise));
    form_free(bytewise);
    return whole;
}

static struct form *good(const char *text)
{
    struct form *f = parse(text, strlen(text));
    assert_string_equal(form_why(f), "");
    assert_int_equal(form_error(f), FORM_OK);
    return f;
}

static void assert_field(struct form *f, size_t i, const char *name, const char *value)
{
    struct field *field = form_field(f, i);
    assert_non_null(field);
    assert_true(buf_equal(&field->name, name));
    assert_true(buf_equal(&field->value, value));
    assert_false(field->file);
}

static void assert_value(const char *json, const char *value, unsigned repaired)
{
    char text[300];
    assert_true(text_fmt(text, sizeof(text), "{\"q\":%s}", json));
    struct form *f = good(text);
    assert_int_equal(form_count(f), 1);
    assert_field(f, 0, "q", value);
    assert_int_equal(form_field(f, 0)->repaired, repaired);
    form_free(f);
}

static void assert_malformed(const char *text, const char *word)
{
    struct form *f = parse(text, strlen(text));
    if (form_error(f) != FORM_MALFORMED || strstr(form_why(f), word) == NULL) {
        fail_msg("%s: \"%s\" does not speak of %s", text, form_why(f), word);
    }
    form_free(f);
}

static void object_becomes_fields_in_order(void **state)
{
    (void)state;
    struct form *f =
        good(" {\"b\" : \"x\",\r\n\t\"a\":12.50 , \"t\":true,\"f\":false,\"n\":null, \"\":\"\"} \n");
    assert_int_equal(form_count(f), 6);
    assert_field(f, 0, "b", "x");
    assert_field(f, 1, "a", "12.50");
    assert_field(f, 2, "t", "true");
    assert_field(f, 3, "f", "false");
    assert_field(f, 4, "n", "");
    assert_field(f, 5, "", "");
    form_free(f);
    f = good("{}");
    assert_int_equal(form_count(f), 0);
    form_free(f);
}

static void arrays_and_repeated_names_are_repeats(void **state)
{
    (void)state;
    struct form *f = good("{\"a\":[1, \"x\" ,true,null],\"b\":[ ],\"a\":2,\"c\":[3]}");
    assert_int_equal(form_count(f), 6);
    assert_field(f, 0, "a", "1");
    assert_field(f, 1, "a", "x");
    assert_field(f, 2, "a", "true");
    assert_field(f, 3, "a", "");
    assert_field(f, 4, "a", "2");
    assert_field(f, 5, "c", "3");
    form_free(f);
}

static void numbers_are_kept_as_written(void **state)
{
    (void)state;
    static const char *const numbers[] = {
        "0",    "-0",  "7",     "-10",       "1234567890123456789012345678901234567890",
        "0.10", "1e5", "1E+05", "-2.50e-007"};
    for (size_t i = 0; i < COUNT(numbers); i++) {
        assert_value(numbers[i], numbers[i], 0);
    }
}

static void numbers_that_json_does_not_know_are_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {"01", "-",    "+1",  ".5",  "1.",        "1.e1", "1e", "1e+",
                                      "-x", "0x10", "1_0", "NaN", "-Infinity", "1 2",  "--1"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        char text[50];
        assert_true(text_fmt(text, sizeof(text), "{\"q\":%s}", bad[i]));
        assert_malformed(text, "The JSON has");
    }
}

static void escapes_become_characters(void **state)
{
    (void)state;
    assert_value("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 0);
    assert_value("\"\\u0041\\u00e9\\u20AC\\ud83d\\uDE00\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 0);
    assert_value("\"\xc3\xa9 &#8364; %41 + \x7f\"", "\xc3\xa9 &#8364; %41 + \x7f", 0);
    assert_value("\"\\uffff\\ue000\\ud7ff\"", "\xef\xbf\xbf\xee\x80\x80\xed\x9f\xbf", 0);
    struct form *f = good("{\"\\u00e9\\n\":1}");
    assert_field(f, 0, "\xc3\xa9\n", "1");
    form_free(f);
}

static void lone_surrogates_are_replaced_and_said(void **state)
{
    (void)state;
#define FFFD "\xef\xbf\xbd"
    assert_value("\"\\ud83d\"", FFFD, REPAIRED_CHARSET);
    assert_value("\"\\ud83dx\"", FFFD "x", REPAIRED_CHARSET);
    assert_value("\"\\ude00\\ud83d\"", FFFD FFFD, REPAIRED_CHARSET);
    assert_value("\"\\ud83d\\ud83d\\ude00\"", FFFD "\xf0\x9f\x98\x80", REPAIRED_CHARSET);
    assert_value("\"\\ud83d\\n\\ude00\"", FFFD "\n" FFFD, REPAIRED_CHARSET);
    assert_value("\"\\ud83d\\u0041\"", FFFD "A", REPAIRED_CHARSET);
    struct form *f = good("{\"\\ud83d\":[1,2],\"b\":3}");
    assert_field(f, 1, FFFD, "2");
    assert_int_equal(form_field(f, 0)->repaired, REPAIRED_CHARSET);
    assert_int_equal(form_field(f, 1)->repaired, REPAIRED_CHARSET);
    assert_int_equal(form_field(f, 2)->repaired, 0);
    form_free(f);
}

static void nul_is_shown_and_said(void **state)
{
    (void)state;
    assert_value("\"a\\u0000b\"",
                 "a\xe2\x90\x80"
                 "b",
                 REPAIRED_NUL);
}

static void text_that_is_not_utf8_is_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {"{\"a\":\"\xff\"}",        "{\"\xe9\":1}",
                                      "{\"a\":\"\xc3\"}",        "{\"a\":\"\xed\xa0\x80\"}",
                                      "{\"a\":\"\xc3\\u00a9\"}", "{\"a\":\"\\u00e9\xa9\"}"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_malformed(bad[i], "UTF-8");
    }
    assert_malformed("\xef\xbb\xbf{}", "object");
}

static void charset_claims_do_not_matter(void **state)
{
    (void)state;
    struct form *f = good("{\"_charset_\":\"koi8-r\",\"q\":\"\xc3\xa9\"}");
    assert_int_equal(form_count(f), 2);
    assert_field(f, 0, "_charset_", "koi8-r");
    assert_field(f, 1, "q", "\xc3\xa9");
    form_free(f);
}

static void nesting_is_malformed_in_words(void **state)
{
    (void)state;
    assert_malformed("{\"a\":{}}", "nested");
    assert_malformed("{\"a\":[[1]]}", "nested");
    assert_malformed("{\"a\":[{\"b\":1}]}", "nested");
}

static void what_is_no_object_is_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {"[1]", "\"a\"", "1", "null", "x", "}", ","};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_malformed(bad[i], "object");
    }
}

static void object_that_is_not_exact_is_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{,}",
        "{a:1}",
        "{'a':1}",
        "{\"a\"}",
        "{\"a\" 1}",
        "{\"a\":}",
        "{\"a\":,}",
        "{\"a\":1,}",
        "{\"a\":1,,\"b\":2}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1]",
        "{\"a\":[1}",
        "{\"a\":[,]}",
        "{\"a\":[1,]}",
        "{\"a\":[1 2]}",
        "{\"a\":]}",
        "{\"a\":tru}",
        "{\"a\":True}",
        "{\"a\":truex}",
        "{\"a\":nul",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\u 123\"}",
        "{}x",
        "{}{}",
        "{} ,",
        "{\"a\":1}\v",
        "/* */{}",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_malformed(bad[i], "The JSON");
    }
    struct form *f = parse("{}\0", 3);
    assert_int_equal(form_error(f), FORM_MALFORMED);
    form_free(f);
}

static void object_that_is_cut_off_is_malformed(void **state)
{
    (void)state;
    static const char whole[] = "{\"a\":\"\\u00e9\\n\",\"b\":[-1.5e+3,true]}";
    for (size_t len = 0; len < sizeof(whole) - 1; len++) {
        struct form *f = parse(whole, len);
        assert_int_equal(form_error(f), FORM_MALFORMED);
        assert_non_null(strstr(form_why(f), "ends"));
        form_free(f);
    }
    form_free(good(whole));
}

static enum form_error limited(const char *text, struct form_limits limits)
{
    struct body b = {.kind = FORM_JSON, .limits = limits, .bytes = text, .len = strlen(text)};
    struct form *f = body_parse(&b, 0, 0);
    enum form_error error = form_error(f);
    form_free(f);
    return error;
}

static void limits_are_exact(void **state)
{
    (void)state;
    assert_int_equal(limited("{\"a\":[1,2,3]}", (struct form_limits){.body = 13, .fields = 3}), FORM_OK);
    assert_int_equal(limited("{\"a\":[1,2,3]}", (struct form_limits){.body = 13, .fields = 2}),
                     FORM_TOO_MANY);
    assert_int_equal(limited("{\"a\":[1,2,3]}", (struct form_limits){.body = 12, .fields = 3}),
                     FORM_TOO_LARGE);
    char text[400] = "{\"";
    memset(text + 2, 'n', FIELD_NAME_MAX + 1);
    memcpy(text + 2 + FIELD_NAME_MAX, "\":1}", 5);
    assert_int_equal(limited(text, roomy), FORM_OK);
    memcpy(text + 2 + FIELD_NAME_MAX, "n\":1}", 6);
    assert_int_equal(limited(text, roomy), FORM_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(object_becomes_fields_in_order),
        cmocka_unit_test(arrays_and_repeated_names_are_repeats),
        cmocka_unit_test(numbers_are_kept_as_written),
        cmocka_unit_test(numbers_that_json_does_not_know_are_malformed),
        cmocka_unit_test(escapes_become_characters),
        cmocka_unit_test(lone_surrogates_are_replaced_and_said),
        cmocka_unit_test(nul_is_shown_and_said),
        cmocka_unit_test(text_that_is_not_utf8_is_malformed),
        cmocka_unit_test(charset_claims_do_not_matter),
        cmocka_unit_test(nesting_is_malformed_in_words),
        cmocka_unit_test(what_is_no_object_is_malformed),
        cmocka_unit_test(object_that_is_not_exact_is_malformed),
        cmocka_unit_test(object_that_is_cut_off_is_malformed),
        cmocka_unit_test(limits_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
