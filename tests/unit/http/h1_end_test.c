/* SPDX-License-Identifier: MIT */
/* How connections end: the client's FIN and reset at every byte, writes that fail, answers that
 * cannot be finished; and that whatever was answered is sent first, whole. */
#include <stdio.h>
#include <unistd.h>

#include <weir/reply.h>
#include <weir/request.h>

#include "http/h1.h"
#include "http/request.h"
#include "support/rig.h"
#include "support/unit.h"

#define CRLF "\r\n"
#define GET  "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
#define BIG  "GET /bytes/300000 HTTP/1.1\r\nHost: a\r\n\r\n"

#define ROWS(cases) (int)(sizeof(cases) / sizeof((cases)[0]))

static struct rig *
new_rig(void)
{
    static struct rig rig;
    rig_init(&rig, NULL, 0);
    return &rig;
}

/* Complete answers in what was received; the rest is left in *rest. */
static unsigned
count_answers(const struct rig *rig, struct weir_str *rest)
{
    *rest = rig_received(rig);
    unsigned count = 0;
    while (rest->len > 0) {
        struct weir_str next = *rest;
        struct rig_answer answer;
        if (!rig_next_answer(&next, false, &answer) || !answer.is_complete) {
            break;
        }
        *rest = next;
        count++;
    }
    return count;
}

/* ---- the client's FIN -------------------------------------------------------------------- */

