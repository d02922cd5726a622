/* The pickup: one epoll loop over TLS connections and their sessions, and two threads for what would stall it, one for
 * passwords and one for the mailbox. A mailbox has one session at a time, so the second never has much to do. */

#include "bridge.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    EVENTS = 64,
    ACCEPT_LOT = 16,
    REST = 1000,    /* milliseconds without accepting after the descriptors ran out */
    ROUNDS = 32,    /* of pumping before others have their turn */
    ANSWERS = 4096, /* bytes of answers to gather before more commands are taken */
    LINE_TIMEOUT = 60,
    SEND_TIMEOUT = 60, /* for each SEND_STEP bytes: a reader may be slow, not dead */
    SEND_STEP = 4096,
    LINGER = 3,
};

/* epoll's data for what is not a client: small numbers, which no address is. */
enum { EVENT_SIGNAL = 1, EVENT_CHECKS, EVENT_DISK, EVENT_LISTENER };

/* What a client is waited for; each has a deadline that starts anew when the mark of its progress changes. */
enum pause { PAUSE_LOGIN, PAUSE_WORK, PAUSE_SEND, PAUSE_LINE, PAUSE_IDLE, PAUSE_END };

struct client {
    struct work work; /* first: what the workers get */
    struct pop3_server *server;
    struct client *prev, *next;
    uint64_t id; /* network_id() */
    char address[INET6_ADDRSTRLEN];
    struct tlsio tls;
    struct popsession session;
    size_t out_sent; /* of session.out */
    int64_t asked;   /* a password waits to be checked since then; 0: none */
    int64_t retry;   /* when to ask the guard again */
    bool in_flight;  /* with a worker: hands off the session */
    bool ready;      /* has something to do */
    bool dead;       /* to be freed, once it is not in flight */
    enum pause pause;
    uint64_t mark;
    int64_t deadline;
};

struct pop3_server {
    struct pop3 *p;
    struct tls_policy policy;
    int epoll;
    struct worker *checks, *disk;
    struct guard guard;
    uint64_t bucket_key;
    struct client *first, *last; /* the oldest first */
    size_t open;
    int64_t now;         /* milliseconds, CLOCK_MONOTONIC */
    int64_t rests_until; /* 0: accepting */
    int64_t drain_until; /* 0: not draining */
};

/* ---- work ------------------------------------------------------------------------------------ */

static void run_work(struct work *w)
{
    popsession_work(&((struct client *)w)->session);
}

static void submit(struct client *c, struct worker *w, bool ahead)
{
    c->in_flight = true;
    c->work.run = run_work;
    worker_submit(w, &c->work, ahead);
}

/* Starts what the session wants done, as soon as it may be. */
static void start_work(struct client *c)
{
    struct pop3_server *s = c->server;
    if (c->in_flight || c->session.want == WANT_INPUT) {
        return;
    }
    if (c->session.want == WANT_DISK) {
        submit(c, s->disk, false);
        return;
    }
    c->asked = c->asked == 0 ? s->now : c->asked;
    if (c->tls.leaving) { /* nobody waits for the answer */
        c->dead = true;
        return;
    }
    int64_t wait = guard_wait(&s->guard, c->id, c->asked, s->now);
    c->retry = s->now + wait;
    if (wait == 0) {
        submit(c, s->checks, guard_known(&s->guard, c->id));
    }
}

static void on_checked(struct client *c)
{
    struct pop3_server *s = c->server;
    const char *name = s->p->pickup->name;
    enum guard_alarm alarm = guard_result(&s->guard, c->id, c->session.right, s->now);
    c->asked = 0;
    if (alarm == GUARD_NOTE) {
        log_warn("[pickup %s]: wrong user or password from %s, %u in a row", name, c->address,
                 guard_failures(&s->guard, c->id));
    } else if (alarm == GUARD_ALARM) {
        log_error("[pickup %s]: somebody is guessing: %llu wrong logins, the last from %s; see that the "
                  "password is long "
                  "and used for nothing else, or let a firewall admit only your own addresses",
                  name, (unsigned long long)s->guard.failures, c->address);
    }
}

