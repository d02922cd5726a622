/* The fields of a body, Content-Type values, urlencoded bodies, and the way to UTF-8. */

#include "tests/form_body.h"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct form_limits roomy = {.body = 65536, .fields = 100, .files = 10};

static struct form *parse(const char *bytes, size_t len, const char *charset)
{
    struct body b = {
        .kind = FORM_URLENCODED, .charset = charset, .limits = roomy, .bytes = bytes, .len = len};
    struct form *f = body_parse(&b, 0, 0);
    assert_non_null(f);
    return f;
}

static struct form *good(const char *text, const char *charset)
{
    struct form *f = parse(text, strlen(text), charset);
    assert_string_equal(form_why(f), "");
    assert_int_equal(form_error(f), FORM_OK);
    return f;
}

static void assert_bytes(const struct buf *b, const char *want, size_t len)
{
    assert_int_equal(b->len, len);
    assert_memory_equal(b->len == 0 ? (const void *)"" : b->data, want, len);
}

static void assert_field(struct form *f, size_t i, const char *name, const char *value)
{
    struct field *field = form_field(f, i);
    assert_non_null(field);
    assert_bytes(&field->name, name, strlen(name));
    assert_bytes(&field->value, value, strlen(value));
}

static void assert_error(const char *body, enum form_error error, const char *word)
{
    struct form *f = parse(body, strlen(body), NULL);
    assert_int_equal(form_error(f), error);
    assert_non_null(strstr(form_why(f), word));
    form_free(f);
}

/* One field of this value, and its repair marks. */
static void assert_text(const char *body, const char *charset, const char *value, unsigned repaired)
{
    struct form *f = good(body, charset);
    assert_int_equal(form_count(f), 1);
    assert_field(f, 0, "q", value);
    assert_int_equal(form_field(f, 0)->repaired, repaired);
    form_free(f);
}

/* ---- Content-Type ---------------------------------------------------------------------------- */

static bool content_type(const char *value, enum form_kind *kind, const char *boundary, const char *charset)
{
    struct buf b, c;
    buf_init(&b, 100);
    buf_init(&c, 100);
    bool ok = form_content_type(value, kind, &b, &c);
    if (ok) {
        assert_bytes(&b, boundary, strlen(boundary));
        assert_bytes(&c, charset, strlen(charset));
    }
    buf_free(&b);
    buf_free(&c);
    return ok;
}

static void content_type_finds_kind_boundary_and_charset(void **state)
{
    (void)state;
    enum form_kind k;
    assert_true(content_type("application/x-www-form-urlencoded", &k, "", ""));
    assert_int_equal(k, FORM_URLENCODED);
    assert_true(content_type("Application/X-WWW-Form-Urlencoded; charset=UTF-8", &k, "", "UTF-8"));
    assert_int_equal(k, FORM_URLENCODED);
    assert_true(content_type("application/json;charset=\"utf-8\";", &k, "", "utf-8"));
    assert_int_equal(k, FORM_JSON);
    assert_true(content_type("multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxk", &k,
                             "----WebKitFormBoundary7MA4YWxk", ""));
    assert_int_equal(k, FORM_MULTIPART);
    assert_true(content_type("multipart/form-data; boundary=X; charset=utf-8", &k, "X", "utf-8"));
    assert_true(
        content_type("multipart/form-data; charset=utf-8 ;\tBOUNDARY=\"a\\b c\"", &k, "ab c", "utf-8"));
    assert_true(content_type("multipart/form-data; boundary==_/(x):?", &k, "=_/(x):?", ""));
    assert_true(content_type("multipart/form-data; q=\"a;boundary=no\"; boundary=yes", &k, "yes", ""));
}

static void content_type_refuses_what_two_readers_could_take_differently(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "text/plain",
        "application",
        "application/",
        "/json",
        "application/json x",
        "application/jsonx",
        "application/json; charset",
        "application/json; charset=",
        "application/json; charset=\"\"",
        "application/json; charset=\"utf-8",
        "application/json; charset=a; charset=b",
        "application/json, text/plain",
        "application/json; charset=utf-8, text/plain",
        "application/json; charset =utf-8",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=\"a \"",
        "multipart/form-data; boundary=\"a\rb\"",
        "multipart/form-data; boundary=a\"b\"",
        "multipart/form-data; boundary=a_\xc3\xa9",
        "multipart/form-data; boundary=a*b",
        "multipart/form-data; boundary=\"a\\",
        "multipart/mixed; boundary=a",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        enum form_kind k;
        if (content_type(bad[i], &k, "?", "?")) {
            fail_msg("accepted: %s", bad[i]);
        }
    }
}

