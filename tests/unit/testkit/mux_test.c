/* SPDX-License-Identifier: MIT */
/* The handlers and hooks that HTTP/1 is tested with, on a multiplexed protocol: requests are
 * independent of each other and of the connection that carries them. */
#include "testkit/mux.h"

#include <errno.h>
#include <stdio.h>

#include <weir/filter.h>
#include <weir/reply.h>
#include <weir/request.h>

#include "http/request.h"
#include "support/rig.h"
#include "support/unit.h"

/* What a client has seen of one stream. */
struct seen {
    unsigned status, interims;
    char head[2048], trailers[256];
    struct buf body;
    uint64_t credit;
    bool has_ended, was_reset;
};

#define STREAMS 70

static struct {
    struct rig rig;
    struct mux_settings settings;
    struct memory_stream stream;
    struct seen seen[STREAMS];
    size_t parsed;
} all;

/* ---- a client ---------------------------------------------------------------------------- */

static void
open_client(void)
{
    struct mux_conn *conn = mux_conn_new(&all.rig.engine, &all.settings);
    ck_assert_ptr_nonnull(conn);
    memory_stream_init(&all.stream, all.rig.loop, mux_conn_on_event, conn);
    memset(all.seen, 0, sizeof(all.seen));
    for (int i = 0; i < STREAMS; i++) {
        buf_init(&all.seen[i].body, 8 << 20);
    }
    all.parsed = 0;
    mux_conn_start(conn, &all.stream.stream);
}

static void
begin(const struct weir_handler *extra, unsigned count)
{
    rig_init(&all.rig, extra, count);
    all.settings = (struct mux_settings){ .limits = HTTP_LIMITS_PRESET,
        .timeouts = HTTP_TIMEOUTS_PRESET };
    open_client();
}

static void
settle(void)
{
    for (int i = 0; i < 3 || all.stream.pending_events != 0; i++) {
        loop_turn(all.rig.loop, false);
    }
}

static void
close_client(void)
{
    if (!all.stream.is_closed) {
        memory_stream_reset(&all.stream);
        settle();
    }
    ck_assert(all.stream.is_closed);
    memory_stream_fini(&all.stream);
    for (int i = 0; i < STREAMS; i++) {
        buf_fini(&all.seen[i].body);
    }
}

static void
end(void)
{
    close_client();
    rig_fini(&all.rig);
}

static void
send_frame(enum mux_type type, unsigned flags, uint16_t id, struct weir_str payload)
{
    char frame[MUX_FRAME_BYTES];
    mux_format(frame, type, flags, id, (uint32_t)payload.len);
    memory_stream_send(&all.stream, weir_str_make(frame, sizeof(frame)));
    memory_stream_send(&all.stream, payload);
}

static void
send_credit(uint16_t id, uint32_t bytes)
{
    const unsigned char text[4] = { (unsigned char)(bytes >> 24), (unsigned char)(bytes >> 16),
        (unsigned char)(bytes >> 8), (unsigned char)bytes };
    send_frame(MUX_CREDIT, 0, id, weir_str_make((const char *)text, 4));
}

static void
ask(uint16_t id, const char *text, unsigned flags)
{
    send_frame(MUX_HEAD, flags, id, weir_str_from(text));
}

static void
get(uint16_t id, const char *path)
{
    char text[128];
    snprintf(text, sizeof(text), "GET\n%s\nhost: a\n", path);
    ask(id, text, MUX_END);
}

static uint32_t
u32(const char *at)
{
    const unsigned char *bytes = (const unsigned char *)at;
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
            bytes[3];
}

static void
take_head(struct seen *seen, struct weir_str payload)
{
    ck_assert_uint_eq(seen->status, 0); /* one head a stream */
    ck_assert_uint_lt(payload.len, sizeof(seen->head));
    memcpy(seen->head, payload.ptr, payload.len);
    seen->head[payload.len] = '\0';
    seen->status = (unsigned)strtoul(seen->head, NULL, 10);
}

