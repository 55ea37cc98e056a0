/* SPDX-License-Identifier: MIT */
/* Listening: the mistakes that are told apart, Unix sockets' files, and accepting when
 * descriptors run out. Each test is a process of its own (Check forks), so limits may be set.
 */
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "event/loop.h"
#include "support/unit.h"
#include "testkit/manual_clock.h"

#define MANY 256

static struct {
    struct loop *loop;
    struct manual_clock clock;
    struct listener *listener;
    int fds[MANY];
    unsigned count;
    bool pauses, frees;
    char folder[64], path[96];
} all;

static void
on_accept(void *owner, int fd, const struct addr *peer)
{
    (void)owner;
    ck_assert_uint_ne(peer->len, 0);
    ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    ck_assert_uint_lt(all.count, MANY);
    all.fds[all.count++] = fd;
    if (all.pauses) {
        listener_pause(all.listener);
    }
    if (all.frees) {
        listener_free(all.listener);
        all.listener = NULL;
    }
}

static struct listener_settings
settings_of(const char *text)
{
    struct listener_settings settings = { .backlog = 64, .mode = 0660 };
    ck_assert_int_eq(addr_parse(weir_str_from(text), &settings.addr, NULL), 0);
    return settings;
}

static int
open_at(const char *text)
{
    struct listener_settings settings = settings_of(text);
    return listener_open_fd(&settings);
}

static void
start_on(int fd)
{
    ck_assert_int_ge(fd, 0);
    manual_clock_init(&all.clock, NS_PER_S, 0);
    ck_assert_int_eq(loop_new(&all.clock.clock, &all.loop), 0);
    ck_assert_int_eq(listener_new(all.loop, fd, on_accept, NULL, &all.listener), 0);
}

static void
start(void)
{
    start_on(open_at("127.0.0.1:0"));
}

static void
settle(void)
{
    for (int i = 0; i < 8; i++) {
        loop_turn(all.loop, false);
    }
}

static void
stop(void)
{
    for (unsigned i = 0; i < all.count; i++) {
        close(all.fds[i]);
    }
    listener_free(all.listener);
    loop_free(all.loop);
}

static int
try_connect(const struct addr *addr)
{
    int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    if (connect(fd, &addr->sa, addr->len) == -1) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

static int
connect_to(const struct addr *addr)
{
    int fd = try_connect(addr);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static void
make_folder(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(all.folder, sizeof(all.folder), "%.40s/weir-XXXXXX", tmp == NULL ? "/tmp" : tmp);
    ck_assert_ptr_nonnull(mkdtemp(all.folder));
    snprintf(all.path, sizeof(all.path), "unix:%s/socket", all.folder);
}

static const char *
file_path(void)
{
    return all.path + strlen("unix:");
}

static void
drop_folder(void)
{
    unlink(file_path());
    ck_assert_int_eq(rmdir(all.folder), 0);
}

START_TEST(accepts_on_the_port_that_the_system_chose)
{
    start();
    ck_assert_uint_ne(addr_port(listener_addr(all.listener)), 0);
    int client = connect_to(listener_addr(all.listener));
    settle();
    ck_assert_uint_eq(all.count, 1);
    close(client);
    stop();
}
END_TEST

START_TEST(serves_both_ip_versions_on_a_port_alone)
{
    int fd = open_at(":0");
    if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) {
        return; /* a machine without IPv6 */
    }
    start_on(fd);
    struct addr addr;
    ck_assert_int_eq(addr_parse(WEIR_STR("127.0.0.1:0"), &addr, NULL), 0);
    addr.in.sin_port = htons(addr_port(listener_addr(all.listener)));
    int client = connect_to(&addr);
    settle();
    ck_assert_uint_eq(all.count, 1);
    close(client);
    stop();
}
END_TEST

/* What the system would use is kept for addresses that a network may reach. */
START_TEST(spares_congestion_control_on_loopback_only)
{
    static const char *const addresses[] = { "127.0.0.1:0", "127.1.2.3:0", "[::1]:0",
        "0.0.0.0:0", "[::]:0" };
    char usual[16] = "", here[16];
    socklen_t len = sizeof(usual);
    int plain = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(getsockopt(plain, IPPROTO_TCP, TCP_CONGESTION, usual, &len), 0);
    close(plain);
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        int fd = open_at(addresses[i]);
        if (fd == -EADDRNOTAVAIL || fd == -EAFNOSUPPORT) {
            continue; /* no IPv6 */
        }
        ck_assert_int_ge(fd, 0);
        memset(here, 0, sizeof(here));
        len = sizeof(here);
        ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, here, &len), 0);
        ck_assert_str_eq(here, i < 3 ? "reno" : usual);
        close(fd);
    }
}
END_TEST

