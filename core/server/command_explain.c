/* SPDX-License-Identifier: MIT */
/* Asks the compiled site the questions that the engine asks, and prints the answers with their
 * places. */
#include "server/command_explain.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/emit.h"
#include "config/schema.h"
#include "module/chain.h"
#include "module/site_tables.h"
#include "server/command_check.h"
#include "server/exit.h"
#include "server/main.h"

#define ANSWER_MAX_BYTES ((size_t)4 << 20)
#define HEADERS_MAX      64

struct explaining {
    const struct explain_answer *answer;
    struct emit emit;
};

/* Places and values */

static void
text(struct explaining *explaining, struct weir_str s)
{
    emit_escaped(&explaining->emit, s, false);
}

static void
line(struct explaining *explaining, const char *word)
{
    emit_raw(&explaining->emit, weir_str_from(word));
}

static void
place(struct explaining *explaining, const struct config_place *place)
{
    if (place->source == NULL) {
        line(explaining, "preset");
        return;
    }
    text(explaining, weir_str_from(place->source->name));
    emit_format(&explaining->emit, ":%u", source_locate(place).line);
}

static void
value(struct explaining *explaining, const struct config_value *v)
{
    struct emit *emit = &explaining->emit;
    switch (v->kind) {
    case CONFIG_NULL:
    case CONFIG_FALSE:
    case CONFIG_TRUE:
        line(explaining, config_kind_text(v->kind));
        break;
    case CONFIG_INTEGER:
        emit_format(emit, "%lld", (long long)v->integer);
        break;
    case CONFIG_REAL:
        text(explaining, v->string);
        break;
    case CONFIG_STRING:
        line(explaining, "\"");
        text(explaining, v->string);
        line(explaining, "\"");
        break;
    case CONFIG_LIST:
        line(explaining, "[");
        for (uint32_t i = 0; i < v->count; i++) {
            line(explaining, i == 0 ? "" : ", ");
            value(explaining, v->items[i]);
        }
        line(explaining, "]");
        break;
    case CONFIG_OBJECT:
        line(explaining, "{ ");
        for (uint32_t i = 0; i < v->count; i++) {
            line(explaining, i == 0 ? "\"" : ", \"");
            text(explaining, v->members[i].key);
            line(explaining, "\": ");
            value(explaining, v->members[i].value);
        }
        line(explaining, " }");
        break;
    }
}

/* A list that several layers appended to has several places; the first item that was written
 * elsewhere than the list says so. */
static void
value_places(struct explaining *explaining, const struct config_value *v)
{
    place(explaining, &v->place);
    for (uint32_t i = 0; v->kind == CONFIG_LIST && i < v->count; i++) {
        const struct config_place *at = &v->items[i]->place;
        if (at->source != v->place.source ||
                source_locate(at).line != source_locate(&v->place).line) {
            line(explaining, ", ");
            place(explaining, at);
        }
    }
}

/* One line an option; presets in parentheses, secrets hidden. */
static void
options(struct explaining *explaining, const struct weir_options *table,
        const struct config_value *merged, unsigned indent)
{
    struct emit *emit = &explaining->emit;
    for (size_t i = 0; i < table->count; i++) {
        const struct weir_option *option = schema_option(table, i);
        const struct config_value *v = option->rest
                ? NULL
                : config_find_name(merged, schema_key(option));
        if (option->type == SCHEMA_ANY || option->type == SCHEMA_NOT_IN_BUILD || option->rest) {
            continue;
        }
        if (option->type == WEIR_TYPE_OBJECT && v != NULL && v->kind == CONFIG_OBJECT) {
            emit_format(emit, "%*s%s:\n", (int)indent, "", schema_key(option));
            options(explaining, &option->members, v, indent + 2);
            continue;
        }
        if (v == NULL && option->preset == NULL) {
            continue;
        }
        emit_format(emit, "%*s%s = ", (int)indent, "", schema_key(option));
        if (v == NULL) {
            text(explaining, weir_str_from(option->preset));
            line(explaining, "  (preset)\n");
            continue;
        }
        if (schema_is_secret(option)) {
            line(explaining, "***");
        } else {
            value(explaining, v);
        }
        line(explaining, "  (");
        value_places(explaining, v);
        line(explaining, ")\n");
    }
    if (schema_find_rest(table) != NULL && merged != NULL) {
        for (uint32_t i = 0; i < merged->count; i++) {
            const struct config_member *member = &merged->members[i];
            if (schema_find(table, member->key) == NULL && !config_is_note(member->key)) {
                emit_format(emit, "%*s", (int)indent, "");
                text(explaining, member->key);
                line(explaining, " = ");
                value(explaining, member->value);
                line(explaining, "  (");
                place(explaining, &member->value->place);
                line(explaining, ")\n");
            }
        }
    }
}

