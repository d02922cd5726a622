/*
 * One destination: who waits for it, who works for it, how it is doing.
 *
 * Every destination has a queue and threads of its own, so that a slow one stalls none but itself. The caller
 * pushes jobs, workers try them, the caller takes them back with a report: workers deliver, the caller keeps
 * the books. One mutex guards all that both touch; it is never held over a system call that can wait.
 *
 * A destination that fails as such (the host is down, the disk full) is left alone for a while, and then
 * probed by one message: only that one is told of the failure, the others wait as if they had never been
 * tried.
 */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    LOT_MAX = 256,    /* messages for one mailbox under one sync */
    WORKER_IDLE = 5,  /* then it closes its connection and ends */
    REFUSALS_MAX = 8, /* messages in a row put off by a host: it is the host, not the messages */
    MEMORY_PAUSE = 10,
    GROWTH_MAX =
        64, /* times max_body a mail is at most: escapes, quoted-printable, base64, text, HTML, JSON and CSV */
    GROWTH_REST = 1 << 20,
};

struct dest {
    struct dest *next;
    struct dests *all;
    const struct target *target;
    struct job **heap; /* who waits, the first due at its root */
    size_t count, cap;
    size_t taken; /* in the hands of workers: the heap keeps room for them */
    pthread_cond_t more;
    unsigned workers, workers_max;
    bool probing;
    unsigned failures;  /* of the destination as such, in a row; 0: it works */
    unsigned refusals;  /* messages put off in a row */
    int64_t next_probe; /* while it fails */
    int64_t failed_at;  /* the last probe */
    char reason[REASON_SIZE];
};

struct dests {
    const struct conf *conf;
    struct spool *spool;
    int event;
    pthread_mutex_t lock;
    pthread_cond_t ended; /* a worker has */
    struct dest *first;
    struct job *done, **done_end;
    unsigned workers;
    bool stopping;
};

unsigned dest_backoff(unsigned failures, unsigned min, unsigned max, uint32_t random)
{
    unsigned wait = min < 1 ? 1 : min;
    for (unsigned i = 1; i < failures && wait < max; i++) {
        wait = wait > max / 2 ? max : wait * 2;
    }
    return wait - random % (wait / 4 + 1); /* those that failed together need not come back together */
}

/* ---- the heap: a job's children are at 2i+1 and 2i+2, and not due before it ------------------ */

static void sink_down(struct dest *d, size_t i)
{
    for (size_t child; (child = 2 * i + 1) < d->count; i = child) {
        if (child + 1 < d->count && d->heap[child + 1]->due < d->heap[child]->due) {
            child++;
        }
        if (d->heap[i]->due <= d->heap[child]->due) {
            return;
        }
        struct job *job = d->heap[i];
        d->heap[i] = d->heap[child];
        d->heap[child] = job;
    }
}

static void heap_order(struct dest *d)
{
    for (size_t i = d->count / 2; i > 0; i--) {
        sink_down(d, i - 1);
    }
}

/* There is room. */
static void heap_put(struct dest *d, struct job *job)
{
    size_t i = d->count++;
    for (; i > 0 && d->heap[(i - 1) / 2]->due > job->due; i = (i - 1) / 2) {
        d->heap[i] = d->heap[(i - 1) / 2];
    }
    d->heap[i] = job;
}

static struct job *heap_get(struct dest *d)
{
    struct job *job = d->heap[0];
    d->heap[0] = d->heap[--d->count];
    sink_down(d, 0);
    return job;
}

/* Of those that are due, the newest of those put off the least: what many tries did not settle says little of the
 * others, and one full mailbox must not speak for its host again and again. */
static struct job *heap_get_least_tried(struct dest *d, int64_t now)
{
    size_t least = 0;
    for (size_t i = 1; i < d->count; i++) {
        const struct job *job = d->heap[i], *best = d->heap[least];
        bool better = job->tries < best->tries || (job->tries == best->tries && job->due > best->due);
        least = job->due <= now && better ? i : least;
    }
    struct job *job = d->heap[least];
    d->heap[least] = d->heap[--d->count];
    heap_order(d);
    return job;
}

static bool heap_room(struct dest *d)
{
    if (d->count + d->taken < d->cap) {
        return true;
    }
    size_t cap = d->cap < 16 ? 16 : d->cap * 2;
    struct job **heap = reallocarray(d->heap, cap, sizeof(struct job *));
    if (heap == NULL) {
        return false;
    }
    d->heap = heap;
    d->cap = cap;
    return true;
}

/* ---- how it is doing ------------------------------------------------------------------------- */

