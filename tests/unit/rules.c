/* rules.c, conffield.c, widget.c: rules from the config, what they say of a form, and what becomes of it. */

#include "bridge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define START                                                                                                \
    "[bridge]\nhostname = forms.example.com\ncertificate = /c\nprivate_key = /k\n"                           \
    "[form order]\nto = o@example.com\nfrom = w@example.com\ndeliver = maildir:/m\n" /* 8 lines */

enum { NOON = 1795305600 }; /* 2026-11-22 */

static struct conf *conf;
static struct form *form;
static struct rules_report report;
static struct buf text;

static int setup(void **state)
{
    (void)state;
    const struct form_limits limits = {.body = 1 << 20, .fields = 20000, .files = 100};
    form = form_new(FORM_URLENCODED, NULL, NULL, &limits);
    buf_init(&text, 1 << 20);
    return form == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    form_free(form);
    conf_free(conf);
    conf = NULL;
    buf_free(&text);
    return 0;
}

static const struct form_conf *configured(const char *lines)
{
    char config[8192];
    struct buf errors;
    buf_init(&errors, 1 << 16);
    assert_true(text_fmt(config, sizeof config, START "%s", lines));
    conf_free(conf);
    conf = conf_parse("c.ini", config, strlen(config), &errors);
    if (conf == NULL) {
        fail_msg("%s", buf_text(&errors));
    }
    buf_free(&errors);
    return conf->forms;
}

static struct field *add(const char *name, const char *value)
{
    struct field *f = form_add(form);
    assert_non_null(f);
    buf_str(&f->name, name);
    buf_str(&f->value, value);
    return f;
}

static void add_file(const char *name, const char *filename, const char *type, const char *content)
{
    struct field *f = add(name, content);
    f->file = true;
    buf_str(&f->filename, filename);
    buf_str(&f->type, type);
}

/* "FIELD CODE" lines. */
static const char *codes(const struct form_conf *f)
{
    buf_clear(&text);
    rules_check(f, form, LANGUAGE_EN, NOON, &report);
    for (size_t i = 0; i < report.count; i++) {
        buf_fmt(&text, "%s %s\n", report.errors[i].field, report.errors[i].code);
    }
    return buf_text(&text);
}

/* What is said of this value for a field with these lines of config; "": nothing. */
static const char *said(const char *lines, const char *value)
{
    char config[2048];
    teardown(NULL);
    setup(NULL);
    text_fmt(config, sizeof config, "[field order x]\n%s\n", lines);
    const struct form_conf *f = configured(config);
    add("x", value);
    rules_check(f, form, LANGUAGE_EN, NOON, &report);
    assert_true(report.count <= 1);
    return report.count == 0 ? "" : report.errors[0].message;
}

/* ---- what is wrong --------------------------------------------------------------------------- */

static void everything_is_said_at_once_and_once_a_field(void **state)
{
    (void)state;
    const struct form_conf *f =
        configured("required = name | your town\n"
                   "[field order email]\ntype = email\nrequired = yes\nmax_length = 3\n"
                   "[field order size]\nchoices = S | M\n"
                   "[field order your town]\nlabel = Town\n"
                   "[field order photo]\ntype = file\nrequired = yes\n");
    add("email", "nobody");
    add("size", "L");
    add("size", "XL");
    add("your town", " \r\n");
    assert_string_equal(codes(f), "email TYPE_EMAIL\nsize TYPE_CHOICE\nyour town REQUIRED_FIELD_MISSING\n"
                                  "photo REQUIRED_FIELD_MISSING\nname REQUIRED_FIELD_MISSING\n");
}

static void a_right_form_has_nothing_wrong(void **state)
{
    (void)state;
    const struct form_conf *f =
        configured("required = name photo\n[field order email]\ntype = email\nrequired = yes\n"
                   "[field order size]\nchoices = S | M\nrequired = yes\n"
                   "[field order when]\ntype = date\nmin = today\n"
                   "[field order zip]\npattern = [0-9]{5}\n");
    add("name", "Ada");
    add("email", " ada@example.org ");
    add("size", "");
    add("size", "M");
    add("when", "");
    add("zip", "12345");
    add("unheard of", "x");
    add_file("photo", "a.jpg", "image/jpeg", "x");
    assert_string_equal(codes(f), "");
}

