/* SPDX-License-Identifier: MIT */
/* Crews of workers that are not ours: this program itself is executed as each of them, and does
 * what the configuration's name says. Time is wound by hand. */
#include "server/crew.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "event/loop.h"
#include "event/signal.h"
#include "observe/log.h"
#include "server/crew_hearing.h"
#include "server/exit.h"
#include "support/unit.h"
#include "testkit/manual_clock.h"

/* ---- the worker -------------------------------------------------------------------------- */

/* As channel.c lays it out. */
struct raw_message {
    uint32_t type, bytes;
    _Alignas(8) char body[CHANNEL_BODY_MAX];
};

static void
say(enum channel_type type, const void *body, size_t bytes)
{
    struct raw_message message = { .type = type, .bytes = (uint32_t)bytes };
    if (bytes > 0) {
        memcpy(message.body, body, bytes);
    }
    if (send(CHANNEL_WORKER_FD, &message, offsetof(struct raw_message, body) + bytes,
                MSG_NOSIGNAL) == -1) {
        _exit(99);
    }
}

_Noreturn static void
hang(void)
{
    for (;;) {
        pause();
    }
}

/* What it does, `how`, begins with a message: once that has come. */
static void
misbehave(enum channel_type heard, const char *how, const struct channel_hello *hello,
        uint32_t slot)
{
    bool is_start = heard == CHANNEL_START, is_accept = heard == CHANNEL_ACCEPT;
    bool is_first = hello->index == 0, is_own = slot == hello->index;
    if (is_start && strcmp(how, "start: hang") == 0) {
        hang();
    } else if (is_start && strcmp(how, "start: be ready and end") == 0) {
        say(CHANNEL_READY, NULL, 0);
        _exit(0);
    } else if (is_accept && strcmp(how, "accept: hang") == 0) {
        hang();
    } else if (is_accept && strcmp(how, "accept: end") == 0) {
        _exit(3);
    } else if (is_accept && !is_first && strcmp(how, "accept: the second ends") == 0) {
        _exit(3);
    } else if (is_accept && strcmp(how, "accept: lie") == 0) {
        for (uint32_t other = 0; other < 100; other++) { /* of slots that are not its own */
            struct channel_slot body = { other == slot ? UINT32_MAX : other };
            say(CHANNEL_ACCEPTING, &body, sizeof(body));
        }
        hang();
    } else if (is_accept && is_own && is_first && strcmp(how, "serve: close") == 0) {
        say(CHANNEL_ACCEPTING, &slot, sizeof(slot));
        close(CHANNEL_WORKER_FD);
        hang();
    } else if (is_accept && is_own && is_first && strcmp(how, "serve: talk nonsense") == 0) {
        say(CHANNEL_ACCEPTING, &slot, sizeof(slot));
        (void)!send(CHANNEL_WORKER_FD, "nonsense", 3, MSG_NOSIGNAL);
        hang();
    } else if (is_accept && is_own && is_first && strcmp(how, "serve: order") == 0) {
        say(CHANNEL_ACCEPTING, &slot, sizeof(slot));
        say(CHANNEL_STOP, NULL, 0);
        hang();
    } else if (heard == CHANNEL_DRAIN && strcmp(how, "drain: hang") == 0) {
        hang();
    } else if (heard == CHANNEL_DRAIN && strcmp(how, "drain: end badly") == 0) {
        _exit(5);
    } else if (is_start && strcmp(how, "start: report") == 0) {
        say(CHANNEL_REPORT, "what is wrong\nand where\n", 24);
        _exit(78);
    }
}

/* Whether it declines the slot that it is offered. */
static bool
declines(const char *how, const struct channel_hello *hello, uint32_t slot)
{
    return (strcmp(how, "accept: only its own") == 0 && slot != hello->index) ||
            (strcmp(how, "accept: nothing") == 0);
}