static void content_type_charset_is_of_bounded_length(void **state)
{
    (void)state;
    enum form_kind k;
    char text[200], charset[FORM_LABEL_MAX + 2];
    memset(charset, 'c', sizeof(charset));
    charset[FORM_LABEL_MAX] = '\0';
    assert_true(text_fmt(text, sizeof(text), "application/json; charset=%s", charset));
    assert_true(content_type(text, &k, "", charset));
    assert_true(text_fmt(text, sizeof(text), "application/json; charset=%sc", charset));
    assert_false(content_type(text, &k, "", ""));
}

static void content_type_boundary_has_1_to_70_bytes(void **state)
{
    (void)state;
    enum form_kind k;
    char text[200], boundary[72];
    memset(boundary, 'b', sizeof(boundary));
    boundary[70] = '\0';
    assert_true(text_fmt(text, sizeof(text), "multipart/form-data; boundary=%s", boundary));
    assert_true(content_type(text, &k, boundary, ""));
    assert_true(text_fmt(text, sizeof(text), "multipart/form-data; boundary=%sb", boundary));
    assert_false(content_type(text, &k, "", ""));
}

/* ---- urlencoded ------------------------------------------------------------------------------ */

static void urlencoded_keeps_order_repeats_and_empty_values(void **state)
{
    (void)state;
    struct form *f = good("b=2&a=1&b=3&c=&d&=e&=&f=g=h", NULL);
    assert_int_equal(form_count(f), 8);
    assert_field(f, 0, "b", "2");
    assert_field(f, 1, "a", "1");
    assert_field(f, 2, "b", "3");
    assert_field(f, 3, "c", "");
    assert_field(f, 4, "d", "");
    assert_field(f, 5, "", "e");
    assert_field(f, 6, "", "");
    assert_field(f, 7, "f", "g=h");
    assert_ptr_equal(form_find(f, "b"), form_field(f, 0));
    assert_null(form_find(f, "x"));
    assert_null(form_field(f, 8));
    form_free(f);
}

static void urlencoded_decodes_names_and_values(void **state)
{
    (void)state;
    struct form *f = good("first+name=Ada%20%26+Co%2e&%3D%25=%2B%c3%BC", NULL);
    assert_int_equal(form_count(f), 2);
    assert_field(f, 0, "first name", "Ada & Co.");
    assert_field(f, 1, "=%", "+\xc3\xbc");
    form_free(f);
}

static void urlencoded_takes_unescaped_bytes_as_they_are(void **state)
{
    (void)state;
    assert_text("q=a b\n\xc3\xbc", NULL, "a b\n\xc3\xbc", 0);
}

static void urlencoded_without_content_is_a_form_without_fields(void **state)
{
    (void)state;
    static const char *const empty[] = {"", "&", "&&&"};
    for (size_t i = 0; i < COUNT(empty); i++) {
        struct form *f = good(empty[i], NULL);
        assert_int_equal(form_count(f), 0);
        form_free(f);
    }
    struct form *f = good("&&a=1&&b=2&", NULL);
    assert_int_equal(form_count(f), 2);
    form_free(f);
}

static void urlencoded_bad_escape_is_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {"a=%",     "a=%4",   "%",      "a=%zz",  "a=%4g",
                                      "a=%&b=1", "a=%4&b", "a=%%41", "a=100%+"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_error(bad[i], FORM_MALFORMED, "%");
    }
}

