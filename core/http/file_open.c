/* SPDX-License-Identifier: MIT */
/* openat2(2) and its stand-in. */
#include "http/file_open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RESOLVE_CACHED
#define RESOLVE_CACHED 0x20 /* Linux 5.12 */
#endif

/* The kernel gives up a resolution that renames disturb; somebody who renames all the time gets
 * no more than this many tries. */
#define RETRIES 16

static int
call_openat2(int dir_fd, const char *path, int flags, unsigned resolve)
{
    struct open_how how = { .flags = (unsigned)flags | O_CLOEXEC, .resolve = resolve };
    long fd;
    do {
        fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
    } while (fd == -1 && errno == EINTR);
    return fd == -1 ? -errno : (int)fd;
}

enum file_way
file_way_probe(void)
{
    int fd = call_openat2(AT_FDCWD, "/", O_PATH, RESOLVE_CACHED);
    if (fd >= 0) {
        close(fd);
        return FILE_WAY_CACHED;
    }
    if (fd == -EAGAIN) {
        return FILE_WAY_CACHED;
    }
    fd = call_openat2(AT_FDCWD, "/", O_PATH, 0);
    if (fd < 0) {
        return FILE_WAY_WALK; /* ENOSYS, or EPERM from a filter of system calls */
    }
    close(fd);
    return FILE_WAY_OPENAT2;
}

/* One component after the other, none of them a link. */
static int
walk(const struct file_lookup *lookup, int flags)
{
    const char *path = lookup->path;
    int dir_fd = lookup->dir_fd;
    for (;;) {
        const char *slash = strchrnul(path, '/');
        size_t len = (size_t)(slash - path);
        char name[256] = ".";
        bool is_last = *slash == '\0';
        int r = 0;
        if (len >= sizeof(name)) {
            r = -ENAMETOOLONG;
        } else if (len > 0) {
            memcpy(name, path, len);
            name[len] = '\0';
            r = strcmp(name, "..") == 0 ? -EXDEV : 0;
        }
        int fd = -1;
        if (r == 0) {
            int how = is_last ? flags : O_PATH | O_DIRECTORY;
            fd = openat(dir_fd, name, how | O_NOFOLLOW | O_CLOEXEC);
            r = fd == -1 ? -errno : 0;
        }
        if (dir_fd != lookup->dir_fd) {
            close(dir_fd);
        }
        if (r < 0 || is_last) {
            return r < 0 ? r : fd;
        }
        dir_fd = fd;
        path = slash + 1;
    }
}

static int
resolve(const struct file_lookup *lookup, int flags)
{
    if (lookup->way == FILE_WAY_WALK) {
        return lookup->may_block ? walk(lookup, flags) : -EAGAIN;
    }
    if (!lookup->may_block && lookup->way != FILE_WAY_CACHED) {
        return -EAGAIN;
    }
    unsigned how = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    how |= lookup->symlinks == WEIR_SYMLINKS_DENY ? RESOLVE_NO_SYMLINKS : 0;
    how |= lookup->may_block ? 0 : RESOLVE_CACHED;
    const char *path = lookup->path[0] == '\0' ? "." : lookup->path;
    int fd = call_openat2(lookup->dir_fd, path, flags, how);
    for (int i = 0; fd == -EAGAIN && lookup->may_block && i < RETRIES; i++) {
        fd = call_openat2(lookup->dir_fd, path, flags, how);
    }
    return fd == -EAGAIN && lookup->may_block ? -EBUSY : fd;
}

int
file_hold(const struct file_lookup *lookup, int *fd, struct stat *st)
{
    int held = resolve(lookup, O_PATH);
    if (held < 0) {
        return held;
    }
    int r = fstat(held, st) == -1 ? -errno : 0;
    if (r == 0 && S_ISLNK(st->st_mode)) {
        r = -ELOOP; /* the walk holds a last link itself */
    }
    if (r < 0) {
        close(held);
        return r;
    }
    *fd = held;
    return 0;
}

/* Where /proc is not mounted: the path again, which must lead to the same file. Should it have
 * become something else meanwhile, O_NONBLOCK keeps the call from hanging. */
static int
open_again(const struct file_lookup *lookup, const struct stat *st)
{
    int fd = resolve(lookup, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return fd;
    }
    struct stat now;
    if (fstat(fd, &now) == -1 || now.st_dev != st->st_dev || now.st_ino != st->st_ino) {
        close(fd);
        return -ENOENT;
    }
    return fd;
}

int
file_open(const struct file_lookup *lookup, int fd, const struct stat *st)
{
    char path[sizeof("/proc/self/fd/") + 11];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    /* A lease makes the open wait, or fail at once with O_NONBLOCK. */
    int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | (lookup->may_block ? 0 : O_NONBLOCK);
    int file = open(path, flags);
    if (file != -1) {
        return file;
    }
    return errno == ENOENT ? open_again(lookup, st) : -errno;
}

int
file_hold_directory(const char *path, enum file_way way, bool may_block, struct stat *st)
{
    if (!may_block && way != FILE_WAY_CACHED) {
        return -EAGAIN;
    }
    int flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
    int fd = may_block ? open(path, flags)
                       : call_openat2(AT_FDCWD, path, flags, RESOLVE_CACHED);
    if (fd < 0) {
        return may_block ? -errno : fd;
    }
    if (fstat(fd, st) == -1) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

int
file_open_directory(int fd)
{
    int dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dir == -1 ? -errno : dir;
}
