/* SPDX-License-Identifier: MIT */
/* The error log: one line an event, to one descriptor, with a time and a level. Bytes from
 * outside are escaped by the log itself; a line is one write and never waits for a slow disk
 * longer than that. Any thread. */
#ifndef WEIR_OBSERVE_LOG_H
#define WEIR_OBSERVE_LOG_H

#include <stddef.h>

#include <weir/api.h>

enum log_level {
    LOG_ERROR, /* someone must act */
    LOG_WARN,  /* we coped */
    LOG_INFO,  /* a change in the server's life */
    LOG_DEBUG, /* one connection's story */
};

/* Until it is called: standard error, LOG_INFO. The descriptor is borrowed. */
void log_init(int fd, enum log_level level);

/* How a line looks: `TIME weir[PID] LEVEL: MESSAGE`, or an object with the members time, level,
 * pid and message. Until it is called: LOG_TEXT. */
enum log_form {
    LOG_TEXT,
    LOG_JSON
};
void log_set_form(enum log_form form);

enum log_level log_level(void);

/* "error", "warn", "info", "debug" */
const char *log_level_name(enum log_level level);

/* From now on the calling thread's warnings and errors are told to `fn` as well, as they were
 * formatted; NULL: no longer. */
typedef void log_listen_fn(void *context, const char *message, size_t len);
void log_listen(log_listen_fn *fn, void *context);

/* Writes one line, unless `level` lies below the log's own; cut at 2 KiB. Control bytes in it
 * become \xNN; in JSON \u00NN, and bytes that are not UTF-8 \ufffd. */
void log_write(enum log_level level, const char *format, ...) WEIR_PRINTF(2, 3);

/* The same where a part of the site has a level of its own, `most`. */
void log_write_within(enum log_level most, enum log_level level, const char *format, ...)
        WEIR_PRINTF(3, 4);

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

#endif
