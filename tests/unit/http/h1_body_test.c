/* SPDX-License-Identifier: MIT */
/* Bodies on their way in: cut in every way, larger than anyone reads, in tiny pieces, with a
 * reader that waits; and what they cost in memory. */
#include <errno.h>
#include <stdio.h>

#include <weir/reply.h>
#include <weir/request.h>

#include "http/h1.h"
#include "http/request.h"
#include "support/rig.h"
#include "support/unit.h"

#define GET "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

#define SEND(rig, literal) rig_send((rig), WEIR_STR(literal))

/* A handler that waits for the test, then reads all; the request it has. */
static struct {
    struct course_wait wait;
    struct weir_request *request;
    uint64_t read_bytes, sum;
    size_t read_max; /* of one call */
} held;

static void
abandon(struct course_wait *wait)
{
    (void)wait;
    held.request = NULL;
}

static enum weir_verdict
read_all(struct weir_request *request, const void *conf)
{
    (void)conf;
    char bytes[8192];
    ssize_t n;
    while ((n = weir_body_read(request, bytes, held.read_max)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            held.sum = held.sum * 31 + (unsigned char)bytes[i];
        }
        held.read_bytes += (uint64_t)n;
    }
    if (n == -EAGAIN) {
        return weir_body_wait(request, read_all);
    }
    return n < 0 ? WEIR_FAILED
                 : weir_reply_text(request, 200, WEIR_STR("text/plain"), WEIR_STR("read"));
}

static enum weir_verdict
hold(struct weir_request *request, const void *conf)
{
    (void)conf;
    char byte;
    held.request = request;
    held.wait.abandon = abandon;
    ck_assert_int_eq(weir_body_read(request, &byte, 0), 0); /* it is wanted, but not yet read */
    return course_wait_for(request, &held.wait, read_all);
}

static const struct weir_hook hold_hooks[] = { { .on = WEIR_ON_CONTENT, .request = hold } };
static const struct weir_handler hold_handler = { .name = "hold",
    .hooks = WEIR_HOOKS(hold_hooks) };

static struct rig *
holding_rig(void)
{
    static struct rig rig;
    rig_init(&rig, &hold_handler, 1);
    memset(&held, 0, sizeof(held));
    held.read_max = 8192;
    return &rig;
}

static unsigned
last_status(const struct rig *rig)
{
    struct weir_str rest = rig_received(rig);
    struct rig_answer answer = { 0 };
    while (rest.len > 0 && rig_next_answer(&rest, false, &answer)) {
    }
    return answer.status;
}

/* ---- reading no more than is wanted ------------------------------------------------------ */

