/* One POP3 session (RFC 1939): commands in, answers out.
 *
 *     AUTHORIZATION --right password, mailbox locked--> TRANSACTION --QUIT--> removal --> OVER
 *
 * Whatever touches a disk or computes a hash is a job for another thread, one at a time; until it is done no further
 * command is taken. Long answers are made a piece at a time, when what was made before has been sent.
 *
 * UTF8 (RFC 6856) is not among the capabilities: a server that has it must keep messages with UTF-8 in their header from
 * clients that do not ask for it, and these clients are the ones people use. Every message goes out as it is. */

#include "bridge.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum {
    OUT_MAX = 256 * 1024,
    LISTING_LOT = 8 * 1024,
    PIECE = 16 * 1024, /* of a message; at most doubled by its dots */
    ATTEMPTS = 3,      /* wrong passwords on one connection */
    MISTAKES = 20,     /* lines that are no command */
};

static const char capabilities[] = "+OK this is what there is\r\n"
                                   "USER\r\n"
                                   "SASL PLAIN\r\n"
                                   "TOP\r\n"
                                   "UIDL\r\n"
                                   "PIPELINING\r\n"
                                   "RESP-CODES\r\n"
                                   "AUTH-RESP-CODE\r\n"
                                   "EXPIRE NEVER\r\n"
                                   "IMPLEMENTATION formbridge\r\n"
                                   ".\r\n";

static void say(struct popsession *s, const char *text)
{
    buf_str(&s->out, text);
    buf_str(&s->out, "\r\n");
}

static void refuse(struct popsession *s, const char *why)
{
    buf_fmt(&s->out, "-ERR %s\r\n", why);
}

static void mistake(struct popsession *s, const char *why)
{
    refuse(s, why);
    if (++s->mistakes >= MISTAKES) {
        s->state = POP_OVER;
    }
}

static void want(struct popsession *s, enum popsession_want what, void (*job)(struct popsession *),
                 void (*answer)(struct popsession *))
{
    s->want = what;
    s->job = job;
    s->answer = answer;
}

/* ---- login ----------------------------------------------------------------------------------- */

/* Is it this user? Compared to the end, as if both were of full length. */
static bool same_user(const struct popsession *s)
{
    char wanted[POPCMD_USER_MAX + 1] = "";
    text_copy(wanted, sizeof wanted, s->pickup->name);
    return hash_same(wanted, s->login.user, sizeof wanted) && s->login.user[0] != '\0';
}

/* The hash is computed whoever it is, so that an unknown user takes as long as a wrong password. */
static void check_job(struct popsession *s)
{
    bool right = passwd_matches(s->pickup->password, s->login.password);
    s->right = same_user(s) && right;
}

static void open_job(struct popsession *s)
{
    s->opened = maildrop_open(&s->drop, s->pickup->maildir, s->why, sizeof s->why);
}

static void open_answer(struct popsession *s)
{
    if (s->opened == MAILDROP_IN_USE) {
        refuse(s, "[IN-USE] another session has this mailbox; try again when it has ended");
        return;
    }
    if (s->opened == MAILDROP_FAILED) {
        log_error("[pickup %s]: %s", s->pickup->name, s->why);
        refuse(s, "[SYS/PERM] the mailbox cannot be opened; the server's log says why");
        return;
    }
    s->has_drop = true;
    s->state = POP_TRANSACTION;
    buf_fmt(&s->out, "+OK %zu messages\r\n", s->drop.count);
}

static void check_answer(struct popsession *s)
{
    explicit_bzero(&s->login, sizeof s->login);
    if (s->right) {
        want(s, WANT_DISK, open_job, open_answer);
        return;
    }
    refuse(s, "[AUTH] wrong user or password");
    if (++s->attempts >= ATTEMPTS) {
        s->state = POP_OVER;
    }
}

static void do_plain(struct popsession *s, const char *text, size_t len)
{
    if (popcmd_plain(&s->login, text, len)) {
        want(s, WANT_CHECK, check_job, check_answer);
    } else {
        mistake(s, "this is not the base64 of a PLAIN login (RFC 4616) for oneself");
    }
}

static void do_continuation(struct popsession *s)
{
    s->continuing = false;
    if (s->line_len == 1 && s->line[0] == '*') { /* RFC 5034 §4 */
        mistake(s, "cancelled");
    } else {
        do_plain(s, s->line, s->line_len);
    }
}

static void do_pass(struct popsession *s, const struct popcmd *c)
{
    if (!s->named) {
        refuse(s, "USER comes before PASS");
        return;
    }
    s->named = false;
    if (popcmd_password(&s->login, c->text, c->len)) {
        want(s, WANT_CHECK, check_job, check_answer);
    } else {
        mistake(s, "no password is as long as this");
    }
}

static void do_authorization(struct popsession *s, const struct popcmd *c)
{
    switch (c->verb) {
    case POP_USER:
        popcmd_user(&s->login, c->text, c->len);
        s->named = true;
        say(s, "+OK now the password"); /* whoever it is */
        break;
    case POP_PASS: do_pass(s, c); break;
    case POP_AUTH:
        if (c->text != NULL) {
            do_plain(s, c->text, c->len);
        } else {
            s->continuing = true;
            say(s, "+ ");
        }
        break;
    default: mistake(s, "log in first: USER and PASS, or AUTH PLAIN"); break;
    }
}