static void an_empty_field_is_right_unless_required(void **state)
{
    (void)state;
    static const char *const types[] = {"type = email", "type = number\nmin = 1",
                                        "type = date",  "min_length = 5",
                                        "pattern = a",  "choices = a",
                                        "type = url",   "type = tel",
                                        "type = time"};
    for (size_t i = 0; i < COUNT(types); i++) {
        char required[128];
        text_fmt(required, sizeof required, "%s\nrequired = yes", types[i]);
        assert_string_equal(said(types[i], ""), "");
        assert_string_equal(said(types[i], " \t\r\n"), "");
        assert_string_not_equal(said(required, ""), "");
    }
}

/* As PHP wants them. */
static void names_may_end_in_brackets(void **state)
{
    (void)state;
    const struct form_conf *f =
        configured("required = tags[]\n[field order photos[]] ; see [there]\naccept = .png\n"
                   "[ field order  a[b][c] ]\ntype = integer\n");
    add_file("photos[]", "a.jpg", "image/jpeg", "x");
    add("a[b][c]", "x");
    assert_string_equal(codes(f),
                        "photos[] TYPE_FILE\na[b][c] TYPE_NUMERIC\ntags[] REQUIRED_FIELD_MISSING\n");
}

static void sentences_name_the_limit(void **state)
{
    (void)state;
    assert_string_equal(said("type = integer\nmin = 18", "17"), "This must be 18 or more.");
    assert_string_equal(said("type = integer\nmin = 18", "18"), "");
    assert_string_equal(said("type = number\nmax = 0.5", "0,51"), "This must be 0.5 or less.");
    assert_string_equal(said("type = date\nmin = today+1", "2026-11-22"),
                        "This must be 2026-11-23 or later.");
    assert_string_equal(said("type = date\nmin = today+1", "23.11.2026"), "");
    assert_string_equal(said("type = date\nmax = 2026-12-31", "2027-01-01"),
                        "This must be 2026-12-31 or earlier.");
    assert_string_equal(said("type = time\nmin = 09:00\nmax = 17:00", "08:59"),
                        "This must be 09:00 or later.");
    assert_string_equal(said("min_length = 3", "ab"), "This is too short. Characters needed: at least 3.");
    assert_string_equal(said("max_length = 2", "abc"), "This is too long. Characters allowed: at most 2.");
    assert_string_equal(said("type = integer\nmin = 18", "many"), "Please write a whole number, such as 12.");
}

static void length_is_counted_in_characters(void **state)
{
    (void)state;
    assert_string_equal(said("max_length = 5", "\u00E4\u00F6\u00FC\u20AC\U0001F600"), "");
    assert_string_equal(said("max_length = 5", "ab\r\ncd"), ""); /* as the maxlength of a browser */
    assert_string_not_equal(said("max_length = 4", "ab\r\ncd"), "");
    assert_string_equal(said("min_length = 3", "  ab  "),
                        "This is too short. Characters needed: at least 3.");
}

static void a_pattern_has_a_hint_and_a_longest_value(void **state)
{
    (void)state;
    assert_string_equal(said("pattern = [0-9]{5}", "1234"), "This is not written as it is asked for.");
    assert_string_equal(said("pattern = [0-9]{5}\npattern_hint = Five {} digits.", "1234"),
                        "Five {} digits.");
    assert_string_equal(said("pattern = [0-9]{5}", " 12345\r\n"), "");
    static char value[PATTERN_VALUE_MAX + 2];
    memset(value, 'a', PATTERN_VALUE_MAX + 1);
    assert_string_equal(said("pattern = a*", value), "This is too long. Characters allowed: at most 500.");
    value[PATTERN_VALUE_MAX] = '\0';
    assert_string_equal(said("pattern = a*", value), "");
    add("x", "a"); /* repeats share the limit, or they would multiply the cost */
    assert_string_equal(codes(conf->forms), "x TYPE_TEXT_TOO_LONG\n");
}

