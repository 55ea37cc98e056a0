/* SPDX-License-Identifier: MIT */
/* The doors, the one way into modules, and what the core says in a module's place. */
#include "module/course.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include <weir/log.h>

#include "base/assert.h"
#include "http/upgrade.h"
#include "module/course_parts.h"
#include "module/exchange.h"
#include "module/figures.h"
#include "module/hook_figures.h"
#include "module/internal.h"
#include "observe/flight.h"
#include "observe/log.h"

size_t
course_slab_bytes(void)
{
    return (sizeof(struct course) + 15) & ~(size_t)15;
}

const struct course_map *
course_map_of(const struct weir_request *request)
{
    return request->engine->handler_context;
}

/* ---- calling modules --------------------------------------------------------------------- */

/* Every call into a module goes in and out here. */
static void
enter_hook(struct weir_request *request, const struct chain_entry *entry)
{
    struct course *course = course_of(request);
    WEIR_ASSERT(course->calling == NULL);
    course->calling = entry;
    flight_enter(entry->flight, request);
}

static void
leave_hook(struct weir_request *request)
{
    flight_leave();
    course_of(request)->calling = NULL;
}

/* The cells of calls where this request's are counted. */
static metric_cell *
calls_of(const struct weir_request *request)
{
    metric_cell *calls = course_map_of(request)->calls;
    return calls != NULL ? calls : hook_figures_nowhere;
}

static uint64_t
clock_of(const struct weir_request *request)
{
    return clock_monotonic_ns(loop_clock(request->engine->loop));
}

/* One call, timed or not, and counted. */
static enum weir_verdict
call(struct weir_request *request, const struct chain_entry *entry, weir_request_fn *fn,
        struct weir_filter *filter)
{
    bool is_timed = course_of(request)->is_timed;
    uint64_t began_ns = is_timed ? clock_of(request) : 0;
    enter_hook(request, entry);
    enum weir_verdict verdict = fn != NULL ? fn(request, entry->conf)
                                           : entry->filter(request, entry->conf, filter);
    leave_hook(request);
    if (is_timed) {
        hook_figures_observe_call(course_map_of(request)->hook_figures, entry->calls,
                clock_of(request) - began_ns);
    }
    hook_figures_count(calls_of(request), entry->calls, verdict);
    return verdict;
}

enum weir_verdict
course_call(struct weir_request *request, struct hook_wait *slot,
        const struct chain_entry *entry, weir_request_fn *fn)
{
    course_of(request)->slot = slot;
    return call(request, entry, fn, NULL);
}

/* course_call_quiet() for a request whose calls are timed. */
static enum weir_verdict
call_timed(struct weir_request *request, struct hook_wait *slot, uint16_t *at, uint16_t end)
{
    const struct chain *chain = course_of(request)->chain;
    uint32_t beginnings = request->reply.beginnings;
    enum weir_verdict verdict = WEIR_NEXT;
    for (; *at < end; ++*at) {
        const struct chain_entry *entry = &chain->entries[*at];
        verdict = course_call(request, slot, entry, entry->request);
        if (verdict != WEIR_NEXT || slot->kind != HOOK_WAIT_NONE ||
                request->reply.beginnings != beginnings) {
            return verdict;
        }
    }
    return verdict;
}

/* The same as course_call() for each, but goes in once, from hook to hook, and out once: this
 * is on every request's way, and few instructions longer than the calls themselves. */
enum weir_verdict
course_call_quiet(struct weir_request *request, struct hook_wait *slot, uint16_t *at,
        uint16_t end)
{
    struct course *course = course_of(request);
    const struct chain_entry *entry = &course->chain->entries[*at];
    const struct chain_entry *last = &course->chain->entries[end];
    uint32_t beginnings = request->reply.beginnings;
    enum weir_verdict verdict = WEIR_NEXT;
    if (entry == last) {
        return verdict;
    }
    if (course->is_timed) {
        return call_timed(request, slot, at, end);
    }
    metric_cell *calls = calls_of(request);
    WEIR_ASSERT(course->calling == NULL);
    course->slot = slot;
    flight_begin(request);
    do {
        course->calling = entry;
        flight_go_on(entry->flight);
        verdict = entry->request(request, entry->conf);
        uint32_t said = (uint32_t)slot->kind | (request->reply.beginnings ^ beginnings);
        if (verdict != WEIR_NEXT || said != 0) {
            hook_figures_count(calls, entry->calls, verdict);
            break;
        }
        metric_count(&calls[entry->calls]);
        entry++;
    } while (entry != last);
    flight_leave();
    course->calling = NULL;
    *at = (uint16_t)(entry - course->chain->entries);
    return verdict;
}

enum weir_verdict
course_call_filter(struct weir_request *request, struct weir_filter *filter)
{
    course_of(request)->slot = &filter->wait;
    return call(request, filter->entry, NULL, filter);
}

size_t
course_describe(const void *object, char *dst, size_t bytes)
{
    const struct weir_request *request = object;
    const struct weir_str parts[] = {
        WEIR_STR("route \""),
        request->route_name,
        WEIR_STR("\", "),
        head_method(&request->head),
        WEIR_STR(" "),
        head_target(&request->head),
        request->id.len > 0 ? WEIR_STR(", request ") : WEIR_STR(""),
        request->id,
    };
    size_t at = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        size_t len = parts[i].len < bytes - at ? parts[i].len : bytes - at;
        if (len > 0) {
            memcpy(dst + at, parts[i].ptr, len);
        }
        at += len;
    }
    return at;
}

void *
weir_request_state(struct weir_request *request)
{
    const struct course *course = course_of(request);
    WEIR_ASSERT(course->calling != NULL);
    return (char *)request->slab + course->calling->state_at;
}

