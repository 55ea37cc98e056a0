/* SPDX-License-Identifier: MIT */
/* What a hook may ask about a request, and how it reads the body.
 *
 * All functions: on the request's loop, from within a hook of the request. Text that they
 * return belongs to the request and lives until its log hooks have run. Nothing here names a
 * connection: a request may share one with others (HTTP/2). Grows until 1.0. */
#ifndef WEIR_REQUEST_H
#define WEIR_REQUEST_H

#include <stdint.h>
#include <sys/types.h>

#include <weir/api.h>
#include <weir/module.h>
#include <weir/str.h>

WEIR_BEGIN_DECLS

/* Case matters (RFC 9110 section 9.1). This one, host, path, query and the fields are as hooks
 * have made them (see below), which is mostly as sent. */
WEIR_API WEIR_LOOP struct weir_str weir_request_method(const struct weir_request *request);

/* The request target as sent. */
WEIR_API WEIR_LOOP struct weir_str weir_request_target(const struct weir_request *request);

/* The path, decoded once and normalised: begins with one slash, holds no `.` or `..` segment
 * and no NUL. `*` for OPTIONS *; empty for CONNECT. */
WEIR_API WEIR_LOOP struct weir_str weir_request_path(const struct weir_request *request);

/* As sent, without `?`; empty when there is none. */
WEIR_API WEIR_LOOP struct weir_str weir_request_query(const struct weir_request *request);

/* What the path was before it was decoded and normalised, for those to whom it matters. */
#define WEIR_PATH_ENCODED_SLASH UINT32_C(1) /* a slash was written %2F */
#define WEIR_PATH_BACKSLASH     UINT32_C(2) /* holds a backslash */
WEIR_API WEIR_LOOP uint32_t weir_request_path_flags(const struct weir_request *request);

/* Writes `path` percent-encoded, as it may stand in a Location or a link: `dst` holds 3 *
 * path.len bytes. Returns the bytes written. Pure; any thread. */
WEIR_API WEIR_ANY size_t weir_path_encode(char *dst, struct weir_str path);

/* The host asked for, in lower case, without port and brackets; an absolute target's authority
 * wins over Host (RFC 9112 section 3.2.2), which then reads like it. Empty only in HTTP/1.0. */
WEIR_API WEIR_LOOP struct weir_str weir_request_host(const struct weir_request *request);

/* 10 for HTTP/1.0, 11 for HTTP/1.1, 20 for HTTP/2. */
WEIR_API WEIR_LOOP unsigned weir_request_version(const struct weir_request *request);

/* The first field of that name, ASCII case ignored, spaces around it removed; .ptr is NULL when
 * there is none. */
WEIR_API WEIR_LOOP struct weir_str weir_request_field(const struct weir_request *request,
        struct weir_str name);

/* The i-th field in the order of arrival. False past the last. */
WEIR_API WEIR_LOOP bool weir_request_field_at(const struct weir_request *request, uint32_t i,
        struct weir_str *name, struct weir_str *value);

/*
 * The i-th protocol that the client offers to go on in on this connection (RFC 9110 section
 * 7.8): "websocket", "foo/2". False past the last, and where there can be no tunnel: HTTP/1.0,
 * with content, to HEAD or CONNECT, changed in its method, not named in Connection, asked by
 * the server itself. HTTP in any form (h2c) and TLS are never among them, since what they carry
 * are requests that no hook would see, nor is websocket but to GET (RFC 6455 section 4.1).
 */
WEIR_API WEIR_LOOP bool weir_request_upgrade_at(const struct weir_request *request, uint32_t i,
        struct weir_str *protocol);

/* ---- changing it ---- */

/* From hooks of the phases head and rewrite: what route conditions and all later hooks see.
 * Routing follows, once, among the routes of the server that was chosen before. What the client
 * sent decides on: weir_request_target() and {target}, the framing of the body and of the
 * answer, and whether the connection is kept. The text is copied. Return 0; -EINVAL for what a
 * client could not have sent either, and elsewhere; -ENOMEM.
 *
 * Methods are those that the server knows, but for CONNECT, and for HEAD in place of another.
 * The host may come with a port, which is dropped; Host stays as sent. The target is `/path` or
 * `/path?query` as it stands in a request line, and is checked and normalised in the same way.
 */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_request_set_method(struct weir_request *request,
        struct weir_str method);
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_request_set_host(struct weir_request *request,
        struct weir_str host);
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_request_set_target(struct weir_request *request,
        struct weir_str target);

