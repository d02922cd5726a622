/*
 * load HOST PORT MODE CLIENTS SECONDS BODY PATH [CONNECTIONS]
 *
 * Posts a form over TLS 1.2 as CLIENTS for SECONDS, and prints one line: requests per second, median and 99th percentile
 * of the latency in microseconds, requests answered with success, failures, and the CPU seconds it took itself.
 * BODY is the size of an urlencoded form, or with a "u" behind it of the file in a multipart one.
 * MODE: new (a full handshake each), resume (a resumed one each), keep (one connection a client, or CONNECTIONS in all,
 * each in its turn), shake and reshake (a full or a resumed handshake each and no request).
 * Latency includes the connection and handshake where there is one. A client waits for its answer before it asks again.
 * OpenSSL, one event loop for each core, so that the clients leave the server as much of the machine as they can.
 * What is made beforehand (sessions to resume, connections to keep and a GET over each) is not measured: "go" on stderr
 * says when it starts.
 */

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    SAMPLES = 1 << 20,
    EVENTS = 64,
    PATIENCE = 30, /* seconds without any event: what is open has failed */
    ANSWER_MAX = 65536,
};

struct client {
    SSL **kept;  /* its connections, one at a time in use */
    size_t turn; /* which */
    SSL_SESSION *session;
    enum { SHAKES, WRITES, READS } state;
    char *request; /* its own copy, for the number in it */
    char *answer;
    size_t have; /* of the answer */
    double start;
};

/* Some of the clients, on one core. */
struct loop {
    pthread_t thread;
    struct client *clients;
    size_t count, busy;
    int epoll;
};

static struct addrinfo *target;
static SSL_CTX *context;
static char *request;
static size_t request_len;
static size_t
    number_at; /* in the request, 16 bytes that differ in each, so that none is a repeat; 0: no room */
static enum { MODE_NEW, MODE_RESUME, MODE_KEEP, MODE_SHAKE, MODE_RESHAKE } mode;
static double begun, deadline, seconds, cpu_begun;
static pthread_barrier_t ready;
static size_t connections; /* of each client, that are kept */
static uint32_t *samples;
static _Atomic size_t done, failed, asked;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static SSL *connection(SSL_SESSION *session, int flags)
{
    int fd = socket(target->ai_family, SOCK_STREAM | flags, 0);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct timeval patience = {.tv_sec = PATIENCE};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    SSL *ssl = SSL_new(context);
    if ((connect(fd, target->ai_addr, target->ai_addrlen) != 0 && errno != EINPROGRESS) ||
        !SSL_set_fd(ssl, fd) || (session != NULL && !SSL_set_session(ssl, session))) {
        SSL_free(ssl);
        close(fd);
        return NULL;
    }
    return ssl;
}

static void hang_up(SSL *ssl)
{
    if (ssl != NULL) {
        int fd = SSL_get_fd(ssl);
        SSL_shutdown(ssl);
        SSL_free(ssl);
        close(fd);
    }
}

/* Is it all there? */
static int whole(const struct client *c)
{
    c->answer[c->have] = '\0';
    char *end = strstr(c->answer, "\r\n\r\n");
    char *length = strcasestr(c->answer, "\r\ncontent-length:");
    if (end == NULL) {
        return 0;
    }
    size_t body = length == NULL || length > end ? 0 : strtoul(length + 17, NULL, 10);
    return c->have >= (size_t)(end + 4 - c->answer) + body;
}

/* 2xx or 3xx */
static int success(const struct client *c)
{
    return c->answer[9] == '2' || c->answer[9] == '3';
}

/* One that waits, for what is made beforehand; has a first request behind it, with all that it costs to make ready
 * for one. */
static SSL *dial_warm(struct client *c)
{
    static const char get[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    SSL *ssl = connection(NULL, 0);
    int n = ssl != NULL && SSL_connect(ssl) == 1 ? SSL_write(ssl, get, sizeof get - 1) : 0;
    for (c->have = 0; n > 0;) {
        n = SSL_read(ssl, c->answer + c->have, (int)(ANSWER_MAX - 1 - c->have));
        c->have += n > 0 ? (size_t)n : 0;
        if (n > 0 && whole(c)) {
            return ssl;
        }
    }
    hang_up(ssl);
    return NULL;
}

/* All clients are ready: from here on the time counts. */
static void wait_for_all(void)
{
    if (pthread_barrier_wait(&ready) == PTHREAD_BARRIER_SERIAL_THREAD) {
        fputs("go\n", stderr);
        begun = now();
        cpu_begun = cpu_seconds();
        deadline = begun + seconds;
    }
    pthread_barrier_wait(&ready);
}

static void watch(struct loop *l, struct client *c, SSL *ssl)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    epoll_ctl(l->epoll, EPOLL_CTL_ADD, SSL_get_fd(ssl), &e);
}

