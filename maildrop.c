/* A Maildir as POP3 sees it.
 *
 * Nothing changes before QUIT. Then, in this order: what the client deleted is unlinked; what it fetched goes from
 * new/ to cur/ with the flag S (seen), as every Maildir reader does it; both directories are synced. A session that
 * breaks off leaves the Maildir as it found it.
 *
 * Other programs work on the same Maildir. They rename a message when its flags change, so one that is not found under
 * its name is looked for by the unique part of it, up to the ":", which never changes; that part is also the unique
 * id. Their locks are not ours and ours, `formbridge.lock`, not theirs: against them every step here is one rename or
 * one unlink of one name.
 *
 * POP3 wants sizes with CRLF line ends. Maildir++ has them in the name as `,W=`; without that a message is read once a
 * session to count its lines. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SCANS_MAX = 3, /* of a directory that changes while it is read */
    PIECE = 32 * 1024,
};

static const uint32_t no_name = UINT32_MAX;

/* ---- the list -------------------------------------------------------------------------------- */

static const char *name_of(const struct maildrop *d, const struct maildrop_message *m)
{
    return d->names + m->name;
}

static size_t unique_len(const char *name)
{
    return strcspn(name, ":");
}

/* Order of delivery: the seconds in front of the name, then the rest, so that it stays the same. */
static int compare_unique(const char *a, const char *b)
{
    size_t a_len = unique_len(a), b_len = unique_len(b);
    size_t a_digits = strspn(a, "0123456789"), b_digits = strspn(b, "0123456789");
    if (a_digits != b_digits) {
        return a_digits < b_digits ? -1 : 1;
    }
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 || a_len == b_len ? order : a_len < b_len ? -1 : 1;
}

/* Of two with the same unique part the one in cur/ comes first: it is the later name of the same message. */
static int compare(const void *a, const void *b, void *drop)
{
    const struct maildrop_message *x = a, *y = b;
    int order = compare_unique(name_of(drop, x), name_of(drop, y));
    return order != 0 ? order : (int)x->in_new - (int)y->in_new;
}

static struct maildrop_message *find(const struct maildrop *d, const char *name)
{
    size_t low = 0, high = d->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_unique(name, name_of(d, &d->messages[middle]));
        if (order == 0) {
            return &d->messages[middle];
        }
        *(order < 0 ? &high : &low) = order < 0 ? middle : middle + 1;
    }
    return NULL;
}

/* realloc moves pages, not bytes, so that the peak of a large mailbox is not twice its size. */
static bool make_room(void **array, size_t *room, size_t need, size_t size)
{
    size_t wanted = *room == 0 ? 4096 : *room;
    while (wanted < need && wanted < SIZE_MAX / 4 / size) {
        wanted += wanted / 2;
    }
    void *larger = wanted < need ? NULL : wanted == *room ? *array : realloc(*array, wanted * size);
    if (larger == NULL) {
        return false;
    }
    *array = larger;
    *room = wanted;
    return true;
}

static uint32_t add_name(struct maildrop *d, const char *name)
{
    size_t len = strlen(name) + 1;
    void *names = d->names;
    if (len > no_name - d->names_len || !make_room(&names, &d->names_room, d->names_len + len, 1)) {
        return no_name;
    }
    d->names = names;
    uint32_t at = (uint32_t)d->names_len;
    memcpy(d->names + at, name, len);
    d->names_len += len;
    return at;
}

/* The W= of Maildir++ (a delivery says so of a message that never changes). */
static uint64_t octets_in(const char *name)
{
    uint64_t octets;
    const char *at = strstr(name, ",W=");
    if (at == NULL || at > name + unique_len(name)) {
        return UINT64_MAX;
    }
    at += 3;
    return text_number(at, strcspn(at, ",:"), &octets) ? octets : UINT64_MAX;
}

static bool add_message(struct maildrop *d, const char *name, bool in_new)
{
    void *messages = d->messages;
    uint32_t at = add_name(d, name);
    if (at == no_name || !make_room(&messages, &d->room, d->count + 1, sizeof *d->messages)) {
        errno = ENOMEM;
        return false;
    }
    d->messages = messages;
    d->messages[d->count++] =
        (struct maildrop_message){.name = at, .in_new = in_new, .octets = octets_in(name)};
    return true;
}

/* ---- reading the directories ----------------------------------------------------------------- */

static bool is_message(const struct dirent *e)
{
    return e->d_name[0] != '.' && (e->d_type == DT_REG || e->d_type == DT_UNKNOWN);
}

static bool each_name(struct maildrop *d, bool in_new, bool (*use)(struct maildrop *, const char *, bool))
{
    DIR *dir = spool_list(in_new ? d->new : d->cur);
    if (dir == NULL) {
        return false;
    }
    bool ok = true;
    errno = 0;
    for (struct dirent *e; ok && (e = readdir(dir)) != NULL;) {
        ok = !is_message(e) || use(d, e->d_name, in_new);
        errno = ok ? 0 : errno;
    }
    int error = errno;
    closedir(dir);
    errno = error;
    return error == 0;
}

