/*
 * Every key of the config in one table: its section, what its text does, its default. Pure.
 */

#include "bridge.h"

#include <stdio.h>
#include <string.h>
#include <sys/un.h>

enum kind { BRIDGE, FORM, FIELD, MAILHOST, PICKUP };

static const char *const kind_names[] = {
    [BRIDGE] = "bridge", [FORM] = "form", [FIELD] = "field", [MAILHOST] = "mailhost", [PICKUP] = "pickup"};
static const char *const kind_titles[] = {[BRIDGE] = "[bridge]",
                                          [FORM] = "[form NAME]",
                                          [FIELD] = "[field FORM NAME]",
                                          [MAILHOST] = "[mailhost NAME]",
                                          [PICKUP] = "[pickup NAME]"};

struct value;
typedef void setter(struct value *v);
static setter set_addresses, set_attach, set_bars, set_choice, set_controls, set_dialect, set_flag,
    set_folder, set_forms_at, set_from, set_host, set_language, set_listen, set_listen_local,
    set_missing_origin, set_mode, set_names, set_networks, set_number, set_origins, set_password, set_path,
    set_paths, set_pins, set_profile, set_rate, set_redirects, set_reply_to, set_seconds, set_server,
    set_size, set_targets, set_template, set_text, set_tls, set_type, set_url, set_user, set_words;

struct setting {
    enum kind kind;
    const char *name;
    setter *set;
    size_t offset;       /* of its member in the struct of its section */
    size_t extra;        /* size of that member; for a list, the offset of its count */
    const char *def;     /* what stands for an absent key, as it would be written, */
    const char *absent;  /* or in words. Both NULL: the key is required */
    const char *meaning; /* in words, for messages */
    const char *min, *max;
};

#define ONE(type, member)         offsetof(struct type, member), sizeof(((struct type *)NULL)->member)
#define LIST(type, member, count) offsetof(struct type, member), offsetof(struct type, count)

