/*
 * Recipients' certificates under arbitrary bytes, as a file and as the DER
 * inside PEM: what is said of one is text that is safe to print, what is
 * refused is refused in one sentence that names the file, and what is
 * accepted can be encrypted for.
 *
 * The first byte says which, and how much room the encrypted key has.
 */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

enum { NOW = 1795305136 };

static char *const to[] = {"orders@example.com", "p384@example.com"};

static void must(bool truth)
{
    if (!truth) {
        abort();
    }
}

static void check_text(const char *text, size_t len)
{
    must(charset_is_utf8(text, len));
    for (size_t at = 0; at < len;) {
        uint32_t c;
        at += utf8_next(text + at, len - at, &c);
        must(c == '\n' || utf8_class(c) == UTF8_TEXT || utf8_class(c) == UTF8_SPACE);
    }
}

static void check_words(const struct mailcert *list)
{
    struct buf out;
    buf_init(&out, 1 << 22);
    mailcert_describe(list, NOW, &out);
    must(buf_ok(&out));
    check_text((const char *)out.data, out.len);
    buf_free(&out);
}

/* Elements nest and end where they say, however little room there was before. */
static void check_key(const struct cert *cert, size_t room)
{
    /* One that the certificate cannot hold: its issuer is part of what is written. */
    unsigned char cek[br_sha256_SIZE];
    br_sha256_context sha;
    br_sha256_init(&sha);
    br_sha256_update(&sha, cert->issuer.at, cert->issuer.len);
    br_sha256_update(&sha, cert->serial.at, cert->serial.len);
    br_sha256_out(&sha, cek);
    br_hmac_drbg_context rng;
    br_hmac_drbg_init(&rng, &br_sha256_vtable, "seed", 4);
    const struct cmskey k = {.cek = cek, .modern = room % 2 == 0, .rng = &rng.vtable};
    struct buf out;
    buf_init(&out, room * 16);
    if (cmskey_put(&out, &k, cert)) {
        struct der d = der_read(out.data, out.len);
        der_whole(&d);
        must(der_done(&d));
        must(out.len > CMS_KEY_SIZE && memmem(out.data, out.len, cek, sizeof cek) == NULL);
    }
    buf_free(&out);
}

static void try_file(const void *bytes, size_t len, size_t room)
{
    char why[REASON_SIZE] = "";
    struct mailcert *list = NULL;
    struct cms_recipients chosen;
    if (!mailcert_parse(&list, "file", bytes, len, why, sizeof why)) {
        must(list == NULL && strncmp(why, "file: ", 6) == 0);
        return;
    }
    must(list != NULL);
    check_words(list);
    if (mailcert_choose(list, to, 1 + room % 2, NOW, &chosen, why, sizeof why)) {
        must(chosen.count > 0 && NOW <= mailcert_expiry(list, to, 1 + room % 2));
        for (size_t i = 0; i < chosen.count && i < 2; i++) {
            check_key(chosen.certs[i], room);
        }
    } else {
        must(chosen.count == 0 && strncmp(why, "file: ", 6) == 0);
        check_text(why, strlen(why));
    }
    mailcert_free(list);
}

static void try_der(const uint8_t *data, size_t size, size_t room)
{
    struct buf pem;
    buf_init(&pem, 1 << 20);
    void *space = buf_room(&pem, br_pem_encode(NULL, data, size, "CERTIFICATE", 0) + 1);
    if (space != NULL) {
        pem.len = br_pem_encode(space, data, size, "CERTIFICATE", 0);
        try_file(pem.data, pem.len, room);
    }
    buf_free(&pem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t room = data[0] & 0x7f;
    if ((data[0] & 0x80) != 0) {
        try_file(data + 1, size - 1, room);
    } else {
        try_der(data + 1, size - 1, room);
    }
    return 0;
}
