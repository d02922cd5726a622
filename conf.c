/*
 * The config: a file becomes a struct conf, or a list of every mistake in it.
 *
 * confread.c makes sections and texts of the file, confkeys.c gives each text its meaning; what must agree
 * between keys is checked here.
 */

#include "bridge.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 256 * 1024 }; /* of a config: some hundred forms */

/* For what holds between keys: said where the first of them that is given stands. */
static unsigned line_of(const struct confread_section *s, const char *first, const char *second)
{
    const struct confread_key *k = confread_find(s, first);
    if (k == NULL && second != NULL) {
        k = confread_find(s, second);
    }
    return k != NULL ? k->line : s->line;
}

/* 0 is the value of a key that was wrong by itself. */
static void check_order(struct confread *r, const struct confread_section *s, const char *low_key,
                        uint64_t low, const char *high_key, uint64_t high)
{
    if (low > high && high != 0) {
        const char *unset = confread_find(s, low_key) == NULL    ? low_key
                            : confread_find(s, high_key) == NULL ? high_key
                                                                 : NULL;
        confread_mistake(r, line_of(s, low_key, high_key),
                         "%s is more than %s: lower the one or raise the other%s%s%s", low_key, high_key,
                         unset != NULL ? " (" : "", unset != NULL ? unset : "",
                         unset != NULL ? " has its default: set it, too)" : "");
    }
}

static bool same_endpoint(const struct endpoint *a, const struct endpoint *b)
{
    return a->addr_len != 0 && a->addr_len == b->addr_len && memcmp(&a->addr, &b->addr, a->addr_len) == 0;
}

/* The addresses of one key. That two are written alike was said before. */
static void check_addresses(struct confread *r, const struct confread_section *s, const char *key,
                            const struct endpoint *list, size_t count)
{
    if (count > LISTEN_MAX) {
        confread_mistake(r, line_of(s, key, NULL), "%s: there are %zu addresses and %d are the most", key,
                         count, LISTEN_MAX);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (same_endpoint(&list[i], &list[k]) && strcmp(list[i].text, list[k].text) != 0) {
                confread_mistake(r, line_of(s, key, NULL), "%s: %s and %s are one place: choose another port",
                                 key, list[k].text, list[i].text);
            }
        }
    }
}

static void check_listeners(struct confread *r, const struct conf *c, const struct confread_section *s)
{
    const struct {
        const char *key;
        const struct endpoint *list;
        size_t count;
    } all[] = {{"listen", c->listen, c->listen_count},
               {"http_listen", c->http_listen, c->http_listen_count},
               {"admin_listen", c->admin_listen, c->admin_listen_count}};
    for (size_t a = 0; a < COUNT(all); a++) {
        check_addresses(r, s, all[a].key, all[a].list, all[a].count);
        for (size_t b = a + 1; b < COUNT(all); b++) {
            for (size_t i = 0; i < all[a].count * all[b].count; i++) {
                const struct endpoint *x = &all[a].list[i % all[a].count],
                                      *y = &all[b].list[i / all[a].count];
                if (same_endpoint(x, y)) {
                    confread_mistake(r, line_of(s, all[b].key, NULL),
                                     "%s: %s is taken by %s: choose another port", all[b].key, y->text,
                                     all[a].key);
                }
            }
        }
    }
}

const struct endpoint *conf_listen(const struct conf *c, enum endpoint_kind kind)
{
    for (size_t i = 0; i < c->listen_count; i++) {
        if (c->listen[i].kind == kind && c->listen[i].addr_len != 0) { /* 0: it was wrong by itself */
            return &c->listen[i];
        }
    }
    return NULL;
}

