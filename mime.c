/* A form becomes an RFC 5322 message: a header block of ours, the text of letter.c, and the uploads. */

#include "bridge.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    HEAD_MAX = 1 << 20,       /* a header block; the config alone makes it long */
    SUBJECT_MAX = 200,        /* characters */
    REPLY_TEMPLATE_MAX = 200, /* bytes; a line of the config has fewer */
    SUBJECT_SIZE = 804,       /* 4 bytes each, the ellipsis and a NUL */
    LOCAL_PART_MAX = 64,      /* RFC 5321 §4.5.3.1.1 */
    LABEL_MAX = 63,           /* RFC 1035 §2.3.4 */
    TYPE_BESIDE_NAME = 63,    /* "Content-Type: " and ";" leave this of a line */
    BOUNDARY_SIZE = 2 + 1 + 32 + 1,
};

/* ---- addresses ------------------------------------------------------------------------------- */

static bool is_alnum(uint32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* RFC 6531 §3.3 lets any UTF-8 in; what cannot be seen, or changes how the rest is shown, stays out. */
static bool is_international(uint32_t c)
{
    return c >= 0x80 && c != UTF8_REPLACEMENT && utf8_class(c) == UTF8_TEXT;
}

static bool is_atext(uint32_t c) /* RFC 5322 §3.2.3 */
{
    return is_alnum(c) || (c > ' ' && c < 0x80 && strchr("!#$%&'*+-/=?^_`{|}~", (int)c) != NULL) ||
           is_international(c);
}

static bool is_domain_character(uint32_t c)
{
    return is_alnum(c) || c == '-' || is_international(c);
}

/* Runs of permitted characters, each at most longest bytes, with single dots between them. */
static bool is_dotted(const char *text, size_t len, size_t longest, bool (*permitted)(uint32_t))
{
    size_t run = 0;
    for (size_t at = 0; at < len;) {
        uint32_t c;
        size_t n = utf8_next(text + at, len - at, &c);
        if (c == '.') {
            if (run == 0) {
                return false;
            }
            run = 0;
        } else if (!permitted(c) || run + n > longest) {
            return false;
        } else {
            run += n;
        }
        at += n;
    }
    return run > 0;
}

static bool is_domain(const char *text, size_t len)
{
    if (len > HOST_NAME_MAX_ || !is_dotted(text, len, LABEL_MAX, is_domain_character)) {
        return false;
    }
    /* RFC 5321 §4.1.2: a sub-domain begins and ends with a letter or digit. */
    for (size_t i = 0; i < len; i++) {
        bool edge = i == 0 || i == len - 1 || text[i - 1] == '.' || text[i + 1] == '.';
        if (text[i] == '-' && edge) {
            return false;
        }
    }
    return true;
}

bool mime_address_ok(const char *text, size_t len)
{
    if (len == 0 || len > MAIL_ADDRESS_MAX) {
        return false;
    }
    const char *at = memchr(text, '@', len);
    if (at == NULL) {
        return false;
    }
    size_t local = (size_t)(at - text);
    return local <= LOCAL_PART_MAX && is_dotted(text, local, LOCAL_PART_MAX, is_atext) &&
           is_domain(at + 1, len - local - 1);
}

/* ---- templates ------------------------------------------------------------------------------- */

size_t mime_placeholder(const char *at, struct placeholder *p)
{
    size_t len = at[0] == '{' ? strcspn(at + 1, "{}") : 0;
    if (len == 0 || at[1 + len] != '}') {
        return 0;
    }
    const char *inside = at + 1;
    size_t front = strcspn(inside, "|{}");
    size_t name = strcspn(inside, ":|{}");
    *p = (struct placeholder){.limit = SIZE_MAX};
    if (front < len) {
        p->fallback = (struct span){inside + front + 1, len - front - 1};
    }
    uint64_t limit;
    if (name < front) {
        if (!text_number(inside + name + 1, front - name - 1, &limit) || limit == 0 || limit > SUBJECT_MAX) {
            return 0;
        }
        p->limit = (size_t)limit;
    }
    if (name == 0 || name > FIELD_NAME_MAX) {
        return 0;
    }
    memcpy(p->name, inside, name);
    p->name[name] = '\0';
    return len + 2;
}

static struct span value_of(const struct message *m, const char *name)
{
    if (strcmp(name, "ref") == 0) {
        return text_span(m->ref);
    }
    if (strcmp(name, "form") == 0) {
        return text_span(m->form);
    }
    const struct field *f = form_find(m->fields, name);
    return f == NULL ? (struct span){NULL, 0} : buf_span(&f->value);
}

static bool put_value(const struct message *m, const struct placeholder *p, struct sink *out)
{
    struct span value = text_trim(value_of(m, p->name), TEXT_SPACES);
    if (value.len == 0) {
        value = p->fallback;
    }
    size_t cut = 0;
    for (size_t left = p->limit; cut < value.len && left > 0; left--) {
        uint32_t c;
        cut += utf8_next(value.at + cut, value.len - cut, &c);
    }
    return (cut == 0 || out->put(out, value.at, cut)) &&
           (cut == value.len || out->put(out, "…", strlen("…")));
}

/* One pass: braces within a visitor's value stay what they are. */
static bool expand(const struct message *m, const char *template, struct sink *out)
{
    const char *at = template;
    while (*at != '\0') {
        struct placeholder p;
        size_t len = mime_placeholder(at, &p);
        bool ok;
        if (len > 0) {
            ok = put_value(m, &p, out);
        } else {
            len = 1 + strcspn(at + 1, "{");
            ok = out->put(out, at, len);
        }
        if (!ok) {
            return false;
        }
        at += len;
    }
    return true;
}

/* ---- the header block ------------------------------------------------------------------------ */

struct title { /* one line of text for a header, from any bytes */
    struct sink sink;
    struct buf text;
    size_t characters;
    bool gap; /* white space or controls since the last character */
    char memory[SUBJECT_SIZE];
};

static bool title_character(struct title *t, uint32_t c)
{
    enum utf8_class class = utf8_class(c);
    if (class == UTF8_BIDI) {
        return true;
    }
    if (class != UTF8_TEXT) {
        t->gap = t->characters > 0;
        return true;
    }
    if (t->characters + t->gap >= SUBJECT_MAX) {
        buf_str(&t->text, "…");
        return false;
    }
    if (t->gap) {
        buf_byte(&t->text, ' ');
        t->characters++;
        t->gap = false;
    }
    unsigned char bytes[4];
    buf_put(&t->text, bytes, utf8_bytes(c, bytes));
    t->characters++;
    return true;
}

static bool title_put(struct sink *s, const void *bytes, size_t len)
{
    struct title *t = (struct title *)s;
    const unsigned char *at = bytes;
    while (len > 0) {
        uint32_t c;
        size_t n = utf8_next(at, len, &c);
        if (!title_character(t, c)) {
            return false;
        }
        at += n;
        len -= n;
    }
    return true;
}

/* It is in t, which the caller wipes. */
static const char *subject_of(const struct message *m, struct title *t)
{
    *t = (struct title){.sink = {title_put}};
    buf_borrow(&t->text, t->memory, sizeof t->memory);
    expand(m, m->subject, &t->sink); /* false: it was long enough already */
    const char *text = buf_text(&t->text);
    return text != NULL ? text : "";
}

static void put_subject(const struct message *m, struct buf *head)
{
    struct title t;
    encode_header_text(head, "Subject", subject_of(m, &t));
    explicit_bzero(&t, sizeof t);
}

static bool is_ascii(const char *text)
{
    while (*text != '\0' && (unsigned char)*text < 0x80) {
        text++;
    }
    return *text == '\0';
}

/* The one address that stands in b, or NULL. Blanks typed or pasted around it do not matter. */
static const char *only_address(struct buf *b)
{
    char *text = buf_text(b) == NULL ? NULL : (char *)b->data;
    if (text == NULL) {
        return NULL;
    }
    static const char blank[] = " \t\r\n";
    size_t skip = strspn(text, blank);
    size_t end = b->len;
    while (end > skip && strchr(blank, text[end - 1]) != NULL) {
        end--;
    }
    if (!mime_address_ok(text + skip, end - skip)) {
        return NULL;
    }
    text[end] = '\0';
    return text + skip;
}

struct reply { /* where an answer goes */
    struct buf text;
    struct title name;
    const char *address; /* in text */
    char memory[2 * MAIL_ADDRESS_MAX];
};

/* From "NAME <ADDRESS>" or "ADDRESS"; which of the two it is, the template alone says. */
static bool expand_reply(const struct message *m, struct reply *r)
{
    char part[REPLY_TEMPLATE_MAX + 1];
    struct buf_sink out;
    const char *open = strchr(m->reply_to, '<');
    const char *address = open != NULL ? open + 1 : m->reply_to;
    size_t front = open != NULL ? (size_t)(open - m->reply_to) : 0, len = strlen(address) - (open != NULL);
    buf_sink(&out, &r->text);
    return text_fmt(part, sizeof part, "%.*s", (int)len, address) && expand(m, part, &out.sink) &&
           text_fmt(part, sizeof part, "%.*s", (int)front, m->reply_to) &&
           (expand(m, part, &r->name.sink) || r->name.characters > 0);
}

/* An address that is not ASCII may stand in a header only if every host on the way knows RFC 6531; one that
 * does not would refuse the whole submission. The field is in the text of the mail all the same. false: none. The caller
 * wipes r in any case. */
static bool reply_of(const struct message *m, struct reply *r)
{
    *r = (struct reply){.name.sink = {title_put}};
    buf_borrow(&r->text, r->memory, sizeof r->memory);
    buf_borrow(&r->name.text, r->name.memory, sizeof r->name.memory);
    if (m->reply_to == NULL || !expand_reply(m, r)) {
        return false;
    }
    r->address = only_address(&r->text);
    return r->address != NULL && is_ascii(r->address) && buf_ok(&r->name.text);
}

void mime_mark_reply(const struct message *m)
{
    struct reply r;
    struct placeholder p;
    bool goes = reply_of(m, &r);
    explicit_bzero(&r, sizeof r);
    const char *open = m->reply_to == NULL ? NULL : strchr(m->reply_to, '<');
    const char *at = m->reply_to == NULL ? NULL : strchr(open != NULL ? open : m->reply_to, '{');
    if (goes || at == NULL || mime_placeholder(at, &p) == 0) {
        return;
    }
    struct field *f = form_find(m->fields, p.name);
    if (f != NULL && text_trim(buf_span(&f->value), TEXT_SPACES).len > 0) {
        f->repaired |= REPAIRED_NOT;
    }
}

static void put_reply_to(const struct message *m, struct buf *head)
{
    struct reply r;
    if (reply_of(m, &r)) {
        encode_header_mailbox(head, "Reply-To", buf_text(&r.name.text), r.address);
    }
    explicit_bzero(&r, sizeof r);
}

void mime_display(const struct message *m, struct buf *out)
{
    struct title t;
    struct reply r;
    buf_fmt(out, "Subject: %s\n", subject_of(m, &t));
    if (reply_of(m, &r)) {
        bool named = r.name.text.len > 0;
        buf_fmt(out, "Reply-To: %s%s%s%s\n", named ? buf_text(&r.name.text) : "", named ? " <" : "",
                r.address, named ? ">" : "");
    }
    explicit_bzero(&t, sizeof t);
    explicit_bzero(&r, sizeof r);
}

/* Moves what was put together in line into a header field. */
static void put_line(struct buf *head, const char *name, struct buf *line)
{
    const char *text = buf_text(line);
    if (text == NULL) {
        head->failed = true;
    } else {
        encode_header(head, name, text);
    }
    buf_clear(line);
}

/* RFC 5321 §4.4: the visitor's address is the TCP-info; program and cipher are comments. */
static void put_received(const struct message *m, struct buf *head, struct buf *line)
{
    const char *tag = strchr(m->peer, ':') != NULL ? "IPv6:" : ""; /* §4.1.3 */
    if (strpbrk(m->peer, ".:") != NULL) {
        buf_fmt(line, "from [%s%s] ([%s%s]) ", tag, m->peer, tag, m->peer);
    } else { /* "unknown": a proxy keeps the address to itself */
        buf_fmt(line, "from %s ", m->peer);
    }
    buf_fmt(line, "by %s (formbridge) with %s ", m->hostname, m->protocol);
    if (m->tls != NULL) {
        buf_fmt(line, "(%s) ", m->tls);
    }
    buf_fmt(line, "id %s; ", m->ref);
    date_mail(line, m->time);
    put_line(head, "Received", line);
}

static void put_to(const struct message *m, struct buf *head, struct buf *line)
{
    for (size_t i = 0; i < m->to_count; i++) {
        buf_fmt(line, "%s%s", i == 0 ? "" : ", ", m->to[i]);
    }
    put_line(head, "To", line);
}

/* The names under which mail programs and filters know it. */
static void put_spam(const struct message *m, struct buf *head, struct buf *line)
{
    if (m->spam) {
        encode_header(head, "X-Spam-Flag", "YES");
    }
    if (m->spam_score > 0) {
        buf_fmt(line, "%u", m->spam_score);
        put_line(head, "X-Spam-Score", line);
        encode_header(head, "X-Spam-Reason", m->spam_why);
    }
}

/* Everything but the Content- fields. */
static void put_head(const struct message *m, struct buf *head)
{
    struct buf line;
    buf_init(&line, HEAD_MAX);
    put_received(m, head, &line);
    date_mail(&line, m->time);
    put_line(head, "Date", &line);
    encode_header_mailbox(head, "From", m->from_name, m->from);
    put_to(m, head, &line);
    put_subject(m, head);
    put_reply_to(m, head);
    buf_fmt(&line, "<%s.%" PRId64 "@%s>", m->ref, m->time, m->hostname);
    put_line(head, "Message-ID", &line);
    encode_header(head, "X-Formbridge-Form", m->form);
    encode_header(head, "X-Formbridge-Ref", m->ref);
    put_spam(m, head, &line);
    encode_header(head, "MIME-Version", "1.0");
    buf_free(&line);
}

/* ---- parts ----------------------------------------------------------------------------------- */

static bool flush(struct buf *head, struct sink *out)
{
    bool ok = buf_ok(head) && out->put(out, head->data, head->len);
    buf_clear(head);
    return ok;
}

/* RFC 9788 §2.1.2: by the parameter a mail program that shows the protected header knows to leave the display out. */
static bool put_text_head(const struct message *m, struct buf *head, struct sink *out, const char *type)
{
    buf_fmt(head, "Content-Type: %s; charset=UTF-8%s\n", type,
            m->display != NULL ? "; hp-legacy-display=\"1\"" : "");
    buf_str(head, "Content-Transfer-Encoding: quoted-printable\n\n");
    return flush(head, out);
}

static bool put_text_part(const struct message *m, struct buf *head, struct sink *out)
{
    return put_text_head(m, head, out, "text/plain") && letter_write(m, out);
}

/* The name in ASCII is for readers that do not know RFC 2231. It stands in Content-Type, as several of those
 * that do know it would take a plain `filename` in Content-Disposition for the better one. */
static void put_upload_head(const struct field *f, struct buf *head, const char *name)
{
    char memory[FILE_NAME_MAX + 1];
    struct buf type;
    buf_borrow(&type, memory, sizeof memory);
    upload_type(f, &type);
    buf_str(head, type.len <= TYPE_BESIDE_NAME ? "Content-Type: " : "Content-Type:\n ");
    buf_put(head, type.data, type.len);
    encode_parameter_ascii(head, "name", name);
    buf_str(head, "\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment");
    encode_parameter(head, "filename", name);
    buf_str(head, "\n\n");
}

static bool put_upload(const struct field *f, struct buf *head, struct sink *out)
{
    char memory[FILE_NAME_MAX + 1];
    struct buf text;
    buf_borrow(&text, memory, sizeof memory);
    upload_name(f, &text);
    const char *name = buf_text(&text);
    if (name != NULL) {
        put_upload_head(f, head, name);
    }
    bool ok = name != NULL && flush(head, out) && encode_base64(out, f->value.data, f->value.len);
    explicit_bzero(memory, sizeof memory);
    return ok;
}

/* 128 random bits behind "=_", which neither quoted-printable nor base64 can contain (RFC 2045 §6.7). mark: what
 * tells two boundaries of a message apart, such that neither begins with the other. */
static void make_boundary(char boundary[BOUNDARY_SIZE], const char *mark, const unsigned char seed[16])
{
    struct buf text;
    buf_borrow(&text, boundary, BOUNDARY_SIZE);
    buf_fmt(&text, "=_%s", mark);
    buf_hex(&text, seed, 16);
    buf_byte(&text, '\0');
}

/* RFC 2046 §5.1.4: the same twice, what the owner would rather see last. */
static bool put_alternative(const struct message *m, struct buf *head, struct sink *out)
{
    char boundary[BOUNDARY_SIZE];
    make_boundary(boundary, "A", m->seed);
    buf_fmt(head, "Content-Type: multipart/alternative;\n boundary=\"%s\"\n\n--%s\n", boundary, boundary);
    bool ok = put_text_part(m, head, out);
    buf_fmt(head, "\n--%s\n", boundary);
    ok = ok && put_text_head(m, head, out, "text/html") && table_write(m, out);
    buf_fmt(head, "\n--%s--\n", boundary);
    return ok && flush(head, out);
}

static bool put_body(const struct message *m, struct buf *head, struct sink *out)
{
    return m->body & BODY_HTML ? put_alternative(m, head, out) : put_text_part(m, head, out);
}

/* One of record.c. The name and the type are ours. */
static bool put_record(const struct message *m, struct buf *head, struct sink *out, const char *type,
                       const char *name, bool (*write)(const struct message *, struct sink *))
{
    buf_fmt(head, "Content-Type: %s\nContent-Transfer-Encoding: base64\n", type);
    buf_fmt(head, "Content-Disposition: attachment; filename=\"%s\"\n\n", name);
    return flush(head, out) && write(m, out);
}

static bool put_records(const struct message *m, const char *boundary, struct buf *head, struct sink *out)
{
    bool ok = true;
    if (m->body & BODY_JSON) {
        buf_fmt(head, "\n--%s\n", boundary);
        ok = put_record(m, head, out, "application/json", "fields.json", record_json);
    }
    if (ok && m->body & BODY_CSV) {
        buf_fmt(head, "\n--%s\n", boundary);
        ok = put_record(m, head, out, "text/csv; charset=UTF-8", "fields.csv", record_csv);
    }
    return ok;
}

/* RFC 2046 §5.1.1: the line end before a boundary belongs to the boundary, so each part is followed by one
 * more. */
static bool put_mixed(const struct message *m, struct buf *head, struct sink *out)
{
    char boundary[BOUNDARY_SIZE];
    make_boundary(boundary, "", m->seed);
    buf_fmt(head, "Content-Type: multipart/mixed; boundary=\"%s\"\n\n--%s\n", boundary, boundary);
    bool ok = put_body(m, head, out);
    for (size_t i = 0; i < form_count(m->fields) && ok; i++) {
        const struct field *f = form_field(m->fields, i);
        if (f->file && !f->hidden) {
            buf_fmt(head, "\n--%s\n", boundary);
            ok = put_upload(f, head, out);
        }
    }
    ok = ok && put_records(m, boundary, head, out);
    buf_fmt(head, "\n--%s--\n", boundary);
    return ok && flush(head, out);
}

static bool has_attachment(const struct message *m)
{
    bool found = (m->body & (BODY_JSON | BODY_CSV)) != 0;
    for (size_t i = 0; i < form_count(m->fields) && !found; i++) {
        const struct field *f = form_field(m->fields, i);
        found = f->file && !f->hidden;
    }
    return found;
}

bool mime_compose(const struct message *m, struct sink *out)
{
    struct buf head;
    buf_init(&head, HEAD_MAX);
    put_head(m, &head);
    bool ok = has_attachment(m) ? put_mixed(m, &head, out) : put_body(m, &head, out);
    buf_free(&head);
    return ok;
}
