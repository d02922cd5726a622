/* conf.c, confkeys.c, confread.c, value.c: what a config means, and every mistake in it. */

#include "bridge.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Lets the n-th allocation of the config fail. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifdef SANITIZED
#define REAL_CALLOC __interceptor_calloc
#else
#define REAL_CALLOC __libc_calloc
#endif
void *REAL_CALLOC(size_t count, size_t size);
static long fail_after = -1;

void *calloc(size_t count, size_t size)
{
    if (fail_after == 0) {
        return NULL;
    }
    fail_after -= fail_after > 0;
    return REAL_CALLOC(count, size);
}

#define BRIDGE                                                                                               \
    "[bridge]\n"                                                                                             \
    "hostname = forms.example.com\n"                                                                         \
    "certificate = /etc/cert.pem\n"                                                                          \
    "private_key = /etc/key.pem\n"
#define FORM                                                                                                 \
    "[form order]\n"                                                                                         \
    "to = orders@example.com\n"                                                                              \
    "from = website@example.com\n"
#define ALERTS   "alert_to = a@example.com b@example.com\nalert_deliver = main mbox:/m\n"
#define DELIVER  "deliver = maildir:/home/orders/Maildir\n"
#define MINIMAL  BRIDGE FORM DELIVER                                    /* the next line is line 9 */
#define MAILHOST MINIMAL "[mailhost main]\nserver = mail.example.com\n" /* line 11 */

static struct conf *parse_bytes(const void *bytes, size_t len, struct buf *errors)
{
    buf_init(errors, 1 << 20);
    return conf_parse("c.ini", bytes, len, errors);
}

static struct conf *good(const char *text)
{
    struct buf errors;
    struct conf *c = parse_bytes(text, strlen(text), &errors);
    assert_string_equal(buf_text(&errors), "");
    assert_non_null(c);
    buf_free(&errors);
    return c;
}

/* These mistakes and no others, word for word. */
static void bad(const char *text, const char *want)
{
    struct buf errors;
    assert_null(parse_bytes(text, strlen(text), &errors));
    assert_string_equal(buf_text(&errors), want);
    buf_free(&errors);
}

/* One mistake, in the last line of the minimal config, with these words. */
static void bad_line(const char *text, unsigned line, const char *words)
{
    struct buf errors;
    char start[32];
    text_fmt(start, sizeof(start), "c.ini:%u: ", line);
    assert_null(parse_bytes(text, strlen(text), &errors));
    const char *got = buf_text(&errors);
    if (strncmp(got, start, strlen(start)) != 0 || strstr(got, words) == NULL ||
        strchr(got, '\n') != got + strlen(got) - 1) {
        fail_msg("for:\n%s\nwanted one line \"%s...%s...\", got:\n%s", text, start, words, got);
    }
    buf_free(&errors);
}

static void a_minimal_config_gets_every_default(void **state)
{
    (void)state;
    struct conf *c = good(MINIMAL);
    assert_int_equal(c->listen_count, 2);
    assert_string_equal(c->listen[0].text, "0.0.0.0:443");
    assert_int_equal(c->listen[0].addr.ss_family, AF_INET);
    assert_string_equal(c->listen[1].text, "[::]:443");
    assert_int_equal(c->listen[1].addr.ss_family, AF_INET6);
    assert_int_equal(c->http_listen_count + c->admin_listen_count, 0);
    assert_string_equal(c->file, "c.ini");
    assert_string_equal(c->spool, "/var/spool/formbridge");
    assert_null(c->user);
    assert_null(c->acme_webroot);
    assert_int_equal(c->fronts, 0);
    assert_int_equal(c->max_connections, 4096);
    assert_int_equal(c->body_timeout, 300);
    assert_int_equal(c->max_head, 8192);
    assert_int_equal(c->max_body, 12 << 20);
    assert_int_equal(c->max_memory, 128 << 20);
    assert_int_equal(c->max_age, 5 * 86400);
    struct form_conf *f = conf_form(c, "order!", 5);
    assert_non_null(f);
    assert_int_equal(f->line, 5);
    assert_string_equal(f->subject, "{form}: {ref}");
    assert_string_equal(f->title, "order");
    assert_null(f->reply_to);
    assert_null(f->success);
    assert_int_equal(f->origin_count + f->required_count, 0);
    assert_int_equal(f->max_body, c->max_body);
    assert_null(conf_form(c, "orde", 4));
    assert_null(conf_form(c, "orders", 6));
    conf_free(c);
    conf_free(NULL);
}

