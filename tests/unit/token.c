/* token.c and secret.c: a token cannot be made up, moved, or kept too long; a proof is for one token. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const int64_t when = 1795305136;
static const unsigned char secret[SECRET_SIZE] = "this is a secret of the tests.";
static const unsigned char random_bytes[TOKEN_RANDOM] = {0xff, 0xfe, 0xfd, 3, 2, 1};
static const struct token_key key = {secret, "order"};

static char token[TOKEN_LEN + 1];

static int setup(void **state)
{
    (void)state;
    token_make(token, &key, when, random_bytes);
    return 0;
}

static enum token_verdict read_at(const char *text, int64_t now)
{
    int64_t age;
    return token_read(&key, text, strlen(text), now, &age);
}

static void a_token_tells_its_age(void **state)
{
    (void)state;
    static const int64_t ages[] = {0, 1, 59, TOKEN_LIFE - 1, TOKEN_LIFE};
    for (size_t i = 0; i < COUNT(ages); i++) {
        int64_t age = -1;
        assert_int_equal(token_read(&key, token, TOKEN_LEN, when + ages[i], &age), TOKEN_GOOD);
        assert_int_equal(age, ages[i]);
    }
}

static void it_is_letters_that_need_no_escape(void **state)
{
    (void)state;
    assert_int_equal(strlen(token), TOKEN_LEN);
    assert_int_equal(strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
                     TOKEN_LEN);
}

static void it_expires(void **state)
{
    (void)state;
    assert_int_equal(read_at(token, when + TOKEN_LIFE + 1), TOKEN_EXPIRED);
    assert_int_equal(read_at(token, INT64_MAX), TOKEN_EXPIRED);
}

/* The clock may be set back a little. */
static void one_from_the_future_is_not_old(void **state)
{
    (void)state;
    int64_t age = -1;
    assert_int_equal(token_read(&key, token, TOKEN_LEN, when - 60, &age), TOKEN_GOOD);
    assert_int_equal(age, 0);
    assert_int_equal(read_at(token, when - 61), TOKEN_EXPIRED);
}

static void any_changed_letter_is_a_forgery(void **state)
{
    (void)state;
    static const char letters[] = "AZaz09-_ =\x80";
    for (size_t i = 0; i < TOKEN_LEN; i++) {
        for (size_t k = 0; k < sizeof letters; k++) { /* the NUL, too */
            char changed[TOKEN_LEN + 1];
            int64_t age = -1;
            memcpy(changed, token, sizeof changed);
            changed[i] = letters[k];
            bool same = changed[i] == token[i];
            assert_int_equal(token_read(&key, changed, TOKEN_LEN, when, &age),
                             same ? TOKEN_GOOD : TOKEN_FORGED);
            assert_int_equal(age, 0);
        }
    }
}

static void another_length_is_a_forgery_and_nothing_is_none(void **state)
{
    (void)state;
    char longer[3 * TOKEN_LEN];
    text_fmt(longer, sizeof longer, "%s%s", token, token);
    int64_t age;
    for (size_t len = 1; len < 2 * TOKEN_LEN; len++) {
        assert_int_equal(token_read(&key, longer, len, when, &age),
                         len == TOKEN_LEN ? TOKEN_GOOD : TOKEN_FORGED);
    }
    assert_int_equal(token_read(&key, NULL, 0, when, &age), TOKEN_NONE);
}

static void it_is_for_one_form_and_one_server(void **state)
{
    (void)state;
    static const unsigned char other[SECRET_SIZE] = "this is a secret of the tests,";
    const struct token_key keys[] = {{secret, "orders"}, {secret, "orde"}, {secret, ""}, {other, "order"}};
    int64_t age;
    for (size_t i = 0; i < COUNT(keys); i++) {
        assert_int_equal(token_read(&keys[i], token, TOKEN_LEN, when, &age), TOKEN_FORGED);
    }
}

static void two_of_the_same_second_differ(void **state)
{
    (void)state;
    static const unsigned char more[TOKEN_RANDOM] = {1};
    char other[TOKEN_LEN + 1];
    token_make(other, &key, when, more);
    assert_string_not_equal(other, token);
}

/* Counted here in another way. */
static void a_proof_counts_leading_zero_bits(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits <= 14; bits++) {
        char proof[TOKEN_PROOF_MAX + 1];
        token_prove("abc", bits, proof);
        assert_true(token_proved("abc", 3, proof, strlen(proof), bits));
        br_sha256_context sha;
        unsigned char digest[br_sha256_SIZE];
        br_sha256_init(&sha);
        br_sha256_update(&sha, "abc:", 4);
        br_sha256_update(&sha, proof, strlen(proof));
        br_sha256_out(&sha, digest);
        uint32_t head = (uint32_t)digest[0] << 16 | (uint32_t)digest[1] << 8 | digest[2];
        assert_int_equal(bits == 0 ? 0 : head >> (24 - bits), 0);
    }
}

