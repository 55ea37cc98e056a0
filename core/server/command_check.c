/* SPDX-License-Identifier: MIT */
/* Everything that can be wrong with a configuration is found without binding, opening or making
 * anything, so that a check is safe beside a running server. */
#include "server/command_check.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "module/site_check.h"
#include "server/exit.h"
#include "server/main.h"
#include "server/path_check.h"

#define REPORT_MAX_BYTES ((size_t)64 << 20)

static bool
wants_color(void)
{
    const char *no_color = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    return isatty(STDERR_FILENO) == 1 && (no_color == NULL || no_color[0] == '\0') &&
            (terminal == NULL || strcmp(terminal, "dumb") != 0);
}

/* False when the report could not be made or written. */
static bool
show(struct diagnostics *diagnostics, enum diagnostic_format format)
{
    struct buf text;
    buf_init(&text, REPORT_MAX_BYTES);
    bool ok = diagnostics_print(diagnostics, format, wants_color(), &text) == 0;
    struct weir_str report = buf_str(&text);
    FILE *stream = format == DIAGNOSTIC_JSON ? stdout : stderr;
    if (ok && report.len > 0) {
        ok = fwrite(report.ptr, 1, report.len, stream) == report.len && fflush(stream) == 0;
    }
    buf_fini(&text);
    return ok;
}

static int
no_memory(void)
{
    fprintf(stderr, "weir: out of memory while reading the configuration\n");
    return EXIT_SYSTEM;
}

/* command_load(); with `with_system` also what path_check() finds. *warnings is their number.
 */
static int
load(const char *file, enum diagnostic_format format, bool with_system, struct site **out,
        size_t *warnings)
{
    struct site *site = NULL;
    struct diagnostics *diagnostics = diagnostics_new();
    if (diagnostics == NULL) {
        return no_memory();
    }
    int r = site_load(file, diagnostics, &site);
    r = r < 0 ? r : site_check(site, diagnostics);
    r = r < 0 || !with_system ? r : path_check(site, diagnostics);
    bool has_shown = show(diagnostics, format);
    *warnings = diagnostics_count(diagnostics);
    diagnostics_free(diagnostics);
    if (r == 0 && has_shown) {
        *out = site;
        return 0;
    }
    site_free(site);
    return r == -ENOMEM || !has_shown ? no_memory() : EXIT_CONFIGURATION;
}

int
command_load(const char *file, enum diagnostic_format format, struct site **out)
{
    size_t warnings;
    return load(file, format, false, out, &warnings);
}

void
command_bad_option(const char *command, char **argv)
{
    fprintf(stderr, "weir %s: the option %s is unknown, or its value is missing\n", command,
            argv[optind - 1]);
    fprintf(stderr, "Try: weir %s --help\n", command);
}

static void
help(FILE *stream)
{
    fputs("usage: weir check [-c FILE] [--format=text|json|gcc] [--text-only]\n"
          "\n"
          "Reads the configuration, loads its modules and reports every mistake in it. Opens and\n"
          "makes nothing.\n"
          "\n"
          "  -c, --config=FILE   the configuration [weir.json]\n"
          "  -f, --format=FORM   text for people, json for programs, gcc for editors\n"
          "  -q, --quiet         say nothing when all is well\n"
          "  -t, --text-only     do not look for the files, folders and users that it names:\n"
          "                      another machine will run it\n"
          "  -h, --help          this text\n"
          "\n"
          "Exit status: 0 no mistake, 64 wrong usage, 71 system, 78 mistakes.\n",
            stream);
}

static bool
parse_format(const char *text, enum diagnostic_format *out)
{
    static const char *const names[] = { "text", "json", "gcc" };
    static const enum diagnostic_format formats[] = { DIAGNOSTIC_TEXT, DIAGNOSTIC_JSON,
        DIAGNOSTIC_GCC };
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = formats[i];
            return true;
        }
    }
    fprintf(stderr, "weir check: no form \"%s\"; there are text, json and gcc\n", text);
    return false;
}

static void
say_good(const char *file, const struct site *site, size_t warnings)
{
    if (warnings > 0) {
        printf("%s: no errors, %zu warning%s", file, warnings, warnings == 1 ? "" : "s");
    } else {
        printf("%s: no mistakes", file);
    }
    printf(" (%zu module%s, %zu listener%s)\n", site->modules_count,
            site->modules_count == 1 ? "" : "s", site->listeners_count,
            site->listeners_count == 1 ? "" : "s");
}

int
command_check(int argc, char **argv)
{
    static const struct option options[] = {
        { "config", required_argument, NULL, 'c' },
        { "format", required_argument, NULL, 'f' },
        { "json", no_argument, NULL, 'j' },
        { "quiet", no_argument, NULL, 'q' },
        { "text-only", no_argument, NULL, 't' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    const char *file = COMMAND_CONFIG_FILE;
    enum diagnostic_format format = DIAGNOSTIC_TEXT;
    bool is_quiet = false, with_system = true;
    int option;
    optind = 0; /* glibc: begin anew */
    opterr = 0; /* it would say "check", not "weir check" */
    while ((option = getopt_long(argc, argv, "c:f:qth", options, NULL)) != -1) {
        if (option == 'c') {
            file = optarg;
        } else if (option == 'f') {
            if (!parse_format(optarg, &format)) {
                return EXIT_USAGE_ERROR;
            }
        } else if (option == 'j') {
            format = DIAGNOSTIC_JSON;
        } else if (option == 'q') {
            is_quiet = true;
        } else if (option == 't') {
            with_system = false;
        } else if (option == 'h') {
            help(stdout);
            return 0;
        } else {
            command_bad_option("check", argv);
            return EXIT_USAGE_ERROR;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "weir check: unexpected \"%s\"; did you mean -c %s?\n", argv[optind],
                argv[optind]);
        return EXIT_USAGE_ERROR;
    }
    struct site *site;
    size_t warnings = 0;
    int code = load(file, format, with_system, &site, &warnings);
    if (code == 0) {
        if (format == DIAGNOSTIC_TEXT && !is_quiet) {
            say_good(file, site, warnings);
        }
        site_free(site);
    }
    return code;
}
