/* A secret of this installation: random bytes in a file of the spool, made when it is first needed, so that what was
 * signed before a restart is still good after it. */

#include "bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

bool secret_read(int directory, const char *name, unsigned char out[SECRET_SIZE])
{
    struct stat st;
    unsigned char more;
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t n = -1;
    int error = fstat(fd, &st) == 0 ? 0 : errno;
    bool ok = error == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
              (st.st_mode & (S_IRWXG | S_IRWXO)) == 0;
    if (ok) {
        n = read(fd, out, SECRET_SIZE);
        n = n == SECRET_SIZE ? read(fd, &more, 1) : n < 0 ? n : 1;
        error = n < 0 ? errno : 0;
    }
    close(fd);
    errno = error;
    return ok && n == 0;
}

static bool write_secret(int directory, const char *name, const unsigned char secret[SECRET_SIZE])
{
    char fresh[SPOOL_NAME_SIZE];
    if (!text_fmt(fresh, sizeof fresh, "%s.new", name)) {
        errno = ENAMETOOLONG;
        return false;
    }
    int fd = openat(directory, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return false;
    }
    bool ok = spool_write(fd, secret, SECRET_SIZE) && fsync(fd) == 0 &&
              renameat(directory, fresh, directory, name) == 0 && fsync(directory) == 0;
    int error = errno;
    close(fd);
    if (!ok) {
        unlinkat(directory, fresh, 0);
    }
    errno = error;
    return ok;
}

bool secret_load(int directory, const char *name, unsigned char out[SECRET_SIZE])
{
    if (secret_read(directory, name, out)) {
        return true;
    }
    if (errno == 0) {
        log_warn("%s in the spool is not ours alone, or not whole: it is replaced by a new one", name);
    } else if (errno != ENOENT && errno != ELOOP) { /* one is there, and may be read the next time */
        return false;
    }
    if (getrandom(out, SECRET_SIZE, 0) != SECRET_SIZE) {
        return false;
    }
    return write_secret(directory, name, out);
}
