/* SPDX-License-Identifier: MIT */
/* Compiling the hooks of handlers into the order in which they are called. */
#include "module/chain.h"

#include <errno.h>
#include <stdio.h>

#include "support/unit.h"

static enum weir_verdict
on_request(struct weir_request *request, const void *conf)
{
    (void)request;
    (void)conf;
    return WEIR_NEXT;
}

static enum weir_verdict
on_filter(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    (void)request;
    (void)conf;
    (void)filter;
    return WEIR_NEXT;
}

static enum weir_verdict
on_connection(struct weir_connection *connection, const void *conf)
{
    (void)connection;
    (void)conf;
    return WEIR_NEXT;
}

static const struct weir_module module = { WEIR_MODULE_HEAD("chained", "1.0.0", "") };

static const struct weir_hook first_hooks[] = {
    { .on = WEIR_ON_LOG, .request = on_request },
    { .on = WEIR_ON_CONTENT, .request = on_request },
    { .on = WEIR_ON_ACCESS, .stage = WEIR_STAGE_AUTHORIZE, .request = on_request },
    { .on = WEIR_ON_REPLY_BODY, .stage = WEIR_STAGE_ENCODE, .filter = on_filter },
};
static const struct weir_hook second_hooks[] = {
    { .on = WEIR_ON_ACCESS, .stage = WEIR_STAGE_LIMIT, .request = on_request },
    { .on = WEIR_ON_ACCESS, .request = on_request },
    { .on = WEIR_ON_CONTENT, .request = on_request },
    { .on = WEIR_ON_REPLY_BODY, .stage = WEIR_STAGE_TRANSFORM, .filter = on_filter },
    { .on = WEIR_ON_ACCEPT, .connection = on_connection },
};
static const struct weir_handler handlers[] = {
    { .name = "first", .hooks = WEIR_HOOKS(first_hooks) },
    { .name = "second", .hooks = WEIR_HOOKS(second_hooks) },
    { .name = "none" },
};

static struct arena arena;

static void
begin(void)
{
    arena_init(&arena, NULL, 0, 1 << 20);
}

START_TEST(sorts_by_phase_then_stage_then_position)
{
    begin();
    static const char confs[3];
    struct chain_use uses[] = {
        { &module, &handlers[0], &confs[0], 16 },
        { &module, &handlers[1], &confs[1], 32 },
        { &module, &handlers[2], &confs[2], 48 },
    };
    const struct chain *chain = NULL;
    ck_assert_int_eq(chain_compile(&arena, uses, 3, &chain, NULL), 0);
    static const struct {
        enum weir_phase phase;
        enum weir_stage stage;
        uint16_t use;
    } want[] = {
        { WEIR_ON_ACCEPT, WEIR_STAGE_ANY, 1 },
        { WEIR_ON_ACCESS, WEIR_STAGE_ANY, 1 },
        { WEIR_ON_ACCESS, WEIR_STAGE_LIMIT, 1 },
        { WEIR_ON_ACCESS, WEIR_STAGE_AUTHORIZE, 0 },
        { WEIR_ON_CONTENT, WEIR_STAGE_ANY, 0 },
        { WEIR_ON_CONTENT, WEIR_STAGE_ANY, 1 },
        { WEIR_ON_REPLY_BODY, WEIR_STAGE_TRANSFORM, 1 },
        { WEIR_ON_REPLY_BODY, WEIR_STAGE_ENCODE, 0 },
        { WEIR_ON_LOG, WEIR_STAGE_ANY, 0 },
    };
    unsigned count = sizeof(want) / sizeof(want[0]);
    ck_assert_uint_eq(chain->first[CHAIN_PHASES], count);
    for (unsigned i = 0; i < count; i++) {
        const struct chain_entry *entry = &chain->entries[i];
        ck_assert_uint_eq(entry->phase, want[i].phase);
        ck_assert_uint_eq(entry->stage, want[i].stage);
        ck_assert_uint_eq(entry->use, want[i].use);
        ck_assert_ptr_eq(entry->conf, &confs[want[i].use]);
        ck_assert_uint_eq(entry->state_at, want[i].use == 0 ? 16 : 32);
        ck_assert_str_eq(chain_entry_module(chain, entry), "chained");
        ck_assert_uint_le(chain->first[entry->phase], i);
        ck_assert_uint_gt(chain->first[entry->phase + 1], i);
    }
    ck_assert_uint_eq(chain->first[WEIR_ON_HEAD], chain->first[WEIR_ON_HEAD + 1]);
    arena_reset(&arena);
}
END_TEST

