/* SPDX-License-Identifier: MIT */
#include "support/upstream_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "testkit/testbed.h"

/* What either side may write, so that no allocation of the upstream's is among those that
 * fail. */
#define RESERVED_BYTES 65536u

static const struct stream_ops *memory_ops; /* of every memory stream */

/* ---- the script -------------------------------------------------------------------------- */

/* The length of the request at the front, 0 when it is not there to its end. */
static size_t
request_len(struct weir_str text)
{
    const char *end = memmem(text.ptr, text.len, "\r\n\r\n", 4);
    if (end == NULL) {
        return 0;
    }
    size_t head = (size_t)(end - text.ptr) + 4;
    const char *length = memmem(text.ptr, head, "Content-Length: ", 16);
    if (length != NULL) {
        size_t whole = head + strtoul(length + 16, NULL, 10);
        return whole <= text.len ? whole : 0;
    }
    if (memmem(text.ptr, head, "Transfer-Encoding: chunked", 26) == NULL) {
        return head;
    }
    const char *last = memmem(text.ptr + head - 2, text.len - head + 2, "\r\n0\r\n", 5);
    size_t at = last == NULL ? 0 : (size_t)(last - text.ptr) + 3;
    end = last == NULL ? NULL : memmem(text.ptr + at, text.len - at, "\r\n\r\n", 4);
    return end == NULL ? 0 : (size_t)(end - text.ptr) + 4;
}

static void
say_more(struct upstream_rig_conn *conn)
{
    struct upstream_rig *rig = conn->rig;
    size_t len = rig->piece_bytes == 0 || rig->piece_bytes > conn->left.len ? conn->left.len
                                                                            : rig->piece_bytes;
    if (len > 0) {
        memory_stream_send(&conn->memory, weir_str_make(conn->left.ptr, len));
        conn->left.ptr += len;
        conn->left.len -= len;
    }
    if (conn->left.len > 0) {
        loop_defer_to_next(conn->memory.loop, &conn->task);
    } else if (rig->resets) {
        memory_stream_reset(&conn->memory);
    } else if (rig->closes) {
        memory_stream_end(&conn->memory);
    }
}

/* Each flow ends for itself. */
static void
echo(struct upstream_rig_conn *conn, struct weir_str text)
{
    struct memory_stream *memory = &conn->memory;
    if (memory->peer_ended || memory->peer_reset) {
        return;
    }
    conn->seen += text.len;
    if (text.len > 0) {
        memory_stream_send(memory, text);
    }
    if (memory->is_shut_down) {
        memory_stream_end(memory);
    }
}

static void
on_task(struct loop_task *task)
{
    struct upstream_rig_conn *conn = (struct upstream_rig_conn *)((char *)task -
            offsetof(struct upstream_rig_conn, task));
    struct upstream_rig *rig = conn->rig;
    if (conn->left.len > 0) {
        say_more(conn);
        return;
    }
    struct weir_str text = buf_str(&conn->memory.received);
    text.ptr += conn->seen;
    text.len -= conn->seen;
    if (rig->echoes && conn->requests > 0) {
        echo(conn, text);
        return;
    }
    size_t len = text.len == 0 ? 0 : request_len(text);
    if (len == 0 || conn->memory.peer_ended || conn->memory.peer_reset) {
        return;
    }
    conn->seen += len;
    size_t kept = len < sizeof(rig->asked) - 1 ? len : sizeof(rig->asked) - 1;
    memcpy(rig->asked, text.ptr, kept);
    rig->asked[kept] = '\0';
    if (++conn->requests > 1 && rig->refuses_reuse) {
        memory_stream_end(&conn->memory);
        return;
    }
    rig->answered++;
    if (rig->on_request != NULL) {
        rig->on_request(rig);
    }
    conn->left = weir_str_from(rig->answer);
    say_more(conn);
}

/* ---- streams ----------------------------------------------------------------------------- */

static ssize_t
rig_write(struct stream *stream, const struct iovec *parts, int count, bool more)
{
    struct upstream_rig_conn *conn = (struct upstream_rig_conn *)stream;
    ssize_t n = memory_ops->write(stream, parts, count, more);
    loop_defer_to_next(conn->memory.loop, &conn->task);
    return n;
}

static int
rig_shutdown(struct stream *stream)
{
    struct upstream_rig_conn *conn = (struct upstream_rig_conn *)stream;
    int r = memory_ops->shutdown(stream);
    loop_defer_to_next(conn->memory.loop, &conn->task);
    return r;
}

static void
rig_close(struct stream *stream, bool reset)
{
    struct upstream_rig_conn *conn = (struct upstream_rig_conn *)stream;
    memory_ops->close(stream, reset);
    loop_undefer(conn->memory.loop, &conn->task);
    memory_stream_fini(&conn->memory);
    conn->is_used = false;
}

static struct stream_ops rig_ops;

/* An allocation that was to fail fails once: it is not the upstream's. */
static void
reserve(struct buf *buf)
{
    char *unused;
    if (buf_reserve(buf, RESERVED_BYTES, &unused) < 0) {
        int r = buf_reserve(buf, RESERVED_BYTES, &unused);
        WEIR_ASSERT(r == 0);
    }
}

static int
rig_connect(const struct connector *connector, struct loop *loop, const struct addr *addr,
        void *memory, stream_event_fn *on_event, void *owner, struct stream **out)
{
    (void)memory;
    struct upstream_rig *rig = (struct upstream_rig *)(uintptr_t)connector;
    struct upstream_rig_conn *conn = rig->conns;
    void *may_fail = malloc(1);
    if (rig->error != 0 || may_fail == NULL) {
        free(may_fail);
        return rig->error != 0 ? rig->error : -ENOMEM;
    }
    free(may_fail);
    while (conn->is_used) {
        conn++;
        WEIR_ASSERT(conn < rig->conns + UPSTREAM_RIG_CONNS);
    }
    memset(conn, 0, sizeof(*conn));
    memory_stream_init(&conn->memory, loop, on_event, owner);
    memory_ops = conn->memory.stream.ops;
    rig_ops = *memory_ops;
    rig_ops.write = rig_write;
    rig_ops.shutdown = rig_shutdown;
    rig_ops.close = rig_close;
    conn->memory.stream.ops = &rig_ops;
    conn->rig = rig;
    conn->task.fn = on_task;
    conn->is_used = true;
    if (rig->connected < UPSTREAM_RIG_CONNS) {
        rig->ports[rig->connected] = addr_port(addr);
    }
    rig->connected++;
    reserve(&conn->memory.incoming);
    reserve(&conn->memory.received);
    /* It is there: as a socket says it. */
    conn->memory.was_blocked = true;
    memory_stream_allow(&conn->memory, UINT64_MAX);
    *out = &conn->memory.stream;
    return 0;
}

void
upstream_rig_init(struct upstream_rig *rig, const char *answer)
{
    memset(rig, 0, sizeof(*rig));
    rig->connector.connect = rig_connect;
    rig->answer = answer;
    testbed_reach_by(&rig->connector);
}

unsigned
upstream_rig_open(const struct upstream_rig *rig)
{
    unsigned open = 0;
    for (size_t i = 0; i < UPSTREAM_RIG_CONNS; i++) {
        open += rig->conns[i].is_used;
    }
    return open;
}
