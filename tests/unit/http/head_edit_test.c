/* SPDX-License-Identifier: MIT */
/* Edits of a head: what later readers see, what stays, and where they end. */
#include "http/head_edit.h"

#include <errno.h>
#include <stdio.h>

#include "http/head_reader.h"
#include "support/unit.h"

static struct http_limits limits;
static struct arena arena;
static struct head head;
static struct head_reader reader;
static struct head_edits *edits;

static void
begin(struct weir_str text)
{
    limits = (struct http_limits)HTTP_LIMITS_PRESET;
    arena_init(&arena, NULL, 0, 4 << 20);
    head_reader_init(&reader, &limits, &arena, &head);
    edits = NULL;
    size_t taken;
    enum head_refusal refusal;
    ck_assert_int_eq(head_reader_feed(&reader, text, &taken, &refusal), HEAD_DONE);
}

static int
set(const char *name, const char *value)
{
    return head_edit_set(&head, &edits, &arena, weir_str_from(name), weir_str_from(value));
}

static int
add(const char *name, const char *value)
{
    return head_edit_add(&head, &edits, &arena, weir_str_from(name), weir_str_from(value));
}

static int
drop(const char *name)
{
    return head_edit_remove(&head, &edits, &arena, weir_str_from(name));
}

/* All fields as lines. */
static void
check_fields(const char *want)
{
    char text[2048] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < head.field_count; i++) {
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%.*s=%.*s;",
                WEIR_STR_ARG(head_field_name(&head, i)),
                WEIR_STR_ARG(head_field_value(&head, i)));
    }
    ck_assert_str_eq(text, want);
    /* Both ways of finding agree. */
    for (uint32_t i = 0; i < head.field_count; i++) {
        enum field_id id = head.fields[i].id;
        uint32_t first = head_find_named(&head, head_field_name(&head, i), 0);
        ck_assert(id == FIELD_OTHER ||
                head_find(&head, id).ptr == head_field_value(&head, first).ptr);
    }
}

#define HEAD                                                            \
    "GET /a?b HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nX-One: 1\r\n" \
    "Cookie: c=1\r\nX-One: 2\r\nAccept: */*\r\nContent-Length: 5\r\n\r\n"

START_TEST(adds_sets_and_removes)
{
    begin(WEIR_STR(HEAD));
    struct weir_str before = head_find(&head, FIELD_ACCEPT);
    ck_assert_int_eq(add("X-Two", " two "), 0);
    ck_assert_int_eq(set("x-one", "3"), 0);
    ck_assert_int_eq(set("ACCEPT", ""), 0);
    ck_assert_int_eq(set("Range", "bytes=0-1"), 0);
    check_fields("Host=a;ACCEPT=;x-one=3;Cookie=c=1;Content-Length=5;X-Two=two;"
                 "Range=bytes=0-1;");
    ck_assert_int_eq(drop("cookie"), 1);
    ck_assert_int_eq(drop("X-None"), 0);
    ck_assert_int_eq(drop("X-Two"), 1);
    check_fields("Host=a;ACCEPT=;x-one=3;Content-Length=5;Range=bytes=0-1;");
    ck_assert_ptr_null(head_find(&head, FIELD_COOKIE).ptr);
    ck_assert(weir_str_eq(before, WEIR_STR("text/html"))); /* what was given out stays */
    ck_assert(weir_str_eq(head_target(&head), WEIR_STR("/a?b")));
    ck_assert(weir_str_eq(head_method(&head), WEIR_STR("GET")));
    ck_assert_int_eq(head.body, HEAD_BODY_LENGTH);
    arena_reset(&arena);
}
END_TEST

static const char *const framing[] = { "Content-Length", "transfer-encoding", "HOST",
    "Connection", "Keep-Alive", "TE", "Trailer", "Upgrade", "Proxy-Connection", "Expect",
    "HTTP2-Settings" };

START_TEST(leaves_framing_alone)
{
    begin(WEIR_STR(HEAD));
    ck_assert_int_eq(set(framing[_i], "1"), -EINVAL);
    ck_assert_int_eq(add(framing[_i], "1"), -EINVAL);
    ck_assert_int_eq(drop(framing[_i]), -EINVAL);
    ck_assert_ptr_null(edits);
    arena_reset(&arena);
}
END_TEST

