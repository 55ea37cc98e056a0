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
 * A wait ends exactly once: resumed, timed out, or aborted because the request ended or another
 * answer took this one's place. The resume function runs on the request's loop, in the hook's
 * place, never from within another call of the module. Legal in every phase of a request:
 *
 *     head, rewrite, access,   the request waits; its verdict is the hook's
 *     prepare, content
 *     reply head               the answer is held, and may be replaced before the wait and
 *                              after; a handler that streams goes on until there is no room.
 *                              When the answer is begun anew by its author or the core, the
 *                              wait is aborted, and the hooks are called for the new one. Once
 *                              timeouts.request is over no wait is granted any more
 *     request and reply body   the filter waits, and its bytes with it; when the resume
 *                              function says WEIR_NEXT the filter is called again, and
 *                              WEIR_DONE, WEIR_FAILED and WEIR_PENDING mean what they mean when
 *                              it says them itself
 *     log                      the client has long been served; 5 s in all, and a thousand
 *                              requests a loop: what is over that is aborted, or refused at
 *                              once, and counted
 *
 * Several hooks of a request may wait at the same time: one that answers, one of the reply
 * head, and each filter. Grows until 1.0. */
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
    WEIR_ABORTED = 2,   /* nobody waits for it any more: clean up; the verdict is ignored */
    WEIR_BUSY = 3,      /* weir_offload() only: no thread could do it */
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
 * Returns: WEIR_PENDING, which the hook returns, and *token; WEIR_FAILED when the hook waits
 *          already or may not wait (see above), or there is no memory.
 */
WEIR_MUST_USE WEIR_API WEIR_LOOP enum weir_verdict weir_suspend(struct weir_request *request,
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
WEIR_API WEIR_ANY bool weir_resume(struct weir_token token, void *payload,
        void (*free_payload)(void *payload));

WEIR_END_DECLS

#endif
