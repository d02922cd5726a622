/* once.c, oncelog.c: a repeat gets the receipt of the first; what is not a repeat never does. */

#include "bridge.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { WINDOW = 600, ME = 100, OTHER = 200, RECORD = 64 };
static const int64_t now = 1795305136;
static const char first_ref[] = "7K2M-Q9XD-4TRW", second_ref[] = "AAAA-BBBB-CCCC";

/* ---- claims ---------------------------------------------------------------------------------- */

static int setup(void **state)
{
    *state = once_new();
    return *state == NULL || !stats_open();
}

static int teardown(void **state)
{
    once_free(*state);
    return 0;
}

static struct once_claim claim_of(unsigned number, int64_t time, const char *ref)
{
    struct once_claim c = {.time = time};
    memcpy(c.key, &number, sizeof number);
    text_copy(c.ref, sizeof c.ref, ref);
    return c;
}

static void test_an_equal_one_waits_and_then_gets_the_receipt(void **state)
{
    struct once *o = *state;
    struct once_claim a = claim_of(1, now, first_ref), b = claim_of(1, now + 3, second_ref);
    assert_int_equal(once_claim(o, &a, WINDOW, ME), ONCE_FIRST);
    assert_true(a.held);
    assert_false(a.again);
    assert_int_equal(once_claim(o, &b, WINDOW, OTHER), ONCE_WAIT);
    assert_string_equal(b.ref, second_ref);
    once_settle(o, &a, true);
    assert_int_equal(once_claim(o, &b, WINDOW, OTHER), ONCE_REPEAT);
    assert_string_equal(b.ref, first_ref);
    assert_int_equal(b.time, now);
    assert_false(b.held);
}

static void test_the_next_takes_the_place_of_one_that_failed_under_its_receipt(void **state)
{
    struct once *o = *state;
    struct once_claim a = claim_of(1, now, first_ref), b = claim_of(1, now + 3, second_ref), c = b;
    once_claim(o, &a, WINDOW, ME);
    once_settle(o, &a, false);
    assert_int_equal(once_claim(o, &b, WINDOW, OTHER), ONCE_FIRST);
    assert_true(b.again);
    assert_string_equal(b.ref, first_ref);
    assert_int_equal(b.time, now);
    assert_int_equal(once_claim(o, &c, WINDOW, ME), ONCE_WAIT);
}

static void test_what_a_dead_front_claimed_is_free_and_what_others_claimed_is_not(void **state)
{
    struct once *o = *state;
    struct once_claim a = claim_of(1, now, first_ref), b = claim_of(2, now, first_ref),
                      c = claim_of(3, now, first_ref);
    once_claim(o, &a, WINDOW, ME);
    once_claim(o, &b, WINDOW, OTHER);
    once_claim(o, &c, WINDOW, ME);
    once_settle(o, &c, true);
    once_forget(o, ME);
    struct once_claim a2 = claim_of(1, now, second_ref), b2 = claim_of(2, now, second_ref),
                      c2 = claim_of(3, now, second_ref);
    assert_int_equal(once_claim(o, &a2, WINDOW, OTHER), ONCE_FIRST);
    assert_true(a2.again);
    assert_int_equal(once_claim(o, &b2, WINDOW, ME), ONCE_WAIT);
    assert_int_equal(once_claim(o, &c2, WINDOW, OTHER), ONCE_REPEAT);
}

static void test_the_same_after_the_window_is_another(void **state)
{
    struct once *o = *state;
    struct once_claim a = claim_of(1, now, first_ref), b = claim_of(1, now + WINDOW - 1, second_ref),
                      c = claim_of(1, now + WINDOW, second_ref);
    once_claim(o, &a, WINDOW, ME);
    once_settle(o, &a, true);
    assert_int_equal(once_claim(o, &b, WINDOW, ME), ONCE_REPEAT);
    assert_int_equal(once_claim(o, &c, WINDOW, ME), ONCE_FIRST);
    assert_false(c.again);
    assert_string_equal(c.ref, second_ref);
}

