/* Is everything the config names there, and right? The same looks before every start and reload, and for a
 * person. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    WHY = 512,
    DAY = 86400,
    SOON = 14,      /* days before the end: of the TLS certificate, which is renewed by a program */
    SEAL_SOON = 30, /* of those for mail, which a person renews */
    SEAL_URGENT = 7,
    ONLINE_WAIT = 30,      /* seconds for each answer: a person is watching */
    MAIL_REST = 16 * 1024, /* of a mail, beside its uploads */
    FILES_MOST = 300,      /* of each directory of the spool */
};

struct findings {
    struct buf *out;
    char *at; /* CHECK_AT_SIZE */
    enum check_kind kind;
    bool quiet;
    bool demo;         /* makes all it needs */
    bool user_missing; /* has been said */
    unsigned problems, warnings;
};

PRINTF(3, 0) static void note(struct findings *f, const char *word, const char *fmt, va_list args)
{
    char text[1024];
    vsnprintf(text, sizeof text, fmt, args);
    if (!f->quiet || strcmp(word, "ok") != 0) {
        buf_fmt(f->out, "%s: %s\n", word, text);
    }
    f->warnings += strcmp(word, "warning") == 0;
    f->problems += strcmp(word, "problem") == 0;
}

PRINTF(2, 3) static void problem(struct findings *f, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    note(f, "problem", fmt, args);
    va_end(args);
}

PRINTF(3, 4) static void remark(struct findings *f, const char *word, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    note(f, word, fmt, args);
    va_end(args);
}

/* The next may hang. */
static void look_at(struct findings *f, const char *kind, const char *name)
{
    text_fmt(f->at, CHECK_AT_SIZE, "%s %s", kind, name);
}

/* Of one form: no reason to let the certificate of all of them expire. */
PRINTF(2, 3) static void trouble(struct findings *f, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    note(f, f->kind == CHECK_RENEWAL ? "warning" : "problem", fmt, args);
    va_end(args);
}

/* For what time alone has made wrong, after it was said. A person who asks, or who reloads, is to put it right first; but a
 * machine that starts again at night must not be without all its forms for it, nor without the answers that a renewal
 * over http_listen needs. */
static void forgive_at_start(struct findings *f)
{
    f->problems -= f->kind == CHECK_START;
}

static void check_dates(struct findings *f, const struct conf *c, const struct chain *chain)
{
    char from[DATE_SIZE], until[DATE_SIZE];
    int64_t now = time(NULL);
    stats_set(STAT_CERTIFICATE_EXPIRES, chain->not_after);
    date_day(from, chain->not_before);
    date_day(until, chain->not_after);
    if (now > chain->not_after) {
        problem(f, "%s expired on %s: renew the certificate", c->certificate, until);
        forgive_at_start(f);
    } else if (now < chain->not_before) {
        problem(f, "%s is valid only from %s: is the clock of this machine right?", c->certificate, from);
    } else if (chain->not_after - now < (int64_t)SOON * DAY) {
        remark(f, "warning", "%s expires on %s, in %lld days: renew it", c->certificate, until,
               (long long)((chain->not_after - now) / DAY));
    } else {
        remark(f, "ok", "certificate %s: %s with %u bits, valid until %s", c->certificate,
               chain->key_type == BR_KEYTYPE_EC ? "elliptic curve" : "RSA", chain->key_bits, until);
    }
}

