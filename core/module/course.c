/* SPDX-License-Identifier: MIT */
/*
 *     asker:    SERVER -> HEAD, REWRITE -> ROUTE -> ACCESS, PREPARE, CONTENT -> DONE
 *                            ^    |                      ^    |
 *                            +----+ WAITING              +----+ WAITING
 *
 *     replier:  IDLE --(answer with a byte or its end)--> HOOKS --> FLOWING
 */
#include "module/course.h"

#include <errno.h>

#include "base/assert.h"
#include "http/representation.h"
#include "module/filter.h"
#include "observe/log.h"

/* A hook that waits for what is there already is called again at once; so often, and it is at
 * fault. */
#define STALLS_MAX 3u

enum asker_state {
    ASKER_SERVER,
    ASKER_SERVER_HOOKS,
    ASKER_ROUTE,
    ASKER_ROUTE_HOOKS,
    ASKER_WAITING,
    ASKER_DONE,
};

enum replier_state {
    REPLIER_IDLE,
    REPLIER_HOOKS,
    REPLIER_FLOWING,
};

enum wait_kind {
    WAIT_NONE,
    WAIT_BODY,
    WAIT_ROOM,
    WAIT_EVENT /* course_ripen() */
};

struct course {
    const struct chain *chain;         /* the server's, then the route's */
    const struct chain_entry *calling; /* the hook that runs; NULL: none */
    enum asker_state asker, resumes_as;
    enum replier_state replier;
    enum wait_kind wait;
    uint16_t ask_at, reply_at; /* entries of the chain */
    weir_request_fn *resume;   /* of the hook at ask_at; set while ASKER_WAITING */
    struct course_wait *event; /* borrowed: what WAIT_EVENT waits for */
    bool is_event_there;
    bool is_ended;     /* nothing may wait any more */
    uint8_t stalls;    /* resumes in a row that found nothing changed */
    uint64_t progress; /* course_progress() when the hook was resumed last */
    struct filter_line reply_filters, body_filters;
    uint8_t *enabled; /* per use: its reply filter was switched on; NULL: none was */
};

static struct course *
course_of(const struct weir_request *request)
{
    return request->slab;
}

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
}

static enum weir_verdict
leave_hook(struct weir_request *request, enum weir_verdict verdict)
{
    course_of(request)->calling = NULL;
    return verdict;
}

static enum weir_verdict
call(struct weir_request *request, const struct chain_entry *entry, weir_request_fn *fn)
{
    enter_hook(request, entry);
    return leave_hook(request, fn(request, entry->conf));
}

static enum weir_verdict
call_filter(void *context, struct weir_filter *filter)
{
    struct weir_request *request = context;
    const struct chain_entry *entry = filter->entry;
    enter_hook(request, entry);
    return leave_hook(request, entry->filter(request, entry->conf, filter));
}

static void
log_fault(const struct weir_request *request, const struct chain_entry *entry, const char *what)
{
    const struct course *course = course_of(request);
    struct weir_str target = head_target(&request->head);
    log_error("module %s, hook %s, %.*s %.*s: %s", chain_entry_module(course->chain, entry),
            phase_name(entry->phase), WEIR_STR_ARG(head_method(&request->head)),
            (int)(target.len < 200 ? target.len : 200), target.ptr, what);
}

/* The same where no hook is to be named. */
static void
log_request(const struct weir_request *request, const char *what)
{
    struct weir_str target = head_target(&request->head);
    log_error("%.*s %.*s: %s", WEIR_STR_ARG(head_method(&request->head)),
            (int)(target.len < 200 ? target.len : 200), target.ptr, what);
}

/* The status that tells the client what was wrong with its body; 0 when nothing was. */
static unsigned
body_error_status(const struct weir_request *request)
{
    switch (request->in.error) {
    case 0:
        return 0;
    case -EMSGSIZE:
        return 413;
    case -E2BIG:
        return 431;
    case -ETIMEDOUT:
        return 408;
    case -ENOMEM:
        return 503;
    case -EIO: /* a filter of ours */
        return 500;
    default:
        return 400;
    }
}

