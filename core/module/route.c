/* SPDX-License-Identifier: MIT */
/* A table holds a tree whose edges are path segments; at each node hang the entries of the
 * routes that end there (exact) or reach further (prefix), in file order. A lookup walks the
 * nodes that the path leads to and keeps the earliest entry whose other conditions hold; the
 * entries of a list after the best one so far are not looked at. Suffixes are found by the end
 * of the path, once for each length that occurs. */
#include "module/route.h"

#include <errno.h>

#include "base/map.h"
#include "config/regex.h"
#include "module/match.h"

struct rule {
    uint32_t id;
    bool is_internal;
    const struct config_value *where, *match;
    const struct matcher *matcher;
    const struct route_table *children; /* NULL: none */
};

struct entry {
    const struct rule *rule; /* of the table's array: its address is its order */
    const struct alternative *alternative;
    const struct pattern *pattern; /* NULL: every path */
    struct entry *next;
};

struct entries {
    struct entry *first, *last;
};

struct node {
    struct map *literals; /* segment to node; NULL: none */
    struct node *capture;
    struct entries exact, prefix;
};

struct route_table {
    struct rule *rules;
    size_t rules_count;
    struct node root;
    struct map suffixes; /* suffix to struct entries */
    size_t *suffix_lengths;
    size_t suffix_lengths_count, suffix_lengths_room;
};

static void
drop_map(void *map)
{
    map_fini(map);
}

static struct node *
child_of(struct schema *schema, struct node *node, const struct pattern_segment *segment)
{
    if (segment->is_capture) {
        if (node->capture == NULL) {
            node->capture = schema_array(schema, 1, sizeof(*node->capture));
        }
        return node->capture;
    }
    if (node->literals == NULL) {
        struct map *literals = schema_array(schema, 1, sizeof(*literals));
        if (literals == NULL) {
            return NULL;
        }
        map_init(literals);
        if (arena_defer(schema->arena, drop_map, literals) < 0) {
            schema->no_memory = true;
            return NULL;
        }
        node->literals = literals;
    }
    struct node *child = map_find(node->literals, segment->text);
    if (child == NULL) {
        child = schema_array(schema, 1, sizeof(*child));
        if (child != NULL && map_set(node->literals, segment->text, child) < 0) {
            schema->no_memory = true;
            return NULL;
        }
    }
    return child;
}

static struct entries *
suffix_entries(struct schema *schema, struct route_table *table, struct weir_str suffix)
{
    struct entries *entries = map_find(&table->suffixes, suffix);
    if (entries != NULL) {
        return entries;
    }
    entries = schema_array(schema, 1, sizeof(*entries));
    if (entries == NULL || map_set(&table->suffixes, suffix, entries) < 0) {
        schema->no_memory = true;
        return NULL;
    }
    for (size_t i = 0; i < table->suffix_lengths_count; i++) {
        if (table->suffix_lengths[i] == suffix.len) {
            return entries;
        }
    }
    if (table->suffix_lengths_count == table->suffix_lengths_room) {
        size_t room = table->suffix_lengths_room * 2 + 4;
        size_t *lengths = schema_array(schema, room, sizeof(*lengths));
        if (lengths == NULL) {
            return NULL;
        }
        if (table->suffix_lengths_count > 0) {
            memcpy(lengths, table->suffix_lengths,
                    table->suffix_lengths_count * sizeof(*lengths));
        }
        table->suffix_lengths = lengths;
        table->suffix_lengths_room = room;
    }
    table->suffix_lengths[table->suffix_lengths_count++] = suffix.len;
    return entries;
}

