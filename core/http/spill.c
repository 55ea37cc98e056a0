/* SPDX-License-Identifier: MIT */
/* One task a spill is out at a time, so that there is one order of things:
 *
 *     IDLE --enough is pending--> WRITING --+
 *       |  \-somebody takes-----> READING --+--> IDLE
 *       +---nobody wants it-----> CLOSING -----> freed
 *
 * While it is out the thread has `moving` or `buffer`, the offsets and the descriptor, and the
 * loop leaves them alone. */
#include "http/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/budget.h"
#include "event/loop.h"
#include "event/pool.h"
#include "event/timer.h"
#include "observe/log.h"

/* A piece that is written at once when it is there, and what is pending at most meanwhile; and
 * what is read back at once. The smaller ones are for tight memory. */
#define WRITE_BYTES       (64u << 10)
#define PENDING_BYTES     (256u << 10)
#define READ_BYTES        (64u << 10)
#define TIGHT_WRITE_BYTES (16u << 10)
#define TIGHT_READ_BYTES  (16u << 10)

/* How often the log is told that bodies cannot be kept. */
#define WARN_NS NS_PER_S

enum spill_state {
    SPILL_IDLE,
    SPILL_WRITING,
    SPILL_READING,
    SPILL_CLOSING,
};

struct spill {
    struct spill_store *store; /* borrowed */
    spill_news_fn *news;
    void *owner;
    uint64_t wait_ns;

    enum spill_state state;
    bool is_closed; /* nobody wants it: it ends with the task that is out */
    bool is_wanted; /* somebody takes, and got too little */
    int error;
    struct timer late; /* set while a piece is out */

    struct slice_queue pending;            /* the newest */
    struct slice_queue ready;              /* the oldest, next to be taken */
    uint64_t read_at, write_at, extent_at; /* of the file: [read, write) is wanted */
    int fd;                                /* owned; -1: not made yet */

    /* The task's while it is out. */
    struct pool_task task;
    struct slice_queue moving; /* WRITING */
    struct slice buffer;       /* READING */
    char *memory;              /* buffer's */
    int result;                /* 0 or a negative errno */
};

/* ---- the process's --------------------------------------------------------------------- */

static _Atomic uint64_t limit_bytes = UINT64_MAX;
static _Atomic uint64_t held_bytes;
static _Atomic uint64_t held_files;
static _Atomic uint64_t written_bytes;
static _Atomic uint64_t failures;

void
spill_limit(uint64_t bytes)
{
    atomic_store_explicit(&limit_bytes, bytes, memory_order_relaxed);
}

static uint64_t
load(_Atomic uint64_t *figure)
{
    return atomic_load_explicit(figure, memory_order_relaxed);
}

static void
add(_Atomic uint64_t *figure, uint64_t n)
{
    atomic_fetch_add_explicit(figure, n, memory_order_relaxed);
}

static void
take(_Atomic uint64_t *figure, uint64_t n)
{
    atomic_fetch_sub_explicit(figure, n, memory_order_relaxed);
}

struct spill_figures
spill_figures(void)
{
    return (struct spill_figures){
        .files = load(&held_files),
        .held_bytes = load(&held_bytes),
        .written_bytes = load(&written_bytes),
        .failures = load(&failures),
    };
}

static int
hold_bytes(uint64_t bytes)
{
    uint64_t limit = load(&limit_bytes);
    uint64_t before = atomic_fetch_add_explicit(&held_bytes, bytes, memory_order_relaxed);
    if (before > limit || bytes > limit - before) {
        take(&held_bytes, bytes);
        return -EDQUOT;
    }
    return 0;
}

/* ---- the store ------------------------------------------------------------------------- */

/* A file without a name. Where the file system cannot make one, its name is taken at once. */
static int
make_file(int directory)
{
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
    int r = make_file(directory);
    close(directory);
    if (r >= 0) {
        close(r);
        r = 0;
    }
    return r;
}

