/*
 * Forwarded fields of arbitrary bytes, as they stand in a head that the gate let through: a visitor is named only by
 * verdicts that may name one, is none of the trusted unless all are, and cannot be changed by what a visitor writes
 * in front.
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

static enum forwarded_verdict read_it(const void *head, size_t len, struct sockaddr_storage *visitor)
{
    static struct network trusted[2];
    if (trusted[0].family == 0) {
        must(network_read(&trusted[0], "10.0.0.0/8") && network_read(&trusted[1], "2001:db8::/32"));
    }
    enum forwarded_verdict v = forwarded_read(visitor, head, len, trusted, COUNT(trusted));
    must((forwarded_why(v) == NULL) == (v == FORWARDED_HTTPS));
    must(v == FORWARDED_HTTPS || v == FORWARDED_HTTP || v == FORWARDED_SILENT ||
         visitor->ss_family == AF_UNSPEC);
    must(visitor->ss_family == AF_UNSPEC || visitor->ss_family == AF_INET || visitor->ss_family == AF_INET6);
    return v;
}

/* What the visitor has written, and a proxy after it, whatever it is: the proxy's word is the last. */
static void append_proxy(const uint8_t *data, size_t size)
{
    struct sockaddr_storage visitor, want;
    struct buf head;
    buf_init(&head, 1 << 20);
    buf_put(&head, data, size);
    buf_str(&head, "\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n");
    must(network_address(&want, "203.0.113.7", 11));
    enum forwarded_verdict v = read_it(head.data, head.len, &visitor);
    must(v == FORWARDED_WRONG || v == FORWARDED_TORN || network_same(&visitor, &want));
    buf_free(&head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sockaddr_storage visitor;
    read_it(data, size, &visitor);
    append_proxy(data, size);
    char text[128];
    if (size < sizeof text) {
        struct network n;
        memcpy(text, data, size);
        text[size] = '\0';
        if (network_read(&n, text)) {
            must(n.bits <= (n.family == AF_INET ? 32 : 128));
        }
    }
    return 0;
}
