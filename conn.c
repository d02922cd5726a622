/* One connection of the front.
 *
 *     peer <- socket -> BearSSL engine <- clear text -> gate -> socketpair <-> libmicrohttpd
 *
 * What to wait for follows from the state of the engine and of the pieces around it; output is moved before
 * input, so that a peer that does not read is not read from either. Readiness is edge-triggered: a flag says
 * that a call may succeed, and the call that would block takes it back. */

#include "bridge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    CONN_SIZE = (sizeof(struct conn) + PAGE - 1) / PAGE * PAGE,
    IN_SIZE = (BR_SSL_BUFSIZE_INPUT + PAGE - 1) / PAGE * PAGE, /* a peer may send records of full size */
    OUT_RECORD =
        16384 + 85, /* a page of ours in one record; what a small one leaves untouched is no memory */
    OUT_SIZE = (OUT_RECORD + PAGE - 1) / PAGE * PAGE,
    WIRE_SIZE = PAGE,
    IN_USUAL = PAGE,      /* what most requests write of it */
    OUT_USUAL = 3 * PAGE, /* and most certificates and pages */
    CHANNELS_MAX = 256,   /* that wait for a request */
    REGION = CONN_SIZE + IN_SIZE + OUT_SIZE + WIRE_SIZE,
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
        c->dead = epoll_ctl(c->env->epoll, EPOLL_CTL_MOD, fd, &e) != 0 || c->dead;
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
    c->fd = fd;
    c->in = region + CONN_SIZE;
    c->out = c->in + IN_SIZE;
    c->wire = c->out + OUT_SIZE;
    c->writable = true;
    visitor_name(&c->visitor, addr);
    /* Whose body is too large hears so from http, which knows the form, its sites, and what the visitor reads. */
    bool judged = c->kind == CONN_FORMS || c->kind == CONN_PLAIN;
    gate_init(&c->gate, env->conf->max_head, judged ? body_length_max : env->conf->max_body);
    buf_init(&c->reply, REPLY_MAX);
    c->phase = PHASE_IDLE;
    if (c->kind == CONN_FORMS) {
        c->phase = PHASE_HANDSHAKE;
        tls_server(&c->tls, &env->policy, env->cache);
        br_ssl_engine_set_buffers_bidi(&c->tls.eng, c->in, BR_SSL_BUFSIZE_INPUT, c->out, OUT_RECORD);
    }
    if ((c->kind == CONN_FORMS && !tls_server_start(&c->tls)) || !watch(c, fd, (uintptr_t)c)) {
        conn_free(c);
        return NULL;
    }
    return c;
}

static void forget_runs(struct conn *c)
{
    c->runs[0].iov_len = c->runs[1].iov_len = 0;
}

