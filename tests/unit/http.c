/* http.c: one link serves one visitor after another, and never a request that nobody announced. */

#include "bridge.h"

#include <poll.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a front without TLS and gate ------------------------------------------------------------ */

struct place {
    struct conf conf;
    struct once *once;
    struct oncelog log;
    int wake[2];
    struct http *http;
    int fd;
    struct http_link *link;
    unsigned answered;
    bool ended;
};

static struct spool nowhere = {.root = -1, .tmp = -1, .queue = -1, .held = -1};

static void on_answered(void *arg)
{
    ((struct place *)arg)->answered++;
}

static void on_ended(void *arg)
{
    ((struct place *)arg)->ended = true;
}

static int setup(void **state)
{
    static char hostname[] = "forms.example.com";
    static const unsigned char secret[SECRET_SIZE];
    struct place *p = calloc(1, sizeof *p);
    int pair[2];
    p->conf = (struct conf){.hostname = hostname, .max_connections = 4, .max_head = 8192};
    p->once = once_new();
    p->log = (struct oncelog){.once = p->once, .fd = -1};
    if (p->once == NULL || !stats_open() || pipe(p->wake) != 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
        return -1;
    }
    p->http = http_start(&p->conf, &nowhere, p->wake[1], -1, &p->log, NULL, secret);
    p->fd = pair[0];
    p->link = p->http == NULL ? NULL : http_add(p->http, pair[1], on_answered, on_ended, p);
    *state = p;
    return p->link == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    if (!p->ended) {
        http_forget(p->link);
    }
    close(p->fd);
    http_stop(p->http);
    once_free(p->once);
    close(p->wake[0]);
    close(p->wake[1]);
    free(p);
    return 0;
}

/* All that is answered to these bytes, until nothing more comes. */
static const char *ask(struct place *p, const char *bytes)
{
    static char answer[32768];
    size_t len = 0;
    assert_int_equal(write(p->fd, bytes, strlen(bytes)), strlen(bytes));
    for (int quiet = 0; quiet < 5;) {
        http_run(p->http);
        ssize_t n = read(p->fd, answer + len, sizeof answer - 1 - len);
        len += n > 0 ? (size_t)n : 0;
        quiet = n > 0 ? 0 : quiet + 1;
        poll(NULL, 0, 1);
    }
    answer[len] = '\0';
    return answer;
}

static const struct visitor visitor = {.text = "192.0.2.1"};

#define GET          "GET / HTTP/1.1\r\nHost: forms.example.com\r\n\r\n"
#define POST(length) "POST / HTTP/1.1\r\nHost: forms.example.com\r\nContent-Length: " length "\r\n\r\n"

static bool begins(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void a_link_serves_one_request_after_another(void **state)
{
    struct place *p = *state;
    for (unsigned i = 1; i <= 3; i++) {
        http_announce(p->link, &visitor, 0);
        assert_false(http_clean(p->link));
        assert_true(begins(ask(p, GET), "HTTP/1.1 200 "));
        assert_int_equal(p->answered, i);
        assert_true(http_clean(p->link));
    }
    assert_false(p->ended);
}

static void a_request_that_was_not_announced_ends_the_link(void **state)
{
    struct place *p = *state;
    http_announce(p->link, &visitor, 0);
    const char *answers = ask(p, GET GET);
    assert_true(begins(answers, "HTTP/1.1 200 "));
    assert_null(strstr(answers + 1, "HTTP/1.1 "));
    assert_true(p->ended);
}

static void not_even_the_first(void **state)
{
    struct place *p = *state;
    assert_string_equal(ask(p, GET), "");
    assert_true(p->ended);
}

/* It could be read as the beginning of the next. */
static void a_body_of_another_length_than_the_gate_counted_leaves_no_clean_link(void **state)
{
    struct place *p = *state;
    http_announce(p->link, &visitor, 1);
    assert_true(begins(ask(p, GET), "HTTP/1.1 200 "));
    assert_int_equal(p->answered, 1);
    assert_false(http_clean(p->link));
}

static void an_answer_that_comes_before_its_body_leaves_no_clean_link(void **state)
{
    struct place *p = *state;
    http_announce(p->link, &visitor, 4);
    assert_true(begins(ask(p, POST("4")), "HTTP/1.1 405 "));
    assert_true(p->ended || !http_clean(p->link));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_link_serves_one_request_after_another),
        TEST(a_request_that_was_not_announced_ends_the_link),
        TEST(not_even_the_first),
        TEST(a_body_of_another_length_than_the_gate_counted_leaves_no_clean_link),
        TEST(an_answer_that_comes_before_its_body_leaves_no_clean_link),
    };
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
