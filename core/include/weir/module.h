/* SPDX-License-Identifier: MIT */
/* What a module is: one constant table, exported as weir_module_v1, that names its handlers,
 * their options and their hooks.
 *
 * The core reads the table and never writes it. Every table of tables carries its count and the
 * size of its elements, so that elements may grow at their end while old modules still load.
 * Numbers in enums are never reused. Grows until 1.0, stable from then on. */
#ifndef WEIR_MODULE_H
#define WEIR_MODULE_H

#include <stdint.h>

#include <weir/api.h>
#include <weir/metric.h>
#include <weir/option.h>
#include <weir/str.h>

WEIR_BEGIN_DECLS

struct weir_request;
struct weir_connection;
struct weir_filter;
struct weir_worker;
struct weir_loop;

/* What a hook answers. */
enum weir_verdict {
    WEIR_NEXT = 0,    /* nothing to say: ask the next hook */
    WEIR_DONE = 1,    /* a reply was begun, be it 200 or 500 */
    WEIR_PENDING = 2, /* I called something that will resume me */
    WEIR_FAILED = 3,  /* my own fault: 500 and a line in the log */
};

/* The phases of a request, in order, and of its connection (DESIGN.md section 4). */
enum weir_phase {
    WEIR_ON_ACCEPT = 1,       /* listener; connection hook; may drop (weir/connection.h) */
    WEIR_ON_OPEN = 2,         /* listener; connection hook; may wait, and drop */
    WEIR_ON_HEAD = 3,         /* server; the head is read and checked */
    WEIR_ON_REWRITE = 4,      /* server; may change method, host, path; routing follows */
    WEIR_ON_ACCESS = 5,       /* route; all must pass; stages limit, authenticate, authorize */
    WEIR_ON_REQUEST_BODY = 6, /* route; filter; runs only while something reads */
    WEIR_ON_PREPARE = 7,      /* route; cache look-up, try files */
    WEIR_ON_CONTENT = 8,      /* route; the handlers of `handle` in order, until one answers */
    WEIR_ON_REPLY_HEAD = 9,   /* route; once per answer, errors included */
    WEIR_ON_REPLY_BODY = 10,  /* route; filter; stages transform, encode */
    WEIR_ON_LOG = 11,         /* server and route; the last byte left, or the request died */
    WEIR_ON_CLOSE = 12,       /* listener; connection hook; once, with the reason */
};

/* Order within a phase; entries of one stage keep their position in the `use` list. */
enum weir_stage {
    WEIR_STAGE_ANY = 0, /* before all others */
    WEIR_STAGE_LIMIT = 1,
    WEIR_STAGE_AUTHENTICATE = 2,
    WEIR_STAGE_AUTHORIZE = 3,
    WEIR_STAGE_TRANSFORM = 4,
    WEIR_STAGE_ENCODE = 5,
};

/* `conf` is the handler's merged options as its table filled them: constant, alive as long as
 * the configuration. Thread: the request's loop; must not block. */
typedef enum weir_verdict weir_request_fn(struct weir_request *request, const void *conf);
typedef enum weir_verdict weir_filter_fn(struct weir_request *request, const void *conf,
        struct weir_filter *filter);
typedef enum weir_verdict weir_connection_fn(struct weir_connection *connection,
        const void *conf);

/* One hook: a phase, and the one function that its kind of phase calls. */
struct weir_hook {
    enum weir_phase on;
    enum weir_stage stage;
    weir_request_fn *request;       /* HEAD to CONTENT, REPLY_HEAD, LOG */
    weir_filter_fn *filter;         /* REQUEST_BODY, REPLY_BODY */
    weir_connection_fn *connection; /* ACCEPT, OPEN, CLOSE */
};

struct weir_hooks {
    const struct weir_hook *items;
    uint32_t count, item_bytes;
};

/*
 * The value of a variable in a request, for templates and for `match`. Looks and says; what it
 * returns is escaped for the place it goes to.
 * Thread:  the request's loop, from within whatever hook fills in a template, the module's own
 *          among them; weir_request_state() and weir_request_worker() are the handler's. It
 * must not block, wait, answer or change the request; variables of modules in templates that it
 * fills in itself are empty. Params:  argument: what stands behind the variable's point; else
 * empty. Returns: a text that lives as long as the request (weir_request_alloc()); .len 0:
 * nothing to say. Above WEIR_VARIABLE_MAX_BYTES it is left out, with an error in the log.
 */
typedef struct weir_str weir_variable_fn(struct weir_request *request, const void *conf,
        struct weir_str argument);

#define WEIR_VARIABLE_MAX_BYTES 16384u

