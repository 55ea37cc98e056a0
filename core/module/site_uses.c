/* SPDX-License-Identifier: MIT */
/* An entry of a list is known by its `as`, or its handler's name. What an inner list says about
 * a known entry reconfigures or removes it in its place; anything else goes to the end. */
#include "module/site_uses.h"

#include <errno.h>
#include <stdlib.h>

#include "module/loader.h"

/* Hooks of one summed list. */
#define USES_MAX 1000

void
uses_init(struct uses_builder *uses, struct schema *schema, struct zone_list *zones)
{
    *uses = (struct uses_builder){ .schema = schema, .zones = zones };
    map_init(&uses->handlers);
    map_init(&uses->missing);
    map_init(&uses->confs);
}

void
uses_fini(struct uses_builder *uses)
{
    map_fini(&uses->handlers);
    map_fini(&uses->missing);
    map_fini(&uses->confs);
    free(uses->made);
}

void *
uses_allocate(struct uses_builder *uses, size_t count, size_t bytes)
{
    void *memory = arena_array(uses->schema->arena, count, bytes);
    uses->schema->no_memory |= memory == NULL;
    return memory;
}

void
uses_set(struct uses_builder *uses, struct map *map, struct weir_str key, const void *value)
{
    if (map_set(map, key, (void *)(uintptr_t)value) < 0) {
        uses->schema->no_memory = true;
    }
}

int
uses_cut(struct weir_str text)
{
    return (int)(text.len < 100 ? text.len : 100);
}

/* Where a handler may stand */

#define CONNECTION_PHASES (1u << WEIR_ON_ACCEPT | 1u << WEIR_ON_OPEN | 1u << WEIR_ON_CLOSE)
#define SERVER_PHASES     (1u << WEIR_ON_HEAD | 1u << WEIR_ON_REWRITE)

static unsigned
phases_of(const struct weir_handler *handler)
{
    unsigned phases = 0;
    for (size_t i = 0; i < handler->hooks.count; i++) {
        phases |= 1u << handler->hooks.items[i].on;
    }
    return phases;
}

static struct diagnostic *
misplaced(struct uses_builder *uses, enum diagnostic_code code, const struct uses_entry *entry,
        const char *why)
{
    return config_key_mistake(uses->schema->diagnostics, code, entry->where, "\"%s\" %s",
            entry->declared->handler->name, why);
}

static bool
may_be_used(struct uses_builder *uses, const struct uses_entry *entry, enum uses_level level)
{
    unsigned phases = phases_of(entry->declared->handler);
    if (phases == 1u << WEIR_ON_CONTENT) {
        struct diagnostic *d = misplaced(uses, DIAGNOSTIC_HANDLER_PLACE, entry,
                "makes answers; it is no hook");
        diagnostic_hint(d, "put it under \"handle\" of a route");
        return false;
    }
    phases &= ~(1u << WEIR_ON_CONTENT);
    if (phases == 0 || level == USES_LISTENER) {
        return true;
    }
    if ((phases & ~CONNECTION_PHASES) == 0) {
        struct diagnostic *d = misplaced(uses, DIAGNOSTIC_SCOPE, entry,
                "runs before a server is known");
        diagnostic_hint(d, "put it in \"use\" of \"defaults\" or a listener");
        return false;
    }
    if (level == USES_ROUTE && (phases & ~(CONNECTION_PHASES | SERVER_PHASES)) == 0) {
        struct diagnostic *d = misplaced(uses, DIAGNOSTIC_SCOPE, entry,
                "runs before a route is known");
        diagnostic_hint(d, "put it in \"use\" of \"defaults\", a listener or a server");
        return false;
    }
    return true;
}

/* Summing lists */

struct summing {
    struct site_use *items;
    size_t count;
    const struct config_value **mentions; /* in this layer, by index; NULL: only outer ones */
};

