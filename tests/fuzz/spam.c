/* A list of words, a NUL, then an urlencoded post: neither the list nor the judgement of the post reads beyond, and
 * the verdict agrees with itself. */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *traps[] = {"_gotcha"};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    charset_open();
    return 0;
}

static void require(bool promise)
{
    if (!promise) {
        abort();
    }
}

/* What is found in a text folded from the entry itself is the entry. */
static void check_list(struct spamlist *l, const char *line, size_t len)
{
    struct buf folded;
    size_t found[4], count = 0;
    if (spamlist_add(l, line, len) == NULL) {
        buf_init(&folded, 4 * len + 16);
        spamlist_fold(line, len, &folded);
        require(folded.len > 0 && buf_text(&folded) != NULL);
        spamlist_find(l, buf_text(&folded), found, &count, COUNT(found));
        require(count > 0);
        buf_free(&folded);
    }
}

static void check_verdict(const struct spam_verdict *v, const struct form_conf *f)
{
    unsigned sum = 0;
    for (size_t i = 0; i < SPAM_SIGNS; i++) {
        sum += v->points[i];
    }
    require(sum == v->score && v->spam == (v->score >= f->spam_score) && v->class < SPAM_CLASSES);
    require((v->reasons[0] != '\0') == (v->score > 0));
    for (const char *c = v->reasons; *c != '\0'; c++) {
        require(*c >= ' ' && *c <= '~');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char secret[SECRET_SIZE] = "fuzz";
    const char *text = (const char *)data;
    size_t list_len = strnlen(text, size);
    size_t body = list_len < size ? list_len + 1 : size;
    struct form_conf f = {
        .name = "order", .honeypots = traps, .honeypot_count = 1, .spam_score = 5, .proof_bits = 1};
    const struct form_limits limits = {.body = 1 << 16, .fields = 100, .files = 1};
    char why[256];
    f.spamlist = spamlist_new();
    struct form *fields = form_new(FORM_URLENCODED, NULL, NULL, &limits);
    require(f.spamlist != NULL && fields != NULL);
    check_list(f.spamlist, text, list_len < 300 ? list_len : 300);
    spamlist_parse(f.spamlist, "list", text, list_len, why, sizeof why);
    if (form_feed(fields, data + body, size - body) && form_end(fields)) {
        struct spam_verdict v;
        const struct spam_job job = {.form = &f, .fields = fields, .secret = secret, .now = 1795305136};
        spam_hide(&f, fields);
        spam_judge(&v, &job);
        check_verdict(&v, &f);
        f.token = TOKEN_REQUIRED;
        spam_judge(&v, &job);
        check_verdict(&v, &f);
    }
    form_free(fields);
    spamlist_free(f.spamlist);
    return 0;
}
