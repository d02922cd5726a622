/* multipart/form-data (RFC 7578, RFC 2046 §5.1) as browsers send it, as a stream.
 *
 *     delimiter line, header lines, empty line, content,
 *     delimiter line, header lines, empty line, content,
 *     closing delimiter [CRLF]
 *
 * The CRLF before a delimiter belongs to it. A boundary holds no CR, so that a match that fails can begin
 * anew only at the byte it failed at: every byte is looked at a bounded number of times, whatever the content
 * imitates.
 *
 * Strict where two readers could differ: nothing before the first delimiter (but a CRLF) or behind the last,
 * nothing but white space behind a boundary, CRLF alone ends a line, no folded lines. A part inside a part is
 * content. */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

enum {
    LINE_LIMIT = 8192, /* a name and a file name, both of "&#1114111;" */
    HEADERS_MAX = 16,  /* of a part; browsers send two */
};

enum part_state {
    START,     /* before the first byte */
    OPENING,   /* in the first delimiter */
    CONTENT,   /* in a part */
    BEHIND,    /* directly behind a delimiter */
    PADDING,   /* in the white space there (RFC 2046: transport-padding) */
    LINE_END,  /* behind the CR of a delimiter line */
    HEADERS,   /* in a header line */
    HEADER_LF, /* behind its CR */
    CLOSING,   /* behind the first "-" of a closing delimiter */
    CLOSED,    /* behind the second */
    CLOSED_LF, /* behind the CR there */
    DONE,
};

struct multipart {
    enum part_state state;
    struct buf delimiter; /* CR LF "--" boundary */
    size_t matched;       /* bytes of it that have been seen */
    size_t outside;  /* of these, how many are no content if the match fails: they ended the line before */
    struct buf line; /* a header line */
    struct buf parameter; /* one of its values */
    unsigned headers;     /* lines of this part so far */
    struct field *field;  /* the part */
    bool disposed;        /* has its Content-Disposition, */
    bool named;           /* with a name, */
    bool starred;         /* with a filename*, */
    bool typed;           /* its Content-Type, */
    bool encoded;         /* its Content-Transfer-Encoding */
};

struct multipart *multipart_new(const struct buf *boundary)
{
    struct multipart *m = calloc(1, sizeof(*m));
    if (m == NULL) {
        return NULL;
    }
    buf_init(&m->delimiter, boundary->len + 4);
    buf_init(&m->line, LINE_LIMIT);
    buf_init(&m->parameter, LINE_LIMIT);
    buf_str(&m->delimiter, "\r\n--");
    buf_put(&m->delimiter, boundary->data, boundary->len);
    if (!buf_ok(&m->delimiter)) {
        multipart_free(m);
        return NULL;
    }
    return m;
}

void multipart_free(struct multipart *m)
{
    if (m != NULL) {
        buf_free(&m->delimiter);
        buf_free(&m->line);
        buf_free(&m->parameter);
        free(m);
    }
}

size_t multipart_memory(const struct multipart *m)
{
    return sizeof(*m) + m->delimiter.cap + m->line.cap + m->parameter.cap;
}

static bool malformed(struct form *f, const char *why)
{
    return form_fail(f, FORM_MALFORMED, why);
}

/* ---- header lines of a part ------------------------------------------------------------------ */

/* One parameter of a Content-Disposition, read into m->parameter. */
static bool disposition_parameter(struct multipart *m, struct form *f, const char *name, size_t len)
{
    bool is_name = text_same(name, len, "name"), is_file = text_same(name, len, "filename");
    if ((is_name && m->named) || (is_file && m->field->file)) {
        return malformed(f, "A part of the form has two names.");
    }
    m->named |= is_name;
    m->starred |= text_same(name, len, "filename*");
    if (is_file && !form_file(f, m->field)) {
        return false;
    }
    return (!is_name && !is_file) ||
           form_put(f, is_name ? &m->field->name : &m->field->filename, m->parameter.data, m->parameter.len);
}

