/* SPDX-License-Identifier: MIT */
/* An example of waiting: in every phase of a request, and at a connection's beginning. It also
 * rewrites what it is asked for, and writes down what its log hook saw.
 *
 *     { "use": [{ "patient": { "note": "/tmp/note", "log": "1ms" } }] }
 *
 * Three handlers: `patient` waits for a pool's thread (weir_offload()), `patient_gate` for
 * time to pass (weir_connection_suspend()), `patient_wall` drops connections.
 * tests/integration/test_waits.py says what comes of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <weir/connection.h>
#include <weir/filter.h>
#include <weir/module.h>
#include <weir/offload.h>
#include <weir/reply.h>
#include <weir/request.h>
#include <weir/wait.h>

struct patient_conf {
    struct weir_str note; /* a file; empty: none */
    uint64_t log_ns;      /* how long its log hook works */
};

/* A little work for a thread, of which the request hears when it is done. */
struct work {
    uint64_t ns;
    FILE *file;
    char line[200];
};

static WEIR_ON_THREAD void
run(void *data, void *thread_state)
{
    (void)thread_state; /* it keeps nothing there */
    const struct work *work = data;
    struct timespec left = { (time_t)(work->ns / 1000000000u), (long)(work->ns % 1000000000u) };
    while (nanosleep(&left, &left) == -1) { /* on purpose: this is the work that blocks */
    }
    if (work->file != NULL) {
        fputs(work->line, work->file);
    }
}

static enum weir_verdict
done(struct weir_request *request, const void *conf, enum weir_wake how, void *data)
{
    (void)request;
    (void)conf;
    (void)data;
    return how == WEIR_ABORTED ? WEIR_FAILED : WEIR_NEXT;
}

static void
free_work(void *data)
{
    struct work *work = data;
    if (work->file != NULL) {
        fclose(work->file);
    }
    free(work);
}

static const struct weir_job job = { .run = run, .done = done, .free = free_work };

/* What most hooks below are. Whichever phase it is in, it returns WEIR_PENDING, and done()
 * answers in the hook's place a millisecond later. */
static enum weir_verdict
wait_a_little(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct work *work = calloc(1, sizeof(*work));
    if (work == NULL) {
        return WEIR_FAILED;
    }
    work->ns = 1000000;
    return weir_offload(request, &job, work, WEIR_WAIT_PRESET);
}

/* /old/... becomes /new/..., as a field says. */
static enum weir_verdict
rewrite(struct weir_request *request, const void *conf)
{
    struct weir_str path = weir_request_path(request);
    if (weir_str_starts_with(path, WEIR_STR("/old/"))) {
        char target[512];
        int len = snprintf(target, sizeof(target), "/new/%.*s", (int)path.len - 5,
                path.ptr + 5);
        if (len < 0 || (size_t)len >= sizeof(target) ||
                weir_request_set_target(request, weir_str_make(target, (size_t)len)) < 0 ||
                weir_request_field_set(request, WEIR_STR("X-Moved"), WEIR_STR("yes")) < 0) {
            return WEIR_FAILED;
        }
    }
    return wait_a_little(request, conf);
}

/* The answer is held while this waits. */
static enum weir_verdict
reply(struct weir_request *request, const void *conf)
{
    return weir_filter_enable(request) < 0 ? WEIR_FAILED : wait_a_little(request, conf);
}

/* What the handler remembers of each request; zero when it begins. */
struct steps {
    unsigned char calls;
};

/* Waits before every other run that it passes on. */
static enum weir_verdict
pass_patiently(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    struct steps *steps = weir_request_state(request);
    if (steps->calls++ % 2 == 0) {
        return wait_a_little(request, conf);
    }
    size_t len = weir_filter_input(filter).len;
    return weir_filter_pass(filter, len) < 0 ? WEIR_FAILED : WEIR_NEXT;
}

/* The client has been served; at most five seconds are left to the log hooks. */
static enum weir_verdict
take_note(struct weir_request *request, const void *conf)
{
    const struct patient_conf *c = conf;
    struct work *work = c->note.len == 0 ? NULL : calloc(1, sizeof(*work));
    char path[512];
    if (work == NULL || weir_str_to_path(c->note, path, sizeof(path)) < 0) {
        free(work);
        return WEIR_NEXT;
    }
    work->ns = c->log_ns;
    work->file = fopen(path, "a");
    struct weir_str target = weir_request_target(request),
                    end = weir_request_end_label(request);
    snprintf(work->line, sizeof(work->line), "%.*s %u %.*s %llu\n",
            (int)(target.len < 100 ? target.len : 100), target.ptr, weir_reply_status(request),
            (int)end.len, end.ptr, (unsigned long long)weir_request_sent_body_bytes(request));
    return weir_offload(request, &job, work, WEIR_WAIT_PRESET);
}

static enum weir_verdict
go_on(struct weir_connection *connection, const void *conf, enum weir_wake how, void *payload)
{
    (void)connection;
    (void)conf;
    (void)payload;
    return how == WEIR_TIMED_OUT ? WEIR_NEXT : WEIR_FAILED;
}

/* For 10 ms, since nobody resumes it. */
static enum weir_verdict
open_later(struct weir_connection *connection, const void *conf)
{
    (void)conf;
    struct weir_token token;
    return weir_connection_suspend(connection, go_on, 10000000, &token);
}

static enum weir_verdict
drop(struct weir_connection *connection, const void *conf)
{
    (void)connection;
    (void)conf;
    return WEIR_DONE;
}

static const struct weir_option options[] = {
    WEIR_STRING(struct patient_conf, note),
    WEIR_DURATION(struct patient_conf, log_ns, .key = "log", .preset = "1ms"),
};

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_HEAD, .request = wait_a_little },
    { .on = WEIR_ON_REWRITE, .request = rewrite },
    { .on = WEIR_ON_ACCESS, .request = wait_a_little },
    { .on = WEIR_ON_REQUEST_BODY, .filter = pass_patiently },
    { .on = WEIR_ON_PREPARE, .request = wait_a_little },
    { .on = WEIR_ON_CONTENT, .request = wait_a_little },
    { .on = WEIR_ON_REPLY_HEAD, .request = reply },
    { .on = WEIR_ON_REPLY_BODY, .filter = pass_patiently },
    { .on = WEIR_ON_LOG, .request = take_note },
};
static const struct weir_hook gate_hooks[] = { { .on = WEIR_ON_OPEN,
        .connection = open_later } };
static const struct weir_hook wall_hooks[] = { { .on = WEIR_ON_ACCEPT, .connection = drop } };

WEIR_EXPORT const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("patient", "1", "Waits everywhere"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "patient",
                          .options = WEIR_OPTIONS(struct patient_conf, options),
                          .hooks = WEIR_HOOKS(hooks),
                          .state_bytes = sizeof(struct steps) },
            { .name = "patient_gate", .hooks = WEIR_HOOKS(gate_hooks) },
            { .name = "patient_wall", .hooks = WEIR_HOOKS(wall_hooks) }),
};
