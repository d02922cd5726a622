/* sandbox.c: what each role can no longer do once it has narrowed itself, and what it still can. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { REFUSED_TO_NARROW = 200, WHY = 512 };

#ifdef SANDBOX_SANITIZE
enum { LOOSE = 1 }; /* this build lets every file be read, and makes some calls, for the sanitizers */
#else
enum { LOOSE = 0 };
#endif

static char root[] = "/tmp/formbridge-sandbox-XXXXXX";
static int *bad_call; /* shared with the child */
static pid_t test_pid;
static int queue_fd, tmp_fd, listener, spare, channel[2]; /* spare: another listener, to be spoilt */
static struct sockaddr_in address;                        /* of listener */

static void path_of(char out[PATH_MAX], const char *name)
{
    assert_true(text_fmt(out, PATH_MAX, "%s/%s", root, name));
}

static void make_file(const char *name)
{
    char path[PATH_MAX];
    path_of(path, name);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    assert_true(fd >= 0 && write(fd, "x", 1) == 1);
    close(fd);
}

static int make_directory(const char *name)
{
    char path[PATH_MAX];
    path_of(path, name);
    assert_int_equal(mkdir(path, 0700), 0);
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(root));
    test_pid = getpid();
    tmp_fd = make_directory("tmp");
    queue_fd = make_directory("queue");
    close(make_directory("mailbox"));
    make_file("queue/committed");
    make_file("key.pem");
    bad_call = mmap(NULL, sizeof *bad_call, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(bad_call, MAP_FAILED);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, channel), 0);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    spare = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(listen(spare, 8), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"queue/committed", "queue/new", "tmp/new", "mailbox/new", "key.pem",
                                        "outside",         "queue",     "tmp",     "mailbox",     ""};
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[PATH_MAX];
        path_of(path, names[i]);
        remove(path);
    }
    close(listener);
    close(spare);
    return 0;
}

/* ---- what is tried: each returns 0 or an errno ----------------------------------------------- */

static int result(long rc)
{
    return rc < 0 ? errno : 0;
}

static int open_path(const char *name, int flags)
{
    char path[PATH_MAX];
    path_of(path, name);
    return result(open(path, flags | O_CLOEXEC, 0600));
}

#ifndef SANDBOX_SANITIZE
static int read_committed(void)
{
    return result(openat(queue_fd, "committed", O_RDONLY));
}

static int list_queue(void)
{
    return open_path("queue", O_RDONLY | O_DIRECTORY);
}
#endif

static int write_committed(void)
{
    return result(openat(queue_fd, "committed", O_WRONLY));
}

static int cut_committed(void)
{
    return result(openat(queue_fd, "committed", O_WRONLY | O_TRUNC));
}

static int write_beside_committed(void)
{
    return result(openat(queue_fd, "committed.state", O_WRONLY | O_CREAT | O_EXCL, 0600));
}

static int take_committed_back(void)
{
    return result(renameat(queue_fd, "committed", tmp_fd, "committed"));
}

static int shut_the_door(void)
{
    return result(shutdown(listener, SHUT_RDWR));
}

static int read_key(void)
{
    return open_path("key.pem", O_RDONLY);
}

static int list_open_queue(void)
{
    char entries[4096];
    return result(syscall(SYS_getdents64, queue_fd, entries, sizeof entries));
}

static int write_outside(void)
{
    return open_path("outside", O_WRONLY | O_CREAT);
}

static int write_key(void)
{
    return open_path("key.pem", O_WRONLY | O_TRUNC);
}

static int remove_key(void)
{
    char path[PATH_MAX];
    path_of(path, "key.pem");
    return result(unlinkat(AT_FDCWD, path, 0));
}

static int open_socket(void)
{
    return result(socket(AF_INET, SOCK_STREAM, 0));
}

static int open_raw_socket(void)
{
    return result(socket(AF_PACKET, SOCK_RAW, 0));
}

static int connect_out(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return result(fd < 0 ? -1 : connect(fd, (const struct sockaddr *)&address, sizeof address));
}

static int connect_held(void) /* without socket(), on a descriptor that a role might hold */
{
    return result(connect(listener, (const struct sockaddr *)&address, sizeof address));
}

static int connect_by_sending(
    void) /* TCP Fast Open: connects what Landlock and the list of calls let through */
{
    shutdown(spare, SHUT_RDWR);
    return result(sendto(spare, "x", 1, MSG_FASTOPEN, (const struct sockaddr *)&address, sizeof address));
}

static int bind_port(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return result(fd < 0 ? -1 : bind(fd, (const struct sockaddr *)&any, sizeof any));
}

static int start_program(void)
{
    char *const nothing[] = {NULL};
    return result(execve("/bin/true", nothing, nothing));
}

