/* SPDX-License-Identifier: MIT */
/*
 *     OPEN --the answer's head is there--> HEAD --read or adopted to the end--> drained
 *       |                                    |
 *       +-- too late, cannot be finished ----+--> failed
 *
 * An internal request is carried by the request that asked, as another is by its connection:
 * struct weir_internal is its transport, and runs it in a task at the end of the turn, never
 * from within a hook of the one that asked. Either side may end first: whoever leaves detaches
 * (outer == NULL), and the task ends and frees what is left.
 */
#include "module/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "event/loop.h"
#include "event/timer.h"
#include "http/request.h"
#include "module/course.h"
#include "observe/log.h"

/* Of an answer that nobody takes, so much is made and no more. */
#define MARK_BYTES (64u << 10)

struct weir_internal {
    struct weir_request *outer;         /* borrowed; NULL: it has left */
    struct weir_request *inner;         /* owned */
    struct weir_internal *next, **link; /* in outer->internals */
    struct loop_task task;
    struct coarse_timer late; /* timeouts.request of the inner one's route */
    struct timer wait_timer;
    struct course_wait wait;
    struct reply_source source;
    int error;
    uint16_t status;     /* to adopt under, for weir_internal_answer() */
    bool must_run;       /* the inner one's handler has something to look at */
    bool is_waiting;     /* a hook of the outer one */
    bool is_source;      /* adopted */
    bool has_head;       /* of the answer */
    bool has_told_head;  /* a hook was resumed for it */
    bool is_drained;     /* all of the answer was taken */
    uint64_t left_bytes; /* of a declared length; of an unknown one, plenty */
    uint64_t taken_bytes;
};

static void
run_later(struct weir_internal *internal)
{
    loop_defer(internal->inner->engine->loop, &internal->task);
}

/* ---- the end ----------------------------------------------------------------------------- */

/* The two part; the task ends the inner one. */
static void
detach(struct weir_internal *internal)
{
    struct weir_request *outer = internal->outer;
    if (outer == NULL) {
        return;
    }
    *internal->link = internal->next;
    if (internal->next != NULL) {
        internal->next->link = internal->link;
    }
    if (internal->is_source && outer->reply.source == &internal->source) {
        outer->reply.source = NULL;
    }
    internal->outer = NULL;
    timer_cancel(&internal->wait_timer);
    run_later(internal);
}

static void
finish(struct weir_internal *internal)
{
    struct weir_request *inner = internal->inner;
    enum request_end end = internal->is_drained ? REQUEST_END_COMPLETE
            : internal->error == -EPROTO        ? REQUEST_END_ANSWER_SHORT
            : internal->error != 0              ? REQUEST_END_ANSWER_FAILED
                                                : REQUEST_END_CLIENT_LEFT;
    coarse_timer_fini(&internal->late);
    loop_undefer(inner->engine->loop, &internal->task);
    free(internal);
    inner->is_gone |= end != REQUEST_END_COMPLETE;
    request_end(inner, end);
}

/* ---- the answer -------------------------------------------------------------------------- */

/* All that will come has come, and was taken. */
static bool
is_over(const struct weir_internal *internal)
{
    const struct reply *reply = &internal->inner->reply;
    bool is_empty = reply->wire->bytes == 0 || reply_is_bodiless(internal->inner);
    return internal->has_head && is_empty &&
            (reply_is_ended(reply) || reply_is_bodiless(internal->inner));
}

/* The transport sees the head: from here on it cannot be replaced. */
static void
take_head(struct weir_internal *internal)
{
    struct weir_request *inner = internal->inner;
    if (internal->has_head || inner->reply.state != REPLY_COMMITTED) {
        return;
    }
    internal->has_head = inner->reply.head_left = true;
    inner->reply_left_ns = loop_now_ns(inner->engine->loop);
    internal->left_bytes = reply_is_bodiless(inner) ? 0 : reply_known_length(inner);
}

