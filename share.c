/* Who gives way when the bodies that are being read reach max_memory: of the visitor who holds most, the largest. A few
 * large posts that are held open must not shut out everybody else's. */

#include "bridge.h"

enum { SHARE_BITS = 8 }; /* visitors who fall together count as one */

/* By a secret odd number: nobody can choose addresses that fall together with another's. */
static size_t share_of(const struct http_request *r)
{
    uint64_t id = peers_id(&r->link->visitor.addr);
    return (size_t)((id ^ id >> 29) * r->http->share_key >> (64 - SHARE_BITS));
}

void share_begin(struct http_request *r)
{
    struct http *h = r->http;
    r->next_reading = h->reading;
    r->reading_at = &h->reading;
    if (h->reading != NULL) {
        h->reading->reading_at = &r->next_reading;
    }
    h->reading = r;
}

void share_holds(struct http_request *r, size_t bytes)
{
    r->http->memory += bytes - r->counted;
    r->counted = bytes;
}

void share_end(struct http_request *r)
{
    share_holds(r, 0);
    if (r->reading_at == NULL) {
        return;
    }
    *r->reading_at = r->next_reading;
    if (r->next_reading != NULL) {
        r->next_reading->reading_at = r->reading_at;
    }
    r->reading_at = NULL;
}

struct http_request *share_largest(const struct http *h)
{
    size_t held[1 << SHARE_BITS] = {0}, most = 0;
    for (const struct http_request *r = h->reading; r != NULL; r = r->next_reading) {
        held[share_of(r)] += r->counted;
    }
    struct http_request *worst = NULL;
    for (struct http_request *r = h->reading; r != NULL; r = r->next_reading) {
        size_t all = held[share_of(r)];
        bool more = worst == NULL || all > most || (all == most && r->counted > worst->counted);
        if (r->stage == REQUEST_BODY && more) { /* what the commit thread works on stays */
            worst = r;
            most = all;
        }
    }
    return worst;
}
