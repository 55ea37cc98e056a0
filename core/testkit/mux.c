/* SPDX-License-Identifier: MIT */
/*
 * A turn takes in what has arrived, frame by frame, runs the handlers of the streams that have
 * something to look at, and then gives each stream in turn one frame of output until nobody has
 * credit or anything to send.
 */
#include "testkit/mux.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/num.h"
#include "event/loop.h"
#include "http/output.h"
#include "http/request.h"

#define PAYLOAD_MAX (1u << 20)

struct mux_stream {
    struct mux_conn *conn; /* borrowed */
    struct mux_stream *next;
    struct weir_request *request; /* owned */
    uint16_t id;
    bool must_run, has_head, is_answered;
    bool has_reset;        /* sent or received: nothing more is said of it */
    uint64_t may_send;     /* credit from the client */
    uint64_t may_receive;  /* credit that the client has left */
    uint64_t length_bytes; /* of the answer, as declared; LENGTH_UNKNOWN */
    uint64_t body_bytes;   /* of the answer, sent */
};

struct mux_conn {
    struct engine *engine;               /* borrowed */
    const struct mux_settings *settings; /* borrowed */
    struct stream *stream;               /* owned */
    struct carrier carrier;
    struct loop_task task;
    struct buf input;
    struct output_state output_state;
    uint64_t sent_ns;           /* the stream last took something */
    struct output *output;      /* of the turn in progress; NULL: none */
    struct mux_stream *streams; /* owned; oldest first */
    unsigned stream_count;
    uint32_t heads; /* that came */
    uint16_t last_id;
    bool may_read, is_over; /* nothing more is read or begun */
    bool is_broken;
};

void
mux_format(char *dst, enum mux_type type, unsigned flags, uint16_t stream, uint32_t bytes)
{
    const unsigned char frame[MUX_FRAME_BYTES] = { (unsigned char)type, (unsigned char)flags,
        (unsigned char)(stream >> 8), (unsigned char)stream, (unsigned char)(bytes >> 24),
        (unsigned char)(bytes >> 16), (unsigned char)(bytes >> 8), (unsigned char)bytes };
    memcpy(dst, frame, sizeof(frame));
}

static uint32_t
read_u32(const char *at)
{
    const unsigned char *bytes = (const unsigned char *)at;
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
            bytes[3];
}

/* ---- output ------------------------------------------------------------------------------ */

static void
put_frame(struct mux_conn *conn, enum mux_type type, unsigned flags, uint16_t id,
        struct weir_str payload)
{
    char frame[MUX_FRAME_BYTES];
    mux_format(frame, type, flags, id, (uint32_t)payload.len);
    output_bytes(conn->output, weir_str_make(frame, sizeof(frame)));
    output_bytes(conn->output, payload);
}

static int
put_lines(struct buf *text, unsigned status, const struct reply *reply)
{
    int r = buf_printf(text, "%u\n", status);
    for (uint32_t i = 0; r == 0 && i < reply->field_count; i++) {
        r = buf_printf(text, "%.*s: %.*s\n", WEIR_STR_ARG(reply->fields[i].name),
                WEIR_STR_ARG(reply->fields[i].value));
    }
    return r;
}

/* Field lines as HTTP/1 has them, with LF alone. */
static int
put_crlf_lines(struct buf *text, struct weir_str lines)
{
    int r = 0;
    for (size_t i = 0; i < lines.len && r == 0; i++) {
        r = lines.ptr[i] == '\r' ? 0 : buf_append(text, weir_str_make(lines.ptr + i, 1));
    }
    return r;
}

static void
reset_stream(struct mux_stream *stream)
{
    if (!stream->has_reset) {
        stream->has_reset = true;
        put_frame(stream->conn, MUX_RESET, 0, stream->id, weir_str_make(NULL, 0));
    }
}

