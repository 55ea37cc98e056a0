/* SPDX-License-Identifier: MIT */
/* clang-format off */
/*
 * One HTTP/1 connection.
 *
 *   OPENING  (only where hooks are told of connections: h1_watch)
 *      |    first byte        head complete, or refused    answer in the output
 *     IDLE ------------> HEAD ------------------> EXCHANGE ---------------------> IDLE
 *      |                   |                       |  |  |
 *      |                   |                       |  |  +--- body unread --> DISCARD --> IDLE
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
#include <unistd.h>

#include "base/assert.h"
#include "base/budget.h"
#include "event/loop.h"
#include "event/timer.h"
#include "http/chunked.h"
#include "http/h1_reply.h"
#include "http/output.h"
#include "http/request.h"
#include "net/tcp.h"

/* An unread body of up to this is read and dropped to keep the connection. */
#define DISCARD_MAX_BYTES (256u << 10)

/* How long a client may take to read an error answer and close (HTTP.md, Framing). */
#define LINGER_NS (2 * NS_PER_S)

/* How long a connection that was accepted, and has said nothing yet, may go on when the server
 * stops: what its client has sent may be under way (F70). */
#define STOP_GRACE_NS NS_PER_S

/* Reads of one turn, so that one fast sender cannot hold the loop. */
#define TURN_READS 16

/* What a slow body is forgiven before its least rate counts. */
#define RATE_GRACE_NS (5 * NS_PER_S)

enum step_result {
    STEP_AGAIN, /* turn once more */
    STEP_WAIT,  /* back to the loop */
    STEP_GONE,  /* the connection is to be closed for conn->close_reason */
};

struct turn;

// clang-format off
#define H1_STATES(X)                                                                      \
    /* name      step           may go to                                              */ \
    X(OPENING,   step_opening,  MAY(IDLE) | MAY(CLOSED))                                  \
    X(IDLE,      step_idle,     MAY(HEAD) | MAY(FINISH) | MAY(CLOSED))                    \
    X(HEAD,      step_head,     MAY(EXCHANGE) | MAY(FINISH) | MAY(CLOSED))                \
    X(EXCHANGE,  step_exchange, MAY(IDLE) | MAY(DISCARD) | MAY(FINISH) | MAY(CLOSED))     \
    X(DISCARD,   step_discard,  MAY(IDLE) | MAY(FINISH) | MAY(CLOSED))                    \
    X(FINISH,    step_finish,   MAY(LINGER) | MAY(CLOSED))                                \
    X(LINGER,    step_linger,   MAY(CLOSED))                                              \
    X(CLOSED,    NULL,          0)
// clang-format on

enum h1_state {
#define X(name, step, may) H1_##name,
    H1_STATES(X)
#undef X
};

struct h1_conn {
    /* Fixed at birth. */
    struct engine *engine;              /* borrowed */
    const struct h1_settings *settings; /* borrowed */
    struct stream *stream;              /* owned; its memory is below */
    struct h1_watched *watched;         /* the watcher's; NULL: nobody is told */
    struct addr_ip peer;

    /* Changes. */
    enum h1_state state         : 4;
    enum h1_close close_reason  : 8;
    enum h1_admission admission : 4; /* in OPENING */
    bool may_read               : 1; /* the last read did not empty the stream */
    bool peer_ended             : 1; /* a FIN was announced */
    bool has_read_end           : 1; /* and read */
    bool must_run               : 1; /* the request's handler has something to look at */
    bool is_last                : 1; /* the answer in hand ends the connection */
    bool must_linger            : 1; /* the client may still be sending when we close */
    bool is_cut                 : 1; /* the last answer is not whole and never will be */
    bool sent_continue          : 1; /* or the client does not wait for it */
    bool in_turn                : 1;
    bool is_stopping            : 1; /* engine_stop() */
    bool reads_body             : 1; /* the client's time for its body runs, from since_ns */
    struct carrier carrier;
    struct loop_task task;
    struct coarse_timer timer;
    const struct http_timeouts *timeouts; /* borrowed: those of the last request's route */
    struct weir_request *request;         /* owned; in HEAD and EXCHANGE, else NULL */
    struct weir_request *answered;        /* owned: answers in the output, oldest first */
    struct weir_request **answered_end;
    struct rest {
        size_t at, len;
        char bytes[];
    } * rest; /* owned: input that the last turn did not get to; NULL */
    struct output_state output;
    struct h1_reply reply;
    uint64_t requests;        /* begun */
    uint64_t body_left_bytes; /* of a body with a length */
    uint64_t since_ns;        /* IDLE: idle; EXCHANGE: last body bytes; DISCARD: the answer;
                                 LINGER: our FIN */
    uint64_t sent_ns;         /* the socket last took something */