/* Settles whether the answer is whole once nothing more will come. True when it has come to its
 * end, good or bad. */
static bool
judge_end(struct weir_internal *internal)
{
    const struct reply *reply = &internal->inner->reply;
    if (internal->error != 0 || internal->is_drained) {
        return true;
    }
    bool has_length = internal->left_bytes < LENGTH_UNKNOWN - internal->taken_bytes;
    if (is_over(internal)) {
        internal->is_drained = !has_length || internal->left_bytes == 0;
        internal->error = internal->is_drained ? 0 : -EPROTO; /* less than declared */
        return true;
    }
    if (reply->is_broken && (!internal->has_head || reply->wire->bytes == 0)) {
        internal->error = -EPROTO;
        return true;
    }
    return false;
}

/* What exceeds the declared length is cut. Returns how many bytes of the wire may be taken. */
static uint64_t
ready_bytes(struct weir_internal *internal)
{
    struct reply *reply = &internal->inner->reply;
    if (!internal->has_head || reply_is_bodiless(internal->inner)) {
        return 0;
    }
    if (reply->wire->bytes > internal->left_bytes && internal->left_bytes == 0) {
        slice_queue_consume(reply->wire, reply->wire->bytes);
        reply->was_over = true;
    }
    uint64_t bytes = reply->wire->bytes;
    return bytes < internal->left_bytes ? bytes : internal->left_bytes;
}

static void
took(struct weir_internal *internal, uint64_t bytes)
{
    internal->left_bytes -= bytes;
    internal->taken_bytes += bytes;
    internal->inner->sent_bytes += bytes;
    if (bytes > 0) {
        internal->must_run = true; /* there is room again */
        run_later(internal);
    }
}

/* Whether whoever waits has something to look at. */
static bool
has_news(struct weir_internal *internal)
{
    return judge_end(internal) || (internal->has_head && !internal->has_told_head) ||
            ready_bytes(internal) > 0;
}

static void
tell(struct weir_internal *internal)
{
    if (!has_news(internal)) {
        return;
    }
    if (internal->is_source) {
        request_wake(internal->outer);
    } else if (internal->is_waiting) {
        internal->is_waiting = false;
        internal->has_told_head = internal->has_head;
        timer_cancel(&internal->wait_timer);
        course_ripen(&internal->wait);
    }
}

static void
on_task(struct loop_task *task)
{
    struct weir_internal *internal = (struct weir_internal *)((char *)task -
            offsetof(struct weir_internal, task));
    if (internal->outer == NULL) {
        finish(internal);
        return;
    }
    struct weir_request *inner = internal->inner;
    if (internal->must_run) {
        internal->must_run = false;
        inner->engine->handler->run(inner);
    }
    take_head(internal);
    coarse_timer_set(&internal->late,
            clock_add_ns(inner->began_ns, inner->timeouts->request_ns));
    tell(internal);
}

static void
fail(struct weir_internal *internal, int error)
{
    if (!internal->is_drained && internal->error == 0) {
        internal->error = error;
    }
    tell(internal);
}

static void
on_late(struct coarse_timer *timer)
{
    struct weir_internal *internal = (struct weir_internal *)((char *)timer -
            offsetof(struct weir_internal, late));
    struct weir_request *inner = internal->inner;
    uint64_t due_ns = clock_add_ns(inner->began_ns, inner->timeouts->request_ns);
    if (due_ns > loop_now_ns(inner->engine->loop)) {
        coarse_timer_set(timer, due_ns);
    } else if (!internal->has_head) {
        inner->forced_status = 504;
        internal->must_run = true;
        run_later(internal);
    } else if (internal->outer != NULL) {
        fail(internal, -ETIMEDOUT);
    }
}

static void
on_wait_timer(struct timer *timer)
{
    fail((struct weir_internal *)((char *)timer - offsetof(struct weir_internal, wait_timer)),
            -ETIMEDOUT);
}

