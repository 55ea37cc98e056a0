/* SPDX-License-Identifier: MIT */
/* How a hook answers.
 *
 * An answer is begun, given fields, written and ended. Nothing leaves before its first body
 * byte or its end, so until then it may be begun anew, by this hook or by a later one.
 * Content-Length, chunking, Date, Connection and whether a body is sent at all (HEAD, 204, 304)
 * are the server's: a module writes what a GET would send.
 *
 * All functions: on the request's loop. Text given to them is copied. Grows until 1.0. */
#ifndef WEIR_REPLY_H
#define WEIR_REPLY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <weir/api.h>
#include <weir/module.h>
#include <weir/str.h>

WEIR_BEGIN_DECLS

/* Begins the answer, `status` from 200 to 599, or begins it anew: fields and body of an answer
 * that has not left are dropped. Returns 0; -EALREADY when an answer is on its way; -EINVAL for
 * another status. */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_reply_begin(struct weir_request *request,
        unsigned status);

/* The status of the answer begun; 0 when there is none. */
WEIR_API WEIR_LOOP unsigned weir_reply_status(const struct weir_request *request);

/* Adds a field. Returns 0; -EALREADY when the head has left; -ENOMEM; -EINVAL for a name that
 * is no token or a value with CR, LF, NUL or another control byte (RFC 9110 section 5.5): the
 * answer then becomes a 500, whatever the caller does. Connection (but for `close`),
 * Keep-Alive, Transfer-Encoding and Upgrade are the server's and are dropped with a line in
 * the log; Content-Length declares the length (weir_reply_length()). */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_reply_add(struct weir_request *request,
        struct weir_str name, struct weir_str value);

/* The same, replacing all fields of that name. */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_reply_set(struct weir_request *request,
        struct weir_str name, struct weir_str value);

/* Removes all fields of that name. Returns how many there were, or -EALREADY. Date and Server,
 * which the server adds to answers that have none, are left out then. */
WEIR_API WEIR_LOOP int weir_reply_remove(struct weir_request *request, struct weir_str name);

/* The first field of that name; .ptr is NULL when there is none. */
WEIR_API WEIR_LOOP struct weir_str weir_reply_field(const struct weir_request *request,
        struct weir_str name);

/* The i-th field, without Content-Length. False past the last. The text lives until the log
 * hooks have run, also when the field is removed or the answer begun anew. */
WEIR_API WEIR_LOOP bool weir_reply_field_at(const struct weir_request *request, uint32_t i,
        struct weir_str *name, struct weir_str *value);

/* Declares the body's length. More than that is cut and logged; less ends the connection, so
 * that the client sees that it was cheated. */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_reply_length(struct weir_request *request,
        uint64_t bytes);

/* Appends a copy of `bytes` to the body. Returns how many were taken, fewer when the client
 * reads slowly and the server holds enough for it; -EAGAIN when none, and weir_reply_wait()
 * says when; -EPIPE when nobody will read it any more; -ENOMEM; -EINVAL before
 * weir_reply_begin() or after the end. */
WEIR_MUST_USE WEIR_API WEIR_LOOP ssize_t weir_reply_write(struct weir_request *request,
        struct weir_str bytes);

/* Calls `resume` in this hook's place once weir_reply_write() would take something. When the
 * request ends meanwhile it is called a last time, as with weir_body_wait(): weir_reply_write()
 * says -EPIPE then. The hook returns what this returns, likewise. A reply-head hook that
 * replaces the answer cannot wait so, since nothing leaves before it is through: what it writes
 * is short (limits of weir_reply_write()). */
WEIR_MUST_USE WEIR_API WEIR_LOOP enum weir_verdict weir_reply_wait(struct weir_request *request,
        weir_request_fn *resume);

/* From now on whoever writes the answer is not held by a client that reads slowly: what that
 * has not read is kept, the beginning in memory (limits.reply_memory), the rest in a file
 * without a name in workers.temp_dir, which is gone when the request ends. weir_reply_write()
 * says -EAGAIN above limits.reply_buffer, while a disk is slower than the writer, and where
 * nothing can be written to (the log says why): then the writer waits after all. So does what
 * else fills an answer: weir_port_write(), an exchange or an internal request that was adopted.
 * Until weir_reply_begin() begins another. Returns 0, also when it is kept already, and for a
 * tunnel (weir_exchange_adopt() of a 101), of which nothing is; -EINVAL
 * before weir_reply_begin() and after weir_reply_end(); -ENOMEM, when it is not. */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_reply_keep(struct weir_request *request);

/* Appends bytes that live as long as the configuration: no copy. Returns 0 or as above, never
 * -EAGAIN. */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_reply_static(struct weir_request *request,
        struct weir_str bytes);

/* Appends `len` bytes of an open file from `offset`. The server takes the descriptor over, on
 * failure too, and closes it when they have left. Returns 0 or a negative errno. */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_reply_file(struct weir_request *request, int fd,
        uint64_t offset, uint64_t len);

/* A trailer field, sent after a body of unknown length to clients that asked (RFC 9110 section
 * 6.5.1); otherwise dropped. */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_reply_trailer(struct weir_request *request,
        struct weir_str name, struct weir_str value);

/* Nothing follows. Returns 0; -EINVAL before weir_reply_begin(). */
WEIR_API WEIR_LOOP int weir_reply_end(struct weir_request *request);

/* A 103 Early Hints with one Link value (RFC 8297), to HTTP/1.1 clients before the answer's
 * head. Returns 0; -EALREADY after the head; -ENOTSUP to an HTTP/1.0 client; -EINVAL. */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_reply_hint(struct weir_request *request,
        struct weir_str link);

/* A whole short answer: begin, Content-Type, body, end. Answers WEIR_DONE, or WEIR_FAILED. */
WEIR_MUST_USE WEIR_API WEIR_LOOP enum weir_verdict weir_reply_text(struct weir_request *request,
        unsigned status, struct weir_str type, struct weir_str text);

/* The server's own answer for a status: a line of text, or a small page where the client
 * accepts HTML. */
WEIR_MUST_USE WEIR_API WEIR_LOOP enum weir_verdict weir_reply_error(
        struct weir_request *request, unsigned status);

/* True when the answer's body is the server's own for its status: weir_reply_error()'s, or what
 * the core answers in a module's place. */
WEIR_API WEIR_LOOP bool weir_reply_is_own(const struct weir_request *request);

/* A word for why the server answered with an error, lower case, which stays the same from one
 * version to the next: `no_route`, `not_found`, `several_hosts`, `content_too_large`. Of its
 * own answers, also when a page took their text's place; else empty, and without memory. Lives
 * as long as the request. */
WEIR_API WEIR_LOOP struct weir_str weir_reply_code(struct weir_request *request);

/* For reply-head hooks: puts a copy of `text` in the place of the answer's whole body and ends
 * it. The status stays, and the fields but for those that describe the body. Returns 0; -EINVAL
 * when there is no answer; -EALREADY when its head has left; -ENOMEM, when the answer is as it
 * was or cannot be finished. */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_reply_replace_body(struct weir_request *request,
        struct weir_str type, struct weir_str text);

WEIR_END_DECLS

#endif
