/* SPDX-License-Identifier: MIT */
/* Body filters in a line, fed in pieces and drained in pieces: what comes out is the same
 * however it goes in, nobody waits for ever, and memory is bounded. */
#include "module/filter.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "support/unit.h"

/* What the filters here do; a step per call. */
typedef enum weir_verdict filter_kind_fn(struct weir_filter *filter);

static unsigned calls;

/* Writes each byte twice. */
static enum weir_verdict
twice(struct weir_filter *filter)
{
    struct weir_str input = weir_filter_input(filter);
    char pair[2];
    size_t done = 0;
    while (done < input.len && weir_filter_room(filter) >= 2) {
        pair[0] = pair[1] = input.ptr[done++];
        if (weir_filter_write(filter, weir_str_make(pair, 2)) < 0) {
            return WEIR_FAILED;
        }
    }
    weir_filter_consume(filter, done);
    return WEIR_NEXT;
}

/* Drops every "x", passes the rest without copying. */
static enum weir_verdict
without_x(struct weir_filter *filter)
{
    struct weir_str input = weir_filter_input(filter);
    if (input.len == 0) {
        return WEIR_NEXT;
    }
    const char *x = memchr(input.ptr, 'x', input.len);
    if (x == input.ptr) {
        weir_filter_consume(filter, 1);
        return WEIR_NEXT;
    }
    return weir_filter_pass(filter, x == NULL ? input.len : (size_t)(x - input.ptr)) < 0
            ? WEIR_FAILED
            : WEIR_NEXT;
}

/* Reverses every four bytes: needs a look-ahead. What is left over comes last, as it is. */
static enum weir_verdict
by_fours(struct weir_filter *filter)
{
    struct weir_str input = weir_filter_input(filter);
    if (input.len < 4 && !weir_filter_is_last(filter)) {
        return weir_filter_want(filter, 4) < 0 ? WEIR_FAILED : WEIR_NEXT;
    }
    size_t len = input.len < 4 ? input.len : 4;
    char four[4];
    for (size_t i = 0; i < len; i++) {
        four[i] = input.ptr[len == 4 ? 3 - i : i];
    }
    if (weir_filter_write(filter, weir_str_make(four, len)) < 0) {
        return WEIR_FAILED;
    }
    weir_filter_consume(filter, len);
    return WEIR_NEXT;
}

/* Wants 64 KiB at a time, or the end; writes how much it saw. */
static enum weir_verdict
by_64k(struct weir_filter *filter)
{
    struct weir_str input = weir_filter_input(filter);
    if (input.len < 65536 && !weir_filter_is_last(filter)) {
        return weir_filter_want(filter, 65536) < 0 ? WEIR_FAILED : WEIR_NEXT;
    }
    if (input.len == 0) {
        return WEIR_NEXT;
    }
    char text[32];
    int len = snprintf(text, sizeof(text), "[%zu]", input.len);
    if (weir_filter_write(filter, weir_str_make(text, (size_t)len)) < 0) {
        return WEIR_FAILED;
    }
    weir_filter_consume(filter, input.len);
    return WEIR_NEXT;
}

/* Puts "<" before and ">" behind. */
static enum weir_verdict
bracket(struct weir_filter *filter)
{
    static const void *begun; /* which filter has written its "<" */
    if (begun != filter) {
        begun = filter;
        return weir_filter_write(filter, WEIR_STR("<")) < 0 ? WEIR_FAILED : WEIR_NEXT;
    }
    struct weir_str input = weir_filter_input(filter);
    if (input.len > 0) {
        return weir_filter_pass(filter, input.len) < 0 ? WEIR_FAILED : WEIR_NEXT;
    }
    begun = NULL;
    return weir_filter_write(filter, WEIR_STR(">")) < 0 ? WEIR_FAILED : WEIR_DONE;
}

/* The first byte goes, the rest passes. */
static enum weir_verdict
behead(struct weir_filter *filter)
{
    weir_filter_consume(filter, 1);
    return WEIR_DONE;
}

static enum weir_verdict
stall(struct weir_filter *filter)
{
    (void)filter;
    calls++;
    return WEIR_NEXT;
}

