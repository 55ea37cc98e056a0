/* SPDX-License-Identifier: MIT */
/* A page that a route makes. It is asked for by an internal request; when that fails, is late,
 * or is answered by an error itself, the answer in hand stays as it is, so that an error of an
 * error page leads nowhere. For the same reason internal requests ask for none: whoever takes
 * their answer over has pages of its own. */
#include <errno.h>
#include <string.h>

#include <weir/log.h>
#include <weir/reply.h>
#include <weir/request.h>
#include <weir/template.h>

#include "error_pages.h"

/* What the error said that its page does not say in its place. */
struct fields {
    struct {
        struct weir_str name, value;
    } * items; /* the request's memory */
    uint32_t count;
};

static bool
is_one_of(struct weir_str name, const struct weir_str *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (weir_str_eq_icase(name, names[i])) {
            return true;
        }
    }
    return false;
}

/* Of the body that gives way (RFC 9110 section 8). */
static bool
is_of_body(struct weir_str name)
{
    static const struct weir_str names[] = {
        WEIR_STR_INIT("Content-Type"),
        WEIR_STR_INIT("Content-Encoding"),
        WEIR_STR_INIT("Content-Language"),
        WEIR_STR_INIT("Content-Disposition"),
        WEIR_STR_INIT("ETag"),
        WEIR_STR_INIT("Last-Modified"),
        WEIR_STR_INIT("Accept-Ranges"),
    };
    return is_one_of(name, names, sizeof(names) / sizeof(names[0]));
}

static int
keep_fields(struct weir_request *request, struct fields *fields)
{
    struct weir_str name, value;
    uint32_t count = 0;
    while (weir_reply_field_at(request, count, &name, &value)) {
        count++;
    }
    fields->count = 0;
    fields->items = weir_request_alloc(request, (count + 1) * sizeof(*fields->items));
    if (fields->items == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < count && weir_reply_field_at(request, i, &name, &value); i++) {
        if (!is_of_body(name)) {
            fields->items[fields->count].name = name;
            fields->items[fields->count++].value = value;
        }
    }
    return 0;
}

/* In the place of the page's of that name; but of some both belong to the answer. */
static int
put_fields(struct weir_request *request, const struct fields *fields)
{
    static const struct weir_str lists[] = { WEIR_STR_INIT("Set-Cookie"),
        WEIR_STR_INIT("Vary") };
    int r = 0;
    for (uint32_t i = 0; i < fields->count && r >= 0; i++) {
        struct weir_str name = fields->items[i].name;
        bool is_first = !is_one_of(name, lists, sizeof(lists) / sizeof(lists[0]));
        for (uint32_t j = 0; j < i && is_first; j++) {
            is_first = !weir_str_eq_icase(fields->items[j].name, name);
        }
        r = is_first ? weir_reply_set(request, name, fields->items[i].value)
                     : weir_reply_add(request, name, fields->items[i].value);
    }
    return r;
}

/* The page's validators are of another resource, and there is no part of an error to ask for.
 */
static void
drop_validators(struct weir_request *request)
{
    weir_reply_remove(request, WEIR_STR("ETag"));
    weir_reply_remove(request, WEIR_STR("Last-Modified"));
    weir_reply_remove(request, WEIR_STR("Accept-Ranges"));
}

static enum weir_verdict
put_answer(struct weir_request *request, struct weir_internal *asked, bool takes_status)
{
    unsigned status = weir_reply_status(request);
    struct fields fields;
    if (keep_fields(request, &fields) < 0) {
        weir_internal_close(asked);
        return WEIR_NEXT;
    }
    enum weir_verdict verdict = weir_internal_adopt(asked, takes_status ? 0 : status);
    if (verdict != WEIR_DONE) {
        verdict = weir_reply_error(request, status); /* the old one is lost by now */
    } else if (!takes_status) {
        drop_validators(request);
    }
    return verdict != WEIR_DONE || put_fields(request, &fields) < 0 ? WEIR_FAILED : WEIR_DONE;
}

static enum weir_verdict
on_answer(struct weir_request *request, const void *conf_)
{
    const struct error_pages_conf *conf = conf_;
    struct error_pages_state *state = weir_request_state(request);
    struct weir_internal *asked = state->asked;
    state->asked = NULL;
    unsigned status = weir_internal_status(asked);
    if (status == 200 || (conf->take_status && status > 200 && status < 400)) {
        return put_answer(request, asked, conf->take_status);
    }
    weir_request_log(request, WEIR_LOG_WARN,
            "the route asked for the page of %u answered %u (0: nothing): the server's own",
            weir_reply_status(request), status);
    weir_internal_close(asked);
    return WEIR_NEXT;
}

enum weir_verdict
error_pages_ask(struct weir_request *request, const struct page *page)
{
    struct error_pages_state *state = weir_request_state(request);
    if (weir_request_depth(request) > 0) {
        return WEIR_NEXT;
    }
    const struct weir_ask ask = {
        .bytes = sizeof(ask),
        .flags = WEIR_ASK_MARKED_ONLY,
        .target = weir_template_text(request, page->target),
    };
    int r = ask.target.ptr == NULL ? -ENOMEM : weir_internal_open(request, &ask, &state->asked);
    if (r < 0) {
        state->asked = NULL;
        if (r == -EINVAL) {
            weir_request_log(request, WEIR_LOG_WARN,
                    "%.*s, for the page of %u, is no target of a request: the server's own",
                    (int)(ask.target.len < 300 ? ask.target.len : 300), ask.target.ptr,
                    weir_reply_status(request));
        }
        return WEIR_NEXT;
    }
    enum weir_verdict verdict = weir_internal_wait(state->asked, on_answer);
    if (verdict != WEIR_PENDING) { /* timeouts.request is over: nothing is waited for */
        weir_internal_close(state->asked);
        state->asked = NULL;
        return WEIR_NEXT;
    }
    return verdict;
}
