/* SPDX-License-Identifier: MIT */
/* What names stand for, asked of DNS and of the system's table of hosts (/etc/hosts), without
 * waiting. An interface, so that tests put a script in DNS's place; c-ares is behind the real
 * one, on the loop's events and timers. One resolver belongs to one loop. Thread: the loop's.
 *
 * Answers are another's bytes: how many records there are is bounded, how long each is said to
 * hold is not believed beyond what the asker clamps, and nothing else of them is kept. */
#ifndef WEIR_NET_RESOLVER_H
#define WEIR_NET_RESOLVER_H

#include <stddef.h>
#include <stdint.h>

#include <weir/str.h>

#include "net/addr.h"

struct loop;
struct resolver_query;

/* A name and its terminator (RFC 1035 section 2.3.4, as text). */
#define RESOLVER_NAME_BYTES 256

/* Of an answer, the rest is left out. */
#define RESOLVER_RECORDS_MAX 256u

/* How often each server is asked one question, waiting longer each time. */
#define RESOLVER_TRIES 2

struct resolver_settings {
    const struct addr *servers; /* borrowed; with ports */
    size_t server_count;        /* 0: those of /etc/resolv.conf */
    uint64_t timeout_ns;        /* until a server is asked again */
};

enum resolver_kind {
    RESOLVER_IPV4,
    RESOLVER_IPV6,
    RESOLVER_SRV,
};

enum resolver_result {
    RESOLVER_FOUND,
    RESOLVER_NO_NAME,   /* there is no such name */
    RESOLVER_NO_DATA,   /* there is, but nothing of that kind */
    RESOLVER_TIMED_OUT, /* no server answers */
    RESOLVER_FAILURE,   /* servers cannot be reached, cannot tell, or will not */
    RESOLVER_BAD_ANSWER,
    RESOLVER_EXHAUSTED, /* no memory or descriptor here */
};

/* For logs and metrics: "no_name", "timed_out". */
const char *resolver_result_word(enum resolver_result result);

/* A record of a service (RFC 2782). */
struct resolver_service {
    char host[RESOLVER_NAME_BYTES];
    uint16_t priority, weight, port;
};

/* Valid until the function that is given it returns. */
struct resolver_answer {
    enum resolver_result result;
    uint32_t ttl_s;                          /* how long it holds; 0 of the table of hosts */
    size_t count;                            /* at least 1 when something was found */
    const struct addr *addrs;                /* port 0; NULL of services */
    const struct resolver_service *services; /* NULL of addresses */
};

typedef void resolver_fn(void *context, const struct resolver_answer *answer);

struct resolver {
    /* Asks; `name` is terminated, and copied. `fn` is called once, never from within ask().
     * NULL without memory. */
    struct resolver_query *(*ask)(struct resolver *resolver, enum resolver_kind kind,
            const char *name, resolver_fn *fn, void *context);

    /* The answer is not wanted any more. Not from within `fn`, and not after it. */
    void (*cancel)(struct resolver *resolver, struct resolver_query *query);

    /* Nobody waits for an answer any more. */
    void (*free)(struct resolver *resolver);
};

/* How one is made: `settings` is borrowed and outlives it. Returns 0 or -ENOMEM. */
typedef int resolver_new_fn(struct loop *loop, const struct resolver_settings *settings,
        struct resolver **out);

/* The real one. */
resolver_new_fn resolver_new;

#endif
