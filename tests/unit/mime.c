/* mime.c: the whole message, and addresses. */

#include "tests/mailrules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static char *recipients[] = {"orders@example.com"};
static struct message message;
static struct buf out;

static int setup(void **state)
{
    (void)state;
    const struct form_limits limits = {.body = 1 << 20, .fields = 20000, .files = 100};
    message = (struct message){
        .hostname = "forms.example.com",
        .form = "order",
        .ref = "7K2M-Q9XD-4TRW",
        .time = 1795305136,
        .from = "website@example.com",
        .to = recipients,
        .to_count = 1,
        .subject = "Order {ref}",
        .peer = "192.0.2.7",
        .protocol = "HTTPS",
        .tls = "TLS1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 X25519",
        .seed = {0xAB, 1, 2},
        .fields = form_new(FORM_URLENCODED, NULL, NULL, &limits),
    };
    buf_init(&out, 16 << 20);
    return message.fields == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    form_free(message.fields);
    buf_free(&out);
    return 0;
}

static void start_again(void)
{
    teardown(NULL);
    assert_int_equal(setup(NULL), 0);
}

static struct field *add(const char *name, const char *value)
{
    struct field *f = form_add(message.fields);
    assert_non_null(f);
    buf_str(&f->name, name);
    buf_str(&f->value, value);
    return f;
}

static struct field *add_file(const char *filename, const char *type, const char *content)
{
    struct field *f = add("file", content);
    f->file = true;
    buf_str(&f->filename, filename);
    buf_str(&f->type, type);
    return f;
}

static const char *compose(void)
{
    struct buf_sink s;
    size_t files = (message.body & BODY_JSON ? 1 : 0) + (message.body & BODY_CSV ? 1 : 0);
    for (size_t i = 0; i < form_count(message.fields); i++) {
        files += form_field(message.fields, i)->file ? 1 : 0;
    }
    buf_clear(&out);
    buf_sink(&s, &out);
    assert_true(mime_compose(&message, &s.sink));
    const char *text = buf_text(&out);
    const char *broken = broken_rule(text, out.len, files, message.body & BODY_HTML);
    if (broken != NULL) {
        fail_msg("%s:\n%s", broken, text);
    }
    return text;
}

