/* SPDX-License-Identifier: MIT */
/* Ports: what other threads write reaches the client, within bounds, and every order in which
 * thread, client, answer and loop may end. */
#include "module/port.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <weir/reply.h>
#include <weir/request.h>

#include "base/budget.h"
#include "event/mailbox.h"
#include "module/wait.h"
#include "observe/log.h"
#include "support/rig.h"
#include "support/unit.h"
#include "testkit/torture.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define OLD(path) "GET " path " HTTP/1.0\r\n\r\n" /* the body comes without chunks */

/* ---- a module ---------------------------------------------------------------------------- */

/* Of the last request; one test at a time in a process of its own. */
static struct weir_port *port;
static unsigned gone, drained;
static atomic_uint freed;
static int opened; /* what the last weir_port_open() said */
static char data[1];

static void
on_gone(struct weir_port *which, void *context)
{
    ck_assert_ptr_eq(context, data);
    ck_assert_int_eq(weir_port_write(which, WEIR_STR("late")), -EPIPE);
    gone++;
}

static void
on_drain(struct weir_port *which, void *context)
{
    ck_assert_ptr_eq(context, data);
    drained++;
    ck_assert_int_eq(weir_port_write(which, WEIR_STR("bye")), 3);
    weir_port_end(which);
}

static void
on_free(void *context)
{
    ck_assert_ptr_eq(context, data);
    atomic_fetch_add(&freed, 1);
}

static const struct weir_port_calls calls = { sizeof(calls), on_gone, on_drain, on_free };

static bool
is_for(struct weir_request *request, const char *path)
{
    return weir_str_eq(weir_request_path(request), weir_str_from(path));
}

/* Reports what weir_port_open() says where it cannot do anything. */
static enum weir_verdict
open_wrongly(struct weir_request *request)
{
    static const struct weir_port_calls strange = { 4, NULL, NULL, NULL };
    struct weir_port *none = NULL;
    ck_assert_int_eq(weir_port_open(request, &calls, data, &none), -EINVAL); /* no answer */
    ck_assert_int_eq(weir_reply_begin(request, 200), 0);
    ck_assert_int_eq(weir_port_open(request, &strange, data, &none), -EINVAL);
    enum weir_verdict verdict = weir_reply_text(request, 200, WEIR_STR("text/plain"),
            WEIR_STR("refused"));
    ck_assert_int_eq(weir_port_open(request, &calls, data, &none), -EINVAL); /* it has ended */
    ck_assert_ptr_null(none);
    return verdict;
}

static enum weir_verdict
open_port(struct weir_request *request, const void *conf)
{
    (void)conf;
    if (is_for(request, "/wrong")) {
        return open_wrongly(request);
    }
    if (!weir_str_starts_with(weir_request_path(request), WEIR_STR("/port"))) {
        return WEIR_NEXT;
    }
    if (weir_reply_begin(request, 200) < 0) {
        return WEIR_FAILED;
    }
    opened = weir_port_open(request, &calls, data, &port);
    if (opened < 0) {
        return WEIR_FAILED;
    }
    struct weir_port *second;
    ck_assert_int_eq(weir_port_open(request, &calls, data, &second), -EBUSY);
    ck_assert_int_eq(weir_port_wait(port, WEIR_PORT_FOREVER), -EDEADLK);
    if (is_for(request, "/port/first")) {
        ck_assert_int_eq(weir_reply_write(request, WEIR_STR("first ")), 6);
    }
    if (is_for(request, "/port/fails")) {
        return WEIR_FAILED;
    }
    return is_for(request, "/port/steps-back") ? WEIR_NEXT : WEIR_DONE;
}

