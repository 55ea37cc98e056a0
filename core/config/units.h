/* SPDX-License-Identifier: MIT */
/* Values with a unit, statuses and networks, from their spelling in the configuration. Whole
 * numbers only; no space, no sign, no locale. Pure; any thread. */
#ifndef WEIR_CONFIG_UNITS_H
#define WEIR_CONFIG_UNITS_H

#include <weir/option.h>

/* The units there are, the largest first. Those of sizes are read in either case. */
struct units_unit {
    const char *name;
    uint64_t factor;
};
struct units_table {
    const struct units_unit *items;
    size_t count;
};
extern const struct units_table units_durations, units_sizes;

/* All: 0 and *out; -EINVAL malformed; -EDOM a number without unit; -ERANGE does not fit. */

/* "250ms": ns us ms s m h d w. */
WEIR_MUST_USE int units_parse_duration(struct weir_str text, uint64_t *out_ns);
/* "64k": b k m g t, either case; powers of 1024. */
WEIR_MUST_USE int units_parse_size(struct weir_str text, uint64_t *out_bytes);
/* "10/s", "1k/m": a count (k m g: powers of 1024) per s, m, h or d. */
WEIR_MUST_USE int units_parse_rate(struct weir_str text, struct weir_rate *out);

/* "404", "5xx", "400-499"; 100 to 599. */
WEIR_MUST_USE int units_parse_status(struct weir_str text, struct weir_status *out);

/* "10.0.0.0/8", "::1", "2001:db8::/32". -EINVAL malformed; -EDOM when bits are set beyond the
 * prefix, and *out is what was meant. */
WEIR_MUST_USE int units_parse_network(struct weir_str text, struct weir_network *out);

/* The bytes of "255.255.255.255/32" in IPv6 spelling, with terminator. */
#define UNITS_NETWORK_BYTES 52

/* Back to text, terminated. */
void units_format_network(const struct weir_network *network, char dst[UNITS_NETWORK_BYTES]);

/* The shortest exact spelling with a unit, terminated. */
#define UNITS_TEXT_BYTES 32
void units_format_duration(uint64_t ns, char dst[UNITS_TEXT_BYTES]);
void units_format_size(uint64_t bytes, char dst[UNITS_TEXT_BYTES]);

/* What a size or duration that was refused was meant to be: "10 MB" is "10m", "5 minutes" is
 * "5m". False: nobody knows. */
bool units_guess(const struct units_table *units, struct weir_str text,
        char dst[UNITS_TEXT_BYTES]);

#endif
