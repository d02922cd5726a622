/* Who a mail host must prove to be: the verdict on the chain that it sends.
 *
 * BearSSL's x509_minimal checks signatures, dates, names and path. This wraps it for what it leaves out: the
 * purpose (EKU), a CA that poses as a host, names in the CN alone, name constraints, expired anchors, key
 * pins; and says in words what was found. */

#include "bridge.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHAIN_MAX = 10,      /* certificates that a host may send */
    CERT_MAX = 64 << 10, /* bytes of one */
    PIN_SIZE = 80,
};

struct trust_check {
    const br_x509_class *vtable; /* first: BearSSL's view of this struct */
    br_x509_minimal_context minimal;
    br_ec_impl curves;
    const struct mailhost *host;
    char name[HOST_NAME_MAX_ + 1]; /* "": pin_only with an address */
    int64_t now;
    unsigned certs;
    bool complete;  /* an anchor was reached: what the host sent beyond it does not matter */
    struct buf der; /* of the certificate that is arriving */
    struct buf leaf_der;
    struct cert leaf;
    unsigned char spki_sha256[32];
    struct buf names;            /* of the leaf, one a line, host names only */
    char fault[REASON_SIZE / 2]; /* the first thing wrong with a certificate above the leaf */
    char why[REASON_SIZE];
};

/* ---- words ----------------------------------------------------------------------------------- */

static void put_date(struct buf *out, int64_t when)
{
    if (when < 0) {
        buf_str(out, "before 1970");
    } else {
        date_plain(out, when);
    }
}

static void put_printable(struct buf *out, const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len && i < 64; i++) {
        buf_byte(out, bytes[i] < 0x20 || bytes[i] > 0x7e ? '?' : bytes[i]);
    }
}

/* The common name of a distinguished name, or else its organization. */
static void put_issuer(struct buf *out, struct der whole)
{
    struct der name = der_next(&whole, DER_SEQUENCE);
    struct der best = {0};
    while (name.len > 0 && !name.failed) {
        struct der set = der_next(&name, DER_SET);
        struct der pair = der_next(&set, DER_SEQUENCE);
        struct der oid = der_next(&pair, DER_OID);
        bool common = der_oid_is(&oid, OID_COMMON_NAME);
        if (common || (best.len == 0 && der_oid_is(&oid, OID_ORGANIZATION))) {
            struct der string = pair.len > 0 && !pair.failed ? der_next(&pair, pair.at[0]) : pair;
            best = string.failed ? best : string;
        }
    }
    buf_byte(out, '"');
    put_printable(out, best.at, best.len);
    buf_byte(out, '"');
}

/* "mail.example.com, smtp.example.com", cut after a few. */
static void put_names(const struct trust_check *c, struct buf *out)
{
    size_t shown = 0;
    for (size_t i = 0; i < c->names.len && shown < 120; i++, shown++) {
        bool end = c->names.data[i] == '\n';
        if (!end) {
            buf_byte(out, c->names.data[i]);
        } else if (i + 1 < c->names.len) {
            buf_str(out, shown + 1 < 120 ? ", " : ", ...");
        }
    }
    if (c->names.len == 0) {
        buf_str(out, "no host");
    }
}

static void put_facts(const struct trust_check *c, struct buf *out)
{
    buf_str(out, " (it names ");
    put_names(c, out);
    buf_str(out, "; valid ");
    put_date(out, c->leaf.not_before);
    buf_str(out, " to ");
    put_date(out, c->leaf.not_after);
    buf_str(out, "; issued by ");
    put_issuer(out, c->leaf.issuer);
    buf_str(out, ")");
}

static unsigned refuse(struct trust_check *c, unsigned error, const char *remedy, const char *fmt, ...)
    PRINTF(4, 5);