/* ---- faults ------------------------------------------------------------------------------ */

static void
log_hook(enum log_level level, const struct weir_request *request,
        const struct chain_entry *entry, const char *what)
{
    const struct course *course = course_of(request);
    struct weir_str target = head_target(&request->head);
    log_write_within((enum log_level)request->log_level, level,
            "module %s, hook %s, %.*s %.*s: %s", chain_entry_module(course->chain, entry),
            phase_name(entry->phase), WEIR_STR_ARG(head_method(&request->head)),
            (int)(target.len < 200 ? target.len : 200), target.ptr, what);
}

void
course_log_fault(const struct weir_request *request, const struct chain_entry *entry,
        const char *what)
{
    log_hook(LOG_ERROR, request, entry, what);
}

void
weir_request_log(const struct weir_request *request, enum weir_log_level level,
        const char *format, ...)
{
    static const enum log_level levels[] = {
        [WEIR_LOG_ERROR] = LOG_ERROR,
        [WEIR_LOG_WARN] = LOG_WARN,
        [WEIR_LOG_INFO] = LOG_INFO,
        [WEIR_LOG_DEBUG] = LOG_DEBUG,
    };
    const struct course *course = course_of(request);
    bool is_known = level >= WEIR_LOG_ERROR && level <= WEIR_LOG_DEBUG;
    enum log_level own = is_known ? levels[level] : LOG_DEBUG;
    if (own > request->log_level) {
        return;
    }
    WEIR_ASSERT(course->calling != NULL);
    char what[1024];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    if (len >= 0) {
        log_hook(own, request, course->calling, what);
    }
}

void
course_log_request(const struct weir_request *request, const char *what)
{
    struct weir_str target = head_target(&request->head);
    log_write_within((enum log_level)request->log_level, LOG_ERROR, "%.*s %.*s: %s",
            WEIR_STR_ARG(head_method(&request->head)),
            (int)(target.len < 200 ? target.len : 200), target.ptr, what);
}

unsigned
course_body_status(const struct weir_request *request)
{
    int error = request->in.error;
    if (error == -EIO) { /* a filter of ours */
        return course_of(request)->filter_status;
    }
    return error == 0 ? 0 : request_body_status(error);
}

void
course_answer(struct weir_request *request, unsigned status)
{
    struct course *course = course_of(request);
    struct reply *reply = &request->reply;
    course_stop_asking(request);
    bool was_committed = reply->state == REPLY_COMMITTED;
    if (!reply_replace(request, status)) {
        reply->is_broken |= !reply_is_ended(reply);
        return;
    }
    if (status == 503 && weir_reply_set(request, WEIR_STR("Retry-After"), WEIR_STR("1")) < 0) {
        reply->was_invalid = false; /* no memory for it: it goes without */
    }
    if (was_committed) {
        /* The hooks have seen one answer; this one goes as it is. */
        course_stop_filters(request, &course->reply_filters);
        course->reply_filters.first = NULL;
        reply->wire = &reply->queue;
        reply_commit(request);
    }
}

void
course_answer_fault(struct weir_request *request, const struct chain_entry *entry,
        const char *what)
{
    unsigned status = course_body_status(request);
    if (status == 0) {
        char line[128];
        snprintf(line, sizeof(line), "%s: %s", what,
                request->reply.head_left ? "its answer is cut" : "500");
        course_log_fault(request, entry, line);
        status = 500;
    }
    course_answer(request, status);
}

/* ---- doors ------------------------------------------------------------------------------- */

void
course_run(struct weir_request *request)
{
    if (request->forced_status != 0) {
        unsigned status = request->forced_status;
        request->forced_status = 0;
        course_of(request)->is_late = true;
        course_answer(request, status);
    }
    bool has_moved;
    do {
        has_moved = request->in.spill != NULL && request_body_refill(request);
        has_moved |= course_flow_body(request);
        has_moved |= course_ask(request);
        if (request->in.sink != NULL) {
            request->in.sink->look(request->in.sink);
        }
        has_moved |= reply_fill(request);
        has_moved |= request->reply.kept != NULL && reply_refill(request);
        has_moved |= course_reply(request);
    } while (has_moved);
}

/* What the core mended or could not mend in an answer. */
static void
log_misdeeds(const struct weir_request *request)
{
    const struct reply *reply = &request->reply;
    if (reply->had_hop) {
        course_log_request(request, "a field that is the server's was dropped from the answer");
    }
    if (reply->was_over) {
        course_log_request(request, "the answer was longer than its Content-Length: cut");
    }
    bool has_failed = request->end == REQUEST_END_ANSWER_FAILED && reply->is_broken;
    if (request->end == REQUEST_END_ANSWER_SHORT || (has_failed && !reply_is_switch(reply))) {
        course_log_request(request,
                "the answer could not be finished: the connection was closed");
    }
}

void
course_end(struct weir_request *request)
{
    struct course *course = course_of(request);
    /* Whoever waits for its body, or for room, learns from that that nothing will come. */
    struct request_body *in = &request->in;
    if (in->error == 0 && !request_body_is_read(in)) {
        in->error = -ECONNRESET;
    }
    request->is_gone |= request->end != REQUEST_END_COMPLETE;
    internal_drop_all(request);
    exchange_drop_all(request);
    course_stop_asking(request);
    course_stop_replying(request);
    course_stop_filters(request, &course->body_filters);
    course_stop_filters(request, &course->reply_filters);
    log_misdeeds(request);
    if (request->depth == 0) {
        figures_count_request(course_map_of(request)->figures, request);
    }
    course_begin_log(request);
}
