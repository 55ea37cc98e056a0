/* SPDX-License-Identifier: MIT */
/* What our own code guarantees. Stays on in releases, has no side effect, and is never reached
 * by anything a peer, a file or a configuration says: those are checked, not asserted. */
#ifndef WEIR_BASE_ASSERT_H
#define WEIR_BASE_ASSERT_H

#include <weir/api.h>

#define WEIR_ASSERT(condition)                                       \
    do {                                                             \
        if (__builtin_expect(!(condition), 0)) {                     \
            assert_failed(#condition, __FILE__, __LINE__, __func__); \
        }                                                            \
    } while (0)

/* Writes one line to standard error and aborts. */
WEIR_NORETURN void assert_failed(const char *condition, const char *file, int line,
        const char *function);

#endif
