/* SPDX-License-Identifier: MIT */
/* Bodies that are read before a handler is asked (limits.body_buffer, F12), and kept in a file
 * where they are too large for memory (limits.body_memory, F14). */
#include <errno.h>
#include <stdio.h>

#include <weir/filter.h>
#include <weir/internal.h>
#include <weir/reply.h>
#include <weir/request.h>

#include "base/budget.h"
#include "http/request.h"
#include "http/spill.h"
#include "support/module_rig.h"
#include "support/unit.h"

/* ---- who reads --------------------------------------------------------------------------- */

static unsigned asked, admitted;
static int read_error;

struct reader_state {
    uint64_t read_bytes;
    bool is_wrong;
};

static char
pattern(uint64_t i)
{
    return (char)('a' + (i * 7 + i / 256) % 26);
}

static enum weir_verdict
read_on(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct reader_state *state = weir_request_state(request);
    char bytes[5000], text[64];
    ssize_t n;
    while ((n = weir_body_read(request, bytes, sizeof(bytes))) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            state->is_wrong |= bytes[i] != pattern(state->read_bytes + (uint64_t)i);
        }
        state->read_bytes += (uint64_t)n;
    }
    if (n == -EAGAIN) {
        return weir_body_wait(request, read_on);
    }
    if (n < 0) {
        read_error = (int)n;
        return WEIR_FAILED;
    }
    int len = snprintf(text, sizeof(text), "%llu %s", (unsigned long long)state->read_bytes,
            state->is_wrong ? "wrong" : "right");
    return weir_reply_text(request, 200, WEIR_STR("text/plain"),
            weir_str_make(text, (size_t)len));
}

static enum weir_verdict
ask(struct weir_request *request, const void *conf)
{
    asked++;
    if (weir_str_eq(weir_request_path(request), WEIR_STR("/inside"))) {
        char body[50000];
        for (size_t i = 0; i < sizeof(body); i++) {
            body[i] = pattern(i);
        }
        const struct weir_ask ask = { .bytes = sizeof(ask),
            .target = WEIR_STR("/x"),
            .method = WEIR_STR("POST"),
            .body = weir_str_make(body, sizeof(body)) };
        return weir_internal_answer(request, &ask, 0);
    }
    if (weir_str_eq(weir_request_path(request), WEIR_STR("/unread"))) {
        return weir_reply_text(request, 200, WEIR_STR("text/plain"), WEIR_STR("unread"));
    }
    return read_on(request, conf);
}

static enum weir_verdict
admit(struct weir_request *request, const void *conf)
{
    (void)conf;
    admitted++;
    return weir_request_field(request, WEIR_STR("X-Deny")).ptr != NULL
            ? weir_reply_error(request, 403)
            : WEIR_NEXT;
}

/* Lets all of it through, a little at a time. */
static enum weir_verdict
sip(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    (void)request;
    (void)conf;
    struct weir_str input = weir_filter_input(filter);
    size_t len = input.len < 1000 ? input.len : 1000;
    return len > 0 && weir_filter_pass(filter, len) < 0 ? WEIR_FAILED : WEIR_NEXT;
}

static const struct weir_hook read_hooks[] = { { .on = WEIR_ON_CONTENT, .request = ask } };
static const struct weir_hook admit_hooks[] = { { .on = WEIR_ON_ACCESS, .request = admit } };
static const struct weir_hook sip_hooks[] = { { .on = WEIR_ON_REQUEST_BODY, .filter = sip } };

static const struct weir_module reader_module = {
    WEIR_MODULE_HEAD("reader", "1.0.0", "Reads bodies"),
    WEIR_HANDLERS({ .name = "read",
                          .hooks = WEIR_HOOKS(read_hooks),
                          .state_bytes = sizeof(struct reader_state) },
            { .name = "admit", .hooks = WEIR_HOOKS(admit_hooks) },
            { .name = "sip", .hooks = WEIR_HOOKS(sip_hooks) }),
};

static const struct weir_module *const modules[] = { &reader_module };

/* ---- a server ---------------------------------------------------------------------------- */

static char config[2048];
static const struct testbed_settings settings = { config, modules, 1 };

#define SMALL "\"body_buffer\": false, \"body_memory\": \"4k\", \"body\": \"8m\""

