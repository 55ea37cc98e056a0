/* SPDX-License-Identifier: MIT */
/* The master: reads the configuration, opens what needs its rights, starts generations of
 * workers, and watches over them. It serves no client and loads no module. */
#ifndef WEIR_SERVER_MASTER_H
#define WEIR_SERVER_MASTER_H

/* Serves the configuration in `file` until told to stop. Returns an exit code; what is wrong
 * was printed or logged. */
int master_run(const char *file);

#endif
