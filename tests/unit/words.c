/* Languages: every sentence is there in each of them, and the visitor gets the one that the browser asks for. */

#include "bridge.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static unsigned gaps(const char *text)
{
    unsigned n = 0;
    for (const char *p = strstr(text, "{}"); p != NULL; p = strstr(p + 2, "{}")) {
        n++;
    }
    return n;
}

static void every_language_has_every_sentence_with_the_same_gaps(void **state)
{
    (void)state;
    for (enum language l = 0; l < LANGUAGES; l++) {
        for (enum word w = 0; w < WORDS_COUNT; w++) {
            const char *text = words(l, w);
            if (text == NULL || *text == '\0') {
                fail_msg("word %u is missing in %s", w, words_tag(l));
            }
            if (gaps(text) != gaps(words(LANGUAGE_EN, w))) {
                fail_msg("another number of {} than in English: %s", text);
            }
            assert_true(charset_is_utf8(text, strlen(text)));
        }
        assert_true(strcmp(words_dir(l), "ltr") == 0 || strcmp(words_dir(l), "rtl") == 0);
    }
}

static void every_language_has_words_for_the_same_refusals(void **state)
{
    (void)state;
    static const unsigned statuses[REFUSALS] = {400, 403, 404, 405, 408, 411, 413, 415, 422, 429, 503};
    for (enum language l = 0; l < LANGUAGES; l++) {
        for (size_t i = 0; i < REFUSALS; i++) {
            const struct refusal *r = words_refusal(l, statuses[i]);
            assert_int_equal(r->status, statuses[i]);
            assert_true(r->title[0] != '\0' && r->what[0] != '\0' && r->advice[0] != '\0');
        }
        assert_ptr_equal(words_refusal(l, 499), words_refusal(l, 400));
        assert_ptr_equal(words_refusal(l, 500), words_refusal(l, 503));
    }
}

/* French sets a no-break space before : ; ? and !; the other three set none. */
static void punctuation_is_that_of_the_language(void **state)
{
    (void)state;
    for (enum word w = 0; w < WORDS_COUNT; w++) {
        for (enum language l = 0; l < LANGUAGES; l++) {
            const char *text = words(l, w);
            if (strstr(text, " :") != NULL || strstr(text, " ?") != NULL || strchr(text, '\'') != NULL) {
                fail_msg("a plain space or apostrophe where there is to be another one: %s", text);
            }
        }
        for (const char *text = words(LANGUAGE_FR, w), *p = text; *p != '\0'; p++) {
            bool after_space = p - text >= 2 && (unsigned char)p[-1] >= 0x80;
            bool within = *p == ':' && strchr("0123456789/", p[1]) != NULL; /* a time, or an address */
            if (strchr(":;?!", *p) != NULL && !after_space && !within) {
                fail_msg("no no-break space: %s", text);
            }
        }
    }
}

static void a_tag_names_a_language_whatever_its_region(void **state)
{
    (void)state;
    static const struct {
        const char *tag;
        enum language language;
    } cases[] = {
        {"en", LANGUAGE_EN},     {"EN-us", LANGUAGE_EN}, {"de-CH-1996", LANGUAGE_DE}, {"fr_CA", LANGUAGE_FR},
        {"es-419", LANGUAGE_ES}, {"", LANGUAGE_AUTO},    {"-", LANGUAGE_AUTO},        {"deu", LANGUAGE_AUTO},
        {"d", LANGUAGE_AUTO},    {"ja", LANGUAGE_AUTO},  {"x-de", LANGUAGE_AUTO},     {"de.", LANGUAGE_AUTO},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(words_language(cases[i].tag, strlen(cases[i].tag)), cases[i].language);
    }
}

static void the_browsers_first_choice_among_ours_is_taken(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        enum language language;
    } cases[] = {
        {"de", LANGUAGE_DE},
        {"de-AT,de;q=0.9,en;q=0.8", LANGUAGE_DE},
        {"en;q=0.8,fr;q=0.9", LANGUAGE_FR},
        {"ja,zh;q=0.9,es;q=0.1", LANGUAGE_ES},
        {"ja,zh", LANGUAGE_AUTO},
        {"", LANGUAGE_AUTO},
        {"*", LANGUAGE_EN},
        {"ja, *;q=0.5", LANGUAGE_EN},
        {"en;q=0, *", LANGUAGE_DE},
        {"en;q=0,de;q=0,fr;q=0,es;q=0", LANGUAGE_AUTO},
        {"*;q=0", LANGUAGE_AUTO},
        {"de;q=0.5,fr;q=0.5", LANGUAGE_DE},
        {"fr;q=0.5,de;q=0.5", LANGUAGE_FR},
        {"de;q=0.001, en;q=0.002", LANGUAGE_EN},
        {"  de \t; q=0.7 ,\ten ; Q=0.6", LANGUAGE_DE},
        {",,,de,,", LANGUAGE_DE},
        {"de-AT;q=0,de;q=1", LANGUAGE_DE},
        {"de;q=1.0,en", LANGUAGE_DE},
        /* What cannot be read counts for nothing. */
        {"de;q=2,en;q=0.1", LANGUAGE_EN},
        {"de;q=1.001,en;q=0.1", LANGUAGE_EN},
        {"de;q=0.1234,en;q=0.1", LANGUAGE_EN},
        {"de;q=,en;q=0.1", LANGUAGE_EN},
        {"de;level=1,en;q=0.1", LANGUAGE_EN},
        {"de q=1,en;q=0.1", LANGUAGE_EN},
        {"de;q=-1,en;q=0.1", LANGUAGE_EN},
        {"de;q=0.x,en;q=0.1", LANGUAGE_EN},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        enum language l = words_accept(cases[i].header, strlen(cases[i].header));
        if (l != cases[i].language) {
            fail_msg("%s: %d", cases[i].header, (int)l);
        }
    }
}

#define TEST(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_language_has_every_sentence_with_the_same_gaps),
        TEST(every_language_has_words_for_the_same_refusals),
        TEST(punctuation_is_that_of_the_language),
        TEST(a_tag_names_a_language_whatever_its_region),
        TEST(the_browsers_first_choice_among_ours_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
