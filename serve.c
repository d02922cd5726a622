/* The front: one epoll loop over listeners, connections, libmicrohttpd and the commit thread. */

#include "bridge.h"

#include <errno.h>
#include <malloc.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    EVENTS = 128,
    REST = 1000, /* milliseconds without accepting after the descriptors ran out */
    TRIM = 3000, /* milliseconds from the first that leaves or rests until the heap is given back, too */
    IDLE_BEFORE_REST = 4, /* seconds until an idle connection gives its buffers back; part of idle_timeout */
    IDLE_IN_DRAIN = 1,    /* and until it is closed when the process is to end */
    LINGER = 3,
    PAUSE = 3,            /* milliseconds from a proxy's request to its answer, at least: see hears_later() */
    HEAP_PIECE = 1 << 20, /* what is larger is mapped, and unmapped when it is freed */
    HEAP_KEPT = 8 << 20,  /* so much is kept between one body and the next; trim() gives it back */
};

/* epoll's data for what is not a connection: small numbers, which no address is. */
enum { EVENT_SIGNAL = 2, EVENT_HTTP = 4, EVENT_COMMIT = 6, EVENT_LISTENER = 8 };

struct listener {
    int fd;
    enum conn_kind kind;
};

struct list { /* connections in one phase, the next deadline first */
    struct conn *first, *last;
};

struct serve {
    struct front *front;
    struct conn_env env;
    struct listener *listeners;
    size_t listener_count;
    struct list lists[PHASE_COUNT];
    int64_t timeouts[PHASE_COUNT]; /* milliseconds */
    int64_t now;
    int64_t rests_until; /* 0: accepting */
    int64_t drain_until; /* 0: not draining */
    int64_t trim_at;     /* 0: there is nothing to give back */
    bool fewer;          /* somebody has left or gone to rest since the last time */
    size_t open;
};

/* ---- deadlines: one list a phase; all in it wait equally long, so the first is due first ----- */

static void unlist(struct serve *s, struct conn *c)
{
    if (!c->is_listed) {
        return;
    }
    struct list *l = &s->lists[c->listed];
    *(c->prev != NULL ? &c->prev->next : &l->first) = c->next;
    *(c->next != NULL ? &c->next->prev : &l->last) = c->prev;
    c->is_listed = false;
}

static void list_by_phase(struct serve *s, struct conn *c)
{
    if (c->is_listed && c->listed_at == c->entered) {
        return;
    }
    unlist(s, c);
    struct list *l = &s->lists[c->phase];
    c->listed = c->phase;
    c->listed_at = c->entered;
    c->is_listed = true;
    c->deadline = s->now + s->timeouts[c->phase];
    c->prev = l->last;
    c->next = NULL;
    *(l->last != NULL ? &l->last->next : &l->first) = c;
    l->last = c;
}

static void expire(struct serve *s)
{
    for (int p = 0; p < PHASE_COUNT; p++) {
        struct conn *next;
        for (struct conn *c = s->lists[p].first; c != NULL && c->deadline <= s->now; c = next) {
            next = c->next;
            conn_expire(c);
            list_by_phase(s, c);
            s->fewer = s->fewer || c->phase == PHASE_RESTING;
        }
    }
}

static void trim(struct serve *s)
{
    if (s->trim_at != 0 && s->now >= s->trim_at) {
        if (channel_trim(&s->env.channels) > 0) {
            http_run(s->env.http); /* which has its share of each */
            s->fewer = true;
        }
        if (s->fewer) {
            malloc_trim(0); /* what many used at the same time lies between what is still in use */
        }
        s->fewer = false;
        s->trim_at = 0;
    }
    if (s->trim_at == 0 && (s->fewer || s->env.channels.first != NULL)) {
        s->trim_at = s->now + TRIM;
    }
}

static void sweep(const struct serve *s)
{
    int64_t at = tls_cache_sweep_at(s->env.cache);
    if (at != 0 && s->now >= at) {
        tls_cache_sweep(s->env.cache);
    }
}

