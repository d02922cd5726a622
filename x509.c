/*
 * Certificates and private keys: from PEM files into what BearSSL takes.
 *
 * Keys are read with der.c and not with br_skey_decoder, which in BearSSL
 * 0.6 writes past its buffer when the numbers of a key are too long.
 */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define OID_NAME_CONSTRAINTS "2.5.29.30"
#define OID_ANY_USAGE        "2.5.29.37.0"

enum {
    MAX_CERTS = 16, /* in one chain */
};

/* ---- public and private keys ----------------------------------------------------------------- */

static unsigned bit_length(struct der n)
{
    if (n.len == 0) {
        return 0;
    }
    unsigned bits = (unsigned)n.len * 8;
    for (unsigned top = n.at[0]; top < 0x80; top <<= 1) {
        bits--;
    }
    return bits;
}

static bool is_odd(struct der n)
{
    return n.len > 0 && (n.at[n.len - 1] & 1) != 0;
}

/* BearSSL's key structures are not const; nothing is written through them. */
static unsigned char *bytes_of(struct der d)
{
    return (unsigned char *)(uintptr_t)d.at;
}

/* The OID of a curve, stepped over; 0: another one. */
static int read_curve(struct der *d)
{
    struct der oid = der_next(d, DER_OID);
    return der_oid_is(&oid, OID_P256) ? BR_EC_secp256r1 : der_oid_is(&oid, OID_P384) ? BR_EC_secp384r1 : 0;
}

static size_t curve_bytes(int curve)
{
    return curve == BR_EC_secp384r1 ? 48 : 32;
}

static bool read_rsa_public(struct cert *c, struct der bits)
{
    struct der numbers = der_next(&bits, DER_SEQUENCE);
    struct der n = der_unsigned(&numbers), e = der_unsigned(&numbers);
    if (!der_done(&numbers) || !der_done(&bits)) {
        return false;
    }
    c->key.key_type = BR_KEYTYPE_RSA;
    if (e.len == 0 || (e.at[e.len - 1] & 1) == 0 || (e.len == 1 && e.at[0] < 3)) {
        return false; /* with 1 the "encryption" of anything is the thing itself */
    }
    c->key.key.rsa = (br_rsa_public_key){bytes_of(n), n.len, bytes_of(e), e.len};
    c->key_bits = bit_length(n);
    return true;
}

/* RFC 5480 §2.2: an uncompressed point; the compressed form is optional there and unknown to BearSSL. */
static void read_ec_public(struct cert *c, int curve, struct der point)
{
    if (curve != 0 && point.len == 1 + 2 * curve_bytes(curve) && point.at[0] == 0x04) {
        c->key.key_type = BR_KEYTYPE_EC;
        c->key.key.ec = (br_ec_public_key){curve, bytes_of(point), point.len};
        c->key_bits = (unsigned)curve_bytes(curve) * 8;
    }
}

/* RFC 5280 §4.1.2.7. A key of a kind we do not use leaves key_type 0. */
static bool read_spki(struct cert *c)
{
    struct der whole = c->spki;
    struct der spki = der_next(&whole, DER_SEQUENCE);
    struct der algorithm = der_next(&spki, DER_SEQUENCE);
    struct der bits = der_bits(&spki);
    struct der oid = der_next(&algorithm, DER_OID);
    if (!der_done(&spki) || oid.failed) {
        return false;
    }
    if (der_oid_is(&oid, OID_RSA)) {
        return read_rsa_public(c, bits);
    }
    if (der_oid_is(&oid, OID_EC)) {
        read_ec_public(c, read_curve(&algorithm), bits);
    }
    return true;
}

static const char bad_rsa[] = "RSA keys must have 2048 to 4096 bits: make a new one, best on the curve P-256";
static const char bad_curve[] =
    "the key must be on the curve P-256 or P-384, by name: make a new one on P-256";
static const char bad_kind[] = "the key must be RSA or on the curve P-256 or P-384: make a new one on P-256";
static const char bad_key[] = "the private key is damaged: its numbers do not make a key";

