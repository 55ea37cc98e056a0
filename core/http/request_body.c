/* SPDX-License-Identifier: MIT */
/* A request's body on its way in.
 *
 *     transport --push--> queue ------------------------------> filters, readers
 *                     \--more than may be in memory--> spill --^
 *
 * A body that is kept (limits.body_buffer) is read before a handler is asked; of one that is
 * not, only so much that its reader need not wait for the network. What the spill has follows
 * what stands in the queue. */
#include <errno.h>

#include "base/assert.h"
#include "base/budget.h"
#include "http/request.h"
#include "http/spill.h"

/* What stands ready for a reader. */
#define MARK_BYTES (64u << 10)

/* The same while memory is tight: enough to get on with, little enough for a server full of
 * clients that do not. */
#define TIGHT_MARK_BYTES 4096u

void
request_body_init(struct request_body *in)
{
    slice_queue_init(&in->queue);
    in->mark_bytes = MARK_BYTES;
    in->memory_bytes = UINT64_MAX;
    in->read = &in->queue;
}

void
request_body_drop(struct request_body *in)
{
    slice_queue_fini(&in->queue);
    spill_close(in->spill);
    in->spill = NULL;
}

/* ---- what is kept ------------------------------------------------------------------------ */

bool
request_body_is_spilled(const struct request_body *in)
{
    return in->spill != NULL && spill_bytes(in->spill) > 0;
}

void
request_body_keep(struct weir_request *request)
{
    struct request_body *in = &request->in;
    const struct http_limits *limits = request->limits;
    in->wanted = true;
    if (limits->body_buffer_bytes > in->mark_bytes) {
        in->mark_bytes = limits->body_buffer_bytes;
    }
    if (request->engine->spills != NULL) {
        /* One less than for ever, which is what says that nothing is spilled. */
        in->memory_bytes = limits->body_memory_bytes < UINT64_MAX ? limits->body_memory_bytes
                                                                  : UINT64_MAX - 1;
    }
}

bool
request_body_is_kept(const struct weir_request *request)
{
    const struct request_body *in = &request->in;
    return in->ended || in->error != 0 ||
            in->received_bytes >= request->limits->body_buffer_bytes;
}

/* So much of a kept body is in the queue; the rest is spilled. */
static uint64_t
memory_mark(const struct request_body *in)
{
    bool is_tight = in->memory_bytes > TIGHT_MARK_BYTES && budget_level() != BUDGET_AMPLE;
    return is_tight ? TIGHT_MARK_BYTES : in->memory_bytes;
}

static bool
is_for_spill(const struct request_body *in)
{
    return request_body_is_spilled(in) || in->queue.bytes >= memory_mark(in);
}

static uint64_t
kept_room(const struct weir_request *request)
{
    const struct request_body *in = &request->in;
    uint64_t kept = in->queue.bytes + (in->spill == NULL ? 0 : spill_bytes(in->spill));
    uint64_t left = kept < in->mark_bytes ? in->mark_bytes - kept : 0;
    uint64_t room = !is_for_spill(in) ? memory_mark(in) - in->queue.bytes
            : in->spill == NULL       ? MARK_BYTES
                                      : spill_room(in->spill);
    return left < room ? left : room;
}

/* The reader learns of it, unless all that it wanted has come. */
static void
take_error(struct request_body *in)
{
    int error = in->spill == NULL ? 0 : spill_error(in->spill);
    if (error != 0 && in->error == 0) {
        in->error = error == -ENOSPC ? -ENOSPC : -ENOMEM;
    }
}

static void
on_spill_news(void *owner)
{
    struct weir_request *request = owner;
    take_error(&request->in);
    request_wake(request);
}

/* Returns 0, or a negative errno, as for in.error. */
static int
keep(struct weir_request *request, struct weir_str bytes)
{
    struct request_body *in = &request->in;
    if (in->memory_bytes == UINT64_MAX || !is_for_spill(in)) {
        return slice_queue_append(&in->queue, bytes);
    }
    if (in->spill == NULL) {
        in->spill = spill_new(request->engine->spills, SPILL_REQUEST,
                request->timeouts->wait_ns, on_spill_news, request);
    }
    int r = in->spill == NULL ? -ENOMEM : spill_push(in->spill, bytes);
    take_error(in);
    return r < 0 ? r : in->error;
}

