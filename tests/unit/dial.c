#include "bridge.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A peer on loopback that the test plays itself. */
static int listener;
static struct endpoint place = {.addr_len = sizeof(struct sockaddr_in), .text = "127.0.0.1:24"};

static int open_listener(void **state)
{
    (void)state;
    struct sockaddr_in *in = (struct sockaddr_in *)&place.addr;
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    return bind(listener, (struct sockaddr *)in, place.addr_len) != 0 || listen(listener, 8) != 0 ||
           getsockname(listener, (struct sockaddr *)in, &place.addr_len) != 0;
}

static int close_listener(void **state)
{
    (void)state;
    return close(listener);
}

static struct dial *dial_peer_of_ours(int *peer)
{
    char why[REASON_SIZE] = "";
    struct target t = {.kind = TARGET_LMTP, .text = "lmtp", .loopback = &place};
    struct dial *d = dial_local(&t, 5, why, sizeof why);
    assert_non_null(d);
    *peer = accept(listener, NULL, NULL);
    assert_true(*peer >= 0);
    return d;
}

static void say(int peer, const char *bytes, size_t len)
{
    assert_int_equal(send(peer, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void clear_text_never_goes_to_a_mail_host(void **state)
{
    (void)state;
    char why[REASON_SIZE] = "", got[64];
    static char server[] = "127.0.0.1", name[] = "mail.example.com";
    struct mailhost m = {
        .server = server,
        .tls_name = name,
        .port = ntohs(((struct sockaddr_in *)&place.addr)->sin_port),
        .starttls = true,
    };
    struct dial *d = dial_host(&m, NULL, 5, why, sizeof why);
    assert_non_null(d);
    int peer = accept(listener, NULL, NULL);
    assert_true(dial_clear(d, DIAL_EHLO, "forms.example.com"));
    assert_false(dial_put(d, "MAIL FROM:<>\r\n", 14));
    assert_false(dial_flush(d));
    assert_false(dial_clear(d, DIAL_STARTTLS, "forms.example.com"));
    assert_non_null(strstr(dial_why(d), "without TLS"));
    dial_close(d);
    ssize_t n = recv(peer, got, sizeof got, MSG_WAITALL);
    assert_int_equal(n, strlen("EHLO forms.example.com\r\n"));
    close(peer);
}

static void lmtp_stays_on_this_machine(void **state)
{
    (void)state;
    char why[REASON_SIZE] = "";
    struct endpoint far = {.addr_len = sizeof(struct sockaddr_in), .text = "192.0.2.1:24"};
    struct sockaddr_in *in = (struct sockaddr_in *)&far.addr;
    in->sin_family = AF_INET;
    in->sin_port = htons(24);
    assert_int_equal(inet_pton(AF_INET, "192.0.2.1", &in->sin_addr), 1);
    struct target t = {.kind = TARGET_LMTP, .text = "lmtp", .loopback = &far};
    assert_null(dial_local(&t, 1, why, sizeof why));
    assert_non_null(strstr(why, "not on this machine"));
}

static void a_line_ends_in_crlf_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *line; /* NULL: refused */
    } cases[] = {
        {"250 ok\r\n", 8, "250 ok"},
        {"\r\n", 2, ""},
        {"250 ok\n", 7, NULL},
        {"250\rok\r\n", 8, NULL},
        {"250\0ok\r\n", 8, NULL},
        {"250 ok\r\r\n", 9, NULL},
        {"\n", 1, NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int peer;
        const char *line = NULL;
        size_t len = 0;
        struct dial *d = dial_peer_of_ours(&peer);
        say(peer, cases[i].bytes, cases[i].len);
        dial_deadline(d, 5);
        assert_int_equal(dial_line(d, &line, &len), cases[i].line != NULL);
        if (cases[i].line != NULL) {
            assert_int_equal(len, strlen(cases[i].line));
            assert_memory_equal(line, cases[i].line, len);
        }
        dial_close(d);
        close(peer);
    }
}

static void a_line_has_a_longest_length(void **state)
{
    (void)state;
    char text[2100];
    memset(text, 'x', sizeof text);
    for (size_t len = 1998; len <= 2003; len++) {
        int peer;
        const char *line;
        size_t got;
        struct dial *d = dial_peer_of_ours(&peer);
        text[len] = '\r';
        text[len + 1] = '\n';
        say(peer, text, len + 2);
        dial_deadline(d, 5);
        assert_int_equal(dial_line(d, &line, &got), len <= 2000);
        dial_close(d);
        close(peer);
        text[len] = text[len + 1] = 'x';
    }
}

static void lines_are_cut_from_any_packets(void **state)
{
    (void)state;
    int peer;
    const char *line;
    size_t len;
    struct dial *d = dial_peer_of_ours(&peer);
    assert_true(dial_quiet(d));
    say(peer, "220 on", 6);
    say(peer, "e\r\n220 two\r\n220 th", 18);
    say(peer, "ree\r\n", 5);
    dial_deadline(d, 5);
    static const char *const expected[] = {"220 one", "220 two", "220 three"};
    for (size_t i = 0; i < COUNT(expected); i++) {
        assert_false(dial_quiet(d));
        assert_true(dial_line(d, &line, &len));
        assert_int_equal(len, strlen(expected[i]));
        assert_memory_equal(line, expected[i], len);
    }
    assert_true(dial_quiet(d));
    close(peer);
    assert_false(dial_quiet(d));
    assert_false(dial_line(d, &line, &len));
    assert_non_null(strstr(dial_why(d), "closed"));
    dial_close(d);
}

static void a_wait_ends_at_its_deadline(void **state)
{
    (void)state;
    int peer;
    const char *line;
    size_t len;
    struct dial *d = dial_peer_of_ours(&peer);
    say(peer, "250 half", 8);
    dial_deadline(d, 1);
    assert_false(dial_line(d, &line, &len));
    assert_string_equal(dial_why(d), "no answer within 1 s");
    assert_false(dial_put(d, "x", 1));
    dial_close(d);
    close(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clear_text_never_goes_to_a_mail_host), cmocka_unit_test(lmtp_stays_on_this_machine),
        cmocka_unit_test(a_line_ends_in_crlf_and_nothing_else), cmocka_unit_test(a_line_has_a_longest_length),
        cmocka_unit_test(lines_are_cut_from_any_packets),       cmocka_unit_test(a_wait_ends_at_its_deadline),
    };
    return cmocka_run_group_tests(tests, open_listener, close_listener);
}
