/* Who gives way when the bodies that are being read reach max_memory: of the visitor who holds most, the largest. A few
 * large posts that are held open must not shut out everybody else's. */

#include "bridge.h"

static unsigned bucket(const struct http_request *r)
{
    return network_bucket(r->http->bucket_key, network_id(&r->link->visitor.addr));
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
    size_t held[NETWORK_BUCKETS] = {0}, most = 0;
    for (const struct http_request *r = h->reading; r != NULL; r = r->next_reading) {
        held[bucket(r)] += r->counted;
    }
    struct http_request *worst = NULL;
    for (struct http_request *r = h->reading; r != NULL; r = r->next_reading) {
        size_t all = held[bucket(r)];
        bool more = worst == NULL || all > most || (all == most && r->counted > worst->counted);
        if (r->stage == REQUEST_BODY && more) { /* what the commit thread works on stays */
            worst = r;
            most = all;
        }
    }
    return worst;
}
