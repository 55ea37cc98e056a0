/* SPDX-License-Identifier: MIT */
#include "upstream/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/budget.h"
#include "http/engine.h"
#include "upstream/exchange.h"

/* Turns of one connection within one of the loop's: a fast pair of peers must not hold it. */
#define TURN_RUNS_MAX 16u

/* Where there is no time limit, it is looked again after this. */
#define LOOK_NS (60 * NS_PER_S)

static struct engine *
engine_of(const struct upstream_conn *conn)
{
    return conn->target->group->all->engine;
}

static uint64_t
now_ns(const struct upstream_conn *conn)
{
    return loop_now_ns(engine_of(conn)->loop);
}

/* ---- the end ----------------------------------------------------------------------------- */

static void
unlink_kept(struct upstream_conn *conn)
{
    *conn->link = conn->next;
    if (conn->next != NULL) {
        conn->next->link = conn->link;
    }
    conn->link = NULL;
    conn->target->idle_count--;
}

void
upstream_conn_close(struct upstream_conn *conn, bool reset)
{
    struct upstream_target *target = conn->target;
    struct upstream_group *group = target->group;
    if (conn->link != NULL) {
        unlink_kept(conn);
    }
    timer_cancel(&conn->timer);
    loop_undefer(engine_of(conn)->loop, &conn->task);
    output_state_fini(&conn->output);
    if (conn->stream != NULL) {
        stream_close(conn->stream, reset);
    }
    free(conn);
    budget_give(sizeof(*conn));
    target->open_count--;
    upstream_show_connections(target);
    upstream_target_unref(target);
    upstream_serve_queue(group);
}

void
upstream_close_kept(struct upstream_target *target)
{
    upstream_target_ref(target); /* whom the queue turns to may let go of it */
    while (target->idle != NULL) {
        upstream_conn_close(target->idle, false);
    }
    upstream_target_unref(target);
}

/* ---- turns ------------------------------------------------------------------------------- */

static uint64_t
deadline_of(const struct upstream_conn *conn)
{
    const struct upstream_settings *settings = conn->target->group->settings;
    if (conn->exchange == NULL) {
        return clock_add_ns(conn->since_ns, conn->idle_ns);
    }
    return conn->is_connected ? exchange_deadline(conn->exchange)
                              : clock_add_ns(conn->since_ns, settings->connect_ns);
}

/* The timer is always set, so that moving it cannot fail; it is moved only where it would come
 * too late. */
static void
set_timer(struct upstream_conn *conn)
{
    uint64_t deadline_ns = deadline_of(conn);
    if (deadline_ns < conn->timer.deadline_ns) {
        int r = timer_set(&conn->timer, deadline_ns);
        (void)r;
    }
}

static void
take_turn(struct upstream_conn *conn)
{
    struct exchange *exchange = conn->exchange;
    struct output output;
    enum weir_exchange_error error = WEIR_EXCHANGE_FINE;
    uint64_t sent_before = conn->output.sent_bytes;
    bool was_blocked = conn->is_blocked;
    output_begin(&output, engine_of(conn), conn->stream, &conn->output);
    enum exchange_turn result = exchange_turn(exchange, &output, &error);
    conn->is_blocked = output.last == OUTPUT_BLOCKED;
    if (conn->output.sent_bytes > sent_before || (conn->is_blocked && !was_blocked)) {
        conn->sent_ns = now_ns(conn);
    }
    bool must_yield = output.last == OUTPUT_YIELDED;
    if (output_end(&output) < 0 && result == EXCHANGE_GOES_ON) {
        result = EXCHANGE_FAILS;
        error = WEIR_EXCHANGE_EXHAUSTED;
    }
    switch (result) {
    case EXCHANGE_GOES_ON:
        if (must_yield) {
            loop_defer_to_next(engine_of(conn)->loop, &conn->task);
        }
        set_timer(conn);
        exchange_tell(exchange);
        return;
    case EXCHANGE_GIVES_BACK:
        upstream_conn_keep(conn, exchange->answer.keep_alive_s);
        exchange_over(exchange);
        return;
    case EXCHANGE_THROWS_AWAY:
        upstream_conn_close(conn, false);
        exchange_over(exchange);
        return;
    case EXCHANGE_PASSES_OVER:
        exchange_pass_over(exchange);
        return;
    case EXCHANGE_FAILS:
        exchange_conn_failed(exchange, error);
        return;
    }
}

