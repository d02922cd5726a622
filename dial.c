/* One conversation: with a mail host over TLS, or with this machine over a unix socket or loopback. Every
 * wait has a deadline, and the first failure sticks. */

#include "bridge.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECT_WAIT = 30, /* for the name, and for each address: the next one may answer at once */
    HANDSHAKE_WAIT = 60,
    CLOSE_WAIT = 5,
    LINE_MAX_ = 2000, /* RFC 5321 §4.5.3.1.5 says 512; hosts write longer ones, but not this long */
};

struct dial {
    int fd;
    char peer[HOST_NAME_MAX_ + 16];
    bool local;    /* the other end is this machine: clear text is fine */
    bool secure;   /* the handshake is done and the host is who it must be */
    bool upgraded; /* TLS began by STARTTLS */
    bool failed;
    char why[REASON_SIZE];
    int64_t deadline; /* milliseconds, CLOCK_MONOTONIC */
    unsigned waiting; /* the seconds that the deadline stands for */
    unsigned char in[LINE_MAX_ + 2];
    size_t in_start, in_end;
    struct trust_check *check;
    const char *during;  /* for messages: "" or " during the TLS handshake" */
    bool heard;          /* the peer has sent something since TLS began */
    unsigned char first; /* its first byte */
    br_ec_impl curves;
    br_ssl_client_context client;
    unsigned char records[BR_SSL_BUFSIZE_BIDI];
};

static bool fail(struct dial *d, const char *fmt, ...) PRINTF(2, 3);
static bool fail(struct dial *d, const char *fmt, ...)
{
    if (!d->failed) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(d->why, sizeof d->why, fmt, args);
        va_end(args);
        d->failed = true;
    }
    return false;
}

void dial_deadline(struct dial *d, unsigned seconds)
{
    d->waiting = seconds;
    d->deadline = clock_ms() + (int64_t)seconds * 1000;
}

static bool in_time(struct dial *d, int64_t *left)
{
    *left = d->deadline - clock_ms();
    return *left > 0 || fail(d, "no answer within %u s%s", d->waiting, d->during);
}

static bool wait_for(struct dial *d, short events)
{
    for (;;) {
        int64_t left;
        if (!in_time(d, &left)) {
            return false;
        }
        struct pollfd p = {.fd = d->fd, .events = events};
        int n = poll(&p, 1, left > INT_MAX ? INT_MAX : (int)left);
        if (n > 0) {
            return true; /* a hang-up too: the next read or write says which */
        }
        if (n < 0 && errno != EINTR) {
            return fail(d, "poll: %s", strerror(errno));
        }
    }
}

/* ---- bytes on the socket --------------------------------------------------------------------- */

static bool raw_write(struct dial *d, const unsigned char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = send(d->fd, p, len, MSG_NOSIGNAL);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (!wait_for(d, POLLOUT)) {
                return false;
            }
        } else if (errno != EINTR) {
            return fail(d, "the connection broke%s: %s", d->during, strerror(errno));
        }
    }
    return true;
}

static bool raw_read(struct dial *d, unsigned char *p, size_t len, size_t *got)
{
    for (int64_t left;;) {
        if (!in_time(d, &left)) { /* a host that never stops talking would never have us wait */
            return false;
        }
        ssize_t n = recv(d->fd, p, len, 0);
        if (n > 0) {
            *got = (size_t)n;
            return true;
        }
        if (n == 0) { /* under TLS this is a truncation: nothing may follow from what it cut off */
            return fail(d, "the host closed the connection%s", d->during);
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (!wait_for(d, POLLIN)) {
                return false;
            }
        } else if (errno != EINTR) {
            return fail(d, "the connection broke%s: %s", d->during, strerror(errno));
        }
    }
}

/* ---- TLS ------------------------------------------------------------------------------------- */

static bool tls_failed(struct dial *d)
{
    int error = br_ssl_engine_last_error(&d->client.eng);
    const char *verdict = trust_check_why(d->check);
    if (error == BR_ERR_OK) {
        return fail(d, "the host closed the connection%s", d->during);
    }
    if (verdict[0] != '\0') {
        return fail(d, "%s", verdict);
    }
    if (d->heard && d->first != 0x16 && d->first != 0x15) { /* neither handshake nor alert, RFC 5246 §6.2.1 */
        return fail(
            d, "%s",
            d->upgraded
                ? "the host went on in clear text after STARTTLS, which is what an attacker would do; "
                  "nothing was sent"
                : "this port does not begin with TLS: if it is 587 or 25, set tls = starttls");
    }
    if (error == BR_ERR_RECV_FATAL_ALERT + BR_ALERT_PROTOCOL_VERSION) {
        return fail(
            d, "the host refuses TLS 1.2 (alert 70), so it probably speaks TLS 1.3 alone, which formbridge "
               "does not: allow TLS 1.2 with ECDHE and AES-GCM on the host");
    }
    return fail(d, "TLS%s failed: %s", d->secure ? "" : " handshake", tls_error_text(error));
}

