/* SPDX-License-Identifier: MIT */
/* The directory beneath which a handler's files stand. Its path may come to lead elsewhere (a
 * link switched at a release), so that each loop holds the directory it last saw there. Counted
 * by atomics: the configuration, loops and tasks hold them. Any thread. */
#ifndef WEIR_HTTP_FILE_ROOT_H
#define WEIR_HTTP_FILE_ROOT_H

#include <stdatomic.h>

#include <weir/file.h>

#include "http/file_open.h"

/* A directory that is open. */
struct root_dir {
    atomic_uint references;
    int fd; /* owned; O_PATH */
    dev_t dev;
    ino_t ino;
};

struct weir_root {
    atomic_uint references;
    uint32_t number; /* of this process, from 0 */
    enum weir_symlinks symlinks;
    const struct weir_map *types; /* borrowed from the configuration */
    struct root_dir *dir;         /* counted: what the path led to when it was opened */
    char path[];                  /* terminated */
};

struct weir_root *root_ref(struct weir_root *root);
struct root_dir *root_dir_ref(struct root_dir *dir);
void root_dir_unref(struct root_dir *dir); /* NULL: nothing */

/* The directory that the path leads to now; `known` with a new reference when it is still that.
 * Returns 0; -EAGAIN when it might block and must not; another negative errno. */
WEIR_MUST_USE int root_look(const struct weir_root *root, struct root_dir *known,
        enum file_way way, bool may_block, struct root_dir **out);

#endif
