/* deliver.c and dest.c: what is queued reaches every destination, waits, or is held; whoever kills or steers
 * it.
 *
 * The courier runs in a thread of the test, against real directories and an LMTP server on a unix socket that
 * answers by the local part of each recipient: "defer..." 451, "refuse..." 550, anything else 250. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE = 10000 }; /* milliseconds until a test gives up */

struct host { /* the LMTP server */
    pthread_t thread;
    int listener;
    int stop[2];
    _Atomic unsigned sessions, messages, deferred;
    _Atomic bool hang_up; /* instead of answering MAIL */
    _Atomic bool deaf;    /* answer no command at all until told to stop */
};

struct place {
    char dir[64], spool[96], maildir[96], second[96], socket[96];
    char maildir_text[112], second_text[112], lmtp_text[112];
    struct spool s;
    struct target targets[2];
    char *to[3];
    struct form_conf form;
    struct conf conf;
    struct host host;
    int wake[2];
    volatile sig_atomic_t stop;
    pthread_t courier;
    bool running;
    int64_t now;
    unsigned char number;
};

/* ---- the LMTP server ------------------------------------------------------------------------- */

static bool say(int fd, const char *line)
{
    return send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line);
}

static bool hear(FILE *in, char *line, size_t size)
{
    return fgets(line, (int)size, in) != NULL;
}

static bool take_message(FILE *in, int fd, unsigned accepted)
{
    char line[1200];
    say(fd, "354 go on\r\n");
    do {
        if (!hear(in, line, sizeof line)) {
            return false;
        }
    } while (strcmp(line, ".\r\n") != 0);
    for (unsigned i = 0; i < accepted; i++) {
        say(fd, "250 2.0.0 taken\r\n");
    }
    return true;
}

static void serve(struct host *h, int fd)
{
    FILE *in = fdopen(fd, "r");
    char line[1200];
    unsigned accepted = 0;
    say(fd, "220 test LMTP\r\n");
    while (hear(in, line, sizeof line)) {
        if (h->deaf) {
            char byte;
            ssize_t n = read(h->stop[0], &byte, 1);
            (void)n;
            break;
        }
        if (strncmp(line, "LHLO", 4) == 0) {
            say(fd, "250-test\r\n250 8BITMIME\r\n");
        } else if (strncmp(line, "MAIL", 4) == 0) {
            accepted = 0;
            if (h->hang_up) {
                break;
            }
            say(fd, "250 2.1.0 ok\r\n");
        } else if (strncmp(line, "RCPT TO:<defer", 14) == 0) {
            h->deferred++;
            say(fd, "451 4.3.0 later\r\n");
        } else if (strncmp(line, "RCPT TO:<refuse", 15) == 0) {
            say(fd, "550 5.1.1 nobody here\r\n");
        } else if (strncmp(line, "RCPT", 4) == 0) {
            accepted++;
            say(fd, "250 2.1.5 ok\r\n");
        } else if (strncmp(line, "DATA", 4) == 0) {
            if (!take_message(in, fd, accepted)) {
                break;
            }
            h->messages++;
        } else if (strncmp(line, "QUIT", 4) == 0) {
            say(fd, "221 2.0.0 bye\r\n");
            break;
        } else {
            say(fd, "250 2.0.0 ok\r\n");
        }
    }
    fclose(in);
}

static void *host_thread(void *arg)
{
    struct host *h = arg;
    struct pollfd fds[] = {{.fd = h->listener, .events = POLLIN}, {.fd = h->stop[0], .events = POLLIN}};
    while (poll(fds, 2, -1) > 0 && fds[1].revents == 0) {
        int fd = accept(h->listener, NULL, NULL);
        if (fd >= 0) {
            h->sessions++;
            serve(h, fd);
        }
    }
    return NULL;
}

static void host_start(struct place *p)
{
    struct host *h = &p->host;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    text_copy(addr.sun_path, sizeof addr.sun_path, p->socket);
    unlink(p->socket);
    h->sessions = h->messages = 0;
    h->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(h->listener, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(h->listener, 5), 0);
    assert_int_equal(pipe(h->stop), 0);
    assert_int_equal(pthread_create(&h->thread, NULL, host_thread, h), 0);
}

static void host_stop(struct place *p)
{
    struct host *h = &p->host;
    assert_int_equal(write(h->stop[1], "xx", 2), 2);
    pthread_join(h->thread, NULL);
    close(h->listener);
    close(h->stop[0]);
    close(h->stop[1]);
    unlink(p->socket);
}

