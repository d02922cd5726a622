/* What a visitor's browser says about a file, reduced to what may be passed on with it. */

#include "bridge.h"

#include <string.h>

enum {
    EXTENSION_MAX = 16, /* the dot included: an extension this long is kept when a name is cut */
    TYPE_MAX = 76, /* fits on a line between a space and a ";"; the longest of an office document has 73 */
};

/* The part behind the last separator of either kind: some browsers send the path on the visitor's machine. */
static size_t path_length(const unsigned char *name, size_t len)
{
    size_t at = len;
    while (at > 0 && name[at - 1] != '/' && name[at - 1] != '\\') {
        at--;
    }
    return at;
}

/* Appends name with a '_' for what would not show or would break a line; without what changes the order in
 * which the rest is shown (a "gpj.exe" that reads "exe.jpg"), and without the dots in front that hide a file.
 */
static void put_visible(struct buf *out, const unsigned char *name, size_t len)
{
    size_t start = out->len;
    for (size_t at = 0; at < len;) {
        uint32_t c;
        at += utf8_next(name + at, len - at, &c);
        enum utf8_class class = utf8_class(c);
        bool hidden = out->len == start && (c == '.' || class == UTF8_SPACE);
        if (class == UTF8_BIDI || hidden) {
            continue;
        }
        if (class == UTF8_BREAK || class == UTF8_CONTROL || c == '\t') {
            c = '_';
        }
        unsigned char bytes[4];
        buf_put(out, bytes, utf8_bytes(c, bytes));
    }
}

/* Windows takes dots and spaces at the end away, and so would show another extension. */
static void trim_end(struct buf *name)
{
    while (name->len > 0 && (name->data[name->len - 1] == '.' || name->data[name->len - 1] == ' ')) {
        name->len--;
    }
}

/* Where the extension begins, its dot included; the length of the name if it has none worth keeping. */
static size_t extension_at(const struct buf *name)
{
    const unsigned char *dot = memrchr(name->data, '.', name->len);
    if (dot == NULL || (size_t)(name->data + name->len - dot) > EXTENSION_MAX) {
        return name->len;
    }
    return (size_t)(dot - name->data);
}

void upload_name(const struct field *f, struct buf *out)
{
    struct buf name;
    buf_init(&name, 3 * f->filename.len + 1); /* each byte may become a U+FFFD */
    size_t skip = f->filename.len > 0 ? path_length(f->filename.data, f->filename.len) : 0;
    if (f->filename.len > skip) {
        put_visible(&name, f->filename.data + skip, f->filename.len - skip);
    }
    trim_end(&name);
    if (!buf_ok(&name)) {
        out->failed = true;
    } else if (name.len == 0) {
        buf_str(out, "upload");
    } else {
        size_t extension = extension_at(&name);
        size_t tail = name.len - extension;
        buf_put(out, name.data, utf8_cut(name.data, extension, FILE_NAME_MAX - tail));
        buf_put(out, name.data + extension, tail);
    }
    buf_free(&name);
}

static bool is_token(const char *text, size_t len) /* RFC 6838 §4.2, a little stricter than RFC 2045 */
{
    for (size_t i = 0; i < len; i++) {
        if (!text_alnum(text[i]) && !text_one_of(text[i], "!#$&-^_.+")) {
            return false;
        }
    }
    return len > 0;
}

/* Types on which a mail program acts instead of keeping a file: it would look for messages or parts within,
 * show a signature as if it were the sender's, show HTML, or convert the line ends and letters of text (mutt
 * does). */
static bool is_active(const char *type, size_t len)
{
    static const char *const prefixes[] = {
        "multipart/",
        "message/",
        "text/",
        "application/pkcs7-",
        "application/x-pkcs7-",
        "application/pgp-",
        "application/ms-tnef",
    };
    for (size_t i = 0; i < COUNT(prefixes); i++) {
        size_t n = strlen(prefixes[i]);
        if (len >= n && strncasecmp(type, prefixes[i], n) == 0) {
            return true;
        }
    }
    return false;
}

static bool type_ok(const char *type, size_t len)
{
    const char *slash = memchr(type, '/', len);
    if (slash == NULL) {
        return false;
    }
    size_t main = (size_t)(slash - type);
    return is_token(type, main) && is_token(slash + 1, len - main - 1) && !is_active(type, len);
}

void upload_type(const struct field *f, struct buf *out)
{
    const struct buf *claim = &f->type;
    if (claim->len > 0 && claim->len <= TYPE_MAX && type_ok((const char *)claim->data, claim->len)) {
        buf_put(out, claim->data, claim->len);
    } else {
        buf_str(out, "application/octet-stream");
    }
}
