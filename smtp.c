/* SMTP (RFC 5321) and LMTP (RFC 2033) as a client.
 *
 * What goes wrong before a transaction concerns the host, not the mail: it is temporary, so that the mail
 * waits until a person has repaired the host or the config. The one exception is REQUIRETLS, which forbids to
 * try elsewhere or later what the host cannot promise (RFC 8689 §4.2.1). In a transaction the host decides:
 * 4xx temporary, 5xx permanent. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    CHUNK = 16384, /* of the message, one TLS record */
    GROUP = 50,    /* RCPTs sent before their answers are read: few enough for the answers to fit in flight */
    PASSWORD_MAX = 512, /* in the file */
};

struct loaded { /* what a mail host needs from files, read before the role narrowed itself */
    struct loaded *next;
    const struct mailhost *host;
    struct anchors *anchors;
    char password[PASSWORD_MAX + 1];
};
static struct loaded *all_loaded; /* written by smtp_load() alone, before there are threads */

struct smtp {
    struct talk talk;
    bool ready; /* smtp_open() has succeeded */
    const struct loaded *loaded;
    const char *hostname;
    struct wire_caps caps;
    struct auth auth;
    enum auth_mechanism login; /* that the host accepted */
    bool unfinished;           /* a transaction was begun and not completed: RSET before the next */
    bool began;                /* to send the message, in the last smtp_send() */
    unsigned char chunk[CHUNK];
    unsigned char out[2 * CHUNK + 8]; /* every byte may become two */
};

/* ---- files ----------------------------------------------------------------------------------- */

static bool read_password(const char *path, int fd, char *out, char *why, size_t why_size)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        text_fmt(why, why_size, "%s: not a regular file; password_file must hold the password on one line",
                 path);
        return false;
    }
    if (st.st_mode & (S_IWGRP | S_IRWXO)) {
        text_fmt(why, why_size, "%s: mode %03o lets others read or change it; chmod 600 or 640", path,
                 (unsigned)st.st_mode & 0777);
        return false;
    }
    ssize_t n = read(fd, out, PASSWORD_MAX);
    if (n < 0 || n != st.st_size) {
        text_fmt(why, why_size, "%s: %s", path, n < 0 ? strerror(errno) : "a password has at most 512 bytes");
        return false;
    }
    size_t len = (size_t)n;
    len -= len > 0 && out[len - 1] == '\n';
    len -= len > 0 && out[len - 1] == '\r';
    out[len] = '\0';
    if (len == 0 || strlen(out) != len || strpbrk(out, "\r\n") != NULL) {
        text_fmt(why, why_size, "%s: must hold one line, the password, and nothing else", path);
        return false;
    }
    return true;
}

static bool load_password(const char *path, char *out, char *why, size_t why_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        text_fmt(why, why_size, "%s: %s", path, strerror(errno));
        return false;
    }
    bool ok = read_password(path, fd, out, why, why_size);
    close(fd);
    if (!ok) {
        explicit_bzero(out, PASSWORD_MAX + 1);
    }
    return ok;
}

static void unload(struct loaded *l)
{
    anchors_free(l->anchors);
    explicit_bzero(l, sizeof *l);
    free(l);
}

bool smtp_load(struct mailhost *m, char *why, size_t why_size)
{
    struct loaded *l = calloc(1, sizeof *l);
    if (l == NULL) {
        text_fmt(why, why_size, "out of memory");
        return false;
    }
    l->host = m;
    if (!m->pin_only) {
        l->anchors = anchors_load(m->trust, time(NULL), why, why_size);
    }
    if ((!m->pin_only && l->anchors == NULL) ||
        (m->username != NULL && !load_password(m->password_file, l->password, why, why_size))) {
        unload(l);
        return false;
    }
    l->next = all_loaded;
    all_loaded = l;
    return true;
}

void smtp_unload(void)
{
    while (all_loaded != NULL) {
        struct loaded *l = all_loaded;
        all_loaded = l->next;
        unload(l);
    }
}

