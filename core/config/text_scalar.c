/* SPDX-License-Identifier: MIT */
/* Their form only: jansson decodes them. */
#include "config/text_parts.h"

/* A word that is no JSON word. */
static void
report_word(struct text_reader *reader, struct weir_str word)
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
            d = text_syntax(reader, reader->at, word.len, "JSON has no such number");
            diagnostic_hint(d, "\"no limit\" is written false");
            return;
        }
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (weir_str_eq(word, weir_str_from(known[i].wrong))) {
            struct config_place place = text_place(reader, reader->at, word.len);
            reader->failed = true;
            d = diagnostics_add(reader->diagnostics, DIAGNOSTIC_SYNTAX, &place,
                    "\"%.*s\" is no JSON word", WEIR_STR_ARG(word));
            diagnostic_hint(d, "write %s", known[i].right);
            return;
        }
    }
    text_report_stray(reader, "a value");
}

bool
text_read_word(struct text_reader *reader, struct config_value *value)
{
    struct weir_str word = text_word_here(reader);
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
    value->place = text_place(reader, reader->at, word.len);
    reader->at += word.len;
    return true;
}

bool
text_read_number(struct text_reader *reader, struct config_value *value)
{
    struct weir_str word = text_word_here(reader);
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
        struct diagnostic *d = text_syntax(reader, reader->at, word.len,
                "this is no number as JSON writes them");
        diagnostic_hint(d, "%s", hint);
        return false;
    }
    if (p != end) {
        struct config_place place = text_place(reader, reader->at, word.len);
        reader->failed = true;
        struct diagnostic *d = diagnostics_add(reader->diagnostics, DIAGNOSTIC_SYNTAX, &place,
                "a number with a unit is a string");
        diagnostic_hint(d, "write \"%.*s\"", WEIR_STR_ARG(word));
        return false;
    }
    /* Longer than any number that fits; jansson says the same of those at the edge. */
    if (word.len > 40) {
        text_syntax(reader, reader->at, word.len, "this number is too long");
        return false;
    }
    value->kind = is_real ? CONFIG_REAL : CONFIG_INTEGER;
    value->place = text_place(reader, reader->at, word.len);
    reader->at += word.len;
    return true;
}

static uint32_t
hex4(const struct text_reader *reader, size_t at)
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
read_escape(struct text_reader *reader)
{
    char c = reader->at + 1 < reader->len ? reader->text[reader->at + 1] : '\0';
    if (c != '\0' && strchr("\"\\/bfnrt", c) != NULL) {
        return 2;
    }
    struct diagnostic *d;
    if (c != 'u') {
        d = text_syntax(reader, reader->at, c == '\0' || c == '\n' ? 1 : 2,
                "JSON knows no such escape");
        diagnostic_hint(d, "write \\\\ for a backslash");
        return 0;
    }
    uint32_t unit = hex4(reader, reader->at + 2);
    if (unit == UINT32_MAX) {
        d = text_syntax(reader, reader->at, 2, "four hexadecimal digits must follow \\u");
        return 0;
    }
    if (unit == 0) {
        text_syntax(reader, reader->at, 6, "no text may hold a NUL");
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
        text_syntax(reader, reader->at, 6, "half of a surrogate pair");
        return 0;
    }
    return 6;
}

bool
text_read_string(struct text_reader *reader, struct weir_str *raw, bool *has_escape)
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
            struct diagnostic *d = text_syntax(reader, reader->at, 1,
                    "a control character inside a string");
            diagnostic_hint(d, "write %s", c == '\t' ? "\\t" : "it as \\u00XX");
            return false;
        } else if ((bytes = source_decode(weir_str_make(reader->text + reader->at,
                                                  reader->len - reader->at),
                            &point)) == 0) {
            text_report_stray(reader, "text");
            return false;
        }
        reader->at += bytes;
    }
    struct diagnostic *d = text_syntax(reader, start, reader->at - start,
            "this string does not end on its line");
    diagnostic_hint(d, "close it with \"");
    return false;
}
