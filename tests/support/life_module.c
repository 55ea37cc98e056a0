/* SPDX-License-Identifier: MIT */
/* A module that writes down its life, a line for each call, into the file of its option `note`:
 *
 *     PROCESS NAME FUNCTION [LOOP] THREAD SIGNALS
 *
 * where THREAD is "main" or "other" and SIGNALS "deaf" when TERM, ALRM and USR1 are blocked. In
 * the function that its option `in` names (with a number behind it: on that loop) it does what
 * `way` says: fail, report, segv or loop. With `tick` a timer of each loop calls `tick`; with
 * `works` a thread of a pool gives the answer, in `job`. Built twice, as life_one and life_two.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weir/offload.h>
#include <weir/reply.h>
#include <weir/request.h>
#include <weir/timer.h>
#include <weir/worker.h>

struct life_options {
    struct weir_str note, in, way;
    uint64_t tick_ns;
    bool works;
};

static const struct weir_option options[] = {
    WEIR_PATH(struct life_options, note, .required = true),
    WEIR_STRING(struct life_options, in),
    WEIR_STRING(struct life_options, way),
    WEIR_DURATION(struct life_options, tick_ns, .key = "tick", .optional = true),
    WEIR_BOOL(struct life_options, works),
};

static void
write_line(const struct life_options *own, const char *what)
{
    char path[1024], line[200];
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    bool is_deaf = sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGALRM) &&
            sigismember(&blocked, SIGUSR1);
    int len = snprintf(line, sizeof(line), "%d %s %s %s%s\n", (int)getpid(), LIFE_NAME, what,
            gettid() == getpid() ? "main" : "other", is_deaf ? " deaf" : "");
    if (len < 0 || weir_str_to_path(own->note, path, sizeof(path)) < 0) {
        abort();
    }
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd == -1 || write(fd, line, (size_t)len) != len) {
        abort();
    }
    close(fd);
}

static int
live_through(const struct weir_worker *worker, const char *what,
        struct weir_conf_report *report)
{
    const struct life_options *own = weir_worker_options(worker);
    write_line(own, what);
    if (!weir_str_eq(own->in, weir_str_from(what))) {
        return 0;
    }
    if (weir_str_eq(own->way, WEIR_STR("fail"))) {
        return -ECONNREFUSED;
    }
    if (weir_str_eq(own->way, WEIR_STR("report"))) {
        weir_conf_error(report, "way", "there is no such way");
        return -EINVAL;
    }
    if (weir_str_eq(own->way, WEIR_STR("segv"))) {
        static int *volatile nowhere = (int *)8; /* the compiler is not to know */
        *nowhere = 0;
    }
    if (weir_str_eq(own->way, WEIR_STR("loop"))) {
        for (volatile unsigned turns = 0;; turns++) {
        }
    }
    return 0;
}

static int
live_through_on(const struct weir_loop *loop, const char *what, struct weir_conf_report *report)
{
    char whole[40];
    snprintf(whole, sizeof(whole), "%s %u", what, weir_loop_index(loop));
    return live_through(weir_loop_worker(loop), whole, report);
}

static int
worker_start(struct weir_worker *worker, struct weir_conf_report *report)
{
    return live_through(worker, "worker_start", report);
}

static void
worker_stop(struct weir_worker *worker)
{
    (void)live_through(worker, "worker_stop", NULL);
}

static void
tick(struct weir_loop *loop, void *data)
{
    (void)data;
    (void)live_through_on(loop, "tick", NULL);
}

static int
loop_start(struct weir_loop *loop, struct weir_conf_report *report)
{
    const struct life_options *own = weir_worker_options(weir_loop_worker(loop));
    int r = own->tick_ns == 0 ? 0 : weir_every(loop, own->tick_ns, tick, NULL, NULL);
    return r < 0 ? r : live_through_on(loop, "loop_start", report);
}

static void
loop_stop(struct weir_loop *loop)
{
    (void)live_through_on(loop, "loop_stop", NULL);
}

static void
live(struct weir_worker *worker)
{
    (void)live_through(worker, "live", NULL);
}

static void
drain(struct weir_worker *worker)
{
    (void)live_through(worker, "drain", NULL);
}

/* What each thread keeps: its number, by which its jobs know it. */
static int
thread_start(struct weir_worker *worker, void **state)
{
    pid_t *own = malloc(sizeof(*own));
    int r = own == NULL ? -ENOMEM : live_through(worker, "thread_start", NULL);
    if (r < 0) {
        free(own);
        return r;
    }
    *own = gettid();
    *state = own;
    return 0;
}

static void
thread_stop(struct weir_worker *worker, void *state)
{
    (void)live_through(worker, *(pid_t *)state == gettid() ? "thread_stop" : "stray", NULL);
    free(state);
}

struct work {
    const struct weir_worker *worker;
    bool is_own; /* the thread had what it keeps */
};

static void
run(void *data, void *thread_state)
{
    struct work *work = data;
    (void)live_through(work->worker, "job", NULL);
    work->is_own = *(pid_t *)thread_state == gettid();
}

static enum weir_verdict
done(struct weir_request *request, const void *conf, enum weir_wake how, void *data)
{
    (void)conf;
    const struct work *work = data;
    return how != WEIR_WOKEN ? WEIR_NEXT
                             : weir_reply_text(request, 200, WEIR_STR("text/plain"),
                                       work->is_own ? WEIR_STR("worked") : WEIR_STR("strayed"));
}

static const struct weir_job job = { .run = run, .done = done, .free = free };

static enum weir_verdict
answer(struct weir_request *request, const void *conf)
{
    (void)conf;
    const struct weir_worker *worker = weir_request_worker(request);
    const struct life_options *own = weir_worker_options(worker);
    if (!own->works) {
        return weir_reply_text(request, 200, WEIR_STR("text/plain"), WEIR_STR("alive"));
    }
    struct work *work = malloc(sizeof(*work));
    if (work == NULL) {
        return WEIR_FAILED;
    }
    *work = (struct work){ .worker = worker };
    return weir_offload(request, &job, work, WEIR_WAIT_PRESET);
}

static const struct weir_hook hooks[] = { { .on = WEIR_ON_CONTENT, .request = answer } };

WEIR_EXPORT const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD(LIFE_NAME, "1", "Writes down its life"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = LIFE_NAME, .hooks = WEIR_HOOKS(hooks) }),
    .options = WEIR_OPTIONS(struct life_options, options),
    .worker_start = worker_start,
    .worker_stop = worker_stop,
    .loop_start = loop_start,
    .loop_stop = loop_stop,
    .live = live,
    .drain = drain,
    .thread_start = thread_start,
    .thread_stop = thread_stop,
};
