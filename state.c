/*
 * What a retry needs to remember about one message: the text beside it in the spool.
 *
 *     formbridge-state 1                     the first line
 *     since SECONDS                          its age counts from here, not from its name
 *     held REASON                            it needs a person, and why
 *     target TEXT                            what follows is about this destination, as the config writes it
 *     done                                   it has the message
 *     failed REASON                          it never will
 *     tries N                                so far
 *     next SECONDS                           no try before
 *     reason REASON                          what the last try ended in
 *     has ADDRESS                            this recipient has the message
 *     refused ADDRESS REASON                 this one never will
 *
 * One fact a line, each line ended by LF, UTF-8 without control characters, SECONDS since 1970. since and
 * held come before the first target. A reader that meets anything else takes nothing from the file.
 */

#include "bridge.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { TRIES_MAX = 1000000, TARGETS_MAX = 1000, RECIPIENTS_MAX = 10000 };

static const char first_line[] = "formbridge-state 1";

/* ---- the values ------------------------------------------------------------------------------ */

static void free_recipients(struct state_target *t)
{
    for (struct state_recipient *r = t->recipients, *next; r != NULL; r = next) {
        next = r->next;
        free(r->address);
        free(r->failed);
        free(r);
    }
    t->recipients = NULL;
}

void state_free(struct state *st)
{
    for (struct state_target *t = st->targets, *next; t != NULL; t = next) {
        next = t->next;
        free_recipients(t);
        free(t->text);
        free(t->failed);
        free(t->reason);
        free(t);
    }
    free(st->held);
    *st = (struct state){.targets = NULL};
}

struct state_target *state_find(const struct state *st, const char *text)
{
    struct state_target *t = st->targets;
    while (t != NULL && strcmp(t->text, text) != 0) {
        t = t->next;
    }
    return t;
}

struct state_target *state_target(struct state *st, const char *text)
{
    struct state_target **end = &st->targets;
    for (; *end != NULL; end = &(*end)->next) {
        if (strcmp((*end)->text, text) == 0) {
            return *end;
        }
    }
    struct state_target *t = calloc(1, sizeof *t);
    if (t == NULL || !state_text(&t->text, text)) {
        free(t);
        return NULL;
    }
    *end = t;
    return t;
}

const struct state_recipient *state_recipient(const struct state_target *t, const char *address)
{
    const struct state_recipient *r = t->recipients;
    while (r != NULL && strcmp(r->address, address) != 0) {
        r = r->next;
    }
    return r;
}

bool state_settle(struct state_target *t, const char *address, const char *failed)
{
    struct state_recipient **end = &t->recipients;
    for (; *end != NULL; end = &(*end)->next) {
        if (strcmp((*end)->address, address) == 0) {
            return state_text(&(*end)->failed, failed);
        }
    }
    struct state_recipient *r = calloc(1, sizeof *r);
    if (r == NULL || !state_text(&r->address, address) || !state_text(&r->failed, failed)) {
        free(r != NULL ? r->address : NULL);
        free(r);
        return false;
    }
    *end = r;
    return true;
}

bool state_text(char **place, const char *text)
{
    char *copy = NULL;
    if (text != NULL && (copy = strdup(text)) == NULL) {
        return false;
    }
    free(*place);
    *place = copy;
    return true;
}

static void release_target(struct state_target *t)
{
    state_text(&t->failed, NULL);
    state_text(&t->reason, NULL);
    t->tries = 0;
    t->next_try = 0;
    for (struct state_recipient **p = &t->recipients; *p != NULL;) {
        struct state_recipient *r = *p;
        if (r->failed == NULL) {
            p = &r->next;
            continue;
        }
        *p = r->next;
        free(r->address);
        free(r->failed);
        free(r);
    }
}

