/* SPDX-License-Identifier: MIT */
/* A fuzz target NAME is one file, NAME_fuzz.c, that defines LLVMFuzzerTestOneInput() and says
 * with FUZZ_CHECK what must hold for every input. It is built twice: by --enable-fuzzers (with
 * CC=clang) as NAME_fuzz, which searches for inputs that break it, and by every build as
 * NAME_replay, which `make check` runs over corpus/NAME/ and regressions/NAME/ (replay_main.c).
 * To add one: the file, three inputs or so in corpus/NAME/, two paragraphs in fuzz.am; an
 * optional NAME.dict is found by `make fuzz`. */
#ifndef WEIR_FUZZ_FUZZ_H
#define WEIR_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdlib.h>

#include <weir/str.h>

#include "base/assert.h"

/* Aborts with the place, which either program takes for a finding. */
#define FUZZ_CHECK(condition) WEIR_ASSERT(condition)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline struct weir_str
fuzz_str(const uint8_t *data, size_t size)
{
    return weir_str_make((const char *)data, size);
}

/* A block of exactly `bytes`, so that a sanitizer sees the first byte too many. The caller
 * frees it. */
static inline char *
fuzz_buffer(size_t bytes)
{
    char *memory = malloc(bytes == 0 ? 1 : bytes);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

/* Takes the input up to the next line feed off the front of *rest: for targets that want
 * several texts. Empty when there is none left. */
static inline struct weir_str
fuzz_take_line(struct weir_str *rest)
{
    struct weir_str line = *rest;
    const char *end = rest->len == 0 ? NULL : (const char *)memchr(rest->ptr, '\n', rest->len);
    size_t taken = rest->len;
    if (end != NULL) {
        line.len = (size_t)(end - rest->ptr);
        taken = line.len + 1;
    }
    rest->ptr += taken;
    rest->len -= taken;
    return line;
}

#endif
