/* SPDX-License-Identifier: MIT */
/* Clients of several workers in one table. Hashes are given, so that the test says who falls
 * where: the low half chooses the set, the top 24 bits are the fingerprint. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hash.h"
#include "support/unit.h"
#include "table.h"

#define S UINT64_C(1000000000)

static const uint64_t numbers[2] = { 0x0123456789abcdef, 0xfedcba9876543210 };

/* ---- one table --------------------------------------------------------------------------- */

struct bench {
    struct table table;
    struct gcra gcra;
    void *memory; /* shared with children */
    size_t bytes;
};

static void
set_up(struct bench *bench, uint64_t max_keys, struct weir_rate rate, uint64_t burst)
{
    bench->bytes = table_bytes(max_keys);
    bench->memory = mmap(NULL, bench->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
            -1, 0);
    ck_assert_ptr_ne(bench->memory, MAP_FAILED);
    ck_assert_int_eq(gcra_init(&bench->gcra, rate, burst), 0);
    table_open(&bench->table, bench->memory, max_keys, numbers);
}

static void
tear_down(struct bench *bench)
{
    munmap(bench->memory, bench->bytes);
}

/* The words of the first set: what is under way, and its slots. */
static _Atomic(uint64_t) *
first_set(const struct bench *bench)
{
    return (_Atomic(uint64_t) *)((char *)bench->memory + 64);
}

static struct table_answer
take(const struct bench *bench, uint64_t hash, uint64_t now_ns)
{
    return table_take(&bench->table, &bench->gcra, hash, gcra_time(&bench->gcra, now_ns));
}

static unsigned
take_times(const struct bench *bench, uint64_t hash, uint64_t now_ns, unsigned times)
{
    unsigned allowed = 0;
    while (times-- > 0) {
        struct table_answer answer = take(bench, hash, now_ns);
        ck_assert(answer.is_counted);
        allowed += answer.is_allowed;
    }
    return allowed;
}

/* The nth client of the first set. */
static uint64_t
client(uint64_t n)
{
    return (n + 1) << 40;
}

START_TEST(has_the_size_that_is_said)
{
    ck_assert_uint_eq(table_bytes(1), 128);
    ck_assert_uint_eq(table_bytes(4), 128);
    ck_assert_uint_eq(table_bytes(5), 192);
    ck_assert_uint_le(table_bytes(100000), 1700000);
    ck_assert_uint_le(table_bytes(TABLE_KEYS_MAX), UINT64_C(256) << 20);
}
END_TEST

START_TEST(counts_clients_apart)
{
    struct bench bench;
    set_up(&bench, 1000, (struct weir_rate){ 10, S }, 5);
    for (uint64_t n = 0; n < 250; n++) {
        uint64_t hash = hash_bytes(numbers, &n, sizeof(n));
        ck_assert_uint_eq(take_times(&bench, hash, S, 8), 5);
    }
    for (uint64_t n = 0; n < 250; n++) {
        uint64_t hash = hash_bytes(numbers, &n, sizeof(n));
        ck_assert_uint_eq(take_times(&bench, hash, 2 * S - S / 2, 8), 5);
    }
    tear_down(&bench);
}
END_TEST

START_TEST(knows_a_client_whose_fingerprint_is_zero)
{
    struct bench bench;
    set_up(&bench, 1, (struct weir_rate){ 10, S }, 5);
    ck_assert_uint_eq(take_times(&bench, 0, S, 8), 5);
    ck_assert_uint_eq(take_times(&bench, UINT64_MAX, S, 8), 5);
    tear_down(&bench);
}
END_TEST

