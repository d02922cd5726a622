/* Each role narrows itself before its first byte from outside. Whatever fails here ends the role: there is no
 * "go on without". */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- who we are ------------------------------------------------------------------------------ */

bool sandbox_user(const char *user, char *why, size_t why_size)
{
    const struct passwd *pw = user == NULL ? NULL : getpwnam(user);
    if (user != NULL && pw == NULL) {
        text_fmt(why, why_size, "user %s does not exist: create it (adduser --system --group %s)", user,
                 user);
        return false;
    }
    if (pw != NULL && geteuid() != 0 && geteuid() != pw->pw_uid) {
        text_fmt(why, why_size, "cannot become user %s: start as root or as %s", user, user);
        return false;
    }
    if (pw != NULL && geteuid() == 0) {
        if (initgroups(user, pw->pw_gid) != 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) != 0 ||
            setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) != 0) {
            text_fmt(why, why_size, "cannot become user %s: %s", user, strerror(errno));
            return false;
        }
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        text_fmt(why, why_size, "cannot set no_new_privs: %s", strerror(errno));
        return false;
    }
#ifndef SANDBOX_SANITIZE /* LeakSanitizer traces its own process */
    /* No core files, which would hold keys and visitors' data, and no tracing by our own user. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
        text_fmt(why, why_size, "cannot forbid core files: %s", strerror(errno));
        return false;
    }
#endif
    return true;
}

/* ---- which files: Landlock ----------------------------------------------------------------------
 *
 * The structure and the rights as of Linux 6.12 (Documentation/userspace-api/landlock.rst): the headers may
 * be older than the kernel. What the kernel does not know is left out; ABI 2 (Linux 5.19) is the least we run
 * with, because without the REFER right no file could be moved from one directory to another. */

struct ruleset {
    uint64_t fs, net, scoped;
};

enum {
    FS_ABI1 = (1 << 13) - 1,
    FS_REFER = 1 << 13,
    FS_TRUNCATE = 1 << 14,  /* ABI 3 */
    FS_IOCTL_DEV = 1 << 15, /* ABI 5 */
    NET_BIND_TCP = 1 << 0,  /* ABI 4 */
    NET_CONNECT_TCP = 1 << 1,
    SCOPE_ABSTRACT_SOCKET = 1 << 0, /* ABI 6 */
    SCOPE_SIGNAL = 1 << 1,
    ABI_LEAST = 2,
};

static uint64_t fs_rights(unsigned allow)
{
    uint64_t rights = 0;
    if (allow & ALLOW_READ) {
        rights |= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    }
    if (allow & ALLOW_DROP) {
        rights |= LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
                  LANDLOCK_ACCESS_FS_REMOVE_FILE | FS_REFER | FS_TRUNCATE;
    }
    if (allow & ALLOW_MOVE) {
        rights |= LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE | FS_REFER;
    }
    if (allow & ALLOW_FOLDERS) {
        rights |= LANDLOCK_ACCESS_FS_MAKE_DIR;
    }
    return rights;
}

static bool add_path(int ruleset, const struct sandbox_path *p, uint64_t handled, char *why, size_t why_size)
{
    int fd = open(p->path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        text_fmt(why, why_size, "cannot open %s: %s", p->path, strerror(errno));
        return false;
    }
    struct stat st;
    uint64_t rights = fs_rights(p->allow) & handled;
    if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode)) { /* a rule on a file may only name rights of files */
        rights &= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE;
    }
    struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};
    bool ok =
        rights == 0 || syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
    if (!ok) {
        text_fmt(why, why_size, "Landlock refuses a rule for %s: %s", p->path, strerror(errno));
    }
    close(fd);
    return ok;
}

static void describe_ruleset(struct ruleset *r, size_t *size, long abi, bool connects)
{
    *r = (struct ruleset){.fs = FS_ABI1 | FS_REFER};
    *size = sizeof r->fs;
    if (abi >= 3) {
        r->fs |= FS_TRUNCATE;
    }
    if (abi >= 4) {
        r->net = NET_BIND_TCP | (connects ? 0 : NET_CONNECT_TCP);
        *size = offsetof(struct ruleset, scoped);
    }
    if (abi >= 5) {
        r->fs |= FS_IOCTL_DEV;
    }
    if (abi >= 6) {
        r->scoped = SCOPE_ABSTRACT_SOCKET | SCOPE_SIGNAL;
        *size = sizeof *r;
    }
}

