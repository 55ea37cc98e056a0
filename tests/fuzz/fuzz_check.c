/* SPDX-License-Identifier: MIT */
/* What Check's assertions call, for targets that use tests/support outside of a test: a failure
 * aborts, which the fuzzer takes for a finding. */
#include <stdio.h>
#include <stdlib.h>

#include <check.h>

void
_mark_point(const char *file, int line)
{
    (void)file;
    (void)line;
}

void
_ck_assert_failed(const char *file, int line, const char *expr, const char *msg, ...)
{
    fprintf(stderr, "%s:%d: %s%s%s\n", file, line, expr, msg == NULL ? "" : ": ",
            msg == NULL ? "" : msg);
    abort();
}
