/* SPDX-License-Identifier: MIT */
/* The two lines of body filters of a request: which stand in them, and what happens when one
 * waits or fails. */
#include <errno.h>

#include "module/course_parts.h"

/* ---- making the lines -------------------------------------------------------------------- */

int
course_set_body_filters(struct weir_request *request)
{
    struct course *course = course_of(request);
    const struct chain *chain = course->chain;
    uint16_t from = chain->first[WEIR_ON_REQUEST_BODY];
    uint16_t to = chain->first[WEIR_ON_REQUEST_BODY + 1];
    if (from == to || request->head.body == HEAD_BODY_NONE) {
        return 0;
    }
    for (uint16_t i = from; i < to; i++) {
        int r = filter_line_add(&course->body_filters, &request->arena, &request->in.queue,
                &chain->entries[i]);
        if (r < 0) {
            return r;
        }
    }
    request->in.read = &course->body_filters.last->output;
    return 0;
}

bool
course_has_reply_filters(const struct course *course)
{
    for (uint16_t i = 0; course->enabled != NULL && i < course->chain->use_count; i++) {
        if (course->enabled[i]) {
            return true;
        }
    }
    return false;
}

/* In the order of the chain. */
int
course_set_reply_filters(struct weir_request *request)
{
    struct course *course = course_of(request);
    const struct chain *chain = course->chain;
    for (uint16_t i = chain->first[WEIR_ON_REPLY_BODY];
            i < chain->first[WEIR_ON_REPLY_BODY + 1]; i++) {
        const struct chain_entry *entry = &chain->entries[i];
        if (course->enabled[entry->use] &&
                filter_line_add(&course->reply_filters, &request->arena, &request->reply.queue,
                        entry) < 0) {
            return -ENOMEM;
        }
    }
    if (course->reply_filters.first != NULL) {
        request->reply.wire = &course->reply_filters.last->output;
    }
    return 0;
}

void
course_stop_filters(struct weir_request *request, struct filter_line *line)
{
    for (struct weir_filter *filter = line->first; filter != NULL; filter = filter->next) {
        course_cancel(request, &filter->wait, filter->entry);
    }
}

/* ---- running them ------------------------------------------------------------------------ */

/* A filter_call_fn. A filter that waits is resumed first, and then called again. */
static enum weir_verdict
call_filter(void *context, struct weir_filter *filter)
{
    struct weir_request *request = context;
    struct hook_wait *slot = &filter->wait;
    enum weir_verdict verdict;
    if (slot->kind == HOOK_WAIT_NONE) {
        verdict = course_call_filter(request, filter);
    } else if (course_is_ripe(request, slot)) {
        verdict = course_resume(request, slot, filter->entry);
    } else {
        return WEIR_PENDING;
    }
    if (verdict != WEIR_PENDING) {
        course_cancel(request, slot, filter->entry); /* it thought better of it */
    } else if (slot->kind == HOOK_WAIT_NONE) {
        return WEIR_FAILED; /* waits for nothing */
    }
    return verdict;
}

/* The line cannot go on: the others in it wait no more. Says whose fault it was, and answers
 * the status that tells the client. */
static unsigned
take_fault(struct weir_request *request, struct filter_line *line, int error,
        const char *failed, const char *stalled)
{
    struct course *course = course_of(request);
    unsigned status = error == -ENOMEM ? 503 : 500;
    if (error == -EPROTO && course->filter_status != 0) {
        status = course->filter_status;
        course_log_fault(request, line->failed->entry,
                status == 503 ? "no thread of its pool does its work"
                              : "its work took too long");
    } else {
        course_log_fault(request, line->failed->entry, error == -ELOOP ? stalled : failed);
    }
    course_stop_filters(request, line);
    return status;
}

bool
course_flow_reply(struct weir_request *request)
{
    struct filter_line *line = &course_of(request)->reply_filters;
    if (line->first == NULL || request->reply.wire_ended || request->reply.is_broken) {
        return false;
    }
    bool moved = false;
    int r = filter_line_step(line, reply_is_written(&request->reply), call_filter, request,
            &moved);
    if (r < 0) {
        course_answer(request,
                take_fault(request, line, r, "failed: the answer is lost",
                        "three calls without progress: the answer is lost"));
        return true;
    }
    request->reply.wire_ended = line->last->has_ended;
    return moved;
}

bool
course_flow_body(struct weir_request *request)
{
    struct request_body *in = &request->in;
    struct filter_line *line = &course_of(request)->body_filters;
    if (line->first == NULL || !in->wanted || in->read_ended || in->error != 0) {
        return false;
    }
    bool moved = false;
    int r = filter_line_step(line, in->ended && !request_body_is_spilled(in), call_filter,
            request, &moved);
    if (r < 0) {
        unsigned status = take_fault(request, line, r, "failed: the body is refused",
                "three calls without progress: the body is refused");
        course_of(request)->filter_status = (uint16_t)status;
        in->error = status == 503 && r == -ENOMEM ? -ENOMEM : -EIO;
        return true;
    }
    in->read_ended = line->last->has_ended;
    return moved;
}
