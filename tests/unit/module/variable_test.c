/* SPDX-License-Identifier: MIT */
/* Variables that modules add: what they say in a request, what they may not do, and where they
 * may stand. */
#include "module/variable.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <weir/filter.h>
#include <weir/reply.h>
#include <weir/request.h>
#include <weir/template.h>
#include <weir/wait.h>
#include <weir/worker.h>

#include "config/diagnostic.h"
#include "module/loader.h"
#include "module/site.h"
#include "observe/log.h"
#include "support/unit.h"
#include "testkit/testbed.h"

/* ---- a module that knows who asks -------------------------------------------------------- */

struct who_conf {
    struct weir_str header;
    const struct weir_template *greeting;
};

static const struct weir_option who_options[] = {
    WEIR_STRING(struct who_conf, header, .preset = "X-User", .shorthand = true),
    WEIR_TEMPLATE(struct who_conf, greeting, .preset = ""),
};

/* Kept for the request by the hook, for the variables. */
struct who {
    struct weir_str user;
};

static enum weir_verdict
find_user(struct weir_request *request, const void *conf)
{
    struct who *who = weir_request_state(request);
    who->user = weir_request_field(request, ((const struct who_conf *)conf)->header);
    return WEIR_NEXT;
}

static struct weir_str
say_user(struct weir_request *request, const void *conf, struct weir_str argument)
{
    (void)conf;
    ck_assert_uint_eq(argument.len, 0);
    return ((struct who *)weir_request_state(request))->user;
}

static struct weir_str
say_twice(struct weir_request *request, const void *conf, struct weir_str argument)
{
    (void)conf;
    char *memory = weir_request_alloc(request, 2 * argument.len);
    ck_assert_ptr_nonnull(memory);
    memcpy(memory, argument.ptr, argument.len);
    memcpy(memory + argument.len, argument.ptr, argument.len);
    return weir_str_make(memory, 2 * argument.len);
}

/* A text of that many bytes. */
static struct weir_str
say_much(struct weir_request *request, const void *conf, struct weir_str argument)
{
    (void)conf;
    size_t bytes = (size_t)strtoul(argument.ptr, NULL, 10);
    char *memory = weir_request_alloc(request, bytes);
    ck_assert_ptr_nonnull(memory);
    memset(memory, 'x', bytes);
    return weir_str_make(memory, bytes);
}

/* Its own template, with a variable of a module in it. */
static struct weir_str
say_greeting(struct weir_request *request, const void *conf, struct weir_str argument)
{
    (void)argument;
    return weir_template_text(request, ((const struct who_conf *)conf)->greeting);
}

static enum weir_verdict
never(struct weir_request *request, const void *conf, enum weir_wake how, void *payload)
{
    (void)request;
    (void)conf;
    (void)how;
    (void)payload;
    ck_abort_msg("a variable has waited");
}

static enum weir_verdict
never_again(struct weir_request *request, const void *conf)
{
    (void)request;
    (void)conf;
    ck_abort_msg("a variable has waited");
}

/* Whatever a variable must not do is refused. */
static struct weir_str
misbehave(struct weir_request *request, const void *conf, struct weir_str argument)
{
    (void)conf;
    (void)argument;
    struct weir_token token;
    ck_assert_int_eq(weir_suspend(request, never, WEIR_WAIT_PRESET, &token), WEIR_FAILED);
    ck_assert_int_eq(weir_body_wait(request, never_again), WEIR_FAILED);
    ck_assert_int_eq(weir_reply_wait(request, never_again), WEIR_FAILED);
    ck_assert_int_eq(weir_filter_enable(request), -EINVAL);
    ck_assert_int_eq(weir_request_set_host(request, WEIR_STR("b")), -EINVAL);
    ck_assert_int_eq(weir_request_field_set(request, WEIR_STR("X-A"), WEIR_STR("b")), -EINVAL);
    ck_assert_ptr_nonnull(weir_request_worker(request));
    return WEIR_STR("tried");
}

static const struct weir_variable variables[] = {
    { "user", say_user, "Who asks" },
    { "twice.", say_twice, "What is said, twice" },
    { "much.", say_much, NULL },
    { "greeting", say_greeting, NULL },
    { "misbehaving", misbehave, NULL },
};

static const struct weir_hook who_hooks[] = { { .on = WEIR_ON_HEAD, .request = find_user },
    { .on = WEIR_ON_ACCESS, .request = find_user } };