static const struct {
    const char *why, *bytes;
    unsigned answers;
} fin_cases[] = {
    { "nothing was asked", "", 0 },
    { "half a head is no request", "GET /hello HTTP/1.1\r\nHo", 0 },
    { "a request is answered", GET, 1 },
    { "a large answer is sent whole", BIG, 1 },
    { "so are several", BIG BIG BIG, 3 },
    { "and those before half a head", BIG GET "GET ", 2 },
    { "and those before half a body that nobody reads",
            BIG "POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhel", 2 },
    { "a body is complete with its last byte",
            "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 1 },
    { "HTTP/1.0 too", "GET /bytes/300000 HTTP/1.0\r\n\r\n", 1 },
    { "an empty line is no request", GET CRLF, 1 },
};

/* What the socket takes at once, in which pieces the bytes come, and when the FIN is seen. */
static void
check_fin(struct rig *rig, int row, uint64_t room, size_t split, bool is_late)
{
    struct weir_str bytes = weir_str_from(fin_cases[row].bytes);
    rig_connect(rig);
    rig->stream.allowed_bytes = room;
    if (is_late) {
        rig_send_split(rig, bytes, split);
    } else {
        memory_stream_send(&rig->stream, bytes);
    }
    if (!rig->stream.is_closed) {
        memory_stream_end(&rig->stream);
    }
    rig_settle(rig);
    for (int i = 0; i < 20 && !rig->stream.is_closed; i++) {
        memory_stream_allow(&rig->stream, 100000);
        rig_settle(rig);
    }
    struct weir_str rest;
    unsigned count = count_answers(rig, &rest);
    ck_assert_msg(count == fin_cases[row].answers && rest.len == 0,
            "%s: %u answers and %zu bytes (room %llu, split %zu, late %d)", fin_cases[row].why,
            count, rest.len, (unsigned long long)room, split, (int)is_late);
    unit_check(rig->stream.is_closed && !rig->stream.was_reset, fin_cases[row].why);
}

START_TEST(answers_what_was_asked_before_the_end)
{
    static const uint64_t rooms[] = { 0, 1, 100, 70000, UINT64_MAX };
    struct rig *rig = new_rig();
    for (int room = 0; room < ROWS(rooms); room++) {
        check_fin(rig, _i, rooms[room], 0, false);
        check_fin(rig, _i, rooms[room], 0, true);
    }
    for (size_t split = 1; split < strlen(fin_cases[_i].bytes); split++) {
        check_fin(rig, _i, UINT64_MAX, split, true);
    }
    check_fin(rig, _i, UINT64_MAX, RIG_BYTEWISE, true);
    rig_fini(rig);
}
END_TEST

START_TEST(ends_a_body_that_breaks_off)
{
    static const char *const requests[] = {
        "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell",
        "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell",
    };
    struct rig *rig = new_rig();
    size_t len = strlen(requests[_i]);
    for (size_t split = 0; split <= len; split++) {
        unsigned ended = rig->ended[REQUEST_END_COMPLETE];
        rig_connect(rig);
        rig_send_split(rig, weir_str_from(requests[_i]), split == len ? RIG_BYTEWISE : split);
        ck_assert_uint_eq(rig->ended[REQUEST_END_COMPLETE], ended);
        memory_stream_end(&rig->stream);
        rig_settle(rig);
        ck_assert(rig->stream.is_closed);
        ck_assert_int_eq(rig->closed, H1_CLOSE_CLIENT);
        struct weir_str rest = rig_received(rig);
        struct rig_answer answer;
        bool is_whole = rig_next_answer(&rest, false, &answer) && answer.is_complete;
        ck_assert(!is_whole || answer.status == 400); /* never a success */
    }
    rig_fini(rig);
}
END_TEST

/* ---- resets ------------------------------------------------------------------------------ */

static const char *const exchanges[] = {
    GET GET,
    "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    "5\r\nhello\r\n0\r\nX: y\r\n\r\n" GET,
    "POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" GET,
    "GET / HTTP/1.1\r\n\r\nrest",
    "GET /chunks/100 HTTP/1.0\r\n\r\n",
    "GET /trailer HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n" BIG,
};

/* rig_fini() checks that nothing is left over. */
START_TEST(frees_everything_when_reset_at_any_byte)
{
    struct rig *rig = new_rig();
    struct weir_str bytes = weir_str_from(exchanges[_i]);
    for (size_t at = 0; at <= bytes.len; at++) {
        for (int room = 0; room < 3; room++) {
            rig_connect(rig);
            rig->stream.allowed_bytes = room == 0 ? 0 : room == 1 ? 50 : UINT64_MAX;
            memory_stream_send(&rig->stream, weir_str_make(bytes.ptr, at));
            if (room != 2) {
                rig_settle(rig);
            }
            if (!rig->stream.is_closed) {
                memory_stream_reset(&rig->stream);
            }
            rig_settle(rig);
            ck_assert(rig->stream.is_closed);
        }
    }
    rig_fini(rig);
}
END_TEST

/* The kind of stream that cannot tell a reset from bytes: reading and writing tell. */
START_TEST(notices_a_reset_by_reading_or_writing)
{
    struct rig *rig = new_rig();
    struct weir_str bytes = weir_str_from(exchanges[_i]);
    for (size_t at = 1; at <= bytes.len; at++) {
        rig_connect(rig);
        rig->stream.allowed_bytes = at % 3 == 0 ? 10 : UINT64_MAX;
        memory_stream_send(&rig->stream, weir_str_make(bytes.ptr, at));
        rig_settle(rig);
        if (rig->stream.is_closed) {
            continue;
        }
        rig->stream.peer_reset = true;
        rig->stream.stream.on_event(rig->stream.stream.owner,
                STREAM_READABLE | STREAM_WRITABLE);
        rig_settle(rig);
        ck_assert_msg(rig->stream.is_closed, "at %zu", at);
    }
    rig_fini(rig);
}
END_TEST

/* ---- answers that cannot be finished ----------------------------------------------------- */

static void
check_short(struct rig *rig, uint64_t room, size_t split)
{
    rig_connect(rig);
    rig->stream.allowed_bytes = room;
    rig_send_split(rig, WEIR_STR(BIG "GET /short HTTP/1.1\r\nHost: a\r\n\r\n" GET), split);
    memory_stream_allow(&rig->stream, UINT64_MAX);
    rig_settle(rig);
    struct weir_str rest;
    ck_assert_uint_eq(count_answers(rig, &rest), 1); /* the one before is whole */
    struct rig_answer answer;
    ck_assert(rig_next_answer(&rest, false, &answer));
    ck_assert_uint_eq(answer.status, 200);
    ck_assert(!answer.is_complete);
    ck_assert_uint_eq(rest.len, 0); /* nothing behind it */
    ck_assert(rig->stream.is_shut_down || rig->stream.is_closed);
}

START_TEST(shows_that_an_answer_is_not_whole)
{
    struct rig *rig = new_rig();
    static const uint64_t rooms[] = { 1, 1000, UINT64_MAX };
    for (int room = 0; room < ROWS(rooms); room++) {
        check_short(rig, rooms[room], 0);
    }
    for (size_t split = 1; split < strlen(BIG "GET /short HTTP/1.1\r\nHost: a\r\n\r\n" GET);
            split++) {
        check_short(rig, UINT64_MAX, split);
    }
    check_short(rig, UINT64_MAX, RIG_BYTEWISE);
    ck_assert_uint_eq(rig->ended[REQUEST_END_ANSWER_SHORT],
            rig->ended[REQUEST_END_COMPLETE]); /* and that was counted */
    rig_pass(rig, 4);
    ck_assert_int_eq(rig->closed, H1_CLOSE_BROKEN);
    rig_fini(rig);
}
END_TEST

/* A client that goes on sending meanwhile loses nothing of it to a reset. */
START_TEST(lingers_behind_an_answer_that_is_not_whole)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    rig_send(rig, WEIR_STR("GET /short HTTP/1.1\r\nHost: a\r\n\r\n"));
    ck_assert(rig->stream.is_shut_down && !rig->stream.is_closed);
    rig_send(rig, WEIR_STR(GET));
    memory_stream_end(&rig->stream);
    rig_settle(rig);
    ck_assert(rig->stream.is_closed && !rig->stream.was_reset);
    ck_assert_uint_eq(rig->ended[REQUEST_END_ANSWER_SHORT], 1);
    rig_fini(rig);
}
END_TEST

