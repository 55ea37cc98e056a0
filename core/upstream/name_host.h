/* SPDX-License-Identifier: MIT */
/* A host by its name: its addresses, asked again when their time is over.
 *
 *     each round asks for IPv4 and IPv6 side by side:
 *       something is found -> that is what there is now; of a kind whose question failed, what
 *                             was known stays
 *       nothing is found   -> all that was known stays, whatever the reason; sooner asked again
 *
 * Thread: the loop's. */
#ifndef WEIR_UPSTREAM_NAME_HOST_H
#define WEIR_UPSTREAM_NAME_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "event/timer.h"
#include "net/resolver.h"

enum name_family {
    NAME_ANY,
    NAME_IPV4,
    NAME_IPV6,
};

/* How names are asked for: `resolve` of an upstream. */
struct name_settings {
    struct resolver_settings resolver;
    uint64_t ttl_min_ns, ttl_max_ns; /* however long an answer is said to hold */
    int family;                      /* enum name_family: addresses of which kind */
};

struct name_host;

/* A round is over. May free the host. */
typedef void name_host_fn(void *context, struct name_host *host);

/* What one kind of address is at. */
struct name_host_family {
    struct name_host *host;
    struct resolver_query *query;   /* NULL: none is asked */
    enum resolver_result result;    /* of the last one */
    uint32_t ttl_s;                 /* of the last one found */
    struct addr *addrs, *new_addrs; /* owned; in force, and of this round */
    size_t count, new_count;
};

struct name_host {
    /* Fixed at birth. */
    const struct name_settings *settings; /* borrowed */
    struct resolver *resolver;            /* borrowed */
    name_host_fn *fn;
    void *context;
    uint16_t port;
    uint16_t priority, weight; /* of the service that it is of, or 0 and 0 */
    char name[RESOLVER_NAME_BYTES];

    /* Changes. */
    struct name_host *next; /* its owner's */
    struct timer timer;
    struct name_host_family families[2];
    bool is_settled;             /* one round is over */
    enum resolver_result result; /* of the last round: RESOLVER_FOUND, or why nothing was */
    enum resolver_result told;   /* its owner's: what the log heard last */
    unsigned failures;           /* rounds in a row */
};

/* Begins to ask in the next turn. Of `service` name, port, priority and weight are copied; NULL
 * without memory. */
struct name_host *name_host_new(struct loop *loop, struct resolver *resolver,
        const struct name_settings *settings, const struct resolver_service *service,
        name_host_fn *fn, void *context);
void name_host_free(struct name_host *host); /* NULL: nothing */

/* The i-th of its addresses, with its port. False past the last. */
bool name_host_at(const struct name_host *host, size_t i, struct addr *out);

/* When to ask again: after an answer that holds so long, or after so many failures in a row. */
uint64_t name_delay_ns(const struct name_settings *settings, uint32_t ttl_s, unsigned failures);

#endif
