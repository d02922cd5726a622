/* SMTP as bytes: replies, capabilities, and a message made ready for the wire (pure). */

#include "bridge.h"

#include <string.h>

enum {
    LINES_MAX = 128,     /* of one reply: the longest EHLO answers seen have about 30 */
    TEXT_LINE_MAX = 998, /* RFC 5322 §2.1.1, without CRLF */
};

void wire_reply_init(struct wire_reply *r)
{
    r->code = 0;
    r->lines = 0;
    r->done = false;
    buf_borrow(&r->text, r->memory, sizeof r->memory);
}

/* RFC 5321 §4.2, with any second digit: hosts use more of them than the RFC has meanings for. */
static unsigned reply_code(const char *line, size_t len)
{
    if (len < 3 || line[0] < '2' || line[0] > '5') {
        return 0;
    }
    for (size_t i = 1; i < 3; i++) {
        if (!text_digit(line[i])) {
            return 0;
        }
    }
    return (unsigned)(line[0] - '0') * 100 + (unsigned)(line[1] - '0') * 10 + (unsigned)(line[2] - '0');
}

bool wire_reply_line(struct wire_reply *r, const char *line, size_t len)
{
    unsigned code = reply_code(line, len);
    if (code == 0 || r->done || (r->code != 0 && code != r->code) || r->lines == LINES_MAX) {
        return false;
    }
    if (len > 3 && line[3] != ' ' && line[3] != '-') {
        return false;
    }
    r->code = code;
    r->lines++;
    r->done = len == 3 || line[3] == ' ';
    if (len > 4) {
        buf_put(&r->text, line + 4, len - 4);
    }
    buf_byte(&r->text, '\n');
    return buf_ok(&r->text);
}

/* One to three digits: the parts of a status code in RFC 3463 §2. */
static size_t digits(const char *text, size_t len)
{
    size_t n = 0;
    while (n < len && n < 3 && text_digit(text[n])) {
        n++;
    }
    return n;
}

size_t wire_enhanced(const char *text, size_t len)
{
    if (len < 2 || (text[0] != '2' && text[0] != '4' && text[0] != '5') || text[1] != '.') {
        return 0;
    }
    size_t subject = digits(text + 2, len - 2);
    size_t dot = 2 + subject;
    if (subject == 0 || dot >= len || text[dot] != '.') {
        return 0;
    }
    size_t detail = digits(text + dot + 1, len - dot - 1);
    size_t end = dot + 1 + detail;
    if (detail == 0 || (end < len && text[end] != ' ')) {
        return 0;
    }
    return end;
}

bool wire_reply_each(const struct wire_reply *r, size_t *at, const char **line, size_t *len)
{
    if (*at >= r->text.len) {
        return false;
    }
    const char *start = (const char *)r->text.data + *at;
    const char *end = memchr(start, '\n', r->text.len - *at);
    *line = start;
    *len = end == NULL ? r->text.len - *at : (size_t)(end - start);
    *at += *len + 1;
    return true;
}

void wire_reply_text(const struct wire_reply *r, char *out, size_t size)
{
    struct buf b;
    buf_borrow(&b, out, size - 1);
    buf_fmt(&b, "%u", r->code);
    const char *line;
    size_t len, code = 0;
    for (size_t at = 0; wire_reply_each(r, &at, &line, &len);) {
        size_t skip =
            code == 0 ? 0 : wire_enhanced(line, len); /* on every line (RFC 2034 §4): once is enough */
        code = code == 0 ? wire_enhanced(line, len) : code;
        if (skip < len && line[skip] != ' ') {
            buf_byte(&b, ' ');
        }
        for (size_t i = skip; i < len; i++) {
            unsigned char c = (unsigned char)line[i];
            buf_byte(&b, c < 0x20 || c > 0x7e ? '?' : c);
        }
    }
    out[b.len] = '\0';
}

/* The next word of a line, or false. */
static bool next_word(const char **text, size_t *left, const char **word, size_t *len)
{
    while (*left > 0 && **text == ' ') {
        (*text)++;
        (*left)--;
    }
    *word = *text;
    while (*left > 0 && **text != ' ') {
        (*text)++;
        (*left)--;
    }
    *len = (size_t)(*text - *word);
    return *len > 0;
}

