/* SPDX-License-Identifier: MIT */
/* The one door through which a configuration asks the system: for files, for what a glob finds,
 * for the environment. The master, who may read secrets, records every answer and seals the
 * record into a bundle; the checker and the workers, who may not, replay it. So all of them
 * load the same text, whatever happens to the files meanwhile.
 *
 * A question is answered from the bundle by its kind and its words, in the order in which it
 * was asked; also an answer such as "no such file" is recorded. Thread: one at a time. */
#ifndef WEIR_CONFIG_INTAKE_H
#define WEIR_CONFIG_INTAKE_H

#include <sys/types.h>

#include "base/buf.h"
#include "config/source.h"

/* All that one configuration may bring together: files, secrets, names found, variables. */
#define INTAKE_MAX_BYTES ((size_t)64 << 20)

/* What one glob may find. */
#define INTAKE_MAX_PATHS 4096

enum intake_mode {
    INTAKE_SYSTEM,
    INTAKE_RECORD,
    INTAKE_REPLAY
};

struct intake {
    enum intake_mode mode;
    struct buf record;      /* owned; of INTAKE_RECORD */
    struct weir_str bundle; /* owned mapping; of INTAKE_REPLAY */
    size_t replayed_bytes;  /* where the next answer is expected in the bundle */
    size_t taken_bytes;     /* of all answers so far */
    bool is_foreign;        /* something was asked that the bundle does not answer */
};

/* What a glob found, sorted by bytes. */
struct intake_paths {
    char **items; /* owned */
    size_t count;
};

/* Asks the system; with `is_recording` for intake_seal(). */
void intake_init(struct intake *intake, bool is_recording);
void intake_fini(struct intake *intake);

/* Everything that was answered so far, as a sealed memfd, close-on-exec. Returns the
 * descriptor, which is the caller's, or a negative errno. */
WEIR_MUST_USE int intake_seal(const struct intake *intake);

/* Answers from the bundle in `fd`, which is borrowed for this call and not moved. Returns 0;
 * -EPROTO when it is none, -ENOMEM, a negative errno. */
WEIR_MUST_USE int intake_replay(struct intake *intake, int fd);

/* The same from bytes, which are copied. */
WEIR_MUST_USE int intake_replay_bytes(struct intake *intake, struct weir_str bytes);

/* The first file that was asked for when the bundle was made; empty when there is none.
 * Borrowed. */
struct weir_str intake_main_file(const struct intake *intake);

/* All questions answer 0 or a negative errno, among them -ENOMEM, -ENOBUFS above
 * INTAKE_MAX_BYTES, and -EPROTO when the bundle does not know. */

/* What such an answer means, for a report; lives for ever. */
const char *intake_error_text(int error);

/* As source_read(). */
WEIR_MUST_USE int intake_source(struct intake *intake, const char *path, struct source **out);

/* The content of a small file, to `dst`; -EFBIG when there is more. Returns the bytes, or a
 * negative errno. */
WEIR_MUST_USE ssize_t intake_secret(struct intake *intake, const char *path, char *dst,
        size_t dst_bytes);

/* -E2BIG above INTAKE_MAX_PATHS; -EACCES when the directory cannot be read. Nothing found is an
 * empty list. */
WEIR_MUST_USE int intake_glob(struct intake *intake, const char *pattern,
        struct intake_paths *out);
void intake_paths_free(struct intake_paths *paths);

/* .ptr NULL: the variable is not set. Borrowed, from the environment or the bundle. */
WEIR_MUST_USE int intake_environment(struct intake *intake, const char *name,
        struct weir_str *out);

#endif