/* RFC 8017 A.1.2. What BearSSL relies on is checked: the sizes of all numbers against those of the primes. */
static const char *read_rsa_private(struct key *k, struct der d)
{
    struct der seq = der_next(&d, DER_SEQUENCE);
    unsigned version = der_small(&seq);
    struct der n = der_unsigned(&seq), e = der_unsigned(&seq), private = der_unsigned(&seq);
    struct der p = der_unsigned(&seq), q = der_unsigned(&seq);
    struct der dp = der_unsigned(&seq), dq = der_unsigned(&seq), iq = der_unsigned(&seq);
    if (!der_done(&seq) || !der_done(&d) || version != 0 || e.len == 0 || private.len == 0) {
        return bad_key;
    }
    unsigned bits = bit_length(n), factors = bit_length(p) + bit_length(q);
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX) {
        return bad_rsa;
    }
    if (!is_odd(p) || !is_odd(q) || (factors != bits && factors != bits + 1) || dp.len > p.len ||
        dq.len > q.len || iq.len > p.len) {
        return bad_key;
    }
    k->type = BR_KEYTYPE_RSA;
    k->rsa_public = (br_rsa_public_key){bytes_of(n), n.len, bytes_of(e), e.len};
    k->rsa = (br_rsa_private_key){
        .n_bitlen = bits,
        .p = bytes_of(p),
        .plen = p.len,
        .q = bytes_of(q),
        .qlen = q.len,
        .dp = bytes_of(dp),
        .dplen = dp.len,
        .dq = bytes_of(dq),
        .dqlen = dq.len,
        .iq = bytes_of(iq),
        .iqlen = iq.len,
    };
    return NULL;
}

/* RFC 5915 §3. curve: from the PKCS #8 around it, or 0 if there is none. */
static const char *read_ec_private(struct key *k, struct der d, int curve)
{
    struct der seq = der_next(&d, DER_SEQUENCE);
    unsigned version = der_small(&seq);
    struct der x = der_next(&seq, DER_OCTET_STRING);
    if (der_is(&seq, DER_CONTEXT_CONSTRUCTED + 0)) {
        struct der parameters = der_next(&seq, DER_CONTEXT_CONSTRUCTED + 0);
        int inner = read_curve(&parameters);
        if (inner == 0 || (curve != 0 && inner != curve)) {
            return bad_curve;
        }
        curve = inner;
    }
    if (der_is(&seq, DER_CONTEXT_CONSTRUCTED + 1)) {
        der_next(&seq, DER_CONTEXT_CONSTRUCTED + 1); /* the public half: the certificate has it too */
    }
    if (!der_done(&seq) || !der_done(&d) || version != 1) {
        return bad_key;
    }
    if (curve == 0) {
        return bad_curve;
    }
    if (x.len == 0 || x.len > curve_bytes(curve)) {
        return bad_key;
    }
    k->type = BR_KEYTYPE_EC;
    k->ec = (br_ec_private_key){curve, bytes_of(x), x.len};
    return NULL;
}

/* PKCS #8, RFC 5958 §2. Attributes and the public half may follow and are of no use here. */
static const char *read_pkcs8(struct key *k, struct der d)
{
    struct der seq = der_next(&d, DER_SEQUENCE);
    unsigned version = der_small(&seq);
    struct der algorithm = der_next(&seq, DER_SEQUENCE);
    struct der oid = der_next(&algorithm, DER_OID);
    struct der inner = der_next(&seq, DER_OCTET_STRING);
    if (inner.failed || oid.failed || version > 1 || !der_done(&d)) {
        return bad_key;
    }
    if (der_oid_is(&oid, OID_RSA)) {
        return read_rsa_private(k, inner);
    }
    if (der_oid_is(&oid, OID_EC)) {
        int curve = read_curve(&algorithm);
        return curve == 0 ? bad_curve : read_ec_private(k, inner, curve);
    }
    return bad_kind;
}

static const char *read_key(struct key *k, const struct pem_block *b, struct der d)
{
    return pem_is(b, "RSA PRIVATE KEY")  ? read_rsa_private(k, d)
           : pem_is(b, "EC PRIVATE KEY") ? read_ec_private(k, d, 0)
           : pem_is(b, "PRIVATE KEY")    ? read_pkcs8(k, d)
                                         : bad_kind;
}

