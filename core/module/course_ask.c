/* SPDX-License-Identifier: MIT */
/*
 *     SERVER -> SERVER_HOOKS -> ROUTE -> ROUTE_HOOKS -> DONE
 *                 ^      |               ^   |  ^  \-- access is through --> BODY
 *                 +------+---- WAITING --+---+  +------ it is kept ------------+
 *
 * Any state ends in DONE when the core answers, or when the request ends.
 */
#include "module/course_parts.h"
#include "module/hook_figures.h"
#include "observe/log.h"

/* A hook that waits for what is there already is called again at once; so often, and it is at
 * fault. */
#define STALLS_MAX 3u

void
course_stop_asking(struct weir_request *request)
{
    struct course *course = course_of(request);
    if (course->ask_wait.kind != HOOK_WAIT_NONE) {
        course_cancel(request, &course->ask_wait, &course->chain->entries[course->ask_at]);
    }
    course->asker = ASKER_DONE;
}

static void
begin_server(struct weir_request *request, struct course *course)
{
    const struct course_map *map = course_map_of(request);
    course->is_timed = hook_figures_choose(map->hook_figures);
    course->chain = map->server(map, request);
    if (request->refusal != HEAD_ACCEPTED) {
        course_answer(request, head_refusal_status(request->refusal));
        return;
    }
    if (course->chain == NULL) {
        log_info("no server for host \"%.*s\" here: 421", WEIR_STR_ARG(request->host));
        course_answer(request, 421);
        return;
    }
    course->ask_at = course->chain->first[WEIR_ON_HEAD];
    course->asker = ASKER_SERVER_HOOKS;
}

/* No module has an answer. A ping of the server, which is about none of its resources, has one
 * all the same (RFC 9110 section 9.3.7). */
static void
answer_nothing(struct weir_request *request)
{
    if (!weir_str_eq(request->target.path, WEIR_STR("*"))) {
        course_answer(request, 404);
        return;
    }
    course_answer(request, 204);
    weir_reply_remove(request, WEIR_STR("Content-Type"));
    /* Without Allow: which methods there are is for the modules of each resource to say. */
}

static void
begin_route(struct weir_request *request, struct course *course)
{
    const struct chain *chain = course_map_of(request)->route(course_map_of(request), request);
    if (chain == NULL) {
        answer_nothing(request);
        return;
    }
    course->chain = chain;
    course->ask_at = chain->first[WEIR_ON_ACCESS];
    course->asker = ASKER_ROUTE_HOOKS;
    /* Refused before any of it is read, and before 100 Continue (F35). */
    if (request->head.body == HEAD_BODY_LENGTH &&
            request->head.body_bytes > request->limits->body_bytes) {
        course_answer(request, 413);
        request->reply.close = true; /* nothing more of it is interpreted (HTTP.md) */
    } else if (course_set_body_filters(request) < 0) {
        course_answer(request, 503);
    } else {
        course->keeps_body = request->limits->body_buffer_bytes > 0 &&
                request->head.body != HEAD_BODY_NONE;
    }
}

/* The hook has nothing to say after all: what it may have begun is not sent, and the next one
 * is asked. */
static void
step_back(struct weir_request *request, struct course *course)
{
    if (course->replier == REPLIER_FLOWING) {
        course_answer_fault(request, &course->chain->entries[course->ask_at],
                "steps back from an answer that is on its way");
        return;
    }
    course_stop_replying(request);
    course->stale = request->reply.beginnings;
    course->ask_at++;
}

/* What a hook said. */
static void
take_verdict(struct weir_request *request, struct course *course, enum weir_verdict verdict)
{
    const struct chain_entry *entry = &course->chain->entries[course->ask_at];
    if (verdict != WEIR_PENDING) {
        course_cancel(request, &course->ask_wait, entry); /* it thought better of it */
    }
    switch (verdict) {
    case WEIR_NEXT:
        step_back(request, course);
        return;
    case WEIR_DONE:
        if (request->reply.state == REPLY_NONE) {
            course_answer_fault(request, entry, "said that it answered, but did not");
            return;
        }
        reply_settle(request); /* it is not called again */
        course->asker = ASKER_DONE;
        return;
    case WEIR_PENDING:
        if (course->ask_wait.kind == HOOK_WAIT_NONE) {
            course_answer_fault(request, entry, "waits for nothing");
            return;
        }
        course->resumes_as = course->asker;
        course->asker = ASKER_WAITING;
        return;
    case WEIR_FAILED:
        break;
    }
    course_answer_fault(request, entry, "failed");
}