static void check_certificate(struct findings *f, const struct conf *c)
{
    char why[WHY];
    struct chain chain;
    struct key key;
    if (c->certificate == NULL) {
        remark(f, "ok", "no certificate: the web server in front does the TLS, and must say so to %s",
               c->listen[0].text);
        return;
    }
    look_at(f, "certificate", c->certificate);
    bool have_chain = x509_chain_load(&chain, c->certificate, why, sizeof why);
    if (!have_chain) {
        problem(f, "%s", why);
    }
    bool have_key = x509_key_load(&key, c->private_key, why, sizeof why);
    if (!have_key) {
        problem(f, "%s", why);
    }
    if (have_chain) {
        check_dates(f, c, &chain);
        if (!x509_names_host(&chain, c->hostname)) {
            remark(f, "warning", "%s is not for %s: browsers will refuse it unless visitors use another name",
                   c->certificate, c->hostname);
        }
    }
    if (have_chain && have_key) {
        if (x509_match(&chain, &key)) {
            remark(f, "ok", "private key %s belongs to the certificate", c->private_key);
        } else {
            problem(f,
                    "%s does not belong to the certificate %s: the two must be made together, and the "
                    "server's own certificate "
                    "must be the first in its file",
                    c->private_key, c->certificate);
        }
    }
    if (have_chain) {
        x509_chain_free(&chain);
    }
    if (have_key) {
        x509_key_free(&key);
    }
}

/* Whoever sets them believes that visitors are told apart. */
static void check_proxies(struct findings *f, const struct conf *c)
{
    if (c->trusted_proxy_count > 0 && conf_listen(c, ENDPOINT_PROXY) == NULL &&
        conf_listen(c, ENDPOINT_PLAIN) == NULL) {
        remark(f, "warning",
               "trusted_proxies has no effect: no address in listen begins with proxy:, plain: or unix:");
    }
}

/* What a unix socket in listen needs. */
static void check_sockets(struct findings *f, const struct conf *c)
{
    const char *group;
    for (size_t i = 0; i < c->listen_count; i++) {
        const struct endpoint *e = &c->listen[i];
        if (e->kind != ENDPOINT_PLAIN || e->addr.ss_family != AF_UNIX) {
            continue;
        }
        struct sockaddr_un un;
        struct stat st;
        memcpy(&un, &e->addr, sizeof un);
        char *slash = strrchr(un.sun_path, '/');
        slash[slash == un.sun_path] = '\0';
        if (stat(un.sun_path, &st) != 0 || !S_ISDIR(st.st_mode)) {
            problem(f, "listen: %s: there is no directory %s: make it", e->text, un.sun_path);
        } else if (!listen_group(c, &group)) {
            problem(f, "socket_group %s does not exist: name the group that your web server is in", group);
        } else {
            remark(f, "ok", "%s is for the web server in front, mode %04o%s%s", e->text, c->socket_mode,
                   group != NULL ? ", group " : "", group != NULL ? group : "");
        }
    }
}

/* It is read as root, and says where all mail goes. */
static void check_file(struct findings *f, const struct conf *c)
{
    struct stat st;
    if (stat(c->file, &st) != 0 || c->demo) {
        return;
    }
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        remark(f, "warning",
               "%s can be written by others than its owner, who could have all mail sent elsewhere: chmod "
               "go-w it",
               c->file);
    } else if (st.st_uid != 0 && st.st_uid != geteuid()) {
        remark(f, "warning",
               "%s belongs to user %u, who could have all mail sent elsewhere: chown it to root", c->file,
               (unsigned)st.st_uid);
    }
}

static void check_kernel(struct findings *f)
{
    char why[WHY];
    if (sandbox_kernel(why, sizeof why)) {
        remark(f, "ok", "%s", why);
    } else {
        problem(f, "%s: formbridge does not run without its sandbox", why);
    }
}

/* Where nothing was, something is made: a mistyped path would else be found only by who misses mail. */
static bool is_new(const char *path)
{
    return access(path, F_OK) != 0 && errno == ENOENT;
}

static void say_made(struct findings *f, bool made, const char *key, const char *path)
{
    if (made && !f->demo) {
        remark(f, "made", "%s %s, which was not there; if its path is mistyped, correct that and remove this",
               key, path);
    }
}

