/* SPDX-License-Identifier: MIT */
/* Layers (CONFIG.md, "Inheritance" 3): objects key by key, scalars and lists replace, what is
 * declared as appending appends, null returns a key to its preset. What comes out is made of
 * the values that went in, so each still says where it was written. */
#include <errno.h>

#include "base/map.h"
#include "base/num.h"
#include "config/schema.h"

static const struct config_value *merge_members(struct schema *schema,
        const struct weir_options *options, const struct config_value *outer,
        const struct config_value *inner, bool appends);

static const struct config_value *
no_memory(struct schema *schema)
{
    schema->no_memory = true;
    return NULL;
}

static const struct config_value *
append_lists(struct schema *schema, const struct config_value *outer,
        const struct config_value *inner)
{
    const struct config_value *first = schema_as_list(schema, outer);
    const struct config_value *second = schema_as_list(schema, inner);
    if (first == NULL || second == NULL) {
        return NULL;
    }
    struct config_value *list = config_list_new(schema->arena, inner,
            (size_t)first->count + second->count);
    if (list == NULL) {
        return no_memory(schema);
    }
    for (uint32_t i = 0; i < first->count; i++) {
        config_list_add(list, first->items[i]);
    }
    for (uint32_t i = 0; i < second->count; i++) {
        config_list_add(list, second->items[i]);
    }
    return list;
}

/* The element of `list` whose key member equals that of `item`. */
static uint32_t
find_element(const struct config_value *list, const char *key, const struct config_value *item)
{
    const struct config_value *wanted = config_find_name(item, key);
    for (uint32_t i = 0; wanted != NULL && wanted->kind == CONFIG_STRING && i < list->count;
            i++) {
        const struct config_value *found = config_find_name(list->items[i], key);
        if (found != NULL && found->kind == CONFIG_STRING &&
                weir_str_eq(found->string, wanted->string)) {
            return i;
        }
    }
    return UINT32_MAX;
}

/* OBJECTS by key: an element with a known key merges into its namesake, others append. */
static const struct config_value *
merge_elements(struct schema *schema, const struct weir_option *option,
        const struct config_value *outer, const struct config_value *inner)
{
    const struct config_value *second = schema_as_list(schema, inner);
    const struct config_value *first = schema_as_list(schema, outer);
    if (first == NULL || second == NULL || option->members.count == 0) {
        return second;
    }
    struct config_value *list = config_list_new(schema->arena, inner,
            (size_t)first->count + second->count);
    if (list == NULL) {
        return no_memory(schema);
    }
    for (uint32_t i = 0; i < first->count; i++) {
        config_list_add(list, first->items[i]);
    }
    const char *key = schema_key(schema_option(&option->members, 0));
    for (uint32_t i = 0; i < second->count; i++) {
        uint32_t same = find_element(list, key, second->items[i]);
        if (same == UINT32_MAX) {
            config_list_add(list, second->items[i]);
        } else {
            const struct config_value *both = merge_members(schema, &option->members,
                    list->items[same], second->items[i], false);
            list->items[same] = both == NULL ? second->items[i] : both;
        }
    }
    return list;
}

static const struct config_value *
merge_value(struct schema *schema, const struct weir_option *option,
        const struct config_value *outer, const struct config_value *inner)
{
    bool both_objects = outer->kind == CONFIG_OBJECT && inner->kind == CONFIG_OBJECT;
    bool is_false = inner->kind == CONFIG_FALSE;
    if (option == NULL) {
        return inner;
    }
    if (option->type == WEIR_TYPE_OBJECT && both_objects) {
        return merge_members(schema, &option->members, outer, inner, false);
    }
    if (option->type == WEIR_TYPE_MAP && both_objects && option->merge != WEIR_MERGE_REPLACE) {
        return merge_members(schema, NULL, outer, inner, option->merge == WEIR_MERGE_APPEND);
    }
    bool is_list = option->type == WEIR_TYPE_LIST || option->type == WEIR_TYPE_OBJECTS;
    if (is_list && option->merge == WEIR_MERGE_APPEND && !is_false) {
        return append_lists(schema, outer, inner);
    }
    if (option->type == WEIR_TYPE_OBJECTS && option->merge == WEIR_MERGE_BY_KEY && !is_false) {
        return merge_elements(schema, option, outer, inner);
    }
    return inner;
}

/* Finds members of a large object without walking it each time. */
struct member_index {
    const struct config_value *object;
    struct map map; /* empty for a small one */
};

#define INDEX_FROM 32

static bool
index_init(struct member_index *index, const struct config_value *object)
{
    index->object = object;
    map_init(&index->map);
    for (uint32_t i = 0; object->count >= INDEX_FROM && i < object->count; i++) {
        if (map_set(&index->map, object->members[i].key,
                    (void *)(uintptr_t)object->members[i].value) < 0) {
            map_fini(&index->map);
            return false;
        }
    }
    return true;
}

static const struct config_value *
index_find(const struct member_index *index, struct weir_str key)
{
    return index->object->count >= INDEX_FROM ? map_find(&index->map, key)
                                              : config_find(index->object, key);
}

