/*
 * Who is to look after held messages, after those that wait for long, and after certificates that end, hears of them by
 * mail, at most every ALERT_INTERVAL.
 *
 * What there is to tell is read from the spool, so that no restart forgets it: the messages in held/ whose state was
 * written since the last alert, those in queue/ that have come of age since, and certificates that have come so close to
 * their end. Times are whole seconds and each belongs to one alert:
 *
 *     spool/alerted     SECONDS since 1970: what was held, or of age, before was told
 *
 * The mail goes into queue/ and the way of every other, in the name of ALERT_FORM. It is there before
 * spool/alerted says so: after a crash in between it comes twice. One that cannot be delivered is held like
 * any message, but is not told of.
 */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LISTED_MAX = 20,  /* messages in one alert; the others are counted */
    FAILED_PAUSE = 60 /* seconds after a failure of our own */
};

static const char stamp[] = "alerted";

struct news {
    struct buf text; /* quoted-printable */
    struct buf_sink sink;
    struct encode_qp qp;
    size_t held, waiting, certificates;
    int64_t from, until; /* what happened then is news */
};

/* ---- until when was told --------------------------------------------------------------------- */

static int64_t read_stamp(const struct spool *s)
{
    char text[32];
    uint64_t seconds;
    int fd = openat(s->root, stamp, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (fd >= 0) {
        close(fd);
    }
    return n > 1 && text_number(text, (size_t)n - 1, &seconds) ? (int64_t)seconds : 0;
}

/* Renamed into place: one that is cut off would have everything told again. */
static void write_stamp(const struct spool *s, int64_t now)
{
    char text[32];
    text_fmt(text, sizeof text, "%" PRId64 "\n", now);
    int fd = openat(s->tmp, stamp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && spool_write(fd, text, strlen(text)) && fsync(fd) == 0 &&
              renameat(s->tmp, stamp, s->root, stamp) == 0 && fsync(s->root) == 0;
    if (!ok) {
        log_warn("cannot write %s in the spool: %s; after a restart held messages are told of again", stamp,
                 strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* ---- what there is to tell ------------------------------------------------------------------- */

/* Reasons quote what mail hosts say: only what is printable. */
static void put(struct encode_qp *qp, const char *text)
{
    for (; *text != '\0'; text++) {
        encode_qp_put(qp, *text >= ' ' && *text <= '~' ? text : "?", 1);
    }
}

static void tell(struct news *n, const char *ref, const char *form, const char *why)
{
    put(&n->qp, ref);
    put(&n->qp, " (form ");
    put(&n->qp, form);
    put(&n->qp, ")");
    encode_qp_break(&n->qp);
    put(&n->qp, "    ");
    put(&n->qp, why);
    encode_qp_break(&n->qp);
}

static bool is_news(const struct news *n, int64_t when)
{
    return when >= n->from && when < n->until;
}

static void look_at_held(struct news *n, const struct spool *s, const char *name, const char *ref,
                         const char *form)
{
    char file[SPOOL_NAME_SIZE + 8];
    struct stat sb;
    struct state st;
    if (!text_fmt(file, sizeof file, "%s.state", name) ||
        fstatat(s->held, file, &sb, AT_SYMLINK_NOFOLLOW) != 0 || !is_news(n, sb.st_mtime)) {
        return;
    }
    spool_state_read(s->held, name, &st);
    bool by_person = st.held != NULL && strcmp(st.held, STATE_HELD_BY_PERSON) == 0;
    if (!by_person && n->held++ < LISTED_MAX) {
        tell(n, ref, form, st.held != NULL ? st.held : "its .state does not say why");
    }
    state_free(&st);
}

static void put_line(struct news *n, const char *text)
{
    put(&n->qp, text);
    encode_qp_break(&n->qp);
}

static void put_heading(struct news *n, int64_t after)
{
    char age[96];
    bool hours = after >= 7200;
    text_fmt(age, sizeof age,
             "These have waited for %" PRId64 " %s, and are tried again:", hours ? after / 3600 : after / 60,
             hours ? "hours" : "minutes");
    if (n->held > 0) {
        put_line(n, "");
    }
    put_line(n, age);
}

/* What the first place said that does not have it. */
static const char *why_waiting(const struct state *st)
{
    for (const struct state_target *t = st->targets; t != NULL; t = t->next) {
        if (!t->done && t->reason != NULL) {
            return t->reason;
        }
    }
    return "not tried yet: others wait for the same place";
}

static void look_at_waiting(struct news *n, const struct spool *s, const char *name, int64_t time,
                            const char *ref, const char *form, int64_t after)
{
    struct state st;
    if (time + after >= n->until) {
        return;
    }
    spool_state_read(s->queue, name, &st);
    int64_t since = st.since > 0 ? st.since : time; /* a release begins anew */
    bool news = is_news(n, since + after);
    if (news && n->waiting == 0) {
        put_heading(n, after);
    }
    if (news && n->waiting++ < LISTED_MAX) {
        tell(n, ref, form, why_waiting(&st));
    }
    state_free(&st);
}

/* after: when what waits is news, or 0 for what is held. false: the directory cannot be read. */
static bool gather(struct news *n, const struct spool *s, int64_t after)
{
    DIR *dir = spool_list(after > 0 ? s->queue : s->held);
    if (dir == NULL) {
        return false;
    }
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        int64_t time;
        char ref[REF_SIZE], form[FORM_NAME_MAX + 1];
        if (!spool_name_parse(e->d_name, &time, ref, form) || strcmp(form, ALERT_FORM) == 0) {
            continue;
        }
        if (after > 0) {
            look_at_waiting(n, s, e->d_name, time, ref, form, after);
        } else {
            look_at_held(n, s, e->d_name, ref, form);
        }
    }
    closedir(dir);
    return true;
}

/* How long before the end is news: when what renews by itself has failed to, or a person has to; and the end itself. */
static const struct certificate {
    enum counter end; /* as last checked */
    const char *what, *ended;
    int64_t days[3];
} certificates[] = {
    {STAT_CERTIFICATE_EXPIRES, "The TLS certificate", "browsers refuse the forms", {14, 3, 0}},
    {STAT_SEAL_EXPIRES,
     "A certificate that mail is encrypted for",
     "the form with it takes nothing until it is renewed",
     {30, 7, 0}},
};

static void look_at_certificate(struct news *n, const struct certificate *c)
{
    char text[192], end[DATE_SIZE];
    int64_t when = stats_get(c->end), left = when - n->until;
    bool news = false;
    for (size_t i = 0; i < COUNT(c->days); i++) {
        news = news || is_news(n, when - c->days[i] * 86400);
    }
    if (when == 0 || !news) {
        return;
    }
    date_day(end, when);
    if (left <= 0) {
        text_fmt(text, sizeof text, "%s ended on %s: %s.", c->what, end, c->ended);
    } else {
        text_fmt(text, sizeof text, "%s ends on %s, in %" PRId64 " days: renew it.", c->what, end,
                 left / 86400);
    }
    if (n->held + n->waiting + n->certificates++ > 0) {
        put_line(n, "");
    }
    put_line(n, text);
    put_line(n, "    formbridge check  says which it is");
}

static void put_rest(struct news *n, size_t count)
{
    char more[64];
    if (count > LISTED_MAX) {
        text_fmt(more, sizeof more, "and %zu more", count - LISTED_MAX);
        put_line(n, more);
    }
}

/* false: it could not be read. */
static bool put_news(struct news *n, const struct conf *c, const struct spool *s)
{
    if (!gather(n, s, 0)) {
        return false;
    }
    put_rest(n, n->held);
    if (c->alert_after > 0 && !gather(n, s, c->alert_after)) {
        return false;
    }
    put_rest(n, n->waiting);
    for (size_t i = 0; i < COUNT(certificates); i++) {
        look_at_certificate(n, &certificates[i]);
    }
    return true;
}

static void put_advice(struct news *n)
{
    static const char *const lines[] = {
        "", "formbridge queue list         what waits, what is held, and why",
        "formbridge queue show ID      one of them",
        "formbridge queue release ID   to try it again, when the cause is removed",
        "formbridge queue drop ID      to delete it"};
    for (size_t i = 0; i < COUNT(lines); i++) {
        put_line(n, lines[i]);
    }
}

/* ---- the mail -------------------------------------------------------------------------------- */

static void put_subject(struct buf *line, const struct conf *c, const struct news *n)
{
    buf_fmt(line, "%s: ", c->hostname);
    if (n->held > 0) {
        buf_fmt(line, "%zu %s held and need%s a person", n->held,
                n->held == 1 ? "message is" : "messages are", n->held == 1 ? "s" : "");
    }
    if (n->waiting > 0) {
        buf_fmt(line, "%s%zu %s for long", n->held > 0 ? ", " : "", n->waiting,
                n->held > 0       ? "more wait"
                : n->waiting == 1 ? "message waits"
                                  : "messages wait");
    }
    if (n->certificates > 0) {
        buf_fmt(line, "%sa certificate has to be renewed", n->held + n->waiting > 0 ? ", " : "");
    }
}

static void put_header(struct buf *out, const struct conf *c, const char *ref, const struct news *n,
                       int64_t now)
{
    struct buf line;
    buf_init(&line, SIZE_MAX / 2);
    buf_str(out, "Date: ");
    date_mail(out, now);
    buf_byte(out, '\n');
    encode_header(out, "From", conf_route(c, ALERT_FORM)->from);
    for (size_t i = 0; i < c->alert_to_count; i++) {
        buf_fmt(&line, "%s%s", i > 0 ? ", " : "", c->alert_to[i]);
    }
    const char *to = buf_text(&line);
    encode_header(out, "To", to != NULL ? to : "");
    buf_clear(&line);
    put_subject(&line, c, n);
    const char *subject = buf_text(&line);
    encode_header_text(out, "Subject", subject != NULL ? subject : "");
    buf_free(&line);
    buf_fmt(out, "Message-ID: <%s.%" PRId64 "@%s>\n", ref, now, c->hostname);
    buf_str(out, "Auto-Submitted: auto-generated\n" /* RFC 3834 */
                 "MIME-Version: 1.0\n"
                 "Content-Type: text/plain; charset=us-ascii\n"
                 "Content-Transfer-Encoding: quoted-printable\n\n");
}

static bool queue_mail(const struct conf *c, struct spool *s, const struct news *n, int64_t now)
{
    struct draft d, *drafts[] = {&d};
    struct buf head;
    unsigned char random[8];
    char ref[REF_SIZE];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return false;
    }
    spool_ref(ref, random);
    buf_init(&head, 1 << 16);
    put_header(&head, c, ref, n, now);
    spool_begin(s, &d, now, ref, ALERT_FORM);
    bool ok = buf_ok(&head) && d.sink.put(&d.sink, head.data, head.len) &&
              d.sink.put(&d.sink, n->text.data, n->text.len);
    if (!ok && d.error == 0) {
        d.error = ENOMEM;
    }
    buf_free(&head);
    spool_commit(s, drafts, 1);
    errno = d.error;
    return d.error == 0;
}

/* false: it could not be done now. */
static bool send_news(const struct conf *c, struct spool *s, int64_t from, int64_t now)
{
    struct news n = {.from = from, .until = now};
    buf_init(&n.text, 1 << 20);
    buf_sink(&n.sink, &n.text);
    encode_qp_begin(&n.qp, &n.sink.sink);
    bool ok = put_news(&n, c, s);
    if (ok && n.held + n.waiting + n.certificates > 0) {
        if (n.held + n.waiting > 0) {
            put_advice(&n);
        }
        ok = encode_qp_end(&n.qp) && queue_mail(c, s, &n, now);
        if (ok) {
            log_info("told %s of %zu held, %zu waiting%s", c->alert_to[0], n.held, n.waiting,
                     n.certificates > 0 ? ", and of a certificate that ends" : "");
            write_stamp(s, now);
        }
    }
    buf_free(&n.text);
    if (!ok) {
        log_error("cannot tell %s what there is to tell: %s; trying again", c->alert_to[0], strerror(errno));
    }
    return ok;
}

int64_t alert_run(const struct conf *c, struct spool *s, int64_t now)
{
    if (c->alert_to_count == 0) {
        return 0;
    }
    int64_t last = read_stamp(s);
    if (last > now) { /* the clock was set back: rather twice than never */
        last = 0;
    }
    if (now < last + ALERT_INTERVAL) {
        return last + ALERT_INTERVAL;
    }
    return send_news(c, s, last, now) ? 0 : now + FAILED_PAUSE;
}
