/*
 * LD_PRELOAD=slow.so FLUSH_MICROSECONDS=5000: every flush takes so much longer, as on a disk that has no
 * cache it may lie about. For the bench alone: the program itself knows nothing of it.
 */

#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long slow(long call, int fd)
{
    const char *text = getenv("FLUSH_MICROSECONDS");
    long us = text == NULL ? 0 : strtol(text, NULL, 10);
    struct timespec pause = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    nanosleep(&pause, NULL);
    return syscall(call, fd);
}

int fsync(int fd)
{
    return (int)slow(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return (int)slow(SYS_fdatasync, fd);
}

int syncfs(int fd)
{
    return (int)slow(SYS_syncfs, fd);
}
