/*
 * Is a post likely to be spam? Pure. Signs give points; with `spam_score` points and more it is taken for spam, and
 * then marked or refused, never dropped. Each sign can be a person's (browsers fill in hidden fields, scripts are
 * blocked, people write links), so that most of them need a second one.
 */

#include "bridge.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    LONG_TEXT = 50,         /* bytes from which the same text in two fields is odd */
    REPEAT_FIELDS_MAX = 32, /* of them are compared: a post may have thousands */
    TAG_REACH = 200,        /* bytes from "<a" to its "href" */
    WORDS_COUNTED = 2,
    LINK_POINTS = 2, /* for the first link too many, and one more for each other */
    LINK_POINTS_MAX = 5,
    WORD_POINTS = 3, /* for each different word */
    MARKUP_POINTS = 4,
    REPEATED_POINTS = 2,
    URL_IN_NAME_POINTS = 4,
    TRAP_POINTS = 5,
    TOO_FAST_POINTS = 5,
    NO_TOKEN_POINTS = 1,
    EXPIRED_POINTS = 1,
    FORGED_POINTS = 3,
    NO_PROOF_POINTS = 2,
    WRONG_PROOF_POINTS = 4,
};

static const struct {
    enum spam_class class;
    const char *text;
} signs[SPAM_SIGNS] = {
    [SPAM_TRAP] = {SPAM_CLASS_TRAP, "a field that people do not see was filled in"},
    [SPAM_TOO_FAST] = {SPAM_CLASS_TOKEN, "sent faster than a person types"},
    [SPAM_NO_TOKEN] = {SPAM_CLASS_TOKEN, "no token"},
    [SPAM_TOKEN_EXPIRED] = {SPAM_CLASS_TOKEN, "the token is too old"},
    [SPAM_TOKEN_FORGED] = {SPAM_CLASS_TOKEN, "the token is not ours"},
    [SPAM_NO_PROOF] = {SPAM_CLASS_TOKEN, "no proof of work"},
    [SPAM_WRONG_PROOF] = {SPAM_CLASS_TOKEN, "the proof of work is wrong"},
    [SPAM_LINKS] = {SPAM_CLASS_CONTENT, "many links"},
    [SPAM_WORDS] = {SPAM_CLASS_CONTENT, "words of the list"},
    [SPAM_MARKUP] = {SPAM_CLASS_CONTENT, "links written in HTML or BBCode"},
    [SPAM_REPEATED] = {SPAM_CLASS_CONTENT, "the same text in several fields"},
    [SPAM_URL_IN_NAME] = {SPAM_CLASS_CONTENT, "a link as a name"},
};

/* ---- control fields -------------------------------------------------------------------------- */

static bool is_trap(const struct form_conf *f, const struct field *field)
{
    for (size_t i = 0; i < f->honeypot_count; i++) {
        if (buf_equal(&field->name, f->honeypots[i])) {
            return true;
        }
    }
    return false;
}

bool spam_is_control(const struct form_conf *f, const struct field *field)
{
    return buf_equal(&field->name, TOKEN_FIELD) || buf_equal(&field->name, TOKEN_PROOF_FIELD) ||
           (is_trap(f, field) && (f->spam != SPAM_OFF || field->value.len == 0));
}

void spam_hide(const struct form_conf *f, struct form *fields)
{
    for (size_t i = 0; i < form_count(fields); i++) {
        struct field *field = form_field(fields, i);
        field->hidden = field->hidden || spam_is_control(f, field);
    }
}

/* ---- trap, token, proof ---------------------------------------------------------------------- */

static bool is_blank(const struct buf *b)
{
    return text_trim(buf_span(b), TEXT_SPACES).len == 0;
}

static void judge_traps(struct spam_verdict *v, const struct form_conf *f, struct form *fields)
{
    for (size_t i = 0; i < form_count(fields); i++) {
        const struct field *field = form_field(fields, i);
        if (is_trap(f, field) && !is_blank(&field->value)) {
            v->points[SPAM_TRAP] = TRAP_POINTS;
        }
    }
}

/* Without what the form requires the post is spam, whatever else it is. */
static unsigned token_points(const struct form_conf *f, unsigned points)
{
    return f->token == TOKEN_REQUIRED && points < f->spam_score ? f->spam_score : points;
}

