/* SPDX-License-Identifier: MIT */
#include "module/site.h"

#include <errno.h>
#include <stdio.h>

#include "config/document.h"
#include "server/command_explain.h"
#include "server/command_schema.h"
#include "support/sample_modules.h"
#include "support/unit.h"

static struct diagnostics *diagnostics;
static struct site *site;

static void
set_up(void)
{
    setenv("WEIR_MODULE_DIR", "/nonexistent", 1);
    sample_modules_register(false);
    diagnostics = diagnostics_new();
    site = NULL;
}

static void
tear_down(void)
{
    site_free(site);
    diagnostics_free(diagnostics);
}

static void
show(void)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    ck_assert_int_eq(diagnostics_print(diagnostics, DIAGNOSTIC_GCC, false, &text), 0);
    fprintf(stderr, "%.*s", WEIR_STR_ARG(buf_str(&text)));
    buf_fini(&text);
}

static void
load(const char *text)
{
    int r = site_load_text("/etc/weir/weir.json", weir_str_from(text), diagnostics, &site);
    if (r != 0) {
        show();
    }
    ck_assert_int_eq(r, 0);
}

#define check_text(s, want) \
    ck_assert_msg(weir_str_eq(s, weir_str_from(want)), "%.*s", WEIR_STR_ARG(s))

/* The route of a path on the i-th listener and a host; NULL: none. */
static const struct site_route *
route_of(size_t listener, const char *host, const char *path)
{
    const struct site_server *server = site_server_find(site->listeners[listener],
            weir_str_from(host));
    struct route_request request = { .method = WEIR_STR("GET"),
        .host = weir_str_from(host),
        .path = weir_str_from(path),
        .protocol = WEIR_STR("http/1.1") };
    struct route_match match;
    ck_assert_ptr_nonnull(server);
    return site_route_find(server, &request, &match);
}

static const struct site_use *
use_of(const struct site_uses *uses, const char *name)
{
    for (size_t i = 0; i < uses->count; i++) {
        if (weir_str_eq(uses->items[i].name, weir_str_from(name))) {
            return &uses->items[i];
        }
    }
    return NULL;
}

START_TEST(loads_the_smallest_site)
{
    load("{ \"modules\": [\"static\"], \"servers\": [{ \"listen\": \":8080\", \"routes\": "
         "[{ \"handle\": { \"static\": \".\" } }] }] }");
    ck_assert_uint_eq(site->listeners_count, 1);
    ck_assert_uint_eq(addr_port(&site->listeners[0]->addr), 8080);
    const struct site_route *route = route_of(0, "any.host", "/x/y");
    ck_assert_ptr_nonnull(route);
    ck_assert_uint_eq(route->handle.count, 1);
    ck_assert_str_eq(route->handle.items[0].conf->handler->name, "static");
    ck_assert_uint_eq(route->settings.limits.body_bytes, 1048576);
    ck_assert_uint_eq(route->settings.limits.body_rate_bytes_per_s, 0);
    ck_assert_uint_eq(route->settings.timeouts.request_ns, CLOCK_NEVER);
    struct http_limits limits = HTTP_LIMITS_PRESET;
    struct http_timeouts timeouts = HTTP_TIMEOUTS_PRESET;
    ck_assert_mem_eq(&route->settings.limits, &limits, sizeof(limits));
    ck_assert_mem_eq(&route->settings.timeouts, &timeouts, sizeof(timeouts));
    check_text(route->settings.trust.header, "x-forwarded-for");
    ck_assert_uint_eq(site->pools_count, 1);
    check_text(site->pools[0].name, "default");
    ck_assert_int_eq(site->pools[0].max, 16);
    ck_assert_int_eq(site->workers.processes, 0);
    ck_assert_int_eq(site->workers.loops, 1);
    ck_assert_uint_eq(site->workers.drain_timeout_ns, 60 * NS_PER_S);
}
END_TEST