/* Who listens for TLS needs a certificate, here or in a [pickup]; who hears from proxies must know them. */
static void check_certificate(struct confread *r, const struct conf *c, const struct confread_section *s)
{
    static const struct {
        const char *key, *meaning;
    } keys[] = {{"certificate", "the PEM file of the certificate and its chain"},
                {"private_key", "the PEM file of the certificate's private key"}};
    bool needed = conf_listen(c, ENDPOINT_TLS) != NULL || conf_listen(c, ENDPOINT_PROXY) != NULL ||
                  confread_find(s, "certificate") != NULL || confread_find(s, "private_key") != NULL;
    for (const struct confread_section *p = r->sections; p != NULL; p = p->next) {
        needed = needed || strcmp(p->kind, "pickup") == 0;
    }
    for (size_t i = 0; needed && i < COUNT(keys); i++) {
        if (confread_find(s, keys[i].key) == NULL) {
            confread_mistake(r, s->line, "[bridge] needs a line \"%s = ...\": %s", keys[i].key,
                             keys[i].meaning);
        }
    }
}

static void check_proxies(struct confread *r, const struct conf *c, const struct confread_section *s)
{
    const struct endpoint *e = conf_listen(c, ENDPOINT_PROXY);
    if (e != NULL && confread_find(s, "trusted_proxies") == NULL) {
        confread_mistake(r, line_of(s, "listen", NULL),
                         "listen: %s takes the word of a proxy: add trusted_proxies = ADDRESS", e->text);
    }
}

static void finish_bridge(struct confread *r, const struct conf *c, const struct confread_section *s)
{
    check_order(r, s, "max_body", c->max_body, "max_memory", c->max_memory);
    check_order(r, s, "retry_min", c->retry_min, "retry_max", c->retry_max);
    check_order(r, s, "retry_max", c->retry_max, "max_age", c->max_age);
    check_listeners(r, c, s);
    check_certificate(r, c, s);
    check_proxies(r, c, s);
    if ((confread_find(s, "alert_to") == NULL) != (confread_find(s, "alert_deliver") == NULL)) {
        confread_mistake(r, line_of(s, "alert_to", "alert_deliver"),
                         "alert_to and alert_deliver go together: add the other or remove this");
    }
    if (c->acme_webroot != NULL && confread_find(s, "http_listen") == NULL) {
        confread_mistake(r, line_of(s, "acme_webroot", NULL),
                         "acme_webroot is served over plain HTTP: add http_listen = 0.0.0.0:80");
    }
}

/* Without the "/" at its end. */
static size_t path_len(const char *path)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    return len;
}

static bool same_path(const char *a, const char *b)
{
    size_t len = path_len(a);
    return len == path_len(b) && strncmp(a, b, len) == 0;
}

/* POP3 knows no folders: what lay in one would never be seen. */
static bool is_picked_up(const struct conf *c, const struct form_conf *f)
{
    for (const struct pickup *p = c->pickups; p != NULL; p = p->next) {
        for (size_t i = 0; i < f->target_count; i++) {
            const struct target *t = &f->targets[i];
            if (t->kind == TARGET_MAILDIR && t->path != NULL && p->maildir != NULL &&
                same_path(t->path, p->maildir)) {
                return true;
            }
        }
    }
    return false;
}

static bool has_maildir(const struct form_conf *f)
{
    for (size_t i = 0; i < f->target_count; i++) {
        if (f->targets[i].kind == TARGET_MAILDIR) {
            return true;
        }
    }
    return false;
}

static bool has_letter(const char *word)
{
    for (size_t len = strlen(word), at = 0; at < len;) {
        uint32_t c;
        at += utf8_next(word + at, len - at, &c);
        if (utf8_in_word(c)) {
            return true;
        }
    }
    return false;
}

