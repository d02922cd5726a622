/* One connection of the front.
 *
 *     peer <- stream -> clear text <- gate -> channel <-> libmicrohttpd
 *
 * What to wait for follows from the state of the stream and of the pieces around it; output is moved before
 * input, so that a peer that does not read is not read from either. */

#include "bridge.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum {
    CONN_SIZE = (sizeof(struct conn) + STREAM_PAGE - 1) / STREAM_PAGE * STREAM_PAGE,
    REGION = CONN_SIZE + STREAM_SIZE,
    REPLY_MAX = 1 << 20,
    ROUNDS = 64, /* of pumping before others have their turn */
};

/* More is taken for no length at all; RFC 9110 §8.6 sets no limit. */
static const uint64_t body_length_max = (uint64_t)1 << 50;

/* ---- life ------------------------------------------------------------------------------------ */

static const struct sockaddr_storage nobody = {.ss_family = AF_UNSPEC};

/* It counts for this address from now on. false: that has too many, and nothing changed. */
static bool count_for(struct conn *c, const struct sockaddr_storage *addr)
{
    struct peers *p = c->env->peers;
    if (peers_count(p, addr) >= c->env->conf->max_per_address) {
        stats_add(STAT_CONNECTIONS_CAPPED, 1);
        return false;
    }
    peers_leave(p, c->env->front, &c->counted);
    peers_enter(p, c->env->front, addr);
    c->counted = *addr;
    return true;
}

static bool is_proxy(enum conn_kind kind)
{
    return kind == CONN_PROXIED || kind == CONN_PLAIN;
}

bool conn_room(const struct conn_env *env, enum conn_kind kind, const struct sockaddr_storage *addr)
{
    return kind == CONN_ADMIN ||
           (peers_total(env->peers) < env->conf->max_connections &&
            (is_proxy(kind) || peers_count(env->peers, addr) < env->conf->max_per_address));
}

/* what: epoll's data. */
static bool watch(const struct conn *c, int fd, uintptr_t what)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u64 = what};
    return epoll_ctl(c->env->epoll, EPOLL_CTL_ADD, fd, &e) == 0;
}

/* A send would have waited. Who never has to wait is never woken because he could send. */
static void watch_room(struct conn *c, int fd, uintptr_t what, bool *watches)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u64 = what};
    if (!*watches) {
        *watches = true;
        c->stream.dead = epoll_ctl(c->env->epoll, EPOLL_CTL_MOD, fd, &e) != 0 || c->stream.dead;
    }
}

struct conn *conn_new(struct conn_env *env, enum conn_kind kind, int fd, const struct sockaddr_storage *addr)
{
    unsigned char *region = spare_take(&env->spares, REGION);
    if (region == NULL) {
        close(fd);
        return NULL;
    }
    struct conn *c = (void *)region;
    c->env = env;
    c->kind = kind == CONN_PROXIED ? CONN_FORMS : kind;
    c->awaits_proxy = kind == CONN_PROXIED;
    c->counted = is_proxy(kind) ? nobody : *addr;
    peers_enter(env->peers, env->front, &c->counted);
    visitor_name(&c->visitor, addr);
    /* Whose body is too large hears so from http, which knows the form, its sites, and what the visitor reads. */
    bool judged = c->kind == CONN_FORMS || c->kind == CONN_PLAIN;
    gate_init(&c->gate, env->conf->max_head, judged ? body_length_max : env->conf->max_body);
    buf_init(&c->reply, REPLY_MAX);
    bool secure = c->kind == CONN_FORMS;
    c->phase = secure ? PHASE_HANDSHAKE : PHASE_IDLE;
    if (!stream_open(&c->stream, fd, region + CONN_SIZE, secure ? &env->policy : NULL, env->cache) ||
        !watch(c, fd, (uintptr_t)c)) {
        conn_free(c);
        return NULL;
    }
    return c;
}

static void forget_runs(struct conn *c)
{
    c->runs[0].iov_len = c->runs[1].iov_len = 0;
}

static void leave_http(struct conn *c)
{
    if (c->http != NULL) {
        channel_close(c->http);
        c->http = NULL;
    }
    c->busy = false;
    forget_runs(c);
}