/* Reply head: may not open one, and puts another body in its place. */
static enum weir_verdict
look_at_reply(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct weir_port *none;
    ck_assert_int_eq(weir_port_open(request, &calls, data, &none), -EINVAL);
    if (is_for(request, "/port/replaced")) {
        /* What is under way then must not get behind the other body. */
        ck_assert_int_eq(weir_port_write(port, WEIR_STR("stray")), 5);
        return weir_reply_replace_body(request, WEIR_STR("text/plain"), WEIR_STR("other")) < 0
                ? WEIR_FAILED
                : WEIR_NEXT;
    }
    return is_for(request, "/port/anew")
            ? weir_reply_text(request, 503, WEIR_STR("text/plain"), WEIR_STR("anew"))
            : WEIR_NEXT;
}

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_CONTENT, .request = open_port },
    { .on = WEIR_ON_REPLY_HEAD, .request = look_at_reply },
};

static const struct weir_handler handler = { .name = "port", .hooks = WEIR_HOOKS(hooks) };

struct port_rig {
    struct rig rig;
    struct mailbox *mailbox;
    struct wait_table *waits;
};

static void
init(struct port_rig *p)
{
    log_init(-1, LOG_ERROR);
    rig_init(&p->rig, &handler, 1);
    ck_assert_int_eq(mailbox_new(p->rig.loop, &p->mailbox), 0);
    ck_assert_int_eq(wait_table_new(p->rig.loop, p->mailbox, &p->waits), 0);
    p->rig.map.waits = p->waits;
    rig_connect(&p->rig);
}

static void
fini(struct port_rig *p)
{
    if (!p->rig.stream.is_closed) {
        memory_stream_reset(&p->rig.stream);
        rig_settle(&p->rig);
    }
    ck_assert_ptr_null(p->rig.map.ports);
    mailbox_free(p->mailbox);
    wait_table_free(p->waits);
    rig_fini(&p->rig);
}

/* Gives the test's reference back and ends; nothing is left then. */
static void
finish(struct port_rig *p)
{
    weir_port_unref(port);
    fini(p);
    ck_assert_uint_eq(atomic_load(&freed), 1);
}

static struct rig_answer
answer_of(struct port_rig *p)
{
    struct weir_str rest = rig_received(&p->rig);
    struct rig_answer answer;
    ck_assert(rig_next_answer(&rest, false, &answer));
    return answer;
}

static bool
is_over(const struct port_rig *p)
{
    return p->rig.stream.is_closed || p->rig.stream.is_shut_down;
}

static bool
ends_with(struct weir_str text, const char *end)
{
    size_t len = strlen(end);
    return text.len >= len && memcmp(text.ptr + text.len - len, end, len) == 0;
}

/* ---- bytes ------------------------------------------------------------------------------- */

START_TEST(sends_what_is_written_as_it_comes)
{
    struct port_rig p;
    init(&p);
    rig_send(&p.rig, WEIR_STR(GET("/port")));
    ck_assert_uint_eq(rig_received(&p.rig).len, 0);
    ck_assert_int_eq(weir_port_write(port, WEIR_STR("")), 0);
    ck_assert_int_eq(weir_port_write(port, WEIR_STR("one ")), 4);
    ck_assert_int_eq(weir_port_write(port, WEIR_STR("two")), 3);
    rig_settle(&p.rig);
    ck_assert(ends_with(rig_received(&p.rig), "\r\n\r\n7\r\none two\r\n")); /* one wake-up */
    ck_assert_int_eq(weir_port_write(port, WEIR_STR("three")), 5);
    rig_settle(&p.rig);
    ck_assert(ends_with(rig_received(&p.rig), "5\r\nthree\r\n"));
    weir_port_end(port);
    weir_port_end(port);
    ck_assert_int_eq(weir_port_write(port, WEIR_STR("four")), -EINVAL);
    ck_assert_int_eq(weir_port_wait(port, 0), -EINVAL);
    rig_settle(&p.rig);
    ck_assert(answer_of(&p).is_complete);
    ck_assert_uint_eq(gone, 0);

    /* The connection lives on. */
    ck_assert_uint_eq(atomic_load(&freed), 0);
    weir_port_unref(port);
    ck_assert_uint_eq(atomic_load(&freed), 1);
    rig_send(&p.rig, WEIR_STR(GET("/port/first")));
    ck_assert_int_eq(weir_port_write(port, WEIR_STR("second")), 6);
    weir_port_end(port);
    weir_port_unref(port); /* before the loop has seen any of it */
    rig_settle(&p.rig);
    ck_assert(ends_with(rig_received(&p.rig), "\r\n6\r\nfirst \r\n6\r\nsecond\r\n0\r\n\r\n"));
    ck_assert_uint_eq(atomic_load(&freed), 2);
    fini(&p);
}
END_TEST