static long landlock_abi(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

bool sandbox_kernel(char *why, size_t why_size)
{
    long abi = landlock_abi();
    if (abi < ABI_LEAST) {
        text_fmt(why, why_size,
                 "this kernel offers Landlock ABI %ld and at least %d is needed: Linux 5.19 or newer with "
                 "landlock "
                 "among the lsm= of its command line",
                 abi < 0 ? 0 : abi, ABI_LEAST);
        return false;
    }
    text_fmt(why, why_size, "sandbox: Landlock ABI %ld and seccomp", abi);
    return true;
}

bool sandbox_paths(enum sandbox_role role, const struct sandbox_path *paths, size_t count, char *why,
                   size_t why_size)
{
    long abi = landlock_abi();
    if (abi < ABI_LEAST) {
        return sandbox_kernel(why, why_size);
    }
    struct ruleset r;
    size_t size;
    describe_ruleset(&r, &size, abi, role == SANDBOX_COURIER);
    int fd = (int)syscall(SYS_landlock_create_ruleset, &r, size, 0);
    if (fd < 0) {
        text_fmt(why, why_size, "cannot make a Landlock ruleset: %s", strerror(errno));
        return false;
    }
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++) {
        ok = add_path(fd, &paths[i], r.fs, why, why_size);
    }
#ifdef SANDBOX_SANITIZE /* the sanitizers read /proc/self, their suppressions and symbols */
    struct sandbox_path everything = {"/", ALLOW_READ};
    ok = ok && add_path(fd, &everything, r.fs, why, why_size);
#endif
    if (ok && syscall(SYS_landlock_restrict_self, fd, 0) != 0) {
        text_fmt(why, why_size, "Landlock refuses to restrict: %s", strerror(errno));
        ok = false;
    }
    close(fd);
    return ok;
}

/* ---- which system calls: seccomp ----------------------------------------------------------------
 *
 * Lists of what a role was seen to need. A call that is not listed ends the process by SIGSYS; the parent
 * names it. */

/* Memory, time, threads that exist, leaving: what libc itself needs. sysinfo: qsort(3) asks how much memory the machine
 * has before it takes some for more than a kilobyte. */
static const int calls_all[] = {
    SCMP_SYS(read),           SCMP_SYS(write),        SCMP_SYS(writev),      SCMP_SYS(close),
    SCMP_SYS(fstat),          SCMP_SYS(newfstatat),   SCMP_SYS(munmap),      SCMP_SYS(mremap),
    SCMP_SYS(madvise),        SCMP_SYS(brk),          SCMP_SYS(futex),       SCMP_SYS(sched_yield),
    SCMP_SYS(clock_gettime),  SCMP_SYS(gettimeofday), SCMP_SYS(time),        SCMP_SYS(clock_nanosleep),
    SCMP_SYS(getrandom),      SCMP_SYS(getpid),       SCMP_SYS(gettid),      SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),           SCMP_SYS(exit_group),   SCMP_SYS(rseq),        SCMP_SYS(set_robust_list),
    SCMP_SYS(poll),           SCMP_SYS(ppoll),        SCMP_SYS(recvfrom),    SCMP_SYS(sysinfo),
};

/* The signer has nothing beyond calls_all: no file, no socket of its own. */

static const int calls_front[] = {
    SCMP_SYS(accept4),     SCMP_SYS(socketpair), SCMP_SYS(setsockopt),
    SCMP_SYS(getsockopt),  SCMP_SYS(epoll_ctl),  SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait), SCMP_SYS(openat),     SCMP_SYS(fsync),
    SCMP_SYS(fstatfs),     SCMP_SYS(syncfs),     SCMP_SYS(renameat),
    SCMP_SYS(renameat2),   SCMP_SYS(linkat),     SCMP_SYS(unlinkat),
    SCMP_SYS(pwrite64), /* a record to its place in the journal of oncelog.c */
};