int
spill_store_new(struct loop *loop, struct pool *pool, struct mailbox *mailbox,
        struct weir_str path, struct spill_store **out)
{
    int directory = open_directory(path);
    if (directory < 0) {
        return directory;
    }
    struct spill_store *store = malloc(sizeof(*store));
    if (store == NULL) {
        close(directory);
        return -ENOMEM;
    }
    *store = (struct spill_store){ loop, pool, mailbox, .directory = directory, .path = path };
    *out = store;
    return 0;
}

void
spill_store_free(struct spill_store *store)
{
    if (store == NULL || store->out > 0) {
        return; /* a thread that would not return still uses it */
    }
    close(store->directory);
    free(store);
}

/* `status`: what clients are answered. */
static void
tell_of_failure(struct spill_store *store, int error, unsigned status)
{
    uint64_t now_ns = loop_now_ns(store->loop);
    store->failures++;
    if (store->warned_ns != 0 && now_ns < clock_add_ns(store->warned_ns, WARN_NS)) {
        return;
    }
    const char *why = error == -EDQUOT ? "workers.temp_size, or a quota, is used up"
            : error == -EBUSY          ? "no thread of the pool is free"
            : error == -ETIMEDOUT      ? "it took longer than timeouts.wait"
                                       : strerror(-error);
    log_error("bodies of requests cannot be kept in %.*s: %s: %u (%llu since the last line)",
            WEIR_STR_ARG(store->path), why, status, (unsigned long long)store->failures);
    store->warned_ns = now_ns;
    store->failures = 0;
}

/* ---- on a thread ----------------------------------------------------------------------- */

static int
write_all(int fd, const char *bytes, size_t len, uint64_t at)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, bytes, len, (off_t)at);
        if (n == -1 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n == 0 ? -EIO : -errno;
        }
        bytes += n;
        len -= (size_t)n;
        at += (uint64_t)n;
    }
    return 0;
}

static int
write_moving(struct spill *spill)
{
    if (spill->fd == -1) {
        int fd = make_file(spill->store->directory);
        if (fd < 0) {
            return fd;
        }
        spill->fd = fd;
        add(&held_files, 1);
    }
    uint64_t at = spill->write_at;
    int r = 0;
    for (uint32_t i = 0; i < spill->moving.count && r == 0; i++) {
        const struct slice *slice = slice_queue_at(&spill->moving, i);
        r = write_all(spill->fd, slice->ptr, (size_t)slice->len, at);
        at += slice->len;
    }
    add(&written_bytes, r == 0 ? at - spill->write_at : 0);
    return r;
}

/* What was written is there: less is a disk out of order. */
static int
read_buffer(struct spill *spill)
{
    size_t len = 0;
    while (len < spill->buffer.len) {
        ssize_t n = pread(spill->fd, spill->memory + len, spill->buffer.len - len,
                (off_t)(spill->read_at + len));
        if (n == -1 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n == 0 ? -EIO : -errno;
        }
        len += (size_t)n;
    }
    return 0;
}

static void
close_file(struct spill *spill)
{
    if (spill->fd != -1) {
        close(spill->fd);
        spill->fd = -1;
        take(&held_files, 1);
    }
}

static void
run_task(struct pool_task *task, void *thread_state)
{
    (void)thread_state;
    struct spill *spill = (struct spill *)((char *)task - offsetof(struct spill, task));
    switch (spill->state) {
    case SPILL_IDLE:
        break;
    case SPILL_WRITING:
        spill->result = write_moving(spill);
        break;
    case SPILL_READING:
        spill->result = read_buffer(spill);
        break;
    case SPILL_CLOSING: /* giving a large file's blocks back takes its time */
        close_file(spill);
        break;
    }
}

/* ---- on the loop ----------------------------------------------------------------------- */

static void step(struct spill *spill);

