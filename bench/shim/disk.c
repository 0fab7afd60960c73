/*
 * A disk that can fail, for one folder of the processes that load this library with LD_PRELOAD.
 *
 * A program calls libc for its files, and the dynamic linker finds the functions of this library first. They do what
 * libc does, and keep what a disk without power would still have:
 *
 *   UNDO/<inode>.old   the durable contents of those 4 KiB units of a file that were written since its last sync
 *   UNDO/<inode>.map   `struct map`: the durable length of the file, and the state of each unit
 *   UNDO/saved.<inode> a file that was unlinked or replaced
 *   UNDO/names         what happened to names, one line each, and when a folder was synced
 *
 * All of it is written before the change that it describes, with plain system calls, so that it survives kill -9. The
 * driver (bench/src/disk) reads it after the processes are gone, and makes from it a state that a disk could have.
 *
 * A sync writes nothing to the real disk: it marks units as durable. A sync that is to fail marks them as forgotten
 * instead, as ext4 and xfs do: the kernel then considers the pages clean, so that a later, successful sync does not
 * write them. Only a program that writes them again gets them to the disk.
 *
 * Not modelled: writes through mmap. SQLite's -shm file is written so, is not durable by design, and is left out.
 *
 * SOUK_DISK_ROOT the folder, SOUK_DISK_UNDO the folder above, SOUK_DISK_CONTROL the file with the rules (see `parse`),
 * which may be replaced at any time by a rename. The code uses raw system calls, so that it never calls itself.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define UNIT 4096                  /* bytes; must equal UNIT in bench/src/disk/power.rs */
#define UNITS (1u << 18)           /* files of up to 1 GiB */
#define FILES 8192                 /* files that one process opens below the folder */

enum { CLEAN = 0, DIRTY = 1, FORGOTTEN = 2 };

struct map {
    uint64_t durable_length;
    uint64_t low, high;            /* units below `low` and from `high` on are clean */
    uint8_t unit[UNITS];
};
struct file {
    ino_t inode;
    bool folder;
    struct map *map;
    char path[256];                /* relative to the folder */
};

static char root[256], undo[256], control[256];
static struct file files[FILES];
static pthread_mutex_t *mutex;     /* shared by all processes on the folder, in UNDO/lock */

static long raw_open(const char *path, int flags, mode_t mode) {
    return syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
}

static int fail_with(int error) {
    errno = error;
    return -1;
}

/* Signals wait meanwhile: a handler that writes would wait for the turn of the thread that it interrupts. */
static __thread sigset_t signals;

static void take_turn(void) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    /* The last holder was killed. What it left is consistent, because every step is. */
    if (pthread_mutex_lock(mutex) == EOWNERDEAD) pthread_mutex_consistent(mutex);
    signals = before;
}

static void end_turn(void) {
    int error = errno;
    sigset_t before = signals;
    pthread_mutex_unlock(mutex);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
}

/* Maps a file. A new one is filled by `fill` before it gets its name, since the process may be killed at any time. */
static void *map_file(const char *path, size_t size, void (*fill)(void *, const struct stat *), const struct stat *of) {
    char made[320];
    bool is_new = access(path, F_OK) != 0;
    snprintf(made, sizeof made, "%s.%d", path, (int)syscall(SYS_gettid));
    int fd = raw_open(is_new ? made : path, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || (is_new && syscall(SYS_ftruncate, fd, size) < 0)) abort();
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) abort();
    syscall(SYS_close, fd);
    if (is_new) {
        fill(at, of);
        if (syscall(SYS_renameat2, AT_FDCWD, made, AT_FDCWD, path, 0) < 0) abort();
    }
    return at;
}

static void fill_mutex(void *at, const struct stat *of) {
    pthread_mutexattr_t kind;
    (void)of;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(at, &kind);
}

/* A file that was there before this library saw it is on the disk as it is. */
static void fill_map(void *at, const struct stat *of) {
    struct map *map = at;
    map->durable_length = of->st_size;
    map->low = UNITS;
}

__attribute__((constructor)) static void start(void) {
    const char *names[] = {"SOUK_DISK_ROOT", "SOUK_DISK_UNDO", "SOUK_DISK_CONTROL"};
    char *places[] = {root, undo, control};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (!value || strlen(value) > 200) return;
        strcpy(places[i], value);
    }
    char path[300];
    snprintf(path, sizeof path, "%s/lock", undo);
    mutex = map_file(path, sizeof *mutex, fill_mutex, NULL);
}

/* Appends a line to UNDO/names. */
static void note(const char *format, ...) {
    char line[1024], path[300];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    snprintf(path, sizeof path, "%s/names", undo);
    int fd = raw_open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (fd < 0 || syscall(SYS_write, fd, line, length) != length) abort();
    syscall(SYS_close, fd);
}

#include "rules.c"


