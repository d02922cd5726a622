/* `formbridge test FORM`: one submission through the whole path, as a visitor sends it, and where it ended.
 *
 * The running server is asked over HTTPS at its own address. It must hold the key of the configured
 * certificate; names and chain are not looked at, for the address is of this machine. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum {
    SERVER_WAIT = 30,     /* seconds for its answer */
    FOLLOW = 60,          /* seconds for the delivery */
    LOOK_EVERY = 200,     /* milliseconds */
    ANSWER_MAX = 1 << 16, /* bytes */
    EXIT_HELD = 1,
};

struct visit {
    const struct conf *conf;
    const struct form_conf *form;
    const struct endpoint *tls; /* where the server is; NULL: dial is there already */
    struct dial *dial;
    unsigned char pin[32];                   /* of the server's key */
    unsigned char token_secret[SECRET_SIZE]; /* of the server */
};

struct answer {
    unsigned status;
    struct buf body;
};

/* ---- the request ----------------------------------------------------------------------------- */

#define BOUNDARY                                                                                             \
    "formbridge-test-6f1c9ad2b7e04853" /* in nothing that a config says, or nobody's form is tested */

/* A name as browsers write it (HTML, "multipart form data"); the config has no line ends in it. */
static void put_name(struct buf *out, const char *name)
{
    buf_str(out, "--" BOUNDARY "\r\nContent-Disposition: form-data; name=\"");
    for (; *name != '\0'; name++) {
        if (*name == '"') {
            buf_str(out, "%22");
        } else {
            buf_byte(out, (unsigned char)*name);
        }
    }
    buf_byte(out, '"');
}

static void put_text(struct buf *out, const char *name, const char *text)
{
    put_name(out, name);
    buf_fmt(out, "\r\n\r\n%s\r\n", text);
}

static void put_field(struct buf *out, const struct rule *rule, const char *email)
{
    struct buf name, text;
    buf_init(&name, 1024);
    buf_init(&text, 1 << 21);
    bool file = rule->type == FIELD_FILE;
    if (file) {
        sample_file(&name, &text, rule);
    } else {
        sample_value(&text, rule, email, time(NULL));
    }
    const char *file_name = buf_text(&name), *words = buf_text(&text);
    if (file_name == NULL || words == NULL) {
        out->failed = true;
    } else if (file) {
        put_name(out, rule->name);
        buf_fmt(out, "; filename=\"%s\"\r\nContent-Type: %s\r\n\r\nformbridge test\r\n", file_name, words);
    } else {
        put_text(out, rule->name, words);
    }
    buf_free(&name);
    buf_free(&text);
}

/* As old as the form wants it, and with the work done: what is to be tested is the way of a mail. */
static void put_token(struct buf *out, const struct visit *v)
{
    unsigned char random[TOKEN_RANDOM];
    char token[TOKEN_LEN + 1], proof[TOKEN_PROOF_MAX + 1];
    const struct token_key key = {v->token_secret, v->form->name};
    if (v->form->token == TOKEN_OFF || getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return;
    }
    token_make(token, &key, time(NULL) - (int64_t)v->form->min_time, random);
    token_prove(token, v->form->proof_bits, proof);
    put_text(out, TOKEN_FIELD, token);
    put_text(out, TOKEN_PROOF_FIELD, proof);
}

/* The time makes it another submission than the last one, not a visitor's second click. */
static void put_body(struct buf *out, const struct visit *v)
{
    char mark[96];
    text_fmt(mark, sizeof mark, "sent by the command \"formbridge test\", %lld", (long long)time(NULL));
    for (const struct rule *rule = v->form->rules; rule != NULL; rule = rule->next) {
        if (rule->required) {
            put_field(out, rule, v->form->from);
        }
    }
    put_text(out, "formbridge-test", mark);
    put_token(out, v);
    buf_str(out, "--" BOUNDARY "--\r\n");
}

static void put_request(struct buf *out, const struct visit *v)
{
    const struct form_conf *form = v->form;
    struct buf body;
    buf_init(&body, SIZE_MAX / 2);
    put_body(&body, v);
    buf_fmt(out,
            "POST /f/%s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nConnection: close\r\n"
            "Content-Type: multipart/form-data; boundary=" BOUNDARY "\r\nContent-Length: %zu\r\n",
            form->name, v->conf->hostname, body.len);
    if (v->tls == NULL) { /* nothing else would be believed there */
        buf_str(out, "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: https\r\n");
    }
    if (form->origin_count > 0) {
        buf_fmt(out, "Origin: %s\r\n", form->origins[0]);
    }
    buf_str(out, "\r\n");
    buf_put(out, body.data, body.len);
    if (!buf_ok(&body)) {
        out->failed = true;
    }
    buf_free(&body);
}

/* ---- the answer ------------------------------------------------------------------------------ */

/* "HTTP/1.1 200 OK", RFC 9112 §4. */
static bool read_status(const char *line, size_t len, unsigned *status)
{
    uint64_t n;
    if (len < 12 || strncmp(line, "HTTP/1.", 7) != 0 || line[8] != ' ' || !text_number(line + 9, 3, &n)) {
        return false;
    }
    *status = (unsigned)n;
    return true;
}

