/* A peer's socket as two sides: bytes on the wire, and clear text. Between them is a BearSSL engine or, for who speaks
 * plain HTTP, only the buffers that the engine would have.
 *
 * Readiness is edge-triggered: a flag says that a call may succeed, and the call that would block takes it back. */

#include "bridge.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    OUT_RECORD =
        16384 + 85, /* a page of ours in one record; what a small one leaves untouched is no memory */
    ROUNDS = 64,    /* of reading away before others have their turn */
};

_Static_assert((int)OUT_RECORD <= (int)STREAM_OUT && (int)BR_SSL_BUFSIZE_INPUT <= (int)STREAM_IN,
               "the engine's buffers have room");

bool stream_open(struct stream *s, int fd, unsigned char *memory, struct tls_policy *policy,
                 struct tls_cache *cache)
{
    s->fd = fd;
    s->secure = policy != NULL;
    s->in = memory;
    s->out = s->in + STREAM_IN;
    s->wire = s->out + STREAM_OUT;
    s->writable = true;
    if (!s->secure) {
        return true;
    }
    tls_server(&s->tls, policy, cache);
    br_ssl_engine_set_buffers_bidi(&s->tls.eng, s->in, BR_SSL_BUFSIZE_INPUT, s->out, OUT_RECORD);
    return tls_server_start(&s->tls);
}

void stream_event(struct stream *s, uint32_t events)
{
    /* Trouble shows when it is read. */
    s->readable = s->readable || (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    s->writable = s->writable || (events & (EPOLLOUT | EPOLLERR)) != 0;
    s->ended = s->ended || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
}

/* ---- clear text ------------------------------------------------------------------------------ */

unsigned char *stream_in(struct stream *s, size_t *len)
{
    if (s->secure) {
        return br_ssl_engine_recvapp_buf(&s->tls.eng, len);
    }
    *len = s->in_len;
    return s->in_len > 0 ? s->in : NULL;
}

void stream_in_done(struct stream *s, size_t len)
{
    if (s->secure) {
        br_ssl_engine_recvapp_ack(&s->tls.eng, len);
        return;
    }
    memmove(s->in, s->in + len, s->in_len - len);
    s->in_len -= len;
}

unsigned char *stream_out(struct stream *s, size_t *len)
{
    if (s->secure) {
        return br_ssl_engine_sendapp_buf(&s->tls.eng, len);
    }
    *len = STREAM_OUT - s->out_len;
    return *len > 0 ? s->out + s->out_len : NULL;
}

static void wrote_in(struct stream *s, const unsigned char *end)
{
    s->large = s->large || end > s->in + STREAM_IN_USUAL;
}

static void wrote_out(struct stream *s, const unsigned char *end)
{
    s->large = s->large || end > s->out + STREAM_OUT_USUAL;
}

void stream_out_done(struct stream *s, const unsigned char *end, size_t len, bool flush)
{
    wrote_out(s, end);
    if (!s->secure) {
        s->out_len += len;
        return;
    }
    br_ssl_engine_sendapp_ack(&s->tls.eng, len);
    if (flush) {
        br_ssl_engine_flush(&s->tls.eng, 0);
    }
}

/* ---- the wire -------------------------------------------------------------------------------- */

static unsigned char *wire_out(const struct stream *s, size_t *len)
{
    if (s->secure) {
        return br_ssl_engine_sendrec_buf(&s->tls.eng, len);
    }
    *len = s->out_len - s->out_pos;
    return *len > 0 ? s->out + s->out_pos : NULL;
}

static void wire_out_done(struct stream *s, size_t len)
{
    if (s->secure) {
        br_ssl_engine_sendrec_ack(&s->tls.eng, len);
        return;
    }
    s->out_pos += len;
    if (s->out_pos == s->out_len) {
        s->out_pos = s->out_len = 0;
    }
}

static unsigned char *wire_in(struct stream *s, size_t *len)
{
    if (s->secure) {
        return br_ssl_engine_recvrec_buf(&s->tls.eng, len);
    }
    *len = STREAM_IN - s->in_len;
    return *len > 0 ? s->in + s->in_len : NULL;
}

static void wire_in_done(struct stream *s, size_t len)
{
    if (s->secure) {
        br_ssl_engine_recvrec_ack(&s->tls.eng, len);
    } else {
        s->in_len += len;
    }
}

bool stream_all_sent(const struct stream *s)
{
    size_t len;
    return wire_out(s, &len) == NULL;
}

/* One call that may not block: bytes moved, 0 at the end of the stream, -1 if it would block or failed (dead). */
static ssize_t moved(struct stream *s, ssize_t n, bool *flag)
{
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        *flag = errno == EINTR;
    } else if (n < 0) {
        s->dead = true;
    }
    return n;
}

/* A record of ours that another follows at once: a ChangeCipherSpec, the ServerHello of a resumed session. The kernel
 * is to send both together. */
