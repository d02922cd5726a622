/* The parent: holds the listening sockets, starts the roles, replaces those that die, and on SIGHUP or a new
 * certificate starts a whole new set of them before it lets the old one finish. It never reads a byte from
 * the network.
 *
 * Both ends of every socketpair and pipe between roles stay open here, so that a role can be replaced without
 * its peers noticing more than a pause. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum {
    BACKOFF_MAX = 60,   /* seconds */
    STEADY = 60,        /* a role that lived this long starts again at once */
    WATCH_EVERY = 10,   /* seconds between looks at the certificate */
    RETRY_EVERY = 3600, /* to a certificate whose reload was refused */
    CHECK_EVERY = 86400,
    START_MAX = 60, /* seconds for a new set to become ready */
    END_MAX = 60,   /* and for an old one to end, once its drain_timeout is over */
};

enum role_kind { ROLE_SIGNER, ROLE_COURIER, ROLE_FRONT, ROLE_PICKUP };

struct role {
    enum role_kind kind;
    unsigned number; /* of a front */
    pid_t pid;       /* 0: not running */
    int64_t started;
    int64_t restart_at; /* 0: not to be restarted */
    unsigned backoff;
    bool expected; /* was told to end, to be replaced at once */
};

/* STARTING until every role has narrowed itself; LEAVING: fronts and courier were told to finish; ENDING: so
 * were the rest. */
enum stage { STAGE_STARTING, STAGE_RUNNING, STAGE_LEAVING, STAGE_ENDING };

struct generation {
    struct generation *next;
    enum stage stage;
    struct set set;
    struct conf *conf;
    struct role *roles;
    unsigned count, ready;
    int64_t started, leave_by;
    struct chain chain;
    struct stat certificate, key; /* as they were when this set was started, or last refused */
    struct stat resolver;         /* /etc/resolv.conf, as its courier knows it */
    int **fds;                    /* listening sockets, see group_at() */
    size_t groups;
};

struct parent {
    struct generation *current, *old; /* old: the list of those that finish */
    struct generation *coming;        /* being started by a reload */
    struct bound *bound;
    struct once *once; /* all fronts', old and new ones together */
    struct limit *limit;
    unsigned char token_secret[SECRET_SIZE];
    int signals;
    int spool; /* locked, or -1 */
    bool leaving;
    bool again; /* SIGHUP came during a check or a reload */
    struct checkup checkup;
    struct conf *checked; /* to be used if all is in order; NULL: it is the daily look at what is in use */
    int exit_code;
    int64_t look_at;  /* when to look at certificate and name servers again */
    int64_t retry_at; /* when to try a new certificate again; 0: it is in use */
    int64_t check_at; /* and at everything, so that what will expire is reported while there is time */
};

/* ---- listening sockets ----------------------------------------------------------------------- */

/* All the config's listening addresses: those for forms, for plain HTTP, for administration, then each pickup's. */
static size_t group_count(const struct conf *c)
{
    size_t n = 3;
    for (const struct pickup *p = c->pickups; p != NULL; p = p->next) {
        n++;
    }
    return n;
}

static size_t group_at(const struct conf *c, size_t group, const struct endpoint **endpoints)
{
    switch (group) {
    case 0: *endpoints = c->listen; return c->listen_count;
    case 1: *endpoints = c->http_listen; return c->http_listen_count;
    case 2: *endpoints = c->admin_listen; return c->admin_listen_count;
    default: break;
    }
    const struct pickup *p = c->pickups;
    for (size_t i = 3; i < group; i++) {
        p = p->next;
    }
    *endpoints = p->listen;
    return p->listen_count;
}

/* All but those of the config; NULL: all. How many. */
static unsigned close_all_but(struct parent *p, const struct conf *c)
{
    const struct endpoint *endpoints;
    size_t groups = c != NULL ? group_count(c) : 0;
    for (size_t k = 0; k < groups; k++) {
        size_t count = group_at(c, k, &endpoints);
        bound_want(p->bound, endpoints, count);
    }
    return bound_close_unwanted(&p->bound);
}

static void close_unused(struct parent *p)
{
    close_all_but(p, p->current != NULL ? p->current->conf : NULL);
}

/* What an earlier run left with the service manager, or what that has bound itself. An address of which only a part is
 * wanted now is free for that only when the manager has let go of it, too. */