static void every_key_reaches_its_member(void **state)
{
    (void)state;
    struct conf *c =
        good("[bridge]\n"
             "listen=127.0.0.1:8443\nhostname=forms.example.com\ncertificate=/c\nprivate_key=/k\n"
             "user=web-1\nspool=/s\nhttp_listen=[::1]:80 10.0.0.1:80\nacme_webroot=/a\n"
             "admin_listen=127.0.0.2:9180 unix:/run/a.sock\nfronts=3\nmax_connections=5\n"
             "max_per_address=6\nhandshake_timeout=7\nhead_timeout=8s\nbody_timeout=9m\n"
             "answer_timeout=1h\nidle_timeout=11\ndrain_timeout=12\nmax_head=13k\nmax_body=14M\n"
             "max_fields=15\nmax_files=16\nmax_memory=1G\nretry_min=18\nretry_max=19\nmax_age=20d\n"
             "[form order]\n"
             "to=a@example.com b@example.org\nfrom=c@example.com\nsubject=S {x} ä\nreply_to={email}\n"
             "origins=https://a.example http://b.example:8080\n"
             "deliver=maildir:/m mbox:/f lmtp:/l lmtp:[::1]:24 main\nrequired=name e-mail\n"
             "success=https://www.example.com/ok\ntitle=An order\nmax_body=2k\n"
             "[mailhost main]\n"
             "server=mail.example.com:26\ntls=starttls\nusername=u\npassword_file=/p\n"
             "tls_name=mx.example.com\ntrust=/t\nrequiretls=yes\ntimeout=21\nconnections=22\npin_only=yes\n"
             "pin=sha256:000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F "
             "/wABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4=\n");
    assert_string_equal(c->http_listen[1].text, "10.0.0.1:80");
    assert_int_equal(c->admin_listen[1].addr.ss_family, AF_UNIX);
    assert_string_equal(c->admin_listen[1].text, "unix:/run/a.sock");
    assert_string_equal(c->user, "web-1");
    assert_string_equal(c->spool, "/s");
    assert_string_equal(c->acme_webroot, "/a");
    unsigned numbers[] = {c->fronts,        c->max_connections, c->max_per_address, c->handshake_timeout,
                          c->head_timeout,  c->body_timeout,    c->answer_timeout,  c->idle_timeout,
                          c->drain_timeout, c->max_fields,      c->max_files,       c->retry_min,
                          c->retry_max,     c->max_age};
    unsigned want[] = {3, 5, 6, 7, 8, 540, 3600, 11, 12, 15, 16, 18, 19, 20 * 86400};
    assert_memory_equal(numbers, want, sizeof(want));
    assert_int_equal(c->max_head, 13 << 10);
    assert_int_equal(c->max_body, 14 << 20);
    assert_int_equal(c->max_memory, 1 << 30);
    struct form_conf *f = c->forms;
    assert_int_equal(f->to_count, 2);
    assert_string_equal(f->to[1], "b@example.org");
    assert_string_equal(f->subject, "S {x} ä");
    assert_string_equal(f->reply_to, "{email}");
    assert_string_equal(f->origins[1], "http://b.example:8080");
    assert_string_equal(f->required[1], "e-mail");
    assert_string_equal(f->success, "https://www.example.com/ok");
    assert_string_equal(f->title, "An order");
    assert_int_equal(f->max_body, 2048);
    assert_int_equal(f->target_count, 5);
    assert_int_equal(f->targets[0].kind, TARGET_MAILDIR);
    assert_string_equal(f->targets[0].path, "/m");
    assert_int_equal(f->targets[1].kind, TARGET_MBOX);
    assert_string_equal(f->targets[2].path, "/l");
    assert_null(f->targets[3].path);
    assert_string_equal(f->targets[3].loopback->text, "[::1]:24");
    assert_string_equal(f->targets[3].text, "lmtp:[::1]:24");
    assert_ptr_equal(f->targets[4].host, c->mailhosts);
    struct mailhost *m = c->mailhosts;
    assert_string_equal(m->server, "mail.example.com");
    assert_int_equal(m->port, 26);
    assert_true(m->starttls && m->requiretls && m->pin_only);
    assert_string_equal(m->tls_name, "mx.example.com");
    assert_string_equal(m->trust, "/t");
    assert_string_equal(m->username, "u");
    assert_string_equal(m->password_file, "/p");
    assert_int_equal(m->timeout, 21);
    assert_int_equal(m->connections, 22);
    assert_int_equal(m->pin_count, 2);
    assert_int_equal(m->pins[0][31], 0x1f);
    assert_int_equal(m->pins[1][0], 0xff);
    assert_int_equal(m->pins[1][31], 0x1e);
    conf_free(c);
}

static void every_mistake_is_reported_in_the_order_of_lines(void **state)
{
    (void)state;
    bad("hostname = a.example.com\n"
        "[brige]\n"
        "lisen = 1\n"
        "[bridge]\n"
        "lisen = 0.0.0.0:443\n"
        "deliver = main\n"
        "certificate =\n"
        "max_head = 99k\n"
        "max_head = 8k\n"
        "  spool = /var/spool\n"
        "nonsense\n"
        "[form Order]\n"
        "to = orders@example.com  website\n"
        "deliver = nowhere\n"
        "[bridge]\n",
        "c.ini:1: \"hostname\" stands before any section: begin with [bridge]\n"
        "c.ini:2: unknown section [brige]: did you mean [bridge]?\n"
        "c.ini:4: [bridge] needs a line \"hostname = ...\": the name of this server, such as "
        "forms.example.com\n"
        "c.ini:4: [bridge] needs a line \"private_key = ...\": the PEM file of the certificate's private "
        "key\n"
        "c.ini:5: unknown key \"lisen\" in [bridge]: did you mean \"listen\"?\n"
        "c.ini:6: \"deliver\" is not a key of [bridge]: it belongs under [form NAME]\n"
        "c.ini:7: certificate has no value: write the PEM file of the certificate and its chain, or remove "
        "the line\n"
        "c.ini:8: max_head: \"99k\" is not a size in bytes, or with k, M or G behind it, from 1k to 64k\n"
        "c.ini:9: \"max_head\" was given on line 8 already: keep one of them\n"
        "c.ini:10: an indented line: begin it at the margin; a value ends with its line\n"
        "c.ini:11: neither KEY = VALUE nor a [section] nor a # comment\n"
        "c.ini:12: [form Order]: a name must follow, 1 to 32 of a-z, 0-9, _ and -, such as [form order]\n"
        "c.ini:12: [form Order] needs a line \"from = ...\": the address that the mail comes from: one of "
        "yours, "
        "never the visitor's\n"
        "c.ini:13: to: \"website\" is not a bare e-mail address, such as orders@example.com\n"
        "c.ini:14: deliver: \"nowhere\" is not the name of a [mailhost]: there is none; nor is it "
        "maildir:/PATH, "
        "mbox:/FILE or lmtp:/SOCKET\n"
        "c.ini:15: [bridge] was begun on line 4 already: put its keys there\n");
}

static void an_empty_file_says_what_is_needed(void **state)
{
    (void)state;
    bad("", "c.ini:1: [bridge] needs a line \"hostname = ...\": the name of this server, such as "
            "forms.example.com\n"
            "c.ini:1: [bridge] needs a line \"certificate = ...\": the PEM file of the certificate and its "
            "chain\n"
            "c.ini:1: [bridge] needs a line \"private_key = ...\": the PEM file of the certificate's private "
            "key\n"
            "c.ini:1: no section [form NAME]: there is nothing to accept; add one, such as [form order]\n");
}

