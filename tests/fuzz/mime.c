/*
 * mime.c, letter.c, table.c and record.c under any form: whatever is posted, the
 * message keeps the rules of tests/mailrules.h, and its text, HTML, JSON and CSV
 * have what the fields account for and nothing else.
 *
 * The input is cut at bytes 0x1F: subject, reply_to, and then for each field
 * a name and a value, and also file name and type if the name begins with F.
 */

#include "tests/mailrules.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { OUTPUT_MAX = 64 << 20, FIELDS_MAX = 10000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fail(const char *why, struct buf *text)
{
    fprintf(stderr, "%s:\n%s\n", why, buf_text(text));
    abort();
}

/* The next piece of the input, into b. false: there is none. */
static bool next(const uint8_t **data, size_t *size, struct buf *b)
{
    if (*size == 0) {
        return false;
    }
    const uint8_t *end = memchr(*data, 0x1F, *size);
    size_t len = end == NULL ? *size : (size_t)(end - *data);
    size_t skip = end == NULL ? len : len + 1;
    buf_put(b, *data, len < b->max ? len : b->max);
    *data += skip;
    *size -= skip;
    return true;
}

static struct form *read_form(const uint8_t *data, size_t size)
{
    const struct form_limits limits = {.body = size + 1, .fields = FIELDS_MAX, .files = FIELDS_MAX};
    struct form *form = form_new(FORM_URLENCODED, NULL, NULL, &limits);
    if (form == NULL) {
        abort();
    }
    while (size > 0 && form_count(form) < FIELDS_MAX) {
        struct field *f = form_add(form);
        next(&data, &size, &f->name);
        next(&data, &size, &f->value);
        f->file = f->name.len > 0 && f->name.data[0] == 'F';
        if (f->file) {
            next(&data, &size, &f->filename);
            next(&data, &size, &f->type);
        }
        f->repaired = f->value.len % 9; /* 8 is none of those that there are */
    }
    return form;
}

static unsigned char hex_digit(unsigned char c)
{
    return (unsigned char)(c <= '9' ? c - '0' : c - 'A' + 10);
}

static void decode_qp(const struct buf *in, struct buf *out)
{
    for (size_t i = 0; i < in->len; i++) {
        const unsigned char *s = in->data + i;
        if (*s != '=') {
            buf_byte(out, *s);
        } else if (s[1] == '\n') {
            i++;
        } else {
            buf_byte(out, (unsigned char)(hex_digit(s[1]) << 4 | hex_digit(s[2])));
            i += 2;
        }
    }
}

/* Lines of the text that do not belong to the block of a value. */
static size_t count_lines(struct buf *text)
{
    size_t count = 0;
    bool at_start = true;
    for (size_t at = 0; at < text->len;) {
        uint32_t c;
        size_t n = utf8_next(text->data + at, text->len - at, &c);
        enum utf8_class class = utf8_class(c);
        if (n == 1 && c == UTF8_REPLACEMENT) {
            fail("the text is not UTF-8", text);
        }
        if (class == UTF8_CONTROL || (class == UTF8_BREAK && c != '\n')) {
            fail("a control character is in the text", text);
        }
        count += at_start && c != ' ' ? 1 : 0;
        at_start = c == '\n';
        at += n;
    }
    return count;
}

static void check_letter(const struct message *m)
{
    struct buf raw;
    struct buf text;
    struct buf_sink s;
    size_t expected = 5; /* the footer, and the line before it */
    if (m->display != NULL) {
        expected++; /* the empty line below */
        for (const char *at = m->display; (at = strchr(at, '\n')) != NULL; at++) {
            expected++;
        }
    }
    for (size_t i = 0; i < form_count(m->fields); i++) {
        unsigned repaired = form_field(m->fields, i)->repaired;
        expected += 1U + (repaired & REPAIRED_CHARSET ? 1 : 0) + (repaired & REPAIRED_NUL ? 1 : 0) +
                    (repaired & REPAIRED_NOT ? 1 : 0);
    }
    buf_init(&raw, OUTPUT_MAX);
    buf_init(&text, OUTPUT_MAX);
    buf_sink(&s, &raw);
    if (!letter_write(m, &s.sink)) {
        abort();
    }
    decode_qp(&raw, &text);
    if (count_lines(&text) != expected) {
        fail("the text has other lines than the fields account for", &text);
    }
    buf_free(&raw);
    buf_free(&text);
}

