/* SPDX-License-Identifier: MIT */
#include "support/rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <check.h>

#include <weir/reply.h>
#include <weir/request.h>

#include "base/budget.h"
#include "base/num.h"
#include "http/request.h"
#include "observe/log.h"

/* ---- the module -------------------------------------------------------------------------- */

struct rig_state {
    uint64_t count, wanted;
    bool has_begun;
};

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
        char bytes[1000];
        uint64_t room = reply_room(request);
        if (room == 0) {
            return weir_reply_wait(request, echo);
        }
        ssize_t n = weir_body_read(request, bytes,
                room < sizeof(bytes) ? (size_t)room : sizeof(bytes));
        if (n == -EAGAIN) {
            return weir_body_wait(request, echo);
        }
        if (n < 0) {
            return WEIR_FAILED;
        }
        if (n == 0) {
            weir_reply_end(request);
            return WEIR_DONE;
        }
        if (weir_reply_write(request, weir_str_make(bytes, (size_t)n)) != n) {
            return WEIR_FAILED;
        }
    }
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
    char text[32];
    size_t len = num_format_u64(text, state->count);
    return weir_reply_text(request, 200, WEIR_STR("text/plain"), weir_str_make(text, len));
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

static uint64_t
number_behind(struct weir_str path, const char *prefix)
{
    size_t len = strlen(prefix);
    uint64_t number = 0;
    if (num_parse_u64(weir_str_make(path.ptr + len, path.len - len), UINT32_MAX, &number) < 0) {
        return 0;
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

const struct weir_module rig_module = {
    WEIR_MODULE_HEAD("rig", "1.0.0", "Answers tests"),
    WEIR_HANDLERS({ .name = "rig",
            .hooks = WEIR_HOOKS(rig_hooks),
            .state_bytes = sizeof(struct rig_state) }),
};

/* ---- the rig ----------------------------------------------------------------------------- */

static struct rig *
rig_of_map(const struct course_map *map)
{
    return (struct rig *)((char *)(uintptr_t)map - offsetof(struct rig, map));
}

static const struct chain *
find_chain(const struct course_map *map, struct weir_request *request)
{
    (void)request;
    return rig_of_map(map)->chain;
}

static void
on_end(struct weir_request *request)
{
    struct rig *rig = rig_of_map(request->engine->handler_context);
    rig->ended[request->end]++;
    course_end(request);
}

static void
on_closed(void *context, const struct addr_ip *peer, enum h1_close reason)
{
    (void)peer;
    struct rig *rig = context;
    rig->closed = reason;
}

void
rig_init(struct rig *rig, const struct weir_handler *extra, unsigned count)
{
    rig_init_with(rig, extra, NULL, count);
}

void
rig_init_with(struct rig *rig, const struct weir_handler *extra, const void *const *confs,
        unsigned count)
{
    memset(rig, 0, sizeof(*rig));
    log_init(-1, LOG_ERROR); /* the faults that tests provoke are not worth reading */
    manual_clock_init(&rig->clock, 1000 * NS_PER_S, INT64_C(784111777) * (int64_t)NS_PER_S);
    ck_assert_int_eq(loop_new(&rig->clock.clock, &rig->loop), 0);
    arena_init(&rig->arena, NULL, 0, 1 << 20);
    uint32_t state_at = (uint32_t)course_slab_bytes();
    for (unsigned i = 0; i <= count; i++) {
        const struct weir_handler *handler = i < count ? &extra[i]
                                                       : &rig_module.handlers.items[0];
        const void *conf = i < count && confs != NULL ? confs[i] : NULL;
        rig->uses[i] = (struct chain_use){ &rig_module, handler, conf, state_at };
        state_at += (handler->state_bytes + 15u) & ~15u;
    }
    rig->use_count = (uint16_t)(count + 1);
    ck_assert_int_eq(chain_compile(&rig->arena, rig->uses, rig->use_count, &rig->chain, NULL),
            0);
    rig->handler = (struct request_handler){
        .slab_bytes = state_at,
        .run = course_run,
        .end = on_end,
    };
    rig->map = (struct course_map){ .server = find_chain, .route = find_chain };
    ck_assert_int_eq(engine_init(&rig->engine, rig->loop, &rig->handler, &rig->map), 0);
    rig->settings = (struct h1_settings){
        .limits = HTTP_LIMITS_PRESET,
        .timeouts = HTTP_TIMEOUTS_PRESET,
        .on_closed = on_closed,
        .context = rig,
    };
}

static void
drop_stream(struct rig *rig)
{
    if (!rig->has_stream) {
        return;
    }
    if (!rig->stream.is_closed) {
        memory_stream_reset(&rig->stream);
        rig_settle(rig);
        ck_assert(rig->stream.is_closed);
    }
    memory_stream_fini(&rig->stream);
    rig->has_stream = false;
}

void
rig_fini(struct rig *rig)
{
    drop_stream(rig);
    course_stop(&rig->map);
    const struct engine_figures *figures = &rig->engine.figures;
    ck_assert_ptr_null(rig->engine.carriers);
    ck_assert_uint_eq(figures->connections_opened, figures->connections_closed);
    ck_assert_uint_eq(figures->requests_begun, figures->requests_ended);
    ck_assert_uint_eq(figures->connections_active, 0);
    engine_fini(&rig->engine);
    arena_reset(&rig->arena);
    loop_free(rig->loop);
    ck_assert_uint_eq(budget_used_bytes(), 0);
}

void
rig_settle(struct rig *rig)
{
    /* A turn that leaves nothing pending changes nothing; three in a row are enough for what a
     * turn puts off to the next. */
    for (int i = 0; i < 3 || rig->stream.pending_events != 0; i++) {
        loop_turn(rig->loop, false);
        ck_assert_int_lt(i, 100000);
    }
}

void
rig_connect(struct rig *rig)
{
    drop_stream(rig);
    rig->closed = H1_OPEN;
    struct addr peer;
    ck_assert_int_eq(addr_parse(WEIR_STR("192.0.2.1:4000"), &peer, NULL), 0);
    struct h1_conn *conn = h1_conn_new(&rig->engine, &rig->settings, &peer);
    ck_assert_ptr_nonnull(conn);
    memory_stream_init(&rig->stream, rig->loop, h1_conn_on_event, conn);
    rig->has_stream = true;
    h1_conn_start(conn, &rig->stream.stream);
    rig_settle(rig);
}

void
rig_send(struct rig *rig, struct weir_str bytes)
{
    if (!rig->stream.is_closed) {
        memory_stream_send(&rig->stream, bytes);
    }
    rig_settle(rig);
}

void
rig_pass(struct rig *rig, double seconds)
{
    for (double passed = 0; passed < seconds; passed += 0.1) {
        manual_clock_advance_ns(&rig->clock, 100 * NS_PER_MS);
        rig_settle(rig);
    }
}

struct weir_str
rig_received(const struct rig *rig)
{
    return buf_str(&rig->stream.received);
}

/* ---- reading answers --------------------------------------------------------------------- */

struct weir_str
rig_field(struct weir_str head, const char *name)
{
    struct weir_str line;
    while (weir_str_split(&head, '\n', &line)) {
        struct weir_str rest = line, key;
        if (weir_str_split(&rest, ':', &key) && weir_str_eq_icase(key, weir_str_from(name)) &&
                rest.ptr != NULL) {
            while (rest.len > 0 && rest.ptr[rest.len - 1] == '\r') {
                rest.len--;
            }
            return weir_str_trim(rest);
        }
    }
    return weir_str_make(NULL, 0);
}

static bool
read_chunks(struct weir_str *bytes, struct rig_answer *out)
{
    const char *begin = bytes->ptr;
    for (;;) {
        const char *lf = bytes->len == 0 ? NULL : memchr(bytes->ptr, '\n', bytes->len);
        if (lf == NULL || lf == bytes->ptr) {
            return false;
        }
        uint64_t size = strtoull(bytes->ptr, NULL, 16);
        size_t line = (size_t)(lf - bytes->ptr) + 1;
        if (size == 0) {
            const char *end = memmem(bytes->ptr, bytes->len, "\r\n\r\n", 4);
            if (end == NULL) {
                return false;
            }
            size_t len = (size_t)(end - bytes->ptr) + 4;
            bytes->ptr += len;
            bytes->len -= len;
            out->body = weir_str_make(begin, (size_t)(bytes->ptr - begin));
            return true;
        }
        if (bytes->len < line + size + 2) {
            return false;
        }
        bytes->ptr += line + size + 2;
        bytes->len -= line + size + 2;
    }
}

bool
rig_next_answer(struct weir_str *bytes, bool to_head, struct rig_answer *out)
{
    memset(out, 0, sizeof(*out));
    const char *end = bytes->len == 0 ? NULL : memmem(bytes->ptr, bytes->len, "\r\n\r\n", 4);
    uint64_t status;
    if (end == NULL || bytes->len < 12 || memcmp(bytes->ptr, "HTTP/1.1 ", 9) != 0 ||
            num_parse_u64(weir_str_make(bytes->ptr + 9, 3), 599, &status) < 0) {
        return false;
    }
    out->status = (unsigned)status;
    out->head = weir_str_make(bytes->ptr, (size_t)(end - bytes->ptr) + 4);
    bytes->ptr += out->head.len;
    bytes->len -= out->head.len;
    out->says_close = weir_str_eq(rig_field(out->head, "connection"), WEIR_STR("close"));
    struct weir_str length = rig_field(out->head, "content-length");
    out->has_length = length.ptr != NULL;
    out->is_chunked = rig_field(out->head, "transfer-encoding").ptr != NULL;
    out->is_complete = true;
    if (to_head || status < 200 || status == 204 || status == 304) {
        return true;
    }
    uint64_t body_bytes;
    if (out->is_chunked) {
        out->is_complete = read_chunks(bytes, out);
    } else if (out->has_length && num_parse_u64(length, UINT64_MAX, &body_bytes) == 0) {
        out->is_complete = body_bytes <= bytes->len;
        size_t len = out->is_complete ? (size_t)body_bytes : bytes->len;
        out->body = weir_str_make(bytes->ptr, len);
        bytes->ptr += len;
        bytes->len -= len;
    } else {
        out->body = *bytes;
        bytes->ptr += bytes->len;
        bytes->len = 0;
    }
    return true;
}
