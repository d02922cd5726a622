/* The life of one submission: its head is judged, its body read, checked and handed to the commit thread, and the
 * visitor told what became of it. */

#include "bridge.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

/* ---- the head and the body ------------------------------------------------------------------- */

/* The owner has no other sign of a visitor who could not send; what robots send all day is one line now and then. */
static bool turn_away(struct http_request *r, unsigned status, const struct page_reason *why,
                      const char *said)
{
    static int64_t complained;
    log_seldom(&complained, "form %s: refused a post with %u: %s", r->form->name, status, said);
    return request_refuse_with(r, status, why, NULL, NULL);
}

static bool refuse_too_often(struct http_request *r, unsigned wait, const char *what)
{
    char seconds[12];
    const struct page_reason why = {.what = what};
    text_fmt(seconds, sizeof seconds, "%u", wait);
    static int64_t complained;
    stats_add(STAT_LIMITED, 1);
    log_seldom(&complained, "form %s: refused a post with 429: %s", r->form->name,
               what == NULL ? "rate is reached by its address" : "form_rate is reached");
    return request_refuse_with(r, 429, &why, "Retry-After", seconds);
}

/* Before the body, so that who comes too often costs little. One visitor's flood does not count for the form. Programs
 * on this machine are no visitors: formbridge test, a watchdog, or a proxy that does not say whom it speaks for. */
static unsigned over_limit(const struct http_request *r, const char **what)
{
    const struct form_conf *f = r->form;
    const struct sockaddr_storage *addr = &r->link->visitor.addr;
    int64_t now = clock_ns() / 1000;
    unsigned wait = network_is_internet(addr) && !network_is_loopback(addr)
                        ? limit_take(r->http->limit, &f->rate, f->name, network_id(addr), now)
                        : 0;
    *what = NULL;
    if (wait == 0) {
        wait = limit_take(r->http->limit, &f->form_rate, f->name, LIMIT_ALL, now);
        *what = words(r->language, W_FORM_BUSY);
    }
    return wait;
}

/* What a page that once mailed to an address leaves behind, and what fetch() sends for a string, is the same. */
static const char *why_type(const char *type)
{
    return type != NULL && strncasecmp(type, "text/plain", 10) == 0
               ? "it is text/plain: take enctype out of the form, or have the script name application/json"
               : "its Content-Type is none that forms have: multipart/form-data, application/json or "
                 "application/x-www-form-urlencoded";
}

bool submit_begin(struct http_request *r)
{
    if (!cors_allow(r)) {
        return cors_refuse(r);
    }
    const char *what;
    unsigned wait = over_limit(r, &what);
    if (wait > 0) {
        return refuse_too_often(r, wait, what);
    }
    const char *type = request_header(r, "Content-Type");
    const char *length = request_header(r, "Content-Length");
    const char *coding = request_header(r, "Content-Encoding");
    uint64_t bytes;
    struct buf boundary, charset;
    enum form_kind kind;
    buf_init(&boundary, 128);
    buf_init(&charset, 128);
    bool result = true;
    if (length == NULL || !text_number(length, strlen(length), &bytes)) {
        result = turn_away(r, 411, NULL, "it has no Content-Length");
    } else if (bytes > r->form->max_body) {
        result = turn_away(r, 413, NULL, "it is larger than max_body");
    } else if (coding != NULL && strcasecmp(coding, "identity") != 0) { /* RFC 9110 §15.5.16 */
        result = turn_away(r, 415, NULL, "its body is compressed");
    } else if (type == NULL || !form_content_type(type, &kind, &boundary, &charset)) {
        const struct page_reason why = {.detail = why_type(type)};
        result = turn_away(r, 415, &why, why.detail);
    } else {
        const struct form_limits limits = {
            .body = (size_t)bytes, .fields = r->http->conf->max_fields, .files = r->http->conf->max_files};
        r->body = form_new(kind, &boundary, &charset, &limits);
        r->stage = REQUEST_BODY;
        r->starved = r->body == NULL;
        share_begin(r);
    }
    buf_free(&boundary);
    buf_free(&charset);
    return result;
}

void submit_drop(struct http_request *r)
{
    control_free(&r->control);
    buf_free(&r->next);
    form_free(r->body);
    r->body = NULL;
    share_end(r);
}

