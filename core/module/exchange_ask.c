/* SPDX-License-Identifier: MIT */
/* What is sent to an upstream: a request line, the request's fields where they are true of it
 * too, and framing made anew. Whatever the client wrote, this is one request (HTTP.md). */
#include <errno.h>

#include "base/num.h"
#include "http/field.h"
#include "http/host.h"
#include "http/request.h"
#include "http/spill.h"
#include "http/upgrade.h"
#include "module/client.h"
#include "module/course.h"
#include "module/exchange.h"
#include "module/generation.h"
#include "upstream/exchange.h"

/* Blanks, version, line ends, and the framing fields. */
#define OWN_BYTES 200u

int
exchange_read_ask(const struct weir_exchange_ask *from, struct weir_exchange_ask *to)
{
    *to = (struct weir_exchange_ask){ .bytes = sizeof(*to) };
    memcpy(to, from, from->bytes < sizeof(*to) ? from->bytes : sizeof(*to));
    bool is_good = (to->field_count == 0 || to->fields != NULL) &&
            (to->added_count == 0 || to->added != NULL);
    return is_good ? 0 : -EINVAL;
}

/* ---- which fields ------------------------------------------------------------------------ */

/* Never a module's to give: they follow from the rest, or are between two neighbours. */
static bool
is_ours(enum field_id id)
{
    return id == FIELD_HOST || id == FIELD_CONTENT_LENGTH || id == FIELD_EXPECT ||
            (field_flags(id) & FIELD_HOP) != 0;
}

static bool
is_replaced(const struct weir_exchange_ask *ask, struct weir_str name)
{
    for (uint32_t i = 0; i < ask->field_count; i++) {
        if (weir_str_eq_icase(ask->fields[i].name, name)) {
            return true;
        }
    }
    return false;
}

/* What decides about all of a request's fields. */
struct sieve {
    const struct weir_request *request;
    const struct weir_exchange_ask *ask;
    bool is_trusted;     /* the peer */
    bool has_connection; /* and its word about other fields */
};

/* Whether the client's Connection names it: then it was meant for us. */
static bool
is_named(const struct head *head, struct weir_str name)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].id == FIELD_CONNECTION &&
                weir_str_list_has(head_field_value(head, i), name)) {
            return true;
        }
    }
    return false;
}

/* What hooks have put there stands behind what was sent, and is not the client's to take away
 * or to forge. */
static bool
is_clients(const struct weir_request *request, uint32_t i)
{
    uint32_t end = request->edits == NULL ? request->reader.len : request->edits->sent_bytes;
    return request->head.fields[i].name_at < end && request->reader.len > 0;
}

static bool
goes_along(const struct sieve *sieve, uint32_t i)
{
    const struct head *head = &sieve->request->head;
    const struct head_field *field = &head->fields[i];
    struct weir_str name = head_field_name(head, i);
    bool needs_trust = (field_flags(field->id) & FIELD_NEEDS_TRUST) != 0;
    if (is_ours(field->id) || field->id == FIELD_PROXY || (needs_trust && !sieve->is_trusted) ||
            is_replaced(sieve->ask, name)) {
        return false;
    }
    return !sieve->has_connection || !is_clients(sieve->request, i) || !is_named(head, name);
}

/* The client's, with an underscore in its name (F42). */
static bool
is_ambiguous(const struct sieve *sieve, uint32_t i)
{
    const struct head *head = &sieve->request->head;
    return field_name_has_underscore(head_field_name(head, i)) &&
            is_clients(sieve->request, i) && !is_replaced(sieve->ask, head_field_name(head, i));
}

static struct sieve
make_sieve(const struct weir_request *request, const struct weir_exchange_ask *ask)
{
    const struct course_map *map = course_map_of(request);
    const struct site_trust *trust = map->generation == NULL ? NULL : generation_trust(request);
    return (struct sieve){
        .request = request,
        .ask = ask,
        .is_trusted = trust != NULL && client_peer_is_trusted(trust, request),
        .has_connection = request->head.first[FIELD_CONNECTION] != 0,
    };
}

/* ---- the parts --------------------------------------------------------------------------- */

struct parts {
    struct weir_str method, path, query, host;
    bool has_query;
    enum method id;
};

/* The request's own path as it was sent, unless it was written so that another reader might
 * take it for a different one. Returns 0 or -ENOMEM. */