static void judge_proof(struct spam_verdict *v, const struct form_conf *f, const struct field *token,
                        const struct field *proof)
{
    if (token == NULL || proof == NULL || proof->value.len == 0) {
        v->points[SPAM_NO_PROOF] = token_points(f, NO_PROOF_POINTS);
    } else if (!token_proved(token->value.data, token->value.len, proof->value.data, proof->value.len,
                             f->proof_bits)) {
        v->points[SPAM_WRONG_PROOF] = token_points(f, WRONG_PROOF_POINTS);
    }
}

static void judge_token(struct spam_verdict *v, const struct spam_job *job)
{
    const struct form_conf *f = job->form;
    const struct token_key key = {job->secret, f->name};
    const struct field *token = form_find(job->fields, TOKEN_FIELD);
    const struct field *proof = form_find(job->fields, TOKEN_PROOF_FIELD);
    int64_t age;
    if (f->token == TOKEN_OFF) {
        return;
    }
    switch (token == NULL ? TOKEN_NONE
                          : token_read(&key, token->value.data, token->value.len, job->now, &age)) {
    case TOKEN_NONE: v->points[SPAM_NO_TOKEN] = token_points(f, NO_TOKEN_POINTS); break;
    case TOKEN_EXPIRED: v->points[SPAM_TOKEN_EXPIRED] = token_points(f, EXPIRED_POINTS); break;
    case TOKEN_FORGED: v->points[SPAM_TOKEN_FORGED] = token_points(f, FORGED_POINTS); break;
    case TOKEN_GOOD: v->points[SPAM_TOO_FAST] = age < (int64_t)f->min_time ? TOO_FAST_POINTS : 0;
    }
    if (f->proof_bits > 0) {
        judge_proof(v, f, token, proof);
    }
}

/* ---- content --------------------------------------------------------------------------------- */

static bool same(const unsigned char *bytes, size_t len, const char *word)
{
    size_t n = strlen(word);
    return len >= n && strncasecmp((const char *)bytes, word, n) == 0;
}

/* A link begins here: a scheme, or the www that programs make a link of. */
static bool is_link(const unsigned char *text, size_t at, size_t len)
{
    const unsigned char *here = text + at;
    if (*here != 'h' && *here != 'H' && *here != 'w' && *here != 'W') {
        return false;
    }
    if (same(here, len - at, "http://") || same(here, len - at, "https://")) {
        return true;
    }
    bool begins = at == 0 || (text[at - 1] != '/' && !utf8_in_word(text[at - 1]));
    return begins && same(here, len - at, "www.");
}

static bool is_markup(const unsigned char *here, size_t len)
{
    static const char *const codes[] = {"[url=", "[url]", "[link=", "[/url]"};
    for (size_t i = 0; i < COUNT(codes); i++) {
        if (same(here, len, codes[i])) {
            return true;
        }
    }
    if (len < 3 || !same(here, len, "<a") || here[2] == '\0' || strchr(" \t\r\n/", here[2]) == NULL) {
        return false;
    }
    for (size_t i = 3; i < len && i < TAG_REACH && here[i] != '>'; i++) {
        if ((here[i] == 'h' || here[i] == 'H') && same(here + i, len - i, "href")) {
            return true;
        }
    }
    return false;
}

struct reading { /* what was seen in the text of all fields */
    const struct form_conf *form;
    size_t left; /* of SPAM_READ_MAX */
    unsigned links;
    bool markup, url_in_name;
    size_t words[WORDS_COUNTED], word_count;
};

