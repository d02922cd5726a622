/* The life of each role, from fork to its loop: take what only the parent's rights can reach, give them up,
 * narrow, tell the parent, work. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

enum { WHY = 512 };

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
    (void)sig;
    stop = 1;
}

_Noreturn static void give_up(const char *why)
{
    log_error("%s", why);
    _exit(EX_CONFIG);
}

/* name: what ps(1) and top(1) show. */
static void begin(const char *role, const char *name)
{
    log_role(role);
    prctl(PR_SET_NAME, name);
}

_Noreturn static void finish(void)
{
#ifdef SANDBOX_SANITIZE /* has the leak checker run */
    exit(EX_OK);
#else
    _exit(EX_OK);
#endif
}

/* Closes everything above stderr but these, so that a role holds no descriptor of another. */
static void keep_only(int *fds, size_t count)
{
    unsigned next = 3;
    for (;;) {
        unsigned least = ~0u;
        for (size_t i = 0; i < count; i++) {
            unsigned fd = (unsigned)fds[i];
            least = fds[i] >= 0 && fd >= next && fd < least ? fd : least;
        }
        if (least == ~0u) {
            break;
        }
        if (least > next) {
            close_range(next, least - 1, 0);
        }
        next = least + 1;
    }
    close_range(next, ~0u, 0);
}

/* Only the parent reacts to the terminal and to SIGHUP; a role ends on SIGTERM, or with the parent. */
static void set_signals(bool blocked)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction term = {.sa_handler = on_term};
    sigaction(SIGINT, &ignore, NULL);
    sigaction(SIGHUP, &ignore, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL); /* a limit of file sizes is an error like a full disk */
    sigaction(SIGTERM, &term, NULL);
    sigset_t set;
    sigemptyset(&set);
    if (blocked) {
        sigaddset(&set, SIGTERM);
    }
    sigprocmask(SIG_SETMASK, &set, NULL);
}

/* Forked with everything, a role keeps only what is its own. front: sessions, counts and the secret of the tokens are for
 * those alone. mine: whose password hash stays. */
static void forget(const struct set *s, const struct pickup *mine, bool front)
{
    for (const struct pickup *p = s->conf->pickups; p != NULL; p = p->next) {
        if (p != mine) {
            explicit_bzero(p->password, strlen(p->password));
        }
    }
    if (!front) {
        tls_cache_free(s->cache);
        peers_free(s->peers);
        once_free(s->once);
        limit_free(s->limit);
        explicit_bzero(s->token_secret, SECRET_SIZE);
    }
}

static void become_user(const struct set *s)
{
    char why[WHY];
    if (!sandbox_user(s->conf->user, why, sizeof why)) {
        give_up(why);
    }
    /* After the change of user, which clears it. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
}

static void tell_ready(const struct set *s)
{
    if (write(s->ready[1], "", 1) != 1) { /* the parent is gone, maybe since before PR_SET_PDEATHSIG */
        _exit(EX_OSERR);
    }
    close(s->ready[1]);
    malloc_trim(0); /* building the filter took much, and nothing will need it again */
}

enum client { CLIENT_FRONT, CLIENT_COMMIT, CLIENT_PICKUP };

/* Which socket to the signer is whose: a front's loop and its commit thread have one each. */
static unsigned link_of(const struct set *s, enum client kind, unsigned number)
{
    return kind == CLIENT_FRONT    ? number
           : kind == CLIENT_COMMIT ? s->fronts + number
                                   : 2 * s->fronts + number;
}

unsigned roles_links(const struct conf *c, unsigned fronts)
{
    unsigned n = 2 * fronts;
    for (const struct pickup *p = c->pickups; p != NULL; p = p->next) {
        n++;
    }
    return n;
}

/* ---- signer ---------------------------------------------------------------------------------- */

/* The key of the TLS certificate comes first; those that sign mail follow in the order of their forms. */
static size_t load_keys(const struct conf *c, struct key **out)
{
    char why[WHY];
    size_t count = 1;
    for (const struct form_conf *f = c->forms; f != NULL; f = f->next) {
        count += f->sign_key != NULL;
    }
    struct key *keys = calloc(count, sizeof *keys);
    if (keys == NULL) {
        give_up("no memory");
    }
    size_t n = 0;
    if (c->private_key != NULL && !x509_key_load(&keys[n], c->private_key, why, sizeof why)) {
        give_up(why);
    }
    n++; /* without one, the first is a key that signs nothing */
    for (const struct form_conf *f = c->forms; f != NULL; f = f->next) {
        if (f->sign_key != NULL && !x509_key_load(&keys[n++], f->sign_key, why, sizeof why)) {
            give_up(why);
        }
    }
    *out = keys;
    return count;
}

