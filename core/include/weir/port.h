/* SPDX-License-Identifier: MIT */
/* Ports: the end of an answer that another thread writes, one that is neither the loop's nor of
 * a pool and is not waited for: a stream of events, a foreign runtime.
 *
 *     if (weir_reply_begin(request, 200) < 0 ||
 *             weir_port_open(request, &calls, subscriber, &port) < 0) {
 *         return WEIR_FAILED;
 *     }
 *     subscribe(subscriber, port);   // gives the reference to a thread
 *     return WEIR_DONE;              // the answer goes on until weir_port_end()
 *     ...
 *     weir_port_write(port, event);  // any thread
 *
 * Nothing of an answer leaves before its first byte, so a stream that is to show its head
 * begins with a comment or an empty line. Time limits hold as for every answer:
 * timeouts.request, if the route has one, cuts it.
 *
 * A port is counted: it stays valid for whoever holds a reference, also when client, loop and
 * worker have long gone. Grows until 1.0. */
#ifndef WEIR_PORT_H
#define WEIR_PORT_H

#include <stdint.h>
#include <sys/types.h>

#include <weir/api.h>
#include <weir/module.h>
#include <weir/str.h>

WEIR_BEGIN_DECLS

struct weir_port;

/* What the server tells a port's owner: constant. Each may be NULL. The first two run on the
 * request's loop, never from within another call of the module; they must not block. */
struct weir_port_calls {
    uint32_t bytes; /* sizeof(struct weir_port_calls) */

    /* Nobody will read what is written any more: the client left, or another answer took this
     * one's place. At most once, and not when weir_port_end() came first or no reference is
     * left. */
    void (*gone)(struct weir_port *port, void *data);

    /* The server, or its generation, stops: say good-bye and end soon, or be cut when
     * workers.drain_timeout is over. At most once. */
    void (*drain)(struct weir_port *port, void *data);

    /* Frees `data`: once, after all else. Thread: the one that gives back the last reference,
     * or the loop's. */
    void (*free)(void *data);
};

/* What has been written and not yet taken over by the request's loop is at most this. */
#define WEIR_PORT_CREDIT_BYTES 65536u

/*
 * Opens the answer that was begun to other threads. What the hook has written itself comes
 * first. When the hook then fails or steps back, the port is gone with its answer.
 * Thread:  the request's loop, from within a hook that answers (head to content), or the
 *          function that was resumed in its place.
 * Memory:  `data` is the port's on success alone. *out is a reference of the caller's.
 * Returns: 0; -EINVAL when no answer was begun, it has ended, or the hook may not answer;
 *          -EBUSY when something else fills it already; -ENOMEM.
 */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_port_open(struct weir_request *request,
        const struct weir_port_calls *calls, void *data, struct weir_port **out);

/* One more reference, and one less. The last one given back without weir_port_end() breaks the
 * answer off, so that the client sees that something is missing. Any thread; NULL: nothing. */
WEIR_API WEIR_ANY struct weir_port *weir_port_ref(struct weir_port *port);
WEIR_API WEIR_ANY void weir_port_unref(struct weir_port *port);

/*
 * Appends a copy of `bytes` to the answer's body. Never blocks.
 * Thread:  any; what several threads write is not mixed within one call.
 * Returns: bytes taken, fewer than given when the credit ends there; -EAGAIN when there is no
 *          credit (weir_port_wait()); -EPIPE when nobody will read it; -EINVAL after
 *          weir_port_end(); -ENOMEM, when nothing was taken.
 */
WEIR_MUST_USE WEIR_API WEIR_ANY ssize_t weir_port_write(struct weir_port *port,
        struct weir_str bytes);

/* "However long it takes": until there is credit, or the port is gone. */
#define WEIR_PORT_FOREVER UINT64_MAX

/*
 * Blocks until weir_port_write() would take something.
 * Thread:  any but those of event loops: never in a hook.
 * Params:  timeout_ns: at most so long; 0: only looks.
 * Returns: 0; -ETIMEDOUT; -EPIPE and -EINVAL as weir_port_write(); -EDEADLK on the request's
 *          own loop.
 */
WEIR_MUST_USE WEIR_API WEIR_BLOCKING int weir_port_wait(struct weir_port *port,
        uint64_t timeout_ns);

/* Nothing follows: the answer ends when all that was written has left. Again, or when the port
 * is gone: nothing. The reference stays the caller's. Any thread; never blocks. */
WEIR_API WEIR_ANY void weir_port_end(struct weir_port *port);

WEIR_END_DECLS

#endif
