/* SPDX-License-Identifier: MIT */
/* Two readers walk the same bytes. Ours knows places: it finds syntax mistakes, builds the
 * skeleton of the tree and notices repeated keys. jansson knows values: it decodes strings and
 * numbers, and has the last word on what is JSON. Depth is bounded before jansson, which
 * recurses, sees the text. */
#include "config/text.h"

#include <errno.h>
#include <stdlib.h>

#include <jansson.h>

#include "base/map.h"
#include "config/text_parts.h"

static struct config_value *read_value(struct text_reader *reader,
        const struct config_value *parent, unsigned depth);

/* A terminated copy of what a string token means. */
static struct weir_str
decode_key(struct text_reader *reader, struct weir_str raw, bool has_escape)
{
    if (!has_escape) {
        return arena_copy(reader->arena, raw);
    }
    json_error_t error;
    json_t *json = json_loadb(raw.ptr - 1, raw.len + 2, JSON_DECODE_ANY, &error);
    struct weir_str key = weir_str_make(NULL, 0);
    if (json_is_string(json)) {
        key = arena_copy(reader->arena,
                weir_str_make(json_string_value(json), json_string_length(json)));
    }
    json_decref(json);
    return key;
}

/* Items of a list or members of an object while their number is unknown. */
struct gathered {
    const struct config_value **items;
    size_t count, capacity;
};

static bool
gather(struct text_reader *reader, struct gathered *gathered, const struct config_value *item)
{
    if (gathered->count == gathered->capacity) {
        size_t capacity = gathered->capacity == 0 ? 8 : gathered->capacity * 2;
        const struct config_value **items = realloc(gathered->items, capacity * sizeof(*items));
        if (items == NULL) {
            reader->no_memory = true;
            return false;
        }
        gathered->items = items;
        gathered->capacity = capacity;
    }
    gathered->items[gathered->count++] = item;
    return true;
}

/* After a value: true when another one follows. `open` is where the bracket stands. */
static bool
read_separator(struct text_reader *reader, size_t open, char close, size_t value_end,
        bool *more)
{
    text_skip_space(reader);
    char c = text_peek(reader);
    struct config_place opened = text_place(reader, open, 1);
    struct diagnostic *d;
    if (reader->at < reader->len && c == close) {
        reader->at++;
        *more = false;
        return true;
    }
    if (c == ',') {
        reader->at++;
        text_skip_space(reader);
        *more = true;
        if (text_peek(reader) == ',') {
            d = text_syntax(reader, reader->at, 1, "one comma too many");
            return false;
        }
        return true;
    }
    if (reader->at == reader->len) {
        d = text_syntax(reader, reader->at, 0,
                close == '}' ? "the file ends inside an object"
                             : "the file ends inside a list");
        diagnostic_note(d, "expected , or %c", close);
        diagnostic_other(d, &opened, "opened here");
    } else if (c == ']' || c == '}') {
        d = text_syntax(reader, reader->at, 1, "the wrong bracket closes");
        diagnostic_note(d, "expected %c", close);
        diagnostic_other(d, &opened, "opened here");
    } else if (c == ':') {
        d = text_syntax(reader, reader->at, 1,
                close == ']' ? "a list has no keys" : "one colon too many");
        if (close == ']') {
            diagnostic_hint(d, "an object is written { \"key\": value }");
        }
    } else if (c == '"' || c == '{' || c == '[' || text_is_word(c) || c == '\'' ||
            text_smart_quote(reader) > 0) {
        d = text_syntax(reader, value_end, 1, "a comma is missing here");
        diagnostic_hint(d, "write , between two %s", close == '}' ? "members" : "values");
    } else {
        text_report_stray(reader, close == '}' ? ", or }" : ", or ]");
    }
    return false;
}

