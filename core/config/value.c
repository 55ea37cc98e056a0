/* SPDX-License-Identifier: MIT */
/* Looking things up in what was read. */
#include "config/value.h"

#include "base/num.h"

const struct config_value *
config_find(const struct config_value *object, struct weir_str key)
{
    if (object == NULL || object->kind != CONFIG_OBJECT) {
        return NULL;
    }
    for (uint32_t i = 0; i < object->count; i++) {
        if (weir_str_eq(object->members[i].key, key)) {
            return object->members[i].value;
        }
    }
    return NULL;
}

const struct config_value *
config_find_name(const struct config_value *object, const char *key)
{
    return config_find(object, weir_str_from(key));
}

bool
config_is_equal(const struct config_value *a, const struct config_value *b)
{
    if (a->kind != b->kind || a->count != b->count) {
        return false;
    }
    switch (a->kind) {
    case CONFIG_NULL:
    case CONFIG_FALSE:
    case CONFIG_TRUE:
        return true;
    case CONFIG_INTEGER:
        return a->integer == b->integer;
    case CONFIG_REAL:
    case CONFIG_STRING:
        return weir_str_eq(a->string, b->string);
    case CONFIG_LIST:
        for (uint32_t i = 0; i < a->count; i++) {
            if (!config_is_equal(a->items[i], b->items[i])) {
                return false;
            }
        }
        return true;
    case CONFIG_OBJECT:
        for (uint32_t i = 0; i < a->count; i++) {
            if (!weir_str_eq(a->members[i].key, b->members[i].key) ||
                    !config_is_equal(a->members[i].value, b->members[i].value)) {
                return false;
            }
        }
        return true;
    }
    return false;
}

const char *
config_kind_text(enum config_kind kind)
{
    switch (kind) {
    case CONFIG_NULL:
        return "null";
    case CONFIG_FALSE:
        return "false";
    case CONFIG_TRUE:
        return "true";
    case CONFIG_INTEGER:
        return "an integer";
    case CONFIG_REAL:
        return "a number with a fraction or an exponent";
    case CONFIG_STRING:
        return "a string";
    case CONFIG_LIST:
        return "a list";
    case CONFIG_OBJECT:
        return "an object";
    }
    return "";
}

static int
append_token(struct weir_str key, struct buf *out)
{
    int r = buf_append(out, WEIR_STR("/"));
    for (size_t i = 0; i < key.len && r == 0; i++) {
        char c = key.ptr[i];
        r = buf_append(out,
                c == '~'           ? WEIR_STR("~0")
                        : c == '/' ? WEIR_STR("~1")
                                   : weir_str_make(&key.ptr[i], 1));
    }
    return r;
}

int
config_pointer(const struct config_value *value, struct buf *out)
{
    const struct config_value *path[CONFIG_MAX_DEPTH + 2];
    size_t depth = 0;
    for (; value != NULL && value->parent != NULL; value = value->parent) {
        if (depth < sizeof(path) / sizeof(path[0])) {
            path[depth++] = value;
        }
    }
    int r = 0;
    while (depth > 0 && r == 0) {
        const struct config_value *step = path[--depth];
        if (step->key.ptr != NULL) {
            r = append_token(step->key, out);
        } else {
            char digits[NUM_U64_DIGITS];
            r = append_token(weir_str_make(digits, num_format_u64(digits, step->index)), out);
        }
    }
    return r;
}

bool
config_is_note(struct weir_str key)
{
    return weir_str_starts_with(key, WEIR_STR("x-"));
}

static struct config_value *
made_new(struct arena *arena, const struct config_value *like, enum config_kind kind)
{
    struct config_value *value = arena_zalloc(arena, sizeof(*value));
    if (value == NULL) {
        return NULL;
    }
    if (like != NULL) {
        *value = *like;
    }
    value->kind = kind;
    value->is_expanded = false;
    value->count = 0;
    value->items = NULL;
    return value;
}

struct config_value *
config_list_new(struct arena *arena, const struct config_value *like, size_t capacity)
{
    struct config_value *list = made_new(arena, like, CONFIG_LIST);
    if (list != NULL) {
        list->items = arena_array(arena, capacity, sizeof(*list->items));
    }
    return list == NULL || list->items == NULL ? NULL : list;
}

struct config_value *
config_object_new(struct arena *arena, const struct config_value *like, size_t capacity)
{
    struct config_value *object = made_new(arena, like, CONFIG_OBJECT);
    if (object != NULL) {
        object->members = arena_array(arena, capacity, sizeof(*object->members));
    }
    return object == NULL || object->members == NULL ? NULL : object;
}

void
config_list_add(struct config_value *list, const struct config_value *item)
{
    list->items[list->count++] = item;
}

void
config_object_add(struct config_value *object, struct weir_str key,
        const struct config_value *value)
{
    object->members[object->count++] = (struct config_member){ key, value };
}

static void
set_pointer(struct diagnostics *diagnostics, struct diagnostic *diagnostic,
        const struct config_value *value)
{
    struct buf pointer;
    buf_init(&pointer, 4096);
    int r = config_pointer(value, &pointer);
    if (r == 0) {
        struct weir_str text = buf_str(&pointer);
        diagnostic_pointer(diagnostic, text.len == 0 ? WEIR_STR("/") : text);
    } else {
        diagnostics_out_of_memory(diagnostics);
    }
    buf_fini(&pointer);
}

const struct config_place *
config_key_place(const struct config_value *value)
{
    return value->key_place.source != NULL ? &value->key_place : &value->place;
}

struct diagnostic *
config_mistake(struct diagnostics *diagnostics, enum diagnostic_code code,
        const struct config_value *at, const char *format, ...)
{
    if (at->is_broken) {
        return diagnostics_ignore(diagnostics);
    }
    va_list arguments;
    va_start(arguments, format);
    struct diagnostic *added = diagnostics_vadd(diagnostics, code, &at->place, format,
            arguments);
    va_end(arguments);
    set_pointer(diagnostics, added, at);
    return added;
}

struct diagnostic *
config_key_mistake(struct diagnostics *diagnostics, enum diagnostic_code code,
        const struct config_value *at, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct diagnostic *added = diagnostics_vadd(diagnostics, code, config_key_place(at), format,
            arguments);
    va_end(arguments);
    set_pointer(diagnostics, added,
            at->key_place.source != NULL && at->parent != NULL ? at->parent : at);
    return added;
}
