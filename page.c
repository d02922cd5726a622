/*
 * The HTML and JSON that people and scripts get. Pure.
 *
 * A page is one document without script, image or outside resource. Its only style sheet stands inline and is
 * named by hash in the Content-Security-Policy, so that even markup that slipped through could load and run
 * nothing.
 */

#include "bridge.h"

#include <string.h>
#include <time.h>

static const char *const demo_items[] = {
    "Notebook, A5, dotted",
    "Notebook, A4, lined",
    "Fountain pen, fine nib",
    "Ink, midnight blue, 50 ml",
};

/* Colours: every text pair reaches 4.5:1 and every control edge 3:1 in both schemes (WCAG 2.2, 1.4.3
 * and 1.4.11). */
static const char style[] =
    ":root{color-scheme:light dark;--page:#f3f4f1;--card:#fff;--ink:#1c2321;--soft:#55605c;"
    "--line:#dde1dd;--edge:#7b8682;--main:#0b6550;--on:#fff;--bad:#a5231c;--tint:#fcf0ee}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#111514;--card:#1a201f;--ink:#e8edeb;--soft:#a6b2ad;"
    "--line:#303936;--edge:#7f8c87;--main:#7cd9bd;--on:#06231a;--bad:#ff9f94;--tint:#2f1d1b}}\n"
    "*{box-sizing:border-box}\n"
    "html{-webkit-text-size-adjust:100%;text-size-adjust:100%}\n"
    "body{margin:0;background:var(--page);color:var(--ink);"
    "font:1rem/1.55 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",\"Noto Sans\",sans-serif;"
    "overflow-wrap:anywhere}\n"
    "main{max-width:38rem;margin:0 auto;padding:2rem 1.25rem 3rem;background:var(--card);"
    "min-height:100vh}\n"
    "@media(min-width:42rem){main{min-height:0;margin:4rem auto;padding:2.75rem 3rem 3rem;"
    "border:1px solid var(--line);border-radius:.9rem;box-shadow:0 1px 4px #0001}}\n"
    "svg{display:block;width:3rem;height:3rem;margin:0 0 1.25rem;fill:none;stroke:var(--main);"
    "stroke-width:2.5;stroke-linecap:round;stroke-linejoin:round}\n"
    "svg.no{stroke:var(--bad)}\n"
    "h1{margin:0 0 .75rem;font-size:clamp(1.65rem,1.4rem + 1.2vw,2.1rem);line-height:1.2;"
    "letter-spacing:-.015em;text-wrap:balance}\n"
    "h2{margin:0 0 .4rem;font-size:1.05rem}\n"
    "p{margin:0 0 1rem}\n"
    ".kicker{margin:0 0 .35rem;color:var(--soft);font-size:.9rem;font-weight:600}\n"
    ".soft,small{color:var(--soft);font-size:.9rem;font-weight:400}\n"
    "a{color:var(--main);text-underline-offset:.15em}\n"
    "main>:last-child{margin-bottom:0}\n"
    ".receipt{margin:1.75rem 0;padding:1.1rem 1.25rem 1.2rem;border:1px solid var(--line);"
    "border-radius:.6rem;background:var(--page)}\n"
    ".receipt p{margin:0}\n"
    ".ref{margin:.15rem 0 .3rem!important;"
    "font:600 clamp(1.5rem,7vw,2rem)/1.3 ui-monospace,Menlo,Consolas,\"DejaVu Sans Mono\",monospace;"
    "overflow-wrap:normal;user-select:all}\n"
    "form{margin:1.75rem 0 0}\n"
    ".list{padding:1rem 1.25rem;border-inline-start:.3rem solid var(--bad);"
    "border-radius:.3rem;background:var(--tint)}\n"
    ".list ul{margin:0;padding-inline-start:1.2rem}\n"
    ".list li{padding:.15rem 0}\n"
    ".list a,.wrong{color:var(--bad)}\n"
    ".row{margin:0 0 1.35rem}\n"
    "label{display:block;margin:0 0 .3rem;font-weight:600}\n"
    ".row .soft,.wrong{margin:0 0 .4rem;line-height:1.4}\n"
    ".wrong{font-size:.95rem;font-weight:600}\n"
    "input,select,textarea{display:block;width:100%;min-height:2.9rem;padding:.6rem .75rem;"
    "border:1px solid var(--edge);border-radius:.45rem;background:var(--card);color:inherit;font:inherit}\n"
    "textarea{resize:vertical;line-height:1.5}\n"
    "[aria-invalid]{border:2px solid var(--bad)}\n"
    "[type=file]{padding:.5rem .6rem;font-size:.95rem}\n"
    "::file-selector-button{margin-inline-end:.75rem;padding:.3rem .8rem;border:1px solid var(--edge);"
    "border-radius:.35rem;background:var(--page);color:inherit;font:inherit;cursor:pointer}\n"
    "[type=number]{max-width:8rem}\n"
    ".check{display:flex;gap:.75rem;align-items:flex-start}\n"
    ".check label{margin:0;font-weight:400}\n"
    "[type=checkbox]{flex:none;width:1.5rem;min-height:1.5rem;margin:0;accent-color:var(--main)}\n"
    "button{width:100%;min-height:3rem;margin:.4rem 0 0;padding:.7rem 1.75rem;"
    "border:1px solid transparent;border-radius:.45rem;background:var(--main);color:var(--on);"
    "font:inherit;font-weight:600;cursor:pointer}\n"
    "@media(min-width:42rem){button{width:auto}}\n"
    "button:hover{filter:brightness(1.1)}\n"
    ":focus-visible{outline:3px solid var(--main);outline-offset:2px}\n";