static void inherit(struct parent *p, const struct conf *c)
{
    bound_inherit(&p->bound);
    unsigned closed = close_all_but(p, c);
    if (closed > 0) {
        log_info("the service manager handed over %u socket%s where the config does not listen: closed",
                 closed, closed == 1 ? "" : "s");
        notify_forget();
        notify_wait();
    }
}

/* ---- a set of roles -------------------------------------------------------------------------- */

static unsigned front_count(const struct conf *c)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = c->fronts != 0 ? c->fronts : cores < 1 ? 1 : (unsigned)cores;
    return n > FRONTS_MAX ? FRONTS_MAX : n;
}

static void free_generation(struct generation *g)
{
    for (unsigned i = 0; g->set.signer != NULL && i < g->set.signer_count; i++) {
        for (int end = 0; end < 2; end++) {
            if (g->set.signer[i][end] > 0) {
                close(g->set.signer[i][end]);
            }
        }
    }
    const int fds[] = {g->set.wake[0], g->set.wake[1], g->set.ready[0], g->set.ready[1]};
    for (size_t i = 0; i < COUNT(fds); i++) {
        if (fds[i] > 0) {
            close(fds[i]);
        }
    }
    if (g->set.bad_calls != NULL) {
        munmap(g->set.bad_calls, g->count * sizeof(int));
    }
    if (g->set.chain != NULL) {
        x509_chain_free(&g->chain);
    }
    tls_cache_free(g->set.cache);
    peers_free(g->set.peers);
    for (size_t i = 0; g->fds != NULL && i < g->groups; i++) {
        free(g->fds[i]);
    }
    free(g->fds);
    free(g->set.signer);
    free(g->roles);
    conf_free(g->conf);
    free(g);
}

static bool make_channels(struct generation *g)
{
    struct set *s = &g->set;
    for (unsigned i = 0; i < s->signer_count; i++) {
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s->signer[i]) != 0) {
            return false;
        }
    }
    s->bad_calls =
        mmap(NULL, g->count * sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s->bad_calls == MAP_FAILED) {
        s->bad_calls = NULL;
        return false;
    }
    s->cache = tls_cache_new();
    s->peers = peers_new(s->fronts);
    return s->cache != NULL && s->peers != NULL && pipe2(s->wake, O_CLOEXEC | O_NONBLOCK) == 0 &&
           pipe2(s->ready, O_CLOEXEC | O_NONBLOCK) == 0;
}

/* Takes conf. NULL: said why. */
static struct generation *new_generation(struct parent *p, struct conf *conf)
{
    struct generation *g = calloc(1, sizeof *g);
    if (g == NULL) {
        conf_free(conf);
        return NULL;
    }
    g->conf = conf;
    g->set.conf = conf;
    for (struct form_conf *f = conf->forms; f != NULL; f = f->next) {
        f->counters = f->alert ? 0 : stats_form(f->name);
    }
    g->set.once = p->once;
    g->set.limit = p->limit;
    g->set.fronts = front_count(conf);
    g->set.token_secret = p->token_secret;
    g->groups = group_count(conf);
    g->count = 2 + g->set.fronts + (unsigned)(g->groups - 3);
    g->roles = calloc(g->count, sizeof *g->roles);
    g->set.signer_count = roles_links(conf, g->set.fronts);
    g->set.signer = calloc(g->set.signer_count, sizeof *g->set.signer);
    g->fds = calloc(g->groups, sizeof *g->fds);
    bool ok = g->roles != NULL && g->set.signer != NULL && g->fds != NULL && make_channels(g);
    for (size_t k = 0; ok && k < g->groups; k++) {
        const struct endpoint *endpoints;
        size_t count = group_at(conf, k, &endpoints);
        g->fds[k] = calloc(count + 1, sizeof(int));
        ok = g->fds[k] != NULL && bound_open(&p->bound, conf, endpoints, count, g->fds[k]);
    }
    if (!ok) {
        log_error("cannot prepare the roles");
        free_generation(g);
        return NULL;
    }
    g->set.listen_fds = g->fds[0];
    g->set.http_fds = g->fds[1];
    g->set.admin_fds = g->fds[2];
    g->set.pickup_fds = g->fds + 3;
    for (unsigned i = 0; i < g->count; i++) {
        unsigned front = i - 2;
        g->roles[i].kind = i == 0                  ? ROLE_SIGNER
                           : i == 1                ? ROLE_COURIER
                           : front < g->set.fronts ? ROLE_FRONT
                                                   : ROLE_PICKUP;
        g->roles[i].number = i < 2 ? 0 : front < g->set.fronts ? front : front - g->set.fronts;
    }
    char why[REASON_SIZE];
    if (conf->certificate == NULL) { /* another server does the TLS */
        return g;
    }
    stat(conf->certificate, &g->certificate);
    stat(conf->private_key, &g->key);
    if (!x509_chain_load(&g->chain, conf->certificate, why, sizeof why)) {
        log_error("%s", why);
        free_generation(g);
        return NULL;
    }
    g->set.chain = &g->chain; /* a role that is replaced gets the same, whatever the file holds by then */
    return g;
}

