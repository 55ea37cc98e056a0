/* SPDX-License-Identifier: MIT */
/* Internal requests: what may be asked, who answers, and every way in which the answer, the one
 * who asked, or time may end first. */
#include <errno.h>
#include <stdio.h>

#include <weir/file.h>
#include <weir/internal.h>
#include <weir/reply.h>
#include <weir/request.h>
#include <weir/wait.h>

#include "base/num.h"
#include "http/request.h"
#include "observe/log.h"
#include "support/unit.h"
#include "testkit/testbed.h"
#include "testkit/torture.h"

/* ---- who answers: `maker`, by the last part of the path ------------------------------------
 */

#define BIG_BYTES (3u << 20)

static unsigned aborted, logged;
static uint64_t made_bytes;

struct maker_state {
    uint64_t written_bytes;
};

static enum weir_verdict
on_never(struct weir_request *request, const void *conf, enum weir_wake how, void *payload)
{
    (void)request;
    (void)conf;
    (void)payload;
    aborted += how == WEIR_ABORTED;
    return WEIR_FAILED;
}

static enum weir_verdict
write_big(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct maker_state *state = weir_request_state(request);
    static const char digits[] = "0123456789abcdef";
    while (state->written_bytes < BIG_BYTES) {
        ssize_t n = weir_reply_write(request, weir_str_make(digits, 16));
        if (n == -EAGAIN) {
            return weir_reply_wait(request, write_big);
        }
        if (n < 0) {
            return WEIR_FAILED;
        }
        state->written_bytes += (uint64_t)n;
        made_bytes += (uint64_t)n;
    }
    return WEIR_DONE;
}

/* "METHOD host path x=X depth body". */
static enum weir_verdict
tell(struct weir_request *request, const void *conf)
{
    (void)conf;
    char body[64], text[256];
    ssize_t n = weir_body_read(request, body, sizeof(body));
    struct weir_str x = weir_request_field(request, WEIR_STR("X"));
    int len = snprintf(text, sizeof(text), "%.*s %.*s %.*s x=%.*s %u %.*s",
            WEIR_STR_ARG(weir_request_method(request)),
            WEIR_STR_ARG(weir_request_host(request)), WEIR_STR_ARG(weir_request_path(request)),
            (int)x.len, x.len == 0 ? "" : x.ptr, weir_request_depth(request),
            n > 0 ? (int)n : 0, body);
    return weir_reply_text(request, 200, WEIR_STR("text/plain"),
            weir_str_make(text, (size_t)len));
}

static enum weir_verdict
make_length(struct weir_request *request, uint64_t declared, struct weir_str body)
{
    return weir_reply_begin(request, 200) < 0 || weir_reply_length(request, declared) < 0 ||
                    weir_reply_write(request, body) < 0
            ? WEIR_FAILED
            : WEIR_DONE;
}

static bool
ends_with(struct weir_request *request, const char *name)
{
    struct weir_str path = weir_request_path(request);
    size_t len = strlen(name);
    return path.len > len && path.ptr[path.len - len - 1] == '/' &&
            memcmp(path.ptr + path.len - len, name, len) == 0;
}

static enum weir_verdict
make(struct weir_request *request, const void *conf)
{
    if (ends_with(request, "tell")) {
        return tell(request, conf);
    }
    if (ends_with(request, "hello")) {
        return weir_reply_text(request, 200, WEIR_STR("text/x-hello"), WEIR_STR("hello"));
    }
    if (ends_with(request, "big")) {
        return weir_reply_begin(request, 200) < 0 ? WEIR_FAILED : write_big(request, conf);
    }
    if (ends_with(request, "short")) {
        return make_length(request, 10, WEIR_STR("12345"));
    }
    if (ends_with(request, "over")) {
        return make_length(request, 5, WEIR_STR("1234567890"));
    }
    if (ends_with(request, "part")) {
        if (make_length(request, 10, WEIR_STR("0123456789")) != WEIR_DONE ||
                weir_reply_representation(request) < 0) {
            return WEIR_FAILED;
        }
        return WEIR_DONE;
    }
    if (ends_with(request, "trailer")) {
        return weir_reply_begin(request, 200) < 0 ||
                        weir_reply_trailer(request, WEIR_STR("X-Sum"), WEIR_STR("42")) < 0
                ? WEIR_FAILED
                : write_big(request, conf);
    }
    if (ends_with(request, "nest")) {
        const struct weir_ask ask = { .bytes = sizeof(ask), .target = WEIR_STR("/in/nest") };
        return weir_internal_answer(request, &ask, 0);
    }
    if (ends_with(request, "never")) {
        struct weir_token token;
        return weir_suspend(request, on_never, WEIR_WAIT_PRESET, &token);
    }
    return WEIR_NEXT;
}

