/* x509.c, pem.c, x509_self.c: certificates and keys as openssl and certbot leave them, and what is wrong with
 * others. */

#include "bridge.h"

#include <ctype.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char why[REASON_SIZE];

/* Files that every test may read, in a directory of their own. */
static const char make_files[] =
    "exec 2>openssl.log; set -e; umask 077\n"
    "openssl ecparam -name prime256v1 -genkey -out ec-sec1.pem\n"
    "openssl pkey -in ec-sec1.pem -out ec.pem\n"
    "openssl ecparam -name secp384r1 -genkey -noout -out p384.pem\n"
    "openssl ecparam -name secp521r1 -genkey -noout -out p521.pem\n"
    "openssl ecparam -name prime256v1 -genkey -noout -param_enc explicit -out explicit.pem\n"
    "openssl genpkey -algorithm ed25519 -out ed25519.pem\n"
    "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem\n"
    "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa-other.pem\n"
    "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out rsa1024.pem\n"
    "openssl rsa -in rsa.pem -traditional -out rsa-pkcs1.pem\n"
    "openssl pkey -in ec.pem -aes256 -passout pass:x -out encrypted.pem\n"
    "openssl rsa -in rsa.pem -traditional -aes128 -passout pass:x -out encrypted1.pem\n"
    "san='subjectAltName=DNS:forms.example.com,DNS:*.shop.example.com,IP:192.0.2.1,email:a@example.com'\n"
    "openssl req -x509 -key p384.pem -subj /CN=Root -days 30 -out root.pem\n"
    "openssl req -x509 -key rsa-other.pem -subj /CN=Intermediate -CA root.pem -CAkey p384.pem -days 20 -out "
    "mid.pem\n"
    "for k in ec rsa; do\n"
    "  openssl req -x509 -key $k.pem -subj /CN=leaf -addext \"$san\" -CA mid.pem -CAkey rsa-other.pem -days "
    "10 -out "
    "leaf-$k.pem\n"
    "  cat leaf-$k.pem mid.pem root.pem >chain-$k.pem\n"
    "done\n"
    "openssl req -x509 -key p384.pem -subj /CN=p384 -addext \"$san\" -out leaf-p384.pem\n"
    "for k in p521 ed25519 rsa1024; do openssl req -x509 -key $k.pem -subj /CN=x -out leaf-$k.pem; done\n"
    "openssl req -x509 -key ec.pem -sha1 -subj /CN=x -addext keyUsage=keyAgreement,decipherOnly -addext "
    "extendedKeyUsage=clientAuth,emailProtection -addext 'nameConstraints=permitted;DNS:example.com' -out "
    "uses.pem\n"
    "openssl req -x509 -key ec.pem -subj /CN=x -addext extendedKeyUsage=anyExtendedKeyUsage -out any.pem\n"
    "cat mid.pem leaf-ec.pem >reversed.pem\n"
    "openssl x509 -in leaf-ec.pem -text -out text.pem; cat mid.pem >>text.pem; sed 's/$/\\r/' text.pem "
    ">crlf.pem; sed 's/$/ \\t/' text.pem >spaces.pem\n"
    "openssl x509 -in leaf-ec.pem -outform DER -out binary.pem\n"
    "head -n 5 leaf-ec.pem >cut.pem\n"
    "sed '3s/./!/' leaf-ec.pem >damaged.pem\n"
    "sed '2s/^..../AAAA/' leaf-ec.pem >notder.pem\n"
    "cat leaf-ec.pem ec.pem >both.pem; cat ec.pem rsa.pem >twokeys.pem\n"
    "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17; do cat root.pem; done >many.pem\n"
    "head -c 4200000 /dev/zero >huge.pem; : >empty.pem; echo hello >words.pem\n"
    "mkfifo fifo.pem; mkdir dir.pem; umask 022\n";

static char directory[] = "/tmp/formbridge-x509-XXXXXX";

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) == NULL || chdir(directory) != 0 || system(make_files) != 0 ? -1 : 0;
}

