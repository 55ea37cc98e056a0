/* SPDX-License-Identifier: MIT */
#include "server/zones.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "observe/log.h"
#include "server/exit.h"
#include "support/unit.h"

static struct zones *zones;

static void
set_up(void)
{
    zones = zones_new();
    ck_assert_ptr_nonnull(zones);
}

static void
tear_down(void)
{
    zones_free(zones);
}

static struct zone_spec
spec(const char *name, uint64_t bytes, uint64_t layout)
{
    return (struct zone_spec){ WEIR_STR("module"), weir_str_from(name), bytes, layout };
}

static struct plan
make_plan(const struct zone_spec *items, size_t count)
{
    return (struct plan){ .sources_fd = -1, .zones = items, .zones_count = count };
}

static ino_t
file_of(const struct zone_spec *zone)
{
    struct stat file;
    int fd = zones_find(zones, zone);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &file), 0);
    return file.st_ino;
}

START_TEST(keeps_a_zone_over_generations_that_declare_the_same)
{
    const struct zone_spec first[] = { spec("a", 4096, 1), spec("b", 4096, 1) };
    const struct zone_spec second[] = { spec("b", 4096, 1) };
    struct plan one = make_plan(first, 2), two = make_plan(second, 1);
    const struct plan *both[] = { &one, &two };
    ck_assert_int_eq(zones_make(zones, &one), EXIT_OK);
    ino_t file = file_of(&first[1]);
    ck_assert_int_eq(zones_make(zones, &two), EXIT_OK);
    ck_assert_uint_eq(file_of(&second[0]), file);
    zones_keep(zones, both, 2);
    int fd = zones_find(zones, &first[0]);
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_eq(zones_figures(zones).count, 2);
    ck_assert_uint_eq(zones_figures(zones).bytes, 8192);
    zones_keep(zones, both + 1, 1); /* the first one has drained */
    ck_assert_int_eq(zones_find(zones, &first[0]), -1);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    ck_assert_uint_eq(file_of(&second[0]), file);
    zones_keep(zones, NULL, 0);
    ck_assert_uint_eq(zones_figures(zones).count, 0);
}
END_TEST

START_TEST(makes_another_where_size_or_layout_is_another)
{
    const struct zone_spec before[] = { spec("a", 4096, 1) }, larger[] = { spec("a", 8192, 1) },
                           other[] = { spec("a", 4096, 2) };
    struct plan one = make_plan(before, 1), two = make_plan(larger, 1),
                three = make_plan(other, 1);
    ck_assert_int_eq(zones_make(zones, &one), EXIT_OK);
    ck_assert_int_eq(zones_make(zones, &two), EXIT_OK);
    ck_assert_int_eq(zones_make(zones, &three), EXIT_OK);
    ck_assert_uint_ne(file_of(&before[0]), file_of(&larger[0]));
    ck_assert_uint_ne(file_of(&before[0]), file_of(&other[0]));
}
END_TEST

START_TEST(survives_each_allocation_failing)
{
    const struct zone_spec items[] = { spec("a", 64, 1), spec("b", 64, 1) };
    struct plan plan = make_plan(items, 2);
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    log_init(fd, LOG_ERROR);
    UNIT_EACH_ALLOCATION_FAILS({
        struct zones *some = zones_new();
        int code = some == NULL ? EXIT_SYSTEM : zones_make(some, &plan);
        ck_assert(code == EXIT_OK || code == EXIT_SYSTEM);
        zones_free(some);
    })
    log_init(STDERR_FILENO, LOG_INFO);
    close(fd);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, keeps_a_zone_over_generations_that_declare_the_same);
    tcase_add_test(tests, makes_another_where_size_or_layout_is_another);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("server/zones", add_tests)
