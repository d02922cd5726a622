/*
 * Which language, and what is said in it. Pure.
 *
 * A further language is a file like words_en.c and a row here.
 */

#include "bridge.h"

#include <string.h>

static const struct words_language *const languages[LANGUAGES] = {
    [LANGUAGE_EN] = &words_en,
    [LANGUAGE_DE] = &words_de,
    [LANGUAGE_FR] = &words_fr,
    [LANGUAGE_ES] = &words_es,
};

const char *words(enum language language, enum word id)
{
    return languages[language]->texts[id];
}

const char *words_tag(enum language language)
{
    return languages[language]->tag;
}

const char *words_dir(enum language language)
{
    return languages[language]->dir;
}

/* The first entry stands for every 4xx that is not listed, the last for every 5xx. */
const struct refusal *words_refusal(enum language language, unsigned status)
{
    const struct refusal *refusals = languages[language]->refusals;
    for (size_t i = 0; i < REFUSALS; i++) {
        if (refusals[i].status == status) {
            return &refusals[i];
        }
    }
    return status < 500 ? &refusals[0] : &refusals[REFUSALS - 1];
}

/* ---- tags ------------------------------------------------------------------------------------ */

/* Up to the first "-": what follows, a script or a region, makes no difference here (RFC 4647 §3.4). */
enum language words_language(const char *tag, size_t len)
{
    size_t primary = 0;
    while (primary < len && tag[primary] != '-' && tag[primary] != '_') {
        primary++;
    }
    for (enum language l = 0; l < LANGUAGES; l++) {
        if (text_same(tag, primary, languages[l]->tag)) {
            return l;
        }
    }
    return LANGUAGE_AUTO;
}

/* ---- Accept-Language (RFC 9110 §12.5.4) ------------------------------------------------------ */

enum { WEIGHT_ONE = 1000 }; /* q=1; a weight has three decimals at most (§12.4.2) */

static size_t skip_space(const char *at, size_t len)
{
    size_t n = 0;
    while (n < len && (at[n] == ' ' || at[n] == '\t')) {
        n++;
    }
    return n;
}

/* What stands behind "q=", in thousandths; -1: this is no weight. */
static int read_weight(const char *at, size_t len)
{
    if (len == 0 || len > 5 || (at[0] != '0' && at[0] != '1') || (len > 1 && at[1] != '.')) {
        return -1;
    }
    int weight = (at[0] - '0') * WEIGHT_ONE, unit = WEIGHT_ONE / 10;
    for (size_t i = 2; i < len; i++, unit /= 10) {
        if (!text_digit(at[i])) {
            return -1;
        }
        weight += (at[i] - '0') * unit;
    }
    return weight <= WEIGHT_ONE ? weight : -1;
}

/* One item between commas: the length of its range and the weight; -1: it cannot be read and counts for nothing. */
static int read_range(const char *at, size_t len, size_t *range)
{
    *range = 0;
    while (*range < len && strchr(" \t;", at[*range]) == NULL) {
        (*range)++;
    }
    size_t i = *range + skip_space(at + *range, len - *range);
    if (i == len) {
        return WEIGHT_ONE;
    }
    if (at[i++] != ';') {
        return -1;
    }
    i += skip_space(at + i, len - i);
    if (len - i < 2 || (at[i] != 'q' && at[i] != 'Q') || at[i + 1] != '=') {
        return -1;
    }
    i += 2;
    while (len > i && (at[len - 1] == ' ' || at[len - 1] == '\t')) {
        len--;
    }
    return read_weight(at + i, len - i);
}

struct wish {
    int weight;      /* -1: not named */
    size_t position; /* of the range that gave it, from the start of the header */
};

static void add_wish(struct wish *w, int weight, size_t position)
{
    if (weight > w->weight) {
        *w = (struct wish){weight, position};
    }
}

enum language words_accept(const char *header, size_t len)
{
    struct wish wishes[LANGUAGES], any = {-1, 0};
    for (enum language l = 0; l < LANGUAGES; l++) {
        wishes[l] = (struct wish){-1, 0};
    }
    for (size_t at = 0; at < len;) {
        const char *comma = memchr(header + at, ',', len - at);
        size_t end = comma != NULL ? (size_t)(comma - header) : len, range;
        size_t start = at + skip_space(header + at, end - at);
        int weight = read_range(header + start, end - start, &range);
        enum language l = words_language(header + start, range);
        if (range == 1 && header[start] == '*') {
            add_wish(&any, weight, start);
        } else if (l != LANGUAGE_AUTO) {
            add_wish(&wishes[l], weight, start);
        }
        at = end + 1;
    }
    enum language best = LANGUAGE_AUTO;
    struct wish most = {0, 0};
    for (enum language l = 0; l < LANGUAGES; l++) {
        const struct wish *w = wishes[l].weight >= 0 ? &wishes[l] : &any;
        if (w->weight > most.weight ||
            (w->weight > 0 && w->weight == most.weight && w->position < most.position)) {
            best = l;
            most = *w;
        }
    }
    return best;
}
