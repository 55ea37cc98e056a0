/* SPDX-License-Identifier: MIT */
/* Asking conditions of a request, and which of two is the wider. */
#include "module/match.h"

#include "config/regex.h"

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

bool
match_conditions_hold(const struct alternative *alternative,
        const struct route_request *request)
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
        if (path_holds && match_conditions_hold(alternative, request)) {
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
            narrow->is_absent || wide->count * narrow->count > MATCH_COVER_LOOKS_MAX) {
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
bool
match_conditions_cover(const struct alternative *wide, const struct alternative *narrow)
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
