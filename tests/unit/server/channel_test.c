/* SPDX-License-Identifier: MIT */
#include "server/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "event/loop.h"
#include "support/failalloc.h"
#include "support/unit.h"

/* As channel.c lays it out. */
struct raw_header {
    uint32_t type, bytes;
};

static struct loop *loop;
static struct channel *channel;
static int other; /* the peer's end, for whatever bytes a test sends */

static unsigned messages, closes;
static int close_error;
static enum channel_type last_type;
static char last_body[CHANNEL_BODY_MAX];
static size_t last_bytes, last_descriptors;
static bool keeps_descriptors, last_is_cut;
static int kept[CHANNEL_DESCRIPTORS_MAX];

static void
on_message(void *context, const struct channel_message *message)
{
    ck_assert_ptr_eq(context, &loop);
    messages++;
    last_type = message->type;
    last_bytes = message->bytes;
    last_descriptors = message->descriptor_count;
    last_is_cut = message->is_cut;
    memcpy(last_body, message->body, message->bytes);
    for (size_t i = 0; keeps_descriptors && i < message->descriptor_count; i++) {
        kept[i] = message->descriptors[i];
        message->descriptors[i] = -1;
    }
}

static void
on_closed(void *context, int error)
{
    close_error = error;
    ck_assert_ptr_eq(context, &loop);
    closes++;
}

static const struct channel_owner owner = { on_message, on_closed, &loop };

static void
setup(void)
{
    int ends[2];
    messages = closes = 0;
    keeps_descriptors = false;
    ck_assert_int_eq(loop_new(NULL, &loop), 0);
    ck_assert_int_eq(channel_pair(ends), 0);
    ck_assert_int_eq(channel_new(loop, ends[0], &owner, &channel), 0);
    other = ends[1];
}

static void
teardown(void)
{
    channel_free(channel);
    if (other != -1) {
        close(other);
    }
    loop_free(loop);
}

static void
send_raw(const void *bytes, size_t count)
{
    ck_assert_int_eq(send(other, bytes, count, 0), (ssize_t)count);
}

static unsigned
count_descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) != -1;
    }
    return count;
}

/* What came is refused: nobody hears of it, and the channel is over. */
static void
expect_refused(int error)
{
    loop_turn(loop, false);
    ck_assert_uint_eq(messages, 0);
    ck_assert_uint_eq(closes, 1);
    ck_assert_int_eq(close_error, error);
    loop_turn(loop, false);
    ck_assert_uint_eq(closes, 1);
}

START_TEST(both_ends_are_closed_on_exec)
{
    ck_assert_int_eq(fcntl(other, F_GETFD), FD_CLOEXEC);
}
END_TEST

START_TEST(a_message_arrives_with_its_body_and_descriptors)
{
    struct channel *sender;
    ck_assert_int_eq(channel_new(loop, other, &owner, &sender), 0);
    other = -1;
    int fds[2] = { STDIN_FILENO, STDERR_FILENO };
    keeps_descriptors = true;
    ck_assert_int_eq(channel_send(sender, CHANNEL_FILE, "/a/path", 7, fds, 2), 0);
    loop_turn(loop, false);
    ck_assert_uint_eq(messages, 1);
    ck_assert_int_eq(last_type, CHANNEL_FILE);
    ck_assert_uint_eq(last_bytes, 7);
    ck_assert_int_eq(memcmp(last_body, "/a/path", 7), 0);
    ck_assert_uint_eq(last_descriptors, 2);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(fcntl(kept[i], F_GETFD), FD_CLOEXEC);
        close(kept[i]);
    }
    channel_free(sender);
}
END_TEST

START_TEST(messages_stay_apart_and_in_order)
{
    struct channel *sender;
    ck_assert_int_eq(channel_new(loop, other, &owner, &sender), 0);
    other = -1;
    ck_assert_int_eq(channel_send(sender, CHANNEL_REPORT, "one", 3, NULL, 0), 0);
    ck_assert_int_eq(channel_send(sender, CHANNEL_READY, NULL, 0, NULL, 0), 0);
    loop_turn(loop, false);
    ck_assert_uint_eq(messages, 2);
    ck_assert_int_eq(last_type, CHANNEL_READY);
    ck_assert_uint_eq(last_bytes, 0);
    channel_free(sender);
}
END_TEST

