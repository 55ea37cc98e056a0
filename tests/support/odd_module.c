/* SPDX-License-Identifier: MIT */
/* Modules that the loader must take or refuse; ODD chooses which. */
#include <weir/module.h>

#define GOOD     0 /* a module as it should be */
#define MAGIC    1 /* something else under the module's symbol */
#define ABI      2 /* built for another Weir */
#define NEWER    3 /* a larger table than this Weir knows */
#define OLDER    4 /* built before conf_open() and init() existed: all tables are shorter */
#define HOOKLESS 5 /* a hook without its function */
#define TINY     6 /* too small to be a table */
#define PRESET   7 /* a preset that does not read */
#define SYMBOL   8 /* no table at all */
#define METRICS  9 /* a figure with another module's name */

struct odd_conf {
    int64_t number;
};

#if ODD == SYMBOL

int odd_nothing(void);

int
odd_nothing(void)
{
    return 0;
}

#elif ODD == TINY

WEIR_EXPORT extern const uint32_t tiny __asm__("weir_module_v1");
WEIR_EXPORT const uint32_t tiny = WEIR_MODULE_MAGIC;

#else

static enum weir_verdict
answer(struct weir_request *request, const void *conf)
{
    (void)request;
    (void)conf;
    return WEIR_DONE;
}

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_CONTENT, .request = ODD == HOOKLESS ? NULL : answer },
};

#if ODD == OLDER
/* As the first version of the structs was, two of each to see that the stride is believed. */
struct old_option {
    enum weir_option_type type;
    const char *field;
    uint32_t offset, bytes;
};

static const struct old_option old_options[] = {
    { WEIR_TYPE_INT, "number", 0, 8 },
    { WEIR_TYPE_INT, "again", 0, 8 },
};

struct old_handler {
    const char *name;
    struct weir_options options;
    struct weir_hooks hooks;
};

static const struct old_handler old_handlers[] = {
    { "odd",
            { (const struct weir_option *)(const void *)old_options, 2, sizeof(old_options[0]),
                    sizeof(struct odd_conf) },
            WEIR_HOOKS(hooks) },
    { "odd2", { NULL, 0, 0, 0 }, WEIR_HOOKS(hooks) },
};
#else
static const struct weir_option options[] = {
    WEIR_INT(struct odd_conf, number, .preset = ODD == PRESET ? "many" : "5"),
};
#endif

#if ODD == METRICS || ODD == GOOD
static const struct weir_own_metric metrics[] = {
    { .type = WEIR_METRIC_COUNTER,
            .name = ODD == GOOD ? "weir_odd_hits_total" : "weir_even_hits_total",
            .help = "Hits" },
};
#endif

WEIR_EXPORT const struct weir_module weir_module_v1 = {
    .magic = ODD == MAGIC ? 0x7f454c46 : WEIR_MODULE_MAGIC,
    .abi = ODD == ABI ? WEIR_MODULE_ABI + 1 : WEIR_MODULE_ABI,
#if ODD == OLDER
    .bytes = offsetof(struct weir_module, init),
    .handlers = { (const struct weir_handler *)(const void *)old_handlers, 2,
            sizeof(old_handlers[0]) },
#else
    .bytes = sizeof(struct weir_module) + (ODD == NEWER ? 8 : 0),
    WEIR_HANDLERS({ .name = "odd",
            .options = WEIR_OPTIONS(struct odd_conf, options),
            .hooks = WEIR_HOOKS(hooks) }),
#endif
    .name = "odd",
    .version = "1",
    .summary = "Odd",
#if ODD == METRICS || ODD == GOOD
    .metrics = WEIR_METRICS(metrics),
#endif
};

#endif
