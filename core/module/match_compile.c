/* SPDX-License-Identifier: MIT */
/* Compiling a `match`: every mistake in it is reported in its place. */
#include <errno.h>

#include "config/regex.h"
#include "config/template.h"
#include "http/field.h"
#include "module/match.h"

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
            .help = "Networks of the peer: the connection's, or its PROXY header's"),
    WEIR_LIST(struct match_conf, protocol, .element = WEIR_TYPE_ENUM,
            .choices = WEIR_CHOICES(protocols), .help = "Versions of HTTP"),
    { .type = SCHEMA_ANY,
            .field = "variable",
            .help = "Variables by name without braces, as header" },
    { .type = SCHEMA_ANY, .field = "not", .help = "A match that must not hold" },
};

const struct weir_options route_match_options = WEIR_OPTIONS(struct match_conf, match_options);

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
    struct pattern *patterns = list == NULL
            ? NULL
            : schema_array(schema, list->count, sizeof(*patterns));
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
    struct wanted *texts = list == NULL ? NULL
                                        : schema_array(schema, list->count, sizeof(*texts));
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

static bool
check_field_name(struct schema *schema, const struct config_member *member)
{
    struct weir_str key = member->key;
    if (field_name_is_valid(key)) {
        return true;
    }
    config_key_mistake(schema->diagnostics, DIAGNOSTIC_NAME_FORM, member->value,
            "\"%.*s\" is no name of a header field", (int)(key.len < 200 ? key.len : 200),
            key.ptr);
    return false;
}

static bool
check_variable(struct schema *schema, const struct config_member *member)
{
    struct template_piece piece;
    const char *message = NULL;
    struct weir_str key = member->key;
    int r = template_variable_parse(key, &schema->extras, &piece, &message);
    int shown = (int)(key.len < 200 ? key.len : 200);
    if (piece.variable == TEMPLATE_LITERAL) {
        struct suggestion suggestion;
        struct diagnostic *d = config_key_mistake(schema->diagnostics,
                DIAGNOSTIC_VARIABLE_UNKNOWN, member->value, "unknown variable \"%.*s\"", shown,
                key.ptr);
        suggestion_init(&suggestion, key);
        template_suggest(&suggestion, &schema->extras);
        suggestion_hint(&suggestion, d);
    } else if (template_time_of(piece.variable) == TEMPLATE_NEVER) {
        config_key_mistake(schema->diagnostics, DIAGNOSTIC_NOT_IN_BUILD, member->value,
                "variable \"%.*s\" is not in this build", shown, key.ptr);
    } else if (r < 0) {
        config_key_mistake(schema->diagnostics, DIAGNOSTIC_TEMPLATE, member->value,
                "\"%.*s\": %s", shown, key.ptr, message);
    } else if (template_time_of(piece.variable) == TEMPLATE_ENDED) {
        config_key_mistake(schema->diagnostics, DIAGNOSTIC_TEMPLATE, member->value,
                "\"%.*s\" is known when the request has ended: no route can depend on it",
                shown, key.ptr);
    } else {
        return true;
    }
    return false;
}

/* The name of a header field, a parameter or a variable. */
static bool
compile_name(struct schema *schema, const struct config_member *member,
        struct condition *condition)
{
    struct weir_str key = member->key;
    if ((condition->kind == CONDITION_HEADER && !check_field_name(schema, member)) ||
            (condition->kind == CONDITION_VARIABLE && !check_variable(schema, member))) {
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
    struct host_pattern *hosts = list == NULL
            ? NULL
            : schema_array(schema, list->count, sizeof(*hosts));
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
    struct wanted *texts = list == NULL ? NULL
                                        : schema_array(schema, list->count, sizeof(*texts));
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
    struct wanted *texts = schema_array(schema, list->count, sizeof(*texts));
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
    alternative->conditions = schema_array(schema, most, sizeof(*alternative->conditions));
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
            .inner = match_compile(schema, inverted) };
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

const struct matcher *
match_compile(struct schema *schema, const struct config_value *value)
{
    const struct config_value *list = schema_as_list(schema, value);
    struct matcher *matcher = schema_array(schema, 1, sizeof(*matcher));
    if (list == NULL || matcher == NULL) {
        return NULL;
    }
    if (list->count == 0) {
        refuse_empty(schema, value);
        return NULL;
    }
    matcher->alternatives = schema_array(schema, list->count, sizeof(*matcher->alternatives));
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
