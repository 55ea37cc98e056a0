/* SPDX-License-Identifier: MIT */
/* Paths beneath a directory, resolved by the kernel (openat2, Linux 5.6), or component by
 * component where that is missing or forbidden. Nothing here opens a FIFO, a device or a socket
 * for reading: what a path leads to is first held with O_PATH, which has no effect on it.
 * Any thread. */
#ifndef WEIR_HTTP_FILE_OPEN_H
#define WEIR_HTTP_FILE_OPEN_H

#include <stdbool.h>
#include <sys/stat.h>

#include <weir/file.h>

/* What the kernel offers, best last. */
enum file_way {
    FILE_WAY_WALK = 1,    /* no openat2: no link is followed, and everything may block */
    FILE_WAY_OPENAT2 = 2, /* without RESOLVE_CACHED (before 5.12): everything may block */
    FILE_WAY_CACHED = 3,
};

enum file_way file_way_probe(void);

struct file_lookup {
    int dir_fd;       /* borrowed */
    const char *path; /* relative; empty: the directory itself */
    enum weir_symlinks symlinks;
    enum file_way way;
    bool may_block; /* false: only what the kernel's caches know */
};

/* Holds what the path leads to (O_PATH) and looks at it. Returns 0 and sets *fd and *st;
 * -EAGAIN when that might block and must not; -EXDEV, -ELOOP for a link that leads outside or
 * is not followed; -EINVAL for `..` and NUL; another negative errno. */
WEIR_MUST_USE int file_hold(const struct file_lookup *lookup, int *fd, struct stat *st);

/* Opens for reading the regular file held by `fd`, which is `st`. Returns the descriptor, the
 * caller's, or a negative errno; -EAGAIN as above. */
WEIR_MUST_USE int file_open(const struct file_lookup *lookup, int fd, const struct stat *st);

/* Holds the directory that `path`, from the process's point of view, leads to. Returns the
 * descriptor (O_PATH) and sets *st, or a negative errno as above. */
WEIR_MUST_USE int file_hold_directory(const char *path, enum file_way way, bool may_block,
        struct stat *st);

/* Opens the directory held by `fd` for reading its names. Blocks. Returns the descriptor or a
 * negative errno. */
WEIR_MUST_USE int file_open_directory(int fd);

#endif