/* ---- the place and the courier --------------------------------------------------------------- */

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    char why[512];
    text_copy(p->dir, sizeof p->dir, "/tmp/formbridge-deliver-XXXXXX");
    if (mkdtemp(p->dir) == NULL || !stats_open()) {
        return -1;
    }
    text_fmt(p->spool, sizeof p->spool, "%s/spool", p->dir);
    text_fmt(p->maildir, sizeof p->maildir, "%s/Maildir", p->dir);
    text_fmt(p->second, sizeof p->second, "%s/Second", p->dir);
    text_fmt(p->socket, sizeof p->socket, "%s/lmtp", p->dir);
    text_fmt(p->maildir_text, sizeof p->maildir_text, "maildir:%s", p->maildir);
    text_fmt(p->second_text, sizeof p->second_text, "maildir:%s", p->second);
    text_fmt(p->lmtp_text, sizeof p->lmtp_text, "lmtp:%s", p->socket);
    p->to[0] = (char *)"orders@example.com";
    p->targets[0] = (struct target){.kind = TARGET_MAILDIR, .text = p->maildir_text, .path = p->maildir};
    p->form = (struct form_conf){.name = (char *)"order",
                                 .to = p->to,
                                 .to_count = 1,
                                 .from = (char *)"website@example.com",
                                 .targets = p->targets,
                                 .target_count = 1};
    p->conf = (struct conf){.hostname = (char *)"forms.example.com",
                            .forms = &p->form,
                            .retry_min = 60,
                            .retry_max = 3600,
                            .max_age = 5 * 86400,
                            .drain_timeout = 10};
    p->now = time(NULL);
    *state = p;
    return spool_open(&p->s, p->spool, why, sizeof why) && maildir_check(p->maildir, why, sizeof why) ? 0
                                                                                                      : -1;
}

static void courier_stop(struct place *p)
{
    if (p->running) {
        p->stop = 1;
        assert_int_equal(write(p->wake[1], "", 1), 1);
        pthread_join(p->courier, NULL);
        close(p->wake[0]);
        close(p->wake[1]);
        p->running = false;
    }
}

static int teardown(void **state)
{
    struct place *p = *state;
    char command[160];
    courier_stop(p);
    spool_close(&p->s);
    text_fmt(command, sizeof command, "rm -rf %s", p->dir);
    int rc = system(command);
    free(p);
    return rc;
}

static void *courier_thread(void *arg)
{
    struct place *p = arg;
    deliver_run(&p->conf, &p->s, p->wake[0], &p->stop);
    return NULL;
}

static void courier_start(struct place *p)
{
    p->stop = 0;
    assert_int_equal(pipe2(p->wake, O_NONBLOCK | O_CLOEXEC), 0);
    assert_int_equal(pthread_create(&p->courier, NULL, courier_thread, p), 0);
    p->running = true;
}

/* A committed message; name receives its name. */
static void queue_as(struct place *p, char *name, int64_t time, const char *form, bool spam)
{
    struct draft d, *drafts[] = {&d};
    unsigned char random[8] = {0, 0, 0, 0, 0, 0, 0, p->number++};
    char ref[REF_SIZE];
    spool_ref(ref, random);
    spool_begin(&p->s, &d, time, ref, form);
    if (spam) {
        spool_mark_spam(&p->s, &d);
    }
    d.sink.put(&d.sink, "Subject: x\n\nline\n", 17);
    spool_commit(&p->s, drafts, 1);
    assert_int_equal(d.error, 0);
    if (name != NULL) {
        text_copy(name, SPOOL_NAME_SIZE, d.name);
    }
}

static void queue(struct place *p, char *name, int64_t time, const char *form)
{
    queue_as(p, name, time, form, false);
}

static void wake(struct place *p)
{
    assert_int_equal(write(p->wake[1], "", 1), 1);
}

/* Messages, or with states: states. */
static size_t entries(int directory, bool states)
{
    size_t n = 0;
    char name[SPOOL_NAME_SIZE];
    DIR *dir = spool_list(directory);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        bool state = spool_state_of(e->d_name, name);
        bool written = state && strstr(e->d_name, ".state") != NULL;
        n += e->d_name[0] != '.' && (states ? written : !state) ? 1 : 0;
    }
    closedir(dir);
    return n;
}

static size_t mails(const char *maildir)
{
    char path[128];
    text_fmt(path, sizeof path, "%s/new", maildir);
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    size_t n = fd < 0 ? 0 : entries(fd, false);
    if (fd >= 0) {
        close(fd);
    }
    return n;
}

static bool empty_queue(struct place *p)
{
    return entries(p->s.queue, false) == 0 && entries(p->s.queue, true) == 0;
}

#define EVENTUALLY(condition)                                                                                \
    do {                                                                                                     \
        int left_ = PATIENCE;                                                                                \
        for (; left_ > 0 && !(condition); left_ -= 10) {                                                     \
            poll(NULL, 0, 10);                                                                               \
        }                                                                                                    \
        assert_true(left_ > 0);                                                                              \
    } while (0)

/* As a person would, once the courier is there. */
static void flush(struct place *p)
{
    int fd = -1;
    EVENTUALLY((fd = openat(p->s.root, "wake", O_WRONLY | O_NONBLOCK)) >= 0);
    assert_int_equal(write(fd, "", 1), 1);
    close(fd);
}