static int
own_path(struct weir_request *request, struct parts *parts)
{
    const struct target *target = &request->target;
    bool climbs = (target->path_flags & (PATH_DOT_SEGMENT | PATH_CONTROL)) != 0;
    bool is_doubled = weir_str_starts_with(target->raw_path, WEIR_STR("//"));
    parts->path = target->raw_path.len > 0 ? target->raw_path : target->path;
    parts->query = target->query;
    parts->has_query = target->has_query;
    if (!climbs && !is_doubled) {
        return 0;
    }
    char *encoded = arena_alloc(&request->arena, 3 * target->path.len);
    if (encoded == NULL) {
        return -ENOMEM;
    }
    parts->path = weir_str_make(encoded, path_encode(encoded, target->path));
    return 0;
}

static int
read_parts(struct weir_request *request, const struct exchange *exchange,
        const struct weir_exchange_ask *ask, struct parts *parts)
{
    struct target target;
    struct host host;
    *parts = (struct parts){ .method = ask->method.len > 0 ? ask->method
                                                           : head_method(&request->head) };
    parts->id = method_parse(parts->method);
    if (parts->id == METHOD_OTHER || parts->id == METHOD_CONNECT) {
        return -EINVAL;
    }
    parts->host = ask->host.len > 0 ? ask->host : head_find(&request->head, FIELD_HOST);
    if (parts->host.len == 0) {
        parts->host = request->target.authority; /* HTTP/1.0 may come without the field */
    }
    if (parts->host.len == 0) {
        parts->host = exchange->group->settings->name; /* HTTP/1.1 wants one */
    }
    if (host_parse(parts->host, &host) < 0) {
        return -EINVAL;
    }
    if (ask->target.len == 0) {
        return own_path(request, parts);
    }
    if (target_parse(ask->target, parts->id, &target) < 0 ||
            (target.form != TARGET_ORIGIN && target.form != TARGET_ASTERISK)) {
        return -EINVAL;
    }
    parts->path = ask->target;
    return 0;
}

static int
check_fields(const struct weir_ask_field *fields, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct weir_ask_field *field = &fields[i];
        bool is_valid = field_name_is_valid(field->name) &&
                (field->value.ptr == NULL ||
                        (field_value_is_valid(field->value) &&
                                !is_ours(field_id_find(field->name))));
        if (!is_valid) {
            return -EINVAL;
        }
    }
    return 0;
}

/* How the body goes: what was read of it before does not. */
static void
settle_body(struct exchange *exchange, const struct weir_request *request, uint64_t *length)
{
    const struct request_body *in = &request->in;
    uint64_t here = in->queue.bytes + (in->spill == NULL ? 0 : spill_bytes(in->spill));
    uint64_t gone = in->received_bytes - here;
    exchange->is_chunked = in->read != &in->queue || /* filters may change its length */
            (request->head.body == HEAD_BODY_CHUNKED && !in->ended);
    *length = request->head.body == HEAD_BODY_LENGTH ? request->head.body_bytes - gone : here;
}

/* ---- writing ----------------------------------------------------------------------------- */

static char *
put(char *at, struct weir_str s)
{
    return s.len == 0 ? at : (char *)mempcpy(at, s.ptr, s.len);
}

static char *
put_field(char *at, struct weir_str name, struct weir_str value)
{
    at = put(put(at, name), WEIR_STR(": "));
    return put(put(at, value), WEIR_STR("\r\n"));
}

static size_t
bytes_max(const struct weir_request *request, const struct weir_exchange_ask *ask,
        const struct parts *parts)
{
    size_t bytes = OWN_BYTES + parts->method.len + parts->path.len + parts->query.len +
            parts->host.len + ask->upgrade.len;
    if ((ask->flags & WEIR_EXCHANGE_NO_FIELDS) == 0) {
        for (uint32_t i = 0; i < request->head.field_count; i++) {
            const struct head_field *field = &request->head.fields[i];
            bytes += (size_t)field->name_len + field->value_len + 4;
        }
    }
    for (uint32_t i = 0; i < ask->field_count; i++) {
        bytes += ask->fields[i].name.len + ask->fields[i].value.len + 4;
    }
    for (uint32_t i = 0; i < ask->added_count; i++) {
        bytes += ask->added[i].name.len + ask->added[i].value.len + 4;
    }
    return bytes;
}

