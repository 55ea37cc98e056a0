/* SPDX-License-Identifier: MIT */
/* The shared memory of a loop's connections. */
#include "http/engine.h"

#include <errno.h>
#include <stdlib.h>

#include "base/budget.h"
#include "base/clock.h"
#include "event/loop.h"
#include "http/request.h"
#include "observe/log.h"

/* A client that took something this lately is slow, and not stalled. */
#define STALL_MIN_NS NS_PER_S

/* The log is told of a lack of memory this often at the most. */
#define WARN_EVERY_NS NS_PER_S

static struct carrier *
find_stalled(const struct engine *engine)
{
    uint64_t oldest_ns = loop_now_ns(engine->loop);
    oldest_ns = oldest_ns < STALL_MIN_NS ? 0 : oldest_ns - STALL_MIN_NS;
    struct carrier *found = NULL;
    for (struct carrier *carrier = engine->carriers; carrier != NULL; carrier = carrier->next) {
        uint64_t since_ns = carrier->type->stalled_since(carrier);
        if (since_ns < oldest_ns) {
            oldest_ns = since_ns;
            found = carrier;
        }
    }
    return found;
}

static void
on_shedding(struct loop_task *task)
{
    struct engine *engine = (struct engine *)((char *)task - offsetof(struct engine, shedding));
    uint64_t shed = 0;
    while (budget_level() == BUDGET_FULL) {
        struct carrier *carrier = find_stalled(engine);
        if (carrier == NULL) {
            break;
        }
        carrier->type->shed(carrier);
        shed++;
    }
    engine->figures.readers_shed += shed;
    uint64_t now_ns = loop_now_ns(engine->loop);
    if (engine->warned_ns == 0 || now_ns - engine->warned_ns >= WARN_EVERY_NS) {
        engine->warned_ns = now_ns;
        log_warn("workers.memory (%llu MiB) is used up: new requests get 503; %llu stalled "
                 "readers closed now, %llu in all",
                (unsigned long long)(budget_limit_bytes() >> 20), (unsigned long long)shed,
                (unsigned long long)engine->figures.readers_shed);
    }
}

void
engine_shed(struct engine *engine)
{
    loop_defer(engine->loop, &engine->shedding);
}

int
engine_init(struct engine *engine, struct loop *loop, const struct request_handler *handler,
        void *handler_context)
{
    *engine = (struct engine){
        .loop = loop,
        .handler = handler,
        .handler_context = handler_context,
        .server_name = WEIR_STR("Weir"),
        .output = malloc(ENGINE_OUTPUT_BYTES),
        .shedding = { .fn = on_shedding },
    };
    return engine->output == NULL ? -ENOMEM : 0;
}

void
engine_fini(struct engine *engine)
{
    while (engine->spare != NULL) {
        struct weir_request *request = engine->spare;
        engine->spare = request->next;
        request_free_block(request);
    }
    if (engine->loop != NULL) { /* it was ever made */
        loop_undefer(engine->loop, &engine->shedding);
    }
    engine->spares = 0;
    free(engine->output);
    engine->output = NULL;
}

void
engine_add(struct engine *engine, struct carrier *carrier)
{
    carrier->next = engine->carriers;
    carrier->link = &engine->carriers;
    if (carrier->next != NULL) {
        carrier->next->link = &carrier->next;
    }
    engine->carriers = carrier;
    engine->figures.connections_opened++;
}

void
engine_remove(struct engine *engine, struct carrier *carrier)
{
    *carrier->link = carrier->next;
    if (carrier->next != NULL) {
        carrier->next->link = carrier->link;
    }
    engine->figures.connections_closed++;
}

void
engine_stop(struct engine *engine, bool now)
{
    engine->is_draining = true;
    struct carrier *carrier = engine->carriers;
    while (carrier != NULL) {
        struct carrier *next = carrier->next; /* stopping one ends no other */
        carrier->type->stop(carrier, now);
        carrier = next;
    }
}

void
engine_retire(struct engine *engine)
{
    engine->is_draining = true;
}

void
engine_end_tunnels(struct engine *engine)
{
    for (struct carrier *carrier = engine->carriers; carrier != NULL; carrier = carrier->next) {
        if (carrier->type->end_tunnel != NULL) {
            carrier->type->end_tunnel(carrier);
        }
    }
}

/* Looks at the real clock when the second is over. */
static void
look_at_clock(struct engine *engine)
{
    uint64_t now_ns = loop_now_ns(engine->loop);
    if (now_ns < engine->date_until_ns && engine->date.is_set) {
        return;
    }
    const struct clock *clock = loop_clock(engine->loop);
    int64_t real_ns = clock_real_ns(clock);
    engine->real_ahead_ns = real_ns - (int64_t)clock_monotonic_ns(clock);
    int64_t second = real_ns / (int64_t)NS_PER_S;
    int64_t into_ns = real_ns - second * (int64_t)NS_PER_S;
    engine->date_until_ns = now_ns + NS_PER_S - (uint64_t)(into_ns < 0 ? 0 : into_ns);
    (void)date_cached(&engine->date, second);
}

struct weir_str
engine_date(struct engine *engine)
{
    look_at_clock(engine);
    return weir_str_make(engine->date.text, DATE_BYTES);
}

int64_t
engine_real_ns(struct engine *engine, uint64_t monotonic_ns)
{
    look_at_clock(engine);
    return engine->real_ahead_ns + (int64_t)monotonic_ns;
}