/* The field with its folds, from its name to its line end, or "". Valid until the next call. */
static const char *header(const char *name)
{
    static char field[4096];
    char start[64];
    assert_true(text_fmt(start, sizeof start, "\n%s:", name));
    const char *text = compose();
    const char *at = strstr(text, start);
    if (at == NULL || at > strstr(text, "\n\n")) {
        return "";
    }
    const char *end = at + 1;
    do {
        end = strchr(end, '\n') + 1;
    } while (*end == ' ');
    assert_true(text_fmt(field, sizeof field, "%.*s", (int)(end - at - 2), at + 1));
    return field;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void test_a_form_is_this_message(void **state)
{
    (void)state;
    message.reply_to = "{email}";
    add("name", "Ada");
    add("email", "ada@example.org");
    assert_string_equal(compose(),
                        "Received: from [192.0.2.7] ([192.0.2.7]) by forms.example.com (formbridge)\n"
                        " with HTTPS (TLS1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 X25519) id\n"
                        " 7K2M-Q9XD-4TRW; Sat, 21 Nov 2026 23:52:16 +0000\n"
                        "Date: Sat, 21 Nov 2026 23:52:16 +0000\n"
                        "From: website@example.com\n"
                        "To: orders@example.com\n"
                        "Subject: Order 7K2M-Q9XD-4TRW\n"
                        "Reply-To: ada@example.org\n"
                        "Message-ID: <7K2M-Q9XD-4TRW.1795305136@forms.example.com>\n"
                        "X-Formbridge-Form: order\n"
                        "X-Formbridge-Ref: 7K2M-Q9XD-4TRW\n"
                        "MIME-Version: 1.0\n"
                        "Content-Type: text/plain; charset=UTF-8\n"
                        "Content-Transfer-Encoding: quoted-printable\n"
                        "\n"
                        "name: Ada\n"
                        "email: ada@example.org\n"
                        "\n"
                        "--=20\n"
                        "Receipt: 7K2M-Q9XD-4TRW\n"
                        "Form: order\n"
                        "Received: 2026-11-21 23:52:16 UTC\n");
}

static void test_uploads_are_attachments_behind_the_text(void **state)
{
    (void)state;
    add_file("a.txt", "text/plain", "hello\n");
    add("name", "Ada");
    add_file("\xC3\xA4.pdf", "application/pdf", "");
    const char *text = strstr(compose(), "Content-Type:");
    assert_string_equal(text,
                        "Content-Type: multipart/mixed; boundary=\"=_ab010200000000000000000000000000\"\n"
                        "\n"
                        "--=_ab010200000000000000000000000000\n"
                        "Content-Type: text/plain; charset=UTF-8\n"
                        "Content-Transfer-Encoding: quoted-printable\n"
                        "\n"
                        "(file: attached, 6 bytes, a.txt)\n"
                        "name: Ada\n"
                        "(file: attached, 0 bytes, =C3=A4.pdf)\n"
                        "\n"
                        "--=20\n"
                        "Receipt: 7K2M-Q9XD-4TRW\n"
                        "Form: order\n"
                        "Received: 2026-11-21 23:52:16 UTC\n"
                        "\n"
                        "--=_ab010200000000000000000000000000\n"
                        "Content-Type: application/octet-stream;\n"
                        " name=\"a.txt\"\n"
                        "Content-Transfer-Encoding: base64\n"
                        "Content-Disposition: attachment;\n"
                        " filename=\"a.txt\"\n"
                        "\n"
                        "aGVsbG8K\n"
                        "\n"
                        "--=_ab010200000000000000000000000000\n"
                        "Content-Type: application/pdf;\n"
                        " name=\"_.pdf\"\n"
                        "Content-Transfer-Encoding: base64\n"
                        "Content-Disposition: attachment;\n"
                        " filename*=UTF-8''%C3%A4.pdf\n"
                        "\n"
                        "\n"
                        "--=_ab010200000000000000000000000000--\n");
}

static void test_nothing_posted_breaks_the_message(void **state)
{
    (void)state;
    static const char *const hostile[] = {
        "x\r\nBcc: x@example.org",
        "x\nBcc: x@example.org\n\nbody",
        "x\rBcc: x@example.org",
        "x\xC2\x85"
        "Bcc: x@example.org",
        "x\xE2\x80\xA8"
        "Bcc: x@example.org",
        "\n\n--=_ab010200000000000000000000000000\nContent-Type: text/html\n\n<b>x</b>",
        "--=_ab010200000000000000000000000000--",
        "From x@example.org Sat Nov 21 23:52:16 2026",
        "x\n\nFrom x@example.org Sat Nov 21 23:52:16 2026\nSubject: x\n\n",
        ".\r\nMAIL FROM:<x@example.org>",
        "\r\n.\r\n",
        "=?utf-8?q?x=0D=0ABcc=3A_x@example.org?=",
        "\xED\xA0\x80\xFF\xFE\xC0\x80",
        "\xE2\x80\xAE\xE2\x81\xA6",
        "\x1B[2J\x07\x7F",
        "\" ; name=\"x\"; x=\"",
        "\\\" \\",
        "x@example.org, y@example.org",
        "{name}{ref}{",
        "a/../../b\\..\\c",
        "                                                                                               x",
    };
    for (size_t i = 0; i < COUNT(hostile); i++) {
        start_again();
        message.subject = "{name}{x}";
        message.reply_to = "{name}";
        struct field *f = add("name", hostile[i]);
        add(hostile[i], hostile[i]);
        buf_byte(&f->value, 0);
        compose();
        add_file(hostile[i], hostile[i], hostile[i]);
        f = add_file("x", "image/png", "");
        buf_clear(&f->name);
        buf_str(&f->name, hostile[i]);
        compose();
        assert_null(strstr(buf_text(&out), "\nBcc:"));
    }
}

static void test_long_words_are_folded_everywhere(void **state)
{
    (void)state;
    char word[255];
    for (size_t n = 1; n < sizeof word; n++) {
        start_again();
        memset(word, 'x', n);
        word[n] = '\0';
        message.subject = "{name}";
        add("name", word);
        add(word, word);
        add_file(word, "image/png", word);
        compose();
    }
}

static void test_ten_thousand_fields(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10000; i++) {
        add("From a", "From b\n.\nFrom c");
    }
    compose();
}

