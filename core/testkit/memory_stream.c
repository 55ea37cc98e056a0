/* SPDX-License-Identifier: MIT */
/* Edges as a socket gives them: one event for each change, none for what is still there. */
#include "testkit/memory_stream.h"

#include <errno.h>
#include <unistd.h>

#include "base/assert.h"

#define CEILING_BYTES (1u << 30)

static void
raise_event(struct memory_stream *memory, unsigned events)
{
    if (memory->is_closed) {
        return;
    }
    memory->pending_events |= events;
    loop_defer(memory->loop, &memory->task);
}

static void
on_task(struct loop_task *task)
{
    struct memory_stream *memory = (struct memory_stream *)((char *)task -
            offsetof(struct memory_stream, task));
    unsigned events = memory->pending_events;
    memory->pending_events = 0;
    if (!memory->is_closed && events != 0) {
        memory->stream.on_event(memory->stream.owner, events);
    }
}

static ssize_t
memory_read(struct stream *stream, void *dst, size_t bytes)
{
    struct memory_stream *memory = (struct memory_stream *)stream;
    WEIR_ASSERT(!memory->is_closed);
    if (memory->peer_reset) {
        return -ECONNRESET;
    }
    struct weir_str there = buf_str(&memory->incoming);
    size_t len = there.len < bytes ? there.len : bytes;
    len = len < memory->read_max_bytes ? len : memory->read_max_bytes;
    if (len == 0) {
        return memory->peer_ended ? 0 : -EAGAIN;
    }
    memcpy(dst, there.ptr, len);
    buf_consume(&memory->incoming, len);
    memory->reads++;
    if (len < bytes && there.len > len) {
        /* A short read says that nothing is left, so there must be an edge for the rest. */
        raise_event(memory, STREAM_READABLE);
    }
    return (ssize_t)len;
}

/* How much of `bytes` the peer takes now. */
static size_t
take_room(struct memory_stream *memory, size_t bytes)
{
    size_t len = bytes < memory->allowed_bytes ? bytes : (size_t)memory->allowed_bytes;
    if (memory->allowed_bytes != UINT64_MAX) {
        memory->allowed_bytes -= len;
    }
    if (len < bytes) {
        memory->was_blocked = true;
    }
    return len;
}

static ssize_t
memory_write(struct stream *stream, const struct iovec *parts, int count, bool more)
{
    (void)more;
    struct memory_stream *memory = (struct memory_stream *)stream;
    WEIR_ASSERT(!memory->is_closed && !memory->is_shut_down);
    if (memory->peer_reset) {
        return -EPIPE;
    }
    size_t written = 0, wanted = 0;
    for (int i = 0; i < count; i++) {
        size_t len = take_room(memory, parts[i].iov_len);
        if (buf_append(&memory->received, weir_str_make(parts[i].iov_base, len)) < 0) {
            return -ENOMEM;
        }
        written += len;
        wanted += parts[i].iov_len;
        if (len < parts[i].iov_len) {
            break;
        }
    }
    memory->writes += written > 0;
    return written > 0 || wanted == 0 ? (ssize_t)written : -EAGAIN;
}

static ssize_t
memory_send_file(struct stream *stream, int fd, uint64_t offset, size_t bytes)
{
    struct memory_stream *memory = (struct memory_stream *)stream;
    WEIR_ASSERT(!memory->is_closed && !memory->is_shut_down);
    if (memory->peer_reset) {
        return -EPIPE;
    }
    size_t len = take_room(memory, bytes);
    if (len == 0) {
        return -EAGAIN;
    }
    char *dst;
    if (buf_reserve(&memory->received, len, &dst) < 0) {
        return -ENOMEM;
    }
    ssize_t n = pread(fd, dst, len, (off_t)offset);
    if (n < 0) {
        return -errno;
    }
    buf_commit(&memory->received, (size_t)n);
    memory->writes++;
    return n;
}

static int
memory_error(struct stream *stream)
{
    const struct memory_stream *memory = (const struct memory_stream *)stream;
    WEIR_ASSERT(!memory->is_closed);
    return memory->peer_reset ? -ECONNRESET : 0;
}

static int
memory_shutdown(struct stream *stream)
{
    struct memory_stream *memory = (struct memory_stream *)stream;
    WEIR_ASSERT(!memory->is_closed);
    memory->is_shut_down = true;
    return memory->peer_reset ? -ENOTCONN : 0;
}

static void
memory_close(struct stream *stream, bool reset)
{
    struct memory_stream *memory = (struct memory_stream *)stream;
    WEIR_ASSERT(!memory->is_closed);
    /* As TCP does: closing over bytes that were not read is a reset too. */
    memory->was_reset = reset || buf_str(&memory->incoming).len > 0;
    memory->is_closed = true;
    memory->pending_events = 0;
    loop_undefer(memory->loop, &memory->task);
}

static int
memory_local(struct stream *stream, struct addr *out)
{
    const struct memory_stream *memory = (const struct memory_stream *)stream;
    if (memory->local.len == 0) {
        return -ENOTSUP;
    }
    *out = memory->local;
    return 0;
}

static const struct stream_ops memory_ops = {
    .read = memory_read,
    .write = memory_write,
    .send_file = memory_send_file,
    .error = memory_error,
    .shutdown = memory_shutdown,
    .local = memory_local,
    .close = memory_close,
};

void
memory_stream_init(struct memory_stream *memory, struct loop *loop, stream_event_fn *on_event,
        void *owner)
{
    *memory = (struct memory_stream){
        .stream = { .ops = &memory_ops, .on_event = on_event, .owner = owner },
        .loop = loop,
        .task = { .fn = on_task },
        .allowed_bytes = UINT64_MAX,
        .read_max_bytes = SIZE_MAX,
    };
    buf_init(&memory->incoming, CEILING_BYTES);
    buf_init(&memory->received, CEILING_BYTES);
}

void
memory_stream_fini(struct memory_stream *memory)
{
    loop_undefer(memory->loop, &memory->task);
    buf_fini(&memory->incoming);
    buf_fini(&memory->received);
}

void
memory_stream_reserve(struct memory_stream *memory, size_t bytes)
{
    char *unused;
    int r = buf_reserve(&memory->incoming, bytes, &unused);
    WEIR_ASSERT(r == 0);
    r = buf_reserve(&memory->received, bytes, &unused);
    WEIR_ASSERT(r == 0);
}

void
memory_stream_send(struct memory_stream *memory, struct weir_str bytes)
{
    WEIR_ASSERT(!memory->peer_ended && !memory->peer_reset);
    int r = buf_append(&memory->incoming, bytes);
    WEIR_ASSERT(r == 0);
    raise_event(memory, STREAM_READABLE);
}

void
memory_stream_end(struct memory_stream *memory)
{
    memory->peer_ended = true;
    raise_event(memory, STREAM_READABLE | STREAM_ENDED);
}

void
memory_stream_reset(struct memory_stream *memory)
{
    memory->peer_reset = true;
    raise_event(memory, STREAM_BROKEN);
}

void
memory_stream_allow(struct memory_stream *memory, uint64_t bytes)
{
    memory->allowed_bytes = bytes == UINT64_MAX ? bytes : memory->allowed_bytes + bytes;
    if (memory->was_blocked) {
        memory->was_blocked = false;
        raise_event(memory, STREAM_WRITABLE);
    }
}
