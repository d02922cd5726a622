/* A complete form held against the rules of the config: everything that is wrong with it at once, and then what the
 * mail is to show of it and in which order. Pure. */

#include "bridge.h"

#include <string.h>
#include <strings.h>

struct checking {
    const struct form_conf *conf;
    struct form *typed;
    enum language language;
    int64_t now;
    struct rules_report *report;
};

const struct rule *rules_find(const struct form_conf *f, struct span name)
{
    const struct rule *rule = f->rules;
    while (rule != NULL && (strlen(rule->name) != name.len || memcmp(rule->name, name.at, name.len) != 0)) {
        rule = rule->next;
    }
    return rule;
}

/* ---- what is said ---------------------------------------------------------------------------- */

/* Codes are those of Formspree's clients where these have one. */
static const struct fault {
    const char *code;
    enum word word;
} missing = {"REQUIRED_FIELD_MISSING", W_FILL_IN}, missing_file = {"REQUIRED_FIELD_MISSING", W_CHOOSE_FILE},
  missing_choice = {"REQUIRED_FIELD_MISSING", W_CHOOSE_ONE}, not_text = {"TYPE_TEXT", W_NOT_TEXT},
  not_file = {"TYPE_FILE", W_CHOOSE_FILE}, too_short = {"TYPE_TEXT_TOO_SHORT", W_TOO_SHORT},
  too_long = {"TYPE_TEXT_TOO_LONG", W_TOO_LONG}, no_pattern = {"TYPE_PATTERN", W_NOT_PATTERN},
  too_many_files = {"TOO_MANY_FILES", W_TOO_MANY_FILES}, wrong_kind = {"TYPE_FILE", W_WRONG_KIND};

static const struct fault wrong_type[FIELD_TYPES] = {
    [FIELD_EMAIL] = {"TYPE_EMAIL", W_NOT_EMAIL},
    [FIELD_NUMBER] = {"TYPE_NUMERIC", W_NOT_NUMBER},
    [FIELD_INTEGER] = {"TYPE_NUMERIC", W_NOT_INTEGER},
    [FIELD_DATE] = {"TYPE_DATE", W_NOT_DATE},
    [FIELD_TIME] = {"TYPE_TIME", W_NOT_TIME},
    [FIELD_URL] = {"TYPE_URL", W_NOT_URL},
    [FIELD_TEL] = {"TYPE_TEL", W_NOT_TEL},
    [FIELD_CHOICE] = {"TYPE_CHOICE", W_NOT_CHOICE},
};
static const struct fault below = {"RANGE_TOO_LOW", W_TOO_LOW}, above = {"RANGE_TOO_HIGH", W_TOO_HIGH},
                          before = {"RANGE_TOO_LOW", W_TOO_EARLY}, after = {"RANGE_TOO_HIGH", W_TOO_LATE};

/* The sentence with what goes into its gap, kept in the report; without the gap filled if there is no room left. */
static const char *sentence(struct rules_report *out, const char *text, const char *arg)
{
    const char *gap = strstr(text, "{}");
    if (gap == NULL || arg == NULL) {
        return text;
    }
    size_t size = strlen(text) + strlen(arg);
    if (size > sizeof out->texts - out->used) {
        return text;
    }
    char *at = out->texts + out->used;
    text_fmt(at, size, "%.*s%s%s", (int)(gap - text), text, arg, gap + 2);
    out->used += size;
    return at;
}

void rules_add(struct rules_report *out, const char *field, const char *code, const char *text,
               const char *arg)
{
    if (out->count < RULES_ERRORS_MAX) {
        const char *message = sentence(out, text, arg);
        out->errors[out->count++] = (struct rules_error){.field = field, .code = code, .message = message};
    }
}

static void say(const struct checking *j, const struct rule *rule, const struct fault *fault, const char *arg)
{
    rules_add(j->report, rule->name, fault->code, words(j->language, fault->word), arg);
}

static void say_number(const struct checking *j, const struct rule *rule, const struct fault *fault,
                       unsigned n)
{
    char digits[16];
    text_fmt(digits, sizeof digits, "%u", n);
    say(j, rule, fault, digits);
}

/* ---- one value ------------------------------------------------------------------------------- */

/* As browsers count them: a line end is one character, though it is sent as two (HTML, "API value"). */
static size_t characters(struct span text)
{
    size_t n = 0;
    for (size_t at = 0; at < text.len; n++) {
        uint32_t c;
        at += utf8_next(text.at + at, text.len - at, &c);
        at += c == '\r' && at < text.len && text.at[at] == '\n' ? 1 : 0;
    }
    return n;
}

