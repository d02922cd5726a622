/* application/json: one flat object, strictly by RFC 8259, as a stream.
 *
 * A string is put together in the field it belongs to and checked for UTF-8 at its end: an escape never
 * completes a character that raw bytes began, so the check of the whole finds every fault of the parts. */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

enum json_state {             /* what the grammar awaits */
                  OBJECT,     /* "{" */
                  FIRST_KEY,  /* a key or "}" */
                  KEY,        /* a key */
                  COLON,      /* ":" */
                  VALUE,      /* a value or "[" */
                  NEXT,       /* "," or "}" */
                  FIRST_ITEM, /* a value or "]" */
                  ITEM,       /* a value */
                  NEXT_ITEM,  /* "," or "]" */
                  DONE,       /* nothing more */
};

enum lexeme { NONE, STRING, ESCAPE, HEX, NUMBER, LITERAL }; /* what the next byte is part of */

enum number {
    MINUS,
    ZERO,
    INTEGER,
    POINT,
    FRACTION,
    EXPONENT_MARK,
    EXPONENT_SIGN,
    EXPONENT,
    NUMBER_WRONG
}; /* what its last byte was */

struct json {
    enum json_state state;
    enum lexeme lexeme;
    bool in_array;
    bool in_key;
    struct buf key;
    unsigned key_repaired;
    struct field *field; /* whose value is being read */
    enum number number;
    const char *literal; /* what of true, false, null is still to come */
    unsigned hex;        /* digits of \uXXXX still to come */
    uint32_t unit;       /* what they make */
    uint32_t high;       /* a high surrogate that waits for its low one, or 0 */
};

struct json *json_new(void)
{
    struct json *j = calloc(1, sizeof(*j));
    if (j != NULL) {
        buf_init(&j->key, FIELD_NAME_MAX);
    }
    return j;
}

void json_free(struct json *j)
{
    if (j != NULL) {
        buf_free(&j->key);
        free(j);
    }
}

size_t json_memory(const struct json *j)
{
    return sizeof(*j) + j->key.cap;
}

static bool malformed(struct form *f, const char *why)
{
    return form_fail(f, FORM_MALFORMED, why);
}

static void value_end(struct json *j)
{
    j->lexeme = NONE;
    j->state = j->in_array ? NEXT_ITEM : NEXT;
}

/* ---- strings --------------------------------------------------------------------------------- */

static struct buf *target(struct json *j)
{
    return j->in_key ? &j->key : &j->field->value;
}

static bool put_char(struct json *j, struct form *f, uint32_t c)
{
    unsigned char utf8[4];
    return form_put(f, target(j), utf8, utf8_bytes(c, utf8));
}

static bool put_lone_surrogate(struct json *j, struct form *f)
{
    *(j->in_key ? &j->key_repaired : &j->field->repaired) |= REPAIRED_CHARSET;
    return put_char(j, f, UTF8_REPLACEMENT);
}

/* Something else than a low surrogate comes: what waited for one stays alone. */
static bool flush_high(struct json *j, struct form *f)
{
    if (j->high == 0) {
        return true;
    }
    j->high = 0;
    return put_lone_surrogate(j, f);
}

static void string_begin(struct json *j, bool key)
{
    j->lexeme = STRING;
    j->in_key = key;
    if (key) {
        buf_clear(&j->key);
        j->key_repaired = 0;
    }
}

static bool string_end(struct json *j, struct form *f)
{
    const struct buf *text = target(j);
    if (!flush_high(j, f)) {
        return false;
    }
    if (!charset_is_utf8(text->data, text->len)) {
        return malformed(f, "The JSON has a string that is not UTF-8.");
    }
    if (j->in_key) {
        j->lexeme = NONE;
        j->state = COLON;
    } else {
        value_end(j);
    }
    return true;
}

