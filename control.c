/*
 * Fields that speak to the form service and not to the owner, by dialect. Pure.
 *
 * Everything here comes from the page, so from anybody. A control can choose among what the config allows, and that
 * is all it can do. No name below leads to a recipient, a sender or a file; those that did elsewhere are known so
 * that they stay out of the mail.
 */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned bit;
} dialects[] = {{"none", 0},
                {"formspree", DIALECT_FORMSPREE},
                {"formmail", DIALECT_FORMMAIL},
                {"netlify", DIALECT_NETLIFY},
                {"web3forms", DIALECT_WEB3FORMS}};

static const struct {
    const char *name;
    unsigned bit;
} controls[] = {{"none", 0},
                {"next", CONTROL_NEXT},
                {"subject", CONTROL_SUBJECT},
                {"replyto", CONTROL_REPLYTO},
                {"language", CONTROL_LANGUAGE},
                {"required", CONTROL_REQUIRED},
                {"sort", CONTROL_SORT}};

enum {
    FS = DIALECT_FORMSPREE,
    FM = DIALECT_FORMMAIL,
    NL = DIALECT_NETLIFY,
    W3 = DIALECT_WEB3FORMS,
    ANY = FS | FM | NL | W3,
    NOISE = 0,          /* known, and of no use here */
    MISSING = 1u << 16, /* where FormMail sends a visitor who left something out */
    ADDRESS = 1u << 17, /* of the visitor, if nothing says more */
    REQUIRED_MAX = CONTROL_NAMES_MAX * (FIELD_NAME_MAX + 1), /* all names of one list */
};

struct name {
    const char *name;
    unsigned dialects;
    unsigned what;        /* CONTROL_..., MISSING or NOISE */
    const char *template; /* what makes a header of its value */
};

/* For each control the first of its names that has a value counts. What visitors themselves may have typed, an
 * address or a subject, is never lost: it stays in the mail unless it is the subject. */
static const struct name names[] = {
    {"_next", FS, CONTROL_NEXT, NULL},
    {"redirect", FM | W3, CONTROL_NEXT, NULL},
    {"good_url", FM, CONTROL_NEXT, NULL},
    {"missing_fields_redirect", FM, MISSING, NULL},
    {"bad_url", FM, MISSING, NULL},
    {"_subject", FS, CONTROL_SUBJECT, "{_subject}"},
    {"subject", FM | NL | W3, CONTROL_SUBJECT, "{subject}"},
    {"_replyto", FS, CONTROL_REPLYTO, "{_replyto}"},
    {"replyto", W3, CONTROL_REPLYTO, "{replyto}"},
    {"email", ANY, ADDRESS, "{email}"},
    {"Email", ANY, ADDRESS, "{Email}"},
    {"EMAIL", ANY, ADDRESS, "{EMAIL}"},
    {"e-mail", ANY, ADDRESS, "{e-mail}"},
    {"E-Mail", ANY, ADDRESS, "{E-Mail}"},
    {"E-mail", ANY, ADDRESS, "{E-mail}"},
    {"mail", ANY, ADDRESS, "{mail}"},
    {"Mail", ANY, ADDRESS, "{Mail}"},
    {"your-email", ANY, ADDRESS, "{your-email}"}, /* Contact Form 7 */
    {"_language", FS, CONTROL_LANGUAGE, NULL},
    {"required", FM, CONTROL_REQUIRED, NULL},
    {"sort", FM, CONTROL_SORT, NULL},

    {"g-recaptcha-response", ANY, NOISE, NULL},
    {"h-captcha-response", ANY, NOISE, NULL},
    {"cf-turnstile-response", ANY, NOISE, NULL},

    /* Formspree; FormSubmit, Basin and Getform, which speak as it does */
    {"_gotcha", FS, NOISE, NULL},
    {"_honey", FS, NOISE, NULL},
    {"_to", FS, NOISE, NULL},
    {"_cc", FS, NOISE, NULL},
    {"_bcc", FS, NOISE, NULL},
    {"_format", FS, NOISE, NULL},
    {"_template", FS, NOISE, NULL},
    {"_captcha", FS, NOISE, NULL},
    {"_autoresponse", FS, NOISE, NULL},
    {"_blacklist", FS, NOISE, NULL},
    {"_webhook", FS, NOISE, NULL},

    {"form-name", NL, NOISE, NULL},
    {"bot-field", NL, NOISE, NULL},

    {"access_key", W3, NOISE, NULL},
    {"botcheck", W3, NOISE, NULL},
    {"from_name", W3, NOISE, NULL},
    {"ccemail", W3, NOISE, NULL},
    {"webhook", W3, NOISE, NULL},

    /* Matt Wright's FormMail and that of nms */
    {"recipient", FM, NOISE, NULL},
    {"print_config", FM, NOISE, NULL},
    {"env_report", FM, NOISE, NULL},
    {"print_blank_fields", FM, NOISE, NULL},
    {"title", FM, NOISE, NULL},
    {"return_link_url", FM, NOISE, NULL},
    {"return_link_title", FM, NOISE, NULL},
    {"background", FM, NOISE, NULL},
    {"bgcolor", FM, NOISE, NULL},
    {"text_color", FM, NOISE, NULL},
    {"link_color", FM, NOISE, NULL},
    {"vlink_color", FM, NOISE, NULL},
    {"alink_color", FM, NOISE, NULL},

    /* Tectite's */
    {"recipients", FM, NOISE, NULL},
    {"cc", FM, NOISE, NULL},
    {"bcc", FM, NOISE, NULL},
    {"alert_to", FM, NOISE, NULL},
    {"arverify", FM, NOISE, NULL},
    {"autorespond", FM, NOISE, NULL},
    {"bad_template", FM, NOISE, NULL},
    {"good_template", FM, NOISE, NULL},
    {"conditions", FM, NOISE, NULL},
    {"crm_options", FM, NOISE, NULL},
    {"crm_url", FM, NOISE, NULL},
    {"csvcolumns", FM, NOISE, NULL},
    {"csvfile", FM, NOISE, NULL},
    {"derive_fields", FM, NOISE, NULL},
    {"file_names", FM, NOISE, NULL},
    {"file_overwrite", FM, NOISE, NULL},
    {"filter", FM, NOISE, NULL},
    {"filter_options", FM, NOISE, NULL},
    {"fmmode", FM, NOISE, NULL},
    {"imgverify", FM, NOISE, NULL},
    {"logfile", FM, NOISE, NULL},
    {"mail_options", FM, NOISE, NULL},
    {"this_form", FM, NOISE, NULL},
};

