/* SPDX-License-Identifier: MIT */
/* Asks the compiled site the questions that the engine asks. */
#include "server/explain_answer.h"

#include <errno.h>
#include <stdlib.h>

#include "config/units.h"
#include "http/field.h"
#include "http/query.h"

#define HOOKS_MAX 4096

struct finding {
    const struct site *site;
    const struct explain_question *question;
    struct explain_answer *answer;
    char decoded[4096]; /* the last query value that was asked for */
};

static int
refuse(struct finding *finding, const char *why)
{
    finding->answer->refusal = why;
    return -EINVAL;
}

static bool
header(void *context, struct weir_str name, size_t nth, struct weir_str *out)
{
    const struct finding *finding = context;
    for (size_t i = 0; i < finding->question->headers_count; i++) {
        struct weir_str h = finding->question->headers[i];
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
    struct finding *finding = context;
    struct weir_str rest = finding->answer->target.query;
    struct query_param param;
    while (query_next(&rest, &param)) {
        if (param.raw_name.len > sizeof(finding->decoded) ||
                param.raw_value.len > sizeof(finding->decoded)) {
            continue;
        }
        size_t len = query_decode(param.raw_name, finding->decoded);
        if (weir_str_eq(weir_str_make(finding->decoded, len), name) && nth-- == 0) {
            len = query_decode(param.raw_value, finding->decoded);
            *out = weir_str_make(finding->decoded, len);
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
find_listener(const struct finding *finding, uint16_t port)
{
    const struct site_listener *found = NULL;
    for (size_t i = 0; i < finding->site->listeners_count; i++) {
        const struct site_listener *listener = finding->site->listeners[i];
        char ip[ADDR_TEXT_BYTES];
        if (listener->addr.sa.sa_family == AF_UNIX || addr_port(&listener->addr) != port) {
            continue;
        }
        size_t len = addr_format_ip(&listener->addr, ip);
        struct weir_str name = finding->answer->target.host.raw_name;
        if (weir_str_eq_icase(weir_str_make(ip, len), name)) {
            return listener;
        }
        if (found == NULL || is_wildcard(&listener->addr)) {
            found = listener;
        }
    }
    return found;
}

static int
compare_hooks(const void *a, const void *b)
{
    const struct explain_hook *x = a, *y = b;
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
        struct explain_hook *lines, size_t count)
{
    for (size_t i = 0; i < uses->count; i++) {
        const struct weir_hooks *hooks = &uses->items[i].conf->handler->hooks;
        for (size_t j = 0; j < hooks->count && count < HOOKS_MAX; j++) {
            const struct weir_hook *hook = &hooks->items[j];
            bool is_content = hook->on == WEIR_ON_CONTENT;
            if (is_handle || (!is_content && level_of(hook->on) == level)) {
                lines[count] = (struct explain_hook){ .use = &uses->items[i],
                    .phase = hook->on,
                    .stage = hook->stage,
                    .position = count };
                count++;
            }
        }
    }
    return count;
}

static int
find_hooks(struct explain_answer *answer)
{
    struct explain_hook *lines = calloc(HOOKS_MAX, sizeof(*lines));
    if (lines == NULL) {
        return -ENOMEM;
    }
    const struct site_route *route = answer->route;
    const struct site_uses *uses = &answer->server->uses;
    size_t count = gather_hooks(&answer->listener->uses, LEVEL_LISTENER, false, lines, 0);
    count = gather_hooks(uses, LEVEL_SERVER, false, lines, count);
    count = gather_hooks(route != NULL ? &route->uses : uses, LEVEL_ROUTE, false, lines, count);
    if (route != NULL) {
        count = gather_hooks(&route->handle, LEVEL_ROUTE, true, lines, count);
    }
    qsort(lines, count, sizeof(*lines), compare_hooks);
    for (size_t i = 0; i < count; i++) {
        lines[i].is_first = true;
        for (size_t j = 0; j < i; j++) {
            lines[i].is_first = lines[i].is_first && lines[j].use != lines[i].use;
        }
    }
    answer->hooks = lines;
    answer->hooks_count = count;
    return 0;
}

static int
check_question(struct finding *finding, char *path, size_t path_bytes)
{
    const struct explain_question *question = finding->question;
    if (!field_name_is_valid(question->method)) {
        return refuse(finding, "this is no method");
    }
    if (target_parse(question->url, METHOD_GET, &finding->answer->target) < 0 ||
            finding->answer->target.form != TARGET_ABSOLUTE) {
        return refuse(finding, "the URL must be whole: http://host/path");
    }
    if (finding->answer->target.raw_path.len > path_bytes ||
            target_normalise(&finding->answer->target, path) < 0) {
        return refuse(finding, "a server refuses this path: 400");
    }
    for (size_t i = 0; i < question->headers_count; i++) {
        struct weir_str h = question->headers[i];
        const char *colon = h.len == 0 ? NULL : memchr(h.ptr, ':', h.len);
        if (colon == NULL ||
                !field_name_is_valid(weir_str_make(h.ptr, (size_t)(colon - h.ptr)))) {
            return refuse(finding, "a header is written \"Name: value\"");
        }
    }
    return 0;
}

static int
read_client(struct finding *finding, struct addr_ip *out)
{
    struct weir_network network;
    struct weir_str client = finding->question->client.len == 0 ? WEIR_STR("127.0.0.1")
                                                                : finding->question->client;
    if (units_parse_network(client, &network) < 0 ||
            network.bits != (network.family == 4 ? 32 : 128)) {
        return refuse(finding, "the client is an address: 192.0.2.1");
    }
    *out = (struct addr_ip){ .family = network.family == 4 ? AF_INET : AF_INET6 };
    memcpy(out->bytes, network.address, sizeof(out->bytes));
    return 0;
}

/* -EINVAL after a refusal. */
static int
find(struct finding *finding)
{
    struct explain_answer *answer = finding->answer;
    struct route_request request = { .context = finding,
        .method = finding->question->method,
        .protocol = WEIR_STR("http/1.1"),
        .is_internal = finding->question->is_internal,
        .header = header,
        .query = query };
    int r = check_question(finding, answer->path, sizeof(answer->path));
    r = r < 0 ? r : read_client(finding, &request.client);
    if (r < 0) {
        return r;
    }
    request.peer = request.client;
    request.path = answer->target.path;
    request.host = host_name(&answer->target.host, answer->host);
    answer->host_name = request.host;
    answer->port = answer->target.host.has_port     ? answer->target.host.port
            : answer->target.scheme == TARGET_HTTPS ? 443
                                                    : 80;
    answer->listener = find_listener(finding, answer->port);
    if (answer->listener == NULL) {
        return 0;
    }
    answer->server = site_server_find(answer->listener, request.host);
    if (answer->server == NULL) {
        return 0;
    }
    answer->route = site_route_find(answer->server, &request, &answer->match);
    return find_hooks(answer);
}

int
explain_find(const struct site *site, const struct explain_question *question,
        struct explain_answer **out)
{
    struct finding *finding = calloc(1, sizeof(*finding));
    struct explain_answer *answer = calloc(1, sizeof(*answer));
    int r = finding == NULL || answer == NULL ? -ENOMEM : 0;
    if (r == 0) {
        finding->site = site;
        finding->question = question;
        finding->answer = answer;
        r = find(finding);
    }
    free(finding);
    if (r < 0 && r != -EINVAL) {
        explain_answer_free(answer);
        return r;
    }
    *out = answer;
    return 0;
}

void
explain_answer_free(struct explain_answer *answer)
{
    if (answer != NULL) {
        free(answer->hooks);
        free(answer);
    }
}

const struct site_settings *
explain_settings_of(const struct explain_answer *answer)
{
    return answer->route != NULL ? &answer->route->settings : &answer->server->settings;
}

const char *
explain_server_reason(const struct explain_answer *answer)
{
    const struct site_server *server = answer->server;
    const char *why = server->hosts_count == 0 ? "it has no \"host\": it takes every name" : "";
    for (size_t i = 0; i < server->hosts_count; i++) {
        if (host_pattern_matches(&server->hosts[i], answer->host_name)) {
            why = server->hosts[i].is_suffix ? "longest suffix of the host" : "exact host";
        }
    }
    return why;
}
