/*
 * The text of the mail: what the visitor typed, for people to read.
 *
 * Nothing that was typed can pass for something else. At the start of a line
 * stand only
 *
 *     Label: value            a field that fits on one line
 *     Label:                  an empty field, or one whose value follows,
 *       each of its lines     two spaces before each line
 *     (Label: remark)         said by formbridge: an upload, a repaired field
 *     --                      formbridge's own footer, to the end
 *     Subject: ...            in a sealed mail above all and before an empty
 *     Reply-To: ...           line: what its outer header does not tell
 *
 * and a label that could be taken for another of these is put in quotes.
 */

#include "bridge.h"

#include <string.h>

enum { LINE_CHARACTERS = 78 }; /* a field is written on one line if it fits in this */

static void put_text(struct encode_qp *q, const char *text)
{
    encode_qp_put(q, text, strlen(text));
}

static void put_buf(struct encode_qp *q, const struct buf *b)
{
    encode_qp_put(q, b->data, b->len);
}

static void put_character(struct encode_qp *q, uint32_t c)
{
    unsigned char bytes[4];
    encode_qp_put(q, bytes, utf8_bytes(c, bytes));
}

/* ---- labels ---------------------------------------------------------------------------------- */

static bool label_bare(struct span label)
{
    if (label.len == 0 || memchr(label.at, ':', label.len) != NULL ||
        memchr(label.at, '"', label.len) != NULL) {
        return false;
    }
    uint32_t first;
    utf8_next(label.at, label.len, &first);
    return utf8_class(first) != UTF8_SPACE && first != '(' && first != '-' && label.at[label.len - 1] != ' ';
}

static void put_label(struct encode_qp *q, const struct field *f)
{
    struct span label = form_label(f);
    bool bare = label_bare(label);
    put_text(q, bare ? "" : "\"");
    for (size_t at = 0; at < label.len;) {
        uint32_t c;
        at += utf8_next(label.at + at, label.len - at, &c);
        if (!bare && (c == '"' || c == '\\')) {
            put_text(q, "\\");
        }
        put_character(q, utf8_shown(c));
    }
    put_text(q, bare ? "" : "\"");
}

/* ---- values ---------------------------------------------------------------------------------- */

/* At most limit + 1. */
static size_t characters(struct span text, size_t limit)
{
    size_t count = 0;
    for (size_t at = 0; at < text.len && count <= limit; count++) {
        uint32_t c;
        at += utf8_next(text.at + at, text.len - at, &c);
    }
    return count;
}

static bool has_break(const struct buf *text)
{
    for (size_t at = 0; at < text->len;) {
        uint32_t c;
        at += utf8_next(text->data + at, text->len - at, &c);
        if (utf8_class(c) == UTF8_BREAK) {
            return true;
        }
    }
    return false;
}

static bool fits_one_line(const struct field *f)
{
    size_t label = characters(form_label(f), LINE_CHARACTERS);
    size_t value = characters(buf_span(&f->value), LINE_CHARACTERS);
    return label + 2 + value <= LINE_CHARACTERS && !has_break(&f->value);
}

static void put_line_break(struct encode_qp *q)
{
    encode_qp_break(q);
    put_text(q, "  ");
}

static void put_value(struct encode_qp *q, const struct buf *value)
{
    for (size_t at = 0; at < value->len && !q->failed;) {
        size_t plain = utf8_plain(value->data + at, value->len - at);
        encode_qp_put(q, value->data + at, plain);
        at += plain;
        if (at == value->len) {
            break;
        }
        uint32_t c;
        at += utf8_next(value->data + at, value->len - at, &c);
        switch (utf8_class(c)) {
        case UTF8_BREAK:
            if (c == '\r' && at < value->len && value->data[at] == '\n') {
                at++;
            }
            put_line_break(q);
            break;
        case UTF8_CONTROL: put_character(q, utf8_shown(c)); break;
        default: put_character(q, c);
        }
    }
}

