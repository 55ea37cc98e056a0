/* SPDX-License-Identifier: MIT */
/* Joining, queueing and writing. */
#include "http/output.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "base/assert.h"

/* Runs up to here are joined in the buffer: copying them costs less than another iovec. */
#define JOIN_BYTES 4096u

/* One call of send_file: large enough to be cheap (1 MiB in one call costs a seventh less than
 * in four), small enough to share the loop. */
#define FILE_PORTION_BYTES (1024u << 10)

/* A connection gives way to the others after this much. */
#define TURN_BYTES (2u << 20)

/* In front of a file up to here the head waits for its bytes, so that both leave in one packet.
 * In front of a longer one it does not: the pages that sendfile() appends to a packet that
 * begins with copied bytes cost the kernel two to three times as much (1 MiB on loopback: 72
 * against 120 us, and up to 190). */
#define JOIN_FILE_BYTES 65536u

#define PARTS_MAX 32

void
output_begin(struct output *output, struct engine *engine, struct stream *stream,
        struct output_state *state)
{
    output->state = state;
    output->stream = stream;
    output->buffer = engine->output;
    output->used_bytes = 0;
    output->turn_bytes = 0;
    output->last = OUTPUT_SENT;
    output->is_out_of_memory = output->has_source_failed = false;
    if (state->unsent == NULL) {
        slice_queue_init(&output->queue);
        return;
    }
    output->queue = *state->unsent;
    free(state->unsent);
    state->unsent = NULL;
}

/* Something is lost, so nothing behind it may leave either: what has come so far is a clean
 * beginning. It counts as queued, so that no answer passes for sent. */
static void
lose(struct output *output, uint64_t bytes)
{
    output->is_out_of_memory = true;
    output->state->queued_bytes += bytes;
}

static void
push(struct output *output, struct slice slice)
{
    uint64_t len = slice.len;
    if (output->is_out_of_memory) {
        slice_drop(&slice);
        lose(output, len);
    } else if (slice_queue_push(&output->queue, slice) < 0) {
        lose(output, len);
    } else {
        output->state->queued_bytes += len;
    }
}

/* Appends what stands at the end of the used part of the buffer, to the last slice if that
 * ends there. */
static void
push_buffered(struct output *output, size_t bytes)
{
    char *at = output->buffer + output->used_bytes;
    output->used_bytes += bytes;
    if (output->queue.count > 0 && !output->is_out_of_memory) {
        struct slice *last = slice_queue_at(&output->queue, output->queue.count - 1);
        if (last->kind == SLICE_BYTES && last->hold == NULL && last->ptr + last->len == at) {
            last->len += bytes;
            output->queue.bytes += bytes;
            output->state->queued_bytes += bytes;
            return;
        }
    }
    push(output, slice_static(weir_str_make(at, bytes)));
}

char *
output_reserve(struct output *output, size_t bytes)
{
    WEIR_ASSERT(bytes <= ENGINE_OUTPUT_BYTES);
    if (bytes > ENGINE_OUTPUT_BYTES - output->used_bytes &&
            output_flush(output) != OUTPUT_SENT) {
        return NULL;
    }
    return output->buffer + output->used_bytes;
}

void
output_wrote(struct output *output, size_t bytes)
{
    WEIR_ASSERT(bytes <= ENGINE_OUTPUT_BYTES - output->used_bytes);
    if (bytes > 0) {
        push_buffered(output, bytes);
    }
}

void
output_bytes(struct output *output, struct weir_str bytes)
{
    if (bytes.len <= ENGINE_OUTPUT_BYTES - output->used_bytes) {
        if (bytes.len > 0) {
            memcpy(output->buffer + output->used_bytes, bytes.ptr, bytes.len);
            push_buffered(output, bytes.len);
        }
        return;
    }
    struct slice slice;
    if (slice_copy(bytes, &slice) < 0) {
        lose(output, bytes.len);
        return;
    }
    push(output, slice);
}

bool
output_join(struct output *output, const struct slice *slice, uint64_t len)
{
    if (slice->kind != SLICE_BYTES || len > JOIN_BYTES ||
            len > ENGINE_OUTPUT_BYTES - output->used_bytes) {
        return false;
    }
    output_bytes(output, weir_str_make(slice->ptr, (size_t)len));
    return true;
}

void
output_slice(struct output *output, struct slice slice)
{
    if (output_join(output, &slice, slice.len)) {
        slice_drop(&slice);
    } else {
        push(output, slice);
    }
}

/* The slices in memory at the front of the queue. Returns how many; *more when what follows is
 * worth waiting for. */