/* ---- opening: from the connection to READY --------------------------------------------------- */

static enum talk_state refused(struct smtp *s, enum talk_state state)
{
    talk_refusal(&s->talk, state, &s->talk.failure);
    return TALK_DEAD;
}

static enum talk_state dead(struct smtp *s, const char *why)
{
    talk_die(&s->talk, "%s", why);
    return TALK_DEAD;
}

static enum talk_state begin_auth(struct smtp *s)
{
    enum auth_mechanism m = s->caps.offers & CAP_SCRAM_SHA_256 ? AUTH_SCRAM_SHA_256
                            : s->caps.offers & CAP_PLAIN       ? AUTH_PLAIN
                            : s->caps.offers & CAP_LOGIN       ? AUTH_LOGIN
                                                               : AUTH_NONE;
    unsigned char random[18];
    if (!(s->caps.offers & CAP_AUTH)) {
        return dead(s, "the host offers no AUTH on this port, but username is set: try the submission port "
                       "(465 or 587)");
    }
    if (m == AUTH_NONE) {
        return dead(s, "the host offers AUTH, but none of SCRAM-SHA-256, PLAIN and LOGIN");
    }
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return dead(s, "no randomness for AUTH");
    }
    auth_start(&s->auth, m, s->talk.host->username, s->loaded->password, random);
    return TALK_AUTH;
}

/* EHLO was answered: what next depends on what is promised and what is needed. */
static enum talk_state after_ehlo(struct smtp *s)
{
    wire_caps_read(&s->caps, &s->talk.reply);
    if (s->talk.host == NULL) {
        return TALK_READY;
    }
    if (!dial_secure(s->talk.dial)) {
        return s->caps.offers & CAP_STARTTLS
                   ? TALK_STARTTLS
                   : dead(s,
                          "the host offers no STARTTLS on this port, so nothing was sent: if it is 465, set "
                          "tls = implicit; if somebody takes the offer out on the way, that is an attack");
    }
    if (s->talk.host->requiretls && !(s->caps.offers & CAP_REQUIRETLS)) {
        talk_die(&s->talk,
                 "requiretls = yes, but the host does not offer REQUIRETLS (RFC 8689), so it cannot promise "
                 "TLS on the "
                 "rest of the way (5.7.30)");
        s->talk.failure.outcome = OUTCOME_PERMANENT;
        return TALK_DEAD;
    }
    return s->talk.host->username != NULL ? begin_auth(s) : TALK_READY;
}

static enum talk_state after_starttls(struct smtp *s)
{
    s->caps = (struct wire_caps){0}; /* heard in clear: RFC 3207 §4.2 */
    return dial_starttls(s->talk.dial, talk_wait(&s->talk, TALK_STARTTLS)) ? TALK_EHLO
                                                                           : dead(s, dial_why(s->talk.dial));
}

/* The one transition function: the answer to state is in s->talk.reply. */
static enum talk_state transition(struct smtp *s, enum talk_state state)
{
    unsigned code = s->talk.reply.code;
    switch (state) {
    case TALK_GREETING:
        if (code != 220) {
            return refused(s, state);
        }
        return s->talk.host == NULL ? TALK_LHLO : TALK_EHLO;
    case TALK_EHLO:
        if (talk_class(&s->talk) == 5 && dial_secure(s->talk.dial) && s->talk.host->username == NULL &&
            !s->talk.host->requiretls) {
            return TALK_HELO; /* RFC 5321 §3.2: a host from before 1995, but under TLS */
        }
        return code == 250 ? after_ehlo(s) : refused(s, state);
    case TALK_LHLO: return code == 250 ? after_ehlo(s) : refused(s, state);
    case TALK_HELO: return code == 250 ? TALK_READY : refused(s, state);
    case TALK_STARTTLS: return code == 220 ? after_starttls(s) : refused(s, state);
    case TALK_AUTH:
    case TALK_CHALLENGE:
        if (code == 334) {
            return TALK_CHALLENGE;
        }
        if (code != 235) {
            return refused(s, state);
        }
        return s->auth.proved
                   ? TALK_READY
                   : dead(s, "the host accepted the login before it was complete, or without proof of "
                             "its own: it may be an impostor");
    default: return dead(s, "unexpected state");
    }
}

