/* Addresses of hosts and networks of them. Pure. */

#include "bridge.h"

#include <arpa/inet.h>
#include <string.h>

enum { V4_BITS = 32, V6_BITS = 128 };

static const unsigned char *bytes_of(const struct sockaddr_storage *a)
{
    return a->ss_family == AF_INET
               ? (const unsigned char *)&((const struct sockaddr_in *)(const void *)a)->sin_addr
               : (const unsigned char *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
}

bool network_is_internet(const struct sockaddr_storage *a)
{
    return a->ss_family == AF_INET || a->ss_family == AF_INET6;
}

bool network_is_loopback(const struct sockaddr_storage *a)
{
    return a->ss_family == AF_INET    ? bytes_of(a)[0] == IN_LOOPBACKNET
           : a->ss_family == AF_INET6 ? memcmp(bytes_of(a), &in6addr_loopback, V6_BITS / 8) == 0
                                      : false;
}

/* An IPv4 address is a network of ::/32, where nobody is. */
uint64_t network_id(const struct sockaddr_storage *a)
{
    uint64_t id = 0;
    if (a->ss_family == AF_INET) {
        memcpy((unsigned char *)&id + sizeof id - V4_BITS / 8, bytes_of(a), V4_BITS / 8);
    } else if (a->ss_family == AF_INET6) {
        memcpy(&id, bytes_of(a), sizeof id);
    }
    return id;
}

bool network_text(const struct sockaddr_storage *a, char out[INET6_ADDRSTRLEN])
{
    return network_is_internet(a) && inet_ntop(a->ss_family, bytes_of(a), out, INET6_ADDRSTRLEN) != NULL;
}

uint16_t network_port(const struct sockaddr_storage *a)
{
    struct sockaddr_in in; /* the port of an IPv6 address lies at the same place */
    memcpy(&in, a, sizeof in);
    return network_is_internet(a) ? ntohs(in.sin_port) : 0;
}

void network_ip4(struct sockaddr_storage *out, const void *bytes)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    memcpy(&in.sin_addr, bytes, sizeof in.sin_addr);
    *out = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    memcpy(out, &in, sizeof in);
}

void network_ip6(struct sockaddr_storage *out, const void *bytes)
{
    struct sockaddr_in6 in = {.sin6_family = AF_INET6};
    memcpy(&in.sin6_addr, bytes, sizeof in.sin6_addr);
    if (IN6_IS_ADDR_V4MAPPED(
            &in.sin6_addr)) { /* RFC 4291 §2.5.5.2: the same host, counted and shown as one */
        network_ip4(out, (const unsigned char *)bytes + 12);
        return;
    }
    *out = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    memcpy(out, &in, sizeof in);
}

bool network_address(struct sockaddr_storage *out, const char *text, size_t len)
{
    char copy[INET6_ADDRSTRLEN];
    unsigned char bytes[16];
    *out = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    if (len >= sizeof copy || memchr(text, '\0', len) != NULL) {
        return false;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (inet_pton(AF_INET, copy, bytes) == 1) {
        network_ip4(out, bytes);
    } else if (inet_pton(AF_INET6, copy, bytes) == 1) {
        network_ip6(out, bytes);
    }
    return out->ss_family != AF_UNSPEC;
}

bool network_same(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    return a->ss_family == b->ss_family &&
           (!network_is_internet(a) ||
            memcmp(bytes_of(a), bytes_of(b), a->ss_family == AF_INET ? V4_BITS / 8 : V6_BITS / 8) == 0);
}

/* Do the first bits of both agree? */
static bool agree(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    return memcmp(a, b, whole) == 0 && (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

/* Are all bits zero from this one on? */
static bool ends(const unsigned char *bytes, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        if ((bytes[i / 8] & (0x80 >> i % 8)) != 0) {
            return false;
        }
    }
    return true;
}

bool network_read(struct network *n, const char *text)
{
    struct sockaddr_storage a;
    size_t len = strcspn(text, "/");
    *n = (struct network){.family = AF_UNSPEC};
    if (!network_address(&a, text, len)) {
        return false;
    }
    uint64_t bits, most = a.ss_family == AF_INET ? V4_BITS : V6_BITS;
    if (text[len] == '\0') {
        bits = most;
    } else if (!text_number(text + len + 1, strlen(text + len + 1), &bits) || bits > most ||
               (a.ss_family == AF_INET &&
                memchr(text, ':', len) != NULL)) { /* of a mapped one it counts other bits */
        return false;
    }
    if (!ends(bytes_of(&a), (unsigned)bits, (unsigned)most)) {
        return false;
    }
    n->family = a.ss_family;
    n->bits = (unsigned)bits;
    memcpy(n->bytes, bytes_of(&a), (size_t)most / 8);
    return true;
}

bool network_has(const struct network *list, size_t count, const struct sockaddr_storage *a)
{
    for (size_t i = 0; i < count; i++) {
        if (network_is_internet(a) && list[i].family == a->ss_family &&
            agree(list[i].bytes, bytes_of(a), list[i].bits)) {
            return true;
        }
    }
    return false;
}

/* Multiplication by a secret odd number; the high bits are the well-mixed ones. */
unsigned network_bucket(uint64_t key, uint64_t id)
{
    return (unsigned)((id ^ id >> 29) * (key | 1) >> 56);
}