static bool is_mailbox(const struct dest *d)
{
    return d->target->kind == TARGET_MAILDIR || d->target->kind == TARGET_MBOX;
}

static void fails(struct dest *d, const char *reason)
{
    const struct conf *c = d->all->conf;
    int64_t now = time(NULL);
    if (d->failures > 0 && now < d->next_probe) {
        return; /* a try that began before it was known to be down: several connections end together */
    }
    d->failures++;
    d->failed_at = now;
    d->next_probe = now + dest_backoff(d->failures, c->retry_min, c->retry_max, arc4random());
    text_copy(d->reason, sizeof d->reason, reason);
}

/* What waited because of it need not wait longer. */
static void works(struct dest *d, int64_t now)
{
    d->refusals = 0;
    if (d->failures == 0) {
        return;
    }
    d->failures = 0;
    for (size_t i = 0; i < d->count; i++) {
        struct job *job = d->heap[i];
        if (job->postponed && job->due > now) {
            job->due = now;
        }
    }
    heap_order(d);
    pthread_cond_broadcast(&d->more);
}

static bool all_put_off(const struct report *r)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->recipients[i].result.outcome != OUTCOME_TEMPORARY) {
            return false;
        }
    }
    return true;
}

static void learn(struct dest *d, const struct report *r)
{
    bool asked = r->recipients == NULL || r->count > 0 || r->result.outcome != OUTCOME_DONE;
    if (r->gone || r->unread || !asked) {
        return;
    }
    if (r->unreachable) {
        fails(d, r->result.reason);
    } else if (r->result.outcome != OUTCOME_TEMPORARY || (r->count > 0 && !all_put_off(r))) {
        works(d, time(NULL)); /* it settled somebody: what it puts off is that recipient's trouble */
    } else if (r->count > 0 && ++d->refusals >= REFUSALS_MAX) { /* 0: a mailbox, or nobody was asked */
        fails(d, r->result.reason);
    }
}

/* ---- one try --------------------------------------------------------------------------------- */

static struct report *report_new(struct job *job)
{
    job->report = calloc(1, sizeof *job->report);
    if (job->report == NULL) {
        job->due = time(NULL) + MEMORY_PAUSE;
    }
    return job->report;
}

void dest_report_free(struct report *r)
{
    if (r != NULL) {
        free(r->recipients);
        free(r);
    }
}

/* As if it had not been tried. */
static void untried(struct job *job)
{
    dest_report_free(job->report);
    job->report = NULL;
}

/* Larger than any post can become as a mail, in every encoding that there is: what has a hole in it would be read for
 * years. */
static bool is_too_large(const struct job *job, const struct stat *st)
{
    return (uint64_t)st->st_size / GROWTH_MAX > job->form->max_body + GROWTH_REST;
}

/* The size of a queued message, or false and what became of it in the report. */
static bool looked_up(struct job *job, int error, const struct stat *st, uint64_t *size)
{
    struct report *r = job->report;
    bool is_file = error == 0 && S_ISREG(st->st_mode);
    if (is_file && !is_too_large(job, st)) {
        *size = (uint64_t)st->st_size;
        return true;
    }
    r->gone = error == ENOENT;
    r->unread = true;
    r->result.outcome = is_file ? OUTCOME_PERMANENT : OUTCOME_TEMPORARY;
    if (is_file) {
        text_fmt(r->result.reason, sizeof r->result.reason,
                 "it has %lld bytes, more than a post of max_body can become: look at it, and drop it",
                 (long long)st->st_size);
    } else {
        text_fmt(r->result.reason, sizeof r->result.reason, "cannot read the queued message %s: %s",
                 job->name, error == 0 ? "it is no file" : strerror(error));
    }
    return false;
}

/* Nobody got anything: then it is the mailbox, and the first speaks for all. The others were never tried. But a folder
 * that fails speaks for itself alone, or spam could hold up all other mail; so does a message that cannot be read. */
static void blame_mailbox(struct job **jobs, const struct parcel *parcels, size_t n)
{
    size_t first = n;
    for (size_t i = 0; i < n; i++) {
        if (parcels[i].result.outcome == OUTCOME_DONE) {
            return;
        }
        first = first == n && parcels[i].folder == NULL && !parcels[i].unread ? i : first;
    }
    for (size_t i = 0; i < n && first < n; i++) {
        if (i == first) {
            jobs[i]->report->unreachable = true;
        } else if (!parcels[i].unread) {
            untried(jobs[i]);
        }
    }
}

