/* SPDX-License-Identifier: MIT */
/* Waiting in every phase of a request, in every way in which a wait can end: done, timed out,
 * aborted, busy. What an answer does while a reply-head hook waits, what filters that wait do
 * to the bytes, and all of it under torture. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <weir/filter.h>
#include <weir/offload.h>
#include <weir/reply.h>
#include <weir/request.h>
#include <weir/wait.h>

#include "event/mailbox.h"
#include "http/request.h"
#include "module/pools.h"
#include "module/wait.h"
#include "observe/log.h"
#include "support/failalloc.h"
#include "support/rig.h"
#include "support/unit.h"
#include "testkit/torture.h"

#define POST                                                               \
    "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" \
    "5\r\nhello\r\n0\r\n\r\n"
#define SEND(rig, literal) rig_send((rig), WEIR_STR(literal))

/* ---- a module that waits where it is told ------------------------------------------------ */

enum way {
    SUSPENDS, /* for the test */
    OFFLOADS,
    OFFLOADS_LONG, /* until the test lets go */
};

enum reply_deed {
    KEEPS,
    REPLACES_BEFORE, /* its wait */
    REPLACES_AFTER,
    REPLACES_BOTH,
    REPLACES_IN_PARTS, /* begins before, ends after */
    FAILS_AFTER,
    WAITS_TWICE,
};

static struct {
    enum weir_phase phase;
    enum way way;
    uint64_t timeout_ns;
    enum reply_deed deed;
    struct weir_token token;
    struct weir_request *request;
    unsigned called[CHAIN_PHASES]; /* its hooks, by phase */
    unsigned resumed, freed;
    enum weir_wake how;
    const char *payload;
    bool has_waited, is_endless;
    unsigned later; /* a hook behind the one that waits */
} script;

static void
count_free(void *payload)
{
    (void)payload;
    script.freed++;
}

static enum weir_verdict suspend(struct weir_request *request);

static enum weir_verdict
on_resume(struct weir_request *request, const void *conf, enum weir_wake how, void *payload)
{
    (void)conf;
    script.resumed++;
    script.how = how;
    script.payload = payload;
    if (how == WEIR_ABORTED) {
        struct weir_token token;
        ck_assert_int_eq(weir_suspend(request, on_resume, WEIR_WAIT_PRESET, &token),
                WEIR_FAILED);
        return WEIR_FAILED;
    }
    switch (script.deed) {
    case KEEPS:
    case REPLACES_BEFORE:
        break;
    case REPLACES_AFTER:
    case REPLACES_BOTH:
        return weir_reply_text(request, 203, WEIR_STR("text/plain"), WEIR_STR("after"));
    case REPLACES_IN_PARTS:
        return weir_reply_write(request, WEIR_STR(" and after")) == 10 ? WEIR_NEXT
                                                                       : WEIR_FAILED;
    case FAILS_AFTER:
        return WEIR_FAILED;
    case WAITS_TWICE:
        return script.resumed < 2 ? suspend(request) : WEIR_NEXT;
    }
    return WEIR_NEXT;
}

