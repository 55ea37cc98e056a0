/* SPDX-License-Identifier: MIT */
/* The section `upstreams` (CONFIG.md). */
#include "module/loader.h"
#include "module/site_parts.h"
#include "module/site_tables.h"

/* An address of a target, as they are all listed. */
static void
hint_target(struct diagnostic *d)
{
    diagnostic_hint(d,
            "\"127.0.0.1:9000\", \"[::1]:9000\", \"unix:/path\", \"@name\", "
            "\"host.example:9000\" or \"srv:_http._tcp.example\"");
}

static const char *
why_no_target(struct weir_str text)
{
    if (weir_str_starts_with(text, WEIR_STR("srv:"))) {
        return "behind srv: stands the name of a service, whose SRV records say the ports";
    }
    if (text.len > 0 && memmem(text.ptr, text.len, "://", 3) != NULL) {
        return "a target has neither a scheme nor a path";
    }
    if (text.len > 0 && memchr(text.ptr, ':', text.len) == NULL) {
        return "no port behind it";
    }
    return "neither an IP address nor a name, with a port";
}

/* What site_read_address() would say is of listeners. */
static void
bad_target(struct site_builder *builder, const struct config_value *value)
{
    struct weir_str text = value->string;
    struct diagnostic *d = config_mistake(builder->schema.diagnostics, DIAGNOSTIC_ADDRESS,
            value, "\"%.*s\" is no address", (int)(text.len < 200 ? text.len : 200), text.ptr);
    diagnostic_note(d, "%s", why_no_target(text));
    hint_target(d);
}

static bool
read_target_address(struct site_builder *builder, const struct config_value *value,
        struct upstream_target_settings *out)
{
    if (!schema_expect_string(&builder->schema, value, "the address of a target",
                &out->address)) {
        return false;
    }
    struct weir_str host;
    uint16_t port;
    if (site_is_name(value->string, &host, &port)) {
        return site_read_name(builder, host, port, out);
    }
    bool is_socket = weir_str_starts_with(value->string, WEIR_STR("unix:")) ||
            weir_str_starts_with(value->string, WEIR_STR("@"));
    if (!is_socket && addr_parse(value->string, &out->addr, NULL) < 0) {
        bad_target(builder, value);
        return false;
    }
    if (!site_read_address(builder, value, &out->addr)) {
        return false;
    }
    bool has_port = out->addr.sa.sa_family == AF_UNIX || addr_port(&out->addr) != 0;
    bool has_host = value->string.len > 0 && value->string.ptr[0] != ':';
    if (!has_port || !has_host) {
        struct diagnostic *d = config_mistake(builder->schema.diagnostics, DIAGNOSTIC_ADDRESS,
                value, "\"%.*s\" can be listened at, but not connected to",
                WEIR_STR_ARG(value->string));
        hint_target(d);
    }
    return has_port && has_host;
}

static bool
read_target(struct site_builder *builder, const struct config_value *value,
        struct upstream_target_settings *out)
{
    struct target_conf conf = { .weight = 1 };
    const struct config_value *address = value;
    if (value->kind == CONFIG_OBJECT) {
        schema_fill(&builder->schema, &site_target_options, value, value, &conf);
        address = config_find_name(value, "address");
        if (address == NULL) {
            struct diagnostic *d = config_mistake(builder->schema.diagnostics,
                    DIAGNOSTIC_REQUIRED, value, "\"address\" is missing");
            diagnostic_note(d, "a target is somewhere");
            return false;
        }
    }
    out->is_backup = conf.backup;
    out->weight = conf.weight < 1 ? 1 : (uint64_t)conf.weight; /* else it was refused */
    bool is_good = read_target_address(builder, address, out);
    const struct config_value *weight = value == address ? NULL
                                                         : config_find_name(value, "weight");
    if (is_good && out->is_service && weight != NULL) {
        struct diagnostic *d = config_key_mistake(builder->schema.diagnostics, DIAGNOSTIC_RANGE,
                weight, "\"weight\" beside the name of a service");
        diagnostic_note(d, "its SRV records say what each of its hosts weighs");
        return false;
    }
    return is_good;
}

