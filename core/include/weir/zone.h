/* SPDX-License-Identifier: MIT */
/* Zones: memory of a fixed size that all workers of the server share, and that outlives them.
 *
 * A module declares a zone where its configuration is checked, and opens it where the
 * configuration is opened:
 *
 *     static int
 *     conf_check(const void *conf, struct weir_conf_report *report)
 *     {
 *         return weir_zone_declare(report, "keys", name_of(conf), bytes_of(conf), LAYOUT);
 *     }
 *
 *     static int
 *     conf_open(void *conf, struct weir_conf_report *report)
 *     {
 *         ((struct my_conf *)conf)->table = weir_zone_open(report, name_of(conf));
 *         return ((struct my_conf *)conf)->table == NULL ? -ENOMEM : 0;
 *     }
 *
 * What the options of the module itself need is declared in init() and opened in
 * worker_start(). The name is the module's own: two modules never meet in one zone.
 *
 * A zone is all zero when it is made. It stays for as long as a generation of workers declares
 * it: over their deaths, and over reloads where name, size and layout stay. Where one of those
 * changes the new generation begins with a new zone, and the old one keeps its own until it has
 * drained. Its memory is reserved when it is made, so that a lack of it refuses the start or
 * the reload, and never ends a worker.
 *
 * All workers, and those of two generations, write to it at the same time; any of them may be
 * killed between any two instructions. So what stands in a zone is atomic words that are right
 * by themselves: no lock (who holds it may be dead), no pointer (every process has the zone
 * somewhere else). Nor may it be believed more than the module's own workers are: an index that
 * is read from it is checked. Grows until 1.0. */
#ifndef WEIR_ZONE_H
#define WEIR_ZONE_H

#include <stdint.h>

#include <weir/api.h>
#include <weir/option.h>
#include <weir/str.h>

WEIR_BEGIN_DECLS

#define WEIR_ZONE_NAME_BYTES 64u                    /* of the longest name */
#define WEIR_ZONE_MAX_BYTES  (UINT64_C(256) << 20)  /* of one */
#define WEIR_ZONES_MAX       64u                    /* of a configuration, all modules' */
#define WEIR_ZONES_MAX_BYTES (UINT64_C(1024) << 20) /* of all of them together */

/*
 * Says that the configuration being checked has a zone `name` of `bytes`. `layout` is a number
 * that the module changes whenever what it keeps there changes its meaning: with a version of
 * its own, with the options that it depends on. Several configurations that declare the same
 * zone share it.
 *
 * Thread:  the one that called init() or conf_check().
 * Errors:  are reported at `option` (weir_conf_error()): a name that is empty, too long or not
 *          of visible ASCII; no bytes or too many; another size or layout than somebody else
 *          of this configuration declares; more zones than there may be.
 * Returns: 0, or a negative errno when it reported one.
 */
WEIR_MUST_USE WEIR_API WEIR_SETUP int weir_zone_declare(struct weir_conf_report *report,
        const char *option, struct weir_str name, uint64_t bytes, uint64_t layout);

/*
 * The memory of a zone that this configuration declares.
 * Thread:  the one that called conf_open() or worker_start().
 * Memory:  the server's, aligned to a page, at this place until the process ends.
 * Errors:  are reported: a zone that was not declared, or that is not at hand.
 * Returns: NULL when it reported one.
 */
WEIR_MUST_USE WEIR_API WEIR_SETUP void *weir_zone_open(struct weir_conf_report *report,
        struct weir_str name);

WEIR_END_DECLS

#endif