static enum weir_verdict
suspend(struct weir_request *request)
{
    script.request = request;
    return weir_suspend(request, on_resume, script.timeout_ns, &script.token);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void
run_work(void *data, void *thread_state)
{
    (void)thread_state;
    if (script.way == OFFLOADS_LONG) {
        pthread_mutex_lock(&gate);
        pthread_mutex_unlock(&gate);
    }
    *(int *)data = 42;
}

static enum weir_verdict
on_done(struct weir_request *request, const void *conf, enum weir_wake how, void *data)
{
    (void)request;
    (void)conf;
    script.resumed++;
    script.how = how;
    ck_assert(how != WEIR_WOKEN || *(int *)data == 42);
    return WEIR_NEXT;
}

static void
free_work(void *data)
{
    script.freed++;
    free(data);
}

static const struct weir_job job = { .run = run_work, .done = on_done, .free = free_work };

static enum weir_verdict
wait_somehow(struct weir_request *request)
{
    if (script.way == SUSPENDS) {
        return suspend(request);
    }
    int *data = calloc(1, sizeof(*data));
    ck_assert_ptr_nonnull(data);
    return weir_offload(request, &job, data, script.timeout_ns);
}

/* Waits once, in the phase that was asked for. */
static enum weir_verdict
on_phase(struct weir_request *request, enum weir_phase phase)
{
    script.called[phase]++;
    if (script.phase != phase || script.has_waited) {
        return WEIR_NEXT;
    }
    script.has_waited = !script.is_endless;
    if (script.deed == REPLACES_BEFORE || script.deed == REPLACES_BOTH) {
        ck_assert_int_eq(weir_reply_text(request, 203, WEIR_STR("text/plain"),
                                 WEIR_STR("before")),
                WEIR_DONE);
    } else if (script.deed == REPLACES_IN_PARTS) {
        ck_assert_int_eq(weir_reply_begin(request, 203), 0);
        ck_assert_int_eq(weir_reply_write(request, WEIR_STR("before")), 6);
        ck_assert_int_eq(weir_reply_wait(request, NULL), WEIR_FAILED);
    }
    return wait_somehow(request);
}

#define HOOK(name, phase)                                                         \
    static enum weir_verdict name(struct weir_request *request, const void *conf) \
    {                                                                             \
        (void)conf;                                                               \
        return on_phase(request, phase);                                          \
    }

HOOK(on_head, WEIR_ON_HEAD)
HOOK(on_rewrite, WEIR_ON_REWRITE)
HOOK(on_access, WEIR_ON_ACCESS)
HOOK(on_prepare, WEIR_ON_PREPARE)
HOOK(on_content, WEIR_ON_CONTENT)
HOOK(on_log, WEIR_ON_LOG)
#undef HOOK

static enum weir_verdict
on_reply(struct weir_request *request, const void *conf)
{
    (void)conf;
    if (script.phase == WEIR_ON_REPLY_BODY && weir_filter_enable(request) < 0) {
        return WEIR_FAILED;
    }
    return on_phase(request, WEIR_ON_REPLY_HEAD);
}

static enum weir_verdict
filter_as(struct weir_request *request, struct weir_filter *filter, enum weir_phase phase)
{
    enum weir_verdict verdict = on_phase(request, phase);
    if (verdict == WEIR_NEXT && weir_filter_input(filter).len > 0) {
        size_t len = weir_filter_input(filter).len;
        script.has_waited &= !script.is_endless;
        return weir_filter_pass(filter, len) < 0 ? WEIR_FAILED : WEIR_NEXT;
    }
    return verdict;
}

static enum weir_verdict
on_request_body(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    (void)conf;
    return filter_as(request, filter, WEIR_ON_REQUEST_BODY);
}

static enum weir_verdict
on_reply_body(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    (void)conf;
    return filter_as(request, filter, WEIR_ON_REPLY_BODY);
}

static enum weir_verdict
note_later(struct weir_request *request, const void *conf)
{
    (void)request;
    (void)conf;
    script.later++;
    return WEIR_NEXT;
}

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_HEAD, .request = on_head },
    { .on = WEIR_ON_REWRITE, .request = on_rewrite },
    { .on = WEIR_ON_ACCESS, .request = on_access },
    { .on = WEIR_ON_REQUEST_BODY, .filter = on_request_body },
    { .on = WEIR_ON_PREPARE, .request = on_prepare },
    { .on = WEIR_ON_CONTENT, .request = on_content },
    { .on = WEIR_ON_REPLY_HEAD, .request = on_reply },
    { .on = WEIR_ON_REPLY_BODY, .filter = on_reply_body },
    { .on = WEIR_ON_LOG, .request = on_log },
};

static const struct weir_hook later_hooks[] = {
    { .on = WEIR_ON_REPLY_HEAD, .request = note_later },
    { .on = WEIR_ON_LOG, .request = note_later },
};

static const struct weir_handler handlers[] = {
    { .name = "waits", .hooks = WEIR_HOOKS(hooks) },
    { .name = "later", .hooks = WEIR_HOOKS(later_hooks) },
};

static const enum weir_phase phases[] = { WEIR_ON_HEAD, WEIR_ON_REWRITE, WEIR_ON_ACCESS,
    WEIR_ON_REQUEST_BODY, WEIR_ON_PREPARE, WEIR_ON_CONTENT, WEIR_ON_REPLY_HEAD,
    WEIR_ON_REPLY_BODY, WEIR_ON_LOG };
#define PHASES (int)(sizeof(phases) / sizeof(phases[0]))

/* ---- its loop ---------------------------------------------------------------------------- */

static struct rig rig;
static struct mailbox *mailbox;
static struct wait_table *waits;
static struct pools *pools;

static void
begin_with(enum weir_phase phase, enum way way, const struct weir_handler *extra,
        unsigned count)
{
    static const struct site_pool pool = {
        .name = WEIR_STR_INIT("default"),
        .min = 1,
        .max = 1,
        .queue_size = 1,
        .queue_timeout_ns = 100 * NS_PER_S,
        .idle_timeout_ns = 100 * NS_PER_S,
    };
    static const struct site site = { .pools = &pool, .pools_count = 1 };
    memset(&script, 0, sizeof(script));
    script.phase = phase;
    script.way = way;
    rig_init(&rig, extra, count);
    ck_assert_int_eq(mailbox_new(rig.loop, &mailbox), 0);
    ck_assert_int_eq(wait_table_new(rig.loop, mailbox, &waits), 0);
    ck_assert_int_eq(pools_new(&site, NULL, &pools), 0);
    rig.map.waits = waits;
    rig.map.pools = pools;
    rig.settings.timeouts.wait_ns = 2 * NS_PER_S;
    rig_connect(&rig);
}

