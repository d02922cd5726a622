/* A shorter way through BearSSL's handling of a ClientHello.
 *
 * BearSSL 0.6 reads it byte by byte in interpreted code: a list of thirty suites, one of twenty signature algorithms, and
 * the kilobyte of what is for TLS 1.3 cost as much as a key exchange. So it gets a ClientHello in which only that stands
 * which it would look at and can make use of (RFC 5246 §7.4.1.2, RFC 8446 §4.2). What the client really sent is what
 * goes into the hash of the handshake, which both sides compare at its end (RFC 5246 §7.4.9): BearSSL's code reads the
 * shorter message but for its last byte and waits for more, the hash is set to that of the real one as far as its last
 * byte, and this, which both end with, is then read.
 *
 * Before that last byte there is another thing to be saved. BearSSL has a list of the suites in common, of 48 places,
 * and looks each place up in a table of 45 suites. An empty place is looked for to the table's end, and nearly all are
 * empty: so these get the suite that stands first in the table. It is never chosen: it was in no list of tls_profile(),
 * and the policy takes ECDHE only.
 *
 * A message that is not as it should be, or comes in pieces, is left for BearSSL to judge as it is. */

#include "bridge.h"

#include <stddef.h>
#include <string.h>

enum {
    HANDSHAKE = 22, /* RFC 5246 §6.2.1 */
    CLIENT_HELLO = 1,
    TRIMMED_MAX = 1024,
    FIRST = BR_TLS_RSA_WITH_3DES_EDE_CBC_SHA, /* in the table of BearSSL 0.6 */
    RENEGOTIATION_SCSV = 0x00FF,              /* RFC 5746 §3.3 */
    FALLBACK_SCSV = 0x5600,                   /* RFC 7507 */
};

enum { /* the extensions that BearSSL reads */
       SERVER_NAME = 0,
       MAX_FRAGMENT_LENGTH = 1,
       SUPPORTED_GROUPS = 10,
       SIGNATURE_ALGORITHMS = 13,
       APPLICATION_PROTOCOLS = 16,
       RENEGOTIATION_INFO = 0xFF01,
};

/* ---- reading and writing --------------------------------------------------------------------- */

struct piece { /* of a message, and what is not read of it yet */
    const unsigned char *at;
    size_t left;
    bool cut; /* sticky: more was asked for than there is */
};

static struct piece take(struct piece *from, size_t len)
{
    if (len > from->left) {
        from->cut = true;
        len = from->left;
    }
    const struct piece taken = {.at = from->at, .left = len, .cut = from->cut};
    from->at += len;
    from->left -= len;
    return taken;
}

/* Of so many bytes, the most significant first. */
static unsigned take_number(struct piece *from, size_t bytes)
{
    const struct piece p = take(from, bytes);
    unsigned n = 0;
    for (size_t i = 0; i < p.left; i++) {
        n = n << 8 | p.at[i];
    }
    return n;
}

/* What stands behind its length, a number of so many bytes. */
static struct piece take_vector(struct piece *from, size_t bytes)
{
    return take(from, take_number(from, bytes));
}

static void put_16(struct buf *out, unsigned n)
{
    buf_byte(out, (unsigned char)(n >> 8));
    buf_byte(out, (unsigned char)n);
}

/* The length of what is put until close_vector() is told where it began. */
static size_t open_vector(struct buf *out)
{
    put_16(out, 0);
    return out->len;
}

static void close_vector(struct buf *out, size_t begun)
{
    if (buf_ok(out)) {
        size_t len = out->len - begun;
        out->data[begun - 2] = (unsigned char)(len >> 8);
        out->data[begun - 1] = (unsigned char)len;
    }
}

/* ---- what is of use -------------------------------------------------------------------------- */

static bool is_of_use_suite(const struct hello_offer *o, unsigned suite)
{
    bool found = suite == RENEGOTIATION_SCSV || suite == FALLBACK_SCSV;
    for (size_t i = 0; i < o->suite_count && !found; i++) {
        found = o->suites[i] == suite;
    }
    return found;
}

static bool is_of_use_group(const struct hello_offer *o, unsigned group)
{
    return group < 32 && (o->curves >> group & 1) != 0;
}

/* A hash and an algorithm to sign with, RSA or ECDSA (RFC 5246 §7.4.1.4.1). */
static bool is_of_use_signature(const struct hello_offer *o, unsigned pair)
{
    unsigned hash = pair >> 8, algorithm = pair & 0xFF;
    return hash < 32 && (o->hashes >> hash & 1) != 0 && (algorithm == 1 || algorithm == 3);
}

/* The numbers of a list that are. false: it is none. */
static bool put_list(struct buf *out, struct piece list, const struct hello_offer *o,
                     bool (*is_of_use)(const struct hello_offer *, unsigned))
{
    size_t begun = open_vector(out);
    while (list.left > 0 && !list.cut) {
        unsigned n = take_number(&list, 2);
        if (is_of_use(o, n)) {
            put_16(out, n);
        }
    }
    close_vector(out, begun);
    return !list.cut;
}

/* ---- extensions ------------------------------------------------------------------------------ */

static bool is_read(unsigned type)
{
    return type == SERVER_NAME || type == MAX_FRAGMENT_LENGTH || type == SUPPORTED_GROUPS ||
           type == SIGNATURE_ALGORITHMS || type == APPLICATION_PROTOCOLS || type == RENEGOTIATION_INFO;
}