static bool pick_key(struct key *k, const struct pem *p)
{
    size_t found = p->count;
    for (size_t i = 0; i < p->count; i++) {
        if (pem_is_key(&p->blocks[i])) {
            if (found < p->count) {
                return pem_complain(p->source,
                                    "has more than one private key: leave the one of the certificate");
            }
            found = i;
        }
    }
    if (found == p->count) {
        return pem_without(p, "private key");
    }
    const char *wrong = read_key(k, &p->blocks[found], pem_der(p, found));
    return wrong == NULL || pem_complain(p->source, "%s", wrong);
}

/* Takes the content of p over: the key points into it. */
static bool key_from_pem(struct key *k, struct pem *p)
{
    bool ok = pick_key(k, p);
    if (ok) {
        k->memory = p->der;
        buf_init(&p->der, 0);
    } else {
        *k = (struct key){0};
    }
    pem_free(p);
    return ok;
}

bool x509_key_parse(struct key *k, const char *path, const void *bytes, size_t len, char *why,
                    size_t why_size)
{
    struct pem_source source = {path, why, why_size};
    struct pem p;
    *k = (struct key){0};
    return pem_parse(&p, &source, bytes, len) && key_from_pem(k, &p);
}

bool x509_key_load(struct key *k, const char *path, char *why, size_t why_size)
{
    struct pem_source source = {path, why, why_size};
    struct pem p;
    *k = (struct key){0};
    return pem_load(&p, &source, true) && key_from_pem(k, &p);
}

void x509_key_free(struct key *k)
{
    buf_free(&k->memory);
    explicit_bzero(k, sizeof *k);
}

/* ---- certificates ---------------------------------------------------------------------------- */

/* RFC 5280 §4.1.1.2: what kind of key made the signature, and what speaks against it. */
static void read_algorithm(struct cert *c, struct der algorithm)
{
    static const struct {
        const char *oid;
        int key_type;
        const char *fault;
    } known[] = {
        {OID_SHA256_RSA, BR_KEYTYPE_RSA, NULL},
        {"1.2.840.113549.1.1.12", BR_KEYTYPE_RSA, NULL}, /* SHA-384 */
        {"1.2.840.113549.1.1.13", BR_KEYTYPE_RSA, NULL}, /* SHA-512 */
        {"1.2.840.113549.1.1.10", BR_KEYTYPE_RSA, "RSA-PSS, which is not supported"},
        {OID_ECDSA_SHA256, BR_KEYTYPE_EC, NULL},
        {"1.2.840.10045.4.3.3", BR_KEYTYPE_EC, NULL}, /* SHA-384 */
        {"1.2.840.10045.4.3.4", BR_KEYTYPE_EC, NULL}, /* SHA-512 */
        {"1.2.840.113549.1.1.4", 0, "MD5, which is broken"},
        {"1.2.840.113549.1.1.5", 0, "SHA-1, which is broken"},
        {"1.2.840.10045.4.1", 0, "SHA-1, which is broken"},
        {"1.3.101.112", 0, "Ed25519, which is not supported"},
        {"1.3.101.113", 0, "Ed448, which is not supported"},
    };
    struct der oid = der_next(&algorithm, DER_OID);
    for (size_t i = 0; i < COUNT(known); i++) {
        if (der_oid_is(&oid, known[i].oid)) {
            c->issuer_key_type = known[i].key_type;
            c->bad_signature = known[i].fault;
        }
    }
}

/* RFC 5280 §4.2.1.3: a BIT STRING whose first bit is the highest. Bits that are left out are 0. */
static void read_usage(struct cert *c, struct der value)
{
    struct der bits = der_next(&value, DER_BIT_STRING);
    c->usage = bits.len < 2 ? 0 : (unsigned)bits.at[1] << 8 | (bits.len > 2 ? bits.at[2] : 0);
}