static size_t
find_use(const struct summing *sum, struct weir_str name)
{
    size_t i = 0;
    while (i < sum->count && !weir_str_eq(sum->items[i].name, name)) {
        i++;
    }
    return i;
}

static bool
is_final(struct uses_builder *uses, const struct site_use *use, const struct uses_entry *entry)
{
    if (use->final_at == NULL) {
        return false;
    }
    struct diagnostic *d = misplaced(uses, DIAGNOSTIC_FINAL, entry,
            entry->is_removal ? "is final and cannot be removed"
                              : "is final and cannot be changed");
    diagnostic_other(d, config_key_place(use->where), "made final here");
    return true;
}

static void
remove_use(struct uses_builder *uses, struct summing *sum, size_t i,
        const struct uses_entry *entry)
{
    if (i == sum->count) {
        struct diagnostic *d = misplaced(uses, DIAGNOSTIC_REMOVES_NOTHING, entry,
                "is not in use here: nothing to remove");
        diagnostic_warn(d);
        return;
    }
    if (is_final(uses, &sum->items[i], entry)) {
        return;
    }
    sum->count--;
    memmove(&sum->items[i], &sum->items[i + 1], (sum->count - i) * sizeof(*sum->items));
    memmove(&sum->mentions[i], &sum->mentions[i + 1],
            (sum->count - i) * sizeof(*sum->mentions));
}

static void
add_use(struct uses_builder *uses, struct summing *sum, const struct uses_entry *entry)
{
    size_t i = find_use(sum, entry->name);
    const struct weir_options *options = &entry->declared->handler->options;
    struct site_use *use = &sum->items[i];
    if (i < sum->count && sum->mentions[i] != NULL) {
        struct diagnostic *d = misplaced(uses, DIAGNOSTIC_USE_TWICE, entry,
                "is given twice in one list");
        diagnostic_hint(d, "give one of them a name of its own: \"as\"");
        diagnostic_other(d, config_key_place(sum->mentions[i]), "first given here");
        return;
    }
    if (entry->is_removal) {
        remove_use(uses, sum, i, entry);
        return;
    }
    if (i == sum->count) {
        sum->count++;
        *use = (struct site_use){ .name = entry->name,
            .where = entry->where,
            .final_at = entry->final_at,
            .merged = schema_merge(uses->schema, options, entry->declared->defaults,
                    entry->options) };
        /* Its handler is in `conf`, for which a placeholder stands until uses_finish(). */
        struct site_conf *pending = uses_allocate(uses, 1, sizeof(*pending));
        if (pending == NULL) {
            sum->count--;
            return;
        }
        *pending = (struct site_conf){ .module = entry->declared->module,
            .handler = entry->declared->handler };
        use->conf = pending;
        sum->mentions[i] = entry->where;
        return;
    }
    if (use->conf->handler != entry->declared->handler) {
        struct diagnostic *d = misplaced(uses, DIAGNOSTIC_NAME_TWICE, entry,
                "has the name of another handler's use");
        diagnostic_other(d, config_key_place(use->where), "the other use");
        return;
    }
    if (is_final(uses, use, entry)) {
        return;
    }
    sum->mentions[i] = entry->where;
    use->final_at = entry->final_at;
    if (entry->options != NULL) {
        struct site_conf *pending = uses_allocate(uses, 1, sizeof(*pending));
        if (pending == NULL) {
            return;
        }
        *pending = (struct site_conf){ .module = use->conf->module,
            .handler = use->conf->handler };
        use->conf = pending;
        use->merged = schema_merge(uses->schema, options, use->merged, entry->options);
    }
}

