/* SPDX-License-Identifier: MIT */
#include "upstream/tunnel.h"

#include "upstream/conn.h"

/* What is written with one call, and no more of it is kept for a peer that does not read. */
#define PORTION_BYTES 65536u

/* RFC 9110 section 15.2.2: the protocol that was asked for, and no other, as a word to us. */
static bool
is_as_asked(const struct exchange *exchange)
{
    const struct answer_head *head = &exchange->answer;
    unsigned protocols = 0;
    bool is_asked = false, is_to_us = false;
    for (uint32_t i = 0; i < head->field_count; i++) {
        struct weir_str value = answer_field_value(head, i);
        if (head->fields[i].id == FIELD_UPGRADE) {
            protocols++;
            is_asked = weir_str_eq_icase(value, exchange->upgrade);
        } else if (head->fields[i].id == FIELD_CONNECTION) {
            is_to_us |= weir_str_list_has(value, WEIR_STR("upgrade"));
        }
    }
    return head->minor == 1 && protocols == 1 && is_asked && is_to_us;
}

enum answer_fault
tunnel_take_switch(struct exchange *exchange)
{
    if (exchange->upgrade.len == 0) {
        return ANSWER_UNASKED_SWITCH;
    }
    if (!is_as_asked(exchange)) {
        return ANSWER_WRONG_SWITCH;
    }
    exchange->answer.framing = ANSWER_UNTIL_CLOSE;
    exchange->answer.keep_alive = false;
    exchange->is_switched = true;
    exchange->sending = EXCHANGE_SENDS_BODY; /* again: the client's flow, when it begins */
    return ANSWER_GOOD;
}

/* The next portion into the output. False when there is none now. */
static bool
take_portion(struct exchange *exchange, struct output *output)
{
    struct request_body *in = &exchange->request->in;
    struct slice_queue *from = in->read;
    uint64_t bytes = from->bytes < PORTION_BYTES ? from->bytes : PORTION_BYTES;
    if (bytes == 0) {
        return false;
    }
    while (bytes > 0) {
        const struct slice *front = slice_queue_at(from, 0);
        uint64_t len = front->len < bytes ? front->len : bytes;
        output_slice(output, slice_part(front, 0, len));
        slice_queue_consume(from, len);
        bytes -= len;
    }
    if (in->waits_for_room) {
        in->waits_for_room = false;
        request_wake(exchange->request);
    }
    return true;
}

void
tunnel_send(struct exchange *exchange, struct output *output)
{
    const struct request_body *in = &exchange->request->in;
    struct upstream_conn *conn = exchange->conn;
    output_flush(output); /* what the last turn left */
    while (in->is_raw && exchange->sending == EXCHANGE_SENDS_BODY &&
            output->last == OUTPUT_SENT && !output->is_out_of_memory) {
        if (take_portion(exchange, output)) {
            output_flush(output);
            continue;
        }
        if (request_body_is_read(in)) {
            exchange->sending = stream_shutdown(conn->stream) < 0 ? EXCHANGE_SENDS_NO_MORE
                                                                  : EXCHANGE_SENT;
        }
        break; /* a flow that failed ends the request, and that the exchange */
    }
    bool is_lost = output->last == OUTPUT_BROKEN ||
            (exchange->is_complete && conn->may_read && stream_error(conn->stream) < 0);
    if (is_lost) {
        exchange->sending = EXCHANGE_SENDS_NO_MORE;
        conn->may_read = true; /* for what it has said before, and why */
        slice_queue_fini(&output->queue);
    }
}

bool
tunnel_is_over(const struct exchange *exchange)
{
    return exchange->is_complete &&
            (exchange->sending == EXCHANGE_SENT || exchange->sending == EXCHANGE_SENDS_NO_MORE);
}
