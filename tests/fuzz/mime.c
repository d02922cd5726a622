/*
 * mime.c and letter.c under any form: whatever is posted, the message keeps
 * the rules of tests/mailrules.h, and its text has the lines that the fields
 * account for and no other.
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
        f->repaired = f->value.len % 5; /* 4 is neither of the two that there are */
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
    for (size_t i = 0; i < form_count(m->fields); i++) {
        unsigned repaired = form_field(m->fields, i)->repaired;
        expected += 1U + (repaired & REPAIRED_CHARSET ? 1 : 0) + (repaired & REPAIRED_NUL ? 1 : 0);
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

static void check_message(const struct message *m)
{
    struct buf out;
    struct buf_sink s;
    size_t files = 0;
    for (size_t i = 0; i < form_count(m->fields); i++) {
        files += form_field(m->fields, i)->file ? 1 : 0;
    }
    buf_init(&out, OUTPUT_MAX);
    buf_sink(&s, &out);
    if (!mime_compose(m, &s.sink)) {
        abort();
    }
    const char *broken = broken_rule((const char *)out.data, out.len, files);
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
    check_letter(&m);
    check_message(&m);
    form_free(m.fields);
    buf_free(&subject);
    buf_free(&reply_to);
    return 0;
}
