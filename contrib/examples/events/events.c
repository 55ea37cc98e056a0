/* SPDX-License-Identifier: MIT */
/* An example of a thread of its own: a stream of server-sent events that it writes to all who
 * listen (https://html.spec.whatwg.org/multipage/server-sent-events.html).
 *
 *     { "modules": [{ "name": "events", "path": "...",
 *           "options": { "every": "1s", "subscribers": 1000 } }],
 *       "servers": [{ "listen": ":8080", "routes": [{ "match": "/events",
 *           "handle": "events", "timeouts": { "request": false } }] }] }
 *
 * Who owns what: the hub belongs to the worker, from worker_start to worker_stop. A subscriber
 * belongs to its port (`free`), and the hub's list holds a reference to the port; whoever takes
 * the subscriber off the list, under the lock, gives that back. Three may do so: the thread,
 * when the client is too slow, and the port's loop, when the client has gone or the server
 * drains. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <weir/metric.h>
#include <weir/port.h>
#include <weir/reply.h>
#include <weir/request.h>
#include <weir/worker.h>

#define EVENT_BYTES (WEIR_PORT_CREDIT_BYTES / 2)

/* What it counts itself, by place. Of the clients that listen as long as their request lasts,
 * whoever ends it. */
enum {
    STREAMS,
    STREAMS_TOTAL,
};

static const struct weir_own_metric metrics[] = {
    [STREAMS] = { .type = WEIR_METRIC_GAUGE,
            .labels = WEIR_METRIC_BY_ROUTE,
            .name = "weir_events_listening",
            .help = "Clients that listen" },
    [STREAMS_TOTAL] = { .type = WEIR_METRIC_COUNTER,
            .labels = WEIR_METRIC_BY_ROUTE,
            .name = "weir_events_streams_total",
            .help = "Streams that were begun" },
};

/* Of a request, all zero at first. */
struct events_state {
    bool is_listening;
};

struct events_options {
    uint64_t every_ns;
    uint64_t subscribers_max;
    struct weir_str text;
};

struct subscriber {
    struct hub *hub;
    struct weir_port *port;          /* counted while on the list */
    struct subscriber *next, **link; /* in the hub's list; link is NULL when not */
};

struct hub {
    const struct events_options *options;
    pthread_t thread;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct subscriber *first;
    uint64_t count; /* on the list, or about to be */
    bool is_stopping;
};

/* ---- the list: with the lock ------------------------------------------------------------- */

static void
put_on_list(struct hub *hub, struct subscriber *subscriber)
{
    subscriber->next = hub->first;
    subscriber->link = &hub->first;
    if (subscriber->next != NULL) {
        subscriber->next->link = &subscriber->next;
    }
    hub->first = subscriber;
}

/* Returns the reference that the list held, which is now the caller's; NULL when somebody else
 * has taken it off already. */
static struct weir_port *
take_off_list(struct subscriber *subscriber)
{
    if (subscriber->link == NULL) {
        return NULL;
    }
    *subscriber->link = subscriber->next;
    if (subscriber->next != NULL) {
        subscriber->next->link = subscriber->link;
    }
    subscriber->link = NULL;
    subscriber->hub->count--;
    return subscriber->port;
}

static struct weir_port *
leave(struct subscriber *subscriber)
{
    struct hub *hub = subscriber->hub;
    pthread_mutex_lock(&hub->lock);
    struct weir_port *port = take_off_list(subscriber);
    pthread_mutex_unlock(&hub->lock);
    return port;
}

/* ---- the thread -------------------------------------------------------------------------- */

/* To all of them, and never waiting for one: a client that has not made room for the last
 * events is let go. Its stream ends, within an event perhaps, which it then drops as the
 * protocol says, and it comes again. */
static WEIR_ON_THREAD void
write_to_all(struct hub *hub, struct weir_str event)
{
    struct subscriber *next;
    for (struct subscriber *s = hub->first; s != NULL; s = next) {
        next = s->next; /* unref() may free this one */
        if (weir_port_write(s->port, event) != (ssize_t)event.len) {
            struct weir_port *port = take_off_list(s);
            weir_port_end(port);
            weir_port_unref(port);
        }
    }
}

