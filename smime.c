/*
 * S/MIME (RFC 8551) around a message while it is being written: everything
 * but what a mail host needs goes inside (RFC 9788).
 *
 *     From, To, Date, ... of the message; a subject that tells nothing
 *     application/pkcs7-mime                        base64 of CMS:
 *       multipart/signed                            (if it is signed)
 *         all header fields of the message, hp="cipher"
 *         its body                                  (what is signed)
 *         application/pkcs7-signature
 *
 * On its way a byte passes put_line_ends (LF becomes CRLF), the hash, the
 * cipher, and base64. Until the cipher runs, nothing is written but header
 * fields of a list.
 */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    HEAD_MAX = (1 << 20) + 4096, /* of mime.c's header block */
    SORTED_MAX = 4 * HEAD_MAX,   /* of the two that are made from it */
    BOUNDARY_RANDOM = 16,
    BOUNDARY_SIZE = 2 + 2 * BOUNDARY_RANDOM + 1,
};

struct smime {
    struct sink sink; /* the message, LF */
    struct smime_job job;
    struct sink *out;
    struct buf head; /* the message's header block as far as it has come */
    bool in_body;
    bool failed; /* sticky */
    bool hashing;
    br_hash_compat_context sha;
    struct cms_envelope envelope;
    struct encode_lines base64;
    char boundary[BOUNDARY_SIZE];
};

/* ---- canonical line ends, hash and cipher ---------------------------------------------------- */

static void put_run(struct smime *s, const void *bytes, size_t len)
{
    if (s->hashing) {
        hash_sha256.update(&s->sha.vtable, bytes, len);
    }
    s->failed = s->failed || !s->envelope.sink.put(&s->envelope.sink, bytes, len);
}

/* RFC 8551 §3.1.1: what is signed or encrypted has CRLF. */
static bool put_line_ends(struct smime *s, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0 && !s->failed) {
        const char *end = memchr(at, '\n', len);
        size_t n = end != NULL ? (size_t)(end - at) : len;
        put_run(s, at, n);
        if (end != NULL) {
            put_run(s, "\r\n", 2);
            n++;
        }
        at += n;
        len -= n;
    }
    return !s->failed;
}

static void put_text(struct smime *s, const char *text)
{
    put_line_ends(s, text, strlen(text));
}

/* ---- header fields --------------------------------------------------------------------------- */

struct header_field { /* one of a block, with its continuation lines and the last line end */
    const char *at;
    size_t len;
    size_t name; /* length */
};

/* Takes the next one off the block; false: there is none, or it is not one. */
static bool next_field(const char **at, size_t *left, struct header_field *f)
{
    size_t len = 0;
    do {
        const char *end = memchr(*at + len, '\n', *left - len);
        if (end == NULL) {
            return false;
        }
        len = (size_t)(end - *at) + 1;
    } while (len < *left && ((*at)[len] == ' ' || (*at)[len] == '\t'));
    const char *colon = memchr(*at, ':', len);
    if (colon == NULL || colon == *at) {
        return false;
    }
    *f = (struct header_field){*at, len, (size_t)(colon - *at)};
    *at += len;
    *left -= len;
    return true;
}

static bool is_named(const struct header_field *f, const char *name)
{
    return f->name == strlen(name) && strncasecmp(f->at, name, f->name) == 0;
}

/* What a mail host and a mailbox must see. It tells who wrote to whom and when and whether it looks like
 * spam, and nothing of a visitor: even the Received line, with his address, stays inside. */
static bool stays_outside(const struct header_field *f)
{
    static const char *const names[] = {
        "From",        "To",           "Date",          "Message-ID", "X-Formbridge-Form", "X-Formbridge-Ref",
        "X-Spam-Flag", "X-Spam-Score", "X-Spam-Reason",
    };
    for (size_t i = 0; i < COUNT(names); i++) {
        if (is_named(f, names[i])) {
            return true;
        }
    }
    return false;
}

