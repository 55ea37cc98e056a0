/* SPDX-License-Identifier: MIT */
/* The answer as modules make it: what each call answers in each state, and what becomes of it.
 * (How it looks on the wire is h1_answer_test.c's.) */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <weir/reply.h>

#include "event/loop.h"
#include "http/request.h"
#include "support/unit.h"
#include "testkit/manual_clock.h"

static struct {
    struct manual_clock clock;
    struct loop *loop;
    struct engine engine;
    struct http_limits limits;
    struct http_timeouts timeouts;
    struct weir_request *request;
    unsigned interims;
} all;

static void
run_nothing(struct weir_request *request)
{
    (void)request;
}

static int
take_interim(struct weir_request *request, unsigned status, struct weir_str lines)
{
    (void)request;
    ck_assert_uint_eq(status, 103);
    ck_assert(weir_str_starts_with(lines, WEIR_STR("Link: ")));
    all.interims++;
    return 0;
}

static const struct request_transport transport = { .wake = run_nothing,
    .interim = take_interim };

static struct weir_request *
begin(const char *method)
{
    static const struct request_handler handler = { .run = run_nothing,
        .end = run_nothing,
        .slab_bytes = 16 };
    memset(&all, 0, sizeof(all));
    all.limits = (struct http_limits)HTTP_LIMITS_PRESET;
    all.timeouts = (struct http_timeouts)HTTP_TIMEOUTS_PRESET;
    manual_clock_init(&all.clock, NS_PER_S, 0);
    ck_assert_int_eq(loop_new(&all.clock.clock, &all.loop), 0);
    ck_assert_int_eq(engine_init(&all.engine, all.loop, &handler, NULL), 0);
    all.request = request_new(&all.engine, &transport, NULL, &all.limits, &all.timeouts);
    ck_assert_ptr_nonnull(all.request);
    struct head_reader *reader = &all.request->reader;
    ck_assert_int_eq(head_reader_begin(reader, 20, weir_str_from(method), WEIR_STR("/a")),
            HEAD_ACCEPTED);
    ck_assert_int_eq(head_reader_add(reader, WEIR_STR("host"), WEIR_STR("a")), HEAD_ACCEPTED);
    ck_assert_int_eq(head_reader_end(reader, false), HEAD_ACCEPTED);
    request_accept_head(all.request);
    return all.request;
}

static void
end(void)
{
    request_free(all.request);
    engine_fini(&all.engine);
    loop_free(all.loop);
}

START_TEST(takes_nothing_before_it_is_begun)
{
    struct weir_request *request = begin("GET");
    ck_assert_uint_eq(weir_reply_status(request), 0);
    ck_assert_int_eq(weir_reply_add(request, WEIR_STR("A"), WEIR_STR("b")), -EINVAL);
    ck_assert_int_eq(weir_reply_length(request, 1), -EINVAL);
    ck_assert_int_eq(weir_reply_write(request, WEIR_STR("x")), -EINVAL);
    ck_assert_int_eq(weir_reply_static(request, WEIR_STR("x")), -EINVAL);
    ck_assert_int_eq(weir_reply_trailer(request, WEIR_STR("A"), WEIR_STR("b")), -EINVAL);
    ck_assert_int_eq(weir_reply_end(request), -EINVAL);
    ck_assert_int_eq(weir_reply_remove(request, WEIR_STR("A")), 0);
    end();
}
END_TEST

START_TEST(takes_statuses_of_final_answers)
{
    static const struct {
        unsigned status;
        int want;
    } rows[] = { { 0, -EINVAL }, { 100, -EINVAL }, { 103, -EINVAL }, { 199, -EINVAL },
        { 200, 0 }, { 299, 0 }, { 599, 0 }, { 600, -EINVAL }, { 65736, -EINVAL } };
    struct weir_request *request = begin("GET");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ck_assert_int_eq(weir_reply_begin(request, rows[i].status), rows[i].want);
        ck_assert_int_eq(weir_reply_error(request, rows[i].status),
                rows[i].want == 0 ? WEIR_DONE : WEIR_FAILED);
    }
    end();
}
END_TEST

