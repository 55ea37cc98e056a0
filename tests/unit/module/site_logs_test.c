/* SPDX-License-Identifier: MIT */
#include "module/site_logs.h"

#include <errno.h>

#include "support/unit.h"

struct part {
    struct weir_str file;
};

struct conf {
    bool other;
    struct weir_str file;
    struct weir_list files; /* of struct weir_str */
    struct part part;
    struct weir_list parts; /* of struct part */
};

static const struct weir_option part_options[] = {
    { .type = WEIR_TYPE_LOG, .field = "file", .offset = offsetof(struct part, file) },
};

static const struct weir_option options[] = {
    { .type = WEIR_TYPE_BOOL, .field = "other", .offset = offsetof(struct conf, other) },
    { .type = WEIR_TYPE_LOG, .field = "file", .offset = offsetof(struct conf, file) },
    { .type = WEIR_TYPE_LIST,
            .element = WEIR_TYPE_LOG,
            .field = "files",
            .offset = offsetof(struct conf, files) },
    { .type = WEIR_TYPE_OBJECT,
            .field = "part",
            .offset = offsetof(struct conf, part),
            .members = WEIR_OPTIONS(struct part, part_options) },
    { .type = WEIR_TYPE_OBJECTS,
            .field = "parts",
            .offset = offsetof(struct conf, parts),
            .members = WEIR_OPTIONS(struct part, part_options) },
};

static const struct weir_handler handler = {
    .name = "log",
    .options = WEIR_OPTIONS(struct conf, options),
};

static const struct weir_str files[] = { WEIR_STR_INIT("/b"), WEIR_STR_INIT("/a") };
static const struct part parts[] = { { WEIR_STR_INIT("/d") }, { WEIR_STR_INIT("/a") } };

static struct conf conf = {
    .file = WEIR_STR_INIT("/a"),
    .files = { files, 2 },
    .part = { WEIR_STR_INIT("/c") },
    .parts = { parts, 2 },
};
static struct conf standard = { .file = WEIR_STR_INIT("stdout") };

static const struct weir_module module = { .options = WEIR_OPTIONS(struct part, part_options) };
static const struct part own = { WEIR_STR_INIT("/e") };

static struct site_conf confs[] = {
    { .module = &module, .handler = &handler, .conf = &conf },
    { .module = &module, .handler = &handler, .conf = &standard },
};
static struct site_conf *const confs_list[] = { &confs[0], &confs[1] };
static const struct site_module modules[] = { { .module = &module, .options = &own },
    { .module = &module, .options = NULL } };

static void
set_up(struct site *site)
{
    *site = (struct site){ .confs = confs_list,
        .confs_count = 2,
        .modules = modules,
        .modules_count = 2 };
    arena_init(&site->arena, NULL, 0, 1 << 20);
}

START_TEST(finds_each_file_once_wherever_it_stands)
{
    struct site site;
    set_up(&site);
    ck_assert_int_eq(site_find_logs(&site), 0);
    ck_assert_uint_eq(site.log_files_count, 5);
    for (size_t i = 0; i < 5; i++) {
        unsigned found = 0;
        for (size_t j = 0; j < 5; j++) {
            found += site.log_files[j].len == 2 && site.log_files[j].ptr[1] == "abcde"[i];
        }
        ck_assert_uint_eq(found, 1);
    }
    arena_reset(&site.arena);
}
END_TEST

START_TEST(survives_each_allocation_failing)
{
    UNIT_EACH_ALLOCATION_FAILS({
        struct site site;
        set_up(&site);
        int r = site_find_logs(&site);
        ck_assert(r == 0 || r == -ENOMEM);
        arena_reset(&site.arena);
    })
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, finds_each_file_once_wherever_it_stands);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("module/site_logs", add_tests)