static void
abandon(struct course_wait *wait)
{
    struct weir_internal *internal = (struct weir_internal *)((char *)wait -
            offsetof(struct weir_internal, wait));
    internal->is_waiting = false;
    timer_cancel(&internal->wait_timer);
}

/* ---- transport --------------------------------------------------------------------------- */

static void
transport_wake(struct weir_request *request)
{
    struct weir_internal *internal = request->carrier;
    internal->must_run = true;
    run_later(internal);
}

/* Hints are for clients; this one is none. */
static int
transport_interim(struct weir_request *request, unsigned status, struct weir_str lines)
{
    (void)request;
    (void)status;
    (void)lines;
    return -ENOTSUP;
}

static const struct request_transport transport = {
    .wake = transport_wake,
    .interim = transport_interim,
};

/* ---- asking ------------------------------------------------------------------------------ */

static int
may_open(const struct weir_request *outer, const struct weir_ask *ask)
{
    if (outer->end != REQUEST_RUNS || outer->transport == NULL) {
        return -ESHUTDOWN;
    }
    if (outer->depth >= WEIR_INTERNAL_DEPTH_MAX) {
        log_error("internal requests are nested more than %u deep: %.*s is not asked for",
                WEIR_INTERNAL_DEPTH_MAX, (int)(ask->target.len < 200 ? ask->target.len : 200),
                ask->target.ptr);
        return -ELOOP;
    }
    unsigned count = 0;
    for (const struct weir_internal *i = outer->internals; i != NULL; i = i->next) {
        count++;
    }
    return count >= WEIR_INTERNAL_OPEN_MAX ? -EMFILE : 0;
}

/* As a source of the outer one's body. */

static bool pour(struct reply_source *source, struct weir_request *outer);

static void
on_source_dropped(struct reply_source *source)
{
    struct weir_internal *internal = (struct weir_internal *)((char *)source -
            offsetof(struct weir_internal, source));
    detach(internal);
}

int
weir_internal_open(struct weir_request *request, const struct weir_ask *asked,
        struct weir_internal **out)
{
    struct weir_ask ask;
    int r = internal_read_ask(asked, &ask);
    if (r == 0) {
        r = may_open(request, &ask);
    }
    if (r < 0) {
        return r;
    }
    struct weir_internal *internal = calloc(1, sizeof(*internal));
    if (internal == NULL) {
        return -ENOMEM;
    }
    struct weir_request *inner = request_new(request->engine, &transport, internal,
            request->limits, request->timeouts);
    if (inner == NULL) {
        free(internal);
        return -ENOMEM;
    }
    (void)weir_request_id(request); /* logs know both by it */
    r = internal_fill(inner, request, &ask);
    if (r < 0) {
        request_free(inner); /* nobody was told of it */
        free(internal);
        return r;
    }
    struct loop *loop = request->engine->loop;
    internal->outer = request;
    internal->inner = inner;
    inner->reply.mark_bytes = MARK_BYTES;
    internal->task.fn = on_task;
    coarse_timer_init(&internal->late, loop, on_late);
    timer_init(&internal->wait_timer, loop, on_wait_timer);
    internal->wait.abandon = abandon;
    internal->source = (struct reply_source){ pour, on_source_dropped };
    internal->left_bytes = LENGTH_UNKNOWN;
    internal->must_run = true;
    internal->next = request->internals;
    internal->link = &request->internals;
    if (internal->next != NULL) {
        internal->next->link = &internal->next;
    }
    request->internals = internal;
    run_later(internal);
    *out = internal;
    return 0;
}

