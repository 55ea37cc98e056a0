/* SPDX-License-Identifier: MIT */
/* Choosing the command. */
#include "server/main.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "config/diagnostic.h"
#include "server/exit.h"
#include "server/worker.h"

static const struct command {
    const char *name, *summary; /* summary NULL: not for people */
    int (*run)(int argc, char **argv);
} commands[] = {
    { "run", "serve a site in the foreground", command_run },
    { "status", "say what a running server is doing", command_status },
    { "reload", "have it read its configuration again, without losing a request",
            command_reload },
    { "reopen", "have it open its log files anew", command_reopen },
    { "stop", "have it answer what it accepted, and end", command_stop },
    { "check", "find every mistake in a configuration", command_check },
    { "explain", "say which route, hooks and options a request meets", command_explain },
    { "schema", "write the JSON Schema of this installation", command_schema },
    { "doc", "write the reference of a module and its handlers", command_doc },
    { "abi-check", "say whether a module fits this Weir", command_abi_check },
    { "checker", NULL, command_checker },
    { "worker", NULL, command_worker }, /* the master's, not people's */
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void
print_help(FILE *out)
{
    fputs("Weir, a modular HTTP server\n"
          "\n"
          "Usage: weir COMMAND [OPTION...]\n"
          "\n"
          "Commands:\n",
            out);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (commands[i].summary != NULL) {
            fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
        }
    }
    fputs("\n"
          "  weir COMMAND --help says more; weir --version names this build.\n"
          "\n"
          "The smallest site, in a file site.json:\n"
          "  { \"modules\": [\"respond\"],\n"
          "    \"servers\": [{ \"listen\": \"127.0.0.1:8080\",\n"
          "                  \"routes\": [{ \"handle\": { \"respond\": \"Hello {peer.ip}\" } }] }] }\n"
          "then: weir check -c site.json && weir run -c site.json\n",
            out);
}

/* Whoever started us may have closed a standard stream, and the next descriptor would take its
 * place: a socket that is written to by mistake. */
static bool
fill_standard_streams(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

int
weir_main(int argc, char **argv)
{
    if (!fill_standard_streams()) {
        return EXIT_SYSTEM;
    }
    const char *name = argc < 2 ? NULL : argv[1];
    if (name == NULL) {
        print_help(stderr);
        return EXIT_USAGE_ERROR;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return EXIT_OK;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        puts("weir " PACKAGE_VERSION);
        return EXIT_OK;
    }
    struct suggestion suggestion;
    suggestion_init(&suggestion, weir_str_from(name));
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            /* What getopt_long() calls us in its complaints. */
            char called[32];
            snprintf(called, sizeof(called), "weir %s", commands[i].name);
            argv[1] = called;
            return commands[i].run(argc - 1, argv + 1);
        }
        if (commands[i].summary != NULL) {
            suggestion_offer(&suggestion, weir_str_from(commands[i].name));
        }
    }
    fprintf(stderr, "weir: unknown command \"%s\"", name);
    if (suggestion.best.ptr != NULL) {
        fprintf(stderr, "; did you mean \"%.*s\"?", WEIR_STR_ARG(suggestion.best));
    }
    fputs("\nTry: weir --help\n", stderr);
    return EXIT_USAGE_ERROR;
}
