/* SPDX-License-Identifier: MIT */
/* An answer's body on its way out.
 *
 *     written ------> queue --------------------------------------------> filters, wire
 *        \--kept, and more than may be in memory--> spill --> behind --^
 *
 * Whoever writes an answer waits for its client, unless it is kept (weir_reply_keep()). Then
 * what the spill has follows what stands in the queue, and `behind` follows that: ranges of
 * files, which take no memory, and what was written after them. */
#include <errno.h>

#include <weir/reply.h>

#include "base/budget.h"
#include "http/request.h"
#include "http/spill.h"
#include "http/upgrade.h"

/* What of a kept answer is brought back stands ready up to here. */
#define READY_BYTES (64u << 10)

/* The mark while memory is tight: enough to get on with, little enough for a server full of
 * clients that do not. */
#define TIGHT_MARK_BYTES 16384u

/* A shorter run that a source hands over is copied, to share a block with its neighbours:
 * moved, a few bytes a turn would each hold a block of their own for as long as the client is
 * slow. */
#define COPIED_BYTES 1024u

struct reply_kept {
    uint64_t most_bytes;       /* of all that has not left; above it writers wait */
    uint64_t memory_bytes;     /* so much of it is in the queue, the rest is spilled */
    struct spill *spill;       /* owned; follows the queue; NULL: nothing can be spilled */
    struct slice_queue behind; /* follows the spill */
};

static uint64_t
below(uint64_t mark_bytes, uint64_t bytes)
{
    return bytes < mark_bytes ? mark_bytes - bytes : 0;
}

static uint64_t
tightened(uint64_t mark_bytes)
{
    bool is_tight = mark_bytes > TIGHT_MARK_BYTES && budget_level() != BUDGET_AMPLE;
    return is_tight ? TIGHT_MARK_BYTES : mark_bytes;
}

/* ---- where it goes ----------------------------------------------------------------------- */

static uint64_t
spilled_bytes(const struct reply_kept *kept)
{
    return kept->spill == NULL ? 0 : spill_bytes(kept->spill);
}

uint64_t
reply_bytes_behind(const struct reply *reply)
{
    return reply->kept == NULL ? 0 : spilled_bytes(reply->kept) + reply->kept->behind.bytes;
}

/* Whether bytes in memory go on to the spill. */
static bool
is_for_spill(const struct reply *reply)
{
    const struct reply_kept *kept = reply->kept;
    return kept != NULL && kept->spill != NULL && kept->behind.bytes == 0 &&
            (spilled_bytes(kept) > 0 || reply->queue.bytes >= tightened(kept->memory_bytes));
}

/* The queue for what is not spilled. */
static struct slice_queue *
queue_of(struct reply *reply)
{
    return reply_bytes_behind(reply) > 0 ? &reply->kept->behind : &reply->queue;
}

int
reply_append(struct weir_request *request, struct weir_str bytes)
{
    struct reply *reply = &request->reply;
    int r = is_for_spill(reply) ? spill_push(reply->kept->spill, bytes)
                                : slice_queue_append(queue_of(reply), bytes);
    if (r == 0) {
        reply->written_bytes += bytes.len;
    }
    return r;
}

int
reply_push(struct weir_request *request, struct slice slice)
{
    struct reply *reply = &request->reply;
    uint64_t len = slice.len;
    int r;
    if (slice.kind == SLICE_BYTES && is_for_spill(reply)) {
        struct slice_queue one;
        slice_queue_init(&one);
        r = slice_queue_push(&one, slice);
        r = r < 0 ? r : spill_move(reply->kept->spill, &one, one.bytes);
        slice_queue_fini(&one);
    } else {
        r = slice_queue_push(queue_of(reply), slice);
    }
    if (r == 0) {
        reply->written_bytes += len;
    }
    return r;
}

/* Moves the first `bytes` of `from`, all of one slice. */
static int
take_slice(struct reply *reply, struct slice_queue *from, const struct slice *front,
        uint64_t bytes)
{
    bool is_spilled = front->kind == SLICE_BYTES && is_for_spill(reply);
    bool is_copied = front->kind == SLICE_BYTES && front->hold != NULL && bytes < COPIED_BYTES;
    if (!is_copied) {
        return is_spilled ? spill_move(reply->kept->spill, from, bytes)
                          : slice_queue_move(from, queue_of(reply), bytes);
    }
    struct weir_str run = weir_str_make(front->ptr, (size_t)bytes);
    int r = is_spilled ? spill_push(reply->kept->spill, run)
                       : slice_queue_append(queue_of(reply), run);
    if (r == 0) {
        slice_queue_consume(from, bytes);
    }
    return r;
}

