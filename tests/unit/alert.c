/* alert.c: held messages are told of once, in time, and whatever happens in between. */

#include "bridge.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define NOON ((int64_t)1795435200)

struct place {
    char dir[64], path[80];
    struct spool spool;
    struct conf *conf;
};

static int setup(void **state)
{
    static const char text[] =
        "[bridge]\nhostname=forms.example.com\ncertificate=/c\nprivate_key=/k\n"
        "alert_to=admin@example.com\nalert_deliver=maildir:/m\n"
        "[form order]\nto=orders@example.com\nfrom=website@example.com\ndeliver=maildir:/m\n";
    struct place *p = calloc(1, sizeof *p);
    struct buf errors;
    char why[512];
    text_copy(p->dir, sizeof p->dir, "/tmp/formbridge-alert-XXXXXX");
    if (mkdtemp(p->dir) == NULL) {
        return -1;
    }
    text_fmt(p->path, sizeof p->path, "%s/spool", p->dir);
    buf_init(&errors, 4096);
    p->conf = conf_parse("c.ini", text, sizeof text - 1, &errors);
    buf_free(&errors);
    *state = p;
    return p->conf != NULL && spool_open(&p->spool, p->path, why, sizeof why) ? 0 : -1;
}

static int teardown(void **state)
{
    struct place *p = *state;
    char command[128];
    spool_close(&p->spool);
    conf_free(p->conf);
    text_fmt(command, sizeof command, "rm -rf %s", p->dir);
    int status = system(command);
    free(p);
    return status;
}

/* when: the state says that it was held. */
static void held(struct place *p, const char *name, const char *reason, int64_t when)
{
    struct state st = {.targets = NULL};
    char file[SPOOL_NAME_SIZE + 8];
    int fd = openat(p->spool.held, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_true(state_text(&st.held, reason));
    assert_true(spool_state_write(p->spool.held, name, &st));
    state_free(&st);
    text_fmt(file, sizeof file, "%s.state", name);
    struct timespec times[2] = {{.tv_sec = when}, {.tv_sec = when, .tv_nsec = 999999999}};
    assert_int_equal(utimensat(p->spool.held, file, times, 0), 0);
}

static size_t alerts(struct place *p)
{
    return spool_count(p->spool.queue);
}

/* Takes the one alert out of the queue. */
static void take_alert(struct place *p, char *text, size_t size)
{
    DIR *dir = spool_list(p->spool.queue);
    size_t found = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (strstr(e->d_name, "._alert") != NULL) {
            int fd = openat(p->spool.queue, e->d_name, O_RDONLY | O_CLOEXEC);
            ssize_t n = read(fd, text, size - 1);
            assert_true(n > 0);
            text[n] = '\0';
            close(fd);
            unlinkat(p->spool.queue, e->d_name, 0);
            found++;
        }
    }
    closedir(dir);
    assert_int_equal(found, 1);
}

static void nothing_held_is_nothing_told(void **state)
{
    struct place *p = *state;
    assert_int_equal(alert_run(p->conf, &p->spool, NOON), 0);
    assert_int_equal(alerts(p), 0);
}

static void each_message_is_told_of_once_and_every_hour_at_most(void **state)
{
    struct place *p = *state;
    char text[8192];
    held(p, "20261122T000000Z.7K2M-Q9XD-4TRW.order", "no such mailbox", NOON - 1);
    assert_int_equal(alert_run(p->conf, &p->spool, NOON), 0);
    take_alert(p, text, sizeof text);
    assert_non_null(strstr(text, "7K2M-Q9XD-4TRW (form order)\n    no such mailbox\n"));

    held(p, "20261122T000001Z.8K2M-Q9XD-4TRW.order", "too large", NOON + 5);
    assert_int_equal(alert_run(p->conf, &p->spool, NOON + 6), NOON + ALERT_INTERVAL);
    assert_int_equal(alert_run(p->conf, &p->spool, NOON + ALERT_INTERVAL - 1), NOON + ALERT_INTERVAL);
    assert_int_equal(alerts(p), 0);
    assert_int_equal(alert_run(p->conf, &p->spool, NOON + ALERT_INTERVAL), 0);
    take_alert(p, text, sizeof text);
    assert_non_null(strstr(text, "8K2M-Q9XD-4TRW (form order)\n    too large\n"));
    assert_null(strstr(text, "7K2M-Q9XD-4TRW (form"));

    assert_int_equal(alert_run(p->conf, &p->spool, NOON + 2 * ALERT_INTERVAL), 0);
    assert_int_equal(alerts(p), 0);
}