static struct state state_of(int directory, const char *name)
{
    struct state st;
    assert_true(spool_state_read(directory, name, &st));
    return st;
}

static bool has_state(int directory, const char *name)
{
    char file[128];
    text_fmt(file, sizeof file, "%s.state", name);
    return faccessat(directory, file, F_OK, 0) == 0;
}

static void use_lmtp(struct place *p, size_t target)
{
    p->targets[target] = (struct target){.kind = TARGET_LMTP, .text = p->lmtp_text, .path = p->socket};
    p->form.target_count = target + 1;
}

/* ---- the tests ------------------------------------------------------------------------------- */

static void what_was_queued_before_and_after_the_start_is_delivered(void **state)
{
    struct place *p = *state;
    queue(p, NULL, p->now, "order");
    queue(p, NULL, p->now - 100, "order");
    courier_start(p);
    EVENTUALLY(mails(p->maildir) == 2 && empty_queue(p));
    queue(p, NULL, p->now, "order");
    wake(p);
    EVENTUALLY(mails(p->maildir) == 3 && empty_queue(p));
    courier_stop(p);
    assert_int_equal(stats_get(STAT_QUEUED), 0);
}

static void every_crash_state_ends_with_one_mail(void **state)
{
    struct place *p = *state;
    char name[SPOOL_NAME_SIZE];
    struct draft d;
    struct state st = {.since = 0};

    spool_begin(&p->s, &d, p->now, "0000-0000-000A", "order"); /* died while writing */
    d.sink.put(&d.sink, "x", 1);
    queue(p, name, p->now, "order"); /* died after the link, before the removal */
    struct parcel parcel = {.name = name, .form = "order", .size = 17};
    maildir_deliver(p->maildir, "forms.example.com", &p->s, &parcel, 1);
    queue(p, name, p->now, "order"); /* died after its state said that all is done */
    state_target(&st, p->maildir_text)->done = true;
    spool_state_write(p->s.queue, name, &st);
    state_free(&st);
    queue(p, name, p->now, "order"); /* died between held/NAME.state and the rename */
    state_text(&st.held, "x");
    spool_state_write(p->s.held, name, &st);
    state_free(&st);

    courier_start(p);
    EVENTUALLY(empty_queue(p));
    courier_stop(p);
    assert_int_equal(mails(p->maildir), 2);
    assert_int_equal(entries(p->s.tmp, false), 1);
    spool_abandon(&p->s, &d);
}

static void a_mailbox_that_fails_is_probed_by_one_message(void **state)
{
    struct place *p = *state;
    char path[128], moved[128];
    text_fmt(path, sizeof path, "%s/new", p->maildir);
    text_fmt(moved, sizeof moved, "%s/away", p->maildir);
    assert_int_equal(rename(path, moved), 0);
    for (int i = 0; i < 20; i++) {
        queue(p, NULL, p->now - i, "order");
    }
    int64_t before = stats_get(STAT_DELIVERY_DEFERRED);
    courier_start(p);
    EVENTUALLY(entries(p->s.queue, true) == 1);
    poll(NULL, 0, 300);
    assert_int_equal(stats_get(STAT_DELIVERY_DEFERRED) - before, 1);
    assert_int_equal(entries(p->s.queue, false), 20);
    EVENTUALLY(stats_get(STAT_QUEUED) == 20);

    assert_int_equal(rename(moved, path), 0); /* repaired, and told so */
    flush(p);
    EVENTUALLY(mails(p->maildir) == 20 && empty_queue(p));
}

static void a_folder_that_fails_holds_up_no_other_mail(void **state)
{
    struct place *p = *state;
    char path[128];
    text_fmt(path, sizeof path, "%s/.Junk", p->maildir);
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)); /* no directory */
    p->form.junk = (char *)".Junk";
    for (int i = 0; i < 20; i++) {
        queue_as(p, NULL, p->now - i, "order", true);
    }
    courier_start(p);
    EVENTUALLY(entries(p->s.queue, true) == 20);
    queue(p, NULL, p->now, "order");
    wake(p);
    EVENTUALLY(mails(p->maildir) == 1 && entries(p->s.queue, false) == 20);

    assert_int_equal(unlink(path), 0);
    flush(p);
    EVENTUALLY(mails(path) == 20 && empty_queue(p));
}

static void a_failure_is_remembered_with_its_reason_and_time(void **state)
{
    struct place *p = *state;
    char name[SPOOL_NAME_SIZE];
    use_lmtp(p, 0); /* nobody listens there */
    queue(p, name, p->now, "order");
    courier_start(p);
    EVENTUALLY(has_state(p->s.queue, name));
    courier_stop(p);
    struct state st = state_of(p->s.queue, name);
    const struct state_target *t = state_find(&st, p->lmtp_text);
    assert_non_null(t);
    assert_int_equal(t->tries, 1);
    assert_true(t->next_try >= p->now + 45 && t->next_try <= time(NULL) + 60);
    assert_non_null(strstr(t->reason, p->socket));
    state_free(&st);

    host_start(p); /* a restart does not shorten the wait */
    courier_start(p);
    poll(NULL, 0, 300);
    assert_int_equal(p->host.sessions, 0);
    flush(p); /* a person does */
    EVENTUALLY(empty_queue(p));
    assert_int_equal(p->host.messages, 1);
    courier_stop(p);
    host_stop(p);
}

