/* POP3: what a command is, what a message looks like on the wire, how long wrong logins wait, what a session does with
 * a Maildir, and that nothing in it changes before QUIT. */

#include "bridge.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- popcmd.c -------------------------------------------------------------------------------- */

static bool parses(struct popcmd *c, const char *line)
{
    return popcmd_parse(c, line, strlen(line));
}

static void commands_are_read_whatever_their_case(void **state)
{
    (void)state;
    struct popcmd c;
    assert_true(parses(&c, "rEtR 12") && c.verb == POP_RETR && c.number == 12);
    assert_true(parses(&c, "TOP 3 0") && c.verb == POP_TOP && c.number == 3 && c.lines == 0);
    assert_true(parses(&c, "list") && c.verb == POP_LIST && !c.numbered);
    assert_true(parses(&c, "UIDL 7 ") && c.numbered && c.number == 7);
    assert_true(parses(&c, "auth plain") && c.verb == POP_AUTH && c.text == NULL);
    assert_true(parses(&c, "AUTH PLAIN =") && c.len == 1 && c.text[0] == '=');
    assert_true(parses(&c, "QUIT") && c.verb == POP_QUIT);
}

static void a_password_keeps_its_spaces(void **state)
{
    (void)state;
    struct popcmd c;
    assert_true(parses(&c, "PASS  two words  "));
    assert_int_equal(c.len, strlen(" two words  "));
    assert_memory_equal(c.text, " two words  ", c.len);
}

static void what_is_no_command_is_refused_with_a_reason(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",           " ",          "XYZZY",
        "RETR",       "RETR 0x1",   "RETR -1",
        "RETR 1 2",   "RETR 1\t",   "DELE a",
        "TOP 1",      "TOP 1 2 3",  "TOP 1 -1",
        "STAT 1",     "NOOP x",     "QUIT now",
        "LIST 1 2",   "USER",       "PASS",
        "AUTH",       "AUTH LOGIN", "APOP a b",
        "STLS",       "RETRX 1",    "RET 1",
        "LIST *",     "CAPA CAPA",  "RETR 1\x7f",
        "USER a\x01", "RETR +1",    "LIST 1e3",
        "USERorders", " RETR 1",    "RETR 99999999999999999999",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct popcmd c;
        if (parses(&c, bad[i])) {
            fail_msg("taken: %s", bad[i]);
        }
        assert_non_null(c.why);
    }
    struct popcmd c;
    assert_false(popcmd_parse(&c, "NOOP\0", 5));
}

static bool plain(struct popcmd_login *l, const char *text)
{
    return popcmd_plain(l, text, strlen(text));
}

static void plain_logins_are_decoded(void **state)
{
    (void)state;
    struct popcmd_login l = {.user = ""};
    assert_true(plain(&l, "AG9yZGVycwBzZWNyZXQ=")); /* NUL orders NUL secret */
    assert_string_equal(l.user, "orders");
    assert_string_equal(l.password, "secret");
    assert_true(plain(&l, "b3JkZXJzAG9yZGVycwBzZWNyZXQ=")); /* for oneself */
    assert_string_equal(l.user, "orders");
    assert_true(plain(&l, "AG9yZGVycwA=")); /* an empty password, to be found wrong */
    assert_string_equal(l.password, "");
}

static void plain_logins_that_are_not_exact_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "=",
        "AG9yZGVycwBzZWNyZXQ",      /* no padding */
        "AG9yZGVycwBzZWNyZXR=",     /* a bit left over */
        "AG9yZGVycwBz ZWNyZXQ",     /* a space */
        "AG9yZGVycwBzZWNyZXQ=====", /* too much padding */
        "b3JkZXJz",                 /* no NUL */
        "AG9yZGVycw==",             /* one NUL */
        "YWRhAG9yZGVycwBzZWNyZXQ=", /* ada for orders */
        "AG9yZGVycwBzZWNyZXQAYQ==", /* a NUL in the password */
        "\xc3\xa4",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct popcmd_login l = {.user = ""};
        if (plain(&l, bad[i])) {
            fail_msg("taken: %s", bad[i]);
        }
    }
}

static void a_user_that_is_too_long_is_nobody(void **state)
{
    (void)state;
    struct popcmd_login l = {.user = "orders"};
    char text[POPCMD_USER_MAX + 2];
    memset(text, 'a', sizeof text);
    popcmd_user(&l, text, POPCMD_USER_MAX + 1);
    assert_string_equal(l.user, "");
    popcmd_user(&l, text, POPCMD_USER_MAX);
    assert_int_equal(strlen(l.user), POPCMD_USER_MAX);
}

