/* The ways from the front's connections to http: socketpairs with a parser of libmicrohttpd's at their other end. One
 * serves a connection after another, so that who does not ask costs no parser, and the next finds one still warm. */

#include "bridge.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAITING_MAX = 256 };

static void owner_goes_on(struct channel *h)
{
    h->readable = true; /* epoll will say so only at its next turn */
    if (h->owner != NULL) {
        h->goes_on(h->owner);
    }
}

static void on_answered(void *arg)
{
    owner_goes_on(arg);
}

static void on_ended(void *arg)
{
    struct channel *h = arg;
    h->link = NULL;
    owner_goes_on(h); /* the end of the stream is to be read */
}

struct channel *channel_open(struct http *http, void (*goes_on)(struct conn *owner))
{
    int pair[2];
    struct channel *h = calloc(1, sizeof *h);
    if (h == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
        free(h);
        return NULL;
    }
    h->fd = pair[0];
    h->writable = true;
    h->goes_on = goes_on;
    h->link = http_add(http, pair[1], on_answered, on_ended, h);
    if (h->link == NULL) {
        channel_close(h);
        return NULL;
    }
    return h;
}

void channel_close(struct channel *h)
{
    if (h->link != NULL) {
        http_forget(h->link);
    }
    close(h->fd);
    free(h);
}

struct conn *channel_event(struct channel *h, uint32_t events)
{
    h->readable = h->readable || (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    h->writable = h->writable || (events & (EPOLLOUT | EPOLLERR)) != 0;
    h->ended = h->ended || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    return h->owner;
}

struct channel *channel_take(struct channels *all)
{
    struct channel *h;
    while ((h = all->first) != NULL) {
        all->first = h->next;
        all->count--;
        if (h->link != NULL && !h->ended) {
            break;
        }
        channel_close(h);
    }
    if (all->count < all->least) {
        all->least = all->count;
    }
    return h;
}

void channel_give(struct channels *all, struct channel *h)
{
    if (h->link == NULL || h->ended || !http_clean(h->link) || all->count == WAITING_MAX) {
        channel_close(h);
        return;
    }
    h->owner = NULL;
    h->next = all->first;
    all->first = h;
    all->count++;
}

unsigned channel_trim(struct channels *all)
{
    unsigned count = all->least;
    struct channel **end = &all->first; /* those that were not used for longest are the last */
    for (unsigned i = count; i < all->count; i++) {
        end = &(*end)->next;
    }
    for (struct channel *h = *end, *next; h != NULL; h = next) {
        next = h->next;
        channel_close(h);
    }
    *end = NULL;
    all->count -= count;
    all->least = all->count;
    return count;
}
