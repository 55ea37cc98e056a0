/* SPDX-License-Identifier: MIT */
/* Finding a connection, losing one, and the end; what goes over it is exchange_turn.c's. */
#include "upstream/exchange.h"

#include <errno.h>

#include "base/assert.h"
#include "event/loop.h"
#include "http/engine.h"
#include "upstream/conn.h"

static struct loop *
loop_of(const struct exchange *exchange)
{
    return exchange->group->all->engine->loop;
}

static void
fail(struct exchange *exchange, enum weir_exchange_error error)
{
    exchange->state = EXCHANGE_OVER;
    exchange->error = error;
    exchange->ended_ns = loop_now_ns(loop_of(exchange));
    upstream_count_result(exchange->group, exchange->target, error);
    exchange->has_news = true;
    exchange_tell(exchange);
}

void
exchange_tell(struct exchange *exchange)
{
    if (exchange->has_news) {
        exchange->has_news = false;
        exchange->on_news(exchange);
    }
}

/* ---- a connection ------------------------------------------------------------------------ */

/* On a connection that is there, or will be. */
static void
start_over(struct exchange *exchange)
{
    exchange->sending = EXCHANGE_SENDS_HEAD;
    exchange->has_received = false;
    exchange->fault = ANSWER_GOOD;
    exchange->sent_before = exchange->conn->output.sent_bytes;
    answer_reader_init(&exchange->reader, &exchange->request->arena, exchange->is_to_head,
            &exchange->answer);
}

static void
run(struct exchange *exchange)
{
    exchange->state = EXCHANGE_RUNNING;
    exchange->has_connected = true;
    start_over(exchange);
}

static void
want_body(struct exchange *exchange)
{
    struct request_body *in = &exchange->request->in;
    if (exchange->has_body && !in->wanted) {
        in->wanted = true;
        request_wake(exchange->request);
    }
}

static void
queue_up(struct exchange *exchange)
{
    struct upstream_group *group = exchange->group;
    if (exchange->queue_until_ns == 0) { /* whoever waits again has no more time than before */
        exchange->queue_until_ns = clock_add_ns(loop_now_ns(loop_of(exchange)),
                group->settings->queue_ns);
    }
    if (timer_set(&exchange->timer, exchange->queue_until_ns) < 0) {
        fail(exchange, WEIR_EXCHANGE_EXHAUSTED);
    } else if (!upstream_enqueue(group, exchange)) {
        timer_cancel(&exchange->timer);
        fail(exchange, WEIR_EXCHANGE_BUSY);
    } else {
        exchange->state = EXCHANGE_QUEUED;
    }
}

static void
ask(struct exchange *exchange, struct upstream_target *target)
{
    upstream_target_ref(target);
    upstream_target_unref(exchange->target);
    exchange->target = target;
}

/* Begins a connection to the target that it asks. False when that failed at once. */
static bool
try_target(struct exchange *exchange)
{
    struct upstream_target *target = exchange->target;
    exchange->connect_error = upstream_connect(target, exchange);
    if (exchange->connect_error == WEIR_EXCHANGE_FINE) {
        exchange->state = EXCHANGE_CONNECTING;
        return true;
    }
    if (exchange->connect_error != WEIR_EXCHANGE_EXHAUSTED) {
        upstream_failed(target, upstream_result_word(exchange->connect_error));
    }
    return false;
}

/* Without a connection nothing was asked of the target: the next may be. */
static bool
seeks_on(struct exchange *exchange)
{
    exchange->retry_reason = exchange->retry_on & WEIR_RETRY_CONNECT;
    return exchange->retry_reason != 0;
}

/* Why there is no target to ask. */
static enum weir_exchange_error
error_of_none(const struct exchange *exchange)
{
    const struct upstream_group *group = exchange->group;
    if (exchange->target != NULL) {
        return exchange->connect_error;
    }
    if (group->target_count == 0 && group->names != NULL) {
        return WEIR_EXCHANGE_UNRESOLVED;
    }
    return group->settings->refuses_when_out ? WEIR_EXCHANGE_UNAVAILABLE
                                             : exchange->connect_error;
}

static void
seek(struct exchange *exchange)
{
    for (;;) {
        struct upstream_target *target;
        switch (upstream_choose(exchange->group, &exchange->tried, &exchange->wish, &target)) {
        case UPSTREAM_CHOSEN:
            if (exchange->retry_reason != 0) {
                upstream_count_retry(exchange->target, exchange->retry_reason);
                exchange->retries++;
                exchange->retry_reason = 0;
            }
            break;
        case UPSTREAM_ALL_BUSY:
            queue_up(exchange);
            return;
        case UPSTREAM_ALL_TRIED:
            if (upstream_awaits_names(exchange->group)) {
                queue_up(exchange);
                return;
            }
            fail(exchange, error_of_none(exchange));
            return;
        }
        ask(exchange, target);
        if (exchange->was_replayed) {
            upstream_close_kept(target); /* there is no third time */
        } else if (upstream_take_kept(target, exchange)) {
            run(exchange);
            want_body(exchange); /* what is there of it leaves with the head */
            upstream_conn_wake(exchange->conn);
            return;
        }
        if (!upstream_has_room(target)) { /* the queue got the place of a kept one that ended */
            upstream_unset_tried(&exchange->tried, target);
            continue;
        }
        if (try_target(exchange)) {
            return;
        }
        if (exchange->connect_error == WEIR_EXCHANGE_EXHAUSTED || !seeks_on(exchange)) {
            fail(exchange, exchange->connect_error); /* another target would not help */
            return;
        }
    }
}

