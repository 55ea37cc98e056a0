/* SPDX-License-Identifier: MIT */
/* The environment of workers and of the checker: they are not to know what the master was told
 * in confidence, such as passwords that the configuration refers to. Thread: the only one. */
#ifndef WEIR_SERVER_ENVIRONMENT_H
#define WEIR_SERVER_ENVIRONMENT_H

/* Takes away, from this process, every variable that does not concern the system's libraries,
 * language, time zone and folders, tools that look for mistakes, or Weir (WEIR_...). Allocates
 * nothing: for a child before exec. */
void environment_clean(void);

#endif
