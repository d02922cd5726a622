/*
 * DER (X.690 §10), the subset that certificates, keys and CMS are made of:
 * definite lengths in their shortest form, tags of one byte.
 */

#include "bridge.h"

#include <string.h>
#include <time.h>

enum {
    MAX_OID = 32,         /* bytes of an encoded OBJECT IDENTIFIER of ours */
    MAX_LENGTH_BYTES = 4, /* of an element's length */
};

/* ---- reading --------------------------------------------------------------------------------- */

struct der der_read(const void *bytes, size_t len)
{
    return (struct der){.at = bytes, .len = len};
}

bool der_done(const struct der *d)
{
    return !d->failed && d->len == 0;
}

bool der_is(const struct der *d, unsigned tag)
{
    return !d->failed && d->len > 0 && d->at[0] == tag;
}

static struct der fail(struct der *d)
{
    d->failed = true;
    d->len = 0;
    return *d;
}

/* The content of the element at d, not stepped over. header: bytes before it. */
static bool element(const struct der *d, size_t *header, size_t *content)
{
    if (d->failed || d->len < 2 || (d->at[0] & 0x1f) == 0x1f) {
        return false;
    }
    size_t len = d->at[1];
    *header = 2;
    if (len >= 0x80) { /* X.690 §8.1.3.5: the number of length bytes that follow */
        size_t bytes = len & 0x7f;
        if (bytes == 0 || bytes > MAX_LENGTH_BYTES || bytes > d->len - 2) {
            return false;
        }
        len = 0;
        for (size_t i = 0; i < bytes; i++) {
            len = len << 8 | d->at[2 + i];
        }
        if (d->at[2] == 0 || len < 0x80) {
            return false; /* not the shortest form */
        }
        *header += bytes;
    }
    *content = len;
    return len <= d->len - *header;
}

static void step(struct der *d, size_t len)
{
    d->at += len;
    d->len -= len;
}

struct der der_next(struct der *d, unsigned tag)
{
    size_t header, content;
    if (!der_is(d, tag) || !element(d, &header, &content)) {
        return fail(d);
    }
    struct der inner = der_read(d->at + header, content);
    step(d, header + content);
    return inner;
}

struct der der_whole(struct der *d)
{
    size_t header, content;
    if (!element(d, &header, &content)) {
        return fail(d);
    }
    struct der whole = der_read(d->at, header + content);
    step(d, header + content);
    return whole;
}

/* One arc of a dotted text, which is our own and well-formed. */
static unsigned long arc(const char **dotted)
{
    unsigned long n = 0;
    for (; **dotted >= '0' && **dotted <= '9'; (*dotted)++) {
        n = n * 10 + (unsigned long)(**dotted - '0');
    }
    if (**dotted == '.') {
        (*dotted)++;
    }
    return n;
}

/* X.690 §8.19: base 128, high bit on all bytes but the last; the first two arcs share one. */
static void encode_oid(struct buf *out, const char *dotted)
{
    unsigned long n = arc(&dotted) * 40;
    n += arc(&dotted);
    for (;;) {
        int shift = 0;
        while (n >> shift >= 0x80) {
            shift += 7;
        }
        for (; shift > 0; shift -= 7) {
            buf_byte(out, (unsigned char)(0x80 | (n >> shift & 0x7f)));
        }
        buf_byte(out, (unsigned char)(n & 0x7f));
        if (*dotted == '\0') {
            return;
        }
        n = arc(&dotted);
    }
}

bool der_oid_is(const struct der *oid, const char *dotted)
{
    unsigned char memory[MAX_OID];
    struct buf want;
    buf_borrow(&want, memory, sizeof memory);
    encode_oid(&want, dotted);
    return buf_ok(&want) && !oid->failed && oid->len == want.len && memcmp(oid->at, want.data, want.len) == 0;
}

bool der_oid(struct der *d, const char *dotted)
{
    struct der oid = der_next(d, DER_OID);
    return der_oid_is(&oid, dotted);
}

bool der_boolean(struct der *d)
{
    struct der content = der_next(d, DER_BOOLEAN);
    if (content.len != 1 || (content.at[0] != 0x00 && content.at[0] != 0xff)) {
        fail(d);
        return false;
    }
    return content.at[0] == 0xff;
}

struct der der_unsigned(struct der *d)
{
    struct der n = der_next(d, DER_INTEGER);
    if (n.len == 0 || (n.at[0] & 0x80) != 0) {
        return fail(d);
    }
    if (n.at[0] == 0) {
        step(&n, 1);
        if (n.len > 0 && (n.at[0] & 0x80) == 0) {
            return fail(d); /* a zero too many */
        }
    }
    return n;
}

unsigned der_small(struct der *d)
{
    struct der bytes = der_unsigned(d);
    unsigned n = 0;
    if (bytes.len > 4 || (bytes.len == 4 && (bytes.at[0] & 0x80) != 0)) {
        fail(d);
        return 0;
    }
    for (size_t i = 0; i < bytes.len; i++) {
        n = n << 8 | bytes.at[i];
    }
    return n;
}

struct der der_bits(struct der *d)
{
    struct der content = der_next(d, DER_BIT_STRING);
    if (content.len == 0 || content.at[0] != 0) { /* the number of unused bits */
        return fail(d);
    }
    step(&content, 1);
    return content;
}

static int two_digits(const unsigned char *at)
{
    return (at[0] - '0') * 10 + (at[1] - '0');
}

