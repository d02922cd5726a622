/* upload.c: a file's name and type as a hostile browser sends them. */

#include "bridge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char *reduced(void (*reduce)(const struct field *, struct buf *), const void *bytes, size_t len)
{
    static char memory[FILE_NAME_MAX + 1];
    struct field f = {0};
    struct buf claim = {.data = (unsigned char *)(uintptr_t)bytes, .len = len, .cap = len, .borrowed = true};
    f.filename = claim;
    f.type = claim;
    struct buf out;
    buf_borrow(&out, memory, sizeof memory);
    reduce(&f, &out);
    const char *text = buf_text(&out);
    assert_non_null(text);
    return text;
}

static const char *name(const char *claim)
{
    return reduced(upload_name, claim, strlen(claim));
}

static const char *type(const char *claim)
{
    return reduced(upload_type, claim, strlen(claim));
}

static void test_an_honest_name_is_kept(void **state)
{
    (void)state;
    assert_string_equal(name("photo.jpg"), "photo.jpg");
    assert_string_equal(name("My holiday (2).tar.gz"), "My holiday (2).tar.gz");
    assert_string_equal(name("\xD1\x84\xD0\xBE\xD1\x82\xD0\xBE.jpg"), "\xD1\x84\xD0\xBE\xD1\x82\xD0\xBE.jpg");
    assert_string_equal(name("100%.txt"), "100%.txt");
}

static void test_a_path_is_taken_away(void **state)
{
    (void)state;
    assert_string_equal(name("/etc/passwd"), "passwd");
    assert_string_equal(name("C:\\Users\\ada\\a.txt"), "a.txt");
    assert_string_equal(name("../../a.txt"), "a.txt");
    assert_string_equal(name("a/b\\c/d"), "d");
    assert_string_equal(name("a\\b/"), "upload");
}

static void test_nothing_left_is_called_upload(void **state)
{
    (void)state;
    static const char *const empty[] = {"",  ".",  "..",      "...", " ", ". .", "\xE2\x80\xAE",
                                        "/", "\\", "\xC2\xA0"};
    for (size_t i = 0; i < COUNT(empty); i++) {
        assert_string_equal(name(empty[i]), "upload");
    }
}

static void test_hidden_and_disguised_names_are_plain(void **state)
{
    (void)state;
    assert_string_equal(name(".htaccess"), "htaccess");
    assert_string_equal(name(" . .x"), "x");
    assert_string_equal(name("a.exe . "), "a.exe");
    assert_string_equal(name("exe.\xE2\x80\xAEgpj"), "exe.gpj");
    assert_string_equal(name("a\xE2\x81\xA6\xE2\x80\x8F.txt"), "a.txt");
}

static void test_controls_and_line_ends_are_replaced(void **state)
{
    (void)state;
    assert_string_equal(name("a\r\nBcc: x@example.com"), "a__Bcc: x@example.com");
    assert_string_equal(name("a\x1B[31m\t\x7F.txt"), "a_[31m__.txt");
    assert_string_equal(name("a\xC2\x85\xE2\x80\xA8\xE2\x80\xA9.txt"), "a___.txt");
    assert_string_equal(reduced(upload_name, "a.jpg\0.exe", 10), "a.jpg_.exe");
}

static void test_a_name_that_is_not_utf8_becomes_it(void **state)
{
    (void)state;
    assert_string_equal(name("\xFF\xC3.txt"), "\xEF\xBF\xBD\xEF\xBF\xBD.txt");
    assert_string_equal(name("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
}

static bool is_utf8(const char *text)
{
    uint32_t c;
    for (size_t n; *text != '\0'; text += n) {
        n = utf8_next(text, strlen(text), &c);
        if (n == 1 && c == UTF8_REPLACEMENT) {
            return false;
        }
    }
    return true;
}

static void test_a_long_name_is_cut_between_characters_and_keeps_its_extension(void **state)
{
    (void)state;
    char long_name[1000];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(long_name, 'x', shift);
        for (size_t i = shift; i + 12 < sizeof long_name; i += 3) {
            memcpy(long_name + i, "\xE2\x82\xAC.docx", 9);
        }
        const char *cut = name(long_name);
        size_t len = strlen(cut);
        assert_in_range(len, FILE_NAME_MAX - 3, FILE_NAME_MAX);
        assert_string_equal(cut + len - 5, ".docx");
        assert_true(is_utf8(cut));
    }
    memset(long_name, 'x', 300); /* what looks like an extension, but is longer than one */
    long_name[10] = '.';
    long_name[300] = '\0';
    assert_int_equal(strlen(name(long_name)), FILE_NAME_MAX);
}

static void test_an_honest_type_is_kept(void **state)
{
    (void)state;
    static const char *const types[] = {
        "image/jpeg",
        "image/svg+xml",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/x-7z-compressed",
    };
    for (size_t i = 0; i < COUNT(types); i++) {
        assert_string_equal(type(types[i]), types[i]);
    }
}

static void test_a_type_that_is_none_or_makes_a_reader_act_is_neutral(void **state)
{
    (void)state;
    static const char *const types[] = {
        "",
        "/",
        "image",
        "image/",
        "/jpeg",
        "image/jpeg/x",
        "image/jpeg; name=x",
        "image/jp eg",
        "image/jpeg\r\nBcc: x@example.com",
        "image/\"jpeg\"",
        "im\xC3\xA4ge/jpeg",
        "text/html",
        "text/plain",
        "multipart/mixed",
        "Multipart/Alternative",
        "message/rfc822",
        "MESSAGE/external-body",
        "message/delivery-status",
        "application/pkcs7-mime",
        "application/x-pkcs7-signature",
        "application/pgp-encrypted",
        "application/ms-tnef",
        "application/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    };
    for (size_t i = 0; i < COUNT(types); i++) {
        assert_string_equal(type(types[i]), "application/octet-stream");
    }
    assert_string_equal(reduced(upload_type, "image/jpeg\0", 11), "application/octet-stream");
    assert_string_equal(reduced(upload_type, "image\0/jpeg", 11), "application/octet-stream");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_honest_name_is_kept),
        cmocka_unit_test(test_a_path_is_taken_away),
        cmocka_unit_test(test_nothing_left_is_called_upload),
        cmocka_unit_test(test_hidden_and_disguised_names_are_plain),
        cmocka_unit_test(test_controls_and_line_ends_are_replaced),
        cmocka_unit_test(test_a_name_that_is_not_utf8_becomes_it),
        cmocka_unit_test(test_a_long_name_is_cut_between_characters_and_keeps_its_extension),
        cmocka_unit_test(test_an_honest_type_is_kept),
        cmocka_unit_test(test_a_type_that_is_none_or_makes_a_reader_act_is_neutral),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