static void
take_frame(const char *frame, struct weir_str payload)
{
    unsigned type = (unsigned char)frame[0], flags = (unsigned char)frame[1];
    uint32_t id = u32(frame) & 0xffff;
    ck_assert_uint_lt(id, STREAMS);
    struct seen *seen = &all.seen[id];
    ck_assert_msg(!seen->was_reset, "a frame behind the reset of %u", id);
    ck_assert(!seen->has_ended || type == MUX_RESET);
    switch (type) {
    case MUX_HEAD:
        take_head(seen, payload);
        break;
    case MUX_INTERIM:
        ck_assert_uint_eq(seen->status, 0);
        seen->interims++;
        break;
    case MUX_DATA:
        ck_assert_uint_ne(seen->status, 0);
        ck_assert_uint_le(payload.len, MUX_DATA_BYTES);
        ck_assert_int_eq(buf_append(&seen->body, payload), 0);
        break;
    case MUX_TRAILER:
        ck_assert_uint_lt(payload.len, sizeof(seen->trailers));
        memcpy(seen->trailers, payload.ptr, payload.len);
        break;
    case MUX_CREDIT:
        seen->credit += u32(payload.ptr);
        break;
    case MUX_RESET:
        seen->was_reset = true;
        break;
    default:
        ck_abort_msg("frame type %u", type);
    }
    seen->has_ended |= (flags & MUX_END) != 0;
}

/* Lets the server get on and takes in what it has sent. */
static void
exchange(void)
{
    settle();
    struct weir_str all_bytes = buf_str(&all.stream.received);
    while (all_bytes.len - all.parsed >= MUX_FRAME_BYTES) {
        const char *frame = all_bytes.ptr + all.parsed;
        uint32_t bytes = u32(frame + 4);
        if (all_bytes.len - all.parsed - MUX_FRAME_BYTES < bytes) {
            break;
        }
        take_frame(frame, weir_str_make(frame + MUX_FRAME_BYTES, bytes));
        all.parsed += MUX_FRAME_BYTES + bytes;
    }
}

static bool
has_body(uint16_t id, const char *text)
{
    return weir_str_eq(buf_str(&all.seen[id].body), weir_str_from(text));
}

/* ---- one request ------------------------------------------------------------------------- */

static const struct {
    const char *why, *request, *body;
    unsigned status;
    const char *want; /* NULL: whatever it is */
    const char *field;
    bool is_cut; /* ends with a reset */
} cases[] = {
    { "an answer of known length", "GET\n/hello\nhost: a\n", NULL, 200, "hello",
            "content-length: 5\n", false },
    { "HEAD has no body", "HEAD\n/hello\nhost: a\n", NULL, 200, "", "content-length: 5\n",
            false },
    { "204 has neither", "GET\n/nothing\nhost: a\n", NULL, 204, "", NULL, false },
    { "304 neither", "GET\n/status/304\nhost: a\n", NULL, 304, "", NULL, false },
    { "a body and back", "POST\n/echo\nhost: a\n", "hello", 200, "hello", NULL, false },
    { "a body of known length", "POST\n/sink\nhost: a\ncontent-length: 5\n", "hello", 200, "5",
            NULL, false },
    { "shorter than said", "POST\n/sink\nhost: a\ncontent-length: 6\n", "hello", 400, NULL,
            NULL, false },
    { "longer than said", "POST\n/sink\nhost: a\ncontent-length: 4\n", "hello", 400, NULL, NULL,
            false },
    { "a length without a body", "POST\n/sink\nhost: a\ncontent-length: 6\n", NULL, 400, NULL,
            NULL, false },
    { "a length above the limit", "POST\n/sink\nhost: a\ncontent-length: 9000000\n", "hello",
            413, NULL, NULL, true },
    { "a failing hook", "GET\n/fail\nhost: a\n", NULL, 500, NULL, NULL, false },
    { "an injected field", "GET\n/inject\nhost: a\n", NULL, 500, NULL, NULL, false },
    { "an unknown path", "GET\n/elsewhere\nhost: a\n", NULL, 404, NULL, NULL, false },
    { "less than declared", "GET\n/short\nhost: a\n", NULL, 200, "12345", NULL, true },
    { "more than declared", "GET\n/over\nhost: a\n", NULL, 200, "12345", "content-length: 5\n",
            false },
    { "no host", "GET\n/hello\n", NULL, 400, NULL, NULL, false },
    { "a bad target", "GET\n/../x\nhost: a\n", NULL, 400, NULL, NULL, false },
    { "an unknown method", "BREW\n/\nhost: a\n", NULL, 501, NULL, NULL, false },
    { "an empty name", "GET\n/hello\nhost: a\n: x\n", NULL, 400, NULL, NULL, false },
    { "a name that is no token", "GET\n/hello\nhost: a\na b: x\n", NULL, 400, NULL, NULL,
            false },
    { "a control byte", "GET\n/hello\nhost: a\nx: a\rb\n", NULL, 400, NULL, NULL, false },
    { "a field of HTTP/1 connections (RFC 9113 8.2.2)",
            "GET\n/hello\nhost: a\nconnection: close\n", NULL, 400, NULL, NULL, false },
    { "another", "POST\n/echo\nhost: a\ntransfer-encoding: chunked\n", NULL, 400, NULL, NULL,
            false },
    { "TE is for trailers alone", "GET\n/hello\nhost: a\nte: gzip\n", NULL, 400, NULL, NULL,
            false },
    { "TE: trailers", "GET\n/hello\nhost: a\nte: trailers\n", NULL, 200, "hello", NULL, false },
    { "two lengths", "POST\n/sink\nhost: a\ncontent-length: 5\ncontent-length: 5\n", "hello",
            400, NULL, NULL, false },
};