enum weir_verdict
weir_internal_wait(struct weir_internal *internal, weir_request_fn *resume)
{
    struct weir_request *outer = internal->outer;
    struct loop *loop = outer->engine->loop;
    uint64_t due_ns = clock_add_ns(loop_now_ns(loop), outer->timeouts->wait_ns);
    if (internal->is_waiting || internal->is_source ||
            (due_ns != CLOCK_NEVER && timer_set(&internal->wait_timer, due_ns) < 0)) {
        return WEIR_FAILED;
    }
    enum weir_verdict verdict = course_wait_for(outer, &internal->wait, resume);
    internal->is_waiting = verdict == WEIR_PENDING;
    if (internal->is_waiting) {
        run_later(internal); /* it may be there already */
    } else {
        timer_cancel(&internal->wait_timer);
    }
    return verdict;
}

void
weir_internal_close(struct weir_internal *internal)
{
    if (internal->is_waiting) {
        fail(internal, -ECANCELED); /* another hook of the same module looks at it yet */
    } else {
        detach(internal);
    }
}

void
internal_drop_all(struct weir_request *request)
{
    while (request->internals != NULL) {
        detach(request->internals);
    }
}

/* ---- reading ----------------------------------------------------------------------------- */

unsigned
weir_request_depth(const struct weir_request *request)
{
    return request->depth;
}

int
weir_internal_error(const struct weir_internal *internal)
{
    return internal->error;
}

unsigned
weir_internal_status(const struct weir_internal *internal)
{
    return internal->has_head ? internal->inner->reply.status : 0;
}

struct weir_str
weir_internal_field(const struct weir_internal *internal, struct weir_str name)
{
    return internal->has_head ? weir_reply_field(internal->inner, name)
                              : weir_str_make(NULL, 0);
}

bool
weir_internal_field_at(const struct weir_internal *internal, uint32_t i, struct weir_str *name,
        struct weir_str *value)
{
    const struct reply *reply = &internal->inner->reply;
    if (!internal->has_head || i >= reply->field_count) {
        return false;
    }
    *name = reply->fields[i].name;
    *value = reply->fields[i].value;
    return true;
}

static ssize_t
read_slice(const struct slice *slice, void *dst, size_t len)
{
    if (slice->kind == SLICE_BYTES) {
        memcpy(dst, slice->ptr, len);
        return (ssize_t)len;
    }
    int r = slice->hold == NULL || slice->hold->check == NULL ? 0
                                                              : slice->hold->check(slice->hold);
    if (r < 0) {
        return r;
    }
    ssize_t n = pread(slice->fd, dst, len, (off_t)slice->file_offset);
    return n < 0 ? -errno : n == 0 ? -ENODATA : n;
}

ssize_t
weir_internal_read(struct weir_internal *internal, void *dst, size_t dst_bytes)
{
    struct slice_queue *wire = internal->inner->reply.wire;
    size_t moved = 0;
    ssize_t n = 0;
    while (internal->error == 0 && moved < dst_bytes && n >= 0) {
        uint64_t ready = ready_bytes(internal);
        if (ready == 0) {
            break;
        }
        const struct slice *front = slice_queue_at(wire, 0);
        size_t len = dst_bytes - moved;
        len = ready < len ? (size_t)ready : len;
        len = front->len < len ? (size_t)front->len : len;
        n = read_slice(front, (char *)dst + moved, len);
        if (n > 0) {
            slice_queue_consume(wire, (uint64_t)n);
            took(internal, (uint64_t)n);
            moved += (size_t)n;
        }
    }
    if (moved > 0 || dst_bytes == 0) {
        return (ssize_t)moved;
    }
    if (n < 0) {
        internal->error = -EPROTO;
        return n;
    }
    return !judge_end(internal) ? -EAGAIN : internal->error;
}

/* ---- adopting ---------------------------------------------------------------------------- */

