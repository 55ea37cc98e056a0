/* SPDX-License-Identifier: MIT */
#include "upstream/health_check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "event/loop.h"
#include "upstream/introduce.h"

/* More than the heads of one check ever take, with HEALTH_TOTAL_BYTES_MAX for all of them. */
#define ARENA_BYTES_MAX (4u << 20)

#define INTERIM_MAX 16u

#define REQUEST_BYTES_MAX 8192u

/* ---- words ------------------------------------------------------------------------------- */

const char *
health_result_word(enum health_result result)
{
    static const char *const words[] = {
#define X(name, word) word,
        HEALTH_RESULTS(X)
#undef X
    };
    return words[result];
}

static int
format_timeout(const struct health_check *check, char *dst, size_t bytes)
{
    const char *what = !check->was_connected ? "connection"
            : check->has_head                ? "end of the answer"
                                             : "answer";
    uint64_t ms = check->question.settings->timeout_ns / NS_PER_MS;
    if (ms % 1000 == 0) {
        return snprintf(dst, bytes, "no %s within %llu s", what, (unsigned long long)ms / 1000);
    }
    return snprintf(dst, bytes, "no %s within %llu ms", what, (unsigned long long)ms);
}

static int
format_status(const struct health_check *check, char *dst, size_t bytes)
{
    char expected[64];
    health_format_statuses(check->question.settings, expected, sizeof(expected));
    return snprintf(dst, bytes, "status %u, expected %s", check->head.status, expected);
}

size_t
health_check_format(const struct health_check *check, char *dst, size_t bytes)
{
    int n = 0;
    switch (check->result) {
    case HEALTH_FINE:
        n = check->has_head ? snprintf(dst, bytes, "status %u", check->head.status)
                            : snprintf(dst, bytes, "it takes connections");
        break;
    case HEALTH_REFUSED:
        n = check->error == -ECONNREFUSED
                ? snprintf(dst, bytes, "connection refused")
                : snprintf(dst, bytes, "no connection: %s", strerror(-check->error));
        break;
    case HEALTH_TIMEOUT:
        n = format_timeout(check, dst, bytes);
        break;
    case HEALTH_CLOSED:
        n = snprintf(dst, bytes, "closed before the end of an answer");
        break;
    case HEALTH_BAD_ANSWER:
        n = snprintf(dst, bytes, "%s", answer_fault_text(check->fault));
        break;
    case HEALTH_TOO_LARGE:
        n = snprintf(dst, bytes, "more than %u KiB, and no end", HEALTH_TOTAL_BYTES_MAX >> 10);
        break;
    case HEALTH_STATUS:
        n = format_status(check, dst, bytes);
        break;
    case HEALTH_BODY:
        n = snprintf(dst, bytes, "status %u, but not the body that is expected",
                check->head.status);
        break;
    case HEALTH_EXHAUSTED:
        n = snprintf(dst, bytes, "no memory or descriptor for a check");
        break;
    }
    return n < 0 ? 0 : (size_t)n < bytes ? (size_t)n : bytes - 1;
}

/* ---- the end of one ---------------------------------------------------------------------- */

void
health_check_stop(struct health_check *check)
{
    timer_cancel(&check->timer);
    if (check->stream != NULL) {
        stream_close(check->stream, false);
        check->stream = NULL;
    }
    if (check->has_head) {
        answer_body_fini(&check->body_reader);
    }
    buf_fini(&check->body);
    arena_reset(&check->arena);
    check->state = HEALTH_CHECK_IDLE;
}

static void
finish(struct health_check *check, enum health_result result)
{
    check->result = result;
    check->was_connected = check->state == HEALTH_CHECK_ASKING;
    health_check_stop(check);
    check->on_done(check);
}

static void
on_timer(struct timer *timer)
{
    finish((struct health_check *)((char *)timer - offsetof(struct health_check, timer)),
            HEALTH_TIMEOUT);
}

/* Why there is no connection. */
static void
refuse(struct health_check *check, int error)
{
    bool is_ours = error == -EMFILE || error == -ENFILE || error == -ENOMEM ||
            error == -ENOBUFS || error == -EADDRNOTAVAIL;
    check->error = error;
    finish(check,
            is_ours                       ? HEALTH_EXHAUSTED
                    : error == -ETIMEDOUT ? HEALTH_TIMEOUT
                                          : HEALTH_REFUSED);
}