/* What a form holds counts as it grows, not as it announces itself: an announcement costs the sender nothing. */
void submit_feed(struct http_request *r, const void *bytes, size_t len)
{
    if (r->body == NULL || form_error(r->body) != FORM_OK) {
        return; /* the rest is read and forgotten, so that the answer can be read */
    }
    form_feed(r->body, bytes, len);
    share_holds(r, form_memory(r->body));
    while (r->http->memory > r->http->conf->max_memory) {
        static int64_t complained;
        struct http_request *largest = share_largest(r->http); /* r, if nobody else */
        submit_drop(largest);
        largest->starved = true;
        log_seldom(&complained, "a submission found no memory: max_memory is reached by those being read");
    }
}

/* ---- a complete body ------------------------------------------------------------------------- */

/* What the page itself wants filled in, and the config does not speak of. */
static void add_missing(const struct http_request *r, struct rules_report *report)
{
    for (size_t i = 0; i < r->control.required_count; i++) {
        const char *field = control_required(&r->control, i);
        bool said = rules_filled(r->body, field);
        for (size_t k = 0; k < report->count && !said; k++) {
            said = strcmp(report->errors[k].field, field) == 0;
        }
        if (!said) {
            rules_add(report, field, "REQUIRED_FIELD_MISSING", words(r->language, W_FILL_IN), NULL);
        }
    }
}

/* What the page names is a field like any other: nothing of it is for the log. */
static void tell_of_page(const struct form_conf *f, const char *why)
{
    const char *among = f->redirect_count > 0 ? "it is not among redirects" : "its site is not among origins";
    log_info("form %s: a page that the form named as the next one is not allowed: %s", f->name,
             why != NULL ? why : among);
}

/* Where the form itself wants the visitor to go, in r->next; false: nowhere, or nowhere that the config allows. That
 * is no mistake of the visitor's, whose mail is taken all the same. */
static bool find_next(struct http_request *r, struct span target)
{
    const struct form_conf *f = r->form;
    char *const *allowed = f->redirect_count > 0 ? f->redirects : f->origins;
    size_t count = f->redirect_count > 0 ? f->redirect_count : f->origin_count;
    if (target.len == 0) {
        return false;
    }
    buf_init(&r->next, REDIRECT_URL_MAX);
    const char *why = redirect_read(target.at, target.len, cors_site(r), &r->next);
    if (why == NULL && redirect_allowed(buf_text(&r->next), allowed, count)) {
        return true;
    }
    tell_of_page(f, why);
    buf_free(&r->next);
    return false;
}

static bool refuse_fields(struct http_request *r, const struct rules_error *errors, size_t count)
{
    struct page_style style = request_style(r);
    struct buf *page = request_new_page();
    bool away = !r->json && !request_is_script(r) && find_next(r, r->control.missing);
    screen_offer(r, &style);
    if (page != NULL && r->json) {
        page_json_error(page, words(r->language, W_INVALID), errors, count);
    } else if (page != NULL) {
        page_invalid(page, &style, r->body, errors, count);
        r->csp = page_template_csp(&style, TEMPLATE_INVALID);
    }
    return request_answer(r, away ? 303 : 422, page, "Location", away ? buf_text(&r->next) : NULL);
}

static bool refuse_body(struct http_request *r)
{
    struct page_reason why = {.detail = form_why(r->body)};
    switch (form_error(r->body)) {
    case FORM_NO_MEMORY: return request_refuse_for_now(r);
    case FORM_TOO_MANY: why.code = "TOO_MANY_FIELDS"; break;
    case FORM_TOO_MANY_FILES: why.code = "TOO_MANY_FILES"; break;
    case FORM_TOO_LARGE: break;
    default: return turn_away(r, 400, &why, why.detail);
    }
    return turn_away(r, 413, &why, why.detail);
}

/* An address that the config names stands; a template of it gives way to what the form calls the address for
 * answers, but not to a mere field "email". */
static const char *reply_to(const struct http_request *r)
{
    const char *own = r->form->reply_to;
    if (r->control.reply_to != NULL && (own == NULL || strchr(own, '{') != NULL)) {
        return r->control.reply_to;
    }
    return own != NULL ? own : r->control.email;
}

static bool prepare(struct http_request *r)
{
    struct http *h = r->http;
    struct submission *s = &r->submission;
    unsigned char random[8 + sizeof s->message.seed];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return false;
    }
    spool_ref(s->ref, random);
    memcpy(s->message.seed, random + 8, sizeof s->message.seed);
    s->owner = r;
    s->message.hostname = h->conf->hostname;
    s->message.form = r->form->name;
    s->message.ref = s->ref;
    s->message.time = time(NULL);
    s->message.from = r->form->from;
    s->message.from_name = r->form->from_name;
    s->message.to = r->form->to;
    s->message.to_count = r->form->to_count;
    s->message.subject = r->form->subject;
    if (r->control.subject != NULL) {
        s->message.subject = r->control.subject;
    }
    s->message.reply_to = reply_to(r);
    s->message.body = r->form->attach | (r->form->html ? BODY_HTML : 0U);
    s->message.peer = r->link->visitor.text;
    s->message.protocol = r->link->visitor.protocol;
    s->message.tls = r->link->visitor.tls;
    s->message.fields = r->body;
    mime_mark_reply(&s->message);
    s->seal = r->form->seal;
    return true;
}

