/* SPDX-License-Identifier: MIT */
/* weir run: read the configuration, say everything that is wrong with it, or serve it. */
#include <getopt.h>
#include <stdio.h>

#include "server/exit.h"
#include "server/main.h"
#include "server/master.h"

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
         "workers.drain_timeout (after workers.stop_delay, if any, which a second one ends);\n"
         "another one, or INT, stops at once. HUP reads FILE again and\n"
         "replaces the workers without losing a request; USR1 opens log files anew; TTIN and\n"
         "TTOU want one worker more or fewer; WINCH accepts no new connections.\n"
         "Exit codes: 0 stopped as asked, 1 workers die as soon as they serve, 64 wrong arguments, 71 the system refused,\n"
         "77 no permission, 78 the configuration is wrong.");
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

    return master_run(file);
}