/* The stream is done with, for whatever reason. */
static void
end_stream(struct mux_stream *stream, enum request_end end)
{
    struct mux_conn *conn = stream->conn;
    struct mux_stream **link = &conn->streams;
    while (*link != stream) {
        link = &(*link)->next;
    }
    *link = stream->next;
    conn->stream_count--;
    stream->request->is_gone |= end != REQUEST_END_COMPLETE;
    stream->request->sent_bytes = stream->request->reply_head_bytes + stream->body_bytes;
    request_end(stream->request, end);
    free(stream);
}

/* True when the answer has all it will have on the wire. */
static bool
step_head(struct mux_stream *stream)
{
    struct reply *reply = &stream->request->reply;
    bool is_bodiless = reply_is_bodiless(stream->request);
    bool ends = is_bodiless || (reply_is_ended(reply) && reply->wire->bytes == 0);
    stream->length_bytes = reply->status == 205 ? 0 : reply_known_length(stream->request);
    struct buf text;
    buf_init(&text, PAYLOAD_MAX);
    int r = put_lines(&text, reply->status, reply);
    if (r == 0 && stream->length_bytes != LENGTH_UNKNOWN && reply->status != 204 &&
            reply->status != 304) {
        r = buf_printf(&text, "content-length: %llu\n",
                (unsigned long long)stream->length_bytes);
    }
    bool is_short = !is_bodiless && ends && stream->length_bytes != LENGTH_UNKNOWN &&
            stream->length_bytes > 0;
    ends &= reply->trailers.len == 0 && !is_short;
    if (r == 0) {
        put_frame(stream->conn, MUX_HEAD, ends ? MUX_END : 0, stream->id, buf_str(&text));
        stream->request->reply_head_bytes = (uint32_t)buf_str(&text).len;
        stream->request->reply_left_ns = loop_now_ns(stream->conn->engine->loop);
    }
    buf_fini(&text);
    stream->has_head = reply->head_left = true;
    stream->conn->is_broken |= r < 0;
    return ends;
}

/* One frame of the body. */
static bool
step_data(struct mux_stream *stream)
{
    struct reply *reply = &stream->request->reply;
    uint64_t left = stream->length_bytes - stream->body_bytes; /* of an unknown one, plenty */
    uint64_t bytes = reply->wire->bytes;
    reply->was_over |= bytes > left;
    bytes = bytes < left ? bytes : left;
    bytes = bytes < stream->may_send ? bytes : stream->may_send;
    bytes = bytes < MUX_DATA_BYTES ? bytes : MUX_DATA_BYTES;
    bool ends = reply_is_ended(reply) && reply->trailers.len == 0 && !reply->is_broken &&
            (bytes == reply->wire->bytes || bytes == left) &&
            (bytes == left || stream->length_bytes == LENGTH_UNKNOWN);
    char frame[MUX_FRAME_BYTES];
    mux_format(frame, MUX_DATA, ends ? MUX_END : 0, stream->id, (uint32_t)bytes);
    output_bytes(stream->conn->output, weir_str_make(frame, sizeof(frame)));
    for (uint64_t moved = 0; moved < bytes;) {
        const struct slice *front = slice_queue_at(reply->wire, 0);
        uint64_t len = front->len < bytes - moved ? front->len : bytes - moved;
        output_slice(stream->conn->output, slice_part(front, 0, len));
        slice_queue_consume(reply->wire, len);
        moved += len;
    }
    stream->body_bytes += bytes;
    stream->may_send -= bytes;
    if (reply->was_over && stream->body_bytes == stream->length_bytes) {
        slice_queue_consume(reply->wire, reply->wire->bytes);
    }
    return ends;
}

enum stream_step {
    STREAM_NOTHING,
    STREAM_MOVED,
    STREAM_ENDS,  /* answered */
    STREAM_FAILS, /* cannot be answered whole */
};