struct failing_sink {
    struct sink sink;
    unsigned left;
};

static bool put_until_full(struct sink *s, const void *bytes, size_t len)
{
    (void)bytes;
    (void)len;
    struct failing_sink *f = (struct failing_sink *)s;
    return f->left > 0 && f->left-- > 0;
}

static void test_a_disk_that_is_full_at_any_write_is_reported(void **state)
{
    (void)state;
    add("a", "1\n2\n3");
    add_file("x", "image/png", "x");
    unsigned writes = 0;
    for (;; writes++) {
        struct failing_sink s = {{put_until_full}, writes};
        if (mime_compose(&message, &s.sink)) {
            break;
        }
    }
    assert_true(writes > 10);
}

/* ---- header fields --------------------------------------------------------------------------- */

static void test_received_names_an_ipv6_address_as_one_and_clear_text_as_such(void **state)
{
    (void)state;
    message.peer = "2001:db8::7";
    message.protocol = "HTTP";
    message.tls = NULL;
    assert_non_null(strstr(compose(), "from [IPv6:2001:db8::7] ([IPv6:2001:db8::7]) by"));
    assert_non_null(strstr(buf_text(&out), "with HTTP id"));
}

static void test_many_recipients_are_folded(void **state)
{
    (void)state;
    char *many[50];
    for (size_t i = 0; i < COUNT(many); i++) {
        many[i] = "orders@example.com";
    }
    message.to = many;
    message.to_count = COUNT(many);
    const char *to = header("To");
    size_t count = 0;
    while ((to = strstr(to, "orders@example.com")) != NULL) {
        to++;
        count++;
    }
    assert_int_equal(count, COUNT(many));
}

static void test_message_id_is_the_same_at_every_try_and_the_boundary_is_not(void **state)
{
    (void)state;
    char first[256];
    add_file("x", "", "x");
    assert_true(text_copy(first, sizeof first, header("Message-ID")));
    message.seed[15] = 9;
    assert_string_equal(header("Message-ID"), first);
    assert_non_null(strstr(compose(), "--=_ab010200000000000000000000000009--\n"));
}

static const char *subject(const char *template)
{
    message.subject = template;
    return header("Subject") + strlen("Subject:");
}

static void test_subject_template(void **state)
{
    (void)state;
    add("name", "Ada");
    add("name", "Bea");
    add("x", "{name} {ref}");
    add("ref", "forged");
    add("form", "forged");
    add_file("f", "", "secret");
    assert_string_equal(subject("{form} {ref} {name}"), " order 7K2M-Q9XD-4TRW Ada");
    assert_string_equal(subject("{x}"), " {name} {ref}");
    assert_string_equal(subject("a{absent}b {} {{name}} {name"), " ab {} {Ada} {name");
    assert_string_equal(subject("{file}"), "");
    assert_string_equal(subject(""), "");
}

static void test_a_placeholder_has_a_default_and_a_limit(void **state)
{
    (void)state;
    add("name", "Ada\xCC\x81 Lovelace");
    add("blank", " \r\n\t");
    add("thing", " two  words ");
    assert_string_equal(subject("{name|somebody}, {absent|somebody}, {blank|nobody}"),
                        " =?UTF-8?Q?Ada=CC=81_Lovelace=2C_somebody=2C_nobody?=");
    assert_string_equal(
        subject("{thing:3}|{thing:10}|{absent:3|nobody}|{ref:4}"),
        " =?UTF-8?Q?two=E2=80=A6=7Ctwo_words=7Cnob=E2=80=A6=7C7K2M?=\n =?UTF-8?Q?=E2=80=A6?=");
    assert_string_equal(subject("{absent|}{thing:200}"), " two words");
    assert_string_equal(subject("{name:0}{name:201}{name:x}{name:}{:5}{|x}"),
                        " {name:0}{name:201}{name:x}{name:}{:5}{|x}"); /* the config takes none of these */
}