static int start_process(void)
{
    return result(fork());
}

static int signal_another(void)
{
    return result(kill(1, 0));
}

static int signal_a_thread(void) /* of another process */
{
    return result(syscall(SYS_tgkill, test_pid, test_pid, 0));
}

static int signal_by_input(void) /* as F_SETOWN and O_ASYNC would */
{
    return result(fcntl(channel[0], F_SETOWN, 1));
}

static int type_on_terminal(void)
{
    return result(ioctl(0, TIOCSTI, "x"));
}

static int abort_itself(void)
{
    struct sigaction end = {.sa_handler = _exit};
    sigaction(SIGABRT, &end, NULL);
    abort();
}

static int write_memory(void)
{
    return result(syscall(SYS_process_vm_writev, getpid(), NULL, 0, NULL, 0, 0));
}

static int make_code(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? errno : 0;
}

static int make_rule(
    void) /* a filter cannot be replaced by a kinder one, but nobody needs to add one either */
{
    return result(syscall(SYS_seccomp, 1, 0, NULL));
}

static int change_mode(void)
{
    return result(fchmodat(queue_fd, "committed", 0666, 0));
}

static int commit_message(void)
{
    int fd = openat(tmp_fd, "new", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, "x", 1) == 1 && fsync(fd) == 0 &&
              renameat2(tmp_fd, "new", queue_fd, "new", RENAME_NOREPLACE) == 0 && fsync(queue_fd) == 0 &&
              unlinkat(queue_fd, "new", 0) == 0;
    return ok ? 0 : errno;
}

