/* SPDX-License-Identifier: MIT */
/* The thread that writes log files: takes the rings of all threads that log and appends whole
 * lines, many with one call. It sleeps for good while nobody logs, and is woken by the first
 * line after that; while lines come it looks every 50 ms, or when a ring is half full, so that
 * logging costs no system call. */
#ifndef WEIR_OBSERVE_LOG_WRITER_H
#define WEIR_OBSERVE_LOG_WRITER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <weir/str.h>

/* As many as one writev() takes (IOV_MAX). */
#define LOG_BATCH_LINES 1024

struct weir_log_file {
    /* log_file.c's */
    struct weir_log_file *next;
    unsigned references;
    int fd; /* owned; the number never changes */

    /* The writer's alone. */
    struct weir_log_file *next_touched;
    struct iovec lines[LOG_BATCH_LINES];
    int line_count;
    bool is_torn;          /* ends in half a line that could not be taken back */
    int error;             /* of the last batch; 0: it went well */
    uint64_t told_dropped; /* of `dropped`, what the error log knows */
    uint64_t told_ns;      /* when it was told, by the monotonic clock */

    _Atomic uint64_t dropped; /* lines; any thread */
    char path[];              /* terminated */
};

/* Starts the thread, once and for all: it ends with the process. Returns 0 or a negative errno.
 * Thread: one at a time. */
WEIR_MUST_USE int log_writer_start(void);

/* Passes a line on; weir_log_line()'s answers. Any thread. */
int log_writer_put(struct weir_log_file *file, struct weir_str line);

/* Waits until two whole rounds have begun and ended. False: not within `timeout_ms`. */
bool log_writer_flush(unsigned timeout_ms);

#endif
