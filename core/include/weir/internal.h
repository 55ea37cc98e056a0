/* SPDX-License-Identifier: MIT */
/* Internal requests: a hook asks the server itself for something.
 *
 * An internal request is a request of its own on the same loop. It has the server and the route
 * that its host and target choose (routes marked `"internal": true` among them, which nobody
 * else reaches), runs their hooks under their limits and timeouts, and its answer goes to the
 * hook that asked. It is neither logged nor counted as a client's, but its log hooks run, since
 * hooks may have something to tidy up, or may want to log it under a name of its own:
 * weir_request_depth() tells them, and {internal} templates. It has the id of the request that
 * asked; the bytes that it sent are those of its body that were taken. Whoever asked ends, and
 * so does what it asked for.
 *
 * The answer becomes mine (an error page; in a reply-head hook, or in one that answers):
 *
 *     static enum weir_verdict
 *     on_page(struct weir_request *request, const void *conf)
 *     {
 *         struct weir_internal *page = *(struct weir_internal **)weir_request_state(request);
 *         // What is not there, or came too late, leaves the answer as it was.
 *         return weir_internal_status(page) == 200 ? weir_internal_adopt(page, 404) :
 * WEIR_NEXT;
 *     }
 *
 *     const struct weir_ask ask = { .bytes = sizeof(ask), .target = WEIR_STR("/errors/404") };
 *     struct weir_internal **page = weir_request_state(request);
 *     if (weir_reply_status(request) != 404 || weir_request_depth(request) > 0 ||
 *             weir_internal_open(request, &ask, page) < 0) {
 *         return WEIR_NEXT;
 *     }
 *     return weir_internal_wait(*page, on_page);
 *
 * or, where nothing is to be decided, `return weir_internal_answer(request, &ask, 0);`.
 *
 * I read it: after weir_internal_wait() has resumed the hook, weir_internal_read() until it
 * answers 0, waiting again at -EAGAIN. At most 64 KiB of a body that is not read are made.
 *
 * All functions: on the request's loop, from within a hook of it. Grows until 1.0. */
#ifndef WEIR_INTERNAL_H
#define WEIR_INTERNAL_H

#include <stdint.h>
#include <sys/types.h>

#include <weir/api.h>
#include <weir/module.h>
#include <weir/str.h>

WEIR_BEGIN_DECLS

struct weir_internal;

/* How deep internal requests may be nested, and how many of one request may be open. */
#define WEIR_INTERNAL_DEPTH_MAX 8u
#define WEIR_INTERNAL_OPEN_MAX  16u

/* weir_ask.flags: only the fields of `fields` go along, none of the asking request's. */
#define WEIR_ASK_NO_FIELDS UINT32_C(1)
/* Only a route marked `internal` may answer; where another matches first the answer is 404. */
#define WEIR_ASK_MARKED_ONLY UINT32_C(2)

struct weir_ask_field {
    struct weir_str name,
            value; /* value.ptr NULL: the request's own of that name is left out */
};

/* What is asked; all of it is copied. */
struct weir_ask {
    uint32_t bytes;         /* sizeof(struct weir_ask) */
    uint32_t flags;         /* WEIR_ASK_... */
    struct weir_str target; /* encoded path and query, as in a request line; begins with `/` */
    struct weir_str method; /* .len 0: HEAD for a HEAD, else GET; not CONNECT */
    struct weir_str host;   /* .len 0: the asking request's, and with it its server */
    struct weir_str body;   /* within the limits.body in force, and of the route that answers */

    /* Instead of the asking request's of the same name. Those go along but for what tells of
     * its body, connection, conditions and ranges: conditions and ranges are settled for the
     * answer that a client gets. */
    const struct weir_ask_field *fields;
    uint32_t field_count;
};

/* How many internal requests deep this one is; 0: a client sent it. */
WEIR_API WEIR_LOOP unsigned weir_request_depth(const struct weir_request *request);

/*
 * Asks; the hooks of the internal request run when this one has returned.
 * Memory:  *out is the core's; it ends with weir_internal_close(), weir_internal_adopt(), or
 *          before the log hooks of `request`, whichever is first.
 * Returns: 0; -EINVAL for a target, method, host or field that no client may send; -ELOOP when
 *          requests are nested too deep, which the log is told of; -EMFILE when too many are
 *          open; -EMSGSIZE for the body; -ESHUTDOWN when the request has ended; -ENOMEM.
 */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_internal_open(struct weir_request *request,
        const struct weir_ask *ask, struct weir_internal **out);

/* Calls `resume` in this hook's place once the answer's head is there, or more of its body or
 * its end, or it failed, at the latest after timeouts.wait. The hook returns what this returns,
 * as with weir_body_wait(). */
WEIR_MUST_USE WEIR_API WEIR_LOOP enum weir_verdict weir_internal_wait(
        struct weir_internal *internal, weir_request_fn *resume);

/* 0; -ETIMEDOUT when it took longer than timeouts.wait or the route's timeouts.request; -EPROTO
 * when the answer cannot be finished. */
WEIR_API WEIR_LOOP int weir_internal_error(const struct weir_internal *internal);

/* The answer's status; 0 before its head is there, and when it failed before that. */
WEIR_API WEIR_LOOP unsigned weir_internal_status(const struct weir_internal *internal);

/* The first field of that name in the answer; .ptr is NULL when there is none. Lives as long as
 * `internal`. */
WEIR_API WEIR_LOOP struct weir_str weir_internal_field(const struct weir_internal *internal,
        struct weir_str name);

/* The i-th field, without Content-Length. False past the last. */
WEIR_API WEIR_LOOP bool weir_internal_field_at(const struct weir_internal *internal, uint32_t i,
        struct weir_str *name, struct weir_str *value);

/* Moves bytes of the body into `dst`. Returns how many; 0 at the end; -EAGAIN when none are
 * here yet; else weir_internal_error(), or what reading a file said. A body that is a file is
 * read from it, which may wait for the disk. */
WEIR_MUST_USE WEIR_API WEIR_LOOP ssize_t weir_internal_read(struct weir_internal *internal,
        void *dst, size_t dst_bytes);

/*
 * The answer takes the place of whatever the asking request has begun: fields, body (files stay
 * files, and it flows as fast as the client reads), trailers, under `status`, or its own for 0.
 * Fields may be changed afterwards. In hooks that answer, and in reply-head hooks.
 * Memory:  `internal` is gone.
 * Returns: WEIR_DONE; WEIR_FAILED without a head, after an error, when the request's own head
 * has left, or without memory.
 */
WEIR_MUST_USE WEIR_API WEIR_LOOP enum weir_verdict weir_internal_adopt(
        struct weir_internal *internal, unsigned status);

/* Asks, waits and adopts. Too deep is answered 508, too late 504; else WEIR_FAILED. */
WEIR_MUST_USE WEIR_API WEIR_LOOP enum weir_verdict weir_internal_answer(
        struct weir_request *request, const struct weir_ask *ask, unsigned status);

/* Not wanted any more: the internal request ends after this hook has returned. */
WEIR_API WEIR_LOOP void weir_internal_close(struct weir_internal *internal);

WEIR_END_DECLS

#endif