START_TEST(serves_the_same_handlers)
{
    struct weir_str body = weir_str_from(cases[_i].body);
    for (int cut = 0; cut < 2; cut++) {
        begin(NULL, 0);
        all.stream.read_max_bytes = cut == 0 ? SIZE_MAX : 1;
        ask(1, cases[_i].request, cases[_i].body == NULL ? MUX_END : 0);
        if (cases[_i].body != NULL) {
            send_frame(MUX_DATA, 0, 1, weir_str_make(body.ptr, 2));
            send_frame(MUX_DATA, MUX_END, 1, weir_str_make(body.ptr + 2, body.len - 2));
        }
        exchange();
        const struct seen *seen = &all.seen[1];
        ck_assert_msg(seen->status == cases[_i].status, "%s: %u", cases[_i].why, seen->status);
        unit_check(cases[_i].is_cut ? seen->was_reset : seen->has_ended, cases[_i].why);
        unit_check(cases[_i].want == NULL || has_body(1, cases[_i].want), cases[_i].why);
        unit_check(cases[_i].field == NULL || strstr(seen->head, cases[_i].field) != NULL,
                cases[_i].why);
        /* The connection goes on, whatever became of the request. */
        get(2, "/hello");
        exchange();
        unit_check(has_body(2, "hello") && all.seen[2].has_ended, cases[_i].why);
        end();
    }
}
END_TEST

static unsigned seen_version;
static struct weir_str seen_field;

static enum weir_verdict
look(struct weir_request *request, const void *conf)
{
    (void)conf;
    seen_version = weir_request_version(request);
    seen_field = weir_request_field(request, WEIR_STR("X-Mixed"));
    int r = weir_reply_hint(request, WEIR_STR("</a.css>; rel=preload"));
    ck_assert_int_eq(r, 0);
    return WEIR_NEXT;
}

static const struct weir_hook look_hooks[] = { { .on = WEIR_ON_HEAD, .request = look } };
static const struct weir_handler look_handler = { .name = "look",
    .hooks = WEIR_HOOKS(look_hooks) };

START_TEST(tells_hooks_its_version_and_sends_their_hints)
{
    begin(&look_handler, 1);
    ask(1, "GET\n/hello\nhost: a\nx-mixed:  Case \n", MUX_END);
    settle();
    ck_assert_uint_eq(seen_version, 20);
    exchange();
    ck_assert_uint_eq(all.seen[1].interims, 1);
    ck_assert_uint_eq(all.seen[1].status, 200);
    end();
}
END_TEST

START_TEST(sends_trailers)
{
    begin(NULL, 0);
    ask(1, "POST\n/trailer\nhost: a\n", 0);
    exchange();
    ck_assert_uint_eq(all.seen[1].status, 200); /* its head left with the first byte */
    send_frame(MUX_DATA, MUX_END, 1, WEIR_STR("x"));
    exchange();
    ck_assert(has_body(1, ">01234567890123456789"));
    ck_assert_str_eq(all.seen[1].trailers, "X-Sum: 42\n");
    ck_assert(all.seen[1].has_ended);
    end();
}
END_TEST

