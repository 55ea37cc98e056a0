/* SPDX-License-Identifier: MIT */
/* Hooks that wait: resumed from any thread, timed out, aborted, and work on pool threads. */
#include "module/wait.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <weir/offload.h>
#include <weir/reply.h>
#include <weir/request.h>

#include "event/mailbox.h"
#include "http/request.h"
#include "module/pools.h"
#include "support/rig.h"
#include "support/unit.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

/* What the waiting hook did last; one test at a time in a process of its own. */
static struct weir_token token;
static unsigned resumed, freed;
static enum weir_wake last_how;

static void
count_free(void *payload)
{
    (void)payload;
    freed++;
}

static enum weir_verdict
on_resume(struct weir_request *request, const void *conf, enum weir_wake how, void *payload)
{
    (void)conf;
    resumed++;
    last_how = how;
    switch (how) {
    case WEIR_WOKEN:
        return weir_reply_text(request, 200, WEIR_STR("text/plain"),
                weir_str_from(payload == NULL ? "none" : payload));
    case WEIR_TIMED_OUT:
        return weir_reply_error(request, 504);
    case WEIR_ABORTED:
    case WEIR_BUSY:
        break;
    }
    return WEIR_FAILED;
}

/* ---- offloaded work ---- */

struct work {
    sem_t *gate; /* run() waits for it; NULL: at once */
    unsigned result;
};

static atomic_uint ran;
static unsigned done_calls;

static void
run_work(void *data, void *thread_state)
{
    ck_assert_ptr_null(thread_state);
    struct work *work = data;
    if (work->gate != NULL) {
        sem_wait(work->gate);
    }
    work->result = 42;
    atomic_fetch_add(&ran, 1);
}

static enum weir_verdict
on_done(struct weir_request *request, const void *conf, enum weir_wake how, void *data)
{
    (void)conf;
    done_calls++;
    last_how = how;
    if (how == WEIR_WOKEN) {
        const struct work *work = data;
        return weir_reply_text(request, 200, WEIR_STR("text/plain"),
                work->result == 42 ? WEIR_STR("done") : WEIR_STR("wrong"));
    }
    ck_assert(how == WEIR_BUSY || data == NULL);
    return WEIR_NEXT;
}

static void
free_work(void *data)
{
    free(data);
    freed++;
}

static const struct weir_job job = { .run = run_work, .done = on_done, .free = free_work };
static sem_t gate;

static enum weir_verdict
offload(struct weir_request *request, bool is_gated)
{
    struct work *work = calloc(1, sizeof(*work));
    ck_assert_ptr_nonnull(work);
    work->gate = is_gated ? &gate : NULL;
    return weir_offload(request, &job, work, is_gated ? 5 * NS_PER_S : WEIR_WAIT_PRESET);
}

static enum weir_verdict
waiting_hook(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct weir_str path = weir_request_path(request);
    if (weir_str_eq(path, WEIR_STR("/wait"))) {
        return weir_suspend(request, on_resume, WEIR_WAIT_PRESET, &token);
    }
    if (weir_str_eq(path, WEIR_STR("/wait-2s"))) {
        return weir_suspend(request, on_resume, 2 * NS_PER_S, &token);
    }
    if (weir_str_eq(path, WEIR_STR("/work"))) {
        return offload(request, false);
    }
    if (weir_str_eq(path, WEIR_STR("/gated"))) {
        return offload(request, true);
    }
    return WEIR_NEXT;
}

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_ACCESS, .request = waiting_hook },
};

static const struct weir_handler handler = { .name = "waits", .hooks = WEIR_HOOKS(hooks) };

struct waiting_rig {
    struct rig rig;
    struct mailbox *mailbox;
    struct wait_table *waits;
    struct pools *pools;
};

static void
init(struct waiting_rig *w)
{
    static const struct site_pool pool = {
        .name = WEIR_STR_INIT("default"),
        .min = 1,
        .max = 2,
        .queue_size = 1,
        .queue_timeout_ns = 100 * NS_PER_S,
        .idle_timeout_ns = 100 * NS_PER_S,
    };
    static const struct site site = { .pools = &pool, .pools_count = 1 };
    rig_init(&w->rig, &handler, 1);
    ck_assert_int_eq(sem_init(&gate, 0, 0), 0);
    ck_assert_int_eq(mailbox_new(w->rig.loop, &w->mailbox), 0);
    ck_assert_int_eq(wait_table_new(w->rig.loop, w->mailbox, &w->waits), 0);
    ck_assert_int_eq(pools_new(&site, NULL, &w->pools), 0);
    w->rig.map.waits = w->waits;
    w->rig.map.pools = w->pools;
}