static struct timespec
later(struct timespec time, uint64_t ns)
{
    time.tv_sec += (time_t)(ns / 1000000000u);
    time.tv_nsec += (long)(ns % 1000000000u);
    if (time.tv_nsec >= 1000000000) {
        time.tv_sec++;
        time.tv_nsec -= 1000000000;
    }
    return time;
}

static WEIR_ON_THREAD void *
write_events(void *context)
{
    struct hub *hub = context;
    const struct events_options *options = hub->options;
    char event[EVENT_BYTES];
    uint64_t id = 0;
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    pthread_mutex_lock(&hub->lock);
    while (!hub->is_stopping) {
        at = later(at, options->every_ns);
        while (!hub->is_stopping &&
                pthread_cond_timedwait(&hub->changed, &hub->lock, &at) != ETIMEDOUT) {
        }
        if (!hub->is_stopping) {
            int len = snprintf(event, sizeof(event), "id: %llu\ndata: %.*s\n\n",
                    (unsigned long long)++id, WEIR_STR_ARG(options->text));
            write_to_all(hub, weir_str_make(event, (size_t)len)); /* fits: see check() */
        }
    }
    pthread_mutex_unlock(&hub->lock);
    return NULL;
}

/* ---- subscribers: on the loop of their request ------------------------------------------- */

static void
on_gone(struct weir_port *port, void *data)
{
    (void)port;
    weir_port_unref(leave(data)); /* NULL: nothing */
}

static void
on_drain(struct weir_port *port, void *data)
{
    (void)port;
    struct weir_port *own = leave(data);
    if (own != NULL) {
        /* Whoever has no room for it learns from the end alone. */
        ssize_t n = weir_port_write(own, WEIR_STR("event: bye\ndata: come again\n\n"));
        (void)n;
        weir_port_end(own);
        weir_port_unref(own);
    }
}

static const struct weir_port_calls calls = {
    .bytes = sizeof(calls),
    .gone = on_gone,
    .drain = on_drain,
    .free = free,
};

static bool
reserve(struct hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    bool has_room = hub->count < hub->options->subscribers_max;
    hub->count += has_room;
    pthread_mutex_unlock(&hub->lock);
    return has_room;
}

static void
release(struct hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    hub->count--;
    pthread_mutex_unlock(&hub->lock);
}

/* Begins the stream. Returns 0 or a negative errno, when nothing is left of it. */
static int
subscribe(struct weir_request *request, struct hub *hub)
{
    int r = weir_reply_begin(request, 200);
    r = r < 0
            ? r
            : weir_reply_set(request, WEIR_STR("Content-Type"), WEIR_STR("text/event-stream"));
    r = r < 0 ? r : weir_reply_set(request, WEIR_STR("Cache-Control"), WEIR_STR("no-store"));
    struct subscriber *subscriber = r < 0 ? NULL : calloc(1, sizeof(*subscriber));
    if (subscriber == NULL) {
        return r < 0 ? r : -ENOMEM;
    }
    subscriber->hub = hub;
    r = weir_port_open(request, &calls, subscriber, &subscriber->port);
    if (r < 0) {
        free(subscriber); /* the port's on success alone */
        return r;
    }
    /* The head leaves with the first byte; a line that begins with a colon says nothing. */
    ssize_t n = weir_port_write(subscriber->port, WEIR_STR(": welcome\n\n"));
    (void)n; /* an empty port has room; without memory the next event finds that out */
    pthread_mutex_lock(&hub->lock);
    put_on_list(hub, subscriber);
    pthread_mutex_unlock(&hub->lock);
    return 0;
}