START_TEST(is_begun_anew_until_it_is_committed)
{
    struct weir_request *request = begin("GET");
    ck_assert_int_eq(weir_reply_begin(request, 200), 0);
    ck_assert_int_eq(weir_reply_add(request, WEIR_STR("A"), WEIR_STR("b")), 0);
    ck_assert_int_eq(weir_reply_length(request, 5), 0);
    ck_assert_int_eq(weir_reply_write(request, WEIR_STR("hello")), 5);
    ck_assert_int_eq(weir_reply_end(request), 0);
    ck_assert_int_eq(weir_reply_begin(request, 404), 0);
    ck_assert_uint_eq(weir_reply_status(request), 404);
    ck_assert_ptr_null(weir_reply_field(request, WEIR_STR("a")).ptr);
    ck_assert_uint_eq(request->reply.queue.bytes, 0);
    ck_assert_uint_eq(request->reply.length_bytes, LENGTH_UNKNOWN);
    ck_assert(!request->reply.ended);
    reply_commit(request);
    ck_assert_int_eq(weir_reply_begin(request, 200), -EALREADY);
    ck_assert_int_eq(weir_reply_add(request, WEIR_STR("A"), WEIR_STR("b")), -EALREADY);
    ck_assert_int_eq(weir_reply_remove(request, WEIR_STR("A")), -EALREADY);
    ck_assert_int_eq(weir_reply_length(request, 1), -EALREADY);
    ck_assert_int_eq(weir_reply_hint(request, WEIR_STR("</a>")), -EALREADY);
    ck_assert_int_eq(weir_reply_error(request, 500), WEIR_FAILED);
    ck_assert_int_eq(weir_reply_write(request, WEIR_STR("more")), 4);
    ck_assert_int_eq(weir_reply_end(request), 0);
    ck_assert_int_eq(weir_reply_write(request, WEIR_STR("x")), -EINVAL);
    /* The core may still replace it, until its head has left. */
    ck_assert(reply_replace(request, 500));
    reply_commit(request);
    request->reply.head_left = true;
    ck_assert(!reply_replace(request, 503));
    ck_assert_uint_eq(weir_reply_status(request), 500);
    end();
}
END_TEST

static const struct {
    const char *why, *name, *value;
    int want;
    bool is_kept;
} field_cases[] = {
    { "an ordinary field", "X-A", "b", 0, true },
    { "in the core's spelling", "content-type", "text/plain", 0, true },
    { "an empty value", "X-A", "", 0, true },
    { "obs-text", "X-A", "\xe4", 0, true },
    { "a tab", "X-A", "a\tb", 0, true },
    { "an empty name", "", "b", -EINVAL, false },
    { "a name with a space", "X A", "b", -EINVAL, false },
    { "a name with a colon", "X:", "b", -EINVAL, false },
    { "a name with CR LF", "X\r\nY", "b", -EINVAL, false },
    { "a value with CR LF (F50)", "X-A", "b\r\nX-B: c", -EINVAL, false },
    { "a value with LF", "X-A", "b\nc", -EINVAL, false },
    { "a value with CR", "X-A", "b\rc", -EINVAL, false },
    { "a value with a control byte", "X-A", "\x01", -EINVAL, false },
    { "a value with DEL", "X-A", "\x7f", -EINVAL, false },
    { "line ends at its edges too", "X-A", "b\r\n", -EINVAL, false },
    { "Connection is the server's (F51)", "Connection", "keep-alive", 0, false },
    { "so is Keep-Alive", "Keep-Alive", "timeout=5", 0, false },
    { "so is Transfer-Encoding", "transfer-encoding", "chunked", 0, false },
    { "so is Upgrade", "UPGRADE", "h2c", 0, false },
    { "a length is declared", "Content-Length", "5", 0, false },
    { "and must be a number", "Content-Length", "5x", -EINVAL, false },
    { "a negative length", "Content-Length", "-1", -EINVAL, false },
    { "the number that means unknown", "Content-Length", "18446744073709551615", -EINVAL,
            false },
};

