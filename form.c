/* Form bodies: the fields, the Content-Type, and the way to UTF-8.
 *
 * While a body is read its fields hold bytes as they were sent; only at its end is it known what encoding
 * they are in (a _charset_ field may be the last). form_end() makes UTF-8 of them, in place where they
 * already are. */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

enum {
    BOUNDARY_MAX = 70,    /* RFC 2046 §5.1.1 */
    FILE_NAME_SENT = 4096 /* before it is cut: a character may come as "&#1114111;" */
};

struct form {
    enum form_kind kind;
    enum form_error error;
    const char *why;
    struct form_limits limits;
    size_t length; /* of the body so far */
    struct field *fields;
    size_t count;
    size_t cap;
    size_t files;
    size_t settled;                /* heap of all fields but the last, which alone still grows */
    struct buf charset;            /* of the body */
    struct urlencoded *urlencoded; /* the one that reads the body; the others are NULL */
    struct multipart *multipart;
    struct json *json;
};

/* ---- the fields ------------------------------------------------------------------------------ */

static void field_init(struct field *field, size_t value_max)
{
    *field = (struct field){0};
    buf_init(&field->name, FIELD_NAME_MAX);
    buf_init(&field->value, value_max);
    buf_init(&field->filename, FILE_NAME_SENT);
    buf_init(&field->type, FORM_TYPE_MAX);
    buf_init(&field->charset, FORM_LABEL_MAX);
}

static void field_free(struct field *field)
{
    buf_free(&field->name);
    buf_free(&field->value);
    buf_free(&field->filename);
    buf_free(&field->type);
    buf_free(&field->charset);
}

static size_t field_memory(const struct field *field)
{
    return field->name.cap + field->value.cap + field->filename.cap + field->type.cap + field->charset.cap;
}

struct form *form_new(enum form_kind kind, const struct buf *boundary, const struct buf *charset,
                      const struct form_limits *limits)
{
    struct form *f = calloc(1, sizeof(*f));
    if (f == NULL) {
        return NULL;
    }
    f->kind = kind;
    f->limits = *limits;
    f->why = "";
    buf_init(&f->charset, FORM_LABEL_MAX);
    if (charset != NULL) {
        buf_put(&f->charset, charset->data, charset->len);
    }
    bool ok = buf_ok(&f->charset);
    switch (kind) {
    case FORM_URLENCODED: ok = ok && (f->urlencoded = urlencoded_new()) != NULL; break;
    case FORM_MULTIPART: ok = ok && (f->multipart = multipart_new(boundary)) != NULL; break;
    case FORM_JSON: ok = ok && (f->json = json_new()) != NULL; break;
    }
    if (!ok) {
        form_free(f);
        return NULL;
    }
    return f;
}

void form_free(struct form *f)
{
    if (f == NULL) {
        return;
    }
    for (size_t i = 0; i < f->count; i++) {
        field_free(&f->fields[i]);
    }
    free(f->fields);
    buf_free(&f->charset);
    urlencoded_free(f->urlencoded);
    multipart_free(f->multipart);
    json_free(f->json);
    explicit_bzero(f, sizeof(*f));
    free(f);
}

bool form_fail(struct form *f, enum form_error error, const char *why)
{
    if (f->error == FORM_OK) {
        f->error = error;
        f->why = why;
    }
    return false;
}

static bool no_memory(struct form *f)
{
    return form_fail(f, FORM_NO_MEMORY, "There is no memory left for this form.");
}

struct field *form_add(struct form *f)
{
    if (f->count >= f->limits.fields) {
        form_fail(f, FORM_TOO_MANY, "The form has more fields than this server takes.");
        return NULL;
    }
    if (f->count == f->cap) {
        size_t cap = f->cap == 0 ? 8 : f->cap * 2;
        struct field *fields = reallocarray(f->fields, cap, sizeof(*fields));
        if (fields == NULL) {
            no_memory(f);
            return NULL;
        }
        f->fields = fields;
        f->cap = cap;
    }
    if (f->count > 0) {
        f->settled += field_memory(&f->fields[f->count - 1]);
    }
    struct field *field = &f->fields[f->count++];
    field_init(field, f->limits.body);
    return field;
}

