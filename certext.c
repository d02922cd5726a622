/* What a certificate may be used for: its extensions, and the algorithm of its signature (pure). */

#include "bridge.h"

static const char *signature_fault(const struct der *oid)
{
    static const struct {
        const char *oid, *words;
    } known[] = {
        {"1.2.840.113549.1.1.4", "MD5, which is broken"},
        {"1.2.840.113549.1.1.5", "SHA-1, which is broken"},
        {"1.2.840.10045.4.1", "SHA-1, which is broken"},
        {"1.2.840.113549.1.1.10", "RSA-PSS, which is not supported"},
        {"1.3.101.112", "Ed25519, which is not supported"},
        {"1.3.101.113", "Ed448, which is not supported"},
    };
    for (size_t i = 0; i < COUNT(known); i++) {
        if (der_oid_is(oid, known[i].oid)) {
            return known[i].words;
        }
    }
    return NULL;
}

static void read_purposes(struct certext *e, struct der value)
{
    struct der list = der_next(&value, DER_SEQUENCE);
    e->purposes = true;
    while (list.len > 0 && !list.failed) {
        struct der oid = der_next(&list, DER_OID);
        e->for_servers = e->for_servers || der_oid_is(&oid, "1.3.6.1.5.5.7.3.1") /* serverAuth */
                         || der_oid_is(&oid, "2.5.29.37.0");                     /* anyExtendedKeyUsage */
    }
}

static void read_extension(struct certext *e, struct der *list)
{
    struct der extension = der_next(list, DER_SEQUENCE);
    struct der oid = der_next(&extension, DER_OID);
    if (der_is(&extension, DER_BOOLEAN)) {
        der_boolean(&extension);
    }
    struct der value = der_next(&extension, DER_OCTET_STRING);
    if (der_oid_is(&oid, "2.5.29.19")) {
        struct der constraints = der_next(&value, DER_SEQUENCE);
        e->ca = der_is(&constraints, DER_BOOLEAN) && der_boolean(&constraints);
    } else if (der_oid_is(&oid, "2.5.29.37")) {
        read_purposes(e, value);
    } else if (der_oid_is(&oid, "2.5.29.30")) {
        e->constraints = true;
    }
}

void certext_read(struct certext *e, const void *bytes, size_t len)
{
    *e = (struct certext){0};
    struct der all = der_read(bytes, len);
    struct der cert = der_next(&all, DER_SEQUENCE);
    struct der tbs = der_next(&cert, DER_SEQUENCE);
    struct der algorithm = der_next(&cert, DER_SEQUENCE);
    struct der oid = der_next(&algorithm, DER_OID);
    e->bad_signature = signature_fault(&oid);
    while (tbs.len > 0 && !tbs.failed && !der_is(&tbs, DER_CONTEXT_CONSTRUCTED + 3)) {
        der_whole(&tbs);
    }
    if (der_is(&tbs, DER_CONTEXT_CONSTRUCTED + 3)) {
        struct der explicit = der_next(&tbs, DER_CONTEXT_CONSTRUCTED + 3);
        struct der list = der_next(&explicit, DER_SEQUENCE);
        while (list.len > 0 && !list.failed) {
            read_extension(e, &list);
        }
    }
}