static const char mark_done[] =
    "<svg viewBox=\"0 0 48 48\" aria-hidden=\"true\"><circle cx=\"24\" cy=\"24\" r=\"21\"/>"
    "<path d=\"M15 24.5l6.5 6.5L33.5 18\"/></svg>\n";
static const char mark_stop[] =
    "<svg class=\"no\" viewBox=\"0 0 48 48\" aria-hidden=\"true\"><circle cx=\"24\" cy=\"24\" "
    "r=\"21\"/><path d=\"M24 14v12M24 33v.6\"/></svg>\n";

static struct span span_of(const struct buf *b)
{
    return (struct span){(const char *)b->data, b->len};
}

static struct span span_text(const char *text)
{
    return (struct span){text, strlen(text)};
}

static bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* ---- The frame of every page ----------------------------------------------------------------- */

static struct span form_title(const struct form_conf *f)
{
    return span_text(f->title != NULL ? f->title : f->name);
}

/* Up to the heading. kicker, the small line above it, may be empty; mark is markup of ours or "". */
static void page_open(struct buf *out, const char *mark, struct span kicker, struct span heading)
{
    buf_str(out, "<!DOCTYPE html>\n<html lang=\"");
    html_str(out, words(W_LANG));
    /* Under "no-referrer" a browser posts a form with "Origin: null" (Fetch, "append a request Origin
     * header"): our own pages must be recognisable when they post to us, and still tell nobody else anything.
     */
    buf_str(out, "\">\n<head>\n<meta charset=\"utf-8\">\n"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                 "<meta name=\"referrer\" content=\"same-origin\">\n"
                 "<meta name=\"robots\" content=\"noindex\">\n<title>");
    html_text(out, heading);
    if (kicker.len > 0) {
        buf_str(out, " \u2013 ");
        html_text(out, kicker);
    }
    buf_str(out, "</title>\n<style>");
    buf_put(out, style, sizeof style - 1);
    buf_str(out, "</style>\n</head>\n<body>\n<main>\n");
    buf_str(out, mark);
    if (kicker.len > 0) {
        buf_str(out, "<p class=\"kicker\">");
        html_text(out, kicker);
        buf_str(out, "</p>\n");
    }
    buf_str(out, "<h1>");
    html_text(out, heading);
    buf_str(out, "</h1>\n");
}