bool form_file(struct form *f, struct field *field)
{
    if (f->files >= f->limits.files) {
        return form_fail(f, FORM_TOO_MANY_FILES, "The form has more files than this server takes.");
    }
    f->files++;
    field->file = true;
    return true;
}

/* Values cannot reach their ceiling, the limit of the body: what reaches one is a name. */
bool form_put(struct form *f, struct buf *b, const void *bytes, size_t len)
{
    if (len > b->max - b->len) {
        return form_fail(f, FORM_TOO_LARGE,
                         "The form has a name that is too long: a field's may have 256 bytes.");
    }
    buf_put(b, bytes, len);
    return buf_ok(b) || no_memory(f);
}

enum form_error form_error(const struct form *f)
{
    return f->error;
}

const char *form_why(const struct form *f)
{
    return f->why;
}

size_t form_count(const struct form *f)
{
    return f->count;
}

struct field *form_field(struct form *f, size_t index)
{
    return index < f->count ? &f->fields[index] : NULL;
}

struct field *form_find(struct form *f, const char *name)
{
    for (size_t i = 0; i < f->count; i++) {
        if (!f->fields[i].file && buf_equal(&f->fields[i].name, name)) {
            return &f->fields[i];
        }
    }
    return NULL;
}

bool form_order(struct form *f, char *const *names, size_t count)
{
    struct field *sorted = reallocarray(NULL, f->count + 1, sizeof(*sorted));
    bool *taken = calloc(f->count + 1, sizeof(*taken));
    bool ok = sorted != NULL && taken != NULL;
    size_t n = 0;
    for (size_t name = 0; name <= count && ok; name++) {
        for (size_t i = 0; i < f->count; i++) {
            if (!taken[i] && (name == count || buf_equal(&f->fields[i].name, names[name]))) {
                taken[i] = true;
                sorted[n++] = f->fields[i];
            }
        }
    }
    if (ok && f->count > 0) {
        memcpy(f->fields, sorted, f->count * sizeof(*sorted));
    }
    free(sorted);
    free(taken);
    return ok;
}

struct span form_label(const struct field *field)
{
    return field->label != NULL ? text_span(field->label) : buf_span(&field->name);
}

size_t form_memory(const struct form *f)
{
    size_t n = sizeof(*f) + f->charset.cap + f->cap * sizeof(*f->fields) + f->settled;
    if (f->count > 0) {
        n += field_memory(&f->fields[f->count - 1]);
    }
    switch (f->kind) {
    case FORM_MULTIPART: return n + multipart_memory(f->multipart);
    case FORM_JSON: return n + json_memory(f->json);
    default: return n + urlencoded_memory();
    }
}

/* ---- header values: RFC 9110 §5.6, §8.3 ------------------------------------------------------ */

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && text_one_of(*p, TEXT_BLANKS)) {
        p++;
    }
    return p;
}

/* From behind the opening quote to behind the closing one; NULL: there is none. */
static const char *read_quoted(const char *p, const char *end, bool escapes, struct buf *value)
{
    for (; p < end; p++) {
        if (*p == '"') {
            return p + 1;
        }
        if (*p == '\\' && escapes && ++p == end) {
            return NULL;
        }
        buf_byte(value, (unsigned char)*p);
    }
    return NULL;
}

/* A token, and what else cannot be mistaken: clients send boundaries with "/", "=" and the like unquoted. */
static const char *read_bare(const char *p, const char *end, struct buf *value)
{
    const char *start = p;
    while (p < end && (unsigned char)*p > ' ' && *p != ';' && *p != '"' && *p != ',' && *p != 0x7F) {
        p++;
    }
    buf_put(value, start, (size_t)(p - start));
    return p == start ? NULL : p;
}