/* One sentence: what was checked and found, the certificate, what to do. Returns error. */
static unsigned refuse(struct trust_check *c, unsigned error, const char *remedy, const char *fmt, ...)
{
    char found[REASON_SIZE / 2], facts[REASON_SIZE / 2];
    va_list args;
    va_start(args, fmt);
    vsnprintf(found, sizeof found, fmt, args);
    va_end(args);
    struct buf b;
    buf_borrow(&b, facts, sizeof facts - 1);
    if (c->leaf_der.len > 0 && !c->leaf.spki.failed && c->leaf.spki.len > 0) {
        put_facts(c, &b);
    }
    facts[b.len] = '\0';
    text_fmt(c->why, sizeof c->why, "%s%s; %s", found, facts, remedy);
    return error;
}

/* ---- the verdict ----------------------------------------------------------------------------- */

static struct trust_check *self(const br_x509_class *const *ctx)
{
    return (struct trust_check *)(uintptr_t)ctx;
}

static void hash_spki(struct trust_check *c)
{
    hash_digest(c->leaf.spki.at, c->leaf.spki.len, c->spki_sha256);
}

static bool read_leaf(struct trust_check *c)
{
    buf_put(&c->leaf_der, c->der.data, c->der.len);
    if (!buf_ok(&c->leaf_der) || !x509_read(&c->leaf, c->leaf_der.data, c->leaf_der.len)) {
        c->leaf = (struct cert){0};
        return false;
    }
    hash_spki(c);
    x509_list_names(c->leaf.names, &c->names); /* what is damaged among them names nobody */
    return buf_ok(&c->names);
}

/* A certificate above the leaf: BearSSL judges it too, but in a number that says neither which nor what. */
static void read_issuer(struct trust_check *c)
{
    struct cert cert;
    struct buf b;
    if (c->fault[0] != '\0') {
        return;
    }
    if (!buf_ok(&c->der) || !x509_read(&cert, c->der.data, c->der.len)) {
        text_fmt(c->fault, sizeof c->fault, "the issuing certificate number %u of the chain cannot be read",
                 c->certs);
        return;
    }
    buf_borrow(&b, c->fault, sizeof c->fault - 1);
    if (c->now > cert.not_after || c->now < cert.not_before) {
        buf_fmt(&b, "the issuing certificate number %u of the chain is ", c->certs);
        buf_str(&b, c->now > cert.not_after ? "expired, since " : "not valid before ");
        put_date(&b, c->now > cert.not_after ? cert.not_after : cert.not_before);
    } else if (cert.constraints) {
        buf_fmt(&b,
                "the issuing certificate number %u of the chain carries name constraints, which are not "
                "supported",
                c->certs);
    } else if (!cert.for_servers) {
        buf_fmt(&b,
                "the issuing certificate number %u of the chain may not vouch for servers (extendedKeyUsage)",
                c->certs);
    } else if (cert.bad_signature != NULL) {
        buf_fmt(&b, "the issuing certificate number %u of the chain is signed with %s", c->certs,
                cert.bad_signature);
    } else if (cert.key.key_type == BR_KEYTYPE_RSA && cert.key_bits < RSA_BITS_MIN) {
        buf_fmt(&b, "the issuing certificate number %u of the chain has an RSA key of only %u bits", c->certs,
                cert.key_bits);
    }
    c->fault[b.len] = '\0';
}

static void start_chain(const br_x509_class **ctx, const char *server_name)
{
    struct trust_check *c = self(ctx);
    (void)server_name; /* ours is the one that was configured, never absent unless the key is pinned */
    c->certs = 0;
    if (!c->host->pin_only) {
        c->minimal.vtable->start_chain(&c->minimal.vtable, c->name);
    }
}

static void start_cert(const br_x509_class **ctx, uint32_t length)
{
    struct trust_check *c = self(ctx);
    buf_clear(&c->der);
    if (!c->host->pin_only) {
        c->complete = c->minimal.vtable->get_pkey(&c->minimal.vtable, NULL) != NULL;
        c->minimal.vtable->start_cert(&c->minimal.vtable, length);
    }
}

static void append(const br_x509_class **ctx, const unsigned char *bytes, size_t len)
{
    struct trust_check *c = self(ctx);
    if (c->certs < CHAIN_MAX) {
        buf_put(&c->der, bytes, len);
    }
    if (!c->host->pin_only) {
        c->minimal.vtable->append(&c->minimal.vtable, bytes, len);
    }
}

