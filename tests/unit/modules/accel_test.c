/* SPDX-License-Identifier: MIT */
/* X-Accel-Redirect and X-Sendfile (CONFIG.md, handler `accel`; F62). */
#include "accel.h"

#include <errno.h>
#include <stdio.h>

#include <weir/internal.h>
#include <weir/log.h>
#include <weir/reply.h>
#include <weir/request.h>

#include "support/file_rig.h"
#include "support/module_rig.h"
#include "support/unit.h"

/* ---- the application: answers with what the request's fields say ------------------------- */

#define BIG_BYTES (300u << 10)

static enum weir_verdict
write_big(struct weir_request *request, const void *conf)
{
    (void)conf;
    uint64_t *written = weir_request_state(request);
    static const char digits[] = "0123456789abcdef";
    while (*written < BIG_BYTES) {
        ssize_t n = weir_reply_write(request, weir_str_make(digits, 16));
        if (n == -EAGAIN) {
            return weir_reply_wait(request, write_big);
        }
        if (n < 0) {
            return WEIR_FAILED;
        }
        *written += (uint64_t)n;
    }
    return WEIR_DONE;
}

/* X-Do-NAME: VALUE becomes the answer's NAME: VALUE. */
static enum weir_verdict
say(struct weir_request *request, unsigned status, struct weir_str text)
{
    if (weir_reply_begin(request, status) < 0) {
        return WEIR_FAILED;
    }
    struct weir_str name, value, family = WEIR_STR("X-Do-");
    for (uint32_t i = 0; weir_request_field_at(request, i, &name, &value); i++) {
        if (name.len > family.len &&
                weir_str_eq_icase(weir_str_make(name.ptr, family.len), family)) {
            name = weir_str_make(name.ptr + family.len, name.len - family.len);
            if (weir_reply_add(request, name, value) < 0) {
                return WEIR_FAILED;
            }
        }
    }
    return weir_reply_write(request, text) < 0 || weir_reply_end(request) < 0 ? WEIR_FAILED
                                                                              : WEIR_DONE;
}

static enum weir_verdict
application(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct weir_str path = weir_request_path(request);
    if (weir_str_starts_with(path, WEIR_STR("/in/")) && weir_request_depth(request) == 0) {
        return WEIR_NEXT; /* the last route's, for what the internal one is not for */
    }
    if (weir_str_eq(path, WEIR_STR("/in/part"))) {
        return say(request, 200, WEIR_STR("")) != WEIR_DONE ||
                        weir_reply_text(request, 200, WEIR_STR("text/x-part"),
                                WEIR_STR("0123456789")) != WEIR_DONE ||
                        weir_reply_set(request, WEIR_STR("ETag"), WEIR_STR("\"e\"")) < 0 ||
                        weir_reply_set(request, WEIR_STR("X-Accel-Expires"), WEIR_STR("1")) <
                                0 ||
                        weir_reply_set(request, WEIR_STR("Expires"), WEIR_STR("inner")) < 0 ||
                        weir_reply_representation(request) < 0
                ? WEIR_FAILED
                : WEIR_DONE;
    }
    if (weir_str_starts_with(path, WEIR_STR("/in/q"))) {
        struct weir_str query = weir_request_query(request);
        char text[128];
        int len = snprintf(text, sizeof(text), "%.*s %.*s?%.*s",
                WEIR_STR_ARG(weir_request_method(request)), WEIR_STR_ARG(path), (int)query.len,
                query.len == 0 ? "" : query.ptr);
        return weir_reply_text(request, 200, WEIR_STR("text/plain"),
                weir_str_make(text, (size_t)len));
    }
    if (weir_str_eq(path, WEIR_STR("/in/again"))) {
        return say(request, 200, WEIR_STR("again"));
    }
    if (weir_str_eq(path, WEIR_STR("/in/big"))) {
        return weir_reply_begin(request, 200) < 0 ? WEIR_FAILED : write_big(request, conf);
    }
    if (weir_str_eq(path, WEIR_STR("/in/fails"))) {
        return WEIR_FAILED;
    }
    if (weir_str_eq(path, WEIR_STR("/big"))) { /* its own body is written while it gives way */
        return say(request, 200, WEIR_STR("")) != WEIR_DONE ||
                        weir_reply_begin(request, 200) < 0 ||
                        weir_reply_add(request, WEIR_STR("X-Accel-Redirect"),
                                WEIR_STR("/in/part")) < 0
                ? WEIR_FAILED
                : write_big(request, conf);
    }
    if (weir_str_starts_with(path, WEIR_STR("/status/"))) {
        return say(request, (unsigned)strtoul(path.ptr + 8, NULL, 10), WEIR_STR("own"));
    }
    return weir_str_starts_with(path, WEIR_STR("/app")) ||
                    weir_str_starts_with(path, WEIR_STR("/only"))
            ? say(request, 200, WEIR_STR("own"))
            : WEIR_NEXT;
}

