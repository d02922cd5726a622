/* Spam, where it meets HTTP: tokens are given out, a complete post is judged, and one that is refused is told so with
 * all that was typed still there. */

#include "bridge.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { ERRORS_MAX = 3 };

/* ---- tokens ---------------------------------------------------------------------------------- */

static struct token_key key_of(const struct http_request *r)
{
    return (struct token_key){.secret = r->http->token_secret, .form = r->form->name};
}

static bool make_token(struct http_request *r, int64_t time)
{
    unsigned char random[TOKEN_RANDOM];
    const struct token_key key = key_of(r);
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return false;
    }
    token_make(r->token, &key, time, random);
    return true;
}

bool screen_token(struct http_request *r)
{
    struct buf *page;
    r->json = true;
    /* A page of the same origin sends none with a GET, whatever the form asks of a post. */
    if (request_header(r, "Origin") != NULL && !cors_allow(r)) {
        return cors_refuse(r);
    }
    /* After that, so that a script can read the answer, and asks no more. */
    if (r->form->token == TOKEN_OFF) {
        return request_refuse(r, 404, NULL);
    }
    if (!make_token(r, time(NULL)) || (page = request_new_page()) == NULL) {
        return request_refuse_for_now(r);
    }
    page_json_token(page, r->form, r->token);
    return request_answer(r, 200, page, NULL, NULL);
}

bool screen_token_preflight(struct http_request *r)
{
    static const struct header more[] = {
        {"Access-Control-Allow-Methods", "GET, HEAD"},
        {"Access-Control-Max-Age", "86400"},
    };
    return cors_allow(r) ? request_answer_empty(r, 204, more, COUNT(more)) : cors_refuse(r);
}

void screen_offer(struct http_request *r, struct page_style *style)
{
    const struct token_key key = key_of(r);
    const struct field *typed = r->body != NULL ? form_find(r->body, TOKEN_FIELD) : NULL;
    int64_t now = time(NULL), age;
    if (r->form->token == TOKEN_OFF ||
        (typed != NULL && token_read(&key, typed->value.data, typed->value.len, now, &age) == TOKEN_GOOD)) {
        return;
    }
    if (make_token(r, now - (int64_t)r->form->min_time)) {
        style->token = r->token;
    }
}

/* ---- the judgement --------------------------------------------------------------------------- */

static size_t list_reasons(const struct http_request *r, struct rules_error *errors)
{
    static const struct {
        enum word word;
        enum spam_sign first, last;
    } kinds[ERRORS_MAX] = {
        {W_SPAM_ROBOT, SPAM_TRAP, SPAM_WRONG_PROOF},
        {W_SPAM_LINKS, SPAM_LINKS, SPAM_LINKS},
        {W_SPAM_TEXT, SPAM_WORDS, SPAM_URL_IN_NAME},
    };
    size_t count = 0;
    for (size_t k = 0; k < COUNT(kinds); k++) {
        unsigned points = 0;
        for (unsigned sign = kinds[k].first; sign <= (unsigned)kinds[k].last; sign++) {
            points += r->spam.points[sign];
        }
        if (points > 0) {
            errors[count++] =
                (struct rules_error){.code = "SPAM_REFUSED", .message = words(r->language, kinds[k].word)};
        }
    }
    return count;
}

static bool refuse(struct http_request *r)
{
    struct rules_error errors[ERRORS_MAX];
    struct page_style style = request_style(r);
    size_t count = list_reasons(r, errors);
    stats_add((enum counter)(STAT_SPAM_REFUSED + r->spam.class), 1);
    log_info("refused as spam (form %s, score %u: %s)", r->form->name, r->spam.score, r->spam.reasons);
    struct buf *page = request_new_page();
    if (page != NULL && r->json) {
        page_json_error(page, words(r->language, W_SPAM), errors, count);
    } else if (page != NULL) {
        screen_offer(r, &style);
        page_spam(page, &style, r->body, errors, count);
        r->csp = page_template_csp(&style, TEMPLATE_INVALID);
    }
    return request_answer(r, 403, page, NULL, NULL);
}

bool screen_passes(struct http_request *r, bool *answered)
{
    const struct spam_job job = {
        .form = r->form, .fields = r->body, .secret = r->http->token_secret, .now = time(NULL)};
    struct message *m = &r->submission.message;
    spam_judge(&r->spam, &job);
    if (r->spam.spam && r->form->spam == SPAM_REFUSE) {
        *answered = refuse(r);
        return false;
    }
    m->spam = r->spam.spam;
    m->spam_score = r->spam.score;
    m->spam_why = r->spam.reasons;
    return true;
}

void screen_stored(const struct http_request *r)
{
    if (r->spam.spam) {
        stats_add((enum counter)(STAT_SPAM_MARKED + r->spam.class), 1);
        log_info("marked %s (form %s) as spam (score %u: %s)", r->submission.ref, r->form->name,
                 r->spam.score, r->spam.reasons);
    }
}