/* clang-format off */
static const struct setting keys[] = {
    {BRIDGE, "listen", set_forms_at, LIST(conf, listen, listen_count), "0.0.0.0:443 [::]:443", NULL,
     "the addresses where forms are taken", NULL, NULL},
    {BRIDGE, "trusted_proxies", set_networks, LIST(conf, trusted_proxies, trusted_proxy_count), NULL, "none",
     "the addresses and networks of your proxies, whose word about a visitor's address is taken", NULL, NULL},
    {BRIDGE, "socket_mode", set_mode, ONE(conf, socket_mode), "0660", NULL,
     "the mode of the unix sockets in listen, such as 0660", NULL, NULL},
    {BRIDGE, "socket_group", set_user, ONE(conf, socket_group), NULL, "the group of the user",
     "the group of the unix sockets in listen, which the web server is in", NULL, NULL},
    {BRIDGE, "hostname", set_host, ONE(conf, hostname), NULL, NULL,
     "the name of this server, such as forms.example.com", NULL, NULL},
    {BRIDGE, "certificate", set_path, ONE(conf, certificate), NULL, "none",
     "the PEM file of the certificate and its chain", NULL, NULL},
    {BRIDGE, "private_key", set_path, ONE(conf, private_key), NULL, "none",
     "the PEM file of the certificate's private key", NULL, NULL},
    {BRIDGE, "user", set_user, ONE(conf, user), NULL, "the user who starts it",
     "the user who owns the spool and the mailboxes", NULL, NULL},
    {BRIDGE, "spool", set_path, ONE(conf, spool), "/var/spool/formbridge", NULL,
     "the directory where mail waits", NULL, NULL},
    {BRIDGE, "http_listen", set_listen, LIST(conf, http_listen, http_listen_count), NULL, "none",
     "the addresses where plain HTTP is sent on to HTTPS", NULL, NULL},
    {BRIDGE, "acme_webroot", set_path, ONE(conf, acme_webroot), NULL, "none",
     "the directory that certbot writes its challenges to", NULL, NULL},
    {BRIDGE, "admin_listen", set_listen_local, LIST(conf, admin_listen, admin_listen_count), NULL, "none",
     "the addresses of this machine where health and metrics are shown", NULL, NULL},
    {BRIDGE, "fronts", set_number, ONE(conf, fronts), "0", NULL,
     "the number of processes that take forms, 0 for one per core", "0", "256"},
    {BRIDGE, "max_connections", set_number, ONE(conf, max_connections), "4096", NULL,
     "the most connections at a time", "1", "1000000"},
    {BRIDGE, "max_per_address", set_number, ONE(conf, max_per_address), "64", NULL,
     "the most connections of one visitor at a time", "1", "1000000"},
    {BRIDGE, "handshake_timeout", set_seconds, ONE(conf, handshake_timeout), "10s", NULL,
     "the longest time for the TLS handshake", "1s", "1h"},
    {BRIDGE, "head_timeout", set_seconds, ONE(conf, head_timeout), "10s", NULL,
     "the longest time for the head of a request", "1s", "1h"},
    {BRIDGE, "body_timeout", set_seconds, ONE(conf, body_timeout), "5m", NULL,
     "the longest time for the body of a request", "1s", "1d"},
    {BRIDGE, "answer_timeout", set_seconds, ONE(conf, answer_timeout), "60s", NULL,
     "the longest time until the visitor has taken the answer", "1s", "1h"},
    {BRIDGE, "idle_timeout", set_seconds, ONE(conf, idle_timeout), "30s", NULL,
     "the longest time that a connection is kept open for a next request", "1s", "1h"},
    {BRIDGE, "drain_timeout", set_seconds, ONE(conf, drain_timeout), "30s", NULL,
     "the longest time to finish what was begun when told to stop", "1s", "1h"},
    {BRIDGE, "max_head", set_size, ONE(conf, max_head), "8k", NULL,
     "the most bytes in the head of a request", "1k", "64k"},
    {BRIDGE, "max_body", set_size, ONE(conf, max_body), "12M", NULL,
     "the most bytes in one post, uploads included", "1k", "1G"},
    {BRIDGE, "max_fields", set_number, ONE(conf, max_fields), "200", NULL,
     "the most fields in one post, uploads included", "1", "10000"},
    {BRIDGE, "max_files", set_number, ONE(conf, max_files), "10", NULL,
     "the most uploads in one post", "0", "1000"},
    {BRIDGE, "max_memory", set_size, ONE(conf, max_memory), "128M", NULL,
     "the most bytes of posts that one front holds in memory", "1k", "3G"},
    {BRIDGE, "retry_min", set_seconds, ONE(conf, retry_min), "1m", NULL,
     "the wait after the first failed delivery", "1s", "1d"},
    {BRIDGE, "retry_max", set_seconds, ONE(conf, retry_max), "1h", NULL,
     "the longest wait between two tries of a delivery", "1s", "7d"},
    {BRIDGE, "max_age", set_seconds, ONE(conf, max_age), "5d", NULL,
     "the age at which undelivered mail is held for a person", "1s", "365d"},
    {BRIDGE, "alert_to", set_addresses, LIST(conf, alert_to, alert_to_count), NULL, "none",
     "the addresses that are told of held mail", NULL, NULL},
    {BRIDGE, "alert_from", set_from, ONE(conf, alert_from), NULL, "the first address in alert_to",
     "the address that tells them", NULL, NULL},
    {BRIDGE, "alert_deliver", set_targets, LIST(conf, alert_targets, alert_target_count), NULL, "none",
     "the mailbox or the [mailhost] that such mail is given to", NULL, NULL},

    {FORM, "to", set_addresses, LIST(form_conf, to, to_count), NULL, NULL,
     "the addresses that the mail goes to", NULL, NULL},
    {FORM, "from", set_from, ONE(form_conf, from), NULL, NULL,
     "the address that the mail comes from: one of yours, never the visitor's", NULL, NULL},
    {FORM, "deliver", set_targets, LIST(form_conf, targets, target_count), NULL, NULL,
     "the mailbox or the [mailhost] that the mail is given to", NULL, NULL},
    {FORM, "subject", set_template, ONE(form_conf, subject), "{form}: {ref}", NULL,
     "the subject of the mail", NULL, NULL},
    {FORM, "reply_to", set_reply_to, ONE(form_conf, reply_to), NULL, "the field email, by dialect",
     "where an answer to the mail goes, such as {email}", NULL, NULL},
    {FORM, "origins", set_origins, LIST(form_conf, origins, origin_count), NULL, "any",
     "the web sites that may send this form", NULL, NULL},
    {FORM, "required", set_names, LIST(form_conf, required, required_count), NULL, "none",
     "the names of the fields that must be filled in", NULL, NULL},
    {FORM, "order", set_names, LIST(form_conf, order, order_count), NULL, "as they were sent",
     "the names of the fields that come first in the mail", NULL, NULL},
    {FORM, "leave_out", set_names, LIST(form_conf, leave_out, leave_out_count), NULL, "none",
     "the names of the fields that stay out of the mail", NULL, NULL},
    {FORM, "blank_fields", set_flag, ONE(form_conf, blank_fields), "yes", NULL,
     "yes if empty fields are in the mail, too", NULL, NULL},
    {FORM, "html", set_flag, ONE(form_conf, html), "no", NULL,
     "yes if the mail has a table in HTML beside the text", NULL, NULL},
    {FORM, "attach", set_attach, ONE(form_conf, attach), NULL, "none",
     "the fields as files for programs: json, csv or both", NULL, NULL},
    {FORM, "success", set_url, ONE(form_conf, success), NULL, "a built-in page with the receipt",
     "the page that the visitor sees afterwards", NULL, NULL},
    {FORM, "dialect", set_dialect, ONE(form_conf, dialect), "formspree", NULL,
     "the form services whose control fields are understood", NULL, NULL},
    {FORM, "controls", set_controls, ONE(form_conf, controls),
     "next subject replyto language required sort", NULL, "the control fields that are honoured", NULL, NULL},
    {FORM, "redirects", set_redirects, LIST(form_conf, redirects, redirect_count), NULL, "the origins",
     "where the form itself may send the visitor afterwards", NULL, NULL},
    {FORM, "missing_origin", set_missing_origin, ONE(form_conf, refuse_no_origin), "accept", NULL,
     "what becomes of a post that does not say which web site it comes from: accept or refuse", NULL, NULL},
    {FORM, "title", set_text, ONE(form_conf, title), NULL, "the name of the form",
     "what pages call the form", NULL, NULL},
    {FORM, "language", set_language, ONE(form_conf, language), "auto", NULL,
     "the language of pages and messages: auto, en, de, fr or es", NULL, NULL},
    {FORM, "templates", set_path, ONE(form_conf, templates), NULL, "none",
     "the directory of your own pages receipt.html, error.html and invalid.html", NULL, NULL},
    {FORM, "max_body", set_size, ONE(form_conf, max_body), NULL, "max_body of [bridge]",
     "the most bytes in one post of this form", "1k", "1G"},
    {FORM, "once_window", set_seconds, ONE(form_conf, once_window), "10m", NULL,
     "how long the same content again gets the receipt of the first and is no second mail, 0 for never", "0", "1d"},
    {FORM, "rate", set_rate, ONE(form_conf, rate), "60/5m", NULL,
     "how often one visitor may send the form, as NUMBER/TIME, or off", NULL, NULL},
    {FORM, "form_rate", set_rate, ONE(form_conf, form_rate), "off", NULL,
     "how often the form may be sent by all visitors together, as NUMBER/TIME, or off", NULL, NULL},
    {FORM, "encrypt_to", set_paths, LIST(form_conf, encrypt_to, encrypt_count), NULL, "no encryption",
     "the PEM files of the certificates that alone can open the mail", NULL, NULL},
    {FORM, "smime_profile", set_profile, ONE(form_conf, smime_modern), "compatible", NULL,
     "how mail is encrypted: compatible or modern", NULL, NULL},
    {FORM, "sign_cert", set_path, ONE(form_conf, sign_cert), NULL, "no signature",
     "the PEM file of the certificate that signs the encrypted mail", NULL, NULL},
    {FORM, "sign_key", set_path, ONE(form_conf, sign_key), NULL, "no signature",
     "the PEM file of its private key", NULL, NULL},
    {FORM, "spam", set_choice, ONE(form_conf, spam), "mark", NULL,
     "what becomes of a post that is taken for spam: mark, refuse or off", "mark refuse off", NULL},
    {FORM, "spam_score", set_number, ONE(form_conf, spam_score), "5", NULL,
     "the number of points from which a post is taken for spam", "1", "1000"},
    {FORM, "junk", set_folder, ONE(form_conf, junk), NULL, ".Junk, or none where a [pickup] collects the Maildir",
     "the folder of the Maildir for what is marked as spam, none for the inbox", NULL, NULL},
    {FORM, "honeypot", set_words, LIST(form_conf, honeypots, honeypot_count), "_gotcha _honey bot-field botcheck", NULL,
     "the names of fields that people do not see", NULL, NULL},
    {FORM, "token", set_choice, ONE(form_conf, token), "optional", NULL,
     "whether a post needs a token of this server: optional, required or off", "optional required off", NULL},
    {FORM, "min_time", set_seconds, ONE(form_conf, min_time), "3s", NULL,
     "the time that a person needs at least, from the token to the post", "0", "1h"},
    {FORM, "proof_bits", set_number, ONE(form_conf, proof_bits), "0", NULL,
     "the work that a browser must have done, as bits; 0 for none", "0", "24"},
    {FORM, "max_links", set_number, ONE(form_conf, max_links), "3", NULL,
     "the number of links that a post may hold", "0", "1000"},
    {FORM, "spam_words", set_words, LIST(form_conf, spam_words, spam_word_count), NULL, "none",
     "the words that point to spam", NULL, NULL},
    {FORM, "spam_words_file", set_path, ONE(form_conf, spam_words_file), NULL, "none",
     "a file with such words and phrases, one a line", NULL, NULL},

    {FIELD, "name", set_text, ONE(rule, name), NULL, "NAME of the section",
     "the name of the field as it is sent", NULL, NULL},
    {FIELD, "label", set_text, ONE(rule, label), NULL, "the name of the field",
     "what pages and the mail call the field", NULL, NULL},
    {FIELD, "required", set_flag, ONE(rule, required), "no", NULL,
     "yes if it must be filled in", NULL, NULL},
    {FIELD, "type", set_type, ONE(rule, type), NULL, "any text or file",
     "what may be typed: text, email, number, integer, date, time, url, tel, choice or file", NULL, NULL},
    {FIELD, "choices", set_bars, LIST(rule, choices, choice_count), NULL, "none",
     "the values that may be chosen, with | between them", NULL, NULL},
    {FIELD, "min_length", set_number, ONE(rule, min_length), NULL, "none",
     "the fewest characters", "1", "1000000"},
    {FIELD, "max_length", set_number, ONE(rule, max_length), NULL, "none",
     "the most characters", "1", "1000000"},
    {FIELD, "min", set_text, ONE(rule, min), NULL, "none",
     "the least number, or the first date or time", NULL, NULL},
    {FIELD, "max", set_text, ONE(rule, max), NULL, "none",
     "the greatest number, or the last date or time", NULL, NULL},
    {FIELD, "pattern", set_text, ONE(rule, pattern), NULL, "none",
     "a regular expression (POSIX, extended) that the whole value must fit", NULL, NULL},
    {FIELD, "pattern_hint", set_text, ONE(rule, pattern_hint), NULL, "a general sentence",
     "the sentence that visitors see when it does not", NULL, NULL},
    {FIELD, "example", set_text, ONE(rule, example), NULL, "none",
     "a value that is right, for formbridge test", NULL, NULL},
    {FIELD, "accept", set_words, LIST(rule, accept, accept_count), NULL, "any",
     "the kinds of files: .pdf, image/png, image/*", NULL, NULL},
    {FIELD, "max_files", set_number, ONE(rule, max_files), NULL, "max_files of [bridge]",
     "the most files", "1", "1000"},

    {MAILHOST, "server", set_server, ONE(mailhost, server), NULL, NULL,
     "the mail host as NAME or NAME:PORT", NULL, NULL},
    {MAILHOST, "tls", set_tls, ONE(mailhost, starttls), "implicit", NULL,
     "how TLS begins: implicit or starttls", NULL, NULL},
    {MAILHOST, "username", set_text, ONE(mailhost, username), NULL, "none",
     "the name to log in with", NULL, NULL},
    {MAILHOST, "password_file", set_path, ONE(mailhost, password_file), NULL, "none",
     "the file that holds the password", NULL, NULL},
    {MAILHOST, "tls_name", set_host, ONE(mailhost, tls_name), NULL, "the name in server",
     "the name that the certificate must carry", NULL, NULL},
    {MAILHOST, "trust", set_path, ONE(mailhost, trust), NULL, "the authorities that the system trusts",
     "the PEM file of the authorities that may vouch for the mail host", NULL, NULL},
    {MAILHOST, "pin", set_pins, LIST(mailhost, pins, pin_count), NULL, "none",
     "the SHA-256 of the mail host's public key", NULL, NULL},
    {MAILHOST, "pin_only", set_flag, ONE(mailhost, pin_only), "no", NULL,
     "yes if the pin stands instead of the chain of certificates", NULL, NULL},
    {MAILHOST, "requiretls", set_flag, ONE(mailhost, requiretls), "no", NULL,
     "yes if the mail may only travel on over verified TLS", NULL, NULL},
    {MAILHOST, "timeout", set_seconds, ONE(mailhost, timeout), "0", NULL,
     "the longest wait for an answer, 0 for what RFC 5321 says", "0", "10m"},
    {MAILHOST, "connections", set_number, ONE(mailhost, connections), "2", NULL,
     "the most connections at a time", "1", "32"},

    {PICKUP, "listen", set_listen, LIST(pickup, listen, listen_count), "0.0.0.0:995 [::]:995", NULL,
     "the addresses where the mailbox is collected over POP3S", NULL, NULL},
    {PICKUP, "maildir", set_path, ONE(pickup, maildir), NULL, NULL, "the Maildir that is collected", NULL, NULL},
    {PICKUP, "password", set_password, ONE(pickup, password), NULL, NULL,
     "a hash that `formbridge passwd` has printed", NULL, NULL},
    {PICKUP, "max_connections", set_number, ONE(pickup, max_connections), "64", NULL,
     "the most connections at a time", "1", "10000"},
    {PICKUP, "max_per_address", set_number, ONE(pickup, max_per_address), "16", NULL,
     "the most connections of one address at a time", "1", "10000"},
    {PICKUP, "login_timeout", set_seconds, ONE(pickup, login_timeout), "1m", NULL,
     "how long a mail program may take to log in", "1s", "1h"},
    {PICKUP, "idle_timeout", set_seconds, ONE(pickup, idle_timeout), "10m", NULL,
     "how long a mail program that has logged in may be silent", "10m", "1d"},
};
/* clang-format on */