static void finish_spam(struct confread *r, const struct conf *c, const struct confread_section *s,
                        struct form_conf *f)
{
    if (confread_find(s, "junk") == NULL) {
        f->junk = is_picked_up(c, f) ? NULL : confread_keep_text(r, ".Junk");
    } else if (!has_maildir(f)) {
        confread_mistake(r, line_of(s, "junk", NULL),
                         "junk is a folder of a Maildir, and deliver names none: remove this");
    }
    if (f->token == TOKEN_OFF && f->proof_bits > 0) {
        confread_mistake(r, line_of(s, "proof_bits", NULL),
                         "proof_bits is work on a token: set token = optional or required, or remove this");
    }
    if (f->token == TOKEN_REQUIRED && f->spam == SPAM_OFF) {
        confread_mistake(r, line_of(s, "token", NULL),
                         "token is required and spam is off: set spam = mark or refuse, or token = optional");
    }
    for (size_t i = 0; i < f->honeypot_count; i++) {
        for (size_t k = 0; k < f->required_count; k++) {
            if (strcmp(f->honeypots[i], f->required[k]) == 0) {
                confread_mistake(
                    r, line_of(s, "honeypot", "required"),
                    "honeypot: %s is a required field: people fill it in, so take it from one of the two",
                    f->honeypots[i]);
            }
        }
    }
    for (size_t i = 0; i < f->spam_word_count; i++) {
        if (!has_letter(f->spam_words[i])) {
            confread_mistake(r, line_of(s, "spam_words", NULL),
                             "spam_words: %s holds no letter and no digit: remove it", f->spam_words[i]);
        }
    }
}

/* What people fill in and nobody would ever see. */
static void check_fields(struct confread *r, const struct confread_section *s, const struct form_conf *f,
                         const char *key, char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (control_leaves_out(names[i], f->dialect)) {
            confread_mistake(
                r, line_of(s, key, NULL),
                "%s: dialect has %s for a control field, which stays out of the mail: give the field "
                "another name, or the form another dialect",
                key, names[i]);
        }
    }
}

static void finish_form(struct confread *r, const struct conf *c, const struct confread_section *s,
                        struct form_conf *f)
{
    if (f->title == NULL) {
        f->title = f->name;
    }
    if ((f->sign_cert == NULL) != (f->sign_key == NULL)) {
        confread_mistake(r, line_of(s, "sign_cert", "sign_key"),
                         "sign_cert and sign_key go together: add the other or remove this");
    }
    if (f->sign_cert != NULL && f->encrypt_count == 0) {
        confread_mistake(r, line_of(s, "sign_cert", NULL),
                         "sign_cert signs what is encrypted: add encrypt_to or remove this");
    }
    check_fields(r, s, f, "required", f->required, f->required_count);
    check_fields(r, s, f, "order", f->order, f->order_count);
    finish_spam(r, c, s, f);
    if (f->max_body == 0) {
        f->max_body = c->max_body;
    } else if (f->max_body > c->max_body && c->max_body != 0) {
        confread_mistake(
            r, line_of(s, "max_body", NULL),
            "max_body is more than the %llu bytes that [bridge] takes: raise its max_body or lower this",
            (unsigned long long)c->max_body);
    }
}

static void finish_mailhost(struct confread *r, const struct confread_section *s, struct mailhost *m)
{
    if (m->port == 0) {
        m->port = m->starttls ? 587 : 465;
    }
    if ((confread_find(s, "username") == NULL) != (confread_find(s, "password_file") == NULL)) {
        confread_mistake(r, line_of(s, "username", "password_file"),
                         "username and password_file go together: add the other or remove this");
    }
    if (m->pin_only && confread_find(s, "pin") == NULL) {
        confread_mistake(r, line_of(s, "pin_only", NULL),
                         "pin_only needs a pin: add pin = SHA-256 or remove this");
    }
    if (m->tls_name == NULL && m->server != NULL) {
        m->tls_name = m->server;
        if (!value_host(m->server) && !m->pin_only) {
            confread_mistake(r, line_of(s, "server", NULL),
                             "server is an address and certificates carry names: add tls_name = NAME");
        }
    }
}

static bool is_kind(const struct confread_section *s, const char *kind)
{
    return strcmp(s->kind, kind) == 0;
}

static void make_bridge(struct confread *r, struct conf *c)
{
    struct confread_section absent = {.kind = "bridge", .name = "", .line = 1}, *s = r->sections;
    while (s != NULL && !is_kind(s, "bridge")) {
        s = s->next;
    }
    s = s != NULL ? s : &absent;
    confkeys_apply(r, c, s, c);
    finish_bridge(r, c, s);
}