static enum weir_verdict
stall_on_want(struct weir_filter *filter)
{
    calls++;
    return weir_filter_want(filter, 1) < 0 ? WEIR_FAILED : WEIR_NEXT; /* which is there */
}

static enum weir_verdict
refuse(struct weir_filter *filter)
{
    (void)filter;
    return WEIR_FAILED;
}

/* Waits before everything it does: asked twice whether it is through, then called again. */
static enum weir_verdict
twice_patiently(struct weir_filter *filter)
{
    static unsigned waited;
    if (waited < 3) {
        waited++;
        return waited < 3 ? WEIR_PENDING : WEIR_NEXT;
    }
    waited = 0;
    return twice(filter);
}

/* The same, to begin with, and then steps aside. */
static enum weir_verdict
wait_and_pass(struct weir_filter *filter)
{
    static const void *waited;
    if (waited != filter) {
        waited = filter;
        return WEIR_PENDING;
    }
    waited = NULL;
    return WEIR_DONE;
}

static enum weir_verdict
drop(struct weir_filter *filter)
{
    weir_filter_consume(filter, SIZE_MAX);
    return WEIR_NEXT;
}

/* ---- a line ------------------------------------------------------------------------------ */

static struct {
    struct arena arena;
    struct slice_queue source;
    struct filter_line line;
    struct chain_entry entries[8];
    filter_kind_fn *kinds[8];
    unsigned count;
    struct buf out;
} all;

static enum weir_verdict
call(void *context, struct weir_filter *filter)
{
    (void)context;
    return all.kinds[filter->entry - all.entries](filter);
}

static void
begin(void)
{
    memset(&all, 0, sizeof(all));
    arena_init(&all.arena, NULL, 0, 1 << 20);
    slice_queue_init(&all.source);
    buf_init(&all.out, 64 << 20);
    calls = 0;
}

static void
add(filter_kind_fn *kind)
{
    all.kinds[all.count] = kind;
    int r = filter_line_add(&all.line, &all.arena, &all.source, &all.entries[all.count++]);
    ck_assert_int_eq(r, 0);
}

static void
end(void)
{
    slice_queue_fini(&all.source);
    arena_reset(&all.arena);
    buf_fini(&all.out);
}

/* Takes up to `bytes` from the line's end. */
static void
drain(uint64_t bytes)
{
    struct slice_queue *wire = &all.line.last->output;
    while (bytes > 0 && wire->bytes > 0) {
        const struct slice *front = slice_queue_at(wire, 0);
        uint64_t len = front->len < bytes ? front->len : bytes;
        char *dst;
        ck_assert_int_eq(buf_reserve(&all.out, (size_t)len, &dst), 0);
        if (front->kind == SLICE_FILE) {
            ck_assert_int_eq(pread(front->fd, dst, (size_t)len, (off_t)front->file_offset),
                    (ssize_t)len);
        } else {
            memcpy(dst, front->ptr, (size_t)len);
        }
        buf_commit(&all.out, (size_t)len);
        slice_queue_consume(wire, len);
        bytes -= len;
    }
}

/* Feeds `input` in pieces of `piece` and drains as much as `sip` after each step. */
static int
run(struct weir_str input, size_t piece, size_t sip)
{
    int r = 0;
    size_t at = 0;
    for (unsigned idle = 0; idle < 4;) {
        if (at < input.len && all.source.bytes < 65536) {
            size_t len = input.len - at < piece ? input.len - at : piece;
            ck_assert_int_eq(slice_queue_push(&all.source,
                                     slice_static(weir_str_make(input.ptr + at, len))),
                    0);
            at += len;
            idle = 0;
        }
        bool moved = false;
        r = filter_line_step(&all.line, at == input.len, call, NULL, &moved);
        if (r < 0) {
            return r;
        }
        uint64_t there = all.line.last->output.bytes;
        drain(sip);
        idle = moved || there > 0 ? 0 : idle + 1;
    }
    ck_assert(all.line.last->has_ended);
    ck_assert_uint_eq(all.source.bytes, 0);
    return 0;
}

#define TEXT "axbcxxdefghxijklx"

