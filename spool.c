/*
 * What was accepted and is not yet delivered: one file a submission, the finished message.
 *
 *     tmp/NAME           being written by a front
 *     queue/NAME         committed: from here on the mail is safe
 *     queue/NAME.state   what a retry needs to remember (state.c)
 *     held/NAME          needs a person; held/NAME.state says why
 *     lock               flock(2)ed by the courier
 *     wake               a FIFO: a byte in it asks the courier to try everything now
 *
 *     NAME = 20261121T235216Z.7K2M-Q9XD-4TRW.FORM   time (UTC), receipt, form; .spam behind it if taken for that
 *
 * What a crash or a power cut leaves, and what becomes of it. "Answered": may the visitor have seen success?
 *
 *     the last thing that happened       on the disk              answered   afterwards
 *     --------------------------------   ----------------------   --------   -----------------------------
 *     draft made or partly written       tmp/, cut or whole       no         swept away (spool_sweep)
 *     draft synced                       tmp/, whole              no         swept away
 *     renamed to queue/                  tmp/ or queue/, whole    no         swept away, or delivered (1)
 *     directory synced                   queue/, whole            yes        delivered
 *     in one mailbox of two, synced      queue/, whole            yes        delivered to both (2)
 *     .state says so, renamed            queue/, .state or none   yes        to the other, or as above
 *     in every mailbox                   queue/, whole            yes        delivered again (2), removed
 *     removed from queue/                nothing, or queue/       yes        nothing, or as above
 *     removed, its .state not yet        .state alone             yes        .state removed when a day old
 *     held/NAME.state written            queue/, held/.state      yes        tried again, held again
 *     renamed to held/                   queue/ or held/, whole   yes        as above, or waits for a person
 *
 *     (1) The visitor saw no success and sends again. Within once_window that takes the place of this one, in tmp/ and
 *         in queue/ (spool_begin_again); later, one mail too many is better than one too few.
 *     (2) A Maildir still has it under the same name, and it is not doubled; otherwise a second mail with the
 *         same Message-ID.
 *
 * A sync that fails takes its submissions back: the names are removed from queue/ and the visitor is told that
 * nothing was stored. Had the courier been faster, the mail is there although the answer was an error; so is a
 * repeat, whose name may be that of one that was answered.
 */

#include "bridge.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

enum {
    PENDING_MAX = 64 * 1024,
    TIME_LEN = 16, /* 20261121T235216Z */
    NAME_LEN_MIN = TIME_LEN + 1 + REF_LEN + 1 + 1,
    /* From this many drafts on one syncfs(2) is cheaper than an fsync(2) for each. Measured on ext4 beside
     * busy neighbours, files of 3 kB: two cost 0.2 ms one by one and 1.1 ms as a group, three 1.5 and 1.1,
     * four 2.5 and 1.4, eight 4.7 and 3.2. It flushes the neighbours' dirty pages too, so it has to be
     * clearly worth it. */
    SYNCFS_FROM = 4,
    PROBE_SIZE = 4096,
    STATE_TRIES = 5,
    STATE_PAUSE = 50, /* milliseconds between them */
};

/* ---- directories ----------------------------------------------------------------------------- */

bool spool_write(int fd, const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return true;
}

bool spool_write_new(const char *path, const struct buf *content, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    bool ok = fd >= 0 && buf_ok(content) && spool_write(fd, content->data, content->len) && fsync(fd) == 0;
    ok = fd >= 0 && close(fd) == 0 && ok && spool_sync_name(path);
    if (!ok) {
        log_error("cannot write %s: %s", path, buf_ok(content) ? strerror(errno) : "no memory");
    }
    if (!ok && fd >= 0) {
        unlink(path);
    }
    return ok;
}

bool spool_sync_name(const char *path)
{
    char parent[PATH_MAX];
    if (!text_copy(parent, sizeof parent, path)) {
        errno = ENAMETOOLONG;
        return false;
    }
    size_t len = strlen(parent);
    while (len > 1 && parent[len - 1] == '/') {
        parent[--len] = '\0';
    }
    char *slash = strrchr(parent, '/');
    if (slash == NULL) {
        text_copy(parent, sizeof parent, ".");
    } else {
        slash[slash == parent ? 1 : 0] = '\0';
    }
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return errno == EACCES; /* may be passed and not read: its administrator's, made long ago */
    }
    bool ok = fsync(fd) == 0;
    int error = errno;
    close(fd);
    errno = error;
    return ok;
}

