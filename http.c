/* Routes and answers; the only user of libmicrohttpd, which sees clear text that the gate has let through, by
 * way of a socketpair, and runs on the loop's thread. */

#include "bridge.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum {
    ERRORS_MAX = 64, /* things to mend that one answer lists */
    POOL_EXTRA =
        8192, /* beside a head, and a copy of its cookies: GATE_PARTS_MAX of them, and the answer's head */
    RETRY_AFTER = 30, /* seconds, with a 503 */
};

struct http {
    const struct conf *conf;
    struct MHD_Daemon *daemon;
    struct commits *commits;
    struct http_link *adding; /* the one that http_add() is at work on */
    size_t memory;            /* bytes of bodies, all requests together */
    size_t waiting;           /* submissions with the commit thread */
    bool draining;
};

struct http_link {
    struct http *http;
    struct visitor visitor;
    void (*answered)(void *arg);
    void (*ended)(void *arg);
    void *arg;
};

enum stage { STAGE_NEW, STAGE_BODY, STAGE_COMMITTING, STAGE_COMMITTED, STAGE_ANSWERED };

struct request {
    struct http *http;
    struct http_link *link;
    struct MHD_Connection *connection;
    enum stage stage;
    const struct form_conf *form;
    bool json;         /* the client wants JSON */
    const char *allow; /* Access-Control-Allow-Origin, or NULL */
    struct form *body;
    size_t counted; /* of http->memory */
    bool starved;   /* the body found no memory */
    struct submission submission;
};

/* ---- answers --------------------------------------------------------------------------------- */

struct header {
    const char *name, *value; /* value NULL: left out */
};

static const struct header headers[] = {
    {"Strict-Transport-Security", "max-age=31536000"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cache-Control", "no-store"},
    {"Vary", "Origin, Accept"},
};

static void free_page(void *arg)
{
    struct buf *page = arg;
    buf_free(page); /* wipes: a 422 page repeats what was typed */
    free(page);
}

static struct buf *new_page(void)
{
    struct buf *page = malloc(sizeof *page);
    if (page != NULL) {
        buf_init(page, PAGE_MAX);
    }
    return page;
}

static bool add_headers(struct MHD_Response *response, const struct header *h, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (h[i].value != NULL && MHD_add_response_header(response, h[i].name, h[i].value) != MHD_YES) {
            return false;
        }
    }
    return true;
}

/* Adds what every answer has, and these headers, and queues it. Takes response, which may be NULL: no memory.
 */
static enum MHD_Result queue(struct request *r, unsigned status, struct MHD_Response *response,
                             const struct header *more, size_t count)
{
    r->stage = STAGE_ANSWERED;
    stats_add(STAT_REQUESTS, 1);
    if (status >= 400 && status < 500) {
        stats_add(STAT_REFUSED, 1);
    }
    if (response == NULL) {
        return MHD_NO;
    }
    const struct header ours[] = {
        {"Content-Security-Policy", page_csp()},
        {"Access-Control-Allow-Origin", r->allow},
        {"Connection", r->http->draining ? "close" : NULL},
    };
    bool ok = add_headers(response, headers, COUNT(headers)) && add_headers(response, ours, COUNT(ours)) &&
              add_headers(response, more, count);
    enum MHD_Result result = ok ? MHD_queue_response(r->connection, status, response) : MHD_NO;
    MHD_destroy_response(response);
    return result;
}

/* Takes page, which may be NULL or failed: then the connection ends, which is a poor but honest answer. */
static enum MHD_Result answer(struct request *r, unsigned status, const char *type, struct buf *page,
                              const char *name, const char *value)
{
    struct MHD_Response *response = NULL;
    if (page != NULL && buf_ok(page)) {
        response =
            MHD_create_response_from_buffer_with_free_callback_cls(page->len, page->data, free_page, page);
    }
    if (page != NULL && response == NULL) {
        free_page(page);
    }
    const struct header more[] = {{"Content-Type", type}, {name, value}};
    return queue(r, status, response, more, COUNT(more));
}

