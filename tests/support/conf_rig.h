/* SPDX-License-Identifier: MIT */
/* A handler's options from text, as the server reads them: parsed, merged over layers, filled
 * in, checked by the module and opened. */
#ifndef WEIR_SUPPORT_CONF_RIG_H
#define WEIR_SUPPORT_CONF_RIG_H

#include <weir/module.h>

#include "base/arena.h"
#include "config/diagnostic.h"
#include "module/zone_list.h"

struct conf_rig {
    const struct weir_handler *handler;
    struct arena arena;
    struct diagnostics *diagnostics;
    struct zone_list zones;
    void *conf;
    bool is_open;
};

/* `outer` and `inner` are layers' options, JSON objects; inner may be NULL. False when anything
 * was refused: conf_rig_message(). */
bool conf_rig_init(struct conf_rig *rig, const struct weir_handler *handler, const char *outer,
        const char *inner);
void conf_rig_fini(struct conf_rig *rig);

/* The first mistake's text; "" when there is none. */
const char *conf_rig_message(const struct conf_rig *rig);

#endif