void conn_free(struct conn *c)
{
    peers_leave(c->env->peers, c->env->front, &c->counted);
    leave_http(c);
    gate_free(&c->gate);
    buf_free(&c->reply);
    close(c->stream.fd);
    const struct stream *t = &c->stream;
    const struct iovec written[] = {
        {t->in, STREAM_IN_USUAL}, {t->out, STREAM_OUT_USUAL}, {t->wire, STREAM_WIRE}, {c, CONN_SIZE}};
    spare_give(&c->env->spares, c, REGION, t->large ? NULL : written, COUNT(written));
}

void conn_ready(struct conn *c)
{
    if (!c->queued) {
        c->queued = true;
        c->next_ready = c->env->ready;
        c->env->ready = c;
    }
}

static void enter(struct conn *c, enum phase p)
{
    c->phase = p;
    c->entered++;
}

/* The last answer is written or on its way: nothing more is taken from the peer. A body that is still coming
 * may take the rest of its time, for most clients read no answer before they have sent it all. */
static void begin_close(struct conn *c)
{
    if (!c->closing) {
        c->closing = true;
        c->discard = true;
        if (c->phase != PHASE_BODY) {
            enter(c, PHASE_LINGER);
        }
    }
}

/* Who wanted to send a form and could not; what else comes from the internet all day is not worth a line. */
static void tell_of_refusal(const struct conn *c, unsigned status, const char *why)
{
    static const char form[] = "POST /f/";
    static int64_t complained;
    const struct buf *head = &c->gate.head;
    if (head->len >= sizeof form - 1 && memcmp(head->data, form, sizeof form - 1) == 0) {
        log_seldom(&complained, "refused a post with %u: %s", status,
                   why != NULL ? why : "too many at a time, or too slow");
    }
}

static void refuse(struct conn *c, unsigned status, const char *why)
{
    tell_of_refusal(c, status, why);
    leave_http(c);
    buf_clear(&c->reply);
    c->reply_sent = 0;
    request_refusal(&c->reply, &c->gate, status, why);
    begin_close(c);
}

/* ---- the peer -------------------------------------------------------------------------------- */

static bool send_wire(struct conn *c)
{
    bool moved = stream_send(&c->stream, c->phase == PHASE_HANDSHAKE);
    if (!c->stream.writable) {
        watch_room(c, c->stream.fd, (uintptr_t)c, &c->watches_room);
    }
    return moved;
}

static int64_t complained; /* of a proxy */

/* What is not a visitor of a trusted proxy ends here. */
static bool no_proxy(struct conn *c, const char *why)
{
    stats_add(STAT_CONNECTIONS_NO_PROXY, 1);
    log_seldom(&complained, "closed a connection of the proxy %s: its PROXY header is wrong: %s",
               c->visitor.text, why);
    c->stream.dead = true;
    return false;
}

/* The header is peeked at until it is whole, so that no byte of TLS is taken with it. */
static bool read_proxy(struct conn *c)
{
    unsigned char bytes[PROXY_MAX];
    struct proxy p;
    struct stream *t = &c->stream;
    ssize_t n = t->readable ? stream_peek(t, bytes, sizeof bytes) : -1;
    if (n <= 0) { /* a proxy that looks whether we are there says nothing */
        return false;
    }
    switch (proxy_read(&p, bytes, (size_t)n)) {
    case PROXY_MORE: /* epoll tells when more has come */
        t->readable = false;
        t->dead = t->ended;
        return false;
    case PROXY_WRONG: return no_proxy(c, p.why);
    default: break;
    }
    if (recv(t->fd, bytes, p.len, 0) != (ssize_t)p.len) {
        return no_proxy(c, "it went away");
    }
    c->awaits_proxy = false;
    if (p.visitor.ss_family != AF_UNSPEC) {
        visitor_passed_on(&c->visitor, &p.visitor);
        t->dead = !count_for(c, &p.visitor);
    }
    return !t->dead;
}

static bool receive_wire(struct conn *c)
{
    return c->awaits_proxy ? read_proxy(c) : !c->shut && stream_receive(&c->stream);
}

/* ---- between the gate and http --------------------------------------------------------------- */

static void goes_on(struct conn *c)
{
    c->busy = false;
    conn_ready(c);
}

static struct channel *new_channel(struct conn *c)
{
    struct channel *h = channel_open(c->env->http, goes_on);
    if (h != NULL && !watch(c, h->fd, (uintptr_t)h | CONN_CHANNEL)) {
        channel_close(h);
        return NULL;
    }
    return h;
}

