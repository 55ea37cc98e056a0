/* SPDX-License-Identifier: MIT */
#include "server/worker_hearing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "event/loop.h"
#include "observe/flight.h"
#include "observe/log.h"
#include "observe/log_file.h"
#include "observe/metric.h"
#include "observe/zone.h"
#include "server/exit.h"
#include "server/hint.h"

static void
take_hello(struct worker *worker, const struct channel_message *message)
{
    if (message->bytes != sizeof(worker->hello)) {
        worker->exit_code = EXIT_RUNTIME;
        loop_stop(worker->loop);
        return;
    }
    memcpy(&worker->hello, message->body, sizeof(worker->hello));
    if (worker->hello.version != CHANNEL_VERSION ||
            strncmp(worker->hello.build, PACKAGE_VERSION, sizeof(worker->hello.build)) != 0) {
        log_error("this program is weir " PACKAGE_VERSION ", the server that started it is "
                  "another (%.*s): restart the server",
                (int)sizeof(worker->hello.build), worker->hello.build);
        worker->exit_code = EXIT_RUNTIME;
        loop_stop(worker->loop);
    }
}

/* A log file of the modules', opened with the master's rights; again when it was reopened. */
static void
take_file(const struct channel_message *message)
{
    struct weir_str path = weir_str_make(message->body, message->bytes);
    if ((message->descriptor_count != 1 && !message->is_cut) || message->bytes == 0) {
        return;
    }
    int r = -EMFILE;
    if (!message->is_cut) {
        r = log_file_offer(path, message->descriptors[0]);
        message->descriptors[0] = -1;
    }
    if (r < 0) {
        log_error("log file %.*s cannot be taken over: %s", WEIR_STR_ARG(path), strerror(-r));
    }
}

/* The error log; again when it was reopened, over the old descriptor, so that no line is lost.
 */
static void
take_log(struct worker *worker, const struct channel_message *message)
{
    struct channel_log log;
    if (message->is_cut) {
        log_error("the error log cannot be taken over, for too many files are open: this "
                  "worker goes on with the old one");
    }
    if (message->bytes != sizeof(log) || message->descriptor_count != 1) {
        return;
    }
    memcpy(&log, message->body, sizeof(log));
    int fd = message->descriptors[0];
    if (worker->log_fd >= 0) {
        dup3(fd, worker->log_fd, O_CLOEXEC);
    } else {
        worker->log_fd = fd;
        message->descriptors[0] = -1;
    }
    log_init(worker->log_fd, (enum log_level)log.level);
    flight_set_log(worker->log_fd);
    log_set_form(log.format == SITE_LOG_JSON ? LOG_JSON : LOG_TEXT);
}

static void
take_flight(const struct channel_message *message)
{
    int r = message->descriptor_count == 1 ? flight_attach(message->descriptors[0]) : -EPROTO;
    if (r < 0) {
        log_warn("what this worker does is not recorded: %s", strerror(-r));
    }
    flight_begin_thread(FLIGHT_LOOP);
}

static int
attach_metrics(struct worker *worker, const struct channel_metrics *body, const int *fds,
        size_t count)
{
    int r = 0;
    if (body->kind == CHANNEL_METRICS_TOTALS) {
        r = count != 1 || worker->metrics != NULL ? -EPROTO
                                                  : metric_attach(fds[0], &worker->metrics);
        metric_publish(worker->metrics);
        return r;
    }
    if (worker->metrics == NULL) {
        return -EPROTO;
    }
    for (size_t i = 0; r == 0 && i < count; i++) {
        r = body->kind == CHANNEL_METRICS_LENT
                ? metric_attach_lent(worker->metrics, fds[i])
                : metric_attach_shard(worker->metrics, body->first + (unsigned)i, fds[i]);
    }
    return r;
}

static void
take_metrics(struct worker *worker, const struct channel_message *message)
{
    struct channel_metrics body;
    int r = -EPROTO;
    if (message->bytes == sizeof(body)) {
        memcpy(&body, message->body, sizeof(body));
        r = attach_metrics(worker, &body, message->descriptors, message->descriptor_count);
    }
    if (r < 0) {
        log_warn("not all figures of the server can be told here: %s", strerror(-r));
    }
}