static const char *role_name(const struct role *r)
{
    static const char *const names[] = {"signer", "courier", "front", "pickup"};
    return names[r->kind];
}

static void start_role(struct generation *g, struct role *r)
{
    unsigned slot = (unsigned)(r - g->roles);
    g->set.bad_calls[slot] = -1;
    r->restart_at = 0;
    r->started = clock_s();
    r->pid = fork();
    if (r->pid < 0) {
        log_error("cannot start a %s: %s", role_name(r), strerror(errno));
        r->pid = 0;
        r->restart_at = clock_s() + 1;
    } else if (r->pid == 0) {
        switch (r->kind) {
        case ROLE_SIGNER: roles_signer(&g->set, slot);
        case ROLE_COURIER: roles_courier(&g->set, slot);
        case ROLE_FRONT: roles_front(&g->set, slot, r->number);
        case ROLE_PICKUP: roles_pickup(&g->set, slot, r->number);
        }
    }
}

static struct stat stat_resolver(void)
{
    struct stat st;
    return stat("/etc/resolv.conf", &st) == 0 ? st : (struct stat){.st_ino = 0};
}

static void start_generation(struct generation *g)
{
    g->started = clock_s();
    g->resolver = stat_resolver();
    for (unsigned i = 0; i < g->count; i++) {
        start_role(g, &g->roles[i]);
    }
}

/* What a front committed before it died, or an old one since the old courier left, has woken nobody. */
static void wake_courier(const struct generation *g)
{
    if (g != NULL && write(g->set.wake[1], "", 1) < 0 && errno != EAGAIN) {
        log_warn("cannot wake the courier; it looks by itself from time to time");
    }
}

/* ---- letting go ------------------------------------------------------------------------------ */

/* serving: only those that have connections, and need the signer. */
static unsigned running(const struct generation *g, bool serving)
{
    unsigned n = 0;
    for (unsigned i = 0; i < g->count; i++) {
        n += g->roles[i].pid != 0 && (!serving || g->roles[i].kind >= ROLE_FRONT);
    }
    return n;
}

static void tell(struct generation *g, enum role_kind kind, int sig)
{
    for (unsigned i = 0; i < g->count; i++) {
        if (g->roles[i].kind == kind && g->roles[i].pid != 0) {
            kill(g->roles[i].pid, sig);
        }
        if (g->roles[i].kind == kind) {
            g->roles[i].restart_at = 0;
        }
    }
}

/* Fronts finish what they accepted; the signer stays until they have; the courier leaves the spool to a
 * successor, or on the way out stays to deliver what the fronts still commit. */
static void let_leave(struct parent *p, struct generation *g)
{
    g->stage = STAGE_LEAVING;
    g->leave_by = clock_s() + g->conf->drain_timeout + END_MAX;
    tell(g, ROLE_FRONT, SIGTERM);
    tell(g, ROLE_PICKUP, SIGTERM);
    if (!p->leaving) {
        tell(g, ROLE_COURIER, SIGTERM);
    }
}

/* A set that did not become ready. Its fronts that did have served since, and finish what they accepted; a role that
 * hangs is killed in the end, see end_late(). */
static void abandon(struct parent *p, struct generation *g)
{
    let_leave(p, g);
    g->next = p->old;
    p->old = g;
}