static void
read_targets(struct site_builder *builder, const struct config_value *where,
        struct upstream_settings *out)
{
    const struct config_value *value = config_find_name(where, "targets");
    const struct config_value *list = value == NULL ? NULL
                                                    : schema_as_list(&builder->schema, value);
    if (list == NULL || list->count == 0) {
        struct diagnostic *d = config_mistake(builder->schema.diagnostics, DIAGNOSTIC_REQUIRED,
                value == NULL ? where : value, "an upstream needs \"targets\"");
        diagnostic_hint(d, "\"targets\": [\"127.0.0.1:9000\"]");
        return;
    }
    if (list->count > UPSTREAM_TARGETS_MAX) {
        config_mistake(builder->schema.diagnostics, DIAGNOSTIC_RANGE, value,
                "%u targets are more than %u", list->count, UPSTREAM_TARGETS_MAX);
        return;
    }
    struct upstream_target_settings *targets = site_array(builder, list->count,
            sizeof(*targets));
    if (targets == NULL) {
        return;
    }
    for (uint32_t i = 0; i < list->count; i++) {
        if (read_target(builder, list->items[i], &targets[out->target_count])) {
            out->target_count++;
        }
    }
    out->targets = targets;
}

static struct retry_settings
retry_of(const struct upstream_retry_conf *conf)
{
    struct retry_settings settings = {
        .times = conf->times < RETRY_TIMES_MAX ? (uint32_t)conf->times : RETRY_TIMES_MAX,
        .percent = conf->budget,
        .floor = conf->floor,
    };
    for (size_t i = 0; i < conf->on.count; i++) {
        settings.on |= (uint32_t)WEIR_LIST_AT(int, &conf->on, i);
    }
    if (conf->floor.count == UINT64_MAX) { /* false: no bound */
        settings.percent = -1;
    }
    return settings;
}

static void
read_upstream(struct site_builder *builder, const struct config_member *member,
        struct upstream_settings *out)
{
    const struct config_value *value = member->value;
    struct upstream_conf conf = { .keepalive = 0 };
    schema_fill(&builder->schema, &site_upstream_options, value, value, &conf);
    *out = (struct upstream_settings){
        .name = member->key,
        .keepalive = conf.keepalive,
        .connections = conf.connections,
        .queue_size = conf.queue_size,
        .connect_ns = conf.timeouts.connect_ns,
        .send_ns = conf.timeouts.send_ns,
        .read_ns = conf.timeouts.read_ns,
        .queue_ns = conf.timeouts.queue_ns,
        .idle_ns = conf.timeouts.keepalive_ns,
        .proxy = (enum proxy_version)conf.proxy_protocol,
        .refuses_when_out = conf.all_out != 0,
        .eject = conf.eject,
        .retry = retry_of(&conf.retry),
        /* false, which is no limit elsewhere: none, or a target would never be back. */
        .balance = { .slow_start_ns = conf.slow_start_ns == UINT64_MAX ? 0
                                                                       : conf.slow_start_ns },
    };
    site_read_resolve(builder, value, &conf.resolve, &out->names);
    site_check_eject(builder, value, &out->eject);
    site_read_balance(builder, value, out);
    site_read_sticky(builder, value, out);
    site_read_health(builder, value, &out->health);
    read_targets(builder, value, out);
}

void
site_name_upstreams(struct site_builder *builder)
{
    const struct config_value *value = config_find_name(builder->site->document, "upstreams");
    bool is_none = value == NULL || value->kind == CONFIG_NULL || value->kind == CONFIG_FALSE;
    if (!is_none && schema_expect_object(&builder->schema, value, "\"upstreams\"")) {
        builder->schema.upstreams = value;
    }
}

void
site_build_upstreams(struct site_builder *builder)
{
    struct site *site = builder->site;
    const struct config_value *value = builder->schema.upstreams;
    if (value == NULL) {
        return;
    }
    struct upstream_settings *upstreams = site_array(builder, value->count, sizeof(*upstreams));
    for (uint32_t i = 0; upstreams != NULL && i < value->count; i++) {
        const struct config_member *member = &value->members[i];
        if (config_is_note(member->key)) {
            continue;
        }
        if (!loader_is_name(member->key)) {
            struct diagnostic *d = config_key_mistake(builder->schema.diagnostics,
                    DIAGNOSTIC_NAME_FORM, member->value, "\"%.*s\" is no name for an upstream",
                    (int)(member->key.len < 100 ? member->key.len : 100), member->key.ptr);
            diagnostic_note(d, "letters, digits, _ and -; at most 64");
        } else if (schema_expect_object(&builder->schema, member->value, "an upstream")) {
            read_upstream(builder, member, &upstreams[site->upstreams_count++]);
        }
    }
    site->upstreams = upstreams;
}
