/*
 * Control fields under arbitrary names and values: no field is lost, doubled
 * or changed, only their order and what is hidden; what visitors may have
 * typed is hidden only where a header says it.
 *
 * The first two bytes choose dialects and controls; the rest is a body.
 */

#include "tests/form_body.h"

#include <stdlib.h>

static void must(bool truth)
{
    if (!truth) {
        abort();
    }
}

static size_t sum(struct form *f)
{
    size_t n = form_count(f);
    for (size_t i = 0; i < form_count(f); i++) {
        const struct field *x = form_field(f, i);
        n += x->name.len * 31 + x->value.len;
        for (size_t k = 0; k < x->value.len; k++) {
            n += x->value.data[k];
        }
    }
    return n;
}

static bool is_typed(const struct field *x)
{
    return x->file || buf_equal(&x->name, "email") || buf_equal(&x->name, "_replyto") ||
           buf_equal(&x->name, "_subject") || buf_equal(&x->name, "name");
}

static void check_span(struct span s)
{
    must(s.len == 0 || (s.at[0] != ' ' && s.at[s.len - 1] != ' '));
}

static void check(struct form *f, unsigned dialects, unsigned honoured)
{
    struct control c;
    size_t before = sum(f);
    control_read(f, dialects, honoured, &c);
    must(sum(f) == before);
    for (size_t i = 0; i < form_count(f); i++) {
        const struct field *x = form_field(f, i);
        must(!x->hidden || (dialects != 0 && !is_typed(x)));
    }
    must((c.subject == NULL) == (c.spent == NULL));
    must(c.spent == NULL || (c.spent->value.len > 0 && !c.spent->file));
    must(c.required_count <= CONTROL_NAMES_MAX);
    for (size_t i = 0; i < c.required_count; i++) {
        size_t len = strlen(control_required(&c, i));
        must(len > 0 && len <= FIELD_NAME_MAX);
    }
    check_span(c.next);
    check_span(c.missing);
    check_span(c.language);
    must(((honoured & CONTROL_NEXT) != 0 || (c.next.len == 0 && c.missing.len == 0)) &&
         ((honoured & CONTROL_SUBJECT) != 0 || c.subject == NULL) &&
         ((honoured & CONTROL_REPLYTO) != 0 || (c.reply_to == NULL && c.email == NULL)));
    control_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct body b = {.kind = FORM_URLENCODED,
                     .limits = {.body = 1 << 20, .fields = 1000, .files = 10},
                     .bytes = (const char *)data + 2,
                     .len = size - 2};
    struct form *f = body_parse(&b, b.len, 0);
    if (f != NULL && form_error(f) == FORM_OK) {
        check(f, data[0] & 15, data[1] & 63);
    }
    form_free(f);
    return 0;
}
