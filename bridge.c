/* The command line. */

#include "bridge.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/formbridge/config.ini"

enum { EXIT_MISTAKES = 2 }; /* in the config */

static const char help[] =
    "formbridge takes web form posts over HTTPS and delivers them as mail, durably and never in clear.\n"
    "\n"
    "    formbridge [-c FILE]            run in the foreground and log to stderr\n"
    "    formbridge [-c FILE] check [--online]\n"
    "                                    look at config, keys, certificates, spool and mailboxes;\n"
    "                                    --online also logs in to every mail host\n"
    "    formbridge [-c FILE] test FORM  send one marked submission through the whole path and follow it\n"
    "    formbridge [-c FILE] queue [list [--json] | show ID | flush | hold ID... | release ID... | drop "
    "ID...]\n"
    "    formbridge passwd               a password's hash, for [pickup]\n"
    "    formbridge smime CERT.pem       say what a certificate is good for\n"
    "    formbridge smime self ADDRESS   make one for an owner who has none\n"
    "    formbridge demo [DIR]           try it: makes all it needs in DIR and serves an order form\n"
    "    formbridge --version | --help\n"
    "\n"
    "FILE is " DEFAULT_CONFIG " unless given. See formbridge(8) and formbridge.ini(5).\n";

/* served: for the log, with a priority. */
static struct conf *load(const char *path, bool served)
{
    struct buf errors;
    buf_init(&errors, 1 << 20);
    struct conf *c = conf_load(path, &errors);
    if (errors.len > 0 && served) {
        log_errors(&errors);
    } else if (errors.len > 0) {
        fwrite(errors.data, 1, errors.len, stderr);
    }
    buf_free(&errors);
    return c;
}

static int run(const char *path)
{
    struct conf *c = load(path, true);
    return c == NULL ? EXIT_MISTAKES : parent_run(c);
}

static int check(const char *path, enum check_kind kind)
{
    struct conf *c = load(path, false);
    if (c == NULL) {
        return EXIT_MISTAKES;
    }
    printf("ok: %s has no mistakes\n", path);
    fflush(stdout);
    bool good = checkup_run(c, kind);
    conf_free(c);
    return good ? EX_OK : EX_CONFIG;
}

static int queue(const char *path, int count, char **words)
{
    struct conf *c = load(path, false);
    if (c == NULL) {
        return EXIT_MISTAKES;
    }
    int code = queue_run(c, count, words);
    conf_free(c);
    return code;
}

static int selftest(const char *path, const char *form)
{
    struct conf *c = load(path, false);
    if (c == NULL) {
        return EXIT_MISTAKES;
    }
    int code = selftest_run(c, form);
    conf_free(c);
    return code;
}

static int usage(void)
{
    fputs("Try formbridge --help.\n", stderr);
    return EX_USAGE;
}

/* Each role keeps 0, 1 and 2, so a descriptor of ours must not become one of them. */
static bool open_standard_files(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0) {
        perror("formbridge: /dev/null");
        return false;
    }
    close(fd);
    return true;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *path = DEFAULT_CONFIG;
    umask(077); /* whatever is made here is for its owner alone */
    if (!open_standard_files()) {
        return EX_OSFILE;
    }
    signal(SIGCHLD,
           SIG_DFL); /* who started us may have ignored it, and children would vanish unseen (wait(2)) */
    for (int o; (o = getopt_long(argc, argv, "+c:h", options, NULL)) != -1;) {
        switch (o) {
        case 'c': path = optarg; break;
        case 'V': puts("formbridge " FORMBRIDGE_VERSION); return EX_OK;
        case 'h': fputs(help, stdout); return EX_OK;
        default: return usage(); /* getopt_long() has said what is wrong */
        }
    }
    const char *command = optind < argc ? argv[optind] : NULL;
    int rest = argc - optind - 1;
    if (command == NULL) {
        return run(path);
    }
    if (strcmp(command, "check") == 0 && rest == 0) {
        return check(path, CHECK_SHOWN);
    }
    if (strcmp(command, "check") == 0 && rest == 1 && strcmp(argv[optind + 1], "--online") == 0) {
        return check(path, CHECK_ONLINE);
    }
    if (strcmp(command, "test") == 0 && rest == 1) {
        return selftest(path, argv[optind + 1]);
    }
    if (strcmp(command, "queue") == 0) {
        return queue(path, rest, argv + optind + 1);
    }
    if (strcmp(command, "passwd") == 0 && rest == 0) {
        return passwd_run();
    }
    if (strcmp(command, "smime") == 0) {
        return smimecmd_run(rest, argv + optind + 1);
    }
    if (strcmp(command, "demo") == 0 && rest <= 1) {
        return demo_run(rest == 1 ? argv[optind + 1] : "formbridge-demo");
    }
    fprintf(stderr, "formbridge: \"%s\" is no command, or has too few or too many words behind it\n",
            command);
    return usage();
}
