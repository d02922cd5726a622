/*
 * The HTML that people get. Pure.
 *
 * A page is one document without script, image or outside resource. Its only style sheet stands inline and is
 * named by hash in the Content-Security-Policy, so that even markup that slipped through could load and run
 * nothing.
 */

#include "bridge.h"

#include <string.h>

static bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static struct span form_title(const struct form_conf *f)
{
    return text_span(f->title != NULL ? f->title : f->name);
}

const char *page_csp(void)
{
    static char csp[160];
    if (csp[0] == '\0') {
        char memory[80];
        size_t len;
        const char *style = frame_style(&len);
        struct buf hash;
        buf_borrow(&hash, memory, sizeof memory);
        frame_hash(&hash, style, len);
        /* No form-action: browsers hold redirects against it too, and the `success` page of a form is on
         * another origin. */
        text_fmt(csp, sizeof csp,
                 "default-src 'none'; style-src %.*s; base-uri 'none'; frame-ancestors 'none'", (int)hash.len,
                 memory);
    }
    return csp;
}

/* ---- The owner's templates ------------------------------------------------------------------- */

struct refill;
static void put_summary(const struct refill *r, bool linked);
static void put_refill(const struct refill *r);

struct view { /* what the placeholders of a template stand for */
    const struct page_style *style;
    const char *title, *message;
    const char *ref;
    int64_t time;
    unsigned status;
    const char *advice;
    const struct refill *refill;
    bool again; /* the form is to be shown */
};

static const struct template *template_of(const struct page_style *s, enum template_kind kind)
{
    return s->form != NULL ? s->form->template[kind] : NULL;
}

const char *page_template_csp(const struct page_style *s, enum template_kind kind)
{
    const struct template *t = template_of(s, kind);
    return t != NULL ? template_policy(t) : NULL;
}

static void put_style(struct buf *out)
{
    size_t len;
    const char *style = frame_style(&len);
    buf_str(out, "<style>");
    buf_put(out, style, len);
    buf_str(out, "</style>");
}

static void put_place(struct buf *out, enum template_place place, const void *arg)
{
    const struct view *v = arg;
    const struct page_style *s = v->style;
    char when[DATE_SIZE];
    switch (place) {
    case PLACE_LANG: html_str(out, words_tag(s->language)); break;
    case PLACE_DIR: html_str(out, words_dir(s->language)); break;
    case PLACE_STYLE: put_style(out); break;
    case PLACE_FORM: html_text(out, form_title(s->form)); break;
    case PLACE_TITLE: html_str(out, v->title); break;
    case PLACE_MESSAGE: html_str(out, v->message); break;
    case PLACE_SITE:
        html_str(out, s->form->origins[0]);
        buf_byte(out, '/');
        break;
    case PLACE_BACK: frame_back(out, s); break;
    case PLACE_RECEIPT: html_str(out, v->ref); break;
    case PLACE_TIME:
        date_minute(when, v->time);
        html_str(out, when);
        break;
    case PLACE_KEEP: html_str(out, words(s->language, W_KEEP)); break;
    case PLACE_STATUS: buf_fmt(out, "%u", v->status); break;
    case PLACE_STORED: html_str(out, words(s->language, W_NOTHING_STORED)); break;
    case PLACE_ADVICE: html_str(out, v->advice); break;
    case PLACE_ERRORS: put_summary(v->refill, v->again); break;
    case PLACE_FIELDS:
        if (v->again) {
            put_refill(v->refill);
        }
        break;
    case PLACES: break;
    }
}

/* Writes the owner's page instead of ours, if there is one. */
static bool put_template(struct buf *out, enum template_kind kind, const struct view *v)
{
    const struct template *t = template_of(v->style, kind);
    if (t != NULL) {
        template_write(out, t, put_place, v);
    }
    return t != NULL;
}

/* ---- Receipt, refusal, about ----------------------------------------------------------------- */

static void put_time(struct buf *out, const struct page_style *s, int64_t seconds)
{
    char machine[DATE_SIZE], person[DATE_SIZE];
    date_machine(machine, seconds);
    date_minute(person, seconds);
    buf_fmt(out, "<p class=\"soft\"><time datetime=\"%s\">", machine);
    html_sentence(out, words(s->language, W_RECEIVED_AT), text_span(person));
    buf_str(out, "</time></p>\n");
}

