/* The server's side of TLS over a non-blocking socket: bytes go between the socket, the engine and the caller as far as
 * they can without waiting. Readiness is edge-triggered: a flag says that a call may succeed, and the call that would
 * block takes it back. */

#include "bridge.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

bool tlsio_start(struct tlsio *t, int fd, struct tls_policy *policy, struct tls_cache *cache)
{
    memset(t, 0, sizeof *t);
    t->fd = fd;
    tls_server(&t->tls, policy, cache);
    br_ssl_engine_set_buffers_bidi(&t->tls.eng, t->in, sizeof t->in, t->out, sizeof t->out);
    if (!tls_server_start(&t->tls)) {
        tlsio_end(t);
        return false;
    }
    return true;
}

void tlsio_end(struct tlsio *t)
{
    close(t->fd);
    explicit_bzero(t, sizeof *t);
    t->fd = -1;
}

void tlsio_event(struct tlsio *t, uint32_t events)
{
    t->leaving = t->leaving || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    t->readable = t->readable || t->leaving || (events & EPOLLIN) != 0; /* trouble shows when it is read */
    t->writable = t->writable || (events & (EPOLLOUT | EPOLLERR)) != 0;
}

static unsigned state(const struct tlsio *t)
{
    return br_ssl_engine_current_state(&t->tls.eng);
}

/* After a call that may not block: was something moved? */
static bool moved(struct tlsio *t, ssize_t n, bool *flag)
{
    if (n < 0 && errno == EAGAIN) {
        *flag = false;
    } else if (n < 0 && errno != EINTR) {
        t->broken = true;
    }
    return n > 0;
}

static bool send_some(struct tlsio *t)
{
    size_t len;
    const unsigned char *bytes =
        t->writable && !t->broken ? br_ssl_engine_sendrec_buf(&t->tls.eng, &len) : NULL;
    if (bytes == NULL) {
        return false;
    }
    ssize_t n = send(t->fd, bytes, len, MSG_NOSIGNAL);
    if (!moved(t, n, &t->writable)) {
        return false;
    }
    t->sent += (uint64_t)n;
    br_ssl_engine_sendrec_ack(&t->tls.eng, (size_t)n);
    return true;
}

static bool receive_some(struct tlsio *t)
{
    size_t len = sizeof t->in;
    unsigned char *room = t->closing ? t->in : br_ssl_engine_recvrec_buf(&t->tls.eng, &len);
    if (room == NULL || !t->readable || t->hung_up || t->broken) {
        return false;
    }
    ssize_t n = recv(t->fd, room, len, 0);
    t->hung_up = n == 0;
    if (!moved(t, n, &t->readable)) {
        return false;
    }
    if (!t->closing) {
        br_ssl_engine_recvrec_ack(&t->tls.eng, (size_t)n);
    }
    return true;
}

bool tlsio_move(struct tlsio *t)
{
    bool any = send_some(t);
    if (t->closing && tlsio_sent(t)) {
        shutdown(t->fd, SHUT_WR); /* harmless when repeated */
    }
    return receive_some(t) || any;
}

bool tlsio_secured(const struct tlsio *t)
{
    return (state(t) & (BR_SSL_SENDAPP | BR_SSL_RECVAPP)) != 0;
}

bool tlsio_over(struct tlsio *t)
{
    if (t->closing) {
        return t->broken || t->hung_up;
    }
    return t->broken || ((state(t) & BR_SSL_CLOSED) != 0 && tlsio_sent(t));
}

const void *tlsio_in(struct tlsio *t, size_t *len)
{
    return t->closing ? NULL : br_ssl_engine_recvapp_buf(&t->tls.eng, len);
}

void tlsio_in_done(struct tlsio *t, size_t len)
{
    br_ssl_engine_recvapp_ack(&t->tls.eng, len);
}

size_t tlsio_put(struct tlsio *t, const void *bytes, size_t len)
{
    size_t done = 0, room;
    unsigned char *out;
    while (done < len && (out = br_ssl_engine_sendapp_buf(&t->tls.eng, &room)) != NULL) {
        size_t n = len - done < room ? len - done : room;
        memcpy(out, (const unsigned char *)bytes + done, n);
        br_ssl_engine_sendapp_ack(&t->tls.eng, n);
        done += n;
    }
    if (done > 0) {
        br_ssl_engine_flush(&t->tls.eng, 0);
    }
    return done;
}

bool tlsio_sent(struct tlsio *t)
{
    size_t len;
    return br_ssl_engine_sendrec_buf(&t->tls.eng, &len) == NULL;
}

void tlsio_close(struct tlsio *t)
{
    size_t len;
    if (t->closing) {
        return;
    }
    while (br_ssl_engine_recvapp_buf(&t->tls.eng, &len) != NULL) { /* with unread data there is no closing */
        br_ssl_engine_recvapp_ack(&t->tls.eng, len);
    }
    br_ssl_engine_close(&t->tls.eng);
    t->closing = true;
}