static bool say_challenge(struct smtp *s)
{
    char memory[2048];
    struct buf answer;
    buf_borrow(&answer, memory, sizeof memory);
    const char *line = "";
    size_t len = 0, at = 0;
    (void)wire_reply_each(&s->talk.reply, &at, &line, &len);
    bool ok = auth_step(&s->auth, line, len, &answer) && buf_text(&answer) != NULL;
    ok = ok ? talk_put(&s->talk, TALK_CHALLENGE, "%s", memory)
            : talk_die(&s->talk, "AUTH %s: the host %s", auth_name(s->auth.mechanism), s->auth.why);
    explicit_bzero(memory, sizeof memory);
    return ok;
}

/* Says what belongs to a state of the opening. */
static bool say(struct smtp *s, enum talk_state state)
{
    bool clear = s->talk.host != NULL && !dial_secure(s->talk.dial);
    if (state == TALK_GREETING) {
        return true;
    }
    if (!talk_in_turn(&s->talk, state)) {
        return false;
    }
    if (clear) {
        dial_deadline(s->talk.dial, talk_wait(&s->talk, state));
        return dial_clear(s->talk.dial, state == TALK_EHLO ? DIAL_EHLO : DIAL_STARTTLS, s->hostname) ||
               talk_die(&s->talk, "%s, while sending %s", dial_why(s->talk.dial), talk_name(state));
    }
    switch (state) {
    case TALK_AUTH:
        return talk_put(&s->talk, state, "AUTH %s", auth_name(s->auth.mechanism)) &&
               talk_flush(&s->talk, state);
    case TALK_CHALLENGE: return say_challenge(s) && talk_flush(&s->talk, state);
    default:
        return talk_put(&s->talk, state, "%s %s", talk_name(state), s->hostname) &&
               talk_flush(&s->talk, state);
    }
}

static struct smtp *smtp_new(const struct target *t, const char *hostname)
{
    struct smtp *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->hostname = hostname;
    s->talk.failure = (struct result){OUTCOME_TEMPORARY, "the session ended"};
    s->talk.host = t->kind == TARGET_MAILHOST ? t->host : NULL;
    for (struct loaded *l = all_loaded; l != NULL && s->talk.host != NULL; l = l->next) {
        s->loaded = l->host == s->talk.host ? l : s->loaded;
    }
    return s;
}

static bool connect_target(struct smtp *s, const struct target *t, struct result *r)
{
    if (s->talk.host == NULL) {
        s->talk.dial = dial_local(t, talk_wait(&s->talk, TALK_GREETING), r->reason, sizeof r->reason);
        return s->talk.dial != NULL;
    }
    if (s->loaded == NULL) {
        text_fmt(r->reason, sizeof r->reason, "mail host %s was not loaded", s->talk.host->name);
        return false;
    }
    s->talk.dial = dial_host(s->talk.host, s->loaded->anchors, talk_wait(&s->talk, TALK_GREETING), r->reason,
                             sizeof r->reason);
    return s->talk.dial != NULL;
}

struct smtp *smtp_open(const struct target *t, const char *hostname, struct result *r)
{
    *r = (struct result){.outcome = OUTCOME_TEMPORARY};
    struct smtp *s = smtp_new(t, hostname);
    if (s == NULL) {
        text_fmt(r->reason, sizeof r->reason, "out of memory");
        return NULL;
    }
    if (!connect_target(s, t, r)) {
        smtp_close(s);
        return NULL;
    }
    enum talk_state next = TALK_GREETING;
    while (next != TALK_READY && next != TALK_DEAD) {
        next = say(s, next) && talk_await(&s->talk, next) ? transition(s, next) : TALK_DEAD;
    }
    s->login = s->auth.mechanism;
    auth_end(&s->auth);
    if (next == TALK_DEAD) {
        *r = s->talk.failure;
        smtp_close(s);
        return NULL;
    }
    s->ready = true;
    r->outcome = OUTCOME_DONE;
    return s;
}

