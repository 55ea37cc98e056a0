/* SPDX-License-Identifier: MIT */
/* What a site makes of a request before any module has a say, and when none has: which host and
 * scheme it is there for. Each row whole, byte by byte and split in two at every point. */
#include "module/generation.h"

#include <stdio.h>

#include <weir/reply.h>
#include <weir/request.h>

#include "support/module_rig.h"
#include "support/unit.h"

/* "scheme host path", and the Host field. */
static enum weir_verdict
tell(struct weir_request *request, const void *conf)
{
    (void)conf;
    char text[128];
    struct weir_str field = weir_request_field(request, WEIR_STR("Host"));
    int len = snprintf(text, sizeof(text), "%.*s %.*s %.*s, %.*s",
            WEIR_STR_ARG(weir_request_scheme(request)),
            WEIR_STR_ARG(weir_request_host(request)), WEIR_STR_ARG(weir_request_path(request)),
            (int)field.len, field.ptr == NULL ? "" : field.ptr);
    return weir_reply_text(request, 200, WEIR_STR("text/plain"),
            weir_str_make(text, (size_t)len));
}

static const struct weir_hook hooks[] = { { .on = WEIR_ON_CONTENT, .request = tell } };

static const struct weir_module module = {
    WEIR_MODULE_HEAD("tell", "1.0.0", "Tells what it was asked"),
    WEIR_HANDLERS({ .name = "tell", .hooks = WEIR_HOOKS(hooks) }),
};

static const struct weir_module *const modules[] = { &module };

static char config[1024];
static const struct testbed_settings settings = { config, modules, 1 };

#define ASK(method, target, host) method " " target " HTTP/1.1\r\nHost: " host "\r\n\r\n"
#define PING                      ASK("OPTIONS", "*", "a")

/* The client is 192.0.2.1. */
#define TRUST  "\"trust\": { \"peers\": [\"192.0.2.0/24\"] }, "
#define OTHERS "\"trust\": { \"peers\": [\"198.51.100.0/24\"] }, "

static const struct {
    const char *why, *server, *match, *request;
    const char *status, *field, *end; /* of the answer; field NULL: any */
} cases[] = {
    { "the host of the target wins (RFC 9112 3.2.2)", "", "/*",
            ASK("GET", "http://b.example/x", "a"), "200", NULL,
            "http b.example /x, b.example" },
    { "and nobody sees the field", "", "/*", ASK("GET", "http://B.example.:81?q", "admin"),
            "200", NULL, "http b.example /, B.example.:81" },
    { "otherwise it is as it was sent", "", "/*", ASK("GET", "/x", "A.example:80"), "200", NULL,
            "http a.example /x, A.example:80" },
    { "where there is none, there is none (HTTP/1.0)", "", "/*",
            "GET http://b/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200", NULL,
            "http b /x, " },
    { "an https target without TLS (RFC 9110 7.4)", "", "/*", ASK("GET", "https://a/x", "a"),
            "421", NULL, "421 Misdirected Request\n" },
    { "in any case", "", "/*", ASK("GET", "HTTPS://a/x", "a"), "421", NULL,
            "421 Misdirected Request\n" },
    { "from a stranger", OTHERS, "/*", ASK("GET", "https://a/x", "a"), "421", NULL,
            "421 Misdirected Request\n" },
    { "a gateway that is trusted may", TRUST, "/*", ASK("GET", "https://a/x", "a"), "200", NULL,
            "https a /x, a" },
    { "a host that no server has", "\"host\": \"a\", ", "/*", ASK("GET", "/", "b"), "421", NULL,
            "421 Misdirected Request\n" },
    { "nor one in the target", "\"host\": \"a\", ", "/*", ASK("GET", "http://b/", "a"), "421",
            NULL, "421 Misdirected Request\n" },
    { "a ping of the server (RFC 9110 9.3.7)", "", "/x", PING, "204", "!Allow:", "\r\n\r\n" },
    { "in absolute form (RFC 9112 3.2.4)", "", "/x", ASK("OPTIONS", "http://a", "a"), "204",
            "!Allow:", "\r\n\r\n" },
    { "its root is a resource", "", "/x", ASK("OPTIONS", "http://a/", "a"), "404", NULL,
            "404 Not Found\n" },
    { "a ping of a host that is not here", "\"host\": \"a\", ", "/x", ASK("OPTIONS", "*", "b"),
            "421", NULL, "421 Misdirected Request\n" },
    { "a module may answer it", "", NULL, PING, "200", NULL, "http a *, a" },
};

static void
check_case(struct testbed *testbed, int row, size_t split)
{
    ck_assert(testbed_connect(testbed));
    struct weir_str bytes = weir_str_from(cases[row].request);
    size_t step = split == SIZE_MAX ? 1 : split == 0 ? bytes.len : split;
    for (size_t at = 0; at < bytes.len;) {
        testbed_send(testbed, weir_str_make(bytes.ptr + at, step));
        at += step;
        step = split == SIZE_MAX ? 1 : bytes.len - at;
    }
    char why[128];
    snprintf(why, sizeof(why), "%s (split %zu)", cases[row].why, split);
    const struct module_answer want = { cases[row].status, cases[row].field, cases[row].end };
    module_check_answer(testbed, why, &want);
    unit_check(!testbed_is_over(testbed), why);
}

START_TEST(answers_for_what_it_is_there_for_however_the_bytes_are_cut)
{
    const char *match = cases[_i].match;
    int len = snprintf(config, sizeof(config),
            "{ \"modules\": [\"tell\"], \"servers\": [{ \"listen\": \"127.0.0.1:1\", %s"
            "  \"routes\": [{ %s%s%s \"handle\": \"tell\" }] }] }",
            cases[_i].server, match == NULL ? "" : "\"match\": \"", match == NULL ? "" : match,
            match == NULL ? "" : "\",");
    ck_assert_int_lt(len, (int)sizeof(config));
    struct testbed *testbed = module_testbed_new(&settings);
    for (size_t split = 0; split < strlen(cases[_i].request); split++) {
        check_case(testbed, _i, split);
    }
    check_case(testbed, _i, SIZE_MAX);
    ck_assert(testbed_free(testbed));
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, answers_for_what_it_is_there_for_however_the_bytes_are_cut, 0,
            MODULE_ROWS(cases));
}

UNIT_MAIN("module/generation", add_tests)
