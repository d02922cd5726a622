/*
 * The certificates that a form's mail is encrypted for: which of them fit
 * which address, and what else they are good for (RFC 8550 §3, §4.4).
 */

#include "bridge.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define OID_EMAIL_ADDRESS "1.2.840.113549.1.9.1"

enum {
    DAY = 86400,
};

/* ---- reading --------------------------------------------------------------------------------- */

static struct mailcert *read_cert(const struct pem_source *source, struct der d, size_t number)
{
    struct mailcert *m = calloc(1, sizeof *m);
    if (m == NULL) {
        pem_complain(source, "there is no memory for it");
        return NULL;
    }
    *m = (struct mailcert){.path = source->path, .number = number};
    buf_init(&m->der, PEM_FILE_MAX);
    buf_put(&m->der, d.at, d.len);
    if (!buf_ok(&m->der)) {
        pem_complain(source, "there is no memory for it");
    } else if (x509_read(&m->cert, m->der.data, m->der.len)) {
        return m;
    } else {
        pem_complain(source, "certificate %zu is damaged: not X.509 in DER. Export or fetch it again",
                     number);
    }
    mailcert_free(m);
    return NULL;
}

/* Appends them to *list, whose end is known to be there. */
static bool take_certs(struct mailcert **list, const struct pem *p)
{
    size_t number = 0;
    for (size_t i = 0; i < p->count; i++) {
        if (pem_is_key(&p->blocks[i])) {
            return pem_complain(p->source,
                                "holds a private key, which must stay with the person who reads the "
                                "mail: put the certificate alone here");
        }
        if (!pem_is_cert(&p->blocks[i])) {
            continue;
        }
        *list = read_cert(p->source, pem_der(p, i), ++number);
        if (*list == NULL) {
            return false;
        }
        list = &(*list)->next;
    }
    return number > 0 || pem_without(p, "certificate");
}

static bool certs_from_pem(struct mailcert **list, struct pem *p)
{
    while (*list != NULL) {
        list = &(*list)->next;
    }
    bool ok = take_certs(list, p);
    if (!ok) {
        mailcert_free(*list);
        *list = NULL;
    }
    pem_free(p);
    return ok;
}

bool mailcert_parse(struct mailcert **list, const char *path, const void *bytes, size_t len, char *why,
                    size_t why_size)
{
    struct pem_source source = {path, why, why_size};
    struct pem p;
    return pem_parse(&p, &source, bytes, len) && certs_from_pem(list, &p);
}

bool mailcert_load(struct mailcert **list, const char *path, char *why, size_t why_size)
{
    struct pem_source source = {path, why, why_size};
    struct pem p;
    return pem_load(&p, &source, false) && certs_from_pem(list, &p);
}

void mailcert_free(struct mailcert *list)
{
    while (list != NULL) {
        struct mailcert *next = list->next;
        buf_free(&list->der);
        free(list);
        list = next;
    }
}

/* ---- addresses ------------------------------------------------------------------------------- */

/* The part before the @ may differ by case in theory (RFC 5321 §2.4); no mail host in use makes it differ. */
static bool same_address(struct der text, const char *address)
{
    size_t len = strlen(address);
    return !text.failed && text.len == len && len > 0 &&
           strncasecmp((const char *)text.at, address, len) == 0;
}

/* Calls each(ctx, address) for all mail addresses of the SubjectAltName and the subject, until it returns
 * true. */
static bool find_address(const struct cert *c, bool (*each)(struct der, const void *), const void *ctx)
{
    struct der names = c->names;
    while (!names.failed && names.len > 0) {
        bool mail = der_is(&names, GENERAL_NAME_MAIL);
        struct der name = mail ? der_next(&names, GENERAL_NAME_MAIL) : der_whole(&names);
        if (mail && each(name, ctx)) {
            return true;
        }
    }
    struct der whole = c->subject;
    struct der sets = der_next(&whole, DER_SEQUENCE);
    while (!sets.failed && sets.len > 0) {
        struct der set = der_next(&sets, DER_SET);
        while (!set.failed && set.len > 0) {
            struct der pair = der_next(&set, DER_SEQUENCE);
            bool mail = der_oid(&pair, OID_EMAIL_ADDRESS);
            if (mail && der_is(&pair, DER_IA5_STRING) && each(der_next(&pair, DER_IA5_STRING), ctx)) {
                return true;
            }
        }
    }
    return false;
}