    _Alignas(8) unsigned char stream_memory[TCP_STREAM_BYTES];
};

/* Thousands of them idle. What malloc() and libevent add comes to some 55 bytes each, and all
 * of it together is to stay within 512. */
_Static_assert(sizeof(struct h1_conn) <= 440, "an idle connection is small");

/* A turn of one connection: what lives only until it returns. */
struct turn {
    struct h1_conn *conn;
    struct weir_str input; /* in the loop's scratch memory, or in conn->rest */
    struct output output;
    unsigned reads, requests;
    uint64_t queued_before; /* conn->output.queued_bytes as it began */
    bool was_short;         /* the last read emptied the stream */
    bool must_yield;        /* goes on in the next turn of the loop */
};

#define MAY(name) (1u << H1_##name)

static enum step_result step_opening(struct turn *turn);
static enum step_result step_idle(struct turn *turn);
static enum step_result step_head(struct turn *turn);
static enum step_result step_exchange(struct turn *turn);
static enum step_result step_discard(struct turn *turn);
static enum step_result step_finish(struct turn *turn);
static enum step_result step_linger(struct turn *turn);

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
    bool has_request = conn->state == H1_HEAD || conn->state == H1_EXCHANGE;
    WEIR_ASSERT(has_request == (conn->request != NULL));
}

/* The only place that sets conn->state. */
static void
enter(struct h1_conn *conn, enum h1_state next)
{
    WEIR_ASSERT(states[conn->state].may_go_to & (1u << next));
    conn->state = next;
    check(conn);
}

static enum step_result
gone(struct h1_conn *conn, enum h1_close reason)
{
    if (conn->close_reason == H1_OPEN) {
        conn->close_reason = reason;
    }
    return STEP_GONE;
}

static uint64_t
now_ns(const struct h1_conn *conn)
{
    return loop_now_ns(conn->engine->loop);
}

/* Nothing more is read or answered; what has been answered is sent first. */
static enum step_result
leave(struct h1_conn *conn, enum h1_close reason)
{
    if (conn->close_reason == H1_OPEN) {
        conn->close_reason = reason;
    }
    if (conn->state == H1_HEAD) {
        request_free(conn->request); /* nobody was told of it */
        conn->request = NULL;
    }
    enter(conn, H1_FINISH);
    return STEP_AGAIN;
}

/* ---- input ------------------------------------------------------------------------------- */

enum fill_result {
    FILLED, /* turn->input is not empty */
    FILL_NOTHING,
    FILL_END,
    FILL_BROKEN,
};

static void
drop_rest(struct h1_conn *conn)
{
    if (conn->rest != NULL) {
        budget_give(conn->rest->len);
        free(conn->rest);
        conn->rest = NULL;
    }
}