enum form_param form_param(const char **at, const char *end, bool escapes, const char **name,
                           size_t *name_len, struct buf *value)
{
    const char *p = skip_space(*at, end);
    if (p < end && *p != ';') {
        return PARAM_MALFORMED;
    }
    while (p < end &&
           (*p == ';' || text_one_of(*p, TEXT_BLANKS))) { /* a ";" with nothing behind it is allowed */
        p++;
    }
    if (p == end) {
        return PARAM_END;
    }
    *name = p;
    *name_len = text_token(p, (size_t)(end - p));
    p += *name_len;
    if (*name_len == 0 || p == end || *p != '=') {
        return PARAM_MALFORMED;
    }
    p++;
    bool quoted = p < end && *p == '"';
    p = quoted ? read_quoted(p + 1, end, escapes, value) : read_bare(p, end, value);
    if (p == NULL) {
        return PARAM_MALFORMED;
    }
    *at = p;
    return PARAM_READ;
}

/* Takes a parameter that may stand only once: twice, two readers could take different ones. */
static bool take_once(struct buf *into, const struct buf *value)
{
    if (into->len > 0 || value->len == 0 || !buf_ok(value)) {
        return false;
    }
    buf_put(into, value->data, value->len);
    return buf_ok(into);
}

bool form_media_type(const char *text, size_t len, struct buf *type, struct buf *boundary,
                     struct buf *charset)
{
    const char *end = text + len;
    const char *p = skip_space(text, end);
    const char *start = p;
    p += text_token(p, (size_t)(end - p));
    if (p == start || p == end || *p != '/') {
        return false;
    }
    size_t subtype = text_token(p + 1, (size_t)(end - p - 1));
    if (subtype == 0) {
        return false;
    }
    for (p += 1 + subtype; start < p; start++) {
        buf_byte(type, (unsigned char)text_lower(*start));
    }
    unsigned char memory[256]; /* of any parameter: more than of those that count */
    for (;;) {
        struct buf value;
        const char *name;
        size_t name_len;
        buf_borrow(&value, memory, sizeof(memory));
        switch (form_param(&p, end, true, &name, &name_len, &value)) {
        case PARAM_MALFORMED: return false;
        case PARAM_END: return buf_ok(type);
        case PARAM_READ: break;
        }
        if ((boundary != NULL && text_same(name, name_len, "boundary") && !take_once(boundary, &value)) ||
            (text_same(name, name_len, "charset") && !take_once(charset, &value))) {
            return false;
        }
    }
}

/* RFC 2046 §5.1.1: 1 to 70 bchars, the last not a space. */
static bool boundary_ok(const struct buf *b)
{
    if (b->len == 0 || b->len > BOUNDARY_MAX || b->data[b->len - 1] == ' ') {
        return false;
    }
    for (size_t i = 0; i < b->len; i++) {
        if (!text_alnum((char)b->data[i]) && !text_one_of((char)b->data[i], "'()+_,-./:=? ")) {
            return false;
        }
    }
    return true;
}

bool form_content_type(const char *value, enum form_kind *kind, struct buf *boundary, struct buf *charset)
{
    unsigned char memory[FORM_TYPE_MAX];
    struct buf type;
    buf_borrow(&type, memory, sizeof(memory));
    buf_clear(boundary);
    buf_clear(charset);
    if (!form_media_type(value, strlen(value), &type, boundary, charset) || charset->len > FORM_LABEL_MAX) {
        return false;
    }
    if (buf_equal(&type, "application/x-www-form-urlencoded")) {
        *kind = FORM_URLENCODED;
    } else if (buf_equal(&type, "multipart/form-data")) {
        *kind = FORM_MULTIPART;
        return boundary_ok(boundary);
    } else if (buf_equal(&type, "application/json")) {
        *kind = FORM_JSON;
    } else {
        return false;
    }
    return true;
}

/* ---- a body ---------------------------------------------------------------------------------- */

static bool parse(struct form *f, const char *bytes, size_t len)
{
    switch (f->kind) {
    case FORM_MULTIPART: return multipart_feed(f->multipart, f, bytes, len);
    case FORM_JSON: return json_feed(f->json, f, bytes, len);
    default: return urlencoded_feed(f->urlencoded, f, bytes, len);
    }
}

