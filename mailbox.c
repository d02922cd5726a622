/* What Maildir and mbox have in common: a message of the spool to be read, and failures in words.
 *
 * A full disk, a quota, a missing directory or a wrong owner is for a person to repair, and the mail waits: no
 * failure here is permanent. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { HEAD_MAX = 32 * 1024 }; /* of a message, which begins with its header: so far it is looked at */

const char *mailbox_remedy(int error)
{
    switch (error) {
    case ENOENT: return "create it and reload formbridge, or set another `deliver`";
    case ENOTDIR: return "a part of the path is a file; set another `deliver`";
    case EACCES:
    case EPERM: /* Landlock, too: it knows the directory that was there at the start */
        return "give the user of [bridge] the right to write there, and reload formbridge if it was made "
               "anew";
    case EROFS: return "mount it writable again";
    case ENOSPC: return "make room on its disk";
    case EDQUOT: return "raise the quota of its owner, or make room";
    case EIO: return "its disk fails: see the kernel's log";
    case ELOOP: return "it must not be a symbolic link";
    case EFBIG: return "it may not grow further: archive it, or use a Maildir";
    case EMFILE:
    case ENFILE: return "too many files are open: raise LimitNOFILE";
    default: return "see that the user of [bridge] can write there";
    }
}

void mailbox_fail(struct result *r, const char *what, const char *path, int error)
{
    r->outcome = OUTCOME_TEMPORARY;
    text_fmt(r->reason, sizeof r->reason, "%s %s: %s; %s", what, path, strerror(error),
             mailbox_remedy(error));
}

ssize_t mailbox_read(int fd, void *bytes, size_t len)
{
    ssize_t n;
    do {
        n = read(fd, bytes, len);
    } while (n < 0 && errno == EINTR);
    return n;
}

void mailbox_unread(struct parcel *p, int error)
{
    p->unread = true;
    p->result.outcome = OUTCOME_TEMPORARY;
    text_fmt(p->result.reason, sizeof p->result.reason, "cannot read the queued message %s: %s%s", p->name,
             strerror(error),
             error == EIO      ? "; its disk fails: see the kernel's log"
             : error == EACCES ? "; give that file to the user of [bridge]"
                               : "");
}

/* The value of X-Formbridge-Form among these bytes of a message; len 0: there is no such field. */
static struct span form_in(const char *bytes, size_t len)
{
    static const char name[] = "\nX-Formbridge-Form: ";
    const char *end = memmem(bytes, len, "\n\n", 2);
    len = end != NULL ? (size_t)(end - bytes) + 1 : len;
    const char *at = memmem(bytes, len, name, sizeof name - 1);
    const char *value = at != NULL ? at + sizeof name - 1 : bytes + len;
    const char *line_end = memchr(value, '\n', len - (size_t)(value - bytes));
    return (struct span){value, line_end != NULL ? (size_t)(line_end - value) : 0};
}

bool mailbox_is_of(int fd, const char *form, struct result *r)
{
    char bytes[HEAD_MAX];
    ssize_t n = pread(fd, bytes, sizeof bytes, 0);
    size_t len = n > 0 ? (size_t)n : 0;
    struct span named = form_in(bytes, len);
    bool is = named.len == 0 || (named.len == strlen(form) && memcmp(named.at, form, named.len) == 0);
    explicit_bzero(bytes, len);
    if (!is) {
        r->outcome = OUTCOME_PERMANENT;
        text_fmt(r->reason, sizeof r->reason,
                 "its file is named as one of form %s, but its header names another (X-Formbridge-Form): "
                 "give the file "
                 "its name back, or, if it was you who renamed it, change the header, too",
                 form);
    }
    return is;
}

int mailbox_open(struct spool *s, struct parcel *p)
{
    int fd = openat(s->queue, p->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        mailbox_unread(p, errno);
    } else if (!mailbox_is_of(fd, p->form, &p->result)) {
        p->unread = true;
        close(fd);
        fd = -1;
    }
    return fd;
}