static void urlencoded_result_does_not_depend_on_the_pieces(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "name=Ada+L.&mail=ada%40example.org&&item=1&item=2&e=&=&x==", "a=%C3%BC&b=%fc%00&_charset_=utf-8",
        "a=%4", "a=1&b=%zz&c=3", "_charset_=shift_jis&q=%82%a0%26%239731%3B"};
    for (size_t i = 0; i < COUNT(bodies); i++) {
        struct body b = {
            .kind = FORM_URLENCODED, .limits = roomy, .bytes = bodies[i], .len = strlen(bodies[i])};
        struct form *whole = body_parse(&b, 0, 0);
        for (size_t cut = 1; cut <= b.len; cut++) {
            struct form *two = body_parse(&b, cut, 0), *small = body_parse(&b, cut, 1);
            assert_true(body_same(whole, two));
            assert_true(body_same(whole, small));
            form_free(two);
            form_free(small);
        }
        form_free(whole);
    }
}

/* ---- limits ---------------------------------------------------------------------------------- */

static enum form_error limited(const char *text, struct form_limits limits)
{
    struct body b = {.kind = FORM_URLENCODED, .limits = limits, .bytes = text, .len = strlen(text)};
    struct form *f = body_parse(&b, 1, 1);
    enum form_error error = form_error(f);
    form_free(f);
    return error;
}

static void limit_of_fields_and_body_is_exact(void **state)
{
    (void)state;
    assert_int_equal(limited("a&b&c", (struct form_limits){.body = 5, .fields = 3}), FORM_OK);
    assert_int_equal(limited("a&b&c", (struct form_limits){.body = 5, .fields = 2}), FORM_TOO_MANY);
    assert_int_equal(limited("a&b&c", (struct form_limits){.body = 4, .fields = 3}), FORM_TOO_LARGE);
    assert_int_equal(limited("", (struct form_limits){.body = 0, .fields = 0}), FORM_OK);
}

static void limit_of_a_name_is_exact_in_the_body_and_in_utf8(void **state)
{
    (void)state;
    char body[600];
    memset(body, 'n', sizeof(body));
    memcpy(body + FIELD_NAME_MAX, "=1", 3);
    struct form *f = good(body, NULL);
    assert_int_equal(form_field(f, 0)->name.len, FIELD_NAME_MAX);
    form_free(f);
    body[FIELD_NAME_MAX] = 'n';
    assert_error(body, FORM_TOO_LARGE, "256");
    memset(body, '\xe9', 200); /* two bytes each in UTF-8 */
    memcpy(body + 200, "=1", 3);
    f = parse(body, strlen(body), "latin1");
    assert_int_equal(form_error(f), FORM_TOO_LARGE);
    form_free(f);
}

static void after_an_error_nothing_is_taken_and_the_first_reason_stays(void **state)
{
    (void)state;
    struct form *f = form_new(FORM_URLENCODED, NULL, NULL, &roomy);
    assert_false(form_feed(f, "a=%x", 4));
    const char *why = form_why(f);
    assert_false(form_feed(f, "b=1", 3));
    assert_false(form_end(f));
    assert_ptr_equal(form_why(f), why);
    assert_int_equal(form_error(f), FORM_MALFORMED);
    form_free(f);
    form_free(NULL);
}

static void memory_is_counted_while_it_grows(void **state)
{
    (void)state;
    struct form *f = form_new(FORM_URLENCODED, NULL, NULL, &roomy);
    size_t before = form_memory(f);
    assert_true(form_feed(f, "a=", 2));
    char block[1000];
    memset(block, 'x', sizeof(block));
    size_t fed = 0;
    for (; fed < 20000; fed += sizeof(block)) {
        assert_true(form_feed(f, block, sizeof(block)));
        assert_true(form_memory(f) >= before + fed + sizeof(block));
    }
    assert_true(form_memory(f) < before + 4 * fed);
    assert_true(form_feed(f, "&b=1", 4));
    assert_true(form_memory(f) >= before + fed);
    assert_true(form_end(f));
    assert_true(form_memory(f) >= before + fed);
    form_free(f);
}