static bool read_head(struct dial *d, struct answer *a, uint64_t *length)
{
    static const char name[] = "Content-Length: ";
    const char *line;
    size_t len;
    *length = ANSWER_MAX + 1;
    if (!dial_line(d, &line, &len) || !read_status(line, len, &a->status)) {
        return false;
    }
    while (dial_line(d, &line, &len) && len > 0) {
        size_t skip = sizeof name - 1;
        if (len > skip && strncasecmp(line, name, skip) == 0 &&
            !text_number(line + skip, len - skip, length)) {
            return false;
        }
    }
    return dial_why(d)[0] == '\0' && *length <= ANSWER_MAX;
}

static bool read_answer(struct dial *d, struct answer *a)
{
    uint64_t length;
    if (!read_head(d, a, &length)) {
        return false;
    }
    while (a->body.len < length) {
        const void *bytes;
        size_t len;
        if (!dial_bytes(d, &bytes, &len)) {
            return false;
        }
        buf_put(&a->body, bytes, len);
        if (!buf_ok(&a->body)) {
            return false;
        }
    }
    return true;
}

/* ---- the conversation ------------------------------------------------------------------------ */

/* The address to ask at: what listens everywhere listens here. */
static bool own_address(const struct endpoint *e, char text[INET6_ADDRSTRLEN], uint16_t *port)
{
    *port = network_port(&e->addr);
    if (!network_text(&e->addr, text)) {
        return false;
    }
    if (strcmp(text, "0.0.0.0") == 0) {
        text_copy(text, INET6_ADDRSTRLEN, "127.0.0.1");
    } else if (strcmp(text, "::") == 0) {
        text_copy(text, INET6_ADDRSTRLEN, "::1");
    }
    return true;
}

static struct dial *dial_tls(struct visit *v, char *why, size_t why_size)
{
    char address[INET6_ADDRSTRLEN];
    struct mailhost self = {
        .server = address, .tls_name = v->conf->hostname, .pins = &v->pin, .pin_count = 1, .pin_only = true};
    if (!own_address(v->tls, address, &self.port)) {
        text_fmt(why, why_size, "%s is no address", v->tls->text);
        return NULL;
    }
    return dial_host(&self, NULL, SERVER_WAIT, why, why_size);
}

/* As the web server in front would: over the socket that is not open to everybody, not even to our user. */
static struct dial *dial_plain(struct endpoint e, char *why, size_t why_size)
{
    struct target t = {.kind = TARGET_LMTP, .text = e.text, .loopback = &e};
    struct sockaddr_un un;
    if (e.addr.ss_family == AF_UNIX) {
        memcpy(&un, &e.addr, sizeof un);
        t.path = un.sun_path;
    }
    return dial_local(&t, SERVER_WAIT, why, why_size);
}

/* Closes v->dial. false: why says what happened instead of an answer. */
static bool ask(struct visit *v, struct answer *a, char *why, size_t why_size)
{
    struct dial *d = v->dial;
    struct buf request;
    buf_init(&request, SIZE_MAX / 2);
    put_request(&request, v);
    dial_deadline(d, SERVER_WAIT);
    bool ok =
        buf_ok(&request) && dial_put(d, request.data, request.len) && dial_flush(d) && read_answer(d, a);
    if (!ok) {
        text_fmt(why, why_size, "%s: %s", dial_peer(d),
                 dial_why(d)[0] != '\0' ? dial_why(d) : "its answer is not that of formbridge");
    }
    buf_free(&request);
    dial_close(d);
    return ok;
}

/* Our own JSON, as page_json.c writes it. */
static bool find_receipt(struct buf *body, char ref[REF_SIZE])
{
    static const char before[] = "\"id\":\"";
    const char *text = buf_text(body);
    const char *id = text == NULL ? NULL : strstr(text, before);
    if (id == NULL || strlen(id) < sizeof before - 1 + REF_LEN) {
        return false;
    }
    return text_fmt(ref, REF_SIZE, "%.*s", REF_LEN, id + sizeof before - 1);
}

static int submit(struct visit *v, char ref[REF_SIZE])
{
    char why[REASON_SIZE];
    struct answer a = {.status = 0};
    int code = EX_UNAVAILABLE;
    buf_init(&a.body, ANSWER_MAX + 1);
    if (v->dial == NULL) {
        v->dial = dial_tls(v, why, sizeof why);
    }
    if (v->dial == NULL || !ask(v, &a, why, sizeof why)) {
        fprintf(stderr, "formbridge: the server does not answer: %s\n", why);
    } else if (a.status != 200 || !find_receipt(&a.body, ref)) {
        fprintf(stderr, "formbridge: the server answered %u: ", a.status);
        const char *text = buf_text(&a.body);
        queue_print(stderr, text != NULL ? text : "");
        fputc('\n', stderr);
    } else {
        printf("accepted: the receipt is %s\n", ref);
        code = EX_OK;
    }
    buf_free(&a.body);
    return code;
}

