/* SPDX-License-Identifier: MIT */
#include "net/dns_answer.h"

#include <stdlib.h>
#include <string.h>

#include "support/unit.h"

#define HEADER(questions, answers) "\x12\x34\x81\x80\0" questions "\0" answers "\0\0\0\0"
#define QUESTION                   "\4_app\4test\0\0\x21\0\1"
#define TO_QUESTION                "\xC0\x0C"
#define SRV(ttl)                   TO_QUESTION "\0\x21\0\1" ttl "\0\x0A\0\1\0\2\0\x50\1a\1b"
#define BYTES(text)                text, sizeof(text) - 1

static const struct {
    const char *why, *message;
    size_t len;
    uint32_t ttl_s;
} cases[] = {
    { "one record", BYTES(HEADER("\1", "\1") QUESTION SRV("\0\0\0\x3C")), 60 },
    { "the shortest of two", BYTES(HEADER("\1", "\2") QUESTION SRV("\0\0\1\0") SRV("\0\0\0\7")),
            7 },
    { "a name in full", BYTES(HEADER("\0", "\1") "\1a\2bc\0\0\1\0\1\0\1\0\0\0\4\1\2\3\4"),
            65536 },
    { "without a record", BYTES(HEADER("\1", "\0") QUESTION), 0 },
    { "the longest that there is", BYTES(HEADER("\1", "\1") QUESTION SRV("\x7F\xFF\xFF\xFF")),
            0x7FFFFFFF },
    { "a negative one is none",
            BYTES(HEADER("\1", "\2") QUESTION SRV("\x80\0\0\0") SRV("\0\0\0\7")), 0 },
    { "records of other sections say nothing",
            BYTES("\x12\x34\x81\x80\0\1\0\1\0\1\0\0" QUESTION SRV("\0\0\0\x3C")
                            SRV("\0\0\0\1")),
            60 },
    { "no such label", BYTES(HEADER("\1", "\1") "\x44name\0\0\x21\0\1" SRV("\0\0\0\x3C")), 0 },
    { "more records than there are", BYTES(HEADER("\1", "\2") QUESTION SRV("\0\0\0\x3C")), 0 },
    { "a record longer than the message",
            BYTES(HEADER("\1", "\1") QUESTION TO_QUESTION "\0\x21\0\1\0\0\0\x3C\xFF\xFFx"), 0 },
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

START_TEST(finds_how_long_an_answer_holds)
{
    unit_check(dns_answer_ttl((const unsigned char *)cases[_i].message, cases[_i].len) ==
                    cases[_i].ttl_s,
            cases[_i].why);
}
END_TEST

/* In memory of its own, so that a byte read too far is found. */
START_TEST(believes_nothing_that_is_cut)
{
    for (size_t len = 0; len < cases[0].len; len++) {
        unsigned char *part = malloc(len + (len == 0));
        ck_assert_ptr_nonnull(part);
        memcpy(part, cases[0].message, len);
        ck_assert_uint_eq(dns_answer_ttl(part, len), 0);
        free(part);
    }
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, finds_how_long_an_answer_holds, 0, CASES);
    tcase_add_test(tests, believes_nothing_that_is_cut);
}

UNIT_MAIN("net/dns_answer", add_tests)
