/* SPDX-License-Identifier: MIT */
/* A request's memory, and its head once read. */
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

/* A writer waits above it. */
#define REPLY_MARK_BYTES (1u << 20)

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
    request_body_init(&request->in);
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
    request_body_drop(&request->in);
    reply_drop_body(&request->reply);
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

/* Nobody is to take the Host that an absolute target overrules for the one that was asked (RFC
 * 9112 section 3.2.2): the field says what the target does. */
static void
overrule_host(struct head *head, struct weir_str authority)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].id == FIELD_HOST) {
            head->fields[i].value_at = (uint32_t)(authority.ptr - head->bytes);
            head->fields[i].value_len = (uint32_t)authority.len;
        }
    }
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
        overrule_host(&request->head, request->target.authority);
    } else if (field.ptr == NULL) {
        return HEAD_ACCEPTED; /* HTTP/1.0: head_judge() has refused the others */
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
