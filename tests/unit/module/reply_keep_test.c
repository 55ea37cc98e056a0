/* SPDX-License-Identifier: MIT */
/* Answers whose makers do not wait for the client (weir_reply_keep(), F14): in memory up to
 * limits.reply_memory, then in a file, up to limits.reply_buffer. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <weir/filter.h>
#include <weir/internal.h>
#include <weir/reply.h>
#include <weir/request.h>

#include "base/budget.h"
#include "base/num.h"
#include "http/request.h"
#include "http/spill.h"
#include "support/module_rig.h"
#include "support/unit.h"

/* ---- who writes -------------------------------------------------------------------------- */

static unsigned made; /* answers that were written to their end */
static int keep_error;

struct maker {
    uint64_t bytes, written;
    bool has_files; /* every seventh piece is a part of a file, every fifth is constant */
    unsigned pieces;
};

#define PIECE_BYTES 5000u

static char constant[PIECE_BYTES];

/* Repeats itself with every piece, so that one that is constant fits everywhere. */
static char
pattern(uint64_t i)
{
    uint64_t at = i % PIECE_BYTES;
    return (char)('a' + (at * 7 + at / 256) % 26);
}

/* A part of a file that holds one piece. */
static int
write_file(struct weir_request *request)
{
    char name[] = "/tmp/weir-keep-XXXXXX";
    int fd = mkstemp(name);
    if (fd == -1) {
        return -errno;
    }
    unlink(name);
    ssize_t n = write(fd, constant, sizeof(constant));
    (void)n;
    return weir_reply_file(request, fd, 0, sizeof(constant));
}

/* One piece, or less. Returns how much, or a negative errno. */
static ssize_t
write_piece(struct weir_request *request, struct maker *maker)
{
    uint64_t at = maker->written % PIECE_BYTES, left = maker->bytes - maker->written;
    bool is_whole = at == 0 && left >= PIECE_BYTES && maker->has_files;
    maker->pieces++;
    int r = -EAGAIN;
    if (is_whole && maker->pieces % 7 == 0) {
        r = write_file(request);
    } else if (is_whole && maker->pieces % 5 == 0) {
        r = weir_reply_static(request, weir_str_make(constant, sizeof(constant)));
    } else {
        size_t len = PIECE_BYTES - (size_t)at;
        len = left < len ? (size_t)left : len;
        return weir_reply_write(request, weir_str_make(constant + at, len));
    }
    return r < 0 ? r : (ssize_t)PIECE_BYTES;
}

static enum weir_verdict
write_on(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct maker *maker = weir_request_state(request);
    while (maker->written < maker->bytes) {
        ssize_t n = write_piece(request, maker);
        if (n == -EAGAIN) {
            return weir_reply_wait(request, write_on);
        }
        if (n < 0) {
            return WEIR_FAILED;
        }
        maker->written += (uint64_t)n;
    }
    made++;
    return WEIR_DONE;
}

/* /NUMBER: an answer of so many bytes; /f/NUMBER: with parts of files; /inside: somebody
 * else's; /again: begun anew. */
static enum weir_verdict
make(struct weir_request *request, const void *conf)
{
    struct weir_str path = weir_request_path(request);
    struct maker *maker = weir_request_state(request);
    if (weir_str_eq(path, WEIR_STR("/inside"))) {
        const struct weir_ask ask = { .bytes = sizeof(ask), .target = WEIR_STR("/4000000") };
        return weir_internal_answer(request, &ask, 0);
    }
    maker->has_files = weir_str_starts_with(path, WEIR_STR("/f/"));
    size_t skip = maker->has_files ? 3 : 1;
    if (num_parse_u64(weir_str_make(path.ptr + skip, path.len - skip), UINT32_MAX,
                &maker->bytes) < 0) {
        return WEIR_NEXT;
    }
    keep_error = weir_reply_keep(request); /* nothing is begun yet */
    if (weir_reply_begin(request, 200) < 0 || weir_reply_keep(request) < 0 ||
            weir_reply_keep(request) < 0) {
        return WEIR_FAILED;
    }
    return write_on(request, conf);
}

