/* SPDX-License-Identifier: MIT */
#include "server/master_control.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "observe/log.h"
#include "server/generations.h"
#include "server/master_figures.h"

/* ---- what runs --------------------------------------------------------------------------- */

static const char *
worker_state(const struct crew_worker *worker)
{
    switch (worker->state) {
    case CREW_WORKER_STARTING:
        return "starting";
    case CREW_WORKER_READY:
        return "ready";
    case CREW_WORKER_SERVING:
        return "serving";
    case CREW_WORKER_DRAINING:
        return "draining";
    }
    return "";
}

static const char *
crew_state_name(const struct crew *crew)
{
    switch (crew->state) {
    case CREW_STARTING:
        return "starting";
    case CREW_READY:
        return "ready";
    case CREW_OPENING:
        return "opening";
    case CREW_SERVING:
        return "serving";
    case CREW_FAILED:
        return "failed";
    case CREW_DRAINING:
        return "draining";
    }
    return "";
}

static int
put_worker(const struct crew_worker *worker, struct buf *json)
{
    const struct channel_figures *figures = &worker->figures;
    uint64_t active = figures->connections_active < figures->connections_open
            ? figures->connections_active
            : figures->connections_open;
    return buf_printf(json,
            "{\"index\": %u, \"process\": %d, \"state\": \"%s\", \"requests\": %llu, "
            "\"connections_open\": %llu, \"connections_active\": %llu, \"connections_idle\": %llu, "
            "\"connections_accepted\": %llu, \"connections_closed\": %llu, \"tunnels\": %llu, "
            "\"bytes_in\": %llu, "
            "\"bytes_out\": %llu}",
            worker->index, (int)worker->pid, worker_state(worker),
            (unsigned long long)figures->requests,
            (unsigned long long)figures->connections_open, (unsigned long long)active,
            (unsigned long long)(figures->connections_open - active),
            (unsigned long long)figures->connections_accepted,
            (unsigned long long)(figures->connections_accepted - figures->connections_open),
            (unsigned long long)figures->tunnels, (unsigned long long)figures->bytes_in,
            (unsigned long long)figures->bytes_out);
}

static int
put_crew(const struct crew *crew, struct buf *json)
{
    int r = buf_printf(json,
            "{\"number\": %u, \"state\": \"%s\", \"processes\": %u, \"loops\": %u, "
            "\"restarts\": %llu, \"workers\": [",
            crew->number, crew_state_name(crew), crew->processes, crew->loops,
            (unsigned long long)crew->restarts);
    for (const struct crew_worker *worker = crew->workers; r == 0 && worker != NULL;
            worker = worker->next) {
        r = worker == crew->workers ? 0 : buf_append(json, WEIR_STR(", "));
        r = r < 0 ? r : put_worker(worker, json);
    }
    return r < 0 ? r : buf_append(json, WEIR_STR("]}"));
}

static int
put_listeners(const struct crew *crew, struct buf *json)
{
    int r = 0;
    for (size_t i = 0; r == 0 && crew != NULL && i < crew->plan->listeners_count; i++) {
        char text[ADDR_TEXT_BYTES];
        size_t len = addr_format(&crew->listening[i]->bound, text);
        r = buf_append(json,
                i == 0 ? WEIR_STR("{\"address\": ") : WEIR_STR(", {\"address\": "));
        r = r < 0 ? r : control_json_string(json, weir_str_make(text, len));
        r = r < 0 ? r : buf_printf(json, ", \"sockets\": %u", crew->listening[i]->count);
        uint64_t waiting, room;
        if (r == 0 && master_figures_queue(crew->listening[i], &waiting, &room)) {
            r = buf_printf(json, ", \"queue\": %llu, \"queue_limit\": %llu",
                    (unsigned long long)waiting, (unsigned long long)room);
        }
        r = r < 0 ? r : buf_append(json, WEIR_STR("}"));
    }
    return r;
}

static int
on_status(void *context, struct buf *json)
{
    const struct master *master = context;
    static const char *const states[] = { "starting", "serving", "stopping",
        "stopping" }; /* by enum master_state */
    uint64_t up_ns = loop_now_ns(master->loop) - master->started_ns;
    int r = buf_printf(json,
            "{\"version\": \"" PACKAGE_VERSION "\", \"process\": %d, \"state\": \"%s\", "
            "\"uptime_seconds\": %llu, \"generations\": [",
            (int)getpid(), states[master->state], (unsigned long long)(up_ns / NS_PER_S));
    for (const struct crew *crew = master->crews; r == 0 && crew != NULL; crew = crew->next) {
        r = crew == master->crews ? 0 : buf_append(json, WEIR_STR(", "));
        r = r < 0 ? r : put_crew(crew, json);
    }
    r = r < 0 ? r : buf_append(json, WEIR_STR("], \"listeners\": ["));
    r = r < 0 ? r : put_listeners(master_find_crew(master, CREW_SERVING), json);
    r = r < 0 ? r : buf_append(json, WEIR_STR("], \"deaths\": {"));
    r = r < 0 ? r : master_figures_put_deaths(master->figures, json);
    return r < 0 ? r : buf_append(json, WEIR_STR("}}\n"));
}

/* ---- what is asked ----------------------------------------------------------------------- */

static void
on_reload(void *context)
{
    generations_reload(context);
}

static void
on_reopen(void *context)
{
    master_reopen(context);
}

static void
on_stop(void *context)
{
    master_stop(context);
}

static const struct control_owner control_owner = {
    .status = on_status,
    .reload = on_reload,
    .reopen = on_reopen,
    .stop = on_stop,
};

/* Where the plan says. A socket that cannot be had is no reason not to serve. */
void
master_open_control(struct master *master, const struct plan *plan)
{
    struct addr addr;
    char text[ADDR_TEXT_BYTES] = "control socket";
    int r = control_address(&plan->control, &addr);
    if (r == 0) {
        addr_format(&addr, text);
    }
    if (r == -ENOENT) {
        return; /* no directory for it, and none was asked for */
    }
    if (r == 0 && master->control != NULL && addr_eq(&addr, control_addr(master->control))) {
        return;
    }
    struct control_owner owner = control_owner;
    owner.context = master;
    owner.file = master->file;
    struct control *control = NULL;
    if (r == 0) {
        r = control_open(master->loop, &addr, &owner, &control);
    }
    if (r < 0) {
        log_warn("%s: %s: weir status and weir reload do not reach this server; \"control\": "
                 "{ \"listen\": \"unix:PATH\" } gives it another socket",
                text, r == -EADDRINUSE ? "another server answers there" : strerror(-r));
        return;
    }
    /* Whoever asked there for the reload that moves it reads the answer there. */
    control_leave(master->control);
    control_close(master->left);
    master->left = master->control;
    master->control = control;
}