/* /var/spool belongs to root: what is missing there is made for the user that will own it. */
static void make_spool_for_user(struct findings *f, const struct conf *c)
{
    if (c->user == NULL && geteuid() == 0 && !c->demo) {
        remark(f, "warning",
               "started as root without user in [bridge]: the processes that read the internet stay root, "
               "held by the sandbox alone; add user = NAME");
    }
    if (c->user == NULL || geteuid() != 0) {
        return;
    }
    look_at(f, "user", c->user);
    const struct passwd *pw = getpwnam(c->user);
    look_at(f, "spool", c->spool);
    if (pw == NULL) {
        problem(f, "user %s does not exist: create it (adduser --system --group %s)", c->user, c->user);
        f->user_missing = true;
    } else if (mkdir(c->spool, 0700) == 0) {
        if (lchown(c->spool, pw->pw_uid, pw->pw_gid) != 0) {
            problem(f, "cannot give %s to user %s: %s", c->spool, c->user, strerror(errno));
        }
        say_made(f, true, "spool", c->spool);
    }
}

static void check_target(struct findings *f, const struct form_conf *form, const struct target *t)
{
    char why[WHY], who[FORM_NAME_MAX + sizeof "form "];
    text_fmt(who, sizeof who, "form %s", form->name);
    if (form->alert) {
        text_copy(who, sizeof who, "alert_deliver");
    }
    if (t->kind == TARGET_MAILDIR || t->kind == TARGET_MBOX) {
        look_at(f, "mailbox", t->path);
        bool made = t->kind == TARGET_MAILDIR && is_new(t->path);
        bool ok = t->kind == TARGET_MAILDIR ? maildir_check(t->path, why, sizeof why)
                                            : mbox_check(t->path, why, sizeof why);
        if (ok && t->kind == TARGET_MAILDIR && form->junk != NULL) {
            ok = maildir_check_folder(t->path, form->junk, why, sizeof why);
        }
        if (ok) {
            say_made(f, made, "Maildir", t->path);
            remark(f, "ok", "%s: %s can be written", who, t->text);
        } else {
            trouble(f, "%s: %s", who, why);
        }
    }
}

/* A server that starts answers 503 until there is room again; a person who asks is to hear of it. */
static void check_room(struct findings *f, const struct conf *c, const struct spool *s)
{
    if (spool_probe(s)) {
        remark(f, "ok", "spool %s can be written", c->spool);
    } else if (f->quiet) {
        remark(f, "warning", "spool %s cannot be written: %s: forms are answered 503 until it can", c->spool,
               strerror(errno));
    } else {
        problem(f, "spool %s cannot be written: %s; make room, or mount it writable", c->spool,
                strerror(errno));
    }
}

/* As those are that root put back from a backup. One that has been delivered meanwhile is not missed. */
static size_t count_unreadable(int directory, bool *all)
{
    size_t seen = 0, unreadable = 0;
    DIR *dir = spool_list(directory);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.') {
            continue;
        }
        if (++seen > FILES_MOST) {
            *all = false;
            break;
        }
        unreadable += faccessat(directory, e->d_name, R_OK, AT_EACCESS) != 0 && errno == EACCES;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return unreadable;
}

