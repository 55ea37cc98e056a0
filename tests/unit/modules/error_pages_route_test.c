/* SPDX-License-Identifier: MIT */
/* Pages that routes make (CONFIG.md, handler `error_pages`: an internal route), and the word
 * for an error (F61). */
#include <stdio.h>

#include <weir/file.h>
#include <weir/internal.h>
#include <weir/reply.h>
#include <weir/request.h>
#include <weir/wait.h>

#include "support/module_rig.h"
#include "support/unit.h"

/* ---- the site's own handlers ------------------------------------------------------------- */

static unsigned asked;

static enum weir_verdict
on_never(struct weir_request *request, const void *conf, enum weir_wake how, void *payload)
{
    (void)request;
    (void)conf;
    (void)how;
    (void)payload;
    return WEIR_FAILED;
}

/* "METHOD path?query", with what an answer that is whole has. */
static enum weir_verdict
tell(struct weir_request *request)
{
    char text[128];
    struct weir_str query = weir_request_query(request);
    int len = snprintf(text, sizeof(text), "%.*s %.*s?%.*s",
            WEIR_STR_ARG(weir_request_method(request)),
            WEIR_STR_ARG(weir_request_path(request)), (int)query.len,
            query.len == 0 ? "" : query.ptr);
    return weir_reply_text(request, 200, WEIR_STR("text/x-page"),
                   weir_str_make(text, (size_t)len)) != WEIR_DONE ||
                    weir_reply_set(request, WEIR_STR("ETag"), WEIR_STR("\"page\"")) < 0 ||
                    weir_reply_set(request, WEIR_STR("Vary"), WEIR_STR("Accept-Language")) <
                            0 ||
                    weir_reply_set(request, WEIR_STR("Allow"), WEIR_STR("page")) < 0 ||
                    weir_reply_representation(request) < 0
            ? WEIR_FAILED
            : WEIR_DONE;
}

static enum weir_verdict
make_page(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct weir_str path = weir_request_path(request);
    asked++;
    if (weir_str_eq(path, WEIR_STR("/page/never"))) {
        struct weir_token token;
        return weir_suspend(request, on_never, WEIR_WAIT_PRESET, &token);
    }
    if (weir_str_eq(path, WEIR_STR("/page/fails"))) {
        return WEIR_FAILED;
    }
    if (weir_str_eq(path, WEIR_STR("/page/short"))) {
        return weir_reply_begin(request, 200) < 0 || weir_reply_length(request, 10) < 0 ||
                        weir_reply_write(request, WEIR_STR("12345")) < 0
                ? WEIR_FAILED
                : WEIR_DONE;
    }
    if (weir_str_eq(path, WEIR_STR("/page/login"))) {
        return weir_reply_begin(request, 302) < 0 ||
                        weir_reply_add(request, WEIR_STR("Location"), WEIR_STR("/login")) < 0 ||
                        weir_reply_end(request) < 0
                ? WEIR_FAILED
                : WEIR_DONE;
    }
    return weir_str_eq(path, WEIR_STR("/page/none")) ? WEIR_NEXT : tell(request);
}

static enum weir_verdict
fail_with(struct weir_request *request, unsigned status)
{
    return weir_reply_error(request, status) != WEIR_DONE ||
                    weir_reply_set(request, WEIR_STR("Allow"), WEIR_STR("GET")) < 0 ||
                    weir_reply_add(request, WEIR_STR("Set-Cookie"), WEIR_STR("a=b")) < 0 ||
                    weir_reply_add(request, WEIR_STR("Set-Cookie"), WEIR_STR("c=d")) < 0 ||
                    weir_reply_set(request, WEIR_STR("ETag"), WEIR_STR("\"error\"")) < 0
            ? WEIR_FAILED
            : WEIR_DONE;
}

