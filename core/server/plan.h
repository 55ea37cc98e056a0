/* SPDX-License-Identifier: MIT */
/* What the master learns about one configuration from the checker, and all that it ever knows
 * of it: the master loads no module. Made anew for every generation.
 *
 * The checker has run modules, and the master may be root. So the checker only points: what the
 * master opens (addresses, log files) must stand in the text that the master itself has read,
 * and whose rights to serve with (workers) it reads there by itself. */
#ifndef WEIR_SERVER_PLAN_H
#define WEIR_SERVER_PLAN_H

#include <stdbool.h>
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

struct loop;

struct plan {
    struct arena arena; /* all of it */
    struct site_workers workers;
    struct site_log log;
    struct site_control control;
    const struct config_value *document; /* in the arena */
    const struct plan_listener *listeners;
    size_t listeners_count;
    const struct weir_str *log_files; /* absolute paths that the master opens, each once */
    size_t log_files_count;
    const struct zone_spec *zones; /* memory that its workers share, each once */
    size_t zones_count;
    int sources_fd; /* owned: every byte of the configuration as the master read it, which
                       checker and workers load instead of the files: site_load_bundle();
                       close-on-exec */
};

/* What a plan is made of. */
struct plan_order {
    struct loop *loop;   /* borrowed */
    const char *program; /* borrowed: the binary that is the checker: what is installed now, not
                            what runs */
    const char *file;    /* borrowed */
    bool color;          /* the report is for a terminal */
    struct buf
            *report; /* borrowed: gets what is wrong or warned of, as `weir check` prints it */

    /* From the loop: an exit code (server/exit.h), and with EXIT_OK the plan, to be taken over.
     */
    void (*done)(void *context, int code, struct plan *plan);
    void *context;
};

struct plan_making;

/*
 * Reads the configuration with the caller's rights and has it checked, modules included, by a
 * short-lived process that has dropped them. The loop goes on meanwhile.
 * Thread:  the loop's.
 * Returns: EXIT_OK when that is under way, for 30 seconds at most, and done() will follow once;
 *          else an exit code, and the report says why.
 */
int plan_begin(const struct plan_order *order, struct plan_making **out);

/* Gives up: done() is not called. Only before that. NULL: nothing. */
void plan_cancel(struct plan_making *making);

/* checker_reap()'s; `making` may be NULL. */
bool plan_reap(struct plan_making *making, pid_t pid);

void plan_free(struct plan *plan); /* NULL: nothing */

#endif