static enum MHD_Result answer_page(struct request *r, unsigned status, struct buf *page)
{
    return answer(r, status, r->json ? "application/json" : "text/html; charset=utf-8", page, NULL, NULL);
}

/* A refusal as page or JSON. what: NULL for the usual words of this status. */
static enum MHD_Result refuse_with(struct request *r, unsigned status, const char *what, const char *name,
                                   const char *value)
{
    struct buf *page = new_page();
    if (page != NULL && r->json) {
        page_json_error(page, what != NULL ? what : words_refusal(status)->what, NULL, 0);
    } else if (page != NULL) {
        page_error(page, status, NULL, what);
    }
    return answer(r, status, r->json ? "application/json" : "text/html; charset=utf-8", page, name, value);
}

static enum MHD_Result refuse(struct request *r, unsigned status, const char *what)
{
    return refuse_with(r, status, what, NULL, NULL);
}

static enum MHD_Result refuse_for_now(struct request *r, const char *what)
{
    char seconds[12];
    text_fmt(seconds, sizeof seconds, "%d", RETRY_AFTER);
    stats_add(STAT_COMMIT_FAILED, 1);
    return refuse_with(r, 503, what, "Retry-After", seconds);
}

void http_refusal(struct buf *out, unsigned status, const char *why)
{
    struct buf page;
    buf_init(&page, PAGE_MAX);
    page_error(&page, status, NULL, why);
    buf_fmt(out, "HTTP/1.1 %u %s\r\nConnection: close\r\nContent-Type: text/html; charset=utf-8\r\n", status,
            MHD_get_reason_phrase_for(status));
    for (size_t i = 0; i < COUNT(headers); i++) {
        buf_fmt(out, "%s: %s\r\n", headers[i].name, headers[i].value);
    }
    if (status == 503) {
        buf_fmt(out, "Retry-After: %d\r\n", RETRY_AFTER);
    }
    buf_fmt(out, "Content-Security-Policy: %s\r\nContent-Length: %zu\r\n\r\n", page_csp(), page.len);
    buf_put(out, page.data, page.len);
    if (!buf_ok(&page)) {
        out->failed = true;
    }
    buf_free(&page);
    stats_add(STAT_REFUSED, 1);
}

/* ---- what a request may do ------------------------------------------------------------------- */

