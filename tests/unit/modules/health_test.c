/* SPDX-License-Identifier: MIT */
/* Who is told that the server lives and is ready (F94), on the testbed. With a busy pool,
 * across reloads and over a stop: tests/integration/test_health.py. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <weir/reply.h>
#include <weir/request.h>

#include "observe/log.h"
#include "support/unit.h"
#include "testkit/testbed.h"

/* A gate that lets nobody in, and a handler behind it. */
static enum weir_verdict
refuse(struct weir_request *request, const void *conf)
{
    (void)conf;
    return weir_reply_error(request, 403);
}

static const struct weir_hook gate_hooks[] = {
    { .on = WEIR_ON_ACCESS, .stage = WEIR_STAGE_LIMIT, .request = refuse },
    { .on = WEIR_ON_CONTENT, .request = refuse }
};

static const struct weir_module gate_module = {
    WEIR_MODULE_HEAD("gate", "1", ""),
    WEIR_HANDLERS({ .name = "gate", .hooks = WEIR_HOOKS(gate_hooks) }),
};

static const struct weir_module *const modules[] = { &weir_module_v1, &gate_module };

static int
make(const char *use, struct buf *report, struct testbed **out)
{
    char config[1000];
    snprintf(config, sizeof(config),
            "{ \"modules\": [\"health\", \"gate\"], \"servers\": [{ \"listen\": \"127.0.0.1:0\", "
            "\"use\": [%s, \"gate\"], \"routes\": [{ \"handle\": \"gate\" }] }] }",
            use);
    const struct testbed_settings settings = { config, modules, 2 };
    log_init(-1, LOG_ERROR);
    int r = testbed_new(&settings, report, out);
    ck_assert_int_eq(buf_append(report, weir_str_make("", 1)), 0);
    return r;
}

#define LIVE     "\r\n\r\n{\"status\":\"live\"}\n"
#define READY    "\r\n\r\n{\"status\":\"ready\"}\n"
#define DRAINING "\r\n\r\n{\"status\":\"draining\"}\n"

static const struct {
    const char *why, *use, *line;
    unsigned status;
    const char *has, *has_not;
} rows[] = {
    { "it lives", "\"health\"", "GET /livez", 200, LIVE, "Retry-After" },
    { "it is ready", "\"health\"", "GET /readyz", 200, READY, "Retry-After" },
    { "nobody is to keep that", "\"health\"", "GET /readyz", 200, "Cache-Control: no-store\r\n",
            NULL },
    { "it is JSON", "\"health\"", "GET /livez", 200, "Content-Type: application/json\r\n",
            NULL },
    { "whatever the query", "\"health\"", "GET /readyz?verbose", 200, READY, NULL },
    { "however it is spelled", "\"health\"", "GET /a/../%72eadyz", 200, READY, NULL },
    { "HEAD has no body", "\"health\"", "HEAD /readyz", 200, "Content-Length: 19\r\n", "{" },
    { "nothing is sent to it", "\"health\"", "POST /readyz", 405, "Allow: GET, HEAD\r\n",
            NULL },
    { "nor to the other", "\"health\"", "DELETE /livez", 405, "Allow: GET, HEAD\r\n", NULL },
    { "other paths are others'", "\"health\"", "GET /readyz/", 403, "", NULL },
    { "also longer ones", "\"health\"", "GET /livezz", 403, "", NULL },
    { "a path of one's own", "{ \"health\": { \"ready\": \"/up\" } }", "GET /up", 200, READY,
            NULL },
    { "in its place", "{ \"health\": { \"ready\": \"/up\" } }", "GET /readyz", 403, "", NULL },
    { "the other stays", "{ \"health\": { \"ready\": \"/up\" } }", "GET /livez", 200, LIVE,
            NULL },
    { "one that is not wanted", "{ \"health\": { \"live\": false } }", "GET /livez", 403, "",
            NULL },
};

static void
check_answer(struct testbed *testbed, const char *why, unsigned status, const char *has,
        const char *has_not)
{
    char text[2000], begin[20];
    struct weir_str answer = testbed_received(testbed);
    snprintf(text, sizeof(text), "%.*s", WEIR_STR_ARG(answer));
    snprintf(begin, sizeof(begin), "HTTP/1.1 %u ", status);
    ck_assert_msg(strncmp(text, begin, strlen(begin)) == 0, "%s: %s", why, text);
    ck_assert_msg(strcasestr(text, has) != NULL, "%s: %s", why, text);
    ck_assert_msg(has_not == NULL || strcasestr(text, has_not) == NULL, "%s: %s", why, text);
}

