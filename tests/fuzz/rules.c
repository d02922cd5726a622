/*
 * rules.c, fieldtype.c, pattern.c and widget.c under any form. The input is cut at bytes 0x1F into names and values, each
 * of the fields a rule is for, or any; a name that begins with F is a file with a name and a type.
 *
 * What is said is one thing a field, in UTF-8 and without a byte of what was typed; the page that says it is whole; and
 * what the mail shows is what was sent, each field once.
 */

#include "bridge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char config[] =
    "[bridge]\nhostname = forms.example.com\ncertificate = /c\nprivate_key = /k\n"
    "[form order]\nto = o@example.com\nfrom = w@example.com\ndeliver = maildir:/m\nrequired = r F\norder = z "
    "y\n"
    "leave_out = l\nblank_fields = no\n"
    "[field order e]\ntype = email\nlabel = E & <M>\nmax_length = 40\n"
    "[field order n]\ntype = number\nmin = -1.5\nmax = 99999999999999999999\n"
    "[field order i]\ntype = integer\nmin = 1\n"
    "[field order d]\ntype = date\nmin = today-30\nmax = 2026-12-31\n"
    "[field order t]\ntype = time\nmin = 09:00\nmax = 17:00\n"
    "[field order u]\ntype = url\n[field order p]\ntype = tel\nmin_length = 5\n"
    "[field order c]\nchoices = one | two | <3>\nrequired = yes\n"
    "[field order x]\npattern = ([[:alpha:]]+|[0-9]{2,3})(-x)?\npattern_hint = Like \"ab-x\".\n"
    "[field order F]\naccept = .pdf image/*\nmax_files = 2\n";

static bool next(const uint8_t **data, size_t *size, struct buf *b)
{
    if (*size == 0) {
        return false;
    }
    const uint8_t *end = memchr(*data, 0x1F, *size);
    size_t len = end == NULL ? *size : (size_t)(end - *data);
    size_t skip = end == NULL ? len : len + 1;
    buf_put(b, *data, len < b->max ? len : b->max);
    *data += skip;
    *size -= skip;
    return true;
}

static struct form *read_form(const uint8_t *data, size_t size)
{
    const struct form_limits limits = {.body = size + 1, .fields = 1000, .files = 1000};
    struct form *form = form_new(FORM_URLENCODED, NULL, NULL, &limits);
    while (form != NULL && size > 0 && form_count(form) < 1000) {
        struct field *f = form_add(form);
        next(&data, &size, &f->name);
        next(&data, &size, &f->value);
        f->file = f->name.len > 0 && f->name.data[0] == 'F';
        if (f->file) {
            next(&data, &size, &f->filename);
            next(&data, &size, &f->type);
        }
    }
    return form;
}

static void check_report(const struct rules_report *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct rules_error *e = &r->errors[i];
        if (e->field == NULL || e->code == NULL || e->message == NULL || e->message[0] == '\0' ||
            !charset_is_utf8(e->message, strlen(e->message))) {
            abort();
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(r->errors[k].field, e->field) == 0) {
                abort();
            }
        }
    }
}

static void check_page(const struct form_conf *f, struct form *form, const struct rules_report *r)
{
    const struct page_style style = {.language = LANGUAGE_DE, .form = f};
    struct buf page;
    buf_init(&page, PAGE_MAX);
    page_invalid(&page, &style, form, r->errors, r->count);
    const char *text = buf_text(&page);
    if (text == NULL || strstr(text, "<3>") != NULL || strstr(text, "</html>\n") == NULL) {
        abort();
    }
    buf_free(&page);
}

static size_t bytes_of(struct form *form)
{
    size_t n = 0;
    for (size_t i = 0; i < form_count(form); i++) {
        n += form_field(form, i)->name.len * 31 + form_field(form, i)->value.len;
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct conf *conf;
    static struct rules_report report;
    if (conf == NULL) {
        struct buf errors;
        buf_init(&errors, 1 << 16);
        conf = conf_parse("c.ini", config, sizeof config - 1, &errors);
        if (conf == NULL) {
            fprintf(stderr, "%s", buf_text(&errors));
            abort();
        }
    }
    struct form *form = read_form(data, size);
    if (form == NULL) {
        return 0;
    }
    rules_check(conf->forms, form, LANGUAGE_EN, 1795305600, &report);
    check_report(&report);
    check_page(conf->forms, form, &report);
    size_t count = form_count(form), bytes = bytes_of(form);
    if (!rules_dress(conf->forms, form) || form_count(form) != count || bytes_of(form) != bytes) {
        abort();
    }
    form_free(form);
    return 0;
}