static void make_mailhosts(struct confread *r, struct conf *c)
{
    struct mailhost **last = &c->mailhosts;
    for (const struct confread_section *s = r->sections; s != NULL; s = s->next) {
        struct mailhost *m = is_kind(s, "mailhost") ? confread_keep(r, sizeof(*m)) : NULL;
        if (m != NULL) {
            m->name = s->name;
            m->line = (int)s->line;
            confkeys_apply(r, c, s, m);
            finish_mailhost(r, s, m);
            *last = m;
            last = &m->next;
        }
    }
}

/* An address of a pickup must not be anybody else's; those before it in the file have been seen. */
static void check_pickup(struct confread *r, const struct conf *c, const struct confread_section *s,
                         const struct pickup *p)
{
    check_addresses(r, s, "listen", p->listen, p->listen_count);
    for (size_t i = 0; i < p->listen_count; i++) {
        bool taken = false;
        for (size_t k = 0; k < c->listen_count; k++) {
            taken = taken || same_endpoint(&p->listen[i], &c->listen[k]);
        }
        for (size_t k = 0; k < c->http_listen_count; k++) {
            taken = taken || same_endpoint(&p->listen[i], &c->http_listen[k]);
        }
        for (size_t k = 0; k < c->admin_listen_count; k++) {
            taken = taken || same_endpoint(&p->listen[i], &c->admin_listen[k]);
        }
        for (const struct pickup *other = c->pickups; other != NULL && other != p; other = other->next) {
            for (size_t k = 0; k < other->listen_count; k++) {
                taken = taken || same_endpoint(&p->listen[i], &other->listen[k]);
            }
        }
        if (taken) {
            confread_mistake(r, line_of(s, "listen", NULL),
                             "listen: %s is taken by another listen of this file: choose another port",
                             p->listen[i].text);
        }
    }
}

static void make_pickups(struct confread *r, struct conf *c)
{
    struct pickup **last = &c->pickups;
    unsigned count = 0;
    for (const struct confread_section *s = r->sections; s != NULL; s = s->next) {
        struct pickup *p = is_kind(s, "pickup") ? confread_keep(r, sizeof(*p)) : NULL;
        if (p != NULL) {
            p->name = s->name;
            p->line = (int)s->line;
            confkeys_apply(r, c, s, p);
            p->drain_timeout = c->drain_timeout;
            *last = p;
            last = &p->next;
            check_pickup(r, c, s, p);
            if (++count == PICKUPS_MAX + 1) {
                confread_mistake(r, s->line, "%d sections [pickup NAME] are the most", PICKUPS_MAX);
            }
        }
    }
}

static void make_forms(struct confread *r, struct conf *c)
{
    struct form_conf **last = &c->forms;
    for (const struct confread_section *s = r->sections; s != NULL; s = s->next) {
        struct form_conf *f = is_kind(s, "form") ? confread_keep(r, sizeof(*f)) : NULL;
        if (f != NULL) {
            f->name = s->name;
            f->line = (int)s->line;
            confkeys_apply(r, c, s, f);
            finish_form(r, c, s, f);
            *last = f;
            last = &f->next;
        }
    }
    if (c->forms == NULL) {
        confread_mistake(r, 1,
                         "no section [form NAME]: there is nothing to accept; add one, such as [form order]");
    }
}

/* What alert.c writes goes the way of all mail: as that of a form that no visitor can send. */
static void make_alert(struct confread *r, struct conf *c)
{
    struct form_conf **last = &c->forms, *f;
    if (c->alert_to_count == 0 || (f = confread_keep(r, sizeof(*f))) == NULL) {
        return;
    }
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *f = (struct form_conf){.name = confread_keep_text(r, ALERT_FORM),
                            .alert = true,
                            .to = c->alert_to,
                            .to_count = c->alert_to_count,
                            .from = c->alert_from != NULL ? c->alert_from : c->alert_to[0],
                            .targets = c->alert_targets,
                            .target_count = c->alert_target_count};
    f->title = f->name;
    *last = f;
}