static bool is_same(struct der text, const void *address)
{
    return same_address(text, address);
}

bool mailcert_names(const struct mailcert *m, const char *address)
{
    return find_address(&m->cert, is_same, address);
}

/* ---- what is wrong with one ------------------------------------------------------------------ */

enum { /* KeyUsage, RFC 5280 §4.2.1.3 */
       DIGITAL_SIGNATURE = 1 << 15,
       NON_REPUDIATION = 1 << 14,
       KEY_ENCIPHERMENT = 1 << 13,
       KEY_AGREEMENT = 1 << 11,
};

static bool complain(const struct mailcert *m, char *why, size_t why_size, const char *fmt, ...) PRINTF(4, 5);
static bool complain(const struct mailcert *m, char *why, size_t why_size, const char *fmt, ...)
{
    struct pem_source source = {m->path, why, why_size};
    char what[REASON_SIZE];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return pem_complain(&source, "certificate %zu %s", m->number, what);
}

static unsigned usage_wanted(const struct mailcert *m, enum mailcert_use use)
{
    return use == MAILCERT_SIGN                    ? DIGITAL_SIGNATURE | NON_REPUDIATION
           : m->cert.key.key_type == BR_KEYTYPE_EC ? KEY_AGREEMENT
                                                   : KEY_ENCIPHERMENT;
}

bool mailcert_able(const struct mailcert *m, enum mailcert_use use, char *why, size_t why_size)
{
    unsigned bits = m->cert.key_bits;
    if (m->cert.key.key_type == 0) {
        return complain(
            m, why, why_size,
            "has a key that is neither RSA nor on the curve P-256 or P-384: its owner needs a new one");
    }
    if (m->cert.key.key_type == BR_KEYTYPE_RSA && (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)) {
        return complain(m, why, why_size,
                        "has an RSA key of %u bits, and %d to %d are wanted: its owner needs a new one", bits,
                        RSA_BITS_MIN, RSA_BITS_MAX);
    }
    if ((m->cert.usage & usage_wanted(m, use)) == 0) {
        return complain(m, why, why_size,
                        "does not allow its key to %s (keyUsage): take one of the same owner that does",
                        use == MAILCERT_SIGN ? "sign" : "receive encrypted mail");
    }
    return m->cert.for_mail ||
           complain(m, why, why_size,
                    "is not for mail (extendedKeyUsage without emailProtection): its owner needs an "
                    "S/MIME certificate");
}

bool mailcert_in_date(const struct mailcert *m, int64_t now, char *why, size_t why_size)
{
    bool early = now < m->cert.not_before;
    if (!early && now <= m->cert.not_after) {
        return true;
    }
    char memory[64];
    struct buf date;
    buf_borrow(&date, memory, sizeof memory);
    int64_t limit = early ? m->cert.not_before : m->cert.not_after;
    if (limit >= 0) {
        date_plain(&date, limit);
    } else {
        buf_str(&date, "a day before 1970");
    }
    return early
               ? complain(m, why, why_size, "is not valid before %s: wait, or add the one that is in use now",
                          buf_text(&date))
               : complain(m, why, why_size, "expired on %s: ask its owner for the new one and add it here",
                          buf_text(&date));
}

/* ---- whom a form's mail is encrypted for ----------------------------------------------------- */

static bool names_any(const struct mailcert *m, char *const *to, size_t to_count)
{
    for (size_t i = 0; i < to_count; i++) {
        if (mailcert_names(m, to[i])) {
            return true;
        }
    }
    return false;
}