/* Of seven busy clients and one more the one that has the least to lose begins anew. */
START_TEST(drops_the_one_that_is_free_first_when_all_of_a_set_are_live)
{
    struct bench bench;
    set_up(&bench, 1, (struct weir_rate){ 1, S }, 10);
    for (unsigned n = 0; n < TABLE_SET_SLOTS; n++) {
        ck_assert_uint_eq(take_times(&bench, client(n), S, n == 3 ? 2 : 5), n == 3 ? 2 : 5);
    }
    struct table_answer answer = take(&bench, client(7), S);
    ck_assert(answer.is_allowed && answer.is_counted && answer.was_full);
    for (unsigned n = 0; n <= TABLE_SET_SLOTS; n++) {
        if (n != 3 && n != 7) {
            ck_assert_uint_eq(take_times(&bench, client(n), S, 20), 5);
        }
    }
    ck_assert_uint_eq(take_times(&bench, client(7), S, 20), 9);
    tear_down(&bench);
}
END_TEST

START_TEST(gives_the_place_of_who_was_quiet_to_others)
{
    struct bench bench;
    set_up(&bench, 1, (struct weir_rate){ 1, S }, 3);
    for (uint64_t n = 0; n < 1000; n++) {
        uint64_t now_ns = (n + 1) * 4 * S;
        struct table_answer answer = take(&bench, client(n), now_ns);
        ck_assert(answer.is_allowed && !answer.was_full);
        ck_assert_uint_eq(take_times(&bench, client(n), now_ns, 9), 2);
    }
    tear_down(&bench);
}
END_TEST

/* Many more clients than there is room for: each gets its answer, and memory stays as it is. */
START_TEST(survives_more_clients_than_it_has_room_for)
{
    struct bench bench;
    unsigned dropped = 0;
    set_up(&bench, 100, (struct weir_rate){ 1, 60 * S }, 2);
    for (uint64_t n = 0; n < 20000; n++) {
        struct table_answer answer = take(&bench, hash_bytes(numbers, &n, sizeof(n)), S);
        ck_assert(answer.is_allowed && answer.is_counted);
        dropped += answer.was_full;
    }
    ck_assert_uint_ge(dropped, 20000 - 25 * TABLE_SET_SLOTS);
    tear_down(&bench);
}
END_TEST

START_TEST(has_one_secret_whoever_opens_it)
{
    struct bench bench;
    struct table other;
    static const uint64_t others[2] = { 7, 9 };
    set_up(&bench, 10, (struct weir_rate){ 1, S }, 1);
    ck_assert(bench.table.secret[0] != 0 && bench.table.secret[1] != 0);
    table_open(&other, bench.memory, 10, others);
    ck_assert_mem_eq(other.secret, bench.table.secret, sizeof(other.secret));
    tear_down(&bench);
}
END_TEST

/* The first are of a key 00 to 0f and messages 00, 01 ..., as other implementations have them;
 * the others of a key of zeros, as Python's hash() says with PYTHONHASHSEED=0. */
static const struct {
    uint64_t secret[2];
    const char *message;
    size_t len;
    uint64_t hash;
} hashes[] = {
    { { 0x0706050403020100, 0x0f0e0d0c0b0a0908 }, "", 0, 0xabac0158050fc4dc },
    { { 0x0706050403020100, 0x0f0e0d0c0b0a0908 }, "\0", 1, 0xc9f49bf37d57ca93 },
    { { 0x0706050403020100, 0x0f0e0d0c0b0a0908 }, "\0\1", 2, 0x82cb9b024dc7d44d },
    { { 0, 0 }, "weir", 4, 0xafd841259e24ac48 },
    { { 0, 0 }, "eight by", 8, 0xd54cf3f0e0ee2aad },
    { { 0, 0 }, "\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\21\22\23\24\25\26\27", 23,
            0xd0d53b83a76c9e04 },
};

START_TEST(hashes_whole_messages)
{
    ck_assert_uint_eq(hash_bytes(hashes[_i].secret, hashes[_i].message, hashes[_i].len),
            hashes[_i].hash);
}
END_TEST

/* ---- who died ---------------------------------------------------------------------------- */

/* A worker was killed when it had proposed a client and done no more. */
START_TEST(does_what_a_dead_worker_has_proposed)
{
    struct bench bench;
    set_up(&bench, 1, (struct weir_rate){ 1, S }, 3);
    _Atomic(uint64_t) *words = first_set(&bench);
    atomic_store(&words[0], client(5) | UINT64_C(2) << 37);
    ck_assert_uint_eq(take_times(&bench, client(0), S, 5), 3);
    ck_assert_uint_eq(atomic_load(&words[0]), 0);
    ck_assert_uint_eq(atomic_load(&words[1 + 2]) >> 40, client(5) >> 40);
    ck_assert_uint_eq(take_times(&bench, client(5), S, 5), 3);
    tear_down(&bench);
}
END_TEST

