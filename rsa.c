/*
 * The public operation of RSA, by GMP, which the process has loaded anyway
 * (libmicrohttpd, GnuTLS). BearSSL raises to 65537 as if it were a secret
 * exponent of any length, in six times as long.
 *
 * What is encrypted is a content key. mpn_sec_powm takes as long and touches the same memory for all values of one
 * size: GMP manual, "Low-level functions for cryptography". The conversions here are plain loops over all bytes.
 */

#include "bridge.h"

#include <gmp.h>
#include <string.h>

enum {
    LIMB = sizeof(mp_limb_t),
    LIMBS_MAX = RSA_MAX / LIMB,
    SCRATCH_MAX = 16 * LIMBS_MAX,
};

/* Big-endian bytes as limbs, the lowest first; those that are left become 0. */
static void load(mp_limb_t *limbs, size_t count, const unsigned char *bytes, size_t len)
{
    memset(limbs, 0, count * LIMB);
    for (size_t i = 0; i < len; i++) {
        limbs[i / LIMB] |= (mp_limb_t)bytes[len - 1 - i] << 8 * (i % LIMB);
    }
}

static void store(unsigned char *bytes, size_t len, const mp_limb_t *limbs)
{
    for (size_t i = 0; i < len; i++) {
        bytes[len - 1 - i] = (unsigned char)(limbs[i / LIMB] >> 8 * (i % LIMB));
    }
}

static mp_bitcnt_t bits(mp_limb_t n)
{
    mp_bitcnt_t count = 0;
    for (; n != 0; n >>= 1) {
        count++;
    }
    return count;
}

bool rsa_public(unsigned char *x, size_t len, const br_rsa_public_key *key)
{
    mp_limb_t n[LIMBS_MAX], base[LIMBS_MAX], result[LIMBS_MAX], e, scratch[SCRATCH_MAX];
    if (len == 0 || len > RSA_MAX || len != key->nlen || key->n[0] == 0 || (key->n[len - 1] & 1) == 0 ||
        x[0] != 0 || key->elen == 0 || key->elen > LIMB) {
        return false;
    }
    mp_size_t count = (mp_size_t)((len + LIMB - 1) / LIMB);
    load(&e, 1, key->e, key->elen);
    if (e == 0 || mpn_sec_powm_itch(count, bits(e), count) > SCRATCH_MAX) {
        return false;
    }
    load(n, (size_t)count, key->n, len);
    load(base, (size_t)count, x, len);
    mpn_sec_powm(result, base, count, &e, bits(e), n, count, scratch);
    store(x, len, result);
    explicit_bzero(base, sizeof base);
    explicit_bzero(scratch, sizeof scratch);
    return true;
}
