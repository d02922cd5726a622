/*
 * The owner's own HTML for our pages. Pure.
 *
 * A template is HTML with {{placeholders}}. It is read once, at start, with just enough of an HTML tokenizer to know
 * where each placeholder stands: only between tags or in a quoted attribute, where html_text() makes any text harmless.
 * Its <style> elements are allowed by their hashes, scripts not at all.
 */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

enum {
    PIECES_MAX = 256, /* placeholders of one template, and one more */
    POLICY_MAX = 2048 /* bytes of its Content-Security-Policy */
};

#define ON(kind) (1u << (kind))
#define ON_ALL   (ON(TEMPLATE_RECEIPT) | ON(TEMPLATE_ERROR) | ON(TEMPLATE_INVALID))

static const struct {
    const char *name;
    unsigned kinds;
    bool markup; /* cannot stand in an attribute */
    bool site;   /* needs to know the site */
} known[PLACES] = {
    [PLACE_LANG] = {"lang", ON_ALL, false, false},
    [PLACE_DIR] = {"dir", ON_ALL, false, false},
    [PLACE_STYLE] = {"style", ON_ALL, true, false},
    [PLACE_FORM] = {"form", ON_ALL, false, false},
    [PLACE_TITLE] = {"title", ON_ALL, false, false},
    [PLACE_MESSAGE] = {"message", ON_ALL, false, false},
    [PLACE_SITE] = {"site", ON_ALL, false, true},
    [PLACE_BACK] = {"back", ON_ALL, false, true},
    [PLACE_RECEIPT] = {"receipt", ON(TEMPLATE_RECEIPT), false, false},
    [PLACE_TIME] = {"time", ON(TEMPLATE_RECEIPT), false, false},
    [PLACE_KEEP] = {"keep", ON(TEMPLATE_RECEIPT), false, false},
    [PLACE_STATUS] = {"status", ON(TEMPLATE_ERROR), false, false},
    [PLACE_STORED] = {"stored", ON(TEMPLATE_ERROR), false, false},
    [PLACE_ADVICE] = {"advice", ON(TEMPLATE_ERROR), false, false},
    [PLACE_ERRORS] = {"errors", ON(TEMPLATE_INVALID), true, false},
    [PLACE_FIELDS] = {"fields", ON(TEMPLATE_INVALID), true, false},
};

/* What a page would not be honest or not be of use without. */
static const struct {
    enum template_kind kind;
    enum template_place place;
    const char *why;
} needed[] = {
    {TEMPLATE_RECEIPT, PLACE_RECEIPT, "the visitor has no other proof"},
    {TEMPLATE_ERROR, PLACE_MESSAGE, "the visitor would not know what is wrong"},
    {TEMPLATE_ERROR, PLACE_STORED, "the visitor would not know that nothing was stored"},
    {TEMPLATE_INVALID, PLACE_ERRORS, "the visitor would not know what to correct"},
    {TEMPLATE_INVALID, PLACE_FIELDS, "what the visitor typed would be lost"},
};

struct piece { /* a run of the template, and the placeholder behind it */
    const char *at;
    size_t len;
    enum template_place place; /* PLACES: none, the template ends here */
};

struct template
{
    struct piece pieces[PIECES_MAX];
    size_t count;
    char *policy;
    char text[];
};

const char *const template_names[TEMPLATES] = {[TEMPLATE_RECEIPT] = "receipt.html",
                                               [TEMPLATE_ERROR] = "error.html",
                                               [TEMPLATE_INVALID] = "invalid.html"};

struct reader {
    enum template_kind kind;
    const char *name;
    struct buf *errors;
    const char *at, *end, *run; /* run: where the next piece begins */
    unsigned line;
    bool wrong, origins, form; /* form: a <form> of the owner's is open */
    struct buf hashes;
    struct template *t;
};

/* ---- reading --------------------------------------------------------------------------------- */

static void mistake(struct reader *r, const char *fmt, ...) PRINTF(2, 3);

