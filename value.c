/* What the text of one config value means: sizes, times, names, addresses, URLs. Pure. */

#include "bridge.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

bool value_name(const char *text)
{
    size_t len = 0;
    for (; text[len] != '\0'; len++) {
        char c = text[len];
        if (!is_lower(c) && !text_digit(c) && c != '_' && c != '-') {
            return false;
        }
    }
    return len > 0 && len <= FORM_NAME_MAX;
}

/* A number and perhaps one letter of units, which stands for the factor beside it. */
static bool scaled(const char *text, const char *units, const uint64_t *factors, uint64_t *out)
{
    size_t len = strlen(text);
    uint64_t factor = 1;
    const char *unit = len > 0 ? strchr(units, text_lower(text[len - 1])) : NULL;
    if (unit != NULL) {
        factor = factors[unit - units];
        len--;
    }
    uint64_t n;
    if (!text_number(text, len, &n) || n > UINT64_MAX / factor) {
        return false;
    }
    *out = n * factor;
    return true;
}

bool value_size(const char *text, uint64_t *bytes)
{
    static const uint64_t factors[] = {UINT64_C(1) << 10, UINT64_C(1) << 20, UINT64_C(1) << 30};
    return scaled(text, "kmg", factors, bytes);
}

bool value_seconds(const char *text, uint64_t *seconds)
{
    static const uint64_t factors[] = {1, 60, 3600, 86400};
    return scaled(text, "smhd", factors, seconds);
}

bool value_rate(const char *text, struct rate *rate)
{
    enum { MOST = 1000000, DAY = 86400 };
    *rate = (struct rate){.count = 0};
    if (strcmp(text, "0") == 0 || strcmp(text, "off") == 0) {
        return true;
    }
    const char *slash = strchr(text, '/');
    uint64_t count, seconds;
    if (slash == NULL || !text_number(text, (size_t)(slash - text), &count) ||
        !value_seconds(slash + 1, &seconds) || count < 1 || count > MOST || seconds < 1 || seconds > DAY) {
        return false;
    }
    *rate = (struct rate){.count = (uint32_t)count, .seconds = (uint32_t)seconds};
    return true;
}

static bool is_label(const char *text, size_t len)
{
    if (len == 0 || len > 63 || text[0] == '-' || text[len - 1] == '-') {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        char c = text_lower(text[i]);
        if (!is_lower(c) && !text_digit(c) && c != '-') {
            return false;
        }
    }
    return true;
}

bool value_host(const char *text)
{
    if (strlen(text) > HOST_NAME_MAX_) {
        return false;
    }
    for (;;) {
        size_t len = strcspn(text, ".");
        if (!is_label(text, len)) {
            return false;
        }
        if (text[len] == '\0') {
            /* A last label of digits alone is an address that was mistyped (RFC 1123 §2.1). */
            return strspn(text, "0123456789") < len;
        }
        text += len + 1;
    }
}

static bool is_ip4(const char *text)
{
    struct in_addr a;
    return inet_pton(AF_INET, text, &a) == 1;
}

static bool is_ip6(const char *text)
{
    struct in6_addr a;
    return inet_pton(AF_INET6, text, &a) == 1;
}

static bool read_port(const char *text, uint16_t *port)
{
    uint64_t n;
    if (text[0] == '0' || !text_number(text, strlen(text), &n) || n > UINT16_MAX) {
        return false;
    }
    *port = (uint16_t)n;
    return true;
}

/* Where the port begins in "HOST:PORT" or "[ADDRESS]:PORT", at its colon; at the end if there is none. */
static char *find_port(char *text)
{
    char *bracket = text[0] == '[' ? strchr(text, ']') : NULL;
    return bracket != NULL ? bracket + 1 : text + strcspn(text, ":");
}

char *value_server(char *text, uint16_t *port)
{
    char *colon = find_port(text);
    *port = 0;
    if (*colon != '\0' && (*colon != ':' || !read_port(colon + 1, port))) {
        return NULL;
    }
    *colon = '\0';
    if (text[0] == '[') {
        colon[-1] = '\0';
        return is_ip6(text + 1) ? text + 1 : NULL;
    }
    return is_ip4(text) || value_host(text) ? text : NULL;
}

bool value_endpoint(const char *text, struct endpoint *e)
{
    char copy[ADDRESS_TEXT];
    *e = (struct endpoint){0};
    uint16_t port;
    if (!text_copy(e->text, sizeof(e->text), text) || !text_copy(copy, sizeof(copy), text)) {
        return false;
    }
    const char *host = value_server(copy, &port);
    if (host == NULL || port == 0) {
        return false;
    }
    struct sockaddr_in ip4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 ip6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (inet_pton(AF_INET, host, &ip4.sin_addr) == 1) {
        memcpy(&e->addr, &ip4, sizeof(ip4));
        e->addr_len = sizeof(ip4);
    } else if (inet_pton(AF_INET6, host, &ip6.sin6_addr) == 1) {
        memcpy(&e->addr, &ip6, sizeof(ip6));
        e->addr_len = sizeof(ip6);
    }
    return e->addr_len != 0;
}

bool value_socket(const char *path, struct endpoint *e)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    *e = (struct endpoint){.addr_len = sizeof(un)};
    if (path[0] != '/' || !text_copy(un.sun_path, sizeof(un.sun_path), path) ||
        !text_fmt(e->text, sizeof(e->text), "unix:%s", path)) {
        return false;
    }
    memcpy(&e->addr, &un, sizeof(un));
    return true;
}

