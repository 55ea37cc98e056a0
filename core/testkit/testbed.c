/* SPDX-License-Identifier: MIT */
/* Held pools have a thread of theirs wait on a semaphore for each that they may have, and as
 * many tasks behind them as their queue takes. */
#include "testkit/testbed.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/budget.h"
#include "event/loop.h"
#include "event/mailbox.h"
#include "http/file_cache.h"
#include "http/request.h"
#include "http/spill.h"
#include "module/figures.h"
#include "module/generation.h"
#include "module/life.h"
#include "module/loader.h"
#include "module/pools.h"
#include "module/port.h"
#include "module/wait.h"
#include "observe/zone.h"
#include "testkit/manual_clock.h"
#include "testkit/memory_stream.h"
#include "upstream/group.h"

#define STEP_NS (100 * NS_PER_MS)

/* Turns after which a server that still finds something to do is stuck. */
#define TURNS_MAX 1000000u

#define NAME "testbed.json"

struct blocker {
    struct pool_task task;
    struct testbed *testbed;
    struct blocker *next;
};

struct testbed {
    struct manual_clock clock;
    struct site *site;             /* owned */
    struct generation *generation; /* owned */
    struct loop *loop;             /* owned */
    struct engine engine;
    struct request_handler handler; /* the generation's, counting */
    struct course_map map;
    struct mailbox *mailbox;     /* owned */
    struct health_board *health; /* owned */
    struct wait_table *waits;    /* owned */
    struct pools *pools;         /* owned */
    struct life *life;           /* owned */
    struct file_cache *files;    /* owned */
    struct spill_store *spills;  /* owned */

    struct memory_stream stream;
    bool has_stream;
    uint64_t ended[16];
    uint64_t budget_before;
    bool has_engine;

    sem_t gate;               /* what blockers wait for */
    struct blocker *blockers; /* owned: those that are out */
    unsigned blocked;
};

static struct testbed *
testbed_of(struct weir_request *request)
{
    struct course_map *map = request->engine->handler_context;
    return (struct testbed *)((char *)map - offsetof(struct testbed, map));
}

static void
on_end(struct weir_request *request)
{
    struct testbed *testbed = testbed_of(request);
    testbed->ended[request->end]++;
    generation_handler(testbed->generation)->end(request);
}

/* How upstreams are reached; NULL: by sockets. One thread. */
static const struct connector *reached_by;
static resolver_new_fn *resolved_by = resolver_new;

void
testbed_reach_by(const struct connector *connector)
{
    reached_by = connector;
}

void
testbed_resolve_by(resolver_new_fn *new_resolver)
{
    resolved_by = new_resolver;
}

/* ---- making ------------------------------------------------------------------------------ */

static int
load(struct testbed *testbed, const struct testbed_settings *settings,
        struct diagnostics *diagnostics)
{
    for (size_t i = 0; i < settings->modules_count; i++) {
        int r = loader_register(settings->modules[i], NULL);
        if (r < 0 && r != -EEXIST) {
            return r;
        }
    }
    int r = site_load_text(NAME, weir_str_from(settings->config), diagnostics, &testbed->site);
    return r < 0 ? r : generation_new(testbed->site, diagnostics, &testbed->generation);
}