bool form_feed(struct form *f, const void *bytes, size_t len)
{
    if (f->error != FORM_OK) {
        return false;
    }
    /* What fits is read first, so that the error does not depend on how the body was cut into pieces. */
    size_t fits = f->limits.body - f->length;
    fits = len < fits ? len : fits;
    f->length += fits;
    if (fits > 0 && !parse(f, bytes, fits)) {
        return false;
    }
    return fits == len || form_fail(f, FORM_TOO_LARGE, "The form is larger than this server takes.");
}

/* ---- the way to UTF-8 ------------------------------------------------------------------------ */

static void replace(struct buf *b, struct buf *with)
{
    buf_free(b);
    *b = *with;
}

/* Before a pass that can make three bytes of one. */
static void init_wider(struct buf *out, const struct buf *in)
{
    buf_init(out, in->len < SIZE_MAX / 4 ? in->len * 3 + 16 : SIZE_MAX);
}

static bool convert(struct form *f, struct field *field, struct buf *text, const char *from)
{
    struct buf out;
    init_wider(&out, text);
    if (charset_to_utf8(from, strlen(from), text->data, text->len, &out) != 0) {
        field->repaired |= REPAIRED_CHARSET;
    }
    if (!buf_ok(&out)) {
        buf_free(&out);
        return no_memory(f);
    }
    replace(text, &out);
    return true;
}

/* "&#N;" at p: its length, and the character; 0 if it is none that a browser writes. */
static size_t reference(const unsigned char *p, size_t len, uint32_t *c)
{
    if (len < 6 || p[0] != '&' || p[1] != '#' || p[2] < '1') {
        return 0;
    }
    uint32_t n = 0;
    size_t i = 2;
    for (; i < len && i < 9 && p[i] >= '0' && p[i] <= '9'; i++) {
        n = n * 10 + (uint32_t)(p[i] - '0');
    }
    if (i == len || p[i] != ';' || n < 0x80 || n > 0x10FFFF || (n >= 0xD800 && n <= 0xDFFF)) {
        return 0;
    }
    *c = n;
    return i + 1;
}

/* A browser writes what the encoding of the page lacks as "&#N;", in decimal (Encoding Standard §4.1, "html"
 * error mode). Never ASCII: every encoding has that, so "&#60;" is what was typed. The text becomes shorter.
 */
static void resolve_references(struct buf *text)
{
    size_t to = 0;
    for (size_t at = 0; at < text->len;) {
        uint32_t c = 0;
        size_t n = reference(text->data + at, text->len - at, &c);
        if (n == 0) {
            text->data[to++] = text->data[at++];
        } else {
            unsigned char utf8[4];
            size_t len = utf8_bytes(c, utf8);
            memcpy(text->data + to, utf8, len);
            to += len;
            at += n;
        }
    }
    text->len = to;
}

/* U+0000 would end a text in the next C program: shown as U+2400, SYMBOL FOR NULL. */
static bool show_nul(struct form *f, struct field *field, struct buf *text)
{
    if (text->len == 0 || memchr(text->data, '\0', text->len) == NULL) {
        return true;
    }
    const unsigned char *p = text->data, *end = p + text->len;
    struct buf out;
    init_wider(&out, text);
    while (p < end) {
        const unsigned char *nul = memchr(p, '\0', (size_t)(end - p));
        buf_put(&out, p, (size_t)((nul == NULL ? end : nul) - p));
        if (nul == NULL) {
            break;
        }
        buf_str(&out, "\u2400");
        p = nul + 1;
    }
    if (!buf_ok(&out)) {
        buf_free(&out);
        return no_memory(f);
    }
    field->repaired |= REPAIRED_NUL;
    replace(text, &out);
    return true;
}

