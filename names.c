/* A table of things by their name in the spool: a hash with chains, which grows and never shrinks. */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS_MIN = 1024 };

/* FNV-1a. The names are ours: nobody can choose them to collide. bucket_count is a power of two. */
static size_t bucket_of(const struct names *n, const char *name)
{
    uint32_t hash = 2166136261U;
    for (; *name != '\0'; name++) {
        hash = (hash ^ (unsigned char)*name) * 16777619U;
    }
    return hash & (n->bucket_count - 1);
}

static void put(struct names *n, struct named *thing)
{
    size_t b = bucket_of(n, thing->name);
    thing->chain = n->buckets[b];
    n->buckets[b] = thing;
}

/* Without memory for more buckets the chains only grow longer. */
static void grow(struct names *n)
{
    struct names old = *n;
    size_t count = old.bucket_count == 0 ? BUCKETS_MIN : old.bucket_count * 2;
    struct named **buckets = calloc(count, sizeof(struct named *));
    if (buckets == NULL) {
        return;
    }
    n->buckets = buckets;
    n->bucket_count = count;
    for (size_t i = 0; i < old.bucket_count; i++) {
        for (struct named *thing = old.buckets[i], *next; thing != NULL; thing = next) {
            next = thing->chain;
            put(n, thing);
        }
    }
    free(old.buckets);
}

bool names_add(struct names *n, struct named *thing, const char *name)
{
    if (n->count >= n->bucket_count) {
        grow(n);
    }
    if (n->bucket_count == 0 || !text_copy(thing->name, sizeof thing->name, name)) {
        return false;
    }
    put(n, thing);
    n->count++;
    return true;
}

struct named *names_find(const struct names *n, const char *name)
{
    struct named *thing = n->bucket_count == 0 ? NULL : n->buckets[bucket_of(n, name)];
    while (thing != NULL && strcmp(thing->name, name) != 0) {
        thing = thing->chain;
    }
    return thing;
}

void names_remove(struct names *n, struct named *thing)
{
    struct named **p = &n->buckets[bucket_of(n, thing->name)];
    while (*p != thing) {
        p = &(*p)->chain;
    }
    *p = thing->chain;
    n->count--;
}

void names_each(const struct names *n, void (*each)(void *arg, struct named *thing), void *arg)
{
    for (size_t i = 0; i < n->bucket_count; i++) {
        for (struct named *thing = n->buckets[i], *next; thing != NULL; thing = next) {
            next = thing->chain;
            each(arg, thing);
        }
    }
}

void names_free(struct names *n)
{
    free(n->buckets);
    *n = (struct names){.buckets = NULL};
}
