/* SPDX-License-Identifier: MIT */
/* The torture itself, on a module that does something in each way of waiting; and that it finds
 * what is wrong with a module that is. */
#include "testkit/torture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/filter.h>
#include <weir/offload.h>
#include <weir/reply.h>
#include <weir/request.h>
#include <weir/wait.h>

#include "base/num.h"
#include "observe/log.h"
#include "support/failalloc.h"
#include "support/unit.h"

/* ---- modules ----------------------------------------------------------------------------- */

struct sum {
    uint64_t bytes;
};

/* Reads the whole body and answers its length. */
static enum weir_verdict
count_body(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct sum *sum = weir_request_state(request);
    char bytes[100];
    ssize_t n;
    while ((n = weir_body_read(request, bytes, sizeof(bytes))) > 0) {
        sum->bytes += (uint64_t)n;
    }
    if (n == -EAGAIN) {
        return weir_body_wait(request, count_body);
    }
    if (n < 0) {
        return WEIR_FAILED;
    }
    char text[NUM_U64_DIGITS];
    return weir_reply_text(request, 200, WEIR_STR("text/plain"),
            weir_str_make(text, num_format_u64(text, sum->bytes)));
}

static void
look_up(void *data, void *thread_state)
{
    (void)thread_state;
    *(int *)data = 42;
}

static enum weir_verdict
looked_up(struct weir_request *request, const void *conf, enum weir_wake how, void *data)
{
    (void)request;
    (void)conf;
    if (how == WEIR_WOKEN) {
        return *(int *)data == 42 ? WEIR_NEXT : WEIR_FAILED;
    }
    return WEIR_NEXT; /* 503, 504 */
}

static const struct weir_job look_up_job = { .run = look_up, .done = looked_up, .free = free };

static enum weir_verdict
check_access(struct weir_request *request, const void *conf)
{
    (void)conf;
    void *data = calloc(1, sizeof(int));
    return data == NULL ? WEIR_FAILED
                        : weir_offload(request, &look_up_job, data, WEIR_WAIT_PRESET);
}

static enum weir_verdict
on_timeout(struct weir_request *request, const void *conf, enum weir_wake how, void *payload)
{
    (void)request;
    (void)conf;
    (void)payload;
    return how == WEIR_WOKEN ? WEIR_FAILED : WEIR_NEXT;
}

/* Suspends and is resumed by nobody: for half a second. */
static enum weir_verdict
pause_briefly(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct weir_token token;
    return weir_suspend(request, on_timeout, UINT64_C(500000000), &token);
}

static enum weir_verdict
mark_reply(struct weir_request *request, const void *conf)
{
    (void)conf;
    return weir_filter_enable(request) < 0 ? WEIR_FAILED : WEIR_NEXT;
}

/* Doubles every byte. */
static enum weir_verdict
double_bytes(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    (void)request;
    (void)conf;
    struct weir_str input = weir_filter_input(filter);
    size_t done = 0;
    for (; done < input.len && weir_filter_room(filter) >= 2; done++) {
        char twice[2] = { input.ptr[done], input.ptr[done] };
        if (weir_filter_write(filter, weir_str_make(twice, 2)) < 0) {
            return WEIR_FAILED;
        }
    }
    weir_filter_consume(filter, done);
    return WEIR_NEXT;
}

static const struct weir_hook sound_hooks[] = {
    { .on = WEIR_ON_ACCESS, .request = check_access },
    { .on = WEIR_ON_PREPARE, .request = pause_briefly },
    { .on = WEIR_ON_CONTENT, .request = count_body },
    { .on = WEIR_ON_REPLY_HEAD, .request = mark_reply },
    { .on = WEIR_ON_REPLY_BODY, .filter = double_bytes },
};

static const struct weir_module sound_module = {
    WEIR_MODULE_HEAD("sound", "1.0.0", "Waits in many ways"),
    WEIR_HANDLERS({ .name = "sound",
            .hooks = WEIR_HOOKS(sound_hooks),
            .state_bytes = sizeof(struct sum) }),
};

/* Answers a body that came in one piece otherwise than one that did not. */
static enum weir_verdict
answer_first_piece(struct weir_request *request, const void *conf)
{
    (void)conf;
    char bytes[100];
    ssize_t n = weir_body_read(request, bytes, sizeof(bytes));
    if (n == -EAGAIN) {
        return weir_body_wait(request, answer_first_piece);
    }
    return n < 0 ? WEIR_FAILED
                 : weir_reply_text(request, 200, WEIR_STR("text/plain"),
                           weir_str_make(bytes, (size_t)n));
}