/* CONFIG.md's large sample: what a later version brings is all that is said about it. */
START_TEST(says_of_the_large_sample_only_what_is_not_in_this_build)
{
    static const struct {
        enum diagnostic_code code;
        const char *word;
    } want[] = {
        { DIAGNOSTIC_MODULE_NOT_IN_BUILD, "\"asgi\"" },
        { DIAGNOSTIC_MODULE_NOT_IN_BUILD, "\"proxy\"" },
        { DIAGNOSTIC_MODULE_NOT_IN_BUILD, "\"rate_limit\"" },
        { DIAGNOSTIC_MODULE_NOT_IN_BUILD, "\"compress\"" },
        { DIAGNOSTIC_NOT_IN_BUILD, "\"tls\"" },
    };
    char path[4096];
    snprintf(path, sizeof(path), "%s/tests/unit/config/samples/large.json",
            getenv("WEIR_SRCDIR") == NULL ? "." : getenv("WEIR_SRCDIR"));
    ck_assert_int_eq(site_load(path, diagnostics, &site), -EINVAL);
    diagnostics_sort(diagnostics);
    ck_assert_uint_eq(diagnostics_count(diagnostics), sizeof(want) / sizeof(want[0]));
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        const struct diagnostic *d = diagnostics_get(diagnostics, i);
        ck_assert_int_eq(d->code, want[i].code);
        ck_assert_ptr_nonnull(strstr(d->message.ptr, want[i].word));
        ck_assert_ptr_nonnull(strstr(d->message.ptr, "not in this build"));
    }
}
END_TEST

