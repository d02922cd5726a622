/* What the service manager is told: sd_notify(3), whose protocol is a datagram to the socket that NOTIFY_SOCKET names. */

#include "bridge.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BARRIER_MAX = 5000 }; /* milliseconds */

/* With descriptors, which the manager gets copies of. */
static void tell_with(const char *state, const int *fds, size_t count)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (path == NULL || (path[0] != '/' && path[0] != '@') ||
        !text_copy(to.sun_path, sizeof to.sun_path, path)) {
        return;
    }
    struct iovec text = {.iov_base = (void *)(uintptr_t)state, .iov_len = strlen(state)};
    struct msghdr message = {.msg_name = &to,
                             .msg_namelen =
                                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)),
                             .msg_iov = &text,
                             .msg_iovlen = 1};
    if (path[0] == '@') { /* of the abstract namespace, see unix(7) */
        to.sun_path[0] = '\0';
    }
    union {
        struct cmsghdr head; /* for the alignment */
        char bytes[CMSG_SPACE(NOTIFY_KEEP_MAX * sizeof(int))];
    } rights = {.bytes = {0}};
    if (count > 0) { /* SCM_RIGHTS, see unix(7) */
        message.msg_control = rights.bytes;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        rights.head = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(count * sizeof(int))};
        memcpy(CMSG_DATA(&rights.head), fds, count * sizeof(int));
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        close(fd);
    }
}

static void tell(const char *state)
{
    tell_with(state, NULL, 0);
}

void notify_ready(void)
{
    tell("READY=1");
}

void notify_reloading(void)
{
    char state[64];
    text_fmt(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, clock_ns() / 1000);
    tell(state);
}

void notify_stopping(void)
{
    tell("STOPPING=1");
}

void notify_keep(const int *fds, size_t count)
{
    tell_with("FDSTORE=1\nFDNAME=listen", fds, count);
}

void notify_forget(void)
{
    tell("FDSTOREREMOVE=1\nFDNAME=listen");
}

/* It closes the descriptor when all that came before has been done (sd_notify_barrier(3)). */
void notify_wait(void)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return;
    }
    tell_with("BARRIER=1", &ends[1], 1);
    close(ends[1]);
    struct pollfd p = {.fd = ends[0]};
    poll(&p, 1, BARRIER_MAX);
    close(ends[0]);
}