START_TEST(tells_an_address_in_use)
{
    start();
    struct listener_settings settings = settings_of("127.0.0.1:1");
    settings.addr = *listener_addr(all.listener);
    ck_assert_int_eq(listener_open_fd(&settings), -EADDRINUSE);
    stop();
}
END_TEST

START_TEST(tells_an_address_of_somebody_else)
{
    ck_assert_int_eq(open_at("192.0.2.1:0"), -EADDRNOTAVAIL);
}
END_TEST

START_TEST(replaces_a_stale_socket_file)
{
    make_folder();
    int first = open_at(all.path);
    ck_assert_int_ge(first, 0);
    close(first); /* its file stays */
    ck_assert_int_eq(access(file_path(), F_OK), 0);
    start_on(open_at(all.path));
    int client = connect_to(listener_addr(all.listener));
    settle();
    ck_assert_uint_eq(all.count, 1);
    close(client);
    stop();
    drop_folder();
}
END_TEST

START_TEST(leaves_a_living_socket_alone)
{
    make_folder();
    start_on(open_at(all.path));
    ck_assert_int_eq(open_at(all.path), -EADDRINUSE);
    settle();
    int client = connect_to(listener_addr(all.listener));
    close(client);
    stop();
    drop_folder();
}
END_TEST

/* Its queue is full, so that it answers EAGAIN: it lives all the same. */
START_TEST(leaves_a_busy_socket_alone)
{
    make_folder();
    struct listener_settings settings = settings_of(all.path);
    settings.backlog = 0;
    int fd = listener_open_fd(&settings);
    ck_assert_int_ge(fd, 0);
    int clients[2];
    for (int i = 0; i < 2; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(clients[i], &settings.addr.sa, settings.addr.len);
    }
    ck_assert_int_eq(open_at(all.path), -EADDRINUSE);
    close(clients[0]);
    close(clients[1]);
    close(fd);
    drop_folder();
}
END_TEST

START_TEST(never_replaces_a_file_that_is_no_socket)
{
    make_folder();
    int file = open(file_path(), O_CREAT | O_WRONLY, 0600);
    ck_assert_int_ge(file, 0);
    close(file);
    ck_assert_int_eq(open_at(all.path), -EADDRINUSE);
    struct stat st;
    ck_assert_int_eq(lstat(file_path(), &st), 0);
    ck_assert(S_ISREG(st.st_mode));
    drop_folder();
}
END_TEST