/* ---- the receipt ----------------------------------------------------------------------------- */

static bool find_name(int directory, const char *ref, char name[SPOOL_NAME_SIZE])
{
    int64_t t;
    char other[REF_SIZE], form[FORM_NAME_MAX + 1];
    bool found = false;
    DIR *dir = spool_list(directory);
    for (struct dirent *e; dir != NULL && !found && (e = readdir(dir)) != NULL;) {
        found = spool_name_parse(e->d_name, &t, other, form) && strcmp(other, ref) == 0 &&
                text_copy(name, SPOOL_NAME_SIZE, e->d_name);
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return found;
}

static bool is_there(int directory, const char *name)
{
    struct stat st;
    return fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void show_reasons(const struct state *st)
{
    for (const struct state_target *t = st->targets; t != NULL; t = t->next) {
        printf(t->done ? "delivered: to %s" : "waits: for %s: ", t->text);
        queue_print(stdout, t->done ? "" : t->reason != NULL ? t->reason : "");
        putchar('\n');
    }
}

static int show_held(const struct spool *s, const char *name)
{
    struct state st;
    spool_state_read(s->held, name, &st);
    fputs("held: ", stdout);
    queue_print(stdout, st.held != NULL ? st.held : "");
    putchar('\n');
    state_free(&st);
    return EXIT_HELD;
}

static int show_waiting(const struct spool *s, const char *name, const char *ref)
{
    struct state st;
    spool_state_read(s->queue, name, &st);
    if (st.targets == NULL) {
        puts("waits: it was not tried yet");
    }
    show_reasons(&st);
    state_free(&st);
    printf("It is safe and will be tried again: formbridge queue show %s\n", ref);
    return EX_TEMPFAIL;
}

/* Looks into queue/ first: what has left it since is in held/, or nowhere because it was delivered. */
static int follow(const struct spool *s, const struct form_conf *form, const char *ref)
{
    char name[SPOOL_NAME_SIZE];
    struct timespec pause = {.tv_nsec = LOOK_EVERY * 1000000L};
    bool queued = find_name(s->queue, ref, name);
    if (queued) {
        printf("queued: %s\n", name);
        for (int i = 0; i < FOLLOW * 1000 / LOOK_EVERY && is_there(s->queue, name); i++) {
            nanosleep(&pause, NULL);
        }
    }
    if (queued ? is_there(s->held, name) : find_name(s->held, ref, name)) {
        return show_held(s, name);
    }
    if (queued && is_there(s->queue, name)) {
        return show_waiting(s, name, ref);
    }
    for (size_t i = 0; i < form->target_count; i++) {
        printf("delivered: to %s\n", form->targets[i].text);
    }
    return EX_OK;
}

int selftest_run(const struct conf *c, const char *form_name)
{
    char why[REASON_SIZE], ref[REF_SIZE];
    struct chain chain = {.certs = NULL};
    struct spool s;
    struct dial *d = NULL;
    const struct endpoint *tls = conf_listen(c, ENDPOINT_TLS), *plain = conf_listen(c, ENDPOINT_PLAIN);
    const struct form_conf *form = conf_form(c, form_name, strlen(form_name));
    if (form == NULL) {
        fprintf(stderr, "formbridge: the config has no [form %s]\n", form_name);
        return EX_USAGE;
    }
    if (tls == NULL && plain == NULL) {
        fputs("formbridge: every address in listen wants a proxy in front: send a form through it, or add an "
              "address "
              "without proxy:\n",
              stderr);
        return EX_UNAVAILABLE;
    }
    if (tls != NULL && !x509_chain_load(&chain, c->certificate, why, sizeof why)) { /* as who may read it */
        fprintf(stderr, "formbridge: %s\n", why);
        return EX_CONFIG;
    }
    if (tls == NULL && (d = dial_plain(*plain, why, sizeof why)) == NULL) { /* as who may connect */
        fprintf(stderr, "formbridge: the server does not answer: %s\n", why);
        return EX_UNAVAILABLE;
    }
    if (!sandbox_user(c->user, why, sizeof why) || !spool_open(&s, c->spool, why, sizeof why)) {
        fprintf(stderr, "formbridge: %s\n", why);
        x509_chain_free(&chain);
        dial_close(d);
        return EX_NOPERM;
    }
    setvbuf(stdout, NULL, _IOLBF, 0); /* also in a pipe: a line when it is true */
    struct visit v = {.conf = c, .form = form, .tls = tls, .dial = d};
    memcpy(v.pin, chain.spki_sha256, sizeof v.pin);
    if (!secret_read(s.root, TOKEN_SECRET_FILE, v.token_secret)) {
        fprintf(stderr, "formbridge: warning: cannot read %s/%s: %s\n", c->spool, TOKEN_SECRET_FILE,
                errno != 0 ? strerror(errno) : "it is not the user's alone, or not whole");
    }
    int code = submit(&v, ref);
    explicit_bzero(&v, sizeof v);
    if (code == EX_OK) {
        code = follow(&s, form, ref);
    }
    spool_close(&s);
    x509_chain_free(&chain);
    return code;
}
