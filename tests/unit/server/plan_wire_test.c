/* SPDX-License-Identifier: MIT */
#include "server/plan_wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/wire.h"
#include "config/document.h"
#include "support/unit.h"

static struct arena arena;
static const struct config_value *document;

static const char text[] = "{ \"servers\": [{ \"listen\": [\":80\", \"unix:web.sock\", \"@a\"],"
                           " \"routes\": [{ \"use\": [{ \"log\": \"logs/a.log\" }] }] }] }";

static void
set_up(void)
{
    struct diagnostics *diagnostics = diagnostics_new();
    arena_init(&arena, NULL, 0, 1 << 20);
    ck_assert_int_eq(document_load_text("/etc/weir/a.json", weir_str_from(text), &arena,
                             diagnostics, &document),
            0);
    diagnostics_free(diagnostics);
}

static void
tear_down(void)
{
    arena_reset(&arena);
}

struct listener_row {
    const char *written, *absolute;
    uint64_t mode, backlog;
};

static void
put(struct buf *out, const struct listener_row *listeners, uint64_t count, const char *log)
{
    ck_assert_int_eq(wire_put_u64(out, count), 0);
    for (uint64_t i = 0; i < count; i++) {
        ck_assert_int_eq(wire_put_str(out, weir_str_from(listeners[i].written)), 0);
        ck_assert_int_eq(wire_put_str(out, weir_str_from(listeners[i].absolute)), 0);
        ck_assert_int_eq(wire_put_u64(out, listeners[i].mode), 0);
        ck_assert_int_eq(wire_put_u64(out, listeners[i].backlog), 0);
    }
    ck_assert_int_eq(wire_put_u64(out, log != NULL), 0);
    if (log != NULL) {
        ck_assert_int_eq(wire_put_str(out, weir_str_from(log)), 0);
    }
}

static void
put_zones(struct buf *out, const struct zone_spec *zones, uint64_t count)
{
    ck_assert_int_eq(wire_put_u64(out, count), 0);
    for (uint64_t i = 0; i < count; i++) {
        ck_assert_int_eq(wire_put_str(out, zones[i].module), 0);
        ck_assert_int_eq(wire_put_str(out, zones[i].name), 0);
        ck_assert_int_eq(wire_put_u64(out, zones[i].bytes), 0);
        ck_assert_int_eq(wire_put_u64(out, zones[i].layout), 0);
    }
}

static const struct zone_spec a_zone = { { "rate_limit", 10 }, { "login", 5 }, 4096, 7 };

static int
read_plan(struct weir_str bytes, struct plan *plan)
{
    memset(plan, 0, sizeof(*plan));
    arena_init(&plan->arena, NULL, 0, 1 << 20);
    return plan_wire_read(bytes, document, plan);
}

static const struct listener_row good[] = {
    { ":80", ":80", 0660, 1024 },
    { "unix:web.sock", "unix:/etc/weir/web.sock", 0600, 1 },
    { "@a", "@a", 0, 65535 },
};

START_TEST(takes_what_the_text_says_too)
{
    struct plan plan;
    struct buf buf;
    buf_init(&buf, 10000);
    put(&buf, good, 3, "/etc/weir/logs/a.log");
    put_zones(&buf, &a_zone, 1);
    ck_assert_int_eq(read_plan(buf_str(&buf), &plan), 0);
    ck_assert_uint_eq(plan.listeners_count, 3);
    ck_assert(weir_str_eq(plan.listeners[1].address, WEIR_STR("unix:web.sock")));
    ck_assert_str_eq(plan.listeners[1].addr.un.sun_path, "/etc/weir/web.sock");
    ck_assert_uint_eq(plan.listeners[1].mode, 0600);
    ck_assert_int_eq(plan.listeners[2].backlog, 65535);
    ck_assert_uint_eq(addr_port(&plan.listeners[0].addr), 80);
    ck_assert_uint_eq(plan.log_files_count, 1);
    ck_assert(weir_str_eq(plan.log_files[0], WEIR_STR("/etc/weir/logs/a.log")));
    ck_assert_uint_eq(plan.zones_count, 1);
    ck_assert(zone_eq(&plan.zones[0], &a_zone));
    arena_reset(&plan.arena);

    struct weir_str whole = buf_str(&buf);
    for (size_t len = 0; len < whole.len; len++) {
        char *cut = malloc(len + 1);
        memcpy(cut, whole.ptr, len);
        ck_assert_int_eq(read_plan(weir_str_make(cut, len), &plan), -EPROTO);
        arena_reset(&plan.arena);
        free(cut);
    }
    /* Any byte may be another one: it fits or not, and nothing else happens. */
    for (size_t i = 0; i < whole.len; i++) {
        char *changed = malloc(whole.len);
        memcpy(changed, whole.ptr, whole.len);
        changed[i] = (char)(changed[i] ^ 0xff);
        int r = read_plan(weir_str_make(changed, whole.len), &plan);
        ck_assert(r == 0 || r == -EPROTO);
        arena_reset(&plan.arena);
        free(changed);
    }
    buf_fini(&buf);
}
END_TEST

