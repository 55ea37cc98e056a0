/* SPDX-License-Identifier: MIT */
/* What one walker of a request's course (course.h) waits with: each has a slot of its own, so
 * that a handler may wait for room while a reply-head hook waits for a thread. Thread: the
 * request's loop. */
#ifndef WEIR_MODULE_HOOK_WAIT_H
#define WEIR_MODULE_HOOK_WAIT_H

#include <weir/module.h>

struct course_wait;

enum hook_wait_kind {
    HOOK_WAIT_NONE,
    HOOK_WAIT_BODY,
    HOOK_WAIT_ROOM,
    HOOK_WAIT_EVENT /* course_ripen() */
};

struct hook_wait {
    enum hook_wait_kind kind;
    weir_request_fn *resume;   /* in the hook's place */
    struct course_wait *event; /* borrowed: what HOOK_WAIT_EVENT waits for */
    uint64_t began_ns;         /* monotonic */
};

#endif
