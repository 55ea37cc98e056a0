/* SPDX-License-Identifier: MIT */
/* What a turn writes: joined, in order, in one call, and kept when the socket takes less. */
#include "http/output.h"

#include <errno.h>
#include <stdio.h>

#include "event/loop.h"
#include "support/unit.h"
#include "testkit/manual_clock.h"
#include "testkit/memory_stream.h"

static struct {
    struct manual_clock clock;
    struct loop *loop;
    struct engine engine;
    struct memory_stream stream;
    struct output_state state;
    struct output output;
} all;

static void
run_nothing(struct weir_request *request)
{
    (void)request;
}

static void
on_event(void *owner, unsigned events)
{
    (void)owner;
    (void)events;
}

static void
begin(void)
{
    static const struct request_handler handler = { .run = run_nothing, .end = run_nothing };
    manual_clock_init(&all.clock, NS_PER_S, 0);
    ck_assert_int_eq(loop_new(&all.clock.clock, &all.loop), 0);
    ck_assert_int_eq(engine_init(&all.engine, all.loop, &handler, NULL), 0);
    memory_stream_init(&all.stream, all.loop, on_event, NULL);
    all.state = (struct output_state){ .unsent = NULL };
    output_begin(&all.output, &all.engine, &all.stream.stream, &all.state);
}

static void
end(void)
{
    output_state_fini(&all.state);
    stream_close(&all.stream.stream, false);
    memory_stream_fini(&all.stream);
    engine_fini(&all.engine);
    loop_free(all.loop);
}

/* Ends the turn and begins the next one, in which another connection has used the buffer. */
static void
next_turn(void)
{
    ck_assert_int_eq(output_end(&all.output), 0);
    memset(all.engine.output, '#', ENGINE_OUTPUT_BYTES);
    output_begin(&all.output, &all.engine, &all.stream.stream, &all.state);
}

static struct weir_str
received(void)
{
    return buf_str(&all.stream.received);
}

static struct slice
heap_slice(size_t len, char byte)
{
    struct slice slice;
    char *memory;
    ck_assert_int_eq(slice_alloc(len, &slice, &memory), 0);
    memset(memory, byte, len);
    return slice;
}

START_TEST(joins_small_pieces_into_one_write)
{
    begin();
    for (int i = 0; i < 100; i++) {
        output_bytes(&all.output, WEIR_STR("ab"));
        output_slice(&all.output, heap_slice(3, 'c'));
        char *memory = output_reserve(&all.output, 10);
        ck_assert_ptr_nonnull(memory);
        memcpy(memory, "de", 2);
        output_wrote(&all.output, 2);
    }
    ck_assert_uint_eq(all.output.queue.count, 1);
    ck_assert_int_eq(output_flush(&all.output), OUTPUT_SENT);
    ck_assert_uint_eq(all.stream.writes, 1);
    ck_assert_uint_eq(received().len, 700);
    ck_assert_mem_eq(received().ptr + 693, "abcccde", 7);
    ck_assert_int_eq(output_end(&all.output), 0);
    ck_assert_ptr_null(all.state.unsent);
    end();
}
END_TEST

/* Whatever is queued, and however little the socket takes at a time, it arrives in order. */
START_TEST(keeps_the_order_whatever_the_socket_takes)
{
    static const uint64_t sips[] = { 1, 7, 100, 4097, 70000 };
    begin();
    struct buf want;
    buf_init(&want, 1 << 20);
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    struct hold hold = { .references = 1 };
    for (int i = 0; i < 3000; i++) {
        ck_assert_int_ne(fputc('0' + i % 10, file), EOF);
    }
    fflush(file);
    all.stream.allowed_bytes = 0;
    for (int i = 0; i < 12; i++) {
        size_t large = (size_t)i * 1000 + 1;
        output_bytes(&all.output, WEIR_STR("head"));
        ck_assert_int_eq(buf_append(&want, WEIR_STR("head")), 0);
        struct slice slice = heap_slice(large, (char)('a' + i));
        ck_assert_int_eq(buf_append(&want, weir_str_make(slice.ptr, large)), 0);
        output_slice(&all.output, slice);
        output_slice(&all.output, slice_of_file(&hold, fileno(file), 10, 20));
        ck_assert_int_eq(buf_append(&want, WEIR_STR("01234567890123456789")), 0);
        if (i % 3 == 0) {
            output_flush(&all.output);
            next_turn();
        }
    }
    uint64_t queued = all.state.queued_bytes;
    ck_assert_uint_eq(queued, buf_str(&want).len);
    for (int i = 0; all.state.sent_bytes < queued; i++) {
        ck_assert_int_lt(i, 200000);
        memory_stream_allow(&all.stream, sips[_i]);
        enum output_result result = output_flush(&all.output);
        ck_assert(result == OUTPUT_SENT || result == OUTPUT_BLOCKED);
        next_turn();
    }
    ck_assert(weir_str_eq(received(), buf_str(&want)));
    ck_assert_ptr_null(all.state.unsent);
    ck_assert_uint_eq(hold.references, 1);
    buf_fini(&want);
    fclose(file);
    end();
}
END_TEST

