/* SPDX-License-Identifier: MIT */
/* Included files may hold lists and named things only, and include nothing themselves: there is
 * no cycle to follow. Files come in sorted order of their names' bytes, each once. */
#include "config/document.h"

#include <errno.h>
#include <stdlib.h>

#include "base/map.h"
#include "config/resolve.h"
#include "config/text.h"

/* The keys whose contents add up over files, and that an included file may have. */
static const char *const shared_keys[] = { "modules", "listeners", "upstreams", "servers" };

#define SHARED_KEYS (sizeof(shared_keys) / sizeof(shared_keys[0]))

struct loading {
    struct intake *intake;
    struct arena *arena;
    struct diagnostics *diagnostics;
    const struct source **sources;     /* owned; those read so far */
    const struct config_value **roots; /* owned; theirs, NULL for one that did not parse */
    size_t count;
    bool no_memory;
};

static void
drop_source(void *source)
{
    source_unref(source);
}

static void
report_unreadable(struct loading *loading, const struct config_value *from, const char *path,
        int error)
{
    enum diagnostic_code code = error == -EFBIG || error == -ENOBUFS
            ? DIAGNOSTIC_FILE_SIZE
            : DIAGNOSTIC_FILE_UNREADABLE;
    if (from == NULL) {
        diagnostics_add(loading->diagnostics, code, NULL, "\"%s\" cannot be read: %s", path,
                intake_error_text(error));
        return;
    }
    struct diagnostic *d = config_mistake(loading->diagnostics, code, from,
            "\"%s\" cannot be read", path);
    diagnostic_note(d, "%s", intake_error_text(error));
}

/* Parses `source`, whose reference it takes over, as the next file. */
static void
add_source(struct loading *loading, struct source *source)
{
    struct config_value *root = NULL;
    source->order = (uint32_t)loading->count;
    if (arena_defer(loading->arena, drop_source, source) < 0) {
        source_unref(source);
        loading->no_memory = true;
        return;
    }
    int r = text_parse(source, loading->arena, loading->diagnostics, &root);
    if (r == 0) {
        r = resolve_all(loading->intake, root, loading->arena, loading->diagnostics);
    }
    loading->no_memory |= r == -ENOMEM;
    loading->sources[loading->count] = source;
    loading->roots[loading->count++] = r == 0 ? root : NULL;
}

static bool
is_loaded(const struct loading *loading, const struct source *source)
{
    for (size_t i = 0; i < loading->count; i++) {
        if (loading->sources[i]->inode == source->inode && source->inode != 0 &&
                loading->sources[i]->device == source->device) {
            return true;
        }
    }
    return false;
}

/* Reads the file that the include `from` names or found. */
static void
include_file(struct loading *loading, const struct config_value *from, const char *path)
{
    struct source *source;
    if (loading->count == DOCUMENT_MAX_FILES) {
        config_mistake(loading->diagnostics, DIAGNOSTIC_INCLUDE, from,
                "more than %d files are included", DOCUMENT_MAX_FILES);
        return;
    }
    int r = intake_source(loading->intake, path, &source);
    if (r == -ENOMEM) {
        loading->no_memory = true;
    } else if (r < 0) {
        report_unreadable(loading, from, path, r);
    } else if (source->inode == loading->sources[0]->inode &&
            source->device == loading->sources[0]->device) {
        struct diagnostic *d = config_mistake(loading->diagnostics, DIAGNOSTIC_INCLUDE, from,
                "the file includes itself");
        diagnostic_hint(d, "keep included files in a directory of their own");
        source_unref(source);
    } else if (is_loaded(loading, source)) {
        source_unref(source); /* two patterns found it */
    } else {
        add_source(loading, source);
    }
}

