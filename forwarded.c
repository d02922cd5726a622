/* Whose request is it that a proxy has passed on, and how did it reach the proxy? X-Forwarded-For,
 * X-Forwarded-Proto, Forwarded (RFC 7239).
 *
 * Each proxy appends whom it heard the request from, so what stands on the left was written by anybody: the visitor is
 * the rightmost who is not a trusted proxy, and only what stands from there on is believed. Pure. */

#include "bridge.h"

#include <string.h>

enum {
    NODE_MAX = 128
}; /* the longest that can mean something: an address and a port, or a made-up name of it */

enum node { NODE_ABSENT, NODE_UNKNOWN, NODE_ADDRESS, NODE_WRONG };
enum proto { PROTO_HTTPS, PROTO_SILENT, PROTO_HTTP }; /* the worst word counts */

struct claim { /* of one kind of field, all its lines together, up to here */
    enum node node;
    struct sockaddr_storage visitor; /* with NODE_ADDRESS */
    enum proto proto;                /* of the legs from the visitor on */
    bool seen;                       /* there is such a field */
    bool torn;                       /* it cannot even be taken apart */
};

struct trust {
    const struct network *list;
    size_t count;
};

static bool same(struct span s, const char *text)
{
    return text_same(s.at, s.len, text);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

/* RFC 7239 §6.3: "_" and then letters, digits, ".", "_", "-". */
static bool is_made_up(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!text_alnum(s.at[i]) && !text_one_of(s.at[i], "._-")) {
            return false;
        }
    }
    return s.len > 1 && s.at[0] == '_';
}

static bool is_port(struct span s)
{
    uint64_t n;
    return is_made_up(s) || (s.len <= 5 && text_number(s.at, s.len, &n) && n <= UINT16_MAX);
}

/* RFC 7239 §6. bare: X-Forwarded-For has no brackets around an IPv6 address, or has them. */
static enum node read_node(struct span s, bool bare, struct sockaddr_storage *out)
{
    if (bare && network_address(out, s.at, s.len)) {
        return NODE_ADDRESS;
    }
    struct span name = s;
    if (s.len > 0 && s.at[0] == '[') {
        const char *bracket = memchr(s.at, ']', s.len);
        if (bracket == NULL) {
            return NODE_WRONG;
        }
        name = (struct span){s.at + 1, (size_t)(bracket - s.at) - 1};
        s.len -= name.len + 2;
        s.at = bracket + 1;
        if (memchr(name.at, ':', name.len) == NULL) {
            return NODE_WRONG;
        }
    } else {
        const char *colon = memchr(s.at, ':', s.len);
        name.len = colon != NULL ? (size_t)(colon - s.at) : s.len;
        s.at += name.len;
        s.len -= name.len;
    }
    if (s.len > 0 && (s.at[0] != ':' || !is_port((struct span){s.at + 1, s.len - 1}))) {
        return NODE_WRONG;
    }
    if (network_address(out, name.at, name.len)) {
        return NODE_ADDRESS;
    }
    return same(name, "unknown") || is_made_up(name) ? NODE_UNKNOWN : NODE_WRONG;
}

static enum proto worst(enum proto a, enum proto b)
{
    return a > b ? a : b;
}

/* One element further to the right: is it the visitor, as far as is known now, or one proxy more on the way? */
static void add_hop(struct claim *c, struct trust t, enum node node, const struct sockaddr_storage *addr,
                    enum proto proto)
{
    bool first = !c->seen;
    c->seen = true;
    if (!first && node == NODE_ADDRESS && network_has(t.list, t.count, addr)) {
        c->proto = worst(c->proto, proto);
        return;
    }
    c->node = node;
    c->proto = proto;
    c->visitor = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    if (node == NODE_ADDRESS) {
        c->visitor = *addr;
    }
}

/* ---- X-Forwarded-For and X-Forwarded-Proto: lists of words ----------------------------------- */

