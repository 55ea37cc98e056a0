/* SPDX-License-Identifier: MIT */
/* Media types by the extension of a file's name. Pure functions; any thread. */
#ifndef WEIR_HTTP_FILE_TYPE_H
#define WEIR_HTTP_FILE_TYPE_H

#include <weir/option.h>
#include <weir/str.h>

/* The extension of the last segment: what stands behind its last dot, unless that is its first
 * byte; empty when there is none. */
struct weir_str file_extension(struct weir_str path);

/* The type for a path; `own` (may be NULL) is asked first. Never empty: what is unknown is
 * application/octet-stream. Borrowed from `own`, or constant. */
struct weir_str file_type(struct weir_str path, const struct weir_map *own);

#endif
