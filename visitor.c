/* Who is at the other end: the peer itself, or whom a proxy names. */

#include "bridge.h"

void visitor_name(struct visitor *v, const struct sockaddr_storage *addr)
{
    v->addr = *addr;
    v->protocol = "HTTPS";
    if (!network_text(addr, v->text)) {
        text_copy(v->text, sizeof v->text, addr->ss_family == AF_UNIX ? "local" : "unknown");
    }
}

void visitor_passed_on(struct visitor *v, const struct sockaddr_storage *addr)
{
    text_copy(v->via, sizeof v->via, v->text);
    visitor_name(v, addr);
}

void visitor_secured(struct visitor *v, const char *suite, const char *curve)
{
    text_fmt(v->tls, sizeof v->tls, "TLS1.2 %s %s%s%s", suite, curve,
             v->via[0] != '\0' ? ", passed on by " : "", v->via);
}

unsigned visitor_forwarded(struct visitor *v, const struct conf *c, const void *head, size_t len, bool post,
                           const char **why)
{
    static int64_t reported;
    struct sockaddr_storage addr;
    enum forwarded_verdict verdict =
        forwarded_read(&addr, head, len, c->trusted_proxies, c->trusted_proxy_count);
    *why = forwarded_why(verdict);
    if (verdict == FORWARDED_WRONG || verdict == FORWARDED_TORN) {
        return 400;
    }
    if (verdict == FORWARDED_SILENT || verdict == FORWARDED_NOBODY) {
        log_seldom(&reported,
                   "the proxy in front must set X-Forwarded-For and X-Forwarded-Proto: forms are %s",
                   post ? "refused" : "going to be refused");
    }
    if (post && verdict != FORWARDED_HTTPS) {
        return 403;
    }
    visitor_name(v, &addr);
    v->protocol = "HTTP";
    text_copy(v->tls, sizeof v->tls, "HTTPS up to the proxy on this machine");
    return 0;
}