/* RFC 9788 §2.2: inside, a copy of each field that stands outside, so that a change on the way shows. */
static void put_hp_outer(struct buf *out, const char *field, size_t len)
{
    struct buf text;
    buf_init(&text, HEAD_MAX);
    for (size_t i = 0; i < len; i++) {
        if (field[i] != '\n') { /* unfolded: its continuation begins with a space */
            buf_byte(&text, (unsigned char)field[i]);
        }
    }
    if (buf_text(&text) != NULL) {
        encode_header(out, "HP-Outer", buf_text(&text));
    } else {
        out->failed = true;
    }
    buf_free(&text);
}

static void put_outside(struct buf *outer, struct buf *hp_outer, const char *field, size_t len)
{
    buf_put(outer, field, len);
    put_hp_outer(hp_outer, field, len);
}

/* RFC 9788 §2.1. protected-headers is the name that mail programs used before there was that RFC. */
static void put_content_type(struct buf *inner, const struct header_field *f)
{
    buf_put(inner, f->at, f->len - 1);
    buf_str(inner, ";\n hp=\"cipher\"; protected-headers=\"v1\"\n");
}

/* Sorts the message's fields. inner ends with the empty line. */
static bool divide_head(const struct smime *s, struct buf *outer, struct buf *inner)
{
    const char *at = (const char *)s->head.data;
    size_t left = s->head.len - 1; /* without the empty line */
    unsigned types = 0;
    struct header_field f;
    struct buf copies;
    buf_init(&copies, SORTED_MAX);
    while (left > 0 && next_field(&at, &left, &f)) {
        if (is_named(&f, "Content-Type")) {
            types++;
            put_content_type(inner, &f);
            continue;
        }
        if (stays_outside(&f)) {
            put_outside(outer, &copies, f.at, f.len);
        }
        buf_put(inner, f.at, f.len);
    }
    size_t subject = outer->len;
    encode_header_text(outer, "Subject", s->job.subject);
    if (buf_ok(outer)) {
        put_hp_outer(&copies, (const char *)outer->data + subject, outer->len - subject);
    }
    buf_put(inner, copies.data, copies.len);
    buf_byte(inner, '\n');
    bool ok = left == 0 && types == 1 && buf_ok(&copies) && buf_ok(outer) && buf_ok(inner);
    buf_free(&copies);
    return ok;
}

/* ---- the parts ------------------------------------------------------------------------------- */

/* RFC 8551 §3.2.2 names the kinds of CMS. */
static bool put_outer_head(struct smime *s, struct buf *outer)
{
    bool gcm = s->job.profile == CMS_MODERN;
    encode_header(outer, "MIME-Version", "1.0");
    buf_fmt(outer,
            "Content-Type: application/pkcs7-mime;\n smime-type=%s; name=\"smime.p7m\"\n"
            "Content-Transfer-Encoding: base64\n"
            "Content-Disposition: attachment; filename=\"smime.p7m\"\n\n",
            gcm ? "authEnveloped-data" : "enveloped-data");
    return buf_ok(outer) && s->out->put(s->out, outer->data, outer->len);
}

static void make_boundary(char boundary[BOUNDARY_SIZE], const br_prng_class **rng)
{
    unsigned char random[BOUNDARY_RANDOM];
    (*rng)->generate(rng, random, sizeof random);
    struct buf b;
    buf_borrow(&b, boundary, BOUNDARY_SIZE);
    buf_str(&b, "=_"); /* not in base64 or quoted-printable, RFC 2045 §6.7 */
    for (size_t i = 0; i < sizeof random; i++) {
        static const char hex[] = "0123456789abcdef";
        buf_byte(&b, (unsigned char)hex[random[i] >> 4]);
        buf_byte(&b, (unsigned char)hex[random[i] & 15]);
    }
    buf_text(&b);
}

/* RFC 8551 §3.5.3. */
static void begin_signed(struct smime *s)
{
    make_boundary(s->boundary, s->job.rng);
    put_text(s, "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\";\n"
                " micalg=sha-256; boundary=\"");
    put_text(s, s->boundary);
    put_text(s, "\"\n\n--");
    put_text(s, s->boundary);
    put_text(s, "\n");
    hash_sha256.init(&s->sha.vtable);
    s->hashing = true;
}