/* Or after it had done it; or somebody has counted in that slot since. */
START_TEST(leaves_what_has_changed_since_a_proposal)
{
    struct bench bench;
    set_up(&bench, 1, (struct weir_rate){ 1, S }, 3);
    _Atomic(uint64_t) *words = first_set(&bench);
    ck_assert_uint_eq(take_times(&bench, client(0), S, 5), 3);
    for (unsigned slot = 0; slot < TABLE_SET_SLOTS; slot++) {
        uint64_t old = atomic_load(&words[1 + slot]);
        uint64_t seen = old == 0 ? 1 : (old - 1) & ((UINT64_C(1) << 37) - 1);
        atomic_store(&words[0], client(5) | (uint64_t)slot << 37 | seen);
        ck_assert_uint_eq(take_times(&bench, client(20 + slot), S, 1), 1);
        ck_assert_uint_eq(atomic_load(&words[0]), 0);
    }
    ck_assert_uint_eq(take_times(&bench, client(0), S, 5), 0);
    for (unsigned slot = 0; slot < TABLE_SET_SLOTS; slot++) {
        ck_assert_uint_ne(atomic_load(&words[1 + slot]) >> 40, client(5) >> 40);
    }
    tear_down(&bench);
}
END_TEST

/* Whatever is in the memory, each question has an answer. */
START_TEST(answers_from_memory_that_somebody_broke)
{
    struct bench bench;
    set_up(&bench, 40, (struct weir_rate){ 1, S }, 3);
    uint64_t random = 88172645463325252;
    uint64_t *words = bench.memory;
    for (unsigned round = 0; round < 1000; round++) {
        for (size_t i = 8; i < bench.bytes / sizeof(*words); i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            words[i] = random;
        }
        for (uint64_t n = 0; n < 20; n++) {
            uint64_t hash = hash_bytes(numbers, &n, sizeof(n));
            (void)take(&bench, hash, S);
            (void)take(&bench, hash, 1000000 * S);
        }
    }
    tear_down(&bench);
}
END_TEST

/* ---- many at a time ---------------------------------------------------------------------- */

#define WORKERS 4u

/* What one of them does: it asks for every client so often, at one moment. */
struct work {
    const struct bench *bench;
    uint64_t clients;
    unsigned times;
    uint64_t now_ns;
    _Atomic(unsigned) *waiting; /* until all are there */
    _Atomic(uint64_t) *allowed; /* by client */
};

static void *
work(void *data)
{
    const struct work *work = data;
    atomic_fetch_sub(work->waiting, 1);
    while (atomic_load(work->waiting) > 0) {
        sched_yield();
    }
    for (uint64_t n = 0; n < work->clients; n++) {
        uint64_t hash = hash_bytes(numbers, &n, sizeof(n));
        for (unsigned i = 0; i < work->times; i++) {
            struct table_answer answer = take(work->bench, hash, work->now_ns);
            if (answer.is_allowed && answer.is_counted) {
                atomic_fetch_add(&work->allowed[n], 1);
            }
        }
    }
    return NULL;
}

static void *
share(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(memory, MAP_FAILED);
    return memory;
}

/* Runs it on threads, or in processes. */
static void
run_all(const struct work *one, bool is_forked)
{
    pthread_t threads[WORKERS];
    pid_t processes[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++) {
        if (!is_forked) {
            ck_assert_int_eq(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)one),
                    0);
            continue;
        }
        processes[i] = fork();
        if (processes[i] == 0) {
            work((void *)(uintptr_t)one);
            _exit(0);
        }
        ck_assert_int_gt(processes[i], 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        int status = 0;
        if (!is_forked) {
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        } else {
            ck_assert_int_eq(waitpid(processes[i], &status, 0), processes[i]);
            ck_assert_int_eq(status, 0);
        }
    }
}

