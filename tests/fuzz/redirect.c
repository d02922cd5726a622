/*
 * A target under arbitrary bytes: what is allowed is an absolute URL in
 * visible ASCII whose host a second, simpler reader finds on the list, below
 * the path that the list gives, and reading it again changes nothing.
 */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static char *const allowed[] = {"https://www.example.com", "https://shop.example.com:8443/a/",
                                "http://127.0.0.1:8080"};

static void must(bool truth)
{
    if (!truth) {
        abort();
    }
}

/* As a browser reads it (URL Standard): the backslash is a slash, tabs and line ends are not there at all. */
static void check_place(const char *url)
{
    const char *at = strchr(url, '@');
    must(strchr(url, '\\') == NULL && (at == NULL || at > strchr(url + 8, '/')));
    size_t i = 0;
    while (i < COUNT(allowed) && strncmp(url, allowed[i], strlen(allowed[i])) != 0) {
        i++;
    }
    must(i < COUNT(allowed));
    const char *rest = url + strlen(allowed[i]);
    must(allowed[i][strlen(allowed[i]) - 1] == '/' || *rest == '/');
}

static void check_path(const char *url)
{
    size_t path = strcspn(url, "?#");
    const char *slash = strchr(url + 8, '/');
    must(slash != NULL && slash < url + path);
    for (const char *c = slash; c < url + path; c++) {
        must(strncmp(c, "/../", 4) != 0 && strncasecmp(c, "/%2e%2e/", 8) != 0 && strncmp(c, "//", 2) != 0);
        must(strncasecmp(c, "%2f", 3) != 0 && strncasecmp(c, "%5c", 3) != 0);
    }
    must(strcasestr(url, "%0d") == NULL && strcasestr(url, "%0a") == NULL && strstr(url, "%00") == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf url, again;
    buf_init(&url, REDIRECT_URL_MAX);
    buf_init(&again, REDIRECT_URL_MAX);
    if (redirect_read((const char *)data, size, "https://www.example.com", &url) == NULL &&
        redirect_allowed(buf_text(&url), allowed, COUNT(allowed))) {
        const char *text = buf_text(&url);
        must(strlen(text) == url.len);
        for (const char *c = text; *c != '\0'; c++) {
            must(*c > ' ' && *c <= '~');
        }
        check_place(text);
        check_path(text);
        if (url.len <= REDIRECT_MAX) {
            must(redirect_read(text, url.len, NULL, &again) == NULL);
            must(again.len == url.len && memcmp(again.data, url.data, url.len) == 0);
        }
    }
    buf_free(&url);
    buf_free(&again);
    return 0;
}