bool
request_body_refill(struct weir_request *request)
{
    struct request_body *in = &request->in;
    uint64_t mark = memory_mark(in);
    if (!request_body_is_spilled(in) ||
            in->queue.bytes >= (mark < MARK_BYTES ? mark : MARK_BYTES)) {
        return false;
    }
    bool has_moved = spill_take(in->spill, &in->queue);
    take_error(in);
    return has_moved;
}

/* ---- the transport's end ----------------------------------------------------------------- */

uint64_t
request_body_room(const struct weir_request *request)
{
    const struct request_body *in = &request->in;
    if (in->is_checked) {
        return UINT64_MAX; /* nothing of it is kept */
    }
    if (in->memory_bytes != UINT64_MAX) {
        return kept_room(request);
    }
    uint64_t mark_bytes = in->mark_bytes;
    if (mark_bytes > TIGHT_MARK_BYTES && budget_level() != BUDGET_AMPLE) {
        mark_bytes = TIGHT_MARK_BYTES;
    }
    return in->queue.bytes < mark_bytes ? mark_bytes - in->queue.bytes : 0;
}

static bool
is_too_long(const struct weir_request *request, uint64_t bytes)
{
    const struct request_body *in = &request->in;
    uint64_t limit_bytes = in->is_raw ? HTTP_UNLIMITED : request->limits->body_bytes;
    return bytes > limit_bytes || in->received_bytes > limit_bytes - bytes;
}

/* `r` is what became of them. */
static int
count(struct request_body *in, uint64_t bytes, int r)
{
    if (r < 0) {
        in->error = r;
    } else {
        in->received_bytes += bytes;
    }
    return r;
}

int
request_body_push(struct weir_request *request, struct weir_str bytes)
{
    struct request_body *in = &request->in;
    WEIR_ASSERT(!in->ended && in->error == 0);
    int r = is_too_long(request, bytes.len) ? -EMSGSIZE
            : in->is_checked                ? 0
                                            : keep(request, bytes);
    return count(in, bytes.len, r);
}

bool
request_body_takes_slices(const struct weir_request *request)
{
    return !request->in.is_checked && request->in.memory_bytes == UINT64_MAX;
}

int
request_body_push_slice(struct weir_request *request, struct slice slice)
{
    struct request_body *in = &request->in;
    WEIR_ASSERT(!in->ended && in->error == 0 && request_body_takes_slices(request));
    if (is_too_long(request, slice.len)) {
        slice_drop(&slice);
        return count(in, 0, -EMSGSIZE);
    }
    return count(in, slice.len, slice_queue_push(&in->queue, slice));
}

void
request_body_end(struct weir_request *request, struct weir_str trailers)
{
    request->in.ended = true;
    if (trailers.len > 0) {
        /* Without memory the request goes on without its trailers, as it may (RFC 9110 6.5). */
        request->in.trailers = arena_copy(&request->arena, trailers);
    }
}

void
request_body_fail(struct weir_request *request, int error)
{
    WEIR_ASSERT(error < 0);
    if (!request->in.ended && request->in.error == 0) {
        request->in.error = error;
    }
}

uint16_t
request_body_status(int error)
{
    switch (error) {
    case -EMSGSIZE:
        return 413;
    case -E2BIG:
        return 431;
    case -ETIMEDOUT:
        return 408;
    case -ENOMEM:
        return 503;
    case -ENOSPC:
        return 507;
    default:
        return 400;
    }
}

/* ---- the reader's end -------------------------------------------------------------------- */

uint64_t
weir_body_length(const struct weir_request *request)
{
    switch (request->head.body) {
    case HEAD_BODY_NONE:
        return 0;
    case HEAD_BODY_LENGTH:
        return request->head.body_bytes;
    case HEAD_BODY_CHUNKED:
        return LENGTH_UNKNOWN;
    }
    return 0;
}

ssize_t
weir_body_read(struct weir_request *request, void *dst, size_t dst_bytes)
{
    struct request_body *in = &request->in;
    in->wanted = true;
    size_t moved = 0;
    while (moved < dst_bytes && in->read->count > 0) {
        const struct slice *front = slice_queue_at(in->read, 0);
        size_t len = front->len < dst_bytes - moved ? (size_t)front->len : dst_bytes - moved;
        memcpy((char *)dst + moved, front->ptr, len);
        slice_queue_consume(in->read, len);
        moved += len;
    }
    if (moved > 0 || dst_bytes == 0) {
        return (ssize_t)moved;
    }
    if (in->error != 0) {
        return in->error;
    }
    return request_body_is_read(in) ? 0 : -EAGAIN;
}