static void a_proof_is_for_one_token(void **state)
{
    (void)state;
    char proof[TOKEN_PROOF_MAX + 1];
    token_prove(token, 12, proof);
    unsigned good = 0;
    for (unsigned char i = 0; i < 100; i++) {
        unsigned char random[TOKEN_RANDOM] = {i};
        char other[TOKEN_LEN + 1];
        token_make(other, &key, when, random);
        good += token_proved(other, TOKEN_LEN, proof, strlen(proof), 12);
    }
    assert_true(good <= 2); /* one in 4096 */
}

static void a_proof_has_a_length(void **state)
{
    (void)state;
    char longest[TOKEN_PROOF_MAX + 1];
    memset(longest, 'x', sizeof longest);
    assert_true(token_proved(token, TOKEN_LEN, longest, TOKEN_PROOF_MAX, 0));
    assert_false(token_proved(token, TOKEN_LEN, longest, TOKEN_PROOF_MAX + 1, 0));
    assert_false(token_proved(token, TOKEN_LEN, NULL, 0, 0));
}

/* ---- the secret ------------------------------------------------------------------------------ */

static int open_place(char *path)
{
    assert_non_null(mkdtemp(path));
    return open(path, O_RDONLY | O_DIRECTORY);
}

static void remove_place(const char *path, int dir)
{
    unlinkat(dir, "secret", 0);
    close(dir);
    assert_int_equal(rmdir(path), 0); /* nothing else was left */
}

static void a_secret_is_made_once_and_kept(void **state)
{
    (void)state;
    char path[] = "/tmp/formbridge-secret-XXXXXX";
    unsigned char first[SECRET_SIZE], again[SECRET_SIZE], zero[SECRET_SIZE] = {0};
    int dir = open_place(path);
    struct stat st;
    assert_true(secret_load(dir, "secret", first));
    assert_true(secret_load(dir, "secret", again));
    assert_memory_equal(first, again, SECRET_SIZE);
    assert_memory_not_equal(first, zero, SECRET_SIZE);
    assert_int_equal(fstatat(dir, "secret", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, SECRET_SIZE);
    remove_place(path, dir);
}

static void one_that_others_may_read_or_that_is_not_whole_is_replaced(void **state)
{
    (void)state;
    char path[] = "/tmp/formbridge-secret-XXXXXX";
    unsigned char before[SECRET_SIZE], after[SECRET_SIZE];
    int dir = open_place(path);
    assert_true(secret_load(dir, "secret", before));
    assert_int_equal(fchmodat(dir, "secret", 0640, 0), 0);
    assert_true(secret_load(dir, "secret", after));
    assert_memory_not_equal(before, after, SECRET_SIZE);
    for (unsigned i = 0; i < 2; i++) {
        int fd = openat(dir, "secret", O_WRONLY | O_APPEND);
        assert_int_equal(i == 0 ? write(fd, "x", 1) : ftruncate(fd, SECRET_SIZE - 1), i == 0 ? 1 : 0);
        close(fd);
        memcpy(before, after, SECRET_SIZE);
        assert_true(secret_load(dir, "secret", after));
        assert_memory_not_equal(before, after, SECRET_SIZE);
    }
    remove_place(path, dir);
}

/* It may be readable the next time, and what it has signed is still about. */
static void one_that_cannot_be_read_is_not_replaced(void **state)
{
    (void)state;
    unsigned char out[SECRET_SIZE];
    int dir = open("/proc/self", O_RDONLY | O_DIRECTORY);
    errno = 0;
    assert_false(secret_load(dir, "mem", out)); /* ours alone, and its first page is not there */
    assert_int_equal(errno, EIO);
    close(dir);
}

static void a_link_in_its_place_is_not_followed(void **state)
{
    (void)state;
    char path[] = "/tmp/formbridge-secret-XXXXXX";
    unsigned char out[SECRET_SIZE];
    struct stat st;
    int dir = open_place(path);
    assert_int_equal(symlinkat("/dev/zero", dir, "secret"), 0);
    assert_true(secret_load(dir, "secret", out));
    assert_int_equal(fstatat(dir, "secret", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISREG(st.st_mode));
    remove_place(path, dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_tells_its_age),
        cmocka_unit_test(it_is_letters_that_need_no_escape),
        cmocka_unit_test(it_expires),
        cmocka_unit_test(one_from_the_future_is_not_old),
        cmocka_unit_test(any_changed_letter_is_a_forgery),
        cmocka_unit_test(another_length_is_a_forgery_and_nothing_is_none),
        cmocka_unit_test(it_is_for_one_form_and_one_server),
        cmocka_unit_test(two_of_the_same_second_differ),
        cmocka_unit_test(a_proof_counts_leading_zero_bits),
        cmocka_unit_test(a_proof_is_for_one_token),
        cmocka_unit_test(a_proof_has_a_length),
        cmocka_unit_test(a_secret_is_made_once_and_kept),
        cmocka_unit_test(one_that_others_may_read_or_that_is_not_whole_is_replaced),
        cmocka_unit_test(one_that_cannot_be_read_is_not_replaced),
        cmocka_unit_test(a_link_in_its_place_is_not_followed),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
