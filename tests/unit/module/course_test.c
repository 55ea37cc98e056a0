/* SPDX-License-Identifier: MIT */
/* A request's course through the phases: who is asked in which order, what each verdict does in
 * each phase, answers that are replaced, filters on both bodies, and how it ends. Over HTTP/1
 * on a memory stream. */
#include "module/course.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include <weir/filter.h>
#include <weir/reply.h>
#include <weir/request.h>

#include "support/rig.h"
#include "support/unit.h"

#define GET "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

#define SEND(rig, literal) rig_send((rig), WEIR_STR(literal))
#define ROWS(cases)        (int)(sizeof(cases) / sizeof((cases)[0]))

/* ---- a module that does as it is told ---------------------------------------------------- */

enum deed {
    NOTHING,
    ANSWER,        /* a whole answer, WEIR_DONE */
    ANSWER_OPEN,   /* begins and writes, says WEIR_DONE, never ends */
    ANSWER_NEXT,   /* a whole answer, but says WEIR_NEXT */
    BEGIN_NEXT,    /* begins and writes, says WEIR_NEXT */
    REPLACE_OPEN,  /* begins, does not end, says WEIR_NEXT */
    LIE,           /* WEIR_DONE without an answer */
    FAIL,          /* WEIR_FAILED */
    BEGIN_FAIL,    /* begins, then WEIR_FAILED */
    PEND,          /* WEIR_PENDING, waits for nothing */
    WAIT,          /* for the test, then WEIR_NEXT */
    WAIT_FAIL,     /* for the test, then WEIR_FAILED */
    WAIT_NEXT,     /* waits for the test, but says WEIR_NEXT */
    WAIT_TWICE,    /* asks for a second wait */
    WAIT_BUSILY,   /* waits again and again for what is there */
    STREAM,        /* begins, writes, waits for the test, writes, ends */
    STREAM_FAIL,   /* begins, writes, waits for the test, fails */
    INJECT,        /* a field that would split the answer */
    BAD_LENGTH,    /* a Content-Length that is no number */
    FILTER,        /* switches its body filter on */
    FILTER_ANSWER, /* the same, and then a new answer */
    DIRECT,        /* 407 with a code of its own */
    TAGGED,        /* a declared length, a validator, ranges */
};

static struct {
    enum deed deeds[3][CHAIN_PHASES]; /* of handler a, b, c */
    char story[512];                  /* who was called, in order */
    struct course_wait wait;
    struct weir_request *waiting;
    unsigned abandoned;
    enum request_end end;
    unsigned status_at_log;
    const char *etag;
    weir_filter_fn *body_filter, *reply_filter;
} script;

static void
tell(unsigned who, const char *what)
{
    size_t at = strlen(script.story);
    snprintf(script.story + at, sizeof(script.story) - at, "%c.%s ", 'a' + (char)who, what);
}

static void
abandon(struct course_wait *wait)
{
    (void)wait;
    script.abandoned++;
    script.waiting = NULL;
}

static enum weir_verdict
wait_for_test(struct weir_request *request, weir_request_fn *resume)
{
    script.waiting = request;
    script.wait.abandon = abandon;
    return course_wait_for(request, &script.wait, resume);
}

static enum weir_verdict
go_on(struct weir_request *request, const void *conf)
{
    (void)request;
    (void)conf;
    return WEIR_NEXT;
}

static enum weir_verdict
fail_now(struct weir_request *request, const void *conf)
{
    (void)request;
    (void)conf;
    return WEIR_FAILED;
}

static enum weir_verdict
wait_busily(struct weir_request *request, const void *conf)
{
    (void)conf;
    return weir_reply_wait(request, wait_busily);
}

static enum weir_verdict
stream_on(struct weir_request *request, const void *conf)
{
    (void)conf;
    if (weir_reply_write(request, WEIR_STR(" and more")) != 9) {
        return WEIR_FAILED;
    }
    weir_reply_end(request);
    return WEIR_DONE;
}

static bool
begin(struct weir_request *request, struct weir_str text)
{
    return weir_reply_begin(request, 203) == 0 &&
            weir_reply_write(request, text) == (ssize_t)text.len;
}

