/* SPDX-License-Identifier: MIT */
/* What the server's own variables say, and which of them only lines of logs may have. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <weir/reply.h>
#include <weir/template.h>

#include "observe/log.h"
#include "support/unit.h"
#include "testkit/testbed.h"

/* ---- a module that says a template, and one that logs one -------------------------------- */

struct say_conf {
    const struct weir_template *text;
};

static const struct weir_option say_options[] = {
    WEIR_TEMPLATE(struct say_conf, text, .preset = "said", .shorthand = true),
};

static enum weir_verdict
say(struct weir_request *request, const void *conf)
{
    struct weir_str text = weir_template_text(request, ((const struct say_conf *)conf)->text);
    return text.ptr == NULL ? WEIR_FAILED
                            : weir_reply_text(request, 200, WEIR_STR("text/plain"), text);
}

static const struct weir_hook say_hooks[] = { { .on = WEIR_ON_CONTENT, .request = say } };

static const struct weir_module say_module = {
    WEIR_MODULE_HEAD("say", "1", ""),
    WEIR_HANDLERS({ .name = "say",
            .options = WEIR_OPTIONS(struct say_conf, say_options),
            .hooks = WEIR_HOOKS(say_hooks) }),
};

struct line_conf {
    const struct weir_template *line, *early;
};

static const struct weir_option line_options[] = {
    WEIR_TEMPLATE(struct line_conf, line, .shorthand = true, .context = WEIR_CONTEXT_LOG,
            .preset = ""),
    WEIR_TEMPLATE(struct line_conf, early, .context = WEIR_CONTEXT_LOG, .preset = ""),
};

static char written[1000];

static void
keep(struct weir_str text)
{
    ck_assert_ptr_nonnull(text.ptr);
    ck_assert_uint_lt(text.len, sizeof(written));
    memcpy(written, text.ptr, text.len);
    written[text.len] = '\0';
}

static enum weir_verdict
write_line(struct weir_request *request, const void *conf)
{
    struct weir_str line = weir_template_text(request, ((const struct line_conf *)conf)->line);
    if (line.len > 0) {
        keep(line);
    }
    return WEIR_NEXT;
}

static enum weir_verdict
write_early(struct weir_request *request, const void *conf)
{
    struct weir_str line = weir_template_text(request, ((const struct line_conf *)conf)->early);
    if (line.len > 0) {
        keep(line);
    }
    return WEIR_NEXT;
}

static const struct weir_hook line_hooks[] = { { .on = WEIR_ON_ACCESS, .request = write_early },
    { .on = WEIR_ON_LOG, .request = write_line } };

static const struct weir_module line_module = {
    WEIR_MODULE_HEAD("line", "1", ""),
    WEIR_HANDLERS({ .name = "line",
            .options = WEIR_OPTIONS(struct line_conf, line_options),
            .hooks = WEIR_HOOKS(line_hooks) }),
};

static const struct weir_module *const modules[] = { &say_module, &line_module };

static int
make(const char *server, struct buf *report, struct testbed **out)
{
    char config[2000];
    snprintf(config, sizeof(config),
            "{ \"modules\": [\"say\", \"line\"], \"servers\": [{ \"listen\": \"127.0.0.1:0\", "
            "%s }] }",
            server);
    const struct testbed_settings settings = { config, modules, 2 };
    log_init(-1, LOG_ERROR);
    int r = testbed_new(&settings, report, out);
    ck_assert_int_eq(buf_append(report, weir_str_make("", 1)), 0);
    return r;
}

/* What is written of a request whose head takes a second and a quarter to come. */
static void
serve(const char *server)
{
    struct buf report;
    struct testbed *testbed;
    buf_init(&report, 10000);
    int r = make(server, &report, &testbed);
    ck_assert_msg(r == 0, "%s", buf_str(&report).ptr);
    ck_assert(testbed_connect(testbed));
    testbed_send(testbed, WEIR_STR("GET /a?b HTTP/1.1\r\nHo"));
    testbed_pass(testbed, 1500 * NS_PER_MS);
    testbed_send(testbed, WEIR_STR("st: a\r\n\r\n"));
    ck_assert(testbed_free(testbed));
    buf_fini(&report);
}

#define LOGGED(line) \
    "\"use\": [{ \"line\": \"" line "\" }], \"routes\": [{ \"handle\": \"say\" }]"

static const struct {
    const char *why, *server, *written;
} lines[] = {
    { "when it began, to the millisecond", LOGGED("{time}"), "1994-11-06T08:49:37.000Z" },
    { "as the format combined has it", LOGGED("[{time.combined}]"),
            "[06/Nov/1994:08:49:37 +0000]" },
    { "in seconds since 1970", LOGGED("{time.unix}"), "784111777.000" },
    { "how long it took, and until its answer began", LOGGED("{duration} {first_byte}"),
            "1.500000 1.500000" },
    { "the bytes that came and went", LOGGED("{bytes.received} {bytes.body_sent}"), "30 4" },
    { "how it ended", LOGGED("{end} {status}"), "complete 200" },
    { "what the client speaks", LOGGED("{method} {target} {protocol}"), "GET /a?b HTTP/1.1" },
    { "that a client sent it", LOGGED("{internal}"), "0" },
};

