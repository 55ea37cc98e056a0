/* SPDX-License-Identifier: MIT */
/* Which filter is called when, and what it may do with its two queues. */
#include "module/filter.h"

#include <errno.h>
#include <unistd.h>

#include "base/assert.h"

#define WANT_MAX_BYTES 65536u
#define STALLS_MAX     3u

/* A file is read for a filter in runs of this. */
#define FILE_RUN_BYTES 65536u

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

    slice_queue_consume(queue, bytes);
    return slice_queue_push_front(queue, joined);
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
    if (front->kind == SLICE_BYTES && bytes <= front->len) {
        return 1;
    }
    int r = join(input, bytes < FILE_RUN_BYTES ? (size_t)bytes : FILE_RUN_BYTES);
    return r < 0 ? r : 1;
}

/* Lets input through as it is, no more of it than the next one may be given at once: whoever
 * writes at the front of the line must feel a slow reader at its end. */
static int
pass_rest(struct weir_filter *filter, bool *moved)
{
    while (filter->input->bytes > 0 && filter->output.bytes < filter->pause_bytes) {
        *moved = true;
        const struct slice *front = slice_queue_at(filter->input, 0);
        int r = slice_queue_move(filter->input, &filter->output, front->len);
        if (r < 0) {
            return r;
        }
    }
    if (filter->input->bytes == 0 && filter->input_ended) {
        filter->has_ended = true;
        *moved = true;
    }
    return 0;
}

static int
step_filter(struct weir_filter *filter, filter_call_fn *call, void *context, bool *moved)
{
    while (!filter->has_ended) {
        if (filter->is_passing) {
            return pass_rest(filter, moved);
        }
        bool was_waiting = filter->is_waiting;
        if (!was_waiting) {
            int r = filter->output.bytes >= filter->pause_bytes ? 0 : prepare_input(filter);
            if (r <= 0) {
                return r;
            }
            filter->want_bytes = 0;
        }
        filter->has_changed = filter->is_waiting = false;
        switch (call(context, filter)) {
        case WEIR_NEXT:
            break;
        case WEIR_DONE:
            filter->is_passing = true;
            *moved = true;
            continue;
        case WEIR_PENDING:
            filter->is_waiting = true;
            filter->stalls = filter->has_changed ? 0 : filter->stalls;
            *moved |= filter->has_changed;
            return 0;
        case WEIR_FAILED:
            return -EPROTO;
        }
        if (was_waiting) {
            continue; /* called again, now that it need not wait */
        }
        if (filter->has_changed) {
            filter->stalls = 0;
            *moved = true;
        } else if (filter->input_ended && filter->input->bytes == 0) {
            filter->has_ended = true;
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
filter_line_step(struct filter_line *line, bool source_ended, filter_call_fn *call,
        void *context, bool *moved)
{
    /* What one filter puts out may be what the one before it waited for room for. */
    bool again = true;
    while (again) {
        again = false;
        bool ended = source_ended;
        for (struct weir_filter *filter = line->first; filter != NULL; filter = filter->next) {
            uint32_t next_want = filter->next == NULL ? 0 : filter->next->want_bytes;
            filter->pause_bytes = next_want > FILTER_MARK_BYTES ? next_want : FILTER_MARK_BYTES;
            filter->input_ended = ended;
            int r = step_filter(filter, call, context, &again);
            if (r < 0) {
                line->failed = filter;
                return r;
            }
            ended = filter->has_ended;
        }
        *moved |= again;
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
    uint64_t most = filter->pause_bytes + FILTER_MARK_BYTES;
    return filter->output.bytes < most ? (size_t)(most - filter->output.bytes) : 0;
}

int
weir_filter_write(struct weir_filter *filter, struct weir_str bytes)
{
    if (bytes.len > weir_filter_room(filter)) {
        return -EAGAIN;
    }
    int r = slice_queue_append(&filter->output, bytes);
    filter->has_changed |= r == 0 && bytes.len > 0;
    return r;
}
