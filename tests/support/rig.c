/* SPDX-License-Identifier: MIT */
#include "support/rig.h"

#include <stdlib.h>

#include <check.h>

#include "base/budget.h"
#include "base/num.h"
#include "http/request.h"
#include "observe/log.h"

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
rig_send_split(struct rig *rig, struct weir_str bytes, size_t split)
{
    size_t step = split == RIG_BYTEWISE       ? 1
            : split == 0 || split > bytes.len ? bytes.len
                                              : split;
    while (bytes.len > 0) {
        rig_send(rig, weir_str_make(bytes.ptr, step));
        bytes.ptr += step;
        bytes.len -= step;
        step = split == RIG_BYTEWISE ? 1 : bytes.len;
    }
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
