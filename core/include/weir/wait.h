/* SPDX-License-Identifier: MIT */
/* Waiting: a hook that cannot answer yet suspends its request and is resumed, from any thread.
 *
 *     enum weir_verdict verdict = weir_suspend(request, on_result, 2000000000, &token);
 *     if (verdict == WEIR_PENDING) {
 *         hand_over(token);            // to a thread, a library's callback, another request
 *     }
 *     return verdict;
 *     ...
 *     weir_resume(token, result, free);       // any thread, whenever; once is once
 *
 * A wait ends exactly once: resumed, timed out, or aborted because the request ended. The
 * resume function runs on the request's loop, in the hook's place, never from within another
 * call of the module. Legal in the phases head, rewrite, access, prepare and content. Grows
 * until 1.0. */
#ifndef WEIR_WAIT_H
#define WEIR_WAIT_H

#include <stdint.h>

#include <weir/api.h>
#include <weir/module.h>

WEIR_BEGIN_DECLS

/* A suspended hook, as a value: may be copied, kept and forgotten. A stale one is harmless for
 * as long as the worker lives. All zero is no token. */
struct weir_token {
    void *slot; /* the core's */
    uint64_t generation;
};

/* How a wait ended. */
enum weir_wake {
    WEIR_WOKEN = 0,     /* weir_resume(), or the work was done */
    WEIR_TIMED_OUT = 1, /* its deadline passed */
    WEIR_ABORTED = 2,   /* the request ended: clean up; the verdict is ignored */
    WEIR_BUSY = 3,      /* weir_offload() only: the pool had no room */
};

/* Called in the hook's place. `payload` is weir_resume()'s, and now the callee's; NULL unless
 * `how` is WEIR_WOKEN. Answers as the hook would. Thread: the request's loop. */
typedef enum weir_verdict weir_resume_fn(struct weir_request *request, const void *conf,
        enum weir_wake how, void *payload);

/* "As long as timeouts.wait allows." */
#define WEIR_WAIT_PRESET UINT64_C(0)

/*
 * Suspends the request at the hook that runs.
 * Thread:  the request's loop, from within the hook.
 * Params:  timeout_ns: at most timeouts.wait, which is also WEIR_WAIT_PRESET's.
 * Returns: WEIR_PENDING, which the hook returns, and *token; WEIR_FAILED when the phase cannot
 *          wait, the request waits already, or there is no memory.
 */
WEIR_MUST_USE WEIR_API enum weir_verdict weir_suspend(struct weir_request *request,
        weir_resume_fn *resume, uint64_t timeout_ns, struct weir_token *token);

/*
 * Resumes, giving `payload` over. The second call, a late one and one with a stale token do
 * nothing but free the payload.
 * Thread:  any.
 * Memory:  `payload` belongs to the resume function when the answer is true; else it has been
 *          freed by `free_payload` (which may be NULL), on the calling thread. When the request
 *          ends in the moment between, the loop frees it.
 * Returns: true for the one call that resumes.
 */
WEIR_API bool weir_resume(struct weir_token token, void *payload,
        void (*free_payload)(void *payload));

WEIR_END_DECLS

#endif