static void try_mailbox(struct dest *d, struct job **lot, size_t n)
{
    struct job *jobs[LOT_MAX];
    struct parcel *parcels = calloc(n, sizeof *parcels);
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        struct report *r = parcels == NULL ? NULL : report_new(lot[i]);
        if (r == NULL) {
            lot[i]->due = time(NULL) + MEMORY_PAUSE;
            continue;
        }
        struct stat st = {.st_size = 0};
        int error = fstatat(d->all->spool->queue, lot[i]->name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno;
        if (looked_up(lot[i], error, &st, &parcels[count].size)) {
            parcels[count].name = lot[i]->name;
            parcels[count].form = lot[i]->form->name;
            parcels[count].from = lot[i]->form->from;
            parcels[count].folder = spool_name_spam(lot[i]->name) ? lot[i]->form->junk : NULL;
            jobs[count++] = lot[i];
        }
    }
    if (count > 0) {
        if (d->target->kind == TARGET_MBOX) {
            mbox_deliver(d->target->path, d->all->spool, time(NULL), parcels, count);
        } else {
            maildir_deliver(d->target->path, d->all->conf->hostname, d->all->spool, parcels, count);
        }
        for (size_t i = 0; i < count; i++) {
            jobs[i]->report->result = parcels[i].result;
            jobs[i]->report->unread = parcels[i].unread;
        }
        blame_mailbox(jobs, parcels, count);
    }
    free(parcels);
}

bool dest_settled(struct job *job, const struct report *r)
{
    if (r->count == 0) {
        return true;
    }
    if (job->settled == NULL) {
        job->settled = calloc(job->form->to_count, sizeof *job->settled);
    }
    for (size_t i = 0; job->settled != NULL && i < r->count; i++) {
        for (size_t k = 0; k < job->form->to_count; k++) {
            job->settled[k] = job->settled[k] || (r->recipients[i].address == job->form->to[k] &&
                                                  r->recipients[i].result.outcome != OUTCOME_TEMPORARY);
        }
    }
    return job->settled != NULL;
}

/* Those of the form that an earlier try has not settled. */
static bool list_recipients(struct dest *d, struct job *job)
{
    struct report *r = job->report;
    r->recipients = calloc(job->form->to_count, sizeof *r->recipients);
    if (r->recipients == NULL) {
        return false;
    }
    struct state st; /* one that cannot be read remembers nothing: rather twice than never */
    spool_state_read(d->all->spool->queue, job->name, &st);
    const struct state_target *t = state_find(&st, d->target->text);
    for (size_t i = 0; i < job->form->to_count; i++) {
        bool settled = job->settled != NULL && job->settled[i];
        if (!settled && (t == NULL || state_recipient(t, job->form->to[i]) == NULL)) {
            r->recipients[r->count++].address = job->form->to[i];
        }
    }
    state_free(&st);
    return true;
}

static void add_up(struct report *r)
{
    r->result = (struct result){.outcome = OUTCOME_DONE};
    for (size_t i = 0; i < r->count; i++) {
        if (r->result.outcome == OUTCOME_DONE || r->recipients[i].result.outcome == OUTCOME_TEMPORARY) {
            r->result = r->recipients[i].result;
        }
    }
}

static void hang_up(struct smtp **smtp)
{
    smtp_close(*smtp);
    *smtp = NULL;
}

/* For who has to show one day how mail went to the host. */
static void tell_of_connection(const struct dest *d, const struct smtp *smtp)
{
    struct buf how;
    buf_init(&how, 4096);
    smtp_describe(smtp, &how);
    if (d->target->kind == TARGET_MAILHOST) {
        const char *text = buf_text(&how);
        log_info("connected to %s: %s", d->target->text, text != NULL ? text : "too much to tell");
    }
    buf_free(&how);
}

/* One that was used before may have had its share: some hosts take so many messages by a connection, and end it at the
 * next MAIL FROM (RFC 5321 §3.8). That says nothing of the host, which a new one has to. */
static bool was_used_up(const struct smtp *smtp, const struct report *r, bool used)
{
    return used && !smtp_began(smtp) && all_put_off(r);
}

static void send_message(struct dest *d, struct smtp **smtp, struct job *job, int fd, uint64_t size)
{
    struct report *r = job->report;
    if (*smtp != NULL && !smtp_idle(*smtp)) {
        hang_up(smtp);
    }
    bool usable;
    for (bool again = true; again;) {
        bool used = *smtp != NULL;
        if (!used) {
            *smtp = smtp_open(d->target, d->all->conf->hostname, &r->result);
        }
        if (*smtp == NULL) {
            r->unreachable = true;
            r->count = 0; /* nobody was asked */
            return;
        }
        if (!used) {
            tell_of_connection(d, *smtp);
        }
        usable = smtp_send(*smtp, job->form->from, r->recipients, r->count, fd, size);
        again = !usable && was_used_up(*smtp, r, used);
        if (!usable) {
            hang_up(smtp);
        }
    }
    add_up(r);
    if (!usable) {
        r->unreachable = all_put_off(r); /* else it did hear us */
    }
}