static void a_line_means_one_thing(void **state)
{
    (void)state;
    char text[2048];
    struct buf errors;
    bad_line(MINIMAL "title = a\tb\n", 9, "a tab inside its value");
    bad_line(MINIMAL "title = a\x01b\n", 9, "a control character");
    bad_line(MINIMAL "title = a\x7f\n", 9, "a control character");
    bad_line(MINIMAL "title = a\rb\n", 9, "a control character");
    bad_line(MINIMAL "title = \xe4\n", 9, "not UTF-8");
    bad_line(MINIMAL " more\n", 9, "an indented line");
    bad_line(MINIMAL "\ttitle = x\n", 9, "an indented line");
    bad_line(MINIMAL "title ; = x\n", 9, "neither KEY = VALUE");
    bad_line(MINIMAL "title", 9, "neither KEY = VALUE"); /* the last line, without its end */
    bad_line(MINIMAL "[form x\n", 9, "not a section");
    bad_line(MINIMAL "[form x] to = y\n", 9, "not a section");
    bad_line(MINIMAL "[]\n", 9, "unknown section []");
    bad_line(MINIMAL "= x\n", 9, "unknown key \"\"");
    static const char nul[] = MINIMAL "title = a\0b\n";
    assert_null(parse_bytes(nul, sizeof(nul) - 1, &errors));
    assert_string_equal(buf_text(&errors), "c.ini:9: a control character: remove it\n");
    buf_free(&errors);
    for (int len = 188; len <= 450; len++) { /* around the places where inih would cut */
        text_fmt(text, sizeof(text), MINIMAL "#%0*d\ntitle = %0*d\n", len - 1, 0, len - 8, 0);
        if (len <= 190) {
            conf_free(good(text));
            continue;
        }
        assert_null(parse_bytes(text, strlen(text), &errors));
        text_fmt(text, sizeof(text),
                 "c.ini:9: a line of %d bytes: it may have 190 at most; a list may go on in another line of "
                 "its key\n"
                 "c.ini:10: a line of %d bytes: it may have 190 at most; a list may go on in another line of "
                 "its key\n",
                 len, len);
        assert_string_equal(buf_text(&errors), text);
        buf_free(&errors);
    }
}

static void a_list_may_stand_on_several_lines(void **state)
{
    (void)state;
    struct conf *c =
        good(MINIMAL "origins = https://a.example https://b.example\ntitle = T\norigins = https://c.example\n"
                     "required = a b\nrequired = c\norder = a b\norder = c d | e\n"
                     "[field order size]\nchoices = S | M\nchoices = L\n");
    const struct form_conf *f = c->forms;
    const struct rule *size = rules_find(f, (struct span){"size", 4});
    assert_int_equal(f->origin_count, 3);
    assert_string_equal(f->origins[0], "https://a.example");
    assert_string_equal(f->origins[2], "https://c.example");
    assert_int_equal(f->required_count, 3);
    assert_string_equal(f->required[2], "c");
    assert_int_equal(f->order_count, 3); /* one | makes it a list of names with spaces */
    assert_string_equal(f->order[0], "a b");
    assert_string_equal(f->order[1], "c d");
    assert_int_equal(size->choice_count, 3);
    assert_string_equal(size->choices[2], "L");
    conf_free(c);

    bad_line(MINIMAL "origins = https://a.example\ntitle = T\norigins = https://b.example c.example\n", 11,
             "origins: \"c.example\" is not");
    bad_line(MINIMAL
             "origins = https://a.example\norigins = https://b.example\norigins = https://a.example\n",
             11, "\"https://a.example\" is there twice");
    bad_line(MINIMAL "[field order x]\nchoices = S | M\nchoices = M\n", 11, "choices: \"M\" is there twice");
    bad_line(MINIMAL "origins = https://a.example\norigins =\n", 10, "origins has no value");
    bad_line(MINIMAL "title = A\ntitle = B\n", 10, "\"title\" was given on line 9 already: keep one of them");
}

static void what_editors_do_to_a_file_is_tolerated(void **state)
{
    (void)state;
    struct conf *c =
        good("\xef\xbb\xbf[bridge] ; the server\r\n"
             "# a comment\r\n; another\r\n  # a third\r\n\r\n \t \r\n"
             "hostname:forms.example.com\r\ncertificate\t=\t/c\t; here\r\nprivate_key = /k # not here\r\n"
             "[ form   order ]\r\n"
             "to=a@example.com\r\nfrom = a@example.com\r\ndeliver=mbox:/m;x\r\ntitle = \"A\" ; B");
    assert_string_equal(c->certificate, "/c");
    assert_string_equal(c->private_key, "/k # not here");
    assert_string_equal(c->forms->name, "order");
    assert_string_equal(c->forms->targets[0].path, "/m;x");
    assert_string_equal(c->forms->title, "\"A\"");
    conf_free(c);
}

static void numbers_have_units_and_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        const char *low, *high;    /* accepted */
        const char *below, *above; /* not */
        const char *words;
    } cases[] = {
        {"fronts", "0", "256", "-1", "257", "is not a number from 0 to 256"},
        {"max_fields", "1", "10000", "0", "10001", "from 1 to 10000"},
        {"max_head", "1024", "64K", "1023", "65537", "from 1k to 64k"},
        {"max_body", "1k", "96m", "0", "2G", "from 1k to 1G"},
        {"head_timeout", "1", "60m", "0s", "3601",
         "a time in seconds, or with s, m, h or d behind it, from 1s to 1h"},
        {"max_age", "60m", "365D", "0", "366d", "from 1s to 365d"},
    };
    static const char *const nonsense[] = {"x",
                                           "1x",
                                           "1 k",
                                           "1.5k",
                                           "+1",
                                           "0x10",
                                           "k",
                                           "20000000000000000000",
                                           "9999999999999999999G",
                                           "1kk",
                                           "9223372036854775807d"};
    char text[1024];
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *fine[] = {cases[i].low, cases[i].high}, *wrong[] = {cases[i].below, cases[i].above};
        for (size_t j = 0; j < 2; j++) {
            text_fmt(text, sizeof(text), BRIDGE "%s = %s\n" FORM DELIVER, cases[i].key, fine[j]);
            conf_free(good(text));
            text_fmt(text, sizeof(text), BRIDGE "%s = %s\n" FORM DELIVER, cases[i].key, wrong[j]);
            bad_line(text, 5, cases[i].words);
        }
        for (size_t j = 0; j < COUNT(nonsense); j++) {
            text_fmt(text, sizeof(text), BRIDGE "%s = %s\n" FORM DELIVER, cases[i].key, nonsense[j]);
            bad_line(text, 5, cases[i].words);
        }
    }
}

