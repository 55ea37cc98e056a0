/* SPDX-License-Identifier: MIT */
/* Which listener, server, route and hooks a request takes, found without serving it. */
#ifndef WEIR_SERVER_EXPLAIN_ANSWER_H
#define WEIR_SERVER_EXPLAIN_ANSWER_H

#include "http/target.h"
#include "module/site.h"

/* What is asked about. */
struct explain_question {
    struct weir_str method, url;
    const struct weir_str *headers; /* "Name: value" */
    size_t headers_count;
    struct weir_str client; /* address; .len 0: 127.0.0.1 */
    bool is_internal;
};

struct explain_hook {
    const struct site_use *use;
    enum weir_phase phase;
    enum weir_stage stage;
    size_t position;
    bool is_first; /* of its use */
};

/* What the site answers; refers to the site and to the question's texts. */
struct explain_answer {
    const char *refusal; /* the question makes no sense; NULL: what follows counts */
    uint16_t port;
    const struct site_listener *listener; /* NULL: nobody listens on the port */
    const struct site_server *server;     /* NULL: 421 */
    const struct site_route *route;       /* NULL: 404 with the server's hooks */
    struct route_match match;             /* of the route */
    struct explain_hook *hooks;           /* owned; in the order in which they run */
    size_t hooks_count;

    /* What `match` and the like point into. */
    struct weir_str host_name;
    struct target target;
    char host[HOST_NAME_BYTES];
    char path[8192];
};

/* Returns 0 and sets *out, which the caller frees; -ENOMEM. */
WEIR_MUST_USE int explain_find(const struct site *site, const struct explain_question *question,
        struct explain_answer **out);
void explain_answer_free(struct explain_answer *answer); /* NULL: nothing */

/* The route's, or the server's; there is a server. */
const struct site_settings *explain_settings_of(const struct explain_answer *answer);

/* Why it is this server. */
const char *explain_server_reason(const struct explain_answer *answer);

#endif
