/* SPDX-License-Identifier: MIT */
#include "upstream/health.h"

#include <stdio.h>
#include <string.h>
bool
health_note(struct health *health, const struct health_settings *settings, bool is_good)
{
    if (is_good != health->is_down) { /* as it is said to be */
        health->is_proven |= is_good;
        health->in_a_row = 0;
        return false;
    }
    if (++health->in_a_row < (uint64_t)(health->is_down ? settings->rise : settings->fall)) {
        return false;
    }
    health->is_down = !health->is_down;
    health->is_proven = true;
    health->in_a_row = 0;
    return true;
}

uint64_t
health_pause_ns(const struct health *health, const struct health_settings *settings,
        uint64_t random)
{
    uint64_t ns = settings->every_ns;
    if (!health->is_proven && ns > HEALTH_SOON_NS) {
        ns = HEALTH_SOON_NS;
    }
    uint64_t tenth_ns = ns / 10;
    return clock_add_ns(ns - tenth_ns, random % (2 * tenth_ns + 1));
}

uint64_t
health_first_ns(const struct health_settings *settings, uint64_t random)
{
    uint64_t ns = settings->every_ns < HEALTH_SOON_NS ? settings->every_ns : HEALTH_SOON_NS;
    return random % (ns + 1);
}

bool
health_expects_status(const struct health_settings *settings, unsigned status)
{
    for (size_t i = 0; i < settings->statuses.count; i++) {
        const struct weir_status *range = &WEIR_LIST_AT(struct weir_status, &settings->statuses,
                i);
        if (status >= range->first && status <= range->last) {
            return true;
        }
    }
    return false;
}

bool
health_expects_body(const struct health_settings *settings)
{
    return settings->body.len > 0 || settings->body_regex != NULL;
}

bool
health_body_is_good(const struct health_settings *settings, struct weir_str body)
{
    if (settings->body.len > 0 &&
            (body.len < settings->body.len ||
                    memmem(body.ptr, body.len, settings->body.ptr, settings->body.len) ==
                            NULL)) {
        return false;
    }
    return settings->body_regex == NULL || weir_regex_matches(settings->body_regex, body);
}

size_t
health_format_statuses(const struct health_settings *settings, char *dst, size_t bytes)
{
    size_t len = 0;
    for (size_t i = 0; i < settings->statuses.count && len < bytes; i++) {
        const struct weir_status *range = &WEIR_LIST_AT(struct weir_status, &settings->statuses,
                i);
        const char *comma = i == 0 ? "" : ", ";
        int n;
        if (range->first == range->last) {
            n = snprintf(dst + len, bytes - len, "%s%u", comma, range->first);
        } else if (range->first % 100 == 0 && range->last == range->first + 99) {
            n = snprintf(dst + len, bytes - len, "%s%uxx", comma, range->first / 100);
        } else {
            n = snprintf(dst + len, bytes - len, "%s%u-%u", comma, range->first, range->last);
        }
        len += n < 0 ? 0 : (size_t)n;
    }
    return len < bytes ? len : bytes == 0 ? 0 : bytes - 1;
}
