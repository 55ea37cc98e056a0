/* SPDX-License-Identifier: MIT */
#include "module/loader.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/sample_modules.h"
#include "support/unit.h"

static void
build_path(char *dst, const char *name)
{
    const char *builddir = getenv("WEIR_BUILDDIR");
    snprintf(dst, PATH_MAX, "%s/tests/support/.libs/%s", builddir == NULL ? "." : builddir,
            name);
}

static const struct {
    const char *why, *file;
    int want;
    const char *message, *note, *hint; /* parts of what is said */
} files[] = {
    { "a module as it should be", "libodd_good.so", 0, NULL, NULL, NULL },
    { "an older module, whose tables are shorter", "libodd_older.so", 0, NULL, NULL, NULL },
    { "something else under the symbol", "libodd_magic.so", -EINVAL, "no module of Weir",
            "expected the number 0x72696577", "rebuild" },
    { "another ABI", "libodd_abi.so", -EINVAL, "another Weir", "expected ABI 1, found ABI 2",
            "install the Weir it was built for" },
    { "a newer module", "libodd_newer.so", -EINVAL, "a newer Weir", "this Weir knows",
            "install a newer Weir" },
    { "a hook without function", "libodd_hookless.so", -EINVAL, "hook 0 of its handler \"odd\"",
            "function", "rebuild" },
    { "too small to be a table", "libodd_tiny.so", -EINVAL, "no module of Weir", "too small",
            "rebuild" },
    { "a preset that does not read", "libodd_preset.so", -EINVAL, "handler \"odd\" are wrong",
            "preset of option \"number\"", "rebuild" },
    { "a figure with another module's name", "libodd_metrics.so", -EINVAL,
            "its figure 0, \"weir_even_hits_total\", is wrong", "weir_MODULE_WHAT", "rebuild" },
    { "no table", "libodd_symbol.so", -EINVAL, "is no module", "no symbol weir_module_v1",
            "is it a module" },
    { "no file", "libodd_missing.so", -ENOENT, NULL, NULL, NULL },
    { "a directory", ".", -EINVAL, "no regular file", NULL, NULL },
    { "no shared object", "../odd_module.o.txt", -EINVAL, "cannot be loaded", NULL, NULL },
};

START_TEST(takes_or_refuses_files_with_a_reason)
{
    char path[PATH_MAX];
    const struct weir_module *module = NULL;
    struct loader_mistake mistake;
    build_path(path, files[_i].file);
    if (strstr(files[_i].file, ".txt") != NULL) {
        snprintf(path, sizeof(path), "/tmp/weir-loader-%d.so", (int)getpid());
        FILE *file = fopen(path, "w");
        fputs("this is text\n", file);
        fclose(file);
    }
    int r = loader_open("odd", path, &module, &mistake);
    if (strstr(files[_i].file, ".txt") != NULL) {
        unlink(path);
    }
    ck_assert_msg(r == files[_i].want, "%s: %d %s %s", files[_i].why, r, mistake.message,
            mistake.note);
    if (files[_i].message != NULL) {
        unit_check(strstr(mistake.message, files[_i].message) != NULL, mistake.message);
    }
    if (files[_i].note != NULL) {
        unit_check(strstr(mistake.note, files[_i].note) != NULL, mistake.note);
    }
    if (files[_i].hint != NULL) {
        unit_check(strstr(mistake.hint, files[_i].hint) != NULL, mistake.hint);
    }
}
END_TEST

START_TEST(brings_older_tables_to_the_size_it_knows)
{
    char path[PATH_MAX];
    const struct weir_module *module = NULL, *again = NULL;
    struct loader_mistake mistake;
    build_path(path, "libodd_older.so");
    ck_assert_int_eq(loader_open("odd", path, &module, &mistake), 0);
    ck_assert_ptr_null((void *)(uintptr_t)module->init);
    ck_assert_uint_eq(module->handlers.item_bytes, sizeof(struct weir_handler));
    ck_assert_str_eq(module->handlers.items[1].name, "odd2");
    ck_assert_ptr_null((void *)(uintptr_t)module->handlers.items[0].conf_open);
    const struct weir_options *options = &module->handlers.items[0].options;
    ck_assert_uint_eq(options->item_bytes, sizeof(struct weir_option));
    ck_assert_str_eq(options->items[1].field, "again");
    ck_assert_ptr_null(options->items[1].preset);
    ck_assert_int_eq(loader_open("odd", path, &again, &mistake), 0);
    ck_assert_ptr_eq(module, again);
}
END_TEST

