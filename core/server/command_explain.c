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
#include "config/units.h"
#include "http/field.h"
#include "http/query.h"
#include "http/target.h"
#include "module/chain.h"
#include "module/site_tables.h"
#include "server/command_check.h"
#include "server/exit.h"
#include "server/main.h"

#define ANSWER_MAX_BYTES ((size_t)4 << 20)
#define HEADERS_MAX      64
#define HOOKS_MAX        4096

struct explaining {
    const struct site *site;
    const struct explain_question *question;
    struct target target;
    char host[HOST_NAME_BYTES];
    char decoded[4096]; /* the last query value that was asked for */
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
        if (option->type == WEIR_TYPE_SECRET || option->element == WEIR_TYPE_SECRET) {
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

/* The request */

static int
refuse(struct explaining *explaining, const char *why)
{
    line(explaining, why);
    line(explaining, "\n");
    return explaining->emit.error < 0 ? explaining->emit.error : -EINVAL;
}

static bool
header(void *context, struct weir_str name, size_t nth, struct weir_str *out)
{
    const struct explaining *explaining = context;
    for (size_t i = 0; i < explaining->question->headers_count; i++) {
        struct weir_str h = explaining->question->headers[i];
        const char *colon = memchr(h.ptr, ':', h.len);
        size_t name_len = (size_t)(colon - h.ptr); /* was checked */
        if (weir_str_eq_icase(weir_str_make(h.ptr, name_len), name) && nth-- == 0) {
            *out = weir_str_trim(weir_str_make(colon + 1, h.len - name_len - 1));
            return true;
        }
    }
    return false;
}

static bool
query(void *context, struct weir_str name, size_t nth, struct weir_str *out)
{
    struct explaining *explaining = context;
    struct weir_str rest = explaining->target.query;
    struct query_param param;
    while (query_next(&rest, &param)) {
        if (param.raw_name.len > sizeof(explaining->decoded) ||
                param.raw_value.len > sizeof(explaining->decoded)) {
            continue;
        }
        size_t len = query_decode(param.raw_name, explaining->decoded);
        if (weir_str_eq(weir_str_make(explaining->decoded, len), name) && nth-- == 0) {
            len = query_decode(param.raw_value, explaining->decoded);
            *out = weir_str_make(explaining->decoded, len);
            return true;
        }
    }
    return false;
}

static bool
is_wildcard(const struct addr *addr)
{
    static const uint8_t zero[16];
    struct addr_ip ip = addr_to_ip(addr);
    return memcmp(ip.bytes, zero, ip.family == AF_INET ? 4 : 16) == 0;
}

/* The listener for the port that the URL names; of several the one whose address it names. */
static const struct site_listener *
find_listener(const struct explaining *explaining, uint16_t port)
{
    const struct site_listener *found = NULL;
    for (size_t i = 0; i < explaining->site->listeners_count; i++) {
        const struct site_listener *listener = explaining->site->listeners[i];
        char ip[ADDR_TEXT_BYTES];
        if (listener->addr.sa.sa_family == AF_UNIX || addr_port(&listener->addr) != port) {
            continue;
        }
        size_t len = addr_format_ip(&listener->addr, ip);
        struct weir_str name = explaining->target.host.raw_name;
        if (weir_str_eq_icase(weir_str_make(ip, len), name)) {
            return listener;
        }
        if (found == NULL || is_wildcard(&listener->addr)) {
            found = listener;
        }
    }
    return found;
}

/* Hooks */

struct hook_line {
    const struct site_use *use;
    enum weir_phase phase;
    enum weir_stage stage;
    size_t position;
};

static int
compare_hooks(const void *a, const void *b)
{
    const struct hook_line *x = a, *y = b;
    if (x->phase != y->phase) {
        return x->phase < y->phase ? -1 : 1;
    }
    if (x->stage != y->stage) {
        return x->stage < y->stage ? -1 : 1;
    }
    return x->position < y->position ? -1 : x->position > y->position;
}

/* Which of the lists a phase's hooks come from. */
enum hook_level {
    LEVEL_LISTENER,
    LEVEL_SERVER,
    LEVEL_ROUTE
};

static enum hook_level
level_of(enum weir_phase phase)
{
    if (phase == WEIR_ON_ACCEPT || phase == WEIR_ON_OPEN || phase == WEIR_ON_CLOSE) {
        return LEVEL_LISTENER;
    }
    return phase == WEIR_ON_HEAD || phase == WEIR_ON_REWRITE ? LEVEL_SERVER : LEVEL_ROUTE;
}

static size_t
gather_hooks(const struct site_uses *uses, enum hook_level level, bool is_handle,
        struct hook_line *lines, size_t count)
{
    for (size_t i = 0; i < uses->count; i++) {
        const struct weir_hooks *hooks = &uses->items[i].conf->handler->hooks;
        for (size_t j = 0; j < hooks->count && count < HOOKS_MAX; j++) {
            const struct weir_hook *hook = &hooks->items[j];
            bool is_content = hook->on == WEIR_ON_CONTENT;
            if (is_handle || (!is_content && level_of(hook->on) == level)) {
                lines[count] = (struct hook_line){ &uses->items[i], hook->on, hook->stage,
                    count };
                count++;
            }
        }
    }
    return count;
}

static int
explain_hooks(struct explaining *explaining, const struct site_listener *listener,
        const struct site_server *server, const struct site_route *route)
{
    struct hook_line *lines = calloc(HOOKS_MAX, sizeof(*lines));
    if (lines == NULL) {
        return -ENOMEM;
    }
    size_t count = gather_hooks(&listener->uses, LEVEL_LISTENER, false, lines, 0);
    count = gather_hooks(&server->uses, LEVEL_SERVER, false, lines, count);
    count = gather_hooks(route != NULL ? &route->uses : &server->uses, LEVEL_ROUTE, false,
            lines, count);
    if (route != NULL) {
        count = gather_hooks(&route->handle, LEVEL_ROUTE, true, lines, count);
    }
    qsort(lines, count, sizeof(*lines), compare_hooks);
    line(explaining, count == 0 ? "hooks     none\n" : "hooks\n");
    for (size_t i = 0; i < count; i++) {
        const struct site_use *use = lines[i].use;
        emit_format(&explaining->emit, "  %-13s ", phase_name(lines[i].phase));
        text(explaining, use->name);
        if (!weir_str_eq(use->name, weir_str_from(use->conf->handler->name))) {
            emit_format(&explaining->emit, " (%s)", use->conf->handler->name);
        }
        line(explaining, "  ");
        place(explaining, config_key_place(use->where));
        line(explaining, "\n");
        /* Its options stand under its first hook. */
        bool is_first = true;
        for (size_t j = 0; j < i; j++) {
            is_first = is_first && lines[j].use != use;
        }
        if (is_first) {
            options(explaining, &use->conf->handler->options, use->merged, 18);
        }
    }
    free(lines);
    return 0;
}

/* The answer */

static void
explain_server(struct explaining *explaining, const struct site_server *server,
        struct weir_str host)
{
    line(explaining, "server    ");
    text(explaining, server->name.len > 0 ? server->name : WEIR_STR("(no name)"));
    line(explaining, "  ");
    place(explaining, &server->where->place);
    const char *why = server->hosts_count == 0 ? "it has no \"host\": it takes every name" : "";
    for (size_t i = 0; i < server->hosts_count; i++) {
        if (host_pattern_matches(&server->hosts[i], host)) {
            why = server->hosts[i].is_suffix ? "longest suffix of the host" : "exact host";
        }
    }
    line(explaining, "\n          because: ");
    line(explaining, why);
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

static int
check_question(struct explaining *explaining, char *path, size_t path_bytes)
{
    const struct explain_question *question = explaining->question;
    if (!field_name_is_valid(question->method)) {
        return refuse(explaining, "this is no method");
    }
    if (target_parse(question->url, METHOD_GET, &explaining->target) < 0 ||
            explaining->target.form != TARGET_ABSOLUTE) {
        return refuse(explaining, "the URL must be whole: http://host/path");
    }
    if (explaining->target.raw_path.len > path_bytes ||
            target_normalise(&explaining->target, path) < 0) {
        return refuse(explaining, "a server refuses this path: 400");
    }
    for (size_t i = 0; i < question->headers_count; i++) {
        struct weir_str h = question->headers[i];
        const char *colon = h.len == 0 ? NULL : memchr(h.ptr, ':', h.len);
        if (colon == NULL ||
                !field_name_is_valid(weir_str_make(h.ptr, (size_t)(colon - h.ptr)))) {
            return refuse(explaining, "a header is written \"Name: value\"");
        }
    }
    return 0;
}

static int
read_client(struct explaining *explaining, struct addr_ip *out)
{
    struct weir_network network;
    struct weir_str client = explaining->question->client.len == 0
            ? WEIR_STR("127.0.0.1")
            : explaining->question->client;
    if (units_parse_network(client, &network) < 0 ||
            network.bits != (network.family == 4 ? 32 : 128)) {
        return refuse(explaining, "the client is an address: 192.0.2.1");
    }
    *out = (struct addr_ip){ .family = network.family == 4 ? AF_INET : AF_INET6 };
    memcpy(out->bytes, network.address, sizeof(out->bytes));
    return 0;
}

static int
explain(struct explaining *explaining)
{
    char path[8192];
    struct route_match match;
    struct route_request request = { .context = explaining,
        .method = explaining->question->method,
        .protocol = WEIR_STR("http/1.1"),
        .is_internal = explaining->question->is_internal,
        .header = header,
        .query = query };
    int r = check_question(explaining, path, sizeof(path));
    r = r < 0 ? r : read_client(explaining, &request.client);
    if (r < 0) {
        return r;
    }
    request.peer = request.client;
    request.path = explaining->target.path;
    request.host = host_name(&explaining->target.host, explaining->host);
    uint16_t port = explaining->target.host.has_port    ? explaining->target.host.port
            : explaining->target.scheme == TARGET_HTTPS ? 443
                                                        : 80;
    const struct site_listener *listener = find_listener(explaining, port);
    if (listener == NULL) {
        emit_format(&explaining->emit, "listener  none on port %u: nobody answers\n", port);
        return explaining->emit.error;
    }
    line(explaining, "listener  ");
    text(explaining, listener->name.len > 0 ? listener->name : listener->address);
    line(explaining, "  ");
    place(explaining, &listener->where->place);
    line(explaining, "\n");
    const struct site_server *server = site_server_find(listener, request.host);
    if (server == NULL) {
        line(explaining, "server    none has this host: answers 421\n");
        return explaining->emit.error;
    }
    explain_server(explaining, server, request.host);
    const struct site_route *route = site_route_find(server, &request, &match);
    explain_route(explaining, route, &match);
    r = explain_hooks(explaining, listener, server, route);
    explain_settings(explaining, route != NULL ? &route->settings : &server->settings);
    return r < 0 ? r : explaining->emit.error;
}

int
explain_write(const struct site *site, const struct explain_question *question, struct buf *out)
{
    struct explaining *explaining = calloc(1, sizeof(*explaining));
    if (explaining == NULL) {
        return -ENOMEM;
    }
    explaining->site = site;
    explaining->question = question;
    emit_init(&explaining->emit, out);
    int r = explain(explaining);
    free(explaining);
    return r;
}

/* The command */

static void
help(FILE *stream)
{
    fputs("usage: weir explain [-c FILE] [-H 'NAME: VALUE'] [--client=ADDRESS] METHOD URL\n"
          "\n"
          "Says which server and route a request takes and why, which hooks it meets in which\n"
          "order, and where in the configuration each of their options was written.\n"
          "\n"
          "  -c, --config=FILE      the configuration [weir.json]\n"
          "  -H, --header=FIELD     a header field of the request; may be repeated\n"
          "      --client=ADDRESS   where the request comes from (127.0.0.1)\n"
          "      --internal         an internal request, as modules make them\n"
          "  -h, --help             this text\n",
            stream);
}

static int
answer(const char *file, const struct explain_question *question)
{
    struct site *site;
    int code = command_load(file, DIAGNOSTIC_TEXT, &site);
    if (code != 0) {
        return code;
    }
    struct buf out;
    buf_init(&out, ANSWER_MAX_BYTES);
    int r = explain_write(site, question, &out);
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
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    struct weir_str headers[HEADERS_MAX];
    struct explain_question question = { .headers = headers };
    const char *file = COMMAND_CONFIG_FILE;
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
    return answer(file, &question);
}
