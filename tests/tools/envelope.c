/*
 * S/MIME as formbridge makes it, from the command line:
 *
 *     envelope seal [-m] [-s CERT -k KEY] [-n TIME] -t ADDRESS ... CERT ...
 *         a message from standard input, sealed, to standard output
 *     envelope show [-n TIME] CERT ...
 *     envelope self [-e] -p PASSWORD -c CERT -o PKCS12 -t ADDRESS
 *     envelope speed [-m] [-s CERT -k KEY] -t ADDRESS CERT ...
 *         bytes a second of the whole, and of the cipher alone
 *
 * -m: the modern profile; -e: an elliptic curve. What is refused goes to
 * standard error, with exit code 1.
 */

#include "bridge.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { TO_MAX = 64, PIECE = 65536, SPEED_BYTES = 64 << 20, ROUNDS = 7 };

struct options {
    bool modern, ec;
    const char *sign_cert, *sign_key, *password, *cert_out, *p12_out;
    char *to[TO_MAX];
    size_t to_count;
    int64_t now;
    char **files;
    int file_count;
};

static void read_options(struct options *o, int argc, char **argv)
{
    int c;
    *o = (struct options){.now = time(NULL)};
    while ((c = getopt(argc, argv, "mes:k:p:c:o:t:n:")) != -1) {
        switch (c) {
        case 'm': o->modern = true; break;
        case 'e': o->ec = true; break;
        case 's': o->sign_cert = optarg; break;
        case 'k': o->sign_key = optarg; break;
        case 'p': o->password = optarg; break;
        case 'c': o->cert_out = optarg; break;
        case 'o': o->p12_out = optarg; break;
        case 'n': o->now = strtoll(optarg, NULL, 10); break;
        case 't':
            if (o->to_count < TO_MAX) {
                o->to[o->to_count++] = optarg;
            }
            break;
        default: exit(2);
        }
    }
    o->files = argv + optind;
    o->file_count = argc - optind;
}

static struct mailcert *load_certs(const struct options *o)
{
    struct mailcert *list = NULL;
    char why[REASON_SIZE];
    for (int i = 0; i < o->file_count; i++) {
        if (!mailcert_load(&list, o->files[i], why, sizeof why)) {
            mailcert_free(list);
            errx(1, "%s", why);
        }
    }
    return list;
}

static size_t sign(void *ctx, unsigned hash, unsigned char *data, size_t hash_len, size_t len)
{
    const struct key *key = ctx;
    unsigned char digest[br_sha256_SIZE];
    if (hash != br_sha256_ID || hash_len != sizeof digest || len < SIGNATURE_MAX) {
        return 0;
    }
    memcpy(digest, data, sizeof digest);
    if (key->type == BR_KEYTYPE_EC) {
        return br_ecdsa_sign_asn1_get_default()(br_ec_get_default(), &br_sha256_vtable, digest, &key->ec,
                                                data);
    }
    bool ok =
        br_rsa_pkcs1_sign_get_default()(BR_HASH_OID_SHA256, digest, sizeof digest, &key->rsa, data) == 1;
    return ok ? (key->rsa.n_bitlen + 7) / 8 : 0;
}

static void seed(br_hmac_drbg_context *rng)
{
    unsigned char bytes[32];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
        err(1, "getrandom");
    }
    br_hmac_drbg_init(rng, &br_sha256_vtable, bytes, sizeof bytes);
}

struct sealer { /* a job and what it points to */
    struct smime_job job;
    struct cms_signer signer;
    struct chain chain;
    struct key key;
    struct mailcert *list;
    br_hmac_drbg_context rng;
};

static void sealer_open(struct sealer *s, const struct options *o)
{
    char why[REASON_SIZE];
    *s = (struct sealer){.list = load_certs(o)};
    seed(&s->rng);
    s->job = (struct smime_job){
        .profile = o->modern ? CMS_MODERN : CMS_COMPATIBLE,
        .subject = "order 7K2M-Q9XD-4TRW",
        .time = o->now,
        .rng = &s->rng.vtable,
    };
    if (!mailcert_choose(s->list, o->to, o->to_count, o->now, &s->job.to, why, sizeof why)) {
        mailcert_free(s->list);
        errx(1, "%s", why);
    }
    if (o->sign_cert != NULL && o->sign_key != NULL) {
        if (!x509_chain_load(&s->chain, o->sign_cert, why, sizeof why) ||
            !x509_key_load(&s->key, o->sign_key, why, sizeof why)) {
            errx(1, "%s", why);
        }
        s->signer = (struct cms_signer){.chain = &s->chain, .sign = sign, .ctx = &s->key};
        s->job.signer = &s->signer;
    }
}

static void sealer_close(struct sealer *s)
{
    mailcert_free(s->list);
    if (s->job.signer != NULL) {
        x509_chain_free(&s->chain);
        x509_key_free(&s->key);
    }
}

static bool put_stdout(struct sink *s, const void *bytes, size_t len)
{
    (void)s;
    return fwrite(bytes, 1, len, stdout) == len;
}

