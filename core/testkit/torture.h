/* SPDX-License-Identifier: MIT */
/* One scenario, replayed in every way in which a client, a network, a pool or the system could
 * have made it different (F122):
 *
 *   - the input in two pieces, split at every point, and byte by byte
 *   - the answer taken in portions of every size up to its whole length
 *   - the client gone after every turn of the loop, by reset and by FIN
 *   - every pool without a thread, so that work is late, and without room, so that it is busy
 *   - every allocation failing in turn
 *
 * The first two must give the same answers but for Date and the sizes of chunks; whatever
 * happens, every request ends once, nothing is left over, and what the client gets is a
 * beginning of well-formed answers. Thread: one. */
#ifndef WEIR_TESTKIT_TORTURE_H
#define WEIR_TESTKIT_TORTURE_H

#include "testkit/testbed.h"

struct torture {
    struct testbed_settings settings;
    struct weir_str input; /* what the client sends, one request or several */

    /* Time that passes at the end of each run, for what waits for it. */
    uint64_t patience_ns;

    /* NULL, or called with every answer that was received, the undisturbed one first: returns
     * NULL, or a constant text that says what is wrong with it. */
    const char *(*judge)(void *context, struct weir_str received);
    void *context;

    /* NULL: allocations do not fail. The n-th from now (1 is the next; 0: none) answers NULL;
     * has_failed() says whether it was reached. */
    void (*fail_nth)(uint64_t n);
    bool (*has_failed)(void);
};

/* Runs all of it. Returns 0, or -1 with what went wrong, and in which replay, in *report. */
WEIR_MUST_USE int torture_run(const struct torture *torture, struct buf *report);

#endif
