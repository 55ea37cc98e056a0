/* SPDX-License-Identifier: MIT */
/* A module whose handler fails in the way that the last part of a request's path names:
 *
 *     fail     its hook fails before it has answered
 *     short    an answer of ten bytes that were said to be a hundred
 *     torn     fails in the middle of an answer whose beginning has left
 *     park     waits for what never comes
 *     hold     waits for a thread of the pool `held`, which waits until nobody has the file of
 *              the option `gate` locked (flock)
 *     crash    ends the process
 *
 * It counts that itself, too. For tests/integration/test_metrics_failures.py. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <weir/module.h>
#include <weir/offload.h>
#include <weir/reply.h>
#include <weir/request.h>

struct failing_conf {
    struct weir_str gate;
};

static const struct weir_option options[] = {
    WEIR_PATH(struct failing_conf, gate, .required = true),
};

/* ---- what it counts itself --------------------------------------------------------------- */

enum {
    REQUESTS,
    UNDER_WAY,
    HELD,
};

static const struct weir_own_metric metrics[] = {
    [REQUESTS] = { .type = WEIR_METRIC_COUNTER,
            .labels = WEIR_METRIC_BY_SERVER | WEIR_METRIC_BY_ROUTE,
            .name = "weir_failing_requests_total",
            .help = "Requests that have come to fail" },
    [UNDER_WAY] = { .type = WEIR_METRIC_GAUGE,
            .labels = WEIR_METRIC_BY_ROUTE,
            .name = "weir_failing_under_way",
            .help = "Requests that are about to fail" },
    [HELD] = { .type = WEIR_METRIC_HISTOGRAM,
            .name = "weir_failing_held_seconds",
            .help = "Time that a request was held",
            .label = "by",
            .value = "gate" },
};

struct failing {
    uint64_t began_ns; /* 0: it did not come here */
};

static uint64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static enum weir_verdict
forget(struct weir_request *request, const void *conf)
{
    (void)conf;
    const struct failing *failing = weir_request_state(request);
    if (failing->began_ns != 0) {
        weir_metric_add(request, UNDER_WAY, -1);
    }
    return WEIR_NEXT;
}

/* ---- answers that are not whole ---------------------------------------------------------- */

/* Begins an answer of a hundred bytes with ten. */
static int
begin(struct weir_request *request)
{
    int r = weir_reply_begin(request, 200);
    r = r < 0 ? r : weir_reply_length(request, 100);
    return r < 0 ? r : weir_reply_write(request, WEIR_STR("0123456789")) == 10 ? 0 : -ENOBUFS;
}

static enum weir_verdict
tear(struct weir_request *request, const void *conf, enum weir_wake how, void *payload)
{
    (void)request;
    (void)conf;
    (void)how;
    (void)payload;
    return WEIR_FAILED;
}

/* ---- waiting ----------------------------------------------------------------------------- */

static enum weir_verdict
give_up(struct weir_request *request, const void *conf, enum weir_wake how, void *payload)
{
    (void)conf;
    (void)payload;
    return how == WEIR_TIMED_OUT ? weir_reply_error(request, 504) : WEIR_NEXT;
}

static void
wait_for_gate(void *data, void *thread_state)
{
    (void)thread_state;
    int fd = open(data, O_RDONLY | O_CLOEXEC);
    if (fd == -1) {
        abort();
    }
    while (flock(fd, LOCK_SH) == -1 && errno == EINTR) {
    }
    close(fd);
}

static enum weir_verdict
pass(struct weir_request *request, const void *conf, enum weir_wake how, void *data)
{
    (void)conf;
    (void)data;
    const struct failing *failing = weir_request_state(request);
    if (how == WEIR_WOKEN) {
        weir_metric_observe(request, HELD, now_ns() - failing->began_ns);
    }
    return how == WEIR_WOKEN
            ? weir_reply_text(request, 200, WEIR_STR("text/plain"), WEIR_STR("held"))
            : WEIR_NEXT;
}

static const struct weir_job job = {
    .pool = "held",
    .run = wait_for_gate,
    .done = pass,
    .free = free,
};

/* ---- the handler ------------------------------------------------------------------------- */

static struct weir_str
last_part(struct weir_str path)
{
    size_t at = path.len;
    while (at > 0 && path.ptr[at - 1] != '/') {
        at--;
    }
    return weir_str_make(path.ptr + at, path.len - at);
}

static enum weir_verdict
fail(struct weir_request *request, const void *conf)
{
    const struct failing_conf *own = conf;
    struct failing *failing = weir_request_state(request);
    failing->began_ns = now_ns();
    weir_metric_add(request, REQUESTS, 1);
    weir_metric_add(request, UNDER_WAY, 1);
    struct weir_str how = last_part(weir_request_path(request));
    struct weir_token token;
    if (weir_str_eq(how, WEIR_STR("fail"))) {
        return WEIR_FAILED;
    }
    if (weir_str_eq(how, WEIR_STR("short"))) {
        return begin(request) == 0 && weir_reply_end(request) == 0 ? WEIR_DONE : WEIR_FAILED;
    }
    if (weir_str_eq(how, WEIR_STR("torn"))) {
        return begin(request) == 0 ? weir_suspend(request, tear, 10000000, &token)
                                   : WEIR_FAILED;
    }
    if (weir_str_eq(how, WEIR_STR("park"))) {
        return weir_suspend(request, give_up, WEIR_WAIT_PRESET, &token);
    }
    if (weir_str_eq(how, WEIR_STR("hold"))) {
        char *gate = strndup(own->gate.ptr, own->gate.len);
        return gate == NULL ? WEIR_FAILED : weir_offload(request, &job, gate, WEIR_WAIT_PRESET);
    }
    if (weir_str_eq(how, WEIR_STR("crash"))) {
        abort();
    }
    return WEIR_NEXT;
}

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_CONTENT, .request = fail },
    { .on = WEIR_ON_LOG, .request = forget },
};

const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("failing", "1.0.0", "Fails as it is told"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "failing",
            .options = WEIR_OPTIONS(struct failing_conf, options),
            .hooks = WEIR_HOOKS(hooks),
            .state_bytes = sizeof(struct failing) }),
    .metrics = WEIR_METRICS(metrics),
};