static void parse_auth(struct wire_caps *c, const char *text, size_t left)
{
    static const struct {
        const char *name;
        unsigned bit;
    } mechanisms[] = {
        {"SCRAM-SHA-256", CAP_SCRAM_SHA_256},
        {"PLAIN", CAP_PLAIN},
        {"LOGIN", CAP_LOGIN},
    };
    const char *word;
    size_t len;
    while (next_word(&text, &left, &word, &len)) {
        for (size_t i = 0; i < COUNT(mechanisms); i++) {
            if (text_same(word, len, mechanisms[i].name)) {
                c->offers |= mechanisms[i].bit;
            }
        }
    }
}

static void parse_capability(struct wire_caps *c, const char *line, size_t left)
{
    static const struct {
        const char *name;
        unsigned bit;
    } simple[] = {
        {"STARTTLS", CAP_STARTTLS}, {"PIPELINING", CAP_PIPELINING},
        {"8BITMIME", CAP_8BITMIME}, {"SMTPUTF8", CAP_SMTPUTF8},
        {"DSN", CAP_DSN},           {"REQUIRETLS", CAP_REQUIRETLS},
    };
    const char *word;
    size_t len;
    if (!next_word(&line, &left, &word, &len)) {
        return;
    }
    if (text_same(word, len, "AUTH")) {
        c->offers |= CAP_AUTH;
        parse_auth(c, line, left);
    } else if (text_same(word, len, "SIZE")) {
        c->offers |= CAP_SIZE;
        if (next_word(&line, &left, &word, &len) && !text_number(word, len, &c->size)) {
            c->size = 0; /* unreadable: let the host judge the size itself */
        }
    }
    for (size_t i = 0; i < COUNT(simple); i++) {
        if (text_same(word, len, simple[i].name)) {
            c->offers |= simple[i].bit;
        }
    }
}

void wire_caps_read(struct wire_caps *c, const struct wire_reply *r)
{
    *c = (struct wire_caps){0};
    const char *line;
    size_t len;
    size_t at = 0;
    if (!wire_reply_each(r, &at, &line, &len)) { /* the first line is the host's name */
        return;
    }
    while (wire_reply_each(r, &at, &line, &len)) {
        parse_capability(c, line, len);
    }
}

void wire_scan_init(struct wire_scan *s)
{
    *s = (struct wire_scan){.in_header = true};
}

void wire_scan(struct wire_scan *s, const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < len && s->fault == NULL; i++) {
        s->size += p[i] == '\n' ? 2 : 1;
        if (p[i] == '\n') {
            s->in_header = s->in_header && s->line > 0;
            s->line = 0;
            continue;
        }
        s->eight_bit = s->eight_bit || p[i] > 0x7f;
        s->eight_bit_header = s->eight_bit_header || (s->in_header && p[i] > 0x7f);
        if (p[i] == '\r') {
            s->fault =
                "holds a carriage return, which could end the message early on the way (SMTP smuggling)";
        } else if (p[i] == '\0') {
            s->fault = "holds a NUL byte, which RFC 5322 does not allow";
        } else if (++s->line > TEXT_LINE_MAX) {
            s->fault = "has a line of more than 998 bytes, which RFC 5322 does not allow";
        }
    }
}

void wire_scan_end(struct wire_scan *s)
{
    if (s->line > 0) {
        s->size += 2; /* wire_body_end() completes the last line */
    }
}

void wire_body(struct wire_body *b, const void *bytes, size_t len, struct buf *out)
{
    const unsigned char *p = bytes;
    while (len > 0) {
        const unsigned char *lf = memchr(p, '\n', len);
        size_t run = lf == NULL ? len : (size_t)(lf - p);
        if (!b->in_line && run > 0 && p[0] == '.') {
            buf_byte(out, '.'); /* RFC 5321 §4.5.2 */
        }
        buf_put(out, p, run);
        b->in_line = lf == NULL;
        if (lf != NULL) {
            buf_put(out, "\r\n", 2);
            run++;
        }
        p += run;
        len -= run;
    }
}

void wire_body_end(struct wire_body *b, struct buf *out)
{
    if (b->in_line) {
        buf_put(out, "\r\n", 2);
    }
    buf_put(out, ".\r\n", 3);
}

bool wire_path_ok(const char *address)
{
    size_t len = strlen(address);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)address[i];
        if (c <= 0x20 || c == 0x7f || c == '<' || c == '>') {
            return false;
        }
    }
    return len <= MAIL_ADDRESS_MAX;
}

bool wire_ascii(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text > 0x7f) {
            return false;
        }
    }
    return true;
}