/* since: of a release, or 0. */
static void waits(struct place *p, const char *name, int64_t since)
{
    struct state st = {.since = since};
    int fd = openat(p->spool.queue, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_true(state_text(&state_target(&st, "main")->reason, "does not know the password"));
    assert_true(spool_state_write(p->spool.queue, name, &st));
    state_free(&st);
}

static void what_waits_is_told_of_once_when_it_is_old_enough(void **state)
{
    struct place *p = *state;
    char text[8192];
    assert_int_equal(p->conf->alert_after, 4 * 3600);
    waits(p, "20261123T080001Z.6K2M-Q9XD-4TRW.order", 0);
    assert_int_equal(alert_run(p->conf, &p->spool, NOON), 0);
    assert_int_equal(alerts(p), 1); /* nothing but itself */
    waits(p, "20261123T075959Z.7K2M-Q9XD-4TRW.order", 0);
    waits(p, "20261123T000000Z.8K2M-Q9XD-4TRW.order", NOON - 4 * 3600 + 1); /* released */
    assert_int_equal(alert_run(p->conf, &p->spool, NOON), 0);
    take_alert(p, text, sizeof text);
    assert_non_null(strstr(text, "Subject: forms.example.com: 1 message waits for long\n"));
    assert_non_null(
        strstr(text, "These have waited for 4 hours, and are tried again:\n7K2M-Q9XD-4TRW (form order)\n"
                     "    does not know the password\n"));
    assert_null(strstr(text, "6K2M"));
    assert_null(strstr(text, "8K2M"));

    held(p, "20261122T000000Z.9K2M-Q9XD-4TRW.order", "no such mailbox", NOON + 5);
    assert_int_equal(alert_run(p->conf, &p->spool, NOON + ALERT_INTERVAL), 0);
    take_alert(p, text, sizeof text);
    assert_non_null(strstr(text, ": 1 message is held and needs a person, 2"));
    assert_non_null(strstr(text, "for long\n"));
    assert_non_null(strstr(text, "9K2M-Q9XD-4TRW (form order)\n    no such mailbox\n\nThese have waited"));
    assert_non_null(strstr(text, "6K2M"));
    assert_non_null(strstr(text, "8K2M"));
    assert_null(strstr(text, "7K2M"));
    p->conf->alert_after = 0;
    waits(p, "20261123T000000Z.5K2M-Q9XD-4TRW.order", 0);
    assert_int_equal(alert_run(p->conf, &p->spool, NOON + 9 * ALERT_INTERVAL), 0);
    assert_int_equal(alerts(p), 4);
}

static void every_second_belongs_to_one_alert(void **state)
{
    struct place *p = *state;
    char text[8192];
    held(p, "20261122T000000Z.7K2M-Q9XD-4TRW.order", "first", NOON - 1);
    held(p, "20261122T000001Z.8K2M-Q9XD-4TRW.order", "second", NOON);
    alert_run(p->conf, &p->spool, NOON);
    take_alert(p, text, sizeof text);
    assert_non_null(strstr(text, "    first\n"));
    assert_null(strstr(text, "    second\n"));
    alert_run(p->conf, &p->spool, NOON + ALERT_INTERVAL);
    take_alert(p, text, sizeof text);
    assert_null(strstr(text, "    first\n"));
    assert_non_null(strstr(text, "    second\n"));
}

static void a_clock_that_is_set_back_hides_nothing(void **state)
{
    struct place *p = *state;
    char text[8192];
    held(p, "20261122T000000Z.7K2M-Q9XD-4TRW.order", "first", NOON - 1);
    alert_run(p->conf, &p->spool, NOON);
    take_alert(p, text, sizeof text);
    held(p, "20261121T000000Z.8K2M-Q9XD-4TRW.order", "second", NOON - 86400);
    assert_int_equal(alert_run(p->conf, &p->spool, NOON - 86000), 0);
    take_alert(p, text, sizeof text);
    assert_non_null(strstr(text, "    second\n"));
}

static void a_spool_that_takes_nothing_is_asked_again(void **state)
{
    struct place *p = *state;
    held(p, "20261122T000000Z.7K2M-Q9XD-4TRW.order", "first", NOON - 1);
    int queue = p->spool.queue;
    p->spool.queue = -1;
    int64_t again = alert_run(p->conf, &p->spool, NOON);
    p->spool.queue = queue;
    assert_true(again > NOON && again < NOON + ALERT_INTERVAL);
    assert_int_equal(alerts(p), 0);
    assert_int_equal(alert_run(p->conf, &p->spool, again), 0);
    assert_int_equal(alerts(p), 1);
}

static void a_stamp_that_cannot_be_read_counts_as_none(void **state)
{
    struct place *p = *state;
    static const char *const stamps[] = {"",    "\n", "12", "x\n", "99999999999999999999999999999999999999\n",
                                         "-5\n"};
    for (size_t i = 0; i < COUNT(stamps); i++) {
        char text[8192];
        int fd = openat(p->spool.root, "alerted", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, stamps[i], strlen(stamps[i])), (ssize_t)strlen(stamps[i]));
        close(fd);
        held(p, "20261122T000000Z.7K2M-Q9XD-4TRW.order", "first", NOON - 1);
        assert_int_equal(alert_run(p->conf, &p->spool, NOON), 0);
        take_alert(p, text, sizeof text);
    }
}

