/*
 * HTTP request heads: lets through what every parser reads alike.
 *
 * Lines are collected until the empty one, then the head is judged as a
 * whole. Stricter than RFC 9112 asks wherever leniency would leave two ways
 * to read the same bytes, for there are two readers: this file counts the
 * body, libmicrohttpd takes it.
 */

#include "bridge.h"

#include <string.h>

enum {
    MAX_METHOD = 16,
    MAX_TARGET = 2048,
};

enum { /* field lines that may stand in a head only once */
       ONCE_HOST = 1,
       ONCE_CONTENT_LENGTH = 2,
       ONCE_TRANSFER_ENCODING = 4,
       ONCE_CONTENT_TYPE = 8,
       ONCE_ORIGIN = 16,
       ONCE_EXPECT = 32,
};

struct request {    /* what a head says, as far as the gate must know */
    unsigned minor; /* of HTTP/1.x */
    bool post;
    unsigned seen; /* ONCE_... */
    bool close;
    bool keep_alive;
    unsigned parts;     /* fields, arguments in the target, cookies: libmicrohttpd makes an object of each */
    struct span coding; /* of Transfer-Encoding */
    uint64_t length;
};

static bool refuse(struct gate *g, unsigned status, const char *why)
{
    g->state = GATE_REFUSED;
    g->status = status;
    g->why = why;
    return false;
}

/* ---- characters and spans ------------------------------------------------------------------- */

static bool is_visible(char c)
{
    return c > 0x20 && c < 0x7f;
}

static bool is_token(struct span s)
{
    return s.len > 0 && text_token(s.at, s.len) == s.len;
}

static bool is_text(struct span s, const char *text)
{
    return text_same(s.at, s.len, text);
}

/* How many of these characters there are. */
static unsigned count(struct span s, const char *characters)
{
    unsigned n = 0;
    for (size_t i = 0; i < s.len; i++) {
        n += text_one_of(s.at[i], characters);
    }
    return n;
}

/* Cuts off what stands before the first separator, which is dropped. false: there is none, and rest is as it
 * was. */
static bool cut(struct span *rest, char separator, struct span *before)
{
    const char *at = memchr(rest->at, separator, rest->len);
    if (at == NULL) {
        return false;
    }
    *before = (struct span){rest->at, (size_t)(at - rest->at)};
    rest->len -= before->len + 1;
    rest->at = at + 1;
    return true;
}

/* ---- the request line ------------------------------------------------------------------------ */

static bool judge_version(struct gate *g, struct span version, struct request *r)
{
    if (version.len != 8 || memcmp(version.at, "HTTP/", 5) != 0 || !text_digit(version.at[5]) ||
        version.at[6] != '.' || !text_digit(version.at[7])) {
        return refuse(g, 400,
                      "The request line must be a method, a target and HTTP/1.1, with one space between.");
    }
    if (version.at[5] != '1' || version.at[7] > '1') {
        return refuse(g, 505, "This server speaks HTTP/1.1 and HTTP/1.0.");
    }
    r->minor = version.at[7] == '1' ? 1 : 0;
    return true;
}

static bool judge_method(struct gate *g, struct span method, struct request *r)
{
    if (!is_token(method)) {
        return refuse(g, 400, "The request does not begin with a method.");
    }
    /* CONNECT and TRACE have no meaning at a form, and each has rules of its own for target and body. */
    if (method.len > MAX_METHOD || is_text(method, "connect") || is_text(method, "trace")) {
        return refuse(g, 501, "This server does not implement that method.");
    }
    r->post = method.len == 4 && memcmp(method.at, "POST", 4) == 0;
    return true;
}

/* Origin-form, or "*" for OPTIONS. RFC 9112 §3.2.2 wants absolute-form taken as well; but no client sends it
 * to a server it does not take for a proxy, and it names a second host beside the Host field. */
