/* SPDX-License-Identifier: MIT */
/* What a configuration file says, as a tree that knows its places. Read-only once made; lives
 * in the arena of whoever loaded it, and points into sources that outlive it there. Merging
 * makes new lists and objects of old members, so that each value still knows where it was
 * written. */
#ifndef WEIR_CONFIG_VALUE_H
#define WEIR_CONFIG_VALUE_H

#include <stdint.h>

#include "base/arena.h"
#include "config/diagnostic.h"
#include "config/source.h"

/* How deep lists and objects may nest in a file. */
#define CONFIG_MAX_DEPTH 48

enum config_kind {
    CONFIG_NULL,
    CONFIG_FALSE,
    CONFIG_TRUE,
    CONFIG_INTEGER,
    CONFIG_REAL, /* `string` is how it was written: no option takes one */
    CONFIG_STRING,
    CONFIG_LIST,
    CONFIG_OBJECT,
};

struct config_member {
    struct weir_str key;
    const struct config_value *value;
};

struct config_value {
    enum config_kind kind;
    bool is_expanded; /* came out of ${env:...} or $file: it is read as the option's type */
    bool is_broken;   /* a mistake in it was reported: nothing more is said about it */
    uint32_t count;   /* of a list or object */
    union {
        int64_t integer;
        struct weir_str string; /* terminated */
        const struct config_value **items;
        struct config_member *members; /* in the order of the file */
    };

    /* Where it was written. */
    const struct config_value *parent; /* NULL: a whole file */
    struct weir_str key;               /* in the parent; .ptr NULL in a list */
    uint32_t index;                    /* in the parent, when that is a list */
    struct config_place place;
    struct config_place key_place; /* .source NULL in a list */
};

/* NULL when absent, or when `object` is NULL or no object. */
const struct config_value *config_find(const struct config_value *object, struct weir_str key);
const struct config_value *config_find_name(const struct config_value *object, const char *key);

/* The same content, wherever it stands; members in the same order. */
bool config_is_equal(const struct config_value *a, const struct config_value *b);

/* "a string", "an object", ... */
const char *config_kind_text(enum config_kind kind);

/* Appends the JSON pointer (RFC 6901) of `value`. Returns 0 or what buf_append() does. */
WEIR_MUST_USE int config_pointer(const struct config_value *value, struct buf *out);

/* A key that is a note: begins with "x-". */
bool config_is_note(struct weir_str key);

/* Lists and objects that were not written: `like` gives the place (NULL: none). NULL when there
 * is no memory. */
struct config_value *config_list_new(struct arena *arena, const struct config_value *like,
        size_t capacity);
struct config_value *config_object_new(struct arena *arena, const struct config_value *like,
        size_t capacity);
void config_list_add(struct config_value *list, const struct config_value *item);
void config_object_add(struct config_value *object, struct weir_str key,
        const struct config_value *value);

/* A mistake at a value, or at its key where it has one; with the pointer filled in. A mistake
 * about a key points at the object that holds it, as in CONFIG.md. */
struct diagnostic *config_mistake(struct diagnostics *diagnostics, enum diagnostic_code code,
        const struct config_value *at, const char *format, ...) WEIR_PRINTF(4, 5);
struct diagnostic *config_key_mistake(struct diagnostics *diagnostics,
        enum diagnostic_code code, const struct config_value *at, const char *format, ...)
        WEIR_PRINTF(4, 5);

/* The place of the key when there is one, else of the value. */
const struct config_place *config_key_place(const struct config_value *value);

#endif