/* ---- the whole file -------------------------------------------------------------------------- */

struct conf *conf_parse(const char *name, const void *bytes, size_t len, struct buf *errors)
{
    struct conf *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        buf_fmt(errors, "%s: out of memory\n", name);
        return NULL;
    }
    struct confread r;
    confread_text(&r, name, bytes, len);
    for (const struct confread_section *s = r.sections; s != NULL; s = s->next) {
        confkeys_check(&r, s);
    }
    c->file = confread_keep_text(&r, name);
    make_mailhosts(&r, c); /* before those that name them */
    make_bridge(&r, c);
    make_pickups(&r, c);
    make_forms(&r, c);
    conffield_make(&r, c);
    make_alert(&r, c);
    bool sound = confread_report(&r, errors);
    c->memory = r.memory;
    if (!sound) {
        conf_free(c);
        return NULL;
    }
    return c;
}

/* false: it is there and is not in order; found: it is there. */
static bool load_template(struct form_conf *f, enum template_kind kind, bool *found, struct buf *errors)
{
    struct buf path, text;
    buf_init(&path, PATH_MAX);
    buf_init(&text, TEMPLATE_MAX);
    buf_fmt(&path, "%s/%s", f->templates, template_names[kind]);
    const char *name = buf_text(&path);
    bool ok = name != NULL;
    if (ok && buf_read_file(name, &text)) {
        f->template[kind] =
            template_parse(kind, name, text.data, text.len, f->origins, f->origin_count, errors);
        ok = f->template[kind] != NULL;
        *found = true;
    } else if (name == NULL || errno != ENOENT) {
        bool large = errno == EFBIG;
        buf_fmt(errors, "%s: cannot be read: %s\n", name != NULL ? name : f->templates,
                large ? "a template has 64 kB at most" : strerror(errno));
        ok = false;
    }
    buf_free(&path);
    buf_free(&text);
    return ok;
}

static bool load_templates(struct conf *c, struct buf *errors)
{
    bool ok = true;
    for (struct form_conf *f = c->forms; f != NULL; f = f->next) {
        bool found = false;
        for (enum template_kind kind = 0; f->templates != NULL && kind < TEMPLATES; kind++) {
            bool sound = load_template(f, kind, &found, errors);
            ok = sound && ok;
            found = found || !sound;
        }
        if (f->templates != NULL && !found) {
            buf_fmt(errors, "%s:%d: [form %s]: templates: %s has none of %s, %s and %s\n", c->file, f->line,
                    f->name, f->templates, template_names[0], template_names[1], template_names[2]);
            ok = false;
        }
    }
    return ok;
}

struct conf *conf_load(const char *path, struct buf *errors)
{
    struct buf text;
    struct conf *c = NULL;
    buf_init(&text, FILE_MAX);
    if (buf_read_file(path, &text)) {
        c = conf_parse(path, text.data, text.len, errors);
        if (c != NULL && !load_templates(c, errors)) {
            conf_free(c);
            c = NULL;
        }
    } else {
        buf_fmt(errors, "%s: cannot be read: %s%s\n", path, strerror(errno),
                errno == EFBIG ? ": it may have 256 kB" : "");
    }
    buf_free(&text);
    return c;
}

void conf_free(struct conf *c)
{
    if (c != NULL) {
        for (struct form_conf *f = c->forms; f != NULL; f = f->next) {
            for (size_t i = 0; i < TEMPLATES; i++) {
                template_free(f->template[i]);
            }
        }
        confread_free(c->memory);
        free(c);
    }
}

struct form_conf *conf_form(const struct conf *c, const char *name, size_t len)
{
    struct form_conf *f = c->forms;
    while (f != NULL && (f->alert || strlen(f->name) != len || memcmp(f->name, name, len) != 0)) {
        f = f->next;
    }
    return f;
}

struct form_conf *conf_route(const struct conf *c, const char *name)
{
    struct form_conf *f = c->forms;
    while (f != NULL && strcmp(f->name, name) != 0) {
        f = f->next;
    }
    return f;
}
