/* SPDX-License-Identifier: MIT */
/* The lines of the access log. */
#ifndef WEIR_ACCESS_LOG_ACCESS_LOG_H
#define WEIR_ACCESS_LOG_ACCESS_LOG_H

#include <weir/log.h>
#include <weir/module.h>
#include <weir/request.h>

/* Each takes the memory for its line from the request. .ptr is NULL without memory. */
struct weir_str access_log_json(struct weir_request *request);
struct weir_str access_log_combined(struct weir_request *request);

/* What was sent, or 499 when the client left before any of it was (nginx's number). */
unsigned access_log_status(const struct weir_request *request);

#endif