static bool
has_wildcard(struct weir_str pattern)
{
    for (size_t i = 0; i < pattern.len; i++) {
        if (strchr("*?[", pattern.ptr[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static void
include_pattern(struct loading *loading, const struct config_value *from)
{
    if (from->kind != CONFIG_STRING || from->string.len == 0) {
        config_mistake(loading->diagnostics, DIAGNOSTIC_TYPE, from,
                "\"include\" takes paths of files, this is %s",
                from->kind == CONFIG_STRING ? "empty" : config_kind_text(from->kind));
        return;
    }
    struct weir_str pattern = resolve_path(loading->arena, from->place.source, from->string);
    if (pattern.ptr == NULL) {
        loading->no_memory = true;
        return;
    }
    if (!has_wildcard(from->string)) {
        include_file(loading, from, pattern.ptr);
        return;
    }
    struct intake_paths found;
    int r = intake_glob(loading->intake, pattern.ptr, &found);
    if (r == -ENOMEM) {
        loading->no_memory = true;
    } else if (r == -E2BIG) {
        config_mistake(loading->diagnostics, DIAGNOSTIC_INCLUDE, from,
                "\"%.*s\" finds more than %d files", WEIR_STR_ARG(pattern), INTAKE_MAX_PATHS);
    } else if (r < 0) {
        struct diagnostic *d = config_mistake(loading->diagnostics, DIAGNOSTIC_INCLUDE, from,
                "the directory of \"%.*s\" cannot be read", WEIR_STR_ARG(pattern));
        diagnostic_note(d, "%s", intake_error_text(r));
    } else {
        for (size_t i = 0; i < found.count && !loading->no_memory; i++) {
            include_file(loading, from, found.items[i]);
        }
        intake_paths_free(&found);
    }
}

static void
follow_includes(struct loading *loading)
{
    const struct config_value *include = config_find_name(loading->roots[0], "include");
    if (include == NULL) {
        return;
    }
    if (include->kind != CONFIG_LIST) {
        include_pattern(loading, include);
        return;
    }
    for (uint32_t i = 0; i < include->count && !loading->no_memory; i++) {
        include_pattern(loading, include->items[i]);
    }
}

static void
check_included_keys(struct loading *loading, const struct config_value *root)
{
    for (uint32_t i = 0; i < root->count; i++) {
        struct weir_str key = root->members[i].key;
        bool is_allowed = config_is_note(key) || weir_str_eq(key, WEIR_STR("$schema"));
        for (size_t j = 0; j < SHARED_KEYS; j++) {
            is_allowed = is_allowed || weir_str_eq(key, weir_str_from(shared_keys[j]));
        }
        if (!is_allowed) {
            struct diagnostic *d = config_key_mistake(loading->diagnostics,
                    DIAGNOSTIC_INCLUDE_KEY, root->members[i].value,
                    "\"%.*s\" cannot stand in an included file",
                    (int)(key.len < 200 ? key.len : 200), key.ptr);
            diagnostic_more(d, "allowed: modules, listeners, upstreams, servers");
        }
    }
}

/* Entries of the shared key `key` in all files; at least as many as add_shared() adds. */
static size_t
count_shared(const struct loading *loading, const char *key)
{
    size_t count = 0;
    for (size_t i = 0; i < loading->count; i++) {
        const struct config_value *value = config_find_name(loading->roots[i], key);
        count += value == NULL ? 0 : value->count;
    }
    return count;
}

static void
add_named(struct loading *loading, struct config_value *all, struct map *names,
        const struct config_member *member)
{
    const struct config_value *first = map_find(names, member->key);
    if (first == NULL) {
        config_object_add(all, member->key, member->value);
        loading->no_memory |= map_set(names, member->key, (void *)(uintptr_t)member->value) < 0;
        return;
    }
    struct diagnostic *d = config_key_mistake(loading->diagnostics, DIAGNOSTIC_NAME_TWICE,
            member->value, "the name \"%.*s\" is given twice",
            (int)(member->key.len < 200 ? member->key.len : 200), member->key.ptr);
    diagnostic_other(d, config_key_place(first), "first given here");
}

/* The sum of one shared key over all files; of two kinds the first file's counts. */
static const struct config_value *
sum_shared(struct loading *loading, const char *key)
{
    const struct config_value *first = NULL;
    for (size_t i = 0; i < loading->count && first == NULL; i++) {
        first = config_find_name(loading->roots[i], key);
    }
    bool is_list = first != NULL && first->kind == CONFIG_LIST;
    if (first == NULL || (!is_list && first->kind != CONFIG_OBJECT)) {
        return first; /* the reader of the key says what it takes */
    }
    size_t count = count_shared(loading, key);
    struct config_value *all = is_list ? config_list_new(loading->arena, first, count)
                                       : config_object_new(loading->arena, first, count);
    if (all == NULL) {
        loading->no_memory = true;
        return NULL;
    }
    struct map names;
    map_init(&names);
    for (size_t i = 0; i < loading->count; i++) {
        const struct config_value *value = config_find_name(loading->roots[i], key);
        if (value == NULL) {
            continue;
        }
        if (value->kind != first->kind) {
            config_mistake(loading->diagnostics, DIAGNOSTIC_TYPE, value,
                    "\"%s\" is %s, this is %s", key, config_kind_text(first->kind),
                    config_kind_text(value->kind));
            continue;
        }
        for (uint32_t j = 0; j < value->count; j++) {
            if (is_list) {
                config_list_add(all, value->items[j]);
            } else {
                add_named(loading, all, &names, &value->members[j]);
            }
        }
    }
    map_fini(&names);
    return all;
}

static bool
is_shared(struct weir_str key)
{
    for (size_t i = 0; i < SHARED_KEYS; i++) {
        if (weir_str_eq(key, weir_str_from(shared_keys[i]))) {
            return true;
        }
    }
    return false;
}

/* The main file's own keys, and the sums. NULL without memory. */
static const struct config_value *
put_together(struct loading *loading)
{
    const struct config_value *main_root = loading->roots[0];
    if (loading->count == 1) {
        return main_root;
    }
    struct config_value *root = config_object_new(loading->arena, main_root,
            main_root->count + SHARED_KEYS);
    if (root == NULL) {
        loading->no_memory = true;
        return NULL;
    }
    for (size_t i = 1; i < loading->count; i++) {
        if (loading->roots[i] != NULL) {
            check_included_keys(loading, loading->roots[i]);
        }
    }
    for (uint32_t i = 0; i < main_root->count; i++) {
        if (!is_shared(main_root->members[i].key)) {
            config_object_add(root, main_root->members[i].key, main_root->members[i].value);
        }
    }
    for (size_t i = 0; i < SHARED_KEYS; i++) {
        const struct config_value *sum = sum_shared(loading, shared_keys[i]);
        if (sum != NULL) {
            config_object_add(root, weir_str_from(shared_keys[i]), sum);
        }
    }
    return root;
}

/* Takes over the main file's reference. */
static int
load(struct intake *intake, struct source *source, struct arena *arena,
        struct diagnostics *diagnostics, const struct config_value **out)
{
    struct loading loading = { .intake = intake, .arena = arena, .diagnostics = diagnostics };
    loading.sources = calloc(DOCUMENT_MAX_FILES, sizeof(*loading.sources));
    loading.roots = calloc(DOCUMENT_MAX_FILES, sizeof(*loading.roots));
    const struct config_value *root = NULL;
    if (loading.sources == NULL || loading.roots == NULL) {
        source_unref(source);
        loading.no_memory = true;
    } else {
        add_source(&loading, source);
    }
    if (!loading.no_memory && loading.roots[0] != NULL) {
        follow_includes(&loading);
        root = loading.no_memory ? NULL : put_together(&loading);
    }
    free(loading.sources);
    free(loading.roots);
    if (loading.no_memory) {
        return -ENOMEM;
    }
    if (root == NULL) {
        return -EINVAL;
    }
    *out = root;
    return 0;
}

int
document_load(struct intake *intake, const char *path, struct arena *arena,
        struct diagnostics *diagnostics, const struct config_value **out)
{
    struct source *source;
    int r = intake_source(intake, path, &source);
    if (r == -ENOMEM) {
        return r;
    }
    if (r < 0) {
        struct loading loading = { .arena = arena, .diagnostics = diagnostics };
        report_unreadable(&loading, NULL, path, r);
        return -EINVAL;
    }
    return load(intake, source, arena, diagnostics, out);
}

int
document_load_text(const char *name, struct weir_str text, struct arena *arena,
        struct diagnostics *diagnostics, const struct config_value **out)
{
    struct source *source;
    int r = source_from_text(name, text, &source);
    if (r == -EFBIG) {
        struct loading loading = { .arena = arena, .diagnostics = diagnostics };
        report_unreadable(&loading, NULL, name, r);
        return -EINVAL;
    }
    if (r < 0) {
        return r;
    }
    struct intake intake;
    intake_init(&intake, false);
    r = load(&intake, source, arena, diagnostics, out);
    intake_fini(&intake);
    return r;
}