/* Begins another answer when the first is half written. */
static enum weir_verdict
change(struct weir_request *request, const void *conf)
{
    (void)conf;
    return weir_reply_text(request, 201, WEIR_STR("text/plain"), WEIR_STR("changed"));
}

static enum weir_verdict
enable(struct weir_request *request, const void *conf)
{
    (void)conf;
    return weir_filter_enable(request) < 0 ? WEIR_FAILED : WEIR_NEXT;
}

/* Lets all of it through, a little at a time. */
static enum weir_verdict
sip(struct weir_request *request, const void *conf, struct weir_filter *filter)
{
    (void)request;
    (void)conf;
    struct weir_str input = weir_filter_input(filter);
    size_t len = input.len < 3000 ? input.len : 3000;
    return len > 0 && weir_filter_pass(filter, len) < 0 ? WEIR_FAILED : WEIR_NEXT;
}

static const struct weir_hook make_hooks[] = { { .on = WEIR_ON_CONTENT, .request = make } };
static const struct weir_hook change_hooks[] = {
    { .on = WEIR_ON_REPLY_HEAD, .request = change },
};
static const struct weir_hook sip_hooks[] = {
    { .on = WEIR_ON_REPLY_HEAD, .request = enable },
    { .on = WEIR_ON_REPLY_BODY, .filter = sip },
};

static const struct weir_module maker_module = {
    WEIR_MODULE_HEAD("maker", "1.0.0", "Makes answers"),
    WEIR_HANDLERS({ .name = "make",
                          .hooks = WEIR_HOOKS(make_hooks),
                          .state_bytes = sizeof(struct maker) },
            { .name = "change", .hooks = WEIR_HOOKS(change_hooks) },
            { .name = "sip", .hooks = WEIR_HOOKS(sip_hooks) }),
};

static const struct weir_module *const modules[] = { &maker_module };

/* ---- a server ---------------------------------------------------------------------------- */

static char config[2048];
static const struct testbed_settings settings = { config, modules, 1 };

#define SMALL "\"reply_memory\": \"4k\", \"reply_buffer\": false"

static struct testbed *
new_testbed(const char *limits, const char *temp_size, const char *use)
{
    int len = snprintf(config, sizeof(config),
            "{ \"modules\": [\"maker\"], \"workers\": { \"temp_dir\": \"/tmp\","
            "    \"temp_size\": \"%s\" },"
            "  \"pools\": { \"default\": { \"queue_timeout\": false } },"
            "  \"servers\": [{ \"listen\": \"127.0.0.1:1\", \"limits\": { %s },"
            "    \"timeouts\": { \"wait\": \"2s\", \"send\": false }, \"use\": [%s],"
            "    \"routes\": [{ \"handle\": \"make\" }] }] }",
            temp_size, limits, use);
    ck_assert_int_lt(len, (int)sizeof(config));
    for (size_t i = 0; i < sizeof(constant); i++) {
        constant[i] = pattern(i);
    }
    made = 0;
    keep_error = 0;
    return module_testbed_new(&settings);
}

static void
ask(struct testbed *testbed, const char *method, const char *target)
{
    char text[256];
    int len = snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: a\r\n\r\n", method, target);
    testbed_send(testbed, weir_str_make(text, (size_t)len));
}

/* Takes the next run of the body out of *rest, chunked or not. */
static struct weir_str
next_run(struct weir_str *rest, bool is_chunked)
{
    struct weir_str run = *rest;
    if (is_chunked) {
        char *end;
        unsigned long len = strtoul(rest->ptr, &end, 16);
        ck_assert_ptr_ne(end, rest->ptr);
        run = weir_str_make(end + 2, len);
        ck_assert_uint_le(len + 4, rest->len - (size_t)(end - rest->ptr));
        end += 2 + len + 2;
        *rest = weir_str_make(end, rest->len - (size_t)(end - rest->ptr));
        return run;
    }
    *rest = weir_str_make(rest->ptr + rest->len, 0);
    return run;
}

