/* SPDX-License-Identifier: MIT */
/* The tables give the schemas of options; what has structure of its own (hooks, matches, lists
 * of servers) and texts with a form of their own are written here. */
#include "server/schema_levels.h"

#include <stdio.h>

#include "config/json_pattern.h"
#include "config/json_schema.h"
#include "module/route.h"
#include "module/site.h"
#include "module/site_tables.h"

// clang-format off
#define REF(name)          "{\"$ref\":\"#/$defs/" name "\"}"
#define REF_OR_NULL(name)  "{\"anyOf\":[" REF(name) ",{\"type\":\"null\"}]}"
#define ONE_OR_LIST(value) "{\"anyOf\":[" value ",{\"type\":\"array\",\"minItems\":1,\"items\":" value "}]}"
#define ONE_LIST_OR_NULL(value) \
    "{\"anyOf\":[" value ",{\"type\":\"array\",\"minItems\":1,\"items\":" value "},{\"type\":\"null\"}]}"
#define LIST_OR_NULL(value) "{\"anyOf\":[{\"type\":\"array\",\"items\":" value "},{\"type\":\"null\"}]}"
#define NAMED(value) \
    "{\"type\":\"object\",\"patternProperties\":{\"^x-\":true,\"^(?!x-)[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$\":" value "},\"additionalProperties\":false}"

#define USES(name) \
    "{\"anyOf\":[" REF(name) ",{\"type\":\"array\",\"items\":" REF(name) "},{\"type\":\"null\"}]}"

/* The schema of a key with structure; NULL: the level has no such key after all. */
static const struct {
    const char *level, *key, *schema;
} structures[] = {
    { "top", "$schema", "{\"type\":\"string\"}" },
    { "top", "include", "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"items\":{\"type\":\"string\"}}]}" },
    { "top", "workers", REF_OR_NULL("workers") },
    { "top", "pools", NAMED(REF("pool")) },
    { "top", "log", REF_OR_NULL("log") },
    { "top", "control", REF_OR_NULL("control") },
    { "top", "modules", LIST_OR_NULL("{\"anyOf\":[" REF("module_name") "," REF("module_entry") "]}") },
    { "top", "listeners", NAMED(REF("listener")) },
    { "top", "defaults", REF("defaults") },
    { "top", "servers", "{\"type\":\"array\",\"minItems\":1,\"items\":" REF("server") "}" },
    { "pool", "max", "{\"anyOf\":[{\"type\":\"integer\",\"minimum\":1,\"maximum\":10000},{\"enum\":[-1,false,null]}," REF("expanded") "]}" },
    { "top", "upstreams", "{\"anyOf\":[" NAMED(REF("upstream")) ",{\"enum\":[false,null]}]}" },
    { "upstream", "targets", ONE_OR_LIST("{\"anyOf\":[" REF("target_address") "," REF("target") "]}") },
    { "upstream", "balance", "{\"anyOf\":[{\"enum\":[\"round_robin\",\"least_connections\",\"random\",\"hash\",null]}," REF("balance") "]}" },
    { "upstream", "sticky", "{\"anyOf\":[" REF("cookie_name") "," REF("sticky") ",{\"enum\":[false,null]}]}" },
    { "sticky", "cookie", REF("cookie_name") },
    { "sticky", "path", REF_OR_NULL("cookie_path") },
    { "upstream", "timeouts", REF_OR_NULL("upstream_timeouts") },
    { "upstream", "eject", "{\"anyOf\":[" REF("upstream_eject") ",{\"enum\":[false,null]}]}" },
    { "upstream", "retry", REF_OR_NULL("upstream_retry") },
    { "upstream", "health", "{\"anyOf\":[" REF("upstream_health") ",{\"enum\":[false,null]}]}" },
    { "upstream_health", "path", "{\"anyOf\":[{\"type\":\"string\",\"pattern\":\"^/[!-\\\"$-~]*$\"}," REF("expanded") ",{\"type\":\"null\"}]}" },
    { "upstream_health", "expect", "{\"anyOf\":[{\"$ref\":\"#/$defs/upstream_expect/properties/status\"}," REF("upstream_expect") "]}" },
    { "upstream", "resolve", REF_OR_NULL("upstream_resolve") },
    { "upstream_resolve", "servers", ONE_LIST_OR_NULL(REF("name_server")) },
    { "target", "address", REF("target_address") },
    { "control", "listen", REF_OR_NULL("control_address") },
    { "module", "name", REF("name") },
    { "module", "path", "{\"type\":[\"string\",\"null\"]}" },
    { "module", "sha256", REF_OR_NULL("sum") },
    { "module", "options", "{\"type\":[\"object\",\"null\"]}" },
    { "module", "defaults", "{\"type\":[\"object\",\"null\"]}" },
    { "listener", "address", REF("address") },
    { "listener", "mode", REF_OR_NULL("mode") },
    { "server", "listen", ONE_OR_LIST(REF("listen")) },
    { "server", "host", ONE_LIST_OR_NULL(REF("host")) },
    { "server", "routes", LIST_OR_NULL(REF("route")) },
    { "server", "use", USES("server_use") },
    { "server", "limits", REF_OR_NULL("server_limits") },
    { "server", "timeouts", REF_OR_NULL("server_timeouts") },
    { "route", "routes", LIST_OR_NULL(REF("route")) },
    { "route", "use", USES("route_use") },
    { "route", "limits", REF_OR_NULL("route_limits") },
    { "route", "timeouts", REF_OR_NULL("route_timeouts") },
    { "route", "match", REF_OR_NULL("match") },
    { "route", "internal", "{\"anyOf\":[{\"type\":\"boolean\"}," REF("expanded") ",{\"type\":\"null\"}]}" },
    { "route", "handle", ONE_LIST_OR_NULL(REF("handle")) },
    { "trust", "header", REF_OR_NULL("token") },
    { "match", "path", ONE_LIST_OR_NULL(REF("pattern")) },
    { "match", "host", ONE_LIST_OR_NULL(REF("host")) },
    { "match", "method", ONE_LIST_OR_NULL(REF("method")) },
    { "match", "header", "{\"anyOf\":[{\"allOf\":[" REF("wanted") ",{\"propertyNames\":{\"pattern\":\"^" JSON_PATTERN_TOKEN "$\"}}]},{\"type\":\"null\"}]}" },
    { "match", "query", REF_OR_NULL("wanted") },
    { "match", "variable", "{\"anyOf\":[{\"allOf\":[" REF("wanted") ",{\"propertyNames\":" REF("variable") "}]},{\"type\":\"null\"}]}" },
    { "match", "not", REF_OR_NULL("match") },
    { NULL, "use", USES("use") },
    { NULL, "trust", REF_OR_NULL("trust") },
    { NULL, "limits", REF_OR_NULL("limits") },
    { NULL, "timeouts", REF_OR_NULL("timeouts") },
    { NULL, "log", REF_OR_NULL("log_level") },
    { NULL, "name", "{\"anyOf\":[{\"type\":\"string\",\"minLength\":1,\"maxLength\":128},{\"type\":\"null\"}]}" },
};