static void page_close(struct buf *out)
{
    buf_str(out, "</main>\n</body>\n</html>\n");
}

/* A way back to the site, where the config knows it. */
static void put_way_back(struct buf *out, const struct form_conf *f)
{
    if (f->origin_count == 0) {
        return;
    }
    struct span origin = span_text(f->origins[0]);
    const char *host = strstr(origin.at, "://");
    buf_str(out, "<p><a href=\"");
    html_text(out, origin);
    buf_str(out, "/\">");
    html_sentence(out, words(W_BACK), host == NULL ? origin : span_text(host + 3));
    buf_str(out, "</a></p>\n");
}

const char *page_csp(void)
{
    static char csp[160];
    if (csp[0] == '\0') {
        unsigned char hash[br_sha256_SIZE];
        char memory[64];
        br_sha256_context sha;
        br_sha256_init(&sha);
        br_sha256_update(&sha, style, sizeof style - 1);
        br_sha256_out(&sha, hash);
        struct buf text;
        struct buf_sink sink;
        buf_borrow(&text, memory, sizeof memory);
        buf_sink(&sink, &text);
        encode_base64(&sink.sink, hash, sizeof hash); /* one line, and its end */
        /* No form-action: browsers hold redirects against it too, and the `success` page of a form is on
         * another origin. */
        text_fmt(csp, sizeof csp,
                 "default-src 'none'; style-src 'sha256-%.*s'; base-uri 'none'; frame-ancestors 'none'",
                 (int)text.len - 1, memory);
    }
    return csp;
}

/* ---- Receipt, refusal, about ----------------------------------------------------------------- */

