/* SPDX-License-Identifier: MIT */
/* JSON out (RFC 8259), and text that cannot upset a terminal. */
#include "config/emit.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/num.h"
#include "config/source.h"

void
emit_init(struct emit *emit, struct buf *out)
{
    *emit = (struct emit){ .out = out };
}

void
emit_raw(struct emit *emit, struct weir_str text)
{
    if (emit->error == 0) {
        emit->error = buf_append(emit->out, text);
    }
}

void
emit_format(struct emit *emit, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    WEIR_ASSERT(len >= 0 && (size_t)len < sizeof(text));
    emit_raw(emit, weir_str_make(text, (size_t)len));
}

/* Controls (C0, DEL, C1), direction marks and separators that move what is shown elsewhere
 * (Unicode TR 36), and the byte order mark. */
static bool
is_unprintable(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0xad ||
            (point >= 0x200b && point <= 0x200f) || (point >= 0x2028 && point <= 0x202e) ||
            (point >= 0x2060 && point <= 0x206f) || point == 0xfeff ||
            (point >= 0xe0000 && point <= 0xe007f);
}

size_t
emit_escaped(struct emit *emit, struct weir_str text, bool keep_tabs)
{
    size_t columns = 0;
    while (text.len > 0) {
        uint32_t point = 0;
        char escape[16];
        size_t bytes = source_decode(text, &point);
        int len = 0;
        if (bytes == 0) {
            bytes = 1;
            len = snprintf(escape, sizeof(escape), "\\x%02x", (unsigned char)text.ptr[0]);
        } else if (is_unprintable(point) && !(keep_tabs && point == '\t')) {
            len = point == '\n'     ? snprintf(escape, sizeof(escape), "\\n")
                    : point == '\t' ? snprintf(escape, sizeof(escape), "\\t")
                    : point < 0x100 ? snprintf(escape, sizeof(escape), "\\x%02x", point)
                                    : snprintf(escape, sizeof(escape), "\\u{%x}", point);
        }
        if (len > 0) {
            emit_raw(emit, weir_str_make(escape, (size_t)len));
            columns += (size_t)len;
        } else {
            emit_raw(emit, weir_str_make(text.ptr, bytes));
            columns++;
        }
        text.ptr += bytes;
        text.len -= bytes;
    }
    return columns;
}

static void
new_line(struct emit *emit)
{
    emit_raw(emit, WEIR_STR("\n"));
    for (unsigned i = 0; i < emit->depth; i++) {
        emit_raw(emit, WEIR_STR("  "));
    }
}

/* Before each value: the comma and line of a list's element, nothing after a key. */
static void
before_value(struct emit *emit)
{
    if (emit->after_key || emit->depth == 0) {
        emit->after_key = false;
        return;
    }
    if (emit->has_member[emit->depth]) {
        emit_raw(emit, WEIR_STR(","));
    }
    emit->has_member[emit->depth] = true;
    new_line(emit);
}

static void
begin(struct emit *emit, struct weir_str bracket)
{
    before_value(emit);
    emit_raw(emit, bracket);
    WEIR_ASSERT(emit->depth + 1 < EMIT_MAX_DEPTH);
    emit->has_member[++emit->depth] = false;
}

static void
end(struct emit *emit, struct weir_str bracket)
{
    bool was_empty = !emit->has_member[emit->depth];
    emit->depth--;
    if (!was_empty) {
        new_line(emit);
    }
    emit_raw(emit, bracket);
}

void
emit_object_begin(struct emit *emit)
{
    begin(emit, WEIR_STR("{"));
}

void
emit_object_end(struct emit *emit)
{
    end(emit, WEIR_STR("}"));
}

void
emit_list_begin(struct emit *emit)
{
    begin(emit, WEIR_STR("["));
}

void
emit_list_end(struct emit *emit)
{
    end(emit, WEIR_STR("]"));
}

/* Bytes that are not UTF-8 become U+FFFD: JSON has no way to carry them. */
static void
quoted(struct emit *emit, struct weir_str text)
{
    emit_raw(emit, WEIR_STR("\""));
    while (text.len > 0) {
        uint32_t point = 0;
        size_t bytes = source_decode(text, &point);
        if (bytes == 0) {
            emit_raw(emit, WEIR_STR("\xef\xbf\xbd"));
            bytes = 1;
        } else if (point == '"' || point == '\\') {
            emit_format(emit, "\\%c", (int)point);
        } else if (point < 0x20 || point == 0x7f) {
            emit_format(emit, "\\u%04x", point);
        } else {
            emit_raw(emit, weir_str_make(text.ptr, bytes));
        }
        text.ptr += bytes;
        text.len -= bytes;
    }
    emit_raw(emit, WEIR_STR("\""));
}

void
emit_key_str(struct emit *emit, struct weir_str key)
{
    before_value(emit);
    quoted(emit, key);
    emit_raw(emit, WEIR_STR(": "));
    emit->after_key = true;
}

void
emit_key(struct emit *emit, const char *key)
{
    emit_key_str(emit, weir_str_from(key));
}

void
emit_string(struct emit *emit, struct weir_str text)
{
    before_value(emit);
    quoted(emit, text);
}

void
emit_unsigned(struct emit *emit, uint64_t value)
{
    char digits[NUM_U64_DIGITS];
    before_value(emit);
    emit_raw(emit, weir_str_make(digits, num_format_u64(digits, value)));
}

void
emit_integer(struct emit *emit, int64_t value)
{
    before_value(emit);
    emit_format(emit, "%lld", (long long)value);
}

void
emit_bool(struct emit *emit, bool value)
{
    before_value(emit);
    emit_raw(emit, value ? WEIR_STR("true") : WEIR_STR("false"));
}

void
emit_null(struct emit *emit)
{
    before_value(emit);
    emit_raw(emit, WEIR_STR("null"));
}

void
emit_json(struct emit *emit, const char *json)
{
    before_value(emit);
    emit_raw(emit, weir_str_from(json));
}

void
emit_member_string(struct emit *emit, const char *key, const char *text)
{
    emit_key(emit, key);
    emit_string(emit, weir_str_from(text));
}

void
emit_member_bool(struct emit *emit, const char *key, bool value)
{
    emit_key(emit, key);
    emit_bool(emit, value);
}
