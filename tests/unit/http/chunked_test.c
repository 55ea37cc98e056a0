/* SPDX-License-Identifier: MIT */
/* The chunked coding (RFC 9112 section 7.1), each row whole, by single bytes and cut in two at
 * every point. */
#include "http/chunked.h"

#include "support/unit.h"

/* The rows' limits, and those of tests that are about something else. */
static const struct chunked_limits tight = {
    .body_bytes = 64,
    .trailer_bytes = 64,
    .trailer_line_bytes = 40,
    .trailer_fields = 3,
};
static const struct chunked_limits wide = {
    .body_bytes = UINT64_MAX,
    .trailer_bytes = 1000,
    .trailer_line_bytes = 1000,
    .trailer_fields = 30,
};

static const struct {
    const char *why, *text;
    enum chunked_result result;
    const char *body;
    size_t left; /* bytes behind the end */
} cases[] = {
    { "an empty body", "0\r\n\r\n", CHUNKED_DONE, "", 0 },
    { "two chunks", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", CHUNKED_DONE, "abcde", 0 },
    { "hexadecimal in either case", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
            CHUNKED_DONE, "01234567890123456789", 0 },
    { "leading zeros, up to 16 digits", "0000000000000001\r\na\r\n0000000000000000\r\n\r\n",
            CHUNKED_DONE, "a", 0 },
    { "what follows is not its", "0\r\n\r\nGET /", CHUNKED_DONE, "", 5 },
    { "an extension", "1;a=b\r\nx\r\n0;c\r\n\r\n", CHUNKED_DONE, "x", 0 },
    { "several extensions", "1;a=b;c=\"d\\\"e\";f\r\nx\r\n0\r\n\r\n", CHUNKED_DONE, "x", 0 },
    { "an extension without a name", "1;\r\nx\r\n", CHUNKED_BAD, "", 0 },
    { "or without the value behind `=`", "1;a=\r\nx\r\n", CHUNKED_BAD, "", 0 },
    { "an extension that is not closed", "1;a=\"b\r\nx\r\n", CHUNKED_BAD, "", 0 },
    { "text behind a quoted value", "1;a=\"b\"c\r\nx\r\n", CHUNKED_BAD, "", 0 },
    { "a blank in an extension", "1; a=b\r\nx\r\n", CHUNKED_BAD, "", 0 },
    { "a quoted extension", "1;a=\"b;c\"\r\nx\r\n0\r\n\r\n", CHUNKED_DONE, "x", 0 },
    { "trailers", "0\r\nA: b\r\nC:d\r\n\r\n", CHUNKED_DONE, "", 0 },
    { "data that looks like framing", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", CHUNKED_DONE,
            "\r\n0\r\n\r\n", 0 },
    { "not the end yet", "0\r\n", CHUNKED_MORE, "", 0 },
    { "nor here", "0\r\n\r", CHUNKED_MORE, "", 0 },
    { "no size", "\r\n", CHUNKED_BAD, "", 0 },
    { "no digit", "x\r\n", CHUNKED_BAD, "", 0 },
    { "0x", "0x1\r\n", CHUNKED_BAD, "", 0 },
    { "a sign", "+1\r\n", CHUNKED_BAD, "", 0 },
    { "a negative size", "-1\r\n", CHUNKED_BAD, "", 0 },
    { "a space before", " 1\r\n", CHUNKED_BAD, "", 0 },
    { "a space behind", "1 \r\n", CHUNKED_BAD, "", 0 },
    { "17 digits", "00000000000000001\r\n", CHUNKED_BAD, "", 0 },
    { "bare LF behind the size", "1\nx\r\n", CHUNKED_BAD, "", 0 },
    { "bare CR behind the size", "1\rx\r\n", CHUNKED_BAD, "", 0 },
    { "data longer than said", "1\r\nxy\r\n", CHUNKED_BAD, "x", 0 },
    { "bare LF behind the data", "1\r\nx\n0\r\n\r\n", CHUNKED_BAD, "x", 0 },
    { "CR and something behind the data", "1\r\nx\rX", CHUNKED_BAD, "x", 0 },
    { "a control byte in an extension", "1;a\001\r\nx\r\n", CHUNKED_BAD, "", 0 },
    { "a LF in an extension (CVE-2024-6827 and its like)", "1;a\nb\r\nx\r\n", CHUNKED_BAD, "",
            0 },
    { "a trailer without a colon", "0\r\noops\r\n\r\n", CHUNKED_BAD, "", 0 },
    { "a trailer without a name", "0\r\n: x\r\n\r\n", CHUNKED_BAD, "", 0 },
    { "a folded trailer", "0\r\nA: b\r\n c\r\n\r\n", CHUNKED_BAD, "", 0 },
    { "a trailer with a control byte", "0\r\nA: \001\r\n\r\n", CHUNKED_BAD, "", 0 },
    { "a trailer with bare LF", "0\r\nA: b\n\r\n", CHUNKED_BAD, "", 0 },
    { "an end with bare LF", "0\r\n\n", CHUNKED_BAD, "", 0 },
    { "a size above the limit, before its data", "41\r\nx", CHUNKED_TOO_LONG, "", 0 },
    { "the largest size there is", "ffffffffffffffff\r\nx", CHUNKED_TOO_LONG, "", 0 },
    { "several sizes above the limit together", "1\r\nx\r\n40\r\n", CHUNKED_TOO_LONG, "x", 0 },
    { "a trailer line as long as allowed", "0\r\na:33333333333333333333333333333333333333\r\n",
            CHUNKED_MORE, "", 0 },
    { "one that is longer", "0\r\na:333333333333333333333333333333333333333\r\n",
            CHUNKED_TRAILERS_TOO_LONG, "", 0 },
    { "more trailers than allowed", "0\r\na:\r\nb:\r\nc:\r\nd:\r\n\r\n",
            CHUNKED_TRAILERS_TOO_LONG, "", 0 },
    { "longer trailers than allowed",
            "0\r\na: 0123456789012345678901234567890123456789012345678901234567890123456789",
            CHUNKED_TRAILERS_TOO_LONG, "", 0 },
};

/* Decodes the rest of *input behind what is in body. */
static enum chunked_result
step_all(struct chunked *chunked, struct weir_str *input, char *body, size_t *len)
{
    struct weir_str data;
    enum chunked_result result;
    while ((result = chunked_step(chunked, input, &data)) == CHUNKED_DATA) {
        ck_assert_uint_gt(data.len, 0);
        memcpy(body + *len, data.ptr, data.len);
        *len += data.len;
    }
    return result;
}

static void
check_case(int row, size_t split, size_t step)
{
    struct chunked chunked;
    chunked_init(&chunked, &tight);
    char body[256];
    size_t len = 0, at = 0, left = 0;
    struct weir_str all = weir_str_from(cases[row].text);
    enum chunked_result result = CHUNKED_MORE;
    while (at < all.len && result == CHUNKED_MORE) {
        size_t piece = at == 0 && split > 0 ? split : step;
        piece = all.len - at < piece ? all.len - at : piece;
        struct weir_str input = weir_str_make(all.ptr + at, piece);
        result = step_all(&chunked, &input, body, &len);
        at += piece - input.len;
        left = all.len - at;
    }
    ck_assert_msg(result == cases[row].result, "%s (split %zu, step %zu): %d", cases[row].why,
            split, step, (int)result);
    unit_check(weir_str_eq(weir_str_make(body, len), weir_str_from(cases[row].body)),
            cases[row].why);
    unit_check(result != CHUNKED_DONE || left == cases[row].left, cases[row].why);
    chunked_fini(&chunked);
}

START_TEST(decodes_the_same_however_it_is_cut)
{
    size_t len = strlen(cases[_i].text);
    for (size_t split = 0; split < len; split++) {
        check_case(_i, split, SIZE_MAX);
    }
    check_case(_i, 0, 1);
}
END_TEST

START_TEST(passes_sizes_up_to_64_bits_on)
{
    struct chunked chunked;
    chunked_init(&chunked, &wide);
    struct weir_str input = WEIR_STR("fffffffffffffffF\r\nabc"), data;
    ck_assert_int_eq(chunked_step(&chunked, &input, &data), CHUNKED_DATA);
    ck_assert(weir_str_eq(data, WEIR_STR("abc")));
    ck_assert_uint_eq(chunked.left_bytes, UINT64_MAX - 3);
    ck_assert_int_eq(chunked_step(&chunked, &input, &data), CHUNKED_MORE);
    chunked_fini(&chunked);
}
END_TEST

START_TEST(bounds_extensions_over_the_whole_body)
{
    struct chunked chunked;
    chunked_init(&chunked, &wide);
    enum chunked_result result = CHUNKED_MORE;
    unsigned chunks = 0;
    char body[8];
    for (; result == CHUNKED_MORE && chunks < 10000; chunks++) {
        struct weir_str input = WEIR_STR("1;0123456789\r\nx\r\n");
        size_t len = 0;
        result = step_all(&chunked, &input, body, &len);
    }
    ck_assert_int_eq(result, CHUNKED_EXTENSIONS_TOO_LONG);
    ck_assert_uint_eq(chunks, CHUNKED_EXTENSIONS_MAX / 10 + 1);
    chunked_fini(&chunked);
}
END_TEST

/* RFC 9110 section 6.5.1: what must not stand in trailers is left out. */
START_TEST(lists_the_trailers_that_may_be_used)
{
    struct chunked chunked;
    chunked_init(&chunked, &wide);
    struct weir_str input = WEIR_STR("0\r\nX-Sum:  42 \r\nContent-Length: 5\r\nHost: b\r\n"
                                     "Transfer-Encoding: gzip\r\nAuthorization: x\r\n"
                                     "Cookie: c\r\nETag: \"e\"\r\nY:\r\n\r\n"),
                    data, name, value;
    ck_assert_int_eq(chunked_step(&chunked, &input, &data), CHUNKED_DONE);
    struct weir_str rest = buf_str(&chunked.trailers);
    ck_assert(chunked_next_trailer(&rest, &name, &value));
    ck_assert(weir_str_eq(name, WEIR_STR("X-Sum")) && weir_str_eq(value, WEIR_STR("42")));
    ck_assert(chunked_next_trailer(&rest, &name, &value));
    ck_assert(weir_str_eq(name, WEIR_STR("ETag")) && weir_str_eq(value, WEIR_STR("\"e\"")));
    ck_assert(chunked_next_trailer(&rest, &name, &value));
    ck_assert(weir_str_eq(name, WEIR_STR("Y")) && value.len == 0);
    ck_assert(!chunked_next_trailer(&rest, &name, &value));
    ck_assert(!chunked_next_trailer(&rest, &name, &value));
    chunked_fini(&chunked);
}
END_TEST

START_TEST(says_so_when_it_has_no_memory)
{
    UNIT_EACH_ALLOCATION_FAILS({
        struct chunked chunked;
        chunked_init(&chunked, &wide);
        struct weir_str input = WEIR_STR("0\r\na: b\r\n\r\n");
        struct weir_str data;
        enum chunked_result result = chunked_step(&chunked, &input, &data);
        ck_assert(result == (failalloc_has_failed() ? CHUNKED_OUT_OF_MEMORY : CHUNKED_DONE));
        chunked_fini(&chunked);
    });
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, decodes_the_same_however_it_is_cut, 0,
            sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(tests, passes_sizes_up_to_64_bits_on);
    tcase_add_test(tests, bounds_extensions_over_the_whole_body);
    tcase_add_test(tests, lists_the_trailers_that_may_be_used);
    tcase_add_test(tests, says_so_when_it_has_no_memory);
}

UNIT_MAIN("http/chunked", add_tests)