static void put_time(struct buf *out, int64_t seconds)
{
    time_t when = (time_t)seconds;
    struct tm tm;
    char machine[40], person[40];
    if (gmtime_r(&when, &tm) == NULL || strftime(machine, sizeof machine, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0 ||
        strftime(person, sizeof person, "%Y-%m-%d %H:%M UTC", &tm) == 0) {
        return;
    }
    buf_fmt(out, "<p class=\"soft\"><time datetime=\"%s\">", machine);
    html_sentence(out, words(W_RECEIVED_AT), span_text(person));
    buf_str(out, "</time></p>\n");
}

void page_receipt(struct buf *out, const struct form_conf *f, const char *ref, int64_t time)
{
    page_open(out, mark_done, form_title(f), span_text(words(W_RECEIVED)));
    html_paragraph(out, NULL, words(W_RECEIVED_LEAD));
    buf_str(out, "<div class=\"receipt\">\n");
    html_paragraph(out, NULL, words(W_RECEIPT));
    html_paragraph(out, "ref", ref);
    put_time(out, time);
    buf_str(out, "</div>\n");
    html_paragraph(out, NULL, words(W_KEEP));
    put_way_back(out, f);
    page_close(out);
}

void page_error(struct buf *out, unsigned status, const char *title, const char *what)
{
    const struct refusal *r = words_refusal(status);
    char digits[16], kicker[64];
    text_fmt(digits, sizeof digits, "%u", status);
    struct buf small;
    buf_borrow(&small, kicker, sizeof kicker);
    html_sentence(&small, words(W_ERROR), span_text(digits));
    page_open(out, mark_stop, span_of(&small), span_text(title != NULL ? title : r->title));
    html_paragraph(out, NULL, what != NULL ? what : r->what);
    buf_str(out, "<p><strong>");
    html_str(out, words(W_NOTHING_STORED));
    buf_str(out, "</strong></p>\n");
    html_paragraph(out, NULL, r->advice);
    page_close(out);
}

void page_about(struct buf *out, const struct conf *c, const struct form_conf *f)
{
    if (f == NULL) {
        page_open(out, "", span_text(c->hostname), span_text(words(W_ABOUT)));
        buf_str(out, "<p>");
        html_sentence(out, words(W_ABOUT_LEAD), span_text(c->hostname));
        buf_str(out, "</p>\n");
        html_paragraph(out, NULL, words(W_ABOUT_DATA));
    } else {
        page_open(out, "", form_title(f), span_text(words(W_ABOUT_FORM)));
        html_paragraph(out, NULL, words(W_ABOUT_FORM_LEAD));
        html_paragraph(out, "soft", words(W_ABOUT_FORM_OWNER));
        put_way_back(out, f);
    }
    page_close(out);
}

/* ---- The same form again --------------------------------------------------------------------- */

enum {
    REFILL_MAX = 64 * 1024, /* more text than this is not sent back */
    FIELD_COST = 128,       /* what a field counts beside its text, for the markup around it */
    LONG_VALUE = 60,        /* a value longer than this gets a textarea even if it is one line */
    ROWS_MIN = 4,           /* of a textarea */
    ROWS_MAX = 12,
};

struct refill {
    struct buf *out;
    const struct form_conf *conf;
    struct form *typed;
    const struct page_error *errors;
    size_t count; /* of errors */
};

/* One control to write. */
struct input {
    size_t id; /* unique in the page */
    struct span name;
    struct span value;
    struct span filename;
    bool file;
};

static bool error_names(const struct page_error *e, struct span name)
{
    return e->field != NULL && span_equal(span_text(e->field), name);
}

static bool is_wrong(const struct refill *r, struct span name)
{
    for (size_t i = 0; i < r->count; i++) {
        if (error_names(&r->errors[i], name)) {
            return true;
        }
    }
    return false;
}

static bool is_required(const struct form_conf *f, struct span name)
{
    for (size_t i = 0; i < f->required_count; i++) {
        if (span_equal(span_text(f->required[i]), name)) {
            return true;
        }
    }
    return false;
}

/* Control fields keep their value but are nobody's to see, unless something is wrong with them. */
static bool is_hidden(const struct refill *r, const struct field *field)
{
    struct span name = span_of(&field->name);
    return !field->file && name.len > 0 && name.at[0] == '_' && !is_wrong(r, name);
}

/* Where to mend an error: the first field of its name or, if none was sent, the input that we add for it. */
static size_t input_id(const struct refill *r, struct span name)
{
    size_t fields = form_count(r->typed);
    for (size_t i = 0; i < fields; i++) {
        if (span_equal(span_of(&form_field(r->typed, i)->name), name)) {
            return i;
        }
    }
    size_t i = 0;
    while (i < r->count && !error_names(&r->errors[i], name)) {
        i++;
    }
    return fields + i;
}

static bool is_separator(char c)
{
    return c == '_' || c == '-' || c == ' ';
}

/* What people call a field: its name with spaces for _ and -, the first letter a capital. Plain text: to be
 * escaped. */
static struct span label_of(struct buf *label, char *memory, size_t size, struct span name)
{
    buf_borrow(label, memory, size);
    while (name.len > 0 && is_separator(*name.at)) {
        name.at++;
        name.len--;
    }
    for (size_t i = 0; i < name.len; i++) {
        char c = is_separator(name.at[i]) ? ' ' : name.at[i];
        bool capital = i == 0 && c >= 'a' && c <= 'z';
        buf_byte(label, (unsigned char)(capital ? c - 'a' + 'A' : c));
    }
    return label->len == 0 || !buf_ok(label) ? span_text(words(W_UNNAMED)) : span_of(label);
}

static unsigned rows_of(struct span value)
{
    unsigned rows = ROWS_MIN - 1;
    for (size_t i = 0; i < value.len && rows < ROWS_MAX; i++) {
        rows += value.at[i] == '\n';
    }
    return rows < ROWS_MAX ? rows + 1 : ROWS_MAX;
}

/* The control itself. */
static void put_control(const struct refill *r, const struct input *in, bool wrong)
{
    struct buf *out = r->out;
    bool lines = in->value.len > 0 && (memchr(in->value.at, '\n', in->value.len) != NULL ||
                                       memchr(in->value.at, '\r', in->value.len) != NULL);
    bool area = !in->file && (lines || in->value.len > LONG_VALUE);
    bool email = !area && span_equal(in->name, span_text("email"));
    buf_str(out, area ? "<textarea" : "<input");
    buf_fmt(out, " id=\"f%zu\"", in->id);
    html_attribute(out, "name", in->name);
    if (wrong) {
        buf_str(out, " aria-invalid=\"true\"");
    }
    if (wrong || in->file) {
        buf_str(out, " aria-describedby=\"");
        if (wrong) {
            buf_fmt(out, "e%zu", in->id);
        }
        if (in->file) {
            buf_fmt(out, "%sh%zu", wrong ? " " : "", in->id);
        }
        buf_byte(out, '"');
    }
    if (area) {
        buf_fmt(out, " rows=\"%u\" dir=\"auto\">\n",
                rows_of(in->value)); /* HTML drops one line end after the tag */
        html_text(out, in->value);
        buf_str(out, "</textarea>\n");
    } else if (in->file) {
        buf_str(out, " type=\"file\">\n");
    } else {
        buf_str(out, email ? " type=\"email\" autocomplete=\"email\"" : " type=\"text\" dir=\"auto\"");
        html_attribute(out, "value", in->value);
        buf_str(out, ">\n");
    }
}

static void put_messages(const struct refill *r, const struct input *in)
{
    const char *space = "";
    buf_fmt(r->out, "<p class=\"wrong\" id=\"e%zu\">", in->id);
    for (size_t i = 0; i < r->count; i++) {
        if (error_names(&r->errors[i], in->name)) {
            buf_str(r->out, space);
            html_str(r->out, r->errors[i].message);
            space = " ";
        }
    }
    buf_str(r->out, "</p>\n");
}

static void put_file_hint(struct buf *out, const struct input *in)
{
    buf_fmt(out, "<p class=\"soft\" id=\"h%zu\">", in->id);
    html_str(out, words(W_FILE_HINT));
    if (in->filename.len > 0) {
        buf_byte(out, ' ');
        html_sentence(out, words(W_FILE_WAS), in->filename);
    }
    buf_str(out, "</p>\n");
}

/* One labelled control with what is to be said about it. */
static void put_row(const struct refill *r, const struct input *in)
{
    char memory[FIELD_NAME_MAX];
    struct buf label;
    bool wrong = is_wrong(r, in->name);
    buf_fmt(r->out, "<div class=\"row\">\n<label for=\"f%zu\">", in->id);
    html_sentence(r->out, in->file ? words(W_FILE_AGAIN) : "{}",
                  label_of(&label, memory, sizeof memory, in->name));
    if (is_required(r->conf, in->name)) {
        buf_str(r->out, " <small>");
        html_str(r->out, words(W_REQUIRED));
        buf_str(r->out, "</small>");
    }
    buf_str(r->out, "</label>\n");
    if (wrong) {
        put_messages(r, in);
    }
    if (in->file) {
        put_file_hint(r->out, in);
    }
    put_control(r, in, wrong);
    buf_str(r->out, "</div>\n");
}

static void put_typed(const struct refill *r)
{
    for (size_t i = 0; i < form_count(r->typed); i++) {
        const struct field *field = form_field(r->typed, i);
        struct input in = {.id = i, .name = span_of(&field->name), .file = field->file};
        if (field->file) {
            in.filename = span_of(&field->filename);
        } else {
            in.value = span_of(&field->value);
        }
        if (is_hidden(r, field)) {
            buf_str(r->out, "<input type=\"hidden\"");
            html_attribute(r->out, "name", in.name);
            html_attribute(r->out, "value", in.value);
            buf_str(r->out, ">\n");
        } else {
            put_row(r, &in);
        }
    }
}

/* An empty input for each field that an error names and nobody sent. */
static void put_missing(const struct refill *r)
{
    size_t fields = form_count(r->typed);
    for (size_t i = 0; i < r->count; i++) {
        if (r->errors[i].field == NULL) {
            continue;
        }
        struct input in = {.id = fields + i, .name = span_text(r->errors[i].field)};
        if (input_id(r, in.name) == in.id) {
            put_row(r, &in);
        }
    }
}

static void put_refill(const struct refill *r)
{
    bool files = false;
    for (size_t i = 0; i < form_count(r->typed); i++) {
        files = files || form_field(r->typed, i)->file;
    }
    /* novalidate: what is wrong is ours to say, a browser's own opinion of an address must not stand in the
     * way. */
    buf_str(r->out, "<form method=\"post\" novalidate");
    buf_str(r->out, files ? " enctype=\"multipart/form-data\"" : "");
    buf_str(r->out, " action=\"/f/");
    html_str(r->out, r->conf->name);
    buf_str(r->out, "\">\n");
    put_typed(r);
    put_missing(r);
    buf_str(r->out, "<button type=\"submit\">");
    html_str(r->out, words(W_SEND));
    buf_str(r->out, "</button>\n</form>\n");
}

/* Everything that is wrong, each linked to its input when the form follows. */
static void put_summary(const struct refill *r, bool linked)
{
    buf_str(r->out, "<div class=\"list\" role=\"alert\">\n<h2>");
    html_str(r->out, words(W_INVALID_LIST));
    buf_str(r->out, "</h2>\n<ul>\n");
    for (size_t i = 0; i < r->count; i++) {
        const struct page_error *e = &r->errors[i];
        char memory[FIELD_NAME_MAX];
        struct buf label;
        bool link = linked && e->field != NULL;
        buf_str(r->out, "<li>");
        if (link) {
            buf_fmt(r->out, "<a href=\"#f%zu\">", input_id(r, span_text(e->field)));
        }
        if (e->field != NULL) {
            html_text(r->out, label_of(&label, memory, sizeof memory, span_text(e->field)));
            buf_str(r->out, ": ");
        }
        html_str(r->out, e->message);
        buf_str(r->out, link ? "</a></li>\n" : "</li>\n");
    }
    buf_str(r->out, "</ul>\n</div>\n");
}

static bool fits(struct form *typed)
{
    size_t left = REFILL_MAX;
    for (size_t i = 0; i < form_count(typed); i++) {
        const struct field *field = form_field(typed, i);
        size_t cost = FIELD_COST + field->name.len + (field->file ? field->filename.len : field->value.len);
        if (cost > left) {
            return false;
        }
        left -= cost;
    }
    return true;
}

void page_invalid(struct buf *out, const struct form_conf *f, struct form *typed,
                  const struct page_error *errors, size_t count)
{
    struct refill r = {.out = out, .conf = f, .typed = typed, .errors = errors, .count = count};
    bool again = fits(typed);
    page_open(out, "", form_title(f), span_text(words(W_INVALID)));
    html_paragraph(out, NULL, words(again ? W_INVALID_LEAD : W_INVALID_LOST));
    put_summary(&r, again);
    if (again) {
        put_refill(&r);
    }
    page_close(out);
}

/* ---- The demo's order form ------------------------------------------------------------------- */

/* A label and the start of its control, which the caller closes. hint: of the table, or WORDS_COUNT for none.
 */
static void put_demo_field(struct buf *out, const struct form_conf *f, const char *name, enum word label,
                           enum word hint, const char *control)
{
    bool required = is_required(f, span_text(name));
    buf_fmt(out, "<div class=\"row\">\n<label for=\"%s\">", name);
    html_str(out, words(label));
    if (required) {
        buf_str(out, " <small>");
        html_str(out, words(W_REQUIRED));
        buf_str(out, "</small>");
    }
    buf_str(out, "</label>\n");
    if (hint != WORDS_COUNT) {
        buf_fmt(out, "<p class=\"soft\" id=\"%s-hint\">", name);
        html_str(out, words(hint));
        buf_str(out, "</p>\n");
    }
    buf_fmt(out, "<%s id=\"%s\" name=\"%s\"", control, name, name);
    if (hint != WORDS_COUNT) {
        buf_fmt(out, " aria-describedby=\"%s-hint\"", name);
    }
    buf_str(out, required ? " required" : "");
}

static void put_demo_items(struct buf *out)
{
    buf_str(out, ">\n<option value=\"\">");
    html_str(out, words(W_DEMO_CHOOSE));
    buf_str(out, "</option>\n");
    for (size_t i = 0; i < COUNT(demo_items); i++) {
        buf_str(out, "<option>");
        html_str(out, demo_items[i]);
        buf_str(out, "</option>\n");
    }
    buf_str(out, "</select>\n</div>\n");
}

void page_demo(struct buf *out, const struct form_conf *f)
{
    page_open(out, "", span_text(words(W_DEMO_KICKER)), span_text(words(W_DEMO)));
    html_paragraph(out, "soft", words(W_DEMO_LEAD));
    buf_str(out, "<form method=\"post\" enctype=\"multipart/form-data\" action=\"/f/");
    html_str(out, f->name);
    buf_str(out, "\">\n");
    put_demo_field(out, f, "name", W_DEMO_NAME, WORDS_COUNT, "input");
    buf_str(out, " type=\"text\" autocomplete=\"name\">\n</div>\n");
    put_demo_field(out, f, "email", W_DEMO_EMAIL, W_DEMO_EMAIL_HINT, "input");
    buf_str(out, " type=\"email\" autocomplete=\"email\">\n</div>\n");
    put_demo_field(out, f, "item", W_DEMO_ITEM, WORDS_COUNT, "select");
    put_demo_items(out);
    put_demo_field(out, f, "quantity", W_DEMO_QUANTITY, WORDS_COUNT, "input");
    buf_str(out, " type=\"number\" inputmode=\"numeric\" min=\"1\" max=\"99\" value=\"1\">\n</div>\n");
    put_demo_field(out, f, "message", W_DEMO_MESSAGE, WORDS_COUNT, "textarea");
    buf_str(out, " rows=\"4\"></textarea>\n</div>\n");
    put_demo_field(out, f, "photo", W_DEMO_PHOTO, W_DEMO_PHOTO_HINT, "input");
    buf_str(out, " type=\"file\">\n</div>\n");
    buf_str(
        out,
        "<div class=\"row check\">\n<input type=\"checkbox\" id=\"consent\" name=\"consent\" value=\"yes\"");
    buf_str(out, is_required(f, span_text("consent")) ? " required" : "");
    buf_str(out, ">\n<label for=\"consent\">");
    html_str(out, words(W_DEMO_CONSENT));
    buf_str(out, "</label>\n</div>\n<button type=\"submit\">");
    html_str(out, words(W_DEMO_SEND));
    buf_str(out, "</button>\n</form>\n");
    page_close(out);
}

/* ---- JSON (RFC 8259) ------------------------------------------------------------------------- */

static void put_json(struct buf *out, const char *text)
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
    put_json(out, ref);
    buf_str(out, ",\"next\":");
    put_json(out, next != NULL
                      ? next
                      : ""); /* Formspree's client takes success without a string here for an error */
    buf_str(out, "}\n");
}

void page_json_error(struct buf *out, const char *what, const struct page_error *errors, size_t count)
{
    buf_str(out, "{\"error\":");
    put_json(out, what);
    buf_str(out, ",\"errors\":[");
    for (size_t i = 0; i < count; i++) {
        buf_str(out, i > 0 ? ",{" : "{");
        if (errors[i].field != NULL) {
            buf_str(out, "\"field\":");
            put_json(out, errors[i].field);
            buf_byte(out, ',');
        }
        buf_str(out, "\"code\":");
        put_json(out, errors[i].code);
        buf_str(out, ",\"message\":");
        put_json(out, errors[i].message);
        buf_byte(out, '}');
    }
    buf_str(out, "]}\n");
}