static bool send_records(struct dial *d)
{
    size_t len;
    unsigned char *p = br_ssl_engine_sendrec_buf(&d->client.eng, &len);
    if (!raw_write(d, p, len)) {
        return false;
    }
    br_ssl_engine_sendrec_ack(&d->client.eng, len);
    return true;
}

static bool receive_records(struct dial *d)
{
    size_t len, got = 0;
    unsigned char *p = br_ssl_engine_recvrec_buf(&d->client.eng, &len);
    if (!raw_read(d, p, len, &got)) {
        return false;
    }
    if (!d->heard) {
        d->heard = true;
        d->first = p[0];
    }
    br_ssl_engine_recvrec_ack(&d->client.eng, got);
    return true;
}

/* Moves records, what goes out first, until the engine is ready for want: BR_SSL_SENDAPP or BR_SSL_RECVAPP. */
static bool pump(struct dial *d, unsigned want)
{
    for (;;) {
        unsigned state = br_ssl_engine_current_state(&d->client.eng);
        bool moved;
        if (state & BR_SSL_CLOSED) {
            return tls_failed(d);
        }
        if (state & BR_SSL_SENDREC) {
            moved = send_records(d);
        } else if (state & want) {
            return true;
        } else {
            moved = receive_records(d);
        }
        if (!moved) {
            return false;
        }
    }
}

static bool handshake(struct dial *d)
{
    d->during = " during the TLS handshake";
    br_ssl_client_zero(&d->client);
    tls_profile(&d->client.eng);
    /* The list of curves is for certificates too (RFC 4492 §5.1), and there are hosts with a P-384 key. */
    d->curves = *curve_impl();
    d->curves.supported_curves = 1u << BR_EC_curve25519 | 1u << BR_EC_secp256r1 | 1u << BR_EC_secp384r1;
    br_ssl_engine_set_ec(&d->client.eng, &d->curves);
    br_ssl_engine_set_x509(&d->client.eng, trust_check_class(d->check));
    br_ssl_engine_set_buffer(&d->client.eng, d->records, sizeof d->records, 1);
    if (!br_ssl_client_reset(&d->client, trust_check_name(d->check), 0)) {
        return tls_failed(d);
    }
    if (!pump(d, BR_SSL_SENDAPP)) {
        return false;
    }
    d->secure = true;
    d->during = "";
    return true;
}

bool dial_starttls(struct dial *d, unsigned timeout)
{
    /* What came before the handshake was not protected by it (RFC 3207 §4.2 and CVE-2011-0411). */
    if (d->in_start < d->in_end) {
        return fail(
            d,
            "the host sent more than its answer to STARTTLS, which is what an attacker who injects answers "
            "would do; nothing was sent");
    }
    d->upgraded = true;
    dial_deadline(d, timeout < HANDSHAKE_WAIT ? timeout : HANDSHAKE_WAIT);
    return handshake(d);
}

/* ---- connecting ------------------------------------------------------------------------------ */

static bool connect_to(struct dial *d, const struct sockaddr *addr, socklen_t addr_len)
{
    d->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (d->fd < 0) {
        return fail(d, "socket: %s", strerror(errno));
    }
    int error = 0;
    socklen_t len = sizeof error;
    if (connect(d->fd, addr, addr_len) != 0) {
        /* EAGAIN is a unix socket whose backlog is full: there is nothing to wait for. */
        error = errno;
        if (error == EINPROGRESS && !wait_for(d, POLLOUT)) {
            return false;
        }
        if (error == EINPROGRESS && getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
            error = errno;
        }
    }
    if (error != 0) {
        return fail(d, "%s", strerror(error));
    }
    int on = 1; /* whole commands are written at once; not every kind of socket has the option */
    (void)setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return true;
}

/* Every address in turn; why collects what became of each. */
static bool connect_any(struct dial *d, const struct lookup *l, unsigned timeout, struct buf *why)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct sockaddr *addr = (const struct sockaddr *)&l->at[i].addr;
        d->failed = false;
        dial_deadline(d, timeout);
        if (connect_to(d, addr, l->at[i].len)) {
            return true;
        }
        if (d->fd >= 0) {
            close(d->fd);
            d->fd = -1;
        }
        char text[INET6_ADDRSTRLEN] = "?";
        getnameinfo(addr, l->at[i].len, text, sizeof text, NULL, 0, NI_NUMERICHOST);
        buf_fmt(why, "%s%s: %s", i == 0 ? "" : "; ", text, d->why);
    }
    return false;
}