/* ---- several ----------------------------------------------------------------------------- */

START_TEST(answers_out_of_order)
{
    begin(NULL, 0);
    ask(1, "POST\n/sink\nhost: a\n", 0);
    ask(2, "POST\n/echo\nhost: a\n", 0);
    get(3, "/hello");
    exchange();
    ck_assert(all.seen[3].has_ended && !all.seen[1].has_ended && !all.seen[2].has_ended);
    for (int i = 0; i < 10; i++) { /* bodies in turns */
        send_frame(MUX_DATA, i == 9 ? MUX_END : 0, 2, WEIR_STR("b"));
        send_frame(MUX_DATA, i == 9 ? MUX_END : 0, 1, WEIR_STR("aa"));
        exchange();
    }
    ck_assert(has_body(1, "20") && has_body(2, "bbbbbbbbbb"));
    ck_assert(all.seen[1].has_ended && all.seen[2].has_ended);
    end();
}
END_TEST

START_TEST(sends_each_stream_no_more_than_its_credit)
{
    begin(NULL, 0);
    get(1, "/bytes/50000");
    get(2, "/bytes/50000");
    get(3, "/hello");
    exchange();
    ck_assert_uint_eq(buf_str(&all.seen[1].body).len, MUX_CREDIT_BYTES);
    ck_assert_uint_eq(buf_str(&all.seen[2].body).len, MUX_CREDIT_BYTES);
    ck_assert(has_body(3, "hello"));
    send_credit(2, 9000);
    exchange();
    ck_assert_uint_eq(buf_str(&all.seen[1].body).len, MUX_CREDIT_BYTES);
    ck_assert_uint_eq(buf_str(&all.seen[2].body).len, MUX_CREDIT_BYTES + 9000);
    send_credit(1, 1000000);
    send_credit(2, 1000000);
    exchange();
    for (uint16_t id = 1; id <= 2; id++) {
        ck_assert_uint_eq(buf_str(&all.seen[id].body).len, 50000);
        ck_assert(all.seen[id].has_ended);
    }
    end();
}
END_TEST

/* A handler that streams feels the credit of its own stream, and nobody else's. */
START_TEST(makes_a_writer_wait_for_its_own_reader)
{
    begin(NULL, 0);
    ask(1, "POST\n/chunks/300000\nhost: a\n", 0);
    send_frame(MUX_DATA, MUX_END, 1, WEIR_STR("x"));
    get(2, "/hello");
    exchange();
    ck_assert(has_body(2, "hello"));
    ck_assert(!all.seen[1].has_ended);
    for (int i = 0; i < 1000 && !all.seen[1].has_ended; i++) {
        send_credit(1, 10000);
        exchange();
    }
    ck_assert_uint_eq(buf_str(&all.seen[1].body).len, 3000001);
    ck_assert(all.seen[1].has_ended);
    end();
}
END_TEST

START_TEST(gives_credit_for_a_body_as_it_is_read)
{
    begin(NULL, 0);
    all.settings.limits.body_bytes = HTTP_UNLIMITED;
    ask(1, "POST\n/sink\nhost: a\n", 0);
    exchange();
    static char block[4096];
    uint64_t sent = 0, may_send = MUX_CREDIT_BYTES;
    uint64_t granted = 0;
    while (sent < 1000000) {
        may_send += all.seen[1].credit - granted;
        granted = all.seen[1].credit;
        uint64_t len = may_send < sizeof(block) ? may_send : sizeof(block);
        len = len < 1000000 - sent ? len : 1000000 - sent;
        ck_assert_uint_gt(len, 0); /* it is read as fast as it comes */
        send_frame(MUX_DATA, sent + len == 1000000 ? MUX_END : 0, 1,
                weir_str_make(block, (size_t)len));
        sent += len;
        may_send -= len;
        exchange();
    }
    ck_assert(has_body(1, "1000000"));
    end();
}
END_TEST