/* Every client comes to all workers at the same time, for the first time too: it has one burst,
 * and one only, to the request. Sets are wide enough that nobody is dropped. */
START_TEST(allows_one_burst_over_all_workers_to_the_request)
{
    enum {
        CLIENTS = 3000,
        BURST = 5
    };
    struct bench bench;
    set_up(&bench, (uint64_t)16 * CLIENTS, (struct weir_rate){ 1, S }, BURST);
    _Atomic(uint64_t) *allowed = share((CLIENTS + 1) * sizeof(*allowed));
    _Atomic(unsigned) *waiting = (_Atomic(unsigned) *)&allowed[CLIENTS];
    for (unsigned round = 0; round < 4; round++) {
        atomic_store(waiting, WORKERS);
        const struct work one = { &bench, CLIENTS, BURST, (round + 1) * 100 * S, waiting,
            allowed };
        run_all(&one, round % 2 == (unsigned)_i);
        for (unsigned n = 0; n < CLIENTS; n++) {
            uint64_t count = atomic_exchange(&allowed[n], 0);
            ck_assert_msg(count == BURST, "round %u, client %u: %llu", round, n,
                    (unsigned long long)count);
        }
    }
    munmap(allowed, (CLIENTS + 1) * sizeof(*allowed));
    tear_down(&bench);
}
END_TEST

/* Workers whose clocks lie on both sides of a moment in which six of a set's clients become
 * quiet: for some there is one place only, others have seven to choose from. A client that
 * comes to all of them for the first time has one burst nevertheless. */
enum {
    SETS = 6000,
    FULL_SETS_BURST = 5
};

static uint64_t
client_of_set(uint64_t set, uint64_t n)
{
    return client(n) | ((set << 32) + SETS - 1) / SETS;
}

struct split_work {
    const struct bench *bench;
    uint64_t before_ns, after_ns;
    _Atomic(unsigned) waiting, begun;
    _Atomic(uint64_t) allowed[SETS];
};

static void *
ask_before_or_after(void *data)
{
    struct split_work *split = data;
    bool is_after = atomic_fetch_add(&split->begun, 1) % 2 == 0;
    atomic_fetch_sub(&split->waiting, 1);
    while (atomic_load(&split->waiting) > 0) {
        sched_yield();
    }
    for (uint64_t set = 0; set < SETS; set++) {
        for (unsigned i = 0; i < FULL_SETS_BURST; i++) {
            struct table_answer answer = take(split->bench, client_of_set(set, 99),
                    is_after ? split->after_ns : split->before_ns);
            if (answer.is_allowed && answer.is_counted) {
                atomic_fetch_add(&split->allowed[set], 1);
            }
        }
    }
    return NULL;
}

START_TEST(gives_nobody_two_places)
{
    struct bench bench;
    pthread_t threads[WORKERS];
    set_up(&bench, (uint64_t)SETS * TABLE_SET_KEYS, (struct weir_rate){ 1, S },
            FULL_SETS_BURST);
    struct split_work *split = share(sizeof(*split));
    split->bench = &bench;
    split->before_ns = 11 * S - S / 100;
    split->after_ns = 11 * S + S / 100;
    atomic_store(&split->waiting, WORKERS);
    for (uint64_t set = 0; set < SETS; set++) {
        for (unsigned n = 0; n + 1 < TABLE_SET_SLOTS; n++) {
            ck_assert_uint_eq(take_times(&bench, client_of_set(set, n), 10 * S, 1), 1);
        }
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_before_or_after, split), 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    for (unsigned set = 0; set < SETS; set++) {
        uint64_t count = atomic_load(&split->allowed[set]);
        ck_assert_msg(count == FULL_SETS_BURST, "set %u: %llu", set, (unsigned long long)count);
    }
    munmap(split, sizeof(*split));
    tear_down(&bench);
}
END_TEST

