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

struct reader {
    struct source *source;
    struct arena *arena;
    struct diagnostics *diagnostics;
    char *text; /* blanked copy, as long as the source's */
    size_t len, at;
    bool failed; /* a syntax mistake was reported */
    bool no_memory;
};

/* Bytes */

static struct config_place
place_of(const struct reader *reader, size_t offset, size_t length)
{
    size_t left = reader->len - offset; /* what is missing stands after the last byte */
    return (struct config_place){ reader->source, (uint32_t)offset,
        (uint32_t)(length < left ? length : left) };
}

/* Reports the one syntax mistake of a file, what follows it makes no sense. */
static struct diagnostic *
syntax(struct reader *reader, size_t offset, size_t length, const char *message)
{
    struct config_place place = place_of(reader, offset, length);
    reader->failed = true;
    return diagnostics_add(reader->diagnostics, DIAGNOSTIC_SYNTAX, &place, "%s", message);
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool
is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            c == '_' || c == '-' || c == '.' || c == '$';
}

static char
peek(const struct reader *reader)
{
    return reader->at < reader->len ? reader->text[reader->at] : '\0';
}

static void
skip_space(struct reader *reader)
{
    while (reader->at < reader->len && is_space(reader->text[reader->at])) {
        reader->at++;
    }
}

static bool
follows(const struct reader *reader, const char *word)
{
    size_t len = strlen(word);
    return reader->len - reader->at >= len && memcmp(reader->text + reader->at, word, len) == 0;
}

/* Blanking */

static void
blank(char *text, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (text[i] != '\n' && text[i] != '\r') {
            text[i] = ' ';
        }
    }
}

/* The offset after the string that begins at `at`; its line's end when it has none. */
static size_t
skip_string(const struct reader *reader, size_t at)
{
    for (at++; at < reader->len && reader->text[at] != '\n'; at++) {
        if (reader->text[at] == '\\' && at + 1 < reader->len && reader->text[at + 1] != '\n') {
            at++;
        } else if (reader->text[at] == '"') {
            return at + 1;
        }
    }
    return at;
}

/* Blanks comments, and commas that stand before a closing bracket and after a value. */
static void
blank_extras(struct reader *reader)
{
    char *text = reader->text;
    size_t comma = SIZE_MAX;
    char before = '\0'; /* the last byte that counts */
    for (size_t i = 0; i < reader->len;) {
        char c = text[i];
        char next = i + 1 < reader->len ? text[i + 1] : '\0';
        if (c == '/' && next == '/') {
            const char *end = memchr(text + i, '\n', reader->len - i);
            size_t stop = end == NULL ? reader->len : (size_t)(end - text);
            blank(text, i, stop);
            i = stop;
        } else if (c == '/' && next == '*') {
            size_t stop = i + 2;
            while (stop + 1 < reader->len && !(text[stop] == '*' && text[stop + 1] == '/')) {
                stop++;
            }
            if (stop + 1 >= reader->len) {
                struct config_place place = place_of(reader, i, 2);
                struct diagnostic *d = diagnostics_add(reader->diagnostics, DIAGNOSTIC_COMMENT,
                        &place, "this comment has no end");
                diagnostic_hint(d, "end it with */");
                reader->failed = true;
                return;
            }
            blank(text, i, stop + 2);
            i = stop + 2;
        } else if (c == '"') {
            i = skip_string(reader, i);
            before = '"';
            comma = SIZE_MAX;
        } else {
            if (c == ',') {
                comma = before == '[' || before == '{' || before == ',' || before == ':'
                        ? SIZE_MAX
                        : i;
            } else if (c == ']' || c == '}') {
                if (comma != SIZE_MAX) {
                    text[comma] = ' ';
                }
                comma = SIZE_MAX;
            } else if (!is_space(c)) {
                comma = SIZE_MAX;
            }
            before = is_space(c) ? before : c;
            i++;
        }
    }
}