static const struct {
    const char *why;
    struct listener_row listener;
    const char *log;
    int want;
} refused[] = {
    { "an address that the text does not hold", { ":81", ":81", 0660, 1 }, NULL, -EPROTO },
    { "an address that is written, and another one meant", { ":80", ":81", 0660, 1 }, NULL,
            -EPROTO },
    { "a socket file somewhere else", { "unix:web.sock", "unix:/etc/passwd", 0660, 1 }, NULL,
            -EPROTO },
    { "a text that is no address", { "logs/a.log", "logs/a.log", 0660, 1 }, NULL, -EPROTO },
    { "permissions beyond those of files", { ":80", ":80", 04777, 1 }, NULL, -EPROTO },
    { "a backlog beyond bounds", { ":80", ":80", 0660, 65536 }, NULL, -EPROTO },
    { "a log file that is not absolute", { ":80", ":80", 0660, 1 }, "logs/a.log", -EPROTO },
    { "a log file that the text does not hold is left to the worker", { ":80", ":80", 0660, 1 },
            "/etc/cron.d/a", 0 },
};

START_TEST(takes_nothing_that_the_text_does_not_say)
{
    struct plan plan;
    struct buf buf;
    buf_init(&buf, 10000);
    put(&buf, &refused[_i].listener, 1, refused[_i].log);
    put_zones(&buf, NULL, 0);
    unit_check(read_plan(buf_str(&buf), &plan) == refused[_i].want, refused[_i].why);
    unit_check(plan.log_files_count == 0, refused[_i].why);
    arena_reset(&plan.arena);
    buf_fini(&buf);
}
END_TEST

START_TEST(bounds_the_numbers)
{
    struct plan plan;
    struct buf buf;
    buf_init(&buf, 10000);
    ck_assert_int_eq(wire_put_u64(&buf, PLAN_MAX_LISTENERS + 1), 0);
    ck_assert_int_eq(read_plan(buf_str(&buf), &plan), -EPROTO);
    arena_reset(&plan.arena);
    buf_fini(&buf);
    ck_assert_int_eq(wire_put_u64(&buf, 0), 0);
    ck_assert_int_eq(wire_put_u64(&buf, UINT64_MAX), 0);
    ck_assert_int_eq(read_plan(buf_str(&buf), &plan), -EPROTO);
    arena_reset(&plan.arena);
    buf_fini(&buf);
    put(&buf, good, 3, NULL);
    ck_assert_int_eq(wire_put_u64(&buf, WEIR_ZONES_MAX + 1), 0);
    ck_assert_int_eq(read_plan(buf_str(&buf), &plan), -EPROTO);
    arena_reset(&plan.arena);
    buf_fini(&buf);
}
END_TEST

#define ZONE(name_, bytes_)                                               \
    {                                                                     \
        { "rate_limit", 10 }, { (name_), sizeof(name_) - 1 }, (bytes_), 1 \
    }

static const struct {
    const char *why;
    struct zone_spec zones[5];
    uint64_t count;
    int want;
} zone_rows[] = {
    { "several", { ZONE("a", 1), ZONE("b", WEIR_ZONE_MAX_BYTES) }, 2, 0 },
    { "one without a name", { ZONE("", 1) }, 1, -EPROTO },
    { "a name with a line's end", { ZONE("a\n", 1) }, 1, -EPROTO },
    { "one without bytes", { ZONE("a", 0) }, 1, -EPROTO },
    { "one that is too large", { ZONE("a", WEIR_ZONE_MAX_BYTES + 1) }, 1, -EPROTO },
    { "one twice", { ZONE("a", 1), ZONE("a", 2) }, 2, -EPROTO },
    { "as much as may be",
            { ZONE("a", WEIR_ZONE_MAX_BYTES), ZONE("b", WEIR_ZONE_MAX_BYTES),
                    ZONE("c", WEIR_ZONE_MAX_BYTES), ZONE("d", WEIR_ZONE_MAX_BYTES) },
            4, 0 },
    { "a byte more",
            { ZONE("a", WEIR_ZONE_MAX_BYTES), ZONE("b", WEIR_ZONE_MAX_BYTES),
                    ZONE("c", WEIR_ZONE_MAX_BYTES), ZONE("d", WEIR_ZONE_MAX_BYTES),
                    ZONE("e", 1) },
            5, -EPROTO },
};

START_TEST(bounds_what_workers_share)
{
    struct plan plan;
    struct buf buf;
    buf_init(&buf, 10000);
    put(&buf, good, 3, NULL);
    put_zones(&buf, zone_rows[_i].zones, zone_rows[_i].count);
    unit_check(read_plan(buf_str(&buf), &plan) == zone_rows[_i].want, zone_rows[_i].why);
    arena_reset(&plan.arena);
    buf_fini(&buf);
}
END_TEST

START_TEST(survives_each_allocation_failing)
{
    struct buf buf;
    buf_init(&buf, 10000);
    put(&buf, good, 3, "/etc/weir/logs/a.log");
    put_zones(&buf, &a_zone, 1);
    UNIT_EACH_ALLOCATION_FAILS({
        struct plan plan;
        int r = read_plan(buf_str(&buf), &plan);
        ck_assert(r == 0 || r == -ENOMEM);
        arena_reset(&plan.arena);
    })
    buf_fini(&buf);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, takes_what_the_text_says_too);
    tcase_add_loop_test(tests, takes_nothing_that_the_text_does_not_say, 0,
            sizeof(refused) / sizeof(refused[0]));
    tcase_add_test(tests, bounds_the_numbers);
    tcase_add_loop_test(tests, bounds_what_workers_share, 0,
            sizeof(zone_rows) / sizeof(zone_rows[0]));
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("server/plan_wire", add_tests)