static int remove_directory(void **state)
{
    (void)state;
    char command[64];
    return chdir("/") != 0 || !text_fmt(command, sizeof command, "rm -r %s", directory) ||
           system(command) != 0;
}

static void says(const char *path, const char *words)
{
    if (strncmp(why, path, strlen(path)) != 0 || strstr(why, words) == NULL) {
        fail_msg("\"%s\" does not say of %s: %s", why, path, words);
    }
}

/* What a command prints, without the final line end. */
static void output(const char *command, char *out, size_t size)
{
    FILE *f = popen(command, "r");
    assert_non_null(f);
    size_t n = fread(out, 1, size - 1, f);
    out[n > 0 && out[n - 1] == '\n' ? n - 1 : n] = '\0';
    assert_int_equal(pclose(f), 0);
}

static void a_chain_is_read_leaf_first(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t count;
        int type, issuer;
        unsigned bits;
    } cases[] = {
        {"chain-ec.pem", 3, BR_KEYTYPE_EC, BR_KEYTYPE_RSA, 256},
        {"chain-rsa.pem", 3, BR_KEYTYPE_RSA, BR_KEYTYPE_RSA, 2048},
        {"leaf-p384.pem", 1, BR_KEYTYPE_EC, BR_KEYTYPE_EC, 384},
        {"text.pem", 2, BR_KEYTYPE_EC, BR_KEYTYPE_RSA, 256},
        {"spaces.pem", 2, BR_KEYTYPE_EC, BR_KEYTYPE_RSA, 256},
        {"crlf.pem", 2, BR_KEYTYPE_EC, BR_KEYTYPE_RSA, 256},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct chain c;
        if (!x509_chain_load(&c, cases[i].path, why, sizeof why)) {
            fail_msg("%s", why);
        }
        assert_int_equal(c.count, cases[i].count);
        assert_int_equal(c.key_type, cases[i].type);
        assert_int_equal(c.key_bits, cases[i].bits);
        assert_int_equal(c.issuer_key_type, cases[i].issuer);
        assert_true(buf_equal(&c.names, "forms.example.com\n*.shop.example.com\n"));
        x509_chain_free(&c);
    }
}

static void dates_and_pin_are_those_that_openssl_sees(void **state)
{
    (void)state;
    struct chain c;
    char want[128], got[128];
    assert_true(x509_chain_load(&c, "chain-ec.pem", why, sizeof why));
    output("date -u -d \"$(openssl x509 -in leaf-ec.pem -noout -startdate | cut -d= -f2)\" +%s", want,
           sizeof want);
    assert_int_equal(c.not_before, strtoll(want, NULL, 10));
    assert_int_equal(c.not_after - c.not_before, 10 * 86400);
    output("openssl x509 -in leaf-ec.pem -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum | cut "
           "-c1-64",
           want, sizeof want);
    for (size_t i = 0; i < 32; i++) {
        text_fmt(got + 2 * i, 3, "%02x", c.spki_sha256[i]);
    }
    assert_string_equal(got, want);
    x509_chain_free(&c);
}

