/* `formbridge queue`: what waits and what needs a person, seen and steered. Works on the spool with renames and
 * removals alone, as deliver.c describes, so that it may run beside the courier or without one. */

#include "bridge.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum {
    EXIT_HELD = 1,
    REASON_WIDTH = 60, /* on a terminal */
    ID_LEAST = 4,      /* letters of a receipt that may stand for it */
};

struct entry {
    char name[SPOOL_NAME_SIZE];
    char ref[REF_SIZE];
    char form[FORM_NAME_MAX + 1];
    int64_t time;
    bool held;
};

struct entries {
    struct entry *list;
    size_t count, cap;
};

/* ---- reading --------------------------------------------------------------------------------- */

static bool add(struct entries *all, const char *name, bool held)
{
    struct entry e = {.held = held};
    if (!spool_name_parse(name, &e.time, e.ref, e.form) || !text_copy(e.name, sizeof e.name, name)) {
        return true; /* not one of ours */
    }
    if (all->count == all->cap) {
        size_t cap = all->cap == 0 ? 64 : all->cap * 2;
        struct entry *list = reallocarray(all->list, cap, sizeof *list);
        if (list == NULL) {
            return false;
        }
        all->list = list;
        all->cap = cap;
    }
    all->list[all->count++] = e;
    return true;
}

static int by_time(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name); /* names begin with it */
}

static bool read_directory(struct entries *all, int directory, bool held)
{
    DIR *dir = spool_list(directory);
    if (dir == NULL) {
        fprintf(stderr, "formbridge: cannot read the spool: %s\n", strerror(errno));
        return false;
    }
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(dir)) != NULL;) {
        ok = add(all, e->d_name, held);
    }
    closedir(dir);
    if (!ok) {
        fprintf(stderr, "formbridge: no memory for a list of all messages\n");
    }
    return ok;
}

/* One that was moved between the two looks is there twice: it is where it was seen last. */
static void drop_doubles(struct entries *all)
{
    size_t kept = 0;
    for (size_t i = 0; i < all->count; i++) {
        if (kept > 0 && strcmp(all->list[kept - 1].name, all->list[i].name) == 0) {
            all->list[kept - 1].held = true;
        } else {
            all->list[kept++] = all->list[i];
        }
    }
    all->count = kept;
}

static bool read_all(const struct spool *s, struct entries *all)
{
    *all = (struct entries){.list = NULL};
    bool ok = read_directory(all, s->queue, false) && read_directory(all, s->held, true);
    if (ok && all->count > 1) {
        qsort(all->list, all->count, sizeof *all->list, by_time);
        drop_doubles(all);
    }
    return ok;
}

static int directory_of(const struct spool *s, const struct entry *e)
{
    return e->held ? s->held : s->queue;
}

/* Crockford's base 32 has no O, I and L, which people read for these. */
static char symbol(char c)
{
    c = (char)toupper((unsigned char)c);
    return c == 'O' ? '0' : c == 'I' || c == 'L' ? '1' : c;
}

static size_t letters(const char *id)
{
    size_t n = 0;
    for (; *id != '\0'; id++) {
        n += *id != '-';
    }
    return n;
}

/* A receipt as people read it out: without its hyphens, in lower case, or only its beginning. */
static bool names_entry(const char *id, const struct entry *e)
{
    if (strcmp(id, e->name) == 0) {
        return true;
    }
    const char *r = e->ref;
    size_t least = letters(id);
    for (; *id != '\0'; id++) {
        if (*id == '-') {
            continue;
        }
        r += *r == '-';
        if (symbol(*id) != *r) {
            return false;
        }
        r++;
    }
    return least >= ID_LEAST;
}

static struct entry *find(struct entries *all, const char *id)
{
    struct entry *found = NULL;
    for (size_t i = 0; i < all->count; i++) {
        if (!names_entry(id, &all->list[i])) {
            continue;
        }
        if (found != NULL) {
            fprintf(stderr, "formbridge: %s stands for several messages: give more of the receipt\n", id);
            return NULL;
        }
        found = &all->list[i];
    }
    if (found == NULL && letters(id) < ID_LEAST) {
        fprintf(stderr, "formbridge: %s is too little: give %d letters of the receipt, or more\n", id,
                ID_LEAST);
    } else if (found == NULL) {
        fprintf(stderr,
                "formbridge: no message with the receipt %s is in the queue or held; it may be delivered\n",
                id);
    }
    return found;
}

