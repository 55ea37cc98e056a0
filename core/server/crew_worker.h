/* SPDX-License-Identifier: MIT */
/* One worker process as its crew sees it: started, told, watched. Thread: the master's. */
#ifndef WEIR_SERVER_CREW_WORKER_H
#define WEIR_SERVER_CREW_WORKER_H

#include "server/crew.h"

/* Enough for crew_worker_describe_end(). */
#define CREW_END_BYTES 640

/* Forks and execs one more worker of the crew in the place `index`, and sends it its beginning.
 * Returns an exit code; what is wrong was logged. */
int crew_worker_start(struct crew *crew, unsigned index);

/* Frees one that is in no list any more. */
void crew_worker_free(struct crew_worker *worker);

/* Sends one message. A worker that takes none is killed, and replaced when it has ended. */
void crew_worker_send(struct crew_worker *worker, enum channel_type type, const void *body,
        size_t bytes, const int *descriptors, size_t count);

/* The sockets of one address, from the one of slot `from` on. */
void crew_worker_send_sockets(struct crew_worker *worker, size_t address, unsigned from);

/* The error log and the log files. */
void crew_worker_send_logs(struct crew_worker *worker);

/* It has `ns` from now for what its state is about (CLOCK_NEVER: no limit): a worker that is
 * late is ended, and named. */
void crew_worker_limit(struct crew_worker *worker, uint64_t ns);

/* It ends now, by itself. */
void crew_worker_stop(struct crew_worker *worker);

/* What it said is wrong is what is wrong with the crew. */
void crew_take_report(struct crew_worker *worker);

/* It accepts no more, and ends with what it has. */
void crew_worker_drain(struct crew_worker *worker, bool is_stop);

/* Kills one that serves nobody yet. */
void crew_worker_end_unneeded(struct crew_worker *worker);

/* Ends it when one of its loops does not come back from a module for `limit_ns`. */
void crew_worker_watch(struct crew_worker *worker, uint64_t now_ns, uint64_t limit_ns);

/* It was found stuck: says so, once. It may have been asked where it is meanwhile, so that it
 * is said when it has ended, or when it has had its time. */
void crew_worker_tell_stall(struct crew_worker *worker);

/* Where it was when it ended so. True when that is why: a module crashed, ended the process or
 * did not come back. */
bool crew_worker_find_culprit(const struct crew_worker *worker, int status,
        struct flight_place *place);

/* How it ended, and in which module, where it was in one. Returns `text`. */
const char *crew_worker_describe_end(const struct crew_worker *worker, int status, char *text,
        size_t bytes);

#endif
