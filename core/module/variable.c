/* SPDX-License-Identifier: MIT */
/* A variable is asked in the middle of a hook, of the same module perhaps: for as long as it
 * takes, the request stands at an entry of its own, in whose phase nothing is allowed. */
#include "module/variable.h"

#include "base/assert.h"
#include "module/course_parts.h"
#include "observe/flight.h"
#include "observe/log.h"

static struct weir_str
ask(struct weir_request *request, const struct chain_entry *entry,
        const struct weir_variable *variable, struct weir_str argument)
{
    struct course *course = course_of(request);
    const struct chain_entry *calling = course->calling;
    struct hook_wait *slot = course->slot;
    uint32_t flight = flight_current();
    course->calling = entry;
    course->slot = NULL;
    flight_enter(entry->flight, request);
    struct weir_str value = variable->value(request, entry->conf, argument);
    flight_leave();
    if (flight != 0) {
        flight_enter(flight, request);
    }
    WEIR_ASSERT(course->calling == entry);
    course->calling = calling;
    course->slot = slot;
    return value;
}

struct weir_str
variable_value(struct weir_request *request, const struct template_extra *extra,
        struct weir_str argument)
{
    const struct course *course = course_of(request);
    const struct chain *chain = course->chain;
    bool is_nested = course->calling != NULL && course->calling->phase == CHAIN_VARIABLE;
    for (uint16_t i = 0; chain != NULL && !is_nested && i < chain->use_count; i++) {
        const struct chain_use *use = &chain->uses[i];
        if (use->handler != extra->handler) {
            continue;
        }
        struct weir_str value = ask(request, chain->variables[i], extra->variable, argument);
        if (value.len > WEIR_VARIABLE_MAX_BYTES) {
            log_error("module %s, variable %.*s: %zu bytes, more than %u: left out",
                    use->module->name, WEIR_STR_ARG(extra->spelling), value.len,
                    WEIR_VARIABLE_MAX_BYTES);
        } else if (value.ptr != NULL && value.len > 0) {
            return value;
        }
    }
    return WEIR_STR("");
}