/* ---- list ------------------------------------------------------------------------------------ */

static void age_text(int64_t seconds, char *out, size_t size)
{
    if (seconds < 0) {
        seconds = 0;
    }
    if (seconds < 120) {
        text_fmt(out, size, "%" PRId64 "s", seconds);
    } else if (seconds < 7200) {
        text_fmt(out, size, "%" PRId64 "m", seconds / 60);
    } else if (seconds < 172800) {
        text_fmt(out, size, "%" PRId64 "h", seconds / 3600);
    } else {
        text_fmt(out, size, "%" PRId64 "d", seconds / 86400);
    }
}

static void print_cut(FILE *out, const char *text, size_t max)
{
    for (size_t i = 0; i < max && text[i] != '\0'; i++) {
        fputc(text[i] >= ' ' && text[i] <= '~' ? text[i] : '?', out);
    }
    if (strlen(text) > max) {
        fputs("...", out);
    }
}

void queue_print(FILE *out, const char *text)
{
    print_cut(out, text, SIZE_MAX);
}

static const char *target_reason(const struct state_target *t)
{
    return t->done             ? "has it"
           : t->failed != NULL ? t->failed
           : t->reason != NULL ? t->reason
                               : "not tried yet";
}

static const char *held_reason(const struct state *st)
{
    return st->held != NULL ? st->held : "it was put there by hand";
}

static bool form_names(const struct form_conf *form, const char *target)
{
    for (size_t i = 0; form != NULL && i < form->target_count; i++) {
        if (strcmp(form->targets[i].text, target) == 0) {
            return true;
        }
    }
    return false;
}

/* What was tried stands in the state; where a queued message goes, in the config as it is now. */
static void read_state(const struct conf *c, const struct spool *s, const struct entry *e, struct state *st)
{
    const struct form_conf *form = conf_route(c, e->form);
    if (!spool_state_read(directory_of(s, e), e->name, st)) {
        fprintf(stderr,
                "formbridge: %s.state cannot be read: it is taken for a message that was never tried\n",
                e->name);
    }
    for (size_t i = 0; form != NULL && i < form->target_count && !e->held; i++) {
        state_target(st, form->targets[i].text); /* no memory: not shown */
    }
}

/* Is it for this target that the message is where it is? */
static bool needs(const struct conf *c, const struct entry *e, const struct state_target *t)
{
    return e->held ? t->failed != NULL : !t->done && form_names(conf_route(c, e->form), t->text);
}

static uint64_t size_of(const struct spool *s, const struct entry *e)
{
    struct stat st;
    return fstatat(directory_of(s, e), e->name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_size : 0;
}

struct listing {
    const struct conf *conf;
    const struct spool *spool;
    bool pretty; /* aligned for people, else with tabs for programs */
    int64_t now;
};

static void print_line(const struct listing *l, const struct entry *e, unsigned tries, const char *target,
                       const char *reason)
{
    char age[32];
    age_text(l->now - e->time, age, sizeof age);
    printf(l->pretty ? "%-14s  %-6s %5s  %-14s %9" PRIu64 "  %5u  " : "%s\t%s\t%s\t%s\t%" PRIu64 "\t%u\t",
           e->ref, e->held ? "held" : "queued", age, e->form, size_of(l->spool, e), tries);
    queue_print(stdout, target);
    fputs(!l->pretty ? "\t" : *target != '\0' ? ": " : "", stdout);
    fputs(spool_name_spam(e->name) ? "(spam) " : "", stdout);
    print_cut(stdout, reason, l->pretty ? REASON_WIDTH : SIZE_MAX);
    putchar('\n');
}

/* One line for each place that the message waits for or failed at. */
static void list_entry(const struct listing *l, const struct entry *e)
{
    struct state st;
    bool any = false;
    read_state(l->conf, l->spool, e, &st);
    for (const struct state_target *t = st.targets; t != NULL; t = t->next) {
        if (needs(l->conf, e, t)) {
            print_line(l, e, t->tries, t->text, target_reason(t));
            any = true;
        }
    }
    if (!any) {
        print_line(l, e, 0, "",
                   e->held ? held_reason(&st)
                   : conf_route(l->conf, e->form) == NULL
                       ? "to be held: nothing in the config says where it goes"
                       : "delivered: about to be removed");
    }
    state_free(&st);
}

static void print_json(const char *text)
{
    if (text == NULL) {
        fputs("null", stdout);
        return;
    }
    bool utf8 = charset_is_utf8(text, strlen(text)); /* RFC 8259 §8.1 */
    putchar('"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            printf("\\%c", c);
        } else if (c < 0x20 || c == 0x7f) {
            printf("\\u%04x", c);
        } else {
            putchar(c < 0x80 || utf8 ? c : '?');
        }
    }
    putchar('"');
}

