/* Pages: what a visitor typed stays text, nothing of it is lost, and what a page says is true. */

#include "bridge.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *required[] = {"name", "item"};
static char *origins[] = {"https://www.example.com"};
static struct form_conf order = {
    .name = "order",
    .title = "Order",
    .origins = origins,
    .origin_count = 1,
    .required = required,
    .required_count = 2,
};

static const struct page_style style = {.form = &order};

/* What tries to leave the place it is written to. */
static const char *const hostile[] = {
    "\"><script>alert(1)</script>",
    "' autofocus onfocus='alert(1)",
    "</textarea><script>alert(1)</script>",
    "\r\n</textarea><script>",
    "</title></style><script>",
    "<!--<script>",
    "{}<script>%s%n",
};

static struct buf out;

static int setup(void **state)
{
    (void)state;
    buf_init(&out, PAGE_MAX);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_free(&out);
    return 0;
}

static const char *text(void)
{
    assert_true(buf_ok(&out));
    const char *content = buf_text(&out);
    assert_non_null(content);
    return content;
}

static bool has(const char *part)
{
    return strstr(text(), part) != NULL;
}

static unsigned times(const char *part)
{
    unsigned n = 0;
    for (const char *p = strstr(text(), part); p != NULL; p = strstr(p + 1, part)) {
        n++;
    }
    return n;
}

/* ---- forms to show --------------------------------------------------------------------------- */

static void put_encoded(struct buf *body, const char *value)
{
    for (; *value != '\0'; value++) {
        buf_fmt(body, "%%%02X", (unsigned char)*value);
    }
}

/* A form of pairs (name, value), the last one NULL. */
static struct form *typed(const char *const *pairs)
{
    const struct form_limits limits = {.body = 8 * 1024 * 1024, .fields = 100000};
    struct buf body;
    buf_init(&body, limits.body);
    for (; *pairs != NULL; pairs += 2) {
        buf_str(&body, body.len > 0 ? "&" : "");
        put_encoded(&body, pairs[0]);
        buf_byte(&body, '=');
        put_encoded(&body, pairs[1]);
    }
    struct form *f = form_new(FORM_URLENCODED, NULL, NULL, &limits);
    assert_non_null(f);
    assert_true(buf_ok(&body) && form_feed(f, body.data, body.len) && form_end(f));
    buf_free(&body);
    return f;
}

static struct form *typed_multipart(const char *body)
{
    const struct form_limits limits = {.body = 10000, .fields = 10, .files = 10};
    struct buf boundary;
    char memory[8];
    buf_borrow(&boundary, memory, sizeof memory);
    buf_str(&boundary, "limit");
    struct form *f = form_new(FORM_MULTIPART, &boundary, NULL, &limits);
    assert_non_null(f);
    assert_true(form_feed(f, body, strlen(body)) && form_end(f));
    return f;
}

static void show_invalid(const char *const *pairs, const struct rules_error *errors, size_t count)
{
    struct form *f = typed(pairs);
    page_invalid(&out, &style, f, errors, count);
    form_free(f);
}

#define PAIRS(...) ((const char *const[]){__VA_ARGS__, NULL})

static const struct rules_error name_missing = {"name", "REQUIRED_FIELD_MISSING",
                                                "Please fill in this field."};

/* ---- html.c ---------------------------------------------------------------------------------- */

static void text_cannot_become_markup(void **state)
{
    (void)state;
    html_str(&out, "<a href=\"x\" title='y'>&amp;</a>");
    assert_string_equal(text(), "&lt;a href=&#34;x&#34; title=&#39;y&#39;&gt;&amp;amp;&lt;/a&gt;");
}

static void control_characters_become_visible(void **state)
{
    (void)state;
    html_text(&out, (struct span){"\0a\x1b[1m\x7f\xc2\x80\xc2\x9f", 11});
    assert_string_equal(text(), "\u2400a\u241B[1m\u2421\uFFFD\uFFFD");
}

static void tabs_line_ends_and_letters_stay(void **state)
{
    (void)state;
    html_str(&out, "a\tb\nc\r\nd\re\r\n\r\n \u00a0\u00e9\u4f60\U0001f680");
    assert_string_equal(text(), "a\tb\nc\nd\ne\n\n \u00a0\u00e9\u4f60\U0001f680");
}

