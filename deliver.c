/*
 * The courier: from the spool to the mailboxes.
 *
 * This file keeps the books, in one thread: which messages there are (a scan of queue/), which destinations
 * each still needs, what to remember of a failed try, what to hold. The trying is done by the workers of
 * dest.c.
 *
 *     a name appears in queue/ -> a job for each target of its form -> dest.c -> a report
 *         every target has it        the name is removed
 *         a target failed for now    .state remembers it; the job waits, longer each time, up to max_age
 *         a target failed for good   the others are served, then the message goes to held/, with the reason
 *
 * A person, or `formbridge queue`, may work on the spool at any time, with nothing but renames and removals:
 *
 *     hold      write held/NAME.state, rename queue/NAME to held/NAME, remove queue/NAME.state
 *     release   rename held/NAME.state to queue/, then held/NAME (mv does, too)
 *     drop      remove NAME, then NAME.state
 *     flush     write a byte to the FIFO spool/wake (ENXIO: no courier runs): what waits is tried now
 *
 * A state that says "held" and lies in queue/ was released: its failures are forgotten and its age counts from
 * now. A message that is gone when its turn comes was taken by a person and is forgotten. One that appears is
 * found by the next scan: after a byte in the FIFO or from a front, and every SCAN_INTERVAL seconds. One
 * courier works on a spool at a time: it has flock(2)ed spool/lock; a second one waits for that.
 */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    FLUSH_LASTS = 60, /* seconds, for what is found as new only then, see `again` */
    LOOK_AGAIN = 600, /* seconds, for what has waited long enough to be told of */
    ALERT_LOOK = 6 * 60 * 60,
    SCAN_INTERVAL = 30, /* seconds, when nothing wakes us */
    SCAN_REST = 3, /* times as long as a scan took until the next: a long queue is not read all the time */
    SCAN_GATHER =
        100,          /* milliseconds at least: what keeps coming is delivered in lots, under one sync each */
    TICK = 1000,      /* milliseconds: how late a retry may start and *stop be seen */
    LOCK_PAUSE = 200, /* milliseconds */
    CLOCK_SKEW = 60,  /* seconds ahead that mean nothing */
    ORPHAN_AGE = 24 * 60 * 60, /* seconds: then a state without a message is nobody's */
    TRIES_MAX = 1000,          /* counted, not limited */
};

/* A message in queue/. */
struct item {
    struct named named; /* first: what the table finds is the item */
    struct item *todo;  /* in the list of those that something happened to */
    bool listed;        /* there */
    bool fresh;         /* the scan has just found it */
    char ref[REF_SIZE];
    char form[FORM_NAME_MAX + 1];
    int64_t since;      /* its age counts from here */
    unsigned scan;      /* the last that saw it */
    bool has_state;     /* there is a state file */
    bool again;         /* to be forgotten, once the state is written, and found as new by the next scan */
    bool loaded, dirty; /* state is in memory; state is not on the disk */
    bool gone;          /* somebody took it out of the queue */
    bool hold;          /* it needs a person */
    struct state state;
    struct job *jobs; /* one for each target that does not have it */
    size_t job_count;
    size_t left; /* jobs that are neither done nor failed */
    size_t out;  /* jobs in the hands of dest.c */
};

struct courier {
    const struct conf *conf;
    struct spool *spool;
    struct dests *dests;
    int wake, fifo, event;
    struct names names;
    struct item *todo;
    unsigned scan;
    int64_t scan_next, scan_soonest; /* monotonic milliseconds: at the latest; at the soonest, when woken */
    bool woken;
    bool warned; /* of names that are not ours */
    int64_t oldest;
    int64_t flushed;    /* when a person last wanted all tried at once; 0: never */
    int64_t alert_due;  /* when to see whether there is something to tell; 0: nothing has happened */
    int64_t alert_look; /* and then all the same, for what happens by the calendar */
};

/* ---- the messages ---------------------------------------------------------------------------- */

static void item_free(struct item *item)
{
    for (size_t i = 0; i < item->job_count; i++) {
        free(item->jobs[i].settled);
    }
    free(item->jobs);
    state_free(&item->state);
    free(item);
}

