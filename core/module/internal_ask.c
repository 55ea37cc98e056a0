/* SPDX-License-Identifier: MIT */
/* What an internal request is made of: a head that is held to the same rules as a client's, the
 * asking request's fields where they are true of it too, and who asks for whom. */
#include <errno.h>

#include "http/request.h"
#include "module/internal.h"

/* Fields of the asking request that would not be true of this one. */
static bool
is_left_out(enum field_id id)
{
    static const enum field_id of_this_one[] = {
        FIELD_HOST,
        FIELD_EXPECT,
        FIELD_CONTENT_LENGTH,
        FIELD_CONTENT_TYPE,
        FIELD_CONTENT_ENCODING,
        FIELD_CONTENT_RANGE,
        FIELD_CONTENT_LANGUAGE,
        FIELD_CONTENT_LOCATION,
        FIELD_RANGE,
        FIELD_IF_RANGE,
        FIELD_IF_MATCH,
        FIELD_IF_NONE_MATCH,
        FIELD_IF_MODIFIED_SINCE,
        FIELD_IF_UNMODIFIED_SINCE,
    };
    for (size_t i = 0; i < sizeof(of_this_one) / sizeof(of_this_one[0]); i++) {
        if (id == of_this_one[i]) {
            return true;
        }
    }
    return (field_flags(id) & FIELD_HOP) != 0;
}

static bool
is_replaced(const struct weir_ask *ask, struct weir_str name)
{
    for (uint32_t i = 0; i < ask->field_count; i++) {
        if (weir_str_eq_icase(ask->fields[i].name, name)) {
            return true;
        }
    }
    return false;
}

static enum head_refusal
add_fields(struct head_reader *reader, const struct weir_request *outer,
        const struct weir_ask *ask)
{
    enum head_refusal refusal = HEAD_ACCEPTED;
    bool has_outers = outer->refusal == HEAD_ACCEPTED && (ask->flags & WEIR_ASK_NO_FIELDS) == 0;
    struct weir_str name, value;
    for (uint32_t i = 0; has_outers && refusal == HEAD_ACCEPTED &&
            weir_request_field_at(outer, i, &name, &value);
            i++) {
        if (!is_left_out(field_id_find(name)) && !is_replaced(ask, name)) {
            refusal = head_reader_add(reader, name, value);
        }
    }
    for (uint32_t i = 0; refusal == HEAD_ACCEPTED && i < ask->field_count; i++) {
        const struct weir_ask_field *field = &ask->fields[i];
        enum field_id id = field_id_find(field->name);
        if (id == FIELD_HOST || id == FIELD_CONTENT_LENGTH || id == FIELD_EXPECT) {
            return HEAD_BAD_FIELD; /* they follow from the rest of what is asked */
        }
        if (field->value.ptr != NULL) {
            refusal = head_reader_add(reader, field->name, field->value);
        }
    }
    return refusal;
}

static struct weir_str
method_of(const struct weir_request *outer, const struct weir_ask *ask)
{
    bool is_head = outer->refusal == HEAD_ACCEPTED && request_sent_method(outer) == METHOD_HEAD;
    return ask->method.len > 0 ? ask->method : is_head ? WEIR_STR("HEAD") : WEIR_STR("GET");
}

/* The head, through the same reader as a client's, so that it is held to the same rules. */
static enum head_refusal
read_head(struct weir_request *inner, const struct weir_request *outer,
        const struct weir_ask *ask)
{
    struct head *head = &inner->head;
    struct head_reader *reader = &inner->reader;
    bool is_accepted = outer->refusal == HEAD_ACCEPTED;
    struct weir_str host = ask->host.len > 0 || !is_accepted
            ? ask->host
            : weir_request_field(outer, WEIR_STR("Host"));
    enum head_refusal refusal = head_reader_begin(reader, 20, method_of(outer, ask),
            ask->target);
    if (refusal == HEAD_ACCEPTED && host.len > 0) {
        refusal = head_reader_add(reader, WEIR_STR("Host"), host);
    }
    if (refusal == HEAD_ACCEPTED) {
        refusal = add_fields(reader, outer, ask);
    }
    if (refusal == HEAD_ACCEPTED) {
        head->minor = host.len > 0 ? 1 : 0; /* none is asked of a client of HTTP/1.0 */
        refusal = head_reader_end(reader, ask->body.len > 0);
    }
    if (refusal != HEAD_ACCEPTED) {
        return refusal;
    }
    head->version = is_accepted ? outer->head.version : 11;
    head->minor = head->version == 10 ? 0 : 1;
    head->body_bytes = ask->body.len;
    head->body = ask->body.len > 0 ? HEAD_BODY_LENGTH : HEAD_BODY_NONE;
    request_accept_head(inner);
    return inner->refusal;
}

/* Who asks, where, and about whom: as the outer one. */
static int
take_after(struct weir_request *inner, const struct weir_request *outer,
        const struct weir_ask *ask)
{
    inner->origin = outer->origin;
    inner->peer = outer->peer;
    inner->client = outer->client.family != 0 ? outer->client : outer->peer;
    inner->depth = (uint8_t)(outer->depth + 1);
    inner->is_marked_only = (ask->flags & WEIR_ASK_MARKED_ONLY) != 0;
    if (outer->id.len > 0) {
        inner->id = arena_copy(&inner->arena, outer->id);
    }
    if (ask->host.len == 0 && outer->host.len > 0) {
        inner->host = arena_copy(&inner->arena, outer->host); /* hooks may have changed it */
    }
    bool has_copies = (outer->id.len == 0 || inner->id.ptr != NULL) &&
            (ask->host.len > 0 || outer->host.len == 0 || inner->host.ptr != NULL);
    return has_copies ? 0 : -ENOMEM;
}

int
internal_fill(struct weir_request *inner, const struct weir_request *outer,
        const struct weir_ask *ask)
{
    enum head_refusal refusal = read_head(inner, outer, ask);
    if (refusal != HEAD_ACCEPTED) {
        return refusal == HEAD_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
    }
    if (inner->head.method == METHOD_CONNECT || ask->target.ptr[0] != '/') {
        return -EINVAL;
    }
    int r = take_after(inner, outer, ask);
    if (r == 0 && ask->body.len > 0) {
        r = request_body_push(inner, ask->body);
    }
    if (r == 0 && ask->body.len > 0) {
        request_body_end(inner, weir_str_make(NULL, 0));
    }
    return r;
}

/* What the asker's table knows of; what it does not is zero. */
int
internal_read_ask(const struct weir_ask *from, struct weir_ask *to)
{
    *to = (struct weir_ask){ .bytes = sizeof(*to) };
    memcpy(to, from, from->bytes < sizeof(*to) ? from->bytes : sizeof(*to));
    return to->target.len == 0 || (to->field_count > 0 && to->fields == NULL) ? -EINVAL : 0;
}