static void channel_close(struct channel *h)
{
    if (h->link != NULL) {
        http_forget(h->link);
    }
    close(h->fd);
    free(h);
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
    close(c->fd);
    const struct iovec written[] = {
        {c->in, IN_USUAL}, {c->out, OUT_USUAL}, {c->wire, WIRE_SIZE}, {c, CONN_SIZE}};
    spare_give(&c->env->spares, c, REGION, c->large ? NULL : written, COUNT(written));
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

static void refuse(struct conn *c, unsigned status, const char *why)
{
    leave_http(c);
    buf_clear(&c->reply);
    c->reply_sent = 0;
    request_refusal(&c->reply, &c->gate, status, why);
    begin_close(c);
}

static void wrote_in(struct conn *c, const unsigned char *end)
{
    c->large = c->large || end > c->in + IN_USUAL;
}

static void wrote_out(struct conn *c, const unsigned char *end)
{
    c->large = c->large || end > c->out + OUT_USUAL;
}

/* ---- clear text and the wire ----------------------------------------------------------------- */

static unsigned state(const struct conn *c)
{
    return br_ssl_engine_current_state(&c->tls.eng);
}

/* Clear text that has arrived, NULL if there is none. */
static unsigned char *clear_in(struct conn *c, size_t *len)
{
    if (c->kind == CONN_FORMS) {
        return br_ssl_engine_recvapp_buf(&c->tls.eng, len);
    }
    *len = c->in_len;
    return c->in_len > 0 ? c->in : NULL;
}

static void clear_in_done(struct conn *c, size_t len)
{
    if (c->kind == CONN_FORMS) {
        br_ssl_engine_recvapp_ack(&c->tls.eng, len);
        return;
    }
    memmove(c->in, c->in + len, c->in_len - len);
    c->in_len -= len;
}

/* Room for clear text that is to leave, NULL if there is none now. */
static unsigned char *clear_out(struct conn *c, size_t *len)
{
    if (c->kind == CONN_FORMS) {
        return br_ssl_engine_sendapp_buf(&c->tls.eng, len);
    }
    *len = OUT_SIZE - c->out_len;
    return *len > 0 ? c->out + c->out_len : NULL;
}

static void clear_out_done(struct conn *c, size_t len, bool flush)
{
    if (c->kind == CONN_FORMS) {
        br_ssl_engine_sendapp_ack(&c->tls.eng, len);
        if (flush) {
            br_ssl_engine_flush(&c->tls.eng, 0);
        }
        return;
    }
    c->out_len += len;
}

static unsigned char *wire_out(struct conn *c, size_t *len)
{
    if (c->kind == CONN_FORMS) {
        return br_ssl_engine_sendrec_buf(&c->tls.eng, len);
    }
    *len = c->out_len - c->out_pos;
    return *len > 0 ? c->out + c->out_pos : NULL;
}

static void wire_out_done(struct conn *c, size_t len)
{
    if (c->kind == CONN_FORMS) {
        br_ssl_engine_sendrec_ack(&c->tls.eng, len);
        return;
    }
    c->out_pos += len;
    if (c->out_pos == c->out_len) {
        c->out_pos = c->out_len = 0;
    }
}

static unsigned char *wire_in(struct conn *c, size_t *len)
{
    if (c->kind == CONN_FORMS) {
        return br_ssl_engine_recvrec_buf(&c->tls.eng, len);
    }
    *len = IN_SIZE - c->in_len;
    return *len > 0 ? c->in + c->in_len : NULL;
}

static void wire_in_done(struct conn *c, size_t len)
{
    if (c->kind == CONN_FORMS) {
        br_ssl_engine_recvrec_ack(&c->tls.eng, len);
    } else {
        c->in_len += len;
    }
}

/* One call that may not block: bytes moved, 0 at the end of the stream, -1 if it would block or failed
 * (dead). */
static ssize_t move(struct conn *c, ssize_t n, bool *flag)
{
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        *flag = errno == EINTR;
    } else if (n < 0) {
        c->dead = true;
    }
    return n;
}

/* A record of ours that another follows at once: a ChangeCipherSpec, the ServerHello of a resumed session. The kernel
 * is to send both together. */
static bool goes_on(const unsigned char *record, size_t len)
{
    enum { CHANGE_CIPHER_SPEC = 20, HANDSHAKE = 22, SERVER_HELLO = 2 }; /* RFC 5246 §6.2.1, §7.4 */
    return (len == 6 && record[0] == CHANGE_CIPHER_SPEC) ||
           (len > 9 && record[0] == HANDSHAKE && record[5] == SERVER_HELLO &&
            len - 9 == ((size_t)record[6] << 16 | (size_t)record[7] << 8 | record[8]));
}

static bool send_wire(struct conn *c)
{
    size_t len;
    const unsigned char *bytes = c->writable ? wire_out(c, &len) : NULL;
    if (bytes == NULL) {
        return false;
    }
    wrote_out(c, bytes + len);
    int more = c->phase == PHASE_HANDSHAKE && goes_on(bytes, len) ? MSG_MORE : 0;
    ssize_t n = move(c, send(c->fd, bytes, len, MSG_NOSIGNAL | more), &c->writable);
    if (n > 0) {
        wire_out_done(c, (size_t)n);
    } else if (!c->writable) {
        watch_room(c, c->fd, (uintptr_t)c, &c->watches_room);
    }
    return n > 0;
}