/* new/ first: a message that another program moves on meanwhile is then seen twice, not missed. */
static bool each_message(struct maildrop *d, bool (*use)(struct maildrop *, const char *, bool))
{
    return each_name(d, true, use) && each_name(d, false, use);
}

static bool changed(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec || a->tv_nsec != b->tv_nsec;
}

/* A name that changes while its directory is read may be missed (readdir(3)): then once more. */
static bool scan(struct maildrop *d)
{
    for (int i = 0; i < SCANS_MAX; i++) {
        struct stat new_before, cur_before, new_after, cur_after;
        d->count = d->names_len = 0;
        if (fstat(d->new, &new_before) != 0 || fstat(d->cur, &cur_before) != 0 ||
            !each_message(d, add_message) || fstat(d->new, &new_after) != 0 ||
            fstat(d->cur, &cur_after) != 0) {
            return false;
        }
        if (!changed(&new_before.st_mtim, &new_after.st_mtim) &&
            !changed(&cur_before.st_mtim, &cur_after.st_mtim)) {
            break;
        }
    }
    return true;
}

static void sort(struct maildrop *d)
{
    if (d->count == 0) {
        return;
    }
    qsort_r(d->messages, d->count, sizeof *d->messages, compare, d);
    size_t kept = 1;
    for (size_t i = 1; i < d->count; i++) {
        if (compare_unique(name_of(d, &d->messages[kept - 1]), name_of(d, &d->messages[i])) != 0) {
            d->messages[kept++] = d->messages[i];
        }
    }
    d->count = kept;
}

/* ---- opening --------------------------------------------------------------------------------- */

static enum maildrop_outcome lock(struct maildrop *d, int root)
{
    d->lock = openat(root, "formbridge.lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (d->lock < 0) {
        return MAILDROP_FAILED;
    }
    if (flock(d->lock, LOCK_EX | LOCK_NB) == 0) { /* ends with this process, however that ends */
        return MAILDROP_OK;
    }
    return errno == EWOULDBLOCK ? MAILDROP_IN_USE : MAILDROP_FAILED;
}

