/*
 * The config file as sections of keys, each with its line, and the mistakes found in it. Pure.
 *
 * inih would cut a line of 200 bytes and take its rest for another, join an indented line to the key before,
 * stop at a NUL, and tell neither lines nor empty sections. So the lines are read and judged here, and inih
 * gets only those that it understands in one way: it splits key from value and drops comments.
 */

#include "bridge.h"

#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINE_RESERVE = 10, /* of inih's buffer: our lines end well before it does */
};

struct conf_memory {
    struct conf_memory *next;
    max_align_t bytes[];
};

struct confread_mistake {
    struct confread_mistake *next;
    unsigned line;
    size_t order; /* in which it was found */
    char text[];
};

struct reader { /* the stream that inih reads from */
    struct confread *r;
    const char *at, *end;             /* what is left */
    unsigned line;                    /* number of the last line read */
    bool unanswered;                  /* inih got that line and has not called back */
    bool in_section;                  /* a header was seen, be it a wrong one */
    struct confread_section *section; /* NULL: its keys are nobody's */
};

void *confread_keep(struct confread *r, size_t size)
{
    struct conf_memory *m = calloc(1, sizeof(*m) + size);
    if (m == NULL) {
        r->no_memory = true;
        return NULL;
    }
    m->next = r->memory;
    r->memory = m;
    return m->bytes;
}

