/* SPDX-License-Identifier: MIT */
/* What hooks change of a request before it is routed: which route it takes then, what later
 * hooks see, and what stays as the client sent it. */
#include <errno.h>
#include <stdio.h>

#include <weir/reply.h>
#include <weir/request.h>
#include <weir/wait.h>

#include "observe/log.h"
#include "support/unit.h"
#include "testkit/answers.h"
#include "testkit/testbed.h"

/* ---- a module that edits, and tells ------------------------------------------------------ */

enum part {
    METHOD,
    HOST,
    TARGET,
    FIELD_SET,
    FIELD_ADD,
    FIELD_REMOVE,
};

struct edit {
    enum weir_phase phase;
    enum part part;
    const char *name, *value; /* of a field; else value alone */
    int want;
};

static struct edit edits[4];
static bool waits;

static int
make(struct weir_request *request, const struct edit *edit)
{
    struct weir_str value = weir_str_from(edit->value == NULL ? "" : edit->value);
    switch (edit->part) {
    case METHOD:
        return weir_request_set_method(request, value);
    case HOST:
        return weir_request_set_host(request, value);
    case TARGET:
        return weir_request_set_target(request, value);
    case FIELD_SET:
        return weir_request_field_set(request, weir_str_from(edit->name), value);
    case FIELD_ADD:
        return weir_request_field_add(request, weir_str_from(edit->name), value);
    case FIELD_REMOVE:
        return weir_request_field_remove(request, weir_str_from(edit->name));
    }
    return -EINVAL;
}

static void
make_all(struct weir_request *request, enum weir_phase phase)
{
    for (int i = 0; i < 4; i++) {
        if (edits[i].phase == phase) {
            ck_assert_int_eq(make(request, &edits[i]), edits[i].want);
        }
    }
}

static enum weir_verdict
rewrite_later(struct weir_request *request, const void *conf, enum weir_wake how, void *payload)
{
    (void)conf;
    (void)payload;
    if (how == WEIR_TIMED_OUT) {
        make_all(request, WEIR_ON_REWRITE);
    }
    return WEIR_NEXT;
}

static enum weir_verdict
on_head(struct weir_request *request, const void *conf)
{
    (void)conf;
    make_all(request, WEIR_ON_HEAD);
    return WEIR_NEXT;
}

static enum weir_verdict
on_rewrite(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct weir_token token;
    if (waits) {
        return weir_suspend(request, rewrite_later, UINT64_C(500000000), &token);
    }
    make_all(request, WEIR_ON_REWRITE);
    return WEIR_NEXT;
}

static enum weir_verdict
on_access(struct weir_request *request, const void *conf)
{
    (void)conf;
    make_all(request, WEIR_ON_ACCESS);
    return WEIR_NEXT;
}

static enum weir_verdict
on_reply(struct weir_request *request, const void *conf)
{
    (void)conf;
    make_all(request, WEIR_ON_REPLY_HEAD);
    return WEIR_NEXT;
}

/* "route: METHOD host path?query as TARGET, x=..., all fields counted". */
static enum weir_verdict
tell(struct weir_request *request, const void *conf)
{
    (void)conf;
    make_all(request, WEIR_ON_CONTENT);
    char text[512];
    struct weir_str x = weir_request_field(request, WEIR_STR("X")), name, value;
    uint32_t count = 0;
    while (weir_request_field_at(request, count, &name, &value)) {
        count++;
    }
    int len = snprintf(text, sizeof(text), "%.*s: %.*s %.*s %.*s?%.*s as %.*s, x=%.*s, %u",
            WEIR_STR_ARG(weir_request_route_name(request)),
            WEIR_STR_ARG(weir_request_method(request)),
            WEIR_STR_ARG(weir_request_host(request)), WEIR_STR_ARG(weir_request_path(request)),
            WEIR_STR_ARG(weir_request_query(request)),
            WEIR_STR_ARG(weir_request_target(request)), (int)x.len, x.len == 0 ? "" : x.ptr,
            count);
    return weir_reply_text(request, 200, WEIR_STR("text/plain"),
            weir_str_make(text, (size_t)len));
}

