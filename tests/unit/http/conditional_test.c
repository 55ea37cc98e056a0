/* SPDX-License-Identifier: MIT */
#include "http/conditional.h"

#include "support/unit.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The representation was last modified at MODIFIED and its tag is "now", or weak. */
#define BEFORE   "Sun, 06 Nov 1994 08:49:36 GMT"
#define MODIFIED "Sun, 06 Nov 1994 08:49:37 GMT"
#define AFTER    "Sun, 06 Nov 1994 08:49:38 GMT"

#define MODIFIED_S INT64_C(784111777)

enum kind {
    STRONG,
    WEAK,
    NO_TAG,
    NO_DATE,
    ABSENT
};

static const struct representation representations[] = {
    [STRONG] = { true, true, MODIFIED_S, WEIR_STR_INIT("\"now\"") },
    [WEAK] = { true, true, MODIFIED_S, WEIR_STR_INIT("W/\"now\"") },
    [NO_TAG] = { true, true, MODIFIED_S, { NULL, 0 } },
    [NO_DATE] = { true, false, 0, WEIR_STR_INIT("\"now\"") },
    [ABSENT] = { false, false, 0, { NULL, 0 } },
};

enum {
    GO = CONDITIONAL_PROCEED,
    SAME = CONDITIONAL_NOT_MODIFIED,
    FAILED = CONDITIONAL_PRECONDITION_FAILED
};

