/* SPDX-License-Identifier: MIT */
/* An application decides who gets a file, and the server sends it (F62):
 *     { "accel": { "to": ["/reports/all.pdf"], "roots": ["/srv/files"] } }
 *
 * An answer with X-Accel-Redirect gives way to that of an internal request, one with
 * X-Sendfile to a file; some fields of it go along. Neither these fields nor other X-Accel-*
 * ones reach a client, whatever becomes of them.
 *
 *     answer -- no such field, or nothing to replace --> as it is
 *       | X-Accel-Redirect                | X-Sendfile
 *     internal request                  weir_file_find()
 *       | its head is there               | found
 *     adopted, what is kept put in      the file, what is kept put in
 *
 * Routes that are led to may lead on, no deeper than internal requests go: 508. */
#include "accel.h"

#include <errno.h>
#include <stdlib.h>

#include <weir/internal.h>
#include <weir/log.h>
#include <weir/reply.h>
#include <weir/request.h>

struct kept {
    struct weir_str name, value; /* the answer's that gave way; live as long as the request */
};

struct accel_state {
    struct weir_internal *internal; /* the core's; NULL: none is open */
    struct weir_root *root;         /* of the file that is waited for */
    struct weir_str path;           /* beneath it */
    struct kept *kept;              /* the request's memory */
    uint32_t kept_count;
    unsigned status; /* the first answer's, where it is to stay; else 0 */
};

static const struct weir_str redirect_name = WEIR_STR_INIT("X-Accel-Redirect");
static const struct weir_str sendfile_name = WEIR_STR_INIT("X-Sendfile");

static bool
has_name(const struct weir_list *names, struct weir_str name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (weir_str_eq_icase(WEIR_LIST_AT(struct weir_str, names, i), name)) {
            return true;
        }
    }
    return false;
}

/* ---- the fields -------------------------------------------------------------------------- */

/* What an application says to the server in front of it, and to nobody else. */
static bool
is_for_server(struct weir_str name)
{
    struct weir_str family = WEIR_STR("X-Accel-");
    return weir_str_eq_icase(name, sendfile_name) ||
            (name.len > family.len &&
                    weir_str_eq_icase(weir_str_make(name.ptr, family.len), family));
}

/* Takes such fields off the answer; the values of the two that lead somewhere to *redirect and
 * *file, .ptr NULL when there is none. */
static void
take_fields(struct weir_request *request, struct weir_str *redirect, struct weir_str *file)
{
    struct weir_str name, value;
    *redirect = weir_reply_field(request, redirect_name);
    *file = weir_reply_field(request, sendfile_name);
    for (uint32_t i = 0; weir_reply_field_at(request, i, &name, &value);) {
        if (!is_for_server(name)) {
            i++;
        } else if (weir_reply_remove(request, name) < 0) {
            return; /* the head has left, and with it all that could be done */
        }
    }
}

static int
keep_fields(struct weir_request *request, const struct accel_conf *conf,
        struct accel_state *state)
{
    struct weir_str name, value;
    uint32_t count = 0;
    while (weir_reply_field_at(request, count, &name, &value)) {
        count++;
    }
    state->kept_count = 0;
    state->kept = weir_request_alloc(request, (count + 1) * sizeof(*state->kept));
    if (state->kept == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; weir_reply_field_at(request, i, &name, &value); i++) {
        if (has_name(&conf->keep, name)) {
            state->kept[state->kept_count++] = (struct kept){ name, value };
        }
    }
    return 0;
}

/* Puts what was kept in the place of the new answer's fields of that name. What described the
 * first answer does not describe an error: then only cookies go along. */
static int
put_kept(struct weir_request *request, const struct accel_state *state, bool is_good)
{
    int r = 0;
    for (uint32_t i = 0; i < state->kept_count && r >= 0; i++) {
        const struct kept *field = &state->kept[i];
        bool is_cookie = weir_str_eq_icase(field->name, WEIR_STR("Set-Cookie"));
        bool is_first = !is_cookie; /* those of both answers stay */
        for (uint32_t j = 0; j < i && is_first; j++) {
            is_first = !weir_str_eq_icase(state->kept[j].name, field->name);
        }
        if (is_good || is_cookie) {
            r = is_first ? weir_reply_set(request, field->name, field->value)
                         : weir_reply_add(request, field->name, field->value);
        }
    }
    return r;
}

/* ---- another answer in its place --------------------------------------------------------- */

/* The new answer is begun: only its fields are yet to be changed. */
static enum weir_verdict
finish(struct weir_request *request, const struct accel_state *state, bool is_good)
{
    struct weir_str ignored;
    take_fields(request, &ignored, &ignored);
    return put_kept(request, state, is_good) < 0 ? WEIR_FAILED : WEIR_DONE;
}

/* Cut, since it comes from outside. */
static int
shown(struct weir_str value)
{
    return (int)(value.len < 300 ? value.len : 300);
}

