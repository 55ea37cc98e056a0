/* SPDX-License-Identifier: MIT */
/* An exchange as modules see it: the engine's (upstream/exchange.h), the hook that waits for
 * it, and the answer that it goes on to fill.
 *
 *     open --> wait ... resumed --> adopt --> the answer's source, until its end
 *                 ^        |  \--> read --+
 *                 +--------+--------------+
 *
 * It lives in the request's arena, so that a module's pointer to it is good for as long as the
 * request; close() and the request's end give back what it holds. */
#include "module/exchange.h"

#include <errno.h>

#include "base/assert.h"
#include "event/loop.h"
#include "event/timer.h"
#include "http/upgrade.h"
#include "module/course.h"
#include "observe/log.h"
#include "upstream/exchange.h"

/* Of an answer that the client is slow to read, so much stands in memory beside what the
 * exchange has read. */
#define REPLY_MARK_BYTES (128u << 10)

/* An answer whose head comes alone, a stream of events, say, is not held for longer: most
 * bodies are there by then, and leave with it in one call. */
#define HEAD_DELAY_NS (10 * NS_PER_MS)

struct weir_exchange {
    struct exchange exchange;
    struct weir_request *request;       /* borrowed */
    struct weir_exchange *next, **link; /* in request->exchanges; link NULL: closed */
    struct course_wait wait;
    weir_request_fn *resume;
    struct body_sink sink;
    struct reply_source source;
    struct timer head_timer; /* adopted, and nothing of the body has come */
    struct weir_str address; /* of the target asked last, once it has ended; the request's */
    uint32_t flags;
    bool is_waiting;
    bool has_told_head; /* a hook was resumed for it */
    bool is_source;     /* adopted */
};

/* ---- words ------------------------------------------------------------------------------- */

struct weir_str
weir_exchange_error_label(enum weir_exchange_error error)
{
    return weir_str_from(upstream_result_word(error));
}

unsigned
weir_exchange_error_status(enum weir_exchange_error error)
{
    switch (error) {
    case WEIR_EXCHANGE_FINE:
        return 200;
    case WEIR_EXCHANGE_REFUSED:
    case WEIR_EXCHANGE_UNREACHABLE:
    case WEIR_EXCHANGE_CLOSED:
    case WEIR_EXCHANGE_BAD_ANSWER:
    case WEIR_EXCHANGE_HEAD_TOO_LARGE:
    case WEIR_EXCHANGE_UNRESOLVED:
        return 502;
    case WEIR_EXCHANGE_CONNECT_TIMEOUT:
    case WEIR_EXCHANGE_SEND_TIMEOUT:
    case WEIR_EXCHANGE_READ_TIMEOUT:
        return 504;
    case WEIR_EXCHANGE_BODY:
        return 400;
    case WEIR_EXCHANGE_BUSY:
    case WEIR_EXCHANGE_QUEUE_TIMEOUT:
    case WEIR_EXCHANGE_EXHAUSTED:
    case WEIR_EXCHANGE_ABORTED:
    case WEIR_EXCHANGE_UNAVAILABLE:
        break;
    }
    return 503;
}

/* ---- the end ----------------------------------------------------------------------------- */

static struct weir_exchange *
owner_of(struct exchange *exchange)
{
    return (struct weir_exchange *)((char *)exchange -
            offsetof(struct weir_exchange, exchange));
}

/* Gives everything back. Again: nothing. */
static void
detach(struct weir_exchange *exchange)
{
    struct weir_request *request = exchange->request;
    if (exchange->link == NULL) {
        return;
    }
    *exchange->link = exchange->next;
    if (exchange->next != NULL) {
        exchange->next->link = exchange->link;
    }
    exchange->link = NULL;
    timer_cancel(&exchange->head_timer);
    if (request->in.sink == &exchange->sink) {
        request->in.sink = NULL;
    }
    if (request->reply.source == &exchange->source) {
        request->reply.source = NULL;
    }
    if (exchange->exchange.state != EXCHANGE_OVER) {
        exchange->exchange.error = WEIR_EXCHANGE_ABORTED;
    }
    if (exchange->exchange.target != NULL) { /* which may go before the request does */
        exchange->address = arena_copy(&request->arena,
                exchange->exchange.target->settings.address);
    }
    exchange_end(&exchange->exchange);
}

