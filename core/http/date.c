/* SPDX-License-Identifier: MIT */
/* HTTP dates: the Gregorian calendar in whole days, and the three spellings. */
#include "http/date.h"

#include <errno.h>

#define S_PER_DAY 86400

/* The first second of year 0 and the last of year 9999. */
#define SECONDS_MIN INT64_C(-62167219200)
#define SECONDS_MAX INT64_C(253402300799)

static const char day_names[7][10] = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday",
    "Friday", "Saturday" };
static const char month_names[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
    "Sep", "Oct", "Nov", "Dec" };

struct civil {
    int64_t year;
    unsigned month, day; /* from 1 */
};

/* Years are counted from March here, so that the leap day is the last of its year, in eras of
 * 400 years, all of which have the same number of days. */
#define DAYS_PER_ERA 146097
#define EPOCH_DAYS   719468 /* from 0000-03-01 to 1970-01-01 */

int64_t
date_days_from_civil(int64_t year, unsigned month, unsigned day)
{
    if (month <= 2) {
        year--;
    }
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t month_from_march = (month + 9) % 12;
    int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * DAYS_PER_ERA + day_of_era - EPOCH_DAYS;
}

static struct civil
civil_from_days(int64_t days)
{
    days += EPOCH_DAYS;
    int64_t era = (days >= 0 ? days : days - (DAYS_PER_ERA - 1)) / DAYS_PER_ERA;
    int64_t day_of_era = days - era * DAYS_PER_ERA;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 -
                                  day_of_era / 146096) /
            365;
    int64_t day_of_year = day_of_era -
            (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    struct civil civil = {
        .day = (unsigned)(day_of_year - (153 * month_from_march + 2) / 5 + 1),
        .month = (unsigned)((month_from_march + 2) % 12 + 1),
    };
    civil.year = era * 400 + year_of_era + (civil.month <= 2 ? 1 : 0);
    return civil;
}

static unsigned
days_in_month(int64_t year, unsigned month)
{
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month == 2) {
        return is_leap ? 29 : 28;
    }
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/* Days that have begun since 1970, also before it. */
static int64_t
days_of(int64_t seconds)
{
    int64_t days = seconds / S_PER_DAY;
    return seconds % S_PER_DAY < 0 ? days - 1 : days;
}

static void
put_two(char *dst, int64_t value)
{
    dst[0] = (char)('0' + value / 10);
    dst[1] = (char)('0' + value % 10);
}

/* A second, taken apart; the nearest that can be written. */
struct moment {
    struct civil civil;
    int64_t days;   /* since 1970 */
    int64_t second; /* of the day */
};

static struct moment
moment_of(int64_t seconds)
{
    if (seconds < SECONDS_MIN) {
        seconds = SECONDS_MIN;
    } else if (seconds > SECONDS_MAX) {
        seconds = SECONDS_MAX;
    }
    int64_t days = days_of(seconds);
    return (struct moment){ civil_from_days(days), days, seconds - days * S_PER_DAY };
}

static void
put_year(char *dst, int64_t year)
{
    put_two(dst, year / 100);
    put_two(dst + 2, year % 100);
}

/* "hh:mm:ss", of which the colons are there. */
static void
put_time(char *dst, int64_t second)
{
    put_two(dst, second / 3600);
    put_two(dst + 3, second / 60 % 60);
    put_two(dst + 6, second % 60);
}

void
date_format(char *dst, int64_t seconds)
{
    struct moment moment = moment_of(seconds);
    int64_t weekday = ((moment.days + 4) % 7 + 7) % 7; /* 1970-01-01 was a Thursday */

    memcpy(dst, "Day, 00 Mon 0000 00:00:00 GMT", DATE_BYTES);
    memcpy(dst, day_names[weekday], 3);
    put_two(dst + 5, moment.civil.day);
    memcpy(dst + 8, month_names[moment.civil.month - 1], 3);
    put_year(dst + 12, moment.civil.year);
    put_time(dst + 17, moment.second);
}

void
date_format_iso(char *dst, int64_t seconds)
{
    struct moment moment = moment_of(seconds);
    memcpy(dst, "0000-00-00T00:00:00", DATE_ISO_BYTES);
    put_year(dst, moment.civil.year);
    put_two(dst + 5, moment.civil.month);
    put_two(dst + 8, moment.civil.day);
    put_time(dst + 11, moment.second);
}

void
date_format_log(char *dst, int64_t seconds)
{
    struct moment moment = moment_of(seconds);
    memcpy(dst, "00/Mon/0000:00:00:00 +0000", DATE_LOG_BYTES);
    put_two(dst, moment.civil.day);
    memcpy(dst + 3, month_names[moment.civil.month - 1], 3);
    put_year(dst + 7, moment.civil.year);
    put_time(dst + 12, moment.second);
}

/* What a text says before its year is settled. */
struct reading {
    struct weir_str rest; /* not read yet */
    int64_t year;
    unsigned month, day;
    int64_t hour, minute, second;
};

static bool
take(struct reading *reading, struct weir_str text)
{
    if (!weir_str_starts_with(reading->rest, text)) {
        return false;
    }
    reading->rest.ptr += text.len;
    reading->rest.len -= text.len;
    return true;
}