static const struct {
    const char *why, *want;
    filter_kind_fn *kinds[4];
} cases[] = {
    { "one that consumes and writes", "aaxxbbccxxxxddeeffgghhxxiijjkkllxx", { twice } },
    { "one that passes parts", "abcdefghijkl", { without_x } },
    { "one that looks ahead", "cbxaedxxxhgflkjix", { by_fours } },
    { "one that adds at both ends", "<axbcxxdefghxijklx>", { bracket } },
    { "one that steps aside", "xbcxxdefghxijklx", { behead } },
    { "one that drops everything", "", { drop } },
    { "one that waits", "aaxxbbccxxxxddeeffgghhxxiijjkkllxx", { twice_patiently } },
    { "one that waits and steps aside", TEXT, { wait_and_pass } },
    { "one that waits between others", "bbaaddccffeehhggjjiillkk",
            { without_x, twice_patiently, by_fours } },
    { "two", "aabbccddeeffgghhiijjkkll", { without_x, twice } },
    { "three", "bbaaddccffeehhggjjiillkk", { without_x, twice, by_fours } },
    { "four", "<dcbahgfelkji>", { without_x, by_fours, bracket, without_x } },
    { "an end that another one adds to", "<<aabbccddeeffgghhiijjkkll>>",
            { without_x, bracket, twice } },
};

START_TEST(gives_the_same_however_it_is_fed_and_drained)
{
    static const size_t pieces[] = { 1, 2, 3, 4, 5, 100 };
    static const size_t sips[] = { 1, 3, 100000 };
    for (size_t i = 0; i < 6; i++) {
        for (size_t j = 0; j < 3; j++) {
            begin();
            for (int k = 0; k < 4 && cases[_i].kinds[k] != NULL; k++) {
                add(cases[_i].kinds[k]);
            }
            ck_assert_int_eq(run(WEIR_STR(TEXT), pieces[i], sips[j]), 0);
            const char *want = cases[_i].want;
            struct weir_str got = buf_str(&all.out);
            ck_assert_msg(weir_str_eq(got, weir_str_from(want)), "%s (%zu, %zu): %.*s",
                    cases[_i].why, pieces[i], sips[j], WEIR_STR_ARG(got));
            end();
        }
    }
}
END_TEST

START_TEST(ends_an_empty_body)
{
    begin();
    add(bracket);
    add(twice);
    ck_assert_int_eq(run(WEIR_STR(""), 1, 100), 0);
    ck_assert(weir_str_eq(buf_str(&all.out), WEIR_STR("<<>>")));
    end();
}
END_TEST

/* ---- faults ------------------------------------------------------------------------------ */

static const struct {
    const char *why;
    filter_kind_fn *kind;
    int want;
    unsigned calls;
} fault_cases[] = {
    { "three calls without progress", stall, -ELOOP, 3 },
    { "asking for what is there is none", stall_on_want, -ELOOP, 3 },
    { "a failure", refuse, -EPROTO, 0 },
};

START_TEST(names_the_filter_that_is_at_fault)
{
    begin();
    add(twice);
    add(fault_cases[_i].kind);
    add(twice);
    unit_check(run(WEIR_STR("hello"), 5, 5) == fault_cases[_i].want, fault_cases[_i].why);
    unit_check(calls == fault_cases[_i].calls, fault_cases[_i].why);
    ck_assert_ptr_eq(all.line.failed->entry, &all.entries[1]);
    end();
}
END_TEST

START_TEST(refuses_to_look_ahead_further_than_64k)
{
    begin();
    add(twice);
    ck_assert_int_eq(weir_filter_want(all.line.first, 65536), 0);
    ck_assert_int_eq(weir_filter_want(all.line.first, 65537), -EMSGSIZE);
    end();
}
END_TEST

