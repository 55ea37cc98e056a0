/* SPDX-License-Identifier: MIT */
/* What the master learns about one configuration from the checker, and all that it ever knows
 * of it: the master loads no module. Made anew for every generation.
 *
 * The checker has run modules, and the master may be root. So the checker only points: what the
 * master opens (addresses, log files) must stand in the text that the master itself has read,
 * and whose rights to serve with (workers) it reads there by itself. */
#ifndef WEIR_SERVER_PLAN_H
#define WEIR_SERVER_PLAN_H

#include <sys/types.h>

#include "base/arena.h"
#include "base/buf.h"
#include "module/site.h"
#include "net/addr.h"

/* What site_check() lets through. */
#define PLAN_MAX_LISTENERS SITE_MAX_LISTENERS
#define PLAN_MAX_LOG_FILES SITE_MAX_LOG_FILES

/* One address to listen on; listeners of one address are one. */
struct plan_listener {
    struct weir_str address; /* as written */
    struct addr addr;
    mode_t mode;
    int backlog;
};

struct plan {
    struct arena arena; /* all of it */
    struct site_workers workers;
    struct site_log log;
    struct site_control control;
    const struct plan_listener *listeners;
    size_t listeners_count;
    const struct weir_str *log_files; /* absolute paths that the master opens, each once */
    size_t log_files_count;
    int sources_fd; /* owned: every byte of the configuration as the master read it, which
                       checker and workers load instead of the files: site_load_bundle();
                       close-on-exec */
};

/*
 * Reads the configuration in `file` with the caller's rights and has it checked, modules
 * included, by a short-lived process that has dropped them.
 * Thread:  a master without threads; blocks until the checker has ended, 30 seconds at most.
 * Params:  program: the binary that is the checker: what is installed now, not what runs.
 *          report: what is wrong with it, or warned of, as `weir check` prints it.
 *          color: the report is for a terminal.
 * Returns: an exit code (server/exit.h); EXIT_OK sets *out; EXIT_RUNTIME when a signal to stop
 * is pending.
 */
int plan_make(const char *program, const char *file, bool color, struct buf *report,
        struct plan **out);

void plan_free(struct plan *plan); /* NULL: nothing */

#endif
