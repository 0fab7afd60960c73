/*
 * The functions of libc that the disk of disk.c takes the place of. This file is the library:
 *
 *   cc -shared -fPIC -O2 -o disk.so libc.c -lpthread
 */
#include "disk.c"

#define CLOCK_LOOK_NANOS 5000000   /* how often reading the clock looks at the rules */

/* Reads and sends change nothing on the disk; only the rules apply to them. */
static bool read_fails(int fd) {
    struct stat now;
    struct file *file = file_of(fd, &now);
    if (!file || file->folder) return false;
    long millis;
    bool dies;
    take_turn();
    look();
    bool fails = obey(READ, file->path, &millis, &dies);
    end_turn();
    rest_for(millis);
    return fails;
}

/* Returns whether the process dies after it has sent. Asks for the peer only if there is such a rule. */
static bool dies_sending(int fd) {
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    char port[8];
    long millis;
    bool dies = false, is_asked = false;
    if (!mutex) return false;
    int error = errno;
    take_turn();
    look();
    for (int i = 0; i < rule_count; i++) is_asked |= rules[i].what == SEND;
    if (is_asked && getpeername(fd, (struct sockaddr *)&peer, &length) == 0 && peer.ss_family != AF_UNIX) {
        snprintf(port, sizeof port, "%u", ntohs(((struct sockaddr_in *)&peer)->sin_port));
        obey(SEND, port, &millis, &dies);
    }
    errno = error;
    end_turn();
    return dies;
}

static ssize_t sent(ssize_t result, bool dies) {
    if (dies) die("after send", "-");
    return result;
}

/* ---- the functions ---- */

static mode_t mode_of(int flags, va_list arguments) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

#define OPEN(name, parameters, folder) \
    int name parameters { \
        va_list arguments; \
        va_start(arguments, flags); \
        mode_t mode = mode_of(flags, arguments); \
        va_end(arguments); \
        return open_file(folder, path, flags, mode); \
    }
OPEN(open, (const char *path, int flags, ...), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD)
OPEN(openat, (int folder, const char *path, int flags, ...), folder)
OPEN(openat64, (int folder, const char *path, int flags, ...), folder)

ssize_t write(int fd, const void *data, size_t length) {
    struct iovec part = {(void *)data, length};
    bool dies = dies_sending(fd);
    return sent(put(fd, &part, 1, 0, false), dies);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    bool dies = dies_sending(fd);
    return sent(put(fd, parts, count, 0, false), dies);
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t at) {
    struct iovec part = {(void *)data, length};
    return put(fd, &part, 1, at, true);
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) { return pwrite(fd, data, length, at); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return put(fd, parts, count, at, true); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) { return put(fd, parts, count, at, true); }

ssize_t read(int fd, void *data, size_t length) {
    return read_fails(fd) ? fail_with(EIO) : syscall(SYS_read, fd, data, length);
}
ssize_t pread(int fd, void *data, size_t length, off_t at) {
    return read_fails(fd) ? fail_with(EIO) : syscall(SYS_pread64, fd, data, length, at);
}
ssize_t pread64(int fd, void *data, size_t length, off64_t at) { return pread(fd, data, length, at); }

int fsync(int fd) { return sync_file(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }
/* Starts write-back without a promise, so there is nothing to do. */
int sync_file_range(int fd, off64_t from, off64_t length, unsigned int flags) {
    (void)fd, (void)from, (void)length, (void)flags;
    return 0;
}
int ftruncate(int fd, off_t length) { return truncate_file(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncate_file(fd, length); }
int rename(const char *from, const char *to) { return rename_file(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    return rename_file(from_folder, from, to_folder, to, 0);
}
int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned int flags) {
    return rename_file(from_folder, from, to_folder, to, flags);
}
int unlink(const char *path) { return unlink_file(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) { return unlink_file(folder, path, flags); }
int mkdir(const char *path, mode_t mode) {
    char inside[256];
    int result = syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    if (result == 0 && is_inside(AT_FDCWD, path, inside)) note("create\t%s\n", inside);
    return result;
}

/* Ways to write that go around write(). Callers fall back to it. */
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t length, unsigned int flags) {
    struct stat now;
    if (file_of(out, &now)) return fail_with(EXDEV);
    return syscall(SYS_copy_file_range, in, in_at, out, out_at, length, flags);
}
ssize_t sendfile(int out, int in, off_t *at, size_t length) {
    struct stat now;
    if (file_of(out, &now)) return fail_with(EINVAL);
    return syscall(SYS_sendfile, out, in, at, length);
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t length) { return sendfile(out, in, at, length); }
int fallocate(int fd, int mode, off_t at, off_t length) {
    struct stat now;
    return file_of(fd, &now) ? fail_with(EOPNOTSUPP) : syscall(SYS_fallocate, fd, mode, at, length);
}
int fallocate64(int fd, int mode, off64_t at, off64_t length) { return fallocate(fd, mode, at, length); }
/* Returns its error instead of setting errno (POSIX). */
int posix_fallocate(int fd, off_t at, off_t length) { return fallocate(fd, 0, at, length) < 0 ? errno : 0; }
int posix_fallocate64(int fd, off64_t at, off64_t length) { return posix_fallocate(fd, at, length); }

ssize_t send(int fd, const void *data, size_t length, int flags) {
    bool dies = dies_sending(fd);
    return sent(syscall(SYS_sendto, fd, data, length, flags, NULL, 0), dies);
}
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    bool dies = dies_sending(fd);
    return sent(syscall(SYS_sendmsg, fd, message, flags), dies);
}

/* Looks at the rules now and then, since a process that only waits does not. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    static atomic_long looked;
    long result = syscall(SYS_clock_gettime, clock, now);
    if (result < 0 || !mutex || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return result;
    struct timespec steady;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &steady);
    long nanos = steady.tv_sec * 1000000000L + steady.tv_nsec;
    if (nanos - atomic_load(&looked) > CLOCK_LOOK_NANOS) {
        atomic_store(&looked, nanos);
        take_turn();
        look();
        end_turn();
    }
    now->tv_sec += atomic_load(&clock_offset);
    return 0;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec time;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &time);
    now->tv_sec = time.tv_sec, now->tv_usec = time.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