START_TEST(takes_no_more_output_than_it_has_room_for)
{
    static char block[200000];
    begin();
    add(stall);
    struct weir_filter *filter = all.line.first;
    bool moved = false;
    ck_assert_int_eq(filter_line_step(&all.line, false, call, NULL, &moved), 0);
    size_t room = weir_filter_room(filter);
    ck_assert_uint_ge(room, FILTER_MARK_BYTES);
    ck_assert_int_eq(weir_filter_write(filter, weir_str_make(block, room + 1)), -EAGAIN);
    ck_assert_int_eq(weir_filter_write(filter, weir_str_make(block, room)), 0);
    ck_assert_uint_eq(weir_filter_room(filter), 0);
    ck_assert_int_eq(weir_filter_write(filter, WEIR_STR("x")), -EAGAIN);
    ck_assert_int_eq(weir_filter_write(filter, WEIR_STR("")), 0);
    end();
}
END_TEST

/* ---- look-ahead, bounds ------------------------------------------------------------------ */

/* The one before pauses at half of what the next one wants to see: it must not. */
START_TEST(looks_ahead_as_far_behind_another_filter)
{
    static char block[300000];
    memset(block, 'a', sizeof(block));
    begin();
    if (_i == 1) {
        add(without_x);
    } else if (_i == 2) {
        add(twice);
    } else if (_i == 3) {
        add(behead); /* passes */
    }
    add(by_64k);
    static const size_t pieces[] = { 1000, 65536, 7 };
    size_t piece = pieces[_i % 3];
    ck_assert_int_eq(run(weir_str_make(block, sizeof(block)), piece, 100), 0);
    struct weir_str got = buf_str(&all.out);
    uint64_t sum = 0;
    for (size_t i = 0; i < got.len; i++) {
        if (got.ptr[i] == '[') {
            uint64_t run_bytes = strtoull(got.ptr + i + 1, NULL, 10);
            ck_assert(run_bytes >= 65536 || sum + run_bytes >= 299999);
            sum += run_bytes;
        }
    }
    ck_assert_uint_eq(sum, _i == 2 ? 600000 : _i == 3 ? 299999 : 300000);
    end();
}
END_TEST

/* Nobody drains: whatever the line is made of, what it holds is bounded, and its writer feels
 * it. */
START_TEST(holds_a_bounded_amount_for_a_slow_reader)
{
    static filter_kind_fn *const kinds[] = { twice, without_x, behead, bracket };
    static char block[10000];
    memset(block, 'a', sizeof(block));
    begin();
    add(kinds[_i]);
    add(kinds[(_i + 1) % 4]);
    uint64_t fed = 0;
    for (int i = 0; i < 1000; i++) {
        if (all.source.bytes < 65536) {
            ck_assert_int_eq(slice_queue_push(&all.source,
                                     slice_static(weir_str_make(block, sizeof(block)))),
                    0);
            fed += sizeof(block);
        }
        bool moved = false;
        ck_assert_int_eq(filter_line_step(&all.line, false, call, NULL, &moved), 0);
    }
    ck_assert_uint_lt(fed, 400000);
    end();
}
END_TEST

/* A look-ahead over many small slices copies each byte a bounded number of times: this would
 * take minutes if it did not. */
START_TEST(joins_many_small_slices_without_going_over_them_again)
{
    begin();
    add(by_fours);
    for (int i = 0; i < 400000; i++) {
        ck_assert_int_eq(slice_queue_push(&all.source, slice_static(WEIR_STR("a"))), 0);
    }
    for (int i = 0; i < 400000; i++) {
        bool moved = false;
        ck_assert_int_eq(filter_line_step(&all.line, true, call, NULL, &moved), 0);
        drain(UINT64_MAX);
        if (all.line.last->has_ended) {
            break;
        }
    }
    ck_assert_uint_eq(buf_str(&all.out).len, 400000);
    end();
}
END_TEST

/* ---- files ------------------------------------------------------------------------------- */

static struct hold file_hold;
static unsigned file_frees;

static void
free_file(struct hold *hold)
{
    (void)hold;
    file_frees++;
}