static bool judge_target(struct gate *g, struct span method, struct span target)
{
    if (target.len > MAX_TARGET) {
        return refuse(g, 414, "The address of the request is longer than 2048 bytes.");
    }
    if (is_text(target, "*") && method.len == 7 && memcmp(method.at, "OPTIONS", 7) == 0) {
        return true;
    }
    if (target.len == 0 || target.at[0] != '/') {
        return refuse(g, 400, "The target of the request must be a path that begins with a slash.");
    }
    for (size_t i = 0; i < target.len; i++) {
        if (!is_visible(target.at[i]) || target.at[i] == '#') {
            return refuse(g, 400,
                          "The target of the request holds a character that must be percent-encoded.");
        }
    }
    return true;
}

static bool count_parts(struct gate *g, unsigned more, struct request *r)
{
    r->parts += more;
    return r->parts <= GATE_PARTS_MAX ||
           refuse(g, 431, "The request head has more than 100 fields, arguments and cookies.");
}

static bool judge_request_line(struct gate *g, struct span line, struct request *r)
{
    struct span method, target;
    if (!cut(&line, ' ', &method) || !cut(&line, ' ', &target)) {
        return refuse(g, 400,
                      "The request line must be a method, a target and HTTP/1.1, with one space between.");
    }
    return judge_version(g, line, r) && judge_method(g, method, r) && judge_target(g, method, target) &&
           count_parts(g, count(target, "&"), r);
}

/* ---- the field lines ------------------------------------------------------------------------- */

static bool is_port(struct span s)
{
    uint64_t port;
    return s.len == 0 || (text_number(s.at, s.len, &port) && port <= 65535);
}

/* host [":" port] with a DNS name, an IPv4 address or an IPv6 address in brackets: of RFC 3986 §3.2.2 what a
 * certificate can name. */
static bool is_host(struct span s)
{
    struct span host = s;
    bool literal = s.len > 0 && s.at[0] == '[';
    if (literal) {
        if (!cut(&s, ']', &host) || host.len < 3) {
            return false;
        }
        if (s.len > 0 && s.at[0] != ':') {
            return false;
        }
        host.at++;
        host.len--;
        s = s.len > 0 ? (struct span){s.at + 1, s.len - 1} : s;
    } else if (!cut(&s, ':', &host)) {
        s.len = 0;
    }
    for (size_t i = 0; i < host.len; i++) {
        if (!text_alnum(host.at[i]) && !text_one_of(host.at[i], literal ? ":." : "-._")) {
            return false;
        }
    }
    return host.len > 0 && host.len <= HOST_NAME_MAX_ + 1 && is_port(s);
}

static bool judge_length(struct gate *g, struct span value, struct request *r)
{
    for (size_t i = 0; i < value.len; i++) {
        if (!text_digit(value.at[i])) {
            return refuse(g, 400, "Content-Length must be one plain decimal number.");
        }
    }
    if (value.len == 0 || (value.len > 1 && value.at[0] == '0')) { /* some read a leading zero as octal */
        return refuse(g, 400, "Content-Length must be one plain decimal number.");
    }
    if (!text_number(value.at, value.len, &r->length) || r->length > g->max_body) {
        return refuse(g, 413, "The body of the request is larger than this server takes.");
    }
    return true;
}

static void read_connection(struct span value, struct request *r)
{
    struct span option;
    bool more;
    do {
        more = cut(&value, ',', &option);
        if (!more) {
            option = value;
        }
        option = text_trim(option, TEXT_BLANKS);
        r->close = r->close || is_text(option, "close");
        r->keep_alive = r->keep_alive || is_text(option, "keep-alive");
    } while (more);
}