static void list_json(const struct listing *l, const struct entry *e)
{
    struct state st;
    read_state(l->conf, l->spool, e, &st);
    printf("{\"id\":\"%s\",\"file\":\"%s\",\"form\":\"%s\",\"state\":\"%s\",\"time\":%" PRId64
           ",\"size\":%" PRIu64 ",\"held\":",
           e->ref, e->name, e->form, e->held ? "held" : "queued", e->time, size_of(l->spool, e));
    print_json(e->held ? held_reason(&st) : NULL);
    printf(",\"spam\":%s,\"targets\":[", spool_name_spam(e->name) ? "true" : "false");
    const char *comma = "";
    for (const struct state_target *t = st.targets; t != NULL; t = t->next) {
        if (t->done || needs(l->conf, e, t)) {
            printf("%s{\"target\":", comma);
            print_json(t->text);
            printf(",\"done\":%s,\"tries\":%u,\"next_try\":%" PRId64 ",\"reason\":",
                   t->done ? "true" : "false", t->tries, e->held ? 0 : t->next_try);
            print_json(t->failed != NULL ? t->failed : t->reason);
            putchar('}');
            comma = ",";
        }
    }
    fputs("]}", stdout);
    state_free(&st);
}

static int list(const struct conf *c, const struct spool *s, const struct entries *all, bool json)
{
    const struct listing l = {c, s, isatty(STDOUT_FILENO) == 1, time(NULL)};
    size_t held = 0;
    if (json) {
        putchar('[');
    } else if (l.pretty && all->count > 0) {
        printf("%-14s  %-6s %5s  %-14s %9s  %5s  %s\n", "RECEIPT", "STATE", "AGE", "FORM", "SIZE", "TRIES",
               "WHERE, WHY");
    }
    for (size_t i = 0; i < all->count; i++) {
        held += all->list[i].held;
        if (json) {
            list_json(&l, &all->list[i]);
            fputs(i + 1 < all->count ? ",\n" : "", stdout);
        } else {
            list_entry(&l, &all->list[i]);
        }
    }
    if (json) {
        puts("]");
    } else if (l.pretty) {
        printf(all->count == 0 ? "Nothing waits.\n" : "%zu wait, %zu need a person.\n", all->count - held,
               held);
    }
    return held > 0 ? EXIT_HELD : EX_OK;
}

/* ---- show ------------------------------------------------------------------------------------ */

static void show_target(const struct state_target *t, bool held, int64_t now)
{
    char wait[32];
    fputs("to ", stdout);
    queue_print(stdout, t->text);
    fputs(": ", stdout);
    queue_print(stdout, target_reason(t));
    if (t->tries > 0 && !t->done && t->failed == NULL) {
        printf(" (%u %s", t->tries, t->tries == 1 ? "try" : "tries");
        if (!held) {
            age_text(t->next_try - now, wait, sizeof wait);
            printf(", the next in %s", wait);
        }
        putchar(')');
    }
    putchar('\n');
    for (const struct state_recipient *r = t->recipients; r != NULL; r = r->next) {
        fputs("    ", stdout);
        queue_print(stdout, r->address);
        fputs(": ", stdout);
        queue_print(stdout, r->failed != NULL ? r->failed : "has it");
        putchar('\n');
    }
}