struct inside { /* what is still to be encrypted, as a sink */
    struct sink sink;
    struct smime *smime;
};

static bool inside_put(struct sink *sink, const void *bytes, size_t len)
{
    return put_line_ends(((struct inside *)sink)->smime, bytes, len);
}

/* The line end before the boundary belongs to the boundary and is not signed (RFC 2046 §5.1.1). */
static void end_signed(struct smime *s)
{
    unsigned char digest[br_sha256_SIZE];
    struct buf signature;
    struct inside inside = {.sink = {inside_put}, .smime = s};
    s->hashing = false;
    hash_sha256.out(&s->sha.vtable, digest);
    put_text(s, "\n--");
    put_text(s, s->boundary);
    put_text(s, "\nContent-Type: application/pkcs7-signature; name=\"smime.p7s\"\n"
                "Content-Transfer-Encoding: base64\n"
                "Content-Disposition: attachment; filename=\"smime.p7s\"\n\n");
    buf_init(&signature, PEM_FILE_MAX);
    s->failed = s->failed || !cms_sign(s->job.signer, digest, s->job.time, &signature) ||
                !encode_base64(&inside.sink, signature.data, signature.len);
    buf_free(&signature);
    put_text(s, "\n--");
    put_text(s, s->boundary);
    put_text(s, "--\n");
}

/* The message's header block is complete. */
static bool begin_body(struct smime *s)
{
    struct buf outer, inner;
    buf_init(&outer, SORTED_MAX);
    buf_init(&inner, SORTED_MAX);
    bool ok = divide_head(s, &outer, &inner) && put_outer_head(s, &outer) &&
              cms_envelope_begin(&s->envelope, s->job.profile, &s->job.to, s->job.rng, &s->base64.sink);
    s->failed = !ok;
    if (ok && s->job.signer != NULL) {
        begin_signed(s);
    }
    if (ok) {
        put_line_ends(s, inner.data, inner.len);
    }
    buf_free(&outer);
    buf_free(&inner);
    buf_free(&s->head);
    s->in_body = true;
    return !s->failed;
}

/* Collects as much of the header block as bytes hold; returns how much that was. */
static size_t take_head(struct smime *s, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool line_begins = s->head.len > 0 && s->head.data[s->head.len - 1] == '\n';
        buf_byte(&s->head, (unsigned char)bytes[i]);
        if (!buf_ok(&s->head)) {
            s->failed = true;
            return len;
        }
        if (line_begins && bytes[i] == '\n') {
            begin_body(s);
            return i + 1;
        }
    }
    return len;
}

static bool smime_put(struct sink *sink, const void *bytes, size_t len)
{
    struct smime *s = (struct smime *)sink;
    const char *at = bytes;
    if (!s->in_body && !s->failed) {
        size_t n = take_head(s, at, len);
        at += n;
        len -= n;
    }
    return !s->failed && put_line_ends(s, at, len);
}

/* ---- the whole ------------------------------------------------------------------------------- */

struct smime *smime_new(const struct smime_job *job, struct sink *out)
{
    struct smime *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->sink.put = smime_put;
    s->job = *job;
    s->out = out;
    encode_lines_begin(&s->base64, out);
    buf_init(&s->head, HEAD_MAX);
    return s;
}

struct sink *smime_sink(struct smime *s)
{
    return &s->sink;
}

bool smime_end(struct smime *s)
{
    if (s->in_body && !s->failed && s->job.signer != NULL) {
        end_signed(s);
    }
    if (!s->in_body || s->failed) {
        s->failed = true;
        return false;
    }
    s->failed = !cms_envelope_end(&s->envelope) || !encode_lines_end(&s->base64);
    return !s->failed;
}

void smime_free(struct smime *s)
{
    if (s != NULL) {
        buf_free(&s->head);
        explicit_bzero(s, sizeof *s);
        free(s);
    }
}