/* A zone that does not come is missed by the module that opens it, which says so. */
static void
take_zone(const struct channel_message *message)
{
    struct channel_zone head;
    if (message->bytes < sizeof(head)) {
        return;
    }
    memcpy(&head, message->body, sizeof(head));
    const char *names = (const char *)message->body + sizeof(head);
    if ((uint64_t)head.module_bytes + head.name_bytes != message->bytes - sizeof(head)) {
        return;
    }
    const struct zone_spec spec = { weir_str_make(names, head.module_bytes),
        weir_str_make(names + head.module_bytes, head.name_bytes), head.bytes, head.layout };
    int r = message->descriptor_count == 1 ? zone_offer(&spec, message->descriptors[0])
            : message->is_cut              ? -EMFILE
                                           : -EPROTO;
    if (r < 0) {
        log_error(
                "module %.*s: the memory \"%.*s\" that workers share cannot be taken over: %s%s",
                WEIR_STR_ARG(spec.module), WEIR_STR_ARG(spec.name), strerror(-r), hint_of(-r));
    }
}

static void
take_sources(struct worker *worker, const struct channel_message *message)
{
    free(worker->file);
    worker->file = strndup(message->body, message->bytes);
    if (message->descriptor_count == 1) {
        worker->sources_fd = message->descriptors[0];
        message->descriptors[0] = -1;
    }
}

static void
take_listeners(struct worker *worker, const struct channel_message *message)
{
    struct channel_listeners listeners;
    if (message->bytes != sizeof(listeners)) {
        return;
    }
    memcpy(&listeners, message->body, sizeof(listeners));
    if (listeners.address >= worker->inherited_count) {
        size_t count = (size_t)listeners.address + 1;
        struct inherited *grown = realloc(worker->inherited, count * sizeof(*grown));
        if (grown == NULL) {
            _exit(EXIT_SYSTEM);
        }
        memset(grown + worker->inherited_count, 0,
                (count - worker->inherited_count) * sizeof(*grown));
        worker->inherited = grown;
        worker->inherited_count = count;
    }
    struct inherited *inherited = &worker->inherited[listeners.address];
    if (listeners.first != inherited->count) {
        return; /* what a replacement was given already */
    }
    size_t count = inherited->count + message->descriptor_count;
    int *fds = realloc(inherited->fds, (count == 0 ? 1 : count) * sizeof(*fds));
    if (fds == NULL) {
        _exit(EXIT_SYSTEM);
    }
    inherited->fds = fds;
    inherited->is_shared = listeners.is_shared != 0;
    inherited->is_cut |= message->is_cut;
    for (size_t i = 0; i < message->descriptor_count; i++) {
        fds[inherited->count++] = message->descriptors[i];
        message->descriptors[i] = -1;
    }
}

/* The master may have somebody else for this slot, and it knows what to do with us when it is
 * our own: no connection that we have is to suffer. */
static void
decline_slot(struct worker *worker, uint32_t slot, const struct site_listener *listener,
        int error)
{
    log_warn("listener %.*s: no further socket can be accepted from: %s%s",
            WEIR_STR_ARG(listener->address), strerror(error), hint_of(error));
    const struct worker_order order = { .kind = WORKER_ORDER_CLOSE, .slot = slot, .fd = -1 };
    if (worker_loop_order(&worker->loops[slot % worker->loop_count], &order) < 0) {
        _exit(EXIT_SYSTEM);
    }
    const struct channel_slot body = { .slot = slot };
    worker_say(worker, CHANNEL_DECLINED, &body, sizeof(body));
}

/* Opens the doors of one slot on its loop: its own socket of each address, and those that all
 * share. */