/* YYYYMMDDHHMMSS, digits all of them. */
static bool to_time(const unsigned char *at, int64_t *out)
{
    struct tm given = {
        .tm_year = two_digits(at) * 100 + two_digits(at + 2) - 1900,
        .tm_mon = two_digits(at + 4) - 1,
        .tm_mday = two_digits(at + 6),
        .tm_hour = two_digits(at + 8),
        .tm_min = two_digits(at + 10),
        .tm_sec = two_digits(at + 12),
    };
    struct tm tm = given;
    *out = timegm(&tm); /* carries the 31st of April over into May */
    return tm.tm_mon == given.tm_mon && tm.tm_mday == given.tm_mday && tm.tm_hour == given.tm_hour &&
           tm.tm_min == given.tm_min && tm.tm_sec == given.tm_sec;
}

int64_t der_time(struct der *d)
{
    enum { DIGITS = 14 };
    bool utc = der_is(d, DER_UTC_TIME);
    struct der text = der_next(d, utc ? DER_UTC_TIME : DER_GENERALIZED_TIME);
    unsigned char full[DIGITS];
    size_t century = utc ? 2 : 0; /* bytes of the year that UTCTime leaves out */
    if (text.failed || text.len != DIGITS + 1 - century || text.at[text.len - 1] != 'Z') {
        fail(d);
        return 0;
    }
    memcpy(full + century, text.at, DIGITS - century);
    if (utc) {
        memcpy(full, full[2] < '5' ? "20" : "19", 2);
    }
    for (size_t i = 0; i < DIGITS; i++) {
        if (full[i] < '0' || full[i] > '9') {
            fail(d);
            return 0;
        }
    }
    int64_t time;
    if (!to_time(full, &time)) {
        fail(d);
        return 0;
    }
    return time;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* The length bytes of an element; returns how many. */
static size_t encode_length(unsigned char out[1 + MAX_LENGTH_BYTES], size_t len)
{
    if (len < 0x80) {
        out[0] = (unsigned char)len;
        return 1;
    }
    size_t bytes = 1;
    while (len >> (8 * bytes) != 0) {
        bytes++;
    }
    out[0] = (unsigned char)(0x80 | bytes);
    for (size_t i = 0; i < bytes; i++) {
        out[1 + i] = (unsigned char)(len >> (8 * (bytes - 1 - i)));
    }
    return 1 + bytes;
}

size_t der_begin(struct buf *b, unsigned tag)
{
    buf_byte(b, (unsigned char)tag);
    return b->len;
}

void der_end(struct buf *b, size_t begun)
{
    unsigned char length[1 + MAX_LENGTH_BYTES];
    if (!buf_ok(b)) {
        return;
    }
    size_t content = b->len - begun;
    if (content > UINT32_MAX) { /* more than MAX_LENGTH_BYTES can say */
        b->failed = true;
        return;
    }
    size_t n = encode_length(length, content);
    if (buf_room(b, n) == NULL) {
        return;
    }
    memmove(b->data + begun + n, b->data + begun, content);
    memcpy(b->data + begun, length, n);
    b->len += n;
}

void der_put(struct buf *b, unsigned tag, const void *content, size_t len)
{
    size_t begun = der_begin(b, tag);
    buf_put(b, content, len);
    der_end(b, begun);
}

void der_put_text(struct buf *b, unsigned tag, const char *text)
{
    der_put(b, tag, text, strlen(text));
}

void der_put_null(struct buf *b)
{
    der_put(b, DER_NULL, NULL, 0);
}

void der_put_boolean(struct buf *b, bool value)
{
    der_put(b, DER_BOOLEAN, value ? "\xff" : "", 1);
}

void der_put_unsigned(struct buf *b, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    while (len > 0 && *at == 0) {
        at++;
        len--;
    }
    size_t begun = der_begin(b, DER_INTEGER);
    if (len == 0 || (*at & 0x80) != 0) { /* or it would be read as negative */
        buf_byte(b, 0);
    }
    buf_put(b, at, len);
    der_end(b, begun);
}

void der_put_small(struct buf *b, unsigned value)
{
    unsigned char bytes[4] = {(unsigned char)(value >> 24), (unsigned char)(value >> 16),
                              (unsigned char)(value >> 8), (unsigned char)value};
    der_put_unsigned(b, bytes, sizeof bytes);
}

void der_put_oid(struct buf *b, const char *dotted)
{
    size_t begun = der_begin(b, DER_OID);
    encode_oid(b, dotted);
    der_end(b, begun);
}

void der_put_bits(struct buf *b, const void *bytes, size_t len)
{
    size_t begun = der_begin(b, DER_BIT_STRING);
    buf_byte(b, 0);
    buf_put(b, bytes, len);
    der_end(b, begun);
}

void der_put_time(struct buf *b, int64_t time)
{
    char text[32];
    time_t t = (time_t)time;
    struct tm tm;
    if (gmtime_r(&t, &tm) == NULL || tm.tm_year < 50 || tm.tm_year > 9999 - 1900) {
        b->failed = true;
        return;
    }
    bool utc = tm.tm_year < 150;
    strftime(text, sizeof text, utc ? "%y%m%d%H%M%SZ" : "%Y%m%d%H%M%SZ", &tm);
    der_put_text(b, utc ? DER_UTC_TIME : DER_GENERALIZED_TIME, text);
}
