/* SPDX-License-Identifier: MIT */
#include "module/route.h"

#include <stdio.h>

#include "config/document.h"
#include "config/units.h"
#include "module/pattern.h"
#include "support/unit.h"

static struct arena arena;
static struct schema schema;

static void
set_up(void)
{
    arena_init(&arena, NULL, 0, 256 << 20);
    schema = (struct schema){ .arena = &arena, .diagnostics = diagnostics_new() };
}

static void
tear_down(void)
{
    arena_reset(&arena);
    diagnostics_free(schema.diagnostics);
}

static uint32_t next_id;

/* Routes as objects with match, internal and routes; ids count in the order of the text. */
static const struct route_rule *
make_rules(const struct config_value *list, size_t *count)
{
    *count = list == NULL ? 0 : list->count;
    struct route_rule *made = arena_array(&arena, *count, sizeof(*made));
    for (size_t i = 0; i < *count; i++) {
        const struct config_value *where = list->items[i];
        const struct config_value *internal = config_find_name(where, "internal");
        made[i] = (struct route_rule){ .id = next_id++,
            .where = where,
            .match = config_find_name(where, "match"),
            .is_internal = internal != NULL && internal->kind == CONFIG_TRUE };
        made[i].children = make_rules(config_find_name(where, "routes"),
                &made[i].children_count);
    }
    return made;
}

static const struct route_table *
compile(const char *text)
{
    const struct config_value *root = NULL;
    size_t count;
    ck_assert_int_eq(document_load_text("a.json", weir_str_from(text), &arena,
                             schema.diagnostics, &root),
            0);
    next_id = 0;
    const struct route_rule *made = make_rules(config_find_name(root, "routes"), &count);
    const struct route_table *table = route_table_new(&schema, made, count);
    ck_assert_ptr_nonnull(table);
    return table;
}

static bool
header(void *context, struct weir_str name, size_t nth, struct weir_str *value)
{
    (void)context;
    if (!weir_str_eq(name, WEIR_STR("accept")) || nth > 1) {
        return false;
    }
    *value = nth == 0 ? WEIR_STR("text/html") : WEIR_STR("image/png");
    return true;
}

static bool
query(void *context, struct weir_str name, size_t nth, struct weir_str *value)
{
    (void)context;
    *value = WEIR_STR("1");
    return nth == 0 && weir_str_eq(name, WEIR_STR("a"));
}

static bool
variable(void *context, struct weir_str name, struct weir_str *value)
{
    (void)context;
    *value = WEIR_STR("https");
    return weir_str_eq(name, WEIR_STR("scheme"));
}

static struct addr_ip
ip(const char *text)
{
    struct weir_network network;
    ck_assert_int_eq(units_parse_network(weir_str_from(text), &network), 0);
    struct addr_ip address = { .family = network.family == 4 ? AF_INET : AF_INET6 };
    memcpy(address.bytes, network.address, sizeof(address.bytes));
    return address;
}

static struct route_request
ask(const char *path)
{
    return (struct route_request){ .method = WEIR_STR("GET"),
        .host = WEIR_STR("www.example.com"),
        .path = weir_str_from(path),
        .protocol = WEIR_STR("http/1.1"),
        .client = ip("10.1.2.3"),
        .peer = ip("::1"),
        .header = header,
        .query = query,
        .variable = variable };
}

/* The id of the route that `path` takes; -1: none. */
static int
find(const struct route_table *table, const char *path)
{
    struct route_request request = ask(path);
    struct route_match match;
    return route_find(table, &request, &match) ? (int)match.id : -1;
}

/* CONFIG.md, "Choosing a server and a route" 3. */
static const struct {
    const char *why, *pattern, *path;
    bool matches;
} patterns[] = {
    { "an exact path is that path", "/a", "/a", true },
    { "and nothing below", "/a", "/a/", false },
    { "a slash at the end counts", "/a/", "/a/", true },
    { "also when it is missing", "/a/", "/a", false },
    { "case matters", "/a", "/A", false },
    { "a star takes the folder itself", "/a/*", "/a", true },
    { "with its slash", "/a/*", "/a/", true },
    { "and all below", "/a/*", "/a/b/c", true },
    { "never its neighbour", "/a/*", "/ab", false },
    { "everything", "/*", "/x/y", true },
    { "everything, the root too", "/*", "/", true },
    { "the root alone", "/", "/", true },
    { "only the root", "/", "/a", false },
    { "a suffix", "*.php", "/x/y.php", true },
    { "a suffix of the last segment only by chance", "*.php", "/x.php/y", false },
    { "one segment in braces", "/u/{id}/x", "/u/5/x", true },
    { "not two", "/u/{id}/x", "/u/5/6/x", false },
    { "not none", "/u/{id}/x", "/u//x", false },
    { "the tail", "/f/{rest*}", "/f/a/b", true },
    { "an empty tail", "/f/{rest*}", "/f", true },
};

