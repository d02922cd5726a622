/* spam.c and spamlist.c: what is a sign of spam, what is none, and how signs add up. */

#include "bridge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static const int64_t when = 1795305136;
static const unsigned char secret[SECRET_SIZE] = "another secret of the tests.";
static char *traps[] = {"_gotcha", "website"};

static struct form_conf order;
static struct spam_verdict v;

static int setup(void **state)
{
    (void)state;
    spamlist_free(order.spamlist);
    order = (struct form_conf){.name = "order",
                               .honeypots = traps,
                               .honeypot_count = COUNT(traps),
                               .spam = SPAM_MARK,
                               .spam_score = 5,
                               .min_time = 3,
                               .max_links = 2};
    return 0;
}

static int teardown(void **state)
{
    setup(state);
    return 0;
}

static void put_encoded(struct buf *body, const char *text)
{
    for (; *text != '\0'; text++) {
        buf_fmt(body, "%%%02X", (unsigned char)*text);
    }
}

/* Pairs of names and values, NULL at the end. */
static struct form *typed(const char *const *pairs)
{
    const struct form_limits limits = {.body = 4 << 20, .fields = 20000, .files = 1};
    struct form *f = form_new(FORM_URLENCODED, NULL, NULL, &limits);
    struct buf body;
    buf_init(&body, 4 << 20);
    for (; *pairs != NULL; pairs += 2) {
        put_encoded(&body, pairs[0]);
        buf_byte(&body, '=');
        put_encoded(&body, pairs[1]);
        buf_str(&body, pairs[2] != NULL ? "&" : "");
    }
    assert_true(form_feed(f, body.data, body.len) && form_end(f));
    buf_free(&body);
    return f;
}

static void judge_form(struct form *f)
{
    const struct spam_job job = {.form = &order, .fields = f, .secret = secret, .now = when};
    spam_hide(&order, f);
    spam_judge(&v, &job);
    form_free(f);
}

/* The verdict on these fields. */
static void judge(const char *const *pairs)
{
    judge_form(typed(pairs));
}

static void judge_text(const char *text)
{
    judge((const char *const[]){"message", text, NULL});
}

#define FIELDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Made so long ago. */
static const char *token(int64_t age)
{
    static char text[TOKEN_LEN + 1];
    static const unsigned char random[TOKEN_RANDOM] = {7};
    const struct token_key key = {secret, "order"};
    token_make(text, &key, when - age, random);
    return text;
}

static const char *proof(const char *for_token, unsigned bits)
{
    static char text[TOKEN_PROOF_MAX + 1];
    token_prove(for_token, bits, text);
    return text;
}

static void use_words(const char *lines)
{
    char why[256];
    order.spamlist = spamlist_new();
    assert_true(spamlist_parse(order.spamlist, "words", lines, strlen(lines), why, sizeof why));
}

/* ---- trap, token, proof ---------------------------------------------------------------------- */

static void a_person_with_a_token_shows_no_sign(void **state)
{
    (void)state;
    judge(FIELDS("name", "Ada", "message", "see https://example.org and www.example.com", "_token", token(3),
                 "_gotcha", ""));
    assert_int_equal(v.score, 0);
    assert_false(v.spam);
    assert_string_equal(v.reasons, "");
}

static void a_filled_honeypot_is_enough(void **state)
{
    (void)state;
    judge(FIELDS("website", "x", "_token", token(60)));
    assert_int_equal(v.points[SPAM_TRAP], 5);
    assert_true(v.spam);
    assert_int_equal(v.class, SPAM_CLASS_TRAP);
    assert_string_equal(v.reasons, "a field that people do not see was filled in (5)");
    judge(FIELDS("website", " \r\n\t", "_token", token(60)));
    assert_int_equal(v.score, 0);
}

static void control_fields_are_hidden_and_no_others(void **state)
{
    (void)state;
    struct form *f = typed(
        FIELDS("name", "a", "_token", "b", "_proof", "c", "_gotcha", "d", "website", "", "_other", "e"));
    spam_hide(&order, f);
    static const bool hidden[] = {false, true, true, true, true, false};
    for (size_t i = 0; i < COUNT(hidden); i++) {
        assert_int_equal(form_field(f, i)->hidden, hidden[i]);
    }
    form_free(f);
    order.spam = SPAM_OFF; /* nobody judges what was filled in: it stays in the mail */
    f = typed(FIELDS("_token", "b", "_gotcha", "d", "website", ""));
    spam_hide(&order, f);
    assert_true(form_field(f, 0)->hidden);
    assert_false(form_field(f, 1)->hidden);
    assert_true(form_field(f, 2)->hidden);
    form_free(f);
}

