/* RSA keys, the same ones in each run: a prime is told by how far it is from a number that a generator makes. */

#ifndef RSA_KEYS_H
#define RSA_KEYS_H

#include "bridge.h"

#include <gmp.h>
#include <string.h>

struct prime {
    unsigned bits;
    unsigned char which; /* of two with as many bits */
    unsigned offset;
};

/* All parts in their full length, the most significant byte first. */
struct pair {
    br_rsa_private_key private;
    br_rsa_public_key public;
    unsigned char n[RSA_MAX], e[3], parts[5][RSA_MAX];
};

static inline void find_prime(mpz_t p, const struct prime *from)
{
    unsigned char seed[] = {(unsigned char)(from->bits >> 8), (unsigned char)from->bits, from->which};
    unsigned char bytes[RSA_MAX];
    size_t len = (from->bits + 7) / 8;
    br_hmac_drbg_context numbers;
    br_hmac_drbg_init(&numbers, &br_sha256_vtable, seed, sizeof seed);
    br_hmac_drbg_generate(&numbers, bytes, len);
    mpz_import(p, len, 1, 1, 0, 0, bytes);
    mpz_fdiv_r_2exp(p, p, from->bits);
    mpz_setbit(p, from->bits - 1);
    mpz_setbit(p, from->bits - 2);
    mpz_add_ui(p, p, from->offset);
}

static inline size_t put_number(unsigned char out[RSA_MAX], const mpz_t z)
{
    size_t len;
    mpz_export(out, &len, 1, 1, 0, 0, z);
    return len;
}

static inline void make_pair(struct pair *k, const struct prime *first, const struct prime *second)
{
    static const unsigned char e[] = {1, 0, 1};
    mpz_t p, q, n, d, part;
    mpz_inits(p, q, n, d, part, NULL);
    find_prime(p, first);
    find_prime(q, second);
    mpz_mul(n, p, q);
    memcpy(k->e, e, sizeof e);
    k->public = (br_rsa_public_key){k->n, put_number(k->n, n), k->e, sizeof k->e};
    br_rsa_private_key *s = &k->private;
    *s = (br_rsa_private_key){.n_bitlen = (uint32_t)mpz_sizeinbase(n, 2),
                              .p = k->parts[0],
                              .q = k->parts[1],
                              .dp = k->parts[2],
                              .dq = k->parts[3],
                              .iq = k->parts[4]};
    s->plen = put_number(s->p, p);
    s->qlen = put_number(s->q, q);
    mpz_invert(part, q, p);
    s->iqlen = put_number(s->iq, part);
    mpz_set_ui(d, 65537);
    mpz_sub_ui(p, p, 1);
    mpz_sub_ui(q, q, 1);
    mpz_invert(part, d, p);
    s->dplen = put_number(s->dp, part);
    mpz_invert(part, d, q);
    s->dqlen = put_number(s->dq, part);
    mpz_clears(p, q, n, d, part, NULL);
}

static const struct prime prime_1024[] = {{1024, 0, 118}, {1024, 1, 2348}};

#endif