static bool is_ascii(const struct buf *text)
{
    for (size_t i = 0; i < text->len; i++) {
        if (text->data[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

/* label: what the sender says the text is in; empty: nothing, and so UTF-8. */
static bool to_utf8(struct form *f, struct field *field, struct buf *text, const struct buf *label)
{
    const char *from = label->len == 0 ? "UTF-8" : charset_name((const char *)label->data, label->len);
    if (from != NULL && strcmp(from, "UTF-8") != 0) {
        if (!convert(f, field, text, from)) {
            return false;
        }
        resolve_references(text);
    } else {
        bool valid = charset_is_utf8(text->data, text->len);
        if (!valid || (from == NULL && !is_ascii(text))) { /* not, or perhaps not, what it was meant to be */
            field->repaired |= REPAIRED_CHARSET;
        }
        if (!valid && !convert(f, field, text, "windows-1252")) {
            return false;
        }
    }
    return show_nul(f, field, text);
}

static void drop(struct form *f, size_t index)
{
    field_free(&f->fields[index]);
    f->count--;
    memmove(&f->fields[index], &f->fields[index + 1], (f->count - index) * sizeof(*f->fields));
}

/* HTML: the value of a field named _charset_ is the encoding of the submission. Takes the first that says one
 * we know out of the list; any other is a field like the rest. */
static bool take_charset_field(struct form *f)
{
    for (size_t i = 0; i < f->count; i++) {
        struct field *field = &f->fields[i];
        const char *charset = charset_name((const char *)field->value.data, field->value.len);
        if (field->file || !text_same((const char *)field->name.data, field->name.len, "_charset_") ||
            charset == NULL) {
            continue;
        }
        buf_clear(&f->charset);
        buf_str(&f->charset, charset);
        drop(f, i);
        for (size_t k = 0; k < f->count; k++) { /* it outranks what a part says of itself */
            buf_clear(&f->fields[k].charset);
        }
        return buf_ok(&f->charset) || no_memory(f);
    }
    return true;
}

/* A browser sends a file input that nobody filled as a nameless file of no bytes. */
static void drop_empty_files(struct form *f)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->count; i++) {
        struct field *field = &f->fields[i];
        if (field->file && field->filename.len == 0 && field->value.len == 0) {
            field_free(field);
        } else {
            f->fields[kept++] = *field;
        }
    }
    f->count = kept;
}

static void cut_filename(struct buf *name)
{
    if (name->len <= FILE_NAME_MAX) {
        return;
    }
    size_t from = name->len - FILE_NAME_MAX;
    while (from < name->len && (name->data[from] & 0xC0) == 0x80) { /* not inside a character */
        from++;
    }
    name->len -= from;
    memmove(name->data, name->data + from, name->len);
}

static bool field_to_utf8(struct form *f, struct field *field)
{
    const struct buf *label = field->charset.len > 0 ? &field->charset : &f->charset;
    if (!to_utf8(f, field, &field->name, &f->charset) || !to_utf8(f, field, &field->filename, &f->charset) ||
        (!field->file && !to_utf8(f, field, &field->value, label))) {
        return false;
    }
    if (field->name.len > FIELD_NAME_MAX) {
        return form_fail(f, FORM_TOO_LARGE, "The form has a field name of more than 256 bytes.");
    }
    cut_filename(&field->filename);
    return true;
}

static bool complete(struct form *f)
{
    switch (f->kind) {
    case FORM_MULTIPART: return multipart_end(f->multipart, f);
    case FORM_JSON: return json_end(f->json, f);
    default: return urlencoded_end(f->urlencoded, f);
    }
}

bool form_end(struct form *f)
{
    if (f->error != FORM_OK || !complete(f)) {
        return false;
    }
    drop_empty_files(f);
    /* JSON is UTF-8 (RFC 8259 §8.1) and has been checked, whatever a parameter or a field says. */
    if (f->kind == FORM_JSON) {
        buf_clear(&f->charset);
    } else if (!take_charset_field(f)) {
        return false;
    }
    f->settled = 0;
    for (size_t i = 0; i < f->count; i++) {
        if (!field_to_utf8(f, &f->fields[i])) {
            return false;
        }
        if (i + 1 < f->count) {
            f->settled += field_memory(&f->fields[i]);
        }
    }
    return true;
}
