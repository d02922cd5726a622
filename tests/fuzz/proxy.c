/*
 * PROXY headers of arbitrary bytes: what is read is found again by a second, simpler look at the same bytes, more bytes
 * never change a verdict, and fewer never reach one earlier.
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

static void check_read(const struct proxy *p, const uint8_t *data, size_t size)
{
    must(p->len <= size && p->len <= PROXY_MAX && p->len >= 15);
    if (data[0] == 'P') {
        must(p->len <= 107 && memcmp(data + p->len - 2, "\r\n", 2) == 0 &&
             memchr(data, '\n', p->len - 1) == NULL);
        must((p->visitor.ss_family == AF_INET6) <= (memcmp(data, "PROXY TCP6 ", 11) == 0));
        must((p->visitor.ss_family == AF_UNSPEC) == (memcmp(data, "PROXY UNKNOWN", 13) == 0));
        return;
    }
    must(p->len == 16u + ((unsigned)data[14] << 8 | data[15]) && data[12] >> 4 == 2);
    bool named = (data[12] & 15) == 1 && (data[13] == 0x11 || data[13] == 0x21);
    must(named == (p->visitor.ss_family != AF_UNSPEC));
    if (named && data[13] == 0x11) {
        must(memcmp(&((const struct sockaddr_in *)(const void *)&p->visitor)->sin_addr, data + 16, 4) == 0);
    } else if (p->visitor.ss_family == AF_INET6) {
        must(memcmp(&((const struct sockaddr_in6 *)(const void *)&p->visitor)->sin6_addr, data + 16, 16) ==
             0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy whole, part;
    enum proxy_result result = proxy_read(&whole, data, size);
    must((result == PROXY_WRONG) == (whole.why != NULL));
    must(result == PROXY_READ || (whole.len == 0 && whole.visitor.ss_family == AF_UNSPEC));
    if (result == PROXY_READ) {
        check_read(&whole, data, size);
    }
    bool wrong = false;
    size_t step = size > 600 ? size / 200 : 1;
    for (size_t n = 0; n < size; n += step) {
        enum proxy_result r = proxy_read(&part, data, n);
        must(!wrong || r == PROXY_WRONG);
        must(r != PROXY_WRONG || result == PROXY_WRONG);
        must(r != PROXY_READ || (result == PROXY_READ && part.len == whole.len && n >= whole.len));
        must(result != PROXY_READ || r == (n < whole.len ? PROXY_MORE : PROXY_READ));
        wrong = r == PROXY_WRONG;
    }
    return 0;
}