/* Values */

static struct config_value *read_value(struct reader *reader, const struct config_value *parent,
        unsigned depth);

static size_t
smart_quote(const struct reader *reader)
{
    static const char *const quotes[] = { "\xe2\x80\x9c", "\xe2\x80\x9d", "\xe2\x80\x98",
        "\xe2\x80\x99", "\xe2\x80\x9e", "\xc2\xab", "\xc2\xbb" };
    for (size_t i = 0; i < sizeof(quotes) / sizeof(quotes[0]); i++) {
        if (follows(reader, quotes[i])) {
            return strlen(quotes[i]);
        }
    }
    return 0;
}

/* The word at the cursor, not cut at anything that could belong to it. */
static struct weir_str
word_here(const struct reader *reader)
{
    size_t end = reader->at;
    while (end < reader->len && (is_word(reader->text[end]) || reader->text[end] == '+')) {
        end++;
    }
    return weir_str_make(reader->text + reader->at, end - reader->at);
}

/* What stands here is neither a value nor what was `expected`. */
static void
report_stray(struct reader *reader, const char *expected)
{
    size_t quote = smart_quote(reader);
    struct weir_str word = word_here(reader);
    struct diagnostic *d;
    uint32_t point;
    size_t bytes = reader->at == reader->len
            ? 0
            : source_decode(weir_str_make(reader->text + reader->at, reader->len - reader->at),
                      &point);
    char c = peek(reader);

    if (reader->at == reader->len) {
        d = syntax(reader, reader->at, 0, "the file ends too early");
        diagnostic_note(d, "expected %s", expected);
    } else if (c == '\'' || c == '`') {
        d = syntax(reader, reader->at, 1, "JSON has no single quotes");
        diagnostic_hint(d, "write \" instead of %c", c);
    } else if (quote > 0) {
        d = syntax(reader, reader->at, quote, "typographic quotes do not delimit strings");
        diagnostic_hint(d, "write a straight \"");
    } else if (c == '#') {
        d = syntax(reader, reader->at, 1, "# begins no comment here");
        diagnostic_hint(d, "comments are // to the end of the line, or /* ... */");
    } else if (bytes == 0) {
        struct config_place place = place_of(reader, reader->at, 1);
        reader->failed = true;
        d = diagnostics_add(reader->diagnostics, DIAGNOSTIC_ENCODING, &place,
                "byte 0x%02X is not UTF-8", (unsigned char)c);
        diagnostic_hint(d, "save the file as UTF-8");
    } else if (word.len > 0) {
        struct config_place place = place_of(reader, reader->at, word.len);
        reader->failed = true;
        d = diagnostics_add(reader->diagnostics, DIAGNOSTIC_SYNTAX, &place,
                "\"%.*s\" stands here without quotes", WEIR_STR_ARG(word));
        diagnostic_note(d, "expected %s", expected);
        diagnostic_hint(d, "write \"%.*s\"", WEIR_STR_ARG(word));
    } else {
        d = syntax(reader, reader->at, bytes, "this does not belong here");
        diagnostic_note(d, "expected %s", expected);
    }
}

/* A word that is no JSON word. */
static void
report_word(struct reader *reader, struct weir_str word)
{
    static const struct {
        const char *wrong, *right;
    } known[] = {
        { "True", "true" },
        { "TRUE", "true" },
        { "yes", "true" },
        { "on", "true" },
        { "False", "false" },
        { "FALSE", "false" },
        { "no", "false" },
        { "off", "false" },
        { "None", "null" },
        { "NULL", "null" },
        { "Null", "null" },
        { "nil", "null" },
        { "undefined", "null" },
    };
    static const char *const no_numbers[] = { "NaN", "nan", "Infinity", "-Infinity", "inf" };
    struct diagnostic *d;
    for (size_t i = 0; i < sizeof(no_numbers) / sizeof(no_numbers[0]); i++) {
        if (weir_str_eq(word, weir_str_from(no_numbers[i]))) {
            d = syntax(reader, reader->at, word.len, "JSON has no such number");
            diagnostic_hint(d, "\"no limit\" is written false");
            return;
        }
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (weir_str_eq(word, weir_str_from(known[i].wrong))) {
            struct config_place place = place_of(reader, reader->at, word.len);
            reader->failed = true;
            d = diagnostics_add(reader->diagnostics, DIAGNOSTIC_SYNTAX, &place,
                    "\"%.*s\" is no JSON word", WEIR_STR_ARG(word));
            diagnostic_hint(d, "write %s", known[i].right);
            return;
        }
    }
    report_stray(reader, "a value");
}

