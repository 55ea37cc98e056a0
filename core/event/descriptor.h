/* SPDX-License-Identifier: MIT */
/* A descriptor that a loop watches for something to read: pipes and socket pairs between our
 * own processes. Level-triggered; not for clients (net/stream.h). Thread: the loop's. */
#ifndef WEIR_EVENT_DESCRIPTOR_H
#define WEIR_EVENT_DESCRIPTOR_H

#include <weir/api.h>

struct descriptor_watch;
struct loop;

/* There is something to read, or the end. May free the watch. */
typedef void descriptor_readable_fn(void *context);

/* `fd` is borrowed, non-blocking, and outlives the watch. Returns 0 or a negative errno. */
WEIR_MUST_USE int descriptor_watch_new(struct loop *loop, int fd, descriptor_readable_fn *fn,
        void *context, struct descriptor_watch **out);
void descriptor_watch_free(struct descriptor_watch *watch); /* NULL: nothing */

#endif