static int
gather(struct output *output, struct iovec *parts, size_t *bytes, bool *more)
{
    int count = 0;
    uint32_t i = 0;
    *bytes = 0;
    for (; i < output->queue.count && count < PARTS_MAX; i++) {
        const struct slice *slice = slice_queue_at(&output->queue, i);
        if (slice->kind == SLICE_FILE) {
            break;
        }
        parts[count].iov_base = (void *)(uintptr_t)slice->ptr;
        parts[count].iov_len = (size_t)slice->len;
        *bytes += (size_t)slice->len;
        count++;
    }
    *more = i < output->queue.count;
    if (*more) {
        const struct slice *next = slice_queue_at(&output->queue, i);
        *more = next->kind != SLICE_FILE || next->len <= JOIN_FILE_BYTES;
    }
    return count;
}

/* True when sending a file failed for a reason that is not the peer's: it was cut short, or
 * could not be read. */
static bool
is_source_error(ssize_t error)
{
    return error != -EAGAIN && error != -EPIPE && error != -ECONNRESET && error != -ENOTCONN &&
            error != -ETIMEDOUT;
}

/* Writes the front of the queue. Returns bytes written or a negative errno; *wanted is how many
 * were offered. */
static ssize_t
write_front(struct output *output, size_t *wanted)
{
    const struct slice *front = slice_queue_at(&output->queue, 0);
    if (front->kind == SLICE_FILE) {
        int r = front->hold == NULL || front->hold->check == NULL
                ? 0
                : front->hold->check(front->hold);
        if (r < 0) {
            output->has_source_failed = true;
            return r; /* the file is another by now: better no end than a wrong one */
        }
        *wanted = front->len < FILE_PORTION_BYTES ? (size_t)front->len : FILE_PORTION_BYTES;
        ssize_t n = stream_send_file(output->stream, front->fd, front->file_offset, *wanted);
        if (n > 0) {
            *wanted = (size_t)n; /* less than asked says nothing about the socket */
        }
        n = n == 0 ? -ENODATA : n; /* the file was cut short under us */
        output->has_source_failed = n < 0 && is_source_error(n);
        return n;
    }
    struct iovec parts[PARTS_MAX];
    bool more;
    int count = gather(output, parts, wanted, &more);
    return stream_write(output->stream, parts, count, more);
}

enum output_result
output_flush(struct output *output)
{
    output->last = OUTPUT_SENT;
    while (output->queue.count > 0) {
        if (output->turn_bytes >= TURN_BYTES) {
            output->last = OUTPUT_YIELDED;
            return output->last;
        }
        size_t wanted;
        ssize_t n = write_front(output, &wanted);
        if (n < 0) {
            output->last = n == -EAGAIN ? OUTPUT_BLOCKED : OUTPUT_BROKEN;
            return output->last;
        }
        slice_queue_consume(&output->queue, (uint64_t)n);
        output->state->sent_bytes += (uint64_t)n;
        output->turn_bytes += (uint64_t)n;
        if ((size_t)n < wanted) {
            output->last = OUTPUT_BLOCKED;
            return output->last;
        }
    }
    output->used_bytes = 0;
    return output->last;
}

/* Slices in the engine's buffer move to the heap, as one piece each. */
static int
unbuffer(struct output *output)
{
    for (uint32_t i = 0; i < output->queue.count; i++) {
        struct slice *slice = slice_queue_at(&output->queue, i);
        if (slice->kind != SLICE_BYTES || slice->hold != NULL || slice->ptr < output->buffer ||
                slice->ptr >= output->buffer + ENGINE_OUTPUT_BYTES) {
            continue;
        }
        struct slice copy;
        if (slice_copy(weir_str_make(slice->ptr, (size_t)slice->len), &copy) < 0) {
            return -ENOMEM;
        }
        *slice = copy;
    }
    return 0;
}

int
output_end(struct output *output)
{
    struct output_state *state = output->state;
    if (output->queue.count == 0) {
        slice_queue_fini(&output->queue);
        return output->is_out_of_memory ? -ENOMEM : 0;
    }
    state->unsent = output->is_out_of_memory ? NULL : malloc(sizeof(*state->unsent));
    if (state->unsent == NULL || unbuffer(output) < 0) {
        free(state->unsent);
        state->unsent = NULL;
        slice_queue_fini(&output->queue);
        return -ENOMEM;
    }
    *state->unsent = output->queue;
    return 0;
}

void
output_state_fini(struct output_state *state)
{
    if (state->unsent != NULL) {
        slice_queue_fini(state->unsent);
        free(state->unsent);
        state->unsent = NULL;
    }
}
