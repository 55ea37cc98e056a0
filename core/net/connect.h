/* SPDX-License-Identifier: MIT */
/* Outbound connections: how a stream to an address begins. A struct, so that tests put memory
 * in the socket's place, and so that TLS stands on top of it. Thread: the loop's. */
#ifndef WEIR_NET_CONNECT_H
#define WEIR_NET_CONNECT_H

#include "net/stream.h"

struct loop;

/* Room for a stream of any kind that a connector makes, inside its owner. */
#define CONNECT_STREAM_BYTES 160

struct connector {
    /* Begins a connection to `addr` in `memory` (CONNECT_STREAM_BYTES, aligned to 8). On
     * success *out is a stream that can be closed at once and written to after its first
     * STREAM_WRITABLE, when stream_error() says 0; whatever else it says is why there is no
     * connection. Never calls on_event itself. Returns 0 or a negative errno. */
    int (*connect)(const struct connector *connector, struct loop *loop,
            const struct addr *addr, void *memory, stream_event_fn *on_event, void *owner,
            struct stream **out);
};

/* TCP and Unix sockets. */
extern const struct connector connect_socket;

#endif
