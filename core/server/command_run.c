/* SPDX-License-Identifier: MIT */
/* weir run: read the configuration, say everything that is wrong with it, or serve it. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
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

/* What the configuration may ask for and this build cannot do while it serves. Returns an exit
 * code. */
static int
check_abilities(const struct site *site)
{
    int code = EXIT_OK;
    if (site->workers.processes > 1 || site->workers.loops > 1) {
        log_error(
                "workers.processes and workers.loops above 1: not in this build, which serves "
                "with one process and one event loop; leave them out");
        code = EXIT_CONFIGURATION;
    }
    return code;
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