static const int calls_courier[] = {
    SCMP_SYS(openat),     SCMP_SYS(open),       SCMP_SYS(access),      SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2), SCMP_SYS(stat),       SCMP_SYS(lstat),       SCMP_SYS(statx),
    SCMP_SYS(readlink),   SCMP_SYS(readlinkat), SCMP_SYS(getdents64),  SCMP_SYS(lseek),
    SCMP_SYS(pread64),    SCMP_SYS(ftruncate),  SCMP_SYS(fsync),       SCMP_SYS(linkat),
    SCMP_SYS(renameat),   SCMP_SYS(renameat2),  SCMP_SYS(unlink),      SCMP_SYS(unlinkat),
    SCMP_SYS(mkdirat),    SCMP_SYS(eventfd2),   SCMP_SYS(flock),       SCMP_SYS(connect),
    SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(getsockname), SCMP_SYS(recvmsg),
    SCMP_SYS(sendmsg),    SCMP_SYS(sendmmsg),   SCMP_SYS(bind),        SCMP_SYS(shutdown),
    SCMP_SYS(uname),      SCMP_SYS(getuid),     SCMP_SYS(geteuid),     SCMP_SYS(sched_getaffinity),
};

static const int calls_pickup[] = {
    SCMP_SYS(accept4),     SCMP_SYS(setsockopt), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait), SCMP_SYS(flock),      SCMP_SYS(openat),    SCMP_SYS(getdents64),
    SCMP_SYS(lseek),       SCMP_SYS(pread64),    SCMP_SYS(fsync),     SCMP_SYS(renameat),
    SCMP_SYS(renameat2),   SCMP_SYS(unlinkat),
};

#ifdef SANDBOX_SANITIZE
static const int calls_sanitizer[] = {
    SCMP_SYS(openat),
    SCMP_SYS(open),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(ptrace),
    SCMP_SYS(wait4),
    SCMP_SYS(clone),
    SCMP_SYS(prctl),
    SCMP_SYS(getdents64),
    SCMP_SYS(mmap),
    SCMP_SYS(mprotect),
    SCMP_SYS(kill),
    SCMP_SYS(tgkill),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(getppid),
    SCMP_SYS(arch_prctl),
    SCMP_SYS(prlimit64),
    SCMP_SYS(getrlimit),
    SCMP_SYS(pipe2),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(stat),
    SCMP_SYS(lseek),
    SCMP_SYS(pread64),
    SCMP_SYS(ioctl),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(access),
    SCMP_SYS(fcntl),
    SCMP_SYS(setitimer),
    SCMP_SYS(uname),
    SCMP_SYS(rt_sigtimedwait),
    SCMP_SYS(dup),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(sched_setaffinity),
    SCMP_SYS(rt_sigpending),
    SCMP_SYS(getcwd),
    SCMP_SYS(getdents),
};
#endif

static int *bad_call_place;

static void on_bad_call(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    *bad_call_place = info->si_syscall;
    _exit(128 + SIGSYS);
}

static int allow(scmp_filter_ctx filter, const int *calls, size_t count)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
        if (rc == -EDOM || rc == -EEXIST) { /* not a call of this architecture, or listed twice */
            rc = 0;
        }
    }
    return rc;
}

/* Of a call that can do many things those that are named: its second argument is one of these. */
static int allow_some(scmp_filter_ctx filter, int call, const unsigned long *what, size_t count)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1, SCMP_A1(SCMP_CMP_EQ, what[i], 0));
        rc = rc == -EEXIST ? 0 : rc; /* allowed altogether */
    }
    return rc;
}