static void
insert(struct schema *schema, struct route_table *table, const struct rule *rule,
        const struct alternative *alternative, const struct pattern *pattern)
{
    struct entries *entries = &table->root.prefix;
    if (pattern != NULL && pattern->kind == PATTERN_SUFFIX) {
        entries = suffix_entries(schema, table, pattern->suffix);
    } else if (pattern != NULL) {
        struct node *node = &table->root;
        for (size_t i = 0; i < pattern->count && node != NULL; i++) {
            node = child_of(schema, node, &pattern->segments[i]);
        }
        entries = node == NULL                   ? NULL
                : pattern->kind == PATTERN_EXACT ? &node->exact
                                                 : &node->prefix;
    }
    struct entry *entry = entries == NULL ? NULL : schema_array(schema, 1, sizeof(*entry));
    if (entry == NULL) {
        return; /* schema->no_memory is set */
    }
    *entry = (struct entry){ rule, alternative, pattern, NULL };
    if (entries->last == NULL) {
        entries->first = entry;
    } else {
        entries->last->next = entry;
    }
    entries->last = entry;
}

/* Routes that never match */

struct cover_search {
    const struct rule *rule;
    const struct alternative *alternative;
    const struct pattern *pattern; /* NULL: every path */
    unsigned looks;
    const struct rule *found; /* the earliest that covers it */
};

static void
cover_by(struct cover_search *search, const struct entries *entries)
{
    static const struct pattern everything = { .kind = PATTERN_PREFIX };
    const struct pattern *narrow = search->pattern == NULL ? &everything : search->pattern;
    for (const struct entry *e = entries->first; e != NULL && e->rule < search->rule;
            e = e->next) {
        if ((search->found != NULL && e->rule >= search->found) ||
                ++search->looks > MATCH_COVER_LOOKS_MAX) {
            return;
        }
        if ((!e->rule->is_internal || search->rule->is_internal) &&
                (e->pattern == NULL || pattern_covers(e->pattern, narrow)) &&
                match_conditions_cover(e->alternative, search->alternative)) {
            search->found = e->rule;
            return;
        }
    }
}

/* Walks the nodes whose patterns are at least as wide as the searched one. */
static void
cover_walk(struct cover_search *search, const struct node *node, size_t depth)
{
    const struct pattern *pattern = search->pattern;
    cover_by(search, &node->prefix);
    if (pattern == NULL || pattern->kind == PATTERN_SUFFIX) {
        return;
    }
    if (depth == pattern->count) {
        cover_by(search, &node->exact);
        return;
    }
    const struct pattern_segment *segment = &pattern->segments[depth];
    const struct node *literal = segment->is_capture || node->literals == NULL
            ? NULL
            : map_find(node->literals, segment->text);
    if (literal != NULL) {
        cover_walk(search, literal, depth + 1);
    }
    if (node->capture != NULL && search->looks <= MATCH_COVER_LOOKS_MAX) {
        search->looks++;
        cover_walk(search, node->capture, depth + 1);
    }
}

static const struct rule *
find_cover(const struct route_table *table, const struct rule *rule,
        const struct alternative *alternative, const struct pattern *pattern)
{
    struct cover_search search = { .rule = rule,
        .alternative = alternative,
        .pattern = pattern };
    cover_walk(&search, &table->root, 0);
    struct weir_str end = weir_str_make("", 0);
    if (pattern != NULL && pattern->kind == PATTERN_SUFFIX) {
        end = pattern->suffix;
    } else if (pattern != NULL && pattern->kind == PATTERN_EXACT && pattern->count > 0) {
        end = pattern->segments[pattern->count - 1].text;
    }
    for (size_t i = 0; i < table->suffix_lengths_count; i++) {
        size_t len = table->suffix_lengths[i];
        const struct entries *entries = len > end.len
                ? NULL
                : map_find(&table->suffixes, weir_str_make(end.ptr + end.len - len, len));
        if (entries != NULL) {
            cover_by(&search, entries);
        }
    }
    return search.found;
}

static const struct config_value *
place_of(const struct rule *rule)
{
    return rule->match != NULL ? rule->match : rule->where;
}

static void
report_dead(struct schema *schema, const struct rule *rule, const struct rule *earlier)
{
    struct diagnostic *d = config_mistake(schema->diagnostics, DIAGNOSTIC_ROUTE_DEAD,
            place_of(rule), "this route never matches");
    diagnostic_note(d, "an earlier one takes all of it");
    diagnostic_hint(d, "put it before the wider one, or remove it");
    diagnostic_other(d, &place_of(earlier)->place, "the earlier route");
}