/* ---- who asks ---------------------------------------------------------------------------- */

struct asker_state {
    struct weir_internal *internal;
    uint64_t read_bytes;
};

/* Reads all of it and answers how much that was. */
static enum weir_verdict
read_all(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct asker_state *state = weir_request_state(request);
    char bytes[1000], text[64];
    ssize_t n = 0;
    while (weir_internal_status(state->internal) != 0 &&
            (n = weir_internal_read(state->internal, bytes, sizeof(bytes))) > 0) {
        state->read_bytes += (uint64_t)n;
    }
    int error = weir_internal_error(state->internal);
    if (error == 0 && (n == -EAGAIN || weir_internal_status(state->internal) == 0)) {
        return weir_internal_wait(state->internal, read_all);
    }
    int len = snprintf(text, sizeof(text), "%u %llu %d", weir_internal_status(state->internal),
            (unsigned long long)state->read_bytes, error);
    weir_internal_close(state->internal);
    return weir_reply_text(request, 200, WEIR_STR("text/plain"),
            weir_str_make(text, (size_t)len));
}

static enum weir_verdict
ask_to_read(struct weir_request *request, const struct weir_ask *ask)
{
    struct asker_state *state = weir_request_state(request);
    return weir_internal_open(request, ask, &state->internal) < 0
            ? WEIR_FAILED
            : weir_internal_wait(state->internal, read_all);
}

/* /answer/X and /read/X ask for /in/X, /marked/X for /out/X from marked routes alone. */
static enum weir_verdict
ask(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct weir_str path = weir_request_path(request);
    const char *slash = path.len < 2 ? NULL : memchr(path.ptr + 1, '/', path.len - 1);
    if (slash == NULL || weir_str_starts_with(path, WEIR_STR("/in/"))) {
        return WEIR_NEXT;
    }
    bool is_marked = weir_str_starts_with(path, WEIR_STR("/marked/"));
    char target[64];
    int len = snprintf(target, sizeof(target), "%s%.*s", is_marked ? "/out" : "/in",
            (int)(path.ptr + path.len - slash), slash);
    struct weir_ask what = { .bytes = sizeof(what),
        .target = weir_str_make(target, (size_t)len),
        .flags = is_marked ? WEIR_ASK_MARKED_ONLY : 0 };
    if (weir_str_starts_with(path, WEIR_STR("/read/"))) {
        return ask_to_read(request, &what);
    }
    static const struct weir_ask_field fields[] = { { WEIR_STR_INIT("x"),
            WEIR_STR_INIT("given") } };
    if (weir_str_starts_with(path, WEIR_STR("/post/"))) {
        what.method = WEIR_STR("POST");
        what.body = WEIR_STR("a body");
        what.fields = fields;
        what.field_count = 1;
    }
    return weir_internal_answer(request, &what, 0);
}

/* Reply head: a 404 gets another body and stays one. */
static enum weir_verdict
on_page(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct asker_state *state = weir_request_state(request);
    return weir_internal_status(state->internal) == 200
            ? weir_internal_adopt(state->internal, 404)
            : WEIR_NEXT;
}

static enum weir_verdict
page(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct asker_state *state = weir_request_state(request);
    const struct weir_ask what = { .bytes = sizeof(what),
        .target = ends_with(request, "big")  ? WEIR_STR("/in/big")
                : ends_with(request, "late") ? WEIR_STR("/in/never")
                                             : WEIR_STR("/in/hello") };
    if (weir_reply_status(request) != 404 || weir_request_depth(request) > 0 ||
            weir_internal_open(request, &what, &state->internal) < 0) {
        return WEIR_NEXT;
    }
    return weir_internal_wait(state->internal, on_page);
}

static enum weir_verdict
count(struct weir_request *request, const void *conf)
{
    (void)conf;
    logged += weir_request_depth(request) > 0;
    return WEIR_NEXT;
}

