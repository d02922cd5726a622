/* Listening sockets: made, and those with a path owned and replaced with care. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

static const char *path_of(const struct endpoint *e)
{
    return ((const struct sockaddr_un *)(const void *)&e->addr)->sun_path;
}

bool listen_answers(const struct endpoint *e)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool answers = fd < 0 || connect(fd, (const struct sockaddr *)&e->addr, e->addr_len) == 0 ||
                   (errno != ECONNREFUSED && errno != ENOENT && errno != ENOTDIR);
    if (fd >= 0) {
        close(fd);
    }
    return answers;
}

/* Makes room for the path of a socket: removes what an earlier run has left, and nothing else. */
static bool clear_path(const struct endpoint *e, char *why, size_t why_size)
{
    struct stat st;
    if (lstat(path_of(e), &st) != 0) {
        return true; /* nothing there; or bind(2) will say what is wrong */
    }
    if (!S_ISSOCK(st.st_mode)) {
        text_fmt(why, why_size, "there is a file of that name, which is no socket: choose another path");
        return false;
    }
    if (listen_answers(e)) {
        text_fmt(why, why_size, "another program listens there");
        return false;
    }
    if (unlink(path_of(e)) != 0) {
        text_fmt(why, why_size, "the socket of an earlier run cannot be removed: %s", strerror(errno));
        return false;
    }
    return true;
}

int listen_at(const struct endpoint *e, char *why, size_t why_size)
{
    if (e->addr.ss_family == AF_UNIX && !clear_path(e, why, why_size)) {
        return -1;
    }
    int fd = socket(e->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd >= 0 && e->addr.ss_family != AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    }
    if (fd >= 0 && e->addr.ss_family == AF_INET6) { /* 0.0.0.0 and [::] are two entries of the config */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    }
    if (fd < 0 || bind(fd, (const struct sockaddr *)&e->addr, e->addr_len) != 0 || listen(fd, BACKLOG) != 0) {
        const char *hint =
            errno == EADDRINUSE ? ": another program listens there"
            : errno == EADDRNOTAVAIL
                ? ": this machine has no such address now; name one of its own, or 0.0.0.0 or [::]"
            : errno == EAFNOSUPPORT ? ": this machine has no addresses of this kind; take it out of the list"
                                    : "";
        if (errno == EACCES) {
            hint = e->addr.ss_family == AF_UNIX
                       ? ": who starts formbridge must be able to write its directory"
                       : ": ports below 1024 need root or CAP_NET_BIND_SERVICE";
        }
        text_fmt(why, why_size, "%s%s", strerror(errno), hint);
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

bool listen_again(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
           listen(fd, BACKLOG) == 0;
}

bool listen_group(const struct conf *c, const char **group)
{
    static char name[256];
    *group = c->socket_group;
    if (c->socket_group != NULL) {
        return getgrnam(c->socket_group) != NULL;
    }
    if (c->user == NULL) {
        return true;
    }
    const struct passwd *pw = getpwnam(c->user);
    const struct group *gr = pw != NULL ? getgrgid(pw->pw_gid) : NULL;
    *group = name;
    return gr != NULL && text_copy(name, sizeof name, gr->gr_name);
}

/* By a descriptor of the socket itself: whoever may write the directory must not have the rights of another file
 * changed. */
bool listen_permit(const struct endpoint *e, unsigned mode, const char *group, char *why, size_t why_size)
{
    char link[64];
    struct stat st;
    const struct group *gr = group != NULL ? getgrnam(group) : NULL;
    if (group != NULL && gr == NULL) {
        text_fmt(why, why_size, "group %s does not exist", group);
        return false;
    }
    int fd = open(path_of(e), O_PATH | O_NOFOLLOW | O_CLOEXEC);
    bool ok = fd >= 0 && fstat(fd, &st) == 0;
    if (ok && !S_ISSOCK(st.st_mode)) {
        errno = ENOTSOCK;
        ok = false;
    }
    ok = ok && (gr == NULL || st.st_gid == gr->gr_gid ||
                fchownat(fd, "", (uid_t)-1, gr->gr_gid, AT_EMPTY_PATH) == 0);
    if (ok) {
        text_fmt(link, sizeof link, "/proc/self/fd/%d", fd);
        ok = chmod(link, mode) == 0;
    }
    if (!ok) {
        text_fmt(why, why_size, "its mode cannot be made %04o%s%s: %s", mode,
                 group != NULL ? " and its group " : "", group != NULL ? group : "", strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}