static enum weir_verdict
fail_later(struct weir_request *request, const void *conf)
{
    (void)request;
    (void)conf;
    return WEIR_FAILED;
}

/* Begins without a length, writes, and fails when the body is there. */
static enum weir_verdict
fail_midway(struct weir_request *request, const void *conf)
{
    (void)conf;
    if (!weir_str_eq(weir_request_path(request), WEIR_STR("/midway"))) {
        return WEIR_NEXT;
    }
    if (weir_reply_begin(request, 200) < 0 ||
            weir_reply_write(request, WEIR_STR("some")) != 4) {
        return WEIR_FAILED;
    }
    return weir_body_wait(request, fail_later);
}

static const struct weir_hook midway_hooks[] = { { .on = WEIR_ON_CONTENT,
        .request = fail_midway } };
static const struct weir_handler midway = { .name = "midway",
    .hooks = WEIR_HOOKS(midway_hooks) };

/* F49: an answer that ends with its connection can only be marked by a reset. */
START_TEST(resets_where_an_end_would_look_whole)
{
    static const struct {
        const char *head;
        bool resets;
    } rows[] = {
        { "POST /midway HTTP/1.0\r\nContent-Length: 4\r\n\r\n", true },
        { "POST /midway HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n", false },
    };
    struct rig rig;
    rig_init(&rig, &midway, 1);
    rig_connect(&rig);
    rig_send(&rig, weir_str_from(rows[_i].head));
    ck_assert(!rig.stream.is_closed);
    rig_send(&rig, WEIR_STR("body"));
    rig_pass(&rig, 4);
    ck_assert(rig.stream.is_closed);
    ck_assert_int_eq(rig.stream.was_reset, rows[_i].resets);
    ck_assert(!rows[_i].resets || !rig.stream.is_shut_down);
    ck_assert_uint_eq(rig.ended[REQUEST_END_ANSWER_FAILED], 1);
    rig_fini(&rig);
}
END_TEST

/* ---- files ------------------------------------------------------------------------------- */

static FILE *file;

/* Declares all of a file, which may be shorter by the time it is sent. */
static enum weir_verdict
send_file(struct weir_request *request, const void *conf)
{
    (void)conf;
    if (!weir_str_eq(weir_request_path(request), WEIR_STR("/file"))) {
        return WEIR_NEXT;
    }
    if (weir_reply_begin(request, 200) < 0 || weir_reply_length(request, 900000) < 0 ||
            weir_reply_file(request, dup(fileno(file)), 0, 900000) < 0) {
        return WEIR_FAILED;
    }
    weir_reply_end(request);
    return WEIR_DONE;
}

static const struct weir_hook file_hooks[] = { { .on = WEIR_ON_CONTENT,
        .request = send_file } };
static const struct weir_handler file_handler = { .name = "file",
    .hooks = WEIR_HOOKS(file_hooks) };

START_TEST(sends_a_file_and_ends_when_it_was_cut_short)
{
    static const off_t lengths[] = { 900000, 899999, 262144, 100, 0 };
    file = tmpfile();
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(ftruncate(fileno(file), lengths[_i]), 0);
    struct rig rig;
    rig_init(&rig, &file_handler, 1);
    rig_connect(&rig);
    rig.stream.allowed_bytes = 1000;
    rig_send(&rig, WEIR_STR("GET /file HTTP/1.1\r\nHost: a\r\n\r\n" GET));
    memory_stream_allow(&rig.stream, UINT64_MAX);
    rig_settle(&rig);
    struct weir_str rest;
    unsigned answers = count_answers(&rig, &rest);
    if (_i == 0) {
        ck_assert_uint_eq(answers, 2);
        ck_assert(!rig.stream.is_closed);
    } else {
        ck_assert_uint_eq(answers, 0);
        ck_assert(rig.stream.is_closed);
        ck_assert_int_eq(rig.closed, H1_CLOSE_BROKEN);
        ck_assert_uint_ge(rig.ended[REQUEST_END_ANSWER_SHORT], 1);
    }
    fclose(file);
    rig_fini(&rig);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, answers_what_was_asked_before_the_end, 0, ROWS(fin_cases));
    tcase_add_loop_test(tests, ends_a_body_that_breaks_off, 0, 5);
    tcase_add_loop_test(tests, frees_everything_when_reset_at_any_byte, 0, ROWS(exchanges));
    tcase_add_loop_test(tests, notices_a_reset_by_reading_or_writing, 0, ROWS(exchanges));
    tcase_add_test(tests, shows_that_an_answer_is_not_whole);
    tcase_add_test(tests, lingers_behind_an_answer_that_is_not_whole);
    tcase_add_loop_test(tests, sends_a_file_and_ends_when_it_was_cut_short, 0, 5);
    tcase_add_loop_test(tests, resets_where_an_end_would_look_whole, 0, 2);
}

UNIT_MAIN("http/h1_end", add_tests)
