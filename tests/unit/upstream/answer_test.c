/* SPDX-License-Identifier: MIT */
/* Answers of upstreams: each case whole, byte by byte, and split at every point. */
#include "upstream/answer.h"

#include <stdio.h>

#include "base/buf.h"
#include "support/unit.h"

#define OK         "HTTP/1.1 200 OK\r\n"
#define CHUNKED_OK OK "Transfer-Encoding: chunked\r\n\r\n"

enum end {
    WHOLE, /* complete with its last byte */
    OPEN,  /* there may be more */
};

struct answer_case {
    const char *why;
    bool is_to_head;
    const char *bytes;
    enum answer_fault fault; /* not ANSWER_GOOD: nothing below counts */
    unsigned status;
    enum answer_framing framing;
    bool keep_alive;
    enum end end;
    const char *body;
    size_t surplus; /* bytes behind the end */
};

static const struct answer_case cases[] = {
    { "a length", false, OK "Content-Length: 5\r\n\r\nhello", ANSWER_GOOD, 200, ANSWER_LENGTH,
            true, WHOLE, "hello", 0 },
    { "no reason", false, "HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n", ANSWER_GOOD, 404,
            ANSWER_LENGTH, true, WHOLE, "", 0 },
    { "no blank either", false, "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", ANSWER_GOOD, 404,
            ANSWER_LENGTH, true, WHOLE, "", 0 },
    { "another answer behind it", false, OK "Content-Length: 1\r\n\r\nxHTTP/1.1 200",
            ANSWER_GOOD, 200, ANSWER_LENGTH, true, WHOLE, "x", 12 },
    { "less than it said", false, OK "Content-Length: 5\r\n\r\nhell", ANSWER_GOOD, 200,
            ANSWER_LENGTH, true, OPEN, "hell", 0 },
    { "chunks", false, CHUNKED_OK "3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n", ANSWER_GOOD, 200,
            ANSWER_CHUNKED, true, WHOLE, "abcde", 0 },
    { "chunks in capitals", false, OK "Transfer-Encoding: Chunked\r\n\r\n0\r\nX: y\r\n\r\n",
            ANSWER_GOOD, 200, ANSWER_CHUNKED, true, WHOLE, "", 0 },
    { "until the end", false, OK "\r\nhello", ANSWER_GOOD, 200, ANSWER_UNTIL_CLOSE, false, OPEN,
            "hello", 0 },
    { "says close", false, OK "Connection: x, Close\r\nContent-Length: 0\r\n\r\n", ANSWER_GOOD,
            200, ANSWER_LENGTH, false, WHOLE, "", 0 },
    { "HTTP/1.0", false, "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", ANSWER_GOOD, 200,
            ANSWER_LENGTH, false, WHOLE, "", 0 },
    { "HTTP/1.0 that stays", false,
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
            ANSWER_GOOD, 200, ANSWER_LENGTH, true, WHOLE, "", 0 },
    { "to HEAD, with a length", true, OK "Content-Length: 5\r\n\r\n", ANSWER_GOOD, 200,
            ANSWER_NO_BODY, true, WHOLE, "", 0 },
    { "to HEAD, with chunks", true, CHUNKED_OK, ANSWER_GOOD, 200, ANSWER_NO_BODY, true, WHOLE,
            "", 0 },
    { "to HEAD, with neither", true, OK "\r\n", ANSWER_GOOD, 200, ANSWER_NO_BODY, true, WHOLE,
            "", 0 },
    { "to HEAD, with a body all the same", true, OK "Content-Length: 2\r\n\r\nhi", ANSWER_GOOD,
            200, ANSWER_NO_BODY, true, WHOLE, "", 2 },
    { "204", false, "HTTP/1.1 204 No Content\r\n\r\n", ANSWER_GOOD, 204, ANSWER_NO_BODY, true,
            WHOLE, "", 0 },
    { "204 that says so", false, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            ANSWER_GOOD, 204, ANSWER_NO_BODY, true, WHOLE, "", 0 },
    { "304 with the length of what it stands for", false,
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", ANSWER_GOOD, 304,
            ANSWER_NO_BODY, true, WHOLE, "", 0 },
    { "1xx", false, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", ANSWER_GOOD, 103,
            ANSWER_NO_BODY, true, WHOLE, "", 0 },
    { "an empty value, blanks around one, and bytes above 0x7f", false,
            OK "A:\r\nB: \t x \t\r\nC: \xc3\xbc\r\nContent-Length: 0\r\n\r\n", ANSWER_GOOD, 200,
            ANSWER_LENGTH, true, WHOLE, "", 0 },

    { "both lengths", false, OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            .fault = ANSWER_LENGTH_AND_ENCODING },
    { "both, the other way round", false,
            OK "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
            .fault = ANSWER_LENGTH_AND_ENCODING },
    { "two lengths", false, OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
            .fault = ANSWER_SEVERAL_LENGTHS },
    { "two in one", false, OK "Content-Length: 5, 5\r\n\r\n", .fault = ANSWER_BAD_LENGTH },
    { "a sign", false, OK "Content-Length: +5\r\n\r\n", .fault = ANSWER_BAD_LENGTH },
    { "no length", false, OK "Content-Length:\r\n\r\n", .fault = ANSWER_BAD_LENGTH },
    { "too long a length", false, OK "Content-Length: 18446744073709551616\r\n\r\n",
            .fault = ANSWER_BAD_LENGTH },
    { "gzip", false, OK "Transfer-Encoding: gzip\r\n\r\n", .fault = ANSWER_BAD_ENCODING },
    { "gzip and chunks", false, OK "Transfer-Encoding: gzip, chunked\r\n\r\n",
            .fault = ANSWER_BAD_ENCODING },
    { "chunks twice", false,
            OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            .fault = ANSWER_BAD_ENCODING },
    { "identity", false, OK "Transfer-Encoding: identity\r\n\r\n",
            .fault = ANSWER_BAD_ENCODING },
    { "chunks in HTTP/1.0", false, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            .fault = ANSWER_ENCODING_IN_1_0 },
    { "204 with a body", false, "HTTP/1.1 204 No\r\nContent-Length: 1\r\n\r\n",
            .fault = ANSWER_UNWANTED_BODY },
    { "1xx with chunks", false, "HTTP/1.1 100 C\r\nTransfer-Encoding: chunked\r\n\r\n",
            .fault = ANSWER_UNWANTED_BODY },
    { "no status line", false, "\r\nHTTP/1.1 200 OK\r\n\r\n", .fault = ANSWER_BAD_STATUS_LINE },
    { "a request", false, "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            .fault = ANSWER_BAD_STATUS_LINE },
    { "four digits", false, "HTTP/1.1 2000 OK\r\n\r\n", .fault = ANSWER_BAD_STATUS_LINE },
    { "two blanks", false, "HTTP/1.1  200 OK\r\n\r\n", .fault = ANSWER_BAD_STATUS_LINE },
    { "a status that is none", false, "HTTP/1.1 099 OK\r\n\r\n",
            .fault = ANSWER_BAD_STATUS_LINE },
    { "another that is none", false, "HTTP/1.1 600 OK\r\n\r\n",
            .fault = ANSWER_BAD_STATUS_LINE },
    { "a control byte in the reason", false, "HTTP/1.1 200 \x01\r\n\r\n",
            .fault = ANSWER_BAD_STATUS_LINE },
    { "HTTP/2", false, "HTTP/2.0 200 OK\r\n\r\n", .fault = ANSWER_BAD_VERSION },
    { "HTTP/1.2", false, "HTTP/1.2 200 OK\r\n\r\n", .fault = ANSWER_BAD_VERSION },
    { "no CR", false, "HTTP/1.1 200 OK\nX: y\n\n", .fault = ANSWER_BARE_LF },
    { "no CR at the end", false, OK "X: y\r\n\n", .fault = ANSWER_BARE_LF },
    { "a folded line", false, OK "X: y\r\n z: a\r\n\r\n", .fault = ANSWER_FOLDED_LINE },
    { "folded by a tab", false, OK "X: y\r\n\tz\r\n\r\n", .fault = ANSWER_FOLDED_LINE },
    { "folded behind the status line", false, OK " X: y\r\n\r\n", .fault = ANSWER_FOLDED_LINE },
    { "no name", false, OK ": y\r\n\r\n", .fault = ANSWER_BAD_FIELD },
    { "no colon", false, OK "X\r\n\r\n", .fault = ANSWER_BAD_FIELD },
    { "a blank before the colon", false, OK "X : y\r\n\r\n", .fault = ANSWER_BAD_FIELD },
    { "a CR in a value", false, OK "X: y\rz\r\n\r\n", .fault = ANSWER_BAD_FIELD },
    { "a control byte in a value", false, OK "X: y\x7f\r\n\r\n", .fault = ANSWER_BAD_FIELD },
    { "a size that is none", false, CHUNKED_OK "x\r\n", .fault = ANSWER_BAD_CHUNK },
    { "a size with a sign", false, CHUNKED_OK "-1\r\n", .fault = ANSWER_BAD_CHUNK },
    { "a size of 17 digits", false, CHUNKED_OK "00000000000000001\r\n",
            .fault = ANSWER_BAD_CHUNK },
    { "a chunk longer than it said", false, CHUNKED_OK "1\r\nab\r\n0\r\n\r\n",
            .fault = ANSWER_BAD_CHUNK },
    { "a chunk without CR", false, CHUNKED_OK "1\na\r\n0\r\n\r\n", .fault = ANSWER_BAD_CHUNK },
    { "a trailer that is none", false, CHUNKED_OK "0\r\nX\r\n\r\n", .fault = ANSWER_BAD_CHUNK },
};

#define CASES ((int)(sizeof(cases) / sizeof(cases[0])))

struct outcome {
    enum answer_fault fault;
    struct answer_head head;
    bool has_head, is_ended;
    size_t surplus;
    struct buf body;
};

/* Reads `bytes` in pieces: up to `cut`, then of `step` bytes each. */
static void
read_all(struct arena *arena, struct weir_str bytes, bool is_to_head, size_t cut, size_t step,
        struct outcome *out)
{
    struct answer_reader reader;
    struct answer_body body = { .framing = ANSWER_NO_BODY };
    *out = (struct outcome){ .fault = ANSWER_GOOD };
    buf_init(&out->body, 1 << 20);
    answer_reader_init(&reader, arena, is_to_head, &out->head);
    for (size_t at = 0; at < bytes.len && out->fault == ANSWER_GOOD && !out->is_ended;) {
        size_t end = at < cut ? cut : at + step < bytes.len ? at + step : bytes.len;
        struct weir_str input = weir_str_make(bytes.ptr + at, end - at), data;
        while (out->fault == ANSWER_GOOD && input.len > 0 && !out->is_ended) {
            if (!out->has_head) {
                enum answer_progress progress = answer_reader_feed(&reader, &input,
                        &out->fault);
                ck_assert_int_eq(progress == ANSWER_REFUSED, out->fault != ANSWER_GOOD);
                out->has_head = progress == ANSWER_DONE;
                if (out->has_head) {
                    answer_body_init(&body, &out->head);
                }
            } else if (answer_body_step(&body, &input, &data, &out->fault) ==
                    ANSWER_BODY_DATA) {
                ck_assert_int_eq(buf_append(&out->body, data), 0);
            }
            out->is_ended = out->has_head && body.is_ended;
        }
        out->surplus = input.len + (bytes.len - end);
        at = end;
    }
    answer_body_fini(&body);
}

static void
check_outcome(const struct answer_case *one, const struct outcome *got)
{
    ck_assert_msg(got->fault == one->fault, "%s: %s", one->why, answer_fault_text(got->fault));
    if (one->fault != ANSWER_GOOD) {
        return;
    }
    unit_check(got->has_head, one->why);
    unit_check(got->head.status == one->status, one->why);
    unit_check(got->head.framing == one->framing, one->why);
    unit_check(got->head.keep_alive == one->keep_alive, one->why);
    unit_check(got->is_ended == (one->end == WHOLE), one->why);
    unit_check(weir_str_eq(buf_str(&got->body), weir_str_from(one->body)), one->why);
    unit_check(one->end == OPEN || got->surplus == one->surplus, one->why);
}

START_TEST(reads_answers_however_they_are_cut)
{
    const struct answer_case *one = &cases[_i];
    struct weir_str bytes = weir_str_from(one->bytes);
    for (size_t cut = 0; cut <= bytes.len; cut++) {
        for (int i = 0; i < 2; i++) {
            struct arena arena;
            struct outcome got;
            arena_init(&arena, NULL, 0, 1 << 20);
            read_all(&arena, bytes, one->is_to_head, cut, i == 0 ? bytes.len + 1 : 1, &got);
            check_outcome(one, &got);
            buf_fini(&got.body);
            arena_reset(&arena);
        }
    }
}
END_TEST

/* What goes on, and what was between us and it. */
START_TEST(tells_fields_of_one_connection_from_others)
{
    struct arena arena;
    struct outcome got;
    arena_init(&arena, NULL, 0, 1 << 20);
    read_all(&arena,
            WEIR_STR("HTTP/1.1 200 OK\r\nA: 1\r\nConnection: b , x\r\nB: 2\r\nKeep-Alive: "
                     "timeout=7, max=3\r\nC: 3\r\nContent-Length: 0\r\nUpgrade: h2c\r\n\r\n"),
            false, 0, 1000, &got);
    ck_assert_int_eq(got.fault, ANSWER_GOOD);
    ck_assert_uint_eq(got.head.keep_alive_s, 7);
    char names[16] = "";
    for (uint32_t i = 0; i < got.head.field_count; i++) {
        if (!answer_field_is_hop(&got.head, i)) {
            strncat(names, answer_field_name(&got.head, i).ptr, 1);
        }
    }
    ck_assert_str_eq(names, "AC");
    arena_reset(&arena);
}
END_TEST

/* One byte or field less than the bound, as many, and one more. */
START_TEST(bounds_heads)
{
    for (int over = -1; over <= 1; over++) {
        struct arena arena;
        struct outcome got;
        struct buf text;
        buf_init(&text, 1 << 20);
        arena_init(&arena, NULL, 0, 1 << 20);
        ck_assert_int_eq(buf_append(&text, WEIR_STR("HTTP/1.1 200 OK\r\nX: ")), 0);
        size_t fill = (size_t)((int)ANSWER_HEAD_BYTES_MAX + over) - buf_str(&text).len - 4;
        for (size_t i = 0; i < fill; i++) {
            ck_assert_int_eq(buf_append(&text, WEIR_STR("y")), 0);
        }
        ck_assert_int_eq(buf_append(&text, WEIR_STR("\r\n\r\n")), 0);
        read_all(&arena, buf_str(&text), false, 0, 7000, &got);
        ck_assert_int_eq(got.fault, over > 0 ? ANSWER_HEAD_TOO_LARGE : ANSWER_GOOD);
        buf_fini(&got.body);
        arena_reset(&arena);
        buf_fini(&text);

        ck_assert_int_eq(buf_append(&text, WEIR_STR("HTTP/1.1 200 OK\r\n")), 0);
        for (int i = 0; i < (int)ANSWER_FIELDS_MAX + over; i++) {
            ck_assert_int_eq(buf_append(&text, WEIR_STR("X: y\r\n")), 0);
        }
        ck_assert_int_eq(buf_append(&text, WEIR_STR("\r\n")), 0);
        read_all(&arena, buf_str(&text), false, 0, 1, &got);
        ck_assert_int_eq(got.fault, over > 0 ? ANSWER_HEAD_TOO_LARGE : ANSWER_GOOD);
        buf_fini(&got.body);
        arena_reset(&arena);
        buf_fini(&text);
    }
}
END_TEST

START_TEST(says_so_without_memory)
{
    struct weir_str bytes = WEIR_STR(CHUNKED_OK "3\r\nabc\r\n0\r\nX: y\r\n\r\n");
    UNIT_EACH_ALLOCATION_FAILS({
        struct arena arena;
        arena_init(&arena, NULL, 0, 1 << 20);
        struct answer_reader reader;
        struct answer_head head;
        struct answer_body body = { .framing = ANSWER_NO_BODY };
        enum answer_fault fault = ANSWER_GOOD;
        struct weir_str input = bytes;
        struct weir_str data;
        answer_reader_init(&reader, &arena, false, &head);
        if (answer_reader_feed(&reader, &input, &fault) == ANSWER_DONE) {
            answer_body_init(&body, &head);
            while (fault == ANSWER_GOOD && !body.is_ended) {
                (void)!answer_body_step(&body, &input, &data, &fault);
            }
        }
        ck_assert(fault == ANSWER_GOOD || fault == ANSWER_OUT_OF_MEMORY);
        answer_body_fini(&body);
        arena_reset(&arena);
    })
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, reads_answers_however_they_are_cut, 0, CASES);
    tcase_add_test(tests, tells_fields_of_one_connection_from_others);
    tcase_add_test(tests, bounds_heads);
    tcase_add_test(tests, says_so_without_memory);
}

UNIT_MAIN("upstream/answer", add_tests)
