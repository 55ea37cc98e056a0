/* SPDX-License-Identifier: MIT */
/* Fields of requests and answers (CONFIG.md, handler `headers`; F150, F50). */
#include <weir/module.h>
#include <weir/reply.h>
#include <weir/request.h>

#include "support/module_rig.h"
#include "support/unit.h"

#define CRLF      "\r\n"
#define GET(path) "GET " path " HTTP/1.1" CRLF "Host: a" CRLF "X-Own: mine" CRLF CRLF

/* Answers with what it sees of the request in fields of its own. */
static enum weir_verdict
mirror(struct weir_request *request, const void *conf)
{
    (void)conf;
    if (!weir_str_eq(weir_request_path(request), WEIR_STR("/mirror"))) {
        return WEIR_NEXT;
    }
    struct weir_str own = weir_request_field(request, WEIR_STR("X-Own"));
    return weir_reply_text(request, 200, WEIR_STR("text/plain"),
            own.ptr == NULL ? WEIR_STR("none") : own);
}

static const struct weir_hook mirror_hooks[] = {
    { .on = WEIR_ON_CONTENT, .request = mirror },
};

static const struct row {
    const char *why, *outer, *inner, *request;
    unsigned status;
    const char *field, *value; /* NULL: absent */
    const char *body;
} rows[] = {
    { "a field is set", "{\"response\": {\"set\": {\"x-a\": \"b\"}}}", NULL, GET("/hello"), 200,
            "x-a", "b", NULL },
    { "in place of what was there", "{\"response\": {\"set\": {\"content-type\": \"a/b\"}}}",
            NULL, GET("/hello"), 200, "content-type", "a/b", NULL },
    { "one is added", "{\"response\": {\"add\": {\"x-a\": \"b\"}}}", NULL, GET("/hello"), 200,
            "x-a", "b", NULL },
    { "one is removed", "{\"response\": {\"remove\": \"Content-Type\"}}", NULL, GET("/hello"),
            200, "content-type", NULL, NULL },
    { "the server's own too", "{\"response\": {\"remove\": \"server\"}}", NULL, GET("/hello"),
            200, "server", NULL, NULL },
    { "of an error", "{\"response\": {\"remove\": [\"Server\", \"Date\"]}}", NULL,
            GET("/nowhere"), 404, "date", NULL, NULL },
    { "or another in its place", "{\"response\": {\"set\": {\"server\": \"x\"}}}", NULL,
            GET("/hello"), 200, "server", "x", NULL },
    { "none that comes out empty", "{\"response\": {\"set\": {\"server\": \"{query.x}\"}}}",
            NULL, GET("/hello"), 200, "server", NULL, NULL },
    { "removed, then set", "{\"response\": {\"remove\": \"x-a\", \"set\": {\"x-a\": \"b\"}}}",
            NULL, GET("/hello"), 200, "x-a", "b", NULL },
    { "a variable", "{\"response\": {\"set\": {\"x-a\": \"{method} {status}\"}}}", NULL,
            GET("/hello"), 200, "x-a", "GET 200", NULL },
    { "no value is no field", "{\"response\": {\"set\": {\"content-type\": \"{query.x}\"}}}",
            NULL, GET("/hello"), 200, "content-type", NULL, NULL },
    { "errors have it too", "{\"response\": {\"set\": {\"x-a\": \"b\"}}}", NULL,
            GET("/nowhere"), 404, "x-a", "b", NULL },
    { "and those of a module's fault", "{\"response\": {\"set\": {\"x-a\": \"b\"}}}", NULL,
            GET("/fail"), 500, "x-a", "b", NULL },
    { "no line break passes", "{\"response\": {\"set\": {\"x-a\": \"{query.x}\"}}}", NULL,
            GET("/hello?x=a%0d%0aX-B:%20c"), 200, "x-b", NULL, NULL },
    { "what variables hold is cleaned", "{\"response\": {\"set\": {\"x-a\": \"{query.x}\"}}}",
            NULL, GET("/hello?x=a%0d%0aX-B:%20c"), 200, "x-a", "aX-B: c", NULL },
    { "sets append over layers", "{\"response\": {\"set\": {\"x-a\": \"b\"}}}",
            "{\"response\": {\"set\": {\"x-c\": \"d\"}}}", GET("/hello"), 200, "x-a", "b",
            NULL },
    { "the inner one wins", "{\"response\": {\"set\": {\"x-a\": \"b\"}}}",
            "{\"response\": {\"set\": {\"x-a\": \"c\"}}}", GET("/hello"), 200, "x-a", "c",
            NULL },
    { "removals append", "{\"response\": {\"remove\": \"content-type\"}}",
            "{\"response\": {\"remove\": \"x\"}}", GET("/hello"), 200, "content-type", NULL,
            NULL },
    { "a request's is set", "{\"request\": {\"set\": {\"x-own\": \"ours\"}}}", NULL,
            GET("/mirror"), 200, NULL, NULL, "ours" },
    { "a request's is removed", "{\"request\": {\"remove\": \"x-own\"}}", NULL, GET("/mirror"),
            200, NULL, NULL, "none" },
    { "a request's is left alone", "{\"response\": {\"remove\": \"x-own\"}}", NULL,
            GET("/mirror"), 200, NULL, NULL, "mine" },
};

START_TEST(changes)
{
    static const struct weir_handler beside = { .name = "mirror",
        .hooks = WEIR_HOOKS(mirror_hooks) };
    const struct row *row = &rows[_i];
    const struct module_case one = { .why = row->why,
        .outer = row->outer,
        .inner = row->inner,
        .beside = &beside,
        .request = row->request,
        .status = row->status };
    struct module_rig rig;
    module_rig_init(&rig, &weir_module_v1, &one);
    if (row->field != NULL) {
        module_rig_check_field(&rig, row->field, row->value);
    }
    if (row->body != NULL) {
        module_rig_check_body(&rig, row->body);
    }
    module_rig_fini(&rig);
}
END_TEST

static const struct mistake {
    const char *conf, *message;
} mistakes[] = {
    { "{\"response\": {\"set\": {\"Transfer-Encoding\": \"chunked\"}}}", "transfer-encoding" },
    { "{\"response\": {\"add\": {\"connection\": \"close\"}}}", "connection" },
    { "{\"response\": {\"remove\": [\"Content-Length\"]}}", "Content-Length" },
    { "{\"request\": {\"set\": {\"host\": \"b\"}}}", "host" },
    { "{\"request\": {\"remove\": \"Expect\"}}", "Expect" },
    { "{\"response\": {\"remove\": \"a b\"}}", "a b" },
    { "{\"response\": {\"set\": {\"a b\": \"c\"}}}", "a b" },
    { "{\"response\": {\"set\": {\"x-a\": \"b\\nc\"}}}", "cannot stand here" },
    { "{\"response\": {\"set\": {\"x-a\": \"b\\u0001c\"}}}", "cannot stand here" },
};

START_TEST(refuses)
{
    module_check_refused(&weir_module_v1, mistakes[_i].conf, mistakes[_i].message);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, changes, 0, MODULE_ROWS(rows));
    tcase_add_loop_test(tests, refuses, 0, MODULE_ROWS(mistakes));
}

UNIT_MAIN("headers", add_tests)