static void what_a_certificate_is_for_is_read_from_its_extensions(void **state)
{
    (void)state;
    static const struct {
        const char *path, *bad_signature;
        unsigned usage;
        bool for_servers, for_mail, constraints;
    } cases[] = {
        {"root.pem", NULL, ~0U, true, true, false},
        {"any.pem", NULL, ~0U, true, true, false},
        {"uses.pem", "SHA-1, which is broken", 0x0880, false, true, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct chain c;
        struct cert cert;
        assert_true(x509_chain_load(&c, cases[i].path, why, sizeof why));
        assert_true(x509_read(&cert, c.certs[0].data, c.certs[0].data_len));
        assert_int_equal(cert.usage, cases[i].usage);
        assert_true(cert.ca);
        assert_int_equal(cert.for_servers, cases[i].for_servers);
        assert_int_equal(cert.for_mail, cases[i].for_mail);
        assert_int_equal(cert.constraints, cases[i].constraints);
        assert_true((cert.bad_signature == NULL) == (cases[i].bad_signature == NULL));
        if (cert.bad_signature != NULL) {
            assert_string_equal(cert.bad_signature, cases[i].bad_signature);
        }
        x509_chain_free(&c);
    }
}

static void no_name_in_a_list_can_look_like_two(void **state)
{
    (void)state;
    static const char *const names[] = {"a.example", "b.example\nc.example", "", "*.d.example",
                                        "e f",       "m*.g.example"};
    struct buf list, out;
    buf_init(&list, 1000);
    buf_init(&out, 1000);
    for (size_t i = 0; i < COUNT(names); i++) {
        der_put_text(&list, GENERAL_NAME_DNS, names[i]);
        der_put_text(&list, GENERAL_NAME_MAIL, "a@example.com");
    }
    assert_true(x509_list_names(der_read(list.data, list.len), &out));
    assert_true(buf_equal(&out, "a.example\n*.d.example\nm*.g.example\n"));
    assert_false(x509_list_names(der_read(list.data, list.len - 1), &out));
    buf_free(&out);
    buf_init(&out, 9);
    assert_false(x509_list_names(der_read(list.data, list.len), &out));
    buf_free(&out);
    buf_free(&list);
}

static void a_wrong_certificate_file_is_explained(void **state)
{
    (void)state;
    static const struct {
        const char *path, *words;
    } cases[] = {
        {"missing.pem", "No such file"},
        {"dir.pem", "not a regular file"},
        {"fifo.pem", "not a regular file"},
        {"empty.pem", "no certificate in it"},
        {"words.pem", "no certificate in it: PEM is expected"},
        {"binary.pem", "binary (DER"},
        {"huge.pem", "too large"},
        {"ec.pem", "private key: move it"},
        {"both.pem", "private key: move it"},
        {"encrypted.pem", "encrypted"},
        {"cut.pem", "END line is missing"},
        {"damaged.pem", "line 3 is damaged"},
        {"notder.pem", "certificate 1 is damaged"},
        {"reversed.pem", "certificate 2 was issued by number 1"},
        {"many.pem", "more than 16"},
        {"leaf-p521.pem", "P-256 or P-384"},
        {"leaf-ed25519.pem", "P-256 or P-384"},
        {"leaf-rsa1024.pem", "2048 to 4096"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct chain c;
        if (x509_chain_load(&c, cases[i].path, why, sizeof why)) {
            fail_msg("%s was taken", cases[i].path);
        }
        says(cases[i].path, cases[i].words);
    }
}

static void a_wrong_key_file_is_explained(void **state)
{
    (void)state;
    static const struct {
        const char *path, *words;
    } cases[] = {
        {"missing.pem", "No such file"},       {"leaf-ec.pem", "no private key in it, but CERTIFICATE"},
        {"words.pem", "no private key in it"}, {"encrypted.pem", "decrypt it"},
        {"encrypted1.pem", "decrypt it"},      {"twokeys.pem", "more than one private key"},
        {"p521.pem", "P-256 or P-384"},        {"explicit.pem", "by name"},
        {"ed25519.pem", "P-256 or P-384"},     {"rsa1024.pem", "2048 to 4096"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct key k;
        assert_false(x509_key_load(&k, cases[i].path, why, sizeof why));
        says(cases[i].path, cases[i].words);
    }
}

static void a_key_that_others_can_reach_is_refused(void **state)
{
    (void)state;
    static const mode_t good[] = {0400, 0600, 0640, 0440, 0700}, bad[] = {0644, 0604, 0660, 0620, 0602, 0666};
    struct key k;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_int_equal(chmod("ec.pem", good[i]), 0);
        assert_true(x509_key_load(&k, "ec.pem", why, sizeof why));
        x509_key_free(&k);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(chmod("ec.pem", bad[i]), 0);
        assert_false(x509_key_load(&k, "ec.pem", why, sizeof why));
        says("ec.pem", "chmod 640");
    }
    assert_int_equal(chmod("ec.pem", 0600), 0);
}

static void a_key_matches_its_certificate_alone(void **state)
{
    (void)state;
    static const struct {
        const char *chain, *key;
        bool match;
    } cases[] = {
        {"chain-ec.pem", "ec.pem", true},          {"chain-ec.pem", "ec-sec1.pem", true},
        {"chain-ec.pem", "rsa.pem", false},        {"chain-ec.pem", "p384.pem", false},
        {"chain-rsa.pem", "rsa.pem", true},        {"chain-rsa.pem", "rsa-pkcs1.pem", true},
        {"chain-rsa.pem", "rsa-other.pem", false}, {"leaf-p384.pem", "p384.pem", true},
        {"leaf-p384.pem", "ec.pem", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct chain c;
        struct key k;
        assert_true(x509_chain_load(&c, cases[i].chain, why, sizeof why));
        assert_true(x509_key_load(&k, cases[i].key, why, sizeof why));
        assert_int_equal(x509_match(&c, &k), cases[i].match);
        x509_key_free(&k);
        x509_chain_free(&c);
    }
}

/* A signature made with one wrong prime gives the other away: such a key must be found out before it is used.
 */
static void a_damaged_rsa_key_does_not_match(void **state)
{
    (void)state;
    struct chain c;
    struct key k;
    assert_true(x509_chain_load(&c, "chain-rsa.pem", why, sizeof why));
    assert_true(x509_key_load(&k, "rsa.pem", why, sizeof why));
    k.rsa.dp[10] ^= 1;
    assert_false(x509_match(&c, &k));
    k.rsa.dp[10] ^= 1;
    assert_true(x509_match(&c, &k));
    k.rsa_public.n[10] ^= 1;
    assert_false(x509_match(&c, &k));
    x509_key_free(&k);
    x509_chain_free(&c);
}

/* Numbers much longer than the key are what overflows BearSSL's own decoder. */
static void a_key_with_oversized_numbers_is_refused(void **state)
{
    (void)state;
    static unsigned char digits[60000];
    memset(digits, 0xff, sizeof digits);
    for (int which = 0; which < 9; which++) {
        struct buf der, pem;
        struct key k;
        buf_init(&der, 1 << 17);
        buf_init(&pem, 1 << 18);
        size_t sequence = der_begin(&der, DER_SEQUENCE);
        for (int number = 0; number < 9; number++) {
            size_t len = number == 0 ? 0 : number <= 3 ? 256 : 128; /* version, n e d, p q dp dq iq */
            der_put_unsigned(&der, digits, number == which ? sizeof digits : len);
        }
        der_end(&der, sequence);
        void *room = buf_room(&pem, br_pem_encode(NULL, der.data, der.len, "RSA PRIVATE KEY", 0) + 1);
        pem.len = br_pem_encode(room, der.data, der.len, "RSA PRIVATE KEY", 0);
        bool taken = x509_key_parse(&k, "key", pem.data, pem.len, why, sizeof why);
        assert_int_equal(taken, which == 2 || which == 3); /* the exponents, which signing does not use */
        if (taken) {
            x509_key_free(&k);
        }
        buf_free(&der);
        buf_free(&pem);
    }
}

static void a_host_is_named_exactly_or_by_one_label(void **state)
{
    (void)state;
    static const struct {
        const char *names, *host;
        bool named;
    } cases[] = {
        {"forms.example.com\n", "forms.example.com", true},
        {"forms.example.com\n", "FORMS.Example.Com", true},
        {"forms.example.com\n", "forms.example.com.", true},
        {"forms.example.com\n", "example.com", false},
        {"forms.example.com\n", "x.forms.example.com", false},
        {"forms.example.com\n", "forms.example.co", false},
        {"forms.example.com\n", "", false},
        {"forms.example.com\n", ".", false},
        {"a.example\nb.example\n", "b.example", true},
        {"a.example\nb.example\n", "a.example\nb.example", false},
        {"*.example.com\n", "a.example.com", true},
        {"*.example.com\n", "a.b.example.com", false},
        {"*.example.com\n", "example.com", false},
        {"*.example.com\n", ".example.com", false},
        {"*.example.com\n", "*.example.com", true},
        {"*.org\n", "example.org", false},
        {"", "example.org", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct chain c = {0};
        buf_init(&c.names, 100);
        buf_str(&c.names, cases[i].names);
        assert_int_equal(x509_names_host(&c, cases[i].host), cases[i].named);
        buf_free(&c.names);
    }
}

static void what_is_written_as_pem_is_read_again(void **state)
{
    (void)state;
    struct pem_source source = {"file", why, sizeof why};
    struct pem p;
    struct buf der, pem;
    buf_init(&der, 1000);
    buf_init(&pem, 1000);
    for (size_t len = 0; len < 100; len += 33) {
        assert_true(pem_put(&pem, "CERTIFICATE", &der));
        assert_true(pem_parse(&p, &source, pem.data, pem.len));
        assert_int_equal(p.count, 1);
        assert_true(pem_is(&p.blocks[0], "CERTIFICATE"));
        assert_int_equal(p.der.len, len);
        assert_true(len == 0 || memcmp(p.der.data, der.data, len) == 0);
        pem_free(&p);
        buf_clear(&pem);
        for (unsigned i = 0; i < 33; i++) {
            buf_byte(&der, (unsigned char)(len + i * 7));
        }
    }
    buf_free(&pem);
    buf_init(&pem, 100);
    assert_false(pem_put(&pem, "CERTIFICATE", &der));
    buf_free(&pem);
    buf_free(&der);
}

static void write_file(const char *path, const struct buf *b)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, b->data, b->len), b->len);
    close(fd);
}

static void self_sign(int64_t now, unsigned days, unsigned char seed, struct buf *cert, struct buf *key)
{
    static const char *const names[] = {"localhost", "forms.example.com"};
    unsigned char random[64];
    memset(random, seed, sizeof random);
    buf_init(cert, 1 << 16);
    buf_init(key, 1 << 16);
    assert_true(x509_self_signed(names, COUNT(names), now, days, random, cert, key));
}

static void our_own_certificate_is_good_to_openssl(void **state)
{
    (void)state;
    struct buf cert, key;
    char text[8192];
    self_sign(time(NULL) - 60, 365, 0xa5, &cert, &key);
    write_file("self.pem", &cert);
    write_file("self-key.pem", &key);
    output(
        "openssl verify -x509_strict -purpose sslserver -verify_hostname localhost -CAfile self.pem self.pem",
        text, sizeof text);
    assert_string_equal(text, "self.pem: OK");
    output("openssl verify -verify_ip ::1 -CAfile self.pem self.pem", text, sizeof text);
    assert_string_equal(text, "self.pem: OK");
    output("openssl pkey -in self-key.pem -check -noout", text, sizeof text);
    assert_string_equal(text, "Key is valid");
    output("openssl x509 -in self.pem -noout -text", text, sizeof text);
    static const char *const words[] = {
        "Version: 3",
        "a5:a5:a5:a5",
        "ecdsa-with-SHA256",
        "CN = localhost",
        "prime256v1",
        "CA:FALSE",
        "Digital Signature",
        "TLS Web Server Authentication",
        "DNS:localhost, DNS:forms.example.com, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
    };
    for (size_t i = 0; i < COUNT(words); i++) {
        assert_non_null(strstr(text, words[i]));
    }
    buf_free(&cert);
    buf_free(&key);
}

static void our_own_certificate_is_good_to_ourselves(void **state)
{
    (void)state;
    static const int64_t times[] = {1795000000, 2524607999 - 86400, 2524608000, 0};
    for (size_t i = 0; i < COUNT(times); i++) {
        struct buf cert, key, cert2, key2;
        struct chain c;
        struct key k, other;
        self_sign(times[i], 7, 1, &cert, &key);
        self_sign(times[i], 7, 2, &cert2, &key2);
        assert_true(x509_chain_parse(&c, "self", cert.data, cert.len, why, sizeof why));
        assert_true(x509_key_parse(&k, "self", key.data, key.len, why, sizeof why));
        assert_true(x509_key_parse(&other, "other", key2.data, key2.len, why, sizeof why));
        assert_int_equal(c.not_before, times[i]);
        assert_int_equal(c.not_after, times[i] + 7 * 86400);
        assert_true(buf_equal(&c.names, "localhost\nforms.example.com\n"));
        assert_true(x509_match(&c, &k));
        assert_false(x509_match(&c, &other));
        x509_chain_free(&c);
        x509_key_free(&k);
        x509_key_free(&other);
        buf_free(&cert);
        buf_free(&key);
        buf_free(&cert2);
        buf_free(&key2);
    }
}

static void no_certificate_is_made_for_what_is_no_host(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "a b", "a\nb", "*", "*.", "a*.example", "\xc3\xa4.example", "a/b"};
    unsigned char random[64] = {1};
    struct buf cert, key;
    buf_init(&cert, 1 << 16);
    buf_init(&key, 1 << 16);
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_false(x509_self_signed(&bad[i], 1, 0, 1, random, &cert, &key));
    }
    assert_false(x509_self_signed(bad, 0, 0, 1, random, &cert, &key));
    buf_free(&cert);
    buf_init(&cert, 100);
    assert_false(x509_self_signed((const char *const[]){"a.example"}, 1, 0, 1, random, &cert, &key));
    buf_free(&cert);
    buf_free(&key);
}