void
exchange_drop_all(struct weir_request *request)
{
    while (request->exchanges != NULL) {
        detach(request->exchanges);
    }
}

/* ---- news -------------------------------------------------------------------------------- */

/* Whether the hook that waits has something to look at, interim answers among it. */
static bool
has_news(const struct weir_exchange *exchange)
{
    const struct exchange *inner = &exchange->exchange;
    return inner->interim != NULL || inner->state == EXCHANGE_OVER ||
            (inner->has_head && !exchange->has_told_head) || inner->body.bytes > 0;
}

static void
on_news(struct exchange *inner)
{
    struct weir_exchange *exchange = owner_of(inner);
    if (exchange->is_source) {
        request_wake(exchange->request);
    } else if (exchange->is_waiting && has_news(exchange)) {
        exchange->is_waiting = false;
        course_ripen(&exchange->wait);
    }
}

static void
on_body(struct body_sink *sink)
{
    struct weir_exchange *exchange = (struct weir_exchange *)((char *)sink -
            offsetof(struct weir_exchange, sink));
    const struct request_body *in = &exchange->request->in;
    if (in->read->bytes > 0 || in->error != 0 || request_body_is_read(in)) {
        exchange_wake(&exchange->exchange);
    }
}

/* Another answer takes the hook's place: nobody wants this one. */
static void
abandon(struct course_wait *wait)
{
    struct weir_exchange *exchange = (struct weir_exchange *)((char *)wait -
            offsetof(struct weir_exchange, wait));
    exchange->is_waiting = false;
    detach(exchange);
}

static enum weir_verdict wait_for(struct weir_exchange *exchange);

static void
relay_interim(struct weir_exchange *exchange)
{
    struct weir_request *request = exchange->request;
    struct exchange_interim *interim;
    bool is_wanted = (exchange->flags & WEIR_EXCHANGE_RELAY_INTERIM) != 0 &&
            request->head.version >= 11 && request->transport != NULL;
    while ((interim = exchange_take_interim(&exchange->exchange)) != NULL) {
        if (is_wanted) {
            int r = request->transport->interim(request, interim->status, interim->lines);
            (void)r; /* they may be left out */
        }
    }
}

/* In the hook's place. */
static enum weir_verdict
on_wake(struct weir_request *request, const void *conf)
{
    struct weir_exchange *exchange = (struct weir_exchange *)((char *)course_awaited(request) -
            offsetof(struct weir_exchange, wait));
    relay_interim(exchange);
    if (!has_news(exchange)) {
        return wait_for(exchange);
    }
    exchange->has_told_head = exchange->exchange.has_head;
    return exchange->resume(request, conf);
}

static enum weir_verdict
wait_for(struct weir_exchange *exchange)
{
    enum weir_verdict verdict = course_wait_for(exchange->request, &exchange->wait, on_wake);
    exchange->is_waiting = verdict == WEIR_PENDING;
    if (exchange->is_waiting) {
        on_news(&exchange->exchange); /* it may be there already */
    }
    return verdict;
}

enum weir_verdict
weir_exchange_wait(struct weir_exchange *exchange, weir_request_fn *resume)
{
    if (exchange->is_waiting || exchange->is_source || exchange->link == NULL ||
            resume == NULL) {
        return WEIR_FAILED;
    }
    exchange->resume = resume;
    return wait_for(exchange);
}

/* ---- asking ------------------------------------------------------------------------------ */

static bool pour(struct reply_source *source, struct weir_request *request);
static void on_head_timer(struct timer *timer);

static void
on_source_dropped(struct reply_source *source)
{
    detach((struct weir_exchange *)((char *)source - offsetof(struct weir_exchange, source)));
}