static const struct weir_hook edit_hooks[] = {
    { .on = WEIR_ON_HEAD, .request = on_head },
    { .on = WEIR_ON_REWRITE, .request = on_rewrite },
    { .on = WEIR_ON_ACCESS, .request = on_access },
    { .on = WEIR_ON_REPLY_HEAD, .request = on_reply },
};
static const struct weir_hook tell_hooks[] = { { .on = WEIR_ON_CONTENT, .request = tell } };

static const struct weir_module module = {
    WEIR_MODULE_HEAD("edit", "1.0.0", "Edits requests"),
    WEIR_HANDLERS({ .name = "edit", .hooks = WEIR_HOOKS(edit_hooks) },
            { .name = "tell", .hooks = WEIR_HOOKS(tell_hooks) }),
};

/* ---- a server ---------------------------------------------------------------------------- */

static const char config[] =
        "{ \"modules\": [\"edit\"],"
        "  \"servers\": [{ \"listen\": \"127.0.0.1:1\", \"use\": [\"edit\"],"
        "    \"routes\": ["
        "      { \"name\": \"posted\", \"match\": { \"method\": \"POST\" }, \"handle\": \"tell\" },"
        "      { \"name\": \"hosted\", \"match\": { \"host\": \"other.example\" },"
        "        \"handle\": \"tell\" },"
        "      { \"name\": \"tagged\", \"match\": { \"header\": { \"X\": \"yes\" } },"
        "        \"handle\": \"tell\" },"
        "      { \"name\": \"moved\", \"match\": \"/new/*\", \"handle\": \"tell\" },"
        "      { \"name\": \"rest\", \"handle\": \"tell\" } ] }] }";

static struct testbed *
new_testbed(void)
{
    static const struct weir_module *const modules[] = { &module };
    static const struct testbed_settings settings = { config, modules, 1 };
    log_init(-1, LOG_ERROR);
    struct buf report;
    buf_init(&report, 1 << 20);
    struct testbed *testbed = NULL;
    int r = testbed_new(&settings, &report, &testbed);
    ck_assert_msg(r == 0, "%.*s", WEIR_STR_ARG(buf_str(&report)));
    buf_fini(&report);
    ck_assert(testbed_connect(testbed));
    return testbed;
}

static const struct {
    const char *why;
    struct edit edits[4];
    const char *want;
} cases[] = {
    { "nothing is changed", { { 0 } }, "rest: GET a.example /old?q=1 as /old?q=1, x=, 1" },
    { "a method", { { WEIR_ON_REWRITE, METHOD, NULL, "POST", 0 } },
            "posted: POST a.example /old?q=1 as /old?q=1, x=, 1" },
    { "a host, with case and port", { { WEIR_ON_HEAD, HOST, NULL, "Other.EXAMPLE.:81", 0 } },
            "hosted: GET other.example /old?q=1 as /old?q=1, x=, 1" },
    { "a path, normalised again",
            { { WEIR_ON_REWRITE, TARGET, NULL, "/x/../new//%61?r=%20", 0 } },
            "moved: GET a.example /new/a?r=%20 as /old?q=1, x=, 1" },
    { "a path without query", { { WEIR_ON_HEAD, TARGET, NULL, "/new/b", 0 } },
            "moved: GET a.example /new/b? as /old?q=1, x=, 1" },
    { "the last one wins",
            { { WEIR_ON_HEAD, TARGET, NULL, "/new/b", 0 },
                    { WEIR_ON_REWRITE, TARGET, NULL, "/else", 0 } },
            "rest: GET a.example /else? as /old?q=1, x=, 1" },
    { "a field, before routing", { { WEIR_ON_HEAD, FIELD_SET, "X", "yes", 0 } },
            "tagged: GET a.example /old?q=1 as /old?q=1, x=yes, 2" },
    { "a field, after routing", { { WEIR_ON_ACCESS, FIELD_ADD, "X", "yes", 0 } },
            "rest: GET a.example /old?q=1 as /old?q=1, x=yes, 2" },
    { "a field that goes again",
            { { WEIR_ON_HEAD, FIELD_SET, "X", "yes", 0 },
                    { WEIR_ON_REWRITE, FIELD_REMOVE, "x", NULL, 1 } },
            "rest: GET a.example /old?q=1 as /old?q=1, x=, 1" },
    { "too late for routing",
            { { WEIR_ON_ACCESS, METHOD, NULL, "POST", -EINVAL },
                    { WEIR_ON_ACCESS, HOST, NULL, "b", -EINVAL },
                    { WEIR_ON_ACCESS, TARGET, NULL, "/b", -EINVAL },
                    { WEIR_ON_CONTENT, FIELD_SET, "X", "no", -EINVAL } },
            "rest: GET a.example /old?q=1 as /old?q=1, x=, 1" },
    { "above the root", { { WEIR_ON_REWRITE, TARGET, NULL, "/../etc", -EINVAL } },
            "rest: GET a.example /old?q=1 as /old?q=1, x=, 1" },
    { "a NUL", { { WEIR_ON_REWRITE, TARGET, NULL, "/a%00", -EINVAL } },
            "rest: GET a.example /old?q=1 as /old?q=1, x=, 1" },
    { "other forms",
            { { WEIR_ON_REWRITE, TARGET, NULL, "http://b/", -EINVAL },
                    { WEIR_ON_REWRITE, TARGET, NULL, "*", -EINVAL },
                    { WEIR_ON_REWRITE, TARGET, NULL, "", -EINVAL },
                    { WEIR_ON_REWRITE, TARGET, NULL, "/a b", -EINVAL } },
            "rest: GET a.example /old?q=1 as /old?q=1, x=, 1" },
    { "no host",
            { { WEIR_ON_REWRITE, HOST, NULL, "", -EINVAL },
                    { WEIR_ON_REWRITE, HOST, NULL, "a/b", -EINVAL },
                    { WEIR_ON_REWRITE, METHOD, NULL, "HEAD", -EINVAL },
                    { WEIR_ON_REPLY_HEAD, FIELD_ADD, "X", "late", -EINVAL } },
            "rest: GET a.example /old?q=1 as /old?q=1, x=, 1" },
};

