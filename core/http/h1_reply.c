/* SPDX-License-Identifier: MIT */
/* The framing rules stand in choose_framing(); everything else follows from it. */
#include "http/h1_reply.h"

#include "base/assert.h"
#include "base/num.h"
#include "event/loop.h"
#include "http/upgrade.h"

/* Enough for the status line, Date, Server and the framing fields. */
#define HEAD_OWN_BYTES 256u

/* Body bytes that become one chunk at the most. */
#define CHUNK_MAX_BYTES (256u << 10)

static char *
put(char *at, struct weir_str s)
{
    if (s.len > 0) {
        memcpy(at, s.ptr, s.len);
    }
    return at + s.len;
}

#define PUT(at, literal) put(at, WEIR_STR(literal))

/* RFC 9112 section 6: no body where the status or method has none, the declared or known
 * length, chunks for HTTP/1.1, the connection's end for HTTP/1.0 and for a tunnel. */
static enum h1_framing
choose_framing(const struct weir_request *request)
{
    if (reply_is_switch(&request->reply)) {
        return H1_UNTIL_CLOSE;
    }
    if (reply_is_bodiless(request)) {
        return H1_NO_BODY;
    }
    if (reply_known_length(request) != LENGTH_UNKNOWN) {
        return H1_LENGTH;
    }
    return request->head.minor == 1 ? H1_CHUNKED : H1_UNTIL_CLOSE;
}

bool
h1_reply_needs_close(const struct weir_request *request)
{
    const struct reply *reply = &request->reply;
    return choose_framing(request) == H1_UNTIL_CLOSE ||
            reply->wire->bytes > reply->length_bytes;
}

static char *
put_status_line(char *at, const struct weir_request *request)
{
    unsigned status = request->reply.status;
    if (status == 200) {
        return PUT(at, "HTTP/1.1 200 OK\r\n");
    }
    at = PUT(at, "HTTP/1.1 ");
    *at++ = (char)('0' + status / 100);
    *at++ = (char)('0' + status / 10 % 10);
    *at++ = (char)('0' + status % 10);
    *at++ = ' ';
    at = put(at, status_reason(status));
    return PUT(at, "\r\n");
}

static char *
put_framing(char *at, const struct weir_request *request, enum h1_framing framing,
        bool keep_alive)
{
    const struct reply *reply = &request->reply;
    uint64_t length = reply_known_length(request);
    bool has_length = framing == H1_LENGTH ||
            (framing == H1_NO_BODY && request_sent_method(request) == METHOD_HEAD &&
                    reply->status != 204 && reply->status != 304 && length != LENGTH_UNKNOWN);
    if (framing == H1_NO_BODY && reply->status == 205) {
        length = 0; /* which a client does not know of itself */
        has_length = true;
    }
    if (has_length) {
        at = PUT(at, "Content-Length: ");
        at += num_format_u64(at, length);
        at = PUT(at, "\r\n");
    } else if (framing == H1_CHUNKED) {
        at = PUT(at, "Transfer-Encoding: chunked\r\n");
    }
    if (reply_is_switch(reply)) {
        at = PUT(at, "Connection: Upgrade\r\nUpgrade: ");
        at = put(at, reply->switched_to);
        at = PUT(at, "\r\n");
    } else if (!keep_alive) {
        at = PUT(at, "Connection: close\r\n");
    } else if (request->head.minor == 0) {
        at = PUT(at, "Connection: keep-alive\r\n");
    }
    return PUT(at, "\r\n");
}

static size_t
head_bytes_max(const struct weir_request *request)
{
    const struct reply *reply = &request->reply;
    size_t bytes = HEAD_OWN_BYTES + request->engine->server_name.len + reply->switched_to.len;
    for (uint32_t i = 0; i < reply->field_count; i++) {
        bytes += reply->fields[i].name.len + reply->fields[i].value.len + 4;
    }
    return bytes;
}

static size_t
write_head(char *memory, const struct weir_request *request, enum h1_framing framing,
        bool keep_alive)
{
    const struct reply *reply = &request->reply;
    struct engine *engine = request->engine;
    bool has_date = reply->hides_date;
    bool has_server = engine->server_name.len == 0 || reply->hides_server;
    for (uint32_t i = 0; i < reply->field_count; i++) {
        has_date |= reply->fields[i].id == FIELD_DATE;
        has_server |= reply->fields[i].id == FIELD_SERVER;
    }
    char *at = put_status_line(memory, request);
    if (!has_date) {
        at = PUT(at, "Date: ");
        at = put(at, engine_date(engine));
        at = PUT(at, "\r\n");
    }
    if (!has_server) {
        at = PUT(at, "Server: ");
        at = put(at, engine->server_name);
        at = PUT(at, "\r\n");
    }
    for (uint32_t i = 0; i < reply->field_count; i++) {
        at = put(at, reply->fields[i].name);
        at = PUT(at, ": ");
        at = put(at, reply->fields[i].value);
        at = PUT(at, "\r\n");
    }
    return (size_t)(put_framing(at, request, framing, keep_alive) - memory);
}

