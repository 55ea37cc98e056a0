/* SPDX-License-Identifier: MIT */
/* weir doc: a reference page of a module's handlers as this installation has them, from the
 * tables that the configuration is checked against (F113). */
#include <getopt.h>
#include <stdio.h>

#include "config/emit.h"
#include "config/schema.h"
#include "module/loader.h"
#include "server/command_check.h"
#include "server/exit.h"
#include "server/main.h"

#define PAGE_MAX_BYTES ((size_t)4 << 20)

/* By enum weir_option_type. */
static const char *const type_texts[] = { "", "true or false", "a number",
    "a count, or false for no limit", "a size such as \"64k\", or false for no limit",
    "a duration such as \"30s\", or false for no limit", "a rate such as \"10/s\"", "text",
    "a path", "a secret", "one of", "a status such as 404 or \"5xx\"",
    "a network such as \"10.0.0.0/8\"", "a list", "an object", "a template",
    "a regular expression", "the name of an upstream", "the name of a pool", "an object",
    "a list of objects", "the path of a log file" };

static const char *
type_text(enum weir_option_type type)
{
    size_t i = (size_t)type;
    return i < sizeof(type_texts) / sizeof(type_texts[0]) ? type_texts[i] : "";
}

static void
write_type(struct emit *emit, const struct weir_option *option)
{
    enum weir_option_type type = option->type;
    emit_format(emit, "%s", type_text(type));
    if (type == WEIR_TYPE_LIST || type == WEIR_TYPE_MAP) {
        emit_format(emit, "; each %s", type_text(option->element));
    }
    for (uint32_t i = 0; i < option->choices.count; i++) {
        bool is_first = i == 0 && (type == WEIR_TYPE_ENUM || option->element == WEIR_TYPE_ENUM);
        emit_format(emit, "%s \"%s\"", is_first ? "" : ",", option->choices.items[i].name);
    }
}

static void
write_options(struct emit *emit, const struct weir_options *options, int indent)
{
    for (size_t i = 0; i < options->count; i++) {
        const struct weir_option *option = schema_option(options, i);
        emit_format(emit, "%*s%s", indent, "",
                option->rest ? "(any other key)" : schema_key(option));
        emit_format(emit, ": ");
        write_type(emit, option);
        if (option->required) {
            emit_format(emit, "; must be given");
        } else if (option->preset != NULL) {
            emit_format(emit, " [%s]", option->preset);
        }
        emit_format(emit, "%s\n", option->shorthand ? "  (shorthand)" : "");
        if (option->help != NULL) {
            emit_format(emit, "%*s%s\n", indent + 4, "", option->help);
        }
        if (option->members.count > 0) {
            write_options(emit, &option->members, indent + 4);
        }
    }
}

static void
write_phases(struct emit *emit, const struct weir_handler *handler)
{
    bool makes_answers = false, is_hook = false;
    for (uint32_t i = 0; i < handler->hooks.count; i++) {
        makes_answers |= handler->hooks.items[i].on == WEIR_ON_CONTENT;
        is_hook |= handler->hooks.items[i].on != WEIR_ON_CONTENT;
    }
    emit_format(emit, "  stands in %s\n",
            makes_answers && is_hook ? "\"handle\" and \"use\""
                    : makes_answers  ? "\"handle\""
                                     : "\"use\"");
}

static void
write_variables(struct emit *emit, const struct weir_handler *handler)
{
    for (uint32_t i = 0; i < handler->variables.count; i++) {
        const struct weir_variable *variable = &handler->variables.items[i];
        bool takes_argument = variable->name[strlen(variable->name) - 1] == '.';
        emit_format(emit, "  variable {%s.%s%s}\n", handler->name, variable->name,
                takes_argument ? "NAME" : "");
        if (variable->help != NULL) {
            emit_format(emit, "      %s\n", variable->help);
        }
    }
}