static int until_deadline(const struct serve *s)
{
    int64_t first = INT64_MAX;
    for (int p = 0; p < PHASE_COUNT; p++) {
        const struct conn *c = s->lists[p].first;
        first = c != NULL && c->deadline < first ? c->deadline : first;
    }
    first = s->rests_until != 0 && s->rests_until < first ? s->rests_until : first;
    first = s->trim_at != 0 && s->trim_at < first ? s->trim_at : first;
    first = s->drain_until != 0 && s->drain_until < first ? s->drain_until : first;
    int64_t sweep_at = tls_cache_sweep_at(s->env.cache);
    first = sweep_at != 0 && sweep_at < first ? sweep_at : first;
    if (first == INT64_MAX) {
        return -1;
    }
    int64_t left = first - s->now;
    return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

/* ---- accepting ------------------------------------------------------------------------------- */

static bool watch_listener(struct serve *s, const struct listener *l, bool on)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLEXCLUSIVE,
                            .data.u64 = EVENT_LISTENER + 2 * (uint64_t)(l - s->listeners)};
    return epoll_ctl(s->env.epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, l->fd, &e) == 0;
}

static bool watch_listeners(struct serve *s, bool on)
{
    bool ok = true;
    for (size_t i = 0; i < s->listener_count; i++) {
        ok = watch_listener(s, &s->listeners[i], on) && ok;
    }
    return ok;
}

static void welcome(struct serve *s, const struct listener *l, int fd, const struct sockaddr_storage *addr)
{
    static int64_t complained, starved;
    stats_add(STAT_CONNECTIONS, 1);
    const struct conf *conf = s->front->conf;
    if (l->kind == CONN_PROXIED && !network_has(conf->trusted_proxies, conf->trusted_proxy_count, addr)) {
        log_seldom(&complained,
                   "closed a connection to a proxy: address by one who is not in trusted_proxies");
        stats_add(STAT_CONNECTIONS_NO_PROXY, 1);
        close(fd);
        return;
    }
    if (!conn_room(&s->env, l->kind, addr)) {
        stats_add(STAT_CONNECTIONS_CAPPED, 1);
        close(fd);
        return;
    }
    /* Records leave whole: waiting for more to send would only cost a round trip. */
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on,
               sizeof on); /* fails on a unix socket, where it is not needed */
    struct conn *c = conn_new(&s->env, l->kind, fd, addr);
    if (c == NULL) {
        log_seldom(&starved, "no memory for a connection");
        return;
    }
    stats_add(STAT_CONNECTIONS_OPEN, 1);
    s->open++;
    list_by_phase(s, c);
    conn_ready(c);
}

static void rest(struct serve *s)
{
    if (s->rests_until == 0) {
        log_warn("descriptors or memory ran out: no new connections for a second");
        watch_listeners(s, false);
        s->rests_until = s->now + REST;
    }
}

/* The kernel wakes the first of the fronts that wait for a connection (EPOLLEXCLUSIVE, epoll_ctl(2)): left alone, the
 * same one again and again. So who has had one goes to the end of their line. What comes meanwhile wakes another, or is
 * seen when the listener is watched again. */
static void let_others(struct serve *s, const struct listener *l)
{
    if (!watch_listener(s, l, false) || !watch_listener(s, l, true)) {
        rest(s);
    }
}