static void text_that_ends_within_a_character_is_not_read_beyond(void **state)
{
    (void)state;
    char *end = malloc(1); /* so that AddressSanitizer sees the byte after it */
    assert_non_null(end);
    *end = (char)0xC2;
    html_text(&out, (struct span){end, 1});
    *end = '\r';
    html_text(&out, (struct span){end, 1});
    free(end);
    assert_string_equal(text(), "\xC2\n");
}

static void the_argument_of_a_sentence_is_escaped_and_not_read_as_one(void **state)
{
    (void)state;
    html_sentence(&out, "Choose \"{}\" again", (struct span){"<{}%s>", 6});
    assert_string_equal(text(), "Choose &#34;&lt;{}%s&gt;&#34; again");
}

/* ---- pages ----------------------------------------------------------------------------------- */

static void the_policy_names_the_style_sheet_by_its_hash(void **state)
{
    (void)state;
    page_about(&out, &(struct page_style){0}, &(struct conf){.hostname = "forms.example.com"});
    const char *start = strstr(text(), "<style>") + strlen("<style>");
    const char *end = strstr(start, "</style>");
    unsigned char hash[32], decoded[33];
    br_sha256_context sha;
    br_sha256_init(&sha);
    br_sha256_update(&sha, start, (size_t)(end - start));
    br_sha256_out(&sha, hash);
    const char *base64 = strstr(page_csp(), "'sha256-") + strlen("'sha256-");
    assert_memory_equal(base64 + 43, "='", 2);
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    for (size_t i = 0, n = 0; i < 44; i++) {
        const char *digit = i < 43 ? strchr(digits, base64[i]) : digits;
        assert_non_null(digit);
        bits = bits << 6 | (uint32_t)(digit - digits);
        if (i % 4 == 3) {
            decoded[n++] = (unsigned char)(bits >> 16);
            decoded[n++] = (unsigned char)(bits >> 8);
            decoded[n++] = (unsigned char)bits;
        }
    }
    assert_memory_equal(decoded, hash, 32);
    assert_ptr_equal(page_csp(), page_csp());
}

static void a_receipt_shows_number_date_and_way_back(void **state)
{
    (void)state;
    page_receipt(&out, &style, "7K2M-Q9XD-4TRW", 1795305136);
    assert_true(has("<p class=\"ref\"><bdi dir=\"ltr\">7K2M-Q9XD-4TRW</bdi></p>"));
    assert_true(has("<time datetime=\"2026-11-21T23:52:16Z\">Received 2026-11-21 23:52 UTC</time>"));
    assert_true(has("<a href=\"https://www.example.com/\">Back to www.example.com</a>"));
    assert_true(has("<title>Thank you \u2013 Order</title>"));
}

static void a_receipt_does_without_title_and_origin_and_takes_any_date(void **state)
{
    (void)state;
    page_receipt(&out, &(struct page_style){.form = &(struct form_conf){.name = "order"}}, "7K2M-Q9XD-4TRW",
                 INT64_MAX);
    assert_true(has("<p class=\"kicker\">order</p>"));
    assert_true(has("7K2M-Q9XD-4TRW"));
    assert_true(has("<time datetime=\"292277026596-12-04T15:30:07Z\">"));
    assert_false(has("<a "));
}

static void a_redirect_comes_with_a_short_note_in_which_the_address_is_text(void **state)
{
    (void)state;
    page_moved(&out, &style, "7K2M-Q9XD-4TRW", "https://www.example.com/?a=\"><b>&c");
    assert_true(has("<p>7K2M-Q9XD-4TRW</p>"));
    assert_true(has("<a href=\"https://www.example.com/?a=&#34;&gt;&lt;b&gt;&amp;c\">"
                    "https://www.example.com/?a=&#34;&gt;&lt;b&gt;&amp;c</a>"));
    assert_true(out.len < 500);
}

static void every_refusal_says_that_nothing_was_stored(void **state)
{
    (void)state;
    for (unsigned status = 400; status < 600; status++) {
        buf_clear(&out);
        page_error(&out, &style, status, NULL);
        assert_true(has("Nothing was stored and nothing was sent."));
    }
}

static void a_refusal_in_the_callers_words_is_escaped(void **state)
{
    (void)state;
    page_error(&out, &style, 404,
               &(struct page_reason){.title = "No <b>such</b> form", .what = "Not \"here\"."});
    assert_true(has("<h1>No &lt;b&gt;such&lt;/b&gt; form</h1>"));
    assert_true(has("<title>No &lt;b&gt;such&lt;/b&gt; form \u2013 Error 404</title>"));
    assert_true(has("<p>Not &#34;here&#34;.</p>"));
}