static void files_are_counted_and_of_a_kind(void **state)
{
    (void)state;
    const struct form_conf *f = configured("[field order docs]\naccept = .pdf image/* text/csv\nmax_files = "
                                           "2\n[field order name]\ntype = text\n");
    add_file("docs", "a.PDF", "", "x");
    add_file("docs", "b", "image/png", "x");
    assert_string_equal(codes(f), "");
    add_file("docs", "c.csv", "text/csv", "x");
    assert_string_equal(codes(f), "docs TOO_MANY_FILES\n");
    add_file("docs", "pdf", "imagex/png", "x");
    add_file("name", "x", "", "x");
    assert_string_equal(codes(f), "docs TYPE_FILE\nname TYPE_TEXT\n");
    assert_string_equal(report.errors[0].message,
                        "Files of this kind are not taken here. Please choose one of these "
                        "kinds: .pdf, image/*, text/csv.");
    assert_string_equal(said("type = file", "C:\\photo.jpg"), "Please choose a file.");
}

static void a_report_has_room_for_the_longest_sentences(void **state)
{
    (void)state;
    static char lines[8000];
    struct buf config;
    buf_borrow(&config, lines, sizeof lines);
    for (unsigned i = 0; i < 100; i++) {
        buf_fmt(&config, "[field order f%u]\nmin_length = 1000000\n", i);
    }
    const struct form_conf *f = configured(buf_text(&config));
    for (unsigned i = 0; i < 100; i++) {
        char name[8];
        text_fmt(name, sizeof name, "f%u", i);
        add(name, "x");
    }
    rules_check(f, form, LANGUAGE_FR, NOON, &report);
    assert_int_equal(report.count, RULES_ERRORS_MAX);
    for (size_t i = 0; i < report.count; i++) {
        assert_non_null(strstr(report.errors[i].message, "1000000"));
    }
}

static void every_language_has_every_sentence_with_its_gap(void **state)
{
    (void)state;
    for (enum language l = 0; l < LANGUAGES; l++) {
        for (enum word w = W_CHOOSE_FILE; w <= W_WRONG_KIND; w++) {
            assert_non_null(words(l, w));
            assert_int_equal(strstr(words(l, w), "{}") != NULL, strstr(words(LANGUAGE_EN, w), "{}") != NULL);
        }
    }
}

/* ---- what the mail shows --------------------------------------------------------------------- */

static const char *dressed(const struct form_conf *f)
{
    assert_true(rules_dress(f, form));
    buf_clear(&text);
    for (size_t i = 0; i < form_count(form); i++) {
        const struct field *field = form_field(form, i);
        struct span label = form_label(field);
        if (!field->hidden) {
            buf_fmt(&text, "%.*s=%s ", (int)label.len, label.at, buf_text(&form_field(form, i)->value));
        }
    }
    return buf_text(&text);
}

static void fields_are_ordered_labelled_and_left_out(void **state)
{
    (void)state;
    const struct form_conf *f =
        configured("order = your name | b\nleave_out = token | b c\nblank_fields = no\n"
                   "[field order your name]\nlabel = Name\n");
    add("a", "1");
    add("b", "2");
    add("token", "3");
    add("blank", " ");
    add("your name", "4");
    add("b", "5");
    add("b c", "6");
    add("a", "7");
    assert_string_equal(dressed(f), "Name=4 b=2 b=5 a=1 a=7 ");
}

static void without_keys_nothing_changes(void **state)
{
    (void)state;
    const struct form_conf *f = configured("");
    add("b", "1");
    add("a", "");
    add("h", "x")->hidden = true;
    assert_string_equal(dressed(f), "b=1 a= ");
}

/* ---- samples --------------------------------------------------------------------------------- */