static void mistake(struct reader *r, const char *fmt, ...)
{
    char what[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    buf_fmt(r->errors, "%s:%u: %s\n", r->name, r->line, what);
    r->wrong = true;
}

static void step(struct reader *r, size_t n)
{
    for (; n > 0 && r->at < r->end; n--, r->at++) {
        r->line += *r->at == '\n';
    }
}

/* Does text stand here, whatever its case? */
static bool here(const struct reader *r, const char *text)
{
    size_t len = strlen(text);
    return (size_t)(r->end - r->at) >= len && text_same(r->at, len, text);
}

static void end_piece(struct reader *r, enum template_place place)
{
    if (r->t->count == PIECES_MAX) {
        return;
    }
    r->t->pieces[r->t->count++] = (struct piece){r->run, (size_t)(r->at - r->run), place};
    if (r->t->count == PIECES_MAX && place != PLACES) {
        mistake(r, "more than %d placeholders", PIECES_MAX - 1);
    }
}

static void unknown_place(struct reader *r, const char *name, size_t len)
{
    char memory[200];
    struct buf names;
    buf_borrow(&names, memory, sizeof memory);
    for (enum template_place p = 0; p < PLACES; p++) {
        if ((known[p].kinds & ON(r->kind)) != 0) {
            buf_fmt(&names, "%s%s", names.len > 0 ? ", " : "", known[p].name);
        }
    }
    mistake(r, "\"%.*s\" is no placeholder of %s: there are %.*s", (int)(len < 40 ? len : 40), name,
            template_names[r->kind], (int)names.len, memory);
}

static enum template_place place_named(const struct reader *r, const char *name, size_t len)
{
    enum template_place p = 0;
    while (p < PLACES && (strlen(known[p].name) != len || memcmp(known[p].name, name, len) != 0 ||
                          (known[p].kinds & ON(r->kind)) == 0)) {
        p++;
    }
    return p;
}

enum place_in { IN_TEXT, IN_QUOTES, IN_CODE };

/* At "{{". */
static void read_place(struct reader *r, enum place_in where)
{
    const char *name = r->at + 2, *close = memmem(name, (size_t)(r->end - name), "}}", 2);
    size_t len = close != NULL ? (size_t)(close - name) : 0;
    if (close == NULL || memchr(name, '\n', len) != NULL) {
        mistake(r, "\"{{\" without \"}}\" behind it");
        step(r, 2);
        return;
    }
    enum template_place p = place_named(r, name, len);
    if (p == PLACES) {
        unknown_place(r, name, len);
    } else if (where == IN_CODE) {
        mistake(r, "{{%s}} can only stand between tags or in a quoted attribute", known[p].name);
    } else if (known[p].markup && where != IN_TEXT) {
        mistake(r, "{{%s}} is markup: it can only stand between tags", known[p].name);
    } else if (p == PLACE_FIELDS && r->form) {
        mistake(
            r,
            "{{fields}} is a form of its own, which browsers drop within another: put it outside of <form>");
    } else if (known[p].site && !r->origins) {
        mistake(r, "{{%s}} needs to know the site: set origins of the form, or remove it", known[p].name);
    } else {
        end_piece(r, p);
        if (p == PLACE_STYLE) {
            size_t size;
            const char *style = frame_style(&size);
            buf_byte(&r->hashes, ' ');
            frame_hash(&r->hashes, style, size);
        }
    }
    step(r, len + 4);
    r->run = r->at;
}

/* Up to the end of what begins here, or of the template. Placeholders are read as standing in such a place. */
static void read_until(struct reader *r, const char *end, enum place_in where)
{
    while (r->at < r->end && !here(r, end)) {
        if (here(r, "{{")) {
            read_place(r, where);
        } else {
            step(r, 1);
        }
    }
}

/* Up to a byte of ends, which holds no NUL, as the template does not. */
static size_t read_name(struct reader *r, const char *ends)
{
    const char *name = r->at;
    while (r->at < r->end && strchr(ends, *r->at) == NULL) {
        if (here(r, "{{")) {
            read_place(r, IN_CODE);
        } else {
            step(r, 1);
        }
    }
    return (size_t)(r->at - name);
}

static void read_value(struct reader *r)
{
    char quote = *r->at;
    if (quote == '"' || quote == '\'') {
        step(r, 1);
        read_until(r, (char[]){quote, '\0'}, IN_QUOTES);
        step(r, 1);
        return;
    }
    read_name(r, " \t\r\n\f>");
}

static void skip_space(struct reader *r)
{
    while (r->at < r->end && memchr(" \t\r\n\f", *r->at, 5) != NULL) {
        step(r, 1);
    }
}

static void read_attribute(struct reader *r)
{
    const char *name = r->at;
    if (*r->at == '=') {
        step(r, 1); /* may begin a name (HTML, "before attribute name state") */
    }
    read_name(r, " \t\r\n\f/>=");
    size_t len = (size_t)(r->at - name);
    if (text_same(name, len, "style")) {
        mistake(r, "a style attribute is not allowed here: give the element a class and style it in <style>");
    } else if (len > 2 && text_same(name, 2, "on")) {
        mistake(r, "\"%.*s\" is a script, and no script runs on these pages: remove it",
                (int)(len < 40 ? len : 40), name);
    }
    skip_space(r);
    if (r->at < r->end && *r->at == '=') {
        step(r, 1);
        skip_space(r);
        if (r->at < r->end) {
            read_value(r);
        }
    }
}

/* What stands between <name> and </name> is text to HTML, whatever it looks like. */
static void read_content(struct reader *r, const char *name, enum place_in where)
{
    char end[16];
    text_fmt(end, sizeof end, "</%s", name);
    const char *begin = r->at;
    read_until(r, end, where);
    if (r->at == r->end) {
        mistake(r, "<%s> without %s>", name, end);
    } else if (where == IN_CODE) {
        buf_byte(&r->hashes, ' ');
        frame_hash(&r->hashes, begin, (size_t)(r->at - begin));
    }
}

/* At "<" and a letter, or "</" and a letter. */
static void read_tag(struct reader *r)
{
    bool closes = r->at[1] == '/';
    step(r, closes ? 2 : 1);
    const char *name = r->at;
    size_t len = read_name(r, " \t\r\n\f/>");
    if (!closes && text_same(name, len, "script")) {
        mistake(r, "no script runs on these pages: remove <script>");
    }
    while (r->at < r->end && *r->at != '>') {
        if (memchr(" \t\r\n\f/", *r->at, 6) != NULL) {
            step(r, 1);
        } else {
            read_attribute(r);
        }
    }
    if (text_same(name, len, "form")) {
        r->form = !closes;
    }
    if (r->at == r->end) {
        mistake(r, "a tag without \">\"");
    }
    step(r, 1);
    if (!closes && text_same(name, len, "style")) {
        read_content(r, "style", IN_CODE);
    } else if (!closes && text_same(name, len, "title")) {
        read_content(r, "title", IN_QUOTES);
    } else if (!closes && text_same(name, len, "textarea")) {
        read_content(r, "textarea", IN_QUOTES);
    }
}

/* "<" or "</", and a letter or a placeholder behind it. */
static bool tag_here(const struct reader *r)
{
    size_t left = (size_t)(r->end - r->at), name = left > 1 && r->at[1] == '/' ? 2 : 1;
    return r->at[0] == '<' && left > name && (text_letter(r->at[name]) || r->at[name] == '{');
}

static void read_all(struct reader *r)
{
    while (r->at < r->end) {
        if (here(r, "{{")) {
            read_place(r, IN_TEXT);
        } else if (here(r, "<!--")) {
            step(r, 4);
            read_until(r, "-->", IN_CODE);
        } else if (tag_here(r)) {
            read_tag(r);
        } else {
            step(r, 1);
        }
    }
    end_piece(r, PLACES);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static bool has_place(const struct template *t, enum template_place place)
{
    size_t i = 0;
    while (i < t->count && t->pieces[i].place != place) {
        i++;
    }
    return i < t->count;
}

static void check_needed(struct reader *r)
{
    r->line = 1;
    for (size_t i = 0; i < COUNT(needed); i++) {
        if (needed[i].kind == r->kind && !has_place(r->t, needed[i].place)) {
            mistake(r, "there is no {{%s}}: without it %s", known[needed[i].place].name, needed[i].why);
        }
    }
}

/* Nothing but what the template itself brings, and pictures, fonts and style sheets of the form's own sites. */
static void make_policy(struct reader *r, char *const *origins, size_t count)
{
    struct buf policy, sites;
    buf_init(&policy, POLICY_MAX);
    buf_init(&sites, POLICY_MAX);
    for (size_t i = 0; i < count; i++) {
        buf_fmt(&sites, " %s", origins[i]);
    }
    buf_str(&policy, "default-src 'none'");
    if (r->hashes.len + sites.len > 0) {
        buf_str(&policy, "; style-src");
        buf_put(&policy, r->hashes.data, r->hashes.len);
        buf_put(&policy, sites.data, sites.len);
    }
    if (sites.len > 0) {
        buf_fmt(&policy, "; img-src%.*s; font-src%.*s", (int)sites.len, (const char *)sites.data,
                (int)sites.len, (const char *)sites.data);
    }
    buf_str(&policy, "; base-uri 'none'; frame-ancestors 'none'");
    const char *text = buf_ok(&r->hashes) && buf_ok(&sites) ? buf_text(&policy) : NULL;
    r->t->policy = text != NULL ? strdup(text) : NULL;
    if (r->t->policy == NULL) {
        r->line = 1;
        mistake(r, "too many <style> elements, or too many origins of the form: their policy does not fit");
    }
    buf_free(&policy);
    buf_free(&sites);
}

/* Line ends become LF, as a browser reads them before it takes the hash of a <style>. Returns the length. */
static size_t copy_lines(char *out, const char *in, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (in[i] != '\r') {
            out[n++] = in[i];
        } else if (i + 1 == len || in[i + 1] != '\n') {
            out[n++] = '\n';
        }
    }
    return n;
}

struct template *template_parse(enum template_kind kind, const char *name, const void *bytes, size_t len,
                                char *const *origins, size_t origin_count, struct buf *errors)
{
    struct template *t = calloc(1, sizeof *t + len + 1);
    if (t == NULL) {
        buf_fmt(errors, "%s: out of memory\n", name);
        return NULL;
    }
    size_t copied = copy_lines(t->text, bytes, len);
    struct reader r = {.kind = kind,
                       .name = name,
                       .errors = errors,
                       .at = t->text,
                       .end = t->text + copied,
                       .run = t->text,
                       .line = 1,
                       .origins = origin_count > 0,
                       .t = t};
    buf_init(&r.hashes, POLICY_MAX);
    if (!charset_is_utf8(bytes, len) || memchr(t->text, '\0', copied) != NULL) {
        mistake(&r, "this is not text in UTF-8: save it as UTF-8");
    } else {
        read_all(&r);
        check_needed(&r);
        make_policy(&r, origins, origin_count);
    }
    buf_free(&r.hashes);
    if (r.wrong) {
        template_free(t);
        return NULL;
    }
    return t;
}

void template_free(struct template *t)
{
    if (t != NULL) {
        free(t->policy);
        free(t);
    }
}

const char *template_policy(const struct template *t)
{
    return t->policy;
}

void template_write(struct buf *out, const struct template *t,
                    void (*put)(struct buf *out, enum template_place place, const void *arg), const void *arg)
{
    for (size_t i = 0; i < t->count; i++) {
        buf_put(out, t->pieces[i].at, t->pieces[i].len);
        if (t->pieces[i].place != PLACES) {
            put(out, t->pieces[i].place, arg);
        }
    }
}
