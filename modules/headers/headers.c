/* SPDX-License-Identifier: MIT */
/* Changes the fields of requests, before a handler sees them, and of answers, errors included
 * (F150):
 *     { "headers": { "response": { "set": { "x-frame-options": "DENY" }, "remove": "server" } }
 * }
 *
 * First what is removed, then what is set, then what is added. */
#include <weir/module.h>
#include <weir/reply.h>
#include <weir/request.h>
#include <weir/template.h>

struct edits {
    struct weir_map set, add; /* to templates */
    struct weir_list remove;  /* struct weir_str */
};

struct headers_conf {
    struct edits request, response;
};

/* ---- the hooks --------------------------------------------------------------------------- */

/* What a message's fields are changed with. */
struct target {
    int (*set)(struct weir_request *request, struct weir_str name, struct weir_str value);
    int (*add)(struct weir_request *request, struct weir_str name, struct weir_str value);
    int (*remove)(struct weir_request *request, struct weir_str name);
};

static const struct target to_request = { weir_request_field_set, weir_request_field_add,
    weir_request_field_remove };
static const struct target to_response = { weir_reply_set, weir_reply_add, weir_reply_remove };

/* A value that comes out empty is none: nothing is added, and what is set is taken away. */
static int
put(struct weir_request *request, const struct weir_map *map, const struct target *target,
        bool is_set)
{
    int r = 0;
    for (size_t i = 0; i < map->count && r >= 0; i++) {
        const struct weir_map_entry *entry = &map->items[i];
        struct weir_str value = weir_template_text(request, entry->template_);
        if (value.ptr == NULL) {
            return -1;
        }
        if (value.len > 0) {
            r = is_set ? target->set(request, entry->key, value)
                       : target->add(request, entry->key, value);
        } else if (is_set) {
            r = target->remove(request, entry->key);
        }
    }
    return r;
}

static enum weir_verdict
apply(struct weir_request *request, const struct edits *edits, const struct target *target)
{
    for (size_t i = 0; i < edits->remove.count; i++) {
        if (target->remove(request, WEIR_LIST_AT(struct weir_str, &edits->remove, i)) < 0) {
            return WEIR_FAILED;
        }
    }
    int r = put(request, &edits->set, target, true);
    if (r >= 0) {
        r = put(request, &edits->add, target, false);
    }
    return r < 0 ? WEIR_FAILED : WEIR_NEXT;
}

static enum weir_verdict
edit_request(struct weir_request *request, const void *conf)
{
    return apply(request, &((const struct headers_conf *)conf)->request, &to_request);
}

static enum weir_verdict
edit_response(struct weir_request *request, const void *conf)
{
    return apply(request, &((const struct headers_conf *)conf)->response, &to_response);
}

/* ---- the configuration ------------------------------------------------------------------- */

static const struct weir_str between_neighbours[] = {
    WEIR_STR_INIT("connection"),
    WEIR_STR_INIT("content-length"),
    WEIR_STR_INIT("keep-alive"),
    WEIR_STR_INIT("proxy-connection"),
    WEIR_STR_INIT("te"),
    WEIR_STR_INIT("trailer"),
    WEIR_STR_INIT("transfer-encoding"),
    WEIR_STR_INIT("upgrade"),
};
static const struct weir_str of_requests[] = {
    WEIR_STR_INIT("expect"),
    WEIR_STR_INIT("host"),
};

static bool
has_name(const struct weir_str *names, size_t count, struct weir_str name)
{
    for (size_t i = 0; i < count; i++) {
        if (weir_str_eq_icase(names[i], name)) {
            return true;
        }
    }
    return false;
}

static void
check_name(struct weir_conf_report *report, const char *option, struct weir_str name,
        bool is_request)
{
    if (!weir_str_is_token(name)) {
        weir_conf_error(report, option, "\"%.*s\" is no name of a field", WEIR_STR_ARG(name));
    }
    if (has_name(between_neighbours, sizeof(between_neighbours) / sizeof(between_neighbours[0]),
                name)) {
        weir_conf_error(report, option,
                "%.*s says how the message is framed or its connection used, which is the "
                "server's to say",
                WEIR_STR_ARG(name));
    }
    if (is_request &&
            has_name(of_requests, sizeof(of_requests) / sizeof(of_requests[0]), name)) {
        weir_conf_error(report, option, "%.*s of a request cannot be changed",
                WEIR_STR_ARG(name));
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

static void
check_edits(struct weir_conf_report *report, const struct edits *edits, bool is_request)
{
    check_map(report, is_request ? "request.set" : "response.set", &edits->set, is_request);
    check_map(report, is_request ? "request.add" : "response.add", &edits->add, is_request);
    for (size_t i = 0; i < edits->remove.count; i++) {
        check_name(report, is_request ? "request.remove" : "response.remove",
                WEIR_LIST_AT(struct weir_str, &edits->remove, i), is_request);
    }
}

static int
check(const void *conf_, struct weir_conf_report *report)
{
    const struct headers_conf *conf = conf_;
    check_edits(report, &conf->request, true);
    check_edits(report, &conf->response, false);
    return 0;
}

static const struct weir_option edit_options[] = {
    WEIR_MAP(struct edits, set, .element = WEIR_TYPE_TEMPLATE, .keys = WEIR_KEYS_FIELD,
            .context = WEIR_CONTEXT_HEADER, .merge = WEIR_MERGE_APPEND,
            .help = "Fields and their values, in place of what was there; one that comes out "
                    "empty is removed"),
    WEIR_MAP(struct edits, add, .element = WEIR_TYPE_TEMPLATE, .keys = WEIR_KEYS_FIELD,
            .context = WEIR_CONTEXT_HEADER, .merge = WEIR_MERGE_APPEND,
            .help = "Fields and their values, beside what was there"),
    WEIR_LIST(struct edits, remove, .element = WEIR_TYPE_STRING, .merge = WEIR_MERGE_APPEND,
            .help = "Names of fields that are taken away first"),
};

static const struct weir_option options[] = {
    WEIR_OBJECT(struct headers_conf, request, struct edits,
            .members = WEIR_OPTIONS(struct edits, edit_options),
            .help = "Changes of the request, seen by handlers and by whom it is passed on to"),
    WEIR_OBJECT(struct headers_conf, response, struct edits,
            .members = WEIR_OPTIONS(struct edits, edit_options),
            .help = "Changes of every answer, errors included"),
};

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_PREPARE, .request = edit_request },
    /* Behind those that replace answers. */
    { .on = WEIR_ON_REPLY_HEAD, .stage = WEIR_STAGE_TRANSFORM, .request = edit_response },
};

const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("headers", "1.0.0", "Changes the fields of requests and answers"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "headers",
            .options = WEIR_OPTIONS(struct headers_conf, options),
            .hooks = WEIR_HOOKS(hooks),
            .help = "Sets, adds and removes fields of requests and answers",
            .conf_check = check }),
};