static bool
read_list(struct text_reader *reader, struct config_value *list, unsigned depth)
{
    size_t open = reader->at++;
    struct gathered gathered = { NULL, 0, 0 };
    bool more, ok = true;
    text_skip_space(reader);
    more = text_peek(reader) != ']';
    reader->at += !more;
    while (more && ok) {
        struct config_value *item = read_value(reader, list, depth + 1);
        ok = item != NULL;
        if (ok) {
            item->index = (uint32_t)gathered.count;
            ok = gather(reader, &gathered, item) &&
                    read_separator(reader, open, ']', reader->at, &more);
        }
    }
    if (ok) {
        list->kind = CONFIG_LIST;
        list->place = text_place(reader, open, reader->at - open);
        list->items = arena_array(reader->arena, gathered.count, sizeof(*list->items));
        list->count = (uint32_t)gathered.count;
        if (list->items == NULL) {
            reader->no_memory = true;
            ok = false;
        } else if (gathered.count > 0) {
            memcpy(list->items, gathered.items, gathered.count * sizeof(*list->items));
        }
    }
    free(gathered.items);
    return ok;
}

static bool
read_colon(struct text_reader *reader, size_t key_end)
{
    text_skip_space(reader);
    if (text_peek(reader) == ':') {
        reader->at++;
        text_skip_space(reader);
        return true;
    }
    struct diagnostic *d;
    if (text_peek(reader) == '=') {
        d = text_syntax(reader, reader->at, 1, "a key is followed by a colon");
        diagnostic_hint(d, "write : instead of =");
    } else if (reader->at < reader->len && text_peek(reader) != ',' &&
            text_peek(reader) != '}') {
        d = text_syntax(reader, key_end, 1, "a colon is missing here");
        diagnostic_hint(d, "write : between key and value");
    } else {
        d = text_syntax(reader, key_end, 1, "this key has no value");
        diagnostic_hint(d, "write \"key\": value");
    }
    return false;
}

static void
report_repeated(struct text_reader *reader, const struct config_value *again,
        const struct config_value *first)
{
    struct diagnostic *d = config_key_mistake(reader->diagnostics, DIAGNOSTIC_KEY_REPEATED,
            again, "the key \"%.*s\" is given twice", WEIR_STR_ARG(again->key));
    diagnostic_other(d, &first->key_place, "first given here");
}

/* The members in order, the last of each key, as jansson keeps them. */
static bool
keep_members(struct text_reader *reader, struct config_value *object,
        const struct gathered *gathered)
{
    struct map seen;
    map_init(&seen);
    object->members = arena_array(reader->arena, gathered->count, sizeof(*object->members));
    bool ok = object->members != NULL;
    for (size_t i = 0; i < gathered->count && ok; i++) {
        const struct config_value *value = gathered->items[i];
        struct config_member *earlier = map_find(&seen, value->key);
        if (earlier != NULL) {
            report_repeated(reader, value, earlier->value);
            earlier->value = value;
            continue;
        }
        struct config_member *member = &object->members[object->count++];
        *member = (struct config_member){ value->key, value };
        ok = map_set(&seen, value->key, member) == 0;
    }
    map_fini(&seen);
    reader->no_memory |= !ok;
    return ok;
}

static bool
read_member(struct text_reader *reader, struct config_value *object, struct gathered *gathered,
        unsigned depth)
{
    if (text_peek(reader) != '"') {
        struct weir_str word = text_word_here(reader);
        if (word.len > 0 && text_peek(reader) != '\'') {
            struct config_place place = text_place(reader, reader->at, word.len);
            reader->failed = true;
            struct diagnostic *d = diagnostics_add(reader->diagnostics, DIAGNOSTIC_SYNTAX,
                    &place, "keys stand in double quotes");
            diagnostic_hint(d, "write \"%.*s\"", WEIR_STR_ARG(word));
        } else {
            text_report_stray(reader, "a key in double quotes");
        }
        return false;
    }
    size_t key_at = reader->at;
    struct weir_str raw;
    bool has_escape;
    if (!text_read_string(reader, &raw, &has_escape)) {
        return false;
    }
    size_t key_end = reader->at;
    struct weir_str key = decode_key(reader, raw, has_escape);
    if (key.ptr == NULL) {
        reader->no_memory = true;
        return false;
    }
    if (!read_colon(reader, key_end)) {
        return false;
    }
    struct config_value *value = read_value(reader, object, depth + 1);
    if (value == NULL) {
        return false;
    }
    value->key = key;
    value->key_place = text_place(reader, key_at, key_end - key_at);
    return gather(reader, gathered, value);
}

