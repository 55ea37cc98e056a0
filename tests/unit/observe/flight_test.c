/* SPDX-License-Identifier: MIT */
#include "observe/flight.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "support/unit.h"

static const char *
hook_name(unsigned hook)
{
    return hook == 7 ? "seventh" : "?";
}

static struct flight *
attached(void)
{
    struct flight *flight;
    ck_assert_int_eq(flight_new(&flight), 0);
    ck_assert_int_eq(flight_attach(flight_fd(flight)), 0);
    return flight;
}

static struct flight_place
locate(const struct flight *flight)
{
    struct flight_place place;
    flight_locate(flight, hook_name, &place);
    ck_assert_uint_lt(strnlen(place.text, sizeof(place.text)), sizeof(place.text));
    ck_assert_uint_lt(strnlen(place.module, sizeof(place.module)), sizeof(place.module));
    return place;
}

START_TEST(says_in_which_module_and_hook_a_thread_is)
{
    struct flight *flight = attached();
    uint32_t entry = flight_entry("geo", 7);
    ck_assert_str_eq(locate(flight).text, "");
    flight_begin_thread(FLIGHT_LOOP);
    ck_assert_str_eq(locate(flight).text, "");
    flight_enter(entry, NULL);
    ck_assert_uint_eq(flight_current(), entry);
    struct flight_place place = locate(flight);
    ck_assert_str_eq(place.text, "module geo, hook seventh");
    ck_assert_str_eq(place.module, "geo");
    ck_assert_uint_eq(place.at_work, 1);
    ck_assert(!place.is_known); /* it is at work, and no more */
    atomic_store(&flight_here.record->signal, 11);
    ck_assert(locate(flight).is_known);
    flight_leave();
    /* A crash in the core: nobody else's fault either. */
    ck_assert_uint_eq(flight_current(), 0);
    ck_assert_str_eq(locate(flight).text, "");
    atomic_store(&flight_here.record->signal, 0);
    flight_free(flight);
}
END_TEST

/* On a thread that waits to be let go. */
static void *
stay_in_hook(void *context)
{
    _Atomic(int) *stage = context;
    flight_begin_thread(FLIGHT_POOL);
    flight_enter(flight_entry("slow", 7), NULL);
    atomic_store(stage, 1);
    while (atomic_load(stage) != 2) {
        sched_yield();
    }
    flight_leave();
    return NULL;
}

START_TEST(the_thread_that_crashed_is_it_whoever_is_at_work)
{
    struct flight *flight = attached();
    (void)flight_entry("slow", 7);
    pthread_t thread;
    _Atomic(int) stage = 0;
    ck_assert_int_eq(pthread_create(&thread, NULL, stay_in_hook, &stage), 0);
    while (atomic_load(&stage) != 1) {
        sched_yield();
    }
    flight_begin_thread(FLIGHT_LOOP);
    flight_enter(flight_entry("geo", 7), NULL);
    struct flight_place place = locate(flight);
    ck_assert_uint_eq(place.at_work, 2);
    ck_assert(!place.is_known);
    atomic_store(&flight_here.record->signal, 6);
    place = locate(flight);
    ck_assert(place.is_known);
    ck_assert_str_eq(place.module, "geo");
    atomic_store(&flight_here.record->signal, 0);
    flight_leave();
    atomic_store(&stage, 2);
    pthread_join(thread, NULL);
    flight_free(flight);
}
END_TEST

START_TEST(attaches_only_to_what_this_build_made)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    ck_assert_int_eq(flight_attach(fd), -EPROTO);
    ck_assert_int_eq(ftruncate(fd, 4096), 0);
    ck_assert_int_eq(flight_attach(fd), -EPROTO);
    close(fd);
    ck_assert_int_eq(flight_attach(fd), -EBADF);
}
END_TEST

START_TEST(gives_a_module_one_number)
{
    struct flight *flight = attached();
    ck_assert_uint_eq(flight_entry("geo", 1), flight_entry("geo", 1));
    ck_assert_uint_ne(flight_entry("geo", 1), flight_entry("geo", 2));
    ck_assert_uint_ne(flight_entry("geo", 1), flight_entry("auth", 1));
    /* More modules than there are names: no harm, and no name. */
    for (unsigned i = 0; i < 2 * FLIGHT_MODULES_MAX; i++) {
        char name[16];
        snprintf(name, sizeof(name), "m%u", i);
        ck_assert_uint_ne(flight_entry(name, 1), 0);
    }
    flight_free(flight);
}
END_TEST

/* What stays the same over several looks and long enough is a stall; what comes back to the
 * same hook again and again is work. */
