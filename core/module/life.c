/* SPDX-License-Identifier: MIT */
/* Modules are called one after the other, in the order of `modules` on the way up and in the
 * opposite order on the way down. What has started says so itself, so that a start which failed
 * halfway is undone by the same functions as a whole one. */
#include "module/life.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "config/schema.h"
#include "event/signal.h"
#include "http/request.h"
#include "module/chain.h"
#include "module/course_parts.h"
#include "module/life_parts.h"
#include "observe/flight.h"
#include "observe/log.h"

const char *
life_hook_name(unsigned hook)
{
    switch (hook) {
    case LIFE_CONF_OPEN:
        return "conf_open";
    case LIFE_WORKER_START:
        return "worker_start";
    case LIFE_LOOP_START:
        return "loop_start";
    case LIFE_LIVE:
        return "live";
    case LIFE_DRAIN:
        return "drain";
    case LIFE_LOOP_STOP:
        return "loop_stop";
    case LIFE_WORKER_STOP:
        return "worker_stop";
    case LIFE_CONF_CLOSE:
        return "conf_close";
    case LIFE_TIMER:
        return "timer";
    case LIFE_THREAD_START:
        return "thread_start";
    case LIFE_THREAD_STOP:
        return "thread_stop";
    case CHAIN_VARIABLE:
        return "variable";
    default:
        return phase_name((enum weir_phase)hook);
    }
}

/* ---- making ------------------------------------------------------------------------------ */

int
life_new(const struct site *site, unsigned loops, struct life **out)
{
    struct life *life = calloc(1, sizeof(*life) + loops * sizeof(struct life_loop));
    if (life == NULL) {
        return -ENOMEM;
    }
    life->site = site;
    life->count = site->modules_count;
    life->loop_count = loops;
    life->workers = calloc(life->count + 1, sizeof(struct weir_worker));
    bool is_whole = life->workers != NULL;
    for (unsigned i = 0; i < loops; i++) {
        struct life_loop *loop = &life->loops[i];
        loop->life = life;
        loop->index = i;
        loop->modules = calloc(life->count + 1, sizeof(struct weir_loop));
        is_whole &= loop->modules != NULL;
    }
    if (!is_whole) {
        life_free(life);
        return -ENOMEM;
    }
    for (size_t m = 0; m < life->count; m++) {
        const struct site_module *declared = &site->modules[m];
        life->workers[m] = (struct weir_worker){
            .life = life,
            .declared = declared,
            .flight = flight_entry(declared->module->name, 0),
        };
        for (unsigned i = 0; i < loops; i++) {
            life->loops[i].modules[m] = (struct weir_loop){ .worker = &life->workers[m],
                .at = &life->loops[i] };
        }
    }
    *out = life;
    return 0;
}

void
life_free(struct life *life)
{
    if (life == NULL) {
        return;
    }
    for (unsigned i = 0; i < life->loop_count; i++) {
        struct life_loop *loop = &life->loops[i];
        for (size_t m = 0; loop->modules != NULL && m < life->count; m++) {
            module_timers_fini(&loop->modules[m].timers);
        }
        free(loop->modules);
    }
    free(life->workers);
    free(life);
}

struct life_loop *
life_attach(struct life *life, unsigned index, struct loop *loop)
{
    struct life_loop *attached = &life->loops[index];
    attached->loop = loop;
    for (size_t m = 0; m < life->count; m++) {
        struct weir_loop *module = &attached->modules[m];
        module_timers_init(&module->timers, module, loop,
                module->worker->flight | LIFE_TIMER << FLIGHT_MODULE_BITS);
    }
    return attached;
}

/* ---- calling modules --------------------------------------------------------------------- */

/* Every call goes in and out here. A thread that the module makes meanwhile is to hear no
 * signal. */