/* Every "<" and ">" of the HTML is ours. */
static void check_table(const struct message *m)
{
    static const char *const ours[] = {
        "<!DOCTYPE html>\n",
        "<html>",
        "<head>",
        "<meta charset=\"utf-8\">",
        "<title>",
        "</title>",
        "</head>\n",
        "<body style=\"font-family:sans-serif\">\n",
        "<table cellpadding=\"6\" style=\"border-collapse:collapse\">\n",
        "<div class=\"header-protection-legacy-display\">",
        "<pre>",
        "</pre>",
        "</div>\n",
        "<tr style=\"border-top:1px solid #bbb\">",
        "<th scope=\"row\" align=\"left\" valign=\"top\">",
        "</th>\n",
        "<td dir=\"auto\" style=\"white-space:pre-wrap;overflow-wrap:anywhere;word-break:break-word\">",
        "</td>",
        "</tr>\n",
        "<br>",
        "<em>",
        "</em>",
        "</table>\n",
        "<p style=\"font-size:small\">",
        "</p>\n",
        "</body>",
        "</html>\n",
    };
    struct buf raw, text;
    struct buf_sink s;
    size_t rows = 0;
    buf_init(&raw, OUTPUT_MAX);
    buf_init(&text, OUTPUT_MAX);
    buf_sink(&s, &raw);
    if (!table_write(m, &s.sink)) {
        abort();
    }
    decode_qp(&raw, &text);
    for (const char *at = buf_text(&text); (at = strpbrk(at, "<>\n")) != NULL;) {
        size_t i = 0;
        while (i < COUNT(ours) && strncmp(at, ours[i], strlen(ours[i])) != 0) {
            i++;
        }
        if (i == COUNT(ours)) {
            fail("the HTML has a tag or a line that is not ours", &text);
        }
        rows += strncmp(at, "<tr", 3) == 0 ? 1 : 0;
        at += strlen(ours[i]);
    }
    if (rows != form_count(m->fields)) {
        fail("the HTML has other rows than the fields account for", &text);
    }
    buf_free(&raw);
    buf_free(&text);
}

static void decode_base64(const struct buf *in, struct buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < in->len; i++) {
        const char *digit = memchr(digits, in->data[i], 64);
        if (digit != NULL) {
            bits = bits << 6 | (uint32_t)(digit - digits);
            have += 6;
        }
        if (have >= 8) {
            have -= 8;
            buf_byte(out, (unsigned char)(bits >> have));
        }
    }
}

static void record(const struct message *m, bool (*write)(const struct message *, struct sink *),
                   struct buf *text)
{
    struct buf raw;
    struct buf_sink s;
    buf_init(&raw, OUTPUT_MAX);
    buf_init(text, OUTPUT_MAX);
    buf_sink(&s, &raw);
    if (!write(m, &s.sink)) {
        abort();
    }
    decode_base64(&raw, text);
    buf_free(&raw);
}

/* Two lines of as many cells, all in quotes, none of them a formula. */
static void check_csv(const struct message *m)
{
    struct buf text;
    size_t cells[2] = {0, 0}, line = 0;
    record(m, record_csv, &text);
    const char *at = buf_text(&text) + 3; /* the mark */
    const char *end = (const char *)text.data + text.len;
    while (at < end && line < 2) {
        if (*at++ != '"') {
            fail("a cell is not in quotes", &text);
        }
        if (at < end && strchr("=+-@\t\r\n", *at) != NULL && *at != '\0') {
            fail("a cell is a formula", &text);
        }
        while (at < end && (*at != '"' || (at + 1 < end && at[1] == '"'))) {
            at += *at == '"' ? 2 : 1;
        }
        cells[line]++;
        if (at + 1 < end && at[1] == ',') {
            at += 2;
        } else if (at + 2 < end && at[1] == '\r' && at[2] == '\n') {
            at += 3;
            line++;
        } else {
            fail("a cell ends without a comma or a line end", &text);
        }
    }
    if (at != end || line != 2 || cells[0] != cells[1]) {
        fail("the CSV is not two lines of as many cells", &text);
    }
    buf_free(&text);
}