struct value { /* one key being given its meaning */
    struct confread *r;
    const struct conf *conf;
    const struct setting *key;
    unsigned line;
    char *text;   /* the setter may keep it and write into it */
    void *object; /* the struct of the section */
};

/* ---- setters --------------------------------------------------------------------------------- */

static void wrong(struct value *v, const char *item, const char *fmt, ...) PRINTF(3, 4);

static void wrong(struct value *v, const char *item, const char *fmt, ...)
{
    char what[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    confread_mistake(v->r, v->line, "%s: \"%s\" %s", v->key->name, item, what);
}

static void *member(struct value *v)
{
    return (char *)v->object + v->key->offset;
}

static void store_text(struct value *v)
{
    memcpy(member(v), &v->text, sizeof(v->text));
}

static void store_flag(struct value *v, bool flag)
{
    memcpy(member(v), &flag, sizeof(flag));
}

static void store_list(struct value *v, void *list, size_t count)
{
    count = list != NULL ? count : 0; /* no memory */
    memcpy(member(v), &list, sizeof(list));
    memcpy((char *)v->object + v->key->extra, &count, sizeof(count));
}

static void set_scaled(struct value *v, bool (*read)(const char *, uint64_t *), const char *what)
{
    uint64_t n, min, max;
    if (!read(v->text, &n) || !read(v->key->min, &min) || !read(v->key->max, &max) || n < min || n > max) {
        wrong(v, v->text, "is not %s, from %s to %s", what, v->key->min, v->key->max);
    } else if (v->key->extra == sizeof(uint32_t)) {
        uint32_t small = (uint32_t)n;
        memcpy(member(v), &small, sizeof(small));
    } else {
        memcpy(member(v), &n, sizeof(n));
    }
}

static bool read_number(const char *text, uint64_t *out)
{
    return text_number(text, strlen(text), out);
}

static void set_number(struct value *v)
{
    set_scaled(v, read_number, "a number");
}

static void set_seconds(struct value *v)
{
    set_scaled(v, value_seconds, "a time in seconds, or with s, m, h or d behind it");
}

static void set_size(struct value *v)
{
    set_scaled(v, value_size, "a size in bytes, or with k, M or G behind it");
}

static void set_rate(struct value *v)
{
    struct rate rate;
    if (!value_rate(v->text, &rate)) {
        wrong(v, v->text, "is not a number and a time, such as 60/5m (1 to 1000000, over 1s to 1d), nor off");
    }
    memcpy(member(v), &rate, sizeof(rate));
}

static void set_flag(struct value *v)
{
    bool yes = strcmp(v->text, "yes") == 0;
    if (!yes && strcmp(v->text, "no") != 0) {
        wrong(v, v->text, "is neither yes nor no");
    }
    store_flag(v, yes);
}

/* One of the words in key->min, kept as its number there: an enum in the same order. */
static void set_choice(struct value *v)
{
    uint32_t number = 0;
    size_t len = strlen(v->text);
    for (const char *word = v->key->min; *word != '\0'; number++) {
        size_t n = strcspn(word, " ");
        if (n == len && strncmp(word, v->text, n) == 0) {
            memcpy(member(v), &number, sizeof(number));
            return;
        }
        word += n + (word[n] == ' ');
    }
    wrong(v, v->text, "is none of these: %s", v->key->min);
}

static void set_folder(struct value *v)
{
    if (strcmp(v->text, "none") == 0) {
        return;
    }
    if (!value_folder(v->text)) {
        wrong(v, v->text, "is not the name of a folder in a Maildir, such as .Junk, nor none");
    }
    store_text(v);
}

static void set_profile(struct value *v)
{
    bool modern = strcmp(v->text, "modern") == 0;
    if (!modern && strcmp(v->text, "compatible") != 0) {
        wrong(v, v->text,
              "is neither compatible (every mail program opens it) nor modern (AES-GCM, RSA-OAEP)");
    }
    store_flag(v, modern);
}

static void set_tls(struct value *v)
{
    bool starttls = strcmp(v->text, "starttls") == 0;
    if (!starttls && strcmp(v->text, "implicit") != 0) {
        wrong(v, v->text,
              "is neither implicit (TLS from the first byte) nor starttls; there is no way without TLS");
    }
    store_flag(v, starttls);
}

static void set_language(struct value *v)
{
    enum language l = LANGUAGE_AUTO;
    if (strcmp(v->text, "auto") != 0) {
        l = words_language(v->text, strlen(v->text));
        if (l == LANGUAGE_AUTO || strcmp(v->text, words_tag(l)) != 0) {
            wrong(v, v->text, "is no language that is known here: write auto, en, de, fr or es");
        }
    }
    memcpy(member(v), &l, sizeof(l));
}

static void set_text(struct value *v)
{
    store_text(v);
}

static void set_path(struct value *v)
{
    if (v->text[0] != '/') {
        wrong(v, v->text, "is not a whole path: begin it with /");
    }
    store_text(v);
}

static void set_host(struct value *v)
{
    if (!value_host(v->text)) {
        wrong(v, v->text, "is not a host name, such as forms.example.com");
    }
    store_text(v);
}

static void set_user(struct value *v)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    if (v->text[0] == '-' || v->text[strspn(v->text, allowed)] != '\0') {
        wrong(v, v->text, "is not the name of a user or a group, such as formbridge");
    }
    store_text(v);
}

