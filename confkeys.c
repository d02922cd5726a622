/*
 * Every key of the config in one table: its section, what its text does (confset.c), its default. Pure.
 */

#include "bridge.h"

#include <stdio.h>
#include <string.h>

static const char *const kind_names[] = {[KEY_BRIDGE] = "bridge",
                                         [KEY_FORM] = "form",
                                         [KEY_FIELD] = "field",
                                         [KEY_MAILHOST] = "mailhost",
                                         [KEY_PICKUP] = "pickup"};
static const char *const kind_titles[] = {[KEY_BRIDGE] = "[bridge]",
                                          [KEY_FORM] = "[form NAME]",
                                          [KEY_FIELD] = "[field FORM NAME]",
                                          [KEY_MAILHOST] = "[mailhost NAME]",
                                          [KEY_PICKUP] = "[pickup NAME]"};

#define ONE(type, member)         offsetof(struct type, member), sizeof(((struct type *)NULL)->member), false
#define LIST(type, member, count) offsetof(struct type, member), offsetof(struct type, count), true

/* clang-format off */
static const struct confset_key keys[] = {
    {KEY_BRIDGE, "listen", confset_forms_at, LIST(conf, listen, listen_count), "0.0.0.0:443 [::]:443", NULL,
     "the addresses where forms are taken", NULL, NULL},
    {KEY_BRIDGE, "trusted_proxies", confset_networks, LIST(conf, trusted_proxies, trusted_proxy_count), NULL, "none",
     "the addresses and networks of your proxies, whose word about a visitor's address is taken", NULL, NULL},
    {KEY_BRIDGE, "socket_mode", confset_mode, ONE(conf, socket_mode), "0660", NULL,
     "the mode of the unix sockets in listen, such as 0660", NULL, NULL},
    {KEY_BRIDGE, "socket_group", confset_user, ONE(conf, socket_group), NULL, "the group of the user",
     "the group of the unix sockets in listen, which the web server is in", NULL, NULL},
    {KEY_BRIDGE, "hostname", confset_host, ONE(conf, hostname), NULL, NULL,
     "the name of this server, such as forms.example.com", NULL, NULL},
    {KEY_BRIDGE, "certificate", confset_path, ONE(conf, certificate), NULL, "none",
     "the PEM file of the certificate and its chain", NULL, NULL},
    {KEY_BRIDGE, "private_key", confset_path, ONE(conf, private_key), NULL, "none",
     "the PEM file of the certificate's private key", NULL, NULL},
    {KEY_BRIDGE, "user", confset_user, ONE(conf, user), NULL, "the user who starts it",
     "the user who owns the spool and the mailboxes", NULL, NULL},
    {KEY_BRIDGE, "spool", confset_path, ONE(conf, spool), "/var/spool/formbridge", NULL,
     "the directory where mail waits", NULL, NULL},
    {KEY_BRIDGE, "http_listen", confset_listen, LIST(conf, http_listen, http_listen_count), NULL, "none",
     "the addresses where plain HTTP is sent on to HTTPS", NULL, NULL},
    {KEY_BRIDGE, "acme_webroot", confset_path, ONE(conf, acme_webroot), NULL, "none",
     "the directory that certbot writes its challenges to", NULL, NULL},
    {KEY_BRIDGE, "admin_listen", confset_listen_local, LIST(conf, admin_listen, admin_listen_count), NULL, "none",
     "the addresses of this machine where health and metrics are shown", NULL, NULL},
    {KEY_BRIDGE, "fronts", confset_number, ONE(conf, fronts), "0", NULL,
     "the number of processes that take forms, 0 for one per core", "0", "256"},
    {KEY_BRIDGE, "max_connections", confset_number, ONE(conf, max_connections), "4096", NULL,
     "the most connections at a time", "1", "1000000"},
    {KEY_BRIDGE, "max_per_address", confset_number, ONE(conf, max_per_address), "64", NULL,
     "the most connections of one visitor at a time", "1", "1000000"},
    {KEY_BRIDGE, "handshake_timeout", confset_seconds, ONE(conf, handshake_timeout), "10s", NULL,
     "the longest time for the TLS handshake", "1s", "1h"},
    {KEY_BRIDGE, "head_timeout", confset_seconds, ONE(conf, head_timeout), "10s", NULL,
     "the longest time for the head of a request", "1s", "1h"},
    {KEY_BRIDGE, "body_timeout", confset_seconds, ONE(conf, body_timeout), "5m", NULL,
     "the longest time for the body of a request", "1s", "1d"},
    {KEY_BRIDGE, "answer_timeout", confset_seconds, ONE(conf, answer_timeout), "60s", NULL,
     "the longest time until the visitor has taken the answer", "1s", "1h"},
    {KEY_BRIDGE, "idle_timeout", confset_seconds, ONE(conf, idle_timeout), "30s", NULL,
     "the longest time that a connection is kept open for a next request", "1s", "1h"},
    {KEY_BRIDGE, "drain_timeout", confset_seconds, ONE(conf, drain_timeout), "30s", NULL,
     "the longest time to finish what was begun when told to stop", "1s", "1h"},
    {KEY_BRIDGE, "max_head", confset_size, ONE(conf, max_head), "8k", NULL,
     "the most bytes in the head of a request", "1k", "64k"},
    {KEY_BRIDGE, "max_body", confset_size, ONE(conf, max_body), "12M", NULL,
     "the most bytes in one post, uploads included", "1k", "1G"},
    {KEY_BRIDGE, "max_fields", confset_number, ONE(conf, max_fields), "200", NULL,
     "the most fields in one post, uploads included", "1", "10000"},
    {KEY_BRIDGE, "max_files", confset_number, ONE(conf, max_files), "10", NULL,
     "the most uploads in one post", "0", "1000"},
    {KEY_BRIDGE, "max_memory", confset_size, ONE(conf, max_memory), "128M", NULL,
     "the most bytes of posts that one front holds in memory", "1k", "3G"},
    {KEY_BRIDGE, "retry_min", confset_seconds, ONE(conf, retry_min), "1m", NULL,
     "the wait after the first failed delivery", "1s", "1d"},
    {KEY_BRIDGE, "retry_max", confset_seconds, ONE(conf, retry_max), "1h", NULL,
     "the longest wait between two tries of a delivery", "1s", "7d"},
    {KEY_BRIDGE, "max_age", confset_seconds, ONE(conf, max_age), "5d", NULL,
     "the age at which undelivered mail is held for a person", "1s", "365d"},
    {KEY_BRIDGE, "alert_to", confset_addresses, LIST(conf, alert_to, alert_to_count), NULL, "none",
     "the addresses that are told of held mail", NULL, NULL},
    {KEY_BRIDGE, "alert_from", confset_from, ONE(conf, alert_from), NULL, "the first address in alert_to",
     "the address that tells them", NULL, NULL},
    {KEY_BRIDGE, "alert_after", confset_seconds, ONE(conf, alert_after), "4h", NULL,
     "the age at which they are told of mail that waits, 0 for never", "0", "365d"},
    {KEY_BRIDGE, "alert_deliver", confset_targets, LIST(conf, alert_targets, alert_target_count), NULL, "none",
     "the mailbox or the [mailhost] that such mail is given to", NULL, NULL},

    {KEY_FORM, "to", confset_addresses, LIST(form_conf, to, to_count), NULL, NULL,
     "the addresses that the mail goes to", NULL, NULL},
    {KEY_FORM, "from", confset_from, ONE(form_conf, from), NULL, NULL,
     "the address that the mail comes from: one of yours, never the visitor's", NULL, NULL},
    {KEY_FORM, "from_name", confset_text, ONE(form_conf, from_name), NULL, "none",
     "the name that mail programs show beside that address", NULL, NULL},
    {KEY_FORM, "deliver", confset_targets, LIST(form_conf, targets, target_count), NULL, NULL,
     "the mailbox or the [mailhost] that the mail is given to", NULL, NULL},
    {KEY_FORM, "subject", confset_template, ONE(form_conf, subject), "{form}: {ref}", NULL,
     "the subject of the mail", NULL, NULL},
    {KEY_FORM, "reply_to", confset_reply_to, ONE(form_conf, reply_to), NULL, "the field email, by dialect",
     "where an answer to the mail goes, such as {email}", NULL, NULL},
    {KEY_FORM, "origins", confset_origins, LIST(form_conf, origins, origin_count), NULL, "any",
     "the web sites that may send this form", NULL, NULL},
    {KEY_FORM, "required", confset_names, LIST(form_conf, required, required_count), NULL, "none",
     "the names of the fields that must be filled in", NULL, NULL},
    {KEY_FORM, "order", confset_names, LIST(form_conf, order, order_count), NULL, "as they were sent",
     "the names of the fields that come first in the mail", NULL, NULL},
    {KEY_FORM, "leave_out", confset_names, LIST(form_conf, leave_out, leave_out_count), NULL, "none",
     "the names of the fields that stay out of the mail", NULL, NULL},
    {KEY_FORM, "blank_fields", confset_flag, ONE(form_conf, blank_fields), "yes", NULL,
     "yes if empty fields are in the mail, too", NULL, NULL},
    {KEY_FORM, "html", confset_flag, ONE(form_conf, html), "no", NULL,
     "yes if the mail has a table in HTML beside the text", NULL, NULL},
    {KEY_FORM, "attach", confset_attach, ONE(form_conf, attach), NULL, "none",
     "the fields as files for programs: json, csv or both", NULL, NULL},
    {KEY_FORM, "success", confset_url, ONE(form_conf, success), NULL, "a built-in page with the receipt",
     "the page that the visitor sees afterwards", NULL, NULL},
    {KEY_FORM, "dialect", confset_dialect, ONE(form_conf, dialect), "formspree", NULL,
     "the form services whose control fields are understood", NULL, NULL},
    {KEY_FORM, "controls", confset_controls, ONE(form_conf, controls),
     "next subject replyto language required sort", NULL, "the control fields that are honoured", NULL, NULL},
    {KEY_FORM, "redirects", confset_redirects, LIST(form_conf, redirects, redirect_count), NULL, "the origins",
     "where the form itself may send the visitor afterwards", NULL, NULL},
    {KEY_FORM, "missing_origin", confset_missing_origin, ONE(form_conf, refuse_no_origin), "accept", NULL,
     "what becomes of a post that does not say which web site it comes from: accept or refuse", NULL, NULL},
    {KEY_FORM, "title", confset_text, ONE(form_conf, title), NULL, "the name of the form",
     "what pages call the form", NULL, NULL},
    {KEY_FORM, "language", confset_language, ONE(form_conf, language), "auto", NULL,
     "the language of pages and messages: auto, en, de, fr or es", NULL, NULL},
    {KEY_FORM, "templates", confset_path, ONE(form_conf, templates), NULL, "none",
     "the directory of your own pages receipt.html, error.html and invalid.html", NULL, NULL},
    {KEY_FORM, "max_body", confset_size, ONE(form_conf, max_body), NULL, "max_body of [bridge]",
     "the most bytes in one post of this form", "1k", "1G"},
    {KEY_FORM, "once_window", confset_seconds, ONE(form_conf, once_window), "10m", NULL,
     "how long the same content again gets the receipt of the first and is no second mail, 0 for never", "0", "1d"},
    {KEY_FORM, "rate", confset_rate, ONE(form_conf, rate), "60/5m", NULL,
     "how often one visitor may send the form, as NUMBER/TIME, or off", NULL, NULL},
    {KEY_FORM, "form_rate", confset_rate, ONE(form_conf, form_rate), "off", NULL,
     "how often the form may be sent by all visitors together, as NUMBER/TIME, or off", NULL, NULL},
    {KEY_FORM, "encrypt_to", confset_paths, LIST(form_conf, encrypt_to, encrypt_count), NULL, "no encryption",
     "the PEM files of the certificates that alone can open the mail", NULL, NULL},
    {KEY_FORM, "smime_profile", confset_profile, ONE(form_conf, smime_modern), "compatible", NULL,
     "how mail is encrypted: compatible or modern", NULL, NULL},
    {KEY_FORM, "sign_cert", confset_path, ONE(form_conf, sign_cert), NULL, "no signature",
     "the PEM file of the certificate that signs the encrypted mail", NULL, NULL},
    {KEY_FORM, "sign_key", confset_path, ONE(form_conf, sign_key), NULL, "no signature",
     "the PEM file of its private key", NULL, NULL},
    {KEY_FORM, "spam", confset_choice, ONE(form_conf, spam), "mark", NULL,
     "what becomes of a post that is taken for spam: mark, refuse or off", "mark refuse off", NULL},
    {KEY_FORM, "spam_score", confset_number, ONE(form_conf, spam_score), "5", NULL,
     "the number of points from which a post is taken for spam", "1", "1000"},
    {KEY_FORM, "junk", confset_folder, ONE(form_conf, junk), NULL, ".Junk, or none where a [pickup] collects the Maildir",
     "the folder of the Maildir for what is marked as spam, none for the inbox", NULL, NULL},
    {KEY_FORM, "honeypot", confset_names, LIST(form_conf, honeypots, honeypot_count), "_gotcha _honey bot-field botcheck", NULL,
     "the names of fields that people do not see", NULL, NULL},
    {KEY_FORM, "token", confset_choice, ONE(form_conf, token), "optional", NULL,
     "whether a post needs a token of this server: optional, required or off", "optional required off", NULL},
    {KEY_FORM, "min_time", confset_seconds, ONE(form_conf, min_time), "3s", NULL,
     "the time that a person needs at least, from the token to the post", "0", "1h"},
    {KEY_FORM, "proof_bits", confset_number, ONE(form_conf, proof_bits), "0", NULL,
     "the work that a browser must have done, as bits; 0 for none", "0", "24"},
    {KEY_FORM, "max_links", confset_number, ONE(form_conf, max_links), "3", NULL,
     "the number of links that a post may hold", "0", "1000"},
    {KEY_FORM, "spam_words", confset_words, LIST(form_conf, spam_words, spam_word_count), NULL, "none",
     "the words that point to spam", NULL, NULL},
    {KEY_FORM, "spam_words_file", confset_path, ONE(form_conf, spam_words_file), NULL, "none",
     "a file with such words and phrases, one a line", NULL, NULL},

    {KEY_FIELD, "name", confset_text, ONE(rule, name), NULL, "NAME of the section",
     "the name of the field as it is sent", NULL, NULL},
    {KEY_FIELD, "label", confset_text, ONE(rule, label), NULL, "the name of the field",
     "what pages and the mail call the field", NULL, NULL},
    {KEY_FIELD, "required", confset_flag, ONE(rule, required), "no", NULL,
     "yes if it must be filled in", NULL, NULL},
    {KEY_FIELD, "type", confset_type, ONE(rule, type), NULL, "any text or file",
     "what may be typed: text, email, number, integer, date, time, url, tel, choice or file", NULL, NULL},
    {KEY_FIELD, "choices", confset_bars, LIST(rule, choices, choice_count), NULL, "none",
     "the values that may be chosen, with | between them", NULL, NULL},
    {KEY_FIELD, "min_length", confset_number, ONE(rule, min_length), NULL, "none",
     "the fewest characters", "1", "1000000"},
    {KEY_FIELD, "max_length", confset_number, ONE(rule, max_length), NULL, "none",
     "the most characters", "1", "1000000"},
    {KEY_FIELD, "min", confset_text, ONE(rule, min), NULL, "none",
     "the least number, or the first date or time", NULL, NULL},
    {KEY_FIELD, "max", confset_text, ONE(rule, max), NULL, "none",
     "the greatest number, or the last date or time", NULL, NULL},
    {KEY_FIELD, "pattern", confset_text, ONE(rule, pattern), NULL, "none",
     "a regular expression (POSIX, extended) that the whole value must fit", NULL, NULL},
    {KEY_FIELD, "pattern_hint", confset_text, ONE(rule, pattern_hint), NULL, "a general sentence",
     "the sentence that visitors see when it does not", NULL, NULL},
    {KEY_FIELD, "example", confset_text, ONE(rule, example), NULL, "none",
     "a value that is right, for formbridge test", NULL, NULL},
    {KEY_FIELD, "accept", confset_names, LIST(rule, accept, accept_count), NULL, "any",
     "the kinds of files: .pdf, image/png, image/*", NULL, NULL},
    {KEY_FIELD, "max_files", confset_number, ONE(rule, max_files), NULL, "max_files of [bridge]",
     "the most files", "1", "1000"},

    {KEY_MAILHOST, "server", confset_server, ONE(mailhost, server), NULL, NULL,
     "the mail host as NAME or NAME:PORT", NULL, NULL},
    {KEY_MAILHOST, "tls", confset_tls, ONE(mailhost, starttls), "implicit", NULL,
     "how TLS begins: implicit or starttls", NULL, NULL},
    {KEY_MAILHOST, "username", confset_text, ONE(mailhost, username), NULL, "none",
     "the name to log in with", NULL, NULL},
    {KEY_MAILHOST, "password_file", confset_path, ONE(mailhost, password_file), NULL, "none",
     "the file that holds the password", NULL, NULL},
    {KEY_MAILHOST, "tls_name", confset_host, ONE(mailhost, tls_name), NULL, "the name in server",
     "the name that the certificate must carry", NULL, NULL},
    {KEY_MAILHOST, "trust", confset_path, ONE(mailhost, trust), NULL, "the authorities that the system trusts",
     "the PEM file of the authorities that may vouch for the mail host", NULL, NULL},
    {KEY_MAILHOST, "pin", confset_pins, LIST(mailhost, pins, pin_count), NULL, "none",
     "the SHA-256 of the mail host's public key", NULL, NULL},
    {KEY_MAILHOST, "pin_only", confset_flag, ONE(mailhost, pin_only), "no", NULL,
     "yes if the pin stands instead of the chain of certificates", NULL, NULL},
    {KEY_MAILHOST, "requiretls", confset_flag, ONE(mailhost, requiretls), "no", NULL,
     "yes if the mail may only travel on over verified TLS", NULL, NULL},
    {KEY_MAILHOST, "timeout", confset_seconds, ONE(mailhost, timeout), "0", NULL,
     "the longest wait for an answer, 0 for what RFC 5321 says", "0", "10m"},
    {KEY_MAILHOST, "connections", confset_number, ONE(mailhost, connections), "2", NULL,
     "the most connections at a time", "1", "32"},

    {KEY_PICKUP, "listen", confset_listen, LIST(pickup, listen, listen_count), "0.0.0.0:995 [::]:995", NULL,
     "the addresses where the mailbox is collected over POP3S", NULL, NULL},
    {KEY_PICKUP, "maildir", confset_path, ONE(pickup, maildir), NULL, NULL, "the Maildir that is collected", NULL, NULL},
    {KEY_PICKUP, "password", confset_password, ONE(pickup, password), NULL, NULL,
     "a hash that `formbridge passwd` has printed", NULL, NULL},
    {KEY_PICKUP, "max_connections", confset_number, ONE(pickup, max_connections), "64", NULL,
     "the most connections at a time", "1", "10000"},
    {KEY_PICKUP, "max_per_address", confset_number, ONE(pickup, max_per_address), "16", NULL,
     "the most connections of one address at a time", "1", "10000"},
    {KEY_PICKUP, "login_timeout", confset_seconds, ONE(pickup, login_timeout), "1m", NULL,
     "how long a mail program may take to log in", "1s", "1h"},
    {KEY_PICKUP, "idle_timeout", confset_seconds, ONE(pickup, idle_timeout), "10m", NULL,
     "how long a mail program that has logged in may be silent", "10m", "1d"},
};
/* clang-format on */

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