START_TEST(takes_nothing_that_no_client_may_send)
{
    begin(WEIR_STR(HEAD));
    ck_assert_int_eq(add("", "1"), -EINVAL);
    ck_assert_int_eq(add("a b", "1"), -EINVAL);
    ck_assert_int_eq(add("a:", "1"), -EINVAL);
    ck_assert_int_eq(set("a", "1\r\nb: 2"), -EINVAL);
    ck_assert_int_eq(head_edit_add(&head, &edits, &arena, WEIR_STR("a"), WEIR_STR("b\0c")),
            -EINVAL);
    ck_assert_int_eq(drop("a b"), -EINVAL);
    ck_assert_ptr_null(edits);
    arena_reset(&arena);
}
END_TEST

static const struct {
    const char *sent, *method;
    int want;
} methods[] = {
    { "GET", "POST", 0 },
    { "HEAD", "GET", 0 },
    { "HEAD", "HEAD", 0 },
    { "POST", "GET", 0 },
    { "GET", "HEAD", -EINVAL },
    { "GET", "CONNECT", -EINVAL },
    { "GET", "get", -EINVAL },
    { "GET", "", -EINVAL },
    { "GET", "FROB", -EINVAL },
};

START_TEST(changes_methods_but_not_how_answers_are_framed)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "%s / HTTP/1.1\r\nHost: a\r\n\r\n",
            methods[_i].sent);
    begin(weir_str_make(text, (size_t)len));
    struct weir_str name = weir_str_from(methods[_i].method);
    ck_assert_int_eq(head_edit_method(&head, &edits, &arena, name), methods[_i].want);
    if (methods[_i].want == 0) {
        ck_assert(weir_str_eq(head_method(&head), name));
        ck_assert_int_eq(head.method, method_parse(name));
        ck_assert_int_eq(edits->sent_method, method_parse(weir_str_from(methods[_i].sent)));
        /* And back again, from what was sent. */
        ck_assert_int_eq(head_edit_method(&head, &edits, &arena,
                                 weir_str_from(methods[_i].sent)),
                0);
    } else {
        ck_assert(weir_str_eq(head_method(&head), weir_str_from(methods[_i].sent)));
    }
    arena_reset(&arena);
}
END_TEST

START_TEST(is_bounded)
{
    begin(WEIR_STR(HEAD));
    static char value[1000];
    memset(value, 'v', sizeof(value) - 1);
    int r = 0;
    unsigned count = 0;
    while (r == 0 && count < 5000) {
        r = set("X-Large", value); /* the old value's bytes stay taken */
        count++;
    }
    ck_assert_int_eq(r, -ENOBUFS);
    ck_assert_uint_lt(count, 300);
    arena_reset(&arena);
    begin(WEIR_STR(HEAD));
    for (r = 0, count = 0; r == 0 && count < 5000; count++) {
        r = add("X-A", "");
    }
    ck_assert_int_eq(r, -ENOBUFS);
    ck_assert_uint_eq(head.field_count, HEAD_EDITED_FIELDS_MAX);
    ck_assert_int_eq(set("X-A", "1"), 0);
    ck_assert_int_eq(drop("X-A"), 1);
    arena_reset(&arena);
}
END_TEST

START_TEST(stays_as_it_was_without_memory)
{
    UNIT_EACH_ALLOCATION_FAILS({
        failalloc_fail_nth(0);
        begin(WEIR_STR(HEAD));
        failalloc_fail_nth(unit_nth);
        int r = 0;
        for (int i = 0; i < 100 && r == 0; i++) {
            r = add("X-Many", "0123456789012345678901234567890123456789");
        }
        ck_assert(r == 0 || r == -ENOMEM);
        failalloc_fail_nth(0);
        ck_assert(weir_str_eq(head_find(&head, FIELD_HOST), WEIR_STR("a")));
        ck_assert_int_eq(add("X-Last", "1"), 0);
        ck_assert_uint_eq(head_find_named(&head, WEIR_STR("X-Last"), 0), head.field_count - 1);
        arena_reset(&arena);
    });
}
END_TEST

#define ROWS(cases) (int)(sizeof(cases) / sizeof((cases)[0]))

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, adds_sets_and_removes);
    tcase_add_loop_test(tests, leaves_framing_alone, 0, ROWS(framing));
    tcase_add_test(tests, takes_nothing_that_no_client_may_send);
    tcase_add_loop_test(tests, changes_methods_but_not_how_answers_are_framed, 0,
            ROWS(methods));
    tcase_add_test(tests, is_bounded);
    tcase_add_test(tests, stays_as_it_was_without_memory);
}

UNIT_MAIN("http/head_edit", add_tests)
