/* SPDX-License-Identifier: MIT */
#include "config/schema.h"

#include <errno.h>

#include "config/document.h"
#include "config/template.h"
#include "module/loader.h"
#include "support/sample_modules.h"
#include "support/unit.h"

static struct arena arena;
static struct schema schema;
static const struct weir_options *options;

static void
set_up(void)
{
    const struct weir_module *module;
    struct loader_mistake mistake;
    arena_init(&arena, NULL, 0, 64 << 20);
    schema = (struct schema){ .arena = &arena, .diagnostics = diagnostics_new() };
    sample_modules_register(false);
    ck_assert_int_eq(loader_open("probe", NULL, &module, &mistake), 0);
    options = &module->handlers.items[0].options;
}

static void
tear_down(void)
{
    arena_reset(&arena);
    diagnostics_free(schema.diagnostics);
}

static const struct config_value *
parse(const char *text)
{
    const struct config_value *root = NULL;
    ck_assert_int_eq(document_load_text("/etc/weir/a.json", weir_str_from(text), &arena,
                             schema.diagnostics, &root),
            0);
    return root;
}

static struct probe_conf
fill(const struct config_value *object)
{
    struct probe_conf conf = { .flag = false };
    schema_fill(&schema, options, object, object, &conf);
    ck_assert_uint_eq(diagnostics_count(schema.diagnostics), 0);
    ck_assert(!schema.no_memory);
    return conf;
}

#define check_text(s, want) \
    ck_assert_msg(weir_str_eq(s, WEIR_STR(want)), "%.*s", WEIR_STR_ARG(s))

START_TEST(fills_a_struct_with_presets)
{
    struct probe_conf conf = fill(NULL);
    ck_assert(conf.flag);
    ck_assert_int_eq(conf.number, 7);
    ck_assert_uint_eq(conf.count, UINT64_MAX);
    ck_assert_uint_eq(conf.size_bytes, 65536);
    ck_assert_uint_eq(conf.time_ns, UINT64_C(30000000000));
    ck_assert_uint_eq(conf.rate.count, 10);
    check_text(conf.text, "x");
    ck_assert_ptr_null(conf.file.ptr);
    check_text(conf.pool, "default");
    ck_assert_int_eq(conf.word, 2);
    ck_assert_uint_eq(conf.status.first, 400);
    ck_assert_uint_eq(conf.network.bits, 8);
    ck_assert_uint_eq(conf.words.count, 2);
    check_text(WEIR_LIST_AT(struct weir_str, &conf.words, 1), "b");
    ck_assert_uint_eq(conf.deny.count, 0);
    ck_assert_uint_eq(conf.template_->count, 2);
    ck_assert_ptr_null(conf.regex);
    ck_assert_int_eq(conf.inner.depth, 3);
    ck_assert_ptr_null(conf.opened);
}
END_TEST

START_TEST(fills_a_struct_with_values_of_every_type)
{
    struct probe_conf conf = fill(parse(
            "{ \"flag\": false, \"number\": -5, \"count\": 3, \"size\": false, \"time\": \"2m\","
            "\"rate\": \"5/m\", \"text\": \"T\", \"file\": \"www\", \"secret\": \"s\","
            "\"word\": \"blue\", \"status\": 404, \"network\": \"::1\", \"words\": \"one\","
            "\"deny\": [\"10.0.0.0/8\"], \"set\": { \"B\": \"1\", \"a\": [\"2\", \"3\"] },"
            "\"add\": { \"X-Y\": \"z\" }, \"template\": \"{path}\", \"regex\": \"^a\","
            "\"inner\": { \"depth\": 9, \"name\": \"n\" }, \"x-note\": 1,"
            "\"steps\": [{ \"name\": \"s\", \"wait\": \"3s\" }, { \"name\": \"t\" }] }"));
    ck_assert(!conf.flag);
    ck_assert_int_eq(conf.number, -5);
    ck_assert_uint_eq(conf.count, 3);
    ck_assert_uint_eq(conf.size_bytes, UINT64_MAX);
    ck_assert_uint_eq(conf.rate.per_ns, UINT64_C(60000000000));
    check_text(conf.file, "/etc/weir/www");
    ck_assert_int_eq(conf.file.ptr[conf.file.len], 0);
    ck_assert_int_eq(conf.word, 3);
    ck_assert_uint_eq(conf.status.last, 404);
    ck_assert_uint_eq(conf.network.family, 6);
    ck_assert_uint_eq(conf.words.count, 1);
    ck_assert_uint_eq(conf.set.count, 3);
    check_text(conf.set.items[0].key, "B");
    check_text(conf.set.items[2].key, "a");
    check_text(conf.set.items[2].value, "3");
    check_text(conf.add.items[0].key, "x-y");
    ck_assert(weir_regex_matches(conf.regex, WEIR_STR("ab")));
    ck_assert_int_eq(conf.inner.depth, 9);
    ck_assert_uint_eq(conf.steps.count, 2);
    ck_assert_uint_eq(WEIR_LIST_AT(struct probe_step, &conf.steps, 0).wait_ns,
            UINT64_C(3000000000));
    ck_assert_uint_eq(WEIR_LIST_AT(struct probe_step, &conf.steps, 1).wait_ns,
            UINT64_C(1000000000));
}
END_TEST