/* ---- what comes -------------------------------------------------------------------------- */

enum verdict {
    MORE, /* is needed */
    OVER, /* *result says how */
};

static enum verdict
over(enum health_result *result, enum health_result is)
{
    *result = is;
    return OVER;
}

static enum verdict
bad_answer(struct health_check *check, enum answer_fault fault, enum health_result *result)
{
    check->fault = fault;
    return over(result, fault == ANSWER_OUT_OF_MEMORY ? HEALTH_EXHAUSTED : HEALTH_BAD_ANSWER);
}

/* All of the body that counts is there. */
static enum verdict
judge_body(const struct health_check *check, enum health_result *result)
{
    bool is_good = health_body_is_good(check->question.settings, buf_str(&check->body));
    return over(result, is_good ? HEALTH_FINE : HEALTH_BODY);
}

/* A whole head. */
static enum verdict
take_head(struct health_check *check, enum health_result *result)
{
    if (check->head.status == 101) {
        return bad_answer(check, ANSWER_UNASKED_SWITCH, result);
    }
    if (check->head.status < 200) {
        if (++check->interims > INTERIM_MAX) {
            return bad_answer(check, ANSWER_TOO_MANY_INTERIM, result);
        }
        answer_reader_init(&check->reader, &check->arena, false, &check->head);
        return MORE;
    }
    check->has_head = true;
    answer_body_init(&check->body_reader, &check->head);
    if (!health_expects_status(check->question.settings, check->head.status)) {
        return over(result, HEALTH_STATUS);
    }
    if (!health_expects_body(check->question.settings)) {
        return over(result, HEALTH_FINE);
    }
    return check->body_reader.is_ended ? judge_body(check, result) : MORE;
}

static enum verdict
take_body(struct health_check *check, struct weir_str *input, enum health_result *result)
{
    enum answer_fault fault = ANSWER_GOOD;
    struct weir_str data = weir_str_make(NULL, 0);
    switch (answer_body_step(&check->body_reader, input, &data, &fault)) {
    case ANSWER_BODY_DATA: {
        size_t room = HEALTH_BODY_BYTES_MAX - buf_str(&check->body).len;
        data.len = data.len < room ? data.len : room;
        if (buf_append(&check->body, data) < 0) {
            return over(result, HEALTH_EXHAUSTED);
        }
        bool is_enough = data.len == room || check->body_reader.is_ended;
        return is_enough ? judge_body(check, result) : MORE;
    }
    case ANSWER_BODY_MORE:
        break;
    case ANSWER_BODY_DONE:
        return judge_body(check, result);
    case ANSWER_BODY_REFUSED:
        return bad_answer(check, fault, result);
    }
    return check->body_reader.is_ended ? judge_body(check, result) : MORE;
}

static enum verdict
feed(struct health_check *check, struct weir_str input, enum health_result *result)
{
    enum answer_fault fault = ANSWER_GOOD;
    while (input.len > 0) {
        enum verdict verdict = MORE;
        if (check->has_head) {
            verdict = take_body(check, &input, result);
        } else {
            switch (answer_reader_feed(&check->reader, &input, &fault)) {
            case ANSWER_MORE:
                break;
            case ANSWER_DONE:
                verdict = take_head(check, result);
                break;
            case ANSWER_REFUSED:
                return bad_answer(check, fault, result);
            }
        }
        if (verdict == OVER) {
            return OVER;
        }
    }
    return MORE;
}

/* The peer says no more. */
static enum verdict
take_end(struct health_check *check, enum health_result *result)
{
    if (check->has_head && answer_body_ends_so(&check->body_reader)) {
        return judge_body(check, result);
    }
    return over(result, HEALTH_CLOSED);
}