static void memory_of_the_parsers_is_counted(void **state)
{
    (void)state;
    struct buf boundary;
    buf_init(&boundary, 10);
    buf_str(&boundary, "B");
    char block[4000];
    memset(block, 'x', sizeof(block));
    struct form *f = form_new(FORM_MULTIPART, &boundary, NULL, &roomy);
    assert_true(form_feed(f, "--B\r\n", 5));
    size_t before = form_memory(f);
    assert_true(form_feed(f, block, sizeof(block))); /* a header line without its end */
    assert_true(form_memory(f) >= before + sizeof(block));
    form_free(f);
    buf_free(&boundary);
    f = form_new(FORM_JSON, NULL, NULL, &roomy);
    before = form_memory(f);
    assert_true(form_feed(f, "{\"", 2));
    assert_true(form_feed(f, block, FIELD_NAME_MAX)); /* a name whose value is still to come */
    assert_true(form_memory(f) >= before + FIELD_NAME_MAX);
    form_free(f);
}

/* ---- encodings ------------------------------------------------------------------------------- */

static void utf8_is_kept_byte_for_byte(void **state)
{
    (void)state;
    assert_text("q=%EF%BB%BF%C3%BC%E2%82%AC%F0%9F%98%80%0D%0A", NULL,
                "\xef\xbb\xbf\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\r\n", 0);
}

static void what_is_not_utf8_is_read_as_windows_1252_and_says_so(void **state)
{
    (void)state;
    assert_text("q=M%FCller+%80", NULL, "M\xc3\xbcller \xe2\x82\xac", REPAIRED_CHARSET);
    assert_text("q=M%FCller", "utf-8", "M\xc3\xbcller", REPAIRED_CHARSET);
    assert_text("q=%C0%80", NULL, "\xc3\x80\xe2\x82\xac", REPAIRED_CHARSET);
    assert_text("q=%ED%A0%80", NULL, "\xc3\xad\xc2\xa0\xe2\x82\xac", REPAIRED_CHARSET);
}

static void charset_of_the_content_type_is_used(void **state)
{
    (void)state;
    assert_text("q=%E9%80", "iso-8859-1", "\xc3\xa9\xe2\x82\xac", 0);
    assert_text("q=%D0%D2%C9", "KOI8-R", "\xd0\xbf\xd1\x80\xd0\xb8", 0);
    assert_text("q=%82%A0%5C", "Shift_JIS", "\xe3\x81\x82\\", 0);
    assert_text("q=%1B%24B%24%22%1B%28B", "iso-2022-jp", "\xe3\x81\x82", 0);
    assert_text("q=%82%A0%FF", "Shift_JIS", "\xe3\x81\x82\xef\xbf\xbd", REPAIRED_CHARSET);
}

static void charset_field_outranks_the_content_type_and_is_no_field(void **state)
{
    (void)state;
    struct form *f = good("q=%FC&_charset_=windows-1251&r=1", "iso-8859-1");
    assert_int_equal(form_count(f), 2);
    assert_field(f, 0, "q", "\xd1\x8c");
    assert_field(f, 1, "r", "1");
    assert_int_equal(form_field(f, 0)->repaired, 0);
    form_free(f);
    f = good("_Charset_=++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++UTF-8&q=%C3%BC",
             "latin1");
    assert_int_equal(form_count(f), 1);
    assert_field(f, 0, "q", "\xc3\xbc");
    form_free(f);
}

static void charset_field_that_says_nothing_known_is_a_field(void **state)
{
    (void)state;
    struct form *f = good("_charset_=martian&q=1&_charset_=", NULL);
    assert_int_equal(form_count(f), 3);
    assert_field(f, 0, "_charset_", "martian");
    assert_field(f, 2, "_charset_", "");
    form_free(f);
    f = good("_charset_=x&_charset_=latin1&q=%E9", NULL);
    assert_int_equal(form_count(f), 2);
    assert_field(f, 1, "q", "\xc3\xa9");
    form_free(f);
}

static void unknown_charset_is_read_as_utf8_and_says_so_where_it_matters(void **state)
{
    (void)state;
    assert_text("q=abc", "martian", "abc", 0);
    assert_text("q=%C3%BC", "utf-16", "\xc3\xbc", REPAIRED_CHARSET);
    assert_text("q=%FC", "martian", "\xc3\xbc", REPAIRED_CHARSET);
}