START_TEST(reads_what_the_environment_says_as_the_option_s_type)
{
    setenv("WEIR_TEST_N", "12", 1);
    setenv("WEIR_TEST_F", "false", 1);
    struct probe_conf conf = fill(
            parse("{ \"flag\": \"${env:WEIR_TEST_F}\", \"number\": \"-${env:WEIR_TEST_X:-4}\","
                  "  \"size\": \"${env:WEIR_TEST_N}k\", \"count\": \"${env:WEIR_TEST_F}\","
                  "  \"status\": \"4${env:WEIR_TEST_N}\", \"text\": \"${env:WEIR_TEST_N}\" }"));
    ck_assert(!conf.flag);
    ck_assert_int_eq(conf.number, -4);
    ck_assert_uint_eq(conf.size_bytes, 12288);
    ck_assert_uint_eq(conf.count, UINT64_MAX);
    ck_assert_uint_eq(conf.status.first, 412);
    check_text(conf.text, "12");
}
END_TEST

static const struct config_value *
merge(const char *outer, const char *inner)
{
    return schema_merge(&schema, options, parse(outer), parse(inner));
}

START_TEST(merges_objects_and_replaces_the_rest)
{
    struct probe_conf conf = fill(merge(
            "{ \"number\": 1, \"text\": \"outer\", \"words\": [\"a\", \"b\", \"c\"],"
            "  \"inner\": { \"depth\": 5, \"name\": \"outer\" }, \"set\": { \"k\": \"1\", \"l\": \"2\" } }",
            "{ \"number\": 2, \"words\": [\"d\"], \"inner\": { \"name\": \"inner\" },"
            "  \"set\": { \"l\": \"3\", \"m\": \"4\" } }"));
    ck_assert_int_eq(conf.number, 2);
    check_text(conf.text, "outer");
    ck_assert_uint_eq(conf.words.count, 1);
    ck_assert_int_eq(conf.inner.depth, 5);
    check_text(conf.inner.name, "inner");
    ck_assert_uint_eq(conf.set.count, 3);
    check_text(conf.set.items[1].value, "3");
    check_text(conf.set.items[2].key, "m");
}
END_TEST

START_TEST(appends_what_is_declared_to_append)
{
    struct probe_conf conf = fill(
            merge("{ \"deny\": [\"10.0.0.0/8\"], \"add\": { \"a\": \"1\" } }",
                    "{ \"deny\": \"::1\", \"add\": { \"a\": \"2\", \"b\": \"3\" } }"));
    ck_assert_uint_eq(conf.deny.count, 2);
    ck_assert_uint_eq(WEIR_LIST_AT(struct weir_network, &conf.deny, 0).family, 4);
    ck_assert_uint_eq(WEIR_LIST_AT(struct weir_network, &conf.deny, 1).family, 6);
    ck_assert_uint_eq(conf.add.count, 3);
}
END_TEST

START_TEST(merges_lists_of_objects_by_their_key)
{
    struct probe_conf conf = fill(merge(
            "{ \"steps\": [{ \"name\": \"a\", \"wait\": \"5s\" }, { \"name\": \"b\" }] }",
            "{ \"steps\": [{ \"name\": \"c\" }, { \"name\": \"a\", \"wait\": \"9s\" }] }"));
    ck_assert_uint_eq(conf.steps.count, 3);
    ck_assert_uint_eq(WEIR_LIST_AT(struct probe_step, &conf.steps, 0).wait_ns,
            UINT64_C(9000000000));
    check_text(WEIR_LIST_AT(struct probe_step, &conf.steps, 2).name, "c");
}
END_TEST

START_TEST(returns_a_key_to_its_preset_with_null)
{
    struct probe_conf conf = fill(
            merge("{ \"number\": 1, \"inner\": { \"depth\": 5 }, \"deny\": \"::1\" }",
                    "{ \"number\": null, \"inner\": { \"depth\": null }, \"deny\": null }"));
    ck_assert_int_eq(conf.number, 7);
    ck_assert_int_eq(conf.inner.depth, 3);
    ck_assert_uint_eq(conf.deny.count, 0);
}
END_TEST

START_TEST(remembers_where_each_value_was_written)
{
    const struct config_value *merged = merge("{ \"number\": 1,\n \"text\": \"outer\" }",
            "{\n\n \"number\": 2 }");
    ck_assert_uint_eq(source_locate(&config_find_name(merged, "number")->place).line, 3);
    ck_assert_uint_eq(source_locate(&config_find_name(merged, "text")->place).line, 2);
}
END_TEST