static const struct weir_module who_module = {
    WEIR_MODULE_HEAD("who", "1", ""),
    WEIR_HANDLERS({ .name = "who",
            .options = WEIR_OPTIONS(struct who_conf, who_options),
            .hooks = WEIR_HOOKS(who_hooks),
            .state_bytes = sizeof(struct who),
            .variables = WEIR_VARIABLES(variables) }),
};

/* ---- a module that says a template ------------------------------------------------------- */

struct say_conf {
    const struct weir_template *text, *page;
};

static const struct weir_option say_options[] = {
    WEIR_TEMPLATE(struct say_conf, text, .preset = "", .shorthand = true),
    WEIR_TEMPLATE(struct say_conf, page, .preset = "", .context = WEIR_CONTEXT_HTML),
};

static enum weir_verdict
say(struct weir_request *request, const void *conf)
{
    const struct say_conf *c = conf;
    struct weir_str text = weir_template_text(request, c->text);
    struct weir_str page = weir_template_text(request, c->page);
    if (text.ptr == NULL || page.ptr == NULL) {
        return WEIR_FAILED;
    }
    return weir_reply_text(request, 200, WEIR_STR("text/plain"), text.len > 0 ? text : page);
}

static const struct weir_hook say_hooks[] = { { .on = WEIR_ON_CONTENT, .request = say } };

static const struct weir_module say_module = {
    WEIR_MODULE_HEAD("say", "1", ""),
    WEIR_HANDLERS({ .name = "say",
            .options = WEIR_OPTIONS(struct say_conf, say_options),
            .hooks = WEIR_HOOKS(say_hooks) }),
};

static const struct weir_module *const modules[] = { &who_module, &say_module };

static int
try_make(const char *servers, const char *outside, struct buf *report, struct testbed **out)
{
    char config[2000];
    snprintf(config, sizeof(config),
            "{ \"modules\": [\"say\", \"who\"]%s, \"servers\": [{ \"listen\": \"127.0.0.1:0\", "
            "%s }] }",
            outside, servers);
    const struct testbed_settings settings = { config, modules, 2 };
    int r = testbed_new(&settings, report, out);
    ck_assert_int_eq(buf_append(report, weir_str_make("", 1)), 0);
    return r;
}

/* ---- what they say ----------------------------------------------------------------------- */

static const struct {
    const char *why, *server, *fields, *body;
} cases[] = {
    { "a variable is the module's word on the request",
            "\"use\": [\"who\"], \"routes\": [{ \"handle\": { \"say\": \"<{who.user}>\" } }]",
            "X-User: ada\r\n", "<ada>" },
    { "what is empty is empty",
            "\"use\": [\"who\"], \"routes\": [{ \"handle\": { \"say\": \"<{who.user}>\" } }]",
            "", "<>" },
    { "an argument stands behind the point",
            "\"use\": [\"who\"], \"routes\": [{ \"handle\": { \"say\": \"{who.twice.a.b-}\" } }]",
            "", "a.b-a.b-" },
    { "what it says is escaped for its place",
            "\"use\": [\"who\"], \"routes\": [{ \"handle\": { \"say\": { \"page\": "
            "\"{who.user}\" } } }]",
            "X-User: <b>&\r\n", "&lt;b&gt;&amp;" },
    { "it is used where its handler is, by a route too",
            "\"routes\": [{ \"use\": [\"who\"], \"handle\": { \"say\": \"{who.user}\" } }]",
            "X-User: ada\r\n", "ada" },
    { "with options of its own, under a name of its own",
            "\"routes\": [{ \"use\": [{ \"who\": \"X-Other\", \"as\": \"other\" }], "
            "\"handle\": { \"say\": \"{who.user}\" } }]",
            "X-User: ada\r\nX-Other: bob\r\n", "bob" },
    { "of several the first that has something to say",
            "\"routes\": [{ \"use\": [\"who\", { \"who\": \"X-Other\", \"as\": \"other\" }], "
            "\"handle\": { \"say\": \"{who.user}\" } }]",
            "X-Other: bob\r\n", "bob" },
    { "as long as may be",
            "\"routes\": [{ \"use\": [\"who\"], \"handle\": { \"say\": \"{who.much.3}\" } }]",
            "", "xxx" },
    { "longer than may be it is left out",
            "\"routes\": [{ \"use\": [\"who\"], \"handle\": { \"say\": \"<{who.much.16385}>\" } "
            "}]",
            "", "<>" },
    { "within a variable others of modules are empty",
            "\"routes\": [{ \"use\": [{ \"who\": { \"greeting\": \"I am {who.user} of {method}\" } }], "
            "\"handle\": { \"say\": \"{who.greeting}\" } }]",
            "X-User: ada\r\n", "I am  of GET" },
    { "it looks and says, and nothing else",
            "\"routes\": [{ \"use\": [\"who\"], \"handle\": { \"say\": "
            "\"{who.misbehaving}, {who.user}\" } }]",
            "X-User: ada\r\n", "tried, ada" },
    { "a route is chosen by it, where the server uses it",
            "\"use\": [\"who\"], \"routes\": [{ \"match\": { \"variable\": { \"who.user\": "
            "\"ada\" } }, \"handle\": { \"say\": \"the route of {who.user}\" } }, { \"handle\": "
            "{ \"say\": \"another\" } }]",
            "X-User: ada\r\n", "the route of ada" },
    { "and not by what it does not say",
            "\"use\": [\"who\"], \"routes\": [{ \"match\": { \"variable\": { \"who.user\": "
            "\"ada\" } }, \"handle\": { \"say\": \"the route of {who.user}\" } }, { \"handle\": "
            "{ \"say\": \"another\" } }]",
            "X-User: bob\r\n", "another" },
};

