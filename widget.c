/* One control of the form that is sent back, as the rule for its field wants it. Pure.
 *
 * A browser shows nothing where a value does not fit its input, and what was typed must stay to be seen: then the
 * input is one for text. */

#include "bridge.h"

#include <string.h>

enum {
    LONG_VALUE = 60, /* a value longer than this gets a textarea even if it is one line */
    ROWS_MIN = 4,    /* of a textarea */
    ROWS_MAX = 12,
};

static bool is_text(enum field_type type)
{
    return type == FIELD_ANY || type == FIELD_TEXT;
}

/* A field called email is one, rule or no rule. */
static enum field_type type_of(const struct widget *w)
{
    enum field_type type = w->rule != NULL ? w->rule->type : FIELD_ANY;
    if (w->file) {
        return FIELD_FILE;
    }
    return is_text(type) && w->name.len == 5 && memcmp(w->name.at, "email", 5) == 0 ? FIELD_EMAIL : type;
}

static bool wants_lines(enum field_type type, struct span value)
{
    bool lines = value.len > 0 &&
                 (memchr(value.at, '\n', value.len) != NULL || memchr(value.at, '\r', value.len) != NULL);
    return lines || (value.len > LONG_VALUE && (is_text(type) || type == FIELD_EMAIL));
}

static unsigned rows_of(struct span value)
{
    unsigned rows = ROWS_MIN - 1;
    for (size_t i = 0; i < value.len && rows < ROWS_MAX; i++) {
        rows += value.at[i] == '\n';
    }
    return rows < ROWS_MAX ? rows + 1 : ROWS_MAX;
}

/* What all controls have. */
static void put_start(struct buf *out, const struct widget *w, const char *tag)
{
    buf_fmt(out, "<%s id=\"f%zu\"", tag, w->id);
    html_attribute(out, "name", w->name);
    if (w->wrong) {
        buf_str(out, " aria-invalid=\"true\"");
    }
    if (w->wrong || w->hint) {
        buf_str(out, " aria-describedby=\"");
        if (w->wrong) {
            buf_fmt(out, "e%zu", w->id);
        }
        if (w->hint) {
            buf_fmt(out, "%sh%zu", w->wrong ? " " : "", w->id);
        }
        buf_byte(out, '"');
    }
}

static void put_max_length(struct buf *out, const struct rule *rule)
{
    if (rule != NULL && rule->max_length > 0) {
        buf_fmt(out, " maxlength=\"%u\"", rule->max_length);
    }
}

static void put_area(struct buf *out, const struct widget *w)
{
    put_start(out, w, "textarea");
    put_max_length(out, w->rule);
    buf_fmt(out, " rows=\"%u\" dir=\"auto\">\n",
            rows_of(w->value)); /* HTML drops one line end after the tag */
    html_text(out, w->value);
    buf_str(out, "</textarea>\n");
}

static void put_file(struct buf *out, const struct widget *w)
{
    put_start(out, w, "input");
    buf_str(out, " type=\"file\"");
    if (w->rule != NULL && w->rule->accept_count > 0) {
        buf_str(out, " accept=\"");
        for (size_t i = 0; i < w->rule->accept_count; i++) {
            buf_str(out, i > 0 ? "," : "");
            html_str(out, w->rule->accept[i]);
        }
        buf_byte(out, '"');
    }
    buf_str(out, w->rule != NULL && w->rule->max_files > 1 && !w->hint ? " multiple>\n" : ">\n");
}

static bool is_chosen(const struct widget *w, const char *choice)
{
    struct span value = text_trim(w->value, TEXT_SPACES);
    return strlen(choice) == value.len && memcmp(choice, value.at, value.len) == 0;
}

/* The only choice is one to be ticked, such as consent: nothing that can be typed is it. */
static void put_box(struct buf *out, const struct widget *w)
{
    const char *choice = w->rule->choices[0];
    put_start(out, w, "input");
    buf_str(out, " type=\"checkbox\"");
    html_attribute(out, "value", text_span(choice));
    buf_str(out, is_chosen(w, choice) ? " checked>\n" : ">\n");
}

/* A value that is none of the choices cannot be chosen again. */
static void put_select(struct buf *out, const struct widget *w)
{
    put_start(out, w, "select");
    buf_str(out, ">\n<option value=\"\">");
    html_str(out, words(w->language, W_DEMO_CHOOSE));
    buf_str(out, "</option>\n");
    for (size_t i = 0; i < w->rule->choice_count; i++) {
        const char *choice = w->rule->choices[i];
        buf_str(out, is_chosen(w, choice) ? "<option selected>" : "<option>");
        html_str(out, choice);
        buf_str(out, "</option>\n");
    }
    buf_str(out, "</select>\n");
}

/* The limits of a number, date or time, as far as they are in the words of HTML. */
static void put_limits(struct buf *out, enum field_type type, const struct rule *rule)
{
    const struct {
        const char *name, *text;
    } limits[] = {{"min", rule->min}, {"max", rule->max}};
    for (size_t i = 0; i < COUNT(limits); i++) {
        struct span text = {limits[i].text, limits[i].text != NULL ? strlen(limits[i].text) : 0};
        if (text.len > 0 && fieldtype_ok(type, text) && fieldtype_html(type, text)) {
            html_attribute(out, limits[i].name, text);
        }
    }
}

static void put_input(struct buf *out, const struct widget *w, enum field_type type)
{
    static const char *const kinds[FIELD_TYPES] = {
        [FIELD_EMAIL] = " type=\"email\" autocomplete=\"email\"",
        [FIELD_NUMBER] = " type=\"number\" step=\"any\"",
        [FIELD_INTEGER] = " type=\"number\" step=\"1\"",
        [FIELD_DATE] = " type=\"date\"",
        [FIELD_TIME] = " type=\"time\"",
        [FIELD_URL] = " type=\"url\" autocomplete=\"url\"",
        [FIELD_TEL] = " type=\"tel\" autocomplete=\"tel\"",
    };
    bool fits = fieldtype_html(type, w->value);
    put_start(out, w, "input");
    buf_str(out, fits && kinds[type] != NULL ? kinds[type] : " type=\"text\" dir=\"auto\"");
    if (fits && fieldtype_ordered(type)) {
        put_limits(out, type, w->rule);
    }
    put_max_length(out, w->rule);
    html_attribute(out, "value", w->value);
    buf_str(out, ">\n");
}

void widget_write(struct buf *out, const struct widget *w)
{
    enum field_type type = type_of(w);
    if (type == FIELD_FILE) {
        put_file(out, w);
    } else if (type == FIELD_CHOICE && w->rule->choice_count == 1) {
        put_box(out, w);
    } else if (type == FIELD_CHOICE) {
        put_select(out, w);
    } else if (wants_lines(type, w->value)) {
        put_area(out, w);
    } else {
        put_input(out, w, type);
    }
}
