/* SPDX-License-Identifier: MIT */
/* Workers in one set of the table, of which one makes one step at a time: each load and each
 * exchange of a word is a place where another one may go on, where a worker may be held until
 * all others have finished, and where it may die. Which of that happens is drawn anew in each
 * round, the same in every run. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>

#include "support/unit.h"

static void step(void);

static inline uint64_t
load_step(_Atomic(uint64_t) *word)
{
    step();
    return atomic_load(word);
}

static inline bool
exchange_step(_Atomic(uint64_t) *word, uint64_t *old, uint64_t new)
{
    step();
    return atomic_compare_exchange_strong(word, old, new);
}

#undef atomic_load
#undef atomic_compare_exchange_strong
#define atomic_load(word)                                load_step(word)
#define atomic_compare_exchange_strong(word, old, value) exchange_step(word, old, value)
#include "table.c"

#define S       UINT64_C(1000000000)
#define WORKERS 3u
#define ROUNDS  4000u

enum {
    BURST = 2,
    ASKS = 3,
    CLIENTS = 2
};

enum fate {
    LIVES,
    IS_HELD,
    DIES
};

/* ---- turns ------------------------------------------------------------------------------- */

struct worker {
    pthread_t thread;
    sem_t turn;
    enum fate fate;
    unsigned steps_left; /* until it meets its fate */
    bool is_done;
    uint64_t now_ns;
};

/* Touched only by whose turn it is. */
static struct {
    struct worker workers[WORKERS];
    sem_t end;
    uint64_t random;
    unsigned allowed[CLIENTS];
    struct table table;
    struct gcra gcra;
    _Alignas(64) char memory[128];
} all;

static _Thread_local struct worker *self; /* NULL: the test itself, which no one interrupts */

static unsigned
draw(unsigned below)
{
    all.random ^= all.random << 13;
    all.random ^= all.random >> 7;
    all.random ^= all.random << 17;
    return (unsigned)(all.random >> 32) % below;
}

/* One of those who can go on, those who are held last; NULL: all are done. */
static struct worker *
choose(void)
{
    for (unsigned held = 0; held < 2; held++) {
        unsigned first = draw(WORKERS);
        for (unsigned i = 0; i < WORKERS; i++) {
            struct worker *worker = &all.workers[(first + i) % WORKERS];
            bool is_held = worker->fate == IS_HELD && worker->steps_left == 0;
            if (!worker->is_done && (held == 1 || !is_held)) {
                return worker;
            }
        }
    }
    return NULL;
}

static void
wait_for(sem_t *turn)
{
    while (sem_wait(turn) == -1) {
        ck_assert_int_eq(errno, EINTR);
    }
}

static void
hand_over(void)
{
    struct worker *next = choose();
    sem_post(next == NULL ? &all.end : &next->turn);
}

static void
step(void)
{
    struct worker *worker = self;
    if (worker == NULL) {
        return;
    }
    if (worker->steps_left > 0 && --worker->steps_left == 0 && worker->fate == DIES) {
        worker->is_done = true;
        hand_over();
        pthread_exit(NULL);
    }
    if (draw(3) > 0 && !(worker->fate == IS_HELD && worker->steps_left == 0)) {
        return; /* the next step is its own as well */
    }
    struct worker *next = choose();
    if (next != worker) {
        sem_post(&next->turn);
        wait_for(&worker->turn);
    }
}

/* ---- rounds ------------------------------------------------------------------------------ */

static uint64_t
client(unsigned n)
{
    return (uint64_t)(n + 1) << GCRA_TIME_BITS;
}

static bool
ask(unsigned n, uint64_t now_ns)
{
    struct table_answer answer = table_take(&all.table, &all.gcra, client(n),
            gcra_time(&all.gcra, now_ns));
    ck_assert(answer.is_counted);
    return answer.is_allowed;
}

static void *
work(void *worker)
{
    self = worker;
    wait_for(&self->turn);
    for (unsigned i = 0; i < ASKS * CLIENTS; i++) {
        unsigned n = draw(CLIENTS);
        if (ask(n, self->now_ns)) {
            all.allowed[n]++;
        }
    }
    self->is_done = true;
    hand_over();
    return NULL;
}

/* The set has some clients that are live for workers whose clock is behind, and are not for the
 * others. */
static void
begin(void)
{
    static const uint64_t numbers[2] = { 1, 1 };
    memset(all.memory, 0, sizeof(all.memory));
    table_open(&all.table, all.memory, 1, numbers);
    for (unsigned n = 0, count = draw(TABLE_SET_SLOTS + 1); n < count; n++) {
        ck_assert(ask(10 + n, 10 * S));
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        struct worker *worker = &all.workers[i];
        unsigned fate = draw(6);
        worker->fate = fate < 4 ? LIVES : fate == 4 ? IS_HELD : DIES;
        worker->steps_left = 1 + draw(40);
        worker->is_done = false;
        worker->now_ns = draw(2) == 0 ? 11 * S - S / 100 : 11 * S + S / 100;
        ck_assert_int_eq(pthread_create(&worker->thread, NULL, work, worker), 0);
    }
}

/* Nobody has two places. */
static void
check_places(unsigned round)
{
    const uint64_t *slots = (const uint64_t *)(const void *)all.memory + 9;
    for (unsigned i = 0; i < TABLE_SET_SLOTS; i++) {
        for (unsigned j = 0; j < i && slots[i] != 0; j++) {
            ck_assert_msg(slots[i] >> GCRA_TIME_BITS != slots[j] >> GCRA_TIME_BITS,
                    "round %u: one client in slots %u and %u", round, i, j);
        }
    }
}

START_TEST(keeps_the_limit_whatever_happens_between_two_steps)
{
    unsigned deaths = 0;
    all.random = UINT64_C(88172645463325252);
    ck_assert_int_eq(gcra_init(&all.gcra, (struct weir_rate){ 1, S }, BURST), 0);
    sem_init(&all.end, 0, 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        sem_init(&all.workers[i].turn, 0, 0);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        begin();
        hand_over();
        wait_for(&all.end);
        unsigned dead = 0;
        for (unsigned i = 0; i < WORKERS; i++) {
            ck_assert_int_eq(pthread_join(all.workers[i].thread, NULL), 0);
            dead += all.workers[i].fate == DIES && all.workers[i].steps_left == 0;
        }
        /* Who died may have counted one that it did not tell of; all others are told of. */
        for (unsigned n = 0; n < CLIENTS; n++) {
            unsigned allowed = all.allowed[n];
            for (unsigned i = 0; i < BURST; i++) {
                allowed += ask(n, 11 * S + S / 100);
            }
            ck_assert_msg(allowed <= BURST && allowed + dead >= BURST,
                    "round %u: client %u was allowed %u, %u workers died", round, n, allowed,
                    dead);
            all.allowed[n] = 0;
        }
        check_places(round);
        deaths += dead;
    }
    ck_assert_uint_gt(deaths, ROUNDS / 10);
    sem_destroy(&all.end);
    for (unsigned i = 0; i < WORKERS; i++) {
        sem_destroy(&all.workers[i].turn);
    }
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, keeps_the_limit_whatever_happens_between_two_steps);
}

UNIT_MAIN("modules/rate_limit_steps", add_tests)
