/* SPDX-License-Identifier: MIT */
/* What an HTTP/1 connection does in each of its states (h1.c). */
#include <errno.h>

#include "base/budget.h"
#include "http/h1_parts.h"
#include "http/upgrade.h"

/* Nothing more is read or answered; what has been answered is sent first. */
static enum step_result
leave(struct h1_conn *conn, enum h1_close reason)
{
    if (conn->close_reason == H1_OPEN) {
        conn->close_reason = reason;
    }
    if (conn->state == H1_HEAD) {
        request_free(h1_take_request(conn)); /* nobody was told of it */
    }
    h1_enter(conn, H1_FINISH);
    return STEP_AGAIN;
}

/* ---- transport --------------------------------------------------------------------------- */

static void
transport_wake(struct weir_request *request)
{
    struct h1_conn *conn = request->carrier;
    conn->must_run = true;
    loop_defer(conn->engine->loop, &conn->task);
}

_Thread_local struct turn *h1_current_turn;

int
h1_write_interim(struct output *output, unsigned status, struct weir_str lines)
{
    char head[32] = "HTTP/1.1 ";
    head[9] = (char)('0' + status / 100);
    head[10] = (char)('0' + status / 10 % 10);
    head[11] = (char)('0' + status % 10);
    head[12] = ' ';
    output_bytes(output, weir_str_make(head, 13));
    output_bytes(output, status_reason(status));
    output_bytes(output, WEIR_STR("\r\n"));
    output_bytes(output, lines);
    output_bytes(output, WEIR_STR("\r\n"));
    return output->is_out_of_memory ? -ENOMEM : 0;
}

static int
transport_interim(struct weir_request *request, unsigned status, struct weir_str lines)
{
    struct turn *turn = h1_current_turn;
    if (turn == NULL || turn->conn->request != request || turn->conn->reply.has_head) {
        return -EALREADY;
    }
    return h1_write_interim(&turn->output, status, lines);
}

static bool
transport_local(const struct weir_request *request, struct addr_ip *out)
{
    const struct h1_conn *conn = request->carrier;
    struct addr local;
    if (conn->preface != NULL) {
        *out = conn->preface->ends.destination;
        return true;
    }
    if (stream_local(conn->stream, &local) < 0) {
        return false;
    }
    *out = addr_to_ip(&local);
    return true;
}

static const struct request_transport transport = {
    .wake = transport_wake,
    .interim = transport_interim,
    .local = transport_local,
    .can_switch = true,
};

/* ---- steps ------------------------------------------------------------------------------- */

/* What a connection is told that is not served, with no word on what it asks. */
static enum step_result
say_unavailable(struct turn *turn, enum h1_close reason)
{
    output_bytes(&turn->output,
            WEIR_STR("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
                     "Content-Length: 0\r\nConnection: close\r\n\r\n"));
    turn->conn->must_linger = true;
    return leave(turn->conn, reason);
}

enum step_result
h1_step_refusing(struct turn *turn)
{
    return say_unavailable(turn, H1_CLOSE_TOO_MANY);
}

/* Nothing is read before the watcher has made up its mind. */
enum step_result
h1_step_opening(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    switch (conn->admission) {
    case H1_ADMITTED:
        conn->since_ns = h1_now_ns(conn);
        h1_enter(conn, conn->is_introduced ? H1_IDLE : H1_PREFACE);
        return STEP_AGAIN;
    case H1_HELD:
        return STEP_WAIT;
    case H1_DROPPED:
        return h1_gone(conn, H1_CLOSE_DROPPED);
    case H1_NO_MEMORY:
        return h1_gone(conn, H1_CLOSE_NO_MEMORY);
    }
    return STEP_WAIT;
}

enum step_result
h1_step_idle(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    if (turn->output.last != OUTPUT_SENT) {
        return STEP_WAIT; /* a client that does not read gets no further answers to keep */
    }
    if (turn->requests > 0 && turn->requests >= conn->settings->limits.pipeline &&
            (turn->input.len > 0 || conn->may_read)) {
        turn->must_yield = true;
        return STEP_WAIT;
    }
    /* No more than one large answer stands in memory for a client that does not read (F13). */
    if (turn->output.queue.bytes > ENGINE_OUTPUT_BYTES &&
            output_flush(&turn->output) != OUTPUT_SENT) {
        return STEP_WAIT;
    }
    switch (h1_fill(turn)) {
    case FILLED:
        break; /* also when stopping: what has arrived is answered (F70) */
    case FILL_NOTHING:
        return conn->is_stopping && conn->requests > 0 && !turn->must_yield
                ? leave(conn, H1_CLOSE_STOPPED)
                : STEP_WAIT;
    case FILL_END:
        return leave(conn, H1_CLOSE_CLIENT);
    case FILL_BROKEN:
        return h1_gone(conn, H1_CLOSE_CLIENT_RESET);
    }
    if (budget_level() == BUDGET_FULL) {
        conn->engine->figures.requests_shed++;
        engine_shed(conn->engine);
    } else {
        conn->request = request_new(conn->engine, &transport, conn, &conn->settings->limits,
                &conn->settings->timeouts);
    }
    if (conn->request == NULL) {
        return say_unavailable(turn, H1_CLOSE_NO_MEMORY);
    }
    conn->engine->figures.connections_active++;
    conn->request->peer = conn->peer;
    conn->request->origin = conn->settings->origin;
    conn->request->ordinal = (uint32_t)++conn->requests;
    turn->requests++;
    h1_enter(conn, H1_HEAD);
    return STEP_AGAIN;
}

