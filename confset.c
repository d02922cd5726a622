/*
 * What the text of a key means: each function sets the member that its key is about, or reports what is wrong. Pure.
 */

#include "bridge.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

static void wrong(struct confset *v, const char *item, const char *fmt, ...) PRINTF(3, 4);

/* Where a list stands on several lines, the one that holds the item. */
static unsigned line_of(const struct confset *v, const char *item)
{
    unsigned line = v->line;
    bool within = (uintptr_t)item - (uintptr_t)v->text < v->len;
    for (const struct confread_key *k = v->parts; k != NULL && v->key->list && within; k = confread_next(k)) {
        line = (uintptr_t)item >= (uintptr_t)k->text ? k->line : line;
    }
    return line;
}

static void wrong(struct confset *v, const char *item, const char *fmt, ...)
{
    char what[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    confread_mistake(v->r, line_of(v, item), "%s: \"%s\" %s", v->key->name, item, what);
}

static void *member(struct confset *v)
{
    return (char *)v->object + v->key->offset;
}

static void store_text(struct confset *v)
{
    memcpy(member(v), &v->text, sizeof(v->text));
}

static void store_flag(struct confset *v, bool flag)
{
    memcpy(member(v), &flag, sizeof(flag));
}

static void store_list(struct confset *v, void *list, size_t count)
{
    count = list != NULL ? count : 0; /* no memory */
    memcpy(member(v), &list, sizeof(list));
    memcpy((char *)v->object + v->key->extra, &count, sizeof(count));
}

static void set_scaled(struct confset *v, bool (*read)(const char *, uint64_t *), const char *what)
{
    uint64_t n, min, max;
    if (!read(v->text, &n) || !read(v->key->min, &min) || !read(v->key->max, &max) || n < min || n > max) {
        wrong(v, v->text, "is not %s from %s to %s", what, v->key->min, v->key->max);
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

void confset_number(struct confset *v)
{
    set_scaled(v, read_number, "a number");
}

void confset_seconds(struct confset *v)
{
    set_scaled(v, value_seconds, "a time in seconds, or with s, m, h or d behind it,");
}

void confset_size(struct confset *v)
{
    set_scaled(v, value_size, "a size in bytes, or with k, M or G behind it,");
}

void confset_rate(struct confset *v)
{
    struct rate rate;
    if (!value_rate(v->text, &rate)) {
        wrong(v, v->text, "is not a number and a time, such as 60/5m (1 to 1000000, over 1s to 1d), nor off");
    }
    memcpy(member(v), &rate, sizeof(rate));
}

void confset_flag(struct confset *v)
{
    bool yes = strcmp(v->text, "yes") == 0;
    if (!yes && strcmp(v->text, "no") != 0) {
        wrong(v, v->text, "is neither yes nor no");
    }
    store_flag(v, yes);
}

/* One of the words in key->min, kept as its number there: an enum in the same order. */
void confset_choice(struct confset *v)
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

void confset_folder(struct confset *v)
{
    if (strcmp(v->text, "none") == 0) {
        return;
    }
    if (!value_folder(v->text)) {
        wrong(v, v->text, "is not the name of a folder in a Maildir, such as .Junk, nor none");
    }
    store_text(v);
}

void confset_profile(struct confset *v)
{
    bool modern = strcmp(v->text, "modern") == 0;
    if (!modern && strcmp(v->text, "compatible") != 0) {
        wrong(v, v->text,
              "is neither compatible (every mail program opens it) nor modern (AES-GCM, RSA-OAEP)");
    }
    store_flag(v, modern);
}

void confset_tls(struct confset *v)
{
    bool starttls = strcmp(v->text, "starttls") == 0;
    if (!starttls && strcmp(v->text, "implicit") != 0) {
        wrong(v, v->text,
              "is neither implicit (TLS from the first byte) nor starttls; there is no way without TLS");
    }
    store_flag(v, starttls);
}

void confset_language(struct confset *v)
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

void confset_text(struct confset *v)
{
    store_text(v);
}

void confset_path(struct confset *v)
{
    if (v->text[0] != '/') {
        wrong(v, v->text, "is not a whole path: begin it with /");
    }
    store_text(v);
}

void confset_host(struct confset *v)
{
    if (!value_host(v->text)) {
        wrong(v, v->text, "is not a host name, such as forms.example.com");
    }
    store_text(v);
}

void confset_user(struct confset *v)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    if (v->text[0] == '-' || v->text[strspn(v->text, allowed)] != '\0') {
        wrong(v, v->text, "is not the name of a user or a group, such as formbridge");
    }
    store_text(v);
}

static bool check_address(struct confset *v, const char *address)
{
    const char *at = strchr(address, '@');
    bool ok = mime_address_ok(address, strlen(address));
    if (ok && utf8_plain(at, strlen(at)) == strlen(at)) {
        return true;
    }
    if (ok) { /* it would need SMTPUTF8 (RFC 6531) of every host on the way */
        wrong(v, address, "has a domain that is not ASCII: write it as xn--..., which idn2(1) prints for it");
        return false;
    }
    wrong(v, address, "is not a bare e-mail address, such as orders@example.com");
    return false;
}

void confset_from(struct confset *v)
{
    check_address(v, v->text);
    store_text(v);
}

void confset_template(struct confset *v)
{
    if (!value_template(v->text)) {
        wrong(v, v->text,
              "has braces that do not pair around a name, such as {ref}, {form}, {email}, {name|somebody} or "
              "{name:40} (1 to 200 characters)");
    }
    store_text(v);
}

/* Has it a blank that no placeholder can make good? */
static bool has_blank(const char *text)
{
    for (size_t len; *text != '\0'; text += len) {
        struct placeholder p;
        len = mime_placeholder(text, &p);
        if (len == 0 && *text == ' ') {
            return true;
        }
        len = len == 0 ? 1 : len;
    }
    return false;
}

/* ADDRESS or NAME <ADDRESS>, either with placeholders. */
void confset_reply_to(struct confset *v)
{
    char *open = strchr(v->text, '<'), *close = strchr(v->text, '>');
    char *end = v->text + strlen(v->text);
    char *address = open != NULL ? confread_keep_text(v->r, open + 1) : v->text;
    if (open != NULL && address != NULL && close == end - 1) {
        address[strlen(address) - 1] = '\0';
    }
    if (address == NULL) {
        return;
    }
    bool shape = (open == NULL && close == NULL) ||
                 (open != NULL && close == end - 1 && close > open + 1 && strchr(open + 1, '<') == NULL);
    if (!shape || has_blank(address)) {
        wrong(v, v->text,
              "can never be one address: write it as {email}, {name} <{email}> or orders@example.com");
    } else if (strpbrk(address, "{}") == NULL && !check_address(v, address)) {
        return;
    }
    confset_template(v);
}

void confset_url(struct confset *v)
{
    if (!value_url(v->text)) {
        wrong(v, v->text,
              "is not an address of a page, such as https://www.example.com/thanks.html "
              "(http:// for localhost alone, no user name, other characters as %%XX)");
    }
    store_text(v);
}

void confset_server(struct confset *v)
{
    struct mailhost *m = v->object;
    char *copy = confread_keep_text(v->r, v->text);
    m->server = copy != NULL ? value_server(copy, &m->port) : NULL;
    if (m->server == NULL) {
        wrong(v, v->text, "is not a mail host, such as mail.example.com or mail.example.com:465");
    }
}

/* The words of a list; an array of count pointers into v->text, or NULL if there is no memory. */
static char **split(struct confset *v, size_t *count)
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

void confset_password(struct confset *v)
{
    if (!passwd_is_hash(v->text)) { /* not repeated in the message: it may be the password itself */
        confread_mistake(v->r, v->line,
                         "password is not a hash: run formbridge passwd and write what it prints");
    }
    store_text(v);
}

void confset_paths(struct confset *v)
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

/* In other programs' configs quotes keep a value together. Here they would be part of it, and no field is called so. */
static void no_quotes(struct confset *v, const char *item)
{
    if (item[0] == '"') {
        wrong(v, item, "begins with a quote: write it without quotes");
    }
}

/* Who writes commas between the items means what the spaces do. inside: an item has none within itself either. */
static void no_commas(struct confset *v, char *const *words, size_t count, bool inside)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(words[i]);
        if (words[i][0] == ',' || words[i][len - 1] == ',' || (inside && strchr(words[i], ',') != NULL)) {
            wrong(v, words[i], "has a comma: write spaces alone between the items");
        } else if (inside && strchr(words[i], ';') != NULL) {
            wrong(v, words[i], "has a semicolon: write spaces alone between the items");
        } else {
            no_quotes(v, words[i]);
        }
    }
}

