/* SPDX-License-Identifier: MIT */
/*     listener  name, address, at        hooks     phase, name, handler, at, options
 *     server    name, because, at        settings  limits, timeouts, trust, log
 *     route     name, pattern, captures, at, parents
 *
 * `at` is a place: file, line, column. An option has its value, and where it was written or
 * that it is a preset. Who would answer is null where there is none; `status` says what
 * follows. */
#include "config/schema.h"
#include "module/chain.h"
#include "module/site_tables.h"
#include "server/command_explain.h"

static void
place(struct emit *emit, const struct config_place *place)
{
    if (place->source == NULL) {
        emit_null(emit);
        return;
    }
    struct source_position position = source_locate(place);
    emit_object_begin(emit);
    emit_member_string(emit, "file", place->source->name);
    emit_key(emit, "line");
    emit_unsigned(emit, position.line);
    emit_key(emit, "column");
    emit_unsigned(emit, position.column);
    emit_object_end(emit);
}

static void
place_member(struct emit *emit, const struct config_place *at)
{
    emit_key(emit, "at");
    place(emit, at);
}

static void
name_member(struct emit *emit, const char *key, struct weir_str name)
{
    emit_key(emit, key);
    emit_string(emit, name);
}

static void
value(struct emit *emit, const struct config_value *v)
{
    switch (v->kind) {
    case CONFIG_NULL:
        emit_null(emit);
        break;
    case CONFIG_FALSE:
    case CONFIG_TRUE:
        emit_bool(emit, v->kind == CONFIG_TRUE);
        break;
    case CONFIG_INTEGER:
        emit_integer(emit, v->integer);
        break;
    case CONFIG_REAL:
    case CONFIG_STRING:
        emit_string(emit, v->string);
        break;
    case CONFIG_LIST:
        emit_list_begin(emit);
        for (uint32_t i = 0; i < v->count; i++) {
            value(emit, v->items[i]);
        }
        emit_list_end(emit);
        break;
    case CONFIG_OBJECT:
        emit_object_begin(emit);
        for (uint32_t i = 0; i < v->count; i++) {
            emit_key_str(emit, v->members[i].key);
            value(emit, v->members[i].value);
        }
        emit_object_end(emit);
        break;
    }
}

static void
one_option(struct emit *emit, const struct weir_option *option, const struct config_value *v)
{
    emit_key(emit, schema_key(option));
    emit_object_begin(emit);
    if (v == NULL) {
        emit_member_string(emit, "value", option->preset);
        emit_member_bool(emit, "preset", true);
    } else {
        emit_key(emit, "value");
        if (schema_is_secret(option)) {
            emit_null(emit);
            emit_member_bool(emit, "secret", true);
        } else {
            value(emit, v);
        }
        place_member(emit, &v->place);
    }
    emit_object_end(emit);
}

/* Keys that one option takes as its own. */
static void
rest_options(struct emit *emit, const struct weir_options *table,
        const struct config_value *merged)
{
    for (uint32_t i = 0; i < merged->count; i++) {
        const struct config_member *member = &merged->members[i];
        if (schema_find(table, member->key) == NULL && !config_is_note(member->key)) {
            emit_key_str(emit, member->key);
            emit_object_begin(emit);
            emit_key(emit, "value");
            value(emit, member->value);
            place_member(emit, &member->value->place);
            emit_object_end(emit);
        }
    }
}

static void
options(struct emit *emit, const char *key, const struct weir_options *table,
        const struct config_value *merged)
{
    emit_key(emit, key);
    emit_object_begin(emit);
    for (size_t i = 0; i < table->count; i++) {
        const struct weir_option *option = schema_option(table, i);
        if (option->type == SCHEMA_ANY || option->type == SCHEMA_NOT_IN_BUILD || option->rest) {
            continue;
        }
        const struct config_value *v = config_find_name(merged, schema_key(option));
        if (option->type == WEIR_TYPE_OBJECT && v != NULL && v->kind == CONFIG_OBJECT) {
            options(emit, schema_key(option), &option->members, v);
        } else if (v != NULL || option->preset != NULL) {
            one_option(emit, option, v);
        }
    }
    if (schema_find_rest(table) != NULL && merged != NULL) {
        rest_options(emit, table, merged);
    }
    emit_object_end(emit);
}