static void test_a_cut_reply_address_is_none(void **state)
{
    (void)state;
    add("email", "ada@example.org");
    message.reply_to = "{email:8}";
    assert_string_equal(header("Reply-To"), "");
    message.reply_to = "{absent|help@example.com}";
    assert_string_equal(header("Reply-To"), "Reply-To: help@example.com");
}

/* Where each of these is found behind the one before. */
static void assert_in_order(const char *text, const char *const *wanted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *at = strstr(text, wanted[i]);
        if (at == NULL) {
            fail_msg("%s is not there in:\n%s", wanted[i], text);
        }
        text = at + strlen(wanted[i]);
    }
}

static void test_html_is_an_alternative_before_the_attachments(void **state)
{
    (void)state;
    message.body = BODY_HTML;
    add("name", "Ada");
    static const char *const bare[] = {"Content-Type: multipart/alternative;\n boundary=\"=_Aab01",
                                       "Content-Type: text/plain",
                                       "name: Ada\n",
                                       "Content-Type: text/html; charset=UTF-8",
                                       "<td",
                                       "Ada</td>",
                                       "--\n"};
    assert_in_order(compose(), bare, COUNT(bare));
    add_file("a.pdf", "application/pdf", "x");
    message.body = BODY_HTML | BODY_JSON | BODY_CSV;
    static const char *const all[] = {"Content-Type: multipart/mixed; boundary=\"=_ab01",
                                      "--=_ab01",
                                      "Content-Type: multipart/alternative",
                                      "text/plain",
                                      "text/html",
                                      "--=_Aab01",
                                      "--=_ab01",
                                      "application/pdf",
                                      "--=_ab01",
                                      "application/json",
                                      "filename=\"fields.json\"",
                                      "--=_ab01",
                                      "text/csv",
                                      "filename=\"fields.csv\""};
    assert_in_order(compose(), all, COUNT(all));
}

static void test_the_text_of_a_sealed_mail_begins_with_what_its_outer_header_does_not_tell(void **state)
{
    (void)state;
    message.subject = "Order from {name}";
    message.reply_to = "{email}";
    add("name", "Ada\nReply-To: <b>&");
    add("email", "ada@example.org");
    struct buf display;
    buf_init(&display, MIME_DISPLAY_SIZE);
    mime_display(&message, &display);
    message.display = buf_text(&display);
    assert_string_equal(message.display,
                        "Subject: Order from Ada Reply-To: <b>&\nReply-To: ada@example.org\n");
    const char *text = compose();
    assert_non_null(strstr(text, "\nContent-Type: text/plain; charset=UTF-8; hp-legacy-display=\"1\"\n"));
    assert_non_null(
        strstr(text, "\n\nSubject: Order from Ada Reply-To: <b>&\nReply-To: ada@example.org\n\nname:\n"));
    message.body = BODY_HTML;
    text = compose();
    assert_non_null(strstr(text, "\nContent-Type: text/html; charset=UTF-8; hp-legacy-display=\"1\"\n"));
    assert_non_null(strstr(text, "<pre>Subject"));
    buf_free(&display);
}

