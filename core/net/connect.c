/* SPDX-License-Identifier: MIT */
#include "net/connect.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/tcp.h"

_Static_assert(TCP_STREAM_BYTES <= CONNECT_STREAM_BYTES, "CONNECT_STREAM_BYTES is too small");

/* Returns a descriptor that is connected or on its way, or a negative errno. */
static int
begin(const struct addr *addr)
{
    int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return -errno;
    }
    if (addr->sa.sa_family != AF_UNIX) {
        int on = 1;
        int ignored = setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void)ignored;
        tcp_spare_congestion_control(fd, addr);
    }
    if (connect(fd, &addr->sa, addr->len) == -1 && errno != EINPROGRESS && errno != EINTR) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

static int
connect_by_socket(const struct connector *connector, struct loop *loop, const struct addr *addr,
        void *memory, stream_event_fn *on_event, void *owner, struct stream **out)
{
    (void)connector;
    int fd = begin(addr);
    if (fd < 0) {
        return fd;
    }
    struct stream *stream;
    int r = tcp_stream_init(memory, loop, fd, on_event, owner, &stream);
    if (r < 0) {
        close(fd);
        return r;
    }
    r = tcp_stream_watch(stream);
    if (r < 0) {
        stream_close(stream, false);
        return r;
    }
    *out = stream;
    return 0;
}

const struct connector connect_socket = { connect_by_socket };