static void end_cert(const br_x509_class **ctx)
{
    struct trust_check *c = self(ctx);
    if (!c->host->pin_only) {
        c->minimal.vtable->end_cert(&c->minimal.vtable);
    }
    if (c->certs == 0) {
        if (!buf_ok(&c->der) || !read_leaf(c)) {
            refuse(c, 0, "if that is so at every try, renew it",
                   "the host's certificate cannot be read: it is damaged, too large, or memory ran out");
        }
    } else if (c->certs < CHAIN_MAX && !c->host->pin_only && !c->complete) {
        read_issuer(c);
    }
    c->certs++;
}

static bool pinned(const struct trust_check *c)
{
    for (size_t i = 0; i < c->host->pin_count; i++) {
        if (memcmp(c->host->pins[i], c->spki_sha256, sizeof c->spki_sha256) == 0) {
            return true;
        }
    }
    return false;
}

static void put_pin(const struct trust_check *c, struct buf *out)
{
    buf_str(out, "sha256:");
    buf_hex(out, c->spki_sha256, sizeof c->spki_sha256);
}

static void pin_text(const struct trust_check *c, char *out, size_t size)
{
    struct buf b;
    buf_borrow(&b, out, size - 1);
    put_pin(c, &b);
    out[b.len] = '\0';
}

static unsigned judge_pin(struct trust_check *c)
{
    char pin[PIN_SIZE];
    pin_text(c, pin, sizeof pin);
    return pinned(c)
               ? 0
               : refuse(c, BR_ERR_X509_NOT_TRUSTED,
                        "if the host has a new key and you have that from the host's owner, add this pin",
                        "the host's key is not one of the pinned ones, it is %s", pin);
}

static unsigned judge_key(struct trust_check *c)
{
    if (c->leaf.key.key_type == 0) {
        return refuse(c, BR_ERR_X509_UNSUPPORTED,
                      "give the host a certificate with a key on P-256 or an RSA one of "
                      "2048 to 4096 bits",
                      "the host's key is neither RSA nor on P-256 or P-384");
    }
    if (c->leaf.key.key_type == BR_KEYTYPE_RSA && c->leaf.key_bits < RSA_BITS_MIN) {
        return refuse(c, BR_ERR_X509_WEAK_PUBLIC_KEY, "make a new key of at least 2048 bits",
                      "the host's RSA key has only %u bits", c->leaf.key_bits);
    }
    return 0;
}

static unsigned judge_dates(struct trust_check *c)
{
    char date[40];
    struct buf b;
    buf_borrow(&b, date, sizeof date - 1);
    bool expired = c->now > c->leaf.not_after;
    if (!expired && c->now >= c->leaf.not_before) {
        return 0;
    }
    put_date(&b, expired ? c->leaf.not_after : c->leaf.not_before);
    date[b.len] = '\0';
    return refuse(c, BR_ERR_X509_EXPIRED,
                  expired ? "renew it on the host" : "check the clocks of both machines, or wait",
                  expired ? "the host's certificate expired on %s"
                          : "the host's certificate is not valid before %s",
                  date);
}

static unsigned judge_name(struct trust_check *c)
{
    struct chain named = {.names = c->names};
    if (x509_names_host(&named, c->name)) {
        return 0;
    }
    return refuse(c, BR_ERR_X509_BAD_SERVER_NAME,
                  c->names.len == 0
                      ? "the common name does not count (RFC 6125): get one with a subjectAltName"
                      : "set tls_name to the name it is known by, or get one for this name",
                  "the host's certificate is not for %.100s", c->name);
}

static unsigned judge_purpose(struct trust_check *c)
{
    if (c->leaf.ca) {
        return refuse(c, BR_ERR_X509_FORBIDDEN_KEY_USAGE,
                      "give the host a certificate of its own (basicConstraints CA:FALSE), or pin its key "
                      "with pin_only = yes",
                      "the host shows the certificate of a CA as its own");
    }
    if (!c->leaf.for_servers) {
        return refuse(c, BR_ERR_X509_FORBIDDEN_KEY_USAGE, "get one with extendedKeyUsage serverAuth",
                      "the host's certificate is for another purpose than being a server");
    }
    return 0;
}

