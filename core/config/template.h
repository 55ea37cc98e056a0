/* SPDX-License-Identifier: MIT */
/* Templates as parsed: literal pieces and variables (CONFIG.md, "Variables"). Who expands them
 * knows requests; here is only the form, and which names there are. */
#ifndef WEIR_CONFIG_TEMPLATE_H
#define WEIR_CONFIG_TEMPLATE_H

#include <weir/option.h>

#include "base/arena.h"

/* name, spelling; one that ends in "." takes an argument: {header.x-id}. */
// clang-format off
#define TEMPLATE_VARIABLES(X)                 \
    X(METHOD,           "method")             \
    X(SCHEME,           "scheme")             \
    X(HOST,             "host")               \
    X(TARGET,           "target")             \
    X(PATH,             "path")               \
    X(QUERY,            "query.")             \
    X(HEADER,           "header.")            \
    X(COOKIE,           "cookie.")            \
    X(CAPTURE,          "path.")              \
    X(CLIENT_IP,        "client.ip")          \
    X(PEER_IP,          "peer.ip")            \
    X(SERVER_NAME,      "server.name")        \
    X(ROUTE_NAME,       "route.name")         \
    X(REQUEST_ID,       "request.id")         \
    X(STATUS,           "status")             \
    X(TLS_SNI,          "tls.sni")            \
    X(UPSTREAM_ADDRESS, "upstream.address")
// clang-format on

enum template_variable {
    TEMPLATE_LITERAL,
#define VARIABLE(name, spelling) TEMPLATE_##name,
    TEMPLATE_VARIABLES(VARIABLE)
#undef VARIABLE
    TEMPLATE_EXTRA, /* a module's */
};

struct weir_handler;
struct weir_variable;

/* What a module adds. */
struct template_extra {
    struct weir_str spelling; /* `handler.name`; one that ends in "." takes an argument */
    const struct weir_handler *handler;   /* borrowed for ever */
    const struct weir_variable *variable; /* likewise */
};

/* Those of all declared modules; all zero: none. */
struct template_extras {
    const struct template_extra *items;
    size_t count;
};

struct template_piece {
    enum template_variable variable;
    struct weir_str text; /* the literal, or the variable's argument: `x-id`, lower case for
                             header, as written otherwise */
    const struct template_extra *extra; /* of TEMPLATE_EXTRA */
};

struct weir_template {
    struct weir_str raw; /* as written; terminated */
    enum weir_context context;
    const struct template_piece *pieces;
    size_t count;
    bool is_literal; /* no variable: pieces[0] is all, or there is none */
};

/* Where and why a template was refused. */
struct template_mistake {
    size_t offset, length; /* in the text */
    const char *message;   /* constant */
    bool is_unknown_name;  /* `offset` and `length` are the name's */
};

/* Parses `text` into `arena`; `extras` outlive it, and may be NULL. Returns 0; -EINVAL and
 * *mistake; -ENOMEM. */
WEIR_MUST_USE int template_parse(struct arena *arena, struct weir_str text,
        enum weir_context context, const struct template_extras *extras,
        const struct weir_template **out, struct template_mistake *mistake);

/* The name of one variable (as between the braces) and its argument. Returns 0; -EINVAL and
 * *message. */
WEIR_MUST_USE int template_variable_parse(struct weir_str name,
        const struct template_extras *extras, struct template_piece *piece,
        const char **message);

/* The spelling of the i-th variable of the server's own, NULL at the end; for manuals. */
const char *template_variable_name(size_t i);

/* Offers the spellings of all. */
struct suggestion;
void template_suggest(struct suggestion *suggestion, const struct template_extras *extras);

#endif
