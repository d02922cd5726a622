/*
 * Words and phrases to look for in text, as whole words. Pure but for spamlist_load().
 *
 * Both are folded alike: letters in small, each run of anything else one space. So "Casino" is found in
 * "the CASINO!", not in "occasion", and "buy now" in "Buy, now". The entries are sorted; a space sorts before every
 * letter, so that those with the same first word stand together.
 */

#include "bridge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    FILE_MAX = 256 * 1024,
    ENTRY_MAX = 200, /* bytes */
    ENTRIES_MAX = 5000,
};

struct spamlist {
    char **entries; /* folded; ours */
    size_t count, room;
};

/* ---- folding --------------------------------------------------------------------------------- */

/* Shown as nothing, and so used to cut words in two: soft hyphen, zero width space and its kin. */
static bool is_unseen(uint32_t c)
{
    return c == 0xAD || (c >= 0x200B && c <= 0x200F) || c == 0x2060 || c == 0xFEFF;
}

void spamlist_fold(const void *text, size_t len, struct buf *out)
{
    const unsigned char *at = text;
    bool gap = false;
    size_t start = out->len;
    while (len > 0) {
        uint32_t c;
        size_t n = utf8_next(at, len, &c);
        at += n;
        len -= n;
        if (is_unseen(c)) {
            continue;
        }
        if (!utf8_in_word(c)) {
            gap = out->len > start;
            continue;
        }
        unsigned char bytes[4];
        if (gap) {
            buf_byte(out, ' ');
            gap = false;
        }
        buf_put(out, bytes, utf8_bytes(utf8_fold(c), bytes));
    }
}

/* ---- the list -------------------------------------------------------------------------------- */

struct spamlist *spamlist_new(void)
{
    return calloc(1, sizeof(struct spamlist));
}

void spamlist_free(struct spamlist *l)
{
    for (size_t i = 0; l != NULL && i < l->count; i++) {
        free(l->entries[i]);
    }
    if (l != NULL) {
        free(l->entries);
    }
    free(l);
}

size_t spamlist_count(const struct spamlist *l)
{
    return l == NULL ? 0 : l->count;
}

static bool make_room(struct spamlist *l)
{
    if (l->count < l->room) {
        return true;
    }
    size_t room = l->room == 0 ? 16 : l->room * 2;
    char **entries = reallocarray(l->entries, room, sizeof *entries);
    if (entries == NULL) {
        return false;
    }
    l->entries = entries;
    l->room = room;
    return true;
}

/* Where the entry is or belongs. */
static size_t place_of(const struct spamlist *l, const char *folded)
{
    size_t low = 0, high = l->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(l->entries[middle], folded) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool insert(struct spamlist *l, const char *folded)
{
    size_t at = place_of(l, folded);
    if (at < l->count && strcmp(l->entries[at], folded) == 0) {
        return true;
    }
    char *copy = make_room(l) ? strdup(folded) : NULL;
    if (copy == NULL) {
        return false;
    }
    memmove(l->entries + at + 1, l->entries + at, (l->count - at) * sizeof *l->entries);
    l->entries[at] = copy;
    l->count++;
    return true;
}

const char *spamlist_add(struct spamlist *l, const char *text, size_t len)
{
    char memory[2 * ENTRY_MAX];
    struct buf folded;
    if (len > ENTRY_MAX) {
        return "is longer than 200 bytes: shorten it";
    }
    if (!charset_is_utf8(text, len)) {
        return "is not UTF-8: save the file in that encoding";
    }
    if (l->count == ENTRIES_MAX) {
        return "is one more than the 5000 that a form can have: remove some";
    }
    buf_borrow(&folded, memory, sizeof memory);
    spamlist_fold(text, len, &folded);
    if (folded.len == 0) {
        return "holds no letter and no digit: remove it";
    }
    const char *entry = buf_text(&folded);
    return entry != NULL && insert(l, entry) ? NULL : "found no memory";
}

/* ---- a file ---------------------------------------------------------------------------------- */

bool spamlist_parse(struct spamlist *l, const char *path, const void *bytes, size_t len, char *why,
                    size_t why_size)
{
    const char *at = bytes;
    for (unsigned line = 1; len > 0; line++) {
        const char *end = memchr(at, '\n', len);
        size_t whole = end != NULL ? (size_t)(end - at) : len;
        size_t n = whole;
        while (n > 0 && strchr(" \t\r", at[n - 1]) != NULL && at[n - 1] != '\0') {
            n--;
        }
        const char *wrong = n == 0 || at[0] == '#' ? NULL : spamlist_add(l, at, n);
        if (wrong != NULL) {
            text_fmt(why, why_size, "%s:%u: this word or phrase %s", path, line, wrong);
            return false;
        }
        size_t used = whole + (end != NULL);
        at += used;
        len -= used;
    }
    return true;
}

static bool add_file(struct spamlist *l, const char *path, char *why, size_t why_size)
{
    struct buf text;
    buf_init(&text, FILE_MAX);
    bool ok = buf_read_file(path, &text);
    if (ok) {
        ok = spamlist_parse(l, path, text.data, text.len, why, why_size);
    } else {
        text_fmt(why, why_size, "%s: cannot be read: %s; it must be a text file of at most 256 kB", path,
                 strerror(errno));
    }
    buf_free(&text);
    return ok;
}

struct spamlist *spamlist_load(char *const *words, size_t count, const char *path, char *why, size_t why_size)
{
    struct spamlist *l = spamlist_new();
    if (l == NULL) {
        text_copy(why, why_size, "no memory");
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        const char *wrong = spamlist_add(l, words[i], strlen(words[i]));
        if (wrong != NULL) {
            text_fmt(why, why_size, "spam_words: %s %s", words[i], wrong);
            spamlist_free(l);
            return NULL;
        }
    }
    if (path != NULL && !add_file(l, path, why, why_size)) {
        spamlist_free(l);
        return NULL;
    }
    return l;
}

/* ---- finding --------------------------------------------------------------------------------- */

/* The first entry from low on that does not sort before these words. */
static size_t first_with(const struct spamlist *l, size_t low, const char *words, size_t len)
{
    size_t high = l->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strncmp(l->entries[middle], words, len) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void note(size_t found[], size_t *count, size_t max, size_t entry)
{
    for (size_t i = 0; i < *count; i++) {
        if (found[i] == entry) {
            return;
        }
    }
    if (*count < max) {
        found[(*count)++] = entry;
    }
}

/* Notes the entries that the text begins with: of one word, of its first two, and so on for as long as an entry begins
 * so. Each step is a binary search, so that it does not matter how many have the same first words. */
static void find_here(const struct spamlist *l, const char *text, size_t found[], size_t *count, size_t max)
{
    size_t entry = 0, len = strcspn(text, " ");
    for (;;) {
        entry = first_with(l, entry, text, len);
        if (entry < l->count && strncmp(l->entries[entry], text, len) == 0 &&
            l->entries[entry][len] == '\0') {
            note(found, count, max, entry++); /* the longer ones follow */
        }
        if (entry == l->count || strncmp(l->entries[entry], text, len) != 0 ||
            l->entries[entry][len] != ' ' || text[len] == '\0') {
            return;
        }
        len += 1 + strcspn(text + len + 1, " ");
    }
}

void spamlist_find(const struct spamlist *l, const char *folded, size_t found[], size_t *count, size_t max)
{
    for (const char *at = folded; *at != '\0' && *count < max;) {
        find_here(l, at, found, count, max);
        at += strcspn(at, " ");
        at += *at == ' ';
    }
}
