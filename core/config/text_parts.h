/* SPDX-License-Identifier: MIT */
/* The reader that knows places, and what its parts share. Private to text*.c:
 *
 *     text.c          the tree, and jansson, which knows values
 *     text_cursor.c   bytes, and what stands where it does not belong
 *     text_extras.c   what JSON does not have: comments, trailing commas
 *     text_scalar.c   words, numbers, strings
 */
#ifndef WEIR_CONFIG_TEXT_PARTS_H
#define WEIR_CONFIG_TEXT_PARTS_H

#include "config/value.h"

struct text_reader {
    struct source *source;
    struct arena *arena;
    struct diagnostics *diagnostics;
    char *text; /* blanked copy, as long as the source's */
    size_t len, at;
    bool failed; /* a syntax mistake was reported */
    bool no_memory;
};

/* The cursor */

bool text_is_space(char c);
bool text_is_word(char c); /* of a word or number, or of what was meant for one */

/* The byte at the cursor; NUL at the end. */
char text_peek(const struct text_reader *reader);
void text_skip_space(struct text_reader *reader);
bool text_follows(const struct text_reader *reader, const char *word);

/* The word at the cursor, not cut at anything that could belong to it. */
struct weir_str text_word_here(const struct text_reader *reader);

/* The bytes of a typographic quote at the cursor; 0: there is none. */
size_t text_smart_quote(const struct text_reader *reader);

/* Reports */

struct config_place text_place(const struct text_reader *reader, size_t offset, size_t length);

/* Reports the one syntax mistake of a file, what follows it makes no sense. */
struct diagnostic *text_syntax(struct text_reader *reader, size_t offset, size_t length,
        const char *message);

/* What stands here is neither a value nor what was `expected`. */
void text_report_stray(struct text_reader *reader, const char *expected);

/* Blanks comments, and commas that stand before a closing bracket and after a value. */
void text_blank_extras(struct text_reader *reader);

/* Scalars: each moves over what stands at the cursor; false after a report. */

bool text_read_word(struct text_reader *reader, struct config_value *value);

/* RFC 8259 section 6, and whole numbers within 64 bits, as jansson takes them. */
bool text_read_number(struct text_reader *reader, struct config_value *value);

/* *raw is what stands between the quotes, *has_escape whether that is not the text itself. */
bool text_read_string(struct text_reader *reader, struct weir_str *raw, bool *has_escape);

#endif
