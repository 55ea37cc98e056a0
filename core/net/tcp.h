/* SPDX-License-Identifier: MIT */
/* Streams over connected sockets: TCP and Unix. */
#ifndef WEIR_NET_TCP_H
#define WEIR_NET_TCP_H

#include "net/stream.h"

struct loop;

/* Room for a TCP stream inside its owner, so that a connection is one allocation. */
#define TCP_STREAM_BYTES 160

/* Makes a stream of a connected, non-blocking socket in `memory` (TCP_STREAM_BYTES, aligned to
 * 8). On success the stream owns `fd`; on failure the caller still does. Reading may begin at
 * once, before any event: tcp_stream_watch() registers with the loop, and everything that came
 * before it is reported as an event. Returns 0 or a negative errno. */
WEIR_MUST_USE int tcp_stream_init(void *memory, struct loop *loop, int fd,
        stream_event_fn *on_event, void *owner, struct stream **out);
WEIR_MUST_USE int tcp_stream_watch(struct stream *stream);

/* Makes a TCP socket that is or will be bound or connected to a loopback address use reno,
 * before either; of others nothing changes. Inherited by what a listener accepts. */
void tcp_spare_congestion_control(int fd, const struct addr *addr);

#endif
