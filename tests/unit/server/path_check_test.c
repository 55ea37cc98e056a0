/* SPDX-License-Identifier: MIT */
/* The rules of rights are tests/integration/test_check_paths.py's; here is where paths stand in
 * options, and memory. */
#include "server/path_check.h"

#include <errno.h>
#include <stdio.h>

#include "module/loader.h"
#include "support/unit.h"

struct inner {
    struct weir_str page;
};

struct paths_conf {
    struct weir_str folder, log, unknown;
    struct weir_list pages, several;
    struct weir_map by_status;
    struct inner inner;
};

static const struct weir_option inner_options[] = {
    WEIR_PATH(struct inner, page, .access = WEIR_ACCESS_FILE),
};

static const struct weir_option options[] = {
    WEIR_PATH(struct paths_conf, folder, .access = WEIR_ACCESS_FOLDER),
    WEIR_LOG(struct paths_conf, log),
    WEIR_PATH(struct paths_conf, unknown),
    WEIR_LIST(struct paths_conf, pages, .element = WEIR_TYPE_PATH, .access = WEIR_ACCESS_FILE),
    WEIR_OBJECTS(struct paths_conf, several,
            .members = WEIR_OPTIONS(struct inner, inner_options)),
    WEIR_MAP(struct paths_conf, by_status, .element = WEIR_TYPE_PATH, .keys = WEIR_KEYS_STATUS,
            .rest = true, .access = WEIR_ACCESS_FILE),
    WEIR_OBJECT(struct paths_conf, inner, struct inner,
            .members = WEIR_OPTIONS(struct inner, inner_options)),
};

static enum weir_verdict
answer(struct weir_request *request, const void *conf)
{
    (void)request;
    (void)conf;
    return WEIR_NEXT;
}

static const struct weir_hook hooks[] = { { .on = WEIR_ON_CONTENT, .request = answer } };

static const struct weir_module module = {
    WEIR_MODULE_HEAD("paths", "1", "Names files and folders"),
    WEIR_HANDLERS({ .name = "paths",
            .options = WEIR_OPTIONS(struct paths_conf, options),
            .hooks = WEIR_HOOKS(hooks) }),
};

static struct diagnostics *diagnostics;

static int
check(const char *handle)
{
    char config[1000];
    struct site *site = NULL;
    snprintf(config, sizeof(config),
            "{ \"modules\": [\"paths\"], \"servers\": [{ \"listen\": \":8080\", \"routes\": "
            "[{ \"handle\": { \"paths\": %s } }] }] }",
            handle);
    diagnostics = diagnostics_new();
    if (diagnostics == NULL) {
        return -ENOMEM;
    }
    int r = loader_register(&module, NULL);
    r = r == -EEXIST ? 0 : r;
    r = r < 0 ? r : site_load_text("/weir.json", weir_str_from(config), diagnostics, &site);
    r = r < 0 ? r : path_check(site, diagnostics);
    site_free(site);
    return r;
}

/* /dev is a folder, /dev/null no folder, and nobody has a /none-of-that-name. */
static const struct {
    const char *why, *handle, *pointer;
} cases[] = {
    { "nothing is named", "{}", NULL },
    { "a folder that is there", "{ \"folder\": \"/dev\" }", NULL },
    { "a folder that is not", "{ \"folder\": \"/none-of-that-name\" }", "/folder" },
    { "a file in its place", "{ \"folder\": \"/dev/null\" }", "/folder" },
    { "a path of which nothing is known", "{ \"unknown\": \"/none-of-that-name\" }", NULL },
    { "the second of a list", "{ \"pages\": [\"/dev/null\", \"/dev\"] }", "/pages/1" },
    { "one alone in place of a list", "{ \"pages\": \"/none-of-that-name\" }", "/pages" },
    { "in an object", "{ \"inner\": { \"page\": \"/none-of-that-name\" } }", "/inner/page" },
    { "in objects", "{ \"several\": [{ \"page\": \"/dev/null\" }, { \"page\": \"/dev\" }] }",
            "/several/1/page" },
    { "in one object in place of several", "{ \"several\": { \"page\": \"/dev\" } }",
            "/several/page" },
    { "under a key of its own", "{ \"404\": [\"/dev/null\", \"/none-of-that-name\"] }",
            "/404/1" },
    { "a note is no path", "{ \"x-404\": \"/none-of-that-name\" }", NULL },
    { "a log on a standard stream", "{ \"log\": \"stderr\" }", NULL },
    { "a log without a folder", "{ \"log\": \"/none-of-that-name/a.log\" }", "/log" },
    { "a folder for a log", "{ \"log\": \"/dev\" }", "/log" },
};

START_TEST(looks_wherever_a_path_may_stand)
{
    char wanted[200];
    int r = check(cases[_i].handle);
    unit_check(r == (cases[_i].pointer == NULL ? 0 : -EINVAL), cases[_i].why);
    unit_check(diagnostics_count(diagnostics) == (cases[_i].pointer == NULL ? 0u : 1u),
            cases[_i].why);
    if (cases[_i].pointer != NULL) {
        const struct diagnostic *d = diagnostics_get(diagnostics, 0);
        snprintf(wanted, sizeof(wanted), "/servers/0/routes/0/handle/paths%s",
                cases[_i].pointer);
        ck_assert_msg(weir_str_eq(d->pointer, weir_str_from(wanted)), "%s: %.*s", cases[_i].why,
                WEIR_STR_ARG(d->pointer));
    }
    diagnostics_free(diagnostics);
}
END_TEST

/* With whatever memory there is. */
static void
check_once(void)
{
    int r = check(
            "{ \"folder\": \"/none-of-that-name\", \"log\": \"/dev\", \"404\": [\"/dev\"] }");
    ck_assert(r == -EINVAL || r == -ENOMEM);
    diagnostics_free(diagnostics);
}

START_TEST(survives_each_allocation_failing)
{
    UNIT_EACH_ALLOCATION_FAILS(check_once());
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, looks_wherever_a_path_may_stand, 0,
            sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("server/path_check", add_tests)
