/* mbox: what was appended when the machine died stays, cut or whole, and the message is appended again behind
 * it. Every other failure takes off again what was appended. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    COPY_SIZE = 32 * 1024,
    DOTLOCK_STALE = 15 * 60, /* seconds without a change: its owner is gone */
    LOCK_TRIES = 20,
    LOCK_PAUSE = 100, /* milliseconds */
};

struct mbox {
    const char *path;
    char lock[PATH_MAX];
    int fd;
    struct buf out;  /* not yet written */
    bool line_start; /* of the message: the next byte begins a line */
    size_t from;     /* bytes of "From " seen since the start of the line and its `>`, not yet put out */
};

static void fail_all(struct parcel *parcels, size_t n, const char *what, const char *path, int error)
{
    for (size_t i = 0; i < n; i++) {
        mailbox_fail(&parcels[i].result, what, path, error);
    }
}

/* Older than any append takes, or than this start of the machine. */
static bool is_stale(const struct stat *lock)
{
    struct timespec up;
    time_t now = time(NULL);
    return lock->st_mtime + DOTLOCK_STALE < now ||
           (clock_gettime(CLOCK_BOOTTIME, &up) == 0 && lock->st_mtime < now - up.tv_sec);
}

/* The lock of every program that writes mboxes: FILE.lock, made with O_EXCL. */
static bool dotlock(struct mbox *m, struct result *r)
{
    if (!text_fmt(m->lock, sizeof m->lock, "%s.lock", m->path)) {
        mailbox_fail(r, "cannot lock mbox", m->path, ENAMETOOLONG);
        return false;
    }
    for (int i = 0; i < LOCK_TRIES; i++) {
        int fd = open(m->lock, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0) {
            close(fd);
            return true;
        }
        if (errno != EEXIST) {
            mailbox_fail(r, "cannot make the lock file", m->lock, errno);
            return false;
        }
        struct stat st;
        if (lstat(m->lock, &st) == 0 && is_stale(&st)) {
            log_warn("mbox %s: removing a lock file whose owner is gone", m->path);
            unlink(m->lock);
        } else {
            poll(NULL, 0, LOCK_PAUSE);
        }
    }
    r->outcome = OUTCOME_TEMPORARY;
    text_fmt(r->reason, sizeof r->reason,
             "mbox %s is locked by another program; if none is at work, remove the lock file %s", m->path,
             m->lock);
    return false;
}

/* Is the path still the file that is open? Who rewrites an mbox puts a new one in its place. */
static bool is_there(const struct mbox *m)
{
    struct stat at_path, opened;
    return lstat(m->path, &at_path) == 0 && fstat(m->fd, &opened) == 0 && at_path.st_dev == opened.st_dev &&
           at_path.st_ino == opened.st_ino;
}

static void mbox_close(struct mbox *m)
{
    close(m->fd); /* and with it the fcntl lock */
    m->fd = -1;
}

/* A plain file with one name, as postfix and qmail want it: a link would let its owner choose what we write
 * to. */