static void set_words(struct confset *v, bool commas_inside)
{
    size_t count;
    char **words = split(v, &count);
    no_commas(v, words, count, !commas_inside);
    store_list(v, words, count);
}

void confset_words(struct confset *v)
{
    set_words(v, true);
}

static void set_bars(struct confset *v, bool quotes)
{
    size_t count = 0;
    char **items = confread_keep(v->r, (strlen(v->text) / 2 + 2) * sizeof(char *));
    char *rest = items != NULL ? v->text : NULL;
    for (char *item; (item = strsep(&rest, "|")) != NULL;) {
        struct span trimmed = text_trim(text_span(item), TEXT_SPACES);
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
        if (!quotes) {
            no_quotes(v, item);
        }
        items[count++] = item;
    }
    store_list(v, items, count);
}

/* Items with | between them, which may have spaces inside. */
void confset_bars(struct confset *v)
{
    set_bars(v, true);
}

/* Names of fields: with spaces between them or, if one of the names has a space, with |. */
void confset_names(struct confset *v)
{
    if (strchr(v->text, '|') != NULL) {
        set_bars(v, false);
    } else {
        set_words(v, false);
    }
}

void confset_attach(struct confset *v)
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

void confset_type(struct confset *v)
{
    enum field_type type = fieldtype_named(v->text);
    if (type == FIELD_TYPES) {
        wrong(v, v->text,
              "is not a type: use text, email, number, integer, date, time, url, tel, choice, file or any");
        type = FIELD_ANY;
    }
    memcpy(member(v), &type, sizeof(type));
}

