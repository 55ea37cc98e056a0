/* SPDX-License-Identifier: MIT */
/* What the files of this module share: its configuration, and what a field of an answer may
 * name. */
#ifndef WEIR_ACCEL_ACCEL_H
#define WEIR_ACCEL_ACCEL_H

#include <stdbool.h>

#include <weir/file.h>
#include <weir/module.h>
#include <weir/str.h>

struct accel_conf {
    struct weir_list headers; /* struct weir_str: which fields are obeyed */
    struct weir_list to;      /* struct weir_str: patterns, checked by accel_is_pattern() */
    struct weir_list roots;   /* struct weir_str: directories */
    struct weir_list keep;    /* struct weir_str: names of fields */

    /* Set by conf_open: one for each of `roots`. */
    struct weir_root **opened; /* owned */
};

/* Undoes percent-encoding; what is no escape stays as it is. Returns the bytes written to
 * `dst`, which holds text.len and may be text.ptr. Pure. */
size_t accel_decode(char *dst, struct weir_str text);

/* Writes `target` as it may stand in a request line: bytes that may not are encoded, since
 * applications send names as they are. `dst` holds 3 * target.len bytes. Pure. */
size_t accel_encode(char *dst, struct weir_str target);

/* True when a decoded path has a segment `.` or `..`, or is none. Pure. */
bool accel_climbs(struct weir_str path);

/* A path, or one that ends in a slash and a star and stands for all beneath it. Pure. */
bool accel_is_pattern(struct weir_str text);

/* True when one of `patterns` has the decoded path. Pure. */
bool accel_may_lead_to(const struct weir_list *patterns, struct weir_str path);

/* The index of the longest of `roots` that the file is beneath, and the rest of its path in
 * *rest; roots->count: none. Pure. */
size_t accel_root_of(const struct weir_list *roots, struct weir_str path,
        struct weir_str *rest);

#endif
