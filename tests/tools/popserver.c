/* Runs pop3.c with a signer of its own, for the tests: one pickup, nothing else.
 *
 *   popserver chain=FILE key=FILE listen=ADDRESS:PORT maildir=PATH name=USER password=HASH [max_connections=N]
 *             [max_per_address=N] [login_timeout=SECONDS] [idle_timeout=SECONDS] [drain_timeout=SECONDS] [sandbox=no]
 *   popserver hash=PASSWORD
 *   popserver passwd
 *
 * Prints "ready" and the process id of the server when it listens; ends on SIGTERM. */

#include "bridge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

struct options {
    const char *chain, *key, *hash;
    struct endpoint listen;
    struct pickup pickup;
    bool narrow;
};

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
    (void)sig;
    stop = 1;
}

static void fail(const char *why)
{
    fprintf(stderr, "popserver: %s\n", why);
    exit(70);
}

static bool set(struct options *o, const char *key, char *value)
{
    const struct {
        const char *key;
        char **place;
    } texts[] = {
        {"maildir", &o->pickup.maildir}, {"name", &o->pickup.name}, {"password", &o->pickup.password}};
    for (size_t i = 0; i < COUNT(texts); i++) {
        if (strcmp(key, texts[i].key) == 0) {
            *texts[i].place = value;
            return true;
        }
    }
    const struct {
        const char *key;
        unsigned *place;
    } numbers[] = {{"max_connections", &o->pickup.max_connections},
                   {"max_per_address", &o->pickup.max_per_address},
                   {"login_timeout", &o->pickup.login_timeout},
                   {"idle_timeout", &o->pickup.idle_timeout},
                   {"drain_timeout", &o->pickup.drain_timeout}};
    for (size_t i = 0; i < COUNT(numbers); i++) {
        if (strcmp(key, numbers[i].key) == 0) {
            *numbers[i].place = (unsigned)strtoul(value, NULL, 10);
            return true;
        }
    }
    if (strcmp(key, "chain") == 0) {
        o->chain = value;
    } else if (strcmp(key, "key") == 0) {
        o->key = value;
    } else if (strcmp(key, "hash") == 0) {
        o->hash = value;
    } else if (strcmp(key, "sandbox") == 0) {
        o->narrow = strcmp(value, "no") != 0;
    } else {
        return strcmp(key, "listen") == 0 && value_endpoint(value, &o->listen);
    }
    return true;
}

static int print_hash(const char *password)
{
    unsigned char random[16];
    char hash[PASSWD_HASH_SIZE];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random ||
        !passwd_hash(password, random, hash)) {
        fail("no hash");
    }
    puts(hash);
    return 0;
}

static void block_signals(void)
{
    sigset_t term;
    struct sigaction handle = {.sa_handler = on_term};
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigaddset(&term, SIGCHLD); /* for await() */
    sigprocmask(SIG_BLOCK, &term, NULL);
    sigaction(SIGTERM, &handle, NULL);
}

static pid_t start_signer(const struct options *o, int fd, int other)
{
    pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    char why[512];
    struct key key;
    close(other);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    log_role("signer");
    if (!x509_key_load(&key, o->key, why, sizeof why)) {
        fail(why);
    }
    struct signer_client client = {fd, &key, 1};
    signer_run(&client, 1, &stop);
    x509_key_free(&key);
    _exit(0);
}

static int listen_on(const struct endpoint *e)
{
    int on = 1;
    int fd = socket(e->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)&e->addr, e->addr_len) != 0 || listen(fd, 512) != 0) {
        fail("cannot listen");
    }
    return fd;
}

static void serve(struct options *o, int signer)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    char why[512];
    struct chain chain;
    log_role("pickup");
    if (!x509_chain_load(&chain, o->chain, why, sizeof why)) {
        fail(why);
    }
    int fd = listen_on(&o->listen);
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    o->pickup.listen = &o->listen;
    o->pickup.listen_count = 1;
    struct pop3 p = {.pickup = &o->pickup,
                     .listen_fds = &fd,
                     .chain = &chain,
                     .cache = tls_cache_new(),
                     .signals = signalfd(-1, &term, SFD_NONBLOCK | SFD_CLOEXEC)};
    signer_link_init(&p.signer, signer);
    struct sandbox_path path = {o->pickup.maildir, ALLOW_READ | ALLOW_DROP};
    if (o->narrow && !sandbox_paths(SANDBOX_PICKUP, &path, 1, why, sizeof why)) {
        fail(why);
    }
    struct pop3_server *s = pop3_start(&p);
    if (s == NULL) {
        fail("no memory");
    }
    printf("ready %d\n", (int)getpid());
    fflush(stdout);
    pop3_run(s);
    tls_cache_free(p.cache);
    x509_chain_free(&chain);
}

static pid_t start_server(struct options *o, int fd, int other)
{
    pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    close(other);
    serve(o, fd);
    exit(0);
}

/* Passes SIGTERM on; returns the server's exit code. */
static int await(pid_t server, pid_t signer)
{
    int status, sig;
    sigset_t both;
    sigemptyset(&both);
    sigaddset(&both, SIGTERM);
    sigaddset(&both, SIGCHLD);
    while (waitpid(server, &status, WNOHANG) == 0) {
        if (sigwait(&both, &sig) == 0 && sig == SIGTERM) {
            kill(server, SIGTERM);
        }
    }
    kill(signer, SIGKILL); /* has nothing to finish */
    waitpid(signer, NULL, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
    static struct options o = {.pickup = {.max_connections = 256,
                                          .max_per_address = 10,
                                          .login_timeout = 60,
                                          .idle_timeout = 600,
                                          .drain_timeout = 5},
                               .narrow = true};
    if (argc == 2 && strcmp(argv[1], "passwd") == 0) {
        return passwd_run();
    }
    for (int i = 1; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        if (equals != NULL) {
            *equals = '\0';
        }
        if (equals == NULL || !set(&o, argv[i], equals + 1)) {
            fprintf(stderr, "popserver: what is %s?\n", argv[i]);
            return 64;
        }
    }
    if (o.hash != NULL) {
        return print_hash(o.hash);
    }
    int pair[2];
    block_signals();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        fail("no socketpair");
    }
    pid_t signer = start_signer(&o, pair[1], pair[0]);
    pid_t server = start_server(&o, pair[0], pair[1]);
    close(pair[0]);
    close(pair[1]);
    return await(server, signer);
}