static enum weir_verdict
refuse(struct weir_request *request, struct weir_str name, struct weir_str value,
        const char *why)
{
    weir_request_log(request, WEIR_LOG_ERROR, "%.*s: %.*s %s: 500", WEIR_STR_ARG(name),
            shown(value), value.ptr, why);
    return weir_reply_error(request, 500);
}

static enum weir_verdict
on_answer(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct accel_state *state = weir_request_state(request);
    struct weir_internal *internal = state->internal;
    state->internal = NULL;
    unsigned status = weir_internal_status(internal);
    if (status == 0) {
        unsigned own = weir_internal_error(internal) == -ETIMEDOUT ? 504 : 500;
        weir_request_log(request, WEIR_LOG_ERROR, "X-Accel-Redirect: no answer from there: %u",
                own);
        weir_internal_close(internal);
        return weir_reply_error(request, own);
    }
    bool is_good = status >= 200 && status < 300;
    bool has_own = status == 200 && state->status != 0;
    if (weir_internal_adopt(internal, has_own ? state->status : 0) != WEIR_DONE) {
        return WEIR_FAILED;
    }
    return finish(request, state, is_good);
}

static enum weir_verdict
redirect(struct weir_request *request, const struct accel_conf *conf, struct accel_state *state,
        struct weir_str value)
{
    struct weir_str path = value;
    const char *query = value.len == 0 ? NULL : memchr(value.ptr, '?', value.len);
    path.len = query == NULL ? value.len : (size_t)(query - value.ptr);
    char *decoded = weir_request_alloc(request, 4 * value.len + 1);
    if (decoded == NULL) {
        return WEIR_FAILED;
    }
    char *target = decoded + value.len;
    path = weir_str_make(decoded, accel_decode(decoded, path));
    if (accel_climbs(path)) {
        return refuse(request, redirect_name, value,
                "is no path that begins with a slash and climbs nowhere");
    }
    if (!accel_may_lead_to(&conf->to, path)) {
        return refuse(request, redirect_name, value, "is beneath no path of `to`");
    }
    const struct weir_ask ask = {
        .bytes = sizeof(ask),
        .flags = WEIR_ASK_MARKED_ONLY,
        .target = weir_str_make(target, accel_encode(target, value)),
    };
    int r = weir_internal_open(request, &ask, &state->internal);
    if (r == 0) {
        return weir_internal_wait(state->internal, on_answer);
    }
    state->internal = NULL;
    switch (r) {
    case -ELOOP: /* the log was told */
        return weir_reply_error(request, 508);
    case -EINVAL:
        return refuse(request, redirect_name, value, "is no target of a request");
    default:
        return WEIR_FAILED;
    }
}

static enum weir_verdict on_file(struct weir_request *request, const void *conf);

/* What is not there is the application's to know: no line in the log. */
static enum weir_verdict
answer_without_file(struct weir_request *request, const struct accel_state *state, int error)
{
    switch (-error) {
    case EXDEV:
    case ELOOP:
        return refuse(request, sendfile_name, state->path, "leaves its root by a link");
    case EACCES:
    case EPERM:
        weir_request_log(request, WEIR_LOG_ERROR, "X-Sendfile: %.*s may not be read: 403",
                shown(state->path), state->path.ptr);
        return weir_reply_error(request, 403);
    case EBUSY:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return weir_reply_error(request, 503);
    default:
        return weir_reply_error(request, 404);
    }
}

static enum weir_verdict
find_file(struct weir_request *request, struct accel_state *state)
{
    const struct weir_file *file;
    enum weir_verdict verdict = weir_file_find(request, state->root, state->path,
            WEIR_FILE_TO_SEND, on_file, &file);
    if (verdict != WEIR_NEXT) {
        return verdict;
    }
    if (weir_file_kind(file) != WEIR_FILE_REGULAR) {
        return answer_without_file(request, state, weir_file_error(file));
    }
    unsigned status = state->status == 0 ? 200 : state->status;
    if (weir_reply_with_file(request, status, file) != WEIR_DONE) {
        return WEIR_FAILED;
    }
    return finish(request, state, true);
}

static enum weir_verdict
on_file(struct weir_request *request, const void *conf)
{
    (void)conf;
    return find_file(request, weir_request_state(request));
}

static enum weir_verdict
send_file(struct weir_request *request, const struct accel_conf *conf,
        struct accel_state *state, struct weir_str value)
{
    char *decoded = weir_request_alloc(request, value.len + 1);
    if (decoded == NULL) {
        return WEIR_FAILED;
    }
    struct weir_str path = weir_str_make(decoded, accel_decode(decoded, value));
    if (accel_climbs(path)) {
        return refuse(request, sendfile_name, value,
                "is no path that begins with a slash and climbs nowhere");
    }
    size_t i = accel_root_of(&conf->roots, path, &state->path);
    if (i == conf->roots.count) {
        return refuse(request, sendfile_name, value, "is beneath no directory of `roots`");
    }
    state->root = conf->opened[i];
    return find_file(request, state);
}