START_TEST(answers_an_empty_body)
{
    struct port_rig p;
    init(&p);
    rig_send(&p.rig, WEIR_STR(GET("/port")));
    weir_port_end(port);
    rig_settle(&p.rig);
    struct rig_answer answer = answer_of(&p);
    ck_assert(answer.is_complete && answer.has_length);
    finish(&p);
}
END_TEST

START_TEST(sends_no_body_to_a_head)
{
    struct port_rig p;
    init(&p);
    rig_send(&p.rig, WEIR_STR("HEAD /port HTTP/1.1\r\nHost: a\r\n\r\n"));
    ck_assert_int_eq(weir_port_write(port, WEIR_STR("body")), 4);
    rig_settle(&p.rig);
    weir_port_end(port);
    rig_settle(&p.rig);
    ck_assert(ends_with(rig_received(&p.rig), "\r\n\r\n"));
    ck_assert_uint_eq(p.rig.ended[REQUEST_END_COMPLETE], 1);
    finish(&p);
}
END_TEST

START_TEST(gives_credit_for_so_much)
{
    struct port_rig p;
    init(&p);
    rig_send(&p.rig, WEIR_STR(OLD("/port")));
    static char bytes[WEIR_PORT_CREDIT_BYTES + 1];
    memset(bytes, 'x', sizeof(bytes));
    struct weir_str all = weir_str_make(bytes, sizeof(bytes));
    ck_assert_int_eq(weir_port_write(port, all), WEIR_PORT_CREDIT_BYTES);
    ck_assert_int_eq(weir_port_write(port, all), -EAGAIN);
    rig_settle(&p.rig);
    ck_assert_int_eq(weir_port_write(port, all), WEIR_PORT_CREDIT_BYTES);
    weir_port_end(port);
    rig_settle(&p.rig);
    ck_assert_uint_gt(rig_received(&p.rig).len, 2 * WEIR_PORT_CREDIT_BYTES);
    ck_assert(is_over(&p));
    finish(&p);
}
END_TEST

/* Writes until there is no credit, the loop turning meanwhile; returns how much that was. */
static uint64_t
write_all_it_takes(struct port_rig *p, size_t at_once, uint64_t most)
{
    static char bytes[4096];
    memset(bytes, 'x', sizeof(bytes));
    uint64_t sum = 0;
    ssize_t n;
    while (sum < most && (n = weir_port_write(port, weir_str_make(bytes, at_once))) > 0) {
        sum += (uint64_t)n;
        rig_settle(&p->rig);
    }
    return sum;
}

START_TEST(takes_no_more_than_the_client_reads)
{
    struct port_rig p;
    init(&p);
    p.rig.stream.allowed_bytes = 1000;
    rig_send(&p.rig, WEIR_STR(OLD("/port")));
    uint64_t before = budget_used_bytes();
    uint64_t sum = write_all_it_takes(&p, 4000, 100u << 20);
    ck_assert_uint_lt(sum, 2u << 20);
    ck_assert_uint_lt(budget_used_bytes() - before, 4u << 20);
    ck_assert_int_eq(weir_port_write(port, WEIR_STR("x")), -EAGAIN);
    memory_stream_allow(&p.rig.stream, UINT64_MAX / 2);
    rig_settle(&p.rig);
    weir_port_end(port);
    rig_settle(&p.rig);
    struct weir_str received = rig_received(&p.rig);
    const char *body = memmem(received.ptr, received.len, "\r\n\r\n", 4);
    ck_assert_uint_eq((size_t)(received.ptr + received.len - body) - 4, sum);
    finish(&p);
}
END_TEST