/* §4.2.1.12. A damaged list allows nothing. */
static void read_purposes(struct cert *c, struct der value)
{
    struct der list = der_next(&value, DER_SEQUENCE);
    bool any = false, servers = false, mail = false;
    while (!list.failed && list.len > 0) {
        struct der oid = der_next(&list, DER_OID);
        any = any || der_oid_is(&oid, OID_ANY_USAGE);
        servers = servers || der_oid_is(&oid, OID_SERVER_AUTH);
        mail = mail || der_oid_is(&oid, OID_EMAIL_USAGE);
    }
    c->for_servers = der_done(&list) && (any || servers);
    c->for_mail = der_done(&list) && (any || mail);
}

static bool read_extension(struct cert *c, struct der *list)
{
    struct der extension = der_next(list, DER_SEQUENCE);
    struct der oid = der_next(&extension, DER_OID);
    if (der_is(&extension, DER_BOOLEAN)) { /* critical */
        der_boolean(&extension);
    }
    struct der value = der_next(&extension, DER_OCTET_STRING);
    if (oid.failed || !der_done(&extension)) {
        return false;
    }
    if (der_oid_is(&oid, OID_SUBJECT_NAMES)) {
        c->names = der_next(&value, DER_SEQUENCE);
        return der_done(&value);
    }
    if (der_oid_is(&oid, OID_BASIC_CONSTRAINTS)) {
        struct der constraints = der_next(&value, DER_SEQUENCE);
        c->ca = der_is(&constraints, DER_BOOLEAN) && der_boolean(&constraints);
    } else if (der_oid_is(&oid, OID_NAME_CONSTRAINTS)) {
        c->constraints = true;
    } else if (der_oid_is(&oid, OID_KEY_USAGE)) {
        read_usage(c, value);
    } else if (der_oid_is(&oid, OID_EXT_KEY_USAGE)) {
        read_purposes(c, value);
    }
    return true;
}

static bool read_extensions(struct cert *c, struct der wrapped)
{
    struct der list = der_next(&wrapped, DER_SEQUENCE);
    while (!list.failed && list.len > 0) {
        if (!read_extension(c, &list)) {
            return false;
        }
    }
    return der_done(&list) && der_done(&wrapped);
}

static bool read_validity(struct cert *c, struct der *tbs)
{
    struct der validity = der_next(tbs, DER_SEQUENCE);
    c->not_before = der_time(&validity);
    c->not_after = der_time(&validity);
    return der_done(&validity);
}

/* One of the optional elements at the end of a TBSCertificate. */
static struct der optional(struct der *d, unsigned tag)
{
    return der_is(d, tag) ? der_next(d, tag) : der_read(NULL, 0);
}

static bool read_tbs(struct cert *c, struct der tbs)
{
    optional(&tbs, DER_CONTEXT_CONSTRUCTED + 0); /* version */
    c->serial = der_is(&tbs, DER_INTEGER) ? der_whole(&tbs) : der_next(&tbs, DER_INTEGER);
    der_next(&tbs, DER_SEQUENCE); /* the signature algorithm, once more */
    c->issuer = der_whole(&tbs);
    if (!read_validity(c, &tbs)) {
        return false;
    }
    c->subject = der_whole(&tbs);
    c->spki = der_whole(&tbs);
    optional(&tbs, DER_CONTEXT + 1); /* unique identifiers */
    optional(&tbs, DER_CONTEXT + 2);
    struct der extensions = optional(&tbs, DER_CONTEXT_CONSTRUCTED + 3);
    return der_done(&tbs) && read_spki(c) && (extensions.at == NULL || read_extensions(c, extensions));
}

bool x509_read(struct cert *c, const void *bytes, size_t len)
{
    *c = (struct cert){.usage = ~0U, .for_servers = true, .for_mail = true};
    struct der whole = der_read(bytes, len);
    struct der cert = der_next(&whole, DER_SEQUENCE);
    struct der tbs = der_next(&cert, DER_SEQUENCE);
    struct der algorithm = der_next(&cert, DER_SEQUENCE);
    der_bits(&cert);
    read_algorithm(c, algorithm);
    return der_done(&cert) && der_done(&whole) && read_tbs(c, tbs);
}

/* ---- chains ---------------------------------------------------------------------------------- */

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
}

