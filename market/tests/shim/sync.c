/*
 * Lets syncs of one file fail, in a process that loads this library with LD_PRELOAD. As on ext4 and xfs, a sync that
 * fails says so once: the next one succeeds.
 *
 * SOUK_FAIL_SYNC is the path of a file whose first line is "NAME COUNT": the next COUNT syncs of a file with the last
 * path component NAME fail with EIO. No file, no failures.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int failed;

static int sync_or_fail(int fd, long number) {
    char link[64], path[4096], name[256];
    int count = 0;
    const char *control = getenv("SOUK_FAIL_SYNC");
    FILE *rules = control ? fopen(control, "re") : NULL;
    if (rules) {
        int fields = fscanf(rules, "%255s %d", name, &count);
        fclose(rules);
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        if (fields == 2 && length > 0) {
            path[length] = 0;
            const char *base = strrchr(path, '/');
            if (base && strcmp(base + 1, name) == 0 && __atomic_fetch_add(&failed, 1, __ATOMIC_SEQ_CST) < count) {
                errno = EIO;
                return -1;
            }
        }
    }
    return (int)syscall(number, fd);
}

int fsync(int fd) { return sync_or_fail(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_or_fail(fd, SYS_fdatasync); }
