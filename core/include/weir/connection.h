/* SPDX-License-Identifier: MIT */
/* Hooks of connections: listener-wide, in the `use` lists of `defaults` and `listeners`.
 *
 *     accept   a client has connected; nothing was read. May drop it
 *     open     the connection is ready for requests. May wait, and drop it
 *     close    it has ended, dropped ones included: once, after the connection's socket was
 *              closed. Its last request's log hooks may run later
 *
 * Verdicts: WEIR_NEXT lets it pass; WEIR_DONE drops it, without a word to the client and with
 * one to the log at level debug; WEIR_FAILED drops it with an error in the log; WEIR_PENDING
 * after weir_connection_suspend(). The verdict of a close hook is ignored.
 *
 * A request never leads to its connection, since it may share one with others (HTTP/2): what a
 * hook is to know about a request it asks the request.
 *
 * All functions: on the connection's loop, from within a hook of the connection. Text lives
 * until its close hooks have run. Grows until 1.0. */
#ifndef WEIR_CONNECTION_H
#define WEIR_CONNECTION_H

#include <stdint.h>

#include <weir/api.h>
#include <weir/module.h>
#include <weir/str.h>
#include <weir/wait.h>

WEIR_BEGIN_DECLS

/* The address at the other end, without port; empty over a Unix socket. Where the listener
 * takes the PROXY protocol this is the proxy in front until the open hooks run, and from then
 * on whom it speaks for: the text of before is not to be kept. */
WEIR_API WEIR_LOOP struct weir_str weir_connection_peer(
        const struct weir_connection *connection);
WEIR_API WEIR_LOOP unsigned weir_connection_peer_port(const struct weir_connection *connection);

/* The listener's address, as the configuration writes it. */
WEIR_API WEIR_LOOP struct weir_str weir_connection_listener(
        const struct weir_connection *connection);

/* Nanoseconds since it was accepted. */
WEIR_API WEIR_LOOP uint64_t weir_connection_duration_ns(
        const struct weir_connection *connection);

/* For close hooks, 0 and empty before: requests that were begun, bytes that were read and
 * written, and why it ended: "client", "client_reset", "done", "refused", "idle", "slow_head",
 * "slow_body", "slow_reader", "slow_request", "broken_answer", "no_memory", "tunnel_idle",
 * "tunnel_cut", "stopped", "dropped", "untrusted" or "bad_proxy_header"; more words may be
 * added. */
WEIR_API WEIR_LOOP uint64_t weir_connection_requests(const struct weir_connection *connection);
WEIR_API WEIR_LOOP uint64_t weir_connection_received_bytes(
        const struct weir_connection *connection);
WEIR_API WEIR_LOOP uint64_t weir_connection_sent_bytes(
        const struct weir_connection *connection);
WEIR_API WEIR_LOOP struct weir_str weir_connection_close_reason(
        const struct weir_connection *connection);

/* Called in the open hook's place. `payload` is weir_resume()'s, and now the callee's; NULL
 * unless `how` is WEIR_WOKEN. With WEIR_ABORTED the connection has ended: clean up; the verdict
 * is ignored, and the close hooks follow. */
typedef enum weir_verdict weir_connection_resume_fn(struct weir_connection *connection,
        const void *conf, enum weir_wake how, void *payload);

/* Suspends the connection at the open hook that runs, as weir_suspend() does a request: nothing
 * is read meanwhile. At most the shorter of timeouts.handshake and timeouts.wait, which is also
 * WEIR_WAIT_PRESET's. Returns WEIR_PENDING, which the hook returns, and *token for
 * weir_resume(); WEIR_FAILED elsewhere, when the hook waits already, or without memory. */
WEIR_MUST_USE WEIR_API WEIR_LOOP enum weir_verdict weir_connection_suspend(
        struct weir_connection *connection, weir_connection_resume_fn *resume,
        uint64_t timeout_ns, struct weir_token *token);

WEIR_END_DECLS

#endif