static void
write_metrics(struct emit *emit, const struct weir_own_metrics *metrics)
{
    for (uint32_t i = 0; i < metrics->count; i++) {
        const struct weir_own_metric *metric = &metrics->items[i];
        emit_format(emit, "%sfigure %s", i == 0 ? "\n" : "", metric->name);
        if (metric->label != NULL) {
            emit_format(emit, ", %s \"%s\"", metric->label, metric->value);
        }
        bool by_server = (metric->labels & WEIR_METRIC_BY_SERVER) != 0;
        bool by_route = (metric->labels & WEIR_METRIC_BY_ROUTE) != 0;
        emit_format(emit, "%s%s\n      %s\n", by_server ? ", by server" : "",
                by_route ? ", by route" : "", metric->help);
    }
}

static void
write_module(struct emit *emit, const struct weir_module *module)
{
    emit_format(emit, "module %s %s\n", module->name, module->version);
    if (module->summary != NULL && module->summary[0] != '\0') {
        emit_format(emit, "  %s\n", module->summary);
    }
    write_options(emit, &module->options, 2);
    for (uint32_t i = 0; i < module->handlers.count; i++) {
        const struct weir_handler *handler = &module->handlers.items[i];
        emit_format(emit, "\nhandler %s\n", handler->name);
        if (handler->help != NULL) {
            emit_format(emit, "  %s\n", handler->help);
        }
        write_phases(emit, handler);
        write_options(emit, &handler->options, 2);
        write_variables(emit, handler);
    }
    write_metrics(emit, &module->metrics);
}

struct looking {
    struct weir_str name;
    const struct weir_module *found;
    struct suggestion suggestion;
};

static void
look_at(void *context, const char *name)
{
    struct looking *looking = context;
    const struct weir_module *module;
    struct loader_mistake mistake;
    if (looking->found != NULL || loader_open(name, NULL, &module, &mistake) < 0) {
        return;
    }
    bool is_it = weir_str_eq(weir_str_from(module->name), looking->name);
    suggestion_offer(&looking->suggestion, weir_str_from(module->name));
    for (uint32_t i = 0; i < module->handlers.count; i++) {
        struct weir_str handler = weir_str_from(module->handlers.items[i].name);
        is_it |= weir_str_eq(handler, looking->name);
        suggestion_offer(&looking->suggestion, handler);
    }
    looking->found = is_it ? module : NULL;
}

static int
show(const struct weir_module *module)
{
    struct buf page;
    struct emit emit;
    buf_init(&page, PAGE_MAX_BYTES);
    emit_init(&emit, &page);
    write_module(&emit, module);
    struct weir_str text = buf_str(&page);
    bool ok = emit.error == 0 && fwrite(text.ptr, 1, text.len, stdout) == text.len &&
            fflush(stdout) == 0;
    buf_fini(&page);
    return ok ? EXIT_OK : EXIT_SYSTEM;
}

int
command_doc(int argc, char **argv)
{
    static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
    int option;
    optind = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option != 'h') {
            command_bad_option("doc", argv);
            return EXIT_USAGE_ERROR;
        }
        fputs("usage: weir doc NAME\n"
              "\n"
              "Writes the reference of the module, or of the module of the handler, NAME: each\n"
              "option with what it takes and, in brackets, its preset.\n"
              "\n"
              "Exit status: 0, 64 wrong usage, 71 system, 78 no such module.\n",
                stdout);
        return EXIT_OK;
    }
    if (argc - optind != 1) {
        fputs("weir doc: one name of a module or handler is needed\nTry: weir doc --help\n",
                stderr);
        return EXIT_USAGE_ERROR;
    }
    struct looking looking = { .name = weir_str_from(argv[optind]) };
    suggestion_init(&looking.suggestion, looking.name);
    if (loader_names(look_at, &looking) < 0) {
        fputs("weir doc: out of memory\n", stderr);
        return EXIT_SYSTEM;
    }
    if (looking.found != NULL) {
        return show(looking.found);
    }
    fprintf(stderr, "weir doc: no module in %s is or brings \"%s\"", loader_directory(),
            argv[optind]);
    if (looking.suggestion.best.ptr != NULL) {
        fprintf(stderr, "; did you mean \"%.*s\"?", WEIR_STR_ARG(looking.suggestion.best));
    }
    fputs("\n", stderr);
    return EXIT_CONFIGURATION;
}