/* ---- one transaction ------------------------------------------------------------------------- */

static bool undecided(const struct recipient *r)
{
    return r->result.reason[0] == '\0';
}

/* Gives a result to every recipient that has none yet; accepted_only: of those that the host accepted. */
static void decide(struct recipient *recipients, size_t count, bool accepted_only,
                   const struct result *result)
{
    for (size_t i = 0; i < count; i++) {
        if (undecided(&recipients[i]) && (!accepted_only || recipients[i].accepted)) {
            recipients[i].result = *result;
        }
    }
}

/* Reads the whole message once, before the host hears of it: afterwards it could only be broken off. */
static bool scan_message(struct smtp *s, int fd, uint64_t size, struct wire_scan *scan, struct result *r)
{
    uint64_t at = 0;
    wire_scan_init(scan);
    for (;;) {
        ssize_t n = pread(fd, s->chunk, sizeof s->chunk, (off_t)at);
        if (n < 0 && errno != EINTR) {
            text_fmt(r->reason, sizeof r->reason, "the message cannot be read from the spool: %s",
                     strerror(errno));
            return false;
        }
        if (n == 0) {
            break;
        }
        if (n > 0) {
            wire_scan(scan, s->chunk, (size_t)n);
            at += (uint64_t)n;
        }
    }
    wire_scan_end(scan);
    r->outcome = OUTCOME_PERMANENT;
    if (at != size) {
        text_fmt(r->reason, sizeof r->reason,
                 "the message in the spool has %llu bytes where %llu were expected", (unsigned long long)at,
                 (unsigned long long)size);
    } else if (size == 0) {
        text_fmt(r->reason, sizeof r->reason, "the message in the spool is empty");
    } else if (scan->fault != NULL) {
        text_fmt(r->reason, sizeof r->reason, "the message %s", scan->fault);
    }
    return r->reason[0] == '\0';
}

/* What the host cannot take, by its own announcement. */
static bool host_takes(const struct smtp *s, const char *from, const struct wire_scan *scan, struct result *r)
{
    unsigned offers = s->caps.offers;
    const char *peer = dial_peer(s->talk.dial);
    r->outcome = OUTCOME_PERMANENT;
    if (!wire_path_ok(from)) {
        text_fmt(r->reason, sizeof r->reason, "the sender's address cannot stand in MAIL FROM");
        return false;
    }
    if (s->caps.size != 0 && scan->size > s->caps.size) {
        text_fmt(r->reason, sizeof r->reason, "%.100s takes at most %llu bytes (SIZE), the message has %llu",
                 peer, (unsigned long long)s->caps.size, (unsigned long long)scan->size);
        return false;
    }
    if ((scan->eight_bit_header || !wire_ascii(from)) && !(offers & CAP_SMTPUTF8)) {
        text_fmt(r->reason, sizeof r->reason,
                 "%.100s does not offer SMTPUTF8, which the sender's address or the header needs", peer);
        return false;
    }
    if (scan->eight_bit && !(offers & CAP_8BITMIME)) {
        text_fmt(r->reason, sizeof r->reason,
                 "%.100s does not offer 8BITMIME, and the message has bytes above 127", peer);
        return false;
    }
    return true;
}

static void check_recipient(const struct smtp *s, struct recipient *r)
{
    r->result.outcome = OUTCOME_PERMANENT;
    if (!wire_path_ok(r->address) || r->address[0] == '\0') {
        text_fmt(r->result.reason, sizeof r->result.reason, "the address cannot stand in RCPT TO");
    } else if (!wire_ascii(r->address) && !(s->caps.offers & CAP_SMTPUTF8)) {
        text_fmt(r->result.reason, sizeof r->result.reason,
                 "%.100s does not offer SMTPUTF8, which this address needs", dial_peer(s->talk.dial));
    }
}