static int
work(void)
{
    struct raw_message message;
    struct channel_hello hello = { .index = 0 };
    char how[64] = "";
    fcntl(CHANNEL_WORKER_FD, F_SETFL, 0);
    for (;;) {
        uint32_t slot = 0;
        ssize_t n = recv(CHANNEL_WORKER_FD, &message, sizeof(message), 0);
        if (n <= 0) {
            return 98;
        }
        if (message.type == CHANNEL_HELLO) {
            memcpy(&hello, message.body, sizeof(hello));
        } else if (message.type == CHANNEL_SOURCES) {
            snprintf(how, sizeof(how), "%.*s", (int)message.bytes, message.body);
        } else if (message.type == CHANNEL_ACCEPT) {
            memcpy(&slot, message.body, sizeof(slot));
        }
        misbehave((enum channel_type)message.type, how, &hello, slot);
        if (message.type == CHANNEL_START) {
            say(CHANNEL_READY, NULL, 0);
        } else if (message.type == CHANNEL_ACCEPT) {
            say(declines(how, &hello, slot) ? CHANNEL_DECLINED : CHANNEL_ACCEPTING, &slot,
                    sizeof(slot));
        } else if (message.type == CHANNEL_DRAIN || message.type == CHANNEL_STOP) {
            return 0;
        }
    }
}

/* ---- the master -------------------------------------------------------------------------- */

static char program[PATH_MAX];
static struct manual_clock manual;
static struct loop *loop;
static struct signal_watch *signals;
static struct crew_master master;
static struct crew *crew;
static int log_fd;
static unsigned served, failed, emptied;
static int failed_code;

static void
on_ready(void *context, struct crew *ready)
{
    (void)context;
    crew_go(ready);
}

static void
on_serving(void *context, struct crew *serving)
{
    (void)context;
    ck_assert_int_eq(serving->state, CREW_SERVING);
    served++;
}

static void
on_failed(void *context, struct crew *failing, int exit_code)
{
    (void)context;
    ck_assert_ptr_null(failing->workers);
    failed++;
    failed_code = exit_code;
}

static void
on_empty(void *context, struct crew *empty)
{
    (void)context;
    ck_assert_ptr_null(empty->workers);
    emptied++;
}

static void
reap(void *context, int signo)
{
    (void)context;
    (void)signo;
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        crew_reap(crew, pid, status);
    }
}

static int
no_log_file(void *context, struct weir_str path)
{
    (void)context;
    (void)path;
    return -1;
}

static void
setup(void)
{
    static const int chld = SIGCHLD;
    manual_clock_init(&manual, NS_PER_S, 0);
    ck_assert_int_eq(loop_new(&manual.clock, &loop), 0);
    ck_assert_int_eq(signal_watch_new(loop, &chld, 1, reap, NULL, &signals), 0);
    log_fd = memfd_create("log", MFD_CLOEXEC);
    log_init(log_fd, LOG_INFO);
    served = failed = emptied = 0;
    crew = NULL;
    ck_assert_int_gt(readlink("/proc/self/exe", program, sizeof(program) - 1), 0);
    master = (struct crew_master){
        .loop = loop,
        .sockets = sockets_new(),
        .program = program,
        .file = "",
        .log_fd = log_fd,
        .log_file = no_log_file,
        .on_ready = on_ready,
        .on_serving = on_serving,
        .on_failed = on_failed,
        .on_empty = on_empty,
    };
}

static void
end(struct crew *ending)
{
    struct crew_worker *worker = ending == NULL ? NULL : ending->workers;
    for (; worker != NULL; worker = worker->next) {
        kill(worker->pid, SIGKILL);
        waitpid(worker->pid, NULL, 0);
    }
    crew_free(ending);
}

static void
teardown(void)
{
    end(crew);
    sockets_free(master.sockets);
    signal_watch_free(signals);
    loop_free(loop);
    log_init(STDERR_FILENO, LOG_INFO);
    close(log_fd);
}