void
uses_apply(struct uses_builder *uses, const struct config_value *use, enum uses_level level,
        struct site_uses *list)
{
    if (use == NULL || use->kind == CONFIG_NULL) {
        return;
    }
    const struct config_value *entries = schema_as_list(uses->schema, use);
    if (entries != NULL && entries->count > USES_MAX - list->count) {
        config_mistake(uses->schema->diagnostics, DIAGNOSTIC_RANGE, use,
                "more than %d hooks in one list", USES_MAX);
        return;
    }
    size_t room = list->count + (entries == NULL ? 0 : entries->count) + 1;
    struct summing sum = { .items = uses_allocate(uses, room, sizeof(*sum.items)),
        .count = list->count,
        .mentions = calloc(room, sizeof(*sum.mentions)) };
    if (entries == NULL || sum.items == NULL || sum.mentions == NULL) {
        uses->schema->no_memory = true;
        free(sum.mentions);
        return;
    }
    if (list->count > 0) {
        memcpy(sum.items, list->items, list->count * sizeof(*sum.items));
    }
    for (uint32_t i = 0; i < entries->count && !uses->schema->no_memory; i++) {
        struct uses_entry entry;
        if (uses_read_entry(uses, entries->items[i], &entry) &&
                (entry.is_removal || may_be_used(uses, &entry, level))) {
            add_use(uses, &sum, &entry);
        }
    }
    free(sum.mentions);
    *list = (struct site_uses){ sum.items, sum.count };
}

void
uses_keep_connection(struct uses_builder *uses, struct site_uses *list)
{
    struct site_use *kept = uses_allocate(uses, list->count, sizeof(*kept));
    size_t count = 0;
    for (size_t i = 0; kept != NULL && i < list->count; i++) {
        if ((phases_of(list->items[i].conf->handler) & CONNECTION_PHASES) != 0) {
            kept[count++] = list->items[i];
        }
    }
    *list = (struct site_uses){ kept, count };
}

/* Equal options are one struct */

static bool
remember(struct uses_builder *uses, struct site_conf *conf)
{
    if (uses->made_count == uses->made_room) {
        size_t room = uses->made_room * 2 + 16;
        struct site_conf **made = realloc(uses->made, room * sizeof(*made));
        if (made == NULL) {
            uses->schema->no_memory = true;
            return false;
        }
        uses->made = made;
        uses->made_room = room;
    }
    uses->made[uses->made_count++] = conf;
    return true;
}

static struct site_conf *
fill_conf(struct uses_builder *uses, const struct weir_module *module,
        const struct weir_handler *handler, const struct config_value *merged,
        const struct config_value *where)
{
    struct site_conf *conf = uses_allocate(uses, 1, sizeof(*conf));
    void *filled = uses_allocate(uses, 1, handler->options.conf_bytes + 1);
    if (conf == NULL || filled == NULL) {
        return NULL;
    }
    *conf = (struct site_conf){ module, handler, filled, merged, where };
    size_t before = diagnostics_reports(uses->schema->diagnostics);
    schema_fill(uses->schema, &handler->options, merged, where, filled);
    if (handler->conf_check == NULL || uses->schema->no_memory ||
            diagnostics_reports(uses->schema->diagnostics) > before) {
        return conf;
    }
    struct weir_conf_report report = { .diagnostics = uses->schema->diagnostics,
        .options = &handler->options,
        .object = merged,
        .where = where,
        .who = module->name,
        .zones = uses->zones,
        .declares = uses->zones };
    loader_step(module->name, "conf_check");
    int r = handler->conf_check(filled, &report);
    loader_step(NULL, NULL);
    if (r < 0 && !report.has_failed) {
        weir_conf_error(&report, NULL, "refused without a reason");
    }
    return conf;
}