START_TEST(answers)
{
    struct buf report;
    struct testbed *testbed;
    char request[200];
    buf_init(&report, 10000);
    int r = make(rows[_i].use, &report, &testbed);
    ck_assert_msg(r == 0, "%s", buf_str(&report).ptr);
    ck_assert(testbed_connect(testbed));
    int len = snprintf(request, sizeof(request), "%s HTTP/1.1\r\nHost: a\r\n\r\n",
            rows[_i].line);
    testbed_send(testbed, weir_str_make(request, (size_t)len));
    check_answer(testbed, rows[_i].why, rows[_i].status, rows[_i].has, rows[_i].has_not);
    ck_assert(testbed_free(testbed));
    buf_fini(&report);
}
END_TEST

/* Told in the middle of a head that came before. */
static const struct {
    const char *line;
    unsigned status;
    const char *has, *has_not;
} stopping[] = {
    { "GET /readyz", 503, DRAINING, "ready" },
    { "GET /readyz", 503, "Retry-After: 1\r\n", NULL },
    { "GET /readyz", 503, "Connection: close\r\n", NULL },
    { "HEAD /readyz", 503, "Retry-After: 1\r\n", "draining" },
    { "GET /livez", 200, LIVE, "Retry-After" },
};

START_TEST(is_not_ready_once_the_server_stops)
{
    struct buf report;
    struct testbed *testbed;
    buf_init(&report, 10000);
    ck_assert_int_eq(make("\"health\"", &report, &testbed), 0);
    ck_assert(testbed_connect(testbed));
    testbed_send(testbed, weir_str_from(stopping[_i].line));
    testbed_drain(testbed);
    testbed_send(testbed, WEIR_STR(" HTTP/1.1\r\nHost: a\r\n\r\n"));
    check_answer(testbed, stopping[_i].line, stopping[_i].status, stopping[_i].has,
            stopping[_i].has_not);
    ck_assert(testbed_free(testbed));
    buf_fini(&report);
}
END_TEST

static const struct {
    const char *use, *says;
} mistakes[] = {
    { "{ \"health\": { \"live\": \"livez\" } }", "\"livez\" is no path of a request" },
    { "{ \"health\": { \"live\": \"\" } }", "\"\" is no path of a request" },
    { "{ \"health\": { \"ready\": \"/ready?x\" } }", "\"/ready?x\" is no path of a request" },
    { "{ \"health\": { \"ready\": \"/a%20b\" } }", "\"/a%20b\" is no path of a request" },
    { "{ \"health\": { \"ready\": \"/a//b\" } }", "\"/a//b\" is no path of a request" },
    { "{ \"health\": { \"ready\": \"/a/../b\" } }", "\"/a/../b\" is no path of a request" },
    { "{ \"health\": { \"ready\": \"/livez\" } }", "`live` has this path already" },
    { "{ \"health\": { \"live\": false, \"ready\": false } }", "neither `live` nor `ready`" },
};

START_TEST(refuses)
{
    struct buf report;
    struct testbed *testbed;
    buf_init(&report, 10000);
    ck_assert_int_eq(make(mistakes[_i].use, &report, &testbed), -EINVAL);
    ck_assert_msg(strstr(buf_str(&report).ptr, mistakes[_i].says) != NULL, "%s",
            buf_str(&report).ptr);
    buf_fini(&report);
}
END_TEST

static void
ask(struct testbed *testbed)
{
    testbed_send(testbed,
            WEIR_STR("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"
                     "PUT /livez HTTP/1.1\r\nHost: a\r\n\r\n"));
}

START_TEST(survives_each_allocation_failing)
{
    struct buf report;
    struct testbed *testbed;
    buf_init(&report, 10000);
    ck_assert_int_eq(make("\"health\"", &report, &testbed), 0);
    ck_assert(testbed_connect(testbed));
    testbed_reserve(testbed, 65536);
    UNIT_EACH_ALLOCATION_FAILS(ask(testbed));
    ck_assert(testbed_free(testbed));
    buf_fini(&report);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, answers, 0, sizeof(rows) / sizeof(rows[0]));
    tcase_add_loop_test(tests, is_not_ready_once_the_server_stops, 0,
            sizeof(stopping) / sizeof(stopping[0]));
    tcase_add_loop_test(tests, refuses, 0, sizeof(mistakes) / sizeof(mistakes[0]));
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("modules/health", add_tests)