static void test_what_is_too_old_to_be_repeated_is_wiped(void **state)
{
    struct once *o = *state;
    struct once_claim old = claim_of(1, now - 1, first_ref), failed = claim_of(2, now - 1, first_ref),
                      held = claim_of(3, now - 1, first_ref), new = claim_of(4, now, first_ref);
    once_claim(o, &old, WINDOW, ME);
    once_claim(o, &failed, WINDOW, ME);
    once_claim(o, &held, WINDOW, ME);
    once_claim(o, &new, WINDOW, ME);
    once_settle(o, &old, true);
    once_settle(o, &failed, false);
    once_settle(o, &new, true);
    once_sweep(o, now);
    struct once_claim old2 = claim_of(1, now, second_ref), failed2 = claim_of(2, now, second_ref),
                      held2 = claim_of(3, now, second_ref), new2 = claim_of(4, now, second_ref);
    assert_int_equal(once_claim(o, &old2, WINDOW, ME), ONCE_FIRST);
    assert_int_equal(once_claim(o, &failed2, WINDOW, ME), ONCE_FIRST);
    assert_false(failed2.again);
    assert_int_equal(once_claim(o, &held2, WINDOW, ME), ONCE_WAIT);
    assert_int_equal(once_claim(o, &new2, WINDOW, ME), ONCE_REPEAT);
}

static void test_a_clock_that_is_set_back_does_not_keep_it_for_ever(void **state)
{
    struct once *o = *state;
    struct once_claim a = claim_of(1, now, first_ref), b = claim_of(1, now - 60, second_ref),
                      c = claim_of(1, now - WINDOW, second_ref);
    once_claim(o, &a, WINDOW, ME);
    once_settle(o, &a, true);
    assert_int_equal(once_claim(o, &b, WINDOW, ME), ONCE_REPEAT);
    assert_int_equal(once_claim(o, &c, WINDOW, ME), ONCE_FIRST);
}

static void test_a_key_with_other_content_is_refused_unless_nothing_was_stored(void **state)
{
    struct once *o = *state;
    struct once_claim a = claim_of(1, now, first_ref), b = claim_of(1, now, second_ref);
    b.check[5] = 1;
    once_claim(o, &a, WINDOW, ME);
    assert_int_equal(once_claim(o, &b, WINDOW, ME), ONCE_OTHER);
    once_settle(o, &a, true);
    assert_int_equal(once_claim(o, &b, WINDOW, ME), ONCE_OTHER);
    b.time = now + WINDOW;
    assert_int_equal(once_claim(o, &b, WINDOW, ME), ONCE_FIRST);
    once_settle(o, &b, false);
    a.time = now + WINDOW;
    assert_int_equal(once_claim(o, &a, WINDOW, ME), ONCE_FIRST);
    assert_false(a.again);
}

static void test_when_there_are_too_many_the_oldest_goes_and_never_a_claim(void **state)
{
    struct once *o = *state;
    struct once_claim held = claim_of(0, now - 100, first_ref);
    once_claim(o, &held, WINDOW, ME);
    for (unsigned i = 1; i <= 16; i++) { /* the same set: it is chosen by the first two bytes */
        struct once_claim c = claim_of(i << 16, now + i, first_ref);
        assert_int_equal(once_claim(o, &c, WINDOW, ME), ONCE_FIRST);
        once_settle(o, &c, true);
    }
    assert_int_equal(stats_get(STAT_ONCE_EVICTED), 1);
    struct once_claim oldest = claim_of(1u << 16, now, second_ref),
                      next = claim_of(2u << 16, now, second_ref), again = claim_of(0, now, second_ref);
    assert_int_equal(once_claim(o, &next, WINDOW, ME), ONCE_REPEAT);
    assert_int_equal(once_claim(o, &again, WINDOW, OTHER), ONCE_WAIT);
    assert_int_equal(once_claim(o, &oldest, WINDOW, ME), ONCE_FIRST);
}

