/* base64.c: every length there and back, and only one way to write each. */

#include "bridge.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ALPHABET "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static const char *put(const void *bytes, size_t len, const char *last)
{
    static char memory[512];
    struct buf b;
    buf_borrow(&b, memory, sizeof memory);
    base64_put(&b, bytes, len, last);
    return buf_text(&b);
}

/* How many bytes text says; -1: it is wrong. */
static int get(const char *text, size_t len, unsigned char out[256], const char *last)
{
    struct buf b;
    buf_borrow(&b, out, 256);
    return base64_get(&b, text, len, last) ? (int)b.len : -1;
}

static void the_examples_of_the_rfc(void **state) /* RFC 4648 §10 */
{
    (void)state;
    static const char *const coded[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    unsigned char out[256];
    for (size_t len = 0; len < COUNT(coded); len++) {
        assert_string_equal(put("foobar", len, BASE64), coded[len]);
        assert_int_equal(get(coded[len], strlen(coded[len]), out, BASE64), len);
        assert_memory_equal(out, "foobar", len);
    }
}

static void each_letter_has_its_value_and_no_other_byte_has_one(void **state)
{
    (void)state;
    static const struct {
        const char *last, *letters;
    } both[] = {{BASE64, ALPHABET BASE64}, {BASE64_URL, ALPHABET BASE64_URL}};
    for (size_t i = 0; i < COUNT(both); i++) {
        for (int c = 0; c < 256; c++) {
            char text[4] = {'A', 'A', 'A', (char)c};
            const char *at = c == 0 ? NULL : strchr(both[i].letters, c);
            unsigned char out[256];
            int want = at != NULL ? 3 : c == '=' ? 2 : -1;
            assert_int_equal(get(text, 4, out, both[i].last), want);
            if (at != NULL) {
                assert_int_equal(out[2], at - both[i].letters);
                assert_memory_equal(put(out, 3, both[i].last), text, 4);
            }
        }
    }
}

static void any_bytes_come_back(void **state)
{
    (void)state;
    unsigned char bytes[256], out[256];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(i * 151 + 7);
    }
    for (size_t len = 0; len <= sizeof bytes; len++) {
        const char *text = put(bytes, len, BASE64);
        assert_int_equal(strlen(text), (len + 2) / 3 * 4);
        assert_int_equal(get(text, strlen(text), out, BASE64), len);
        assert_memory_equal(out, bytes, len);
    }
}

static void there_is_one_way_to_write_each(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "Z",    "Zg",       "Zg=",   "Zg===", "Zm9",   "=",      "==",   "====", "Z===",       "Zh==",
        "Zm9=", "Zg==Zg==", "Zm9v=", "Zm9v ", " Zm9v", "Zm\n9v", "Zm-_", "Z=g=", "Zm9v\nYg==",
    };
    unsigned char out[256];
    for (size_t i = 0; i < COUNT(wrong); i++) {
        assert_int_equal(get(wrong[i], strlen(wrong[i]), out, BASE64), -1);
    }
    assert_int_equal(get("Zm9\0", 4, out, BASE64), -1);
}

static void what_does_not_fit_is_said(void **state)
{
    (void)state;
    char memory[5];
    struct buf b;
    buf_borrow(&b, memory, 5);
    base64_put(&b, "foob", 4, BASE64);
    assert_false(buf_ok(&b));
    buf_borrow(&b, memory, 5);
    assert_false(base64_get(&b, "Zm9vYmFy", 8, BASE64));
    buf_borrow(&b, memory, 5);
    assert_true(base64_get(&b, "Zm9vYmE=", 8, BASE64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_the_rfc),
        cmocka_unit_test(each_letter_has_its_value_and_no_other_byte_has_one),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(there_is_one_way_to_write_each),
        cmocka_unit_test(what_does_not_fit_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
