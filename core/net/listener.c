/* SPDX-License-Identifier: MIT */
/* Accepting is level triggered and takes a bounded number at each event, so that a flood of
 * connections cannot hold the loop. When descriptors run out the listener gives up its reserve
 * descriptor to answer one connection by closing it, pauses for a moment and tries again: the
 * queue drains slowly instead of the loop spinning. */
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/assert.h"
#include "event/loop.h"
#include "event/timer.h"
#include "net/tcp.h"
#include "observe/log.h"

#define ACCEPTS_AT_ONCE 64
#define DRAIN_ACCEPTS   65536
#define BACK_OFF_NS     (100 * NS_PER_MS)

struct listener {
    struct loop *loop; /* borrowed */
    listener_accept_fn *on_accept;
    void *owner;
    struct addr addr;
    int fd;
    int reserve_fd; /* given up and taken again when descriptors run out; -1 meanwhile */
    bool is_paused; /* by the owner */
    bool is_backing_off;
    bool is_freed_later; /* listener_free() was called from on_accept */
    bool is_accepting;
    uint64_t failures;
    uint64_t logged_ns; /* of the last line about one */
    struct event event;
    struct timer back_off;
};

/* True when there is a Unix socket's file that has nobody behind it. Other files are left
 * alone.
 */
static bool
is_stale(const struct addr *addr)
{
    struct stat file;
    if (lstat(addr->un.sun_path, &file) == -1 || !S_ISSOCK(file.st_mode)) {
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd == -1) {
        return false;
    }
    bool stale = connect(fd, &addr->sa, addr->len) == -1 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

static int
bind_unix(int fd, const struct listener_settings *settings)
{
    const struct addr *addr = &settings->addr;
    bool has_file = addr->un.sun_path[0] != '\0';
    if (bind(fd, &addr->sa, addr->len) == -1) {
        int error = errno;
        if (error != EADDRINUSE || !has_file || !is_stale(addr)) {
            return -error;
        }
        if (unlink(addr->un.sun_path) == -1 || bind(fd, &addr->sa, addr->len) == -1) {
            return -errno;
        }
    }
    /* Nobody can connect before listen(), so not before this either. */
    if (has_file && chmod(addr->un.sun_path, settings->mode) == -1) {
        int error = errno;
        unlink(addr->un.sun_path);
        return -error;
    }
    return 0;
}

int
listener_open_fd(const struct listener_settings *settings)
{
    const struct addr *addr = &settings->addr;
    int family = addr->sa.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return -errno;
    }
    int r = 0, on = 1, off = 0;
    if (family == AF_UNIX) {
        r = bind_unix(fd, settings);
    } else {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (settings->shares_port) {
            setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
        }
        /* Inherited by what is accepted. */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        tcp_spare_congestion_control(fd, addr);
        if (family == AF_INET6) {
            /* [::] serves both versions, any other IPv6 address is only itself. */
            bool is_any = IN6_IS_ADDR_UNSPECIFIED(&addr->in6.sin6_addr);
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, is_any ? &off : &on, sizeof(on));
        }
        r = bind(fd, &addr->sa, addr->len) == -1 ? -errno : 0;
    }
    if (r == 0 && listen(fd, settings->backlog) == -1) {
        r = -errno;
    }
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

void
listener_close_fd(int fd)
{
    close(fd);
}

int
listener_bound_addr(int fd, struct addr *out)
{
    struct addr addr = { .len = 0 };
    socklen_t len = sizeof(addr.un);
    if (getsockname(fd, &addr.sa, &len) == -1) {
        return -errno;
    }
    addr.len = len;
    *out = addr;
    return 0;
}

static int
open_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Its place among the timers is never given up, so setting it cannot fail. */
static void
set_back_off(struct listener *listener, uint64_t deadline_ns)
{
    int r = timer_set(&listener->back_off, deadline_ns);
    WEIR_ASSERT(r == 0);
}

static void
begin_back_off(struct listener *listener)
{
    listener->is_backing_off = true;
    event_del(&listener->event);
    set_back_off(listener, clock_add_ns(loop_now_ns(listener->loop), BACK_OFF_NS));
}

static void
update_event(struct listener *listener)
{
    event_del(&listener->event);
    bool accepts = !listener->is_paused && !listener->is_backing_off;
    if (accepts && event_add(&listener->event, NULL) == -1) {
        begin_back_off(listener); /* no memory: try again */
    }
}

static void
on_back_off_over(struct timer *timer)
{
    struct listener *listener = (struct listener *)((char *)timer -
            offsetof(struct listener, back_off));
    set_back_off(listener, CLOCK_NEVER);
    listener->is_backing_off = false;
    if (listener->reserve_fd == -1) {
        listener->reserve_fd = open_reserve();
    }
    update_event(listener);
}