static const struct {
    const char *why, *a, *b;
    bool is_equal;
} canonicals[] = {
    { "order and notes make no difference", "{ \"number\": 1, \"text\": \"x\" }",
            "{ \"text\": \"x\", \"x-n\": 5, \"number\": 1 }", true },
    { "a value does", "{ \"number\": 1 }", "{ \"number\": 2 }", false },
    { "a kind does", "{ \"status\": 404 }", "{ \"status\": \"404\" }", false },
    { "where one text ends does", "{ \"words\": [\"ab\", \"c\"] }",
            "{ \"words\": [\"a\", \"bc\"] }", false },
    { "the order of a map does", "{ \"set\": { \"a\": \"1\", \"b\": \"2\" } }",
            "{ \"set\": { \"b\": \"2\", \"a\": \"1\" } }", false },
    { "null is nothing", "{ \"number\": null }", "{ }", true },
};

START_TEST(knows_equal_options)
{
    struct buf a, b;
    buf_init(&a, 10000);
    buf_init(&b, 10000);
    ck_assert_int_eq(schema_canonical(options, parse(canonicals[_i].a), &a), 0);
    ck_assert_int_eq(schema_canonical(options, parse(canonicals[_i].b), &b), 0);
    unit_check(weir_str_eq(buf_str(&a), buf_str(&b)) == canonicals[_i].is_equal,
            canonicals[_i].why);
    buf_fini(&a);
    buf_fini(&b);
}
END_TEST

START_TEST(merges_large_maps_without_taking_long)
{
    struct buf text;
    buf_init(&text, 16 << 20);
    ck_assert_int_eq(buf_append(&text, WEIR_STR("{ \"set\": {")), 0);
    for (int i = 0; i < 60000; i++) {
        ck_assert_int_eq(buf_printf(&text, "%s\"key%d\": \"v\"", i == 0 ? "" : ",", i), 0);
    }
    ck_assert_int_eq(buf_append(&text, weir_str_make("} }", 4)), 0);
    const struct config_value *large = parse(buf_str(&text).ptr);
    const struct config_value *merged = schema_merge(&schema, options, large, large);
    ck_assert_uint_eq(config_find_name(merged, "set")->count, 60000);
    buf_fini(&text);
}
END_TEST

struct broken_conf {
    int64_t number;
    struct weir_str text;
};

static const struct {
    const char *why;
    struct weir_option option;
} broken[] = {
    { "an unknown type", { .type = (enum weir_option_type)99, .field = "a", .bytes = 8 } },
    { "no name", { .type = WEIR_TYPE_INT, .bytes = 8 } },
    { "a field outside of the struct",
            { .type = WEIR_TYPE_INT, .field = "a", .offset = 24, .bytes = 8 } },
    { "a field of another size", { .type = WEIR_TYPE_BOOL, .field = "a", .bytes = 8 } },
    { "a preset that does not read",
            { .type = WEIR_TYPE_INT, .field = "a", .bytes = 8, .preset = "many" } },
};

START_TEST(refuses_tables_that_make_no_sense)
{
    char why[256] = "";
    struct weir_options table = { &broken[_i].option, 1, sizeof(struct weir_option),
        sizeof(struct broken_conf) };
    unit_check(!schema_is_sound(&table, why, sizeof(why)), broken[_i].why);
    ck_assert_uint_gt(strlen(why), 0);
}
END_TEST

START_TEST(survives_each_allocation_failing)
{
    const struct config_value *object = parse(
            "{ \"words\": [\"a\"], \"set\": { \"k\": \"v\" }, \"steps\": { \"name\": \"s\" },"
            "  \"template\": \"{path}\", \"file\": \"x\", \"deny\": \"::1\" }");
    UNIT_EACH_ALLOCATION_FAILS({
        struct arena own;
        arena_init(&own, NULL, 0, 1 << 20);
        struct schema small = schema;
        small.arena = &own;
        struct probe_conf conf = { .flag = false };
        const struct config_value *merged = schema_merge(&small, options, object, object);
        ck_assert(merged != NULL || small.no_memory);
        schema_fill(&small, options, merged, object, &conf);
        schema_check(&small, options, object);
        arena_reset(&own);
    })
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, fills_a_struct_with_presets);
    tcase_add_test(tests, fills_a_struct_with_values_of_every_type);
    tcase_add_test(tests, reads_what_the_environment_says_as_the_option_s_type);
    tcase_add_test(tests, merges_objects_and_replaces_the_rest);
    tcase_add_test(tests, appends_what_is_declared_to_append);
    tcase_add_test(tests, merges_lists_of_objects_by_their_key);
    tcase_add_test(tests, returns_a_key_to_its_preset_with_null);
    tcase_add_test(tests, remembers_where_each_value_was_written);
    tcase_add_loop_test(tests, knows_equal_options, 0,
            (int)(sizeof(canonicals) / sizeof(canonicals[0])));
    tcase_add_test(tests, merges_large_maps_without_taking_long);
    tcase_add_loop_test(tests, refuses_tables_that_make_no_sense, 0,
            (int)(sizeof(broken) / sizeof(broken[0])));
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("config/schema", add_tests)