/* Makes sure that there is input, from the last turn or the stream. */
static enum fill_result
fill(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    if (turn->input.len > 0) {
        return FILLED;
    }
    drop_rest(conn); /* used up */
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

/* Whether bytes of the client may stand in the stream that nobody has seen. */
static bool
may_hold_more(const struct turn *turn)
{
    return turn->conn->may_read && !turn->was_short;
}

static void
consume(struct turn *turn, size_t bytes)
{
    turn->input.ptr += bytes;
    turn->input.len -= bytes;
}

/* Keeps what this turn did not get to. */
static bool
keep_rest(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    if (turn->input.len == 0) {
        drop_rest(conn);
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

/* ---- transport --------------------------------------------------------------------------- */

static void
transport_wake(struct weir_request *request)
{
    struct h1_conn *conn = request->carrier;
    conn->must_run = true;
    loop_defer(conn->engine->loop, &conn->task);
}

/* The turn in which the request's handler runs, for what it says meanwhile; one at a time on a
 * loop, since a turn never begins within another. */
static _Thread_local struct turn *current_turn;

static int
write_interim(struct output *output, unsigned status, struct weir_str lines)
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
    struct turn *turn = current_turn;
    if (turn == NULL || turn->conn->request != request || turn->conn->reply.has_head) {
        return -EALREADY;
    }
    return write_interim(&turn->output, status, lines);
}

static const struct request_transport transport = {
    .wake = transport_wake,
    .interim = transport_interim,
};

/* ---- steps ------------------------------------------------------------------------------- */

/* Nothing is read before the watcher has made up its mind. */
static enum step_result
step_opening(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    switch (conn->admission) {
    case H1_ADMITTED:
        conn->since_ns = now_ns(conn);
        enter(conn, H1_IDLE);
        return STEP_AGAIN;
    case H1_HELD:
        return STEP_WAIT;
    case H1_DROPPED:
        return gone(conn, H1_CLOSE_DROPPED);
    case H1_NO_MEMORY:
        return gone(conn, H1_CLOSE_NO_MEMORY);
    }
    return STEP_WAIT;
}

static enum step_result
step_idle(struct turn *turn)
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
    switch (fill(turn)) {
    case FILLED:
        break; /* also when stopping: what has arrived is answered (F70) */
    case FILL_NOTHING:
        return conn->is_stopping && conn->requests > 0 && !turn->must_yield
                ? leave(conn, H1_CLOSE_STOPPED)
                : STEP_WAIT;
    case FILL_END:
        return leave(conn, H1_CLOSE_CLIENT);
    case FILL_BROKEN:
        return gone(conn, H1_CLOSE_CLIENT_RESET);
    }
    if (budget_level() == BUDGET_FULL) {
        conn->engine->figures.requests_shed++;
        engine_shed(conn->engine);
    } else {
        conn->request = request_new(conn->engine, &transport, conn, &conn->settings->limits,
                &conn->settings->timeouts);
    }
    if (conn->request == NULL) {
        output_bytes(&turn->output,
                WEIR_STR("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
                         "Content-Length: 0\r\nConnection: close\r\n\r\n"));
        conn->must_linger = true;
        return leave(conn, H1_CLOSE_NO_MEMORY);
    }
    conn->request->peer = conn->peer;
    conn->request->origin = conn->settings->origin;
    conn->request->ordinal = (uint32_t)++conn->requests;
    turn->requests++;
    enter(conn, H1_HEAD);
    return STEP_AGAIN;
}

/* The head is read or refused; from here on the request is its handler's. */
static enum step_result
begin_exchange(struct h1_conn *conn)
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
    enter(conn, H1_EXCHANGE);
    return STEP_AGAIN;
}

