/* SPDX-License-Identifier: MIT */
/* Where the reader stands. What stands there without belonging is looked at once more, for what
 * was meant. */
#include "config/text_parts.h"

struct config_place
text_place(const struct text_reader *reader, size_t offset, size_t length)
{
    size_t left = reader->len - offset; /* what is missing stands after the last byte */
    return (struct config_place){ reader->source, (uint32_t)offset,
        (uint32_t)(length < left ? length : left) };
}

struct diagnostic *
text_syntax(struct text_reader *reader, size_t offset, size_t length, const char *message)
{
    struct config_place place = text_place(reader, offset, length);
    reader->failed = true;
    return diagnostics_add(reader->diagnostics, DIAGNOSTIC_SYNTAX, &place, "%s", message);
}

bool
text_is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool
text_is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            c == '_' || c == '-' || c == '.' || c == '$';
}

char
text_peek(const struct text_reader *reader)
{
    return reader->at < reader->len ? reader->text[reader->at] : '\0';
}

void
text_skip_space(struct text_reader *reader)
{
    while (reader->at < reader->len && text_is_space(reader->text[reader->at])) {
        reader->at++;
    }
}

bool
text_follows(const struct text_reader *reader, const char *word)
{
    size_t len = strlen(word);
    return reader->len - reader->at >= len && memcmp(reader->text + reader->at, word, len) == 0;
}

size_t
text_smart_quote(const struct text_reader *reader)
{
    static const char *const quotes[] = { "\xe2\x80\x9c", "\xe2\x80\x9d", "\xe2\x80\x98",
        "\xe2\x80\x99", "\xe2\x80\x9e", "\xc2\xab", "\xc2\xbb" };
    for (size_t i = 0; i < sizeof(quotes) / sizeof(quotes[0]); i++) {
        if (text_follows(reader, quotes[i])) {
            return strlen(quotes[i]);
        }
    }
    return 0;
}

struct weir_str
text_word_here(const struct text_reader *reader)
{
    size_t end = reader->at;
    while (end < reader->len && (text_is_word(reader->text[end]) || reader->text[end] == '+')) {
        end++;
    }
    return weir_str_make(reader->text + reader->at, end - reader->at);
}

void
text_report_stray(struct text_reader *reader, const char *expected)
{
    size_t quote = text_smart_quote(reader);
    struct weir_str word = text_word_here(reader);
    struct diagnostic *d;
    uint32_t point;
    size_t bytes = reader->at == reader->len
            ? 0
            : source_decode(weir_str_make(reader->text + reader->at, reader->len - reader->at),
                      &point);
    char c = text_peek(reader);

    if (reader->at == reader->len) {
        d = text_syntax(reader, reader->at, 0, "the file ends too early");
        diagnostic_note(d, "expected %s", expected);
    } else if (c == '\'' || c == '`') {
        d = text_syntax(reader, reader->at, 1, "JSON has no single quotes");
        diagnostic_hint(d, "write \" instead of %c", c);
    } else if (quote > 0) {
        d = text_syntax(reader, reader->at, quote, "typographic quotes do not delimit strings");
        diagnostic_hint(d, "write a straight \"");
    } else if (c == '#') {
        d = text_syntax(reader, reader->at, 1, "# begins no comment here");
        diagnostic_hint(d, "comments are // to the end of the line, or /* ... */");
    } else if (bytes == 0) {
        struct config_place place = text_place(reader, reader->at, 1);
        reader->failed = true;
        d = diagnostics_add(reader->diagnostics, DIAGNOSTIC_ENCODING, &place,
                "byte 0x%02X is not UTF-8", (unsigned char)c);
        diagnostic_hint(d, "save the file as UTF-8");
    } else if (word.len > 0) {
        struct config_place place = text_place(reader, reader->at, word.len);
        reader->failed = true;
        d = diagnostics_add(reader->diagnostics, DIAGNOSTIC_SYNTAX, &place,
                "\"%.*s\" stands here without quotes", WEIR_STR_ARG(word));
        diagnostic_note(d, "expected %s", expected);
        diagnostic_hint(d, "write \"%.*s\"", WEIR_STR_ARG(word));
    } else {
        d = text_syntax(reader, reader->at, bytes, "this does not belong here");
        diagnostic_note(d, "expected %s", expected);
    }
}