/* Definitions that no table has. An empty list of conditions never matches. */
static const struct {
    const char *name, *schema;
} definitions[] = {
    { "match", "{\"anyOf\":[" REF("pattern") "," REF("filled_conditions") ","
               "{\"type\":\"array\",\"minItems\":1,\"items\":{\"anyOf\":[" REF("pattern") "," REF("filled_conditions") "]}}]}" },
    { "filled_conditions", "{\"allOf\":[" REF("conditions") ",{\"additionalProperties\":{\"minItems\":1}}]}" },
    { "wanted", "{\"type\":\"object\",\"additionalProperties\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"boolean\"},"
                "{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"string\"}}]}}" },
};

#define PORT  "0*(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[0-9]{1,4})"
#define SOME_PORT "0*(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
#define LABEL "[A-Za-z0-9_~-]+"
#define NAME  "[A-Za-z0-9_][A-Za-z0-9_-]{0,63}"
#define HOST_LABEL "[A-Za-z0-9_][A-Za-z0-9_-]{0,62}"
#define HOST  "(?=[^:]*[A-Za-z])(?:" HOST_LABEL "\\.)*" HOST_LABEL "\\.?"
#define UNIX  "unix:[^\\x00]{1,107}|@[^\\x00]{1,107}"
// clang-format on

/* The parts between which json_pattern_ipv6 stands; NULL: it does not. All may also come from
 * the environment or a file. */
