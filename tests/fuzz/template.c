/* Templates: byte 0 chooses which. What is taken comes out as it was, with what the placeholders stand for; what is
 * refused is refused in words. */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A placeholder stands for its own name in the file, so that the page has to be the file again, but for the kind
 * of its line ends. */
static void put(struct buf *out, enum template_place place, const void *arg)
{
    static const char *const names[PLACES] = {"lang",   "dir",    "style",   "form",  "title", "message",
                                              "site",   "back",   "receipt", "time",  "keep",  "status",
                                              "stored", "advice", "errors",  "fields"};
    (void)arg;
    buf_fmt(out, "{{%s}}", names[place]);
}

static bool same_lines(const struct buf *page, const uint8_t *file, size_t size)
{
    size_t at = 0;
    for (size_t i = 0; i < size; i++) {
        bool cr = file[i] == '\r';
        if (at == page->len || page->data[at++] != (cr ? '\n' : file[i])) {
            return false;
        }
        i += cr && i + 1 < size && file[i + 1] == '\n' ? 1 : 0;
    }
    return at == page->len;
}

static void check_refusal(const struct buf *errors)
{
    if (errors->len == 0 || errors->data[errors->len - 1] != '\n' ||
        memcmp(errors->data, "x.html:", 7) != 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *origins[] = {"https://www.example.com"};
    if (size < 1) {
        return 0;
    }
    struct buf errors, out;
    buf_init(&errors, SIZE_MAX);
    buf_init(&out, SIZE_MAX);
    struct template *t = template_parse(data[0] % TEMPLATES, "x.html", data + 1, size - 1, origins,
                                        data[0] / TEMPLATES % 2, &errors);
    if (t == NULL) {
        check_refusal(&errors);
    } else {
        template_write(&out, t, put, NULL);
        if (errors.len > 0 || !buf_ok(&out) || !same_lines(&out, data + 1, size - 1) ||
            strpbrk(template_policy(t), "\r\n") != NULL || strstr(template_policy(t), "unsafe") != NULL) {
            abort();
        }
    }
    template_free(t);
    buf_free(&errors);
    buf_free(&out);
    return 0;
}
