/* SPDX-License-Identifier: MIT */
/* The module `forward_auth` with an upstream in memory: passes, denies, and does neither,
 * however the answer is cut, late, or out of memory. */
#include <errno.h>

#include <weir/module.h>

#include "base/clock.h"
#include "observe/log.h"
#include "support/module_rig.h"
#include "support/unit.h"
#include "support/upstream_rig.h"

/* The handler that answers whoever passes. */
static enum weir_verdict
say_fields(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct weir_str user = weir_request_field(request, WEIR_STR("X-User"));
    return weir_reply_text(request, 200, WEIR_STR("text/plain"),
            user.len > 0 ? user : WEIR_STR("nobody"));
}

static const struct weir_hook says_hooks[] = { { .on = WEIR_ON_CONTENT,
        .request = say_fields } };
static const struct weir_module says_module = {
    WEIR_MODULE_HEAD("says", "1.0.0", "Says who it is"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "says", .hooks = WEIR_HOOKS(says_hooks) }),
};

static const struct weir_module *const modules[] = { &weir_module_v1, &says_module };

static struct upstream_rig upstream;

#define CONFIG(more)                                                                          \
    "{ \"modules\": [\"forward_auth\", \"says\"], \"upstreams\": { \"auth\": { \"targets\": " \
    "\"127.0.0.1:9\" } }, \"servers\": [{ \"listen\": \"127.0.0.1:1\", \"routes\": [{ "       \
    "\"use\": { \"forward_auth\": { \"to\": \"auth\", \"copy\": \"X-User\" " more             \
    " } }, \"handle\": \"says\" }] }] }"

static struct testbed_settings settings = { .modules = modules, .modules_count = 2 };

#define GET  "GET /a HTTP/1.1\r\nHost: h\r\nX-User: root\r\nX_User: root\r\n\r\n"
#define POST "POST /a HTTP/1.1\r\nHost: h\r\nX-User: root\r\nContent-Length: 2\r\n\r\nhi"
#define PASS "HTTP/1.1 200 OK\r\nX-User: alice\r\nContent-Length: 2\r\n\r\nok"
#define DENY "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nstop"

static const struct row {
    const char *why, *config, *request, *answer, *status, *part;
} rows[] = {
    { "passes", CONFIG(""), GET, PASS, "200", "alice" },
    { "passes, with a body", CONFIG(""), POST, PASS, "200", "alice" },
    { "passes without a name", CONFIG(""), GET, "HTTP/1.1 204 OK\r\n\r\n", "200", "nobody" },
    { "is denied", CONFIG(""), GET, DENY, "401", "WWW-Authenticate: Basic\r\n" },
    { "is denied, with a body", CONFIG(""), POST, DENY, "401", "stop" },
    { "is sent elsewhere", CONFIG(""), GET,
            "HTTP/1.1 302 X\r\nLocation: /l\r\nContent-Length: 0\r\n\r\n", "302",
            "Location: /l\r\n" },
    { "is denied by HEAD", CONFIG(", \"method\": \"HEAD\""), GET,
            "HTTP/1.1 403 No\r\nContent-Length: 9\r\nX-A: b\r\n\r\n", "403", "X-A: b\r\n" },
    { "304", CONFIG(""), GET, "HTTP/1.1 304 No\r\n\r\n", "502", "502" },
    { "304, and all may", CONFIG(", \"on_error\": \"allow\""), GET, "HTTP/1.1 304 No\r\n\r\n",
            "200", "nobody" },
    { "no HTTP", CONFIG(""), GET, "what?\r\n", "502", "502" },
    { "what cannot be put in", CONFIG(""), GET,
            "HTTP/1.1 200 OK\r\nX-User: \x80\r\nContent-Length: 0\r\n\r\n", "200", "\x80" },
};

START_TEST(lets_pass_whom_the_upstream_lets_pass)
{
    const struct row *row = &rows[_i];
    const size_t pieces[] = { 0, 1, 7 };
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        upstream_rig_init(&upstream, row->answer);
        upstream.piece_bytes = pieces[i];
        settings.config = row->config;
        struct testbed *testbed = module_testbed_new(&settings);
        testbed_send(testbed, weir_str_from(row->request));
        for (size_t turns = 0; turns < 200; turns++) {
            testbed_turn(testbed);
        }
        testbed_settle(testbed);
        struct weir_str got = testbed_received(testbed);
        ck_assert_msg(got.len > 12 && strncmp(got.ptr + 9, row->status, 3) == 0, "%s: %.*s",
                row->why, WEIR_STR_ARG(got));
        ck_assert_msg(unit_has(got, row->part), "%s: %.*s", row->why, WEIR_STR_ARG(got));
        unit_check(!unit_has(got, "root") && strstr(upstream.asked, "root") == NULL, row->why);
        unit_check(strstr(upstream.asked, "X-Forwarded-Uri: /a\r\n") != NULL, row->why);
        unit_check(strstr(upstream.asked, "hi") == NULL, row->why);
        ck_assert(testbed_free(testbed));
        ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
    }
}
END_TEST

START_TEST(lets_nobody_pass_when_nobody_decides)
{
    const int errors[] = { -ECONNREFUSED, -ETIMEDOUT, -EMFILE };
    const char *const statuses[] = { "502", "504", "503" };
    for (size_t i = 0; i < 3; i++) {
        upstream_rig_init(&upstream, PASS);
        upstream.error = errors[i];
        settings.config = CONFIG("");
        struct testbed *testbed = module_testbed_new(&settings);
        testbed_send(testbed, WEIR_STR(GET));
        ck_assert(strncmp(testbed_received(testbed).ptr + 9, statuses[i], 3) == 0);
        ck_assert(!unit_has(testbed_received(testbed), "nobody"));
        ck_assert(testbed_free(testbed));
    }
}
END_TEST

START_TEST(waits_no_longer_than_the_upstream_may_take)
{
    upstream_rig_init(&upstream, "");
    settings.config = CONFIG("");
    struct testbed *testbed = module_testbed_new(&settings);
    testbed_send(testbed, WEIR_STR(GET));
    testbed_pass(testbed, 59 * NS_PER_S);
    ck_assert_uint_eq(testbed_received(testbed).len, 0);
    testbed_pass(testbed, 2 * NS_PER_S);
    ck_assert(strncmp(testbed_received(testbed).ptr + 9, "504", 3) == 0);
    ck_assert(testbed_free(testbed));
}
END_TEST

START_TEST(survives_every_disturbance)
{
    static const char *const answers[] = { PASS, DENY };
    upstream_rig_init(&upstream, answers[_i]);
    settings.config = CONFIG("");
    module_check_torture(&settings, WEIR_STR(POST GET));
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
}
END_TEST

static void
add_tests(TCase *tests)
{
    log_init(-1, LOG_ERROR);
    tcase_add_loop_test(tests, lets_pass_whom_the_upstream_lets_pass, 0, MODULE_ROWS(rows));
    tcase_add_test(tests, lets_nobody_pass_when_nobody_decides);
    tcase_add_test(tests, waits_no_longer_than_the_upstream_may_take);
    tcase_add_loop_test(tests, survives_every_disturbance, 0, 2);
}

UNIT_MAIN("modules/forward_auth", add_tests)