int
reply_take(struct weir_request *request, struct slice_queue *from, uint64_t bytes)
{
    uint64_t before = from->bytes;
    int r = 0;
    while (r == 0 && bytes > 0) {
        const struct slice *front = slice_queue_at(from, 0);
        uint64_t len = front->len < bytes ? front->len : bytes;
        r = take_slice(&request->reply, from, front, len);
        bytes -= len;
    }
    request->reply.written_bytes += before - from->bytes;
    return r;
}

/* ---- room -------------------------------------------------------------------------------- */

static uint64_t
kept_room(const struct reply *reply)
{
    const struct reply_kept *kept = reply->kept;
    uint64_t left = below(kept->most_bytes, reply->queue.bytes + reply_bytes_behind(reply));
    uint64_t room = is_for_spill(reply)
            ? spill_room(kept->spill)
            : below(tightened(kept->memory_bytes), reply->queue.bytes + kept->behind.bytes);
    return left < room ? left : room;
}

uint64_t
reply_room(const struct weir_request *request)
{
    const struct reply *reply = &request->reply;
    return reply->kept != NULL ? kept_room(reply)
                               : below(tightened(reply->mark_bytes), reply->queue.bytes);
}

/* ---- what is kept ------------------------------------------------------------------------ */

/* Something of the answer is lost: the client must see that it is not whole, or gets another
 * answer. */
static void
check_spill(struct weir_request *request)
{
    struct reply *reply = &request->reply;
    int error = spill_error(reply->kept->spill);
    if (error == 0 || reply->is_broken) {
        return;
    }
    if (reply->head_left) {
        reply_drop_source(request);
        reply->is_broken = true;
    } else {
        request->forced_status = error == -ENOSPC ? 500 : 503;
    }
    request_wake(request);
}

static void
on_spill_news(void *owner)
{
    struct weir_request *request = owner;
    check_spill(request);
    request_wake(request);
}

bool
reply_refill(struct weir_request *request)
{
    struct reply *reply = &request->reply;
    struct reply_kept *kept = reply->kept;
    if (kept == NULL || reply->queue.bytes >= READY_BYTES || reply->is_broken) {
        return false;
    }
    if (spilled_bytes(kept) > 0) {
        bool has_moved = spill_take(kept->spill, &reply->queue);
        check_spill(request);
        return has_moved;
    }
    if (kept->behind.bytes == 0) {
        return false;
    }
    if (slice_queue_move(&kept->behind, &reply->queue, kept->behind.bytes) < 0 &&
            reply->queue.bytes == 0) {
        reply->is_broken = true;
    }
    return true;
}

void
reply_drop_body(struct reply *reply)
{
    slice_queue_fini(&reply->queue);
    if (reply->kept != NULL) {
        spill_close(reply->kept->spill);
        slice_queue_fini(&reply->kept->behind);
        reply->kept = NULL;
    }
}

int
weir_reply_keep(struct weir_request *request)
{
    struct reply *reply = &request->reply;
    if (reply->state == REPLY_NONE || reply->ended) {
        return -EINVAL;
    }
    if (reply->kept != NULL || reply_is_switch(reply)) {
        return 0; /* whoever sends through a tunnel waits for whoever reads */
    }
    struct reply_kept *kept = arena_zalloc(&request->arena, sizeof(*kept));
    if (kept == NULL) {
        return -ENOMEM;
    }
    if (request->engine->spills != NULL) {
        kept->spill = spill_new(request->engine->spills, SPILL_REPLY,
                request->timeouts->wait_ns, on_spill_news, request);
        if (kept->spill == NULL) {
            return -ENOMEM;
        }
    }
    kept->most_bytes = request->limits->reply_buffer_bytes;
    kept->memory_bytes = request->limits->reply_memory_bytes;
    slice_queue_init(&kept->behind);
    reply->kept = kept;
    return 0;
}
