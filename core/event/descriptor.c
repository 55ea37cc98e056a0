/* SPDX-License-Identifier: MIT */
#include "event/descriptor.h"

#include <errno.h>
#include <stdlib.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "event/loop.h"

struct descriptor_watch {
    descriptor_readable_fn *fn;
    void *context; /* borrowed */
    struct event event;
};

static void
on_readable(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct descriptor_watch *watch = context;
    watch->fn(watch->context);
}

int
descriptor_watch_new(struct loop *loop, int fd, descriptor_readable_fn *fn, void *context,
        struct descriptor_watch **out)
{
    struct descriptor_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL) {
        return -ENOMEM;
    }
    watch->fn = fn;
    watch->context = context;
    if (event_assign(&watch->event, loop_base(loop), fd, EV_READ | EV_PERSIST, on_readable,
                watch) != 0 ||
            event_add(&watch->event, NULL) != 0) {
        free(watch);
        return -ENOMEM;
    }
    *out = watch;
    return 0;
}

void
descriptor_watch_free(struct descriptor_watch *watch)
{
    if (watch != NULL) {
        event_del(&watch->event);
        free(watch);
    }
}