/* What no client may send, an asker may not ask for either. */
static enum weir_verdict
ask_wrongly(struct weir_request *request, const void *conf)
{
    (void)conf;
    static const struct weir_ask_field bad_fields[] = { { WEIR_STR_INIT("a b"),
            WEIR_STR_INIT("c") } };
    static const struct weir_ask_field lengths[] = { { WEIR_STR_INIT("Content-Length"),
            WEIR_STR_INIT("1") } };
    const struct weir_ask asks[] = {
        { .bytes = sizeof(asks[0]), .target = WEIR_STR("") },
        { .bytes = sizeof(asks[0]), .target = WEIR_STR("in") },
        { .bytes = sizeof(asks[0]), .target = WEIR_STR("/a b") },
        { .bytes = sizeof(asks[0]), .target = WEIR_STR("/../x") },
        { .bytes = sizeof(asks[0]), .target = WEIR_STR("http://a/") },
        { .bytes = sizeof(asks[0]), .target = WEIR_STR("/"), .method = WEIR_STR("BREW") },
        { .bytes = sizeof(asks[0]), .target = WEIR_STR("/"), .host = WEIR_STR("a/b") },
        { .bytes = sizeof(asks[0]),
                .target = WEIR_STR("/"),
                .fields = bad_fields,
                .field_count = 1 },
        { .bytes = sizeof(asks[0]),
                .target = WEIR_STR("/"),
                .fields = lengths,
                .field_count = 1 },
    };
    struct weir_internal *internal;
    for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
        ck_assert_int_eq(weir_internal_open(request, &asks[i], &internal), -EINVAL);
    }
    static char large[2 << 20];
    const struct weir_ask too_large = { .bytes = sizeof(too_large),
        .target = WEIR_STR("/in/tell"),
        .body = weir_str_make(large, sizeof(large)) };
    ck_assert_int_eq(weir_internal_open(request, &too_large, &internal), -EMSGSIZE);
    const struct weir_ask good = { .bytes = sizeof(good), .target = WEIR_STR("/in/tell") };
    for (unsigned i = 0; i < WEIR_INTERNAL_OPEN_MAX; i++) {
        ck_assert_int_eq(weir_internal_open(request, &good, &internal), 0);
        ck_assert_uint_eq(weir_internal_status(internal), 0);
    }
    struct weir_internal *one_more;
    ck_assert_int_eq(weir_internal_open(request, &good, &one_more), -EMFILE);
    weir_internal_close(internal);
    ck_assert_int_eq(weir_internal_open(request, &good, &one_more), 0);
    return weir_reply_text(request, 200, WEIR_STR("text/plain"), WEIR_STR("refused"));
}

static const struct weir_hook make_hooks[] = { { .on = WEIR_ON_CONTENT, .request = make } };
static const struct weir_hook ask_hooks[] = { { .on = WEIR_ON_CONTENT, .request = ask } };
static const struct weir_hook wrong_hooks[] = { { .on = WEIR_ON_CONTENT,
        .request = ask_wrongly } };
static const struct weir_hook page_hooks[] = {
    { .on = WEIR_ON_REPLY_HEAD, .request = page },
    { .on = WEIR_ON_LOG, .request = count },
};

static const struct weir_module module = {
    WEIR_MODULE_HEAD("inner", "1.0.0", "Asks and answers"),
    WEIR_HANDLERS({ .name = "make",
                          .hooks = WEIR_HOOKS(make_hooks),
                          .state_bytes = sizeof(struct maker_state) },
            { .name = "ask",
                    .hooks = WEIR_HOOKS(ask_hooks),
                    .state_bytes = sizeof(struct asker_state) },
            { .name = "wrong", .hooks = WEIR_HOOKS(wrong_hooks) },
            { .name = "page",
                    .hooks = WEIR_HOOKS(page_hooks),
                    .state_bytes = sizeof(struct asker_state) }),
};

/* ---- a server ---------------------------------------------------------------------------- */

static const char config[] =
        "{ \"modules\": [\"inner\"],"
        "  \"servers\": [{ \"listen\": \"127.0.0.1:1\", \"use\": [\"page\"], \"routes\": ["
        "    { \"match\": \"/in/late\", \"internal\": true, \"handle\": \"make\","
        "      \"timeouts\": { \"request\": \"5s\" } },"
        "    { \"match\": \"/in/*\", \"internal\": true, \"handle\": \"make\" },"
        "    { \"match\": \"/out/*\", \"handle\": \"make\" },"
        "    { \"match\": \"/wrong\", \"handle\": \"wrong\" },"
        "    { \"handle\": \"ask\" } ] }] }";

