/* SPDX-License-Identifier: MIT */
/* What hooks may change of a request before it is routed, and before it is answered. */
#include <errno.h>

#include <weir/request.h>

#include "http/request.h"
#include "module/course_parts.h"

/* True in a hook of the phases up to `last`, and in what resumes one. */
static bool
is_before(const struct weir_request *request, enum weir_phase last)
{
    const struct chain_entry *calling = course_of(request)->calling;
    return calling != NULL && calling->phase <= last && calling->phase != WEIR_ON_REQUEST_BODY;
}

int
weir_request_set_method(struct weir_request *request, struct weir_str method)
{
    /* `*` has a meaning for OPTIONS alone (RFC 9110 section 9.3.7). */
    if (!is_before(request, WEIR_ON_REWRITE) ||
            weir_str_eq(request->target.path, WEIR_STR("*"))) {
        return -EINVAL;
    }
    return head_edit_method(&request->head, &request->edits, &request->arena, method);
}

int
weir_request_set_host(struct weir_request *request, struct weir_str host)
{
    struct weir_str copy;
    struct host parsed;
    if (!is_before(request, WEIR_ON_REWRITE) || host_parse(host, &parsed) < 0) {
        return -EINVAL;
    }
    copy = arena_copy(&request->arena, parsed.raw_name);
    char *name = copy.ptr == NULL ? NULL : arena_alloc(&request->arena, HOST_NAME_BYTES);
    if (name == NULL) {
        return -ENOMEM;
    }
    parsed.raw_name = copy;
    request->host = host_name(&parsed, name);
    return 0;
}

int
weir_request_set_target(struct weir_request *request, struct weir_str text)
{
    enum method sent = request_sent_method(request);
    if (!is_before(request, WEIR_ON_REWRITE) || sent == METHOD_CONNECT || text.len == 0 ||
            text.ptr[0] != '/' || text.len > request->limits->request_line_bytes) {
        return -EINVAL;
    }
    struct weir_str raw = arena_copy(&request->arena, text);
    if (raw.ptr == NULL) {
        return -ENOMEM;
    }
    struct target target;
    if (target_parse(raw, request->head.method, &target) < 0) {
        return -EINVAL;
    }
    if (target.path.ptr == NULL) {
        char *memory = arena_alloc(&request->arena, target.raw_path.len);
        if (memory == NULL) {
            return -ENOMEM;
        }
        if (target_normalise(&target, memory) < 0) {
            return -EINVAL;
        }
    }
    request->target.raw_path = target.raw_path;
    request->target.path = target.path;
    request->target.path_flags = target.path_flags;
    request->target.query = target.query;
    request->target.has_query = target.has_query;
    return 0;
}

int
weir_request_field_set(struct weir_request *request, struct weir_str name,
        struct weir_str value)
{
    return is_before(request, WEIR_ON_PREPARE)
            ? head_edit_set(&request->head, &request->edits, &request->arena, name, value)
            : -EINVAL;
}

int
weir_request_field_add(struct weir_request *request, struct weir_str name,
        struct weir_str value)
{
    return is_before(request, WEIR_ON_PREPARE)
            ? head_edit_add(&request->head, &request->edits, &request->arena, name, value)
            : -EINVAL;
}

int
weir_request_field_remove(struct weir_request *request, struct weir_str name)
{
    return is_before(request, WEIR_ON_PREPARE)
            ? head_edit_remove(&request->head, &request->edits, &request->arena, name)
            : -EINVAL;
}
