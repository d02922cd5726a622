/* signer.c: both ends of a link, the signer in a process of its own. */

#include "bridge.h"
#include "tests/rsa_keys.h"

#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { LINKS = 3 }; /* 0: has the first key, 1: the two others, 2: the first again */

static unsigned char secrets[3][32] = {{1, 1}, {2, 2}, {3, 3}};
static struct key keys[3];
static struct signer_client clients[LINKS];
static struct signer_link links[LINKS];
static int pairs[LINKS][2];
static pid_t signer;
static volatile sig_atomic_t stop;

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void start_signer(void)
{
    signer = fork();
    if (signer == 0) {
        for (size_t i = 0; i < LINKS; i++) {
            close(pairs[i][0]);
        }
        signer_run(clients, LINKS, &stop);
        _exit(0);
    }
}

/* Its exit status; -1: it was killed. */
static int end_signer(int sig)
{
    int status;
    if (sig != 0) {
        kill(signer, sig);
    }
    assert_int_equal(waitpid(signer, &status, 0), signer);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int make_links(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        keys[i] = (struct key){.type = BR_KEYTYPE_EC, .ec = {BR_EC_secp256r1, secrets[i], 32}};
    }
    for (size_t i = 0; i < LINKS; i++) {
        if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pairs[i]) != 0) {
            return -1;
        }
        clients[i] =
            (struct signer_client){.fd = pairs[i][1], .keys = &keys[i % 2], .key_count = i == 1 ? 2 : 1};
        signer_link_init(&links[i], pairs[i][0]);
    }
    start_signer();
    return 0;
}