static void
on_task(struct loop_task *task)
{
    struct upstream_conn *conn = (struct upstream_conn *)((char *)task -
            offsetof(struct upstream_conn, task));
    if (conn->exchange != NULL && conn->is_connected) {
        take_turn(conn);
    }
}

void
upstream_conn_wake(struct upstream_conn *conn)
{
    struct loop *loop = engine_of(conn)->loop;
    uint64_t turn = loop_turns(loop);
    conn->turn_runs = conn->turn == turn ? conn->turn_runs + 1 : 0;
    conn->turn = turn;
    if (conn->turn_runs < TURN_RUNS_MAX) {
        loop_defer(loop, &conn->task);
    } else {
        loop_defer_to_next(loop, &conn->task);
    }
}

/* Nobody asked: a byte, the end or a failure is the end of a connection that is kept. False
 * when it is closed. */
static bool
check_kept(struct upstream_conn *conn)
{
    char byte;
    if (stream_read(conn->stream, &byte, 1) == -EAGAIN) {
        return true;
    }
    upstream_conn_close(conn, false);
    return false;
}

/* It was taken in this turn, before it was known that the peer says something: whatever that
 * is, it is no answer to what has not left. A bare event may be about what was read before. */
static bool
has_spoken_unasked(struct upstream_conn *conn, unsigned events)
{
    char byte;
    return conn->was_kept && (events & (STREAM_READABLE | STREAM_ENDED | STREAM_BROKEN)) &&
            exchange_has_sent_nothing(conn->exchange) &&
            stream_read(conn->stream, &byte, 1) != -EAGAIN;
}

static enum weir_exchange_error
error_of(int error)
{
    switch (-error) {
    case ETIMEDOUT:
        return WEIR_EXCHANGE_CONNECT_TIMEOUT;
    case ECONNREFUSED:
    case ECONNRESET:
    case ENOENT: /* a Unix socket's path */
    case EACCES:
    case EAGAIN: /* its queue is full */
        return WEIR_EXCHANGE_REFUSED;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case EADDRNOTAVAIL: /* no port is left */
        return WEIR_EXCHANGE_EXHAUSTED;
    default:
        return WEIR_EXCHANGE_UNREACHABLE;
    }
}

static void
on_event(void *owner, unsigned events)
{
    struct upstream_conn *conn = owner;
    if (conn->exchange == NULL) {
        if (events & (STREAM_READABLE | STREAM_ENDED | STREAM_BROKEN)) {
            (void)check_kept(conn);
        }
        return;
    }
    bool was_connected = conn->is_connected;
    if (!was_connected) {
        int error = stream_error(conn->stream);
        if (error < 0) {
            exchange_conn_failed(conn->exchange, error_of(error));
            return;
        }
        conn->is_connected = true;
        conn->sent_ns = conn->received_ns = now_ns(conn);
        exchange_connected(conn->exchange);
    }
    if (has_spoken_unasked(conn, events)) {
        exchange_conn_failed(conn->exchange, WEIR_EXCHANGE_CLOSED);
        return;
    }
    conn->has_ended |= (events & (STREAM_ENDED | STREAM_BROKEN)) != 0;
    if (events & (STREAM_READABLE | STREAM_ENDED | STREAM_BROKEN)) {
        conn->may_read = true; /* what a reset left there, too, and then what it was */
    }
    if (!was_connected || conn->may_read || conn->is_blocked) {
        take_turn(conn);
    }
}