static bool
read_object(struct text_reader *reader, struct config_value *object, unsigned depth)
{
    size_t open = reader->at++;
    struct gathered gathered = { NULL, 0, 0 };
    bool more, ok = true;
    object->kind = CONFIG_OBJECT;
    text_skip_space(reader);
    more = text_peek(reader) != '}';
    reader->at += !more;
    while (more && ok) {
        ok = read_member(reader, object, &gathered, depth) &&
                read_separator(reader, open, '}', reader->at, &more);
    }
    if (ok) {
        object->place = text_place(reader, open, reader->at - open);
        ok = keep_members(reader, object, &gathered);
    }
    free(gathered.items);
    return ok;
}

/* NULL after a report, or when reader->no_memory. */
static struct config_value *
read_value(struct text_reader *reader, const struct config_value *parent, unsigned depth)
{
    char c = text_peek(reader);
    if (depth > CONFIG_MAX_DEPTH) {
        struct config_place place = text_place(reader, reader->at, 1);
        reader->failed = true;
        diagnostics_add(reader->diagnostics, DIAGNOSTIC_DEPTH, &place,
                "nested more than %d deep", CONFIG_MAX_DEPTH);
        return NULL;
    }
    struct config_value *value = arena_zalloc(reader->arena, sizeof(*value));
    if (value == NULL) {
        reader->no_memory = true;
        return NULL;
    }
    value->parent = parent;
    bool ok;
    if (c == '{') {
        ok = read_object(reader, value, depth);
    } else if (c == '[') {
        ok = read_list(reader, value, depth);
    } else if (c == '"') {
        size_t start = reader->at;
        bool has_escape;
        value->kind = CONFIG_STRING;
        ok = text_read_string(reader, &value->string, &has_escape);
        value->place = text_place(reader, start, reader->at - start);
    } else if ((c >= '0' && c <= '9') || c == '+' || c == '.' ||
            (c == '-' && !text_follows(reader, "-Inf"))) {
        ok = text_read_number(reader, value);
    } else if (text_is_word(c)) {
        ok = text_read_word(reader, value);
    } else if (reader->at < reader->len && (c == ',' || c == '}' || c == ']')) {
        struct diagnostic *d = text_syntax(reader, reader->at, 1, "a value is missing here");
        diagnostic_note(d, "expected a value");
        ok = false;
    } else {
        text_report_stray(reader, "a value");
        ok = false;
    }
    return ok ? value : NULL;
}

/* Takes strings and numbers from jansson, which read the same bytes. */
static bool
adopt(struct text_reader *reader, struct config_value *value, const json_t *json)
{
    bool ok = true;
    switch (value->kind) {
    case CONFIG_STRING:
        value->string = json_is_string(json)
                ? arena_copy(reader->arena,
                          weir_str_make(json_string_value(json), json_string_length(json)))
                : weir_str_make(NULL, 0);
        ok = value->string.ptr != NULL;
        break;
    case CONFIG_INTEGER:
        value->integer = json_integer_value(json);
        break;
    case CONFIG_REAL:
        value->string = arena_copy(reader->arena,
                weir_str_make(reader->text + value->place.offset, value->place.length));
        ok = value->string.ptr != NULL;
        break;
    case CONFIG_LIST:
        for (uint32_t i = 0; i < value->count && ok; i++) {
            ok = adopt(reader, (struct config_value *)(uintptr_t)value->items[i],
                    json_array_get(json, i));
        }
        break;
    case CONFIG_OBJECT:
        for (uint32_t i = 0; i < value->count && ok; i++) {
            const struct config_member *member = &value->members[i];
            ok = adopt(reader, (struct config_value *)(uintptr_t)member->value,
                    json_object_get(json, member->key.ptr));
        }
        break;
    case CONFIG_NULL:
    case CONFIG_FALSE:
    case CONFIG_TRUE:
        break;
    }
    return ok;
}