static struct testbed *
new_testbed(const char *limits, const char *use)
{
    int len = snprintf(config, sizeof(config),
            "{ \"modules\": [\"reader\"], \"workers\": { \"temp_dir\": \"/tmp\","
            "    \"temp_size\": \"2m\" },"
            "  \"pools\": { \"default\": { \"queue_timeout\": false } },"
            "  \"servers\": [{ \"listen\": \"127.0.0.1:1\", \"limits\": { %s },"
            "    \"use\": [\"admit\"%s], \"timeouts\": { \"body\": \"5s\" },"
            "    \"routes\": [{ \"handle\": \"read\" }] }] }",
            limits, use);
    ck_assert_int_lt(len, (int)sizeof(config));
    asked = admitted = 0;
    read_error = 0;
    return module_testbed_new(&settings);
}

/* `bytes` of the pattern from `from` on, in chunks or plain. */
static void
send_body(struct testbed *testbed, uint64_t from, uint64_t bytes, bool is_chunked)
{
    static char piece[40000];
    while (bytes > 0) {
        size_t len = bytes < 30000 ? (size_t)bytes : 30000;
        int head = is_chunked ? snprintf(piece, sizeof(piece), "%zx\r\n", len) : 0;
        for (size_t i = 0; i < len; i++) {
            piece[(size_t)head + i] = pattern(from + i);
        }
        memcpy(piece + head + len, "\r\n", 2);
        testbed_send(testbed, weir_str_make(piece, (size_t)head + len + (is_chunked ? 2 : 0)));
        from += len;
        bytes -= len;
    }
}

#define HEAD(path, fields) "POST " path " HTTP/1.1\r\nHost: a\r\n" fields "\r\n"

static bool
answers(const struct testbed *testbed, const char *status, const char *end)
{
    char first[64];
    snprintf(first, sizeof(first), "HTTP/1.1 %s", status);
    struct weir_str received = testbed_received(testbed);
    return weir_str_starts_with(received, weir_str_from(first)) && unit_ends(received, end);
}

/* The head of a POST whose body has so many bytes, or comes in chunks. */
static void
send_head(struct testbed *testbed, uint64_t bytes, bool is_chunked)
{
    char text[128];
    int len = is_chunked
            ? snprintf(text, sizeof(text), HEAD("/", "Transfer-Encoding: chunked\r\n"))
            : snprintf(text, sizeof(text), HEAD("/", "Content-Length: %llu\r\n"),
                      (unsigned long long)bytes);
    testbed_send(testbed, weir_str_make(text, (size_t)len));
}

static void
check_read(const struct testbed *testbed, const char *why, uint64_t bytes)
{
    char end[64];
    snprintf(end, sizeof(end), "\r\n\r\n%llu right", (unsigned long long)bytes);
    ck_assert_msg(answers(testbed, "200", end), "%s: %.*s", why,
            WEIR_STR_ARG(testbed_received(testbed)));
}

/* ---- when a handler is asked ------------------------------------------------------------- */

static const struct {
    const char *why, *limits;
    uint64_t bytes, asked_at; /* with so many of them there */
    bool is_chunked;
} askings[] = {
    { "with the whole body", "\"body_buffer\": \"64k\"", 50000, 50000, false },
    { "with as much as is wanted of one that is longer", "\"body_buffer\": \"10k\"", 210240,
            10240, true },
    { "with all of it, however long", SMALL, 300000, 300000, false },
    { "at once, unless it is wanted", "\"body\": \"1m\"", 50000, 0, false },
};

START_TEST(asks_when_enough_of_the_body_is_there)
{
    uint64_t bytes = askings[_i].bytes, at = askings[_i].asked_at;
    bool is_chunked = askings[_i].is_chunked;
    struct testbed *testbed = new_testbed(askings[_i].limits, "");
    send_head(testbed, bytes, is_chunked);
    ck_assert_uint_eq(admitted, 1);
    if (at > 0) {
        send_body(testbed, 0, at - 1, is_chunked);
        unit_check(asked == 0, askings[_i].why);
        send_body(testbed, at - 1, 1, is_chunked);
    }
    unit_check(asked == 1, askings[_i].why);
    send_body(testbed, at, bytes - at, is_chunked);
    testbed_send(testbed, is_chunked ? WEIR_STR("0\r\n\r\n") : WEIR_STR(""));
    check_read(testbed, askings[_i].why, bytes);
    ck_assert(testbed_free(testbed));
}
END_TEST