/* Reports the rule when each of its alternatives is taken by an earlier rule. */
static void
check_alive(struct schema *schema, const struct route_table *table, const struct rule *rule)
{
    const struct rule *by = NULL;
    for (size_t i = 0; i < rule->matcher->count; i++) {
        const struct alternative *alternative = &rule->matcher->alternatives[i];
        size_t patterns = alternative->patterns_count;
        for (size_t j = 0; j < (patterns == 0 ? 1 : patterns); j++) {
            by = find_cover(table, rule, alternative,
                    patterns == 0 ? NULL : &alternative->patterns[j]);
            if (by == NULL) {
                return;
            }
        }
    }
    if (by != NULL) {
        report_dead(schema, rule, by);
    }
}

/* True when no path that `child` matches is one of `parent`'s. */
static bool
is_outside(const struct matcher *parent, const struct matcher *child)
{
    size_t looks = 0;
    for (size_t i = 0; i < child->count; i++) {
        const struct alternative *inner = &child->alternatives[i];
        for (size_t j = 0; j < parent->count; j++) {
            const struct alternative *outer = &parent->alternatives[j];
            if (inner->patterns_count == 0 || outer->patterns_count == 0 ||
                    (looks += inner->patterns_count * outer->patterns_count) >
                            MATCH_COVER_LOOKS_MAX) {
                return false;
            }
            for (size_t k = 0; k < inner->patterns_count * outer->patterns_count; k++) {
                if (!pattern_is_disjoint(&inner->patterns[k / outer->patterns_count],
                            &outer->patterns[k % outer->patterns_count])) {
                    return false;
                }
            }
        }
    }
    return child->count > 0;
}

static void
check_inside(struct schema *schema, const struct rule *parent, const struct rule *rule)
{
    if (!is_outside(parent->matcher, rule->matcher)) {
        return;
    }
    struct diagnostic *d = config_mistake(schema->diagnostics, DIAGNOSTIC_ROUTE_DEAD,
            place_of(rule), "this route never matches");
    diagnostic_note(d, "its parent matches other paths");
    diagnostic_hint(d, "patterns of nested routes are of the whole path");
    diagnostic_other(d, &place_of(parent)->place, "the parent");
}

/* Compiling tables */

static const struct matcher *
compile_rule(struct schema *schema, const struct config_value *match)
{
    if (match != NULL && match->kind != CONFIG_NULL) {
        return match_compile(schema, match);
    }
    struct matcher *everything = schema_array(schema, 1, sizeof(*everything));
    struct alternative *alternative = schema_array(schema, 1, sizeof(*alternative));
    if (everything == NULL || alternative == NULL) {
        return NULL;
    }
    *everything = (struct matcher){ alternative, 1 };
    return everything;
}

static const struct route_table *
table_new(struct schema *schema, const struct route_rule *rules, size_t count,
        const struct rule *parent)
{
    struct route_table *table = schema_array(schema, 1, sizeof(*table));
    if (table == NULL) {
        return NULL;
    }
    map_init(&table->suffixes);
    if (arena_defer(schema->arena, drop_map, &table->suffixes) < 0) {
        schema->no_memory = true;
        return NULL;
    }
    table->rules = schema_array(schema, count, sizeof(*table->rules));
    if (table->rules == NULL) {
        return NULL;
    }
    table->rules_count = count;
    for (size_t i = 0; i < count && !schema->no_memory; i++) {
        struct rule *rule = &table->rules[i];
        *rule = (struct rule){ .id = rules[i].id,
            .is_internal = rules[i].is_internal,
            .where = rules[i].where,
            .match = rules[i].match,
            .matcher = compile_rule(schema, rules[i].match) };
        if (rule->matcher == NULL) {
            continue; /* reported; nothing is known about it */
        }
        check_alive(schema, table, rule);
        if (parent != NULL && parent->matcher != NULL) {
            check_inside(schema, parent, rule);
        }
        for (size_t j = 0; j < rule->matcher->count; j++) {
            const struct alternative *alternative = &rule->matcher->alternatives[j];
            if (alternative->patterns_count == 0) {
                insert(schema, table, rule, alternative, NULL);
            }
            for (size_t k = 0; k < alternative->patterns_count; k++) {
                insert(schema, table, rule, alternative, &alternative->patterns[k]);
            }
        }
        if (rules[i].children_count > 0) {
            rule->children = table_new(schema, rules[i].children, rules[i].children_count,
                    rule);
        }
    }
    return schema->no_memory ? NULL : table;
}

