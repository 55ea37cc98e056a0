/* SPDX-License-Identifier: MIT */
/*
 *     IDLE --an answer with a byte or its end--> HOOKS --all are through--> FLOWING
 *       ^                                          |
 *       +-- it was begun anew by its author, ------+
 *           or by the core
 *
 * While a reply-head hook waits the answer is held: nothing of it leaves, and whoever writes it
 * goes on until there is no more room.
 */
#include <errno.h>

#include "http/representation.h"
#include "http/upgrade.h"
#include "module/course_parts.h"

static void
forget_filters(struct course *course)
{
    if (course->enabled != NULL) {
        memset(course->enabled, 0, course->chain->use_count);
    }
}

void
course_stop_replying(struct weir_request *request)
{
    struct course *course = course_of(request);
    if (course->replier != REPLIER_HOOKS) {
        return;
    }
    if (course->reply_wait.kind != HOOK_WAIT_NONE) {
        course_cancel(request, &course->reply_wait, &course->chain->entries[course->reply_at]);
    }
    course->is_replacing = false;
    forget_filters(course);
    course->replier = REPLIER_IDLE;
}

/* The answer was begun anew: whoever wrote the old one is done, and no filter that was switched
 * on for it knows the new one. */
static void
take_replacement(struct weir_request *request, struct course *course)
{
    course_stop_asking(request);
    forget_filters(course);
    course->beginnings = request->reply.beginnings;
}

static void
replace(struct weir_request *request, struct course *course, unsigned status)
{
    course_stop_asking(request);
    reply_replace(request, status);
    take_replacement(request, course);
}

/* What no hook may let out. */
static void
check_reply(struct weir_request *request, struct course *course)
{
    struct reply *reply = &request->reply;
    if (reply->was_invalid) {
        course_log_request(request, "an answer with an invalid field: 500");
        replace(request, course, 500);
    } else if (request->head.method == METHOD_CONNECT && reply->status < 300) {
        /* The client would take it for an open tunnel (RFC 9110 section 9.3.6). */
        course_log_request(request,
                "a success in answer to CONNECT, but this is no tunnel: 501");
        replace(request, course, 501);
    }
}

/* What a reply-head hook said. True when it is through. */
static bool
take_verdict(struct weir_request *request, struct course *course,
        const struct chain_entry *entry, enum weir_verdict verdict)
{
    bool is_waiting = verdict == WEIR_PENDING && course->reply_wait.kind != HOOK_WAIT_NONE;
    if (!is_waiting) {
        course_cancel(request, &course->reply_wait, entry); /* it thought better of it */
    }
    if (verdict == WEIR_PENDING && !is_waiting) {
        course_log_fault(request, entry, "waits for nothing: 500");
        reply_replace(request, 500);
    } else if (verdict == WEIR_FAILED && !(course->is_late && course->refused == entry)) {
        course_log_fault(request, entry, "failed: 500");
        reply_replace(request, 500);
    }
    if (request->reply.beginnings != course->beginnings) {
        take_replacement(request, course);
        course->is_replacing = true;
    }
    if (is_waiting) {
        return false;
    }
    if (course->is_replacing) {
        reply_settle(request); /* what begins an answer here must also end it */
        course->is_replacing = false;
    }
    return true;
}

/* Calls hooks until one waits. True when all are through. */
static bool
call_hooks(struct weir_request *request, struct course *course)
{
    const struct chain *chain = course->chain;
    uint16_t end = chain == NULL ? 0 : chain->first[WEIR_ON_REPLY_HEAD + 1];
    struct hook_wait *slot = &course->reply_wait;
    while (course->reply_at < end) {
        const struct chain_entry *entry = &chain->entries[course->reply_at];
        enum weir_verdict verdict;
        if (course->is_late) {
            verdict = course_call(request, NULL, entry, entry->request);
        } else if (slot->kind == HOOK_WAIT_NONE) {
            verdict = course_call_quiet(request, slot, &course->reply_at, end);
            if (course->reply_at == end) {
                return true;
            }
            entry = &chain->entries[course->reply_at];
        } else if (course_is_ripe(request, slot)) {
            verdict = course_resume(request, slot, entry);
        } else {
            return false;
        }
        if (!take_verdict(request, course, entry, verdict)) {
            return false;
        }
        course->reply_at++;
    }
    return true;
}

/* The hooks are through: the answer may leave. */
static void
commit(struct weir_request *request, struct course *course)
{
    check_reply(request, course);
    if (reply_is_switch(&request->reply) ||
            representation_settle(request, course_has_reply_filters(course))) {
        course->enabled = NULL; /* filters were for the representation, none is for a tunnel */
    }
    bool has_filters = course_has_reply_filters(course);
    request->reply.hides_length |= has_filters && reply_is_bodiless(request);
    if (has_filters && !reply_is_bodiless(request) && course_set_reply_filters(request) < 0) {
        course->reply_filters.first = NULL;
        request->reply.wire = &request->reply.queue;
        replace(request, course, 503);
    }
    reply_commit(request);
    course->replier = REPLIER_FLOWING;
}

bool
course_reply(struct weir_request *request)
{
    struct course *course = course_of(request);
    const struct reply *reply = &request->reply;
    switch (course->replier) {
    case REPLIER_IDLE:
        if (reply->state != REPLY_BEGUN || reply->beginnings == course->stale ||
                (reply->queue.bytes == 0 && !reply->ended && !reply->is_head_due)) {
            return false;
        }
        course->beginnings = reply->beginnings;
        course->reply_at = course->chain == NULL ? 0 : course->chain->first[WEIR_ON_REPLY_HEAD];
        course->replier = REPLIER_HOOKS;
        return true;
    case REPLIER_HOOKS:
        if (reply->beginnings != course->beginnings) {
            course_stop_replying(request); /* not by one of them: another answer */
            return true;
        }
        if (!call_hooks(request, course)) {
            return false;
        }
        commit(request, course);
        return true;
    case REPLIER_FLOWING:
        return course_flow_reply(request);
    }
    return false;
}

/* ---- what reply-head hooks call ---------------------------------------------------------- */

/* RFC 9110 section 8.8.1: a transformed representation keeps its validator only as a weak one.
 */
static int
weaken_etag(struct weir_request *request)
{
    struct weir_str etag = weir_reply_field(request, WEIR_STR("ETag"));
    if (etag.ptr == NULL || weir_str_starts_with(etag, WEIR_STR("W/"))) {
        return 0;
    }
    char *weak = arena_alloc(&request->arena, etag.len + 2);
    if (weak == NULL) {
        return -ENOMEM;
    }
    memcpy(weak, "W/", 2);
    memcpy(weak + 2, etag.ptr, etag.len);
    return weir_reply_set(request, WEIR_STR("ETag"), weir_str_make(weak, etag.len + 2));
}

int
weir_filter_enable(struct weir_request *request)
{
    struct course *course = course_of(request);
    if (course->calling == NULL || course->calling->phase != WEIR_ON_REPLY_HEAD) {
        return -EINVAL;
    }
    if (course->enabled == NULL) {
        course->enabled = arena_zalloc(&request->arena, course->chain->use_count);
        if (course->enabled == NULL) {
            return -ENOMEM;
        }
    }
    int r = weaken_etag(request);
    if (r < 0) {
        return r;
    }
    weir_reply_remove(request, WEIR_STR("Content-Length"));
    weir_reply_remove(request, WEIR_STR("Accept-Ranges"));
    course->enabled[course->calling->use] = 1;
    return 0;
}