static void make_ready(struct loop *l, struct client *c)
{
    c->kept = calloc(connections, sizeof(SSL *));
    c->answer = malloc(ANSWER_MAX);
    c->request = malloc(request_len);
    memcpy(c->request, request, request_len);
    if (mode == MODE_RESUME || mode == MODE_RESHAKE) {
        SSL *first = dial_warm(c);
        c->session = first == NULL ? NULL : SSL_get1_session(first);
        hang_up(first);
    }
    for (size_t i = 0; mode == MODE_KEEP && i < connections; i++) {
        SSL *ssl = c->kept[i] = dial_warm(c);
        if (ssl != NULL) {
            fcntl(SSL_get_fd(ssl), F_SETFL, O_NONBLOCK);
            watch(l, c, ssl);
        }
    }
}

/* false: the time is over. */
static int begin(struct loop *l, struct client *c)
{
    char number[17];
    c->start = now();
    if (c->start >= deadline) {
        return 0;
    }
    c->have = 0;
    c->state = WRITES;
    if (c->kept[c->turn] == NULL) {
        c->state = SHAKES;
        c->kept[c->turn] = connection(c->session, SOCK_NONBLOCK);
        if (c->kept[c->turn] != NULL) {
            watch(l, c, c->kept[c->turn]);
        }
    }
    if (number_at != 0) {
        snprintf(number, sizeof number, "%016zx", atomic_fetch_add(&asked, 1));
        memcpy(c->request + number_at, number, sizeof number - 1);
    }
    return 1;
}

static void end(struct client *c, int ok)
{
    if (ok) {
        size_t at = atomic_fetch_add(&done, 1);
        samples[at % SAMPLES] = (uint32_t)((now() - c->start) * 1e6);
    } else {
        atomic_fetch_add(&failed, 1);
    }
    if (!ok || mode != MODE_KEEP) {
        hang_up(c->kept[c->turn]);
        c->kept[c->turn] = NULL;
    }
    c->turn = (c->turn + 1) % connections;
}