static struct plan *
make_plan(unsigned processes)
{
    struct plan *plan = calloc(1, sizeof(*plan));
    arena_init(&plan->arena, NULL, 0, 1 << 20);
    plan->sources_fd = -1;
    plan->workers = (struct site_workers){
        .processes = processes,
        .loops = 1,
        .user = geteuid() == 0 ? WEIR_STR("root") : WEIR_STR(""),
        .drain_timeout_ns = 60 * NS_PER_S,
        .start_timeout_ns = 60 * NS_PER_S,
        .stall_timeout_ns = CLOCK_NEVER,
        .max_requests = UINT64_MAX,
    };
    plan->log.level = SITE_LOG_INFO;
    struct plan_listener *listener = arena_alloc(&plan->arena, sizeof(*listener));
    *listener = (struct plan_listener){ .address = WEIR_STR("127.0.0.1:0"), .backlog = 10 };
    listener->addr.len = sizeof(listener->addr.in);
    listener->addr.in.sin_family = AF_INET;
    listener->addr.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    plan->listeners = listener;
    plan->listeners_count = 1;
    return plan;
}

static void
start(const char *how, unsigned processes)
{
    master.file = how;
    ck_assert_int_eq(crew_new(&master, make_plan(processes), 1, &crew), EXIT_OK);
}

/* Until `*count` is `wanted`; the tests' time limit ends it otherwise. */
static void
turn_until(const unsigned *count, unsigned wanted)
{
    while (*count < wanted) {
        loop_turn(loop, true);
    }
}

static void
turn_until_serving(unsigned count)
{
    while (crew_count(crew, CREW_WORKER_SERVING) != count) {
        loop_turn(loop, true);
    }
}

static void
wind(uint64_t ns)
{
    manual_clock_advance_ns(&manual, ns);
    loop_turn(loop, false);
}

static bool
log_has(const char *text)
{
    static char all[65536];
    ssize_t n = pread(log_fd, all, sizeof(all) - 1, 0);
    all[n < 0 ? 0 : n] = '\0';
    return strstr(all, text) != NULL;
}

/* The process of the only worker that serves, or of that with the index. */
static struct crew_worker *
worker_at(unsigned index)
{
    struct crew_worker *worker = crew->workers;
    while (worker != NULL && worker->index != index) {
        worker = worker->next;
    }
    ck_assert_ptr_nonnull(worker);
    return worker;
}

/* ---- starting ---------------------------------------------------------------------------- */

START_TEST(serves_once_all_slots_have_somebody)
{
    start("", 3);
    turn_until(&served, 1);
    ck_assert_uint_eq(crew_count(crew, CREW_WORKER_SERVING), 3);
    crew_drain(crew, true);
    turn_until(&emptied, 1);
    ck_assert_uint_eq(served, 1);
    ck_assert_uint_eq(failed, 0);
}
END_TEST

START_TEST(a_worker_that_is_never_ready_fails_the_start)
{
    start("start: hang", 2);
    wind(59 * NS_PER_S);
    ck_assert_uint_eq(crew_count(crew, CREW_WORKER_STARTING), 2);
    wind(2 * NS_PER_S);
    turn_until(&failed, 1);
    ck_assert_int_eq(failed_code, EXIT_RUNTIME);
    ck_assert_uint_eq(served, 0);
    ck_assert(log_has("does not become ready within workers.start_timeout"));
    ck_assert_ptr_nonnull(strstr(crew->failure, "workers.start_timeout"));
}
END_TEST

START_TEST(a_worker_that_never_accepts_fails_the_start)
{
    start("accept: hang", 1);
    turn_until_serving(1); /* as far as anybody knows */
    wind(61 * NS_PER_S);
    turn_until(&failed, 1);
    ck_assert_uint_eq(served, 0);
    ck_assert(log_has("does not begin to accept within workers.start_timeout"));
}
END_TEST

