/* A check in a process of its own, which becomes another user on the way, and which nobody who serves has to wait
 * for: a disk may hang. */

#include "bridge.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum { WAIT = 120 }; /* seconds for all of it */

static void report(struct buf *out, enum check_kind kind)
{
    if (!check_quiet(kind)) {
        fwrite(out->data, 1, out->len, stdout);
        fflush(stdout);
        return;
    }
    for (char *line = (char *)out->data, *end; line < (char *)out->data + out->len; line = end + 1) {
        end = memchr(line, '\n',
                     (size_t)((char *)out->data + out->len - line)); /* every finding ends with one */
        *end = '\0';
        if (strncmp(line, "problem: ", 9) == 0) {
            log_error("%s", line + 9);
        } else if (strncmp(line, "made: ", 6) == 0) {
            log_info("%s", line);
        } else {
            log_warn("%s", line + 9); /* "warning: " is as long */
        }
    }
}

_Noreturn static void look(const struct conf *c, enum check_kind kind, char *at)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    prctl(PR_SET_NAME, "fb-check");
    close_range(3, ~0u, 0); /* one that hangs must keep neither a door open nor the spool locked */
    unsigned problems = check_run(c, kind, &out, at);
    report(&out, kind);
    _exit(problems == 0 ? EX_OK : EX_CONFIG);
}

bool checkup_begin(struct checkup *u, const struct conf *c, enum check_kind kind)
{
    if (u->at == NULL) {
        void *shared = mmap(NULL, CHECK_AT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        u->at = shared == MAP_FAILED ? NULL : shared;
    }
    if (u->at != NULL) {
        text_copy(u->at, CHECK_AT_SIZE, "its beginning");
    }
    u->pid = u->at == NULL ? -1 : fork();
    if (u->pid == 0) {
        look(c, kind, u->at);
    }
    if (u->pid < 0) {
        log_error("cannot check: %s", strerror(errno));
        u->pid = 0;
        return false;
    }
    u->until = clock_s() + WAIT;
    return true;
}

bool checkup_end(struct checkup *u, int status)
{
    u->pid = 0;
    if (WIFSIGNALED(status)) {
        log_error("cannot check: the process was ended by signal %d", WTERMSIG(status));
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == EX_OK;
}

bool checkup_hangs(struct checkup *u)
{
    if (u->pid == 0 || clock_s() < u->until) {
        return false;
    }
    log_error("cannot check: it takes more than %d seconds, and is at %s now; does a disk hang?", WAIT,
              u->at);
    checkup_stop(u);
    return true;
}

void checkup_stop(struct checkup *u)
{
    if (u->pid != 0) {
        kill(u->pid, SIGKILL);
        u->pid = 0;
    }
}

bool checkup_run(const struct conf *c, enum check_kind kind)
{
    struct checkup u = {.pid = 0};
    int status;
    return checkup_begin(&u, c, kind) && waitpid(u.pid, &status, 0) == u.pid && checkup_end(&u, status);
}