static bool join_http(struct conn *c)
{
    if (c->http == NULL) {
        c->http = channel_take(&c->env->channels);
    }
    if (c->http == NULL) {
        c->http = new_channel(c);
    }
    if (c->http == NULL) {
        return false;
    }
    c->http->owner = c;
    if (c->http->link != NULL) {
        http_announce(c->http->link, &c->visitor, c->gate.body_left);
    }
    return true;
}

/* Each request of a proxy may be another visitor's, whom its head must name. false: refused. */
static bool meet_visitor(struct conn *c)
{
    const struct iovec *head = &c->runs[0];
    const char *why;
    unsigned status =
        visitor_forwarded(&c->visitor, c->env->conf, head->iov_base, head->iov_len, c->gate.post, &why);
    if (status == 0 && !count_for(c, &c->visitor.addr)) {
        status = 429;
        why = NULL;
    }
    if (status != 0) {
        enter(c, c->gate.state == GATE_BODY ? PHASE_BODY : c->phase);
        refuse(c, status, why);
        return false;
    }
    return true;
}

/* A disk that is full says so itself. After any other failure it is ready again in a while, or nobody would ever try. */
static const char *why_not_ready(const struct conn_env *env)
{
    int64_t failed = stats_get(STAT_COMMIT_FAILED_AT);
    if (!spool_has_room(env->spool)) {
        return "the disk of the spool is full or read-only\n";
    }
    return failed != 0 && time(NULL) - failed < 30 ? "the spool does not take submissions\n" : NULL;
}

/* A head has passed the gate. */
static void on_head(struct conn *c)
{
    const struct iovec *head = &c->runs[0];
    if (c->kind == CONN_PLAIN && !meet_visitor(c)) {
        return;
    }
    if (c->kind == CONN_REDIRECT) {
        plain_redirect(c->env->conf, c->env->acme, head->iov_base, head->iov_len, &c->reply);
    } else if (c->kind == CONN_ADMIN) {
        plain_admin(why_not_ready(c->env), head->iov_base, head->iov_len, &c->reply);
    } else if (!join_http(c)) {
        refuse(c, 503, NULL);
        return;
    } else {
        c->busy = true;
        enter(c, c->gate.state == GATE_BODY ? PHASE_BODY : PHASE_ANSWER);
        return;
    }
    forget_runs(c);
    begin_close(c);
}

/* Returns the bytes taken, which http need not have got yet. */
static size_t feed_gate(struct conn *c, struct iovec *run, unsigned char *in, size_t len)
{
    const void *out;
    size_t taken = gate_feed(&c->gate, in, len, &out, &run->iov_len);
    run->iov_base = (void *)out;
    return taken;
}

/* A proxy written in Go (Caddy, Traefik) cuts an answer off that comes while it still sends the request, or just after:
 * https://github.com/golang/go/issues/40747. So it gets none before its body has ended and a pause is over, unless it
 * waits for a word before it sends, or sends too much. */
static bool hears_later(const struct conn *c)
{
    return c->phase == PHASE_PAUSE ||
           (c->kind == CONN_PLAIN && c->phase == PHASE_BODY && c->gate.state != GATE_REFUSED &&
            !c->gate.expects && c->gate.body_left <= c->env->conf->max_body);
}

static void after_body(struct conn *c)
{
    enter(c, c->closing ? PHASE_LINGER : PHASE_ANSWER);
}

static void end_body(struct conn *c)
{
    if (c->kind == CONN_PLAIN) {
        enter(c, PHASE_PAUSE);
    } else {
        after_body(c);
    }
}

/* What nobody wants any more; but where the body ends has to be known to one who hears later. Returns the bytes taken. */
static size_t pass_over(struct conn *c, unsigned char *in, size_t len)
{
    if (!hears_later(c) || c->gate.state != GATE_BODY) {
        return len;
    }
    struct iovec nowhere;
    size_t taken = feed_gate(c, &nowhere, in, len);
    if (c->gate.state != GATE_BODY) {
        end_body(c);
    }
    return taken;
}

