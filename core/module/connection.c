/* SPDX-License-Identifier: MIT */
/*
 *     opened() --> accept hooks in turn --all pass--> open hooks in turn --all pass--> admitted
 *                     |                 |                |      |
 *                     |   introduced() -+                |      +--one drops, or fails-->
 * dropped |   (PROXY protocol)               |
 *                     +--one drops--> dropped            +--one waits--> HELD
 *                                                        |--connection_ripen()--> on with them
 *
 *     closed() --> the wait, if any, is aborted --> close hooks --> freed
 */
#include "module/connection.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/budget.h"
#include "event/loop.h"
#include "module/course.h"
#include "module/hook_figures.h"
#include "module/wait.h"
#include "observe/flight.h"
#include "observe/log.h"

struct weir_connection {
    struct h1_watched watched; /* first; the protocol's to count in */

    /* Fixed at birth. */
    struct engine *engine;                /* borrowed */
    struct h1_conn *conn;                 /* borrowed; it outlives this */
    const struct connection_hooks *hooks; /* borrowed from the generation */
    const struct h1_settings *settings;   /* borrowed, likewise */
    uint64_t began_ns;

    /* Changes. */
    uint16_t peer_port;
    uint8_t peer_len;
    char peer[ADDR_TEXT_BYTES];        /* whom it speaks for, once introduced() */
    const struct chain_entry *calling; /* the hook that runs; NULL: none */
    struct wait_slot *slot;            /* what an open hook waits in; NULL: none does */
    uint64_t held_ns;                  /* since when; monotonic */
    uint16_t at;                       /* the next hook in the chain, or the one that waits */
    struct loop_task task;
    const char *reason; /* NULL until it has ended */
    uint64_t requests, sent_bytes;
};

bool
connection_has_hooks(const struct chain *chain)
{
    return chain->first[WEIR_ON_ACCEPT] != chain->first[WEIR_ON_OPEN + 1] ||
            chain->first[WEIR_ON_CLOSE] != chain->first[WEIR_ON_CLOSE + 1];
}

/* Every call into a module goes through here. */
static enum weir_verdict
enter(struct weir_connection *connection, const struct chain_entry *entry,
        struct wait_slot *resumed)
{
    WEIR_ASSERT(connection->calling == NULL);
    connection->calling = entry;
    flight_enter(entry->flight, NULL);
    enum weir_verdict verdict = resumed == NULL
            ? entry->connection(connection, entry->conf)
            : wait_resume_connection(resumed, connection, entry->conf);
    flight_leave();
    connection->calling = NULL;
    const struct course_map *map = connection->engine->handler_context;
    hook_figures_count(map->calls != NULL ? map->calls : hook_figures_nowhere, entry->calls,
            verdict);
    return verdict;
}

/* It waits no longer. */
static struct wait_slot *
take_slot(struct weir_connection *connection)
{
    struct wait_slot *slot = connection->slot;
    const struct course_map *map = connection->engine->handler_context;
    connection->slot = NULL;
    hook_figures_observe_wait(map->hook_figures,
            connection->hooks->chain->entries[connection->at].calls,
            loop_now_ns(connection->engine->loop) - connection->held_ns);
    return slot;
}

static void
abort_wait(struct weir_connection *connection)
{
    const struct chain_entry *entry = &connection->hooks->chain->entries[connection->at];
    struct wait_slot *slot = connection->slot;
    if (slot == NULL) {
        return;
    }
    take_slot(connection);
    connection->calling = entry;
    flight_enter(entry->flight, NULL);
    wait_abort_connection(slot, connection, entry->conf);
    flight_leave();
    connection->calling = NULL;
}

static void
log_fault(const struct weir_connection *connection, const struct chain_entry *entry,
        const char *what)
{
    log_error("module %s, hook %s, connection from %.*s: %s",
            chain_entry_module(connection->hooks->chain, entry), phase_name(entry->phase),
            (int)connection->peer_len, connection->peer, what);
}

/* Asks hooks up to those of the phase `last`, until one waits. `resumed` is what the one at
 * hand has waited in; NULL: none. */
static enum h1_admission
ask(struct weir_connection *connection, enum weir_phase last, struct wait_slot *resumed)
{
    const struct chain *chain = connection->hooks->chain;
    for (; connection->at < chain->first[last + 1]; connection->at++) {
        const struct chain_entry *entry = &chain->entries[connection->at];
        enum weir_verdict verdict = enter(connection, entry, resumed);
        resumed = NULL;
        if (verdict == WEIR_PENDING && connection->slot != NULL) {
            return H1_HELD;
        }
        abort_wait(connection); /* it thought better of it */
        switch (verdict) {
        case WEIR_NEXT:
            continue;
        case WEIR_DONE:
            log_debug("connection from %.*s dropped by module %s, hook %s",
                    (int)connection->peer_len, connection->peer,
                    chain_entry_module(chain, entry), phase_name(entry->phase));
            return H1_DROPPED;
        case WEIR_PENDING:
            log_fault(connection, entry, "waits for nothing: dropped");
            return H1_DROPPED;
        case WEIR_FAILED:
            log_fault(connection, entry, "failed: dropped");
            return H1_DROPPED;
        }
    }
    return H1_ADMITTED;
}

