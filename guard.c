/* How long a login waits after wrong ones (pure).
 *
 * An address that was wrong waits before its next attempt is even looked at, twice as long each time, and its attempts
 * go one at a time, however many connections it has. Against guessing from many addresses all that have never logged in
 * wait a little longer the more was wrong lately. One that has logged in is spared this, so that the owner is not kept
 * out by others. */

#include "bridge.h"

#include <string.h>

enum {
    FIRST_WAIT = 1000, /* milliseconds */
    LONGEST_WAIT = 30 * 1000,
    FORGET = 3600 * 1000,
    GUARD_CALM = 6 * 1000, /* takes one off the pressure */
    PRESSURE_WAIT = 250,   /* for each of the pressure … */
    PRESSURE_LONGEST = 5000,
};

static const struct guard_peer *find(const struct guard *g, uint64_t id)
{
    for (size_t i = 0; i < COUNT(g->peers); i++) {
        if (g->peers[i].seen != 0 && g->peers[i].id == id) {
            return &g->peers[i];
        }
    }
    return NULL;
}

/* Does a make a better place for a newcomer than b? Who has logged in is forgotten last. */
static bool expendable(const struct guard_peer *a, const struct guard_peer *b)
{
    return a->known != b->known ? b->known : a->seen < b->seen;
}

static struct guard_peer *find_or_make(struct guard *g, uint64_t id, int64_t now)
{
    struct guard_peer *place = &g->peers[0];
    for (size_t i = 0; i < COUNT(g->peers); i++) {
        struct guard_peer *p = &g->peers[i];
        if (p->seen != 0 && p->id == id) {
            if (now - p->seen > FORGET) {
                p->failures = 0;
            }
            return p;
        }
        place = expendable(p, place) ? p : place;
    }
    *place = (struct guard_peer){.id = id, .seen = now};
    return place;
}

static void calm(struct guard *g, int64_t now)
{
    uint64_t steps = (uint64_t)(now - g->calmed) / GUARD_CALM;
    g->calmed += (int64_t)steps * GUARD_CALM;
    g->pressure -= steps < g->pressure ? steps : g->pressure;
    if (g->pressure == 0) {
        g->failures = 0;
        g->calmed = now;
    }
}

static int64_t wait_after(unsigned failures)
{
    int64_t wait = failures == 0 ? 0 : FIRST_WAIT;
    for (unsigned i = 1; i < failures && wait < LONGEST_WAIT; i++) {
        wait *= 2;
    }
    return wait < LONGEST_WAIT ? wait : LONGEST_WAIT;
}

int64_t guard_wait(struct guard *g, uint64_t id, int64_t asked, int64_t now)
{
    calm(g, now);
    struct guard_peer *p = find_or_make(g, id, now);
    int64_t due = p->until;
    if (!p->known) {
        int64_t pressed = g->pressure < PRESSURE_LONGEST / PRESSURE_WAIT
                              ? (int64_t)g->pressure * PRESSURE_WAIT
                              : PRESSURE_LONGEST;
        due = asked + pressed > due ? asked + pressed : due;
    }
    p->seen = now;
    if (due > now) {
        return due - now;
    }
    p->until = now + wait_after(p->failures + 1);
    return 0;
}

static bool is_power_of(uint64_t n, uint64_t base)
{
    while (n > 1 && n % base == 0) {
        n /= base;
    }
    return n == 1;
}

enum guard_alarm guard_result(struct guard *g, uint64_t id, bool right, int64_t now)
{
    struct guard_peer *p = find_or_make(g, id, now);
    p->seen = now;
    if (right) {
        p->failures = 0;
        p->until = now;
        p->known = true;
        return GUARD_QUIET;
    }
    calm(g, now);
    p->failures++;
    p->until = now + wait_after(p->failures);
    g->failures++;
    g->pressure++;
    if (g->failures >= 10 && is_power_of(g->failures, 10)) {
        return GUARD_ALARM;
    }
    return is_power_of(p->failures, 2) ? GUARD_NOTE : GUARD_QUIET;
}

bool guard_known(const struct guard *g, uint64_t id)
{
    const struct guard_peer *p = find(g, id);
    return p != NULL && p->known;
}

unsigned guard_failures(const struct guard *g, uint64_t id)
{
    const struct guard_peer *p = find(g, id);
    return p == NULL ? 0 : p->failures;
}
