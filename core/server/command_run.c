/* SPDX-License-Identifier: MIT */
/* weir run: read the configuration, say everything that is wrong with it, or serve it. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "module/site.h"
#include "observe/log.h"
#include "server/exit.h"
#include "server/main.h"
#include "server/plan.h"
#include "server/worker.h"

#define REPORT_MAX_BYTES (4u << 20)

static void
print_help(void)
{
    puts("Usage: weir run [-c FILE]\n"
         "\n"
         "Serves the site that FILE describes, in the foreground, until it is told to stop.\n"
         "\n"
         "  -c, --config FILE   the configuration [weir.json]\n"
         "  -h, --help          this text\n"
         "\n"
         "Signals: TERM and QUIT answer what was accepted and stop, within\n"
         "workers.drain_timeout; a second one, or INT, stops at once.\n"
         "Exit codes: 0 stopped as asked, 64 wrong arguments, 71 the system refused,\n"
         "77 no permission, 78 the configuration is wrong.");
}

/* Shows what was found; errors and warnings alike. */
static void
print_diagnostics(struct diagnostics *diagnostics)
{
    struct buf text;
    buf_init(&text, REPORT_MAX_BYTES);
    bool color = isatty(STDERR_FILENO) && getenv("NO_COLOR") == NULL;
    if (diagnostics_print(diagnostics, DIAGNOSTIC_TEXT, color, &text) == 0) {
        struct weir_str all = buf_str(&text);
        fwrite(all.ptr, 1, all.len, stderr);
    } else {
        fputs("weir: out of memory while reporting\n", stderr);
    }
    buf_fini(&text);
}

static enum log_level
level_of(const struct site *site)
{
    switch ((enum site_log_level)site->log.level) {
    case SITE_LOG_DEBUG:
        return LOG_DEBUG;
    case SITE_LOG_INFO:
        return LOG_INFO;
    case SITE_LOG_WARN:
        return LOG_WARN;
    case SITE_LOG_ERROR:
        return LOG_ERROR;
    }
    return LOG_INFO;
}

/* Opens log.file, before privileges are dropped, and sets log.level. Returns an exit code. */
static int
open_log(const struct site *site)
{
    int fd = STDERR_FILENO;
    if (site->log.file.len > 0) {
        char path[PATH_MAX];
        int r = weir_str_to_path(site->log.file, path, sizeof(path));
        fd = r < 0 ? -1
                   : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
        if (fd == -1) {
            int error = r < 0 ? -r : errno;
            log_error("log.file %.*s: %s", WEIR_STR_ARG(site->log.file), strerror(error));
            return error == EACCES || error == EPERM ? EXIT_PERMISSION : EXIT_SYSTEM;
        }
    }
    log_init(fd, level_of(site));
    log_set_form(site->log.format == SITE_LOG_JSON ? LOG_JSON : LOG_TEXT);
    return EXIT_OK;
}

int
command_run(int argc, char **argv)
{
    static const struct option options[] = {
        { "config", required_argument, NULL, 'c' },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    const char *file = "weir.json";
    int option;
    optind = 1;
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            file = optarg;
            break;
        case 'h':
            print_help();
            return EXIT_OK;
        default:
            fputs("Try: weir run --help\n", stderr);
            return EXIT_USAGE_ERROR;
        }
    }
    if (optind < argc) {
        fprintf(stderr,
                "weir run: \"%s\" is one argument too many; the configuration is given "
                "with -c\n",
                argv[optind]);
        return EXIT_USAGE_ERROR;
    }

    struct plan *plan = NULL;
    struct site *site = NULL;
    bool color = isatty(STDERR_FILENO) && getenv("NO_COLOR") == NULL;
    struct buf report;
    buf_init(&report, REPORT_MAX_BYTES);
    int code = plan_make(file, color, &report, &plan);
    struct weir_str said = buf_str(&report);
    fwrite(said.ptr, 1, said.len, stderr);
    buf_fini(&report);

    struct diagnostics *diagnostics = code == EXIT_OK ? diagnostics_new() : NULL;
    if (diagnostics != NULL) {
        /* Its warnings have been shown. */
        int r = site_load_bundle(plan->sources_fd, diagnostics, &site);
        code = r == 0 ? open_log(site) : r == -EINVAL ? EXIT_CONFIGURATION : EXIT_SYSTEM;
        diagnostics_free(diagnostics);
        diagnostics = diagnostics_new();
    }
    if (code == EXIT_OK && diagnostics != NULL) {
        code = worker_run(site, diagnostics);
        print_diagnostics(diagnostics);
    }
    site_free(site);
    diagnostics_free(diagnostics);
    plan_free(plan);
    return code;
}
