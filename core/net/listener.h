/* SPDX-License-Identifier: MIT */
/* Listening sockets: opening them so that a mistake is told from another's, and accepting
 * without ever spinning or stopping (F6, F23). */
#ifndef WEIR_NET_LISTENER_H
#define WEIR_NET_LISTENER_H

#include <sys/stat.h>

#include "net/addr.h"

struct listener;
struct loop;

/* A connection was accepted: `fd` (non-blocking, close-on-exec) belongs to the callee. */
typedef void listener_accept_fn(void *owner, int fd, const struct addr *peer);

struct listener_settings {
    struct addr addr;
    int backlog;
    mode_t mode;      /* of a Unix socket's file; 0660 unless configured */
    bool shares_port; /* one of several sockets of one TCP address (SO_REUSEPORT) */
};

/* Binds and listens. A Unix socket's file that nobody answers on is replaced; connections to a
 * loopback address do without the system's congestion control (tcp(7), TCP_CONGESTION). Returns
 * the descriptor, or a negative errno: -EADDRINUSE, -EACCES, -EADDRNOTAVAIL ... */
WEIR_MUST_USE int listener_open_fd(const struct listener_settings *settings);

/* Closes what listener_open_fd() answered, and nobody took over. */
void listener_close_fd(int fd);

/* The address that `fd` is bound to, with the port that the system chose. Returns 0 or a
 * negative errno. */
WEIR_MUST_USE int listener_bound_addr(int fd, struct addr *out);

/* Accepts from `fd` (owned by the listener from now on) on the loop. Returns 0 or a negative
 * errno, when the caller keeps `fd`. Thread: the loop's, or any before it turns. */
WEIR_MUST_USE int listener_new(struct loop *loop, int fd, listener_accept_fn *on_accept,
        void *owner, struct listener **out);

/* Stops or starts accepting; what waits in the kernel's queue waits. */
void listener_pause(struct listener *listener);
void listener_resume(struct listener *listener);

/* Accepts all that waits in the kernel's queue, which closing would reset, and then no more.
 * Not from on_accept. */
void listener_drain(struct listener *listener);

/* The address it is bound to, with the port that the system chose. */
const struct addr *listener_addr(const struct listener *listener);

/* Accept calls that failed for want of descriptors or memory. */
uint64_t listener_failures(const struct listener *listener);

/* Stops and closes. NULL: nothing. */
void listener_free(struct listener *listener);

#endif