static void
on_timer(struct timer *timer)
{
    struct upstream_conn *conn = (struct upstream_conn *)((char *)timer -
            offsetof(struct upstream_conn, timer));
    uint64_t deadline_ns = deadline_of(conn), now = now_ns(conn);
    if (deadline_ns > now) {
        uint64_t next_ns = clock_add_ns(now, LOOK_NS);
        int r = timer_set(timer, deadline_ns < next_ns ? deadline_ns : next_ns);
        (void)r; /* in its own callback it cannot fail */
    } else if (conn->exchange == NULL) {
        upstream_conn_close(conn, false);
    } else {
        exchange_conn_failed(conn->exchange,
                !conn->is_connected        ? WEIR_EXCHANGE_CONNECT_TIMEOUT
                        : conn->is_blocked ? WEIR_EXCHANGE_SEND_TIMEOUT
                                           : WEIR_EXCHANGE_READ_TIMEOUT);
    }
}

/* ---- the beginning, and being kept ------------------------------------------------------- */

enum weir_exchange_error
upstream_connect(struct upstream_target *target, struct exchange *exchange)
{
    struct upstreams *all = target->group->all;
    struct upstream_conn *conn = malloc(sizeof(*conn));
    if (conn == NULL) {
        return WEIR_EXCHANGE_EXHAUSTED;
    }
    memset(conn, 0, offsetof(struct upstream_conn, stream_memory));
    conn->target = target;
    conn->exchange = exchange;
    conn->task.fn = on_task;
    conn->since_ns = loop_now_ns(all->engine->loop);
    timer_init(&conn->timer, all->engine->loop, on_timer);
    uint64_t until_ns = deadline_of(conn), look_ns = clock_add_ns(conn->since_ns, LOOK_NS);
    int r = timer_set(&conn->timer, until_ns < look_ns ? until_ns : look_ns);
    if (r == 0) {
        r = all->connector->connect(all->connector, all->engine->loop, &target->settings.addr,
                conn->stream_memory, on_event, conn, &conn->stream);
    }
    if (r < 0) {
        timer_cancel(&conn->timer);
        free(conn);
        return error_of(r);
    }
    budget_take(sizeof(*conn));
    upstream_target_ref(target);
    target->open_count++;
    upstream_count_opened(target);
    upstream_show_connections(target);
    exchange->conn = conn;
    return WEIR_EXCHANGE_FINE;
}

bool
upstream_take_kept(struct upstream_target *target, struct exchange *exchange)
{
    struct upstream_conn *conn;
    while ((conn = target->idle) != NULL) {
        if (deadline_of(conn) <= now_ns(conn)) {
            upstream_conn_close(conn, false);
        } else if (exchange->is_idempotent || check_kept(conn)) {
            break; /* what could not be sent again has another look spent on it */
        }
    }
    if (conn == NULL) {
        return false;
    }
    unlink_kept(conn);
    upstream_show_connections(target);
    conn->exchange = exchange;
    conn->sent_ns = conn->received_ns = now_ns(conn);
    exchange->conn = conn;
    return true;
}

void
upstream_conn_keep(struct upstream_conn *conn, uint32_t idle_s)
{
    struct upstream_target *target = conn->target;
    struct upstream_group *group = target->group;
    bool is_wanted = target->idle_count < group->keepalive_max && !target->is_draining &&
            !target->is_down && !engine_of(conn)->is_draining;
    if (conn->has_ended || !is_wanted) {
        upstream_conn_close(conn, false);
        return;
    }
    /* A little less than the peer says, since it counts from when it wrote. */
    uint64_t said_ns = idle_s == 0 ? CLOCK_NEVER
            : idle_s == 1          ? NS_PER_S / 2
                                   : (idle_s - 1) * NS_PER_S;
    conn->idle_ns = said_ns < group->settings->idle_ns ? said_ns : group->settings->idle_ns;
    conn->exchange = NULL;
    conn->was_kept = true;
    conn->may_read = conn->is_blocked = false;
    conn->since_ns = now_ns(conn);
    conn->next = target->idle;
    conn->link = &target->idle;
    if (conn->next != NULL) {
        conn->next->link = &conn->next;
    }
    target->idle = conn;
    target->idle_count++;
    upstream_show_connections(target);
    loop_undefer(engine_of(conn)->loop, &conn->task);
    set_timer(conn);
    upstream_serve_queue(group);
}
