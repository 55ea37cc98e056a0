/* SPDX-License-Identifier: MIT */
/* What a greedy client may send: sizes and numbers at zero, below their limit, at it, above it,
 * without end, and unlimited. (h1_limits_test.c: what a slow one may.) */
#include "base/buf.h"
#include "http/h1.h"
#include "http/request.h"
#include "support/rig.h"
#include "support/unit.h"

#define GET "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

#define SEND(rig, literal) rig_send((rig), WEIR_STR(literal))
#define ROWS(cases)        (int)(sizeof(cases) / sizeof((cases)[0]))

static unsigned
statuses(const struct rig *rig, unsigned *out, unsigned max)
{
    struct weir_str rest = rig_received(rig);
    struct rig_answer answer;
    unsigned count = 0;
    while (rest.len > 0 && count < max) {
        ck_assert_msg(rig_next_answer(&rest, false, &answer) && answer.is_complete,
                "malformed: %.*s", WEIR_STR_ARG(rig_received(rig)));
        out[count++] = answer.status;
    }
    return count;
}

static unsigned
only_status(const struct rig *rig)
{
    unsigned status[8];
    unsigned count = statuses(rig, status, 8);
    ck_assert_msg(count == 1, "%u answers: %.*s", count, WEIR_STR_ARG(rig_received(rig)));
    return status[0];
}

static bool
is_over(const struct rig *rig)
{
    return rig->stream.is_closed || rig->stream.is_shut_down;
}

static struct rig *
new_rig(void)
{
    static struct rig rig;
    rig_init(&rig, NULL, 0);
    return &rig;
}

START_TEST(serves_one_request_a_connection_when_told_so)
{
    static const uint64_t limits[] = { 0, 1, 2, HTTP_UNLIMITED };
    struct rig *rig = new_rig();
    rig->settings.limits.requests_per_connection = limits[_i];
    rig_connect(rig);
    SEND(rig, GET GET GET);
    unsigned status[4];
    uint64_t want = limits[_i] == 0 ? 1 : limits[_i] > 3 ? 3 : limits[_i];
    ck_assert_uint_eq(statuses(rig, status, 4), want);
    ck_assert(is_over(rig) == (want < 3));
    ck_assert(!rig->stream.was_reset);
    rig_fini(rig);
}
END_TEST

START_TEST(answers_all_pipelined_requests_whatever_the_cap)
{
    static const uint64_t caps[] = { 0, 1, 2, 32, HTTP_UNLIMITED };
    struct rig *rig = new_rig();
    rig->settings.limits.pipeline = caps[_i];
    rig_connect(rig);
    SEND(rig, GET GET GET GET GET);
    rig_settle(rig);
    rig_settle(rig);
    unsigned status[8];
    ck_assert_uint_eq(statuses(rig, status, 8), 5);
    ck_assert(!is_over(rig));
    /* And then rests: nothing is left to do in the next turn. */
    uint64_t reads = rig->stream.reads;
    rig_settle(rig);
    ck_assert_uint_eq(rig->stream.reads, reads);
    rig_fini(rig);
}
END_TEST

static void
set_unlimited(struct http_limits *limits)
{
    limits->request_line_bytes = limits->field_bytes = limits->fields = limits->head_bytes =
            limits->pipeline = limits->requests_per_connection = limits->body_bytes =
                    HTTP_UNLIMITED;
}

#define LIMIT(name) offsetof(struct http_limits, name)

#define POST_LENGTH "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
#define POST_CHUNKS "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
#define TWO_CHUNKS  POST_CHUNKS "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
#define TRAILERS    POST_CHUNKS "0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"