void page_receipt(struct buf *out, const struct page_style *s, const char *ref, int64_t time)
{
    const struct view v = {.style = s,
                           .title = words(s->language, W_RECEIVED),
                           .message = words(s->language, W_RECEIVED_LEAD),
                           .ref = ref,
                           .time = time};
    if (put_template(out, TEMPLATE_RECEIPT, &v)) {
        return;
    }
    frame_open(out, s, MARK_DONE, form_title(s->form), text_span(words(s->language, W_RECEIVED)));
    html_paragraph(out, NULL, words(s->language, W_RECEIVED_LEAD));
    buf_str(out, "<div class=\"receipt\">\n");
    html_paragraph(out, NULL, words(s->language, W_RECEIPT));
    /* Groups of digits must not change places in a line that runs from right to left. */
    buf_str(out, "<p class=\"ref\"><bdi dir=\"ltr\">");
    html_str(out, ref);
    buf_str(out, "</bdi></p>\n");
    put_time(out, s, time);
    buf_str(out, "</div>\n");
    html_paragraph(out, NULL, words(s->language, W_KEEP));
    frame_way_back(out, s);
    frame_close(out);
}

void page_moved(struct buf *out, const struct page_style *s, const char *ref, const char *url)
{
    buf_fmt(out, "<!DOCTYPE html>\n<html lang=\"%s\" dir=\"%s\">\n<meta charset=\"utf-8\">\n<title>",
            words_tag(s->language), words_dir(s->language));
    html_str(out, words(s->language, W_RECEIVED));
    buf_str(out, "</title>\n");
    html_paragraph(out, NULL, words(s->language, W_RECEIPT));
    html_paragraph(out, NULL, ref);
    buf_str(out, "<p><a");
    html_attribute(out, "href", text_span(url));
    buf_byte(out, '>');
    html_str(out, url);
    buf_str(out, "</a></p>\n");
}

static const char *either(const char *own, const char *usual)
{
    return own != NULL ? own : usual;
}

void page_error(struct buf *out, const struct page_style *s, unsigned status, const struct page_reason *why)
{
    static const struct page_reason none;
    const struct refusal *r = words_refusal(s->language, status);
    why = why != NULL ? why : &none;
    const struct view v = {.style = s,
                           .title = either(why->title, r->title),
                           .message = either(why->what, r->what),
                           .status = status,
                           .advice = either(why->advice, r->advice)};
    if (put_template(out, TEMPLATE_ERROR, &v)) {
        return;
    }
    char digits[16], kicker[64];
    text_fmt(digits, sizeof digits, "%u", status);
    struct buf small;
    buf_borrow(&small, kicker, sizeof kicker);
    html_sentence(&small, words(s->language, W_ERROR), text_span(digits));
    frame_open(out, s, MARK_STOP, buf_span(&small), text_span(v.title));
    html_paragraph(out, NULL, v.message);
    buf_str(out, "<p><strong>");
    html_str(out, words(s->language, W_NOTHING_STORED));
    buf_str(out, "</strong></p>\n");
    html_paragraph(out, NULL, v.advice);
    if (why->detail != NULL) {
        buf_str(out, "<p class=\"soft\" lang=\"en\" dir=\"ltr\">");
        html_str(out, why->detail);
        buf_str(out, "</p>\n");
    }
    frame_close(out);
}

void page_about(struct buf *out, const struct page_style *s, const struct conf *c)
{
    enum language l = s->language;
    if (s->form == NULL) {
        frame_open(out, s, MARK_NONE, text_span(c->hostname), text_span(words(l, W_ABOUT)));
        buf_str(out, "<p>");
        html_sentence(out, words(l, W_ABOUT_LEAD), text_span(c->hostname));
        buf_str(out, "</p>\n");
        html_paragraph(out, NULL, words(l, W_ABOUT_DATA));
    } else {
        frame_open(out, s, MARK_NONE, form_title(s->form), text_span(words(l, W_ABOUT_FORM)));
        html_paragraph(out, NULL, words(l, W_ABOUT_FORM_LEAD));
        html_paragraph(out, "soft", words(l, W_ABOUT_FORM_OWNER));
        frame_way_back(out, s);
    }
    frame_close(out);
}

/* ---- The same form again --------------------------------------------------------------------- */

enum {
    REFILL_MAX = 64 * 1024, /* more text than this is not sent back */
    FIELD_COST = 128,       /* what a field counts beside its text, for the markup around it */
    CHOICE_COST = 4,        /* and for each choice of a list, which few pages have more than once */
};

