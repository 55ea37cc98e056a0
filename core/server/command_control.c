/* SPDX-License-Identifier: MIT */
/* weir status, reload, reopen, stop: what a running server is asked at the prompt. The server's
 * JSON is read with the same parser as its configuration. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "config/diagnostic.h"
#include "config/source.h"
#include "config/text.h"
#include "config/value.h"
#include "server/control_client.h"
#include "server/exit.h"
#include "server/main.h"

#define ANSWER_MAX_BYTES ((size_t)16 << 20)
#define ARENA_MAX_BYTES  ((size_t)64 << 20)

struct command_line {
    struct control_target target;
    bool is_json, no_wait;
};

static void
print_help(const char *name, const char *what, const char *options)
{
    printf("Usage: weir %s [OPTION...]\n"
           "\n"
           "%s\n"
           "\n"
           "  -c, --config FILE    the configuration of the server, which says where it listens\n"
           "      --control PATH   its control socket\n"
           "%s"
           "  -h, --help           this text\n"
           "\n"
           "Without either the preset socket is asked: control.sock in $RUNTIME_DIRECTORY, in\n"
           "/run/weir for root, or in $XDG_RUNTIME_DIR/weir.\n"
           "Exit codes: 0 done, 64 wrong arguments, 69 the server cannot be reached, 77 no\n"
           "permission, 78 the configuration was refused.\n",
            name, what, options);
}

/* Returns -1 when the command is to go on, else its exit code. */
static int
read_arguments(int argc, char **argv, const char *name, const char *what, const char *options,
        struct command_line *out)
{
    static const struct option known[] = {
        { "config", required_argument, NULL, 'c' },
        { "control", required_argument, NULL, 'C' },
        { "json", no_argument, NULL, 'j' },
        { "wait", no_argument, NULL, 'w' },
        { "no-wait", no_argument, NULL, 'n' },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    int option;
    optind = 1;
    *out = (struct command_line){ .is_json = false };
    while ((option = getopt_long(argc, argv, "c:h", known, NULL)) != -1) {
        switch (option) {
        case 'c':
            out->target.file = optarg;
            break;
        case 'C':
            out->target.control = optarg;
            break;
        case 'j':
            out->is_json = true;
            break;
        case 'w':
            out->no_wait = false;
            break;
        case 'n':
            out->no_wait = true;
            break;
        case 'h':
            print_help(name, what, options);
            return EXIT_OK;
        default:
            fprintf(stderr, "Try: weir %s --help\n", name);
            return EXIT_USAGE_ERROR;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "weir %s: \"%s\" is one argument too many\n", name, argv[optind]);
        return EXIT_USAGE_ERROR;
    }
    return -1;
}

/* ---- reading the answer ------------------------------------------------------------------ */

struct answer {
    struct buf text;
    struct arena arena;
    struct diagnostics *diagnostics;
    struct source *source;
    struct config_value *root; /* NULL: not JSON */
};

static void
answer_init(struct answer *answer)
{
    memset(answer, 0, sizeof(*answer));
    buf_init(&answer->text, ANSWER_MAX_BYTES);
    arena_init(&answer->arena, NULL, 0, ARENA_MAX_BYTES);
}

static void
answer_parse(struct answer *answer)
{
    answer->diagnostics = diagnostics_new();
    if (answer->diagnostics == NULL ||
            source_from_text("answer", buf_str(&answer->text), &answer->source) < 0 ||
            text_parse(answer->source, &answer->arena, answer->diagnostics, &answer->root) <
                    0) {
        answer->root = NULL;
    }
}

static void
answer_fini(struct answer *answer)
{
    diagnostics_free(answer->diagnostics);
    arena_reset(&answer->arena);
    source_unref(answer->source);
    buf_fini(&answer->text);
}

static struct weir_str
text_of(const struct config_value *object, const char *name)
{
    const struct config_value *value = config_find_name(object, name);
    return value != NULL && value->kind == CONFIG_STRING ? value->string : WEIR_STR("");
}

static long long
number_of(const struct config_value *object, const char *name)
{
    const struct config_value *value = config_find_name(object, name);
    return value != NULL && value->kind == CONFIG_INTEGER ? (long long)value->integer : 0;
}

/* ---- status ------------------------------------------------------------------------------ */

static void
print_worker(const struct config_value *worker)
{
    printf("    worker %-3lld process %-8lld %-9.*s %10lld requests; connections: %lld active, "
           "%lld idle, %lld accepted, %lld closed; %lld tunnels\n",
            number_of(worker, "index"), number_of(worker, "process"),
            WEIR_STR_ARG(text_of(worker, "state")), number_of(worker, "requests"),
            number_of(worker, "connections_active"), number_of(worker, "connections_idle"),
            number_of(worker, "connections_accepted"), number_of(worker, "connections_closed"),
            number_of(worker, "tunnels"));
}

static void
print_status(const struct config_value *status)
{
    printf("weir %.*s, process %lld, up %lld s: %.*s\n",
            WEIR_STR_ARG(text_of(status, "version")), number_of(status, "process"),
            number_of(status, "uptime_seconds"), WEIR_STR_ARG(text_of(status, "state")));
    const struct config_value *generations = config_find_name(status, "generations");
    for (uint32_t i = 0; generations != NULL && i < generations->count; i++) {
        const struct config_value *generation = generations->items[i];
        printf("  generation %lld: %.*s, %lld restarts\n", number_of(generation, "number"),
                WEIR_STR_ARG(text_of(generation, "state")), number_of(generation, "restarts"));
        const struct config_value *workers = config_find_name(generation, "workers");
        for (uint32_t j = 0; workers != NULL && j < workers->count; j++) {
            print_worker(workers->items[j]);
        }
    }
    const struct config_value *listeners = config_find_name(status, "listeners");
    for (uint32_t i = 0; listeners != NULL && i < listeners->count; i++) {
        const struct config_value *listener = listeners->items[i];
        printf("  listens on %.*s", WEIR_STR_ARG(text_of(listener, "address")));
        if (config_find_name(listener, "queue") != NULL) {
            printf(": %lld of at most %lld wait to be accepted", number_of(listener, "queue"),
                    number_of(listener, "queue_limit"));
        }
        printf("\n");
    }
    const struct config_value *deaths = config_find_name(status, "deaths");
    for (uint32_t i = 0; deaths != NULL && deaths->kind == CONFIG_OBJECT && i < deaths->count;
            i++) {
        struct weir_str module = deaths->members[i].key;
        printf("  workers died: %lld in %s%.*s\n", (long long)deaths->members[i].value->integer,
                module.len == 0 ? "no module" : "module ", WEIR_STR_ARG(module));
    }
}

static int
explain_refusal(const struct answer *answer, unsigned status)
{
    struct weir_str message = answer->root == NULL ? WEIR_STR("an answer that is not JSON")
                                                   : text_of(answer->root, "message");
    struct weir_str report = answer->root == NULL ? WEIR_STR("")
                                                  : text_of(answer->root, "report");
    fprintf(stderr, "%.*sweir: the server refused (%u): %.*s\n", WEIR_STR_ARG(report), status,
            WEIR_STR_ARG(message));
    switch (status) {
    case 403:
        return EXIT_PERMISSION;
    case 409:
        return EXIT_CONFIGURATION;
    case 421: /* the one that was meant has no socket, or is not there */
        return EXIT_UNREACHABLE;
    default:
        return EXIT_RUNTIME;
    }
}

int
command_status(int argc, char **argv)
{
    struct command_line line;
    int code = read_arguments(argc, argv, "status", "Says what a running server is doing.",
            "      --json           as the server says it\n", &line);
    if (code != -1) {
        return code;
    }
    struct answer answer;
    answer_init(&answer);
    unsigned status = control_ask(&line.target, "GET", "/status", &answer.text, &code);
    if (status == 200 && line.is_json) {
        struct weir_str json = buf_str(&answer.text);
        fwrite(json.ptr, 1, json.len, stdout);
        code = EXIT_OK;
    } else if (status != 0) {
        answer_parse(&answer);
        code = status == 200 && answer.root != NULL ? EXIT_OK
                                                    : explain_refusal(&answer, status);
    }
    if (code == EXIT_OK && !line.is_json) {
        print_status(answer.root);
    }
    answer_fini(&answer);
    return code;
}

/* ---- the others -------------------------------------------------------------------------- */

static int
command(struct command_line *line, const char *path)
{
    struct answer answer;
    answer_init(&answer);
    int code = EXIT_OK;
    unsigned status = control_ask(&line->target, "POST", path, &answer.text, &code);
    if (status != 0) {
        answer_parse(&answer);
        if (status >= 300 || answer.root == NULL) {
            code = explain_refusal(&answer, status);
        } else {
            fprintf(stderr, "%.*s", WEIR_STR_ARG(text_of(answer.root, "report")));
            printf("%.*s\n", WEIR_STR_ARG(text_of(answer.root, "message")));
        }
    }
    answer_fini(&answer);
    return code;
}

int
command_reload(int argc, char **argv)
{
    struct command_line line;
    int code = read_arguments(argc, argv, "reload",
            "Has the server read its configuration again. A new generation of workers starts, and\n"
            "serves when all of them are ready; only then the old one drains. One that fails\n"
            "changes nothing, and what is wrong is printed.",
            "      --wait           until it serves, or has failed (the preset)\n"
            "      --no-wait        do not wait\n",
            &line);
    return code != -1 ? code : command(&line, line.no_wait ? "/reload?wait=false" : "/reload");
}

int
command_reopen(int argc, char **argv)
{
    struct command_line line;
    int code = read_arguments(argc, argv, "reopen",
            "Has the server open its log files anew, after they were moved away.", "", &line);
    return code != -1 ? code : command(&line, "/reopen");
}

int
command_stop(int argc, char **argv)
{
    struct command_line line;
    int code = read_arguments(argc, argv, "stop",
            "Has the server answer what it accepted, and end.", "", &line);
    return code != -1 ? code : command(&line, "/stop");
}