/* `{HANDLER.NAME}`: known wherever the module is declared; on a route only where the handler is
 * in use. Of several uses under names of their own the first that has something to say is
 * heard, in the order of the route's lists. */
struct weir_variable {
    const char *name; /* letters, digits, _ and -; with a point behind it takes an argument */
    weir_variable_fn *value;
    const char *help; /* one sentence, no full stop */
};

struct weir_variables {
    const struct weir_variable *items;
    uint32_t count, item_bytes;
};

/* One name that may stand in `use` or `handle`. All functions may be NULL. */
struct weir_handler {
    const char *name;
    struct weir_options options;
    struct weir_hooks hooks;
    const char *help;
    uint32_t state_bytes; /* of each request, zeroed: weir_request_state() */

    /* Pure check of one filled configuration, in the checker and in workers: reports mistakes
     * with weir_conf_error(). Returns 0, or negative when it reported one. */
    int (*conf_check)(const void *conf, struct weir_conf_report *report);

    /* Acquires what the configuration names (files, tables) into fields of `conf` that no
     * option fills, and gives it back. Workers only. */
    int (*conf_open)(void *conf, struct weir_conf_report *report);
    void (*conf_close)(void *conf);

    struct weir_variables variables;
};

struct weir_handlers {
    const struct weir_handler *items;
    uint32_t count, item_bytes;
};

#define WEIR_MODULE_MAGIC UINT32_C(0x72696577) /* "weir" */
#define WEIR_MODULE_ABI   1

/* weir_module.flags */
#define WEIR_MODULE_MANY_LOOPS UINT32_C(1) /* safe with several event loops in one process */

struct weir_module {
    uint32_t magic;
    uint16_t abi;      /* WEIR_MODULE_ABI it was built for */
    uint16_t reserved; /* 0 */
    uint32_t bytes;    /* sizeof(struct weir_module) it was built with */
    uint32_t flags;
    const char *name, *version, *summary;
    struct weir_handlers handlers;
    struct weir_options options; /* the module's own, for the whole process */

    /* Once a process, checker included; touches nothing but memory. Returns 0 or a negative
     * errno; WEIR_SETUP. */
    int (*init)(const void *options, struct weir_conf_report *report);

    /* Workers, around their life: weir/worker.h says when. 0 or a negative errno. */
    int (*worker_start)(struct weir_worker *worker, struct weir_conf_report *report);
    void (*worker_stop)(struct weir_worker *worker);
    int (*loop_start)(struct weir_loop *loop, struct weir_conf_report *report);
    void (*loop_stop)(struct weir_loop *loop);
    void (*live)(struct weir_worker *worker);
    void (*drain)(struct weir_worker *worker);

    /* Threads of pools, around the module's jobs there: weir/offload.h says when. 0 or a
     * negative errno. */
    int (*thread_start)(struct weir_worker *worker, void **state);
    void (*thread_stop)(struct weir_worker *worker, void *state);

    struct weir_own_metrics metrics; /* figures that it counts itself: weir/metric.h */
};

/* The start of every module table; the designated fields follow. */
#define WEIR_MODULE_HEAD(name_, version_, summary_)                                          \
    .magic = WEIR_MODULE_MAGIC, .abi = WEIR_MODULE_ABI, .bytes = sizeof(struct weir_module), \
    .name = (name_), .version = (version_), .summary = (summary_)

#define WEIR_TABLE_(type, ...)                                                                 \
    {                                                                                          \
        (const type[]){ __VA_ARGS__ },                                                         \
                (uint32_t)(sizeof((const type[]){ __VA_ARGS__ }) / sizeof(type)), sizeof(type) \
    }

/* .handlers = WEIR_HANDLERS({ "hello", WEIR_OPTIONS(struct hello_conf, options),
 * WEIR_HOOKS(hooks) }) */
#define WEIR_HANDLERS(...) .handlers = WEIR_TABLE_(struct weir_handler, __VA_ARGS__)

/* The table of hooks in the array `array`. */
#define WEIR_HOOKS(array)                                                           \
    {                                                                               \
        (array), (uint32_t)(sizeof(array) / sizeof((array)[0])), sizeof((array)[0]) \
    }

/* The table of variables in the array `array`. */
#define WEIR_VARIABLES(array)                                                       \
    {                                                                               \
        (array), (uint32_t)(sizeof(array) / sizeof((array)[0])), sizeof((array)[0]) \
    }

/* What a module exports; the declaration gives the definition its visibility. */
WEIR_EXPORT extern const struct weir_module weir_module_v1;

WEIR_END_DECLS

#endif