/* All of them limit their own time to finish. One that hangs would keep an old set, and the way out, for ever. */
static void end_late(struct generation *g)
{
    if (g->leave_by == 0 || clock_s() < g->leave_by) {
        return;
    }
    g->leave_by = clock_s() + END_MAX;
    for (unsigned i = 0; i < g->count; i++) {
        const struct role *r = &g->roles[i];
        if (r->pid != 0 && (g->stage == STAGE_ENDING || r->kind >= ROLE_FRONT)) {
            log_error("a %s (process %d) that was to finish hangs: it is killed", role_name(r), (int)r->pid);
            kill(r->pid, SIGKILL);
        }
    }
}

static void advance_old(struct parent *p)
{
    for (struct generation **at = &p->old; *at != NULL;) {
        struct generation *g = *at;
        end_late(g);
        if (g->stage == STAGE_LEAVING && running(g, true) == 0) {
            g->stage = STAGE_ENDING;
            g->leave_by = clock_s() + g->conf->drain_timeout + END_MAX; /* the courier's time */
            tell(g, ROLE_SIGNER, SIGTERM);
            tell(g, ROLE_COURIER, SIGTERM);
            wake_courier(p->current);
        }
        if (g->stage == STAGE_ENDING && running(g, false) == 0) {
            *at = g->next;
            free_generation(g);
        } else {
            at = &g->next;
        }
    }
}

static void leave(struct parent *p, int exit_code)
{
    if (p->leaving) {
        return;
    }
    p->leaving = true;
    p->exit_code = exit_code;
    notify_stopping();
    checkup_stop(&p->checkup);
    conf_free(p->checked);
    p->checked = NULL;
    struct generation *all[] = {p->current, p->coming};
    p->current = p->coming = NULL;
    for (size_t i = 0; i < COUNT(all); i++) {
        if (all[i] != NULL) {
            all[i]->next = p->old;
            p->old = all[i];
            let_leave(p, all[i]);
        }
    }
    close_unused(
        p); /* nobody waits at a door that will not open again, unless the service manager holds it */
}

static const char not_started[] = "the new set of roles could not be started: the old one stays";

/* What it refuses is said, and shown to monitoring until one succeeds. */
static void reload_fails(const char *why)
{
    log_error("%s", why);
    stats_set(STAT_RELOAD_FAILED_AT, time(NULL));
    notify_ready();
}

/* ---- starting -------------------------------------------------------------------------------- */

/* A connection is a socket and, during a request, a socketpair; a lot being committed is a file each. */
static void raise_descriptor_limit(const struct conf *c)
{
    struct rlimit limit;
    rlim_t want = (rlim_t)c->max_connections * 3 + ONCELOG_LOT_MAX + 128;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= want) {
        return;
    }
    limit.rlim_cur = limit.rlim_max < want ? limit.rlim_max : want;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < want) {
        log_warn("only %llu descriptors are allowed and max_connections may need %llu: raise LimitNOFILE",
                 (unsigned long long)limit.rlim_cur, (unsigned long long)want);
    }
}

/* Another instance would sweep up what this one is writing, and hold the mail of forms that it does not know. The lock
 * is the directory's own, and goes with the parent: no role keeps its descriptor, and old ones may still be finishing.
 * Where root may not look or directories take no lock (NFS), the courier's is what remains. false: it is taken. */