static const struct weir_hook hooks[] = { { .on = WEIR_ON_CONTENT, .request = application } };

static const struct weir_module application_module = {
    WEIR_MODULE_HEAD("app", "1.0.0", "An application"),
    WEIR_HANDLERS(
            { .name = "app", .hooks = WEIR_HOOKS(hooks), .state_bytes = sizeof(uint64_t) }),
};

static const struct weir_module *const modules[] = { &application_module, &weir_module_v1 };

/* ---- a server ---------------------------------------------------------------------------- */

static char config[2048];

static const struct testbed_settings settings = { config, modules, 2 };

static void
make_config(const struct tree *tree)
{
    int len = snprintf(config, sizeof(config),
            "{ \"modules\": [\"app\", \"accel\"],"
            "  \"servers\": [{ \"listen\": \"127.0.0.1:1\","
            "    \"use\": [{ \"accel\": { \"to\": [\"/in/*\", \"/out\"],"
            "                            \"roots\": [\"%s/files\", \"%s/files/deep\"] } }],"
            "    \"routes\": ["
            "      { \"match\": \"/in/*\", \"internal\": true, \"handle\": \"app\" },"
            "      { \"match\": \"/secret/*\", \"internal\": true, \"handle\": \"app\" },"
            "      { \"match\": \"/only/*\", \"handle\": \"app\","
            "        \"use\": [{ \"accel\": { \"headers\": \"X-Accel-Redirect\","
            "                                \"keep\": [\"X-Mine\"] } }] },"
            "      { \"handle\": \"app\" } ] }] }",
            tree->path, tree->path);
    ck_assert_int_lt(len, (int)sizeof(config));
}

static void
make_files(struct tree *tree)
{
    tree_init(tree);
    tree_text(tree, "files/a.txt", "a text");
    tree_text(tree, "files/a b\xc3\xbc.txt", "spaced");
    tree_text(tree, "files/deep/d.html", "<p>deep");
    tree_text(tree, "files-too/x.txt", "not yours");
    tree_link(tree, "files/out.txt", "../files-too/x.txt");
    make_config(tree);
}

#define TO(target)   "X-Do-X-Accel-Redirect: " target "\r\n"
#define FILE_(path)  "X-Do-X-Sendfile: @" path "\r\n"
#define DO(field)    "X-Do-" field "\r\n"
#define NO_BODY_HERE "\r\n\r\n"