/* Outside of strings stands only what we wrote; strings have no control character. */
static void check_json(const struct message *m)
{
    struct buf text;
    size_t objects = 0;
    bool in_string = false;
    record(m, record_json, &text);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = text.data[i];
        if (in_string && (c < ' ' || c == 0x7F)) {
            fail("a control character is in a JSON string", &text);
        } else if (in_string && c == '\\') {
            i++;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (!in_string && strchr("{}[]:, \n0123456789", c) == NULL) {
            fail("something stands outside of the JSON strings", &text);
        }
        objects += !in_string && c == '{' ? 1 : 0;
    }
    if (in_string || objects != form_count(m->fields) + 1) {
        fail("the JSON has other objects than the fields account for", &text);
    }
    buf_free(&text);
}

static void check_message(const struct message *m)
{
    struct buf out;
    struct buf_sink s;
    size_t files = 0;
    for (size_t i = 0; i < form_count(m->fields); i++) {
        files += form_field(m->fields, i)->file ? 1 : 0;
    }
    files += (m->body & BODY_JSON ? 1 : 0) + (m->body & BODY_CSV ? 1 : 0);
    buf_init(&out, OUTPUT_MAX);
    buf_sink(&s, &out);
    if (!mime_compose(m, &s.sink)) {
        abort();
    }
    const char *broken = broken_rule((const char *)out.data, out.len, files, m->body & BODY_HTML);
    if (broken != NULL) {
        fail(broken, &out);
    }
    buf_free(&out);
}

static void check_address(struct buf *b)
{
    if (b->len == 0 || !mime_address_ok((const char *)b->data, b->len)) {
        return;
    }
    unsigned signs = 0;
    for (size_t i = 0; i < b->len; i++) {
        signs += b->data[i] == '@' ? 1 : 0;
        if (b->data[i] <= ' ' || b->data[i] == 0x7F || strchr("<>()[],;:\\\"", b->data[i]) != NULL) {
            fail("an address with a special character was accepted", b);
        }
    }
    if (signs != 1) {
        fail("an address with several '@' was accepted", b);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *to[] = {"orders@example.com", "copy@example.org"};
    struct buf subject;
    struct buf reply_to;
    buf_init(&subject, 1000);
    buf_init(&reply_to, 1000);
    next(&data, &size, &subject);
    next(&data, &size, &reply_to);
    subject.max++; /* for the NUL of buf_text() */
    reply_to.max++;
    check_address(&reply_to);
    struct message m = {
        .hostname = "forms.example.com",
        .form = "order",
        .ref = "7K2M-Q9XD-4TRW",
        .time = 1795305136,
        .from = "website@example.com",
        .to = to,
        .to_count = COUNT(to),
        .subject = buf_text(&subject),
        .reply_to = buf_text(&reply_to),
        .peer = "2001:db8::7",
        .protocol = "HTTPS",
        .tls = "TLS1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 X25519",
        .fields = read_form(data, size),
    };
    m.body = subject.len % 8;
    struct buf display;
    buf_init(&display, MIME_DISPLAY_SIZE);
    if (reply_to.len % 2 == 1) {
        mime_display(&m, &display);
        m.display = buf_text(&display);
        if (m.display == NULL || buf_text(&display)[0] != 'S') {
            fail("the display is not there", &display);
        }
    }
    check_letter(&m);
    check_table(&m);
    check_csv(&m);
    check_json(&m);
    check_message(&m);
    form_free(m.fields);
    buf_free(&display);
    buf_free(&subject);
    buf_free(&reply_to);
    return 0;
}
