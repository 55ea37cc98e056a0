/* SPDX-License-Identifier: MIT */
/* A request's body on an HTTP/1 connection: by length or in chunks, as much as there is room
 * for. */
#include <errno.h>

#include "http/chunked.h"
#include "http/h1_parts.h"

/* So much of a body is worth a block of memory: of one that nobody takes, at most as much again
 * lies idle. */
#define BLOCK_WORTH_BYTES (LOOP_SCRATCH_BYTES / 2)

static int
push(struct turn *turn, struct weir_str bytes)
{
    struct weir_request *request = turn->conn->request;
    struct slice slice;
    if (bytes.len < BLOCK_WORTH_BYTES || !request_body_takes_slices(request)) {
        return request_body_push(request, bytes);
    }
    loop_hurry(turn->conn->engine->loop);
    return h1_keep_block(turn, bytes, &slice) ? request_body_push_slice(request, slice)
                                              : request_body_push(request, bytes);
}

/* Body bytes from the input into the request; up to the room it has. */
static void
feed_length(struct turn *turn, struct weir_request *request)
{
    struct h1_conn *conn = turn->conn;
    uint64_t room = request_body_room(request);
    size_t len = turn->input.len;
    len = len < conn->body_left_bytes ? len : (size_t)conn->body_left_bytes;
    len = len < room ? len : (size_t)room;
    if (push(turn, weir_str_make(turn->input.ptr, len)) < 0) {
        return;
    }
    h1_consume(turn, len);
    conn->body_left_bytes -= len;
    if (conn->body_left_bytes == 0) {
        request_body_end(request, weir_str_make(NULL, 0));
    }
}

static void
fini_chunked(void *object)
{
    chunked_fini(object);
}

static struct chunked *
new_chunked(struct weir_request *request)
{
    const struct http_limits *limits = request->limits;
    struct chunked *chunked = arena_alloc(&request->arena, sizeof(*chunked));
    if (chunked == NULL) {
        return NULL;
    }
    chunked_init(chunked,
            &(struct chunked_limits){
                    .body_bytes = limits->body_bytes,
                    .trailer_bytes = head_max_bytes(limits),
                    .trailer_line_bytes = limits->field_bytes,
                    .trailer_fields = head_max_fields(limits),
            });
    if (arena_defer(&request->arena, fini_chunked, chunked) < 0) {
        return NULL;
    }
    return chunked;
}

static void
feed_chunked(struct turn *turn, struct weir_request *request)
{
    if (request->in.chunked == NULL) {
        request->in.chunked = new_chunked(request);
        if (request->in.chunked == NULL) {
            request_body_fail(request, -ENOMEM);
            return;
        }
    }
    while (turn->input.len > 0 && !request->in.ended && request->in.error == 0) {
        uint64_t room = request_body_room(request);
        if (room == 0) {
            return;
        }
        /* No more data than there is room for; sizes and line ends take little of it. */
        struct weir_str piece = turn->input;
        piece.len = piece.len < room ? piece.len : (size_t)room;
        size_t offered = piece.len;
        struct weir_str data;
        enum chunked_result result = chunked_step(request->in.chunked, &piece, &data);
        h1_consume(turn, offered - piece.len);
        switch (result) {
        case CHUNKED_MORE:
            break;
        case CHUNKED_DATA:
            if (push(turn, data) < 0) {
                return;
            }
            break;
        case CHUNKED_DONE:
            request_body_end(request, buf_str(&request->in.chunked->trailers));
            break;
        case CHUNKED_BAD:
        case CHUNKED_EXTENSIONS_TOO_LONG:
            request_body_fail(request, -EPROTO);
            break;
        case CHUNKED_TOO_LONG:
            request_body_fail(request, -EMSGSIZE);
            break;
        case CHUNKED_TRAILERS_TOO_LONG:
            request_body_fail(request, -E2BIG);
            break;
        case CHUNKED_OUT_OF_MEMORY:
            request_body_fail(request, -ENOMEM);
            break;
        }
    }
}

/* More than limits.body, or than what is kept has room for. */
static bool
is_of_limit(int error)
{
    return error == -EMSGSIZE || error == -ENOSPC;
}