static bool needs_utf8(const char *from, const struct recipient *recipients, size_t count,
                       const struct wire_scan *scan)
{
    bool needs = scan->eight_bit_header || !wire_ascii(from);
    for (size_t i = 0; i < count; i++) {
        needs = needs || (undecided(&recipients[i]) && !wire_ascii(recipients[i].address));
    }
    return needs;
}

static bool put_mail(struct smtp *s, const char *from, bool utf8, const struct wire_scan *scan)
{
    unsigned offers = s->caps.offers;
    char size[32] = "";
    if (offers & CAP_SIZE) {
        text_fmt(size, sizeof size, " SIZE=%llu", (unsigned long long)scan->size);
    }
    return talk_put(&s->talk, TALK_MAIL, "MAIL FROM:<%s>%s%s%s%s%s", from, size,
                    scan->eight_bit ? " BODY=8BITMIME" : "", utf8 ? " SMTPUTF8" : "",
                    offers & CAP_DSN ? " RET=HDRS" : "", /* a bounce need not repeat the form */
                    s->talk.host != NULL && s->talk.host->requiretls ? " REQUIRETLS" : "");
}

static bool put_recipients(struct smtp *s, const struct recipient *recipients, size_t count)
{
    const char *dsn = s->caps.offers & CAP_DSN ? " NOTIFY=FAILURE" : "";
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++) {
        ok = !undecided(&recipients[i]) ||
             talk_put(&s->talk, TALK_RCPT, "RCPT TO:<%s>%s", recipients[i].address, dsn);
    }
    return ok && talk_flush(&s->talk, TALK_RCPT);
}

/* The answer to MAIL FROM: true if the transaction is open. */
static bool mail_accepted(struct smtp *s, struct result *r)
{
    if (!talk_await(&s->talk, TALK_MAIL)) {
        return false;
    }
    if (talk_class(&s->talk) == 3) {
        return talk_die(&s->talk, "the answer to MAIL FROM is not SMTP: %u", s->talk.reply.code);
    }
    s->unfinished = talk_class(&s->talk) == 2;
    if (!s->unfinished) {
        talk_refusal(&s->talk, TALK_MAIL, r);
    }
    return s->unfinished;
}

/* The answers to a group of RCPTs. Without an open transaction they are read and mean nothing. */
static size_t read_recipients(struct smtp *s, struct recipient *recipients, size_t count)
{
    size_t accepted = 0;
    for (size_t i = 0; i < count; i++) {
        if (!undecided(&recipients[i])) {
            continue;
        }
        if (!talk_await(&s->talk, TALK_RCPT)) {
            break;
        }
        if (talk_class(&s->talk) == 3) {
            talk_die(&s->talk, "the answer to RCPT TO is not SMTP: %u", s->talk.reply.code);
            break;
        }
        recipients[i].accepted = s->unfinished && talk_class(&s->talk) == 2;
        accepted += recipients[i].accepted;
        if (s->unfinished && !recipients[i].accepted) {
            talk_refusal(&s->talk, TALK_RCPT, &recipients[i].result);
        }
    }
    return accepted;
}

/* MAIL FROM and every RCPT TO; with PIPELINING (RFC 2920) in groups, DATA never among them: its answer would
 * have to be obeyed even if nobody was accepted. Returns how many recipients were accepted. */