static bool check_address(struct value *v, const char *address)
{
    if (mime_address_ok(address, strlen(address))) {
        return true;
    }
    wrong(v, address, "is not a bare e-mail address, such as orders@example.com");
    return false;
}

static void set_from(struct value *v)
{
    check_address(v, v->text);
    store_text(v);
}

static void set_template(struct value *v)
{
    if (!value_template(v->text)) {
        wrong(v, v->text,
              "has braces that do not pair around a name, such as {ref}, {form}, {email}, {name|somebody} or "
              "{name:40} (1 to 200 characters)");
    }
    store_text(v);
}

static void set_reply_to(struct value *v)
{
    if (strpbrk(v->text, "{}") != NULL) {
        set_template(v);
    } else {
        check_address(v, v->text);
        store_text(v);
    }
}

static void set_url(struct value *v)
{
    if (!value_url(v->text)) {
        wrong(v, v->text,
              "is not an address of a page, such as https://www.example.com/thanks.html "
              "(http:// for localhost alone, no user name, other characters as %%XX)");
    }
    store_text(v);
}

static void set_server(struct value *v)
{
    struct mailhost *m = v->object;
    char *copy = confread_keep_text(v->r, v->text);
    m->server = copy != NULL ? value_server(copy, &m->port) : NULL;
    if (m->server == NULL) {
        wrong(v, v->text, "is not a mail host, such as mail.example.com or mail.example.com:465");
    }
}

