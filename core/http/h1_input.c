/* SPDX-License-Identifier: MIT */
/* What a connection has received and not yet used: in the loop's scratch memory for the length
 * of a turn, in memory of its own from one turn to the next. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/budget.h"
#include "http/h1_parts.h"

/* Reads of one turn, so that one fast sender cannot hold the loop. */
#define TURN_READS 16

void
h1_drop_rest(struct h1_conn *conn)
{
    if (conn->rest != NULL) {
        budget_give(conn->rest->len);
        free(conn->rest);
        conn->rest = NULL;
    }
}

enum fill_result
h1_fill(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    if (turn->input.len > 0) {
        return FILLED;
    }
    h1_drop_rest(conn); /* used up */
    slice_drop(&turn->block);
    if (conn->has_read_end) {
        return FILL_END;
    }
    if (turn->was_short && conn->output.queued_bytes != turn->queued_before) {
        conn->may_read = false; /* see below */
    }
    if (!conn->may_read) {
        return FILL_NOTHING;
    }
    if (turn->reads++ >= TURN_READS) {
        turn->must_yield = true;
        return FILL_NOTHING;
    }
    char *scratch = loop_scratch(conn->engine->loop);
    ssize_t n = stream_read(conn->stream, scratch, LOOP_SCRATCH_BYTES);
    if (n == -EAGAIN) {
        conn->may_read = false;
        return FILL_NOTHING;
    }
    if (n < 0) {
        return FILL_BROKEN;
    }
    if (n == 0) {
        conn->has_read_end = true;
        return FILL_END;
    }
    conn->engine->figures.bytes_in += (uint64_t)n;
    /* A short read emptied the stream. Yet a FIN may stand behind the bytes, and so may a
     * reset: libevent reports both in the edge that is past, and the latter as if it were more
     * bytes. Where this turn writes, writing finds out; else only another read does. */
    if (conn->watched != NULL) {
        conn->watched->received_bytes += (uint64_t)n;
    }
    turn->was_short = (size_t)n < LOOP_SCRATCH_BYTES && !conn->peer_ended;
    turn->input = weir_str_make(scratch, (size_t)n);
    return FILLED;
}

bool
h1_keep_rest(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    if (turn->input.len == 0) {
        h1_drop_rest(conn);
        return true;
    }
    if (conn->rest != NULL) {
        conn->rest->at = conn->rest->len - turn->input.len;
        return true;
    }
    conn->rest = malloc(sizeof(*conn->rest) + turn->input.len);
    if (conn->rest == NULL) {
        return false;
    }
    budget_take(turn->input.len);
    conn->rest->at = 0;
    conn->rest->len = turn->input.len;
    memcpy(conn->rest->bytes, turn->input.ptr, turn->input.len);
    return true;
}

bool
h1_keep_block(struct turn *turn, struct weir_str part, struct slice *out)
{
    struct loop *loop = turn->conn->engine->loop;
    const char *scratch = loop_scratch(loop);
    bool is_in_scratch = part.ptr >= scratch && part.ptr < scratch + LOOP_SCRATCH_BYTES;
    if (is_in_scratch && loop_take_scratch(loop, &turn->block) < 0) {
        return false;
    }
    const struct slice *block = &turn->block;
    if (block->len == 0 || part.ptr < block->ptr || part.ptr >= block->ptr + block->len) {
        return false; /* it stands in conn->rest */
    }
    *out = slice_part(block, (uint64_t)(part.ptr - block->ptr), part.len);
    return true;
}