static int
may_open(const struct weir_request *request)
{
    if (request->end != REQUEST_RUNS || request->transport == NULL) {
        return -ESHUTDOWN;
    }
    unsigned count = 0;
    for (const struct weir_exchange *i = request->exchanges; i != NULL; i = i->next) {
        count++;
    }
    return count >= WEIR_EXCHANGE_OPEN_MAX ? -EMFILE : 0;
}

int
weir_exchange_open(struct weir_request *request, const struct weir_exchange_ask *asked,
        struct weir_exchange **out)
{
    const struct course_map *map = course_map_of(request);
    struct weir_exchange_ask ask;
    int r = exchange_read_ask(asked, &ask);
    if (r == 0) {
        r = may_open(request);
    }
    if (r < 0) {
        return r;
    }
    struct upstream_group *group = map->upstreams == NULL
            ? NULL
            : upstreams_find(map->upstreams, ask.upstream);
    if (group == NULL) {
        return -ENOENT;
    }
    struct weir_exchange *exchange = arena_zalloc(&request->arena, sizeof(*exchange));
    if (exchange == NULL) {
        return -ENOMEM;
    }
    struct exchange *inner = &exchange->exchange;
    inner->group = group;
    inner->request = request;
    inner->on_news = on_news;
    retry_settle(inner, &ask);
    r = exchange_read_wish(inner, request);
    if (r == 0) {
        r = exchange_fill(inner, request, &ask);
    }
    if (r < 0) {
        return r;
    }
    if (inner->has_body && request->in.sink != NULL) {
        slice_drop(&inner->head);
        return -EBUSY;
    }
    exchange->request = request;
    exchange->flags = ask.flags;
    exchange->wait.abandon = abandon;
    timer_init(&exchange->head_timer, request->engine->loop, on_head_timer);
    exchange->sink.look = on_body;
    exchange->source = (struct reply_source){ pour, on_source_dropped };
    exchange->next = request->exchanges;
    exchange->link = &request->exchanges;
    if (exchange->next != NULL) {
        exchange->next->link = &exchange->next;
    }
    request->exchanges = request->asked = exchange;
    if (inner->has_body) {
        request->in.sink = &exchange->sink;
    }
    exchange_begin(inner);
    *out = exchange;
    return 0;
}

void
weir_exchange_close(struct weir_exchange *exchange)
{
    if (!exchange->is_waiting) {
        detach(exchange);
    }
}

bool
exchange_find_facts(const struct weir_request *request, struct exchange_facts *out)
{
    const struct weir_exchange *exchange = request->asked;
    if (exchange == NULL) {
        return false;
    }
    const struct exchange *inner = &exchange->exchange;
    uint64_t ended_ns = inner->ended_ns != 0 ? inner->ended_ns
                                             : loop_now_ns(request->engine->loop);
    *out = (struct exchange_facts){
        .name = inner->group->settings->name,
        .address = weir_exchange_address(exchange),
        .status = weir_exchange_status(exchange),
        .retries = inner->retries,
        .has_connected = inner->has_connected,
        .time_ns = ended_ns - inner->began_ns,
        .connect_ns = inner->connect_ns,
        .head_ns = inner->head_ns,
    };
    return true;
}

/* ---- reading ----------------------------------------------------------------------------- */

enum weir_exchange_error
weir_exchange_error(const struct weir_exchange *exchange)
{
    return exchange->exchange.error;
}

struct weir_str
weir_exchange_fault(const struct weir_exchange *exchange)
{
    enum answer_fault fault = exchange->exchange.fault;
    return fault == ANSWER_GOOD ? weir_str_make("", 0)
                                : weir_str_from(answer_fault_text(fault));
}

struct weir_str
weir_exchange_address(const struct weir_exchange *exchange)
{
    const struct upstream_target *target = exchange->exchange.target;
    struct weir_str address = target == NULL ? exchange->address : target->settings.address;
    return address.ptr == NULL ? weir_str_make("", 0) : address;
}