/* The words of a list; an array of count pointers into v->text, or NULL if there is no memory. */
static char **split(struct value *v, size_t *count)
{
    char **words = confread_keep(v->r, (strlen(v->text) / 2 + 1) * sizeof(char *));
    *count = 0;
    if (words == NULL) {
        return NULL;
    }
    char *rest = v->text;
    for (char *word; (word = strsep(&rest, " ")) != NULL;) {
        if (*word == '\0') {
            continue;
        }
        for (size_t i = 0; i < *count; i++) {
            if (strcmp(words[i], word) == 0) {
                wrong(v, word, "is there twice: remove one");
                break;
            }
        }
        words[(*count)++] = word;
    }
    return words;
}

static void set_password(struct value *v)
{
    if (!passwd_is_hash(v->text)) { /* not repeated in the message: it may be the password itself */
        confread_mistake(v->r, v->line,
                         "password is not a hash: run formbridge passwd and write what it prints");
    }
    store_text(v);
}

static void set_paths(struct value *v)
{
    size_t count;
    char **words = split(v, &count);
    for (size_t i = 0; i < count; i++) {
        if (words[i][0] != '/') {
            wrong(v, words[i], "is not a whole path: begin it with /");
        }
    }
    store_list(v, words, count);
}

static void set_words(struct value *v)
{
    size_t count;
    char **words = split(v, &count);
    store_list(v, words, count);
}

