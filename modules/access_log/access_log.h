/* SPDX-License-Identifier: MIT */
/* The lines of the access log. */
#ifndef WEIR_ACCESS_LOG_ACCESS_LOG_H
#define WEIR_ACCESS_LOG_ACCESS_LOG_H

#include <weir/log.h>
#include <weir/module.h>
#include <weir/request.h>

/* A line for a request with fields of ordinary length. */
#define ACCESS_LOG_ROOM_BYTES 4096u

/* Where a line is made: in `room`, or in memory of the request when that is too small. */
struct access_log_line {
    char *bytes;
    char room[ACCESS_LOG_ROOM_BYTES];
};

/* Each makes a line that lives as long as `line` and the request. .ptr is NULL without memory.
 */
struct weir_str access_log_json(struct weir_request *request, struct access_log_line *line);
struct weir_str access_log_combined(struct weir_request *request, struct access_log_line *line);

/* What was sent, or 499 when the client left before any of it was (nginx's number). */
unsigned access_log_status(const struct weir_request *request);

#endif
