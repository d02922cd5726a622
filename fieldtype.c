/* What may be typed into a field of each type, and which of two comes first. Pure.
 *
 * Numbers are compared as digits, so that there is no largest one and nothing is rounded. */

#include "bridge.h"

#include <string.h>

enum {
    NUMBER_MAX = 40, /* characters */
    TEL_MIN = 3,     /* digits: emergency numbers */
    TEL_MAX = 20,    /* digits: E.164 has 15, and an extension may follow */
    URL_MAX = 2048,
};

static const struct {
    const char *name;
    bool ordered;
} types[FIELD_TYPES] = {
    [FIELD_ANY] = {"any", false},        [FIELD_TEXT] = {"text", false}, [FIELD_EMAIL] = {"email", false},
    [FIELD_NUMBER] = {"number", true},   [FIELD_DATE] = {"date", true},  [FIELD_TIME] = {"time", true},
    [FIELD_INTEGER] = {"integer", true}, [FIELD_URL] = {"url", false},   [FIELD_TEL] = {"tel", false},
    [FIELD_CHOICE] = {"choice", false},  [FIELD_FILE] = {"file", false},
};

enum field_type fieldtype_named(const char *name)
{
    enum field_type t = FIELD_ANY;
    while (t < FIELD_TYPES && strcmp(types[t].name, name) != 0) {
        t++;
    }
    return t;
}

const char *fieldtype_name(enum field_type type)
{
    return types[type].name;
}

bool fieldtype_ordered(enum field_type type)
{
    return types[type].ordered;
}

static size_t digits(struct span text, size_t from)
{
    size_t n = 0;
    while (from + n < text.len && text_digit(text.at[from + n])) {
        n++;
    }
    return n;
}

/* ---- numbers --------------------------------------------------------------------------------- */

struct decimal { /* the digits as they stand, less zeros that say nothing */
    bool negative;
    struct span whole, fraction;
};

/* Browsers send "-12.5"; people also write "12,5" and "+3". */
static bool read_decimal(struct span text, struct decimal *d)
{
    bool sign = text.len > 0 && (text.at[0] == '-' || text.at[0] == '+');
    *d = (struct decimal){.negative = sign && text.at[0] == '-'};
    size_t at = sign ? 1 : 0;
    size_t n = digits(text, at);
    d->whole = (struct span){text.at + at, n};
    at += n;
    if (at < text.len && (text.at[at] == '.' || text.at[at] == ',')) {
        size_t places = digits(text, at + 1);
        d->fraction = (struct span){text.at + at + 1, places};
        at += 1 + places;
        n = places == 0 ? 0 : n + places;
    }
    while (d->whole.len > 0 && d->whole.at[0] == '0') {
        d->whole.at++;
        d->whole.len--;
    }
    while (d->fraction.len > 0 && d->fraction.at[d->fraction.len - 1] == '0') {
        d->fraction.len--;
    }
    d->negative = d->negative && d->whole.len + d->fraction.len > 0;
    return n > 0 && at == text.len && text.len <= NUMBER_MAX;
}

static int compare_digits(struct span a, struct span b)
{
    size_t least = a.len < b.len ? a.len : b.len;
    int order = least > 0 ? memcmp(a.at, b.at, least) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_decimals(const struct decimal *a, const struct decimal *b)
{
    int order = (a->whole.len > b->whole.len) - (a->whole.len < b->whole.len);
    if (a->negative != b->negative) {
        return a->negative ? -1 : 1;
    }
    if (order == 0) {
        order = compare_digits(a->whole, b->whole);
    }
    if (order == 0) {
        order = compare_digits(a->fraction, b->fraction);
    }
    return a->negative ? -order : order;
}

static bool is_integer(struct span text)
{
    struct decimal d;
    return read_decimal(text, &d) && memchr(text.at, '.', text.len) == NULL &&
           memchr(text.at, ',', text.len) == NULL;
}

/* ---- dates and times ------------------------------------------------------------------------- */

static unsigned number_at(struct span text, size_t at, size_t len)
{
    unsigned n = 0;
    for (size_t i = at; i < at + len; i++) {
        n = n * 10 + (unsigned)(text.at[i] - '0');
    }
    return n;
}

/* "2026-11-30" as browsers send it, or "30.11.2026", which cannot be mistaken; the key grows with the date. 0: neither. */
static unsigned date_key(struct span text)
{
    unsigned year, month, day;
    if (text.len == 10 && digits(text, 0) == 4 && text.at[4] == '-' && digits(text, 5) == 2 &&
        text.at[7] == '-' && digits(text, 8) == 2) {
        year = number_at(text, 0, 4);
        month = number_at(text, 5, 2);
        day = number_at(text, 8, 2);
    } else {
        size_t d = digits(text, 0);
        size_t m = d > 0 && d < text.len && text.at[d] == '.' ? digits(text, d + 1) : 0;
        size_t y = m > 0 && d + m + 1 < text.len && text.at[d + m + 1] == '.' ? digits(text, d + m + 2) : 0;
        if (d < 1 || d > 2 || m < 1 || m > 2 || y != 4 || text.len != d + m + 6) {
            return 0;
        }
        day = number_at(text, 0, d);
        month = number_at(text, d + 1, m);
        year = number_at(text, d + m + 2, 4);
    }
    const struct date d = {.year = year, .month = (int)month - 1, .day = (int)day};
    return year > 0 && date_real(&d) ? (year * 100 + month) * 100 + day : 0;
}

/* "14:30" or "14:30:59": seconds since midnight and one; 0: neither. */
static unsigned time_key(struct span text)
{
    bool seconds = text.len == 8 && text.at[5] == ':' && digits(text, 6) == 2;
    if ((text.len != 5 && !seconds) || digits(text, 0) != 2 || text.at[2] != ':' || digits(text, 3) != 2) {
        return 0;
    }
    unsigned h = number_at(text, 0, 2), m = number_at(text, 3, 2), s = seconds ? number_at(text, 6, 2) : 0;
    return h < 24 && m < 60 && s < 60 ? (h * 60 + m) * 60 + s + 1 : 0;
}

/* ---- the rest -------------------------------------------------------------------------------- */

/* mime_address_ok() also takes a host of this network, which is nobody's address on a web site. */
static bool is_email(struct span text)
{
    const char *at = text.len > 0 ? memchr(text.at, '@', text.len) : NULL;
    return at != NULL && mime_address_ok(text.at, text.len) &&
           memchr(at, '.', text.len - (size_t)(at - text.at)) != NULL;
}

static bool is_tel(struct span text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (!text_digit(c) && !text_one_of(c, " +-()./")) {
            return false;
        }
        count += text_digit(c) ? 1 : 0;
    }
    return count >= TEL_MIN && count <= TEL_MAX;
}