START_TEST(chooses_a_server_by_address_and_host)
{
    load("{ \"modules\": [\"respond\"], \"servers\": ["
         "{ \"name\": \"exact\", \"listen\": [\":80\", \"127.0.0.1:81\"], \"host\": \"a.example.com\", \"routes\": [{}] },"
         "{ \"name\": \"suffix\", \"listen\": \":80\", \"host\": \"*.example.com\", \"routes\": [{}] },"
         "{ \"name\": \"longer\", \"listen\": \":80\", \"host\": [\"*.b.example.com\", \"[::1]\"], \"routes\": [{}] },"
         "{ \"name\": \"any\", \"listen\": \":80\", \"routes\": [{}] }] }");
    static const struct {
        const char *why, *host, *want;
    } cases[] = {
        { "exact", "a.example.com", "exact" },
        { "a suffix", "x.example.com", "suffix" },
        { "the longest suffix", "x.b.example.com", "longer" },
        { "not the suffix itself", "example.com", "any" },
        { "a shorter one below a longer", "b.example.com", "suffix" },
        { "an address", "::1", "longer" },
        { "no host at all", "", "any" },
        { "another", "example.org", "any" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct site_server *server = site_server_find(site->listeners[0],
                weir_str_from(cases[i].host));
        unit_check(server != NULL && weir_str_eq(server->name, weir_str_from(cases[i].want)),
                cases[i].why);
    }
    ck_assert_uint_eq(site->listeners_count, 2);
    ck_assert_ptr_null(site_server_find(site->listeners[1], WEIR_STR("x.example.com")));
    ck_assert_ptr_nonnull(site_server_find(site->listeners[1], WEIR_STR("a.example.com")));
}
END_TEST

START_TEST(sums_use_lists_from_outside_in)
{
    load("{ \"modules\": [\"respond\", \"headers\", \"access\", \"access_log\", \"phases\"],"
         "\"defaults\": { \"use\": [\"access_log\", \"at_accept\", \"headers\"] },"
         "\"listeners\": { \"web\": { \"address\": \":80\", \"use\": \"at_head\" } },"
         "\"servers\": [{ \"listen\": \"web\", \"use\": [{ \"access\": { \"deny\": \"::1\" } }, { \"headers\": {}, \"as\": \"more\" }],"
         "  \"routes\": ["
         "    { \"match\": \"/a/*\", \"use\": [{ \"access_log\": false }, { \"access\": { \"deny\": \"::2\" } }], \"handle\": { \"respond\": \"a\" },"
         "      \"routes\": [{ \"match\": \"/a/b\", \"use\": { \"access\": { \"deny\": [\"::3\"] } } },"
         "                 { \"match\": \"/a/c\", \"handle\": { \"respond\": \"c\" } }] },"
         "    { \"handle\": { \"respond\": \"rest\" } }] }] }");
    const struct site_route *a = route_of(0, "", "/a/x"), *b = route_of(0, "", "/a/b"),
                            *c = route_of(0, "", "/a/c"), *rest = route_of(0, "", "/x");
    static const char *const all[] = { "access_log", "at_accept", "headers", "at_head",
        "access", "more" };
    ck_assert_uint_eq(rest->uses.count, 6);
    for (size_t i = 0; i < 6; i++) {
        check_text(rest->uses.items[i].name, all[i]);
    }
    ck_assert_uint_eq(a->uses.count, 5);
    ck_assert_ptr_null(use_of(&a->uses, "access_log"));
    check_text(a->uses.items[3].name, "access"); /* in its place, reconfigured */
    ck_assert_uint_eq(config_find_name(use_of(&a->uses, "access")->merged, "deny")->count, 2);
    ck_assert_uint_eq(config_find_name(use_of(&b->uses, "access")->merged, "deny")->count, 3);
    ck_assert_ptr_eq(b->handle.items, a->handle.items); /* the parent's handle serves it */
    ck_assert_ptr_ne(c->handle.items, a->handle.items);
    ck_assert_ptr_eq(b->parent, a);

    /* Connections are met by their own hooks only, servers by those of no route. */
    ck_assert_uint_eq(site->listeners[0]->uses.count, 1);
    check_text(site->listeners[0]->uses.items[0].name, "at_accept");
    ck_assert_uint_eq(site->listeners[0]->servers[0]->uses.count, 6);
}
END_TEST

START_TEST(makes_equal_options_one_struct)
{
    load("{ \"modules\": [\"probe\"], \"servers\": [{ \"listen\": \":80\", \"routes\": ["
         "{ \"match\": \"/a\", \"handle\": { \"probe\": { \"number\": 1, \"text\": \"x\" } } },"
         "{ \"match\": \"/b\", \"handle\": { \"probe\": { \"text\": \"x\", \"number\": 1 } } },"
         "{ \"match\": \"/c\", \"handle\": { \"probe\": { \"text\": \"y\", \"number\": 1 } } },"
         "{ \"match\": \"/d\", \"handle\": \"probe\" },"
         "{ \"handle\": { \"probe\": {} } }] }] }");
    const struct site_conf *a = route_of(0, "", "/a")->handle.items[0].conf;
    ck_assert_ptr_eq(a, route_of(0, "", "/b")->handle.items[0].conf);
    ck_assert_ptr_ne(a, route_of(0, "", "/c")->handle.items[0].conf);
    ck_assert_ptr_eq(route_of(0, "", "/d")->handle.items[0].conf,
            route_of(0, "", "/z")->handle.items[0].conf);
    ck_assert_uint_eq(site->confs_count, 3);
    const struct probe_conf *conf = a->conf;
    ck_assert_int_eq(conf->number, 1);
    ck_assert_int_eq(probe_checks, 3); /* once each */
}
END_TEST

START_TEST(starts_every_use_from_the_module_s_defaults)
{
    load("{ \"modules\": [{ \"name\": \"probe\", \"defaults\": { \"number\": 5, \"deny\": \"::1\" } },"
         "  { \"name\": \"phases\", \"defaults\": { \"at_log\": { \"format\": \"combined\" } } }],"
         "\"servers\": [{ \"listen\": \":80\", \"use\": \"at_log\", \"routes\": ["
         "{ \"match\": \"/a\", \"handle\": { \"probe\": { \"deny\": \"::2\" } } },"
         "{ \"handle\": { \"probe\": { \"number\": null } } }] }] }");
    const struct probe_conf *a = route_of(0, "", "/a")->handle.items[0].conf->conf;
    const struct probe_conf *b = route_of(0, "", "/b")->handle.items[0].conf->conf;
    ck_assert_int_eq(a->number, 5);
    ck_assert_uint_eq(a->deny.count, 2);
    ck_assert_int_eq(b->number, 7);
    const struct site_use *log = use_of(&route_of(0, "", "/a")->uses, "at_log");
    check_text(config_find_name(log->merged, "format")->string, "combined");
}
END_TEST

START_TEST(inherits_limits_key_by_key_through_each_listener)
{
    load("{ \"modules\": [\"respond\"],"
         "\"log\": { \"level\": \"warn\" },"
         "\"defaults\": { \"limits\": { \"body\": \"2m\", \"head\": \"32k\" }, \"timeouts\": { \"idle\": false },"
         "  \"trust\": { \"peers\": [\"10.0.0.0/8\"], \"header\": \"X-Real-IP\" } },"
         "\"listeners\": { \"in\": { \"address\": \"127.0.0.1:1\", \"limits\": { \"body\": \"3m\", \"body_rate\": \"60k/m\" }, \"trust\": { \"hops\": 2 }, \"mode\": \"0600\", \"backlog\": 5 },"
         "               \"out\": { \"address\": \"127.0.0.1:2\" } },"
         "\"servers\": [{ \"listen\": [\"in\", \"out\", \"127.0.0.1:3\"], \"limits\": { \"requests_per_connection\": 9 }, \"log\": { \"level\": \"error\" },"
         "  \"routes\": [{ \"match\": \"/a\", \"limits\": { \"body\": false }, \"timeouts\": { \"body\": \"1s\" }, \"log\": { \"level\": \"debug\" } }, {}] }] }");
    const struct site_settings *in = &route_of(0, "", "/b")->settings,
                               *out = &route_of(1, "", "/b")->settings,
                               *a = &route_of(0, "", "/a")->settings;
    ck_assert_uint_eq(in->limits.body_bytes, 3u << 20);
    ck_assert_uint_eq(in->limits.body_rate_bytes_per_s, 1024);
    ck_assert_uint_eq(in->limits.head_bytes, 32768);
    ck_assert_uint_eq(in->limits.requests_per_connection, 9);
    ck_assert_uint_eq(in->trust.hops, 2);
    ck_assert_uint_eq(in->trust.peers.count, 1);
    check_text(in->trust.header, "x-real-ip");
    ck_assert_uint_eq(out->limits.body_bytes, 2u << 20);
    ck_assert_uint_eq(out->trust.hops, 1);
    ck_assert_uint_eq(out->timeouts.idle_ns, CLOCK_NEVER);
    ck_assert_uint_eq(a->limits.body_bytes, HTTP_UNLIMITED);
    ck_assert_uint_eq(a->timeouts.body_ns, NS_PER_S);
    ck_assert_int_eq(a->log_level, SITE_LOG_DEBUG);
    ck_assert_int_eq(in->log_level, SITE_LOG_ERROR);
    ck_assert_int_eq(site->listeners[0]->settings.log_level, SITE_LOG_WARN);
    ck_assert_uint_eq(site->listeners[0]->mode, 0600);
    ck_assert_int_eq(site->listeners[0]->backlog, 5);
    ck_assert_uint_eq(site->listeners_count, 3);

    /* Reached the same way, it is the same server. */
    ck_assert_ptr_eq(site->listeners[1]->servers[0], site->listeners[2]->servers[0]);
    ck_assert_ptr_ne(site->listeners[0]->servers[0], site->listeners[1]->servers[0]);
}
END_TEST

START_TEST(sees_socket_paths_from_the_file)
{
    load("{ \"modules\": [\"respond\"], \"servers\": [{ \"listen\": [\"unix:web.sock\", \"@name\"], "
         "\"routes\": [{}] }] }");
    char text[ADDR_TEXT_BYTES];
    addr_format(&site->listeners[0]->addr, text);
    ck_assert_ptr_nonnull(strstr(text, "/etc/weir/web.sock"));
}
END_TEST

/* As with other keys that may be false; not without end. */
START_TEST(starts_no_target_slowly_where_that_is_false)
{
    load("{ \"modules\": [\"respond\"], \"upstreams\": { \"a\": { \"targets\": \"127.0.0.1:1\", "
         "\"slow_start\": false } }, \"servers\": [{ \"listen\": \":80\", \"routes\": [{}] }] }");
    ck_assert_uint_eq(site->upstreams[0].balance.slow_start_ns, 0);
}
END_TEST

START_TEST(keeps_secrets_to_itself)
{
    setenv("WEIR_TEST_SECRET", "hush-hush", 1);
    load("{ \"modules\": [\"probe\"], \"servers\": [{ \"listen\": \":80\", \"routes\": [{ \"handle\": "
         "{ \"probe\": { \"secret\": \"${env:WEIR_TEST_SECRET}\" } } }] }] }");
    const struct probe_conf *conf = route_of(0, "", "/")->handle.items[0].conf->conf;
    check_text(conf->secret, "hush-hush");
    struct buf out;
    buf_init(&out, 1 << 20);
    struct explain_question question = { .method = WEIR_STR("GET"),
        .url = WEIR_STR("http://h/x") };
    ck_assert_int_eq(explain_write(site, &question, EXPLAIN_TEXT, &out), 0);
    struct weir_str text = buf_str(&out);
    ck_assert_ptr_null(memmem(text.ptr, text.len, "hush", 4));
    ck_assert_ptr_nonnull(memmem(text.ptr, text.len, "secret = ***", 12));
    buf_fini(&out);
}
END_TEST

static const char explained[] =
        "{ \"modules\": [\"respond\", \"headers\", \"access\", \"access_log\", \"phases\"],\n"
        "  \"defaults\": { \"use\": [\"at_accept\", { \"access_log\": \"a.log\" }] },\n"
        "  \"servers\": [{\n"
        "    \"name\": \"shop\", \"listen\": \":443\", \"host\": [\"*.example.com\"],\n"
        "    \"use\": [\"headers\", { \"access\": { \"deny\": [\"::1\"] } }],\n"
        "    \"routes\": [\n"
        "      { \"match\": \"/u/{id}/*\",\n"
        "        \"use\": { \"access\": {\n"
        "          \"deny\": [\"::2\"] } },\n"
        "        \"handle\": { \"respond\": \"hi\" } },\n"
        "      { \"match\": { \"header\": { \"x\": \"1\" }, \"query\": { \"q\": \"a b\" } } }\n"
        "    ] }] }\n";

static const struct {
    const char *why, *url, *header;
    int want;
    const char *says[8];
} questions[] = {
    { "server, route, hooks in order, options with their lines",
            "https://WWW.example.com/u/5/x/../y", NULL, 0,
            { "listener  :443  /etc/weir/weir.json:4\n",
                    "server    shop  /etc/weir/weir.json:3\n          because: longest suffix",
                    "route     /u/{id}/*  /etc/weir/weir.json:7\n", "{path.id} = \"5\"",
                    "  access        access  /etc/weir/weir.json:5\n                  deny = "
                    "[\"::1\", \"::2\"]  (/etc/weir/weir.json:9, /etc/weir/weir.json:5)\n"
                    "  content       respond  /etc/weir/weir.json:10\n",
                    "  accept        at_accept  /etc/weir/weir.json:2\n",
                    "  log           access_log  /etc/weir/weir.json:2\n                  file = "
                    "\"a.log\"  (/etc/weir/weir.json:2)\n                  format = json  (preset)",
                    "  body = 1m  (preset)\n" } },
    { "a route by header and query", "https://www.example.com/?q=a+b", "X: 1", 0,
            { "route     *", "it has no \"handle\": answers 404" } },
    { "no route", "https://www.example.com/?q=a", "X: 1", 0,
            { "route     none: answers 404" } },
    { "no such host", "https://example.org/", NULL, 0, { "answers 421" } },
    { "nobody on that port", "http://www.example.com/", NULL, 0, { "none on port 80" } },
    { "half a URL", "/x", NULL, -EINVAL, { "the URL must be whole" } },
    { "a path above the root", "https://a.example.com/../x", NULL, -EINVAL, { "400" } },
    { "a header without colon", "https://a.example.com/", "X", -EINVAL, { "Name: value" } },
};

START_TEST(explains_what_a_request_meets)
{
    load(explained);
    struct buf out;
    buf_init(&out, 1 << 20);
    struct weir_str header = weir_str_from(questions[_i].header);
    struct explain_question question = { .method = WEIR_STR("GET"),
        .url = weir_str_from(questions[_i].url),
        .headers = &header,
        .headers_count = header.len > 0 };
    ck_assert_int_eq(explain_write(site, &question, EXPLAIN_TEXT, &out), questions[_i].want);
    ck_assert_int_eq(buf_append(&out, weir_str_make("", 1)), 0);
    const char *text = buf_str(&out).ptr;
    for (size_t i = 0; i < 8 && questions[_i].says[i] != NULL; i++) {
        ck_assert_msg(strstr(text, questions[_i].says[i]) != NULL,
                "%s: \"%s\" is not in\n%.3000s", questions[_i].why, questions[_i].says[i],
                text);
    }
    buf_fini(&out);
}
END_TEST

START_TEST(writes_a_schema_of_all_its_modules)
{
    struct buf out;
    size_t skipped;
    buf_init(&out, 4 << 20);
    ck_assert_int_eq(schema_write(&out, &skipped), 0);
    ck_assert_uint_eq(skipped, 0);
    struct weir_str text = buf_str(&out);
    static const char *const words[] = { "handler-probe-probe", "handler-phases-at_log",
        "drain_timeout", "path_regex", "\"x-preset\": \"64k\"" };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        ck_assert_msg(memmem(text.ptr, text.len, words[i], strlen(words[i])) != NULL, "%s",
                words[i]);
    }
    /* It is JSON, as our own reader takes it. */
    struct arena arena;
    const struct config_value *root;
    arena_init(&arena, NULL, 0, 64 << 20);
    ck_assert_int_eq(document_load_text("schema", text, &arena, diagnostics, &root), 0);
    show();
    ck_assert_uint_eq(diagnostics_count(diagnostics), 0);
    buf_fini(&out);
    arena_reset(&arena);
}
END_TEST

