/* SPDX-License-Identifier: MIT */
/* Blanked in place, so that positions stay true. */
#include "config/text_parts.h"

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
skip_string(const struct text_reader *reader, size_t at)
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

void
text_blank_extras(struct text_reader *reader)
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
                struct config_place place = text_place(reader, i, 2);
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
            } else if (!text_is_space(c)) {
                comma = SIZE_MAX;
            }
            before = text_is_space(c) ? before : c;
            i++;
        }
    }
}
