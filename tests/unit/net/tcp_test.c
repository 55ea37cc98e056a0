/* SPDX-License-Identifier: MIT */
/* Streams over real sockets: what the kernel reports of bytes, ends and resets, in which order,
 * and what is made of it; and whole HTTP exchanges over them. */
#include "net/tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "event/loop.h"
#include "support/rig.h"
#include "support/unit.h"

static struct {
    struct loop *loop;
    struct stream *stream;
    int peer;
    unsigned events, calls;
    _Alignas(16) unsigned char memory[TCP_STREAM_BYTES];
} all;

static void
on_event(void *owner, unsigned events)
{
    (void)owner;
    all.events |= events;
    all.calls++;
}

/* Two ends of a TCP connection over the loopback interface; fds[0] is the server's. */
static void
connect_pair(int *fds)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct addr addr;
    ck_assert_int_eq(addr_parse(WEIR_STR("127.0.0.1:0"), &addr, NULL), 0);
    ck_assert_int_eq(bind(listener, &addr.sa, addr.len), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, &addr.sa, &addr.len), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fds[1], &addr.sa, addr.len), 0);
    fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    ck_assert_int_ge(fds[0], 0);
    close(listener);
}

static void
start(void)
{
    signal(SIGPIPE, SIG_IGN); /* as event/signal.c does in the server */
    ck_assert_int_eq(loop_new(NULL, &all.loop), 0);
    int fds[2];
    connect_pair(fds);
    all.peer = fds[1];
    ck_assert_int_eq(tcp_stream_init(all.memory, all.loop, fds[0], on_event, NULL, &all.stream),
            0);
    ck_assert_int_eq(tcp_stream_watch(all.stream), 0);
    loop_turn(all.loop, true); /* the first edge: writable */
    ck_assert_uint_eq(all.events, STREAM_WRITABLE);
    all.events = all.calls = 0;
}

static void
stop(void)
{
    if (all.stream != NULL) {
        stream_close(all.stream, false);
    }
    if (all.peer != -1) {
        close(all.peer);
    }
    loop_free(all.loop);
}

/* Waits until one of `events` was reported. */
static void
await(unsigned events)
{
    while ((all.events & events) == 0) {
        loop_turn(all.loop, true);
    }
}

