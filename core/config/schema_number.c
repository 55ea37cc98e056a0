/* SPDX-License-Identifier: MIT */
/* Numbers: bare, with units, as classes of statuses and as blocks of addresses. */
#include <errno.h>
#include <stdio.h>

#include "base/num.h"
#include "config/schema_parts.h"
#include "config/units.h"

/* A whole number, also as text from outside. */
static bool
is_integer(const struct config_value *value, int64_t *out)
{
    if (value->kind == CONFIG_INTEGER) {
        *out = value->integer;
        return true;
    }
    if (value->kind != CONFIG_STRING || !value->is_expanded) {
        return false;
    }
    struct weir_str text = value->string;
    bool is_negative = text.len > 1 && text.ptr[0] == '-';
    uint64_t magnitude;
    if (num_parse_u64(weir_str_make(text.ptr + is_negative, text.len - is_negative), INT64_MAX,
                &magnitude) < 0) {
        return false;
    }
    *out = is_negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return true;
}

static bool
out_of_range(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, const char *low, const char *high)
{
    struct diagnostic *d = schema_bad_value(schema, DIAGNOSTIC_RANGE, option, value,
            "is out of range");
    diagnostic_note(d, "%s to %s", low, high);
    return false;
}

static bool
has_bounds(const struct weir_option *option)
{
    return option->min != option->max;
}

bool
schema_read_int(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, int64_t *field)
{
    int64_t number;
    if (option->optional && schema_is_false(value)) {
        *field = -1;
        return true;
    }
    if (option->choices.count > 0 && value->kind == CONFIG_STRING &&
            !is_integer(value, &number)) {
        int word;
        bool ok = schema_read_enum(schema, option, value, &word);
        *field = ok ? word : 0;
        return ok;
    }
    if (!is_integer(value, &number)) {
        return schema_wrong_type(schema, option, value,
                option->optional ? "a whole number or false" : "a whole number");
    }
    if (has_bounds(option) && (number < option->min || number > option->max)) {
        char low[24], high[24];
        snprintf(low, sizeof(low), "%lld", (long long)option->min);
        snprintf(high, sizeof(high), "%lld", (long long)option->max);
        return out_of_range(schema, option, value, low, high);
    }
    *field = number;
    return true;
}

static bool
check_zero(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, uint64_t number)
{
    if (number > 0 || option->zero) {
        return true;
    }
    struct diagnostic *d = config_mistake(schema->diagnostics, DIAGNOSTIC_ZERO, value,
            "\"%s\" cannot be zero", schema_key(option));
    diagnostic_hint(d, "\"no limit\" is written false");
    return false;
}

bool
schema_read_count(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, uint64_t *field)
{
    int64_t number;
    if (schema_is_false(value)) {
        *field = UINT64_MAX;
        return true;
    }
    if (!is_integer(value, &number)) {
        return schema_wrong_type(schema, option, value, "a whole number or false");
    }
    if (number < 0 ||
            (has_bounds(option) && number != 0 &&
                    (number < option->min || number > option->max))) {
        char low[24], high[24];
        snprintf(low, sizeof(low), "%lld", (long long)(has_bounds(option) ? option->min : 1));
        snprintf(high, sizeof(high), "%lld",
                (long long)(has_bounds(option) ? option->max : INT64_MAX));
        return out_of_range(schema, option, value, low, high);
    }
    if (!check_zero(schema, option, value, (uint64_t)number)) {
        return false;
    }
    *field = (uint64_t)number;
    return true;
}

/* SIZE and DURATION differ in their units only. */
bool
schema_read_quantity(struct schema *schema, const struct weir_option *option,
        enum weir_option_type type, const struct config_value *value, uint64_t *field)
{
    bool is_size = type == WEIR_TYPE_SIZE;
    if (schema_is_false(value)) {
        *field = UINT64_MAX;
        return true;
    }
    uint64_t quantity = 0;
    int r = -EDOM;
    int64_t bare = 0;
    bool is_bare = value->kind == CONFIG_INTEGER;
    if (is_bare) {
        bare = value->integer;
    } else if (value->kind == CONFIG_STRING) {
        r = is_size ? units_parse_size(value->string, &quantity)
                    : units_parse_duration(value->string, &quantity);
        is_bare = r == -EDOM &&
                is_integer(&(struct config_value){ .kind = CONFIG_STRING,
                                   .is_expanded = true,
                                   .string = value->string },
                        &bare);
    } else {
        return schema_wrong_type(schema, option, value,
                is_size ? "a size such as \"64k\", or false"
                        : "a duration such as \"30s\", or false");
    }
    if (is_bare && bare == 0) {
        return check_zero(schema, option, value, 0) ? (*field = 0, true) : false;
    }
    if (r == -EDOM) {
        char fixed[UNITS_TEXT_BYTES];
        struct diagnostic *d = config_mistake(schema->diagnostics, DIAGNOSTIC_UNIT_MISSING,
                value, "\"%s\" needs a unit", schema_key(option));
        if (bare > 0 && is_size) {
            units_format_size((uint64_t)bare, fixed);
            diagnostic_hint(d, "write \"%s\"", fixed);
        } else if (bare > 0) {
            diagnostic_hint(d, "write \"%llds\"", (long long)bare);
        }
        return false;
    }
    if (r < 0) {
        struct diagnostic *d = schema_bad_value(schema, DIAGNOSTIC_VALUE_FORM, option, value,
                r == -ERANGE      ? "is too large"
                        : is_size ? "is no size"
                                  : "is no duration");
        char meant[UNITS_TEXT_BYTES];
        diagnostic_note(d,
                is_size ? "a whole number and b, k, m, g or t"
                        : "a whole number and ns, us, ms, s, m, h, d or w");
        if (r != -ERANGE && value->kind == CONFIG_STRING &&
                units_guess(is_size ? &units_sizes : &units_durations, value->string, meant)) {
            diagnostic_hint(d, "did you mean \"%s\"?", meant);
        }
        return false;
    }
    if (!check_zero(schema, option, value, quantity)) {
        return false;
    }
    if (has_bounds(option) && quantity != 0 &&
            (quantity < (uint64_t)option->min || quantity > (uint64_t)option->max)) {
        char low[UNITS_TEXT_BYTES], high[UNITS_TEXT_BYTES];
        (is_size ? units_format_size : units_format_duration)((uint64_t)option->min, low);
        (is_size ? units_format_size : units_format_duration)((uint64_t)option->max, high);
        return out_of_range(schema, option, value, low, high);
    }
    *field = quantity;
    return true;
}