/* What the courier cannot read waits for max_age and is held; and what is not known of the past is done twice. */
static void check_files(struct findings *f, const struct conf *c, const struct spool *s)
{
    char user[16], of[64] = "";
    bool all = true;
    int once = openat(s->root, "once", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    size_t unreadable = count_unreadable(s->root, &all) + count_unreadable(once, &all) +
                        count_unreadable(s->queue, &all) + count_unreadable(s->held, &all);
    if (once >= 0) {
        close(once);
    }
    if (!all) {
        text_fmt(of, sizeof of, ", of the first %d in each directory", FILES_MOST);
    }
    text_fmt(user, sizeof user, "%u", (unsigned)geteuid());
    if (unreadable == 0) {
        remark(f, "ok", "spool %s: its files%s%s can be read", c->spool, of, all ? "" : ",");
        return;
    }
    remark(f, f->quiet ? "warning" : "problem",
           "spool %s: its user cannot read %zu of its files%s: chown -R %s %s", c->spool, unreadable, of,
           c->user != NULL ? c->user : user, c->spool);
}

/* What the roles will do as the user is tried as the user. */
static void check_as_user(struct findings *f, const struct conf *c)
{
    char why[WHY];
    struct spool spool;
    if (f->user_missing) {
        return;
    }
    if (!sandbox_user(c->user, why, sizeof why)) {
        problem(f, "%s", why);
        return;
    }
    look_at(f, "spool", c->spool);
    bool made = is_new(c->spool);
    if (spool_open(&spool, c->spool, why, sizeof why)) {
        say_made(f, made, "spool", c->spool);
        check_room(f, c, &spool);
        check_files(f, c, &spool);
        spool_close(&spool);
    } else {
        problem(f, "%s", why);
    }
    for (const struct form_conf *form = c->forms; form != NULL; form = form->next) {
        for (size_t i = 0; i < form->target_count; i++) {
            check_target(f, form, &form->targets[i]);
        }
    }
    for (const struct pickup *p = c->pickups; p != NULL; p = p->next) {
        look_at(f, "Maildir", p->maildir);
        made = is_new(p->maildir);
        if (maildir_check(p->maildir, why, sizeof why)) {
            say_made(f, made, "Maildir", p->maildir);
            remark(f, "ok", "pickup %s: %s can be collected", p->name, p->maildir);
        } else {
            trouble(f, "pickup %s: %s", p->name, why);
        }
    }
    if (c->acme_webroot != NULL) {
        look_at(f, "acme_webroot", c->acme_webroot);
        if (access(c->acme_webroot, R_OK | X_OK) != 0) {
            problem(f, "acme_webroot %s cannot be read: %s", c->acme_webroot, strerror(errno));
        }
    }
}

/* Bytes of a mail with so many of uploads: base64 in lines of 76 with their ends, in S/MIME all of that again. */
static uint64_t mail_size(uint64_t uploads, bool sealed)
{
    uint64_t size = uploads / 57 * 78 + MAIL_REST;
    return sealed ? size / 57 * 78 : size;
}

static bool goes_to(const struct form_conf *form, const struct target *t)
{
    bool here = false;
    for (size_t i = 0; i < form->target_count; i++) {
        here = here || (form->targets[i].kind == t->kind && strcmp(form->targets[i].text, t->text) == 0);
    }
    return here;
}

/* Such a mail would be answered with success, and then be held. */
static void check_sizes(struct findings *f, const struct conf *c, const struct target *t, uint64_t most)
{
    for (const struct form_conf *form = c->forms; form != NULL && most > 0; form = form->next) {
        bool sealed = form->encrypt_count > 0;
        if (!goes_to(form, t) || form->alert || mail_size(form->max_body, sealed) <= most) {
            continue;
        }
        uint64_t fits = form->max_body;
        while (fits > 1024 && mail_size(fits, sealed) > most) {
            fits -= 1024;
        }
        remark(f, "warning",
               "form %s: posts of max_body (%llu bytes) become mails of up to %llu, and %s takes %llu at "
               "most: what is "
               "larger would be held; set max_body of the form to %lluk",
               form->name, (unsigned long long)form->max_body,
               (unsigned long long)mail_size(form->max_body, sealed), t->text, (unsigned long long)most,
               (unsigned long long)(fits / 1024));
    }
}

/* Many hosts let an account send under its own addresses only, and the first post would be held. What is put off now may
 * be taken later. */
static bool check_envelope(struct findings *f, struct smtp *s, const struct form_conf *form)
{
    struct recipient *to = calloc(form->to_count, sizeof *to);
    if (to == NULL) {
        return false;
    }
    for (size_t i = 0; i < form->to_count; i++) {
        to[i].address = form->to[i];
    }
    bool usable = smtp_try(s, form->from, to, form->to_count);
    for (size_t i = 0; i < form->to_count; i++) {
        if (to[i].result.outcome == OUTCOME_PERMANENT) {
            problem(f, "form %s: its mail from %s to %s would be held: %s", form->name, form->from,
                    form->to[i], to[i].result.reason);
        } else if (to[i].result.outcome == OUTCOME_TEMPORARY) {
            remark(f, "warning", "form %s: mail from %s to %s would wait: %s", form->name, form->from,
                   form->to[i], to[i].result.reason);
        }
    }
    free(to);
    return usable;
}

/* The whole opening of a delivery; nothing is sent. */
static void check_server(struct findings *f, const struct conf *c, const struct target *t)
{
    char text[WHY * 4];
    struct buf found;
    struct result r;
    struct smtp *s = smtp_open(t, c->hostname, &r);
    if (s == NULL) {
        problem(f, "%s %s: %s", t->kind == TARGET_MAILHOST ? "mailhost" : "target", t->text, r.reason);
        return;
    }
    buf_borrow(&found, text, sizeof text);
    smtp_describe(s, &found);
    const char *words = buf_text(&found);
    remark(f, "ok", "%s %s: %s", t->kind == TARGET_MAILHOST ? "mailhost" : "target", t->text,
           words != NULL ? words : "answers");
    check_sizes(f, c, t, smtp_most(s));
    bool usable = true;
    for (const struct form_conf *form = c->forms; form != NULL && usable; form = form->next) {
        usable = !goes_to(form, t) || check_envelope(f, s, form);
    }
    smtp_close(s);
}

/* Does an earlier form name it, too? */
static bool was_named(const struct conf *c, const struct form_conf *until, const struct target *t)
{
    for (const struct form_conf *form = c->forms; form != until; form = form->next) {
        for (size_t i = 0; i < form->target_count; i++) {
            if (strcmp(form->targets[i].text, t->text) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void check_servers(struct findings *f, const struct conf *c)
{
    for (struct mailhost *m = c->mailhosts; m != NULL; m = m->next) {
        const struct target t = {.kind = TARGET_MAILHOST, .text = m->name, .host = m};
        if (m->timeout == 0 || m->timeout > ONLINE_WAIT) {
            m->timeout = ONLINE_WAIT;
        }
        check_server(f, c, &t);
    }
    for (const struct form_conf *form = c->forms; form != NULL; form = form->next) {
        for (size_t i = 0; i < form->target_count; i++) {
            if (form->targets[i].kind == TARGET_LMTP && !was_named(c, form, &form->targets[i])) {
                check_server(f, c, &form->targets[i]);
            }
        }
    }
}

/* As the fronts and the signer will load them. The first expiry of any form is shown to monitoring. */
static void check_seal(struct findings *f, const struct form_conf *form, int64_t *first)
{
    char why[WHY], until[DATE_SIZE];
    int64_t now = time(NULL), expiry;
    struct seal *seal = seal_load(form, 0, why, sizeof why);
    if (seal == NULL) {
        problem(f, "form %s: %s", form->name, why);
        return;
    }
    bool usable = seal_usable(seal, now, &expiry, why, sizeof why);
    if (!usable) {
        trouble(f, "form %s: %s", form->name, why);
        if (expiry > INT64_MIN && expiry < now) { /* the form answers 503 */
            forgive_at_start(f);
        }
    } else {
        date_day(until, expiry);
        long long days = (long long)((expiry - now) / DAY);
        bool soon = days < SEAL_SOON;
        remark(f, soon ? "warning" : "ok",
               "form %s: mail is encrypted; the certificates are good until %s%s%s", form->name, until,
               soon ? ", which is soon: renew them" : "",
               days < SEAL_URGENT ? " this week, or the form takes nothing more" : "");
    }
    if (expiry > INT64_MIN) {
        *first = *first == 0 || expiry < *first ? expiry : *first;
    }
    seal_free(seal);
}

static void check_sign_key(struct findings *f, const struct form_conf *form)
{
    char why[WHY];
    struct chain chain;
    struct key key;
    if (!x509_chain_load(&chain, form->sign_cert, why, sizeof why)) {
        problem(f, "form %s: %s", form->name, why);
        return;
    }
    if (!x509_key_load(&key, form->sign_key, why, sizeof why)) {
        problem(f, "form %s: %s", form->name, why);
    } else {
        if (!x509_match(&chain, &key)) {
            problem(f, "form %s: %s does not belong to the certificate %s: the two must be made together",
                    form->name, form->sign_key, form->sign_cert);
        }
        x509_key_free(&key);
    }
    x509_chain_free(&chain);
}

static void check_seals(struct findings *f, const struct conf *c)
{
    int64_t first = 0;
    for (const struct form_conf *form = c->forms; form != NULL; form = form->next) {
        look_at(f, "form", form->name);
        if (form->encrypt_count > 0) {
            check_seal(f, form, &first);
        }
        if (form->sign_cert != NULL) {
            check_sign_key(f, form);
        }
    }
    stats_set(STAT_SEAL_EXPIRES, first);
}

static void check_spamlists(struct findings *f, const struct conf *c)
{
    char why[WHY];
    for (const struct form_conf *form = c->forms; form != NULL; form = form->next) {
        if (form->spam_word_count == 0 && form->spam_words_file == NULL) {
            continue;
        }
        look_at(f, "spam_words_file of form", form->name);
        struct spamlist *l =
            spamlist_load(form->spam_words, form->spam_word_count, form->spam_words_file, why, sizeof why);
        if (l != NULL) {
            remark(f, "ok", "form %s: %zu words and phrases of spam", form->name, spamlist_count(l));
        } else {
            problem(f, "form %s: %s", form->name, why);
        }
        spamlist_free(l);
    }
}

/* Whether formbridge test could fill the form in. */
static void check_samples(struct findings *f, const struct conf *c)
{
    struct rules_report wrong;
    for (const struct form_conf *form = c->forms; form != NULL; form = form->next) {
        for (const struct rule *rule = form->rules; rule != NULL; rule = rule->next) {
            struct buf value;
            buf_init(&value, 1 << 21);
            if (rule->required && rule->type != FIELD_FILE) {
                sample_value(&value, rule, form->from, time(NULL));
                if (!rules_value(rule, (struct span){(char *)value.data, value.len}, time(NULL), &wrong)) {
                    remark(f, "warning",
                           "form %s: formbridge test has no value for the field %s: set example in [field %s "
                           "%s]",
                           form->name, rule->name, form->name, rule->name);
                }
            }
            buf_free(&value);
        }
    }
}

bool check_quiet(enum check_kind kind)
{
    return kind != CHECK_SHOWN && kind != CHECK_ONLINE;
}

unsigned check_run(const struct conf *c, enum check_kind kind, struct buf *out, char *at)
{
    struct findings f = {.out = out, .at = at, .kind = kind, .quiet = check_quiet(kind), .demo = c->demo};
    char why[WHY];
    bool loaded = true;
    check_kernel(&f);
    check_file(&f, c);
    check_certificate(&f, c);
    check_proxies(&f, c);
    check_sockets(&f, c);
    for (struct mailhost *m = c->mailhosts; m != NULL; m = m->next) {
        look_at(&f, "mailhost", m->name);
        if (smtp_load(m, why, sizeof why)) {
            remark(&f, "ok", "mailhost %s: password and trusted certificates can be read", m->name);
        } else {
            problem(&f, "%s", why);
            loaded = false;
        }
    }
    check_seals(&f, c);
    check_spamlists(&f, c);
    if (!check_quiet(kind)) {
        check_samples(&f, c);
    }
    make_spool_for_user(&f, c);
    check_as_user(&f, c);
    if (kind == CHECK_ONLINE && loaded) {
        check_servers(&f, c);
    } else if (kind == CHECK_ONLINE) {
        remark(&f, "warning", "no mail host was contacted: their files come first");
    }
    smtp_unload();
    if (!check_quiet(kind)) {
        buf_str(out, f.problems > 0   ? "Put the problems right, then check again.\n"
                     : f.warnings > 0 ? "Good enough to start; but read the warnings.\n"
                                      : "Everything is in order.\n");
    }
    return f.problems;
}