/* `@` in `fields` is the directory of the test's files. */
static const struct row {
    const char *why, *request, *fields, *status, *field, *end;
} rows[] = {
    { "no field, no change", "GET /app", "", "200 OK", "Content-Length: 3\r\n", "\r\n\r\nown" },
    { "an internal route answers", "GET /app", TO("/in/part"), "200 OK", "ETag: \"e\"\r\n",
            "\r\n\r\n0123456789" },
    { "under the name in any case", "GET /app", "X-Do-x-ACCEL-redirect: /in/part\r\n", "200 OK",
            NULL, "\r\n\r\n0123456789" },
    { "with a query", "GET /app", TO("/in/q?a=b&c=%64"), "200 OK", NULL,
            "\r\n\r\nGET /in/q?a=b&c=%64" },
    { "with names as they are", "GET /app", TO("/in/q a\xc3\xbc#%"), "200 OK", NULL,
            "\r\n\r\nGET /in/q a\xc3\xbc#%?" },
    { "a POST leads to a GET", "POST /app", TO("/in/q") "Content-Length: 0\r\n", "200 OK", NULL,
            "\r\n\r\nGET /in/q?" },
    { "a HEAD to a HEAD", "HEAD /app", TO("/in/part"), "200 OK", "Content-Length: 10\r\n",
            NO_BODY_HERE },
    { "a range", "GET /app", TO("/in/part") "Range: bytes=2-4\r\n", "206 Partial Content",
            "Content-Range: bytes 2-4/10\r\n", "\r\n\r\n234" },
    { "one that there is not", "GET /app", TO("/in/part") "Range: bytes=99-\r\n", "416 ",
            "Content-Range: bytes */10\r\n", "\n" },
    { "a condition", "GET /app", TO("/in/part") "If-None-Match: \"e\"\r\n", "304 Not Modified",
            "ETag: \"e\"\r\n", NO_BODY_HERE },
    { "a condition that fails", "GET /app", TO("/in/part") "If-Match: \"f\"\r\n",
            "412 Precondition Failed", NULL, "\n" },
    { "the type that the application gave", "GET /app", TO("/in/part") DO("Content-Type: a/b"),
            "200 OK", "Content-Type: a/b\r\n", "\r\n\r\n0123456789" },
    { "else the other's", "GET /app", TO("/in/part"), "200 OK", "Content-Type: text/x-part\r\n",
            "\r\n\r\n0123456789" },
    { "disposition", "GET /app",
            TO("/in/part") DO("Content-Disposition: attachment; filename=x"), "200 OK",
            "Content-Disposition: attachment; filename=x\r\n", "\r\n\r\n0123456789" },
    { "what caches may do", "GET /app", TO("/in/part") DO("Cache-Control: private"), "200 OK",
            "Cache-Control: private\r\n", "\r\n\r\n0123456789" },
    { "in the other's place", "GET /app", TO("/in/part") DO("Expires: 0"), "200 OK",
            "Expires: 0\r\n", "\r\n\r\n0123456789" },
    { "all cookies", "GET /app", TO("/in/part") DO("Set-Cookie: a=b") DO("Set-Cookie: c=d"),
            "200 OK", "Set-Cookie: a=b\r\nSet-Cookie: c=d\r\n", "\r\n\r\n0123456789" },
    { "nothing else", "GET /app", TO("/in/part") DO("X-Mine: 1"), "200 OK", "!X-Mine",
            "\r\n\r\n0123456789" },
    { "unless it is named", "GET /only/app", TO("/in/part") DO("X-Mine: 1"), "200 OK",
            "X-Mine: 1\r\n", "\r\n\r\n0123456789" },
    { "the status of an error stays", "GET /status/403", TO("/in/part"), "403 Forbidden", NULL,
            "\r\n\r\n0123456789" },
    { "also without a range", "GET /status/403", TO("/in/part") "Range: bytes=2-4\r\n",
            "403 Forbidden", NULL, "\r\n\r\n0123456789" },
    { "unless the other fails too", "GET /status/403", TO("/in/none"), "404 Not Found", NULL,
            "\n" },
    { "a redirect stays one", "GET /status/302", TO("/in/part") DO("Location: /x"), "302 Found",
            "Location: /x\r\n", "\r\n\r\nown" },
    { "what has no body keeps none", "GET /status/204", TO("/in/part"), "204 No Content", NULL,
            NO_BODY_HERE },
    { "an error there is one here", "GET /app",
            TO("/in/none") DO("Content-Type: a/b") DO("Cache-Control: public"), "404 Not Found",
            "!Cache-Control", "404 Not Found\n" },
    { "with the cookies", "GET /app", TO("/in/none") DO("Set-Cookie: a=b"), "404 Not Found",
            "Set-Cookie: a=b\r\n", "404 Not Found\n" },
    { "a fault there", "GET /app", TO("/in/fails"), "500 ", NULL, "\n" },
    { "a target elsewhere", "GET /app", TO("/secret/x"), "500 ", NULL, "\n" },
    { "one that begins like a good one", "GET /app", TO("/inner"), "500 ", NULL, "\n" },
    { "one that climbs", "GET /app", TO("/in/../secret/x"), "500 ", NULL, "\n" },
    { "one that climbs in disguise", "GET /app", TO("/in/%2e%2E/secret/x"), "500 ", NULL,
            "\n" },
    { "and with a slash in disguise", "GET /app", TO("/in/x%2f..%2f../secret/x"), "500 ", NULL,
            "\n" },
    { "a NUL", "GET /app", TO("/in/x%00"), "500 ", NULL, "\n" },
    { "another server", "GET /app", TO("http://b/in/part"), "500 ", NULL, "\n" },
    { "nothing", "GET /app", TO(""), "500 ", NULL, "\n" },
    { "a route that everybody reaches", "GET /app", TO("/out"), "404 Not Found", NULL, "\n" },
    { "one leads to another", "GET /app", TO("/in/again"), "508 ", NULL, "\n" },
    { "a large one", "GET /app", TO("/in/big"), "200 OK", "chunked", "0\r\n\r\n" },
    { "in a large one's place", "GET /big", "", "200 OK", "Content-Length: 10\r\n",
            "\r\n\r\n0123456789" },
    { "nobody else reaches the internal route", "GET /in/part", "", "404 Not Found", NULL,
            "\n" },
    { "what is for the server goes no further", "GET /app",
            DO("X-Accel-Buffering: no") DO("X-Accel-Limit-Rate: 1"), "200 OK",
            "Content-Length: 3\r\n", "\r\n\r\nown" },

    { "a file", "GET /app", FILE_("/files/a.txt"), "200 OK", "Content-Length: 6\r\n",
            "\r\n\r\na text" },
    { "its type", "GET /app", FILE_("/files/deep/d.html"), "200 OK",
            "Content-Type: text/html; charset=utf-8\r\n", "\r\n\r\n<p>deep" },
    { "its time", "GET /app", FILE_("/files/a.txt"), "200 OK",
            "Last-Modified: Fri, 01 Jan 1993 00:00:00 GMT\r\n", "\r\n\r\na text" },
    { "the application's type", "GET /app", FILE_("/files/a.txt") DO("Content-Type: a/b"),
            "200 OK", "Content-Type: a/b\r\n", "\r\n\r\na text" },
    { "a range of it", "GET /app", FILE_("/files/a.txt") "Range: bytes=2-3\r\n",
            "206 Partial Content", "Content-Range: bytes 2-3/6\r\n", "\r\n\r\nte" },
    { "a condition on it", "GET /app",
            FILE_("/files/a.txt") "If-Modified-Since: Fri, 01 Jan 1993 00:00:00 GMT\r\n",
            "304 Not Modified", NULL, NO_BODY_HERE },
    { "HEAD of it", "HEAD /app", FILE_("/files/a.txt"), "200 OK", "Content-Length: 6\r\n",
            NO_BODY_HERE },
    { "a name as it is", "GET /app", FILE_("/files/a b\xc3\xbc.txt"), "200 OK", NULL,
            "\r\n\r\nspaced" },
    { "or encoded", "GET /app", FILE_("/files/a%20b%c3%bc.txt"), "200 OK", NULL,
            "\r\n\r\nspaced" },
    { "with a status", "GET /status/410", FILE_("/files/a.txt"), "410 Gone", NULL,
            "\r\n\r\na text" },
    { "one that is not there", "GET /app", FILE_("/files/none"), "404 Not Found", NULL, "\n" },
    { "a directory", "GET /app", FILE_("/files/deep"), "404 Not Found", NULL, "\n" },
    { "one of a neighbour", "GET /app", FILE_("/files-too/x.txt"), "500 ", NULL, "\n" },
    { "up and out", "GET /app", FILE_("/files/../files-too/x.txt"), "500 ", NULL, "\n" },
    { "a link out", "GET /app", FILE_("/files/out.txt"), "500 ", NULL, "\n" },
    { "what is no path", "GET /app", "X-Do-X-Sendfile: a.txt\r\n", "500 ", NULL, "\n" },
    { "a field that is not obeyed is not passed on either", "GET /only/app",
            FILE_("/files/a.txt"), "200 OK", NULL, "\r\n\r\nown" },
};

