/* SPDX-License-Identifier: MIT */
/* Upstreams in memory: a connector whose connections end at a script. Each request that has
 * come whole is answered with the script's bytes, in pieces; what was asked is remembered.
 * Works by itself, so that a scenario with it can be tortured. */
#ifndef WEIR_SUPPORT_UPSTREAM_RIG_H
#define WEIR_SUPPORT_UPSTREAM_RIG_H

#include "net/connect.h"
#include "testkit/memory_stream.h"

#define UPSTREAM_RIG_CONNS 32

struct upstream_rig;

struct upstream_rig_conn {
    struct memory_stream memory; /* first */
    struct upstream_rig *rig;
    struct loop_task task; /* sends the next piece */
    struct weir_str left;  /* of the answer */
    size_t seen;           /* of what was received: requests that were answered */
    unsigned requests;
    bool is_used;
};

struct upstream_rig {
    struct connector connector; /* first */
    const char *answer;         /* to each request; may depend on nothing */
    size_t piece_bytes;         /* 0: all at once */
    bool closes;                /* behind each answer */
    bool resets;
    bool echoes;        /* what comes after the first request goes back as it is: a tunnel */
    bool refuses_reuse; /* ends without an answer when asked a second time */
    int error;          /* not 0: what connect says */
    /* Before each request is answered: may change all of the above. NULL: nothing. */
    void (*on_request)(struct upstream_rig *rig);
    unsigned connected, answered;
    uint16_t ports[UPSTREAM_RIG_CONNS]; /* of the first connections, in order */
    char asked[4096];                   /* the last request */
    struct upstream_rig_conn conns[UPSTREAM_RIG_CONNS];
};

/* Testbeds made from now on reach their upstreams here. */
void upstream_rig_init(struct upstream_rig *rig, const char *answer);

/* Connections that the server has not closed. */
unsigned upstream_rig_open(const struct upstream_rig *rig);

#endif