static void put_extension(struct buf *out, unsigned type, struct piece data)
{
    put_16(out, type);
    put_16(out, (unsigned)data.left);
    buf_put(out, data.at, data.left);
}

/* false: it is not as it should be. */
static bool put_filtered(struct buf *out, unsigned type, struct piece data, const struct hello_offer *o)
{
    put_16(out, type);
    size_t begun = open_vector(out);
    struct piece list = take_vector(&data, 2);
    bool ok = put_list(out, list, o, type == SUPPORTED_GROUPS ? is_of_use_group : is_of_use_signature);
    close_vector(out, begun);
    return ok && !data.cut && data.left == 0;
}

/* The message must end with the same byte: one that is not read keeps that byte, if it has any, and one that is read
 * stays whole. */
static void put_last(struct buf *out, unsigned type, struct piece data)
{
    if (!is_read(type) && data.left > 1) {
        data.at += data.left - 1;
        data.left = 1;
    }
    put_extension(out, type, data);
}

static bool put_extensions(struct buf *out, struct piece all, const struct hello_offer *o)
{
    bool ok = all.left > 0;
    size_t begun = open_vector(out);
    while (ok && all.left > 0) {
        unsigned type = take_number(&all, 2);
        struct piece data = take_vector(&all, 2);
        if (all.cut) {
            ok = false;
        } else if (all.left == 0) {
            put_last(out, type, data);
        } else if (type == SUPPORTED_GROUPS || type == SIGNATURE_ALGORITHMS) {
            ok = put_filtered(out, type, data, o);
        } else if (is_read(type)) {
            put_extension(out, type, data);
        }
    }
    close_vector(out, begun);
    return ok;
}

/* ---- the message ----------------------------------------------------------------------------- */

size_t hello_trim(unsigned char *message, size_t len, const struct hello_offer *o)
{
    unsigned char bytes[TRIMMED_MAX];
    struct buf out;
    buf_borrow(&out, bytes, sizeof bytes);
    struct piece all = {.at = message, .left = len};
    unsigned type = take_number(&all, 1);
    struct piece body = take_vector(&all, 3);
    if (type != CLIENT_HELLO || all.cut || all.left > 0) {
        return 0;
    }
    take(&body, 2 + 32);   /* version, random */
    take_vector(&body, 1); /* session */
    buf_put(&out, message, (size_t)(body.at - message));
    bool ok = put_list(&out, take_vector(&body, 2), o, is_of_use_suite);
    const unsigned char *front = body.at;
    take_vector(&body, 1); /* compression methods */
    buf_put(&out, front, (size_t)(body.at - front));
    ok = ok && put_extensions(&out, take_vector(&body, 2), o);
    if (!ok || body.cut || body.left > 0 || !buf_ok(&out)) {
        return 0;
    }
    bytes[1] = 0;
    bytes[2] = (unsigned char)((out.len - 4) >> 8);
    bytes[3] = (unsigned char)(out.len - 4);
    memcpy(message, bytes, out.len);
    return out.len;
}

/* ---- in BearSSL's server --------------------------------------------------------------------- */

void br_ssl_hs_server_run(void *cpu); /* BearSSL's handshake code; its inner.h has this */

static struct hello_offer offer_of(const br_ssl_engine_context *eng)
{
    struct hello_offer o = {
        .suites = eng->suites_buf, .suite_count = eng->suites_num, .curves = eng->iec->supported_curves};
    for (int id = br_md5_ID; id <= br_sha512_ID; id++) {
        o.hashes |= br_multihash_getimpl(&eng->mhash, id) != NULL ? 1U << id : 0;
    }
    return o;
}

static void fill(br_ssl_server_context *sc)
{
    for (size_t i = 0; i < BR_MAX_CIPHER_SUITES; i++) {
        if (sc->client_suites[i][0] == 0) {
            sc->client_suites[i][0] = FIRST;
        }
    }
}

/* In the place of BearSSL's function, for the first message. */
static void run_shortened(void *cpu)
{
    br_ssl_server_context *sc = (void *)((unsigned char *)cpu - offsetof(br_ssl_server_context, eng) -
                                         offsetof(br_ssl_engine_context, cpu));
    br_ssl_engine_context *eng = &sc->eng;
    size_t len = eng->hlen_in;
    if (len > 0) {
        const struct hello_offer offer = offer_of(eng);
        br_multihash_context heard = eng->mhash;
        br_multihash_update(&heard, eng->hbuf_in, len - 1);
        eng->hsrun = br_ssl_hs_server_run;
        size_t trimmed = eng->record_type_in == HANDSHAKE ? hello_trim(eng->hbuf_in, len, &offer) : 0;
        if (trimmed > 0) {
            eng->hlen_in = trimmed - 1;
            br_ssl_hs_server_run(cpu);
            if (eng->hlen_in == 0 && br_ssl_engine_last_error(eng) == 0) {
                eng->mhash = heard;
                fill(sc);
            }
            eng->hlen_in++;
        }
    }
    if (br_ssl_engine_last_error(eng) == 0) {
        br_ssl_hs_server_run(cpu);
    }
}

void hello_hasten(br_ssl_server_context *sc)
{
    sc->eng.hsrun = run_shortened;
}