START_TEST(takes_fields_that_are_valid_and_a_modules_own)
{
    struct weir_request *request = begin("GET");
    ck_assert_int_eq(weir_reply_begin(request, 200), 0);
    struct weir_str name = weir_str_from(field_cases[_i].name);
    int r = weir_reply_add(request, name, weir_str_from(field_cases[_i].value));
    unit_check(r == field_cases[_i].want, field_cases[_i].why);
    unit_check(request->reply.was_invalid == (r < 0), field_cases[_i].why);
    unit_check(request->reply.field_count == (field_cases[_i].is_kept ? 1 : 0),
            field_cases[_i].why);
    if (field_cases[_i].is_kept) {
        ck_assert(weir_str_eq(weir_reply_field(request, name),
                weir_str_from(field_cases[_i].value)));
    }
    end();
}
END_TEST

START_TEST(refuses_a_nul_in_a_value)
{
    struct weir_request *request = begin("GET");
    ck_assert_int_eq(weir_reply_begin(request, 200), 0);
    ck_assert_int_eq(weir_reply_add(request, WEIR_STR("A"), WEIR_STR("a\0b")), -EINVAL);
    ck_assert_int_eq(weir_reply_hint(request, WEIR_STR("a\0b")), -EINVAL);
    ck_assert_int_eq(weir_reply_trailer(request, WEIR_STR("A"), WEIR_STR("a\0b")), -EINVAL);
    end();
}
END_TEST

START_TEST(keeps_repeated_fields_in_order_and_replaces_them_at_once)
{
    struct weir_request *request = begin("GET");
    ck_assert_int_eq(weir_reply_begin(request, 200), 0);
    for (int i = 0; i < 40; i++) { /* more than stand in the request */
        char value[16];
        snprintf(value, sizeof(value), "%d", i);
        ck_assert_int_eq(weir_reply_add(request, WEIR_STR("Set-Cookie"), weir_str_from(value)),
                0);
        ck_assert_int_eq(weir_reply_add(request, WEIR_STR("x-y"), weir_str_from(value)), 0);
    }
    ck_assert(weir_str_eq(weir_reply_field(request, WEIR_STR("X-Y")), WEIR_STR("0")));
    ck_assert_int_eq(weir_reply_remove(request, WEIR_STR("X-Y")), 40);
    ck_assert_uint_eq(request->reply.field_count, 40);
    ck_assert(weir_str_eq(request->reply.fields[39].value, WEIR_STR("39")));
    ck_assert_int_eq(weir_reply_set(request, WEIR_STR("set-cookie"), WEIR_STR("z")), 0);
    ck_assert_uint_eq(request->reply.field_count, 1);
    ck_assert_int_eq(weir_reply_length(request, 7), 0);
    ck_assert_int_eq(weir_reply_remove(request, WEIR_STR("Content-Length")), 1);
    ck_assert_uint_eq(reply_known_length(request), LENGTH_UNKNOWN);
    end();
}
END_TEST

START_TEST(bounds_the_number_of_fields)
{
    struct weir_request *request = begin("GET");
    ck_assert_int_eq(weir_reply_begin(request, 200), 0);
    int r = 0, count = 0;
    for (; count < 10000 && r == 0; count++) {
        r = weir_reply_add(request, WEIR_STR("X"), WEIR_STR("y"));
    }
    ck_assert_int_eq(r, -ENOMEM);
    ck_assert_int_lt(count, 300);
    end();
}
END_TEST

/* F13: a writer that does not wait is told to, and a small write costs little more than its
 * bytes. */
