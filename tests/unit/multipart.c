/* multipart/form-data, as browsers send it and as others imitate it. */

#include "tests/form_body.h"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

#define WEBKIT     "----WebKitFormBoundary7MA4YWxkTrZu0gW"
#define PART(name) "--B\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n"
#define END        "\r\n--B--\r\n"
/* A body from a literal that may hold NUL. */
#define BODY(text) (text), sizeof(text) - 1

static const struct form_limits roomy = {.body = 65536, .fields = 100, .files = 10};

/* The whole, every cut in two, and byte by byte: all the same. */
static struct form *parse(const char *boundary, const char *bytes, size_t len)
{
    struct body b = {
        .kind = FORM_MULTIPART, .boundary = boundary, .limits = roomy, .bytes = bytes, .len = len};
    struct form *whole = body_parse(&b, 0, 0);
    assert_non_null(whole);
    for (size_t cut = 1; cut < len; cut++) {
        struct form *two = body_parse(&b, cut, 0);
        assert_true(body_same(whole, two));
        form_free(two);
    }
    struct form *bytewise = body_parse(&b, 1, 1);
    assert_true(body_same(whole, bytewise));
    form_free(bytewise);
    return whole;
}

static struct form *good(const char *bytes, size_t len)
{
    struct form *f = parse("B", bytes, len);
    assert_string_equal(form_why(f), "");
    assert_int_equal(form_error(f), FORM_OK);
    return f;
}

static void assert_error(const char *bytes, size_t len, enum form_error error, const char *word)
{
    struct form *f = parse("B", bytes, len);
    assert_int_equal(form_error(f), error);
    if (strstr(form_why(f), word) == NULL) {
        fail_msg("\"%s\" does not speak of %s", form_why(f), word);
    }
    form_free(f);
}

static void assert_bytes(const struct buf *b, const char *want, size_t len)
{
    assert_int_equal(b->len, len);
    assert_memory_equal(b->len == 0 ? (const void *)"" : b->data, want, len);
}

static void assert_field(struct form *f, size_t i, const char *name, const char *value)
{
    struct field *field = form_field(f, i);
    assert_non_null(field);
    assert_bytes(&field->name, name, strlen(name));
    assert_bytes(&field->value, value, strlen(value));
}

static void assert_only(const char *bytes, size_t len, const char *name, const char *value)
{
    struct form *f = good(bytes, len);
    assert_int_equal(form_count(f), 1);
    assert_field(f, 0, name, value);
    form_free(f);
}

/* ---- what browsers send ---------------------------------------------------------------------- */

static void post_of_chromium_is_read_exactly(void **state)
{
    (void)state;
    static const char body[] =
        "--" WEBKIT "\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nAda \xc3\x9c.\r\n"
        "--" WEBKIT "\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\none\r\ntwo\r\n\r\n"
        "--" WEBKIT "\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a %22b%22.png\"\r\n"
        "Content-Type: image/png\r\n\r\n\x89PNG\r\n\x1a\n\0\0\r\n--\r\n"
        "--" WEBKIT "\r\nContent-Disposition: form-data; name=\"more\"; filename=\"\"\r\n"
        "Content-Type: application/octet-stream\r\n\r\n\r\n"
        "--" WEBKIT "\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n\r\n"
        "--" WEBKIT "--\r\n";
    struct form *f = parse(WEBKIT, BODY(body));
    assert_int_equal(form_error(f), FORM_OK);
    assert_int_equal(form_count(f), 4); /* the file input that nobody filled is gone */
    assert_field(f, 0, "name", "Ada \xc3\x9c.");
    assert_field(f, 1, "note", "one\r\ntwo\r\n");
    struct field *photo = form_field(f, 2);
    assert_true(photo->file);
    assert_bytes(&photo->filename, BODY("a %22b%22.png"));
    assert_bytes(&photo->type, BODY("image/png"));
    assert_bytes(&photo->value, BODY("\x89PNG\r\n\x1a\n\0\0\r\n--"));
    assert_int_equal(photo->repaired, 0);
    assert_field(f, 3, "note", "");
    assert_ptr_equal(form_find(f, "note"), form_field(f, 1));
    assert_null(form_find(f, "photo"));
    form_free(f);
}

