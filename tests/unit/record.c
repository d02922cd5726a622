/* record.c and table.c: the fields for programs, spreadsheets and readers of HTML. */

#include "bridge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BOM "\xEF\xBB\xBF"

static struct form *form;
static struct buf text;

static int setup(void **state)
{
    (void)state;
    const struct form_limits limits = {.body = 1 << 20, .fields = 20000, .files = 100};
    form = form_new(FORM_URLENCODED, NULL, NULL, &limits);
    buf_init(&text, 16 << 20);
    return form == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    form_free(form);
    buf_free(&text);
    return 0;
}

static struct field *add(const char *name, const char *value)
{
    struct field *f = form_add(form);
    assert_non_null(f);
    buf_str(&f->name, name);
    buf_str(&f->value, value);
    return f;
}

static void decode_base64(const struct buf *in)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < in->len; i++) {
        const char *digit = memchr(digits, in->data[i], 64);
        if (digit != NULL) {
            bits = bits << 6 | (uint32_t)(digit - digits);
            have += 6;
        }
        if (have >= 8) {
            have -= 8;
            buf_byte(&text, (unsigned char)(bits >> have));
        }
    }
}

static unsigned char hex_digit(unsigned char c)
{
    return (unsigned char)(c <= '9' ? c - '0' : c - 'A' + 10);
}

static void decode_qp(const struct buf *in)
{
    for (size_t i = 0; i < in->len; i++) {
        const unsigned char *s = in->data + i;
        if (*s != '=') {
            buf_byte(&text, *s);
        } else if (s[1] == '\n') {
            i++;
        } else {
            buf_byte(&text, (unsigned char)(hex_digit(s[1]) << 4 | hex_digit(s[2])));
            i += 2;
        }
    }
}

typedef bool writer(const struct message *m, struct sink *out);

static const char *written(writer *write, void (*decode)(const struct buf *))
{
    const struct message m = {.form = "order", .ref = "7K2M-Q9XD-4TRW", .time = 1795305136, .fields = form};
    struct buf raw;
    struct buf_sink s;
    buf_init(&raw, 16 << 20);
    buf_clear(&text);
    buf_sink(&s, &raw);
    assert_true(write(&m, &s.sink));
    decode(&raw);
    buf_free(&raw);
    return buf_text(&text);
}

static const char *csv(void)
{
    return written(record_csv, decode_base64);
}

static const char *json(void)
{
    return written(record_json, decode_base64);
}

static const char *html(void)
{
    return written(table_write, decode_qp);
}

static void add_photo(void)
{
    struct field *f = add("photo", "12345");
    f->file = true;
    buf_str(&f->filename, "C:\\=x\\me \"1\".jpg");
    buf_str(&f->type, "image/jpeg");
}

#define CSV_HEAD BOM "\"Receipt\",\"Received (UTC)\""
#define CSV_REF  "\"7K2M-Q9XD-4TRW\",\"2026-11-21 23:52:16\""

static void a_csv_has_a_line_of_labels_and_a_line_of_values(void **state)
{
    (void)state;
    add("name", "Ada \"the\" first, of\r\nher kind")->label = "Your name";
    add("size", "");
    add_photo();
    assert_string_equal(csv(),
                        CSV_HEAD ",\"Your name\",\"size\",\"photo\"\r\n" CSV_REF
                                 ",\"Ada \"\"the\"\" first, of\r\nher kind\",\"\",\"me \"\"1\"\".jpg\"\r\n");
}

static void fields_of_one_name_share_a_column(void **state)
{
    (void)state;
    add("color", "");
    add("color", "red");
    add("name", "Ada");
    add("color", "blue");
    add("color", "=green");
    assert_string_equal(csv(),
                        CSV_HEAD ",\"color\",\"name\"\r\n" CSV_REF ",\"red\r\nblue\r\n=green\",\"Ada\"\r\n");
}

static void no_cell_is_a_formula(void **state)
{
    (void)state;
    static const char *const formulas[] = {"=1+1", "+49 30 1", "-2",      "@SUM(A1)", "\t=1",   "\r=1",
                                           "\n=1", "\uFF1D1",  "\uFF0B1", "\uFF0D1",  "\uFF201"};
    for (size_t i = 0; i < COUNT(formulas); i++) {
        teardown(NULL);
        setup(NULL);
        add(formulas[i], formulas[i]);
        char expected[256];
        text_fmt(expected, sizeof expected, CSV_HEAD ",\"'%s\"\r\n" CSV_REF ",\"'%s\"\r\n", formulas[i],
                 formulas[i]);
        assert_string_equal(csv(), expected);
    }
}