static bool state_failed(const struct place *p, const char *name)
{
    struct state st = state_of(p->s.queue, name);
    const struct state_target *lmtp = state_find(&st, p->lmtp_text), *box = state_find(&st, p->maildir_text);
    bool both = lmtp != NULL && lmtp->failed != NULL && box != NULL && box->tries == 1;
    state_free(&st);
    return both;
}

static void each_recipient_has_a_fate_of_its_own(void **state)
{
    struct place *p = *state;
    char name[SPOOL_NAME_SIZE];
    use_lmtp(p, 0);
    p->to[1] = (char *)"defer@example.com";
    p->to[2] = (char *)"refuse@example.com";
    p->form.to_count = 3;
    host_start(p);
    queue(p, name, p->now, "order");
    courier_start(p);
    EVENTUALLY(has_state(p->s.queue, name));
    struct state st = state_of(p->s.queue, name);
    const struct state_target *t = state_find(&st, p->lmtp_text);
    assert_null(state_recipient(t, "orders@example.com")->failed);
    assert_null(state_recipient(t, "defer@example.com"));
    assert_non_null(strstr(state_recipient(t, "refuse@example.com")->failed, "nobody here"));
    assert_non_null(strstr(t->reason, "later"));
    state_free(&st);
    assert_int_equal(p->host.messages, 1);
    courier_stop(p);

    p->to[1] = (char *)"now@example.com"; /* as if the host took it now; nobody else gets it again */
    courier_start(p);
    flush(p);
    EVENTUALLY(entries(p->s.held, false) == 1);
    assert_int_equal(p->host.messages, 2);
    EVENTUALLY(empty_queue(p));
    st = state_of(p->s.held, name);
    assert_non_null(strstr(st.held, "nobody here"));
    state_free(&st);
    courier_stop(p);
    host_stop(p);
}

static void a_failed_target_does_not_keep_the_others_waiting(void **state)
{
    struct place *p = *state;
    char name[SPOOL_NAME_SIZE], why[512];
    use_lmtp(p, 1);
    p->to[0] = (char *)"refuse@example.com";
    host_start(p);
    queue(p, name, p->now, "order");
    courier_start(p);
    EVENTUALLY(entries(p->s.held, false) == 1);
    assert_int_equal(mails(p->maildir), 1);
    EVENTUALLY(stats_get(STAT_HELD) == 1);
    courier_stop(p);
    struct state st = state_of(p->s.held, name);
    assert_true(state_find(&st, p->maildir_text)->done);
    state_free(&st);

    /* Released by hand after a repair: only who lacks it gets it, and a renamed target is a new one. */
    p->targets[1] = (struct target){.kind = TARGET_MAILDIR, .text = p->second_text, .path = p->second};
    assert_true(maildir_check(p->second, why, sizeof why));
    char file[128];
    text_fmt(file, sizeof file, "%s.state", name);
    assert_int_equal(renameat(p->s.held, file, p->s.queue, file), 0);
    assert_int_equal(renameat(p->s.held, name, p->s.queue, name), 0);
    courier_start(p);
    EVENTUALLY(mails(p->second) == 1 && empty_queue(p));
    assert_int_equal(mails(p->maildir), 1);
    courier_stop(p);
    host_stop(p);
}

static void say_held(struct place *p, const char *name)
{
    struct state st = state_of(p->s.queue, name);
    assert_true(state_text(&st.held, "held by a person"));
    assert_true(spool_state_write(p->s.queue, name, &st));
    state_free(&st);
}

static bool says_held(const struct place *p, const char *name)
{
    struct state st = state_of(p->s.queue, name);
    bool held = st.held != NULL;
    state_free(&st);
    return held;
}

/* As `queue hold` and `queue release` leave it, between two scans that both see the message in queue/. */
static void what_was_held_and_released_between_two_scans_is_released(void **state)
{
    struct place *p = *state;
    char name[SPOOL_NAME_SIZE], path[128], moved[128];
    text_fmt(path, sizeof path, "%s/new", p->maildir);
    text_fmt(moved, sizeof moved, "%s/away", p->maildir);
    assert_int_equal(rename(path, moved), 0);
    use_lmtp(p, 1);
    p->to[0] = (char *)"refuse@example.com";
    host_start(p);
    queue(p, name, p->now - 1000, "order");
    courier_start(p);
    EVENTUALLY(has_state(p->s.queue, name) && state_failed(p, name));
    say_held(p, name);
    p->to[0] = (char *)"orders@example.com"; /* put right, as the mailbox is */
    assert_int_equal(rename(moved, path), 0);
    flush(p);
    EVENTUALLY(empty_queue(p));
    assert_int_equal(mails(p->maildir), 1);
    EVENTUALLY(p->host.messages == 1);
    assert_int_equal(entries(p->s.held, false), 0);
    courier_stop(p);
    host_stop(p);
}