static int64_t complained; /* of a proxy */

/* What is not a visitor of a trusted proxy ends here. */
static bool no_proxy(struct conn *c, const char *why)
{
    stats_add(STAT_CONNECTIONS_NO_PROXY, 1);
    log_seldom(&complained, "closed a connection of the proxy %s: its PROXY header is wrong: %s",
               c->visitor.text, why);
    c->dead = true;
    return false;
}

/* The header is peeked at until it is whole, so that no byte of TLS is taken with it. */
static bool read_proxy(struct conn *c)
{
    unsigned char bytes[PROXY_MAX];
    struct proxy p;
    if (!c->readable) {
        return false;
    }
    ssize_t n = move(c, recv(c->fd, bytes, sizeof bytes, MSG_PEEK), &c->readable);
    if (n <= 0) {
        c->dead = c->dead || n == 0; /* a proxy that looks whether we are there says nothing */
        return false;
    }
    switch (proxy_read(&p, bytes, (size_t)n)) {
    case PROXY_MORE: /* epoll tells when more has come */
        c->readable = false;
        c->dead = c->ended;
        return false;
    case PROXY_WRONG: return no_proxy(c, p.why);
    default: break;
    }
    if (recv(c->fd, bytes, p.len, 0) != (ssize_t)p.len) {
        return no_proxy(c, "it went away");
    }
    c->awaits_proxy = false;
    if (p.visitor.ss_family != AF_UNSPEC) {
        visitor_passed_on(&c->visitor, &p.visitor);
        c->dead = !count_for(c, &p.visitor);
    }
    return !c->dead;
}

/* Less than was asked for is all there was, and more would be a new edge (epoll(7)); but for the end of the stream,
 * which may have been part of the edge that brought this. */
static ssize_t receive(struct conn *c, unsigned char *room, size_t len)
{
    ssize_t n = move(c, recv(c->fd, room, len, 0), &c->readable);
    if (n == 0) {
        c->hung_up = true;
    }
    if (n >= 0 && (size_t)n < len && (n == 0 || !c->ended)) {
        c->readable = false;
    }
    return n;
}

/* The engine asks for the five bytes of a record's header and then for the record: what is small comes by way of wire,
 * a request in one call instead of three. */
static bool receive_wire(struct conn *c)
{
    size_t len;
    if (c->awaits_proxy) {
        return read_proxy(c);
    }
    unsigned char *room = c->shut ? NULL : wire_in(c, &len);
    if (room == NULL || (c->wire_len == 0 && !c->readable)) {
        return false;
    }
    ssize_t n = 0;
    if (c->wire_len > 0) {
        n = (ssize_t)(len < c->wire_len ? len : c->wire_len);
        memcpy(room, c->wire + c->wire_at, (size_t)n);
        c->wire_at += (size_t)n;
        c->wire_len -= (size_t)n;
    } else if (len >= WIRE_SIZE) {
        n = receive(c, room, len);
    } else {
        n = receive(c, c->wire, WIRE_SIZE);
        c->wire_at = 0;
        c->wire_len = n > 0 ? (size_t)n : 0;
        return n > 0;
    }
    if (n > 0) {
        wrote_in(c, room + n);
        wire_in_done(c, (size_t)n);
    }
    return n > 0;
}

/* ---- between the gate and http --------------------------------------------------------------- */

static void owner_goes_on(struct channel *h)
{
    h->readable = true; /* epoll will say so only at its next turn */
    if (h->owner != NULL) {
        h->owner->busy = false;
        conn_ready(h->owner);
    }
}

static void on_answered(void *arg)
{
    owner_goes_on(arg);
}

static void on_ended(void *arg)
{
    struct channel *h = arg;
    h->link = NULL;
    owner_goes_on(h); /* the end of the stream is to be read */
}

