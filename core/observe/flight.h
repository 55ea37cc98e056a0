/* SPDX-License-Identifier: MIT */
/* The flight record of a worker: what each of its threads is doing, in memory that it shares
 * with the master, so that whoever finds it dead or stuck can say where.
 *
 * A thread stores one word when it enters a module's hook and one when it leaves. Words that
 * follow one another differ, so that one which stays the same is a hook that does not return.
 * The master believes nothing of what it reads: it may come from the crash itself. */
#ifndef WEIR_OBSERVE_FLIGHT_H
#define WEIR_OBSERVE_FLIGHT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/api.h>

#define FLIGHT_THREADS_MAX 1024u
#define FLIGHT_MODULES_MAX 256u
#define FLIGHT_NAME_BYTES  72u
#define FLIGHT_TEXT_BYTES  256u

/* What a word says, lowest bits first: the module (1 up), the hook, a number that counts up. */
#define FLIGHT_MODULE_BITS 16
#define FLIGHT_HOOK_BITS   8

enum flight_kind {
    FLIGHT_UNUSED,
    FLIGHT_LOOP, /* must come back: what stays is a stall */
    FLIGHT_POOL, /* may take its time */
};

struct flight_record {
    _Atomic(uint64_t) word;       /* 0: in no module */
    _Atomic(uint32_t) kind;       /* enum flight_kind */
    _Atomic(int32_t) signal;      /* of its crash; 0: none */
    _Atomic(int32_t) thread;      /* the system's number */
    char text[FLIGHT_TEXT_BYTES]; /* the request at the crash; not terminated when full */
};

struct flight;

/* ---- in the worker ---- */

/* What the calling thread is doing; in a record of its own once it has begun, else in one that
 * nobody reads. */
struct flight_here {
    struct flight_record *record; /* borrowed */
    const void *request;          /* borrowed, while in a hook of it; NULL */
    uint64_t count;
};
extern _Thread_local struct flight_here flight_here __attribute__((tls_model("initial-exec")));

/* Maps what the master made; without it records are kept, and nobody reads them. Returns 0;
 * -EPROTO for what another build made; another negative errno. `fd` stays the caller's. Before
 * any thread. */
WEIR_MUST_USE int flight_attach(int fd);

/* The entry of a module's hook, for flight_enter(). The name is kept in the shared memory.
 * While starting, one thread. */
uint32_t flight_entry(const char *module, unsigned hook);

/* Gives the calling thread a record, and a stack for the handler of its crash; again: nothing.
 */
void flight_begin_thread(enum flight_kind kind);

/* Writes what is known of a request, within `bytes`; returns how many. Called in the middle of
 * a crash: reads memory, and calls nothing that locks. */
typedef size_t flight_describe_fn(const void *request, char *dst, size_t bytes);

/* From now on a crash (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT) writes to `log_fd` where it
 * happened, with a backtrace, before the process ends as it would have. Not in a build with
 * sanitizers, which do that themselves. A signal
 * that another process sent to this one is nobody's crash; to a thread it is a question where
 * that thread is, and answered like a crash. */
void flight_catch_crashes(int log_fd, flight_describe_fn *describe);
void flight_set_log(int log_fd);

/* In, from one hook of the request to the next, and out. No two words that follow one another
 * are the same, except where the same hook follows itself within one request. */
static inline void
flight_begin(const void *request)
{
    flight_here.request = request;
    flight_here.count += UINT64_C(1) << (FLIGHT_MODULE_BITS + FLIGHT_HOOK_BITS);
}

static inline void
flight_go_on(uint32_t entry)
{
    atomic_store_explicit(&flight_here.record->word, flight_here.count | entry,
            memory_order_relaxed);
}

static inline void
flight_enter(uint32_t entry, const void *request)
{
    flight_begin(request);
    flight_go_on(entry);
}

static inline void
flight_leave(void)
{
    flight_here.request = NULL;
    atomic_store_explicit(&flight_here.record->word, 0, memory_order_relaxed);
}

/* The entry that the calling thread is in; 0: none. */
static inline uint32_t
flight_current(void)
{
    uint64_t word = atomic_load_explicit(&flight_here.record->word, memory_order_relaxed);
    return (uint32_t)(word & ((UINT64_C(1) << (FLIGHT_MODULE_BITS + FLIGHT_HOOK_BITS)) - 1));
}

/* ---- in the master ---- */

/* Shared memory for one worker; *fd is to be sent to it. Returns 0 or a negative errno. */
WEIR_MUST_USE int flight_new(struct flight **out);
void flight_free(struct flight *flight); /* NULL: nothing */
int flight_fd(const struct flight *flight);

#define FLIGHT_PLACE_BYTES 448u

/* Where a worker was. */
struct flight_place {
    bool is_known;                      /* it is the thread that crashed, or was stuck */
    unsigned at_work;                   /* threads that were in modules */
    char module[FLIGHT_NAME_BYTES + 1]; /* terminated; empty: in the core itself */
    char text[FLIGHT_PLACE_BYTES];      /* `module geo, hook access, route "/api"...` */
};

/* Where it was when it ended: where the thread was that said that it crashes, or that was found
 * stalled; else what one of those was doing that were at work. Hooks are named by `hook_name`.
 */
typedef const char *flight_hook_name_fn(unsigned hook);
void flight_locate(const struct flight *flight, flight_hook_name_fn *hook_name,
        struct flight_place *place);

/* Looks at the loops, and at threads that crashed. True when one has been in the same hook at
 * this look and all those before it for `limit_ns`, with several looks in between; sets *thread
 * to the system's number for it, as the worker says. */
bool flight_is_stalled(struct flight *flight, uint64_t now_ns, uint64_t limit_ns,
        int32_t *thread);

/* Forgets what was seen: the worker could not run meanwhile. */
void flight_look_anew(struct flight *flight);

#endif