static bool lock_spool(struct parent *p, const struct conf *c)
{
    p->spool = open(c->spool, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->spool >= 0 && flock(p->spool, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        log_error("spool %s is in use by another formbridge: end that one, or give each a spool of its own",
                  c->spool);
        return false;
    }
    return true;
}

/* Takes conf. Returns an exit code: EX_OK if the roles are coming. */
static int start(struct parent *p, struct conf *c)
{
    raise_descriptor_limit(c);
    charset_open();
    struct generation *g = new_generation(p, c);
    if (g == NULL) {
        close_unused(p);
        return EX_UNAVAILABLE;
    }
    bool locked = lock_spool(p, c);
    if (locked && prepare_spool(c, p->once, p->token_secret)) {
        p->current = g;
        start_generation(g);
        return EX_OK;
    }
    if (locked) {
        log_error("cannot prepare the spool: %s", strerror(errno));
    }
    free_generation(g);
    close_unused(p);
    return locked ? EX_OSERR : EX_CONFIG;
}

/* Takes conf. */
static void start_coming(struct parent *p, struct conf *c)
{
    c->demo = p->current->conf->demo;
    raise_descriptor_limit(c);
    p->coming = new_generation(p, c);
    if (p->coming != NULL) {
        start_generation(p->coming);
    } else {
        reload_fails(not_started);
        close_unused(p);
    }
}

static void on_checked(struct parent *p, bool good)
{
    struct conf *c = p->checked;
    p->checked = NULL;
    if (c == NULL) {
        return; /* what it found is in the log */
    }
    if (good && p->current == NULL) {
        p->exit_code = start(p, c);
    } else if (good) {
        start_coming(p, c);
    } else {
        conf_free(c);
        if (p->current == NULL) {
            p->exit_code = EX_CONFIG;
        } else {
            reload_fails("not everything the config names is in order: the old set of roles stays");
        }
    }
}

/* Takes conf, which is to be used if all is in order. NULL: only looks at what is in use. The parent goes on
 * serving meanwhile. */
static void check(struct parent *p, struct conf *c, enum check_kind kind)
{
    p->checked = c;
    if (!checkup_begin(&p->checkup, c != NULL ? c : p->current->conf, kind)) {
        on_checked(p, false);
    }
}

/* ---- deaths and births ----------------------------------------------------------------------- */

static void log_death(const struct generation *g, const struct role *r, int status)
{
    int bad_call = g->set.bad_calls[r - g->roles];
    if (bad_call >= 0) {
        char name[64];
        sandbox_call_name(bad_call, name, sizeof name);
        log_error("a %s was ended: it tried the forbidden system call %s", role_name(r), name);
    } else if (WIFSIGNALED(status)) {
        log_error("a %s died of signal %d (%s)", role_name(r), WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else {
        log_error("a %s ended before its time, with exit code %d", role_name(r), WEXITSTATUS(status));
    }
}

static void on_death(struct parent *p, struct generation *g, struct role *r, int status)
{
    if (r->kind == ROLE_FRONT) {
        once_forget(g->set.once, r->pid);
        wake_courier(g);
        stats_add(STAT_CONNECTIONS_OPEN, -(int64_t)peers_forget(g->set.peers, r->number));
    }
    if (r->kind == ROLE_COURIER && stats_get(STAT_COURIER) == r->pid) {
        stats_set(STAT_COURIER, 0);
    }
    r->pid = 0;
    if (g->stage == STAGE_LEAVING || g->stage == STAGE_ENDING) {
        if (status != 0 && g->stage == STAGE_LEAVING) {
            log_death(g, r, status);
        }
        return;
    }
    if (!r->expected) {
        log_death(g, r, status);
    }
    if (g->stage == STAGE_STARTING) {
        if (g == p->coming) {
            reload_fails(not_started);
            p->coming = NULL;
            abandon(p, g);
            close_unused(p);
        } else {
            leave(p, EX_CONFIG);
        }
        return;
    }
    if (r->expected) {
        r->expected = false;
        r->restart_at = clock_s();
        return;
    }
    stats_add(STAT_ROLE_DEATHS, 1);
    int64_t now = clock_s();
    if (now - r->started >= STEADY) {
        r->backoff = 0;
    }
    r->restart_at = now + r->backoff;
    r->backoff = r->backoff == 0 ? 1 : r->backoff * 2 > BACKOFF_MAX ? BACKOFF_MAX : r->backoff * 2;
}

static void on_child(struct parent *p)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid == p->checkup.pid) {
            on_checked(p, checkup_end(&p->checkup, status));
            continue;
        }
        struct generation *lists[] = {p->current, p->coming, p->old};
        bool found = false;
        for (size_t k = 0; k < COUNT(lists) && !found; k++) {
            for (struct generation *g = lists[k]; g != NULL && !found; g = k == 2 ? g->next : NULL) {
                for (unsigned i = 0; i < g->count && !found; i++) {
                    if (g->roles[i].pid == pid) {
                        on_death(p, g, &g->roles[i], status);
                        found = true;
                    }
                }
            }
        }
    }
}

static void restart_due(struct generation *g)
{
    for (unsigned i = 0; g != NULL && i < g->count; i++) {
        struct role *r = &g->roles[i];
        if (r->pid == 0 && r->restart_at != 0 && r->restart_at <= clock_s()) {
            start_role(g, r);
        }
    }
}