static void the_demo_has_its_fields_and_marks_the_required_ones(void **state)
{
    (void)state;
    page_demo(&out, &style);
    assert_true(has("method=\"post\" enctype=\"multipart/form-data\" action=\"/f/order\""));
    static const char *const names[] = {"name", "email", "item", "quantity", "message", "photo", "consent"};
    for (size_t i = 0; i < COUNT(names); i++) {
        char attribute[32];
        assert_true(text_fmt(attribute, sizeof attribute, " name=\"%s\"", names[i]));
        assert_true(has(attribute));
    }
    assert_true(has("name=\"name\" required") && has("name=\"item\" required"));
    assert_false(has("name=\"email\" required"));
}

/* ---- the form again -------------------------------------------------------------------------- */

static void what_was_typed_comes_back_in_order_with_its_repeats(void **state)
{
    (void)state;
    show_invalid(PAIRS("colour", "red", "name", "", "colour", "blue", "colour", "red"), &name_missing, 1);
    const char *p = text();
    static const char *const expected[] = {
        "name=\"colour\" type=\"text\" dir=\"auto\" value=\"red\"",
        "name=\"name\"",
        "name=\"colour\" type=\"text\" dir=\"auto\" value=\"blue\"",
        "name=\"colour\" type=\"text\" dir=\"auto\" value=\"red\"",
    };
    for (size_t i = 0; i < COUNT(expected); i++) {
        p = strstr(p, expected[i]);
        assert_non_null(p);
        p++;
    }
    assert_int_equal(times("name=\"colour\""), 3);
    assert_true(has("<form method=\"post\" novalidate action=\"/f/order\">"));
}

static void a_wrong_field_is_marked_described_and_linked(void **state)
{
    (void)state;
    const struct rules_error errors[] = {
        name_missing,
        {"name", "MIN_LENGTH", "At least two letters."},
        {NULL, "FORM", "The form is closed."},
    };
    show_invalid(PAIRS("email", "ada@example.org", "name", ""), errors, COUNT(errors));
    assert_true(has("<li><a href=\"#f1\">Name: Please fill in this field.</a></li>"));
    assert_true(has("<li>The form is closed.</li>"));
    assert_true(has("<p class=\"wrong\" id=\"e1\">Please fill in this field. At least two letters.</p>"));
    assert_true(has("<input id=\"f1\" name=\"name\" aria-invalid=\"true\" aria-describedby=\"e1\""));
    assert_int_equal(times("aria-invalid=\"true\""), 1);
}

static void a_field_that_was_not_sent_gets_one_empty_input(void **state)
{
    (void)state;
    const struct rules_error errors[] = {
        name_missing,
        {"item", "REQUIRED_FIELD_MISSING", "Please choose."},
        {"item", "CHOICE", "Not in the list."},
    };
    show_invalid(PAIRS("name", ""), errors, COUNT(errors));
    assert_int_equal(times(" name=\"item\""), 1);
    assert_int_equal(times("<a href=\"#f2\">Item: "), 2);
    assert_true(
        has("<input id=\"f2\" name=\"item\" aria-invalid=\"true\" aria-describedby=\"e2\" type=\"text\" "
            "dir=\"auto\" value=\"\">"));
}

static void several_lines_or_long_text_get_a_textarea(void **state)
{
    (void)state;
    show_invalid(PAIRS("crlf", "a\r\nb", "cr", "a\rb", "long",
                       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "short",
                       "a"),
                 &name_missing, 1);
    assert_int_equal(times("<textarea"), 3);
    assert_true(has("dir=\"auto\">\na\nb</textarea>"));
}

static void a_leading_line_end_survives_the_textarea(void **state)
{
    (void)state;
    show_invalid(PAIRS("message", "\r\nsecond line"), &name_missing, 1);
    assert_true(has(">\n\nsecond line</textarea>"));
}

static void an_address_gets_the_keyboard_for_it(void **state)
{
    (void)state;
    show_invalid(PAIRS("email", "ada@example.org"), &name_missing, 1);
    assert_true(has("name=\"email\" type=\"email\" autocomplete=\"email\" value=\"ada@example.org\""));
}