/* Asks hooks up to entry `end` until one has something to say; true when none is left. */
static bool
ask_hooks(struct weir_request *request, struct course *course, uint16_t end)
{
    enum weir_verdict verdict = course_call_quiet(request, &course->ask_wait, &course->ask_at,
            end);
    if (course->ask_at < end) {
        take_verdict(request, course, verdict);
        return false;
    }
    return true;
}

/* Those of the route; between access and prepare stand filters, which are not asked. */
static bool
ask_route(struct weir_request *request, struct course *course)
{
    const uint16_t *first = course->chain->first;
    bool has_border = first[WEIR_ON_REQUEST_BODY] != first[WEIR_ON_PREPARE] ||
            course->keeps_body;
    if (has_border && course->ask_at < first[WEIR_ON_REQUEST_BODY] &&
            !ask_hooks(request, course, first[WEIR_ON_REQUEST_BODY])) {
        return false;
    }
    if (has_border && course->ask_at < first[WEIR_ON_PREPARE]) {
        course->ask_at = first[WEIR_ON_PREPARE];
    }
    if (course->keeps_body) {
        course->keeps_body = false;
        request_body_keep(request);
        course->asker = ASKER_BODY;
        return false;
    }
    return ask_hooks(request, course, first[WEIR_ON_CONTENT + 1]);
}

/* Changes with everything that a hook's reading and writing moves. */
static uint64_t
progress_of(const struct weir_request *request)
{
    return request->in.received_bytes - request->in.read->bytes + request->reply.written_bytes +
            request->reply.beginnings;
}

/* Resumes the hook that waits. */
static void
resume_hook(struct weir_request *request, struct course *course)
{
    const struct chain_entry *entry = &course->chain->entries[course->ask_at];
    course->asker = course->resumes_as;
    enum weir_verdict verdict = course_resume(request, &course->ask_wait, entry);
    uint64_t progress = progress_of(request);
    bool has_stalled = verdict == WEIR_PENDING && course->ask_wait.kind != HOOK_WAIT_EVENT &&
            course->progress == progress && course_is_ripe(request, &course->ask_wait);
    course->progress = progress;
    course->stalls = has_stalled ? (uint8_t)(course->stalls + 1) : 0;
    if (course->stalls >= STALLS_MAX) {
        course_answer_fault(request, entry, "waits for what is there already");
        return;
    }
    take_verdict(request, course, verdict);
}

/* The body, or what is kept of it, has been read. */
static void
take_body(struct weir_request *request, struct course *course)
{
    if (request->in.error == 0) {
        course->asker = ASKER_ROUTE_HOOKS;
        return;
    }
    unsigned status = course_body_status(request);
    course_answer(request, status == 0 ? 500 : status);
}

bool
course_ask(struct weir_request *request)
{
    struct course *course = course_of(request);
    bool has_moved = false;
    for (;;) {
        switch (course->asker) {
        case ASKER_SERVER:
            begin_server(request, course);
            break;
        case ASKER_SERVER_HOOKS:
            if (ask_hooks(request, course, course->chain->first[WEIR_ON_REWRITE + 1])) {
                course->asker = ASKER_ROUTE;
            }
            break;
        case ASKER_ROUTE:
            begin_route(request, course);
            break;
        case ASKER_ROUTE_HOOKS:
            if (ask_route(request, course)) {
                answer_nothing(request);
            }
            break;
        case ASKER_BODY:
            if (!request_body_is_kept(request)) {
                return has_moved;
            }
            take_body(request, course);
            break;
        case ASKER_WAITING:
            if (!course_is_ripe(request, &course->ask_wait)) {
                return has_moved;
            }
            resume_hook(request, course);
            break;
        case ASKER_DONE:
            return has_moved;
        }
        has_moved = true;
    }
}
