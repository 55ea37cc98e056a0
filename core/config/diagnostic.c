/* SPDX-License-Identifier: MIT */
/* The list of mistakes. It is bounded, and so is each text in it; sources are counted, so that
 * the lines can still be shown when the configuration is gone. */
#include "config/diagnostic.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX_BYTES  1024
#define ARENA_MAX_BYTES (4u << 20)

struct diagnostics {
    struct arena arena;
    struct diagnostic *items[DIAGNOSTICS_MAX];
    size_t count;
    size_t errors;  /* all, kept or not */
    size_t reports; /* and repetitions */
    struct diagnostic scratch;
    bool out_of_memory;
};

struct diagnostics *
diagnostics_new(void)
{
    struct diagnostics *diagnostics = calloc(1, sizeof(*diagnostics));
    if (diagnostics != NULL) {
        arena_init(&diagnostics->arena, NULL, 0, ARENA_MAX_BYTES);
    }
    return diagnostics;
}

void
diagnostics_free(struct diagnostics *diagnostics)
{
    if (diagnostics == NULL) {
        return;
    }
    for (size_t i = 0; i < diagnostics->count; i++) {
        source_unref(diagnostics->items[i]->place.source);
        source_unref(diagnostics->items[i]->other.source);
    }
    arena_reset(&diagnostics->arena);
    free(diagnostics);
}

/* A bounded copy in the arena; empty when there is no memory. */
static struct weir_str format_text(struct diagnostics *diagnostics, const char *format,
        va_list arguments) WEIR_PRINTF(2, 0);
