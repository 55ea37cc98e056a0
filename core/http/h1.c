/* SPDX-License-Identifier: MIT */
/* clang-format off */
/*
 * One HTTP/1 connection.
 *
 *   REFUSING --> FINISH  (one too many: h1_settings.refuses)
 *   OPENING  (only where hooks are told of connections: h1_watch)
 *    ^ | <-> PREFACE  (only where the peer says for whom it speaks: h1_preface.c)
 *      |    first byte        head complete, or refused    answer in the output
 *     IDLE ------------> HEAD ------------------> EXCHANGE ---------------------> IDLE
 *      |                   |                       |  |  |
 *      |                   |                       |  |  +--- body unread --> DISCARD --> IDLE
 *      |                   |                       |  |  +--- 101 --> TUNNEL --> FINISH
 *      | FIN, stop         | FIN                   |  | last answer              |
 *      +-------------------+------------+----------|--+----------- FIN ----------+
 *                                       v          |
 *                                    FINISH        | reset or timeout, in any state
 *                                       | sent     v
 *                                       +-----> CLOSED
 *                                       |          ^
 *                                       +-> LINGER +
 *
 * FINISH is the one way out but for resets and timeouts, so that whatever has been answered is
 * sent before the end, however slowly it is read.
 *
 * Everything happens in turns (take_turn): an event, a timer or a wake-up begins one, steps run
 * until none can go on, what they produced is written with one call, and the next deadline is
 * set. So sixteen pipelined requests leave as one packet, and no module is ever called from
 * within a call of its own.
 *
 * Input stands in the loop's scratch memory for the length of the turn; what a turn leaves over
 * is kept in `rest`. An idle connection owns no buffer and no request.
 */
/* clang-format on */
#include "http/h1.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/budget.h"
#include "http/h1_parts.h"

#define MAY(name) (1u << H1_##name)

/* A client that may have left unnoticed is asked for after so long. */
#define LOOK_NS NS_PER_S

static const struct {
    const char *name;
    enum step_result (*step)(struct turn *turn);
    unsigned may_go_to;
} states[] = {
#define X(name, step, may) { #name, step, may },
    H1_STATES(X)
#undef X
};

const char *
h1_close_label(enum h1_close reason)
{
    static const char *const labels[] = { "open",
#define X(name, label, text) label,
        H1_CLOSES(X)
#undef X
    };
    return labels[reason];
}

static void
check(const struct h1_conn *conn)
{
    bool has_request = conn->state == H1_HEAD || conn->state == H1_EXCHANGE ||
            conn->state == H1_TUNNEL;
    WEIR_ASSERT(has_request == (conn->request != NULL));
}

void
h1_enter(struct h1_conn *conn, enum h1_state next)
{
    WEIR_ASSERT(states[conn->state].may_go_to & (1u << next));
    conn->state = next;
    check(conn);
}

enum step_result
h1_gone(struct h1_conn *conn, enum h1_close reason)
{
    if (conn->close_reason == H1_OPEN) {
        conn->close_reason = reason;
    }
    return STEP_GONE;
}

enum request_end
h1_end_of(enum h1_close reason)
{
    switch (reason) {
    case H1_CLOSE_SLOW_HEAD:
    case H1_CLOSE_SLOW_BODY:
    case H1_CLOSE_SLOW_READER:
        return REQUEST_END_CLIENT_SLOW;
    case H1_CLOSE_REFUSED:
    case H1_CLOSE_BODY_LIMIT:
        return REQUEST_END_CLIENT_WRONG;
    case H1_CLOSE_SLOW_REQUEST:
    case H1_CLOSE_NO_MEMORY:
    case H1_CLOSE_TUNNEL_CUT:
        return REQUEST_END_ANSWER_FAILED;
    case H1_CLOSE_BROKEN:
        return REQUEST_END_ANSWER_SHORT;
    case H1_CLOSE_TUNNEL_IDLE:
        return REQUEST_END_IDLE;
    case H1_CLOSE_STOPPED:
        return REQUEST_END_STOPPED;
    case H1_OPEN:
    case H1_CLOSE_CLIENT:
    case H1_CLOSE_CLIENT_RESET:
    case H1_CLOSE_DONE:
    case H1_CLOSE_IDLE:
    case H1_CLOSE_DROPPED:
    case H1_CLOSE_TOO_MANY:
    case H1_CLOSE_UNTRUSTED:
    case H1_CLOSE_BAD_PROXY:
    case H1_CLOSE_COUNT:
        return REQUEST_END_CLIENT_LEFT;
    }
    return REQUEST_END_CLIENT_LEFT;
}