static unsigned refuse_self_signed(struct trust_check *c, unsigned error)
{
    char pin[PIN_SIZE], remedy[REASON_SIZE / 2];
    pin_text(c, pin, sizeof pin);
    text_fmt(remedy, sizeof remedy,
             "%s, or if its owner says that the key is right, set pin_only = yes and pin = %s",
             c->leaf.ca ? "give the host one that is no CA's" : "set trust to a file with it", pin);
    return refuse(c, error, remedy, "the host's certificate is self-signed and not among the trust anchors");
}

/* BearSSL's verdict in words. */
static unsigned judge_chain(struct trust_check *c, unsigned error)
{
    bool self_signed = c->leaf.issuer.len == c->leaf.subject.len &&
                       memcmp(c->leaf.issuer.at, c->leaf.subject.at, c->leaf.issuer.len) == 0;
    if (c->leaf.bad_signature != NULL && error != 0) {
        return refuse(c, error, "get one that is signed with SHA-256",
                      "the host's certificate is signed with %s", c->leaf.bad_signature);
    }
    if (c->fault[0] != '\0') { /* name constraints too, which BearSSL passes over unless they are critical */
        return refuse(c, error != 0 ? error : BR_ERR_X509_CRITICAL_EXTENSION,
                      "have the host send another chain", "%s", c->fault);
    }
    if (error == BR_ERR_X509_NOT_TRUSTED && self_signed) {
        return refuse_self_signed(c, error);
    }
    if (error == BR_ERR_X509_NOT_TRUSTED) {
        return refuse(c, error,
                      "have the host send its intermediate certificates, or set trust to its CA's file",
                      "no trust anchor was found above the %u certificate%s of the host", c->certs,
                      c->certs == 1 ? "" : "s");
    }
    if (error == BR_ERR_X509_DN_MISMATCH) {
        return refuse(c, error, "put the host's own certificate first, then each issuer after what it signed",
                      "the certificates of the host do not follow one another");
    }
    return error == 0 ? 0
                      : refuse(c, error, "get another certificate for the host",
                               "the host's chain was refused: %s", tls_error_text((int)error));
}

static unsigned verdict(struct trust_check *c)
{
    unsigned error = judge_key(c);
    if (c->host->pin_only) {
        return error != 0 ? error : judge_pin(c);
    }
    unsigned minimal = c->minimal.vtable->end_chain(&c->minimal.vtable);
    error = error != 0 ? error : judge_dates(c);
    error = error != 0 ? error : judge_name(c);
    error = error != 0 ? error : judge_chain(c, minimal);
    error = error != 0 ? error : judge_purpose(c);
    return error != 0 || c->host->pin_count == 0 ? error : judge_pin(c);
}

static unsigned end_chain(const br_x509_class **ctx)
{
    struct trust_check *c = self(ctx);
    if (c->certs == 0) {
        return refuse(c, BR_ERR_X509_EMPTY_CHAIN, "configure one on the host",
                      "the host sent no certificate");
    }
    if (c->why[0] != '\0') { /* the leaf could not be read */
        return BR_ERR_X509_INVALID_VALUE;
    }
    if (c->certs > CHAIN_MAX) {
        return refuse(c, BR_ERR_X509_LIMIT_EXCEEDED, "send its own and its issuers' alone",
                      "the host sent %u certificates, more than %d", c->certs, CHAIN_MAX);
    }
    return verdict(c);
}

static const br_x509_pkey *get_pkey(const br_x509_class *const *ctx, unsigned *usages)
{
    const struct trust_check *c = self(ctx);
    if (!c->host->pin_only) {
        return c->minimal.vtable->get_pkey(&c->minimal.vtable, usages);
    }
    if (usages != NULL) {
        *usages = BR_KEYTYPE_SIGN; /* all that an ECDHE suite asks of it */
    }
    return &c->leaf.key;
}