/* A small event a turn must not hold a block of memory of its own. */
START_TEST(keeps_small_pieces_for_a_slow_client_cheaply)
{
    struct port_rig p;
    init(&p);
    p.rig.stream.allowed_bytes = 1000;
    rig_send(&p.rig, WEIR_STR(OLD("/port")));
    uint64_t before = budget_used_bytes();
    ck_assert_uint_eq(write_all_it_takes(&p, 20, 400000), 400000);
    ck_assert_uint_lt(budget_used_bytes() - before, 800000);
    finish(&p);
}
END_TEST

START_TEST(takes_nothing_without_memory)
{
    struct port_rig p;
    init(&p);
    rig_send(&p.rig, WEIR_STR(OLD("/port")));
    failalloc_fail_nth(1);
    ck_assert_int_eq(weir_port_write(port, WEIR_STR("lost")), -ENOMEM);
    failalloc_fail_nth(0);
    ck_assert_int_eq(weir_port_write(port, WEIR_STR("kept")), 4);
    weir_port_end(port);
    rig_settle(&p.rig);
    ck_assert(ends_with(rig_received(&p.rig), "\r\n\r\nkept"));
    finish(&p);
}
END_TEST

/* ---- ends -------------------------------------------------------------------------------- */

START_TEST(says_that_nobody_reads)
{
    struct port_rig p;
    init(&p);
    rig_send(&p.rig, WEIR_STR(GET("/port")));
    ck_assert_int_eq(weir_port_write(port, WEIR_STR("hello")), 5);
    if (_i == 0) { /* else the letter is under way as the client leaves */
        rig_settle(&p.rig);
    }
    memory_stream_reset(&p.rig.stream);
    rig_settle(&p.rig);
    ck_assert_uint_eq(gone, 1);
    ck_assert_int_eq(weir_port_write(port, WEIR_STR("more")), -EPIPE);
    ck_assert_int_eq(weir_port_wait(port, WEIR_PORT_FOREVER), -EPIPE);
    weir_port_end(port);
    rig_settle(&p.rig);
    ck_assert_uint_eq(gone, 1);
    finish(&p);
}
END_TEST

START_TEST(does_not_say_so_after_the_end)
{
    struct port_rig p;
    init(&p);
    p.rig.stream.allowed_bytes = 0;
    rig_send(&p.rig, WEIR_STR(GET("/port")));
    ck_assert_int_eq(weir_port_write(port, WEIR_STR("hello")), 5);
    weir_port_end(port);
    memory_stream_reset(&p.rig.stream);
    rig_settle(&p.rig);
    ck_assert_uint_eq(gone, 0);
    finish(&p);
}
END_TEST

static const struct {
    const char *why, *path, *end;
    unsigned status;
} other_answers[] = {
    { "the hook fails after all", GET("/port/fails"), "500 Internal Server Error\n", 500 },
    { "the hook steps back", GET("/port/steps-back"), "404 Not Found\n", 404 },
    { "a reply-head hook puts another body in place", GET("/port/replaced"), "other", 200 },
    { "a reply-head hook begins anew", GET("/port/anew"), "anew", 503 },
};

START_TEST(is_gone_when_another_answer_takes_its_place)
{
    struct port_rig p;
    init(&p);
    memory_stream_send(&p.rig.stream, weir_str_from(other_answers[_i].path));
    loop_turn(p.rig.loop, false);
    ck_assert_ptr_nonnull(port);
    ssize_t n = weir_port_write(port, WEIR_STR("mine"));
    ck_assert(n == 4 || n == -EPIPE);
    rig_settle(&p.rig);
    struct rig_answer answer = answer_of(&p);
    unit_check(answer.is_complete && answer.status == other_answers[_i].status,
            other_answers[_i].why);
    unit_check(ends_with(answer.body, other_answers[_i].end), other_answers[_i].why);
    unit_check(gone == 1, other_answers[_i].why);
    ck_assert_int_eq(weir_port_write(port, WEIR_STR("more")), -EPIPE);
    finish(&p);
}
END_TEST

