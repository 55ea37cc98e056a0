/* SPDX-License-Identifier: MIT */
/* An event loop: one thread, one libevent base without locks, a clock, and an end to each turn.
 *
 *     turn:  wait for events -> read the clock -> run callbacks (sockets, mailbox, timers)
 *            -> run deferred tasks until none is left -> next turn
 *
 * Everything else on this floor hangs on a loop. Nothing here blocks but the wait itself.
 * Thread: the thread that runs the loop, unless a function says otherwise; a loop belongs to
 * whichever thread first turns it, and before that to the one that made it. */
#ifndef WEIR_EVENT_LOOP_H
#define WEIR_EVENT_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/api.h>

#include "base/clock.h"
#include "base/slice.h"

struct event_base;
struct loop;

/* Bytes of loop_scratch(): 64 KiB of a body and the head before it. */
#define LOOP_SCRATCH_BYTES (68u << 10)

/* A call to make at the end of this turn. Embedded in its object, all zero but for `fn` before
 * first use; linked at most once. */
struct loop_task {
    void (*fn)(struct loop_task *task);
    struct loop_task *next, *previous; /* loop's; NULL when not queued */
};

/* `clock` is borrowed and outlives the loop; NULL is clock_system(). Returns 0 or a negative
 * errno. */
WEIR_MUST_USE int loop_new(const struct clock *clock, struct loop **out);
void loop_free(struct loop *loop); /* NULL: nothing. Timers and tasks must be gone. */

/* Turns until loop_stop(). */
void loop_run(struct loop *loop);

/* One turn; with `wait` it blocks until an event or a timer is due, without it only what is
 * ready now runs. For tests and for draining. Returns false once loop_stop() was called. */
bool loop_turn(struct loop *loop, bool wait);

/* Ends loop_run() after the current turn, or at once when it is yet to be called; no turn waits
 * any more. Any thread. */
void loop_stop(struct loop *loop);

/* From now on the loop belongs to the calling thread: to free it and what hangs on it after its
 * own thread has been joined. Nobody may be using it. */
void loop_adopt(struct loop *loop);

/* True on the loop's own thread. Any thread. */
bool loop_is_current(const struct loop *loop);

/* The monotonic time of this turn, read from the clock when first asked for after the wait and
 * the same until the turn ends; outside a turn, the clock's. And the clock itself. */
uint64_t loop_now_ns(const struct loop *loop);
const struct clock *loop_clock(const struct loop *loop);

/* libevent's base, for the net floor to register descriptors. Borrowed. */
struct event_base *loop_base(struct loop *loop);

/* LOOP_SCRATCH_BYTES of memory that whoever is called may use until it returns. */
char *loop_scratch(struct loop *loop);

/* What stands in the scratch memory becomes the caller's slice, all LOOP_SCRATCH_BYTES of it,
 * and the loop takes other memory: to pass on a lot that was read without copying it. Returns 0
 * or -ENOMEM, when nothing has happened. */
WEIR_MUST_USE int loop_take_scratch(struct loop *loop, struct slice *out);

/* Runs task->fn once at the end of this turn, after all callbacks; queued twice is queued once.
 * Tasks run in the order in which they were queued; one queued by a task runs in the same turn,
 * after the others. */
void loop_defer(struct loop *loop, struct loop_task *task);
/* Deferred tasks run when this callback returns, not after all of the turn: a lot has been read
 * that they pass on, and it is still in the processor's cache. */
void loop_hurry(struct loop *loop);
/* The net floor's, at the end of each of its callbacks. */
void loop_end_callback(void);

/* Runs task->fn once in the next turn, which does not wait: for work that gives way to others.
 */
void loop_defer_to_next(struct loop *loop, struct loop_task *task);

void loop_undefer(struct loop *loop, struct loop_task *task); /* not queued: nothing */

/* Turns so far: what a watchdog looks at. Any thread. */
uint64_t loop_turns(const struct loop *loop);

#endif
