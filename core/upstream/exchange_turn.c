/* SPDX-License-Identifier: MIT */
/* What goes over an exchange's connection in one of its turns: the request's head and body out,
 * heads and the body of the answer in.
 *
 * A lot of an answer travels to the client in the block of memory that it was read into, which
 * the loop gives away; what comes in small pieces is copied together, since each would hold a
 * whole block for as long as a slow client does not read. */
#include <errno.h>

#include "base/num.h"
#include "event/loop.h"
#include "http/engine.h"
#include "http/output.h"
#include "upstream/conn.h"
#include "upstream/exchange.h"
#include "upstream/introduce.h"
#include "upstream/tunnel.h"

/* Portions of a request's body, each a chunk where it goes in chunks. */
#define PORTION_BYTES 65536u

/* Less than this is copied. */
#define BLOCK_WORTH_BYTES 16384u

static struct engine *
engine_of(const struct exchange *exchange)
{
    return exchange->group->all->engine;
}

/* ---- out --------------------------------------------------------------------------------- */

/* Remembers what is sent for as long as it may have to be sent again. */
static void
remember(struct exchange *exchange, const struct slice *slice, uint64_t bytes)
{
    if (!exchange->can_replay_body) {
        return;
    }
    bool fits = exchange->sent_body.bytes + bytes <= EXCHANGE_REPLAY_BYTES;
    bool is_wanted = retry_may_come(exchange) ||
            (exchange->conn->was_kept &&
                    (exchange->is_idempotent || exchange_has_sent_nothing(exchange)));
    if (!fits || !is_wanted ||
            slice_queue_push(&exchange->sent_body, slice_part(slice, 0, bytes)) < 0) {
        exchange->can_replay_body = false;
        slice_queue_fini(&exchange->sent_body);
    }
}

/* Nothing is sent again from here on. */
static void
forget(struct exchange *exchange)
{
    exchange->can_replay_body = false;
    slice_queue_fini(&exchange->sent_body);
}

static void
send_portion(struct exchange *exchange, struct slice_queue *from, struct output *output)
{
    uint64_t bytes = from->bytes < PORTION_BYTES ? from->bytes : PORTION_BYTES;
    if (exchange->is_chunked) {
        char line[18];
        size_t len = num_format_hex(line, bytes);
        line[len++] = '\r';
        line[len++] = '\n';
        output_bytes(output, weir_str_make(line, len));
    }
    while (bytes > 0) {
        const struct slice *front = slice_queue_at(from, 0);
        uint64_t len = front->len < bytes ? front->len : bytes;
        remember(exchange, front, len);
        output_slice(output, slice_part(front, 0, len));
        slice_queue_consume(from, len);
        bytes -= len;
    }
    if (exchange->is_chunked) {
        output_bytes(output, WEIR_STR("\r\n"));
    }
}

static void
send_end(struct exchange *exchange, struct output *output)
{
    exchange->sending = EXCHANGE_SENT;
    if (!exchange->is_chunked) {
        return;
    }
    output_bytes(output, WEIR_STR("0\r\n"));
    struct weir_str rest = exchange->request->in.trailers, name, value;
    while (chunked_next_trailer(&rest, &name, &value)) {
        output_bytes(output, name);
        output_bytes(output, WEIR_STR(": "));
        output_bytes(output, value);
        output_bytes(output, WEIR_STR("\r\n"));
    }
    output_bytes(output, WEIR_STR("\r\n"));
}

/* The next piece of the body into the output. False when there is none now; *is_broken when
 * there will be none. */
static bool
send_body(struct exchange *exchange, struct output *output, bool *is_broken)
{
    struct weir_request *request = exchange->request;
    struct request_body *in = &request->in;
    if (exchange->unsent_body.bytes > 0) {
        send_portion(exchange, &exchange->unsent_body, output);
        return true;
    }
    if (in->read->bytes > 0) {
        send_portion(exchange, in->read, output);
        request_wake(request); /* there is room for more */
        return true;
    }
    if (in->error != 0) {
        *is_broken = true;
        return false;
    }
    if (request_body_is_read(in)) {
        send_end(exchange, output);
        return true;
    }
    if (!in->wanted) {
        in->wanted = true;
        request_wake(request);
    }
    return false;
}

/* First on a connection, which is never another client's. */
static void
send_introduction(const struct exchange *exchange, struct output *output)
{
    enum proxy_version version = exchange->group->settings->proxy;
    if (version != PROXY_NONE) {
        char header[PROXY_HEADER_BYTES_MAX];
        size_t len = upstream_introduce(version, exchange->request, header);
        output_bytes(output, weir_str_make(header, len));
    }
}