/* Gets from the gate a head, with what has come of its body, or a piece of a body. false: there is nothing now. */
static bool next_runs(struct conn *c)
{
    size_t len;
    unsigned char *in = stream_in(&c->stream, &len);
    if (in == NULL || len == 0) {
        return false;
    }
    if (c->discard) {
        stream_in_done(&c->stream, pass_over(c, in, len));
        return true;
    }
    bool head = c->gate.state == GATE_HEAD;
    if (head && (c->phase == PHASE_PAUSE || c->phase == PHASE_ANSWER)) {
        return false; /* one request at a time: the rest waits on the wire */
    }
    if (head && c->phase != PHASE_HEAD) {
        enter(c, PHASE_HEAD);
    }
    struct iovec *run = &c->runs[head ? 0 : 1];
    c->run_taken = feed_gate(c, run, in, len);
    if (c->gate.state == GATE_REFUSED) {
        if (c->gate.status == 413) {
            enter(c, PHASE_BODY);
        }
        refuse(c, c->gate.status, c->gate.why);
    } else if (run->iov_len == 0) {
        stream_in_done(&c->stream, c->run_taken);
    } else if (head) {
        on_head(c);
        if (run->iov_len == 0) { /* it has its answer already */
            stream_in_done(&c->stream, c->run_taken);
        } else if (c->gate.state == GATE_BODY) {
            c->run_taken += feed_gate(c, &c->runs[1], in + c->run_taken, len - c->run_taken);
        }
    }
    return true;
}

static size_t runs_left(const struct conn *c)
{
    return c->runs[0].iov_len + c->runs[1].iov_len;
}

static void runs_passed(struct conn *c, size_t n)
{
    for (size_t i = 0; i < COUNT(c->runs); i++) {
        struct iovec *run = &c->runs[i];
        size_t of_it = n < run->iov_len ? n : run->iov_len;
        run->iov_base = (unsigned char *)run->iov_base + of_it;
        run->iov_len -= of_it;
        n -= of_it;
    }
}

static bool pass_on(struct conn *c)
{
    if (runs_left(c) == 0) {
        return next_runs(c);
    }
    struct channel *h = c->http;
    if (!h->writable) {
        return false;
    }
    const struct msghdr runs = {.msg_iov = c->runs, .msg_iovlen = COUNT(c->runs)};
    ssize_t n = sendmsg(h->fd, &runs, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
        h->writable = false;
        watch_room(c, h->fd, (uintptr_t)h | CONN_CHANNEL, &h->watches_room);
        return false;
    }
    c->env->passed = true;
    if (n < 0) { /* http has answered already and closed: the rest of the body is of no interest */
        c->discard = true;
        n = (ssize_t)runs_left(c);
    }
    runs_passed(c, (size_t)n);
    if (runs_left(c) == 0) {
        stream_in_done(&c->stream, c->run_taken);
        if (c->phase == PHASE_BODY && c->gate.state == GATE_HEAD) {
            end_body(c);
        }
    }
    return true;
}

/* Answers, our own or http's, become clear text that leaves. */
static bool take_answer(struct conn *c)
{
    size_t room;
    struct channel *h = c->http;
    if (hears_later(c) || (c->reply_sent == c->reply.len && (h == NULL || !h->readable))) {
        return false;
    }
    unsigned char *out = stream_out(&c->stream, &room);
    if (out == NULL) {
        return false;
    }
    if (c->reply_sent < c->reply.len) {
        size_t left = c->reply.len - c->reply_sent;
        size_t n = left < room ? left : room;
        memcpy(out, c->reply.data + c->reply_sent, n);
        c->reply_sent += n;
        stream_out_done(&c->stream, out + n, n, c->reply_sent == c->reply.len);
        return true;
    }
    ssize_t n = recv(h->fd, out, room, MSG_DONTWAIT);
    if (n > 0) {
        h->readable = (size_t)n == room || h->ended || h->link == NULL; /* then the end is behind it */
        stream_out_done(&c->stream, out + n, (size_t)n, true);
        return true;
    }
    h->readable = false;
    if (n == 0 || errno != EAGAIN) { /* http has ended the connection */
        leave_http(c);
        begin_close(c);
        return true;
    }
    return false;
}

/* ---- from phase to phase --------------------------------------------------------------------- */