static int
start(struct testbed *testbed, struct diagnostics *diagnostics)
{
    int r = loop_new(&testbed->clock.clock, &testbed->loop);
    if (r == 0) {
        r = life_new(testbed->site, 1, &testbed->life);
    }
    if (r == 0) {
        r = mailbox_new(testbed->loop, &testbed->mailbox);
    }
    if (r == 0) {
        r = wait_table_new(testbed->loop, testbed->mailbox, &testbed->waits);
    }
    if (r == 0) {
        r = pools_new(testbed->site, testbed->life, &testbed->pools);
    }
    if (r == 0) {
        const struct file_cache_settings preset = FILE_CACHE_PRESET;
        r = file_cache_new(testbed->loop, pools_find(testbed->pools, WEIR_STR("default")),
                testbed->mailbox, &preset, &testbed->files);
    }
    if (r == 0) {
        spill_limit(testbed->site->workers.temp_size_bytes);
        testbed->spills = spill_store_new(testbed->loop,
                pools_find(testbed->pools, WEIR_STR("default")), testbed->mailbox,
                testbed->site->workers.temp_dir);
        r = testbed->spills == NULL ? -ENOMEM : 0;
    }
    if (r < 0) {
        return r;
    }
    generation_map_init(testbed->generation, &testbed->map);
    testbed->map.waits = testbed->waits;
    testbed->map.pools = testbed->pools;
    testbed->map.life = life_attach(testbed->life, 0, testbed->loop);
    testbed->handler = *generation_handler(testbed->generation);
    testbed->handler.end = on_end;
    r = engine_init(&testbed->engine, testbed->loop, &testbed->handler, &testbed->map);
    testbed->engine.files = testbed->files;
    testbed->engine.spills = testbed->spills;
    testbed->has_engine = r == 0;
    if (r == 0) {
        r = upstreams_new(&testbed->engine, reached_by == NULL ? &connect_socket : reached_by,
                resolved_by, testbed->site->upstreams, testbed->site->upstreams_count, 1, NULL,
                &testbed->map.upstreams);
    }
    if (r == 0) {
        testbed->health = health_board_new(1);
        r = testbed->health == NULL ? -ENOMEM
                                    : health_board_join(testbed->health, 0,
                                              testbed->map.upstreams, testbed->mailbox);
    }
    r = r < 0 ? r : life_start(testbed->life, diagnostics);
    r = r < 0 ? r : life_loop_start(testbed->map.life, diagnostics);
    if (r == 0) {
        life_live(testbed->life);
    }
    return r;
}

int
testbed_new(const struct testbed_settings *settings, struct buf *report, struct testbed **out)
{
    struct testbed *testbed = calloc(1, sizeof(*testbed));
    struct diagnostics *diagnostics = diagnostics_new();
    if (testbed == NULL || diagnostics == NULL || sem_init(&testbed->gate, 0, 0) == -1) {
        free(testbed);
        diagnostics_free(diagnostics);
        return -ENOMEM;
    }
    testbed->budget_before = budget_used_bytes();
    manual_clock_init(&testbed->clock, 1000 * NS_PER_S, INT64_C(784111777) * (int64_t)NS_PER_S);
    int r = load(testbed, settings, diagnostics);
    if (r == 0) {
        r = start(testbed, diagnostics);
    }
    int printed = r < 0 ? diagnostics_print(diagnostics, DIAGNOSTIC_TEXT, false, report) : 0;
    diagnostics_free(diagnostics);
    if (r < 0) {
        testbed_free(testbed);
        return printed < 0 ? printed : r;
    }
    *out = testbed;
    return 0;
}

/* ---- running ----------------------------------------------------------------------------- */

void
testbed_turn(struct testbed *testbed)
{
    loop_turn(testbed->loop, false);
}

/* Whether a thread is at something that comes back by itself. */
static bool
is_at_work(const struct testbed *testbed)
{
    if (testbed->files->out > 0 && testbed->blocked == 0) {
        return true;
    }
    for (size_t i = 0; testbed->blocked == 0 && i < testbed->site->pools_count; i++) {
        struct pool *pool = pools_find(testbed->pools, testbed->site->pools[i].name);
        if (pool_figures(pool).out > 0) {
            return true;
        }
    }
    return false;
}

static void
run_idle(struct testbed *testbed)
{
    /* Three turns are enough for what a turn puts off to the next. */
    for (unsigned i = 0; i < 3 || testbed->stream.pending_events != 0; i++) {
        loop_turn(testbed->loop, false);
        WEIR_ASSERT(i < TURNS_MAX);
    }
}

void
testbed_settle(struct testbed *testbed)
{
    run_idle(testbed);
    while (is_at_work(testbed)) {
        run_idle(testbed);
    }
    run_idle(testbed); /* a letter that came as the last of them ended */
}

