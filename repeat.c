/* A submission that was here before: http's side of once.c. Whoever comes while the first is being stored sleeps
 * until it is; the loop looks after them every few milliseconds, since the first may be with another front. */

#include "bridge.h"

#include <string.h>

enum { LOOK_EVERY = 5 }; /* milliseconds */

static bool identify(struct http_request *r)
{
    struct once_sender from = {.agent = request_header(r, "User-Agent"),
                               .visitor = network_id(&r->link->visitor.addr)};
    const char *key = request_header(r, "Idempotency-Key");
    if (key != NULL && !once_header(key, &from.key)) {
        return false;
    }
    once_identify(r->http->once, &r->submission.once, r->form->name, r->body, &from);
    return true;
}

/* With its own receipt and time, or those of the one that it repeats. */
static void claim(struct http_request *r)
{
    struct submission *s = &r->submission;
    s->once.time = s->message.time;
    memcpy(s->once.ref, s->ref, sizeof s->ref);
    r->verdict = once_claim(r->http->once, &s->once, r->form->once_window, r->http->pid);
    s->message.time = s->once.time;
    memcpy(s->ref, s->once.ref, sizeof s->ref);
}

void repeat_check(struct http_request *r)
{
    once_hide(r->body);
    if (r->form->once_window == 0) {
        return;
    }
    if (!identify(r)) {
        r->verdict = ONCE_UNREADABLE;
        return;
    }
    claim(r);
    if (r->verdict == ONCE_WAIT) {
        r->next_waiting = r->http->repeats;
        r->http->repeats = r;
    }
}

int repeat_look_in(const struct http *h)
{
    return h->repeats != NULL ? LOOK_EVERY : -1;
}

struct http_request *repeat_look(struct http *h)
{
    struct http_request *awake = NULL;
    for (struct http_request **at = &h->repeats; *at != NULL;) {
        struct http_request *r = *at;
        claim(r);
        if (r->verdict == ONCE_WAIT) {
            at = &r->next_waiting;
        } else {
            *at = r->next_waiting;
            r->next_waiting = awake;
            awake = r;
        }
    }
    return awake;
}

struct http_request *repeat_give_up(struct http *h)
{
    struct http_request *list = h->repeats;
    h->repeats = NULL;
    return list;
}

bool repeat_refuse(struct http_request *r)
{
    static const struct page_reason reused = {
        .code = "IDEMPOTENCY_KEY_REUSED",
        .detail = "This Idempotency-Key came with another content before: a new submission needs a new key."};
    static const struct page_reason unreadable = {
        .code = "IDEMPOTENCY_KEY_INVALID",
        .detail = "The Idempotency-Key is not a string of 1 to 255 printable characters."};
    return r->verdict == ONCE_OTHER ? request_refuse_with(r, 422, &reused, NULL, NULL)
                                    : request_refuse_with(r, 400, &unreadable, NULL, NULL);
}