START_TEST(reads_no_further_than_somebody_reads)
{
    struct rig *rig = holding_rig();
    rig->settings.limits.body_bytes = HTTP_UNLIMITED;
    rig_connect(rig);
    SEND(rig, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    static char block[100000];
    for (int i = 0; i < 10; i++) {
        rig_send(rig, weir_str_make(block, sizeof(block)));
    }
    /* Held: the queue's mark and what one read brought beyond it. */
    ck_assert_uint_le(held.request->in.queue.bytes, 65536);
    ck_assert_uint_ge(buf_str(&rig->stream.incoming).len, 1000000 - 3 * 65536);
    /* And time does not run against the client meanwhile. */
    rig_pass(rig, 120);
    ck_assert(!rig->stream.is_closed && !rig->stream.is_shut_down);
    course_ripen(&held.wait);
    rig_settle(rig);
    ck_assert_uint_eq(held.read_bytes, 1000000);
    ck_assert_uint_eq(last_status(rig), 200);
    SEND(rig, GET);
    course_ripen(&held.wait);
    rig_settle(rig);
    ck_assert_uint_eq(last_status(rig), 200);
    rig_fini(rig);
}
END_TEST

/* A body of one-byte chunks, or that arrives by single bytes, costs little more than its bytes.
 */
START_TEST(joins_small_pieces)
{
    struct rig *rig = holding_rig();
    rig_connect(rig);
    bool is_chunked = _i == 1;
    if (is_chunked) {
        SEND(rig, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    } else {
        SEND(rig, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n");
    }
    uint64_t sum = 0;
    memory_stream_reserve(&rig->stream, 1 << 20);
    uint64_t allocations = failalloc_count();
    for (int i = 0; i < 50000; i++) {
        char chunk[] = "1\r\n?\r\n";
        char byte = (char)('a' + i % 26);
        sum = sum * 31 + (unsigned char)byte;
        chunk[3] = byte;
        memory_stream_send(&rig->stream,
                is_chunked ? weir_str_make(chunk, 6) : weir_str_make(&byte, 1));
        if (!is_chunked || i % 10000 == 9999) {
            loop_turn(rig->loop, false);
        }
    }
    rig_settle(rig);
    ck_assert_uint_eq(held.request->in.queue.bytes, 50000);
    ck_assert_uint_lt(held.request->in.queue.count, 60);
    ck_assert_uint_lt(failalloc_count() - allocations, 100);
    if (is_chunked) {
        SEND(rig, "0\r\n\r\n");
    }
    course_ripen(&held.wait);
    rig_settle(rig);
    ck_assert_uint_eq(held.read_bytes, 50000);
    ck_assert_uint_eq(held.sum, sum);
    ck_assert_uint_eq(last_status(rig), 200);
    rig_fini(rig);
}
END_TEST

START_TEST(gives_a_body_in_whatever_pieces_it_is_read)
{
    static const size_t sizes[] = { 1, 2, 3, 7, 100, 8192 };
    struct rig *rig = holding_rig();
    rig_connect(rig);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        held.read_max = sizes[i];
        held.read_bytes = held.sum = 0;
        SEND(rig,
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                "3\r\nabc\r\n1\r\nd\r\n");
        course_ripen(&held.wait);
        rig_settle(rig);
        SEND(rig, "a\r\nefghijklmn\r\n0\r\n\r\n");
        ck_assert_uint_eq(held.read_bytes, 14);
        uint64_t sum = 0;
        for (char c = 'a'; c <= 'n'; c++) {
            sum = sum * 31 + (unsigned char)c;
        }
        ck_assert_uint_eq(held.sum, sum);
    }
    rig_fini(rig);
}
END_TEST

/* The client sends more than fits before it reads: no deadlock, since reading goes on while the
 * answer to an earlier request waits for it. */
START_TEST(reads_a_body_while_an_earlier_answer_is_stuck)
{
    static struct rig rig;
    rig_init(&rig, NULL, 0);
    rig_connect(&rig);
    rig.stream.allowed_bytes = 10;
    SEND(&rig,
            "GET /bytes/100000 HTTP/1.1\r\nHost: a\r\n\r\n"
            "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n");
    static char block[100000];
    for (int i = 0; i < 9; i++) {
        rig_send(&rig, weir_str_make(block, sizeof(block)));
    }
    memory_stream_allow(&rig.stream, UINT64_MAX);
    rig_settle(&rig);
    ck_assert_uint_eq(rig.ended[REQUEST_END_COMPLETE], 2);
    rig_fini(&rig);
}
END_TEST

/* ---- what the module sees ---------------------------------------------------------------- */

static ssize_t seen;
static uint64_t seen_bytes;

static enum weir_verdict
see(struct weir_request *request, const void *conf)
{
    (void)conf;
    char bytes[64];
    while ((seen = weir_body_read(request, bytes, sizeof(bytes))) > 0) {
        seen_bytes += (uint64_t)seen;
    }
    return seen == -EAGAIN ? weir_body_wait(request, see) : WEIR_FAILED;
}

static const struct weir_hook see_hooks[] = { { .on = WEIR_ON_CONTENT, .request = see } };
static const struct weir_handler see_handler = { .name = "see",
    .hooks = WEIR_HOOKS(see_hooks) };

#define CHUNKED "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

static const struct {
    const char *why, *bytes;
    int error;
    unsigned status;
    uint64_t limit;
} error_cases[] = {
    { "above the limit (F35)", CHUNKED "6\r\nabcdef\r\n", -EMSGSIZE, 413, 5 },
    { "broken framing", CHUNKED "5\r\nabcdeX", -EPROTO, 400, 100 },
    { "trailers that are too long",
            CHUNKED "0\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\n", -E2BIG, 431,
            100 },
    { "the client left", CHUNKED "5\r\nabc", -ECONNRESET, 400, 100 },
};

START_TEST(tells_the_module_why_a_body_ended)
{
    static struct rig rig;
    rig_init(&rig, &see_handler, 1);
    rig.settings.limits.body_bytes = error_cases[_i].limit;
    rig.settings.limits.fields = 5;
    struct weir_str bytes = weir_str_from(error_cases[_i].bytes);
    for (size_t step = 1; step <= bytes.len; step += bytes.len - 1) {
        seen = 0;
        rig_connect(&rig);
        for (size_t at = 0; at < bytes.len; at += step) {
            rig_send(&rig, weir_str_make(bytes.ptr + at, step));
        }
        if (error_cases[_i].error == -ECONNRESET) {
            memory_stream_end(&rig.stream);
            rig_settle(&rig);
        }
        ck_assert_msg(seen == error_cases[_i].error, "%s: %zd", error_cases[_i].why, seen);
        ck_assert_uint_eq(last_status(&rig), error_cases[_i].status);
        ck_assert(rig.stream.is_shut_down || rig.stream.is_closed);
    }
    rig_fini(&rig);
}
END_TEST

START_TEST(tells_the_declared_length)
{
    static struct rig rig;
    rig_init(&rig, &hold_handler, 1);
    rig_connect(&rig);
    SEND(&rig, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n");
    ck_assert_uint_eq(weir_body_length(held.request), 7);
    rig_connect(&rig);
    SEND(&rig, CHUNKED);
    ck_assert_uint_eq(weir_body_length(held.request), UINT64_MAX);
    rig_connect(&rig);
    SEND(&rig, GET);
    ck_assert_uint_eq(weir_body_length(held.request), 0);
    rig_fini(&rig);
}
END_TEST

/* ---- bodies that nobody wants (F43) ------------------------------------------------------ */

static const struct {
    const char *why;
    uint64_t bytes;
    bool keeps;
} unread_cases[] = {
    { "a short one is skipped", 10, true },
    { "the longest that is skipped", 262144, true },
    { "a longer one ends the connection", 262145, false },
};

START_TEST(skips_an_unread_body_or_ends)
{
    static struct rig rig;
    rig_init(&rig, NULL, 0);
    rig_connect(&rig);
    char head[128];
    int len = snprintf(head, sizeof(head),
            "POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: %lu\r\n\r\n",
            (unsigned long)unread_cases[_i].bytes);
    rig_send(&rig, weir_str_make(head, (size_t)len));
    struct weir_str rest = rig_received(&rig);
    struct rig_answer answer;
    ck_assert(rig_next_answer(&rest, false, &answer));
    unit_check(answer.says_close == !unread_cases[_i].keeps, unread_cases[_i].why);
    char block[10000];
    memset(block, 'G', sizeof(block));
    for (uint64_t sent = 0; sent < unread_cases[_i].bytes;) {
        uint64_t left = unread_cases[_i].bytes - sent;
        size_t piece = left < sizeof(block) ? (size_t)left : sizeof(block);
        rig_send(&rig, weir_str_make(block, piece));
        sent += piece;
    }
    SEND(&rig, GET);
    ck_assert_uint_eq(rig.ended[REQUEST_END_COMPLETE], unread_cases[_i].keeps ? 2 : 1);
    ck_assert(!rig.stream.was_reset);
    rig_fini(&rig);
}
END_TEST

/* A success waits for the end of the chunks, so that what is malformed is refused, but no
 * longer than for a body that somebody reads, and for no more than would be skipped. */
#define UNREAD_CHUNKS "POST /ignore HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

START_TEST(answers_408_when_chunks_that_nobody_reads_stop)
{
    static struct rig rig;
    rig_init(&rig, NULL, 0);
    rig_connect(&rig);
    SEND(&rig, UNREAD_CHUNKS "5\r\nhel");
    rig_pass(&rig, 29);
    ck_assert_uint_eq(rig_received(&rig).len, 0);
    rig_pass(&rig, 3);
    ck_assert_uint_eq(last_status(&rig), 408);
    ck_assert(rig.stream.is_shut_down);
    rig_fini(&rig);
}
END_TEST

START_TEST(answers_at_once_when_chunks_that_nobody_reads_are_too_many)
{
    static struct rig rig;
    rig_init(&rig, NULL, 0);
    rig_connect(&rig);
    SEND(&rig, UNREAD_CHUNKS);
    static char chunk[0x10000 + 9] = "10000\r\n";
    memset(chunk + 7, 'G', 0x10000);
    memcpy(chunk + 7 + 0x10000, "\r\n", 2);
    for (int i = 0; i < 4; i++) {
        rig_send(&rig, weir_str_make(chunk, sizeof(chunk)));
        ck_assert_uint_eq(rig_received(&rig).len, 0);
    }
    rig_send(&rig, weir_str_make(chunk, sizeof(chunk)));
    ck_assert_uint_eq(last_status(&rig), 200);
    ck_assert(rig.stream.is_shut_down && !rig.stream.was_reset);
    rig_fini(&rig);
}
END_TEST

/* A reader that stopped half-way: what it left in the queue is in nobody's way. */
static enum weir_verdict
read_some(struct weir_request *request, const void *conf)
{
    (void)conf;
    char bytes[2];
    ssize_t n = weir_body_read(request, bytes, sizeof(bytes));
    return n == -EAGAIN
            ? weir_body_wait(request, read_some)
            : weir_reply_text(request, 200, WEIR_STR("text/plain"), WEIR_STR("enough"));
}

static const struct weir_hook some_hooks[] = { { .on = WEIR_ON_CONTENT,
        .request = read_some } };
static const struct weir_handler some_handler = { .name = "some",
    .hooks = WEIR_HOOKS(some_hooks) };

START_TEST(skips_what_a_reader_left)
{
    static struct rig rig;
    rig_init(&rig, &some_handler, 1);
    rig_connect(&rig);
    static char block[100000];
    memset(block, 'x', sizeof(block));
    SEND(&rig, CHUNKED "186A0\r\n");
    rig_send(&rig, weir_str_make(block, sizeof(block)));
    SEND(&rig, "\r\n0\r\n\r\n");
    ck_assert_uint_eq(last_status(&rig), 200);
    SEND(&rig, CHUNKED "5\r\nhelloX");
    ck_assert_uint_eq(last_status(&rig), 400);
    ck_assert_uint_eq(rig.ended[REQUEST_END_COMPLETE], 2);
    rig_fini(&rig);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, reads_no_further_than_somebody_reads);
    tcase_add_loop_test(tests, joins_small_pieces, 0, 2);
    tcase_add_test(tests, gives_a_body_in_whatever_pieces_it_is_read);
    tcase_add_test(tests, reads_a_body_while_an_earlier_answer_is_stuck);
    tcase_add_loop_test(tests, tells_the_module_why_a_body_ended, 0, 4);
    tcase_add_test(tests, tells_the_declared_length);
    tcase_add_loop_test(tests, skips_an_unread_body_or_ends, 0, 3);
    tcase_add_test(tests, answers_408_when_chunks_that_nobody_reads_stop);
    tcase_add_test(tests, answers_at_once_when_chunks_that_nobody_reads_are_too_many);
    tcase_add_test(tests, skips_what_a_reader_left);
}

UNIT_MAIN("http/h1_body", add_tests)
