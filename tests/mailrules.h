/* What every message of ours obeys, whatever was posted. For unit tests and fuzzers. */

#ifndef MAILRULES_H
#define MAILRULES_H

#include "bridge.h"

#include <string.h>

struct rule_header {
    const char *name;
    bool always;
};

static const struct rule_header rule_headers[] = {
    {"Received", true},
    {"Date", true},
    {"From", true},
    {"To", true},
    {"Subject", true},
    {"Reply-To", false},
    {"Message-ID", true},
    {"X-Formbridge-Form", true},
    {"X-Formbridge-Ref", true},
    {"MIME-Version", true},
    {"Content-Type", true},
    {"Content-Transfer-Encoding", false},
};

static bool starts(const char *line, size_t len, const char *with)
{
    return len >= strlen(with) && memcmp(line, with, strlen(with)) == 0;
}

/* A folded address, which cannot be made shorter. */
static bool is_long_address(const char *line, size_t len)
{
    return line[0] == ' ' && len <= 1 + MAIL_ADDRESS_MAX && memchr(line, '@', len) != NULL &&
           memchr(line + 1, ' ', len - 1) == NULL;
}

static const char *line_rule(const char *line, size_t len, bool in_head)
{
    for (size_t i = 0; i < len; i++) {
        if ((line[i] < ' ' || line[i] > '~') && line[i] != '\t') {
            return "a byte is not printable ASCII";
        }
    }
    if (len > 78 && !(in_head && is_long_address(line, len))) {
        return "a line is longer than 78";
    }
    if (starts(line, len, "From ") || starts(line, len, ".")) {
        return "a line begins with 'From ' or '.'";
    }
    return NULL;
}

/* One line of the header block; seen counts the fields. */
static const char *header_rule(const char *line, size_t len, unsigned *seen)
{
    if (line[0] == ' ') {
        return len > 1 && line[1] != ' ' ? NULL : "a folded line holds nothing";
    }
    for (size_t i = 0; i < COUNT(rule_headers); i++) {
        size_t n = strlen(rule_headers[i].name);
        if (starts(line, len, rule_headers[i].name) && len > n && line[n] == ':') {
            return ++seen[i] == 1 ? NULL : "a header field stands twice";
        }
    }
    return "a header field is not one of ours";
}

/* The rule that the message breaks, or NULL. files: how many attachments it must have, fields.json and fields.csv
 * among them. html: it has an HTML alternative. */
static const char *broken_rule(const char *text, size_t size, size_t files, bool html)
{
    unsigned seen[COUNT(rule_headers)] = {0};
    size_t boundaries = 0;
    bool in_head = true;
    if (size == 0 || text[size - 1] != '\n') {
        return "the last line has no end";
    }
    for (const char *end, *line = text; line < text + size; line = end + 1) {
        end = memchr(line, '\n', (size_t)(text + size - line));
        size_t len = (size_t)(end - line);
        const char *broken = line_rule(line, len, in_head);
        if (broken == NULL && in_head && len > 0) {
            broken = header_rule(line, len, seen);
        }
        if (broken != NULL) {
            return broken;
        }
        in_head = in_head && len > 0;
        boundaries += starts(line, len, "--=_") ? 1 : 0;
    }
    for (size_t i = 0; i < COUNT(rule_headers); i++) {
        if (rule_headers[i].always && seen[i] != 1) {
            return "a header field is missing";
        }
    }
    size_t expected = (files > 0 ? files + 2 : 0) + (html ? 3 : 0);
    return boundaries == expected ? NULL : "the parts are not as many as the attachments";
}

#endif
