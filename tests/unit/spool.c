/* spool.c: what is answered with success is on the disk whole, and nothing else is left behind. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char ref[] = "7K2M-Q9XD-4TRW";
static const int64_t when = 1795305136; /* 2026-11-21 23:52:16 */
static const char name[] = "20261121T235216Z.7K2M-Q9XD-4TRW.order";

struct place {
    char dir[64];
    char spool[96];
    struct spool s;
};

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    char why[512];
    text_copy(p->dir, sizeof p->dir, "/tmp/formbridge-spool-XXXXXX");
    if (mkdtemp(p->dir) == NULL || !text_fmt(p->spool, sizeof p->spool, "%s/spool", p->dir) ||
        !spool_open(&p->s, p->spool, why, sizeof why) || !stats_open()) {
        return -1;
    }
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    char command[160];
    spool_close(&p->s);
    text_fmt(command, sizeof command, "rm -rf %s", p->dir);
    int rc = system(command);
    free(p);
    return rc;
}

static size_t entries(int directory)
{
    size_t n = 0;
    DIR *dir = spool_list(directory);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        n += e->d_name[0] != '.';
    }
    closedir(dir);
    return n;
}

static bool holds(int directory, const char *file, const char *text)
{
    char bytes[4096];
    int fd = openat(directory, file, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
    if (fd >= 0) {
        close(fd);
    }
    return n == (ssize_t)strlen(text) && memcmp(bytes, text, (size_t)n) == 0;
}

static void receipts_are_twelve_letters_that_cannot_be_misread(void **state)
{
    (void)state;
    char out[REF_SIZE];
    const unsigned char zero[8] = {0}, ones[8] = {255, 255, 255, 255, 255, 255, 255, 255};
    spool_ref(out, zero);
    assert_string_equal(out, "0000-0000-0000");
    spool_ref(out, ones);
    assert_string_equal(out, "ZZZZ-ZZZZ-ZZZZ");
    for (unsigned i = 0; i < 256; i++) {
        unsigned char random[8] = {0, 0, 0, 0, 0, 0, 0, (unsigned char)i};
        spool_ref(out, random);
        assert_int_equal(strlen(out), REF_LEN);
        assert_null(strpbrk(out, "ILOU"));
    }
}

static void names_say_time_receipt_and_form(void **state)
{
    struct place *p = *state;
    const int64_t times[] = {0, 951782400 /* 2000-02-29 */, 1709164799, when, 4102444799};
    for (size_t i = 0; i < COUNT(times); i++) {
        struct draft d;
        spool_begin(&p->s, &d, times[i], ref, "order_2-b");
        assert_int_equal(d.error, 0);
        int64_t time;
        char r[REF_SIZE], form[FORM_NAME_MAX + 1];
        assert_true(spool_name_parse(d.name, &time, r, form));
        assert_int_equal(time, times[i]);
        assert_string_equal(r, ref);
        assert_string_equal(form, "order_2-b");
        spool_abandon(&p->s, &d);
    }
}

/* What a front that died left is in the way of no other: the message takes its own place. */
static void a_message_that_is_there_already_takes_its_own_place(void **state)
{
    struct place *p = *state;
    struct draft left, d, *all[] = {&d};
    spool_begin(&p->s, &left, when, ref, "order");
    left.sink.put(&left.sink, "half", 4);
    spool_begin_again(&p->s, &d, when, ref, "order");
    d.sink.put(&d.sink, "whole", 5);
    spool_commit(&p->s, all, 1);
    assert_int_equal(d.error, 0);
    assert_true(holds(p->s.queue, name, "whole"));
    assert_int_equal(entries(p->s.tmp), 0);
    close(left.fd);
    buf_free(&left.pending);

    spool_begin_again(&p->s, &d, when, ref, "order");
    d.sink.put(&d.sink, "again", 5);
    spool_commit(&p->s, all, 1);
    assert_int_equal(d.error, 0);
    assert_true(holds(p->s.queue, name, "again"));

    spool_begin(&p->s, &d, when, ref, "order");
    d.sink.put(&d.sink, "other", 5);
    spool_commit(&p->s, all, 1);
    assert_int_equal(d.error, EEXIST);
    assert_true(holds(p->s.queue, name, "again"));
    assert_int_equal(entries(p->s.queue), 1);
}

static void names_that_are_not_ours_are_told_apart(void **state)
{
    (void)state;
    static const char *const others[] = {
        "",
        ".",
        "lost+found",
        "20261121T235216Z",
        "20261121T235216Z.7K2M-Q9XD-4TRW.",
        "20261121T235216Z.7K2M-Q9XD-4TRW",
        "20261121T235216Z.7K2M-Q9XD-4TRW.order.state",
        "20261121T235216Z.7K2M-Q9XD-4TRW.order.spam.spam",
        "20261121T235216Z.7K2M-Q9XD-4TRW.order.spa",
        "20261121T235216Z.7K2M-Q9XD-4TRW..spam",
        "20261121T235216Z.7K2M-Q9XD-4TRW.spam.",
        "20261121T235216Z.7K2M-Q9XD-4TRW.Order",
        "20261121T235216Z.7K2M-Q9XD-4TRW.a/b",
        "20261121T235216Z.7k2m-q9xd-4trw.order",
        "20261121T235216Z.7K2M-Q9XD-4TRU.order",
        "20261121T235216Z.7K2MQ-9XD-4TRW.order",
        "20260231T235216Z.7K2M-Q9XD-4TRW.order",
        "20261321T235216Z.7K2M-Q9XD-4TRW.order",
        "20261121T245216Z.7K2M-Q9XD-4TRW.order",
        "20261121T235260Z.7K2M-Q9XD-4TRW.order",
        "2026112 T235216Z.7K2M-Q9XD-4TRW.order",
        "19691231T235959Z.7K2M-Q9XD-4TRW.order",
        "20261121X235216Z.7K2M-Q9XD-4TRW.order",
        "20261121T235216Z.7K2M-Q9XD-4TRW.a23456789012345678901234567890123",
    };
    int64_t time;
    char r[REF_SIZE], form[FORM_NAME_MAX + 1];
    assert_true(spool_name_parse(name, &time, r, form));
    for (size_t i = 0; i < COUNT(others); i++) {
        assert_false(spool_name_parse(others[i], &time, r, form));
    }
}

static void the_name_of_a_marked_message_says_so(void **state)
{
    struct place *p = *state;
    struct draft d, *drafts[] = {&d};
    int64_t time;
    char r[REF_SIZE], form[FORM_NAME_MAX + 1], of[SPOOL_NAME_SIZE];
    static const char longest[] = "a2345678901234567890123456789012",
                      marked[] = "20261121T235216Z.7K2M-Q9XD-4TRW.a2345678901234567890123456789012.spam";
    spool_begin(&p->s, &d, when, ref, longest);
    assert_false(spool_name_spam(d.name));
    spool_mark_spam(&p->s, &d);
    assert_true(d.sink.put(&d.sink, "x\n", 2));
    spool_commit(&p->s, drafts, 1);
    assert_int_equal(d.error, 0);
    assert_string_equal(d.name, marked);
    assert_true(holds(p->s.queue, marked, "x\n"));
    assert_int_equal(entries(p->s.tmp), 0);
    assert_true(spool_name_spam(marked) && spool_name_parse(marked, &time, r, form));
    assert_string_equal(form, longest);
    assert_true(
        spool_state_of("20261121T235216Z.7K2M-Q9XD-4TRW.a2345678901234567890123456789012.spam.state", of));
    assert_string_equal(of, marked);
    assert_false(spool_name_spam(".spam"));

    /* Given up, it leaves nothing behind. */
    spool_begin(&p->s, &d, when, ref, "order");
    spool_mark_spam(&p->s, &d);
    spool_abandon(&p->s, &d);
    assert_int_equal(entries(p->s.tmp), 0);
}

static void a_committed_message_is_whole_and_private(void **state)
{
    struct place *p = *state;
    struct draft d, *drafts[] = {&d};
    spool_begin(&p->s, &d, when, ref, "order");
    assert_true(d.sink.put(&d.sink, "To: a@example.com\n", 18));
    assert_true(d.sink.put(&d.sink, "\nx\n", 3));
    assert_int_equal(entries(p->s.queue), 0);
    spool_commit(&p->s, drafts, 1);
    assert_int_equal(d.error, 0);
    assert_int_equal(d.size, 21);
    assert_true(holds(p->s.queue, name, "To: a@example.com\n\nx\n"));
    assert_int_equal(entries(p->s.tmp), 0);
    struct stat st;
    assert_int_equal(fstatat(p->s.queue, name, &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void pieces_of_any_size_arrive_in_order(void **state)
{
    struct place *p = *state;
    const size_t sizes[] = {1, 65535, 1, 65536, 65537, 200000, 3, 65530, 10};
    struct draft d, *drafts[] = {&d};
    unsigned char *bytes = malloc(600000);
    size_t total = 0;
    for (size_t i = 0; i < 600000; i++) {
        bytes[i] = (unsigned char)(i * 7 + i / 251);
    }
    spool_begin(&p->s, &d, when, ref, "order");
    for (size_t i = 0; i < COUNT(sizes); i++) {
        assert_true(d.sink.put(&d.sink, bytes + total, sizes[i]));
        total += sizes[i];
    }
    spool_commit(&p->s, drafts, 1);
    assert_int_equal(d.error, 0);
    assert_int_equal(d.size, total);
    unsigned char *back = malloc(600000);
    int fd = openat(p->s.queue, name, O_RDONLY);
    assert_int_equal(read(fd, back, 600000), (ssize_t)total);
    assert_memory_equal(back, bytes, total);
    close(fd);
    free(back);
    free(bytes);
}

static void begin_group(struct place *p, struct draft *group, struct draft **drafts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char random[8] = {0, 1, 2, 3, 4, 5, 6, (unsigned char)i};
        char r[REF_SIZE];
        spool_ref(r, random);
        spool_begin(&p->s, &group[i], when, r, "order");
        assert_true(group[i].sink.put(&group[i].sink, "x\n", 2));
        drafts[i] = &group[i];
    }
}

static void a_group_shares_its_syncs(void **state)
{
    struct place *p = *state;
    struct draft group[40], *drafts[40];
    int64_t before = stats_get(STAT_COMMIT_SYNCS);
    begin_group(p, group, drafts, 40);
    spool_commit(&p->s, drafts, 40);
    assert_int_equal(stats_get(STAT_COMMIT_SYNCS) - before, 2);
    assert_int_equal(entries(p->s.queue), 40);

    before = stats_get(STAT_COMMIT_SYNCS);
    spool_begin(&p->s, &group[0], when + 1, ref, "order");
    spool_commit(&p->s, drafts, 1);
    assert_int_equal(stats_get(STAT_COMMIT_SYNCS) - before, 2);
    assert_int_equal(entries(p->s.queue), 41);
}

static void a_message_is_never_overwritten(void **state)
{
    struct place *p = *state;
    struct draft a, b, c, *first[] = {&a}, *second[] = {&b};
    spool_begin(&p->s, &a, when, ref, "order");
    a.sink.put(&a.sink, "first", 5);
    spool_begin(&p->s, &c, when, ref, "order"); /* while a is being written */
    assert_int_equal(c.error, EEXIST);
    spool_abandon(&p->s, &c);
    spool_commit(&p->s, first, 1);
    assert_int_equal(a.error, 0);

    spool_begin(&p->s, &b, when, ref, "order"); /* while a is committed */
    b.sink.put(&b.sink, "second", 6);
    spool_commit(&p->s, second, 1);
    assert_int_equal(b.error, EEXIST);
    assert_true(holds(p->s.queue, name, "first"));
    assert_int_equal(entries(p->s.tmp), 0);
}

static void an_abandoned_draft_leaves_nothing(void **state)
{
    struct place *p = *state;
    struct draft d;
    spool_begin(&p->s, &d, when, ref, "order");
    d.sink.put(&d.sink, "x", 1);
    spool_abandon(&p->s, &d);
    assert_int_equal(entries(p->s.tmp), 0);
    assert_int_equal(entries(p->s.queue), 0);
    assert_null(d.pending.data);
}

static void a_file_that_cannot_grow_fails_alone(void **state)
{
    struct place *p = *state;
    struct draft group[3], *drafts[3];
    signal(SIGXFSZ, SIG_IGN);
    begin_group(p, group, drafts, 3);
    unsigned char *big = calloc(1, 200000);
    group[1].sink.put(&group[1].sink, big, 60000); /* still in memory: found at the commit */
    struct rlimit old, limit = {50000, RLIM_INFINITY};
    getrlimit(RLIMIT_FSIZE, &old);
    setrlimit(RLIMIT_FSIZE, &limit);
    assert_false(group[2].sink.put(&group[2].sink, big, 200000)); /* found at once, and sticky */
    assert_int_equal(group[2].error, EFBIG);
    assert_false(group[2].sink.put(&group[2].sink, "x", 1));
    spool_commit(&p->s, drafts, 3);
    setrlimit(RLIMIT_FSIZE, &old);
    free(big);
    assert_int_equal(group[0].error, 0);
    assert_int_equal(group[1].error, EFBIG);
    assert_int_equal(group[2].error, EFBIG);
    assert_int_equal(entries(p->s.queue), 1);
    assert_int_equal(entries(p->s.tmp), 0);
}

/* A spool on a file system of 64 kB. false: only root may mount, the test is for another day. */
static bool small_disk(struct place *p, struct spool *s, char *dir, size_t size)
{
    char why[512], options[] = "size=64k";
    text_fmt(dir, size, "%s/disk", p->dir);
    if (mkdir(dir, 0700) != 0 || mount("none", dir, "tmpfs", 0, options) != 0) {
        return false;
    }
    chmod(dir, 0700);
    return spool_open(s, dir, why, sizeof why);
}

static void a_full_disk_is_an_error_and_leaves_nothing(void **state)
{
    struct place *p = *state;
    struct spool s;
    char dir[128];
    if (!small_disk(p, &s, dir, sizeof dir)) {
        skip();
    }
    struct draft d, *drafts[] = {&d};
    unsigned char *big = calloc(1, 100000);
    spool_begin(&s, &d, when, ref, "order");
    d.sink.put(&d.sink, big, 50000);
    d.sink.put(&d.sink, big, 50000);
    spool_commit(&s, drafts, 1);
    assert_int_equal(d.error, ENOSPC);
    assert_int_equal(entries(s.tmp) + entries(s.queue), 0);
    free(big);

    assert_int_equal(mount("none", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
    spool_begin(&s, &d, when, ref, "order");
    assert_int_equal(d.error, EROFS);
    spool_commit(&s, drafts, 1);
    assert_int_equal(d.error, EROFS);
    spool_close(&s);
    umount(dir);
}

static void a_failed_directory_sync_takes_the_group_back(void **state)
{
    struct place *p = *state;
    struct draft group[3], *drafts[3];
    begin_group(p, group, drafts, 3);
    /* A descriptor that names the directory and cannot be synced. */
    struct spool broken = p->s;
    broken.queue = openat(p->s.queue, ".", O_PATH | O_DIRECTORY);
    spool_commit(&broken, drafts, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(group[i].error, EBADF);
    }
    assert_int_equal(entries(p->s.queue), 0);
    assert_int_equal(entries(p->s.tmp), 0);
    close(broken.queue);
}

static void a_failed_group_sync_is_asked_again_for_each_file(void **state)
{
    struct place *p = *state;
    struct draft group[10], *drafts[10];
    begin_group(p, group, drafts, 10);
    struct spool broken = p->s;
    broken.tmp = openat(p->s.tmp, ".", O_PATH | O_DIRECTORY);
    spool_commit(&broken, drafts, 10);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(group[i].error, 0);
    }
    assert_int_equal(entries(p->s.queue), 10);
    close(broken.tmp);
}

static void a_sweep_removes_drafts_and_only_drafts(void **state)
{
    struct place *p = *state;
    struct draft d, e, *drafts[] = {&e};
    spool_begin(&p->s, &d, when, ref, "order");
    spool_begin(&p->s, &e, when + 1, ref, "order");
    spool_commit(&p->s, drafts, 1);
    assert_int_equal(spool_sweep(&p->s), 1);
    assert_int_equal(spool_sweep(&p->s), 0);
    assert_int_equal(entries(p->s.queue), 1);
    spool_abandon(&p->s, &d);
}

static void a_spool_that_others_may_write_to_is_refused(void **state)
{
    struct place *p = *state;
    struct spool s;
    char why[512], path[128];
    chmod(p->spool, 0770);
    assert_false(spool_open(&s, p->spool, why, sizeof why));
    assert_non_null(strstr(why, "chmod go-w"));
    chmod(p->spool, 0700);
    if (geteuid() == 0) { /* only root can give it away */
        assert_int_equal(chown(p->spool, 65533, (gid_t)-1), 0);
        assert_false(spool_open(&s, p->spool, why, sizeof why));
        assert_non_null(strstr(why, "chown"));
        assert_int_equal(chown(p->spool, 0, (gid_t)-1), 0);
    }
    text_fmt(path, sizeof path, "%s/queue", p->spool);
    chmod(path, 0702);
    assert_false(spool_open(&s, p->spool, why, sizeof why));
    assert_non_null(strstr(why, "queue"));
}

static void a_spool_that_cannot_be_is_explained(void **state)
{
    struct place *p = *state;
    struct spool s;
    char why[512], path[128];
    text_fmt(path, sizeof path, "%s/no/such", p->dir);
    assert_false(spool_open(&s, path, why, sizeof why));
    assert_non_null(strstr(why, "parent directory does not exist"));
    text_fmt(path, sizeof path, "%s/file", p->dir);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_false(spool_open(&s, path, why, sizeof why));
    assert_non_null(strstr(why, "must be a directory"));
}

static void a_queue_on_another_file_system_is_refused(void **state)
{
    struct place *p = *state;
    struct spool s;
    char why[512], path[128];
    text_fmt(path, sizeof path, "%s/queue", p->spool);
    if (mount("none", path, "tmpfs", 0, "mode=0700") != 0) {
        skip();
    }
    bool ok = spool_open(&s, p->spool, why, sizeof why);
    umount(path);
    assert_false(ok);
    assert_non_null(strstr(why, "another file system"));
}

static void what_a_retry_needs_is_kept_and_replaced_whole(void **state)
{
    struct place *p = *state;
    struct state st = {.since = 5}, back;
    assert_true(spool_state_read(p->s.queue, name, &back)); /* none: nothing to remember */
    assert_null(back.targets);
    state_text(&state_target(&st, "main")->reason, "451 later");
    assert_true(spool_state_write(p->s.queue, name, &st));
    state_target(&st, "main")->tries = 2;
    assert_true(spool_state_write(p->s.queue, name, &st));
    assert_int_equal(entries(p->s.queue), 1);
    assert_true(spool_state_read(p->s.queue, name, &back));
    assert_int_equal(back.since, 5);
    assert_int_equal(state_find(&back, "main")->tries, 2);
    state_free(&back);

    signal(SIGXFSZ, SIG_IGN);
    struct rlimit old, limit = {10, RLIM_INFINITY};
    getrlimit(RLIMIT_FSIZE, &old);
    setrlimit(RLIMIT_FSIZE, &limit);
    state_target(&st, "main")->tries = 3;
    bool ok = spool_state_write(p->s.queue, name, &st);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_false(ok);
    assert_true(spool_state_read(p->s.queue, name, &back)); /* the old one stands */
    assert_int_equal(state_find(&back, "main")->tries, 2);
    state_free(&back);
    state_free(&st);
    spool_state_remove(p->s.queue, name);
    assert_int_equal(entries(p->s.queue), 0);
}

static void a_damaged_state_is_an_error(void **state)
{
    struct place *p = *state;
    struct state st;
    char file[128];
    text_fmt(file, sizeof file, "%s.state", name);
    int fd = openat(p->s.queue, file, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "nonsense\n", 9), 9);
    close(fd);
    assert_false(spool_state_read(p->s.queue, name, &st));
    assert_null(st.targets);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(receipts_are_twelve_letters_that_cannot_be_misread),
        TEST(names_say_time_receipt_and_form),
        TEST(a_message_that_is_there_already_takes_its_own_place),
        TEST(names_that_are_not_ours_are_told_apart),
        TEST(the_name_of_a_marked_message_says_so),
        TEST(a_committed_message_is_whole_and_private),
        TEST(pieces_of_any_size_arrive_in_order),
        TEST(a_group_shares_its_syncs),
        TEST(a_message_is_never_overwritten),
        TEST(an_abandoned_draft_leaves_nothing),
        TEST(a_file_that_cannot_grow_fails_alone),
        TEST(a_full_disk_is_an_error_and_leaves_nothing),
        TEST(a_failed_directory_sync_takes_the_group_back),
        TEST(a_failed_group_sync_is_asked_again_for_each_file),
        TEST(a_sweep_removes_drafts_and_only_drafts),
        TEST(a_spool_that_others_may_write_to_is_refused),
        TEST(a_spool_that_cannot_be_is_explained),
        TEST(a_queue_on_another_file_system_is_refused),
        TEST(what_a_retry_needs_is_kept_and_replaced_whole),
        TEST(a_damaged_state_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
