/* The script: small in every language, and whole. */

#include "bridge.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void it_is_below_its_limit_in_every_language(void **state)
{
    (void)state;
    char tags[LANGUAGES][SCRIPT_ETAG_SIZE];
    for (enum language l = 0; l < LANGUAGES; l++) {
        const struct page_style style = {.language = l};
        struct buf script;
        buf_init(&script, PAGE_MAX);
        script_write(&script, &style);
        const char *text = buf_text(&script);
        assert_non_null(text);
        assert_true(script.len > 4000 && script.len < 6000);
        assert_true(charset_is_utf8(text, script.len));
        assert_null(strstr(text, "SETTINGS"));
        assert_non_null(strstr(text, words(l, W_RECEIVED_LEAD)));
        assert_null(strstr(text, "\n "));
        assert_null(strstr(text, "\n//"));
        assert_string_equal(text + script.len - 3, ");\n");
        script_etag(&script, tags[l]);
        assert_int_equal(strlen(tags[l]), 34);
        assert_true(l == 0 || strcmp(tags[l], tags[l - 1]) != 0);
        buf_free(&script);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_below_its_limit_in_every_language),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