static bool disposition(struct multipart *m, struct form *f, struct span value)
{
    const char *at = value.at + text_token(value.at, value.len), *end = value.at + value.len, *name;
    size_t len;
    if (m->disposed || !text_same(value.at, (size_t)(at - value.at), "form-data")) {
        return malformed(f, "A part of the form has not exactly one Content-Disposition, of form-data.");
    }
    m->disposed = true;
    enum form_param got;
    for (;;) {
        buf_clear(&m->parameter);
        got = form_param(&at, end, false, &name, &len, &m->parameter);
        if (got != PARAM_READ) {
            break;
        }
        if (!buf_ok(&m->parameter)) {
            return form_fail(f, FORM_NO_MEMORY, "There is no memory left for this form.");
        }
        if (!disposition_parameter(m, f, name, len)) {
            return false;
        }
    }
    return got == PARAM_END ||
           malformed(f, "A part of the form has a Content-Disposition that cannot be read: "
                        "write a quote in a name as %22.");
}

/* What cannot be read is no type and no charset: the sender's claim, on which nothing depends. */
static bool content_type(struct multipart *m, struct form *f, struct span value)
{
    if (m->typed) {
        return malformed(f, "A part of the form has two Content-Type lines.");
    }
    m->typed = true;
    unsigned char type_memory[FORM_TYPE_MAX], charset_memory[FORM_LABEL_MAX];
    struct buf type, charset;
    buf_borrow(&type, type_memory, sizeof(type_memory));
    buf_borrow(&charset, charset_memory, sizeof(charset_memory));
    return !form_media_type(value.at, value.len, &type, NULL, &charset) ||
           (form_put(f, &m->field->type, type.data, type.len) &&
            form_put(f, &m->field->charset, charset.data, charset.len));
}

/* RFC 7578 §4.7: deprecated, and harmless as long as it encodes nothing. */
static bool transfer_encoding(struct multipart *m, struct form *f, struct span value)
{
    if (m->encoded || (!text_same(value.at, value.len, "binary") && !text_same(value.at, value.len, "8bit") &&
                       !text_same(value.at, value.len, "7bit"))) {
        return malformed(f,
                         "A part of the form has a Content-Transfer-Encoding: send the bytes as they are.");
    }
    m->encoded = true;
    return true;
}

static bool header(struct multipart *m, struct form *f)
{
    const char *line = (const char *)m->line.data, *end = line + m->line.len;
    if (++m->headers > HEADERS_MAX) {
        return form_fail(f, FORM_TOO_LARGE, "A part of the form has more than 16 header lines.");
    }
    if (text_one_of(*line, TEXT_BLANKS)) {
        return malformed(f, "A part of the form has a folded header line: write it as one line.");
    }
    size_t name = text_token(line, m->line.len);
    if (name == 0 || line + name == end || line[name] != ':') {
        return malformed(f, "A part of the form has a header line that is not \"Name: value\".");
    }
    const char *colon = line + name;
    struct span value = text_trim((struct span){colon + 1, (size_t)(end - colon - 1)}, TEXT_BLANKS);
    if (text_same(line, name, "Content-Disposition")) {
        return disposition(m, f, value);
    }
    if (text_same(line, name, "Content-Type")) {
        return content_type(m, f, value);
    }
    if (text_same(line, name, "Content-Transfer-Encoding")) {
        return transfer_encoding(m, f, value);
    }
    return true;
}

static bool part_begin(struct multipart *m, struct form *f)
{
    m->state = HEADERS;
    m->headers = 0;
    m->disposed = m->named = m->starred = m->typed = m->encoded = false;
    buf_clear(&m->line);
    m->field = form_add(f);
    return m->field != NULL;
}

/* A filename* is what RFC 7578 §4.2 forbids and no browser sends. Beside a filename it is ignored; alone it
 * would leave an upload without a name, or taken for text. */
static bool head_complete(const struct multipart *m, struct form *f)
{
    if (!m->disposed) {
        return malformed(f, "A part of the form has no Content-Disposition.");
    }
    if (!m->named) {
        return malformed(f, "A part of the form has no name.");
    }
    return !m->starred || m->field->file ||
           malformed(f, "A part of the form has a filename* but no filename.");
}

static bool header_end(struct multipart *m, struct form *f)
{
    if (m->line.len > 0) {
        m->state = HEADERS;
        bool ok = header(m, f);
        buf_clear(&m->line);
        return ok;
    }
    /* Behind the empty line the delimiter may follow at once: a part may lack even an empty content (RFC 2046
     * §5.1.1). */
    m->state = CONTENT;
    m->matched = m->outside = 2;
    return head_complete(m, f);
}

