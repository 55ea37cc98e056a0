/* SPDX-License-Identifier: MIT */
/* Each replay is a testbed of its own, so that what one leaves behind cannot hide in the next.
 */
#include "testkit/torture.h"

#include <stdlib.h>
#include <string.h>

#include "testkit/answers.h"

#define RECEIVED_MAX (64u << 20)

/* Larger answers are not taken in portions of every size, but of these many. */
#define PORTIONS_MAX 200u

/* Turns of the loop after which the client goes, one replay each. */
#define ABORTS_MAX 200u

/* Of each direction, for the client's side, while allocations fail. */
#define RESERVED_BYTES (1u << 20)

/* Allocations that fail, one replay each. */
#define FAILURES_MAX 5000u

enum pools_are {
    POOLS_AS_EVER,
    POOLS_LATE,
    POOLS_BUSY
};

/* One way of replaying. */
struct replay {
    const char *what;
    size_t split;       /* 0: whole; SIZE_MAX: byte by byte */
    uint64_t portion;   /* the client takes so many bytes at a time; UINT64_MAX: all */
    uint64_t turns;     /* the client goes after so many turns; UINT64_MAX: it stays */
    bool goes_politely; /* by FIN */
    enum pools_are pools;
    uint64_t fail_nth; /* 0: no allocation fails */
};

#define UNDISTURBED                                                       \
    {                                                                     \
        .what = "undisturbed", .portion = UINT64_MAX, .turns = UINT64_MAX \
    }

static int
complain(struct buf *report, const struct replay *replay, const char *what)
{
    int r = buf_printf(report,
            "%s (split %zu, portion %llu, turns %llu, allocation %llu): %s\n", replay->what,
            replay->split, (unsigned long long)replay->portion,
            (unsigned long long)replay->turns, (unsigned long long)replay->fail_nth, what);
    (void)r; /* a report that does not fit is cut */
    return -1;
}

static int
hold_pools(struct testbed *testbed, enum pools_are pools)
{
    return pools == POOLS_AS_EVER ? 0 : testbed_hold(testbed, "default", pools == POOLS_BUSY);
}

static void
send_input(struct testbed *testbed, struct weir_str input, const struct replay *replay)
{
    if (replay->split == SIZE_MAX) {
        for (size_t i = 0; i < input.len; i++) {
            testbed_send(testbed, weir_str_make(input.ptr + i, 1));
        }
        return;
    }
    if (replay->split > 0) {
        testbed_send(testbed, weir_str_make(input.ptr, replay->split));
    }
    testbed_send(testbed, weir_str_make(input.ptr + replay->split, input.len - replay->split));
}

static void
play(struct testbed *testbed, const struct torture *torture, const struct replay *replay)
{
    if (replay->portion != UINT64_MAX) {
        testbed_limit(testbed, 0);
    }
    send_input(testbed, torture->input, replay);
    while (replay->portion != UINT64_MAX) {
        size_t before = testbed_received(testbed).len;
        testbed_allow(testbed, replay->portion);
        if (testbed_received(testbed).len == before) {
            testbed_pass(testbed, torture->patience_ns);
            if (testbed_received(testbed).len == before) {
                break;
            }
        }
    }
    testbed_pass(testbed, torture->patience_ns);
}

/* Only some turns, and then the client leaves. */
static void
play_until_gone(struct testbed *testbed, const struct torture *torture,
        const struct replay *replay)
{
    testbed_limit(testbed, replay->turns % 2 == 0 ? UINT64_MAX : 1);
    testbed_feed(testbed, torture->input);
    for (uint64_t i = 0; i < replay->turns; i++) {
        testbed_turn(testbed);
    }
    if (replay->goes_politely) {
        testbed_end(testbed);
    } else {
        testbed_reset(testbed);
    }
    testbed_pass(testbed, torture->patience_ns);
}

/* What is wrong with what the client received; NULL: nothing. What it says goes to *joined. */
static const char *
judge(const struct torture *torture, struct testbed *testbed, bool is_whole, struct buf *joined)
{
    struct weir_str received = testbed_received(testbed);
    switch (answers_read(received, testbed_is_over(testbed), joined)) {
    case ANSWERS_MALFORMED:
        return "what was received is not HTTP";
    case ANSWERS_CUT:
        if (is_whole) {
            return "an answer is not whole";
        }
        break;
    case ANSWERS_WHOLE:
        break;
    }
    return is_whole && torture->judge != NULL ? torture->judge(torture->context, received)
                                              : NULL;
}

/* Plays it; what the answers say goes to *joined. Returns 0, 1 when the allocation that was to
 * fail was not reached, or -1. */
