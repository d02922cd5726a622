/* The PROXY protocol, versions 1 and 2: what a proxy says about a connection before its first byte (HAProxy's
 * proxy-protocol.txt). Exact: what is not a header to the letter is none. Pure. */

#include "bridge.h"

#include <string.h>

enum {
    V1_MAX = 107, /* §2.1: with its CRLF */
    V2_HEAD = 16,
    V2_LOCAL = 0x20, /* version in the high half, command in the low one */
    V2_PROXY = 0x21,
    TLV_HEAD = 3,
    TLV_CRC32C = 0x03,
};

static const unsigned char v1_start[] = {'P', 'R', 'O', 'X', 'Y', ' '};
static const unsigned char v2_start[] = {'\r', '\n', '\r', '\n', '\0', '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

static enum proxy_result wrong(struct proxy *p, const char *why)
{
    p->why = why;
    return PROXY_WRONG;
}

/* Does it begin like this, as far as it goes? */
static bool begins(const unsigned char *bytes, size_t len, const unsigned char *start, size_t start_len)
{
    return memcmp(bytes, start, len < start_len ? len : start_len) == 0;
}

/* ---- version 1: a line ----------------------------------------------------------------------- */

/* The next word of a line that ends at end: what stands before one space, or before the end. false: there is none. */
static bool next_word(const char **at, const char *end, struct span *word)
{
    if (*at == NULL) {
        return false;
    }
    const char *space = memchr(*at, ' ', (size_t)(end - *at));
    *word = (struct span){*at, (size_t)((space != NULL ? space : end) - *at)};
    *at = space != NULL ? space + 1 : NULL;
    return word->len > 0;
}

static bool is_word(struct span word, const char *text)
{
    return word.len == strlen(text) && memcmp(word.at, text, word.len) == 0;
}

static bool is_port(struct span word)
{
    uint64_t n;
    return (word.len == 1 || word.at[0] != '0') && text_number(word.at, word.len, &n) && n <= UINT16_MAX;
}

/* at: behind "PROXY ". */
static enum proxy_result read_line(struct proxy *p, const char *at, const char *end)
{
    struct span family = {NULL, 0}, from, to, from_port, to_port;
    struct sockaddr_storage destination;
    next_word(&at, end, &family);
    if (is_word(family, "UNKNOWN")) { /* §2.1: the rest of the line means nothing */
        return PROXY_READ;
    }
    bool ip4 = is_word(family, "TCP4");
    if (!ip4 && !is_word(family, "TCP6")) {
        return wrong(p, "it is neither TCP4 nor TCP6 nor UNKNOWN");
    }
    if (!next_word(&at, end, &from) || !next_word(&at, end, &to) || !next_word(&at, end, &from_port) ||
        !next_word(&at, end, &to_port) || at != NULL) {
        return wrong(p, "it is not two addresses and two ports");
    }
    bool colon = memchr(from.at, ':', from.len) != NULL && memchr(to.at, ':', to.len) != NULL;
    if (!network_address(&p->visitor, from.at, from.len) || !network_address(&destination, to.at, to.len) ||
        colon == ip4) {
        return wrong(p, "an address in it is none of its family");
    }
    if (!is_port(from_port) || !is_port(to_port)) {
        return wrong(p, "a port in it is no number from 0 to 65535");
    }
    return PROXY_READ;
}

static enum proxy_result read_v1(struct proxy *p, const unsigned char *bytes, size_t len)
{
    size_t most = len < V1_MAX ? len : V1_MAX;
    const unsigned char *end = memchr(bytes, '\n', most);
    size_t line = end != NULL ? (size_t)(end - bytes) : most;
    for (size_t i = 0; i < line; i++) {
        bool last = bytes[i] == '\r' && (i + 1 == line);
        if (!last && (bytes[i] < 0x20 || bytes[i] > 0x7e)) {
            return wrong(p, "its line holds bytes that are not text");
        }
    }
    if (end == NULL) {
        return len < V1_MAX ? PROXY_MORE : wrong(p, "its line is longer than 107 bytes");
    }
    if (line <= sizeof v1_start || bytes[line - 1] != '\r') {
        return wrong(p, "its line does not end with CR LF");
    }
    p->len = line + 1;
    return read_line(p, (const char *)bytes + sizeof v1_start, (const char *)end - 1);
}

/* ---- version 2: binary ----------------------------------------------------------------------- */

static size_t number16(const unsigned char *at)
{
    return (size_t)at[0] << 8 | at[1];
}

/* RFC 3720 §B.4's CRC, of the header with zeros where its sum stands (§2.2.3). */
static uint32_t crc32c(const unsigned char *bytes, size_t len, size_t sum_at)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        crc ^= i >= sum_at && i < sum_at + 4 ? 0 : bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ ((crc & 1) != 0 ? UINT32_C(0x82f63b78) : 0);
        }
    }
    return ~crc;
}

