/* SPDX-License-Identifier: MIT */
/* The rig with files: a directory of the test's own, a cache with a pool behind it. */
#ifndef WEIR_SUPPORT_FILE_RIG_H
#define WEIR_SUPPORT_FILE_RIG_H

#include "event/mailbox.h"
#include "event/pool.h"
#include "http/file_cache.h"
#include "support/rig.h"

/* Files are made with this time, in the past of the rig's clock. */
#define TREE_TIME INT64_C(725846400) /* Fri, 01 Jan 1993 00:00:00 GMT */

/* A temporary directory, removed by tree_fini(). Paths are relative to it; their directories
 * are made. Everything can be read by everybody. */
struct tree {
    char path[64];
};

void tree_init(struct tree *tree);
void tree_fini(struct tree *tree);
void tree_file(const struct tree *tree, const char *path, const void *bytes, size_t len);
void tree_text(const struct tree *tree, const char *path, const char *text);
void tree_link(const struct tree *tree, const char *path, const char *target);
void tree_touch(const struct tree *tree, const char *path, int64_t seconds);
void tree_full(const struct tree *tree, const char *path, char *dst, size_t dst_bytes);

struct file_rig {
    struct rig rig;
    struct mailbox *mailbox;
    struct pool *pool;
    struct file_cache *cache;
};

/* `way`: what the kernel is believed to offer; 0: what it does. */
void file_rig_init(struct file_rig *files, const struct weir_handler *handler, const void *conf,
        int way);

/* The same with several handlers, as rig_init_with(). */
void file_rig_init_with(struct file_rig *files, const struct weir_handler *handlers,
        const void *const *confs, unsigned count, int way);
void file_rig_fini(struct file_rig *files);

/* Settles, threads of the pool included. */
void file_rig_settle(struct file_rig *files);

/* Sends and settles so. */
void file_rig_send(struct file_rig *files, struct weir_str bytes);

/* A connection that sends `request` whole (split 0), in two (at `split`) or one byte at a time
 * (SIZE_MAX); its first answer. */
struct rig_answer file_rig_ask(struct file_rig *files, const char *request, size_t split);

#endif
