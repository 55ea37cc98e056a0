/* SPDX-License-Identifier: MIT */
#include "support/failalloc.h"

#include <stddef.h>

static _Thread_local uint64_t fail_in;
static _Thread_local bool failed;
static _Thread_local uint64_t count;
static _Thread_local bool in_check; /* Check's own allocations neither fail nor count */

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t elements, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
void __real__mark_point(const char *file, int line);
void __wrap__mark_point(const char *file, int line);

void
failalloc_fail_nth(uint64_t n)
{
    fail_in = n;
    failed = false;
}

bool
failalloc_has_failed(void)
{
    return failed;
}

uint64_t
failalloc_count(void)
{
    return count;
}

static bool
fails_now(void)
{
    if (in_check) {
        return false;
    }
    count++;
    if (fail_in == 0 || --fail_in > 0) {
        return false;
    }
    failed = true;
    return true;
}

void *
__wrap_malloc(size_t bytes)
{
    return fails_now() ? NULL : __real_malloc(bytes);
}

void *
__wrap_calloc(size_t elements, size_t bytes)
{
    return fails_now() ? NULL : __real_calloc(elements, bytes);
}

void *
__wrap_realloc(void *memory, size_t bytes)
{
    return fails_now() ? NULL : __real_realloc(memory, bytes);
}

/* Every ck_assert passes through here, and allocates. */
void
__wrap__mark_point(const char *file, int line)
{
    in_check = true;
    __real__mark_point(file, line);
    in_check = false;
}
