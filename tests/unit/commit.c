/* commit.c: those who come together share their flushes, and who comes alone waits for nobody. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

enum { CLIENTS = 64, ROUNDS = 10, FLUSH_MS = 20 };

/* ---- a disk whose flushes take their time (Makefile: --wrap) --------------------------------- */

static _Atomic unsigned flushes;
static _Atomic bool broken;

int __wrap_fsync(int fd);
int __wrap_syncfs(int fd);

static int slow(long call, int fd)
{
    flushes++;
    poll(NULL, 0, FLUSH_MS);
    if (broken) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(call, fd);
}

static bool broken_directories;

int __wrap_fsync(int fd)
{
    struct stat st;
    if (broken_directories && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        errno = EIO;
        return -1;
    }
    return slow(SYS_fsync, fd);
}

int __wrap_syncfs(int fd)
{
    return slow(SYS_syncfs, fd);
}

static _Atomic unsigned gathered;

int __real_pthread_cond_timedwait(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
int __wrap_pthread_cond_timedwait(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

/* The thread waits for company. */
int __wrap_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t)
{
    gathered++;
    return __real_pthread_cond_timedwait(c, m, t);
}

/* ---- a front without a network --------------------------------------------------------------- */

struct place {
    char dir[64];
    char spool[96];
    struct spool s;
    int wake[2];
    struct form *fields;
    struct once *once;
    struct oncelog log;
    struct commits *commits;
    unsigned made;
    struct submission submissions[CLIENTS];
};

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    char why[512];
    struct buf none;
    const struct form_limits limits = {.body = 1024, .fields = 4, .files = 1};
    broken = false;
    text_copy(p->dir, sizeof p->dir, "/tmp/formbridge-commit-XXXXXX");
    buf_init(&none, 1);
    p->fields = form_new(FORM_URLENCODED, &none, &none, &limits);
    form_feed(p->fields, "name=Ada", 8);
    if (mkdtemp(p->dir) == NULL || !text_fmt(p->spool, sizeof p->spool, "%s/spool", p->dir) ||
        !spool_open(&p->s, p->spool, why, sizeof why) || !stats_open() || !form_end(p->fields) ||
        pipe2(p->wake, O_NONBLOCK | O_CLOEXEC) != 0) {
        return -1;
    }
    p->once = once_new();
    p->log = (struct oncelog){.once = p->once, .fd = -1};
    p->commits = p->once == NULL ? NULL : commit_start(&p->s, p->wake[1], -1, &p->log);
    flushes = 0;
    *state = p;
    return p->commits == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    char command[160];
    commit_stop(p->commits);
    once_free(p->once);
    spool_close(&p->s);
    form_free(p->fields);
    close(p->wake[0]);
    close(p->wake[1]);
    text_fmt(command, sizeof command, "rm -rf %s", p->dir);
    int rc = system(command);
    free(p);
    return rc;
}

static void submit(struct place *p, struct submission *s)
{
    static char address[] = "owner@example.com", *to[] = {address};
    unsigned char random[8] = {0};
    *s = (struct submission){.owner = p};
    p->made++;
    random[6] = (unsigned char)(p->made >> 8);
    random[7] = (unsigned char)p->made;
    spool_ref(s->ref, random);
    s->message = (struct message){.hostname = "localhost",
                                  .form = "order",
                                  .ref = s->ref,
                                  .time = 1795305136,
                                  .from = address,
                                  .to = to,
                                  .to_count = 1,
                                  .subject = "Order",
                                  .peer = "127.0.0.1",
                                  .protocol = "HTTPS",
                                  .fields = p->fields};
    commit_submit(p->commits, s);
}

static struct submission *collect(struct place *p)
{
    struct submission *done = NULL;
    while (done == NULL) {
        struct pollfd fd = {.fd = commit_fd(p->commits), .events = POLLIN};
        assert_int_equal(poll(&fd, 1, 30000), 1);
        done = commit_collect(p->commits);
    }
    return done;
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* Half of them come while the others are synced: without a wait for those just answered there would be two groups for
 * good, and two flushes for each round of each. */
static void two_groups_of_busy_clients_become_one(void **state)
{
    struct place *p = *state;
    size_t rounds[CLIENTS] = {0}, left = CLIENTS;
    for (size_t i = 0; i < CLIENTS / 2; i++) {
        submit(p, &p->submissions[i]);
    }
    poll(NULL, 0, FLUSH_MS + FLUSH_MS / 2);
    for (size_t i = CLIENTS / 2; i < CLIENTS; i++) {
        submit(p, &p->submissions[i]);
    }
    while (left > 0) {
        for (struct submission *s = collect(p), *next; s != NULL; s = next) {
            next = s->next;
            assert_int_equal(s->draft.error, 0);
            if (++rounds[s - p->submissions] < ROUNDS) {
                submit(p, s);
            } else {
                left--;
            }
        }
    }
    assert_int_equal(spool_count(p->s.queue), CLIENTS * ROUNDS);
    assert_in_range(flushes, 2 * ROUNDS, 3 * ROUNDS);
}

static void all_once(struct place *p, int error)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        submit(p, &p->submissions[i]);
    }
    for (size_t done = 0; done < CLIENTS;) {
        for (struct submission *s = collect(p); s != NULL; s = s->next) {
            assert_int_equal(s->draft.error, error);
            done++;
        }
    }
}

static void one_alone_waits_for_nobody(void **state)
{
    struct place *p = *state;
    all_once(p, 0); /* afterwards they are waited for, once */
    submit(p, &p->submissions[0]);
    collect(p);
    flushes = gathered = 0;
    for (int i = 0; i < 4; i++) {
        submit(p, &p->submissions[0]);
        assert_ptr_equal(collect(p), &p->submissions[0]);
    }
    assert_int_equal(flushes, 8); /* its file, and its name */
    assert_int_equal(gathered, 0);
}

static void a_lot_that_cannot_be_synced_is_stored_for_nobody(void **state)
{
    struct place *p = *state;
    broken = true;
    all_once(p, EIO);
    assert_int_equal(spool_count(p->s.queue), 0);
    char byte;
    assert_int_equal(read(p->wake[0], &byte, 1), -1);
}

static void what_waits_at_the_end_is_finished(void **state)
{
    struct place *p = *state;
    for (size_t i = 0; i < CLIENTS; i++) {
        submit(p, &p->submissions[i]);
    }
    commit_stop(p->commits);
    assert_int_equal(spool_count(p->s.queue), CLIENTS);
    p->commits = commit_start(&p->s, p->wake[1], -1, &p->log);
    assert_non_null(p->commits);
}

/* The first was answered; a repeat takes its place, and then cannot be made durable. */
static void a_repeat_that_fails_leaves_the_first(void **state)
{
    struct place *p = *state;
    for (int repeat = 0; repeat < 2; repeat++) {
        struct draft d, *drafts[] = {&d};
        (repeat ? spool_begin_again : spool_begin)(&p->s, &d, 1795305136, "0000-0000-0000", "order");
        assert_true(d.sink.put(&d.sink, "mail", 4));
        broken_directories = repeat;
        spool_commit(&p->s, drafts, 1);
        broken_directories = false;
        assert_int_equal(d.error, repeat ? EIO : 0);
        assert_int_equal(spool_count(p->s.queue), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(two_groups_of_busy_clients_become_one, setup, teardown),
        cmocka_unit_test_setup_teardown(one_alone_waits_for_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lot_that_cannot_be_synced_is_stored_for_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(a_repeat_that_fails_leaves_the_first, setup, teardown),
        cmocka_unit_test_setup_teardown(what_waits_at_the_end_is_finished, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