static void accept_one(struct serve *s, const struct listener *l)
{
    struct sockaddr_storage addr = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof addr;
    int fd = accept4(l->fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        welcome(s, l, fd, &addr);
        let_others(s, l);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        rest(s);
    } /* anything else is the trouble of that one connection (accept(2)), or another front was faster */
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void bury(struct serve *s, struct conn *c)
{
    unlist(s, c);
    stats_add(STAT_CONNECTIONS_OPEN, -1);
    s->open--;
    s->fewer = true;
    conn_free(c);
}

/* One turn for each that has something to do; who wants another waits until the others have had theirs. */
static void run_ready(struct serve *s)
{
    struct conn *turn = s->env.ready;
    s->env.ready = NULL;
    while (turn != NULL) {
        struct conn *c = turn;
        turn = c->next_ready;
        c->queued = false;
        if (!c->stream.dead) {
            conn_pump(c);
        }
        if (!c->stream.dead) {
            list_by_phase(s, c);
        } else if (!c->queued) {
            bury(s, c);
        }
    }
}

/* A successor may want to listen at the same addresses before this process has ended. */
static void close_listeners(struct serve *s)
{
    if (s->rests_until == 0) {
        watch_listeners(s, false);
    }
    s->rests_until = 0;
    for (size_t i = 0; i < s->listener_count; i++) {
        close(s->listeners[i].fd);
    }
}

/* A first request may be on its way, or none will come: who waits for one has to be told soon. */
static void hurry_idle(struct serve *s)
{
    int64_t sooner = s->timeouts[PHASE_IDLE] - (int64_t)IDLE_IN_DRAIN * 1000;
    if (sooner > 0) {
        s->timeouts[PHASE_IDLE] -= sooner;
        for (struct conn *c = s->lists[PHASE_IDLE].first; c != NULL; c = c->next) {
            c->deadline -= sooner;
        }
    }
}

static void begin_drain(struct serve *s)
{
    struct signalfd_siginfo info;
    while (read(s->front->signals, &info, sizeof info) > 0) {
    }
    if (s->drain_until != 0) {
        return;
    }
    s->drain_until = s->now + (int64_t)s->front->conf->drain_timeout * 1000;
    close_listeners(s);
    s->env.draining = true;
    http_drain(s->env.http);
    hurry_idle(s);
    for (int p = 0; p < PHASE_COUNT; p++) {
        struct conn *next;
        for (struct conn *c = s->lists[p].first; c != NULL; c = next) {
            next = c->next;
            conn_drain(c);
        }
    }
}

static void on_conn_event(const struct epoll_event *e)
{
    struct conn *c;
    if ((e->data.u64 & CONN_CHANNEL) != 0) {
        c = channel_event((struct channel *)(uintptr_t)(e->data.u64 - CONN_CHANNEL), e->events);
    } else {
        c = (struct conn *)(uintptr_t)e->data.u64;
        stream_event(&c->stream, e->events);
    }
    if (c != NULL) {
        conn_ready(c);
    }
}

/* true: http has something to do. */
static bool on_events(struct serve *s, const struct epoll_event *events, int n)
{
    bool http = false;
    for (int i = 0; i < n; i++) {
        uint64_t what = events[i].data.u64;
        if (what == EVENT_SIGNAL) {
            begin_drain(s);
        } else if (what == EVENT_HTTP || what == EVENT_COMMIT) {
            http = true;
        } else if (what < EVENT_LISTENER + 2 * s->listener_count) {
            if (!s->env.draining) {
                accept_one(s, &s->listeners[(what - EVENT_LISTENER) / 2]);
            }
        } else {
            on_conn_event(&events[i]);
        }
    }
    return http;
}

void serve_run(struct serve *s)
{
    struct epoll_event events[EVENTS];
    while (s->drain_until == 0 || (s->open > 0 && s->now < s->drain_until)) {
        int look = http_due_in(s->env.http);
        int wait = s->env.ready != NULL || http_due(s->env.http) ? 0 : until_deadline(s);
        wait = look >= 0 && (wait < 0 || look < wait) ? look : wait;
        int n = epoll_wait(s->env.epoll, events, EVENTS, wait);
        s->now = clock_ms();
        bool http = on_events(s, events, n);
        run_ready(s);
        if (http || look >= 0 || s->env.passed || http_due(s->env.http)) {
            s->env.passed = false;
            http_run(s->env.http);
            run_ready(s); /* an answer that is there already saves a turn of the loop */
        }
        expire(s);
        trim(s);
        sweep(s);
        if (s->rests_until != 0 && s->now >= s->rests_until) {
            s->rests_until = 0;
            if (!watch_listeners(s, true)) {
                rest(s);
            }
        }
    }
    if (s->open > 0) {
        log_warn("ended with %zu connections unfinished: drain_timeout is over", s->open);
    }
    for (int p = 0; p < PHASE_COUNT; p++) {
        while (s->lists[p].first != NULL) {
            bury(s, s->lists[p].first); /* wipes what they held */
        }
    }
    s->env.channels.least = s->env.channels.count;
    channel_trim(&s->env.channels);
    http_stop(s->env.http);
    close(s->env.epoll);
    free(s->listeners);
    free(s);
}

/* ---- starting -------------------------------------------------------------------------------- */

static size_t sign(void *ctx, unsigned hash, unsigned char *data, size_t hash_len, size_t len)
{
    struct conn_env *env = ctx;
    if (env->current != NULL) {
        env->current->full_handshake = true; /* a resumed one needs no signature */
    }
    return signer_sign(env->signer, hash, data, hash_len, len);
}

static void add_listeners(struct serve *s, const int *fds, size_t count, enum conn_kind kind)
{
    for (size_t i = 0; i < count; i++) {
        s->listeners[s->listener_count++] = (struct listener){.fd = fds[i], .kind = kind};
    }
}

static enum conn_kind spoken_at(const struct endpoint *e)
{
    return e->kind == ENDPOINT_PLAIN ? CONN_PLAIN : e->kind == ENDPOINT_PROXY ? CONN_PROXIED : CONN_FORMS;
}

static bool watch_input(struct serve *s, int fd, uint64_t event)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = event};
    return epoll_ctl(s->env.epoll, EPOLL_CTL_ADD, fd, &e) == 0;
}

