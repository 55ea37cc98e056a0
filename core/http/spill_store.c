/* SPDX-License-Identifier: MIT */
/* What all spilled bodies of a process share: how much they may hold, and what they did; and
 * where those of a loop have their files. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "event/loop.h"
#include "http/spill_parts.h"
#include "observe/log.h"

/* How often the log is told that bodies cannot be kept. */
#define WARN_NS NS_PER_S

/* ---- the process's --------------------------------------------------------------------- */

static _Atomic uint64_t limit_bytes = UINT64_MAX;
static _Atomic uint64_t held_bytes; /* of either kind: what the limit is about */
static _Atomic uint64_t counts[SPILL_KINDS][SPILL_COUNTS];

static uint64_t
load(_Atomic uint64_t *figure)
{
    return atomic_load_explicit(figure, memory_order_relaxed);
}

void
spill_limit(uint64_t bytes)
{
    atomic_store_explicit(&limit_bytes, bytes, memory_order_relaxed);
}

void
spill_count(enum spill_kind kind, enum spill_count count, int64_t n)
{
    atomic_fetch_add_explicit(&counts[kind][count], (uint64_t)n, memory_order_relaxed);
}

struct spill_figures
spill_figures(enum spill_kind kind)
{
    return (struct spill_figures){
        .files = load(&counts[kind][SPILL_COUNT_FILES]),
        .held_bytes = load(&counts[kind][SPILL_COUNT_HELD]),
        .written_bytes = load(&counts[kind][SPILL_COUNT_WRITTEN]),
        .failures = load(&counts[kind][SPILL_COUNT_FAILURES]),
    };
}

int
spill_hold_bytes(enum spill_kind kind, uint64_t bytes)
{
    uint64_t limit = load(&limit_bytes);
    uint64_t before = atomic_fetch_add_explicit(&held_bytes, bytes, memory_order_relaxed);
    if (before > limit || bytes > limit - before) {
        atomic_fetch_sub_explicit(&held_bytes, bytes, memory_order_relaxed);
        return -EDQUOT;
    }
    spill_count(kind, SPILL_COUNT_HELD, (int64_t)bytes);
    return 0;
}

void
spill_give_bytes(enum spill_kind kind, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&held_bytes, bytes, memory_order_relaxed);
    spill_count(kind, SPILL_COUNT_HELD, -(int64_t)bytes);
}

/* ---- the store ------------------------------------------------------------------------- */

int
spill_make_file(int directory)
{
    if (directory < 0) {
        return directory;
    }
    int fd = openat(directory, ".", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd != -1 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) {
        return fd == -1 ? -errno : fd;
    }
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d/weir-XXXXXX", directory);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd == -1) {
        return -errno;
    }
    unlink(path);
    return fd;
}

/* A descriptor of the directory, or a negative errno. */
static int
open_directory(struct weir_str path)
{
    char name[4096];
    int r = weir_str_to_path(path, name, sizeof(name));
    int fd = r < 0 ? r : open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd == -1 ? -errno : fd;
}

int
spill_check(struct weir_str path)
{
    int directory = open_directory(path);
    if (directory < 0) {
        return directory;
    }
    int r = spill_make_file(directory);
    close(directory);
    if (r >= 0) {
        close(r);
        r = 0;
    }
    return r;
}

struct spill_store *
spill_store_new(struct loop *loop, struct pool *pool, struct mailbox *mailbox,
        struct weir_str path)
{
    struct spill_store *store = calloc(1, sizeof(*store));
    if (store == NULL) {
        return NULL;
    }
    store->loop = loop;
    store->pool = pool;
    store->mailbox = mailbox;
    store->directory = open_directory(path);
    store->path = path;
    return store;
}

void
spill_store_free(struct spill_store *store)
{
    if (store == NULL || store->out > 0) {
        return; /* a thread that would not return still uses it */
    }
    if (store->directory >= 0) {
        close(store->directory);
    }
    free(store);
}

/* ---- the log --------------------------------------------------------------------------- */

static const char *
reason_of(int error)
{
    switch (error) {
    case -EDQUOT:
        return "workers.temp_size, or a quota, is used up";
    case -EBUSY:
        return "no thread of the pool is free";
    case -ETIMEDOUT:
        return "it took longer than timeouts.wait";
    default:
        return strerror(-error);
    }
}

void
spill_tell_of_failure(struct spill_store *store, enum spill_kind kind, int error,
        const char *what, const char *so)
{
    struct spill_warning *warning = &store->warnings[kind];
    uint64_t now_ns = loop_now_ns(store->loop);
    warning->failures++;
    if (warning->told_ns != 0 && now_ns < clock_add_ns(warning->told_ns, WARN_NS)) {
        return;
    }
    log_error("%s %.*s: %s: %s (%llu since the last line)", what, WEIR_STR_ARG(store->path),
            reason_of(error), so, (unsigned long long)warning->failures);
    *warning = (struct spill_warning){ .told_ns = now_ns };
}