static struct weir_str
written(const struct row *row, const struct tree *tree, char *text, size_t bytes)
{
    int len = snprintf(text, bytes, "%s HTTP/1.1\r\nHost: a\r\n", row->request);
    for (const char *c = row->fields; *c != '\0'; c++) {
        len += *c == '@' ? snprintf(text + len, bytes - (size_t)len, "%s", tree->path)
                         : snprintf(text + len, bytes - (size_t)len, "%c", *c);
    }
    len += snprintf(text + len, bytes - (size_t)len, "\r\n");
    ck_assert_int_lt(len, (int)bytes);
    return weir_str_make(text, (size_t)len);
}

START_TEST(answers)
{
    const struct row *row = &rows[_i];
    struct tree tree;
    make_files(&tree);
    struct testbed *testbed = module_testbed_new(&settings);
    char text[1024];
    testbed_send(testbed, written(row, &tree, text, sizeof(text)));
    const struct module_answer want = { row->status, row->field, row->end };
    module_check_answer(testbed, row->why, &want);
    struct weir_str received = testbed_received(testbed);
    ck_assert_msg(!unit_has(received, "X-Accel") && !unit_has(received, "X-Sendfile"),
            "%s: leaks: %.*s", row->why, WEIR_STR_ARG(received));
    ck_assert(testbed_free(testbed));
    tree_fini(&tree);
}
END_TEST