static void references_are_resolved_where_the_encoding_needed_them(void **state)
{
    (void)state;
    assert_text("q=%26%238364%3B", "koi8-r", "\xe2\x82\xac", 0);
    assert_text("q=a%26%23128512%3Bb%26%23128%3B", "latin1",
                "a\xf0\x9f\x98\x80"
                "b\xc2\x80",
                0);
    assert_text("q=%26%23321%3B&_charset_=windows-1252", NULL, "\xc5\x81", 0);
    struct form *f = good("%26%23321%3B=1", "latin1");
    assert_field(f, 0, "\xc5\x81", "1");
    form_free(f);
}

static void what_looks_like_a_reference_is_text_otherwise(void **state)
{
    (void)state;
    assert_text("q=%26%238364%3B", NULL, "&#8364;", 0);
    assert_text("q=%26%238364%3B", "utf-8", "&#8364;", 0);
    assert_text("q=%26%2360%3B%26%23127%3B%26%230%3B", "latin1", "&#60;&#127;&#0;", 0);
    assert_text("q=%26%23x20AC%3B%26amp%3B", "latin1", "&#x20AC;&amp;", 0);
    assert_text("q=%26%238364", "latin1", "&#8364", 0);
    assert_text("q=%26%2308364%3B", "latin1", "&#08364;", 0);
    assert_text("q=%26%2355296%3B%26%231114112%3B", "latin1", "&#55296;&#1114112;", 0);
    assert_text("q=%26%2399999999999999%3B", "latin1", "&#99999999999999;", 0);
    assert_text("q=%26%26%238364%3B%3B", "latin1", "&\xe2\x82\xac;", 0);
}

static void nul_is_shown_and_said(void **state)
{
    (void)state;
    assert_text("q=a%00b%00", NULL,
                "a\xe2\x90\x80"
                "b\xe2\x90\x80",
                REPAIRED_NUL);
    assert_text("q=%00%FC", NULL, "\xe2\x90\x80\xc3\xbc", REPAIRED_NUL | REPAIRED_CHARSET);
    assert_text("q=%00", "koi8-r", "\xe2\x90\x80", REPAIRED_NUL);
    struct form *f = good("a%00=1", NULL);
    assert_field(f, 0, "a\xe2\x90\x80", "1");
    assert_int_equal(form_field(f, 0)->repaired, REPAIRED_NUL);
    form_free(f);
}

static int open_converters(void **state)
{
    (void)state;
    charset_open();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_type_finds_kind_boundary_and_charset),
        cmocka_unit_test(content_type_refuses_what_two_readers_could_take_differently),
        cmocka_unit_test(content_type_charset_is_of_bounded_length),
        cmocka_unit_test(content_type_boundary_has_1_to_70_bytes),
        cmocka_unit_test(urlencoded_keeps_order_repeats_and_empty_values),
        cmocka_unit_test(urlencoded_decodes_names_and_values),
        cmocka_unit_test(urlencoded_takes_unescaped_bytes_as_they_are),
        cmocka_unit_test(urlencoded_without_content_is_a_form_without_fields),
        cmocka_unit_test(urlencoded_bad_escape_is_malformed),
        cmocka_unit_test(urlencoded_result_does_not_depend_on_the_pieces),
        cmocka_unit_test(limit_of_fields_and_body_is_exact),
        cmocka_unit_test(limit_of_a_name_is_exact_in_the_body_and_in_utf8),
        cmocka_unit_test(after_an_error_nothing_is_taken_and_the_first_reason_stays),
        cmocka_unit_test(memory_is_counted_while_it_grows),
        cmocka_unit_test(memory_of_the_parsers_is_counted),
        cmocka_unit_test(utf8_is_kept_byte_for_byte),
        cmocka_unit_test(what_is_not_utf8_is_read_as_windows_1252_and_says_so),
        cmocka_unit_test(charset_of_the_content_type_is_used),
        cmocka_unit_test(charset_field_outranks_the_content_type_and_is_no_field),
        cmocka_unit_test(charset_field_that_says_nothing_known_is_a_field),
        cmocka_unit_test(unknown_charset_is_read_as_utf8_and_says_so_where_it_matters),
        cmocka_unit_test(references_are_resolved_where_the_encoding_needed_them),
        cmocka_unit_test(what_looks_like_a_reference_is_text_otherwise),
        cmocka_unit_test(nul_is_shown_and_said),
    };
    return cmocka_run_group_tests(tests, open_converters, NULL);
}