static size_t envelope(struct smtp *s, const char *from, struct recipient *recipients, size_t count,
                       const struct wire_scan *scan)
{
    bool piped = s->caps.offers & CAP_PIPELINING;
    size_t accepted = 0;
    struct result r = {0};
    if (!talk_in_turn(&s->talk, TALK_MAIL) ||
        !put_mail(s, from, needs_utf8(from, recipients, count, scan), scan)) {
        return 0;
    }
    bool open = false;
    if (!piped) {
        open = talk_flush(&s->talk, TALK_MAIL) && mail_accepted(s, &r);
    }
    for (size_t i = 0, n; i < count && (open || (piped && i == 0)) && !s->talk.dead; i += n) {
        n = !piped ? 1 : count - i < GROUP ? count - i : GROUP;
        if (!put_recipients(s, recipients + i, n)) {
            break;
        }
        if (piped && i == 0) {
            open = mail_accepted(s, &r);
        }
        if (!s->talk.dead) {
            accepted += read_recipients(s, recipients + i, n);
        }
    }
    if (!s->talk.dead && !open) {
        decide(recipients, count, false, &r);
    }
    return s->talk.dead ? 0 : accepted;
}

/* The message itself. The deadline is one for each chunk, so a large message on a slow line is no failure. */
static bool put_message(struct smtp *s, int fd, uint64_t size)
{
    struct wire_body body = {0};
    uint64_t at = 0;
    while (at < size) {
        ssize_t n = pread(fd, s->chunk, size - at < CHUNK ? (size_t)(size - at) : CHUNK, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return talk_die(&s->talk, "the message cannot be read from the spool: %s",
                            n < 0 ? strerror(errno) : "it became shorter");
        }
        struct buf out;
        buf_borrow(&out, s->out, sizeof s->out);
        wire_body(&body, s->chunk, (size_t)n, &out);
        at += (uint64_t)n;
        if (at == size) {
            wire_body_end(&body, &out);
            if (!talk_in_turn(&s->talk, TALK_BODY)) {
                return false; /* an answer before the end is an answer to something else */
            }
        }
        dial_deadline(s->talk.dial, talk_wait(&s->talk, TALK_BLOCK));
        if (!buf_ok(&out) || !dial_put(s->talk.dial, out.data, out.len)) {
            return talk_die(&s->talk, "%s, in the middle of the message", dial_why(s->talk.dial));
        }
    }
    return dial_flush(s->talk.dial) || talk_die(&s->talk, "%s, at the end of the message%s",
                                                dial_why(s->talk.dial), talk_hint(&s->talk, TALK_BODY));
}

/* One answer for the message (SMTP), or one for each accepted recipient in order (LMTP, RFC 2033 §4.2). */
static void read_verdict(struct smtp *s, struct recipient *recipients, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!undecided(&recipients[i]) || !recipients[i].accepted) {
            continue;
        }
        if (!talk_await(&s->talk, TALK_BODY)) {
            return;
        }
        struct result r;
        if (talk_class(&s->talk) == 3) {
            talk_die(&s->talk, "the answer to the message is not SMTP: %u%s", s->talk.reply.code,
                     talk_hint(&s->talk, TALK_BODY));
            return;
        }
        talk_refusal(&s->talk, TALK_BODY, &r);
        if (talk_class(&s->talk) == 2) {
            r.outcome = OUTCOME_DONE;
        }
        if (s->talk.host != NULL) {
            decide(recipients, count, true, &r);
            return;
        }
        recipients[i].result = r;
    }
}

static void transfer(struct smtp *s, struct recipient *recipients, size_t count, int fd, uint64_t size)
{
    if (!talk_ask(&s->talk, TALK_DATA, "DATA")) {
        return;
    }
    if (talk_class(&s->talk) == 2 || (talk_class(&s->talk) == 3 && s->talk.reply.code != 354)) {
        talk_die(&s->talk, "the answer to DATA is not SMTP: %u", s->talk.reply.code);
        return;
    }
    if (s->talk.reply.code != 354) {
        struct result r;
        talk_refusal(&s->talk, TALK_DATA, &r);
        decide(recipients, count, true, &r);
        return;
    }
    s->began = true;
    if (put_message(s, fd, size)) {
        s->unfinished = false;
        read_verdict(s, recipients, count);
    }
}

