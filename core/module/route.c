/* SPDX-License-Identifier: MIT */
/* A table holds a tree whose edges are path segments; at each node hang the entries of the
 * routes that end there (exact) or reach further (prefix), in file order. A lookup walks the
 * nodes that the path leads to and keeps the earliest entry whose other conditions hold; the
 * entries of a list after the best one so far are not looked at. Suffixes are found by the end
 * of the path, once for each length that occurs. */
#include "module/route.h"

#include <errno.h>

#include "base/map.h"
#include "config/regex.h"
#include "config/template.h"
#include "http/field.h"
#include "module/host_pattern.h"
#include "module/pattern.h"

/* Earlier entries that are looked at to find out that a route never matches. */
#define COVER_LOOKS_MAX 512

/* Conditions */

enum wanted_how {
    WANTED_EXACT,
    WANTED_PREFIX,
    WANTED_SUFFIX,
    WANTED_WITHIN
};

/* A text that a value may be: "x", "x*", "*x", "*x*". */
struct wanted {
    struct weir_str text;
    enum wanted_how how;
};

enum condition_kind {
    CONDITION_HOST,
    CONDITION_METHOD,
    CONDITION_PROTOCOL,
    CONDITION_CLIENT,
    CONDITION_PEER,
    CONDITION_REGEX,
    CONDITION_HEADER,
    CONDITION_QUERY,
    CONDITION_VARIABLE,
    CONDITION_NOT,
};

struct matcher;

struct condition {
    enum condition_kind kind;
    const struct config_value *value; /* as written */
    size_t count;
    union {
        const struct host_pattern *hosts;
        const struct wanted *texts; /* METHOD, PROTOCOL, HEADER, QUERY, VARIABLE */
        const struct weir_network *networks;
        const struct weir_regex *const *regexes;
        const struct matcher *inner; /* NOT */
    };
    struct weir_str name;   /* HEADER, QUERY, VARIABLE */
    bool is_absent, is_any; /* the value is false, or true: nothing but presence counts */
};

/* Patterns of which one holds, and conditions that all hold. */
struct alternative {
    const struct pattern *patterns;
    size_t patterns_count; /* 0: every path */
    struct condition *conditions;
    size_t conditions_count;
};

/* Alternatives of which one holds. */
struct matcher {
    struct alternative *alternatives;
    size_t count;
};

struct match_conf {
    struct weir_list path, path_regex, host, method, client, peer, protocol;
};

static const struct weir_choice protocols[] = {
    { "http/1.0", 10 },
    { "http/1.1", 11 },
    { "http/2", 20 },
};

static const struct weir_option match_options[] = {
    WEIR_LIST(struct match_conf, path, .help = "Patterns of the decoded path; one must hold"),
    WEIR_LIST(struct match_conf, path_regex, .element = WEIR_TYPE_REGEX,
            .help = "Regular expressions (pcre2) for the path; one must be found"),
    WEIR_LIST(struct match_conf, host, .help = "Names of hosts, *.suffix among them"),
    WEIR_LIST(struct match_conf, method, .help = "Methods, in capitals"),
    { .type = SCHEMA_ANY,
            .field = "header",
            .help = "Header fields: name to value, list of values (* at the ends), true or false" },
    { .type = SCHEMA_ANY, .field = "query", .help = "Parameters of the query, as header" },
    WEIR_LIST(struct match_conf, client, .element = WEIR_TYPE_NETWORK,
            .help = "Networks of the client, after trust"),
    WEIR_LIST(struct match_conf, peer, .element = WEIR_TYPE_NETWORK,
            .help = "Networks of the socket's own peer"),
    WEIR_LIST(struct match_conf, protocol, .element = WEIR_TYPE_ENUM,
            .choices = WEIR_CHOICES(protocols), .help = "Versions of HTTP"),
    { .type = SCHEMA_ANY,
            .field = "variable",
            .help = "Variables by name without braces, as header" },
    { .type = SCHEMA_ANY, .field = "not", .help = "A match that must not hold" },
};

const struct weir_options route_match_options = WEIR_OPTIONS(struct match_conf, match_options);

/* Compiling a match */

static const struct matcher *compile(struct schema *schema, const struct config_value *value);

static void *
allocate(struct schema *schema, size_t count, size_t bytes)
{
    void *memory = arena_array(schema->arena, count, bytes);
    schema->no_memory |= memory == NULL;
    return memory;
}

static bool
compile_pattern(struct schema *schema, const struct config_value *value, struct pattern *out)
{
    struct weir_str text;
    const char *message;
    size_t offset;
    if (!schema_expect_string(schema, value, "a pattern", &text)) {
        return false;
    }
    int r = pattern_parse(schema->arena, text, out, &message, &offset);
    if (r == -EINVAL) {
        struct config_value part = *value;
        if (!value->is_expanded && value->place.length == text.len + 2) {
            part.place.offset += (uint32_t)(1 + offset);
            part.place.length = (uint32_t)(offset < text.len ? text.len - offset : 1);
        }
        struct diagnostic *d = config_mistake(schema->diagnostics, DIAGNOSTIC_PATTERN, &part,
                "malformed pattern \"%.*s\"", (int)(text.len < 200 ? text.len : 200), text.ptr);
        diagnostic_note(d, "%s", message);
        if (text.len > 0 && text.ptr[0] != '/' && text.ptr[0] != '*' && text.len < 200) {
            diagnostic_hint(d, "did you mean \"/%.*s\"?", WEIR_STR_ARG(text));
        }
    }
    schema->no_memory |= r == -ENOMEM;
    return r == 0;
}