/* What jansson refuses although our reader did not, numbers out of range for one. */
static void
report_jansson(struct text_reader *reader, const json_error_t *error)
{
    if (json_error_code(error) == json_error_out_of_memory) {
        reader->no_memory = true;
        return;
    }
    size_t at = error->position > 0 ? (size_t)error->position - 1 : 0;
    size_t start = at < reader->len ? at : reader->len;
    while (start > 0 && text_is_word(reader->text[start - 1])) {
        start--;
    }
    if (json_error_code(error) == json_error_numeric_overflow) {
        text_syntax(reader, start, at + 1 - start, "this number does not fit into 64 bits");
    } else {
        text_syntax(reader, start, at + 1 - start, error->text);
    }
}

/* The root's skeleton; NULL after a report or without memory. */
static struct config_value *
read_document(struct text_reader *reader)
{
    static const char bom[] = "\xef\xbb\xbf";
    if (text_follows(reader, bom)) {
        struct diagnostic *d = text_syntax(reader, 0, 3,
                "the file begins with a byte order mark");
        diagnostic_hint(d, "save it as UTF-8 without one");
        return NULL;
    }
    if (text_follows(reader, "\xff\xfe") || text_follows(reader, "\xfe\xff")) {
        struct config_place place = text_place(reader, 0, 2);
        reader->failed = true;
        struct diagnostic *d = diagnostics_add(reader->diagnostics, DIAGNOSTIC_ENCODING, &place,
                "the file is in UTF-16");
        diagnostic_hint(d, "save it as UTF-8");
        return NULL;
    }
    text_blank_extras(reader);
    if (reader->failed) {
        return NULL;
    }
    text_skip_space(reader);
    if (reader->at == reader->len) {
        struct diagnostic *d = text_syntax(reader, reader->at, 0, "the file is empty");
        diagnostic_hint(d, "a configuration is one object: { ... }");
        return NULL;
    }
    struct config_value *root = read_value(reader, NULL, 0);
    if (root == NULL) {
        return NULL;
    }
    text_skip_space(reader);
    if (reader->at < reader->len) {
        char c = text_peek(reader);
        struct diagnostic *d = text_syntax(reader, reader->at, 1,
                c == '}' || c == ']' ? "one closing bracket too many"
                                     : "something follows the end of the document");
        diagnostic_other(d, &root->place, "which begins here");
        return NULL;
    }
    if (root->kind != CONFIG_OBJECT) {
        struct diagnostic *d = config_mistake(reader->diagnostics, DIAGNOSTIC_TYPE, root,
                "a configuration is an object, this is %s", config_kind_text(root->kind));
        diagnostic_hint(d, "write { ... }");
        reader->failed = true;
        return NULL;
    }
    return root;
}

int
text_parse(struct source *source, struct arena *arena, struct diagnostics *diagnostics,
        struct config_value **out)
{
    struct text_reader reader = { .source = source,
        .arena = arena,
        .diagnostics = diagnostics,
        .len = source->text.len };
    reader.text = malloc(reader.len + 1);
    if (reader.text == NULL) {
        return -ENOMEM;
    }
    memcpy(reader.text, source->text.ptr, reader.len);
    reader.text[reader.len] = '\0';

    struct config_value *root = read_document(&reader);
    if (root != NULL) {
        json_error_t error;
        json_t *json = json_loadb(reader.text, reader.len, 0, &error);
        if (json == NULL) {
            report_jansson(&reader, &error);
            root = NULL;
        } else if (!adopt(&reader, root, json)) {
            reader.no_memory = true;
        }
        json_decref(json);
    }
    free(reader.text);
    if (reader.no_memory) {
        return -ENOMEM;
    }
    if (root == NULL) {
        return -EINVAL;
    }
    *out = root;
    return 0;
}
