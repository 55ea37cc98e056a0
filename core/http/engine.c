/* SPDX-License-Identifier: MIT */
/* The shared memory of a loop's connections. */
#include "http/engine.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "event/loop.h"
#include "http/request.h"

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
    };
    return engine->output == NULL ? -ENOMEM : 0;
}

void
engine_fini(struct engine *engine)
{
    while (engine->spare != NULL) {
        struct weir_request *request = engine->spare;
        engine->spare = request->next;
        free(request);
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
        carrier->stop(carrier, now);
        carrier = next;
    }
}

struct weir_str
engine_date(struct engine *engine)
{
    uint64_t now_ns = loop_now_ns(engine->loop);
    if (now_ns >= engine->date_until_ns || !engine->date.is_set) {
        /* Looked at again when the second is over. After the clock was set this is a second
         * late at the most. */
        int64_t real_ns = clock_real_ns(loop_clock(engine->loop));
        int64_t second = real_ns / (int64_t)NS_PER_S;
        int64_t into_ns = real_ns - second * (int64_t)NS_PER_S;
        engine->date_until_ns = now_ns + NS_PER_S - (uint64_t)(into_ns < 0 ? 0 : into_ns);
        return date_cached(&engine->date, second);
    }
    return weir_str_make(engine->date.text, DATE_BYTES);
}