static const char *header(const struct request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

/* A script says that it wants JSON; a browser's form post asks for text/html first. */
static bool wants_json(const struct request *r)
{
    const char *accept = header(r, "Accept");
    if (accept == NULL) {
        return false;
    }
    const char *json = strcasestr(accept, "application/json");
    const char *html = strcasestr(accept, "text/html");
    return json != NULL && (html == NULL || json < html);
}

/* May a page of this origin post here? No Origin, or an opaque one, says nothing (RFC 6454 §7.3): privacy
 * settings and old browsers send that, and a real visitor is not to be turned away. */
static bool origin_allowed(struct request *r)
{
    const char *origin = header(r, "Origin");
    if (origin == NULL || strcmp(origin, "null") == 0) {
        return true;
    }
    const char *host = header(r, "Host");
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

static enum MHD_Result answer_preflight(struct request *r)
{
    if (!origin_allowed(r)) {
        return refuse(r, 403, "This form does not take posts from the page you came from.");
    }
    static const struct header more[] = {
        {"Access-Control-Allow-Methods", "POST"},
        {"Access-Control-Allow-Headers", "Accept, Content-Type"},
        {"Access-Control-Max-Age", "86400"},
    };
    struct MHD_Response *response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    return queue(r, 204, response, more, COUNT(more));
}

static enum MHD_Result begin_post(struct request *r)
{
    if (!origin_allowed(r)) {
        return refuse(r, 403, "This form does not take posts from the page you came from.");
    }
    const char *type = header(r, "Content-Type");
    const char *length = header(r, "Content-Length");
    uint64_t bytes;
    struct buf boundary, charset;
    enum form_kind kind;
    buf_init(&boundary, 128);
    buf_init(&charset, 128);
    enum MHD_Result result = MHD_YES;
    if (length == NULL || !text_number(length, strlen(length), &bytes)) {
        result = refuse(r, 411, NULL);
    } else if (bytes > r->form->max_body) {
        result = refuse(r, 413, NULL);
    } else if (type == NULL || !form_content_type(type, &kind, &boundary, &charset)) {
        result = refuse(r, 415, NULL);
    } else {
        const struct form_limits limits = {
            .body = (size_t)bytes, .fields = r->http->conf->max_fields, .files = r->http->conf->max_files};
        r->body = form_new(kind, &boundary, &charset, &limits);
        r->stage = STAGE_BODY;
        if (r->body == NULL) {
            r->starved = true;
        }
    }
    buf_free(&boundary);
    buf_free(&charset);
    return result;
}

static void drop_body(struct request *r)
{
    form_free(r->body);
    r->body = NULL;
    r->http->memory -= r->counted;
    r->counted = 0;
}

/* What a form holds counts as it grows, not as it announces itself: an announcement costs the sender nothing.
 */
static void read_body(struct request *r, const void *bytes, size_t len)
{
    if (r->body == NULL || form_error(r->body) != FORM_OK) {
        return; /* the rest is read and forgotten, so that the answer can be read */
    }
    form_feed(r->body, bytes, len);
    size_t holds = form_memory(r->body);
    r->http->memory += holds - r->counted;
    r->counted = holds;
    if (r->http->memory > r->http->conf->max_memory) {
        drop_body(r);
        r->starved = true;
        log_warn("a submission found no memory: max_memory is reached by those being read");
    }
}

/* ---- a complete body ------------------------------------------------------------------------- */

static bool is_blank(const struct buf *b)
{
    for (size_t i = 0; i < b->len; i++) {
        if (strchr(" \t\r\n", b->data[i]) == NULL || b->data[i] == '\0') {
            return false;
        }
    }
    return true;
}

static bool has_value(struct form *f, const char *name)
{
    for (size_t i = 0; i < form_count(f); i++) {
        struct field *field = form_field(f, i);
        if (buf_equal(&field->name, name) && !is_blank(&field->value)) {
            return true;
        }
    }
    return false;
}

static size_t find_errors(const struct request *r, struct page_error *errors)
{
    size_t n = 0;
    for (size_t i = 0; i < r->form->required_count && n < ERRORS_MAX; i++) {
        if (!has_value(r->body, r->form->required[i])) {
            errors[n++] = (struct page_error){.field = r->form->required[i],
                                              .code = "REQUIRED_FIELD_MISSING",
                                              .message = "Please fill this in."};
        }
    }
    return n;
}

static enum MHD_Result refuse_fields(struct request *r, const struct page_error *errors, size_t count)
{
    struct buf *page = new_page();
    if (page != NULL && r->json) {
        page_json_error(page, words(W_INVALID), errors, count);
    } else if (page != NULL) {
        page_invalid(page, r->form, r->body, errors, count);
    }
    return answer_page(r, 422, page);
}

static enum MHD_Result refuse_body(struct request *r)
{
    switch (form_error(r->body)) {
    case FORM_TOO_MANY:
    case FORM_TOO_LARGE: return refuse(r, 413, form_why(r->body));
    case FORM_NO_MEMORY: return refuse_for_now(r, NULL);
    default: return refuse(r, 400, form_why(r->body));
    }
}

/* Hands the submission to the commit thread; the connection sleeps until it is durable. */
static enum MHD_Result commit(struct request *r)
{
    struct http *h = r->http;
    struct submission *s = &r->submission;
    unsigned char random[8];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random ||
        getrandom(s->message.seed, sizeof s->message.seed, 0) != (ssize_t)sizeof s->message.seed) {
        return refuse_for_now(r, NULL);
    }
    spool_ref(s->ref, random);
    s->owner = r;
    s->message.hostname = h->conf->hostname;
    s->message.form = r->form->name;
    s->message.ref = s->ref;
    s->message.time = time(NULL);
    s->message.from = r->form->from;
    s->message.to = r->form->to;
    s->message.to_count = r->form->to_count;
    s->message.subject = r->form->subject;
    s->message.reply_to = r->form->reply_to;
    s->message.peer = r->link->visitor.text;
    s->message.protocol = "HTTPS";
    s->message.tls = r->link->visitor.tls;
    s->message.fields = r->body;
    s->seal = r->form->seal;
    r->stage = STAGE_COMMITTING;
    MHD_suspend_connection(r->connection);
    h->waiting++;
    commit_submit(h->commits, s);
    return MHD_YES;
}

static enum MHD_Result end_body(struct request *r)
{
    if (r->starved) {
        return refuse_for_now(r, NULL);
    }
    if (!form_end(r->body)) {
        return refuse_body(r);
    }
    struct page_error errors[ERRORS_MAX];
    size_t count = find_errors(r, errors);
    return count > 0 ? refuse_fields(r, errors, count) : commit(r);
}

static enum MHD_Result answer_committed(struct request *r)
{
    const struct submission *s = &r->submission;
    if (s->draft.error != 0) {
        log_error("form %s: a submission could not be stored and was answered 503: %s", r->form->name,
                  strerror(s->draft.error));
        stats_set(STAT_COMMIT_FAILED_AT, time(NULL));
        return refuse_for_now(r, NULL);
    }
    stats_add(STAT_COMMITTED, 1);
    stats_set(STAT_COMMIT_FAILED_AT, 0);
    log_info("accepted %s (form %s, %llu bytes)", s->ref, r->form->name, (unsigned long long)s->draft.size);
    struct buf *page = new_page();
    if (page == NULL) {
        return MHD_NO;
    }
    if (r->json) {
        page_json_ok(page, s->ref, r->form->success);
        return answer_page(r, 200, page);
    }
    page_receipt(page, r->form, s->ref, s->message.time);
    if (r->form->success == NULL) {
        return answer_page(r, 200, page);
    }
    return answer(r, 303, "text/html; charset=utf-8", page, "Location", r->form->success);
}

/* ---- routes ---------------------------------------------------------------------------------- */

static enum MHD_Result answer_get(struct request *r)
{
    struct buf *page = new_page();
    r->json = false;
    if (page != NULL && r->form != NULL && r->http->conf->demo) {
        page_demo(page, r->form);
    } else if (page != NULL) {
        page_about(page, r->http->conf, r->form);
    }
    return answer_page(r, 200, page);
}

static enum MHD_Result begin_request(struct request *r, const char *url, const char *method)
{
    r->json = wants_json(r);
    bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    if (strcmp(url, "/") == 0) {
        r->form = r->http->conf->demo ? r->http->conf->forms : NULL;
        return get ? answer_get(r) : refuse_with(r, 405, NULL, "Allow", "GET, HEAD");
    }
    if (strncmp(url, "/f/", 3) == 0) {
        r->form = conf_form(r->http->conf, url + 3, strlen(url + 3));
    }
    if (r->form == NULL) {
        return refuse(r, 404, NULL);
    }
    if (strcmp(method, "POST") == 0) {
        return begin_post(r);
    }
    if (strcmp(method, "OPTIONS") == 0) {
        return answer_preflight(r);
    }
    return get ? answer_get(r) : refuse_with(r, 405, NULL, "Allow", "GET, HEAD, POST, OPTIONS");
}

/* A request with a body is judged by its head, so that a refusal need not wait for the body; libmicrohttpd then closes
 * the connection. One without is judged at its end, a call later, and the connection lives on. */
static bool has_body(struct request *r)
{
    const char *length = header(r, "Content-Length");
    return length != NULL && strcmp(length, "0") != 0;
}

/* libmicrohttpd calls this for the head, for each piece of the body, at its end, and after a resume. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_len, void **state)
{
    (void)version;
    struct request *r = *state;
    if (r == NULL) {
        r = calloc(1, sizeof *r);
        if (r == NULL) {
            return MHD_NO;
        }
        r->http = cls;
        r->connection = connection;
        r->link = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
        *state = r;
        return has_body(r) ? begin_request(r, url, method) : MHD_YES;
    }
    if (r->stage == STAGE_BODY && *upload_len > 0) {
        read_body(r, upload, *upload_len);
        *upload_len = 0;
        return MHD_YES;
    }
    if (r->stage == STAGE_NEW) {
        enum MHD_Result result = begin_request(r, url, method);
        return r->stage == STAGE_BODY ? end_body(r) : result;
    }
    switch (r->stage) {
    case STAGE_BODY: return end_body(r);
    case STAGE_COMMITTED: return answer_committed(r);
    default: *upload_len = 0; return MHD_YES;
    }
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    (void)cls, (void)connection, (void)code;
    struct request *r = *state;
    if (r == NULL) {
        return;
    }
    *state = NULL;
    drop_body(r);
    if (r->link != NULL && r->link->answered != NULL) {
        r->link->answered(r->link->arg);
    }
    free(r);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    (void)connection;
    struct http *h = cls;
    struct http_link *l = *context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = h->adding;
        h->adding = NULL;
    } else if (l != NULL) {
        if (l->ended != NULL) {
            l->ended(l->arg);
        }
        free(l);
        *context = NULL;
    }
}

/* ---- the daemon ------------------------------------------------------------------------------ */

struct http *http_start(const struct conf *c, struct spool *s, int wake, int signer)
{
    struct http *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return NULL;
    }
    h->conf = c;
    h->commits = commit_start(s, wake, signer);
    unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME;
    h->daemon =
        h->commits == NULL
            ? NULL
            : MHD_start_daemon(flags, 0, NULL, NULL, on_request, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
                               h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_CONNECTION_LIMIT,
                               c->max_connections + 1, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                               2 * c->max_head + POOL_EXTRA, MHD_OPTION_CONNECTION_TIMEOUT,
                               0u, /* the loop's deadlines are absolute */
                               MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    if (h->daemon == NULL) {
        if (h->commits != NULL) {
            commit_stop(h->commits);
        }
        free(h);
        return NULL;
    }
    return h;
}

int http_fd(const struct http *h)
{
    return MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

int http_commit_fd(const struct http *h)
{
    return commit_fd(h->commits);
}

bool http_due(struct http *h)
{
    MHD_UNSIGNED_LONG_LONG ms;
    return MHD_get_timeout(h->daemon, &ms) == MHD_YES && ms == 0;
}

static void resume_committed(struct http *h)
{
    struct submission *next;
    for (struct submission *s = commit_collect(h->commits); s != NULL; s = next) {
        next = s->next;
        struct request *r = s->owner;
        r->stage = STAGE_COMMITTED;
        h->waiting--;
        MHD_resume_connection(r->connection);
    }
}

void http_run(struct http *h)
{
    if (h->waiting > 0) {
        resume_committed(h);
    }
    MHD_run(h->daemon);
}

struct http_link *http_add(struct http *h, int fd, const struct visitor *v, void (*answered)(void *),
                           void (*ended)(void *), void *arg)
{
    struct http_link *l = malloc(sizeof *l);
    if (l == NULL) {
        close(fd);
        return NULL;
    }
    *l = (struct http_link){.http = h, .visitor = *v, .answered = answered, .ended = ended, .arg = arg};
    h->adding = l;
    socklen_t len = v->addr.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    enum MHD_Result added = MHD_add_connection(h->daemon, fd, (const struct sockaddr *)&v->addr, len);
    if (added != MHD_YES || h->adding != NULL) { /* MHD has closed fd, or never told us of the connection */
        if (h->adding == l) {
            free(l);
        }
        h->adding = NULL;
        return NULL;
    }
    return l;
}

void http_forget(struct http_link *l)
{
    l->answered = NULL;
    l->ended = NULL;
}

void http_drain(struct http *h)
{
    h->draining = true;
}

void http_stop(struct http *h)
{
    while (h->waiting > 0) { /* MHD cannot be stopped while connections are suspended */
        struct pollfd p = {.fd = commit_fd(h->commits), .events = POLLIN};
        poll(&p, 1, -1);
        http_run(h);
    }
    commit_stop(h->commits);
    MHD_stop_daemon(h->daemon);
    free(h);
}