START_TEST(fills_in_what_a_module_says)
{
    struct buf report;
    struct testbed *testbed;
    buf_init(&report, 10000);
    log_init(-1, LOG_ERROR);
    int r = try_make(cases[_i].server, "", &report, &testbed);
    ck_assert_msg(r == 0, "%s: %s", cases[_i].why, buf_str(&report).ptr);
    ck_assert(testbed_connect(testbed));
    char request[500];
    int len = snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n",
            cases[_i].fields);
    testbed_send(testbed, weir_str_make(request, (size_t)len));
    struct weir_str answer = testbed_received(testbed);
    const char *body = memmem(answer.ptr, answer.len, "\r\n\r\n", 4);
    unit_check(body != NULL && weir_str_starts_with(answer, WEIR_STR("HTTP/1.1 200 ")),
            cases[_i].why);
    body += 4;
    struct weir_str found = weir_str_make(body, answer.len - (size_t)(body - answer.ptr));
    ck_assert_msg(weir_str_eq(found, weir_str_from(cases[_i].body)), "%s: %.*s", cases[_i].why,
            WEIR_STR_ARG(found));
    ck_assert(testbed_free(testbed));
    buf_fini(&report);
}
END_TEST

/* An outer layer serves routes with it and without it. */
START_TEST(is_empty_where_its_handler_is_not_in_use)
{
    struct buf report;
    struct testbed *testbed;
    buf_init(&report, 10000);
    const char *server =
            "\"routes\": [{ \"match\": \"/with\", \"use\": [\"who\"], \"routes\": [{ "
            "\"handle\": \"say\" }] }, { \"handle\": \"say\" }]";
    char config[2000];
    snprintf(config, sizeof(config),
            "{ \"modules\": [{ \"name\": \"say\", \"defaults\": { \"text\": \"<{who.user}>\" } }, "
            "\"who\"], \"servers\": [{ \"listen\": \"127.0.0.1:0\", %s }] }",
            server);
    /* What templates may say is known when all modules are. */
    const struct testbed_settings settings = { config, modules, 2 };
    int r = testbed_new(&settings, &report, &testbed);
    ck_assert_int_eq(buf_append(&report, weir_str_make("", 1)), 0);
    ck_assert_msg(r == 0, "%s", buf_str(&report).ptr);
    ck_assert(testbed_connect(testbed));
    testbed_send(testbed,
            WEIR_STR("GET /with HTTP/1.1\r\nHost: a\r\nX-User: ada\r\n\r\n"
                     "GET / HTTP/1.1\r\nHost: a\r\nX-User: ada\r\n\r\n"));
    struct weir_str answers = testbed_received(testbed);
    const char *first = memmem(answers.ptr, answers.len, "<ada>", 5);
    const char *second = memmem(answers.ptr, answers.len, "<>", 2);
    ck_assert(first != NULL && second > first);
    ck_assert(testbed_free(testbed));
    buf_fini(&report);
}
END_TEST

/* ---- where they may stand ---------------------------------------------------------------- */

