/*
 * What once.c must remember across a restart, in the spool:
 *
 *     once/key       the secret of this installation, 32 bytes, made at the first start
 *     once/journal   a ring of ONCELOG_RECORDS records of 64 bytes, each written twice in its place: before its
 *                    submission is stored ("c"), and when it is durable ("s"), before anybody is told
 *
 *     record = state, version, receipt (14), time (8), key (16), check (16), seal (8)
 *
 * The key and check are keyed hashes, the seal one over the rest: what is torn, of another installation or
 * another machine is passed over, and nothing in it tells what a visitor sent.
 *
 * What a kill at any moment leaves, when the same content comes again within its window:
 *
 *     killed after                  the record says   the repeat
 *     ---------------------------   ---------------   ------------------------------------------------------
 *     the claim, in memory          nothing           is the first: nothing was stored
 *     "c" was written               c                 is stored under the same receipt
 *     the rename to queue/          c                 the same: it replaces itself in queue/; in a mailbox that has the
 *                                                     first it is a second mail, with the same Message-ID
 *     "s" was written               s                 gets the receipt; nothing is stored
 *
 * The records are not synced, since that would cost a flush each: after a power cut those of the last seconds may be
 * missing, and a repeat of what they knew is a second mail. So is one that was delivered over SMTP, or taken out of its
 * Maildir's new/, between the rename and the "s"; it carries the same Message-ID. A journal that cannot be written is
 * reported once and costs no submission.
 */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    RECORD = 64,
    SEAL_AT = 56,
    VERSION = 1,
    READ_LOT = 256, /* records */
};

/* ---- records (pure) -------------------------------------------------------------------------- */

static void put_record(struct once *o, unsigned char out[RECORD], const struct once_claim *c, bool stored)
{
    unsigned char seal[ONCE_KEY];
    const uint64_t time = (uint64_t)c->time;
    out[0] = stored ? 's' : 'c';
    out[1] = VERSION;
    memcpy(out + 2, c->ref, REF_LEN);
    for (size_t i = 0; i < 8; i++) {
        out[16 + i] = (unsigned char)(time >> (8 * i));
    }
    memcpy(out + 24, c->key, ONCE_KEY);
    memcpy(out + 40, c->check, ONCE_KEY);
    once_seal(o, out, SEAL_AT, seal);
    memcpy(out + SEAL_AT, seal, RECORD - SEAL_AT);
}

bool oncelog_record(struct once *o, const unsigned char *record, struct once_claim *c, bool *stored)
{
    unsigned char seal[ONCE_KEY];
    uint64_t time = 0;
    once_seal(o, record, SEAL_AT, seal);
    if (memcmp(seal, record + SEAL_AT, RECORD - SEAL_AT) != 0 || record[1] != VERSION) {
        return false;
    }
    *c = (struct once_claim){.held = false};
    memcpy(c->ref, record + 2, REF_LEN);
    for (size_t i = 0; i < 8; i++) {
        time |= (uint64_t)record[16 + i] << (8 * i);
    }
    c->time = (int64_t)time;
    memcpy(c->key, record + 24, ONCE_KEY);
    memcpy(c->check, record + 40, ONCE_KEY);
    *stored = record[0] == 's';
    return spool_ref_ok(c->ref);
}

/* ---- writing: a front's commit thread -------------------------------------------------------- */

bool oncelog_open(struct oncelog *l, struct once *o, const char *spool, char *why, size_t why_size)
{
    char path[PATH_MAX];
    *l = (struct oncelog){.once = o, .fd = -1};
    if (text_fmt(path, sizeof path, "%s/once/journal", spool)) {
        l->fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    } else {
        errno = ENAMETOOLONG;
    }
    if (l->fd < 0) {
        text_fmt(why, why_size,
                 "%s/once/journal: %s: a repeat that comes after a restart will be a second mail", spool,
                 strerror(errno));
    }
    return l->fd >= 0;
}

void oncelog_close(struct oncelog *l)
{
    if (l->fd >= 0) {
        close(l->fd);
        l->fd = -1;
    }
}

