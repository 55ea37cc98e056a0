/* SPDX-License-Identifier: MIT */
/* Whether the server lives, and whether it wants more requests (F94):
 *     { "use": [{ "health": { "live": "/livez", "ready": "/readyz" } }] }
 *
 * Answered in the head phase, on the loop: before a route is chosen, before what limits
 * clients, and whatever pools and applications are busy with. A worker that makes way for
 * another is still ready: others accept in its place. One that stops with the server is not,
 * for nobody does. */
#include <string.h>

#include <weir/module.h>
#include <weir/reply.h>
#include <weir/request.h>
#include <weir/worker.h>

struct health_conf {
    struct weir_str live, ready; /* .ptr NULL: not asked for */
};

static enum weir_verdict
answer(struct weir_request *request, unsigned status, struct weir_str text)
{
    enum weir_verdict verdict = weir_reply_text(request, status, WEIR_STR("application/json"),
            text);
    if (verdict != WEIR_DONE) {
        return verdict;
    }
    int r = weir_reply_set(request, WEIR_STR("Cache-Control"), WEIR_STR("no-store"));
    if (r == 0 && status == 503) {
        r = weir_reply_set(request, WEIR_STR("Retry-After"), WEIR_STR("1"));
    }
    return r < 0 ? WEIR_FAILED : WEIR_DONE;
}

static enum weir_verdict
refuse_method(struct weir_request *request)
{
    enum weir_verdict verdict = weir_reply_error(request, 405);
    return verdict == WEIR_DONE &&
                    weir_reply_set(request, WEIR_STR("Allow"), WEIR_STR("GET, HEAD")) < 0
            ? WEIR_FAILED
            : verdict;
}

static enum weir_verdict
tell(struct weir_request *request, const void *conf_)
{
    const struct health_conf *conf = conf_;
    struct weir_str path = weir_request_path(request);
    bool is_live = conf->live.ptr != NULL && weir_str_eq(path, conf->live);
    bool is_ready = conf->ready.ptr != NULL && weir_str_eq(path, conf->ready);
    if (!is_live && !is_ready) {
        return WEIR_NEXT;
    }
    struct weir_str method = weir_request_method(request);
    if (!weir_str_eq(method, WEIR_STR("GET")) && !weir_str_eq(method, WEIR_STR("HEAD"))) {
        return refuse_method(request);
    }
    if (is_live) {
        return answer(request, 200, WEIR_STR("{\"status\":\"live\"}\n"));
    }
    return weir_worker_ending(weir_request_worker(request)) == WEIR_ENDS_WITH_SERVER
            ? answer(request, 503, WEIR_STR("{\"status\":\"draining\"}\n"))
            : answer(request, 200, WEIR_STR("{\"status\":\"ready\"}\n"));
}

/* ---- the configuration ------------------------------------------------------------------- */

/* As weir_request_path() has paths: decoded, and without anything to be resolved. */
static bool
is_path(struct weir_str text)
{
    return text.len > 0 && text.ptr[0] == '/' && memchr(text.ptr, '?', text.len) == NULL &&
            memchr(text.ptr, '#', text.len) == NULL &&
            memchr(text.ptr, '%', text.len) == NULL &&
            memmem(text.ptr, text.len, "//", 2) == NULL &&
            memmem(text.ptr, text.len, "/.", 2) == NULL;
}

static void
check_path(struct weir_conf_report *report, const char *option, struct weir_str text)
{
    if (text.ptr != NULL && !is_path(text)) {
        weir_conf_error(report, option,
                "\"%.*s\" is no path of a request: it begins with one slash, and holds no query, "
                "no %%, and no segment that begins with a point",
                WEIR_STR_ARG(text));
    }
}

static int
check(const void *conf_, struct weir_conf_report *report)
{
    const struct health_conf *conf = conf_;
    check_path(report, "live", conf->live);
    check_path(report, "ready", conf->ready);
    if (conf->live.ptr == NULL && conf->ready.ptr == NULL) {
        weir_conf_error(report, NULL, "neither `live` nor `ready` is asked for");
    } else if (conf->live.ptr != NULL && conf->ready.ptr != NULL &&
            weir_str_eq(conf->live, conf->ready)) {
        weir_conf_error(report, "ready",
                "`live` has this path already: they say different things");
    }
    return 0;
}

static const struct weir_option options[] = {
    WEIR_STRING(struct health_conf, live, .preset = "/livez", .optional = true,
            .help = "The path that is answered 200 while the server lives"),
    WEIR_STRING(struct health_conf, ready, .preset = "/readyz", .optional = true,
            .help = "The path that is answered 200 while it wants requests, and 503 once it stops"),
};

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_HEAD, .request = tell },
};

const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("health", "1.0.0", "Tells whether the server lives and is ready"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "health",
            .options = WEIR_OPTIONS(struct health_conf, options),
            .hooks = WEIR_HOOKS(hooks),
            .help = "Answers whether the server lives and is ready, whatever else it is busy with",
            .conf_check = check }),
};