static void
receive(struct health_check *check)
{
    enum health_result result = HEALTH_CLOSED;
    enum verdict verdict = MORE;
    while (verdict == MORE) {
        char *memory = loop_scratch(check->loop);
        ssize_t n = stream_read(check->stream, memory, LOOP_SCRATCH_BYTES);
        if (n == -EAGAIN) {
            return;
        }
        if (n <= 0) {
            verdict = take_end(check, &result);
            break;
        }
        check->received_bytes += (uint64_t)n;
        verdict = feed(check, weir_str_make(memory, (size_t)n), &result);
        if (verdict == MORE && check->received_bytes > HEALTH_TOTAL_BYTES_MAX) {
            verdict = over(&result, HEALTH_TOO_LARGE);
        }
    }
    finish(check, result);
}

/* ---- what goes out ----------------------------------------------------------------------- */

/* What the socket takes; a failure is found out by whoever reads. */
static void
send_part(struct health_check *check, struct weir_str part, size_t before_bytes)
{
    while (check->sent_bytes >= before_bytes && check->sent_bytes < before_bytes + part.len) {
        size_t done = check->sent_bytes - before_bytes;
        struct iovec rest = { (char *)(uintptr_t)part.ptr + done, part.len - done };
        ssize_t n = stream_write(check->stream, &rest, 1, false);
        if (n <= 0) {
            return;
        }
        check->sent_bytes += (size_t)n;
    }
}

static void
send_request(struct health_check *check)
{
    send_part(check, weir_str_make(check->introduction, check->introduction_bytes), 0);
    send_part(check, buf_str(&check->request), check->introduction_bytes);
}

static void
on_event(void *owner, unsigned events)
{
    struct health_check *check = owner;
    if (check->state == HEALTH_CHECK_CONNECTING) {
        int error = stream_error(check->stream);
        if (error < 0) {
            refuse(check, error);
            return;
        }
        check->state = HEALTH_CHECK_ASKING;
        if (check->question.proxy != PROXY_NONE) {
            check->introduction_bytes = upstream_introduce_self(check->question.proxy,
                    check->stream, check->question.addr, check->introduction);
        }
    }
    send_request(check);
    if (check->request.end == check->request.start) {
        finish(check, HEALTH_FINE);
        return;
    }
    if ((events & (STREAM_READABLE | STREAM_ENDED | STREAM_BROKEN)) != 0) {
        receive(check);
    }
}

void
health_check_begin(struct health_check *check)
{
    WEIR_ASSERT(check->state == HEALTH_CHECK_IDLE);
    check->state = HEALTH_CHECK_CONNECTING;
    check->sent_bytes = 0;
    check->received_bytes = 0;
    check->interims = 0;
    check->has_head = false;
    answer_reader_init(&check->reader, &check->arena, false, &check->head);
    uint64_t until_ns = clock_add_ns(loop_now_ns(check->loop),
            check->question.settings->timeout_ns);
    int r = timer_set(&check->timer, until_ns);
    if (r == 0) {
        r = check->question.connector->connect(check->question.connector, check->loop,
                check->question.addr, check->stream_memory, on_event, check, &check->stream);
    }
    if (r < 0) {
        refuse(check, r);
    }
}

/* ---- making ------------------------------------------------------------------------------ */

int
health_check_init(struct health_check *check, struct loop *loop,
        const struct health_question *question, void (*on_done)(struct health_check *check))
{
    const struct health_settings *settings = question->settings;
    memset(check, 0, sizeof(*check));
    check->loop = loop;
    check->question = *question;
    check->on_done = on_done;
    timer_init(&check->timer, loop, on_timer);
    arena_init(&check->arena, NULL, 0, ARENA_BYTES_MAX);
    buf_init(&check->request, REQUEST_BYTES_MAX);
    buf_init(&check->body, HEALTH_BODY_BYTES_MAX);
    if (settings->path.len == 0) {
        return 0;
    }
    struct weir_str host = settings->host.len > 0     ? settings->host
            : question->addr->sa.sa_family == AF_UNIX ? WEIR_STR("localhost")
                                                      : question->address;
    return buf_printf(&check->request,
            "GET %.*s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: weir (health check)\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n",
            WEIR_STR_ARG(settings->path), WEIR_STR_ARG(host));
}

void
health_check_fini(struct health_check *check)
{
    health_check_stop(check);
    buf_fini(&check->request);
}