/* The patterns of a string or a list of strings. */
static bool
compile_patterns(struct schema *schema, const struct config_value *value,
        struct alternative *alternative)
{
    const struct config_value *list = schema_as_list(schema, value);
    struct pattern *patterns = list == NULL ? NULL
                                            : allocate(schema, list->count, sizeof(*patterns));
    if (patterns == NULL) {
        return false;
    }
    bool ok = true;
    for (uint32_t i = 0; i < list->count; i++) {
        ok = compile_pattern(schema, list->items[i], &patterns[i]) && ok;
    }
    alternative->patterns = patterns;
    alternative->patterns_count = list->count;
    return ok;
}

static struct wanted
parse_wanted(struct weir_str text)
{
    bool before = text.len > 1 && text.ptr[0] == '*';
    bool after = text.len > 1 + (size_t)before && text.ptr[text.len - 1] == '*';
    struct weir_str bare = weir_str_make(text.ptr + before,
            text.len - (size_t)before - (size_t)after);
    return (struct wanted){ bare,
        before && after  ? WANTED_WITHIN
                : before ? WANTED_SUFFIX
                : after  ? WANTED_PREFIX
                         : WANTED_EXACT };
}

static bool
refuse_empty(struct schema *schema, const struct config_value *value)
{
    config_mistake(schema->diagnostics, DIAGNOSTIC_EMPTY, value, "an empty list never matches");
    return false;
}

/* header, query, variable: the texts of one name. */
static bool
compile_wanted(struct schema *schema, const struct config_value *value,
        struct condition *condition)
{
    if (value->kind == CONFIG_TRUE || value->kind == CONFIG_FALSE) {
        condition->is_any = value->kind == CONFIG_TRUE;
        condition->is_absent = !condition->is_any;
        return true;
    }
    const struct config_value *list = schema_as_list(schema, value);
    struct wanted *texts = list == NULL ? NULL : allocate(schema, list->count, sizeof(*texts));
    if (texts == NULL) {
        return false;
    }
    bool ok = list->count > 0 || refuse_empty(schema, value);
    for (uint32_t i = 0; i < list->count; i++) {
        struct weir_str text;
        ok = schema_expect_string(schema, list->items[i], "a value to match", &text) && ok;
        texts[i] = parse_wanted(list->items[i]->kind == CONFIG_STRING ? text : WEIR_STR(""));
    }
    condition->texts = texts;
    condition->count = list->count;
    return ok;
}

/* The name of a header field, a parameter or a variable. */
static bool
compile_name(struct schema *schema, const struct config_member *member,
        struct condition *condition)
{
    struct weir_str key = member->key;
    const char *message = NULL;
    enum template_variable variable;
    struct weir_str argument;
    if (condition->kind == CONDITION_HEADER && !field_name_is_valid(key)) {
        message = "is no name of a header field";
    } else if (condition->kind == CONDITION_VARIABLE) {
        (void)!template_variable_parse(key, &variable, &argument, &message);
    }
    if (message != NULL) {
        bool is_variable = condition->kind == CONDITION_VARIABLE;
        struct diagnostic *d = config_key_mistake(schema->diagnostics,
                is_variable ? DIAGNOSTIC_VARIABLE_UNKNOWN : DIAGNOSTIC_NAME_FORM, member->value,
                is_variable ? "unknown variable \"%.*s\""
                            : "\"%.*s\" is no name of a header field",
                (int)(key.len < 200 ? key.len : 200), key.ptr);
        struct suggestion suggestion;
        suggestion_init(&suggestion, key);
        for (size_t i = 0; is_variable && template_variable_name(i) != NULL; i++) {
            suggestion_offer(&suggestion, weir_str_from(template_variable_name(i)));
        }
        suggestion_hint(&suggestion, d);
        return false;
    }
    condition->name = arena_copy(schema->arena, key);
    schema->no_memory |= condition->name.ptr == NULL;
    for (size_t i = 0;
            condition->kind == CONDITION_HEADER && condition->name.ptr != NULL && i < key.len;
            i++) {
        char *c = (char *)(uintptr_t)&condition->name.ptr[i];
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
    }
    return condition->name.ptr != NULL;
}

/* One condition for each member of `value`, the object under header, query or variable. */
static bool
compile_named(struct schema *schema, enum condition_kind kind, const char *what,
        const struct config_value *value, struct alternative *alternative)
{
    if (value == NULL || value->kind == CONFIG_NULL) {
        return true;
    }
    if (!schema_expect_object(schema, value, what)) {
        return false;
    }
    bool ok = true;
    for (uint32_t i = 0; i < value->count; i++) {
        struct condition *condition = &alternative->conditions[alternative->conditions_count++];
        *condition = (struct condition){ .kind = kind, .value = value->members[i].value };
        ok = compile_name(schema, &value->members[i], condition) && ok;
        ok = compile_wanted(schema, value->members[i].value, condition) && ok;
    }
    return ok;
}

static bool
compile_hosts(struct schema *schema, const struct config_value *value,
        struct condition *condition)
{
    const struct config_value *list = schema_as_list(schema, value);
    struct host_pattern *hosts = list == NULL ? NULL
                                              : allocate(schema, list->count, sizeof(*hosts));
    if (hosts == NULL) {
        return false;
    }
    bool ok = true;
    for (uint32_t i = 0; i < list->count; i++) {
        ok = host_pattern_read(schema, list->items[i], &hosts[i]) && ok;
    }
    condition->hosts = hosts;
    return ok;
}