static bool is_choice(const struct rule *rule, struct span value)
{
    for (size_t i = 0; i < rule->choice_count; i++) {
        if (strlen(rule->choices[i]) == value.len && memcmp(rule->choices[i], value.at, value.len) == 0) {
            return true;
        }
    }
    return false;
}

/* Each of these says what is wrong and returns false, or returns true. */

static bool check_range(const struct checking *j, const struct rule *rule, struct span value)
{
    char limit[FIELD_LIMIT_SIZE];
    bool number = rule->type == FIELD_NUMBER || rule->type == FIELD_INTEGER;
    if (rule->min != NULL && fieldtype_limit(rule->type, rule->min, j->now, limit) &&
        fieldtype_compare(rule->type, value, text_span(limit)) < 0) {
        say(j, rule, number ? &below : &before, limit);
        return false;
    }
    if (rule->max != NULL && fieldtype_limit(rule->type, rule->max, j->now, limit) &&
        fieldtype_compare(rule->type, value, text_span(limit)) > 0) {
        say(j, rule, number ? &above : &after, limit);
        return false;
    }
    return true;
}

static bool check_length(const struct checking *j, const struct rule *rule, size_t length)
{
    unsigned most = rule->max_length == 0 && rule->pattern != NULL ? PATTERN_VALUE_MAX : rule->max_length;
    if (rule->min_length > length) {
        say_number(j, rule, &too_short, rule->min_length);
    } else if (most > 0 && length > most) {
        say_number(j, rule, &too_long, most);
    } else {
        return true;
    }
    return false;
}

static bool check_text(const struct checking *j, const struct rule *rule, struct span value)
{
    if (rule->type == FIELD_FILE) { /* a form without enctype sends the name of the file in its place */
        say(j, rule, &not_file, NULL);
        return false;
    }
    if (!fieldtype_ok(rule->type, value) || (rule->type == FIELD_CHOICE && !is_choice(rule, value))) {
        say(j, rule, &wrong_type[rule->type], NULL);
        return false;
    }
    return check_range(j, rule, value) && check_length(j, rule, characters(value));
}

/* ---- one file -------------------------------------------------------------------------------- */

static bool ends_in(struct span text, const char *end)
{
    size_t len = strlen(end);
    return text.len >= len && strncasecmp(text.at + text.len - len, end, len) == 0;
}

/* As the accept of HTML: the extension, or the type that the browser claims. It helps an honest visitor, and says
 * nothing about what is in the file. */
static bool accepted(const struct rule *rule, const struct field *f)
{
    struct span type = buf_span(&f->type);
    for (size_t i = 0; i < rule->accept_count; i++) {
        const char *kind = rule->accept[i];
        size_t len = strlen(kind);
        bool group = len > 2 && strcmp(kind + len - 2, "/*") == 0;
        if ((kind[0] == '.' && ends_in(buf_span(&f->filename), kind)) ||
            (group && type.len >= len - 1 && strncasecmp(type.at, kind, len - 1) == 0) ||
            (kind[0] != '.' && type.len == len && ends_in(type, kind))) {
            return true;
        }
    }
    return rule->accept_count == 0;
}

static bool check_file(const struct checking *j, const struct rule *rule, const struct field *f)
{
    if (rule->type != FIELD_FILE && rule->type != FIELD_ANY) {
        say(j, rule, &not_text, NULL);
        return false;
    }
    if (!accepted(rule, f)) {
        char memory[256]; /* longer than a line of the config */
        struct buf kinds;
        buf_borrow(&kinds, memory, sizeof memory);
        for (size_t i = 0; i < rule->accept_count; i++) {
            buf_fmt(&kinds, "%s%s", i > 0 ? ", " : "", rule->accept[i]);
        }
        say(j, rule, &wrong_kind, buf_text(&kinds));
        return false;
    }
    return true;
}

/* ---- one rule, over all fields of its name --------------------------------------------------- */

static bool is_named(const struct field *f, const char *name, size_t len)
{
    return f->name.len == len && memcmp(f->name.data, name, len) == 0;
}

static bool is_filled(const struct field *f)
{
    return !f->unticked && (f->file ? f->value.len > 0 : text_trim(buf_span(&f->value), TEXT_SPACES).len > 0);
}

bool rules_filled(struct form *f, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < form_count(f); i++) {
        const struct field *field = form_field(f, i);
        if (len == field->name.len && buf_equal(&field->name, name) && is_filled(field)) {
            return true;
        }
    }
    return false;
}