void confset_addresses(struct confset *v)
{
    size_t count;
    char **words = split(v, &count);
    for (size_t i = 0; i < count; i++) {
        check_address(v, words[i]);
    }
    store_list(v, words, count);
}

void confset_origins(struct confset *v)
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
static void set_bits(struct confset *v, bool (*read)(const char *, unsigned *), const char *known)
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

void confset_dialect(struct confset *v)
{
    set_bits(v, control_dialect, "formspree, formmail, netlify, web3forms and none");
}

void confset_controls(struct confset *v)
{
    set_bits(v, control_word, "next, subject, replyto, language, required, sort and none");
}

void confset_redirects(struct confset *v)
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

void confset_missing_origin(struct confset *v)
{
    bool refuse = strcmp(v->text, "refuse") == 0;
    if (!refuse && strcmp(v->text, "accept") != 0) {
        wrong(v, v->text, "is neither accept nor refuse");
    }
    store_flag(v, refuse);
}

static void set_endpoints(struct confset *v, bool local)
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
        } else if (!is_socket && local && !network_is_loopback(&list[i].addr)) {
            wrong(v, words[i], "can be reached by others: use 127.0.0.1:PORT, [::1]:PORT or unix:/PATH");
        }
    }
    store_list(v, list, count);
}

void confset_listen(struct confset *v)
{
    set_endpoints(v, false);
}

void confset_listen_local(struct confset *v)
{
    set_endpoints(v, true);
}

void confset_forms_at(struct confset *v)
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

void confset_networks(struct confset *v)
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

void confset_mode(struct confset *v)
{
    unsigned mode;
    if (!value_mode(v->text, &mode)) {
        wrong(v, v->text, "is not a mode in octal, such as 0660");
    }
    memcpy(member(v), &mode, sizeof(mode));
}

void confset_pins(struct confset *v)
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

static void unknown_mailhost(struct confset *v, const char *name)
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

static void read_lmtp(struct confset *v, struct target *t)
{
    if (t->path[0] == '/') {
        if (strlen(t->path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
            wrong(v, t->text, "is too long for the name of a socket: 107 bytes are the most");
        }
        return;
    }
    t->loopback = confread_keep(v->r, sizeof(*t->loopback));
    if (t->loopback != NULL &&
        (!value_endpoint(t->path, t->loopback) || !network_is_loopback(&t->loopback->addr))) {
        wrong(v, t->text,
              "is neither a socket nor this machine, such as lmtp:/run/dovecot/lmtp or lmtp:127.0.0.1:24: "
              "LMTP is not encrypted");
    }
    t->path = NULL;
}

static void read_target(struct confset *v, struct target *t)
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

void confset_targets(struct confset *v)
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
