/* SPDX-License-Identifier: MIT */
/* One task a spill is out at a time, so that there is one order of things:
 *
 *     IDLE --enough is pending--> WRITING --+
 *       |  \-somebody takes-----> READING --+--> IDLE
 *       +---nobody wants it-----> CLOSING -----> freed
 *
 * While it is out the thread has `moving` or `buffer`, the offsets and the descriptor, and the
 * loop leaves them alone.
 *
 * Of an answer, what could not be written stays in `moving`, between what is in the file and
 * what is pending; nothing is written until some of it was taken. */
#include "http/spill.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/budget.h"
#include "event/loop.h"
#include "event/pool.h"
#include "event/timer.h"
#include "http/spill_parts.h"

/* A piece that is written at once when it is there, and what is pending at most meanwhile; and
 * what is read back at once. The smaller ones are for tight memory. */
#define WRITE_BYTES       (64u << 10)
#define PENDING_BYTES     (256u << 10)
#define READ_BYTES        (64u << 10)
#define TIGHT_WRITE_BYTES (16u << 10)
#define TIGHT_READ_BYTES  (16u << 10)

/* An answer that is to be read back, and no thread is free: it is tried again so much later. */
#define RETRY_NS (100 * NS_PER_MS)

enum spill_state {
    SPILL_IDLE,
    SPILL_WRITING,
    SPILL_READING,
    SPILL_CLOSING,
};

struct spill {
    struct spill_store *store; /* borrowed */
    enum spill_kind kind;
    spill_news_fn *news;
    void *owner;
    uint64_t wait_ns;

    enum spill_state state;
    bool is_closed; /* nobody wants it: it ends with the task that is out */
    bool is_wanted; /* somebody takes, and got too little */
    bool is_stuck;  /* of an answer: it could not be written */
    int error;
    uint64_t busy_ns;  /* since when no thread was free to read it back; 0: one was */
    struct timer late; /* set while a piece is out, and until it is tried again */

    struct slice_queue pending;            /* the newest */
    struct slice_queue ready;              /* the oldest, next to be taken */
    uint64_t read_at, write_at, extent_at; /* of the file: [read, write) is wanted */
    int fd;                                /* owned; -1: not made yet */

    /* The task's while it is out. */
    struct pool_task task;
    struct slice_queue moving; /* WRITING, or is_stuck */
    struct slice buffer;       /* READING */
    char *memory;              /* buffer's */
    int result;                /* 0 or a negative errno */
};

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
        int fd = spill_make_file(spill->store->directory);
        if (fd < 0) {
            return fd;
        }
        spill->fd = fd;
        spill_count(spill->kind, SPILL_COUNT_FILES, 1);
    }
    uint64_t at = spill->write_at;
    int r = 0;
    for (uint32_t i = 0; i < spill->moving.count && r == 0; i++) {
        const struct slice *slice = slice_queue_at(&spill->moving, i);
        r = write_all(spill->fd, slice->ptr, (size_t)slice->len, at);
        at += slice->len;
    }
    if (r == 0) {
        spill_count(spill->kind, SPILL_COUNT_WRITTEN, (int64_t)(at - spill->write_at));
    }
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
        spill_count(spill->kind, SPILL_COUNT_FILES, -1);
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

static bool
is_busy(int error)
{
    return error == -EBUSY || error == -EMFILE || error == -ENFILE || error == -ETIMEDOUT;
}

static void
fail(struct spill *spill, int error)
{
    if (spill->error != 0) {
        return;
    }
    spill->error = error == -ENOMEM ? error : is_busy(error) ? -EBUSY : -ENOSPC;
    spill_count(spill->kind, SPILL_COUNT_FAILURES, 1);
    if (error == -ENOMEM) {
        return;
    }
    if (spill->kind == SPILL_REQUEST) {
        spill_tell_of_failure(spill->store, spill->kind, error,
                "bodies of requests cannot be kept in", is_busy(error) ? "503" : "507");
    } else {
        spill_tell_of_failure(spill->store, spill->kind, error,
                "answers cannot be had back from", "they are broken off");
    }
}

/* What is in `moving` and pending cannot be written. */
static void
stay(struct spill *spill, int error)
{
    if (spill->kind == SPILL_REQUEST) {
        fail(spill, error);
        slice_queue_fini(&spill->moving);
        return;
    }
    spill->is_stuck = true;
    spill_count(spill->kind, SPILL_COUNT_FAILURES, 1);
    if (error != -ENOMEM) {
        spill_tell_of_failure(spill->store, spill->kind, error, "answers cannot be kept in",
                "whoever makes them waits for their clients");
    }
}

static void
free_spill(struct spill *spill)
{
    close_file(spill);
    spill_give_bytes(spill->kind, spill->extent_at);
    slice_queue_fini(&spill->pending);
    slice_queue_fini(&spill->ready);
    slice_queue_fini(&spill->moving);
    budget_give(sizeof(*spill));
    free(spill);
}

static void
end_write(struct spill *spill, int result)
{
    if (result < 0) {
        stay(spill, result);
        return;
    }
    spill->write_at += spill->moving.bytes;
    slice_queue_fini(&spill->moving);
}