static void post_of_firefox_is_read_exactly(void **state)
{
    (void)state;
    static const char boundary[] = "---------------------------303491271811254738951234567890";
    static const char body[] =
        "-----------------------------303491271811254738951234567890\r\n"
        "Content-Disposition: form-data; name=\"a%0D%0Ab%22c\\d\"\r\n\r\n1\r\n"
        "-----------------------------303491271811254738951234567890\r\n"
        "Content-Disposition: form-data; name=\"f\"; filename=\"b\\\"\r\nContent-Type: text/plain\r\n\r\n"
        "-----------------------------30349127181125473895123456789\r\n"
        "-----------------------------303491271811254738951234567890--\r\n";
    struct form *f = parse(boundary, BODY(body));
    assert_int_equal(form_error(f), FORM_OK);
    assert_int_equal(form_count(f), 2);
    assert_field(f, 0, "a%0D%0Ab%22c\\d", "1"); /* neither percent-decoded nor unescaped: it cannot be told */
    assert_field(f, 1, "f", "-----------------------------30349127181125473895123456789");
    assert_bytes(&form_field(f, 1)->filename, BODY("b\\"));
    form_free(f);
}

static void form_without_fields_is_a_closing_boundary(void **state)
{
    (void)state;
    struct form *f = good(BODY("--B--\r\n"));
    assert_int_equal(form_count(f), 0);
    form_free(f);
}

static void nul_in_names_and_values_is_kept_visible_and_in_files_untouched(void **state)
{
    (void)state;
    struct form *f = good(BODY(PART("a\0b") "x\0y\r\n--B\r\nContent-Disposition: form-data; name=f; "
                                            "filename=\"p\0q\"\r\n\r\n\0\0" END));
    assert_int_equal(form_count(f), 2);
    assert_field(f, 0,
                 "a\xe2\x90\x80"
                 "b",
                 "x\xe2\x90\x80"
                 "y");
    assert_int_equal(form_field(f, 0)->repaired, REPAIRED_NUL);
    assert_bytes(&form_field(f, 1)->filename, BODY("p\xe2\x90\x80q"));
    assert_bytes(&form_field(f, 1)->value, BODY("\0\0"));
    form_free(f);
}

static void file_bytes_are_never_converted(void **state)
{
    (void)state;
    struct form *f = good(BODY("--B\r\nContent-Disposition: form-data; name=\"_charset_\"\r\n\r\nkoi8-r\r\n"
                               "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"\xc1.txt\"\r\n"
                               "Content-Type: Text/Plain; charset=koi8-r\r\n\r\n\xc1&#8364;" END));
    assert_int_equal(form_count(f), 1);
    assert_bytes(&form_field(f, 0)->filename, BODY("\xd0\xb0.txt"));
    assert_bytes(&form_field(f, 0)->value, BODY("\xc1&#8364;"));
    assert_bytes(&form_field(f, 0)->type, BODY("text/plain"));
    form_free(f);
}

static void charset_of_a_part_is_used_unless_the_form_says_otherwise(void **state)
{
    (void)state;
    assert_only(BODY("--B\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Type: text/plain; "
                     "charset=\"koi8-r\""
                     "\r\n\r\n\xc1" END),
                "a", "\xd0\xb0");
    assert_only(BODY(PART("_charset_") "utf-8\r\n--B\r\nContent-Disposition: form-data; name=\"a\"\r\n"
                                       "Content-Type: text/plain; charset=koi8-r\r\n\r\n\xd0\xb0" END),
                "a", "\xd0\xb0");
}

static void long_filename_keeps_its_end_and_whole_characters(void **state)
{
    (void)state;
    char body[1000] = "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"";
    size_t at = strlen(body);
    for (int i = 0; i < 150; i++) {
        memcpy(body + at, "\xc3\xbc", 2);
        at += 2;
    }
    static const char rest[] = ".pdf\"\r\n\r\nx" END;
    memcpy(body + at, rest, sizeof(rest));
    struct form *f = good(body, at + sizeof(rest) - 1);
    const struct buf *name = &form_field(f, 0)->filename;
    assert_int_equal(name->len, 254);
    assert_memory_equal(name->data, "\xc3\xbc", 2);
    assert_memory_equal(name->data + 250, ".pdf", 4);
    form_free(f);
}