bool control_dialect(const char *word, unsigned *bit)
{
    for (size_t i = 0; i < COUNT(dialects); i++) {
        if (strcmp(word, dialects[i].name) == 0) {
            *bit = dialects[i].bit;
            return true;
        }
    }
    return false;
}

bool control_word(const char *word, unsigned *bit)
{
    for (size_t i = 0; i < COUNT(controls); i++) {
        if (strcmp(word, controls[i].name) == 0) {
            *bit = controls[i].bit;
            return true;
        }
    }
    return false;
}

static bool stays_in_mail(unsigned what)
{
    return what == CONTROL_SUBJECT || what == CONTROL_REPLYTO || what == ADDRESS;
}

bool control_leaves_out(const char *field, unsigned spoken)
{
    for (size_t i = 0; i < COUNT(names); i++) {
        if ((names[i].dialects & spoken) != 0 && strcmp(names[i].name, field) == 0) {
            return !stays_in_mail(names[i].what);
        }
    }
    return false;
}

/* ---- lists of names: "a, b, c" --------------------------------------------------------------- */

/* Takes the next name off a list; false: there is none. An empty one has length 0. */
static bool next_name(struct span *rest, struct span *name)
{
    if (rest->len == 0) {
        return false;
    }
    const char *comma = memchr(rest->at, ',', rest->len);
    size_t len = comma != NULL ? (size_t)(comma - rest->at) : rest->len;
    *name = text_trim((struct span){rest->at, len}, TEXT_SPACES);
    len += comma != NULL;
    rest->at += len;
    rest->len -= len;
    return true;
}

/* ---- sort ------------------------------------------------------------------------------------ */

struct place { /* of a field in the mail */
    struct field field;
    size_t listed; /* in "order:"; all that are not come after, as they were sent */
    size_t sent;
};

static int by_name(const void *x, const void *y)
{
    const struct place *a = x, *b = y;
    size_t least = a->field.name.len < b->field.name.len ? a->field.name.len : b->field.name.len;
    int order = least > 0 ? memcmp(a->field.name.data, b->field.name.data, least) : 0;
    if (order == 0 && a->field.name.len != b->field.name.len) {
        order = a->field.name.len < b->field.name.len ? -1 : 1;
    }
    return order != 0 ? order : (a->sent > b->sent) - (a->sent < b->sent);
}

static int by_list(const void *x, const void *y)
{
    const struct place *a = x, *b = y;
    if (a->listed != b->listed) {
        return a->listed < b->listed ? -1 : 1;
    }
    return (a->sent > b->sent) - (a->sent < b->sent);
}

static size_t place_in(struct span list, const struct buf *name)
{
    struct span listed;
    size_t at = 0;
    while (at < CONTROL_NAMES_MAX && next_name(&list, &listed)) {
        if (listed.len > 0 && listed.len == name->len && memcmp(listed.at, name->data, listed.len) == 0) {
            return at;
        }
        at++;
    }
    return CONTROL_NAMES_MAX;
}