/* Numbers are sections of RFC 9110. */
static const struct {
    const char *why;
    enum method method;
    enum kind kind;
    int want;
    const char *if_match, *if_none_match, *if_modified_since, *if_unmodified_since;
} cases[] = {
    { "no condition", METHOD_GET, STRONG, GO, NULL, NULL, NULL, NULL },
    { "no condition and nothing there", METHOD_PUT, ABSENT, GO, NULL, NULL, NULL, NULL },

    { "13.1.1: the tag is the one", METHOD_PUT, STRONG, GO, "\"now\"", NULL, NULL, NULL },
    { "13.1.1: it is one of several", METHOD_PUT, STRONG, GO, "\"x\", \"now\"", NULL, NULL,
            NULL },
    { "13.1.1: it is another", METHOD_PUT, STRONG, FAILED, "\"x\"", NULL, NULL, NULL },
    { "13.1.1: reading may fail too", METHOD_GET, STRONG, FAILED, "\"x\"", NULL, NULL, NULL },
    { "13.1.1: comparison is strong: theirs", METHOD_PUT, STRONG, FAILED, "W/\"now\"", NULL,
            NULL, NULL },
    { "13.1.1: comparison is strong: ours", METHOD_PUT, WEAK, FAILED, "\"now\"", NULL, NULL,
            NULL },
    { "13.1.1: whatever there is", METHOD_PUT, STRONG, GO, "*", NULL, NULL, NULL },
    { "13.1.1: whatever there is, without a tag", METHOD_PUT, NO_TAG, GO, " * ", NULL, NULL,
            NULL },
    { "13.1.1: there is nothing", METHOD_PUT, ABSENT, FAILED, "*", NULL, NULL, NULL },
    { "13.1.1: there is nothing to match", METHOD_PUT, ABSENT, FAILED, "\"now\"", NULL, NULL,
            NULL },
    { "a tag and a representation without one", METHOD_PUT, NO_TAG, FAILED, "\"now\"", NULL,
            NULL, NULL },
    { "a list that cannot be read matches nothing", METHOD_PUT, STRONG, FAILED, "now", NULL,
            NULL, NULL },
    { "an empty list matches nothing", METHOD_PUT, STRONG, FAILED, "", NULL, NULL, NULL },

    { "13.1.4: unchanged", METHOD_PUT, STRONG, GO, NULL, NULL, NULL, MODIFIED },
    { "13.1.4: unchanged for longer", METHOD_PUT, STRONG, GO, NULL, NULL, NULL, AFTER },
    { "13.1.4: changed", METHOD_PUT, STRONG, FAILED, NULL, NULL, NULL, BEFORE },
    { "13.1.4: changed, when reading", METHOD_GET, STRONG, FAILED, NULL, NULL, NULL, BEFORE },
    { "13.1.4: no date can be told", METHOD_PUT, NO_DATE, GO, NULL, NULL, NULL, BEFORE },
    { "13.1.4: the date cannot be read", METHOD_PUT, STRONG, GO, NULL, NULL, NULL, "never" },
    { "13.1.4: If-Match says more", METHOD_PUT, STRONG, GO, "\"now\"", NULL, NULL, BEFORE },
    { "13.1.4: If-Match says more, and no", METHOD_PUT, STRONG, FAILED, "\"x\"", NULL, NULL,
            AFTER },

    { "13.1.2: the client has it", METHOD_GET, STRONG, SAME, NULL, "\"now\"", NULL, NULL },
    { "13.1.2: one of several", METHOD_GET, STRONG, SAME, NULL, "\"x\", \"now\"", NULL, NULL },
    { "13.1.2: HEAD too", METHOD_HEAD, STRONG, SAME, NULL, "\"now\"", NULL, NULL },
    { "13.1.2: comparison is weak: theirs", METHOD_GET, STRONG, SAME, NULL, "W/\"now\"", NULL,
            NULL },
    { "13.1.2: comparison is weak: ours", METHOD_GET, WEAK, SAME, NULL, "\"now\"", NULL, NULL },
    { "13.1.2: the client has another", METHOD_GET, STRONG, GO, NULL, "\"x\"", NULL, NULL },
    { "13.1.2: any", METHOD_GET, STRONG, SAME, NULL, "*", NULL, NULL },
    { "13.1.2: create, but never replace", METHOD_PUT, STRONG, FAILED, NULL, "*", NULL, NULL },
    { "13.1.2: create", METHOD_PUT, ABSENT, GO, NULL, "*", NULL, NULL },
    { "13.1.2: writing over the same", METHOD_PUT, STRONG, FAILED, NULL, "\"now\"", NULL,
            NULL },
    { "a list that cannot be read sends the whole", METHOD_GET, STRONG, GO, NULL, "now", NULL,
            NULL },
    { "what is read of a list counts", METHOD_GET, STRONG, SAME, NULL, "\"now\", x", NULL,
            NULL },
    { "no tag to compare with", METHOD_GET, NO_TAG, GO, NULL, "\"now\"", NULL, NULL },

    { "13.1.3: unchanged", METHOD_GET, STRONG, SAME, NULL, NULL, MODIFIED, NULL },
    { "13.1.3: unchanged for longer", METHOD_GET, STRONG, SAME, NULL, NULL, AFTER, NULL },
    { "13.1.3: in RFC 850's form", METHOD_GET, STRONG, SAME, NULL, NULL,
            "Sunday, 06-Nov-94 08:49:37 GMT", NULL },
    { "13.1.3: HEAD too", METHOD_HEAD, STRONG, SAME, NULL, NULL, MODIFIED, NULL },
    { "13.1.3: changed", METHOD_GET, STRONG, GO, NULL, NULL, BEFORE, NULL },
    { "13.1.3: ignored when writing", METHOD_POST, STRONG, GO, NULL, NULL, MODIFIED, NULL },
    { "13.1.3: the date cannot be read", METHOD_GET, STRONG, GO, NULL, NULL, "never", NULL },
    { "13.1.3: no date can be told", METHOD_GET, NO_DATE, GO, NULL, NULL, AFTER, NULL },
    { "13.1.3: If-None-Match says more", METHOD_GET, STRONG, GO, NULL, "\"x\"", AFTER, NULL },
    { "13.1.3: If-None-Match says more, also unread", METHOD_GET, STRONG, GO, NULL, "x", AFTER,
            NULL },

    { "13.2.2: If-Match comes first", METHOD_GET, STRONG, FAILED, "\"x\"", "\"now\"", MODIFIED,
            NULL },
    { "13.2.2: If-None-Match comes after it", METHOD_GET, STRONG, SAME, "\"now\"", "\"now\"",
            NULL, NULL },
    { "13.2.2: If-Unmodified-Since comes before If-None-Match", METHOD_GET, STRONG, FAILED,
            NULL, "\"now\"", NULL, BEFORE },
    { "13.2.2: If-Modified-Since comes after If-Unmodified-Since", METHOD_GET, STRONG, SAME,
            NULL, NULL, MODIFIED, MODIFIED },

    { "13.2.1: not for OPTIONS", METHOD_OPTIONS, STRONG, GO, "\"x\"", "\"now\"", NULL, NULL },
    { "13.2.1: not for TRACE", METHOD_TRACE, STRONG, GO, "\"x\"", NULL, NULL, BEFORE },
    { "13.2.1: not for CONNECT", METHOD_CONNECT, STRONG, GO, "\"x\"", NULL, NULL, NULL },
    { "a method nobody knows is one that writes", METHOD_OTHER, STRONG, FAILED, NULL, "\"now\"",
            NULL, NULL },
};

