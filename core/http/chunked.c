/* SPDX-License-Identifier: MIT */
/*
 *     SIZE --;--> EXTENSION --CR--> SIZE_LF --size > 0--> BYTES --> BYTES_CR --> BYTES_LF --+
 *       |                             ^ |                                                   |
 *       +------------CR---------------+ +--size 0--> TRAILER --empty line--> ENDED    SIZE <-+
 */
#include "http/chunked.h"

#include <errno.h>

#include "base/assert.h"
#include "base/num.h"
#include "http/field.h"

#define DIGITS_MAX 16u

void
chunked_init(struct chunked *chunked, const struct chunked_limits *limits)
{
    memset(chunked, 0, sizeof(*chunked));
    chunked->limits = *limits;
    chunked->state = CHUNKED_SIZE;
    buf_init(&chunked->trailers, limits->trailer_bytes);
}

void
chunked_fini(struct chunked *chunked)
{
    buf_fini(&chunked->trailers);
}

static enum chunked_result
step_size(struct chunked *chunked, char c)
{
    int digit = num_hex_digit(c);
    if (digit >= 0) {
        if (++chunked->digits > DIGITS_MAX) {
            return CHUNKED_BAD;
        }
        chunked->left_bytes = chunked->left_bytes << 4 | (uint64_t)digit;
        return CHUNKED_MORE;
    }
    if (chunked->digits == 0) {
        return CHUNKED_BAD;
    }
    if (c == '\r') {
        chunked->state = CHUNKED_SIZE_LF;
        return CHUNKED_MORE;
    }
    if (c == ';') {
        chunked->state = CHUNKED_EXTENSION;
        chunked->extension = EXTENSION_BEGIN;
        return CHUNKED_MORE;
    }
    return CHUNKED_BAD;
}

/* Where `c` leads within an extension; false: nowhere. */
static bool
step_within_extension(enum chunked_extension *at, char c)
{
    bool is_text = c == '\t' || ((unsigned char)c >= 0x20 && c != 0x7f);
    switch (*at) {
    case EXTENSION_BEGIN:
        *at = EXTENSION_NAME;
        return field_is_token_byte(c);
    case EXTENSION_EQUALS:
        *at = c == '"' ? EXTENSION_QUOTED : EXTENSION_TOKEN;
        return c == '"' || field_is_token_byte(c);
    case EXTENSION_QUOTED:
        *at = c == '"' ? EXTENSION_END : c == '\\' ? EXTENSION_ESCAPED : EXTENSION_QUOTED;
        return is_text;
    case EXTENSION_ESCAPED:
        *at = EXTENSION_QUOTED;
        return is_text;
    case EXTENSION_NAME:
        if (c == '=') {
            *at = EXTENSION_EQUALS;
            return true;
        }
        break;
    case EXTENSION_TOKEN:
    case EXTENSION_END:
        break;
    }
    if (c == ';') {
        *at = EXTENSION_BEGIN;
        return true;
    }
    return *at != EXTENSION_END && field_is_token_byte(c);
}

static enum chunked_result
step_extension(struct chunked *chunked, char c)
{
    enum chunked_extension *at = &chunked->extension;
    if (c == '\r' &&
            (*at == EXTENSION_NAME || *at == EXTENSION_TOKEN || *at == EXTENSION_END)) {
        chunked->state = CHUNKED_SIZE_LF;
        return CHUNKED_MORE;
    }
    if (++chunked->extension_bytes > CHUNKED_EXTENSIONS_MAX) {
        return CHUNKED_EXTENSIONS_TOO_LONG;
    }
    return step_within_extension(at, c) ? CHUNKED_MORE : CHUNKED_BAD;
}

static enum chunked_result
step_size_lf(struct chunked *chunked, char c)
{
    if (c != '\n') {
        return CHUNKED_BAD;
    }
    if (chunked->left_bytes > chunked->limits.body_bytes) {
        return CHUNKED_TOO_LONG;
    }
    chunked->limits.body_bytes -= chunked->left_bytes;
    chunked->state = chunked->left_bytes > 0 ? CHUNKED_BYTES : CHUNKED_TRAILER;
    chunked->digits = 0;
    return CHUNKED_MORE;
}

/* A trailer line as far as it has come: by its length first, as it comes byte by byte, and
 * then, when it is whole, by its grammar. */