static void
fini(struct waiting_rig *w)
{
    /* Connections first: what waits is aborted; then what threads still hold comes back. */
    if (w->rig.has_stream && !w->rig.stream.is_closed) {
        memory_stream_reset(&w->rig.stream);
        rig_settle(&w->rig);
    }
    ck_assert(pools_stop(w->pools,
            clock_monotonic_ns(clock_system()) + (uint64_t)unit_slow(30) * NS_PER_S));
    rig_settle(&w->rig);
    pools_free(w->pools);
    mailbox_free(w->mailbox);
    ck_assert_uint_eq(wait_table_count(w->waits), 0);
    wait_table_free(w->waits);
    rig_fini(&w->rig);
}

static unsigned
status_of(struct waiting_rig *w)
{
    struct weir_str rest = rig_received(&w->rig);
    struct rig_answer answer;
    return rig_next_answer(&rest, false, &answer) ? answer.status : 0;
}

/* Turns until the connection has received something; pool threads work meanwhile. */
static void
await_answer(struct waiting_rig *w)
{
    while (rig_received(&w->rig).len == 0) {
        loop_turn(w->rig.loop, true);
    }
}

START_TEST(resumes_once_with_its_payload)
{
    struct waiting_rig w;
    init(&w);
    rig_connect(&w.rig);
    rig_send(&w.rig, WEIR_STR(GET("/wait")));
    ck_assert_uint_eq(rig_received(&w.rig).len, 0);
    struct weir_token first = token;
    static char payload[] = "hello";
    ck_assert(weir_resume(token, payload, NULL));
    ck_assert(!weir_resume(token, payload, count_free)); /* a second one frees its payload */
    ck_assert_uint_eq(freed, 1);
    rig_settle(&w.rig);
    ck_assert_uint_eq(status_of(&w), 200);
    ck_assert_uint_eq(resumed, 1);
    ck_assert(!weir_resume(first, payload, count_free)); /* a late one too */
    ck_assert_uint_eq(freed, 2);

    /* The slot is used again, and the old token is still stale. */
    rig_send(&w.rig, WEIR_STR(GET("/wait")));
    ck_assert_ptr_eq(token.slot, first.slot);
    ck_assert(!weir_resume(first, NULL, NULL));
    ck_assert(weir_resume(token, NULL, NULL));
    rig_settle(&w.rig);
    ck_assert_uint_eq(resumed, 2);
    fini(&w);
}
END_TEST

START_TEST(ignores_a_token_that_is_none)
{
    ck_assert(!weir_resume((struct weir_token){ 0 }, NULL, count_free));
    ck_assert_uint_eq(freed, 1);
}
END_TEST

START_TEST(times_out_at_its_deadline)
{
    struct waiting_rig w;
    init(&w);
    rig_connect(&w.rig);
    rig_send(&w.rig, WEIR_STR(GET("/wait-2s")));
    rig_pass(&w.rig, 1.8);
    ck_assert_uint_eq(resumed, 0);
    rig_pass(&w.rig, 0.4);
    ck_assert_uint_eq(resumed, 1);
    ck_assert_int_eq(last_how, WEIR_TIMED_OUT);
    ck_assert_uint_eq(status_of(&w), 504);
    ck_assert(!weir_resume(token, NULL, count_free));
    ck_assert_uint_eq(freed, 1);
    fini(&w);
}
END_TEST

START_TEST(never_waits_longer_than_timeouts_wait)
{
    struct waiting_rig w;
    init(&w);
    w.rig.settings.timeouts.wait_ns = NS_PER_S;
    rig_connect(&w.rig);
    rig_send(&w.rig, WEIR_STR(GET("/wait-2s")));
    rig_pass(&w.rig, 1.2);
    ck_assert_int_eq(last_how, WEIR_TIMED_OUT);
    ck_assert_uint_eq(status_of(&w), 504);
    fini(&w);
}
END_TEST

START_TEST(is_aborted_when_the_client_leaves)
{
    struct waiting_rig w;
    init(&w);
    rig_connect(&w.rig);
    rig_send(&w.rig, WEIR_STR(GET("/wait")));
    memory_stream_reset(&w.rig.stream);
    rig_settle(&w.rig);
    ck_assert_uint_eq(resumed, 1);
    ck_assert_int_eq(last_how, WEIR_ABORTED);
    ck_assert(!weir_resume(token, NULL, count_free));
    ck_assert_uint_eq(freed, 1);
    ck_assert_uint_eq(wait_table_count(w.waits), 0);
    fini(&w);
}
END_TEST