START_TEST(holds_a_bounded_amount_that_was_written)
{
    struct weir_request *request = begin("GET");
    ck_assert_int_eq(weir_reply_begin(request, 200), 0);
    uint64_t allocations = failalloc_count();
    uint64_t written = 0;
    ssize_t n;
    size_t len = _i == 0 ? 1 : 70000;
    static char block[70000];
    while ((n = weir_reply_write(request, weir_str_make(block, len))) > 0) {
        written += (uint64_t)n;
    }
    ck_assert_int_eq(n, -EAGAIN);
    ck_assert_uint_eq(written, request->reply.mark_bytes);
    ck_assert_uint_eq(request->reply.queue.bytes, written);
    ck_assert_uint_lt(failalloc_count() - allocations, 1100);
    ck_assert_int_eq(weir_reply_write(request, WEIR_STR("")), 0);
    slice_queue_consume(&request->reply.queue, 10);
    ck_assert_int_eq(weir_reply_write(request, weir_str_make(block, 20)), 10);
    request->is_gone = true;
    ck_assert_int_eq(weir_reply_write(request, WEIR_STR("x")), -EPIPE);
    ck_assert_int_eq(weir_reply_static(request, WEIR_STR("x")), -EPIPE);
    end();
}
END_TEST

START_TEST(takes_files_over_also_when_it_fails)
{
    struct weir_request *request = begin("GET");
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    int fd = dup(fileno(file));
    ck_assert_int_eq(weir_reply_file(request, fd, 0, 1), -EINVAL); /* not begun */
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    UNIT_EACH_ALLOCATION_FAILS({
        ck_assert_int_eq(weir_reply_begin(request, 200), 0);
        int r = 0;
        for (int i = 0; i < 6 && r == 0; i++) {
            fd = dup(fileno(file));
            r = weir_reply_file(request, fd, 0, 1);
            ck_assert(r == 0 || r == -ENOMEM);
            ck_assert((fcntl(fd, F_GETFD) == -1) == (r < 0));
        }
    });
    ck_assert_int_eq(weir_reply_begin(request, 200), 0); /* drops them */
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    fd = dup(fileno(file));
    ck_assert_int_eq(weir_reply_file(request, fd, 0, 0), 0); /* nothing of it */
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    fclose(file);
    end();
}
END_TEST

START_TEST(collects_trailers_that_may_be_sent)
{
    struct weir_request *request = begin("GET");
    ck_assert_int_eq(weir_reply_begin(request, 200), 0);
    ck_assert_int_eq(weir_reply_trailer(request, WEIR_STR("X-Sum"), WEIR_STR(" 42 ")), 0);
    ck_assert_int_eq(weir_reply_trailer(request, WEIR_STR("X-Empty"), WEIR_STR("")), 0);
    ck_assert_int_eq(weir_reply_trailer(request, WEIR_STR("Content-Length"), WEIR_STR("5")),
            -EINVAL);
    ck_assert_int_eq(weir_reply_trailer(request, WEIR_STR("a b"), WEIR_STR("5")), -EINVAL);
    ck_assert(weir_str_eq(request->reply.trailers, WEIR_STR("X-Sum: 42\r\nX-Empty: \r\n")));
    int r = 0;
    for (int i = 0; i < 1000 && r == 0; i++) {
        static char value[1000];
        memset(value, 'v', sizeof(value));
        r = weir_reply_trailer(request, WEIR_STR("X"), weir_str_make(value, sizeof(value)));
    }
    ck_assert(r == -ENOBUFS || r == -ENOMEM);
    end();
}
END_TEST

START_TEST(answers_in_html_where_it_is_accepted)
{
    static const struct {
        const char *accept;
        bool is_html;
    } rows[] = { { "", false }, { "text/html", true }, { "*/*", false },
        { "application/json, TEXT/HTML;q=0.9", true }, { "text/htmlx", false },
        { "text/html;q=0", false }, { "text/html; Q=0.000, */*", false },
        { "text/html;q=0.001", true }, { "text/html;level=1;q=1", true } };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct weir_request *request = begin("GET");
        ck_assert_int_eq(head_reader_add(&request->reader, WEIR_STR("accept"),
                                 weir_str_from(rows[i].accept)),
                HEAD_ACCEPTED);
        ck_assert_int_eq(weir_reply_error(request, 404), WEIR_DONE);
        struct weir_str type = weir_reply_field(request, WEIR_STR("Content-Type"));
        ck_assert(weir_str_starts_with(type,
                rows[i].is_html ? WEIR_STR("text/html") : WEIR_STR("text/plain")));
        end();
    }
}
END_TEST

