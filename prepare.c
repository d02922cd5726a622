/* What is done to the spool before the first front starts, in a process of its own: the parent may be root, and what is
 * in the spool belongs to its user. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

/* Removes what an earlier run left half-written; not while the courier of another run still has the spool. */
static void sweep_spool(struct spool *s)
{
    int lock = openat(s->root, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0) {
        size_t removed = spool_sweep(s);
        if (removed > 0) {
            log_info("removed %zu unfinished submissions of an earlier run: none had been answered", removed);
        }
    }
}

/* What stands in secret is a good one, too: pages that are open now then lose their tokens with this run. */
static void find_secret(struct spool *s, unsigned char *secret)
{
    unsigned char kept[SECRET_SIZE];
    if (secret_load(s->root, TOKEN_SECRET_FILE, kept)) {
        memcpy(secret, kept, SECRET_SIZE);
    } else {
        log_warn("cannot keep %s in the spool: %s; tokens of forms are good until the next start only",
                 TOKEN_SECRET_FILE, strerror(errno));
    }
    explicit_bzero(kept, sizeof kept);
}

_Noreturn static void prepare(const struct conf *c, struct once *once, unsigned char *shared)
{
    char why[REASON_SIZE];
    struct spool s;
    if (!sandbox_user(c->user, why, sizeof why) || !spool_open(&s, c->spool, why, sizeof why)) {
        log_error("%s", why);
        _exit(EX_CONFIG);
    }
    sweep_spool(&s);
    find_secret(&s, shared);
    if (!oncelog_load(once, s.root, time(NULL), why, sizeof why)) {
        log_warn("%s", why);
    }
    _exit(EX_OK);
}

static bool prepare_apart(const struct conf *c, struct once *once, unsigned char *shared)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        prepare(c, once, shared);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return false;
        }
    }
    if (pid > 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != EX_OK)) {
        errno = ECHILD; /* it has said why, or the kernel has */
        return false;
    }
    return pid > 0;
}

bool prepare_spool(const struct conf *c, struct once *once, unsigned char secret[SECRET_SIZE])
{
    unsigned char *shared =
        mmap(NULL, SECRET_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        return false;
    }
    bool ok = getrandom(shared, SECRET_SIZE, 0) == SECRET_SIZE;
    ok = ok && prepare_apart(c, once, shared);
    int error = errno;
    memcpy(secret, shared, SECRET_SIZE);
    explicit_bzero(shared, SECRET_SIZE);
    munmap(shared, SECRET_SIZE);
    errno = error;
    return ok;
}
