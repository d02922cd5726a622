/* `formbridge smime`: what a certificate is good for, and one for an owner who has none. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum { SELF_DAYS = 1095, FILE_NAME = 320 };

static int describe(const char *path)
{
    char why[REASON_SIZE];
    struct mailcert *certs = NULL;
    if (!mailcert_load(&certs, path, why, sizeof why)) {
        fprintf(stderr, "formbridge: %s\n", why);
        return EX_DATAERR;
    }
    struct buf out;
    buf_init(&out, 65536);
    bool good = mailcert_describe(certs, time(NULL), &out);
    mailcert_free(certs);
    fwrite(out.data, 1, out.len, stdout);
    buf_free(&out);
    return good ? EX_OK : EX_DATAERR;
}

static bool make_files(const struct mailself *m, const char *cert_path, const char *p12_path)
{
    struct buf cert, p12;
    buf_init(&cert, 65536);
    buf_init(&p12, 65536);
    bool ok = mailself_make(m, &cert, &p12);
    if (!ok) {
        fprintf(stderr, "formbridge: cannot make a certificate for %s: no memory\n", m->address);
    }
    ok = ok && spool_write_new(p12_path, &p12, 0600);
    if (ok && !spool_write_new(cert_path, &cert, 0644)) {
        unlink(p12_path); /* its password has been shown to nobody */
        ok = false;
    }
    buf_free(&cert);
    buf_free(&p12);
    return ok;
}

static int make_self(const char *address)
{
    char password[PASSWD_NEW_SIZE], cert_path[FILE_NAME], p12_path[FILE_NAME];
    size_t len = strlen(address);
    if (!mime_address_ok(address, len) || strchr(address, '/') != NULL || !wire_ascii(address)) {
        fprintf(stderr, "formbridge: %s is not a mail address such as orders@example.com\n", address);
        return EX_USAGE;
    }
    unsigned char seed[48];
    if (!passwd_new(password) || getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed ||
        !text_fmt(cert_path, sizeof cert_path, "%s.pem", address) ||
        !text_fmt(p12_path, sizeof p12_path, "%s.p12", address)) {
        return EX_OSERR;
    }
    br_hmac_drbg_context drbg;
    br_hmac_drbg_init(&drbg, &br_sha256_vtable, seed, sizeof seed);
    explicit_bzero(seed, sizeof seed);
    struct mailself m = {
        .address = address, .password = password, .now = time(NULL), .days = SELF_DAYS, .rng = &drbg.vtable};
    bool ok = make_files(&m, cert_path, p12_path);
    if (ok) {
        printf("%s  is for the server: encrypt_to = its whole path\n"
               "%s  is for the mail program, and the only place where the key is: import it, keep a copy\n"
               "      in a safe place, and remove it from here. Its password is  %s\n",
               cert_path, p12_path, password);
    }
    explicit_bzero(&drbg, sizeof drbg);
    explicit_bzero(password, sizeof password);
    return ok ? EX_OK : EX_CANTCREAT;
}

int smimecmd_run(int count, char **words)
{
    if (count == 2 && strcmp(words[0], "self") == 0) {
        return make_self(words[1]);
    }
    if (count == 1 && strcmp(words[0], "self") != 0) {
        return describe(words[0]);
    }
    fprintf(stderr, "formbridge: smime CERT.pem, or smime self ADDRESS\n");
    return EX_USAGE;
}