static void
reset_peer(void)
{
    struct linger linger = { .l_onoff = 1, .l_linger = 0 };
    ck_assert_int_eq(setsockopt(all.peer, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    close(all.peer);
    all.peer = -1;
}

START_TEST(reports_bytes_and_then_the_end)
{
    start();
    ck_assert_int_eq(send(all.peer, "hello", 5, 0), 5);
    await(STREAM_READABLE);
    char bytes[16];
    ck_assert_int_eq(stream_read(all.stream, bytes, sizeof(bytes)), 5);
    ck_assert_int_eq(stream_read(all.stream, bytes, sizeof(bytes)), -EAGAIN);
    all.events = 0;
    shutdown(all.peer, SHUT_WR);
    await(STREAM_ENDED);
    ck_assert(all.events & STREAM_READABLE);
    ck_assert_int_eq(stream_read(all.stream, bytes, sizeof(bytes)), 0);
    ck_assert_int_eq(stream_error(all.stream), 0);
    stop();
}
END_TEST

START_TEST(reports_bytes_and_an_end_that_come_as_one)
{
    start();
    ck_assert_int_eq(send(all.peer, "hello", 5, 0), 5);
    shutdown(all.peer, SHUT_WR);
    /* Both are there before the loop looks. */
    struct pollfd poll_fd = { .fd = all.peer, .events = POLLOUT };
    poll(&poll_fd, 1, 100);
    await(STREAM_ENDED);
    char bytes[16];
    ck_assert_int_eq(stream_read(all.stream, bytes, sizeof(bytes)), 5);
    ck_assert_int_eq(stream_read(all.stream, bytes, sizeof(bytes)), 0);
    stop();
}
END_TEST

START_TEST(lets_a_reader_learn_of_a_reset)
{
    start();
    reset_peer();
    await(STREAM_READABLE | STREAM_BROKEN);
    char bytes[16];
    ck_assert_int_lt(stream_read(all.stream, bytes, sizeof(bytes)), 0);
    stop();
}
END_TEST

/* One who waits for something else, and does not read, asks. */
START_TEST(lets_a_waiter_learn_of_a_reset)
{
    start();
    if (_i == 1) {
        ck_assert_int_eq(send(all.peer, "hello", 5, 0), 5);
    }
    reset_peer();
    await(STREAM_READABLE | STREAM_BROKEN);
    if (_i == 1) {
        /* Bytes before the reset hide it from a reader whose read is short. */
        char bytes[16];
        ssize_t n = stream_read(all.stream, bytes, sizeof(bytes));
        ck_assert(n == 5 || n == -ECONNRESET);
        if (n < 0) {
            stop();
            return;
        }
    }
    ck_assert((all.events & STREAM_BROKEN) || stream_error(all.stream) < 0);
    stop();
}
END_TEST

START_TEST(reports_room_after_a_short_write)
{
    start();
    static char block[1 << 20];
    struct iovec part = { block, sizeof(block) };
    size_t written = 0;
    ssize_t n;
    while ((n = stream_write(all.stream, &part, 1, false)) > 0) {
        written += (size_t)n;
    }
    ck_assert_int_eq(n, -EAGAIN);
    all.events = 0;
    size_t read = 0;
    while (read < written) {
        n = recv(all.peer, block, sizeof(block), 0);
        ck_assert_int_gt(n, 0);
        read += (size_t)n;
    }
    await(STREAM_WRITABLE);
    ck_assert_int_gt(stream_write(all.stream, &part, 1, false), 0);
    stop();
}
END_TEST

START_TEST(fails_to_write_to_a_peer_that_left)
{
    start();
    reset_peer();
    await(STREAM_READABLE | STREAM_BROKEN);
    struct iovec parts[2] = { { (void *)(uintptr_t) "a", 1 }, { (void *)(uintptr_t) "b", 1 } };
    ssize_t n;
    do {
        n = stream_write(all.stream, parts, 1 + _i, false);
    } while (n > 0);
    ck_assert(n == -EPIPE || n == -ECONNRESET);
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(ftruncate(fileno(file), 100), 0);
    n = stream_send_file(all.stream, fileno(file), 0, 100);
    ck_assert(n == -EPIPE || n == -ECONNRESET);
    fclose(file);
    stop();
}
END_TEST

START_TEST(sends_files_as_far_as_they_reach)
{
    start();
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite("0123456789", 1, 10, file), 10);
    fflush(file);
    ck_assert_int_eq(stream_send_file(all.stream, fileno(file), 3, 4), 4);
    ck_assert_int_eq(stream_send_file(all.stream, fileno(file), 8, 100), 2);
    ck_assert_int_eq(stream_send_file(all.stream, fileno(file), 10, 1), 0);
    char bytes[16];
    size_t len = 0;
    while (len < 6) {
        ssize_t n = recv(all.peer, bytes + len, sizeof(bytes) - len, 0);
        ck_assert_int_gt(n, 0);
        len += (size_t)n;
    }
    ck_assert_mem_eq(bytes, "345689", 6);
    fclose(file);
    stop();
}
END_TEST

START_TEST(resets_the_peer_when_told_so)
{
    start();
    bool reset = _i == 1;
    stream_close(all.stream, reset);
    all.stream = NULL;
    char byte;
    ssize_t n = recv(all.peer, &byte, 1, 0);
    ck_assert_int_eq(n, reset ? -1 : 0);
    ck_assert(!reset || errno == ECONNRESET);
    stop();
}
END_TEST

/* ---- HTTP over sockets ------------------------------------------------------------------- */

static struct rig rig;
static int client;

/* The rig's engine, with a real socket. */
static void
serve(const struct weir_handler *extra, unsigned count)
{
    signal(SIGPIPE, SIG_IGN);
    rig_init(&rig, extra, count);
    int fds[2];
    connect_pair(fds);
    client = fds[1];
    struct addr peer = { .len = 0 };
    ck_assert_int_eq(h1_serve_fd(&rig.engine, &rig.settings, fds[0], &peer), 0);
}

static void
await_close(void)
{
    while (rig.closed == H1_OPEN) {
        loop_turn(rig.loop, true);
    }
}

/* Reads to the end while the server turns. */
static size_t
read_to_end(char *bytes, size_t max)
{
    size_t len = 0;
    for (;;) {
        ssize_t n = recv(client, bytes + len, max - len, MSG_DONTWAIT);
        if (n == 0) {
            return len;
        }
        if (n == -1) {
            ck_assert_int_eq(errno, EAGAIN);
            loop_turn(rig.loop, rig.closed == H1_OPEN);
            continue;
        }
        len += (size_t)n;
        ck_assert_uint_lt(len, max);
    }
}

/* DESIGN.md section 6: after a short read no event ever comes again. */
START_TEST(answers_a_request_and_its_end_in_one_segment)
{
    static const char *const requests[] = {
        "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /bytes/4000000 HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "GET /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /hello HTTP/1.0\r\n\r\n",
        "GET /chunks/100000 HTTP/1.1\r\nHost: a\r\n\r\n",
    };
    static char bytes[5 << 20];
    serve(NULL, 0);
    const char *request = requests[_i];
    ck_assert_int_eq(send(client, request, strlen(request), 0), (ssize_t)strlen(request));
    shutdown(client, SHUT_WR);
    struct weir_str rest = weir_str_make(bytes, read_to_end(bytes, sizeof(bytes)));
    unsigned answers = 0;
    struct rig_answer answer;
    while (rest.len > 0) {
        ck_assert(rig_next_answer(&rest, false, &answer) && answer.is_complete);
        ck_assert_uint_eq(answer.status, 200);
        answers++;
    }
    ck_assert_uint_eq(answers, _i == 3 ? 2 : 1);
    await_close();
    close(client);
    rig_fini(&rig);
}
END_TEST

static void
abandon(struct course_wait *wait)
{
    (void)wait;
}

static enum weir_verdict
never(struct weir_request *request, const void *conf)
{
    (void)request;
    (void)conf;
    return WEIR_FAILED;
}

static enum weir_verdict
wait_for_ever(struct weir_request *request, const void *conf)
{
    (void)conf;
    static struct course_wait wait = { .abandon = abandon };
    return course_wait_for(request, &wait, never);
}

static const struct weir_hook waiting_hooks[] = { { .on = WEIR_ON_CONTENT,
        .request = wait_for_ever } };
static const struct weir_handler waiting = { .name = "waiting",
    .hooks = WEIR_HOOKS(waiting_hooks) };

/* Nothing is read or written while a hook waits: only the event can tell, or, where the reset
 * came with the request, the look that is taken after a second. */
START_TEST(ends_a_waiting_request_whose_client_reset)
{
    serve(&waiting, 1);
    const char *request = _i == 2 ? "GET /hello HTT" : "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    ck_assert_int_eq(send(client, request, strlen(request), 0), (ssize_t)strlen(request));
    if (_i != 1) {
        while (rig.engine.figures.requests_begun == 0) {
            loop_turn(rig.loop, true);
        }
    }
    struct linger linger = { .l_onoff = 1, .l_linger = 0 };
    ck_assert_int_eq(setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    close(client);
    if (_i == 1) {
        while (rig.engine.figures.requests_begun == 0) {
            loop_turn(rig.loop, true);
        }
        rig_pass(&rig, 2.0);
    }
    await_close();
    ck_assert_int_eq(rig.closed, H1_CLOSE_CLIENT_RESET);
    rig_fini(&rig);
}
END_TEST

/* F44: an error answer reaches a client that goes on sending. */
START_TEST(lets_a_sender_read_its_refusal)
{
    serve(NULL, 0);
    static char block[1 << 16];
    memset(block, 'x', sizeof(block));
    const char *request = "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n";
    ck_assert_int_eq(send(client, request, strlen(request), 0), (ssize_t)strlen(request));
    char bytes[4096];
    size_t len = 0;
    for (int i = 0; i < 64; i++) {
        ck_assert(send(client, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL) != -1 ||
                errno == EAGAIN);
        loop_turn(rig.loop, false);
    }
    for (;;) {
        ssize_t n = recv(client, bytes + len, sizeof(bytes) - len, MSG_DONTWAIT);
        ck_assert_msg(n >= 0 || errno == EAGAIN, "%d", errno);
        if (n == 0) {
            break;
        }
        len += n > 0 ? (size_t)n : 0;
        loop_turn(rig.loop, false);
    }
    struct weir_str rest = weir_str_make(bytes, len);
    struct rig_answer answer;
    ck_assert(rig_next_answer(&rest, false, &answer) && answer.is_complete);
    ck_assert_uint_eq(answer.status, 413);
    close(client);
    await_close();
    rig_fini(&rig);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, reports_bytes_and_then_the_end);
    tcase_add_test(tests, reports_bytes_and_an_end_that_come_as_one);
    tcase_add_test(tests, lets_a_reader_learn_of_a_reset);
    tcase_add_loop_test(tests, lets_a_waiter_learn_of_a_reset, 0, 2);
    tcase_add_test(tests, reports_room_after_a_short_write);
    tcase_add_loop_test(tests, fails_to_write_to_a_peer_that_left, 0, 2);
    tcase_add_test(tests, sends_files_as_far_as_they_reach);
    tcase_add_loop_test(tests, resets_the_peer_when_told_so, 0, 2);
    tcase_add_loop_test(tests, answers_a_request_and_its_end_in_one_segment, 0, 6);
    tcase_add_loop_test(tests, ends_a_waiting_request_whose_client_reset, 0, 3);
    tcase_add_test(tests, lets_a_sender_read_its_refusal);
}

UNIT_MAIN("net/tcp", add_tests)