/* Items with | between them, which may have spaces inside. */
static void set_bars(struct value *v)
{
    size_t count = 0;
    char **items = confread_keep(v->r, (strlen(v->text) / 2 + 2) * sizeof(char *));
    char *rest = items != NULL ? v->text : NULL;
    for (char *item; (item = strsep(&rest, "|")) != NULL;) {
        struct span trimmed = fieldtype_trim((struct span){item, strlen(item)});
        if (trimmed.len == 0) {
            wrong(v, v->key->name, "has nothing between two |: remove one");
            continue;
        }
        item += trimmed.at - item;
        item[trimmed.len] = '\0';
        for (size_t i = 0; i < count; i++) {
            if (strcmp(items[i], item) == 0) {
                wrong(v, item, "is there twice: remove one");
            }
        }
        items[count++] = item;
    }
    store_list(v, items, count);
}

/* Names of fields: with spaces between them or, if one of the names has a space, with |. */
static void set_names(struct value *v)
{
    if (strchr(v->text, '|') != NULL) {
        set_bars(v);
    } else {
        set_words(v);
    }
}

static void set_attach(struct value *v)
{
    unsigned attach = 0;
    size_t count;
    char **words = split(v, &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(words[i], "json") == 0) {
            attach |= BODY_JSON;
        } else if (strcmp(words[i], "csv") == 0) {
            attach |= BODY_CSV;
        } else {
            wrong(v, words[i], "is neither json nor csv");
        }
    }
    memcpy(member(v), &attach, sizeof(attach));
}

static void set_type(struct value *v)
{
    enum field_type type = fieldtype_named(v->text);
    if (type == FIELD_TYPES) {
        wrong(v, v->text,
              "is not a type: use text, email, number, integer, date, time, url, tel, choice, file or any");
        type = FIELD_ANY;
    }
    memcpy(member(v), &type, sizeof(type));
}

static void set_addresses(struct value *v)
{
    size_t count;
    char **words = split(v, &count);
    for (size_t i = 0; i < count; i++) {
        check_address(v, words[i]);
    }
    store_list(v, words, count);
}

static void set_origins(struct value *v)
{
    size_t count;
    char **words = split(v, &count);
    for (size_t i = 0; i < count; i++) {
        if (!value_origin(words[i])) {
            wrong(v, words[i], "is not an origin: scheme and host alone, such as https://www.example.com");
        }
    }
    store_list(v, words, count);
}

/* Words that stand for bits, "none" alone for no bit. */
static void set_bits(struct value *v, bool (*read)(const char *, unsigned *), const char *known)
{
    size_t count;
    char **words = split(v, &count);
    unsigned bits = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned bit = 0;
        if (!read(words[i], &bit)) {
            wrong(v, words[i], "is not known here: there is %s", known);
        } else if (bit == 0 && count > 1) {
            wrong(v, words[i], "stands alone or not at all: remove it or the others");
        }
        bits |= bit;
    }
    memcpy(member(v), &bits, sizeof(bits));
}

static void set_dialect(struct value *v)
{
    set_bits(v, control_dialect, "formspree, formmail, netlify, web3forms and none");
}

static void set_controls(struct value *v)
{
    set_bits(v, control_word, "next, subject, replyto, language, required, sort and none");
}

static void set_redirects(struct value *v)
{
    size_t count;
    char **words = split(v, &count);
    struct buf url;
    buf_init(&url, REDIRECT_URL_MAX);
    for (size_t i = 0; i < count; i++) {
        buf_clear(&url);
        if (redirect_prefix(words[i], &url)) {
            words[i] = confread_keep_text(v->r, buf_text(&url));
        } else {
            wrong(v, words[i],
                  "is not the address of a web site or of a part of one, such as "
                  "https://www.example.com/thanks/ "
                  "(http:// for localhost alone, nothing after ? or #)");
        }
    }
    buf_free(&url);
    store_list(v, words, count);
}