/* Hooks */

static void
explain_hooks(struct explaining *explaining)
{
    const struct explain_answer *answer = explaining->answer;
    line(explaining, answer->hooks_count == 0 ? "hooks     none\n" : "hooks\n");
    for (size_t i = 0; i < answer->hooks_count; i++) {
        const struct explain_hook *hook = &answer->hooks[i];
        const struct site_use *use = hook->use;
        emit_format(&explaining->emit, "  %-13s ", phase_name(hook->phase));
        text(explaining, use->name);
        if (!weir_str_eq(use->name, weir_str_from(use->conf->handler->name))) {
            emit_format(&explaining->emit, " (%s)", use->conf->handler->name);
        }
        line(explaining, "  ");
        place(explaining, config_key_place(use->where));
        line(explaining, "\n");
        if (hook->is_first) {
            options(explaining, &use->conf->handler->options, use->merged, 18);
        }
    }
}

/* The answer */

static void
explain_server(struct explaining *explaining, const struct site_server *server)
{
    line(explaining, "server    ");
    text(explaining, server->name.len > 0 ? server->name : WEIR_STR("(no name)"));
    line(explaining, "  ");
    place(explaining, &server->where->place);
    line(explaining, "\n          because: ");
    line(explaining, explain_server_reason(explaining->answer));
    line(explaining, "\n");
}

static void
explain_route(struct explaining *explaining, const struct site_route *route,
        const struct route_match *match)
{
    if (route == NULL) {
        line(explaining, "route     none: answers 404, with the server's own hooks\n");
        return;
    }
    line(explaining, "route     ");
    text(explaining, route->name);
    line(explaining, "  ");
    place(explaining, &route->where->place);
    for (const struct site_route *up = route->parent; up != NULL; up = up->parent) {
        line(explaining, ", in ");
        text(explaining, up->name);
        line(explaining, "  ");
        place(explaining, &up->where->place);
    }
    line(explaining, "\n          because: ");
    if (match->pattern.len > 0) {
        line(explaining, "the first whose pattern holds: ");
        text(explaining, match->pattern);
    } else {
        line(explaining, "the first that matches; it takes every path");
    }
    line(explaining, "\n");
    for (uint32_t i = 0; i < match->captures_count; i++) {
        line(explaining, "          {path.");
        text(explaining, match->captures[i].name);
        line(explaining, "} = \"");
        text(explaining, match->captures[i].value);
        line(explaining, "\"\n");
    }
    if (route->handle.count == 0) {
        line(explaining, "          it has no \"handle\": answers 404\n");
    }
}

static void
explain_settings(struct explaining *explaining, const struct site_settings *settings)
{
    line(explaining, "limits\n");
    options(explaining, &site_limits_options, settings->limits_from, 2);
    line(explaining, "timeouts\n");
    options(explaining, &site_timeouts_options, settings->timeouts_from, 2);
    line(explaining, "trust\n");
    options(explaining, &site_trust_options, settings->trust_from, 2);
    line(explaining, "log\n");
    options(explaining, &site_log_level_options, settings->log_from, 2);
}

/* Appends what explain_find() found. */
static void
explain(struct explaining *explaining)
{
    const struct explain_answer *answer = explaining->answer;
    if (answer->listener == NULL) {
        emit_format(&explaining->emit, "listener  none on port %u: nobody answers\n",
                answer->port);
        return;
    }
    line(explaining, "listener  ");
    text(explaining,
            answer->listener->name.len > 0 ? answer->listener->name
                                           : answer->listener->address);
    line(explaining, "  ");
    place(explaining, &answer->listener->where->place);
    line(explaining, "\n");
    if (answer->server == NULL) {
        line(explaining, "server    none has this host: answers 421\n");
        return;
    }
    explain_server(explaining, answer->server);
    explain_route(explaining, answer->route, &answer->match);
    explain_hooks(explaining);
    explain_settings(explaining, explain_settings_of(answer));
}

