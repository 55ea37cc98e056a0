/* SPDX-License-Identifier: MIT */
/* A byte stream with two ends: what a protocol reads from and writes to, be it TCP, a Unix
 * socket, TLS or (in tests) memory. Nothing above this floor holds a descriptor.
 *
 * Readiness comes in edges: on_event says that something changed, and whoever stopped reading
 * or writing for a reason of its own tries again by itself. After a read that gave fewer bytes
 * than asked, or -EAGAIN, there is nothing more until the next event.
 *
 * Thread: the loop on which the stream was opened. */
#ifndef WEIR_NET_STREAM_H
#define WEIR_NET_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <weir/api.h>

#include "net/addr.h"

struct stream;

/* What may have happened; several at once. */
#define STREAM_READABLE 1u /* bytes, the end, or an error may be read */
#define STREAM_WRITABLE 2u /* room again after a short write */
#define STREAM_ENDED    4u /* the peer sent its FIN; bytes before it may still be there */
#define STREAM_BROKEN                                                          \
    8u /* reset or failed: nothing can be written any more; a kind that cannot \
          tell says STREAM_READABLE, and reading or stream_error() tells */

/* Called on the loop, never from within another call of this interface. May close the stream.
 */
typedef void stream_event_fn(void *owner, unsigned events);

struct stream_ops {
    ssize_t (*read)(struct stream *stream, void *dst, size_t bytes);
    ssize_t (*write)(struct stream *stream, const struct iovec *parts, int count, bool more);
    ssize_t (*send_file)(struct stream *stream, int fd, uint64_t offset, size_t bytes);
    int (*error)(struct stream *stream);
    int (*shutdown)(struct stream *stream);
    int (*local)(struct stream *stream, struct addr *out);
    void (*close)(struct stream *stream, bool reset);
};

/* The part that all kinds share; first in each kind's own struct. */
struct stream {
    const struct stream_ops *ops;
    stream_event_fn *on_event;
    void *owner; /* borrowed; closes the stream before it goes */
};

/* Up to `bytes` bytes. Returns how many; 0 at the peer's end; -EAGAIN; another negative errno
 * when the stream is broken. */
WEIR_MUST_USE static inline ssize_t
stream_read(struct stream *stream, void *dst, size_t bytes)
{
    return stream->ops->read(stream, dst, bytes);
}

/* Writes what fits now. `more`: further bytes follow at once (a file after its head). Returns
 * how many; -EAGAIN, and STREAM_WRITABLE will come; another negative errno when broken. */
WEIR_MUST_USE static inline ssize_t
stream_write(struct stream *stream, const struct iovec *parts, int count, bool more)
{
    return stream->ops->write(stream, parts, count, more);
}

/* Bytes of a file without copying where the kind can. Returns as stream_write(); 0 when the
 * file ends before `offset` (it was cut short). */
WEIR_MUST_USE static inline ssize_t
stream_send_file(struct stream *stream, int fd, uint64_t offset, size_t bytes)
{
    return stream->ops->send_file(stream, fd, offset, bytes);
}

/* Returns 0, or why nothing can be read or written any more, a negative errno: for one that has
 * nothing to write and does not read on. Bytes and a reset behind them come as one event. */
WEIR_MUST_USE static inline int
stream_error(struct stream *stream)
{
    return stream->ops->error(stream);
}

/* The address of our end. Returns 0 or a negative errno. */
WEIR_MUST_USE static inline int
stream_local(struct stream *stream, struct addr *out)
{
    return stream->ops->local(stream, out);
}

/* Sends our end after what was written; reading goes on. Returns 0 or a negative errno. */
static inline int
stream_shutdown(struct stream *stream)
{
    return stream->ops->shutdown(stream);
}

/* Frees the stream. With `reset` the peer is told by RST at once, without it what was written
 * is still delivered. No call of on_event follows. */
static inline void
stream_close(struct stream *stream, bool reset)
{
    stream->ops->close(stream, reset);
}

#endif