struct text_case {
    const char *text;
    bool ok;
};

static void try_texts(const char *start, unsigned line, const struct text_case *cases, size_t count,
                      const char *words)
{
    char text[2048];
    for (size_t i = 0; i < count; i++) {
        assert_true(text_fmt(text, sizeof(text), "%s%s\n", start, cases[i].text));
        if (cases[i].ok) {
            conf_free(good(text));
        } else {
            bad_line(text, line, words);
        }
    }
}

#define LABEL63 "a23456789012345678901234567890123456789012345678901234567890123"

static void only_host_names_pass_as_host_names(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"mx.example.com", true},
        {"localhost", true},
        {"xn--bcher-kva.example", true},
        {"1.example", true},
        {LABEL63 ".example", true},
        {LABEL63 "a.example", false},
        {"", true},
        {"example.com.", false},
        {".example.com", false},
        {"a..example", false},
        {"-a.example", false},
        {"a-.example", false},
        {"a_b.example", false},
        {"192.0.2.1", false},
        {"::1", false},
        {"a b", false},
        {"*.example.com", false},
        {"bücher.example", false},
        {"example.123", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(value_host(cases[i].text), cases[i].ok && cases[i].text[0] != '\0');
    }
    try_texts(MAILHOST "tls_name = ", 11, cases, 6, "is not a host name, such as");
    char longest[HOST_NAME_MAX_ + 2];
    for (size_t i = 0; i < sizeof(longest); i++) {
        longest[i] = i % 64 == 63 ? '.' : 'a';
    }
    longest[HOST_NAME_MAX_] = '\0';
    assert_true(value_host(longest));
    longest[HOST_NAME_MAX_] = 'a';
    longest[HOST_NAME_MAX_ + 1] = '\0';
    assert_false(value_host(longest));
}

static void what_is_listened_on_is_never_looked_up(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"127.0.0.1:8443", true},
        {"[2001:db8::1]:443", true},
        {"0.0.0.0:65535 [::]:1", true},
        {"443", false},
        {"localhost:443", false},
        {"0.0.0.0", false},
        {"0.0.0.0:0", false},
        {"0.0.0.0:65536", false},
        {"0.0.0.0:0443", false},
        {"0.0.0.0:", false},
        {"::1:443", false},
        {"[::1]443", false},
        {"[::1", false},
        {"[127.0.0.1]:443", false},
        {"[fe80::1%eth0]:443", false},
        {"256.0.0.1:443", false},
        {"0.0.0.0:443x", false},
        {"*:443", false},
        {"[]:443", false},
        {"127.1:443", false},
        {"127.0.0.1:80000000000000000000000000000000000000000000000000000000000000000000", false},
        {"proxy:", false},
        {"proxy:localhost:443", false},
        {"plain:localhost:80", false},
        {"tls:127.0.0.1:443", false},
    };
    try_texts(FORM DELIVER BRIDGE "listen = ", 9, cases, COUNT(cases),
              "is not an address in numbers and a port");
    bad_line(FORM DELIVER BRIDGE "listen = 0.0.0.0:443 [::]:443 0.0.0.0:443\n", 9,
             "\"0.0.0.0:443\" is there twice");
    bad_line(FORM DELIVER BRIDGE "http_listen = [::]:443\n", 9, "http_listen: [::]:443 is taken by listen");
    bad_line(FORM DELIVER BRIDGE "admin_listen = 127.0.0.1:80\nhttp_listen = 127.0.0.1:80\n", 9,
             "taken by http_listen");
}

static void the_admin_address_is_out_of_reach_for_others(void **state)
{
    (void)state;
    static const struct text_case fine[] = {
        {"127.0.0.1:9180", true}, {"127.255.1.2:1", true}, {"[::1]:9180", true}, {"unix:/run/a", true}};
    static const struct text_case open[] = {{"0.0.0.0:9180", false},
                                            {"[::]:9180", false},
                                            {"192.0.2.1:9180", false},
                                            {"[::ffff:127.0.0.1]:9180", false}};
    static const struct text_case sockets[] = {
        {"unix:run/a", false},
        {"unix:", false},
        {"unix:/012345678901234567890123456789012345678901234567890123456", true},
        {"unix:/0123456789012345678901234567890123456789012345678901234567", false}};
    const char *start = FORM DELIVER BRIDGE "admin_listen = ";
    try_texts(start, 9, fine, COUNT(fine), "");
    try_texts(start, 9, open, COUNT(open), "can be reached by others");
    try_texts(start, 9, sockets, COUNT(sockets), "is not unix: and a whole path, 63 characters in all");
}

static void targets_stay_on_this_machine_or_go_to_a_known_mailhost(void **state)
{
    (void)state;
    static const struct text_case lmtp[] = {
        {"lmtp:127.0.0.1:24", true},  {"lmtp:[::1]:24", true}, {"lmtp:/run/dovecot/lmtp", true},
        {"lmtp:192.0.2.1:24", false}, {"lmtp:[::]:24", false}, {"lmtp:localhost:24", false},
        {"lmtp:127.0.0.1", false},    {"lmtp:", false},        {"lmtp:run/x", false}};
    static const struct text_case paths[] = {{"maildir:/m", true},
                                             {"mbox:/f", true},
                                             {"maildir:m", false},
                                             {"mbox:~/mail", false},
                                             {"maildir:", false}};
    try_texts(BRIDGE FORM "deliver = ", 8, lmtp, COUNT(lmtp), "LMTP is not encrypted");
    try_texts(BRIDGE FORM "deliver = ", 8, paths, COUNT(paths), "does not name a whole path");
    bad_line(BRIDGE FORM
             "deliver = maine\n[mailhost main]\nserver=a.example\n[mailhost other]\nserver=b.example\n",
             8, "\"maine\" is not the name of a [mailhost]: there is main, other; nor");
    bad_line(BRIDGE FORM "deliver = /home/orders/Maildir\n", 8, "nor is it maildir:/PATH");
    bad_line(BRIDGE FORM "deliver = mbox:/f mbox:/f\n", 8, "\"mbox:/f\" is there twice");
    bad_line(MAILHOST "password = x\n", 11, "in [mailhost NAME]: did you mean \"password_file\"?");
    bad_line(FORM DELIVER BRIDGE "cert = /c\n", 9, "did you mean \"certificate\"?");
    char text[1024];
    for (int len = 107; len <= 108; len++) {
        text_fmt(text, sizeof(text), BRIDGE FORM "deliver = lmtp:/%0*d\n", len - 1, 0);
        if (len == 107) {
            conf_free(good(text));
        } else {
            bad_line(text, 8, "is too long for the name of a socket");
        }
    }
}

