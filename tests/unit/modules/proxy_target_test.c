/* SPDX-License-Identifier: MIT */
/* Requests that say which target they are for: keys of a hash, and cookies; also out of memory.
 */
#include <stdio.h>

#include <weir/module.h>

#include "observe/log.h"
#include "support/module_rig.h"
#include "support/unit.h"
#include "support/upstream_rig.h"

static const struct weir_module *const modules[] = { &weir_module_v1 };

static struct upstream_rig upstream;

static const struct testbed_settings settings = {
    .config =
            "{ \"modules\": [\"proxy\"], \"upstreams\": { \"app\": {"
            " \"targets\": [\"127.0.0.1:9\", { \"address\": \"127.0.0.1:10\", \"backup\": true }],"
            " \"balance\": { \"hash\": \"{header.x-key}{query.q}\", \"bound\": 150 },"
            " \"sticky\": { \"cookie\": \"place\", \"secret\": \"s\" }, \"slow_start\": \"5s\" } },"
            " \"servers\": [{ \"listen\": \"127.0.0.1:1\","
            " \"routes\": [{ \"handle\": { \"proxy\": \"app\" } }] }] }",
    .modules = modules,
    .modules_count = 1,
};

#define GET(fields) "GET /a?q=b HTTP/1.1\r\nHost: h\r\n" fields "\r\n"
#define HELLO       "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

START_TEST(gives_a_cookie_once)
{
    upstream_rig_init(&upstream, HELLO);
    struct testbed *testbed = module_testbed_new(&settings);
    testbed_send(testbed, WEIR_STR(GET("X-Key: 1\r\n")));
    testbed_settle(testbed);
    struct weir_str got = testbed_received(testbed);
    const char *cookie = memmem(got.ptr, got.len, "Set-Cookie: place=", 18);
    ck_assert_ptr_nonnull(cookie);
    ck_assert_msg(memcmp(cookie + 34, "; Path=/; HttpOnly; SameSite=Lax\r\n", 34) == 0, "%.*s",
            WEIR_STR_ARG(got));
    char next[200];
    int len = snprintf(next, sizeof(next), GET("Cookie: %.22s\r\n"), cookie + 12);
    size_t before = got.len;
    testbed_send(testbed, weir_str_make(next, (size_t)len));
    testbed_settle(testbed);
    got = testbed_received(testbed);
    ck_assert(got.len > before);
    struct weir_str second = weir_str_make(got.ptr + before, got.len - before);
    ck_assert(unit_ends(second, "hello"));
    ck_assert_msg(!unit_has(second, "Set-Cookie"), "%.*s", WEIR_STR_ARG(second));
    ck_assert(testbed_free(testbed));
}
END_TEST

static const char *const tortures[] = {
    GET("X-Key: 1\r\n"),
    GET("Cookie: place=0123456789abcdef\r\n") GET("X-Key: 1\r\nCookie: place=x\r\n"),
};

START_TEST(survives_every_disturbance)
{
    upstream_rig_init(&upstream, HELLO);
    module_check_torture(&settings, weir_str_from(tortures[_i]));
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
}
END_TEST

static void
add_tests(TCase *tests)
{
    log_init(-1, LOG_ERROR);
    tcase_add_test(tests, gives_a_cookie_once);
    tcase_add_loop_test(tests, survives_every_disturbance, 0, MODULE_ROWS(tortures));
}

UNIT_MAIN("modules/proxy_target", add_tests)
