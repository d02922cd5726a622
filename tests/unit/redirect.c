/* redirect.c: a form sends its visitors where the config allows, and nowhere else. */

#include "bridge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char site[] = "https://www.example.com";
static char *const origins[] = {"https://www.example.com", "https://shop.example.com:8443",
                                "http://127.0.0.1:8080"};
static char *const prefixes[] = {"https://www.example.com/thanks/", "https://www.example.com/done"};

/* Where target leads from a page of site, or NULL: nowhere. To be freed. */
static char *lead(const char *target, size_t len, const char *from, char *const *allowed, size_t count)
{
    struct buf url;
    char *copy = malloc(len + 1), *result = NULL; /* of exact size: a read beyond it is seen */
    buf_init(&url, REDIRECT_URL_MAX);
    assert_non_null(copy);
    memcpy(copy, target, len);
    if (redirect_read(copy, len, from, &url) == NULL && redirect_allowed(buf_text(&url), allowed, count)) {
        result = strdup(buf_text(&url));
    }
    buf_free(&url);
    free(copy);
    return result;
}

static void leads(const char *target, const char *want, char *const *allowed, size_t count)
{
    char *url = lead(target, strlen(target), site, allowed, count);
    if (url == NULL || want == NULL ? url != want : strcmp(url, want) != 0) {
        fail_msg("\"%s\" leads to %s, not to %s", target, url != NULL ? url : "nothing",
                 want != NULL ? want : "nothing");
    }
    free(url);
}

static void pages_of_the_forms_own_sites_are_reached(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        {"/thanks.html", "https://www.example.com/thanks.html"},
        {"/", "https://www.example.com/"},
        {"  /thanks.html ", "https://www.example.com/thanks.html"},
        {"/a/b.html?from=form&x=%2F..%2F#top", "https://www.example.com/a/b.html?from=form&x=%2F..%2F#top"},
        {"/a?u=https://evil.example//x", "https://www.example.com/a?u=https://evil.example//x"},
        {"/danke sch\xC3\xB6n.html", "https://www.example.com/danke%20sch%C3%B6n.html"},
        {"/a{b}|c^`\"<>", "https://www.example.com/a%7Bb%7D%7Cc%5E%60%22%3C%3E"},
        {"/...", "https://www.example.com/..."},
        {"/.well-known/x", "https://www.example.com/.well-known/x"},
        {"https://www.example.com", "https://www.example.com/"},
        {"https://www.example.com?x", "https://www.example.com/?x"},
        {"https://www.example.com#x", "https://www.example.com/#x"},
        {"HTTPS://WWW.Example.COM:443/T", "https://www.example.com/T"},
        {"https://shop.example.com:8443/t", "https://shop.example.com:8443/t"},
        {"http://127.0.0.1:8080/t", "http://127.0.0.1:8080/t"}, /* a trial on one's own machine */
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        leads(good[i][0], good[i][1], origins, COUNT(origins));
    }
}

static const char *const attacks[] = {
    "",
    " ",
    "//evil.example",
    "//evil.example/thanks.html",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\\/evil.example",
    "/thanks\\..\\x",
    "https:\\\\www.example.com\\",
    "https:/\\www.example.com/",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r/evil.example",
    "\t//evil.example",
    "ht\ntps://www.example.com/",
    "\x01https://www.example.com/",
    "https://www.example.com/\x7F",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "javascript://www.example.com/%0aalert(1)",
    "data:text/html,x",
    "vbscript:x",
    "blob:https://www.example.com/x",
    "file:///etc/passwd",
    "about:blank",
    "mailto:a@example.com",
    "view-source:https://www.example.com/",
    "wss://www.example.com/",
    "ftp://www.example.com/",
    "http://www.example.com/",
    "http:www.example.com",
    "http:/www.example.com",
    "https:www.example.com/",
    "https:/www.example.com/",
    "https:///www.example.com/",
    "https:////www.example.com/",
    "https:",
    "https://",
    "https://evil.example/",
    "https://evil.example",
    "https://www.example.com.evil.example/",
    "https://www.example.comevil.example/",
    "https://evilwww.example.com/",
    "https://example.com/",
    "https://a.www.example.com/",
    "https://www.example.com@evil.example/",
    "https://www.example.com:x@evil.example/",
    "https://user@www.example.com/",
    "https://user:pass@www.example.com/",
    "https://@www.example.com/",
    "https://www.example.com%40evil.example/",
    "https://www.example.com%2eevil.example/",
    "https://www.example.com./",
    "https://www.example.com:444/",
    "https://www.example.com:/",
    "https://www.example.com:0443/",
    "https://www.example.com:443443/",
    "https://www.example.com:-443/",
    "https://www.example.com:80:443/",
    "https://www.example.com;evil.example/",
    "https://www.example.com,evil.example/",
    "https://www.example.com\\@evil.example/",
    "https://evil.example\\@www.example.com/",
    "https://evil.example#@www.example.com/",
    "https://evil.example?@www.example.com/",
    "https://evil.example/https://www.example.com/",
    "https://[www.example.com]/",
    "https://[::1]/",
    "https://www\xE3\x80\x82"
    "example.com/",
    "https://www.ex\xC3\xA4mple.com/",
    "https://www.example.\xD1\x81om/",
    "https://\xEF\xBD\x97ww.example.com/",
    "https://www.example.com\xE2\x80\x8B/",
    "https://www.example.com\xEF\xBC\x8F@x/",
    "/\xC0\xAF/..\\",
    "/x%0d%0aSet-Cookie:a=b",
    "/x%0Aa",
    "/x?y=%0D",
    "/x#%0a",
    "/x%00",
    "/x\r\nSet-Cookie: a=b",
    "/x%",
    "/x%1",
    "/x%zz",
    "/x?%%30",
    "/../x",
    "/x/..",
    "/x/../y",
    "/./x",
    "/x/.",
    "/%2e%2e/x",
    "/%2E%2e/x",
    "/.%2e/x",
    "/%2e/x",
    "/x/..;a=b/y",
    "/..%2fx",
    "/x%2f..%2fy",
    "/x%5c..%5cy",
    "/x//y",
    "/%2f/evil.example",
    "/%5cevil.example",
    "thanks.html",
    "./thanks.html",
    "../thanks.html",
    "?thanks",
    "#thanks",
    ".",
    "..",
    "www.example.com/thanks.html",
    "1.2.3.4",
    "https://0x7f000001/",
    "https://2130706433/",
};

