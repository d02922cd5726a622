/*
 * disk DIRECTORY THREADS SECONDS BYTES [GROUP]
 *
 * What the disk can do: files of BYTES made durable under a final name, by THREADS threads, each one with
 * create, write, fsync, rename, fsync of the directory; or with GROUP, by one thread that writes GROUP files, calls
 * syncfs once, renames them all and syncs the directory once. Prints files per second and the median in microseconds.
 */

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES = 1 << 20 };

static int tmp, queue;
static size_t bytes;
static unsigned group;
static char *content;
static double deadline;
static _Atomic size_t done;
static uint32_t *samples;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(int ok)
{
    if (!ok) {
        perror("disk");
        exit(1);
    }
}

static int make(const char *name)
{
    int fd = openat(tmp, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    must(fd >= 0 && write(fd, content, bytes) == (ssize_t)bytes);
    return fd;
}

static void *single(void *arg)
{
    for (unsigned i = 0; now() < deadline; i++) {
        char name[64];
        double start = now();
        snprintf(name, sizeof name, "%zu.%u", (size_t)arg, i);
        int fd = make(name);
        must(fsync(fd) == 0 && close(fd) == 0);
        must(renameat(tmp, name, queue, name) == 0 && fsync(queue) == 0);
        samples[atomic_fetch_add(&done, 1) % SAMPLES] = (uint32_t)((now() - start) * 1e6);
    }
    return NULL;
}

static void *grouped(void *arg)
{
    (void)arg;
    for (unsigned i = 0; now() < deadline; i++) {
        char name[64];
        double start = now();
        for (unsigned k = 0; k < group; k++) {
            snprintf(name, sizeof name, "%u.%u", i, k);
            must(close(make(name)) == 0);
        }
        must(syncfs(tmp) == 0);
        for (unsigned k = 0; k < group; k++) {
            snprintf(name, sizeof name, "%u.%u", i, k);
            must(renameat(tmp, name, queue, name) == 0);
        }
        must(fsync(queue) == 0);
        samples[atomic_fetch_add(&done, group) % SAMPLES] = (uint32_t)((now() - start) * 1e6);
    }
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: disk DIRECTORY THREADS SECONDS BYTES [GROUP]\n");
        return 64;
    }
    size_t threads = strtoul(argv[2], NULL, 10);
    bytes = strtoul(argv[4], NULL, 10);
    group = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 10) : 0;
    content = malloc(bytes + 1);
    memset(content, 'x', bytes);
    samples = calloc(SAMPLES, sizeof *samples);
    must(chdir(argv[1]) == 0 && mkdir("tmp", 0700) == 0 && mkdir("queue", 0700) == 0);
    tmp = open("tmp", O_RDONLY | O_DIRECTORY);
    queue = open("queue", O_RDONLY | O_DIRECTORY);
    must(tmp >= 0 && queue >= 0);
    double start = now();
    deadline = start + strtod(argv[3], NULL);
    pthread_t *t = calloc(threads, sizeof *t);
    for (size_t i = 0; i < threads; i++) {
        pthread_create(&t[i], NULL, group ? grouped : single, (void *)i);
    }
    for (size_t i = 0; i < threads; i++) {
        pthread_join(t[i], NULL);
    }
    double took = now() - start;
    size_t n = group ? (size_t)done / group : (size_t)done;
    n = n < SAMPLES ? n : SAMPLES;
    if (!group) {
        qsort(samples, n, sizeof *samples, by_size);
    }
    printf("%.1f %u\n", (double)done / took, n ? samples[n / 2] : 0);
    return 0;
}
