/* The answers on the two kinds of plain-text listeners, neither of which ever reads a form: http_listen sends
 * browsers to https and serves ACME challenges, admin_listen tells the machine's own monitoring how things
 * are. */

#include "bridge.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHALLENGES "/.well-known/acme-challenge/" /* RFC 8555 §8.3 */

enum { TOKEN_MAX = 128, CHALLENGE_MAX = 4096, METRICS_MAX = 512 * 1024 };

struct request_line {
    const char *method, *target;
    size_t method_len, target_len;
};

/* The gate has seen to it that there are two spaces in the first line. */
static bool read_request_line(struct request_line *l, const char *head, size_t len)
{
    const char *end = head + len;
    const char *space = memchr(head, ' ', len);
    if (space == NULL) {
        return false;
    }
    l->method = head;
    l->method_len = (size_t)(space - head);
    l->target = space + 1;
    const char *second = memchr(l->target, ' ', (size_t)(end - l->target));
    if (second == NULL) {
        return false;
    }
    l->target_len = (size_t)(second - l->target);
    return true;
}

static bool is(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(text, word, len) == 0;
}

static void respond(struct buf *out, bool head_only, const char *status, const char *extra, const char *type,
                    const struct buf *body)
{
    buf_fmt(out,
            "HTTP/1.1 %s\r\nConnection: close\r\nContent-Type: %s\r\nX-Content-Type-Options: nosniff\r\n",
            status, type);
    buf_fmt(out, "%sContent-Length: %zu\r\n\r\n", extra, body->len);
    if (!head_only) {
        buf_put(out, body->data, body->len);
    }
}

static void respond_text(struct buf *out, bool head_only, const char *status, const char *extra,
                         const char *text)
{
    struct buf body;
    buf_init(&body, 1024);
    buf_str(&body, text);
    respond(out, head_only, status, extra, "text/plain; charset=utf-8", &body);
    buf_free(&body);
}

/* ---- http_listen ----------------------------------------------------------------------------- */

/* Tokens are base64url (RFC 8555 §8.3), which leaves nothing to climb out of the directory with. */
static bool token_path(char *path, size_t size, const char *token, size_t len)
{
    if (len == 0 || len > TOKEN_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)token[i]) && token[i] != '-' && token[i] != '_') {
            return false;
        }
    }
    return text_fmt(path, size, "%s%.*s", &CHALLENGES[1], (int)len, token);
}

static bool read_challenge(int acme, const char *token, size_t len, struct buf *out)
{
    char path[sizeof CHALLENGES + TOKEN_MAX];
    if (acme < 0 || !token_path(path, sizeof path, token, len)) {
        return false;
    }
    int fd = openat(acme, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return false;
    }
    struct stat st;
    bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && buf_read(fd, out);
    close(fd);
    return ok;
}

static void respond_challenge(int acme, const struct request_line *l, bool head_only, struct buf *out)
{
    size_t prefix = strlen(CHALLENGES);
    struct buf body;
    buf_init(&body, CHALLENGE_MAX);
    if (read_challenge(acme, l->target + prefix, l->target_len - prefix, &body)) {
        respond(out, head_only, "200 OK", "", "text/plain", &body);
    } else {
        respond_text(out, head_only, "404 Not Found", "", "There is no such challenge.\n");
    }
    buf_free(&body);
}

/* To the name of the config, never to a Host header, which anybody can write. */
static void respond_redirect(const struct conf *c, const struct request_line *l, bool head_only,
                             struct buf *out)
{
    const struct endpoint *e =
        conf_listen(c, ENDPOINT_TLS); /* NULL: a proxy's, of which no port is known here */
    unsigned port = e == NULL ? 443 : network_port(&e->addr);
    char port_text[8] = "";
    if (port != 443) {
        text_fmt(port_text, sizeof port_text, ":%u", port);
    }
    struct buf location;
    buf_init(&location, 16384);
    buf_fmt(&location, "Location: https://%s%s%.*s\r\n", c->hostname, port_text, (int)l->target_len,
            l->target);
    const char *extra = buf_text(&location);
    if (extra != NULL) {
        respond_text(out, head_only, "308 Permanent Redirect", extra, "This server speaks https.\n");
    } else {
        out->failed = true;
    }
    buf_free(&location);
}

void plain_redirect(const struct conf *c, int acme, const void *head, size_t len, struct buf *out)
{
    struct request_line l;
    if (!read_request_line(&l, head, len)) {
        out->failed = true;
        return;
    }
    bool head_only = is(l.method, l.method_len, "HEAD");
    if (!head_only && !is(l.method, l.method_len, "GET")) {
        /* A form that was sent here has crossed the network in clear already: say so, so that it is noticed.
         */
        respond_text(out, false, "403 Forbidden", "",
                     "This form was sent without encryption. It was not read and nothing was stored.\n"
                     "The owner of the web site must change the form's action to https://.\n");
    } else if (l.target_len > strlen(CHALLENGES) && memcmp(l.target, CHALLENGES, strlen(CHALLENGES)) == 0) {
        respond_challenge(acme, &l, head_only, out);
    } else {
        respond_redirect(c, &l, head_only, out);
    }
}

/* ---- admin_listen ---------------------------------------------------------------------------- */

void plain_admin(const char *not_ready, const void *head, size_t len, struct buf *out)
{
    struct request_line l;
    if (!read_request_line(&l, head, len)) {
        out->failed = true;
        return;
    }
    bool head_only = is(l.method, l.method_len, "HEAD");
    if (!head_only && !is(l.method, l.method_len, "GET")) {
        respond_text(out, false, "405 Method Not Allowed", "Allow: GET, HEAD\r\n", "Only GET works here.\n");
    } else if (is(l.target, l.target_len, "/healthz")) {
        respond_text(out, head_only, "200 OK", "", "ok\n");
    } else if (is(l.target, l.target_len, "/readyz")) {
        respond_text(out, head_only, not_ready == NULL ? "200 OK" : "503 Service Unavailable", "",
                     not_ready == NULL ? "ready\n" : not_ready);
    } else if (is(l.target, l.target_len, "/metrics")) {
        struct buf body;
        buf_init(&body, METRICS_MAX);
        stats_write(&body);
        respond(out, head_only, "200 OK", "", "text/plain; version=0.0.4; charset=utf-8", &body);
        buf_free(&body);
    } else {
        respond_text(out, head_only, "404 Not Found", "", "/healthz, /readyz and /metrics are here.\n");
    }
}