static void
begin(enum weir_phase phase, enum way way)
{
    begin_with(phase, way, handlers, 2);
}

static void
stop_pools(void)
{
    ck_assert(pools_stop(pools,
            clock_monotonic_ns(clock_system()) + (uint64_t)unit_slow(30) * NS_PER_S));
}

static void
end(void)
{
    if (rig.has_stream && !rig.stream.is_closed) {
        memory_stream_reset(&rig.stream);
        rig_settle(&rig);
    }
    course_stop(&rig.map);
    stop_pools();
    rig_settle(&rig);
    pools_free(pools);
    mailbox_free(mailbox);
    ck_assert_uint_eq(wait_table_count(waits), 0);
    wait_table_free(waits);
    rig_fini(&rig);
}

static struct rig_answer
only_answer(void)
{
    struct weir_str rest = rig_received(&rig);
    struct rig_answer answer = { 0 };
    ck_assert_msg(rig_next_answer(&rest, false, &answer), "%.*s",
            WEIR_STR_ARG(rig_received(&rig)));
    ck_assert_msg(rest.len == 0, "more: %.*s", WEIR_STR_ARG(rest));
    return answer;
}

static bool
has(struct weir_str text, const char *part)
{
    return text.len > 0 && memmem(text.ptr, text.len, part, strlen(part)) != NULL;
}

static void *
resume_from_thread(void *payload)
{
    return (void *)(uintptr_t)weir_resume(script.token, payload, count_free);
}

/* From another thread; true when it was the one that did. */
static bool
resume(void)
{
    static char payload[] = "payload";
    pthread_t thread;
    void *did;
    ck_assert_int_eq(pthread_create(&thread, NULL, resume_from_thread, payload), 0);
    ck_assert_int_eq(pthread_join(thread, &did), 0);
    rig_settle(&rig);
    return did != NULL;
}

/* ---- each phase, each end ---------------------------------------------------------------- */

