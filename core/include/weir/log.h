/* SPDX-License-Identifier: MIT */
/* Logs: the server's own, and files of lines that a module writes.
 *
 * A line for a file is copied and written later, by a thread of the server's: no hook ever
 * waits for a disk. Each thread that logs has a ring of one MiB; what does not fit any more,
 * since the disk is full or slow, is dropped, counted and told of in the server's log, at most
 * once a second. Whole lines are written, many with one call, at the end of the file. Grows
 * until 1.0. */
#ifndef WEIR_LOG_H
#define WEIR_LOG_H

#include <weir/api.h>
#include <weir/module.h>
#include <weir/str.h>

WEIR_BEGIN_DECLS

/* ---- the server's own -------------------------------------------------------------------- */

enum weir_log_level {
    WEIR_LOG_ERROR = 1, /* someone must act */
    WEIR_LOG_WARN = 2,  /* the server coped */
    WEIR_LOG_INFO = 3,  /* a change in the server's life */
    WEIR_LOG_DEBUG = 4, /* one request's story */
};

/* A line that says what failed, why, and what follows: `module NAME, hook PHASE, METHOD TARGET:
 * ` is put in front. Cut at 1 KiB; bytes from outside may be in it, since control bytes are
 * escaped. Whoever can make it happen can fill the log: nothing that any client causes at will
 * is an error. Thread: the request's loop, from within a hook of it. */
WEIR_API WEIR_LOOP void weir_request_log(const struct weir_request *request,
        enum weir_log_level level, const char *format, ...) WEIR_PRINTF(3, 4);

/* ---- files of lines ---------------------------------------------------------------------- */

struct weir_log_file;

/* Bytes of the longest line, its end included. */
#define WEIR_LOG_LINE_BYTES 65536u

/*
 * Opens the file `path` (the value of an option of type WEIR_TYPE_LOG: absolute, "stdout" or
 * "stderr") for appending, or takes part in it when it is open already.
 * Thread:  any (conf_open).
 * Memory:  *out is the caller's until weir_log_close().
 * Returns: 0; -EINVAL for another path or one that is no file to write to; another negative
 *          errno.
 */
WEIR_MUST_USE WEIR_API WEIR_SETUP int weir_log_open(struct weir_str path,
        struct weir_log_file **out);

/* Writes what is waiting, for at most two seconds, and closes the file when nobody else has it
 * open. NULL: nothing. Thread: any, when no hook logs to it any more (conf_close). */
WEIR_API WEIR_SETUP void weir_log_close(struct weir_log_file *file);

/*
 * Appends a copy of `line` and a line's end. The caller sees to it that no control byte is in
 * it (WEIR_CONTEXT_LOG escapes what variables put into a template). Thread:  any; never waits.
 * Lines of one thread stay in their order. Returns: 0; -EAGAIN when there was no room,
 * -EMSGSIZE when it is longer than WEIR_LOG_LINE_BYTES, -ENOMEM: it was dropped and counted.
 */
WEIR_API WEIR_ANY int weir_log_line(struct weir_log_file *file, struct weir_str line);

WEIR_END_DECLS

#endif
