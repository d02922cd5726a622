/* The script that a site may add to its form: web/form.js, made small, with the texts of a language. Pure. */

#include "bridge.h"

#include <string.h>

/* The file as it is, read by the assembler, and a NUL. */
__asm__(".section .rodata\n"
        "script_source:\n"
        ".incbin \"web/form.js\"\n"
        ".byte 0\n"
        ".previous\n");
extern const char script_source[] __attribute__((visibility("hidden")));

static const char settings[] = "SETTINGS"; /* where put_settings() belongs */

static const struct {
    const char *name;
    enum word word;
} texts[] = {
    {"sending", W_SENDING},      {"failed", W_FAILED},   {"thanks", W_RECEIVED},
    {"stored", W_RECEIVED_LEAD}, {"receipt", W_RECEIPT}, {"keep", W_KEEP},
};

static void put_settings(struct buf *out, enum language language)
{
    buf_fmt(out, "{\"lang\":\"%s\",\"dir\":\"%s\",\"texts\":{", words_tag(language), words_dir(language));
    for (size_t i = 0; i < COUNT(texts); i++) {
        buf_fmt(out, "%s\"%s\":", i > 0 ? "," : "", texts[i].name);
        page_json_string(out, words(language, texts[i].word));
    }
    buf_str(out, "}}");
}

/* Without its indentation; nothing of a line that is empty or a comment. */
static void put_line(struct buf *out, const char *line, size_t len, enum language language)
{
    while (len > 0 && *line == ' ') {
        line++;
        len--;
    }
    if (len == 0 || (len >= 2 && memcmp(line, "//", 2) == 0)) {
        return;
    }
    const char *gap = memmem(line, len, settings, sizeof settings - 1);
    if (gap != NULL) {
        buf_put(out, line, (size_t)(gap - line));
        put_settings(out, language);
        len -= (size_t)(gap - line) + sizeof settings - 1;
        line = gap + sizeof settings - 1;
    }
    buf_put(out, line, len);
    buf_byte(out, '\n');
}

void script_write(struct buf *out, const struct page_style *s)
{
    for (const char *line = script_source; *line != '\0'; line++) {
        size_t len = strcspn(line, "\n");
        put_line(out, line, len, s->language);
        line += len;
    }
}

/* A quoted string (RFC 9110 §8.8.3) of half a SHA-256. */
void script_etag(const struct buf *script, char tag[SCRIPT_ETAG_SIZE])
{
    unsigned char hash[br_sha256_SIZE];
    struct buf text;
    hash_digest(script->data, script->len, hash);
    buf_borrow(&text, tag, SCRIPT_ETAG_SIZE);
    buf_byte(&text, '"');
    buf_hex(&text, hash, sizeof hash / 2);
    buf_str(&text, "\"");
    tag[text.len] = '\0';
}
