/* Templates: each placeholder only where it is harmless, every mistake by its line, and a policy that allows nothing
 * else. */

#include "bridge.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *origins[] = {"https://www.example.com", "https://cdn.example.com:8443"};
static struct buf errors, out;

static int setup(void **state)
{
    (void)state;
    buf_init(&errors, 65536);
    buf_init(&out, PAGE_MAX);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_free(&errors);
    buf_free(&out);
    return 0;
}

static struct template *parse(enum template_kind kind, const char *text, size_t origin_count)
{
    buf_clear(&errors);
    return template_parse(kind, "t", text, strlen(text), origins, origin_count, &errors);
}

static void put_number(struct buf *b, enum template_place place, const void *arg)
{
    buf_fmt(b, "[%s%u]", (const char *)arg, place);
}

static void takes(const char *text, const char *written)
{
    char all[1000];
    assert_true(text_fmt(all, sizeof all, "%s{{receipt}}", text));
    struct template *t = parse(TEMPLATE_RECEIPT, all, 2);
    if (t == NULL) {
        fail_msg("%s: %s", text, buf_text(&errors));
    }
    buf_clear(&out);
    template_write(&out, t, put_number, "#");
    assert_true(text_fmt(all, sizeof all, "%s[#%u]", written, PLACE_RECEIPT));
    assert_string_equal(buf_text(&out), all);
    template_free(t);
}

/* words: what the one line says behind "t:". */
static void refuses(enum template_kind kind, const char *text, const char *words)
{
    struct template *t = parse(kind, text, 2);
    assert_null(t);
    const char *said = buf_text(&errors);
    if (strncmp(said, "t:", 2) != 0 || strstr(said, words) != said + 2 ||
        strchr(said, '\n') != said + errors.len - 1) {
        fail_msg("for %s\nwanted \"t:%s...\", got:\n%s", text, words, said);
    }
}

static void a_placeholder_stands_in_text_and_in_quotes(void **state)
{
    (void)state;
    takes("", "");
    takes("<p>{{form}}</p>", "<p>[#3]</p>");
    takes("{{lang}}{{dir}}", "[#0][#1]");
    takes("<a href=\"{{site}}\" title='{{back}}'>x</a>", "<a href=\"[#6]\" title='[#7]'>x</a>");
    takes("<title>{{title}} < {{form}}</title>", "<title>[#4] < [#3]</title>");
    takes("a < b {{form}} <3 </ >", "a < b [#3] <3 </ >");
    takes("<style>a{b:{c}}</style>{{form}}", "<style>a{b:{c}}</style>[#3]");
    takes("<!-- <p class=\" -->{{form}}", "<!-- <p class=\" -->[#3]");
    takes("<input value = \"{{form}}\"disabled>", "<input value = \"[#3]\"disabled>");
    takes("{ {form} }", "{ {form} }");
}

static void anywhere_else_it_is_a_mistake(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "<p class={{form}}>{{receipt}}",
        "<p {{form}}>{{receipt}}",
        "<p x{{form}}=\"\">{{receipt}}",
        "<!-- {{form}} -->{{receipt}}",
        "<style>p{color:{{form}}}</style>{{receipt}}",
        "<STYLE >{{form}}</sTyle>{{receipt}}",
        "<p class=a{{form}}>{{receipt}}",
        "<{{form}}>{{receipt}}",
        "<h{{form}}>{{receipt}}",
        "</{{form}}>{{receipt}}",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        refuses(TEMPLATE_RECEIPT, texts[i],
                "1: {{form}} can only stand between tags or in a quoted attribute");
    }
    refuses(TEMPLATE_INVALID, "<p class=\"{{errors}}\"></p>{{errors}}{{fields}}",
            "1: {{errors}} is markup: it can only stand between tags");
    refuses(TEMPLATE_INVALID, "<form></form>\n<FORM action=x>{{fields}}</form>{{errors}}{{fields}}",
            "2: {{fields}} is a form of its own");
    refuses(TEMPLATE_INVALID, "<textarea>{{fields}}</textarea>{{errors}}{{fields}}",
            "1: {{fields}} is markup: it can only stand between tags");
}

static void each_mistake_is_said_by_its_line(void **state)
{
    (void)state;
    refuses(TEMPLATE_RECEIPT, "\n\n{{reciept}}{{receipt}}",
            "3: \"reciept\" is no placeholder of receipt.html: there are lang, dir, style, form");
    refuses(TEMPLATE_RECEIPT, "\n{{errors}}{{receipt}}", "2: \"errors\" is no placeholder of receipt.html");
    refuses(TEMPLATE_RECEIPT, "{{receipt}}\n{{form", "2: \"{{\" without \"}}\"");
    refuses(TEMPLATE_RECEIPT, "{{receipt}}{{fo\nrm}}", "1: \"{{\" without \"}}\"");
    refuses(TEMPLATE_RECEIPT, "{{receipt}}\n<script>1</script>", "2: no script runs");
    refuses(TEMPLATE_RECEIPT, "{{receipt}}\n\n<b ONclick=\"1\">", "3: \"ONclick\" is a script");
    refuses(TEMPLATE_RECEIPT, "{{receipt}}<b style='x'>", "1: a style attribute");
    refuses(TEMPLATE_RECEIPT, "{{receipt}}<b/style=x>", "1: a style attribute");
    refuses(TEMPLATE_RECEIPT, "{{receipt}}<style>a", "1: <style> without </style>");
    refuses(TEMPLATE_RECEIPT, "{{receipt}}<title>", "1: <title> without </title>");
    refuses(TEMPLATE_RECEIPT, "{{receipt}}\n<b ", "2: a tag without");
    refuses(TEMPLATE_RECEIPT, "{{receipt}}\xff", "1: this is not text in UTF-8");
    refuses(TEMPLATE_RECEIPT, "hello", "1: there is no {{receipt}}: without it");
    refuses(TEMPLATE_ERROR, "{{message}}", "1: there is no {{stored}}");
    refuses(TEMPLATE_INVALID, "{{errors}}", "1: there is no {{fields}}");
    assert_null(parse(TEMPLATE_RECEIPT, "<b style=''>\n<script>\n{{x}}{{receipt}}", 0));
    assert_non_null(strstr(buf_text(&errors), "t:1: "));
    assert_non_null(strstr(buf_text(&errors), "\nt:2: "));
    assert_non_null(strstr(buf_text(&errors), "\nt:3: "));
}