static bool connect_host(struct dial *d, const struct mailhost *m, unsigned timeout)
{
    struct lookup found;
    char why[REASON_SIZE], tried[REASON_SIZE - 32];
    struct buf b;
    unsigned wait = timeout < CONNECT_WAIT ? timeout : CONNECT_WAIT;
    if (!lookup_host(m->server, m->port, wait, &found, why, sizeof why)) {
        return fail(d, "%s", why);
    }
    buf_borrow(&b, tried, sizeof tried - 1);
    if (!connect_any(d, &found, wait, &b)) {
        d->failed = false;
        tried[b.len] = '\0';
        return fail(d, "cannot connect: %s", tried);
    }
    return true;
}

static struct dial *dial_new(const char *peer)
{
    struct dial *d = calloc(1, sizeof *d);
    if (d != NULL) {
        d->fd = -1;
        d->during = "";
        text_fmt(d->peer, sizeof d->peer, "%s", peer);
    }
    return d;
}

/* Gives d out, or frees it and says why. */
static struct dial *dialled(struct dial *d, bool ok, char *why, size_t why_size)
{
    if (ok) {
        return d;
    }
    text_fmt(why, why_size, "%s: %s", d->peer, d->why);
    dial_close(d);
    return NULL;
}

struct dial *dial_host(const struct mailhost *m, const struct anchors *anchors, unsigned timeout, char *why,
                       size_t why_size)
{
    char peer[HOST_NAME_MAX_ + 16];
    text_fmt(peer, sizeof peer, "%s:%u", m->server, m->port);
    struct dial *d = dial_new(peer);
    if (d == NULL) {
        text_fmt(why, why_size, "%s: out of memory", peer);
        return NULL;
    }
    d->check = trust_check_new(m, anchors, time(NULL));
    if (d->check == NULL) {
        return dialled(d, fail(d, "out of memory"), why, why_size);
    }
    bool ok = trust_check_why(d->check)[0] == '\0' || fail(d, "%s", trust_check_why(d->check));
    ok = ok && connect_host(d, m, timeout);
    if (ok && !m->starttls) {
        dial_deadline(d, timeout < HANDSHAKE_WAIT ? timeout : HANDSHAKE_WAIT);
        ok = handshake(d);
    }
    return dialled(d, ok, why, why_size);
}

struct dial *dial_local(const struct target *t, unsigned timeout, char *why, size_t why_size)
{
    struct endpoint e = {0};
    struct dial *d = dial_new(t->path != NULL ? t->path : t->loopback->text);
    if (d == NULL) {
        text_fmt(why, why_size, "%s: out of memory", t->text);
        return NULL;
    }
    bool ok = true;
    if (t->path == NULL) {
        e = *t->loopback;
        ok = network_is_loopback(&e.addr) ||
             fail(d, "is not on this machine: LMTP, which has no TLS, goes to a unix socket or "
                     "to a loopback address (127.0.0.1:24, [::1]:24)");
    } else if (!value_socket(t->path, &e)) {
        ok = fail(d, "cannot be the path of a unix socket: it begins with / and has at most 107 bytes");
    }
    dial_deadline(d, timeout < CONNECT_WAIT ? timeout : CONNECT_WAIT);
    ok = ok && connect_to(d, (const struct sockaddr *)&e.addr, e.addr_len);
    d->local = ok;
    return dialled(d, ok, why, why_size);
}

void dial_warm_up(void)
{
    lookup_warm_up();
    br_ssl_client_context scratch;
    br_ssl_client_zero(&scratch);
    tls_profile(&scratch.eng);
    explicit_bzero(&scratch, sizeof scratch);
}

/* ---- talking --------------------------------------------------------------------------------- */

bool dial_clear(struct dial *d, enum dial_clear what, const char *hostname)
{
    char line[HOST_NAME_MAX_ + 16];
    switch (what) {
    case DIAL_EHLO: text_fmt(line, sizeof line, "EHLO %s\r\n", hostname); break;
    case DIAL_STARTTLS: text_fmt(line, sizeof line, "STARTTLS\r\n"); break;
    }
    return !d->failed && raw_write(d, (const unsigned char *)line, strlen(line));
}

bool dial_put(struct dial *d, const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    if (d->failed) {
        return false;
    }
    if (d->local) {
        return raw_write(d, p, len);
    }
    if (!d->secure) {
        return fail(d, "this was about to go out without TLS");
    }
    while (len > 0) {
        if (!pump(d, BR_SSL_SENDAPP)) {
            return false;
        }
        size_t room;
        unsigned char *out = br_ssl_engine_sendapp_buf(&d->client.eng, &room);
        size_t n = len < room ? len : room;
        memcpy(out, p, n);
        br_ssl_engine_sendapp_ack(&d->client.eng, n);
        p += n;
        len -= n;
    }
    return true;
}

