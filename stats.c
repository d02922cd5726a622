/* Counters in memory that all roles share. */

#include "bridge.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

static struct shared {
    _Atomic int64_t counters[STAT_COUNT];
    _Atomic int64_t forms[FORMS_COUNTED_MAX][FORM_COUNTERS];
} * shared;

/* Each process has those that the parent knew when it was made. */
static char names[FORMS_COUNTED_MAX][FORM_NAME_MAX + 1];
static unsigned named;

static const struct {
    const char *name;
    const char *kind;
    const char *help;
} about[STAT_COUNT] = {
    [STAT_CONNECTIONS] = {"connections_total", "counter", "Connections accepted"},
    [STAT_CONNECTIONS_OPEN] = {"connections_open", "gauge", "Connections open now"},
    [STAT_CONNECTIONS_CAPPED] = {"connections_capped_total", "counter", "Connections closed by a cap"},
    [STAT_CONNECTIONS_NO_PROXY] = {"connections_no_proxy_total", "counter",
                                   "Connections closed for lack of a trusted proxy or its header"},
    [STAT_HANDSHAKES] = {"handshakes_total", "counter", "Full TLS handshakes completed"},
    [STAT_HANDSHAKES_RESUMED] = {"handshakes_resumed_total", "counter",
                                 "TLS handshakes that resumed a session"},
    [STAT_HANDSHAKES_FAILED] = {"handshakes_failed_total", "counter", "TLS handshakes that failed"},
    [STAT_TIMEOUTS] = {"timeouts_total", "counter", "Connections ended by a deadline"},
    [STAT_REQUESTS] = {"requests_total", "counter", "Requests answered"},
    [STAT_REFUSED] = {"refused_total", "counter", "Requests answered with a 4xx status"},
    [STAT_COMMITTED] = {"submissions_committed_total", "counter",
                        "Submissions made durable, repeats not counted"},
    [STAT_COMMIT_FAILED] = {"submissions_failed_total", "counter",
                            "Submissions answered 503 because they could not be stored"},
    [STAT_COMMIT_FAILED_AT] = {"submissions_failing_since_seconds", "gauge",
                               "When the last commit failed, in Unix time, 0 if the last did not"},
    [STAT_COMMIT_SYNCS] = {"commit_syncs_total", "counter", "Flushes asked of the disk for commits"},
    [STAT_REPEATED] = {"submissions_repeated_total", "counter",
                       "Submissions answered with the receipt of an equal one before them"},
    [STAT_ONCE_EVICTED] = {"once_evicted_total", "counter",
                           "Receipts forgotten within once_window because there were too many"},
    [STAT_LIMITED] = {"rate_limited_total", "counter", "Posts answered 429: more than rate or form_rate"},
    [STAT_DELIVERED] = {"messages_delivered_total", "counter", "Messages delivered to all their places"},
    [STAT_DELIVERY_DEFERRED] = {"deliveries_deferred_total", "counter", "Delivery tries that failed for now"},
    [STAT_HELD] = {"messages_held", "gauge", "Messages that need a person"},
    [STAT_QUEUED] = {"messages_queued", "gauge", "Messages waiting for delivery"},
    [STAT_OLDEST] = {"oldest_queued_seconds", "gauge", "Age of the oldest message waiting"},
    [STAT_COURIER] = {"courier_running", "gauge",
                      "1 while a process delivers, else 0: then nothing that waits is tried"},
    [STAT_RELOAD_FAILED_AT] = {"reload_failed_timestamp_seconds", "gauge",
                               "When the last reload was refused, in Unix time, 0 if it was not"},
    [STAT_ROLE_DEATHS] = {"role_deaths_total", "counter",
                          "Processes of formbridge that died and were replaced"},
    [STAT_CERTIFICATE_EXPIRES] = {"certificate_expires_seconds", "gauge",
                                  "End of the TLS certificate, as last checked, in Unix time"},
    [STAT_SEAL_EXPIRES] = {"smime_expires_seconds", "gauge",
                           "First end of an S/MIME certificate in use, in Unix time, 0 if none is"},
    [STAT_SPAM_MARKED] = {"spam_marked_trap_total", "counter",
                          "Marked as spam, mostly for a filled honeypot"},
    [STAT_SPAM_MARKED_TOKEN] = {"spam_marked_token_total", "counter",
                                "Marked as spam, mostly for how it was sent"},
    [STAT_SPAM_MARKED_CONTENT] = {"spam_marked_content_total", "counter",
                                  "Marked as spam, mostly for what it says"},
    [STAT_SPAM_REFUSED] = {"spam_refused_trap_total", "counter",
                           "Refused as spam, mostly for a filled honeypot"},
    [STAT_SPAM_REFUSED_TOKEN] = {"spam_refused_token_total", "counter",
                                 "Refused as spam, mostly for how it was sent"},
    [STAT_SPAM_REFUSED_CONTENT] = {"spam_refused_content_total", "counter",
                                   "Refused as spam, mostly for what it says"},
};

bool stats_open(void)
{
    void *memory = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return false;
    }
    shared = memory;
    return true;
}

void stats_add(enum counter s, int64_t n)
{
    if (shared != NULL) {
        atomic_fetch_add_explicit(&shared->counters[s], n, memory_order_relaxed);
    }
}

void stats_set(enum counter s, int64_t value)
{
    if (shared != NULL) {
        atomic_store_explicit(&shared->counters[s], value, memory_order_relaxed);
    }
}

int64_t stats_get(enum counter s)
{
    return shared == NULL ? 0 : atomic_load_explicit(&shared->counters[s], memory_order_relaxed);
}

unsigned stats_form(const char *name)
{
    for (unsigned i = 0; i < named; i++) {
        if (strcmp(names[i], name) == 0) {
            return i + 1;
        }
    }
    if (named == FORMS_COUNTED_MAX || !text_copy(names[named], sizeof names[0], name)) {
        return 0;
    }
    return ++named;
}

void stats_form_add(unsigned form, enum form_counter c)
{
    if (shared != NULL && form != 0) {
        atomic_fetch_add_explicit(&shared->forms[form - 1][c], 1, memory_order_relaxed);
    }
}

static void write_about(struct buf *out, const char *name, const char *kind, const char *help)
{
    buf_fmt(out, "# HELP formbridge_%s %s\n# TYPE formbridge_%s %s\n", name, help, name, kind);
}

static void write_forms(struct buf *out, enum form_counter c, const char *name, const char *help)
{
    write_about(out, name, "counter", help);
    for (unsigned i = 0; shared != NULL && i < named; i++) { /* names need no escapes, see value_name() */
        int64_t value = atomic_load_explicit(&shared->forms[i][c], memory_order_relaxed);
        buf_fmt(out, "formbridge_%s{form=\"%s\"} %lld\n", name, names[i], (long long)value);
    }
}

void stats_write(struct buf *out)
{
    for (int s = 0; s < STAT_COUNT; s++) {
        int64_t value = stats_get((enum counter)s);
        write_about(out, about[s].name, about[s].kind, about[s].help);
        buf_fmt(out, "formbridge_%s %lld\n", about[s].name,
                (long long)(s == STAT_COURIER ? value != 0 : value));
    }
    write_forms(out, FORM_COMMITTED, "form_submissions_total",
                "Submissions of a form made durable, repeats not counted");
    write_forms(out, FORM_REFUSED, "form_refused_total", "Requests to a form answered with a 4xx status");
}