static bool
compile_methods(struct schema *schema, const struct config_value *value,
        struct condition *condition)
{
    const struct config_value *list = schema_as_list(schema, value);
    struct wanted *texts = list == NULL ? NULL : allocate(schema, list->count, sizeof(*texts));
    if (texts == NULL) {
        return false;
    }
    bool ok = true;
    for (uint32_t i = 0; i < list->count; i++) {
        struct weir_str text = list->items[i]->string;
        if (list->items[i]->kind != CONFIG_STRING) {
            ok = false; /* was reported when the table was filled */
            continue;
        }
        bool has_lower = false;
        char upper[32];
        for (size_t j = 0; j < text.len && j < sizeof(upper); j++) {
            bool is_lower = text.ptr[j] >= 'a' && text.ptr[j] <= 'z';
            has_lower |= is_lower;
            upper[j] = is_lower ? (char)(text.ptr[j] & ~0x20) : text.ptr[j];
        }
        if (!field_name_is_valid(text) || has_lower) {
            struct diagnostic *d = config_mistake(schema->diagnostics, DIAGNOSTIC_VALUE_FORM,
                    list->items[i], "\"%.*s\" is no method",
                    (int)(text.len < 100 ? text.len : 100), text.ptr);
            if (has_lower && text.len <= sizeof(upper)) {
                diagnostic_hint(d, "did you mean \"%.*s\"?", (int)text.len, upper);
            }
            ok = false;
        }
        texts[i] = (struct wanted){ text, WANTED_EXACT };
    }
    condition->texts = texts;
    return ok;
}

static bool
compile_protocols(struct schema *schema, const struct weir_list *list,
        struct condition *condition)
{
    struct wanted *texts = allocate(schema, list->count, sizeof(*texts));
    for (size_t i = 0; texts != NULL && i < list->count; i++) {
        for (size_t j = 0; j < sizeof(protocols) / sizeof(protocols[0]); j++) {
            if (protocols[j].value == WEIR_LIST_AT(int, list, i)) {
                texts[i] = (struct wanted){ weir_str_from(protocols[j].name), WANTED_EXACT };
            }
        }
    }
    condition->texts = texts;
    return texts != NULL;
}

/* The conditions of the keys that the table reads. */
static bool
compile_listed(struct schema *schema, const struct config_value *object,
        struct match_conf *conf, struct alternative *alternative)
{
    const struct {
        enum condition_kind kind;
        const char *key;
        const struct weir_list *list;
    } listed[] = {
        { CONDITION_METHOD, "method", &conf->method },
        { CONDITION_HOST, "host", &conf->host },
        { CONDITION_PROTOCOL, "protocol", &conf->protocol },
        { CONDITION_CLIENT, "client", &conf->client },
        { CONDITION_PEER, "peer", &conf->peer },
        { CONDITION_REGEX, "path_regex", &conf->path_regex },
    };
    bool ok = true;
    for (size_t i = 0; i < sizeof(listed) / sizeof(listed[0]); i++) {
        const struct config_value *value = config_find_name(object, listed[i].key);
        if (value == NULL || value->kind == CONFIG_NULL) {
            continue;
        }
        if (listed[i].list->count == 0) {
            ok = value->kind == CONFIG_LIST ? refuse_empty(schema, value) : false;
            continue;
        }
        struct condition *condition = &alternative->conditions[alternative->conditions_count++];
        *condition = (struct condition){ .kind = listed[i].kind,
            .value = value,
            .count = listed[i].list->count };
        if (listed[i].kind == CONDITION_METHOD) {
            ok = compile_methods(schema, value, condition) && ok;
        } else if (listed[i].kind == CONDITION_HOST) {
            ok = compile_hosts(schema, value, condition) && ok;
        } else if (listed[i].kind == CONDITION_PROTOCOL) {
            ok = compile_protocols(schema, listed[i].list, condition) && ok;
        } else if (listed[i].kind == CONDITION_REGEX) {
            condition->regexes = listed[i].list->items;
        } else {
            condition->networks = listed[i].list->items;
        }
    }
    return ok;
}

static bool
compile_object(struct schema *schema, const struct config_value *object,
        struct alternative *alternative)
{
    struct match_conf conf = { .path = { NULL, 0 } };
    size_t before = diagnostics_reports(schema->diagnostics);
    schema_fill(schema, &route_match_options, object, object, &conf);
    bool ok = diagnostics_reports(schema->diagnostics) == before && !schema->no_memory;

    static const struct {
        enum condition_kind kind;
        const char *key, *what;
    } named[] = {
        { CONDITION_HEADER, "header", "\"header\"" },
        { CONDITION_QUERY, "query", "\"query\"" },
        { CONDITION_VARIABLE, "variable", "\"variable\"" },
    };
    size_t most = 7;
    for (size_t i = 0; i < 3; i++) {
        const struct config_value *value = config_find_name(object, named[i].key);
        most += value == NULL ? 0 : value->count;
    }
    alternative->conditions = allocate(schema, most, sizeof(*alternative->conditions));
    if (alternative->conditions == NULL) {
        return false;
    }
    ok = compile_listed(schema, object, &conf, alternative) && ok;
    for (size_t i = 0; i < 3; i++) {
        ok = compile_named(schema, named[i].kind, named[i].what,
                     config_find_name(object, named[i].key), alternative) &&
                ok;
    }
    const struct config_value *inverted = config_find_name(object, "not");
    if (inverted != NULL && inverted->kind != CONFIG_NULL) {
        struct condition *condition = &alternative->conditions[alternative->conditions_count++];
        *condition = (struct condition){ .kind = CONDITION_NOT,
            .value = inverted,
            .inner = compile(schema, inverted) };
        ok = condition->inner != NULL && ok;
    }
    const struct config_value *path = config_find_name(object, "path");
    if (path != NULL && path->kind == CONFIG_LIST && path->count == 0) {
        ok = refuse_empty(schema, path);
    } else if (path != NULL && (path->kind == CONFIG_STRING || path->kind == CONFIG_LIST)) {
        ok = compile_patterns(schema, path, alternative) && ok;
    }
    return ok;
}

