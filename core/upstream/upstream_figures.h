/* SPDX-License-Identifier: MIT */
/* What a loop counts of its upstreams, in its shard (observe/metric.h). Labels are names and
 * addresses of the configuration, not those that names stand for, and words for what became of
 * an exchange. Series are made when there is something to count. Thread: the loop's. */
#ifndef WEIR_UPSTREAM_UPSTREAM_FIGURES_H
#define WEIR_UPSTREAM_UPSTREAM_FIGURES_H

#include <weir/exchange.h>

#include "observe/metric.h"

struct upstream_group;
struct upstream_target;

/* What there is of a target's; NULL: none yet. */
struct upstream_figures {
    metric_cell *results[WEIR_EXCHANGE_UNAVAILABLE + 1];
    metric_cell *duration; /* a histogram */
    metric_cell *opened, *open, *idle, *replays, *ejections;
    /* Its part of gauges that the addresses of one name share. */
    uint64_t open_shown, idle_shown, up_shown, down_shown;
};

/* A word for a result: the public one (weir_exchange_error_label()). */
const char *upstream_result_word(enum weir_exchange_error error);

/* An exchange is over; `target` is the one asked last, NULL: none was. */
void upstream_count_result(struct upstream_group *group, struct upstream_target *target,
        enum weir_exchange_error error);

/* The head of an answer is there, so long after the exchange began. */
void upstream_observe_head(struct upstream_target *target, uint64_t ns);

/* A connection was opened; everything was sent once more; it is passed over; and how many there
 * are has changed.
 */
void upstream_count_opened(struct upstream_target *target);
void upstream_count_replay(struct upstream_target *target);
void upstream_count_ejection(struct upstream_target *target);
void upstream_show_connections(struct upstream_target *target);

/* Another target is asked since this one came to nothing, for one of WEIR_RETRY_...; and that
 * was not done, since the budget was spent. */
void upstream_count_retry(struct upstream_target *target, uint32_t reason);
void upstream_count_retry_refused(struct upstream_group *group);
/* A check has ended; the target is up or down from now on, or neither: it is not checked any
 * more. */
void upstream_count_check(struct upstream_target *target, const char *result);
void upstream_show_health(struct upstream_target *target, bool is_up, bool is_down);

/* Fields of a request were left out, since there is an underscore in their names (F42). */
void upstream_count_underscores(struct upstream_group *group, uint64_t count);

/* A name was asked for, and how many addresses it stands for. */
void upstream_count_lookup(struct upstream_group *group, struct weir_str name,
        const char *result);
void upstream_show_addresses(struct upstream_group *group, struct weir_str name,
        uint64_t count);

/* How many wait has changed. */
void upstream_show_queue(struct upstream_group *group);

#endif