static const struct {
    const char *name, *before, *after, *message;
} texts[] = {
    { "name", "^" NAME "$", NULL, "letters, digits, _ and -; at most 64" },
    { "token", "^" JSON_PATTERN_TOKEN "$", NULL, "this is no name of a header field" },
    { "cookie_name", "^" JSON_PATTERN_TOKEN "$", NULL, "this is no name of a cookie" },
    { "cookie_path", "^/[!-:<-~]*$", NULL, "a path, without blanks and semicolons" },
    { "method", "^[!#$%&'*+.^_`|~0-9A-Z-]+$", NULL, "a method, in capitals" },
    { "mode", "^0?[0-7]{3}$", NULL, "an octal mode as in chmod: \"0660\"" },
    { "sum", "^[0-9A-Fa-f]{64}$", NULL, "64 hexadecimal digits, as sha256sum prints them" },
    { "control_address", "^(?:" UNIX ")$", NULL, "\"unix:/path\" or \"@name\"" },
    { "address", "^(?:" UNIX "|(?:" JSON_PATTERN_IPV4 "|\\[", "\\])?:" PORT ")$",
            "\":8080\", \"127.0.0.1:8080\", \"[::1]:8080\", \"unix:/path\" or \"@name\"" },
    { "target_address",
            "^(?:" UNIX "|srv:(?=.{1,253}$)" HOST "|(?!srv:)(?=[^:]{1,253}:)" HOST ":" SOME_PORT
            "|(?:" JSON_PATTERN_IPV4 "|\\[",
            "\\]):" SOME_PORT ")$",
            "\"127.0.0.1:9000\", \"[::1]:9000\", \"unix:/path\", \"@name\", \"host.example:9000\" "
            "or \"srv:_http._tcp.example\"" },
    { "name_server", "^(?:" JSON_PATTERN_IPV4 "|\\[", "\\]):" SOME_PORT "$",
            "\"127.0.0.1:53\" or \"[::1]:53\"" },
    { "listen", "^(?:" NAME "|" UNIX "|(?:" JSON_PATTERN_IPV4 "|\\[", "\\])?:" PORT ")$",
            "an address such as \":8080\", or the name of a listener" },
    { "host",
            "^(?:(?=.{1,255}:?$)(?!\\*\\." JSON_PATTERN_IPV4 "\\.?:?$)(?:\\*\\.)?" LABEL
            "(?:\\." LABEL ")*\\.?|\\[",
            "\\]):?$", "a name such as example.com or *.example.com, or an address" },
    /* At most 64 segments, 8 of them in braces, none with the name of another. */
    { "pattern",
            "^(?:\\*[^*{}/]+|(?=/)(?!(?:[^{]*\\{){9})"
            "(?!.*\\{([A-Za-z0-9_-]+)\\*?\\}.*\\{\\1\\*?\\})"
            "(?!(?:[^/]*/){65})"
            "(?:/(?:(?!\\.\\.?(?:/|$))[^/*{}?#\\x00]+|\\{[A-Za-z0-9_-]+\\}))*"
            "(?:/(?:\\*|\\{[A-Za-z0-9_-]+\\*\\})?)?)$",
            NULL, "a path such as /a, /a/*, /users/{id}, or *.suffix" },
};

static bool
write_key(struct emit *emit, const char *level, const char *key)
{
    static const char *const groups[] = { "limits", "timeouts" };
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        enum site_scope scope = site_scope_of(groups[i], weir_str_from(key));
        bool is_server = strncmp(level, "server_", 7) == 0 && strcmp(level + 7, groups[i]) == 0;
        bool is_route = strncmp(level, "route_", 6) == 0 && strcmp(level + 6, groups[i]) == 0;
        if ((is_server && scope < SITE_SCOPE_SERVER) ||
                (is_route && scope < SITE_SCOPE_ROUTE)) {
            return true; /* not on this level */
        }
    }
    for (size_t i = 0; i < sizeof(structures) / sizeof(structures[0]); i++) {
        if ((structures[i].level == NULL || strcmp(structures[i].level, level) == 0) &&
                strcmp(structures[i].key, key) == 0) {
            emit_key(emit, key);
            emit_json(emit, structures[i].schema);
            return true;
        }
    }
    return false;
}

static void
write_text(struct emit *emit, size_t i)
{
    char pattern[8192];
    bool has_ipv6 = texts[i].after != NULL;
    int len = snprintf(pattern, sizeof(pattern), "%s%s%s|%s", texts[i].before,
            has_ipv6 ? json_pattern_ipv6 : "", has_ipv6 ? texts[i].after : "",
            JSON_PATTERN_EXPANDED);
    emit_key(emit, texts[i].name);
    emit_object_begin(emit);
    emit_member_string(emit, "type", "string");
    emit_key(emit, "pattern");
    emit_string(emit, weir_str_make(pattern, (size_t)len));
    emit_member_string(emit, "patternErrorMessage", texts[i].message);
    emit_object_end(emit);
}

static void
write_level(struct emit *emit, const char *name, const struct weir_options *options)
{
    emit_key(emit, name);
    json_schema_object(emit, options, name, write_key, true);
}

void
schema_levels_write(struct emit *emit, const struct template_extras *extras)
{
    json_schema_defs(emit, extras);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        write_text(emit, i);
    }
    for (size_t i = 0; i < sizeof(definitions) / sizeof(definitions[0]); i++) {
        emit_key(emit, definitions[i].name);
        emit_json(emit, definitions[i].schema);
    }
    for (size_t i = 0; i < site_levels_count; i++) {
        write_level(emit, site_levels[i].name, site_levels[i].options);
    }
    write_level(emit, "server_limits", &site_limits_options);
    write_level(emit, "server_timeouts", &site_timeouts_options);
    write_level(emit, "route_limits", &site_limits_options);
    write_level(emit, "route_timeouts", &site_timeouts_options);
    emit_key(emit, "conditions");
    json_schema_object(emit, &route_match_options, "match", write_key, true);
}
