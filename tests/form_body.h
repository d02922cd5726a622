/* What the tests and fuzzers of form bodies share: parse in pieces, compare, describe. */

#ifndef TESTS_FORM_BODY_H
#define TESTS_FORM_BODY_H

#include "bridge.h"

#include <string.h>

struct body {
    enum form_kind kind;
    const char *boundary; /* NULL: none */
    const char *charset;  /* of the Content-Type, NULL: none */
    struct form_limits limits;
    const char *bytes;
    size_t len;
};

/* Feeds [0, first), then pieces of `piece` bytes (0: all that is left), then ends. NULL: no memory at the
 * start. Each piece is copied to heap of its exact size, so that a sanitizer sees a read beyond it. */
static inline struct form *body_parse(const struct body *b, size_t first, size_t piece)
{
    struct buf boundary, charset;
    buf_init(&boundary, 128);
    buf_init(&charset, 128);
    buf_str(&boundary, b->boundary == NULL ? "" : b->boundary);
    buf_str(&charset, b->charset == NULL ? "" : b->charset);
    struct form *f = form_new(b->kind, &boundary, &charset, &b->limits);
    buf_free(&boundary);
    buf_free(&charset);
    if (f == NULL) {
        return NULL;
    }
    for (size_t at = 0, n = first; at < b->len; at += n, n = piece) {
        n = n == 0 || n > b->len - at ? b->len - at : n;
        struct buf copy;
        buf_init(&copy, n);
        buf_put(&copy, b->bytes + at, n);
        bool ok = buf_ok(&copy) && form_feed(f, copy.data, n);
        buf_free(&copy);
        if (!ok) {
            return f;
        }
    }
    form_end(f);
    return f;
}

static inline bool body_same_bytes(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* The same error in the same words, or the same fields. */
static inline bool body_same(struct form *a, struct form *b)
{
    if (form_error(a) != FORM_OK || form_error(b) != FORM_OK) {
        return form_error(a) == form_error(b) && strcmp(form_why(a), form_why(b)) == 0;
    }
    bool same = form_count(a) == form_count(b);
    for (size_t i = 0; same && i < form_count(a); i++) {
        struct field *x = form_field(a, i), *y = form_field(b, i);
        same = body_same_bytes(&x->name, &y->name) && body_same_bytes(&x->value, &y->value) &&
               body_same_bytes(&x->filename, &y->filename) && body_same_bytes(&x->type, &y->type) &&
               x->file == y->file && x->repaired == y->repaired;
    }
    return same;
}

/* What form_end() promises of a text. */
static inline bool body_clean(const struct buf *text)
{
    return charset_is_utf8(text->data, text->len) &&
           (text->len == 0 || memchr(text->data, '\0', text->len) == NULL);
}

/* What a form promises of any body, whatever is in it. */
static inline bool body_promises(struct form *f, const struct form_limits *limits)
{
    if (form_error(f) != FORM_OK) {
        return form_why(f)[0] != '\0';
    }
    size_t files = 0, heap = 0;
    for (size_t i = 0; i < form_count(f); i++) {
        struct field *x = form_field(f, i);
        files += x->file;
        heap += x->name.cap + x->value.cap + x->filename.cap + x->type.cap + x->charset.cap;
        if (!body_clean(&x->name) || !body_clean(&x->filename) || (!x->file && !body_clean(&x->value)) ||
            x->name.len > FIELD_NAME_MAX || x->filename.len > FILE_NAME_MAX ||
            (!x->file && x->filename.len > 0)) {
            return false;
        }
    }
    return form_count(f) <= limits->fields && files <= limits->files && form_memory(f) >= heap;
}

#endif
