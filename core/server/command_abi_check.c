/* SPDX-License-Identifier: MIT */
/* weir abi-check: whether a module fits this Weir, before it is installed (F123). */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "module/loader.h"
#include "server/command_check.h"
#include "server/exit.h"
#include "server/main.h"

static void
show(const char *file, const struct weir_module *module)
{
    printf("%s: module \"%s\" %s fits (ABI %u; handlers:", file, module->name, module->version,
            module->abi);
    for (uint32_t i = 0; i < module->handlers.count; i++) {
        printf("%s %s", i == 0 ? "" : ",", module->handlers.items[i].name);
    }
    printf("%s%s)\n", module->handlers.count == 0 ? " none" : "",
            (module->flags & WEIR_MODULE_MANY_LOOPS) != 0 ? "; safe with several event loops"
                                                          : "; one event loop a process");
}

static int
explain(const char *file, int error, const struct loader_mistake *mistake)
{
    if (error != -EINVAL) {
        fprintf(stderr, "weir abi-check: %s: %s\n", file, strerrordesc_np(-error));
        return error == -ENOMEM ? EXIT_SYSTEM : EXIT_CONFIGURATION;
    }
    fprintf(stderr, "%s: %s\n", file, mistake->message);
    if (mistake->note[0] != '\0') {
        fprintf(stderr, "  %s\n", mistake->note);
    }
    if (mistake->hint[0] != '\0') {
        fprintf(stderr, "  %s\n", mistake->hint);
    }
    return EXIT_CONFIGURATION;
}

static int
check(const char *file)
{
    const struct weir_module *module;
    struct loader_mistake mistake;
    char *path = realpath(file, NULL);
    int r = path == NULL ? -errno : loader_open(NULL, path, &module, &mistake);
    free(path);
    if (r < 0) {
        return explain(file, r, &mistake);
    }
    show(file, module);
    return EXIT_OK;
}

int
command_abi_check(int argc, char **argv)
{
    static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
    int option, code = EXIT_OK;
    optind = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option != 'h') {
            command_bad_option("abi-check", argv);
            return EXIT_USAGE_ERROR;
        }
        fputs("usage: weir abi-check FILE...\n"
              "\n"
              "Loads each FILE and says whether it is a module that this Weir can use; where not,\n"
              "what was expected, what was found, and what to do.\n"
              "\n"
              "Exit status: 0 all fit, 64 wrong usage, 71 system, 78 one does not.\n",
                stdout);
        return EXIT_OK;
    }
    if (optind == argc) {
        fputs("weir abi-check: a file is needed\nTry: weir abi-check --help\n", stderr);
        return EXIT_USAGE_ERROR;
    }
    for (int i = optind; i < argc; i++) {
        int one = check(argv[i]);
        code = one != EXIT_OK ? one : code;
    }
    return code;
}