START_TEST(gives_way_after_its_share_of_a_turn)
{
    static char block[1 << 20];
    begin();
    for (int i = 0; i < 5; i++) {
        output_slice(&all.output, slice_static(weir_str_make(block, sizeof(block))));
        enum output_result result = output_flush(&all.output);
        ck_assert_int_eq(result, i < 2 ? OUTPUT_SENT : OUTPUT_YIELDED);
    }
    ck_assert_uint_eq(received().len, 2u << 20);
    next_turn();
    ck_assert_int_eq(output_flush(&all.output), OUTPUT_SENT);
    ck_assert_uint_eq(received().len, 5u << 20);
    ck_assert_int_eq(output_end(&all.output), 0);
    end();
}
END_TEST

START_TEST(asks_for_room_before_it_overflows)
{
    begin();
    all.stream.allowed_bytes = 100;
    ck_assert_ptr_nonnull(output_reserve(&all.output, ENGINE_OUTPUT_BYTES));
    output_wrote(&all.output, 60000);
    ck_assert_ptr_null(output_reserve(&all.output, 6000));
    ck_assert_int_eq(all.output.last, OUTPUT_BLOCKED);
    ck_assert_ptr_nonnull(output_reserve(&all.output, 5000));
    memory_stream_allow(&all.stream, UINT64_MAX);
    ck_assert_ptr_nonnull(output_reserve(&all.output, 6000)); /* after writing */
    ck_assert_uint_eq(received().len, 60000);
    output_wrote(&all.output, 0);
    ck_assert_int_eq(output_end(&all.output), 0);
    end();
}
END_TEST

START_TEST(tells_a_peer_that_left_from_a_file_that_broke)
{
    begin();
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    struct hold hold = { .references = 1 };
    output_bytes(&all.output, WEIR_STR("head"));
    output_slice(&all.output, slice_of_file(&hold, fileno(file), 0, 10));
    all.stream.peer_reset = _i == 1;
    ck_assert_int_eq(output_flush(&all.output), OUTPUT_BROKEN);
    ck_assert_int_eq(all.output.has_source_failed, _i == 0);
    ck_assert_uint_eq(received().len, _i == 0 ? 4 : 0);
    ck_assert_int_eq(output_end(&all.output), 0);
    end();
    fclose(file);
}
END_TEST

/* Nothing is sent behind what was lost. */
START_TEST(sends_a_clean_beginning_when_memory_runs_out)
{
    static char block[5000];
    memset(block, 'x', sizeof(block));
    UNIT_EACH_ALLOCATION_FAILS({
        failalloc_fail_nth(0);
        begin();
        memory_stream_reserve(&all.stream, 1 << 18);
        struct slice slices[12];
        for (int i = 0; i < 12; i++) {
            slices[i] = heap_slice(5000, (char)('a' + i));
        }
        failalloc_fail_nth(unit_nth);
        for (int i = 0; i < 12; i++) {
            output_bytes(&all.output, WEIR_STR("<"));
            output_slice(&all.output, slices[i]);
            output_bytes(&all.output, WEIR_STR(">"));
        }
        all.stream.allowed_bytes = 20000;
        output_flush(&all.output);
        bool is_lost = output_end(&all.output) < 0;
        ck_assert(is_lost == failalloc_has_failed());
        ck_assert_uint_eq(all.state.queued_bytes, 12 * 5002);
        struct weir_str got = received();
        for (size_t i = 0; i < got.len; i++) {
            size_t piece = i / 5002;
            size_t at = i % 5002;
            char want = at == 0 ? '<' : at == 5001 ? '>' : (char)('a' + (char)piece);
            ck_assert_int_eq(got.ptr[i], want);
        }
        ck_assert(is_lost || all.state.unsent != NULL);
        end();
    });
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, joins_small_pieces_into_one_write);
    tcase_add_loop_test(tests, keeps_the_order_whatever_the_socket_takes, 0, 5);
    tcase_add_test(tests, gives_way_after_its_share_of_a_turn);
    tcase_add_test(tests, asks_for_room_before_it_overflows);
    tcase_add_loop_test(tests, tells_a_peer_that_left_from_a_file_that_broke, 0, 2);
    tcase_add_test(tests, sends_a_clean_beginning_when_memory_runs_out);
}

UNIT_MAIN("http/output", add_tests)