/* Out of descriptors: tell one client that we know, rather than let it wait. */
static void
shed_one(struct listener *listener)
{
    if (listener->reserve_fd != -1) {
        close(listener->reserve_fd);
        listener->reserve_fd = -1;
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd != -1) {
            close(fd);
        }
        listener->reserve_fd = open_reserve();
    }
}

/* Once a second, however often it happens. */
static void
log_failure(struct listener *listener, int error)
{
    uint64_t now_ns = loop_now_ns(listener->loop);
    if (listener->logged_ns != 0 && now_ns - listener->logged_ns < NS_PER_S) {
        return;
    }
    listener->logged_ns = now_ns;
    char text[ADDR_TEXT_BYTES];
    addr_format(&listener->addr, text);
    log_warn("listener %s: accept: %s; new connections wait, some are turned away%s", text,
            strerror(error),
            error == EMFILE ? " (raise the limit of open descriptors, LimitNOFILE or ulimit -n)"
                            : "");
}

static void
back_off(struct listener *listener, int error)
{
    listener->failures++;
    log_failure(listener, error);
    shed_one(listener);
    begin_back_off(listener);
}

/* Errors of one connection, which accept(2) passes on: the next one is as good as any. */
static bool
is_of_connection(int error)
{
    static const int errors[] = { ECONNABORTED, EINTR, EPERM, EPROTO, ENOPROTOOPT, ENETDOWN,
        ENETUNREACH, EHOSTDOWN, EHOSTUNREACH, ENONET, EOPNOTSUPP };
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (error == errors[i]) {
            return true;
        }
    }
    return false;
}

static void
free_now(struct listener *listener)
{
    timer_cancel(&listener->back_off);
    event_del(&listener->event);
    close(listener->fd);
    if (listener->reserve_fd != -1) {
        close(listener->reserve_fd);
    }
    free(listener);
}

/* Accepts up to `most`. True when the queue was empty before that. */
static bool
accept_some(struct listener *listener, int most)
{
    bool is_empty = false;
    listener->is_accepting = true;
    for (int i = 0; i < most && !is_empty && !listener->is_paused && !listener->is_freed_later;
            i++) {
        struct addr peer = { .len = 0 };
        socklen_t len = sizeof(peer.un);
        int accepted = accept4(listener->fd, &peer.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted != -1) {
            peer.len = len;
            listener->on_accept(listener->owner, accepted, &peer);
        } else if (!is_of_connection(errno)) {
            is_empty = true;
            if (errno != EAGAIN) {
                back_off(listener, errno); /* no descriptors or memory, or worse: never spin */
            }
        }
    }
    listener->is_accepting = false;
    if (listener->is_freed_later) {
        free_now(listener);
        return true;
    }
    return is_empty;
}

static void
on_acceptable(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    accept_some(context, ACCEPTS_AT_ONCE);
}

void
listener_drain(struct listener *listener)
{
    /* No more than the queue may hold: whoever comes meanwhile comes too late. */
    listener->is_paused = false;
    accept_some(listener, DRAIN_ACCEPTS);
    listener->is_paused = true;
    update_event(listener);
}

int
listener_new(struct loop *loop, int fd, listener_accept_fn *on_accept, void *owner,
        struct listener **out)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL) {
        return -ENOMEM;
    }
    listener->loop = loop;
    listener->on_accept = on_accept;
    listener->owner = owner;
    listener->fd = fd;
    timer_init(&listener->back_off, loop, on_back_off_over);
    socklen_t len = sizeof(listener->addr.un);
    int r = timer_set(&listener->back_off, CLOCK_NEVER);
    if (r < 0) {
        goto fail;
    }
    if (getsockname(fd, &listener->addr.sa, &len) == -1) {
        r = -errno;
        goto fail;
    }
    listener->addr.len = len;
    if (event_assign(&listener->event, loop_base(loop), fd, EV_READ | EV_PERSIST, on_acceptable,
                listener) == -1 ||
            event_add(&listener->event, NULL) == -1) {
        r = -ENOMEM;
        goto fail;
    }
    listener->reserve_fd = open_reserve();
    *out = listener;
    return 0;

fail:
    timer_cancel(&listener->back_off);
    free(listener);
    return r;
}

void
listener_pause(struct listener *listener)
{
    listener->is_paused = true;
    update_event(listener);
}

void
listener_resume(struct listener *listener)
{
    listener->is_paused = false;
    update_event(listener);
}

const struct addr *
listener_addr(const struct listener *listener)
{
    return &listener->addr;
}

uint64_t
listener_failures(const struct listener *listener)
{
    return listener->failures;
}

void
listener_free(struct listener *listener)
{
    if (listener == NULL) {
        return;
    }
    if (listener->is_accepting) {
        listener->is_freed_later = true;
        return;
    }
    free_now(listener);
}
