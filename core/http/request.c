/* SPDX-License-Identifier: MIT */
/* A request's memory, its head once read, and its body on the way in. */
#include "http/request.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/budget.h"
#include "event/loop.h"
#include "observe/log.h"

/* Blocks kept for later requests; more than this many at once is a burst. */
#define SPARES_MAX 256u

/* What one request may take in all: head, fields and whatever modules ask for. */
#define ARENA_CEILING_BYTES (4u << 20)

#define BODY_MARK_BYTES  (64u << 10)
#define REPLY_MARK_BYTES (1u << 20)

/* The marks while memory is tight: enough to get on with, little enough for a server full of
 * clients that do not. */
#define TIGHT_BODY_MARK_BYTES  4096u
#define TIGHT_REPLY_MARK_BYTES 16384u

const char *
request_end_label(enum request_end end)
{
    switch (end) {
    case REQUEST_RUNS:
        return "runs";
#define X(name, label, text) \
    case REQUEST_END_##name: \
        return label;
        REQUEST_ENDS(X)
#undef X
    }
    return "";
}

static size_t
round_up(size_t bytes)
{
    return (bytes + 15) & ~(size_t)15;
}

void
request_free_block(struct weir_request *request)
{
    budget_give(REQUEST_BLOCK_BYTES);
    free(request);
}

static struct weir_request *
take_block(struct engine *engine)
{
    struct weir_request *request = engine->spare;
    if (request == NULL) {
        request = aligned_alloc(64, REQUEST_BLOCK_BYTES);
        budget_take(request == NULL ? 0 : REQUEST_BLOCK_BYTES);
        return request;
    }
    engine->spare = request->next;
    engine->spares--;
    return request;
}

struct weir_request *
request_new(struct engine *engine, const struct request_transport *transport, void *carrier,
        const struct http_limits *limits, const struct http_timeouts *timeouts)
{
    size_t slab_at = round_up(sizeof(struct weir_request));
    size_t arena_at = slab_at + round_up(engine->handler->slab_bytes);
    struct weir_request *request = take_block(engine);
    if (request == NULL) {
        return NULL;
    }
    bool slab_fits = arena_at <= REQUEST_BLOCK_BYTES / 2;
    if (!slab_fits) {
        arena_at = slab_at;
    }
    /* The reader, behind the reply's fields, clears itself; most of it is the parser's. */
    memset(request, 0, offsetof(struct weir_request, reply.inlined));
    char *block = (char *)request;
    arena_init(&request->arena, block + arena_at, REQUEST_BLOCK_BYTES - arena_at,
            ARENA_CEILING_BYTES);
    arena_count(&request->arena);
    request->slab = slab_fits ? block + slab_at
                              : arena_alloc(&request->arena, engine->handler->slab_bytes);
    if (request->slab == NULL) {
        arena_reset(&request->arena);
        request_free_block(request);
        return NULL;
    }
    memset(request->slab, 0, engine->handler->slab_bytes);
    request->engine = engine;
    request->transport = transport;
    request->carrier = carrier;
    request->limits = limits;
    request->timeouts = timeouts;
    request->log_level = (uint8_t)log_level();
    request->began_ns = loop_now_ns(engine->loop);
    slice_queue_init(&request->in.queue);
    request->in.mark_bytes = BODY_MARK_BYTES;
    request->in.read = &request->in.queue;
    slice_queue_init(&request->reply.queue);
    request->reply.wire = &request->reply.queue;
    request->reply.mark_bytes = REPLY_MARK_BYTES;
    request->reply.length_bytes = LENGTH_UNKNOWN;
    request->reply.fields = request->reply.inlined;
    request->reply.field_capacity = REPLY_FIELDS_INLINE;
    head_reader_init(&request->reader, limits, &request->arena, &request->head);
    engine->figures.requests_begun++;
    return request;
}

void
request_free(struct weir_request *request)
{
    struct engine *engine = request->engine;
    slice_queue_fini(&request->in.queue);
    slice_queue_fini(&request->reply.queue);
    arena_reset(&request->arena);
    engine->figures.requests_ended++;
    if (engine->spares >= SPARES_MAX) {
        request_free_block(request);
        return;
    }
    request->next = engine->spare;
    engine->spare = request;
    engine->spares++;
}