/* /error/NNN: the server's own; /own/...: a text of its own; /in/...: an internal request's. */
static enum weir_verdict
make_error(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct weir_str path = weir_request_path(request);
    if (weir_str_starts_with(path, WEIR_STR("/error/"))) {
        return fail_with(request, (unsigned)strtoul(path.ptr + 7, NULL, 10));
    }
    if (weir_str_starts_with(path, WEIR_STR("/own/"))) {
        return weir_reply_text(request, 404, WEIR_STR("text/plain"), WEIR_STR("its own"));
    }
    if (weir_str_starts_with(path, WEIR_STR("/in/"))) {
        const struct weir_ask ask = { .bytes = sizeof(ask), .target = WEIR_STR("/page/none") };
        return weir_internal_answer(request, &ask, 0);
    }
    return WEIR_NEXT;
}

static const struct weir_hook page_hooks[] = { { .on = WEIR_ON_CONTENT,
        .request = make_page } };
static const struct weir_hook fail_hooks[] = { { .on = WEIR_ON_CONTENT,
        .request = make_error } };

static const struct weir_module site_module = {
    WEIR_MODULE_HEAD("own", "1.0.0", "Pages and errors"),
    WEIR_HANDLERS({ .name = "page", .hooks = WEIR_HOOKS(page_hooks) },
            { .name = "fail", .hooks = WEIR_HOOKS(fail_hooks) }),
};

static const struct weir_module *const modules[] = { &site_module, &weir_module_v1 };

/* ---- a server ---------------------------------------------------------------------------- */

static char config[2048];
static const struct testbed_settings settings = { config, modules, 2 };

static void
make_config(const char *options)
{
    int len = snprintf(config, sizeof(config),
            "{ \"modules\": [\"own\", \"error_pages\"],"
            "  \"servers\": [{ \"listen\": \"127.0.0.1:1\","
            "    \"use\": [{ \"error_pages\": { %s } }],"
            "    \"routes\": ["
            "      { \"match\": \"/page/*\", \"internal\": true, \"handle\": \"page\" },"
            "      { \"match\": [\"/error/*\", \"/own/*\", \"/in/*\", \"/declines\"],"
            "        \"handle\": \"fail\" } ] }] }",
            options);
    ck_assert_int_lt(len, (int)sizeof(config));
}

#define ROUTES                                                                 \
    "\"routes\": { \"4xx\": \"/page/{status}?of={path}\", "                    \
    "\"501\": \"/page/none\", \"502\": \"/page/fails\", "                      \
    "\"503\": \"/page/never\", \"504\": \"/page/short\", \"507\": \"/open\", " \
    "\"508\": \"/../x\" }"
#define ASK(m, path, f) m " " path " HTTP/1.1\r\nHost: a\r\n" f "\r\n"
#define GET(path)       ASK("GET", path, "")
#define TAKES           ROUTES ", \"take_status\": true"
#define LOGIN           "\"routes\": { \"401\": \"/page/login\" }"

