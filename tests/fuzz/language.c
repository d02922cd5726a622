/* Accept-Language and tags: whatever comes, the answer is a language of ours or none, and one that the text names or
 * leaves open with "*". */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    enum language accepted = words_accept(text, size), named = words_language(text, size);
    if (accepted > LANGUAGES || named > LANGUAGES) {
        abort();
    }
    char *copy = malloc(size + 1);
    if (copy == NULL) {
        return 0;
    }
    for (size_t i = 0; i < size; i++) {
        copy[i] = text[i] != '\0' ? text[i] : ' ';
    }
    copy[size] = '\0';
    bool open = strchr(copy, '*') != NULL;
    if (accepted != LANGUAGE_AUTO && !open && strcasestr(copy, words_tag(accepted)) == NULL) {
        abort();
    }
    if (named != LANGUAGE_AUTO && strncasecmp(copy, words_tag(named), strlen(words_tag(named))) != 0) {
        abort();
    }
    free(copy);
    return 0;
}