static void control_fields_stay_hidden_unless_they_are_wrong(void **state)
{
    (void)state;
    const struct rules_error error = {"_replyto", "TYPE_EMAIL", "This is not an address."};
    show_invalid(PAIRS("_replyto", "x", "_language", "de"), &error, 1);
    assert_true(has("<input type=\"hidden\" name=\"_language\" value=\"de\">"));
    assert_true(has("<label for=\"f0\">Replyto</label>"));
    assert_true(has("name=\"_replyto\" aria-invalid=\"true\""));
    assert_int_equal(times("type=\"hidden\""), 1);
}

static void labels_are_the_names_made_readable(void **state)
{
    (void)state;
    static char long_name[FIELD_NAME_MAX + 1];
    memset(long_name, 'q', FIELD_NAME_MAX);
    show_invalid(PAIRS("date-of_birth", "", "-", "", "", "", "\u00fcber", "", long_name, ""), &name_missing,
                 1);
    assert_true(has(">Date of birth</label>"));
    assert_int_equal(times(">Unnamed field</label>"), 2);
    assert_true(has(">\u00fcber</label>"));
    long_name[0] = 'Q';
    assert_true(has(long_name));
}

static void a_file_is_asked_for_again(void **state)
{
    (void)state;
    struct form *f = typed_multipart("--limit\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nAda\r\n"
                                     "--limit\r\nContent-Disposition: form-data; name=\"_photo\"; "
                                     "filename=\"a<b>.jpg\"\r\n\r\nSECRET\r\n--limit--\r\n");
    const struct rules_error error = {"_photo", "TYPE", "This is not a picture."};
    page_invalid(&out, &style, f, &error, 1);
    form_free(f);
    assert_true(has("novalidate enctype=\"multipart/form-data\" action=\"/f/order\""));
    assert_true(has("<label for=\"f1\">Choose Photo again</label>"));
    assert_true(has("<p class=\"soft\" id=\"h1\">Files cannot be kept from one try to the next. "
                    "You had chosen: a&lt;b&gt;.jpg</p>"));
    assert_true(has(
        "<input id=\"f1\" name=\"_photo\" aria-invalid=\"true\" aria-describedby=\"e1 h1\" type=\"file\">"));
    assert_false(has("SECRET"));
}

static void a_file_is_not_hidden_by_its_name(void **state)
{
    (void)state;
    struct form *f =
        typed_multipart("--limit\r\nContent-Disposition: form-data; name=\"_photo\"; filename=\"a\"\r\n\r\n"
                        "SECRET\r\n--limit--\r\n");
    page_invalid(&out, &style, f, &name_missing, 1);
    form_free(f);
    assert_true(has("<label for=\"f0\">Choose Photo again</label>"));
    assert_true(has("name=\"_photo\" aria-describedby=\"h0\" type=\"file\">"));
}

static void nothing_breaks_out_from_any_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(hostile); i++) {
        const char *h = hostile[i];
        char *words_of_config[] = {(char *)h};
        struct form_conf f = {.name = (char *)h,
                              .title = (char *)h,
                              .required = words_of_config,
                              .required_count = 1,
                              .origins = words_of_config,
                              .origin_count = 1};
        const struct rules_error errors[] = {{h, h, h}, {"other", h, h}};
        const struct page_style hostile_style = {.form = &f};
        struct form *form = typed(PAIRS(h, h, "text", h, "_hidden", h, "email", h));
        buf_clear(&out);
        page_invalid(&out, &hostile_style, form, errors, COUNT(errors));
        page_receipt(&out, &hostile_style, h, 0);
        page_moved(&out, &hostile_style, h, h);
        page_error(&out, &hostile_style, 400, &(struct page_reason){h, h, h, h, h});
        page_about(&out, &(struct page_style){0}, &(struct conf){.hostname = (char *)h});
        page_about(&out, &hostile_style, &(struct conf){.hostname = (char *)h});
        page_demo(&out, &hostile_style);
        form_free(form);
        assert_false(has("<script") || has("<!--") || has("' autofocus"));
        assert_int_equal(times("<textarea"), times("</textarea>"));
        assert_int_equal(times("<title>"), 7);
        assert_int_equal(times("</title>"), 7);
        assert_int_equal(times("</style>"), 6);
    }
}

static void too_much_text_is_not_sent_back_and_the_visitor_is_told(void **state)
{
    (void)state;
    static char message[64 * 1024 + 1];
    memset(message, 'm', sizeof message - 1);
    show_invalid(PAIRS("name", "", "message", message), &name_missing, 1);
    assert_false(has("<form") || has("mmmm") || has("href=\"#"));
    assert_true(has("Back button"));
    assert_true(has("<li>Name: Please fill in this field.</li>"));
}