static void a_form_without_fields_is_still_a_record(void **state)
{
    (void)state;
    assert_string_equal(csv(), CSV_HEAD "\r\n" CSV_REF "\r\n");
    assert_string_equal(json(), "{\n  \"form\": \"order\", \"receipt\": \"7K2M-Q9XD-4TRW\", "
                                "\"received\": \"2026-11-21T23:52:16Z\",\n  \"fields\": [\n  ]\n}\n");
}

static void json_is_exact(void **state)
{
    (void)state;
    add("name", "Ada \"\\\" \x01\x7F\t\r\n\u2028")->label = "Your \"name\"";
    add("name", "");
    add_photo();
    add("x", "\xFF");
    assert_string_equal(strstr(json(), "[\n"),
                        "[\n"
                        "    {\"name\": \"name\", \"label\": \"Your \\\"name\\\"\", "
                        "\"value\": \"Ada \\\"\\\\\\\" \\u0001\\u007f\\u0009\\u000d\\u000a\u2028\"},\n"
                        "    {\"name\": \"name\", \"value\": \"\"},\n"
                        "    {\"name\": \"photo\", \"file\": \"me \\\"1\\\".jpg\", \"type\": \"image/jpeg\", "
                        "\"size\": 5},\n"
                        "    {\"name\": \"x\", \"value\": \"\uFFFD\"}\n  ]\n}\n");
}

static void hidden_fields_are_in_none(void **state)
{
    (void)state;
    add("a", "hunter2")->hidden = true;
    add("a", "shown");
    add("b", "hunter2")->hidden = true;
    assert_string_equal(csv(), CSV_HEAD ",\"a\"\r\n" CSV_REF ",\"shown\"\r\n");
    assert_null(strstr(json(), "hunter2"));
    assert_null(strstr(html(), "hunter2"));
}

static void html_escapes_what_was_typed(void **state)
{
    (void)state;
    add("<b>&\"'", "<script>alert('1')</script>\r\n\"x\" & y\x1B\xC2\x9B\xFF")->repaired = REPAIRED_CHARSET;
    add("a\r\nb\u202E", "\u05D0\u200F");
    const char *page = html();
    assert_non_null(strstr(page, ">&lt;b&gt;&amp;&#34;&#39;</th>\n"));
    assert_non_null(strstr(
        page, ">&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;<br>&#34;x&#34; &amp; y\u241B\uFFFD\uFFFD"
              "<br><em>was not in the encoding that the form claimed; letters may be wrong</em></td>"));
    assert_non_null(strstr(page, ">a\u240D\u240Ab\uFFFD</th>\n"));
    assert_non_null(strstr(page, ">\u05D0\u200F</td></tr>\n"));
    assert_null(strstr(page, "<script"));
}

static void html_shows_labels_uploads_and_the_footer(void **state)
{
    (void)state;
    add("name", "Ada")->label = "Your name";
    add_photo();
    const char *page = html();
    assert_non_null(strstr(
        page, ">Your name</th>\n<td dir=\"auto\" "
              "style=\"white-space:pre-wrap;overflow-wrap:anywhere;word-break:break-word\">Ada</td></tr>\n"));
    assert_non_null(strstr(page, "<em>attached, 5 bytes, me &#34;1&#34;.jpg</em></td></tr>\n"));
    assert_non_null(
        strstr(page, "Receipt: 7K2M-Q9XD-4TRW<br>Form: order<br>Received: 2026-11-21 23:52:16 UTC</p>\n"));
}

static bool put_some(struct sink *s, const void *bytes, size_t len)
{
    (void)s, (void)bytes, (void)len;
    return false;
}

static void a_sink_that_fails_is_reported(void **state)
{
    (void)state;
    add("name", "Ada");
    const struct message m = {.form = "order", .ref = "7K2M-Q9XD-4TRW", .time = 1795305136, .fields = form};
    struct sink full = {put_some};
    assert_false(record_csv(&m, &full));
    assert_false(record_json(&m, &full));
    assert_false(table_write(&m, &full));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_csv_has_a_line_of_labels_and_a_line_of_values),
        TEST(fields_of_one_name_share_a_column),
        TEST(no_cell_is_a_formula),
        TEST(a_form_without_fields_is_still_a_record),
        TEST(json_is_exact),
        TEST(hidden_fields_are_in_none),
        TEST(html_escapes_what_was_typed),
        TEST(html_shows_labels_uploads_and_the_footer),
        TEST(a_sink_that_fails_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