/* Each limit at a byte more than is there, at as many, at one less, and at none. */
static const struct {
    const char *why, *bytes;
    size_t limit; /* where in struct http_limits */
    uint64_t value;
    unsigned status;
} limit_cases[] = {
    { "nothing is limited", GET, LIMIT(body_rate_bytes_per_s), 0, 200 },
    { "a request line below the limit", GET, LIMIT(request_line_bytes), 20, 200 },
    { "one at it", GET, LIMIT(request_line_bytes), 19, 200 },
    { "and one above it", GET, LIMIT(request_line_bytes), 18, 414 },
    { "no request line at all", GET, LIMIT(request_line_bytes), 0, 414 },
    { "one without end", "GET /0123456789012345678901234567890", LIMIT(request_line_bytes), 19,
            414 },
    { "a method without end", "GGGGGGGGGGGGGGGGGGGGGGGGGGGGG", LIMIT(request_line_bytes), 19,
            414 },
    { "a field below the limit", GET, LIMIT(field_bytes), 8, 200 },
    { "one at it", GET, LIMIT(field_bytes), 7, 200 },
    { "and one above it", GET, LIMIT(field_bytes), 6, 431 },
    { "a field without end", "GET /hello HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaa",
            LIMIT(field_bytes), 7, 431 },
    { "a name without end", "GET /hello HTTP/1.1\r\nHHHHHHHHHHHHHHHHHHHHHHHH",
            LIMIT(field_bytes), 7, 431 },
    { "more fields than there are", GET, LIMIT(fields), 2, 200 },
    { "as many as allowed", GET, LIMIT(fields), 1, 200 },
    { "one too many", GET, LIMIT(fields), 0, 431 },
    { "a head below the limit", GET, LIMIT(head_bytes), 33, 200 },
    { "one at it, its empty line counted", GET, LIMIT(head_bytes), 32, 200 },
    { "and one above it", GET, LIMIT(head_bytes), 31, 431 },
    { "by its empty line alone", GET, LIMIT(head_bytes), 30, 431 },
    { "by a line end", GET, LIMIT(head_bytes), 29, 431 },
    { "a head of its request line alone", "GET /hello HTTP/1.0\r\n\r\n", LIMIT(head_bytes), 23,
            200 },
    { "and without room for more than that", "GET /hello HTTP/1.0\r\n\r\n", LIMIT(head_bytes),
            22, 431 },
    { "not even for its line end", "GET /hello HTTP/1.0\r\n\r\n", LIMIT(head_bytes), 20, 414 },
    { "empty lines count too (RFC 9112 2.2)", "\r\n\r\n" GET, LIMIT(head_bytes), 36, 200 },
    { "and end", "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", LIMIT(head_bytes), 12, 414 },
    { "no head at all", GET, LIMIT(head_bytes), 0, 414 },
    { "a body below the limit", POST_LENGTH, LIMIT(body_bytes), 6, 200 },
    { "one at it", POST_LENGTH, LIMIT(body_bytes), 5, 200 },
    { "and one above it", POST_LENGTH, LIMIT(body_bytes), 4, 413 },
    { "no body at all", GET, LIMIT(body_bytes), 0, 200 },
    { "a chunked body below the limit", TWO_CHUNKS, LIMIT(body_bytes), 6, 200 },
    { "one at it", TWO_CHUNKS, LIMIT(body_bytes), 5, 200 },
    { "and one above it (F35)", TWO_CHUNKS, LIMIT(body_bytes), 4, 413 },
    { "a size alone, with nothing of its chunk", POST_CHUNKS "5\r\n", LIMIT(body_bytes), 4,
            413 },
    { "fewer trailers than fields are allowed", TRAILERS, LIMIT(fields), 4, 200 },
    { "as many", TRAILERS, LIMIT(fields), 3, 200 },
    { "one more", TRAILERS, LIMIT(fields), 2, 431 },
    { "a trailer shorter than a field may be",
            POST_CHUNKS "0\r\nA: 3456789012345678901234567\r\n\r\n", LIMIT(field_bytes), 29,
            200 },
    { "as long", POST_CHUNKS "0\r\nA: 34567890123456789012345678\r\n\r\n", LIMIT(field_bytes),
            29, 200 },
    { "longer", POST_CHUNKS "0\r\nA: 345678901234567890123456789\r\n\r\n", LIMIT(field_bytes),
            29, 431 },
    { "one without end", POST_CHUNKS "0\r\nA: 345678901234567890123456789", LIMIT(field_bytes),
            29, 431 },
    { "trailers at the limit of a head, their empty line counted",
            POST_CHUNKS
            "0\r\nA: 3456789012345678901234567890123456789012345678901234567890123456789\r\n\r\n",
            LIMIT(head_bytes), 74, 200 },
    { "and above it",
            POST_CHUNKS
            "0\r\nA: 3456789012345678901234567890123456789012345678901234567890123456789\r\n\r\n",
            LIMIT(head_bytes), 73, 431 },
};