void conn_channel_event(struct channel *h, uint32_t events)
{
    h->readable = h->readable || (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    h->writable = h->writable || (events & (EPOLLOUT | EPOLLERR)) != 0;
    h->ended = h->ended || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    if (h->owner != NULL) {
        conn_ready(h->owner);
    }
}

static struct channel *channel_open(struct conn *c)
{
    int pair[2];
    struct channel *h = calloc(1, sizeof *h);
    if (h == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
        free(h);
        return NULL;
    }
    h->fd = pair[0];
    h->writable = true;
    h->link = http_add(c->env->http, pair[1], on_answered, on_ended, h);
    if (h->link == NULL || !watch(c, h->fd, (uintptr_t)h | CONN_CHANNEL)) {
        channel_close(h);
        return NULL;
    }
    return h;
}

/* One that waits and was not ended meanwhile, or NULL. */
static struct channel *channel_take(struct conn_env *env)
{
    struct channel *h;
    while ((h = env->channels) != NULL) {
        env->channels = h->next;
        env->channel_count--;
        if (h->link != NULL && !h->ended) {
            break;
        }
        channel_close(h);
    }
    if (env->channel_count < env->channel_least) {
        env->channel_least = env->channel_count;
    }
    return h;
}

/* A connection that never asks costs no parser, and one that is answered none any more: the next request, whoever's it
 * is, finds it still warm. */
static void release_http(struct conn *c)
{
    struct channel *h = c->http;
    struct conn_env *env = c->env;
    if (h == NULL || h->link == NULL || h->ended || !http_clean(h->link) ||
        env->channel_count == CHANNELS_MAX) {
        leave_http(c);
        return;
    }
    c->http = NULL;
    h->owner = NULL;
    h->next = env->channels;
    env->channels = h;
    env->channel_count++;
}

unsigned conn_trim(struct conn_env *env)
{
    unsigned count = env->channel_least;
    struct channel **end = &env->channels; /* those that were not used for longest are the last */
    for (unsigned i = count; i < env->channel_count; i++) {
        end = &(*end)->next;
    }
    for (struct channel *h = *end, *next; h != NULL; h = next) {
        next = h->next;
        channel_close(h);
    }
    *end = NULL;
    env->channel_count -= count;
    env->channel_least = env->channel_count;
    return count;
}

static bool join_http(struct conn *c)
{
    if (c->http == NULL) {
        c->http = channel_take(c->env);
    }
    if (c->http == NULL) {
        c->http = channel_open(c);
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
        int64_t failed = stats_get(STAT_COMMIT_FAILED_AT);
        bool failing =
            failed != 0 && time(NULL) - failed < 30; /* then ready again, or nobody would ever try */
        plain_admin(failing ? "the spool does not take submissions\n" : NULL, head->iov_base, head->iov_len,
                    &c->reply);
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
    unsigned char *in = clear_in(c, &len);
    if (in == NULL || len == 0) {
        return false;
    }
    if (c->discard) {
        clear_in_done(c, pass_over(c, in, len));
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
        clear_in_done(c, c->run_taken);
    } else if (head) {
        on_head(c);
        if (run->iov_len == 0) { /* it has its answer already */
            clear_in_done(c, c->run_taken);
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
        clear_in_done(c, c->run_taken);
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
    unsigned char *out = clear_out(c, &room);
    if (out == NULL) {
        return false;
    }
    if (c->reply_sent < c->reply.len) {
        size_t left = c->reply.len - c->reply_sent;
        size_t n = left < room ? left : room;
        memcpy(out, c->reply.data + c->reply_sent, n);
        wrote_out(c, out + n);
        c->reply_sent += n;
        clear_out_done(c, n, c->reply_sent == c->reply.len);
        return true;
    }
    ssize_t n = recv(h->fd, out, room, MSG_DONTWAIT);
    if (n > 0) {
        wrote_out(c, out + n);
        h->readable = (size_t)n == room || h->ended || h->link == NULL; /* then the end is behind it */
        clear_out_done(c, (size_t)n, true);
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
    br_ssl_engine_get_session_parameters(&c->tls.eng, &session);
    int curve = br_ssl_engine_get_ecdhe_curve(&c->tls.eng);
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
    size_t len;
    return c->reply_sent == c->reply.len && (c->http == NULL || !c->http->readable) &&
           wire_out(c, &len) == NULL;
}

/* Announces the end, by close_notify and then by FIN. */
static bool say_goodbye(struct conn *c)
{
    size_t len;
    if (c->kind == CONN_FORMS && !c->shut && (state(c) & BR_SSL_CLOSED) == 0) {
        if (clear_in(c, &len) != NULL) { /* br_ssl_engine_close() does not work with unread data */
            clear_in_done(c, len);
        }
        br_ssl_engine_close(&c->tls.eng);
    }
    c->shut = true;
    return true;
}

static void linger(struct conn *c)
{
    size_t len;
    if (wire_out(c, &len) != NULL) {
        return;
    }
    if (!c->finished) { /* a second time would change nothing and yet wake epoll, again and again */
        c->finished = true;
        shutdown(c->fd, SHUT_WR);
    }
    for (int round = 0; c->readable && !c->dead; round++) {
        if (round == ROUNDS) {
            conn_ready(c);
            return;
        }
        c->dead = move(c, recv(c->fd, c->in, IN_USUAL, 0), &c->readable) == 0 || c->dead;
    }
    c->dead = c->dead || c->hung_up;
}

/* What the last moves have led to. true: there may be more to move. */
static bool advance(struct conn *c)
{
    if (c->kind == CONN_FORMS && !c->shut && (state(c) & BR_SSL_CLOSED) != 0) {
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
    if (c->phase == PHASE_HANDSHAKE && (state(c) & (BR_SSL_SENDAPP | BR_SSL_RECVAPP)) != 0) {
        on_secured(c);
        return true;
    }
    if (c->phase == PHASE_ANSWER && !c->busy && nothing_to_send(c)) {
        release_http(c);
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
    if (c->closing && !c->shut && nothing_to_send(c)) {
        return say_goodbye(c);
    }
    if (c->hung_up && !c->closing) { /* no close_notify, no more bytes: cut off */
        c->dead = true;
    }
    return false;
}

void conn_pump(struct conn *c)
{
    c->env->current = c;
    int round = 0;
    for (bool moved = true; moved && !c->dead && round < ROUNDS; round++) {
        moved = send_wire(c);
        moved = take_answer(c) || moved;
        moved = (!c->dead && pass_on(c)) || moved;
        moved = (!c->dead && receive_wire(c)) || moved;
        moved = (!c->dead && advance(c)) || moved;
    }
    if (c->shut && !c->dead) {
        linger(c);
    }
    if (round == ROUNDS) {
        conn_ready(c);
    }
    c->env->current = NULL;
}

/* Gives back the pages of the buffers; only between records, when the engine holds no byte of either. */
static void rest(struct conn *c)
{
    size_t len;
    unsigned char *fresh = c->kind == CONN_FORMS ? br_ssl_engine_recvrec_buf(&c->tls.eng, &len) : NULL;
    if (fresh != NULL && len == 5 && wire_out(c, &len) == NULL) { /* 5: awaits the header of a record */
        madvise(c->in, IN_SIZE, MADV_DONTNEED);
        madvise(c->out, OUT_SIZE + (c->wire_len == 0 ? WIRE_SIZE : 0), MADV_DONTNEED);
    }
    enter(c, PHASE_RESTING);
}

void conn_expire(struct conn *c)
{
    switch (c->phase) {
    case PHASE_IDLE:
        if (!c->env->draining) {
            rest(c);
            return;
        }
        /* fall through */
    case PHASE_RESTING: begin_close(c); break;
    case PHASE_PAUSE: after_body(c); break;
    case PHASE_HEAD:
    case PHASE_BODY:
        stats_add(STAT_TIMEOUTS, 1);
        if (c->phase == PHASE_BODY && !c->busy) { /* it was answered before it was complete */
            c->dead = !hears_later(c);
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
    default: c->dead = true; break;
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