static void on_worked(struct client *c)
{
    bool before = c->session.state == POP_TRANSACTION;
    c->in_flight = false;
    c->ready = true;
    if (c->session.want == WANT_CHECK) {
        on_checked(c);
    }
    popsession_worked(&c->session);
    if (!before && c->session.state == POP_TRANSACTION) {
        log_info("[pickup %s]: login from %s, %zu messages", c->server->p->pickup->name, c->address,
                 c->session.drop.count);
    }
}

static void collect(struct worker *w)
{
    for (struct work *job = worker_collect(w), *next; job != NULL; job = next) {
        next = job->next;
        on_worked((struct client *)job);
    }
}

/* ---- one client ------------------------------------------------------------------------------ */

/* Answers become clear text that leaves. */
static bool give(struct client *c)
{
    struct buf *out = &c->session.out;
    if (c->out_sent < out->len) {
        size_t n = tlsio_put(&c->tls, out->data + c->out_sent, out->len - c->out_sent);
        c->out_sent += n;
        return n > 0;
    }
    c->out_sent = 0;
    buf_clear(out);
    popsession_more(&c->session);
    return out->len > 0;
}

static bool take(struct client *c)
{
    size_t len;
    const void *in = c->session.out.len < ANSWERS ? tlsio_in(&c->tls, &len) : NULL;
    size_t n = in == NULL ? 0 : popsession_take(&c->session, in, len);
    if (n > 0) {
        tlsio_in_done(&c->tls, n);
    }
    return n > 0;
}

/* Is anything left to be given? */
static bool giving(const struct client *c)
{
    return c->out_sent < c->session.out.len;
}

static void pump(struct client *c)
{
    bool moved = true;
    for (int round = 0; moved && !c->dead && round < ROUNDS; round++) {
        moved = tlsio_move(&c->tls);
        if (!c->in_flight) {
            moved = give(c) || moved;
            moved = take(c) || moved;
            start_work(c);
        }
    }
    c->ready = moved;
    if (c->in_flight) {
        return;
    }
    if (c->session.state == POP_OVER && !giving(c)) {
        tlsio_close(&c->tls);
        c->ready = tlsio_move(&c->tls);
    }
    if (tlsio_over(&c->tls) || (c->tls.hung_up && !moved)) {
        c->dead = true;
    }
}

static enum pause pause_of(struct client *c)
{
    if (c->tls.closing) {
        return PAUSE_END;
    }
    if (c->in_flight || c->asked != 0) {
        return PAUSE_WORK;
    }
    if (c->session.state == POP_AUTHORIZATION) {
        return PAUSE_LOGIN;
    }
    if (giving(c) || !tlsio_sent(&c->tls)) {
        return PAUSE_SEND;
    }
    return c->session.line_len > 0 || c->session.discarding ? PAUSE_LINE : PAUSE_IDLE;
}

static void set_deadline(struct client *c)
{
    const struct pickup *p = c->server->p->pickup;
    const unsigned seconds[] = {
        [PAUSE_LOGIN] = p->login_timeout, [PAUSE_SEND] = SEND_TIMEOUT, [PAUSE_LINE] = LINE_TIMEOUT,
        [PAUSE_IDLE] = p->idle_timeout,   [PAUSE_END] = LINGER,
    };
    enum pause pause = pause_of(c);
    uint64_t mark = pause == PAUSE_SEND    ? c->tls.sent / SEND_STEP
                    : pause == PAUSE_LOGIN ? c->session.attempts
                                           : c->session.commands;
    if (c->deadline != 0 && pause == c->pause && mark == c->mark) {
        return;
    }
    c->pause = pause;
    c->mark = mark;
    c->deadline = pause == PAUSE_WORK ? INT64_MAX : c->server->now + (int64_t)seconds[pause] * 1000;
}

/* RFC 1939 §3: an autologout removes nothing. */
static void expire(struct client *c)
{
    bool can_hear = tlsio_secured(&c->tls) && c->pause != PAUSE_SEND && c->pause != PAUSE_END;
    if (can_hear) {
        c->session.state = POP_OVER;
        pump(c);
    } else {
        c->dead = true;
    }
}

static void turn(struct client *c)
{
    if (c->in_flight && c->dead) {
        return;
    }
    if (c->ready || (c->asked != 0 && !c->in_flight && c->retry <= c->server->now)) {
        pump(c);
    }
    set_deadline(c);
    if (!c->dead && c->deadline <= c->server->now) {
        expire(c);
        set_deadline(c);
    }
}