static const struct {
    const char *why, *server, *says, *note;
} mistakes[] = {
    { "a name that nobody knows", "\"routes\": [{ \"handle\": { \"say\": \"{who.usr}\" } }]",
            "unknown variable \"who.usr\"", "did you mean \"who.user\"?" },
    { "an argument that is not there",
            "\"use\": [\"who\"], \"routes\": [{ \"handle\": { \"say\": \"{who.twice.}\" } }]",
            "a name must follow the point", "" },
    { "a handler that is not in use there",
            "\"routes\": [{ \"match\": \"/a\", \"use\": [\"who\"], \"handle\": \"say\" }, { "
            "\"handle\": { \"say\": \"{who.user}\" } }]",
            "unknown variable \"who.user\"", "which says it, is not in use here" },
    { "one that is taken out there",
            "\"use\": [\"who\"], \"routes\": [{ \"use\": [{ \"who\": false }], \"handle\": { "
            "\"say\": \"{who.twice.x}\" } }]",
            "unknown variable \"who.twice.x\"", "which says it, is not in use here" },
    { "a route that is chosen by what the server does not use",
            "\"routes\": [{ \"match\": { \"variable\": { \"who.user\": \"ada\" } }, \"use\": "
            "[\"who\"], \"handle\": \"say\" }]",
            "unknown variable \"who.user\"", "add \"who\" to the server's \"use\"" },
    { "a condition that nobody knows",
            "\"use\": [\"who\"], \"routes\": [{ \"match\": { \"variable\": { \"who.usr\": "
            "\"ada\" } }, \"handle\": \"say\" }]",
            "unknown variable \"who.usr\"", "did you mean \"who.user\"?" },
};

START_TEST(refuses_them_where_they_have_nothing_to_say)
{
    struct buf report;
    struct testbed *testbed;
    buf_init(&report, 10000);
    int r = try_make(mistakes[_i].server, "", &report, &testbed);
    const char *said = buf_str(&report).ptr;
    unit_check(r == -EINVAL, mistakes[_i].why);
    ck_assert_msg(strstr(said, mistakes[_i].says) != NULL, "%s: %s", mistakes[_i].why, said);
    ck_assert_msg(strstr(said, mistakes[_i].note) != NULL, "%s: %s", mistakes[_i].why, said);
    buf_fini(&report);
}
END_TEST

/* What an outer layer says serves many routes. */
static const struct {
    const char *why, *defaults, *server, *says, *note;
    int want;
} outer[] = {
    { "on no route that the defaults of a module serve", "<{who.user}>",
            "\"routes\": [{ \"match\": \"/a\", \"handle\": \"say\" }, { \"handle\": \"say\" }]",
            "error[E0208]: unknown variable \"who.user\"",
            "no route that this serves uses \"who\", which says it", -EINVAL },
    { "on every route", "<{who.user}>",
            "\"use\": [\"who\"], \"routes\": [{ \"match\": \"/a\", \"handle\": \"say\" }, { "
            "\"handle\": \"say\" }]",
            "", "", 0 },
    { "on some: a warning that names one of the others", "<{who.user}>",
            "\"routes\": [{ \"match\": \"/a\", \"use\": [\"who\"], \"handle\": \"say\" }, { "
            "\"handle\": \"say\" }]",
            "warning[E0208]: not everywhere known: \"who.user\"", "note: a route without it",
            0 },
    { "a nested route takes out what its parent's handler says", "",
            "\"use\": [\"who\"], \"routes\": [{ \"handle\": { \"say\": \"{who.user}\" }, "
            "\"routes\": [{ \"match\": \"/a\", \"use\": [{ \"who\": false }] }] }]",
            "warning[E0208]: not everywhere known: \"who.user\"", "note: a route without it",
            0 },
    { "a template that no route comes to", "<{who.user}>",
            "\"routes\": [{ \"handle\": { \"say\": \"x\" } }]", "", "", 0 },
    { "a name in a pattern of some routes", "<{path.id}>",
            "\"routes\": [{ \"match\": \"/{id}\", \"handle\": \"say\" }, { \"handle\": \"say\" }]",
            "warning[E0208]: not everywhere known: \"path.id\"", "note: a route without it",
            0 },
    { "and of none", "<{path.id}>", "\"routes\": [{ \"handle\": \"say\" }]",
            "error[E0208]: unknown variable \"path.id\"",
            "no pattern of a route that this serves names it", -EINVAL },
    { "a condition under not", "",
            "\"routes\": [{ \"match\": { \"not\": [\"/b\", { \"variable\": { \"who.user\": true } "
            "}] }, \"use\": [\"who\"], \"handle\": \"say\" }]",
            "error[E0208]: unknown variable \"who.user\"",
            "add \"who\" to the server's \"use\"", -EINVAL },
};

static struct diagnostics *
load(const char *config, int *r)
{
    struct diagnostics *diagnostics = diagnostics_new();
    struct site *site = NULL;
    ck_assert_ptr_nonnull(diagnostics);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(loader_register(modules[i], NULL), 0);
    }
    *r = site_load_text("weir.json", weir_str_from(config), diagnostics, &site);
    site_free(site);
    return diagnostics;
}

