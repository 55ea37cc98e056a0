/* SPDX-License-Identifier: MIT */
/* What the walkers of a request's course share: its state, the one way into modules, waiting,
 * and the answers that the core gives in a module's place. Private to course*.c.
 *
 *     course.c          the doors, calling modules, faults, the core's answers
 *     course_wait.c     a walker waits, goes on, or is cut off
 *     course_ask.c      asks hooks for an answer
 *     course_reply.c    takes the answer through the reply-head hooks
 *     course_filter.c   both lines of body filters
 *     course_log.c      the log phase, when the transport has let go
 */
#ifndef WEIR_MODULE_COURSE_PARTS_H
#define WEIR_MODULE_COURSE_PARTS_H

#include "http/request.h"
#include "module/course.h"
#include "module/filter.h"
#include "module/hook_wait.h"

enum asker_state {
    ASKER_SERVER,
    ASKER_SERVER_HOOKS,
    ASKER_ROUTE,
    ASKER_ROUTE_HOOKS,
    ASKER_BODY,
    ASKER_WAITING,
    ASKER_DONE,
};

enum replier_state {
    REPLIER_IDLE,
    REPLIER_HOOKS,
    REPLIER_FLOWING,
};

/* At the front of each request's slab. */
struct course {
    const struct chain *chain;         /* the server's, then the route's */
    const struct chain_entry *calling; /* the hook that runs; NULL: none */
    const struct chain_entry
            *refused;            /* the last hook that was not given a wait, for it is late */
    struct hook_wait *slot;      /* of the walker whose hook runs; NULL: it may not wait */
    struct course_wait *awaited; /* what the function that runs resumes from */

    /* The asker; in the log phase, ask_at and ask_wait are the log's. */
    enum asker_state asker, resumes_as;
    uint16_t ask_at, reply_at; /* entries of the chain */
    uint8_t stalls;            /* resumes in a row that found nothing changed */
    bool is_timed;             /* calls of its hooks are (module/hook_figures.h) */
    bool keeps_body;           /* limits.body_buffer: it is read before the phase prepare */
    bool is_late;              /* timeouts.request is over: reply-head hooks wait no more */
    bool is_replacing; /* the reply-head hook at reply_at has begun an answer of its own */
    struct hook_wait ask_wait, reply_wait;
    uint64_t progress;   /* when the asker's hook was resumed last */
    uint32_t stale;      /* reply.beginnings of an answer whose author stepped back */
    uint32_t beginnings; /* reply.beginnings that the reply-head hooks are seeing */

    /* The replier and the filters. */
    enum replier_state replier;
    uint16_t filter_status; /* not 0: what answers a body that a filter could not do */
    struct filter_line reply_filters, body_filters;
    uint8_t *enabled;     /* per use: its reply filter was switched on; NULL: none was */
    struct log_walk *log; /* in the arena; NULL but in a log phase that has waited */
};

static inline struct course *
course_of(const struct weir_request *request)
{
    return request->slab;
}

/* ---- course.c ---- */

/* Calls a function of a module in the place of `entry`; `slot` is the walker's, NULL: it may
 * not wait. */
enum weir_verdict course_call(struct weir_request *request, struct hook_wait *slot,
        const struct chain_entry *entry, weir_request_fn *fn);
enum weir_verdict course_call_filter(struct weir_request *request, struct weir_filter *filter);

/* Calls hooks from *at up to `end` for as long as they have nothing to say, as most do on every
 * request's way: WEIR_NEXT, without a wait and without an answer begun. Returns WEIR_NEXT with
 * *at == end when all are through; else *at is the one that said something, and the answer is
 * its verdict. */
enum weir_verdict course_call_quiet(struct weir_request *request, struct hook_wait *slot,
        uint16_t *at, uint16_t end);

/* A line in the log that names module and hook (course_log_request() names none). */
void course_log_fault(const struct weir_request *request, const struct chain_entry *entry,
        const char *what);

/* The status that tells the client what was wrong with its body; 0 when nothing was. */
unsigned course_body_status(const struct weir_request *request);

/* The core answers in the modules' place. An answer whose head has left can only be cut. */
void course_answer(struct weir_request *request, unsigned status);

/* The hook could not do its work; the log is told `what`, and what follows from it. When the
 * body it read was at fault, so is the client. */
void course_answer_fault(struct weir_request *request, const struct chain_entry *entry,
        const char *what);

/* ---- course_wait.c ---- */

/* True when what the walker waits for is there. */
bool course_is_ripe(const struct weir_request *request, const struct hook_wait *slot);

/* Calls the function that the walker's hook left behind, in its place. */
enum weir_verdict course_resume(struct weir_request *request, struct hook_wait *slot,
        const struct chain_entry *entry);

/* The walker waits no longer. What it waits for is told, or the module itself where it has
 * something to clean up; once the request has ended, also a hook that waits for its body or for
 * room. The module's answer would have no one to go to. Nothing when it does not wait. */
void course_cut(struct weir_request *request, struct hook_wait *slot,
        const struct chain_entry *entry);

static inline void
course_cancel(struct weir_request *request, struct hook_wait *slot,
        const struct chain_entry *entry)
{
    if (slot->kind != HOOK_WAIT_NONE) {
        course_cut(request, slot, entry);
    }
}

/* ---- the walkers: each goes as far as it can; true when it got anywhere ---- */

bool course_ask(struct weir_request *request);
bool course_reply(struct weir_request *request);
bool course_flow_body(struct weir_request *request);
bool course_flow_reply(struct weir_request *request);

void course_stop_asking(struct weir_request *request);
void course_stop_replying(
        struct weir_request *request); /* the hooks begin again with the next */
void course_stop_filters(struct weir_request *request, struct filter_line *line);

/* The route's request-body filters, between the transport and whoever reads; and those of the
 * reply that were switched on. 0 or -ENOMEM. */
WEIR_MUST_USE int course_set_body_filters(struct weir_request *request);
WEIR_MUST_USE int course_set_reply_filters(struct weir_request *request);
bool course_has_reply_filters(const struct course *course);

/* ---- course_log.c ---- */

/* Calls the log hooks and frees the request, now or when they are through. */
void course_begin_log(struct weir_request *request);

/* The log hook that runs is about to wait: the request is kept. 0, or a negative errno when it
 * must not be. */
WEIR_MUST_USE int course_keep_for_log(struct weir_request *request);

/* What a kept request waits for is there. */
void course_wake_log(struct weir_request *request);

#endif