static int seal(const struct options *o)
{
    static unsigned char piece[PIECE];
    static struct sealer s;
    struct sink out = {put_stdout};
    sealer_open(&s, o);
    struct smime *m = smime_new(&s.job, &out);
    bool ok = m != NULL;
    size_t n;
    while (ok && (n = fread(piece, 1, sizeof piece, stdin)) > 0) {
        ok = smime_sink(m)->put(smime_sink(m), piece, n);
    }
    ok = ok && smime_end(m) && fflush(stdout) == 0;
    smime_free(m);
    sealer_close(&s);
    if (!ok) {
        errx(1, "the message could not be sealed");
    }
    return 0;
}

static int show(const struct options *o)
{
    struct buf out;
    struct mailcert *list = load_certs(o);
    buf_init(&out, 1 << 20);
    bool good = mailcert_describe(list, o->now, &out);
    fwrite(out.data, 1, out.len, stdout);
    mailcert_free(list);
    buf_free(&out);
    return good ? 0 : 1;
}

static void write_file(const char *path, const struct buf *b)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(b->data, 1, b->len, f) != b->len || fclose(f) != 0) {
        err(1, "%s", path);
    }
}

static int self(const struct options *o)
{
    struct buf cert, p12;
    br_hmac_drbg_context rng;
    seed(&rng);
    buf_init(&cert, 1 << 16);
    buf_init(&p12, 1 << 16);
    const struct mailself m = {
        .address = o->to[0],
        .password = o->password,
        .now = o->now,
        .days = 825,
        .ec = o->ec,
        .rng = &rng.vtable,
    };
    if (!mailself_make(&m, &cert, &p12)) {
        errx(1, "the address or the password will not do");
    }
    write_file(o->cert_out, &cert);
    write_file(o->p12_out, &p12);
    buf_free(&cert);
    buf_free(&p12);
    return 0;
}

static bool put_nowhere(struct sink *s, const void *bytes, size_t len)
{
    (void)s;
    (void)bytes;
    (void)len;
    return true;
}

static double now_cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Lines of 76, as an upload in base64 has them. */
static double speed_of_message(const struct options *o)
{
    static unsigned char piece[77 * 50];
    static struct sealer s;
    struct sink out = {put_nowhere};
    sealer_open(&s, o);
    memset(piece, 'A', sizeof piece);
    for (size_t i = 76; i < sizeof piece; i += 77) {
        piece[i] = '\n';
    }
    struct smime *m = smime_new(&s.job, &out);
    bool ok = m != NULL;
    double start = now_cpu();
    ok = ok && smime_sink(m)->put(smime_sink(m), "Content-Type: text/plain\n\n", 26);
    size_t done = 0;
    for (; ok && done < SPEED_BYTES; done += sizeof piece) {
        ok = smime_sink(m)->put(smime_sink(m), piece, sizeof piece);
    }
    if (!ok || !smime_end(m)) {
        errx(1, "the message could not be sealed");
    }
    double seconds = now_cpu() - start;
    smime_free(m);
    sealer_close(&s);
    return (double)done / seconds;
}

static double speed_of_cipher(const struct options *o)
{
    static unsigned char chunk[CMS_CHUNK], key[CMS_KEY_SIZE], iv[16];
    br_aes_gen_cbcenc_keys cbc;
    br_aes_gen_ctr_keys ctr;
    br_gcm_context gcm;
    cmskey_aes_cbc()->init(&cbc.vtable, key, sizeof key);
    const br_block_ctr_class *ni = br_aes_x86ni_ctr_get_vtable();
    br_ghash pclmul = br_ghash_pclmul_get();
    (ni != NULL ? ni : &br_aes_ct64_ctr_vtable)->init(&ctr.vtable, key, sizeof key);
    br_gcm_init(&gcm, &ctr.vtable, pclmul != 0 ? pclmul : br_ghash_ctmul64);
    br_gcm_reset(&gcm, iv, 12);
    br_gcm_flip(&gcm);
    double start = now_cpu();
    for (size_t done = 0; done < SPEED_BYTES; done += sizeof chunk) {
        if (o->modern) {
            br_gcm_run(&gcm, 1, chunk, sizeof chunk);
        } else {
            cbc.vtable->run(&cbc.vtable, iv, chunk, sizeof chunk);
        }
    }
    return SPEED_BYTES / (now_cpu() - start);
}

static int speed(const struct options *o)
{
    double whole = 0, cipher = 0; /* the best of several, as other processes want the machine too */
    for (int round = 0; round < ROUNDS; round++) {
        double one = speed_of_message(o), other = speed_of_cipher(o);
        whole = one > whole ? one : whole;
        cipher = other > cipher ? other : cipher;
    }
    printf("%.0f MB/s sealed, %.0f MB/s of AES alone: %.2f of it\n", whole / 1e6, cipher / 1e6,
           whole / cipher);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const struct options *o);
    } commands[] = {{"seal", seal}, {"show", show}, {"self", self}, {"speed", speed}};
    struct options o;
    for (size_t i = 0; argc > 1 && i < COUNT(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            read_options(&o, argc - 1, argv + 1);
            return commands[i].run(&o);
        }
    }
    errx(2, "envelope seal, show, self or speed");
}