static enum weir_verdict
do_deed(struct weir_request *request, enum deed deed, char name)
{
    char text[2] = { name, '\0' };
    int r;
    switch (deed) {
    case NOTHING:
        return WEIR_NEXT;
    case ANSWER:
        return weir_reply_text(request, 203, WEIR_STR("text/plain"), weir_str_make(text, 1));
    case ANSWER_OPEN:
        return begin(request, weir_str_make(text, 1)) ? WEIR_DONE : WEIR_FAILED;
    case ANSWER_NEXT:
        return weir_reply_text(request, 203, WEIR_STR("text/plain"), weir_str_make(text, 1)) ==
                        WEIR_DONE
                ? WEIR_NEXT
                : WEIR_FAILED;
    case BEGIN_NEXT:
    case REPLACE_OPEN:
        return begin(request, weir_str_make(text, 1)) ? WEIR_NEXT : WEIR_FAILED;
    case LIE:
        return WEIR_DONE;
    case FAIL:
        return WEIR_FAILED;
    case BEGIN_FAIL:
        (void)begin(request, weir_str_make(text, 1));
        return WEIR_FAILED;
    case PEND:
        return WEIR_PENDING;
    case WAIT:
        return wait_for_test(request, go_on);
    case WAIT_FAIL:
        return wait_for_test(request, fail_now);
    case WAIT_NEXT:
        return wait_for_test(request, go_on) == WEIR_PENDING ? WEIR_NEXT : WEIR_FAILED;
    case WAIT_TWICE:
        return wait_for_test(request, go_on) == WEIR_PENDING &&
                        weir_reply_wait(request, go_on) == WEIR_FAILED
                ? WEIR_PENDING
                : WEIR_FAILED;
    case WAIT_BUSILY:
        return wait_busily(request, NULL);
    case STREAM:
        return begin(request, WEIR_STR("some")) ? wait_for_test(request, stream_on)
                                                : WEIR_FAILED;
    case STREAM_FAIL:
        return begin(request, WEIR_STR("some")) ? wait_for_test(request, fail_now)
                                                : WEIR_FAILED;
    case INJECT:
        r = weir_reply_add(request, WEIR_STR("X-A"), WEIR_STR("b\r\nX-B: c"));
        ck_assert_int_eq(r, -EINVAL);
        return WEIR_NEXT;
    case BAD_LENGTH:
        r = weir_reply_set(request, WEIR_STR("Content-Length"), WEIR_STR("5, 5"));
        ck_assert_int_eq(r, -EINVAL);
        return WEIR_NEXT;
    case FILTER:
        return weir_filter_enable(request) == 0 &&
                        weir_reply_add(request, WEIR_STR("Content-Encoding"),
                                WEIR_STR("upper")) == 0
                ? WEIR_NEXT
                : WEIR_FAILED;
    case FILTER_ANSWER:
        ck_assert_int_eq(weir_filter_enable(request), 0);
        return do_deed(request, ANSWER_NEXT, name);
    case DIRECT:
        return weir_reply_error(request, 407);
    case TAGGED:
        if (!begin(request, WEIR_STR("tagged")) || weir_reply_length(request, 6) < 0 ||
                weir_reply_add(request, WEIR_STR("ETag"), weir_str_from(script.etag)) < 0 ||
                weir_reply_add(request, WEIR_STR("Accept-Ranges"), WEIR_STR("bytes")) < 0) {
            return WEIR_FAILED;
        }
        return WEIR_DONE;
    }
    return WEIR_FAILED;
}

static enum weir_verdict
on_phase(struct weir_request *request, unsigned who, enum weir_phase phase)
{
    static const char *const short_names[] = { "", "", "", "head", "rewrite", "access", "",
        "prepare", "content", "reply", "", "log" };
    if (phase == WEIR_ON_LOG) {
        script.end = request->end;
        script.status_at_log = weir_reply_status(request);
    }
    tell(who, short_names[phase]);
    return do_deed(request, script.deeds[who][phase], (char)('a' + (char)who));
}

/* Upper case. */
static enum weir_verdict
shout(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    (void)request;
    (void)conf;
    struct weir_str input = weir_filter_input(filter);
    size_t done = 0;
    for (; done < input.len && weir_filter_room(filter) > 0; done++) {
        char c = input.ptr[done];
        c = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
        if (weir_filter_write(filter, weir_str_make(&c, 1)) < 0) {
            return WEIR_FAILED;
        }
    }
    weir_filter_consume(filter, done);
    return WEIR_NEXT;
}

/* Sees everything before it says anything, and then says how much it was. */
static enum weir_verdict
gather_all(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    (void)request;
    (void)conf;
    struct weir_str input = weir_filter_input(filter);
    if (!weir_filter_is_last(filter)) {
        return weir_filter_want(filter, (uint32_t)input.len + 1) < 0 ? WEIR_FAILED : WEIR_NEXT;
    }
    char text[32];
    int len = snprintf(text, sizeof(text), "%zu bytes", input.len);
    weir_filter_consume(filter, input.len);
    return weir_filter_write(filter, weir_str_make(text, (size_t)len)) < 0 ? WEIR_FAILED
                                                                           : WEIR_DONE;
}

static enum weir_verdict
do_nothing(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    (void)request;
    (void)conf;
    (void)filter;
    return WEIR_NEXT;
}

static enum weir_verdict
break_down(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    (void)request;
    (void)conf;
    (void)filter;
    return WEIR_FAILED;
}

/* Lets the first four bytes through and then breaks down. */
static enum weir_verdict
break_down_later(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    (void)request;
    (void)conf;
    struct weir_str input = weir_filter_input(filter);
    static size_t passed;
    if (passed >= 4 || input.len == 0) {
        passed = 0;
        return WEIR_FAILED;
    }
    size_t len = input.len < 4 ? input.len : 4;
    passed += len;
    return weir_filter_pass(filter, len) < 0 ? WEIR_FAILED : WEIR_NEXT;
}

