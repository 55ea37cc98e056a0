/* SPDX-License-Identifier: MIT */
/* Changes of fields, and answers in the place of the upstream's, late, cut, or out of memory.
 */
#include <weir/module.h>

#include "observe/log.h"
#include "support/module_rig.h"
#include "support/unit.h"
#include "support/upstream_rig.h"

static const struct weir_module *const modules[] = { &weir_module_v1 };

static struct upstream_rig upstream;

static const struct testbed_settings settings = {
    .config =
            "{ \"modules\": [\"proxy\"], \"upstreams\": { \"app\": { \"targets\": \"127.0.0.1:9\" "
            "} }, \"servers\": [{ \"listen\": \"127.0.0.1:1\", \"routes\": [{ \"handle\": { "
            "\"proxy\": { \"to\": \"app\", \"proxy_status\": true, \"next_hop\": true, "
            "\"intercept\": \"5xx\", \"headers\": { \"request\": { \"set\": { \"a\": \"{path}\", "
            "\"via\": \"me\" }, \"add\": { \"b\": \"2\" }, \"remove\": \"c\" }, \"response\": { "
            "\"set\": { \"d\": \"{upstream.address} {upstream.status} {upstream.retries}\" }, "
            "\"add\": { \"e\": \"5\" }, \"remove\": \"f\" } } } } }] }] }",
    .modules = modules,
    .modules_count = 1,
};

#define GET   "GET /a HTTP/1.1\r\nHost: h\r\nA: 0\r\nB: 1\r\nC: 3\r\nForwarded: for=x\r\n\r\n"
#define HELLO "HTTP/1.1 200 OK\r\nF: 6\r\nE: 4\r\nContent-Length: 5\r\n\r\nhello"
#define BUSY  "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy"

START_TEST(changes_what_goes_either_way)
{
    upstream_rig_init(&upstream, HELLO);
    struct testbed *testbed = module_testbed_new(&settings);
    testbed_send(testbed, WEIR_STR(GET));
    ck_assert_ptr_nonnull(strstr(upstream.asked, "B: 1\r\n"));
    ck_assert_ptr_nonnull(strstr(upstream.asked, "a: /a\r\n"));
    ck_assert_ptr_nonnull(strstr(upstream.asked, "via: me\r\n"));
    ck_assert_ptr_nonnull(strstr(upstream.asked, "b: 2\r\n"));
    ck_assert_ptr_null(strstr(upstream.asked, "A: 0\r\n"));
    ck_assert_ptr_null(strstr(upstream.asked, "C: 3\r\n"));
    ck_assert_ptr_null(strstr(upstream.asked, "Via: "));
    ck_assert_ptr_null(strstr(upstream.asked, "Forwarded: for=x"));
    struct weir_str got = testbed_received(testbed);
    ck_assert(unit_has(got, "E: 4\r\n") && unit_has(got, "e: 5\r\n"));
    ck_assert(unit_has(got, "d: 127.0.0.1:9 200 0\r\n") && !unit_has(got, "F: 6"));
    ck_assert(unit_has(got,
            "Proxy-Status: weir; received-status=200; next-hop=\"127.0.0.1:9\"\r\n"));
    ck_assert(testbed_free(testbed));
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
}
END_TEST

START_TEST(answers_in_its_place)
{
    upstream_rig_init(&upstream, BUSY);
    struct testbed *testbed = module_testbed_new(&settings);
    testbed_send(testbed, WEIR_STR(GET));
    struct weir_str got = testbed_received(testbed);
    ck_assert(unit_has(got, "503 Service Unavailable") && unit_has(got, "Retry-After: 7\r\n"));
    ck_assert(!unit_has(got, "busy") && !unit_has(got, "e: 5"));
    ck_assert(unit_has(got, "received-status=503"));
    ck_assert(testbed_free(testbed));
}
END_TEST

START_TEST(survives_every_disturbance)
{
    static const char *const answers[] = { HELLO, BUSY };
    upstream_rig_init(&upstream, answers[_i]);
    module_check_torture(&settings, WEIR_STR(GET));
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
}
END_TEST

static void
add_tests(TCase *tests)
{
    log_init(-1, LOG_ERROR);
    tcase_add_test(tests, changes_what_goes_either_way);
    tcase_add_test(tests, answers_in_its_place);
    tcase_add_loop_test(tests, survives_every_disturbance, 0, 2);
}

UNIT_MAIN("modules/proxy_edits", add_tests)