START_TEST(answers_an_error_also_without_memory)
{
    struct weir_request *request = begin("GET");
    UNIT_EACH_ALLOCATION_FAILS({
        ck_assert_int_eq(weir_reply_error(request, 503), WEIR_DONE);
        ck_assert_uint_eq(weir_reply_status(request), 503);
        ck_assert(request->reply.ended);
    });
    UNIT_EACH_ALLOCATION_FAILS({
        enum weir_verdict verdict = weir_reply_text(request, 200, WEIR_STR("text/plain"),
                WEIR_STR("text"));
        ck_assert_int_eq(verdict, failalloc_has_failed() ? WEIR_FAILED : WEIR_DONE);
    });
    end();
}
END_TEST

START_TEST(knows_answers_without_a_body)
{
    static const struct {
        const char *method;
        unsigned status;
        bool is_bodiless;
    } rows[] = { { "GET", 200, false }, { "HEAD", 200, true }, { "GET", 204, true },
        { "GET", 304, true }, { "HEAD", 404, true }, { "POST", 205, true },
        { "PUT", 201, false } };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct weir_request *request = begin(rows[i].method);
        ck_assert_int_eq(weir_reply_begin(request, rows[i].status), 0);
        ck_assert_int_eq(reply_is_bodiless(request), rows[i].is_bodiless);
        end();
    }
}
END_TEST

START_TEST(hints_before_the_head_alone)
{
    struct weir_request *request = begin("GET");
    ck_assert_int_eq(weir_reply_hint(request, WEIR_STR("</a>; rel=preload")), 0);
    ck_assert_int_eq(weir_reply_begin(request, 200), 0);
    ck_assert_int_eq(weir_reply_hint(request, WEIR_STR("</b>; rel=preload")), 0);
    ck_assert_int_eq(weir_reply_hint(request, WEIR_STR("  ")), -EINVAL);
    ck_assert_int_eq(weir_reply_hint(request, WEIR_STR("a\r\nb: c")), -EINVAL);
    ck_assert_uint_eq(all.interims, 2);
    request->head.version = 10;
    ck_assert_int_eq(weir_reply_hint(request, WEIR_STR("</c>")), -ENOTSUP);
    request->transport = NULL;
    ck_assert_int_eq(weir_reply_hint(request, WEIR_STR("</c>")), -EALREADY);
    end();
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, takes_nothing_before_it_is_begun);
    tcase_add_test(tests, takes_statuses_of_final_answers);
    tcase_add_test(tests, is_begun_anew_until_it_is_committed);
    tcase_add_loop_test(tests, takes_fields_that_are_valid_and_a_modules_own, 0,
            sizeof(field_cases) / sizeof(field_cases[0]));
    tcase_add_test(tests, refuses_a_nul_in_a_value);
    tcase_add_test(tests, keeps_repeated_fields_in_order_and_replaces_them_at_once);
    tcase_add_test(tests, bounds_the_number_of_fields);
    tcase_add_loop_test(tests, holds_a_bounded_amount_that_was_written, 0, 2);
    tcase_add_test(tests, takes_files_over_also_when_it_fails);
    tcase_add_test(tests, collects_trailers_that_may_be_sent);
    tcase_add_test(tests, answers_in_html_where_it_is_accepted);
    tcase_add_test(tests, answers_an_error_also_without_memory);
    tcase_add_test(tests, knows_answers_without_a_body);
    tcase_add_test(tests, hints_before_the_head_alone);
}

UNIT_MAIN("http/reply", add_tests)