/* As much as the socket takes. False when the request cannot be finished. */
static bool
send_request(struct exchange *exchange, struct output *output)
{
    if (exchange->sending == EXCHANGE_SENDS_HEAD) {
        send_introduction(exchange, output);
        output_slice(output, slice_part(&exchange->head, 0, exchange->head.len));
        exchange->sending = exchange->has_body ? EXCHANGE_SENDS_BODY : EXCHANGE_SENT;
    } else {
        output_flush(output); /* what the last turn left */
    }
    bool is_broken = false;
    while (exchange->sending == EXCHANGE_SENDS_BODY && output->last == OUTPUT_SENT &&
            send_body(exchange, output, &is_broken)) {
        if (output->queue.bytes >= PORTION_BYTES) {
            output_flush(output);
        }
    }
    if (output->last == OUTPUT_SENT) {
        output_flush(output);
    }
    if (output->last == OUTPUT_BROKEN) {
        /* It takes nothing any more, but may have answered before. */
        exchange->sending = EXCHANGE_SENDS_NO_MORE;
        exchange->conn->may_read = true;
        slice_queue_fini(&output->queue);
    }
    return !is_broken;
}

/* ---- in ---------------------------------------------------------------------------------- */

static bool
keep_interim(struct exchange *exchange)
{
    const struct answer_head *head = &exchange->answer;
    struct arena *arena = &exchange->request->arena;
    struct exchange_interim *interim = arena_zalloc(arena, sizeof(*interim));
    size_t bytes = 0;
    for (uint32_t i = 0; i < head->field_count; i++) {
        bytes += head->fields[i].name_len + head->fields[i].value_len + 4;
    }
    char *lines = interim == NULL ? NULL : arena_alloc(arena, bytes);
    if (lines == NULL) {
        return false;
    }
    char *at = lines;
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (answer_field_is_hop(head, i)) {
            continue;
        }
        struct weir_str name = answer_field_name(head, i), value = answer_field_value(head, i);
        at = (char *)mempcpy(at, name.ptr, name.len);
        at = (char *)mempcpy(at, ": ", 2);
        at = (char *)mempcpy(at, value.ptr, value.len);
        at = (char *)mempcpy(at, "\r\n", 2);
    }
    interim->status = head->status;
    interim->lines = weir_str_make(lines, (size_t)(at - lines));
    *exchange->interim_end = interim;
    exchange->interim_end = &interim->next;
    exchange->has_news = true;
    return true;
}

/* A whole head. */
static enum answer_fault
take_head(struct exchange *exchange)
{
    const struct answer_head *head = &exchange->answer;
    if (head->status == 101) {
        enum answer_fault fault = tunnel_take_switch(exchange);
        if (fault != ANSWER_GOOD) {
            return fault;
        }
    } else if (head->status < 200) {
        if (++exchange->interims > EXCHANGE_INTERIM_MAX) {
            return ANSWER_TOO_MANY_INTERIM;
        }
        /* 100 is for whoever sent Expect, which we did not. */
        if (head->status != 100 && !keep_interim(exchange)) {
            return ANSWER_OUT_OF_MEMORY;
        }
        answer_reader_init(&exchange->reader, &exchange->request->arena, exchange->is_to_head,
                &exchange->answer);
        return ANSWER_GOOD;
    }
    upstream_answered(exchange->target, head->status);
    exchange->is_passed_over = retry_begin(exchange, retry_reason_of_status(head->status));
    answer_body_init(&exchange->body_reader, head);
    exchange->has_body_reader = true;
    if (!exchange->is_passed_over) {
        exchange->head_ns = loop_now_ns(engine_of(exchange)->loop) - exchange->began_ns;
        upstream_observe_head(exchange->target, exchange->head_ns);
        exchange->has_head = exchange->has_news = true;
        forget(exchange);
    }
    exchange->is_complete = exchange->body_reader.is_ended;
    return ANSWER_GOOD;
}

/* Body bytes. They stand in the loop's scratch memory, which becomes `block` when it is to be
 * passed on. */
static bool
take_data(struct exchange *exchange, struct weir_str data, struct slice *block)
{
    if (exchange->is_passed_over) {
        return true;
    }
    exchange->has_news = true;
    if (data.len < BLOCK_WORTH_BYTES) {
        return slice_queue_append(&exchange->body, data) == 0;
    }
    struct loop *loop = engine_of(exchange)->loop;
    loop_hurry(loop);
    if (block->len == 0 && loop_take_scratch(loop, block) < 0) {
        return false;
    }
    return slice_queue_push(&exchange->body,
                   slice_part(block, (uint64_t)(data.ptr - block->ptr), data.len)) == 0;
}

/* What was read. *is_surplus: there is more of it than the answer has. */
static enum answer_fault
feed(struct exchange *exchange, struct weir_str input, bool *is_surplus)
{
    struct slice block = slice_static(weir_str_make(NULL, 0));
    enum answer_fault fault = ANSWER_GOOD;
    struct weir_str data = weir_str_make(NULL, 0);
    while (fault == ANSWER_GOOD && input.len > 0 && !exchange->is_complete) {
        if (!exchange->has_body_reader) {
            if (answer_reader_feed(&exchange->reader, &input, &fault) == ANSWER_DONE) {
                fault = take_head(exchange);
            }
            continue;
        }
        switch (answer_body_step(&exchange->body_reader, &input, &data, &fault)) {
        case ANSWER_BODY_DATA:
            if (!take_data(exchange, data, &block)) {
                fault = ANSWER_OUT_OF_MEMORY;
            }
            break;
        case ANSWER_BODY_MORE:
        case ANSWER_BODY_DONE:
        case ANSWER_BODY_REFUSED:
            break;
        }
        exchange->is_complete = exchange->body_reader.is_ended;
    }
    slice_drop(&block);
    *is_surplus = input.len > 0;
    return fault;
}

