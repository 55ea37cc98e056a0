/* SPDX-License-Identifier: MIT */
/* What all connections and requests of one loop share: memory that is used again, the text of
 * the Date field, the output of the connection whose turn it is, and who answers. Made once a
 * loop. Thread: the loop's. */
#ifndef WEIR_HTTP_ENGINE_H
#define WEIR_HTTP_ENGINE_H

#include <stdint.h>

#include "base/slice.h"
#include "event/loop.h"
#include "http/date.h"
#include "http/settings.h"

struct weir_request;

/* Who answers requests: the module floor's chain, or a test. All on the loop. */
struct request_handler {
    /* Bytes of the slab that each request is given, zeroed, as request->slab. */
    size_t slab_bytes;

    /* Something happened that the request may be waiting for: its head is read (or refused:
     * request->refusal), its body went on, there is room for more of its answer, its client
     * left, or it was woken by request_wake(). */
    void (*run)(struct weir_request *request);

    /* The transport is done with the request, for the reason in request->end, and has let go
     * of it; the handler logs, and frees it with request_free(). */
    void (*end)(struct weir_request *request);
};

/* Output is built here, by one connection at a time and within one call. */
#define ENGINE_OUTPUT_BYTES 65536u

struct carrier;

/* What a protocol does with its connections. */
struct carrier_type {
    /* Asks it to end: after what it is answering now, or (`now`) at once. May free it. */
    void (*stop)(struct carrier *carrier, bool now);

    /* The time to stop is nearly over: a tunnel, which goes on for as long as its ends like, is
     * to end in order. NULL: it has none. May not free it. */
    void (*end_tunnel)(struct carrier *carrier);

    /* Since when its client has taken nothing of what is kept for it (monotonic); CLOCK_NEVER
     * when nothing is. */
    uint64_t (*stalled_since)(const struct carrier *carrier);

    /* Ends it at once, for want of memory. Frees it. */
    void (*shed)(struct carrier *carrier);
};

/* A connection of whatever protocol, in the list of its engine's. Embedded. */
struct carrier {
    const struct carrier_type *type; /* constant */
    struct carrier *next, **link;
};

struct engine_figures {
    uint64_t connections_opened, connections_closed;
    uint64_t connections_active; /* of those that are open: a request is read or answered */
    uint64_t requests_begun, requests_ended;
    uint64_t requests_refused; /* heads that were answered with an error by the core */
    uint64_t requests_shed;    /* 503 since the budget of memory was used up */
    uint64_t readers_shed;     /* closed for that reason while their clients did not read */
    uint64_t tunnels;          /* connections that carry another protocol now */
    uint64_t upgrades;         /* and that ever did */
    uint64_t bytes_in, bytes_out;
};

struct engine {
    /* Fixed at birth. */
    struct loop *loop;                     /* borrowed */
    const struct request_handler *handler; /* borrowed */
    void *handler_context;                 /* borrowed; for the handler */
    struct weir_str server_name;           /* the Server field; empty: none */
    struct file_cache *files;              /* borrowed; NULL: none, and no file is found */
    struct spill_store *spills;            /* borrowed; NULL: all of a body is in memory */

    /* Changes. */
    bool is_draining;           /* every answer is its connection's last */
    struct carrier *carriers;   /* all open connections */
    struct loop_task shedding;  /* queued when memory has run out */
    uint64_t warned_ns;         /* when the log was last told of that */
    uint64_t proxy_warned_ns;   /* and of a peer that must not, or cannot, speak for another */
    uint64_t proxy_unsaid;      /* how many there were since */
    struct weir_request *spare; /* owned: a list of freed requests to be used again */
    uint32_t spares;
    struct date_cache date;
    struct date_log_cache log_date; /* of the second that was last logged */
    uint64_t date_until_ns;         /* monotonic: when the real clock is looked at again */
    int64_t real_ahead_ns;          /* of the monotonic one, when it was */
    /* The last valid Host that is canonical as it stands, and the length of its name: the next
     * one is most often the same. */
    char host_text[96];
    uint8_t host_len, host_name_len;
    char *output; /* owned; ENGINE_OUTPUT_BYTES */
    struct engine_figures figures;
};

/* Returns 0 or -ENOMEM. */
WEIR_MUST_USE int engine_init(struct engine *engine, struct loop *loop,
        const struct request_handler *handler, void *handler_context);
void engine_fini(struct engine *engine); /* no connection or request is left */

void engine_add(struct engine *engine, struct carrier *carrier);
void engine_remove(struct engine *engine, struct carrier *carrier);

/* Every answer becomes its connection's last, and idle connections close (F74); `now` ends them
 * all at once. */
void engine_stop(struct engine *engine, bool now);

/* The same, but idle connections stay until they have had one more answer, which says close, or
 * their time is over: another generation takes the new ones, and a request that crosses a close
 * would be lost. */
void engine_retire(struct engine *engine);

/* Tunnels end as if their clients had said their last, so that upstreams may say theirs. */
void engine_end_tunnels(struct engine *engine);

/* Memory has run out: at the end of the turn stalled readers are closed, the oldest first,
 * until there is some again. */
void engine_shed(struct engine *engine);

/* The Date field's value now; borrowed until the next call. */
struct weir_str engine_date(struct engine *engine);

/* What the real clock showed at `monotonic_ns`, a time not long ago: nanoseconds since 1970. It
 * is looked at once a second, so after it was set this is a second late at the most. */
int64_t engine_real_ns(struct engine *engine, uint64_t monotonic_ns);

#endif