/* The log says what was wrong, of which request, and who says so. */
static const struct {
    const char *fields, *line;
} lines[] = {
    { TO("/secret/x"),
            "module accel, hook reply head, GET /app: X-Accel-Redirect: /secret/x is beneath "
            "no path of `to`: 500" },
    { TO("/in/../x"), "X-Accel-Redirect: /in/../x is no path that" },
    { FILE_("/files-too/x.txt"), "is beneath no directory of `roots`: 500" },
    { FILE_("/files/out.txt"), "leaves its root by a link: 500" },
    { TO("/in/again"), "internal requests are nested more than 8 deep" },
};

START_TEST(says_why)
{
    struct tree tree;
    make_files(&tree);
    struct testbed *testbed = module_testbed_new(&settings);
    struct said said;
    said_begin(&said, LOG_ERROR);
    const struct row row = { .request = "GET /app", .fields = lines[_i].fields };
    char text[1024];
    testbed_send(testbed, written(&row, &tree, text, sizeof(text)));
    said_check(&said, lines[_i].line);
    ck_assert(testbed_free(testbed));
    tree_fini(&tree);
}
END_TEST

START_TEST(stands_torture)
{
    static const struct row scenarios[] = {
        { .request = "GET /app", .fields = TO("/in/part") DO("Set-Cookie: a=b") },
        { .request = "GET /app", .fields = TO("/in/again") },
        { .request = "GET /app", .fields = FILE_("/files/a.txt") "Range: bytes=2-3\r\n" },
        { .request = "GET /app", .fields = TO("/secret/x") },
    };
    struct tree tree;
    make_files(&tree);
    char text[1024];
    module_check_torture(&settings, written(&scenarios[_i], &tree, text, sizeof(text)));
    tree_fini(&tree);
}
END_TEST

static const struct mistake {
    const char *conf, *message;
} mistakes[] = {
    { "{}", "leads nowhere" },
    { "{\"to\": \"in\"}", "is no path like" },
    { "{\"to\": [\"/in*\"]}", "is no path like" },
    { "{\"to\": [\"/in/../x\"]}", "is no path like" },
    { "{\"to\": [\"/*/x\"]}", "is no path like" },
    { "{\"to\": \"/in/*\", \"headers\": [\"X-Reproxy-URL\"]}", "is neither" },
    { "{\"roots\": \"/does/not/exist\"}", "cannot open the directory" },
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
    tcase_add_loop_test(tests, says_why, 0, MODULE_ROWS(lines));
    tcase_add_loop_test(tests, stands_torture, 0, 4);
    tcase_add_loop_test(tests, refuses, 0, MODULE_ROWS(mistakes));
}

UNIT_MAIN("accel", add_tests)
