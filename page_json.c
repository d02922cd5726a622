/* The JSON (RFC 8259) that scripts get. Pure. */

#include "bridge.h"

void page_json_string(struct buf *out, const char *text)
{
    buf_byte(out, '"');
    for (const char *p = text; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\') {
            buf_byte(out, '\\');
            buf_byte(out, c);
        } else if (c < 0x20 || c == 0x7F || c == '<') { /* '<': then no "</script>" can stand in it */
            buf_fmt(out, "\\u%04x", c);
        } else {
            buf_byte(out, c);
        }
    }
    buf_byte(out, '"');
}

void page_json_ok(struct buf *out, const char *ref, const char *next)
{
    buf_str(out, "{\"ok\":true,\"id\":");
    page_json_string(out, ref);
    buf_str(out, ",\"next\":");
    page_json_string(out, next != NULL
                              ? next
                              : ""); /* Formspree's client takes success without a string here for an error */
    buf_str(out, "}\n");
}

void page_json_error(struct buf *out, const char *what, const struct rules_error *errors, size_t count)
{
    buf_str(out, "{\"error\":");
    page_json_string(out, what);
    buf_str(out, ",\"errors\":[");
    for (size_t i = 0; i < count; i++) {
        buf_str(out, i > 0 ? ",{" : "{");
        if (errors[i].field != NULL) {
            buf_str(out, "\"field\":");
            page_json_string(out, errors[i].field);
            buf_byte(out, ',');
        }
        buf_str(out, "\"code\":");
        page_json_string(out, errors[i].code);
        buf_str(out, ",\"message\":");
        page_json_string(out, errors[i].message);
        buf_byte(out, '}');
    }
    buf_str(out, "]}\n");
}

/* Formspree's names where it has one. */
static const char *refusal_code(unsigned status)
{
    switch (status) {
    case 403: return "BLOCKED";
    case 404: return "FORM_NOT_FOUND";
    case 405: return "METHOD_NOT_ALLOWED";
    case 408: return "TIMEOUT";
    case 411: return "LENGTH_REQUIRED";
    case 413: return "FILES_TOO_BIG";
    case 415: return "UNSUPPORTED_TYPE";
    case 429: return "TOO_OFTEN";
    case 431: return "HEAD_TOO_LARGE";
    case 503: return "UNAVAILABLE";
    default: return "MALFORMED";
    }
}

void page_json_refusal(struct buf *out, const struct page_style *s, unsigned status,
                       const struct page_reason *why)
{
    const char *text = why != NULL ? why->what : NULL;
    if (text == NULL && why != NULL) {
        text = why->detail;
    }
    if (text == NULL) {
        text = words_refusal(s->language, status)->what;
    }
    /* Listed too: Formspree's client shows its user the list alone. */
    const char *code = why != NULL ? why->code : NULL;
    const struct rules_error error = {.code = code != NULL ? code : refusal_code(status), .message = text};
    page_json_error(out, error.message, &error, 1);
}

void page_json_token(struct buf *out, const struct form_conf *f, const char *token)
{
    buf_str(out, "{\"token\":");
    page_json_string(out, token);
    buf_fmt(out, ",\"bits\":%u,\"min_time\":%u}\n", f->proof_bits, f->min_time);
}
