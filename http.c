/* Routes, links and the daemon. libmicrohttpd sees clear text that the gate has let through, by way of a
 * socketpair, and runs on the loop's thread. */

#include "bridge.h"

#include <microhttpd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    POOL_EXTRA =
        8192, /* beside a head, and a copy of its cookies: GATE_PARTS_MAX of them, and the answer's head */
    /* libmicrohttpd takes more than 32 KiB from the kernel and gives it back there; less it would free as it is, with
     * the head, its cookies and what had come of the body. */
    POOL_MIN = 32 * 1024 + 1,
};

static const char name_bytes[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
static const char form_methods[] = "GET, HEAD, POST, OPTIONS";

/* ---- routes ---------------------------------------------------------------------------------- */

static bool answer_get(struct http_request *r)
{
    struct page_style style = request_style(r);
    struct buf *page = request_new_page();
    r->json = false;
    if (page != NULL && r->form != NULL && r->http->conf->demo) {
        screen_offer(r, &style);
        page_demo(page, &style);
    } else if (page != NULL) {
        page_about(page, &style, r->http->conf);
    }
    return request_answer(r, 200, page, NULL, NULL);
}

/* It may be kept for a while, and used by a page of any site: there is nothing in it that is not public. */
static bool answer_script(struct http_request *r)
{
    const char *known = request_header(r, "If-None-Match");
    const struct page_style style = request_style(r);
    char tag[SCRIPT_ETAG_SIZE] = "";
    struct buf *script = request_new_page();
    if (script != NULL) {
        script_write(script, &style);
        script_etag(script, tag);
    }
    request_add(r, "ETag", tag);
    request_add(r, "Cross-Origin-Resource-Policy", "cross-origin");
    r->type = "text/javascript; charset=utf-8";
    r->cache = "public, max-age=3600";
    r->allow = "*";
    if (known != NULL && script != NULL && strstr(known, tag) != NULL) {
        request_free_page(script);
        return request_answer_empty(r, 304, NULL, 0);
    }
    return request_answer(r, 200, script, NULL, NULL);
}

/* Whoever asks may read it: nothing is said that is not public. */
static bool refuse_method(struct http_request *r, const char *allowed)
{
    r->allow = "*";
    return request_refuse_with(r, 405, NULL, "Allow", allowed);
}

static bool begin_script(struct http_request *r, bool get)
{
    return get ? answer_script(r) : refuse_method(r, "GET, HEAD");
}

static bool begin_token(struct http_request *r, const char *method, bool get)
{
    if (strcmp(method, "OPTIONS") == 0) {
        return screen_token_preflight(r);
    }
    return get ? screen_token(r) : refuse_method(r, "GET, HEAD, OPTIONS");
}

static bool has_query(const struct http_request *r)
{
    return MHD_get_connection_values(r->connection, MHD_GET_ARGUMENT_KIND, NULL, NULL) > 0;
}

/* What a form without method="post" becomes: its fields are in the address, and its visitor believes it sent. */
static bool refuse_query(struct http_request *r)
{
    static int64_t complained;
    const struct page_reason why = {.what = words(r->language, W_BY_GET),
                                    .advice = words(r->language, W_BY_GET_ADVICE),
                                    .detail = "For whoever made the form: it needs method=\"post\"."};
    log_seldom(&complained,
               "form %s: a page sends it with method=get, so nothing comes: it needs method=\"post\"",
               r->form->name);
    r->allow = "*";
    return request_refuse_with(r, 405, &why, "Allow", form_methods);
}

static bool begin_form(struct http_request *r, const char *method, bool get)
{
    if (strcmp(method, "POST") == 0) {
        return submit_begin(r);
    }
    if (strcmp(method, "OPTIONS") == 0) {
        return cors_preflight(r);
    }
    if (!get) {
        return refuse_method(r, form_methods);
    }
    return has_query(r) ? refuse_query(r) : answer_get(r);
}

/* What stands behind "/f/NAME", where the config has that form; sets r->form. NULL: nothing is there. */
static const char *find_form(struct http_request *r, const char *url)
{
    static const char *const ours[] = {"", ".js", "/token"};
    if (strncmp(url, "/f/", 3) != 0) {
        return NULL;
    }
    const char *name = url + 3;
    size_t len = strcspn(name, "./");
    const struct form_conf *form = conf_form(r->http->conf, name, len);
    const char *rest =
        strcmp(name + len, "/") == 0 ? "" : name + len; /* makers of static sites add a slash */
    for (size_t i = 0; form != NULL && i < COUNT(ours); i++) {
        if (strcmp(rest, ours[i]) == 0) {
            r->form = form;
            return ours[i];
        }
    }
    return NULL;
}

/* The form whose address this nearly is, but for capitals or what follows its name; or NULL. */
static const struct form_conf *find_meant(const struct conf *c, const char *url)
{
    char name[FORM_NAME_MAX + 1];
    size_t len = strspn(url + 3, name_bytes);
    for (size_t i = 0; i < len && i < sizeof name; i++) {
        name[i] = text_lower(url[3 + i]);
    }
    return len <= FORM_NAME_MAX ? conf_form(c, name, len) : NULL;
}

/* A mistyped address in the action of a page: nothing else tells why no form comes. Of the address, which is the sender's,
 * the log takes no more than could be the name of a form. */
static void tell_of_lost_post(const struct conf *c, const char *url, unsigned status)
{
    static int64_t complained,
        of_strays; /* robots post to all manner of things, which is not to hide a form's page */
    bool below = strncmp(url, "/f/", 3) == 0;
    const struct form_conf *meant = below ? find_meant(c, url) : NULL;
    size_t len = below ? strspn(url + 3, name_bytes) : 0;
    if (meant != NULL) {
        log_seldom(&complained,
                   "refused a post with %u: the address of the form is /f/%s, in these letters and with "
                   "nothing behind",
                   status, meant->name);
    } else if (below) {
        log_seldom(&complained, "refused a post with %u: the config has no [form %.*s]", status,
                   (int)(len < FORM_NAME_MAX ? len : FORM_NAME_MAX), url + 3);
    } else {
        log_seldom(&of_strays,
                   "refused a post with %u: the address of a form is /f/NAME, and it came to another",
                   status);
    }
}

static bool begin_request(struct http_request *r, const char *url, const char *method)
{
    r->json = request_wants_json(r);
    r->language = request_language(r);
    bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    bool root = strcmp(url, "/") == 0;
    const char *what = root ? NULL : find_form(r, url);
    if (what == NULL && strcmp(method, "POST") == 0) {
        tell_of_lost_post(r->http->conf, url, root ? 405 : 404);
    }
    if (root) {
        r->form = r->http->conf->demo ? r->http->conf->forms : NULL;
        return get ? answer_get(r) : refuse_method(r, "GET, HEAD");
    }
    if (what == NULL) {
        r->allow = "*"; /* a script with a mistyped name is to read so */
        return request_refuse(r, 404, NULL);
    }
    r->language = request_language(r); /* the form's config may name it */
    return what[0] == '.'   ? begin_script(r, get)
           : what[0] == '/' ? begin_token(r, method, get)
                            : begin_form(r, method, get);
}

/* A request with a body is judged by its head, so that a refusal need not wait for the body; libmicrohttpd then closes
 * the connection. One without is judged at its end, a call later, and the connection lives on. */
static bool has_body(struct http_request *r)
{
    const char *length = request_header(r, "Content-Length");
    return length != NULL && strcmp(length, "0") != 0;
}

/* A submission on its way to the disk sleeps until it is durable: resume_committed() wakes it. */
static bool end_body(struct http_request *r)
{
    bool ok = submit_end(r);
    if (r->stage == REQUEST_COMMITTING) {
        MHD_suspend_connection(r->connection);
        r->http->waiting++;
    }
    return ok;
}

static bool go_on(struct http_request *r, const char *url, const char *method)
{
    switch (r->stage) {
    case REQUEST_NEW: return begin_request(r, url, method) && (r->stage != REQUEST_BODY || end_body(r));
    case REQUEST_BODY: return end_body(r);
    case REQUEST_COMMITTED: return submit_committed(r);
    default: return true;
    }
}

/* What the gate has not let through as a request is none, whatever libmicrohttpd makes of the bytes. */
static bool announced(struct http_link *l)
{
    static int64_t complained;
    bool asked = l->asked;
    l->asked = false;
    if (!asked) {
        log_seldom(&complained, "closed a connection: libmicrohttpd reads a request where the gate saw none");
    }
    return asked;
}

/* libmicrohttpd calls this for the head, for each piece of the body, at its end, and after a resume. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_len, void **state)
{
    (void)version;
    struct http_request *r = *state;
    bool ok = true;
    if (r == NULL) {
        r = calloc(1, sizeof *r);
        if (r == NULL) {
            return MHD_NO;
        }
        r->http = cls;
        r->connection = connection;
        r->link = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
        *state = r;
        ok = announced(r->link) && (!has_body(r) || begin_request(r, url, method));
    } else if (*upload_len > 0) {
        if (r->stage == REQUEST_BODY) {
            submit_feed(r, upload, *upload_len);
        }
        r->link->taken += *upload_len;
        *upload_len = 0;
    } else {
        ok = go_on(r, url, method);
    }
    return ok ? MHD_YES : MHD_NO;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    (void)cls, (void)connection;
    struct http_request *r = *state;
    if (r == NULL) {
        return;
    }
    *state = NULL;
    submit_drop(r);
    struct http_link *l = r->link;
    l->clean = code == MHD_REQUEST_TERMINATED_COMPLETED_OK && l->taken == l->body;
    if (l->answered != NULL) {
        l->answered(l->arg);
    }
    explicit_bzero(r, sizeof *r);
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
        explicit_bzero(l, sizeof *l);
        free(l);
        *context = NULL;
    }
}

/* ---- the daemon ------------------------------------------------------------------------------ */

/* Memory of a link. */
static size_t pool_size(const struct conf *c)
{
    size_t size = 2 * c->max_head + POOL_EXTRA;
    return size < POOL_MIN ? POOL_MIN : size;
}

struct http *http_start(const struct conf *c, struct spool *s, int wake, int signer, struct oncelog *log,
                        struct limit *limit, const unsigned char *secret)
{
    struct http *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return NULL;
    }
    if (getrandom(&h->bucket_key, sizeof h->bucket_key, 0) != (ssize_t)sizeof h->bucket_key) {
        free(h);
        return NULL;
    }
    h->conf = c;
    h->once = log->once;
    h->limit = limit;
    h->pid = getpid();
    h->commits = commit_start(s, wake, signer, log);
    h->token_secret = secret;
    unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME;
    h->daemon =
        h->commits == NULL
            ? NULL
            : MHD_start_daemon(flags, 0, NULL, NULL, on_request, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
                               h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_CONNECTION_LIMIT,
                               c->max_connections + 1, MHD_OPTION_CONNECTION_MEMORY_LIMIT, pool_size(c),
                               MHD_OPTION_CONNECTION_TIMEOUT, 0u, /* the loop's deadlines are absolute */
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

int http_due_in(const struct http *h)
{
    return repeat_look_in(h);
}

static void resume(struct http_request *r)
{
    r->http->waiting--;
    MHD_resume_connection(r->connection);
}

/* list: linked by next_waiting. */
static void resume_repeats(struct http_request *list)
{
    struct http_request *next;
    for (struct http_request *r = list; r != NULL; r = next) {
        next = r->next_waiting;
        submit_awake(r);
        if (r->stage == REQUEST_COMMITTED) {
            resume(r);
        }
    }
}

static void resume_committed(struct http *h)
{
    struct submission *next;
    for (struct submission *s = commit_collect(h->commits); s != NULL; s = next) {
        next = s->next;
        struct http_request *r = s->owner;
        submit_settled(r); /* libmicrohttpd asks no more for the answer of a visitor who has left */
        r->stage = REQUEST_COMMITTED;
        resume(r);
    }
}

void http_run(struct http *h)
{
    log_hold();
    if (h->waiting > 0) {
        resume_committed(h);
        resume_repeats(repeat_look(h));
    }
    MHD_run(h->daemon);
    log_release(); /* what was accepted is in the log before the visitor reads it */
}

struct http_link *http_add(struct http *h, int fd, void (*answered)(void *), void (*ended)(void *), void *arg)
{
    struct http_link *l = malloc(sizeof *l);
    if (l == NULL) {
        close(fd);
        return NULL;
    }
    *l = (struct http_link){.http = h, .answered = answered, .ended = ended, .arg = arg};
    h->adding = l;
    const struct sockaddr_un nobody = {.sun_family = AF_UNIX}; /* each request says whose it is */
    enum MHD_Result added =
        MHD_add_connection(h->daemon, fd, (const struct sockaddr *)&nobody, sizeof nobody.sun_family);
    if (added != MHD_YES || h->adding != NULL) { /* MHD has closed fd, or never told us of the connection */
        if (h->adding == l) {
            free(l);
        }
        h->adding = NULL;
        return NULL;
    }
    return l;
}

void http_announce(struct http_link *l, const struct visitor *v, uint64_t body)
{
    l->visitor = *v;
    l->body = body;
    l->taken = 0;
    l->asked = true;
    l->clean = false;
}

bool http_clean(const struct http_link *l)
{
    return l->clean && !l->asked;
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
    resume_repeats(repeat_give_up(h)); /* the first may be with a front that hangs */
    while (h->waiting > 0) {           /* MHD cannot be stopped while connections are suspended */
        struct pollfd p = {.fd = commit_fd(h->commits), .events = POLLIN};
        poll(&p, 1, http_due_in(h));
        http_run(h);
        resume_repeats(repeat_give_up(h)); /* of what had come whole and was read only now */
    }
    commit_stop(h->commits);
    MHD_stop_daemon(h->daemon);
    free(h);
}