static void
enter(const struct weir_worker *worker, enum life_hook hook, sigset_t *signals)
{
    pthread_sigmask(SIG_SETMASK, NULL, signals);
    signal_block_all();
    flight_enter(worker->flight | (uint32_t)hook << FLIGHT_MODULE_BITS, NULL);
}

static void
leave(const sigset_t *signals)
{
    flight_leave();
    pthread_sigmask(SIG_SETMASK, signals, NULL);
}

static void
tell(struct weir_worker *worker, enum life_hook hook, void (*fn)(struct weir_worker *worker))
{
    if (fn != NULL) {
        sigset_t signals;
        enter(worker, hook, &signals);
        fn(worker);
        leave(&signals);
    }
}

/* The report of a start, in the place where the module was declared. */
static struct weir_conf_report
report_of(const struct weir_worker *worker, struct diagnostics *diagnostics)
{
    const struct site_module *declared = worker->declared;
    return (struct weir_conf_report){
        .diagnostics = diagnostics,
        .options = &declared->module->options,
        .object = declared->given,
        .where = declared->where,
        .who = declared->module->name,
        .zones = &worker->life->site->zones,
    };
}

/* What a start has come to; a module that reported a mistake has failed. */
static int
judge(const struct weir_worker *worker, enum life_hook hook, int r,
        struct weir_conf_report *report)
{
    if (r == 0 && report->has_failed) {
        r = -EINVAL;
    }
    if (r >= 0) {
        return 0;
    }
    const char *why = strerrordesc_np(-r) == NULL ? "unknown error" : strerrordesc_np(-r);
    if (!report->has_failed) {
        weir_conf_error(report, NULL, "%s failed: %s", life_hook_name(hook), why);
    }
    log_error("module %s, hook %s: failed: %s: the worker ends", worker->declared->module->name,
            life_hook_name(hook), why);
    return r;
}

/* ---- the way up -------------------------------------------------------------------------- */

int
life_start(struct life *life, struct diagnostics *diagnostics)
{
    for (size_t i = 0; i < life->count; i++) {
        struct weir_worker *worker = &life->workers[i];
        const struct weir_module *module = worker->declared->module;
        if (module->worker_start != NULL) {
            struct weir_conf_report report = report_of(worker, diagnostics);
            sigset_t signals;
            enter(worker, LIFE_WORKER_START, &signals);
            int r = module->worker_start(worker, &report);
            leave(&signals);
            r = judge(worker, LIFE_WORKER_START, r, &report);
            if (r < 0) {
                return r;
            }
        }
        worker->has_started = true;
    }
    return 0;
}

int
life_loop_start(struct life_loop *loop, struct diagnostics *diagnostics)
{
    for (size_t i = 0; i < loop->life->count; i++) {
        struct weir_loop *module = &loop->modules[i];
        const struct weir_worker *worker = module->worker;
        if (worker->declared->module->loop_start != NULL) {
            struct weir_conf_report report = report_of(worker, diagnostics);
            sigset_t signals;
            enter(worker, LIFE_LOOP_START, &signals);
            int r = worker->declared->module->loop_start(module, &report);
            leave(&signals);
            r = judge(worker, LIFE_LOOP_START, r, &report);
            if (r < 0) {
                return r;
            }
        }
        module->has_started = true;
    }
    return 0;
}

void
life_live(struct life *life)
{
    for (size_t i = 0; !life->is_live && i < life->count; i++) {
        tell(&life->workers[i], LIFE_LIVE, life->workers[i].declared->module->live);
    }
    life->is_live = true;
}

/* ---- the way down ------------------------------------------------------------------------ */

void
life_end(struct life *life, enum weir_ending how)
{
    if (how > atomic_load_explicit(&life->ending, memory_order_relaxed)) {
        atomic_store_explicit(&life->ending, how, memory_order_relaxed);
    }
}

void
life_loop_drain(struct life_loop *loop)
{
    for (size_t i = 0; !loop->is_draining && i < loop->life->count; i++) {
        module_timers_cancel(&loop->modules[i].timers);
    }
    loop->is_draining = true;
}