/* The hook that waits does so no longer. What it waits for is told, or the module itself where
 * it has something to clean up; its answer would have no one to go to. */
static void
cancel_wait(struct weir_request *request)
{
    struct course *course = course_of(request);
    bool is_event = course->wait == WAIT_EVENT;
    course->wait = WAIT_NONE;
    course->resume = NULL;
    if (is_event && course->event->aborted != NULL) {
        (void)call(request, &course->chain->entries[course->ask_at], course->event->aborted);
    } else if (is_event && !course->is_event_there) {
        course->event->abandon(course->event);
    }
}

static void
stop_asking(struct weir_request *request)
{
    cancel_wait(request);
    course_of(request)->asker = ASKER_DONE;
}

/* The core answers in the modules' place. An answer whose head has left can only be cut. */
static void
answer(struct weir_request *request, unsigned status)
{
    struct course *course = course_of(request);
    struct reply *reply = &request->reply;
    stop_asking(request);
    bool was_committed = reply->state == REPLY_COMMITTED;
    if (!reply_replace(request, status)) {
        reply->is_broken |= !reply_is_ended(reply);
    } else if (was_committed) {
        /* The hooks have seen one answer; this one goes as it is. */
        course->reply_filters.first = NULL;
        reply->wire = &reply->queue;
        reply_commit(request);
    }
}

/* The hook could not do its work. When the body it read was at fault, so is the client. */
static void
answer_fault(struct weir_request *request, const struct chain_entry *entry, const char *what)
{
    unsigned status = body_error_status(request);
    if (status == 0) {
        log_fault(request, entry, what);
        status = 500;
    }
    answer(request, status);
}

/* ---- the asker --------------------------------------------------------------------------- */

static void
begin_server(struct weir_request *request, struct course *course)
{
    course->chain = course_map_of(request)->server(course_map_of(request), request);
    if (request->refusal != HEAD_ACCEPTED) {
        answer(request, head_refusal_status(request->refusal));
        return;
    }
    if (course->chain == NULL) {
        log_info("no server for host \"%.*s\" here: 421", WEIR_STR_ARG(request->host));
        answer(request, 421);
        return;
    }
    course->ask_at = course->chain->first[WEIR_ON_HEAD];
    course->asker = ASKER_SERVER_HOOKS;
}

