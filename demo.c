/* Everything embedded, to try it: makes what is missing, serves an order form, and shows each order as it
 * lands. */

#include "bridge.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum {
    FIRST_PORT = 8443,
    FIRST_POP_PORT = 9995,
    PORTS = 20,
    DAYS = 365,
    MESSAGE_MAX = 1 << 20,
    CHILD_INTERVAL = 200, /* milliseconds: how late the end of the child is seen */
};

struct demo {
    char dir[PATH_MAX - 64];
    char config[PATH_MAX], cert[PATH_MAX], key[PATH_MAX], maildir[PATH_MAX], secret[PATH_MAX];
    char password[PASSWD_NEW_SIZE]; /* of the pickup */
};

/* ---- making ---------------------------------------------------------------------------------- */

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* The key comes last: what was begun and not finished is begun anew. */
static bool make_certificate(const struct demo *d)
{
    static const char *const names[] = {"localhost"};
    unsigned char random[64];
    struct buf cert, key;
    buf_init(&cert, 65536);
    buf_init(&key, 65536);
    unlink(d->cert); /* of a key that is gone */
    bool ok = getrandom(random, sizeof random, 0) == (ssize_t)sizeof random &&
              x509_self_signed(names, COUNT(names), time(NULL), DAYS, random, &cert, &key) &&
              spool_write_new(d->cert, &cert, 0644) && spool_write_new(d->key, &key, 0600);
    explicit_bzero(random, sizeof random);
    buf_free(&cert);
    buf_free(&key);
    return ok;
}

static bool port_is_free(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    bool free_now = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                    bind(fd, (struct sockaddr *)&at, sizeof at) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return free_now;
}

static int free_port_from(int first)
{
    int port = first;
    while (port < first + PORTS && !port_is_free(port)) {
        port++;
    }
    return port;
}

/* The config has only its hash; the file is for the second start, to show it again. */
static bool make_password(struct demo *d, char hash[PASSWD_HASH_SIZE])
{
    unsigned char random[16];
    struct buf text;
    if (!passwd_new(d->password) || getrandom(random, sizeof random, 0) != (ssize_t)sizeof random ||
        !passwd_hash(d->password, random, hash)) {
        log_error("cannot make a password: no memory");
        return false;
    }
    unlink(d->secret); /* of a config that is gone */
    buf_borrow(&text, d->password, strlen(d->password));
    text.len = text.cap;
    return spool_write_new(d->secret, &text, 0600);
}

static void read_password(struct demo *d)
{
    int fd = open(d->secret, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? 0 : read(fd, d->password, sizeof d->password - 1);
    d->password[n > 0 ? n : 0] = '\0';
    if (fd >= 0) {
        close(fd);
    }
}

static bool make_config(struct demo *d)
{
    char hash[PASSWD_HASH_SIZE];
    if (!make_password(d, hash)) {
        return false;
    }
    struct buf text;
    buf_init(&text, 65536);
    buf_fmt(&text,
            "; The demonstration's config. Edit it and start the demonstration again; formbridge.ini(5) has "
            "every key.\n"
            "[bridge]\n"
            "listen = 127.0.0.1:%d\n"
            "hostname = localhost\n"
            "certificate = %s\n"
            "private_key = %s\n"
            "spool = %s/spool\n"
            "\n"
            "[form order]\n"
            "to = owner@localhost\n"
            "from = website@localhost\n"
            "subject = Order {ref} from {name}\n"
            "reply_to = {email}\n"
            "deliver = maildir:%s\n"
            "required = name email item\n"
            "title = Order form\n"
            "\n"
            "[pickup orders]\n"
            "listen = 127.0.0.1:%d\n"
            "maildir = %s\n"
            "password = %s\n",
            free_port_from(FIRST_PORT), d->cert, d->key, d->dir, d->maildir, free_port_from(FIRST_POP_PORT),
            d->maildir, hash);
    bool ok = spool_write_new(d->config, &text, 0600);
    buf_free(&text);
    return ok;
}

/* What lies in a directory of somebody else's is his config, which would run with our rights. */
static bool is_ours(const char *directory)
{
    struct stat st;
    if (stat(directory, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0) {
        return true;
    }
    log_error("%s: others can write there: choose a directory of your own, or a new one", directory);
    return false;
}

static bool make_all(struct demo *d, const char *directory)
{
    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        log_error("cannot make the directory %s: %s", directory, strerror(errno));
        return false;
    }
    char *real = realpath(directory, NULL);
    bool ok = real != NULL && text_copy(d->dir, sizeof d->dir, real) &&
              text_fmt(d->config, sizeof d->config, "%s/config.ini", real) &&
              text_fmt(d->cert, sizeof d->cert, "%s/cert.pem", real) &&
              text_fmt(d->key, sizeof d->key, "%s/key.pem", real) &&
              text_fmt(d->maildir, sizeof d->maildir, "%s/Maildir", real) &&
              text_fmt(d->secret, sizeof d->secret, "%s/password", real);
    free(real);
    if (!ok) {
        log_error("the path of %s is too long or cannot be resolved", directory);
        return false;
    }
    if (strpbrk(d->dir, " \t;#\"") != NULL) {
        log_error("%s: choose a directory without spaces, quotes, ; or # in its path", d->dir);
        return false;
    }
    return is_ours(d->dir) && (exists(d->key) || make_certificate(d)) &&
           (exists(d->config) || make_config(d));
}

/* ---- showing --------------------------------------------------------------------------------- */

static void greet(const struct demo *d, const struct conf *c)
{
    printf(
        "\n"
        "  formbridge demonstration\n"
        "\n"
        "  Open     https://localhost:%d/\n"
        "           The browser warns of the certificate, which is the demonstration's own: go on anyway.\n"
        "  Orders   become mails in %s\n"
        "           and are shown here. With a mail program:  mutt -f %s\n",
        network_port(&c->listen[0].addr), d->maildir, d->maildir);
    if (c->pickups != NULL && d->password[0] != '\0') {
        int port = network_port(&c->pickups->listen[0].addr);
        printf("  Collect  POP3 over TLS from localhost, port %d, user %s, password %s\n"
               "           curl --cacert %s -u %s:%s pop3s://localhost:%d/1\n",
               port, c->pickups->name, d->password, d->cert, c->pickups->name, d->password, port);
    }
    printf("  Config   %s\n"
           "  End      Ctrl-C\n"
           "\n",
           d->config);
    fflush(stdout);
}

/* The text part of what mime.c makes, every line indented and its quoted-printable (RFC 2045 §6.7) decoded. */
static void show_text(const char *text)
{
    const char *at = strstr(text, "quoted-printable");
    at = at == NULL ? NULL : strstr(at, "\n\n");
    if (at == NULL) {
        return;
    }
    bool line_start = true;
    for (at += 2; *at != '\0' && !(line_start && strncmp(at, "--=_", 4) == 0); at++) {
        if (line_start) {
            fputs("      ", stdout);
        }
        line_start = *at == '\n';
        if (*at == '=' && at[1] == '\n') {
            at++;
        } else if (*at == '=' && text_hex(at[1]) >= 0 && text_hex(at[2]) >= 0) {
            putchar(text_hex(at[1]) * 16 + text_hex(at[2]));
            at += 2;
        } else {
            putchar(*at);
        }
    }
}

static void show_order(const struct demo *d, const char *name)
{
    char path[PATH_MAX + NAME_MAX + 8];
    text_fmt(path, sizeof path, "%s/new/%s", d->maildir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char *text = malloc(MESSAGE_MAX + 1);
    ssize_t n = fd < 0 || text == NULL ? -1 : read(fd, text, MESSAGE_MAX);
    if (n >= 0) {
        text[n] = '\0';
        printf("\n  * An order has landed: %s\n\n", path);
        show_text(text);
        putchar('\n');
        fflush(stdout);
    }
    free(text);
    if (fd >= 0) {
        close(fd);
    }
}

static pid_t server; /* the child that serves */

static void on_term(int sig)
{
    (void)sig;
    kill(server, SIGTERM);
}

static void show_orders(const struct demo *d, int notify)
{
    _Alignas(struct inotify_event) char events[4096];
    for (ssize_t n; (n = read(notify, events, sizeof events)) > 0;) {
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const void *)(events + at);
            if (e->len > 0) {
                show_order(d, e->name);
            }
            at += (ssize_t)(sizeof *e + e->len);
        }
    }
}

