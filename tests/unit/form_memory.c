/* Memory that runs out: every allocation of a form fails once, and the form fails as a whole. Linked with
 * --wrap=malloc, calloc and reallocarray. */

#include "tests/form_body.h"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);

static long left = -1; /* allocations until the one that fails; negative: none does */

static bool fails(void)
{
    return left >= 0 && left-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
    return fails() ? NULL : __real_reallocarray(old, count, size);
}

/* Feeds in two pieces without an allocation of the test's own. NULL: not even begun. */
static struct form *parse(const struct body *b, struct buf *boundary, struct buf *charset)
{
    struct form *f = form_new(b->kind, boundary, charset, &b->limits);
    if (f != NULL && form_feed(f, b->bytes, b->len / 2) &&
        form_feed(f, b->bytes + b->len / 2, b->len - b->len / 2)) {
        form_end(f);
    }
    return f;
}

static void each_allocation_that_fails_fails_the_form(const struct body *b)
{
    struct buf boundary, charset;
    buf_init(&boundary, 100);
    buf_init(&charset, 100);
    buf_str(&boundary, "B");
    buf_str(&charset, b->charset);
    bool whole = false;
    long n = 0;
    for (; !whole; n++) {
        left = n;
        struct form *f = parse(b, &boundary, &charset);
        whole = left >= 0; /* the one that was to fail was never asked for */
        left = -1;
        if (f != NULL && form_error(f) != (whole ? FORM_OK : FORM_NO_MEMORY)) {
            fail_msg("allocation %ld: error %d, \"%s\"", n, (int)form_error(f), form_why(f));
        }
        form_free(f);
    }
    assert_true(n > 6);
    buf_free(&boundary);
    buf_free(&charset);
}

static void urlencoded_out_of_memory_is_an_error(void **state)
{
    (void)state;
    static const char text[] = "a=%FC%00&b=2&c=3&d=4&e=5&f=6&g=7&h=8&_charset_=koi8-r&i=%26%238364%3B";
    each_allocation_that_fails_fails_the_form(&(struct body){.kind = FORM_URLENCODED,
                                                             .charset = "utf-8",
                                                             .limits = {.body = 1000, .fields = 20},
                                                             .bytes = text,
                                                             .len = sizeof(text) - 1});
}

static void multipart_out_of_memory_is_an_error(void **state)
{
    (void)state;
    static const char text[] = "--B\r\nContent-Disposition: form-data; name=\"a\"; filename=\"\xe9\"\r\n"
                               "Content-Type: text/plain; charset=latin1\r\n\r\n1\r\n"
                               "--B\r\nContent-Disposition: form-data; name=\"b\"\r\n"
                               "Content-Type: text/plain; charset=koi8-r\r\n\r\n\xc1\0\r\n--B--\r\n";
    each_allocation_that_fails_fails_the_form(
        &(struct body){.kind = FORM_MULTIPART,
                       .charset = "",
                       .limits = {.body = 1000, .fields = 20, .files = 2},
                       .bytes = text,
                       .len = sizeof(text) - 1});
}

static void json_out_of_memory_is_an_error(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":\"\\u0000\",\"b\":[1,true,\"x\"]}";
    each_allocation_that_fails_fails_the_form(&(struct body){.kind = FORM_JSON,
                                                             .charset = "",
                                                             .limits = {.body = 1000, .fields = 20},
                                                             .bytes = text,
                                                             .len = sizeof(text) - 1});
}

int main(void)
{
    charset_open();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urlencoded_out_of_memory_is_an_error),
        cmocka_unit_test(multipart_out_of_memory_is_an_error),
        cmocka_unit_test(json_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