static void a_sample_is_right_by_its_rule(void **state)
{
    (void)state;
    const struct form_conf *f = configured("required = a email b c d e f g h i j k\n[field order b]\ntype = "
                                           "integer\nmin = 18\n[field order c]\ntype = date\n"
                                           "min = today+3\n[field order d]\ntype = time\nmax = 08:00\n[field "
                                           "order e]\ntype = url\n[field order f]\n"
                                           "type = tel\n[field order g]\nchoices = one | two\n[field order "
                                           "h]\nmin_length = 30\n[field order i]\n"
                                           "max_length = 4\n[field order j]\npattern = [0-9]{5}\nexample = "
                                           "12345\n[field order k]\naccept = image/* .png\n");
    for (const struct rule *rule = f->rules; rule != NULL; rule = rule->next) {
        struct buf name, value;
        buf_init(&name, 1000);
        buf_init(&value, 1000);
        if (rule->type == FIELD_FILE) {
            sample_file(&name, &value, rule);
            add_file(rule->name, buf_text(&name), buf_text(&value), "x");
            assert_string_equal(buf_text(&name), "formbridge-test.png");
        } else {
            sample_value(&value, rule, "w@example.com", NOON);
            add(rule->name, buf_text(&value));
        }
        buf_free(&name);
        buf_free(&value);
    }
    assert_string_equal(codes(f), "");
    assert_int_equal(form_count(form), 12);
}

/* ---- mistakes of the config ------------------------------------------------------------------ */