void
h1_end_request(const struct h1_conn *conn, struct weir_request *request, uint64_t end_at,
        enum request_end end)
{
    uint64_t sent_at = conn->output.sent_bytes < end_at ? conn->output.sent_bytes : end_at;
    if (request->reply.head_left && sent_at > request->reply_at) {
        request->sent_bytes = sent_at - request->reply_at;
    }
    request_end(request, end);
}

/* Requests whose answers the socket has taken. */
static void
end_answered(struct h1_conn *conn)
{
    while (conn->answered != NULL && conn->answered->sent_at <= conn->output.sent_bytes) {
        struct weir_request *request = conn->answered;
        conn->answered = request->next;
        if (conn->answered == NULL) {
            conn->answered_end = &conn->answered;
        }
        h1_end_request(conn, request, request->sent_at, REQUEST_END_COMPLETE);
    }
}

static void
free_conn(struct h1_conn *conn)
{
    budget_give(sizeof(*conn));
    free(conn);
}

/* Frees the connection. What its requests held is given back through their handler. */
static void
close_conn(struct h1_conn *conn)
{
    WEIR_ASSERT(!conn->in_turn && conn->close_reason != H1_OPEN);
    struct engine *engine = conn->engine;
    enum request_end end = h1_end_of(conn->close_reason);
    bool was_reading_head = conn->state == H1_HEAD;
    /* Nothing that was said through a tunnel is lost where that is so; else it must show. */
    bool is_whole = conn->state == H1_TUNNEL && conn->output.unsent == NULL &&
            (end == REQUEST_END_IDLE || end == REQUEST_END_STOPPED);
    engine->figures.tunnels -= conn->state == H1_TUNNEL;
    struct weir_request *request = h1_take_request(conn);
    conn->state = H1_CLOSED;

    /* An answer that the client does not get whole must not look whole to it. */
    bool is_cut = conn->is_cut || conn->output.unsent != NULL ||
            (request != NULL && !was_reading_head && request->reply.head_left);
    bool reset = conn->close_reason == H1_CLOSE_SLOW_READER ||
            (is_cut && !is_whole && conn->reply.framing == H1_UNTIL_CLOSE);
    stream_close(conn->stream, reset);
    while (conn->answered != NULL) {
        struct weir_request *answered = conn->answered;
        conn->answered = answered->next;
        answered->is_gone = true;
        h1_end_request(conn, answered, answered->sent_at, end);
    }
    if (request != NULL && was_reading_head) {
        request_free(request); /* nobody was told of it */
    } else if (request != NULL) {
        request->is_gone = true;
        h1_end_request(conn, request, conn->output.queued_bytes, end);
    }
    if (conn->watched != NULL) {
        conn->settings->watch->closed(conn->watched, conn->close_reason, conn->requests,
                conn->output.sent_bytes);
    }
    if (conn->settings->on_closed != NULL) {
        conn->settings->on_closed(conn->settings->context, &conn->peer, conn->close_reason);
    }
    engine_remove(engine, &conn->carrier);
    loop_undefer(engine->loop, &conn->task);
    coarse_timer_fini(&conn->timer);
    output_state_fini(&conn->output);
    h1_drop_rest(conn);
    h1_drop_preface(conn);
    free_conn(conn);
}

/* When the connection is looked at again, if nothing happens before. */
static void
set_timer(struct h1_conn *conn)
{
    uint64_t deadline = h1_next_limit(conn).deadline;
    if (conn->may_have_left) {
        uint64_t look_ns = clock_add_ns(h1_now_ns(conn), LOOK_NS);
        deadline = deadline < look_ns ? deadline : look_ns;
    }
    coarse_timer_set(&conn->timer, deadline);
}

/* Runs steps until none can go on, writes, and sets the next deadline. Returns whether the
 * connection is still there. */