START_TEST(tells_a_stall_from_work)
{
    struct flight *flight = attached();
    flight_begin_thread(FLIGHT_LOOP);
    uint32_t entry = flight_entry("geo", 7);
    int32_t thread;
    for (uint64_t s = 0; s < 20; s++) {
        flight_enter(entry, NULL);
        ck_assert(!flight_is_stalled(flight, s * NS_PER_S, 2 * NS_PER_S, &thread));
        flight_leave();
    }
    flight_enter(entry, NULL);
    ck_assert(!flight_is_stalled(flight, 20 * NS_PER_S, 2 * NS_PER_S, &thread));
    /* The machine stood still for an hour: one look is not enough. */
    ck_assert(!flight_is_stalled(flight, 4000 * NS_PER_S, 2 * NS_PER_S, &thread));
    ck_assert(!flight_is_stalled(flight, 4001 * NS_PER_S, 2 * NS_PER_S, &thread));
    ck_assert(flight_is_stalled(flight, 4002 * NS_PER_S, 2 * NS_PER_S, &thread));
    ck_assert_int_eq(thread, gettid());
    ck_assert(locate(flight).is_known);
    ck_assert_str_eq(locate(flight).text, "module geo, hook seventh");
    flight_leave();
    flight_free(flight);
}
END_TEST

/* A pool's thread may work as long as it likes, but not crash as long. */
START_TEST(sees_a_crash_that_does_not_end)
{
    struct flight *flight = attached();
    flight_begin_thread(FLIGHT_POOL);
    flight_enter(flight_entry("geo", 7), NULL);
    int32_t thread;
    for (uint64_t s = 0; s < 10; s++) {
        ck_assert(!flight_is_stalled(flight, s * NS_PER_S, 2 * NS_PER_S, &thread));
    }
    atomic_store(&flight_here.record->signal, 11);
    bool is_stalled = false;
    for (uint64_t s = 10; s < 20 && !is_stalled; s++) {
        is_stalled = flight_is_stalled(flight, s * NS_PER_S, 2 * NS_PER_S, &thread);
    }
    ck_assert(is_stalled);
    flight_leave();
    flight_free(flight);
}
END_TEST

START_TEST(looks_anew_when_told)
{
    struct flight *flight = attached();
    flight_begin_thread(FLIGHT_LOOP);
    flight_enter(flight_entry("geo", 7), NULL);
    int32_t thread;
    unsigned found = 0;
    for (uint64_t s = 0; s < 100; s++) {
        if (flight_is_stalled(flight, s * NS_PER_S, 9 * NS_PER_S, &thread)) {
            flight_look_anew(flight);
            found++;
        }
    }
    ck_assert_uint_eq(found, 10);
    flight_leave();
    flight_free(flight);
}
END_TEST

static void *
work(void *context)
{
    (void)context;
    for (int i = 0; i < 100; i++) {
        flight_begin_thread(FLIGHT_POOL);
        flight_enter(flight_entry("geo", 7), NULL);
        flight_leave();
    }
    return NULL;
}

START_TEST(gives_a_thread_s_record_back_at_its_end)
{
    struct flight *flight = attached();
    (void)flight_entry("geo", 7);
    for (unsigned i = 0; i < 2 * FLIGHT_THREADS_MAX; i++) {
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, work, NULL), 0);
        pthread_join(thread, NULL);
    }
    /* There is still one to be had. */
    flight_begin_thread(FLIGHT_LOOP);
    flight_enter(flight_entry("geo", 7), NULL);
    ck_assert_str_eq(locate(flight).module, "geo");
    flight_leave();
    flight_free(flight);
}
END_TEST

/* A worker that crashes may have written anything. */
START_TEST(believes_nothing_of_what_it_reads)
{
    struct flight *flight = attached();
    struct stat file;
    ck_assert_int_eq(fstat(flight_fd(flight), &file), 0);
    unsigned char *memory = mmap(NULL, (size_t)file.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
            flight_fd(flight), 0);
    ck_assert_ptr_ne(memory, MAP_FAILED);
    int32_t thread;
    unsigned seed = 1;
    for (int round = 0; round < 300; round++) {
        memset(memory, round < 3 ? round * 0x7f : 0, (size_t)file.st_size);
        for (int i = 0; round >= 3 && i < 5000; i++) {
            memory[(size_t)rand_r(&seed) % (size_t)file.st_size] = (unsigned char)rand_r(&seed);
        }
        locate(flight);
        (void)flight_is_stalled(flight, (uint64_t)round * NS_PER_S, 1, &thread);
    }
    ck_assert_int_eq(ftruncate(flight_fd(flight), 0), -1); /* sealed: it cannot be taken away */
    munmap(memory, (size_t)file.st_size);
    flight_free(flight);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, says_in_which_module_and_hook_a_thread_is);
    tcase_add_test(tests, the_thread_that_crashed_is_it_whoever_is_at_work);
    tcase_add_test(tests, attaches_only_to_what_this_build_made);
    tcase_add_test(tests, gives_a_module_one_number);
    tcase_add_test(tests, tells_a_stall_from_work);
    tcase_add_test(tests, sees_a_crash_that_does_not_end);
    tcase_add_test(tests, looks_anew_when_told);
    tcase_add_test(tests, gives_a_thread_s_record_back_at_its_end);
    tcase_add_test(tests, believes_nothing_of_what_it_reads);
}

UNIT_MAIN("observe/flight", add_tests)