START_TEST(matches_patterns)
{
    char text[256];
    snprintf(text, sizeof(text), "{ \"routes\": [{ \"match\": \"%s\" }] }",
            patterns[_i].pattern);
    unit_check((find(compile(text), patterns[_i].path) == 0) == patterns[_i].matches,
            patterns[_i].why);

    /* The pattern alone says the same as the tree. */
    struct pattern pattern;
    const char *message;
    size_t offset;
    ck_assert_int_eq(pattern_parse(&arena, weir_str_from(patterns[_i].pattern), &pattern,
                             &message, &offset),
            0);
    unit_check(pattern_matches(&pattern, weir_str_from(patterns[_i].path)) ==
                    patterns[_i].matches,
            patterns[_i].why);
}
END_TEST

static const struct {
    const char *why, *match;
    bool holds;
} conditions[] = {
    { "a method", "{ \"method\": \"GET\" }", true },
    { "any of the methods", "{ \"method\": [\"PUT\", \"GET\"] }", true },
    { "another method", "{ \"method\": \"PUT\" }", false },
    { "a host", "{ \"host\": \"WWW.example.com\" }", true },
    { "a suffix of the host", "{ \"host\": \"*.example.com\" }", true },
    { "not the suffix itself", "{ \"host\": \"*.www.example.com\" }", false },
    { "a header", "{ \"header\": { \"Accept\": \"text/html\" } }", true },
    { "any line of a header", "{ \"header\": { \"accept\": \"image/png\" } }", true },
    { "the beginning of a header", "{ \"header\": { \"accept\": \"text/*\" } }", true },
    { "the end of a header", "{ \"header\": { \"accept\": \"*/html\" } }", true },
    { "the middle of a header", "{ \"header\": { \"accept\": \"*xt/h*\" } }", true },
    { "any of the values", "{ \"header\": { \"accept\": [\"x\", \"text/html\"] } }", true },
    { "another value", "{ \"header\": { \"accept\": \"text\" } }", false },
    { "a header that is there", "{ \"header\": { \"accept\": true } }", true },
    { "a header that is not there", "{ \"header\": { \"cookie\": true } }", false },
    { "a header that must be absent", "{ \"header\": { \"cookie\": false } }", true },
    { "a parameter", "{ \"query\": { \"a\": \"1\" } }", true },
    { "another parameter", "{ \"query\": { \"b\": \"1\" } }", false },
    { "a variable", "{ \"variable\": { \"scheme\": \"https\" } }", true },
    { "the client's network", "{ \"client\": [\"192.0.2.0/24\", \"10.0.0.0/8\"] }", true },
    { "the client is not the peer", "{ \"client\": \"::1\" }", false },
    { "the peer's network", "{ \"peer\": \"::1\" }", true },
    { "a protocol", "{ \"protocol\": \"http/1.1\" }", true },
    { "another protocol", "{ \"protocol\": [\"http/1.0\", \"http/2\"] }", false },
    { "an expression", "{ \"path_regex\": \"^/x/[0-9]+$\" }", true },
    { "another expression", "{ \"path_regex\": \"^/x$\" }", false },
    { "all keys must hold", "{ \"method\": \"GET\", \"peer\": \"::2\" }", false },
    { "not inverts", "{ \"not\": { \"method\": \"PUT\" } }", true },
    { "not of what holds", "{ \"not\": { \"path\": \"/x/*\" } }", false },
    { "not of a list of patterns", "{ \"not\": [\"/y\", \"*5\"] }", false },
    { "not of not", "{ \"not\": { \"not\": \"/x/*\" } }", true },
    { "any of a list", "[\"/y\", { \"path\": \"/x/*\", \"method\": \"GET\" }]", true },
    { "none of a list", "[\"/y\", { \"path\": \"/x/*\", \"method\": \"PUT\" }]", false },
    { "a path beside a method", "{ \"path\": [\"/y\", \"/x/5\"], \"method\": \"GET\" }", true },
};