static void
on_task(struct loop_task *task)
{
    struct weir_connection *connection = (struct weir_connection *)((char *)task -
            offsetof(struct weir_connection, task));
    enum h1_admission admission = ask(connection, WEIR_ON_OPEN, take_slot(connection));
    if (admission != H1_HELD) {
        h1_conn_admit(connection->conn, admission);
    }
}

/* ---- what the protocol calls ------------------------------------------------------------- */

static void
take_peer(struct weir_connection *connection, const struct addr_ip *peer)
{
    connection->peer_len = (uint8_t)addr_ip_format(peer, connection->peer);
    connection->peer_port = peer->port;
}

static enum h1_admission
opened(struct engine *engine, const struct h1_settings *settings, struct h1_conn *conn,
        const struct addr_ip *peer, struct h1_watched **out)
{
    struct weir_connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL) {
        return H1_NO_MEMORY;
    }
    budget_take(sizeof(*connection));
    connection->engine = engine;
    connection->conn = conn;
    connection->hooks = settings->watch_context;
    connection->settings = settings;
    connection->began_ns = loop_now_ns(engine->loop);
    take_peer(connection, peer);
    connection->at = connection->hooks->chain->first[WEIR_ON_ACCEPT];
    connection->task.fn = on_task;
    *out = &connection->watched;
    return ask(connection, settings->trusts_proxy != NULL ? WEIR_ON_ACCEPT : WEIR_ON_OPEN,
            NULL);
}

static enum h1_admission
introduced(struct h1_watched *watched, const struct addr_ip *peer)
{
    struct weir_connection *connection = (struct weir_connection *)watched;
    take_peer(connection, peer);
    return ask(connection, WEIR_ON_OPEN, NULL);
}

static void
closed(struct h1_watched *watched, enum h1_close reason, uint64_t requests, uint64_t sent_bytes)
{
    struct weir_connection *connection = (struct weir_connection *)watched;
    const struct chain *chain = connection->hooks->chain;
    connection->reason = h1_close_label(reason);
    connection->requests = requests;
    connection->sent_bytes = sent_bytes;
    loop_undefer(connection->engine->loop, &connection->task);
    abort_wait(connection);
    for (uint16_t i = chain->first[WEIR_ON_CLOSE]; i < chain->first[WEIR_ON_CLOSE + 1]; i++) {
        const struct chain_entry *entry = &chain->entries[i];
        enum weir_verdict verdict = enter(connection, entry, NULL);
        if (verdict == WEIR_FAILED || verdict == WEIR_PENDING) {
            log_fault(connection, entry,
                    verdict == WEIR_FAILED ? "failed" : "waits for nothing");
        }
    }
    budget_give(sizeof(*connection));
    free(connection);
}

const struct h1_watch connection_watch = { .opened = opened,
    .introduced = introduced,
    .closed = closed };

/* ---- waiting ----------------------------------------------------------------------------- */

struct wait_table *
connection_waits(struct weir_connection *connection)
{
    const struct course_map *map = connection->engine->handler_context;
    bool may_wait = connection->calling != NULL && connection->slot == NULL &&
            connection->calling->phase == WEIR_ON_OPEN && connection->reason == NULL;
    return may_wait ? map->waits : NULL;
}

uint64_t
connection_longest_ns(const struct weir_connection *connection)
{
    const struct http_timeouts *timeouts = &connection->settings->timeouts;
    return timeouts->handshake_ns < timeouts->wait_ns ? timeouts->handshake_ns
                                                      : timeouts->wait_ns;
}

void
connection_hold(struct weir_connection *connection, struct wait_slot *slot)
{
    connection->slot = slot;
    connection->held_ns = loop_now_ns(connection->engine->loop);
}

void
connection_ripen(struct weir_connection *connection)
{
    loop_defer(connection->engine->loop, &connection->task);
}

/* ---- what modules ask -------------------------------------------------------------------- */

struct weir_str
weir_connection_peer(const struct weir_connection *connection)
{
    return weir_str_make(connection->peer, connection->peer_len);
}

unsigned
weir_connection_peer_port(const struct weir_connection *connection)
{
    return connection->peer_port;
}

struct weir_str
weir_connection_listener(const struct weir_connection *connection)
{
    return connection->hooks->listener;
}

uint64_t
weir_connection_duration_ns(const struct weir_connection *connection)
{
    return loop_now_ns(connection->engine->loop) - connection->began_ns;
}

uint64_t
weir_connection_requests(const struct weir_connection *connection)
{
    return connection->requests;
}

uint64_t
weir_connection_received_bytes(const struct weir_connection *connection)
{
    return connection->watched.received_bytes;
}

uint64_t
weir_connection_sent_bytes(const struct weir_connection *connection)
{
    return connection->sent_bytes;
}

struct weir_str
weir_connection_close_reason(const struct weir_connection *connection)
{
    return weir_str_from(connection->reason == NULL ? "" : connection->reason);
}