struct refill {
    struct buf *out;
    const struct page_style *style;
    struct form *typed;
    const struct rules_error *errors;
    size_t count;   /* of errors */
    enum word list; /* heading of the errors */
};

/* One control to write. */
struct input {
    size_t id; /* unique in the page */
    struct span name;
    struct span value;
    struct span filename;
    bool file;
    bool again; /* there was a file */
};

static bool error_names(const struct rules_error *e, struct span name)
{
    return e->field != NULL && span_equal(text_span(e->field), name);
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
    const struct rule *rule = rules_find(f, name);
    bool required = rule != NULL && rule->required;
    for (size_t i = 0; i < f->required_count && !required; i++) {
        required = span_equal(text_span(f->required[i]), name);
    }
    return required;
}

static bool is_for_nobody(const struct form_conf *f, struct span name)
{
    bool left_out = name.len > 0 && name.at[0] == '_';
    for (size_t i = 0; i < f->leave_out_count && !left_out; i++) {
        left_out = span_equal(text_span(f->leave_out[i]), name);
    }
    return left_out;
}

/* Control fields, and what stays out of the mail, keep their value but are nobody's to see, unless something is wrong with
 * them. */
static bool is_hidden(const struct refill *r, const struct field *field)
{
    struct span name = buf_span(&field->name);
    return !field->file && (field->hidden || is_for_nobody(r->style->form, name)) && !is_wrong(r, name);
}

/* Where to mend an error: the first field of its name or, if none was sent, the input that we add for it. */
static size_t input_id(const struct refill *r, struct span name)
{
    size_t fields = form_count(r->typed);
    for (size_t i = 0; i < fields; i++) {
        if (span_equal(buf_span(&form_field(r->typed, i)->name), name)) {
            return i;
        }
    }
    size_t i = 0;
    while (i < r->count && !error_names(&r->errors[i], name)) {
        i++;
    }
    return fields + i;
}

static const char *say(const struct refill *r, enum word id)
{
    return words(r->style->language, id);
}

static bool is_separator(char c)
{
    return c == '_' || c == '-' || c == ' ';
}

/* What people call a field: its name with spaces for _ and -, the first letter a capital. Plain text: to be
 * escaped. */