bool dial_flush(struct dial *d)
{
    if (d->failed || d->local) {
        return !d->failed;
    }
    br_ssl_engine_flush(&d->client.eng, 0);
    while (br_ssl_engine_current_state(&d->client.eng) & BR_SSL_SENDREC) {
        if (!send_records(d)) {
            return false;
        }
    }
    return true;
}

static bool fill(struct dial *d)
{
    memmove(d->in, d->in + d->in_start, d->in_end - d->in_start);
    d->in_end -= d->in_start;
    d->in_start = 0;
    size_t room = sizeof d->in - d->in_end;
    size_t got = 0;
    if (room == 0) {
        return fail(d, "the host sent a line of more than %d bytes", LINE_MAX_);
    }
    if (!d->secure) {
        if (!raw_read(d, d->in + d->in_end, room, &got)) {
            return false;
        }
    } else {
        if (!pump(d, BR_SSL_RECVAPP)) {
            return false;
        }
        const unsigned char *p = br_ssl_engine_recvapp_buf(&d->client.eng, &got);
        got = got < room ? got : room;
        memcpy(d->in + d->in_end, p, got);
        br_ssl_engine_recvapp_ack(&d->client.eng, got);
    }
    d->in_end += got;
    return true;
}

bool dial_line(struct dial *d, const char **line, size_t *len)
{
    const unsigned char *lf;
    while (!d->failed && (lf = memchr(d->in + d->in_start, '\n', d->in_end - d->in_start)) == NULL) {
        if (!fill(d)) {
            return false;
        }
    }
    if (d->failed) {
        return false;
    }
    const unsigned char *start = d->in + d->in_start;
    size_t n = (size_t)(lf - start);
    d->in_start += n + 1;
    /* RFC 5321 §2.3.8: CR and LF come together or not at all. */
    if (n == 0 || start[n - 1] != '\r' || memchr(start, '\r', n - 1) != NULL ||
        memchr(start, '\0', n) != NULL) {
        return fail(
            d, "the host sent a line that does not end in CRLF, or with a control character that ends lines");
    }
    *line = (const char *)start;
    *len = n - 1;
    return true;
}

bool dial_bytes(struct dial *d, const void **bytes, size_t *len)
{
    if (d->failed || (d->in_start == d->in_end && !fill(d))) {
        return false;
    }
    *bytes = d->in + d->in_start;
    *len = d->in_end - d->in_start;
    d->in_start = d->in_end;
    return true;
}

bool dial_quiet(const struct dial *d)
{
    if (d->failed || d->in_start < d->in_end ||
        (d->secure && (br_ssl_engine_current_state(&d->client.eng) & (BR_SSL_RECVAPP | BR_SSL_CLOSED)))) {
        return false;
    }
    struct pollfd p = {.fd = d->fd, .events = POLLIN};
    return poll(&p, 1, 0) == 0;
}

bool dial_secure(const struct dial *d)
{
    return d->secure;
}

const char *dial_peer(const struct dial *d)
{
    return d->peer;
}

const char *dial_why(const struct dial *d)
{
    return d->why;
}

void dial_describe(const struct dial *d, struct buf *out)
{
    if (!d->secure) {
        buf_str(out, "a socket of this machine, without TLS");
        return;
    }
    br_ssl_session_parameters session;
    br_ssl_engine_get_session_parameters(&d->client.eng, &session);
    buf_fmt(out, "TLS 1.2, %s, ", tls_suite_name(session.cipher_suite));
    explicit_bzero(&session, sizeof session);
    trust_check_describe(d->check, out);
}

/* close_notify, after what the host still said is taken out of the engine's way. */
static void close_tls(struct dial *d)
{
    size_t len;
    br_ssl_engine_context *eng = &d->client.eng;
    while (br_ssl_engine_current_state(eng) == (BR_SSL_SENDAPP | BR_SSL_RECVAPP) &&
           br_ssl_engine_recvapp_buf(eng, &len) != NULL) {
        br_ssl_engine_recvapp_ack(eng, len);
    }
    dial_deadline(d, CLOSE_WAIT);
    br_ssl_engine_close(eng);
    while ((br_ssl_engine_current_state(eng) & BR_SSL_SENDREC) && send_records(d)) {
    }
}

void dial_close(struct dial *d)
{
    if (d == NULL) {
        return;
    }
    if (d->secure && !d->failed) {
        close_tls(d);
    }
    if (d->fd >= 0) {
        close(d->fd);
    }
    trust_check_free(d->check);
    explicit_bzero(d, sizeof *d);
    free(d);
}