START_TEST(refuses_a_body_beyond_its_credit)
{
    static char block[MUX_CREDIT_BYTES + 1];
    begin(NULL, 0);
    ask(1, "POST\n/ignore\nhost: a\n", 0);
    send_frame(MUX_DATA, 0, 1, weir_str_make(block, sizeof(block)));
    get(2, "/hello");
    exchange();
    ck_assert(all.seen[1].was_reset && has_body(2, "hello"));
    ck_assert_uint_eq(all.rig.ended[REQUEST_END_CLIENT_WRONG], 1);
    end();
}
END_TEST

/* ---- ends -------------------------------------------------------------------------------- */

static struct {
    struct course_wait wait;
    struct weir_request *request;
    unsigned abandoned;
} held;

static void
abandon(struct course_wait *wait)
{
    (void)wait;
    held.abandoned++;
}

static enum weir_verdict
go_on(struct weir_request *request, const void *conf)
{
    (void)request;
    (void)conf;
    return WEIR_NEXT;
}

static enum weir_verdict
hold(struct weir_request *request, const void *conf)
{
    (void)conf;
    if (!weir_str_eq(weir_request_query(request), WEIR_STR("hold"))) {
        return WEIR_NEXT;
    }
    held.request = request;
    held.wait.abandon = abandon;
    return course_wait_for(request, &held.wait, go_on);
}

static const struct weir_hook hold_hooks[] = { { .on = WEIR_ON_ACCESS, .request = hold } };
static const struct weir_handler hold_handler = { .name = "hold",
    .hooks = WEIR_HOOKS(hold_hooks) };

/* Waits in one phase, whichever it is told. */
static enum weir_phase hold_phase;

static enum weir_verdict
hold_in(struct weir_request *request, enum weir_phase phase)
{
    return phase == hold_phase && held.request == NULL ? hold(request, NULL) : WEIR_NEXT;
}

static enum weir_verdict
hold_in_head(struct weir_request *request, const void *conf)
{
    (void)conf;
    return hold_in(request, WEIR_ON_HEAD);
}

static enum weir_verdict
hold_in_reply(struct weir_request *request, const void *conf)
{
    (void)conf;
    if (hold_phase == WEIR_ON_REPLY_BODY && weir_filter_enable(request) < 0) {
        return WEIR_FAILED;
    }
    return hold_in(request, WEIR_ON_REPLY_HEAD);
}

static enum weir_verdict
hold_in_log(struct weir_request *request, const void *conf)
{
    (void)conf;
    return hold_in(request, WEIR_ON_LOG);
}

static enum weir_verdict
pass_or_hold(struct weir_request *request, struct weir_filter *filter, enum weir_phase phase)
{
    enum weir_verdict verdict = hold_in(request, phase);
    size_t len = weir_filter_input(filter).len;
    if (verdict != WEIR_NEXT || len == 0) {
        return verdict;
    }
    return weir_filter_pass(filter, len) < 0 ? WEIR_FAILED : WEIR_NEXT;
}

static enum weir_verdict
hold_request_body(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    (void)conf;
    return pass_or_hold(request, filter, WEIR_ON_REQUEST_BODY);
}

static enum weir_verdict
hold_reply_body(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    (void)conf;
    return pass_or_hold(request, filter, WEIR_ON_REPLY_BODY);
}

static const struct weir_hook everywhere_hooks[] = {
    { .on = WEIR_ON_HEAD, .request = hold_in_head },
    { .on = WEIR_ON_REQUEST_BODY, .filter = hold_request_body },
    { .on = WEIR_ON_REPLY_HEAD, .request = hold_in_reply },
    { .on = WEIR_ON_REPLY_BODY, .filter = hold_reply_body },
    { .on = WEIR_ON_LOG, .request = hold_in_log },
};
static const struct weir_handler everywhere = { .name = "everywhere",
    .hooks = WEIR_HOOKS(everywhere_hooks) };
static const enum weir_phase hold_phases[] = { WEIR_ON_HEAD, WEIR_ON_REQUEST_BODY,
    WEIR_ON_REPLY_HEAD, WEIR_ON_REPLY_BODY, WEIR_ON_LOG };