static bool
take_digits(struct reading *reading, size_t digits, int64_t *value)
{
    if (reading->rest.len < digits) {
        return false;
    }
    int64_t number = 0;
    for (size_t i = 0; i < digits; i++) {
        char c = reading->rest.ptr[i];
        if (c < '0' || c > '9') {
            return false;
        }
        number = number * 10 + (c - '0');
    }
    reading->rest.ptr += digits;
    reading->rest.len -= digits;
    *value = number;
    return true;
}

/* Case matters (RFC 9110 section 5.6.7). */
static bool
take_month(struct reading *reading)
{
    for (unsigned i = 0; i < 12; i++) {
        if (take(reading, weir_str_make(month_names[i], 3))) {
            reading->month = i + 1;
            return true;
        }
    }
    return false;
}

static bool
take_day(struct reading *reading, size_t digits)
{
    int64_t day;
    if (!take_digits(reading, digits, &day)) {
        return false;
    }
    reading->day = (unsigned)day;
    return true;
}

static bool
take_time(struct reading *reading)
{
    return take_digits(reading, 2, &reading->hour) && take(reading, WEIR_STR(":")) &&
            take_digits(reading, 2, &reading->minute) && take(reading, WEIR_STR(":")) &&
            take_digits(reading, 2, &reading->second);
}

/* ", 06 Nov 1994 08:49:37 GMT" */
static bool
take_imf_fixdate(struct reading *reading)
{
    return take(reading, WEIR_STR(", ")) && take_day(reading, 2) &&
            take(reading, WEIR_STR(" ")) && take_month(reading) &&
            take(reading, WEIR_STR(" ")) && take_digits(reading, 4, &reading->year) &&
            take(reading, WEIR_STR(" ")) && take_time(reading) &&
            take(reading, WEIR_STR(" GMT"));
}

static int64_t
seconds_of(const struct reading *reading)
{
    int64_t days = date_days_from_civil(reading->year, reading->month, reading->day);
    return days * S_PER_DAY + reading->hour * 3600 + reading->minute * 60 + reading->second;
}

/* ", 06-Nov-94 08:49:37 GMT". More than 50 years ahead means the past (RFC 9110 5.6.7). */
static bool
take_rfc850(struct reading *reading, int64_t now)
{
    int64_t two_digits;
    if (!take(reading, WEIR_STR(", ")) || !take_day(reading, 2) ||
            !take(reading, WEIR_STR("-")) || !take_month(reading) ||
            !take(reading, WEIR_STR("-")) || !take_digits(reading, 2, &two_digits) ||
            !take(reading, WEIR_STR(" ")) || !take_time(reading) ||
            !take(reading, WEIR_STR(" GMT"))) {
        return false;
    }
    if (now < SECONDS_MIN) {
        now = SECONDS_MIN;
    } else if (now > SECONDS_MAX) {
        now = SECONDS_MAX;
    }
    int64_t today = days_of(now);
    struct civil civil = civil_from_days(today);
    int64_t latest = date_days_from_civil(civil.year + 50, civil.month, civil.day) * S_PER_DAY +
            (now - today * S_PER_DAY);

    reading->year = (civil.year / 100 + 1) * 100 + two_digits;
    while (seconds_of(reading) > latest) {
        reading->year -= 100;
    }
    return true;
}

/* " Nov  6 08:49:37 1994" */
static bool
take_asctime(struct reading *reading)
{
    return take(reading, WEIR_STR(" ")) && take_month(reading) &&
            take(reading, WEIR_STR(" ")) &&
            (take(reading, WEIR_STR(" ")) ? take_day(reading, 1) : take_day(reading, 2)) &&
            take(reading, WEIR_STR(" ")) && take_time(reading) &&
            take(reading, WEIR_STR(" ")) && take_digits(reading, 4, &reading->year);
}

/* The name of the day tells the forms apart: long in RFC 850's, followed by a comma in the
 * fixed form's. */
static bool
take_date(struct reading *reading, int64_t now)
{
    for (unsigned i = 0; i < 7; i++) {
        if (take(reading, weir_str_from(day_names[i]))) {
            return take_rfc850(reading, now);
        }
        if (take(reading, weir_str_make(day_names[i], 3))) {
            bool is_fixed = reading->rest.len > 0 && reading->rest.ptr[0] == ',';
            return is_fixed ? take_imf_fixdate(reading) : take_asctime(reading);
        }
    }
    return false;
}

int
date_parse(struct weir_str text, int64_t now, int64_t *seconds)
{
    struct reading reading = { .rest = text };
    if (!take_date(&reading, now) || reading.rest.len != 0) {
        return -EINVAL;
    }
    /* Of years, only RFC 850's two digits can lead outside, with a clock far off. */
    if (reading.year < 0 || reading.year > 9999 || reading.day < 1 ||
            reading.day > days_in_month(reading.year, reading.month) || reading.hour > 23 ||
            reading.minute > 59 || reading.second > 60) {
        return -EINVAL;
    }
    *seconds = seconds_of(&reading);
    return 0;
}

struct weir_str
date_cached(struct date_cache *cache, int64_t seconds)
{
    if (!cache->is_set || cache->seconds != seconds) {
        date_format(cache->text, seconds);
        cache->seconds = seconds;
        cache->is_set = true;
    }
    return weir_str_make(cache->text, DATE_BYTES);
}

void
date_log_refresh(struct date_log_cache *cache, int64_t seconds)
{
    if (!cache->is_set || cache->seconds != seconds) {
        date_format_iso(cache->iso, seconds);
        date_format_log(cache->log, seconds);
        cache->seconds = seconds;
        cache->is_set = true;
    }
}