START_TEST(a_worker_held_by_a_debugger_has_its_time)
{
    start("start: hang", 1);
    kill(crew->workers->pid, SIGSTOP);
    waitid(P_PID, (id_t)crew->workers->pid, &(siginfo_t){ 0 }, WSTOPPED | WNOWAIT);
    wind(61 * NS_PER_S);
    ck_assert(!log_has("start_timeout"));
    kill(crew->workers->pid, SIGCONT);
    waitid(P_PID, (id_t)crew->workers->pid, &(siginfo_t){ 0 }, WCONTINUED);
    wind(61 * NS_PER_S);
    turn_until(&failed, 1);
}
END_TEST

START_TEST(the_only_worker_dying_before_it_accepts_fails_the_start)
{
    start("accept: end", 1);
    turn_until(&failed, 1);
    ck_assert_uint_eq(served, 0);
    ck_assert_int_eq(failed_code, 3);
    ck_assert_ptr_nonnull(strstr(crew->failure, "ended with status 3 before it served"));
}
END_TEST

START_TEST(what_a_dead_worker_said_last_does_not_count)
{
    start("start: be ready and end", 1);
    pid_t pid = crew->workers->pid;
    int status;
    waitpid(pid, &status, 0); /* both are there when it is looked at */
    crew_reap(crew, pid, status);
    ck_assert_uint_eq(failed, 1);
    ck_assert_int_eq(crew->state, CREW_FAILED);
}
END_TEST

START_TEST(a_worker_of_several_dying_before_it_accepts_has_its_slot_adopted)
{
    start("accept: the second ends", 2);
    turn_until(&served, 1);
    ck_assert_uint_eq(crew_count(crew, CREW_WORKER_SERVING), 1);
    ck_assert_ptr_eq(crew->slots[0].owner, worker_at(0));
    ck_assert_ptr_eq(crew->slots[1].owner, worker_at(0));
    ck_assert_uint_eq(failed, 0);
}
END_TEST

START_TEST(a_worker_speaks_for_its_own_slots_alone)
{
    start("accept: lie", 2);
    turn_until_serving(2);
    for (int i = 0; i < 20; i++) {
        loop_turn(loop, false);
    }
    wind(61 * NS_PER_S);
    turn_until(&failed, 1);
    ck_assert_uint_eq(served, 0);
}
END_TEST

START_TEST(a_program_that_cannot_be_executed_is_logged)
{
    snprintf(program, sizeof(program), "/nowhere/weir");
    start("", 1);
    turn_until(&failed, 1);
    ck_assert_int_eq(failed_code, EXIT_SYSTEM);
    ck_assert(log_has("/nowhere/weir cannot be executed"));
}
END_TEST

START_TEST(starts_whole_or_not_at_all)
{
    bool has_failed = true;
    for (uint64_t nth = 1; has_failed; nth++) {
        struct plan *plan = make_plan(2);
        struct crew *made = NULL;
        failalloc_fail_nth(nth);
        int code = crew_new(&master, plan, 1, &made);
        has_failed = failalloc_has_failed();
        failalloc_fail_nth(0);
        ck_assert(code == EXIT_OK ? made != NULL : code == EXIT_SYSTEM && made == NULL);
        ck_assert(has_failed || (made->state == CREW_STARTING && made->workers != NULL));
        end(made);
        ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    }
}
END_TEST

/* ---- serving ----------------------------------------------------------------------------- */

static const struct {
    const char *how, *says;
} broken[] = {
    { "serve: talk nonsense", "sent what is no message: killed" },
    { "serve: order", "sent a message that is not its to send: killed" },
};

START_TEST(a_worker_that_breaks_the_protocol_is_killed_and_replaced)
{
    start(broken[_i].how, 2);
    turn_until(&served, 1);
    while (crew->restarts == 0) {
        loop_turn(loop, true);
    }
    ck_assert(log_has(broken[_i].says));
    ck_assert(log_has("killed by SIGKILL: it is replaced"));
    ck_assert_ptr_eq(crew->slots[0].owner, worker_at(1));
}
END_TEST