/* One that its host has put off, and that a person then held and released. */
static void begin_released(struct place *p, char *name)
{
    use_lmtp(p, 0);
    p->to[0] = (char *)"defer@example.com";
    host_start(p);
    queue(p, name, p->now, "order");
    courier_start(p);
    EVENTUALLY(has_state(p->s.queue, name));
    say_held(p, name);
}

static void what_fails_after_such_a_release_is_held_for_that_reason(void **state)
{
    struct place *p = *state;
    char name[SPOOL_NAME_SIZE];
    begin_released(p, name);
    p->to[0] = (char *)"refuse@example.com";
    flush(p);
    EVENTUALLY(entries(p->s.held, false) == 1);
    courier_stop(p);
    struct state st = state_of(p->s.held, name);
    assert_non_null(strstr(st.held, "nobody here"));
    state_free(&st);
    host_stop(p);
}

/* The message is between two scans then, and is in no queue that could be told. */
static void a_flush_that_comes_at_once_after_such_a_release_is_not_lost(void **state)
{
    struct place *p = *state;
    char name[SPOOL_NAME_SIZE];
    begin_released(p, name);
    flush(p);
    EVENTUALLY(!says_held(p, name));
    p->to[0] = (char *)"orders@example.com";
    flush(p);
    EVENTUALLY(empty_queue(p));
    courier_stop(p);
    host_stop(p);
}

static bool hides_states;
struct dirent *__real_readdir(DIR *dir);
struct dirent *__wrap_readdir(DIR *dir);

/* What is renamed into a directory while it is read may be missed (readdir(3)). */
struct dirent *__wrap_readdir(DIR *dir)
{
    struct dirent *e;
    do {
        e = __real_readdir(dir);
    } while (hides_states && e != NULL && strstr(e->d_name, ".state") != NULL);
    return e;
}

static void a_state_that_the_scan_did_not_see_counts_all_the_same(void **state)
{
    struct place *p = *state;
    char name[SPOOL_NAME_SIZE], why[512];
    struct state st = {.targets = NULL};
    p->targets[1] = (struct target){.kind = TARGET_MAILDIR, .text = p->second_text, .path = p->second};
    p->form.target_count = 2;
    assert_true(maildir_check(p->second, why, sizeof why));
    queue(p, name, p->now, "order");
    state_target(&st, p->maildir_text)->done = true;
    assert_true(spool_state_write(p->s.queue, name, &st));
    state_free(&st);
    hides_states = true;
    courier_start(p);
    EVENTUALLY(mails(p->second) == 1 && entries(p->s.queue, false) == 0);
    courier_stop(p);
    hides_states = false;
    assert_int_equal(mails(p->maildir), 0); /* it has it already */
    assert_int_equal(entries(p->s.queue, true), 0);
}

static void a_slow_host_stalls_nobody_else(void **state)
{
    struct place *p = *state;
    use_lmtp(p, 1);
    p->host.deaf = true;
    host_start(p);
    for (int i = 0; i < 30; i++) {
        queue(p, NULL, p->now, "order");
    }
    courier_start(p);
    EVENTUALLY(mails(p->maildir) == 30);
    assert_int_equal(entries(p->s.queue, false), 30);
    EVENTUALLY(entries(p->s.queue, true) == 30); /* that the Maildir has it */
    p->host.deaf = false;
    host_stop(p);
}

static void one_connection_carries_many_messages(void **state)
{
    struct place *p = *state;
    use_lmtp(p, 0);
    host_start(p);
    for (int i = 0; i < 50; i++) {
        queue(p, NULL, p->now, "order");
    }
    courier_start(p);
    EVENTUALLY(empty_queue(p));
    assert_int_equal(p->host.sessions, 1);
    assert_int_equal(p->host.messages, 50);
    courier_stop(p);
    host_stop(p);
}

static void a_host_that_hangs_up_costs_one_message_a_try(void **state)
{
    struct place *p = *state;
    use_lmtp(p, 0);
    p->host.hang_up = true;
    host_start(p);
    for (int i = 0; i < 5; i++) {
        queue(p, NULL, p->now, "order");
    }
    courier_start(p);
    EVENTUALLY(entries(p->s.queue, true) == 1);
    poll(NULL, 0, 300);
    assert_int_equal(entries(p->s.queue, true), 1);
    assert_int_equal(p->host.sessions, 1);
    p->host.hang_up = false;
    flush(p);
    EVENTUALLY(empty_queue(p));
    assert_int_equal(p->host.messages, 5);
    courier_stop(p);
    host_stop(p);
}