#ifndef SANDBOX_SANITIZE
/* Memory may never become code. */
static int allow_memory(scmp_filter_ctx filter)
{
    int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return rc != 0 ? rc
                   : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                                      SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

/* Signals reach nobody but ourselves, as abort(3) sends one. fcntl(2) could have the kernel send them to others
 * (F_SETOWN, F_SETSIG). */
static int allow_signals(scmp_filter_ctx filter)
{
    static const unsigned long commands[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_OFD_SETLK};
    int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
    return rc != 0 ? rc : allow_some(filter, SCMP_SYS(fcntl), commands, COUNT(commands));
}
#endif

/* The courier starts threads, looks up names and connects: no process, and no socket but these three
 * families. */
static int allow_courier(scmp_filter_ctx filter)
{
    int rc = allow(filter, calls_courier, COUNT(calls_courier));
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6,
                                   AF_NETLINK /* getaddrinfo asks for addresses */};
    for (size_t i = 0; i < COUNT(families) && rc == 0; i++) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0));
    }
    if (rc == 0) { /* the resolver's: how much has come, and the zone of a link-local address */
        static const unsigned long requests[] = {FIONREAD, SIOCGIFINDEX};
        rc = allow_some(filter, SCMP_SYS(ioctl), requests, COUNT(requests));
    }
    if (rc == 0) { /* its flags are behind a pointer that a filter cannot read; libc then takes clone */
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    }
    if (rc == 0) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM));
    }
    return rc;
}

/* Sending, but not with MSG_FASTOPEN: a listening socket that is shut down and then sent through with that flag would
 * connect, where neither connect(2) is on the list nor Landlock looks. */
static int allow_sending(scmp_filter_ctx filter)
{
    int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 1,
                              SCMP_A3(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0));
    return rc != 0 ? rc
                   : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendmsg), 1,
                                      SCMP_A2(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0));
}

/* The end of what is sent, but not of what is received: that would end a listening socket for all who share it. */
static int allow_goodbye(scmp_filter_ctx filter)
{
    int rc =
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(shutdown), 1, SCMP_A1(SCMP_CMP_EQ, SHUT_WR, 0));
    return rc != 0 ? rc
                   : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(shutdown), 1,
                                      SCMP_A1(SCMP_CMP_NE, SHUT_WR, 0));
}

static int build_filter(scmp_filter_ctx filter, enum sandbox_role role)
{
    int rc = allow(filter, calls_all, COUNT(calls_all));
#ifdef SANDBOX_SANITIZE
    rc = rc != 0 ? rc : allow(filter, calls_sanitizer, COUNT(calls_sanitizer));
#else
    rc = rc != 0 ? rc : allow_memory(filter);
    rc = rc != 0 ? rc : allow_signals(filter);
#endif
    if (rc == 0 && role == SANDBOX_COURIER) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 0);
    } else if (rc == 0) {
        rc = allow_sending(filter);
    }
    if (rc == 0 && role == SANDBOX_FRONT) {
        rc = allow(filter, calls_front, COUNT(calls_front));
        rc = rc != 0 ? rc : allow_goodbye(filter);
    }
    if (rc == 0 && role == SANDBOX_PICKUP) {
        rc = allow(filter, calls_pickup, COUNT(calls_pickup));
        rc = rc != 0 ? rc : allow_goodbye(filter);
    }
    if (rc == 0 && role == SANDBOX_COURIER) {
        rc = allow_courier(filter);
    }
    if (rc == 0) { /* every thread, the ones that exist already too */
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    }
    return rc;
}

bool sandbox_calls(enum sandbox_role role, int *bad_call, char *why, size_t why_size)
{
    bad_call_place = bad_call;
    struct sigaction trap = {.sa_sigaction = on_bad_call, .sa_flags = SA_SIGINFO};
    if (sigaction(SIGSYS, &trap, NULL) != 0) {
        text_fmt(why, why_size, "cannot handle SIGSYS: %s", strerror(errno));
        return false;
    }
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
    int rc = filter == NULL ? -ENOMEM : build_filter(filter, role);
    rc = rc != 0 ? rc : seccomp_load(filter);
    if (filter != NULL) {
        seccomp_release(filter);
    }
    if (rc != 0) {
        text_fmt(why, why_size, "cannot load the system call filter: %s", strerror(-rc));
        return false;
    }
    return true;
}

void sandbox_call_name(int number, char *out, size_t size)
{
    char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
    text_fmt(out, size, "%s", name == NULL ? "unknown" : name);
    free(name);
}