/* What other programs call it, where no letters tell. */
static const char *known_as(enum confset_kind kind, const char *name)
{
    static const struct {
        enum confset_kind kind;
        const char *name, *here;
    } others[] = {
        {KEY_BRIDGE, "cert", "certificate"}, {KEY_BRIDGE, "key", "private_key"},
        {KEY_BRIDGE, "domain", "hostname"},  {KEY_BRIDGE, "port", "listen"},
        {KEY_MAILHOST, "host", "server"},    {KEY_MAILHOST, "port", "server"},
        {KEY_MAILHOST, "user", "username"},  {KEY_MAILHOST, "password", "password_file"},
        {KEY_FORM, "email", "to"},           {KEY_FORM, "recipient", "to"},
        {KEY_FORM, "redirect", "success"},
    };
    for (size_t i = 0; i < COUNT(others); i++) {
        if (others[i].kind == kind && strcmp(others[i].name, name) == 0) {
            return others[i].here;
        }
    }
    return NULL;
}

static void unknown_key(struct confread *r, enum confset_kind kind, const struct confread_key *k)
{
    const char *nearest = known_as(kind, k->name);
    unsigned least = nearest != NULL ? 0 : UINT32_MAX;
    for (size_t i = 0; i < COUNT(keys); i++) {
        unsigned distance = edit_distance(k->name, keys[i].name);
        if (distance == 0 && least > 0) {
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

static const struct confset_key *find_key(enum confset_kind kind, const char *name)
{
    for (size_t i = 0; i < COUNT(keys); i++) {
        if (keys[i].kind == kind && strcmp(keys[i].name, name) == 0) {
            return &keys[i];
        }
    }
    return NULL;
}

static void check_keys(struct confread *r, enum confset_kind kind, const struct confread_section *s)
{
    for (const struct confread_key *k = s->keys; k != NULL; k = k->next) {
        const struct confset_key *key = find_key(kind, k->name);
        const struct confread_key *first = confread_find(s, k->name);
        if (key == NULL) {
            unknown_key(r, kind, k);
        } else if (first != k && !key->list) {
            confread_mistake(r, k->line, "\"%s\" was given on line %u already: keep one of them", k->name,
                             first->line);
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
    enum confset_kind kind = (enum confset_kind)nearest;
    if (least > 0) {
        confread_mistake(r, s->line, "unknown section [%s]: did you mean %s?", s->kind, kind_titles[kind]);
        return;
    }
    if (kind == KEY_BRIDGE && s->name[0] != '\0') {
        confread_mistake(r, s->line, "[bridge %s]: there is one bridge and it has no name: write [bridge]",
                         s->name);
    } else if (kind == KEY_FORM && strcmp(s->name, ALERT_FORM) == 0) {
        confread_mistake(r, s->line, "[form %s]: this name stands for alerts: choose another", s->name);
    } else if (kind != KEY_BRIDGE && kind != KEY_FIELD && !value_name(s->name)) {
        confread_mistake(r, s->line,
                         "[%s %s]: a name must follow, 1 to %d of a-z, 0-9, _ and -, such as [%s %s]",
                         s->kind, s->name, FORM_NAME_MAX, s->kind, kind == KEY_FORM ? "order" : "main");
    }
    check_keys(r, kind, s);
}

/* ---- a section becomes a struct -------------------------------------------------------------- */

/* Is there a | between the items of this list, in one of its lines at least? */
static bool has_bars(const struct confset_key *key, const struct confread_key *k)
{
    bool bars = key->set == confset_bars;
    for (; k != NULL && key->set == confset_names; k = confread_next(k)) {
        bars = bars || strchr(k->text, '|') != NULL;
    }
    return bars;
}

/* The value, which may stand on several lines: what was the text of each is then a part of the whole. */
static char *join(struct confread *r, const struct confset_key *key, struct confread_key *first)
{
    const char *between = has_bars(key, first) ? " | " : " ";
    struct buf whole;
    if (!key->list || confread_next(first) == NULL) {
        return first->text;
    }
    buf_init(&whole, SIZE_MAX);
    for (const struct confread_key *k = first; k != NULL; k = confread_next(k)) {
        buf_fmt(&whole, "%s%s", k == first ? "" : between, k->text);
    }
    const char *text = buf_text(&whole);
    char *kept = text != NULL ? confread_keep_text(r, text) : NULL;
    r->no_memory = r->no_memory || text == NULL;
    buf_free(&whole);
    char *at = kept;
    for (struct confread_key *k = first; k != NULL && kept != NULL; k = confread_next(k)) {
        size_t len = strlen(k->text);
        k->text = at;
        at += len + strlen(between);
    }
    return kept;
}

void confkeys_apply(struct confread *r, const struct conf *c, const struct confread_section *s, void *object)
{
    for (size_t i = 0; i < COUNT(keys); i++) {
        const struct confset_key *key = &keys[i];
        struct confread_key *k = confread_find(s, key->name), *empty = k;
        if (strcmp(kind_names[key->kind], s->kind) != 0) {
            continue;
        }
        while (empty != NULL && empty->text[0] != '\0') {
            empty = confread_next(empty);
        }
        if (k == NULL && key->def == NULL && key->absent == NULL) {
            confread_mistake(r, s->line, "[%s%s%s] needs a line \"%s = ...\": %s", s->kind,
                             s->name[0] != '\0' ? " " : "", s->name, key->name, key->meaning);
        } else if (empty != NULL) {
            confread_mistake(r, empty->line, "%s has no value: write %s, or remove the line", key->name,
                             key->meaning);
        } else if (k != NULL || key->def != NULL) {
            char *text = k != NULL ? join(r, key, k) : confread_keep_text(r, key->def);
            if (text != NULL) {
                key->set(&(struct confset){r, c, key, k != NULL ? k->line : s->line, text, object,
                                           strlen(text), k});
            }
        }
    }
}

void confkeys_list(struct buf *out)
{
    for (size_t i = 0; i < COUNT(keys); i++) {
        const struct confset_key *k = &keys[i];
        buf_fmt(out, "%s %s ", kind_names[k->kind], k->name);
        if (k->def != NULL) {
            buf_fmt(out, "%s\n", k->def);
        } else {
            buf_fmt(out, "(%s)\n", k->absent != NULL ? k->absent : "required");
        }
    }
}