/* glibc's own limits give back after each upload what the next one faults in again, up to a seventh of what it costs. A
 * second heap, of the commit thread, malloc_trim() would not give back. */
static void keep_heap(void)
{
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, HEAP_PIECE);
    mallopt(M_TRIM_THRESHOLD, HEAP_KEPT);
}

struct serve *serve_start(struct front *f)
{
    const struct conf *c = f->conf;
    struct serve *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    keep_heap();
    s->front = f;
    s->listeners =
        calloc(c->listen_count + c->http_listen_count + c->admin_listen_count, sizeof *s->listeners);
    s->env = (struct conn_env){.conf = c,
                               .spool = f->spool,
                               .cache = f->cache,
                               .signer = &f->signer,
                               .peers = f->peers,
                               .front = f->number,
                               .acme = f->acme};
    tls_policy_init(&s->env.policy, f->chain, sign, &s->env);
    s->env.epoll = epoll_create1(EPOLL_CLOEXEC);
    s->env.http = http_start(c, f->spool, f->wake, f->mail_signer, &f->once, f->limit, f->token_secret);
    if (s->listeners == NULL || s->env.epoll < 0 || s->env.http == NULL) {
        return NULL; /* the process ends: nothing to take back */
    }
    for (size_t i = 0; i < c->listen_count; i++) {
        add_listeners(s, &f->listen_fds[i], 1, spoken_at(&c->listen[i]));
    }
    add_listeners(s, f->http_fds, c->http_listen_count, CONN_REDIRECT);
    add_listeners(s, f->admin_fds, c->admin_listen_count, CONN_ADMIN);

    const unsigned idle = c->idle_timeout < IDLE_BEFORE_REST ? c->idle_timeout : IDLE_BEFORE_REST;
    const unsigned seconds[PHASE_COUNT] = {
        [PHASE_HANDSHAKE] = c->handshake_timeout,
        [PHASE_IDLE] = idle,
        [PHASE_RESTING] = c->idle_timeout - idle,
        [PHASE_HEAD] = c->head_timeout,
        [PHASE_BODY] = c->body_timeout,
        [PHASE_ANSWER] = c->answer_timeout,
        [PHASE_LINGER] = LINGER,
    };
    for (int p = 0; p < PHASE_COUNT; p++) {
        s->timeouts[p] = (int64_t)seconds[p] * 1000;
    }
    s->timeouts[PHASE_PAUSE] = PAUSE;
    s->now = clock_ms();
    if (!watch_listeners(s, true) || !watch_input(s, f->signals, EVENT_SIGNAL) ||
        !watch_input(s, http_fd(s->env.http), EVENT_HTTP) ||
        !watch_input(s, http_commit_fd(s->env.http), EVENT_COMMIT)) {
        return NULL;
    }
    return s;
}
