/* SPDX-License-Identifier: MIT */
/* The names in a directory, as they were read at once: directories first, then by name.
 * Constant once made; made on any thread, then handed over whole to one loop. */
#ifndef WEIR_HTTP_FILE_LISTING_H
#define WEIR_HTTP_FILE_LISTING_H

#include <weir/file.h>

#include "base/slice.h"
#include "http/file_open.h"

/* More names than this are not read. */
#define LISTING_MAX 10000u

struct weir_listing {
    struct hold hold; /* first */
    int error;
    uint32_t count, capacity;
    bool is_cut;
    struct weir_listing_entry *entries; /* owned; so is each name */
};

/* A listing that says why there is none. Not counted. */
extern const struct weir_listing listing_busy, listing_no_memory, listing_invalid;

/* Reads the directory that the lookup leads to, at most `max` names. Blocks. NULL without
 * memory. */
struct weir_listing *listing_load(const struct file_lookup *lookup, uint32_t max);

#endif
