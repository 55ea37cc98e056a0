/* SPDX-License-Identifier: MIT */
/* Signals as events of a loop. A watched signal is blocked and read from a descriptor, so no
 * handler ever runs in the middle of anything. Watch before any thread is made: what the first
 * thread blocks, all later ones block, and then the loop alone hears it.
 *
 * A child process inherits what is blocked: signal_unblock_all() between fork and exec. */
#ifndef WEIR_EVENT_SIGNAL_H
#define WEIR_EVENT_SIGNAL_H

#include <stddef.h>

#include <weir/api.h>

struct loop;
struct signal_watch;

/* On the loop. Several of one signal that came before the loop looked are one, as always. May
 * free the watch. */
typedef void signal_watch_fn(void *context, int signo);

/* Blocks `count` signals in the calling thread and watches them on `loop`. A signal is watched
 * once in a process. Thread: the loop's, or any before the loop turns. Returns 0 or a negative
 * errno (-EINVAL: not a signal, or one that cannot be blocked), when nothing is blocked. */
WEIR_MUST_USE int signal_watch_new(struct loop *loop, const int *signals, size_t count,
        signal_watch_fn *fn, void *context, struct signal_watch **out);

/* The signals stay blocked: one that comes late is not to end the process. NULL: nothing. */
void signal_watch_free(struct signal_watch *watch);

/* A peer that went away is an error of write(), not a signal. Any thread, once a process. */
void signal_ignore_pipe(void);

/* Blocks, in the calling thread, every signal but those a thread causes by a fault of its own
 * (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS): blocked, those would end the process
 * without the report of whoever handles them. What it makes inherits that. */
void signal_block_all(void);

/* Blocks none, in the calling thread: for a child before exec. Async-signal-safe. */
void signal_unblock_all(void);

#endif