static char *
put_given(char *at, const struct weir_ask_field *fields, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (fields[i].value.ptr != NULL) {
            at = put_field(at, fields[i].name, weir_str_trim(fields[i].value));
        }
    }
    return at;
}

static char *
put_fields(char *at, struct weir_request *request, const struct weir_exchange_ask *ask,
        uint64_t *underscores)
{
    const struct sieve sieve = make_sieve(request, ask);
    bool takes_own = (ask->flags & WEIR_EXCHANGE_NO_FIELDS) == 0;
    for (uint32_t i = 0; takes_own && i < request->head.field_count; i++) {
        if (is_ambiguous(&sieve, i)) {
            ++*underscores;
        } else if (goes_along(&sieve, i)) {
            at = put_field(at, head_field_name(&request->head, i),
                    head_field_value(&request->head, i));
        }
    }
    at = put_given(at, ask->fields, ask->field_count);
    return put_given(at, ask->added, ask->added_count);
}

static char *
put_framing(char *at, struct exchange *exchange, const struct weir_request *request,
        enum method method)
{
    uint64_t length = 0;
    if (exchange->has_body) {
        settle_body(exchange, request, &length);
    }
    if (exchange->is_chunked) {
        return put(at, WEIR_STR("Transfer-Encoding: chunked\r\n"));
    }
    /* That there is none is said where one would be expected (RFC 9110 section 8.6). */
    if (exchange->has_body || method == METHOD_POST || method == METHOD_PUT ||
            method == METHOD_PATCH) {
        at = put(at, WEIR_STR("Content-Length: "));
        at += num_format_u64(at, length);
        at = put(at, WEIR_STR("\r\n"));
    }
    return at;
}

/* Only what the client offers, to whom 101 will be the answer, and in the way it does. */
static int
settle_upgrade(struct exchange *exchange, struct weir_request *request,
        const struct weir_exchange_ask *ask, const struct parts *parts)
{
    if (ask->upgrade.len == 0) {
        return 0;
    }
    if (!upgrade_is_offered(request, ask->upgrade) || parts->id != request->head.method) {
        return -EINVAL;
    }
    exchange->upgrade = arena_copy(&request->arena, ask->upgrade);
    return exchange->upgrade.ptr == NULL ? -ENOMEM : 0;
}

int
exchange_fill(struct exchange *exchange, struct weir_request *request,
        const struct weir_exchange_ask *ask)
{
    struct parts parts;
    int r = read_parts(request, exchange, ask, &parts);
    if (r == 0) {
        r = check_fields(ask->fields, ask->field_count);
    }
    if (r == 0) {
        r = check_fields(ask->added, ask->added_count);
    }
    if (r == 0) {
        r = settle_upgrade(exchange, request, ask, &parts);
    }
    char *memory;
    if (r == 0) {
        r = slice_alloc(bytes_max(request, ask, &parts), &exchange->head, &memory);
    }
    if (r < 0) {
        return r;
    }
    exchange->has_body = (ask->flags & WEIR_EXCHANGE_NO_BODY) == 0 &&
            request->head.body != HEAD_BODY_NONE;
    exchange->is_to_head = parts.id == METHOD_HEAD;
    exchange->is_idempotent = method_is_idempotent(parts.id);
    char *at = put(put(memory, parts.method), WEIR_STR(" "));
    at = put(at, parts.path);
    if (parts.has_query) {
        at = put(put(at, WEIR_STR("?")), parts.query);
    }
    at = put(at, WEIR_STR(" HTTP/1.1\r\n"));
    at = put_field(at, WEIR_STR("Host"), parts.host);
    uint64_t underscores = 0;
    at = put_fields(at, request, ask, &underscores);
    if (underscores > 0) {
        upstream_count_underscores(exchange->group, underscores);
    }
    if (exchange->upgrade.len > 0) {
        at = put(at, WEIR_STR("Connection: upgrade\r\n"));
        at = put_field(at, WEIR_STR("Upgrade"), exchange->upgrade);
    }
    at = put_framing(at, exchange, request, parts.id);
    at = put(at, WEIR_STR("\r\n"));
    exchange->head.len = (uint64_t)(at - memory);
    return 0;
}
