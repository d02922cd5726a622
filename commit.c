/* Submissions become durable off the event loop: one thread that takes all that is waiting, composes each
 * straight into its file, and makes the lot durable together. While it syncs, the next lot gathers.
 *
 * Busy clients would fall into two groups for good, one waiting while the other is synced, and each lot would be half
 * of what it could be. So after a lot the thread waits for those whom it has just answered, at most as long as the
 * sync of that lot took: nobody waits longer than for one sync more. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    LOT_MAX = ONCELOG_LOT_MAX,
    GATHER_FROM = 4, /* submissions to expect: fewer gain nothing from one sync (spool.c) */
};

struct commits {
    struct spool *spool;
    struct signer_link signer; /* for mail that is signed; this thread's own */
    struct oncelog *log;
    int wake;  /* tells the courier */
    int event; /* tells the loop */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct submission *first, **last; /* waiting, oldest first */
    size_t waiting;
    size_t wanted;   /* how many are to wait before the thread is woken; 0: it is at work */
    size_t expected; /* those who waited when the last lot was answered, and those who were answered */
    int64_t took;    /* nanoseconds, to make that lot durable */
    struct submission *done;
    bool stop;
};

/* Until that many wait, or until then; 0: for as long as it takes. Holds the lock. */
static void wait_for(struct commits *c, size_t count, int64_t until)
{
    const struct timespec t = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    int timeout = 0;
    c->wanted = count;
    while (c->waiting < count && !c->stop && timeout == 0) {
        timeout = until == 0 ? pthread_cond_wait(&c->more, &c->lock)
                             : pthread_cond_timedwait(&c->more, &c->lock, &t);
    }
    c->wanted = 0;
}

static size_t take_lot(struct commits *c, struct submission **lot)
{
    size_t n = 0;
    pthread_mutex_lock(&c->lock);
    if (c->expected >= GATHER_FROM) {
        wait_for(c, c->expected < LOT_MAX ? c->expected : LOT_MAX, clock_ns() + c->took);
    }
    wait_for(c, 1, 0);
    while (c->first != NULL && n < LOT_MAX) {
        lot[n++] = c->first;
        c->first = c->first->next;
    }
    c->waiting -= n;
    if (c->first == NULL) {
        c->last = &c->first;
    }
    pthread_mutex_unlock(&c->lock);
    return n;
}

static bool compose(struct commits *c, struct submission *s)
{
    if (s->seal == NULL) {
        return mime_compose(&s->message, &s->draft.sink);
    }
    char why[REASON_SIZE];
    bool ok = seal_compose(s->seal, &s->message, &c->signer, &s->draft.sink, why, sizeof why);
    if (!ok && why[0] != '\0') {
        log_error("form %s: its mail cannot be encrypted, so it takes none: %s", s->message.form, why);
        s->draft.error = s->draft.error == 0 ? ENOKEY : s->draft.error;
    }
    return ok;
}

static void commit_lot(struct commits *c, struct submission **lot, size_t n)
{
    struct draft *drafts[LOT_MAX];
    struct once_claim *claims[LOT_MAX];
    bool stored[LOT_MAX];
    for (size_t i = 0; i < n; i++) {
        claims[i] = &lot[i]->once;
    }
    oncelog_begin(c->log, claims, n);
    for (size_t i = 0; i < n; i++) {
        struct submission *s = lot[i];
        (s->once.again ? spool_begin_again : spool_begin)(c->spool, &s->draft, s->message.time,
                                                          s->message.ref, s->message.form);
        if (s->message.spam) {
            spool_mark_spam(c->spool, &s->draft);
        }
        if (s->draft.error == 0 && !compose(c, s) && s->draft.error == 0) {
            s->draft.error = ENOMEM; /* the only way to fail that the file does not know of */
        }
        drafts[i] = &s->draft;
    }
    int64_t start = clock_ns();
    spool_commit(c->spool, drafts, n);
    c->took = clock_ns() - start;
    for (size_t i = 0; i < n; i++) {
        stored[i] = lot[i]->draft.error == 0;
    }
    oncelog_end(c->log, claims, stored, n); /* before anybody is told */
}

static void give_back(struct commits *c, struct submission **lot, size_t n)
{
    bool any = false;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < n; i++) {
        any = any || lot[i]->draft.error == 0;
        lot[i]->next = c->done;
        c->done = lot[i];
    }
    c->expected = c->waiting + n;
    pthread_mutex_unlock(&c->lock);
    uint64_t one = 1;
    ssize_t written = write(c->event, &one, sizeof one); /* cannot be full: 2^64 lots would have to wait */
    if (any && write(c->wake, "", 1) < 0 && errno != EAGAIN) { /* full means that it is awake already */
        log_warn("cannot wake the courier; it looks by itself from time to time");
    }
    (void)written;
}

static void *commit_thread(void *arg)
{
    struct commits *c = arg;
    struct submission *lot[LOT_MAX];
    for (size_t n; (n = take_lot(c, lot)) > 0;) {
        commit_lot(c, lot, n);
        give_back(c, lot, n);
    }
    return NULL;
}

struct commits *commit_start(struct spool *s, int wake, int signer, struct oncelog *log)
{
    struct commits *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->spool = s;
    c->wake = wake;
    c->log = log;
    signer_link_init(&c->signer, signer);
    c->last = &c->first;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->more, &attr);
    pthread_condattr_destroy(&attr);
    c->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->event < 0 || pthread_create(&c->thread, NULL, commit_thread, c) != 0) {
        if (c->event >= 0) {
            close(c->event);
        }
        free(c);
        return NULL;
    }
    return c;
}

void commit_submit(struct commits *c, struct submission *s)
{
    s->next = NULL;
    pthread_mutex_lock(&c->lock);
    *c->last = s;
    c->last = &s->next;
    bool enough = ++c->waiting == c->wanted;
    pthread_mutex_unlock(&c->lock);
    if (enough) {
        pthread_cond_signal(&c->more); /* now that who wakes gets the lock at once */
    }
}

int commit_fd(const struct commits *c)
{
    return c->event;
}

struct submission *commit_collect(struct commits *c)
{
    uint64_t count;
    ssize_t got = read(c->event, &count, sizeof count); /* only resets it, before the look at what there is */
    (void)got;
    pthread_mutex_lock(&c->lock);
    struct submission *done = c->done;
    c->done = NULL;
    pthread_mutex_unlock(&c->lock);
    return done;
}

void commit_stop(struct commits *c)
{
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_signal(&c->more);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    close(c->event);
    free(c);
}