static const struct site_conf *
intern(struct uses_builder *uses, const struct weir_module *module,
        const struct weir_handler *handler, const struct config_value *merged,
        const struct config_value *where)
{
    struct buf text;
    buf_init(&text, (size_t)16 << 20);
    int r = buf_append(&text, weir_str_from(handler->name));
    r = r < 0 ? r : buf_append(&text, WEIR_STR("\n"));
    r = r < 0 ? r : schema_canonical(&handler->options, merged, &text);
    struct site_conf *conf = NULL;
    if (r == -ENOMEM) {
        uses->schema->no_memory = true;
    } else if (r == 0) {
        conf = map_find(&uses->confs, buf_str(&text));
    }
    if (conf == NULL && !uses->schema->no_memory) {
        conf = fill_conf(uses, module, handler, merged, where);
        struct weir_str key = arena_copy(uses->schema->arena, buf_str(&text));
        if (conf == NULL || key.ptr == NULL || !remember(uses, conf)) {
            uses->schema->no_memory = true;
            conf = NULL;
        } else if (r == 0) {
            uses_set(uses, &uses->confs, key, conf);
        }
    }
    buf_fini(&text);
    return conf;
}

void
uses_finish(struct uses_builder *uses, struct site_uses *list)
{
    bool is_finished = true;
    for (size_t i = 0; i < list->count; i++) {
        is_finished = is_finished && list->items[i].conf->conf != NULL;
    }
    if (is_finished) {
        return;
    }
    struct site_use *items = uses_allocate(uses, list->count, sizeof(*items));
    for (size_t i = 0; items != NULL && i < list->count && !uses->schema->no_memory; i++) {
        items[i] = list->items[i];
        if (items[i].conf->conf == NULL) {
            const struct site_conf *conf = intern(uses, items[i].conf->module,
                    items[i].conf->handler, items[i].merged, items[i].where);
            items[i].conf = conf == NULL ? items[i].conf : conf;
        }
    }
    if (items != NULL && !uses->schema->no_memory) {
        list->items = items;
    }
}

void
uses_handle(struct uses_builder *uses, const struct config_value *handle, struct site_uses *out)
{
    const struct config_value *entries = schema_as_list(uses->schema, handle);
    if (entries != NULL && entries->count > USES_MAX) {
        config_mistake(uses->schema->diagnostics, DIAGNOSTIC_RANGE, handle,
                "more than %d handlers in one list", USES_MAX);
        return;
    }
    size_t room = entries == NULL ? 0 : entries->count;
    struct summing sum = { .items = uses_allocate(uses, room + 1, sizeof(*sum.items)),
        .mentions = calloc(room + 1, sizeof(*sum.mentions)) };
    if (entries == NULL || sum.items == NULL || sum.mentions == NULL) {
        uses->schema->no_memory = true;
        free(sum.mentions);
        return;
    }
    if (room == 0) {
        config_mistake(uses->schema->diagnostics, DIAGNOSTIC_EMPTY, handle,
                "an empty list of handlers answers nothing");
    }
    for (uint32_t i = 0; i < room && !uses->schema->no_memory; i++) {
        struct uses_entry entry;
        if (!uses_read_entry(uses, entries->items[i], &entry)) {
            continue;
        }
        if (entry.is_removal) {
            struct diagnostic *d = misplaced(uses, DIAGNOSTIC_HANDLER_PLACE, &entry,
                    "cannot be removed here");
            diagnostic_note(d, "false removes hooks from \"use\"");
        } else if ((phases_of(entry.declared->handler) & 1u << WEIR_ON_CONTENT) == 0) {
            struct diagnostic *d = misplaced(uses, DIAGNOSTIC_HANDLER_PLACE, &entry,
                    "makes no answers");
            diagnostic_hint(d, "put it under \"use\"");
        } else {
            add_use(uses, &sum, &entry);
        }
    }
    free(sum.mentions);
    *out = (struct site_uses){ sum.items, sum.count };
    uses_finish(uses, out);
}

void
uses_collect(struct uses_builder *uses, struct site *site)
{
    struct site_conf **confs = uses_allocate(uses, uses->made_count, sizeof(*confs));
    if (confs != NULL && uses->made_count > 0) {
        memcpy(confs, uses->made, uses->made_count * sizeof(*confs));
    }
    site->confs = confs;
    site->confs_count = uses->made_count;
}