static void test_more_claims_than_there_is_room_for_are_all_stored(void **state)
{
    for (unsigned i = 0; i < 40; i++) {
        struct once_claim c = claim_of(i << 16, now, first_ref);
        assert_int_equal(once_claim(*state, &c, WINDOW, ME), ONCE_FIRST);
        assert_true(c.held == (i < 16));
    }
}

static void test_a_receipt_that_is_none_is_not_taken_over(void **state)
{
    struct once_claim a = claim_of(1, now, "../../../../x."), b = claim_of(1, now, second_ref);
    once_restore(*state, &a, true);
    assert_int_equal(once_claim(*state, &b, WINDOW, ME), ONCE_FIRST);
    assert_string_equal(b.ref, second_ref);
}

static void test_of_processes_that_claim_the_same_at_once_one_is_first(void **state)
{
    struct once *o = *state;
    int code, firsts = 0;
    for (int p = 0; p < 4; p++) {
        if (fork() == 0) {
            int n = 0;
            for (unsigned i = 0; i < 100; i++) {
                struct once_claim c = claim_of(i, now, first_ref);
                n += once_claim(o, &c, WINDOW, ME + p) == ONCE_FIRST;
            }
            _exit(n);
        }
    }
    while (wait(&code) > 0) {
        firsts += WEXITSTATUS(code);
    }
    assert_int_equal(firsts, 100);
}

static void test_a_process_that_dies_inside_blocks_nobody(void **state)
{
    struct once *o = *state;
    for (int round = 0; round < 20; round++) {
        pid_t pid = fork();
        if (pid == 0) {
            for (unsigned i = 0;; i++) {
                struct once_claim c = claim_of(i % 64, now, first_ref);
                once_claim(o, &c, WINDOW, getpid());
                once_settle(o, &c, false);
            }
        }
        usleep(3000);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        once_forget(o, pid);
        time_t begun = time(NULL);
        for (unsigned i = 0; i < 64; i++) {
            struct once_claim c = claim_of(i, now, second_ref);
            assert_int_equal(once_claim(o, &c, WINDOW, ME), ONCE_FIRST);
            assert_true(c.held);
            once_settle(o, &c, false);
        }
        assert_true(time(NULL) - begun <= 2);
    }
}

/* ---- who is the same ------------------------------------------------------------------------- */

static struct form *form_of(const char *body)
{
    struct buf none;
    buf_init(&none, 1);
    const struct form_limits limits = {.body = 1000, .fields = 10, .files = 1};
    struct form *f = form_new(FORM_URLENCODED, NULL, &none, &limits);
    assert_true(form_feed(f, body, strlen(body)) && form_end(f));
    return f;
}

static struct once_claim identity(struct once *o, const char *form, const char *body, const char *key,
                                  uint64_t visitor, const char *agent)
{
    struct form *f = form_of(body);
    struct once_claim c = {.held = false};
    struct once_sender from = {.visitor = visitor, .agent = agent};
    if (key != NULL) {
        from.key = (struct span){key, strlen(key)};
    }
    once_hide(f);
    once_identify(o, &c, form, f, &from);
    form_free(f);
    return c;
}

static bool same(const struct once_claim *a, const struct once_claim *b)
{
    return memcmp(a->key, b->key, ONCE_KEY) == 0 && memcmp(a->check, b->check, ONCE_KEY) == 0;
}

static void test_the_same_content_of_the_same_visitor_is_the_same(void **state)
{
    struct once_claim a = identity(*state, "order", "name=Ada&item=tea", NULL, 7, "Firefox");
    struct once_claim b = identity(*state, "order", "name=Ada&item=tea", NULL, 7, "Firefox");
    assert_true(same(&a, &b));
}