static struct testbed *
new_testbed(void)
{
    static const struct weir_module *const modules[] = { &module };
    static const struct testbed_settings settings = { config, modules, 1 };
    log_init(-1, LOG_ERROR);
    aborted = logged = 0;
    made_bytes = 0;
    struct buf report;
    buf_init(&report, 1 << 20);
    struct testbed *testbed = NULL;
    int r = testbed_new(&settings, &report, &testbed);
    ck_assert_msg(r == 0, "%.*s", WEIR_STR_ARG(buf_str(&report)));
    buf_fini(&report);
    ck_assert(testbed_connect(testbed));
    return testbed;
}

static bool
has(struct weir_str text, const char *part)
{
    return memmem(text.ptr, text.len, part, strlen(part)) != NULL;
}

static bool
ends(struct weir_str text, const char *part)
{
    size_t len = strlen(part);
    return text.len >= len && memcmp(text.ptr + text.len - len, part, len) == 0;
}

static const struct {
    const char *why, *request, *status, *field, *end;
} cases[] = {
    { "its answer is the request's", "GET /answer/hello", "200 OK", "text/x-hello",
            "\r\n\r\nhello" },
    { "it is as the asking request", "GET /answer/tell", "200 OK", "Length: 32\r\n",
            "GET a.example /in/tell x=sent 1 " },
    { "method, fields and body may be given", "GET /post/tell", "200 OK", "text/plain",
            "POST a.example /in/tell x=given 1 a body" },
    { "a HEAD asks for a HEAD", "HEAD /answer/hello", "200 OK", "Content-Length: 5\r\n",
            "\r\n\r\n" },
    { "a range is settled for the client", "GET /answer/part", "206 Partial Content",
            "Content-Range: bytes 2-4/10\r\n", "\r\n\r\n234" },
    { "a page takes a 404's place", "GET /out/nothing", "404 Not Found", "text/x-hello",
            "\r\n\r\nhello" },
    { "nobody else reaches it", "GET /in/hello", "404 Not Found", "text/x-hello", "hello" },
    { "only marked routes answer", "GET /marked/hello", "404 Not Found", "text/x-hello",
            "hello" },
    { "it may be read", "GET /read/hello", "200 OK", "text/plain", "200 5 0" },
    { "all of it", "GET /read/big", "200 OK", "text/plain", "200 3145728 0" },
    { "one that is not there", "GET /read/nothing", "200 OK", "text/plain", "404 14 0" },
    { "one that is cut", "GET /read/short", "200 OK", "text/plain", "200 5 -71" },
    { "one that is too long", "GET /read/over", "200 OK", "text/plain", "200 5 0" },
    { "what is too long is cut", "GET /answer/over", "200 OK", "Content-Length: 5\r\n",
            "\r\n\r\n12345" },
    { "one within another ends somewhere", "GET /answer/nest", "508 ", "text/plain", "\n" },
    { "what no client may send is refused", "GET /wrong", "200 OK", "text/plain", "refused" },
};

START_TEST(answers_internal_requests)
{
    struct testbed *testbed = new_testbed();
    char text[256];
    int len = snprintf(text, sizeof(text),
            "%s HTTP/1.1\r\nHost: a.example\r\nX: sent\r\nRange: bytes=2-4\r\n\r\n",
            cases[_i].request);
    testbed_send(testbed, weir_str_make(text, (size_t)len));
    struct weir_str received = testbed_received(testbed);
    bool is_right = received.len > 9 && has(received, cases[_i].status) &&
            has(received, cases[_i].field) && ends(received, cases[_i].end);
    ck_assert_msg(is_right, "%s: %.*s", cases[_i].why, WEIR_STR_ARG(received));
    ck_assert(testbed_free(testbed));
}
END_TEST

