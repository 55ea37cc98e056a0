/* SPDX-License-Identifier: MIT */
/* Changes of fields, in the language of the module headers: of what the upstream is sent, and
 * of the answer that it gave. First what is removed, then what is set, then what is added.
 * Other handlers see the request as it was, and errors of the server's own stay as they are. */
#include <errno.h>

#include <weir/reply.h>
#include <weir/request.h>
#include <weir/template.h>

#include "proxy.h"

/* ---- the request ------------------------------------------------------------------------- */

static bool
has_edits(const struct proxy_edits *edits)
{
    return edits->set.count + edits->add.count + edits->remove.count > 0;
}

/* Room for all that stands there and what may come. */
static int
make_room(struct weir_request *request, const struct proxy_edits *edits,
        struct proxy_fields *fields)
{
    size_t count = fields->count + edits->set.count + edits->remove.count;
    struct weir_ask_field *items = weir_request_alloc(request, (count + 1) * sizeof(*items));
    fields->added = weir_request_alloc(request, (edits->add.count + 1) * sizeof(*items));
    if (items == NULL || fields->added == NULL) {
        return -ENOMEM;
    }
    memcpy(items, fields->items, fields->count * sizeof(*items));
    fields->items = items;
    return 0;
}

/* The one field of that name, in place of ours; value.ptr NULL: none at all. */
static void
replace(struct proxy_fields *fields, struct weir_str name, struct weir_str value)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < fields->count; i++) {
        if (!weir_str_eq_icase(fields->items[i].name, name)) {
            fields->items[left++] = fields->items[i];
        }
    }
    fields->items[left++] = (struct weir_ask_field){ name, value };
    fields->count = left;
}

int
proxy_edit_request(struct weir_request *request, const struct proxy_edits *edits,
        struct proxy_fields *fields)
{
    if (!has_edits(edits)) {
        return 0;
    }
    if (make_room(request, edits, fields) < 0) {
        return -ENOMEM;
    }
    struct weir_str none = weir_str_make(NULL, 0);
    for (size_t i = 0; i < edits->remove.count; i++) {
        replace(fields, WEIR_LIST_AT(struct weir_str, &edits->remove, i), none);
    }
    for (size_t i = 0; i < edits->set.count; i++) {
        const struct weir_map_entry *entry = &edits->set.items[i];
        struct weir_str value = weir_template_text(request, entry->template_);
        if (value.ptr == NULL) {
            return -ENOMEM;
        }
        replace(fields, entry->key, value.len > 0 ? value : none);
    }
    for (size_t i = 0; i < edits->add.count; i++) {
        const struct weir_map_entry *entry = &edits->add.items[i];
        struct weir_str value = weir_template_text(request, entry->template_);
        if (value.ptr == NULL) {
            return -ENOMEM;
        }
        if (value.len > 0) {
            fields->added[fields->added_count++] = (struct weir_ask_field){ entry->key, value };
        }
    }
    return 0;
}

/* ---- the answer -------------------------------------------------------------------------- */

int
proxy_edit_answer(struct weir_request *request, const struct proxy_edits *edits)
{
    int r = 0;
    for (size_t i = 0; i < edits->remove.count && r >= 0; i++) {
        r = weir_reply_remove(request, WEIR_LIST_AT(struct weir_str, &edits->remove, i));
    }
    for (size_t i = 0; i < edits->set.count && r >= 0; i++) {
        const struct weir_map_entry *entry = &edits->set.items[i];
        struct weir_str value = weir_template_text(request, entry->template_);
        r = value.ptr == NULL   ? -ENOMEM
                : value.len > 0 ? weir_reply_set(request, entry->key, value)
                                : weir_reply_remove(request, entry->key);
    }
    for (size_t i = 0; i < edits->add.count && r >= 0; i++) {
        const struct weir_map_entry *entry = &edits->add.items[i];
        struct weir_str value = weir_template_text(request, entry->template_);
        r = value.ptr == NULL   ? -ENOMEM
                : value.len > 0 ? weir_reply_add(request, entry->key, value)
                                : 0;
    }
    return r < 0 ? r : 0;
}

/* ---- the configuration ------------------------------------------------------------------- */

static const struct weir_str between_neighbours[] = {
    WEIR_STR_INIT("connection"),
    WEIR_STR_INIT("content-length"),
    WEIR_STR_INIT("expect"),
    WEIR_STR_INIT("keep-alive"),
    WEIR_STR_INIT("proxy-authenticate"),
    WEIR_STR_INIT("proxy-authorization"),
    WEIR_STR_INIT("proxy-connection"),
    WEIR_STR_INIT("te"),
    WEIR_STR_INIT("trailer"),
    WEIR_STR_INIT("transfer-encoding"),
    WEIR_STR_INIT("upgrade"),
};

static void
check_name(struct weir_conf_report *report, const char *option, struct weir_str name,
        bool is_request)
{
    if (!weir_str_is_token(name)) {
        weir_conf_error(report, option, "\"%.*s\" is no name of a field", WEIR_STR_ARG(name));
    }
    for (size_t i = 0; i < sizeof(between_neighbours) / sizeof(between_neighbours[0]); i++) {
        if (weir_str_eq_icase(between_neighbours[i], name)) {
            weir_conf_error(report, option,
                    "%.*s says how the message is framed or its connection used, which is the "
                    "server's to say",
                    WEIR_STR_ARG(name));
        }
    }
    if (is_request && weir_str_eq_icase(name, WEIR_STR("host"))) {
        weir_conf_error(report, option, "the Host to ask for is the option `host`");
    }
}

static void
check_map(struct weir_conf_report *report, const char *option, const struct weir_map *map,
        bool is_request)
{
    for (size_t i = 0; i < map->count; i++) {
        check_name(report, option, map->items[i].key, is_request);
    }
}

void
proxy_check_edits(const struct proxy_headers *headers, struct weir_conf_report *report)
{
    check_map(report, "headers.request.set", &headers->request.set, true);
    check_map(report, "headers.request.add", &headers->request.add, true);
    check_map(report, "headers.response.set", &headers->response.set, false);
    check_map(report, "headers.response.add", &headers->response.add, false);
    for (size_t i = 0; i < headers->request.remove.count; i++) {
        check_name(report, "headers.request.remove",
                WEIR_LIST_AT(struct weir_str, &headers->request.remove, i), true);
    }
    for (size_t i = 0; i < headers->response.remove.count; i++) {
        check_name(report, "headers.response.remove",
                WEIR_LIST_AT(struct weir_str, &headers->response.remove, i), false);
    }
}
