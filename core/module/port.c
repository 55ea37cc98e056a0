/* SPDX-License-Identifier: MIT */
/* A port is a source of its request's answer (struct reply_source) with an inbox that any
 * thread may write to. The first write into an idle port posts its letter; the loop then takes
 * the inbox whole, and what is written meanwhile goes with it or has the next letter.
 *
 *     OPEN --drop(): ended, client gone, answer begun anew, abandoned--> not OPEN, for ever
 *
 * Posting is done under the lock and only while OPEN, and the loop closes the port under the
 * lock: whoever comes later meets a flag and no loop, so threads may outlive both. Three kinds
 * of holder keep a port alive: the module's references, the answer, and a letter under way.
 * Each gives its hold back in let_go(), the only place that frees. */
#include "module/port.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"
#include "event/loop.h"
#include "event/mailbox.h"
#include "http/request.h"
#include "module/course.h"
#include "module/wait.h"
#include "observe/flight.h"

struct weir_port {
    /* Fixed at birth. */
    const struct weir_port_calls *calls; /* the module's: constant */
    void *data;                          /* owned, by way of calls->free() */
    struct mailbox *mailbox;             /* borrowed, while is_open */
    uint32_t flight;                     /* the entry of the hook that opened it */

    pthread_mutex_t lock;       /* guards the following group */
    pthread_cond_t changed;     /* there is credit, or no hope of any */
    uint32_t users;             /* references of the module */
    uint32_t holds;             /* users, the answer, and a letter under way */
    uint32_t waiting;           /* threads in weir_port_wait() */
    bool is_open;               /* the answer takes what is written */
    bool is_ended;              /* weir_port_end() */
    bool is_posted;             /* the letter is under way */
    bool owes_gone, owes_drain; /* the loop is to call these */
    uint64_t unpaid_bytes;      /* in the inbox and in `taken` */
    struct slice_queue inbox;   /* what the loop has not seen */

    /* The loop's. */
    struct letter letter;
    struct reply_source source;
    struct weir_request *request; /* borrowed; NULL: not open any more */
    struct slice_queue taken;     /* out of the inbox, for want of room not in the answer yet */
    struct weir_port *next, **link; /* in course_map.ports */
};

/* ---- holds ------------------------------------------------------------------------------- */

static void
free_port(struct weir_port *port)
{
    WEIR_ASSERT(!port->is_open && !port->is_posted && port->inbox.bytes == 0);
    pthread_cond_destroy(&port->changed);
    pthread_mutex_destroy(&port->lock);
    if (port->calls->free != NULL) {
        port->calls->free(port->data);
    }
    free(port);
}

/* One hold less; the lock is held and is given up. May free. */
static void
let_go(struct weir_port *port)
{
    WEIR_ASSERT(port->holds > 0);
    bool is_last = --port->holds == 0;
    pthread_mutex_unlock(&port->lock);
    if (is_last) {
        free_port(port);
    }
}

/* Wakes the loop once for all that comes until it looks. The lock is held; the port is open, or
 * being closed by the loop itself. */
static void
post(struct weir_port *port)
{
    if (!port->is_posted) {
        port->is_posted = true;
        port->holds++;
        mailbox_post(port->mailbox, &port->letter);
    }
}

/* ---- on the loop ------------------------------------------------------------------------- */

static struct weir_port *
port_of(struct reply_source *source)
{
    return (struct weir_port *)((char *)source - offsetof(struct weir_port, source));
}

static void
tell(struct weir_port *port, void (*call)(struct weir_port *port, void *data))
{
    if (call != NULL) {
        flight_enter(port->flight, port->request);
        call(port, port->data);
        flight_leave();
    }
}

static void
on_letter(struct letter *letter)
{
    struct weir_port *port = (struct weir_port *)((char *)letter -
            offsetof(struct weir_port, letter));
    pthread_mutex_lock(&port->lock);
    port->is_posted = false;
    bool owes_gone = port->owes_gone, owes_drain = port->owes_drain;
    port->owes_gone = port->owes_drain = false;
    pthread_mutex_unlock(&port->lock);
    if (owes_gone) {
        tell(port, port->calls->gone);
    } else if (port->request != NULL) {
        if (owes_drain) {
            tell(port, port->calls->drain);
        }
        request_wake(port->request); /* fill() */
    }
    pthread_mutex_lock(&port->lock);
    let_go(port);
}

