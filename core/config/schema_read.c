/* SPDX-License-Identifier: MIT */
/* Reading values by type. A value that came out of the environment or a file is text, and is
 * read as the option's type; one that was written has to be of the right kind, so that the file
 * says what it means. */
#include <errno.h>
#include <stdio.h>

#include "base/num.h"
#include "config/regex.h"
#include "config/resolve.h"
#include "config/schema_parts.h"
#include "config/template.h"
#include "config/units.h"

static bool read_value(struct schema *schema, const struct weir_option *option,
        enum weir_option_type type, const struct config_value *value, void *field);

/* What the variables in a text made of it, unless it may be a secret. */
static void
note_origin(const struct weir_option *option, const struct config_value *value,
        struct diagnostic *d)
{
    if (!value->is_expanded || value->kind != CONFIG_STRING || value->place.source == NULL ||
            option->type == WEIR_TYPE_SECRET) {
        return;
    }
    struct weir_str token = weir_str_make(value->place.source->text.ptr + value->place.offset,
            value->place.length);
    if (!weir_str_starts_with(token, WEIR_STR("\"$file:"))) {
        diagnostic_note(d, "it is \"%.*s\"",
                (int)(value->string.len < 100 ? value->string.len : 100), value->string.ptr);
    }
}

bool
schema_wrong_type(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, const char *takes)
{
    struct diagnostic *d = config_mistake(schema->diagnostics, DIAGNOSTIC_TYPE, value,
            "\"%s\" takes %s, this is %s", schema_key(option), takes,
            config_kind_text(value->kind));
    if (value->kind == CONFIG_STRING &&
            (weir_str_eq(value->string, WEIR_STR("true")) ||
                    weir_str_eq(value->string, WEIR_STR("false")))) {
        diagnostic_hint(d, "write %s without quotes", value->string.ptr);
    } else if (value->kind == CONFIG_STRING && strstr(takes, "number") != NULL) {
        uint64_t ignored;
        if (num_parse_u64(value->string, UINT64_MAX, &ignored) == 0) {
            diagnostic_hint(d, "write %s without quotes", value->string.ptr);
        }
    }
    note_origin(option, value, d);
    return false;
}

static struct diagnostic *
bad_value(struct schema *schema, enum diagnostic_code code, const struct weir_option *option,
        const struct config_value *value, const char *why)
{
    if (option->type == WEIR_TYPE_SECRET || value->kind != CONFIG_STRING) {
        return config_mistake(schema->diagnostics, code, value, "\"%s\" %s", schema_key(option),
                why);
    }
    return config_mistake(schema->diagnostics, code, value, "\"%s\": \"%.*s\" %s",
            schema_key(option), (int)(value->string.len < 200 ? value->string.len : 200),
            value->string.ptr, why);
}

/* Kinds */

/* `false`, also as text from outside. */
bool
schema_is_false(const struct config_value *value)
{
    return value->kind == CONFIG_FALSE ||
            (value->kind == CONFIG_STRING && value->is_expanded &&
                    weir_str_eq(value->string, WEIR_STR("false")));
}

bool
schema_is_true(const struct config_value *value)
{
    return value->kind == CONFIG_TRUE ||
            (value->kind == CONFIG_STRING && value->is_expanded &&
                    weir_str_eq(value->string, WEIR_STR("true")));
}

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
read_bool(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, bool *field)
{
    if (!schema_is_true(value) && !schema_is_false(value)) {
        return schema_wrong_type(schema, option, value, "true or false");
    }
    *field = schema_is_true(value);
    return true;
}

static bool read_enum(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, int *field);

static bool
out_of_range(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, const char *low, const char *high)
{
    struct diagnostic *d = bad_value(schema, DIAGNOSTIC_RANGE, option, value,
            "is out of range");
    diagnostic_note(d, "%s to %s", low, high);
    return false;
}

static bool
has_bounds(const struct weir_option *option)
{
    return option->min != option->max;
}