static void
load_and_explain(void)
{
    struct site *made = NULL;
    struct diagnostics *mistakes = diagnostics_new();
    if (mistakes == NULL) {
        return;
    }
    int r = site_load_text("/etc/weir/weir.json", weir_str_from(explained), mistakes, &made);
    ck_assert(r == 0 || r == -ENOMEM);
    if (r == 0) {
        struct buf out;
        buf_init(&out, 1 << 20);
        struct explain_question question = { .method = WEIR_STR("GET"),
            .url = WEIR_STR("https://www.example.com/u/5") };
        r = explain_write(made, &question, EXPLAIN_TEXT, &out);
        ck_assert(r == 0 || r == -ENOMEM);
        buf_fini(&out);
    }
    site_free(made);
    diagnostics_free(mistakes);
}

static void
write_schema(void)
{
    struct buf out;
    buf_init(&out, 4 << 20);
    int r = schema_write(&out, NULL);
    ck_assert(r == 0 || r == -ENOMEM);
    buf_fini(&out);
}

START_TEST(writes_a_schema_with_whatever_memory_there_is)
{
    UNIT_EACH_ALLOCATION_FAILS(write_schema());
}
END_TEST

START_TEST(survives_each_allocation_failing)
{
    UNIT_EACH_ALLOCATION_FAILS(load_and_explain());
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, loads_the_smallest_site);
    tcase_add_test(tests, says_of_the_large_sample_only_what_is_not_in_this_build);
    tcase_add_test(tests, chooses_a_server_by_address_and_host);
    tcase_add_test(tests, sums_use_lists_from_outside_in);
    tcase_add_test(tests, makes_equal_options_one_struct);
    tcase_add_test(tests, starts_every_use_from_the_module_s_defaults);
    tcase_add_test(tests, inherits_limits_key_by_key_through_each_listener);
    tcase_add_test(tests, sees_socket_paths_from_the_file);
    tcase_add_test(tests, starts_no_target_slowly_where_that_is_false);
    tcase_add_test(tests, keeps_secrets_to_itself);
    tcase_add_loop_test(tests, explains_what_a_request_meets, 0,
            (int)(sizeof(questions) / sizeof(questions[0])));
    tcase_add_test(tests, writes_a_schema_of_all_its_modules);
    tcase_add_test(tests, writes_a_schema_with_whatever_memory_there_is);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("module/site", add_tests)