static enum weir_verdict
look(struct weir_request *request, const void *conf_)
{
    const struct accel_conf *conf = conf_;
    struct accel_state *state = weir_request_state(request);
    if (state->internal != NULL) {
        weir_internal_close(state->internal); /* the answer that it was for is no more */
        state->internal = NULL;
    }
    struct weir_str target, file;
    take_fields(request, &target, &file);
    bool is_redirect = target.ptr != NULL && has_name(&conf->headers, redirect_name);
    bool is_file = file.ptr != NULL && has_name(&conf->headers, sendfile_name);
    unsigned status = weir_reply_status(request);
    bool has_body = status != 204 && (status < 300 || status >= 400);
    if ((!is_redirect && !is_file) || !has_body) {
        return WEIR_NEXT;
    }
    /* A part of the first answer says nothing of the second. */
    state->status = status == 200 || status == 206 ? 0 : status;
    if (keep_fields(request, conf, state) < 0) {
        return WEIR_FAILED;
    }
    return is_redirect ? redirect(request, conf, state, target)
                       : send_file(request, conf, state, file);
}

/* ---- the configuration ------------------------------------------------------------------- */

static int
check(const void *conf_, struct weir_conf_report *report)
{
    const struct accel_conf *conf = conf_;
    for (size_t i = 0; i < conf->headers.count; i++) {
        struct weir_str name = WEIR_LIST_AT(struct weir_str, &conf->headers, i);
        if (!weir_str_eq_icase(name, redirect_name) &&
                !weir_str_eq_icase(name, sendfile_name)) {
            weir_conf_error(report, "headers",
                    "\"%.*s\" is neither X-Accel-Redirect nor X-Sendfile", WEIR_STR_ARG(name));
        }
    }
    for (size_t i = 0; i < conf->to.count; i++) {
        struct weir_str pattern = WEIR_LIST_AT(struct weir_str, &conf->to, i);
        if (!accel_is_pattern(pattern)) {
            weir_conf_error(report, "to",
                    "\"%.*s\" is no path like \"/files/report.pdf\" or \"/files/*\"",
                    WEIR_STR_ARG(pattern));
        }
    }
    if (conf->to.count == 0 && conf->roots.count == 0) {
        weir_conf_error(report, NULL, "leads nowhere: neither `to` nor `roots` names a place");
    }
    return 0;
}

static void
close_roots(void *conf_)
{
    struct accel_conf *conf = conf_;
    for (size_t i = 0; conf->opened != NULL && i < conf->roots.count; i++) {
        weir_root_close(conf->opened[i]);
    }
    free(conf->opened);
    conf->opened = NULL;
}

static int
open_roots(void *conf_, struct weir_conf_report *report)
{
    struct accel_conf *conf = conf_;
    conf->opened = calloc(conf->roots.count + 1, sizeof(struct weir_root *));
    if (conf->opened == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < conf->roots.count; i++) {
        struct weir_str path = WEIR_LIST_AT(struct weir_str, &conf->roots, i);
        int r = weir_root_open(path, NULL, &conf->opened[i]);
        if (r < 0) {
            weir_conf_error(report, "roots", "cannot open the directory %.*s: %s",
                    WEIR_STR_ARG(path), strerror(-r));
            close_roots(conf);
            return r;
        }
    }
    return 0;
}

static const struct weir_option options[] = {
    WEIR_LIST(struct accel_conf, to, .element = WEIR_TYPE_STRING, .shorthand = true,
            .help = "Paths, or prefixes that end in /*, that X-Accel-Redirect may lead to; "
                    "only routes marked internal answer"),
    WEIR_LIST(struct accel_conf, roots, .element = WEIR_TYPE_PATH, .access = WEIR_ACCESS_FOLDER,
            .help = "Directories whose files X-Sendfile may name"),
    WEIR_LIST(struct accel_conf, headers, .element = WEIR_TYPE_STRING,
            .preset = "X-Accel-Redirect,X-Sendfile",
            .help = "Which of the two fields are obeyed; neither is ever passed on"),
    WEIR_LIST(struct accel_conf, keep, .element = WEIR_TYPE_STRING,
            .preset = "Content-Type,Content-Disposition,Accept-Ranges,Set-Cookie,Cache-Control,"
                      "Expires",
            .help = "Fields of the answer that gives way that stay"),
};

/* Before those that put pages in the place of errors. */
static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_REPLY_HEAD, .request = look },
};

const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("accel", "1.0.0", "Sends what an application's answer names"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "accel",
            .options = WEIR_OPTIONS(struct accel_conf, options),
            .hooks = WEIR_HOOKS(hooks),
            .help = "Obeys X-Accel-Redirect and X-Sendfile in answers",
            .state_bytes = sizeof(struct accel_state),
            .conf_check = check,
            .conf_open = open_roots,
            .conf_close = close_roots }),
};
