/* SPDX-License-Identifier: MIT */
/* The module of tests about HTTP: its handler does what the path says (support/rig.h). Linked
 * into unit tests as rig_module, and built as a module of its own for the real binary. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <weir/module.h>
#include <weir/reply.h>
#include <weir/request.h>

#ifndef RIG_MODULE /* its name as a module of its own */
#define RIG_MODULE rig_module
extern const struct weir_module rig_module;
#endif

struct rig_state {
    uint64_t count, wanted;
    bool has_begun;
    size_t held_at, held_len;
    char held[512];
};

/* What was read and found no room is held until there is some. */
static enum weir_verdict
echo(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct rig_state *state = weir_request_state(request);
    if (!state->has_begun) {
        state->has_begun = true;
        if (weir_reply_begin(request, 200) < 0) {
            return WEIR_FAILED;
        }
    }
    for (;;) {
        while (state->held_at < state->held_len) {
            ssize_t n = weir_reply_write(request,
                    weir_str_make(state->held + state->held_at,
                            state->held_len - state->held_at));
            if (n == -EAGAIN) {
                return weir_reply_wait(request, echo);
            }
            if (n < 0) {
                return WEIR_FAILED;
            }
            state->held_at += (size_t)n;
        }
        ssize_t n = weir_body_read(request, state->held, sizeof(state->held));
        if (n == -EAGAIN) {
            return weir_body_wait(request, echo);
        }
        if (n <= 0) {
            return n < 0 || weir_reply_end(request) < 0 ? WEIR_FAILED : WEIR_DONE;
        }
        state->held_at = 0;
        state->held_len = (size_t)n;
    }
}

static enum weir_verdict
tell_number(struct weir_request *request, uint64_t number)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    return weir_reply_text(request, 200, WEIR_STR("text/plain"),
            weir_str_make(text, (size_t)len));
}

static enum weir_verdict
sink(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct rig_state *state = weir_request_state(request);
    char bytes[4096];
    ssize_t n;
    while ((n = weir_body_read(request, bytes, sizeof(bytes))) > 0) {
        state->count += (uint64_t)n;
    }
    if (n == -EAGAIN) {
        return weir_body_wait(request, sink);
    }
    if (n < 0) {
        return WEIR_FAILED;
    }
    return tell_number(request, state->count);
}

static enum weir_verdict
write_chunks(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct rig_state *state = weir_request_state(request);
    static const char digits[] = "0123456789";
    while (state->count < state->wanted * 10) {
        size_t at = (size_t)(state->count % 10);
        ssize_t n = weir_reply_write(request, weir_str_make(digits + at, 10 - at));
        if (n == -EAGAIN) {
            return weir_reply_wait(request, write_chunks);
        }
        if (n < 0) {
            return WEIR_FAILED;
        }
        state->count += (uint64_t)n;
    }
    weir_reply_end(request);
    return WEIR_DONE;
}

/* Begins, writes a first byte and goes on when the body is there: of no known length then. */
static enum weir_verdict
begin_chunks(struct weir_request *request, uint64_t wanted)
{
    struct rig_state *state = weir_request_state(request);
    state->wanted = wanted;
    if (weir_reply_write(request, WEIR_STR(">")) != 1) {
        return WEIR_FAILED;
    }
    return weir_body_wait(request, write_chunks);
}

static enum weir_verdict
wait_then_hello(struct weir_request *request, const void *conf)
{
    (void)conf;
    char byte;
    ssize_t n = weir_body_read(request, &byte, 1);
    if (n == -EAGAIN) {
        return weir_body_wait(request, wait_then_hello);
    }
    return n < 0 ? WEIR_FAILED
                 : weir_reply_text(request, 200, WEIR_STR("text/plain"), WEIR_STR("late"));
}

static enum weir_verdict
bytes_of(struct weir_request *request, uint64_t count)
{
    static char block[1 << 20];
    if (block[0] == 0) {
        memset(block, 'b', sizeof(block));
    }
    if (weir_reply_begin(request, 200) < 0 || weir_reply_length(request, count) < 0) {
        return WEIR_FAILED;
    }
    while (count > 0) {
        size_t len = count < sizeof(block) ? (size_t)count : sizeof(block);
        if (weir_reply_static(request, weir_str_make(block, len)) < 0) {
            return WEIR_FAILED;
        }
        count -= len;
    }
    weir_reply_end(request);
    return WEIR_DONE;
}

/* A path need not end in a NUL. */
static uint64_t
number_behind(struct weir_str path, const char *prefix)
{
    uint64_t number = 0;
    for (size_t i = strlen(prefix); i < path.len && number < UINT32_MAX; i++) {
        if (path.ptr[i] < '0' || path.ptr[i] > '9') {
            return 0;
        }
        number = number * 10 + (uint64_t)(path.ptr[i] - '0');
    }
    return number;
}

static enum weir_verdict
lengths(struct weir_request *request, uint64_t declared, struct weir_str body)
{
    if (weir_reply_begin(request, 200) < 0 || weir_reply_length(request, declared) < 0 ||
            weir_reply_write(request, body) < 0) {
        return WEIR_FAILED;
    }
    weir_reply_end(request);
    return WEIR_DONE;
}

