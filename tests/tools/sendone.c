/* Drives smtp.c from a command line: one connection, one message or several. Prints a line for each step, its
 * parts separated by tabs: what, outcome, reason.
 *
 *   sendone server=HOST port=N [tls=starttls] [tls_name=] [trust=] [pin=]... [pin_only=yes] [requiretls=yes]
 *           [username= password_file=] [timeout=] from=ADDRESS to=ADDRESS... file=PATH [times=N]
 * [pause=SECONDS] sendone lmtp=PATH|ADDRESS:PORT ... */

#include "bridge.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MANY = 200 };

struct order {
    struct mailhost host;
    struct target target;
    struct endpoint loopback;
    unsigned char pins[MANY][32];
    const char *from, *file;
    struct recipient to[MANY];
    size_t to_count;
    unsigned long times, pause;
};

static void show(const char *what, const struct result *r)
{
    static const char *const outcomes[] = {"done", "temporary", "permanent"};
    printf("%s\t%s\t%s\n", what, outcomes[r->outcome], r->reason);
}

static bool set(struct order *o, const char *key, char *value)
{
    static const char *const texts[] = {"server", "tls_name", "trust", "username", "password_file"};
    char **places[] = {&o->host.server, &o->host.tls_name, &o->host.trust, &o->host.username,
                       &o->host.password_file};
    for (size_t i = 0; i < COUNT(texts); i++) {
        if (strcmp(key, texts[i]) == 0) {
            *places[i] = value;
            return true;
        }
    }
    if (strcmp(key, "port") == 0) {
        o->host.port = (uint16_t)strtoul(value, NULL, 10);
    } else if (strcmp(key, "timeout") == 0) {
        o->host.timeout = (unsigned)strtoul(value, NULL, 10);
    } else if (strcmp(key, "tls") == 0) {
        o->host.starttls = strcmp(value, "starttls") == 0;
    } else if (strcmp(key, "requiretls") == 0) {
        o->host.requiretls = true;
    } else if (strcmp(key, "pin_only") == 0) {
        o->host.pin_only = true;
    } else if (strcmp(key, "pin") == 0) {
        return o->host.pin_count < MANY && value_pin(value, o->pins[o->host.pin_count++]);
    } else if (strcmp(key, "lmtp") == 0) {
        o->target.kind = TARGET_LMTP;
        o->target.path = value[0] == '/' ? value : NULL;
        return value[0] == '/' || value_endpoint(value, &o->loopback);
    } else if (strcmp(key, "from") == 0) {
        o->from = value;
    } else if (strcmp(key, "file") == 0) {
        o->file = value;
    } else if (strcmp(key, "times") == 0) {
        o->times = strtoul(value, NULL, 10);
    } else if (strcmp(key, "pause") == 0) {
        o->pause = strtoul(value, NULL, 10);
    } else if (strcmp(key, "to") == 0 && o->to_count < MANY) {
        o->to[o->to_count++].address = value;
    } else {
        return false;
    }
    return true;
}

static bool send_message(const struct order *o, struct smtp *s, struct recipient *to)
{
    struct stat st;
    int fd = open(o->file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        perror(o->file);
        exit(66);
    }
    bool good = smtp_send(s, o->from, to, o->to_count, fd, (uint64_t)st.st_size);
    close(fd);
    for (size_t i = 0; i < o->to_count; i++) {
        show(to[i].address, &to[i].result);
    }
    return good;
}

static void run(struct order *o)
{
    struct result r;
    struct smtp *s = smtp_open(&o->target, "forms.example.com", &r);
    show("open", &r);
    if (s == NULL) {
        return;
    }
    char text[1024];
    struct buf b;
    buf_borrow(&b, text, sizeof text);
    smtp_describe(s, &b);
    printf("proof\tdone\t%s\n", buf_text(&b));
    bool good = true;
    for (unsigned long i = 0; i < o->times && good; i++) {
        if (i > 0) {
            sleep((unsigned)o->pause);
            printf("idle\t%s\t\n", smtp_idle(s) ? "good" : "lost");
        }
        good = send_message(o, s, o->to);
    }
    printf("connection\t%s\t\n", good ? "good" : "lost");
    smtp_close(s);
}

int main(int argc, char **argv)
{
    static struct order o = {.times = 1, .from = "", .file = "/dev/null"};
    o.host.name = "test";
    o.host.pins = o.pins;
    o.target =
        (struct target){.kind = TARGET_MAILHOST, .text = "test", .host = &o.host, .loopback = &o.loopback};
    for (int i = 1; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        if (equals != NULL) {
            *equals = '\0';
        }
        if (equals == NULL || !set(&o, argv[i], equals + 1)) {
            fprintf(stderr, "sendone: what is %s?\n", argv[i]);
            return 64;
        }
    }
    char why[REASON_SIZE] = "";
    if (o.target.kind == TARGET_MAILHOST && !smtp_load(&o.host, why, sizeof why)) {
        printf("load\tfailed\t%s\n", why);
        return 0;
    }
    run(&o);
    smtp_unload();
    return 0;
}