/* Takes what of [p, end) belongs to a header line, with its CR. Returns where it stopped, or NULL. */
static const char *header_feed(struct multipart *m, struct form *f, const char *p, const char *end)
{
    const char *cr = memchr(p, '\r', (size_t)(end - p));
    size_t len = (size_t)((cr == NULL ? end : cr) - p);
    size_t fits = len < LINE_LIMIT - m->line.len ? len : LINE_LIMIT - m->line.len;
    if (memchr(p, '\n', fits) != NULL) {
        malformed(f, "A part of the form has a header line that does not end with CR LF.");
        return NULL;
    }
    if (fits < len) {
        form_fail(f, FORM_TOO_LARGE, "A part of the form has a header line of more than 8192 bytes.");
        return NULL;
    }
    if (!form_put(f, &m->line, p, len)) {
        return NULL;
    }
    if (cr == NULL) {
        return end;
    }
    m->state = HEADER_LF;
    return cr + 1;
}

/* ---- content and delimiters ------------------------------------------------------------------ */

static bool put(struct multipart *m, struct form *f, const void *bytes, size_t len)
{
    if (m->state == OPENING) {
        return malformed(f, "The form does not begin with its boundary.");
    }
    return form_put(f, &m->field->value, bytes, len);
}

/* Takes content up to and with the next delimiter. Returns where it stopped, or NULL. */
static const char *content_feed(struct multipart *m, struct form *f, const char *p, const char *end)
{
    const struct buf *d = &m->delimiter;
    while (p < end) {
        if (m->matched == 0) {
            const char *cr = memchr(p, '\r', (size_t)(end - p));
            const char *stop = cr == NULL ? end : cr;
            if (stop > p && !put(m, f, p, (size_t)(stop - p))) {
                return NULL;
            }
            if (cr == NULL) {
                return end;
            }
            p = cr + 1;
            m->matched = 1;
        } else if ((unsigned char)*p == d->data[m->matched]) {
            p++;
            if (++m->matched == d->len) {
                m->matched = m->outside = 0;
                m->state = BEHIND;
                return p;
            }
        } else {
            if (!put(m, f, d->data + m->outside, m->matched - m->outside)) {
                return NULL;
            }
            m->matched = m->outside = 0;
        }
    }
    return p;
}

/* One byte where lines are made of a few known ones. */
static bool step(struct multipart *m, struct form *f, char c)
{
    switch (m->state) {
    case BEHIND:
        if (c == '-') {
            m->state = CLOSING;
            return true;
        }
        m->state = PADDING;
        /* fall through */
    case PADDING:
        if (c == '\r') {
            m->state = LINE_END;
            return true;
        }
        return text_one_of(c, TEXT_BLANKS) ||
               malformed(f, "The form has something else behind a boundary than a line end.");
    case LINE_END:
        return c == '\n' ? part_begin(m, f) : malformed(f, "A boundary line does not end with CR LF.");
    case HEADER_LF:
        return c == '\n' ? header_end(m, f) : malformed(f, "A part of the form has a CR in a header line.");
    case CLOSING:
        m->state = CLOSED;
        return c == '-' || malformed(f, "The closing boundary of the form does not end with \"--\".");
    case CLOSED:
        if (c == '\r') {
            m->state = CLOSED_LF;
            return true;
        }
        return text_one_of(c, TEXT_BLANKS) || malformed(f, "The form goes on behind its closing boundary.");
    case CLOSED_LF:
        m->state = DONE;
        return c == '\n' || malformed(f, "The form goes on behind its closing boundary.");
    default: return malformed(f, "The form goes on behind its closing boundary.");
    }
}

bool multipart_feed(struct multipart *m, struct form *f, const char *bytes, size_t len)
{
    const char *p = bytes, *end = bytes + len;
    while (p != NULL && p < end) {
        switch (m->state) {
        case START:
            m->state = OPENING;
            m->matched = m->outside = *p == '\r' ? 0 : 2;
            break;
        case OPENING:
        case CONTENT: p = content_feed(m, f, p, end); break;
        case HEADERS: p = header_feed(m, f, p, end); break;
        default: p = step(m, f, *p) ? p + 1 : NULL; break;
        }
    }
    return p != NULL;
}

bool multipart_end(const struct multipart *m, struct form *f)
{
    return m->state == CLOSED || m->state == DONE ||
           malformed(f, "The form ends before its closing boundary.");
}