/* ---- poptext.c ------------------------------------------------------------------------------- */

static void check_text(struct poptext how, const char *in, size_t len, const char *out)
{
    for (size_t step = 1; step <= len + 1; step++) {
        struct poptext t = how;
        struct popcount count = {.octets = 0};
        struct buf b;
        buf_init(&b, 4096);
        for (size_t at = 0; at < len; at += step) {
            size_t n = len - at < step ? len - at : step;
            poptext_put(&t, in + at, n, &b);
            popcount_put(&count, in + at, n);
        }
        poptext_end(&t, &b);
        assert_string_equal(buf_text(&b), out);
        if (!how.top) { /* RFC 1939 §11: neither the doubled dots nor the final line count */
            size_t doubled = 0;
            for (size_t i = 0; i + 3 < b.len; i++) {
                doubled += b.data[i] == '.' && b.data[i + 1] == '.' && (i == 0 || b.data[i - 1] == '\n');
            }
            assert_int_equal(popcount_end(&count), b.len - 3 - doubled);
        }
        buf_free(&b);
    }
}

static void messages_go_out_with_crlf_and_doubled_dots(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", ".\r\n"},
        {"a\n", "a\r\n.\r\n"},
        {"a\r\nb\n", "a\r\nb\r\n.\r\n"},
        {"a", "a\r\n.\r\n"},
        {"a\r", "a\r\n.\r\n"},
        {".\n..\n.a", "..\r\n...\r\n..a\r\n.\r\n"},
        {"\n\n", "\r\n\r\n.\r\n"},
        {"a\rb\n", "a\rb\r\n.\r\n"},
        {"\xff\x80\n", "\xff\x80\r\n.\r\n"},
        {"\r\n.\r\n", "\r\n..\r\n.\r\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct poptext t;
        poptext_whole(&t);
        check_text(t, cases[i].in, strlen(cases[i].in), cases[i].out);
    }
}

static void top_ends_after_exactly_its_lines(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        uint64_t lines;
        const char *out;
    } cases[] = {
        {"H: 1\n\none\ntwo\n", 0, "H: 1\r\n\r\n.\r\n"},
        {"H: 1\n\none\ntwo\n", 1, "H: 1\r\n\r\none\r\n.\r\n"},
        {"H: 1\n\none\ntwo\n", 9, "H: 1\r\n\r\none\r\ntwo\r\n.\r\n"},
        {"H: 1\r\n\r\n.one\r\ntwo", 1, "H: 1\r\n\r\n..one\r\n.\r\n"},
        {"H: 1\n\n\n\nx\n", 2, "H: 1\r\n\r\n\r\n\r\n.\r\n"},
        {"H: 1\n", 5, "H: 1\r\n.\r\n"},
        {"H: 1\n\none", 1, "H: 1\r\n\r\none\r\n.\r\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct poptext t;
        poptext_top(&t, cases[i].lines);
        check_text(t, cases[i].in, strlen(cases[i].in), cases[i].out);
    }
}

/* ---- guard.c --------------------------------------------------------------------------------- */

enum { OWNER = 1, GUESSER = 2 };

static void wrong_logins_of_an_address_wait_longer_each_time(void **state)
{
    (void)state;
    struct guard g = {.failures = 0};
    int64_t now = 1000000, last = 0;
    for (int i = 0; i < 10; i++) {
        int64_t asked = now;
        int64_t wait = guard_wait(&g, GUESSER, asked, now);
        assert_true(wait >= last && wait <= 30000);
        last = wait;
        now += wait;
        assert_true(wait == 0 || guard_wait(&g, GUESSER, asked, now) == 0);
        guard_result(&g, GUESSER, false, now);
    }
    assert_int_equal(last, 30000);
}

static void one_address_is_checked_once_at_a_time(void **state)
{
    (void)state;
    struct guard g = {.failures = 0};
    assert_int_equal(guard_wait(&g, GUESSER, 1000, 1000), 0);
    assert_true(guard_wait(&g, GUESSER, 1000, 1000) > 0);
    guard_result(&g, GUESSER, true, 1100);
    assert_int_equal(guard_wait(&g, GUESSER, 1100, 1100), 0);
}

