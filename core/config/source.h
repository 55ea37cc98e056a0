/* SPDX-License-Identifier: MIT */
/* The text of one configuration file, kept as it was read, and places in it. Counted: what
 * reports mistakes and what remembers where a value came from may outlive one another.
 * Thread: counts are not atomic; one thread at a time. */
#ifndef WEIR_CONFIG_SOURCE_H
#define WEIR_CONFIG_SOURCE_H

#include <stdint.h>

#include <weir/str.h>

/* The largest file that is read. */
#define SOURCE_MAX_BYTES (UINT32_C(8) << 20)

struct source {
    uint32_t references;
    uint32_t order;       /* files are reported in this order */
    char *name;           /* owned; as the user named it */
    char *directory;      /* owned; absolute: relative paths start here */
    struct weir_str text; /* owned; as read; a terminator follows */
    uint64_t device, inode;
};

/* A run of bytes of a source. */
struct config_place {
    struct source *source; /* borrowed; NULL: nowhere */
    uint32_t offset, length;
};

/* Line and column, from 1; columns count code points (bytes that are not UTF-8 count each). */
struct source_position {
    uint32_t line, column;
    uint32_t length; /* code points of the place, on its first line; at least 1 */
    struct weir_str line_text;
};

/* Reads the regular file `path`. Returns 0 and sets *out to one reference; -EFBIG above
 * SOURCE_MAX_BYTES; -EISDIR, -ENOTSUP for what is no regular file; a negative errno. */
WEIR_MUST_USE int source_read(const char *path, struct source **out);

/* A source of given text, which is copied. Returns 0 or -ENOMEM, -EFBIG. */
WEIR_MUST_USE int source_from_text(const char *name, struct weir_str text, struct source **out);

/* What source_read() once made of `name`, from its parts, which are copied; without device and
 * inode. Returns 0 or -ENOMEM, -EFBIG. */
WEIR_MUST_USE int source_restore(const char *name, struct weir_str directory,
        struct weir_str text, struct source **out);

struct source *source_ref(struct source *source);
void source_unref(struct source *source); /* NULL: nothing */

/* Where the place stands; place->source is not NULL. */
struct source_position source_locate(const struct config_place *place);

/* The code points in `text`. */
uint32_t source_count_columns(struct weir_str text);

/* Decodes one code point at the front of `text` (not empty) into *out; returns its bytes, or 0
 * when the bytes are not UTF-8. */
size_t source_decode(struct weir_str text, uint32_t *out);

#endif