static void set_missing_origin(struct value *v)
{
    bool refuse = strcmp(v->text, "refuse") == 0;
    if (!refuse && strcmp(v->text, "accept") != 0) {
        wrong(v, v->text, "is neither accept nor refuse");
    }
    store_flag(v, refuse);
}

static void set_endpoints(struct value *v, bool local)
{
    size_t count;
    char **words = split(v, &count);
    struct endpoint *list = confread_keep(v->r, (count + 1) * sizeof(*list));
    for (size_t i = 0; list != NULL && i < count; i++) {
        bool is_socket = local && strncmp(words[i], "unix:", 5) == 0;
        if (is_socket && !value_socket(words[i] + 5, &list[i])) {
            wrong(v, words[i], "is not unix: and a whole path, %d characters in all", ADDRESS_TEXT - 1);
        } else if (!is_socket && !value_endpoint(words[i], &list[i])) {
            wrong(v, words[i],
                  "is not an address in numbers and a port, such as %s; names are not looked up here",
                  local ? "127.0.0.1:9180" : "0.0.0.0:443 or [::]:443");
        } else if (!is_socket && local && !value_is_loopback(&list[i])) {
            wrong(v, words[i], "can be reached by others: use 127.0.0.1:PORT, [::1]:PORT or unix:/PATH");
        }
    }
    store_list(v, list, count);
}

static void set_listen(struct value *v)
{
    set_endpoints(v, false);
}

static void set_listen_local(struct value *v)
{
    set_endpoints(v, true);
}

static void set_forms_at(struct value *v)
{
    size_t count;
    char **words = split(v, &count);
    struct endpoint *list = confread_keep(v->r, (count + 1) * sizeof(*list));
    for (size_t i = 0; list != NULL && i < count; i++) {
        const char *why = value_listen(words[i], &list[i]);
        if (why != NULL) {
            wrong(v, words[i], "%s", why);
        }
    }
    store_list(v, list, count);
}

static void set_networks(struct value *v)
{
    size_t count;
    char **words = split(v, &count);
    struct network *list = confread_keep(v->r, (count + 1) * sizeof(*list));
    for (size_t i = 0; list != NULL && i < count; i++) {
        if (!network_read(&list[i], words[i])) {
            wrong(v, words[i],
                  "is neither an address, such as 192.0.2.10, nor a network, such as 10.0.0.0/8 or fd00::/8");
        }
    }
    store_list(v, list, count);
}

static void set_mode(struct value *v)
{
    unsigned mode;
    if (!value_mode(v->text, &mode)) {
        wrong(v, v->text, "is not a mode in octal, such as 0660");
    }
    memcpy(member(v), &mode, sizeof(mode));
}

static void set_pins(struct value *v)
{
    size_t count;
    char **words = split(v, &count);
    unsigned char(*pins)[32] = confread_keep(v->r, (count + 1) * sizeof(*pins));
    for (size_t i = 0; pins != NULL && i < count; i++) {
        if (!value_pin(words[i], pins[i])) {
            wrong(v, words[i], "is not a SHA-256: 64 hex digits, or 44 of base64");
        }
    }
    store_list(v, pins, count);
}

static void unknown_mailhost(struct value *v, const char *name)
{
    struct buf known;
    buf_init(&known, SIZE_MAX);
    for (struct mailhost *m = v->conf->mailhosts; m != NULL; m = m->next) {
        buf_fmt(&known, "%s %s", known.len > 0 ? "," : ": there is", m->name);
    }
    const char *names = known.len > 0 ? buf_text(&known) : ": there is none";
    wrong(v, name, "is not the name of a [mailhost]%s; nor is it maildir:/PATH, mbox:/FILE or lmtp:/SOCKET",
          names != NULL ? names : "");
    buf_free(&known);
}

static void read_lmtp(struct value *v, struct target *t)
{
    if (t->path[0] == '/') {
        if (strlen(t->path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
            wrong(v, t->text, "is too long for the name of a socket: 107 bytes are the most");
        }
        return;
    }
    t->loopback = confread_keep(v->r, sizeof(*t->loopback));
    if (t->loopback != NULL && (!value_endpoint(t->path, t->loopback) || !value_is_loopback(t->loopback))) {
        wrong(v, t->text,
              "is neither a socket nor this machine, such as lmtp:/run/dovecot/lmtp or lmtp:127.0.0.1:24: "
              "LMTP is not encrypted");
    }
    t->path = NULL;
}

static void read_target(struct value *v, struct target *t)
{
    static const struct {
        const char *prefix;
        enum target_kind kind;
    } kinds[] = {{"maildir:", TARGET_MAILDIR}, {"mbox:", TARGET_MBOX}, {"lmtp:", TARGET_LMTP}};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        size_t len = strlen(kinds[i].prefix);
        if (strncmp(t->text, kinds[i].prefix, len) == 0) {
            t->kind = kinds[i].kind;
            t->path = t->text + len;
            if (t->kind == TARGET_LMTP) {
                read_lmtp(v, t);
            } else if (t->path[0] != '/') {
                wrong(v, t->text, "does not name a whole path: write %s/...", kinds[i].prefix);
            }
            return;
        }
    }
    t->kind = TARGET_MAILHOST;
    for (t->host = v->conf->mailhosts; t->host != NULL; t->host = t->host->next) {
        if (strcmp(t->host->name, t->text) == 0) {
            return;
        }
    }
    unknown_mailhost(v, t->text);
}