static void on_secured(struct conn *c)
{
    br_ssl_session_parameters session;
    br_ssl_engine_get_session_parameters(&c->stream.tls.eng, &session);
    int curve = br_ssl_engine_get_ecdhe_curve(&c->stream.tls.eng);
    visitor_secured(&c->visitor, tls_suite_name(session.cipher_suite),
                    curve == BR_EC_curve25519  ? "X25519"
                    : curve == BR_EC_secp256r1 ? "P-256"
                                               : "resumed");
    explicit_bzero(&session, sizeof session);
    stats_add(c->full_handshake ? STAT_HANDSHAKES : STAT_HANDSHAKES_RESUMED, 1);
    enter(c, PHASE_IDLE);
}

static bool nothing_to_send(struct conn *c)
{
    return c->reply_sent == c->reply.len && (c->http == NULL || !c->http->readable) &&
           stream_all_sent(&c->stream);
}

/* What the last moves have led to. true: there may be more to move. */
static bool advance(struct conn *c)
{
    if (!c->shut && stream_closed(&c->stream)) {
        if (c->phase == PHASE_HANDSHAKE) {
            stats_add(STAT_HANDSHAKES_FAILED, 1);
        }
        leave_http(c); /* what http has of a request is committed or not without us */
        buf_clear(&c->reply);
        c->reply_sent = 0;
        begin_close(c);
        c->shut = true;
        return true;
    }
    if (c->phase == PHASE_HANDSHAKE && stream_secured(&c->stream)) {
        on_secured(c);
        return true;
    }
    if (c->phase == PHASE_ANSWER && !c->busy && nothing_to_send(c)) {
        if (c->http != NULL) {
            channel_give(&c->env->channels, c->http);
            c->http = NULL;
        }
        if (c->gate.last || c->env->draining) {
            begin_close(c);
        } else {
            enter(c, PHASE_IDLE);
        }
        if (c->kind == CONN_PLAIN) {
            count_for(c, &nobody); /* until the next request says whose it is */
        }
        return true;
    }
    if (c->closing && !c->shut && nothing_to_send(c)) { /* by close_notify and then by FIN */
        stream_close(&c->stream);
        c->shut = true;
        return true;
    }
    if (c->stream.hung_up && !c->closing) { /* no close_notify, no more bytes: cut off */
        c->stream.dead = true;
    }
    return false;
}

void conn_pump(struct conn *c)
{
    c->env->current = c;
    int round = 0;
    for (bool moved = true; moved && !c->stream.dead && round < ROUNDS; round++) {
        moved = send_wire(c);
        moved = take_answer(c) || moved;
        moved = (!c->stream.dead && pass_on(c)) || moved;
        moved = (!c->stream.dead && receive_wire(c)) || moved;
        moved = (!c->stream.dead && advance(c)) || moved;
    }
    bool lingered = !c->shut || c->stream.dead || stream_linger(&c->stream);
    if (round == ROUNDS || !lingered) {
        conn_ready(c);
    }
    c->env->current = NULL;
}

void conn_expire(struct conn *c)
{
    switch (c->phase) {
    case PHASE_IDLE:
        if (!c->env->draining) {
            stream_rest(&c->stream);
            enter(c, PHASE_RESTING);
            return;
        }
        /* fall through */
    case PHASE_RESTING: begin_close(c); break;
    case PHASE_PAUSE: after_body(c); break;
    case PHASE_HEAD:
    case PHASE_BODY:
        stats_add(STAT_TIMEOUTS, 1);
        if (c->phase == PHASE_BODY && !c->busy) { /* it was answered before it was complete */
            c->stream.dead = !hears_later(c);
            enter(c, PHASE_LINGER);
            break;
        }
        enter(c, PHASE_LINGER);
        refuse(c, 408, NULL);
        break;
    case PHASE_HANDSHAKE:
        if (c->awaits_proxy) {
            no_proxy(c, "it did not come in time");
        }
        stats_add(STAT_HANDSHAKES_FAILED, 1);
        /* fall through */
    case PHASE_ANSWER:
        stats_add(STAT_TIMEOUTS, 1);
        /* fall through */
    default: c->stream.dead = true; break;
    }
    conn_ready(c);
}

void conn_drain(struct conn *c)
{
    if (c->phase == PHASE_RESTING) { /* PHASE_IDLE will be over within a second */
        begin_close(c);
        conn_ready(c);
    }
}