/* Whether what no thread was free to read back is to be tried again. */
static bool
may_retry(struct spill *spill, int result)
{
    if (result != -EBUSY || spill->kind == SPILL_REQUEST) {
        return false;
    }
    uint64_t now_ns = loop_now_ns(spill->store->loop);
    spill->busy_ns = spill->busy_ns == 0 ? now_ns : spill->busy_ns;
    return now_ns < clock_add_ns(spill->busy_ns, spill->wait_ns) &&
            timer_set(&spill->late, clock_add_ns(now_ns, RETRY_NS)) == 0;
}

/* False when it is to be tried again later. */
static bool
end_read(struct spill *spill, int result)
{
    struct slice buffer = spill->buffer;
    spill->buffer = (struct slice){ .fd = -1 };
    if (result < 0) {
        slice_drop(&buffer);
        if (may_retry(spill, result)) {
            return false;
        }
        fail(spill, result);
        return true;
    }
    uint64_t bytes = buffer.len;
    if (spill->error != 0) {
        slice_drop(&buffer);
    } else if (slice_queue_push(&spill->ready, buffer) < 0) {
        fail(spill, -ENOMEM);
    } else {
        spill->read_at += bytes;
        spill->is_wanted = false;
        spill->busy_ns = 0;
    }
    return true;
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
    if (spill->is_closed) {
        slice_queue_fini(&spill->moving);
        slice_drop(&spill->buffer);
        step(spill); /* frees it, or has its file closed */
        return;
    }
    int result = outcome == POOL_RAN ? spill->result : -EBUSY;
    if (state == SPILL_WRITING) {
        end_write(spill, result);
    } else if (!end_read(spill, result)) {
        return;
    }
    step(spill);
    spill->news(spill->owner);
}

/* A disk that does not answer: nobody waits for it any longer. The thread still has its piece.
 * Or one that nobody had the time to ask is asked again. */
static void
on_late(struct timer *timer)
{
    struct spill *spill = (struct spill *)((char *)timer - offsetof(struct spill, late));
    if (spill->state == SPILL_IDLE) {
        step(spill);
        return;
    }
    fail(spill, -ETIMEDOUT);
    spill->news(spill->owner);
}

static void
submit(struct spill *spill, enum spill_state state)
{
    uint64_t due_ns = clock_add_ns(loop_now_ns(spill->store->loop), spill->wait_ns);
    timer_cancel(&spill->late);
    if (state != SPILL_CLOSING && due_ns != CLOCK_NEVER &&
            timer_set(&spill->late, due_ns) < 0) {
        if (state == SPILL_WRITING) {
            stay(spill, -ENOMEM);
        } else {
            fail(spill, -ENOMEM);
            slice_drop(&spill->buffer);
        }
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
        int r = spill_hold_bytes(spill->kind, end_at - spill->extent_at);
        if (r < 0) {
            stay(spill, r);
            return;
        }
        spill->extent_at = end_at;
    }
    if (slice_queue_move(&spill->pending, &spill->moving, spill->pending.bytes) < 0) {
        stay(spill, -ENOMEM); /* what has moved already comes before what has not */
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
    struct slice_queue *oldest = spill->moving.count > 0 ? &spill->moving : &spill->pending;
    if (is_wanted && oldest->count > 0) {
        spill->is_wanted = spill->is_stuck = false;
        if (slice_queue_move(oldest, &spill->ready, oldest->bytes) < 0) {
            fail(spill, -ENOMEM);
        }
        return;
    }
    if (spill->is_stuck) {
        return;
    }
    uint64_t enough = budget_level() == BUDGET_AMPLE ? WRITE_BYTES : TIGHT_WRITE_BYTES;
    if (spill->pending.bytes >= enough) {
        begin_write(spill);
    }
}

/* ---- doors ----------------------------------------------------------------------------- */

struct spill *
spill_new(struct spill_store *store, enum spill_kind kind, uint64_t wait_ns,
        spill_news_fn *news, void *owner)
{
    struct spill *spill = calloc(1, sizeof(*spill));
    if (spill == NULL) {
        return NULL;
    }
    budget_take(sizeof(*spill));
    spill->store = store;
    spill->kind = kind;
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

int
spill_move(struct spill *spill, struct slice_queue *from, uint64_t bytes)
{
    int r = slice_queue_move(from, &spill->pending, bytes);
    step(spill);
    return r;
}

uint64_t
spill_room(const struct spill *spill)
{
    uint64_t most = budget_level() == BUDGET_AMPLE ? PENDING_BYTES : TIGHT_WRITE_BYTES;
    uint64_t held = spill->pending.bytes + (spill->is_stuck ? spill->moving.bytes : 0);
    return held < most ? most - held : 0;
}

uint64_t
spill_bytes(const struct spill *spill)
{
    /* Of the piece that is out, what is read stands in the file yet, and what is written does
     * not. */
    return spill->ready.bytes + (spill->write_at - spill->read_at) + spill->moving.bytes +
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