static void test_anything_else_is_another(void **state)
{
    struct once_claim a = identity(*state, "order", "name=Ada&item=tea", NULL, 7, "Firefox");
    const struct once_claim others[] = {
        identity(*state, "book", "name=Ada&item=tea", NULL, 7, "Firefox"),
        identity(*state, "order", "name=Ada&item=tea", NULL, 8, "Firefox"),
        identity(*state, "order", "name=Ada&item=tea", NULL, 7, "Chrome"),
        identity(*state, "order", "name=Ada&item=tea", NULL, 7, NULL),
        identity(*state, "order", "item=tea&name=Ada", NULL, 7, "Firefox"),
        identity(*state, "order", "name=Adai&tem=tea", NULL, 7, "Firefox"),
        identity(*state, "order", "name=Ada&item=tea&item=", NULL, 7, "Firefox"),
        identity(*state, "order", "name=Ada&item=tea%00", NULL, 7, "Firefox"),
        identity(*state, "order", "name=Ada", NULL, 7, "Firefox"),
        identity(*state, "order", "", NULL, 7, "Firefox"),
    };
    for (size_t i = 0; i < COUNT(others); i++) {
        assert_false(same(&a, &others[i]));
        for (size_t k = i + 1; k < COUNT(others); k++) {
            assert_false(same(&others[i], &others[k]));
        }
    }
}

static void test_a_nonce_stands_for_the_visitor_and_not_for_the_content(void **state)
{
    struct once_claim a = identity(*state, "order", "name=Ada&_nonce=x1", NULL, 7, "Firefox");
    struct once_claim moved = identity(*state, "order", "name=Ada&_nonce=x1", NULL, 8, "Chrome");
    struct once_claim other = identity(*state, "order", "name=Ada&_nonce=x2", NULL, 7, "Firefox");
    struct once_claim mended = identity(*state, "order", "name=Ada+L&_nonce=x1", NULL, 7, "Firefox");
    struct once_claim empty = identity(*state, "order", "name=Ada&_nonce=", NULL, 7, "Firefox");
    struct once_claim none = identity(*state, "order", "name=Ada", NULL, 7, "Firefox");
    assert_true(same(&a, &moved));
    assert_false(same(&a, &other));
    assert_false(same(&a, &mended));
    assert_true(same(&empty, &none));
}

static void test_a_key_is_the_same_wherever_it_comes_from_and_knows_its_content(void **state)
{
    struct once_claim a = identity(*state, "order", "name=Ada", "k-1", 7, "Firefox");
    struct once_claim moved = identity(*state, "order", "name=Ada", "k-1", 8, NULL);
    struct once_claim changed = identity(*state, "order", "name=Bob", "k-1", 7, "Firefox");
    struct once_claim form = identity(*state, "book", "name=Ada", "k-1", 7, "Firefox");
    assert_true(same(&a, &moved));
    assert_memory_equal(a.key, changed.key, ONCE_KEY);
    assert_memory_not_equal(a.check, changed.check, ONCE_KEY);
    assert_memory_not_equal(a.key, form.key, ONCE_KEY);
}

static void test_what_a_page_fetches_anew_does_not_make_a_difference(void **state)
{
    struct once_claim a = identity(*state, "order", "name=Ada&_token=1&_proof=1", NULL, 7, NULL);
    struct once_claim b = identity(*state, "order", "name=Ada&_token=2&_proof=2", NULL, 7, NULL);
    assert_true(same(&a, &b));
}

static void test_a_mended_field_that_only_steers_the_mail_is_another(void **state)
{
    struct form *f = form_of("name=Ada&_replyto=ada%40exampel.com"),
                *g = form_of("name=Ada&_replyto=ada%40example.com");
    struct once_claim a = {.held = false}, b = a;
    const struct once_sender from = {.visitor = 7};
    form_field(f, 1)->hidden = form_field(g, 1)->hidden = true;
    once_identify(*state, &a, "order", f, &from);
    once_identify(*state, &b, "order", g, &from);
    assert_false(same(&a, &b));
    form_free(f);
    form_free(g);
}

static void test_the_nonce_stays_out_of_the_mail(void **state)
{
    (void)state;
    struct form *f = form_of("name=Ada&_nonce=1&nonce=2");
    once_hide(f);
    assert_false(form_field(f, 0)->hidden);
    assert_true(form_field(f, 1)->hidden);
    assert_false(form_field(f, 2)->hidden);
    form_free(f);
}

