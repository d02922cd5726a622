/*
 * Maildir: the name of a message is made from its name in the spool alone, so that a delivery which a crash
 * interrupted finds its own traces:
 *
 *     died after                         a mail reader sees   the next try
 *     --------------------------------   ------------------   --------------------------------------
 *     tmp/ file made or partly written   nothing              removes it and copies again
 *     renamed or linked into new/        the whole message    finds it in new/, syncs, is done
 *     moved on to cur/ by a reader       the whole message    delivers it again, same Message-ID
 *
 * A Maildir++ folder (https://www.courier-mta.org/imap/README.maildirquota.html) is a directory like .Junk in the
 * Maildir, a Maildir itself with an empty file `maildirfolder`. One that is missing, because no mail went there yet or
 * its owner has deleted it, is made; its name is synced with each delivery, as nobody knows whether an earlier one came
 * so far.
 */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    COPY_SIZE = 32 * 1024,
    HOST_PART_MAX = 150, /* of a Maildir name, which NAME_MAX limits to 255 */
};

/* A directory, made where it is missing; created says that its name needs a sync. */
static int open_or_make(int at, const char *name, bool *created)
{
    if (mkdirat(at, name, 0700) == 0) {
        *created = true;
    } else if (errno != EEXIST) {
        return -1;
    }
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Missing parts may only be made where nothing else is: a mistyped path must not be littered. */
static bool has_other_things(int maildir)
{
    DIR *dir = spool_list(maildir);
    bool other = dir == NULL;
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        static const char *const ours[] = {".", "..", "tmp", "new", "cur"};
        bool known = false;
        for (size_t i = 0; i < COUNT(ours); i++) {
            known = known || strcmp(e->d_name, ours[i]) == 0;
        }
        other = other || !known;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return other;
}

static bool check_parts(int maildir, const char *path, char *why, size_t why_size)
{
    static const char *const parts[] = {"tmp", "new", "cur"};
    for (size_t i = 0; i < COUNT(parts); i++) {
        bool missing = faccessat(maildir, parts[i], F_OK, 0) != 0 && errno == ENOENT;
        if (missing && has_other_things(maildir)) {
            text_fmt(why, why_size,
                     "%s is no Maildir: it has no %s/ and holds other things; name an empty directory, or "
                     "make %s/ in it",
                     path, parts[i], parts[i]);
            return false;
        }
        bool created = false;
        int fd = open_or_make(maildir, parts[i], &created);
        bool ok = fd >= 0 && faccessat(maildir, parts[i], R_OK | W_OK | X_OK, AT_EACCESS) == 0 &&
                  (!created || fsync(maildir) == 0);
        int error = errno;
        if (fd >= 0) {
            close(fd);
        }
        if (!ok) {
            text_fmt(why, why_size, "Maildir %s/%s: %s; %s", path, parts[i], strerror(error),
                     mailbox_remedy(error));
            return false;
        }
    }
    return true;
}

bool maildir_check(const char *path, char *why, size_t why_size)
{
    bool created = false;
    int maildir = open_or_make(AT_FDCWD, path, &created);
    if (maildir < 0 && errno == EACCES && faccessat(AT_FDCWD, path, F_OK, AT_EACCESS) != 0 &&
        errno == ENOENT) {
        text_fmt(why, why_size,
                 "Maildir %s is not there, and the user of [bridge] may not make it: correct its path, or "
                 "make an empty "
                 "directory there that is the user's",
                 path);
        return false;
    }
    if (maildir < 0 || (created && !spool_sync_name(path))) {
        text_fmt(why, why_size, "Maildir %s: %s; %s", path, strerror(errno), mailbox_remedy(errno));
        if (maildir >= 0) {
            close(maildir);
        }
        return false;
    }
    bool ok = check_parts(maildir, path, why, why_size);
    close(maildir);
    return ok;
}

bool maildir_check_folder(const char *path, const char *folder, char *why, size_t why_size)
{
    static const char *const parts[] = {"/tmp", "/new", ""};
    for (size_t i = 0; i < COUNT(parts); i++) {
        char whole[PATH_MAX];
        bool fits = text_fmt(whole, sizeof whole, "%s/%s%s", path, folder, parts[i]);
        if (!fits || (faccessat(AT_FDCWD, whole, W_OK | X_OK, AT_EACCESS) != 0 && errno != ENOENT)) {
            int error = fits ? errno : ENAMETOOLONG;
            text_fmt(why, why_size, "Maildir %s: %s; %s", whole, strerror(error), mailbox_remedy(error));
            return false;
        }
    }
    return true;
}

/* <seconds>.R<receipt>.<hostname>,S=<size>,W=<size with CRLF>: unique, because the receipt is. `/` and `:` escaped as
 * the Maildir specification says (https://cr.yp.to/proto/maildir.html), `,` because our own sizes follow one. */
static bool maildir_name(char *out, size_t size, const char *hostname, const struct parcel *p,
                         uint64_t octets)
{
    int64_t time;
    char ref[REF_SIZE], form[FORM_NAME_MAX + 1];
    if (!spool_name_parse(p->name, &time, ref, form)) {
        return false;
    }
    struct buf b;
    buf_borrow(&b, out, size);
    buf_fmt(&b, "%" PRId64 ".R%s.", time, ref);
    size_t start = b.len;
    for (const char *h = hostname; *h != '\0' && b.len - start < HOST_PART_MAX; h++) {
        if (*h == '/' || *h == ':' || *h == ',') {
            buf_fmt(&b, "\\%03o", (unsigned)*h);
        } else {
            buf_byte(&b, (unsigned char)*h);
        }
    }
    buf_fmt(&b, ",S=%" PRIu64 ",W=%" PRIu64, p->size, octets);
    return buf_text(&b) != NULL;
}

struct maildir {
    const char *path;
    int root, folder; /* folder: -1 for the inbox */
    int tmp, new;
};

static bool copy_bytes(int in, int out)
{
    unsigned char bytes[COPY_SIZE];
    ssize_t n;
    bool ok = true;
    while (ok && (n = mailbox_read(in, bytes, sizeof bytes)) != 0) {
        ok = n > 0 && spool_write(out, bytes, (size_t)n);
    }
    int error = errno;
    explicit_bzero(bytes, sizeof bytes);
    errno = error;
    return ok;
}

/* By way of tmp/, so that new/ only ever shows whole messages. Renamed over a message of this name it is
 * renamed over itself. */
static void deliver_copy(struct maildir *m, struct spool *s, struct parcel *p, const char *name)
{
    int in = mailbox_open(s, p);
    if (in < 0) {
        return;
    }
    unlinkat(m->tmp, name, 0); /* what a crash left: nobody else makes this name */
    int out = openat(m->tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool ok = out >= 0 && copy_bytes(in, out) && fsync(out) == 0;
    int error = errno;
    close(in);
    if (out >= 0 && close(out) != 0 && ok) { /* NFS reports a quota here */
        ok = false;
        error = errno;
    }
    if (ok && renameat(m->tmp, name, m->new, name) != 0) {
        ok = false;
        error = errno;
    }
    if (ok) {
        p->result.outcome = OUTCOME_DONE;
        return;
    }
    unlinkat(m->tmp, name, 0);
    mailbox_fail(&p->result, "cannot write to Maildir", m->path, error);
}

/* What POP3 and IMAP tell as its size. Read once now, while it is in memory, or by every pickup that lists it. */
static bool count_octets(struct spool *s, struct parcel *p, uint64_t *octets)
{
    unsigned char bytes[COPY_SIZE];
    struct popcount count = {.octets = 0};
    int fd = mailbox_open(s, p);
    if (fd < 0) {
        return false;
    }
    ssize_t n = 1;
    for (uint64_t left = p->size; left > 0 && n > 0; left -= n > 0 ? (uint64_t)n : 0) {
        n = mailbox_read(fd, bytes, left < sizeof bytes ? (size_t)left : sizeof bytes);
        popcount_put(&count, bytes, n > 0 ? (size_t)n : 0);
    }
    if (n <= 0) {
        mailbox_unread(p, n == 0 ? EIO : errno);
    }
    close(fd);
    explicit_bzero(bytes, p->size < sizeof bytes ? (size_t)p->size : sizeof bytes);
    *octets = popcount_end(&count);
    return n > 0;
}

static void deliver_one(struct maildir *m, const char *hostname, struct spool *s, struct parcel *p)
{
    p->result = (struct result){.outcome = OUTCOME_DONE};
    char name[NAME_MAX + 1];
    uint64_t octets;
    if (!count_octets(s, p, &octets)) {
        return;
    }
    if (!maildir_name(name, sizeof name, hostname, p, octets)) {
        mailbox_fail(&p->result, "cannot name the message", p->name, EINVAL);
        return;
    }
    if (linkat(s->queue, p->name, m->new, name, 0) == 0 || errno == EEXIST) {
        return;
    }
    switch (errno) {
    case EXDEV: /* another file system, or Landlock sees other rights there */
    case EPERM: /* knows no hard links, or fs.protected_hardlinks */
    case EMLINK:
    case EOPNOTSUPP: deliver_copy(m, s, p, name); break;
    case ENOENT: { /* which of the two is missing? */
        int fd = mailbox_open(s, p);
        if (fd >= 0) {
            close(fd);
            mailbox_fail(&p->result, "cannot write to Maildir", m->path, ENOENT);
        }
        break;
    }
    default: mailbox_fail(&p->result, "cannot write to Maildir", m->path, errno);
    }
}

static void close_dir(int fd)
{
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = error;
}

static int open_dir(int at, const char *name)
{
    return at < 0 ? -1 : openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Makes what is missing of it; not synced. */
static int open_folder(int maildir, const char *name)
{
    static const char *const parts[] = {"tmp", "new", "cur"};
    bool created = false;
    int folder = open_dir(maildir, name);
    if (folder < 0 && errno == ENOENT) {
        folder = open_or_make(maildir, name, &created);
    }
    bool ok = folder >= 0;
    for (size_t i = 0; i < COUNT(parts) && ok; i++) {
        ok = mkdirat(folder, parts[i], 0700) == 0 || errno == EEXIST;
    }
    int sign = !ok ? -1 : openat(folder, "maildirfolder", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    close_dir(sign);
    if (sign < 0) {
        close_dir(folder);
        return -1;
    }
    return folder;
}

static void maildir_close(struct maildir *m)
{
    close_dir(m->new);
    close_dir(m->tmp);
    close_dir(m->folder);
    close_dir(m->root);
}

/* folder: NULL for the inbox. false: errno says why, and nothing is open. */
static bool maildir_open(struct maildir *m, const char *path, const char *folder)
{
    *m = (struct maildir){.path = path, .tmp = -1, .new = -1, .folder = -1};
    m->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    m->folder = folder == NULL || m->root < 0 ? -1 : open_folder(m->root, folder);
    int parent = folder == NULL ? m->root : m->folder;
    m->tmp = open_dir(parent, "tmp");
    m->new = m->tmp < 0 ? -1 : open_dir(parent, "new");
    if (m->new < 0) {
        maildir_close(m);
    }
    return m->new >= 0;
}

static bool maildir_sync(const struct maildir *m)
{
    return fsync(m->new) == 0 && (m->folder < 0 || (fsync(m->folder) == 0 && fsync(m->root) == 0));
}

static bool same_folder(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Those of the parcels that go to this folder. */
static void deliver_to(const char *path, const char *folder, const char *hostname, struct spool *s,
                       struct parcel *parcels, size_t n)
{
    struct maildir m;
    bool opened = maildir_open(&m, path, folder);
    int error = errno;
    for (size_t i = 0; i < n; i++) {
        if (!same_folder(parcels[i].folder, folder)) {
            continue;
        }
        if (opened) {
            deliver_one(&m, hostname, s, &parcels[i]);
        } else {
            mailbox_fail(&parcels[i].result, "cannot open Maildir", path, error);
        }
    }
    /* Those found there already, too: the try that put them there may have died before its sync. */
    if (opened && !maildir_sync(&m)) {
        error = errno;
        for (size_t i = 0; i < n; i++) {
            if (same_folder(parcels[i].folder, folder) && parcels[i].result.outcome == OUTCOME_DONE) {
                mailbox_fail(&parcels[i].result, "cannot sync Maildir", path, error);
            }
        }
    }
    if (opened) {
        maildir_close(&m);
    }
}

void maildir_deliver(const char *path, const char *hostname, struct spool *s, struct parcel *parcels,
                     size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool first = true; /* of its folder */
        for (size_t k = 0; k < i && first; k++) {
            first = !same_folder(parcels[k].folder, parcels[i].folder);
        }
        if (first) {
            deliver_to(path, parcels[i].folder, hostname, s, parcels, n);
        }
    }
}