static struct weir_str
format_text(struct diagnostics *diagnostics, const char *format, va_list arguments)
{
    char text[TEXT_MAX_BYTES];
    int len = vsnprintf(text, sizeof(text), format, arguments);
    size_t kept = len < 0 ? 0 : (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;
    struct weir_str copy = arena_copy(&diagnostics->arena, weir_str_make(text, kept));
    if (copy.ptr == NULL) {
        diagnostics->out_of_memory = true;
    }
    return copy;
}

static bool
is_same_place(const struct config_place *a, const struct config_place *b)
{
    return a->source == b->source && a->offset == b->offset && a->length == b->length;
}

static bool
is_known(const struct diagnostics *diagnostics, const struct diagnostic *diagnostic)
{
    for (size_t i = 0; i < diagnostics->count; i++) {
        const struct diagnostic *known = diagnostics->items[i];
        if (known->code == diagnostic->code &&
                is_same_place(&known->place, &diagnostic->place) &&
                weir_str_eq(known->message, diagnostic->message)) {
            return true;
        }
    }
    return false;
}

struct diagnostic *
diagnostics_vadd(struct diagnostics *diagnostics, enum diagnostic_code code,
        const struct config_place *place, const char *format, va_list arguments)
{
    static const struct config_place nowhere = { .source = NULL };
    struct diagnostic *scratch = &diagnostics->scratch;
    diagnostics->reports++;
    *scratch = (struct diagnostic){ .code = code, .place = place == NULL ? nowhere : *place };
    if (diagnostics->count == DIAGNOSTICS_MAX) {
        diagnostics->errors++;
        return scratch;
    }
    scratch->message = format_text(diagnostics, format, arguments);
    if (is_known(diagnostics, scratch)) {
        return scratch;
    }
    diagnostics->errors++;
    struct diagnostic *added = arena_zalloc(&diagnostics->arena, sizeof(*added));
    if (added == NULL) {
        diagnostics->out_of_memory = true;
        return scratch;
    }
    *added = *scratch;
    added->owner = diagnostics;
    if (added->place.source != NULL) {
        source_ref(added->place.source);
    }
    diagnostics->items[diagnostics->count++] = added;
    return added;
}

struct diagnostic *
diagnostics_ignore(struct diagnostics *diagnostics)
{
    diagnostics->reports++;
    diagnostics->scratch = (struct diagnostic){ .owner = NULL };
    return &diagnostics->scratch;
}

struct diagnostic *
diagnostics_add(struct diagnostics *diagnostics, enum diagnostic_code code,
        const struct config_place *place, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct diagnostic *added = diagnostics_vadd(diagnostics, code, place, format, arguments);
    va_end(arguments);
    return added;
}

/* The scratch has no owner: nothing is kept of it. */
#define SET_TEXT(field)                                                            \
    do {                                                                           \
        if (diagnostic->owner != NULL) {                                           \
            va_list arguments;                                                     \
            va_start(arguments, format);                                           \
            diagnostic->field = format_text(diagnostic->owner, format, arguments); \
            va_end(arguments);                                                     \
        }                                                                          \
    } while (0)

void
diagnostic_note(struct diagnostic *diagnostic, const char *format, ...)
{
    SET_TEXT(note);
}

void
diagnostic_hint(struct diagnostic *diagnostic, const char *format, ...)
{
    SET_TEXT(hint);
}

void
diagnostic_more(struct diagnostic *diagnostic, const char *format, ...)
{
    SET_TEXT(more);
}
#undef SET_TEXT

void
diagnostic_pointer(struct diagnostic *diagnostic, struct weir_str pointer)
{
    if (diagnostic->owner != NULL) {
        diagnostic->pointer = arena_copy(&diagnostic->owner->arena, pointer);
        diagnostic->owner->out_of_memory |= diagnostic->pointer.ptr == NULL;
    }
}

void
diagnostic_other(struct diagnostic *diagnostic, const struct config_place *place,
        const char *note)
{
    if (diagnostic->owner == NULL || place->source == NULL ||
            diagnostic->other.source != NULL) {
        return;
    }
    diagnostic->other = *place;
    source_ref(place->source);
    diagnostic->other_note = arena_copy(&diagnostic->owner->arena, weir_str_from(note));
    diagnostic->owner->out_of_memory |= diagnostic->other_note.ptr == NULL;
}

void
diagnostic_warn(struct diagnostic *diagnostic)
{
    if (diagnostic->owner != NULL && diagnostic->severity == DIAGNOSTIC_ERROR) {
        diagnostic->severity = DIAGNOSTIC_WARNING;
        diagnostic->owner->errors--;
    }
}

size_t
diagnostics_errors(const struct diagnostics *diagnostics)
{
    return diagnostics->errors;
}

size_t
diagnostics_reports(const struct diagnostics *diagnostics)
{
    return diagnostics->reports;
}

bool
diagnostics_is_incomplete(const struct diagnostics *diagnostics)
{
    return diagnostics->out_of_memory;
}

void
diagnostics_out_of_memory(struct diagnostics *diagnostics)
{
    diagnostics->out_of_memory = true;
}

size_t
diagnostics_count(const struct diagnostics *diagnostics)
{
    return diagnostics->count;
}

const struct diagnostic *
diagnostics_get(const struct diagnostics *diagnostics, size_t i)
{
    return diagnostics->items[i];
}

/* Files in the order they were read, what has no place last. */
static bool
comes_before(const struct diagnostic *a, const struct diagnostic *b)
{
    uint32_t a_order = a->place.source == NULL ? UINT32_MAX : a->place.source->order;
    uint32_t b_order = b->place.source == NULL ? UINT32_MAX : b->place.source->order;
    if (a_order != b_order) {
        return a_order < b_order;
    }
    return a->place.offset < b->place.offset;
}

void
diagnostics_sort(struct diagnostics *diagnostics)
{
    /* Stable, and nearly sorted already. */
    for (size_t i = 1; i < diagnostics->count; i++) {
        struct diagnostic *moving = diagnostics->items[i];
        size_t j = i;
        for (; j > 0 && comes_before(moving, diagnostics->items[j - 1]); j--) {
            diagnostics->items[j] = diagnostics->items[j - 1];
        }
        diagnostics->items[j] = moving;
    }
}

const char *
diagnostic_code_text(enum diagnostic_code code)
{
    switch (code) {
#define CODE(name, number, title) \
    case DIAGNOSTIC_##name:       \
        return "E0" #number;
        DIAGNOSTIC_CODES(CODE)
#undef CODE
    }
    return "E0000";
}

const char *
diagnostic_code_title(enum diagnostic_code code)
{
    switch (code) {
#define CODE(name, number, title) \
    case DIAGNOSTIC_##name:       \
        return title;
        DIAGNOSTIC_CODES(CODE)
#undef CODE
    }
    return "";
}