static void origins_compare_equal_to_what_browsers_send(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"https://a.example http://192.0.2.1:81 https://[::1]:8443", true},
        {"a.example", false},
        {"https://a.example/x", false},
        {"https://a.example//", false},
        {"https://", false},
        {"https:///", false},
        {"ftp://a.example", false},
        {"null", false},
        {"*", false},
        {"https://*.example", false},
        {"https://u@a.example", false},
        {"https://a.example:0", false},
        {"https://a.example:", false},
        {"https://a.example?", false},
        {"https://ä.example", false}};
    try_texts(MINIMAL "origins = ", 9, cases, COUNT(cases), "is not an origin");
    struct conf *c =
        good(MINIMAL "origins = HTTPS://WWW.Example.com/ https://b.example:443 http://c.example:80/ "
                     "http://d.example:443 https://[2001:DB8::1]:443\n");
    static const char *const want[] = {"https://www.example.com", "https://b.example", "http://c.example",
                                       "http://d.example:443", "https://[2001:db8::1]"};
    assert_int_equal(c->forms->origin_count, COUNT(want));
    for (size_t i = 0; i < COUNT(want); i++) {
        assert_string_equal(c->forms->origins[i], want[i]);
    }
    conf_free(c);
}

static void success_is_a_page_that_is_safe_to_send_people_to(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"https://www.example.com", true},
        {"https://www.example.com:8443/thanks.html?a=b&c=%20#d", true},
        {"https://www.example.com?x", true},
        {"HTTPS://[2001:db8::1]/@", true},
        {"http://localhost:8080/", true},
        {"http://127.0.0.1/", true},
        {"http://[::1]:80/", true},
        {"http://www.example.com/", false},
        {"http://localhost.example.com/", false},
        {"http://192.0.2.1/", false},
        {"https://user@www.example.com/", false},
        {"https://user:pass@www.example.com/", false},
        {"https://www.example.com@evil.example/", false},
        {"https:/www.example.com/", false},
        {"https:///thanks.html", false},
        {"//www.example.com/", false},
        {"/thanks.html", false},
        {"javascript:alert(1)", false},
        {"https://www.example.com/a b", false},
        {"https://www.example.com/\"x", false},
        {"https://www.example.com/<x>", false},
        {"https://www.example.com/ä", false},
        {"https://www.example.com\\@evil.example/", false},
        {"https://www.example.com:99999/", false},
    };
    try_texts(MINIMAL "success = ", 9, cases, COUNT(cases), "is not an address of a page");
}

static void braces_of_a_template_pair_up(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"Order {ref} from {your name}", true},
        {"plain", true},
        {"{a}{b}", true},
        {"{name|somebody} {name:40} {name:200|some: body}", true},
        {"{name:0}", false},
        {"{name:201}", false},
        {"{name:}", false},
        {"{name:forty}", false},
        {"{|x}", false},
        {"{:5}", false},
        {"{", false},
        {"}", false},
        {"{}", false},
        {"{a", false},
        {"a}", false},
        {"{a{b}}", false},
        {"{a}}", false},
    };
    try_texts(MINIMAL "subject = ", 9, cases, COUNT(cases), "has braces that do not pair");
    bad_line(MINIMAL "reply_to = {email\n", 9, "has braces that do not pair");
    bad_line(MINIMAL "reply_to = email\n", 9, "is not a bare e-mail address");
    conf_free(good(MINIMAL "reply_to = help@example.com\n"));
}

static void recipients_are_bare_addresses(void **state)
{
    (void)state;
    static const char *const wrong[] = {"orders", "@example.com", "orders@", "<orders@example.com>",
                                        "a@b@example.com"};
    char text[512];
    for (size_t i = 0; i < COUNT(wrong); i++) {
        text_fmt(text, sizeof(text),
                 BRIDGE "[form order]\n" DELIVER "from = a@example.com\nto = b@example.com %s\n", wrong[i]);
        bad_line(text, 8, "is not a bare e-mail address");
        text_fmt(text, sizeof(text), BRIDGE "[form order]\n" DELIVER "to = a@example.com\nfrom = %s\n",
                 wrong[i]);
        bad_line(text, 8, "is not a bare e-mail address");
    }
    bad_line(BRIDGE "[form order]\n" DELIVER "to = a@example.com\nfrom = b@example.com c@example.com\n", 8,
             "is not a bare e-mail address");
}

static void an_address_for_answers_may_have_a_name_and_placeholders(void **state)
{
    (void)state;
    static const char *const right[] = {"{email}",
                                        "{name} <{email}>",
                                        "{first|Ms} {last:20} <{email|help@example.com}>",
                                        "Help <help@example.com>",
                                        "help@example.com",
                                        "{user}@example.com",
                                        "<{email}>",
                                        "{my name}@example.com"};
    static const char *const wrong[] = {"{name} {email}",    "{name} <{email}",  "{name} {email}>",
                                        "{name} <>",         "<{name} {email}>", "{a} <{b}> <{c}>",
                                        "{name} <{email}> x"};
    char text[512];
    for (size_t i = 0; i < COUNT(right); i++) {
        text_fmt(text, sizeof text, MINIMAL "reply_to = %s\n", right[i]);
        struct conf *c = good(text);
        assert_string_equal(c->forms->reply_to, right[i]);
        conf_free(c);
    }
    for (size_t i = 0; i < COUNT(wrong); i++) {
        text_fmt(text, sizeof text, MINIMAL "reply_to = %s\n", wrong[i]);
        bad_line(text, 9, "can never be one address: write it as {email}, {name} <{email}> or");
    }
    bad_line(MINIMAL "reply_to = Help <help>\n", 9, "is not a bare e-mail address");
    bad_line(MINIMAL "reply_to = {name <{email}>\n", 9, "");
    bad_line(BRIDGE "[form order]\n" DELIVER "from = a@example.com\nto = info@m\u00fcller.example\n", 8,
             "has a domain that is not ASCII: write it as xn--...");
    conf_free(good(BRIDGE "[form order]\n" DELIVER "from = a@example.com\nto = j\u00f6rg@example.com\n"));
}