char *confread_keep_text(struct confread *r, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = confread_keep(r, size);
    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

void confread_free(struct conf_memory *memory)
{
    while (memory != NULL) {
        struct conf_memory *next = memory->next;
        free(memory);
        memory = next;
    }
}

void confread_mistake(struct confread *r, unsigned line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    struct confread_mistake *m = len < 0 ? NULL : confread_keep(r, sizeof(*m) + (size_t)len + 1);
    if (m == NULL) {
        r->no_memory = true;
        return;
    }
    va_start(args, fmt);
    vsnprintf(m->text, (size_t)len + 1, fmt, args);
    va_end(args);
    m->line = line;
    m->order = r->mistake_count++;
    m->next = r->mistakes;
    r->mistakes = m;
}

static int by_line(const void *a, const void *b)
{
    const struct confread_mistake *x = *(const struct confread_mistake *const *)a;
    const struct confread_mistake *y = *(const struct confread_mistake *const *)b;
    if (x->line != y->line) {
        return x->line < y->line ? -1 : 1;
    }
    return x->order < y->order ? -1 : 1;
}

bool confread_report(struct confread *r, struct buf *errors)
{
    if (r->mistake_count == 0 && !r->no_memory) {
        return true;
    }
    struct confread_mistake **sorted = confread_keep(r, r->mistake_count * sizeof(struct confread_mistake *));
    if (r->no_memory) {
        buf_fmt(errors, "%s: out of memory\n", r->file);
        return false;
    }
    size_t n = 0;
    for (struct confread_mistake *m = r->mistakes; m != NULL; m = m->next) {
        sorted[n++] = m;
    }
    qsort(sorted, n, sizeof(struct confread_mistake *), by_line);
    for (size_t i = 0; i < n; i++) {
        buf_fmt(errors, "%s:%u: %s\n", r->file, sorted[i]->line, sorted[i]->text);
    }
    return false;
}

static char *skip_blanks(char *text)
{
    return text + strspn(text, " \t");
}

static struct confread_section *add_section(struct confread *r, const char *kind, const char *name,
                                            unsigned line)
{
    struct confread_section *s = confread_keep(r, sizeof(*s));
    char *kept_kind = confread_keep_text(r, kind);
    char *kept_name = confread_keep_text(r, name);
    if (s == NULL || kept_kind == NULL || kept_name == NULL) {
        return NULL;
    }
    *s = (struct confread_section){.line = line, .kind = kept_kind, .name = kept_name};
    struct confread_section **last = &r->sections;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = s;
    return s;
}

/* What comes under a header that was there before joins the first, so that it is checked as well. */
static void enter_section(struct reader *in, const char *kind, const char *name)
{
    struct confread_section *s = in->r->sections;
    while (s != NULL && (strcmp(s->kind, kind) != 0 || strcmp(s->name, name) != 0)) {
        s = s->next;
    }
    if (s != NULL) {
        confread_mistake(in->r, in->line, "[%s%s%s] was begun on line %u already: put its keys there", kind,
                         name[0] != '\0' ? " " : "", name, s->line);
    } else {
        s = add_section(in->r, kind, name, in->line);
    }
    in->section = s;
}

/* The bracket that ends the header which begins with one at line, or NULL. Names of fields may have pairs of their own:
 * [field order photos[]]. */
static char *end_of_header(char *line)
{
    size_t open = 0;
    char *end = line;
    for (bool within = true; within && *end != '\0'; end += within) {
        open += *end == '[';
        open -= *end == ']';
        within = open > 0;
    }
    const char *rest = *end == ']' ? skip_blanks(end + 1) : line;
    return rest[0] == '\0' || rest[0] == ';' ? end : NULL;
}

static void read_header(struct reader *in, char *line)
{
    in->in_section = true;
    in->section = NULL;
    char *kind = skip_blanks(line + 1);
    char *end = end_of_header(line);
    if (end == NULL) {
        confread_mistake(in->r, in->line,
                         "not a section: write [bridge], [form NAME], [field FORM NAME], [mailhost NAME] or "
                         "[pickup NAME], alone on its line");
        return;
    }
    while (end > kind && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    *end = '\0';
    char *name = kind + strcspn(kind, " \t");
    if (*name != '\0') {
        *name++ = '\0';
        name = skip_blanks(name);
    }
    enter_section(in, kind, name);
}

static const char *line_fault(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((line[i] >= 0 && line[i] < ' ' && line[i] != '\t') || line[i] == 0x7f) {
            return "a control character: remove it";
        }
    }
    if (!charset_is_utf8(line, len)) {
        return "not UTF-8 text: save the file as UTF-8";
    }
    size_t margin = 0;
    while (margin < len && (line[margin] == ' ' || line[margin] == '\t')) {
        margin++;
    }
    if (margin > 0 && margin < len && line[margin] != '#' && line[margin] != ';') {
        return "an indented line: begin it at the margin; a value ends with its line";
    }
    return NULL;
}

/* Copies the next line to out, without its end; leaves out empty in place of a faulty one. */
static void next_line(struct reader *in, char *out, size_t max)
{
    const char *line = in->at;
    const char *newline = memchr(line, '\n', (size_t)(in->end - line));
    size_t len = (size_t)((newline != NULL ? newline : in->end) - line);
    in->at = newline != NULL ? newline + 1 : in->end;
    in->line++;
    if (in->line == 1 && len >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) {
        line += 3; /* the byte order mark of some editors */
        len -= 3;
    }
    if (len > 0 && line[len - 1] == '\r') {
        len--;
    }
    const char *fault = line_fault(line, len);
    if (len > max) {
        confread_mistake(
            in->r, in->line,
            "a line of %zu bytes: it may have %zu at most; a list may go on in another line of its key", len,
            max);
        len = 0;
    } else if (fault != NULL) {
        confread_mistake(in->r, in->line, "%s", fault);
        len = 0;
    }
    memcpy(out, line, len);
    out[len] = '\0';
}

/* fgets() for inih. */
static char *read_line(char *out, int size, void *stream)
{
    struct reader *in = stream;
    if (in->unanswered) {
        confread_mistake(in->r, in->line, "neither KEY = VALUE nor a [section] nor a # comment");
        in->unanswered = false;
    }
    if (in->at == in->end) {
        return NULL;
    }
    next_line(in, out, (size_t)size - LINE_RESERVE);
    if (out[0] == '[') {
        read_header(in, out);
        out[0] = '\0';
    }
    in->unanswered = strchr("#;", *skip_blanks(out)) == NULL; /* the NUL of an empty line is found, too */
    size_t len = strlen(out);
    memcpy(out + len, "\n", 2);
    return out;
}

static void add_key(struct confread *r, struct confread_section *s, unsigned line, const char *name,
                    const char *text)
{
    struct confread_key *k = confread_keep(r, sizeof(*k));
    char *kept_name = confread_keep_text(r, name);
    char *kept_text = confread_keep_text(r, text);
    if (k == NULL || kept_name == NULL || kept_text == NULL) {
        return;
    }
    *k = (struct confread_key){.line = line, .name = kept_name, .text = kept_text};
    *(s->keys == NULL ? &s->keys : &s->last_key->next) = k;
    s->last_key = k;
}

static struct confread_key *find_from(struct confread_key *k, const char *name)
{
    while (k != NULL && strcmp(k->name, name) != 0) {
        k = k->next;
    }
    return k;
}

struct confread_key *confread_find(const struct confread_section *s, const char *name)
{
    return find_from(s->keys, name);
}

struct confread_key *confread_next(const struct confread_key *k)
{
    return find_from(k->next, k->name);
}

/* inih's handler. The section is known here already. */
static int take_key(void *user, const char *section, const char *name, const char *text)
{
    (void)section;
    struct reader *in = user;
    in->unanswered = false;
    if (!in->in_section) {
        confread_mistake(in->r, in->line, "\"%s\" stands before any section: begin with [bridge]", name);
    } else if (in->section != NULL) {
        add_key(in->r, in->section, in->line, name, text);
    }
    if (strchr(text, '\t') != NULL) {
        confread_mistake(in->r, in->line, "\"%s\" has a tab inside its value: use spaces", name);
    }
    return 1;
}

void confread_text(struct confread *r, const char *file, const void *bytes, size_t len)
{
    *r = (struct confread){.file = file};
    const char *text = len > 0 ? bytes : "";
    struct reader in = {.r = r, .at = text, .end = text + len};
    if (ini_parse_stream(read_line, &in, take_key, &in) < 0) {
        r->no_memory = true; /* the only negative result of a stream */
    }
}
