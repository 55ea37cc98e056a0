/* SPDX-License-Identifier: MIT */
/* What a request says about the target that it is to reach: the key that the upstream's balance
 * asks for, and the cookie that it was given when it was here before. */
#include <errno.h>

#include <weir/reply.h>
#include <weir/template.h>

#include "http/head.h"
#include "http/request.h"
#include "module/exchange.h"
#include "upstream/exchange.h"

int
exchange_read_wish(struct exchange *exchange, struct weir_request *request)
{
    const struct upstream_settings *settings = exchange->group->settings;
    struct upstream_wish *wish = &exchange->wish;
    if (settings->key != NULL) {
        struct weir_str key = weir_template_text(request, settings->key);
        if (key.ptr == NULL) {
            return -ENOMEM;
        }
        wish->has_key = key.len > 0;
        wish->key = balance_hash(key);
    }
    if (settings->sticky.cookie.len > 0) {
        wish->has_id = sticky_parse(head_find_cookie(&request->head, settings->sticky.cookie),
                &wish->id);
    }
    return 0;
}

int
exchange_say_target(const struct exchange *exchange, struct weir_request *request)
{
    const struct sticky_settings *sticky = &exchange->group->settings->sticky;
    const struct upstream_wish *wish = &exchange->wish;
    uint64_t id = exchange->target->sticky_id;
    if (sticky->cookie.len == 0 || (wish->has_id && (wish->id == id || wish->keeps_id))) {
        return 0;
    }
    size_t bytes = sticky->cookie.len + 1 + STICKY_VALUE_BYTES + sticky->attributes.len;
    char *text = arena_alloc(&request->arena, bytes);
    if (text == NULL) {
        return -ENOMEM;
    }
    char *at = mempcpy(text, sticky->cookie.ptr, sticky->cookie.len);
    *at++ = '=';
    sticky_format(id, at);
    memcpy(at + STICKY_VALUE_BYTES, sticky->attributes.ptr, sticky->attributes.len);
    return weir_reply_add(request, WEIR_STR("Set-Cookie"), weir_str_make(text, bytes));
}
