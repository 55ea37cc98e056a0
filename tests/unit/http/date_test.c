/* SPDX-License-Identifier: MIT */
#include "http/date.h"

#include <errno.h>
#include <time.h>

#include "support/unit.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* 1994-11-06 08:49:37, the example of RFC 9110 section 5.6.7. */
#define EXAMPLE INT64_C(784111777)
/* 2024-06-15 12:00:00 */
#define NOW INT64_C(1718452800)

static const struct {
    const char *why;
    int64_t seconds;
    const char *text;
} formats[] = {
    { "the RFC's example", EXAMPLE, "Sun, 06 Nov 1994 08:49:37 GMT" },
    { "the epoch", 0, "Thu, 01 Jan 1970 00:00:00 GMT" },
    { "the second before the epoch", -1, "Wed, 31 Dec 1969 23:59:59 GMT" },
    { "a leap day", 951782400, "Tue, 29 Feb 2000 00:00:00 GMT" },
    { "1900 has none", -2203891200, "Thu, 01 Mar 1900 00:00:00 GMT" },
    { "past 32 bits", INT64_C(4294967296), "Sun, 07 Feb 2106 06:28:16 GMT" },
    { "the last second it can write", INT64_C(253402300799), "Fri, 31 Dec 9999 23:59:59 GMT" },
    { "one later is the same", INT64_C(253402300800), "Fri, 31 Dec 9999 23:59:59 GMT" },
    { "the largest is the same", INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT" },
    { "the smallest", INT64_MIN, "Sat, 01 Jan 0000 00:00:00 GMT" },
};

START_TEST(writes_the_fixed_form)
{
    char text[DATE_BYTES];
    date_format(text, formats[_i].seconds);
    unit_check(weir_str_eq(weir_str_make(text, DATE_BYTES), weir_str_from(formats[_i].text)),
            formats[_i].why);
}
END_TEST

static const struct {
    int64_t seconds;
    const char *iso, *log;
} log_formats[] = {
    { EXAMPLE, "1994-11-06T08:49:37", "06/Nov/1994:08:49:37 +0000" },
    { 0, "1970-01-01T00:00:00", "01/Jan/1970:00:00:00 +0000" },
    { 951782400 + 86399, "2000-02-29T23:59:59", "29/Feb/2000:23:59:59 +0000" },
    { INT64_MAX, "9999-12-31T23:59:59", "31/Dec/9999:23:59:59 +0000" },
    { INT64_MIN, "0000-01-01T00:00:00", "01/Jan/0000:00:00:00 +0000" },
};

START_TEST(writes_the_forms_of_logs)
{
    char iso[DATE_ISO_BYTES], log[DATE_LOG_BYTES];
    date_format_iso(iso, log_formats[_i].seconds);
    date_format_log(log, log_formats[_i].seconds);
    unit_check(weir_str_eq(weir_str_make(iso, sizeof(iso)), weir_str_from(log_formats[_i].iso)),
            log_formats[_i].iso);
    unit_check(weir_str_eq(weir_str_make(log, sizeof(log)), weir_str_from(log_formats[_i].log)),
            log_formats[_i].log);
}
END_TEST

START_TEST(writes_the_forms_of_logs_anew_when_the_second_is_another)
{
    struct date_log_cache cache = { .is_set = false };
    static const int64_t seconds[] = { EXAMPLE, EXAMPLE, EXAMPLE + 1, EXAMPLE - 100, 0 };
    for (size_t i = 0; i < COUNT(seconds); i++) {
        char iso[DATE_ISO_BYTES], log[DATE_LOG_BYTES];
        date_format_iso(iso, seconds[i]);
        date_format_log(log, seconds[i]);
        date_log_refresh(&cache, seconds[i]);
        ck_assert_mem_eq(cache.iso, iso, sizeof(iso));
        ck_assert_mem_eq(cache.log, log, sizeof(log));
    }
}
END_TEST

static const struct {
    const char *why, *text;
    int64_t now;
    int want;
    int64_t seconds;
} cases[] = {
    { "the fixed form", "Sun, 06 Nov 1994 08:49:37 GMT", NOW, 0, EXAMPLE },
    { "RFC 850's form", "Sunday, 06-Nov-94 08:49:37 GMT", NOW, 0, EXAMPLE },
    { "asctime()'s form", "Sun Nov  6 08:49:37 1994", NOW, 0, EXAMPLE },
    { "asctime()'s form with two digits", "Sat Nov 26 08:49:37 1994", NOW, 0,
            EXAMPLE + 20 * 86400 },
    { "the name of another day", "Mon, 06 Nov 1994 08:49:37 GMT", NOW, 0, EXAMPLE },
    { "a leap second is the next minute's first", "Sun, 06 Nov 1994 08:49:60 GMT", NOW, 0,
            EXAMPLE + 23 },
    { "a leap day", "Thu, 29 Feb 2024 00:00:00 GMT", NOW, 0, 1709164800 },
    { "year 0", "Sat, 01 Jan 0000 00:00:00 GMT", NOW, 0, INT64_C(-62167219200) },
    { "year 9999", "Fri, 31 Dec 9999 23:59:59 GMT", NOW, 0, INT64_C(253402300799) },

    { "two digits, this century", "Saturday, 15-Jun-24 12:00:00 GMT", NOW, 0, NOW },
    { "exactly 50 years ahead is ahead", "Friday, 15-Jun-74 12:00:00 GMT", NOW, 0,
            INT64_C(3296289600) },
    { "a second more is the past", "Friday, 15-Jun-74 12:00:01 GMT", NOW, 0, 140529601 },
    { "two digits, the last century", "Sunday, 06-Nov-94 08:49:37 GMT", NOW, 0, EXAMPLE },
    { "seen in 1994, 05 is ahead", "Sunday, 06-Nov-05 08:49:37 GMT", EXAMPLE, 0, 1131266977 },
    { "seen in 1994, 44 is ahead", "Sunday, 06-Nov-44 08:49:37 GMT", EXAMPLE, 0,
            INT64_C(2362034977) },
    { "seen in 1994, 45 is the past", "Sunday, 06-Nov-45 08:49:37 GMT", EXAMPLE, 0,
            -762189023 },
    { "a leap day that this century's end does not have", "Thursday, 29-Feb-00 00:00:00 GMT",
            INT64_C(3755289600) /* 2089 */, -EINVAL, 0 },
    { "a clock far off", "Sunday, 06-Nov-94 08:49:37 GMT", INT64_MAX, 0,
            INT64_C(253239727777) },

    { "a clock far off, and two digits before year 0", "Sunday, 06-Nov-94 08:49:37 GMT",
            INT64_MIN, -EINVAL, 0 },
    { "nothing", "", NOW, -EINVAL, 0 },
    { "a number", "784111777", NOW, -EINVAL, 0 },
    { "a zone that is not GMT", "Sun, 06 Nov 1994 08:49:37 UTC", NOW, -EINVAL, 0 },
    { "an offset", "Sun, 06 Nov 1994 08:49:37 +0000", NOW, -EINVAL, 0 },
    { "no zone", "Sun, 06 Nov 1994 08:49:37", NOW, -EINVAL, 0 },
    { "lower case", "sun, 06 nov 1994 08:49:37 gmt", NOW, -EINVAL, 0 },
    { "a day that is none", "Son, 06 Nov 1994 08:49:37 GMT", NOW, -EINVAL, 0 },
    { "a month that is none", "Sun, 06 Nev 1994 08:49:37 GMT", NOW, -EINVAL, 0 },
    { "one digit for a day", "Sun, 6 Nov 1994 08:49:37 GMT", NOW, -EINVAL, 0 },
    { "a sign", "Sun, +6 Nov 1994 08:49:37 GMT", NOW, -EINVAL, 0 },
    { "day 0", "Sun, 00 Nov 1994 08:49:37 GMT", NOW, -EINVAL, 0 },
    { "day 31 of 30", "Sun, 31 Nov 1994 08:49:37 GMT", NOW, -EINVAL, 0 },
    { "a leap day in another year", "Sun, 29 Feb 2023 08:49:37 GMT", NOW, -EINVAL, 0 },
    { "a leap day in 2100", "Sun, 29 Feb 2100 08:49:37 GMT", NOW, -EINVAL, 0 },
    { "hour 24", "Sun, 06 Nov 1994 24:00:00 GMT", NOW, -EINVAL, 0 },
    { "minute 60", "Sun, 06 Nov 1994 08:60:00 GMT", NOW, -EINVAL, 0 },
    { "second 61", "Sun, 06 Nov 1994 08:49:61 GMT", NOW, -EINVAL, 0 },
    { "a space behind", "Sun, 06 Nov 1994 08:49:37 GMT ", NOW, -EINVAL, 0 },
    { "two spaces", "Sun,  06 Nov 1994 08:49:37 GMT", NOW, -EINVAL, 0 },
    { "a year of five digits", "Sun, 06 Nov 11994 08:49:37 GMT", NOW, -EINVAL, 0 },
    { "RFC 850's form with four", "Sunday, 06-Nov-1994 08:49:37 GMT", NOW, -EINVAL, 0 },
    { "asctime()'s form with a zero", "Sun Nov 06 08:49:37 1994 GMT", NOW, -EINVAL, 0 },
};

START_TEST(reads_the_three_forms)
{
    int64_t seconds = 77;
    int r = date_parse(weir_str_from(cases[_i].text), cases[_i].now, &seconds);
    unit_check(r == cases[_i].want, cases[_i].why);
    unit_check(seconds == (r == 0 ? cases[_i].seconds : 77), cases[_i].why);
}
END_TEST

START_TEST(refuses_every_beginning_of_a_date)
{
    static const char *const texts[] = { "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994" };
    for (size_t i = 0; i < COUNT(texts); i++) {
        for (size_t len = 0; len < strlen(texts[i]); len++) {
            char *part = malloc(len + 1); /* a sanitizer sees a byte too many */
            int64_t seconds;
            memcpy(part, texts[i], len);
            ck_assert_int_eq(date_parse(weir_str_make(part, len), NOW, &seconds), -EINVAL);
            free(part);
        }
    }
}
END_TEST

/* The C library as a second opinion, over eight thousand years in steps that hit every day of
 * the year and every hour. */
START_TEST(agrees_with_the_c_library)
{
    for (int64_t seconds = INT64_C(-62167219200); seconds < INT64_C(190000000000);
            seconds += 9999991) {
        time_t t = (time_t)seconds;
        struct tm tm;
        ck_assert_ptr_nonnull(gmtime_r(&t, &tm));
        int64_t days = date_days_from_civil(tm.tm_year + INT64_C(1900), (unsigned)tm.tm_mon + 1,
                (unsigned)tm.tm_mday);
        ck_assert_int_eq(days * 86400 + tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec,
                seconds);

        char text[DATE_BYTES];
        int64_t back;
        date_format(text, seconds);
        ck_assert_int_eq(text[5] - '0', tm.tm_mday / 10);
        ck_assert_int_eq(text[6] - '0', tm.tm_mday % 10);
        ck_assert(memcmp(text, &"SunMonTueWedThuFriSat"[3 * tm.tm_wday], 3) == 0);
        ck_assert_int_eq(date_parse(weir_str_make(text, DATE_BYTES), NOW, &back), 0);
        ck_assert_int_eq(back, seconds);
    }
}
END_TEST

START_TEST(writes_the_cached_date_anew_when_the_second_changes)
{
    struct date_cache cache = { .is_set = false };
    struct weir_str epoch = date_cached(&cache, 0);
    ck_assert(weir_str_eq(epoch, WEIR_STR("Thu, 01 Jan 1970 00:00:00 GMT")));

    struct weir_str date = date_cached(&cache, EXAMPLE);
    ck_assert(weir_str_eq(date, WEIR_STR("Sun, 06 Nov 1994 08:49:37 GMT")));
    cache.text[0] = '!'; /* shows whether it is written */
    ck_assert_int_eq(date_cached(&cache, EXAMPLE).ptr[0], '!');
    date = date_cached(&cache, EXAMPLE + 1);
    ck_assert(weir_str_eq(date, WEIR_STR("Sun, 06 Nov 1994 08:49:38 GMT")));
    date = date_cached(&cache, EXAMPLE - 3600); /* the clock was set back */
    ck_assert(weir_str_eq(date, WEIR_STR("Sun, 06 Nov 1994 07:49:37 GMT")));
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, writes_the_fixed_form, 0, COUNT(formats));
    tcase_add_loop_test(tests, writes_the_forms_of_logs, 0, COUNT(log_formats));
    tcase_add_test(tests, writes_the_forms_of_logs_anew_when_the_second_is_another);
    tcase_add_loop_test(tests, reads_the_three_forms, 0, COUNT(cases));
    tcase_add_test(tests, refuses_every_beginning_of_a_date);
    tcase_add_test(tests, agrees_with_the_c_library);
    tcase_add_test(tests, writes_the_cached_date_anew_when_the_second_changes);
}

UNIT_MAIN("http/date", add_tests)