void
testbed_pass(struct testbed *testbed, uint64_t ns)
{
    for (uint64_t passed = 0; passed < ns; passed += STEP_NS) {
        manual_clock_advance_ns(&testbed->clock, STEP_NS);
        testbed_settle(testbed);
    }
}

/* ---- the client -------------------------------------------------------------------------- */

static void
drop_stream(struct testbed *testbed)
{
    if (!testbed->has_stream) {
        return;
    }
    if (!testbed->stream.is_closed) {
        memory_stream_reset(&testbed->stream);
        testbed_settle(testbed);
        WEIR_ASSERT(testbed->stream.is_closed);
    }
    memory_stream_fini(&testbed->stream);
    testbed->has_stream = false;
}

bool
testbed_connect(struct testbed *testbed)
{
    drop_stream(testbed);
    size_t count;
    struct generation_listener *listeners = generation_listeners(testbed->generation, &count);
    struct addr peer;
    if (count == 0 || addr_parse(WEIR_STR("192.0.2.1:4000"), &peer, NULL) < 0) {
        return false;
    }
    struct h1_conn *conn = h1_conn_new(&testbed->engine, &listeners[0].settings, &peer);
    if (conn == NULL) {
        return false;
    }
    memory_stream_init(&testbed->stream, testbed->loop, h1_conn_on_event, conn);
    testbed->has_stream = true;
    h1_conn_start(conn, &testbed->stream.stream);
    testbed_settle(testbed);
    return true;
}

void
testbed_feed(struct testbed *testbed, struct weir_str bytes)
{
    if (!testbed->stream.is_closed) {
        memory_stream_send(&testbed->stream, bytes);
    }
}

void
testbed_send(struct testbed *testbed, struct weir_str bytes)
{
    testbed_feed(testbed, bytes);
    testbed_settle(testbed);
}

void
testbed_end(struct testbed *testbed)
{
    if (!testbed->stream.is_closed) {
        memory_stream_end(&testbed->stream);
    }
    testbed_settle(testbed);
}

void
testbed_reset(struct testbed *testbed)
{
    if (!testbed->stream.is_closed) {
        memory_stream_reset(&testbed->stream);
    }
    testbed_settle(testbed);
}

void
testbed_allow(struct testbed *testbed, uint64_t bytes)
{
    memory_stream_allow(&testbed->stream, bytes);
    testbed_settle(testbed);
}

void
testbed_limit(struct testbed *testbed, uint64_t bytes)
{
    testbed->stream.allowed_bytes = bytes;
}

void
testbed_reserve(struct testbed *testbed, size_t bytes)
{
    memory_stream_reserve(&testbed->stream, bytes);
}

struct weir_str
testbed_received(const struct testbed *testbed)
{
    return buf_str(&testbed->stream.received);
}

bool
testbed_is_over(const struct testbed *testbed)
{
    return testbed->stream.is_closed || testbed->stream.is_shut_down;
}

void
testbed_end_tunnels(struct testbed *testbed)
{
    engine_end_tunnels(&testbed->engine);
    testbed_settle(testbed);
}

void
testbed_count(struct testbed *testbed, struct figures *figures)
{
    figures_begin(figures, &testbed->map);
}

uint64_t
testbed_ended(const struct testbed *testbed, int end)
{
    return testbed->ended[end];
}

/* ---- held pools -------------------------------------------------------------------------- */

static void
run_blocker(struct pool_task *task, void *thread_state)
{
    (void)thread_state;
    struct blocker *blocker = (struct blocker *)((char *)task - offsetof(struct blocker, task));
    while (sem_wait(&blocker->testbed->gate) == -1 && errno == EINTR) {
    }
}

static void
on_blocker_back(struct pool_task *task, enum pool_outcome outcome)
{
    (void)outcome;
    struct blocker *blocker = (struct blocker *)((char *)task - offsetof(struct blocker, task));
    struct testbed *testbed = blocker->testbed;
    struct blocker **link = &testbed->blockers;
    while (*link != blocker) {
        link = &(*link)->next;
    }
    *link = blocker->next;
    testbed->blocked--;
    free(blocker);
}