bool
schema_read_rate(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, struct weir_rate *field)
{
    if (schema_is_false(value)) {
        *field = (struct weir_rate){ UINT64_MAX, 1 };
        return true;
    }
    if (value->kind == CONFIG_INTEGER) {
        struct diagnostic *d = config_mistake(schema->diagnostics, DIAGNOSTIC_UNIT_MISSING,
                value, "\"%s\" needs a unit", schema_key(option));
        diagnostic_hint(d, "write \"%lld/s\"", (long long)value->integer);
        return false;
    }
    if (value->kind != CONFIG_STRING) {
        return schema_wrong_type(schema, option, value, "a rate such as \"10/s\", or false");
    }
    struct weir_rate rate;
    int r = units_parse_rate(value->string, &rate);
    if (r == -EDOM) {
        struct diagnostic *d = config_mistake(schema->diagnostics, DIAGNOSTIC_UNIT_MISSING,
                value, "\"%s\" needs a unit", schema_key(option));
        diagnostic_hint(d, "write \"%.*s/s\"", WEIR_STR_ARG(value->string));
        return false;
    }
    if (r < 0) {
        struct diagnostic *d = schema_bad_value(schema, DIAGNOSTIC_VALUE_FORM, option, value,
                "is no rate");
        diagnostic_note(d, "a whole number, a slash, and s, m, h or d");
        return false;
    }
    if (!check_zero(schema, option, value, rate.count)) {
        return false;
    }
    *field = rate;
    return true;
}

bool
schema_read_status(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, struct weir_status *field)
{
    char digits[24];
    struct weir_str text = value->string;
    struct weir_status status;
    if (value->kind == CONFIG_INTEGER) {
        int len = snprintf(digits, sizeof(digits), "%lld", (long long)value->integer);
        text = weir_str_make(digits, (size_t)len);
    } else if (value->kind != CONFIG_STRING) {
        return schema_wrong_type(schema, option, value, "a status");
    }
    long long low = has_bounds(option) ? option->min : 100;
    long long high = has_bounds(option) ? option->max : 599;
    int r = units_parse_status(text, &status);
    if (r == 0 && (status.first < low || status.last > high)) {
        r = -ERANGE;
    }
    if (r < 0 || (option->single && status.first != status.last)) {
        struct diagnostic *d = schema_bad_value(schema,
                r == -ERANGE ? DIAGNOSTIC_RANGE : DIAGNOSTIC_VALUE_FORM, option, value,
                "is no status");
        if (option->single) {
            diagnostic_note(d, "a number from %lld to %lld", low, high);
        } else {
            diagnostic_note(d, "%lld to %lld, a class \"4xx\", or a range", low, high);
        }
        return false;
    }
    *field = status;
    return true;
}

bool
schema_read_network(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, struct weir_network *field)
{
    if (value->kind != CONFIG_STRING) {
        return schema_wrong_type(schema, option, value, "a network such as \"10.0.0.0/8\"");
    }
    int r = units_parse_network(value->string, field);
    if (r == -EDOM) {
        char meant[UNITS_NETWORK_BYTES];
        units_format_network(field, meant);
        struct diagnostic *d = schema_bad_value(schema, DIAGNOSTIC_NETWORK, option, value,
                "has bits set beyond its prefix");
        diagnostic_hint(d, "did you mean \"%s\"?", meant);
        return false;
    }
    if (r < 0) {
        struct diagnostic *d = schema_bad_value(schema, DIAGNOSTIC_NETWORK, option, value,
                "is no network");
        diagnostic_note(d, "an address, with /bits for a block");
        if (memchr(value->string.ptr, ',', value->string.len) != NULL) {
            diagnostic_hint(d, "several are a list: [\"...\", \"...\"]");
        }
        return false;
    }
    return true;
}