static void a_token_is_missing_forged_old_or_too_young(void **state)
{
    (void)state;
    judge(FIELDS("name", "Ada"));
    assert_int_equal(v.points[SPAM_NO_TOKEN], 1);
    judge(FIELDS("_token", ""));
    assert_int_equal(v.points[SPAM_NO_TOKEN], 1);
    judge(FIELDS("_token", "nonsense"));
    assert_int_equal(v.points[SPAM_TOKEN_FORGED], 3);
    judge(FIELDS("_token", token(TOKEN_LIFE + 1)));
    assert_int_equal(v.points[SPAM_TOKEN_EXPIRED], 1);
    judge(FIELDS("_token", token(2)));
    assert_int_equal(v.points[SPAM_TOO_FAST], 5);
    judge(FIELDS("_token", token(3)));
    assert_int_equal(v.score, 0);
    order.token = TOKEN_OFF;
    judge(FIELDS("_token", "nonsense"));
    assert_int_equal(v.score, 0);
}

static void what_is_required_decides_alone(void **state)
{
    (void)state;
    order.token = TOKEN_REQUIRED;
    order.spam_score = 40;
    order.proof_bits = 4;
    judge(FIELDS("name", "Ada"));
    assert_true(v.spam && v.points[SPAM_NO_TOKEN] == 40 && v.points[SPAM_NO_PROOF] == 40);
    const char *t = token(9);
    judge(FIELDS("_token", t, "_proof", proof(t, 4)));
    assert_int_equal(v.score, 0);
    judge(FIELDS("_token", t));
    assert_true(v.spam && v.score == 40);
}

static void a_proof_is_missing_or_wrong(void **state)
{
    (void)state;
    order.proof_bits = 12;
    const char *t = token(9);
    judge(FIELDS("_token", t, "_proof", proof(t, 12)));
    assert_int_equal(v.score, 0);
    judge(FIELDS("_token", t));
    assert_int_equal(v.points[SPAM_NO_PROOF], 2);
    judge(FIELDS("_proof", "1"));
    assert_int_equal(v.score, 3); /* and no token */
    judge(FIELDS("_token", t, "_proof", "no proof"));
    assert_int_equal(v.points[SPAM_WRONG_PROOF], 4);
}

/* ---- content --------------------------------------------------------------------------------- */

static void links_over_the_limit_count_each_up_to_five(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned points;
    } cases[] = {
        {"http://a https://b", 0},
        {"http://a https://b www.c", 2},
        {"hTTp://a HTTPS://b (WWW.c) www.d", 3},
        {"www.a www.b www.c www.d www.e www.f www.g www.h", 5},
        {"http://www.a https://www.b", 0}, /* one link each */
        {"http:/a https:b www mywww.c awww.d ftp://e", 0},
        {"http://", 0},
        {"www.", 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        judge_text(cases[i].text);
        assert_int_equal(v.points[SPAM_LINKS], cases[i].points);
    }
    order.max_links = 0;
    judge(FIELDS("a", "http://x", "b", "http://y"));
    assert_int_equal(v.points[SPAM_LINKS], 3);
}

static void markup_is_what_people_do_not_type(void **state)
{
    (void)state;
    static const char *const yes[] = {"<a href=x>", "<A\tHREF='x'", "<a/href=x", "<a class=\"b\" href=x>",
                                      "[url=x]",    "[URL]x[/URL]", "[link=x]"};
    static const char *const no[] = {"<a",       "<a ",  "<abbr href=x", "a href=x",
                                     "<a >href", "[url", "[urls]",       "<b>href</b>"};
    for (size_t i = 0; i < COUNT(yes); i++) {
        judge_text(yes[i]);
        assert_int_equal(v.points[SPAM_MARKUP], 4);
    }
    for (size_t i = 0; i < COUNT(no); i++) {
        judge_text(no[i]);
        assert_int_equal(v.points[SPAM_MARKUP], 0);
    }
}

static void a_link_in_a_name_is_a_sign_and_elsewhere_is_not(void **state)
{
    (void)state;
    static const char *const names[] = {"name", "Name", "your-name", "FIRST NAME", "last_name", "Nachname"};
    for (size_t i = 0; i < COUNT(names); i++) {
        judge(FIELDS(names[i], "http://x.example"));
        assert_int_equal(v.points[SPAM_URL_IN_NAME], 4);
    }
    static const char *const others[] = {"names", "company", "homepage", "username of the other",
                                         "nam\xC3\xA9"};
    for (size_t i = 0; i < COUNT(others); i++) {
        judge(FIELDS(others[i], "http://x.example"));
        assert_int_equal(v.points[SPAM_URL_IN_NAME], 0);
    }
}

