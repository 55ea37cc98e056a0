/* SPDX-License-Identifier: MIT */
/* The zones that a configuration's modules declare (weir/zone.h), for whoever makes them. */
#ifndef WEIR_MODULE_ZONE_LIST_H
#define WEIR_MODULE_ZONE_LIST_H

#include "base/arena.h"
#include "observe/zone.h"

struct zone_list {
    struct arena *arena; /* borrowed: the configuration's, of which the names are copied */
    struct zone_spec items[WEIR_ZONES_MAX];
    size_t count;
    uint64_t bytes; /* of all */
};

#endif
