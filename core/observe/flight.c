/* SPDX-License-Identifier: MIT */
/* The handler's text is made at the crash, from the request that the thread was serving, so
 * that requests that do not crash cost nothing but two words for each hook. */
#include "observe/flight.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define STACK_BYTES (64u << 10)
#define FRAMES_MAX  64

/* Looks that a stall takes at least: a machine that stood still is no stall. */
#define STALL_LOOKS 3u

/* What both sides map. */
struct flight_pages {
    _Atomic(uint32_t) module_count;
    char modules[FLIGHT_MODULES_MAX][FLIGHT_NAME_BYTES]; /* terminated */
    struct flight_record records[FLIGHT_THREADS_MAX];
};

/* ---- in the worker ----------------------------------------------------------------------- */

/* What is written where there are no shared pages, or no record is left. */
static struct flight_pages private_pages;
static struct flight_pages *pages = &private_pages;
static struct flight_record nowhere;
_Thread_local struct flight_here flight_here = { .record = &nowhere };

static flight_describe_fn *describe_request;
static _Atomic(int) crash_log_fd = STDERR_FILENO;

int
flight_attach(int fd)
{
    struct stat file;
    if (fstat(fd, &file) == -1) {
        return -errno;
    }
    /* A file of another size would end in a signal. */
    if (!S_ISREG(file.st_mode) || file.st_size != (off_t)sizeof(struct flight_pages)) {
        return -EPROTO;
    }
    void *memory = mmap(NULL, sizeof(struct flight_pages), PROT_READ | PROT_WRITE, MAP_SHARED,
            fd, 0);
    if (memory == MAP_FAILED) {
        return -errno;
    }
    pages = memory;
    return 0;
}

uint32_t
flight_entry(const char *module, unsigned hook)
{
    uint32_t count = atomic_load_explicit(&pages->module_count, memory_order_relaxed);
    uint32_t i = 0;
    while (i < count && strncmp(pages->modules[i], module, FLIGHT_NAME_BYTES - 1) != 0) {
        i++;
    }
    if (i == count && count < FLIGHT_MODULES_MAX) {
        snprintf(pages->modules[i], FLIGHT_NAME_BYTES, "%s", module);
        atomic_store_explicit(&pages->module_count, count + 1, memory_order_release);
    }
    uint32_t number = i < FLIGHT_MODULES_MAX ? i + 1 : FLIGHT_MODULES_MAX;
    return number | (hook << FLIGHT_MODULE_BITS);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CATCHES_CRASHES 0
#else
#define CATCHES_CRASHES 1
#endif

/* The thread's end gives its record and its stack back. */
static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;

static void
end_thread(void *stack)
{
    atomic_store_explicit(&flight_here.record->word, 0, memory_order_relaxed);
    atomic_store_explicit(&flight_here.record->kind, FLIGHT_UNUSED, memory_order_release);
    flight_here.record = &nowhere;
    if (CATCHES_CRASHES) {
        stack_t none = { .ss_flags = SS_DISABLE };
        sigaltstack(&none, NULL);
    }
    munmap(stack, STACK_BYTES);
}

static void
make_key(void)
{
    if (pthread_key_create(&thread_key, end_thread) != 0) {
        abort();
    }
}

static struct flight_record *
take_record(enum flight_kind kind)
{
    for (uint32_t i = 0; i < FLIGHT_THREADS_MAX; i++) {
        struct flight_record *record = &pages->records[i];
        uint32_t unused = FLIGHT_UNUSED;
        if (atomic_compare_exchange_strong_explicit(&record->kind, &unused, (uint32_t)kind,
                    memory_order_acq_rel, memory_order_relaxed)) {
            return record;
        }
    }
    return &nowhere;
}

void
flight_begin_thread(enum flight_kind kind)
{
    pthread_once(&thread_once, make_key);
    if (pthread_getspecific(thread_key) != NULL) {
        return;
    }
    void *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) {
        flight_here.record = &nowhere;
        return;
    }
    if (pthread_setspecific(thread_key, stack) != 0) {
        munmap(stack, STACK_BYTES);
        flight_here.record = &nowhere;
        return;
    }
    flight_here.record = take_record(kind);
    atomic_store_explicit(&flight_here.record->thread, (int32_t)gettid(), memory_order_relaxed);
    if (CATCHES_CRASHES) {
        const stack_t alternate = { .ss_sp = stack, .ss_size = STACK_BYTES };
        sigaltstack(&alternate, NULL);
    }
}