START_TEST(matches_conditions)
{
    char text[256];
    snprintf(text, sizeof(text), "{ \"routes\": [{ \"match\": %s }] }", conditions[_i].match);
    const struct route_table *table = compile(text);
    ck_assert_uint_eq(diagnostics_count(schema.diagnostics), 0);
    unit_check((find(table, "/x/5") == 0) == conditions[_i].holds, conditions[_i].why);
}
END_TEST

START_TEST(takes_the_first_that_matches)
{
    const struct route_table *table = compile(
            "{ \"routes\": ["
            "{ \"match\": { \"path\": \"/a/*\", \"method\": \"PUT\" } }," /* 0 */
            "{ \"match\": \"/a/{id}\" },"                                 /* 1 */
            "{ \"match\": \"*.png\" },"                                   /* 2 */
            "{ \"match\": \"/a/b/*\" },"                                  /* 3 */
            "{ \"match\": \"/c/*\", \"internal\": true },"                /* 4 */
            "{ \"match\": \"/c/d\" },"                                    /* 5 */
            "{ \"match\": { \"path_regex\": \"^/e\" } },"                 /* 6 */
            "{ }"                                                         /* 7 */
            "] }");
    ck_assert_uint_eq(diagnostics_count(schema.diagnostics), 0);
    ck_assert_int_eq(find(table, "/a/b"), 1);
    ck_assert_int_eq(find(table, "/a/x.png"), 1);
    ck_assert_int_eq(find(table, "/a/b/x.png"), 2);
    ck_assert_int_eq(find(table, "/a/b/x"), 3);
    ck_assert_int_eq(find(table, "/c/d"), 5);
    ck_assert_int_eq(find(table, "/e/1"), 6);
    ck_assert_int_eq(find(table, "/"), 7);
    ck_assert_int_eq(find(table, "*"), 7);
    ck_assert_int_eq(find(table, ""), 7);
    struct route_request request = ask("/c/d");
    struct route_match match;
    request.is_internal = true;
    ck_assert(route_find(table, &request, &match));
    ck_assert_uint_eq(match.id, 4);
}
END_TEST

START_TEST(descends_into_nested_routes)
{
    const struct route_table *table = compile(
            "{ \"routes\": ["
            "{ \"match\": \"/api/*\", \"routes\": ["                                  /* 0 */
            "  { \"match\": { \"path\": \"/api/login\", \"method\": \"GET\" } },"     /* 1 */
            "  { \"match\": \"/api/v1/*\", \"routes\": [{ \"match\": \"*.json\" }] }" /* 2, 3 */
            "] },"
            "{ }" /* 4 */
            "] }");
    ck_assert_uint_eq(diagnostics_count(schema.diagnostics), 0);
    ck_assert_int_eq(find(table, "/api/login"), 1);
    ck_assert_int_eq(find(table, "/api/v1/a.json"), 3);
    ck_assert_int_eq(find(table, "/api/v1/a"), 2);
    ck_assert_int_eq(find(table, "/api/other"), 0); /* never the next sibling */
    ck_assert_int_eq(find(table, "/x"), 4);
}
END_TEST

static void
check_capture(const struct route_match *match, const char *name, const char *value)
{
    for (uint32_t i = 0; i < match->captures_count; i++) {
        if (weir_str_eq(match->captures[i].name, weir_str_from(name))) {
            ck_assert(weir_str_eq(match->captures[i].value, weir_str_from(value)));
            return;
        }
    }
    ck_abort_msg("no capture %s", name);
}

START_TEST(captures_what_braces_and_groups_name)
{
    const struct route_table *table = compile(
            "{ \"routes\": [{ \"match\": \"/{a}/{b}/*\", \"routes\": ["
            "  { \"match\": { \"path\": \"/{a}/x/{rest*}\", \"path_regex\": \"(?<num>[0-9]+)\" } }"
            "] }] }");
    struct route_request request = ask("/one/x/two/33");
    struct route_match match;
    ck_assert(route_find(table, &request, &match));
    ck_assert_uint_eq(match.id, 1);
    ck_assert_uint_eq(match.captures_count, 4);
    check_capture(&match, "a", "one");
    check_capture(&match, "b", "x");
    check_capture(&match, "rest", "two/33");
    check_capture(&match, "num", "33");
    ck_assert(weir_str_eq(match.pattern, WEIR_STR("/{a}/x/{rest*}")));
}
END_TEST