static bool
compile_alternative(struct schema *schema, const struct config_value *value,
        struct alternative *alternative)
{
    if (value->kind == CONFIG_STRING) {
        return compile_patterns(schema, value, alternative);
    }
    if (value->kind == CONFIG_OBJECT) {
        return compile_object(schema, value, alternative);
    }
    config_mistake(schema->diagnostics, DIAGNOSTIC_TYPE, value,
            "\"match\" takes a pattern, an object or a list of them, this is %s",
            config_kind_text(value->kind));
    return false;
}

/* NULL after a report, or without memory. */
static const struct matcher *
compile(struct schema *schema, const struct config_value *value)
{
    const struct config_value *list = schema_as_list(schema, value);
    struct matcher *matcher = allocate(schema, 1, sizeof(*matcher));
    if (list == NULL || matcher == NULL) {
        return NULL;
    }
    if (list->count == 0) {
        refuse_empty(schema, value);
        return NULL;
    }
    matcher->alternatives = allocate(schema, list->count, sizeof(*matcher->alternatives));
    if (matcher->alternatives == NULL) {
        return NULL;
    }
    matcher->count = list->count;
    bool ok = true;
    for (uint32_t i = 0; i < list->count; i++) {
        ok = compile_alternative(schema, list->items[i], &matcher->alternatives[i]) && ok;
    }
    return ok ? matcher : NULL;
}

/* Asking conditions */

static bool matcher_holds(const struct matcher *matcher, const struct route_request *request);

static bool
wanted_holds(const struct wanted *wanted, struct weir_str value)
{
    struct weir_str text = wanted->text;
    if (wanted->how == WANTED_EXACT) {
        return weir_str_eq(text, value);
    }
    if (value.len < text.len) {
        return false;
    }
    if (wanted->how == WANTED_PREFIX) {
        return weir_str_starts_with(value, text);
    }
    if (wanted->how == WANTED_SUFFIX) {
        return memcmp(value.ptr + value.len - text.len, text.ptr, text.len) == 0;
    }
    return memmem(value.ptr, value.len, text.ptr, text.len) != NULL;
}

static bool
any_wanted(const struct condition *condition, struct weir_str value)
{
    for (size_t i = 0; i < condition->count; i++) {
        if (wanted_holds(&condition->texts[i], value)) {
            return true;
        }
    }
    return false;
}

static bool
named_value(const struct condition *condition, const struct route_request *request, size_t nth,
        struct weir_str *value)
{
    if (condition->kind == CONDITION_HEADER) {
        return request->header != NULL &&
                request->header(request->context, condition->name, nth, value);
    }
    if (condition->kind == CONDITION_QUERY) {
        return request->query != NULL &&
                request->query(request->context, condition->name, nth, value);
    }
    return nth == 0 && request->variable != NULL &&
            request->variable(request->context, condition->name, value);
}

static bool
named_holds(const struct condition *condition, const struct route_request *request)
{
    struct weir_str value;
    for (size_t nth = 0; named_value(condition, request, nth, &value); nth++) {
        if (condition->is_absent) {
            return false;
        }
        if (condition->is_any || any_wanted(condition, value)) {
            return true;
        }
    }
    return condition->is_absent;
}

static bool
networks_hold(const struct condition *condition, const struct addr_ip *address)
{
    int family = address->family == AF_INET ? 4 : address->family == AF_INET6 ? 6 : 0;
    for (size_t i = 0; i < condition->count; i++) {
        if (weir_network_has(&condition->networks[i], family, address->bytes)) {
            return true;
        }
    }
    return false;
}

static bool
condition_holds(const struct condition *condition, const struct route_request *request)
{
    switch (condition->kind) {
    case CONDITION_HOST:
        for (size_t i = 0; i < condition->count; i++) {
            if (host_pattern_matches(&condition->hosts[i], request->host)) {
                return true;
            }
        }
        return false;
    case CONDITION_METHOD:
        return any_wanted(condition, request->method);
    case CONDITION_PROTOCOL:
        return any_wanted(condition, request->protocol);
    case CONDITION_CLIENT:
        return networks_hold(condition, &request->client);
    case CONDITION_PEER:
        return networks_hold(condition, &request->peer);
    case CONDITION_REGEX:
        for (size_t i = 0; i < condition->count; i++) {
            if (weir_regex_matches(condition->regexes[i], request->path)) {
                return true;
            }
        }
        return false;
    case CONDITION_HEADER:
    case CONDITION_QUERY:
    case CONDITION_VARIABLE:
        return named_holds(condition, request);
    case CONDITION_NOT:
        return !matcher_holds(condition->inner, request);
    }
    return false;
}

static bool
conditions_hold(const struct alternative *alternative, const struct route_request *request)
{
    for (size_t i = 0; i < alternative->conditions_count; i++) {
        if (!condition_holds(&alternative->conditions[i], request)) {
            return false;
        }
    }
    return true;
}

static bool
matcher_holds(const struct matcher *matcher, const struct route_request *request)
{
    for (size_t i = 0; i < matcher->count; i++) {
        const struct alternative *alternative = &matcher->alternatives[i];
        bool path_holds = alternative->patterns_count == 0;
        for (size_t j = 0; j < alternative->patterns_count && !path_holds; j++) {
            path_holds = pattern_matches(&alternative->patterns[j], request->path);
        }
        if (path_holds && conditions_hold(alternative, request)) {
            return true;
        }
    }
    return false;
}