/* A filter reads a file in runs; one that passes leaves it a file. */
START_TEST(reads_files_for_those_that_look_and_only_for_them)
{
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    char block[1000];
    memset(block, 'f', sizeof(block));
    for (int i = 0; i < 200; i++) {
        ck_assert_uint_eq(fwrite(block, 1, sizeof(block), file), sizeof(block));
    }
    fflush(file);
    begin();
    add(_i == 0 ? behead : twice);
    hold_init(&file_hold, free_file);
    file_frees = 0;
    ck_assert_int_eq(slice_queue_push(&all.source, slice_static(WEIR_STR("head"))), 0);
    ck_assert_int_eq(slice_queue_push(&all.source,
                             slice_of_file(&file_hold, fileno(file), 100, 150000)),
            0);
    ck_assert_int_eq(slice_queue_push(&all.source, slice_static(WEIR_STR("tail"))), 0);
    bool saw_file = false;
    while (!all.line.last->has_ended || all.line.last->output.bytes > 0) {
        bool moved = false;
        ck_assert_int_eq(filter_line_step(&all.line, true, call, NULL, &moved), 0);
        for (uint32_t i = 0; i < all.line.last->output.count; i++) {
            saw_file |= slice_queue_at(&all.line.last->output, i)->kind == SLICE_FILE;
        }
        drain(50000);
    }
    ck_assert_uint_eq(buf_str(&all.out).len, _i == 0 ? 150007 : 300016);
    ck_assert_int_eq(saw_file, _i == 0);
    ck_assert_uint_eq(file_hold.references, 1);
    end();
    hold_unref(&file_hold);
    ck_assert_uint_eq(file_frees, 1);
    fclose(file);
}
END_TEST

START_TEST(fails_when_a_file_was_cut_short)
{
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(ftruncate(fileno(file), 70000), 0);
    begin();
    add(twice);
    hold_init(&file_hold, free_file);
    ck_assert_int_eq(slice_queue_push(&all.source,
                             slice_of_file(&file_hold, fileno(file), 0, 70001)),
            0);
    int r = 0;
    for (int i = 0; i < 100 && r == 0; i++) {
        bool moved = false;
        r = filter_line_step(&all.line, true, call, NULL, &moved);
        drain(UINT64_MAX);
    }
    ck_assert_int_eq(r, -EIO);
    end();
    fclose(file);
}
END_TEST

static filter_kind_fn *const three_kinds[] = { without_x, by_fours, twice };

START_TEST(says_so_when_it_has_no_memory)
{
    UNIT_EACH_ALLOCATION_FAILS({
        memset(&all, 0, sizeof(all));
        arena_init(&all.arena, NULL, 0, 1 << 20);
        slice_queue_init(&all.source);
        buf_init(&all.out, 1000);
        int r = 0;
        for (int i = 0; i < 3 && r == 0; i++) {
            all.kinds[i] = three_kinds[i];
            r = filter_line_add(&all.line, &all.arena, &all.source, &all.entries[i]);
        }
        ck_assert(r == 0 || r == -ENOMEM);
        for (int i = 0; i < 9 && r == 0; i++) {
            r = slice_queue_push(&all.source, slice_static(WEIR_STR("axb")));
        }
        bool moved = false;
        if (r == 0) {
            r = filter_line_step(&all.line, true, call, NULL, &moved);
        }
        ck_assert(r == 0 || r == -ENOMEM || r == -EPROTO);
        end();
    });
}
END_TEST

#define ROWS(cases) (int)(sizeof(cases) / sizeof((cases)[0]))

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, gives_the_same_however_it_is_fed_and_drained, 0, ROWS(cases));
    tcase_add_test(tests, ends_an_empty_body);
    tcase_add_loop_test(tests, names_the_filter_that_is_at_fault, 0, ROWS(fault_cases));
    tcase_add_test(tests, refuses_to_look_ahead_further_than_64k);
    tcase_add_test(tests, takes_no_more_output_than_it_has_room_for);
    tcase_add_loop_test(tests, looks_ahead_as_far_behind_another_filter, 0, 4);
    tcase_add_loop_test(tests, holds_a_bounded_amount_for_a_slow_reader, 0, 4);
    tcase_add_test(tests, joins_many_small_slices_without_going_over_them_again);
    tcase_add_loop_test(tests, reads_files_for_those_that_look_and_only_for_them, 0, 2);
    tcase_add_test(tests, fails_when_a_file_was_cut_short);
    tcase_add_test(tests, says_so_when_it_has_no_memory);
}

UNIT_MAIN("module/filter", add_tests)