START_TEST(breaks_off_an_answer_that_is_given_up)
{
    struct port_rig p;
    init(&p);
    rig_send(&p.rig, WEIR_STR(GET("/port")));
    weir_port_unref(port);
    rig_settle(&p.rig);
    ck_assert_uint_eq(answer_of(&p).status, 500); /* nothing had left */
    ck_assert_uint_eq(atomic_load(&freed), 1);

    rig_connect(&p.rig);
    rig_send(&p.rig, WEIR_STR(GET("/port")));
    ck_assert_int_eq(weir_port_write(port, WEIR_STR("some")), 4);
    rig_settle(&p.rig);
    weir_port_unref(port);
    rig_settle(&p.rig);
    ck_assert(!answer_of(&p).is_complete);
    ck_assert(is_over(&p));
    ck_assert_uint_eq(gone, 0); /* there was nobody to tell */
    ck_assert_uint_eq(atomic_load(&freed), 2);
    fini(&p);
}
END_TEST

START_TEST(tells_that_the_server_stops)
{
    struct port_rig p;
    init(&p);
    if (_i == 0) {
        rig_send(&p.rig, WEIR_STR(GET("/port")));
        ports_drain(&p.rig.map);
        ck_assert_uint_eq(drained, 0); /* not from within */
    } else {
        engine_retire(&p.rig.engine);
        rig_send(&p.rig, WEIR_STR(GET("/port"))); /* opened while it stops */
    }
    rig_settle(&p.rig);
    ck_assert_uint_eq(drained, 1);
    ck_assert(ends_with(answer_of(&p).body, "bye"));
    ck_assert(answer_of(&p).is_complete);
    ck_assert_uint_eq(gone, 0);
    ports_drain(&p.rig.map);
    finish(&p);
    ck_assert_uint_eq(drained, 1);
}
END_TEST

START_TEST(survives_its_loop)
{
    struct port_rig p;
    init(&p);
    rig_send(&p.rig, WEIR_STR(GET("/port")));
    fini(&p);
    ck_assert_uint_eq(gone, 1);
    ck_assert_uint_eq(atomic_load(&freed), 0);
    ck_assert_int_eq(weir_port_write(port, WEIR_STR("late")), -EPIPE);
    ck_assert_int_eq(weir_port_wait(port, 0), -EPIPE);
    weir_port_unref(weir_port_ref(port));
    weir_port_end(port);
    weir_port_unref(port);
    weir_port_unref(NULL);
    ck_assert_ptr_null(weir_port_ref(NULL));
    ck_assert_uint_eq(atomic_load(&freed), 1);
}
END_TEST

START_TEST(refuses_to_open_where_nothing_can_be_written)
{
    struct port_rig p;
    init(&p);
    rig_send(&p.rig, WEIR_STR(GET("/wrong")));
    ck_assert(ends_with(answer_of(&p).body, "refused"));
    fini(&p);
    ck_assert_uint_eq(atomic_load(&freed), 0); /* `data` stayed the caller's */
}
END_TEST

/* ---- threads ----------------------------------------------------------------------------- */

#define LINE_BYTES 64u /* divides the credit, so that a line is taken whole or not at all */

struct writer {
    pthread_t thread;
    struct weir_port *port; /* counted */
    unsigned lines;
    char letter;
    int result; /* of the last call */
};

static void *
write_lines(void *argument)
{
    struct writer *writer = argument;
    char line[LINE_BYTES];
    memset(line, writer->letter, sizeof(line));
    int r = 0;
    for (unsigned i = 0; i < writer->lines && r == 0; i++) {
        ssize_t n;
        while ((n = weir_port_write(writer->port, weir_str_make(line, sizeof(line)))) ==
                        -EAGAIN &&
                r == 0) {
            r = weir_port_wait(writer->port, WEIR_PORT_FOREVER);
        }
        r = n < 0 && r == 0 ? (int)n : r;
    }
    writer->result = r;
    weir_port_unref(writer->port);
    return NULL;
}