static const struct weir_hook hasty_hooks[] = {
    { .on = WEIR_ON_CONTENT, .request = answer_first_piece },
};

static const struct weir_module hasty_module = {
    WEIR_MODULE_HEAD("hasty", "1.0.0", "Takes the first piece for the whole"),
    WEIR_HANDLERS({ .name = "hasty", .hooks = WEIR_HOOKS(hasty_hooks) }),
};

static const struct weir_module *const modules[] = { &sound_module, &hasty_module };

/* ---- tests ------------------------------------------------------------------------------- */

#define CONFIG(handler)                                                            \
    "{ \"modules\": [\"" handler "\"],"                                            \
    "  \"pools\": { \"default\": { \"min\": 1, \"max\": 1, \"queue_size\": 1 } }," \
    "  \"defaults\": { \"timeouts\": { \"wait\": \"2s\" } },"                      \
    "  \"servers\": [{ \"listen\": \"127.0.0.1:1\","                               \
    "                  \"routes\": [{ \"handle\": \"" handler "\" }] }] }"

static struct torture
torture_of(const char *config, const char *input)
{
    log_init(-1, LOG_ERROR);
    return (struct torture){
        .settings = { .config = config,
                .modules = modules,
                .modules_count = sizeof(modules) / sizeof(modules[0]) },
        .input = weir_str_from(input),
        .patience_ns = UINT64_C(4000000000),
    };
}

#define BODY "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nhello, world"
#define CHUNKS                                                         \
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" \
    "5\r\nhello\r\n2;a=b\r\n, \r\n0\r\n\r\n"

static const char *
wants_doubled(void *context, struct weir_str received)
{
    (void)context;
    return memmem(received.ptr, received.len, "1122", 4) == NULL ? "the sum is not doubled"
                                                                 : NULL;
}

static void
pass(const struct torture *torture)
{
    struct buf report;
    buf_init(&report, 1 << 20);
    int r = torture_run(torture, &report);
    ck_assert_msg(r == 0, "%.*s", WEIR_STR_ARG(buf_str(&report)));
    buf_fini(&report);
}

START_TEST(lets_a_sound_module_pass)
{
    struct torture torture = torture_of(CONFIG("sound"), BODY);
    torture.judge = wants_doubled;
    pass(&torture);
}
END_TEST

START_TEST(lets_it_pass_with_chunks_and_a_second_request)
{
    struct torture torture = torture_of(CONFIG("sound"), CHUNKS BODY);
    pass(&torture);
}
END_TEST

START_TEST(makes_each_allocation_fail)
{
    struct torture torture = torture_of(CONFIG("sound"), BODY);
    torture.fail_nth = failalloc_fail_nth;
    torture.has_failed = failalloc_has_failed;
    pass(&torture);
}
END_TEST

START_TEST(finds_what_depends_on_how_bytes_come)
{
    struct torture torture = torture_of(CONFIG("hasty"), BODY);
    struct buf report;
    buf_init(&report, 1 << 20);
    ck_assert_int_eq(torture_run(&torture, &report), -1);
    struct weir_str text = buf_str(&report);
    ck_assert_msg(weir_str_starts_with(text, WEIR_STR("split")), "%.*s", WEIR_STR_ARG(text));
    buf_fini(&report);
}
END_TEST

START_TEST(says_what_is_wrong_with_a_configuration)
{
    struct torture torture = torture_of("{ \"servers\": [{}] }", BODY);
    struct buf report;
    buf_init(&report, 1 << 20);
    ck_assert_int_eq(torture_run(&torture, &report), -1);
    struct weir_str text = buf_str(&report);
    ck_assert_ptr_nonnull(memmem(text.ptr, text.len, "testbed.json:1:", 15));
    buf_fini(&report);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_set_timeout(tests, unit_slow(120));
    tcase_add_test(tests, lets_a_sound_module_pass);
    tcase_add_test(tests, lets_it_pass_with_chunks_and_a_second_request);
    tcase_add_test(tests, makes_each_allocation_fail);
    tcase_add_test(tests, finds_what_depends_on_how_bytes_come);
    tcase_add_test(tests, says_what_is_wrong_with_a_configuration);
}

UNIT_MAIN("testkit/torture", add_tests)