static const struct row {
    const char *why, *options, *request, *status, *field, *end;
    unsigned asked;
} rows[] = {
    { "a route makes the page", ROUTES, GET("/error/404"), "404 Not Found",
            "Content-Type: text/x-page\r\n", "\r\n\r\nGET /page/404?of=/error/404", 1 },
    { "where no route was found", ROUTES, GET("/none"), "404 Not Found",
            "Content-Type: text/x-page\r\n", "\r\n\r\nGET /page/404?of=/none", 1 },
    { "with a path that it takes to encode", ROUTES, GET("/a%20b"), "404 Not Found", NULL,
            "\r\n\r\nGET /page/404?of=/a%20b", 1 },
    { "the error's fields stay", ROUTES, GET("/error/405"), "405 Method Not Allowed",
            "Allow: GET\r\n", "\r\n\r\nGET /page/405?of=/error/405", 1 },
    { "all of them", ROUTES, GET("/error/405"), "405 Method Not Allowed",
            "Set-Cookie: a=b\r\nSet-Cookie: c=d\r\n", "?of=/error/405", 1 },
    { "beside what the page depends on", ROUTES, GET("/error/404"), "404 Not Found",
            "Vary: Accept-Language\r\n", "?of=/error/404", 1 },
    { "no validators", ROUTES, GET("/error/404"), "404 Not Found", "!ETag", "?of=/error/404",
            1 },
    { "no ranges", ROUTES, ASK("GET", "/error/404", "Range: bytes=0-1\r\n"), "404 Not Found",
            NULL, "?of=/error/404", 1 },
    { "a HEAD has a HEAD's", ROUTES, ASK("HEAD", "/error/404", ""), "404 Not Found",
            "Content-Type: text/x-page\r\n", "\r\n\r\n", 1 },
    { "a POST a GET's", ROUTES, ASK("POST", "/error/404", "Content-Length: 0\r\n"),
            "404 Not Found", NULL, "\r\n\r\nGET /page/404?of=/error/404", 1 },
    { "a refused request has one too", ROUTES, "GET /a b HTTP/1.1\r\n\r\n", "400 Bad Request",
            "Connection: close\r\n", "\r\n\r\nGET /page/400?of=", 1 },
    { "a status without a page", ROUTES, GET("/error/500"), "500 Internal Server Error", NULL,
            "\r\n\r\n500 Internal Server Error\n", 0 },
    { "a route that declines", ROUTES, GET("/error/501"), "501 Not Implemented",
            "Allow: GET\r\n", "\r\n\r\n501 Not Implemented\n", 1 },
    { "one that fails", ROUTES, GET("/error/502"), "502 Bad Gateway", "Allow: GET\r\n",
            "\r\n\r\n502 Bad Gateway\n", 1 },
    { "one that never answers", ROUTES, GET("/error/503"), "503 Service Unavailable",
            "Allow: GET\r\n", "\r\n\r\n503 Service Unavailable\n", 1 },
    { "one that is cut", ROUTES, GET("/error/504"), "5", NULL, "\n", 1 },
    { "a route that is not internal", ROUTES, GET("/error/507"), "507 Insufficient Storage",
            NULL, "\r\n\r\n507 Insufficient Storage\n", 0 },
    { "a target that is none", ROUTES, GET("/error/508"), "508 Loop Detected", NULL,
            "\r\n\r\n508 Loop Detected\n", 0 },
    { "a handler's own text stays", ROUTES, GET("/own/x"), "404 Not Found", NULL,
            "\r\n\r\nits own", 0 },
    { "unless it is to be replaced", ROUTES ", \"intercept\": true", GET("/own/x"),
            "404 Not Found", NULL, "\r\n\r\nGET /page/404?of=/own/x", 1 },
    { "an internal request's error has the page of who asked", ROUTES, GET("/in/x"),
            "404 Not Found", NULL, "\r\n\r\nGET /page/404?of=/in/x", 2 },
    { "the route's status, where it is wanted", TAKES, GET("/error/404"), "200 OK",
            "ETag: \"page\"\r\n", "\r\n\r\nGET /page/404?of=/error/404", 1 },
    { "with ranges", TAKES, ASK("GET", "/error/404", "Range: bytes=0-1\r\n"),
            "206 Partial Content", NULL, "\r\n\r\nGE", 1 },
    { "a redirect instead", LOGIN ", \"take_status\": true", GET("/error/401"), "302 Found",
            "Location: /login\r\n", "\r\n\r\n", 1 },
    { "but not unless it is wanted", LOGIN, GET("/error/401"), "401 Unauthorized", NULL,
            "401 Unauthorized\n", 1 },
    { "an error is no page, even so", TAKES, GET("/error/501"), "501 Not Implemented", NULL,
            "501 Not Implemented\n", 1 },

    { "a word for the error", ROUTES, GET("/error/403"), "403 Forbidden",
            "x-error-code: forbidden\r\n", "of=/error/403", 1 },
    { "and for what caused it", ROUTES, GET("/none"), "404 Not Found",
            "x-error-code: no_route\r\n", "of=/none", 1 },
    { "where there was a route", ROUTES, GET("/declines"), "404 Not Found",
            "x-error-code: not_found\r\n", "of=/declines", 1 },
    { "of a refused request", ROUTES, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "400 Bad Request", "x-error-code: several_hosts\r\n", "/page/400?of=", 1 },
    { "without a page", "", GET("/error/413"), "413 Content Too Large",
            "x-error-code: content_too_large\r\n", "413 Content Too Large\n", 0 },
    { "of a status without a name", "", GET("/error/499"), "499 ", "x-error-code: error\r\n",
            "499 \n", 0 },
    { "with a text in its place", "\"text\": { \"404\": \"none\" }", GET("/none"),
            "404 Not Found", "x-error-code: no_route\r\n", "\r\n\r\nnone", 0 },
    { "none for a handler's own", "", GET("/own/x"), "404 Not Found", "!x-error-code",
            "its own", 0 },
    { "under another name", "\"code_header\": \"x-why\"", GET("/none"), "404 Not Found",
            "x-why: no_route\r\n", "\n", 0 },
    { "under none", ROUTES ", \"code_header\": false", GET("/none"), "404 Not Found",
            "!x-error-code", "of=/none", 1 },
};