/* Sends one frame of the answer, if one may be sent. */
static enum stream_step
step_stream(struct mux_stream *stream)
{
    struct reply *reply = &stream->request->reply;
    if (reply->state != REPLY_COMMITTED) {
        return STREAM_NOTHING;
    }
    if (!stream->has_head) {
        if (reply->is_broken) {
            return STREAM_FAILS;
        }
        if (reply->wire->bytes == 0 && !reply_is_ended(reply) && !reply->is_head_due) {
            return STREAM_NOTHING;
        }
        return step_head(stream) ? STREAM_ENDS : STREAM_MOVED;
    }
    if (reply_is_bodiless(stream->request)) {
        return STREAM_ENDS;
    }
    bool is_full = stream->body_bytes == stream->length_bytes;
    if (reply->wire->bytes > 0 && stream->may_send > 0 && !is_full) {
        return step_data(stream) ? STREAM_ENDS : STREAM_MOVED;
    }
    if (reply->wire->bytes > 0 && is_full) {
        reply->was_over = true;
        slice_queue_consume(reply->wire, reply->wire->bytes);
        return STREAM_MOVED;
    }
    if (reply->wire->bytes > 0) {
        return STREAM_NOTHING;
    }
    if (reply->is_broken) {
        return STREAM_FAILS;
    }
    if (!reply_is_ended(reply)) {
        return STREAM_NOTHING;
    }
    if (stream->length_bytes != LENGTH_UNKNOWN && !is_full) {
        return STREAM_FAILS; /* less than declared */
    }
    struct buf text;
    buf_init(&text, PAYLOAD_MAX);
    stream->conn->is_broken |= put_crlf_lines(&text, reply->trailers) < 0;
    put_frame(stream->conn, MUX_TRAILER, MUX_END, stream->id, buf_str(&text));
    buf_fini(&text);
    return STREAM_ENDS;
}

/* ---- transport --------------------------------------------------------------------------- */

static void
transport_wake(struct weir_request *request)
{
    struct mux_stream *stream = request->carrier;
    stream->must_run = true;
    loop_defer(stream->conn->engine->loop, &stream->conn->task);
}

static int
transport_interim(struct weir_request *request, unsigned status, struct weir_str lines)
{
    struct mux_stream *stream = request->carrier;
    if (stream->conn->output == NULL || stream->has_head) {
        return -EALREADY;
    }
    struct buf text;
    buf_init(&text, PAYLOAD_MAX);
    int r = buf_printf(&text, "%u\n", status);
    if (r == 0) {
        r = put_crlf_lines(&text, lines);
    }
    if (r == 0) {
        put_frame(stream->conn, MUX_INTERIM, 0, stream->id, buf_str(&text));
    }
    buf_fini(&text);
    return r;
}

static const struct request_transport transport = {
    .wake = transport_wake,
    .interim = transport_interim,
};

/* ---- input ------------------------------------------------------------------------------- */

static struct mux_stream *
find_stream(struct mux_conn *conn, uint16_t id)
{
    struct mux_stream *stream = conn->streams;
    while (stream != NULL && stream->id != id) {
        stream = stream->next;
    }
    return stream;
}

static struct weir_str
take_line(struct weir_str *rest)
{
    struct weir_str line = *rest;
    const char *lf = rest->len == 0 ? NULL : memchr(rest->ptr, '\n', rest->len);
    line.len = lf == NULL ? rest->len : (size_t)(lf - rest->ptr);
    size_t taken = lf == NULL ? rest->len : line.len + 1;
    *rest = weir_str_make(rest->ptr + taken, rest->len - taken);
    return line;
}