/* RFC 8259 section 6, and whole numbers within 64 bits, as jansson takes them. */
static bool
read_number(struct reader *reader, struct config_value *value)
{
    struct weir_str word = word_here(reader);
    const char *p = word.ptr, *end = word.ptr + word.len;
    const char *hint = NULL;
    bool is_real = false;
    if (p < end && *p == '+') {
        hint = "leave out the plus";
    } else {
        p += *p == '-';
        const char *digits = p;
        while (p < end && *p >= '0' && *p <= '9') {
            p++;
        }
        if (p - digits > 1 && digits[0] == '0') {
            hint = "leave out the leading zero, or write a string";
        } else if (p == digits) {
            hint = "a digit must come first";
        } else if (p < end && *p == '.') {
            is_real = true;
            const char *fraction = ++p;
            while (p < end && *p >= '0' && *p <= '9') {
                p++;
            }
            hint = p == fraction ? "a digit must follow the point" : NULL;
        }
        if (hint == NULL && p < end && (*p == 'e' || *p == 'E')) {
            is_real = true;
            p++;
            p += p < end && (*p == '+' || *p == '-');
            const char *exponent = p;
            while (p < end && *p >= '0' && *p <= '9') {
                p++;
            }
            hint = p == exponent ? "a digit must follow the e" : NULL;
        }
    }
    if (hint != NULL) {
        struct diagnostic *d = syntax(reader, reader->at, word.len,
                "this is no number as JSON writes them");
        diagnostic_hint(d, "%s", hint);
        return false;
    }
    if (p != end) {
        struct config_place place = place_of(reader, reader->at, word.len);
        reader->failed = true;
        struct diagnostic *d = diagnostics_add(reader->diagnostics, DIAGNOSTIC_SYNTAX, &place,
                "a number with a unit is a string");
        diagnostic_hint(d, "write \"%.*s\"", WEIR_STR_ARG(word));
        return false;
    }
    /* Longer than any number that fits; jansson says the same of those at the edge. */
    if (word.len > 40) {
        syntax(reader, reader->at, word.len, "this number is too long");
        return false;
    }
    value->kind = is_real ? CONFIG_REAL : CONFIG_INTEGER;
    value->place = place_of(reader, reader->at, word.len);
    reader->at += word.len;
    return true;
}

static uint32_t
hex4(const struct reader *reader, size_t at)
{
    uint32_t value = 0;
    for (size_t i = 0; i < 4; i++) {
        char c = at + i < reader->len ? reader->text[at + i] : '\0';
        uint32_t digit = c >= '0' && c <= '9' ? (uint32_t)(c - '0')
                : c >= 'a' && c <= 'f'        ? (uint32_t)(c - 'a' + 10)
                : c >= 'A' && c <= 'F'        ? (uint32_t)(c - 'A' + 10)
                                              : 16;
        if (digit == 16) {
            return UINT32_MAX;
        }
        value = value << 4 | digit;
    }
    return value;
}

