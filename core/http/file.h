/* SPDX-License-Identifier: MIT */
/* What stands under a path, with everything that answers with it need: the fields ready to be
 * copied into a reply, the body of a small file, the descriptor of a large one.
 *
 * Constant once it is loaded; counted by its hold, which slices of its body hold too, so that
 * an answer on its way outlives the entry's place in the cache. Loaded on any thread, then
 * handed over whole to one loop. */
#ifndef WEIR_HTTP_FILE_H
#define WEIR_HTTP_FILE_H

#include <weir/file.h>

#include "base/slice.h"
#include "http/date.h"
#include "http/file_open.h"
#include "http/request.h"

/* Files up to here are kept in memory. */
#define FILE_BODY_MAX_BYTES 65536u

/* The descriptors of files above this are kept too: a file that large costs the kernel less
 * sent from its own pages than from ours. A part of it is sent from memory, in the packet of
 * the head (64 KiB: 12 against 16 us of CPU; 1 KiB of it: 4 calls fewer). */
#define FILE_OPEN_MIN_BYTES 32768u

#define FILE_FIELDS     4
#define FILE_ETAG_BYTES 48

/* Which state of which file: when all of it is the same, so are the bytes. */
struct file_identity {
    dev_t dev;
    ino_t ino;
    mode_t mode;
    uint64_t size;
    int64_t mtime_ns, ctime_ns;
};

struct weir_file {
    struct hold hold; /* first */

    /* Fixed when it was loaded. */
    enum weir_file_kind kind;
    int error;
    struct file_identity identity;
    int fd;               /* owned; of a regular file above FILE_OPEN_MIN_BYTES, else -1 */
    struct weir_str body; /* .ptr NULL when it is not in memory */
    bool is_racy;     /* changed so shortly before it was read that it may have changed after,
                       * within what its time can tell */
    bool is_fleeting; /* an error that may be gone the next moment: not kept */
    size_t memory_bytes;
    struct weir_str key; /* the cache's; in the same block */
    struct weir_str type, etag;
    struct reply_field fields[FILE_FIELDS];
    char etag_text[FILE_ETAG_BYTES];
    char modified_text[DATE_BYTES];

    /* The cache's. */
    bool is_kept, was_used;
    uint64_t fresh_until_ns;
    uint64_t warm_until_ns; /* its beginning was found in the kernel's cache, */
    uint64_t warm_bytes;    /* up to here; until then nobody looks again */
    struct weir_file *newer, *older;
};

/* What a file is loaded for. */
struct file_terms {
    struct weir_str key;          /* copied */
    struct weir_str path;         /* for its type */
    const struct weir_map *types; /* may be NULL */
    int64_t now_s;                /* since 1970 */
};

/* Looks and reads. With `known` not NULL, *out is NULL when it is still that. Whatever is
 * found, an error too, is a file with one reference. Returns 0; -EAGAIN when it might block and
 * must not (lookup->may_block); -ENOMEM. */
WEIR_MUST_USE int file_load(const struct file_lookup *lookup, const struct file_terms *terms,
        const struct file_identity *known, struct weir_file **out);

static inline struct weir_file *
file_of_hold(struct hold *hold)
{
    return (struct weir_file *)hold;
}

/* Files that say what could not even be looked for. Not counted. */
extern const struct weir_file file_busy, file_no_memory, file_too_long, file_invalid;

/* Whether `bytes` from `offset` of a file on disk can be sent without waiting for it, so far as
 * one look at their end tells. */
bool file_is_warm(const struct weir_file *file, uint64_t offset, uint64_t bytes);

/* Reads them once, for the kernel's cache. Blocks. */
void file_warm(int fd, uint64_t offset, uint64_t bytes);

#endif
