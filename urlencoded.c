/* application/x-www-form-urlencoded (URL Standard §5.1), as a stream.
 *
 * The standard lets a "%" that begins no escape stand for itself. Here it is an error: no browser sends one,
 * and what does has lost something on the way. Other bytes that should have been escaped stand for
 * themselves. */

#include "bridge.h"

#include <stdlib.h>

struct urlencoded {
    struct field *field; /* being read; NULL: nothing since the last "&" */
    bool in_value;       /* its "=" has been seen */
    unsigned hex;        /* digits of a %XX still to come */
    unsigned char byte;  /* what they make */
};

struct urlencoded *urlencoded_new(void)
{
    return calloc(1, sizeof(struct urlencoded));
}

void urlencoded_free(struct urlencoded *u)
{
    free(u);
}

size_t urlencoded_memory(void)
{
    return sizeof(struct urlencoded);
}

static bool put(struct urlencoded *u, struct form *f, const void *bytes, size_t len)
{
    return form_put(f, u->in_value ? &u->field->value : &u->field->name, bytes, len);
}

static bool escape(struct urlencoded *u, struct form *f, char c)
{
    int digit = text_hex(c);
    if (digit < 0) {
        return form_fail(f, FORM_MALFORMED,
                         "The form has a % that is not followed by two hexadecimal digits.");
    }
    u->byte = (unsigned char)(u->byte << 4 | digit);
    u->hex--;
    return u->hex > 0 || put(u, f, &u->byte, 1);
}

static bool mark(struct urlencoded *u, struct form *f, char c)
{
    switch (c) {
    case '&':
        u->field = NULL;
        u->in_value = false;
        return true;
    case '%': u->hex = 2; return true;
    case '+': return put(u, f, " ", 1);
    default: u->in_value = true; return true; /* "=" */
    }
}

/* The first "=" ends the name; the others are part of the value. */
static bool is_mark(const struct urlencoded *u, char c)
{
    return c == '&' || c == '+' || c == '%' || (c == '=' && !u->in_value);
}

bool urlencoded_feed(struct urlencoded *u, struct form *f, const char *bytes, size_t len)
{
    const char *p = bytes, *end = bytes + len;
    while (p < end) {
        if (u->hex > 0) {
            if (!escape(u, f, *p++)) {
                return false;
            }
            continue;
        }
        if (u->field == NULL && *p != '&' && (u->field = form_add(f)) == NULL) {
            return false;
        }
        const char *run = p;
        while (p < end && !is_mark(u, *p)) {
            p++;
        }
        if (p > run && !put(u, f, run, (size_t)(p - run))) {
            return false;
        }
        if (p < end && !mark(u, f, *p++)) {
            return false;
        }
    }
    return true;
}

bool urlencoded_end(const struct urlencoded *u, struct form *f)
{
    return u->hex == 0 || form_fail(f, FORM_MALFORMED, "The form ends inside a %XX escape.");
}
