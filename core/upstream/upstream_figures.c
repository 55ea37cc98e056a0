/* SPDX-License-Identifier: MIT */
#include "upstream/upstream_figures.h"

#include "upstream/group.h"

/* What is written where there is no room, and never read. */
static metric_cell nowhere[METRIC_HISTOGRAM_CELLS];

const char *
upstream_result_word(enum weir_exchange_error error)
{
    switch (error) {
    case WEIR_EXCHANGE_FINE:
        return "fine";
    case WEIR_EXCHANGE_REFUSED:
        return "refused";
    case WEIR_EXCHANGE_UNREACHABLE:
        return "unreachable";
    case WEIR_EXCHANGE_CONNECT_TIMEOUT:
        return "connect_timeout";
    case WEIR_EXCHANGE_SEND_TIMEOUT:
        return "send_timeout";
    case WEIR_EXCHANGE_READ_TIMEOUT:
        return "read_timeout";
    case WEIR_EXCHANGE_CLOSED:
        return "closed";
    case WEIR_EXCHANGE_BAD_ANSWER:
        return "bad_answer";
    case WEIR_EXCHANGE_HEAD_TOO_LARGE:
        return "head_too_large";
    case WEIR_EXCHANGE_BUSY:
        return "busy";
    case WEIR_EXCHANGE_QUEUE_TIMEOUT:
        return "queue_timeout";
    case WEIR_EXCHANGE_BODY:
        return "body";
    case WEIR_EXCHANGE_EXHAUSTED:
        return "exhausted";
    case WEIR_EXCHANGE_UNRESOLVED:
        return "unresolved";
    case WEIR_EXCHANGE_UNAVAILABLE:
        return "unavailable";
    case WEIR_EXCHANGE_ABORTED:
        break;
    }
    return "aborted";
}

/* The cells of a series about whatever bears the name `target`; `label` NULL: without one more.
 */
static metric_cell *
find_named(struct upstream_group *group, struct weir_str target, enum weir_metric_type type,
        const char *name, const char *help, const char *label, const char *word)
{
    char labels[METRIC_LABELS_BYTES];
    size_t len = 0;
    struct metric_shard *shard = group->all->shard;
    if (shard == NULL) {
        return nowhere;
    }
    metric_label(labels, &len, "upstream", group->settings->name);
    metric_label(labels, &len, "target", target);
    if (label != NULL) {
        metric_label(labels, &len, label, weir_str_from(word));
    }
    metric_cell *cells = metric_series(shard, type, name, help, weir_str_make(labels, len));
    return cells == NULL ? nowhere : cells;
}

/* The same about one target; NULL: about none. */
static metric_cell *
find(struct upstream_group *group, struct upstream_target *target, enum weir_metric_type type,
        const char *name, const char *help, const char *label, const char *word)
{
    struct weir_str named = target == NULL ? weir_str_make("", 0) : target->settings.label;
    return find_named(group, named, type, name, help, label, word);
}

void
upstream_count_result(struct upstream_group *group, struct upstream_target *target,
        enum weir_exchange_error error)
{
    metric_cell *cell = target == NULL ? NULL : target->figures.results[error];
    if (cell == NULL) {
        cell = find(group, target, WEIR_METRIC_COUNTER, "weir_upstream_exchanges_total",
                "Exchanges with upstreams that are over, by how", "result",
                upstream_result_word(error));
    }
    if (target != NULL) {
        target->figures.results[error] = cell;
    }
    metric_add(cell, 1);
}

void
upstream_observe_head(struct upstream_target *target, uint64_t ns)
{
    struct upstream_figures *figures = &target->figures;
    if (figures->duration == NULL) {
        figures->duration = find(target->group, target, WEIR_METRIC_HISTOGRAM,
                "weir_upstream_head_duration_seconds",
                "Time from the beginning of an exchange to the head of its answer", NULL, NULL);
    }
    metric_observe_ns(WEIR_METRIC_HISTOGRAM, figures->duration, ns);
}

void
upstream_count_opened(struct upstream_target *target)
{
    struct upstream_figures *figures = &target->figures;
    if (figures->opened == NULL) {
        figures->opened = find(target->group, target, WEIR_METRIC_COUNTER,
                "weir_upstream_connections_opened_total",
                "Connections to upstreams that were begun", NULL, NULL);
    }
    metric_add(figures->opened, 1);
}

