/* SPDX-License-Identifier: MIT */
/* Exit codes: DESIGN.md section 3, after sysexits.h. */
#ifndef WEIR_SERVER_EXIT_H
#define WEIR_SERVER_EXIT_H

enum exit_code {
    EXIT_OK = 0,
    EXIT_RUNTIME = 1,
    EXIT_USAGE_ERROR = 64,
    EXIT_UNREACHABLE = 69, /* the control socket */
    EXIT_SYSTEM = 71,
    EXIT_PERMISSION = 77,
    EXIT_CONFIGURATION = 78,
};

#endif