static int
copy_head(struct weir_request *outer, const struct weir_request *inner, unsigned status)
{
    const struct reply *from = &inner->reply;
    bool was_own = outer->reply.was_own && outer->reply.status == status;
    int r = weir_reply_begin(outer, status == 0 ? from->status : status);
    for (uint32_t i = 0; r == 0 && i < from->field_count; i++) {
        r = weir_reply_add(outer, from->fields[i].name, from->fields[i].value);
    }
    if (r < 0) {
        return r;
    }
    struct reply *to = &outer->reply;
    to->close |= from->close;
    /* The server's own words for its status stay its own; a page for an error is one for it. */
    to->is_own = from->is_own && to->status == from->status;
    to->was_own = was_own || (from->was_own && to->status == from->status);
    to->is_representation = from->is_representation && from->status == 200 && to->status == 200;
    to->length_bytes = reply_known_length(inner);
    to->hides_length = to->length_bytes == LENGTH_UNKNOWN && reply_is_bodiless(inner);
    return 0;
}

/* The answer cannot go on as it has begun. */
static void
break_off(struct weir_internal *internal, struct weir_request *outer)
{
    if (outer->reply.head_left) {
        outer->reply.is_broken = true;
    } else {
        outer->forced_status = internal->error == -ETIMEDOUT ? 504 : 500;
    }
    detach(internal);
    request_wake(outer);
}

/* Moves what there is and fits. Whole slices, since what lies behind them is held anyway. */
static bool
pour(struct reply_source *source, struct weir_request *outer)
{
    struct weir_internal *internal = (struct weir_internal *)((char *)source -
            offsetof(struct weir_internal, source));
    struct slice_queue *wire = internal->inner->reply.wire;
    bool has_moved = false;
    uint64_t ready;
    while (internal->error == 0 && reply_room(outer) > 0 &&
            (ready = ready_bytes(internal)) > 0) {
        uint64_t len = slice_queue_at(wire, 0)->len;
        len = len < ready ? len : ready;
        if (reply_take(outer, wire, len) < 0) {
            internal->error = -ENOMEM;
            break;
        }
        took(internal, len);
        has_moved = true;
    }
    if (!judge_end(internal)) {
        return has_moved;
    }
    if (internal->error != 0) {
        break_off(internal, outer);
        return true;
    }
    struct weir_str trailers = internal->inner->reply.trailers;
    if (trailers.len > 0) {
        outer->reply.trailers = arena_copy(&outer->arena, trailers); /* or it goes without */
    }
    detach(internal);
    weir_reply_end(outer);
    return true;
}

enum weir_verdict
weir_internal_adopt(struct weir_internal *internal, unsigned status)
{
    struct weir_request *outer = internal->outer;
    if (!internal->has_head || internal->error != 0 || internal->is_source ||
            internal->is_waiting || copy_head(outer, internal->inner, status) < 0) {
        weir_internal_close(internal);
        return WEIR_FAILED;
    }
    internal->is_source = true;
    outer->reply.source = &internal->source;
    pour(&internal->source, outer);
    if (internal->error != 0) { /* it is detached, and its task is yet to come */
        outer->forced_status = 0;
        return WEIR_FAILED;
    }
    return WEIR_DONE;
}

static enum weir_verdict
adopt_awaited(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct course_wait *wait = course_awaited(request);
    struct weir_internal *internal = (struct weir_internal *)((char *)wait -
            offsetof(struct weir_internal, wait));
    if (internal->error == -ETIMEDOUT) {
        weir_internal_close(internal);
        return weir_reply_error(request, 504);
    }
    return weir_internal_adopt(internal, internal->status);
}

enum weir_verdict
weir_internal_answer(struct weir_request *request, const struct weir_ask *ask, unsigned status)
{
    struct weir_internal *internal;
    int r = weir_internal_open(request, ask, &internal);
    if (r < 0) {
        return r == -ELOOP ? weir_reply_error(request, 508) : WEIR_FAILED;
    }
    internal->status = (uint16_t)status;
    enum weir_verdict verdict = weir_internal_wait(internal, adopt_awaited);
    if (verdict != WEIR_PENDING) {
        weir_internal_close(internal);
    }
    return verdict;
}