static int deliver_message(void)
{
    char to[PATH_MAX];
    path_of(to, "mailbox/new");
    char buffer[1];
    int fd = openat(queue_fd, "committed", O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && read(fd, buffer, 1) == 1 && linkat(queue_fd, "committed", AT_FDCWD, to, 0) == 0 &&
              unlink(to) == 0 && list_open_queue() == 0;
    return ok ? 0 : errno;
}

static int exchange_bytes(void)
{
    char byte = 'x';
    bool ok = send(channel[0], &byte, 1, MSG_NOSIGNAL) == 1 && recv(channel[1], &byte, 1, MSG_DONTWAIT) == 1;
    return ok ? 0 : errno;
}

/* ---- in a child that has narrowed itself ----------------------------------------------------- */

static void narrow(enum sandbox_role role)
{
    char why[WHY], tmp[PATH_MAX], queue[PATH_MAX], mailbox[PATH_MAX];
    path_of(tmp, "tmp");
    path_of(queue, "queue");
    path_of(mailbox, "mailbox");
    const struct sandbox_path front[] = {{tmp, ALLOW_DROP}, {queue, ALLOW_MOVE}};
    const struct sandbox_path courier[] = {
        {tmp, ALLOW_READ | ALLOW_DROP}, {queue, ALLOW_READ | ALLOW_DROP}, {mailbox, ALLOW_READ | ALLOW_DROP}};
    const struct sandbox_path *paths = role == SANDBOX_FRONT     ? front
                                       : role == SANDBOX_COURIER ? courier
                                                                 : NULL;
    size_t count = role == SANDBOX_FRONT ? COUNT(front) : role == SANDBOX_COURIER ? COUNT(courier) : 0;
    if (!sandbox_user(NULL, why, sizeof why) || !sandbox_paths(role, paths, count, why, sizeof why) ||
        !sandbox_calls(role, bad_call, why, sizeof why)) {
        _exit(REFUSED_TO_NARROW);
    }
}

/* The exit code: 0 or an errno, or 128 + SIGSYS if the call ended the process. */
static int outcome(enum sandbox_role role, int (*attempt)(void))
{
    *bad_call = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        narrow(role);
        _exit(attempt());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void refused(enum sandbox_role role, int (*attempt)(void))
{
    assert_int_equal(outcome(role, attempt), EACCES);
    assert_int_equal(*bad_call, -1);
}

static void ended(enum sandbox_role role, int (*attempt)(void), const char *call)
{
    char name[64];
    assert_int_equal(outcome(role, attempt), 128 + SIGSYS);
    sandbox_call_name(*bad_call, name, sizeof name);
    assert_string_equal(name, call);
}

/* ---- tests ----------------------------------------------------------------------------------- */

#ifndef SANDBOX_SANITIZE
static void test_the_front_cannot_read_what_visitors_sent_before(void **state)
{
    (void)state;
    ended(SANDBOX_FRONT, list_open_queue, "getdents64");
    refused(SANDBOX_FRONT, read_committed);
    refused(SANDBOX_FRONT, list_queue);
}
#endif

static void test_the_front_cannot_change_what_visitors_sent_before(void **state)
{
    (void)state;
    refused(SANDBOX_FRONT, write_committed);
    refused(SANDBOX_FRONT, cut_committed);
    refused(SANDBOX_FRONT, write_beside_committed);
    assert_int_equal(outcome(SANDBOX_FRONT, take_committed_back), EXDEV); /* it would gain rights there */
}

static void test_the_front_cannot_shut_the_door_that_all_share(void **state)
{
    (void)state;
    assert_int_equal(outcome(SANDBOX_FRONT, shut_the_door), EPERM);
}

static void test_the_front_cannot_reach_a_key_or_any_other_file(void **state)
{
    (void)state;
    refused(SANDBOX_FRONT, write_key);
    refused(SANDBOX_FRONT, remove_key);
    refused(SANDBOX_FRONT, write_outside);
    ended(SANDBOX_FRONT, change_mode, "fchmodat");
    if (!LOOSE) {
        refused(SANDBOX_FRONT, read_key);
    }
}

static void test_the_front_cannot_connect_to_anything(void **state)
{
    (void)state;
    ended(SANDBOX_FRONT, open_socket, "socket");
    ended(SANDBOX_FRONT, connect_held, "connect");
    ended(SANDBOX_FRONT, connect_by_sending, "sendto");
}

static void test_the_front_can_commit_a_message(void **state)
{
    (void)state;
    assert_int_equal(outcome(SANDBOX_FRONT, commit_message), 0);
}

static void test_the_signer_has_no_file_and_no_socket_of_its_own(void **state)
{
    (void)state;
    ended(SANDBOX_SIGNER, open_socket, "socket");
    ended(SANDBOX_SIGNER, connect_held, "connect");
    ended(SANDBOX_SIGNER, remove_key, "unlinkat");
    if (!LOOSE) {
        ended(SANDBOX_SIGNER, read_key, "openat");
        ended(SANDBOX_SIGNER, list_open_queue, "getdents64");
    }
    assert_int_equal(outcome(SANDBOX_SIGNER, exchange_bytes), 0);
}

static void test_the_courier_reaches_its_mailboxes_and_no_other_file(void **state)
{
    (void)state;
    assert_int_equal(outcome(SANDBOX_COURIER, deliver_message), 0);
    refused(SANDBOX_COURIER, write_outside);
    refused(SANDBOX_COURIER, write_key);
    if (!LOOSE) {
        refused(SANDBOX_COURIER, read_key);
    }
}

static void test_the_courier_connects_and_does_not_listen(void **state)
{
    (void)state;
    assert_int_equal(outcome(SANDBOX_COURIER, connect_out), 0);
    refused(SANDBOX_COURIER, bind_port);
    ended(SANDBOX_COURIER, open_raw_socket, "socket");
}

static void test_no_role_starts_a_program_or_reaches_another_process(void **state)
{
    (void)state;
    static const enum sandbox_role roles[] = {SANDBOX_SIGNER, SANDBOX_FRONT, SANDBOX_COURIER};
    for (size_t i = 0; i < COUNT(roles); i++) {
        ended(roles[i], start_program, "execve");
        ended(roles[i], write_memory, "process_vm_writev");
        ended(roles[i], make_rule, "seccomp");
        if (!LOOSE) {
            ended(roles[i], start_process, "clone");
            ended(roles[i], signal_another, "kill");
            ended(roles[i], signal_a_thread, "tgkill");
            ended(roles[i], signal_by_input, "fcntl");
            ended(roles[i], type_on_terminal, "ioctl");
            assert_int_equal(outcome(roles[i], abort_itself), SIGABRT);
            ended(roles[i], make_code, "mmap");
        }
    }
}

static void test_a_call_without_a_name_is_called_unknown(void **state)
{
    (void)state;
    char name[64];
    sandbox_call_name(987654, name, sizeof name);
    assert_string_equal(name, "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifndef SANDBOX_SANITIZE
        cmocka_unit_test(test_the_front_cannot_read_what_visitors_sent_before),
#endif
        cmocka_unit_test(test_the_front_cannot_change_what_visitors_sent_before),
        cmocka_unit_test(test_the_front_cannot_shut_the_door_that_all_share),
        cmocka_unit_test(test_the_front_cannot_reach_a_key_or_any_other_file),
        cmocka_unit_test(test_the_front_cannot_connect_to_anything),
        cmocka_unit_test(test_the_front_can_commit_a_message),
        cmocka_unit_test(test_the_signer_has_no_file_and_no_socket_of_its_own),
        cmocka_unit_test(test_the_courier_reaches_its_mailboxes_and_no_other_file),
        cmocka_unit_test(test_the_courier_connects_and_does_not_listen),
        cmocka_unit_test(test_no_role_starts_a_program_or_reaches_another_process),
        cmocka_unit_test(test_a_call_without_a_name_is_called_unknown),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