START_TEST(a_worker_that_closes_its_channel_and_stays_is_killed_and_replaced)
{
    start("serve: close", 2);
    turn_until(&served, 1);
    while (!worker_at(0)->is_mute) {
        loop_turn(loop, true);
    }
    wind(11 * NS_PER_S);
    while (crew->restarts == 0) {
        loop_turn(loop, true);
    }
    ck_assert(log_has("closed its channel and does not end: killed"));
}
END_TEST

START_TEST(an_end_with_status_0_is_a_death_like_any_other)
{
    start("", 1);
    turn_until(&served, 1);
    struct crew_worker *worker = worker_at(0);
    pid_t pid = worker->pid;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    crew_reap(crew, pid, 0); /* exit(0) of a module */
    ck_assert_uint_eq(crew->quick_deaths, 1);
    ck_assert(log_has("ended with status 0: it is replaced"));
}
END_TEST

static void
ask_for_another(struct crew_worker *worker)
{
    const struct channel_recycle body = { .is_told = 1 };
    const struct channel_message message = { .type = CHANNEL_RECYCLE,
        .body = &body,
        .bytes = sizeof(body) };
    crew_on_message(worker, &message);
}

START_TEST(a_worker_that_wants_to_end_is_drained_once_another_serves)
{
    start("drain: end badly", 1);
    turn_until(&served, 1);
    struct crew_worker *old = worker_at(0);
    ask_for_another(old);
    ask_for_another(old);
    ck_assert_uint_eq(crew_count(crew, CREW_WORKER_STARTING), 1);
    ck_assert_ptr_eq(crew->slots[0].owner, old);
    while (crew->workers->next != NULL || crew->workers == old) {
        loop_turn(loop, true);
    }
    ck_assert_ptr_eq(crew->slots[0].owner, crew->workers);
    ck_assert_uint_eq(crew->restarts, 0);
    ck_assert(log_has("ended with status 5 while it was stopping"));
}
END_TEST

START_TEST(a_replacement_that_hangs_is_given_up_and_tried_again)
{
    start("", 1);
    turn_until(&served, 1);
    struct crew_worker *old = worker_at(0);
    master.file = "start: hang";
    ask_for_another(old);
    wind(61 * NS_PER_S);
    while (crew->restarts == 0) {
        loop_turn(loop, true);
    }
    ck_assert(!old->is_replaced);
    ck_assert_int_eq(old->state, CREW_WORKER_SERVING);
    master.file = "";
    ask_for_another(old);
    while (crew->workers->next != NULL || crew->workers == old) {
        loop_turn(loop, true);
    }
    ck_assert_uint_eq(crew_count(crew, CREW_WORKER_SERVING), 1);
}
END_TEST

START_TEST(what_keeps_a_replacement_from_starting_is_logged)
{
    start("", 2);
    turn_until(&served, 1);
    master.file = "start: report";
    kill(worker_at(0)->pid, SIGKILL);
    while (crew->restarts == 0) {
        loop_turn(loop, true);
    }
    wind(NS_PER_S);
    while (crew->restarts == 1) {
        loop_turn(loop, true);
    }
    ck_assert(log_has("what is wrong"));
    ck_assert(log_has("ended with status 78: it is replaced"));
    ck_assert_uint_eq(crew_count(crew, CREW_WORKER_SERVING), 1);
}
END_TEST

START_TEST(workers_that_die_one_after_the_other_are_replaced_ever_later)
{
    start("", 1);
    turn_until(&served, 1);
    for (unsigned deaths = 1; deaths < 5; deaths++) {
        kill(worker_at(0)->pid, SIGKILL);
        while (crew->restarts < deaths) {
            loop_turn(loop, true);
        }
        ck_assert_uint_eq(crew->quick_deaths, deaths);
        uint64_t delay_ns = 100 * NS_PER_MS << (deaths - 1);
        wind(delay_ns - 1);
        ck_assert_ptr_null(crew->workers);
        wind(1);
        turn_until_serving(1);
    }
}
END_TEST

