/* SPDX-License-Identifier: MIT */
/* Resolved once, on load: a secret file is read by whoever reads the configuration, before
 * privileges are dropped. */
#include "config/resolve.h"

#include <errno.h>
#include <stdlib.h>

#define ENV_OPEN  WEIR_STR("${env:")
#define FILE_OPEN WEIR_STR("$file:")

struct resolver {
    struct intake *intake;
    struct arena *arena;
    struct diagnostics *diagnostics;
    bool no_memory;
};

struct weir_str
resolve_path(struct arena *arena, const struct source *source, struct weir_str path)
{
    if (source == NULL || path.len == 0 || path.ptr[0] == '/') {
        return arena_copy(arena, path);
    }
    size_t directory = strlen(source->directory);
    bool has_slash = directory > 0 && source->directory[directory - 1] == '/';
    /* "." is the directory itself; "./x" is x in it. */
    if (weir_str_eq(path, WEIR_STR("."))) {
        return arena_copy(arena, weir_str_make(source->directory, directory));
    }
    while (weir_str_starts_with(path, WEIR_STR("./"))) {
        path = weir_str_make(path.ptr + 2, path.len - 2);
    }
    size_t len = directory + !has_slash + path.len;
    char *joined = arena_alloc(arena, len + 1);
    if (joined == NULL) {
        return weir_str_make(NULL, 0);
    }
    memcpy(joined, source->directory, directory);
    joined[directory] = '/';
    if (path.len > 0) {
        memcpy(joined + directory + !has_slash, path.ptr, path.len);
    }
    joined[len] = '\0';
    return weir_str_make(joined, len);
}

/* The part of the value's token that spells `part`, else all of it: escapes change lengths. */
static struct config_place
place_within(const struct config_value *value, struct weir_str part)
{
    struct config_place place = value->place;
    const char *token = place.source->text.ptr + place.offset;
    const char *found = memmem(token, place.length, part.ptr, part.len);
    if (found != NULL) {
        place.offset += (uint32_t)(found - token);
        place.length = (uint32_t)part.len;
    }
    return place;
}

static struct diagnostic *
report(struct resolver *resolver, enum diagnostic_code code, const struct config_value *value,
        struct weir_str part, const char *before, struct weir_str name, const char *after)
{
    struct config_value narrowed = *value;
    narrowed.place = place_within(value, part);
    return config_mistake(resolver->diagnostics, code, &narrowed, "%s\"%.*s\"%s", before,
            WEIR_STR_ARG(name), after);
}

static size_t
name_length(struct weir_str text)
{
    size_t len = 0;
    while (len < text.len &&
            ((text.ptr[len] >= 'A' && text.ptr[len] <= 'Z') ||
                    (text.ptr[len] >= 'a' && text.ptr[len] <= 'z') || text.ptr[len] == '_' ||
                    (len > 0 && text.ptr[len] >= '0' && text.ptr[len] <= '9'))) {
        len++;
    }
    return len;
}

/* One `${env:...}` at the front of `text`: sets *value_text and *used. False after a report. */
static bool
expand_one(struct resolver *resolver, const struct config_value *value, struct weir_str text,
        struct weir_str *value_text, size_t *used)
{
    const char *close = memchr(text.ptr, '}', text.len);
    struct weir_str whole = weir_str_make(text.ptr,
            close == NULL ? text.len : (size_t)(close - text.ptr) + 1);
    struct weir_str inner = weir_str_make(text.ptr + ENV_OPEN.len,
            whole.len - ENV_OPEN.len - (close != NULL));
    struct weir_str name = weir_str_make(inner.ptr, name_length(inner));
    struct weir_str rest = weir_str_make(inner.ptr + name.len, inner.len - name.len);
    bool has_preset = weir_str_starts_with(rest, WEIR_STR(":-"));
    if (close == NULL || name.len == 0 || (rest.len > 0 && !has_preset)) {
        struct diagnostic *d = report(resolver, DIAGNOSTIC_ENV_FORM, value, whole, "", whole,
                " is not a reference to the environment");
        diagnostic_hint(d, "write ${env:NAME} or ${env:NAME:-preset}");
        return false;
    }
    char key[256];
    if (weir_str_to_path(name, key, sizeof(key)) < 0) {
        report(resolver, DIAGNOSTIC_ENV_FORM, value, whole, "the variable's name ", name,
                " is too long");
        return false;
    }
    struct weir_str found;
    int r = intake_environment(resolver->intake, key, &found);
    if (r < 0) {
        resolver->no_memory |= r == -ENOMEM;
        struct diagnostic *d = report(resolver, DIAGNOSTIC_ENV_FORM, value, whole,
                "the variable ", name, " cannot be read");
        diagnostic_note(d, "%s", intake_error_text(r));
        return false;
    }
    *used = whole.len;
    if (has_preset && found.len == 0) {
        *value_text = weir_str_make(rest.ptr + 2, rest.len - 2);
        return true;
    }
    if (found.ptr == NULL) {
        struct diagnostic *d = report(resolver, DIAGNOSTIC_ENV_UNSET, value, whole,
                "the environment has no variable ", name, "");
        diagnostic_hint(d, "set it, or give a preset: ${env:%.*s:-...}", WEIR_STR_ARG(name));
        return false;
    }
    *value_text = found;
    return true;
}