START_TEST(waits_in_each_phase_of_one_request)
{
    memset(&held, 0, sizeof(held));
    hold_phase = hold_phases[_i];
    bool is_log = hold_phase == WEIR_ON_LOG;
    begin(&everywhere, 1);
    ask(1, "POST\n/echo?hold\nhost: a\n", 0);
    send_frame(MUX_DATA, MUX_END, 1, WEIR_STR("abc"));
    get(2, "/hello");
    exchange();
    ck_assert_ptr_nonnull(held.request);
    ck_assert(all.seen[2].has_ended && all.seen[1].has_ended == is_log);
    ck_assert_uint_eq(course_logs_kept(&all.rig.map), is_log);
    course_ripen(&held.wait);
    exchange();
    ck_assert(has_body(1, "abc"));
    ck_assert_uint_eq(held.abandoned, 0);
    ck_assert_uint_eq(course_logs_kept(&all.rig.map), 0);
    end();
}
END_TEST

START_TEST(ends_the_wait_of_a_request_that_is_reset)
{
    memset(&held, 0, sizeof(held));
    hold_phase = hold_phases[_i];
    begin(&everywhere, 1);
    ask(1, "POST\n/echo?hold\nhost: a\n", 0);
    send_frame(MUX_DATA, MUX_END, 1, WEIR_STR("abc"));
    get(2, "/hello");
    exchange();
    send_frame(MUX_RESET, 0, 1, WEIR_STR(""));
    exchange();
    ck_assert_uint_eq(held.abandoned, hold_phase != WEIR_ON_LOG);
    ck_assert(!all.stream.is_closed);
    end();
    ck_assert_uint_eq(held.abandoned, 1);
}
END_TEST

/* It waits for every run of bytes, and its client takes a few at a time. */
START_TEST(lets_a_filter_wait_for_a_client_with_little_credit)
{
    memset(&held, 0, sizeof(held));
    hold_phase = WEIR_ON_REPLY_BODY;
    begin(&everywhere, 1);
    get(1, "/bytes/5000?hold");
    exchange();
    for (int i = 0; i < 5000 && !all.seen[1].has_ended; i++) {
        if (held.request != NULL && !held.wait.is_there) {
            course_ripen(&held.wait);
        }
        send_credit(1, 7);
        exchange();
    }
    ck_assert(all.seen[1].has_ended);
    ck_assert_uint_eq(buf_str(&all.seen[1].body).len, 5000);
    end();
}
END_TEST

START_TEST(lets_one_request_wait_while_others_go_on)
{
    begin(&hold_handler, 1);
    get(1, "/hello?hold");
    get(2, "/hello");
    exchange();
    ck_assert(!all.seen[1].has_ended && all.seen[2].has_ended);
    course_ripen(&held.wait);
    exchange();
    ck_assert(has_body(1, "hello"));
    end();
}
END_TEST

START_TEST(ends_one_request_and_no_other_when_it_is_reset)
{
    memset(&held, 0, sizeof(held));
    begin(&hold_handler, 1);
    get(1, "/hello?hold");
    get(2, "/bytes/5000");
    exchange();
    send_frame(MUX_RESET, 0, 1, WEIR_STR(""));
    send_frame(MUX_RESET, 0, 1, WEIR_STR("")); /* once more: it is known to have ended */
    send_credit(2, 10000);
    exchange();
    ck_assert_uint_eq(held.abandoned, 1);
    ck_assert_uint_eq(all.rig.ended[REQUEST_END_CLIENT_LEFT], 1);
    ck_assert_uint_eq(all.seen[1].status, 0);
    ck_assert(all.seen[2].has_ended);
    ck_assert_uint_eq(buf_str(&all.seen[2].body).len, 5000);
    end();
}
END_TEST

START_TEST(ends_all_requests_with_their_connection)
{
    memset(&held, 0, sizeof(held));
    begin(&hold_handler, 1);
    get(1, "/hello?hold");
    get(2, "/bytes/5000");
    ask(3, "POST\n/sink\nhost: a\n", 0);
    exchange();
    memory_stream_reset(&all.stream);
    settle();
    ck_assert_uint_eq(held.abandoned, 1);
    ck_assert_uint_eq(all.rig.ended[REQUEST_END_CLIENT_LEFT], 3);
    end();
}
END_TEST

