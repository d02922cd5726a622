/* A shorter way through BearSSL's handling of a ClientHello.
 *
 * BearSSL 0.6 has a list of the suites in common, of 48 places, and looks each place up in a table of 45 suites, in
 * interpreted code. An empty place is looked for to the table's end, and nearly all are empty: more work than all else
 * in the message. So the handshake code gets a ClientHello in two parts, as if a record ended after the suites, and in
 * between the empty places get the suite that stands first in the table. It is never chosen: it was in no list of
 * tls_profile(), and the policy takes ECDHE only. */

#include "bridge.h"

#include <stddef.h>

enum {
    CLIENT_HELLO = 1,
    RANDOM_END = 4 + 2 + 32,                  /* type and length, version, random */
    FIRST = BR_TLS_RSA_WITH_3DES_EDE_CBC_SHA, /* in the table of BearSSL 0.6 */
};

/* RFC 5246 §7.4.1.2. */
size_t hello_suites_end(const unsigned char *message, size_t len)
{
    if (len <= RANDOM_END || message[0] != CLIENT_HELLO) {
        return 0;
    }
    size_t at = RANDOM_END + 1 + (size_t)message[RANDOM_END]; /* the session's id */
    if (at + 2 > len) {
        return 0;
    }
    at += 2 + ((size_t)message[at] << 8 | message[at + 1]);
    return at < len ? at : 0;
}

void br_ssl_hs_server_run(void *cpu); /* BearSSL's handshake code; its inner.h has this */

static void fill(br_ssl_server_context *sc)
{
    for (size_t i = 0; i < BR_MAX_CIPHER_SUITES; i++) {
        if (sc->client_suites[i][0] == 0) {
            sc->client_suites[i][0] = FIRST;
        }
    }
}

/* In the place of BearSSL's function, for the first message. */
static void run_in_two(void *cpu)
{
    br_ssl_server_context *sc = (void *)((unsigned char *)cpu - offsetof(br_ssl_server_context, eng) -
                                         offsetof(br_ssl_engine_context, cpu));
    br_ssl_engine_context *eng = &sc->eng;
    size_t len = eng->hlen_in;
    if (len > 0) {
        eng->hsrun = br_ssl_hs_server_run;
        size_t first = hello_suites_end(eng->hbuf_in, len);
        if (first > 0) {
            eng->hlen_in = first;
            br_ssl_hs_server_run(cpu);
            if (eng->hlen_in == 0 && br_ssl_engine_last_error(eng) == 0) {
                fill(sc);
            }
            eng->hlen_in += len - first;
        }
    }
    if (br_ssl_engine_last_error(eng) == 0) {
        br_ssl_hs_server_run(cpu);
    }
}

void hello_hasten(br_ssl_server_context *sc)
{
    sc->eng.hsrun = run_in_two;
}
