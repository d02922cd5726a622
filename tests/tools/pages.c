/*
 * Prints one page to standard output, for tests/e2e/test_pages.py. PAGE_LANGUAGE (en) is the tag of its language.
 *
 *   pages csp | receipt | error STATUS | about | about-form | demo
 *   pages spam CONTENT-TYPE                 body on standard input
 *   pages invalid CONTENT-TYPE [FIELD...]    body on standard input; each FIELD is reported as missing
 */

#include "bridge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *required[] = {"name", "email", "item"};
static char *origins[] = {"https://www.example.com"};
static struct form_conf order = {
    .name = "order",
    .title = "Order",
    .origins = origins,
    .origin_count = COUNT(origins),
    .required = required,
    .required_count = COUNT(required),
};
static struct page_style style = {.form = &order};
static struct conf config = {.hostname = "forms.example.com", .forms = &order};

static struct form *read_form(const char *content_type)
{
    static char chunk[4096];
    const struct form_limits limits = {.body = 1 << 20, .fields = 1000, .files = 10};
    enum form_kind kind;
    struct buf boundary, charset;
    buf_init(&boundary, 256);
    buf_init(&charset, 256);
    struct form *f = NULL;
    if (form_content_type(content_type, &kind, &boundary, &charset)) {
        f = form_new(kind, &boundary, &charset, &limits);
    }
    buf_free(&boundary);
    buf_free(&charset);
    size_t n;
    while (f != NULL && (n = fread(chunk, 1, sizeof chunk, stdin)) > 0) {
        if (!form_feed(f, chunk, n)) {
            break;
        }
    }
    if (f == NULL || !form_end(f)) {
        fprintf(stderr, "pages: %s\n", f == NULL ? "not a form's content type" : form_why(f));
        exit(65);
    }
    return f;
}

static void invalid(struct buf *out, int argc, char **argv)
{
    size_t count = (size_t)argc - 3;
    struct rules_error *errors = calloc(count + 1, sizeof *errors);
    if (errors == NULL) {
        exit(71);
    }
    for (size_t i = 0; i < count; i++) {
        errors[i] =
            (struct rules_error){argv[i + 3], "REQUIRED_FIELD_MISSING", words(style.language, W_FILL_IN)};
    }
    struct form *f = read_form(argv[2]);
    page_invalid(out, &style, f, errors, count);
    form_free(f);
    free(errors);
}

static void spam(struct buf *out, const char *content_type)
{
    const struct rules_error errors[] = {
        {.code = "SPAM_REFUSED", .message = words(style.language, W_SPAM_ROBOT)},
        {.code = "SPAM_REFUSED", .message = words(style.language, W_SPAM_LINKS)},
        {.code = "SPAM_REFUSED", .message = words(style.language, W_SPAM_TEXT)}};
    struct form *f = read_form(content_type);
    style.token = "AWpR2Zx0AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    page_spam(out, &style, f, errors, COUNT(errors));
    form_free(f);
}

int main(int argc, char **argv)
{
    const char *tag = getenv("PAGE_LANGUAGE");
    if (tag != NULL) {
        style.language = words_language(tag, strlen(tag));
    }
    const char *page = argc > 1 ? argv[1] : "";
    struct buf out;
    buf_init(&out, PAGE_MAX);
    if (strcmp(page, "csp") == 0) {
        buf_str(&out, page_csp());
    } else if (strcmp(page, "receipt") == 0) {
        page_receipt(&out, &style, "7K2M-Q9XD-4TRW", 1795305136);
    } else if (strcmp(page, "error") == 0 && argc == 3) {
        page_error(&out, &style, (unsigned)strtoul(argv[2], NULL, 10), NULL);
    } else if (strcmp(page, "about") == 0) {
        style.form = NULL;
        page_about(&out, &style, &config);
    } else if (strcmp(page, "about-form") == 0) {
        page_about(&out, &style, &config);
    } else if (strcmp(page, "demo") == 0) {
        page_demo(&out, &style);
    } else if (strcmp(page, "invalid") == 0 && argc >= 3) {
        invalid(&out, argc, argv);
    } else if (strcmp(page, "spam") == 0 && argc == 3) {
        spam(&out, argv[2]);
    } else {
        fprintf(stderr, "usage: pages csp|receipt|error STATUS|about|about-form|demo|spam TYPE|invalid TYPE "
                        "[FIELD...]\n");
        return 64;
    }
    bool ok = buf_ok(&out) && fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    buf_free(&out);
    return ok ? 0 : 71;
}