/* http or https and a host with a dot in it; what follows is any text without blanks (RFC 3987 allows most of it). */
static bool is_url(struct span text)
{
    size_t scheme = 0;
    if (text.len > 8 && text_same(text.at, 8, "https://")) {
        scheme = 8;
    } else if (text.len > 7 && text_same(text.at, 7, "http://")) {
        scheme = 7;
    }
    bool dot = false;
    size_t host = 0;
    while (scheme + host < text.len && strchr("/?#", text.at[scheme + host]) == NULL) {
        dot = dot || (text.at[scheme + host] == '.' && host > 0);
        host++;
    }
    for (size_t at = 0; at < text.len;) {
        uint32_t c;
        at += utf8_next(text.at + at, text.len - at, &c);
        if (utf8_class(c) != UTF8_TEXT || c == '<' || c == '>' || c == '"') {
            return false;
        }
    }
    return scheme > 0 && host > 0 && dot && text.len <= URL_MAX;
}

bool fieldtype_ok(enum field_type type, struct span text)
{
    struct decimal d;
    text = text_trim(text, TEXT_SPACES);
    switch (type) {
    case FIELD_EMAIL: return is_email(text);
    case FIELD_NUMBER: return read_decimal(text, &d);
    case FIELD_INTEGER: return is_integer(text);
    case FIELD_DATE: return date_key(text) != 0;
    case FIELD_TIME: return time_key(text) != 0;
    case FIELD_URL: return is_url(text);
    case FIELD_TEL: return is_tel(text);
    default: return true;
    }
}

bool fieldtype_html(enum field_type type, struct span text)
{
    switch (type) {
    case FIELD_NUMBER:
    case FIELD_INTEGER:
        return text.len == 0 ||
               (fieldtype_ok(type, text) && text.at[0] != '+' && memchr(text.at, ',', text.len) == NULL &&
                text_trim(text, TEXT_SPACES).len == text.len && text.at[0] != '.');
    case FIELD_DATE: return text.len == 0 || (text.len == 10 && text.at[4] == '-' && date_key(text) != 0);
    case FIELD_TIME: return text.len == 0 || time_key(text) != 0;
    default: return true;
    }
}

int fieldtype_compare(enum field_type type, struct span a, struct span b)
{
    a = text_trim(a, TEXT_SPACES);
    b = text_trim(b, TEXT_SPACES);
    if (type == FIELD_DATE || type == FIELD_TIME) {
        unsigned x = type == FIELD_DATE ? date_key(a) : time_key(a);
        unsigned y = type == FIELD_DATE ? date_key(b) : time_key(b);
        return (x > y) - (x < y);
    }
    struct decimal x, y;
    bool both = read_decimal(a, &x) && read_decimal(b, &y);
    return both ? compare_decimals(&x, &y) : 0;
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* "today", "today+30", "today-1": the days from today. */
static bool read_today(const char *text, int64_t *days)
{
    static const char word[] = "today";
    uint64_t n = 0;
    if (strncmp(text, word, sizeof word - 1) != 0) {
        return false;
    }
    text += sizeof word - 1;
    if (text[0] == '\0') {
        *days = 0;
        return true;
    }
    bool sound = (text[0] == '+' || text[0] == '-') && text_number(text + 1, strlen(text + 1), &n) &&
                 n <= FIELD_DAYS_MAX;
    *days = text[0] == '-' ? -(int64_t)n : (int64_t)n;
    return sound;
}

bool fieldtype_limit(enum field_type type, const char *text, int64_t now, char out[FIELD_LIMIT_SIZE])
{
    int64_t days;
    if (type == FIELD_DATE && read_today(text, &days)) {
        int64_t time = now + days * 86400;
        date_day(out, time > 0 ? time : 0);
        return true;
    }
    return fieldtype_ordered(type) && fieldtype_ok(type, text_span(text)) &&
           text_copy(out, FIELD_LIMIT_SIZE, text);
}