/* Which of two conditions is wider */

static bool
wanted_covers(const struct wanted *wide, const struct wanted *narrow)
{
    return (wide->how == narrow->how && weir_str_eq(wide->text, narrow->text)) ||
            (narrow->how == WANTED_EXACT && wanted_holds(wide, narrow->text));
}

static bool
host_covers(const struct host_pattern *wide, const struct host_pattern *narrow)
{
    return wide->is_suffix == narrow->is_suffix && weir_str_eq(wide->name, narrow->name)
            ? true
            : wide->is_suffix && host_pattern_matches(wide, narrow->name);
}

static bool
element_covers(const struct condition *wide, size_t i, const struct condition *narrow, size_t j)
{
    switch (wide->kind) {
    case CONDITION_HOST:
        return host_covers(&wide->hosts[i], &narrow->hosts[j]);
    case CONDITION_CLIENT:
    case CONDITION_PEER:
        return wide->networks[i].bits <= narrow->networks[j].bits &&
                wide->networks[i].family == narrow->networks[j].family &&
                weir_network_has(&wide->networks[i], narrow->networks[j].family,
                        narrow->networks[j].address);
    case CONDITION_METHOD:
    case CONDITION_PROTOCOL:
    case CONDITION_HEADER:
    case CONDITION_QUERY:
    case CONDITION_VARIABLE:
        return wanted_covers(&wide->texts[i], &narrow->texts[j]);
    case CONDITION_REGEX:
        return weir_str_eq(regex_text(wide->regexes[i]), regex_text(narrow->regexes[j]));
    case CONDITION_NOT:
        break;
    }
    return false;
}

/* Whatever `narrow` lets through, `wide` does. */
static bool
condition_covers(const struct condition *wide, const struct condition *narrow)
{
    if (wide->kind != narrow->kind || !weir_str_eq(wide->name, narrow->name)) {
        return false;
    }
    if (config_is_equal(wide->value, narrow->value) || (wide->is_any && !narrow->is_absent)) {
        return true;
    }
    if (wide->kind == CONDITION_NOT || wide->is_any || wide->is_absent || narrow->is_any ||
            narrow->is_absent || wide->count * narrow->count > COVER_LOOKS_MAX) {
        return false;
    }
    for (size_t j = 0; j < narrow->count; j++) {
        bool is_covered = false;
        for (size_t i = 0; i < wide->count && !is_covered; i++) {
            is_covered = element_covers(wide, i, narrow, j);
        }
        if (!is_covered) {
            return false;
        }
    }
    return true;
}

/* Each condition of `wide` is there in `narrow`, as narrow or narrower. */
static bool
conditions_cover(const struct alternative *wide, const struct alternative *narrow)
{
    for (size_t i = 0; i < wide->conditions_count; i++) {
        bool is_covered = false;
        for (size_t j = 0; j < narrow->conditions_count && !is_covered; j++) {
            is_covered = condition_covers(&wide->conditions[i], &narrow->conditions[j]);
        }
        if (!is_covered) {
            return false;
        }
    }
    return true;
}

/* The tree */

struct rule {
    uint32_t id;
    bool is_internal;
    const struct config_value *where, *match;
    const struct matcher *matcher;
    const struct route_table *children; /* NULL: none */
};

struct entry {
    const struct rule *rule; /* of the table's array: its address is its order */
    const struct alternative *alternative;
    const struct pattern *pattern; /* NULL: every path */
    struct entry *next;
};

struct entries {
    struct entry *first, *last;
};

struct node {
    struct map *literals; /* segment to node; NULL: none */
    struct node *capture;
    struct entries exact, prefix;
};

struct route_table {
    struct rule *rules;
    size_t rules_count;
    struct node root;
    struct map suffixes; /* suffix to struct entries */
    size_t *suffix_lengths;
    size_t suffix_lengths_count, suffix_lengths_room;
};

static void
drop_map(void *map)
{
    map_fini(map);
}

static struct node *
child_of(struct schema *schema, struct node *node, const struct pattern_segment *segment)
{
    if (segment->is_capture) {
        if (node->capture == NULL) {
            node->capture = allocate(schema, 1, sizeof(*node->capture));
        }
        return node->capture;
    }
    if (node->literals == NULL) {
        struct map *literals = allocate(schema, 1, sizeof(*literals));
        if (literals == NULL) {
            return NULL;
        }
        map_init(literals);
        if (arena_defer(schema->arena, drop_map, literals) < 0) {
            schema->no_memory = true;
            return NULL;
        }
        node->literals = literals;
    }
    struct node *child = map_find(node->literals, segment->text);
    if (child == NULL) {
        child = allocate(schema, 1, sizeof(*child));
        if (child != NULL && map_set(node->literals, segment->text, child) < 0) {
            schema->no_memory = true;
            return NULL;
        }
    }
    return child;
}