/* How many fields the request has when its body is read: trailers are none of them. */
static enum weir_verdict
count_fields(struct weir_request *request, const void *conf)
{
    (void)conf;
    char bytes[512];
    ssize_t n;
    while ((n = weir_body_read(request, bytes, sizeof(bytes))) > 0) {
    }
    if (n == -EAGAIN) {
        return weir_body_wait(request, count_fields);
    }
    struct weir_str name, value;
    uint32_t count = 0;
    while (weir_request_field_at(request, count, &name, &value)) {
        count++;
    }
    return n < 0 ? WEIR_FAILED : tell_number(request, count);
}

static enum weir_verdict
oddities(struct weir_request *request, struct weir_str path)
{
    if (weir_str_eq(path, WEIR_STR("/short"))) {
        return lengths(request, 10, WEIR_STR("12345"));
    }
    if (weir_str_eq(path, WEIR_STR("/over"))) {
        return lengths(request, 5, WEIR_STR("1234567890"));
    }
    if (weir_str_eq(path, WEIR_STR("/inject"))) {
        if (weir_reply_begin(request, 200) < 0) {
            return WEIR_FAILED;
        }
        /* A module that does not look at the answer is caught all the same. */
        int ignored = weir_reply_add(request, WEIR_STR("X-A"), WEIR_STR("b\r\nX-B: c"));
        (void)ignored;
        weir_reply_end(request);
        return WEIR_DONE;
    }
    if (weir_str_eq(path, WEIR_STR("/hop"))) {
        if (weir_reply_begin(request, 200) < 0 ||
                weir_reply_add(request, WEIR_STR("Upgrade"), WEIR_STR("h2c")) < 0 ||
                weir_reply_add(request, WEIR_STR("Transfer-Encoding"), WEIR_STR("gzip")) < 0 ||
                weir_reply_add(request, WEIR_STR("Connection"), WEIR_STR("x-a")) < 0) {
            return WEIR_FAILED;
        }
        weir_reply_end(request);
        return WEIR_DONE;
    }
    if (weir_str_eq(path, WEIR_STR("/close"))) {
        if (weir_reply_begin(request, 200) < 0 ||
                weir_reply_add(request, WEIR_STR("Connection"), WEIR_STR("close")) < 0) {
            return WEIR_FAILED;
        }
        weir_reply_end(request);
        return WEIR_DONE;
    }
    if (weir_str_eq(path, WEIR_STR("/nothing"))) {
        return weir_reply_text(request, 204, WEIR_STR("text/plain"), WEIR_STR("a body"));
    }
    if (weir_str_eq(path, WEIR_STR("/hint"))) {
        int r = weir_reply_hint(request, WEIR_STR("</a.css>; rel=preload"));
        return r < 0 && r != -ENOTSUP
                ? WEIR_FAILED
                : weir_reply_text(request, 200, WEIR_STR("text/plain"), WEIR_STR("hinted"));
    }
    if (weir_str_eq(path, WEIR_STR("/trailer"))) {
        if (weir_reply_begin(request, 200) < 0 ||
                weir_reply_trailer(request, WEIR_STR("X-Sum"), WEIR_STR("42")) < 0) {
            return WEIR_FAILED;
        }
        return begin_chunks(request, 2);
    }
    return WEIR_NEXT;
}

static enum weir_verdict
rig_handler(struct weir_request *request, const void *conf)
{
    struct weir_str path = weir_request_path(request);
    if (weir_str_eq(path, WEIR_STR("/hello")) || weir_str_eq(path, WEIR_STR("/ignore"))) {
        return weir_reply_text(request, 200, WEIR_STR("text/plain"), WEIR_STR("hello"));
    }
    if (weir_str_eq(path, WEIR_STR("/echo"))) {
        return echo(request, conf);
    }
    if (weir_str_eq(path, WEIR_STR("/fields"))) {
        return count_fields(request, conf);
    }
    if (weir_str_eq(path, WEIR_STR("/sink"))) {
        return sink(request, conf);
    }
    if (weir_str_eq(path, WEIR_STR("/slow-start"))) {
        return wait_then_hello(request, conf);
    }
    if (weir_str_eq(path, WEIR_STR("/fail"))) {
        return WEIR_FAILED;
    }
    if (weir_str_eq(path, WEIR_STR("/lie"))) {
        return WEIR_DONE;
    }
    if (weir_str_eq(path, WEIR_STR("/stuck"))) {
        return WEIR_PENDING;
    }
    if (weir_str_starts_with(path, WEIR_STR("/status/"))) {
        return weir_reply_error(request, (unsigned)number_behind(path, "/status/"));
    }
    if (weir_str_starts_with(path, WEIR_STR("/bytes/"))) {
        return bytes_of(request, number_behind(path, "/bytes/"));
    }
    if (weir_str_starts_with(path, WEIR_STR("/chunks/"))) {
        return weir_reply_begin(request, 200) < 0
                ? WEIR_FAILED
                : begin_chunks(request, number_behind(path, "/chunks/"));
    }
    return oddities(request, path);
}

static const struct weir_hook rig_hooks[] = {
    { .on = WEIR_ON_CONTENT, .request = rig_handler },
};

const struct weir_module RIG_MODULE = {
    WEIR_MODULE_HEAD("rig", "1.0.0", "Answers tests"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "rig",
            .hooks = WEIR_HOOKS(rig_hooks),
            .state_bytes = sizeof(struct rig_state) }),
};