static void test_fingerprints_of_another_installation_say_nothing(void **state)
{
    struct once *other = once_new();
    struct once_claim a = identity(*state, "order", "name=Ada", NULL, 7, NULL);
    struct once_claim b = identity(other, "order", "name=Ada", NULL, 7, NULL);
    assert_false(same(&a, &b));
    once_free(other);
}

static void test_an_idempotency_key_is_a_string_with_or_without_quotes(void **state)
{
    (void)state;
    struct span key;
    assert_true(once_header("\"8e03978e-40d5\"", &key));
    assert_int_equal(key.len, 13);
    assert_memory_equal(key.at, "8e03978e-40d5", 13);
    assert_true(once_header("8e03978e-40d5", &key));
    assert_int_equal(key.len, 13);
    assert_true(once_header("\"a b;c\"", &key));
    static const char *const bad[] = {"",        "\"\"",     "\"",       "a b",   "a,b", "a;b=c",
                                      "\"a\";b", "\"a\"b\"", "\xc3\xa4", "a\x7f", "a\tb"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(once_header(bad[i], &key));
    }
    char longest[ONCE_HEADER_MAX + 2] = "";
    memset(longest, 'k', ONCE_HEADER_MAX);
    assert_true(once_header(longest, &key));
    longest[ONCE_HEADER_MAX] = 'k';
    longest[ONCE_HEADER_MAX + 1] = '\0';
    assert_false(once_header(longest, &key));
}

/* ---- the journal ----------------------------------------------------------------------------- */

struct place {
    char dir[64], journal[96], key[96];
    int root;
    struct once *once;
    struct oncelog log;
};

/* A run begins: with what the last has left. */
static void begin_run(struct place *p)
{
    char why[REASON_SIZE];
    p->once = once_new();
    assert_true(oncelog_load(p->once, p->root, now, why, sizeof why));
    assert_true(oncelog_open(&p->log, p->once, p->dir, why, sizeof why));
}

static void end_run(struct place *p)
{
    oncelog_close(&p->log);
    once_free(p->once);
}

static int setup_place(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    text_copy(p->dir, sizeof p->dir, "/tmp/formbridge-once-XXXXXX");
    if (mkdtemp(p->dir) == NULL || !stats_open()) {
        return -1;
    }
    text_fmt(p->journal, sizeof p->journal, "%s/once/journal", p->dir);
    text_fmt(p->key, sizeof p->key, "%s/once/key", p->dir);
    p->root = open(p->dir, O_RDONLY | O_DIRECTORY);
    begin_run(p);
    *state = p;
    return 0;
}

static int teardown_place(void **state)
{
    struct place *p = *state;
    char command[160];
    end_run(p);
    close(p->root);
    text_fmt(command, sizeof command, "rm -rf %s", p->dir);
    int rc = system(command);
    free(p);
    return rc;
}

static void restart(struct place *p)
{
    end_run(p);
    begin_run(p);
}

/* count submissions in one lot, with numbers from first on. */
static void store(struct place *p, unsigned first, size_t count, bool stored)
{
    struct once_claim c[ONCELOG_LOT_MAX], *lot[ONCELOG_LOT_MAX];
    bool done[ONCELOG_LOT_MAX];
    for (size_t i = 0; i < count; i++) {
        c[i] = claim_of(first + (unsigned)i, now, first_ref);
        assert_int_equal(once_claim(p->once, &c[i], WINDOW, ME), ONCE_FIRST);
        lot[i] = &c[i];
        done[i] = stored;
    }
    oncelog_begin(&p->log, lot, count);
    oncelog_end(&p->log, lot, done, count);
}

static enum once_verdict ask(struct place *p, unsigned number, struct once_claim *c)
{
    *c = claim_of(number, now + 5, second_ref);
    return once_claim(p->once, c, WINDOW, ME);
}

static void test_a_restart_remembers_what_was_stored(void **state)
{
    struct place *p = *state;
    struct once_claim c;
    store(p, 1, 5, true);
    restart(p);
    for (unsigned i = 1; i <= 5; i++) {
        assert_int_equal(ask(p, i, &c), ONCE_REPEAT);
        assert_string_equal(c.ref, first_ref);
        assert_int_equal(c.time, now);
    }
    assert_int_equal(ask(p, 6, &c), ONCE_FIRST);
}