/* The places of a lot follow each other, but for the end of the ring. */
static bool write_at(const struct oncelog *l, uint64_t place, const unsigned char *records, size_t count)
{
    while (count > 0) {
        uint64_t at = place % ONCELOG_RECORDS;
        size_t n = count < ONCELOG_RECORDS - at ? count : (size_t)(ONCELOG_RECORDS - at);
        ssize_t written = pwrite(l->fd, records, n * RECORD, (off_t)(at * RECORD));
        if (written != (ssize_t)(n * RECORD)) {
            errno = written < 0 ? errno : ENOSPC; /* a short one */
            return false;
        }
        records += n * RECORD;
        place += n;
        count -= n;
    }
    return true;
}

static void write_lot(struct oncelog *l, struct once_claim *const *claims, const bool *stored, size_t n)
{
    unsigned char records[ONCELOG_LOT_MAX * RECORD];
    size_t held = 0;
    for (size_t i = 0; i < n && held < ONCELOG_LOT_MAX; i++) {
        if (claims[i]->held) {
            put_record(l->once, records + held++ * RECORD, claims[i], stored != NULL && stored[i]);
        }
    }
    if (held == 0 || l->fd < 0) {
        return;
    }
    if (stored == NULL) {
        l->place = once_place(l->once, held);
    }
    if (write_at(l, l->place, records, held)) {
        l->failed = false;
    } else if (!l->failed) {
        l->failed = true;
        log_warn("the journal in once/ of the spool cannot be written (%s): mail is taken all the same, but "
                 "a repeat that "
                 "comes after a restart will be a second mail",
                 strerror(errno));
    }
}

void oncelog_begin(struct oncelog *l, struct once_claim *const *claims, size_t n)
{
    write_lot(l, claims, NULL, n);
}

void oncelog_end(struct oncelog *l, struct once_claim *const *claims, const bool *stored, size_t n)
{
    write_lot(l, claims, stored, n);
    for (size_t i = 0; i < n; i++) {
        once_settle(l->once, claims[i], stored[i]);
    }
}

/* ---- reading, once at the start -------------------------------------------------------------- */

/* The next place to write is behind the newest record. */
static void read_journal(struct once *o, int fd, int64_t now)
{
    unsigned char records[READ_LOT * RECORD];
    struct once_claim c;
    bool stored;
    uint64_t at = 0, next = 0;
    int64_t newest = INT64_MIN;
    ssize_t got;
    while (at < ONCELOG_RECORDS &&
           (got = pread(fd, records, sizeof records, (off_t)(at * RECORD))) >= RECORD) {
        for (size_t i = 0; i < (size_t)got / RECORD; i++, at++) {
            if (!oncelog_record(o, records + i * RECORD, &c, &stored)) {
                continue;
            }
            if (c.time >= newest) {
                newest = c.time;
                next = at + 1;
            }
            if (now - c.time < ONCE_WINDOW_MAX && c.time - now < ONCE_WINDOW_MAX) {
                once_restore(o, &c, stored);
            }
        }
    }
    once_place(o, next);
}

bool oncelog_load(struct once *o, int root, int64_t now, char *why, size_t why_size)
{
    unsigned char secret[SECRET_SIZE];
    int dir = mkdirat(root, "once", 0700) == 0 || errno == EEXIST
                  ? openat(root, "once", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                  : -1;
    bool ok =
        dir >= 0 && secret_load(dir, "key", secret); /* with a new one the journal says nothing any more */
    if (!ok) {
        text_fmt(why, why_size, "once/key in the spool: %s: repeats are known only until the next restart",
                 strerror(errno));
    }
    if (ok) {
        once_secret(o, secret);
    }
    explicit_bzero(secret, sizeof secret);
    int fd = dir < 0 ? -1 : openat(dir, "journal", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) {
        read_journal(o, fd, now);
        close(fd);
    }
    if (dir >= 0) {
        close(dir);
    }
    return ok;
}