/* Returns the path relative to the folder in `inside`, if it is below it and not left out. */
static bool is_inside(int folder, const char *path, char inside[256]) {
    char full[600] = "";
    if (!mutex || !path) return false;
    if (*path != '/') {
        char link[64] = "/proc/self/cwd";
        if (folder != AT_FDCWD) snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = syscall(SYS_readlink, link, full, 300);
        if (length < 0) return false;
        full[length] = 0;
        while (!strncmp(path, "./", 2)) path += 2;
        strcat(full, "/");
    }
    if (strlen(full) + strlen(path) >= sizeof full) return false;
    strcat(full, path);
    size_t length = strlen(root);
    if (strncmp(full, root, length) || (full[length] != '/' && full[length] != 0)) return false;
    const char *end = full + length + (full[length] == '/');
    if (strlen(end) >= 256 || ends_with(full, "-shm") || ends_with(full, ".pid")) return false;
    strcpy(inside, end);
    return true;
}

static struct file *slot_of(ino_t inode) {
    for (unsigned i = 0; i < FILES; i++) {
        struct file *file = &files[(inode + i) % FILES];
        if (file->inode == inode || file->inode == 0) return file;
    }
    abort();
}

/* Returns the file of a descriptor if it was opened below the folder. */
static struct file *file_of(int fd, struct stat *now) {
    if (!mutex || syscall(SYS_fstat, fd, now) < 0) return NULL;
    if (!S_ISREG(now->st_mode) && !S_ISDIR(now->st_mode)) return NULL;
    take_turn();
    struct file *file = slot_of(now->st_ino);
    end_turn();
    return file->inode ? file : NULL;
}

static void track(int fd, const char *inside) {
    struct stat now;
    if (syscall(SYS_fstat, fd, &now) < 0) return;
    if (!S_ISREG(now.st_mode) && !S_ISDIR(now.st_mode)) return;
    struct file *file = slot_of(now.st_ino);
    strcpy(file->path, inside);
    if (S_ISREG(now.st_mode) && !file->map) {
        char path[300];
        snprintf(path, sizeof path, "%s/%lu.map", undo, (unsigned long)now.st_ino);
        file->map = map_file(path, sizeof *file->map, fill_map, &now);
    }
    file->folder = S_ISDIR(now.st_mode);
    file->inode = now.st_ino;
}

/* Keeps the durable contents of a range that is about to be changed. */
static void keep(struct file *file, int fd, const struct stat *now, uint64_t from, uint64_t length) {
    char path[300], data[UNIT];
    int old = -1, reader = -1;
    if (!length) return;
    uint64_t first = from / UNIT, last = (from + length - 1) / UNIT;
    if (last >= UNITS) abort();
    for (uint64_t unit = first; unit <= last; unit++) {
        if (file->map->unit[unit] == CLEAN && unit * UNIT < (uint64_t)now->st_size) {
            if (old < 0) {
                snprintf(path, sizeof path, "%s/%lu.old", undo, (unsigned long)file->inode);
                old = raw_open(path, O_WRONLY | O_CREAT, 0600);
                /* Closing a descriptor of a file drops the process's locks on it, so another one is opened only if
                 * this one can't read. SQLite, which uses such locks, always can. */
                bool can_read = (syscall(SYS_fcntl, fd, F_GETFL) & O_ACCMODE) == O_RDWR;
                snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
                reader = can_read ? fd : raw_open(path, O_RDONLY, 0);
            }
            ssize_t count = syscall(SYS_pread64, reader, data, UNIT, unit * UNIT);
            if (old < 0 || count < 0) abort();
            memset(data + count, 0, UNIT - count);
            if (syscall(SYS_pwrite64, old, data, UNIT, unit * UNIT) != UNIT) abort();
        }
        file->map->unit[unit] = DIRTY;
    }
    if (first < file->map->low) file->map->low = first;
    if (last >= file->map->high) file->map->high = last + 1;
    if (old >= 0) syscall(SYS_close, old);
    if (reader >= 0 && reader != fd) syscall(SYS_close, reader);
}

static ssize_t put(int fd, const struct iovec *parts, int count, off_t at, bool is_positional) {
    struct stat now;
    struct file *file = file_of(fd, &now);
    size_t length = 0;
    long millis = 0, result = -1;
    bool dies = false;
    if (file && !file->folder) {
        take_turn();
        look();
        for (int i = 0; i < count; i++) length += parts[i].iov_len;
        syscall(SYS_fstat, fd, &now);
        bool appends = syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND;
        off_t from = is_positional ? at : appends ? now.st_size : syscall(SYS_lseek, fd, 0, SEEK_CUR);
        long growth = from + (off_t)length - now.st_size;
        if (read_only) errno = EROFS;
        else if (obey(WRITE, file->path, &millis, &dies)) errno = EIO;
        else if (space_left >= 0 && growth > space_left) errno = ENOSPC;
        else {
            if (space_left >= 0 && growth > 0) space_left -= growth;
            keep(file, fd, &now, from, length);
            result = is_positional ? syscall(SYS_pwritev, fd, parts, count, at, 0) : syscall(SYS_writev, fd, parts, count);
        }
        if (dies) die("after write", file->path);
        end_turn();
        rest_for(millis);
        return result;
    }
    return is_positional ? syscall(SYS_pwritev, fd, parts, count, at, 0) : syscall(SYS_writev, fd, parts, count);
}