static void
accept_slot(struct worker *worker, uint32_t slot)
{
    struct worker_loop *loop = &worker->loops[slot % worker->loop_count];
    for (size_t i = 0; i < worker->inherited_count; i++) {
        const struct inherited *inherited = &worker->inherited[i];
        unsigned at = inherited->is_shared ? 0 : slot;
        if (at >= inherited->count && inherited->is_cut) {
            decline_slot(worker, slot, worker->site->listeners[i], EMFILE);
            return;
        }
        if (at >= inherited->count) {
            continue;
        }
        /* A listener owns its descriptor; ours stays for another time. */
        const struct worker_order order = {
            .kind = WORKER_ORDER_OPEN,
            .address = (uint32_t)i,
            .slot = slot,
            .fd = fcntl(inherited->fds[at], F_DUPFD_CLOEXEC, 0),
        };
        int error = order.fd == -1 ? errno : 0;
        error = error == 0 && worker_loop_order(loop, &order) < 0 ? ENOMEM : error;
        if (error != 0) {
            decline_slot(worker, slot, worker->site->listeners[i], error);
            return;
        }
    }
    const struct worker_order opened = { .kind = WORKER_ORDER_OPENED, .slot = slot, .fd = -1 };
    if (worker_loop_order(loop, &opened) < 0) {
        _exit(EXIT_SYSTEM);
    }
}

static void
take_slot(struct worker *worker, const struct channel_message *message)
{
    struct channel_slot slot;
    if (message->bytes != sizeof(slot) || !worker->has_started) {
        return;
    }
    memcpy(&slot, message->body, sizeof(slot));
    if (message->type == CHANNEL_ACCEPT) {
        life_live(worker->life);
        accept_slot(worker, slot.slot);
        return;
    }
    const struct worker_order order = { .kind = WORKER_ORDER_CLOSE,
        .slot = slot.slot,
        .fd = -1 };
    if (worker_loop_order(&worker->loops[slot.slot % worker->loop_count], &order) < 0) {
        _exit(EXIT_SYSTEM);
    }
}

/* The master's copies are closed by now, or belong to others: ours go too, or clients would
 * wait in queues that nobody looks at. What accepts has descriptors of its own. */
void
worker_close_inherited(struct worker *worker)
{
    for (size_t i = 0; i < worker->inherited_count; i++) {
        for (unsigned j = 0; j < worker->inherited[i].count; j++) {
            close(worker->inherited[i].fds[j]);
        }
        worker->inherited[i].count = 0;
    }
}

static void
take_drain(struct worker *worker, const struct channel_message *message)
{
    struct channel_drain drain;
    if (message->bytes != sizeof(drain)) {
        return;
    }
    memcpy(&drain, message->body, sizeof(drain));
    worker_end(worker, WORKER_ORDER_DRAIN, drain.timeout_ns, drain.is_stop != 0);
    worker_close_inherited(worker);
}

void
worker_on_message(void *context, const struct channel_message *message)
{
    struct worker *worker = context;
    switch (message->type) {
    case CHANNEL_HELLO:
        take_hello(worker, message);
        return;
    case CHANNEL_LOG:
        take_log(worker, message);
        return;
    case CHANNEL_SOURCES:
        take_sources(worker, message);
        return;
    case CHANNEL_FLIGHT:
        take_flight(message);
        return;
    case CHANNEL_METRICS:
        take_metrics(worker, message);
        return;
    case CHANNEL_LISTENERS:
        take_listeners(worker, message);
        return;
    case CHANNEL_START:
        if (!worker->has_started && !worker->is_ending) {
            worker_start(worker);
        }
        return;
    case CHANNEL_ACCEPT:
    case CHANNEL_RELEASE:
        take_slot(worker, message);
        return;
    case CHANNEL_NOTICE:
        if (worker->has_started) {
            life_end(worker->life, WEIR_ENDS_WITH_SERVER);
        }
        return;
    case CHANNEL_DRAIN:
        take_drain(worker, message);
        return;
    case CHANNEL_STOP:
        worker_end(worker, WORKER_ORDER_STOP, 0, true);
        return;
    case CHANNEL_FILE:
        take_file(message);
        return;
    case CHANNEL_ZONE:
        take_zone(message);
        return;
    case CHANNEL_NONE:
    case CHANNEL_REPORT:
    case CHANNEL_READY:
    case CHANNEL_ACCEPTING:
    case CHANNEL_DECLINED:
    case CHANNEL_FIGURES:
    case CHANNEL_RECYCLE:
    case CHANNEL_TYPE_COUNT:
        return;
    }
}

/* Nobody is left who could tell us anything, or would start another. */
void
worker_on_channel_closed(void *context, int error)
{
    struct worker *worker = context;
    log_warn("%s: worker %u ends",
            error == -EPIPE ? "the master is gone" : "the channel to the master is broken",
            worker->hello.index);
    _exit(EXIT_RUNTIME);
}
