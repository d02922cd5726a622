/* The listening sockets that the parent holds: over reloads and, where a service manager keeps them meanwhile, over a
 * restart, see sd_listen_fds(3). Who comes between two runs waits in their queues instead of being refused. */

#include "bridge.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    GIVEN_FIRST = 3, /* SD_LISTEN_FDS_START */
    GIVEN_MAX = 4096,
};

struct bound *bound_find(struct bound *list, const struct endpoint *e)
{
    while (list != NULL &&
           (list->at.addr_len != e->addr_len || memcmp(&list->at.addr, &e->addr, e->addr_len) != 0)) {
        list = list->next;
    }
    return list;
}

static bool add(struct bound **list, const struct endpoint *e, int fd)
{
    struct bound *b = malloc(sizeof *b);
    if (b == NULL) {
        return false;
    }
    *b = (struct bound){.next = *list, .at = *e, .fd = fd};
    *list = b;
    return true;
}

/* A unix socket is opened to those who may use it, at a reload too. */
static bool permit(const struct conf *c, const struct endpoint *e)
{
    char why[REASON_SIZE];
    const char *group;
    if (e->addr.ss_family != AF_UNIX) {
        return true;
    }
    if (!listen_group(c, &group)) {
        log_error("%s: its group is not known: set socket_group to a group that exists", e->text);
        return false;
    }
    if (!listen_permit(e, c->socket_mode, group, why, sizeof why)) {
        log_error("%s: %s", e->text, why);
        return false;
    }
    return true;
}

bool bound_open(struct bound **list, const struct conf *c, const struct endpoint *endpoints, size_t count,
                int *fds)
{
    char why[REASON_SIZE];
    for (size_t i = 0; i < count; i++) {
        if (bound_find(*list, &endpoints[i]) == NULL) {
            int fd = listen_at(&endpoints[i], why, sizeof why);
            if (fd < 0 || !add(list, &endpoints[i], fd)) {
                log_error("cannot listen on %s: %s", endpoints[i].text, fd < 0 ? why : strerror(errno));
                if (fd >= 0) {
                    close(fd);
                }
                return false;
            }
        }
        if (!permit(c, &endpoints[i])) {
            return false;
        }
        fds[i] = bound_find(*list, &endpoints[i])->fd;
    }
    return true;
}

void bound_want(struct bound *list, const struct endpoint *endpoints, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct bound *b = bound_find(list, &endpoints[i]);
        if (b != NULL) {
            b->wanted = true;
        }
    }
}

unsigned bound_close_unwanted(struct bound **list)
{
    unsigned closed = 0;
    for (struct bound **at = list; *at != NULL;) {
        struct bound *b = *at;
        if (b->wanted) {
            b->wanted = false;
            at = &b->next;
            continue;
        }
        *at = b->next;
        close(b->fd);
        free(b);
        closed++;
    }
    return closed;
}

/* ---- from one run to the next ---------------------------------------------------------------- */

/* A whole variable that is a number of at most max; 0: it is not. */
static uint64_t number_in(const char *variable, uint64_t max)
{
    const char *text = getenv(variable);
    uint64_t n;
    return text != NULL && text_number(text, strlen(text), &n) && n <= max ? n : 0;
}

/* How many descriptors from GIVEN_FIRST on are meant for this process. The variables are not for its children. */
static int count_given(void)
{
    bool for_us = number_in("LISTEN_PID", INT32_MAX) == (uint64_t)getpid();
    int count = for_us ? (int)number_in("LISTEN_FDS", GIVEN_MAX) : 0;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return count;
}

/* Where a given socket listens. false: it is none that could serve. */
static bool where(int fd, struct endpoint *e)
{
    int listens = 0, only6 = 1;
    socklen_t len = sizeof listens;
    *e = (struct endpoint){.addr_len = sizeof e->addr};
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0 || listens == 0 ||
        getsockname(fd, (struct sockaddr *)&e->addr, &e->addr_len) != 0) {
        return false;
    }
    if (e->addr.ss_family == AF_UNIX) {
        e->addr_len = sizeof(struct sockaddr_un); /* as the config has it */
        return listen_answers(e);                 /* its path may be gone */
    }
    len = sizeof only6;
    if (e->addr.ss_family == AF_INET6 &&
        (getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only6, &len) != 0 || only6 == 0)) {
        log_error("the service manager hands over an IPv6 socket that takes IPv4, too: it needs "
                  "BindIPv6Only=ipv6-only");
        return false;
    }
    return e->addr.ss_family == AF_INET || e->addr.ss_family == AF_INET6;
}

void bound_inherit(struct bound **list)
{
    int end = GIVEN_FIRST + count_given();
    for (int fd = GIVEN_FIRST; fd < end; fd++) {
        struct endpoint e;
        bool good = where(fd, &e) && bound_find(*list, &e) == NULL && listen_again(fd) && add(list, &e, fd);
        if (!good) {
            close(fd);
        }
    }
}

void bound_hand_on(const struct bound *list)
{
    int fds[NOTIFY_KEEP_MAX];
    size_t count = 0;
    notify_forget();
    for (; list != NULL; list = list->next) {
        fds[count++] = list->fd;
        if (count == NOTIFY_KEEP_MAX || list->next == NULL) {
            notify_keep(fds, count);
            count = 0;
        }
    }
}