/* ---- lists ----------------------------------------------------------------------------------- */

static void measure_job(struct popsession *s)
{
    s->ok = maildrop_measure(&s->drop, s->current);
}

static void measure_all_job(struct popsession *s)
{
    maildrop_measure_all(&s->drop);
}

static void stat_answer(struct popsession *s)
{
    uint64_t octets;
    size_t count = maildrop_stat(&s->drop, &octets);
    buf_fmt(&s->out, "+OK %zu %" PRIu64 "\r\n", count, octets);
}

static void begin_listing(struct popsession *s, enum pop_verb listing)
{
    uint64_t octets;
    size_t count = maildrop_stat(&s->drop, &octets);
    buf_fmt(&s->out, "+OK %zu messages\r\n", count);
    s->listing = listing;
    s->next = 0;
    popsession_more(s);
}

static void list_all_answer(struct popsession *s)
{
    begin_listing(s, POP_LIST);
}

/* A line of a list, or the whole answer about one message. */
static void put_entry(struct popsession *s, enum pop_verb listing, size_t i)
{
    buf_fmt(&s->out, "%zu ", i + 1);
    if (listing == POP_UIDL) {
        maildrop_uidl(&s->drop, i, &s->out);
    } else {
        buf_fmt(&s->out, "%" PRIu64, s->drop.messages[i].octets);
    }
    buf_str(&s->out, "\r\n");
}

static void list_one_answer(struct popsession *s)
{
    if (!s->ok) {
        refuse(s, "this message has gone: another program has removed it");
        return;
    }
    buf_str(&s->out, "+OK ");
    put_entry(s, POP_LIST, s->current);
}

static void do_list(struct popsession *s, const struct popcmd *c)
{
    if (c->verb == POP_LIST && c->numbered) {
        want(s, WANT_DISK, measure_job, list_one_answer);
    } else if (c->verb == POP_LIST) {
        want(s, WANT_DISK, measure_all_job, list_all_answer);
    } else if (c->numbered) {
        buf_str(&s->out, "+OK ");
        put_entry(s, POP_UIDL, s->current);
    } else {
        begin_listing(s, POP_UIDL);
    }
}

static void more_listing(struct popsession *s)
{
    while (s->next < s->drop.count && s->out.len < LISTING_LOT) {
        if (maildrop_has(&s->drop, s->next)) {
            put_entry(s, s->listing, s->next);
        }
        s->next++;
    }
    if (s->next == s->drop.count) {
        s->listing = POP_NOOP;
        say(s, ".");
    }
}

/* ---- messages -------------------------------------------------------------------------------- */

static void close_file(struct popsession *s)
{
    close(s->file);
    s->file = -1;
}

/* Nothing that was read wrong may look whole: after a failure the connection ends without the final dot. */
static void piece_job(struct popsession *s)
{
    unsigned char piece[PIECE];
    ssize_t n = read(s->file, piece, sizeof piece);
    s->ok = n >= 0;
    if (n > 0) {
        poptext_put(&s->text, piece, (size_t)n, &s->out);
    }
    if (n == 0 || s->text.done) {
        poptext_end(&s->text, &s->out);
        close_file(s);
    }
    s->ok = s->ok && buf_ok(&s->out);
    explicit_bzero(piece, sizeof piece);
}

static void piece_answer(struct popsession *s)
{
    if (!s->ok) {
        log_error("[pickup %s]: a message could not be read to its end", s->pickup->name);
        s->state = POP_OVER;
    } else if (s->file < 0 && !s->text.top) {
        s->fetched += !s->drop.messages[s->current].fetched;
        s->drop.messages[s->current].fetched = true;
    }
}

static void fetch_job(struct popsession *s)
{
    s->ok = s->text.top || maildrop_measure(&s->drop, s->current);
    s->file = s->ok ? maildrop_file(&s->drop, s->current) : -1;
    s->ok = s->file >= 0;
    if (!s->ok) {
        return;
    }
    if (s->text.top) {
        say(s, "+OK");
    } else {
        buf_fmt(&s->out, "+OK %" PRIu64 " octets\r\n", s->drop.messages[s->current].octets);
    }
    piece_job(s);
}

static void fetch_answer(struct popsession *s)
{
    if (s->file < 0 && !s->ok) {
        refuse(s, "this message has gone, or cannot be read");
    } else {
        piece_answer(s);
    }
}

static void do_fetch(struct popsession *s, const struct popcmd *c)
{
    if (c->verb == POP_TOP) {
        poptext_top(&s->text, c->lines);
    } else {
        poptext_whole(&s->text);
    }
    want(s, WANT_DISK, fetch_job, fetch_answer);
}

/* ---- the rest of a transaction --------------------------------------------------------------- */

