/* mailbox.c, maildir.c, mbox.c: a mail is in the mailbox whole, once, and durable, or it is not there and says why. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static const int64_t when = 1795305136; /* 2026-11-21 23:52:16, a Saturday */
static const char text[] = "Subject: Order\n\n2 apples\n";

struct place {
    char dir[64];
    char maildir[96], mbox[96];
    struct spool s;
};

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    char why[512], spool[96];
    text_copy(p->dir, sizeof p->dir, "/tmp/formbridge-mailbox-XXXXXX");
    if (mkdtemp(p->dir) == NULL || !stats_open()) {
        return -1;
    }
    text_fmt(spool, sizeof spool, "%s/spool", p->dir);
    text_fmt(p->maildir, sizeof p->maildir, "%s/Maildir", p->dir);
    text_fmt(p->mbox, sizeof p->mbox, "%s/mbox", p->dir);
    *state = p;
    return spool_open(&p->s, spool, why, sizeof why) && maildir_check(p->maildir, why, sizeof why) ? 0 : -1;
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

/* A message in the queue, and the parcel for it. */
static struct parcel queued(struct place *p, struct draft *d, unsigned char number, const char *content,
                            size_t len)
{
    struct draft *drafts[] = {d};
    unsigned char random[8] = {0, 0, 0, 0, 0, 0, 0, number};
    char ref[REF_SIZE];
    spool_ref(ref, random);
    spool_begin(&p->s, d, when, ref, "order");
    d->sink.put(&d->sink, content, len);
    spool_commit(&p->s, drafts, 1);
    assert_int_equal(d->error, 0);
    return (struct parcel){.name = d->name, .form = "order", .from = "website@example.com", .size = d->size};
}

static struct parcel queued_text(struct place *p, struct draft *d, unsigned char number)
{
    return queued(p, d, number, text, sizeof text - 1);
}

static size_t entries(const char *dir, const char *part)
{
    char path[256];
    size_t n = 0;
    text_fmt(path, sizeof path, "%s/%s", dir, part);
    DIR *d = opendir(path);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        n += e->d_name[0] != '.';
    }
    closedir(d);
    return n;
}

static char *content(const char *path)
{
    static char bytes[1 << 20];
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? 0 : read(fd, bytes, sizeof bytes - 1);
    if (fd >= 0) {
        close(fd);
    }
    bytes[n < 0 ? 0 : n] = '\0';
    return bytes;
}

/* ---- Maildir --------------------------------------------------------------------------------- */

static void the_name_in_new_comes_from_the_name_in_the_spool(void **state)
{
    struct place *p = *state;
    struct draft d;
    char path[256];
    struct parcel parcel = queued_text(p, &d, 1);
    maildir_deliver(p->maildir, "forms.example.com", &p->s, &parcel, 1);
    assert_int_equal(parcel.result.outcome, OUTCOME_DONE);
    text_fmt(path, sizeof path, "%s/new/1795305136.R1000-0000-0000.forms.example.com,S=25,W=28", p->maildir);
    assert_string_equal(content(path), text);
    assert_int_equal(entries(p->maildir, "tmp"), 0);
    struct stat st;
    stat(path, &st);
    assert_int_equal(st.st_nlink, 2); /* linked, not copied */
}

static void a_host_name_cannot_leave_the_directory_or_pass_for_flags(void **state)
{
    struct place *p = *state;
    struct draft d;
    char path[256];
    struct parcel parcel = queued_text(p, &d, 1);
    maildir_deliver(p->maildir, "a/b:2,S", &p->s, &parcel, 1);
    assert_int_equal(parcel.result.outcome, OUTCOME_DONE);
    text_fmt(path, sizeof path, "%s/new/1795305136.R1000-0000-0000.a\\057b\\0722\\054S,S=25,W=28",
             p->maildir);
    assert_int_equal(access(path, F_OK), 0);

    char host[HOST_NAME_MAX_ + 1];
    memset(host, '/', sizeof host - 1);
    host[sizeof host - 1] = '\0';
    parcel = queued_text(p, &d, 2);
    maildir_deliver(p->maildir, host, &p->s, &parcel, 1);
    assert_int_equal(parcel.result.outcome, OUTCOME_DONE);
    assert_int_equal(entries(p->maildir, "new"), 2);
}