/* Host, or the authority of an absolute target, as one spelling (RFC 9112 section 3.2). */
static enum head_refusal
settle_host(struct weir_request *request)
{
    struct weir_str field = head_find(&request->head, FIELD_HOST);
    struct engine *engine = request->engine;
    if (field.len > 0 && field.len == engine->host_len && request->target.authority.len == 0 &&
            memcmp(field.ptr, engine->host_text, field.len) == 0) {
        request->host = weir_str_make(field.ptr, engine->host_name_len);
        return HEAD_ACCEPTED;
    }
    struct host host;
    if (field.ptr != NULL && host_parse(field, &host) < 0) {
        return HEAD_BAD_HOST;
    }
    if (request->target.authority.len > 0) {
        host = request->target.host;
    } else if (field.ptr == NULL) {
        return HEAD_ACCEPTED; /* HTTP/1.0: head.c has refused the others */
    }
    if (host.is_canonical) {
        request->host = host.raw_name;
        if (host.raw_name.ptr == field.ptr && field.len <= sizeof(engine->host_text)) {
            memcpy(engine->host_text, field.ptr, field.len);
            engine->host_len = (uint8_t)field.len;
            engine->host_name_len = (uint8_t)host.raw_name.len;
        }
        return HEAD_ACCEPTED;
    }
    char *name = arena_alloc(&request->arena, HOST_NAME_BYTES);
    if (name == NULL) {
        return HEAD_OUT_OF_MEMORY;
    }
    request->host = host_name(&host, name);
    return HEAD_ACCEPTED;
}

static enum head_refusal
settle_target(struct weir_request *request)
{
    struct target *target = &request->target;
    if (target_parse(head_target(&request->head), request->head.method, target) < 0) {
        return HEAD_BAD_TARGET;
    }
    if (target->path.ptr == NULL) {
        char *memory = arena_alloc(&request->arena, target->raw_path.len);
        if (memory == NULL) {
            return HEAD_OUT_OF_MEMORY;
        }
        if (target_normalise(target, memory) < 0) {
            return HEAD_BAD_TARGET;
        }
    }
    return HEAD_ACCEPTED;
}

void
request_accept_head(struct weir_request *request)
{
    request->head_read_ns = loop_now_ns(request->engine->loop);
    request->in.ended = request->head.body == HEAD_BODY_NONE;
    request->refusal = settle_target(request);
    if (request->refusal == HEAD_ACCEPTED) {
        request->refusal = settle_host(request);
    }
}

void
request_end(struct weir_request *request, enum request_end end)
{
    request->end = end;
    request->transport = NULL;
    reply_drop_source(request);
    request->engine->handler->end(request);
}

void
request_wake(struct weir_request *request)
{
    if (request->transport != NULL) {
        request->transport->wake(request);
    }
}

uint64_t
request_body_room(const struct weir_request *request)
{
    const struct request_body *in = &request->in;
    if (in->is_checked) {
        return UINT64_MAX; /* nothing of it is kept */
    }
    uint64_t mark_bytes = in->mark_bytes;
    if (mark_bytes > TIGHT_BODY_MARK_BYTES && budget_level() != BUDGET_AMPLE) {
        mark_bytes = TIGHT_BODY_MARK_BYTES;
    }
    return in->queue.bytes < mark_bytes ? mark_bytes - in->queue.bytes : 0;
}

uint64_t
reply_room(const struct weir_request *request)
{
    const struct reply *reply = &request->reply;
    uint64_t mark_bytes = reply->mark_bytes;
    if (mark_bytes > TIGHT_REPLY_MARK_BYTES && budget_level() != BUDGET_AMPLE) {
        mark_bytes = TIGHT_REPLY_MARK_BYTES;
    }
    return reply->queue.bytes < mark_bytes ? mark_bytes - reply->queue.bytes : 0;
}