/* Members of both. `options` knows the keys; NULL: a map. */
static const struct config_value *
merge_members(struct schema *schema, const struct weir_options *options,
        const struct config_value *outer, const struct config_value *inner, bool appends)
{
    struct member_index of_outer, of_inner;
    struct config_value *merged = config_object_new(schema->arena, inner,
            (size_t)outer->count + inner->count);
    if (merged == NULL || !index_init(&of_outer, outer)) {
        return no_memory(schema);
    }
    if (!index_init(&of_inner, inner)) {
        map_fini(&of_outer.map);
        return no_memory(schema);
    }
    for (uint32_t i = 0; i < outer->count; i++) {
        struct weir_str key = outer->members[i].key;
        const struct config_value *value = outer->members[i].value;
        const struct config_value *over = appends ? NULL : index_find(&of_inner, key);
        if (over == NULL && value->kind != CONFIG_NULL) {
            config_object_add(merged, key, value);
        } else if (over != NULL && over->kind != CONFIG_NULL) {
            const struct weir_option *option = options == NULL ? NULL
                                                               : schema_find(options, key);
            const struct config_value *both = merge_value(schema, option, value, over);
            if (both != NULL) {
                config_object_add(merged, key, both);
            }
        }
    }
    for (uint32_t i = 0; i < inner->count; i++) {
        struct weir_str key = inner->members[i].key;
        const struct config_value *value = inner->members[i].value;
        if (value->kind != CONFIG_NULL && (appends || index_find(&of_outer, key) == NULL)) {
            config_object_add(merged, key, value);
        }
    }
    map_fini(&of_outer.map);
    map_fini(&of_inner.map);
    return merged;
}

const struct config_value *
schema_merge(struct schema *schema, const struct weir_options *options,
        const struct config_value *outer, const struct config_value *inner)
{
    if (inner == NULL || inner->kind != CONFIG_OBJECT) {
        return outer;
    }
    struct config_value nothing = { .kind = CONFIG_OBJECT };
    if (outer == NULL || outer->kind != CONFIG_OBJECT) {
        outer = &nothing;
    }
    return merge_members(schema, options, outer, inner, false);
}

/* Canonical text */

static int canonical_value(const struct weir_option *option, const struct config_value *value,
        struct buf *out);

static int
append_sized(struct weir_str text, struct buf *out)
{
    char digits[NUM_U64_DIGITS + 1];
    size_t len = num_format_u64(digits, text.len);
    digits[len] = ':';
    int r = buf_append(out, weir_str_make(digits, len + 1));
    return r < 0 ? r : buf_append(out, text);
}

static int
canonical_members(const struct config_value *object, const struct weir_option *option,
        const struct weir_options *known, struct buf *out)
{
    int r = 0;
    for (uint32_t i = 0; i < object->count && r == 0; i++) {
        const struct config_member *member = &object->members[i];
        if (known != NULL &&
                (schema_find(known, member->key) != NULL || config_is_note(member->key))) {
            continue;
        }
        r = append_sized(member->key, out);
        r = r < 0 ? r : canonical_value(option, member->value, out);
    }
    return r;
}

static int
canonical_value(const struct weir_option *option, const struct config_value *value,
        struct buf *out)
{
    char kind = (char)('a' + (int)value->kind);
    int r = buf_append(out, weir_str_make(&kind, 1));
    if (r < 0) {
        return r;
    }
    switch (value->kind) {
    case CONFIG_NULL:
    case CONFIG_FALSE:
    case CONFIG_TRUE:
        return 0;
    case CONFIG_INTEGER: {
        char digits[NUM_U64_DIGITS];
        return append_sized(weir_str_make(digits,
                                    num_format_u64(digits, (uint64_t)value->integer)),
                out);
    }
    case CONFIG_REAL:
        return append_sized(value->string, out);
    case CONFIG_STRING: {
        bool is_path = option->type == WEIR_TYPE_PATH || option->type == WEIR_TYPE_LOG ||
                option->element == WEIR_TYPE_PATH;
        if (is_path && value->place.source != NULL) {
            r = append_sized(weir_str_from(value->place.source->directory), out);
        }
        char expanded = value->is_expanded ? 'x' : '-';
        r = r < 0 ? r : buf_append(out, weir_str_make(&expanded, 1));
        return r < 0 ? r : append_sized(value->string, out);
    }
    case CONFIG_LIST:
        for (uint32_t i = 0; i < value->count && r == 0; i++) {
            r = canonical_value(option, value->items[i], out);
        }
        return r < 0 ? r : buf_append(out, WEIR_STR("]"));
    case CONFIG_OBJECT:
        r = option->type == WEIR_TYPE_OBJECT || option->type == WEIR_TYPE_OBJECTS
                ? schema_canonical(&option->members, value, out)
                : canonical_members(value, option, NULL, out);
        return r < 0 ? r : buf_append(out, WEIR_STR("}"));
    }
    return 0;
}

int
schema_canonical(const struct weir_options *options, const struct config_value *object,
        struct buf *out)
{
    int r = 0;
    for (size_t i = 0; object != NULL && i < options->count && r == 0; i++) {
        const struct weir_option *option = schema_option(options, i);
        if (option->rest) {
            r = canonical_members(object, option, options, out);
            continue;
        }
        const struct config_value *value = config_find_name(object, schema_key(option));
        if (value != NULL && value->kind != CONFIG_NULL) {
            r = append_sized(weir_str_from(schema_key(option)), out);
            r = r < 0 ? r : canonical_value(option, value, out);
        }
    }
    return r;
}