/* What reaches nobody any more: a body whose framing broke is the connection's end. Where no
 * reader can say so, the answer that waits for it gives way to a refusal. */
void
h1_check_body(struct h1_conn *conn)
{
    int error = conn->request->in.error;
    if (error != 0) {
        conn->is_last = conn->must_linger = true;
    }
    if (error != 0 && conn->request->in.is_checked) {
        conn->request->forced_status = request_body_status(error);
    }
    if (error != 0 && conn->close_reason == H1_OPEN) {
        conn->close_reason = error == -ECONNRESET ? H1_CLOSE_CLIENT
                : is_of_limit(error)              ? H1_CLOSE_BODY_LIMIT
                                                  : H1_CLOSE_REFUSED;
    }
}

bool
h1_is_over_limit(const struct weir_request *request)
{
    /* Of one that says how long it is nothing is read, where that is too much. */
    bool is_told_so = request->head.body == HEAD_BODY_LENGTH &&
            request->head.body_bytes > request->limits->body_bytes;
    return !request->in.ended && (is_told_so || is_of_limit(request->in.error));
}

/* Whether 100 Continue may go out: nothing final was sent, and no refusal is about to be (F39).
 */
static bool
may_continue(const struct h1_conn *conn)
{
    const struct reply *reply = &conn->request->reply;
    bool is_refusal = reply->state != REPLY_NONE && (reply->ended || reply->status >= 300);
    return !conn->sent_continue && !reply->head_left && !is_refusal;
}

bool
h1_feed_body(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    struct weir_request *request = conn->request;
    struct request_body *in = &request->in;
    bool reads_body = !in->ended && in->error == 0 && (in->wanted || in->is_checked) &&
            request_body_room(request) > 0;
    if (reads_body && !conn->reads_body) {
        conn->since_ns = in->resumed_ns = h1_now_ns(conn);
    } else if (!reads_body && conn->reads_body) {
        in->spent_ns += h1_now_ns(conn) - in->resumed_ns;
    }
    conn->reads_body = reads_body;
    if (!reads_body) {
        return false;
    }
    enum fill_result filled = h1_fill(turn);
    if (filled == FILL_NOTHING) {
        if (!turn->must_yield && may_continue(conn)) {
            conn->sent_continue = true;
            h1_write_interim(&turn->output, 100, weir_str_make(NULL, 0));
        }
        return false;
    }
    conn->since_ns = h1_now_ns(conn);
    conn->sent_continue = true; /* bytes that arrive unasked make it superfluous */
    switch (filled) {
    case FILL_NOTHING:
        break;
    case FILL_END:
        request_body_fail(request, -ECONNRESET);
        break;
    case FILL_BROKEN:
        request->is_gone = true;
        request_body_fail(request, -ECONNRESET);
        break;
    case FILLED:
        if (request->head.body == HEAD_BODY_CHUNKED) {
            feed_chunked(turn, request);
        } else {
            feed_length(turn, request);
        }
        break;
    }
    h1_check_body(conn);
    return true;
}

bool
h1_can_discard(const struct h1_conn *conn)
{
    const struct weir_request *request = conn->request;
    if (request->in.ended) {
        return true;
    }
    return request->in.error == 0 && request->head.body == HEAD_BODY_LENGTH &&
            conn->body_left_bytes <= H1_DISCARD_MAX_BYTES && conn->sent_continue;
}

/* Whether a whole answer waits for a body in chunks that nobody reads: only its end tells where
 * it ends, and whether it is well-formed; a request that is not gets no success (RFC 9112
 * section 7.1). Refusals wait for nothing, nor does anything for a client that waits itself, or
 * for more than would be discarded. */
bool
h1_waits_for_body(struct h1_conn *conn)
{
    const struct reply *reply = &conn->request->reply;
    struct request_body *in = &conn->request->in;
    if (in->ended || conn->request->head.body != HEAD_BODY_CHUNKED || !conn->sent_continue ||
            in->received_bytes > H1_DISCARD_MAX_BYTES || !reply_is_ended(reply) ||
            reply->status >= 400) {
        return false;
    }
    if (in->is_checked) {
        return in->error == 0;
    }
    in->is_checked = true;
    conn->must_run = true;
    h1_check_body(conn); /* its reader may have stopped before what is wrong */
    return true;
}
