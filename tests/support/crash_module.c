/* SPDX-License-Identifier: MIT */
/* A module that crashes, in the hook and in the way that a request's path names:
 * /HOOK/WAY, as /access/segv. Its handlers: "crash" hooks in everywhere, "crash_connection"
 * into connections, where there is no path and the option says which hook. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weir/connection.h>
#include <weir/filter.h>
#include <weir/module.h>
#include <weir/offload.h>
#include <weir/reply.h>
#include <weir/request.h>

struct crash_conf {
    struct weir_str on;
};

static const struct weir_option options[] = {
    WEIR_STRING(struct crash_conf, on, .shorthand = true, .help = "accept, open or close"),
};

/* More than any stack holds. */
static int
overflow(volatile char *above, unsigned left)
{
    volatile char frame[4096];
    frame[0] = above == NULL ? 0 : above[0];
    return left == 0 ? 0 : overflow(frame, left - 1) + frame[0];
}

static void
crash(struct weir_str way)
{
    if (weir_str_eq(way, WEIR_STR("segv"))) {
        static int *volatile nowhere = (int *)8; /* the compiler is not to know */
        *nowhere = 0;
    } else if (weir_str_eq(way, WEIR_STR("abort"))) {
        abort();
    } else if (weir_str_eq(way, WEIR_STR("loop"))) {
        for (volatile unsigned turns = 0;; turns++) {
        }
    } else if (weir_str_eq(way, WEIR_STR("stack"))) {
        overflow(NULL, 1000000);
    } else if (weir_str_eq(way, WEIR_STR("exit"))) {
        exit(3);
    }
}

/* Crashes when the path begins with /`hook`/. */
static void
crash_in(struct weir_request *request, struct weir_str hook)
{
    struct weir_str path = weir_request_path(request);
    if (path.len > hook.len + 2 && memcmp(path.ptr + 1, hook.ptr, hook.len) == 0 &&
            path.ptr[hook.len + 1] == '/') {
        crash(weir_str_make(path.ptr + hook.len + 2, path.len - hook.len - 2));
    }
}

#define HOOK(name, text)                                                          \
    static enum weir_verdict name(struct weir_request *request, const void *conf) \
    {                                                                             \
        (void)conf;                                                               \
        crash_in(request, WEIR_STR(text));                                        \
        return WEIR_NEXT;                                                         \
    }

HOOK(on_head, "head")
HOOK(on_rewrite, "rewrite")
HOOK(on_prepare, "prepare")
HOOK(on_log, "log")
#undef HOOK

/* A line says that it has begun, for tests that wait for it. */
static void
run_job(void *data, void *thread_state)
{
    (void)thread_state;
    dprintf(STDERR_FILENO, "crash: work of a pool's thread begins\n");
    crash(weir_str_from(data));
}

static enum weir_verdict
job_done(struct weir_request *request, const void *conf, enum weir_wake how, void *data)
{
    (void)request;
    (void)conf;
    (void)how;
    (void)data;
    return WEIR_NEXT;
}

static const struct weir_job job = { .run = run_job, .done = job_done, .free = free };

static enum weir_verdict
on_access(struct weir_request *request, const void *conf)
{
    (void)conf;
    crash_in(request, WEIR_STR("access"));
    struct weir_str path = weir_request_path(request);
    if (path.len > 5 && memcmp(path.ptr, "/job/", 5) == 0) {
        char *way = strndup(path.ptr + 5, path.len - 5);
        return way == NULL ? WEIR_FAILED : weir_offload(request, &job, way, WEIR_WAIT_PRESET);
    }
    return WEIR_NEXT;
}

static enum weir_verdict
on_content(struct weir_request *request, const void *conf)
{
    crash_in(request, WEIR_STR("content"));
    if (weir_str_eq(weir_request_path(request), WEIR_STR("/large"))) {
        return WEIR_NEXT; /* somebody else's */
    }
    char bytes[1000];
    ssize_t n;
    while ((n = weir_body_read(request, bytes, sizeof(bytes))) > 0) {
    }
    if (n == -11 /* EAGAIN */) {
        return weir_body_wait(request, on_content);
    }
    (void)conf;
    return weir_reply_text(request, 200, WEIR_STR("text/plain"), WEIR_STR("alive"));
}

static enum weir_verdict
on_request_body(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    (void)conf;
    (void)filter;
    crash_in(request, WEIR_STR("request-body"));
    return WEIR_DONE;
}

static enum weir_verdict
on_reply_head(struct weir_request *request, const void *conf)
{
    (void)conf;
    crash_in(request, WEIR_STR("reply-head"));
    return weir_filter_enable(request) < 0 ? WEIR_FAILED : WEIR_NEXT;
}

static enum weir_verdict
on_reply_body(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    (void)conf;
    (void)filter;
    crash_in(request, WEIR_STR("reply-body"));
    return WEIR_DONE;
}

/* {crash.way} */
static struct weir_str
on_variable(struct weir_request *request, const void *conf, struct weir_str argument)
{
    (void)conf;
    (void)argument;
    crash_in(request, WEIR_STR("variable"));
    return WEIR_STR("alive");
}

static const struct weir_variable variables[] = { { "way", on_variable, NULL } };

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_HEAD, .request = on_head },
    { .on = WEIR_ON_REWRITE, .request = on_rewrite },
    { .on = WEIR_ON_ACCESS, .request = on_access },
    { .on = WEIR_ON_REQUEST_BODY, .filter = on_request_body },
    { .on = WEIR_ON_PREPARE, .request = on_prepare },
    { .on = WEIR_ON_CONTENT, .request = on_content },
    { .on = WEIR_ON_REPLY_HEAD, .request = on_reply_head },
    { .on = WEIR_ON_REPLY_BODY, .filter = on_reply_body },
    { .on = WEIR_ON_LOG, .request = on_log },
};

#define HOOK(name, text)                                                                \
    static enum weir_verdict name(struct weir_connection *connection, const void *conf) \
    {                                                                                   \
        (void)connection;                                                               \
        const struct crash_conf *c = conf;                                              \
        if (weir_str_eq(c->on, WEIR_STR(text))) {                                       \
            crash(WEIR_STR("segv"));                                                    \
        }                                                                               \
        return WEIR_NEXT;                                                               \
    }

HOOK(on_accept, "accept")
HOOK(on_open, "open")
HOOK(on_close, "close")
#undef HOOK

static const struct weir_hook connection_hooks[] = {
    { .on = WEIR_ON_ACCEPT, .connection = on_accept },
    { .on = WEIR_ON_OPEN, .connection = on_open },
    { .on = WEIR_ON_CLOSE, .connection = on_close },
};

WEIR_EXPORT const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("crash", "1.0.0", "Crashes on demand"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "crash",
                          .hooks = WEIR_HOOKS(hooks),
                          .variables = WEIR_VARIABLES(variables) },
            { .name = "crash_connection",
                    .options = WEIR_OPTIONS(struct crash_conf, options),
                    .hooks = WEIR_HOOKS(connection_hooks) }),
};