START_TEST(the_largest_body_with_the_most_descriptors_passes)
{
    struct channel *sender;
    static char body[CHANNEL_BODY_MAX + 1];
    int fds[CHANNEL_DESCRIPTORS_MAX];
    for (size_t i = 0; i < CHANNEL_DESCRIPTORS_MAX; i++) {
        fds[i] = STDIN_FILENO;
    }
    memset(body, 'x', sizeof(body));
    ck_assert_int_eq(channel_new(loop, other, &owner, &sender), 0);
    other = -1;
    ck_assert_int_eq(channel_send(sender, CHANNEL_REPORT, body, sizeof(body), NULL, 0),
            -EMSGSIZE);
    ck_assert_int_eq(channel_send(sender, CHANNEL_REPORT, body, CHANNEL_BODY_MAX, fds,
                             CHANNEL_DESCRIPTORS_MAX),
            0);
    loop_turn(loop, false);
    ck_assert_uint_eq(messages, 1);
    ck_assert_uint_eq(last_bytes, CHANNEL_BODY_MAX);
    ck_assert_uint_eq(last_descriptors, CHANNEL_DESCRIPTORS_MAX);
    channel_free(sender);
}
END_TEST

START_TEST(descriptors_that_nobody_keeps_are_closed)
{
    struct channel *sender;
    ck_assert_int_eq(channel_new(loop, other, &owner, &sender), 0);
    other = -1;
    unsigned before = count_descriptors();
    ck_assert_int_eq(channel_send(sender, CHANNEL_FILE, "a", 1, &(int){ STDIN_FILENO }, 1), 0);
    loop_turn(loop, false);
    ck_assert_uint_eq(last_descriptors, 1);
    ck_assert_uint_eq(count_descriptors(), before);
    channel_free(sender);
}
END_TEST

START_TEST(a_type_that_is_none_is_refused)
{
    static const uint32_t types[] = { CHANNEL_NONE, CHANNEL_TYPE_COUNT, UINT32_MAX };
    const struct raw_header header = { .type = types[_i], .bytes = 0 };
    send_raw(&header, sizeof(header));
    expect_refused(-EPROTO);
}
END_TEST

START_TEST(a_length_that_lies_is_refused)
{
    static const uint32_t lengths[] = { 0, 3, 5, UINT32_MAX };
    struct {
        struct raw_header header;
        char body[4];
    } message = { { CHANNEL_REPORT, lengths[_i] }, "text" };
    send_raw(&message, sizeof(message));
    expect_refused(-EPROTO);
}
END_TEST

START_TEST(a_message_shorter_than_its_header_is_refused)
{
    send_raw("abc", 3);
    expect_refused(-EPROTO);
}
END_TEST

START_TEST(a_message_too_long_is_refused)
{
    static char message[sizeof(struct raw_header) + CHANNEL_BODY_MAX + 1];
    const struct raw_header header = { CHANNEL_REPORT, CHANNEL_BODY_MAX + 1 };
    memcpy(message, &header, sizeof(header));
    send_raw(message, sizeof(message));
    expect_refused(-EPROTO);
}
END_TEST

START_TEST(more_descriptors_than_fit_are_refused_and_closed)
{
    enum {
        TOO_MANY = CHANNEL_DESCRIPTORS_MAX + 1
    };
    const struct raw_header header = { CHANNEL_READY, 0 };
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(TOO_MANY * sizeof(int))] = { 0 };
    struct iovec part = { (void *)(uintptr_t)&header, sizeof(header) };
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof(control),
    };
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(TOO_MANY * sizeof(int)); /* all of them standard input */
    unsigned before = count_descriptors();
    ck_assert_int_eq(sendmsg(other, &message, 0), sizeof(header));
    expect_refused(-EPROTO);
    ck_assert_uint_eq(count_descriptors(), before);
}
END_TEST

START_TEST(the_other_end_gone_is_told_once)
{
    close(other);
    other = -1;
    expect_refused(-EPIPE);
    ck_assert_int_eq(channel_send(channel, CHANNEL_STOP, NULL, 0, NULL, 0), -EPIPE);
}
END_TEST

START_TEST(what_was_said_before_the_end_is_heard)
{
    const struct raw_header header = { CHANNEL_READY, 0 };
    send_raw(&header, sizeof(header));
    close(other);
    other = -1;
    channel_take_rest(channel);
    ck_assert_uint_eq(messages, 1);
    ck_assert_uint_eq(closes, 0);
}
END_TEST