/* The answer parts with the port, for whatever reason. */
static void
drop(struct reply_source *source)
{
    struct weir_port *port = port_of(source);
    port->request = NULL;
    *port->link = port->next;
    if (port->next != NULL) {
        port->next->link = port->link;
    }
    slice_queue_fini(&port->taken);
    pthread_mutex_lock(&port->lock);
    struct slice_queue rest = port->inbox;
    slice_queue_init(&port->inbox);
    port->unpaid_bytes = 0;
    port->is_open = false;
    if (!port->is_ended && port->users > 0) {
        port->owes_gone = true; /* later: this may be within a call of the module */
        post(port);
    }
    pthread_cond_broadcast(&port->changed);
    let_go(port);
    slice_queue_fini(&rest);
}

/* The answer cannot go on as it has begun. */
static void
break_off(struct weir_request *request, const char *what)
{
    reply_drop_source(request);
    course_log_request(request, what);
    if (request->reply.head_left) {
        request->reply.is_broken = true;
    } else {
        request->forced_status = 500;
    }
    request_wake(request);
}

/* What has become of those who write. */
enum port_state {
    PORT_WRITTEN, /* they go on */
    PORT_ENDED,
    PORT_ABANDONED, /* there are none any more */
};

/* Takes the inbox whole, once what was taken before is in the answer. */
static enum port_state
take_inbox(struct weir_port *port)
{
    pthread_mutex_lock(&port->lock);
    port->taken = port->inbox;
    slice_queue_init(&port->inbox);
    enum port_state state = port->is_ended ? PORT_ENDED
            : port->users == 0             ? PORT_ABANDONED
                                           : PORT_WRITTEN;
    pthread_mutex_unlock(&port->lock);
    return state;
}

static void
pay(struct weir_port *port, uint64_t bytes)
{
    pthread_mutex_lock(&port->lock);
    port->unpaid_bytes -= bytes;
    if (port->waiting > 0) {
        pthread_cond_broadcast(&port->changed);
    }
    pthread_mutex_unlock(&port->lock);
}

static bool
fill(struct reply_source *source, struct weir_request *request)
{
    struct weir_port *port = port_of(source);
    bool has_moved = false;
    for (;;) {
        if (port->taken.bytes == 0) {
            slice_queue_fini(&port->taken);
            enum port_state state = take_inbox(port);
            if (port->taken.bytes == 0) {
                switch (state) {
                case PORT_WRITTEN:
                    return has_moved;
                case PORT_ENDED:
                    weir_reply_end(request); /* drops the port */
                    return true;
                case PORT_ABANDONED:
                    break_off(request, "its port was given up before its end: cut");
                    return true;
                }
            }
        }
        uint64_t before = port->taken.bytes, room = reply_room(request);
        if (room == 0) {
            return has_moved;
        }
        int r = reply_take(request, &port->taken, before < room ? before : room);
        pay(port, before - port->taken.bytes);
        if (r < 0) {
            break_off(request, "no memory for what its port has: cut");
            return true;
        }
        has_moved = true;
    }
}

void
ports_drain(struct course_map *map)
{
    for (struct weir_port *port = map->ports; port != NULL; port = port->next) {
        pthread_mutex_lock(&port->lock);
        port->owes_drain = true;
        post(port);
        pthread_mutex_unlock(&port->lock);
    }
}

/* ---- what modules call ------------------------------------------------------------------- */