void
life_drain(struct life *life)
{
    life_loop_drain(&life->loops[0]);
    for (size_t i = life->count; life->is_live && !life->is_draining && i > 0; i--) {
        tell(&life->workers[i - 1], LIFE_DRAIN, life->workers[i - 1].declared->module->drain);
    }
    life->is_draining = true;
}

void
life_loop_stop(struct life_loop *loop)
{
    for (size_t i = loop->life->count; i > 0; i--) {
        struct weir_loop *module = &loop->modules[i - 1];
        const struct weir_module *table = module->worker->declared->module;
        module_timers_close(&module->timers);
        if (module->has_started && table->loop_stop != NULL) {
            sigset_t signals;
            enter(module->worker, LIFE_LOOP_STOP, &signals);
            table->loop_stop(module);
            leave(&signals);
        }
        module->has_started = false;
    }
}

void
life_stop(struct life *life)
{
    for (size_t i = life->count; i > 0; i--) {
        struct weir_worker *worker = &life->workers[i - 1];
        if (life_is_held(life, worker->declared->module)) {
            log_warn("module %s: stopped while threads of a pool were still at its work: "
                     "worker_stop and conf_close are left out",
                    worker->declared->module->name);
        } else if (worker->has_started) {
            tell(worker, LIFE_WORKER_STOP, worker->declared->module->worker_stop);
        }
        worker->has_started = false;
    }
}

/* ---- what modules call ------------------------------------------------------------------- */

struct weir_worker *
life_worker(const struct life_loop *loop, const struct weir_module *module)
{
    for (size_t i = 0; i < loop->life->count; i++) {
        if (loop->life->workers[i].declared->module == module) {
            return &loop->life->workers[i];
        }
    }
    return NULL;
}

struct weir_loop *
life_module(struct life_loop *loop, const struct weir_module *module)
{
    const struct weir_worker *worker = life_worker(loop, module);
    return worker == NULL ? NULL : &loop->modules[worker - loop->life->workers];
}

void
life_set_metrics(struct life_loop *loop, struct module_metrics *metrics)
{
    loop->metrics = metrics;
}

struct module_timers *
life_timers(struct weir_loop *loop)
{
    return &loop->timers;
}

const void *
weir_worker_options(const struct weir_worker *worker)
{
    return worker->declared->options;
}

struct weir_loop *
weir_worker_loop(const struct weir_worker *worker)
{
    const struct life *life = worker->life;
    return &life->loops[0].modules[worker - life->workers];
}

unsigned
weir_worker_loops(const struct weir_worker *worker)
{
    return worker->life->loop_count;
}

enum weir_ending
weir_worker_ending(const struct weir_worker *worker)
{
    return atomic_load_explicit(&worker->life->ending, memory_order_relaxed);
}

void
weir_worker_set_state(struct weir_worker *worker, void *state)
{
    worker->state = state;
}

void *
weir_worker_state(const struct weir_worker *worker)
{
    return worker->state;
}

void
weir_loop_set_state(struct weir_loop *loop, void *state)
{
    loop->state = state;
}

void *
weir_loop_state(const struct weir_loop *loop)
{
    return loop->state;
}

struct weir_worker *
weir_loop_worker(const struct weir_loop *loop)
{
    return loop->worker;
}

unsigned
weir_loop_index(const struct weir_loop *loop)
{
    return loop->at->index;
}

struct weir_loop *
weir_request_loop(const struct weir_request *request)
{
    const struct course *course = course_of(request);
    WEIR_ASSERT(course->calling != NULL);
    return life_module(course_map_of(request)->life,
            course->chain->uses[course->calling->use].module);
}

struct weir_worker *
weir_request_worker(const struct weir_request *request)
{
    return weir_request_loop(request)->worker;
}