static void names_are_fit_for_paths_and_urls(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",   "a b", "A",   "a/b",
                                        "..", "ä",   "a.b", "a23456789012345678901234567890123"};
    char text[512];
    for (size_t i = 0; i < COUNT(wrong); i++) {
        text_fmt(text, sizeof(text), MINIMAL "[form %s]\nto=a@example.com\nfrom=a@example.com\n" DELIVER,
                 wrong[i]);
        bad_line(text, 9, "a name must follow");
        text_fmt(text, sizeof(text), MINIMAL "[mailhost %s]\nserver=a.example\n", wrong[i]);
        bad_line(text, 9, "a name must follow");
    }
    bad_line(FORM DELIVER "[bridge one]\nhostname=a.example\ncertificate=/c\nprivate_key=/k\n", 5,
             "there is one bridge and it has no name");
    conf_free(good(
        MINIMAL "[form a2345678901234567890123456789_-2]\nto=a@example.com\nfrom=a@example.com\n" DELIVER));
}

static void a_mailhost_is_known_by_name_and_reached_by_tls(void **state)
{
    (void)state;
    struct conf *c =
        good(MINIMAL "[mailhost a]\nserver=mail.example.com\n[mailhost b]\nserver=mail.example.com\n"
                     "tls=starttls\n[mailhost c]\nserver=[2001:db8::1]\ntls_name=mx.example.com\n"
                     "[mailhost d]\nserver=192.0.2.1:25\npin_only=yes\n"
                     "pin=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n");
    struct mailhost *m = c->mailhosts;
    assert_int_equal(m->port, 465);
    assert_false(m->starttls);
    assert_string_equal(m->tls_name, "mail.example.com");
    assert_int_equal(m->connections, 2);
    assert_int_equal(m->timeout, 0);
    m = m->next;
    assert_int_equal(m->port, 587);
    m = m->next;
    assert_string_equal(m->server, "2001:db8::1");
    m = m->next;
    assert_string_equal(m->tls_name, "192.0.2.1");
    assert_int_equal(m->pins[0][31], 0x1f);
    conf_free(c);
    static const struct text_case servers[] = {
        {"mail.example.com:25", true},  {"mail.example.com:", false},  {"mail.example.com:0", false},
        {"mail_1.example.com", false},  {"[mail.example.com]", false}, {"smtps://mail.example.com", false},
        {"mail.example.com 25", false}, {"mail.example.com.", false}};
    try_texts(MINIMAL "[mailhost main]\nserver = ", 10, servers, COUNT(servers),
              "is not a mail host, such as");
    bad_line(MINIMAL "[mailhost main]\nserver = 192.0.2.1\n", 10,
             "server is an address and certificates carry names");
    bad_line(MAILHOST "tls = none\n", 11, "there is no way without TLS");
    bad_line(MAILHOST "requiretls = true\n", 11, "is neither yes nor no");
    bad_line(MAILHOST "username = website\n", 11, "username and password_file go together");
    bad_line(MAILHOST "password_file = /p\n", 11, "username and password_file go together");
    bad_line(MAILHOST "pin_only = yes\n", 11, "pin_only needs a pin");
    bad_line(MAILHOST "trust = cert.pem\n", 11, "is not a whole path");
}

static void a_pin_is_a_whole_sha256(void **state)
{
    (void)state;
#define HEX62 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e"
#define B64   "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh"
    static const struct text_case cases[] = {
        {HEX62 "1f", true},       {HEX62 "1F", true},   {"sha256:" HEX62 "1f", true},
        {B64 "8", true},          {B64 "8=", true},     {HEX62 "1", false},
        {HEX62 "1g", false},      {HEX62 "1f0", false}, {B64 "9", false},
        {B64 "8==", false},       {B64 "88", false},    {B64 "*", false},
        {"sha1:" B64 "8", false}, {"sha256:", false}};
    try_texts(MAILHOST "pin = ", 11, cases, COUNT(cases), "is not a SHA-256");
}

static void alerts_go_a_way_of_their_own_that_no_visitor_can_use(void **state)
{
    (void)state;
    struct conf *c = good(BRIDGE ALERTS FORM DELIVER "[mailhost main]\nserver = mail.example.com\n");
    assert_null(conf_form(c, ALERT_FORM, strlen(ALERT_FORM)));
    assert_ptr_equal(conf_form(c, "order", 5), conf_route(c, "order"));
    struct form_conf *f = conf_route(c, ALERT_FORM);
    assert_true(f->alert);
    assert_null(f->next);
    assert_int_equal(f->to_count, 2);
    assert_string_equal(f->to[1], "b@example.com");
    assert_string_equal(f->from, "a@example.com");
    assert_int_equal(f->target_count, 2);
    assert_ptr_equal(f->targets[0].host, c->mailhosts);
    conf_free(c);

    c = good(FORM DELIVER BRIDGE
             "alert_to = a@example.com\nalert_deliver = mbox:/m\nalert_from = c@example.com\n");
    assert_string_equal(conf_route(c, ALERT_FORM)->from, "c@example.com");
    conf_free(c);

    c = good(MINIMAL);
    assert_null(conf_route(c, ALERT_FORM));
    conf_free(c);

    bad_line(FORM DELIVER BRIDGE "alert_to = a@example.com\n", 9, "alert_to and alert_deliver go together");
    bad_line(FORM DELIVER BRIDGE "alert_deliver = mbox:/m\n", 9, "alert_to and alert_deliver go together");
    bad_line(BRIDGE "[form _alert]\nto=a@example.com\nfrom=a@example.com\n" DELIVER, 5, "choose another");
}

#define NAMED FORM DELIVER "[bridge]\nhostname = forms.example.com\n" /* the next line is line 7 */