START_TEST(answers)
{
    const struct row *row = &rows[_i];
    make_config(row->options);
    struct testbed *testbed = module_testbed_new(&settings);
    asked = 0;
    testbed_send(testbed, weir_str_from(row->request));
    testbed_pass(testbed, 61 * NS_PER_S); /* for the one that never answers */
    const struct module_answer want = { row->status, row->field, row->end };
    module_check_answer(testbed, row->why, &want);
    ck_assert_msg(asked == row->asked, "%s: asked %u times", row->why, asked);
    ck_assert(testbed_free(testbed));
}
END_TEST

START_TEST(ends_with_the_client)
{
    make_config(ROUTES);
    struct testbed *testbed = module_testbed_new(&settings);
    testbed_send(testbed, WEIR_STR(GET("/error/503")));
    ck_assert_uint_eq(testbed_received(testbed).len, 0);
    testbed_reset(testbed);
    ck_assert(testbed_free(testbed));
}
END_TEST

START_TEST(says_why_there_is_no_page)
{
    static const struct {
        const char *request, *line;
    } lines[] = {
        { GET("/error/501"), "the route asked for the page of 501 answered 404" },
        { GET("/error/508"), "/../x, for the page of 508, is no target of a request" },
    };
    make_config(ROUTES);
    struct testbed *testbed = module_testbed_new(&settings);
    struct said said;
    said_begin(&said, LOG_WARN);
    testbed_send(testbed, weir_str_from(lines[_i].request));
    said_check(&said, lines[_i].line);
    ck_assert(testbed_free(testbed));
}
END_TEST

START_TEST(stands_torture)
{
    static const char *const requests[] = { GET("/error/404"), GET("/error/501"),
        GET("/in/x") };
    make_config(ROUTES);
    module_check_torture(&settings, weir_str_from(requests[_i]));
}
END_TEST

static const struct mistake {
    const char *conf, *message;
} mistakes[] = {
    { "{\"routes\": {\"404\": \"page\"}}", "does not begin with a slash" },
    { "{\"routes\": {\"200\": \"/page\"}}", "only 4xx and 5xx" },
    { "{\"routes\": {\"404\": \"/{nothing}\"}}", "unknown variable" },
    { "{\"code_header\": \"a b\"}", "is no name of a field" },
};

START_TEST(refuses)
{
    module_check_refused(&weir_module_v1, mistakes[_i].conf, mistakes[_i].message);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, answers, 0, MODULE_ROWS(rows));
    tcase_add_test(tests, ends_with_the_client);
    tcase_add_loop_test(tests, says_why_there_is_no_page, 0, 2);
    tcase_add_loop_test(tests, stands_torture, 0, 3);
    tcase_add_loop_test(tests, refuses, 0, MODULE_ROWS(mistakes));
}

UNIT_MAIN("error_pages_route", add_tests)