static enum head_refusal
read_head(struct weir_request *request, struct weir_str text, bool has_body)
{
    struct head_reader *reader = &request->reader;
    struct weir_str method = take_line(&text), target = take_line(&text);
    enum head_refusal refusal = head_reader_begin(reader, 20, method, target);
    while (refusal == HEAD_ACCEPTED && text.len > 0) {
        struct weir_str line = take_line(&text);
        const char *colon = line.len == 0 ? NULL : memchr(line.ptr, ':', line.len);
        size_t name_len = colon == NULL ? line.len : (size_t)(colon - line.ptr);
        size_t value_at = colon == NULL ? line.len : name_len + 1;
        refusal = head_reader_add(reader, weir_str_make(line.ptr, name_len),
                weir_str_make(line.ptr + value_at, line.len - value_at));
    }
    return refusal == HEAD_ACCEPTED ? head_reader_end(reader, has_body) : refusal;
}

/* False when the connection cannot go on. */
static bool
on_head(struct mux_conn *conn, unsigned flags, uint16_t id, struct weir_str payload)
{
    if (id <= conn->last_id) {
        return false;
    }
    conn->last_id = id;
    struct mux_stream *stream = conn->is_over || conn->stream_count == MUX_STREAMS_MAX
            ? NULL
            : calloc(1, sizeof(*stream));
    struct weir_request *request = stream == NULL
            ? NULL
            : request_new(conn->engine, &transport, stream, &conn->settings->limits,
                      &conn->settings->timeouts);
    if (request == NULL) {
        free(stream);
        put_frame(conn, MUX_RESET, 0, id, weir_str_make(NULL, 0));
        return true;
    }
    stream->conn = conn;
    stream->request = request;
    stream->id = id;
    stream->may_send = stream->may_receive = MUX_CREDIT_BYTES;
    stream->must_run = true;
    struct mux_stream **link = &conn->streams;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = stream;
    conn->stream_count++;
    request->ordinal = ++conn->heads;
    request->head_bytes = (uint32_t)payload.len;
    request->refusal = read_head(request, payload, (flags & MUX_END) == 0);
    if (request->refusal == HEAD_ACCEPTED) {
        request_accept_head(request);
    }
    if (request->refusal != HEAD_ACCEPTED) {
        conn->engine->figures.requests_refused++;
        request->in.ended = true;
    }
    return true;
}

static void
on_data(struct mux_stream *stream, unsigned flags, struct weir_str payload)
{
    struct request_body *in = &stream->request->in;
    stream->must_run = true;
    if (payload.len > stream->may_receive) {
        reset_stream(stream);
        end_stream(stream, REQUEST_END_CLIENT_WRONG);
        return;
    }
    stream->may_receive -= payload.len;
    if (in->ended || in->error != 0) {
        return; /* of a request that was refused, or whose body was */
    }
    bool has_length = stream->request->head.body == HEAD_BODY_LENGTH;
    uint64_t bytes = in->received_bytes + payload.len;
    bool is_last = (flags & MUX_END) != 0;
    if (has_length &&
            (bytes > stream->request->head.body_bytes ||
                    (is_last && bytes < stream->request->head.body_bytes))) {
        request_body_fail(stream->request, -EPROTO);
        return;
    }
    if (payload.len > 0 && request_body_push(stream->request, payload) < 0) {
        return;
    }
    if (is_last) {
        request_body_end(stream->request, weir_str_make(NULL, 0));
    }
}

static bool
on_frame(struct mux_conn *conn, unsigned type, unsigned flags, uint16_t id,
        struct weir_str payload)
{
    if (type == MUX_HEAD) {
        return on_head(conn, flags, id, payload);
    }
    struct mux_stream *stream = find_stream(conn, id);
    if (stream == NULL) {
        return id <= conn->last_id; /* it has ended, and the client may not know yet */
    }
    switch (type) {
    case MUX_DATA:
        on_data(stream, flags, payload);
        return true;
    case MUX_CREDIT:
        if (payload.len != 4) {
            return false;
        }
        stream->may_send += read_u32(payload.ptr);
        stream->must_run = true;
        return true;
    case MUX_RESET:
        stream->has_reset = true;
        end_stream(stream, REQUEST_END_CLIENT_LEFT);
        return true;
    default:
        return false;
    }
}