START_TEST(says_where_an_outer_layer_has_nothing_to_say)
{
    char config[2000];
    struct buf report;
    int r;
    snprintf(config, sizeof(config),
            "{ \"modules\": [{ \"name\": \"say\", \"defaults\": { \"text\": \"%s\" } }, \"who\"], "
            "\"servers\": [{ \"listen\": \"127.0.0.1:0\", %s }] }",
            outer[_i].defaults, outer[_i].server);
    struct diagnostics *diagnostics = load(config, &r);
    buf_init(&report, 10000);
    ck_assert_int_eq(diagnostics_print(diagnostics, DIAGNOSTIC_TEXT, false, &report), 0);
    ck_assert_int_eq(buf_append(&report, weir_str_make("", 1)), 0);
    const char *said = buf_str(&report).ptr;
    ck_assert_msg(r == outer[_i].want, "%s: %d %s", outer[_i].why, r, said);
    ck_assert_msg(outer[_i].says[0] == '\0' ? said[0] == '\0'
                                            : strstr(said, outer[_i].says) != NULL,
            "%s: %s", outer[_i].why, said);
    ck_assert_msg(strstr(said, outer[_i].note) != NULL, "%s: %s", outer[_i].why, said);
    buf_fini(&report);
    diagnostics_free(diagnostics);
}
END_TEST

/* With whatever memory there is. */
static void
make_once(void)
{
    struct buf report;
    struct testbed *testbed = NULL;
    buf_init(&report, 10000);
    const struct testbed_settings settings = {
        "{ \"modules\": [\"say\", \"who\"], \"servers\": [{ \"listen\": \"127.0.0.1:0\", "
        "\"use\": [\"who\"], \"routes\": [{ \"handle\": { \"say\": \"{who.user}\" } }] }] }",
        modules, 2
    };
    int r = testbed_new(&settings, &report, &testbed);
    ck_assert(r == 0 || testbed == NULL);
    if (r == 0) {
        ck_assert(testbed_free(testbed));
    }
    buf_fini(&report);
}

START_TEST(survives_each_allocation_failing)
{
    log_init(-1, LOG_ERROR);
    UNIT_EACH_ALLOCATION_FAILS(make_once());
}
END_TEST

/* ---- tables ------------------------------------------------------------------------------ */

static const struct weir_variable no_name[] = { { NULL, say_user, NULL } };
static const struct weir_variable no_function[] = { { "user", NULL, NULL } };
static const struct weir_variable bad_name[] = { { "us er", say_user, NULL } };
static const struct weir_variable a_point[] = { { ".", say_user, NULL } };
static const struct weir_variable twice[] = { { "user", say_user, NULL },
    { "user", say_user, NULL } };

#define ONE(handler_, array)                                  \
    {                                                         \
        WEIR_MODULE_HEAD("odd", "1", ""),                     \
                WEIR_HANDLERS({ .name = (handler_),           \
                        .hooks = WEIR_HOOKS(who_hooks),       \
                        .variables = WEIR_VARIABLES(array) }) \
    }

static const struct {
    const char *says;
    struct weir_module module;
} tables[] = {
    { "variable 0 of its handler \"odd\" is wrong", ONE("odd", no_name) },
    { "variable 0 of its handler \"odd\" is wrong", ONE("odd", no_function) },
    { "variable 0 of its handler \"odd\" is wrong", ONE("odd", bad_name) },
    { "variable 0 of its handler \"odd\" is wrong", ONE("odd", a_point) },
    { "it has two variables \"odd.user\"", ONE("odd", twice) },
    { "its variable \"header.user\" has a name that is the server's",
            ONE("header", variables) },
    { "its variable \"path.user\" has a name that is the server's", ONE("path", variables) },
};

START_TEST(refuses_a_wrong_table)
{
    struct loader_mistake mistake;
    ck_assert_int_eq(loader_register(&tables[_i].module, &mistake), -EINVAL);
    ck_assert_str_eq(mistake.message, tables[_i].says);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, fills_in_what_a_module_says, 0,
            sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(tests, is_empty_where_its_handler_is_not_in_use);
    tcase_add_loop_test(tests, refuses_them_where_they_have_nothing_to_say, 0,
            sizeof(mistakes) / sizeof(mistakes[0]));
    tcase_add_loop_test(tests, says_where_an_outer_layer_has_nothing_to_say, 0,
            sizeof(outer) / sizeof(outer[0]));
    tcase_add_test(tests, survives_each_allocation_failing);
    tcase_add_loop_test(tests, refuses_a_wrong_table, 0, sizeof(tables) / sizeof(tables[0]));
}

UNIT_MAIN("variable", add_tests)