/* Hands the submission to the commit thread, unless it was here before; http.c wakes the connection when it is durable,
 * or the one that it repeats. */
static bool store(struct http_request *r)
{
    if (!prepare(r)) {
        return request_refuse_for_now(r);
    }
    repeat_check(r);
    switch (r->verdict) {
    case ONCE_FIRST: commit_submit(r->http->commits, &r->submission); break;
    case ONCE_WAIT: break;
    default: return submit_committed(r);
    }
    r->stage = REQUEST_COMMITTING;
    return true;
}

void submit_awake(struct http_request *r)
{
    if (r->verdict == ONCE_FIRST) {
        commit_submit(r->http->commits, &r->submission);
    } else {
        r->stage = REQUEST_COMMITTED;
    }
}

bool submit_end(struct http_request *r)
{
    if (r->starved) {
        return request_refuse_for_now(r);
    }
    if (!form_end(r->body)) {
        return refuse_body(r);
    }
    control_read(r->body, r->form->dialect, r->form->controls, &r->control);
    enum language asked = words_language(r->control.language.at, r->control.language.len);
    r->language = asked != LANGUAGE_AUTO ? asked : r->language;
    spam_hide(r->form, r->body);
    struct rules_report report;
    rules_check(r->form, r->body, r->language, time(NULL), &report);
    add_missing(r, &report);
    if (report.count > 0) {
        return refuse_fields(r, report.errors, report.count);
    }
    if (rules_blank(r->body, r->control.spent)) {
        const struct page_reason why = {
            .code = "EMPTY", .detail = "no field came with a value; a field is sent only if it has a name"};
        return turn_away(r, 422, &why, "nothing is filled in");
    }
    bool answered;
    if (!screen_passes(r, &answered)) {
        return answered;
    }
    if (r->control.subject != NULL) {
        r->control.spent->hidden = true; /* before the fields change places */
    }
    return rules_dress(r->form, r->body) ? store(r) : request_refuse_for_now(r);
}

void submit_settled(const struct http_request *r)
{
    const struct submission *s = &r->submission;
    if (s->draft.error == ENOKEY) {
        return; /* for want of a certificate, and said: other forms are well, and the spool is */
    }
    if (s->draft.error != 0) {
        log_error("form %s: a submission could not be stored and is answered 503: %s", r->form->name,
                  strerror(s->draft.error));
        stats_set(STAT_COMMIT_FAILED_AT, time(NULL));
        return;
    }
    stats_add(STAT_COMMITTED, 1);
    stats_form_add(r->form->counters, FORM_COMMITTED);
    stats_set(STAT_COMMIT_FAILED_AT, 0);
    log_info("accepted %s (form %s, %llu bytes)", s->ref, r->form->name, (unsigned long long)s->draft.size);
    screen_stored(r);
}

bool submit_committed(struct http_request *r)
{
    const struct submission *s = &r->submission;
    if (r->verdict == ONCE_OTHER || r->verdict == ONCE_UNREADABLE) {
        return repeat_refuse(r);
    }
    if (r->verdict == ONCE_WAIT) { /* given up: what became of the first is not known */
        return request_refuse_for_now(r);
    }
    if (s->draft.error != 0) {
        return request_refuse_for_now(r);
    }
    if (r->verdict == ONCE_REPEAT) {
        stats_add(STAT_REPEATED, 1);
        log_info("repeat of %s (form %s): its receipt again, no second mail", s->ref, r->form->name);
    }
    const char *next = find_next(r, r->control.next) ? buf_text(&r->next) : r->form->success;
    struct buf *page = request_new_page();
    if (page == NULL) {
        return false;
    }
    if (r->json) {
        page_json_ok(page, s->ref, next);
        return request_answer(r, 200, page, NULL, NULL);
    }
    const struct page_style style = request_style(r);
    if (next != NULL) {
        bool follows = !request_is_script(r);
        page_moved(page, &style, s->ref, next);
        return request_answer(r, follows ? 303 : 200, page, "Location", follows ? next : NULL);
    }
    page_receipt(page, &style, s->ref, s->message.time);
    r->csp = page_template_csp(&style, TEMPLATE_RECEIPT);
    return request_answer(r, 200, page, NULL, NULL);
}