/* Handshakes have the key of the certificate, commit threads those that sign mail; neither can use the other's. */
static void assign_keys(const struct set *s, const struct key *keys, size_t key_count,
                        struct signer_client *clients, unsigned count)
{
    unsigned first = link_of(s, CLIENT_COMMIT, 0), end = link_of(s, CLIENT_COMMIT, s->fronts);
    for (unsigned i = 0; i < count; i++) {
        bool mail = i >= first && i < end;
        clients[i] = (struct signer_client){
            .fd = s->signer[i][1], .keys = mail ? keys + 1 : keys, .key_count = mail ? key_count - 1 : 1};
    }
}

_Noreturn void roles_signer(const struct set *s, unsigned slot)
{
    char why[WHY];
    struct key *keys;
    int keep[SIGNER_CLIENTS_MAX + 1];
    struct signer_client clients[SIGNER_CLIENTS_MAX];
    unsigned count = s->signer_count;
    begin("signer", "fb-signer");
    for (unsigned i = 0; i < count; i++) {
        keep[i] = s->signer[i][1];
    }
    keep[count] = s->ready[1];
    keep_only(keep, count + 1);
    set_signals(true);
    forget(s, NULL, false);
    size_t key_count = load_keys(s->conf, &keys);
    if (s->chain != NULL &&
        !x509_match(s->chain,
                    &keys[0])) { /* renewed on the disk, or half renewed: signing would only break things */
        give_up("private_key does not belong to the certificate in use: reload when both are in place");
    }
    become_user(s);
    if (!sandbox_paths(SANDBOX_SIGNER, NULL, 0, why, sizeof why) ||
        !sandbox_calls(SANDBOX_SIGNER, &s->bad_calls[slot], why, sizeof why)) {
        give_up(why);
    }
    tell_ready(s);
    assign_keys(s, keys, key_count, clients, count);
    signer_run(clients, count, &stop);
    for (size_t i = 0; i < key_count; i++) {
        x509_key_free(&keys[i]);
    }
    free(keys);
    finish();
}

/* ---- front ----------------------------------------------------------------------------------- */

static int open_signals(void)
{
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    return signalfd(-1, &term, SFD_NONBLOCK | SFD_CLOEXEC);
}

static size_t front_fds(const struct set *s, unsigned number, int *keep, size_t max)
{
    const struct conf *c = s->conf;
    const struct {
        const int *fds;
        size_t count;
    } all[] = {{s->listen_fds, c->listen_count},
               {s->http_fds, c->http_listen_count},
               {s->admin_fds, c->admin_listen_count},
               {&s->signer[link_of(s, CLIENT_FRONT, number)][0], 1},
               {&s->signer[link_of(s, CLIENT_COMMIT, number)][0], 1},
               {&s->wake[1], 1},
               {&s->ready[1], 1}};
    size_t n = 0;
    for (size_t i = 0; i < COUNT(all); i++) {
        for (size_t k = 0; k < all[i].count && n < max; k++) {
            keep[n++] = all[i].fds[k];
        }
    }
    return n;
}

/* Into tmp/ it may put files, and from there into queue/; what is in them it may neither list nor read, nor, once it is in
 * queue/, write. */
static void narrow_front(const struct set *s)
{
    char why[WHY], tmp[PATH_MAX], queue[PATH_MAX];
    text_fmt(tmp, sizeof tmp, "%s/tmp", s->conf->spool);
    text_fmt(queue, sizeof queue, "%s/queue", s->conf->spool);
    struct sandbox_path paths[3] = {{tmp, ALLOW_DROP}, {queue, ALLOW_MOVE}};
    size_t count = 2;
    if (s->conf->acme_webroot != NULL) {
        paths[count++] = (struct sandbox_path){s->conf->acme_webroot, ALLOW_READ};
    }
    if (!sandbox_paths(SANDBOX_FRONT, paths, count, why, sizeof why)) {
        give_up(why);
    }
}

