/* SPDX-License-Identifier: MIT */
/* The end of a process whose own promises are broken. */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void
assert_failed(const char *condition, const char *file, int line, const char *function)
{
    char text[512];
    int len = snprintf(text, sizeof(text), "weir: assertion failed: %s (%s:%d, %s)\n",
            condition, file, line, function);
    if (len > 0) {
        size_t bytes = (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;
        ssize_t ignored = write(STDERR_FILENO, text, bytes);
        (void)ignored;
    }
    abort();
}