/* Their descriptors are used up: what they have is not to suffer for the one that died. */
START_TEST(a_slot_that_nobody_can_adopt_waits_for_its_own_worker)
{
    start("accept: only its own", 3);
    turn_until(&served, 1);
    kill(worker_at(1)->pid, SIGKILL);
    while (crew->restarts == 0) {
        loop_turn(loop, true);
    }
    uint64_t both_full_ns = manual.now_ns + NS_PER_S;
    while (worker_at(0)->full_until_ns != both_full_ns ||
            worker_at(2)->full_until_ns != both_full_ns) {
        loop_turn(loop, true);
    }
    ck_assert_ptr_null(crew->slots[1].owner);
    wind(NS_PER_S); /* asked again, and another is started */
    turn_until_serving(3);
    while (!crew->slots[1].is_open) {
        loop_turn(loop, true);
    }
    ck_assert_ptr_eq(crew->slots[1].owner, worker_at(1));
    ck_assert_uint_eq(crew->restarts, 1);
}
END_TEST

START_TEST(a_worker_that_cannot_accept_fails_the_start)
{
    start("accept: nothing", 1);
    turn_until(&failed, 1);
    ck_assert_uint_eq(served, 0);
    ck_assert(log_has("cannot accept from all sockets"));
}
END_TEST

START_TEST(a_worker_that_does_not_end_when_told_is_killed)
{
    start("drain: hang", 1);
    turn_until(&served, 1);
    crew_drain(crew, false);
    wind(62 * NS_PER_S);
    ck_assert(!log_has("does not end"));
    wind(2 * NS_PER_S);
    turn_until(&emptied, 1);
    ck_assert(log_has("does not end: killed"));
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, serves_once_all_slots_have_somebody);
    tcase_add_test(tests, a_worker_that_is_never_ready_fails_the_start);
    tcase_add_test(tests, a_worker_that_never_accepts_fails_the_start);
    tcase_add_test(tests, a_worker_held_by_a_debugger_has_its_time);
    tcase_add_test(tests, the_only_worker_dying_before_it_accepts_fails_the_start);
    tcase_add_test(tests, what_a_dead_worker_said_last_does_not_count);
    tcase_add_test(tests, a_worker_of_several_dying_before_it_accepts_has_its_slot_adopted);
    tcase_add_test(tests, a_worker_speaks_for_its_own_slots_alone);
    tcase_add_test(tests, starts_whole_or_not_at_all);
    tcase_add_test(tests, a_program_that_cannot_be_executed_is_logged);
    tcase_add_loop_test(tests, a_worker_that_breaks_the_protocol_is_killed_and_replaced, 0, 2);
    tcase_add_test(tests, a_worker_that_closes_its_channel_and_stays_is_killed_and_replaced);
    tcase_add_test(tests, an_end_with_status_0_is_a_death_like_any_other);
    tcase_add_test(tests, a_worker_that_wants_to_end_is_drained_once_another_serves);
    tcase_add_test(tests, a_replacement_that_hangs_is_given_up_and_tried_again);
    tcase_add_test(tests, what_keeps_a_replacement_from_starting_is_logged);
    tcase_add_test(tests, workers_that_die_one_after_the_other_are_replaced_ever_later);
    tcase_add_test(tests, a_slot_that_nobody_can_adopt_waits_for_its_own_worker);
    tcase_add_test(tests, a_worker_that_cannot_accept_fails_the_start);
    tcase_add_test(tests, a_worker_that_does_not_end_when_told_is_killed);
}

int
main(int argc, char **argv)
{
    return argc == 2 && strcmp(argv[1], "worker") == 0 ? work()
                                                       : unit_run("server/crew", add_tests);
}