/* ---- tolerated ------------------------------------------------------------------------------- */

static void what_other_clients_write_means_the_same(void **state)
{
    (void)state;
    assert_only(BODY("\r\n" PART("a") "1" END), "a", "1");
    assert_only(BODY(PART("a") "1\r\n--B--"), "a", "1");
    assert_only(BODY(PART("a") "1\r\n--B-- \t\r\n"), "a", "1");
    assert_only(BODY("--B \t\r\ncontent-disposition:FORM-DATA;NAME=a;x=y;\r\n\r\n1" END), "a", "1");
    assert_only(
        BODY("--B\r\nX-Other: 1\r\nContent-Length: 99\r\nContent-Disposition:  form-data ; name=\"a\"  \r\n"
             "Content-Transfer-Encoding: BINARY\r\n\r\n1" END),
        "a", "1");
    assert_only(BODY(PART("") "1" END), "", "1");
    assert_only(BODY(PART("a") "\r\n--B--"), "a", "");
    assert_only(BODY("--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n--B--"), "a", "");
    assert_only(BODY("--B\r\nContent-Disposition: form-data; name=a\r\nContent-Type: nonsense\r\n\r\n1" END),
                "a", "1");
}

static void filename_star_is_ignored_beside_a_filename(void **state)
{
    (void)state;
    struct form *f =
        good(BODY("--B\r\nContent-Disposition: form-data; name=\"a\"; filename*=utf-8''y; filename=\"x\""
                  "\r\n\r\n1" END));
    assert_bytes(&form_field(f, 0)->filename, BODY("x"));
    form_free(f);
}

static void multipart_inside_a_part_is_its_content(void **state)
{
    (void)state;
    struct form *f = good(BODY("--B\r\nContent-Disposition: form-data; name=\"a\"\r\n"
                               "Content-Type: multipart/mixed; boundary=N\r\n\r\n"
                               "--N\r\nContent-Disposition: file; filename=\"x\"\r\n\r\nx\r\n--N--\r\n"
                               "\r\n" PART("b") "2" END));
    assert_int_equal(form_count(f), 2);
    assert_field(f, 0, "a", "--N\r\nContent-Disposition: file; filename=\"x\"\r\n\r\nx\r\n--N--\r\n");
    assert_field(f, 1, "b", "2");
    form_free(f);
}

static void content_that_imitates_a_boundary_is_content(void **state)
{
    (void)state;
    static const char *const contents[] = {
        "\r",       "\n",       "\r\n",      "\r\r\n", "\r\n-",   "\r\n--",     "--",
        "--B",      "x--B\r\n", "\n--B\r\n", "\r--B",  "\r\n--b", "\r\n\r\n--", "\r\n--\r\n--\r\n-",
        "\r\n -- B"};
    for (size_t i = 0; i < COUNT(contents); i++) {
        char body[200];
        /* "--B" at the very start of a part would be the delimiter of one without content */
        assert_true(text_fmt(body, sizeof(body), PART("a") "=%s" END, contents[i]));
        struct form *f = good(body, strlen(body));
        assert_int_equal(form_count(f), 1);
        assert_bytes(&form_field(f, 0)->value, strstr(body, "\r\n\r\n=") + 4, 1 + strlen(contents[i]));
        form_free(f);
    }
}

/* ---- malformed ------------------------------------------------------------------------------- */