START_TEST(goes_on_where_it_waited)
{
    enum weir_phase phase = phases[_i];
    begin(phase, SUSPENDS);
    SEND(&rig, POST);
    ck_assert_uint_eq(script.called[phase], 1);
    if (phase == WEIR_ON_LOG) {
        ck_assert(only_answer().is_complete); /* the client knows nothing of it */
        ck_assert_uint_eq(course_logs_kept(&rig.map), 1);
    } else {
        ck_assert_uint_eq(rig_received(&rig).len, 0);
    }
    ck_assert(resume());
    ck_assert(!resume());
    ck_assert_uint_eq(script.resumed, 1);
    ck_assert_int_eq(script.how, WEIR_WOKEN);
    ck_assert_str_eq(script.payload, "payload");
    struct rig_answer answer = only_answer();
    ck_assert_uint_eq(answer.status, 200);
    ck_assert(answer.is_complete && has(answer.body, "hello"));
    ck_assert(!rig.stream.is_closed);
    ck_assert_uint_eq(script.later, 2);
    ck_assert_uint_eq(course_logs_kept(&rig.map), 0);
    ck_assert_uint_eq(rig.engine.figures.requests_ended, 1);
    SEND(&rig, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"); /* and the connection serves on */
    ck_assert_uint_eq(script.later, 4);
    end();
}
END_TEST

START_TEST(goes_on_when_its_time_is_over)
{
    begin(phases[_i], SUSPENDS);
    script.timeout_ns = NS_PER_S;
    SEND(&rig, POST);
    rig_pass(&rig, 0.8);
    ck_assert_uint_eq(script.resumed, 0);
    rig_pass(&rig, 0.4);
    ck_assert_uint_eq(script.resumed, 1);
    ck_assert_int_eq(script.how, WEIR_TIMED_OUT);
    ck_assert(!resume());
    struct rig_answer answer = only_answer();
    ck_assert(answer.status == 200 && answer.is_complete && has(answer.body, "hello"));
    ck_assert_uint_eq(course_logs_dropped(&rig.map), 0);
    end();
}
END_TEST

START_TEST(is_aborted_once_when_its_request_ends)
{
    begin(phases[_i], SUSPENDS);
    SEND(&rig, POST);
    memory_stream_reset(&rig.stream);
    rig_settle(&rig);
    if (phases[_i] == WEIR_ON_LOG) {
        ck_assert_uint_eq(script.resumed, 0); /* the client's leaving is nothing to it */
        course_stop(&rig.map);
    }
    ck_assert_uint_eq(script.resumed, 1);
    ck_assert_int_eq(script.how, WEIR_ABORTED);
    ck_assert(!resume());
    ck_assert_uint_eq(script.freed, 1);
    ck_assert_uint_eq(script.called[WEIR_ON_LOG], 1);
    ck_assert_uint_eq(rig.engine.figures.requests_ended, 1);
    end();
    ck_assert_uint_eq(script.resumed, 1);
}
END_TEST

/* Resumed, but the loop hears of the end first. */
START_TEST(is_aborted_although_it_was_resumed)
{
    begin(phases[_i], SUSPENDS);
    SEND(&rig, POST);
    ck_assert(weir_resume(script.token, NULL, count_free));
    engine_stop(&rig.engine, true);
    if (phases[_i] == WEIR_ON_LOG) {
        course_stop(&rig.map);
    }
    ck_assert_uint_eq(script.resumed, 1);
    ck_assert_int_eq(script.how, WEIR_ABORTED);
    rig_settle(&rig);
    ck_assert_uint_eq(script.freed, 1);
    end();
    ck_assert_uint_eq(script.resumed, 1);
}
END_TEST

START_TEST(has_its_work_done)
{
    begin(phases[_i], OFFLOADS);
    SEND(&rig, POST);
    while (script.resumed == 0) {
        loop_turn(rig.loop, true);
    }
    rig_settle(&rig);
    ck_assert_int_eq(script.how, WEIR_WOKEN);
    ck_assert_uint_eq(script.freed, 1);
    struct rig_answer answer = only_answer();
    ck_assert(answer.status == 200 && answer.is_complete && has(answer.body, "hello"));
    end();
}
END_TEST

/* A module that does not care leaves it to the core: 503 with Retry-After. */
START_TEST(is_told_when_there_is_no_thread_for_it)
{
    begin(phases[_i], OFFLOADS);
    stop_pools();
    SEND(&rig, POST);
    ck_assert_uint_eq(script.resumed, 1);
    ck_assert_int_eq(script.how, WEIR_BUSY);
    ck_assert_uint_eq(script.freed, 1);
    struct rig_answer answer = only_answer();
    ck_assert(answer.is_complete);
    ck_assert_uint_eq(answer.status, phases[_i] == WEIR_ON_LOG ? 200 : 503);
    ck_assert((rig_field(answer.head, "retry-after").len == 1) != (phases[_i] == WEIR_ON_LOG));
    end();
}
END_TEST

START_TEST(is_told_when_its_work_takes_too_long)
{
    begin(phases[_i], OFFLOADS_LONG);
    pthread_mutex_lock(&gate);
    script.timeout_ns = NS_PER_S;
    SEND(&rig, POST);
    rig_pass(&rig, 1.2);
    ck_assert_uint_eq(script.resumed, 1);
    ck_assert_int_eq(script.how, WEIR_TIMED_OUT);
    struct rig_answer answer = only_answer();
    ck_assert(answer.is_complete);
    ck_assert_uint_eq(answer.status, phases[_i] == WEIR_ON_LOG ? 200 : 504);
    pthread_mutex_unlock(&gate);
    end();
    ck_assert_uint_eq(script.freed, 1);
    ck_assert_uint_eq(script.resumed, 1);
}
END_TEST

START_TEST(fails_after_its_wait)
{
    enum weir_phase phase = phases[_i];
    begin(phase, SUSPENDS);
    script.deed = FAILS_AFTER;
    SEND(&rig, POST);
    resume();
    struct rig_answer answer = only_answer();
    ck_assert(answer.is_complete);
    ck_assert_uint_eq(answer.status, phase == WEIR_ON_LOG ? 200 : 500);
    end();
}
END_TEST

START_TEST(waits_again_where_it_has_waited)
{
    begin(phases[_i], SUSPENDS);
    script.deed = WAITS_TWICE;
    SEND(&rig, POST);
    resume();
    ck_assert_uint_eq(script.resumed, 1);
    ck_assert(resume());
    ck_assert_uint_eq(script.resumed, 2);
    struct rig_answer answer = only_answer();
    ck_assert(answer.status == 200 && answer.is_complete && has(answer.body, "hello"));
    end();
}
END_TEST

/* ---- an answer that is held -------------------------------------------------------------- */

static const struct {
    enum reply_deed deed;
    unsigned status;
    const char *body;
} held_cases[] = {
    { KEEPS, 200, "hello" },
    { REPLACES_BEFORE, 203, "before" },
    { REPLACES_AFTER, 203, "after" },
    { REPLACES_BOTH, 203, "after" },
    { REPLACES_IN_PARTS, 203, "before and after" },
};

START_TEST(may_replace_the_answer_before_and_after_its_wait)
{
    begin(WEIR_ON_REPLY_HEAD, SUSPENDS);
    script.deed = held_cases[_i].deed;
    SEND(&rig, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    ck_assert_uint_eq(rig_received(&rig).len, 0);
    ck_assert(resume());
    struct rig_answer answer = only_answer();
    ck_assert_uint_eq(answer.status, held_cases[_i].status);
    ck_assert_msg(weir_str_eq(answer.body, weir_str_from(held_cases[_i].body)), "%.*s",
            WEIR_STR_ARG(answer.body));
    ck_assert_uint_eq(script.called[WEIR_ON_REPLY_HEAD], 1);
    ck_assert_uint_eq(script.later, 2);
    end();
}
END_TEST

/* The handler streams 20 MB: it goes on until there is no more room, and waits for some while
 * the hook waits for the test. */
START_TEST(holds_a_bounded_part_of_a_stream)
{
    begin(WEIR_ON_REPLY_HEAD, SUSPENDS);
    SEND(&rig, "POST /chunks/2000000 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    ck_assert_uint_eq(rig_received(&rig).len, 0);
    ck_assert_uint_gt(script.request->reply.queue.bytes, 0);
    ck_assert_uint_le(script.request->reply.queue.bytes, 1 << 20);
    ck_assert(resume());
    while (script.called[WEIR_ON_LOG] == 0) {
        rig_settle(&rig); /* a few megabytes a turn */
    }
    struct rig_answer answer = only_answer();
    ck_assert_uint_eq(answer.status, 200);
    ck_assert(answer.is_chunked && answer.is_complete);
    ck_assert_uint_ge(answer.body.len, 20000001);
    end();
}
END_TEST

/* Both wait, and the client leaves. */
START_TEST(ends_both_waits_of_a_stream_whose_client_left)
{
    begin(WEIR_ON_REPLY_HEAD, SUSPENDS);
    SEND(&rig, "POST /chunks/2000000 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    memory_stream_reset(&rig.stream);
    rig_settle(&rig);
    ck_assert_int_eq(script.how, WEIR_ABORTED);
    ck_assert_uint_eq(script.resumed, 1);
    ck_assert_uint_eq(rig.ended[REQUEST_END_CLIENT_LEFT], 1);
    end();
}
END_TEST

/* timeouts.request is over while it waits: the core's answer goes through the hooks, but not at
 * their leisure. */
START_TEST(waits_no_more_once_the_request_is_late)
{
    begin(WEIR_ON_REPLY_HEAD, SUSPENDS);
    script.is_endless = true;
    rig.settings.timeouts.wait_ns = 100 * NS_PER_S;
    rig.settings.timeouts.request_ns = 5 * NS_PER_S;
    SEND(&rig, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    rig_pass(&rig, 6.2);
    ck_assert_uint_eq(only_answer().status, 504);
    ck_assert_int_eq(script.how, WEIR_ABORTED);
    ck_assert_uint_eq(script.resumed, 1);
    ck_assert_uint_eq(script.called[WEIR_ON_REPLY_HEAD], 2);
    ck_assert_uint_eq(script.later, 2);
    end();
}
END_TEST

/* The answer's author waits too, and thinks of something else while the hook waits. */
static struct {
    struct weir_token token;
    enum weir_verdict then;
    bool begins_anew;
} author;

static enum weir_verdict
write_again(struct weir_request *request, const void *conf, enum weir_wake how, void *payload)
{
    (void)conf;
    (void)payload;
    if (how != WEIR_WOKEN) {
        return WEIR_FAILED;
    }
    if (author.begins_anew) {
        ck_assert_int_eq(weir_reply_begin(request, 202), 0);
        ck_assert_int_eq(weir_reply_write(request, WEIR_STR("new")), 3);
    }
    return author.then;
}

static enum weir_verdict
write_and_wait(struct weir_request *request, const void *conf)
{
    (void)conf;
    if (weir_reply_begin(request, 201) < 0 || weir_reply_write(request, WEIR_STR("old")) != 3) {
        return WEIR_FAILED;
    }
    return weir_suspend(request, write_again, WEIR_WAIT_PRESET, &author.token);
}

static const struct weir_hook author_hooks[] = {
    { .on = WEIR_ON_CONTENT, .request = write_and_wait },
};
static const struct weir_handler with_author[] = {
    { .name = "waits", .hooks = WEIR_HOOKS(hooks) },
    { .name = "author", .hooks = WEIR_HOOKS(author_hooks) },
    { .name = "later", .hooks = WEIR_HOOKS(later_hooks) },
};

static const struct {
    const char *why;
    bool begins_anew;
    enum weir_verdict then;
    unsigned status;
    const char *body;
    unsigned called; /* the hook that waits */
} author_cases[] = {
    { "it ends what it began", false, WEIR_DONE, 201, "old", 1 },
    { "it begins anew", true, WEIR_DONE, 202, "new", 2 },
    { "it fails", false, WEIR_FAILED, 500, "500", 2 },
    { "it steps back, and the next one answers", false, WEIR_NEXT, 200, "hello", 2 },
    { "it begins anew and steps back", true, WEIR_NEXT, 200, "hello", 2 },
};

START_TEST(sees_each_answer_that_its_author_thinks_of)
{
    memset(&author, 0, sizeof(author));
    author.begins_anew = author_cases[_i].begins_anew;
    author.then = author_cases[_i].then;
    begin_with(WEIR_ON_REPLY_HEAD, SUSPENDS, with_author, 3);
    SEND(&rig, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    ck_assert_uint_eq(script.called[WEIR_ON_REPLY_HEAD], 1);
    ck_assert_uint_eq(rig_received(&rig).len, 0);
    ck_assert(weir_resume(author.token, NULL, NULL));
    rig_settle(&rig);
    bool is_new = author_cases[_i].called == 2;
    unit_check(script.resumed == is_new, author_cases[_i].why);
    unit_check(!is_new || script.how == WEIR_ABORTED, author_cases[_i].why);
    unit_check(script.called[WEIR_ON_REPLY_HEAD] == author_cases[_i].called,
            author_cases[_i].why);
    if (!is_new) {
        ck_assert(resume());
    }
    struct rig_answer answer = only_answer();
    ck_assert_msg(answer.status == author_cases[_i].status, "%s: %u", author_cases[_i].why,
            answer.status);
    unit_check(answer.is_complete && has(answer.body, author_cases[_i].body),
            author_cases[_i].why);
    end();
}
END_TEST

/* What has left cannot be taken back. */
START_TEST(cuts_an_answer_that_its_author_steps_back_from)
{
    memset(&author, 0, sizeof(author));
    author.then = WEIR_NEXT;
    begin_with(WEIR_ON_LOG, OFFLOADS, with_author, 3);
    SEND(&rig, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    ck_assert(has(rig_received(&rig), "old"));
    ck_assert(weir_resume(author.token, NULL, NULL));
    rig_settle(&rig);
    struct rig_answer answer = only_answer();
    ck_assert(answer.status == 201 && !answer.is_complete);
    ck_assert(rig.stream.is_closed || rig.stream.is_shut_down);
    ck_assert_uint_eq(rig.ended[REQUEST_END_ANSWER_FAILED], 1);
    end();
}
END_TEST

/* ---- whoever waits for its client learns that it left ------------------------------------ */

static struct {
    unsigned calls;
    ssize_t said; /* by reading, or by writing */
} learnt;

static enum weir_verdict
read_on(struct weir_request *request, const void *conf)
{
    (void)conf;
    char bytes[10];
    learnt.calls++;
    while ((learnt.said = weir_body_read(request, bytes, sizeof(bytes))) > 0) {
    }
    return learnt.said == -EAGAIN ? weir_body_wait(request, read_on) : WEIR_FAILED;
}

static enum weir_verdict
write_on(struct weir_request *request, const void *conf)
{
    (void)conf;
    static const char block[4096] = "";
    learnt.calls++;
    do {
        learnt.said = weir_reply_write(request, weir_str_make(block, sizeof(block)));
    } while (learnt.said > 0);
    return learnt.said == -EAGAIN ? weir_reply_wait(request, write_on) : WEIR_FAILED;
}

static enum weir_verdict
learn(struct weir_request *request, const void *conf)
{
    if (weir_str_eq(weir_request_path(request), WEIR_STR("/read"))) {
        return read_on(request, conf);
    }
    return weir_reply_begin(request, 200) < 0 ? WEIR_FAILED : write_on(request, conf);
}

static const struct weir_hook learner_hooks[] = { { .on = WEIR_ON_CONTENT, .request = learn } };
static const struct weir_handler learner = { .name = "learner",
    .hooks = WEIR_HOOKS(learner_hooks) };

static const struct {
    const char *request;
    ssize_t said;
} leaving_cases[] = {
    { "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", -ECONNRESET },
    { "GET /write HTTP/1.1\r\nHost: a\r\n\r\n", -EPIPE },
};

START_TEST(learns_that_its_client_left)
{
    memset(&learnt, 0, sizeof(learnt));
    rig_init(&rig, &learner, 1);
    rig_connect(&rig);
    rig.stream.allowed_bytes = 100;
    rig_send(&rig, weir_str_from(leaving_cases[_i / 2].request));
    unsigned calls = learnt.calls;
    ck_assert_int_eq(learnt.said, -EAGAIN);
    if (_i % 2 == 0) {
        memory_stream_reset(&rig.stream);
    } else {
        engine_stop(&rig.engine, true); /* it might as well have */
    }
    rig_settle(&rig);
    ck_assert_uint_eq(learnt.calls, calls + 1);
    ck_assert_int_eq(learnt.said, leaving_cases[_i / 2].said);
    ck_assert_uint_eq(rig.engine.figures.requests_ended, 1);
    rig_fini(&rig);
}
END_TEST

/* ---- filters ----------------------------------------------------------------------------- */

static uint64_t
count_of(struct weir_str text, char c)
{
    uint64_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        count += text.ptr[i] == c;
    }
    return count;
}

/* It waits before every call, its client reads a little at a time, and nothing is lost. */
START_TEST(lets_a_filter_wait_again_and_again_for_a_slow_reader)
{
    begin(WEIR_ON_REPLY_BODY, SUSPENDS);
    script.is_endless = true;
    rig.stream.allowed_bytes = 100;
    SEND(&rig, "POST /chunks/20000 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    for (int i = 0; i < 3000 && script.called[WEIR_ON_LOG] == 0; i++) {
        script.has_waited = true; /* passes one run, and waits for the next */
        resume();
        memory_stream_allow(&rig.stream, 997);
        rig_settle(&rig);
    }
    struct rig_answer answer = only_answer();
    ck_assert(answer.is_complete && answer.is_chunked);
    ck_assert_uint_gt(script.resumed, 4);
    ck_assert_uint_ge(count_of(answer.body, '7'), 20000);
    end();
}
END_TEST

/* A body filter that waits stops its client, however much that wants to send. */
START_TEST(holds_a_bounded_part_of_a_body)
{
    begin(WEIR_ON_REQUEST_BODY, SUSPENDS);
    SEND(&rig, "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    static char block[100000];
    memset(block, 'b', sizeof(block));
    for (int i = 0; i < 10; i++) {
        rig_send(&rig, weir_str_make(block, sizeof(block)));
    }
    ck_assert_uint_eq(script.called[WEIR_ON_REQUEST_BODY], 1);
    ck_assert_uint_le(script.request->in.queue.bytes, 65536);
    ck_assert(resume());
    ck_assert(weir_str_eq(only_answer().body, WEIR_STR("1000000")));
    end();
}
END_TEST

/* ---- under torture ----------------------------------------------------------------------- */

/* A lookup in every phase, and a pause that nobody ends. */
static enum weir_verdict
looked_up(struct weir_request *request, const void *conf, enum weir_wake how, void *data)
{
    (void)request;
    (void)conf;
    return how == WEIR_WOKEN && *(int *)data != 42 ? WEIR_FAILED : WEIR_NEXT;
}

static void
look_up(void *data, void *thread_state)
{
    (void)thread_state;
    *(int *)data = 42;
}

static const struct weir_job look_up_job = { .run = look_up, .done = looked_up, .free = free };

static enum weir_verdict
look_up_hook(struct weir_request *request, const void *conf)
{
    (void)conf;
    int *data = calloc(1, sizeof(*data));
    return data == NULL ? WEIR_FAILED
                        : weir_offload(request, &look_up_job, data, WEIR_WAIT_PRESET);
}

struct steps {
    uint32_t request_body, reply_body;
};

/* Looks up before every other run that it passes. */
static enum weir_verdict
pass_patiently(struct weir_request *request, const void *conf, struct weir_filter *filter,
        uint32_t *step)
{
    if ((*step)++ % 2 == 0) {
        return look_up_hook(request, conf);
    }
    size_t len = weir_filter_input(filter).len;
    return weir_filter_pass(filter, len < 3 ? len : 3) < 0 ? WEIR_FAILED : WEIR_NEXT;
}

static enum weir_verdict
patient_request_body(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    struct steps *steps = weir_request_state(request);
    return pass_patiently(request, conf, filter, &steps->request_body);
}

static enum weir_verdict
patient_reply_body(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    struct steps *steps = weir_request_state(request);
    return pass_patiently(request, conf, filter, &steps->reply_body);
}

static enum weir_verdict
patient_reply(struct weir_request *request, const void *conf)
{
    return weir_filter_enable(request) < 0 ? WEIR_FAILED : look_up_hook(request, conf);
}

static enum weir_verdict
echo(struct weir_request *request, const void *conf)
{
    (void)conf;
    if (weir_reply_status(request) == 0 && weir_reply_begin(request, 200) < 0) {
        return WEIR_FAILED;
    }
    char bytes[7];
    ssize_t n;
    while ((n = weir_body_read(request, bytes, sizeof(bytes))) > 0) {
        if (weir_reply_write(request, weir_str_make(bytes, (size_t)n)) != n) {
            return WEIR_FAILED;
        }
    }
    return n == -EAGAIN ? weir_body_wait(request, echo) : n < 0 ? WEIR_FAILED : WEIR_DONE;
}

static const struct weir_hook patient_hooks[] = {
    { .on = WEIR_ON_HEAD, .request = look_up_hook },
    { .on = WEIR_ON_REWRITE, .request = look_up_hook },
    { .on = WEIR_ON_ACCESS, .request = look_up_hook },
    { .on = WEIR_ON_REQUEST_BODY, .filter = patient_request_body },
    { .on = WEIR_ON_PREPARE, .request = look_up_hook },
    { .on = WEIR_ON_CONTENT, .request = echo },
    { .on = WEIR_ON_REPLY_HEAD, .request = patient_reply },
    { .on = WEIR_ON_REPLY_BODY, .filter = patient_reply_body },
    { .on = WEIR_ON_LOG, .request = look_up_hook },
};

static const struct weir_module patient_module = {
    WEIR_MODULE_HEAD("patient", "1.0.0", "Waits in every phase"),
    WEIR_HANDLERS({ .name = "patient",
            .hooks = WEIR_HOOKS(patient_hooks),
            .state_bytes = sizeof(struct steps) }),
};

static const char *
wants_echo(void *context, struct weir_str received)
{
    (void)context;
    return has(received, "HTTP/1.1 200 OK") && count_of(received, 'w') == 1
            ? NULL
            : "the body is not echoed";
}

START_TEST(stands_torture_in_every_phase)
{
    static const struct weir_module *const modules[] = { &patient_module };
    static const char config[] =
            "{ \"modules\": [\"patient\"],"
            "  \"pools\": { \"default\": { \"min\": 1, \"max\": 1, \"queue_size\": 4 } },"
            "  \"defaults\": { \"timeouts\": { \"wait\": \"1s\" } },"
            "  \"servers\": [{ \"listen\": \"127.0.0.1:1\", \"use\": [\"patient\"],"
            "                  \"routes\": [{ \"handle\": \"patient\" }] }] }";
    log_init(-1, LOG_ERROR);
    struct torture torture = {
        .settings = { .config = config, .modules = modules, .modules_count = 1 },
        .input = WEIR_STR(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nhello, world"),
        .patience_ns = 20 * NS_PER_S,
        .judge = _i == 0 ? wants_echo : NULL,
        .fail_nth = _i == 0 ? NULL : failalloc_fail_nth,
        .has_failed = _i == 0 ? NULL : failalloc_has_failed,
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
    tcase_set_timeout(tests, unit_slow(120));
    tcase_add_loop_test(tests, goes_on_where_it_waited, 0, PHASES);
    tcase_add_loop_test(tests, goes_on_when_its_time_is_over, 0, PHASES);
    tcase_add_loop_test(tests, is_aborted_once_when_its_request_ends, 0, PHASES);
    tcase_add_loop_test(tests, is_aborted_although_it_was_resumed, 0, PHASES);
    tcase_add_loop_test(tests, has_its_work_done, 0, PHASES);
    tcase_add_loop_test(tests, is_told_when_there_is_no_thread_for_it, 0, PHASES);
    tcase_add_loop_test(tests, is_told_when_its_work_takes_too_long, 0, PHASES);
    tcase_add_loop_test(tests, fails_after_its_wait, 0, PHASES);
    tcase_add_loop_test(tests, waits_again_where_it_has_waited, 0, PHASES);
    tcase_add_loop_test(tests, may_replace_the_answer_before_and_after_its_wait, 0, 5);
    tcase_add_test(tests, holds_a_bounded_part_of_a_stream);
    tcase_add_test(tests, ends_both_waits_of_a_stream_whose_client_left);
    tcase_add_test(tests, waits_no_more_once_the_request_is_late);
    tcase_add_loop_test(tests, sees_each_answer_that_its_author_thinks_of, 0, 5);
    tcase_add_test(tests, cuts_an_answer_that_its_author_steps_back_from);
    tcase_add_loop_test(tests, learns_that_its_client_left, 0, 4);
    tcase_add_test(tests, lets_a_filter_wait_again_and_again_for_a_slow_reader);
    tcase_add_test(tests, holds_a_bounded_part_of_a_body);
    tcase_add_loop_test(tests, stands_torture_in_every_phase, 0, 2);
}

UNIT_MAIN("module/course_waits", add_tests)