/* The whole of one answer of so many bytes has come. */
static void
check_answer(const struct testbed *testbed, const char *why, uint64_t bytes)
{
    struct weir_str text = testbed_received(testbed);
    const char *body = memmem(text.ptr, text.len, "\r\n\r\n", 4);
    ck_assert_msg(weir_str_starts_with(text, WEIR_STR("HTTP/1.1 200")) && body != NULL,
            "%s: %.*s", why, (int)(text.len < 100 ? text.len : 100), text.ptr);
    struct weir_str head = weir_str_make(text.ptr, (size_t)(body - text.ptr) + 4);
    bool is_chunked = unit_has(head, "Transfer-Encoding: chunked");
    struct weir_str rest = weir_str_make(body + 4, text.len - head.len);
    uint64_t at = 0;
    bool is_right = true;
    while (rest.len > 0) {
        struct weir_str run = next_run(&rest, is_chunked);
        for (size_t i = 0; i < run.len; i++) {
            is_right &= run.ptr[i] == pattern(at + i);
        }
        at += run.len;
    }
    ck_assert_msg(is_right, "%s: not what was written", why);
    ck_assert_msg(at == bytes, "%s: %llu of %llu bytes", why, (unsigned long long)at,
            (unsigned long long)bytes);
}

static void
check_nothing_is_left(struct testbed *testbed)
{
    testbed_release(testbed);
    testbed_settle(testbed);
    ck_assert(testbed_free(testbed));
    ck_assert_uint_eq(spill_figures(SPILL_REPLY).held_bytes, 0);
    ck_assert_uint_eq(spill_figures(SPILL_REPLY).files, 0);
}

/* ---- what is kept ------------------------------------------------------------------------ */

static const struct {
    const char *why, *target, *limits, *use;
    uint64_t bytes;
    bool is_filed; /* the client takes nothing at first, and a file holds most of it */
} answers[] = {
    { "nothing", "/0", SMALL, "", 0, false },
    { "a byte", "/1", SMALL, "", 1, false },
    { "no more than memory may have", "/4096", SMALL, "", 4096, false },
    { "more than memory may have, and not worth a file", "/60000", SMALL, "", 60000, false },
    { "much more", "/3000000", SMALL, "", 3000000, true },
    { "a little more than the presets' memory", "/1200000", "", "", 1200000, false },
    { "much more than the presets' memory", "/5000000", "", "", 5000000, true },
    { "through a filter", "/2000000", SMALL, "\"sip\"", 2000000, true },
    { "what an internal request is answered", "/inside", SMALL, "", 4000000, true },
};

START_TEST(the_maker_does_not_wait_for_the_client)
{
    struct testbed *testbed = new_testbed(answers[_i].limits, "8m", answers[_i].use);
    const char *why = answers[_i].why;
    testbed_limit(testbed, 100);
    uint64_t before = budget_used_bytes();
    ask(testbed, "GET", answers[_i].target);
    ck_assert_int_eq(keep_error, -EINVAL);
    ck_assert_msg(made == 1, "%s: it waits", why);
    uint64_t used = budget_used_bytes() - before;
    ck_assert_msg(used < 1700 << 10, "%s: %llu bytes", why, (unsigned long long)used);
    ck_assert_msg(!answers[_i].is_filed || spill_figures(SPILL_REPLY).held_bytes > 500000, "%s",
            why);
    testbed_allow(testbed, 1 << 30);
    check_answer(testbed, why, answers[_i].bytes);
    ck_assert_uint_eq(spill_figures(SPILL_REPLY).held_bytes, 0);
    check_nothing_is_left(testbed);
}
END_TEST

/* Behind a part of a file, which takes no memory, what is written stays in memory. */
START_TEST(parts_of_files_stay_where_they_were_put)
{
    struct testbed *testbed = new_testbed(SMALL, "8m", "");
    testbed_limit(testbed, 100);
    ask(testbed, "GET", "/f/1000000");
    testbed_allow(testbed, 1 << 30);
    ck_assert_uint_eq(made, 1);
    check_answer(testbed, "with files", 1000000);
    check_nothing_is_left(testbed);
}
END_TEST