static void body_that_is_not_complete_and_exact_is_malformed(void **state)
{
    (void)state;
    static const char whole[] = PART("a") "1\r\n--B--";
    for (size_t len = 0; len < sizeof(whole) - 1; len++) {
        assert_error(whole, len, FORM_MALFORMED, "boundary");
    }
    assert_error(BODY("garbage"), FORM_MALFORMED, "begin");
    assert_error(BODY("preamble\r\n" PART("a") "1" END), FORM_MALFORMED, "begin");
    assert_error(BODY("\r\n\r\n" PART("a") "1" END), FORM_MALFORMED, "begin");
    assert_error(BODY(PART("a") "1" END "x"), FORM_MALFORMED, "behind");
    assert_error(BODY(PART("a") "1" END "\r\n"), FORM_MALFORMED, "behind");
    assert_error(BODY(PART("a") "1\r\n--B--\n"), FORM_MALFORMED, "behind");
    assert_error(BODY(PART("a") "1\r\n--B--\r"), FORM_MALFORMED, "boundary");
    assert_error(BODY(PART("a") "1\r\n--B-x"), FORM_MALFORMED, "--");
    assert_error(BODY(PART("a") "1\r\n--BX\r\n" END), FORM_MALFORMED, "boundary");
    assert_error(BODY(PART("a") "1\r\n--B\n" END), FORM_MALFORMED, "boundary");
    assert_error(BODY(PART("a") "1\r\n--B\rx" END), FORM_MALFORMED, "CR LF");
    assert_error(BODY("--B\nContent-Disposition: form-data; name=\"a\"\n\n1\n--B--\n"), FORM_MALFORMED,
                 "boundary");
}

static void part_that_two_readers_could_take_differently_is_malformed(void **state)
{
    (void)state;
#define HEAD(lines) BODY("--B\r\n" lines "\r\n\r\n1" END)
#define DISPOSITION "Content-Disposition: form-data; name=\"a\""
    assert_error(BODY("--B\r\n\r\n1" END), FORM_MALFORMED, "no Content-Disposition");
    assert_error(HEAD("Content-Type: text/plain"), FORM_MALFORMED, "no Content-Disposition");
    assert_error(HEAD("Content-Disposition: form-data"), FORM_MALFORMED, "no name");
    assert_error(HEAD("Content-Disposition: form-data; filename=\"x\""), FORM_MALFORMED, "no name");
    assert_error(HEAD("Content-Disposition: attachment; name=\"a\""), FORM_MALFORMED, "form-data");
    assert_error(HEAD(DISPOSITION "\r\n" DISPOSITION), FORM_MALFORMED, "exactly one");
    assert_error(HEAD(DISPOSITION "; name=\"b\""), FORM_MALFORMED, "two names");
    assert_error(HEAD(DISPOSITION "; filename=\"x\"; filename=\"\""), FORM_MALFORMED, "two names");
    assert_error(HEAD(DISPOSITION "; filename=\"a\\\"b\""), FORM_MALFORMED, "%22");
    assert_error(HEAD(DISPOSITION "; filename=\"a"), FORM_MALFORMED, "%22");
    assert_error(HEAD(DISPOSITION "; filename=a b"), FORM_MALFORMED, "%22");
    assert_error(HEAD(DISPOSITION "; filename="), FORM_MALFORMED, "%22");
    assert_error(HEAD(DISPOSITION "; filename*=utf-8''x"), FORM_MALFORMED, "filename*");
    assert_error(HEAD("Content-Disposition: form-data;\r\n name=\"a\""), FORM_MALFORMED, "folded");
    assert_error(HEAD(" " DISPOSITION), FORM_MALFORMED, "folded");
    assert_error(HEAD(DISPOSITION "\r\nContent-Type : text/plain"), FORM_MALFORMED, "Name: value");
    assert_error(HEAD(DISPOSITION "\r\n: text/plain"), FORM_MALFORMED, "Name: value");
    assert_error(HEAD(DISPOSITION "\r\nContent-Type"), FORM_MALFORMED, "Name: value");
    assert_error(HEAD(DISPOSITION "\nX: y"), FORM_MALFORMED, "CR LF");
    assert_error(HEAD(DISPOSITION "\rX: y"), FORM_MALFORMED, "CR");
    assert_error(HEAD(DISPOSITION "\r\nContent-Type: text/plain\r\nContent-Type: text/html"), FORM_MALFORMED,
                 "two");
    assert_error(HEAD(DISPOSITION "\r\nContent-Transfer-Encoding: base64"), FORM_MALFORMED, "Encoding");
    assert_error(HEAD(DISPOSITION "\r\nContent-Transfer-Encoding: quoted-printable"), FORM_MALFORMED,
                 "Encoding");
    assert_error(HEAD(DISPOSITION "\r\nContent-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: 8bit"),
                 FORM_MALFORMED, "Encoding");
}