static void an_address_that_has_logged_in_does_not_wait_for_others(void **state)
{
    (void)state;
    struct guard g = {.failures = 0};
    int64_t now = 1000;
    assert_int_equal(guard_wait(&g, OWNER, now, now), 0);
    guard_result(&g, OWNER, true, now);
    for (uint64_t id = 100; id < 1100; id++) { /* more than there is memory for */
        guard_wait(&g, id, now, now);
        guard_result(&g, id, false, now);
    }
    assert_true(guard_known(&g, OWNER));
    assert_int_equal(guard_wait(&g, OWNER, now, now), 0);
    assert_int_equal(guard_wait(&g, 5000, now, now), 5000);
    assert_int_equal(guard_wait(&g, 5000, now + 7000000, now + 7000000), 0); /* it has become quiet */
}

static void guessing_raises_an_alarm_seldom_enough_to_be_read(void **state)
{
    (void)state;
    struct guard g = {.failures = 0};
    unsigned alarms = 0, notes = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        enum guard_alarm a = guard_result(&g, GUESSER, false, 1000);
        alarms += a == GUARD_ALARM;
        notes += a == GUARD_NOTE;
    }
    assert_int_equal(alarms, 3);
    assert_int_equal(notes, 10);
    assert_int_equal(guard_failures(&g, GUESSER), 1000);
}

/* ---- passwd.c -------------------------------------------------------------------------------- */

static void only_the_password_matches_its_hash(void **state)
{
    (void)state;
    static const unsigned char salt[16] = "0123456789abcde";
    char hash[PASSWD_HASH_SIZE];
    assert_true(passwd_hash("correct horse", salt, hash));
    assert_true(passwd_is_hash(hash));
    assert_true(passwd_matches(hash, "correct horse"));
    assert_false(passwd_matches(hash, "correct horsf"));
    assert_false(passwd_matches(hash, ""));
}

static void what_is_no_yescrypt_hash_matches_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "*0",
                                      "$y$",
                                      "secret",
                                      "$1$abcdefgh$G//4keteveJp0qb8z2DxG/",
                                      "$y$j9T$x$y",
                                      "$y$j9T$abcdefgh$ifEQAKNXR2nbjjfDPt9BXi6asjcNjekfSxqCvvJdXg B"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(passwd_is_hash(bad[i]));
        assert_false(passwd_matches(bad[i], "secret"));
        assert_false(passwd_matches(bad[i], bad[i]));
    }
}

/* ---- sessions -------------------------------------------------------------------------------- */

struct world {
    char dir[64], hash[PASSWD_HASH_SIZE];
    struct pickup pickup;
    struct popsession s;
    struct buf said;
};