/* Whole frames from the front of the input. */
static void
take_frames(struct mux_conn *conn)
{
    struct weir_str rest = buf_str(&conn->input);
    size_t before = rest.len;
    while (rest.len >= MUX_FRAME_BYTES && !conn->is_broken) {
        uint32_t bytes = read_u32(rest.ptr + 4);
        if (bytes > PAYLOAD_MAX) {
            conn->is_broken = true;
            break;
        }
        if (rest.len - MUX_FRAME_BYTES < bytes) {
            break;
        }
        uint16_t id = (uint16_t)(read_u32(rest.ptr) & UINT16_MAX);
        conn->is_broken = !on_frame(conn, (unsigned char)rest.ptr[0],
                (unsigned char)rest.ptr[1], id,
                weir_str_make(rest.ptr + MUX_FRAME_BYTES, bytes));
        rest.ptr += MUX_FRAME_BYTES + bytes;
        rest.len -= MUX_FRAME_BYTES + bytes;
    }
    buf_consume(&conn->input, before - rest.len);
}

static void
take_input(struct mux_conn *conn)
{
    char *scratch = loop_scratch(conn->engine->loop);
    while (conn->may_read && !conn->is_broken) {
        ssize_t n = stream_read(conn->stream, scratch, LOOP_SCRATCH_BYTES);
        if (n == -EAGAIN) {
            conn->may_read = false;
            return;
        }
        if (n == 0) {
            conn->is_over = true;
            conn->may_read = false;
            return;
        }
        if (n < 0 || buf_append(&conn->input, weir_str_make(scratch, (size_t)n)) < 0) {
            conn->is_broken = true;
            return;
        }
        take_frames(conn);
    }
}

/* ---- the turn ---------------------------------------------------------------------------- */

/* Credit for a body that is wanted, up to the room there is for it. */
static void
give_credit(struct mux_stream *stream)
{
    const struct request_body *in = &stream->request->in;
    uint64_t room = request_body_room(stream->request);
    if (in->ended || in->error != 0 || !in->wanted || room < stream->may_receive * 2 + 1) {
        return;
    }
    uint32_t more = (uint32_t)(room - stream->may_receive);
    const unsigned char bytes[4] = { (unsigned char)(more >> 24), (unsigned char)(more >> 16),
        (unsigned char)(more >> 8), (unsigned char)more };
    stream->may_receive += more;
    put_frame(stream->conn, MUX_CREDIT, 0, stream->id, weir_str_make((const char *)bytes, 4));
}

/* Lets a stream get on. True when it did; it may be freed. */
static bool
turn_stream(struct mux_stream *stream)
{
    struct weir_request *request = stream->request;
    bool has_moved = stream->must_run;
    if (stream->must_run) {
        stream->must_run = false;
        request->engine->handler->run(request);
        give_credit(stream);
    }
    switch (step_stream(stream)) {
    case STREAM_NOTHING:
        break;
    case STREAM_MOVED:
        stream->must_run = true; /* there is room again */
        return true;
    case STREAM_ENDS:
        if (!request->in.ended) {
            reset_stream(stream); /* the rest of its body is not wanted */
        }
        end_stream(stream, REQUEST_END_COMPLETE);
        return true;
    case STREAM_FAILS:
        reset_stream(stream);
        end_stream(stream,
                request->in.error == -EPROTO       ? REQUEST_END_CLIENT_WRONG
                        : request->reply.is_broken ? REQUEST_END_ANSWER_FAILED
                                                   : REQUEST_END_ANSWER_SHORT);
        return true;
    }
    return has_moved;
}

static void
close_conn(struct mux_conn *conn, enum request_end end)
{
    stream_close(conn->stream, false);
    while (conn->streams != NULL) {
        end_stream(conn->streams, end);
    }
    engine_remove(conn->engine, &conn->carrier);
    loop_undefer(conn->engine->loop, &conn->task);
    output_state_fini(&conn->output_state);
    buf_fini(&conn->input);
    free(conn);
}

