/* SPDX-License-Identifier: MIT */
/* The attributes that Weir's public headers use. Stable since 1.0. */
#ifndef WEIR_API_H
#define WEIR_API_H

/* A function of libweir that modules may call. */
#define WEIR_API __attribute__((visibility("default")))

/* The one table that a module exports. */
#define WEIR_EXPORT __attribute__((visibility("default")))

/* A result that must not be ignored. */
#define WEIR_MUST_USE __attribute__((warn_unused_result))

#define WEIR_NORETURN              __attribute__((noreturn))
#define WEIR_PRINTF(string, first) __attribute__((format(__printf__, string, first)))

/* Which thread a function is for:
 *
 *     WEIR_LOOP      the loop's of its request, connection or timer, and no other
 *     WEIR_BLOCKING  any but a loop's: it may wait
 *     WEIR_ANY       any
 *     WEIR_SETUP     where a module is opened, started, stopped or closed
 *
 * clang's -Wthread-safety holds calls against it in those functions of a module that say where
 * they run; those that say nothing are not looked at:
 *
 *     static WEIR_ON_THREAD void run(void *data, void *thread_state);  a job, a thread's main
 *     static WEIR_ON_LOOP enum weir_verdict hook(struct weir_request *request, ...);
 *
 * A function called by one of them says so as well. */
#if defined(__clang__) && !defined(__cplusplus)
struct __attribute__((capability("thread"))) weir_thread {
    char unused;
};
extern struct weir_thread weir_a_loops, weir_no_loops; /* never defined, never held */
#define WEIR_ON_LOOP   __attribute__((requires_capability(weir_a_loops)))
#define WEIR_ON_THREAD __attribute__((requires_capability(weir_no_loops)))
#define WEIR_LOOP      __attribute__((locks_excluded(weir_no_loops)))
#define WEIR_BLOCKING  __attribute__((locks_excluded(weir_a_loops)))
#else
#define WEIR_ON_LOOP
#define WEIR_ON_THREAD
#define WEIR_LOOP
#define WEIR_BLOCKING
#endif
#define WEIR_ANY
#define WEIR_SETUP

#ifdef __cplusplus
#define WEIR_BEGIN_DECLS extern "C" {
#define WEIR_END_DECLS   }
#else
#define WEIR_BEGIN_DECLS
#define WEIR_END_DECLS
#endif

#endif