static void put_file(const struct world *w, const char *name, const char *text)
{
    char path[512];
    text_fmt(path, sizeof path, "%s/%s", w->dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static bool has_file(const struct world *w, const char *name)
{
    char path[512];
    text_fmt(path, sizeof path, "%s/%s", w->dir, name);
    return access(path, F_OK) == 0;
}

static void rename_file(const struct world *w, const char *from, const char *to)
{
    char a[512], b[512];
    text_fmt(a, sizeof a, "%s/%s", w->dir, from);
    text_fmt(b, sizeof b, "%s/%s", w->dir, to);
    assert_int_equal(rename(a, b), 0);
}

static int set_up(void **state)
{
    static const unsigned char salt[16] = "fedcba987654321";
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    text_copy(w->dir, sizeof w->dir, "/tmp/formbridge-pop3-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    static const char *const parts[] = {"new", "cur", "tmp"};
    for (size_t i = 0; i < COUNT(parts); i++) {
        char path[128];
        text_fmt(path, sizeof path, "%s/%s", w->dir, parts[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    assert_true(passwd_hash("secret pass", salt, w->hash));
    w->pickup = (struct pickup){.name = strdup("orders"), .maildir = w->dir, .password = w->hash};
    put_file(w, "new/1001.b.host", "Subject: b\n\n.dot\n");
    put_file(w, "new/1000.a.host,S=15", "Subject: a\n\nA\n\n");
    put_file(w, "cur/1002.c.host:2,S", "Subject: c\n\nlast");
    put_file(w, "new/.hidden", "no message");
    popsession_start(&w->s, &w->pickup);
    buf_init(&w->said, 1 << 20);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    char command[128];
    popsession_end(&w->s);
    buf_free(&w->said);
    text_fmt(command, sizeof command, "rm -rf %s", w->dir);
    int rc = system(command);
    free(w->pickup.name);
    free(w);
    return rc;
}

/* Does what the loop does, but at once. */
static void drive(struct popsession *s, struct buf *said)
{
    for (;;) {
        buf_put(said, s->out.data, s->out.len);
        buf_clear(&s->out);
        if (s->want != WANT_INPUT) {
            popsession_work(s);
            popsession_worked(s);
        }
        popsession_more(s);
        if (s->out.len == 0 && s->want == WANT_INPUT) {
            return;
        }
    }
}

/* What is answered to some lines, in pieces of step bytes. */
static const char *exchange(struct world *w, struct popsession *s, const char *in, size_t len, size_t step)
{
    buf_clear(&w->said);
    drive(s, &w->said);
    buf_clear(&w->said);
    for (size_t at = 0; at < len && s->state != POP_OVER;) {
        size_t piece = len - at < step ? len - at : step;
        size_t n = popsession_take(s, in + at, piece);
        assert_true(n > 0 && n <= piece);
        at += n;
        drive(s, &w->said);
    }
    return buf_text(&w->said);
}

static const char *ask(struct world *w, const char *lines)
{
    return exchange(w, &w->s, lines, strlen(lines), strlen(lines));
}

#define LOGIN     "USER orders\r\nPASS secret pass\r\n"
#define LOGGED_IN "+OK now the password\r\n+OK 3 messages\r\n"

static void a_mailbox_is_listed_oldest_first_with_exact_sizes(void **state)
{
    struct world *w = *state;
    assert_string_equal(ask(w, LOGIN), LOGGED_IN);
    assert_string_equal(ask(w, "STAT\r\n"), "+OK 3 59\r\n");
    assert_string_equal(ask(w, "LIST\r\n"), "+OK 3 messages\r\n1 19\r\n2 20\r\n3 20\r\n.\r\n");
    assert_string_equal(ask(w, "LIST 2\r\n"), "+OK 2 20\r\n");
    assert_string_equal(ask(w, "UIDL\r\n"),
                        "+OK 3 messages\r\n1 1000.a.host,S=15\r\n2 1001.b.host\r\n3 1002.c.host\r\n.\r\n");
    assert_string_equal(ask(w, "UIDL 3\r\n"), "+OK 3 1002.c.host\r\n");
    assert_string_equal(ask(w, "RETR 2\r\n"), "+OK 20 octets\r\nSubject: b\r\n\r\n..dot\r\n.\r\n");
    assert_string_equal(ask(w, "TOP 1 1\r\n"), "+OK\r\nSubject: a\r\n\r\nA\r\n.\r\n");
}

static void commands_may_come_in_any_pieces(void **state)
{
    struct world *w = *state;
    static const char lines[] = LOGIN "STAT\r\nRETR 1\r\nNOOP\r\nRSET\r\n";
    char whole[1024];
    assert_true(text_copy(whole, sizeof whole, ask(w, lines)));
    for (size_t step = 1; step < 9; step++) {
        popsession_end(&w->s);
        popsession_start(&w->s, &w->pickup);
        assert_string_equal(exchange(w, &w->s, lines, strlen(lines), step), whole);
    }
}

static void only_a_known_user_with_the_password_gets_in(void **state)
{
    struct world *w = *state;
    static const char no[] = "+OK now the password\r\n-ERR [AUTH] wrong user or password\r\n";
    assert_string_equal(ask(w, "USER orders\r\nPASS wrong\r\n"), no);
    assert_string_equal(ask(w, "USER nobody\r\nPASS secret pass\r\n"), no);
    assert_string_equal(ask(w, "PASS secret pass\r\n"), "-ERR USER comes before PASS\r\n");
    assert_string_equal(ask(w, "AUTH PLAIN\r\nAG9yZGVycwBzZWNyZXQgcGFzcw==\r\n"), "+ \r\n+OK 3 messages\r\n");
}

static void a_third_wrong_password_ends_the_connection(void **state)
{
    struct world *w = *state;
    ask(w, "USER orders\r\nPASS a\r\nUSER orders\r\nPASS b\r\nUSER orders\r\nPASS c\r\n");
    assert_int_equal(w->s.state, POP_OVER);
    assert_int_equal(popsession_take(&w->s, "NOOP\r\n", 6), 0);
}

static void a_cancelled_login_is_none(void **state)
{
    struct world *w = *state;
    assert_string_equal(ask(w, "AUTH PLAIN\r\n*\r\n"), "+ \r\n-ERR cancelled\r\n");
    assert_string_equal(ask(w, LOGIN), LOGGED_IN);
}

static void a_second_session_finds_the_mailbox_in_use(void **state)
{
    struct world *w = *state;
    struct popsession second;
    assert_string_equal(ask(w, LOGIN), LOGGED_IN);
    popsession_start(&second, &w->pickup);
    assert_non_null(strstr(exchange(w, &second, LOGIN, strlen(LOGIN), 99), "-ERR [IN-USE]"));
    popsession_end(&w->s); /* dies, and lets go */
    popsession_start(&w->s, &w->pickup);
    assert_string_equal(exchange(w, &second, LOGIN, strlen(LOGIN), 99), LOGGED_IN);
    popsession_end(&second);
}

static void nothing_changes_before_quit(void **state)
{
    struct world *w = *state;
    ask(w, LOGIN "RETR 1\r\nRETR 2\r\nDELE 2\r\nDELE 3\r\n");
    assert_string_equal(ask(w, "STAT\r\n"), "+OK 1 19\r\n");
    popsession_end(&w->s);
    assert_true(has_file(w, "new/1000.a.host,S=15") && has_file(w, "new/1001.b.host") &&
                has_file(w, "cur/1002.c.host:2,S"));
    popsession_start(&w->s, &w->pickup);
    assert_string_equal(ask(w, LOGIN), LOGGED_IN);
}

static void quit_removes_what_was_deleted_and_moves_what_was_fetched(void **state)
{
    struct world *w = *state;
    ask(w, LOGIN "RETR 1\r\nRETR 2\r\nDELE 2\r\nDELE 3\r\n");
    assert_string_equal(ask(w, "QUIT\r\n"), "+OK goodbye\r\n");
    assert_int_equal(w->s.state, POP_OVER);
    assert_true(has_file(w, "cur/1000.a.host,S=15:2,S"));
    assert_false(has_file(w, "new/1000.a.host,S=15"));
    assert_false(has_file(w, "new/1001.b.host"));
    assert_false(has_file(w, "cur/1002.c.host:2,S"));
    popsession_end(&w->s);
    popsession_start(&w->s, &w->pickup); /* and its unique id is the same */
    assert_non_null(strstr(ask(w, LOGIN "UIDL\r\n"), "\r\n1 1000.a.host,S=15\r\n.\r\n"));
}

static void reset_takes_deletions_back(void **state)
{
    struct world *w = *state;
    ask(w, LOGIN "DELE 1\r\nDELE 2\r\n");
    assert_string_equal(ask(w, "RETR 1\r\n"), "-ERR there is no such message\r\n");
    assert_string_equal(ask(w, "DELE 1\r\n"), "-ERR there is no such message\r\n");
    assert_string_equal(ask(w, "RSET\r\nSTAT\r\nQUIT\r\n"),
                        "+OK nothing is deleted\r\n+OK 3 59\r\n+OK goodbye\r\n");
    assert_true(has_file(w, "new/1000.a.host,S=15") && has_file(w, "new/1001.b.host"));
}

static void messages_that_another_program_renames_are_found_again(void **state)
{
    struct world *w = *state;
    ask(w, LOGIN);
    rename_file(w, "new/1001.b.host", "cur/1001.b.host:2,RS");
    rename_file(w, "cur/1002.c.host:2,S", "cur/1002.c.host:2,FS");
    assert_string_equal(ask(w, "RETR 2\r\n"), "+OK 20 octets\r\nSubject: b\r\n\r\n..dot\r\n.\r\n");
    rename_file(w, "cur/1001.b.host:2,RS", "cur/1001.b.host:2,S");
    assert_string_equal(ask(w, "DELE 2\r\nDELE 3\r\nQUIT\r\n"),
                        "+OK will be removed at QUIT\r\n+OK will be removed at QUIT\r\n+OK goodbye\r\n");
    assert_false(has_file(w, "cur/1001.b.host:2,S") || has_file(w, "cur/1002.c.host:2,FS"));
    assert_true(has_file(w, "new/1000.a.host,S=15"));
}

static void a_message_that_vanished_is_said_to_have_gone(void **state)
{
    struct world *w = *state;
    char path[512];
    ask(w, LOGIN);
    text_fmt(path, sizeof path, "%s/new/1001.b.host", w->dir);
    assert_int_equal(unlink(path), 0);
    assert_string_equal(ask(w, "RETR 2\r\n"), "-ERR this message has gone, or cannot be read\r\n");
    assert_string_equal(ask(w, "STAT\r\n"), "+OK 2 39\r\n");
    assert_string_equal(ask(w, "QUIT\r\n"), "+OK goodbye\r\n");
}

static void a_removal_that_fails_is_admitted(void **state)
{
    struct world *w = *state;
    ask(w, LOGIN "DELE 1\r\nDELE 2\r\n");
    rename_file(w, "new/1001.b.host", "saved");
    char path[512];
    text_fmt(path, sizeof path, "%s/new/1001.b.host", w->dir);
    assert_int_equal(mkdir(path, 0700), 0); /* cannot be unlinked */
    assert_string_equal(ask(w, "QUIT\r\n"), "-ERR [SYS/TEMP] some deleted messages were not removed\r\n");
    assert_false(has_file(w, "new/1000.a.host,S=15"));
    assert_true(has_file(w, "cur/1002.c.host:2,S"));
}

static void a_move_never_replaces_another_message(void **state)
{
    struct world *w = *state;
    ask(w, LOGIN "RETR 1\r\n");
    put_file(w, "cur/1000.a.host,S=15:2,S", "another\n");
    assert_string_equal(ask(w, "QUIT\r\n"), "+OK goodbye\r\n");
    assert_true(has_file(w, "new/1000.a.host,S=15") && has_file(w, "cur/1000.a.host,S=15:2,S"));
}

static void one_message_under_two_names_is_listed_once(void **state)
{
    struct world *w = *state;
    put_file(w, "cur/1000.a.host,S=15:2,S", "Subject: a\n\nA\n\n");
    assert_string_equal(ask(w, LOGIN), LOGGED_IN);
}

static void the_size_that_a_name_tells_needs_no_reading(void **state)
{
    struct world *w = *state;
    put_file(w, "new/1003.d.host,S=7,W=9", "ignored");
    put_file(w, "new/1004.e.host,W=x", "a\n");
    ask(w, LOGIN);
    assert_string_equal(ask(w, "LIST 4\r\n"), "+OK 4 9\r\n");
    assert_string_equal(ask(w, "LIST 5\r\n"), "+OK 5 3\r\n");
}

static void unique_ids_are_what_rfc_1939_allows(void **state)
{
    struct world *w = *state;
    put_file(w, "new/1003.a name with spaces", "x\n");
    put_file(w, "new/1004.a-name-of-more-than-seventy-characters-which-is-more-than-a-unique-id-may-have",
             "x\n");
    ask(w, LOGIN);
    for (int i = 4; i <= 5; i++) {
        char line[32], id[80];
        text_fmt(line, sizeof line, "UIDL %d\r\n", i);
        assert_int_equal(sscanf(ask(w, line), "+OK %*d %79s", id), 1);
        assert_int_equal(strlen(id), 64);
        assert_int_equal(strspn(id, "0123456789abcdef"), 64);
    }
}

static void every_state_refuses_what_does_not_belong_there(void **state)
{
    struct world *w = *state;
    static const char *const not_yet[] = {"STAT",    "LIST",   "LIST 1", "UIDL", "RETR 1",
                                          "TOP 1 0", "DELE 1", "NOOP",   "RSET"};
    for (size_t i = 0; i < COUNT(not_yet); i++) {
        char line[32];
        text_fmt(line, sizeof line, "%s\r\n", not_yet[i]);
        assert_int_equal(strncmp(ask(w, line), "-ERR ", 5), 0);
    }
    assert_non_null(strstr(ask(w, "CAPA\r\n"), "\r\nSASL PLAIN\r\n"));
    ask(w, LOGIN);
    static const char *const no_more[] = {"USER orders", "PASS x",  "AUTH PLAIN", "RETR 0",
                                          "RETR 4",      "DELE 99", "TOP 4 1",    "LIST 4",
                                          "UIDL 0",      "STLS",    "APOP x y"};
    for (size_t i = 0; i < COUNT(no_more); i++) {
        char line[32];
        text_fmt(line, sizeof line, "%s\r\n", no_more[i]);
        assert_int_equal(strncmp(ask(w, line), "-ERR ", 5), 0);
    }
    assert_string_equal(ask(w, "STAT\r\n"), "+OK 3 59\r\n");
}

static void a_line_that_is_too_long_is_no_command(void **state)
{
    struct world *w = *state;
    char line[3000];
    memset(line, ' ', sizeof line);
    memcpy(line, "NOOP", 4);
    ask(w, LOGIN);
    memcpy(line + POPCMD_LINE_MAX - 2, "\r\n", 2);
    assert_string_equal(exchange(w, &w->s, line, POPCMD_LINE_MAX, 7), "+OK\r\n");
    memcpy(line + POPCMD_LINE_MAX - 2, "  \n", 3);
    for (size_t step = 1; step < 300; step += 50) {
        assert_int_equal(strncmp(exchange(w, &w->s, line, POPCMD_LINE_MAX + 1, step), "-ERR no line", 12), 0);
    }
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    assert_int_equal(strncmp(exchange(w, &w->s, line, sizeof line, 999), "-ERR no line", 12), 0);
    assert_string_equal(ask(w, "NOOP\r\n"), "+OK\r\n");
}

static void endless_mistakes_end_the_connection_and_remove_nothing(void **state)
{
    struct world *w = *state;
    ask(w, LOGIN "DELE 1\r\n");
    for (int i = 0; i < 100 && w->s.state != POP_OVER; i++) {
        ask(w, "XYZZY\r\n");
    }
    assert_int_equal(w->s.state, POP_OVER);
    assert_true(has_file(w, "new/1000.a.host,S=15"));
}

static void a_missing_maildir_is_said_to_be_trouble_of_the_server(void **state)
{
    struct world *w = *state;
    w->pickup.maildir = w->hash; /* no such path */
    assert_non_null(strstr(ask(w, LOGIN), "-ERR [SYS/PERM]"));
}

#define SESSION_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_read_whatever_their_case),
        cmocka_unit_test(a_password_keeps_its_spaces),
        cmocka_unit_test(what_is_no_command_is_refused_with_a_reason),
        cmocka_unit_test(plain_logins_are_decoded),
        cmocka_unit_test(plain_logins_that_are_not_exact_are_refused),
        cmocka_unit_test(a_user_that_is_too_long_is_nobody),
        cmocka_unit_test(messages_go_out_with_crlf_and_doubled_dots),
        cmocka_unit_test(top_ends_after_exactly_its_lines),
        cmocka_unit_test(wrong_logins_of_an_address_wait_longer_each_time),
        cmocka_unit_test(one_address_is_checked_once_at_a_time),
        cmocka_unit_test(an_address_that_has_logged_in_does_not_wait_for_others),
        cmocka_unit_test(guessing_raises_an_alarm_seldom_enough_to_be_read),
        cmocka_unit_test(only_the_password_matches_its_hash),
        cmocka_unit_test(what_is_no_yescrypt_hash_matches_nothing),
        SESSION_TEST(a_mailbox_is_listed_oldest_first_with_exact_sizes),
        SESSION_TEST(commands_may_come_in_any_pieces),
        SESSION_TEST(only_a_known_user_with_the_password_gets_in),
        SESSION_TEST(a_third_wrong_password_ends_the_connection),
        SESSION_TEST(a_cancelled_login_is_none),
        SESSION_TEST(a_second_session_finds_the_mailbox_in_use),
        SESSION_TEST(nothing_changes_before_quit),
        SESSION_TEST(quit_removes_what_was_deleted_and_moves_what_was_fetched),
        SESSION_TEST(reset_takes_deletions_back),
        SESSION_TEST(messages_that_another_program_renames_are_found_again),
        SESSION_TEST(a_message_that_vanished_is_said_to_have_gone),
        SESSION_TEST(a_removal_that_fails_is_admitted),
        SESSION_TEST(a_move_never_replaces_another_message),
        SESSION_TEST(one_message_under_two_names_is_listed_once),
        SESSION_TEST(the_size_that_a_name_tells_needs_no_reading),
        SESSION_TEST(unique_ids_are_what_rfc_1939_allows),
        SESSION_TEST(every_state_refuses_what_does_not_belong_there),
        SESSION_TEST(a_line_that_is_too_long_is_no_command),
        SESSION_TEST(endless_mistakes_end_the_connection_and_remove_nothing),
        SESSION_TEST(a_missing_maildir_is_said_to_be_trouble_of_the_server),
    };
    return cmocka_run_group_tests_name("pop3", tests, NULL, NULL);
}