static bool next_item(struct span *rest, struct span *item)
{
    if (rest->at == NULL) {
        return false;
    }
    const char *comma = memchr(rest->at, ',', rest->len);
    size_t len = comma != NULL ? (size_t)(comma - rest->at) : rest->len;
    *item = text_trim((struct span){rest->at, len}, TEXT_BLANKS);
    *rest = comma != NULL ? (struct span){comma + 1, rest->len - len - 1} : (struct span){NULL, 0};
    return true;
}

static void read_for(struct claim *c, struct trust t, struct span value)
{
    struct sockaddr_storage addr = {.ss_family = AF_UNSPEC};
    for (struct span item; next_item(&value, &item);) {
        if (item.len > 0) { /* RFC 9110 §5.6.1.2: empty ones mean nothing */
            add_hop(c, t, read_node(item, true, &addr), &addr, PROTO_SILENT);
        }
    }
}

/* It has no elements that belong to those of X-Forwarded-For, so every word counts. */
static void read_proto(struct claim *c, struct span value)
{
    for (struct span item; next_item(&value, &item);) {
        enum proto p = same(item, "https") ? PROTO_HTTPS : PROTO_HTTP;
        c->proto = c->seen ? worst(c->proto, p) : p;
        c->seen = true;
    }
}

/* ---- Forwarded: lists of pairs --------------------------------------------------------------- */

struct reader {
    const char *at, *end;
};

static void skip_space(struct reader *r)
{
    while (r->at < r->end && text_one_of(*r->at, TEXT_BLANKS)) {
        r->at++;
    }
}

static bool take(struct reader *r, char c)
{
    if (r->at == r->end || *r->at != c) {
        return false;
    }
    r->at++;
    return true;
}

static struct span take_token(struct reader *r)
{
    struct span s = {r->at, text_token(r->at, (size_t)(r->end - r->at))};
    r->at += s.len;
    return s;
}

/* A token or a quoted string (RFC 9110 §5.6.4), without its quotes and backslashes in value; what is longer than a node
 * can be becomes one that means nothing. false: it is neither. */
static bool take_value(struct reader *r, char value[NODE_MAX], size_t *len)
{
    *len = 0;
    if (!take(r, '"')) {
        struct span s = take_token(r);
        *len = s.len < NODE_MAX ? s.len : NODE_MAX;
        memcpy(value, s.at, *len);
        return s.len > 0;
    }
    while (r->at < r->end && *r->at != '"') {
        if (*r->at == '\\' && ++r->at == r->end) {
            return false;
        }
        if (*len < NODE_MAX) {
            value[(*len)++] = *r->at;
        }
        r->at++;
    }
    return take(r, '"');
}

struct element {
    enum node node;
    struct sockaddr_storage addr;
    enum proto proto;
    bool has_for, has_proto, has_any;
};

/* One NAME=VALUE, or nothing at all (RFC 7239 §4). */
static bool read_pair(struct reader *r, struct element *e)
{
    char memory[NODE_MAX];
    size_t len;
    skip_space(r);
    struct span name = take_token(r);
    if (name.len == 0) {
        return true;
    }
    if (!take(r, '=') || !take_value(r, memory, &len)) {
        return false;
    }
    struct span value = {memory, len};
    e->has_any = true;
    if (same(name, "for")) {
        if (e->has_for) { /* each at most once */
            return false;
        }
        e->has_for = true;
        e->node = len < NODE_MAX ? read_node(value, false, &e->addr) : NODE_WRONG;
    } else if (same(name, "proto")) {
        if (e->has_proto) {
            return false;
        }
        e->has_proto = true;
        e->proto = same(value, "https") ? PROTO_HTTPS : PROTO_HTTP;
    }
    skip_space(r);
    return true;
}

