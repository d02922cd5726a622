/* One thread for what would stall an event loop; jobs are done one after the other. */

#include "bridge.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct worker {
    int event; /* tells the loop */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct work *first, **last; /* waiting */
    struct work *done;
    bool stop;
};

/* NULL: it is to stop, and nothing waits. */
static struct work *take(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->first == NULL && !w->stop) {
        pthread_cond_wait(&w->more, &w->lock);
    }
    struct work *job = w->first;
    if (job != NULL) {
        w->first = job->next;
        w->last = w->first == NULL ? &w->first : w->last;
    }
    pthread_mutex_unlock(&w->lock);
    return job;
}

static void *worker_thread(void *arg)
{
    struct worker *w = arg;
    for (struct work *job; (job = take(w)) != NULL;) {
        job->run(job);
        pthread_mutex_lock(&w->lock);
        job->next = w->done;
        w->done = job;
        pthread_mutex_unlock(&w->lock);
        uint64_t one = 1;
        ssize_t written =
            write(w->event, &one, sizeof one); /* cannot be full: 2^64 jobs would have to wait */
        (void)written;
    }
    return NULL;
}

struct worker *worker_start(void)
{
    struct worker *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return NULL;
    }
    w->last = &w->first;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->event < 0 || pthread_create(&w->thread, NULL, worker_thread, w) != 0) {
        if (w->event >= 0) {
            close(w->event);
        }
        free(w);
        return NULL;
    }
    return w;
}

void worker_submit(struct worker *w, struct work *job, bool ahead)
{
    pthread_mutex_lock(&w->lock);
    job->next = ahead ? w->first : NULL;
    if (w->first == NULL || !ahead) {
        *w->last = job;
        w->last = &job->next;
    } else {
        w->first = job;
    }
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
}

int worker_fd(const struct worker *w)
{
    return w->event;
}

struct work *worker_collect(struct worker *w)
{
    uint64_t count;
    ssize_t got = read(w->event, &count, sizeof count); /* only resets it */
    (void)got;
    pthread_mutex_lock(&w->lock);
    struct work *done = w->done;
    w->done = NULL;
    pthread_mutex_unlock(&w->lock);
    return done;
}

void worker_stop(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    close(w->event);
    free(w);
}