static struct entries *
suffix_entries(struct schema *schema, struct route_table *table, struct weir_str suffix)
{
    struct entries *entries = map_find(&table->suffixes, suffix);
    if (entries != NULL) {
        return entries;
    }
    entries = allocate(schema, 1, sizeof(*entries));
    if (entries == NULL || map_set(&table->suffixes, suffix, entries) < 0) {
        schema->no_memory = true;
        return NULL;
    }
    for (size_t i = 0; i < table->suffix_lengths_count; i++) {
        if (table->suffix_lengths[i] == suffix.len) {
            return entries;
        }
    }
    if (table->suffix_lengths_count == table->suffix_lengths_room) {
        size_t room = table->suffix_lengths_room * 2 + 4;
        size_t *lengths = allocate(schema, room, sizeof(*lengths));
        if (lengths == NULL) {
            return NULL;
        }
        if (table->suffix_lengths_count > 0) {
            memcpy(lengths, table->suffix_lengths,
                    table->suffix_lengths_count * sizeof(*lengths));
        }
        table->suffix_lengths = lengths;
        table->suffix_lengths_room = room;
    }
    table->suffix_lengths[table->suffix_lengths_count++] = suffix.len;
    return entries;
}

static void
insert(struct schema *schema, struct route_table *table, const struct rule *rule,
        const struct alternative *alternative, const struct pattern *pattern)
{
    struct entries *entries = &table->root.prefix;
    if (pattern != NULL && pattern->kind == PATTERN_SUFFIX) {
        entries = suffix_entries(schema, table, pattern->suffix);
    } else if (pattern != NULL) {
        struct node *node = &table->root;
        for (size_t i = 0; i < pattern->count && node != NULL; i++) {
            node = child_of(schema, node, &pattern->segments[i]);
        }
        entries = node == NULL                   ? NULL
                : pattern->kind == PATTERN_EXACT ? &node->exact
                                                 : &node->prefix;
    }
    struct entry *entry = entries == NULL ? NULL : allocate(schema, 1, sizeof(*entry));
    if (entry == NULL) {
        return; /* schema->no_memory is set */
    }
    *entry = (struct entry){ rule, alternative, pattern, NULL };
    if (entries->last == NULL) {
        entries->first = entry;
    } else {
        entries->last->next = entry;
    }
    entries->last = entry;
}

/* Routes that never match */

struct cover_search {
    const struct rule *rule;
    const struct alternative *alternative;
    const struct pattern *pattern; /* NULL: every path */
    unsigned looks;
    const struct rule *found; /* the earliest that covers it */
};

static void
cover_by(struct cover_search *search, const struct entries *entries)
{
    static const struct pattern everything = { .kind = PATTERN_PREFIX };
    const struct pattern *narrow = search->pattern == NULL ? &everything : search->pattern;
    for (const struct entry *e = entries->first; e != NULL && e->rule < search->rule;
            e = e->next) {
        if ((search->found != NULL && e->rule >= search->found) ||
                ++search->looks > COVER_LOOKS_MAX) {
            return;
        }
        if ((!e->rule->is_internal || search->rule->is_internal) &&
                (e->pattern == NULL || pattern_covers(e->pattern, narrow)) &&
                conditions_cover(e->alternative, search->alternative)) {
            search->found = e->rule;
            return;
        }
    }
}

/* Walks the nodes whose patterns are at least as wide as the searched one. */
static void
cover_walk(struct cover_search *search, const struct node *node, size_t depth)
{
    const struct pattern *pattern = search->pattern;
    cover_by(search, &node->prefix);
    if (pattern == NULL || pattern->kind == PATTERN_SUFFIX) {
        return;
    }
    if (depth == pattern->count) {
        cover_by(search, &node->exact);
        return;
    }
    const struct pattern_segment *segment = &pattern->segments[depth];
    const struct node *literal = segment->is_capture || node->literals == NULL
            ? NULL
            : map_find(node->literals, segment->text);
    if (literal != NULL) {
        cover_walk(search, literal, depth + 1);
    }
    if (node->capture != NULL && search->looks <= COVER_LOOKS_MAX) {
        search->looks++;
        cover_walk(search, node->capture, depth + 1);
    }
}

static const struct rule *
find_cover(const struct route_table *table, const struct rule *rule,
        const struct alternative *alternative, const struct pattern *pattern)
{
    struct cover_search search = { .rule = rule,
        .alternative = alternative,
        .pattern = pattern };
    cover_walk(&search, &table->root, 0);
    struct weir_str end = weir_str_make("", 0);
    if (pattern != NULL && pattern->kind == PATTERN_SUFFIX) {
        end = pattern->suffix;
    } else if (pattern != NULL && pattern->kind == PATTERN_EXACT && pattern->count > 0) {
        end = pattern->segments[pattern->count - 1].text;
    }
    for (size_t i = 0; i < table->suffix_lengths_count; i++) {
        size_t len = table->suffix_lengths[i];
        const struct entries *entries = len > end.len
                ? NULL
                : map_find(&table->suffixes, weir_str_make(end.ptr + end.len - len, len));
        if (entries != NULL) {
            cover_by(&search, entries);
        }
    }
    return search.found;
}

static const struct config_value *
place_of(const struct rule *rule)
{
    return rule->match != NULL ? rule->match : rule->where;
}

static void
report_dead(struct schema *schema, const struct rule *rule, const struct rule *earlier)
{
    struct diagnostic *d = config_mistake(schema->diagnostics, DIAGNOSTIC_ROUTE_DEAD,
            place_of(rule), "this route never matches");
    diagnostic_note(d, "an earlier one takes all of it");
    diagnostic_hint(d, "put it before the wider one, or remove it");
    diagnostic_other(d, &place_of(earlier)->place, "the earlier route");
}

/* Reports the rule when each of its alternatives is taken by an earlier rule. */
static void
check_alive(struct schema *schema, const struct route_table *table, const struct rule *rule)
{
    const struct rule *by = NULL;
    for (size_t i = 0; i < rule->matcher->count; i++) {
        const struct alternative *alternative = &rule->matcher->alternatives[i];
        size_t patterns = alternative->patterns_count;
        for (size_t j = 0; j < (patterns == 0 ? 1 : patterns); j++) {
            by = find_cover(table, rule, alternative,
                    patterns == 0 ? NULL : &alternative->patterns[j]);
            if (by == NULL) {
                return;
            }
        }
    }
    if (by != NULL) {
        report_dead(schema, rule, by);
    }
}