/* None of its jobs is with dest.c. */
static void forget(struct courier *c, struct item *item)
{
    names_remove(&c->names, &item->named);
    item_free(item);
}

static struct item *find(const struct courier *c, const char *name)
{
    return (struct item *)names_find(&c->names, name);
}

/* ---- the state of one message ---------------------------------------------------------------- */

static void unload(struct item *item)
{
    state_free(&item->state);
    item->loaded = false;
}

static void save(struct courier *c, struct item *item)
{
    if (spool_state_write(c->spool->queue, item->named.name, &item->state)) {
        item->has_state = true;
        item->dirty = false;
        unload(item);
    } else { /* kept in memory, written with the next change */
        log_warn("cannot write %s.state: %s; after a restart a recipient may get %s twice", item->named.name,
                 strerror(errno), item->ref);
    }
}

/* ---- the end of a message's time in the queue ------------------------------------------------ */

static const char *why_held(const struct state *st)
{
    for (const struct state_target *t = st->targets; t != NULL; t = t->next) {
        if (t->failed != NULL) {
            return t->failed;
        }
    }
    return "its destinations are gone from the config";
}

/* The state first, where the message is going: at no time is it there without saying why. */
static bool move_to_held(struct courier *c, struct item *item)
{
    if (!spool_state_write(c->spool->held, item->named.name, &item->state)) {
        return false;
    }
    if (renameat(c->spool->queue, item->named.name, c->spool->held, item->named.name) != 0) {
        int error = errno;
        struct stat st;
        if (fstatat(c->spool->held, item->named.name, &st, AT_SYMLINK_NOFOLLOW) !=
            0) { /* else a person was faster */
            spool_state_remove(c->spool->held, item->named.name);
        }
        errno = error;
        return false;
    }
    if (fsync(c->spool->held) != 0) {
        log_warn("cannot sync held/: %s", strerror(errno));
    }
    spool_state_remove(c->spool->queue, item->named.name);
    return true;
}

static void hold(struct courier *c, struct item *item)
{
    if (item->state.held == NULL && !state_text(&item->state.held, why_held(&item->state))) {
        return;
    }
    if (move_to_held(c, item)) {
        log_error("held %s (form %s): %s", item->ref, item->form, item->state.held);
        stats_add(STAT_HELD, 1);
        c->alert_due = time(NULL) + 1;
        forget(c, item);
    } else if (errno == ENOENT) {
        forget(c, item);
    } else { /* it stays in the table, without jobs, and the next scan brings it here again */
        log_error("cannot hold %s (form %s), which needs a person (%s): %s", item->ref, item->form,
                  item->state.held, strerror(errno));
    }
}

static void warn_taken(const struct item *item)
{
    log_warn("%s (form %s) was taken out of the queue while it was delivered: if it is held, drop it",
             item->ref, item->form);
}

static void finish(struct courier *c, struct item *item)
{
    int error = unlinkat(c->spool->queue, item->named.name, 0) == 0 ? 0 : errno;
    if (error == ENOENT) {
        warn_taken(item);
    } else if (error != 0) { /* likewise */
        log_error("%s (form %s) is delivered and cannot be removed from the queue: %s; it will come again "
                  "after a restart",
                  item->ref, item->form, strerror(errno));
        return;
    }
    if (item->has_state) {
        spool_state_remove(c->spool->queue, item->named.name);
    }
    stats_add(STAT_DELIVERED, 1);
    forget(c, item);
}

/* After whatever happened to it: what is to be done with its files? */
static void settle(struct courier *c, struct item *item)
{
    if (item->again && !item->gone && item->dirty) {
        save(c, item);
    }
    if (item->out > 0 && (item->gone || item->again || item->left == 0)) {
        return; /* comes here again */
    }
    if (item->gone || (item->again && !item->dirty)) {
        c->woken = c->woken || item->again;
        forget(c, item);
    } else if (item->again) {
        return; /* what it must not forget stands in memory alone: the next scan brings it here again */
    } else if (item->left > 0) {
        if (item->dirty) {
            save(c, item);
        } else {
            unload(item);
        }
    } else if (item->hold) {
        hold(c, item);
    } else {
        finish(c, item);
    }
}