/* ---- accepting ------------------------------------------------------------------------------- */

static bool watch(struct pop3_server *s, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event e = {.events = events, .data.u64 = data};
    return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e) == 0;
}

static bool watch_listeners(struct pop3_server *s, bool on)
{
    bool ok = true;
    for (size_t i = 0; i < s->p->pickup->listen_count; i++) {
        int fd = s->p->listen_fds[i];
        ok = (on ? watch(s, fd, EPOLLIN, EVENT_LISTENER + i)
                 : epoll_ctl(s->epoll, EPOLL_CTL_DEL, fd, NULL) == 0) &&
             ok;
    }
    return ok;
}

static bool is_guest(const struct pop3_server *s, const struct client *c)
{
    return !c->dead && !c->in_flight && c->session.state != POP_TRANSACTION && !guard_known(&s->guard, c->id);
}

/* When all places are taken, one of those without a login makes room: of the address that has most of them, first one
 * that has sent no password, and of these the oldest. So whoever knows the password gets in, even if it takes a while
 * until it is looked at (see guard.c), however many places a few others take. */
static bool make_place(struct pop3_server *s)
{
    unsigned places[NETWORK_BUCKETS] = {0}, most = 0;
    struct client *out = NULL;
    for (const struct client *c = s->first; c != NULL; c = c->next) {
        places[network_bucket(s->bucket_key, c->id)] += is_guest(s, c);
    }
    for (struct client *c = s->first; c != NULL; c = c->next) {
        unsigned same = places[network_bucket(s->bucket_key, c->id)];
        bool better = out == NULL || same > most || (same == most && c->asked == 0 && out->asked != 0);
        if (is_guest(s, c) && better) {
            out = c;
            most = same;
        }
    }
    if (out != NULL) {
        out->dead = true;
    }
    return out != NULL;
}

static bool admit(struct pop3_server *s, uint64_t id)
{
    size_t alive = 0, same = 0;
    for (const struct client *c = s->first; c != NULL; c = c->next) {
        alive += c->dead ? 0 : 1;
        same += !c->dead && c->id == id ? 1 : 0;
    }
    return same < s->p->pickup->max_per_address && (alive < s->p->pickup->max_connections || make_place(s));
}

static void welcome(struct pop3_server *s, int fd, const struct sockaddr_storage *addr)
{
    uint64_t id = network_id(addr);
    struct client *c = admit(s, id) ? calloc(1, sizeof *c) : NULL;
    if (c == NULL) {
        close(fd);
        return;
    }
    /* Records leave whole: waiting for more to send would only cost a round trip. */
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (!tlsio_start(&c->tls, fd, &s->policy, s->p->cache)) {
        free(c);
        return;
    }
    if (!watch(s, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, (uintptr_t)c)) {
        tlsio_end(&c->tls);
        free(c);
        return;
    }
    c->server = s;
    c->id = id;
    if (!network_text(addr, c->address)) {
        text_copy(c->address, sizeof c->address, "local");
    }
    popsession_start(&c->session, s->p->pickup);
    c->prev = s->last;
    *(s->last != NULL ? &s->last->next : &s->first) = c;
    s->last = c;
    s->open++;
}

static void rest(struct pop3_server *s)
{
    log_warn("descriptors or memory ran out: no new connections for a second");
    watch_listeners(s, false);
    s->rests_until = s->now + REST;
}