START_TEST(gives_a_socket_file_its_mode)
{
    static const mode_t modes[] = { 0660, 0600, 0666 };
    make_folder();
    struct listener_settings settings = settings_of(all.path);
    settings.mode = modes[_i];
    umask(0077);
    int fd = listener_open_fd(&settings);
    ck_assert_int_ge(fd, 0);
    struct stat st;
    ck_assert_int_eq(stat(file_path(), &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, modes[_i]);
    close(fd);
    drop_folder();
}
END_TEST

START_TEST(tells_that_a_folder_is_missing)
{
    ck_assert_int_eq(open_at("unix:/nonexistent/folder/socket"), -ENOENT);
}
END_TEST

START_TEST(serves_abstract_sockets)
{
    char name[64];
    snprintf(name, sizeof(name), "@weir-test-%ld", (long)getpid());
    start_on(open_at(name));
    int client = connect_to(listener_addr(all.listener));
    settle();
    ck_assert_uint_eq(all.count, 1);
    ck_assert_int_eq(open_at(name), -EADDRINUSE);
    close(client);
    stop();
}
END_TEST

START_TEST(stops_accepting_while_paused)
{
    start();
    all.pauses = true;
    int clients[3];
    for (int i = 0; i < 3; i++) {
        clients[i] = connect_to(listener_addr(all.listener));
    }
    settle();
    ck_assert_uint_eq(all.count, 1);
    all.pauses = false;
    listener_resume(all.listener);
    settle();
    ck_assert_uint_eq(all.count, 3);
    for (int i = 0; i < 3; i++) {
        close(clients[i]);
    }
    stop();
}
END_TEST

START_TEST(may_be_freed_by_whom_it_calls)
{
    start();
    all.frees = true;
    int first = connect_to(listener_addr(all.listener));
    int second = connect_to(listener_addr(all.listener));
    settle();
    ck_assert_uint_eq(all.count, 1);
    close(first);
    close(second);
    stop();
}
END_TEST

/* Lowers the limit so that `free` descriptors are left. */
static void
leave_descriptors(int free)
{
    int next = dup(0);
    ck_assert_int_ge(next, 0);
    close(next);
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)(next + free);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* F23: out of descriptors, one client is told at each back-off, nothing spins, and all is well
 * again when descriptors are. */
START_TEST(survives_running_out_of_descriptors)
{
    start();
    int clients[6];
    for (int i = 0; i < 6; i++) {
        clients[i] = connect_to(listener_addr(all.listener));
    }
    leave_descriptors(2);
    settle();
    ck_assert_uint_eq(all.count, 2);
    ck_assert_uint_eq(listener_failures(all.listener), 1);
    for (int i = 0; i < 50; i++) {
        settle(); /* no time passes: it must not try again */
    }
    ck_assert_uint_eq(listener_failures(all.listener), 1);
    char byte;
    ck_assert_int_eq(recv(clients[2], &byte, 1, MSG_DONTWAIT), 0); /* told, not left waiting */
    ck_assert_int_eq(recv(clients[3], &byte, 1, MSG_DONTWAIT), -1);

    manual_clock_advance_ns(&all.clock, 150 * NS_PER_MS);
    settle();
    ck_assert_uint_eq(listener_failures(all.listener), 2);
    ck_assert_int_eq(recv(clients[3], &byte, 1, MSG_DONTWAIT), 0);

    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    manual_clock_advance_ns(&all.clock, 150 * NS_PER_MS);
    settle();
    ck_assert_uint_eq(all.count, 4);
    for (int i = 0; i < 6; i++) {
        close(clients[i]);
    }
    stop();
}
END_TEST

START_TEST(backs_off_also_when_it_has_no_memory_left)
{
    start();
    int client = connect_to(listener_addr(all.listener));
    int other = connect_to(listener_addr(all.listener));
    leave_descriptors(0);
    failalloc_fail_nth(1);
    settle();
    failalloc_fail_nth(0);
    ck_assert_uint_eq(listener_failures(all.listener), 1);
    settle();
    ck_assert_uint_eq(listener_failures(all.listener), 1);
    close(client);
    close(other);
    stop();
}
END_TEST

/* A descriptor on which accept() can only fail: no loop of failing calls. */
START_TEST(does_not_spin_on_an_error_that_stays)
{
    int fd = open_at("127.0.0.1:0");
    start_on(fd);
    int client = connect_to(listener_addr(all.listener));
    settle();
    ck_assert_uint_eq(all.count, 1);
    ck_assert_int_eq(shutdown(fd, SHUT_RDWR), 0); /* listens no more: EINVAL */
    for (int i = 0; i < 20; i++) {
        settle();
    }
    ck_assert_uint_eq(listener_failures(all.listener), 1);
    close(client);
    stop();
}
END_TEST

START_TEST(gives_everything_back_when_it_cannot_begin)
{
    int fd = open_at("127.0.0.1:0");
    manual_clock_init(&all.clock, NS_PER_S, 0);
    ck_assert_int_eq(loop_new(&all.clock.clock, &all.loop), 0);
    UNIT_EACH_ALLOCATION_FAILS({
        all.listener = NULL;
        int r = listener_new(all.loop, fd, on_accept, NULL, &all.listener);
        ck_assert(r == 0 || r == -ENOMEM);
        ck_assert((r == 0) == (all.listener != NULL));
    });
    stop();
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, accepts_on_the_port_that_the_system_chose);
    tcase_add_test(tests, serves_both_ip_versions_on_a_port_alone);
    tcase_add_test(tests, spares_congestion_control_on_loopback_only);
    tcase_add_test(tests, tells_an_address_in_use);
    tcase_add_test(tests, tells_an_address_of_somebody_else);
    tcase_add_test(tests, replaces_a_stale_socket_file);
    tcase_add_test(tests, leaves_a_living_socket_alone);
    tcase_add_test(tests, leaves_a_busy_socket_alone);
    tcase_add_test(tests, never_replaces_a_file_that_is_no_socket);
    tcase_add_loop_test(tests, gives_a_socket_file_its_mode, 0, 3);
    tcase_add_test(tests, tells_that_a_folder_is_missing);
    tcase_add_test(tests, serves_abstract_sockets);
    tcase_add_test(tests, stops_accepting_while_paused);
    tcase_add_test(tests, may_be_freed_by_whom_it_calls);
    tcase_add_test(tests, survives_running_out_of_descriptors);
    tcase_add_test(tests, backs_off_also_when_it_has_no_memory_left);
    tcase_add_test(tests, does_not_spin_on_an_error_that_stays);
    tcase_add_test(tests, gives_everything_back_when_it_cannot_begin);
}

UNIT_MAIN("net/listener", add_tests)