static bool goes_on(const unsigned char *record, size_t len)
{
    enum { CHANGE_CIPHER_SPEC = 20, HANDSHAKE = 22, SERVER_HELLO = 2 }; /* RFC 5246 §6.2.1, §7.4 */
    return (len == 6 && record[0] == CHANGE_CIPHER_SPEC) ||
           (len > 9 && record[0] == HANDSHAKE && record[5] == SERVER_HELLO &&
            len - 9 == ((size_t)record[6] << 16 | (size_t)record[7] << 8 | record[8]));
}

bool stream_send(struct stream *s, bool handshake)
{
    size_t len;
    const unsigned char *bytes = s->writable ? wire_out(s, &len) : NULL;
    if (bytes == NULL) {
        return false;
    }
    wrote_out(s, bytes + len);
    int more = handshake && goes_on(bytes, len) ? MSG_MORE : 0;
    ssize_t n = moved(s, send(s->fd, bytes, len, MSG_NOSIGNAL | more), &s->writable);
    if (n > 0) {
        wire_out_done(s, (size_t)n);
    }
    return n > 0;
}

ssize_t stream_peek(struct stream *s, void *bytes, size_t size)
{
    ssize_t n = moved(s, recv(s->fd, bytes, size, MSG_PEEK), &s->readable);
    s->dead = s->dead || n == 0;
    return n;
}

/* Less than was asked for is all there was, and more would be a new edge (epoll(7)); but for the end of the stream,
 * which may have been part of the edge that brought this. */
static ssize_t receive(struct stream *s, unsigned char *room, size_t len)
{
    ssize_t n = moved(s, recv(s->fd, room, len, 0), &s->readable);
    if (n == 0) {
        s->hung_up = true;
    }
    if (n >= 0 && (size_t)n < len && (n == 0 || !s->ended)) {
        s->readable = false;
    }
    return n;
}

/* The engine asks for the five bytes of a record's header and then for the record: what is small comes by way of wire,
 * a request in one call instead of three. */
bool stream_receive(struct stream *s)
{
    size_t len;
    unsigned char *room = wire_in(s, &len);
    if (room == NULL || (s->wire_len == 0 && !s->readable)) {
        return false;
    }
    ssize_t n = 0;
    if (s->wire_len > 0) {
        n = (ssize_t)(len < s->wire_len ? len : s->wire_len);
        memcpy(room, s->wire + s->wire_at, (size_t)n);
        s->wire_at += (size_t)n;
        s->wire_len -= (size_t)n;
    } else if (len >= STREAM_WIRE) {
        n = receive(s, room, len);
    } else {
        n = receive(s, s->wire, STREAM_WIRE);
        s->wire_at = 0;
        s->wire_len = n > 0 ? (size_t)n : 0;
        return n > 0;
    }
    if (n > 0) {
        wrote_in(s, room + n);
        wire_in_done(s, (size_t)n);
    }
    return n > 0;
}

/* ---- the end, and rest ----------------------------------------------------------------------- */

bool stream_secured(const struct stream *s)
{
    return (br_ssl_engine_current_state(&s->tls.eng) & (BR_SSL_SENDAPP | BR_SSL_RECVAPP)) != 0;
}

bool stream_closed(const struct stream *s)
{
    return s->secure && (br_ssl_engine_current_state(&s->tls.eng) & BR_SSL_CLOSED) != 0;
}

void stream_close(struct stream *s)
{
    size_t len;
    if (!s->secure || stream_closed(s)) {
        return;
    }
    if (stream_in(s, &len) != NULL) { /* br_ssl_engine_close() does not work with unread data */
        stream_in_done(s, len);
    }
    br_ssl_engine_close(&s->tls.eng);
}

bool stream_linger(struct stream *s)
{
    if (!stream_all_sent(s)) {
        return true;
    }
    if (!s->finished) { /* a second time would change nothing and yet wake epoll, again and again */
        s->finished = true;
        shutdown(s->fd, SHUT_WR);
    }
    for (int round = 0; s->readable && !s->dead; round++) {
        if (round == ROUNDS) {
            return false;
        }
        s->dead = moved(s, recv(s->fd, s->in, STREAM_IN_USUAL, 0), &s->readable) == 0 || s->dead;
    }
    s->dead = s->dead || s->hung_up;
    return true;
}

/* Only between records, when the engine holds no byte of either buffer. */
void stream_rest(struct stream *s)
{
    size_t len;
    unsigned char *fresh = s->secure ? br_ssl_engine_recvrec_buf(&s->tls.eng, &len) : NULL;
    if (fresh != NULL && len == 5 && stream_all_sent(s)) { /* 5: awaits the header of a record */
        madvise(s->in, STREAM_IN, MADV_DONTNEED);
        madvise(s->out, STREAM_OUT + (s->wire_len == 0 ? STREAM_WIRE : 0), MADV_DONTNEED);
    }
}