START_TEST(lines_of_logs_know)
{
    serve(lines[_i].server);
    ck_assert_msg(strcmp(written, lines[_i].written) == 0, "%s: %s", lines[_i].why, written);
}
END_TEST

START_TEST(counts_the_head_of_the_answer_too)
{
    unsigned long sent = 0, body = 0;
    serve(LOGGED("{bytes.sent} {bytes.body_sent}"));
    ck_assert_int_eq(sscanf(written, "%lu %lu", &sent, &body), 2);
    ck_assert_uint_gt(sent, body + strlen("HTTP/1.1 200 OK\r\n"));
}
END_TEST

static char complaint[1000];

static void
on_complaint(void *context, const char *message, size_t len)
{
    (void)context;
    snprintf(complaint, sizeof(complaint), "%.*s", (int)len, message);
}

START_TEST(a_hook_that_is_too_early_is_told)
{
    log_listen(on_complaint, NULL);
    serve("\"use\": [{ \"line\": { \"early\": \"<{bytes.sent}>\" } }], \"routes\": [{ "
          "\"handle\": \"say\" }]");
    log_listen(NULL, NULL);
    ck_assert_str_eq(written, "<>");
    ck_assert_msg(strstr(complaint,
                          "module line, hook access, GET /a?b: {bytes.sent} is empty") != NULL,
            "%s", complaint);
}
END_TEST

/* ---- where they may stand ---------------------------------------------------------------- */

static const struct {
    const char *variable;
} late[] = { { "duration" }, { "first_byte" }, { "bytes.received" }, { "bytes.sent" },
    { "bytes.body_sent" }, { "end" } };

START_TEST(what_is_known_at_the_end_is_refused_before)
{
    struct buf report;
    struct testbed *testbed;
    char server[500];
    buf_init(&report, 10000);
    snprintf(server, sizeof(server), "\"routes\": [{ \"handle\": { \"say\": \"x{%s}\" } }]",
            late[_i].variable);
    ck_assert_int_eq(make(server, &report, &testbed), -EINVAL);
    ck_assert_ptr_nonnull(strstr(buf_str(&report).ptr,
            "\"text\": this is known when the request has ended: in lines of logs only"));
    buf_fini(&report);
}
END_TEST

START_TEST(no_route_depends_on_the_end)
{
    struct buf report;
    struct testbed *testbed;
    char server[500], said[200];
    buf_init(&report, 10000);
    snprintf(server, sizeof(server),
            "\"routes\": [{ \"match\": { \"variable\": { \"%s\": \"1\" } }, \"handle\": \"say\" "
            "}]",
            late[_i].variable);
    snprintf(said, sizeof(said),
            "\"%s\" is known when the request has ended: no route can depend on it",
            late[_i].variable);
    ck_assert_int_eq(make(server, &report, &testbed), -EINVAL);
    ck_assert_ptr_nonnull(strstr(buf_str(&report).ptr, said));
    buf_fini(&report);
}
END_TEST

START_TEST(when_it_began_is_known_everywhere)
{
    struct buf report;
    struct testbed *testbed;
    buf_init(&report, 10000);
    ck_assert_int_eq(make("\"routes\": [{ \"handle\": { \"say\": \"{time} {internal}\" } }]",
                             &report, &testbed),
            0);
    ck_assert(testbed_connect(testbed));
    testbed_send(testbed, WEIR_STR("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    struct weir_str answer = testbed_received(testbed);
    ck_assert_ptr_nonnull(memmem(answer.ptr, answer.len, "1994-11-06T08:49:37.000Z 0", 26));
    ck_assert(testbed_free(testbed));
    buf_fini(&report);
}
END_TEST

static void
serve_whatever_memory_there_is(struct testbed *testbed)
{
    testbed_send(testbed, WEIR_STR("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
}

START_TEST(survives_each_allocation_failing)
{
    struct buf report;
    struct testbed *testbed;
    buf_init(&report, 10000);
    ck_assert_int_eq(make(LOGGED("{time} {time.unix} {duration} {bytes.sent} {end}"), &report,
                             &testbed),
            0);
    ck_assert(testbed_connect(testbed));
    testbed_reserve(testbed, 65536);
    UNIT_EACH_ALLOCATION_FAILS(serve_whatever_memory_there_is(testbed));
    ck_assert(testbed_free(testbed));
    buf_fini(&report);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, lines_of_logs_know, 0, sizeof(lines) / sizeof(lines[0]));
    tcase_add_test(tests, counts_the_head_of_the_answer_too);
    tcase_add_test(tests, a_hook_that_is_too_early_is_told);
    tcase_add_loop_test(tests, what_is_known_at_the_end_is_refused_before, 0,
            sizeof(late) / sizeof(late[0]));
    tcase_add_loop_test(tests, no_route_depends_on_the_end, 0, sizeof(late) / sizeof(late[0]));
    tcase_add_test(tests, when_it_began_is_known_everywhere);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("module/template", add_tests)
