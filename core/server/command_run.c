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

/* What the configuration may ask for and this build cannot do while it serves: refused, not
 * passed over. Returns an exit code. */
static int
check_abilities(const struct site *site)
{
    const struct site_workers *workers = &site->workers;
    const struct {
        bool is_asked;
        const char *what;
    } asked[] = {
        { workers->processes > 1 || workers->loops > 1,
                "workers.processes and workers.loops above 1: not in this build, which serves "
                "with one process and one event loop; leave them out" },
        { workers->max_requests != UINT64_MAX,
                "workers.max_requests: not in this build, whose only worker is never replaced" },
        { workers->cpu_affinity, "workers.cpu_affinity: not in this build; use taskset" },
        { site->control.listen.len > 0, "control.listen: not in this build" },
        { site->log.format == SITE_LOG_JSON,
                "log.format \"json\": not in this build, whose error log is text" },
    };
    int code = EXIT_OK;
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        if (asked[i].is_asked) {
            log_error("%s", asked[i].what);
            code = EXIT_CONFIGURATION;
        }
    }
    return code;
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

    struct diagnostics *diagnostics = diagnostics_new();
    if (diagnostics == NULL) {
        fputs("weir: out of memory\n", stderr);
        return EXIT_SYSTEM;
    }
    struct site *site = NULL;
    int code = EXIT_OK;
    if (site_load(file, diagnostics, &site) < 0) {
        code = EXIT_CONFIGURATION;
    } else {
        code = check_abilities(site);
    }
    if (code == EXIT_OK) {
        code = open_log(site);
    }
    print_diagnostics(diagnostics);
    diagnostics_free(diagnostics);
    diagnostics = diagnostics_new();
    if (code == EXIT_OK && diagnostics != NULL) {
        code = worker_run(site, diagnostics);
        print_diagnostics(diagnostics);
    }
    site_free(site);
    diagnostics_free(diagnostics);
    return code;
}