static void only_long_equal_texts_are_repeats(void **state)
{
    (void)state;
    static const char text[] = "fifty bytes and some more of the same text in both";
    judge(FIELDS("a", text, "b", "else", "c", text));
    assert_int_equal(v.points[SPAM_REPEATED], 2);
    judge(FIELDS("a", text, "b", text + 1));
    assert_int_equal(v.points[SPAM_REPEATED], 0);
    judge(FIELDS("a", "Ada", "b", "Ada"));
    assert_int_equal(v.points[SPAM_REPEATED], 0);
    judge(FIELDS("a", text, "_gotcha", text));
    assert_int_equal(v.points[SPAM_REPEATED], 0);
}

static void words_are_found_whole_in_any_case_and_script(void **state)
{
    (void)state;
    use_words("Casino\nbuy now\n# no entry\n\n  \nБЕСПЛАТНО \r\nÜberweisung\ncasino royal\nca\n");
    static const struct {
        const char *text;
        unsigned points;
    } cases[] = {
        {"CASINO", 3},
        {"a casino, here", 3},
        {"ca", 3},
        {"casinos occasion acasino", 0},
        {"casino_", 3},
        {"ca-sino", 3}, /* ca is one */
        {"ca\xC2\xADsino", 3},
        {"c\xE2\x80\x8B"
         "asino",
         3},
        {"Buy    \r\n\tNow!", 3},
        {"buy buy now", 3},
        {"buy it now", 0},
        {"Buy", 0},
        {"now buy", 0},
        {"Совершенно бесплатно!", 3},
        {"überweisung ÜBERWEISUNG", 3}, /* one word */
        {"\xEF\xBC\xA3\xEF\xBD\x81sino", 3},
        {"casino royale", 3},
        {"casino royal", 6}, /* two entries */
        {"casino buy now ca", 6},
        {"casino \xF0\x9F\x8E\xB0"
         "casino",
         3},
        {"", 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        judge_text(cases[i].text);
        assert_int_equal(v.points[SPAM_WORDS], cases[i].points);
    }
    judge(FIELDS("a", "casino", "b", "buy now"));
    assert_int_equal(v.points[SPAM_WORDS], 6);
}

static void entries_that_find_nothing_are_refused(void **state)
{
    (void)state;
    struct spamlist *l = spamlist_new();
    char why[256];
    assert_null(spamlist_add(l, "a", 1));
    assert_null(spamlist_add(l, "A", 1)); /* the same one */
    assert_int_equal(spamlist_count(l), 1);
    assert_non_null(spamlist_add(l, "-", 1));
    assert_non_null(spamlist_add(l, "\xFF", 1));
    char longest[202];
    memset(longest, 'x', sizeof longest);
    assert_null(spamlist_add(l, longest, 200));
    assert_non_null(spamlist_add(l, longest, 201));
    assert_false(spamlist_parse(l, "/words", "b\n\n!\n", 5, why, sizeof why));
    assert_string_equal(why, "/words:3: this word or phrase holds no letter and no digit: remove it");
    assert_int_equal(spamlist_count(NULL), 0);
    spamlist_free(l);
    spamlist_free(NULL);
}

static void a_list_has_an_end(void **state)
{
    (void)state;
    struct spamlist *l = spamlist_new();
    char word[16];
    for (unsigned i = 0; i < 5000; i++) {
        text_fmt(word, sizeof word, "w%u", i);
        assert_null(spamlist_add(l, word, strlen(word)));
    }
    assert_non_null(spamlist_add(l, "more", 4));
    size_t found[2], count = 0;
    spamlist_find(l, "w4999 w w5000 w0 w1", found, &count, COUNT(found));
    assert_int_equal(count, 2);
    spamlist_free(l);
}

/* Walking over all of them at each word takes seconds for one post. */
static void many_phrases_may_begin_alike(void **state)
{
    (void)state;
    struct spamlist *l = spamlist_new();
    struct buf text;
    char phrase[32];
    buf_init(&text, SPAM_READ_MAX + 100);
    for (unsigned i = 0; i < 5000; i++) {
        text_fmt(phrase, sizeof phrase, "buy thing%u", i);
        assert_null(spamlist_add(l, phrase, strlen(phrase)));
    }
    while (text.len < SPAM_READ_MAX) {
        buf_str(&text, "buy ");
    }
    buf_str(&text, "thing4999 buy thing1x buy thing1 thing2");
    size_t found[3], count = 0;
    clock_t start = clock();
    spamlist_find(l, buf_text(&text), found, &count, COUNT(found));
    assert_true(clock() - start < CLOCKS_PER_SEC);
    assert_int_equal(count, 2);
    buf_free(&text);
    spamlist_free(l);
}

/* ---- the verdict ----------------------------------------------------------------------------- */

static void signs_add_up_and_the_heaviest_class_is_named(void **state)
{
    (void)state;
    judge(FIELDS("name", "http://x.example"));
    assert_int_equal(v.score, 5);
    assert_true(v.spam);
    assert_int_equal(v.class, SPAM_CLASS_CONTENT);
    assert_string_equal(v.reasons, "no token (1), a link as a name (4)");
    order.spam_score = 6;
    judge(FIELDS("name", "http://x.example"));
    assert_false(v.spam);
    judge(FIELDS("_token", token(0)));
    assert_int_equal(v.class, SPAM_CLASS_TOKEN);
}

static void all_signs_at_once_fit_into_the_reasons(void **state)
{
    (void)state;
    order.proof_bits = 8;
    use_words("casino\nviagra\n");
    static const char text[] = "casino viagra [url=x] http://a http://b http://c http://d";
    judge(FIELDS("name", text, "b", text, "_gotcha", "x"));
    for (unsigned sign = 0; sign < SPAM_SIGNS; sign++) {
        bool expected = sign != SPAM_TOO_FAST && sign != SPAM_TOKEN_EXPIRED && sign != SPAM_TOKEN_FORGED &&
                        sign != SPAM_WRONG_PROOF;
        assert_int_equal(v.points[sign] > 0, expected);
    }
    assert_non_null(strstr(v.reasons, "a link as a name (4)"));
    assert_null(strstr(v.reasons, "casino"));
}

static void nothing_is_judged_when_it_is_off(void **state)
{
    (void)state;
    order.spam = SPAM_OFF;
    judge(FIELDS("name", "http://x.example", "_gotcha", "x"));
    assert_false(v.spam);
    assert_int_equal(v.score, 0);
    assert_string_equal(v.reasons, "");
}

/* A post may have 10,000 fields and megabytes of text. */
static void what_is_looked_at_is_bounded(void **state)
{
    (void)state;
    enum { N = 10000 };
    use_words("casino\n");
    const char **pairs = calloc(2 * N + 3, sizeof *pairs);
    for (size_t i = 0; i < N; i++) {
        pairs[2 * i] = "f";
        pairs[2 * i + 1] = "fifty bytes and some more of the same text in all of them";
    }
    judge(pairs);
    assert_int_equal(v.points[SPAM_REPEATED], 2);
    free(pairs);

    char *large = malloc(SPAM_READ_MAX + 16);
    memset(large, ' ', SPAM_READ_MAX);
    text_copy(large + SPAM_READ_MAX, 16, "casino");
    judge_text(large);
    assert_int_equal(v.points[SPAM_WORDS], 0);
    judge_text(large + 7);
    assert_int_equal(v.points[SPAM_WORDS], 3);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_person_with_a_token_shows_no_sign, setup),
        cmocka_unit_test_setup(a_filled_honeypot_is_enough, setup),
        cmocka_unit_test_setup(control_fields_are_hidden_and_no_others, setup),
        cmocka_unit_test_setup(a_token_is_missing_forged_old_or_too_young, setup),
        cmocka_unit_test_setup(what_is_required_decides_alone, setup),
        cmocka_unit_test_setup(a_proof_is_missing_or_wrong, setup),
        cmocka_unit_test_setup(links_over_the_limit_count_each_up_to_five, setup),
        cmocka_unit_test_setup(markup_is_what_people_do_not_type, setup),
        cmocka_unit_test_setup(a_link_in_a_name_is_a_sign_and_elsewhere_is_not, setup),
        cmocka_unit_test_setup(only_long_equal_texts_are_repeats, setup),
        cmocka_unit_test_setup(words_are_found_whole_in_any_case_and_script, setup),
        cmocka_unit_test_setup(entries_that_find_nothing_are_refused, setup),
        cmocka_unit_test_setup(a_list_has_an_end, setup),
        cmocka_unit_test_setup(many_phrases_may_begin_alike, setup),
        cmocka_unit_test_setup(signs_add_up_and_the_heaviest_class_is_named, setup),
        cmocka_unit_test_setup(all_signs_at_once_fit_into_the_reasons, setup),
        cmocka_unit_test_setup(nothing_is_judged_when_it_is_off, setup),
        cmocka_unit_test_setup_teardown(what_is_looked_at_is_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
