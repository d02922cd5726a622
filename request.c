/* One request and its answer: what was asked for in its head, and every way to answer it. With http.c the only
 * user of libmicrohttpd. */

#include "bridge.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { RETRY_AFTER = 30 }; /* seconds, with a 503, and with a 429 of the front */

static const struct header headers[] = {
    {"Strict-Transport-Security", "max-age=31536000"},
    {"X-Content-Type-Options", "nosniff"},
    {"Vary", "Origin, Accept, Accept-Language, X-Requested-With"},
};

static const char no_store[] = "no-store", no_referrer[] = "no-referrer";
static const char html_type[] = "text/html; charset=utf-8", json_type[] = "application/json";

/* ---- what was asked for ---------------------------------------------------------------------- */

const char *request_header(const struct http_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

/* Where text holds these words, in any case; its end if nowhere. */
static size_t find(struct span text, const char *words)
{
    size_t len = strlen(words);
    for (size_t at = 0; at + len <= text.len; at++) {
        if (strncasecmp(text.at + at, words, len) == 0) {
            return at;
        }
    }
    return text.len;
}

/* A script says that it wants JSON; a browser's form post asks for text/html first. */
static bool wants_json(struct span accept, struct span with)
{
    static const char script[] = "XMLHttpRequest";
    return (with.len == sizeof script - 1 && find(with, script) == 0) ||
           find(accept, "application/json") < find(accept, "text/html");
}

bool request_wants_json(const struct http_request *r)
{
    return wants_json(text_span(request_header(r, "Accept")),
                      text_span(request_header(r, "X-Requested-With")));
}

bool request_is_script(const struct http_request *r)
{
    const char *mode = request_header(r, "Sec-Fetch-Mode");
    return mode != NULL && strcmp(mode, "navigate") != 0;
}

enum language request_language(const struct http_request *r)
{
    const char *accept = request_header(r, "Accept-Language");
    enum language l = r->form != NULL ? r->form->language : LANGUAGE_AUTO;
    if (l == LANGUAGE_AUTO && accept != NULL) {
        l = words_accept(accept, strlen(accept));
    }
    return l != LANGUAGE_AUTO ? l : LANGUAGE_EN;
}

struct page_style request_style(const struct http_request *r)
{
    return (struct page_style){.language = r->language, .form = r->form};
}

/* ---- answers --------------------------------------------------------------------------------- */

void request_free_page(struct buf *page)
{
    buf_free(page); /* wipes: a 422 page repeats what was typed */
    free(page);
}

static void free_page(void *arg)
{
    request_free_page(arg);
}

void request_add(struct http_request *r, const char *name, const char *value)
{
    if (r->more_count < COUNT(r->more)) {
        r->more[r->more_count++] = (struct header){name, value};
    }
}

struct buf *request_new_page(void)
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

static void count_answer(const struct form_conf *form, unsigned status)
{
    stats_add(STAT_REQUESTS, 1);
    if (status >= 400 && status < 500) {
        stats_add(STAT_REFUSED, 1);
        stats_form_add(form != NULL ? form->counters : 0, FORM_REFUSED);
    }
}

/* Adds what every answer has, and these headers, and queues it. Takes response; NULL: there was no memory. */
static bool queue(struct http_request *r, unsigned status, struct MHD_Response *response,
                  const struct header *more, size_t count)
{
    r->stage = REQUEST_ANSWERED;
    count_answer(r->form, status);
    if (response == NULL) {
        return false;
    }
    const struct header ours[] = {
        {"Content-Security-Policy", r->csp != NULL ? r->csp : page_csp()},
        /* A template has no meta element of ours: its form, too, must post to us with an origin (see frame.c). */
        {"Referrer-Policy", r->csp != NULL ? "same-origin" : no_referrer},
        {"Cache-Control", r->cache != NULL ? r->cache : no_store},
        {"Access-Control-Allow-Origin", r->allow},
        {"Access-Control-Expose-Headers", r->allow != NULL ? "Idempotent-Replayed, Retry-After" : NULL},
        {"Idempotent-Replayed", r->verdict == ONCE_REPEAT ? "true" : NULL},
        {"Connection", r->http->draining ? "close" : NULL},
    };
    bool ok = add_headers(response, headers, COUNT(headers)) && add_headers(response, ours, COUNT(ours)) &&
              add_headers(response, more, count) && add_headers(response, r->more, r->more_count) &&
              MHD_queue_response(r->connection, status, response) == MHD_YES;
    MHD_destroy_response(response);
    return ok;
}

bool request_answer(struct http_request *r, unsigned status, struct buf *page, const char *name,
                    const char *value)
{
    struct MHD_Response *response = NULL;
    if (page != NULL && buf_ok(page)) {
        response =
            MHD_create_response_from_buffer_with_free_callback_cls(page->len, page->data, free_page, page);
    }
    if (page != NULL && response == NULL) {
        free_page(page);
    }
    const char *usual = r->json ? json_type : html_type;
    const struct header more[] = {{"Content-Type", r->type != NULL ? r->type : usual},
                                  {"Content-Language", words_tag(r->language)},
                                  {name, value}};
    return queue(r, status, response, more, COUNT(more));
}

bool request_answer_empty(struct http_request *r, unsigned status, const struct header *more, size_t count)
{
    return queue(r, status, MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT), more, count);
}