int
request_body_push(struct weir_request *request, struct weir_str bytes)
{
    struct request_body *in = &request->in;
    WEIR_ASSERT(!in->ended && in->error == 0);
    if (bytes.len > request->limits->body_bytes ||
            in->received_bytes > request->limits->body_bytes - bytes.len) {
        in->error = -EMSGSIZE;
        return in->error;
    }
    if (!in->is_checked && slice_queue_append(&in->queue, bytes) < 0) {
        in->error = -ENOMEM;
        return in->error;
    }
    in->received_bytes += bytes.len;
    return 0;
}

void
request_body_end(struct weir_request *request, struct weir_str trailers)
{
    request->in.ended = true;
    if (trailers.len > 0) {
        /* Without memory the request goes on without its trailers, as it may (RFC 9110 6.5). */
        request->in.trailers = arena_copy(&request->arena, trailers);
    }
}

void
request_body_fail(struct weir_request *request, int error)
{
    WEIR_ASSERT(error < 0);
    if (!request->in.ended && request->in.error == 0) {
        request->in.error = error;
    }
}

uint16_t
request_body_status(int error)
{
    switch (error) {
    case -EMSGSIZE:
        return 413;
    case -E2BIG:
        return 431;
    case -ETIMEDOUT:
        return 408;
    case -ENOMEM:
        return 503;
    default:
        return 400;
    }
}

struct weir_str
weir_request_method(const struct weir_request *request)
{
    return head_method(&request->head);
}

struct weir_str
weir_request_target(const struct weir_request *request)
{
    return head_target(&request->head);
}

struct weir_str
weir_request_path(const struct weir_request *request)
{
    return request->target.path;
}

uint32_t
weir_request_path_flags(const struct weir_request *request)
{
    unsigned flags = request->target.path_flags;
    return ((flags & PATH_ENCODED_SLASH) != 0 ? WEIR_PATH_ENCODED_SLASH : 0) |
            ((flags & PATH_BACKSLASH) != 0 ? WEIR_PATH_BACKSLASH : 0);
}

size_t
weir_path_encode(char *dst, struct weir_str path)
{
    return path_encode(dst, path);
}

struct weir_str
weir_request_query(const struct weir_request *request)
{
    return request->target.query;
}

struct weir_str
weir_request_host(const struct weir_request *request)
{
    return request->host;
}

unsigned
weir_request_version(const struct weir_request *request)
{
    return request->head.version;
}

struct weir_str
weir_request_field(const struct weir_request *request, struct weir_str name)
{
    const struct head *head = &request->head;
    enum field_id id = field_id_find(name);
    if (id != FIELD_OTHER) {
        return head_find(head, id);
    }
    uint32_t i = head_find_named(head, name, 0);
    return i == head->field_count ? weir_str_make(NULL, 0) : head_field_value(head, i);
}

bool
weir_request_field_at(const struct weir_request *request, uint32_t i, struct weir_str *name,
        struct weir_str *value)
{
    if (i >= request->head.field_count) {
        return false;
    }
    *name = head_field_name(&request->head, i);
    *value = head_field_value(&request->head, i);
    return true;
}

void *
weir_request_alloc(struct weir_request *request, size_t bytes)
{
    return arena_alloc(&request->arena, bytes);
}

uint64_t
weir_body_length(const struct weir_request *request)
{
    switch (request->head.body) {
    case HEAD_BODY_NONE:
        return 0;
    case HEAD_BODY_LENGTH:
        return request->head.body_bytes;
    case HEAD_BODY_CHUNKED:
        return LENGTH_UNKNOWN;
    }
    return 0;
}

ssize_t
weir_body_read(struct weir_request *request, void *dst, size_t dst_bytes)
{
    struct request_body *in = &request->in;
    in->wanted = true;
    size_t moved = 0;
    while (moved < dst_bytes && in->read->count > 0) {
        const struct slice *front = slice_queue_at(in->read, 0);
        size_t len = front->len < dst_bytes - moved ? (size_t)front->len : dst_bytes - moved;
        memcpy((char *)dst + moved, front->ptr, len);
        slice_queue_consume(in->read, len);
        moved += len;
    }
    if (moved > 0 || dst_bytes == 0) {
        return (ssize_t)moved;
    }
    if (in->error != 0) {
        return in->error;
    }
    return request_body_is_read(in) ? 0 : -EAGAIN;
}
