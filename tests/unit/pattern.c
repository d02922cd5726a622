/* pattern.c: a pattern fits the whole value, and no value makes it run away. */

#include "bridge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static bool fits(const char *text, const char *value)
{
    char why[REASON_SIZE] = "";
    struct pattern *p = pattern_new(text, why, sizeof why);
    if (p == NULL) {
        fail_msg("%s: %s", text, why);
    }
    bool result = pattern_fits(p, (struct span){value, strlen(value)});
    pattern_free(p);
    return result;
}

static void refused(const char *text, const char *words)
{
    char why[REASON_SIZE] = "";
    assert_null(pattern_new(text, why, sizeof why));
    if (strstr(why, words) == NULL) {
        fail_msg("%s: %s", text, why);
    }
}

static void the_whole_value_must_fit(void **state)
{
    (void)state;
    assert_true(fits("[0-9]{5}", "12345"));
    assert_false(fits("[0-9]{5}", "123456"));
    assert_false(fits("[0-9]{5}", "a12345"));
    assert_false(fits("[0-9]{5}", "12345\n"));
    assert_false(fits("[0-9]{5}", "12345\nx"));
    assert_true(fits("a|b", "b"));
    assert_false(fits("a|b", "ab"));
    assert_true(fits("", ""));
    assert_false(fits("", "x"));
    assert_true(
        fits("[A-Z]{2}[0-9]{2}([ ]?[A-Z0-9]{4}){3,7}[ ]?[A-Z0-9]{0,3}", "DE89 3704 0044 0532 0130 00"));
}

static void characters_are_those_of_utf8(void **state)
{
    (void)state;
    assert_true(fits("...", "\u00E4\u20AC\U0001F600"));
    assert_true(fits("[[:alpha:] -]+", "J\u00FCrgen Gr\u00F6\u00DFe-\u0416"));
    assert_true(fits("[\u00E4\u00F6]{2}", "\u00F6\u00E4"));
    assert_false(fits("..", "\u00E4"));
}

static void mistakes_are_told(void **state)
{
    (void)state;
    refused("(a", "nmatched");
    refused("a)", "without its (");
    refused("a)|b", "without its (");
    refused("a)(b", "without its (");
    refused("[a", "nmatched");
    refused("a{2,1}", "nvalid");
    refused("(a)\\1", "back-reference");
    refused("\\d{5}", "a digit is [0-9]");
    refused("[a-z]+\\D", "a digit is [0-9]");
    refused("[\\d.]+", "write 0-9 for \\d");
    refused("[^\\w]", "write 0-9 for \\d");
    refused("a{201}", "too large");
    refused("(a{20}){20}", "too large");
    refused("((a{9}){9}){9}", "too large");
    refused("((^|$){20}){20}", "too large");
    refused("a{99999999999999999999}", "too large");
    refused("(((((((((((((((((((((a)))))))))))))))))))))", "parentheses");
}

static void braces_and_parentheses_that_are_characters_do_not_count(void **state)
{
    (void)state;
    assert_true(fits("[{}()]{3}", "({)"));
    assert_true(fits("\\(\\{\\)", "({)"));
    assert_true(fits("[]{]{2}", "]{"));
    assert_true(fits("[[:digit:]({]{2}", "1{"));
}

/* The worst that were found under the limits, with the longest value, of kinds that lead astray. */
static void no_value_makes_it_run_away(void **state)
{
    (void)state;
    static const char *const patterns[] = {"(a*)*b",
                                           "(a|aa)+b",
                                           "(a|b)*a(a|b){15}c",
                                           "([[:alpha:]]+)*!",
                                           "[[:alpha:]\u00E4]{1,190}x",
                                           "(.*)(.*)(.*)(.*)x",
                                           "((a?){5}){9}a{9}b"};
    static const char *const units[] = {"a", "ab", "\u00E4", "\u00E4a"};
    char value[4 * PATTERN_VALUE_MAX + 8];
    clock_t start = clock();
    for (size_t i = 0; i < COUNT(patterns); i++) {
        for (size_t k = 0; k < COUNT(units); k++) {
            size_t len = 0;
            for (size_t n = 0; n + 2 <= PATTERN_VALUE_MAX; n++) {
                memcpy(value + len, units[k], strlen(units[k]) + 1);
                len += strlen(units[k]);
            }
            value[len] = '\0';
            assert_false(fits(patterns[i], value));
        }
    }
    assert_true((clock() - start) / CLOCKS_PER_SEC < 20); /* 1 s here; what runs away takes for ever */
}

static void a_longer_value_fits_nothing(void **state)
{
    (void)state;
    static char value[4 * PATTERN_VALUE_MAX + 2];
    memset(value, 'a', sizeof value - 1);
    assert_false(fits("a*", value));
    value[sizeof value - 2] = '\0';
    assert_true(fits("a*", value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_value_must_fit),
        cmocka_unit_test(characters_are_those_of_utf8),
        cmocka_unit_test(mistakes_are_told),
        cmocka_unit_test(braces_and_parentheses_that_are_characters_do_not_count),
        cmocka_unit_test(no_value_makes_it_run_away),
        cmocka_unit_test(a_longer_value_fits_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
