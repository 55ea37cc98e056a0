/* SPDX-License-Identifier: MIT */
/* What modules' hooks are called for and say, how long calls take and how long hooks wait, by
 * module and hook, without a line in the module (F124).
 *
 * Every call is counted by its verdict, where every instruction counts. Calls are timed for one
 * request in 16, chosen at random. */
#ifndef WEIR_MODULE_HOOK_FIGURES_H
#define WEIR_MODULE_HOOK_FIGURES_H

#include <weir/module.h>

#include "observe/metric.h"

#define HOOK_VERDICTS     4u /* enum weir_verdict */
#define HOOK_FIGURES_MAX  512u
#define HOOK_TIMED_ONE_IN 16u

/* Where the cells of a module's hook stand among all calls' cells: the one of WEIR_NEXT, then
 * those of the other verdicts. The same for the same names in the whole process; what is too
 * much shares the last. While starting, one thread. */
uint16_t hook_figures_at(const char *module, enum weir_phase phase);

struct hook_figures;

/* Of one loop: the series of all hooks that hook_figures_at() was asked for. NULL without
 * memory. `shard` is borrowed. */
struct hook_figures *hook_figures_new(struct metric_shard *shard);
void hook_figures_free(struct hook_figures *figures); /* NULL: nothing */

/* The cells to which hook_figures_at() leads. */
metric_cell *hook_figures_calls(struct hook_figures *figures);

/* The same where nothing is counted: written, and never read. */
extern metric_cell hook_figures_nowhere[HOOK_FIGURES_MAX * HOOK_VERDICTS];

static inline void
hook_figures_count(metric_cell *calls, uint16_t at, enum weir_verdict verdict)
{
    /* A module may return anything. */
    unsigned said = (unsigned)verdict < HOOK_VERDICTS ? (unsigned)verdict : WEIR_FAILED;
    metric_count(&calls[at + said]);
}

/* Whether the calls of a request that begins are timed. NULL: no. Thread: the loop's. */
bool hook_figures_choose(struct hook_figures *figures);

/* A call took so long; a hook has waited so long. NULL: nothing. Thread: the loop's. */
void hook_figures_observe_call(struct hook_figures *figures, uint16_t at, uint64_t ns);
void hook_figures_observe_wait(struct hook_figures *figures, uint16_t at, uint64_t ns);

#endif