static void test_the_longest_subject_and_address_fit_the_display(void **state)
{
    (void)state;
    message.subject = "{name}";
    message.reply_to = "{email}";
    struct field *name = add("name", "");
    for (size_t i = 0; i < 300; i++) {
        buf_str(&name->value, "\xF0\x9F\xA5\x90");
    }
    struct field *address = add("email", "a@");
    while (address->value.len < MAIL_ADDRESS_MAX - 2) {
        buf_str(&address->value, address->value.len % 60 == 59 ? "." : "b");
    }
    struct buf display;
    buf_init(&display, MIME_DISPLAY_SIZE);
    mime_display(&message, &display);
    assert_non_null(buf_text(&display));
    assert_non_null(strstr(buf_text(&display), "\nReply-To: a@bbb"));
    buf_free(&display);
}

static void test_hidden_fields_are_in_no_part(void **state)
{
    (void)state;
    message.body = BODY_HTML;
    add("secret", "hunter2")->hidden = true;
    add_file("hunter2.pdf", "application/pdf", "hunter2")->hidden = true;
    add("name", "Ada");
    struct buf_sink s;
    buf_clear(&out);
    buf_sink(&s, &out);
    assert_true(mime_compose(&message, &s.sink));
    assert_null(strstr(buf_text(&out), "hunter2"));
    assert_null(strstr(buf_text(&out), "secret"));
    assert_null(strstr(buf_text(&out), "multipart/mixed"));
}

static void test_subject_is_one_line_without_blanks_around(void **state)
{
    (void)state;
    add("x", " \r\n a\t\t b\x0B\x1B\xE2\x80\xA8 \xE2\x80\xAE"
             "c\xC2\x85 ");
    assert_string_equal(subject("{x}"), " a b c");
    assert_string_equal(subject("{x} {x}"), " a b c a b c");
    add("y", " \xC3\xBC\xE2\x80\xAE\xC3\xBC ");
    assert_string_equal(subject("{y}"), " =?UTF-8?Q?=C3=BC=C3=BC?=");
}

static void test_subject_shows_an_encoded_word_as_it_was_typed(void **state)
{
    (void)state;
    add("x", "=?utf-8?q?x?=");
    assert_string_equal(subject("{x}"), " =?UTF-8?Q?=3D=3Futf-8=3Fq=3Fx=3F=3D?=");
}

static void test_subject_is_cut_at_a_character(void **state)
{
    (void)state;
    char value[201];
    memset(value, 'x', 200);
    for (size_t i = 4; i < 199; i += 5) {
        value[i] = ' ';
    }
    value[200] = '\0';
    struct field *f = add("x", value);
    assert_null(strstr(subject("{x}"), "=?"));
    buf_str(&f->value, "  ");
    assert_null(strstr(subject("{x}"), "=?"));
    buf_str(&f->value, "y");
    const char *cut = subject("{x}");
    assert_string_equal(cut + strlen(cut) - 12, "x=E2=80=A6?=");
    buf_clear(&f->value);
    for (size_t i = 0; i < 300; i++) {
        buf_str(&f->value, "\xF0\x9F\x98\x80");
    }
    compose();
}

static const char *reply_to(const char *value)
{
    start_again();
    message.reply_to = "{email}";
    add("email", value);
    return header("Reply-To");
}

static void test_reply_to_is_one_valid_ascii_address_or_absent(void **state)
{
    (void)state;
    assert_string_equal(reply_to("ada@example.org"), "Reply-To: ada@example.org");
    assert_string_equal(reply_to(" ada@example.org\r\n"), "Reply-To: ada@example.org");
    static const char *const refused[] = {
        "",
        " ",
        "ada",
        "Ada <ada@example.org>",
        "ada@example.org, bea@example.org",
        "ada@example.org;bea@example.org",
        "ada@example.org\nBcc: bea@example.org",
        "ada@example.org\rx",
        "ada@example.org bea@example.org",
        "\xC3\xBCrsula@example.org",
        "ada@ex\xC3\xA4mple.org",
    };
    for (size_t i = 0; i < COUNT(refused); i++) {
        assert_string_equal(reply_to(refused[i]), "");
    }
    char value[1000];
    memset(value, ' ', sizeof value);
    text_copy(value + 900, 100, "ada@example.org");
    assert_string_equal(reply_to(value), "Reply-To: ada@example.org"); /* blanks around it do not matter */
    memset(value, 'x', 900);
    assert_string_equal(reply_to(value), "");
}

