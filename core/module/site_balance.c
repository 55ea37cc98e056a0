/* SPDX-License-Identifier: MIT */
/* Of an upstream, what says who is asked: its `balance` and `sticky`. */
#include <stdio.h>

#include "http/field.h"
#include "module/site_parts.h"
#include "module/site_tables.h"

/* ---- balance ----------------------------------------------------------------------------- */

static const struct weir_choice kinds[] = {
    { "round_robin", BALANCE_ROUND_ROBIN },
    { "least_connections", BALANCE_LEAST_CONNECTIONS },
    { "random", BALANCE_RANDOM },
    { "hash", BALANCE_HASH },
};

static const struct weir_option kind_option = {
    .type = WEIR_TYPE_ENUM,
    .field = "balance",
    .choices = WEIR_CHOICES(kinds),
};

void
site_read_balance(struct site_builder *builder, const struct config_value *upstream,
        struct upstream_settings *out)
{
    const struct config_value *value = config_find_name(upstream, "balance");
    struct balance_settings *balance = &out->balance;
    int kind = BALANCE_ROUND_ROBIN;
    if (value == NULL || value->kind == CONFIG_NULL) {
        return;
    }
    bool is_object = value->kind == CONFIG_OBJECT;
    if (is_object) {
        kind = BALANCE_HASH;
    } else if (!schema_read(&builder->schema, &kind_option, value, &kind)) {
        return;
    }
    balance->kind = (enum balance_kind)kind;
    if (balance->kind == BALANCE_HASH) {
        struct balance_conf conf = { .bound = -1 };
        schema_fill(&builder->schema, &site_balance_options, is_object ? value : NULL, value,
                &conf);
        out->key = conf.hash;
        balance->bound_percent = conf.bound > 0 ? (uint64_t)conf.bound : 0;
    }
}

/* ---- sticky ------------------------------------------------------------------------------ */

static const struct weir_option name_option = { .type = WEIR_TYPE_STRING, .field = "sticky" };

static void
bad_sticky(struct site_builder *builder, enum diagnostic_code code,
        const struct config_value *value, const char *key, const char *what, const char *why)
{
    const struct config_value *at = config_find_name(value, key);
    struct diagnostic *d = config_mistake(builder->schema.diagnostics, code,
            at == NULL ? value : at, "%s", what);
    diagnostic_note(d, "%s", why);
}

/* RFC 6265 section 4.1.1. */
static bool
is_path_value(struct weir_str path)
{
    bool is_good = path.len > 0 && path.ptr[0] == '/';
    for (size_t i = 0; i < path.len; i++) {
        is_good = is_good && path.ptr[i] > ' ' && path.ptr[i] < 0x7f && path.ptr[i] != ';';
    }
    return is_good;
}

/* What Set-Cookie says behind the value. */
static bool
write_attributes(struct site_builder *builder, const struct sticky_conf *conf,
        struct weir_str *out)
{
    static const char *const words[] = { "Lax", "Strict", "None" };
    size_t bytes = conf->path.len + 100;
    char *text = site_array(builder, bytes, 1);
    char age[40] = "";
    if (text == NULL) {
        return false;
    }
    if (conf->max_age_ns != UINT64_MAX) {
        snprintf(age, sizeof(age), "; Max-Age=%llu",
                (unsigned long long)(conf->max_age_ns / NS_PER_S));
    }
    int len = snprintf(text, bytes, "; Path=%.*s%s%s%s; SameSite=%s", WEIR_STR_ARG(conf->path),
            age, conf->http_only ? "; HttpOnly" : "", conf->secure ? "; Secure" : "",
            words[conf->same_site]);
    *out = weir_str_make(text, (size_t)len);
    return true;
}

static bool
check_sticky(struct site_builder *builder, const struct config_value *value,
        const struct sticky_conf *conf)
{
    if (!field_name_is_valid(conf->cookie)) {
        bad_sticky(builder, DIAGNOSTIC_NAME_FORM, value, "cookie",
                "that is no name for a cookie",
                "letters, digits, _, - and some more, at least one (RFC 6265)");
        return false;
    }
    if (!is_path_value(conf->path)) {
        bad_sticky(builder, DIAGNOSTIC_VALUE_FORM, value, "path",
                "that is no path for a cookie",
                "it begins with a slash, and has neither a blank nor a semicolon");
        return false;
    }
    if (conf->same_site == SITE_SAME_SITE_NONE && !conf->secure) {
        bad_sticky(builder, DIAGNOSTIC_RANGE, value, "same_site",
                "\"same_site\": \"none\" goes only with \"secure\": true",
                "browsers take no such cookie");
        return false;
    }
    return true;
}

void
site_read_sticky(struct site_builder *builder, const struct config_value *upstream,
        struct upstream_settings *out)
{
    const struct config_value *value = config_find_name(upstream, "sticky");
    struct sticky_settings *sticky = &out->sticky;
    if (value == NULL || value->kind == CONFIG_NULL || value->kind == CONFIG_FALSE) {
        return;
    }
    bool is_object = value->kind == CONFIG_OBJECT;
    struct config_value *object = NULL;
    struct sticky_conf conf = { .http_only = true };
    if (!is_object) {
        struct weir_str name;
        if (!schema_read(&builder->schema, &name_option, value, &name)) {
            return;
        }
        object = config_object_new(builder->schema.arena, value, 1);
        if (object == NULL) {
            builder->schema.no_memory = true;
            return;
        }
        config_object_add(object, WEIR_STR("cookie"), value);
    }
    schema_fill(&builder->schema, &site_sticky_options, is_object ? value : object, value,
            &conf);
    bool is_filled = conf.cookie.ptr != NULL &&
            conf.path.ptr != NULL; /* else it was reported */
    if (is_filled && check_sticky(builder, value, &conf) &&
            write_attributes(builder, &conf, &sticky->attributes)) {
        sticky->cookie = conf.cookie;
        sticky_key(conf.secret, out->name, sticky->key);
    }
}
