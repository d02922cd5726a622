/* The addresses of a name, with a deadline. getaddrinfo(3) has none: a name server that takes a TCP connection
 * and never answers keeps it for ever. So a thread asks, and who waits for it gives up in time.
 *
 * A thread that hangs can only be left alone. Who asks for the same name joins it, so that they do not pile up,
 * until it has hung for a while: what it waits for may be gone, and the name servers well again. Each further
 * one is given more time than the one before. */

#include "bridge.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <resolv.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { JOIN_MAX = 60 }; /* seconds, times the number of those that hang */

struct query {
    struct query *next;
    char name[HOST_NAME_MAX_ + 1], port[8];
    int64_t begun;  /* CLOCK_MONOTONIC */
    unsigned users; /* its thread, and who waits for it: the last one frees it */
    bool answered;  /* found and why are the thread's until then */
    struct lookup found;
    char why[REASON_SIZE]; /* "": found */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t some_answered = PTHREAD_COND_INITIALIZER;
static struct query *unanswered; /* the newest first */

static void drop(struct query *q)
{
    if (--q->users == 0) {
        free(q);
    }
}

static void resolve(struct query *q)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(q->name, q->port, &hints, &list);
    if (rc != 0) {
        text_fmt(q->why, sizeof q->why, "the name %s cannot be looked up: %s", q->name,
                 rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
        return;
    }
    for (const struct addrinfo *a = list; a != NULL && q->found.count < LOOKUP_MAX; a = a->ai_next) {
        memcpy(&q->found.at[q->found.count].addr, a->ai_addr, a->ai_addrlen);
        q->found.at[q->found.count++].len = a->ai_addrlen;
    }
    freeaddrinfo(list);
}

static void *ask(void *arg)
{
    struct query *q = arg, **at = &unanswered;
    resolve(q);
    pthread_mutex_lock(&lock);
    while (*at != q) {
        at = &(*at)->next;
    }
    *at = q->next;
    q->answered = true;
    pthread_cond_broadcast(&some_answered);
    drop(q);
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Signals are for the thread that polls. Returns an errno. */
static int start_thread(struct query *q)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all;
    int error = pthread_attr_init(&attr);
    if (error != 0) {
        return error;
    }
    sigfillset(&all);
    sigdelset(&all, SIGSYS); /* or the sandbox could not say which call it was */
    pthread_attr_setsigmask_np(&attr, &all);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    error = pthread_create(&thread, &attr, ask, q);
    pthread_attr_destroy(&attr);
    return error;
}

static struct query *begin(const char *name, const char *port, int64_t now)
{
    struct query *q = calloc(1, sizeof *q);
    if (q == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    text_copy(q->name, sizeof q->name, name);
    text_copy(q->port, sizeof q->port, port);
    q->begun = now;
    q->users = 1;
    int error = start_thread(q); /* it cannot end before we let go of the lock */
    if (error != 0) {
        free(q);
        errno = error;
        return NULL;
    }
    q->next = unanswered;
    unanswered = q;
    return q;
}

static struct query *join_or_begin(const char *name, const char *port, int64_t now)
{
    struct query *newest = NULL;
    int64_t hanging = 0;
    for (struct query *q = unanswered; q != NULL; q = q->next) {
        if (strcmp(q->name, name) == 0 && strcmp(q->port, port) == 0) {
            newest = newest == NULL ? q : newest;
            hanging++;
        }
    }
    return newest != NULL && now - newest->begun < hanging * JOIN_MAX ? newest : begin(name, port, now);
}

bool lookup_host(const char *name, uint16_t port, unsigned seconds, struct lookup *out, char *why,
                 size_t why_size)
{
    char number[8];
    struct timespec until;
    text_fmt(number, sizeof number, "%u", port);
    clock_gettime(CLOCK_MONOTONIC, &until);
    pthread_mutex_lock(&lock);
    struct query *q = join_or_begin(name, number, until.tv_sec);
    if (q == NULL) {
        text_fmt(why, why_size, "the name %s cannot be looked up: %s", name, strerror(errno));
        pthread_mutex_unlock(&lock);
        return false;
    }
    q->users++;
    until.tv_sec += seconds;
    while (!q->answered && pthread_cond_clockwait(&some_answered, &lock, CLOCK_MONOTONIC, &until) == 0) {
    }
    bool ok = q->answered && q->why[0] == '\0';
    if (ok) {
        *out = q->found;
    } else if (q->answered) {
        text_copy(why, why_size, q->why);
    } else {
        text_fmt(why, why_size, "the name servers of this machine do not answer for %s within %u seconds",
                 name, seconds);
    }
    drop(q);
    pthread_mutex_unlock(&lock);
    return ok;
}

void lookup_warm_up(void)
{
    struct addrinfo *found = NULL;
    if (res_init() == 0) {
        _res.nscount = 0; /* this thread's alone */
    }
    if (getaddrinfo("localhost", "25", NULL, &found) == 0) {
        freeaddrinfo(found);
    }
}