int
explain_write(const struct site *site, const struct explain_question *question,
        enum explain_form form, struct buf *out)
{
    struct explain_answer *answer;
    struct explaining explaining = { .answer = NULL };
    emit_init(&explaining.emit, out);
    int r = explain_find(site, question, &answer);
    if (r < 0) {
        return r;
    }
    if (answer->refusal != NULL) {
        emit_format(&explaining.emit, "%s\n", answer->refusal);
        r = -EINVAL;
    } else if (form == EXPLAIN_JSON) {
        explain_write_json(answer, &explaining.emit);
    } else {
        explaining.answer = answer;
        explain(&explaining);
    }
    explain_answer_free(answer);
    return explaining.emit.error < 0 ? explaining.emit.error : r;
}

/* The command */

static void
help(FILE *stream)
{
    fputs("usage: weir explain [-c FILE] [-H 'NAME: VALUE'] [--client=ADDRESS] [--json]\n"
          "                    METHOD URL\n"
          "\n"
          "Says which server and route a request takes and why, which hooks it meets in which\n"
          "order, and where in the configuration each of their options was written.\n"
          "\n"
          "  -c, --config=FILE      the configuration [weir.json]\n"
          "  -H, --header=FIELD     a header field of the request; may be repeated\n"
          "      --client=ADDRESS   where the request comes from (127.0.0.1)\n"
          "      --internal         an internal request, as modules make them\n"
          "      --json             for programs\n"
          "  -h, --help             this text\n",
            stream);
}

static int
answer(const char *file, const struct explain_question *question, enum explain_form form)
{
    struct site *site;
    int code = command_load(file, DIAGNOSTIC_TEXT, &site);
    if (code != 0) {
        return code;
    }
    struct buf out;
    buf_init(&out, ANSWER_MAX_BYTES);
    int r = explain_write(site, question, form, &out);
    struct weir_str written = buf_str(&out);
    FILE *stream = r == 0 ? stdout : stderr;
    if (r == -EINVAL) {
        fputs("weir explain: ", stderr);
    }
    if (r == 0 || r == -EINVAL) {
        bool ok = fwrite(written.ptr, 1, written.len, stream) == written.len &&
                fflush(stream) == 0;
        code = r == -EINVAL ? EXIT_USAGE_ERROR : ok ? 0 : 1;
    } else {
        fputs("weir explain: out of memory\n", stderr);
        code = EXIT_SYSTEM;
    }
    buf_fini(&out);
    site_free(site);
    return code;
}

int
command_explain(int argc, char **argv)
{
    static const struct option long_options[] = {
        { "config", required_argument, NULL, 'c' },
        { "header", required_argument, NULL, 'H' },
        { "client", required_argument, NULL, 'p' },
        { "internal", no_argument, NULL, 'i' },
        { "json", no_argument, NULL, 'j' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    struct weir_str headers[HEADERS_MAX];
    struct explain_question question = { .headers = headers };
    const char *file = COMMAND_CONFIG_FILE;
    enum explain_form form = EXPLAIN_TEXT;
    int option;
    optind = 0; /* glibc: begin anew */
    opterr = 0; /* it would say "explain", not "weir explain" */
    while ((option = getopt_long(argc, argv, "c:H:h", long_options, NULL)) != -1) {
        if (option == 'c') {
            file = optarg;
        } else if (option == 'H' && question.headers_count < HEADERS_MAX) {
            headers[question.headers_count++] = weir_str_from(optarg);
        } else if (option == 'p') {
            question.client = weir_str_from(optarg);
        } else if (option == 'i') {
            question.is_internal = true;
        } else if (option == 'j') {
            form = EXPLAIN_JSON;
        } else if (option == 'h') {
            help(stdout);
            return 0;
        } else {
            command_bad_option("explain", argv);
            return EXIT_USAGE_ERROR;
        }
    }
    if (argc - optind != 2) {
        help(stderr);
        return EXIT_USAGE_ERROR;
    }
    question.method = weir_str_from(argv[optind]);
    question.url = weir_str_from(argv[optind + 1]);
    return answer(file, &question, form);
}