START_TEST(finishes_what_it_has_begun_when_it_stops)
{
    begin(&hold_handler, 1);
    get(1, "/hello?hold");
    exchange();
    engine_stop(&all.rig.engine, false);
    get(2, "/hello");
    exchange();
    ck_assert(all.seen[2].was_reset && !all.stream.is_closed);
    course_ripen(&held.wait);
    exchange();
    ck_assert(has_body(1, "hello") && all.stream.is_closed);
    end();
}
END_TEST

START_TEST(answers_a_client_that_half_closed)
{
    begin(&hold_handler, 1);
    get(1, "/hello?hold");
    memory_stream_end(&all.stream);
    exchange();
    ck_assert(!all.stream.is_closed);
    course_ripen(&held.wait);
    exchange();
    ck_assert(has_body(1, "hello") && all.stream.is_closed);
    end();
}
END_TEST

START_TEST(serves_many_at_once_for_a_slow_reader)
{
    begin(NULL, 0);
    all.stream.allowed_bytes = 0;
    for (uint16_t id = 1; id <= MUX_STREAMS_MAX; id++) {
        get(id, "/bytes/20000");
        send_credit(id, 1000000);
    }
    get(MUX_STREAMS_MAX + 1, "/hello"); /* one too many */
    for (int i = 0; i < 200; i++) {
        memory_stream_allow(&all.stream, 10000);
        exchange();
    }
    for (uint16_t id = 1; id <= MUX_STREAMS_MAX; id++) {
        ck_assert_uint_eq(buf_str(&all.seen[id].body).len, 20000);
        ck_assert(all.seen[id].has_ended);
    }
    ck_assert(all.seen[MUX_STREAMS_MAX + 1].was_reset);
    end();
}
END_TEST

START_TEST(survives_each_allocation_that_fails)
{
    begin(NULL, 0);
    UNIT_EACH_ALLOCATION_FAILS({
        failalloc_fail_nth(0);
        close_client();
        open_client();
        memory_stream_reserve(&all.stream, 1 << 20);
        for (int id = 1; id <= 3; id++) {
            char *unused;
            ck_assert_int_eq(buf_reserve(&all.seen[id].body, 4096, &unused), 0);
        }
        failalloc_fail_nth(unit_nth);
        get(1, "/hello");
        ask(2, "POST\n/echo\nhost: a\nte: trailers\n", 0);
        send_frame(MUX_DATA, MUX_END, 2, WEIR_STR("hello"));
        get(3, "/inject");
        exchange();
        for (int id = 1; id <= 3; id++) {
            ck_assert(all.seen[id].has_ended || all.seen[id].was_reset || all.stream.is_closed);
        }
    });
    end();
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, serves_the_same_handlers, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(tests, tells_hooks_its_version_and_sends_their_hints);
    tcase_add_test(tests, sends_trailers);
    tcase_add_test(tests, answers_out_of_order);
    tcase_add_test(tests, sends_each_stream_no_more_than_its_credit);
    tcase_add_test(tests, makes_a_writer_wait_for_its_own_reader);
    tcase_add_test(tests, gives_credit_for_a_body_as_it_is_read);
    tcase_add_test(tests, refuses_a_body_beyond_its_credit);
    tcase_add_loop_test(tests, waits_in_each_phase_of_one_request, 0, 5);
    tcase_add_loop_test(tests, ends_the_wait_of_a_request_that_is_reset, 0, 5);
    tcase_add_test(tests, lets_a_filter_wait_for_a_client_with_little_credit);
    tcase_add_test(tests, lets_one_request_wait_while_others_go_on);
    tcase_add_test(tests, ends_one_request_and_no_other_when_it_is_reset);
    tcase_add_test(tests, ends_all_requests_with_their_connection);
    tcase_add_test(tests, finishes_what_it_has_begun_when_it_stops);
    tcase_add_test(tests, answers_a_client_that_half_closed);
    tcase_add_test(tests, serves_many_at_once_for_a_slow_reader);
    tcase_add_test(tests, survives_each_allocation_that_fails);
}

UNIT_MAIN("testkit/mux", add_tests)