static void
fail(struct spill *spill, int error)
{
    if (spill->error != 0) {
        return;
    }
    bool is_busy = error == -EBUSY || error == -EMFILE || error == -ENFILE ||
            error == -ETIMEDOUT;
    spill->error = error == -ENOMEM ? error : is_busy ? -EBUSY : -ENOSPC;
    add(&failures, 1);
    if (error != -ENOMEM) {
        tell_of_failure(spill->store, error, is_busy ? 503 : 507);
    }
}

static void
free_spill(struct spill *spill)
{
    close_file(spill);
    take(&held_bytes, spill->extent_at);
    slice_queue_fini(&spill->pending);
    slice_queue_fini(&spill->ready);
    budget_give(sizeof(*spill));
    free(spill);
}

static void
end_write(struct spill *spill)
{
    uint64_t bytes = spill->moving.bytes;
    slice_queue_fini(&spill->moving);
    spill->write_at += bytes;
}

static void
end_read(struct spill *spill)
{
    uint64_t bytes = spill->buffer.len;
    struct slice buffer = spill->buffer;
    spill->buffer = (struct slice){ .fd = -1 };
    if (spill->error != 0) {
        slice_drop(&buffer);
    } else if (slice_queue_push(&spill->ready, buffer) < 0) {
        fail(spill, -ENOMEM);
    } else {
        spill->read_at += bytes;
        spill->is_wanted = false;
    }
}

static void
on_done(struct pool_task *task, enum pool_outcome outcome)
{
    struct spill *spill = (struct spill *)((char *)task - offsetof(struct spill, task));
    enum spill_state state = spill->state;
    timer_cancel(&spill->late);
    spill->store->out--;
    spill->state = SPILL_IDLE;
    if (state == SPILL_CLOSING) {
        free_spill(spill);
        return;
    }
    int result = outcome == POOL_RAN ? spill->result : -EBUSY;
    if (result < 0 && !spill->is_closed) {
        fail(spill, result);
    }
    if (state == SPILL_WRITING) {
        end_write(spill);
    } else {
        end_read(spill);
    }
    bool is_closed = spill->is_closed;
    step(spill); /* frees one that is closed */
    if (!is_closed) {
        spill->news(spill->owner);
    }
}

/* A disk that does not answer: nobody waits for it any longer. The thread still has its piece.
 */
static void
on_late(struct timer *timer)
{
    struct spill *spill = (struct spill *)((char *)timer - offsetof(struct spill, late));
    fail(spill, -ETIMEDOUT);
    spill->news(spill->owner);
}

static void
submit(struct spill *spill, enum spill_state state)
{
    uint64_t due_ns = clock_add_ns(loop_now_ns(spill->store->loop), spill->wait_ns);
    if (state != SPILL_CLOSING && due_ns != CLOCK_NEVER &&
            timer_set(&spill->late, due_ns) < 0) {
        fail(spill, -ENOMEM);
        slice_queue_fini(&spill->moving);
        slice_drop(&spill->buffer);
        return;
    }
    spill->state = state;
    spill->task = (struct pool_task){
        .run = run_task,
        .done = on_done,
        .reply_to = spill->store->mailbox,
    };
    spill->store->out++;
    pool_submit(spill->store->pool, &spill->task);
}

static void
begin_write(struct spill *spill)
{
    uint64_t end_at = spill->write_at + spill->pending.bytes;
    if (end_at > spill->extent_at) {
        int r = hold_bytes(end_at - spill->extent_at);
        if (r < 0) {
            fail(spill, r);
            return;
        }
        spill->extent_at = end_at;
    }
    if (slice_queue_move(&spill->pending, &spill->moving, spill->pending.bytes) < 0) {
        fail(spill, -ENOMEM);
        slice_queue_fini(&spill->moving);
        return;
    }
    submit(spill, SPILL_WRITING);
}

