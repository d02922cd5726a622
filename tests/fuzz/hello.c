/* The bytes of a client, records and all: the shorter way ends as BearSSL's own does. */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

static unsigned char not_read[] = "a certificate";
static br_x509_certificate certificate = {not_read, sizeof not_read};
static struct chain chain = {.certs = &certificate, .count = 1, .key_type = BR_KEYTYPE_EC};
static struct tls_policy policy;

static size_t sign(void *ctx, unsigned hash, unsigned char *data, size_t hash_len, size_t len)
{
    (void)ctx, (void)hash, (void)hash_len;
    memset(data, 0x30, len);
    return 70;
}

struct server {
    br_ssl_server_context tls;
    unsigned char in[BR_SSL_BUFSIZE_INPUT], out[BR_SSL_BUFSIZE_OUTPUT];
};

static void start(struct server *s)
{
    tls_policy_init(&policy, &chain, sign, NULL);
    tls_server(&s->tls, &policy, NULL);
    br_ssl_engine_set_buffers_bidi(&s->tls.eng, s->in, sizeof s->in, s->out, sizeof s->out);
}

static void feed(br_ssl_engine_context *eng, const uint8_t *bytes, size_t len)
{
    for (;;) {
        size_t part;
        unsigned state = br_ssl_engine_current_state(eng);
        if (state & BR_SSL_SENDREC) {
            br_ssl_engine_sendrec_buf(eng, &part);
            br_ssl_engine_sendrec_ack(eng, part);
        } else if (state & BR_SSL_RECVREC && len > 0) {
            unsigned char *to = br_ssl_engine_recvrec_buf(eng, &part);
            part = part < len ? part : len;
            memcpy(to, bytes, part);
            br_ssl_engine_recvrec_ack(eng, part);
            bytes += part;
            len -= part;
        } else {
            return;
        }
    }
}

/* The same bytes as a message without a record: shorter or as it was, and not to be made shorter still. */
static void trim(const uint8_t *data, size_t size)
{
    static const uint16_t suites[] = {0xC02B, 0xC02F};
    static const struct hello_offer offer = {
        .suites = suites, .suite_count = 2, .curves = 1U << 29, .hashes = 1U << 4};
    unsigned char *message = malloc(size > 0 ? size : 1),
                  *again = malloc(size > 0 ? size : 1); /* exact, for the sanitizer */
    if (message == NULL || again == NULL) {
        abort();
    }
    memcpy(message, data, size);
    size_t len = hello_trim(message, size, &offer);
    if (len > size || (len == 0 ? memcmp(message, data, size) != 0 : message[len - 1] != data[size - 1])) {
        abort();
    }
    memcpy(again, message, len);
    if (len > 0 && (hello_trim(again, len, &offer) != len || memcmp(again, message, len) != 0)) {
        abort();
    }
    free(message);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct server fast, slow;
    start(&fast);
    start(&slow);
    if (!tls_server_start(&fast.tls) || !br_ssl_server_reset(&slow.tls)) {
        abort();
    }
    feed(&fast.tls.eng, data, size);
    feed(&slow.tls.eng, data, size);
    if (br_ssl_engine_last_error(&fast.tls.eng) != br_ssl_engine_last_error(&slow.tls.eng) ||
        br_ssl_engine_current_state(&fast.tls.eng) != br_ssl_engine_current_state(&slow.tls.eng) ||
        fast.tls.eng.session.cipher_suite != slow.tls.eng.session.cipher_suite) {
        abort();
    }
    trim(data, size);
    return 0;
}