static void forms_come_in_clear_from_this_machine_alone(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"plain:127.0.0.1:80", true}, {"plain:127.9.9.9:80", true},  {"plain:[::1]:80", true},
        {"plain:0.0.0.0:80", false},  {"plain:[::]:80", false},      {"plain:192.0.2.1:80", false},
        {"plain:10.0.0.1:80", false}, {"plain:[fe80::1]:80", false}, {"plain:[::ffff:127.0.0.1]:80", false},
    };
    try_texts(NAMED "listen = ", 7, cases, COUNT(cases), "would take forms in clear from other machines");
    static const struct text_case sockets[] = {
        {"unix:/run/formbridge/http.sock", true},
        {"unix:run/x", false},
        {"unix:", false},
        {"unix:/a/path/that/is/so/long/that/it/does/not/fit/into/a/message/x", false},
    };
    try_texts(NAMED "listen = ", 7, sockets, COUNT(sockets), "is not unix: and a whole path");
    static const struct text_case modes[] = {{"0660", true},   {"600", true},   {"0666", true},
                                             {"66", false},    {"0680", false}, {"1777", false},
                                             {"00660", false}, {"rw", false}};
    try_texts(NAMED "listen = unix:/s\nsocket_mode = ", 8, modes, COUNT(modes), "is not a mode in octal");
}

static void a_certificate_is_needed_where_tls_is_spoken(void **state)
{
    (void)state;
    struct conf *c = good(NAMED "listen = unix:/run/s plain:127.0.0.1:80\n");
    assert_null(c->certificate);
    assert_int_equal(c->listen[0].kind, ENDPOINT_PLAIN);
    assert_int_equal(c->listen[1].kind, ENDPOINT_PLAIN);
    assert_int_equal(c->socket_mode, 0660);
    assert_null(conf_listen(c, ENDPOINT_TLS));
    conf_free(c);
    static const char needs[] =
        "c.ini:5: [bridge] needs a line \"certificate = ...\": the PEM file of the certificate and "
        "its chain\n"
        "c.ini:5: [bridge] needs a line \"private_key = ...\": the PEM file of the certificate's "
        "private key\n";
    bad(NAMED "listen = plain:127.0.0.1:80 127.0.0.1:443\n", needs);
    bad(NAMED "listen = proxy:127.0.0.1:443\ntrusted_proxies = 127.0.0.1\n", needs);
    bad(NAMED "listen = unix:/s\n[pickup a]\nmaildir = /m\npassword = $y$j9T$bNampCHERvAeBCPx0mpK2/"
              "$lznB4rrqEkVAz3vE.Abn.xDxoTGQBQHL6YvlKoX5XF8\n",
        needs);
    bad_line(NAMED "listen = unix:/s\ncertificate = /c\n", 5, "needs a line \"private_key = ...\"");
}

static void a_proxy_is_believed_only_when_it_is_named(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"192.0.2.1", true},
        {"10.0.0.0/8 192.0.2.0/24", true},
        {"2001:db8::/32 ::1", true},
        {"0.0.0.0/0", true},
        {"::ffff:10.0.0.1", true},
        {"10.0.0.1/8", false},
        {"10.0.0.0/33", false},
        {"10.0.0.0/", false},
        {"10.0.0.0/x", false},
        {"10.0.0", false},
        {"localhost", false},
        {"2001:db8::1/64", false},
        {"::/129", false},
        {"127.0.0.1:80", false},
        {"::ffff:10.0.0.0/104", false},
        {"[::1]", false},
    };
    try_texts(FORM DELIVER BRIDGE "trusted_proxies = ", 9, cases, COUNT(cases), "is neither an address");
    bad_line(FORM DELIVER BRIDGE "listen = 0.0.0.0:443 proxy:0.0.0.0:8443\n", 9,
             "listen: proxy:0.0.0.0:8443 takes the word of a proxy: add trusted_proxies");
    bad_line(FORM DELIVER BRIDGE "trusted_proxies = 10.0.0.1\nlisten = 0.0.0.0:443 proxy:0.0.0.0:443\n", 10,
             "0.0.0.0:443 and proxy:0.0.0.0:443 are one place");
    bad_line(FORM DELIVER BRIDGE "http_listen = [::1]:80 [0:0:0:0:0:0:0:1]:80\n", 9,
             "http_listen: [::1]:80 and [0:0:0:0:0:0:0:1]:80 are one place");
    bad_line(FORM DELIVER BRIDGE "admin_listen = 127.0.0.1:9180\n[pickup a]\nlisten = 127.0.0.1:9180\n"
                                 "maildir = /m\npassword = $y$j9T$bNampCHERvAeBCPx0mpK2/$"
                                 "lznB4rrqEkVAz3vE.Abn.xDxoTGQBQHL6YvlKoX5XF8\n",
             11, "listen: 127.0.0.1:9180 is taken by another listen of this file");
    bad_line(FORM DELIVER BRIDGE "listen = unix:/s\nadmin_listen = unix:/s\n", 10,
             "unix:/s is taken by listen");
    struct conf *c = good(FORM DELIVER BRIDGE "trusted_proxies = 10.0.0.0/8 ::1\nlisten = proxy:[::]:8443\n");
    assert_int_equal(c->trusted_proxy_count, 2);
    assert_int_equal(c->listen[0].kind, ENDPOINT_PROXY);
    assert_string_equal(c->listen[0].text, "proxy:[::]:8443");
    conf_free(c);
}

static void keys_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    bad_line(FORM DELIVER BRIDGE "max_memory = 1M\n", 9, "max_body is more than max_memory");
    bad_line(FORM DELIVER BRIDGE "max_body = 256M\n", 9, "max_body is more than max_memory");
    bad_line(FORM DELIVER BRIDGE "retry_min = 2h\n", 9, "retry_min is more than retry_max");
    bad_line(FORM DELIVER BRIDGE "retry_max = 6d\n", 9, "retry_max is more than max_age");
    bad_line(FORM DELIVER BRIDGE "acme_webroot = /var/www\n", 9, "add http_listen");
    bad_line(MINIMAL "max_body = 13M\n", 9, "max_body is more than the 12582912 bytes that [bridge] takes");
    /* What is wrong by itself is not held against others. */
    bad_line(FORM "max_body = 13M\n" DELIVER BRIDGE "max_body = x\n", 10, "is not a size");
    bad_line(FORM DELIVER BRIDGE "retry_max = x\n", 9, "is not a time");
}