/* A directory of ours that nobody else can write to, or -1. */
static int open_private(int at, const char *name)
{
    if (mkdirat(at, name, 0700) != 0 && errno != EEXIST) {
        return -1;
    }
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    if (fd >= 0 &&
        (fstat(fd, &st) != 0 || st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)) {
        close(fd);
        errno = EPERM;
        return -1;
    }
    return fd;
}

static bool open_below(struct spool *s, const char *path, char *why, size_t why_size)
{
    static const char *const names[] = {"tmp", "queue", "held"};
    int *const fds[] = {&s->tmp, &s->queue, &s->held};
    struct stat root, st;
    if (fstat(s->root, &root) != 0) {
        text_fmt(why, why_size, "spool %s: %s", path, strerror(errno));
        return false;
    }
    for (size_t i = 0; i < COUNT(names); i++) {
        *fds[i] = open_private(s->root, names[i]);
        if (*fds[i] < 0 || fstat(*fds[i], &st) != 0) {
            text_fmt(why, why_size, "spool %s/%s: %s; it must be a directory that only we can write to", path,
                     names[i], strerror(errno));
            return false;
        }
        if (st.st_dev != root.st_dev) {
            text_fmt(why, why_size,
                     "spool %s/%s is another file system: a rename must reach it, so mount the whole "
                     "spool instead",
                     path, names[i]);
            return false;
        }
    }
    return true;
}

/* Where syncfs(2) is as good as fsync(2): it waits for the disk and tells of every write that failed. Others may
 * not: FUSE does not ask whoever has the data, overlayfs does not pass on what failed below, CIFS does not have the server
 * flush. */
static bool has_groups(int root)
{
    static const unsigned long known[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
                                          F2FS_SUPER_MAGIC, TMPFS_MAGIC};
    struct statfs fs;
    bool found = false;
    for (size_t i = 0; i < COUNT(known) && fstatfs(root, &fs) == 0; i++) {
        found = found || (unsigned long)fs.f_type == known[i];
    }
    return found;
}

bool spool_has_room(const struct spool *s)
{
    struct statfs fs;
    if (fstatfs(s->tmp, &fs) != 0) {
        return false;
    }
    bool names = fs.f_files == 0 || fs.f_ffree > 0; /* 0: the file system does not count them */
    return (fs.f_flags & ST_RDONLY) == 0 && names && fs.f_bavail > 0;
}

/* As a submission would do it: a full disk takes names, and a read-only one is open to all that read. In tmp/, which is
 * swept, since this may die half-way, too. */
bool spool_probe(const struct spool *s)
{
    static const char name[] = "check", block[PROBE_SIZE] = {0};
    int fd = openat(s->tmp, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return false;
    }
    int error = spool_write(fd, block, sizeof block) && fsync(fd) == 0 ? 0 : errno;
    close(fd);
    unlinkat(s->tmp, name, 0);
    const int others[] = {s->queue, s->held};
    for (size_t i = 0; i < COUNT(others) && error == 0; i++) {
        error = faccessat(others[i], ".", W_OK | X_OK, AT_EACCESS) == 0 ? 0 : errno;
    }
    errno = error;
    return error == 0;
}

bool spool_open(struct spool *s, const char *path, char *why, size_t why_size)
{
    *s = (struct spool){.root = -1, .tmp = -1, .queue = -1, .held = -1};
    s->root = open_private(AT_FDCWD, path);
    if (s->root < 0) {
        text_fmt(
            why, why_size,
            errno == ENOENT ? "spool %s: its parent directory does not exist; make it or set another spool"
            : errno == EPERM
                ? "spool %s: it must belong to the user of formbridge, and nobody else may write "
                  "there; chown it, chmod go-w it"
                : "spool %s: %s; it must be a directory of the user of formbridge: run this as that user or "
                  "as root, or chown -R it if another made it",
            path, strerror(errno));
        return false;
    }
    bool ok = open_below(s, path, why, why_size);
    if (ok && mkfifoat(s->root, "wake", 0600) != 0 && errno != EEXIST) {
        text_fmt(why, why_size, "spool %s/wake: cannot make this FIFO: %s", path, strerror(errno));
        ok = false;
    }
    s->groups = ok && has_groups(s->root);
    /* Whether or not they are new: the run that made them may have died before it synced. */
    if (ok && (fsync(s->root) != 0 || !spool_sync_name(path))) {
        text_fmt(why, why_size, "spool %s: cannot sync: %s", path, strerror(errno));
        ok = false;
    }
    if (!ok) {
        spool_close(s);
    }
    return ok;
}