/* May free the connection. */
static void
take_turn(struct mux_conn *conn)
{
    struct output output;
    bool had_unsent = conn->output_state.unsent != NULL;
    output_begin(&output, conn->engine, conn->stream, &conn->output_state);
    conn->output = &output;
    output_flush(&output);
    if (output.last == OUTPUT_SENT) {
        take_input(conn);
    }
    bool has_moved = true;
    while (has_moved && output.last == OUTPUT_SENT && !conn->is_broken) {
        has_moved = false;
        struct mux_stream *next;
        for (struct mux_stream *stream = conn->streams; stream != NULL; stream = next) {
            next = stream->next;
            has_moved |= turn_stream(stream);
        }
        if (output.queue.bytes > ENGINE_OUTPUT_BYTES) {
            output_flush(&output);
        }
    }
    if (output.last == OUTPUT_SENT) {
        output_flush(&output);
    }
    conn->output = NULL;
    if (output.turn_bytes > 0 || !had_unsent) {
        conn->sent_ns = loop_now_ns(conn->engine->loop);
    }
    bool must_yield = output.last == OUTPUT_YIELDED;
    bool is_broken = output.last == OUTPUT_BROKEN || conn->is_broken;
    bool is_sent = output.last == OUTPUT_SENT;
    if (output_end(&output) < 0 || is_broken) {
        close_conn(conn, REQUEST_END_CLIENT_LEFT);
    } else if (conn->is_over && conn->streams == NULL && is_sent) {
        close_conn(conn, REQUEST_END_COMPLETE);
    } else if (must_yield) {
        loop_defer_to_next(conn->engine->loop, &conn->task);
    }
}

static void
on_task(struct loop_task *task)
{
    take_turn((struct mux_conn *)((char *)task - offsetof(struct mux_conn, task)));
}

static uint64_t
stalled_since(const struct carrier *carrier)
{
    const struct mux_conn *conn = (const struct mux_conn *)((const char *)carrier -
            offsetof(struct mux_conn, carrier));
    return conn->output_state.unsent == NULL ? CLOCK_NEVER : conn->sent_ns;
}

static void
on_shed(struct carrier *carrier)
{
    close_conn((struct mux_conn *)((char *)carrier - offsetof(struct mux_conn, carrier)),
            REQUEST_END_CLIENT_SLOW);
}

static void
on_stop(struct carrier *carrier, bool now)
{
    struct mux_conn *conn = (struct mux_conn *)((char *)carrier -
            offsetof(struct mux_conn, carrier));
    if (now) {
        close_conn(conn, REQUEST_END_STOPPED);
        return;
    }
    conn->is_over = true;
    loop_defer(conn->engine->loop, &conn->task);
}

static const struct carrier_type carrier_type = {
    .stop = on_stop,
    .stalled_since = stalled_since,
    .shed = on_shed,
};

void
mux_conn_on_event(void *owner, unsigned events)
{
    struct mux_conn *conn = owner;
    if (events & STREAM_BROKEN) {
        close_conn(conn, REQUEST_END_CLIENT_LEFT);
        return;
    }
    conn->may_read |= (events & STREAM_READABLE) != 0;
    take_turn(conn);
}

struct mux_conn *
mux_conn_new(struct engine *engine, const struct mux_settings *settings)
{
    struct mux_conn *conn = calloc(1, sizeof(*conn));
    if (conn != NULL) {
        conn->engine = engine;
        conn->settings = settings;
        conn->carrier.type = &carrier_type;
        conn->task.fn = on_task;
        buf_init(&conn->input, PAYLOAD_MAX + LOOP_SCRATCH_BYTES + MUX_FRAME_BYTES);
    }
    return conn;
}

void
mux_conn_start(struct mux_conn *conn, struct stream *stream)
{
    conn->stream = stream;
    conn->may_read = true;
    engine_add(conn->engine, &conn->carrier);
    take_turn(conn);
}
