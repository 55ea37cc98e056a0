/* SPDX-License-Identifier: MIT */
/* The files of a loop: what was found under which path of which root, misses too.
 *
 *     file_cache_find() --- fresh, or the kernel's caches know ---> file
 *            |
 *            | -EAGAIN: it might wait for a disk
 *            v
 *     file_cache_fetch() ---> pool's thread ---> waiter->ready()
 *
 * An entry is looked at again when it was not for a second; one that changed is replaced, and
 * lives on in the answers that use it. Bounded in entries, bytes and descriptors: what was not
 * asked for goes first. A hit makes no system call and no allocation. Several that wait for the
 * same thing wait for one task. Thread: the loop's. */
#ifndef WEIR_HTTP_FILE_CACHE_H
#define WEIR_HTTP_FILE_CACHE_H

#include "base/map.h"
#include "http/file.h"
#include "http/file_listing.h"
#include "http/file_root.h"

struct loop;
struct pool;
struct mailbox;
struct file_load;

struct file_cache_settings {
    uint64_t entries_max;
    uint64_t bytes_max;       /* of memory, bodies included */
    uint64_t descriptors_max; /* of large files */
    uint64_t fresh_ns;        /* how long an entry is believed */
    enum file_way way;        /* at most; what the kernel lacks is not used */
};

/* A share of the process's descriptors is settled by file_cache_new(): descriptors_max 0. */
#define FILE_CACHE_PRESET                                                            \
    {                                                                                \
        .entries_max = 10000, .bytes_max = UINT64_C(32) << 20, .descriptors_max = 0, \
        .fresh_ns = NS_PER_S, .way = FILE_WAY_CACHED                                 \
    }

/* What a root's path led to. */
struct root_view {
    struct root_dir *dir; /* counted; NULL: not seen yet */
    uint32_t id;          /* in the keys of entries: another directory, other entries */
    bool is_being_checked;
    uint64_t fresh_until_ns;
};

struct file_cache_figures {
    uint64_t hits, misses;    /* answered from memory; looked up or looked at again */
    uint64_t fetches, warmed; /* of the misses those that a pool's thread did */
    uint64_t evicted;
};

struct file_cache {
    /* Fixed at birth. */
    struct loop *loop;       /* borrowed */
    struct pool *pool;       /* borrowed: where files are waited for */
    struct mailbox *mailbox; /* borrowed: the loop's */
    struct file_cache_settings settings;

    /* Changes. */
    struct map entries; /* key to struct weir_file, one reference each */
    struct map loads;   /* key to struct file_load */
    struct weir_file *newest, *oldest;
    uint64_t bytes, descriptors; /* of the entries */
    struct weir_file *passing;   /* counted: found last, and not kept */
    struct root_view *views;     /* owned; by root->number */
    uint32_t view_count, next_id;
    uint32_t out; /* tasks that have not come back */
    struct file_cache_figures figures;
};

WEIR_MUST_USE int file_cache_new(struct loop *loop, struct pool *pool, struct mailbox *mailbox,
        const struct file_cache_settings *settings, struct file_cache **out);

/* After pool_stop(), and after the mailbox has brought back what was out. Files in use live on
 * in those who use them. NULL: nothing. */
void file_cache_free(struct file_cache *cache);

/* What is under `path` (slashes at its ends do not matter). Returns 0 and *out, borrowed until
 * the cache is next used; -EAGAIN when it must be fetched; -ENOMEM. */
WEIR_MUST_USE int file_cache_find(struct file_cache *cache, struct weir_root *root,
        struct weir_str path, const struct weir_file **out);

/* Who waits for a task. Embedded; zeroed before use but for `ready`. */
struct file_waiter {
    /* On the loop, once: the waiter has left. One of the two below is set, or the bytes that
     * were to be warmed are warm. */
    void (*ready)(struct file_waiter *waiter);
    const struct weir_file *file;       /* a reference that is the waiter's from now on */
    const struct weir_listing *listing; /* likewise */
    struct file_load *load;             /* NULL: it does not wait */
    struct file_waiter *next, **link;
};

/* These return 0, and the waiter waits; -ENOMEM. */
WEIR_MUST_USE int file_cache_fetch(struct file_cache *cache, struct weir_root *root,
        struct weir_str path, struct file_waiter *waiter);
WEIR_MUST_USE int file_cache_list(struct file_cache *cache, struct weir_root *root,
        struct weir_str path, struct file_waiter *waiter);
WEIR_MUST_USE int file_cache_warm(struct file_cache *cache, const struct weir_file *file,
        uint64_t offset, uint64_t bytes, struct file_waiter *waiter);

/* As file_is_warm(), which is not asked again for a second about the beginning of a file: what
 * was just sent is not what the kernel gives up first. */
bool file_cache_is_warm(struct file_cache *cache, const struct weir_file *file, uint64_t offset,
        uint64_t bytes);

/* Waits no more; not waiting: nothing. */
void file_waiter_leave(struct file_waiter *waiter);

/* References to files and listings; those that are not counted are left alone. */
void file_ref(const struct weir_file *file);
void file_unref(const struct weir_file *file);       /* NULL: nothing */
void listing_unref(const struct weir_listing *list); /* NULL: nothing */

#endif