/* Takes a run of plain bytes and the byte that ends it. Returns where it stopped, or NULL. */
static const char *string_feed(struct json *j, struct form *f, const char *p, const char *end)
{
    const char *run = p;
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20) {
        p++;
    }
    if (p > run && (!flush_high(j, f) || !form_put(f, target(j), run, (size_t)(p - run)))) {
        return NULL;
    }
    if (p == end) {
        return p;
    }
    if (*p == '\\') {
        j->lexeme = ESCAPE;
        return p + 1;
    }
    if (*p != '"') {
        malformed(f, "The JSON has a control character in a string: write it as \\n, \\t or \\u00XX.");
        return NULL;
    }
    return string_end(j, f) ? p + 1 : NULL;
}

static bool escape(struct json *j, struct form *f, char c)
{
    char meant;
    switch (c) {
    case 'u':
        j->lexeme = HEX;
        j->hex = 4;
        j->unit = 0;
        return true;
    case 'b': meant = '\b'; break;
    case 'f': meant = '\f'; break;
    case 'n': meant = '\n'; break;
    case 'r': meant = '\r'; break;
    case 't': meant = '\t'; break;
    case '"':
    case '\\':
    case '/': meant = c; break;
    default: return malformed(f, "The JSON has a \\ in a string before a character that cannot stand there.");
    }
    j->lexeme = STRING;
    return flush_high(j, f) && form_put(f, target(j), &meant, 1);
}

static bool unit_end(struct json *j, struct form *f)
{
    uint32_t unit = j->unit, high = j->high;
    j->lexeme = STRING;
    if (unit >= 0xDC00 && unit <= 0xDFFF) {
        j->high = 0;
        return high != 0 ? put_char(j, f, 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00))
                         : put_lone_surrogate(j, f);
    }
    if (!flush_high(j, f)) {
        return false;
    }
    if (unit >= 0xD800 && unit <= 0xDBFF) {
        j->high = unit;
        return true;
    }
    return put_char(j, f, unit);
}

static bool hex(struct json *j, struct form *f, char c)
{
    int digit = text_hex(c);
    if (digit < 0) {
        return malformed(f, "The JSON has a \\u that is not followed by four hexadecimal digits.");
    }
    j->unit = j->unit << 4 | (uint32_t)digit;
    return --j->hex > 0 || unit_end(j, f);
}

/* ---- numbers, true, false, null -------------------------------------------------------------- */

static enum number number_next(enum number n, char c)
{
    switch (n) {
    case MINUS: return c == '0' ? ZERO : text_digit(c) ? INTEGER : NUMBER_WRONG;
    case INTEGER:
        if (text_digit(c)) {
            return INTEGER;
        }
        /* fall through */
    case ZERO: return c == '.' ? POINT : c == 'e' || c == 'E' ? EXPONENT_MARK : NUMBER_WRONG;
    case POINT: return text_digit(c) ? FRACTION : NUMBER_WRONG;
    case FRACTION: return text_digit(c) ? FRACTION : c == 'e' || c == 'E' ? EXPONENT_MARK : NUMBER_WRONG;
    case EXPONENT_MARK: return text_digit(c) ? EXPONENT : c == '+' || c == '-' ? EXPONENT_SIGN : NUMBER_WRONG;
    case EXPONENT_SIGN:
    case EXPONENT: return text_digit(c) ? EXPONENT : NUMBER_WRONG;
    default: return NUMBER_WRONG;
    }
}

/* Takes bytes of a number; the one behind it stays. Returns where it stopped, or NULL. */
static const char *number_feed(struct json *j, struct form *f, const char *p, const char *end)
{
    const char *run = p;
    enum number next;
    while (p < end && (next = number_next(j->number, *p)) != NUMBER_WRONG) {
        j->number = next;
        p++;
    }
    if (!form_put(f, &j->field->value, run, (size_t)(p - run))) {
        return NULL;
    }
    if (p < end) {
        if (j->number != ZERO && j->number != INTEGER && j->number != FRACTION && j->number != EXPONENT) {
            malformed(f, "The JSON has a number that is not written as JSON wants it.");
            return NULL;
        }
        value_end(j);
    }
    return p;
}

static bool literal(struct json *j, struct form *f, char c)
{
    if (c != *j->literal) {
        return malformed(f, "The JSON has a word that is neither true nor false nor null.");
    }
    j->literal++;
    if (*j->literal == '\0') {
        value_end(j);
    }
    return true;
}