static const char *named_reply(const char *name)
{
    start_again();
    message.reply_to = "{name} <{email}>";
    add("name", name);
    add("email", "ada@example.org");
    return header("Reply-To");
}

static void test_reply_to_may_have_the_visitors_name(void **state)
{
    (void)state;
    static const struct {
        const char *name, *field;
    } cases[] = {
        {"Ada Lovelace", "Reply-To: \"Ada Lovelace\" <ada@example.org>"},
        {" Ada \r\n\tLovelace ", "Reply-To: \"Ada Lovelace\" <ada@example.org>"},
        {"", "Reply-To: ada@example.org"},
        {" \r\n", "Reply-To: ada@example.org"},
        {"a\"b\\c", "Reply-To: =?UTF-8?Q?a=22b=5Cc?= <ada@example.org>"},
        {"x\r\nBcc: eve@example.net", "Reply-To: \"x Bcc: eve@example.net\" <ada@example.org>"},
        {"eve@example.net>, <x", "Reply-To: \"eve@example.net>, <x\" <ada@example.org>"},
        {"J\u00f6rg", "Reply-To: =?UTF-8?Q?J=C3=B6rg?= <ada@example.org>"},
        {"=?UTF-8?Q?x?=", "Reply-To: =?UTF-8?Q?=3D=3FUTF-8=3FQ=3Fx=3F=3D?= <ada@example.org>"},
        {"\u202eadA", "Reply-To: \"adA\" <ada@example.org>"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_string_equal(named_reply(cases[i].name), cases[i].field);
    }
    char name[900];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_non_null(strstr(named_reply(name), "=E2=80=A6?=")); /* cut after 200 characters */
    for (size_t i = 0; i + 2 < sizeof name; i += 2) {
        memcpy(name + i, "\u00e4", 2);
    }
    assert_non_null(strstr(named_reply(name), "<ada@example.org>"));
    message.reply_to = "Ada {absent} <{email}>";
    assert_string_equal(header("Reply-To"), "Reply-To: \"Ada\" <ada@example.org>");
    message.reply_to = "<{email}>";
    assert_string_equal(header("Reply-To"), "Reply-To: ada@example.org");
    message.reply_to = "Help <help@example.com>";
    assert_string_equal(header("Reply-To"), "Reply-To: \"Help\" <help@example.com>");
    message.reply_to = "{name} <{absent}>";
    assert_string_equal(header("Reply-To"), "");
}

static void test_from_may_have_a_name(void **state)
{
    (void)state;
    message.from_name = "Shop, website";
    assert_string_equal(header("From"), "From: \"Shop, website\" <website@example.com>");
    message.from_name = "B\u00e4ckerei \"M\u00fcller\"";
    assert_string_equal(header("From"),
                        "From: =?UTF-8?Q?B=C3=A4ckerei_=22M=C3=BCller=22?= <website@example.com>");
}

static void test_a_long_reply_to_has_a_line_of_its_own(void **state)
{
    (void)state;
    char value[] = "ada@xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx."
                   "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.example.org";
    const char *field = reply_to(value);
    assert_memory_equal(field, "Reply-To:\n ada@", 15);
    assert_string_equal(field + 11, value);
}

static void test_reply_to_with_a_nul_is_absent(void **state)
{
    (void)state;
    message.reply_to = "{email}";
    buf_put(&add("email", "ada@example.org")->value, "\0x", 2);
    assert_string_equal(header("Reply-To"), "");
}

/* ---- addresses ------------------------------------------------------------------------------- */

static void test_addresses_that_are_good(void **state)
{
    (void)state;
    static const char *const good[] = {
        "ada@example.com",
        "root@localhost",
        "a.b+c_d-e=f@a-b.example.com",
        "!#$%&'*+-/=?^_`{|}~@example.com",
        "1@1.2",
        "j\xC3\xBCrgen@m\xC3\xBCller.example",
        "\xE7\x94\xA8\xE6\x88\xB7@example.com",
        "1234567890123456789012345678901234567890123456789012345678901234@example.com",
        "a@123456789012345678901234567890123456789012345678901234567890123.example",
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_true(mime_address_ok(good[i], strlen(good[i])));
    }
}

static void test_addresses_that_are_not(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "ada",
        "@example.com",
        "ada@",
        "@",
        "ada@@example.com",
        "a@b@example.com",
        ".ada@example.com",
        "ada.@example.com",
        "a..da@example.com",
        "ada@.example.com",
        "ada@example.com.",
        "ada@example..com",
        "ada@-example.com",
        "ada@example-.com",
        "ada@example.-com",
        "ada@example.com-",
        "ada@exa_mple.com",
        "ada@[192.0.2.7]",
        "\"ada\"@example.com",
        "ada(x)@example.com",
        "<ada@example.com>",
        "ada@example.com>",
        "ada @example.com",
        " ada@example.com",
        "ada@example.com ",
        "ada@example.com,bea@example.com",
        "ada@example.com\n",
        "ada@example.com\r\nRCPT TO:<x@example.com>",
        "a\tda@example.com",
        "a\x7F@example.com",
        "a\\@example.com",
        "a\xFF@example.com",
        "a\xC2\x85@example.com",
        "a\xC2\xA0@example.com",
        "a\xE2\x80\xAE@example.com",
        "a\xE2\x80\xA8@example.com",
        "a@\xED\xA0\x80.example",
        "12345678901234567890123456789012345678901234567890123456789012345@example.com",
        "123456789012345678901234567890123.1234567890123456789012345678901@example.com",
        "a@1234567890123456789012345678901234567890123456789012345678901234.example",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        if (mime_address_ok(bad[i], strlen(bad[i]))) {
            fail_msg("accepted: %s", bad[i]);
        }
    }
    assert_false(mime_address_ok("a\0b@example.com", 15));
    assert_false(mime_address_ok("a@example.com\0", 14));
}