static void other_users_and_paths_are_refused(void **state)
{
    (void)state;
    static const struct text_case users[] = {{"www-data", true}, {"a.b_1", true}, {"-x", false},
                                             {"a b", false},     {"../x", false}, {"a:b", false}};
    static const struct text_case paths[] = {
        {"/var/spool/x", true}, {"spool", false}, {"./spool", false}, {"~/s", false}};
    try_texts(FORM DELIVER BRIDGE "user = ", 9, users, COUNT(users), "is not the name of a user");
    try_texts(FORM DELIVER BRIDGE "spool = ", 9, paths, COUNT(paths), "is not a whole path");
}

static void no_memory_is_an_error_and_not_half_a_config(void **state)
{
    (void)state;
    static const char text[] = BRIDGE ALERTS FORM DELIVER
        "[mailhost main]\nserver = mail.example.com\n"
        "pin = AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n"
        "[form two]\nto=a@example.com\nfrom=a@example.com\ndeliver=lmtp:127.0.0.1:24 main\n";
    struct conf *c = NULL;
    long n = 0;
    for (; c == NULL; n++) {
        struct buf errors;
        buf_init(&errors, 4096);
        fail_after = n;
        c = conf_parse("c.ini", text, sizeof(text) - 1, &errors);
        fail_after = -1;
        assert_string_equal(buf_text(&errors), c == NULL ? "c.ini: out of memory\n" : "");
        buf_free(&errors);
    }
    assert_true(n > 50);
    conf_free(c);
}

static void many_mistakes_stay_in_order(void **state)
{
    (void)state;
    struct buf text, errors;
    buf_init(&text, 1 << 20);
    buf_str(&text, MINIMAL);
    for (int i = 0; i < 5000; i++) {
        buf_str(&text, "x\n");
    }
    assert_null(parse_bytes(text.data, text.len, &errors));
    const char *at = buf_text(&errors);
    for (unsigned line = 9; line < 5009; line++) {
        char start[128];
        text_fmt(start, sizeof(start), "c.ini:%u: neither KEY = VALUE nor a [section] nor a # comment\n",
                 line);
        assert_memory_equal(at, start, strlen(start));
        at += strlen(start);
    }
    assert_string_equal(at, "");
    buf_free(&text);
    buf_free(&errors);
}

static void a_file_may_have_256_kb_and_not_a_byte_more(void **state)
{
    (void)state;
    enum { MOST = 256 * 1024 };
    struct buf errors, text;
    char path[] = "/tmp/formbridge-conf-XXXXXX";
    int fd = mkstemp(path);
    buf_init(&errors, 4096);
    buf_init(&text, MOST + 1);
    buf_str(&text, MINIMAL);
    while (text.len < MOST) {
        buf_str(&text, MOST - text.len > 100 ? "# a remark\n" : "\n");
    }
    assert_int_equal(write(fd, text.data, text.len), MOST);
    struct conf *c = conf_load(path, &errors);
    assert_non_null(c);
    conf_free(c);
    assert_int_equal(write(fd, "\n", 1), 1);
    assert_null(conf_load(path, &errors));
    assert_non_null(strstr(buf_text(&errors), "File too large: it may have 256 kB\n"));
    close(fd);
    unlink(path);
    buf_free(&errors);
    buf_free(&text);
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
    (void)state;
    struct buf errors;
    buf_init(&errors, 4096);
    assert_null(conf_load("/nonexistent/config.ini", &errors));
    assert_string_equal(buf_text(&errors),
                        "/nonexistent/config.ini: cannot be read: No such file or directory\n");
    buf_clear(&errors);
    assert_null(conf_load("/", &errors));
    assert_string_equal(buf_text(&errors), "/: cannot be read: Is a directory\n");
    buf_clear(&errors);
    assert_null(conf_load("/dev/zero", &errors));
    assert_string_equal(buf_text(&errors), "/dev/zero: cannot be read: File too large: it may have 256 kB\n");
    buf_clear(&errors);
    assert_null(conf_load("/dev/null", &errors));
    assert_non_null(strstr(buf_text(&errors), "/dev/null:1: no section [form NAME]"));
    buf_free(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_minimal_config_gets_every_default),
        cmocka_unit_test(every_key_reaches_its_member),
        cmocka_unit_test(every_mistake_is_reported_in_the_order_of_lines),
        cmocka_unit_test(an_empty_file_says_what_is_needed),
        cmocka_unit_test(a_line_means_one_thing),
        cmocka_unit_test(a_list_may_stand_on_several_lines),
        cmocka_unit_test(what_editors_do_to_a_file_is_tolerated),
        cmocka_unit_test(numbers_have_units_and_bounds),
        cmocka_unit_test(only_host_names_pass_as_host_names),
        cmocka_unit_test(what_is_listened_on_is_never_looked_up),
        cmocka_unit_test(the_admin_address_is_out_of_reach_for_others),
        cmocka_unit_test(targets_stay_on_this_machine_or_go_to_a_known_mailhost),
        cmocka_unit_test(origins_compare_equal_to_what_browsers_send),
        cmocka_unit_test(success_is_a_page_that_is_safe_to_send_people_to),
        cmocka_unit_test(braces_of_a_template_pair_up),
        cmocka_unit_test(recipients_are_bare_addresses),
        cmocka_unit_test(an_address_for_answers_may_have_a_name_and_placeholders),
        cmocka_unit_test(names_are_fit_for_paths_and_urls),
        cmocka_unit_test(a_mailhost_is_known_by_name_and_reached_by_tls),
        cmocka_unit_test(a_pin_is_a_whole_sha256),
        cmocka_unit_test(alerts_go_a_way_of_their_own_that_no_visitor_can_use),
        cmocka_unit_test(forms_come_in_clear_from_this_machine_alone),
        cmocka_unit_test(a_certificate_is_needed_where_tls_is_spoken),
        cmocka_unit_test(a_proxy_is_believed_only_when_it_is_named),
        cmocka_unit_test(keys_that_contradict_each_other_are_refused),
        cmocka_unit_test(other_users_and_paths_are_refused),
        cmocka_unit_test(no_memory_is_an_error_and_not_half_a_config),
        cmocka_unit_test(many_mistakes_stay_in_order),
        cmocka_unit_test(a_file_may_have_256_kb_and_not_a_byte_more),
        cmocka_unit_test(a_file_that_cannot_be_read_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
