/* A value that is right by the rule for its field: what `formbridge test` fills in where something must be. Pure. */

#include "bridge.h"

#include <string.h>
#include <strings.h>

static const char words_of_test[] = "formbridge test";

/* Of the length that the rule wants. */
static void put_text(struct buf *out, const struct rule *rule)
{
    size_t len = sizeof words_of_test - 1;
    size_t wanted = rule->min_length > len ? rule->min_length : len;
    if (rule->max_length > 0 && wanted > rule->max_length) {
        wanted = rule->max_length;
    }
    for (size_t i = 0; i < wanted; i++) {
        buf_byte(out, i < len ? (unsigned char)words_of_test[i] : '.');
    }
}

/* Its first or last that is allowed, or one of no meaning. */
static void put_ordered(struct buf *out, const struct rule *rule, int64_t now)
{
    char limit[FIELD_LIMIT_SIZE];
    const char *any = rule->type == FIELD_DATE ? "today" : rule->type == FIELD_TIME ? "12:00" : "1";
    const char *text = rule->min != NULL ? rule->min : rule->max != NULL ? rule->max : any;
    buf_str(out, fieldtype_limit(rule->type, text, now, limit) ? limit : any);
}

void sample_value(struct buf *out, const struct rule *rule, const char *email, int64_t now)
{
    if (rule->example != NULL) {
        buf_str(out, rule->example);
        return;
    }
    switch (rule->type) {
    case FIELD_EMAIL: buf_str(out, email); break;
    case FIELD_NUMBER:
    case FIELD_INTEGER:
    case FIELD_DATE:
    case FIELD_TIME: put_ordered(out, rule, now); break;
    case FIELD_URL: buf_str(out, "https://www.example.com/"); break;
    case FIELD_TEL: buf_str(out, "+1 555 0100"); break;
    case FIELD_CHOICE: buf_str(out, rule->choices[0]); break;
    default:
        if (rule->type == FIELD_ANY && strcasestr(rule->name, "mail") != NULL) {
            buf_str(out, email);
        } else {
            put_text(out, rule);
        }
    }
}

void sample_file(struct buf *name, struct buf *type, const struct rule *rule)
{
    const char *extension = ".txt", *kind = "application/octet-stream";
    for (size_t i = rule->accept_count; i > 0; i--) { /* so that the first of each stays */
        if (rule->accept[i - 1][0] == '.') {
            extension = rule->accept[i - 1];
        } else {
            kind = rule->accept[i - 1];
        }
    }
    buf_fmt(name, "formbridge-test%s", extension);
    size_t len = strlen(kind);
    bool group = len > 2 && strcmp(kind + len - 2, "/*") == 0;
    buf_fmt(type, "%.*s%s", (int)(group ? len - 1 : len), kind, group ? "x-test" : "");
}