/* Its owner was reaped; something that inherited its end goes on writing. */
START_TEST(what_is_heard_after_the_end_is_bounded)
{
    const struct raw_header header = { CHANNEL_READY, 0 };
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        fcntl(other, F_SETFL, 0); /* waits for room */
        for (;;) {
            (void)!send(other, &header, sizeof(header), MSG_NOSIGNAL);
        }
    }
    while (messages < CHANNEL_REST_MAX) { /* as many as were there in time */
        unsigned before = messages;
        channel_take_rest(channel);
        ck_assert_uint_le(messages - before, CHANNEL_REST_MAX);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
END_TEST

/* A worker whose connections have used them up is not to end for a log file that it gets. */
START_TEST(a_message_whose_descriptors_find_no_place_is_heard)
{
    struct channel *sender;
    struct rlimit before, limit;
    ck_assert_int_eq(channel_new(loop, other, &owner, &sender), 0);
    other = -1;
    ck_assert_int_eq(channel_send(sender, CHANNEL_FILE, "a", 1, &(int){ STDIN_FILENO }, 1), 0);
    getrlimit(RLIMIT_NOFILE, &before);
    limit = before;
    limit.rlim_cur = 1;
    setrlimit(RLIMIT_NOFILE, &limit);
    loop_turn(loop, false);
    setrlimit(RLIMIT_NOFILE, &before);
    ck_assert_uint_eq(closes, 0);
    ck_assert_uint_eq(messages, 1);
    ck_assert_uint_eq(last_descriptors, 0);
    ck_assert(last_is_cut);
    channel_free(sender);
}
END_TEST

START_TEST(an_end_that_reads_nothing_costs_a_bounded_number_of_messages)
{
    static char body[CHANNEL_BODY_MAX];
    int r = 0, sent = 0;
    while (r == 0 && sent < 100000) {
        r = channel_send(channel, CHANNEL_REPORT, body, sizeof(body), NULL, 0);
        sent += r == 0;
    }
    ck_assert_int_eq(r, -EAGAIN);
}
END_TEST

START_TEST(a_flood_gives_way_to_the_rest_of_the_loop)
{
    const struct raw_header header = { CHANNEL_READY, 0 };
    for (int i = 0; i < 100; i++) {
        send_raw(&header, sizeof(header));
    }
    loop_turn(loop, false);
    ck_assert_uint_lt(messages, 100);
    while (messages < 100) {
        loop_turn(loop, true);
    }
    ck_assert_uint_eq(closes, 0);
}
END_TEST

START_TEST(survives_each_allocation_failing)
{
    UNIT_EACH_ALLOCATION_FAILS({
        int ends[2];
        struct channel *made = NULL;
        ck_assert_int_eq(channel_pair(ends), 0);
        int r = channel_new(loop, ends[0], &owner, &made);
        ck_assert(r == 0 || (r == -ENOMEM && made == NULL));
        if (r < 0) {
            ck_assert_int_eq(close(ends[0]), 0); /* it stayed ours */
        }
        channel_free(made);
        close(ends[1]);
    })
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, both_ends_are_closed_on_exec);
    tcase_add_test(tests, a_message_arrives_with_its_body_and_descriptors);
    tcase_add_test(tests, messages_stay_apart_and_in_order);
    tcase_add_test(tests, the_largest_body_with_the_most_descriptors_passes);
    tcase_add_test(tests, descriptors_that_nobody_keeps_are_closed);
    tcase_add_loop_test(tests, a_type_that_is_none_is_refused, 0, 3);
    tcase_add_loop_test(tests, a_length_that_lies_is_refused, 0, 4);
    tcase_add_test(tests, a_message_shorter_than_its_header_is_refused);
    tcase_add_test(tests, a_message_too_long_is_refused);
    tcase_add_test(tests, more_descriptors_than_fit_are_refused_and_closed);
    tcase_add_test(tests, the_other_end_gone_is_told_once);
    tcase_add_test(tests, what_was_said_before_the_end_is_heard);
    tcase_add_test(tests, what_is_heard_after_the_end_is_bounded);
    tcase_add_test(tests, a_message_whose_descriptors_find_no_place_is_heard);
    tcase_add_test(tests, an_end_that_reads_nothing_costs_a_bounded_number_of_messages);
    tcase_add_test(tests, a_flood_gives_way_to_the_rest_of_the_loop);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("server/channel", add_tests)