static enum maildrop_outcome open_parts(struct maildrop *d, const char *path)
{
    int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        return MAILDROP_FAILED;
    }
    enum maildrop_outcome outcome = MAILDROP_FAILED;
    d->new = openat(root, "new", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    d->cur = d->new < 0 ? -1 : openat(root, "cur", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (d->cur >= 0) {
        outcome = lock(d, root);
    }
    int error = errno;
    close(root);
    errno = error;
    return outcome;
}

enum maildrop_outcome maildrop_open(struct maildrop *d, const char *path, char *why, size_t why_size)
{
    *d = (struct maildrop){.lock = -1, .new = -1, .cur = -1};
    enum maildrop_outcome outcome = open_parts(d, path);
    if (outcome == MAILDROP_OK && !scan(d)) {
        outcome = MAILDROP_FAILED;
    }
    if (outcome == MAILDROP_OK) {
        sort(d);
        return MAILDROP_OK;
    }
    text_fmt(why, why_size,
             "Maildir %s: %s; its new/, cur/ and formbridge.lock must be the pickup's to read and write",
             path, outcome == MAILDROP_IN_USE ? "another session has it" : strerror(errno));
    maildrop_close(d);
    return outcome;
}

void maildrop_close(struct maildrop *d)
{
    const int fds[] = {d->new, d->cur, d->lock};
    for (size_t i = 0; i < COUNT(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    free(d->messages);
    free(d->names);
    *d = (struct maildrop){.lock = -1, .new = -1, .cur = -1};
}

/* ---- files that may have moved --------------------------------------------------------------- */

static bool note(struct maildrop *d, const char *name, bool in_new)
{
    struct maildrop_message *m = find(d, name);
    if (m == NULL || (m->refound && in_new)) {
        return true;
    }
    if (strcmp(name_of(d, m), name) != 0) {
        uint32_t at = add_name(d, name);
        if (at == no_name) {
            errno = ENOMEM;
            return false;
        }
        m->name = at;
    }
    m->in_new = in_new;
    m->refound = true;
    return true;
}

/* Learns every message's present name; those that have none are gone. */
static bool refresh(struct maildrop *d)
{
    for (size_t i = 0; i < d->count; i++) {
        d->messages[i].refound = false;
    }
    bool ok = each_message(d, note);
    for (size_t i = 0; ok && i < d->count; i++) {
        d->messages[i].gone = !d->messages[i].refound;
    }
    return ok;
}

static int open_plain(const struct maildrop *d, const struct maildrop_message *m)
{
    struct stat st;
    int fd =
        openat(m->in_new ? d->new : d->cur, name_of(d, m), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    return fd;
}

int maildrop_file(struct maildrop *d, size_t i)
{
    struct maildrop_message *m = &d->messages[i];
    int fd = m->gone ? -1 : open_plain(d, m);
    if (fd < 0 && !m->gone && errno == ENOENT && refresh(d) && !m->gone) {
        fd = open_plain(d, m);
    }
    return fd;
}

/* ---- sizes ----------------------------------------------------------------------------------- */

static bool count_octets(int fd, uint64_t *octets)
{
    unsigned char piece[PIECE];
    struct popcount count = {.octets = 0};
    ssize_t n;
    while ((n = read(fd, piece, sizeof piece)) > 0 || (n < 0 && errno == EINTR)) {
        popcount_put(&count, piece, n < 0 ? 0 : (size_t)n);
    }
    *octets = popcount_end(&count);
    return n == 0;
}

bool maildrop_measure(struct maildrop *d, size_t i)
{
    struct maildrop_message *m = &d->messages[i];
    if (m->octets != UINT64_MAX) {
        return !m->gone;
    }
    int fd = maildrop_file(d, i);
    uint64_t octets;
    bool ok = fd >= 0 && count_octets(fd, &octets);
    if (fd >= 0) {
        close(fd);
    }
    if (ok) {
        m->octets = octets;
    }
    return ok;
}

void maildrop_measure_all(struct maildrop *d)
{
    for (size_t i = 0; i < d->count; i++) {
        struct maildrop_message *m = &d->messages[i];
        if (!m->deleted && !m->gone && !maildrop_measure(d, i)) {
            m->gone = true;
        }
    }
}

/* ---- what the client sees -------------------------------------------------------------------- */

bool maildrop_has(const struct maildrop *d, uint64_t i)
{
    return i < d->count && !d->messages[i].deleted && !d->messages[i].gone;
}

size_t maildrop_stat(const struct maildrop *d, uint64_t *octets)
{
    size_t count = 0;
    *octets = 0;
    for (size_t i = 0; i < d->count; i++) {
        if (maildrop_has(d, i)) {
            count++;
            *octets += d->messages[i].octets == UINT64_MAX ? 0 : d->messages[i].octets;
        }
    }
    return count;
}

void maildrop_reset(struct maildrop *d)
{
    for (size_t i = 0; i < d->count; i++) {
        d->messages[i].deleted = false;
    }
}

void maildrop_uidl(const struct maildrop *d, size_t i, struct buf *out)
{
    const char *name = name_of(d, &d->messages[i]);
    size_t len = unique_len(name);
    bool plain = len <= MAILDROP_UIDL_MAX;
    for (size_t k = 0; k < len && plain; k++) {
        plain = name[k] > ' ' && name[k] < 0x7f;
    }
    if (plain) {
        buf_put(out, name, len);
        return;
    }
    unsigned char digest[br_sha256_SIZE];
    hash_digest(name, len, digest);
    buf_hex(out, digest, sizeof digest);
}

/* ---- QUIT ------------------------------------------------------------------------------------ */

static bool remove_one(struct maildrop *d, struct maildrop_message *m)
{
    for (int tries = 0; tries < 2 && !m->gone; tries++) {
        if (unlinkat(m->in_new ? d->new : d->cur, name_of(d, m), 0) == 0) {
            return true;
        }
        if (errno != ENOENT || !refresh(d)) {
            return false;
        }
    }
    return m->gone; /* another program has removed it: so be it */
}

/* Never over another message, nor where the unique part is not followed by the information that cur/ wants. What
 * cannot be moved is served from new/ again. */
static bool move_one(struct maildrop *d, const struct maildrop_message *m)
{
    char name[NAME_MAX + 1];
    const char *old = name_of(d, m);
    return text_fmt(name, sizeof name, "%.*s:2,S", (int)unique_len(old), old) &&
           renameat2(d->new, old, d->cur, name, RENAME_NOREPLACE) == 0;
}

bool maildrop_update(struct maildrop *d, char *why, size_t why_size)
{
    bool ok = true, touched = false;
    int error = 0;
    for (size_t i = 0; i < d->count; i++) {
        struct maildrop_message *m = &d->messages[i];
        if (m->deleted && !m->gone) {
            bool removed = remove_one(d, m);
            error = removed ? error : errno;
            ok = ok && removed;
            touched = true;
        }
    }
    for (size_t i = 0; i < d->count; i++) {
        struct maildrop_message *m = &d->messages[i];
        if (m->fetched && m->in_new && maildrop_has(d, i)) {
            touched = move_one(d, m) || touched;
        }
    }
    if (touched && (fsync(d->new) != 0 || fsync(d->cur) != 0)) {
        error = errno;
        ok = false;
    }
    if (!ok) {
        text_fmt(why, why_size, "%s", strerror(error));
    }
    return ok;
}
