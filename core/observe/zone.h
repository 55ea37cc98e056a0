/* SPDX-License-Identifier: MIT */
/* The memory behind <weir/zone.h>: files in memory that the master makes and workers map.
 *
 * A file is sealed against another size, so that nobody's mapping breaks, and all of its pages
 * are there from the beginning, so that none is missed later. */
#ifndef WEIR_OBSERVE_ZONE_H
#define WEIR_OBSERVE_ZONE_H

#include <stdbool.h>

#include <weir/zone.h>

/* What tells zones apart. Texts are borrowed. */
struct zone_spec {
    struct weir_str module, name;
    uint64_t bytes, layout;
};

/* Sizes within bounds, and names that may stand in a line of the log. Any thread. */
bool zone_is_sound(const struct zone_spec *spec);
bool zone_eq(const struct zone_spec *a, const struct zone_spec *b);

/* Makes the file of one, zeroed. Returns a descriptor, the caller's, or a negative errno. */
WEIR_MUST_USE int zone_make(const struct zone_spec *spec);

/* ---- a process that uses them: while it starts, one thread at a time ---- */

/* From now on a zone that was not offered is not there; before, it is made for this process
 * alone, as tests of modules want it. */
void zone_expect_offers(void);

/* Maps what the master sent; `fd` stays the caller's. Returns 0; -EEXIST when it was offered
 * before; -EPROTO when the file is not of that size; another negative errno. */
WEIR_MUST_USE int zone_offer(const struct zone_spec *spec, int fd);

/* Returns 0 and sets *out; -ENOENT when it was not offered and is expected to be; -ENOMEM. */
WEIR_MUST_USE int zone_find(const struct zone_spec *spec, void **out);

/* Unmaps all of them: nobody uses them any more. */
void zone_forget(void);

#endif