static void set_targets(struct value *v)
{
    size_t count;
    char **words = split(v, &count);
    struct target *targets = confread_keep(v->r, (count + 1) * sizeof(*targets));
    for (size_t i = 0; targets != NULL && i < count; i++) {
        targets[i].text = words[i];
        read_target(v, &targets[i]);
    }
    store_list(v, targets, count);
}

/* ---- names that nobody knows ----------------------------------------------------------------- */

/* Levenshtein's. known is one of our names, all far shorter than a row. */
static unsigned edit_distance(const char *typed, const char *known)
{
    unsigned row[32];
    size_t width = strlen(known);
    for (unsigned j = 0; j <= width; j++) {
        row[j] = j;
    }
    for (unsigned i = 1; typed[i - 1] != '\0'; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= width; j++) {
            unsigned best = diagonal + (typed[i - 1] != known[j - 1]);
            best = best < row[j] + 1 ? best : row[j] + 1;
            best = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[width];
}

static void unknown_key(struct confread *r, enum kind kind, const struct confread_key *k)
{
    const char *nearest = NULL;
    unsigned least = UINT32_MAX;
    for (size_t i = 0; i < COUNT(keys); i++) {
        unsigned distance = edit_distance(k->name, keys[i].name);
        if (distance == 0) {
            confread_mistake(r, k->line, "\"%s\" is not a key of %s: it belongs under %s", k->name,
                             kind_titles[kind], kind_titles[keys[i].kind]);
            return;
        }
        if (keys[i].kind == kind && distance < least) {
            nearest = keys[i].name;
            least = distance;
        }
    }
    confread_mistake(r, k->line, "unknown key \"%s\" in %s: did you mean \"%s\"?", k->name, kind_titles[kind],
                     nearest);
}

static void check_keys(struct confread *r, enum kind kind, const struct confread_section *s)
{
    for (const struct confread_key *k = s->keys; k != NULL; k = k->next) {
        bool known = false;
        for (size_t i = 0; i < COUNT(keys) && !known; i++) {
            known = keys[i].kind == kind && strcmp(keys[i].name, k->name) == 0;
        }
        if (!known) {
            unknown_key(r, kind, k);
        }
    }
}

/* A wrong name is reported, and the section checked all the same. */
void confkeys_check(struct confread *r, const struct confread_section *s)
{
    size_t nearest = 0;
    unsigned least = UINT32_MAX;
    for (size_t i = 0; i < COUNT(kind_names); i++) {
        unsigned distance = edit_distance(s->kind, kind_names[i]);
        if (distance < least) {
            nearest = i;
            least = distance;
        }
    }
    enum kind kind = (enum kind)nearest;
    if (least > 0) {
        confread_mistake(r, s->line, "unknown section [%s]: did you mean %s?", s->kind, kind_titles[kind]);
        return;
    }
    if (kind == BRIDGE && s->name[0] != '\0') {
        confread_mistake(r, s->line, "[bridge %s]: there is one bridge and it has no name: write [bridge]",
                         s->name);
    } else if (kind == FORM && strcmp(s->name, ALERT_FORM) == 0) {
        confread_mistake(r, s->line, "[form %s]: this name stands for alerts: choose another", s->name);
    } else if (kind != BRIDGE && kind != FIELD && !value_name(s->name)) {
        confread_mistake(r, s->line,
                         "[%s %s]: a name must follow, 1 to %d of a-z, 0-9, _ and -, such as [%s %s]",
                         s->kind, s->name, FORM_NAME_MAX, s->kind, kind == FORM ? "order" : "main");
    }
    check_keys(r, kind, s);
}

/* ---- a section becomes a struct -------------------------------------------------------------- */

void confkeys_apply(struct confread *r, const struct conf *c, const struct confread_section *s, void *object)
{
    for (size_t i = 0; i < COUNT(keys); i++) {
        const struct setting *key = &keys[i];
        const struct confread_key *k = confread_find(s, key->name);
        if (strcmp(kind_names[key->kind], s->kind) != 0) {
            continue;
        }
        if (k == NULL && key->def == NULL && key->absent == NULL) {
            confread_mistake(r, s->line, "[%s%s%s] needs a line \"%s = ...\": %s", s->kind,
                             s->name[0] != '\0' ? " " : "", s->name, key->name, key->meaning);
        } else if (k != NULL && k->text[0] == '\0') {
            confread_mistake(r, k->line, "%s has no value: write %s, or remove the line", k->name,
                             key->meaning);
        } else if (k != NULL || key->def != NULL) {
            char *text = k != NULL ? k->text : confread_keep_text(r, key->def);
            if (text != NULL) {
                key->set(&(struct value){r, c, key, k != NULL ? k->line : s->line, text, object});
            }
        }
    }
}

void confkeys_list(struct buf *out)
{
    for (size_t i = 0; i < COUNT(keys); i++) {
        const struct setting *k = &keys[i];
        buf_fmt(out, "%s %s ", kind_names[k->kind], k->name);
        if (k->def != NULL) {
            buf_fmt(out, "%s\n", k->def);
        } else {
            buf_fmt(out, "(%s)\n", k->absent != NULL ? k->absent : "required");
        }
    }
}