/* ---- jobs, and what the state leaves of them ------------------------------------------------- */

static void push(struct item *item, struct job *job)
{
    if (dest_push(job)) {
        item->out++;
    } else { /* no memory: forgotten, so that the next scan finds it as new */
        item->gone = true;
    }
}

static bool named_before(const struct form_conf *form, size_t i)
{
    size_t k = 0;
    while (strcmp(form->targets[k].text, form->targets[i].text) != 0) {
        k++;
    }
    return k < i;
}

static void add_job(struct courier *c, struct item *item, const struct form_conf *form, size_t target,
                    int64_t now)
{
    const char *text = form->targets[target].text;
    const struct state_target *t = state_find(&item->state, text);
    if (named_before(form, target) || (t != NULL && t->done)) {
        return;
    }
    if (t != NULL && t->failed != NULL) {
        item->hold = true;
        return;
    }
    struct job *job = &item->jobs[item->job_count++];
    *job = (struct job){.dest = dests_find(c->dests, text),
                        .name = item->named.name,
                        .form = form,
                        .owner = item,
                        .tries = t == NULL ? 0 : t->tries};
    int64_t next = t == NULL ? 0 : t->next_try;
    bool flushed = now >= c->flushed && now - c->flushed < FLUSH_LASTS;
    if (flushed ||
        next > now + (int64_t)c->conf->retry_max) { /* later: the clock was set back, or retry_max lowered */
        next = next < now ? next : now;
    }
    job->due = next > 0 ? next : item->since < now ? item->since : now;
    item->left++;
    push(item, job);
}

/* The directory is read while it changes: that no state was seen does not say that there is none. One that says "held"
 * was put into queue/ by a person's release, maybe between two scans that both saw the message here: all that failed is
 * to be tried again, as if the message were new. */
static void load(struct courier *c, struct item *item)
{
    if (item->loaded) {
        return;
    }
    if (!spool_state_read(c->spool->queue, item->named.name, &item->state)) {
        log_warn("%s.state cannot be read: starting anew, so a recipient may get %s twice", item->named.name,
                 item->ref);
        item->dirty = true; /* to be replaced by one that can */
    }
    item->loaded = true;
    item->has_state = item->has_state || item->state.targets != NULL || item->state.held != NULL;
    if (item->state.held != NULL) {
        state_release(&item->state, time(NULL));
        item->dirty = true;
        item->again = true;
        c->woken = c->woken || item->job_count > 0; /* those are withdrawn by a scan */
        log_info("released %s (form %s)", item->ref, item->form);
    }
}

/* ---- reports --------------------------------------------------------------------------------- */

