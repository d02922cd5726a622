/*
 * seal MEGABYTES
 *
 * How fast an upload goes through S/MIME for one RSA recipient, beside the fastest AES that BearSSL has: prints both in
 * megabytes of upload per second, and their ratio. The output goes nowhere.
 */

#include "bridge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* of the CPU: other work on the machine does not count */
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool swallow(struct sink *s, const void *bytes, size_t len)
{
    (void)s, (void)bytes, (void)len;
    return true;
}

static void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "seal: %s failed\n", what);
        exit(1);
    }
}

static double raw_aes(unsigned char *bytes, size_t len)
{
    static const unsigned char secret[32] = {1};
    unsigned char iv[16] = {2};
    br_aes_gen_cbcenc_keys key;
    const br_block_cbcenc_class *aes = br_aes_x86ni_cbcenc_get_vtable();
    aes = aes != NULL ? aes : &br_aes_ct64_cbcenc_vtable;
    aes->init(&key.vtable, secret, sizeof secret);
    double start = now();
    for (size_t at = 0; at < len; at += 8192) { /* in pieces, as an envelope does */
        aes->run(&key.vtable, iv, bytes + at, 8192);
    }
    return now() - start;
}

static double sealed(const struct message *m, const struct smime_job *job)
{
    struct sink out = {swallow};
    double start = now();
    struct smime *s = smime_new(job, &out);
    must(s != NULL && mime_compose(m, smime_sink(s)) && smime_end(s), "sealing");
    smime_free(s);
    return now() - start;
}

int main(int argc, char **argv)
{
    size_t len = (argc > 1 ? strtoul(argv[1], NULL, 10) : 25) * 1024 * 1024;
    br_hmac_drbg_context drbg;
    br_hmac_drbg_init(&drbg, &br_sha256_vtable, "bench", 5);
    struct buf cert, p12;
    buf_init(&cert, 65536);
    buf_init(&p12, 65536);
    char address[] = "owner@example.com", *to[] = {address}, why[512];
    struct mailself self = {
        .address = address, .password = "bench", .now = time(NULL), .days = 1, .rng = &drbg.vtable};
    must(mailself_make(&self, &cert, &p12), "making a certificate");
    struct mailcert *list = NULL;
    struct smime_job job = {.subject = "bench", .rng = &drbg.vtable};
    must(mailcert_parse(&list, "bench", cert.data, cert.len, why, sizeof why) &&
             mailcert_choose(list, to, 1, time(NULL), &job.to, why, sizeof why),
         why);

    struct form_limits limits = {.body = len + 1024, .fields = 10, .files = 10};
    struct buf none;
    buf_init(&none, 1);
    struct form *form = form_new(FORM_URLENCODED, &none, &none, &limits);
    struct field *field = form == NULL ? NULL : form_add(form);
    must(field != NULL, "memory");
    field->file = true;
    buf_str(&field->name, "upload");
    buf_str(&field->filename, "upload.bin");
    unsigned char *room = buf_room(&field->value, len);
    must(room != NULL, "memory");
    memset(room, 'x', len);
    field->value.len = len;
    struct message m = {.hostname = "localhost",
                        .form = "order",
                        .ref = "7K2M-Q9XD-4TRW",
                        .time = time(NULL),
                        .from = address,
                        .to = to,
                        .to_count = 1,
                        .subject = "bench",
                        .peer = "127.0.0.1",
                        .protocol = "HTTPS",
                        .fields = form};

    unsigned char *scratch = malloc(len);
    must(scratch != NULL, "memory");
    memcpy(scratch, room, len);
    double best_raw = 1e9, best_sealed = 1e9;
    for (int round = 0; round < 5; round++) {
        double raw = raw_aes(scratch, len), all = sealed(&m, &job);
        best_raw = raw < best_raw ? raw : best_raw;
        best_sealed = all < best_sealed ? all : best_sealed;
    }
    double mb = (double)len / 1e6;
    printf("%.0f %.0f %.2f\n", mb / best_sealed, mb / best_raw, best_raw / best_sealed);
    return 0;
}