enum reading {
    READ_ALL, /* there is, for now, */
    READ_COMPLETE,
    READ_SURPLUS, /* complete, and then some */
    READ_ENDED,   /* complete, since the connection is */
    READ_PASSED_OVER,
    READ_FAILED,
};

static enum reading
receive_answer(struct exchange *exchange, enum weir_exchange_error *error)
{
    struct upstream_conn *conn = exchange->conn;
    while (conn->may_read && exchange->body.bytes < exchange_mark_bytes()) {
        char *scratch = loop_scratch(engine_of(exchange)->loop);
        ssize_t n = stream_read(conn->stream, scratch, LOOP_SCRATCH_BYTES);
        if (n == -EAGAIN) {
            conn->may_read = false;
            return READ_ALL;
        }
        if (n == 0 && exchange->has_head && answer_body_ends_so(&exchange->body_reader)) {
            exchange->is_complete = exchange->has_news = true;
            return READ_ENDED;
        }
        if (n <= 0) {
            *error = WEIR_EXCHANGE_CLOSED;
            return READ_FAILED;
        }
        if (!exchange->has_received) {
            exchange->has_received = true;
            if (!retry_may_come(exchange)) {
                forget(exchange);
            }
        }
        conn->received_ns = loop_now_ns(engine_of(exchange)->loop);
        bool is_surplus = false;
        exchange->fault = feed(exchange, weir_str_make(scratch, (size_t)n), &is_surplus);
        is_surplus |= n == LOOP_SCRATCH_BYTES; /* may be: no event tells of what is left */
        if (exchange->is_passed_over) {
            exchange->is_complete &= !is_surplus && exchange->fault == ANSWER_GOOD;
            return READ_PASSED_OVER;
        }
        if (exchange->fault != ANSWER_GOOD) {
            *error = exchange->fault == ANSWER_OUT_OF_MEMORY   ? WEIR_EXCHANGE_EXHAUSTED
                    : exchange->fault == ANSWER_HEAD_TOO_LARGE ? WEIR_EXCHANGE_HEAD_TOO_LARGE
                                                               : WEIR_EXCHANGE_BAD_ANSWER;
            return READ_FAILED;
        }
        if (exchange->is_complete) {
            return is_surplus ? READ_SURPLUS : READ_COMPLETE;
        }
    }
    return READ_ALL;
}

/* ---- both -------------------------------------------------------------------------------- */

enum exchange_turn
exchange_turn(struct exchange *exchange, struct output *output, enum weir_exchange_error *error)
{
    if (exchange->is_switched) {
        tunnel_send(exchange, output);
    } else if (!send_request(exchange, output)) {
        *error = WEIR_EXCHANGE_BODY;
        return EXCHANGE_FAILS;
    }
    if (output->is_out_of_memory) {
        *error = WEIR_EXCHANGE_EXHAUSTED;
        return EXCHANGE_FAILS;
    }
    switch (exchange->is_complete ? READ_ENDED : receive_answer(exchange, error)) {
    case READ_ALL:
        exchange->is_held = exchange->body.bytes >= exchange_mark_bytes();
        return EXCHANGE_GOES_ON;
    case READ_COMPLETE: {
        bool is_whole = exchange->sending == EXCHANGE_SENT && output->queue.count == 0;
        return is_whole && exchange->answer.keep_alive ? EXCHANGE_GIVES_BACK
                                                       : EXCHANGE_THROWS_AWAY;
    }
    case READ_ENDED:
        return exchange->is_switched && !tunnel_is_over(exchange) ? EXCHANGE_GOES_ON
                                                                  : EXCHANGE_THROWS_AWAY;
    case READ_SURPLUS:
        return EXCHANGE_THROWS_AWAY;
    case READ_PASSED_OVER:
        return EXCHANGE_PASSES_OVER;
    case READ_FAILED:
        break;
    }
    return EXCHANGE_FAILS;
}

uint64_t
exchange_deadline(const struct exchange *exchange)
{
    const struct upstream_conn *conn = exchange->conn;
    const struct upstream_settings *settings = exchange->group->settings;
    if (conn->is_blocked) {
        return clock_add_ns(conn->sent_ns, settings->send_ns);
    }
    if (exchange->is_switched) {
        return CLOCK_NEVER; /* the transport ends a tunnel that nothing goes through */
    }
    bool is_sent = exchange->sending == EXCHANGE_SENT ||
            exchange->sending == EXCHANGE_SENDS_NO_MORE;
    if (!is_sent || exchange->is_held) {
        return CLOCK_NEVER; /* the client is slow, and has time limits of its own */
    }
    uint64_t last_ns = conn->sent_ns > conn->received_ns ? conn->sent_ns : conn->received_ns;
    return clock_add_ns(last_ns, settings->read_ns);
}
