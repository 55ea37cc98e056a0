/* SPDX-License-Identifier: MIT */
#include "http/upgrade.h"

#include <errno.h>

#include <weir/request.h>

#include "base/assert.h"
#include "http/field.h"

/* The name of a protocol, and its version, if it says one. */
static struct weir_str
name_of(struct weir_str protocol)
{
    const char *slash = memchr(protocol.ptr, '/', protocol.len);
    return slash == NULL ? protocol
                         : weir_str_make(protocol.ptr, (size_t)(slash - protocol.ptr));
}

bool
upgrade_is_for_tunnels(struct weir_str protocol)
{
    static const struct weir_str never[] = {
        WEIR_STR_INIT("h2c"),
        WEIR_STR_INIT("h2"),
        WEIR_STR_INIT("h3"),
        WEIR_STR_INIT("HTTP"),
        WEIR_STR_INIT("TLS"),
    };
    struct weir_str name = protocol.len == 0 ? protocol : name_of(protocol);
    struct weir_str version = weir_str_make(name.ptr + name.len, protocol.len - name.len);
    if (!field_name_is_valid(name) ||
            (version.len > 0 &&
                    !field_name_is_valid(weir_str_make(version.ptr + 1, version.len - 1)))) {
        return false; /* no token, or no two with a slash between */
    }
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        if (weir_str_eq_icase(name, never[i])) {
            return false;
        }
    }
    return true;
}

static bool
names_upgrade(const struct head *head)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].id == FIELD_CONNECTION &&
                weir_str_list_has(head_field_value(head, i), WEIR_STR("upgrade"))) {
            return true;
        }
    }
    return false;
}

/* Whether the request may go on in another protocol at all: one without content, so that
 * nothing of it stands between the head and the tunnel, and to whose answer it makes no
 * difference. */
static bool
may_switch(const struct weir_request *request)
{
    const struct head *head = &request->head;
    return head->first[FIELD_UPGRADE] != 0 && head->version == 11 &&
            head->body == HEAD_BODY_NONE && head->method != METHOD_HEAD &&
            head->method != METHOD_CONNECT && request_sent_method(request) == head->method &&
            request->transport != NULL && request->transport->can_switch && names_upgrade(head);
}

/* RFC 6455 section 4.1. */
static bool
fits_method(const struct weir_request *request, struct weir_str protocol)
{
    return request->head.method == METHOD_GET ||
            !weir_str_eq_icase(protocol, WEIR_STR("websocket"));
}

bool
weir_request_upgrade_at(const struct weir_request *request, uint32_t i,
        struct weir_str *protocol)
{
    if (!may_switch(request)) {
        return false;
    }
    const struct head *head = &request->head;
    for (uint32_t j = 0; j < head->field_count; j++) {
        struct weir_str rest = head_field_value(head, j), part;
        if (head->fields[j].id != FIELD_UPGRADE) {
            continue;
        }
        while (weir_str_split(&rest, ',', &part)) {
            if (upgrade_is_for_tunnels(part) && fits_method(request, part) && i-- == 0) {
                *protocol = part;
                return true;
            }
        }
    }
    return false;
}

bool
upgrade_is_offered(const struct weir_request *request, struct weir_str protocol)
{
    struct weir_str offered;
    for (uint32_t i = 0; weir_request_upgrade_at(request, i, &offered); i++) {
        if (weir_str_eq_icase(offered, protocol)) {
            return true;
        }
    }
    return false;
}

void
request_switch(struct weir_request *request)
{
    struct request_body *in = &request->in;
    WEIR_ASSERT(reply_is_switch(&request->reply) && in->ended && in->queue.bytes == 0);
    request_body_drop(in);
    request_body_init(in);
    in->ended = false;
    in->is_raw = in->wanted = true;
}