bool x509_is_name(const char *name, size_t len)
{
    if (len > 2 && name[0] == '*' && name[1] == '.') {
        name += 2;
        len -= 2;
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_name_char(name[i])) {
            return false;
        }
    }
    return len > 0 && len <= HOST_NAME_MAX_;
}

/* Could it be a host's? Some issuers put a wildcard elsewhere. */
static bool is_host_like(struct der name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (!is_name_char((char)name.at[i]) && name.at[i] != '*') {
            return false;
        }
    }
    return name.len > 0 && name.len <= HOST_NAME_MAX_;
}

bool x509_list_names(struct der names, struct buf *out)
{
    while (!names.failed && names.len > 0) {
        if (!der_is(&names, GENERAL_NAME_DNS)) {
            der_whole(&names);
            continue;
        }
        struct der name = der_next(&names, GENERAL_NAME_DNS);
        if (is_host_like(name)) {
            buf_put(out, name.at, name.len);
            buf_byte(out, '\n');
        }
    }
    return !names.failed && buf_ok(out);
}

static bool same(struct der a, struct der b)
{
    return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

/* Which certificate of the others issued number i, if not the one behind it? count: none. */
static size_t misplaced_issuer(const struct cert *certs, size_t count, size_t i)
{
    struct der issuer = certs[i].issuer;
    if (same(issuer, certs[i].subject) || (i + 1 < count && same(issuer, certs[i + 1].subject))) {
        return count;
    }
    size_t j = 0;
    while (j < count && !same(issuer, certs[j].subject)) {
        j++;
    }
    return j;
}

/* RFC 5246 §7.4.2: each certifies the one before. A missing link is for the client to find; one that is
 * there, but elsewhere, is a mistake of whoever joined the files. */
static bool check_order(const struct pem_source *source, const struct cert *certs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t j = misplaced_issuer(certs, count, i);
        if (j < count) {
            return pem_complain(
                source,
                "certificate %zu was issued by number %zu, which must follow it: put the host's own "
                "certificate first, then each one's issuer",
                i + 1, j + 1);
        }
    }
    return true;
}

static bool take_leaf(struct chain *c, const struct pem_source *source, const struct cert *leaf)
{
    c->key_type = leaf->key.key_type;
    c->key_bits = leaf->key_bits;
    c->issuer_key_type = leaf->issuer_key_type;
    c->not_before = leaf->not_before;
    c->not_after = leaf->not_after;
    hash_digest(leaf->spki.at, leaf->spki.len, c->spki_sha256);
    if (c->key_type == 0) {
        return pem_complain(source, "%s", bad_kind);
    }
    if (c->key_type == BR_KEYTYPE_RSA && (c->key_bits < RSA_BITS_MIN || c->key_bits > RSA_BITS_MAX)) {
        return pem_complain(source, "%s", bad_rsa);
    }
    return x509_list_names(leaf->names, &c->names) ||
           pem_complain(source, "the names in the first certificate are damaged");
}

/* Fills c->certs with what points into p, and reads it. */
static bool pick_certs(struct chain *c, const struct pem *p)
{
    struct cert certs[MAX_CERTS];
    c->count = 0;
    for (size_t i = 0; i < p->count; i++) {
        if (pem_is_key(&p->blocks[i])) { /* the role that shows the certificate must not even see a key */
            return pem_complain(p->source, "holds a private key: move it to a file of its own");
        }
        if (!pem_is_cert(&p->blocks[i])) {
            continue;
        }
        if (c->count == MAX_CERTS) {
            return pem_complain(p->source, "has more than %d certificates, too many for one chain",
                                MAX_CERTS);
        }
        struct der d = pem_der(p, i);
        if (!x509_read(&certs[c->count], d.at, d.len)) {
            return pem_complain(p->source, "certificate %zu is damaged: not X.509 in DER", c->count + 1);
        }
        c->certs[c->count++] = (br_x509_certificate){bytes_of(d), d.len};
    }
    if (c->count == 0) {
        return pem_without(p, "certificate");
    }
    return check_order(p->source, certs, c->count) && take_leaf(c, p->source, &certs[0]);
}