/* Cutting it at the wrong quote would let a visitor hide what the proxy appended: one mistake, and none of it counts. */
static void read_forwarded(struct claim *c, struct trust t, struct span value)
{
    struct reader r = {value.at, value.at + value.len};
    do {
        struct element e = {.node = NODE_ABSENT, .proto = PROTO_SILENT};
        do {
            if (!read_pair(&r, &e)) {
                c->torn = true;
                return;
            }
        } while (take(&r, ';'));
        if (e.has_any) {
            add_hop(c, t, e.node, &e.addr, e.proto);
        }
    } while (take(&r, ','));
    c->torn = c->torn || r.at != r.end;
}

/* ---- the head -------------------------------------------------------------------------------- */

struct claims {
    struct claim list, proto, forwarded;
};

static void read_line(struct claims *c, struct trust t, struct span line)
{
    const char *colon = memchr(line.at, ':', line.len);
    if (colon == NULL) {
        return;
    }
    struct span name = {line.at, (size_t)(colon - line.at)};
    struct span value = text_trim((struct span){colon + 1, line.len - name.len - 1}, TEXT_BLANKS);
    if (same(name, "x-forwarded-for")) {
        read_for(&c->list, t, value);
    } else if (same(name, "x-forwarded-proto")) {
        read_proto(&c->proto, value);
    } else if (same(name, "forwarded")) {
        read_forwarded(&c->forwarded, t, value);
    }
}

static bool disagree(const struct claim *a, const struct claim *b)
{
    return a->node != NODE_ABSENT && b->node != NODE_ABSENT &&
           (a->node != b->node || !network_same(&a->visitor, &b->visitor));
}

static enum forwarded_verdict judge(const struct claims *c, struct sockaddr_storage *visitor)
{
    const struct claim *who = c->list.node != NODE_ABSENT ? &c->list : &c->forwarded;
    if (c->forwarded.torn || c->list.node == NODE_WRONG || c->forwarded.node == NODE_WRONG) {
        return FORWARDED_WRONG;
    }
    if (disagree(&c->list, &c->forwarded)) {
        return FORWARDED_TORN;
    }
    *visitor = who->visitor;
    if ((c->proto.seen && c->proto.proto == PROTO_HTTP) ||
        (c->forwarded.seen && c->forwarded.proto == PROTO_HTTP)) {
        return FORWARDED_HTTP;
    }
    bool https = c->proto.seen || (c->forwarded.seen && c->forwarded.proto == PROTO_HTTPS);
    return !https ? FORWARDED_SILENT : who->node == NODE_ABSENT ? FORWARDED_NOBODY : FORWARDED_HTTPS;
}

enum forwarded_verdict forwarded_read(struct sockaddr_storage *visitor, const void *head, size_t len,
                                      const struct network *trusted, size_t trusted_count)
{
    struct claims c = {.list.node = NODE_ABSENT};
    struct span rest = {head, len};
    *visitor = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    for (const char *end; (end = memchr(rest.at, '\n', rest.len)) != NULL;) {
        size_t line = (size_t)(end - rest.at);
        bool cr = line > 0 && end[-1] == '\r';
        read_line(&c, (struct trust){trusted, trusted_count}, (struct span){rest.at, line - cr});
        rest = (struct span){end + 1, rest.len - line - 1};
    }
    return judge(&c, visitor);
}

const char *forwarded_why(enum forwarded_verdict v)
{
    static const char *const why[] = {
        [FORWARDED_HTTPS] = NULL,
        [FORWARDED_HTTP] =
            "Your form came over http, without encryption, as the web server in front of this one says. "
            "The owner of the web site must change the form's action to https://.",
        [FORWARDED_SILENT] =
            "The web server in front of this one does not say that your form came over https. "
            "Its owner must have it set the header X-Forwarded-Proto.",
        [FORWARDED_NOBODY] = "The web server in front of this one does not say where your form came from. "
                             "Its owner must have it set the header X-Forwarded-For.",
        [FORWARDED_WRONG] = "The headers Forwarded or X-Forwarded-For of this request cannot be read.",
        [FORWARDED_TORN] =
            "The headers Forwarded and X-Forwarded-For of this request name different visitors.",
    };
    return why[v];
}
