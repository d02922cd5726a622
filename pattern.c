/*
 * The pattern of a field: a POSIX extended regular expression (IEEE 1003.1, XBD 9.4) that must fit the whole value.
 *
 * It comes from the owner and the value from a stranger. So that no value can make it run away: only what glibc
 * matches with a finite automaton is taken, which excludes back-references; its size is limited with each {n,m}
 * written out, since that is what glibc does; the value is PATTERN_VALUE_MAX characters at most; and nothing asks where
 * in the value the parts were found, which is what glibc goes back and forth for. The slowest that were found then took
 * 0.1 s, an ordinary one 0.1 ms. A compiled pattern keeps every state of the automaton that a value led it to, 2 kB
 * each, and so must not outlive one form.
 */

#include "bridge.h"

#include <locale.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIZE_LIMIT = 200, /* characters, with each {n} written out: an IBAN's has 31 */
    GROUPS_MAX = 20,  /* within one another */
};

struct pattern {
    regex_t regex;
};

/* Characters are those of UTF-8. Without this locale, which Debian's libc brings along, they are bytes. */
static locale_t characters(void)
{
    static locale_t utf8;
    if (utf8 == (locale_t)0) {
        utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    }
    return utf8 != (locale_t)0 ? utf8 : LC_GLOBAL_LOCALE;
}

/* The larger number of the {n,m} that begins at *at; moves to its end. What is none of these regcomp() will say. */
static uint64_t read_count(const char **at)
{
    uint64_t most = 0;
    (*at)++;
    for (size_t n; (n = strspn(*at, "0123456789")) > 0 || **at == ',';) {
        uint64_t number = 0;
        if (n > 0 && !text_number(*at, n, &number)) {
            number = SIZE_LIMIT + 1;
        }
        most = number > most ? number : most;
        *at += n > 0 ? n : 1;
    }
    return most;
}

/* Behind the bracket expression that begins at at; at its end if it is not closed, which regcomp() will say. */
static const char *skip_bracket(const char *at)
{
    at += at[1] == '^' ? 2 : 1;
    if (*at == ']') {
        at++;
    }
    while (*at != '\0' && *at != ']') {
        bool class = at[0] == '[' && at[1] != '\0' && strchr(":.=", at[1]) != NULL;
        const char *end = class ? strchr(at + 2, at[1]) : NULL;
        at = end != NULL && end[1] == ']' ? end + 2 : at + 1;
    }
    return *at == ']' ? at + 1 : at;
}

struct size {       /* how many characters the pattern is when each of its {n,m} is written out */
    uint64_t total; /* of the group so far */
    uint64_t last;  /* of what a {n,m} would now stand behind */
};

/* The character, bracket or {n,m} at *at is added to the group, and *at moved behind it. */
static void add(struct size *s, const char **at)
{
    if (**at == '{') {
        uint64_t n = read_count(at);
        s->total += n > 1 ? (n - 1) * s->last : 0;
        s->last *= n > 1 ? n : 1;
        return;
    }
    s->last = strchr("}*+?", **at) != NULL ? s->last + 1 : 1; /* these belong to what is before them */
    s->total++;
    if (**at == '[') {
        *at = skip_bracket(*at);
    } else {
        *at += (*at)[0] == '\\' && (*at)[1] != '\0' ? 2 : 1;
    }
}

/* A backslash within a bracket expression stands for itself, and so does a letter behind one outside, but for those that
 * GNU gives a meaning: who writes \d means Perl's. */
static const char *perl_fault(const char *at)
{
    if (at[0] == '\\' && text_letter(at[1]) && strchr("wWsSbB", at[1]) == NULL) {
        return "has a \\ before a letter that stands for itself all the same: a digit is [0-9], not \\d";
    }
    if (at[0] == '[') {
        for (const char *end = skip_bracket(at); at + 1 < end; at++) {
            if (at[0] == '\\' && strchr("dDwWsS", at[1]) != NULL) {
                return "has a \\ within [], where it stands for itself: write 0-9 for \\d, "
                       "[:alnum:]_ for \\w, [:space:] for \\s";
            }
        }
    }
    return NULL;
}

/* What is wrong with it before regcomp() has a look; NULL: nothing. */
static const char *fault(const char *text)
{
    struct size groups[GROUPS_MAX + 1] = {{0, 0}};
    size_t depth = 0;
    for (const char *at = text; *at != '\0';) {
        if (at[0] == '\\' && at[1] >= '1' && at[1] <= '9') {
            return "has a back-reference, which is not taken here";
        }
        const char *perl = perl_fault(at);
        if (perl != NULL) {
            return perl;
        }
        if (*at == ')' &&
            depth == 0) { /* glibc takes it for a character, and "^(a)|b)$" would not fit the whole */
            return "has a ) without its (";
        }
        if (*at == '(' && depth == GROUPS_MAX) {
            return "has more than 20 parentheses within one another";
        }
        if (*at == '(') {
            groups[++depth] = (struct size){0, 0};
            at++;
        } else if (*at == ')') {
            depth--;
            groups[depth].last = groups[depth + 1].total + 1;
            groups[depth].total += groups[depth].last;
            at++;
        } else {
            add(&groups[depth], &at);
        }
        if (groups[depth].total > SIZE_LIMIT) {
            return "is too large: with each {n} written out it has more than 200 characters";
        }
    }
    return NULL;
}

static bool compile(regex_t *regex, const char *text, char *why, size_t why_size)
{
    locale_t before = uselocale(characters());
    int error = regcomp(regex, text, REG_EXTENDED | REG_NOSUB);
    if (error != 0) {
        regerror(error, regex, why, why_size);
    }
    uselocale(before);
    return error == 0;
}

struct pattern *pattern_new(const char *text, char *why, size_t why_size)
{
    const char *wrong = fault(text);
    struct pattern *p = calloc(1, sizeof *p);
    size_t size = strlen(text) + sizeof "^()$";
    char *whole = malloc(size);
    bool ok = wrong == NULL && p != NULL && whole != NULL;
    if (wrong != NULL) {
        text_copy(why, why_size, wrong);
    } else if (!ok) {
        text_copy(why, why_size, "there is no memory for it");
    }
    if (ok) {
        text_fmt(whole, size, "^(%s)$", text);
        ok = compile(&p->regex, whole, why, why_size);
    }
    free(whole);
    if (!ok) {
        free(p);
        return NULL;
    }
    return p;
}

void pattern_free(struct pattern *p)
{
    if (p != NULL) {
        regfree(&p->regex);
        free(p);
    }
}

bool pattern_fits(const struct pattern *p, struct span value)
{
    char text[4 * PATTERN_VALUE_MAX + 1]; /* regexec() wants a NUL behind it */
    if (value.len >= sizeof text || (value.len > 0 && memchr(value.at, '\0', value.len) != NULL)) {
        return false;
    }
    if (value.len > 0) {
        memcpy(text, value.at, value.len);
    }
    text[value.len] = '\0';
    locale_t before = uselocale(characters());
    int error = regexec(&p->regex, text, 0, NULL, 0);
    uselocale(before);
    explicit_bzero(text, sizeof text);
    return error == 0;
}