static void
expand_environment(struct resolver *resolver, struct config_value *value)
{
    struct buf text;
    buf_init(&text, RESOLVE_MAX_BYTES);
    struct weir_str rest = value->string;
    int r = 0;
    bool ok = true;
    while (rest.len > 0 && ok && r == 0) {
        const char *open = memmem(rest.ptr, rest.len, ENV_OPEN.ptr, ENV_OPEN.len);
        size_t before = open == NULL ? rest.len : (size_t)(open - rest.ptr);
        r = buf_append(&text, weir_str_make(rest.ptr, before));
        rest = weir_str_make(rest.ptr + before, rest.len - before);
        if (open != NULL && r == 0) {
            struct weir_str value_text = weir_str_make("", 0);
            size_t used = rest.len;
            ok = expand_one(resolver, value, rest, &value_text, &used);
            r = ok ? buf_append(&text, value_text) : 0;
            rest = weir_str_make(rest.ptr + used, rest.len - used);
        }
    }
    if (r == -ENOBUFS) {
        config_mistake(resolver->diagnostics, DIAGNOSTIC_ENV_FORM, value,
                "with its variables this is longer than %d bytes", RESOLVE_MAX_BYTES);
    } else if (r < 0) {
        resolver->no_memory = true;
    } else if (ok) {
        struct weir_str copy = arena_copy(resolver->arena, buf_str(&text));
        resolver->no_memory |= copy.ptr == NULL;
        if (copy.ptr != NULL) {
            value->string = copy;
            value->is_expanded = true;
        }
    }
    buf_fini(&text);
}

static void
read_secret(struct resolver *resolver, struct config_value *value)
{
    struct weir_str name = weir_str_make(value->string.ptr + FILE_OPEN.len,
            value->string.len - FILE_OPEN.len);
    struct weir_str path = resolve_path(resolver->arena, value->place.source, name);
    char *text = malloc(RESOLVE_MAX_BYTES + 1);
    if (path.ptr == NULL || text == NULL) {
        resolver->no_memory = true;
        free(text);
        return;
    }
    ssize_t n = name.len == 0
            ? -ENOENT
            : intake_secret(resolver->intake, path.ptr, text, RESOLVE_MAX_BYTES + 1);
    if (n < 0) {
        resolver->no_memory |= n == -ENOMEM;
        struct diagnostic *d = config_mistake(resolver->diagnostics, DIAGNOSTIC_SECRET_FILE,
                value, "\"%.*s\" cannot be read", WEIR_STR_ARG(path));
        diagnostic_note(d, "%s",
                n == -EFBIG ? "it is larger than 64 KiB" : intake_error_text((int)n));
        free(text);
        return;
    }
    /* Editors end a file with a line break that is not meant. */
    size_t len = (size_t)n;
    len -= len > 0 && text[len - 1] == '\n';
    len -= len > 0 && text[len - 1] == '\r';
    if (memchr(text, '\0', len) != NULL) {
        config_mistake(resolver->diagnostics, DIAGNOSTIC_SECRET_FILE, value,
                "\"%.*s\" holds a NUL byte, it is no text", WEIR_STR_ARG(path));
    } else {
        struct weir_str copy = arena_copy(resolver->arena, weir_str_make(text, len));
        resolver->no_memory |= copy.ptr == NULL;
        if (copy.ptr != NULL) {
            value->string = copy;
            value->is_expanded = true;
        }
    }
    explicit_bzero(text, len);
    free(text);
}

/* ${HOME} as a shell writes it stays as it is, which is hardly meant. */
static void
warn_of_shell(struct resolver *resolver, const struct config_value *value)
{
    struct weir_str text = value->string;
    const char *open = text.len < 4 ? NULL : memmem(text.ptr, text.len, "${", 2);
    if (open == NULL) {
        return;
    }
    size_t left = text.len - (size_t)(open - text.ptr), len = 2;
    while (len < left && ((open[len] >= 'A' && open[len] <= 'Z') || open[len] == '_')) {
        len++;
    }
    if (len > 2 && len < left && open[len] == '}') {
        struct weir_str whole = weir_str_make(open, len + 1);
        struct diagnostic *d = report(resolver, DIAGNOSTIC_ENV_FORM, value, whole, "", whole,
                " is not a reference to the environment");
        diagnostic_warn(d);
        diagnostic_hint(d, "write ${env:%.*s} if that is meant", (int)(len - 2), open + 2);
    }
}

static void
resolve(struct resolver *resolver, struct config_value *value)
{
    switch (value->kind) {
    case CONFIG_STRING:
        if (weir_str_starts_with(value->string, FILE_OPEN)) {
            read_secret(resolver, value);
            value->is_broken = !value->is_expanded;
        } else if (memmem(value->string.ptr, value->string.len, ENV_OPEN.ptr, ENV_OPEN.len) !=
                NULL) {
            expand_environment(resolver, value);
            value->is_broken = !value->is_expanded;
        } else {
            warn_of_shell(resolver, value);
        }
        break;
    case CONFIG_LIST:
        for (uint32_t i = 0; i < value->count; i++) {
            resolve(resolver, (struct config_value *)(uintptr_t)value->items[i]);
        }
        break;
    case CONFIG_OBJECT:
        for (uint32_t i = 0; i < value->count; i++) {
            if (!config_is_note(value->members[i].key)) {
                resolve(resolver, (struct config_value *)(uintptr_t)value->members[i].value);
            }
        }
        break;
    case CONFIG_NULL:
    case CONFIG_FALSE:
    case CONFIG_TRUE:
    case CONFIG_INTEGER:
    case CONFIG_REAL:
        break;
    }
}

int
resolve_all(struct intake *intake, struct config_value *root, struct arena *arena,
        struct diagnostics *diagnostics)
{
    struct resolver resolver = { .intake = intake, .arena = arena, .diagnostics = diagnostics };
    resolve(&resolver, root);
    return resolver.no_memory ? -ENOMEM : 0;
}