enum step_result
h1_begin_exchange(struct h1_conn *conn)
{
    struct weir_request *request = conn->request;
    if (request->refusal == HEAD_ACCEPTED) {
        request_accept_head(request);
    }
    bool is_refused = request->refusal != HEAD_ACCEPTED;
    if (is_refused) {
        conn->engine->figures.requests_refused++;
        request->in.ended = true; /* nothing on this connection is interpreted any more */
        conn->must_linger = true;
        if (conn->close_reason == H1_OPEN) {
            conn->close_reason = H1_CLOSE_REFUSED;
        }
    }
    conn->is_last = is_refused || !request->head.keep_alive;
    conn->body_left_bytes = request->head.body_bytes;
    conn->sent_continue = !request->head.expects_continue;
    conn->reply = (struct h1_reply){ .has_head = false };
    conn->must_run = true;
    conn->reads_body = false;
    h1_enter(conn, H1_EXCHANGE);
    return STEP_AGAIN;
}

/* For a state that goes on with the client's next bytes alone: whether there are some; if not,
 * what the step answers. */
static bool
has_input(struct turn *turn, enum step_result *result)
{
    struct h1_conn *conn = turn->conn;
    switch (h1_fill(turn)) {
    case FILLED:
        return true;
    case FILL_NOTHING:
        *result = STEP_WAIT;
        return false;
    case FILL_END:
        *result = leave(conn, H1_CLOSE_CLIENT);
        return false;
    case FILL_BROKEN:
        break;
    }
    *result = h1_gone(conn, H1_CLOSE_CLIENT_RESET);
    return false;
}

enum step_result
h1_step_head(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    enum step_result result;
    if (!has_input(turn, &result)) {
        return result;
    }
    struct weir_request *request = conn->request;
    size_t taken;
    enum head_progress progress = head_reader_feed(&request->reader, turn->input, &taken,
            &request->refusal);
    request->head_bytes += (uint32_t)taken;
    h1_consume(turn, taken);
    return progress == HEAD_MORE ? STEP_AGAIN : h1_begin_exchange(conn);
}

/* The answer cannot be finished: what there is of it is sent, and then the connection ends so
 * that the client sees that it is not whole (F49). */
static enum step_result
cut_exchange(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    struct weir_request *request = h1_take_request(conn);
    conn->must_linger |= !request->in.ended || turn->input.len > 0 || h1_may_hold_more(turn) ||
            request->head.keep_alive; /* it may be sending more, as in end_exchange() */
    conn->is_cut = conn->is_last = true;
    if (conn->close_reason == H1_OPEN) {
        conn->close_reason = H1_CLOSE_BROKEN;
    }
    h1_enter(conn, H1_FINISH);
    bool has_failed = conn->close_reason == H1_CLOSE_BROKEN && request->reply.is_broken;
    h1_end_request(conn, request, conn->output.queued_bytes,
            has_failed ? REQUEST_END_ANSWER_FAILED : h1_end_of(conn->close_reason));
    return STEP_AGAIN;
}

void
h1_put_answered(struct h1_conn *conn)
{
    struct weir_request *request = h1_take_request(conn);
    if (conn->is_last && conn->close_reason == H1_OPEN && h1_is_over_limit(request)) {
        conn->close_reason = H1_CLOSE_BODY_LIMIT;
    }
    request->sent_at = conn->output.queued_bytes;
    request->next = NULL;
    *conn->answered_end = request;
    conn->answered_end = &request->next;
    conn->timeouts = request->timeouts;
    conn->since_ns = h1_now_ns(conn);
}

/* The answer is in the output: what comes next. */
static enum step_result
end_exchange(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    struct weir_request *request = conn->request;
    if (request->reply.was_over || request->reply.close) {
        conn->is_last = true;
    }
    bool has_unread_body = !request->in.ended;
    if (!h1_can_discard(conn)) {
        conn->is_last = conn->must_linger = true;
    }
    /* A client that meant to go on may be sending already; closing over that would be a reset,
     * and could cost it this answer. */
    conn->must_linger |= conn->is_last && request->head.keep_alive;
    h1_put_answered(conn);
    if (conn->is_last) {
        conn->must_linger |= has_unread_body || turn->input.len > 0 || h1_may_hold_more(turn);
        h1_enter(conn, H1_FINISH);
    } else {
        h1_enter(conn, has_unread_body ? H1_DISCARD : H1_IDLE);
    }
    return STEP_AGAIN;
}