/* Puts the route's request-body filters between the transport and whoever reads. */
static int
set_body_filters(struct weir_request *request, struct course *course)
{
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

static void
begin_route(struct weir_request *request, struct course *course)
{
    const struct chain *chain = course_map_of(request)->route(course_map_of(request), request);
    if (chain == NULL) {
        answer(request, 404);
        return;
    }
    course->chain = chain;
    course->ask_at = chain->first[WEIR_ON_ACCESS];
    course->asker = ASKER_ROUTE_HOOKS;
    /* Refused before any of it is read, and before 100 Continue (F35). */
    if (request->head.body == HEAD_BODY_LENGTH &&
            request->head.body_bytes > request->limits->body_bytes) {
        answer(request, 413);
        request->reply.close = true; /* nothing more of it is interpreted (HTTP.md) */
    } else if (set_body_filters(request, course) < 0) {
        answer(request, 503);
    }
}

/* What a hook of the asker said. */
static void
take_verdict(struct weir_request *request, struct course *course, enum weir_verdict verdict)
{
    const struct chain_entry *entry = &course->chain->entries[course->ask_at];
    if (verdict != WEIR_PENDING) {
        cancel_wait(request); /* it thought better of it */
    }
    switch (verdict) {
    case WEIR_NEXT:
        course->ask_at++;
        return;
    case WEIR_DONE:
        if (request->reply.state == REPLY_NONE) {
            answer_fault(request, entry, "said that it answered, but did not: 500");
            return;
        }
        /* It is not called again, so nothing can follow. */
        weir_reply_end(request);
        course->asker = ASKER_DONE;
        return;
    case WEIR_PENDING:
        if (course->wait == WAIT_NONE) {
            answer_fault(request, entry, "waits for nothing: 500");
            return;
        }
        course->resumes_as = course->asker;
        course->asker = ASKER_WAITING;
        return;
    case WEIR_FAILED:
        break;
    }
    answer_fault(request, entry, "failed: 500");
}

/* The next hook of the phases up to `last`; true when there are no more. */
static bool
ask_next(struct weir_request *request, struct course *course, enum weir_phase last)
{
    const struct chain *chain = course->chain;
    /* Filters stand among the phases and are not asked. */
    while (course->ask_at < chain->first[last + 1] &&
            chain->entries[course->ask_at].phase == WEIR_ON_REQUEST_BODY) {
        course->ask_at++;
    }
    if (course->ask_at >= chain->first[last + 1]) {
        return true;
    }
    const struct chain_entry *entry = &chain->entries[course->ask_at];
    take_verdict(request, course, call(request, entry, entry->request));
    return false;
}

/* True when what the hook waits for is there. */
static bool
is_ripe(const struct weir_request *request, const struct course *course)
{
    const struct request_body *in = &request->in;
    switch (course->wait) {
    case WAIT_NONE:
        return false;
    case WAIT_BODY:
        return in->read->bytes > 0 || in->error != 0 || request_body_is_read(in);
    case WAIT_ROOM:
        return reply_room(request) > 0 || request->is_gone || request->reply.is_broken;
    case WAIT_EVENT:
        return course->is_event_there;
    }
    return false;
}

/* Changes with everything that a hook's reading and writing moves. */
static uint64_t
course_progress(const struct weir_request *request)
{
    return request->in.received_bytes - request->in.read->bytes + request->reply.written_bytes +
            request->reply.beginnings;
}

/* Resumes the hook that waits. */
static void
resume_hook(struct weir_request *request, struct course *course)
{
    const struct chain_entry *entry = &course->chain->entries[course->ask_at];
    weir_request_fn *fn = course->resume;
    course->asker = course->resumes_as;
    course->wait = WAIT_NONE;
    course->resume = NULL;
    enum weir_verdict verdict = call(request, entry, fn);
    uint64_t progress = course_progress(request);
    bool has_stalled = verdict == WEIR_PENDING && course->wait != WAIT_EVENT &&
            course->progress == progress && is_ripe(request, course);
    course->progress = progress;
    course->stalls = has_stalled ? (uint8_t)(course->stalls + 1) : 0;
    if (course->stalls >= STALLS_MAX) {
        answer_fault(request, entry, "waits for what is there already: 500");
        return;
    }
    take_verdict(request, course, verdict);
}

/* Goes on as far as hooks let it. True when it got anywhere. */
static bool
ask(struct weir_request *request, struct course *course)
{
    bool has_moved = false;
    for (;;) {
        switch (course->asker) {
        case ASKER_SERVER:
            begin_server(request, course);
            break;
        case ASKER_SERVER_HOOKS:
            if (ask_next(request, course, WEIR_ON_REWRITE)) {
                course->asker = ASKER_ROUTE;
            }
            break;
        case ASKER_ROUTE:
            begin_route(request, course);
            break;
        case ASKER_ROUTE_HOOKS:
            if (ask_next(request, course, WEIR_ON_CONTENT)) {
                answer(request, 404);
            }
            break;
        case ASKER_WAITING:
            if (!is_ripe(request, course)) {
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

/* ---- the replier ------------------------------------------------------------------------- */

/* Lines up the filters that were switched on, in the order of the chain. */
static int
set_reply_filters(struct weir_request *request, struct course *course)
{
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

/* The answer was begun anew: whoever wrote the old one is done, and no filter that was switched
 * on for it knows the new one. What begins an answer here must also end it. */
static void
take_replacement(struct weir_request *request, struct course *course)
{
    stop_asking(request);
    weir_reply_end(request);
    if (course->enabled != NULL) {
        memset(course->enabled, 0, course->chain->use_count);
    }
}

/* What no hook may let out. */
static void
check_reply(struct weir_request *request, struct course *course)
{
    struct reply *reply = &request->reply;
    if (reply->was_invalid) {
        log_request(request, "an answer with an invalid field: 500");
        reply_replace(request, 500);
        take_replacement(request, course);
    } else if (request->head.method == METHOD_CONNECT && reply->status < 300) {
        /* The client would take it for an open tunnel (RFC 9110 section 9.3.6). */
        log_request(request, "a success in answer to CONNECT, but this is no tunnel: 501");
        reply_replace(request, 501);
        take_replacement(request, course);
    }
}

static bool
has_enabled_filter(const struct course *course)
{
    for (uint16_t i = 0; course->enabled != NULL && i < course->chain->use_count; i++) {
        if (course->enabled[i]) {
            return true;
        }
    }
    return false;
}

static void
run_reply_hooks(struct weir_request *request, struct course *course)
{
    const struct chain *chain = course->chain;
    uint32_t beginnings = request->reply.beginnings;
    for (; chain != NULL && course->reply_at < chain->first[WEIR_ON_REPLY_HEAD + 1];
            course->reply_at++) {
        const struct chain_entry *entry = &chain->entries[course->reply_at];
        enum weir_verdict verdict = call(request, entry, entry->request);
        if (verdict == WEIR_FAILED || verdict == WEIR_PENDING) {
            log_fault(request, entry,
                    verdict == WEIR_FAILED
                            ? "failed: 500"
                            : "waits, which this phase cannot in this build: 500");
            reply_replace(request, 500);
        }
        if (request->reply.beginnings != beginnings) {
            beginnings = request->reply.beginnings;
            take_replacement(request, course);
        }
    }
    check_reply(request, course);
    if (representation_settle(request, has_enabled_filter(course))) {
        course->enabled = NULL; /* filters were for the representation */
    }
    bool has_filters = has_enabled_filter(course);
    request->reply.hides_length = has_filters && reply_is_bodiless(request);
    if (has_filters && !reply_is_bodiless(request) && set_reply_filters(request, course) < 0) {
        reply_replace(request, 503);
        take_replacement(request, course);
        course->reply_filters.first = NULL;
        request->reply.wire = &request->reply.queue;
    }
    reply_commit(request);
    course->replier = REPLIER_FLOWING;
}

static bool
flow_reply(struct weir_request *request, struct course *course)
{
    struct filter_line *line = &course->reply_filters;
    if (line->first == NULL || request->reply.wire_ended || request->reply.is_broken) {
        return false;
    }
    bool moved = false;
    int r = filter_line_step(line, request->reply.ended, call_filter, request, &moved);
    if (r < 0) {
        log_fault(request, line->failed->entry,
                r == -ELOOP ? "three calls without progress: the answer is lost"
                            : "failed: the answer is lost");
        answer(request, r == -ENOMEM ? 503 : 500);
        return true;
    }
    request->reply.wire_ended = line->last->has_ended;
    return moved;
}

static bool
reply(struct weir_request *request, struct course *course)
{
    const struct reply *reply = &request->reply;
    switch (course->replier) {
    case REPLIER_IDLE:
        if (reply->state != REPLY_BEGUN || (reply->queue.bytes == 0 && !reply->ended)) {
            return false;
        }
        course->reply_at = course->chain == NULL ? 0 : course->chain->first[WEIR_ON_REPLY_HEAD];
        course->replier = REPLIER_HOOKS;
        return true;
    case REPLIER_HOOKS:
        run_reply_hooks(request, course);
        return true;
    case REPLIER_FLOWING:
        return flow_reply(request, course);
    }
    return false;
}

/* ---- request body filters ---------------------------------------------------------------- */

static bool
flow_body(struct weir_request *request, struct course *course)
{
    struct request_body *in = &request->in;
    struct filter_line *line = &course->body_filters;
    if (line->first == NULL || !in->wanted || in->read_ended || in->error != 0) {
        return false;
    }
    bool moved = false;
    int r = filter_line_step(line, in->ended, call_filter, request, &moved);
    if (r < 0) {
        log_fault(request, line->failed->entry,
                r == -ELOOP ? "three calls without progress: the body is refused"
                            : "failed: the body is refused");
        in->error = r == -ENOMEM ? -ENOMEM : -EIO;
        return true;
    }
    in->read_ended = line->last->has_ended;
    return moved;
}

/* ---- doors ------------------------------------------------------------------------------- */

void
course_run(struct weir_request *request)
{
    struct course *course = course_of(request);
    if (request->forced_status != 0) {
        unsigned status = request->forced_status;
        request->forced_status = 0;
        answer(request, status);
    }
    bool has_moved;
    do {
        has_moved = flow_body(request, course);
        has_moved |= ask(request, course);
        has_moved |= reply(request, course);
    } while (has_moved);
}

/* What the core mended or could not mend in an answer. */
static void
log_misdeeds(const struct weir_request *request)
{
    const struct reply *reply = &request->reply;
    if (reply->had_hop) {
        log_request(request, "a field that is the server's was dropped from the answer");
    }
    if (reply->was_over) {
        log_request(request, "the answer was longer than its Content-Length: cut");
    }
    if (request->end == REQUEST_END_ANSWER_SHORT) {
        log_request(request, "the answer could not be finished: the connection was closed");
    }
}

void
course_end(struct weir_request *request)
{
    struct course *course = course_of(request);
    course->is_ended = true;
    stop_asking(request);
    log_misdeeds(request);
    const struct chain *chain = course->chain;
    for (uint16_t i = chain == NULL ? 0 : chain->first[WEIR_ON_LOG];
            chain != NULL && i < chain->first[WEIR_ON_LOG + 1]; i++) {
        const struct chain_entry *entry = &chain->entries[i];
        enum weir_verdict verdict = call(request, entry, entry->request);
        if (verdict == WEIR_FAILED || verdict == WEIR_PENDING) {
            log_fault(request, entry,
                    verdict == WEIR_FAILED ? "failed"
                                           : "waits, which this phase cannot in this build");
        }
    }
    request_free(request);
}

/* ---- what modules call ------------------------------------------------------------------- */

void *
weir_request_state(struct weir_request *request)
{
    const struct course *course = course_of(request);
    WEIR_ASSERT(course->calling != NULL);
    return (char *)request->slab + course->calling->state_at;
}

static enum weir_verdict
wait_for(struct weir_request *request, enum wait_kind kind, weir_request_fn *resume)
{
    struct course *course = course_of(request);
    bool is_asked = course->calling != NULL && course->calling->phase <= WEIR_ON_CONTENT &&
            course->calling->phase != WEIR_ON_REQUEST_BODY;
    if (!is_asked || course->is_ended || course->wait != WAIT_NONE || resume == NULL) {
        return WEIR_FAILED;
    }
    course->wait = kind;
    course->resume = resume;
    return WEIR_PENDING;
}

enum weir_verdict
weir_body_wait(struct weir_request *request, weir_request_fn *resume)
{
    request->in.wanted = true;
    return wait_for(request, WAIT_BODY, resume);
}

enum weir_verdict
weir_reply_wait(struct weir_request *request, weir_request_fn *resume)
{
    return wait_for(request, WAIT_ROOM, resume);
}

enum weir_verdict
course_wait_for(struct weir_request *request, struct course_wait *wait, weir_request_fn *resume)
{
    struct course *course = course_of(request);
    enum weir_verdict verdict = wait_for(request, WAIT_EVENT, resume);
    if (verdict == WEIR_PENDING) {
        course->event = wait;
        course->is_event_there = false;
    }
    return verdict;
}

struct course_wait *
course_awaited(const struct weir_request *request)
{
    return course_of(request)->event;
}

void
course_ripen(struct weir_request *request)
{
    struct course *course = course_of(request);
    WEIR_ASSERT(course->wait == WAIT_EVENT && !course->is_event_there);
    course->is_event_there = true;
    request_wake(request);
}

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