static void try_host(struct dest *d, struct smtp **smtp, struct job *job)
{
    struct report *r = report_new(job);
    if (r == NULL) {
        return;
    }
    int fd = openat(d->all->spool->queue, job->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st = {.st_size = 0};
    uint64_t size;
    int error = fd >= 0 && fstat(fd, &st) == 0 ? 0 : errno;
    if (looked_up(job, error, &st, &size)) {
        if (!mailbox_is_of(fd, job->form->name, &r->result)) {
            r->unread = true;
        } else if (list_recipients(d, job)) {
            if (r->count > 0) {
                send_message(d, smtp, job, fd, size);
            }
        } else {
            untried(job);
            job->due = time(NULL) + MEMORY_PAUSE;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* ---- workers --------------------------------------------------------------------------------- */

static bool has_work(const struct dest *d, int64_t now)
{
    return !d->all->stopping && d->count > 0 && d->heap[0]->due <= now &&
           (d->failures == 0 || (!d->probing && d->next_probe <= now));
}

static size_t take_lot(struct dest *d, struct job **lot)
{
    int64_t now = time(NULL);
    if (!has_work(d, now)) {
        return 0;
    }
    d->probing = d->failures > 0;
    size_t most = is_mailbox(d) && !d->probing ? LOT_MAX : 1, n = 0;
    while (n < most && d->count > 0 && d->heap[0]->due <= now) {
        lot[n++] = d->probing ? heap_get_least_tried(d, now) : heap_get(d);
    }
    d->taken += n;
    return n;
}

static void give_back(struct dest *d, struct job **lot, size_t n)
{
    struct dests *all = d->all;
    bool any = false;
    d->probing = false;
    d->taken -= n;
    for (size_t i = 0; i < n; i++) {
        struct job *job = lot[i];
        if (job->report == NULL) {
            heap_put(d, job);
            continue;
        }
        learn(d, job->report);
        job->next = NULL;
        *all->done_end = job;
        all->done_end = &job->next;
        any = true;
    }
    if (any) {
        uint64_t one = 1;
        ssize_t written = write(all->event, &one, sizeof one); /* full only after 2^64 lots */
        (void)written;
    }
}

/* false: nothing came for so long that the worker may end. */
static bool wait_more(struct dest *d)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WORKER_IDLE;
    return pthread_cond_timedwait(&d->more, &d->all->lock, &until) == 0;
}

static void *work(void *arg)
{
    struct dest *d = arg;
    struct dests *all = d->all;
    struct job *lot[LOT_MAX];
    struct smtp *smtp = NULL;

    pthread_mutex_lock(&all->lock);
    do {
        for (size_t n; (n = take_lot(d, lot)) > 0;) {
            pthread_mutex_unlock(&all->lock);
            if (is_mailbox(d)) {
                try_mailbox(d, lot, n);
            } else {
                try_host(d, &smtp, lot[0]);
            }
            pthread_mutex_lock(&all->lock);
            give_back(d, lot, n);
        }
    } while (!all->stopping && wait_more(d));
    if (smtp != NULL) {
        pthread_mutex_unlock(&all->lock);
        smtp_close(smtp);
        pthread_mutex_lock(&all->lock);
    }
    d->workers--;
    all->workers--;
    pthread_cond_signal(&all->ended);
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

/* Signals are for the thread that polls. */
static bool start_worker(struct dest *d)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    if (pthread_attr_init(&attr) != 0) {
        return false;
    }
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    sigdelset(&all, SIGSYS); /* or the sandbox could not say which call it was */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, &attr, work, d);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (error != 0) {
        log_warn("cannot start a thread for %s: %s; trying again", d->target->text, strerror(error));
        return false;
    }
    d->workers++;
    d->all->workers++;
    return true;
}

void dests_run(struct dests *all, int64_t now)
{
    pthread_mutex_lock(&all->lock);
    for (struct dest *d = all->first; d != NULL; d = d->next) {
        if (!has_work(d, now)) {
            continue;
        }
        pthread_cond_broadcast(&d->more);
        size_t wanted = d->failures > 0 ? 1 : d->count < d->workers_max ? d->count : d->workers_max;
        while (d->workers < wanted && start_worker(d)) {
        }
    }
    pthread_mutex_unlock(&all->lock);
}

/* ---- for the caller -------------------------------------------------------------------------- */

struct dest *dests_find(struct dests *all, const char *text)
{
    struct dest *d = all->first;
    while (d != NULL && strcmp(d->target->text, text) != 0) {
        d = d->next;
    }
    return d;
}

const char *dest_text(const struct dest *d)
{
    return d->target->text;
}

static bool add_dest(struct dests *all, const struct target *t)
{
    if (dests_find(all, t->text) != NULL) {
        return true;
    }
    struct dest *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return false;
    }
    d->all = all;
    d->target = t;
    d->workers_max = t->kind == TARGET_MAILHOST && t->host->connections > 0 ? t->host->connections : 1;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&d->more, &attr);
    pthread_condattr_destroy(&attr);
    d->next = all->first;
    all->first = d;
    return true;
}