static void
start_writers(struct writer *writers, unsigned count, unsigned lines)
{
    for (unsigned i = 0; i < count; i++) {
        writers[i] = (struct writer){ .port = weir_port_ref(port),
            .lines = lines,
            .letter = (char)('a' + i) };
        ck_assert_int_eq(pthread_create(&writers[i].thread, NULL, write_lines, &writers[i]), 0);
    }
}

START_TEST(sends_what_many_threads_write)
{
    enum {
        THREADS = 3,
        LINES = 4000
    };
    struct port_rig p;
    init(&p);
    rig_send(&p.rig, WEIR_STR(OLD("/port")));
    struct writer writers[THREADS];
    start_writers(writers, THREADS, LINES);
    size_t body_bytes = (size_t)THREADS * LINES * LINE_BYTES;
    const char *body = NULL;
    struct weir_str received;
    do {
        loop_turn(p.rig.loop, true); /* woken by the threads alone */
        received = rig_received(&p.rig);
        body = memmem(received.ptr, received.len, "\r\n\r\n", 4);
    } while (body == NULL || (size_t)(received.ptr + received.len - body) < body_bytes + 4);
    for (unsigned i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(writers[i].thread, NULL), 0);
        ck_assert_int_eq(writers[i].result, 0);
    }
    weir_port_end(port);
    rig_settle(&p.rig);
    received = rig_received(&p.rig);
    body = (const char *)memmem(received.ptr, received.len, "\r\n\r\n", 4) + 4;
    ck_assert_uint_eq((size_t)(received.ptr + received.len - body), body_bytes);
    unsigned lines[THREADS] = { 0 };
    for (size_t at = 0; at < body_bytes; at += LINE_BYTES) {
        char letter = body[at];
        ck_assert(letter >= 'a' && letter < 'a' + THREADS);
        for (size_t i = 0; i < LINE_BYTES; i++) {
            ck_assert_int_eq(body[at + i], letter);
        }
        lines[letter - 'a']++;
    }
    for (unsigned i = 0; i < THREADS; i++) {
        ck_assert_uint_eq(lines[i], LINES);
    }
    finish(&p);
}
END_TEST

START_TEST(wakes_those_who_wait_when_the_client_leaves)
{
    enum {
        THREADS = 3
    };
    struct port_rig p;
    init(&p);
    for (unsigned round = 0; round < 30; round++) {
        rig_connect(&p.rig);
        p.rig.stream.allowed_bytes = 100;
        rig_send(&p.rig, WEIR_STR(OLD("/port")));
        struct writer writers[THREADS];
        start_writers(writers, THREADS, UINT32_MAX); /* for ever */
        for (unsigned i = 0; i < round * 3; i++) {
            loop_turn(p.rig.loop, false);
        }
        memory_stream_reset(&p.rig.stream);
        rig_settle(&p.rig);
        for (unsigned i = 0; i < THREADS; i++) {
            ck_assert_int_eq(pthread_join(writers[i].thread, NULL), 0);
            ck_assert_int_eq(writers[i].result, -EPIPE);
        }
        ck_assert_uint_eq(gone, round + 1);
        weir_port_unref(port);
        rig_settle(&p.rig);
        ck_assert_uint_eq(atomic_load(&freed), round + 1);
    }
    fini(&p);
}
END_TEST

static void *
wait_briefly(void *argument)
{
    struct writer *writer = argument;
    writer->result = weir_port_wait(writer->port, 1000000);
    return NULL;
}

