/* The rules for the fields of forms: what a [field FORM NAME] says, held against itself and its form. Pure, but for the
 * clock and the locale that pattern.c reads. */

#include "bridge.h"

#include <string.h>
#include <time.h>

static unsigned line_of(const struct confread_section *s, const char *key)
{
    const struct confread_key *k = confread_find(s, key);
    return k != NULL ? k->line : s->line;
}

/* ---- one rule -------------------------------------------------------------------------------- */

/* For which types a key means something. */
static void check_keys(struct confread *r, const struct confread_section *s, const struct rule *rule)
{
    enum field_type t = rule->type;
    bool line = t == FIELD_ANY || t == FIELD_TEXT || t == FIELD_EMAIL || t == FIELD_URL || t == FIELD_TEL;
    const struct {
        const char *key;
        bool fits;
        const char *types;
    } keys[] = {
        {"choices", t == FIELD_CHOICE, "type = choice"},
        {"min_length", line, "type = text, email, url or tel"},
        {"max_length", line, "type = text, email, url or tel"},
        {"pattern", line, "type = text, email, url or tel"},
        {"min", fieldtype_ordered(t), "type = number, integer, date or time"},
        {"max", fieldtype_ordered(t), "type = number, integer, date or time"},
        {"accept", t == FIELD_FILE, "type = file"},
        {"max_files", t == FIELD_FILE, "type = file"},
    };
    for (size_t i = 0; i < COUNT(keys); i++) {
        if (confread_find(s, keys[i].key) != NULL && !keys[i].fits) {
            confread_mistake(r, line_of(s, keys[i].key), "%s means nothing with type = %s: it needs %s",
                             keys[i].key, fieldtype_name(t), keys[i].types);
        }
    }
    if (t == FIELD_CHOICE && confread_find(s, "choices") == NULL) {
        confread_mistake(r, line_of(s, "type"), "type = choice needs choices = ONE | ANOTHER");
    }
    if (rule->choice_count == 1 && strpbrk(rule->choices[0], ",;") != NULL) {
        confread_mistake(r, line_of(s, "choices"),
                         "choices: \"%s\" is one choice: write | between them, as in ONE | ANOTHER",
                         rule->choices[0]);
    }
    if (rule->pattern_hint != NULL && rule->pattern == NULL) {
        confread_mistake(r, line_of(s, "pattern_hint"),
                         "pattern_hint is said when a pattern does not fit: add pattern or remove this");
    }
}

static bool check_limit(struct confread *r, const struct confread_section *s, const struct rule *rule,
                        const char *key, const char *text)
{
    static const char *const examples[FIELD_TYPES] = {[FIELD_NUMBER] = "a number, such as 0.5",
                                                      [FIELD_INTEGER] = "a whole number, such as 1",
                                                      [FIELD_DATE] =
                                                          "a date, such as 2026-11-30, today or today+90",
                                                      [FIELD_TIME] = "a time, such as 09:00"};
    char limit[FIELD_LIMIT_SIZE];
    if (text == NULL || !fieldtype_ordered(rule->type)) {
        return false;
    }
    if (!fieldtype_limit(rule->type, text, 0, limit)) {
        confread_mistake(r, line_of(s, key), "%s: \"%s\" is not %s", key, text, examples[rule->type]);
        return false;
    }
    return true;
}

/* What depends on the day is compared as on the same day. */
static void check_limits(struct confread *r, const struct confread_section *s, const struct rule *rule)
{
    bool low = check_limit(r, s, rule, "min", rule->min);
    bool high = check_limit(r, s, rule, "max", rule->max);
    if (low && high && (strncmp(rule->min, "today", 5) == 0) == (strncmp(rule->max, "today", 5) == 0)) {
        static const int64_t some_day = INT64_C(100) * 365 * 86400 * 10;
        char a[FIELD_LIMIT_SIZE], b[FIELD_LIMIT_SIZE];
        fieldtype_limit(rule->type, rule->min, some_day, a);
        fieldtype_limit(rule->type, rule->max, some_day, b);
        if (fieldtype_compare(rule->type, text_span(a), text_span(b)) > 0) {
            confread_mistake(r, line_of(s, "min"), "min is more than max: nothing would be right");
        }
    }
    if (rule->max_length != 0 && rule->min_length > rule->max_length) {
        confread_mistake(r, line_of(s, "min_length"),
                         "min_length is more than max_length: nothing would be right");
    }
}

