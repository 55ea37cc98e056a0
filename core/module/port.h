/* SPDX-License-Identifier: MIT */
/* What a loop does with the ports of its requests (weir/port.h). Thread: the loop's. */
#ifndef WEIR_MODULE_PORT_H
#define WEIR_MODULE_PORT_H

#include <weir/port.h>

struct course_map;

/* Tells all open ports, in the next turn, that the server stops. Those that are opened while
 * engine.is_draining are told by themselves. */
void ports_drain(struct course_map *map);

#endif
