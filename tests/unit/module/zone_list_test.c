/* SPDX-License-Identifier: MIT */
/* What modules declare to share, as conf_check() and conf_open() do. */
#include "module/zone_list.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support/conf_rig.h"
#include "support/unit.h"

struct zone_conf {
    struct weir_str name, other; /* other: declared as well, with another layout */
    uint64_t bytes, times;
    bool is_undeclared;
    void *memory; /* conf_open()'s */
};

static const struct weir_option options[] = {
    WEIR_STRING(struct zone_conf, name, .preset = "a"),
    WEIR_STRING(struct zone_conf, other, .preset = "b"),
    WEIR_SIZE(struct zone_conf, bytes, .preset = "4k", .zero = true),
    WEIR_COUNT(struct zone_conf, times, .preset = "1"),
    WEIR_BOOL(struct zone_conf, is_undeclared, .key = "undeclared"),
};

static int
check(const void *conf_, struct weir_conf_report *report)
{
    const struct zone_conf *conf = conf_;
    int r = 0;
    if (conf->is_undeclared) {
        return 0;
    }
    for (uint64_t i = 0; r == 0 && i < conf->times; i++) {
        char name[128];
        int len = snprintf(name, sizeof(name), i == 0 ? "%.*s" : "%.*s%llu",
                WEIR_STR_ARG(conf->name), (unsigned long long)i);
        r = weir_zone_declare(report, "name", weir_str_make(name, (size_t)len), conf->bytes, 1);
    }
    r = r < 0 ? r : weir_zone_declare(report, "name", conf->name, conf->bytes, 1); /* again */
    return r < 0 ? r : weir_zone_declare(report, "other", conf->other, 64, 2);
}

static int
open_zone(void *conf_, struct weir_conf_report *report)
{
    struct zone_conf *conf = conf_;
    conf->memory = weir_zone_open(report, conf->name);
    int r = weir_zone_declare(report, NULL, WEIR_STR("late"), 64, 1);
    return conf->memory == NULL ? -ENOMEM : r == -EINVAL ? 0 : -EPROTO;
}

static const struct weir_handler handler = {
    .name = "zoned",
    .options = WEIR_OPTIONS(struct zone_conf, options),
    .conf_check = check,
    .conf_open = open_zone,
};

static const struct {
    const char *why, *conf, *message; /* "": it is taken */
} rows[] = {
    { "two zones", "{}", "" },
    { "as many as there may be", "{ \"times\": 63 }", "" },
    { "one more", "{ \"times\": 64 }", "workers share 64 pieces of memory already" },
    { "the largest", "{ \"bytes\": \"256m\", \"times\": 3 }", "" },
    { "a larger one", "{ \"bytes\": \"257m\" }",
            "this takes 257 MiB of memory that workers share; 256 MiB at most" },
    { "more than there may be in all", "{ \"bytes\": \"256m\", \"times\": 5 }",
            "all memory that workers share is more than 1024 MiB" },
    { "no bytes", "{ \"bytes\": 0 }", "wants a name" },
    { "a name with a space", "{ \"name\": \"a b\" }", "wants a name of 1 to 64 letters" },
    { "no name", "{ \"name\": \"\" }", "wants a name of 1 to 64 letters" },
    { "a long name",
            "{ \"name\": "
            "\"12345678901234567890123456789012345678901234567890123456789012345\" }",
            "wants a name of 1 to 64 letters" },
    { "one name for two things", "{ \"other\": \"a\" }",
            "\"a\" is shared with a configuration whose other options differ" },
    { "opened without being declared", "{ \"undeclared\": true }",
            "\"a\" that workers share is not here: it was not declared" },
};

START_TEST(takes_what_may_be_shared)
{
    struct conf_rig rig;
    bool is_good = conf_rig_init(&rig, &handler, rows[_i].conf, NULL);
    if (rows[_i].message[0] == '\0') {
        /* Too late a declaration is reported as well, and is no zone. */
        const struct zone_conf *conf = rig.conf;
        unit_check(is_good && conf->memory != NULL, rows[_i].why);
        unit_check(strstr(conf_rig_message(&rig), "is declared when the configuration") != NULL,
                rows[_i].why);
    } else {
        unit_check(!is_good, rows[_i].why);
        ck_assert_msg(strstr(conf_rig_message(&rig), rows[_i].message) != NULL, "%s: %s",
                rows[_i].why, conf_rig_message(&rig));
    }
    conf_rig_fini(&rig);
    zone_forget();
}
END_TEST

START_TEST(gives_one_memory_to_all_that_declare_it)
{
    struct conf_rig one, two;
    ck_assert(conf_rig_init(&one, &handler, "{}", NULL));
    ck_assert(conf_rig_init(&two, &handler, "{}", NULL));
    const struct zone_conf *a = one.conf, *b = two.conf;
    ck_assert_ptr_eq(a->memory, b->memory);
    ck_assert_uint_eq(one.zones.count, 2);
    ck_assert_uint_eq(one.zones.bytes, 4096 + 64);
    conf_rig_fini(&one);
    conf_rig_fini(&two);
    zone_forget();
}
END_TEST

START_TEST(says_that_the_server_has_not_sent_it)
{
    struct conf_rig rig;
    zone_expect_offers();
    ck_assert(!conf_rig_init(&rig, &handler, "{}", NULL));
    ck_assert_msg(strstr(conf_rig_message(&rig), "the server has not sent it") != NULL, "%s",
            conf_rig_message(&rig));
    conf_rig_fini(&rig);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, takes_what_may_be_shared, 0, sizeof(rows) / sizeof(rows[0]));
    tcase_add_test(tests, gives_one_memory_to_all_that_declare_it);
    tcase_add_test(tests, says_that_the_server_has_not_sent_it);
}

UNIT_MAIN("module/zone_list", add_tests)