/* From hooks before the content phase: the request's fields as all later hooks see them. Set
 * replaces all fields of that name by one; remove returns how many there were. Return 0 or as
 * said; -EINVAL for a name that is no token, a value with a control byte, for Content-Length,
 * Host, Expect and the fields between two neighbours (Connection, Transfer-Encoding and their
 * like, RFC 9110 section 7.6.1), and elsewhere; -ENOBUFS above 256 KiB or 1,000 fields in all;
 * -ENOMEM. Text that weir_request_field() has returned stays as it was. */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_request_field_set(struct weir_request *request,
        struct weir_str name, struct weir_str value);
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_request_field_add(struct weir_request *request,
        struct weir_str name, struct weir_str value);
WEIR_API WEIR_LOOP int weir_request_field_remove(struct weir_request *request,
        struct weir_str name);

/* ---- where it comes from and how it goes ---- */

/* The address of whoever is at the other end of the connection, and of the client: the same,
 * unless the peer is one that `trust` names and speaks for another. Where the listener takes
 * the PROXY protocol, the peer is whom its header names. Without port; empty when the peer came
 * over a Unix socket. .ptr is NULL without memory. */
WEIR_API WEIR_LOOP struct weir_str weir_request_peer(struct weir_request *request);
WEIR_API WEIR_LOOP struct weir_str weir_request_client(struct weir_request *request);

/* Whether `trust` names the peer: what it says about the client and how that reached it
 * (X-Forwarded-Proto and its like) is to be believed. */
WEIR_API WEIR_LOOP bool weir_request_peer_is_trusted(const struct weir_request *request);

/* True when the client's address is in `network`; false for one without an address. */
WEIR_API WEIR_LOOP bool weir_request_client_in(const struct weir_request *request,
        const struct weir_network *network);

/* The client's address in `address`: 4 for IPv4, in the first four bytes, also where it came in
 * IPv6 clothes; 6; 0 for one without an address, when nothing is written. */
WEIR_API WEIR_LOOP int weir_request_client_address(const struct weir_request *request,
        uint8_t address[16]);

/* The peer's port; 0 over a Unix socket. */
WEIR_API WEIR_LOOP unsigned weir_request_peer_port(const struct weir_request *request);

/* The request's id: a trusted peer's X-Request-Id, else one of ours, made when first asked for
 * (26 letters and digits that sort by time). Empty without memory. */
WEIR_API WEIR_LOOP struct weir_str weir_request_id(struct weir_request *request);

/* "http" or "https": how the client reached us, or the trusted gateway that asks for it. */
WEIR_API WEIR_LOOP struct weir_str weir_request_scheme(const struct weir_request *request);

/* The names of the server and the route that it took; empty before they are known, or when
 * there was none. They live as long as the configuration. */
WEIR_API WEIR_LOOP struct weir_str weir_request_server_name(const struct weir_request *request);
WEIR_API WEIR_LOOP struct weir_str weir_request_route_name(const struct weir_request *request);

/* When the first byte of its head arrived: nanoseconds since 1970 (UTC). The system's clock is
 * looked at once a second: when it is set, this follows a second later at the most. */
WEIR_API WEIR_LOOP int64_t weir_request_began_ns(const struct weir_request *request);

/* How that is written: RFC 3339, the format `combined` of access logs, seconds since 1970. */
enum weir_time_form {
    WEIR_TIME_ISO = 1,  /* 2000-10-10T13:55:36.123Z */
    WEIR_TIME_LOG = 2,  /* 10/Oct/2000:13:55:36 +0000 */
    WEIR_TIME_UNIX = 3, /* 971186136.123 */
};

/* Bytes of the longest of them. */
#define WEIR_TIME_TEXT_BYTES 32u

