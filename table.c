/* The mail as an HTML table, beside the text of letter.c. Whatever was typed is escaped character by character; what
 * formbridge itself says stands in <em>, which nobody can type. */

#include "bridge.h"

#include <string.h>

static void put_text(struct encode_qp *q, const char *text)
{
    encode_qp_put(q, text, strlen(text));
}

/* A line of markup of ours. */
static void put_line(struct encode_qp *q, const char *text)
{
    put_text(q, text);
    encode_qp_break(q);
}

static void put_character(struct encode_qp *q, uint32_t c)
{
    unsigned char bytes[4];
    switch (c) {
    case '&': put_text(q, "&amp;"); break;
    case '<': put_text(q, "&lt;"); break;
    case '>': put_text(q, "&gt;"); break;
    case '"': put_text(q, "&#34;"); break;
    case '\'': put_text(q, "&#39;"); break;
    default: encode_qp_put(q, bytes, utf8_bytes(c, bytes));
    }
}

/* On one line. */
static void put_label(struct encode_qp *q, struct span label)
{
    for (size_t at = 0; at < label.len;) {
        uint32_t c;
        at += utf8_next(label.at + at, label.len - at, &c);
        put_character(q, utf8_shown(c));
    }
}

/* With its lines, tabs, and the marks that right-to-left text needs: a cell is a paragraph of its own, so none of
 * them reaches out of it (Unicode Standard Annex 9, rule P1). */
static void put_value(struct encode_qp *q, const struct buf *value)
{
    for (size_t at = 0; at < value->len && !q->failed;) {
        uint32_t c;
        at += utf8_next(value->data + at, value->len - at, &c);
        switch (utf8_class(c)) {
        case UTF8_BREAK:
            if (c == '\r' && at < value->len && value->data[at] == '\n') {
                at++;
            }
            put_text(q, "<br>");
            break;
        case UTF8_CONTROL: put_character(q, utf8_shown(c)); break;
        default: put_character(q, c);
        }
    }
}

static void put_remark(struct encode_qp *q, struct span remark)
{
    put_text(q, "<em>");
    put_label(q, remark);
    put_text(q, "</em>");
}

static void put_upload(struct encode_qp *q, const struct field *f)
{
    char memory[LETTER_UPLOAD_SIZE];
    struct buf remark;
    buf_borrow(&remark, memory, sizeof memory);
    letter_upload(f, &remark);
    q->failed = q->failed || !buf_ok(&remark);
    put_remark(q, (struct span){memory, remark.len});
    explicit_bzero(memory, sizeof memory);
}

static void put_row(struct encode_qp *q, const struct field *f)
{
    put_text(q, "<tr style=\"border-top:1px solid #bbb\"><th scope=\"row\" align=\"left\" valign=\"top\">");
    put_label(q, form_label(f));
    put_line(q, "</th>");
    put_text(q,
             "<td dir=\"auto\" style=\"white-space:pre-wrap;overflow-wrap:anywhere;word-break:break-word\">");
    if (f->file) {
        put_upload(q, f);
    } else {
        put_value(q, &f->value);
    }
    for (unsigned repair = REPAIRED_NOT; repair > 0; repair >>= 1) {
        const char *remark = letter_repair(f, repair);
        if (remark != NULL) {
            put_text(q, "<br>");
            put_remark(q, text_span(remark));
        }
    }
    put_line(q, "</td></tr>");
}

/* RFC 9788 §5.2.3. */
static void put_display(struct encode_qp *q, const char *lines)
{
    put_text(q, "<div class=\"header-protection-legacy-display\"><pre>");
    while (*lines != '\0') {
        size_t len = strcspn(lines, "\n");
        put_label(q, (struct span){lines, len});
        put_text(q, "<br>");
        lines += len + (lines[len] == '\n');
    }
    put_line(q, "</pre></div>");
}

static void put_footer(struct encode_qp *q, const struct message *m)
{
    char memory[64];
    struct buf date;
    buf_borrow(&date, memory, sizeof memory);
    date_plain(&date, m->time);
    put_text(q, "<p style=\"font-size:small\">Receipt: ");
    put_text(q, m->ref); /* it and the form's name have letters, digits, "-" and "_" */
    put_text(q, "<br>Form: ");
    put_text(q, m->form);
    put_text(q, "<br>Received: ");
    encode_qp_put(q, date.data, date.len);
    put_line(q, "</p>");
}

bool table_write(const struct message *m, struct sink *out)
{
    struct encode_qp q;
    encode_qp_begin(&q, out);
    put_line(&q, "<!DOCTYPE html>");
    put_text(&q, "<html><head><meta charset=\"utf-8\"><title>");
    put_text(&q, m->ref);
    put_line(&q, "</title></head>");
    put_line(&q, "<body style=\"font-family:sans-serif\">");
    if (m->display != NULL) {
        put_display(&q, m->display);
    }
    put_line(&q, "<table cellpadding=\"6\" style=\"border-collapse:collapse\">");
    for (size_t i = 0; i < form_count(m->fields) && !q.failed; i++) {
        const struct field *f = form_field(m->fields, i);
        if (!f->hidden) {
            put_row(&q, f);
        }
    }
    put_line(&q, "</table>");
    put_footer(&q, m);
    put_line(&q, "</body></html>");
    return encode_qp_end(&q);
}