static void check_pattern(struct confread *r, const struct confread_section *s, const struct rule *rule)
{
    char why[REASON_SIZE];
    if (rule->pattern == NULL) {
        return;
    }
    struct pattern *p = pattern_new(rule->pattern, why, sizeof why);
    if (p == NULL) {
        confread_mistake(
            r, line_of(s, "pattern"), "pattern: \"%s\" %s%s", rule->pattern,
            strncmp(why, "has ", 4) == 0 || strncmp(why, "is ", 3) == 0 ? "" : "cannot be used: ", why);
    }
    pattern_free(p);
    if (rule->max_length > PATTERN_VALUE_MAX) {
        confread_mistake(
            r, line_of(s, "max_length"),
            "max_length of a field with a pattern can be %d at most: lower it or remove the pattern",
            PATTERN_VALUE_MAX);
    }
}

static bool is_of_today(const char *limit)
{
    return limit != NULL && strncmp(limit, "today", 5) == 0;
}

/* What formbridge test would send, and be told to put right. A pattern that cannot be used is said elsewhere; and what
 * is right on one day and wrong on another keeps no server from starting: check warns of it. */
static void check_example(struct confread *r, const struct confread_section *s, const struct rule *rule)
{
    struct rules_report wrong;
    char why[REASON_SIZE];
    struct pattern *p = rule->pattern != NULL ? pattern_new(rule->pattern, why, sizeof why) : NULL;
    bool usable = rule->pattern == NULL || p != NULL;
    pattern_free(p);
    if (rule->example == NULL || !usable || is_of_today(rule->min) || is_of_today(rule->max)) {
        return;
    }
    if (rule->type == FIELD_FILE) {
        confread_mistake(r, line_of(s, "example"), "example means nothing with type = file: remove it");
    } else if (!rules_value(rule, text_span(rule->example), time(NULL), &wrong)) {
        confread_mistake(r, line_of(s, "example"),
                         "example: \"%s\" is not right for this field: a visitor would read \"%s\"",
                         rule->example, wrong.errors[0].message);
    }
}

static void check_accept(struct confread *r, const struct confread_section *s, const struct rule *rule)
{
    for (size_t i = 0; i < rule->accept_count; i++) {
        const char *text = rule->accept[i];
        const char *slash = strchr(text, '/');
        bool extension = text[0] == '.' && text[1] != '\0' && slash == NULL;
        bool type = slash != NULL && slash != text && slash[1] != '\0' &&
                    text_token(text, strlen(text)) == (size_t)(slash - text) &&
                    text_token(slash + 1, strlen(slash + 1)) == strlen(slash + 1);
        if (!extension && !type) {
            confread_mistake(
                r, line_of(s, "accept"),
                "accept: \"%s\" is neither an extension nor a type, such as .pdf, image/png or image/*",
                text);
        }
    }
}

/* The form must not hide what the section is about. */
static void check_form(struct confread *r, const struct confread_section *s, const struct rule *rule,
                       const struct form_conf *f)
{
    if (rule->type != FIELD_FILE && control_leaves_out(rule->name, f->dialect)) {
        confread_mistake(
            r, s->line,
            "[field %s]: dialect of the form has %s for a control field, which stays out of the mail: "
            "give the field another name, or the form another dialect",
            s->name, rule->name);
    }
    for (size_t i = 0; i < f->honeypot_count && rule->required; i++) {
        if (strcmp(f->honeypots[i], rule->name) == 0) {
            confread_mistake(
                r, line_of(s, "required"),
                "required: %s is a honeypot of the form, and people leave those empty: remove this, "
                "or take it out of honeypot",
                rule->name);
        }
    }
}