static bool reset(struct smtp *s)
{
    if (!s->unfinished) {
        return true;
    }
    if (!talk_ask(&s->talk, TALK_RSET, "RSET")) {
        return false;
    }
    s->unfinished = false;
    return talk_class(&s->talk) == 2 || talk_die(&s->talk, "the host refuses RSET");
}

bool smtp_send(struct smtp *s, const char *from, struct recipient *recipients, size_t count, int fd,
               uint64_t size)
{
    struct wire_scan scan;
    struct result r = {.outcome = OUTCOME_TEMPORARY};
    s->began = false;
    for (size_t i = 0; i < count; i++) {
        recipients[i].accepted = false;
        recipients[i].result = r;
    }
    if (!scan_message(s, fd, size, &scan, &r) || !host_takes(s, from, &scan, &r)) {
        decide(recipients, count, false, &r);
        return !s->talk.dead;
    }
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        check_recipient(s, &recipients[i]);
        left += undecided(&recipients[i]);
    }
    if (left > 0 && reset(s) && envelope(s, from, recipients, count, &scan) > 0) {
        transfer(s, recipients, count, fd, size);
    }
    decide(recipients, count, false,
           &s->talk.failure); /* whoever is left is so because the connection died */
    return !s->talk.dead;
}

bool smtp_try(struct smtp *s, const char *from, struct recipient *recipients, size_t count)
{
    const struct wire_scan nothing = {.size = 0};
    for (size_t i = 0; i < count; i++) {
        recipients[i].accepted = false;
        recipients[i].result = (struct result){.outcome = OUTCOME_TEMPORARY};
        check_recipient(s, &recipients[i]);
    }
    if (reset(s)) {
        envelope(s, from, recipients, count, &nothing);
    }
    for (size_t i = 0; i < count; i++) {
        if (recipients[i].accepted) {
            recipients[i].result = (struct result){.outcome = OUTCOME_DONE, .reason = "accepted"};
        }
    }
    decide(recipients, count, false,
           &s->talk.failure); /* whoever is left is so because the connection died */
    return reset(s);
}

bool smtp_began(const struct smtp *s)
{
    return s->began;
}

bool smtp_idle(const struct smtp *s)
{
    return s->ready && !s->talk.dead && dial_quiet(s->talk.dial);
}

void smtp_describe(const struct smtp *s, struct buf *out)
{
    static const struct {
        unsigned bit;
        const char *name;
    } used[] = {{CAP_PIPELINING, "PIPELINING"},
                {CAP_8BITMIME, "8BITMIME"},
                {CAP_SMTPUTF8, "SMTPUTF8"},
                {CAP_DSN, "DSN"},
                {CAP_SIZE, "SIZE"},
                {CAP_REQUIRETLS, "REQUIRETLS"}};
    dial_describe(s->talk.dial, out);
    if (s->login != AUTH_NONE) {
        buf_fmt(out, "; logged in with %s", auth_name(s->login));
    }
    if (s->caps.size != 0) {
        buf_fmt(out, "; takes messages of at most %llu bytes", (unsigned long long)s->caps.size);
    }
    const char *before = "; offers ";
    for (size_t i = 0; i < COUNT(used); i++) {
        if (s->caps.offers & used[i].bit) {
            buf_fmt(out, "%s%s", before, used[i].name);
            before = ", ";
        }
    }
}

uint64_t smtp_most(const struct smtp *s)
{
    return s->caps.size;
}

void smtp_close(struct smtp *s)
{
    if (s->ready && !s->talk.dead && talk_put(&s->talk, TALK_QUIT, "QUIT") &&
        talk_flush(&s->talk, TALK_QUIT)) {
        (void)talk_await(&s->talk,
                         TALK_QUIT); /* the answer changes nothing, but hanging up before it is rude */
    }
    dial_close(s->talk.dial);
    explicit_bzero(s, sizeof *s);
    free(s);
}