static void accept_some(struct pop3_server *s, int listener)
{
    for (int i = 0; i < ACCEPT_LOT; i++) {
        struct sockaddr_storage addr = {.ss_family = AF_UNSPEC};
        socklen_t len = sizeof addr;
        int fd = accept4(listener, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            welcome(s, fd, &addr);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            rest(s);
            return;
        } else if (errno == EAGAIN) {
            return;
        } /* anything else is the trouble of that one connection (accept(2)) */
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void bury(struct client *c)
{
    struct pop3_server *s = c->server;
    if (c->prev != NULL) {
        c->prev->next = c->next;
    } else {
        s->first = c->next;
    }
    if (c->next != NULL) {
        c->next->prev = c->prev;
    } else {
        s->last = c->prev;
    }
    s->open--;
    tlsio_end(&c->tls);
    popsession_end(&c->session);
    free(c);
}

static void begin_drain(struct pop3_server *s)
{
    struct signalfd_siginfo info;
    while (read(s->p->signals, &info, sizeof info) > 0) {
    }
    if (s->drain_until != 0) {
        return;
    }
    s->drain_until = s->now + (int64_t)s->p->pickup->drain_timeout * 1000;
    if (s->rests_until == 0) {
        watch_listeners(s, false);
    }
    s->rests_until = 0;
    for (struct client *c = s->first; c != NULL;
         c = c->next) { /* a mailbox that is open may be finished with */
        c->dead = c->dead || c->session.state != POP_TRANSACTION;
    }
}

static void on_event(struct pop3_server *s, const struct epoll_event *e)
{
    uint64_t what = e->data.u64;
    if (what == EVENT_SIGNAL) {
        begin_drain(s);
    } else if (what == EVENT_CHECKS) {
        collect(s->checks);
    } else if (what == EVENT_DISK) {
        collect(s->disk);
    } else if (what < EVENT_LISTENER + s->p->pickup->listen_count) {
        if (s->drain_until == 0 && s->rests_until == 0) {
            accept_some(s, s->p->listen_fds[what - EVENT_LISTENER]);
        }
    } else {
        struct client *c = (struct client *)(uintptr_t)what;
        tlsio_event(&c->tls, e->events);
        c->ready = true;
    }
}

/* One turn for each that has something to do. Returns milliseconds until somebody has. */
static int run_clients(struct pop3_server *s)
{
    int64_t first = s->drain_until != 0 ? s->drain_until : s->rests_until != 0 ? s->rests_until : INT64_MAX;
    for (struct client *c = s->first, *next; c != NULL; c = next) {
        next = c->next;
        turn(c);
        if (c->dead && !c->in_flight) {
            bury(c);
            continue;
        }
        int64_t due = c->ready ? s->now : c->asked != 0 && !c->in_flight ? c->retry : c->deadline;
        first = due < first ? due : first;
    }
    int64_t left = first - s->now;
    return first == INT64_MAX ? -1 : left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

static void stop(struct pop3_server *s)
{
    worker_stop(s->checks); /* whoever is at QUIT gets what it confirmed */
    worker_stop(s->disk);
    struct client *next;
    for (struct client *c = s->first; c != NULL; c = next) {
        next = c->next; /* NOLINT(clang-analyzer-unix.Malloc): what was buried is no longer in the list */
        bury(c);
    }
    close(s->epoll);
    explicit_bzero(s, sizeof *s);
    free(s);
}

void pop3_run(struct pop3_server *s)
{
    struct epoll_event events[EVENTS];
    int wait = -1;
    while (s->drain_until == 0 || (s->open > 0 && s->now < s->drain_until)) {
        int n = epoll_wait(s->epoll, events, EVENTS, wait);
        s->now = clock_ms();
        for (int i = 0; i < n; i++) {
            on_event(s, &events[i]);
        }
        if (s->rests_until != 0 && s->now >= s->rests_until) {
            s->rests_until = 0;
            if (!watch_listeners(s, true)) {
                rest(s);
            }
        }
        wait = run_clients(s);
    }
    stop(s);
}

struct pop3_server *pop3_start(struct pop3 *p)
{
    struct pop3_server *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->p = p;
    s->now = clock_ms();
    tls_policy_init(&s->policy, p->chain, signer_sign, &p->signer);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->checks = worker_start();
    s->disk = worker_start();
    bool ok = getrandom(&s->bucket_key, sizeof s->bucket_key, 0) == (ssize_t)sizeof s->bucket_key &&
              s->epoll >= 0 && s->checks != NULL && s->disk != NULL && watch_listeners(s, true) &&
              watch(s, p->signals, EPOLLIN, EVENT_SIGNAL) &&
              watch(s, worker_fd(s->checks), EPOLLIN, EVENT_CHECKS) &&
              watch(s, worker_fd(s->disk), EPOLLIN, EVENT_DISK);
    return ok ? s : NULL; /* the process ends: nothing to take back */
}