void spool_close(struct spool *s)
{
    int *const fds[] = {&s->root, &s->tmp, &s->queue, &s->held};
    for (size_t i = 0; i < COUNT(fds); i++) {
        if (*fds[i] >= 0) {
            close(*fds[i]);
            *fds[i] = -1;
        }
    }
}

size_t spool_sweep(struct spool *s)
{
    DIR *dir = spool_list(s->tmp);
    if (dir == NULL) {
        return 0;
    }
    size_t removed = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] != '.' && unlinkat(s->tmp, e->d_name, 0) == 0) {
            removed++;
        }
    }
    closedir(dir);
    return removed;
}

DIR *spool_list(int directory)
{
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* a position of its own */
    if (fd < 0) {
        return NULL;
    }
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        close(fd);
    }
    return dir;
}

/* ---- names ----------------------------------------------------------------------------------- */

static const char crockford[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void spool_ref(char ref[REF_SIZE], const unsigned char random[8])
{
    uint64_t bits = 0;
    for (size_t i = 0; i < 8; i++) {
        bits = bits << 8 | random[i];
    }
    for (size_t i = 0; i < REF_LEN; i++) {
        if (i % 5 == 4) {
            ref[i] = '-';
        } else {
            ref[i] = crockford[bits & 31];
            bits >>= 5;
        }
    }
    ref[REF_LEN] = '\0';
}

bool spool_ref_ok(const char *ref)
{
    for (size_t i = 0; i < REF_LEN; i++) {
        if (i % 5 == 4 ? ref[i] != '-' : ref[i] == '\0' || strchr(crockford, ref[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static bool name_time(const char *name, int64_t *time)
{
    static const struct {
        size_t at, len;
    } part[] = {{0, 4}, {4, 2}, {6, 2}, {9, 2}, {11, 2}, {13, 2}};
    uint64_t n[COUNT(part)];
    for (size_t i = 0; i < COUNT(part); i++) {
        if (!text_number(name + part[i].at, part[i].len, &n[i])) {
            return false;
        }
    }
    if (n[0] < 1970 || n[1] < 1 || n[1] > 12 || n[2] < 1 || n[2] > 31) {
        return false;
    }
    *time = date_time(&(struct date){.year = (int64_t)n[0],
                                     .month = (int)n[1] - 1,
                                     .day = (int)n[2],
                                     .hour = (int)n[3],
                                     .minute = (int)n[4],
                                     .second = (int)n[5]});
    return true;
}

static void put_time(char *out, size_t size, int64_t time)
{
    struct date d = date_utc(time);
    text_fmt(out, size, "%04" PRId64 "%02d%02dT%02d%02d%02dZ", d.year, d.month + 1, d.day, d.hour, d.minute,
             d.second);
}

static const char spam_suffix[] = ".spam";

bool spool_name_spam(const char *name)
{
    size_t len = strlen(name), suffix = sizeof spam_suffix - 1;
    return len > suffix && strcmp(name + len - suffix, spam_suffix) == 0;
}

bool spool_name_parse(const char *name, int64_t *time, char ref[REF_SIZE], char *form)
{
    size_t len = strnlen(name, SPOOL_NAME_SIZE);
    if (len < NAME_LEN_MIN || len >= SPOOL_NAME_SIZE || name[TIME_LEN] != '.' ||
        name[TIME_LEN + 1 + REF_LEN] != '.' || !spool_ref_ok(name + TIME_LEN + 1) || !name_time(name, time)) {
        return false;
    }
    char again[32]; /* the 31st of February is not a day */
    put_time(again, sizeof again, *time);
    if (strncmp(again, name, TIME_LEN) != 0) {
        return false;
    }
    memcpy(ref, name + TIME_LEN + 1, REF_LEN);
    ref[REF_LEN] = '\0';
    const char *rest = name + TIME_LEN + 1 + REF_LEN + 1;
    size_t form_len = strspn(rest, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    if (form_len == 0 || (rest[form_len] != '\0' && strcmp(rest + form_len, spam_suffix) != 0)) {
        return false;
    }
    return text_fmt(form, FORM_NAME_MAX + 1, "%.*s", (int)form_len, rest);
}

size_t spool_count(int directory)
{
    size_t n = 0;
    int64_t time;
    char ref[REF_SIZE], form[FORM_NAME_MAX + 1];
    DIR *dir = spool_list(directory);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        n += spool_name_parse(e->d_name, &time, ref, form) ? 1 : 0;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return n;
}

/* ---- drafts ---------------------------------------------------------------------------------- */

static bool draft_write(struct draft *d, const void *bytes, size_t len)
{
    if (d->error == 0 && !spool_write(d->fd, bytes, len)) {
        d->error = errno;
    }
    return d->error == 0;
}

static bool flush(struct draft *d)
{
    bool ok = draft_write(d, d->pending.data, d->pending.len);
    buf_clear(&d->pending);
    return ok;
}

static bool draft_put(struct sink *sink, const void *bytes, size_t len)
{
    struct draft *d = (struct draft *)sink;
    if (d->error != 0) {
        return false;
    }
    if (len > PENDING_MAX - d->pending.len && !flush(d)) {
        return false;
    }
    if (len > PENDING_MAX) {
        draft_write(d, bytes, len);
    } else {
        buf_put(&d->pending, bytes, len);
        if (!buf_ok(&d->pending)) {
            d->error = ENOMEM;
        }
    }
    d->size += len;
    return d->error == 0;
}

static void begin(struct spool *s, struct draft *d, int64_t time, const char *ref, const char *form,
                  bool again)
{
    *d = (struct draft){.sink = {draft_put}, .fd = -1, .again = again};
    buf_init(&d->pending, PENDING_MAX);
    char when[32];
    put_time(when, sizeof when, time);
    if (!text_fmt(d->name, sizeof d->name, "%s.%s.%s", when, ref, form)) {
        d->error = ENAMETOOLONG;
        return;
    }
    if (again) {
        unlinkat(s->tmp, d->name, 0);
    }
    d->fd = openat(s->tmp, d->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (d->fd < 0) {
        d->error = errno;
    }
}

void spool_begin(struct spool *s, struct draft *d, int64_t time, const char *ref, const char *form)
{
    begin(s, d, time, ref, form, false);
}

void spool_begin_again(struct spool *s, struct draft *d, int64_t time, const char *ref, const char *form)
{
    begin(s, d, time, ref, form, true);
}

void spool_mark_spam(struct spool *s, struct draft *d)
{
    char name[SPOOL_NAME_SIZE];
    if (d->error != 0) {
        return;
    }
    if (!text_fmt(name, sizeof name, "%s%s", d->name, spam_suffix)) {
        d->error = ENAMETOOLONG;
    } else if (renameat(s->tmp, d->name, s->tmp, name) != 0) {
        d->error = errno;
    } else {
        text_copy(d->name, sizeof d->name, name);
    }
}

static void close_draft(struct draft *d)
{
    buf_free(&d->pending);
    if (d->fd >= 0) {
        close(d->fd); /* tells nothing that fsync has not told */
        d->fd = -1;
    }
}

void spool_abandon(struct spool *s, struct draft *d)
{
    if (d->fd >= 0) {
        unlinkat(s->tmp, d->name, 0);
    }
    close_draft(d);
}

static bool sync_counted(int fd)
{
    stats_add(STAT_COMMIT_SYNCS, 1);
    return fsync(fd) == 0;
}

/* The content of all that are still good. A syncfs that fails does not say whose write it was, and may speak
 * of a file that is not ours: then each is asked for itself. */
static void sync_files(struct spool *s, struct draft *const *drafts, size_t n)
{
    size_t good = 0;
    for (size_t i = 0; i < n; i++) {
        good += flush(drafts[i]) ? 1 : 0;
    }
    if (good >= SYNCFS_FROM && s->groups) {
        stats_add(STAT_COMMIT_SYNCS, 1);
        if (syncfs(s->tmp) == 0) {
            return;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (drafts[i]->error == 0 && !sync_counted(drafts[i]->fd)) {
            drafts[i]->error = errno;
        }
    }
}

/* Into queue/, over nothing but itself. Not every file system knows RENAME_NOREPLACE (NFS says EINVAL). */
static int publish(struct spool *s, const struct draft *d)
{
    const char *name = d->name;
    if (d->again) {
        return renameat(s->tmp, name, s->queue, name) == 0 ? 0 : errno;
    }
    if (renameat2(s->tmp, name, s->queue, name, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return errno;
    }
    if (linkat(s->tmp, name, s->queue, name, 0) != 0) {
        return errno;
    }
    unlinkat(s->tmp, name, 0); /* left behind it is only a second name, which a sweep removes */
    return 0;
}

void spool_commit(struct spool *s, struct draft *const *drafts, size_t n)
{
    sync_files(s, drafts, n);

    size_t published = 0;
    for (size_t i = 0; i < n; i++) {
        struct draft *d = drafts[i];
        if (d->error == 0) {
            d->error = publish(s, d);
            published += d->error == 0 ? 1 : 0;
        }
        if (d->error != 0) {
            spool_abandon(s, d);
        }
    }
    int error = published > 0 && !sync_counted(s->queue) ? errno : 0;
    /* With error 0, from here on the mail is safe. */
    for (size_t i = 0; i < n; i++) {
        if (drafts[i]->error == 0 && error != 0) {
            if (!drafts[i]->again) { /* else its place may have been that of one that was answered */
                unlinkat(s->queue, drafts[i]->name, 0);
            }
            drafts[i]->error = error;
        }
        close_draft(drafts[i]);
    }
}

/* ---- state files, for the courier and the queue command -------------------------------------- */

bool spool_state_of(const char *file, char name[SPOOL_NAME_SIZE])
{
    const char *suffix = strrchr(file, '.');
    if (suffix == NULL || (strcmp(suffix, ".state") != 0 && strcmp(suffix, ".new") != 0)) {
        return false;
    }
    int64_t time;
    char ref[REF_SIZE], form[FORM_NAME_MAX + 1];
    return text_fmt(name, SPOOL_NAME_SIZE, "%.*s", (int)(suffix - file), file) &&
           spool_name_parse(name, &time, ref, form);
}

/* false: errno, EBADMSG if it is all there and damaged. */
static bool read_state(int directory, const char *file, struct state *st)
{
    int fd = openat(directory, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT;
    }
    struct buf b;
    buf_init(&b, STATE_SIZE_MAX);
    int error = !buf_read(fd, &b) ? errno : state_parse(st, b.data, b.len) ? 0 : EBADMSG;
    buf_free(&b);
    close(fd);
    errno = error;
    return error == 0;
}

/* What may pass, such as a table of files that is full for a moment, must not cost what the state remembers. */
bool spool_state_read(int directory, const char *name, struct state *st)
{
    *st = (struct state){.targets = NULL};
    char file[SPOOL_NAME_SIZE + 8];
    if (!text_fmt(file, sizeof file, "%s.state", name)) {
        return false;
    }
    for (int tries = STATE_TRIES; !read_state(directory, file, st); tries--) {
        bool passing =
            errno == EIO || errno == EINTR || errno == ENFILE || errno == EMFILE || errno == ENOMEM;
        if (!passing || tries == 1) {
            return false;
        }
        poll(NULL, 0, STATE_PAUSE);
    }
    return true;
}

static bool write_synced(int directory, const char *file, const struct buf *b)
{
    int fd = openat(directory, file, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return false;
    }
    bool ok = spool_write(fd, b->data, b->len) && fsync(fd) == 0;
    int error = errno;
    close(fd);
    errno = error;
    return ok;
}

bool spool_state_write(int directory, const char *name, const struct state *st)
{
    char file[SPOOL_NAME_SIZE + 8], fresh[SPOOL_NAME_SIZE + 8];
    if (!text_fmt(file, sizeof file, "%s.state", name) || !text_fmt(fresh, sizeof fresh, "%s.new", name)) {
        errno = ENAMETOOLONG;
        return false;
    }
    struct buf b;
    buf_init(&b, STATE_SIZE_MAX);
    state_write(st, &b);
    bool ok = buf_ok(&b);
    if (!ok) {
        errno = ENOMEM;
    } else {
        ok = write_synced(directory, fresh, &b) && renameat(directory, fresh, directory, file) == 0;
    }
    int error = errno;
    buf_free(&b);
    if (!ok) {
        unlinkat(directory, fresh, 0);
    }
    errno = error;
    return ok;
}

void spool_state_remove(int directory, const char *name)
{
    char file[SPOOL_NAME_SIZE + 8];
    if (text_fmt(file, sizeof file, "%s.state", name)) {
        unlinkat(directory, file, 0);
    }
}