/* The one way for mail to go of which no other line tells. */
static void note_taken(const struct courier *c, struct item *item)
{
    if (!item->gone) {
        bool held = faccessat(c->spool->held, item->named.name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
        log_info("%s (form %s) was %s by a person", item->ref, item->form, held ? "held" : "dropped");
        item->gone = true;
    }
}

static void give_up(struct item *item, struct state_target *t, const char *reason)
{
    if (state_text(&t->failed, reason)) {
        item->dirty = true;
        item->hold = true;
        item->left--;
        log_warn("gave up %s (form %s) to %s: %s", item->ref, item->form, t->text, reason);
    } else {
        item->gone = true;
    }
}

static void expire(struct courier *c, struct item *item, struct state_target *t, const char *reason)
{
    char text[REASON_SIZE + 64];
    unsigned age = c->conf->max_age, unit = age >= 2 * 3600 ? 3600 : age >= 2 * 60 ? 60 : 1;
    text_fmt(text, sizeof text, "not delivered in %u %s: %s", age / unit,
             unit == 3600 ? "hours"
             : unit == 60 ? "minutes"
                          : "seconds",
             reason);
    give_up(item, t, text);
}

static void defer(struct courier *c, struct item *item, struct job *job, struct state_target *t,
                  const struct report *r)
{
    int64_t now = time(NULL);
    stats_add(STAT_DELIVERY_DEFERRED, 1);
    if (!state_text(&t->reason, r->result.reason)) {
        log_warn("no memory to note why %s to %s waits", item->ref, t->text);
    }
    if (now - item->since >= (int64_t)c->conf->max_age) {
        expire(c, item, t, r->result.reason);
        return;
    }
    unsigned wait = dest_backoff(t->tries, c->conf->retry_min, c->conf->retry_max, arc4random());
    t->next_try = now + wait;
    item->dirty = true;
    job->due = t->next_try;
    job->tries = t->tries;
    job->postponed = r->unreachable && r->count == 0;
    log_warn("deferred %s (form %s) to %s: %s; try %u, the next in %u s", item->ref, item->form, t->text,
             r->result.reason, t->tries, wait);
    push(item, job);
}

/* Which recipients need no further try; false: no memory. */
static bool settle_recipients(struct item *item, struct job *job, struct state_target *t,
                              const struct report *r)
{
    if (!dest_settled(job, r)) {
        return false;
    }
    for (size_t i = 0; i < r->count; i++) {
        const struct recipient *to = &r->recipients[i];
        bool refused = to->result.outcome == OUTCOME_PERMANENT;
        if (to->result.outcome != OUTCOME_TEMPORARY &&
            !state_settle(t, to->address, refused ? to->result.reason : NULL)) {
            return false;
        }
        if (to->result.outcome == OUTCOME_DONE && r->result.outcome != OUTCOME_DONE) {
            log_info("given %s (form %s) to %s by %s: %s", item->ref, item->form, to->address, t->text,
                     to->result.reason);
        }
        if (refused) {
            log_warn("refused %s (form %s) to %s by %s: %s", item->ref, item->form, to->address, t->text,
                     to->result.reason);
        }
    }
    return true;
}

/* Whom of the form's the place will never give it to, the first of them, and why: one that the config no longer names was
 * a mistake, and is repaired. false: nobody. */
static bool refusal(const struct job *job, const struct state_target *t, char *why, size_t why_size)
{
    for (size_t i = 0; i < job->form->to_count; i++) {
        const struct state_recipient *to = state_recipient(t, job->form->to[i]);
        if (to != NULL && to->failed != NULL) {
            text_fmt(why, why_size, "%s: %s", to->address, to->failed);
            return true;
        }
    }
    return false;
}

/* Does every recipient of the form stand in the books, as having it or as refused? Not if a release has struck one out
 * after the worker had read whom it may leave out. */
static bool all_settled(const struct job *job, const struct state_target *t)
{
    for (size_t i = 0; i < job->form->to_count; i++) {
        if (state_recipient(t, job->form->to[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static void take_report(struct courier *c, struct item *item, struct job *job, const struct report *r)
{
    if (r->gone) {
        note_taken(c, item);
        return;
    }
    load(c, item);
    char why[MAIL_ADDRESS_MAX + 2 + REASON_SIZE];
    struct state_target *t = state_target(&item->state, dest_text(job->dest));
    if (t == NULL || !settle_recipients(item, job, t, r)) {
        item->gone = true; /* no memory: forgotten, so that the next scan finds it as new */
        return;
    }
    t->tries += t->tries < TRIES_MAX ? 1 : 0;
    if (r->result.outcome == OUTCOME_TEMPORARY) {
        defer(c, item, job, t, r);
    } else if (r->count == 0 && r->result.outcome == OUTCOME_PERMANENT) {
        give_up(item, t, r->result.reason);
    } else if (refusal(job, t, why, sizeof why)) {
        give_up(item, t, why);
    } else if (r->recipients != NULL && !all_settled(job, t)) {
        item->again = true;
        item->dirty = true;
    } else {
        t->done = true;
        item->dirty = true;
        item->left--;
        log_info("delivered %s (form %s) to %s%s%s", item->ref, item->form, t->text,
                 r->result.reason[0] != '\0' ? ": " : "", r->result.reason);
        if (item->gone) {
            warn_taken(item);
        }
    }
}

/* ---- items that something happened to -------------------------------------------------------- */

static void list(struct courier *c, struct item *item)
{
    if (!item->listed) {
        item->listed = true;
        item->todo = c->todo;
        c->todo = item;
    }
}

static void settle_listed(struct courier *c)
{
    for (struct item *item = c->todo, *next; item != NULL; item = next) {
        next = item->todo;
        item->listed = false;
        settle(c, item);
    }
    c->todo = NULL;
}

/* All reports first, then the files: a message that all its destinations have needs no state written. */
static void collect(struct courier *c)
{
    log_hold();
    for (struct job *job = dests_take(c->dests), *next; job != NULL; job = next) {
        next = job->next;
        struct item *item = job->owner;
        item->out--;
        struct report *r = job->report;
        job->report = NULL;
        take_report(c, item, job, r);
        dest_report_free(r);
        list(c, item);
    }
    log_release();
    settle_listed(c);
}

/* ---- the scan -------------------------------------------------------------------------------- */

/* A new message: what does it still need? */
static void admit(struct courier *c, struct item *item, int64_t now)
{
    load(c, item);
    if (item->again) { /* the workers read it from the disk */
        item->again = false;
        save(c, item);
        item->gone = item->dirty;
        if (item->gone) {
            return;
        }
        load(c, item);
    }
    if (item->state.since > 0) {
        item->since = item->state.since;
    }
    if (item->since >
        now + CLOCK_SKEW) { /* the clock was ahead then: else nobody would hear of it until it is so late */
        item->since = item->state.since = now;
        item->dirty = true;
    }
    const struct form_conf *form = conf_route(c->conf, item->form);
    if (form == NULL) {
        char why[REASON_SIZE];
        bool alert = strcmp(item->form, ALERT_FORM) == 0;
        text_fmt(why, sizeof why,
                 "the config has no %s%s%s to say where it goes: add one and release it, or drop it",
                 alert ? "alert_to" : "[form ", alert ? "" : item->form, alert ? "" : "]");
        item->hold = true;
        item->gone = !state_text(&item->state.held, why);
        return;
    }
    item->jobs = calloc(form->target_count, sizeof *item->jobs);
    item->gone = item->jobs == NULL;
    for (size_t i = 0; i < form->target_count && !item->gone; i++) {
        add_job(c, item, form, i, now);
    }
}

static void scan_message(struct courier *c, const char *name)
{
    struct item *item = find(c, name);
    if (item == NULL) {
        item = calloc(1, sizeof *item);
        if (item == NULL || !spool_name_parse(name, &item->since, item->ref, item->form) ||
            !names_add(&c->names, &item->named, name)) {
            free(item);
            return;
        }
        item->fresh = true;
        list(c, item);
    } else if ((item->left == 0 || item->again) && item->out == 0) {
        list(c, item); /* could not be held, removed or written: once more */
    }
    item->scan = c->scan;
}

/* files: names of states, a NUL behind each. The state of a message that is not there belongs to nobody,
 * unless the message is just being released. */
static void scan_states(struct courier *c, const struct buf *files)
{
    char name[SPOOL_NAME_SIZE];
    struct stat st;
    for (size_t at = 0; at < files->len;) {
        const char *file = (const char *)files->data + at;
        at += strlen(file) + 1;
        struct item *item = spool_state_of(file, name) ? find(c, name) : NULL;
        if (item != NULL) {
            item->has_state = true;
        } else if (fstatat(c->spool->queue, file, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                   st.st_ctime + ORPHAN_AGE < time(NULL)) {
            unlinkat(c->spool->queue, file, 0);
        }
    }
}

/* files receives the names of states. false: not all of the directory was read. */
static bool scan_names(struct courier *c, struct buf *files)
{
    DIR *dir = spool_list(c->spool->queue);
    if (dir == NULL) {
        return false;
    }
    errno = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL; errno = 0) {
        int64_t time;
        char ref[REF_SIZE], form[FORM_NAME_MAX + 1], name[SPOOL_NAME_SIZE];
        if (spool_name_parse(e->d_name, &time, ref, form)) {
            scan_message(c, e->d_name);
        } else if (spool_state_of(e->d_name, name)) {
            buf_put(files, e->d_name, strlen(e->d_name) + 1);
        } else if (e->d_name[0] != '.' && !c->warned) {
            log_warn("queue/ holds a file that is not ours and is left alone: %s", e->d_name);
            c->warned = true;
        }
    }
    int error = errno;
    closedir(dir);
    errno = error;
    return error == 0;
}

/* What vanished is forgotten; what is too old and waits for a destination that fails is given up. */
static void review(void *arg, struct named *named)
{
    struct courier *c = arg;
    struct item *item = (struct item *)named;
    char reason[REASON_SIZE];
    if (item->scan != c->scan) {
        note_taken(c, item);
    }
    bool old = time(NULL) - item->since >= (int64_t)c->conf->max_age;
    for (size_t i = 0; i < item->job_count; i++) {
        struct job *job = &item->jobs[i];
        job->forgotten = item->gone || item->again || (old && dest_down(job->dest, reason, sizeof reason));
    }
    if (item->gone) {
        list(c, item);
    } else if (c->oldest == 0 || item->since < c->oldest) {
        c->oldest = item->since;
    }
}

static void review_all(struct courier *c)
{
    c->oldest = 0;
    names_each(&c->names, review, c);
    for (struct job *job = dests_forget(c->dests), *next; job != NULL; job = next) {
        next = job->next;
        struct item *item = job->owner;
        item->out--;
        if (!item->gone && !item->again) {
            char reason[REASON_SIZE];
            load(c, item);
            struct state_target *t = state_target(&item->state, dest_text(job->dest));
            if (t != NULL && dest_down(job->dest, reason, sizeof reason)) {
                expire(c, item, t, reason);
            } else { /* it works again, just now */
                push(item, job);
            }
        }
        list(c, item);
    }
}

static void scan(struct courier *c)
{
    int64_t started = clock_ms();
    struct buf files;
    buf_init(&files, SIZE_MAX / 2);
    c->scan++;
    c->woken = false;
    bool whole = scan_names(c, &files);
    if (!whole) {
        log_error("cannot read the directory queue/ of the spool: %s", strerror(errno));
    }
    scan_states(c, &files);
    buf_free(&files);
    int64_t now = time(NULL);
    for (struct item *item = c->todo; item != NULL; item = item->todo) {
        if (item->fresh) {
            item->fresh = false;
            admit(c, item, now);
        }
    }
    settle_listed(c);
    if (whole) {
        review_all(c);
        settle_listed(c);
    }
    if (c->alert_due == 0 && c->conf->alert_after > 0 && c->oldest != 0 &&
        now >= c->oldest + c->conf->alert_after) {
        c->alert_due = now + (c->conf->alert_after < LOOK_AGAIN ? c->conf->alert_after : LOOK_AGAIN);
    }
    if (started >= c->scan_next) {
        stats_set(STAT_HELD, (int64_t)spool_count(c->spool->held));
        c->scan_next = started + (int64_t)SCAN_INTERVAL * 1000;
    }
    int64_t ended = clock_ms();
    int64_t rest = SCAN_REST * (ended - started);
    c->scan_soonest = ended + (rest < SCAN_GATHER ? SCAN_GATHER : rest);
}

/* ---- the role -------------------------------------------------------------------------------- */

/* Did something come? A pipe that nobody can write to any more becomes -1. */
static bool drain(int *fd)
{
    char bytes[4096];
    bool any = false;
    for (;;) {
        ssize_t n = read(*fd, bytes, sizeof bytes);
        if (n > 0) {
            any = true;
        } else if (n == 0) {
            *fd = -1;
            return any;
        } else if (errno != EINTR) {
            return any;
        }
    }
}

static void wait_for_more(struct courier *c)
{
    struct pollfd fds[] = {{.fd = c->event, .events = POLLIN},
                           {.fd = c->fifo, .events = POLLIN},
                           {.fd = c->woken ? -1 : c->wake, .events = POLLIN}};
    int64_t pause = TICK;
    if (c->woken) { /* what comes until then is found by the same scan */
        pause = c->scan_soonest - clock_ms();
        pause = pause < 0 ? 0 : pause > TICK ? TICK : pause;
    }
    if (poll(fds, COUNT(fds), (int)pause) <= 0) {
        return;
    }
    if (fds[0].revents != 0) {
        uint64_t count;
        ssize_t got = read(c->event, &count, sizeof count); /* only resets it */
        (void)got;
    }
    if (fds[1].revents != 0 && drain(&c->fifo)) {
        c->flushed = time(NULL);
        dests_flush(c->dests, c->flushed);
        c->woken = true;
    }
    if (fds[2].revents != 0 && drain(&c->wake)) {
        c->woken = true;
    }
}

static void run(struct courier *c, const volatile sig_atomic_t *stop)
{
    int64_t before = 0;
    while (!*stop) {
        int64_t now = time(NULL);
        if (now + 1 < before) { /* the clock was set back: nobody shall wait for the old time to return */
            dests_flush(c->dests, now);
            c->alert_look = 0;
        }
        before = now;
        collect(c);
        int64_t ms = clock_ms();
        if (ms >= c->scan_next || (c->woken && ms >= c->scan_soonest)) {
            scan(c);
        }
        if ((c->alert_due != 0 && now >= c->alert_due) || now >= c->alert_look) {
            c->alert_due = alert_run(c->conf, c->spool, now);
            c->alert_look = now + ALERT_LOOK;
            c->woken = true;
        }
        dests_run(c->dests, now);
        stats_set(STAT_QUEUED, (int64_t)c->names.count);
        stats_set(STAT_OLDEST, c->names.count > 0 && now > c->oldest ? now - c->oldest : 0);
        wait_for_more(c);
    }
}

/* The previous courier may still be finishing. -1: *stop came; -2: there is no lock to be had. */
static int lock_spool(struct spool *s, const volatile sig_atomic_t *stop)
{
    int fd = openat(s->root, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        log_error("cannot open the file lock of the spool: %s", strerror(errno));
        return -2;
    }
    for (bool told = false; flock(fd, LOCK_EX | LOCK_NB) != 0; told = true) {
        bool failed = !*stop && errno != EWOULDBLOCK && errno != EINTR;
        if (failed) {
            log_error("cannot lock the spool: %s", strerror(errno));
        }
        if (*stop || failed) {
            close(fd);
            return failed ? -2 : -1;
        }
        if (!told) {
            log_info("waiting for the courier that has this spool to finish");
        }
        poll(NULL, 0, LOCK_PAUSE);
    }
    return fd;
}

static void free_item(void *arg, struct named *named)
{
    (void)arg;
    item_free((struct item *)named);
}

static bool courier_open(struct courier *c, const struct conf *conf, struct spool *s, int wake)
{
    *c = (struct courier){.conf = conf, .spool = s, .wake = wake, .alert_due = 1};
    c->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->dests = c->event < 0 ? NULL : dests_new(conf, s, c->event);
    /* For writing too, so that it never comes to its end. */
    c->fifo = openat(s->root, "wake", O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (c->fifo < 0) {
        log_warn("cannot open the FIFO wake of the spool: %s; a flush is not seen", strerror(errno));
    }
    if (c->dests == NULL) {
        log_error("cannot start: no memory");
        return false;
    }
    return true;
}

static void courier_close(struct courier *c)
{
    names_each(&c->names, free_item, NULL);
    names_free(&c->names);
    if (c->dests != NULL) {
        dests_free(c->dests);
    }
    if (c->event >= 0) {
        close(c->event);
    }
    if (c->fifo >= 0) {
        close(c->fifo);
    }
}

enum deliver_end deliver_run(const struct conf *c, struct spool *s, int wake,
                             const volatile sig_atomic_t *stop)
{
    int lock = lock_spool(s, stop);
    if (lock < 0) {
        return lock == -2 ? DELIVER_FAILED : DELIVER_ENDED;
    }
    struct courier courier;
    bool ended = true, opened = courier_open(&courier, c, s, wake);
    if (opened) {
        stats_set(STAT_COURIER, getpid());
        run(&courier, stop);
        ended = dests_stop(courier.dests, c->drain_timeout);
        collect(&courier);
    }
    if (ended) {
        courier_close(&courier);
        close(lock);
    } else { /* the threads still use all of it, the lock included: it ends with the process */
        log_warn("a delivery did not end within %u s; its recipients may get the message twice",
                 c->drain_timeout);
    }
    return !opened ? DELIVER_FAILED : ended ? DELIVER_ENDED : DELIVER_BUSY;
}
