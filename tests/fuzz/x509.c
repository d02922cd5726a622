/*
 * Certificate and key files under arbitrary bytes: as they are, and, since
 * few mutations survive base64, as the DER inside well-formed PEM. What is
 * taken for a key must then be safe to sign with.
 */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

static void must(bool truth)
{
    if (!truth) {
        abort();
    }
}

static void check_chain(const struct chain *c)
{
    must(c->count > 0 && c->key_type != 0 && c->key_bits >= 256 && c->key_bits <= 4096);
    for (size_t i = 0; i < c->count; i++) {
        struct cert cert;
        must(x509_read(&cert, c->certs[i].data, c->certs[i].data_len));
    }
    must(c->names.len == 0 || c->names.data[c->names.len - 1] == '\n');
    x509_names_host(c, "forms.example.com");
}

static void try_file(const void *bytes, size_t len)
{
    char why[REASON_SIZE] = "";
    struct chain c;
    struct key k;
    bool chain = x509_chain_parse(&c, "file", bytes, len, why, sizeof why);
    must(chain || strncmp(why, "file: ", 6) == 0);
    if (chain) {
        check_chain(&c);
        x509_chain_free(&c);
    }
    why[0] = '\0';
    bool key = x509_key_parse(&k, "file", bytes, len, why, sizeof why);
    must(key || strncmp(why, "file: ", 6) == 0);
    if (!key) {
        return;
    }
    unsigned char hash[32] = {1}, signature[SIGNATURE_MAX];
    if (k.type == BR_KEYTYPE_RSA) {
        br_rsa_pkcs1_sign_get_default()(BR_HASH_OID_SHA256, hash, sizeof hash, &k.rsa, signature);
    } else {
        br_ecdsa_sign_asn1_get_default()(br_ec_get_default(), &br_sha256_vtable, hash, &k.ec, signature);
    }
    x509_key_free(&k);
}

static void try_der(const char *label, const uint8_t *data, size_t size)
{
    struct buf pem;
    buf_init(&pem, 1 << 20);
    void *room = buf_room(&pem, br_pem_encode(NULL, data, size, label, 0) + 1);
    pem.len = br_pem_encode(room, data, size, label, 0);
    try_file(pem.data, pem.len);
    buf_free(&pem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const labels[] = {"CERTIFICATE", "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"};
    if (size == 0) {
        return 0;
    }
    size_t which = data[0] - (size_t)'0'; /* the first byte says what the rest is */
    if (which < COUNT(labels)) {
        try_der(labels[which], data + 1, size - 1);
    } else {
        try_file(data, size);
    }
    return 0;
}