START_TEST(routes_what_hooks_have_made_of_it)
{
    memcpy(edits, cases[_i / 2].edits, sizeof(edits));
    waits = _i % 2 == 1;
    struct testbed *testbed = new_testbed();
    testbed_send(testbed, WEIR_STR("GET /old?q=1 HTTP/1.1\r\nHost: a.example\r\n\r\n"));
    testbed_pass(testbed, UINT64_C(700000000));
    struct weir_str received = testbed_received(testbed);
    const char *want = cases[_i / 2].want;
    ck_assert_msg(received.len > strlen(want) &&
                    memcmp(received.ptr + received.len - strlen(want), want, strlen(want)) == 0,
            "%s: %.*s", cases[_i / 2].why, WEIR_STR_ARG(received));
    ck_assert(testbed_free(testbed));
}
END_TEST

/* The answer to a HEAD has no body, whatever the request has become; one to what was a POST
 * has. */
START_TEST(frames_the_answer_as_the_client_expects)
{
    memset(edits, 0, sizeof(edits));
    edits[0] = (struct edit){ WEIR_ON_HEAD, METHOD, NULL, "GET", 0 };
    waits = false;
    struct testbed *testbed = new_testbed();
    testbed_send(testbed,
            WEIR_STR("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\nHEAD /b HTTP/1.1\r\nHost: a\r\n\r\n"));
    struct weir_str received = testbed_received(testbed);
    ck_assert_ptr_null(memmem(received.ptr, received.len, "rest:", 5));
    testbed_send(testbed,
            WEIR_STR("POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxx"
                     "GET /d HTTP/1.1\r\nHost: a\r\n\r\n"));
    received = testbed_received(testbed);
    ck_assert_ptr_nonnull(memmem(received.ptr, received.len, "rest: GET a /c? as /c", 21));
    ck_assert_ptr_nonnull(memmem(received.ptr, received.len, "rest: GET a /d? as /d", 21));
    ck_assert(testbed_free(testbed));
}
END_TEST

#define ROWS(cases) (int)(sizeof(cases) / sizeof((cases)[0]))

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, routes_what_hooks_have_made_of_it, 0, 2 * ROWS(cases));
    tcase_add_test(tests, frames_the_answer_as_the_client_expects);
}

UNIT_MAIN("module/request_edit", add_tests)
