/* A self-signed mail certificate and its key, for owners of a mailbox who have none. */

#include "bridge.h"

#include <string.h>

enum { DER_MAX = 1 << 14 };

static bool is_ascii(const char *text)
{
    while (*text > ' ' && *text <= '~') {
        text++;
    }
    return *text == '\0';
}

/* RFC 8550 §4.4: for this address, to sign mail and to have it encrypted. */
static bool make(const struct mailself *m, struct buf *cert, struct buf *key)
{
    unsigned char serial[X509_SERIAL], memory[MAIL_ADDRESS_MAX + 8];
    struct buf names;
    (*m->rng)->generate(m->rng, serial, sizeof serial);
    buf_borrow(&names, memory, sizeof memory);
    der_put_text(&names, GENERAL_NAME_MAIL, m->address);
    const struct x509_self self = {
        .name = m->address,
        .short_name = "S/MIME",
        .names = &names,
        /* digitalSignature with keyAgreement, or with keyEncipherment */
        .usage = m->ec ? "\x03\x88" : "\x05\xa0",
        .purpose = OID_EMAIL_USAGE,
        .serial = serial,
        .key_id = true,
        .now = m->now,
        .days = m->days,
        .ec = m->ec,
        .rng = m->rng,
    };
    return x509_self_make(&self, cert, key);
}

bool mailself_make(const struct mailself *m, struct buf *cert_pem, struct buf *p12)
{
    if (!mime_address_ok(m->address, strlen(m->address)) || !is_ascii(m->address)) {
        return false;
    }
    struct buf cert, key;
    buf_init(&cert, DER_MAX);
    buf_init(&key, DER_MAX);
    bool ok = make(m, &cert, &key);
    if (ok) {
        const struct pkcs12 file = {
            .key = key.data,
            .key_len = key.len,
            .cert = cert.data,
            .cert_len = cert.len,
            .name = m->address,
            .password = m->password,
        };
        ok = pkcs12_put(p12, &file, m->rng) && pem_put(cert_pem, "CERTIFICATE", &cert);
    }
    buf_free(&cert);
    buf_free(&key);
    return ok;
}