static int end_links(void **state)
{
    (void)state;
    for (size_t i = 0; i < LINKS; i++) {
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
    if (signer > 0) {
        end_signer(SIGKILL);
    }
    return 0;
}

/* Which of the keys this link signs with, asking for its number; -1: it was refused. */
static int signs_with(struct signer_link *l, uint32_t number)
{
    static const unsigned char hash[32] = {42};
    unsigned char data[SIGNATURE_MAX], q[65];
    memcpy(data, hash, sizeof hash);
    l->key = number;
    size_t len = signer_sign(l, br_sha256_ID, data, sizeof hash, sizeof data);
    for (int i = 0; len > 0 && i < (int)COUNT(keys); i++) {
        br_ec_public_key public = {BR_EC_secp256r1, q,
                                   curve_impl()->mulgen(q, secrets[i], 32, BR_EC_secp256r1)};
        if (br_ecdsa_vrfy_asn1_get_default()(curve_impl(), hash, sizeof hash, &public, data, len) == 1) {
            return i;
        }
    }
    assert_int_equal(len, 0);
    return -1;
}

static void test_each_link_has_its_own_keys_and_no_others(void **state)
{
    (void)state;
    assert_int_equal(signs_with(&links[0], 0), 0);
    assert_int_equal(signs_with(&links[0], 1), -1);
    assert_int_equal(signs_with(&links[0], 2), -1);
    assert_int_equal(signs_with(&links[0], UINT32_MAX), -1);
    assert_int_equal(signs_with(&links[1], 0), 1);
    assert_int_equal(signs_with(&links[1], 1), 2);
    assert_int_equal(signs_with(&links[1], 2), -1);
    assert_int_equal(signs_with(&links[2], 0), 0);
}

/* RFC 6979 §3.6: with one nonce for both, a fault in one of them would betray the key. */
static void test_the_same_hash_is_never_signed_the_same_twice(void **state)
{
    (void)state;
    unsigned char first[SIGNATURE_MAX] = {42}, second[SIGNATURE_MAX] = {42};
    size_t len = signer_sign(&links[0], br_sha256_ID, first, 32, sizeof first);
    size_t second_len = signer_sign(&links[0], br_sha256_ID, second, 32, sizeof second);
    assert_int_equal(br_ecdsa_asn1_to_raw(first, len), 64);
    assert_int_equal(br_ecdsa_asn1_to_raw(second, second_len), 64);
    assert_memory_not_equal(first, second, 32);
}

static void test_an_rsa_key_signs_and_a_damaged_one_does_not(void **state)
{
    (void)state;
    static const unsigned char hash[32] = {42};
    unsigned char data[SIGNATURE_MAX], out[32];
    struct pair k;
    make_pair(&k, &prime_1024[0], &prime_1024[1]);
    for (int damaged = 0; damaged < 2; damaged++) {
        end_signer(SIGKILL);
        k.private.dq[9] ^= (unsigned char)damaged;
        keys[0] = (struct key){.type = BR_KEYTYPE_RSA, .rsa = k.private, .rsa_public = k.public};
        start_signer();
        memcpy(data, hash, sizeof hash);
        size_t len = signer_sign(&links[0], br_sha256_ID, data, sizeof hash, sizeof data);
        assert_int_equal(len, damaged ? 0 : k.public.nlen);
        assert_true(damaged || br_rsa_pkcs1_vrfy_get_default()(data, len, BR_HASH_OID_SHA256, sizeof hash,
                                                               &k.public, out) == 1);
        assert_true(damaged || memcmp(out, hash, sizeof hash) == 0);
    }
}

static void test_a_hash_of_another_length_is_refused(void **state)
{
    (void)state;
    unsigned char data[SIGNATURE_MAX] = {0};
    assert_int_equal(signer_sign(&links[0], br_sha256_ID, data, 31, sizeof data), 0);
    assert_int_equal(signer_sign(&links[0], br_sha384_ID, data, 32, sizeof data), 0);
    assert_int_equal(signer_sign(&links[0], br_sha1_ID, data, 20, sizeof data), 0);
    assert_int_equal(signer_sign(&links[0], 77, data, 32, sizeof data), 0);
    assert_int_equal(signer_sign(&links[0], br_sha256_ID, data, 65, sizeof data), 0);
    assert_int_equal(signer_sign(&links[0], br_sha256_ID, data, 32, 40), 0); /* no room for it */
    assert_int_equal(signs_with(&links[0], 0), 0);
}

static void test_messages_that_are_no_requests_are_passed_over(void **state)
{
    (void)state;
    char bytes[4096] = {0};
    static const size_t lengths[] = {0, 1, 87, 89, 4096, 0, 0};
    for (size_t i = 0; i < COUNT(lengths); i++) {
        assert_int_equal(send(pairs[0][0], bytes, lengths[i], 0), lengths[i]);
    }
    assert_int_equal(signs_with(&links[0], 0), 0);
    char answer[1024];
    assert_int_equal(recv(pairs[0][0], answer, sizeof answer, MSG_DONTWAIT), -1); /* none was answered */
}

static void test_an_empty_answer_is_passed_over(void **state)
{
    (void)state;
    assert_int_equal(send(pairs[0][1], "", 0, 0), 0);
    assert_int_equal(send(pairs[0][1], "short", 5, 0), 5);
    assert_int_equal(signs_with(&links[0], 0), 0);
}

static void test_a_link_that_was_shut_leaves_the_others_in_peace(void **state)
{
    (void)state;
    assert_int_equal(shutdown(pairs[0][0], SHUT_WR), 0);
    assert_int_equal(signs_with(&links[1], 0), 1);
    assert_int_equal(signs_with(&links[2], 0), 0);
    usleep(300000);
    struct rusage used;
    for (size_t i = 1; i < LINKS; i++) {
        close(pairs[i][0]);
        pairs[i][0] = -1;
    }
    assert_int_equal(end_signer(0), 0); /* with its last client */
    signer = 0;
    assert_int_equal(getrusage(RUSAGE_CHILDREN, &used), 0);
    assert_true((used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 + used.ru_utime.tv_usec +
                    used.ru_stime.tv_usec <
                200000);
}

/* The first waits; then none does, until there is a signer again. */
static void test_a_dead_signer_is_waited_for_once(void **state)
{
    (void)state;
    end_signer(SIGKILL);
    signer = 0;
    int64_t begun = now_ms();
    assert_int_equal(signs_with(&links[0], 0), -1);
    int64_t waited = now_ms();
    assert_in_range(waited - begun, SIGNER_WAIT - 10, SIGNER_WAIT + 2000);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(signs_with(&links[0], 0), -1);
    }
    assert_true(now_ms() - waited < 1000);
    start_signer();
    int64_t back = now_ms();
    while (signs_with(&links[0], 0) != 0) {
        assert_true(now_ms() - back < 5000);
        usleep(10000);
    }
    for (int i = 0; i < 20; i++) { /* what the dead one left unanswered is no matter */
        assert_int_equal(signs_with(&links[0], 0), 0);
    }
}

/* Replaced while a request waits: it is answered by the next, late but well. */
static void test_a_signer_that_is_replaced_in_time_loses_no_request(void **state)
{
    (void)state;
    end_signer(SIGKILL);
    pid_t helper = fork();
    if (helper == 0) {
        usleep(300000);
        signer_run(clients, LINKS, &stop);
        _exit(0);
    }
    signer = helper;
    assert_int_equal(signs_with(&links[0], 0), 0);
    assert_false(links[0].silent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_link_that_was_shut_leaves_the_others_in_peace, make_links,
                                        end_links),
        cmocka_unit_test_setup_teardown(test_each_link_has_its_own_keys_and_no_others, make_links, end_links),
        cmocka_unit_test_setup_teardown(test_the_same_hash_is_never_signed_the_same_twice, make_links,
                                        end_links),
        cmocka_unit_test_setup_teardown(test_an_rsa_key_signs_and_a_damaged_one_does_not, make_links,
                                        end_links),
        cmocka_unit_test_setup_teardown(test_a_hash_of_another_length_is_refused, make_links, end_links),
        cmocka_unit_test_setup_teardown(test_messages_that_are_no_requests_are_passed_over, make_links,
                                        end_links),
        cmocka_unit_test_setup_teardown(test_an_empty_answer_is_passed_over, make_links, end_links),
        cmocka_unit_test_setup_teardown(test_a_dead_signer_is_waited_for_once, make_links, end_links),
        cmocka_unit_test_setup_teardown(test_a_signer_that_is_replaced_in_time_loses_no_request, make_links,
                                        end_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
