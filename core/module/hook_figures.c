/* SPDX-License-Identifier: MIT */
/* The cells of all calls stand one behind the other, so that a walk through hooks needs nothing
 * but their beginning; histograms are made when there is something to put into them. */
#include "module/hook_figures.h"

#include <stdlib.h>
#include <string.h>

#include "module/chain.h"

/* ---- names ------------------------------------------------------------------------------- */

/* What is asked for while the one generation of this process loads; read afterwards. */
static struct {
    const char *module; /* borrowed for ever: modules are never unloaded */
    enum weir_phase phase;
} known[HOOK_FIGURES_MAX];
static unsigned known_count;

uint16_t
hook_figures_at(const char *module, enum weir_phase phase)
{
    unsigned i = 0;
    while (i < known_count &&
            (known[i].phase != phase || strcmp(known[i].module, module) != 0)) {
        i++;
    }
    if (i == HOOK_FIGURES_MAX) {
        i--;
        known[i].module = "_OTHER";
    } else if (i == known_count) {
        known[i].module = module;
        known[i].phase = phase;
        known_count++;
    }
    return (uint16_t)(i * HOOK_VERDICTS);
}

static struct weir_str
labels_of(unsigned i, char *labels)
{
    size_t len = 0;
    metric_label(labels, &len, "module", weir_str_from(known[i].module));
    metric_label(labels, &len, "hook", weir_str_from(phase_name(known[i].phase)));
    return weir_str_make(labels, len);
}

/* ---- one loop ---------------------------------------------------------------------------- */

struct hook_figures {
    struct metric_shard *shard; /* borrowed */
    metric_cell *calls;
    uint32_t until_timed, random;
    struct {
        metric_cell *calls, *waits; /* histograms; NULL: none yet, or no room */
    } durations[HOOK_FIGURES_MAX];
};

metric_cell hook_figures_nowhere[HOOK_FIGURES_MAX * HOOK_VERDICTS];

/* The cells of all, one behind the other; NULL where there is no room for all. */
static metric_cell *
make_calls(struct metric_shard *shard)
{
    static const char *const verdicts[HOOK_VERDICTS] = { "next", "done", "pending", "failed" };
    metric_cell *calls = NULL;
    for (unsigned i = 0; i < known_count * HOOK_VERDICTS; i++) {
        char labels[METRIC_LABELS_BYTES];
        size_t len = labels_of(i / HOOK_VERDICTS, labels).len;
        metric_label(labels, &len, "verdict", weir_str_from(verdicts[i % HOOK_VERDICTS]));
        metric_cell *cell = metric_series(shard, WEIR_METRIC_COUNTER, "weir_hook_calls_total",
                "Calls of modules, by hook and by what they said", weir_str_make(labels, len));
        calls = i == 0 ? cell : calls;
        if (cell == NULL || cell != calls + i) {
            return NULL;
        }
    }
    return calls;
}

struct hook_figures *
hook_figures_new(struct metric_shard *shard)
{
    struct hook_figures *figures = calloc(1, sizeof(*figures));
    if (figures != NULL) {
        figures->shard = shard;
        figures->random = UINT32_C(0x9e3779b9) ^ (uint32_t)(uintptr_t)figures;
        figures->calls = make_calls(shard);
    }
    return figures;
}

void
hook_figures_free(struct hook_figures *figures)
{
    free(figures);
}

metric_cell *
hook_figures_calls(struct hook_figures *figures)
{
    return figures->calls == NULL ? hook_figures_nowhere : figures->calls;
}

bool
hook_figures_choose(struct hook_figures *figures)
{
    if (figures == NULL || figures->until_timed-- > 0) {
        return false;
    }
    /* xorshift32: a distance that no pattern of requests keeps step with. */
    figures->random ^= figures->random << 13;
    figures->random ^= figures->random >> 17;
    figures->random ^= figures->random << 5;
    figures->until_timed = figures->random % (2 * HOOK_TIMED_ONE_IN - 1);
    return true;
}

void
hook_figures_observe_call(struct hook_figures *figures, uint16_t at, uint64_t ns)
{
    if (figures == NULL) {
        return;
    }
    unsigned i = at / HOOK_VERDICTS;
    if (figures->durations[i].calls == NULL) {
        char labels[METRIC_LABELS_BYTES];
        figures->durations[i].calls = metric_series(figures->shard, WEIR_METRIC_SHORT_HISTOGRAM,
                "weir_hook_call_duration_seconds",
                "Time in a call of a module, for one request in 16 chosen at random",
                labels_of(i, labels));
    }
    if (figures->durations[i].calls != NULL) {
        metric_observe_ns(WEIR_METRIC_SHORT_HISTOGRAM, figures->durations[i].calls, ns);
    }
}

void
hook_figures_observe_wait(struct hook_figures *figures, uint16_t at, uint64_t ns)
{
    if (figures == NULL) {
        return;
    }
    unsigned i = at / HOOK_VERDICTS;
    if (figures->durations[i].waits == NULL) {
        char labels[METRIC_LABELS_BYTES];
        figures->durations[i].waits = metric_series(figures->shard, WEIR_METRIC_HISTOGRAM,
                "weir_hook_wait_duration_seconds",
                "Time that a module's hook waited, for whatever it was and however it ended",
                labels_of(i, labels));
    }
    if (figures->durations[i].waits != NULL) {
        metric_observe_ns(WEIR_METRIC_HISTOGRAM, figures->durations[i].waits, ns);
    }
}