static struct span label_of(const struct refill *r, struct buf *label, char *memory, size_t size,
                            struct span name)
{
    const struct rule *rule = rules_find(r->style->form, name);
    if (rule != NULL && rule->label != NULL) {
        return text_span(rule->label);
    }
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
    return label->len == 0 || !buf_ok(label) ? text_span(say(r, W_UNNAMED)) : buf_span(label);
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

static void put_file_hint(const struct refill *r, const struct input *in)
{
    struct buf *out = r->out;
    buf_fmt(out, "<p class=\"soft\" id=\"h%zu\">", in->id);
    html_str(out, say(r, W_FILE_HINT));
    if (in->filename.len > 0) {
        buf_byte(out, ' ');
        html_sentence(out, say(r, W_FILE_WAS), in->filename);
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
    html_sentence(r->out, in->again ? say(r, W_FILE_AGAIN) : "{}",
                  label_of(r, &label, memory, sizeof memory, in->name));
    if (is_required(r->style->form, in->name)) {
        buf_str(r->out, " <small>");
        html_str(r->out, say(r, W_REQUIRED));
        buf_str(r->out, "</small>");
    }
    buf_str(r->out, "</label>\n");
    if (wrong) {
        put_messages(r, in);
    }
    if (in->again) {
        put_file_hint(r, in);
    }
    widget_write(r->out, &(struct widget){.id = in->id,
                                          .name = in->name,
                                          .value = in->value,
                                          .file = in->file,
                                          .wrong = wrong,
                                          .hint = in->again,
                                          .rule = rules_find(r->style->form, in->name),
                                          .language = r->style->language});
    buf_str(r->out, "</div>\n");
}

static void put_hidden(struct buf *out, struct span name, struct span value)
{
    buf_str(out, "<input type=\"hidden\"");
    html_attribute(out, "name", name);
    html_attribute(out, "value", value);
    buf_str(out, ">\n");
}

static void put_token(struct buf *out, const struct page_style *s)
{
    if (s->token != NULL) {
        put_hidden(out, text_span(TOKEN_FIELD), text_span(s->token));
    }
}

/* A honeypot belongs to the page it came from. A token, and the proof that belongs to it, are kept unless there is a
 * new one. */
static bool is_left_out(const struct refill *r, const struct field *field)
{
    bool token = buf_equal(&field->name, TOKEN_FIELD) || buf_equal(&field->name, TOKEN_PROOF_FIELD);
    return spam_is_control(r->style->form, field) && (!token || r->style->token != NULL);
}

static void put_typed(const struct refill *r)
{
    for (size_t i = 0; i < form_count(r->typed); i++) {
        const struct field *field = form_field(r->typed, i);
        if (is_left_out(r, field)) {
            continue;
        }
        struct input in = {
            .id = i, .name = buf_span(&field->name), .file = field->file, .again = field->file};
        if (field->file) {
            in.filename = buf_span(&field->filename);
        } else {
            in.value = buf_span(&field->value);
        }
        if (is_hidden(r, field)) {
            put_hidden(r->out, in.name, in.value);
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
        struct input in = {.id = fields + i, .name = text_span(r->errors[i].field)};
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
    for (const struct rule *rule = r->style->form->rules; rule != NULL; rule = rule->next) {
        files = files || rule->type == FIELD_FILE;
    }
    /* novalidate: what is wrong is ours to say, a browser's own opinion of an address must not stand in the
     * way. */
    buf_str(r->out, "<form method=\"post\" novalidate");
    buf_str(r->out, files ? " enctype=\"multipart/form-data\"" : "");
    buf_str(r->out, " action=\"/f/");
    html_str(r->out, r->style->form->name);
    buf_str(r->out, "\">\n");
    put_token(r->out, r->style);
    put_typed(r);
    put_missing(r);
    buf_str(r->out, "<button type=\"submit\">");
    html_str(r->out, say(r, W_SEND));
    buf_str(r->out, "</button>\n</form>\n");
}

/* Everything that is wrong, each linked to its input when the form follows. */
static void put_summary(const struct refill *r, bool linked)
{
    buf_str(r->out, "<div class=\"list\" role=\"alert\">\n<h2>");
    html_str(r->out, say(r, r->list));
    buf_str(r->out, "</h2>\n<ul>\n");
    for (size_t i = 0; i < r->count; i++) {
        const struct rules_error *e = &r->errors[i];
        char memory[FIELD_NAME_MAX];
        struct buf label;
        bool link = linked && e->field != NULL;
        buf_str(r->out, "<li>");
        if (link) {
            buf_fmt(r->out, "<a href=\"#f%zu\">", input_id(r, text_span(e->field)));
        }
        if (e->field != NULL) {
            html_text(r->out, label_of(r, &label, memory, sizeof memory, text_span(e->field)));
            html_str(r->out, say(r, W_COLON));
        }
        html_str(r->out, e->message);
        buf_str(r->out, link ? "</a></li>\n" : "</li>\n");
    }
    buf_str(r->out, "</ul>\n</div>\n");
}

static bool fits(const struct form_conf *f, struct form *typed)
{
    size_t left = REFILL_MAX;
    for (size_t i = 0; i < form_count(typed); i++) {
        const struct field *field = form_field(typed, i);
        const struct rule *rule = rules_find(f, buf_span(&field->name));
        size_t cost = FIELD_COST + field->name.len + (field->file ? field->filename.len : field->value.len);
        cost += rule != NULL ? rule->choice_count * CHOICE_COST : 0;
        if (cost > left) {
            return false;
        }
        left -= cost;
    }
    return true;
}

static void put_again(const struct refill *r, enum frame_mark mark, enum word title, enum word lead)
{
    bool again = fits(r->style->form, r->typed);
    const struct view v = {.style = r->style,
                           .title = say(r, title),
                           .message = say(r, again ? lead : W_INVALID_LOST),
                           .refill = r,
                           .again = again};
    if (put_template(r->out, TEMPLATE_INVALID, &v)) {
        return;
    }
    frame_open(r->out, r->style, mark, form_title(r->style->form), text_span(v.title));
    html_paragraph(r->out, NULL, v.message);
    put_summary(r, again);
    if (again) {
        put_refill(r);
    }
    frame_close(r->out);
}

void page_invalid(struct buf *out, const struct page_style *s, struct form *typed,
                  const struct rules_error *errors, size_t count)
{
    const struct refill r = {out, s, typed, errors, count, W_INVALID_LIST};
    put_again(&r, MARK_NONE, W_INVALID, W_INVALID_LEAD);
}

void page_spam(struct buf *out, const struct page_style *s, struct form *typed,
               const struct rules_error *errors, size_t count)
{
    const struct refill r = {out, s, typed, errors, count, W_SPAM_LIST};
    put_again(&r, MARK_STOP, W_SPAM, W_SPAM_LEAD);
}

/* ---- The demo's order form ------------------------------------------------------------------- */

/* A label and the start of its control, which the caller closes. hint: of the table; WORDS_COUNT: none. */
static void put_demo_field(struct buf *out, const struct page_style *s, const char *name, enum word label,
                           enum word hint, const char *control)
{
    bool required = is_required(s->form, text_span(name));
    buf_fmt(out, "<div class=\"row\">\n<label for=\"%s\">", name);
    html_str(out, words(s->language, label));
    if (required) {
        buf_str(out, " <small>");
        html_str(out, words(s->language, W_REQUIRED));
        buf_str(out, "</small>");
    }
    buf_str(out, "</label>\n");
    if (hint != WORDS_COUNT) {
        buf_fmt(out, "<p class=\"soft\" id=\"%s-hint\">", name);
        html_str(out, words(s->language, hint));
        buf_str(out, "</p>\n");
    }
    buf_fmt(out, "<%s id=\"%s\" name=\"%s\"", control, name, name);
    if (hint != WORDS_COUNT) {
        buf_fmt(out, " aria-describedby=\"%s-hint\"", name);
    }
    buf_str(out, required ? " required" : "");
}

static void put_demo_items(struct buf *out, const struct page_style *s)
{
    buf_str(out, ">\n<option value=\"\">");
    html_str(out, words(s->language, W_DEMO_CHOOSE));
    buf_str(out, "</option>\n");
    for (enum word item = W_DEMO_ITEM_1; item <= W_DEMO_ITEM_4; item++) {
        buf_str(out, "<option>");
        html_str(out, words(s->language, item));
        buf_str(out, "</option>\n");
    }
    buf_str(out, "</select>\n</div>\n");
}

void page_demo(struct buf *out, const struct page_style *s)
{
    frame_open(out, s, MARK_NONE, text_span(words(s->language, W_DEMO_KICKER)),
               text_span(words(s->language, W_DEMO)));
    html_paragraph(out, "soft", words(s->language, W_DEMO_LEAD));
    buf_str(out, "<form method=\"post\" enctype=\"multipart/form-data\" action=\"/f/");
    html_str(out, s->form->name);
    buf_str(out, "\">\n");
    put_token(out, s);
    put_demo_field(out, s, "name", W_DEMO_NAME, WORDS_COUNT, "input");
    buf_str(out, " type=\"text\" autocomplete=\"name\">\n</div>\n");
    put_demo_field(out, s, "email", W_DEMO_EMAIL, W_DEMO_EMAIL_HINT, "input");
    buf_str(out, " type=\"email\" autocomplete=\"email\">\n</div>\n");
    put_demo_field(out, s, "item", W_DEMO_ITEM, WORDS_COUNT, "select");
    put_demo_items(out, s);
    put_demo_field(out, s, "quantity", W_DEMO_QUANTITY, WORDS_COUNT, "input");
    buf_str(out, " type=\"number\" inputmode=\"numeric\" min=\"1\" max=\"99\" value=\"1\">\n</div>\n");
    put_demo_field(out, s, "message", W_DEMO_MESSAGE, WORDS_COUNT, "textarea");
    buf_str(out, " rows=\"4\"></textarea>\n</div>\n");
    put_demo_field(out, s, "photo", W_DEMO_PHOTO, W_DEMO_PHOTO_HINT, "input");
    buf_str(out, " type=\"file\">\n</div>\n");
    buf_str(
        out,
        "<div class=\"row check\">\n<input type=\"checkbox\" id=\"consent\" name=\"consent\" value=\"yes\"");
    buf_str(out, is_required(s->form, text_span("consent")) ? " required" : "");
    buf_str(out, ">\n<label for=\"consent\">");
    html_str(out, words(s->language, W_DEMO_CONSENT));
    buf_str(out, "</label>\n</div>\n<button type=\"submit\">");
    html_str(out, words(s->language, W_DEMO_SEND));
    buf_str(out, "</button>\n</form>\n");
    frame_close(out);
}