static void update_job(struct popsession *s)
{
    s->ok = maildrop_update(&s->drop, s->why, sizeof s->why);
    maildrop_close(&s->drop); /* the next session need not wait until this connection is gone */
    s->has_drop = false;
}

static void update_answer(struct popsession *s)
{
    s->state = POP_OVER;
    if (s->ok) {
        say(s, "+OK goodbye");
        log_info("[pickup %s]: %zu fetched, %zu removed", s->pickup->name, s->fetched, s->removed);
    } else {
        refuse(s, "[SYS/TEMP] some deleted messages were not removed");
        log_error("[pickup %s]: cannot remove all messages: %s", s->pickup->name, s->why);
    }
}

static void do_transaction(struct popsession *s, const struct popcmd *c)
{
    if (c->numbered) {
        if (c->number == 0 || !maildrop_has(&s->drop, c->number - 1)) {
            refuse(s, "there is no such message");
            return;
        }
        s->current = (size_t)c->number - 1;
    }
    switch (c->verb) {
    case POP_STAT: want(s, WANT_DISK, measure_all_job, stat_answer); break;
    case POP_LIST:
    case POP_UIDL: do_list(s, c); break;
    case POP_RETR:
    case POP_TOP: do_fetch(s, c); break;
    case POP_DELE:
        s->drop.messages[s->current].deleted = true;
        s->removed++;
        say(s, "+OK will be removed at QUIT");
        break;
    case POP_RSET:
        maildrop_reset(&s->drop);
        s->removed = 0;
        say(s, "+OK nothing is deleted");
        break;
    case POP_NOOP: say(s, "+OK"); break;
    default: refuse(s, "you are logged in already"); break;
    }
}

static void do_quit(struct popsession *s)
{
    if (s->state == POP_TRANSACTION) {
        want(s, WANT_DISK, update_job, update_answer);
    } else {
        s->state = POP_OVER;
        say(s, "+OK goodbye");
    }
}

static void do_command(struct popsession *s)
{
    struct popcmd c;
    if (!popcmd_parse(&c, s->line, s->line_len)) {
        mistake(s, c.why);
    } else if (c.verb == POP_QUIT) {
        do_quit(s);
    } else if (c.verb == POP_CAPA) {
        buf_str(&s->out, capabilities);
    } else if (s->state == POP_AUTHORIZATION) {
        do_authorization(s, &c);
    } else {
        do_transaction(s, &c);
    }
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* A line is complete, but for what was too long of it. */
static void on_line(struct popsession *s)
{
    s->commands++;
    if (s->discarding) {
        s->discarding = s->continuing = false;
        mistake(s, "no line may be longer than 255 octets (RFC 2449)");
    } else {
        s->line_len -= s->line_len > 0 && s->line[s->line_len - 1] == '\r' ? 1 : 0;
        if (s->continuing) {
            do_continuation(s);
        } else {
            do_command(s);
        }
    }
    explicit_bzero(s->line, sizeof s->line); /* it may have been a password */
    s->line_len = 0;
    if (!buf_ok(&s->out)) { /* no memory for an answer: better none than half of one */
        s->state = POP_OVER;
    }
}

/* Has it something to send or to wait for before the next command? */
static bool busy(const struct popsession *s)
{
    return s->state == POP_OVER || s->want != WANT_INPUT || s->listing != POP_NOOP || s->file >= 0;
}

size_t popsession_take(struct popsession *s, const char *bytes, size_t len)
{
    if (busy(s) || len == 0) {
        return 0;
    }
    const char *lf = memchr(bytes, '\n', len);
    size_t run = lf == NULL ? len : (size_t)(lf - bytes);
    size_t max = (s->continuing ? POPCMD_CONTINUATION_MAX : POPCMD_LINE_MAX) - 1; /* less the LF */
    if (s->discarding || run > max - s->line_len) {
        s->discarding = true;
        s->line_len = 0;
    } else {
        memcpy(s->line + s->line_len, bytes, run);
        s->line_len += run;
    }
    if (lf == NULL) {
        return run;
    }
    on_line(s);
    return run + 1;
}

void popsession_more(struct popsession *s)
{
    if (s->listing != POP_NOOP) {
        more_listing(s);
    } else if (s->file >= 0 && s->want == WANT_INPUT) {
        want(s, WANT_DISK, piece_job, piece_answer);
    }
}

void popsession_work(struct popsession *s)
{
    s->job(s);
}

void popsession_worked(struct popsession *s)
{
    s->want = WANT_INPUT;
    s->answer(s);
    if (!buf_ok(&s->out)) {
        s->state = POP_OVER;
    }
}

void popsession_start(struct popsession *s, const struct pickup *p)
{
    *s = (struct popsession){.pickup = p, .listing = POP_NOOP, .file = -1};
    buf_init(&s->out, OUT_MAX);
    say(s, "+OK formbridge is ready");
}

void popsession_end(struct popsession *s)
{
    if (s->file >= 0) {
        close_file(s);
    }
    if (s->has_drop) {
        maildrop_close(&s->drop);
    }
    buf_free(&s->out);
    explicit_bzero(s, sizeof *s);
}