void state_release(struct state *st, int64_t now)
{
    state_text(&st->held, NULL);
    st->since = now;
    for (struct state_target *t = st->targets; t != NULL; t = t->next) {
        release_target(t);
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Reasons quote what strangers answered: they stay on their line, and say nothing to a terminal. */
static void put_text(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        buf_byte(out, c < 0x20 || c == 0x7f ? '?' : c);
    }
}

static void put_line(struct buf *out, const char *word, const char *text)
{
    if (text != NULL) {
        buf_fmt(out, "%s ", word);
        put_text(out, text);
        buf_byte(out, '\n');
    }
}

static void put_number(struct buf *out, const char *word, int64_t n)
{
    if (n > 0) {
        buf_fmt(out, "%s %" PRId64 "\n", word, n);
    }
}

static void put_target(struct buf *out, const struct state_target *t)
{
    put_line(out, "target", t->text);
    if (t->done) {
        buf_str(out, "done\n");
    }
    put_line(out, "failed", t->failed);
    put_number(out, "tries", t->tries);
    put_number(out, "next", t->next_try);
    put_line(out, "reason", t->reason);
    for (const struct state_recipient *r = t->recipients; r != NULL; r = r->next) {
        if (r->failed == NULL) {
            put_line(out, "has", r->address);
        } else {
            buf_fmt(out, "refused %s ", r->address);
            put_text(out, r->failed);
            buf_byte(out, '\n');
        }
    }
}

void state_write(const struct state *st, struct buf *out)
{
    buf_fmt(out, "%s\n", first_line);
    put_number(out, "since", st->since);
    put_line(out, "held", st->held);
    for (const struct state_target *t = st->targets; t != NULL; t = t->next) {
        put_target(out, t);
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

struct reader {
    struct state *st;
    struct state_target *target; /* that the lines are about, NULL: none yet */
    unsigned targets, recipients;
};

static bool read_number(const char *rest, int64_t most, int64_t *out)
{
    uint64_t n;
    if (!text_number(rest, strlen(rest), &n) || n > (uint64_t)most) {
        return false;
    }
    *out = (int64_t)n;
    return true;
}

static bool read_head_line(struct reader *r, const char *word, const char *rest)
{
    if (strcmp(word, "since") == 0) {
        return read_number(rest, INT64_MAX, &r->st->since);
    }
    return strcmp(word, "held") == 0 && state_text(&r->st->held, rest);
}

static bool read_recipient(struct reader *r, char *rest, bool refused)
{
    char *reason = NULL;
    if (refused) {
        reason = strchr(rest, ' ');
        if (reason == NULL) {
            return false;
        }
        *reason++ = '\0';
    }
    return rest[0] != '\0' && strchr(rest, ' ') == NULL && ++r->recipients <= RECIPIENTS_MAX &&
           state_recipient(r->target, rest) == NULL && state_settle(r->target, rest, reason);
}

static bool read_target_line(struct reader *r, const char *word, char *rest)
{
    struct state_target *t = r->target;
    int64_t n;
    if (strcmp(word, "done") == 0) {
        t->done = true;
        return rest[0] == '\0';
    }
    if (strcmp(word, "failed") == 0) {
        return state_text(&t->failed, rest);
    }
    if (strcmp(word, "reason") == 0) {
        return state_text(&t->reason, rest);
    }
    if (strcmp(word, "tries") == 0) {
        bool ok = read_number(rest, TRIES_MAX, &n);
        t->tries = ok ? (unsigned)n : 0;
        return ok;
    }
    if (strcmp(word, "next") == 0) {
        return read_number(rest, INT64_MAX, &t->next_try);
    }
    bool refused = strcmp(word, "refused") == 0;
    return (refused || strcmp(word, "has") == 0) && read_recipient(r, rest, refused);
}

static bool read_line(struct reader *r, char *line)
{
    char *space = strchr(line, ' ');
    char *rest = space == NULL ? line + strlen(line) : space + 1;
    if (space != NULL) {
        *space = '\0';
    }
    if (strcmp(line, "target") == 0) {
        if (rest[0] == '\0' || ++r->targets > TARGETS_MAX || state_find(r->st, rest) != NULL) {
            return false;
        }
        r->target = state_target(r->st, rest);
        return r->target != NULL;
    }
    return r->target == NULL ? read_head_line(r, line, rest) : read_target_line(r, line, rest);
}

static bool plain_text(const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((bytes[i] < 0x20 && bytes[i] != '\n') || bytes[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool read_lines(struct reader *r, char *text)
{
    bool first = true;
    for (char *line = text, *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        if (end == NULL) {
            return false;
        }
        *end = '\0';
        if (first ? strcmp(line, first_line) != 0 : !read_line(r, line)) {
            return false;
        }
        first = false;
    }
    return !first;
}

bool state_parse(struct state *st, const void *bytes, size_t len)
{
    *st = (struct state){.targets = NULL};
    if (len > STATE_SIZE_MAX || !plain_text(bytes, len)) {
        return false;
    }
    char *text = malloc(len + 1);
    if (text == NULL) {
        return false;
    }
    if (len > 0) {
        memcpy(text, bytes, len);
    }
    text[len] = '\0';
    struct reader r = {.st = st};
    bool ok = read_lines(&r, text);
    free(text);
    if (!ok) {
        state_free(st);
    }
    return ok;
}