/* Certificates are public: a front may hold them, and needs nothing more to encrypt. */
static void load_seals(const struct conf *c)
{
    char why[WHY];
    uint32_t key = 0;
    for (struct form_conf *f = c->forms; f != NULL; f = f->next) {
        if (f->encrypt_count > 0 && (f->seal = seal_load(f, key, why, sizeof why)) == NULL) {
            give_up(why);
        }
        key += f->sign_key != NULL;
    }
}

/* The words that a form's owner has listed. */
static void load_spamlists(const struct conf *c)
{
    char why[WHY];
    for (struct form_conf *f = c->forms; f != NULL; f = f->next) {
        f->spamlist = spamlist_load(f->spam_words, f->spam_word_count, f->spam_words_file, why, sizeof why);
        if (f->spamlist == NULL) {
            give_up(why);
        }
    }
}

_Noreturn void roles_front(const struct set *s, unsigned slot, unsigned number)
{
    char why[WHY];
    int keep[3 * LISTEN_MAX + 4] = {-1};
    struct spool spool;
    begin("front", "fb-front");
    keep_only(keep, front_fds(s, number, keep, COUNT(keep)));
    set_signals(true);
    forget(s, NULL, true);
    load_seals(s->conf);
    load_spamlists(s->conf);
    become_user(s);
    if (!spool_open(&spool, s->conf->spool, why, sizeof why)) {
        give_up(why);
    }
    struct front f = {.conf = s->conf,
                      .spool = &spool,
                      .listen_fds = s->listen_fds,
                      .http_fds = s->http_fds,
                      .admin_fds = s->admin_fds,
                      .chain = s->chain,
                      .cache = s->cache,
                      .peers = s->peers,
                      .limit = s->limit,
                      .token_secret = s->token_secret,
                      .mail_signer = s->signer[link_of(s, CLIENT_COMMIT, number)][0],
                      .number = number,
                      .wake = s->wake[1],
                      .acme = -1,
                      .signals = open_signals()};
    signer_link_init(&f.signer, s->signer[link_of(s, CLIENT_FRONT, number)][0]);
    if (s->conf->acme_webroot != NULL) {
        f.acme = open(s->conf->acme_webroot, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    if (!oncelog_open(&f.once, s->once, s->conf->spool, why, sizeof why)) {
        log_warn("%s", why);
    }
    narrow_front(s); /* before the commit thread starts, which inherits it */
    struct serve *serve = f.signals < 0 ? NULL : serve_start(&f);
    if (serve == NULL) {
        give_up("cannot start: no memory or no descriptors");
    }
    if (!sandbox_calls(SANDBOX_FRONT, &s->bad_calls[slot], why, sizeof why)) {
        give_up(why);
    }
    tell_ready(s);
    serve_run(serve);
    oncelog_close(&f.once);
    spool_close(&spool);
    finish();
}

/* ---- courier --------------------------------------------------------------------------------- */

struct path_list {
    struct sandbox_path *paths;
    size_t count, room;
};

static void allow_path(struct path_list *l, const char *path, unsigned allow, bool optional)
{
    if (optional && access(path, F_OK) != 0) {
        return;
    }
    for (size_t i = 0; i < l->count; i++) { /* many forms may share a mailbox */
        if (strcmp(l->paths[i].path, path) == 0) {
            l->paths[i].allow |= allow;
            return;
        }
    }
    if (l->count == l->room) {
        l->room = l->room == 0 ? 64 : 2 * l->room;
        l->paths = reallocarray(l->paths, l->room, sizeof *l->paths);
    }
    char *copy = strdup(path);
    if (l->paths == NULL || copy == NULL) {
        give_up("no memory for the list of mailboxes");
    }
    l->paths[l->count++] = (struct sandbox_path){copy, allow};
}

/* What getaddrinfo(3) reads each time. The files may be absent; resolv.conf is often a link to elsewhere. */
static void allow_resolver(struct path_list *l)
{
    static const char *const files[] = {
        "/etc/resolv.conf", "/etc/hosts",    "/etc/nsswitch.conf", "/etc/host.conf",
        "/etc/gai.conf",    "/etc/services", "/etc/protocols",
    };
    for (size_t i = 0; i < COUNT(files); i++) {
        allow_path(l, files[i], ALLOW_READ, true);
    }
}

/* An mbox's lock file stands beside it. */
static void allow_parent(struct path_list *l, const char *path)
{
    char parent[PATH_MAX];
    if (text_copy(parent, sizeof parent, path)) {
        allow_path(l, dirname(parent), ALLOW_READ | ALLOW_DROP, true);
    }
}

/* A mailbox that is missing now can be reached only after the next start; until then its mail waits. */
static void allow_targets(struct path_list *l, const struct conf *c)
{
    for (const struct form_conf *f = c->forms; f != NULL; f = f->next) {
        for (size_t i = 0; i < f->target_count; i++) {
            const struct target *t = &f->targets[i];
            if (t->kind == TARGET_MAILDIR) {
                unsigned folders =
                    f->junk != NULL ? ALLOW_FOLDERS : 0; /* its owner may delete the Junk folder */
                allow_path(l, t->path, ALLOW_READ | ALLOW_DROP | folders, true);
            } else if (t->kind == TARGET_MBOX) {
                allow_parent(l, t->path);
            }
        }
    }
}

static void load_mailhosts(const struct conf *c)
{
    char why[WHY];
    for (struct mailhost *m = c->mailhosts; m != NULL; m = m->next) {
        if (!smtp_load(m, why, sizeof why)) {
            give_up(why);
        }
    }
    if (c->mailhosts != NULL) {
        dial_warm_up();
    }
}

_Noreturn void roles_courier(const struct set *s, unsigned slot)
{
    char why[WHY];
    struct spool spool;
    struct path_list list = {.count = 0};
    begin("courier", "fb-courier");
    int keep[] = {s->wake[0], s->ready[1]};
    keep_only(keep, COUNT(keep));
    set_signals(false);
    forget(s, NULL, false);
    load_mailhosts(s->conf);
    become_user(s);
    if (!spool_open(&spool, s->conf->spool, why, sizeof why)) {
        give_up(why);
    }
    allow_path(&list, s->conf->spool, ALLOW_READ | ALLOW_DROP, false);
    allow_targets(&list, s->conf);
    allow_resolver(&list);
    if (!sandbox_paths(SANDBOX_COURIER, list.paths, list.count, why, sizeof why) ||
        !sandbox_calls(SANDBOX_COURIER, &s->bad_calls[slot], why, sizeof why)) {
        give_up(why);
    }
    tell_ready(s);
    switch (deliver_run(s->conf, &spool, s->wake[0], &stop)) {
    case DELIVER_FAILED: _exit(EX_OSERR);
    case DELIVER_BUSY: break; /* its threads still use the spool */
    default: spool_close(&spool);
    }
    finish();
}

/* ---- pickup ---------------------------------------------------------------------------------- */

static const struct pickup *pickup_at(const struct conf *c, unsigned number)
{
    const struct pickup *p = c->pickups;
    while (number-- > 0) {
        p = p->next;
    }
    return p;
}

_Noreturn void roles_pickup(const struct set *s, unsigned slot, unsigned number)
{
    char why[WHY];
    const struct pickup *pickup = pickup_at(s->conf, number);
    int keep[LISTEN_MAX + 2] = {s->ready[1], s->signer[link_of(s, CLIENT_PICKUP, number)][0]};
    size_t kept = 2;
    begin("pickup", "fb-pickup");
    for (size_t i = 0; i < pickup->listen_count && kept < COUNT(keep); i++) {
        keep[kept++] = s->pickup_fds[number][i];
    }
    keep_only(keep, kept);
    set_signals(true);
    forget(s, pickup, false);
    become_user(s);
    struct pop3 p = {.pickup = pickup,
                     .listen_fds = s->pickup_fds[number],
                     .chain = s->chain,
                     .cache = NULL, /* the fronts' sessions are not its own, and it has few */
                     .signals = open_signals()};
    signer_link_init(&p.signer, s->signer[link_of(s, CLIENT_PICKUP, number)][0]);
    struct sandbox_path path = {pickup->maildir, ALLOW_READ | ALLOW_DROP};
    if (!sandbox_paths(SANDBOX_PICKUP, &path, 1, why, sizeof why)) { /* its threads inherit it */
        give_up(why);
    }
    struct pop3_server *server = p.signals < 0 ? NULL : pop3_start(&p);
    if (server == NULL) {
        give_up("cannot start: no memory or no descriptors");
    }
    if (!sandbox_calls(SANDBOX_PICKUP, &s->bad_calls[slot], why, sizeof why)) {
        give_up(why);
    }
    tell_ready(s);
    pop3_run(server);
    finish();
}