/* Another may be valid in the place of one that no longer, or not yet, is; if none is, each is to blame. */
static bool is_served(const struct mailcert *list, const char *address, int64_t now, char *why,
                      size_t why_size)
{
    struct pem_source source = {list->path, why, why_size};
    pem_complain(&source, "has no certificate for %s, to whom the form's mail goes: add it", address);
    for (const struct mailcert *m = list; m != NULL; m = m->next) {
        if (mailcert_names(m, address) && mailcert_in_date(m, now, why, why_size)) {
            return true;
        }
    }
    return false;
}

static bool take_recipient(struct cms_recipients *out, const struct mailcert *m, char *why, size_t why_size)
{
    if (out->count == CMS_RECIPIENTS_MAX) {
        return complain(m, why, why_size, "is one too many: a mail can be encrypted for %d",
                        CMS_RECIPIENTS_MAX);
    }
    out->certs[out->count++] = &m->cert;
    return true;
}

/* All that are in date, if none is one that must not be there. */
static bool take_recipients(struct cms_recipients *out, const struct mailcert *list, char *const *to,
                            size_t to_count, int64_t now, char *why, size_t why_size)
{
    for (const struct mailcert *m = list; m != NULL; m = m->next) {
        if (!mailcert_able(m, MAILCERT_ENCRYPT, why, why_size)) {
            return false;
        }
        if (!names_any(m, to, to_count)) {
            return complain(m, why, why_size,
                            "is for none of the form's addresses, so a stranger could read the mail: take it "
                            "out, or add its address to the form's");
        }
        char late[REASON_SIZE];
        if (mailcert_in_date(m, now, late, sizeof late) && !take_recipient(out, m, why, why_size)) {
            return false;
        }
    }
    return true;
}

bool mailcert_choose(const struct mailcert *list, char *const *to, size_t to_count, int64_t now,
                     struct cms_recipients *out, char *why, size_t why_size)
{
    out->count = 0;
    if (list == NULL || to_count == 0) {
        text_copy(why, why_size, "there is no certificate, or nobody, to encrypt for");
        return false;
    }
    bool ok = take_recipients(out, list, to, to_count, now, why, why_size);
    for (size_t i = 0; i < to_count && ok; i++) {
        ok = is_served(list, to[i], now, why, why_size);
    }
    if (!ok) {
        out->count = 0;
    }
    return ok;
}

int64_t mailcert_expiry(const struct mailcert *list, char *const *to, size_t to_count)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < to_count; i++) {
        int64_t last = INT64_MIN;
        for (const struct mailcert *m = list; m != NULL; m = m->next) {
            if (m->cert.not_after > last && mailcert_names(m, to[i])) {
                last = m->cert.not_after;
            }
        }
        first = last < first ? last : first;
    }
    return first;
}

/* ---- in words -------------------------------------------------------------------------------- */

/* Text of a certificate is as foreign as any: nothing in it is to move a cursor. */
static void put_text(struct buf *out, struct der text)
{
    for (size_t at = 0; at < text.len;) {
        uint32_t c;
        size_t n = utf8_next(text.at + at, text.len - at, &c);
        enum utf8_class class = utf8_class(c);
        if ((class == UTF8_TEXT || class == UTF8_SPACE) && c != '\t' && c != UTF8_REPLACEMENT) {
            buf_put(out, text.at + at, n);
        } else {
            buf_byte(out, '?');
        }
        at += n;
    }
}

static bool put_address(struct der address, const void *ctx)
{
    struct buf *out = *(struct buf *const *)ctx;
    buf_str(out, "  for          ");
    put_text(out, address);
    buf_byte(out, '\n');
    return false;
}

static const char *attribute_name(struct der *oid)
{
    static const struct {
        const char *oid, *name;
    } known[] = {
        {OID_COMMON_NAME, "CN"}, {OID_ORGANIZATION, "O"},      {"2.5.4.11", "OU"},
        {"2.5.4.6", "C"},        {OID_EMAIL_ADDRESS, "email"},
    };
    for (size_t i = 0; i < COUNT(known); i++) {
        if (der_oid_is(oid, known[i].oid)) {
            return known[i].name;
        }
    }
    return "?";
}

