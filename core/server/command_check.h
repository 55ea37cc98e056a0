/* SPDX-License-Identifier: MIT */
/* `weir check`, and what every command does that reads the configuration: finding it and saying
 * what is wrong with it. Exit codes as in DESIGN.md section 3. */
#ifndef WEIR_SERVER_COMMAND_CHECK_H
#define WEIR_SERVER_COMMAND_CHECK_H

#include "config/diagnostic.h"
#include "module/site.h"

/* The file that is read when no -c says another. */
#define COMMAND_CONFIG_FILE "weir.json"

/* Loads the configuration in `file` and shows its mistakes: JSON on standard output, the other
 * forms on standard error, in colour when that is a terminal and NO_COLOR is not set. Returns 0
 * and sets *out, else the exit code, when there is nothing in *out. */
WEIR_MUST_USE int command_load(const char *file, enum diagnostic_format format,
        struct site **out);

/* After getopt_long() answered '?': says which argument of `command` is wrong. */
void command_bad_option(const char *command, char **argv);

#endif