/* The bytes of the escape at the cursor (a backslash), 0 after a report. */
static size_t
read_escape(struct reader *reader)
{
    char c = reader->at + 1 < reader->len ? reader->text[reader->at + 1] : '\0';
    if (c != '\0' && strchr("\"\\/bfnrt", c) != NULL) {
        return 2;
    }
    struct diagnostic *d;
    if (c != 'u') {
        d = syntax(reader, reader->at, c == '\0' || c == '\n' ? 1 : 2,
                "JSON knows no such escape");
        diagnostic_hint(d, "write \\\\ for a backslash");
        return 0;
    }
    uint32_t unit = hex4(reader, reader->at + 2);
    if (unit == UINT32_MAX) {
        d = syntax(reader, reader->at, 2, "four hexadecimal digits must follow \\u");
        return 0;
    }
    if (unit == 0) {
        syntax(reader, reader->at, 6, "no text may hold a NUL");
        return 0;
    }
    bool high = unit >= 0xd800 && unit < 0xdc00, low = unit >= 0xdc00 && unit < 0xe000;
    if (high && reader->at + 7 < reader->len && reader->text[reader->at + 6] == '\\' &&
            reader->text[reader->at + 7] == 'u') {
        uint32_t second = hex4(reader, reader->at + 8);
        if (second >= 0xdc00 && second < 0xe000) {
            return 12;
        }
    }
    if (high || low) {
        syntax(reader, reader->at, 6, "half of a surrogate pair");
        return 0;
    }
    return 6;
}

/* Moves over a string. *raw is what stands between the quotes, *has_escape whether that is not
 * the text itself. */
static bool
read_string(struct reader *reader, struct weir_str *raw, bool *has_escape)
{
    size_t start = reader->at++;
    *has_escape = false;
    while (reader->at < reader->len) {
        char c = reader->text[reader->at];
        size_t bytes = 1;
        uint32_t point;
        if (c == '"') {
            *raw = weir_str_make(reader->text + start + 1, reader->at - start - 1);
            reader->at++;
            return true;
        }
        if (c == '\n' || c == '\r') {
            break;
        }
        if (c == '\\') {
            *has_escape = true;
            bytes = read_escape(reader);
            if (bytes == 0) {
                return false;
            }
        } else if ((unsigned char)c < 0x20) {
            struct diagnostic *d = syntax(reader, reader->at, 1,
                    "a control character inside a string");
            diagnostic_hint(d, "write %s", c == '\t' ? "\\t" : "it as \\u00XX");
            return false;
        } else if ((bytes = source_decode(weir_str_make(reader->text + reader->at,
                                                  reader->len - reader->at),
                            &point)) == 0) {
            report_stray(reader, "text");
            return false;
        }
        reader->at += bytes;
    }
    struct diagnostic *d = syntax(reader, start, reader->at - start,
            "this string does not end on its line");
    diagnostic_hint(d, "close it with \"");
    return false;
}

/* A terminated copy of what a string token means. */
static struct weir_str
decode_key(struct reader *reader, struct weir_str raw, bool has_escape)
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
gather(struct reader *reader, struct gathered *gathered, const struct config_value *item)
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
read_separator(struct reader *reader, size_t open, char close, size_t value_end, bool *more)
{
    skip_space(reader);
    char c = peek(reader);
    struct config_place opened = place_of(reader, open, 1);
    struct diagnostic *d;
    if (reader->at < reader->len && c == close) {
        reader->at++;
        *more = false;
        return true;
    }
    if (c == ',') {
        reader->at++;
        skip_space(reader);
        *more = true;
        if (peek(reader) == ',') {
            d = syntax(reader, reader->at, 1, "one comma too many");
            return false;
        }
        return true;
    }
    if (reader->at == reader->len) {
        d = syntax(reader, reader->at, 0,
                close == '}' ? "the file ends inside an object"
                             : "the file ends inside a list");
        diagnostic_note(d, "expected , or %c", close);
        diagnostic_other(d, &opened, "opened here");
    } else if (c == ']' || c == '}') {
        d = syntax(reader, reader->at, 1, "the wrong bracket closes");
        diagnostic_note(d, "expected %c", close);
        diagnostic_other(d, &opened, "opened here");
    } else if (c == ':') {
        d = syntax(reader, reader->at, 1,
                close == ']' ? "a list has no keys" : "one colon too many");
        if (close == ']') {
            diagnostic_hint(d, "an object is written { \"key\": value }");
        }
    } else if (c == '"' || c == '{' || c == '[' || is_word(c) || c == '\'' ||
            smart_quote(reader) > 0) {
        d = syntax(reader, value_end, 1, "a comma is missing here");
        diagnostic_hint(d, "write , between two %s", close == '}' ? "members" : "values");
    } else {
        report_stray(reader, close == '}' ? ", or }" : ", or ]");
    }
    return false;
}