/* Workers in a crowded set: clients are dropped, and nobody is stuck. */
START_TEST(goes_on_where_all_want_the_same_places)
{
    enum {
        CLIENTS = 64
    };
    struct bench bench;
    set_up(&bench, 1, (struct weir_rate){ 1, S }, 2);
    _Atomic(uint64_t) *allowed = share((CLIENTS + 1) * sizeof(*allowed));
    _Atomic(unsigned) *waiting = (_Atomic(unsigned) *)&allowed[CLIENTS];
    atomic_store(waiting, WORKERS);
    const struct work one = { &bench, CLIENTS, 50, S, waiting, allowed };
    run_all(&one, _i == 1);
    for (unsigned n = 0; n < CLIENTS; n++) {
        ck_assert_uint_ge(atomic_load(&allowed[n]), 2); /* its burst, or more: it was dropped */
    }
    munmap(allowed, (CLIENTS + 1) * sizeof(*allowed));
    tear_down(&bench);
}
END_TEST

/* Workers are killed wherever they are, again and again. Afterwards everybody is found or finds
 * a place, and the limit holds. */
START_TEST(survives_workers_that_are_killed)
{
    enum {
        CLIENTS = 40,
        ROUNDS = 60
    };
    struct bench bench;
    set_up(&bench, 20, (struct weir_rate){ 1, S }, 3);
    _Atomic(uint64_t) *steps = share(WORKERS * sizeof(*steps));
    for (unsigned round = 0; round < ROUNDS; round++) {
        pid_t processes[WORKERS];
        for (unsigned i = 0; i < WORKERS; i++) {
            atomic_store(&steps[i], 0);
            processes[i] = fork();
            ck_assert_int_ge(processes[i], 0);
            if (processes[i] == 0) {
                for (uint64_t n = i;; n++) {
                    uint64_t key = n % CLIENTS;
                    (void)take(&bench, hash_bytes(numbers, &key, sizeof(key)), n * S / 50);
                    atomic_fetch_add(&steps[i], 1);
                }
            }
        }
        for (unsigned i = 0; i < WORKERS; i++) {
            while (atomic_load(&steps[i]) < 20 + round) { /* it is at work */
                sched_yield();
            }
        }
        for (unsigned i = 0; i < WORKERS; i++) {
            kill(processes[i], SIGKILL);
        }
        for (unsigned i = 0; i < WORKERS; i++) {
            ck_assert_int_eq(waitpid(processes[i], NULL, 0), processes[i]);
        }
    }
    for (uint64_t n = 0; n < CLIENTS; n++) { /* one at a time, each when all others are quiet */
        uint64_t now_ns = (100000000 + 10 * n) * S;
        ck_assert_uint_eq(take_times(&bench, hash_bytes(numbers, &n, sizeof(n)), now_ns, 9), 3);
    }
    munmap(steps, WORKERS * sizeof(*steps));
    tear_down(&bench);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, has_the_size_that_is_said);
    tcase_add_test(tests, counts_clients_apart);
    tcase_add_test(tests, knows_a_client_whose_fingerprint_is_zero);
    tcase_add_test(tests, drops_the_one_that_is_free_first_when_all_of_a_set_are_live);
    tcase_add_test(tests, gives_the_place_of_who_was_quiet_to_others);
    tcase_add_test(tests, survives_more_clients_than_it_has_room_for);
    tcase_add_test(tests, has_one_secret_whoever_opens_it);
    tcase_add_loop_test(tests, hashes_whole_messages, 0, sizeof(hashes) / sizeof(hashes[0]));
    tcase_add_test(tests, does_what_a_dead_worker_has_proposed);
    tcase_add_test(tests, leaves_what_has_changed_since_a_proposal);
    tcase_add_test(tests, answers_from_memory_that_somebody_broke);
    tcase_add_loop_test(tests, allows_one_burst_over_all_workers_to_the_request, 0, 2);
    tcase_add_test(tests, gives_nobody_two_places);
    tcase_add_loop_test(tests, goes_on_where_all_want_the_same_places, 0, 2);
    tcase_add_test(tests, survives_workers_that_are_killed);
}

UNIT_MAIN("modules/rate_limit_table", add_tests)