/* Until the child that serves has ended. */
static int watch(const struct demo *d, int notify)
{
    struct pollfd p = {.fd = notify, .events = POLLIN};
    int status;
    pid_t ended;
    while ((ended = waitpid(server, &status, WNOHANG)) == 0) {
        poll(&p, 1, CHILD_INTERVAL);
        show_orders(d, notify);
    }
    signal(SIGTERM, SIG_IGN); /* its number may be another's from now on */
    show_orders(d, notify);   /* what it delivered while it was ending */
    return ended > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : EX_SOFTWARE;
}

/* A descriptor that tells of new mail, or -1. */
static int watch_maildir(const struct demo *d)
{
    char why[REASON_SIZE];
    char path[PATH_MAX + 8];
    if (!maildir_check(d->maildir, why, sizeof why)) {
        log_error("%s", why);
        return -1;
    }
    text_fmt(path, sizeof path, "%s/new", d->maildir);
    int notify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (notify < 0 || inotify_add_watch(notify, path, IN_CREATE | IN_MOVED_TO) < 0) {
        log_error("cannot watch %s: %s", path, strerror(errno));
        if (notify >= 0) {
            close(notify);
        }
        return -1;
    }
    return notify;
}

static struct conf *load(const struct demo *d)
{
    struct buf errors;
    buf_init(&errors, 65536);
    struct conf *c = conf_load(d->config, &errors);
    if (c == NULL) {
        log_errors(&errors);
    } else {
        c->demo = true;
    }
    buf_free(&errors);
    return c;
}

int demo_run(const char *directory)
{
    struct demo d;
    if (!make_all(&d, directory)) {
        return EX_CANTCREAT;
    }
    read_password(&d);
    struct conf *c = load(&d);
    if (c == NULL) {
        return EX_CONFIG;
    }
    int notify = watch_maildir(&d);
    if (notify < 0) {
        conf_free(c);
        return EX_CANTCREAT;
    }
    if (!port_is_free(network_port(&c->listen[0].addr))) {
        log_error(
            "port %d is in use, perhaps by this demonstration elsewhere: end that, or change listen in %s",
            network_port(&c->listen[0].addr), d.config);
        conf_free(c);
        return EX_UNAVAILABLE;
    }
    greet(&d, c);
    server = fork();
    if (server == 0) {
        close(notify);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        explicit_bzero(d.password, sizeof d.password);
        _exit(parent_run(c));
    }
    conf_free(c);
    if (server < 0) {
        log_error("cannot start: %s", strerror(errno));
        return EX_OSERR;
    }
    signal(SIGINT, SIG_IGN); /* Ctrl-C is for the child: it drains, then this one ends too */
    signal(SIGTERM, on_term);
    return watch(&d, notify);
}