static void every_known_trick_leads_nowhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(attacks); i++) {
        leads(attacks[i], NULL, origins, COUNT(origins));
    }
    assert_null(lead("/a\0b", 4, site, origins, COUNT(origins)));
    assert_null(lead("https://www.example.com\0.evil/", 30, site, origins, COUNT(origins)));
}

static void a_prefix_cannot_be_left(void **state)
{
    (void)state;
    leads("/thanks/a.html", "https://www.example.com/thanks/a.html", prefixes, COUNT(prefixes));
    leads("/thanks/", "https://www.example.com/thanks/", prefixes, COUNT(prefixes));
    leads("/done", "https://www.example.com/done", prefixes, COUNT(prefixes));
    leads("/done/a", "https://www.example.com/done/a", prefixes, COUNT(prefixes));
    leads("/done?a", "https://www.example.com/done?a", prefixes, COUNT(prefixes));
    leads("/done#a", "https://www.example.com/done#a", prefixes, COUNT(prefixes));
    static const char *const outside[] = {"/",
                                          "/thanks",
                                          "/thanksgiving",
                                          "/done.html",
                                          "/done%2fa",
                                          "/other/",
                                          "/thanks/../private",
                                          "/thanks/%2e%2e/x",
                                          "/thanks/..;/x",
                                          "/Thanks/",
                                          "/%74hanks/",
                                          "https://shop.example.com:8443/thanks/",
                                          "//www.example.com/thanks/"};
    for (size_t i = 0; i < COUNT(outside); i++) {
        leads(outside[i], NULL, prefixes, COUNT(prefixes));
    }
}

static void a_path_without_a_site_leads_nowhere(void **state)
{
    (void)state;
    assert_null(lead("/thanks.html", 12, NULL, origins, COUNT(origins)));
    leads("/thanks.html", NULL, NULL, 0);
    leads("https://www.example.com/", NULL, NULL, 0);
}

static void what_is_too_long_leads_nowhere(void **state)
{
    (void)state;
    char target[REDIRECT_MAX + 1];
    memset(target, 0xE4, sizeof target); /* becomes three times as long */
    target[0] = '/';
    char *url = lead(target, REDIRECT_MAX, site, origins, COUNT(origins));
    assert_non_null(url);
    assert_int_equal(strlen(url), strlen(site) + 1 + 3 * (REDIRECT_MAX - 1));
    free(url);
    assert_null(lead(target, REDIRECT_MAX + 1, site, origins, COUNT(origins)));
}

static void a_prefix_of_the_config_has_no_query(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, REDIRECT_URL_MAX);
    assert_true(redirect_prefix("HTTPS://WWW.example.com/Thanks", &out));
    assert_string_equal(buf_text(&out), "https://www.example.com/Thanks");
    static const char *const bad[] = {
        "https://www.example.com/?a", "https://www.example.com/#a", "www.example.com", "/thanks",
        "http://www.example.com/",    "https://*.example.com/"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        buf_clear(&out);
        assert_false(redirect_prefix(bad[i], &out));
    }
    buf_free(&out);
}

static void the_reason_is_said_and_nothing_of_what_was_named(void **state)
{
    (void)state;
    static const struct {
        const char *target, *from, *why;
    } cases[] = {
        {"thanks.html", site, "a path must begin with /, an address with https://"},
        {"javascript:alert(1)", site, "a path must begin with /, an address with https://"},
        {" ", site, "a path must begin with /, an address with https://"},
        {"/thanks.html", NULL, "the form has no origins that a path could be on"},
        {"http://www.example.com/thanks.html", site, "http must be https"},
        {"https://user@www.example.com/", site, "its host is no name such as www.example.com"},
        {"//evil.example/", site, "it holds what a browser could read in another way"},
        {"/a/../b", site, "it holds what a browser could read in another way"},
        {"/a\r\nb", site, "it holds what a browser could read in another way"},
    };
    struct buf out;
    buf_init(&out, REDIRECT_URL_MAX);
    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_clear(&out);
        const char *why = redirect_read(cases[i].target, strlen(cases[i].target), cases[i].from, &out);
        assert_non_null(why);
        assert_string_equal(why, cases[i].why);
    }
    char target[REDIRECT_MAX + 1];
    memset(target, 'x', sizeof target);
    target[0] = '/';
    buf_clear(&out);
    assert_string_equal(redirect_read(target, sizeof target, site, &out), "it is too long");
    struct buf small;
    buf_init(&small, 30);
    assert_string_equal(redirect_read(target, 100, site, &small), "it is too long");
    buf_free(&small);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_of_the_forms_own_sites_are_reached),
        cmocka_unit_test(every_known_trick_leads_nowhere),
        cmocka_unit_test(a_prefix_cannot_be_left),
        cmocka_unit_test(a_path_without_a_site_leads_nowhere),
        cmocka_unit_test(what_is_too_long_leads_nowhere),
        cmocka_unit_test(a_prefix_of_the_config_has_no_query),
        cmocka_unit_test(the_reason_is_said_and_nothing_of_what_was_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