/* As far as it goes: 1 and -1 are the end, good or bad, 0 waits. */
static int step(struct client *c)
{
    SSL *ssl = c->kept[c->turn];
    int n = 0;
    if (ssl == NULL) {
        return -1;
    }
    ERR_clear_error();
    if (c->state == SHAKES) {
        n = SSL_connect(ssl);
        if (n == 1) {
            c->state = WRITES;
            if ((c->session != NULL) != (SSL_session_reused(ssl) == 1)) {
                return -1;
            }
            if (mode == MODE_SHAKE || mode == MODE_RESHAKE) {
                return 1;
            }
        }
    }
    if (c->state == WRITES) {
        n = SSL_write(ssl, c->request, (int)request_len);
        if (n == (int)request_len) {
            c->state = READS;
            return 0; /* it cannot have answered yet */
        }
    }
    while (c->state == READS &&
           (n = SSL_read(ssl, c->answer + c->have, (int)(ANSWER_MAX - 1 - c->have))) > 0) {
        c->have += (size_t)n;
        if (whole(c)) {
            return success(c) ? 1 : -1;
        }
    }
    int why = SSL_get_error(ssl, n);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

/* Until it has to wait, or has no time left. */
static void drive(struct loop *l, struct client *c)
{
    for (int result; (result = step(c)) != 0;) {
        end(c, result > 0);
        if (!begin(l, c)) {
            l->busy--;
            c->start = 0;
            return;
        }
    }
}

static void *run(void *arg)
{
    struct loop *l = arg;
    struct epoll_event events[EVENTS];
    for (size_t i = 0; i < l->count; i++) {
        make_ready(l, &l->clients[i]);
    }
    wait_for_all();
    l->busy = l->count;
    for (size_t i = 0; i < l->count; i++) {
        begin(l, &l->clients[i]);
        drive(l, &l->clients[i]);
    }
    for (int n = 1; l->busy > 0 && n > 0;) {
        n = epoll_wait(l->epoll, events, EVENTS, PATIENCE * 1000);
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (c->start != 0) {
                drive(l, c);
            }
        }
    }
    atomic_fetch_add(&failed, l->busy);
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void put_head(const char *host, const char *path, const char *type, size_t length)
{
    request = malloc(length + 4096);
    int n = snprintf(request, 4096,
                     "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s\r\n",
                     path, host, type, length, mode == MODE_KEEP ? "" : "Connection: close\r\n");
    request_len = (size_t)n;
}

static void put(const void *bytes, size_t len)
{
    memcpy(request + request_len, bytes, len);
    request_len += len;
}

static void make_request(const char *host, const char *path, size_t body)
{
    static const char start[] = "name=Ada&email=ada%40example.com&item=tea&message=";
    size_t filler = body > sizeof start ? body - (sizeof start - 1) : 0;
    put_head(host, path, "application/x-www-form-urlencoded", sizeof start - 1 + filler);
    put(start, sizeof start - 1);
    number_at = filler > 16 ? request_len : 0;
    memset(request + request_len, 'x', filler);
    request_len += filler;
}

/* As a browser sends it, with a file of bytes that nothing can press together. */
static void make_upload(const char *host, const char *path, size_t size)
{
    static const char start[] =
        "------bench\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nAda\r\n"
        "------bench\r\nContent-Disposition: form-data; name=\"email\"\r\n\r\nada@example.com\r\n"
        "------bench\r\nContent-Disposition: form-data; name=\"item\"\r\n\r\ntea\r\n"
        "------bench\r\nContent-Disposition: form-data; name=\"message\"\r\n\r\n";
    static const char middle[] =
        "0123456789abcdef\r\n------bench\r\nContent-Disposition: form-data; name=\"photo\"; "
        "filename=\"photo.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n";
    static const char end[] = "\r\n------bench--\r\n";
    put_head(host, path, "multipart/form-data; boundary=----bench",
             sizeof start - 1 + sizeof middle - 1 + size + sizeof end - 1);
    put(start, sizeof start - 1);
    number_at = request_len;
    put(middle, sizeof middle - 1);
    uint32_t x = 2463534242; /* xorshift */
    for (size_t i = 0; i < size; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        request[request_len++] = (char)x;
    }
    put(end, sizeof end - 1);
}

int main(int argc, char **argv)
{
    if (argc != 8 && argc != 9) {
        fprintf(
            stderr,
            "usage: load HOST PORT new|resume|keep|shake|reshake CLIENTS SECONDS BODY PATH [CONNECTIONS]\n");
        return 64;
    }
    static const char *const names[] = {"new", "resume", "keep", "shake", "reshake"};
    for (int i = 0; i < 5; i++) {
        if (strcmp(argv[3], names[i]) == 0) {
            mode = i;
        }
    }
    int clients = (int)strtol(argv[4], NULL, 10);
    if (getaddrinfo(argv[1], argv[2], NULL, &target) != 0 || clients < 1 || clients > 1024) {
        return 64;
    }
    connections = argc == 9 ? strtoul(argv[8], NULL, 10) / (size_t)clients : 1;
    connections = connections == 0 ? 1 : connections;
    char *unit = argv[6];
    size_t size = strtoul(argv[6], &unit, 10);
    (*unit == 'u' ? make_upload : make_request)(argv[1], argv[7], size);
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_session_cache_mode(context,
                                   SSL_SESS_CACHE_OFF); /* a session is reused where MODE says so only */
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_read_ahead(context, 1); /* a record's header and the rest of it with one read */
    samples = calloc(SAMPLES, sizeof *samples);
    struct timespec t; /* so that this run repeats no other's posts */
    clock_gettime(CLOCK_REALTIME, &t);
    asked = (size_t)t.tv_sec * 1000000000 + (size_t)t.tv_nsec;
    seconds = strtod(argv[5], NULL);
    size_t count = (size_t)sysconf(_SC_NPROCESSORS_ONLN);
    count = count < (size_t)clients ? count : (size_t)clients;
    pthread_barrier_init(&ready, NULL, (unsigned)count);
    struct loop *loops = calloc(count, sizeof *loops);
    for (size_t i = 0; i < count; i++) {
        loops[i].epoll = epoll_create1(0);
        loops[i].count = ((size_t)clients + count - 1 - i) / count;
        loops[i].clients = calloc(loops[i].count, sizeof(struct client));
        pthread_create(&loops[i].thread, NULL, run, &loops[i]);
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(loops[i].thread, NULL);
    }
    double took = now() - begun;
    size_t n = done < SAMPLES ? done : SAMPLES;
    qsort(samples, n, sizeof *samples, by_size);
    printf("%.1f %u %u %zu %zu %.3f\n", (double)done / took, n ? samples[n / 2] : 0,
           n ? samples[n * 99 / 100] : 0, (size_t)done, (size_t)failed, cpu_seconds() - cpu_begun);
    return done == 0;
}
