/* SPDX-License-Identifier: MIT */
/* The `weir` program: its first argument chooses a command, each of which has a file of its own
 * and answers with an exit code (server/exit.h). */
#ifndef WEIR_SERVER_MAIN_H
#define WEIR_SERVER_MAIN_H

#include <weir/api.h>

/* The whole program. Exported for the thin `weir` binary, not for modules. */
WEIR_API int weir_main(int argc, char **argv);

/* Commands: argv[0] is the command's name. */
int command_run(int argc, char **argv);
int command_check(int argc, char **argv);
int command_explain(int argc, char **argv);
int command_schema(int argc, char **argv);
int command_status(int argc, char **argv);
int command_reload(int argc, char **argv);
int command_reopen(int argc, char **argv);
int command_stop(int argc, char **argv);
int command_doc(int argc, char **argv);
int command_abi_check(int argc, char **argv);

/* Started by the master alone. */
int command_checker(int argc, char **argv);

#endif
