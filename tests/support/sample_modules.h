/* SPDX-License-Identifier: MIT */
/* Modules for tests of the configuration: tables with the options that CONFIG.md settles, and
 * one, `probe`, with an option of every type. Their hooks do nothing. */
#ifndef WEIR_SUPPORT_SAMPLE_MODULES_H
#define WEIR_SUPPORT_SAMPLE_MODULES_H

#include <weir/module.h>

struct probe_conf {
    bool flag;
    int64_t number;
    uint64_t count, size_bytes, time_ns;
    struct weir_rate rate;
    struct weir_str text, file, secret, pool;
    int word;
    struct weir_status status;
    struct weir_network network;
    struct weir_list words, deny; /* deny appends */
    struct weir_map set, add;     /* by key; appends */
    const struct weir_template *template_;
    const struct weir_regex *regex;
    struct {
        int64_t depth;
        struct weir_str name;
    } inner;
    struct weir_list steps;
    void *opened; /* no option's */
};

struct probe_step {
    struct weir_str name;
    uint64_t wait_ns;
};

/* Makes them known to the loader, once. Those of CONFIG.md that this build leaves out (proxy,
 * asgi) only when `all`. */
void sample_modules_register(bool all);

/* How often probe's conf_check() ran. */
extern int probe_checks;

#endif
