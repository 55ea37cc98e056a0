/* SPDX-License-Identifier: MIT */
#include "http/file_root.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_uint roots_made;

struct weir_root *
root_ref(struct weir_root *root)
{
    atomic_fetch_add_explicit(&root->references, 1, memory_order_relaxed);
    return root;
}

struct root_dir *
root_dir_ref(struct root_dir *dir)
{
    atomic_fetch_add_explicit(&dir->references, 1, memory_order_relaxed);
    return dir;
}

void
root_dir_unref(struct root_dir *dir)
{
    /* The last one sees what the others did with it. */
    if (dir != NULL &&
            atomic_fetch_sub_explicit(&dir->references, 1, memory_order_acq_rel) == 1) {
        close(dir->fd);
        free(dir);
    }
}

int
root_look(const struct weir_root *root, struct root_dir *known, enum file_way way,
        bool may_block, struct root_dir **out)
{
    struct stat st;
    int fd = file_hold_directory(root->path, way, may_block, &st);
    if (fd < 0) {
        return fd;
    }
    if (known != NULL && known->dev == st.st_dev && known->ino == st.st_ino) {
        close(fd);
        *out = root_dir_ref(known);
        return 0;
    }
    struct root_dir *dir = malloc(sizeof(*dir));
    if (dir == NULL) {
        close(fd);
        return -ENOMEM;
    }
    atomic_init(&dir->references, 1);
    dir->fd = fd;
    dir->dev = st.st_dev;
    dir->ino = st.st_ino;
    *out = dir;
    return 0;
}

int
weir_root_open(struct weir_str path, const struct weir_root_settings *settings,
        struct weir_root **out)
{
    if (path.len >= PATH_MAX) {
        return -ENAMETOOLONG;
    }
    struct weir_root *root = calloc(1, sizeof(*root) + path.len + 1);
    if (root == NULL) {
        return -ENOMEM;
    }
    atomic_init(&root->references, 1);
    root->number = atomic_fetch_add_explicit(&roots_made, 1, memory_order_relaxed);
    if (settings != NULL) {
        root->symlinks = settings->symlinks;
        root->types = settings->types;
    }
    int r = weir_str_to_path(path, root->path, path.len + 1);
    if (r == 0) {
        r = root_look(root, NULL, FILE_WAY_WALK, true, &root->dir);
    }
    /* Better known now than by 404 for each file. */
    if (r == 0 && faccessat(AT_FDCWD, root->path, X_OK, AT_EACCESS) == -1) {
        r = -errno;
        root_dir_unref(root->dir);
    }
    if (r < 0) {
        free(root);
        return r;
    }
    *out = root;
    return 0;
}

void
weir_root_close(struct weir_root *root)
{
    if (root != NULL &&
            atomic_fetch_sub_explicit(&root->references, 1, memory_order_acq_rel) == 1) {
        root_dir_unref(root->dir);
        free(root);
    }
}