/* Takes the content of p over: the chain points into it. */
static bool chain_from_pem(struct chain *c, struct pem *p)
{
    buf_init(&c->names, PEM_FILE_MAX);
    c->certs = calloc(MAX_CERTS, sizeof *c->certs);
    bool ok = c->certs != NULL ? pick_certs(c, p) : pem_complain(p->source, "there is no memory for it");
    if (ok) {
        c->memory = p->der;
        buf_init(&p->der, 0);
    } else {
        x509_chain_free(c);
    }
    pem_free(p);
    return ok;
}

bool x509_chain_parse(struct chain *c, const char *path, const void *bytes, size_t len, char *why,
                      size_t why_size)
{
    struct pem_source source = {path, why, why_size};
    struct pem p;
    *c = (struct chain){0};
    return pem_parse(&p, &source, bytes, len) && chain_from_pem(c, &p);
}

bool x509_chain_load(struct chain *c, const char *path, char *why, size_t why_size)
{
    struct pem_source source = {path, why, why_size};
    struct pem p;
    *c = (struct chain){0};
    return pem_load(&p, &source, false) && chain_from_pem(c, &p);
}

void x509_chain_free(struct chain *c)
{
    free(c->certs);
    buf_free(&c->names);
    buf_free(&c->memory);
    *c = (struct chain){0};
}

/* ---- which key, which host ------------------------------------------------------------------- */

/* rsa_sign() verifies with the public half in the file of the private key: it must be that of the certificate. What is
 * signed does not matter. */
static bool match_rsa(const br_rsa_public_key *public, const struct key *k, const unsigned char hash[32])
{
    unsigned char signature[SIGNATURE_MAX];
    const br_rsa_public_key *own = &k->rsa_public;
    return public->nlen == own->nlen && memcmp(public->n, own->n, own->nlen) == 0 &&
           public->elen == own->elen && memcmp(public->e, own->e, own->elen) == 0 &&
           rsa_sign(BR_HASH_OID_SHA256, hash, 32, own, &k->rsa, signature) > 0;
}

static bool match_ec(const br_ec_public_key *public, const br_ec_private_key *private)
{
    br_ec_public_key own;
    unsigned char memory[BR_EC_KBUF_PUB_MAX_SIZE];
    size_t len = br_ec_compute_pub(br_ec_get_default(), &own, memory, private);
    return len > 0 && public->curve == own.curve && public->qlen == len && memcmp(public->q, own.q, len) == 0;
}

bool x509_match(const struct chain *c, const struct key *k)
{
    struct cert leaf;
    if (k->type != c->key_type || c->count == 0 ||
        !x509_read(&leaf, c->certs[0].data, c->certs[0].data_len)) {
        return false;
    }
    return k->type == BR_KEYTYPE_RSA ? match_rsa(&leaf.key.key.rsa, k, c->spki_sha256)
                                     : match_ec(&leaf.key.key.ec, &k->ec);
}

/* RFC 6125 §6.4.3. "*.org" names nobody: two labels must follow the wildcard. */
static bool name_matches(const char *name, size_t name_len, const char *host, size_t host_len)
{
    if (name_len > 2 && name[0] == '*') {
        const char *dot = memchr(host, '.', host_len);
        if (dot == NULL || dot == host || memchr(name + 2, '.', name_len - 2) == NULL) {
            return false;
        }
        host_len -= (size_t)(dot - host);
        host = dot;
        name++;
        name_len--;
    }
    return name_len == host_len && strncasecmp(name, host, name_len) == 0;
}

bool x509_names_host(const struct chain *c, const char *host)
{
    size_t host_len = strlen(host);
    if (host_len > 0 && host[host_len - 1] == '.') { /* an absolute name is the same name */
        host_len--;
    }
    const char *name = (const char *)c->names.data;
    for (size_t left = c->names.len; left > 0 && host_len > 0;) {
        size_t len = (size_t)((const char *)memchr(name, '\n', left) - name);
        if (name_matches(name, len, host, host_len)) {
            return true;
        }
        name += len + 1;
        left -= len + 1;
    }
    return false;
}