static void test_an_address_ends_at_254(void **state)
{
    (void)state;
    char address[300] = "a@";
    for (size_t i = 2; i < sizeof address; i++) {
        address[i] = i % 50 == 0 ? '.' : 'x';
    }
    assert_true(mime_address_ok(address, 254));
    assert_false(mime_address_ok(address, 255));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_form_is_this_message),
        TEST(test_uploads_are_attachments_behind_the_text),
        TEST(test_nothing_posted_breaks_the_message),
        TEST(test_long_words_are_folded_everywhere),
        TEST(test_ten_thousand_fields),
        TEST(test_a_disk_that_is_full_at_any_write_is_reported),
        TEST(test_received_names_an_ipv6_address_as_one_and_clear_text_as_such),
        TEST(test_many_recipients_are_folded),
        TEST(test_message_id_is_the_same_at_every_try_and_the_boundary_is_not),
        TEST(test_subject_template),
        TEST(test_a_placeholder_has_a_default_and_a_limit),
        TEST(test_a_cut_reply_address_is_none),
        TEST(test_html_is_an_alternative_before_the_attachments),
        TEST(test_hidden_fields_are_in_no_part),
        TEST(test_the_text_of_a_sealed_mail_begins_with_what_its_outer_header_does_not_tell),
        TEST(test_the_longest_subject_and_address_fit_the_display),
        TEST(test_subject_is_one_line_without_blanks_around),
        TEST(test_subject_shows_an_encoded_word_as_it_was_typed),
        TEST(test_subject_is_cut_at_a_character),
        TEST(test_reply_to_is_one_valid_ascii_address_or_absent),
        TEST(test_reply_to_may_have_the_visitors_name),
        TEST(test_from_may_have_a_name),
        TEST(test_a_long_reply_to_has_a_line_of_its_own),
        TEST(test_reply_to_with_a_nul_is_absent),
        TEST(test_addresses_that_are_good),
        TEST(test_addresses_that_are_not),
        TEST(test_an_address_ends_at_254),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
