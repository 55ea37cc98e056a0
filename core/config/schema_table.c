/* SPDX-License-Identifier: MIT */
/* Finding options in their tables. */
#include "config/schema_parts.h"

void *
schema_array(struct schema *schema, size_t count, size_t element_bytes)
{
    void *memory = arena_array(schema->arena, count, element_bytes);
    schema->no_memory |= memory == NULL;
    return memory;
}

const struct weir_option *
schema_option(const struct weir_options *options, size_t i)
{
    const char *items = (const char *)options->items;
    return (const struct weir_option *)(const void *)(items + i * options->item_bytes);
}

const char *
schema_key(const struct weir_option *option)
{
    return option->key != NULL ? option->key : option->field;
}

bool
schema_is_secret(const struct weir_option *option)
{
    bool is_secret = option->type == WEIR_TYPE_SECRET || option->element == WEIR_TYPE_SECRET;
    for (size_t i = 0; i < option->members.count && !is_secret; i++) {
        is_secret = schema_is_secret(schema_option(&option->members, i));
    }
    return is_secret;
}

const struct weir_option *
schema_find(const struct weir_options *options, struct weir_str key)
{
    for (size_t i = 0; i < options->count; i++) {
        const struct weir_option *option = schema_option(options, i);
        if (!option->rest && weir_str_eq(weir_str_from(schema_key(option)), key)) {
            return option;
        }
    }
    return NULL;
}

const struct weir_option *
schema_find_rest(const struct weir_options *options)
{
    for (size_t i = 0; i < options->count; i++) {
        if (schema_option(options, i)->rest) {
            return schema_option(options, i);
        }
    }
    return NULL;
}

const struct weir_option *
schema_shorthand(const struct weir_options *options)
{
    for (size_t i = 0; i < options->count; i++) {
        if (schema_option(options, i)->shorthand) {
            return schema_option(options, i);
        }
    }
    return NULL;
}

size_t
schema_field_bytes(const struct weir_option *option, enum weir_option_type type)
{
    switch (type) {
    case WEIR_TYPE_BOOL:
        return sizeof(bool);
    case WEIR_TYPE_INT:
        return sizeof(int64_t);
    case WEIR_TYPE_COUNT:
    case WEIR_TYPE_SIZE:
    case WEIR_TYPE_DURATION:
        return sizeof(uint64_t);
    case WEIR_TYPE_RATE:
        return sizeof(struct weir_rate);
    case WEIR_TYPE_STRING:
    case WEIR_TYPE_PATH:
    case WEIR_TYPE_LOG:
    case WEIR_TYPE_SECRET:
    case WEIR_TYPE_UPSTREAM:
    case WEIR_TYPE_POOL:
        return sizeof(struct weir_str);
    case WEIR_TYPE_ENUM:
        return sizeof(int);
    case WEIR_TYPE_STATUS:
        return sizeof(struct weir_status);
    case WEIR_TYPE_NETWORK:
        return sizeof(struct weir_network);
    case WEIR_TYPE_LIST:
    case WEIR_TYPE_OBJECTS:
        return sizeof(struct weir_list);
    case WEIR_TYPE_MAP:
        return sizeof(struct weir_map);
    case WEIR_TYPE_TEMPLATE:
    case WEIR_TYPE_REGEX:
        return sizeof(void *);
    case WEIR_TYPE_OBJECT:
        return option->members.conf_bytes;
    }
    return 0;
}