static enum weir_verdict
call_body_filter(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    return script.body_filter == NULL ? WEIR_DONE : script.body_filter(request, conf, filter);
}

static enum weir_verdict
call_reply_filter(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    return script.reply_filter(request, conf, filter);
}

#define PHASE_FUNCTIONS(who, index)                                                        \
    static enum weir_verdict who##_head(struct weir_request *request, const void *conf)    \
    {                                                                                      \
        (void)conf;                                                                        \
        return on_phase(request, index, WEIR_ON_HEAD);                                     \
    }                                                                                      \
    static enum weir_verdict who##_rewrite(struct weir_request *request, const void *conf) \
    {                                                                                      \
        (void)conf;                                                                        \
        return on_phase(request, index, WEIR_ON_REWRITE);                                  \
    }                                                                                      \
    static enum weir_verdict who##_access(struct weir_request *request, const void *conf)  \
    {                                                                                      \
        (void)conf;                                                                        \
        return on_phase(request, index, WEIR_ON_ACCESS);                                   \
    }                                                                                      \
    static enum weir_verdict who##_prepare(struct weir_request *request, const void *conf) \
    {                                                                                      \
        (void)conf;                                                                        \
        return on_phase(request, index, WEIR_ON_PREPARE);                                  \
    }                                                                                      \
    static enum weir_verdict who##_content(struct weir_request *request, const void *conf) \
    {                                                                                      \
        (void)conf;                                                                        \
        return on_phase(request, index, WEIR_ON_CONTENT);                                  \
    }                                                                                      \
    static enum weir_verdict who##_reply(struct weir_request *request, const void *conf)   \
    {                                                                                      \
        (void)conf;                                                                        \
        return on_phase(request, index, WEIR_ON_REPLY_HEAD);                               \
    }                                                                                      \
    static enum weir_verdict who##_log(struct weir_request *request, const void *conf)     \
    {                                                                                      \
        (void)conf;                                                                        \
        return on_phase(request, index, WEIR_ON_LOG);                                      \
    }                                                                                      \
    static const struct weir_hook who##_hooks[] = {                                        \
        { .on = WEIR_ON_HEAD, .request = who##_head },                                     \
        { .on = WEIR_ON_REWRITE, .request = who##_rewrite },                               \
        { .on = WEIR_ON_ACCESS, .request = who##_access },                                 \
        { .on = WEIR_ON_REQUEST_BODY, .filter = call_body_filter },                        \
        { .on = WEIR_ON_PREPARE, .request = who##_prepare },                               \
        { .on = WEIR_ON_CONTENT, .request = who##_content },                               \
        { .on = WEIR_ON_REPLY_HEAD, .request = who##_reply },                              \
        { .on = WEIR_ON_REPLY_BODY, .filter = call_reply_filter },                         \
        { .on = WEIR_ON_LOG, .request = who##_log },                                       \
    };

PHASE_FUNCTIONS(a, 0)
PHASE_FUNCTIONS(b, 1)
#undef PHASE_FUNCTIONS

static const struct weir_handler handlers[] = {
    { .name = "a", .hooks = WEIR_HOOKS(a_hooks), .state_bytes = 24 },
    { .name = "b", .hooks = WEIR_HOOKS(b_hooks), .state_bytes = 7 },
};

static struct rig *
new_rig(void)
{
    static struct rig rig;
    memset(&script, 0, sizeof(script));
    script.reply_filter = shout;
    rig_init(&rig, handlers, 2);
    rig_connect(&rig);
    return &rig;
}

static struct rig_answer
only_answer(const struct rig *rig)
{
    struct weir_str rest = rig_received(rig);
    struct rig_answer answer = { 0 };
    ck_assert_msg(rig_next_answer(&rest, false, &answer), "%.*s",
            WEIR_STR_ARG(rig_received(rig)));
    ck_assert_msg(rest.len == 0, "more than one answer: %.*s", WEIR_STR_ARG(rig_received(rig)));
    return answer;
}

/* ---- order and verdicts ------------------------------------------------------------------ */

#define BEFORE "a.head b.head a.rewrite b.rewrite "
#define ASKED  BEFORE "a.access b.access a.prepare b.prepare "
#define AFTER  "a.reply b.reply a.log b.log "

static const struct {
    const char *why;
    enum weir_phase phase; /* where handler a does it */
    enum deed deed;
    unsigned status;
    const char *story;
} cases[] = {
    { "all are asked in order, until one answers", WEIR_ON_HEAD, NOTHING, 200,
            ASKED "a.content b.content " AFTER },
    { "an answer at the head ends the asking", WEIR_ON_HEAD, ANSWER, 203, "a.head " AFTER },
    { "at rewriting", WEIR_ON_REWRITE, ANSWER, 203, "a.head b.head a.rewrite " AFTER },
    { "at access", WEIR_ON_ACCESS, ANSWER, 203, BEFORE "a.access " AFTER },
    { "at preparing", WEIR_ON_PREPARE, ANSWER, 203,
            BEFORE "a.access b.access a.prepare " AFTER },
    { "at content", WEIR_ON_CONTENT, ANSWER, 203, ASKED "a.content " AFTER },
    { "an error is an answer", WEIR_ON_ACCESS, DIRECT, 407, BEFORE "a.access " AFTER },
    { "an answer that is not ended, is", WEIR_ON_CONTENT, ANSWER_OPEN, 203,
            ASKED "a.content " AFTER },
    { "a failure is a 500", WEIR_ON_HEAD, FAIL, 500, "a.head " AFTER },
    { "at content", WEIR_ON_CONTENT, FAIL, 500, ASKED "a.content " AFTER },
    { "also where it had begun", WEIR_ON_CONTENT, BEGIN_FAIL, 500, ASKED "a.content " AFTER },
    { "DONE without an answer is a 500", WEIR_ON_ACCESS, LIE, 500, BEFORE "a.access " AFTER },
    { "PENDING for nothing is a 500", WEIR_ON_ACCESS, PEND, 500, BEFORE "a.access " AFTER },
    { "a wait that was not meant is forgotten", WEIR_ON_ACCESS, WAIT_NEXT, 200,
            ASKED "a.content b.content " AFTER },
    { "what began an answer and stepped back is overruled", WEIR_ON_ACCESS, BEGIN_NEXT, 200,
            ASKED "a.content b.content " AFTER },
    { "and so is a whole answer", WEIR_ON_PREPARE, ANSWER_NEXT, 200,
            ASKED "a.content b.content " AFTER },
    { "waiting for what is there is a 500", WEIR_ON_CONTENT, WAIT_BUSILY, 500,
            ASKED "a.content " AFTER },
    { "an answer may be replaced", WEIR_ON_REPLY_HEAD, ANSWER_NEXT, 203,
            ASKED "a.content b.content " AFTER },
    { "by one that says DONE", WEIR_ON_REPLY_HEAD, ANSWER, 203,
            ASKED "a.content b.content " AFTER },
    { "or is not ended", WEIR_ON_REPLY_HEAD, REPLACE_OPEN, 203,
            ASKED "a.content b.content " AFTER },
    { "a failure there is a 500", WEIR_ON_REPLY_HEAD, FAIL, 500,
            ASKED "a.content b.content " AFTER },
    { "so is a wait for nothing", WEIR_ON_REPLY_HEAD, PEND, 500,
            ASKED "a.content b.content " AFTER },
    { "so is a field that would split it (F50)", WEIR_ON_REPLY_HEAD, INJECT, 500,
            ASKED "a.content b.content " AFTER },
    { "so is a bad length", WEIR_ON_REPLY_HEAD, BAD_LENGTH, 500,
            ASKED "a.content b.content " AFTER },
    { "the log cannot change anything", WEIR_ON_LOG, FAIL, 200,
            ASKED "a.content b.content " AFTER },
    { "nor answer", WEIR_ON_LOG, ANSWER, 200, ASKED "a.content b.content " AFTER },
};

START_TEST(does_what_each_verdict_says)
{
    struct rig *rig = new_rig();
    script.deeds[0][cases[_i].phase] = cases[_i].deed;
    SEND(rig, GET);
    struct rig_answer answer = only_answer(rig);
    ck_assert_msg(answer.status == cases[_i].status, "%s: %u", cases[_i].why, answer.status);
    ck_assert_msg(strcmp(script.story, cases[_i].story) == 0, "%s: %s", cases[_i].why,
            script.story);
    unit_check(answer.is_complete, cases[_i].why);
    ck_assert_int_eq(script.end, REQUEST_END_COMPLETE);
    ck_assert_uint_eq(script.status_at_log, cases[_i].status);
    if (cases[_i].status == 203) {
        ck_assert(weir_str_eq(answer.body, WEIR_STR("a")));
    }
    ck_assert(!rig->stream.is_closed && !rig->stream.is_shut_down);
    rig_fini(rig);
}
END_TEST

START_TEST(waits_in_every_phase_that_may)
{
    static const enum weir_phase phases[] = { WEIR_ON_HEAD, WEIR_ON_REWRITE, WEIR_ON_ACCESS,
        WEIR_ON_PREPARE, WEIR_ON_CONTENT };
    static const enum deed deeds[] = { WAIT, WAIT_FAIL, WAIT_TWICE };
    static const unsigned statuses[] = { 200, 500, 200 };
    for (int i = 0; i < 3; i++) {
        struct rig *rig = new_rig();
        script.deeds[0][phases[_i]] = deeds[i];
        SEND(rig, GET);
        ck_assert_uint_eq(rig_received(rig).len, 0);
        ck_assert_ptr_nonnull(script.waiting);
        course_ripen(&script.wait);
        ck_assert_uint_eq(rig_received(rig).len, 0); /* never from within somebody's call */
        rig_settle(rig);
        ck_assert_uint_eq(only_answer(rig).status, statuses[i]);
        ck_assert_uint_eq(script.abandoned, 0);
        rig_fini(rig);
    }
}
END_TEST

START_TEST(abandons_a_wait_whose_client_left)
{
    struct rig *rig = new_rig();
    script.deeds[0][WEIR_ON_ACCESS] = WAIT;
    SEND(rig, GET);
    memory_stream_reset(&rig->stream);
    rig_settle(rig);
    ck_assert_uint_eq(script.abandoned, 1);
    ck_assert_str_eq(script.story, BEFORE "a.access a.log b.log ");
    ck_assert_int_eq(script.end, REQUEST_END_CLIENT_LEFT);
    ck_assert_uint_eq(script.status_at_log, 0);
    rig_fini(rig);
}
END_TEST

/* Ripe, and then the client leaves before the hook has run. */
START_TEST(drops_a_wait_that_is_over)
{
    struct rig *rig = new_rig();
    script.deeds[0][WEIR_ON_ACCESS] = WAIT;
    SEND(rig, GET);
    course_ripen(&script.wait);
    engine_stop(&rig->engine, true);
    ck_assert_uint_eq(script.abandoned, 0);
    ck_assert_int_eq(script.end, REQUEST_END_STOPPED);
    rig_settle(rig);
    rig_fini(rig);
}
END_TEST

START_TEST(forgets_a_wait_that_was_not_meant)
{
    struct rig *rig = new_rig();
    script.deeds[0][WEIR_ON_ACCESS] = WAIT_NEXT;
    SEND(rig, GET);
    ck_assert_uint_eq(only_answer(rig).status, 200);
    ck_assert_uint_eq(script.abandoned, 1);
    rig_fini(rig);
}
END_TEST

START_TEST(answers_for_a_hook_that_takes_too_long)
{
    struct rig *rig = new_rig();
    rig->settings.timeouts.request_ns = 5 * NS_PER_S;
    script.deeds[0][WEIR_ON_ACCESS] = WAIT;
    SEND(rig, GET);
    rig_pass(rig, 6.2);
    ck_assert_uint_eq(only_answer(rig).status, 504);
    ck_assert_uint_eq(script.abandoned, 1);
    ck_assert_str_eq(script.story, BEFORE "a.access " AFTER);
    rig_fini(rig);
}
END_TEST

/* ---- refusals and routes ----------------------------------------------------------------- */

START_TEST(shows_refusals_to_reply_and_log_hooks_alone)
{
    struct rig *rig = new_rig();
    SEND(rig, "GET / HTTP/1.1\r\n\r\n");
    ck_assert_uint_eq(only_answer(rig).status, 400);
    ck_assert_str_eq(script.story, AFTER);
    rig_fini(rig);
}
END_TEST

START_TEST(lets_a_hook_replace_a_refusal)
{
    struct rig *rig = new_rig();
    script.deeds[1][WEIR_ON_REPLY_HEAD] = ANSWER_NEXT;
    SEND(rig, "\x16\x03\x01");
    struct rig_answer answer = only_answer(rig);
    ck_assert_uint_eq(answer.status, 203);
    ck_assert(answer.says_close && weir_str_eq(answer.body, WEIR_STR("b")));
    rig_fini(rig);
}
END_TEST

static const struct chain *
find_none(const struct course_map *map, struct weir_request *request)
{
    (void)map;
    (void)request;
    return NULL;
}

START_TEST(answers_where_there_is_no_server_or_route)
{
    struct rig *rig = new_rig();
    if (_i == 0) {
        rig->map.server = find_none;
    } else {
        rig->map.route = find_none;
    }
    SEND(rig, GET);
    ck_assert_uint_eq(only_answer(rig).status, _i == 0 ? 421 : 404);
    ck_assert_str_eq(script.story, _i == 0 ? "" : BEFORE AFTER);
    SEND(rig, "GET / HTTP/1.1\r\n\r\n");
    ck_assert(rig->stream.is_shut_down);
    rig_fini(rig);
}
END_TEST

START_TEST(gives_each_handler_a_zeroed_state_of_its_own)
{
    struct rig *rig = new_rig();
    script.deeds[0][WEIR_ON_CONTENT] = WAIT;
    SEND(rig, GET);
    /* Three handlers: 24, 7 and the rig's bytes, each aligned to 16. */
    ck_assert_uint_eq(rig->uses[0].state_at % 16, 0);
    ck_assert_uint_ge(rig->uses[1].state_at, rig->uses[0].state_at + 24);
    ck_assert_uint_ge(rig->uses[2].state_at, rig->uses[1].state_at + 7);
    const char *slab = script.waiting->slab;
    for (size_t i = rig->uses[0].state_at; i < rig->handler.slab_bytes; i++) {
        ck_assert_int_eq(slab[i], 0);
    }
    rig_fini(rig);
}
END_TEST

/* ---- streaming and replacing ------------------------------------------------------------- */

START_TEST(streams_while_a_handler_waits)
{
    struct rig *rig = new_rig();
    script.deeds[0][WEIR_ON_CONTENT] = STREAM;
    SEND(rig, GET);
    struct weir_str first = rig_received(rig);
    ck_assert_ptr_nonnull(memmem(first.ptr, first.len, "some", 4));
    course_ripen(&script.wait);
    rig_settle(rig);
    struct rig_answer answer = only_answer(rig);
    ck_assert(answer.is_chunked && answer.is_complete);
    ck_assert_ptr_nonnull(memmem(answer.body.ptr, answer.body.len, " and more", 9));
    rig_fini(rig);
}
END_TEST

START_TEST(cuts_a_stream_whose_handler_fails)
{
    struct rig *rig = new_rig();
    script.deeds[0][WEIR_ON_CONTENT] = STREAM_FAIL;
    SEND(rig, GET);
    course_ripen(&script.wait);
    rig_settle(rig);
    struct rig_answer answer = only_answer(rig);
    ck_assert_uint_eq(answer.status, 203);
    ck_assert(!answer.is_complete);
    ck_assert(rig->stream.is_closed || rig->stream.is_shut_down);
    ck_assert_int_eq(script.end, REQUEST_END_ANSWER_FAILED);
    rig_fini(rig);
}
END_TEST

/* Whoever streamed what was replaced is done: it neither writes into the new answer nor spoils
 * it by failing. */
START_TEST(replaces_the_answer_of_a_handler_that_still_streams)
{
    static const enum deed deeds[] = { ANSWER_NEXT, REPLACE_OPEN, FAIL, INJECT };
    struct rig *rig = new_rig();
    script.deeds[0][WEIR_ON_CONTENT] = STREAM;
    script.deeds[1][WEIR_ON_REPLY_HEAD] = deeds[_i];
    SEND(rig, GET);
    struct rig_answer answer = only_answer(rig);
    ck_assert_uint_eq(answer.status, _i < 2 ? 203 : 500);
    ck_assert(answer.is_complete && answer.has_length);
    ck_assert_ptr_null(memmem(answer.body.ptr, answer.body.len, "some", 4));
    ck_assert_uint_eq(script.abandoned, 1);
    ck_assert_int_eq(script.end, REQUEST_END_COMPLETE);
    ck_assert(!rig->stream.is_closed);
    rig_fini(rig);
}
END_TEST

/* ---- reply filters ----------------------------------------------------------------------- */

static struct rig_answer
answer_with(struct rig *rig, const char *bytes)
{
    rig_send(rig, weir_str_from(bytes));
    struct weir_str rest = rig_received(rig);
    struct rig_answer answer = { 0 };
    ck_assert_msg(rig_next_answer(&rest, memcmp(bytes, "HEAD", 4) == 0, &answer), "%.*s",
            WEIR_STR_ARG(rig_received(rig)));
    return answer;
}

START_TEST(filters_the_answer_of_whoever_wrote_it)
{
    struct rig *rig = new_rig();
    script.deeds[0][WEIR_ON_REPLY_HEAD] = FILTER;
    struct rig_answer answer = answer_with(rig, GET);
    ck_assert(answer.is_complete);
    ck_assert_ptr_nonnull(memmem(answer.body.ptr, answer.body.len, "HELLO", 5));
    rig_connect(rig);
    script.deeds[1][WEIR_ON_REPLY_HEAD] = FILTER; /* two in a line */
    answer = answer_with(rig, "GET /bytes/300000 HTTP/1.1\r\nHost: a\r\n\r\n");
    ck_assert_msg(answer.is_complete && answer.is_chunked, "%.*s", WEIR_STR_ARG(answer.head));
    uint64_t count = 0;
    for (size_t i = 0; i < answer.body.len; i++) {
        ck_assert_int_ne(answer.body.ptr[i], 'b');
        count += answer.body.ptr[i] == 'B';
    }
    ck_assert_uint_ge(count, 300000);
    rig_fini(rig);
}
END_TEST

START_TEST(filters_a_stream_for_a_slow_reader)
{
    struct rig *rig = new_rig();
    script.deeds[0][WEIR_ON_REPLY_HEAD] = FILTER;
    rig->stream.allowed_bytes = 100;
    SEND(rig, "POST /chunks/100000 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    for (int i = 0; i < 300; i++) {
        memory_stream_allow(&rig->stream, 5000);
        rig_settle(rig);
    }
    struct rig_answer answer = only_answer(rig);
    ck_assert(answer.is_complete);
    uint64_t digits = 0;
    for (size_t at = 0; at < answer.body.len;) {
        uint64_t chunk = strtoull(answer.body.ptr + at, NULL, 16);
        const char *lf = memchr(answer.body.ptr + at, '\n', answer.body.len - at);
        at = (size_t)(lf - answer.body.ptr) + 1 + chunk + 2;
        digits += chunk;
    }
    ck_assert_uint_eq(digits, 1000001);
    rig_fini(rig);
}
END_TEST

/* F47: HEAD tells no length that GET would not have. */
START_TEST(hides_the_length_of_what_would_be_filtered)
{
    struct rig *rig = new_rig();
    script.deeds[0][WEIR_ON_REPLY_HEAD] = FILTER;
    struct rig_answer answer = answer_with(rig, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    ck_assert_uint_eq(answer.status, 200);
    ck_assert(!answer.has_length);
    ck_assert(weir_str_eq(rig_field(answer.head, "content-encoding"), WEIR_STR("upper")));
    rig_fini(rig);
}
END_TEST

/* A filter belongs to the answer that it was switched on for. */
START_TEST(switches_filters_off_with_the_answer_they_were_for)
{
    struct rig *rig = new_rig();
    script.deeds[0][WEIR_ON_REPLY_HEAD] = FILTER;
    script.deeds[1][WEIR_ON_REPLY_HEAD] = _i == 0 ? ANSWER_NEXT : _i == 1 ? FAIL : INJECT;
    struct rig_answer answer = answer_with(rig, GET);
    ck_assert_uint_eq(answer.status, _i == 0 ? 203 : 500);
    ck_assert(answer.has_length && answer.is_complete);
    ck_assert_ptr_null(rig_field(answer.head, "content-encoding").ptr);
    for (size_t i = 0; i < answer.body.len && _i == 0; i++) {
        ck_assert_int_eq(answer.body.ptr[i], 'b');
    }
    rig_fini(rig);
}
END_TEST

static const struct {
    const char *why;
    weir_filter_fn *filter;
    bool is_cut; /* some of it had left; else a 500 */
} broken_cases[] = {
    { "one that fails at once", break_down, false },
    { "one that stalls at once", do_nothing, false },
    { "one that fails later", break_down_later, true },
};

START_TEST(answers_500_for_a_broken_filter_while_it_can)
{
    struct rig *rig = new_rig();
    script.deeds[0][WEIR_ON_REPLY_HEAD] = FILTER;
    script.deeds[0][WEIR_ON_CONTENT] = broken_cases[_i].is_cut ? STREAM : NOTHING;
    script.reply_filter = broken_cases[_i].filter;
    struct rig_answer answer = answer_with(rig, GET GET);
    if (broken_cases[_i].is_cut) {
        course_ripen(&script.wait);
        rig_settle(rig);
        answer = only_answer(rig);
    }
    if (broken_cases[_i].is_cut) {
        unit_check(answer.status == 203 && !answer.is_complete, broken_cases[_i].why);
        unit_check(rig->stream.is_closed || rig->stream.is_shut_down, broken_cases[_i].why);
        ck_assert_int_eq(script.end, REQUEST_END_ANSWER_FAILED);
    } else {
        unit_check(answer.status == 500 && answer.is_complete, broken_cases[_i].why);
        ck_assert_ptr_null(rig_field(answer.head, "content-encoding").ptr);
        unit_check(!rig->stream.is_closed, broken_cases[_i].why);
        ck_assert_uint_eq(rig->ended[REQUEST_END_COMPLETE], 2);
    }
    rig_fini(rig);
}
END_TEST

START_TEST(switches_filters_on_from_reply_hooks_alone)
{
    struct rig *rig = new_rig();
    script.deeds[0][WEIR_ON_CONTENT] = FILTER;
    SEND(rig, GET);
    ck_assert_uint_eq(only_answer(rig).status, 500);
    rig_fini(rig);
}
END_TEST

/* RFC 9110 section 8.8.1: what is transformed is no longer the same bytes. */
START_TEST(weakens_a_strong_validator_and_drops_lengths)
{
    static const char *const tags[] = { "\"x\"", "W/\"x\"" };
    struct rig *rig = new_rig();
    script.etag = tags[_i];
    script.deeds[0][WEIR_ON_CONTENT] = TAGGED;
    script.deeds[0][WEIR_ON_REPLY_HEAD] = FILTER;
    struct rig_answer answer = answer_with(rig, GET);
    ck_assert(weir_str_eq(rig_field(answer.head, "etag"), WEIR_STR("W/\"x\"")));
    ck_assert_ptr_null(rig_field(answer.head, "accept-ranges").ptr);
    ck_assert(answer.is_chunked || answer.has_length);
    ck_assert(answer.is_complete);
    rig_fini(rig);
}
END_TEST

/* ---- request body filters ---------------------------------------------------------------- */

#define POST(path) "POST " path " HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n"

START_TEST(filters_the_body_before_it_is_read)
{
    struct rig *rig = new_rig();
    script.body_filter = shout; /* twice: both handlers have the hook */
    SEND(rig, POST("/echo") "hello");
    SEND(rig, " world!");
    struct rig_answer answer = only_answer(rig);
    ck_assert_uint_eq(answer.status, 200);
    struct weir_str all = rig_received(rig);
    ck_assert_ptr_nonnull(memmem(all.ptr, all.len, "HELLO", 5));
    ck_assert_ptr_nonnull(memmem(all.ptr, all.len, "WORLD!", 6));
    rig_fini(rig);
}
END_TEST

START_TEST(lets_a_body_filter_look_ahead_to_the_end)
{
    struct rig *rig = new_rig();
    script.body_filter = gather_all;
    SEND(rig, POST("/sink") "hello");
    ck_assert_uint_eq(rig_received(rig).len, 0);
    SEND(rig, " world!");
    struct rig_answer answer = only_answer(rig);
    /* "12 bytes" and then "8 bytes" of it */
    ck_assert_uint_eq(answer.status, 200);
    ck_assert_msg(weir_str_eq(answer.body, WEIR_STR("7")), "%.*s", WEIR_STR_ARG(answer.body));
    rig_fini(rig);
}
END_TEST

START_TEST(calls_no_body_filter_before_somebody_reads)
{
    struct rig *rig = new_rig();
    script.body_filter = break_down;
    SEND(rig, POST("/ignore") "hello world!");
    ck_assert_uint_eq(only_answer(rig).status, 200);
    rig_fini(rig);
}
END_TEST

/* The client is not at fault. */
START_TEST(answers_500_for_a_broken_body_filter)
{
    struct rig *rig = new_rig();
    script.body_filter = _i == 0 ? break_down : do_nothing;
    SEND(rig, POST("/sink") "hello world!");
    ck_assert_uint_eq(only_answer(rig).status, 500);
    rig_fini(rig);
}
END_TEST

START_TEST(takes_no_success_of_a_connect_for_a_tunnel)
{
    struct rig *rig = new_rig();
    script.deeds[0][WEIR_ON_CONTENT] = ANSWER;
    SEND(rig, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n");
    ck_assert_uint_eq(only_answer(rig).status, 501);
    rig_fini(rig);
}
END_TEST

/* ---- memory ------------------------------------------------------------------------------ */

/* With hooks in every phase, filters on both bodies and an answer that is replaced. */
START_TEST(survives_each_allocation_that_fails)
{
    struct rig *rig = new_rig();
    script.deeds[0][WEIR_ON_REPLY_HEAD] = FILTER;
    script.deeds[1][WEIR_ON_REPLY_HEAD] = _i == 1 ? ANSWER_NEXT : FILTER;
    script.body_filter = gather_all;
    struct weir_str head = WEIR_STR(POST("/echo") "hello");
    UNIT_EACH_ALLOCATION_FAILS({
        failalloc_fail_nth(0);
        rig_connect(rig);
        memory_stream_reserve(&rig->stream, 1 << 20);
        script.story[0] = '\0';
        failalloc_fail_nth(unit_nth);
        rig_send(rig, head);
        rig_send(rig, WEIR_STR(" world!"));
        struct weir_str rest = rig_received(rig);
        struct rig_answer answer;
        bool is_head = rig_next_answer(&rest, false, &answer);
        bool is_closed = rig->stream.is_closed || rig->stream.is_shut_down;
        ck_assert_msg((is_head && answer.is_complete) || is_closed, "%.*s",
                WEIR_STR_ARG(rig_received(rig)));
    });
    rig_fini(rig);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, does_what_each_verdict_says, 0, ROWS(cases));
    tcase_add_loop_test(tests, waits_in_every_phase_that_may, 0, 5);
    tcase_add_test(tests, abandons_a_wait_whose_client_left);
    tcase_add_test(tests, drops_a_wait_that_is_over);
    tcase_add_test(tests, forgets_a_wait_that_was_not_meant);
    tcase_add_test(tests, answers_for_a_hook_that_takes_too_long);
    tcase_add_test(tests, shows_refusals_to_reply_and_log_hooks_alone);
    tcase_add_test(tests, lets_a_hook_replace_a_refusal);
    tcase_add_loop_test(tests, answers_where_there_is_no_server_or_route, 0, 2);
    tcase_add_test(tests, gives_each_handler_a_zeroed_state_of_its_own);
    tcase_add_test(tests, streams_while_a_handler_waits);
    tcase_add_test(tests, cuts_a_stream_whose_handler_fails);
    tcase_add_loop_test(tests, replaces_the_answer_of_a_handler_that_still_streams, 0, 4);
    tcase_add_test(tests, filters_the_answer_of_whoever_wrote_it);
    tcase_add_test(tests, filters_a_stream_for_a_slow_reader);
    tcase_add_test(tests, hides_the_length_of_what_would_be_filtered);
    tcase_add_loop_test(tests, switches_filters_off_with_the_answer_they_were_for, 0, 3);
    tcase_add_loop_test(tests, answers_500_for_a_broken_filter_while_it_can, 0,
            ROWS(broken_cases));
    tcase_add_test(tests, switches_filters_on_from_reply_hooks_alone);
    tcase_add_loop_test(tests, weakens_a_strong_validator_and_drops_lengths, 0, 2);
    tcase_add_test(tests, filters_the_body_before_it_is_read);
    tcase_add_test(tests, lets_a_body_filter_look_ahead_to_the_end);
    tcase_add_test(tests, calls_no_body_filter_before_somebody_reads);
    tcase_add_loop_test(tests, answers_500_for_a_broken_body_filter, 0, 2);
    tcase_add_test(tests, takes_no_success_of_a_connect_for_a_tunnel);
    tcase_add_loop_test(tests, survives_each_allocation_that_fails, 0, 2);
}

UNIT_MAIN("module/course", add_tests)