static void a_host_that_puts_everything_off_is_left_alone(void **state)
{
    struct place *p = *state;
    use_lmtp(p, 0);
    p->to[0] = (char *)"defer@example.com";
    host_start(p);
    for (int i = 0; i < 40; i++) {
        queue(p, NULL, p->now, "order");
    }
    courier_start(p);
    EVENTUALLY(entries(p->s.queue, true) == 8);
    poll(NULL, 0, 300);
    assert_int_equal(entries(p->s.queue, true), 8);
    courier_stop(p);
    host_stop(p);
}

static void one_full_mailbox_does_not_stall_the_others_of_its_host(void **state)
{
    struct place *p = *state;
    use_lmtp(p, 0);
    p->to[1] = (char *)"defer@example.com";
    p->form.to_count = 2;
    host_start(p);
    for (int i = 0; i < 40; i++) {
        queue(p, NULL, p->now, "order");
    }
    courier_start(p);
    EVENTUALLY(p->host.messages == 40); /* every one reached the recipient who takes it */
    courier_stop(p);
    host_stop(p);
}

static void the_newest_message_finds_out_whether_a_host_works_again(void **state)
{
    struct place *p = *state;
    char *other_to[] = {(char *)"alice@example.com"};
    struct form_conf other = p->form;
    use_lmtp(p, 0);
    other.name = (char *)"other";
    other.to = other_to;
    p->form.next = &other;
    p->to[0] = (char *)"defer@example.com";
    p->conf.retry_min = p->conf.retry_max = 1;
    host_start(p);
    for (int i = 0; i < 40; i++) {
        queue(p, NULL, p->now - 60, "order");
    }
    courier_start(p);
    EVENTUALLY(entries(p->s.queue, true) >= 8); /* they have spoken for the host */
    queue(p, NULL, p->now, "other");
    wake(p);
    EVENTUALLY(p->host.messages == 1); /* it does not wait until each of them has been tried again */
    courier_stop(p);
    host_stop(p);
}

static void a_disk_that_takes_no_state_makes_no_second_mail(void **state)
{
    struct place *p = *state;
    char name[SPOOL_NAME_SIZE], file[SPOOL_NAME_SIZE + 8];
    use_lmtp(p, 0);
    p->to[1] = (char *)"defer@example.com";
    p->form.to_count = 2;
    p->conf.retry_min = p->conf.retry_max = 1;
    host_start(p);
    queue(p, name, p->now, "order");
    text_fmt(file, sizeof file, "%s.new", name);
    assert_int_equal(mkdirat(p->s.queue, file, 0700), 0); /* in its way */
    courier_start(p);
    EVENTUALLY(p->host.deferred >= 3);
    courier_stop(p);
    assert_int_equal(p->host.messages, 1);
    host_stop(p);
    assert_int_equal(unlinkat(p->s.queue, file, AT_REMOVEDIR), 0);
}

static void how_long_it_was_tried_is_said_in_a_unit_that_fits(void **state)
{
    struct place *p = *state;
    static const struct {
        unsigned age;
        const char *words;
    } cases[] = {{40, "in 40 seconds:"}, {90 * 60, "in 90 minutes:"}, {2 * 3600, "in 2 hours:"}};
    use_lmtp(p, 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        char name[SPOOL_NAME_SIZE];
        p->conf.max_age = cases[i].age;
        queue(p, name, p->now - cases[i].age, "order");
        courier_start(p);
        EVENTUALLY(entries(p->s.held, false) == i + 1);
        courier_stop(p);
        struct state st = state_of(p->s.held, name);
        assert_non_null(strstr(st.held, cases[i].words));
        state_free(&st);
    }
}

static void what_is_too_old_is_held_after_a_last_try(void **state)
{
    struct place *p = *state;
    char old[SPOOL_NAME_SIZE], older[SPOOL_NAME_SIZE], young[SPOOL_NAME_SIZE];
    use_lmtp(p, 0);
    queue(p, older, p->now - 6 * 86400, "order");
    queue(p, old, p->now - 5 * 86400, "order");
    queue(p, young, p->now - 86400, "order");
    courier_start(p);
    EVENTUALLY(entries(p->s.held, false) == 1);
    wake(p); /* the other one waits for the host that has failed it */
    EVENTUALLY(entries(p->s.held, false) == 2);
    courier_stop(p);
    struct state st = state_of(p->s.held, old);
    assert_non_null(strstr(st.held, "not delivered in 120 hours"));
    assert_non_null(strstr(st.held, p->socket));
    state_free(&st);
    assert_int_equal(faccessat(p->s.queue, young, F_OK, 0), 0);

    char file[128]; /* released: its age counts from now */
    text_fmt(file, sizeof file, "%s.state", old);
    assert_int_equal(renameat(p->s.held, file, p->s.queue, file), 0);
    assert_int_equal(renameat(p->s.held, old, p->s.queue, old), 0);
    courier_start(p);
    EVENTUALLY(has_state(p->s.queue, old));
    poll(NULL, 0, 300);
    assert_int_equal(faccessat(p->s.queue, old, F_OK, 0), 0);
    courier_stop(p);
    st = state_of(p->s.queue, old);
    assert_true(st.since >= p->now);
    assert_null(st.held);
    state_free(&st);
}