/* The hook. */
static enum weir_verdict
stream(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct hub *hub = weir_worker_state(weir_request_worker(request));
    if (!weir_str_eq(weir_request_method(request), WEIR_STR("GET"))) {
        enum weir_verdict verdict = weir_reply_error(request, 405);
        return weir_reply_set(request, WEIR_STR("Allow"), WEIR_STR("GET")) < 0 ? WEIR_FAILED
                                                                               : verdict;
    }
    if (!reserve(hub)) {
        enum weir_verdict verdict = weir_reply_error(request, 503);
        return weir_reply_set(request, WEIR_STR("Retry-After"), WEIR_STR("5")) < 0 ? WEIR_FAILED
                                                                                   : verdict;
    }
    if (subscribe(request, hub) < 0) {
        release(hub);
        return WEIR_FAILED;
    }
    struct events_state *state = weir_request_state(request);
    state->is_listening = true;
    weir_metric_add(request, STREAMS, 1);
    weir_metric_add(request, STREAMS_TOTAL, 1);
    return WEIR_DONE; /* the answer goes on until its port ends */
}

/* The request has ended, however it did. */
static enum weir_verdict
count_end(struct weir_request *request, const void *conf)
{
    (void)conf;
    const struct events_state *state = weir_request_state(request);
    if (state->is_listening) {
        weir_metric_add(request, STREAMS, -1);
    }
    return WEIR_NEXT;
}

/* ---- life -------------------------------------------------------------------------------- */

/* On the main thread, before any loop turns; the thread inherits that signals are blocked. */
static int
worker_start(struct weir_worker *worker, struct weir_conf_report *report)
{
    struct hub *hub = calloc(1, sizeof(*hub));
    if (hub == NULL) {
        return -ENOMEM;
    }
    hub->options = weir_worker_options(worker);
    pthread_mutex_init(&hub->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&hub->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int error = pthread_create(&hub->thread, NULL, write_events, hub);
    if (error != 0) {
        weir_conf_error(report, NULL, "its thread cannot be made: %s", strerrordesc_np(error));
        pthread_cond_destroy(&hub->changed);
        pthread_mutex_destroy(&hub->lock);
        free(hub);
        return -error;
    }
    weir_worker_set_state(worker, hub);
    return 0;
}

/* All loops have ended, and with them every port: the list is empty. */
static void
worker_stop(struct weir_worker *worker)
{
    struct hub *hub = weir_worker_state(worker);
    pthread_mutex_lock(&hub->lock);
    hub->is_stopping = true;
    pthread_cond_signal(&hub->changed);
    pthread_mutex_unlock(&hub->lock);
    pthread_join(hub->thread, NULL);
    pthread_cond_destroy(&hub->changed);
    pthread_mutex_destroy(&hub->lock);
    free(hub);
}

/* Once a process, the checker's too: looks at the options, and starts nothing. */
static int
check(const void *options_, struct weir_conf_report *report)
{
    const struct events_options *options = options_;
    if (options->text.len > EVENT_BYTES - 100) {
        weir_conf_error(report, "text", "an event has at most %u bytes", EVENT_BYTES - 100);
        return -EINVAL;
    }
    for (size_t i = 0; i < options->text.len; i++) {
        if (options->text.ptr[i] == '\n' || options->text.ptr[i] == '\r') {
            weir_conf_error(report, "text", "this example writes one line for each event");
            return -EINVAL;
        }
    }
    return 0;
}

static const struct weir_option options[] = {
    WEIR_DURATION(struct events_options, every_ns, .key = "every", .preset = "1s",
            .help = "Time between events", .min = 1000000, .max = INT64_MAX),
    WEIR_COUNT(struct events_options, subscribers_max, .key = "subscribers", .preset = "1000",
            .help = "Clients of a worker that may listen at the same time"),
    WEIR_STRING(struct events_options, text, .preset = "tick", .help = "What an event says"),
};

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_CONTENT, .request = stream },
    { .on = WEIR_ON_LOG, .request = count_end },
};

WEIR_EXPORT const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("events", "1.0.0", "Streams events from a thread of its own"),
    .flags = WEIR_MODULE_MANY_LOOPS, /* what they share has a lock, which nobody holds for long
                                      */
    WEIR_HANDLERS({ .name = "events",
            .hooks = WEIR_HOOKS(hooks),
            .help = "A stream of server-sent events",
            .state_bytes = sizeof(struct events_state) }),
    .options = WEIR_OPTIONS(struct events_options, options),
    .init = check,
    .worker_start = worker_start,
    .worker_stop = worker_stop,
    .metrics = WEIR_METRICS(metrics),
};