static void
on_timer(struct timer *timer)
{
    struct exchange *exchange = (struct exchange *)((char *)timer -
            offsetof(struct exchange, timer));
    upstream_unqueue(exchange->group, exchange);
    fail(exchange,
            upstream_awaits_names(exchange->group) ? WEIR_EXCHANGE_UNRESOLVED
                                                   : WEIR_EXCHANGE_QUEUE_TIMEOUT);
}

void
exchange_begin(struct exchange *exchange)
{
    WEIR_ASSERT(exchange->state == EXCHANGE_NEW);
    exchange->began_ns = loop_now_ns(loop_of(exchange));
    timer_init(&exchange->timer, loop_of(exchange), on_timer);
    slice_queue_init(&exchange->sent_body);
    slice_queue_init(&exchange->unsent_body);
    slice_queue_init(&exchange->body);
    exchange->interim_end = &exchange->interim;
    exchange->connect_error = WEIR_EXCHANGE_UNREACHABLE;
    exchange->can_replay_body = true;
    retry_budget_save(&exchange->group->retry_budget, &exchange->group->settings->retry);
    seek(exchange);
}

void
exchange_unqueued(struct exchange *exchange)
{
    timer_cancel(&exchange->timer);
    seek(exchange);
}

void
exchange_connected(struct exchange *exchange)
{
    exchange->connect_ns = loop_now_ns(loop_of(exchange)) - exchange->conn->since_ns;
    run(exchange);
}

bool
exchange_has_sent_nothing(const struct exchange *exchange)
{
    const struct upstream_conn *conn = exchange->conn;
    return conn != NULL && conn->output.sent_bytes == exchange->sent_before;
}

/* All of the body that was taken from the request goes once more. False without memory. */
static bool
rewind_body(struct exchange *exchange)
{
    struct slice_queue *rest = &exchange->unsent_body;
    if (slice_queue_move(rest, &exchange->sent_body, rest->bytes) < 0) {
        return false;
    }
    exchange->unsent_body = exchange->sent_body;
    slice_queue_init(&exchange->sent_body);
    return true;
}

/* Everything once more, to whoever is next. */
static void
start_again(struct exchange *exchange)
{
    if (rewind_body(exchange)) {
        seek(exchange);
    } else {
        fail(exchange, WEIR_EXCHANGE_EXHAUSTED);
    }
}

/* On a connection that was never kept. The others that are are most likely as stale. */
static void
replay(struct exchange *exchange)
{
    exchange->was_replayed = true;
    upstream_count_replay(exchange->target);
    exchange->tried = (struct upstream_tried){ .bits = { 0 } };
    upstream_close_kept(exchange->target);
    start_again(exchange);
}

/* Whether it says something about the target that there was no answer. */
static bool
is_targets_fault(enum weir_exchange_error error)
{
    return error == WEIR_EXCHANGE_CLOSED || error == WEIR_EXCHANGE_READ_TIMEOUT ||
            error == WEIR_EXCHANGE_SEND_TIMEOUT || error == WEIR_EXCHANGE_BAD_ANSWER ||
            error == WEIR_EXCHANGE_HEAD_TOO_LARGE;
}

void
exchange_conn_failed(struct exchange *exchange, enum weir_exchange_error error)
{
    struct upstream_conn *conn = exchange->conn;
    bool was_connecting = exchange->state == EXCHANGE_CONNECTING;
    bool is_stale = conn->was_kept && !exchange->has_received && error == WEIR_EXCHANGE_CLOSED;
    bool can_replay = is_stale && !exchange->was_replayed && exchange->can_replay_body &&
            (exchange->is_idempotent || exchange_has_sent_nothing(exchange));
    bool can_retry = !was_connecting && !can_replay &&
            retry_begin(exchange, retry_reason_of_error(error));
    exchange->conn = NULL;
    /* The exchange is no one's while the queue is served. */
    upstream_conn_close(conn, true);
    if (was_connecting) {
        exchange->connect_error = error;
        if (error != WEIR_EXCHANGE_EXHAUSTED) {
            upstream_failed(exchange->target, upstream_result_word(error));
        }
        if (seeks_on(exchange)) {
            seek(exchange);
        } else {
            fail(exchange, error);
        }
    } else if (can_replay) {
        replay(exchange);
    } else {
        if (is_targets_fault(error) && !exchange->has_head && !is_stale) {
            upstream_failed(exchange->target, upstream_result_word(error));
        }
        if (can_retry) {
            exchange->connect_error = error; /* should the others have gone meanwhile */
            start_again(exchange);
        } else {
            fail(exchange, error);
        }
    }
}