/* ---- the object ------------------------------------------------------------------------------ */

static bool literal_begin(struct json *j, struct form *f, const char *word, const char *shown)
{
    j->lexeme = LITERAL;
    j->literal = word + 1;
    return form_put(f, &j->field->value, shown, strlen(shown));
}

static bool value_begin(struct json *j, struct form *f, char c)
{
    if (c == '{' || c == '[') {
        return malformed(f, "The JSON is nested: a form is one object of texts, numbers and lists of these.");
    }
    j->field = form_add(f);
    if (j->field == NULL || !form_put(f, &j->field->name, j->key.data, j->key.len)) {
        return false;
    }
    j->field->repaired = j->key_repaired;
    switch (c) {
    case '"': string_begin(j, false); return true;
    case 't': return literal_begin(j, f, "true", "true");
    case 'f': j->field->unticked = true; return literal_begin(j, f, "false", "false");
    case 'n': return literal_begin(j, f, "null", "");
    default: break;
    }
    if (c != '-' && !text_digit(c)) {
        return malformed(f, "The JSON has something else where a value belongs.");
    }
    j->lexeme = NUMBER;
    j->number = c == '-' ? MINUS : c == '0' ? ZERO : INTEGER;
    return form_put(f, &j->field->value, &c, 1);
}

/* "," or the bracket that closes */
static bool separator(struct json *j, struct form *f, char c, char close, enum json_state more,
                      enum json_state closed)
{
    if (c != ',' && c != close) {
        return malformed(f, "The JSON has no comma or closing bracket behind a value.");
    }
    j->state = c == ',' ? more : closed;
    return true;
}

static bool key_begin(struct json *j, struct form *f, char c)
{
    if (c != '"') {
        return malformed(f, "The JSON has something else where a name in quotes belongs.");
    }
    string_begin(j, true);
    return true;
}

/* One byte that is no part of a string, number or word. */
static bool structure(struct json *j, struct form *f, char c)
{
    if (text_one_of(c, TEXT_SPACES)) {
        return true;
    }
    switch (j->state) {
    case OBJECT:
        j->state = FIRST_KEY;
        return c == '{' || malformed(f, "The JSON must be an object, from { to }.");
    case FIRST_KEY:
        if (c == '}') {
            j->state = DONE;
            return true;
        }
        return key_begin(j, f, c);
    case KEY: return key_begin(j, f, c);
    case COLON: j->state = VALUE; return c == ':' || malformed(f, "The JSON has no colon behind a name.");
    case VALUE:
        j->in_array = c == '[';
        if (j->in_array) {
            j->state = FIRST_ITEM;
            return true;
        }
        return value_begin(j, f, c);
    case FIRST_ITEM:
        if (c == ']') { /* no item, no field */
            j->state = NEXT;
            return true;
        }
        return value_begin(j, f, c);
    case ITEM: return value_begin(j, f, c);
    case NEXT: return separator(j, f, c, '}', KEY, DONE);
    case NEXT_ITEM: return separator(j, f, c, ']', ITEM, NEXT);
    default: return malformed(f, "The JSON goes on behind its closing bracket.");
    }
}

static bool one_byte(struct json *j, struct form *f, char c)
{
    switch (j->lexeme) {
    case ESCAPE: return escape(j, f, c);
    case HEX: return hex(j, f, c);
    case LITERAL: return literal(j, f, c);
    default: return structure(j, f, c);
    }
}

bool json_feed(struct json *j, struct form *f, const char *bytes, size_t len)
{
    const char *p = bytes, *end = bytes + len;
    while (p != NULL && p < end) {
        switch (j->lexeme) {
        case STRING: p = string_feed(j, f, p, end); break;
        case NUMBER: p = number_feed(j, f, p, end); break;
        default: p = one_byte(j, f, *p) ? p + 1 : NULL; break;
        }
    }
    return p != NULL;
}

bool json_end(const struct json *j, struct form *f)
{
    return j->state == DONE || malformed(f, "The JSON ends before its closing bracket.");
}
