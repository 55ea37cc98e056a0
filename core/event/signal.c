/* SPDX-License-Identifier: MIT */
/* A signalfd rather than libevent's signal events: those install handlers, which a host such as
 * CPython replaces with its own, and deliver to one base of the process only. */
#include "event/signal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/assert.h"
#include "event/loop.h"

struct signal_watch {
    signal_watch_fn *fn;
    void *context;            /* borrowed */
    int fd;                   /* owned */
    bool is_running, is_dead; /* within fn; and freed there */
    struct event on_signal;
};

static void
on_signal(evutil_socket_t fd, short what, void *context)
{
    (void)what;
    struct signal_watch *watch = context;
    watch->is_running = true;
    struct signalfd_siginfo info;
    while (!watch->is_dead && read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        watch->fn(watch->context, (int)info.ssi_signo); /* may free the watch */
    }
    watch->is_running = false;
    if (watch->is_dead) {
        signal_watch_free(watch);
    }
}

int
signal_watch_new(struct loop *loop, const int *signals, size_t count, signal_watch_fn *fn,
        void *context, struct signal_watch **out)
{
    int r;
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < count; i++) {
        if (signals[i] == SIGKILL || signals[i] == SIGSTOP ||
                sigaddset(&set, signals[i]) == -1) {
            return -EINVAL;
        }
    }
    struct signal_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL) {
        return -ENOMEM;
    }
    watch->fn = fn;
    watch->context = context;
    watch->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (watch->fd == -1) {
        r = -errno;
        goto fail;
    }
    if (event_assign(&watch->on_signal, loop_base(loop), watch->fd, EV_READ | EV_PERSIST,
                on_signal, watch) != 0 ||
            event_add(&watch->on_signal, NULL) != 0) {
        r = -ENOMEM;
        goto fail;
    }
    r = -pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (r != 0) {
        goto fail;
    }
    *out = watch;
    return 0;

fail:
    signal_watch_free(watch);
    return r;
}

void
signal_watch_free(struct signal_watch *watch)
{
    if (watch == NULL) {
        return;
    }
    if (watch->is_running) {
        watch->is_dead = true; /* on_signal() goes on with it */
        return;
    }
    if (event_initialized(&watch->on_signal)) {
        event_del(&watch->on_signal);
    }
    if (watch->fd != -1) {
        close(watch->fd);
    }
    free(watch);
}

void
signal_ignore_pipe(void)
{
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    sigemptyset(&ignore.sa_mask);
    int r = sigaction(SIGPIPE, &ignore, NULL);
    WEIR_ASSERT(r == 0);
}

void
signal_block_all(void)
{
    static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS };
    sigset_t set;
    sigfillset(&set);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        sigdelset(&set, faults[i]);
    }
    int r = pthread_sigmask(SIG_SETMASK, &set, NULL);
    WEIR_ASSERT(r == 0);
}

void
signal_unblock_all(void)
{
    sigset_t set;
    sigemptyset(&set);
    int r = pthread_sigmask(SIG_SETMASK, &set, NULL);
    WEIR_ASSERT(r == 0);
}