struct dests *dests_new(const struct conf *c, struct spool *s, int event)
{
    struct dests *all = calloc(1, sizeof *all);
    if (all == NULL) {
        return NULL;
    }
    *all = (struct dests){.conf = c, .spool = s, .event = event, .done_end = &all->done};
    pthread_mutex_init(&all->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&all->ended, &attr);
    pthread_condattr_destroy(&attr);
    for (const struct form_conf *f = c->forms; f != NULL; f = f->next) {
        for (size_t i = 0; i < f->target_count; i++) {
            if (!add_dest(all, &f->targets[i])) {
                dests_free(all);
                return NULL;
            }
        }
    }
    return all;
}

/* A new message need not wait for the next probe: that the last ones were put off may be their own trouble. */
static void probe_sooner(struct dest *d)
{
    int64_t soonest = d->failed_at + d->all->conf->retry_min;
    if (d->failures > 0 && soonest < d->next_probe) {
        d->next_probe = soonest;
    }
}

bool dest_push(struct job *job)
{
    struct dest *d = job->dest;
    pthread_mutex_lock(&d->all->lock);
    if (job->tries == 0) {
        probe_sooner(d);
    }
    bool room = heap_room(d);
    if (room) {
        heap_put(d, job);
    }
    pthread_mutex_unlock(&d->all->lock);
    return room;
}

struct job *dests_take(struct dests *all)
{
    pthread_mutex_lock(&all->lock);
    struct job *list = all->done;
    all->done = NULL;
    all->done_end = &all->done;
    pthread_mutex_unlock(&all->lock);
    return list;
}

void dests_flush(struct dests *all, int64_t now)
{
    pthread_mutex_lock(&all->lock);
    for (struct dest *d = all->first; d != NULL; d = d->next) {
        d->failures = 0;
        d->refusals = 0;
        for (size_t i = 0; i < d->count; i++) {
            if (d->heap[i]->due > now) {
                d->heap[i]->due = now;
            }
        }
        heap_order(d);
    }
    pthread_mutex_unlock(&all->lock);
}

struct job *dests_forget(struct dests *all)
{
    struct job *list = NULL;
    pthread_mutex_lock(&all->lock);
    for (struct dest *d = all->first; d != NULL; d = d->next) {
        size_t kept = 0;
        for (size_t i = 0; i < d->count; i++) {
            struct job *job = d->heap[i];
            if (job->forgotten) {
                job->next = list;
                list = job;
            } else {
                d->heap[kept++] = job;
            }
        }
        d->count = kept;
        heap_order(d);
    }
    pthread_mutex_unlock(&all->lock);
    return list;
}

bool dest_down(struct dest *d, char *reason, size_t size)
{
    pthread_mutex_lock(&d->all->lock);
    bool down = d->failures > 0;
    text_copy(reason, size, down ? d->reason : "");
    pthread_mutex_unlock(&d->all->lock);
    return down;
}

bool dests_stop(struct dests *all, unsigned seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    pthread_mutex_lock(&all->lock);
    all->stopping = true;
    for (struct dest *d = all->first; d != NULL; d = d->next) {
        pthread_cond_broadcast(&d->more);
    }
    while (all->workers > 0 && pthread_cond_timedwait(&all->ended, &all->lock, &until) == 0) {
    }
    bool ended = all->workers == 0;
    pthread_mutex_unlock(&all->lock);
    return ended;
}

void dests_free(struct dests *all)
{
    for (struct dest *d = all->first, *next; d != NULL; d = next) {
        next = d->next;
        pthread_cond_destroy(&d->more);
        free(d->heap);
        free(d);
    }
    pthread_cond_destroy(&all->ended);
    pthread_mutex_destroy(&all->lock);
    free(all);
}