/* What the rest says (names, certificates, namespaces) is of no use here, but it must be whole. */
static enum proxy_result read_tlvs(struct proxy *p, const unsigned char *bytes, size_t at)
{
    while (at < p->len) {
        if (p->len - at < TLV_HEAD || p->len - at - TLV_HEAD < number16(bytes + at + 1)) {
            return wrong(p, "one of its TLVs is longer than the header");
        }
        unsigned type = bytes[at];
        size_t value = at + TLV_HEAD, size = number16(bytes + at + 1);
        if (type == TLV_CRC32C) {
            const unsigned char *s = bytes + value;
            if (size != 4 || ((uint32_t)s[0] << 24 | (uint32_t)s[1] << 16 | (uint32_t)s[2] << 8 | s[3]) !=
                                 crc32c(bytes, p->len, value)) {
                return wrong(p, "its checksum is wrong");
            }
        }
        at = value + size;
    }
    return PROXY_READ;
}

static enum proxy_result read_block(struct proxy *p, const unsigned char *bytes)
{
    static const struct {
        unsigned char family; /* and transport: all are streams */
        size_t addresses;     /* bytes */
    } known[] = {{0x11, 12}, {0x21, 36}, {0x31, 216}};
    if (bytes[12] == V2_LOCAL || bytes[13] == 0x00) { /* §2.2: the block means nothing */
        return PROXY_READ;
    }
    for (size_t i = 0; i < COUNT(known); i++) {
        if (bytes[13] == known[i].family) {
            if (p->len - V2_HEAD < known[i].addresses) {
                return wrong(p, "it is shorter than its addresses");
            }
            if (known[i].family == 0x11) {
                network_ip4(&p->visitor, bytes + V2_HEAD);
            } else if (known[i].family == 0x21) {
                network_ip6(&p->visitor, bytes + V2_HEAD);
            }
            return read_tlvs(p, bytes, V2_HEAD + known[i].addresses);
        }
    }
    return wrong(p, "it is not about a TCP connection or a unix stream");
}

static enum proxy_result read_v2(struct proxy *p, const unsigned char *bytes, size_t len)
{
    if (len > 12 && bytes[12] != V2_LOCAL && bytes[12] != V2_PROXY) {
        return wrong(p, "its version is not 2, or its command neither LOCAL nor PROXY");
    }
    if (len < V2_HEAD) {
        return PROXY_MORE;
    }
    p->len = V2_HEAD + number16(bytes + 14);
    if (p->len > PROXY_MAX) {
        return wrong(p, "it is longer than 4096 bytes");
    }
    return len < p->len ? PROXY_MORE : read_block(p, bytes);
}

enum proxy_result proxy_read(struct proxy *p, const void *bytes, size_t len)
{
    *p = (struct proxy){.visitor = {.ss_family = AF_UNSPEC}};
    enum proxy_result result = PROXY_MORE;
    if (len > 0 && begins(bytes, len, v1_start, sizeof v1_start)) {
        result = len < sizeof v1_start ? PROXY_MORE : read_v1(p, bytes, len);
    } else if (len > 0 && begins(bytes, len, v2_start, sizeof v2_start)) {
        result = len < sizeof v2_start ? PROXY_MORE : read_v2(p, bytes, len);
    } else if (len > 0) {
        result = wrong(p, "there is none");
    }
    if (result != PROXY_READ) { /* nothing of a header counts before all of it does */
        p->len = 0;
        p->visitor = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    }
    return result;
}