bool request_refuse_with(struct http_request *r, unsigned status, const struct page_reason *why,
                         const char *name, const char *value)
{
    struct page_style style = request_style(r);
    struct buf *page = request_new_page();
    if (page != NULL && r->json) {
        page_json_refusal(page, &style, status, why);
    } else if (page != NULL) {
        page_error(page, &style, status, why);
        r->csp = page_template_csp(&style, TEMPLATE_ERROR);
    }
    return request_answer(r, status, page, name, value);
}

bool request_refuse(struct http_request *r, unsigned status, const char *detail)
{
    const struct page_reason why = {.detail = detail};
    return request_refuse_with(r, status, &why, NULL, NULL);
}

bool request_refuse_for_now(struct http_request *r)
{
    char seconds[12];
    text_fmt(seconds, sizeof seconds, "%d", RETRY_AFTER);
    stats_add(STAT_COMMIT_FAILED, 1);
    return request_refuse_with(r, 503, NULL, "Retry-After", seconds);
}

/* The form is not known, nor its sites; but nothing stands there that a page may not read. */
void request_refusal(struct buf *out, const struct gate *g, unsigned status, const char *why)
{
    struct buf page;
    buf_init(&page, PAGE_MAX);
    struct span wanted = gate_field(g, "accept-language");
    enum language l = words_accept(wanted.at, wanted.len);
    const struct page_style style = {.language = l != LANGUAGE_AUTO ? l : LANGUAGE_EN};
    const struct page_reason reason = {.detail = why};
    bool json = wants_json(gate_field(g, "accept"), gate_field(g, "x-requested-with"));
    if (json) {
        page_json_refusal(&page, &style, status, &reason);
    } else {
        page_error(&page, &style, status, &reason);
    }
    buf_fmt(out, "HTTP/1.1 %u %s\r\nConnection: close\r\nContent-Type: %s\r\nContent-Language: %s\r\n",
            status, MHD_get_reason_phrase_for(status), json ? json_type : html_type,
            words_tag(style.language));
    for (size_t i = 0; i < COUNT(headers); i++) {
        buf_fmt(out, "%s: %s\r\n", headers[i].name, headers[i].value);
    }
    if (gate_field(g, "origin").len > 0) {
        buf_str(out, "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: Retry-After\r\n");
    }
    if (status == 503 || status == 429) {
        buf_fmt(out, "Retry-After: %d\r\n", RETRY_AFTER);
    }
    buf_fmt(out,
            "Cache-Control: %s\r\nReferrer-Policy: %s\r\nContent-Security-Policy: %s\r\n"
            "Content-Length: %zu\r\n\r\n",
            no_store, no_referrer, page_csp(), page.len);
    buf_put(out, page.data, page.len);
    if (!buf_ok(&page)) {
        out->failed = true;
    }
    buf_free(&page);
    count_answer(NULL, status);
}