static void a_second_delivery_after_a_crash_is_not_a_second_mail(void **state)
{
    struct place *p = *state;
    struct draft d;
    struct parcel parcel = queued_text(p, &d, 1);
    for (int i = 0; i < 3; i++) {
        maildir_deliver(p->maildir, "forms.example.com", &p->s, &parcel, 1);
        assert_int_equal(parcel.result.outcome, OUTCOME_DONE);
        assert_int_equal(entries(p->maildir, "new"), 1);
    }
}

static struct parcel queued_for(struct place *p, struct draft *d, unsigned char number, const char *folder)
{
    struct parcel parcel = queued_text(p, d, number);
    parcel.folder = folder;
    return parcel;
}

static void each_parcel_goes_to_its_folder_which_is_made(void **state)
{
    struct place *p = *state;
    struct draft d[5];
    struct parcel parcels[] = {queued_for(p, &d[0], 1, ".Junk"), queued_for(p, &d[1], 2, NULL),
                               queued_for(p, &d[2], 3, ".Mail.Junk"), queued_for(p, &d[3], 4, ".Junk"),
                               queued_for(p, &d[4], 5, NULL)};
    char path[256];
    struct stat st;
    for (int i = 0; i < 2; i++) { /* what is there already is not doubled */
        maildir_deliver(p->maildir, "h", &p->s, parcels, COUNT(parcels));
        for (size_t k = 0; k < COUNT(parcels); k++) {
            assert_int_equal(parcels[k].result.outcome, OUTCOME_DONE);
        }
        assert_int_equal(entries(p->maildir, "new"), 2);
        assert_int_equal(entries(p->maildir, ".Junk/new"), 2);
        assert_int_equal(entries(p->maildir, ".Mail.Junk/new"), 1);
    }
    text_fmt(path, sizeof path, "%s/.Junk/maildirfolder", p->maildir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_int_equal(entries(p->maildir, ".Junk"), 4);
}

static void a_folder_that_is_half_made_is_completed(void **state)
{
    struct place *p = *state;
    struct draft d;
    struct parcel parcel = queued_for(p, &d, 1, ".Junk");
    char path[256], why[512];
    text_fmt(path, sizeof path, "%s/.Junk", p->maildir);
    assert_int_equal(mkdir(path, 0700), 0);
    text_fmt(path, sizeof path, "%s/.Junk/tmp", p->maildir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_true(maildir_check_folder(p->maildir, ".Junk", why, sizeof why));
    maildir_deliver(p->maildir, "h", &p->s, &parcel, 1);
    assert_int_equal(parcel.result.outcome, OUTCOME_DONE);
    assert_int_equal(entries(p->maildir, ".Junk/new"), 1);
    assert_true(maildir_check(p->maildir, why, sizeof why));
    assert_true(maildir_check_folder(p->maildir, ".Junk", why, sizeof why));
}

static void a_folder_that_fails_takes_only_its_own_with_it(void **state)
{
    struct place *p = *state;
    struct draft d[2];
    struct parcel parcels[] = {queued_for(p, &d[0], 1, ".Junk"), queued_for(p, &d[1], 2, NULL)};
    char path[256], why[512];
    text_fmt(path, sizeof path, "%s/.Junk", p->maildir);
    assert_int_equal(symlink("/tmp", path), 0); /* its owner does not choose where else we write */
    maildir_deliver(p->maildir, "h", &p->s, parcels, COUNT(parcels));
    assert_int_equal(parcels[0].result.outcome, OUTCOME_TEMPORARY);
    assert_int_equal(parcels[1].result.outcome, OUTCOME_DONE);
    assert_int_equal(unlink(path), 0);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    maildir_deliver(p->maildir, "h", &p->s, parcels, COUNT(parcels));
    assert_int_equal(parcels[0].result.outcome, OUTCOME_TEMPORARY);
    assert_false(maildir_check_folder(p->maildir, ".Junk", why, sizeof why));
    assert_non_null(strstr(why, "/.Junk/tmp: Not a directory"));
}

/* A Maildir on a file system of its own: only root may mount. */
static bool other_disk(struct place *p, char *maildir, size_t size, const char *options)
{
    char why[512], dir[128];
    text_fmt(dir, sizeof dir, "%s/disk", p->dir);
    text_fmt(maildir, size, "%s/Maildir", dir);
    return mkdir(dir, 0700) == 0 && mount("none", dir, "tmpfs", 0, options) == 0 &&
           maildir_check(maildir, why, sizeof why);
}

static void other_disk_gone(struct place *p)
{
    char dir[128];
    text_fmt(dir, sizeof dir, "%s/disk", p->dir);
    assert_int_equal(umount(dir), 0);
}

static void another_file_system_gets_a_whole_copy(void **state)
{
    struct place *p = *state;
    char maildir[160], path[256];
    if (!other_disk(p, maildir, sizeof maildir, "size=1m")) {
        skip();
    }
    struct draft d;
    char *big = malloc(100001);
    for (size_t i = 0; i < 100001; i++) {
        big[i] = (char)('a' + i % 23);
    }
    struct parcel parcel = queued(p, &d, 1, big, 100001);

    /* What a crash in the middle of a copy leaves does not matter. */
    text_fmt(path, sizeof path, "%s/tmp/1795305136.R1000-0000-0000.h,S=100001,W=100003", maildir);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    for (int i = 0; i < 2; i++) { /* nor that it was there already */
        maildir_deliver(maildir, "h", &p->s, &parcel, 1);
        assert_int_equal(parcel.result.outcome, OUTCOME_DONE);
        assert_int_equal(entries(maildir, "tmp"), 0);
        assert_int_equal(entries(maildir, "new"), 1);
    }
    text_fmt(path, sizeof path, "%s/new/1795305136.R1000-0000-0000.h,S=100001,W=100003", maildir);
    char *back = content(path);
    assert_memory_equal(back, big, 100001);
    struct stat st;
    stat(path, &st);
    assert_int_equal(st.st_mode & 07777, 0600);
    free(big);
    other_disk_gone(p);
}

static void a_full_disk_shows_nothing_and_says_so(void **state)
{
    struct place *p = *state;
    char maildir[160];
    if (!other_disk(p, maildir, sizeof maildir, "size=64k")) {
        skip();
    }
    struct draft big, small;
    char *bytes = calloc(1, 300000);
    struct parcel parcels[] = {queued(p, &big, 1, bytes, 300000), queued_text(p, &small, 2)};
    free(bytes);
    maildir_deliver(maildir, "h", &p->s, parcels, 2);
    assert_int_equal(parcels[0].result.outcome, OUTCOME_TEMPORARY);
    assert_non_null(strstr(parcels[0].result.reason, maildir));
    assert_non_null(strstr(parcels[0].result.reason, "make room"));
    assert_int_equal(parcels[1].result.outcome, OUTCOME_DONE);
    assert_int_equal(entries(maildir, "new"), 1);
    assert_int_equal(entries(maildir, "tmp"), 0);

    char dir[128];
    text_fmt(dir, sizeof dir, "%s/disk", p->dir);
    assert_int_equal(mount("none", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
    maildir_deliver(maildir, "h", &p->s, parcels, 1);
    assert_int_equal(parcels[0].result.outcome, OUTCOME_TEMPORARY);
    assert_non_null(strstr(parcels[0].result.reason, "writable"));
    other_disk_gone(p);
}

static void a_missing_maildir_makes_the_mail_wait(void **state)
{
    struct place *p = *state;
    struct draft d, e;
    char path[160], moved[160];
    struct parcel parcels[] = {queued_text(p, &d, 1), queued_text(p, &e, 2)};
    text_fmt(path, sizeof path, "%s/none", p->dir);
    maildir_deliver(path, "h", &p->s, parcels, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(parcels[i].result.outcome, OUTCOME_TEMPORARY);
        assert_non_null(strstr(parcels[i].result.reason, "create it"));
    }
    text_fmt(path, sizeof path, "%s/new", p->maildir);
    text_fmt(moved, sizeof moved, "%s/elsewhere", p->maildir);
    rename(path, moved);
    maildir_deliver(p->maildir, "h", &p->s, parcels, 1);
    assert_int_equal(parcels[0].result.outcome, OUTCOME_TEMPORARY);
}

static void a_message_that_left_the_queue_is_not_blamed_on_the_mailbox(void **state)
{
    struct place *p = *state;
    struct draft d;
    struct parcel parcel = queued_text(p, &d, 1);
    unlinkat(p->s.queue, d.name, 0);
    maildir_deliver(p->maildir, "h", &p->s, &parcel, 1);
    assert_int_equal(parcel.result.outcome, OUTCOME_TEMPORARY);
    assert_non_null(strstr(parcel.result.reason, "queued message"));
}

static void check_makes_a_maildir_only_where_nothing_else_is(void **state)
{
    struct place *p = *state;
    char path[160], part[192], why[512];
    text_fmt(path, sizeof path, "%s/fresh", p->dir);
    assert_true(maildir_check(path, why, sizeof why));
    assert_true(maildir_check(path, why, sizeof why));
    static const char *const parts[] = {"tmp", "new", "cur"};
    for (size_t i = 0; i < COUNT(parts); i++) {
        text_fmt(part, sizeof part, "%s/%s", path, parts[i]);
        assert_int_equal(access(part, F_OK), 0);
    }
    assert_int_equal(rmdir(part), 0); /* a part that is missing is mended */
    assert_true(maildir_check(path, why, sizeof why));

    assert_false(maildir_check(p->dir, why, sizeof why)); /* holds other things */
    assert_non_null(strstr(why, "no Maildir"));
    text_fmt(path, sizeof path, "%s/no/such", p->dir);
    assert_false(maildir_check(path, why, sizeof why));
    text_fmt(path, sizeof path, "%s/file", p->dir);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_false(maildir_check(path, why, sizeof why));
}

/* ---- mbox ------------------------------------------------------------------------------------ */

static void an_mbox_gets_from_lines_quoting_and_an_empty_line(void **state)
{
    struct place *p = *state;
    struct draft d;
    static const char tricky[] =
        "Subject: x\n\nFrom me\n>From you\n>>>From all\n> From no\nFro\nFrom\n From no\n"
        "xFrom no\n>>Fred\n>\n\nFrom ";
    struct parcel parcel = queued(p, &d, 1, tricky, sizeof tricky - 1);
    mbox_deliver(p->mbox, &p->s, when, &parcel, 1);
    assert_int_equal(parcel.result.outcome, OUTCOME_DONE);
    assert_string_equal(content(p->mbox),
                        "From website@example.com Sat Nov 21 23:52:16 2026\n"
                        "Subject: x\n\n>From me\n>>From you\n>>>>From all\n> From no\nFro\nFrom\n From no\n"
                        "xFrom no\n>>Fred\n>\n\n>From \n\n");
    struct stat st;
    stat(p->mbox, &st);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void quoting_does_not_depend_on_where_a_read_ends(void **state)
{
    struct place *p = *state;
    enum { SIZE = 32 * 1024 };
    char *bytes = malloc(SIZE + 64);
    for (int at = -12; at <= 2; at++) {
        struct draft d;
        memset(bytes, 'x', SIZE + 64);
        memcpy(bytes + SIZE + at, "\n>>From a\n", 10);
        struct parcel parcel = queued(p, &d, (unsigned char)(at + 20), bytes, SIZE + 64);
        unlink(p->mbox);
        mbox_deliver(p->mbox, &p->s, when, &parcel, 1);
        assert_non_null(strstr(content(p->mbox), "x\n>>>From a\nx"));
    }
    free(bytes);
}

static void messages_are_separated_even_behind_a_cut_one(void **state)
{
    struct place *p = *state;
    static const char *const before[] = {"From a x\n\ncut in the mid", "From a x\n\none line\n",
                                         "From a x\n\nwhole\n\n", "\n"};
    static const char *const between[] = {"\n\n", "\n", "", ""};
    for (unsigned char i = 0; i < COUNT(before); i++) {
        struct draft d;
        char expected[256];
        struct parcel parcel = queued_text(p, &d, i);
        int fd = open(p->mbox, O_CREAT | O_TRUNC | O_WRONLY, 0600);
        assert_true(spool_write(fd, before[i], strlen(before[i])));
        close(fd);
        mbox_deliver(p->mbox, &p->s, when, &parcel, 1);
        assert_int_equal(parcel.result.outcome, OUTCOME_DONE);
        text_fmt(expected, sizeof expected, "%s%sFrom website@example.com Sat Nov 21 23:52:16 2026\n%s\n",
                 before[i], between[i], text);
        assert_string_equal(content(p->mbox), expected);
    }
}

static void a_lock_of_another_program_makes_the_mail_wait(void **state)
{
    struct place *p = *state;
    struct draft d;
    char lock[128];
    struct parcel parcel = queued_text(p, &d, 1);
    text_fmt(lock, sizeof lock, "%s.lock", p->mbox);
    close(open(lock, O_CREAT | O_EXCL | O_WRONLY, 0600));
    mbox_deliver(p->mbox, &p->s, when, &parcel, 1);
    assert_int_equal(parcel.result.outcome, OUTCOME_TEMPORARY);
    assert_non_null(strstr(parcel.result.reason, lock));
    assert_int_equal(access(lock, F_OK), 0);

    struct timespec old[2] = {{.tv_sec = time(NULL) - 3600}, {.tv_sec = time(NULL) - 3600}};
    utimensat(AT_FDCWD, lock, old, 0); /* its owner died an hour ago */
    mbox_deliver(p->mbox, &p->s, when, &parcel, 1);
    assert_int_equal(parcel.result.outcome, OUTCOME_DONE);
    assert_int_equal(access(lock, F_OK), -1);

    int fd = open(p->mbox, O_RDWR); /* a program that locks by fcntl alone */
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &whole), 0);
    mbox_deliver(p->mbox, &p->s, when, &parcel, 1);
    assert_int_equal(parcel.result.outcome, OUTCOME_TEMPORARY);
    assert_int_equal(access(lock, F_OK), -1);
    close(fd);
}

static void links_and_other_things_are_no_mbox(void **state)
{
    struct place *p = *state;
    struct draft d;
    char target[128], why[512];
    struct parcel parcel = queued_text(p, &d, 1);
    text_fmt(target, sizeof target, "%s/target", p->dir);
    close(open(target, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(symlink(target, p->mbox), 0);
    mbox_deliver(p->mbox, &p->s, when, &parcel, 1);
    assert_int_equal(parcel.result.outcome, OUTCOME_TEMPORARY);
    assert_non_null(strstr(parcel.result.reason, "symbolic link"));
    unlink(p->mbox);
    assert_int_equal(link(target, p->mbox), 0);
    mbox_deliver(p->mbox, &p->s, when, &parcel, 1);
    assert_int_equal(parcel.result.outcome, OUTCOME_TEMPORARY);
    assert_string_equal(content(target), "");
    unlink(p->mbox);
    assert_int_equal(mkfifo(p->mbox, 0600), 0);
    mbox_deliver(p->mbox, &p->s, when, &parcel, 1);
    assert_int_equal(parcel.result.outcome, OUTCOME_TEMPORARY);
    assert_false(mbox_check(p->mbox, why, sizeof why));
    assert_non_null(strstr(why, "plain file"));
}

static void what_cannot_be_appended_whole_is_taken_off_again(void **state)
{
    struct place *p = *state;
    struct draft d, e, f;
    char *big = malloc(200000);
    memset(big, 'x', 200000);
    struct parcel first = queued_text(p, &d, 1);
    struct parcel parcels[] = {queued_text(p, &e, 2), queued(p, &f, 3, big, 200000), first};
    free(big);
    mbox_deliver(p->mbox, &p->s, when, &first, 1);
    size_t before = strlen(content(p->mbox));

    signal(SIGXFSZ, SIG_IGN);
    struct rlimit old, limit = {100000, RLIM_INFINITY};
    getrlimit(RLIMIT_FSIZE, &old);
    setrlimit(RLIMIT_FSIZE, &limit);
    mbox_deliver(p->mbox, &p->s, when, parcels, 3);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(parcels[0].result.outcome, OUTCOME_DONE);
    assert_int_equal(parcels[1].result.outcome, OUTCOME_TEMPORARY);
    assert_int_equal(parcels[2].result.outcome, OUTCOME_TEMPORARY);
    assert_int_equal(strlen(content(p->mbox)), 2 * before);
    assert_null(strstr(content(p->mbox), "xxx"));
}

static void check_leaves_no_mbox_behind(void **state)
{
    struct place *p = *state;
    char why[512], path[160];
    assert_true(mbox_check(p->mbox, why, sizeof why));
    assert_int_equal(access(p->mbox, F_OK), -1);
    text_fmt(path, sizeof path, "%s/no/mbox", p->dir);
    assert_false(mbox_check(path, why, sizeof why));
    assert_non_null(strstr(why, path));
}

static void check_disturbs_no_courier_at_work(void **state)
{
    struct place *p = *state;
    char why[512], lock[160];
    struct draft d;
    struct parcel first = queued_text(p, &d, 1);
    mbox_deliver(p->mbox, &p->s, when, &first, 1);
    assert_int_equal(first.result.outcome, OUTCOME_DONE);
    size_t before = strlen(content(p->mbox));
    text_fmt(lock, sizeof lock, "%s.lock", p->mbox); /* held by the courier, or left by a power cut */
    int fd = open(lock, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_true(mbox_check(p->mbox, why, sizeof why));
    assert_int_equal(access(lock, F_OK), 0);
    assert_int_equal(strlen(content(p->mbox)), before);
    assert_int_equal(unlink(lock), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_name_in_new_comes_from_the_name_in_the_spool),
        TEST(a_host_name_cannot_leave_the_directory_or_pass_for_flags),
        TEST(a_second_delivery_after_a_crash_is_not_a_second_mail),
        TEST(each_parcel_goes_to_its_folder_which_is_made),
        TEST(a_folder_that_is_half_made_is_completed),
        TEST(a_folder_that_fails_takes_only_its_own_with_it),
        TEST(another_file_system_gets_a_whole_copy),
        TEST(a_full_disk_shows_nothing_and_says_so),
        TEST(a_missing_maildir_makes_the_mail_wait),
        TEST(a_message_that_left_the_queue_is_not_blamed_on_the_mailbox),
        TEST(check_makes_a_maildir_only_where_nothing_else_is),
        TEST(an_mbox_gets_from_lines_quoting_and_an_empty_line),
        TEST(quoting_does_not_depend_on_where_a_read_ends),
        TEST(messages_are_separated_even_behind_a_cut_one),
        TEST(a_lock_of_another_program_makes_the_mail_wait),
        TEST(links_and_other_things_are_no_mbox),
        TEST(what_cannot_be_appended_whole_is_taken_off_again),
        TEST(check_leaves_no_mbox_behind),
        TEST(check_disturbs_no_courier_at_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