static void a_form_that_left_the_config_holds_its_mail(void **state)
{
    struct place *p = *state;
    char name[SPOOL_NAME_SIZE];
    queue(p, name, p->now, "booking");
    courier_start(p);
    EVENTUALLY(entries(p->s.held, false) == 1);
    struct state st = state_of(p->s.held, name);
    assert_non_null(strstr(st.held, "[form booking]"));
    state_free(&st);
    EVENTUALLY(empty_queue(p));
}

static void a_person_may_take_a_message_at_any_time(void **state)
{
    struct place *p = *state;
    char name[SPOOL_NAME_SIZE], other[SPOOL_NAME_SIZE];
    use_lmtp(p, 0);
    queue(p, name, p->now, "order");
    queue(p, other, p->now, "order");
    courier_start(p);
    EVENTUALLY(entries(p->s.queue, true) == 1);
    assert_int_equal(unlinkat(p->s.queue, name, 0), 0);
    EVENTUALLY(stats_get(STAT_QUEUED) == 2);
    wake(p);
    EVENTUALLY(stats_get(STAT_QUEUED) == 1);
    assert_int_equal(unlinkat(p->s.queue, other, 0), 0);
    flush(p);
    EVENTUALLY(stats_get(STAT_QUEUED) == 0);
    assert_int_equal(entries(p->s.held, false), 0);
}

static void files_that_are_not_ours_are_left_alone(void **state)
{
    struct place *p = *state;
    char name[SPOOL_NAME_SIZE]; /* of today: what is too old is held, whatever it is */
    close(openat(p->s.queue, "README", O_CREAT | O_WRONLY, 0600));
    queue(p, name, p->now, "order");
    assert_int_equal(unlinkat(p->s.queue, name, 0), 0);
    assert_int_equal(mkdirat(p->s.queue, name, 0700), 0);
    queue(p, NULL, p->now, "order");
    courier_start(p);
    EVENTUALLY(mails(p->maildir) == 1);
    assert_int_equal(faccessat(p->s.queue, "README", F_OK, 0), 0);
    courier_stop(p);
    assert_int_equal(unlinkat(p->s.queue, name, AT_REMOVEDIR), 0);
}

static void a_damaged_state_costs_a_second_delivery_and_no_mail(void **state)
{
    struct place *p = *state;
    char name[SPOOL_NAME_SIZE], file[128];
    queue(p, name, p->now, "order");
    text_fmt(file, sizeof file, "%s.state", name);
    int fd = openat(p->s.queue, file, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "formbr", 6), 6);
    close(fd);
    courier_start(p);
    EVENTUALLY(mails(p->maildir) == 1 && empty_queue(p));
}

static void two_couriers_take_turns(void **state)
{
    struct place *p = *state;
    int lock = openat(p->s.root, "lock", O_RDWR | O_CREAT, 0600);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    queue(p, NULL, p->now, "order");
    courier_start(p);
    poll(NULL, 0, 400);
    assert_int_equal(mails(p->maildir), 0);
    courier_stop(p); /* also while it waits */
    courier_start(p);
    assert_int_equal(flock(lock, LOCK_UN), 0);
    EVENTUALLY(mails(p->maildir) == 1);
    close(lock);
}

static void waits_double_up_to_the_cap_and_differ(void **state)
{
    (void)state;
    static const unsigned waits[] = {60, 60, 120, 240, 480, 960, 1920, 3600, 3600};
    for (unsigned i = 0; i < COUNT(waits); i++) {
        assert_int_equal(dest_backoff(i, 60, 3600, 0), waits[i]);
        assert_int_equal(dest_backoff(i, 60, 3600, waits[i] / 4), waits[i] - waits[i] / 4);
    }
    assert_int_equal(dest_backoff(1000, 60, UINT32_MAX, 0), UINT32_MAX);
    assert_int_equal(dest_backoff(5, 0, 0, 7), 1);
}