void
exchange_pass_over(struct exchange *exchange)
{
    struct upstream_conn *conn = exchange->conn;
    bool is_whole = exchange->sending == EXCHANGE_SENT && conn->output.unsent == NULL &&
            exchange->is_complete && exchange->answer.keep_alive;
    exchange->conn = NULL;
    exchange->connect_error = WEIR_EXCHANGE_UNAVAILABLE; /* should the others have gone */
    answer_body_fini(&exchange->body_reader);
    exchange->has_body_reader = exchange->is_passed_over = exchange->is_complete = false;
    if (is_whole) {
        upstream_conn_keep(conn, exchange->answer.keep_alive_s);
    } else {
        upstream_conn_close(conn, true);
    }
    start_again(exchange);
}

/* ---- the end ----------------------------------------------------------------------------- */

void
exchange_over(struct exchange *exchange)
{
    exchange->conn = NULL;
    exchange->state = EXCHANGE_OVER;
    exchange->ended_ns = loop_now_ns(loop_of(exchange));
    upstream_count_result(exchange->group, exchange->target, WEIR_EXCHANGE_FINE);
    exchange->has_news = true;
    exchange_tell(exchange);
}

/* The queue or the connection that it has. */
static void
let_go(struct exchange *exchange)
{
    switch (exchange->state) {
    case EXCHANGE_NEW:
    case EXCHANGE_OVER:
        break;
    case EXCHANGE_QUEUED:
        upstream_unqueue(exchange->group, exchange);
        timer_cancel(&exchange->timer);
        break;
    case EXCHANGE_CONNECTING:
    case EXCHANGE_RUNNING: {
        struct upstream_conn *conn = exchange->conn;
        enum request_end end = exchange->request->end;
        exchange->conn = NULL;
        /* A tunnel that is ended, and was not lost, has nothing on its way. */
        bool is_whole = exchange->is_switched && conn->output.unsent == NULL &&
                (end == REQUEST_END_IDLE || end == REQUEST_END_STOPPED);
        upstream_conn_close(conn, !is_whole);
        break;
    }
    }
}

void
exchange_end(struct exchange *exchange)
{
    let_go(exchange);
    if (exchange->state != EXCHANGE_NEW && exchange->state != EXCHANGE_OVER) {
        upstream_count_result(exchange->group, exchange->target, WEIR_EXCHANGE_ABORTED);
        exchange->ended_ns = loop_now_ns(loop_of(exchange));
    }
    if (exchange->state != EXCHANGE_NEW) {
        slice_queue_fini(&exchange->sent_body);
        slice_queue_fini(&exchange->unsent_body);
        slice_queue_fini(&exchange->body);
    }
    if (exchange->has_body_reader) {
        answer_body_fini(&exchange->body_reader);
        exchange->has_body_reader = false;
    }
    slice_drop(&exchange->head);
    upstream_target_unref(exchange->target);
    exchange->target = NULL;
    exchange->state = EXCHANGE_OVER;
}

/* ---- its owner --------------------------------------------------------------------------- */

void
exchange_wake(struct exchange *exchange)
{
    if (exchange->state == EXCHANGE_RUNNING) {
        if (exchange->is_held && exchange->body.bytes < exchange_mark_bytes()) {
            exchange->is_held = false; /* the upstream's time runs again */
            exchange->conn->received_ns = loop_now_ns(loop_of(exchange));
        }
        upstream_conn_wake(exchange->conn);
    } else if ((exchange->state == EXCHANGE_CONNECTING || exchange->state == EXCHANGE_QUEUED) &&
            exchange->has_body && exchange->request->in.error != 0) {
        let_go(exchange);
        fail(exchange, WEIR_EXCHANGE_BODY);
    }
}

struct weir_str
exchange_trailers(const struct exchange *exchange)
{
    bool has_any = exchange->is_complete && exchange->has_body_reader &&
            exchange->body_reader.framing == ANSWER_CHUNKED;
    return has_any ? buf_str(&exchange->body_reader.chunked.trailers) : weir_str_make(NULL, 0);
}

struct exchange_interim *
exchange_take_interim(struct exchange *exchange)
{
    struct exchange_interim *oldest = exchange->interim;
    if (oldest != NULL) {
        exchange->interim = oldest->next;
        if (oldest->next == NULL) {
            exchange->interim_end = &exchange->interim;
        }
    }
    return oldest;
}