/* ---- who is refused before one is -------------------------------------------------------- */

enum threads {
    FREE,
    HELD, /* what they are given stays where it is */
    FULL, /* they take nothing */
};

static const struct {
    const char *why, *limits;
    uint64_t declared; /* 0: in chunks */
    uint64_t sent;
    const char *behind;
    enum threads threads;
    unsigned patient_s,
            late_s; /* nothing is answered for so long; then, after as long, it is */
    const char *answer, *field;
} refusals[] = {
    { "too long", "\"body_buffer\": false, \"body\": \"10k\"", 0, 30000, "", FREE, 0, 0,
            "413 Content Too Large", NULL },
    { "broken", SMALL, 0, 100000, "x\r\n", FREE, 0, 0, "400 Bad Request", NULL },
    { "too slow", SMALL, 300000, 100000, "", FREE, 4, 3, "408 Request Timeout", NULL },
    { "more than fits into workers.temp_size", SMALL, 4000000, 3000000, "", FREE, 0, 0,
            "507 Insufficient Storage", NULL },
    { "no thread to write with", SMALL, 300000, 100000, "", FULL, 0, 0,
            "503 Service Unavailable", "Retry-After: 1\r\n" },
    { "a disk that does not answer", SMALL, 2000000, 1999999, "", HELD, 59, 2,
            "503 Service Unavailable", "Retry-After: 1\r\n" },
};

START_TEST(refuses_before_it_asks)
{
    struct testbed *testbed = new_testbed(refusals[_i].limits, "");
    bool is_chunked = refusals[_i].declared == 0;
    send_head(testbed, refusals[_i].declared, is_chunked);
    if (refusals[_i].threads != FREE) {
        bool is_full = refusals[_i].threads == FULL;
        ck_assert_int_eq(testbed_hold(testbed, "default", is_full), 0);
    }
    send_body(testbed, 0, refusals[_i].sent, is_chunked);
    testbed_send(testbed, weir_str_from(refusals[_i].behind));
    if (refusals[_i].late_s > 0) {
        testbed_pass(testbed, refusals[_i].patient_s * NS_PER_S);
        unit_check(testbed_received(testbed).len == 0, refusals[_i].why);
        testbed_pass(testbed, refusals[_i].late_s * NS_PER_S);
    }
    struct weir_str received = testbed_received(testbed);
    ck_assert_msg(answers(testbed, refusals[_i].answer, "\n") &&
                    (refusals[_i].field == NULL || unit_has(received, refusals[_i].field)),
            "%s: %.*s", refusals[_i].why, WEIR_STR_ARG(received));
    testbed_release(testbed);
    unit_check(asked == 0, refusals[_i].why);
    ck_assert(testbed_free(testbed));
}
END_TEST

START_TEST(says_why_no_more_fits)
{
    struct testbed *testbed = new_testbed(SMALL, ""); /* workers.temp_size: 2m */
    struct said said;
    said_begin(&said, LOG_ERROR);
    send_head(testbed, 4000000, false);
    send_body(testbed, 0, 3000000, false);
    said_check(&said,
            "bodies of requests cannot be kept in /tmp: workers.temp_size, or a quota, is used up: 507");
    ck_assert(testbed_free(testbed));
}
END_TEST

/* ---- the others -------------------------------------------------------------------------- */

START_TEST(says_continue_and_not_to_whom_it_refuses)
{
    struct testbed *testbed = new_testbed("\"body_buffer\": \"64k\"", "");
    testbed_send(testbed, WEIR_STR(HEAD("/", "Content-Length: 5\r\nExpect: 100-continue\r\n")));
    ck_assert(
            weir_str_eq(testbed_received(testbed), WEIR_STR("HTTP/1.1 100 Continue\r\n\r\n")));
    send_body(testbed, 0, 5, false);
    ck_assert(unit_ends(testbed_received(testbed), "5 right"));
    ck_assert(testbed_connect(testbed));
    testbed_send(testbed,
            WEIR_STR(HEAD("/", "Content-Length: 5\r\nExpect: 100-continue\r\nX-Deny: 1\r\n")));
    ck_assert(answers(testbed, "403", "\n"));
    ck_assert_uint_eq(asked, 1);
    ck_assert(testbed_free(testbed));
}
END_TEST

