/* SPDX-License-Identifier: MIT */
/* The frame of a unit test program: UNIT_MAIN("name", suite_tests) at the end of a file, where
 * suite_tests(TCase *) adds the tests. Time limits scale with WEIR_TEST_SLOW. */
#ifndef WEIR_SUPPORT_UNIT_H
#define WEIR_SUPPORT_UNIT_H

#include <stdlib.h>

#include <check.h>

#include <weir/str.h>

#include "support/failalloc.h"

/* A bound on time, longer on slow machines: WEIR_TEST_SLOW is a factor, 1 without it. */
static inline double
unit_slow(double seconds)
{
    const char *factor = getenv("WEIR_TEST_SLOW");
    double f = factor == NULL ? 1 : strtod(factor, NULL);
    return seconds * (f >= 1 ? f : 1);
}

/* Whether a text holds or ends with another. */
static inline bool
unit_has(struct weir_str text, const char *part)
{
    return memmem(text.ptr, text.len, part, strlen(part)) != NULL;
}

static inline bool
unit_ends(struct weir_str text, const char *part)
{
    size_t len = strlen(part);
    return text.len >= len && memcmp(text.ptr + text.len - len, part, len) == 0;
}

/* A check that also says which row of a table it was. */
#define unit_check(condition, why) ck_assert_msg(condition, "%s: %s", why, #condition)

/* Runs `body` with the 1st, 2nd, 3rd ... allocation failing until it gets through; `body` is a
 * statement that must cope with either. */
#define UNIT_EACH_ALLOCATION_FAILS(body)           \
    for (uint64_t unit_nth = 1;; unit_nth++) {     \
        failalloc_fail_nth(unit_nth);              \
        body;                                      \
        bool unit_failed = failalloc_has_failed(); \
        failalloc_fail_nth(0);                     \
        if (!unit_failed) {                        \
            break;                                 \
        }                                          \
        ck_assert_uint_lt(unit_nth, 100000);       \
    }

/* What UNIT_MAIN does, for a program whose main() is its own. Returns an exit status. */
static inline int
unit_run(const char *name, void (*add_tests)(TCase *tests))
{
    Suite *suite = suite_create(name);
    TCase *tests = tcase_create(name);
    tcase_set_timeout(tests, unit_slow(60));
    add_tests(tests);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failures = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define UNIT_MAIN(name, add_tests)        \
    int main(void)                        \
    {                                     \
        return unit_run(name, add_tests); \
    }

#endif