static void
put(char *line, size_t *at, size_t bytes, const char *text, size_t len)
{
    for (size_t i = 0; i < len && *at + 1 < bytes && text[i] != '\0'; i++) {
        line[(*at)++] = text[i];
    }
}

/* On the thread that crashed; nothing here allocates or locks. */
static void
on_crash(int signo, siginfo_t *info, void *context)
{
    (void)context;
    struct flight_here *here = &flight_here;
    bool is_told = info->si_code == SI_USER; /* whichever thread hears it */
    if (!is_told) {
        atomic_store_explicit(&here->record->signal, signo, memory_order_relaxed);
    }
    if (here->request != NULL && describe_request != NULL) {
        describe_request(here->request, here->record->text, FLIGHT_TEXT_BYTES);
    }
    char line[128];
    size_t at = 0;
    const char *name = sigabbrev_np(signo);
    put(line, &at, sizeof(line), "crash: SIG", SIZE_MAX);
    put(line, &at, sizeof(line), name == NULL ? "?" : name, SIZE_MAX);
    uint64_t word = atomic_load_explicit(&here->record->word, memory_order_relaxed);
    uint32_t module = (uint32_t)(word & ((1u << FLIGHT_MODULE_BITS) - 1));
    if (word != 0 && module > 0 && module <= FLIGHT_MODULES_MAX) {
        put(line, &at, sizeof(line), " in module ", SIZE_MAX);
        put(line, &at, sizeof(line), pages->modules[module - 1], FLIGHT_NAME_BYTES);
    }
    put(line, &at, sizeof(line), "; the calls that led there:\n", SIZE_MAX);
    int fd = atomic_load_explicit(&crash_log_fd, memory_order_relaxed);
    ssize_t ignored = write(fd, line, at);
    (void)ignored;
    void *frames[FRAMES_MAX];
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), fd);
    /* The disposition is the default again: a fault happens once more, a sent signal is sent.
     */
    if (info->si_code <= 0) {
        raise(signo);
    }
}

void
flight_set_log(int log_fd)
{
    atomic_store_explicit(&crash_log_fd, log_fd, memory_order_relaxed);
}

void
flight_catch_crashes(int log_fd, flight_describe_fn *describe)
{
    static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
    flight_set_log(log_fd);
    describe_request = describe;
    if (!CATCHES_CRASHES) {
        return;
    }
    void *frames[1];
    backtrace(frames, 1); /* loads what it needs, while there is time to */
    struct sigaction action = {
        .sa_sigaction = on_crash,
        .sa_flags = SA_SIGINFO | SA_ONSTACK | (int)SA_RESETHAND | SA_NODEFER,
    };
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        sigaction(signals[i], &action, NULL);
    }
}

/* ---- in the master ----------------------------------------------------------------------- */

struct flight {
    int fd;                             /* owned */
    const struct flight_pages *pages;   /* owned mapping; whatever the worker wrote */
    uint64_t words[FLIGHT_THREADS_MAX]; /* at the last look */
    uint64_t since_ns[FLIGHT_THREADS_MAX];
    unsigned looks[FLIGHT_THREADS_MAX]; /* that found it so */
    uint32_t stalled;                   /* FLIGHT_THREADS_MAX: none */
};