static void put_field(struct encode_qp *q, const struct field *f)
{
    put_label(q, f);
    put_text(q, ":");
    if (f->value.len > 0) {
        if (fits_one_line(f)) {
            put_text(q, " ");
        } else {
            put_line_break(q);
        }
        put_value(q, &f->value);
    }
    encode_qp_break(q);
}

/* ---- remarks --------------------------------------------------------------------------------- */

static void put_remark(struct encode_qp *q, const struct field *f, const char *remark)
{
    put_text(q, "(");
    put_label(q, f);
    put_text(q, ": ");
    put_text(q, remark);
    put_text(q, ")");
    encode_qp_break(q);
}

/* 12345 as "12,345 bytes". */
static void put_size(struct buf *out, size_t size)
{
    char digits[24];
    text_fmt(digits, sizeof digits, "%zu", size);
    size_t left = strlen(digits);
    for (const char *d = digits; left > 0; d++) {
        buf_byte(out, (unsigned char)*d);
        left--;
        if (left > 0 && left % 3 == 0) {
            buf_byte(out, ',');
        }
    }
    buf_str(out, size == 1 ? " byte" : " bytes");
}

void letter_upload(const struct field *f, struct buf *out)
{
    buf_str(out, "attached, ");
    put_size(out, f->value.len);
    buf_str(out, ", ");
    upload_name(f, out);
}

const char *letter_repair(const struct field *f, unsigned repair)
{
    switch (f->repaired & repair) {
    case REPAIRED_CHARSET: return "was not in the encoding that the form claimed; letters may be wrong";
    case REPAIRED_NOT: return "is not one address, so an answer to this mail does not go there";
    case REPAIRED_NUL: return "held bytes of value zero, shown as \xE2\x90\x80";
    default: return NULL;
    }
}

static void put_upload(struct encode_qp *q, const struct field *f)
{
    char memory[LETTER_UPLOAD_SIZE];
    struct buf remark;
    buf_borrow(&remark, memory, sizeof memory);
    letter_upload(f, &remark);
    const char *text = buf_text(&remark);
    if (text == NULL) {
        q->failed = true;
    } else {
        put_remark(q, f, text);
    }
    explicit_bzero(memory, sizeof memory);
}

static void put_repairs(struct encode_qp *q, const struct field *f)
{
    for (unsigned repair = REPAIRED_NOT; repair > 0; repair >>= 1) {
        const char *remark = letter_repair(f, repair);
        if (remark != NULL) {
            put_remark(q, f, remark);
        }
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* RFC 9788 §5.2.2: the lines, and an empty one. */
static void put_display(struct encode_qp *q, const char *lines)
{
    while (*lines != '\0') {
        size_t len = strcspn(lines, "\n");
        encode_qp_put(q, lines, len);
        encode_qp_break(q);
        lines += len + (lines[len] == '\n');
    }
    encode_qp_break(q);
}

static void put_footer(struct encode_qp *q, const struct message *m)
{
    char memory[64];
    struct buf date;
    buf_borrow(&date, memory, sizeof memory);
    date_plain(&date, m->time);
    encode_qp_break(q);
    put_text(q, "-- "); /* what follows is left out of a reply */
    encode_qp_break(q);
    put_text(q, "Receipt: ");
    put_text(q, m->ref);
    encode_qp_break(q);
    put_text(q, "Form: ");
    put_text(q, m->form);
    encode_qp_break(q);
    put_text(q, "Received: ");
    put_buf(q, &date);
    encode_qp_break(q);
}

bool letter_write(const struct message *m, struct sink *out)
{
    struct encode_qp q;
    encode_qp_begin(&q, out);
    if (m->display != NULL) {
        put_display(&q, m->display);
    }
    for (size_t i = 0; i < form_count(m->fields) && !q.failed; i++) {
        const struct field *f = form_field(m->fields, i);
        if (f->hidden) {
            continue;
        }
        if (f->file) {
            put_upload(&q, f);
        } else {
            put_field(&q, f);
        }
        put_repairs(&q, f);
    }
    put_footer(&q, m);
    return encode_qp_end(&q);
}