/* What openssl s_server says with it, curl believes. */
static void our_own_certificate_is_good_to_curl(void **state)
{
    (void)state;
    struct buf cert, key;
    char text[256];
    self_sign(time(NULL) - 60, 30, 7, &cert, &key);
    write_file("self.pem", &cert);
    write_file("self-key.pem", &key);
    output("openssl s_server -accept 127.0.0.1:0 -cert self.pem -key self-key.pem -tls1_2 -www -naccept 2 "
           ">s_server.log "
           "2>&1 & pid=$!; "
           "for i in $(seq 200); do port=$(sed -n 's/^ACCEPT 127.0.0.1://p' s_server.log); [ \"$port\" ] && "
           "break; "
           "sleep 0.1; done; "
           "curl -sS --noproxy '*' --max-time 10 --cacert self.pem -o /dev/null -w '%{http_code} ' "
           "https://localhost:$port/ 2>&1; "
           "curl -sS --noproxy '*' --max-time 10 --cacert self.pem -o /dev/null -w '%{http_code}' "
           "https://127.0.0.1:$port/ 2>&1; exec 2>s_server.log; kill $pid; wait $pid; true",
           text, sizeof text);
    assert_string_equal(text, "200 200");
    buf_free(&cert);
    buf_free(&key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_is_read_leaf_first),
        cmocka_unit_test(dates_and_pin_are_those_that_openssl_sees),
        cmocka_unit_test(what_a_certificate_is_for_is_read_from_its_extensions),
        cmocka_unit_test(no_name_in_a_list_can_look_like_two),
        cmocka_unit_test(a_wrong_certificate_file_is_explained),
        cmocka_unit_test(a_wrong_key_file_is_explained),
        cmocka_unit_test(a_key_that_others_can_reach_is_refused),
        cmocka_unit_test(a_key_matches_its_certificate_alone),
        cmocka_unit_test(a_damaged_rsa_key_does_not_match),
        cmocka_unit_test(a_key_with_oversized_numbers_is_refused),
        cmocka_unit_test(a_host_is_named_exactly_or_by_one_label),
        cmocka_unit_test(what_is_written_as_pem_is_read_again),
        cmocka_unit_test(our_own_certificate_is_good_to_openssl),
        cmocka_unit_test(our_own_certificate_is_good_to_ourselves),
        cmocka_unit_test(no_certificate_is_made_for_what_is_no_host),
        cmocka_unit_test(our_own_certificate_is_good_to_curl),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
