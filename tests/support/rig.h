/* SPDX-License-Identifier: MIT */
/* The engine without sockets: a loop on a hand-wound clock, an HTTP/1 connection on a memory
 * stream, and a small module whose handler does what the path says. */
#ifndef WEIR_SUPPORT_RIG_H
#define WEIR_SUPPORT_RIG_H

#include <weir/module.h>

#include "base/arena.h"
#include "http/engine.h"
#include "http/h1.h"
#include "module/chain.h"
#include "module/course.h"
#include "testkit/manual_clock.h"
#include "testkit/memory_stream.h"

struct rig {
    struct manual_clock clock;
    struct loop *loop;
    struct engine engine;
    struct request_handler handler;
    struct course_map map; /* first after the above; rig_of_map() */
    struct arena arena;
    struct chain_use uses[8];
    uint16_t use_count;
    const struct chain *chain;
    struct h1_settings settings;
    struct memory_stream stream; /* of the connection in hand */
    bool has_stream;
    enum h1_close closed; /* why the last connection ended; H1_OPEN while it lives */
    unsigned ended[16];   /* requests by enum request_end */
};

/* `extra` handlers (count of them) stand before the rig's own in the route. */
void rig_init(struct rig *rig, const struct weir_handler *extra, unsigned count);

/* The same with the filled configuration of each (NULL: none). */
void rig_init_with(struct rig *rig, const struct weir_handler *extra, const void *const *confs,
        unsigned count);
void rig_fini(struct rig *rig); /* also asserts that nothing is left over */

/* A new connection; the last one, if any, must have ended or is reset. */
void rig_connect(struct rig *rig);

/* Turns until nothing more happens. */
void rig_settle(struct rig *rig);

/* Sends and settles. */
void rig_send(struct rig *rig, struct weir_str bytes);

/* Sends `bytes` whole (split 0), in two parts of which the first has `split` of them, or one by
 * one (RIG_BYTEWISE), and settles after each: every way in which they may come. */
#define RIG_BYTEWISE SIZE_MAX
void rig_send_split(struct rig *rig, struct weir_str bytes, size_t split);

/* Winds the clock in steps of 100 ms and settles after each. */
void rig_pass(struct rig *rig, double seconds);

struct weir_str rig_received(const struct rig *rig);

/* One answer at the front of what was received. */
struct rig_answer {
    unsigned status;
    struct weir_str head; /* with its empty line */
    struct weir_str body; /* chunks as they were sent */
    bool is_chunked, has_length, says_close;
    bool is_complete; /* what the framing promised is there */
};

/* Takes an answer off the front of *bytes, strictly; the body of a HEAD request is absent.
 * False when there is no whole head, or it is malformed. */
bool rig_next_answer(struct weir_str *bytes, bool to_head, struct rig_answer *out);

/* The value of a field in a head; .ptr NULL when absent. */
struct weir_str rig_field(struct weir_str head, const char *name);

/* The handler of the rig (rig_module.c), by path:
 *   /hello        200 "hello"                    /status/NNN  weir_reply_error(NNN)
 *   /echo         streams the body back          /sink        reads all, answers its length
 *   /bytes/N      N bytes of known length        /chunks/N    ">", and N times ten digits once
 *                                                           the request's body is there
 *   /slow-start   begins, writes nothing, waits for the body
 *   /short        declares 10, sends 5           /over        declares 5, sends 10
 *   /inject       a value with CR LF             /hop         Connection and Upgrade of its own
 *   /fail         WEIR_FAILED                    /lie         WEIR_DONE without an answer
 *   /stuck        WEIR_PENDING for nothing       /close       asks for Connection: close
 *   /nothing      204 with a body                /trailer     chunks and a trailer
 *   /hint         103, then 200 "hinted"         /fields      reads all, how many fields it had
 *   /ignore       answers without reading the body; anything else declines (404) */
extern const struct weir_module rig_module;

#endif