START_TEST(waits_no_longer_than_it_is_told)
{
    struct port_rig p;
    init(&p);
    rig_send(&p.rig, WEIR_STR(OLD("/port")));
    static char bytes[WEIR_PORT_CREDIT_BYTES];
    ck_assert_int_eq(weir_port_write(port, weir_str_make(bytes, sizeof(bytes))), sizeof(bytes));
    struct writer writer = { .port = port };
    ck_assert_int_eq(pthread_create(&writer.thread, NULL, wait_briefly, &writer), 0);
    ck_assert_int_eq(pthread_join(writer.thread, NULL), 0);
    ck_assert_int_eq(writer.result, -ETIMEDOUT);
    rig_settle(&p.rig);
    ck_assert_int_eq(pthread_create(&writer.thread, NULL, wait_briefly, &writer), 0);
    ck_assert_int_eq(pthread_join(writer.thread, NULL), 0);
    ck_assert_int_eq(writer.result, 0);
    finish(&p);
}
END_TEST

/* ---- torture ----------------------------------------------------------------------------- */

static const struct weir_port_calls plain_calls = { .bytes = sizeof(plain_calls) };

/* As a thread would, but at a known time. */
static enum weir_verdict
write_at_once(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct weir_port *mine;
    if (weir_reply_begin(request, 200) < 0 ||
            weir_port_open(request, &plain_calls, NULL, &mine) < 0) {
        return WEIR_FAILED;
    }
    bool is_written = weir_port_write(mine, WEIR_STR("data: 1\n\n")) > 0 &&
            weir_port_write(mine, WEIR_STR("data: 2\n\n")) > 0;
    if (is_written) {
        weir_port_end(mine);
    }
    weir_port_unref(mine);
    return WEIR_DONE;
}

static const struct weir_hook eager_hooks[] = { { .on = WEIR_ON_CONTENT,
        .request = write_at_once } };
static const struct weir_module eager = {
    WEIR_MODULE_HEAD("eager", "1.0.0", "Writes to a port at once"),
    WEIR_HANDLERS({ .name = "eager", .hooks = WEIR_HOOKS(eager_hooks) }),
};

static const char *
wants_both(void *context, struct weir_str received)
{
    (void)context;
    static const char both[] = "data: 1\n\ndata: 2\n\n";
    return memmem(received.ptr, received.len, both, sizeof(both) - 1) == NULL
            ? "the events are not there"
            : NULL;
}

START_TEST(stands_torture)
{
    static const struct weir_module *const modules[] = { &eager };
    log_init(-1, LOG_ERROR);
    const struct torture torture = {
        .settings = { .config = "{ \"modules\": [\"eager\"], \"servers\": [{ \"listen\": "
                                "\"127.0.0.1:1\", \"routes\": [{ \"handle\": \"eager\" }] }] }",
                .modules = modules,
                .modules_count = 1 },
        .input = WEIR_STR(GET("/") GET("/")),
        .judge = wants_both,
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

static void
add_tests(TCase *tests)
{
    tcase_set_timeout(tests, unit_slow(60));
    tcase_add_test(tests, sends_what_is_written_as_it_comes);
    tcase_add_test(tests, answers_an_empty_body);
    tcase_add_test(tests, sends_no_body_to_a_head);
    tcase_add_test(tests, gives_credit_for_so_much);
    tcase_add_test(tests, takes_no_more_than_the_client_reads);
    tcase_add_test(tests, keeps_small_pieces_for_a_slow_client_cheaply);
    tcase_add_test(tests, takes_nothing_without_memory);
    tcase_add_loop_test(tests, says_that_nobody_reads, 0, 2);
    tcase_add_test(tests, does_not_say_so_after_the_end);
    tcase_add_loop_test(tests, is_gone_when_another_answer_takes_its_place, 0,
            sizeof(other_answers) / sizeof(other_answers[0]));
    tcase_add_test(tests, breaks_off_an_answer_that_is_given_up);
    tcase_add_loop_test(tests, tells_that_the_server_stops, 0, 2);
    tcase_add_test(tests, survives_its_loop);
    tcase_add_test(tests, refuses_to_open_where_nothing_can_be_written);
    tcase_add_test(tests, sends_what_many_threads_write);
    tcase_add_test(tests, wakes_those_who_wait_when_the_client_leaves);
    tcase_add_test(tests, waits_no_longer_than_it_is_told);
    tcase_add_test(tests, stands_torture);
}

UNIT_MAIN("module/port", add_tests)