bool rules_blank(struct form *f, const struct field *spent)
{
    for (size_t i = 0; i < form_count(f); i++) {
        const struct field *field = form_field(f, i);
        if (!field->hidden && field != spent && is_filled(field)) {
            return false;
        }
    }
    return true;
}

/* All values of the name together are PATTERN_VALUE_MAX characters at most, so that many cost no more than one. */
static void check_pattern(const struct checking *j, const struct rule *rule)
{
    char why[REASON_SIZE];
    struct pattern *p = pattern_new(rule->pattern, why, sizeof why); /* NULL: no memory; then nothing fits */
    size_t len = strlen(rule->name), total = 0;
    bool fits = true;
    for (size_t i = 0; i < form_count(j->typed) && fits; i++) {
        const struct field *f = form_field(j->typed, i);
        struct span value = text_trim(buf_span(&f->value), TEXT_SPACES);
        if (is_named(f, rule->name, len) && !f->file && value.len > 0) {
            total += characters(value);
            fits = p != NULL && total <= PATTERN_VALUE_MAX && pattern_fits(p, value);
        }
    }
    pattern_free(p);
    if (total > PATTERN_VALUE_MAX) {
        say_number(j, rule, &too_long, PATTERN_VALUE_MAX);
    } else if (!fits && rule->pattern_hint != NULL) {
        rules_add(j->report, rule->name, no_pattern.code, rule->pattern_hint, NULL);
    } else if (!fits) {
        say(j, rule, &no_pattern, NULL);
    }
}

bool rules_value(const struct rule *rule, struct span value, int64_t now, struct rules_report *out)
{
    const struct checking j = {.language = LANGUAGE_EN, .now = now, .report = out};
    char why[REASON_SIZE];
    out->count = 0;
    out->used = 0;
    bool ok = check_text(&j, rule, value);
    if (ok && rule->pattern != NULL) {
        struct pattern *p = pattern_new(rule->pattern, why, sizeof why);
        ok = p != NULL && pattern_fits(p, value);
        if (!ok) {
            say(&j, rule, &no_pattern, NULL);
        }
        pattern_free(p);
    }
    return ok;
}

static const struct fault *what_is_missing(const struct rule *rule)
{
    switch (rule->type) {
    case FIELD_FILE: return &missing_file;
    case FIELD_CHOICE: return &missing_choice;
    default: return &missing;
    }
}

/* Says the first thing that is wrong with the field. */
static void check_rule(const struct checking *j, const struct rule *rule)
{
    size_t len = strlen(rule->name), files = 0;
    bool filled = false, text = false;
    for (size_t i = 0; i < form_count(j->typed); i++) {
        const struct field *f = form_field(j->typed, i);
        if (!is_named(f, rule->name, len)) {
            continue;
        }
        if (!is_filled(f)) {
            continue;
        }
        filled = true;
        files += f->file ? 1 : 0;
        text = text || !f->file;
        if (f->file ? !check_file(j, rule, f)
                    : !check_text(j, rule, text_trim(buf_span(&f->value), TEXT_SPACES))) {
            return;
        }
    }
    if (rule->required && !filled) {
        say(j, rule, what_is_missing(rule), NULL);
    } else if (rule->max_files > 0 && files > rule->max_files) {
        say_number(j, rule, &too_many_files, rule->max_files);
    } else if (text && rule->pattern != NULL) {
        check_pattern(j, rule);
    }
}

void rules_check(const struct form_conf *f, struct form *typed, enum language language, int64_t now,
                 struct rules_report *out)
{
    const struct checking j = {.conf = f, .typed = typed, .language = language, .now = now, .report = out};
    out->count = 0;
    out->used = 0;
    for (const struct rule *rule = f->rules; rule != NULL; rule = rule->next) {
        check_rule(&j, rule);
    }
}

/* ---- what the mail shows --------------------------------------------------------------------- */

static bool is_one_of(const struct field *f, char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (buf_equal(&f->name, names[i])) {
            return true;
        }
    }
    return false;
}

bool rules_dress(const struct form_conf *f, struct form *typed)
{
    for (size_t i = 0; i < form_count(typed); i++) {
        struct field *field = form_field(typed, i);
        const struct rule *rule = rules_find(f, buf_span(&field->name));
        bool blank = !field->file && text_trim(buf_span(&field->value), TEXT_SPACES).len == 0;
        field->label = rule != NULL ? rule->label : NULL;
        field->hidden = field->hidden || is_one_of(field, f->leave_out, f->leave_out_count) ||
                        (blank && !f->blank_fields);
    }
    return f->order_count == 0 || form_order(typed, f->order, f->order_count);
}