static void mistakes_are_told_by_line(void **state)
{
    (void)state;
    static const struct {
        const char *lines;
        unsigned line;
        const char *words;
    } cases[] = {
        {"[field order x]\ntype = phone\n", 10, "\"phone\" is not a type: use text, email"},
        {"[field order x]\nrequired = maybe\n", 10, "is neither yes nor no"},
        {"[field order x]\nlable = X\n", 10, "did you mean \"label\"?"},
        {"[field orders x]\n", 9, "[field orders x]: there is no [form orders]: there is order"},
        {"[field order]\n", 9, "the form and the name of the field must follow"},
        {"[field]\n", 9, "the form and the name of the field must follow"},
        {"[field order x]\n[field order  x]\nlabel = X\n", 10, "has its section on line 9 already"},
        {"[field order x]\n[field order y]\nname = x\n", 10, "has its section on line 9 already"},
        {"[field order x[]\n", 9, "not a section: write"},
        {"[field order x]]\n", 9, "not a section: write"},
        {"[field order x[]] y\n", 9, "not a section: write"},
        {"[field order x]\ntype = integer\nmin = 9\nmax = 5\n", 11, "min is more than max"},
        {"[field order x]\ntype = integer\nmin = 1.5\n", 11, "\"1.5\" is not a whole number, such as 1"},
        {"[field order x]\ntype = date\nmax = 2026-02-30\n", 11, "\"2026-02-30\" is not a date, such as"},
        {"[field order x]\ntype = date\nmin = today+9\nmax = today\n", 11, "min is more than max"},
        {"[field order x]\nmin = 1\n", 10, "min means nothing with type = any: it needs type = number"},
        {"[field order x]\nmin_length = 9\nmax_length = 5\n", 10, "min_length is more than max_length"},
        {"[field order x]\nmin_length = 0\n", 10, "is not a number from 1 to 1000000"},
        {"[field order x]\npattern = (a\n", 10, "pattern: \"(a\" cannot be used: Unmatched"},
        {"[field order x]\npattern = (a)\\1\n", 10, "pattern: \"(a)\\1\" has a back-reference"},
        {"[field order x]\npattern = a{300}\n", 10, "is too large: with each {n} written out"},
        {"[field order x]\npattern = a\nmax_length = 501\n", 11, "can be 500 at most"},
        {"[field order x]\npattern = [0-9]{5}\nexample = 1234\n", 11,
         "example: \"1234\" is not right for this field: a visitor would read \"This is not written as"},
        {"[field order x]\ntype = integer\nmin = 18\nexample = 17\n", 12,
         "would read \"This must be 18 or more.\""},
        {"[field order x]\ntype = email\nexample = me\n", 11, "example: \"me\" is not right for this field"},
        {"[field order x]\nchoices = S | M\nexample = L\n", 11, "example: \"L\" is not right for this field"},
        {"[field order x]\nmax_length = 3\nexample = abcd\n", 11,
         "example: \"abcd\" is not right for this field"},
        {"[field order x]\naccept = .pdf\nexample = a.pdf\n", 11, "example means nothing with type = file"},
        {"[field order x]\nmax_files = 11\n", 10, "max_files is more than the 10 that [bridge] takes"},
        {"[field order x]\nchoices = S, M, L\n", 10, "\"S, M, L\" is one choice: write | between them"},
        {"required = name;email\n", 9, "required: \"name;email\" has a semicolon"},
        {"[field order x]\npattern_hint = A\n", 10, "add pattern or remove this"},
        {"[field order x]\ntype = choice\n", 10, "type = choice needs choices = ONE | ANOTHER"},
        {"[field order x]\ntype = email\nchoices = a | b\n", 11, "choices means nothing with type = email"},
        {"[field order x]\nchoices = a | | b\n", 10, "has nothing between two |"},
        {"[field order x]\nchoices = a | b | a\n", 10, "\"a\" is there twice"},
        {"[field order x]\naccept = pdf\n", 10, "\"pdf\" is neither an extension nor a type"},
        {"[field order x]\naccept = .\n", 10, "\".\" is neither an extension nor a type"},
        {"[field order x]\nmax_files = 2\npattern = a\n", 11, "pattern means nothing with type = file"},
        {"attach = json xml\n", 9, "\"xml\" is neither json nor csv"},
        {"order = a b a\n", 9, "\"a\" is there twice"},
        {"required = name, email\n", 9, "required: \"name,\" has a comma"},
        {"required = name,email\n", 9, "required: \"name,email\" has a comma"},
        {"leave_out = a ,b\n", 9, "leave_out: \",b\" has a comma"},
        {"honeypot = a,b\n", 9, "honeypot: \"a,b\" has a comma"},
        {"spam_words = casino, viagra\n", 9, "spam_words: \"casino,\" has a comma"},
        {"[field order x]\ntype = file\naccept = .pdf, image/*\n", 11, "accept: \".pdf,\" has a comma"},
        {"required = \"name\" email\n", 9,
         "required: \"\"name\"\" begins with a quote: write it without quotes"},
        {"required = \"First name\"\n", 9,
         "required: \"\"First\" begins with a quote: write it without quotes"},
        {"order = \"First name\" | email\n", 9, "order: \"\"First name\"\" begins with a quote"},
        {"leave_out = x\nleave_out = \"csrf\"\n", 10, "leave_out: \"\"csrf\"\" begins with a quote"},
        {"honeypot = \"website\"\n", 9, "honeypot: \"\"website\"\" begins with a quote"},
        {"spam_words = \"casino\"\n", 9, "spam_words: \"\"casino\"\" begins with a quote"},
        {"[field order x]\nname = \"First name\"\n", 10, "write the name of the field without quotes"},
        {"[field order \"x\"]\nrequired = yes\n", 9, "write the name of the field without quotes"},
        {"dialect = formmail\nrequired = name title\n", 10,
         "required: dialect has title for a control field"},
        {"order = a _next\n", 9, "order: dialect has _next for a control field"},
        {"dialect = formmail\n[field order title]\nlabel = T\n", 10,
         "[field order title]: dialect of the form has"},
        {"honeypot = website\n[field order website]\nrequired = yes\n", 11,
         "required: website is a honeypot"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char config[2048], line[32];
        struct buf errors;
        buf_init(&errors, 1 << 16);
        text_fmt(config, sizeof config, START "%s", cases[i].lines);
        text_fmt(line, sizeof line, "c.ini:%u: ", cases[i].line);
        assert_null(conf_parse("c.ini", config, strlen(config), &errors));
        const char *told = buf_text(&errors);
        if (strncmp(told, line, strlen(line)) != 0 || strstr(told, cases[i].words) == NULL ||
            strchr(told, '\n')[1] != '\0') {
            fail_msg("%s\nwas told as\n%s", cases[i].lines, told);
        }
        buf_free(&errors);
    }
}

/* One that is in the past some day must not keep a server from starting. */
static void an_example_that_depends_on_the_day_is_no_mistake(void **state)
{
    (void)state;
    configured("[field order x]\ntype = date\nmin = today\nexample = 2020-01-01\n");
    configured("[field order x]\ntype = date\nmax = today+9\nexample = 2999-01-01\n");
}

static void a_field_may_have_the_name_of_a_control_that_means_nothing_or_stays_in_the_mail(void **state)
{
    (void)state;
    configured("dialect = none\nrequired = title _next\n");
    configured("required = title\norder = _replyto subject\n[field order title]\nlabel = T\n");
    configured("dialect = formmail\nrequired = email subject\n[field order title]\ntype = file\n");
}

static void a_name_that_cannot_stand_in_the_header_has_a_key(void **state)
{
    (void)state;
    const struct form_conf *f =
        configured("required = items[]\n[field order items]\nname = items[]\nlabel = Items\n");
    assert_string_equal(f->rules->name, "items[]");
    assert_true(f->rules->required);
    assert_null(f->rules->next);
}

/* ---- the page -------------------------------------------------------------------------------- */

static const char *page(const struct form_conf *f)
{
    const struct page_style style = {.language = LANGUAGE_EN, .form = f};
    rules_check(f, form, LANGUAGE_EN, NOON, &report);
    buf_clear(&text);
    page_invalid(&text, &style, form, report.errors, report.count);
    return buf_text(&text);
}

static void has(const char *page_text, const char *piece)
{
    if (strstr(page_text, piece) == NULL) {
        fail_msg("no %s in\n%s", piece, strstr(page_text, "<form"));
    }
}

static void the_page_has_the_input_for_each_type(void **state)
{
    (void)state;
    const struct form_conf *f = configured(
        "[field order email]\ntype = email\nlabel = \"E\" <mail>\nmax_length = 100\n"
        "[field order n]\ntype = integer\nmin = 1\nmax = 9\n[field order when]\ntype = date\nmin = today\n"
        "[field order size]\nchoices = S & M | L\n[field order tel]\ntype = tel\n[field order web]\ntype = "
        "url\n"
        "[field order photo]\naccept = .jpg image/png\nmax_files = 3\nrequired = yes\n");
    add("email", "x");
    add("n", "10");
    add("when", "2026-01-01");
    add("size", "S & M");
    add("tel", "x");
    add("web", "x");
    const char *p = page(f);
    has(p, "<label for=\"f0\">&#34;E&#34; &lt;mail&gt;</label>");
    has(p, "type=\"email\" autocomplete=\"email\" maxlength=\"100\" value=\"x\"");
    has(p, "type=\"number\" step=\"1\" min=\"1\" max=\"9\" value=\"10\"");
    has(p, "type=\"date\" value=\"2026-01-01\"");
    has(p, "<option selected>S &amp; M</option>\n<option>L</option>");
    has(p, "type=\"tel\" autocomplete=\"tel\"");
    has(p, "type=\"url\" autocomplete=\"url\"");
    has(p, "type=\"file\" accept=\".jpg,image/png\" multiple>");
    has(p, "<form method=\"post\" novalidate enctype=\"multipart/form-data\"");
    assert_null(strstr(p, "Files cannot be kept"));
}

static void what_was_typed_stays_though_the_input_would_not_show_it(void **state)
{
    (void)state;
    const struct form_conf *f =
        configured("[field order n]\ntype = number\n[field order when]\ntype = date\n");
    add("n", "about 12");
    add("when", "next week");
    const char *p = page(f);
    has(p, "type=\"text\" dir=\"auto\" value=\"about 12\"");
    has(p, "type=\"text\" dir=\"auto\" value=\"next week\"");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(everything_is_said_at_once_and_once_a_field),
        TEST(a_right_form_has_nothing_wrong),
        TEST(an_empty_field_is_right_unless_required),
        TEST(names_may_end_in_brackets),
        TEST(sentences_name_the_limit),
        TEST(length_is_counted_in_characters),
        TEST(a_pattern_has_a_hint_and_a_longest_value),
        TEST(files_are_counted_and_of_a_kind),
        TEST(a_report_has_room_for_the_longest_sentences),
        TEST(every_language_has_every_sentence_with_its_gap),
        TEST(fields_are_ordered_labelled_and_left_out),
        TEST(without_keys_nothing_changes),
        TEST(a_sample_is_right_by_its_rule),
        TEST(mistakes_are_told_by_line),
        TEST(an_example_that_depends_on_the_day_is_no_mistake),
        TEST(a_field_may_have_the_name_of_a_control_that_means_nothing_or_stays_in_the_mail),
        TEST(a_name_that_cannot_stand_in_the_header_has_a_key),
        TEST(the_page_has_the_input_for_each_type),
        TEST(what_was_typed_stays_though_the_input_would_not_show_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