static bool
read_list(struct reader *reader, struct config_value *list, unsigned depth)
{
    size_t open = reader->at++;
    struct gathered gathered = { NULL, 0, 0 };
    bool more, ok = true;
    skip_space(reader);
    more = peek(reader) != ']';
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
        list->place = place_of(reader, open, reader->at - open);
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
read_colon(struct reader *reader, size_t key_end)
{
    skip_space(reader);
    if (peek(reader) == ':') {
        reader->at++;
        skip_space(reader);
        return true;
    }
    struct diagnostic *d;
    if (peek(reader) == '=') {
        d = syntax(reader, reader->at, 1, "a key is followed by a colon");
        diagnostic_hint(d, "write : instead of =");
    } else if (reader->at < reader->len && peek(reader) != ',' && peek(reader) != '}') {
        d = syntax(reader, key_end, 1, "a colon is missing here");
        diagnostic_hint(d, "write : between key and value");
    } else {
        d = syntax(reader, key_end, 1, "this key has no value");
        diagnostic_hint(d, "write \"key\": value");
    }
    return false;
}

static void
report_repeated(struct reader *reader, const struct config_value *again,
        const struct config_value *first)
{
    struct diagnostic *d = config_key_mistake(reader->diagnostics, DIAGNOSTIC_KEY_REPEATED,
            again, "the key \"%.*s\" is given twice", WEIR_STR_ARG(again->key));
    diagnostic_other(d, &first->key_place, "first given here");
}

/* The members in order, the last of each key, as jansson keeps them. */
static bool
keep_members(struct reader *reader, struct config_value *object,
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
read_member(struct reader *reader, struct config_value *object, struct gathered *gathered,
        unsigned depth)
{
    if (peek(reader) != '"') {
        struct weir_str word = word_here(reader);
        if (word.len > 0 && peek(reader) != '\'') {
            struct config_place place = place_of(reader, reader->at, word.len);
            reader->failed = true;
            struct diagnostic *d = diagnostics_add(reader->diagnostics, DIAGNOSTIC_SYNTAX,
                    &place, "keys stand in double quotes");
            diagnostic_hint(d, "write \"%.*s\"", WEIR_STR_ARG(word));
        } else {
            report_stray(reader, "a key in double quotes");
        }
        return false;
    }
    size_t key_at = reader->at;
    struct weir_str raw;
    bool has_escape;
    if (!read_string(reader, &raw, &has_escape)) {
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
    value->key_place = place_of(reader, key_at, key_end - key_at);
    return gather(reader, gathered, value);
}

static bool
read_object(struct reader *reader, struct config_value *object, unsigned depth)
{
    size_t open = reader->at++;
    struct gathered gathered = { NULL, 0, 0 };
    bool more, ok = true;
    object->kind = CONFIG_OBJECT;
    skip_space(reader);
    more = peek(reader) != '}';
    reader->at += !more;
    while (more && ok) {
        ok = read_member(reader, object, &gathered, depth) &&
                read_separator(reader, open, '}', reader->at, &more);
    }
    if (ok) {
        object->place = place_of(reader, open, reader->at - open);
        ok = keep_members(reader, object, &gathered);
    }
    free(gathered.items);
    return ok;
}

static bool
read_word(struct reader *reader, struct config_value *value)
{
    struct weir_str word = word_here(reader);
    if (weir_str_eq(word, WEIR_STR("true"))) {
        value->kind = CONFIG_TRUE;
    } else if (weir_str_eq(word, WEIR_STR("false"))) {
        value->kind = CONFIG_FALSE;
    } else if (weir_str_eq(word, WEIR_STR("null"))) {
        value->kind = CONFIG_NULL;
    } else {
        report_word(reader, word);
        return false;
    }
    value->place = place_of(reader, reader->at, word.len);
    reader->at += word.len;
    return true;
}

/* NULL after a report, or when reader->no_memory. */
static struct config_value *
read_value(struct reader *reader, const struct config_value *parent, unsigned depth)
{
    char c = peek(reader);
    if (depth > CONFIG_MAX_DEPTH) {
        struct config_place place = place_of(reader, reader->at, 1);
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
        ok = read_string(reader, &value->string, &has_escape);
        value->place = place_of(reader, start, reader->at - start);
    } else if ((c >= '0' && c <= '9') || c == '+' || c == '.' ||
            (c == '-' && !follows(reader, "-Inf"))) {
        ok = read_number(reader, value);
    } else if (is_word(c)) {
        ok = read_word(reader, value);
    } else if (reader->at < reader->len && (c == ',' || c == '}' || c == ']')) {
        struct diagnostic *d = syntax(reader, reader->at, 1, "a value is missing here");
        diagnostic_note(d, "expected a value");
        ok = false;
    } else {
        report_stray(reader, "a value");
        ok = false;
    }
    return ok ? value : NULL;
}

/* Takes strings and numbers from jansson, which read the same bytes. */
static bool
adopt(struct reader *reader, struct config_value *value, const json_t *json)
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
report_jansson(struct reader *reader, const json_error_t *error)
{
    if (json_error_code(error) == json_error_out_of_memory) {
        reader->no_memory = true;
        return;
    }
    size_t at = error->position > 0 ? (size_t)error->position - 1 : 0;
    size_t start = at < reader->len ? at : reader->len;
    while (start > 0 && is_word(reader->text[start - 1])) {
        start--;
    }
    if (json_error_code(error) == json_error_numeric_overflow) {
        syntax(reader, start, at + 1 - start, "this number does not fit into 64 bits");
    } else {
        syntax(reader, start, at + 1 - start, error->text);
    }
}

/* The root's skeleton; NULL after a report or without memory. */
static struct config_value *
read_document(struct reader *reader)
{
    static const char bom[] = "\xef\xbb\xbf";
    if (follows(reader, bom)) {
        struct diagnostic *d = syntax(reader, 0, 3, "the file begins with a byte order mark");
        diagnostic_hint(d, "save it as UTF-8 without one");
        return NULL;
    }
    if (follows(reader, "\xff\xfe") || follows(reader, "\xfe\xff")) {
        struct config_place place = place_of(reader, 0, 2);
        reader->failed = true;
        struct diagnostic *d = diagnostics_add(reader->diagnostics, DIAGNOSTIC_ENCODING, &place,
                "the file is in UTF-16");
        diagnostic_hint(d, "save it as UTF-8");
        return NULL;
    }
    blank_extras(reader);
    if (reader->failed) {
        return NULL;
    }
    skip_space(reader);
    if (reader->at == reader->len) {
        struct diagnostic *d = syntax(reader, reader->at, 0, "the file is empty");
        diagnostic_hint(d, "a configuration is one object: { ... }");
        return NULL;
    }
    struct config_value *root = read_value(reader, NULL, 0);
    if (root == NULL) {
        return NULL;
    }
    skip_space(reader);
    if (reader->at < reader->len) {
        char c = peek(reader);
        struct diagnostic *d = syntax(reader, reader->at, 1,
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
    struct reader reader = { .source = source,
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