static bool
take_turn(struct h1_conn *conn, unsigned events)
{
    WEIR_ASSERT(!conn->in_turn && h1_current_turn == NULL);
    struct turn turn = { .conn = conn,
        .queued_before = conn->output.queued_bytes,
        .by_bytes = (events & STREAM_READABLE) != 0 };
    if (conn->rest != NULL) {
        turn.input = weir_str_make(conn->rest->bytes + conn->rest->at,
                conn->rest->len - conn->rest->at);
    }
    conn->in_turn = true;
    bool had_unsent = conn->output.unsent != NULL;
    uint64_t sent_before = conn->output.sent_bytes;
    output_begin(&turn.output, conn->engine, conn->stream, &conn->output);
    if (had_unsent && output_flush(&turn.output) == OUTPUT_SENT && conn->request != NULL) {
        conn->must_run = true; /* room */
    }

    enum step_result result;
    do {
        result = states[conn->state].step(&turn);
    } while (result == STEP_AGAIN && turn.output.last != OUTPUT_BROKEN);

    /* What was to be said is said, also on a connection that ends. */
    if (turn.output.last == OUTPUT_SENT) {
        output_flush(&turn.output);
    }
    if (turn.output.last == OUTPUT_BROKEN) {
        conn->is_cut = true;
        result = h1_gone(conn,
                turn.output.has_source_failed ? H1_CLOSE_BROKEN : H1_CLOSE_CLIENT_RESET);
    }
    if (turn.output.last == OUTPUT_YIELDED) {
        turn.must_yield = true;
    }
    uint64_t sent = conn->output.sent_bytes - sent_before;
    if (sent > 0 || !had_unsent) {
        conn->sent_ns = h1_now_ns(conn);
    }
    if (sent > 0 && conn->state == H1_IDLE) {
        conn->since_ns = h1_now_ns(conn);
    }
    conn->engine->figures.bytes_out += sent;
    end_answered(conn);
    if (output_end(&turn.output) < 0) {
        conn->is_cut = true;
        result = h1_gone(conn, H1_CLOSE_NO_MEMORY);
    }
    if (!h1_keep_rest(&turn)) {
        result = h1_gone(conn, H1_CLOSE_NO_MEMORY);
    }
    slice_drop(&turn.block);
    /* Bytes and a reset behind them are one edge, and the bytes may have been all that was
     * read: a client that waits is asked in a while, or we would wait for one that has left;
     * where nothing was read, it is the event that asks for it. */
    bool may_wait_in_vain = result == STEP_WAIT && (events & STREAM_READABLE) != 0 &&
            (conn->state == H1_HEAD || conn->state == H1_EXCHANGE || conn->state == H1_TUNNEL ||
                    conn->state == H1_DISCARD || conn->state == H1_OPENING ||
                    conn->state == H1_PREFACE);
    if (may_wait_in_vain && turn.reads == 0 && stream_error(conn->stream) < 0) {
        result = h1_gone(conn, H1_CLOSE_CLIENT_RESET);
    } else if (may_wait_in_vain) {
        conn->may_have_left = turn.reads > 0;
        conn->may_read &= !turn.was_short; /* there was nothing behind the bytes */
    } else if (conn->state == H1_IDLE) {
        conn->may_have_left = false; /* writing has found out */
    }
    conn->in_turn = false;
    if (result == STEP_GONE) {
        close_conn(conn);
        return false;
    }
    if (turn.must_yield) {
        loop_defer_to_next(conn->engine->loop, &conn->task);
    }
    set_timer(conn);
    return true;
}

static void
on_task(struct loop_task *task)
{
    take_turn((struct h1_conn *)((char *)task - offsetof(struct h1_conn, task)), 0);
}

/* An answer where time is up and one is still possible. May free the connection. */
static void
answer_timeout(struct h1_conn *conn, enum h1_close reason)
{
    struct weir_request *request = conn->request;
    if (conn->close_reason == H1_OPEN) {
        conn->close_reason = reason;
    }
    if (conn->state == H1_HEAD) {
        request->refusal = HEAD_TOO_SLOW;
        h1_begin_exchange(conn);
    } else if (reason == H1_CLOSE_SLOW_BODY) {
        request_body_fail(request, -ETIMEDOUT);
        h1_check_body(conn);
    } else if (!request->reply.head_left) {
        request->forced_status = 504;
    } else {
        close_conn(conn);
        return;
    }
    conn->is_last = conn->must_linger = conn->must_run = true;
    take_turn(conn, 0);
}

static void
on_timer(struct coarse_timer *timer)
{
    struct h1_conn *conn = (struct h1_conn *)((char *)timer - offsetof(struct h1_conn, timer));
    if (conn->may_have_left) {
        conn->may_have_left = false;
        if (stream_error(conn->stream) < 0) {
            h1_gone(conn, H1_CLOSE_CLIENT_RESET);
            close_conn(conn);
            return;
        }
    }
    struct h1_limit limit = h1_next_limit(conn);
    if (limit.deadline > h1_now_ns(conn)) {
        set_timer(conn);
        return;
    }
    bool is_of_head = limit.reason == H1_CLOSE_SLOW_HEAD && conn->state == H1_HEAD;
    bool is_of_exchange = conn->state == H1_EXCHANGE &&
            (limit.reason == H1_CLOSE_SLOW_BODY ||
                    (limit.reason == H1_CLOSE_SLOW_REQUEST && conn->answered == NULL));
    if (is_of_head || is_of_exchange) {
        answer_timeout(conn, limit.reason);
        return;
    }
    h1_gone(conn, limit.reason);
    close_conn(conn);
}

static void
on_stop(struct carrier *carrier, bool now)
{
    struct h1_conn *conn = (struct h1_conn *)((char *)carrier -
            offsetof(struct h1_conn, carrier));
    if (now) {
        h1_gone(conn, H1_CLOSE_STOPPED);
        close_conn(conn);
        return;
    }
    conn->is_stopping = true;
    if (conn->state == H1_IDLE || conn->state == H1_PREFACE) {
        /* Once more to the stream: what has arrived is answered, though its event is yet to
         * come. */
        conn->may_read = true;
        conn->since_ns = h1_now_ns(conn);
        loop_defer(conn->engine->loop, &conn->task);
    }
}