static bool
read_int(struct schema *schema, const struct weir_option *option,
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
        bool ok = read_enum(schema, option, value, &word);
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

static bool
read_count(struct schema *schema, const struct weir_option *option,
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
static bool
read_quantity(struct schema *schema, const struct weir_option *option,
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
        struct diagnostic *d = bad_value(schema, DIAGNOSTIC_VALUE_FORM, option, value,
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

static bool
read_rate(struct schema *schema, const struct weir_option *option,
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
        struct diagnostic *d = bad_value(schema, DIAGNOSTIC_VALUE_FORM, option, value,
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

static bool
keep_text(struct schema *schema, struct weir_str text, struct weir_str *field)
{
    *field = text.ptr == NULL ? text : arena_copy(schema->arena, text);
    schema->no_memory |= field->ptr == NULL;
    return field->ptr != NULL;
}

static bool
read_text(struct schema *schema, const struct weir_option *option, enum weir_option_type type,
        const struct config_value *value, struct weir_str *field)
{
    if (option->optional && schema_is_false(value)) {
        *field = weir_str_make(NULL, 0);
        return true;
    }
    bool is_path = type == WEIR_TYPE_PATH || type == WEIR_TYPE_LOG;
    if (value->kind != CONFIG_STRING) {
        return schema_wrong_type(schema, option, value,
                is_path ? (option->optional ? "a path or false" : "a path")
                        : (option->optional ? "a string or false" : "a string"));
    }
    bool is_stream = type == WEIR_TYPE_LOG &&
            (weir_str_eq(value->string, WEIR_STR("stdout")) ||
                    weir_str_eq(value->string, WEIR_STR("stderr")));
    if (!is_path || is_stream) {
        return keep_text(schema, value->string, field);
    }
    if (value->string.len == 0) {
        bad_value(schema, DIAGNOSTIC_EMPTY, option, value, "is no path");
        return false;
    }
    *field = resolve_path(schema->arena, value->place.source, value->string);
    schema->no_memory |= field->ptr == NULL;
    return field->ptr != NULL;
}

static const struct weir_choice *
choice_at(const struct weir_choices *choices, size_t i)
{
    const char *items = (const char *)choices->items;
    return (const struct weir_choice *)(const void *)(items + i * choices->item_bytes);
}

static bool
read_enum(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, int *field)
{
    char all[256] = "";
    size_t len = 0;
    struct suggestion suggestion;
    if (value->kind != CONFIG_STRING && value->kind != CONFIG_TRUE &&
            value->kind != CONFIG_FALSE) {
        return schema_wrong_type(schema, option, value, "a string");
    }
    struct weir_str word = value->kind == CONFIG_STRING
            ? value->string
            : weir_str_from(config_kind_text(value->kind));
    suggestion_init(&suggestion, word);
    for (size_t i = 0; i < option->choices.count; i++) {
        const struct weir_choice *choice = choice_at(&option->choices, i);
        if (weir_str_eq(word, weir_str_from(choice->name))) {
            *field = choice->value;
            return true;
        }
        suggestion_offer(&suggestion, weir_str_from(choice->name));
        if (len < sizeof(all)) {
            len += (size_t)snprintf(all + len, sizeof(all) - len, "%s%s", i == 0 ? "" : ", ",
                    choice->name);
        }
    }
    struct diagnostic *d = bad_value(schema, DIAGNOSTIC_CHOICE, option, value,
            "is not one of the choices");
    suggestion_hint(&suggestion, d);
    diagnostic_more(d, "one of: %s", all);
    return false;
}

static bool
read_status(struct schema *schema, const struct weir_option *option,
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
        struct diagnostic *d = bad_value(schema,
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

static bool
read_network(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, struct weir_network *field)
{
    if (value->kind != CONFIG_STRING) {
        return schema_wrong_type(schema, option, value, "a network such as \"10.0.0.0/8\"");
    }
    int r = units_parse_network(value->string, field);
    if (r == -EDOM) {
        char meant[UNITS_NETWORK_BYTES];
        units_format_network(field, meant);
        struct diagnostic *d = bad_value(schema, DIAGNOSTIC_NETWORK, option, value,
                "has bits set beyond its prefix");
        diagnostic_hint(d, "did you mean \"%s\"?", meant);
        return false;
    }
    if (r < 0) {
        struct diagnostic *d = bad_value(schema, DIAGNOSTIC_NETWORK, option, value,
                "is no network");
        diagnostic_note(d, "an address, with /bits for a block");
        if (memchr(value->string.ptr, ',', value->string.len) != NULL) {
            diagnostic_hint(d, "several are a list: [\"...\", \"...\"]");
        }
        return false;
    }
    return true;
}

/* Points into the string when its token spells it as it is, else at the whole token. */
static struct config_value
narrowed(const struct config_value *value, size_t offset, size_t length)
{
    struct config_value part = *value;
    if (!value->is_expanded && value->place.source != NULL &&
            value->place.length == value->string.len + 2) {
        part.place.offset += (uint32_t)(1 + offset);
        part.place.length = (uint32_t)(length == 0 ? 1 : length);
    }
    return part;
}

static bool
read_template(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, const struct weir_template **field)
{
    struct template_mistake mistake;
    if (option->optional && schema_is_false(value)) {
        *field = NULL;
        return true;
    }
    if (value->kind != CONFIG_STRING) {
        return schema_wrong_type(schema, option, value, "a string");
    }
    int r = template_parse(schema->arena, value->string, option->context, &schema->extras,
            field, &mistake);
    if (r == -EINVAL) {
        struct config_value part = narrowed(value, mistake.offset, mistake.length);
        struct weir_str found = weir_str_make(value->string.ptr + mistake.offset,
                mistake.length);
        struct diagnostic *d;
        if (mistake.is_unknown_name) {
            struct suggestion suggestion;
            suggestion_init(&suggestion, found);
            d = config_mistake(schema->diagnostics, DIAGNOSTIC_VARIABLE_UNKNOWN, &part,
                    "unknown variable \"%.*s\"", WEIR_STR_ARG(found));
            template_suggest(&suggestion, &schema->extras);
            suggestion_hint(&suggestion, d);
            diagnostic_more(d, "a brace itself is written {{");
        } else if (mistake.is_later) {
            config_mistake(schema->diagnostics, DIAGNOSTIC_NOT_IN_BUILD, &part,
                    "variable \"%.*s\" is not in this build", WEIR_STR_ARG(found));
        } else {
            config_mistake(schema->diagnostics, DIAGNOSTIC_TEMPLATE, &part, "\"%s\": %s",
                    schema_key(option), mistake.message);
        }
    } else if (r < 0) {
        schema->no_memory = true;
    }
    return r == 0;
}

static bool
read_regex(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, const struct weir_regex **field)
{
    struct regex_mistake mistake;
    if (option->optional && schema_is_false(value)) {
        *field = NULL;
        return true;
    }
    if (value->kind != CONFIG_STRING) {
        return schema_wrong_type(schema, option, value, "a string");
    }
    int r = regex_compile(schema->arena, value->string, field, &mistake);
    if (r == -EINVAL) {
        struct config_value part = narrowed(value,
                mistake.offset < value->string.len ? mistake.offset : value->string.len, 1);
        config_mistake(schema->diagnostics, DIAGNOSTIC_REGEX, &part, "\"%s\": %s",
                schema_key(option), mistake.message);
    } else if (r < 0) {
        schema->no_memory = true;
    }
    return r == 0;
}

/* UPSTREAM and POOL: one of the names that the file gives. */
static bool
read_reference(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, const struct config_value *names, const char *preset,
        struct weir_str *field)
{
    if (value->kind != CONFIG_STRING) {
        return schema_wrong_type(schema, option, value, "a name");
    }
    if (config_find(names, value->string) == NULL &&
            (preset == NULL || !weir_str_eq(value->string, weir_str_from(preset)))) {
        struct suggestion suggestion;
        suggestion_init(&suggestion, value->string);
        for (uint32_t i = 0; names != NULL && i < names->count; i++) {
            suggestion_offer(&suggestion, names->members[i].key);
        }
        struct diagnostic *d = bad_value(schema, DIAGNOSTIC_REFERENCE_UNKNOWN, option, value,
                preset != NULL ? "is not one of \"pools\"" : "is not one of \"upstreams\"");
        suggestion_hint(&suggestion, d);
        return false;
    }
    return keep_text(schema, value->string, field);
}

const struct config_value *
schema_as_list(struct schema *schema, const struct config_value *value)
{
    if (value->kind == CONFIG_LIST) {
        return value;
    }
    struct config_value *list = config_list_new(schema->arena, value, 1);
    if (list == NULL) {
        schema->no_memory = true;
        return NULL;
    }
    config_list_add(list, value);
    return list;
}

static bool
read_list(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, struct weir_list *field)
{
    if (option->optional && schema_is_false(value)) {
        *field = (struct weir_list){ NULL, 0 };
        return true;
    }
    if (value->kind == CONFIG_OBJECT) {
        return schema_wrong_type(schema, option, value, "a list");
    }
    enum weir_option_type element = option->element == 0 ? WEIR_TYPE_STRING : option->element;
    size_t element_bytes = schema_field_bytes(option, element);
    const struct config_value *list = schema_as_list(schema, value);
    char *items = list == NULL ? NULL : arena_array(schema->arena, list->count, element_bytes);
    if (items == NULL) {
        schema->no_memory = true;
        return false;
    }
    bool ok = true;
    for (uint32_t i = 0; i < list->count; i++) {
        ok = read_value(schema, option, element, list->items[i], items + i * element_bytes) &&
                ok;
    }
    *field = (struct weir_list){ items, list->count };
    return ok;
}

static bool
read_map_key(struct schema *schema, const struct weir_option *option, struct weir_str key,
        const struct config_value *value, struct weir_map_entry *entry)
{
    if (option->keys == WEIR_KEYS_STATUS && (units_parse_status(key, &entry->status) < 0)) {
        struct diagnostic *d = config_key_mistake(schema->diagnostics, DIAGNOSTIC_NAME_FORM,
                value, "\"%.*s\" is neither a status nor a key of this object",
                WEIR_STR_ARG(key));
        diagnostic_note(d, "100 to 599, a class \"4xx\", or a range");
        return false;
    }
    if (option->keys == WEIR_KEYS_FIELD) {
        struct template_piece piece;
        const char *message;
        char name[300];
        int len = snprintf(name, sizeof(name), "header.%.*s",
                (int)(key.len < 256 ? key.len : 256), key.ptr);
        if (key.len > 256 ||
                template_variable_parse(weir_str_make(name, (size_t)len), NULL, &piece,
                        &message) < 0) {
            config_key_mistake(schema->diagnostics, DIAGNOSTIC_NAME_FORM, value,
                    "\"%.*s\" is no name of a header field",
                    (int)(key.len < 256 ? key.len : 256), key.ptr);
            return false;
        }
    }
    if (!keep_text(schema, key, &entry->key)) {
        return false;
    }
    for (size_t i = 0; option->keys == WEIR_KEYS_FIELD && i < entry->key.len; i++) {
        char *c = (char *)(uintptr_t)&entry->key.ptr[i];
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
    }
    return true;
}

/* A mistake in it names its key. */
static bool
read_map_value(struct schema *schema, const struct weir_option *map,
        const struct config_value *value, struct weir_map_entry *entry)
{
    struct weir_option own = *map;
    own.key = entry->key.ptr;
    const struct weir_option *option = &own;
    enum weir_option_type element = option->element == 0 ? WEIR_TYPE_STRING : option->element;
    if (element == WEIR_TYPE_TEMPLATE) {
        if (!read_template(schema, option, value, &entry->template_)) {
            return false;
        }
        if (entry->template_ != NULL) {
            entry->value = entry->template_->raw;
        }
        return true;
    }
    return read_text(schema, option, element, value, &entry->value);
}

/* True for a member that belongs to a `rest` map: no option and no note has its key. */
static bool
is_rest(const struct weir_options *options, struct weir_str key)
{
    return schema_find(options, key) == NULL && !config_is_note(key);
}

/* The members of `object`; those of a `rest` option only when `options` is given. */
bool
schema_read_map(struct schema *schema, const struct weir_option *option,
        const struct weir_options *options, const struct config_value *object,
        struct weir_map *field)
{
    if (object->kind != CONFIG_OBJECT) {
        return schema_wrong_type(schema, option, object, "an object");
    }
    size_t count = 0;
    for (uint32_t i = 0; i < object->count; i++) {
        const struct config_value *value = object->members[i].value;
        count += value->kind == CONFIG_LIST ? value->count : 1;
    }
    struct weir_map_entry *items = arena_array(schema->arena, count, sizeof(*items));
    if (items == NULL) {
        schema->no_memory = true;
        return false;
    }
    bool ok = true;
    count = 0;
    for (uint32_t i = 0; i < object->count; i++) {
        struct weir_str key = object->members[i].key;
        const struct config_value *value = object->members[i].value;
        if (options != NULL && !is_rest(options, key)) {
            continue;
        }
        bool is_list = value->kind == CONFIG_LIST;
        if (value->kind == CONFIG_NULL || (is_list && value->count == 0)) {
            struct weir_map_entry unused; /* its key says what is taken out */
            ok = read_map_key(schema, option, key, value, &unused) && ok;
            continue;
        }
        for (uint32_t j = 0; j < (is_list ? value->count : 1); j++) {
            struct weir_map_entry *entry = &items[count];
            bool entry_ok = read_map_key(schema, option, key, value, entry) &&
                    read_map_value(schema, option, is_list ? value->items[j] : value, entry);
            count += entry_ok;
            ok = ok && entry_ok;
        }
    }
    *field = (struct weir_map){ items, count };
    return ok;
}

static bool
read_value(struct schema *schema, const struct weir_option *option, enum weir_option_type type,
        const struct config_value *value, void *field)
{
    switch (type) {
    case WEIR_TYPE_BOOL:
        return read_bool(schema, option, value, field);
    case WEIR_TYPE_INT:
        return read_int(schema, option, value, field);
    case WEIR_TYPE_COUNT:
        return read_count(schema, option, value, field);
    case WEIR_TYPE_SIZE:
    case WEIR_TYPE_DURATION:
        return read_quantity(schema, option, type, value, field);
    case WEIR_TYPE_RATE:
        return read_rate(schema, option, value, field);
    case WEIR_TYPE_STRING:
    case WEIR_TYPE_PATH:
    case WEIR_TYPE_LOG:
    case WEIR_TYPE_SECRET:
        return read_text(schema, option, type, value, field);
    case WEIR_TYPE_ENUM:
        return read_enum(schema, option, value, field);
    case WEIR_TYPE_STATUS:
        return read_status(schema, option, value, field);
    case WEIR_TYPE_NETWORK:
        return read_network(schema, option, value, field);
    case WEIR_TYPE_LIST:
        return read_list(schema, option, value, field);
    case WEIR_TYPE_MAP:
        return schema_read_map(schema, option, NULL, value, field);
    case WEIR_TYPE_TEMPLATE:
        return read_template(schema, option, value, field);
    case WEIR_TYPE_REGEX:
        return read_regex(schema, option, value, field);
    case WEIR_TYPE_UPSTREAM:
        return read_reference(schema, option, value, schema->upstreams, NULL, field);
    case WEIR_TYPE_POOL:
        return read_reference(schema, option, value, schema->pools, "default", field);
    case WEIR_TYPE_OBJECT:
    case WEIR_TYPE_OBJECTS:
        break; /* know more than a value: read_member() */
    }
    return false;
}

bool
schema_read(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, void *field)
{
    return read_value(schema, option, option->type, value, field);
}