static int sync_file(int fd, long number) {
    struct stat now;
    struct file *file = file_of(fd, &now);
    if (!file) return syscall(number, fd);
    long millis;
    bool dies;
    take_turn();
    look();
    bool fails = obey(SYNC, file->path, &millis, &dies);
    if (file->folder) {
        note("%s\t%s\n", fails ? "failed" : "sync", file->path);
    } else {
        struct map *map = file->map;
        uint64_t low = UNITS, high = 0;
        syscall(SYS_fstat, fd, &now);
        for (uint64_t unit = map->low; unit < map->high; unit++) {
            if (map->unit[unit] == DIRTY) map->unit[unit] = fails ? FORGOTTEN : CLEAN;
            if (map->unit[unit] == FORGOTTEN) low = low < unit ? low : unit, high = unit + 1;
        }
        map->low = low, map->high = high;
        if (fails) note("failed\t%s\n", file->path);
        else map->durable_length = now.st_size;
    }
    if (dies) die("after sync", file->path);
    end_turn();
    /* A kill in here finds the data on the disk, and no answer: both are allowed. */
    rest_for(millis);
    return fails ? fail_with(EIO) : 0;
}

static int truncate_file(int fd, off_t length) {
    struct stat now;
    struct file *file = file_of(fd, &now);
    if (!file || file->folder) return syscall(SYS_ftruncate, fd, length);
    take_turn();
    look();
    syscall(SYS_fstat, fd, &now);
    int result;
    if (read_only) result = fail_with(EROFS);
    else {
        if (length < now.st_size) keep(file, fd, &now, length, now.st_size - length);
        result = syscall(SYS_ftruncate, fd, length);
    }
    end_turn();
    return result;
}

static int open_file(int folder, const char *path, int flags, mode_t mode) {
    char inside[256];
    struct stat now;
    bool is_temporary = (flags & O_TMPFILE) == O_TMPFILE;
    if (is_temporary || !is_inside(folder, path, inside)) return syscall(SYS_openat, folder, path, flags, mode);
    take_turn();
    look();
    bool is_new = syscall(SYS_newfstatat, folder, path, &now, 0) < 0, writes = (flags & O_ACCMODE) != O_RDONLY;
    int fd = read_only && writes ? fail_with(EROFS) : syscall(SYS_openat, folder, path, flags & ~O_TRUNC, mode);
    if (fd >= 0) {
        track(fd, inside);
        if (is_new) note("create\t%s\n", inside);
    }
    end_turn();
    if (fd >= 0 && (flags & O_TRUNC) && writes) truncate_file(fd, 0);
    return fd;
}

static int rename_file(int from_folder, const char *from, int to_folder, const char *to, unsigned int flags) {
    char old_name[256], new_name[256], saved[300] = "-";
    struct stat replaced;
    if (flags || !is_inside(from_folder, from, old_name) || !is_inside(to_folder, to, new_name))
        return syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
    take_turn();
    look();
    int result;
    bool exists = syscall(SYS_newfstatat, to_folder, to, &replaced, AT_SYMLINK_NOFOLLOW) == 0;
    if (read_only) result = fail_with(EROFS);
    else if (exists && S_ISREG(replaced.st_mode)) {
        /* Exchanged instead of linked: nobody ever sees a second link, nor a missing name. */
        result = syscall(SYS_renameat2, from_folder, from, to_folder, to, RENAME_EXCHANGE);
        snprintf(saved, sizeof saved, "%s/saved.%lu", undo, (unsigned long)replaced.st_ino);
        if (result == 0) syscall(SYS_renameat2, from_folder, from, AT_FDCWD, saved, 0);
    } else result = syscall(SYS_renameat2, from_folder, from, to_folder, to, 0);
    if (result == 0) {
        struct stat now;
        if (syscall(SYS_newfstatat, to_folder, to, &now, 0) == 0 && slot_of(now.st_ino)->inode)
            strcpy(slot_of(now.st_ino)->path, new_name);
        note("rename\t%s\t%s\t%s\n", old_name, new_name, saved);
    }
    end_turn();
    return result;
}

static int unlink_file(int folder, const char *path, int flags) {
    char inside[256], saved[300];
    struct stat now;
    if ((flags & AT_REMOVEDIR) || !is_inside(folder, path, inside)) return syscall(SYS_unlinkat, folder, path, flags);
    take_turn();
    look();
    int result = -1;
    if (read_only) errno = EROFS;
    else if (syscall(SYS_newfstatat, folder, path, &now, AT_SYMLINK_NOFOLLOW) == 0) {
        snprintf(saved, sizeof saved, "%s/saved.%lu", undo, (unsigned long)now.st_ino);
        result = syscall(SYS_renameat2, folder, path, AT_FDCWD, saved, 0);
        if (result == 0) note("unlink\t%s\t%s\n", inside, saved);
    }
    end_turn();
    return result;
}