START_TEST(evaluates_conditions_in_their_order)
{
    struct conditional_fields fields = {
        .if_match = weir_str_from(cases[_i].if_match),
        .if_none_match = weir_str_from(cases[_i].if_none_match),
        .if_modified_since = weir_str_from(cases[_i].if_modified_since),
        .if_unmodified_since = weir_str_from(cases[_i].if_unmodified_since),
        .range = WEIR_STR("bytes=0-1"),
    };
    struct conditional_result result = conditional_evaluate(cases[_i].method, &fields,
            &representations[cases[_i].kind], MODIFIED_S + 3600);
    unit_check((int)result.verdict == cases[_i].want, cases[_i].why);
    /* A range is a part of a 200 answer to GET, never of a 304 or 412. */
    unit_check(result.range_applies == (cases[_i].want == GO && cases[_i].method == METHOD_GET),
            cases[_i].why);
}
END_TEST

/* Section 13.1.5. */
static const struct {
    const char *why;
    enum method method;
    enum kind kind;
    int64_t age_s; /* of the last change */
    bool want;
    const char *if_range, *range;
} ranges[] = {
    { "a range without a condition", METHOD_GET, STRONG, 3600, true, NULL, "bytes=0-1" },
    { "no range", METHOD_GET, STRONG, 3600, false, NULL, NULL },
    { "If-Range without Range means nothing", METHOD_GET, STRONG, 3600, false, "\"now\"",
            NULL },
    { "the tag is the one", METHOD_GET, STRONG, 3600, true, "\"now\"", "bytes=0-1" },
    { "the tag is another", METHOD_GET, STRONG, 3600, false, "\"x\"", "bytes=0-1" },
    { "comparison is strong: theirs", METHOD_GET, STRONG, 3600, false, "W/\"now\"",
            "bytes=0-1" },
    { "comparison is strong: ours", METHOD_GET, WEAK, 3600, false, "W/\"now\"", "bytes=0-1" },
    { "a list is no tag", METHOD_GET, STRONG, 3600, false, "\"x\", \"now\"", "bytes=0-1" },
    { "an asterisk is no tag", METHOD_GET, STRONG, 3600, false, "*", "bytes=0-1" },
    { "a tag, and there is none", METHOD_GET, NO_TAG, 3600, false, "\"now\"", "bytes=0-1" },
    { "the date is the one", METHOD_GET, STRONG, 3600, true, MODIFIED, "bytes=0-1" },
    { "the date is earlier", METHOD_GET, STRONG, 3600, false, BEFORE, "bytes=0-1" },
    { "the date is later: it must be exact", METHOD_GET, STRONG, 3600, false, AFTER,
            "bytes=0-1" },
    { "a date that cannot be told", METHOD_GET, NO_DATE, 3600, false, MODIFIED, "bytes=0-1" },
    { "a date of this second is weak (8.8.2.2)", METHOD_GET, STRONG, 0, false, MODIFIED,
            "bytes=0-1" },
    { "a date in the future is weak", METHOD_GET, STRONG, -5, false, MODIFIED, "bytes=0-1" },
    { "neither tag nor date", METHOD_GET, STRONG, 3600, false, "now", "bytes=0-1" },
    { "14.2: Range is for GET alone", METHOD_HEAD, STRONG, 3600, false, NULL, "bytes=0-1" },
    { "not for writing", METHOD_PUT, STRONG, 3600, false, NULL, "bytes=0-1" },
    { "there is nothing to have a part of", METHOD_GET, ABSENT, 3600, false, NULL,
            "bytes=0-1" },
};

START_TEST(sends_a_part_only_of_what_the_client_has)
{
    struct conditional_fields fields = {
        .if_range = weir_str_from(ranges[_i].if_range),
        .range = weir_str_from(ranges[_i].range),
    };
    struct conditional_result result = conditional_evaluate(ranges[_i].method, &fields,
            &representations[ranges[_i].kind], MODIFIED_S + ranges[_i].age_s);
    unit_check(result.verdict == CONDITIONAL_PROCEED, ranges[_i].why);
    unit_check(result.range_applies == ranges[_i].want, ranges[_i].why);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, evaluates_conditions_in_their_order, 0, COUNT(cases));
    tcase_add_loop_test(tests, sends_a_part_only_of_what_the_client_has, 0, COUNT(ranges));
}

UNIT_MAIN("http/conditional", add_tests)