static void put_name(struct buf *out, const char *label, struct der name)
{
    struct der sets = der_next(&name, DER_SEQUENCE);
    buf_str(out, label);
    for (const char *comma = ""; !sets.failed && sets.len > 0; comma = ", ") {
        struct der set = der_next(&sets, DER_SET);
        struct der pair = der_next(&set, DER_SEQUENCE);
        struct der oid = der_next(&pair, DER_OID);
        struct der value = pair.len > 0 ? der_next(&pair, pair.at[0]) : pair;
        buf_fmt(out, "%s%s=", comma, attribute_name(&oid));
        put_text(out, value);
    }
    buf_byte(out, '\n');
}

static void put_date(struct buf *out, int64_t time)
{
    if (time >= 0) {
        date_plain(out, time);
    } else {
        buf_str(out, "before 1970");
    }
}

static void put_validity(struct buf *out, const struct cert *c, int64_t now)
{
    buf_str(out, "  valid        ");
    put_date(out, c->not_before);
    buf_str(out, " to ");
    put_date(out, c->not_after);
    if (now >= c->not_before && now <= c->not_after) {
        buf_fmt(out, ", %" PRId64 " days left", (c->not_after - now) / DAY);
    }
    buf_byte(out, '\n');
}

static void put_key(struct buf *out, const struct cert *c)
{
    switch (c->key.key_type) {
    case BR_KEYTYPE_RSA: buf_fmt(out, "  key          RSA, %u bits\n", c->key_bits); break;
    case BR_KEYTYPE_EC: buf_fmt(out, "  key          on the curve P-%u\n", c->key_bits); break;
    default: buf_str(out, "  key          of a kind that formbridge does not use\n");
    }
}

static void put_fingerprint(struct buf *out, const struct buf *der)
{
    unsigned char hash[br_sha256_SIZE];
    hash_digest(der->data, der->len, hash);
    buf_str(out, "  SHA-256      ");
    for (size_t i = 0; i < sizeof hash; i++) {
        buf_fmt(out, "%s%02X", i == 0 ? "" : ":", hash[i]);
    }
    buf_byte(out, '\n');
}

static void put_verdict(struct buf *out, const struct mailcert *m, enum mailcert_use use, int64_t now)
{
    char why[REASON_SIZE];
    const char *label = use == MAILCERT_SIGN ? "  to sign      " : "  to encrypt   ";
    bool good = mailcert_able(m, use, why, sizeof why) && mailcert_in_date(m, now, why, sizeof why);
    buf_fmt(out, "%s%s%s\n", label, good ? "yes" : "no: ", good ? "" : why);
}

bool mailcert_describe(const struct mailcert *list, int64_t now, struct buf *out)
{
    bool good = false;
    for (const struct mailcert *m = list; m != NULL; m = m->next) {
        char why[REASON_SIZE];
        buf_fmt(out, "%s, certificate %zu\n", m->path, m->number);
        size_t before = out->len;
        find_address(&m->cert, put_address, &out);
        bool named = out->len > before;
        if (!named) {
            buf_str(out, "  for          no mail address: formbridge cannot tell whose mail it is for\n");
        }
        put_name(out, "  subject      ", m->cert.subject);
        put_name(out, "  issuer       ", m->cert.issuer);
        put_validity(out, &m->cert, now);
        put_key(out, &m->cert);
        put_fingerprint(out, &m->der);
        put_verdict(out, m, MAILCERT_ENCRYPT, now);
        put_verdict(out, m, MAILCERT_SIGN, now);
        good = good || (named && mailcert_able(m, MAILCERT_ENCRYPT, why, sizeof why) &&
                        mailcert_in_date(m, now, why, sizeof why));
    }
    return good;
}