static int
run(const struct torture *torture, const struct replay *replay, struct buf *report,
        struct buf *joined)
{
    struct testbed *testbed = NULL;
    if (testbed_new(&torture->settings, report, &testbed) < 0) {
        return complain(report, replay, "the server could not be made");
    }
    if (hold_pools(testbed, replay->pools) < 0) {
        testbed_free(testbed);
        return complain(report, replay, "the pool \"default\" could not be held");
    }
    bool is_connected = testbed_connect(testbed);
    if (replay->fail_nth > 0 && is_connected) {
        testbed_reserve(testbed, RESERVED_BYTES);
        torture->fail_nth(replay->fail_nth);
    }
    if (is_connected && replay->turns != UINT64_MAX) {
        play_until_gone(testbed, torture, replay);
    } else if (is_connected) {
        play(testbed, torture, replay);
    }
    bool has_failed = replay->fail_nth > 0 && torture->has_failed();
    if (replay->fail_nth > 0) {
        torture->fail_nth(0);
    }
    bool is_whole = replay->turns == UINT64_MAX && !has_failed &&
            replay->pools == POOLS_AS_EVER;
    const char *wrong = is_connected ? judge(torture, testbed, is_whole, joined) : NULL;
    if (!testbed_free(testbed) && wrong == NULL) {
        wrong = "something was left over";
    }
    if (wrong != NULL) {
        return complain(report, replay, wrong);
    }
    return replay->fail_nth > 0 && !has_failed ? 1 : 0;
}

/* The same where only its end matters. */
static int
run_through(const struct torture *torture, const struct replay *replay, struct buf *report)
{
    struct buf joined;
    buf_init(&joined, RECEIVED_MAX);
    int r = run(torture, replay, report, &joined);
    buf_fini(&joined);
    return r;
}

/* What was received now is what was received undisturbed. */
static int
run_same(const struct torture *torture, const struct replay *replay, struct buf *report,
        struct weir_str wanted)
{
    struct buf received;
    buf_init(&received, RECEIVED_MAX);
    int r = run(torture, replay, report, &received);
    struct weir_str got = buf_str(&received);
    if (r == 0 && !weir_str_eq(got, wanted)) {
        r = complain(report, replay, "other answers than undisturbed");
        int printed = buf_printf(report, "wanted: %.*s\ngot:    %.*s\n", WEIR_STR_ARG(wanted),
                WEIR_STR_ARG(got));
        (void)printed;
    }
    buf_fini(&received);
    return r;
}

static int
run_splits(const struct torture *torture, struct buf *report, struct weir_str wanted)
{
    struct replay replay = UNDISTURBED;
    replay.what = "split";
    int r = 0;
    for (size_t at = 1; r == 0 && at < torture->input.len; at++) {
        replay.split = at;
        r = run_same(torture, &replay, report, wanted);
    }
    replay.split = SIZE_MAX;
    return r < 0 ? r : run_same(torture, &replay, report, wanted);
}

static int
run_portions(const struct torture *torture, struct buf *report, struct weir_str wanted)
{
    struct replay replay = UNDISTURBED;
    replay.what = "portions";
    size_t step = wanted.len / PORTIONS_MAX + 1;
    int r = 0;
    for (size_t portion = 1; r == 0 && portion <= wanted.len; portion += step) {
        replay.portion = portion;
        r = run_same(torture, &replay, report, wanted);
    }
    return r;
}

static int
run_aborts(const struct torture *torture, struct buf *report)
{
    struct replay replay = UNDISTURBED;
    int r = 0;
    for (unsigned i = 0; r == 0 && i < ABORTS_MAX; i++) {
        replay.turns = i / 2;
        replay.goes_politely = i % 2 == 1;
        replay.what = replay.goes_politely ? "the client ends" : "the client is gone";
        r = run_through(torture, &replay, report);
    }
    return r;
}

static int
run_pools(const struct torture *torture, struct buf *report)
{
    struct replay replay = UNDISTURBED;
    replay.what = "the pool is late";
    replay.pools = POOLS_LATE;
    int r = run_through(torture, &replay, report);
    replay.what = "the pool is busy";
    replay.pools = POOLS_BUSY;
    return r < 0 ? r : run_through(torture, &replay, report);
}

static int
run_failures(const struct torture *torture, struct buf *report)
{
    struct replay replay = UNDISTURBED;
    replay.what = "out of memory";
    int r = 0;
    for (unsigned n = 1; r == 0 && torture->fail_nth != NULL && n <= FAILURES_MAX; n++) {
        replay.fail_nth = n;
        r = run_through(torture, &replay, report);
    }
    return r < 0 ? r : 0; /* 1: it got through */
}

int
torture_run(const struct torture *torture, struct buf *report)
{
    struct buf wanted;
    buf_init(&wanted, RECEIVED_MAX);
    const struct replay undisturbed = UNDISTURBED;
    int r = run(torture, &undisturbed, report, &wanted);
    struct weir_str all = buf_str(&wanted);
    if (r == 0 && all.len == 0) {
        r = complain(report, &undisturbed, "nothing was answered");
    }
    if (r == 0) {
        r = run_splits(torture, report, all);
    }
    if (r == 0) {
        r = run_portions(torture, report, all);
    }
    if (r == 0) {
        r = run_aborts(torture, report);
    }
    if (r == 0) {
        r = run_pools(torture, report);
    }
    if (r == 0) {
        r = run_failures(torture, report);
    }
    buf_fini(&wanted);
    return r;
}
