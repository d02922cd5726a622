#include "bridge.h"

#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* A resolver that the test lets hang, and a clock that it puts ahead. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned asked, hanging;
static bool hang;
static time_t ahead;

int __real_getaddrinfo(const char *name, const char *port, const struct addrinfo *hints,
                       struct addrinfo **out);
int __wrap_getaddrinfo(const char *name, const char *port, const struct addrinfo *hints,
                       struct addrinfo **out);
int __wrap_getaddrinfo(const char *name, const char *port, const struct addrinfo *hints,
                       struct addrinfo **out)
{
    pthread_mutex_lock(&lock);
    asked++;
    hanging++;
    while (hang && strcmp(name, "slow.example.com") == 0) {
        pthread_cond_wait(&changed, &lock);
    }
    hanging--;
    pthread_mutex_unlock(&lock);
    if (strcmp(name, "absent.example.com") == 0) {
        return EAI_NONAME;
    }
    return __real_getaddrinfo("127.0.0.9", port, hints, out);
}

int __real_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
    int status = __real_clock_gettime(id, t);
    t->tv_sec += ahead;
    return status;
}

int __real_pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t id,
                                  const struct timespec *until);
int __wrap_pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t id,
                                  const struct timespec *until);
int __wrap_pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t id,
                                  const struct timespec *until)
{
    struct timespec t = {until->tv_sec - ahead, until->tv_nsec};
    return __real_pthread_cond_clockwait(c, m, id, &t);
}

static unsigned count(const unsigned *what)
{
    pthread_mutex_lock(&lock);
    unsigned n = *what;
    pthread_mutex_unlock(&lock);
    return n;
}

static void set_hang(bool to)
{
    pthread_mutex_lock(&lock);
    hang = to;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    while (!to && count(&hanging) > 0) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

static const char *look_up(const char *name, unsigned seconds)
{
    static char text[REASON_SIZE];
    struct lookup found = {.count = 0};
    if (!lookup_host(name, 465, seconds, &found, text, sizeof text)) {
        return text;
    }
    assert_int_equal(found.count, 1);
    assert_int_equal(found.at[0].len, sizeof(struct sockaddr_in));
    assert_int_equal(network_port(&found.at[0].addr), 465);
    assert_true(network_text(&found.at[0].addr, text));
    return text;
}

static void a_name_has_addresses_or_the_reason_is_said(void **state)
{
    (void)state;
    assert_string_equal(look_up("mail.example.com", 5), "127.0.0.9");
    const char *why = look_up("absent.example.com", 5);
    assert_non_null(strstr(why, "the name absent.example.com cannot be looked up: "));
}

static void who_waits_gives_up_in_time(void **state)
{
    (void)state;
    static const char words[] =
        "the name servers of this machine do not answer for slow.example.com within 1 seconds";
    struct timespec begun, now;
    unsigned before = count(&asked);
    set_hang(true);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    assert_string_equal(look_up("slow.example.com", 1), words);
    clock_gettime(CLOCK_MONOTONIC, &now);
    assert_in_range(now.tv_sec - begun.tv_sec, 1, 3);
    assert_string_equal(look_up("slow.example.com", 1), words);
    assert_int_equal(count(&asked) - before, 1); /* the second has joined the first */
    assert_string_equal(look_up("mail.example.com", 5), "127.0.0.9");
    set_hang(false);
    assert_string_equal(look_up("slow.example.com", 5), "127.0.0.9");
}

static void *join(void *arg)
{
    text_copy(arg, REASON_SIZE, "");
    struct lookup found;
    lookup_host("slow.example.com", 465, 10, &found, arg, REASON_SIZE);
    return arg;
}

static void an_answer_is_for_all_who_wait(void **state)
{
    (void)state;
    pthread_t threads[8];
    static char why[COUNT(threads)][REASON_SIZE];
    unsigned before = count(&asked);
    set_hang(true);
    for (size_t i = 0; i < COUNT(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, join, why[i]), 0);
    }
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    assert_int_equal(count(&asked) - before, 1);
    set_hang(false);
    for (size_t i = 0; i < COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
        assert_string_equal(why[i], "");
    }
}

/* What it waits for may be gone, while the name servers are well again. */
static void one_that_has_hung_for_long_keeps_nobody(void **state)
{
    (void)state;
    static const struct {
        time_t later;
        unsigned asked;
    } steps[] = {{0, 1}, {50, 1}, {15, 2}, {100, 2}, {30, 3}}; /* each further one is given more time */
    unsigned before = count(&asked);
    set_hang(true);
    for (size_t i = 0; i < COUNT(steps); i++) {
        ahead += steps[i].later;
        look_up("slow.example.com", 1);
        assert_int_equal(count(&asked) - before, steps[i].asked);
    }
    set_hang(false);
    assert_string_equal(look_up("slow.example.com", 5), "127.0.0.9");
    ahead = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_has_addresses_or_the_reason_is_said),
        cmocka_unit_test(who_waits_gives_up_in_time),
        cmocka_unit_test(an_answer_is_for_all_who_wait),
        cmocka_unit_test(one_that_has_hung_for_long_keeps_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