static void alerts_and_what_a_person_held_are_no_news(void **state)
{
    struct place *p = *state;
    held(p, "20261122T000000Z.7K2M-Q9XD-4TRW." ALERT_FORM, "no such mailbox", NOON - 1);
    held(p, "20261122T000001Z.8K2M-Q9XD-4TRW.order", STATE_HELD_BY_PERSON, NOON - 1);
    assert_int_equal(alert_run(p->conf, &p->spool, NOON), 0);
    assert_int_equal(alerts(p), 0);
}

static void what_a_host_said_stays_text_of_one_line(void **state)
{
    struct place *p = *state;
    char text[8192];
    held(p, "20261122T000000Z.7K2M-Q9XD-4TRW.order", "\xff=3D \xc3 From .", NOON - 1);
    alert_run(p->conf, &p->spool, NOON);
    take_alert(p, text, sizeof text);
    assert_non_null(strstr(text, "    ?=3D3D ? From .\n"));
    for (const char *c = text; *c != '\0'; c++) {
        assert_true(*c == '\n' || (*c >= ' ' && *c <= '~'));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_held_is_nothing_told, setup, teardown),
        cmocka_unit_test_setup_teardown(each_message_is_told_of_once_and_every_hour_at_most, setup, teardown),
        cmocka_unit_test_setup_teardown(what_waits_is_told_of_once_when_it_is_old_enough, setup, teardown),
        cmocka_unit_test_setup_teardown(every_second_belongs_to_one_alert, setup, teardown),
        cmocka_unit_test_setup_teardown(a_clock_that_is_set_back_hides_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_spool_that_takes_nothing_is_asked_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stamp_that_cannot_be_read_counts_as_none, setup, teardown),
        cmocka_unit_test_setup_teardown(alerts_and_what_a_person_held_are_no_news, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_host_said_stays_text_of_one_line, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
