/* Commands and their answers, for SMTP and LMTP: one at a time, each with its deadline. */

#include "bridge.h"

#include <stdio.h>
#include <string.h>

/* The name in messages, and how long the answer may take (RFC 5321 §4.5.3.2). */
static const struct {
    const char *name;
    unsigned wait;
} states[] = {
    [TALK_GREETING] = {"the connection", 300},
    [TALK_EHLO] = {"EHLO", 300},
    [TALK_HELO] = {"HELO", 300},
    [TALK_LHLO] = {"LHLO", 300},
    [TALK_STARTTLS] = {"STARTTLS", 300},
    [TALK_AUTH] = {"AUTH", 300},
    [TALK_CHALLENGE] = {"AUTH", 300},
    [TALK_READY] = {"nothing", 0},
    [TALK_MAIL] = {"MAIL FROM", 300},
    [TALK_RCPT] = {"RCPT TO", 300},
    [TALK_DATA] = {"DATA", 120},
    [TALK_BLOCK] = {"a part of the message", 180},
    [TALK_BODY] = {"the message", 600},
    [TALK_RSET] = {"RSET", 300},
    [TALK_QUIT] = {"QUIT", 5}, /* nothing depends on it */
    [TALK_DEAD] = {"nothing", 0},
};

const char *talk_name(enum talk_state state)
{
    return states[state].name;
}

unsigned talk_wait(const struct talk *t, enum talk_state state)
{
    unsigned wait = states[state].wait;
    return t->host != NULL && t->host->timeout != 0 && t->host->timeout < wait ? t->host->timeout : wait;
}

bool talk_die(struct talk *t, const char *fmt, ...)
{
    if (!t->dead) {
        char text[REASON_SIZE];
        va_list args;
        va_start(args, fmt);
        vsnprintf(text, sizeof text, fmt, args);
        va_end(args);
        t->failure.outcome = OUTCOME_TEMPORARY;
        text_fmt(t->failure.reason, sizeof t->failure.reason, "%s: %s", dial_peer(t->dial), text);
        t->dead = true;
    }
    return false;
}

const char *talk_hint(const struct talk *t, enum talk_state state)
{
    if (state == TALK_BODY) {
        return "; the host may have taken the message, so the next try may bring a duplicate (same "
               "Message-ID)";
    }
    if (state == TALK_GREETING && t->host != NULL && t->host->starttls) {
        return "; if this is port 465, set tls = implicit";
    }
    return "";
}

bool talk_await(struct talk *t, enum talk_state state)
{
    if (t->dead) {
        return false;
    }
    dial_deadline(t->dial, talk_wait(t, state));
    wire_reply_init(&t->reply);
    while (!t->reply.done) {
        const char *line;
        size_t len;
        if (!dial_line(t->dial, &line, &len)) {
            return talk_die(t, "%s, while awaiting the answer to %s%s", dial_why(t->dial), states[state].name,
                            talk_hint(t, state));
        }
        if (!wire_reply_line(&t->reply, line, len)) {
            return talk_die(t, "the answer to %s is not SMTP%s", states[state].name, talk_hint(t, state));
        }
    }
    if (t->reply.code == 421) { /* may come at any time and ends the session, RFC 5321 §3.8 */
        char text[256];
        wire_reply_text(&t->reply, text, sizeof text);
        return talk_die(t, "the host ended the session at %s: %s", states[state].name, text);
    }
    return true;
}

unsigned talk_class(const struct talk *t)
{
    return t->reply.code / 100;
}

bool talk_in_turn(struct talk *t, enum talk_state next)
{
    if (!t->dead && dial_quiet(t->dial)) {
        return true;
    }
    if (talk_await(t, next)) {
        char text[256];
        wire_reply_text(&t->reply, text, sizeof text);
        talk_die(t, "the host spoke out of turn before %s: %s", states[next].name, text);
    }
    return false;
}

bool talk_put(struct talk *t, enum talk_state state, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(t->line, sizeof t->line - 2, fmt, args);
    va_end(args);
    if (t->dead || n < 0 || (size_t)n >= sizeof t->line - 2) {
        return talk_die(t, "%s is too long", states[state].name);
    }
    memcpy(t->line + n, "\r\n", 2);
    dial_deadline(t->dial, talk_wait(t, state));
    bool ok = dial_put(t->dial, t->line, (size_t)n + 2);
    explicit_bzero(t->line, (size_t)n + 2); /* it may have been a password */
    return ok || talk_die(t, "%s, while sending %s", dial_why(t->dial), states[state].name);
}

bool talk_flush(struct talk *t, enum talk_state state)
{
    return !t->dead && (dial_flush(t->dial) ||
                        talk_die(t, "%s, while sending %s", dial_why(t->dial), states[state].name));
}

bool talk_ask(struct talk *t, enum talk_state state, const char *line)
{
    return talk_in_turn(t, state) && talk_put(t, state, "%s", line) && talk_flush(t, state) &&
           talk_await(t, state);
}

void talk_refusal(const struct talk *t, enum talk_state state, struct result *r)
{
    static const struct {
        unsigned code;
        const char *advice;
    } known[] = {
        {530, "; the host wants a login: set username and password_file"},
        {534, "; the host wants another way to log in than it announced"},
        {535, "; check username and password_file"},
        {538, "; the host wants TLS for this login although it has TLS"},
    };
    const char *advice = "";
    for (size_t i = 0; i < COUNT(known); i++) {
        advice = t->reply.code == known[i].code ? known[i].advice : advice;
    }
    /* RFC 5321 §4.5.3.1.10: 552 to RCPT is what old hosts say for 452. A missing login is repaired in the
     * config. */
    bool repairable = advice[0] != '\0' || (state == TALK_RCPT && t->reply.code == 552);
    bool permanent = state > TALK_READY && talk_class(t) == 5 && !repairable;
    char text[REASON_SIZE - 150];
    wire_reply_text(&t->reply, text, sizeof text);
    r->outcome = permanent ? OUTCOME_PERMANENT : OUTCOME_TEMPORARY;
    text_fmt(r->reason, sizeof r->reason, "%.100s answered %s with: %s%s", dial_peer(t->dial),
             states[state].name, text, advice);
}