static void too_many_fields_are_not_sent_back(void **state)
{
    (void)state;
    static const char *pairs[2 * 2000 + 1];
    for (size_t i = 0; i < 2 * 2000; i++) {
        pairs[i] = "a";
    }
    show_invalid(pairs, &name_missing, 1);
    assert_false(has("<form"));
}

static void the_largest_form_fits_into_a_page(void **state)
{
    (void)state;
    static char value[60 * 1024 + 1];
    memset(value, '"', sizeof value - 1);
    show_invalid(PAIRS("message", value), &name_missing, 1);
    assert_true(has("<form"));
    buf_clear(&out);
    static char name[FIELD_NAME_MAX + 1];
    memset(name, '"', FIELD_NAME_MAX);
    static const char *pairs[2 * 165 + 1]; /* every field wrong, all its text to be escaped twice */
    for (size_t i = 0; i < 2 * 165; i += 2) {
        pairs[i] = name;
        pairs[i + 1] = "\"";
    }
    const struct rules_error error = {name, "CODE", "Please fill in this field."};
    show_invalid(pairs, &error, 1);
    assert_true(has("<form"));
}

/* A list of choices is much markup for a field without text. */
static void the_longest_lists_fit_into_a_page(void **state)
{
    (void)state;
    static char *choices[98]; /* what a line of the config holds */
    static const char *pairs[2 * 500 + 1];
    for (size_t i = 0; i < COUNT(choices); i++) {
        choices[i] = "&";
    }
    struct rule rule = {
        .name = "a", .type = FIELD_CHOICE, .choices = choices, .choice_count = COUNT(choices)};
    struct form_conf f = *style.form;
    const struct page_style listed = {.language = LANGUAGE_EN, .form = &f};
    f.rules = &rule;
    for (size_t count = 1; count <= 500; count++) {
        pairs[2 * count - 2] = pairs[2 * count - 1] = "a";
        struct form *typed_form = typed(pairs);
        buf_clear(&out);
        page_invalid(&out, &listed, typed_form, &name_missing, 1);
        assert_true(buf_ok(&out));
        form_free(typed_form);
    }
}