static void a_nul_is_no_text(void **state)
{
    (void)state;
    assert_null(template_parse(TEMPLATE_RECEIPT, "t", "{{receipt}}\0", 12, origins, 1, &errors));
    assert_null(template_parse(TEMPLATE_RECEIPT, "t", NULL, 0, origins, 1, &errors));
}

static void the_site_must_be_known_to_lead_back_to_it(void **state)
{
    (void)state;
    assert_null(parse(TEMPLATE_RECEIPT, "{{receipt}}<a href=\"{{site}}\">", 0));
    assert_non_null(strstr(buf_text(&errors), "set origins of the form"));
    struct template *t = parse(TEMPLATE_RECEIPT, "{{receipt}}<a href=\"{{site}}\">", 1);
    assert_non_null(t);
    template_free(t);
}

static void policy_is(const char *text, size_t count, const char *policy)
{
    struct template *t = parse(TEMPLATE_RECEIPT, text, count);
    assert_non_null(t);
    assert_string_equal(template_policy(t), policy);
    template_free(t);
}

/* The hash is the browser's, which has made LF of them. */
static void line_ends_of_any_kind_make_the_same_page(void **state)
{
    (void)state;
    static const char *const texts[] = {"<style>\na{}\n</style>\n{{receipt}}\n",
                                        "<style>\r\na{}\r\n</style>\r\n{{receipt}}\r\n",
                                        "<style>\ra{}\r</style>\r{{receipt}}\r"};
    struct template *first = parse(TEMPLATE_RECEIPT, texts[0], 0);
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct template *t = parse(TEMPLATE_RECEIPT, texts[i], 0);
        buf_clear(&out);
        template_write(&out, t, put_number, "#");
        assert_string_equal(buf_text(&out), "<style>\na{}\n</style>\n[#8]\n");
        assert_string_equal(template_policy(t), template_policy(first));
        template_free(t);
    }
    template_free(first);
    refuses(TEMPLATE_RECEIPT, "a\r\n\rb{{no}}{{receipt}}", "3: \"no\" is no placeholder");
}

static void the_policy_allows_what_the_template_brings_and_the_sites_pictures(void **state)
{
    (void)state;
    policy_is("{{receipt}}", 0, "default-src 'none'; base-uri 'none'; frame-ancestors 'none'");
    /* printf 'a{}' | openssl sha256 -binary | base64 */
    policy_is("<style>a{}</style>{{receipt}}", 0,
              "default-src 'none'; style-src 'sha256-X1RutGBrXCt9KkSaXMK7tHftWiRscFHOhxsS8tv8hBk='; base-uri "
              "'none'; "
              "frame-ancestors 'none'");
    policy_is("{{receipt}}", 2,
              "default-src 'none'; style-src https://www.example.com https://cdn.example.com:8443; img-src "
              "https://www.example.com https://cdn.example.com:8443; font-src https://www.example.com "
              "https://cdn.example.com:8443; base-uri 'none'; frame-ancestors 'none'");
    struct template *t = parse(TEMPLATE_RECEIPT, "{{style}}{{receipt}}", 0);
    assert_non_null(t);
    const char *hash = strstr(page_csp(), "'sha256-");
    assert_memory_equal(strstr(template_policy(t), "'sha256-"), hash, strcspn(hash, ";"));
    template_free(t);
}

static void too_much_is_a_mistake_too(void **state)
{
    (void)state;
    for (size_t i = 0; i < 300; i++) {
        buf_str(&out, "{{receipt}}");
    }
    assert_null(parse(TEMPLATE_RECEIPT, buf_text(&out), 0));
    assert_non_null(strstr(buf_text(&errors), "more than 255 placeholders"));
    buf_clear(&out);
    buf_str(&out, "{{receipt}}");
    for (size_t i = 0; i < 100; i++) {
        buf_str(&out, "<style></style>");
    }
    assert_null(parse(TEMPLATE_RECEIPT, buf_text(&out), 0));
    assert_non_null(strstr(buf_text(&errors), "too many <style> elements"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_placeholder_stands_in_text_and_in_quotes),
        TEST(anywhere_else_it_is_a_mistake),
        TEST(each_mistake_is_said_by_its_line),
        TEST(a_nul_is_no_text),
        TEST(the_site_must_be_known_to_lead_back_to_it),
        TEST(line_ends_of_any_kind_make_the_same_page),
        TEST(the_policy_allows_what_the_template_brings_and_the_sites_pictures),
        TEST(too_much_is_a_mistake_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