static void test_a_kill_before_the_second_write_leaves_the_receipt(void **state)
{
    struct place *p = *state;
    struct once_claim c = claim_of(1, now, first_ref), *lot[] = {&c};
    once_claim(p->once, &c, WINDOW, ME);
    oncelog_begin(&p->log, lot, 1);
    restart(p);
    assert_int_equal(ask(p, 1, &c), ONCE_FIRST);
    assert_true(c.again);
    assert_string_equal(c.ref, first_ref);
}

static void test_one_that_failed_and_then_was_stored_is_stored_after_a_restart(void **state)
{
    struct place *p = *state;
    struct once_claim c;
    store(p, 1, 1, false);
    store(p, 1, 1, true);
    restart(p);
    assert_int_equal(ask(p, 1, &c), ONCE_REPEAT);
}

static void test_later_runs_write_behind_the_earlier(void **state)
{
    struct place *p = *state;
    struct once_claim c;
    for (unsigned run = 0; run < 4; run++) {
        store(p, 10 * run, 3, true);
        restart(p);
    }
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(ask(p, i, &c), i % 10 < 3 ? ONCE_REPEAT : ONCE_FIRST);
    }
    struct stat st;
    assert_int_equal(stat(p->journal, &st), 0);
    assert_int_equal(st.st_size, 12 * RECORD);
}

static void test_the_journal_is_a_ring(void **state)
{
    struct place *p = *state;
    struct once_claim c;
    once_place(p->once, ONCELOG_RECORDS - 2);
    store(p, 1, 5, true);
    struct stat st;
    assert_int_equal(stat(p->journal, &st), 0);
    assert_int_equal(st.st_size, ONCELOG_RECORDS * RECORD);
    restart(p);
    for (unsigned i = 1; i <= 5; i++) {
        assert_int_equal(ask(p, i, &c), ONCE_REPEAT);
    }
}

static void damage(const struct place *p, off_t at, const char *bytes, size_t len)
{
    int fd = open(p->journal, O_WRONLY);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
    close(fd);
}

static void test_torn_records_are_passed_over(void **state)
{
    struct place *p = *state;
    struct once_claim c;
    store(p, 1, 4, true);
    damage(p, 1 * RECORD + 30, "\xff\xff", 2);
    assert_int_equal(truncate(p->journal, 3 * RECORD + 20), 0);
    restart(p);
    assert_int_equal(ask(p, 1, &c), ONCE_REPEAT);
    assert_int_equal(ask(p, 2, &c), ONCE_FIRST);
    assert_int_equal(ask(p, 3, &c), ONCE_REPEAT);
    assert_int_equal(ask(p, 4, &c), ONCE_FIRST);
}

static void test_a_record_whose_state_was_changed_is_not_ours(void **state)
{
    struct place *p = *state;
    struct once_claim c;
    store(p, 1, 1, false);
    damage(p, 0, "s", 1);
    restart(p);
    assert_int_equal(ask(p, 1, &c), ONCE_FIRST);
    assert_false(c.again);
}

