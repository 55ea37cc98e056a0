/* SPDX-License-Identifier: MIT */
/* Writing JSON and text for people into a buffer. A failure is remembered in the buffer's
 * writer and answered once, at the end. */
#ifndef WEIR_CONFIG_EMIT_H
#define WEIR_CONFIG_EMIT_H

#include <stdint.h>

#include <weir/str.h>

#include "base/buf.h"

#define EMIT_MAX_DEPTH 96

struct emit {
    struct buf *out; /* borrowed */
    int error;       /* the first one; 0 */
    unsigned depth;
    bool has_member[EMIT_MAX_DEPTH]; /* something stands before on this level */
    bool after_key;
};

void emit_init(struct emit *emit, struct buf *out);

/* Bytes as they are. */
void emit_raw(struct emit *emit, struct weir_str text);
void emit_format(struct emit *emit, const char *format, ...) WEIR_PRINTF(2, 3);

/* Text for a terminal or a log: control, direction and format characters are escaped, and so
 * are bytes that are not UTF-8. Tabs stay when `keep_tabs`. Returns the columns written. */
size_t emit_escaped(struct emit *emit, struct weir_str text, bool keep_tabs);

/* JSON, indented by two. */
void emit_object_begin(struct emit *emit);
void emit_object_end(struct emit *emit);
void emit_list_begin(struct emit *emit);
void emit_list_end(struct emit *emit);
void emit_key(struct emit *emit, const char *key);
void emit_key_str(struct emit *emit, struct weir_str key);
void emit_string(struct emit *emit, struct weir_str text);
void emit_integer(struct emit *emit, int64_t value);
void emit_unsigned(struct emit *emit, uint64_t value);
void emit_bool(struct emit *emit, bool value);
void emit_null(struct emit *emit);
void emit_json(struct emit *emit, const char *json); /* a whole value, as it is */

/* Short for members of an object. */
void emit_member_string(struct emit *emit, const char *key, const char *text);
void emit_member_bool(struct emit *emit, const char *key, bool value);

#endif
