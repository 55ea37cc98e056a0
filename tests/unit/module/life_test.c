/* SPDX-License-Identifier: MIT */
/* The life of modules in a worker, on the testbed: what is called when, and what is undone when
 * a start fails. With several loops, and across reloads: tests/integration/test_life.py. */
#include "module/life.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <weir/reply.h>
#include <weir/request.h>

#include "module/chain.h"
#include "observe/flight.h"
#include "observe/log.h"
#include "support/unit.h"
#include "testkit/testbed.h"

/* What was called, in order; one test at a time in a process of its own. */
static char journal[4096];

/* "MODULE FUNCTION" that is to fail, and how. */
static const char *fails = "";
static int fails_with;
static bool fails_at_option;

struct life_options {
    struct weir_str greeting;
};

static const struct weir_option options[] = {
    WEIR_STRING(struct life_options, greeting, .preset = "hello"),
};

static int
note(const char *module, const char *what)
{
    size_t at = strlen(journal);
    snprintf(journal + at, sizeof(journal) - at, "%s %s\n", module, what);
    char both[64];
    snprintf(both, sizeof(both), "%s %s", module, what);
    return strcmp(both, fails) == 0 ? fails_with : 0;
}

/* The functions of one module, whose worker's state is its name, and its loop's a count. */
#define MODULE_FUNCTIONS(name)                                                            \
    static int name##_init(const void *conf, struct weir_conf_report *report)             \
    {                                                                                     \
        (void)conf;                                                                       \
        (void)report;                                                                     \
        return note(#name, "init");                                                       \
    }                                                                                     \
    static int name##_worker_start(struct weir_worker *worker,                            \
            struct weir_conf_report *report)                                              \
    {                                                                                     \
        static char state[] = #name;                                                      \
        ck_assert_ptr_null(weir_worker_state(worker));                                    \
        weir_worker_set_state(worker, state);                                             \
        if (fails_at_option) {                                                            \
            weir_conf_error(report, "greeting", "nobody says that");                      \
        }                                                                                 \
        return note(#name, "worker_start");                                               \
    }                                                                                     \
    static void name##_worker_stop(struct weir_worker *worker)                            \
    {                                                                                     \
        ck_assert_str_eq(weir_worker_state(worker), #name);                               \
        (void)note(#name, "worker_stop");                                                 \
    }                                                                                     \
    static int name##_loop_start(struct weir_loop *loop, struct weir_conf_report *report) \
    {                                                                                     \
        (void)report;                                                                     \
        ck_assert_str_eq(weir_worker_state(weir_loop_worker(loop)), #name);               \
        ck_assert_uint_eq(weir_loop_index(loop), 0);                                      \
        int r = note(#name, "loop_start");                                                \
        if (r == 0) {                                                                     \
            weir_loop_set_state(loop, calloc(1, sizeof(unsigned)));                       \
        }                                                                                 \
        return r;                                                                         \
    }                                                                                     \
    static void name##_loop_stop(struct weir_loop *loop)                                  \
    {                                                                                     \
        free(weir_loop_state(loop));                                                      \
        (void)note(#name, "loop_stop");                                                   \
    }                                                                                     \
    static void name##_live(struct weir_worker *worker)                                   \
    {                                                                                     \
        (void)worker;                                                                     \
        (void)note(#name, "live");                                                        \
    }                                                                                     \
    static void name##_drain(struct weir_worker *worker)                                  \
    {                                                                                     \
        (void)worker;                                                                     \
        (void)note(#name, "drain");                                                       \
    }

MODULE_FUNCTIONS(one)
MODULE_FUNCTIONS(two)
#undef MODULE_FUNCTIONS

/* Answers what the module keeps. */
static enum weir_verdict
tell(struct weir_request *request, const void *conf)
{
    (void)conf;
    unsigned *count = weir_loop_state(weir_request_loop(request));
    struct weir_worker *worker = weir_request_worker(request);
    const struct life_options *own = weir_worker_options(worker);
    char text[100];
    int len = snprintf(text, sizeof(text), "%.*s from %s, the %u. time, on one of %u loops",
            WEIR_STR_ARG(own->greeting), (const char *)weir_worker_state(worker), ++*count,
            weir_worker_loops(worker));
    return weir_reply_text(request, 200, WEIR_STR("text/plain"),
            weir_str_make(text, (size_t)len));
}

static const struct weir_hook hooks[] = { { .on = WEIR_ON_CONTENT, .request = tell } };

#define MODULE_TABLE(name_)                                                          \
    static const struct weir_module name_ = { WEIR_MODULE_HEAD(#name_, "1", ""),     \
        WEIR_HANDLERS({ .name = #name_, .hooks = WEIR_HOOKS(hooks) }),               \
        .options = WEIR_OPTIONS(struct life_options, options), .init = name_##_init, \
        .worker_start = name_##_worker_start, .worker_stop = name_##_worker_stop,    \
        .loop_start = name_##_loop_start, .loop_stop = name_##_loop_stop,            \
        .live = name_##_live, .drain = name_##_drain }

MODULE_TABLE(one);
MODULE_TABLE(two);
#undef MODULE_TABLE

static const struct weir_module *const both[] = { &one, &two };

static int
make(const char *modules, struct buf *report, struct testbed **out)
{
    char config[1000];
    snprintf(config, sizeof(config),
            "{ \"modules\": [%s], \"servers\": [{ \"listen\": \"127.0.0.1:0\","
            "\"routes\": [{ \"match\": \"/two\", \"handle\": \"two\" }, { \"handle\": \"one\" "
            "}] }] }",
            modules);
    const struct testbed_settings settings = { config, both, 2 };
    return testbed_new(&settings, report, out);
}

START_TEST(starts_in_order_and_stops_in_the_opposite_one)
{
    struct buf report;
    struct testbed *testbed;
    buf_init(&report, 10000);
    ck_assert_int_eq(make("\"one\", \"two\"", &report, &testbed), 0);
    ck_assert_str_eq(journal,
            "one init\ntwo init\none worker_start\ntwo worker_start\none loop_start\n"
            "two loop_start\none live\ntwo live\n");
    journal[0] = '\0';
    testbed_drain(testbed);
    ck_assert_str_eq(journal, "two drain\none drain\n");
    testbed_drain(testbed);
    ck_assert_str_eq(journal, "two drain\none drain\n");
    journal[0] = '\0';
    ck_assert(testbed_free(testbed));
    ck_assert_str_eq(journal,
            "two loop_stop\none loop_stop\ntwo worker_stop\none worker_stop\n");
    buf_fini(&report);
}
END_TEST

START_TEST(ends_at_once_without_a_drain)
{
    struct buf report;
    struct testbed *testbed;
    buf_init(&report, 10000);
    ck_assert_int_eq(make("\"two\", \"one\"", &report, &testbed), 0);
    journal[0] = '\0';
    ck_assert(testbed_free(testbed));
    ck_assert_str_eq(journal,
            "one loop_stop\ntwo loop_stop\none worker_stop\ntwo worker_stop\n");
    buf_fini(&report);
}
END_TEST

static const struct {
    const char *why, *fails;
    int with, want;
    const char *stopped, *says;
} failed_starts[] = {
    { "the first module of all leaves nothing to stop", "one worker_start", -ECONNREFUSED,
            -ECONNREFUSED, "", "worker_start failed: Connection refused" },
    { "those before it are stopped", "two worker_start", -EIO, -EIO, "one worker_stop\n",
            "worker_start failed: Input/output error" },
    { "on a loop those that started there, then all", "two loop_start", -ENOMEM, -ENOMEM,
            "one loop_stop\ntwo worker_stop\none worker_stop\n",
            "loop_start failed: Cannot allocate memory" },
    { "on a loop the first, then all", "one loop_start", -4095, -4095,
            "two worker_stop\none worker_stop\n", "loop_start failed: unknown error" },
};

START_TEST(undoes_what_was_done_when_a_start_fails)
{
    struct buf report;
    struct testbed *testbed;
    buf_init(&report, 10000);
    log_init(-1, LOG_ERROR);
    fails = failed_starts[_i].fails;
    fails_with = failed_starts[_i].with;
    int r = make("\"one\", \"two\"", &report, &testbed);
    unit_check(r == failed_starts[_i].want, failed_starts[_i].why);
    const char *stops = strstr(journal, failed_starts[_i].fails);
    ck_assert_ptr_nonnull(stops);
    stops += strlen(failed_starts[_i].fails) + 1;
    ck_assert_str_eq(stops, failed_starts[_i].stopped);
    ck_assert_int_eq(buf_append(&report, weir_str_make("", 1)), 0);
    const char *said = buf_str(&report).ptr;
    ck_assert_msg(strstr(said, failed_starts[_i].says) != NULL, "%s", said);
    /* The module is shown where it was declared. */
    ck_assert_msg(strstr(said,
                          strncmp(failed_starts[_i].fails, "one", 3) == 0
                                  ? "/modules/0"
                                  : "/modules/1") != NULL,
            "%s", said);
    buf_fini(&report);
}
END_TEST

/* What it reports counts, whatever it returns. */
START_TEST(shows_the_option_that_a_start_names)
{
    struct buf report;
    struct testbed *testbed;
    buf_init(&report, 10000);
    log_init(-1, LOG_ERROR);
    fails_at_option = true;
    int r = make("{ \"name\": \"one\", \"options\": { \"greeting\": \"moin\" } }, \"two\"",
            &report, &testbed);
    ck_assert_int_eq(r, -EINVAL);
    ck_assert_int_eq(buf_append(&report, weir_str_make("", 1)), 0);
    const char *said = buf_str(&report).ptr;
    ck_assert_ptr_nonnull(strstr(said, "nobody says that"));
    ck_assert_ptr_nonnull(strstr(said, "/modules/0/options/greeting"));
    ck_assert_ptr_null(strstr(said, "worker_start failed"));
    ck_assert_str_eq(journal, "one init\ntwo init\none worker_start\n");
    buf_fini(&report);
}
END_TEST

START_TEST(keeps_what_a_module_made)
{
    struct buf report;
    struct testbed *testbed;
    buf_init(&report, 10000);
    ck_assert_int_eq(
            make("{ \"name\": \"one\", \"options\": { \"greeting\": \"moin\" } }, \"two\"",
                    &report, &testbed),
            0);
    ck_assert(testbed_connect(testbed));
    testbed_send(testbed,
            WEIR_STR("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\n\r\n"
                     "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    struct weir_str answers = testbed_received(testbed);
    static const char *const bodies[] = { "moin from one, the 1. time, on one of 1 loops",
        "hello from two, the 1. time, on one of 1 loops",
        "moin from one, the 2. time, on one of 1 loops" };
    for (size_t i = 0; i < 3; i++) {
        const char *found = memmem(answers.ptr, answers.len, bodies[i], strlen(bodies[i]));
        unit_check(found != NULL, bodies[i]);
        answers.len -= (size_t)(found - answers.ptr);
        answers.ptr = found;
    }
    ck_assert(testbed_free(testbed));
    buf_fini(&report);
}
END_TEST

START_TEST(starts_nothing_without_memory)
{
    log_init(-1, LOG_ERROR);
    UNIT_EACH_ALLOCATION_FAILS({
        struct buf report;
        struct testbed *testbed = NULL;
        journal[0] = '\0';
        buf_init(&report, 10000);
        int r = make("\"one\", \"two\"", &report, &testbed);
        ck_assert(r == 0 || testbed == NULL);
        if (r == 0) {
            /* loop_start() kept nothing where it found no memory. */
            ck_assert(testbed_free(testbed));
        }
        bool has_started = strstr(journal, "one worker_start") != NULL;
        ck_assert(has_started == (strstr(journal, "one worker_stop") != NULL));
        buf_fini(&report);
    });
}
END_TEST

START_TEST(names_what_a_flight_record_says)
{
    static const char *const names[] = { "conf_open", "worker_start", "loop_start", "live",
        "drain", "loop_stop", "worker_stop", "conf_close" };
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        ck_assert_str_eq(life_hook_name(LIFE_CONF_OPEN + i), names[i]);
    }
    ck_assert_str_eq(life_hook_name(WEIR_ON_ACCESS), "access");
    ck_assert_uint_lt(LIFE_CONF_CLOSE, 1u << FLIGHT_HOOK_BITS);
    ck_assert_uint_gt(LIFE_CONF_OPEN, CHAIN_PHASES);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, starts_in_order_and_stops_in_the_opposite_one);
    tcase_add_test(tests, ends_at_once_without_a_drain);
    tcase_add_loop_test(tests, undoes_what_was_done_when_a_start_fails, 0,
            sizeof(failed_starts) / sizeof(failed_starts[0]));
    tcase_add_test(tests, shows_the_option_that_a_start_names);
    tcase_add_test(tests, keeps_what_a_module_made);
    tcase_add_test(tests, starts_nothing_without_memory);
    tcase_add_test(tests, names_what_a_flight_record_says);
}

UNIT_MAIN("life", add_tests)