static enum step_result
step_head(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    switch (fill(turn)) {
    case FILLED:
        break;
    case FILL_NOTHING:
        return STEP_WAIT;
    case FILL_END:
        return leave(conn, H1_CLOSE_CLIENT);
    case FILL_BROKEN:
        return gone(conn, H1_CLOSE_CLIENT_RESET);
    }
    struct weir_request *request = conn->request;
    size_t taken;
    enum head_progress progress = head_reader_feed(&request->reader, turn->input, &taken,
            &request->refusal);
    request->head_bytes += (uint32_t)taken;
    consume(turn, taken);
    return progress == HEAD_MORE ? STEP_AGAIN : begin_exchange(conn);
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
    if (request_body_push(request, weir_str_make(turn->input.ptr, len)) < 0) {
        return;
    }
    consume(turn, len);
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
        consume(turn, offered - piece.len);
        switch (result) {
        case CHUNKED_MORE:
            break;
        case CHUNKED_DATA:
            if (request_body_push(request, data) < 0) {
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

/* What reaches nobody any more: a body whose framing broke is the connection's end. Where no
 * reader can say so, the answer that waits for it gives way to a refusal. */
static void
check_body(struct h1_conn *conn)
{
    int error = conn->request->in.error;
    if (error != 0) {
        conn->is_last = conn->must_linger = true;
    }
    if (error != 0 && conn->request->in.is_checked) {
        conn->request->forced_status = request_body_status(error);
    }
    if (error != 0 && conn->close_reason == H1_OPEN) {
        conn->close_reason = error == -ECONNRESET ? H1_CLOSE_CLIENT : H1_CLOSE_REFUSED;
    }
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

/* Reads as much of the body as somebody wants. True when something changed. */
static bool
feed_body(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    struct weir_request *request = conn->request;
    struct request_body *in = &request->in;
    bool reads_body = !in->ended && in->error == 0 && (in->wanted || in->is_checked) &&
            request_body_room(request) > 0;
    if (reads_body && !conn->reads_body) {
        conn->since_ns = in->resumed_ns = now_ns(conn);
    } else if (!reads_body && conn->reads_body) {
        in->spent_ns += now_ns(conn) - in->resumed_ns;
    }
    conn->reads_body = reads_body;
    if (!reads_body) {
        return false;
    }
    enum fill_result filled = fill(turn);
    if (filled == FILL_NOTHING) {
        if (!turn->must_yield && may_continue(conn)) {
            conn->sent_continue = true;
            write_interim(&turn->output, 100, weir_str_make(NULL, 0));
        }
        return false;
    }
    conn->since_ns = now_ns(conn);
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
    check_body(conn);
    return true;
}

/* Whether the rest of the body, if any, can be got out of the way. */
static bool
can_discard(const struct h1_conn *conn)
{
    const struct weir_request *request = conn->request;
    if (request->in.ended) {
        return true;
    }
    return request->in.error == 0 && request->head.body == HEAD_BODY_LENGTH &&
            conn->body_left_bytes <= DISCARD_MAX_BYTES && conn->sent_continue;
}

/* Whether a whole answer waits for a body in chunks that nobody reads: only its end tells where
 * it ends, and whether it is well-formed; a request that is not gets no success (RFC 9112
 * section 7.1). Refusals wait for nothing, nor does anything for a client that waits itself, or
 * for more than would be discarded. */
static bool
waits_for_body(struct h1_conn *conn)
{
    const struct reply *reply = &conn->request->reply;
    struct request_body *in = &conn->request->in;
    if (in->ended || conn->request->head.body != HEAD_BODY_CHUNKED || !conn->sent_continue ||
            in->received_bytes > DISCARD_MAX_BYTES || !reply_is_ended(reply) ||
            reply->status >= 400) {
        return false;
    }
    if (in->is_checked) {
        return in->error == 0;
    }
    in->is_checked = true;
    conn->must_run = true;
    check_body(conn); /* its reader may have stopped before what is wrong */
    return true;
}

/* Why a request ended whose connection is closing. */
static enum request_end
end_of(enum h1_close reason)
{
    switch (reason) {
    case H1_CLOSE_SLOW_HEAD:
    case H1_CLOSE_SLOW_BODY:
    case H1_CLOSE_SLOW_READER:
        return REQUEST_END_CLIENT_SLOW;
    case H1_CLOSE_REFUSED:
        return REQUEST_END_CLIENT_WRONG;
    case H1_CLOSE_SLOW_REQUEST:
    case H1_CLOSE_NO_MEMORY:
        return REQUEST_END_ANSWER_FAILED;
    case H1_CLOSE_BROKEN:
        return REQUEST_END_ANSWER_SHORT;
    case H1_CLOSE_STOPPED:
        return REQUEST_END_STOPPED;
    case H1_OPEN:
    case H1_CLOSE_CLIENT:
    case H1_CLOSE_CLIENT_RESET:
    case H1_CLOSE_DONE:
    case H1_CLOSE_IDLE:
    case H1_CLOSE_DROPPED:
    case H1_CLOSE_COUNT:
        return REQUEST_END_CLIENT_LEFT;
    }
    return REQUEST_END_CLIENT_LEFT;
}

/* Ends a request whose answer's last byte is, or would have been, at `end_at` of the output. */
static void
end_request(const struct h1_conn *conn, struct weir_request *request, uint64_t end_at,
        enum request_end end)
{
    uint64_t sent_at = conn->output.sent_bytes < end_at ? conn->output.sent_bytes : end_at;
    if (request->reply.head_left && sent_at > request->reply_at) {
        request->sent_bytes = sent_at - request->reply_at;
    }
    request_end(request, end);
}

/* The answer cannot be finished: what there is of it is sent, and then the connection ends so
 * that the client sees that it is not whole (F49). */
static enum step_result
cut_exchange(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    struct weir_request *request = conn->request;
    conn->must_linger |= !request->in.ended || turn->input.len > 0 || may_hold_more(turn);
    conn->is_cut = conn->is_last = true;
    if (conn->close_reason == H1_OPEN) {
        conn->close_reason = H1_CLOSE_BROKEN;
    }
    conn->request = NULL;
    enter(conn, H1_FINISH);
    end_request(conn, request, conn->output.queued_bytes, end_of(conn->close_reason));
    return STEP_AGAIN;
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
    if (!can_discard(conn)) {
        conn->is_last = conn->must_linger = true;
    }
    /* A client that meant to go on may be sending already; closing over that would be a reset,
     * and could cost it this answer. */
    conn->must_linger |= conn->is_last && request->head.keep_alive;
    request->sent_at = conn->output.queued_bytes;
    request->next = NULL;
    *conn->answered_end = request;
    conn->answered_end = &request->next;
    conn->request = NULL;
    conn->timeouts = request->timeouts;
    conn->since_ns = now_ns(conn);
    if (conn->is_last) {
        conn->must_linger |= has_unread_body || turn->input.len > 0 || may_hold_more(turn);
        enter(conn, H1_FINISH);
    } else {
        enter(conn, has_unread_body ? H1_DISCARD : H1_IDLE);
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
    return turn->conn->request->in.ended && fill(turn) == FILLED;
}

static enum step_result
step_exchange(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    struct weir_request *request = conn->request;
    bool has_changed = feed_body(turn);
    if (has_changed || conn->must_run) {
        conn->must_run = false;
        current_turn = turn;
        conn->engine->handler->run(request);
        current_turn = NULL;
        has_changed = true;
    }
    if (request->is_gone) {
        return gone(conn, H1_CLOSE_CLIENT_RESET);
    }
    if (request->reply.state != REPLY_COMMITTED || turn->output.last != OUTPUT_SENT) {
        return has_changed ? STEP_AGAIN : STEP_WAIT; /* reading does not wait for the output */
    }
    if (!conn->reply.has_head && waits_for_body(conn)) {
        return has_changed || conn->must_run ? STEP_AGAIN : STEP_WAIT;
    }
    if (!conn->reply.has_head) {
        conn->is_last |= conn->requests >= request->limits->requests_per_connection ||
                (is_leaving(conn) && !has_further_input(turn));
        bool reads_no_more = !request->in.wanted || reply_is_ended(&request->reply);
        conn->is_last |= request->reply.close || h1_reply_needs_close(request) ||
                (reads_no_more && !can_discard(conn));
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

static enum step_result
step_discard(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    switch (fill(turn)) {
    case FILLED:
        break;
    case FILL_NOTHING:
        return STEP_WAIT;
    case FILL_END:
        return leave(conn, H1_CLOSE_CLIENT);
    case FILL_BROKEN:
        return gone(conn, H1_CLOSE_CLIENT_RESET);
    }
    size_t len = turn->input.len < conn->body_left_bytes ? turn->input.len
                                                         : (size_t)conn->body_left_bytes;
    consume(turn, len);
    conn->body_left_bytes -= len;
    if (conn->body_left_bytes == 0) {
        conn->since_ns = now_ns(conn);
        enter(conn, H1_IDLE);
    }
    return STEP_AGAIN;
}

/* The last answer is on its way out. */
static enum step_result
step_finish(struct turn *turn)
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
    bool must_linger = conn->must_linger || (may_hold_more(turn) && !conn->has_read_end);
    if (!must_linger || must_reset) {
        return STEP_GONE;
    }
    if (stream_shutdown(conn->stream) < 0) {
        return gone(conn, H1_CLOSE_CLIENT_RESET);
    }
    conn->since_ns = now_ns(conn);
    enter(conn, H1_LINGER);
    return STEP_AGAIN;
}

/* Reads and drops, so that closing sends no reset over the answer (RFC 9112 section 9.6). */
static enum step_result
step_linger(struct turn *turn)
{
    struct h1_conn *conn = turn->conn;
    switch (fill(turn)) {
    case FILLED:
        turn->input.len = 0;
        return STEP_AGAIN;
    case FILL_NOTHING:
        return STEP_WAIT;
    case FILL_END:
    case FILL_BROKEN:
        break;
    }
    return gone(conn, H1_CLOSE_DONE);
}

/* ---- the turn ---------------------------------------------------------------------------- */

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
        end_request(conn, request, request->sent_at, REQUEST_END_COMPLETE);
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
    enum request_end end = end_of(conn->close_reason);
    bool was_reading_head = conn->state == H1_HEAD;
    struct weir_request *request = conn->request;
    conn->request = NULL;
    conn->state = H1_CLOSED;

    /* An answer that the client does not get whole must not look whole to it. */
    bool is_cut = conn->is_cut || conn->output.unsent != NULL ||
            (request != NULL && !was_reading_head && request->reply.head_left);
    bool reset = conn->close_reason == H1_CLOSE_SLOW_READER ||
            (is_cut && conn->reply.framing == H1_UNTIL_CLOSE);
    stream_close(conn->stream, reset);
    while (conn->answered != NULL) {
        struct weir_request *answered = conn->answered;
        conn->answered = answered->next;
        answered->is_gone = true;
        end_request(conn, answered, answered->sent_at, end);
    }
    if (request != NULL && was_reading_head) {
        request_free(request); /* nobody was told of it */
    } else if (request != NULL) {
        request->is_gone = true;
        end_request(conn, request, conn->output.queued_bytes, end);
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
    drop_rest(conn);
    free_conn(conn);
}

/* Until when the client may take for its body; CLOCK_NEVER while nobody waits for it. */
static uint64_t
body_deadline(const struct h1_conn *conn)
{
    const struct weir_request *request = conn->request;
    const struct request_body *in = &request->in;
    if (!conn->reads_body || in->ended || in->error != 0) {
        return CLOCK_NEVER;
    }
    uint64_t deadline = clock_add_ns(conn->since_ns, request->timeouts->body_ns);
    uint64_t rate = request->limits->body_rate_bytes_per_s;
    if (rate == 0) {
        return deadline;
    }
    /* What it sent has earned it time, of which some is spent. */
    uint64_t earned_s = in->received_bytes / rate;
    uint64_t earned_ns = earned_s > CLOCK_NEVER / NS_PER_S ? CLOCK_NEVER : earned_s * NS_PER_S;
    uint64_t allowed_ns = clock_add_ns(RATE_GRACE_NS, earned_ns);
    uint64_t due = allowed_ns < in->spent_ns
            ? in->resumed_ns
            : clock_add_ns(in->resumed_ns, allowed_ns - in->spent_ns);
    return due < deadline ? due : deadline;
}

static uint64_t
request_deadline(const struct weir_request *request)
{
    return clock_add_ns(request->began_ns, request->timeouts->request_ns);
}

struct limit {
    uint64_t deadline;
    enum h1_close reason;
};

static void
sooner(struct limit *limit, uint64_t deadline, enum h1_close reason)
{
    if (deadline < limit->deadline) {
        *limit = (struct limit){ deadline, reason };
    }
}

/* Which limit runs out next, and when. */
static struct limit
next_limit(const struct h1_conn *conn)
{
    const struct http_timeouts *timeouts = conn->state == H1_EXCHANGE ? conn->request->timeouts
                                                                      : conn->timeouts;
    struct limit limit = { CLOCK_NEVER, H1_CLOSE_IDLE };
    bool has_unsent = conn->output.unsent != NULL;
    if (has_unsent) {
        sooner(&limit, clock_add_ns(conn->sent_ns, timeouts->send_ns), H1_CLOSE_SLOW_READER);
    }
    if (conn->answered != NULL) {
        sooner(&limit, request_deadline(conn->answered), H1_CLOSE_SLOW_REQUEST);
    }
    switch (conn->state) {
    case H1_IDLE:
        /* The first request has the time of a head, later ones that of an idle connection; a
         * client that is still reading is not idle. */
        if (conn->requests > 0) {
            sooner(&limit,
                    has_unsent ? CLOCK_NEVER
                               : clock_add_ns(conn->since_ns, timeouts->keepalive_ns),
                    H1_CLOSE_IDLE);
            break;
        }
        sooner(&limit, clock_add_ns(conn->since_ns, timeouts->head_ns), H1_CLOSE_IDLE);
        if (conn->is_stopping) {
            sooner(&limit, clock_add_ns(conn->since_ns, STOP_GRACE_NS), H1_CLOSE_STOPPED);
        }
        break;
    case H1_HEAD:
        sooner(&limit, clock_add_ns(conn->request->began_ns, timeouts->head_ns),
                H1_CLOSE_SLOW_HEAD);
        break;
    case H1_EXCHANGE:
        sooner(&limit, request_deadline(conn->request), H1_CLOSE_SLOW_REQUEST);
        sooner(&limit, body_deadline(conn), H1_CLOSE_SLOW_BODY);
        break;
    case H1_DISCARD:
        sooner(&limit, clock_add_ns(conn->since_ns, timeouts->body_ns), H1_CLOSE_SLOW_BODY);
        break;
    case H1_LINGER:
        sooner(&limit, clock_add_ns(conn->since_ns, LINGER_NS), H1_CLOSE_DONE);
        break;
    case H1_OPENING: /* the watcher's time */
    case H1_FINISH:
    case H1_CLOSED:
        break;
    }
    return limit;
}

/* Runs steps until none can go on, writes, and sets the next deadline. Returns whether the
 * connection is still there. */
static bool
take_turn(struct h1_conn *conn, unsigned events)
{
    WEIR_ASSERT(!conn->in_turn && current_turn == NULL);
    struct turn turn = { .conn = conn, .queued_before = conn->output.queued_bytes };
    if (conn->rest != NULL) {
        turn.input = weir_str_make(conn->rest->bytes + conn->rest->at,
                conn->rest->len - conn->rest->at);
    }
    conn->in_turn = true;
    bool had_unsent = conn->output.unsent != NULL;
    uint64_t sent_before = conn->output.sent_bytes;
    output_begin(&turn.output, conn->engine, conn->stream, &conn->output);
    if (had_unsent && output_flush(&turn.output) == OUTPUT_SENT && conn->state == H1_EXCHANGE) {
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
        result = gone(conn,
                turn.output.has_source_failed ? H1_CLOSE_BROKEN : H1_CLOSE_CLIENT_RESET);
    }
    if (turn.output.last == OUTPUT_YIELDED) {
        turn.must_yield = true;
    }
    uint64_t sent = conn->output.sent_bytes - sent_before;
    if (sent > 0 || !had_unsent) {
        conn->sent_ns = now_ns(conn);
    }
    if (sent > 0 && conn->state == H1_IDLE) {
        conn->since_ns = now_ns(conn);
    }
    conn->engine->figures.bytes_out += sent;
    end_answered(conn);
    if (output_end(&turn.output) < 0) {
        conn->is_cut = true;
        result = gone(conn, H1_CLOSE_NO_MEMORY);
    }
    if (!keep_rest(&turn)) {
        result = gone(conn, H1_CLOSE_NO_MEMORY);
    }
    /* Bytes and a reset behind them are one edge, and the bytes may have been all that was
     * read: whoever waits now asks, or would wait for a client that has left. */
    bool may_wait_in_vain = (events & STREAM_READABLE) != 0 &&
            (conn->state == H1_HEAD || conn->state == H1_EXCHANGE ||
                    conn->state == H1_DISCARD || conn->state == H1_OPENING);
    if (result == STEP_WAIT && may_wait_in_vain && stream_error(conn->stream) < 0) {
        result = gone(conn, H1_CLOSE_CLIENT_RESET);
    }
    conn->in_turn = false;
    if (result == STEP_GONE) {
        close_conn(conn);
        return false;
    }
    if (turn.must_yield) {
        loop_defer_to_next(conn->engine->loop, &conn->task);
    }
    coarse_timer_set(&conn->timer, next_limit(conn).deadline);
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
        begin_exchange(conn);
    } else if (reason == H1_CLOSE_SLOW_BODY) {
        request_body_fail(request, -ETIMEDOUT);
        check_body(conn);
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
    struct limit limit = next_limit(conn);
    if (limit.deadline > now_ns(conn)) {
        coarse_timer_set(timer, limit.deadline);
        return;
    }
    bool is_of_head = limit.reason == H1_CLOSE_SLOW_HEAD;
    bool is_of_exchange = conn->state == H1_EXCHANGE &&
            (limit.reason == H1_CLOSE_SLOW_BODY ||
                    (limit.reason == H1_CLOSE_SLOW_REQUEST && conn->answered == NULL));
    if (is_of_head || is_of_exchange) {
        answer_timeout(conn, limit.reason);
        return;
    }
    gone(conn, limit.reason);
    close_conn(conn);
}

static void
on_stop(struct carrier *carrier, bool now)
{
    struct h1_conn *conn = (struct h1_conn *)((char *)carrier -
            offsetof(struct h1_conn, carrier));
    if (now) {
        gone(conn, H1_CLOSE_STOPPED);
        close_conn(conn);
        return;
    }
    conn->is_stopping = true;
    if (conn->state == H1_IDLE) {
        /* Once more to the stream: what has arrived is answered, though its event is yet to
         * come. */
        conn->may_read = true;
        conn->since_ns = now_ns(conn);
        loop_defer(conn->engine->loop, &conn->task);
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
    gone(conn, H1_CLOSE_SLOW_READER);
    close_conn(conn);
}

static const struct carrier_type carrier_type = {
    .stop = on_stop,
    .stalled_since = stalled_since,
    .shed = on_shed,
};

void
h1_conn_on_event(void *owner, unsigned events)
{
    struct h1_conn *conn = owner;
    if (events & STREAM_BROKEN) {
        gone(conn, H1_CLOSE_CLIENT_RESET);
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
    engine_add(conn->engine, &conn->carrier);
    const struct h1_watch *watch = conn->settings->watch;
    if (watch != NULL) {
        conn->state = H1_OPENING;
        conn->admission = watch->opened(conn->engine, conn->settings, conn, &conn->peer,
                &conn->watched);
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
        gone(conn, H1_CLOSE_NO_MEMORY);
        close_conn(conn);
    }
    return 0;
}