START_TEST(frees_the_payload_when_the_request_ends_first)
{
    struct waiting_rig w;
    init(&w);
    rig_connect(&w.rig);
    rig_send(&w.rig, WEIR_STR(GET("/wait")));
    static char payload[] = "late";
    /* Both before the loop turns: the letter is under way when the request ends. */
    ck_assert(weir_resume(token, payload, count_free));
    memory_stream_reset(&w.rig.stream);
    rig_settle(&w.rig);
    ck_assert_uint_eq(resumed, 1);
    /* Whichever the loop saw first: the payload was delivered, or it was freed. */
    ck_assert(last_how == WEIR_WOKEN || (last_how == WEIR_ABORTED && freed == 1));
    ck_assert_uint_eq(wait_table_count(w.waits), 0);
    fini(&w);
}
END_TEST

static atomic_uint winners;

static void *
race(void *argument)
{
    const struct weir_token *shared = argument;
    if (weir_resume(*shared, NULL, NULL)) {
        atomic_fetch_add(&winners, 1);
    }
    return NULL;
}

START_TEST(is_resumed_by_one_of_many_threads)
{
    struct waiting_rig w;
    init(&w);
    rig_connect(&w.rig);
    for (int round = 0; round < 50; round++) {
        rig_send(&w.rig, WEIR_STR(GET("/wait")));
        atomic_store(&winners, 0);
        pthread_t threads[4];
        for (int i = 0; i < 4; i++) {
            ck_assert_int_eq(pthread_create(&threads[i], NULL, race, &token), 0);
        }
        for (int i = 0; i < 4; i++) {
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        }
        rig_settle(&w.rig);
        ck_assert_uint_eq(atomic_load(&winners), 1);
        ck_assert_uint_eq(resumed, (unsigned)round + 1);
    }
    fini(&w);
}
END_TEST

START_TEST(works_on_a_pool_thread)
{
    struct waiting_rig w;
    init(&w);
    rig_connect(&w.rig);
    rig_send(&w.rig, WEIR_STR(GET("/work")));
    await_answer(&w);
    ck_assert_uint_eq(status_of(&w), 200);
    ck_assert_uint_eq(atomic_load(&ran), 1);
    ck_assert_uint_eq(done_calls, 1);
    ck_assert_uint_eq(freed, 1);
    fini(&w);
}
END_TEST

START_TEST(answers_504_when_the_work_takes_too_long)
{
    struct waiting_rig w;
    init(&w);
    rig_connect(&w.rig);
    rig_send(&w.rig, WEIR_STR(GET("/gated")));
    rig_pass(&w.rig, 5.2);
    ck_assert_int_eq(last_how, WEIR_TIMED_OUT);
    ck_assert_uint_eq(status_of(&w), 504);
    ck_assert_uint_le(freed, 1); /* its data is its thread's until that returns */
    sem_post(&gate);
    fini(&w);
    ck_assert_uint_eq(freed, 1);
    ck_assert_uint_eq(done_calls, 1);
}
END_TEST

START_TEST(lets_the_thread_finish_when_the_client_leaves)
{
    struct waiting_rig w;
    init(&w);
    rig_connect(&w.rig);
    rig_send(&w.rig, WEIR_STR(GET("/gated")));
    memory_stream_reset(&w.rig.stream);
    rig_settle(&w.rig);
    ck_assert_int_eq(last_how, WEIR_ABORTED);
    sem_post(&gate);
    fini(&w);
    ck_assert_uint_eq(freed, 1);
    ck_assert_uint_eq(done_calls, 1);
}
END_TEST

START_TEST(needs_a_table_to_suspend_in)
{
    struct waiting_rig w;
    init(&w);
    w.rig.map.waits = NULL;
    w.rig.map.pools = NULL;
    rig_connect(&w.rig);
    rig_send(&w.rig, WEIR_STR(GET("/wait")));
    ck_assert_uint_eq(status_of(&w), 500);
    rig_connect(&w.rig);
    rig_send(&w.rig, WEIR_STR(GET("/work")));
    ck_assert_uint_eq(status_of(&w), 500);
    ck_assert_uint_eq(freed, 1); /* the data, all the same */
    fini(&w);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, resumes_once_with_its_payload);
    tcase_add_test(tests, ignores_a_token_that_is_none);
    tcase_add_test(tests, times_out_at_its_deadline);
    tcase_add_test(tests, never_waits_longer_than_timeouts_wait);
    tcase_add_test(tests, is_aborted_when_the_client_leaves);
    tcase_add_test(tests, frees_the_payload_when_the_request_ends_first);
    tcase_add_test(tests, is_resumed_by_one_of_many_threads);
    tcase_add_test(tests, works_on_a_pool_thread);
    tcase_add_test(tests, answers_504_when_the_work_takes_too_long);
    tcase_add_test(tests, lets_the_thread_finish_when_the_client_leaves);
    tcase_add_test(tests, needs_a_table_to_suspend_in);
}

UNIT_MAIN("module/wait", add_tests)
