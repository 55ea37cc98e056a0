/* SPDX-License-Identifier: MIT */
/* A small multiplexed protocol, for tests alone: several requests at once over one stream, each
 * with credit of its own in both directions, reset one by one. It is what HTTP/2 asks of a
 * request and its transport, without HTTP/2: whatever works here names no connection as the
 * request's transport (DESIGN.md section 4).
 *
 * A frame is a type, flags, the stream's number (2 bytes) and the payload's length (4 bytes),
 * all big-endian, and the payload:
 *
 *     HEAD     client: "METHOD\nTARGET\n", server: "STATUS\n", then "name: value\n"...
 *     INTERIM  server: as HEAD; a final HEAD follows
 *     DATA     bytes of a body, no more than the other side has given credit for
 *     TRAILER  server: "name: value\n"...
 *     CREDIT   4 bytes: so many more may be sent on this stream
 *     RESET    ends the stream at once
 *
 * MUX_END on HEAD, DATA or TRAILER: nothing follows on this stream in this direction. A client
 * numbers its streams upwards. It may send MUX_CREDIT_BYTES of body unasked, and be sent as
 * much; what goes beyond is refused with RESET, what is malformed ends the connection.
 *
 * No time limits: they are the business of real protocols. Thread: the engine's loop. */
#ifndef WEIR_TESTKIT_MUX_H
#define WEIR_TESTKIT_MUX_H

#include "http/engine.h"
#include "http/settings.h"
#include "net/stream.h"

#define MUX_FRAME_BYTES  8u
#define MUX_CREDIT_BYTES 1000u
#define MUX_DATA_BYTES   4096u /* of one DATA frame from the server */
#define MUX_STREAMS_MAX  64u   /* at once */

enum mux_type {
    MUX_HEAD = 1,
    MUX_INTERIM,
    MUX_DATA,
    MUX_TRAILER,
    MUX_CREDIT,
    MUX_RESET,
};

#define MUX_END 1u

struct mux_conn;

struct mux_settings {
    struct http_limits limits;
    struct http_timeouts timeouts;
};

/* Writes a frame's head to `dst` (MUX_FRAME_BYTES). */
void mux_format(char *dst, enum mux_type type, unsigned flags, uint16_t stream, uint32_t bytes);

/* A connection without a stream; the settings outlive it. NULL without memory. */
WEIR_MUST_USE struct mux_conn *mux_conn_new(struct engine *engine,
        const struct mux_settings *settings);

/* The stream_event_fn of the connection's stream, whose owner is the connection. */
void mux_conn_on_event(void *owner, unsigned events);

/* Begins: the connection owns `stream` from now on, and itself. */
void mux_conn_start(struct mux_conn *conn, struct stream *stream);

#endif