static const br_x509_class check_class = {
    .context_size = sizeof(struct trust_check),
    .start_chain = start_chain,
    .start_cert = start_cert,
    .append = append,
    .end_cert = end_cert,
    .end_chain = end_chain,
    .get_pkey = get_pkey,
};

/* ---- one handshake --------------------------------------------------------------------------- */

static bool is_address(const char *text)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

/* The name to check. BearSSL takes an empty one for "do not check": it must never get that far. */
static void choose_name(struct trust_check *c)
{
    const char *name = c->host->tls_name != NULL ? c->host->tls_name : c->host->server;
    size_t len = strlen(name);
    len -= len > 1 && name[len - 1] == '.'; /* certificates have no final dot */
    if (is_address(name)) {
        if (!c->host->pin_only) {
            text_fmt(c->why, sizeof c->why,
                     "%s is an address, and certificates are checked by name: set tls_name to "
                     "the host's name, or pin its key with pin_only = yes",
                     name);
        }
        return;
    }
    if (len == 0 || len > HOST_NAME_MAX_ || !wire_ascii(name)) {
        text_fmt(c->why, sizeof c->why,
                 "%.80s is no name that a certificate could carry: set tls_name to a host name "
                 "in ASCII (xn--... for others)",
                 len == 0 ? "\"\"" : name);
        return;
    }
    memcpy(c->name, name, len);
    c->name[len] = '\0';
}

struct trust_check *trust_check_new(const struct mailhost *host, const struct anchors *a, int64_t now)
{
    struct trust_check *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->vtable = &check_class;
    c->host = host;
    c->now = now;
    buf_init(&c->der, CERT_MAX);
    buf_init(&c->leaf_der, CERT_MAX);
    buf_init(&c->names, CERT_MAX);
    choose_name(c);
    br_x509_minimal_init(&c->minimal, &br_sha256_vtable, a == NULL ? NULL : a->list,
                         a == NULL ? 0 : a->count);
    br_x509_minimal_set_hash(&c->minimal, br_sha256_ID, &br_sha256_vtable);
    br_x509_minimal_set_hash(&c->minimal, br_sha384_ID, &br_sha384_vtable);
    br_x509_minimal_set_hash(&c->minimal, br_sha512_ID, &br_sha512_vtable);
    c->curves = *br_ec_get_default();
    c->curves.supported_curves = (1u << BR_EC_secp256r1) | (1u << BR_EC_secp384r1);
    br_x509_minimal_set_rsa(&c->minimal, br_rsa_pkcs1_vrfy_get_default());
    br_x509_minimal_set_ecdsa(&c->minimal, &c->curves, br_ecdsa_vrfy_asn1_get_default());
    br_x509_minimal_set_minrsa(&c->minimal, RSA_BITS_MIN / 8);
    /* Days since year 0; without this BearSSL would ask the clock itself. */
    br_x509_minimal_set_time(&c->minimal, (uint32_t)(719528 + now / 86400), (uint32_t)(now % 86400));
    return c;
}

void trust_check_free(struct trust_check *c)
{
    if (c != NULL) {
        buf_free(&c->der);
        buf_free(&c->leaf_der);
        buf_free(&c->names);
        free(c);
    }
}

const br_x509_class **trust_check_class(struct trust_check *c)
{
    return &c->vtable;
}

const char *trust_check_name(const struct trust_check *c)
{
    return c->name[0] == '\0' ? NULL : c->name;
}

const char *trust_check_why(const struct trust_check *c)
{
    return c->why;
}

void trust_check_describe(const struct trust_check *c, struct buf *out)
{
    buf_str(out, "certificate for ");
    put_names(c, out);
    buf_str(out, ", issued by ");
    put_issuer(out, c->leaf.issuer);
    buf_fmt(out, ", %lld days left, pin ", (long long)((c->leaf.not_after - c->now) / 86400));
    put_pin(c, out);
}