static bool
block_one(struct testbed *testbed, struct pool *pool)
{
    struct blocker *blocker = calloc(1, sizeof(*blocker));
    if (blocker == NULL) {
        return false;
    }
    blocker->task = (struct pool_task){
        .run = run_blocker,
        .done = on_blocker_back,
        .reply_to = testbed->mailbox,
    };
    blocker->testbed = testbed;
    blocker->next = testbed->blockers;
    testbed->blockers = blocker;
    testbed->blocked++;
    pool_submit(pool, &blocker->task);
    return true;
}

int
testbed_hold(struct testbed *testbed, const char *name, bool is_full)
{
    const struct site_pool *site = NULL;
    for (size_t i = 0; i < testbed->site->pools_count; i++) {
        if (weir_str_eq(testbed->site->pools[i].name, weir_str_from(name))) {
            site = &testbed->site->pools[i];
        }
    }
    if (site == NULL || site->max < 0) {
        return -ENOENT;
    }
    struct pool *pool = pools_find(testbed->pools, site->name);
    for (int64_t i = 0; i < site->max; i++) {
        if (!block_one(testbed, pool)) {
            return -ENOMEM;
        }
    }
    while (pool_figures(pool).busy < site->max) {
        loop_turn(testbed->loop, false);
    }
    for (uint64_t i = 0; is_full && i < site->queue_size; i++) {
        if (!block_one(testbed, pool)) {
            return -ENOMEM;
        }
    }
    run_idle(testbed);
    return 0;
}

void
testbed_release(struct testbed *testbed)
{
    for (unsigned i = testbed->blocked; i > 0; i--) {
        sem_post(&testbed->gate);
    }
    while (testbed->blocked > 0) {
        loop_turn(testbed->loop, false);
    }
    testbed_settle(testbed);
}

/* ---- the end ----------------------------------------------------------------------------- */

void
testbed_drain(struct testbed *testbed)
{
    life_end(testbed->life, WEIR_ENDS_WITH_SERVER);
    life_drain(testbed->life);
    ports_drain(&testbed->map);
    engine_stop(&testbed->engine, false);
    testbed_settle(testbed);
}

bool
testbed_free(struct testbed *testbed)
{
    if (testbed == NULL) {
        return true;
    }
    bool is_clean = true;
    if (testbed->has_engine) {
        testbed_release(testbed);
        drop_stream(testbed);
        engine_stop(&testbed->engine, true);
        testbed_settle(testbed);
        course_stop(&testbed->map);
        testbed_settle(testbed);
        life_loop_stop(testbed->map.life);
        const struct engine_figures *figures = &testbed->engine.figures;
        is_clean = testbed->engine.carriers == NULL && wait_table_count(testbed->waits) == 0 &&
                figures->connections_opened == figures->connections_closed &&
                figures->requests_begun == figures->requests_ended;
    }
    if (testbed->pools != NULL) {
        is_clean &= pools_stop(testbed->pools, CLOCK_NEVER);
        loop_turn(testbed->loop, false);
        pools_free(testbed->pools);
    }
    if (testbed->life != NULL) {
        life_stop(testbed->life);
    }
    if (testbed->has_engine) {
        upstreams_free(testbed->map.upstreams);
        engine_fini(&testbed->engine);
    }
    mailbox_free(testbed->mailbox);
    health_board_free(testbed->health);
    file_cache_free(testbed->files);
    spill_store_free(testbed->spills);
    wait_table_free(testbed->waits);
    loop_free(testbed->loop);
    life_free(testbed->life);
    generation_free(testbed->generation);
    zone_forget();
    site_free(testbed->site);
    sem_destroy(&testbed->gate);
    is_clean &= budget_used_bytes() == testbed->budget_before;
    free(testbed);
    return is_clean;
}