/* Larger than memory: in a file, and read back. */
static const struct {
    uint64_t bytes;
    bool is_chunked;
    const char *use;
} bodies[] = {
    { 1, false, "" },
    { 4096, false, "" },
    { 4097, true, "" },
    { 100000, false, "" },
    { 1500000, true, "" },
    { 1500000, false, ", \"sip\"" },
};

START_TEST(keeps_what_is_too_large_for_memory)
{
    struct testbed *testbed = new_testbed(SMALL, bodies[_i].use);
    uint64_t bytes = bodies[_i].bytes;
    send_head(testbed, bytes, bodies[_i].is_chunked);
    uint64_t before = budget_used_bytes();
    send_body(testbed, 0, bytes - 1, bodies[_i].is_chunked);
    ck_assert_uint_eq(asked, 0);
    ck_assert_uint_lt(budget_used_bytes() - before, 400 << 10);
    ck_assert(bytes < 1000000 || spill_figures(SPILL_REQUEST).held_bytes > 800000);
    send_body(testbed, bytes - 1, 1, bodies[_i].is_chunked);
    testbed_send(testbed, bodies[_i].is_chunked ? WEIR_STR("0\r\n\r\n") : WEIR_STR(""));
    ck_assert_uint_eq(asked, 1);
    check_read(testbed, "kept", bytes);
    testbed_settle(testbed);
    ck_assert_uint_eq(spill_figures(SPILL_REQUEST).held_bytes,
            0); /* the request has ended, and its file with it */
    ck_assert(testbed_free(testbed));
}
END_TEST

START_TEST(keeps_connections_when_the_body_was_not_read)
{
    struct testbed *testbed = new_testbed(SMALL, "");
    testbed_send(testbed, WEIR_STR(HEAD("/unread", "Content-Length: 300000\r\n")));
    send_body(testbed, 0, 300000, false);
    ck_assert(answers(testbed, "200", "unread"));
    testbed_send(testbed, WEIR_STR(HEAD("/", "Content-Length: 3\r\n") "ahocke"));
    ck_assert_msg(unit_has(testbed_received(testbed), "3 right"), "%.*s",
            WEIR_STR_ARG(testbed_received(testbed)));
    ck_assert(testbed_free(testbed));
}
END_TEST

/* Before anything is written, while it is, and when it was; by reset and by FIN. */
START_TEST(ends_with_its_client)
{
    static const uint64_t sent[] = { 0, 5000, 100000, 1000000 };
    struct testbed *testbed = new_testbed(SMALL, "");
    testbed_send(testbed, WEIR_STR(HEAD("/", "Content-Length: 2000000\r\n")));
    if (_i % 2 == 0) {
        ck_assert_int_eq(testbed_hold(testbed, "default", false), 0);
    }
    send_body(testbed, 0, sent[_i / 4], false);
    if (_i % 4 < 2) {
        testbed_reset(testbed);
    } else {
        testbed_end(testbed);
    }
    testbed_release(testbed);
    testbed_settle(testbed);
    ck_assert_uint_eq(asked, 0);
    ck_assert(testbed_free(testbed));
    ck_assert_uint_eq(spill_figures(SPILL_REQUEST).held_bytes, 0);
}
END_TEST

START_TEST(needs_no_file_for_what_is_read_as_it_comes)
{
    struct testbed *testbed =
            new_testbed("\"body_buffer\": \"4k\", \"body_memory\": \"4k\", \"body\": \"8m\"",
                    "");
    testbed_send(testbed, WEIR_STR(HEAD("/", "Content-Length: 4000000\r\n")));
    send_body(testbed, 0, 4096, false);
    ck_assert_uint_eq(asked, 1);
    ck_assert_int_eq(testbed_hold(testbed, "default", true), 0);
    send_body(testbed, 4096, 500000, false);
    testbed_release(testbed);
    ck_assert_int_eq(read_error, 0);
    send_body(testbed, 504096, 3495904, false);
    ck_assert_msg(answers(testbed, "200", "4000000 right"), "%.*s",
            WEIR_STR_ARG(testbed_received(testbed)));
    ck_assert(testbed_free(testbed));
}
END_TEST