const char *value_listen(const char *text, struct endpoint *e)
{
    static const char proxy[] = "proxy:", plain[] = "plain:", local[] = "unix:";
    const char *why = NULL, *rest = text;
    enum endpoint_kind kind = ENDPOINT_TLS;
    if (strncmp(text, local, sizeof local - 1) == 0) {
        why = value_socket(text + sizeof local - 1, e)
                  ? NULL
                  : "is not unix: and a whole path, 63 characters in all";
        e->kind = ENDPOINT_PLAIN;
        return why;
    }
    if (strncmp(text, proxy, sizeof proxy - 1) == 0) {
        kind = ENDPOINT_PROXY;
        rest += sizeof proxy - 1;
    } else if (strncmp(text, plain, sizeof plain - 1) == 0) {
        kind = ENDPOINT_PLAIN;
        rest += sizeof plain - 1;
    }
    if (!value_endpoint(rest, e)) {
        why = "is not an address in numbers and a port, such as 0.0.0.0:443 or [::]:443; names are not "
              "looked up here";
    } else if (kind == ENDPOINT_PLAIN && !network_is_loopback(&e->addr)) {
        why = "would take forms in clear from other machines: use plain:127.0.0.1:PORT, plain:[::1]:PORT or "
              "unix:/PATH";
    } else if (!text_copy(e->text, sizeof e->text, text)) {
        why = "is too long";
    }
    e->kind = kind;
    return why;
}

bool value_mode(const char *text, unsigned *mode)
{
    *mode = 0;
    for (size_t i = 0; text[i] != '\0'; i++) {
        if (text[i] < '0' || text[i] > '7' || i > 3) {
            return false;
        }
        *mode = *mode << 3 | (unsigned)(text[i] - '0');
    }
    return strlen(text) >= 3 && *mode <= 0777;
}

/* Skips a scheme of the web; 0: it has none. */
static size_t skip_scheme(const char *text, bool *https)
{
    static const char secure[] = "https://", plain[] = "http://";
    *https = strncasecmp(text, secure, sizeof(secure) - 1) == 0;
    if (*https) {
        return sizeof(secure) - 1;
    }
    return strncasecmp(text, plain, sizeof(plain) - 1) == 0 ? sizeof(plain) - 1 : 0;
}

bool value_origin(char *text)
{
    for (char *c = text; *c != '\0'; c++) {
        *c = text_lower(*c);
    }
    bool https;
    char *host = text + skip_scheme(text, &https);
    size_t len = strlen(host);
    if (len > 0 && host[len - 1] == '/') {
        host[len - 1] = '\0';
    }
    char copy[HOST_NAME_MAX_ + sizeof(":65535")];
    uint16_t port;
    if (host == text || !text_copy(copy, sizeof(copy), host) || value_server(copy, &port) == NULL) {
        return false;
    }
    if (port == (https ? 443 : 80)) { /* browsers leave it out, and origins are compared as text */
        *find_port(host) = '\0';
    }
    return true;
}

static bool is_this_machine(const char *host)
{
    struct in_addr ip4;
    if (inet_pton(AF_INET, host, &ip4) == 1) {
        return ntohl(ip4.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "::1") == 0;
}

bool value_url(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        /* RFC 3986 §2: what else it may name is percent-encoded. It goes into a header, and into a page. */
        if (*c <= ' ' || *c > '~' || strchr("\"<>\\^`{|}", *c) != NULL) {
            return false;
        }
    }
    bool https;
    const char *authority = text + skip_scheme(text, &https);
    char copy[HOST_NAME_MAX_ + sizeof(":65535")];
    uint16_t port;
    if (authority == text ||
        !text_fmt(copy, sizeof(copy), "%.*s", (int)strcspn(authority, "/?#"), authority)) {
        return false;
    }
    const char *host = value_server(copy, &port);
    return host != NULL && (https || is_this_machine(host));
}

bool value_template(const char *text)
{
    for (text += strcspn(text, "{}"); *text != '\0'; text += strcspn(text, "{}")) {
        struct placeholder p;
        size_t len = mime_placeholder(text, &p);
        if (len == 0) {
            return false;
        }
        text += len;
    }
    return true;
}

static bool pin_from_hex(const char *text, unsigned char pin[32])
{
    for (size_t i = 0; i < 32; i++) {
        int high = text_hex(text[2 * i]), low = text_hex(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        pin[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

/* With or without its padding. */
static bool pin_from_base64(const char *text, unsigned char pin[32])
{
    char padded[44 + 1];
    struct buf out;
    buf_borrow(&out, pin, 32);
    return text_fmt(padded, sizeof padded, "%.43s=", text) && base64_get(&out, padded, 44, BASE64) &&
           out.len == 32;
}

bool value_pin(const char *text, unsigned char pin[32])
{
    static const char prefix[] = "sha256:";
    if (strncmp(text, prefix, sizeof(prefix) - 1) == 0) {
        text += sizeof(prefix) - 1;
    }
    switch (strlen(text)) {
    case 64: return pin_from_hex(text, pin);
    case 44: return text[43] == '=' && pin_from_base64(text, pin);
    case 43: return pin_from_base64(text, pin);
    default: return false;
    }
}

bool value_folder(const char *text)
{
    enum { LONGEST = 100 };
    size_t len = strlen(text);
    if (text[0] != '.' || len > LONGEST || text[len - 1] == '.' || strstr(text, "..") != NULL) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~' || text[i] == '/') {
            return false;
        }
    }
    return true;
}
