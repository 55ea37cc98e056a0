/* SPDX-License-Identifier: MIT */
/* HTTP dates (RFC 9110 section 5.6.7). Seconds are counted from 1970-01-01 UTC without leap
 * seconds and may be negative. No locale, no time zone, no clock: pure functions; any thread.
 */
#ifndef WEIR_HTTP_DATE_H
#define WEIR_HTTP_DATE_H

#include <stdint.h>

#include <weir/str.h>

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
#define DATE_BYTES 29

/* "1994-11-06T08:49:37" (RFC 3339), and "06/Nov/1994:08:49:37 +0000", as access logs have it.
 */
#define DATE_ISO_BYTES 19
#define DATE_LOG_BYTES 26

/* Write DATE_BYTES, DATE_ISO_BYTES and DATE_LOG_BYTES bytes, no terminator. Years before 0 and
 * after 9999, which no form can write, become the nearest it can. */
void date_format(char *dst, int64_t seconds);
void date_format_iso(char *dst, int64_t seconds);
void date_format_log(char *dst, int64_t seconds);

/* Reads any of the three forms. Returns 0 and sets *seconds; -EINVAL. `now` decides the century
 * of the RFC 850 form: the latest that is at most 50 years ahead. Years are 0 to 9999. The
 * day's name is checked to be one, not to be the right one; second 60 is the next minute's
 * first. */
WEIR_MUST_USE int date_parse(struct weir_str text, int64_t now, int64_t *seconds);

/* Days from 1970-01-01 to a date of the Gregorian calendar; month 1 to 12. */
int64_t date_days_from_civil(int64_t year, unsigned month, unsigned day);

/* The Date field, written once a second. Zeroed it is empty; one for each loop, touched by that
 * loop's thread alone. */
struct date_cache {
    int64_t seconds;
    bool is_set;
    char text[DATE_BYTES];
};

/* Borrowed until the next call with another second, be it later or, after the clock was set
 * back, earlier. */
struct weir_str date_cached(struct date_cache *cache, int64_t seconds);

/* The same for the forms of logs, both of them: many lines tell of one second. */
struct date_log_cache {
    int64_t seconds;
    bool is_set;
    char iso[DATE_ISO_BYTES], log[DATE_LOG_BYTES];
};

void date_log_refresh(struct date_log_cache *cache, int64_t seconds);

#endif
