/* SPDX-License-Identifier: MIT */
/*
 *     NONE --wait_for()--> BODY, ROOM --it is there---+
 *       |                                             +--course_resume()--> NONE
 *       +----------------> EVENT --course_ripen()-----+
 *
 * and from each, course_cut() leads back to NONE.
 */
#include "base/assert.h"
#include "event/loop.h"
#include "module/course_parts.h"
#include "module/hook_figures.h"

bool
course_is_ripe(const struct weir_request *request, const struct hook_wait *slot)
{
    const struct request_body *in = &request->in;
    switch (slot->kind) {
    case HOOK_WAIT_NONE:
        return false;
    case HOOK_WAIT_BODY:
        return in->read->bytes > 0 || in->error != 0 || request_body_is_read(in);
    case HOOK_WAIT_ROOM:
        return reply_room(request) > 0 || request->is_gone || request->reply.is_broken;
    case HOOK_WAIT_EVENT:
        return slot->event->is_there;
    }
    return false;
}

/* Empties the slot. What an answer waits for its client to send is the client's time. */
static struct hook_wait
take(struct weir_request *request, struct hook_wait *slot, const struct chain_entry *entry)
{
    struct hook_wait taken = *slot;
    uint64_t waited_ns = loop_now_ns(request->engine->loop) - taken.began_ns;
    hook_figures_observe_wait(course_map_of(request)->hook_figures, entry->calls, waited_ns);
    if (taken.kind == HOOK_WAIT_BODY && !request->reply.head_left) {
        request->body_waited_ns += waited_ns;
    }
    *slot = (struct hook_wait){ .kind = HOOK_WAIT_NONE };
    return taken;
}

enum weir_verdict
course_resume(struct weir_request *request, struct hook_wait *slot,
        const struct chain_entry *entry)
{
    struct course *course = course_of(request);
    struct hook_wait taken = take(request, slot, entry);
    course->awaited = taken.event;
    return course_call(request, slot, entry, taken.resume);
}

void
course_cut(struct weir_request *request, struct hook_wait *slot,
        const struct chain_entry *entry)
{
    struct course *course = course_of(request);
    struct hook_wait taken = take(request, slot, entry);
    course->awaited = taken.event;
    if (taken.kind != HOOK_WAIT_EVENT) {
        if (request->end != REQUEST_RUNS) {
            (void)course_call(request, NULL, entry, taken.resume);
        }
    } else if (taken.event->aborted != NULL) {
        (void)course_call(request, NULL, entry, taken.event->aborted);
    } else if (!taken.event->is_there) {
        taken.event->abandon(taken.event);
    }
}

/* ---- what modules call ------------------------------------------------------------------- */

static enum weir_verdict
wait_for(struct weir_request *request, enum hook_wait_kind kind, weir_request_fn *resume,
        struct course_wait *event)
{
    struct course *course = course_of(request);
    struct hook_wait *slot = course->calling == NULL ? NULL : course->slot;
    if (slot == NULL) {
        course->refused = course->calling;
        return WEIR_FAILED;
    }
    if (slot->kind != HOOK_WAIT_NONE || resume == NULL) {
        return WEIR_FAILED;
    }
    if (course->calling->phase == WEIR_ON_LOG && course_keep_for_log(request) < 0) {
        course->refused = course->calling;
        return WEIR_FAILED;
    }
    *slot = (struct hook_wait){ kind, resume, event, loop_now_ns(request->engine->loop) };
    return WEIR_PENDING;
}

bool
course_may_answer(const struct weir_request *request)
{
    const struct course *course = course_of(request);
    return course->calling != NULL && course->slot == &course->ask_wait &&
            course->calling->phase != WEIR_ON_LOG;
}

enum weir_verdict
weir_body_wait(struct weir_request *request, weir_request_fn *resume)
{
    request->in.wanted = true;
    return course_may_answer(request) ? wait_for(request, HOOK_WAIT_BODY, resume, NULL)
                                      : WEIR_FAILED;
}

enum weir_verdict
weir_reply_wait(struct weir_request *request, weir_request_fn *resume)
{
    return course_may_answer(request) ? wait_for(request, HOOK_WAIT_ROOM, resume, NULL)
                                      : WEIR_FAILED;
}

enum weir_verdict
course_wait_for(struct weir_request *request, struct course_wait *wait, weir_request_fn *resume)
{
    enum weir_verdict verdict = wait_for(request, HOOK_WAIT_EVENT, resume, wait);
    if (verdict == WEIR_PENDING) {
        wait->request = request;
        wait->is_there = false;
    }
    return verdict;
}

struct course_wait *
course_awaited(const struct weir_request *request)
{
    return course_of(request)->awaited;
}

void
course_ripen(struct course_wait *wait)
{
    struct weir_request *request = wait->request;
    WEIR_ASSERT(!wait->is_there);
    wait->is_there = true;
    if (course_of(request)->log != NULL) {
        course_wake_log(request);
    } else {
        request_wake(request);
    }
}

enum weir_verdict
course_overload(struct weir_request *request, enum weir_wake how)
{
    struct course *course = course_of(request);
    unsigned status = how == WEIR_BUSY ? 503 : 504;
    switch (course->calling->phase) {
    case WEIR_ON_LOG:
        return WEIR_NEXT;
    case WEIR_ON_REQUEST_BODY:
    case WEIR_ON_REPLY_BODY:
        course->filter_status = (uint16_t)status;
        return WEIR_FAILED;
    default:
        break;
    }
    enum weir_verdict verdict = weir_reply_error(request, status);
    if (verdict == WEIR_DONE && how == WEIR_BUSY &&
            weir_reply_set(request, WEIR_STR("Retry-After"), WEIR_STR("1")) < 0) {
        return WEIR_FAILED;
    }
    return verdict;
}