START_TEST(a_client_gets_it_as_slowly_as_it_reads)
{
    struct testbed *testbed = new_testbed(SMALL, "8m", "");
    testbed_limit(testbed, 0);
    ask(testbed, "GET", "/700000");
    ck_assert_uint_eq(made, 1);
    for (unsigned i = 0; i < 1000 && !testbed_is_over(testbed); i++) {
        testbed_allow(testbed, 1000);
    }
    check_answer(testbed, "a slow reader", 700000);
    check_nothing_is_left(testbed);
}
END_TEST

/* One that was made before anything of it has left, be it long, needs no chunks. */
START_TEST(its_length_is_known_when_it_has_ended)
{
    struct testbed *testbed = new_testbed(SMALL, "8m", "");
    ask(testbed, "GET", "/200000");
    ck_assert(unit_has(testbed_received(testbed), "Content-Length: 200000\r\n"));
    check_answer(testbed, "of known length", 200000);
    check_nothing_is_left(testbed);
}
END_TEST

START_TEST(has_no_body_where_there_is_none)
{
    struct testbed *testbed = new_testbed(SMALL, "8m", "");
    ask(testbed, "HEAD", "/2000000");
    testbed_settle(testbed);
    ck_assert_uint_eq(made, 1);
    ck_assert(unit_ends(testbed_received(testbed), "\r\n\r\n"));
    ask(testbed, "GET", "/x");
    ck_assert(unit_has(testbed_received(testbed), "HTTP/1.1 404"));
    check_nothing_is_left(testbed);
}
END_TEST

START_TEST(what_was_begun_anew_is_not_kept)
{
    struct testbed *testbed = new_testbed(SMALL, "8m", "\"change\"");
    ask(testbed, "GET", "/2000000");
    ck_assert(unit_ends(testbed_received(testbed), "\r\n\r\nchanged"));
    check_nothing_is_left(testbed);
}
END_TEST

/* ---- where the maker waits after all ----------------------------------------------------- */

static const struct {
    const char *why, *limits, *temp_size;
    bool is_held; /* no thread writes */
    bool fails;   /* the log says why */
} waits[] = {
    { "above limits.reply_buffer", "\"reply_memory\": \"4k\", \"reply_buffer\": \"500k\"", "8m",
            false, false },
    { "without room in workers.temp_size", SMALL, "1m", false, true },
    { "while the disk is slow", SMALL, "8m", true, false },
};

START_TEST(the_maker_waits_where_nothing_can_be_kept)
{
    struct testbed *testbed = new_testbed(waits[_i].limits, waits[_i].temp_size, "");
    const char *why = waits[_i].why;
    uint64_t failures = spill_figures(SPILL_REPLY).failures;
    struct said said;
    if (waits[_i].fails) {
        said_begin(&said, LOG_ERROR);
    }
    testbed_limit(testbed, 100);
    if (waits[_i].is_held) {
        ck_assert_int_eq(testbed_hold(testbed, "default", false), 0);
    }
    uint64_t before = budget_used_bytes();
    ask(testbed, "GET", "/3000000");
    ck_assert_msg(made == 0, "%s: it did not wait", why);
    ck_assert_uint_lt(budget_used_bytes() - before, 800 << 10);
    ck_assert_uint_le(spill_figures(SPILL_REPLY).held_bytes, 1 << 20);
    testbed_release(testbed);
    testbed_allow(testbed, 1 << 30);
    ck_assert_msg(made == 1, "%s: it waits on", why);
    check_answer(testbed, why, 3000000);
    if (waits[_i].fails) {
        said_check(&said,
                "answers cannot be kept in /tmp: workers.temp_size, or a quota, is used "
                "up: whoever makes them waits for their clients");
    }
    ck_assert((spill_figures(SPILL_REPLY).failures > failures) == waits[_i].fails);
    check_nothing_is_left(testbed);
}
END_TEST