/* how: "alphabetic" or "order:a,b,c". Anything else, or no memory: they stay as they were sent. */
static void sort(struct form *fields, struct span how)
{
    static const char order[] = "order:";
    bool listed = how.len >= sizeof order - 1 && memcmp(how.at, order, sizeof order - 1) == 0;
    bool alphabetic = text_same(how.at, how.len, "alphabetic");
    size_t count = form_count(fields);
    struct place *places = listed || alphabetic ? reallocarray(NULL, count, sizeof *places) : NULL;
    if (places == NULL) {
        return;
    }
    struct span list = {how.at + sizeof order - 1, listed ? how.len - (sizeof order - 1) : 0};
    for (size_t i = 0; i < count; i++) {
        struct field *f = form_field(fields, i);
        places[i] = (struct place){*f, listed ? place_in(list, &f->name) : 0, i};
    }
    qsort(places, count, sizeof *places, listed ? by_list : by_name);
    for (size_t i = 0; i < count; i++) {
        *form_field(fields, i) = places[i].field;
    }
    free(places);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static const struct name *find_name(const struct field *f, unsigned spoken)
{
    for (size_t i = 0; i < COUNT(names); i++) {
        if ((names[i].dialects & spoken) != 0 && buf_equal(&f->name, names[i].name)) {
            return &names[i];
        }
    }
    return NULL;
}

static struct span trimmed(const struct buf *b)
{
    return text_trim(buf_span(b), TEXT_SPACES);
}

/* Tectite's names may have a label behind them ("email:Your address") or be conditions ("phone|email"), which are
 * left out. Wanting more fields is the page's right: it harms nobody but its own visitors. */
static void read_required(struct control *c, struct span list)
{
    struct span name;
    buf_init(&c->memory, REQUIRED_MAX);
    while (c->required_count < CONTROL_NAMES_MAX && next_name(&list, &name)) {
        const char *colon = memchr(name.at, ':', name.len);
        name.len = colon != NULL ? (size_t)(colon - name.at) : name.len;
        bool plain = name.len > 0 && name.len <= FIELD_NAME_MAX;
        for (size_t i = 0; i < name.len && plain; i++) {
            plain = name.at[i] != '\0' && strchr("|^!=&", name.at[i]) == NULL;
        }
        if (plain) {
            c->required[c->required_count++] = c->memory.len;
            buf_put(&c->memory, name.at, name.len);
            buf_byte(&c->memory, '\0');
        }
    }
    if (!buf_ok(&c->memory)) {
        c->required_count = 0;
    }
}

const char *control_required(const struct control *c, size_t index)
{
    return (const char *)c->memory.data + c->required[index];
}

/* The subject goes into a header, so the field need not stand in the mail; one that would be cut there, or is
 * more than a line, stays a field. */
static void read_subject(struct control *c, const struct name *n, struct field *f, struct span value)
{
    if (value.len <= CONTROL_SUBJECT_MAX && memchr(value.at, '\r', value.len) == NULL &&
        memchr(value.at, '\n', value.len) == NULL) {
        c->subject = n->template;
        c->spent = f;
    }
}

static void honour(struct control *c, const struct name *n, struct field *f)
{
    struct span value = trimmed(&f->value), *target = NULL;
    switch (n->what) {
    case CONTROL_NEXT: target = &c->next; break;
    case MISSING: target = &c->missing; break;
    case CONTROL_LANGUAGE: target = &c->language; break;
    case CONTROL_SUBJECT: read_subject(c, n, f, value); break;
    case CONTROL_REQUIRED: read_required(c, value); break;
    case CONTROL_REPLYTO:
    case ADDRESS:
        if (mime_address_ok(value.at, value.len)) {
            *(n->what == ADDRESS ? &c->email : &c->reply_to) = n->template;
        }
        break;
    default: break;
    }
    if (target != NULL) {
        *target = value;
    }
}

static bool is_settled(const struct control *c, unsigned what)
{
    return (what == CONTROL_NEXT && c->next.len > 0) || (what == MISSING && c->missing.len > 0) ||
           (what == CONTROL_SUBJECT && c->subject != NULL) ||
           (what == CONTROL_REPLYTO && c->reply_to != NULL) || (what == ADDRESS && c->email != NULL);
}

void control_read(struct form *fields, unsigned spoken, unsigned honoured, struct control *c)
{
    *c = (struct control){0};
    struct field *how =
        (honoured & CONTROL_SORT) != 0 && (spoken & FM) != 0 ? form_find(fields, "sort") : NULL;
    if (how != NULL) {
        how->hidden = true;
        sort(fields, trimmed(&how->value));
    }
    honoured |= (honoured & CONTROL_NEXT) != 0 ? MISSING : 0;
    honoured |= (honoured & CONTROL_REPLYTO) != 0 ? ADDRESS : 0;
    for (size_t i = 0; i < COUNT(names); i++) {
        const struct name *n = &names[i];
        bool wanted = (n->dialects & spoken) != 0 && (n->what & honoured) != 0 && !is_settled(c, n->what);
        struct field *f = wanted ? form_find(fields, n->name) : NULL;
        if (f != NULL && trimmed(&f->value).len > 0) {
            honour(c, n, f);
        }
    }
    for (size_t i = 0; i < form_count(fields); i++) {
        struct field *f = form_field(fields, i);
        const struct name *n = f->file ? NULL : find_name(f, spoken);
        if (n != NULL && !stays_in_mail(n->what)) {
            f->hidden = true;
        }
    }
}

void control_free(struct control *c)
{
    buf_free(&c->memory);
    *c = (struct control){0};
}