/* The server stops, or this connection was asked to. */
static bool
is_leaving(const struct h1_conn *conn)
{
    return conn->engine->is_draining || conn->is_stopping;
}

/* Whether the client has sent more than this request already: a client that pipelined gets its
 * answers before the connection ends (F74). */
static bool
has_further_input(struct turn *turn)
{
    return turn->conn->request->in.ended && h1_fill(turn) == FILLED;
}

enum step_result
h1_step_exchange(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    struct weir_request *request = conn->request;
    bool has_changed = h1_feed_body(turn);
    if (has_changed || conn->must_run) {
        conn->must_run = false;
        h1_current_turn = turn;
        conn->engine->handler->run(request);
        h1_current_turn = NULL;
        has_changed = true;
    }
    if (request->is_gone) {
        return h1_gone(conn, H1_CLOSE_CLIENT_RESET);
    }
    if (request->reply.state != REPLY_COMMITTED || turn->output.last != OUTPUT_SENT) {
        return has_changed ? STEP_AGAIN : STEP_WAIT; /* reading does not wait for the output */
    }
    if (reply_is_switch(&request->reply)) {
        return h1_begin_tunnel(turn);
    }
    if (!conn->reply.has_head && h1_waits_for_body(conn)) {
        return has_changed || conn->must_run ? STEP_AGAIN : STEP_WAIT;
    }
    if (!conn->reply.has_head) {
        conn->is_last |= conn->requests >= request->limits->requests_per_connection ||
                (is_leaving(conn) && !has_further_input(turn));
        bool reads_no_more = !request->in.wanted || reply_is_ended(&request->reply);
        conn->is_last |= request->reply.close || h1_reply_needs_close(request) ||
                (reads_no_more && !h1_can_discard(conn));
    }
    bool moved = false;
    switch (h1_reply_step(&conn->reply, request, &turn->output, !conn->is_last, &moved)) {
    case H1_REPLY_DONE:
        return end_exchange(turn);
    case H1_REPLY_SHORT:
        return cut_exchange(turn);
    case H1_REPLY_FULL:
        return STEP_WAIT;
    case H1_REPLY_WAITING:
        break;
    }
    if (moved) {
        /* There is room again for whoever waited for it. */
        if (output_flush(&turn->output) == OUTPUT_SENT) {
            conn->must_run = true;
        }
        return STEP_AGAIN;
    }
    return has_changed ? STEP_AGAIN : STEP_WAIT;
}

enum step_result
h1_step_discard(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    enum step_result result;
    if (!has_input(turn, &result)) {
        return result;
    }
    size_t len = turn->input.len < conn->body_left_bytes ? turn->input.len
                                                         : (size_t)conn->body_left_bytes;
    h1_consume(turn, len);
    conn->body_left_bytes -= len;
    if (conn->body_left_bytes == 0) {
        conn->since_ns = h1_now_ns(conn);
        h1_enter(conn, H1_IDLE);
    }
    return STEP_AGAIN;
}

/* The last answer is on its way out. */
enum step_result
h1_step_finish(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    turn->input.len = 0;
    if (turn->output.last != OUTPUT_SENT || output_flush(&turn->output) != OUTPUT_SENT) {
        return STEP_WAIT; /* or broken: take_turn() sees to it */
    }
    if (conn->close_reason == H1_OPEN) {
        conn->close_reason = H1_CLOSE_DONE;
    }
    bool must_reset = conn->is_cut && conn->reply.framing == H1_UNTIL_CLOSE;
    bool must_linger = conn->must_linger || (h1_may_hold_more(turn) && !conn->has_read_end);
    if (!must_linger || must_reset) {
        return STEP_GONE;
    }
    if (stream_shutdown(conn->stream) < 0) {
        return h1_gone(conn, H1_CLOSE_CLIENT_RESET);
    }
    conn->since_ns = h1_now_ns(conn);
    h1_enter(conn, H1_LINGER);
    return STEP_AGAIN;
}

/* Reads and drops, so that closing sends no reset over the answer (RFC 9112 section 9.6). */
enum step_result
h1_step_linger(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    switch (h1_fill(turn)) {
    case FILLED:
        turn->input.len = 0;
        return STEP_AGAIN;
    case FILL_NOTHING:
        return STEP_WAIT;
    case FILL_END:
    case FILL_BROKEN:
        break;
    }
    return h1_gone(conn, H1_CLOSE_DONE);
}