/* True when no path that `child` matches is one of `parent`'s. */
static bool
is_outside(const struct matcher *parent, const struct matcher *child)
{
    size_t looks = 0;
    for (size_t i = 0; i < child->count; i++) {
        const struct alternative *inner = &child->alternatives[i];
        for (size_t j = 0; j < parent->count; j++) {
            const struct alternative *outer = &parent->alternatives[j];
            if (inner->patterns_count == 0 || outer->patterns_count == 0 ||
                    (looks += inner->patterns_count * outer->patterns_count) >
                            COVER_LOOKS_MAX) {
                return false;
            }
            for (size_t k = 0; k < inner->patterns_count * outer->patterns_count; k++) {
                if (!pattern_is_disjoint(&inner->patterns[k / outer->patterns_count],
                            &outer->patterns[k % outer->patterns_count])) {
                    return false;
                }
            }
        }
    }
    return child->count > 0;
}

static void
check_inside(struct schema *schema, const struct rule *parent, const struct rule *rule)
{
    if (!is_outside(parent->matcher, rule->matcher)) {
        return;
    }
    struct diagnostic *d = config_mistake(schema->diagnostics, DIAGNOSTIC_ROUTE_DEAD,
            place_of(rule), "this route never matches");
    diagnostic_note(d, "its parent matches other paths");
    diagnostic_hint(d, "patterns of nested routes are of the whole path");
    diagnostic_other(d, &place_of(parent)->place, "the parent");
}

/* Compiling tables */

static const struct matcher *
compile_rule(struct schema *schema, const struct config_value *match)
{
    if (match != NULL && match->kind != CONFIG_NULL) {
        return compile(schema, match);
    }
    struct matcher *everything = allocate(schema, 1, sizeof(*everything));
    struct alternative *alternative = allocate(schema, 1, sizeof(*alternative));
    if (everything == NULL || alternative == NULL) {
        return NULL;
    }
    *everything = (struct matcher){ alternative, 1 };
    return everything;
}

static const struct route_table *
table_new(struct schema *schema, const struct route_rule *rules, size_t count,
        const struct rule *parent)
{
    struct route_table *table = allocate(schema, 1, sizeof(*table));
    if (table == NULL) {
        return NULL;
    }
    map_init(&table->suffixes);
    if (arena_defer(schema->arena, drop_map, &table->suffixes) < 0) {
        schema->no_memory = true;
        return NULL;
    }
    table->rules = allocate(schema, count, sizeof(*table->rules));
    if (table->rules == NULL) {
        return NULL;
    }
    table->rules_count = count;
    for (size_t i = 0; i < count && !schema->no_memory; i++) {
        struct rule *rule = &table->rules[i];
        *rule = (struct rule){ .id = rules[i].id,
            .is_internal = rules[i].is_internal,
            .where = rules[i].where,
            .match = rules[i].match,
            .matcher = compile_rule(schema, rules[i].match) };
        if (rule->matcher == NULL) {
            continue; /* reported; nothing is known about it */
        }
        check_alive(schema, table, rule);
        if (parent != NULL && parent->matcher != NULL) {
            check_inside(schema, parent, rule);
        }
        for (size_t j = 0; j < rule->matcher->count; j++) {
            const struct alternative *alternative = &rule->matcher->alternatives[j];
            if (alternative->patterns_count == 0) {
                insert(schema, table, rule, alternative, NULL);
            }
            for (size_t k = 0; k < alternative->patterns_count; k++) {
                insert(schema, table, rule, alternative, &alternative->patterns[k]);
            }
        }
        if (rules[i].children_count > 0) {
            rule->children = table_new(schema, rules[i].children, rules[i].children_count,
                    rule);
        }
    }
    return schema->no_memory ? NULL : table;
}

const struct route_table *
route_table_new(struct schema *schema, const struct route_rule *rules, size_t count)
{
    return table_new(schema, rules, count, NULL);
}

/* Looking up */

struct lookup {
    const struct route_request *request;
    const struct entry *best;
};

static void
consider(struct lookup *lookup, const struct entries *entries)
{
    for (const struct entry *e = entries->first; e != NULL; e = e->next) {
        if (lookup->best != NULL && e->rule >= lookup->best->rule) {
            return;
        }
        if ((!e->rule->is_internal || lookup->request->is_internal) &&
                conditions_hold(e->alternative, lookup->request)) {
            lookup->best = e;
            return;
        }
    }
}

static void
walk(struct lookup *lookup, const struct node *node, struct weir_str rest)
{
    struct weir_str segment;
    consider(lookup, &node->prefix);
    if (!pattern_next_segment(&rest, &segment)) {
        consider(lookup, &node->exact);
        return;
    }
    const struct node *literal = node->literals == NULL ? NULL
                                                        : map_find(node->literals, segment);
    if (literal != NULL) {
        walk(lookup, literal, rest);
    }
    if (node->capture != NULL && segment.len > 0) {
        walk(lookup, node->capture, rest);
    }
}