START_TEST(compiles_a_chain_without_hooks)
{
    begin();
    const struct chain *chain = NULL;
    ck_assert_int_eq(chain_compile(&arena, NULL, 0, &chain, NULL), 0);
    for (unsigned phase = 0; phase <= CHAIN_PHASES; phase++) {
        ck_assert_uint_eq(chain->first[phase], 0);
    }
    arena_reset(&arena);
}
END_TEST

static const struct {
    const char *why;
    struct weir_hook hook;
} bad_cases[] = {
    { "a request phase without its function", { .on = WEIR_ON_HEAD, .filter = on_filter } },
    { "a filter phase without its", { .on = WEIR_ON_REPLY_BODY, .request = on_request } },
    { "a connection phase without its", { .on = WEIR_ON_CLOSE, .request = on_request } },
    { "a phase of a later version", { .on = (enum weir_phase)13, .request = on_request } },
    { "a phase that wraps to one", { .on = (enum weir_phase)259, .request = on_request } },
    { "no phase", { .request = on_request } },
};

START_TEST(refuses_a_hook_that_does_not_fit_its_phase)
{
    begin();
    struct weir_handler handler = { .name = "bad",
        .hooks = { &bad_cases[_i].hook, 1, sizeof(struct weir_hook) } };
    struct chain_use uses[] = { { &module, &handlers[0], NULL, 0 },
        { &module, &handler, NULL, 0 } };
    const struct chain *chain = NULL;
    const struct chain_use *bad = NULL;
    unit_check(chain_compile(&arena, uses, 2, &chain, &bad) == -EINVAL, bad_cases[_i].why);
    ck_assert_ptr_eq(bad, &uses[1]);
    ck_assert_ptr_null(chain);
    arena_reset(&arena);
}
END_TEST

/* A module that was built when hooks had no connection function. */
START_TEST(reads_the_shorter_hooks_of_older_modules)
{
    begin();
    struct old_hook {
        enum weir_phase on;
        enum weir_stage stage;
        weir_request_fn *request;
    };
    static const struct old_hook hooks[] = {
        { WEIR_ON_CONTENT, WEIR_STAGE_ANY, on_request },
        { WEIR_ON_HEAD, WEIR_STAGE_ANY, on_request },
    };
    struct weir_handler handler = { .name = "old",
        .hooks = { (const struct weir_hook *)(const void *)hooks, 2, sizeof(hooks[0]) } };
    struct chain_use use = { &module, &handler, NULL, 0 };
    const struct chain *chain = NULL;
    ck_assert_int_eq(chain_compile(&arena, &use, 1, &chain, NULL), 0);
    ck_assert_uint_eq(chain->entries[0].phase, WEIR_ON_HEAD);
    ck_assert(chain->entries[1].request == on_request);
    arena_reset(&arena);
}
END_TEST

START_TEST(refuses_more_hooks_than_it_can_count)
{
    begin();
    static struct weir_hook hooks[32768];
    for (size_t i = 0; i < 32768; i++) {
        hooks[i] = (struct weir_hook){ .on = WEIR_ON_LOG, .request = on_request };
    }
    struct weir_handler handler = { .name = "many", .hooks = WEIR_HOOKS(hooks) };
    struct chain_use uses[] = { { &module, &handler, NULL, 0 },
        { &module, &handler, NULL, 0 } };
    const struct chain *chain = NULL;
    ck_assert_int_eq(chain_compile(&arena, uses, 2, &chain, NULL), -E2BIG);
    arena_reset(&arena);
}
END_TEST

START_TEST(says_so_when_it_has_no_memory)
{
    struct chain_use use = { &module, &handlers[0], NULL, 0 };
    UNIT_EACH_ALLOCATION_FAILS({
        begin();
        const struct chain *chain = NULL;
        int r = chain_compile(&arena, &use, 1, &chain, NULL);
        ck_assert_int_eq(r, failalloc_has_failed() ? -ENOMEM : 0);
        arena_reset(&arena);
    });
}
END_TEST

START_TEST(names_every_phase)
{
    for (int phase = WEIR_ON_ACCEPT; phase <= WEIR_ON_CLOSE; phase++) {
        ck_assert_uint_gt(strlen(phase_name((enum weir_phase)phase)), 2);
    }
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, sorts_by_phase_then_stage_then_position);
    tcase_add_test(tests, compiles_a_chain_without_hooks);
    tcase_add_loop_test(tests, refuses_a_hook_that_does_not_fit_its_phase, 0,
            sizeof(bad_cases) / sizeof(bad_cases[0]));
    tcase_add_test(tests, reads_the_shorter_hooks_of_older_modules);
    tcase_add_test(tests, refuses_more_hooks_than_it_can_count);
    tcase_add_test(tests, says_so_when_it_has_no_memory);
    tcase_add_test(tests, names_every_phase);
}

UNIT_MAIN("module/chain", add_tests)