static bool judge_once(struct gate *g, struct span name, struct request *r, unsigned *which)
{
    static const struct {
        const char *name;
        unsigned bit;
        const char *twice;
    } once[] = {
        {"host", ONCE_HOST, "The request has more than one Host field."},
        {"content-length", ONCE_CONTENT_LENGTH, "The request has more than one Content-Length field."},
        {"transfer-encoding", ONCE_TRANSFER_ENCODING,
         "The request has more than one Transfer-Encoding field."},
        {"content-type", ONCE_CONTENT_TYPE, "The request has more than one Content-Type field."},
        {"origin", ONCE_ORIGIN, "The request has more than one Origin field."},
        {"expect", ONCE_EXPECT, "The request has more than one Expect field."},
    };
    *which = 0;
    for (size_t i = 0; i < COUNT(once); i++) {
        if (is_text(name, once[i].name)) {
            if ((r->seen & once[i].bit) != 0) {
                return refuse(g, 400, once[i].twice);
            }
            r->seen |= once[i].bit;
            *which = once[i].bit;
        }
    }
    return true;
}

static bool judge_field(struct gate *g, struct span name, struct span value, struct request *r)
{
    unsigned which;
    unsigned cookies = is_text(name, "cookie") ? count(value, ";,") : 0;
    if (!count_parts(g, 1 + cookies, r) || !judge_once(g, name, r, &which)) {
        return false;
    }
    if (which == ONCE_HOST && !is_host(value)) {
        return refuse(g, 400, "The Host field must be a host name or address, and a port if need be.");
    }
    if (which == ONCE_CONTENT_LENGTH) {
        return judge_length(g, value, r);
    }
    if (which == ONCE_EXPECT && !is_text(value, "100-continue")) {
        return refuse(g, 417, "The one expectation this server meets is 100-continue.");
    }
    if (which == ONCE_TRANSFER_ENCODING) {
        r->coding = value;
    }
    if (is_text(name, "connection")) {
        read_connection(value, r);
    }
    return true;
}

static bool judge_field_line(struct gate *g, struct span line, struct request *r)
{
    struct span name;
    if (text_one_of(line.at[0], TEXT_BLANKS)) { /* obs-fold, or RFC 9112 §2.2: space before the first field */
        return refuse(g, 400, "A line of the request head begins with a space: folded fields are not taken.");
    }
    if (!cut(&line, ':', &name) || !is_token(name)) {
        return refuse(g, 400, "A line of the request head is not a name, a colon and a value.");
    }
    for (size_t i = 0; i < line.len; i++) { /* RFC 9110 §5.5: visible, space, tab and obs-text */
        unsigned char c = (unsigned char)line.at[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return refuse(g, 400, "A field of the request head holds a control character.");
        }
    }
    return judge_field(g, name, text_trim(line, TEXT_BLANKS), r);
}

/* ---- the head as a whole --------------------------------------------------------------------- */

/* RFC 9112 §6.1 to §6.3: how long is the body? By Content-Length or not at all. */
static bool judge_framing(struct gate *g, const struct request *r)
{
    if ((r->seen & ONCE_TRANSFER_ENCODING) != 0) {
        if ((r->seen & ONCE_CONTENT_LENGTH) != 0) {
            return refuse(g, 400, "The request has both a Transfer-Encoding and a Content-Length.");
        }
        if (r->minor == 0) {
            return refuse(g, 400, "HTTP/1.0 has no Transfer-Encoding.");
        }
        if (!is_text(r->coding, "chunked")) {
            return refuse(g, 501, "This server does not implement that Transfer-Encoding.");
        }
        return refuse(g, 411, "Send the body with a Content-Length instead of chunked.");
    }
    if (r->post && (r->seen & ONCE_CONTENT_LENGTH) == 0) {
        return refuse(g, 411, "A POST needs a Content-Length.");
    }
    return true;
}

/* The next line without its CRLF; the head is known to consist of such lines. */
static struct span next_line(struct span *rest)
{
    struct span line = {rest->at, 0};
    cut(rest, '\n', &line);
    line.len--;
    return line;
}

static bool judge_head(struct gate *g)
{
    struct span rest = {(const char *)g->head.data, g->head.len};
    struct request r = {0};
    if (!judge_request_line(g, next_line(&rest), &r)) {
        return false;
    }
    for (struct span line = next_line(&rest); line.len > 0; line = next_line(&rest)) {
        if (!judge_field_line(g, line, &r)) {
            return false;
        }
    }
    if (r.minor == 1 && (r.seen & ONCE_HOST) == 0) { /* RFC 9112 §3.2 */
        return refuse(g, 400, "The request has no Host field.");
    }
    if (!judge_framing(g, &r)) {
        return false;
    }
    g->post = r.post;
    g->last = r.close || (r.minor == 0 && !r.keep_alive);
    g->expects = (r.seen & ONCE_EXPECT) != 0;
    g->body_left = r.length;
    return true;
}

