/* SPDX-License-Identifier: MIT */
/* Bodies of error answers (CONFIG.md, handler `error_pages`; F61, F155). */
#include <stdio.h>

#include <weir/module.h>
#include <weir/reply.h>
#include <weir/request.h>

#include "support/file_rig.h"
#include "support/module_rig.h"
#include "support/unit.h"

#define CRLF            "\r\n"
#define ASK(m, path, f) m " " path " HTTP/1.1" CRLF "Host: a" CRLF f CRLF
#define GET(path)       ASK("GET", path, "")

/* `@` is the directory of the test's files. */
static char *
with_directory(const char *conf, const struct tree *tree)
{
    static char text[1024];
    size_t at = 0;
    for (; *conf != '\0'; conf++) {
        at += (size_t)(*conf == '@' ? snprintf(text + at, sizeof(text) - at, "%s", tree->path)
                                    : snprintf(text + at, sizeof(text) - at, "%c", *conf));
    }
    return text;
}

#define BOTH "{\"404\": [\"@/404.html\", \"@/404.json\"], \"5xx\": \"@/50x.html\"}"

static const struct row {
    const char *why, *conf, *request;
    unsigned status;
    const char *type, *body; /* NULL: not looked at */
} rows[] = {
    { "a file for a status", BOTH, GET("/none"), 404, "text/html; charset=utf-8", "<p>404" },
    { "a class", BOTH, GET("/fail"), 500, "text/html; charset=utf-8", "<p>50x" },
    { "the body's type by Accept", BOTH, ASK("GET", "/none", "Accept: application/json" CRLF),
            404, "application/json", "{}" },
    { "by weight", BOTH,
            ASK("GET", "/none", "Accept: text/html;q=0.2, application/json;q=0.8" CRLF), 404,
            "application/json", "{}" },
    { "by the nearest range", BOTH, ASK("GET", "/none", "Accept: text/*;q=0, */*" CRLF), 404,
            "application/json", "{}" },
    { "the first where nothing is accepted", BOTH, ASK("GET", "/none", "Accept: a/b" CRLF), 404,
            NULL, "<p>404" },
    { "a status without page keeps the server's", BOTH, GET("/status/403"), 403, NULL,
            "403 Forbidden\n" },
    { "one status before its class", "{\"text\": {\"4xx\": \"any\", \"404\": \"none\"}}",
            GET("/none"), 404, "text/plain; charset=utf-8", "none" },
    { "a text with variables", "{\"text\": {\"404\": \"{status} {path}\"}}", GET("/no%20one"),
            404, NULL, "404 /no one" },
    { "what is no error stays", BOTH, GET("/hello"), 200, "text/plain", "hello" },
    { "204 stays", BOTH, GET("/nothing"), 204, NULL, "" },
    { "HEAD has the length and no body", BOTH, ASK("HEAD", "/none", ""), 404, NULL, "" },
    { "an empty file", "{\"404\": \"@/empty.txt\"}", GET("/none"), 404, NULL, "" },
    { "a handler's own body stays", "{\"404\": \"@/404.html\"}", GET("/own"), 404, "text/plain",
            "its own" },
    { "unless it is to be replaced", "{\"404\": \"@/404.html\", \"intercept\": true}",
            GET("/own"), 404, "text/html; charset=utf-8", "<p>404" },
    { "a refused request", "{\"400\": \"@/50x.html\"}", "GET /a b HTTP/1.1" CRLF CRLF, 400,
            NULL, NULL },
};

static enum weir_verdict
answer_itself(struct weir_request *request, const void *conf)
{
    (void)conf;
    if (!weir_str_eq(weir_request_path(request), WEIR_STR("/own"))) {
        return WEIR_NEXT;
    }
    return weir_reply_text(request, 404, WEIR_STR("text/plain"), WEIR_STR("its own"));
}

static const struct weir_hook own_hooks[] = {
    { .on = WEIR_ON_CONTENT, .request = answer_itself },
};

static void
make_files(struct tree *tree)
{
    tree_init(tree);
    tree_text(tree, "404.html", "<p>404");
    tree_text(tree, "404.json", "{}");
    tree_text(tree, "50x.html", "<p>50x");
    tree_text(tree, "empty.txt", "");
}

START_TEST(answers)
{
    static const struct weir_handler beside = { .name = "own", .hooks = WEIR_HOOKS(own_hooks) };
    const struct row *row = &rows[_i];
    struct tree tree;
    make_files(&tree);
    const struct module_case one = { .why = row->why,
        .outer = with_directory(row->conf, &tree),
        .beside = &beside,
        .request = row->request,
        .status = row->status };
    struct module_rig rig;
    module_rig_init(&rig, &weir_module_v1, &one);
    if (row->type != NULL) {
        module_rig_check_field(&rig, "Content-Type", row->type);
    }
    if (row->body != NULL) {
        module_rig_check_body(&rig, row->body);
    }
    if (row->request[0] == 'H') {
        module_rig_check_field(&rig, "Content-Length", "6");
        ck_assert_uint_eq(rig.rest.len, 0);
    }
    module_rig_fini(&rig);
    tree_fini(&tree);
}
END_TEST

static const struct mistake {
    const char *conf, *message;
} mistakes[] = {
    { "{\"code_header\": false}", "no status has a page" },
    { "{\"200\": \"@/404.html\"}", "only 4xx and 5xx" },
    { "{\"404\": \"@/404.png\"}", "media type" },
    { "{\"404\": \"@/missing.html\"}", "cannot read" },
    { "{\"text\": {\"404\": \"{nothing}\"}}", "unknown variable" },
};

START_TEST(refuses)
{
    struct tree tree;
    make_files(&tree);
    module_check_refused(&weir_module_v1, with_directory(mistakes[_i].conf, &tree),
            mistakes[_i].message);
    tree_fini(&tree);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, answers, 0, MODULE_ROWS(rows));
    tcase_add_loop_test(tests, refuses, 0, MODULE_ROWS(mistakes));
}

UNIT_MAIN("error_pages", add_tests)