unsigned
weir_exchange_status(const struct weir_exchange *exchange)
{
    return exchange->exchange.has_head ? exchange->exchange.answer.status : 0;
}

bool
weir_exchange_field_at(const struct weir_exchange *exchange, uint32_t i, struct weir_str *name,
        struct weir_str *value)
{
    const struct answer_head *head = &exchange->exchange.answer;
    for (uint32_t j = 0; exchange->exchange.has_head && j < head->field_count; j++) {
        if (!answer_field_is_hop(head, j) && i-- == 0) {
            *name = answer_field_name(head, j);
            *value = answer_field_value(head, j);
            return true;
        }
    }
    return false;
}

struct weir_str
weir_exchange_field(const struct weir_exchange *exchange, struct weir_str name)
{
    const struct answer_head *head = &exchange->exchange.answer;
    for (uint32_t i = 0; exchange->exchange.has_head && i < head->field_count; i++) {
        if (weir_str_eq_icase(answer_field_name(head, i), name) &&
                !answer_field_is_hop(head, i)) {
            return answer_field_value(head, i);
        }
    }
    return weir_str_make(NULL, 0);
}

ssize_t
weir_exchange_read(struct weir_exchange *exchange, void *dst, size_t dst_bytes)
{
    struct exchange *inner = &exchange->exchange;
    size_t moved = 0;
    while (moved < dst_bytes && inner->body.bytes > 0) {
        const struct slice *front = slice_queue_at(&inner->body, 0);
        size_t len = front->len < dst_bytes - moved ? (size_t)front->len : dst_bytes - moved;
        memcpy((char *)dst + moved, front->ptr, len);
        slice_queue_consume(&inner->body, len);
        moved += len;
    }
    if (moved > 0 || dst_bytes == 0) {
        exchange_wake(inner);
        return (ssize_t)moved;
    }
    return inner->is_complete ? 0 : inner->state == EXCHANGE_OVER ? -EPROTO : -EAGAIN;
}

/* ---- adopting ---------------------------------------------------------------------------- */

static int
copy_head(struct weir_request *request, const struct exchange *inner)
{
    const struct answer_head *head = &inner->answer;
    int r = inner->is_switched ? reply_begin_switch(request, inner->upgrade)
                               : weir_reply_begin(request, head->status);
    for (uint32_t i = 0; r == 0 && i < head->field_count; i++) {
        if (!answer_field_is_hop(head, i)) {
            r = weir_reply_add(request, answer_field_name(head, i),
                    answer_field_value(head, i));
        }
    }
    if (r == 0) {
        r = exchange_say_target(inner, request);
    }
    if (r < 0) {
        return r;
    }
    if (inner->is_switched) {
        return 0; /* what follows has no length, whatever this says */
    }
    request->reply.length_bytes = head->declared_bytes;
    request->reply.hides_length = head->declared_bytes == LENGTH_UNKNOWN &&
            head->framing == ANSWER_NO_BODY;
    return 0;
}

static void
copy_trailers(struct weir_request *request, const struct exchange *inner)
{
    struct weir_str rest = exchange_trailers(inner), name, value;
    while (request->head.wants_trailers && chunked_next_trailer(&rest, &name, &value)) {
        int r = weir_reply_trailer(request, name, value);
        (void)r;                            /* they may be left out (RFC 9110 section 6.5.1) */
        request->reply.hides_length = true; /* a whole body without chunks has no trailers */
    }
}