static bool open_file(struct mbox *m, struct result *r)
{
    m->fd = open(m->path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0600);
    if (m->fd < 0) {
        mailbox_fail(r, "cannot open mbox", m->path, errno);
        return false;
    }
    struct stat st;
    if (fstat(m->fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink > 1) {
        r->outcome = OUTCOME_TEMPORARY;
        text_fmt(r->reason, sizeof r->reason,
                 "mbox %s is not a plain file with one name; set another `deliver`", m->path);
        mbox_close(m);
        return false;
    }
    return true;
}

/* Opened and under the fcntl lock: the file that is there then, not one that whoever had the lock has replaced. */
static bool mbox_open(struct mbox *m, struct result *r)
{
    int error = EAGAIN;
    for (int i = 0; i < LOCK_TRIES; i++) {
        struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (m->fd < 0 && !open_file(m, r)) {
            return false;
        }
        if (fcntl(m->fd, F_OFD_SETLK, &whole) != 0) {
            error = errno;
            poll(NULL, 0, LOCK_PAUSE);
        } else if (is_there(m)) {
            return true;
        } else {
            mbox_close(m);
        }
    }
    if (error == EAGAIN || error == EACCES) {
        r->outcome = OUTCOME_TEMPORARY;
        text_fmt(r->reason, sizeof r->reason,
                 "mbox %s is locked by another program; if that lasts, see which holds it", m->path);
    } else {
        mailbox_fail(r, "cannot lock mbox", m->path, error);
    }
    if (m->fd >= 0) {
        mbox_close(m);
    }
    return false;
}

static bool mbox_flush(struct mbox *m)
{
    if (!buf_ok(&m->out)) {
        errno = ENOMEM;
        return false;
    }
    bool ok = spool_write(m->fd, m->out.data, m->out.len);
    buf_clear(&m->out);
    return ok;
}

/* mboxrd: a line of any number of `>` and "From " gets one `>` more. It may as well go right before the "From
 * ", so no more than those five bytes are ever held back. */
static void quote(struct mbox *m, const unsigned char *bytes, size_t len)
{
    static const char from[] = "From ";
    for (size_t i = 0; i < len; i++) {
        unsigned char c = bytes[i];
        if (m->line_start && c == (unsigned char)from[m->from]) {
            if (from[++m->from] == '\0') {
                buf_str(&m->out, ">From ");
                m->from = 0;
                m->line_start = false;
            }
            continue;
        }
        buf_put(&m->out, from, m->from);
        m->line_start = c == '\n' || (m->line_start && m->from == 0 && c == '>');
        m->from = 0;
        buf_byte(&m->out, c);
    }
}

static bool copy_quoted(struct mbox *m, int in)
{
    unsigned char bytes[COPY_SIZE];
    ssize_t n;
    bool ok = true;
    while (ok && (n = mailbox_read(in, bytes, sizeof bytes)) != 0) {
        ok = n > 0;
        if (ok) {
            quote(m, bytes, (size_t)n);
            ok = mbox_flush(m);
        }
    }
    int error = errno;
    explicit_bzero(bytes, sizeof bytes);
    errno = error;
    return ok;
}

/* "From " line, message, empty line. */
static bool append(struct mbox *m, const char *from, int64_t now, int in)
{
    char when[DATE_SIZE];
    date_asctime(when, now);
    buf_fmt(&m->out, "From %s %s\n", from, when);
    m->line_start = true;
    m->from = 0;
    if (!copy_quoted(m, in)) {
        return false;
    }
    buf_put(&m->out, "From ", m->from);
    buf_str(&m->out, m->line_start && m->from == 0 ? "\n" : "\n\n");
    return mbox_flush(m);
}

/* The first "From " line must come after an empty line, also behind what a crash left. */
static bool separate(struct mbox *m, off_t size)
{
    char last[2] = {'\n', '\n'};
    size_t look = size < 2 ? (size_t)size : 2;
    if (pread(m->fd, last + 2 - look, look, size - (off_t)look) != (ssize_t)look) {
        return false;
    }
    if (size > 0 && last[1] != '\n') {
        buf_str(&m->out, "\n\n");
    } else if (size > 0 && last[0] != '\n') {
        buf_str(&m->out, "\n");
    }
    return mbox_flush(m);
}

static void append_all(struct mbox *m, struct spool *s, int64_t now, struct parcel *parcels, size_t n)
{
    off_t start = lseek(m->fd, 0, SEEK_END);
    if (start < 0 || !separate(m, start)) {
        fail_all(parcels, n, "cannot append to mbox", m->path, errno);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct parcel *p = &parcels[i];
        p->result = (struct result){.outcome = OUTCOME_DONE};
        int in = mailbox_open(s, p);
        if (in < 0) {
            continue;
        }
        off_t end = lseek(m->fd, 0, SEEK_END);
        if (!append(m, p->from, now, in)) {
            fail_all(p, n - i, "cannot append to mbox", m->path, errno);
            if (ftruncate(m->fd, end) != 0) {
                log_error("mbox %s: cannot take off a message that is not whole: %s", m->path,
                          strerror(errno));
            }
            n = i;
        }
        close(in);
    }
    /* The name of a new file, too. */
    if (fsync(m->fd) != 0 || (start == 0 && !spool_sync_name(m->path))) {
        fail_all(parcels, n, "cannot sync mbox", m->path, errno);
        if (ftruncate(m->fd, start) != 0) {
            log_error("mbox %s: cannot take off what could not be synced: %s", m->path, strerror(errno));
        }
    } else if (!is_there(m)) { /* by who keeps to no lock */
        for (size_t i = 0; i < n; i++) {
            parcels[i].result.outcome = OUTCOME_TEMPORARY;
            text_fmt(parcels[i].result.reason, sizeof parcels[i].result.reason,
                     "mbox %s was replaced while it was written; who rewrites it has to make %s first",
                     m->path, m->lock);
        }
    }
}

/* Makes nothing and removes nothing: the courier may be at work on it at this moment. */
bool mbox_check(const char *path, char *why, size_t why_size)
{
    struct mbox m = {.path = path, .fd = -1};
    struct result r = {.outcome = OUTCOME_DONE};
    char parent[PATH_MAX];
    if (!text_copy(parent, sizeof parent, path)) {
        mailbox_fail(&r, "cannot open mbox", path, ENAMETOOLONG);
    } else if (faccessat(AT_FDCWD, dirname(parent), W_OK | X_OK, AT_EACCESS) != 0) {
        mailbox_fail(&r, "cannot make the lock file beside mbox", path, errno);
    } else if (access(path, F_OK) == 0 && mbox_open(&m, &r)) {
        mbox_close(&m);
    }
    if (r.outcome != OUTCOME_DONE) {
        text_fmt(why, why_size, "%s", r.reason);
    }
    return r.outcome == OUTCOME_DONE;
}

void mbox_deliver(const char *path, struct spool *s, int64_t now, struct parcel *parcels, size_t n)
{
    struct mbox m = {.path = path, .fd = -1};
    struct result r = {.outcome = OUTCOME_DONE};
    buf_init(&m.out, (size_t)4 * COPY_SIZE);
    if (dotlock(&m, &r)) {
        if (mbox_open(&m, &r)) {
            append_all(&m, s, now, parcels, n);
            mbox_close(&m);
        }
        unlink(m.lock);
    }
    buf_free(&m.out);
    for (size_t i = 0; i < n && r.outcome != OUTCOME_DONE; i++) {
        parcels[i].result = r;
    }
}