static const struct {
    const char *why, *first, *second;
    bool is_dead;
} deaths[] = {
    { "the same path", "{ \"match\": \"/a\" }", "{ \"match\": \"/a\" }", true },
    { "a wider path", "{ \"match\": \"/a/*\" }", "{ \"match\": \"/a/b\" }", true },
    { "a neighbour", "{ \"match\": \"/a/*\" }", "{ \"match\": \"/ab\" }", false },
    { "a capture takes a word", "{ \"match\": \"/{x}\" }", "{ \"match\": \"/a\" }", true },
    { "a capture takes no empty segment", "{ \"match\": \"/{x}\" }", "{ \"match\": \"/\" }",
            false },
    { "a word takes no capture", "{ \"match\": \"/a\" }", "{ \"match\": \"/{x}\" }", false },
    { "everything", "{ }", "{ \"match\": \"*.x\" }", true },
    { "a suffix takes a name", "{ \"match\": \"*.x\" }", "{ \"match\": \"/a/b.x\" }", true },
    { "a shorter suffix takes a longer", "{ \"match\": \"*.gz\" }",
            "{ \"match\": \"*.tar.gz\" }", true },
    { "a longer one does not", "{ \"match\": \"*.tar.gz\" }", "{ \"match\": \"*.gz\" }",
            false },
    { "the earlier one is narrower in another key",
            "{ \"match\": { \"path\": \"/a\", \"method\": \"GET\" } }", "{ \"match\": \"/a\" }",
            false },
    { "both are as narrow",
            "{ \"match\": { \"path\": \"/a/*\", \"method\": [\"GET\", \"PUT\"] } }",
            "{ \"match\": { \"path\": \"/a\", \"method\": \"GET\" } }", true },
    { "the later one has more methods",
            "{ \"match\": { \"path\": \"/a\", \"method\": \"GET\" } }",
            "{ \"match\": { \"path\": \"/a\", \"method\": [\"GET\", \"PUT\"] } }", false },
    { "a network in a network", "{ \"match\": { \"client\": \"10.0.0.0/8\" } }",
            "{ \"match\": { \"client\": \"10.1.0.0/16\" } }", true },
    { "client and peer are two", "{ \"match\": { \"client\": \"10.0.0.0/8\" } }",
            "{ \"match\": { \"peer\": \"10.1.0.0/16\" } }", false },
    { "a host in a suffix", "{ \"match\": { \"host\": \"*.b\" } }",
            "{ \"match\": { \"host\": \"a.b\" } }", true },
    { "any value of a header", "{ \"match\": { \"header\": { \"x\": true } } }",
            "{ \"match\": { \"header\": { \"X\": \"1\" } } }", true },
    { "no value of a header", "{ \"match\": { \"header\": { \"x\": false } } }",
            "{ \"match\": { \"header\": { \"x\": \"1\" } } }", false },
    { "the beginning of a value", "{ \"match\": { \"query\": { \"x\": \"a*\" } } }",
            "{ \"match\": { \"query\": { \"x\": \"ab\" } } }", true },
    { "the same not", "{ \"match\": { \"not\": \"/a\" } }",
            "{ \"match\": { \"not\": \"/a\" } }", true },
    { "another not", "{ \"match\": { \"not\": \"/a\" } }", "{ \"match\": { \"not\": \"/b\" } }",
            false },
    { "an internal one leaves the outside", "{ \"match\": \"/a\", \"internal\": true }",
            "{ \"match\": \"/a\" }", false },
    { "one of two patterns is left", "{ \"match\": \"/a\" }", "{ \"match\": [\"/a\", \"/b\"] }",
            false },
};

START_TEST(knows_routes_that_never_match)
{
    char text[512];
    snprintf(text, sizeof(text), "{ \"routes\": [%s, %s] }", deaths[_i].first,
            deaths[_i].second);
    compile(text);
    unit_check(diagnostics_count(schema.diagnostics) == deaths[_i].is_dead, deaths[_i].why);
    if (deaths[_i].is_dead) {
        const struct diagnostic *d = diagnostics_get(schema.diagnostics, 0);
        ck_assert_int_eq(d->code, DIAGNOSTIC_ROUTE_DEAD);
        ck_assert_ptr_nonnull(d->other.source);
        ck_assert_uint_lt(d->other.offset, d->place.offset);
    }
}
END_TEST