START_TEST(makes_no_more_than_the_client_reads)
{
    static const char *const requests[] = { "GET /answer/big HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /answer/trailer HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
        "GET /out/nothing/big HTTP/1.1\r\nHost: a\r\n\r\n" };
    struct testbed *testbed = new_testbed();
    testbed_limit(testbed, 1000);
    testbed_send(testbed, weir_str_from(requests[_i]));
    testbed_pass(testbed, UINT64_C(1000000000));
    if (_i < 2) {
        ck_assert_uint_gt(made_bytes, 1u << 20);
        ck_assert_uint_lt(made_bytes, 2u << 20);
    }
    testbed_allow(testbed, 2 * BIG_BYTES);
    testbed_settle(testbed);
    struct weir_str received = testbed_received(testbed);
    if (_i < 2) {
        ck_assert_uint_eq(made_bytes, BIG_BYTES);
        ck_assert_uint_gt(received.len, BIG_BYTES);
    }
    ck_assert(has(received, "0\r\n") || _i == 2);
    ck_assert(_i != 1 || ends(received, "X-Sum: 42\r\n\r\n"));
    ck_assert(testbed_free(testbed));
}
END_TEST

START_TEST(answers_500_when_the_answer_is_known_to_be_cut)
{
    struct testbed *testbed = new_testbed();
    testbed_send(testbed, WEIR_STR("GET /answer/short HTTP/1.1\r\nHost: a\r\n\r\n"));
    struct weir_str received = testbed_received(testbed);
    ck_assert_msg(has(received, "HTTP/1.1 500"), "%.*s", WEIR_STR_ARG(received));
    ck_assert(!has(received, "12345"));
    ck_assert(testbed_free(testbed));
}
END_TEST

/* The one who asked leaves first. */
START_TEST(ends_with_the_one_who_asked)
{
    struct testbed *testbed = new_testbed();
    testbed_send(testbed,
            _i == 0 ? WEIR_STR("GET /answer/never HTTP/1.1\r\nHost: a\r\n\r\n")
                    : WEIR_STR("GET /read/never HTTP/1.1\r\nHost: a\r\n\r\n"));
    ck_assert_uint_eq(testbed_received(testbed).len, 0);
    testbed_reset(testbed);
    ck_assert_uint_eq(aborted, 1);
    ck_assert_uint_eq(logged, 1);
    ck_assert(testbed_free(testbed));
}
END_TEST

START_TEST(waits_no_longer_than_it_may)
{
    struct testbed *testbed = new_testbed();
    testbed_send(testbed,
            _i == 0 ? WEIR_STR("GET /answer/never HTTP/1.1\r\nHost: a\r\n\r\n")
                    : WEIR_STR("GET /out/late HTTP/1.1\r\nHost: a\r\n\r\n"));
    testbed_pass(testbed, UINT64_C(59000000000));
    ck_assert_uint_eq(testbed_received(testbed).len, 0);
    testbed_pass(testbed, UINT64_C(2000000000));
    struct weir_str received = testbed_received(testbed);
    ck_assert_msg(has(received, _i == 0 ? "HTTP/1.1 50" : "HTTP/1.1 404"), "%.*s",
            WEIR_STR_ARG(received));
    ck_assert(testbed_free(testbed));
}
END_TEST

START_TEST(stands_torture)
{
    static const char *const requests[] = { "GET /answer/hello HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /post/tell HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /read/hello HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /out/nothing HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /answer/nest HTTP/1.1\r\nHost: a\r\n\r\n" };
    static const struct weir_module *const modules[] = { &module };
    log_init(-1, LOG_ERROR);
    struct torture torture = {
        .settings = { .config = config, .modules = modules, .modules_count = 1 },
        .input = weir_str_from(requests[_i]),
        .patience_ns = NS_PER_S,
        .fail_nth = failalloc_fail_nth,
        .has_failed = failalloc_has_failed,
    };
    struct buf report;
    buf_init(&report, 1 << 20);
    int r = torture_run(&torture, &report);
    ck_assert_msg(r == 0, "%.*s", WEIR_STR_ARG(buf_str(&report)));
    buf_fini(&report);
}
END_TEST

#define ROWS(cases) (int)(sizeof(cases) / sizeof((cases)[0]))

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, answers_internal_requests, 0, ROWS(cases));
    tcase_add_loop_test(tests, makes_no_more_than_the_client_reads, 0, 3);
    tcase_add_test(tests, answers_500_when_the_answer_is_known_to_be_cut);
    tcase_add_loop_test(tests, ends_with_the_one_who_asked, 0, 2);
    tcase_add_loop_test(tests, waits_no_longer_than_it_may, 0, 2);
    tcase_add_loop_test(tests, stands_torture, 0, 5);
}

UNIT_MAIN("module/internal", add_tests)