static enum chunked_result
check_trailer(struct chunked *chunked, struct weir_str line)
{
    bool is_whole = line.ptr[line.len - 1] == '\n';
    line.len -= is_whole;
    bool has_cr = line.len > 0 && line.ptr[line.len - 1] == '\r';
    line.len -= has_cr;
    if (line.len > chunked->limits.trailer_line_bytes) {
        return CHUNKED_TRAILERS_TOO_LONG;
    }
    if (!is_whole) {
        return CHUNKED_MORE;
    }
    if (!has_cr) {
        return CHUNKED_BAD;
    }
    if (line.len == 0) {
        return CHUNKED_DONE;
    }
    if (++chunked->trailer_fields > chunked->limits.trailer_fields) {
        return CHUNKED_TRAILERS_TOO_LONG;
    }
    const char *colon = memchr(line.ptr, ':', line.len);
    if (colon == NULL) {
        return CHUNKED_BAD;
    }
    size_t name_len = (size_t)(colon - line.ptr);
    bool ok = field_name_is_valid(weir_str_make(line.ptr, name_len)) &&
            field_value_is_valid(weir_str_make(colon + 1, line.len - name_len - 1));
    return ok ? CHUNKED_MORE : CHUNKED_BAD;
}

/* Appends input up to the next LF and judges the line. */
static enum chunked_result
step_trailer(struct chunked *chunked, struct weir_str *input)
{
    const char *lf = memchr(input->ptr, '\n', input->len);
    size_t len = lf == NULL ? input->len : (size_t)(lf - input->ptr) + 1;
    int r = buf_append(&chunked->trailers, weir_str_make(input->ptr, len));
    if (r < 0) {
        return r == -ENOMEM ? CHUNKED_OUT_OF_MEMORY : CHUNKED_TRAILERS_TOO_LONG;
    }
    input->ptr += len;
    input->len -= len;

    struct weir_str line = buf_str(&chunked->trailers);
    line.ptr += chunked->line_at;
    line.len -= chunked->line_at;
    enum chunked_result result = check_trailer(chunked, line);
    if (lf != NULL) {
        chunked->line_at += line.len;
    }
    if (result == CHUNKED_DONE) {
        chunked->state = CHUNKED_ENDED;
    }
    return result;
}

enum chunked_result
chunked_step(struct chunked *chunked, struct weir_str *input, struct weir_str *data)
{
    WEIR_ASSERT(chunked->state != CHUNKED_ENDED);
    while (input->len > 0) {
        enum chunked_result result = CHUNKED_MORE;
        if (chunked->state == CHUNKED_BYTES) {
            size_t len = input->len < chunked->left_bytes ? input->len
                                                          : (size_t)chunked->left_bytes;
            *data = weir_str_make(input->ptr, len);
            input->ptr += len;
            input->len -= len;
            chunked->left_bytes -= len;
            if (chunked->left_bytes == 0) {
                chunked->state = CHUNKED_BYTES_CR;
            }
            return CHUNKED_DATA;
        }
        if (chunked->state == CHUNKED_TRAILER) {
            result = step_trailer(chunked, input);
            if (result != CHUNKED_MORE) {
                return result;
            }
            continue;
        }
        char c = *input->ptr;
        switch (chunked->state) {
        case CHUNKED_SIZE:
            result = step_size(chunked, c);
            break;
        case CHUNKED_EXTENSION:
            result = step_extension(chunked, c);
            break;
        case CHUNKED_SIZE_LF:
            result = step_size_lf(chunked, c);
            break;
        case CHUNKED_BYTES_CR:
            result = c == '\r' ? CHUNKED_MORE : CHUNKED_BAD;
            chunked->state = CHUNKED_BYTES_LF;
            break;
        case CHUNKED_BYTES_LF:
            result = c == '\n' ? CHUNKED_MORE : CHUNKED_BAD;
            chunked->state = CHUNKED_SIZE;
            break;
        case CHUNKED_BYTES:
        case CHUNKED_TRAILER:
        case CHUNKED_ENDED:
            break;
        }
        if (result != CHUNKED_MORE) {
            return result;
        }
        input->ptr++;
        input->len--;
    }
    return CHUNKED_MORE;
}

bool
chunked_next_trailer(struct weir_str *rest, struct weir_str *name, struct weir_str *value)
{
    const char *lf;
    while (rest->len > 2 && (lf = memchr(rest->ptr, '\n', rest->len)) != NULL) {
        const char *line = rest->ptr;
        size_t len = (size_t)(lf - line) + 1;
        rest->ptr += len;
        rest->len -= len;
        const char *colon = memchr(line, ':', len);
        if (colon == NULL) {
            return false; /* the empty line at the end */
        }
        *name = weir_str_make(line, (size_t)(colon - line));
        *value = weir_str_trim(weir_str_make(colon + 1, (size_t)(lf - 1 - (colon + 1))));
        if (field_may_be_trailer(field_id_find(*name))) {
            return true;
        }
    }
    return false;
}
