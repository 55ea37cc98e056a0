/* SPDX-License-Identifier: MIT */
/* Collecting the hooks of all uses and sorting them, stably, by phase and stage. */
#include "module/chain.h"

#include <errno.h>
#include <stdlib.h>

#include "module/hook_figures.h"
#include "observe/flight.h"

const char *
phase_name(enum weir_phase phase)
{
    switch (phase) {
    case WEIR_ON_ACCEPT:
        return "accept";
    case WEIR_ON_OPEN:
        return "open";
    case WEIR_ON_HEAD:
        return "head";
    case WEIR_ON_REWRITE:
        return "rewrite";
    case WEIR_ON_ACCESS:
        return "access";
    case WEIR_ON_REQUEST_BODY:
        return "request body";
    case WEIR_ON_PREPARE:
        return "prepare";
    case WEIR_ON_CONTENT:
        return "content";
    case WEIR_ON_REPLY_HEAD:
        return "reply head";
    case WEIR_ON_REPLY_BODY:
        return "reply body";
    case WEIR_ON_LOG:
        return "log";
    case WEIR_ON_CLOSE:
        return "close";
    }
    return "?";
}

const char *
chain_entry_module(const struct chain *chain, const struct chain_entry *entry)
{
    return chain->uses[entry->use].module->name;
}

/* A hook's own table may be older and shorter than ours: fields past its end are NULL. */
static struct weir_hook
read_hook(const struct weir_hooks *hooks, uint32_t i)
{
    struct weir_hook hook = { 0 };
    size_t bytes = hooks->item_bytes < sizeof(hook) ? hooks->item_bytes : sizeof(hook);
    memcpy(&hook, (const char *)hooks->items + (size_t)i * hooks->item_bytes, bytes);
    return hook;
}

static int
fill_entry(struct chain_entry *entry, const struct weir_hook *hook)
{
    entry->phase = (uint8_t)hook->on;
    entry->stage = (uint8_t)hook->stage;
    switch (hook->on) {
    case WEIR_ON_ACCEPT:
    case WEIR_ON_OPEN:
    case WEIR_ON_CLOSE:
        entry->connection = hook->connection;
        return hook->connection == NULL ? -EINVAL : 0;
    case WEIR_ON_REQUEST_BODY:
    case WEIR_ON_REPLY_BODY:
        entry->filter = hook->filter;
        return hook->filter == NULL ? -EINVAL : 0;
    case WEIR_ON_HEAD:
    case WEIR_ON_REWRITE:
    case WEIR_ON_ACCESS:
    case WEIR_ON_PREPARE:
    case WEIR_ON_CONTENT:
    case WEIR_ON_REPLY_HEAD:
    case WEIR_ON_LOG:
        entry->request = hook->request;
        return hook->request == NULL ? -EINVAL : 0;
    }
    return -EINVAL;
}

static int
order(const struct chain_entry *a, const struct chain_entry *b)
{
    if (a->phase != b->phase) {
        return a->phase < b->phase ? -1 : 1;
    }
    return (a->stage > b->stage) - (a->stage < b->stage);
}

/* By insertion: stable, and the lists are short. */
static void
sort(struct chain_entry *entries, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct chain_entry entry = entries[i];
        size_t at = i;
        for (; at > 0 && order(&entries[at - 1], &entry) > 0; at--) {
            entries[at] = entries[at - 1];
        }
        entries[at] = entry;
    }
}

/* Makes the entries of uses whose handlers have variables. */
static int
add_variables(struct arena *arena, struct chain *chain)
{
    for (uint16_t i = 0; i < chain->use_count; i++) {
        const struct chain_use *use = &chain->uses[i];
        if (use->handler->variables.count == 0) {
            continue;
        }
        if (chain->variables == NULL) {
            chain->variables = arena_array(arena, chain->use_count, sizeof(void *));
        }
        struct chain_entry *entry = arena_alloc(arena, sizeof(*entry));
        if (chain->variables == NULL || entry == NULL) {
            return -ENOMEM;
        }
        *entry = (struct chain_entry){
            .conf = use->conf,
            .state_at = use->state_at,
            .use = i,
            .phase = CHAIN_VARIABLE,
            .flight = flight_entry(use->module->name, CHAIN_VARIABLE),
        };
        chain->variables[i] = entry;
    }
    return 0;
}

int
chain_compile(struct arena *arena, const struct chain_use *uses, uint16_t count,
        const struct chain **out, const struct chain_use **bad)
{
    size_t total = 0;
    for (uint16_t i = 0; i < count; i++) {
        total += uses[i].handler->hooks.count;
    }
    if (total > UINT16_MAX) {
        return -E2BIG;
    }
    struct chain *chain = arena_zalloc(arena, sizeof(*chain));
    struct chain_use *copy = arena_array(arena, count, sizeof(*copy));
    struct chain_entry *entries = arena_array(arena, total, sizeof(*entries));
    if (chain == NULL || copy == NULL || entries == NULL) {
        return -ENOMEM;
    }
    size_t at = 0;
    for (uint16_t i = 0; i < count; i++) {
        copy[i] = uses[i];
        const struct weir_hooks *hooks = &uses[i].handler->hooks;
        for (uint32_t j = 0; j < hooks->count; j++, at++) {
            struct weir_hook hook = read_hook(hooks, j);
            entries[at].conf = uses[i].conf;
            entries[at].state_at = uses[i].state_at;
            entries[at].use = i;
            entries[at].flight = flight_entry(uses[i].module->name, (unsigned)hook.on);
            entries[at].calls = hook_figures_at(uses[i].module->name, hook.on);
            if (fill_entry(&entries[at], &hook) < 0) {
                if (bad != NULL) {
                    *bad = &uses[i];
                }
                return -EINVAL;
            }
        }
    }
    sort(entries, total);
    chain->uses = copy;
    chain->use_count = count;
    chain->entries = entries;
    size_t i = 0;
    for (unsigned phase = 0; phase <= CHAIN_PHASES; phase++) {
        while (i < total && entries[i].phase < phase) {
            i++;
        }
        chain->first[phase] = (uint16_t)i;
    }
    int r = add_variables(arena, chain);
    if (r < 0) {
        return r;
    }
    *out = chain;
    return 0;
}