void
upstream_count_replay(struct upstream_target *target)
{
    struct upstream_figures *figures = &target->figures;
    if (figures->replays == NULL) {
        figures->replays = find(target->group, target, WEIR_METRIC_COUNTER,
                "weir_upstream_replays_total",
                "Exchanges sent again, since a connection that was kept had ended", NULL, NULL);
    }
    metric_add(figures->replays, 1);
}

/* Seldom enough to be looked up each time. */
void
upstream_count_retry(struct upstream_target *target, uint32_t reason)
{
    metric_add(find(target->group, target, WEIR_METRIC_COUNTER, "weir_upstream_retries_total",
                       "Exchanges that went on to another target, by why", "reason",
                       retry_reason_word(reason)),
            1);
}

void
upstream_count_retry_refused(struct upstream_group *group)
{
    metric_add(
            find(group, NULL, WEIR_METRIC_COUNTER, "weir_upstream_retries_refused_total",
                    "Exchanges that would have gone on to another target, but for the budget",
                    NULL, NULL),
            1);
}

void
upstream_count_underscores(struct upstream_group *group, uint64_t count)
{
    metric_add(find(group, NULL, WEIR_METRIC_COUNTER, "weir_upstream_fields_dropped_total",
                       "Fields of requests that were not passed on, by why", "reason",
                       "underscore"),
            count);
}

void
upstream_count_ejection(struct upstream_target *target)
{
    struct upstream_figures *figures = &target->figures;
    if (figures->ejections == NULL) {
        figures->ejections = find(target->group, target, WEIR_METRIC_COUNTER,
                "weir_upstream_ejections_total",
                "Times that an event loop passed a target over, since it kept failing", NULL,
                NULL);
    }
    metric_add(figures->ejections, 1);
}

void
upstream_show_connections(struct upstream_target *target)
{
    struct upstream_figures *figures = &target->figures;
    if (figures->open == NULL) {
        figures->open = find(target->group, target, WEIR_METRIC_GAUGE,
                "weir_upstream_connections",
                "Open connections to upstreams, idle ones included", NULL, NULL);
        figures->idle = find(target->group, target, WEIR_METRIC_GAUGE,
                "weir_upstream_connections_idle", "Connections to upstreams kept for the next",
                NULL, NULL);
    }
    /* The addresses of one name have one label: each adds its own. */
    metric_add(figures->open, target->open_count - figures->open_shown);
    metric_add(figures->idle, target->idle_count - figures->idle_shown);
    figures->open_shown = target->open_count;
    figures->idle_shown = target->idle_count;
}

void
upstream_count_check(struct upstream_target *target, const char *result)
{
    metric_cell *cell = find(target->group, target, WEIR_METRIC_COUNTER,
            "weir_upstream_checks_total", "Checks of targets that have ended, by result",
            "result", result);
    metric_add(cell, 1);
}

void
upstream_show_health(struct upstream_target *target, bool is_up, bool is_down)
{
    metric_cell *up = find(target->group, target, WEIR_METRIC_GAUGE, "weir_upstream_target_up",
            "Workers whose checks have it that a target is up", NULL, NULL);
    metric_cell *down = find(target->group, target, WEIR_METRIC_GAUGE,
            "weir_upstream_target_down", "Workers whose checks have it that a target is down",
            NULL, NULL);
    struct upstream_figures *figures = &target->figures;
    metric_add(up, (uint64_t)is_up - figures->up_shown);
    metric_add(down, (uint64_t)is_down - figures->down_shown);
    figures->up_shown = is_up;
    figures->down_shown = is_down;
}

void
upstream_show_queue(struct upstream_group *group)
{
    if (group->queue_cell == NULL) {
        group->queue_cell = find(group, NULL, WEIR_METRIC_GAUGE, "weir_upstream_queued",
                "Requests that wait for a connection to an upstream", NULL, NULL);
    }
    metric_set(group->queue_cell, group->queued);
}

void
upstream_count_lookup(struct upstream_group *group, struct weir_str name, const char *result)
{
    metric_add(find_named(group, name, WEIR_METRIC_COUNTER, "weir_upstream_lookups_total",
                       "Names that were asked for, by what came of it", "result", result),
            1);
}

void
upstream_show_addresses(struct upstream_group *group, struct weir_str name, uint64_t count)
{
    metric_set(find_named(group, name, WEIR_METRIC_GAUGE, "weir_upstream_addresses",
                       "Addresses that a name stands for", NULL, NULL),
            count);
}
