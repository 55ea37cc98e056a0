/* SPDX-License-Identifier: MIT */
/* Paths of requests (RFC 3986 section 3.3): decoded once and normalised, which is the form that
 * routes are matched with and files are looked up by. Pure functions; any thread.
 *
 * A normalised path begins with one slash, holds no empty segment (runs of slashes are merged),
 * no `.` and no `..` segment, and no NUL; a slash at the end stays. It is never longer than the
 * raw one. Since it never begins with two slashes, a redirect built from it through
 * path_encode() stays on its host.
 *
 * - `..` above the root is refused, not clamped: clients resolve dots themselves (RFC 3986
 *   section 5.2.4), so whoever sends these is trying something.
 * - %2F counts as a slash, as routes and applications will read it, and sets
 *   PATH_ENCODED_SLASH, for those to whom it must not (files: refuse). A `.` or `..` that such
 *   a slash, or a backslash, sets apart on either side is refused: two readers would disagree
 *   about where it leads.
 * - A backslash is an ordinary byte here (encoded only; a raw one is refused) and sets
 *   PATH_BACKSLASH, since readers on other systems take it for a slash.
 * - What was decoded is not looked at again: %252e is `%2e`. */
#ifndef WEIR_HTTP_PATH_H
#define WEIR_HTTP_PATH_H

#include <weir/str.h>

#define PATH_ENCODED_SLASH 1u  /* a slash was written %2F */
#define PATH_BACKSLASH     2u  /* holds a backslash */
#define PATH_CONTROL       4u  /* holds a byte of 0x01 to 0x1F or 0x7F, from %0A and such */
#define PATH_DOT_SEGMENT   8u  /* `.` or `..` segments were removed */
#define PATH_EMPTY_SEGMENT 16u /* slashes were merged */

/* True when `raw` begins with a slash and is certainly its own normalised form, so that no copy
 * is needed. False for some that are (`/.well-known`). */
bool path_is_plain(struct weir_str raw);

/* Decodes and normalises `raw` into `dst`, which holds raw.len bytes and does not overlap it.
 * Returns 0 and sets *out (into `dst`) and *flags; -EINVAL (answer 400) when `raw` does not
 * begin with a slash or holds a raw byte that no path may hold (a control byte, space, `#`,
 * `?`, backslash, above 0x7E), a `%` without two digits, %00, or dots as above. */
WEIR_MUST_USE int path_normalise(struct weir_str raw, char *dst, struct weir_str *out,
        unsigned *flags);

/* Decodes only: for those that want the path as it was written, such as an application's
 * `path`. Same buffer rules. -EINVAL on a `%` without two digits and on %00. */
WEIR_MUST_USE int path_decode(struct weir_str raw, char *dst, struct weir_str *out);

/* Writes `path` percent-encoded, as it may stand in a request line or a Location: all but
 * unreserved, sub-delims and `:@/` becomes %XX. `dst` holds 3 * path.len bytes. Returns the
 * bytes written. */
size_t path_encode(char *dst, struct weir_str path);

#endif