static void count_ready(struct parent *p, struct generation *g)
{
    char bytes[64];
    for (ssize_t n; (n = read(g->set.ready[0], bytes, sizeof bytes)) > 0;) {
        g->ready += (unsigned)n;
    }
    if (g->stage != STAGE_STARTING || g->ready < g->count) {
        return;
    }
    g->stage = STAGE_RUNNING;
    if (g == p->coming) {
        struct generation *old = p->current;
        p->coming = NULL;
        p->current = g;
        p->retry_at = 0;
        old->next = p->old;
        p->old = old;
        let_leave(p, old);
        close_unused(p);
        stats_set(STAT_RELOAD_FAILED_AT, 0);
        bound_hand_on(p->bound);
        notify_ready();
        log_info("reloaded: the new set of roles serves, the old one finishes");
    } else {
        bound_hand_on(p->bound);
        notify_ready();
        log_info("ready: %u front%s", g->set.fronts, g->set.fronts == 1 ? "" : "s");
    }
}

/* ---- reload ---------------------------------------------------------------------------------- */

/* With a set that is being checked or started: it has read the config as it was. Or with the daily look. */
static bool is_busy(const struct parent *p)
{
    return p->checkup.pid != 0 || p->coming != NULL;
}

static void reload(struct parent *p, const char *because, enum check_kind kind)
{
    p->again = is_busy(p);
    if (p->again || p->current == NULL) { /* ending */
        return;
    }
    log_info("reloading: %s", because);
    notify_reloading();
    struct buf errors;
    buf_init(&errors, 65536);
    struct conf *c = conf_load(p->current->conf->file, &errors);
    if (c == NULL) {
        log_errors(&errors);
        reload_fails("the config has mistakes: the old set of roles stays");
    } else if (strcmp(c->spool, p->current->conf->spool) != 0) {
        reload_fails("spool cannot change while mail may wait in the old one: the old set of roles stays; "
                     "empty the queue, "
                     "then restart");
        conf_free(c);
    } else {
        check(p, c, kind);
    }
    buf_free(&errors);
}

static bool differs(const struct stat *now, const struct stat *then)
{
    return now->st_ino != then->st_ino || now->st_dev != then->st_dev || now->st_size != then->st_size ||
           now->st_mtim.tv_sec != then->st_mtim.tv_sec || now->st_mtim.tv_nsec != then->st_mtim.tv_nsec;
}

/* Landlock knows files, not names: a resolv.conf that was replaced is out of reach of all but a new courier. */
static void look_at_resolver(struct parent *p)
{
    struct generation *g = p->current;
    struct stat now = stat_resolver();
    if (g == NULL || g->stage != STAGE_RUNNING || !differs(&now, &g->resolver)) {
        return;
    }
    g->resolver = now;
    if (g->conf->mailhosts != NULL) {
        log_info("the name servers of this machine have changed: a new courier learns them");
        for (unsigned i = 0; i < g->count; i++) {
            if (g->roles[i].kind == ROLE_COURIER && g->roles[i].pid != 0) {
                g->roles[i].expected = true;
                kill(g->roles[i].pid, SIGTERM);
            }
        }
    }
}

/* certbot replaces certificate and key one after the other: only when both have been still for a while. What was refused,
 * perhaps for something else, must not be forgotten until it expires. */
static void look_at_certificate(struct parent *p)
{
    struct generation *g = p->current;
    struct stat certificate, key;
    if (g == NULL || is_busy(p) || g->conf->certificate == NULL ||
        stat(g->conf->certificate, &certificate) != 0 || stat(g->conf->private_key, &key) != 0) {
        return;
    }
    time_t still = time(NULL) - WATCH_EVERY / 2;
    bool changed = differs(&certificate, &g->certificate) || differs(&key, &g->key);
    bool again = p->retry_at != 0 && clock_s() >= p->retry_at;
    if ((changed || again) && certificate.st_ctim.tv_sec < still && key.st_ctim.tv_sec < still) {
        g->certificate = certificate;
        g->key = key;
        p->retry_at = clock_s() + RETRY_EVERY; /* count_ready() takes it back */
        reload(p, changed ? "the certificate has changed" : "the new certificate was refused before",
               CHECK_RENEWAL);
    }
}