/* No file can grow: what a full disk is to everything but links and renames. */
static void disk_full(bool full)
{
    struct rlimit limit = {full ? 0 : RLIM_INFINITY, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_delivery_that_cannot_be_noted_is_not_forgotten(void **state)
{
    struct place *p = *state;
    char path[128], moved[128];
    text_fmt(path, sizeof path, "%s/new", p->maildir);
    text_fmt(moved, sizeof moved, "%s/away", p->maildir);
    assert_int_equal(rename(path, moved), 0);
    use_lmtp(p, 1);
    host_start(p);
    queue(p, NULL, p->now, "order");
    int64_t before = stats_get(STAT_DELIVERY_DEFERRED);
    disk_full(true);
    courier_start(p);
    EVENTUALLY(p->host.messages == 1 && stats_get(STAT_DELIVERY_DEFERRED) > before);
    poll(NULL, 0, 200);
    bool noted = entries(p->s.queue, true) > 0;
    disk_full(false);
    assert_false(noted);
    assert_int_equal(rename(moved, path), 0);
    flush(p);
    EVENTUALLY(mails(p->maildir) == 1 && empty_queue(p));
    assert_int_equal(p->host.messages, 1);
    courier_stop(p);
    host_stop(p);
}

static void what_cannot_be_held_yet_is_held_later(void **state)
{
    struct place *p = *state;
    char name[SPOOL_NAME_SIZE];
    queue(p, name, p->now, "booking");
    disk_full(true);
    courier_start(p);
    poll(NULL, 0, 300);
    bool waits = entries(p->s.queue, false) == 1 && entries(p->s.held, false) == 0;
    disk_full(false);
    assert_true(waits);
    wake(p);
    EVENTUALLY(entries(p->s.held, false) == 1);
    assert_true(has_state(p->s.held, name));
}

/* Not a test of speed: what it prints is for people. */
static void a_long_queue_is_read_and_emptied(void **state)
{
    struct place *p = *state;
    enum { MESSAGES = 5000 };
    for (unsigned i = 0; i < MESSAGES; i++) {
        char name[SPOOL_NAME_SIZE], ref[REF_SIZE];
        unsigned char random[8] = {0, 0, 0, 0, 0, 1, (unsigned char)(i >> 8), (unsigned char)i};
        spool_ref(ref, random);
        text_fmt(name, sizeof name, "20261121T235216Z.%s.order", ref);
        int fd = openat(p->s.queue, name, O_CREAT | O_EXCL | O_WRONLY, 0600);
        assert_int_equal(write(fd, "x\n", 2), 2);
        close(fd);
    }
    struct timespec a, b, c;
    p->conf.max_age = UINT32_MAX;
    clock_gettime(CLOCK_MONOTONIC, &a);
    courier_start(p);
    while (stats_get(STAT_QUEUED) == 0) {
        poll(NULL, 0, 1);
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    size_t before = MESSAGES + 1; /* as long as it moves it may take its time: disks differ by a thousand */
    for (size_t waits = MESSAGES; waits > 0 && waits < before; waits = entries(p->s.queue, false)) {
        before = waits;
        for (int left = PATIENCE; left > 0 && entries(p->s.queue, false) == waits; left -= 100) {
            poll(NULL, 0, 100);
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &c);
    assert_true(empty_queue(p));
    assert_int_equal(mails(p->maildir), MESSAGES);
    print_message("%d messages: found in %.3f s, in the Maildir after %.3f s\n", MESSAGES,
                  (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9,
                  (double)(c.tv_sec - a.tv_sec) + (double)(c.tv_nsec - a.tv_nsec) / 1e9);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_queued_before_and_after_the_start_is_delivered),
        TEST(every_crash_state_ends_with_one_mail),
        TEST(a_mailbox_that_fails_is_probed_by_one_message),
        TEST(a_folder_that_fails_holds_up_no_other_mail),
        TEST(a_failure_is_remembered_with_its_reason_and_time),
        TEST(each_recipient_has_a_fate_of_its_own),
        TEST(a_failed_target_does_not_keep_the_others_waiting),
        TEST(what_was_held_and_released_between_two_scans_is_released),
        TEST(what_fails_after_such_a_release_is_held_for_that_reason),
        TEST(a_flush_that_comes_at_once_after_such_a_release_is_not_lost),
        TEST(a_state_that_the_scan_did_not_see_counts_all_the_same),
        TEST(a_slow_host_stalls_nobody_else),
        TEST(one_connection_carries_many_messages),
        TEST(a_host_that_hangs_up_costs_one_message_a_try),
        TEST(a_host_that_puts_everything_off_is_left_alone),
        TEST(one_full_mailbox_does_not_stall_the_others_of_its_host),
        TEST(the_newest_message_finds_out_whether_a_host_works_again),
        TEST(a_disk_that_takes_no_state_makes_no_second_mail),
        TEST(how_long_it_was_tried_is_said_in_a_unit_that_fits),
        TEST(what_is_too_old_is_held_after_a_last_try),
        TEST(a_form_that_left_the_config_holds_its_mail),
        TEST(a_person_may_take_a_message_at_any_time),
        TEST(files_that_are_not_ours_are_left_alone),
        TEST(a_damaged_state_costs_a_second_delivery_and_no_mail),
        TEST(a_delivery_that_cannot_be_noted_is_not_forgotten),
        TEST(what_cannot_be_held_yet_is_held_later),
        TEST(two_couriers_take_turns),
        cmocka_unit_test(waits_double_up_to_the_cap_and_differ),
        TEST(a_long_queue_is_read_and_emptied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
