/* SPDX-License-Identifier: MIT */
/* Templates as parsed: literal pieces and variables (CONFIG.md, "Variables"). Who expands them
 * knows requests; here is only the form, and which names there are. */
#ifndef WEIR_CONFIG_TEMPLATE_H
#define WEIR_CONFIG_TEMPLATE_H

#include <weir/option.h>

#include "base/arena.h"

/* name, spelling, when it is known; a spelling that ends in "." takes an argument:
 * {header.x-id}. conf/weir.conf.5 knows all of them (tests/checks/manuals). */
// clang-format off
#define TEMPLATE_VARIABLES(X)                           \
    X(METHOD,           "method",           RUNNING)    \
    X(SCHEME,           "scheme",           RUNNING)    \
    X(PROTOCOL,         "protocol",         RUNNING)    \
    X(HOST,             "host",             RUNNING)    \
    X(TARGET,           "target",           RUNNING)    \
    X(PATH,             "path",             RUNNING)    \
    X(QUERY,            "query.",           RUNNING)    \
    X(HEADER,           "header.",          RUNNING)    \
    X(COOKIE,           "cookie.",          RUNNING)    \
    X(CAPTURE,          "path.",            RUNNING)    \
    X(CLIENT_IP,        "client.ip",        RUNNING)    \
    X(PEER_IP,          "peer.ip",          RUNNING)    \
    X(SERVER_NAME,      "server.name",      RUNNING)    \
    X(ROUTE_NAME,       "route.name",       RUNNING)    \
    X(REQUEST_ID,       "request.id",       RUNNING)    \
    X(TIME,             "time",             RUNNING)    \
    X(TIME_COMBINED,    "time.combined",    RUNNING)    \
    X(TIME_UNIX,        "time.unix",        RUNNING)    \
    X(INTERNAL,         "internal",         RUNNING)    \
    X(STATUS,           "status",           RUNNING)    \
    X(DURATION,         "duration",         ENDED)      \
    X(FIRST_BYTE,       "first_byte",       ENDED)      \
    X(BYTES_RECEIVED,   "bytes.received",   ENDED)      \
    X(BYTES_SENT,       "bytes.sent",       ENDED)      \
    X(BODY_BYTES_SENT,  "bytes.body_sent",  ENDED)      \
    X(END,              "end",              ENDED)      \
    X(UPSTREAM_NAME,    "upstream.name",    RUNNING)    \
    X(UPSTREAM_ADDRESS, "upstream.address", RUNNING)    \
    X(UPSTREAM_STATUS,  "upstream.status",  RUNNING)    \
    X(UPSTREAM_TIME,    "upstream.time",    RUNNING)    \
    X(UPSTREAM_CONNECT, "upstream.connect_time", RUNNING) \
    X(UPSTREAM_HEAD,    "upstream.head_time", RUNNING)  \
    X(UPSTREAM_RETRIES, "upstream.retries", RUNNING)    \
    X(TLS_SNI,          "tls.sni",          NEVER)
// clang-format on

/* When a variable is known. */
enum template_time {
    TEMPLATE_RUNNING, /* at once, or as soon as it makes sense to ask */
    TEMPLATE_ENDED,   /* when the request has: in lines of logs (WEIR_CONTEXT_LOG) */
    TEMPLATE_NEVER, /* CONFIG.md settles the name, and no part of this build brings the value */
};

enum template_variable {
    TEMPLATE_LITERAL,
#define VARIABLE(name, spelling, time) TEMPLATE_##name,
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
    bool is_later;         /* likewise, and it is TEMPLATE_NEVER */
};

/* Parses `text` into `arena`; `extras` outlive it, and may be NULL. Returns 0; -EINVAL and
 * *mistake; -ENOMEM. */
WEIR_MUST_USE int template_parse(struct arena *arena, struct weir_str text,
        enum weir_context context, const struct template_extras *extras,
        const struct weir_template **out, struct template_mistake *mistake);

/* The name of one variable (as between the braces) and its argument. It may be one that is
 * known only when the request has ended. Returns 0; -EINVAL and *message. */
WEIR_MUST_USE int template_variable_parse(struct weir_str name,
        const struct template_extras *extras, struct template_piece *piece,
        const char **message);

/* When the variable is known; of TEMPLATE_EXTRA the module says. */
enum template_time template_time_of(enum template_variable variable);

/* The spelling of the i-th variable of the server's own, NULL at the end; for manuals. */
const char *template_variable_name(size_t i);

/* Offers the spellings of all. */
struct suggestion;
void template_suggest(struct suggestion *suggestion, const struct template_extras *extras);

#endif
