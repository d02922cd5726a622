/* AlgorithmIdentifiers (RFC 5280 §4.1.1.2): an algorithm by its OID, and what it is to be told. */

#include "bridge.h"

void algid_put(struct buf *b, const char *oid)
{
    size_t begun = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, oid);
    der_end(b, begun);
}

void algid_put_null(struct buf *b, const char *oid)
{
    size_t begun = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, oid);
    der_put_null(b);
    der_end(b, begun);
}

void algid_put_oid(struct buf *b, const char *oid, const char *parameter)
{
    size_t begun = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, oid);
    der_put_oid(b, parameter);
    der_end(b, begun);
}

void algid_put_bytes(struct buf *b, const char *oid, const void *parameter, size_t len)
{
    size_t begun = der_begin(b, DER_SEQUENCE);
    der_put_oid(b, oid);
    der_put(b, DER_OCTET_STRING, parameter, len);
    der_end(b, begun);
}
