/* The commands of POP3 (RFC 1939, RFC 2449, RFC 5034), a line each (pure). */

#include "bridge.h"

#include <string.h>

enum argument { ARG_NONE, ARG_TEXT, ARG_NUMBER, ARG_MAYBE_NUMBER, ARG_TOP, ARG_PLAIN };

static const struct {
    char name[5];
    enum pop_verb verb;
    enum argument argument;
} verbs[] = {
    {"USER", POP_USER, ARG_TEXT},
    {"PASS", POP_PASS, ARG_TEXT},
    {"AUTH", POP_AUTH, ARG_PLAIN},
    {"CAPA", POP_CAPA, ARG_NONE},
    {"STAT", POP_STAT, ARG_NONE},
    {"LIST", POP_LIST, ARG_MAYBE_NUMBER},
    {"UIDL", POP_UIDL, ARG_MAYBE_NUMBER},
    {"RETR", POP_RETR, ARG_NUMBER},
    {"TOP", POP_TOP, ARG_TOP},
    {"DELE", POP_DELE, ARG_NUMBER},
    {"NOOP", POP_NOOP, ARG_NONE},
    {"RSET", POP_RSET, ARG_NONE},
    {"QUIT", POP_QUIT, ARG_NONE},
};

static bool fail(struct popcmd *c, const char *why)
{
    c->why = why;
    return false;
}

/* Steps over the next word, and the one space behind it. */
static const char *next_word(const char **at, const char *end, size_t *len)
{
    const char *word = *at;
    const char *space = memchr(word, ' ', (size_t)(end - word));
    *len = (size_t)((space == NULL ? end : space) - word);
    *at = space == NULL ? end : space + 1;
    return word;
}

static bool read_number(const char **at, const char *end, uint64_t *out)
{
    size_t len;
    const char *word = next_word(at, end, &len);
    return text_number(word, len, out);
}

static bool read_top(struct popcmd *c, const char *at, const char *end)
{
    if (!read_number(&at, end, &c->number) || !read_number(&at, end, &c->lines) || at != end) {
        return fail(c, "TOP takes a message number and a number of lines: TOP 1 0");
    }
    c->numbered = true;
    return true;
}

/* RFC 5034 §4: the mechanism, and perhaps the whole of its one message; "=" would be an empty one. */
static bool read_plain(struct popcmd *c, const char *at, const char *end)
{
    size_t len;
    const char *word = next_word(&at, end, &len);
    if (!text_same(word, len, "PLAIN")) {
        return fail(c, "AUTH takes a mechanism, and PLAIN is the only one: AUTH PLAIN");
    }
    if (at != end) {
        c->text = at;
        c->len = (size_t)(end - at);
    }
    return true;
}

static bool read_argument(struct popcmd *c, enum argument a, const char *at, const char *end)
{
    switch (a) {
    case ARG_TEXT:
        c->text = at;
        c->len = (size_t)(end - at);
        return at != end || fail(c, "a word is missing behind the command");
    case ARG_MAYBE_NUMBER:
        if (at == end) {
            return true;
        }
        /* fall through */
    case ARG_NUMBER:
        c->numbered = read_number(&at, end, &c->number) && at == end;
        return c->numbered || fail(c, "a message number and nothing else belongs behind the command");
    case ARG_TOP: return read_top(c, at, end);
    case ARG_PLAIN: return read_plain(c, at, end);
    case ARG_NONE: break;
    }
    return at == end || fail(c, "this command stands alone on its line");
}

bool popcmd_parse(struct popcmd *c, const char *line, size_t len)
{
    *c = (struct popcmd){.verb = POP_NOOP};
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f) {
            return fail(c, "a control character has no place in a command");
        }
    }
    const char *at = line, *end = line + len;
    size_t word_len;
    const char *word = next_word(&at, end, &word_len);
    for (size_t i = 0; i < COUNT(verbs); i++) {
        if (!text_same(word, word_len, verbs[i].name)) {
            continue;
        }
        c->verb = verbs[i].verb;
        if (verbs[i].argument != ARG_TEXT) { /* only a password may end with spaces that count */
            while (end > at && end[-1] == ' ') {
                end--;
            }
        }
        return read_argument(c, verbs[i].argument, at, end);
    }
    return fail(c, "there is no such command; CAPA tells what there is");
}

/* ---- who logs in ----------------------------------------------------------------------------- */

void popcmd_user(struct popcmd_login *l, const char *text, size_t len)
{
    memset(l->user, 0, sizeof l->user);
    if (len <= POPCMD_USER_MAX) {
        memcpy(l->user, text, len);
    }
}

bool popcmd_password(struct popcmd_login *l, const char *text, size_t len)
{
    explicit_bzero(l->password, sizeof l->password);
    if (len > POPCMD_PASSWORD_MAX || memchr(text, '\0', len) != NULL) {
        return false;
    }
    memcpy(l->password, text, len);
    return true;
}

/* message = [authzid] NUL authcid NUL passwd */
static bool split_plain(struct popcmd_login *l, const char *message, size_t len)
{
    const char *user = memchr(message, '\0', len);
    if (user == NULL) {
        return false;
    }
    size_t acting_len = (size_t)(user - message);
    user++;
    const char *password = memchr(user, '\0', len - acting_len - 1);
    if (password == NULL) {
        return false;
    }
    size_t user_len = (size_t)(password - user);
    password++;
    if (acting_len != 0 && (acting_len != user_len || memcmp(message, user, user_len) != 0)) {
        return false;
    }
    popcmd_user(l, user, user_len);
    return popcmd_password(l, password, len - (size_t)(password - message));
}

bool popcmd_plain(struct popcmd_login *l, const char *text, size_t len)
{
    char memory[POPCMD_CONTINUATION_MAX];
    struct buf message;
    buf_borrow(&message, memory, sizeof memory);
    bool ok = len <= sizeof memory && base64_get(&message, text, len, BASE64) &&
              split_plain(l, memory, message.len);
    explicit_bzero(memory, sizeof memory);
    return ok;
}