/* "Your_Name" as "yourname". */
static bool is_name_like(const struct buf *name)
{
    static const char *const names[] = {
        "name",       "fullname", "firstname", "lastname",  "realname", "surname",  "givenname",
        "familyname", "yourname", "fname",     "lname",     "vorname",  "nachname", "nom",
        "prenom",     "nombre",   "apellido",  "apellidos", "phone",    "tel",      "telephone",
    };
    char plain[16];
    size_t n = 0;
    for (size_t i = 0; i < name->len; i++) {
        unsigned char c = name->data[i];
        if (c == '_' || c == '-' || c == ' ') {
            continue;
        }
        if (n == sizeof plain - 1 || c >= 0x80 || c == '\0') {
            return false;
        }
        plain[n++] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    plain[n] = '\0';
    for (size_t i = 0; i < COUNT(names); i++) {
        if (strcmp(plain, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void read_words(struct reading *r, const void *text, size_t len)
{
    struct buf folded;
    if (spamlist_count(r->form->spamlist) == 0) {
        return;
    }
    buf_init(&folded, (size_t)2 * SPAM_READ_MAX);
    spamlist_fold(text, len, &folded);
    const char *words = buf_text(&folded);
    if (words != NULL) { /* without memory the words are not looked for: better than refusing */
        spamlist_find(r->form->spamlist, words, r->words, &r->word_count, WORDS_COUNTED);
    }
    buf_free(&folded);
}

static void read_field(struct reading *r, const struct field *field)
{
    const unsigned char *text = field->value.data;
    size_t len = utf8_cut(text, field->value.len, r->left);
    unsigned links = 0;
    for (size_t i = 0; i < len; i++) {
        links += is_link(text, i, len);
        r->markup = r->markup || ((text[i] == '<' || text[i] == '[') && is_markup(text + i, len - i));
    }
    r->links += links;
    r->left -= len;
    r->url_in_name = r->url_in_name || (links > 0 && is_name_like(&field->name));
    read_words(r, text, len);
}

static bool is_repeated(struct form *fields)
{
    const struct buf *seen[REPEAT_FIELDS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < form_count(fields) && count < COUNT(seen); i++) {
        const struct field *field = form_field(fields, i);
        if (field->file || field->hidden || field->value.len < LONG_TEXT) {
            continue;
        }
        for (size_t k = 0; k < count; k++) {
            if (seen[k]->len == field->value.len &&
                memcmp(seen[k]->data, field->value.data, seen[k]->len) == 0) {
                return true;
            }
        }
        seen[count++] = &field->value;
    }
    return false;
}

static void judge_content(struct spam_verdict *v, const struct spam_job *job)
{
    struct reading r = {.form = job->form, .left = SPAM_READ_MAX};
    for (size_t i = 0; i < form_count(job->fields) && r.left > 0; i++) {
        const struct field *field = form_field(job->fields, i);
        if (!field->file && !field->hidden && field->value.len > 0) {
            read_field(&r, field);
        }
    }
    if (r.links > job->form->max_links) {
        unsigned points = LINK_POINTS + (r.links - job->form->max_links - 1);
        v->points[SPAM_LINKS] = points > LINK_POINTS_MAX ? LINK_POINTS_MAX : points;
    }
    v->points[SPAM_WORDS] = WORD_POINTS * (unsigned)r.word_count;
    v->points[SPAM_MARKUP] = r.markup ? MARKUP_POINTS : 0;
    v->points[SPAM_URL_IN_NAME] = r.url_in_name ? URL_IN_NAME_POINTS : 0;
    v->points[SPAM_REPEATED] = is_repeated(job->fields) ? REPEATED_POINTS : 0;
}

/* ---- the verdict ----------------------------------------------------------------------------- */

/* In words, for the owner: "no token (1), many links (3)". */
static void put_reasons(struct spam_verdict *v)
{
    struct buf out;
    buf_borrow(&out, v->reasons, sizeof v->reasons);
    for (size_t i = 0; i < SPAM_SIGNS; i++) {
        if (v->points[i] > 0) {
            buf_fmt(&out, "%s%s (%u)", out.len > 0 ? ", " : "", signs[i].text, v->points[i]);
        }
    }
    if (buf_text(&out) == NULL) {
        text_copy(v->reasons, sizeof v->reasons, "many signs");
    }
}

static void add_up(struct spam_verdict *v, unsigned limit)
{
    unsigned by_class[SPAM_CLASSES] = {0};
    for (size_t i = 0; i < SPAM_SIGNS; i++) {
        v->score += v->points[i];
        by_class[signs[i].class] += v->points[i];
    }
    for (size_t i = 0; i < SPAM_CLASSES; i++) {
        if (by_class[i] > by_class[v->class]) {
            v->class = (enum spam_class)i;
        }
    }
    v->spam = v->score >= limit;
}

void spam_judge(struct spam_verdict *v, const struct spam_job *job)
{
    *v = (struct spam_verdict){.score = 0};
    if (job->form->spam == SPAM_OFF) {
        return;
    }
    judge_traps(v, job->form, job->fields);
    judge_token(v, job);
    judge_content(v, job);
    add_up(v, job->form->spam_score);
    put_reasons(v);
}