static void
write_listener(struct emit *emit, const struct site_listener *listener)
{
    emit_key(emit, "listener");
    if (listener == NULL) {
        emit_null(emit);
        return;
    }
    emit_object_begin(emit);
    name_member(emit, "name", listener->name);
    name_member(emit, "address", listener->address);
    place_member(emit, &listener->where->place);
    emit_object_end(emit);
}

static void
write_server(struct emit *emit, const struct explain_answer *answer)
{
    emit_key(emit, "server");
    if (answer->server == NULL) {
        emit_null(emit);
        return;
    }
    emit_object_begin(emit);
    name_member(emit, "name", answer->server->name);
    emit_member_string(emit, "because", explain_server_reason(answer));
    place_member(emit, &answer->server->where->place);
    emit_object_end(emit);
}

static void
write_route(struct emit *emit, const struct explain_answer *answer)
{
    const struct site_route *route = answer->route;
    emit_key(emit, "route");
    if (route == NULL) {
        emit_null(emit);
        return;
    }
    emit_object_begin(emit);
    name_member(emit, "name", route->name);
    name_member(emit, "pattern", answer->match.pattern);
    place_member(emit, &route->where->place);
    emit_key(emit, "captures");
    emit_object_begin(emit);
    for (uint32_t i = 0; i < answer->match.captures_count; i++) {
        emit_key_str(emit, answer->match.captures[i].name);
        emit_string(emit, answer->match.captures[i].value);
    }
    emit_object_end(emit);
    emit_key(emit, "parents");
    emit_list_begin(emit);
    for (const struct site_route *up = route->parent; up != NULL; up = up->parent) {
        emit_object_begin(emit);
        name_member(emit, "name", up->name);
        place_member(emit, &up->where->place);
        emit_object_end(emit);
    }
    emit_list_end(emit);
    emit_object_end(emit);
}

static void
write_hooks(struct emit *emit, const struct explain_answer *answer)
{
    emit_key(emit, "hooks");
    emit_list_begin(emit);
    for (size_t i = 0; i < answer->hooks_count; i++) {
        const struct site_use *use = answer->hooks[i].use;
        emit_object_begin(emit);
        emit_member_string(emit, "phase", phase_name(answer->hooks[i].phase));
        name_member(emit, "name", use->name);
        emit_member_string(emit, "handler", use->conf->handler->name);
        place_member(emit, config_key_place(use->where));
        options(emit, "options", &use->conf->handler->options, use->merged);
        emit_object_end(emit);
    }
    emit_list_end(emit);
}

static void
write_settings(struct emit *emit, const struct site_settings *settings)
{
    emit_key(emit, "settings");
    emit_object_begin(emit);
    options(emit, "limits", &site_limits_options, settings->limits_from);
    options(emit, "timeouts", &site_timeouts_options, settings->timeouts_from);
    options(emit, "trust", &site_trust_options, settings->trust_from);
    options(emit, "log", &site_log_level_options, settings->log_from);
    emit_object_end(emit);
}

/* What is answered when nobody is asked. */
static void
write_status(struct emit *emit, const struct explain_answer *answer)
{
    emit_key(emit, "status");
    if (answer->listener == NULL) {
        emit_null(emit);
    } else if (answer->server == NULL) {
        emit_unsigned(emit, 421);
    } else if (answer->route == NULL || answer->route->handle.count == 0) {
        emit_unsigned(emit, 404);
    } else {
        emit_null(emit);
    }
}

void
explain_write_json(const struct explain_answer *answer, struct emit *emit)
{
    emit_object_begin(emit);
    emit_key(emit, "port");
    emit_unsigned(emit, answer->port);
    write_listener(emit, answer->listener);
    write_server(emit, answer);
    write_route(emit, answer);
    write_status(emit, answer);
    if (answer->server != NULL) {
        write_hooks(emit, answer);
        write_settings(emit, explain_settings_of(answer));
    }
    emit_object_end(emit);
    emit_raw(emit, WEIR_STR("\n"));
}