int
weir_port_open(struct weir_request *request, const struct weir_port_calls *calls, void *data,
        struct weir_port **out)
{
    struct reply *reply = &request->reply;
    struct course_map *map = request->engine->handler_context;
    if (calls->bytes < sizeof(*calls) || map->waits == NULL || !course_may_answer(request) ||
            reply->state == REPLY_NONE || reply->ended) {
        return -EINVAL;
    }
    if (reply->source != NULL) {
        return -EBUSY;
    }
    struct weir_port *port = calloc(1, sizeof(*port));
    if (port == NULL) {
        return -ENOMEM;
    }
    port->calls = calls;
    port->data = data;
    port->mailbox = wait_table_mailbox(map->waits);
    port->flight = flight_current();
    pthread_mutex_init(&port->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&port->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    port->users = 1;
    port->holds = 2;
    port->is_open = true;
    slice_queue_init(&port->inbox);
    slice_queue_init(&port->taken);
    port->letter.fn = on_letter;
    port->source = (struct reply_source){ fill, drop };
    port->request = request;
    port->next = map->ports;
    port->link = &map->ports;
    if (port->next != NULL) {
        port->next->link = &port->next;
    }
    map->ports = port;
    reply->source = &port->source;
    if (request->engine->is_draining) {
        pthread_mutex_lock(&port->lock);
        port->owes_drain = true;
        post(port);
        pthread_mutex_unlock(&port->lock);
    }
    *out = port;
    return 0;
}

struct weir_port *
weir_port_ref(struct weir_port *port)
{
    if (port != NULL) {
        pthread_mutex_lock(&port->lock);
        WEIR_ASSERT(port->users > 0 && port->holds < UINT32_MAX - 2);
        port->users++;
        port->holds++;
        pthread_mutex_unlock(&port->lock);
    }
    return port;
}

void
weir_port_unref(struct weir_port *port)
{
    if (port == NULL) {
        return;
    }
    pthread_mutex_lock(&port->lock);
    WEIR_ASSERT(port->users > 0);
    if (--port->users == 0 && port->is_open && !port->is_ended) {
        post(port); /* fill() breaks the answer off */
    }
    let_go(port);
}

/* Whether anything may be written at all. The lock is held. */
static int
check_open(const struct weir_port *port)
{
    if (port->is_ended) {
        return -EINVAL;
    }
    return port->is_open ? 0 : -EPIPE;
}

ssize_t
weir_port_write(struct weir_port *port, struct weir_str bytes)
{
    pthread_mutex_lock(&port->lock);
    uint64_t credit = WEIR_PORT_CREDIT_BYTES - port->unpaid_bytes;
    bytes.len = bytes.len < credit ? bytes.len : (size_t)credit;
    int r = check_open(port);
    if (r == 0 && credit == 0) {
        r = -EAGAIN;
    }
    if (r == 0) {
        r = slice_queue_append(&port->inbox, bytes);
    }
    if (r == 0 && bytes.len > 0) {
        port->unpaid_bytes += bytes.len;
        post(port);
    }
    pthread_mutex_unlock(&port->lock);
    return r < 0 ? r : (ssize_t)bytes.len;
}

static struct timespec
time_of(uint64_t ns)
{
    return (struct timespec){ (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };
}

int
weir_port_wait(struct weir_port *port, uint64_t timeout_ns)
{
    /* The system's clock, whatever the loop's is: a thread sleeps in real time. */
    uint64_t until_ns = clock_add_ns(clock_monotonic_ns(clock_system()), timeout_ns);
    struct timespec until = time_of(until_ns);
    pthread_mutex_lock(&port->lock);
    int r = check_open(port);
    if (r == 0 && loop_is_current(mailbox_loop(port->mailbox))) {
        r = -EDEADLK;
    }
    port->waiting++;
    while (r == 0 && port->unpaid_bytes == WEIR_PORT_CREDIT_BYTES) {
        int error = until_ns == CLOCK_NEVER
                ? pthread_cond_wait(&port->changed, &port->lock)
                : pthread_cond_timedwait(&port->changed, &port->lock, &until);
        r = check_open(port);
        if (r == 0 && error == ETIMEDOUT && port->unpaid_bytes == WEIR_PORT_CREDIT_BYTES) {
            r = -ETIMEDOUT;
        }
    }
    port->waiting--;
    pthread_mutex_unlock(&port->lock);
    return r;
}

void
weir_port_end(struct weir_port *port)
{
    pthread_mutex_lock(&port->lock);
    if (!port->is_ended) {
        port->is_ended = true;
        pthread_cond_broadcast(&port->changed);
        if (port->is_open) {
            post(port);
        }
    }
    pthread_mutex_unlock(&port->lock);
}