/* The tree and the plain reading of the rules, "in file order the first that matches", on many
 * routes and paths. */
START_TEST(agrees_with_a_walk_through_the_list)
{
    static const char *const words[] = { "a", "b", "c", "{x}", "{y}" };
    static const char *const names[] = { "a", "b", "c", "d.x", "" };
    struct pattern list[40];
    struct buf text;
    unsigned state = (unsigned)_i + 1;
    buf_init(&text, 1 << 16);
    ck_assert_int_eq(buf_append(&text, WEIR_STR("{ \"routes\": [")), 0);
    for (int i = 0; i < 40; i++) {
        char pattern[64];
        size_t len = 0;
        state = state * 1103515245u + 12345u;
        unsigned depth = 1 + (state >> 16) % 3, kind = (state >> 20) % 6;
        for (unsigned d = 0; d < depth; d++) {
            state = state * 1103515245u + 12345u;
            const char *word = words[(state >> 16) % 5];
            if (d > 0 && strchr(pattern, '{') != NULL && word[0] == '{') {
                word = "b";
            }
            len += (size_t)snprintf(pattern + len, sizeof(pattern) - len, "/%s", word);
        }
        snprintf(pattern + len, sizeof(pattern) - len, "%s",
                kind < 2            ? "/*"
                        : kind == 2 ? "/"
                                    : "");
        if (kind == 3) {
            snprintf(pattern, sizeof(pattern), "*.x");
        }
        const char *message;
        size_t offset;
        ck_assert_int_eq(pattern_parse(&arena, weir_str_from(pattern), &list[i], &message,
                                 &offset),
                0);
        ck_assert_int_eq(buf_printf(&text, "%s{ \"match\": \"%s\" }", i == 0 ? "" : ",",
                                 pattern),
                0);
    }
    ck_assert_int_eq(buf_append(&text, weir_str_make("] }", 4)), 0);
    const struct route_table *table = compile(buf_str(&text).ptr);
    for (int i = 0; i < 500; i++) {
        char path[64];
        size_t len = 0;
        state = state * 1103515245u + 12345u;
        for (unsigned d = 0; d < 1 + (state >> 16) % 4; d++) {
            unsigned pick = (state >> (18 + 3 * d)) % 5;
            if (len > 0 && path[len - 1] == '/') {
                break; /* no empty segment but the last */
            }
            len += (size_t)snprintf(path + len, sizeof(path) - len, "/%s", names[pick]);
        }
        int want = -1;
        for (int j = 0; j < 40 && want < 0; j++) {
            want = pattern_matches(&list[j], weir_str_from(path)) ? j : -1;
        }
        ck_assert_msg(find(table, path) == want, "%s takes %d, not %d", path, find(table, path),
                want);
    }
    buf_fini(&text);
}
END_TEST

START_TEST(compiles_very_many_routes)
{
    struct buf text;
    buf_init(&text, 16 << 20);
    ck_assert_int_eq(buf_append(&text, WEIR_STR("{ \"routes\": [")), 0);
    for (int i = 0; i < 30000; i++) {
        ck_assert_int_eq(
                buf_printf(&text,
                        "{ \"match\": \"/r%d/{id}\" },"
                        "{ \"match\": { \"path\": \"/same\", \"query\": { \"k\": \"%d\" } } },",
                        i, i),
                0);
    }
    ck_assert_int_eq(buf_append(&text, weir_str_make("{}] }", 6)), 0);
    const struct route_table *table = compile(buf_str(&text).ptr);
    ck_assert_int_eq(find(table, "/r29999/x"), 59998);
    ck_assert_int_eq(find(table, "/r30000/x"), 60000);
    buf_fini(&text);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, matches_patterns, 0,
            (int)(sizeof(patterns) / sizeof(patterns[0])));
    tcase_add_loop_test(tests, matches_conditions, 0,
            (int)(sizeof(conditions) / sizeof(conditions[0])));
    tcase_add_test(tests, takes_the_first_that_matches);
    tcase_add_test(tests, descends_into_nested_routes);
    tcase_add_test(tests, captures_what_braces_and_groups_name);
    tcase_add_loop_test(tests, knows_routes_that_never_match, 0,
            (int)(sizeof(deaths) / sizeof(deaths[0])));
    tcase_add_loop_test(tests, agrees_with_a_walk_through_the_list, 0, 20);
    tcase_add_test(tests, compiles_very_many_routes);
}

UNIT_MAIN("module/route", add_tests)