/* Writes when the first byte of its head arrived into `dst`, which holds WEIR_TIME_TEXT_BYTES,
 * without a terminator. Returns the bytes written; 0 for another form. */
WEIR_API WEIR_LOOP size_t weir_request_began_text(const struct weir_request *request,
        enum weir_time_form form, char *dst);

/* Nanoseconds from then until now, and until the first byte of the answer was on its way; the
 * latter is 0 while none is. By the monotonic clock; the first byte's to the loop's turn. In
 * log hooks the former is the whole duration, however long they wait. */
WEIR_API WEIR_LOOP uint64_t weir_request_duration_ns(const struct weir_request *request);
WEIR_API WEIR_LOOP uint64_t weir_request_first_byte_ns(const struct weir_request *request);

/* The monotonic clock in nanoseconds, as of the loop's turn: all processes of a machine have
 * the same one, and it goes on over reloads. */
WEIR_API WEIR_LOOP uint64_t weir_request_now_ns(const struct weir_request *request);

/* Bytes of its head and, once decoded, of its body that have arrived. */
WEIR_API WEIR_LOOP uint64_t weir_request_received_bytes(const struct weir_request *request);

/* Bytes of the answer that the client was sent, and those of them that are not its head (body
 * and framing). Known in log hooks, 0 before. */
WEIR_API WEIR_LOOP uint64_t weir_request_sent_bytes(const struct weir_request *request);
WEIR_API WEIR_LOOP uint64_t weir_request_sent_body_bytes(const struct weir_request *request);

/* Why it ended, for log hooks: "complete", "client_left", "client_slow", "client_wrong",
 * "answer_short", "answer_failed", "idle" (a tunnel) or "stopped"; "runs" before. Constant
 * text; more words may be added. */
WEIR_API WEIR_LOOP struct weir_str weir_request_end_label(const struct weir_request *request);

/* Which request of its client's connection it is, from 1. */
WEIR_API WEIR_LOOP uint32_t weir_request_ordinal(const struct weir_request *request);

/* The calling handler's own state for this request (weir_handler.state_bytes), zeroed when the
 * request began; aligned to 16. */
WEIR_API WEIR_LOOP void *weir_request_state(struct weir_request *request);

/* Memory that lives as long as the request; NULL when there is none left. Not cleared. */
WEIR_MUST_USE WEIR_API WEIR_LOOP void *weir_request_alloc(struct weir_request *request,
        size_t bytes);

/* Declared length of the body; UINT64_MAX when it is chunked. */
WEIR_API WEIR_LOOP uint64_t weir_body_length(const struct weir_request *request);

/*
 * Moves body bytes that have arrived into `dst`; less than asked is normal. The first call
 * makes the server send 100 Continue where the client waits for one. Memory:  `dst` stays the
 * caller's; nothing in it refers to the request afterwards. Returns: bytes moved; 0 at the end
 * of the body; -EAGAIN when none are here yet (weir_body_wait()); -EMSGSIZE when the body is
 * larger than limits.body (answer 413); -ENOSPC when the server cannot keep it (507); -EPROTO
 * when its framing is broken, -ETIMEDOUT when it came too slowly, -ECONNRESET when the client
 * left: the connection is closing.
 */
WEIR_MUST_USE WEIR_API WEIR_LOOP ssize_t weir_body_read(struct weir_request *request, void *dst,
        size_t dst_bytes);

/* Calls `resume` in this hook's place once weir_body_read() has something else to say than
 * -EAGAIN. When the request ends meanwhile, since the client left or the connection was closed,
 * it is called a last time: weir_body_read() says -ECONNRESET then, nothing can wait any more,
 * and the verdict is ignored. Not called when another hook, or the core, answers in this one's
 * place. For the phases head to content: whoever answers. The hook returns what this returns:
 * WEIR_PENDING, or WEIR_FAILED elsewhere and when it waits already. */
WEIR_MUST_USE WEIR_API WEIR_LOOP enum weir_verdict weir_body_wait(struct weir_request *request,
        weir_request_fn *resume);

WEIR_END_DECLS

#endif