static const struct entry *
find_in(const struct route_table *table, const struct route_request *request)
{
    struct lookup lookup = { .request = request };
    struct weir_str path = request->path;
    if (path.len > 0 && path.ptr[0] == '/') {
        walk(&lookup, &table->root, path);
    } else {
        consider(&lookup, &table->root.prefix);
    }
    for (size_t i = 0; i < table->suffix_lengths_count; i++) {
        size_t len = table->suffix_lengths[i];
        const struct entries *entries = len > path.len
                ? NULL
                : map_find(&table->suffixes, weir_str_make(path.ptr + path.len - len, len));
        if (entries != NULL) {
            consider(&lookup, entries);
        }
    }
    return lookup.best;
}

static void
add_capture(struct route_match *match, struct weir_str name, struct weir_str value)
{
    for (uint32_t i = 0; i < match->captures_count; i++) {
        if (weir_str_eq(match->captures[i].name, name)) {
            return; /* an inner route's, which goes first */
        }
    }
    if (match->captures_count < ROUTE_CAPTURES_MAX) {
        match->captures[match->captures_count++] = (struct route_capture){ name, value };
    }
}

static void
capture_segments(const struct pattern *pattern, struct weir_str path, struct route_match *match)
{
    struct weir_str segment;
    for (size_t i = 0; i < pattern->count && pattern_next_segment(&path, &segment); i++) {
        if (pattern->segments[i].is_capture) {
            add_capture(match, pattern->segments[i].text, segment);
        }
    }
    if (pattern->tail_name.len > 0) {
        bool has_slash = path.len > 0 && path.ptr[0] == '/';
        add_capture(match, pattern->tail_name,
                weir_str_make(path.ptr + has_slash, path.len - has_slash));
    }
}

static void
capture_groups(const struct alternative *alternative, struct weir_str path,
        struct route_match *match)
{
    for (size_t i = 0; i < alternative->conditions_count; i++) {
        const struct condition *condition = &alternative->conditions[i];
        bool is_found = false;
        for (size_t j = 0;
                condition->kind == CONDITION_REGEX && j < condition->count && !is_found; j++) {
            struct regex_capture groups[ROUTE_CAPTURES_MAX];
            size_t count = ROUTE_CAPTURES_MAX;
            is_found = regex_match(condition->regexes[j], path, groups, &count);
            for (size_t k = 0; is_found && k < count; k++) {
                add_capture(match, groups[k].name, groups[k].value);
            }
        }
    }
}

bool
route_find(const struct route_table *table, const struct route_request *request,
        struct route_match *match)
{
    const struct entry *found[ROUTE_DEPTH_MAX];
    size_t depth = 0;
    match->captures_count = 0;
    match->pattern = weir_str_make(NULL, 0);
    while (table != NULL && depth < ROUTE_DEPTH_MAX) {
        const struct entry *entry = find_in(table, request);
        if (entry == NULL) {
            break;
        }
        found[depth++] = entry;
        table = entry->rule->children;
    }
    if (depth == 0) {
        return false;
    }
    match->id = found[depth - 1]->rule->id;
    if (found[depth - 1]->pattern != NULL) {
        match->pattern = found[depth - 1]->pattern->text;
    }
    while (depth > 0) {
        const struct entry *entry = found[--depth];
        if (entry->pattern != NULL && entry->pattern->kind != PATTERN_SUFFIX) {
            capture_segments(entry->pattern, request->path, match);
        }
        capture_groups(entry->alternative, request->path, match);
    }
    return true;
}

/* What a route captures */

/* Calls visit() with each name; stops and says true when that does. */
typedef bool name_fn(void *context, struct weir_str name);

static bool
visit_names(const struct matcher *matcher, name_fn *visit, void *context)
{
    for (size_t i = 0; i < matcher->count; i++) {
        const struct alternative *alternative = &matcher->alternatives[i];
        for (size_t j = 0; j < alternative->patterns_count; j++) {
            const struct pattern *pattern = &alternative->patterns[j];
            for (size_t k = 0; k < pattern->count; k++) {
                if (pattern->segments[k].is_capture &&
                        visit(context, pattern->segments[k].text)) {
                    return true;
                }
            }
            if (pattern->tail_name.len > 0 && visit(context, pattern->tail_name)) {
                return true;
            }
        }
        for (size_t j = 0; j < alternative->conditions_count; j++) {
            const struct condition *condition = &alternative->conditions[j];
            for (size_t k = 0; condition->kind == CONDITION_REGEX && k < condition->count;
                    k++) {
                struct weir_str name;
                for (size_t n = 0; regex_group_name(condition->regexes[k], n, &name); n++) {
                    if (visit(context, name)) {
                        return true;
                    }
                }
            }
        }
    }
    return false;
}

/* Visits the names of rule `id` and of those around it; a rule without matcher is a yes. */
static bool
visit_rule(const struct route_table *table, uint32_t id, name_fn *visit, void *context)
{
    while (table != NULL) {
        /* Ids count parents before their children, so it is in the last that begins before. */
        const struct rule *around = NULL;
        for (size_t i = 0; i < table->rules_count && table->rules[i].id <= id; i++) {
            around = &table->rules[i];
        }
        if (around == NULL) {
            return false;
        }
        if (around->matcher == NULL || visit_names(around->matcher, visit, context)) {
            return true;
        }
        table = around->id == id ? NULL : around->children;
    }
    return false;
}

static bool
is_name(void *context, struct weir_str name)
{
    return weir_str_eq(*(const struct weir_str *)context, name);
}

static bool
offer_name(void *context, struct weir_str name)
{
    suggestion_offer(context, name);
    return false;
}

bool
route_has_capture(const struct route_table *table, uint32_t id, struct weir_str name)
{
    return visit_rule(table, id, is_name, &name);
}

void
route_offer_captures(const struct route_table *table, uint32_t id,
        struct suggestion *suggestion)
{
    visit_rule(table, id, offer_name, suggestion);
}
