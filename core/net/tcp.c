/* SPDX-License-Identifier: MIT */
/* One libevent event a socket, registered once for reading, writing and the peer's end, edge
 * triggered and persistent: no epoll_ctl until the close. */
#include "net/tcp.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/assert.h"
#include "event/loop.h"
#include "net/listener.h"

struct tcp_stream {
    struct stream stream;
    struct event event;
    int fd;
    bool is_watched;
    int16_t error; /* the socket's, which tells it once; a negative errno, 0: none was seen */
};

_Static_assert(sizeof(struct tcp_stream) <= TCP_STREAM_BYTES, "TCP_STREAM_BYTES is too small");

static ssize_t
tcp_read(struct stream *stream, void *dst, size_t bytes)
{
    struct tcp_stream *tcp = (struct tcp_stream *)stream;
    ssize_t n;
    do {
        n = recv(tcp->fd, dst, bytes, 0);
    } while (n == -1 && errno == EINTR);
    return n == -1 ? -errno : n;
}

static ssize_t
tcp_write(struct stream *stream, const struct iovec *parts, int count, bool more)
{
    struct tcp_stream *tcp = (struct tcp_stream *)stream;
    int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
    ssize_t n;
    do {
        if (count == 1) {
            n = send(tcp->fd, parts->iov_base, parts->iov_len, flags);
        } else {
            struct msghdr message = { 0 };
            message.msg_iov = (struct iovec *)(uintptr_t)
                    parts; /* sendmsg() does not write it */
            message.msg_iovlen = (size_t)count;
            n = sendmsg(tcp->fd, &message, flags);
        }
    } while (n == -1 && errno == EINTR);
    return n == -1 ? -errno : n;
}

static ssize_t
tcp_send_file(struct stream *stream, int fd, uint64_t offset, size_t bytes)
{
    struct tcp_stream *tcp = (struct tcp_stream *)stream;
    off_t at = (off_t)offset;
    ssize_t n;
    do {
        n = sendfile(tcp->fd, fd, &at, bytes);
    } while (n == -1 && errno == EINTR);
    return n == -1 ? -errno : n;
}

static int
tcp_error(struct stream *stream)
{
    struct tcp_stream *tcp = (struct tcp_stream *)stream;
    int error = 0;
    socklen_t len = sizeof(error);
    if (tcp->error != 0) {
        return tcp->error;
    }
    if (getsockopt(tcp->fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1) {
        return -errno;
    }
    tcp->error = (int16_t)-error;
    return -error;
}

static int
tcp_shutdown(struct stream *stream)
{
    struct tcp_stream *tcp = (struct tcp_stream *)stream;
    return shutdown(tcp->fd, SHUT_WR) == -1 ? -errno : 0;
}

static int
tcp_local(struct stream *stream, struct addr *out)
{
    struct tcp_stream *tcp = (struct tcp_stream *)stream;
    return listener_bound_addr(tcp->fd, out);
}

static void
tcp_close(struct stream *stream, bool reset)
{
    struct tcp_stream *tcp = (struct tcp_stream *)stream;
    if (tcp->is_watched) {
        event_del(&tcp->event);
    }
    if (reset) {
        struct linger linger = { .l_onoff = 1, .l_linger = 0 };
        setsockopt(tcp->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    close(tcp->fd);
    tcp->fd = -1;
}

static const struct stream_ops tcp_ops = {
    .read = tcp_read,
    .write = tcp_write,
    .send_file = tcp_send_file,
    .error = tcp_error,
    .shutdown = tcp_shutdown,
    .local = tcp_local,
    .close = tcp_close,
};

/* The peer's end (EPOLLRDHUP) is EV_CLOSED; it may have been followed by a reset, and only the
 * socket knows. A reset alone comes with EPOLLERR, which libevent passes on as readable and
 * writable, like most events of a living socket: it is left to the reader. */
static void
on_socket(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    struct tcp_stream *tcp = context;
    unsigned events = 0;
    if (what & EV_READ) {
        events |= STREAM_READABLE;
    }
    if (what & EV_WRITE) {
        events |= STREAM_WRITABLE;
    }
    if (what & EV_CLOSED) {
        bool is_broken = tcp_error(&tcp->stream) < 0;
        events |= is_broken ? STREAM_BROKEN : STREAM_ENDED | STREAM_READABLE;
    }
    tcp->stream.on_event(tcp->stream.owner, events);
    loop_end_callback();
}

int
tcp_stream_init(void *memory, struct loop *loop, int fd, stream_event_fn *on_event, void *owner,
        struct stream **out)
{
    struct tcp_stream *tcp = memory;
    *tcp = (struct tcp_stream){
        .stream = { .ops = &tcp_ops, .on_event = on_event, .owner = owner },
        .fd = fd,
    };
    short what = EV_READ | EV_WRITE | EV_CLOSED | EV_PERSIST | EV_ET;
    if (event_assign(&tcp->event, loop_base(loop), fd, what, on_socket, tcp) == -1) {
        return -EINVAL;
    }
    *out = &tcp->stream;
    return 0;
}

int
tcp_stream_watch(struct stream *stream)
{
    struct tcp_stream *tcp = (struct tcp_stream *)stream;
    WEIR_ASSERT(!tcp->is_watched);
    if (event_add(&tcp->event, NULL) == -1) {
        return -ENOMEM;
    }
    tcp->is_watched = true;
    return 0;
}

static bool
is_loopback(const struct addr *addr)
{
    if (addr->sa.sa_family == AF_INET) {
        return ntohl(addr->in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    return addr->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&addr->in6.sin6_addr);
}

/* From one program of a machine to another there is no path whose capacity is to be found, and
 * nobody to be fair to: what the system chose for networks only costs time there. bbr, which
 * paces, makes an answer of 1 MiB a quarter dearer. Reno is in every kernel and allowed to
 * everybody; where it is not, all stays as it is. */
void
tcp_spare_congestion_control(int fd, const struct addr *addr)
{
    static const char name[] = "reno";
    if (is_loopback(addr)) {
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, sizeof(name) - 1);
    }
}