int
flight_new(struct flight **out)
{
    struct flight *flight = calloc(1, sizeof(*flight));
    if (flight == NULL) {
        return -ENOMEM;
    }
    void *memory = MAP_FAILED;
    flight->fd = memfd_create("weir-flight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (flight->fd != -1 && ftruncate(flight->fd, sizeof(struct flight_pages)) == 0 &&
            fcntl(flight->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
        memory = mmap(NULL, sizeof(struct flight_pages), PROT_READ, MAP_SHARED, flight->fd, 0);
    }
    if (memory == MAP_FAILED) {
        int error = errno;
        if (flight->fd != -1) {
            close(flight->fd);
        }
        free(flight);
        return -error;
    }
    flight->pages = memory;
    flight->stalled = FLIGHT_THREADS_MAX;
    *out = flight;
    return 0;
}

void
flight_free(struct flight *flight)
{
    if (flight != NULL) {
        munmap((void *)(uintptr_t)flight->pages, sizeof(struct flight_pages));
        close(flight->fd);
        free(flight);
    }
}

int
flight_fd(const struct flight *flight)
{
    return flight->fd;
}

/* Copies what may be anything, as text. */
static size_t
copy_text(char *dst, size_t bytes, const char *src, size_t max)
{
    size_t len = 0;
    while (len < max && len + 1 < bytes && src[len] != '\0') {
        dst[len] = src[len];
        len++;
    }
    dst[len] = '\0';
    return len;
}

static void
describe(const struct flight *flight, uint32_t i, uint64_t word, flight_hook_name_fn *hook_name,
        struct flight_place *place)
{
    const struct flight_record *record = &flight->pages->records[i];
    char text[FLIGHT_TEXT_BYTES + 1];
    uint32_t number = (uint32_t)(word & ((1u << FLIGHT_MODULE_BITS) - 1));
    unsigned hook = (unsigned)(word >> FLIGHT_MODULE_BITS) & ((1u << FLIGHT_HOOK_BITS) - 1);
    copy_text(place->module, sizeof(place->module), "?", 1);
    if (number > 0 && number <= FLIGHT_MODULES_MAX) {
        copy_text(place->module, sizeof(place->module), flight->pages->modules[number - 1],
                FLIGHT_NAME_BYTES);
    }
    size_t len = copy_text(text, sizeof(text), record->text, FLIGHT_TEXT_BYTES);
    bool is_pool = atomic_load_explicit(&record->kind, memory_order_relaxed) == FLIGHT_POOL;
    snprintf(place->text, sizeof(place->text), "module %s, hook %s%s%s%s", place->module,
            hook_name(hook), is_pool ? " (its work on a pool's thread)" : "",
            len > 0 ? ", " : "", text);
}

/* The thread whose fault the end was; FLIGHT_THREADS_MAX where nothing says which. */
static uint32_t
find_known(const struct flight *flight)
{
    for (uint32_t i = 0; i < FLIGHT_THREADS_MAX; i++) {
        const struct flight_record *record = &flight->pages->records[i];
        if (atomic_load_explicit(&record->kind, memory_order_relaxed) != FLIGHT_UNUSED &&
                atomic_load_explicit(&record->signal, memory_order_relaxed) != 0) {
            return i;
        }
    }
    return flight->stalled;
}

void
flight_locate(const struct flight *flight, flight_hook_name_fn *hook_name,
        struct flight_place *place)
{
    *place = (struct flight_place){ .is_known = false };
    uint32_t known = find_known(flight), found = known;
    for (uint32_t i = 0; i < FLIGHT_THREADS_MAX; i++) {
        const struct flight_record *record = &flight->pages->records[i];
        if (atomic_load_explicit(&record->kind, memory_order_relaxed) != FLIGHT_UNUSED &&
                atomic_load_explicit(&record->word, memory_order_relaxed) != 0) {
            place->at_work++;
            found = found == FLIGHT_THREADS_MAX ? i : found;
        }
    }
    uint64_t word = found == FLIGHT_THREADS_MAX
            ? 0
            : atomic_load_explicit(&flight->pages->records[found].word, memory_order_relaxed);
    place->is_known = known != FLIGHT_THREADS_MAX;
    if (word != 0) {
        describe(flight, found, word, hook_name, place);
    }
}

bool
flight_is_stalled(struct flight *flight, uint64_t now_ns, uint64_t limit_ns, int32_t *thread)
{
    for (uint32_t i = 0; i < FLIGHT_THREADS_MAX; i++) {
        const struct flight_record *record = &flight->pages->records[i];
        uint64_t word = atomic_load_explicit(&record->word, memory_order_relaxed);
        /* A pool's thread may take its time, but not to tell of its crash: a lock of the
         * allocator's or the linker's may be what its handler waits for. */
        bool must_return = atomic_load_explicit(&record->kind, memory_order_relaxed) ==
                        FLIGHT_LOOP ||
                atomic_load_explicit(&record->signal, memory_order_relaxed) != 0;
        if (!must_return || word == 0 || word != flight->words[i]) {
            flight->words[i] = must_return ? word : 0;
            flight->since_ns[i] = now_ns;
            flight->looks[i] = 0;
            continue;
        }
        flight->looks[i]++;
        if (now_ns - flight->since_ns[i] >= limit_ns && flight->looks[i] >= STALL_LOOKS) {
            *thread = atomic_load_explicit(&record->thread, memory_order_relaxed);
            flight->stalled = i;
            return true;
        }
    }
    return false;
}

void
flight_look_anew(struct flight *flight)
{
    memset(flight->words, 0, sizeof(flight->words));
    flight->stalled = FLIGHT_THREADS_MAX;
}