/* True when the head went into the output. */
static bool
step_head(struct h1_reply *state, struct weir_request *request, struct output *output,
        bool keep_alive)
{
    size_t bytes_max = head_bytes_max(request), bytes;
    enum h1_framing framing = choose_framing(request);
    if (bytes_max <= ENGINE_OUTPUT_BYTES) {
        char *memory = output_reserve(output, bytes_max);
        if (memory == NULL) {
            return false;
        }
        bytes = write_head(memory, request, framing, keep_alive);
        output_wrote(output, bytes);
    } else {
        struct slice slice;
        char *memory;
        if (slice_alloc(bytes_max, &slice, &memory) < 0) {
            output->is_out_of_memory = true; /* the turn ends with the connection */
            return false;
        }
        bytes = write_head(memory, request, framing, keep_alive);
        slice.len = bytes;
        output_slice(output, slice);
    }
    state->has_head = true;
    state->framing = framing;
    state->left_bytes = framing == H1_LENGTH ? reply_known_length(request) : 0;
    request->reply.head_left = true;
    request->reply_head_bytes = (uint32_t)bytes;
    request->reply_at = output->state->queued_bytes - bytes;
    request->reply_left_ns = loop_now_ns(request->engine->loop);
    return true;
}

static void
move_slices(struct slice_queue *from, struct output *output, uint64_t bytes)
{
    while (bytes > 0) {
        const struct slice *front = slice_queue_at(from, 0);
        uint64_t len = front->len < bytes ? front->len : bytes;
        if (!output_join(output, front, len)) {
            output_slice(output, slice_part(front, 0, len));
        }
        slice_queue_consume(from, len);
        bytes -= len;
    }
}

static void
put_chunk_head(struct output *output, uint64_t bytes)
{
    char line[18];
    size_t len = num_format_hex(line, bytes);
    line[len++] = '\r';
    line[len++] = '\n';
    output_bytes(output, weir_str_make(line, len));
}

/* As much of the queue as the framing lets through. */
static bool
step_body(struct h1_reply *state, struct reply *reply, struct output *output)
{
    uint64_t bytes = reply->wire->bytes;
    if (bytes == 0) {
        return false;
    }
    switch (state->framing) {
    case H1_NO_BODY:
        slice_queue_consume(reply->wire, bytes);
        return true;
    case H1_LENGTH:
        reply->was_over |= bytes > state->left_bytes;
        bytes = bytes < state->left_bytes ? bytes : state->left_bytes;
        move_slices(reply->wire, output, bytes);
        state->left_bytes -= bytes;
        slice_queue_consume(reply->wire, reply->was_over ? reply->wire->bytes : 0);
        return true;
    case H1_CHUNKED:
        bytes = bytes < CHUNK_MAX_BYTES ? bytes : CHUNK_MAX_BYTES;
        put_chunk_head(output, bytes);
        move_slices(reply->wire, output, bytes);
        output_bytes(output, WEIR_STR("\r\n"));
        return true;
    case H1_UNTIL_CLOSE:
        move_slices(reply->wire, output, bytes);
        return true;
    }
    return false;
}

enum h1_reply_result
h1_reply_step(struct h1_reply *state, struct weir_request *request, struct output *output,
        bool keep_alive, bool *moved)
{
    struct reply *reply = &request->reply;
    WEIR_ASSERT(reply->state == REPLY_COMMITTED);
    if (!state->has_head) {
        if (reply->is_broken) {
            return H1_REPLY_SHORT;
        }
        if (reply->wire->bytes == 0 && !reply_is_ended(reply) && !reply->is_head_due) {
            return H1_REPLY_WAITING; /* nothing on the wire before the first body byte */
        }
        if (!step_head(state, request, output, keep_alive)) {
            return H1_REPLY_FULL;
        }
        *moved = true;
    }
    while (step_body(state, reply, output)) {
        *moved = true;
        if (reply->wire->bytes > 0 && output_flush(output) != OUTPUT_SENT) {
            return H1_REPLY_FULL;
        }
    }
    if (!reply_is_ended(reply) || reply->is_broken) {
        return reply->is_broken ? H1_REPLY_SHORT : H1_REPLY_WAITING;
    }
    if (state->framing == H1_LENGTH && state->left_bytes > 0) {
        return H1_REPLY_SHORT;
    }
    if (state->framing == H1_CHUNKED) {
        output_bytes(output, WEIR_STR("0\r\n"));
        if (request->head.wants_trailers) {
            output_bytes(output, reply->trailers);
        }
        output_bytes(output, WEIR_STR("\r\n"));
    }
    *moved = true;
    return H1_REPLY_DONE;
}