START_TEST(keeps_less_in_memory_while_that_is_tight)
{
    struct testbed *testbed = new_testbed("", "8m", "");
    testbed_limit(testbed, 100);
    uint64_t before = budget_used_bytes();
    budget_init(before + before / 8);
    ck_assert_int_eq(budget_level(), BUDGET_TIGHT);
    ask(testbed, "GET", "/900000");
    uint64_t used = budget_used_bytes() - before;
    budget_init(UINT64_MAX);
    ck_assert_uint_eq(made, 1);
    ck_assert_uint_lt(used, 150 << 10);
    testbed_allow(testbed, 1 << 30);
    check_answer(testbed, "tight", 900000);
    check_nothing_is_left(testbed);
}
END_TEST

/* ---- ends -------------------------------------------------------------------------------- */

/* While it is written, when it was, and while it is read back; by reset and by FIN. */
START_TEST(ends_with_its_client)
{
    struct testbed *testbed = new_testbed(SMALL, "8m", "");
    testbed_limit(testbed, 100);
    if (_i % 3 == 0) {
        ck_assert_int_eq(testbed_hold(testbed, "default", false), 0);
    }
    ask(testbed, "GET", "/2000000");
    if (_i % 3 == 1) {
        ck_assert_int_eq(testbed_hold(testbed, "default", false), 0);
        testbed_allow(testbed, 100000);
    }
    if (_i < 3) {
        testbed_reset(testbed);
    } else {
        testbed_end(testbed);
    }
    check_nothing_is_left(testbed);
}
END_TEST

/* It cannot be had back: the client sees that the answer is not whole. */
START_TEST(breaks_off_what_it_cannot_read_back)
{
    struct testbed *testbed = new_testbed(SMALL, "8m", "");
    struct said said;
    said_begin(&said, LOG_ERROR);
    testbed_limit(testbed, 100);
    ask(testbed, "GET", "/2000000");
    ck_assert_uint_eq(made, 1);
    ck_assert_int_eq(testbed_hold(testbed, "default", true), 0);
    testbed_allow(testbed, 1 << 30);
    testbed_pass(testbed, 1 * NS_PER_S);
    ck_assert(!testbed_is_over(testbed));
    testbed_pass(testbed, 4 * NS_PER_S);
    ck_assert(testbed_is_over(testbed));
    ck_assert_uint_eq(testbed_ended(testbed, REQUEST_END_ANSWER_FAILED), 1);
    said_check(&said,
            "answers cannot be had back from /tmp: no thread of the pool is free: they "
            "are broken off");
    check_nothing_is_left(testbed);
}
END_TEST

START_TEST(stands_torture)
{
    struct testbed *testbed = new_testbed(SMALL, "8m", _i == 0 ? "" : "\"sip\"");
    ck_assert(testbed_free(testbed));
    module_check_torture(&settings,
            _i == 0 ? WEIR_STR("GET /f/30000 HTTP/1.1\r\nHost: a\r\n\r\n")
                    : WEIR_STR("GET /9000 HTTP/1.1\r\nHost: a\r\n\r\n"));
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, the_maker_does_not_wait_for_the_client, 0, MODULE_ROWS(answers));
    tcase_add_test(tests, parts_of_files_stay_where_they_were_put);
    tcase_add_test(tests, a_client_gets_it_as_slowly_as_it_reads);
    tcase_add_test(tests, its_length_is_known_when_it_has_ended);
    tcase_add_test(tests, has_no_body_where_there_is_none);
    tcase_add_test(tests, what_was_begun_anew_is_not_kept);
    tcase_add_loop_test(tests, the_maker_waits_where_nothing_can_be_kept, 0,
            MODULE_ROWS(waits));
    tcase_add_test(tests, keeps_less_in_memory_while_that_is_tight);
    tcase_add_loop_test(tests, ends_with_its_client, 0, 6);
    tcase_add_test(tests, breaks_off_what_it_cannot_read_back);
    tcase_add_loop_test(tests, stands_torture, 0, 2);
}

UNIT_MAIN("module/reply_keep", add_tests)
