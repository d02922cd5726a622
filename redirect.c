/*
 * Where a form may send the visitor afterwards. Pure.
 *
 * The target comes from the page, so from anybody. It is not repaired but read as strictly as it can be, written anew
 * in one form, and only then compared: a browser that finds another meaning in odd bytes never sees them.
 */

#include "bridge.h"

#include <string.h>
#include <strings.h>

/* Does an escape of this byte stand at at? digits: two, the letters of them small. */
static bool is_escape(const char *at, const char *end, const char *digits)
{
    return end - at >= 3 && at[0] == '%' && strncasecmp(at + 1, digits, 2) == 0;
}

/* Is at the beginning of a segment "." or "..", its dots escaped or not, which a browser or a server would take
 * for a step to the side or up (URL Standard, "single-dot" and "double-dot URL path segment")? */
static bool is_dots(const char *at, const char *end)
{
    size_t dots = 0;
    while (at < end && (*at == '.' || is_escape(at, end, "2e"))) {
        at += *at == '.' ? 1 : 3;
        dots++;
    }
    /* ";": what follows it some servers take away before they look at the dots. */
    return (dots == 1 || dots == 2) && (at == end || *at == '/' || *at == ';');
}

static bool path_ok(const char *at, const char *end)
{
    for (const char *c = at; c < end; c++) {
        bool hides_slash = is_escape(c, end, "2f") || is_escape(c, end, "5c");
        if (hides_slash || (*c == '/' && (is_dots(c + 1, end) || (c + 1 < end && c[1] == '/')))) {
            return false;
        }
    }
    return true;
}

/* Writes path, query and fragment: what RFC 3986 lets stand there as it is, and escapes of the rest. false: a byte
 * or an escape that has no business in an address. */
static bool write_rest(const char *at, const char *end, struct buf *out)
{
    for (; at < end; at++) {
        unsigned char c = (unsigned char)*at;
        if (c < ' ' || c == 0x7F || c == '\\') {
            return false;
        }
        if (c == '%' && (end - at < 3 || text_hex(at[1]) < 0 || text_hex(at[2]) < 0 ||
                         is_escape(at, end, "0d") || is_escape(at, end, "0a") || is_escape(at, end, "00"))) {
            return false;
        }
        if (c == ' ' || c > '~' || strchr("\"<>^`{|}", c) != NULL) {
            buf_fmt(out, "%%%02X", c);
        } else {
            buf_byte(out, c);
        }
    }
    return true;
}

static size_t find_any(const char *at, const char *end, const char *bytes)
{
    const char *c = at;
    while (c < end && !text_one_of(*c, bytes)) {
        c++;
    }
    return (size_t)(c - at);
}

/* Writes the origin of an absolute address, and moves at behind it. */
static bool write_origin(const char **at, const char *end, struct buf *out)
{
    char origin[sizeof "https://" + HOST_NAME_MAX_ + sizeof ":65535"];
    size_t scheme = strncasecmp(*at, "https://", 8) == 0 ? 8 : 7;
    size_t len = scheme + find_any(*at + scheme, end, "/?#");
    /* value_origin() takes letters, digits, dots and a port: no user, no "@", no backslash, no other script. */
    if (memchr(*at, '\0', len) != NULL || !text_fmt(origin, sizeof origin, "%.*s", (int)len, *at) ||
        !value_origin(origin)) {
        return false;
    }
    buf_str(out, origin);
    *at += len;
    return true;
}

static bool begins(const char *at, const char *end, const char *with)
{
    size_t len = strlen(with);
    return (size_t)(end - at) >= len && strncasecmp(at, with, len) == 0;
}

const char *redirect_read(const char *text, size_t len, const char *site, struct buf *out)
{
    static const char too_long[] = "it is too long";
    struct span trimmed = text_trim((struct span){text, len}, " ");
    const char *at = trimmed.at, *end = at + trimmed.len;
    if (end - at > REDIRECT_MAX) {
        return too_long;
    }
    if (begins(at, end, "https://") || begins(at, end, "http://")) {
        if (!write_origin(&at, end, out)) {
            return "its host is no name such as www.example.com";
        }
    } else if (at == end || *at != '/') {
        return "a path must begin with /, an address with https://";
    } else if (site == NULL) {
        return "the form has no origins that a path could be on";
    } else { /* path_ok() refuses "//" */
        buf_str(out, site);
    }
    if (at == end || *at != '/') {
        buf_byte(out, '/');
    }
    if (!path_ok(at, at + find_any(at, end, "?#")) || !write_rest(at, end, out)) {
        return "it holds what a browser could read in another way";
    }
    const char *url = buf_text(out);
    if (url == NULL) {
        return too_long;
    }
    return value_url(url) ? NULL : "http must be https"; /* but for this machine */
}

bool redirect_allowed(const char *url, char *const *allowed, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(allowed[i]);
        if (strncmp(url, allowed[i], len) == 0 &&
            (allowed[i][len - 1] == '/' || url[len] == '\0' || strchr("/?#", url[len]) != NULL)) {
            return true;
        }
    }
    return false;
}

bool redirect_prefix(const char *text, struct buf *out)
{
    return strpbrk(text, "?#") == NULL && redirect_read(text, strlen(text), NULL, out) == NULL;
}