/* ---- which field of which form --------------------------------------------------------------- */

static struct form_conf *find_form(const struct conf *c, const char *name, size_t len)
{
    struct form_conf *f = c->forms;
    while (f != NULL && (strlen(f->name) != len || memcmp(f->name, name, len) != 0)) {
        f = f->next;
    }
    return f;
}

static void unknown_form(struct confread *r, const struct conf *c, const struct confread_section *s,
                         size_t len)
{
    struct buf known;
    buf_init(&known, SIZE_MAX);
    for (const struct form_conf *f = c->forms; f != NULL; f = f->next) {
        buf_fmt(&known, "%s %s", known.len > 0 ? "," : ": there is", f->name);
    }
    const char *names = known.len > 0 ? buf_text(&known) : NULL;
    confread_mistake(r, s->line, "[field %s]: there is no [form %.*s]%s", s->name, (int)len, s->name,
                     names != NULL ? names : "");
    buf_free(&known);
}

static struct rule **end_of(struct form_conf *f)
{
    struct rule **last = &f->rules;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    return last;
}

static void make_rule(struct confread *r, struct conf *c, const struct confread_section *s)
{
    size_t form = strcspn(s->name, " \t");
    char *name = s->name + form + strspn(s->name + form, " \t");
    struct form_conf *f = find_form(c, s->name, form);
    struct rule *rule = confread_keep(r, sizeof(*rule));
    if (rule == NULL) {
        return;
    }
    rule->name = name;
    rule->line = (int)s->line;
    confkeys_apply(r, c, s, rule);
    if (form == 0 || rule->name[0] == '\0') {
        confread_mistake(
            r, s->line,
            "[field %s]: the form and the name of the field must follow, such as [field order email]",
            s->name);
        return;
    }
    if (rule->name[0] == '"') { /* see no_quotes() of confset.c */
        confread_mistake(r, line_of(s, "name"), "[field %s]: write the name of the field without quotes",
                         s->name);
        return;
    }
    if (confread_find(s, "type") == NULL && rule->choice_count > 0) {
        rule->type = FIELD_CHOICE;
    } else if (confread_find(s, "type") == NULL && (rule->accept_count > 0 || rule->max_files > 0)) {
        rule->type = FIELD_FILE;
    }
    check_keys(r, s, rule);
    check_limits(r, s, rule);
    check_pattern(r, s, rule);
    check_accept(r, s, rule);
    check_example(r, s, rule);
    if (rule->max_files > c->max_files) {
        confread_mistake(r, line_of(s, "max_files"),
                         "max_files is more than the %u that [bridge] takes: raise that or lower this",
                         (unsigned)c->max_files);
    }
    if (f == NULL) {
        unknown_form(r, c, s, form);
        return;
    }
    const struct rule *other = rules_find(f, text_span(rule->name));
    if (other != NULL) {
        confread_mistake(r, s->line,
                         "[field %s]: this field has its section on line %d already: put its keys there",
                         s->name, other->line);
        return;
    }
    check_form(r, s, rule, f);
    *end_of(f) = rule;
}

/* A name in `required` is the short way to write a section. */
static void require(struct confread *r, struct form_conf *f)
{
    for (size_t i = 0; i < f->required_count; i++) {
        struct rule *rule = f->rules;
        while (rule != NULL && strcmp(rule->name, f->required[i]) != 0) {
            rule = rule->next;
        }
        if (rule == NULL && (rule = confread_keep(r, sizeof(*rule))) != NULL) {
            rule->name = f->required[i];
            rule->line = f->line;
            *end_of(f) = rule;
        }
        if (rule != NULL) {
            rule->required = true;
        }
    }
}

void conffield_make(struct confread *r, struct conf *c)
{
    for (const struct confread_section *s = r->sections; s != NULL; s = s->next) {
        if (strcmp(s->kind, "field") == 0) {
            make_rule(r, c, s);
        }
    }
    for (struct form_conf *f = c->forms; f != NULL; f = f->next) {
        require(r, f);
    }
}