static void
check_limit(struct rig *rig, int row, size_t split)
{
    rig_connect(rig);
    rig_send_split(rig, weir_str_from(limit_cases[row].bytes), split);
    ck_assert_msg(only_status(rig) == limit_cases[row].status, "%s (split %zu): %.*s",
            limit_cases[row].why, split, WEIR_STR_ARG(rig_received(rig)));
    ck_assert_msg(is_over(rig) ==
                    (limit_cases[row].status >= 400 ||
                            strstr(limit_cases[row].bytes, "HTTP/1.0") != NULL),
            "%s (split %zu): closed %d", limit_cases[row].why, split, (int)is_over(rig));
    ck_assert(!rig->stream.was_reset);
}

START_TEST(answers_the_same_at_each_limit_however_the_bytes_are_cut)
{
    struct rig *rig = new_rig();
    set_unlimited(&rig->settings.limits);
    *(uint64_t *)(void *)((char *)&rig->settings.limits +
            limit_cases[_i].limit) = limit_cases[_i].value;
    for (size_t split = 0; split < strlen(limit_cases[_i].bytes); split++) {
        check_limit(rig, _i, split);
    }
    check_limit(rig, _i, RIG_BYTEWISE);
    rig_fini(rig);
}
END_TEST

/* Whatever the configuration says, memory is bounded: 4 MiB of trailers, 4 MiB of head and a
 * million fields are refused with the right status. */
START_TEST(bounds_heads_and_trailers_that_nobody_limited)
{
    static const char *const begins[] = {
        "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\r\nX: ",
        "GET /hello HTTP/1.1\r\nHost: a\r\n",
        "GET /",
    };
    static const char *const repeats[] = { "xxxxxxxx", "a: b\r\n", "xxxxxxxx", "a: b\r\n",
        "xxxxxxxx" };
    static const unsigned wants[] = { 431, 431, 431, 431, 414 };
    struct rig *rig = new_rig();
    set_unlimited(&rig->settings.limits);
    rig_connect(rig);
    rig_send(rig, weir_str_from(begins[_i]));
    char block[48 * 1024];
    size_t len = strlen(repeats[_i]);
    for (size_t at = 0; at + len <= sizeof(block); at += len) {
        memcpy(block + at, repeats[_i], len);
    }
    struct weir_str piece = weir_str_make(block, sizeof(block) / len * len);
    for (size_t sent = 0; sent < (4u << 20) && !is_over(rig); sent += piece.len) {
        rig_send(rig, piece);
    }
    ck_assert_uint_eq(only_status(rig), wants[_i]);
    rig_fini(rig);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, serves_one_request_a_connection_when_told_so, 0, 4);
    tcase_add_loop_test(tests, answers_all_pipelined_requests_whatever_the_cap, 0, 5);
    tcase_add_loop_test(tests, answers_the_same_at_each_limit_however_the_bytes_are_cut, 0,
            ROWS(limit_cases));
    tcase_add_loop_test(tests, bounds_heads_and_trailers_that_nobody_limited, 0, 5);
}

UNIT_MAIN("http/h1_sizes", add_tests)