const struct route_table *
route_table_new(struct schema *schema, const struct route_rule *rules, size_t count)
{
    return table_new(schema, rules, count, NULL);
}

/* Looking up */

struct lookup {
    const struct route_request *request;
    const struct entry *best;
};

static void
consider(struct lookup *lookup, const struct entries *entries)
{
    for (const struct entry *e = entries->first; e != NULL; e = e->next) {
        if (lookup->best != NULL && e->rule >= lookup->best->rule) {
            return;
        }
        if ((!e->rule->is_internal || lookup->request->is_internal) &&
                match_conditions_hold(e->alternative, lookup->request)) {
            lookup->best = e;
            return;
        }
    }
}

static void
walk(struct lookup *lookup, const struct node *node, struct weir_str rest)
{
    struct weir_str segment;
    consider(lookup, &node->prefix);
    if (!pattern_next_segment(&rest, &segment)) {
        consider(lookup, &node->exact);
        return;
    }
    const struct node *literal = node->literals == NULL ? NULL
                                                        : map_find(node->literals, segment);
    if (literal != NULL) {
        walk(lookup, literal, rest);
    }
    if (node->capture != NULL && segment.len > 0) {
        walk(lookup, node->capture, rest);
    }
}

static const struct entry *
find_in(const struct route_table *table, const struct route_request *request)
{
    struct lookup lookup = { .request = request };
    struct weir_str path = request->path;
    if (path.len > 0 && path.ptr[0] == '/') {
        walk(&lookup, &table->root, path);
    } else {
        consider(&lookup, &table->root.prefix);
    }
    for (size_t i = 0; i < table->suffix_lengths_count; i++) {
        size_t len = table->suffix_lengths[i];
        const struct entries *entries = len > path.len
                ? NULL
                : map_find(&table->suffixes, weir_str_make(path.ptr + path.len - len, len));
        if (entries != NULL) {
            consider(&lookup, entries);
        }
    }
    return lookup.best;
}

static void
add_capture(struct route_match *match, struct weir_str name, struct weir_str value)
{
    for (uint32_t i = 0; i < match->captures_count; i++) {
        if (weir_str_eq(match->captures[i].name, name)) {
            return; /* an inner route's, which goes first */
        }
    }
    if (match->captures_count < ROUTE_CAPTURES_MAX) {
        match->captures[match->captures_count++] = (struct route_capture){ name, value };
    }
}

static void
capture_segments(const struct pattern *pattern, struct weir_str path, struct route_match *match)
{
    struct weir_str segment;
    for (size_t i = 0; i < pattern->count && pattern_next_segment(&path, &segment); i++) {
        if (pattern->segments[i].is_capture) {
            add_capture(match, pattern->segments[i].text, segment);
        }
    }
    if (pattern->tail_name.len > 0) {
        bool has_slash = path.len > 0 && path.ptr[0] == '/';
        add_capture(match, pattern->tail_name,
                weir_str_make(path.ptr + has_slash, path.len - has_slash));
    }
}

