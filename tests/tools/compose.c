/*
 * Writes the message of a form to standard output.
 *
 * The form is read from standard input as netstrings ("5:bytes,"), a word
 * and what belongs to it:
 *
 *     set KEY VALUE        hostname form ref from subject reply_to peer protocol tls
 *     time SECONDS
 *     to ADDRESS
 *     field NAME VALUE
 *     file NAME FILENAME TYPE CONTENT
 *     repaired BITS        of the field before
 *     label TEXT           likewise
 *     body BITS            BODY_...
 */

#include "bridge.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_MAX = 256 << 20, FIELDS_MAX = 20000, TO_MAX = 100 };

static bool read_netstring(struct buf *out)
{
    size_t len;
    if (scanf("%9zu", &len) != 1) {
        return false;
    }
    if (getchar() != ':') {
        errx(1, "a netstring is LENGTH:BYTES, and this has no ':'");
    }
    buf_clear(out);
    char *room = buf_room(out, len + 1);
    if (room == NULL || fread(room, 1, len, stdin) != len || getchar() != ',') {
        errx(1, "a netstring of %zu bytes is cut short or too long", len);
    }
    out->len = len;
    return true;
}

static void need(struct buf *out)
{
    if (!read_netstring(out)) {
        errx(1, "the last word lacks what belongs to it");
    }
}

static char *need_text(void)
{
    struct buf b;
    buf_init(&b, 1 << 16);
    need(&b);
    char *text = strdup(buf_text(&b));
    buf_free(&b);
    if (text == NULL) {
        err(1, "memory");
    }
    return text;
}

static void set(struct message *m)
{
    struct buf key;
    buf_init(&key, 64);
    need(&key);
    const struct {
        const char *key;
        const char **value;
    } settings[] = {
        {"hostname", &m->hostname}, {"form", &m->form},         {"ref", &m->ref},
        {"from", &m->from},         {"subject", &m->subject},   {"reply_to", &m->reply_to},
        {"peer", &m->peer},         {"protocol", &m->protocol}, {"tls", &m->tls},
    };
    for (size_t i = 0; i < COUNT(settings); i++) {
        if (buf_equal(&key, settings[i].key)) {
            *settings[i].value = need_text();
            buf_free(&key);
            return;
        }
    }
    errx(1, "set knows no %s", buf_text(&key));
}

static uint64_t need_number(void)
{
    struct buf b;
    uint64_t number;
    buf_init(&b, 64);
    need(&b);
    if (!text_number(buf_text(&b), b.len, &number)) {
        errx(1, "%s is no number", buf_text(&b));
    }
    buf_free(&b);
    return number;
}

static struct field *add(struct form *f)
{
    struct field *field = form_add(f);
    if (field == NULL) {
        errx(1, "more than %d fields", FIELDS_MAX);
    }
    need(&field->name);
    return field;
}

static void read_word(struct message *m, char **to, const char *word)
{
    if (strcmp(word, "set") == 0) {
        set(m);
    } else if (strcmp(word, "time") == 0) {
        m->time = (int64_t)need_number();
    } else if (strcmp(word, "body") == 0) {
        m->body = (unsigned)need_number();
    } else if (strcmp(word, "label") == 0 && form_count(m->fields) > 0) {
        static char *labels[FIELDS_MAX]; /* as the config would: for as long as the program lives */
        size_t last = form_count(m->fields) - 1;
        form_field(m->fields, last)->label = labels[last] = need_text();
    } else if (strcmp(word, "to") == 0 && m->to_count < TO_MAX) {
        to[m->to_count++] = need_text();
    } else if (strcmp(word, "field") == 0) {
        need(&add(m->fields)->value);
    } else if (strcmp(word, "file") == 0) {
        struct field *f = add(m->fields);
        f->file = true;
        need(&f->filename);
        need(&f->type);
        need(&f->value);
    } else if (strcmp(word, "repaired") == 0 && form_count(m->fields) > 0) {
        form_field(m->fields, form_count(m->fields) - 1)->repaired = (unsigned)need_number();
    } else {
        errx(1, "unknown or misplaced word %s", word);
    }
}

static bool put_stdout(struct sink *s, const void *bytes, size_t len)
{
    (void)s;
    return fwrite(bytes, 1, len, stdout) == len;
}

int main(void)
{
    static char *to[TO_MAX];
    const struct form_limits limits = {.body = BODY_MAX, .fields = FIELDS_MAX, .files = FIELDS_MAX};
    static struct message m; /* static, as what it points to lives as long as the program */
    m = (struct message){
        .hostname = "forms.example.com",
        .form = "order",
        .ref = "7K2M-Q9XD-4TRW",
        .time = 1795305136,
        .from = "website@example.com",
        .to = to,
        .subject = "Order {ref}",
        .peer = "192.0.2.7",
        .protocol = "HTTPS",
        .seed = "0123456789abcdef",
        .fields = form_new(FORM_URLENCODED, NULL, NULL, &limits),
    };
    struct sink out = {put_stdout};
    struct buf word;
    buf_init(&word, 64);
    if (m.fields == NULL) {
        err(1, "memory");
    }
    while (read_netstring(&word)) {
        read_word(&m, to, buf_text(&word));
    }
    if (!mime_compose(&m, &out) || fflush(stdout) != 0) {
        errx(1, "the message could not be written");
    }
    form_free(m.fields);
    buf_free(&word);
    return 0;
}
