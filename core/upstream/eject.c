/* SPDX-License-Identifier: MIT */
#include "upstream/eject.h"

#include "base/clock.h"
#include "base/random.h"

/* How long it is out this time, without jitter. */
static uint64_t
time_out_ns(const struct eject *eject, const struct eject_settings *settings)
{
    uint64_t ns = settings->for_ns;
    for (uint64_t i = 1; i < eject->times && ns < settings->for_max_ns; i++) {
        ns = clock_add_ns(ns, ns);
    }
    return ns < settings->for_max_ns ? ns : settings->for_max_ns;
}

static void
go_out(struct eject *eject, const struct eject_settings *settings, uint64_t now_ns)
{
    /* Forgotten when it has worked for longer than it was out. */
    bool is_soon = eject->times > 0 &&
            (eject->in_since_ns == 0 || now_ns - eject->in_since_ns <= eject->out_ns);
    eject->times = is_soon ? eject->times + 1 : 1;
    eject->out_ns = time_out_ns(eject, settings);
    uint64_t jitter_ns = random_below(eject->out_ns / EJECT_JITTER_PARTS + 1);
    eject->out_until_ns = clock_add_ns(now_ns, clock_add_ns(eject->out_ns, jitter_ns));
    eject->in_since_ns = 0;
    eject->failures = 0;
    eject->is_tried = false;
}

bool
eject_failed(struct eject *eject, const struct eject_settings *settings, uint64_t now_ns,
        bool may)
{
    if (settings->failures == 0) {
        return false;
    }
    if (eject->out_until_ns != 0) {
        if (!eject->is_tried && eject_is_out(eject, now_ns)) {
            return false; /* nothing new */
        }
        eject->failures = settings->failures; /* on trial one is enough */
    } else if (eject->failures == 0 || now_ns - eject->first_ns > settings->within_ns) {
        eject->failures = 1;
        eject->first_ns = now_ns;
    } else {
        eject->failures++;
    }
    if (!may || eject->failures < settings->failures) {
        eject->out_until_ns = 0;
        eject->is_tried = false;
        return false;
    }
    go_out(eject, settings, now_ns);
    return true;
}

bool
eject_worked(struct eject *eject, uint64_t now_ns)
{
    bool was_out = eject->out_until_ns != 0;
    eject->failures = 0;
    if (was_out) {
        eject->out_until_ns = 0;
        eject->is_tried = false;
        eject->in_since_ns = now_ns;
    }
    return was_out;
}

void
eject_asked(struct eject *eject, const struct eject_settings *settings, uint64_t now_ns)
{
    if (eject->out_until_ns != 0 && eject->out_until_ns <= now_ns) {
        eject->is_tried = true;
        eject->out_until_ns = clock_add_ns(now_ns, settings->for_ns);
    }
}

bool
eject_has_room(const struct eject_settings *settings, size_t out, size_t count)
{
    return (out + 1) * 100 <= count * (uint64_t)settings->max_percent;
}

bool
eject_counts_status(const struct eject_settings *settings, unsigned status)
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
