/* Which web sites may send a form, and what a script of theirs is told of it (Fetch Standard, "CORS protocol"). */

#include "bridge.h"

#include <string.h>
#include <strings.h>

enum { SITE_MAX = 100 };

/* No Origin, or an opaque one, says nothing (RFC 6454 §7.3): old browsers and pages with "Referrer-Policy:
 * no-referrer" send that, and a real visitor is not to be turned away unless the owner says so. */
bool cors_allow(struct http_request *r)
{
    const char *origin = request_header(r, "Origin");
    if (origin == NULL || strcmp(origin, "null") == 0) {
        return !r->form->refuse_no_origin;
    }
    const char *host = request_header(r, "Host");
    if (host != NULL && strncmp(origin, "https://", 8) == 0 && strcasecmp(origin + 8, host) == 0) {
        r->allow = origin; /* our own pages: a form that is sent again after a 422 */
        return true;
    }
    for (size_t i = 0; i < r->form->origin_count; i++) {
        if (strcasecmp(origin, r->form->origins[i]) == 0) {
            r->allow = origin;
            return true;
        }
    }
    if (r->form->origin_count == 0) {
        r->allow = "*";
        return true;
    }
    return false;
}

/* Is text this origin, or the address of a page there? */
static bool is_of(const char *text, const char *origin)
{
    size_t len = strlen(origin);
    return text != NULL && strncasecmp(text, origin, len) == 0 &&
           (text[len] == '\0' || strchr("/?#", text[len]) != NULL);
}

const char *cors_site(const struct http_request *r)
{
    const char *const says[] = {request_header(r, "Origin"), request_header(r, "Referer")};
    for (size_t i = 0; i < COUNT(says) * r->form->origin_count; i++) {
        const char *origin = r->form->origins[i % r->form->origin_count];
        if (is_of(says[i / r->form->origin_count], origin)) {
            return origin;
        }
    }
    return r->form->origin_count > 0 ? r->form->origins[0] : NULL;
}

/* An origin as a browser writes it, and nothing else that could stand in the log. */
static bool is_plain_origin(const char *text)
{
    static const char usual[] = "abcdefghijklmnopqrstuvwxyz0123456789.-:[]";
    size_t scheme = strncmp(text, "https://", 8) == 0 ? 8 : strncmp(text, "http://", 7) == 0 ? 7 : 0;
    size_t len = strlen(text);
    return scheme > 0 && len <= SITE_MAX && scheme + strspn(text + scheme, usual) == len;
}

/* The owner who has forgotten "www." has no other sign of why no order comes. */
bool cors_refuse(struct http_request *r)
{
    static int64_t said_none, said_other;
    const char *origin = request_header(r, "Origin");
    if (origin == NULL || strcmp(origin, "null") == 0) {
        log_seldom(&said_none,
                   "form %s: refused a request that does not say which site it is from: see missing_origin",
                   r->form->name);
    } else {
        log_seldom(&said_other, "form %s: refused a request from %s, which is not among its origins",
                   r->form->name, is_plain_origin(origin) ? origin : "another site");
    }
    return request_refuse(r, 403, NULL);
}

bool cors_preflight(struct http_request *r)
{
    if (!cors_allow(r)) {
        return cors_refuse(r);
    }
    static const struct header more[] = {
        {"Access-Control-Allow-Methods", "POST"},
        {"Access-Control-Allow-Headers",
         "Accept, Content-Type, Formspree-Client, Formspree-Session-Data, Idempotency-Key, X-Requested-With"},
        {"Access-Control-Max-Age", "86400"},
    };
    return request_answer_empty(r, 204, more, COUNT(more));
}