/* No form knows a repeat by what is older. */
static void sweep_once(struct parent *p)
{
    unsigned longest = 0;
    for (const struct form_conf *f = p->current != NULL ? p->current->conf->forms : NULL; f != NULL;
         f = f->next) {
        longest = f->once_window > longest ? f->once_window : longest;
    }
    if (p->current != NULL) {
        once_sweep(p->once, time(NULL) - (int64_t)longest);
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void on_signals(struct parent *p)
{
    struct signalfd_siginfo info;
    while (read(p->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        switch (info.ssi_signo) {
        case SIGCHLD: on_child(p); break;
        case SIGHUP: reload(p, "SIGHUP", CHECK_QUIET); break;
        default:
            if (!p->leaving) {
                log_info("ending: what was accepted is still answered");
            }
            leave(p, p->exit_code);
            break;
        }
    }
}

/* Milliseconds until something is to be done by the clock. */
static int until_due(const struct parent *p)
{
    int64_t due = p->checkup.pid != 0 && p->checkup.until < p->look_at ? p->checkup.until : p->look_at;
    for (unsigned i = 0; p->current != NULL && i < p->current->count; i++) {
        int64_t at = p->current->roles[i].restart_at;
        due = at != 0 && at < due ? at : due;
    }
    int64_t left = due - clock_s();
    return left < 0 ? 0 : (int)(left * 1000);
}

static void watch_start(struct parent *p)
{
    struct generation *g = p->coming != NULL ? p->coming : p->current;
    if (g != NULL && g->stage == STAGE_STARTING && clock_s() - g->started > START_MAX) {
        log_error("the roles did not become ready within %d seconds", START_MAX);
        if (g == p->coming) {
            reload_fails(not_started);
            p->coming = NULL;
            abandon(p, g);
            close_unused(p);
        } else {
            leave(p, EX_SOFTWARE);
        }
    }
}

static void supervise(struct parent *p)
{
    while (p->current != NULL || p->old != NULL || p->checkup.pid != 0) {
        struct pollfd polls[3] = {{.fd = p->signals, .events = POLLIN}, {.fd = -1}, {.fd = -1}};
        if (p->current != NULL && p->current->stage == STAGE_STARTING) {
            polls[1] = (struct pollfd){.fd = p->current->set.ready[0], .events = POLLIN};
        }
        if (p->coming != NULL) {
            polls[2] = (struct pollfd){.fd = p->coming->set.ready[0], .events = POLLIN};
        }
        poll(polls, 3, until_due(p));
        on_signals(p);
        struct generation *starting[] = {p->current, p->coming};
        for (size_t i = 0; i < COUNT(starting); i++) {
            if (starting[i] != NULL && !p->leaving) {
                count_ready(p, starting[i]);
            }
        }
        restart_due(p->current);
        watch_start(p);
        if (checkup_hangs(&p->checkup)) {
            on_checked(p, false);
        }
        if (p->again && !is_busy(p)) {
            reload(p, "SIGHUP", CHECK_QUIET);
        }
        if (clock_s() >= p->look_at) {
            p->look_at = clock_s() + WATCH_EVERY;
            look_at_certificate(p);
            look_at_resolver(p);
            sweep_once(p);
        }
        if (clock_s() >= p->check_at && p->current != NULL && !is_busy(p)) {
            p->check_at = clock_s() + CHECK_EVERY;
            check(p, NULL, CHECK_QUIET);
        }
        advance_old(p);
    }
}

static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    const int signals[] = {SIGCHLD, SIGHUP, SIGTERM, SIGINT};
    for (size_t i = 0; i < COUNT(signals); i++) {
        sigaddset(&set, signals[i]);
    }
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Takes conf. Returns an exit code. */
static int run(struct parent *p, struct conf *c)
{
    if (p->signals < 0 || p->once == NULL || p->limit == NULL || !stats_open()) {
        log_error("cannot start: %s", strerror(errno));
        conf_free(c);
        return EX_OSERR;
    }
    check(p, c, CHECK_START);
    supervise(p);
    return p->exit_code;
}

int parent_run(struct conf *c)
{
    struct parent p = {.spool = -1, .look_at = clock_s() + WATCH_EVERY, .check_at = clock_s() + CHECK_EVERY};
    inherit(&p, c); /* before a descriptor of ours could be taken for one of those */
    p.signals = open_signals();
    p.once = once_new();
    p.limit = limit_new();
    int code = run(&p, c);
    if (p.signals >= 0) {
        close(p.signals);
    }
    if (p.spool >= 0) {
        close(p.spool);
    }
    once_free(p.once);
    limit_free(p.limit);
    explicit_bzero(p.token_secret, sizeof p.token_secret);
    return code;
}