START_TEST(takes_no_more_than_a_slow_disk_can)
{
    struct testbed *testbed = new_testbed(SMALL, "");
    testbed_send(testbed, WEIR_STR(HEAD("/", "Content-Length: 2000000\r\n")));
    ck_assert_int_eq(testbed_hold(testbed, "default", false), 0);
    uint64_t before = budget_used_bytes();
    send_body(testbed, 0, 1999999, false);
    ck_assert_uint_lt(budget_used_bytes() - before, 700 << 10);
    testbed_release(testbed);
    testbed_settle(testbed);
    ck_assert_uint_eq(asked, 0);
    send_body(testbed, 1999999, 1, false);
    ck_assert_msg(answers(testbed, "200", "2000000 right"), "%.*s",
            WEIR_STR_ARG(testbed_received(testbed)));
    ck_assert(testbed_free(testbed));
}
END_TEST

START_TEST(keeps_less_while_memory_is_tight)
{
    struct testbed *testbed =
            new_testbed("\"body_buffer\": false, \"body_memory\": false, \"body\": \"8m\"", "");
    testbed_send(testbed, WEIR_STR(HEAD("/", "Content-Length: 1500000\r\n")));
    uint64_t before = budget_used_bytes();
    budget_init(before + before / 8);
    ck_assert_int_eq(budget_level(), BUDGET_TIGHT);
    send_body(testbed, 0, 1499999, false);
    uint64_t used = budget_used_bytes() - before;
    budget_init(UINT64_MAX);
    ck_assert_uint_lt(used, 100 << 10);
    send_body(testbed, 1499999, 1, false);
    ck_assert_msg(answers(testbed, "200", "1500000 right"), "%.*s",
            WEIR_STR_ARG(testbed_received(testbed)));
    ck_assert(testbed_free(testbed));
}
END_TEST

START_TEST(keeps_the_bodies_of_internal_requests)
{
    struct testbed *testbed = new_testbed(SMALL, "");
    testbed_send(testbed, WEIR_STR("GET /inside HTTP/1.1\r\nHost: a\r\n\r\n"));
    ck_assert_msg(answers(testbed, "200", "50000 right"), "%.*s",
            WEIR_STR_ARG(testbed_received(testbed)));
    ck_assert(testbed_free(testbed));
}
END_TEST

START_TEST(stands_torture)
{
    static char input[6000];
    struct testbed *testbed = new_testbed(SMALL, ", \"sip\"");
    ck_assert(testbed_free(testbed));
    uint64_t bytes = 4200;
    int len = snprintf(input, sizeof(input),
            "POST / HTTP/1.1\r\nHost: a\r\n"
            "Content-Length: %llu\r\n\r\n",
            (unsigned long long)bytes);
    for (uint64_t i = 0; i < bytes; i++) {
        input[len++] = pattern(i);
    }
    module_check_torture(&settings, weir_str_make(input, (size_t)len));
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, asks_when_enough_of_the_body_is_there, 0, MODULE_ROWS(askings));
    tcase_add_loop_test(tests, refuses_before_it_asks, 0, MODULE_ROWS(refusals));
    tcase_add_test(tests, says_why_no_more_fits);
    tcase_add_test(tests, says_continue_and_not_to_whom_it_refuses);
    tcase_add_loop_test(tests, keeps_what_is_too_large_for_memory, 0, MODULE_ROWS(bodies));
    tcase_add_test(tests, keeps_connections_when_the_body_was_not_read);
    tcase_add_loop_test(tests, ends_with_its_client, 0, 16);
    tcase_add_test(tests, needs_no_file_for_what_is_read_as_it_comes);
    tcase_add_test(tests, takes_no_more_than_a_slow_disk_can);
    tcase_add_test(tests, keeps_less_while_memory_is_tight);
    tcase_add_test(tests, keeps_the_bodies_of_internal_requests);
    tcase_add_test(tests, stands_torture);
}

UNIT_MAIN("module/body_buffer", add_tests)