/* What was refused may be cut off or hold anything: the first line of this name that can be read. */
struct span gate_field(const struct gate *g, const char *name)
{
    struct span rest = {(const char *)g->head.data, g->head.len}, line, before;
    while (rest.len > 0 && cut(&rest, '\n', &line)) {
        if (line.len > 0 && line.at[line.len - 1] == '\r') {
            line.len--;
        }
        if (cut(&line, ':', &before) && is_text(before, name)) {
            return text_trim(line, TEXT_BLANKS);
        }
    }
    return (struct span){NULL, 0};
}

/* ---- the stream ------------------------------------------------------------------------------ */

void gate_init(struct gate *g, size_t max_head, uint64_t max_body)
{
    *g = (struct gate){.max_body = max_body};
    buf_init(&g->head, max_head);
}

void gate_free(struct gate *g)
{
    buf_free(&g->head);
}

/* Adds bytes of one line, at most up to its end. */
static bool collect(struct gate *g, const void *bytes, size_t len)
{
    if (len > g->head.max - g->head.len) {
        return g->line == 0 ? refuse(g, 414, "The request line is longer than this server takes.")
                            : refuse(g, 431, "The request head is larger than this server takes.");
    }
    buf_put(&g->head, bytes, len);
    return buf_ok(&g->head) || refuse(g, 503, "This server is out of memory. Try again later.");
}

/* A line of the head is complete. Sets passed with the empty one that ends it. */
static bool end_line(struct gate *g)
{
    const unsigned char *line = g->head.data + g->line;
    size_t len = g->head.len - g->line;
    if (len < 2 || line[len - 2] != '\r') { /* RFC 9112 §2.2 would allow a bare LF */
        return refuse(g, 400, "A line of the request head ends without a carriage return.");
    }
    if (len > 2) {
        g->line = g->head.len;
        return true;
    }
    if (g->line > 0) {
        g->passed = judge_head(g);
        return g->passed;
    }
    if (g->blank) {
        return refuse(g, 400, "The request begins with empty lines.");
    }
    g->blank = true; /* RFC 9112 §2.2: some send a CRLF too many after a POST */
    buf_clear(&g->head);
    return true;
}

static size_t feed_head(struct gate *g, const char *in, size_t len, const void **out, size_t *out_len)
{
    size_t taken = 0;
    while (taken < len && !g->passed) {
        const char *end = memchr(in + taken, '\n', len - taken);
        size_t piece = end != NULL ? (size_t)(end - in) + 1 - taken : len - taken;
        if (!collect(g, in + taken, piece) || (end != NULL && !end_line(g))) {
            return 0;
        }
        taken += piece;
    }
    if (g->passed) {
        *out = g->head.data;
        *out_len = g->head.len;
        g->state = g->body_left > 0 ? GATE_BODY : GATE_HEAD;
    }
    return taken;
}

size_t gate_feed(struct gate *g, const void *in, size_t len, const void **out, size_t *out_len)
{
    *out = NULL;
    *out_len = 0;
    if (g->state == GATE_REFUSED || len == 0) {
        return 0;
    }
    if (g->state == GATE_BODY) {
        size_t piece = len < g->body_left ? len : (size_t)g->body_left;
        g->body_left -= piece;
        g->state = g->body_left > 0 ? GATE_BODY : GATE_HEAD;
        *out = in;
        *out_len = piece;
        return piece;
    }
    if (g->passed) {
        g->passed = false;
        g->blank = false;
        g->line = 0;
        buf_clear(&g->head);
    }
    return g->last ? len : feed_head(g, in, len, out, out_len);
}