static void
begin_read(struct spill *spill)
{
    uint64_t len = budget_level() == BUDGET_AMPLE ? READ_BYTES : TIGHT_READ_BYTES;
    uint64_t left = spill->write_at - spill->read_at;
    if (slice_alloc((size_t)(len < left ? len : left), &spill->buffer, &spill->memory) < 0) {
        fail(spill, -ENOMEM);
        return;
    }
    submit(spill, SPILL_READING);
}

/* Once it is idle: what comes next, if anything. */
static void
step(struct spill *spill)
{
    if (spill->state != SPILL_IDLE) {
        return;
    }
    if (spill->is_closed) {
        if (spill->fd == -1) {
            free_spill(spill);
        } else {
            submit(spill, SPILL_CLOSING);
        }
        return;
    }
    if (spill->error != 0) {
        return;
    }
    bool has_file = spill->read_at < spill->write_at;
    bool is_wanted = spill->is_wanted && spill->ready.count == 0;
    if (is_wanted && has_file) {
        begin_read(spill);
        return;
    }
    if (!has_file) {
        spill->read_at = spill->write_at = 0; /* from the beginning again */
    }
    if (is_wanted && spill->pending.count > 0) {
        spill->is_wanted = false;
        if (slice_queue_move(&spill->pending, &spill->ready, spill->pending.bytes) < 0) {
            fail(spill, -ENOMEM);
        }
        return;
    }
    uint64_t enough = budget_level() == BUDGET_AMPLE ? WRITE_BYTES : TIGHT_WRITE_BYTES;
    if (spill->pending.bytes >= enough) {
        begin_write(spill);
    }
}

/* ---- doors ----------------------------------------------------------------------------- */

struct spill *
spill_new(struct spill_store *store, uint64_t wait_ns, spill_news_fn *news, void *owner)
{
    struct spill *spill = calloc(1, sizeof(*spill));
    if (spill == NULL) {
        return NULL;
    }
    budget_take(sizeof(*spill));
    spill->store = store;
    spill->news = news;
    spill->owner = owner;
    spill->wait_ns = wait_ns;
    timer_init(&spill->late, store->loop, on_late);
    spill->fd = -1;
    spill->buffer.fd = -1;
    slice_queue_init(&spill->pending);
    slice_queue_init(&spill->ready);
    slice_queue_init(&spill->moving);
    return spill;
}

void
spill_close(struct spill *spill)
{
    if (spill == NULL) {
        return;
    }
    spill->is_closed = true;
    timer_cancel(&spill->late);
    slice_queue_fini(&spill->pending);
    slice_queue_fini(&spill->ready);
    step(spill);
}

int
spill_push(struct spill *spill, struct weir_str bytes)
{
    int r = slice_queue_append(&spill->pending, bytes);
    if (r == 0) {
        step(spill);
    }
    return r;
}

uint64_t
spill_room(const struct spill *spill)
{
    uint64_t most = budget_level() == BUDGET_AMPLE ? PENDING_BYTES : TIGHT_WRITE_BYTES;
    return spill->pending.bytes < most ? most - spill->pending.bytes : 0;
}

uint64_t
spill_bytes(const struct spill *spill)
{
    /* Of the piece that is out, what is read stands in the file yet, and what is written does
     * not. */
    uint64_t moving = spill->state == SPILL_WRITING ? spill->moving.bytes : 0;
    return spill->ready.bytes + (spill->write_at - spill->read_at) + moving +
            spill->pending.bytes;
}

static bool
move_ready(struct spill *spill, struct slice_queue *to)
{
    uint64_t bytes = spill->ready.bytes;
    if (bytes > 0 && slice_queue_move(&spill->ready, to, bytes) < 0) {
        fail(spill, -ENOMEM);
    }
    return bytes > 0;
}

bool
spill_take(struct spill *spill, struct slice_queue *to)
{
    bool has_moved = move_ready(spill, to);
    spill->is_wanted = true;
    step(spill);
    return move_ready(spill, to) || has_moved; /* what was pending may be ready at once */
}

int
spill_error(const struct spill *spill)
{
    return spill->error;
}
