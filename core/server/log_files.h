/* SPDX-License-Identifier: MIT */
/* The files that the master opens for workers to write to, with its rights: the error log and
 * those that modules' options name. Thread: the master's. */
#ifndef WEIR_SERVER_LOG_FILES_H
#define WEIR_SERVER_LOG_FILES_H

#include "server/plan.h"

struct log_files;

struct log_files *log_files_new(void);        /* NULL without memory */
void log_files_free(struct log_files *files); /* closes all. NULL: nothing */

/* Opens what the plan names and is not open yet: plan->log.file, then plan->log_files. What is
 * wrong is logged. Returns an exit code. */
int log_files_open(struct log_files *files, const struct plan *plan);

/* The error log of the plan; standard error where it names no file. */
int log_files_error_log(const struct log_files *files, const struct plan *plan);

/* The descriptor of a file that log_files_open() opened; -1: none. */
int log_files_find(const struct log_files *files, struct weir_str path);

/* Closes those that none of the plans names, and whose descriptor is not `in_use`. */
void log_files_keep(struct log_files *files, const struct plan *const *plans, size_t count,
        int in_use);

/* Opens every file anew, under its name, in the place of the old descriptor (USR1). One that
 * cannot be opened keeps the old one, and that is logged. */
void log_files_reopen(struct log_files *files);

#endif
