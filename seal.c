/* S/MIME for the forms that ask for it: who can open a form's mail, who signs it, and the way from a message to a sealed
 * one. A form with encrypt_to has no other way. */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct seal {
    const struct form_conf *form;
    struct mailcert *recipients;
    struct chain signer; /* with sign_cert */
    uint32_t key;        /* number of its key with the signer */
};

static bool load_signer(struct seal *s, char *why, size_t why_size)
{
    struct mailcert *certs = NULL;
    bool ok = mailcert_load(&certs, s->form->sign_cert, why, why_size) &&
              mailcert_able(certs, MAILCERT_SIGN, why, why_size);
    mailcert_free(certs);
    return ok && x509_chain_load(&s->signer, s->form->sign_cert, why, why_size);
}

struct seal *seal_load(const struct form_conf *f, uint32_t key, char *why, size_t why_size)
{
    struct seal *s = calloc(1, sizeof *s);
    if (s == NULL) {
        text_copy(why, why_size, "no memory");
        return NULL;
    }
    s->form = f;
    s->key = key;
    bool ok = true;
    for (size_t i = 0; i < f->encrypt_count && ok; i++) {
        ok = mailcert_load(&s->recipients, f->encrypt_to[i], why, why_size);
    }
    if (!ok || (f->sign_cert != NULL && !load_signer(s, why, why_size))) {
        seal_free(s);
        return NULL;
    }
    return s;
}

void seal_free(struct seal *s)
{
    if (s != NULL) {
        mailcert_free(s->recipients);
        if (s->form->sign_cert != NULL) {
            x509_chain_free(&s->signer);
        }
        free(s);
    }
}

/* Whom a mail of this moment is encrypted for, if its signature can be checked too. */
static bool choose(const struct seal *s, int64_t now, struct cms_recipients *to, char *why, size_t why_size)
{
    const struct form_conf *f = s->form;
    if (f->sign_cert != NULL && (now > s->signer.not_after || now < s->signer.not_before)) {
        text_fmt(why, why_size, "%s is not valid today: renew it, with its key", f->sign_cert);
        return false;
    }
    return mailcert_choose(s->recipients, f->to, f->to_count, now, to, why, why_size);
}

bool seal_usable(const struct seal *s, int64_t now, int64_t *expiry, char *why, size_t why_size)
{
    struct cms_recipients to;
    const struct form_conf *f = s->form;
    *expiry = mailcert_expiry(s->recipients, f->to, f->to_count);
    if (f->sign_cert != NULL && s->signer.not_after < *expiry) {
        *expiry = s->signer.not_after;
    }
    return choose(s, now, &to, why, why_size);
}

/* ---- randomness ------------------------------------------------------------------------------
 *
 * The kernel's, a block at a time: half a page of HMAC_DRBG for each mail takes longer than all that AES does. */

enum { RANDOM_BLOCK = 256 }; /* so much is never cut short (getrandom(2)) */

struct random {
    const br_prng_class *vtable;
    size_t left;
    unsigned char block[RANDOM_BLOCK]; /* its last left bytes have not been given out */
};

static void random_generate(const br_prng_class **ctx, void *out, size_t len)
{
    struct random *r = (struct random *)ctx;
    unsigned char *at = out;
    while (len > 0) {
        if (r->left == 0) {
            if (getrandom(r->block, sizeof r->block, 0) != (ssize_t)sizeof r->block) {
                log_error("the kernel gives no randomness: nothing can be encrypted");
                abort();
            }
            r->left = sizeof r->block;
        }
        size_t n = len < r->left ? len : r->left;
        memcpy(at, r->block + sizeof r->block - r->left, n);
        r->left -= n;
        at += n;
        len -= n;
    }
}

static const br_prng_class random_class = {.context_size = sizeof(struct random),
                                           .generate = random_generate};

/* ---- sealing --------------------------------------------------------------------------------- */

/* From here to smime_free() nothing but sealed bytes reaches out. */
static bool compose_sealed(const struct smime_job *job, const struct message *m, struct sink *out)
{
    char memory[MIME_DISPLAY_SIZE];
    struct buf display;
    buf_borrow(&display, memory, sizeof memory);
    mime_display(m, &display);
    struct message inside = *m;
    inside.display = buf_text(&display);
    struct smime *smime = inside.display != NULL ? smime_new(job, out) : NULL;
    bool ok = smime != NULL && mime_compose(&inside, smime_sink(smime)) && smime_end(smime);
    smime_free(smime);
    explicit_bzero(memory, sizeof memory);
    return ok;
}

bool seal_compose(const struct seal *s, const struct message *m, struct signer_link *link, struct sink *out,
                  char *why, size_t why_size)
{
    const struct form_conf *f = s->form;
    struct smime_job job = {.profile = f->smime_modern ? CMS_MODERN : CMS_COMPATIBLE, .time = m->time};
    if (!choose(s, m->time, &job.to, why, why_size)) {
        return false;
    }
    why[0] = '\0'; /* what fails from here on is no certificate's fault */
    struct random random = {.vtable = &random_class};
    char subject[FORM_NAME_MAX + REF_SIZE + 8];
    text_fmt(subject, sizeof subject, "%s: %s", m->form, m->ref);
    struct cms_signer signer = {.chain = &s->signer, .sign = signer_sign, .ctx = link};
    link->key = s->key;
    job.subject = subject;
    job.signer = f->sign_cert != NULL ? &signer : NULL;
    job.rng = &random.vtable;
    bool ok = compose_sealed(&job, m, out);
    explicit_bzero(&random, sizeof random);
    return ok;
}
