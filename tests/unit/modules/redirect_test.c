/* SPDX-License-Identifier: MIT */
/* Where clients are sent (CONFIG.md, handler `redirect`; HTTP.md: no open redirect through
 * `//`), and what a configuration may say. */
#include <weir/module.h>

#include "support/module_rig.h"
#include "support/unit.h"

#define CRLF        "\r\n"
#define GET(target) "GET " target " HTTP/1.1" CRLF "Host: a.example:81" CRLF CRLF

static const struct row {
    const char *why, *conf, *request;
    unsigned status;
    const char *location;
} rows[] = {
    { "a path of this host", "{\"to\": \"/new\"}", GET("/old?x=1"), 308, "/new" },
    { "what the request carried is kept where it is said", "{\"to\": \"/new?{query.x}\"}",
            GET("/old?x=1"), 308, "/new?1" },
    { "301", "{\"to\": \"/new\", \"status\": 301}", GET("/old"), 301, "/new" },
    { "302", "{\"to\": \"/new\", \"status\": 302}", GET("/old"), 302, "/new" },
    { "303", "{\"to\": \"/new\", \"status\": 303}", GET("/old"), 303, "/new" },
    { "307", "{\"to\": \"/new\", \"status\": 307}", GET("/old"), 307, "/new" },
    { "the sample: to TLS", "{\"to\": \"https://{host}{target}\"}", GET("/a%20b?c=%2F"), 308,
            "https://a.example/a%20b?c=%2F" },
    { "an absolute target gives its path", "{\"to\": \"https://{host}{target}\"}",
            GET("http://b.example/x?y"), 308, "https://b.example/x?y" },
    { "an absolute target without path", "{\"to\": \"https://{host}{target}\"}",
            GET("http://b.example"), 308, "https://b.example/" },
    { "an absolute target with no more than a query", "{\"to\": \"https://{host}{target}\"}",
            GET("http://b.example?q"), 308, "https://b.example?q" },
    { "a path is encoded again", "{\"to\": \"/new{path}\"}", GET("/a%20b%22"), 308,
            "/new/a%20b%22" },
    { "no host through //, as sent", "{\"to\": \"{target}\"}", GET("//evil.example/x"), 308,
            "/evil.example/x" },
    { "no host through ///", "{\"to\": \"{target}\"}", GET("///evil.example"), 308,
            "/evil.example" },
    { "no host through a variable behind a slash", "{\"to\": \"/{query.next}\"}",
            GET("/?next=/evil.example"), 308, "/evil.example" },
    { "no host through an encoded slash", "{\"to\": \"{query.next}\"}",
            GET("/?next=%2F%2Fevil.example"), 308, "/evil.example" },
    { "no host through a backslash", "{\"to\": \"{query.next}\"}",
            GET("/?next=%2F%5Cevil.example"), 308, "/%5Cevil.example" },
    { "no scheme of the client's", "{\"to\": \"{query.next}\"}",
            GET("/?next=https://evil.example/"), 308, "./https://evil.example/" },
    { "no script", "{\"to\": \"{query.next}\"}", GET("/?next=javascript:alert(1)"), 308,
            "./javascript:alert(1)" },
    { "no line break", "{\"to\": \"/x?{query.next}\"}", GET("/?next=a%0D%0ASet-Cookie:b"), 308,
            "/x?a%0D%0ASet-Cookie:b" },
    { "a variable that is empty", "{\"to\": \"{query.next}\"}", GET("/"), 308, "./" },
    { "a query alone", "{\"to\": \"?lang=de\"}", GET("/"), 308, "?lang=de" },
    { "a relative path", "{\"to\": \"other\"}", GET("/"), 308, "other" },
    { "a host without scheme, where it is said", "{\"to\": \"//cdn.example{target}\"}",
            GET("/x"), 308, "//cdn.example/x" },
    { "another scheme, where it is said", "{\"to\": \"shop:{query.item}\"}", GET("/?item=7"),
            308, "shop:7" },
    { "a brace", "{\"to\": \"https://b.example/{{{path.x}\"}", GET("/"), 308,
            "https://b.example/{" },
    { "an address keeps its brackets", "{\"to\": \"https://{host}:8443{target}\"}",
            "GET /x HTTP/1.1" CRLF "Host: [2001:DB8::1]:80" CRLF CRLF, 308,
            "https://[2001:db8::1]:8443/x" },
    { "no host where the client names none", "{\"to\": \"https://{host}{target}\"}",
            "GET /evil.example/ HTTP/1.0" CRLF CRLF, 400, NULL },
    { "nor a port without one", "{\"to\": \"//{host}:8443{target}\"}",
            "GET /evil.example/ HTTP/1.0" CRLF CRLF, 400, NULL },
    { "a path needs none", "{\"to\": \"/new\"}", "GET /old HTTP/1.0" CRLF CRLF, 308, "/new" },
    { "OPTIONS * is for no page", "{\"to\": \"/new\"}",
            "OPTIONS * HTTP/1.1" CRLF "Host: a" CRLF CRLF, 204, NULL },
};

START_TEST(leads_to)
{
    const struct row *row = &rows[_i];
    const struct module_case one = { .why = row->why,
        .outer = row->conf,
        .request = row->request,
        .status = row->status };
    struct module_rig rig;
    module_rig_init(&rig, &weir_module_v1, &one);
    module_rig_check_field(&rig, "Location", row->location);
    module_rig_fini(&rig);
}
END_TEST

static const struct mistake {
    const char *conf, *message;
} mistakes[] = {
    { "{}", "\"to\"" },
    { "{\"to\": \"\"}", "empty target" },
    { "{\"to\": \"/x\", \"status\": 304}", "304 is no redirect" },
    { "{\"to\": \"/x\", \"status\": 200}", "is no status" },
    { "{\"to\": \"/a b\"}", "cannot stand here" },
    { "{\"to\": \"/\\\\evil.example\"}", "backslash" },
    { "{\"to\": \"https:{path}\"}", "two slashes" },
    { "{\"to\": \"https://a.example{path.rest}\"}", "{path.rest}" },
    { "{\"to\": \"https://a.example{query.x}/y\"}", "{query.x}" },
    { "{\"to\": \"//{query.x}\"}", "{query.x}" },
    { "{\"to\": \"{scheme}://{host}{query.x}\"}", "{query.x}" },
};

START_TEST(refuses)
{
    module_check_refused(&weir_module_v1, mistakes[_i].conf, mistakes[_i].message);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, leads_to, 0, MODULE_ROWS(rows));
    tcase_add_loop_test(tests, refuses, 0, MODULE_ROWS(mistakes));
}

UNIT_MAIN("redirect", add_tests)