START_TEST(refuses_a_figure_that_another_module_has)
{
    static const struct weir_own_metric of_a[] = {
        { .type = WEIR_METRIC_GAUGE, .name = "weir_a_b_c", .help = "Hits" },
    };
    static const struct weir_module a = { WEIR_MODULE_HEAD("a", "1", ""),
        .metrics = WEIR_METRICS(of_a) };
    static const struct weir_module a_b = { WEIR_MODULE_HEAD("a-b", "1", ""),
        .metrics = WEIR_METRICS(of_a) };
    struct loader_mistake mistake;
    ck_assert_int_eq(loader_register(&a, NULL), 0);
    ck_assert_int_eq(loader_register(&a_b, &mistake), -EINVAL);
    ck_assert_str_eq(mistake.message, "its figure \"weir_a_b_c\" is the module a's");
    ck_assert_str_eq(mistake.hint, "give one of them another name");
}
END_TEST

START_TEST(tells_a_module_by_its_name)
{
    char path[PATH_MAX];
    const struct weir_module *module;
    struct loader_mistake mistake;
    build_path(path, "libodd_good.so");
    ck_assert_int_eq(loader_open("other", path, &module, &mistake), -EINVAL);
    ck_assert_ptr_nonnull(strstr(mistake.message, "holds the module \"odd\""));
    ck_assert_ptr_nonnull(strstr(mistake.hint, "declare it as \"odd\""));
}
END_TEST

START_TEST(finds_modules_by_name_in_its_directory)
{
    char path[PATH_MAX];
    const struct weir_module *module;
    struct loader_mistake mistake;
    build_path(path, "");
    setenv("WEIR_MODULE_DIR", path, 1);
    sample_modules_register(false);
    ck_assert(loader_is_installed("libodd_good"));
    ck_assert(loader_is_installed("probe"));
    ck_assert(!loader_is_installed("none"));
    ck_assert(!loader_is_installed("../support/.libs/libodd_good"));
    ck_assert_int_eq(loader_open("none", NULL, &module, &mistake), -ENOENT);
    ck_assert_int_eq(loader_open("../x", NULL, &module, &mistake), -ENOENT);
    ck_assert_int_eq(loader_open("probe", NULL, &module, &mistake), 0);
    ck_assert_str_eq(module->name, "probe");
}
END_TEST

static void
count_name(void *context, const char *name)
{
    int *counts = context;
    counts[0] += strcmp(name, "probe") == 0;
    counts[1] += strcmp(name, "libodd_good") == 0;
}

START_TEST(names_what_is_installed_each_once)
{
    char path[PATH_MAX];
    int counts[2] = { 0, 0 };
    build_path(path, "");
    setenv("WEIR_MODULE_DIR", path, 1);
    sample_modules_register(false);
    sample_modules_register(false);
    ck_assert_int_eq(loader_names(count_name, counts), 0);
    ck_assert_int_eq(counts[0], 1);
    ck_assert_int_eq(counts[1], 1);
}
END_TEST

START_TEST(refuses_a_file_that_everybody_may_write)
{
    char path[PATH_MAX], copy[] = "/tmp/weir-loader-XXXXXX";
    const struct weir_module *module;
    struct loader_mistake mistake;
    build_path(path, "libodd_good.so");
    int fd = mkstemp(copy);
    ck_assert_int_ne(fd, -1);
    close(fd);
    ck_assert_int_eq(chmod(copy, 0777), 0);
    int r = loader_open("odd", copy, &module, &mistake);
    unlink(copy);
    ck_assert_int_eq(r, -EINVAL);
    /* Without privileges it is merely no module. */
    if (geteuid() == 0) {
        ck_assert_ptr_nonnull(strstr(mistake.message, "everybody may write"));
    }
}
END_TEST

static void
open_all(void)
{
    char path[PATH_MAX];
    const struct weir_module *module;
    struct loader_mistake mistake;
    build_path(path, "libodd_good.so");
    int r = loader_open("odd", path, &module, &mistake);
    ck_assert(r == 0 || r == -ENOMEM || r == -EINVAL);
    int counts[2];
    r = loader_names(count_name, counts);
    ck_assert(r == 0 || r == -ENOMEM);
}

START_TEST(survives_each_allocation_failing)
{
    UNIT_EACH_ALLOCATION_FAILS(open_all());
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, takes_or_refuses_files_with_a_reason, 0,
            (int)(sizeof(files) / sizeof(files[0])));
    tcase_add_test(tests, brings_older_tables_to_the_size_it_knows);
    tcase_add_test(tests, refuses_a_figure_that_another_module_has);
    tcase_add_test(tests, tells_a_module_by_its_name);
    tcase_add_test(tests, finds_modules_by_name_in_its_directory);
    tcase_add_test(tests, names_what_is_installed_each_once);
    tcase_add_test(tests, refuses_a_file_that_everybody_may_write);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("module/loader", add_tests)