static void
capture_groups(const struct alternative *alternative, struct weir_str path,
        struct route_match *match)
{
    for (size_t i = 0; i < alternative->conditions_count; i++) {
        const struct condition *condition = &alternative->conditions[i];
        bool is_found = false;
        for (size_t j = 0;
                condition->kind == CONDITION_REGEX && j < condition->count && !is_found; j++) {
            struct regex_capture groups[ROUTE_CAPTURES_MAX];
            size_t count = ROUTE_CAPTURES_MAX;
            is_found = regex_match(condition->regexes[j], path, groups, &count);
            for (size_t k = 0; is_found && k < count; k++) {
                add_capture(match, groups[k].name, groups[k].value);
            }
        }
    }
}

bool
route_find(const struct route_table *table, const struct route_request *request,
        struct route_match *match)
{
    const struct entry *found[ROUTE_DEPTH_MAX];
    size_t depth = 0;
    match->captures_count = 0;
    match->pattern = weir_str_make(NULL, 0);
    while (table != NULL && depth < ROUTE_DEPTH_MAX) {
        const struct entry *entry = find_in(table, request);
        if (entry == NULL) {
            break;
        }
        found[depth++] = entry;
        table = entry->rule->children;
    }
    if (depth == 0) {
        return false;
    }
    match->id = found[depth - 1]->rule->id;
    if (found[depth - 1]->pattern != NULL) {
        match->pattern = found[depth - 1]->pattern->text;
    }
    while (depth > 0) {
        const struct entry *entry = found[--depth];
        if (entry->pattern != NULL && entry->pattern->kind != PATTERN_SUFFIX) {
            capture_segments(entry->pattern, request->path, match);
        }
        capture_groups(entry->alternative, request->path, match);
    }
    return true;
}

/* What a route captures */

/* Calls visit() with each name; stops and says true when that does. */
typedef bool name_fn(void *context, struct weir_str name);

static bool
visit_names(const struct matcher *matcher, name_fn *visit, void *context)
{
    for (size_t i = 0; i < matcher->count; i++) {
        const struct alternative *alternative = &matcher->alternatives[i];
        for (size_t j = 0; j < alternative->patterns_count; j++) {
            const struct pattern *pattern = &alternative->patterns[j];
            for (size_t k = 0; k < pattern->count; k++) {
                if (pattern->segments[k].is_capture &&
                        visit(context, pattern->segments[k].text)) {
                    return true;
                }
            }
            if (pattern->tail_name.len > 0 && visit(context, pattern->tail_name)) {
                return true;
            }
        }
        for (size_t j = 0; j < alternative->conditions_count; j++) {
            const struct condition *condition = &alternative->conditions[j];
            for (size_t k = 0; condition->kind == CONDITION_REGEX && k < condition->count;
                    k++) {
                struct weir_str name;
                for (size_t n = 0; regex_group_name(condition->regexes[k], n, &name); n++) {
                    if (visit(context, name)) {
                        return true;
                    }
                }
            }
        }
    }
    return false;
}

/* Visits the names of rule `id` and of those around it; a rule without matcher is a yes. */
static bool
visit_rule(const struct route_table *table, uint32_t id, name_fn *visit, void *context)
{
    while (table != NULL) {
        /* Ids count parents before their children, so it is in the last that begins before. */
        const struct rule *around = NULL;
        for (size_t i = 0; i < table->rules_count && table->rules[i].id <= id; i++) {
            around = &table->rules[i];
        }
        if (around == NULL) {
            return false;
        }
        if (around->matcher == NULL || visit_names(around->matcher, visit, context)) {
            return true;
        }
        table = around->id == id ? NULL : around->children;
    }
    return false;
}

static bool
is_name(void *context, struct weir_str name)
{
    return weir_str_eq(*(const struct weir_str *)context, name);
}

static bool
offer_name(void *context, struct weir_str name)
{
    suggestion_offer(context, name);
    return false;
}

bool
route_has_capture(const struct route_table *table, uint32_t id, struct weir_str name)
{
    return visit_rule(table, id, is_name, &name);
}

void
route_offer_captures(const struct route_table *table, uint32_t id,
        struct suggestion *suggestion)
{
    visit_rule(table, id, offer_name, suggestion);
}
