/* The fields as JSON and as CSV, for the programs and spreadsheets of the owner. */

#include "bridge.h"

#include <inttypes.h>
#include <string.h>

struct writer {
    struct encode_lines lines;
    bool failed; /* sticky */
};

static void put(struct writer *w, const void *bytes, size_t len)
{
    w->failed = w->failed || !w->lines.sink.put(&w->lines.sink, bytes, len);
}

static void put_text(struct writer *w, const char *text)
{
    put(w, text, strlen(text));
}

static void put_character(struct writer *w, uint32_t c)
{
    unsigned char bytes[4];
    put(w, bytes, utf8_bytes(c, bytes));
}

static bool finish(struct writer *w)
{
    bool ended = encode_lines_end(&w->lines);
    return ended && !w->failed;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void put_json(struct writer *w, struct span text)
{
    put_text(w, "\"");
    for (size_t at = 0; at < text.len && !w->failed;) {
        uint32_t c;
        at += utf8_next(text.at + at, text.len - at, &c);
        if (c < 0x20 || c == 0x7F) {
            char escape[8];
            text_fmt(escape, sizeof escape, "\\u%04x", (unsigned)c);
            put_text(w, escape);
        } else {
            put_text(w, c == '"' || c == '\\' ? "\\" : "");
            put_character(w, c);
        }
    }
    put_text(w, "\"");
}

static void put_member(struct writer *w, const char *name, struct span value)
{
    put_text(w, ", \"");
    put_text(w, name);
    put_text(w, "\": ");
    put_json(w, value);
}

static void put_json_upload(struct writer *w, const struct field *f)
{
    char memory[2 * FILE_NAME_MAX];
    char size[40];
    struct buf text;
    buf_borrow(&text, memory, sizeof memory);
    upload_name(f, &text);
    w->failed = w->failed || !buf_ok(&text);
    put_member(w, "file", buf_span(&text));
    buf_clear(&text);
    upload_type(f, &text);
    put_member(w, "type", buf_span(&text));
    text_fmt(size, sizeof size, ", \"size\": %zu", f->value.len);
    put_text(w, size);
    explicit_bzero(memory, sizeof memory);
}

static void put_json_field(struct writer *w, const struct field *f)
{
    put_text(w, "{\"name\": ");
    put_json(w, buf_span(&f->name));
    if (f->label != NULL) {
        put_member(w, "label", form_label(f));
    }
    if (f->file) {
        put_json_upload(w, f);
    } else {
        put_member(w, "value", buf_span(&f->value));
    }
    put_text(w, "}");
}

bool record_json(const struct message *m, struct sink *out)
{
    struct writer w = {.failed = false};
    char received[DATE_SIZE];
    encode_lines_begin(&w.lines, out);
    date_machine(received, m->time);
    put_text(&w, "{\n  \"form\": ");
    put_json(&w, text_span(m->form));
    put_member(&w, "receipt", text_span(m->ref));
    put_member(&w, "received", text_span(received));
    put_text(&w, ",\n  \"fields\": [");
    const char *between = "\n    ";
    for (size_t i = 0; i < form_count(m->fields) && !w.failed; i++) {
        const struct field *f = form_field(m->fields, i);
        if (!f->hidden) {
            put_text(&w, between);
            put_json_field(&w, f);
            between = ",\n    ";
        }
    }
    put_text(&w, "\n  ]\n}\n");
    return finish(&w);
}

/* ---- CSV ------------------------------------------------------------------------------------- */

/* Would a spreadsheet take a cell that begins so for a formula? U+FF1D and the others are the full-width forms, which
 * some locales of Excel read like the plain ones. */
static bool starts_formula(uint32_t c)
{
    return c == '=' || c == '+' || c == '-' || c == '@' || c == '\t' || c == '\r' || c == '\n' ||
           c == 0xFF1D || c == 0xFF0B || c == 0xFF0D || c == 0xFF20;
}

static void put_cell_text(struct writer *w, struct span text)
{
    for (size_t at = 0; at < text.len && !w->failed;) {
        uint32_t c;
        at += utf8_next(text.at + at, text.len - at, &c);
        bool kept = c == '\t' || c == '\r' || c == '\n';
        put_text(w, c == '"' ? "\"" : ""); /* §2 (7) */
        put_character(w, utf8_class(c) == UTF8_CONTROL && !kept ? utf8_shown(c) : c);
    }
}

/* The start of a cell, with the apostrophe that makes text of what would be a formula. */
static void begin_cell(struct writer *w, struct span text)
{
    uint32_t first = 0;
    if (text.len > 0) {
        utf8_next(text.at, text.len, &first);
    }
    put_text(w, starts_formula(first) ? "\"'" : "\"");
    put_cell_text(w, text);
}

static void put_cell(struct writer *w, struct span text)
{
    begin_cell(w, text);
    put_text(w, "\"");
}

static bool same_name(const struct field *a, const struct field *b)
{
    return a->name.len == b->name.len &&
           (a->name.len == 0 || memcmp(a->name.data, b->name.data, a->name.len) == 0);
}

/* The next field from i on that is shown and has this one's name; NULL: none. */
static const struct field *next_of_name(struct form *f, const struct field *named, size_t *i)
{
    while (*i < form_count(f)) {
        const struct field *field = form_field(f, (*i)++);
        if (!field->hidden && same_name(field, named)) {
            return field;
        }
    }
    return NULL;
}

/* Puts the value, if there is one, into the cell that was begun if begun says so. Returns whether it is begun. */
static bool put_cell_value(struct writer *w, const struct field *f, bool begun)
{
    char memory[2 * FILE_NAME_MAX];
    struct buf name;
    buf_borrow(&name, memory, sizeof memory);
    if (f->file) {
        upload_name(f, &name);
        w->failed = w->failed || !buf_ok(&name);
    }
    struct span text = buf_span(f->file ? &name : &f->value);
    if (text.len > 0 && begun) {
        put_text(w, "\r\n");
        put_cell_text(w, text);
    } else if (text.len > 0) {
        begin_cell(w, text);
    }
    explicit_bzero(memory, sizeof memory);
    return begun || text.len > 0;
}

/* One line: of labels, or of values. */
static void put_columns(struct writer *w, struct form *form, bool labels)
{
    for (size_t i = 0; i < form_count(form) && !w->failed; i++) {
        const struct field *f = form_field(form, i);
        size_t at = 0;
        if (f->hidden || next_of_name(form, f, &at) != f) {
            continue; /* its column was there before */
        }
        put_text(w, ",");
        if (labels) {
            put_cell(w, form_label(f));
            continue;
        }
        bool begun = put_cell_value(w, f, false);
        for (const struct field *more; (more = next_of_name(form, f, &at)) != NULL;) {
            begun = put_cell_value(w, more, begun);
        }
        put_text(w, begun ? "\"" : "\"\"");
    }
    put_text(w, "\r\n");
}

bool record_csv(const struct message *m, struct sink *out)
{
    struct writer w = {.failed = false};
    struct date d = date_utc(m->time);
    char received[64];
    encode_lines_begin(&w.lines, out);
    text_fmt(received, sizeof received, "%04" PRId64 "-%02d-%02d %02d:%02d:%02d", d.year, d.month + 1, d.day,
             d.hour, d.minute, d.second); /* as spreadsheets know a point in time */
    put_text(&w, "\xEF\xBB\xBF\"Receipt\",\"Received (UTC)\"");
    put_columns(&w, m->fields, true);
    put_cell(&w, text_span(m->ref));
    put_text(&w, ",");
    put_cell(&w, text_span(received));
    put_columns(&w, m->fields, false);
    return finish(&w);
}