static void a_page_that_does_not_fit_fails_at_every_length(void **state)
{
    (void)state;
    static char memory[8 * 1024];
    struct form *f = typed(PAIRS("name", "", "message", "a\nb", "_x", "y"));
    page_invalid(&out, &style, f, &name_missing, 1);
    size_t whole = out.len;
    assert_true(buf_ok(&out) && whole < sizeof memory);
    for (size_t size = 0; size < whole; size++) {
        struct buf small;
        buf_borrow(&small, memory, size);
        page_invalid(&small, &style, f, &name_missing, 1);
        assert_false(buf_ok(&small));
    }
    form_free(f);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void json_of_success(void **state)
{
    (void)state;
    page_json_ok(&out, "7K2M-Q9XD-4TRW", "https://www.example.com/thanks.html?a=1&b=2");
    assert_string_equal(
        text(),
        "{\"ok\":true,\"id\":\"7K2M-Q9XD-4TRW\",\"next\":\"https://www.example.com/thanks.html?a=1&b=2\"}\n");
    buf_clear(&out);
    page_json_ok(&out, "7K2M-Q9XD-4TRW", NULL);
    assert_string_equal(text(), "{\"ok\":true,\"id\":\"7K2M-Q9XD-4TRW\",\"next\":\"\"}\n");
}

static void json_of_errors(void **state)
{
    (void)state;
    const struct rules_error errors[] = {name_missing, {NULL, "FORM", "Closed."}};
    page_json_error(&out, "Please check your entries", errors, COUNT(errors));
    assert_string_equal(
        text(), "{\"error\":\"Please check your entries\",\"errors\":["
                "{\"field\":\"name\",\"code\":\"REQUIRED_FIELD_MISSING\",\"message\":\"Please fill in "
                "this field.\"},{\"code\":\"FORM\",\"message\":\"Closed.\"}]}\n");
    buf_clear(&out);
    page_json_error(&out, "Nothing", NULL, 0);
    assert_string_equal(text(), "{\"error\":\"Nothing\",\"errors\":[]}\n");
}

static void json_strings_are_escaped(void **state)
{
    (void)state;
    page_json_error(&out, "\"\\\b\n\t\x01\x1f\x7f</script>\u00e9\U0001f680", NULL, 0);
    assert_string_equal(text(),
                        "{\"error\":\"\\\"\\\\\\u0008\\u000a\\u0009\\u0001\\u001f\\u007f\\u003c/script>"
                        "\u00e9\U0001f680\",\"errors\":[]}\n");
}

static void a_refusal_as_spam_has_the_form_again_with_a_new_token_and_no_trap(void **state)
{
    (void)state;
    static char *traps[] = {"_gotcha", "website"};
    struct form_conf trapped = order;
    trapped.honeypots = traps;
    trapped.honeypot_count = COUNT(traps);
    struct page_style again = {.language = LANGUAGE_EN, .form = &trapped, .token = "NEW"};
    const struct rules_error robot = {.code = "SPAM_REFUSED", .message = words(LANGUAGE_EN, W_SPAM_ROBOT)};
    struct form *f = typed((const char *const[]){"name", "A<b", "_token", "OLD", "_proof", "77", "website",
                                                 "TRAP", "_gotcha", "TRAP", "_other", "kept", NULL});
    page_spam(&out, &again, f, &robot, 1);
    assert_true(has("Nothing was stored and nothing was sent."));
    assert_true(has("as if a program had sent the form"));
    assert_true(has("value=\"A&lt;b\""));
    assert_true(has("<input type=\"hidden\" name=\"_token\" value=\"NEW\">"));
    assert_true(has("name=\"_other\" value=\"kept\""));
    assert_false(has("\"OLD\"") || has("\"77\"") || has("TRAP") || has("website") || has("_gotcha"));

    /* A token that is still good is kept, with its proof. */
    again.token = NULL;
    buf_clear(&out);
    page_spam(&out, &again, f, &robot, 1);
    assert_true(has("name=\"_token\" value=\"OLD\"") && has("name=\"_proof\" value=\"77\""));
    form_free(f);
}

static void a_token_is_told_to_scripts(void **state)
{
    (void)state;
    const struct form_conf f = {.name = "order", .proof_bits = 16, .min_time = 3};
    page_json_token(&out, &f, "TOKEN");
    assert_string_equal(text(), "{\"token\":\"TOKEN\",\"bits\":16,\"min_time\":3}\n");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(text_cannot_become_markup),
        TEST(control_characters_become_visible),
        TEST(tabs_line_ends_and_letters_stay),
        TEST(text_that_ends_within_a_character_is_not_read_beyond),
        TEST(the_argument_of_a_sentence_is_escaped_and_not_read_as_one),
        TEST(the_policy_names_the_style_sheet_by_its_hash),
        TEST(a_receipt_shows_number_date_and_way_back),
        TEST(a_receipt_does_without_title_and_origin_and_takes_any_date),
        TEST(a_redirect_comes_with_a_short_note_in_which_the_address_is_text),
        TEST(every_refusal_says_that_nothing_was_stored),
        TEST(a_refusal_in_the_callers_words_is_escaped),
        TEST(the_demo_has_its_fields_and_marks_the_required_ones),
        TEST(what_was_typed_comes_back_in_order_with_its_repeats),
        TEST(a_wrong_field_is_marked_described_and_linked),
        TEST(a_field_that_was_not_sent_gets_one_empty_input),
        TEST(several_lines_or_long_text_get_a_textarea),
        TEST(a_leading_line_end_survives_the_textarea),
        TEST(an_address_gets_the_keyboard_for_it),
        TEST(control_fields_stay_hidden_unless_they_are_wrong),
        TEST(labels_are_the_names_made_readable),
        TEST(a_file_is_asked_for_again),
        TEST(a_file_is_not_hidden_by_its_name),
        TEST(nothing_breaks_out_from_any_place),
        TEST(too_much_text_is_not_sent_back_and_the_visitor_is_told),
        TEST(too_many_fields_are_not_sent_back),
        TEST(the_largest_form_fits_into_a_page),
        TEST(the_longest_lists_fit_into_a_page),
        TEST(a_page_that_does_not_fit_fails_at_every_length),
        TEST(a_refusal_as_spam_has_the_form_again_with_a_new_token_and_no_trap),
        TEST(a_token_is_told_to_scripts),
        TEST(json_of_success),
        TEST(json_of_errors),
        TEST(json_strings_are_escaped),
    };
    return cmocka_run_group_tests_name("page", tests, NULL, NULL);
}