static void test_a_key_that_others_may_read_is_replaced_and_its_journal_with_it(void **state)
{
    struct place *p = *state;
    struct once_claim c;
    struct stat st;
    store(p, 1, 1, true);
    chmod(p->key, 0640);
    restart(p);
    assert_int_equal(stat(p->key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, ONCE_SECRET);
    assert_int_equal(ask(p, 1, &c), ONCE_FIRST);
}

static void test_old_records_are_not_remembered(void **state)
{
    struct place *p = *state;
    struct once_claim c = claim_of(1, now - ONCE_WINDOW_MAX, first_ref), *lot[] = {&c};
    const bool stored = true;
    once_claim(p->once, &c, ONCE_WINDOW_MAX, ME);
    oncelog_begin(&p->log, lot, 1);
    oncelog_end(&p->log, lot, &stored, 1);
    restart(p);
    c = claim_of(1, now - ONCE_WINDOW_MAX, second_ref);
    assert_int_equal(once_claim(p->once, &c, ONCE_WINDOW_MAX, ME), ONCE_FIRST);
}

static void test_a_full_disk_costs_no_submission(void **state)
{
    struct place *p = *state;
    struct once_claim c;
    oncelog_close(&p->log);
    p->log.fd = open("/dev/full", O_WRONLY);
    store(p, 1, 3, true);
    assert_true(p->log.failed);
    assert_int_equal(ask(p, 2, &c), ONCE_REPEAT);
}

static void test_nothing_of_the_content_is_written(void **state)
{
    struct place *p = *state;
    struct once_claim c = identity(p->once, "order", "name=Ada", NULL, 7, "Firefox"), *lot[] = {&c};
    const bool stored = true;
    c.time = now;
    text_copy(c.ref, sizeof c.ref, first_ref);
    once_claim(p->once, &c, WINDOW, ME);
    oncelog_begin(&p->log, lot, 1);
    oncelog_end(&p->log, lot, &stored, 1);
    unsigned char record[RECORD];
    int fd = open(p->journal, O_RDONLY);
    assert_int_equal(read(fd, record, sizeof record), RECORD);
    close(fd);
    static const char *const visitor[] = {"Ada", "name", "order", "Firefox"};
    for (size_t i = 0; i < COUNT(visitor); i++) {
        assert_null(memmem(record, sizeof record, visitor[i], strlen(visitor[i])));
    }
}

int main(void)
{
#define ONCE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define LOG(test)  cmocka_unit_test_setup_teardown(test, setup_place, teardown_place)
    const struct CMUnitTest tests[] = {
        ONCE(test_an_equal_one_waits_and_then_gets_the_receipt),
        ONCE(test_the_next_takes_the_place_of_one_that_failed_under_its_receipt),
        ONCE(test_what_a_dead_front_claimed_is_free_and_what_others_claimed_is_not),
        ONCE(test_the_same_after_the_window_is_another),
        ONCE(test_what_is_too_old_to_be_repeated_is_wiped),
        ONCE(test_a_clock_that_is_set_back_does_not_keep_it_for_ever),
        ONCE(test_a_key_with_other_content_is_refused_unless_nothing_was_stored),
        ONCE(test_when_there_are_too_many_the_oldest_goes_and_never_a_claim),
        ONCE(test_more_claims_than_there_is_room_for_are_all_stored),
        ONCE(test_a_receipt_that_is_none_is_not_taken_over),
        ONCE(test_of_processes_that_claim_the_same_at_once_one_is_first),
        ONCE(test_a_process_that_dies_inside_blocks_nobody),
        ONCE(test_the_same_content_of_the_same_visitor_is_the_same),
        ONCE(test_anything_else_is_another),
        ONCE(test_a_nonce_stands_for_the_visitor_and_not_for_the_content),
        ONCE(test_a_key_is_the_same_wherever_it_comes_from_and_knows_its_content),
        ONCE(test_what_a_page_fetches_anew_does_not_make_a_difference),
        ONCE(test_a_mended_field_that_only_steers_the_mail_is_another),
        ONCE(test_the_nonce_stays_out_of_the_mail),
        ONCE(test_fingerprints_of_another_installation_say_nothing),
        ONCE(test_an_idempotency_key_is_a_string_with_or_without_quotes),
        LOG(test_a_restart_remembers_what_was_stored),
        LOG(test_a_kill_before_the_second_write_leaves_the_receipt),
        LOG(test_one_that_failed_and_then_was_stored_is_stored_after_a_restart),
        LOG(test_later_runs_write_behind_the_earlier),
        LOG(test_the_journal_is_a_ring),
        LOG(test_torn_records_are_passed_over),
        LOG(test_a_record_whose_state_was_changed_is_not_ours),
        LOG(test_a_key_that_others_may_read_is_replaced_and_its_journal_with_it),
        LOG(test_old_records_are_not_remembered),
        LOG(test_a_full_disk_costs_no_submission),
        LOG(test_nothing_of_the_content_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