static int show_message(const struct spool *s, const struct entry *e)
{
    int fd = openat(directory_of(s, e), e->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    char bytes[4096];
    ssize_t n = -1;
    while (fd >= 0 && (n = read(fd, bytes, sizeof bytes)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            putchar(bytes[i] == '\n' || bytes[i] == '\t' || (bytes[i] >= ' ' && bytes[i] <= '~') ? bytes[i]
                                                                                                 : '?');
        }
    }
    if (n < 0) {
        fprintf(stderr, "formbridge: cannot read the message: %s\n", strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return n < 0 ? EX_NOINPUT : EX_OK;
}

static int show(const struct conf *c, const struct spool *s, const struct entry *e)
{
    struct state st;
    read_state(c, s, e, &st);
    printf("receipt: %s\nform: %s\nstate: %s\nfile: %s/%s\n", e->ref, e->form, e->held ? "held" : "queued",
           e->held ? "held" : "queue", e->name);
    if (spool_name_spam(e->name)) {
        puts("spam: marked; in a Maildir it goes to the Junk folder");
    }
    if (e->held) {
        fputs("held because: ", stdout);
        queue_print(stdout, held_reason(&st));
        putchar('\n');
    }
    int64_t now = time(NULL);
    for (const struct state_target *t = st.targets; t != NULL; t = t->next) {
        show_target(t, e->held, now);
    }
    state_free(&st);
    putchar('\n');
    return show_message(s, e);
}

/* ---- steering -------------------------------------------------------------------------------- */

static uint64_t person; /* who asks, as long as we are root: sudo(8) says who that is */

static void note_person(void)
{
    const char *sudo = geteuid() == 0 ? getenv("SUDO_UID") : NULL;
    person = getuid();
    if (sudo != NULL) {
        text_number(sudo, strlen(sudo), &person);
    }
}

/* Where no courier runs, and for what is dropped out of held/, nothing else would tell of it. */
static int done(const char *what, const struct entry *e)
{
    syslog(LOG_MAIL | LOG_NOTICE, "%s (form %s) was %s by user %llu of this machine", e->ref, e->form, what,
           (unsigned long long)person);
    return EX_OK;
}

static int failed(const char *what, const struct entry *e)
{
    if (errno == ENOENT) {
        fprintf(stderr,
                "formbridge: %s is no longer in %s: it was delivered or moved meanwhile; list again\n",
                e->ref, e->held ? "held" : "queue");
    } else {
        fprintf(stderr, "formbridge: cannot %s %s: %s\n", what, e->ref, strerror(errno));
    }
    return EX_IOERR;
}

static bool wake_courier(struct spool *s)
{
    int fd = openat(s->root, "wake", O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    bool told = fd >= 0 && write(fd, "", 1) == 1;
    if (fd >= 0) {
        close(fd);
    }
    return told;
}

static int flush(struct spool *s)
{
    if (!wake_courier(s)) {
        fprintf(stderr, "formbridge: it does not run here; what waits is tried when it starts\n");
        return EX_TEMPFAIL;
    }
    return EX_OK;
}

static int hold(struct spool *s, const struct entry *e)
{
    struct state st;
    if (e->held) {
        fprintf(stderr, "formbridge: %s is held already\n", e->ref);
        return EX_OK;
    }
    spool_state_read(s->queue, e->name, &st); /* one that cannot be read remembers nothing */
    bool ok = state_text(&st.held, STATE_HELD_BY_PERSON) && spool_state_write(s->held, e->name, &st);
    state_free(&st);
    if (!ok) {
        return failed("hold", e);
    }
    if (renameat(s->queue, e->name, s->held, e->name) != 0) {
        int error = errno;
        struct stat st_held;
        if (fstatat(s->held, e->name, &st_held, AT_SYMLINK_NOFOLLOW) !=
            0) { /* else the courier held it meanwhile */
            spool_state_remove(s->held, e->name);
        }
        errno = error;
        return failed("hold", e);
    }
    spool_state_remove(s->queue, e->name);
    return fsync(s->held) == 0 && fsync(s->queue) == 0 ? done("held", e) : failed("hold", e);
}

static int release(struct spool *s, const struct entry *e)
{
    char state[SPOOL_NAME_SIZE + 8];
    if (!e->held) {
        fprintf(stderr, "formbridge: %s is not held\n", e->ref);
        return EX_OK;
    }
    text_fmt(state, sizeof state, "%s.state", e->name);
    if (renameat(s->held, state, s->queue, state) != 0 && errno != ENOENT) {
        return failed("release", e);
    }
    if (renameat(s->held, e->name, s->queue, e->name) != 0 || fsync(s->queue) != 0 || fsync(s->held) != 0) {
        return failed("release", e);
    }
    wake_courier(s); /* else it is found at the next look */
    return done("released", e);
}

/* The only place in the program that deletes what is not delivered. */
static int drop(struct spool *s, const struct entry *e)
{
    if (unlinkat(directory_of(s, e), e->name, 0) != 0) {
        return failed("drop", e);
    }
    spool_state_remove(directory_of(s, e), e->name);
    if (fsync(directory_of(s, e)) != 0) {
        return failed("drop", e);
    }
    printf("%s (form %s) is deleted\n", e->ref, e->form);
    return done("dropped", e);
}

static int on_entry(const struct conf *c, struct spool *s, struct entries *all, const char *verb,
                    const char *id)
{
    const struct entry *e = find(all, id);
    if (e == NULL) {
        return EX_DATAERR;
    }
    return strcmp(verb, "show") == 0   ? show(c, s, e)
           : strcmp(verb, "hold") == 0 ? hold(s, e)
           : strcmp(verb, "drop") == 0 ? drop(s, e)
                                       : release(s, e);
}

/* One that fails does not keep the others from it. */
static int on_entries(const struct conf *c, struct spool *s, struct entries *all, const char *verb, int count,
                      char **ids)
{
    int code = EX_OK;
    for (int i = 0; i < count; i++) {
        int one = on_entry(c, s, all, verb, ids[i]);
        code = code == EX_OK ? one : code;
    }
    return code;
}

static bool takes_id(const char *verb)
{
    static const char *const verbs[] = {"show", "hold", "release", "drop"};
    for (size_t i = 0; i < COUNT(verbs); i++) {
        if (strcmp(verb, verbs[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int run(const struct conf *c, struct spool *s, const char *verb, int count, char **ids, bool json)
{
    struct entries all;
    int code = EX_OSERR;
    if (strcmp(verb, "flush") == 0) {
        return flush(s);
    }
    if (read_all(s, &all)) {
        code = count == 0 ? list(c, s, &all, json) : on_entries(c, s, &all, verb, count, ids);
    }
    free(all.list);
    return code;
}

int queue_run(const struct conf *c, int count, char **words)
{
    char why[REASON_SIZE];
    struct spool s;
    bool json = count > 0 && strcmp(words[count - 1], "--json") == 0;
    const char *verb = count > json ? words[0] : "list";
    bool one = strcmp(verb, "show") == 0;
    int ids = takes_id(verb) && !json && (one ? count == 2 : count >= 2) ? count - 1 : 0;
    bool alone = count <= 1 + json && (strcmp(verb, "list") == 0 || (strcmp(verb, "flush") == 0 && !json));
    if (ids == 0 && !alone) {
        fprintf(
            stderr,
            "formbridge: queue list [--json], show ID, flush, hold ID ..., release ID ..., drop ID ...\n");
        return EX_USAGE;
    }
    if (access(c->spool, F_OK) != 0 && errno == ENOENT) {
        fprintf(stderr,
                "formbridge: there is no spool %s: nothing was ever accepted there, or spool is mistyped\n",
                c->spool);
        return EX_NOINPUT;
    }
    note_person();
    openlog("formbridge", 0, LOG_MAIL);
    if (!sandbox_user(c->user, why, sizeof why) || !spool_open(&s, c->spool, why, sizeof why)) {
        fprintf(stderr, "formbridge: %s\n", why);
        return EX_NOPERM;
    }
    int code = run(c, &s, verb, ids, words + 1, json);
    spool_close(&s);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "formbridge: cannot write all of it: %s\n", strerror(errno));
        code = EX_IOERR;
    }
    return code;
}
