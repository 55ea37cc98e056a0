/* SPDX-License-Identifier: MIT */
/* Which route a request takes (CONFIG.md, "Choosing a server and a route"): in file order the
 * first that matches. The list is compiled to a tree of path segments, so that what one lookup
 * costs depends on the path, not on the number of routes. Compiled once, read by any thread. */
#ifndef WEIR_MODULE_ROUTE_H
#define WEIR_MODULE_ROUTE_H

#include "config/schema.h"
#include "net/addr.h"

/* {path.x} of one request: of all levels of nested routes together. */
#define ROUTE_CAPTURES_MAX 16

/* How deep routes may nest. */
#define ROUTE_DEPTH_MAX 8

/* What matching asks about a request; whoever owns requests fills it. Functions may be NULL:
 * then there is no such thing. */
struct route_request {
    void *context;            /* passed to the functions */
    struct weir_str method;   /* as sent */
    struct weir_str host;     /* as host_name() gives it */
    struct weir_str path;     /* decoded and normalised; "*" for OPTIONS * */
    struct weir_str protocol; /* "http/1.0", "http/1.1", "http/2" */
    struct addr_ip client;    /* after `trust` */
    struct addr_ip peer;      /* the socket's own */
    bool is_internal;

    /* The nth value (from 0) of a header field, a query parameter (decoded) or a variable;
     * false when there is none. Names of fields are lower case. Values stay until the lookup
     * ends. */
    bool (*header)(void *context, struct weir_str name, size_t nth, struct weir_str *value);
    bool (*query)(void *context, struct weir_str name, size_t nth, struct weir_str *value);
    bool (*variable)(void *context, struct weir_str name, struct weir_str *value);
};

struct route_capture {
    struct weir_str name;  /* borrowed from the configuration */
    struct weir_str value; /* borrowed from the request's path */
};

struct route_match {
    uint32_t id;             /* of the innermost rule that matched */
    struct weir_str pattern; /* which of its patterns held; .len 0: it has none */
    uint32_t captures_count;
    struct route_capture captures[ROUTE_CAPTURES_MAX]; /* inner ones first */
};

/* One route to compile. */
struct route_rule {
    uint32_t id;                      /* what route_find() answers */
    const struct config_value *where; /* the route, for reports */
    const struct config_value *match; /* NULL: everything */
    bool is_internal;
    const struct route_rule *children;
    size_t children_count;
};

struct route_table;

/* Compiles `rules` into schema->arena; mistakes, routes that never match among them, are
 * reported. NULL without memory, which schema->no_memory says. */
const struct route_table *route_table_new(struct schema *schema, const struct route_rule *rules,
        size_t count);

/* The route of a request. False: none. */
bool route_find(const struct route_table *table, const struct route_request *request,
        struct route_match *match);

/* A pattern or expression of rule `id`, or of a rule around it, names the capture. True also
 * when that cannot be told, since a mistake in them was reported. */
bool route_has_capture(const struct route_table *table, uint32_t id, struct weir_str name);

/* Offers all that it does have. */
void route_offer_captures(const struct route_table *table, uint32_t id,
        struct suggestion *suggestion);

/* Keys of a `match` object, for the schema of the configuration. */
extern const struct weir_options route_match_options;

#endif
