/* SPDX-License-Identifier: MIT */
/* Bytes of a body that are too many for memory, in a file without a name (F14).
 *
 *     pushed --> pending --a thread writes--> file --a thread reads--> ready --> taken
 *                    \---------- nothing is in the file ---------------^
 *
 * A queue, of which little is in memory: what is pushed comes out in order. Whatever may wait
 * for a disk is done on a thread of a pool, one piece at a time; no loop ever waits. The file
 * is made when the first piece is written, has no name from its beginning on, and is gone when
 * the last descriptor is, whatever ends the process.
 *
 * What cannot be written is the end of a request's body. Of an answer nothing is lost by that:
 * what is in memory stays there until it is taken, and whoever makes the answer waits.
 *
 * Thread: the store's loop, but for spill_limit() and spill_figures(). */
#ifndef WEIR_HTTP_SPILL_H
#define WEIR_HTTP_SPILL_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/str.h>

#include "base/slice.h"

struct loop;
struct mailbox;
struct pool;
struct spill;

/* How much all files of this process may hold; UINT64_MAX, as at the start: no limit. Before
 * anything is kept. */
void spill_limit(uint64_t bytes);

/* Whose body it is. */
enum spill_kind {
    SPILL_REQUEST,
    SPILL_REPLY,
    SPILL_KINDS,
};

/* What the files of one kind in this process hold now; and since it began, what was written to
 * them, and how often a body could not be kept or read back. Any thread. */
struct spill_figures {
    uint64_t files, held_bytes;
    uint64_t written_bytes, failures;
};

struct spill_figures spill_figures(enum spill_kind kind);

/* Whether files can be made in a directory: 0 or a negative errno. Any thread; may block. */
WEIR_MUST_USE int spill_check(struct weir_str path);

struct spill_warning {
    uint64_t told_ns;  /* when the log was last told of a failure; 0: never */
    uint64_t failures; /* since then */
};

/* Where one loop's files are made. Its inside is for tests and figures. */
struct spill_store {
    struct loop *loop;       /* borrowed */
    struct pool *pool;       /* borrowed */
    struct mailbox *mailbox; /* borrowed */
    int directory;           /* owned: O_PATH; or a negative errno, for those who want a file */
    struct weir_str path;    /* borrowed: the directory's, for the log */
    size_t out;              /* tasks that the pool has */
    struct spill_warning warnings[SPILL_KINDS];
};

/* NULL without memory. That the directory is not there is known with the first file. */
struct spill_store *spill_store_new(struct loop *loop, struct pool *pool,
        struct mailbox *mailbox, struct weir_str path);

/* When the pool has stopped, its last letters were read, and no spill is left. NULL: nothing.
 */
void spill_store_free(struct spill_store *store);

/* There is something to take, or room, or an error: once for each piece that comes back. */
typedef void spill_news_fn(void *owner);

/* A piece that a thread has not done within `wait_ns` (CLOCK_NEVER: whenever) is given up. NULL
 * without memory. */
struct spill *spill_new(struct spill_store *store, enum spill_kind kind, uint64_t wait_ns,
        spill_news_fn *news, void *owner);

/* Nobody wants it any more, and news() is not called again. NULL: nothing. */
void spill_close(struct spill *spill);

/* Appends a copy. Returns 0 or -ENOMEM. */
WEIR_MUST_USE int spill_push(struct spill *spill, struct weir_str bytes);

/* Moves the first `bytes` of `from`, of which none is a file's, to its end. Returns 0; -ENOMEM,
 * when the part already moved stays moved. */
WEIR_MUST_USE int spill_move(struct spill *spill, struct slice_queue *from, uint64_t bytes);

/* How many bytes it should be given now; 0: it writes, and says when it has. Less while memory
 * is tight. */
uint64_t spill_room(const struct spill *spill);

/* All that was pushed and not taken. */
uint64_t spill_bytes(const struct spill *spill);

/* Moves what is ready to the end of `to`, and has more brought. True when anything was moved.
 */
bool spill_take(struct spill *spill, struct slice_queue *to);

/* 0; -ENOSPC when it cannot be kept or read back, the disk being full or out of order; -EBUSY
 * when the pool had no room for it, or no thread has done it in time; -ENOMEM. For ever; the
 * log was told. Of an answer: never since it cannot be written. */
int spill_error(const struct spill *spill);

#endif
