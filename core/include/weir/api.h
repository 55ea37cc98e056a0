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

/* Which thread a function belongs to, checked by clang's -Wthread-safety: a function marked
 * WEIR_LOOP runs on its object's loop, WEIR_BLOCKING must not be called there. WEIR_ANY and
 * WEIR_SETUP (while starting, before any loop turns) are documentation. */
#if defined(__clang__) && !defined(__cplusplus)
struct __attribute__((capability("role"))) weir_role {
    char unused;
};
extern struct weir_role weir_on_loop; /* never defined, never locked */
#define WEIR_LOOP     __attribute__((requires_capability(weir_on_loop)))
#define WEIR_BLOCKING __attribute__((locks_excluded(weir_on_loop)))
#else
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
