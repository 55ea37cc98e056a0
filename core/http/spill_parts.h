/* SPDX-License-Identifier: MIT */
/* What spill.c, a body's way through its file, asks of spill_store.c. Private to both. */
#ifndef WEIR_HTTP_SPILL_PARTS_H
#define WEIR_HTTP_SPILL_PARTS_H

#include "http/spill.h"

enum spill_count {
    SPILL_COUNT_FILES,
    SPILL_COUNT_HELD, /* bytes, as long as a file is there */
    SPILL_COUNT_WRITTEN,
    SPILL_COUNT_FAILURES,
    SPILL_COUNTS,
};

/* Any thread. */
void spill_count(enum spill_kind kind, enum spill_count count, int64_t n);

/* So many bytes more, and less, stand in files. Returns 0, or -EDQUOT: all that spill_limit()
 * allows is held. Any thread. */
WEIR_MUST_USE int spill_hold_bytes(enum spill_kind kind, uint64_t bytes);
void spill_give_bytes(enum spill_kind kind, uint64_t bytes);

/* A file without a name, or a negative errno. Where the file system cannot make one, its name
 * is taken at once. `directory` negative: why there is none. Any thread; blocks. */
WEIR_MUST_USE int spill_make_file(int directory);

/* A line in the log, once a second at the most: `what` could not be done at the store's path,
 * and what follows from that. */
void spill_tell_of_failure(struct spill_store *store, enum spill_kind kind, int error,
        const char *what, const char *so);

#endif