/* ---- limits ---------------------------------------------------------------------------------- */

static enum form_error limited(const char *bytes, size_t len, struct form_limits limits)
{
    struct body b = {.kind = FORM_MULTIPART, .boundary = "B", .limits = limits, .bytes = bytes, .len = len};
    struct form *f = body_parse(&b, 0, 0);
    enum form_error error = form_error(f);
    form_free(f);
    return error;
}

static void limits_of_fields_files_and_body_are_exact(void **state)
{
    (void)state;
#define FILE_PART "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n1\r\n"
    static const char body[] = FILE_PART FILE_PART PART("a") "1" END;
    size_t len = sizeof(body) - 1;
    assert_int_equal(limited(body, len, (struct form_limits){.body = len, .fields = 3, .files = 2}), FORM_OK);
    assert_int_equal(limited(body, len, (struct form_limits){.body = len, .fields = 3, .files = 1}),
                     FORM_TOO_MANY_FILES);
    assert_int_equal(limited(body, len, (struct form_limits){.body = len, .fields = 2, .files = 2}),
                     FORM_TOO_MANY);
    assert_int_equal(limited(body, len, (struct form_limits){.body = len - 1, .fields = 3, .files = 2}),
                     FORM_TOO_LARGE);
}

static void limits_of_a_parts_head_are_exact(void **state)
{
    (void)state;
    char body[20000];
    for (int extra = 0; extra < 2; extra++) {
        struct buf b;
        buf_borrow(&b, body, sizeof(body));
        buf_str(&b, "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n");
        for (int i = 0; i < 15 + extra; i++) {
            buf_str(&b, "X: y\r\n");
        }
        buf_str(&b, "\r\n1" END);
        assert_int_equal(limited(body, b.len, roomy), extra == 0 ? FORM_OK : FORM_TOO_LARGE);
        buf_clear(&b);
        buf_str(&b, "--B\r\nContent-Disposition: form-data; name=\"a\"\r\nX:");
        for (int i = 0; i < 8190 + extra; i++) {
            buf_byte(&b, 'y');
        }
        buf_str(&b, "\r\n\r\n1" END);
        assert_int_equal(limited(body, b.len, roomy), extra == 0 ? FORM_OK : FORM_TOO_LARGE);
        buf_clear(&b);
        buf_str(&b, "--B\r\nContent-Disposition: form-data; name=\"");
        for (int i = 0; i < FIELD_NAME_MAX + extra; i++) {
            buf_byte(&b, 'n');
        }
        buf_str(&b, "\"\r\n\r\n1" END);
        assert_int_equal(limited(body, b.len, roomy), extra == 0 ? FORM_OK : FORM_TOO_LARGE);
    }
}

int main(void)
{
    charset_open();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(post_of_chromium_is_read_exactly),
        cmocka_unit_test(post_of_firefox_is_read_exactly),
        cmocka_unit_test(form_without_fields_is_a_closing_boundary),
        cmocka_unit_test(nul_in_names_and_values_is_kept_visible_and_in_files_untouched),
        cmocka_unit_test(file_bytes_are_never_converted),
        cmocka_unit_test(charset_of_a_part_is_used_unless_the_form_says_otherwise),
        cmocka_unit_test(long_filename_keeps_its_end_and_whole_characters),
        cmocka_unit_test(what_other_clients_write_means_the_same),
        cmocka_unit_test(filename_star_is_ignored_beside_a_filename),
        cmocka_unit_test(multipart_inside_a_part_is_its_content),
        cmocka_unit_test(content_that_imitates_a_boundary_is_content),
        cmocka_unit_test(body_that_is_not_complete_and_exact_is_malformed),
        cmocka_unit_test(part_that_two_readers_could_take_differently_is_malformed),
        cmocka_unit_test(limits_of_fields_files_and_body_are_exact),
        cmocka_unit_test(limits_of_a_parts_head_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