static void
on_end_tunnel(struct carrier *carrier)
{
    struct h1_conn *conn = (struct h1_conn *)((char *)carrier -
            offsetof(struct h1_conn, carrier));
    if (conn->state == H1_TUNNEL) {
        h1_end_clients_flow(conn);
    }
}

static uint64_t
stalled_since(const struct carrier *carrier)
{
    const struct h1_conn *conn = (const struct h1_conn *)((const char *)carrier -
            offsetof(struct h1_conn, carrier));
    return conn->output.unsent == NULL ? CLOCK_NEVER : conn->sent_ns;
}

static void
on_shed(struct carrier *carrier)
{
    struct h1_conn *conn = (struct h1_conn *)((char *)carrier -
            offsetof(struct h1_conn, carrier));
    h1_gone(conn, H1_CLOSE_SLOW_READER);
    close_conn(conn);
}

static const struct carrier_type carrier_type = {
    .stop = on_stop,
    .end_tunnel = on_end_tunnel,
    .stalled_since = stalled_since,
    .shed = on_shed,
};

void
h1_conn_on_event(void *owner, unsigned events)
{
    struct h1_conn *conn = owner;
    if (events & STREAM_BROKEN) {
        h1_gone(conn, H1_CLOSE_CLIENT_RESET);
        close_conn(conn);
        return;
    }
    if (events & STREAM_READABLE) {
        conn->may_read = true;
    }
    if (events & STREAM_ENDED) {
        conn->peer_ended = true;
    }
    bool waits_for_room = conn->output.unsent != NULL;
    if ((events & STREAM_READABLE) || waits_for_room) {
        take_turn(conn, events);
    }
}

struct h1_conn *
h1_conn_new(struct engine *engine, const struct h1_settings *settings, const struct addr *peer)
{
    struct h1_conn *conn = malloc(sizeof(*conn));
    if (conn == NULL) {
        return NULL;
    }
    budget_take(sizeof(*conn));
    memset(conn, 0, offsetof(struct h1_conn, stream_memory));
    conn->engine = engine;
    conn->settings = settings;
    conn->timeouts = &settings->timeouts;
    conn->peer = addr_to_ip(peer);
    conn->state = H1_IDLE;
    conn->answered_end = &conn->answered;
    conn->task.fn = on_task;
    conn->carrier.type = &carrier_type;
    coarse_timer_init(&conn->timer, engine->loop, on_timer);
    conn->since_ns = conn->sent_ns = loop_now_ns(engine->loop);
    return conn;
}

void *
h1_conn_stream_memory(struct h1_conn *conn)
{
    return conn->stream_memory;
}

bool
h1_conn_start(struct h1_conn *conn, struct stream *stream)
{
    conn->stream = stream;
    conn->may_read = true;
    conn->is_stopping = conn->engine->is_draining;
    conn->is_introduced = conn->settings->trusts_proxy == NULL;
    engine_add(conn->engine, &conn->carrier);
    const struct h1_watch *watch = conn->settings->watch;
    if (conn->settings->refuses) {
        conn->state = H1_REFUSING;
    } else if (watch != NULL) {
        conn->state = H1_OPENING;
        conn->admission = watch->opened(conn->engine, conn->settings, conn, &conn->peer,
                &conn->watched);
    } else if (!conn->is_introduced) {
        conn->state = H1_PREFACE;
    }
    return take_turn(conn, STREAM_READABLE);
}

void
h1_conn_admit(struct h1_conn *conn, enum h1_admission admission)
{
    WEIR_ASSERT(conn->state == H1_OPENING && conn->admission == H1_HELD);
    conn->admission = admission;
    loop_defer(conn->engine->loop, &conn->task);
}

int
h1_serve_fd(struct engine *engine, const struct h1_settings *settings, int fd,
        const struct addr *peer)
{
    struct h1_conn *conn = h1_conn_new(engine, settings, peer);
    if (conn == NULL) {
        close(fd);
        return -ENOMEM;
    }
    struct stream *stream;
    int r = tcp_stream_init(conn->stream_memory, engine->loop, fd, h1_conn_on_event, conn,
            &stream);
    if (r < 0) {
        close(fd);
        free_conn(conn);
        return r;
    }
    /* A connection of one request, which came with it, is over before the loop hears of it. */
    if (h1_conn_start(conn, stream) && tcp_stream_watch(stream) < 0) {
        h1_gone(conn, H1_CLOSE_NO_MEMORY);
        close_conn(conn);
    }
    return 0;
}
