/* SPDX-License-Identifier: MIT */
/* Which filter is called when, and what it may do with its two queues. */
#include "module/filter.h"

#include <errno.h>
#include <unistd.h>

#include "base/assert.h"

#define WANT_MAX_BYTES 65536u
#define STALLS_MAX     3u

static void
fini_filter(void *object)
{
    struct weir_filter *filter = object;
    slice_queue_fini(&filter->output);
}

int
filter_line_add(struct filter_line *line, struct arena *arena, struct slice_queue *source,
        const struct chain_entry *entry)
{
    struct weir_filter *filter = arena_zalloc(arena, sizeof(*filter));
    if (filter == NULL || arena_defer(arena, fini_filter, filter) < 0) {
        return -ENOMEM;
    }
    slice_queue_init(&filter->output);
    filter->entry = entry;
    if (line->first == NULL) {
        line->source = source;
        line->first = filter;
        filter->input = source;
    } else {
        line->last->next = filter;
        filter->input = &line->last->output;
    }
    line->last = filter;
    return 0;
}

/* The first `bytes` of the input as one slice in memory. */
static int
join(struct slice_queue *queue, size_t bytes)
{
    struct slice joined;
    char *memory;
    if (slice_alloc(bytes, &joined, &memory) < 0) {
        return -ENOMEM;
    }
    size_t at = 0;
    for (uint32_t i = 0; at < bytes; i++) {
        const struct slice *slice = slice_queue_at(queue, i);
        size_t len = slice->len < bytes - at ? (size_t)slice->len : bytes - at;
        if (slice->kind == SLICE_FILE) {
            ssize_t n = pread(slice->fd, memory + at, len, (off_t)slice->file_offset);
            if (n != (ssize_t)len) {
                slice_drop(&joined);
                return -EIO; /* the file was cut short */
            }
        } else {
            memcpy(memory + at, slice->ptr, len);
        }
        at += len;
    }

    /* In front of what remains: the queue is rotated, since it only grows at its end. */
    slice_queue_consume(queue, bytes);
    uint32_t behind = queue->count;
    int r = slice_queue_push(queue, joined);
    for (uint32_t i = 0; r == 0 && i < behind; i++) {
        struct slice slice = slice_part(slice_queue_at(queue, 0), 0,
                slice_queue_at(queue, 0)->len);
        slice_queue_consume(queue, slice.len);
        r = slice_queue_push(queue, slice);
    }
    return r;
}

/* Makes the front of the input one run of what the filter wants. Returns 1 when it can be
 * called, 0 when more input is needed first, or a negative errno. */
static int
prepare_input(struct weir_filter *filter)
{
    struct slice_queue *input = filter->input;
    if (input->bytes == 0) {
        return filter->input_ended ? 1 : 0;
    }
    if (filter->want_bytes > input->bytes && !filter->input_ended) {
        return 0;
    }
    const struct slice *front = slice_queue_at(input, 0);
    uint64_t bytes = filter->want_bytes > front->len ? filter->want_bytes : front->len;
    bytes = bytes < input->bytes ? bytes : input->bytes;
    if (front->kind == SLICE_FILE || bytes > front->len) {
        int r = join(input, bytes < WANT_MAX_BYTES ? (size_t)bytes : WANT_MAX_BYTES);
        return r < 0 ? r : 1;
    }
    return 1;
}

static int
pass_rest(struct weir_filter *filter, bool *moved)
{
    if (filter->input->bytes > 0) {
        *moved = true;
        if (slice_queue_move(filter->input, &filter->output, filter->input->bytes) < 0) {
            return -ENOMEM;
        }
    }
    if (filter->input_ended && !filter->has_ended) {
        filter->has_ended = true;
        *moved = true;
    }
    return 0;
}

static int
step_filter(struct weir_filter *filter, uint64_t mark_bytes, filter_call_fn *call,
        void *context, bool *moved)
{
    while (!filter->has_ended) {
        if (filter->is_passing) {
            return pass_rest(filter, moved);
        }
        int r = filter->output.bytes >= mark_bytes ? 0 : prepare_input(filter);
        if (r <= 0) {
            return r;
        }
        filter->has_changed = false;
        uint32_t wanted = filter->want_bytes;
        enum weir_verdict verdict = call(context, filter);
        if (verdict == WEIR_DONE) {
            filter->is_passing = true;
            *moved = true;
            continue;
        }
        if (verdict != WEIR_NEXT) {
            return -EPROTO;
        }
        if (filter->has_changed) {
            filter->stalls = 0;
            filter->want_bytes = filter->want_bytes == wanted ? 0 : filter->want_bytes;
            *moved = true;
        } else if (filter->want_bytes > filter->input->bytes && !filter->input_ended) {
            return 0; /* it asked for more input: no fault */
        } else if (++filter->stalls >= STALLS_MAX) {
            return -ELOOP;
        }
    }
    return 0;
}

int
filter_line_step(struct filter_line *line, bool source_ended, uint64_t mark_bytes,
        filter_call_fn *call, void *context, bool *moved)
{
    bool ended = source_ended;
    for (struct weir_filter *filter = line->first; filter != NULL; filter = filter->next) {
        filter->input_ended = ended;
        int r = step_filter(filter, mark_bytes, call, context, moved);
        if (r < 0) {
            line->failed = filter;
            return r;
        }
        ended = filter->has_ended;
    }
    return 0;
}

struct weir_str
weir_filter_input(struct weir_filter *filter)
{
    if (filter->input->count == 0) {
        return weir_str_make("", 0);
    }
    const struct slice *front = slice_queue_at(filter->input, 0);
    WEIR_ASSERT(front->kind == SLICE_BYTES || filter->has_changed);
    if (front->kind == SLICE_FILE) {
        return weir_str_make("", 0); /* after a consume: the next call shows it */
    }
    return weir_str_make(front->ptr, (size_t)front->len);
}

bool
weir_filter_is_last(const struct weir_filter *filter)
{
    return filter->input_ended && filter->input->count <= 1;
}

int
weir_filter_want(struct weir_filter *filter, uint32_t bytes)
{
    if (bytes > WANT_MAX_BYTES) {
        return -EMSGSIZE;
    }
    filter->want_bytes = bytes;
    return 0;
}

void
weir_filter_consume(struct weir_filter *filter, size_t bytes)
{
    bytes = bytes < weir_filter_input(filter).len ? bytes : weir_filter_input(filter).len;
    slice_queue_consume(filter->input, bytes);
    filter->has_changed |= bytes > 0;
}

int
weir_filter_pass(struct weir_filter *filter, size_t bytes)
{
    bytes = bytes < weir_filter_input(filter).len ? bytes : weir_filter_input(filter).len;
    filter->has_changed |= bytes > 0;
    return slice_queue_move(filter->input, &filter->output, bytes);
}

size_t
weir_filter_room(const struct weir_filter *filter)
{
    return filter->output.bytes < WANT_MAX_BYTES
            ? (size_t)(WANT_MAX_BYTES - filter->output.bytes)
            : 0;
}

int
weir_filter_write(struct weir_filter *filter, struct weir_str bytes)
{
    if (bytes.len > weir_filter_room(filter)) {
        return -EAGAIN;
    }
    struct slice slice;
    if (slice_copy(bytes, &slice) < 0 || slice_queue_push(&filter->output, slice) < 0) {
        return -ENOMEM;
    }
    filter->has_changed |= bytes.len > 0;
    return 0;
}
