/* SPDX-License-Identifier: MIT */
/* A connection that was answered 101 (http/upgrade.h): bytes both ways, until both ends have
 * said theirs.
 *
 *     the client's bytes --> request->in          its FIN --> the body's end
 *     request->reply     --> the client           its end --> our FIN
 *
 * Each flow ends for itself. The tunnel is over when the answer has ended and has no source any
 * more, since that one has then taken the client's flow to its end as well, or cannot. */
#include <errno.h>

#include "http/h1_parts.h"
#include "http/upgrade.h"

/* What has come of the client's flow, up to the room there is. True when something changed. */
static bool
feed(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    struct weir_request *request = conn->request;
    struct request_body *in = &request->in;
    if (in->ended || in->error != 0) {
        return false;
    }
    uint64_t room = request_body_room(request);
    in->waits_for_room = room == 0;
    /* Behind a short read there is nothing: take_turn() makes sure, for less than a read. */
    bool is_emptied = turn->was_short && turn->by_bytes && turn->input.len == 0;
    if (room == 0 || is_emptied) {
        return false;
    }
    switch (h1_fill(turn)) {
    case FILLED:
        break;
    case FILL_NOTHING:
        return false;
    case FILL_END:
        request_body_end(request, weir_str_make(NULL, 0));
        return true;
    case FILL_BROKEN:
        request->is_gone = true;
        request_body_fail(request, -ECONNRESET);
        return true;
    }
    size_t len = turn->input.len < room ? turn->input.len : (size_t)room;
    int r = request_body_push(request, weir_str_make(turn->input.ptr, len));
    if (r == 0) {
        h1_consume(turn, len);
    }
    conn->since_ns = h1_now_ns(conn);
    return true;
}

enum step_result
h1_begin_tunnel(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    struct weir_request *request = conn->request;
    bool moved = false;
    conn->is_last = true; /* of HTTP's, too */
    (void)h1_reply_step(&conn->reply, request, &turn->output, false, &moved);
    if (!conn->reply.has_head) {
        return request->reply.is_broken ? h1_gone(conn, H1_CLOSE_TUNNEL_CUT) : STEP_WAIT;
    }
    request_switch(request);
    conn->since_ns = h1_now_ns(conn);
    conn->must_run = true;
    conn->engine->figures.tunnels++;
    conn->engine->figures.upgrades++;
    h1_enter(conn, H1_TUNNEL);
    return STEP_AGAIN;
}

/* Both flows are through, but for what the output still holds. */
static enum step_result
end_tunnel(struct h1_conn *conn)
{
    conn->engine->figures.tunnels--;
    if (conn->close_reason == H1_CLOSE_STOPPED) {
        struct weir_request *request = h1_take_request(conn);
        conn->must_linger = true; /* the client does not know yet */
        h1_enter(conn, H1_FINISH);
        h1_end_request(conn, request, conn->output.queued_bytes, REQUEST_END_STOPPED);
        return STEP_AGAIN;
    }
    h1_put_answered(conn);
    h1_enter(conn, H1_FINISH);
    return STEP_AGAIN;
}

void
h1_end_clients_flow(struct h1_conn *conn)
{
    struct weir_request *request = conn->request;
    if (request->in.ended || request->in.error != 0) {
        return;
    }
    conn->close_reason = conn->close_reason == H1_OPEN ? H1_CLOSE_STOPPED : conn->close_reason;
    request_body_end(request, weir_str_make(NULL, 0));
    request_wake(request);
}

/* The answer's flow to the client, as far as it goes. */
static void
send_on(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    bool was_full = reply_room(conn->request) == 0, moved = false;
    bool is_through = h1_reply_step(&conn->reply, conn->request, &turn->output, false,
                              &moved) == H1_REPLY_DONE;
    if (moved && turn->output.queue.count > 0) {
        conn->since_ns = h1_now_ns(conn);
    }
    bool is_sent = turn->output.last == OUTPUT_SENT &&
            output_flush(&turn->output) == OUTPUT_SENT;
    if (is_sent && is_through && conn->request->reply.source != NULL) {
        conn->has_shut = true; /* the client's flow goes on */
        /* What a reset stands in the way of is told by the next read or write. */
        int r = stream_shutdown(conn->stream);
        (void)r;
    }
    conn->must_run |= was_full && is_sent; /* there is room again for whoever waited for it */
}

enum step_result
h1_step_tunnel(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    struct weir_request *request = conn->request;
    bool has_fed = feed(turn);
    if (has_fed || conn->must_run) {
        conn->must_run = false;
        conn->engine->handler->run(request);
    }
    if (request->is_gone) {
        return h1_gone(conn, H1_CLOSE_CLIENT_RESET);
    }
    if (request->reply.is_broken) {
        return h1_gone(conn, H1_CLOSE_TUNNEL_CUT);
    }
    if (request->in.error != 0) {
        return h1_gone(conn, H1_CLOSE_NO_MEMORY);
    }
    if (!conn->has_shut && turn->output.last == OUTPUT_SENT) {
        send_on(turn);
    }
    if (reply_is_ended(&request->reply) && request->reply.source == NULL &&
            request->reply.wire->bytes == 0) {
        return end_tunnel(conn);
    }
    return has_fed || conn->must_run ? STEP_AGAIN : STEP_WAIT;
}