/* Nobody else says so: the hook that adopted it has long returned. */
static void
log_break(const struct weir_exchange *exchange, const struct weir_request *request)
{
    struct weir_str target = head_target(&request->head), fault = weir_exchange_fault(exchange);
    bool is_tunnel = exchange->exchange.is_switched; /* which peers leave as they like */
    log_write_within((enum log_level)request->log_level, is_tunnel ? LOG_INFO : LOG_WARN,
            "%.*s %.*s: upstream %.*s, %.*s: %s%s%.*s: the %s is broken off",
            WEIR_STR_ARG(head_method(&request->head)),
            (int)(target.len < 200 ? target.len : 200), target.ptr,
            WEIR_STR_ARG(exchange->exchange.group->settings->name),
            WEIR_STR_ARG(weir_exchange_address(exchange)),
            upstream_result_word(exchange->exchange.error), fault.len > 0 ? ", " : "",
            WEIR_STR_ARG(fault), is_tunnel ? "tunnel" : "answer");
}

/* The answer cannot go on as it has begun: the client must see that. */
static void
break_off(struct weir_exchange *exchange, struct weir_request *request)
{
    enum weir_exchange_error error = exchange->exchange.error;
    log_break(exchange, request);
    if (request->reply.head_left) {
        request->reply.is_broken = true;
    } else {
        request->forced_status = (uint16_t)weir_exchange_error_status(error);
    }
    detach(exchange);
    request_wake(request);
}

static bool
pour(struct reply_source *source, struct weir_request *request)
{
    struct weir_exchange *exchange = (struct weir_exchange *)((char *)source -
            offsetof(struct weir_exchange, source));
    struct exchange *inner = &exchange->exchange;
    uint64_t before = inner->body.bytes;
    int r = 0;
    while (r == 0 && inner->body.bytes > 0 && reply_room(request) > 0) {
        /* Whole slices, since what lies behind them is held anyway. */
        r = reply_take(request, &inner->body, slice_queue_at(&inner->body, 0)->len);
    }
    bool has_moved = inner->body.bytes < before;
    if (r < 0) {
        exchange_end(inner);
        inner->error = WEIR_EXCHANGE_EXHAUSTED;
    }
    if (inner->body.bytes > 0 || inner->state != EXCHANGE_OVER) {
        if (has_moved && (inner->is_held || !inner->is_switched)) {
            exchange_wake(inner); /* there is room again */
        }
        bool is_half = inner->is_switched && inner->is_complete && inner->body.bytes == 0 &&
                !request->reply.ended;
        request->reply.ended |= is_half; /* the client's flow of the tunnel may go on */
        return has_moved || is_half;
    }
    if (inner->error != WEIR_EXCHANGE_FINE) {
        break_off(exchange, request);
        return true;
    }
    copy_trailers(request, inner);
    detach(exchange);
    weir_reply_end(request);
    return true;
}

static void
on_head_timer(struct timer *timer)
{
    struct weir_exchange *exchange = (struct weir_exchange *)((char *)timer -
            offsetof(struct weir_exchange, head_timer));
    exchange->request->reply.is_head_due = true;
    request_wake(exchange->request);
}

enum weir_verdict
weir_exchange_adopt(struct weir_exchange *exchange)
{
    struct weir_request *request = exchange->request;
    struct exchange *inner = &exchange->exchange;
    if (!inner->has_head || inner->error != WEIR_EXCHANGE_FINE || exchange->is_source ||
            exchange->is_waiting || exchange->link == NULL ||
            (inner->is_switched && request->in.sink != NULL) || copy_head(request, inner) < 0) {
        weir_exchange_close(exchange);
        return WEIR_FAILED;
    }
    exchange->is_source = true;
    request->reply.mark_bytes = REPLY_MARK_BYTES;
    request->reply.source = &exchange->source;
    if (inner->is_switched) {
        request->in.sink = &exchange->sink;
    }
    pour(&exchange->source, request);
    if (inner->error != WEIR_EXCHANGE_FINE) {
        request->forced_status = 0;
        return WEIR_FAILED;
    }
    if (exchange->link != NULL && request->reply.written_bytes == 0 && !inner->is_switched) {
        uint64_t due_ns = loop_now_ns(request->engine->loop) + HEAD_DELAY_NS;
        int r = timer_set(&exchange->head_timer, due_ns);
        (void)r; /* then it waits for its body */
    }
    return WEIR_DONE;
}
