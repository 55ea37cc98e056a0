/* SPDX-License-Identifier: MIT */
/* Requests that wait for a reload stand in a list; what is asked of the owner is asked at the
 * end of the turn, never from within a connection's own. */
#include "server/control.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "event/loop.h"
#include "http/h1.h"
#include "http/query.h"
#include "http/request.h"
#include "net/listener.h"
#include "observe/log.h"

#define BODY_MAX_BYTES   4096u
#define CONNECTIONS_MAX  64u
#define ANSWER_MAX_BYTES (8u << 20)
#define BACKLOG          64

#define DIRECTORY_NAME "weir"
#define FILE_NAME      "control.sock"

/* Of a request, in its slab. */
struct asking {
    struct weir_request *request;
    bool is_waiting; /* in the list, for a reload */
    bool is_covered; /* by the reload that is under way, which began after it was asked for */
    bool is_answered;
    struct asking *next;
};

struct control {
    struct loop *loop; /* borrowed */
    struct control_owner owner;
    struct addr addr;
    struct listener *listener; /* owned */
    struct engine engine;
    struct h1_settings allowed, denied;
    uint64_t connections;
    struct asking *waiting; /* borrowed: in the slabs of their requests */
    struct loop_task task;
    bool must_reload, must_stop, must_reopen;
    bool has_left; /* its address may be another's by now */
};

static struct control *
control_of(const struct weir_request *request)
{
    return request->engine->handler_context;
}

/* ---- JSON -------------------------------------------------------------------------------- */

int
control_json_string(struct buf *json, struct weir_str text)
{
    int r = buf_append(json, WEIR_STR("\""));
    for (size_t i = 0; r == 0 && i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '"' || c == '\\') {
            r = buf_printf(json, "\\%c", c);
        } else if (c < 0x20 || c == 0x7f) {
            r = buf_printf(json, "\\u%04x", c);
        } else {
            r = buf_append(json, weir_str_make(text.ptr + i, 1));
        }
    }
    return r < 0 ? r : buf_append(json, WEIR_STR("\""));
}

/* ---- answering --------------------------------------------------------------------------- */

static bool
is_status_path(const struct weir_request *request)
{
    return weir_str_eq(request->target.path, WEIR_STR("/status"));
}

static void
answer(struct weir_request *request, unsigned status, struct weir_str json)
{
    struct asking *asking = request->slab;
    asking->is_answered = true;
    if (weir_reply_text(request, status, WEIR_STR("application/json"), json) != WEIR_DONE) {
        (void)!weir_reply_error(request, 503);
    }
    /* RFC 9110 section 15.5.6. */
    if (status == 405 &&
            weir_reply_set(request, WEIR_STR("Allow"),
                    is_status_path(request) ? WEIR_STR("GET") : WEIR_STR("POST")) < 0) {
        (void)!weir_reply_error(request, 503);
    }
    reply_commit(request);
}

static void
answer_message(struct weir_request *request, unsigned status, const char *message)
{
    struct buf json;
    buf_init(&json, ANSWER_MAX_BYTES);
    int r = buf_append(&json, WEIR_STR("{\"message\": "));
    r = r < 0 ? r : control_json_string(&json, weir_str_from(message));
    r = r < 0 ? r : buf_append(&json, WEIR_STR("}\n"));
    answer(request, r < 0 ? 503 : status, buf_str(&json));
    buf_fini(&json);
}

static void
on_task(struct loop_task *task)
{
    struct control *control = (struct control *)((char *)task - offsetof(struct control, task));
    if (control->must_reopen) {
        control->must_reopen = false;
        control->owner.reopen(control->owner.context);
    }
    if (control->must_reload) {
        control->must_reload = false;
        control->owner.reload(control->owner.context);
    }
    if (control->must_stop) {
        control->must_stop = false;
        control->owner.stop(control->owner.context);
    }
}

static void
answer_status(struct weir_request *request)
{
    struct control *control = control_of(request);
    struct buf json;
    buf_init(&json, ANSWER_MAX_BYTES);
    if (control->owner.status(control->owner.context, &json) < 0) {
        answer_message(request, 503, "out of memory");
    } else {
        answer(request, 200, buf_str(&json));
    }
    buf_fini(&json);
}

static void
take_reload(struct weir_request *request)
{
    struct control *control = control_of(request);
    struct asking *asking = request->slab;
    control->must_reload = true;
    loop_defer(control->loop, &control->task);
    struct weir_str wait;
    if (query_find(request->target.query, WEIR_STR("wait"), &wait) &&
            weir_str_eq(wait, WEIR_STR("false"))) {
        answer_message(request, 202, "reloading");
        return;
    }
    asking->is_waiting = true;
    asking->next = control->waiting;
    control->waiting = asking;
}

/* Two servers may share a preset address, and the first has it. Who names a configuration means
 * the server of that one, and no other is to be stopped in its place. */
static bool
is_meant(const struct weir_request *request)
{
    const char *own = control_of(request)->owner.file;
    struct weir_str asked = weir_request_field(request, WEIR_STR(CONTROL_FILE_FIELD));
    char path[PATH_MAX];
    if (asked.ptr == NULL || own == NULL) {
        return true;
    }
    struct stat a, b;
    if (weir_str_to_path(asked, path, sizeof(path)) < 0 || stat(path, &a) < 0 ||
            stat(own, &b) < 0) {
        return weir_str_eq(asked, weir_str_from(own));
    }
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static void
answer_not_meant(struct weir_request *request)
{
    char message[PATH_MAX + 100];
    snprintf(message, sizeof(message), "this is another server, process %d, which runs %s",
            (int)getpid(), control_of(request)->owner.file);
    answer_message(request, 421, message);
}

/* One command a line: method, path, what it does. */
static void
serve(struct weir_request *request)
{
    struct control *control = control_of(request);
    struct weir_str path = request->target.path;
    bool is_get = request->head.method == METHOD_GET;
    bool is_post = request->head.method == METHOD_POST;
    bool is_status = is_status_path(request);
    bool is_reload = weir_str_eq(path, WEIR_STR("/reload"));
    bool is_reopen = weir_str_eq(path, WEIR_STR("/reopen"));
    bool is_stop = weir_str_eq(path, WEIR_STR("/stop"));
    if (!is_status && !is_reload && !is_reopen && !is_stop) {
        answer_message(request, 404,
                "there are GET /status, POST /reload, POST /reopen and POST /stop");
    } else if (is_status ? !is_get : !is_post) {
        answer_message(request, 405, is_status ? "GET, please" : "POST, please");
    } else if (is_status) {
        answer_status(request);
    } else if (is_reload) {
        take_reload(request);
    } else {
        control->must_reopen |= is_reopen;
        control->must_stop |= is_stop;
        loop_defer(control->loop, &control->task);
        answer_message(request, 202, is_stop ? "stopping" : "opening log files anew");
    }
}

static void
on_run(struct weir_request *request)
{
    struct control *control = control_of(request);
    struct asking *asking = request->slab;
    if (asking->is_answered || asking->is_waiting) {
        return;
    }
    asking->request = request;
    if (request->refusal != HEAD_ACCEPTED) {
        answer_message(request, head_refusal_status(request->refusal), "not a request");
    } else if (request->origin == &control->denied) {
        answer_message(request, 403,
                "only root and the account that the server runs as may ask");
    } else if (!is_meant(request)) {
        answer_not_meant(request);
    } else {
        serve(request);
    }
}

static void
on_end(struct weir_request *request)
{
    struct control *control = control_of(request);
    struct asking *asking = request->slab;
    struct asking **link = &control->waiting;
    while (asking->is_waiting && *link != asking) {
        link = &(*link)->next;
    }
    if (asking->is_waiting) {
        *link = asking->next;
    }
    request_free(request);
}

void
control_reload_begins(struct control *control)
{
    struct asking *asking = control == NULL ? NULL : control->waiting;
    for (; asking != NULL; asking = asking->next) {
        asking->is_covered = true;
    }
}

void
control_reloaded(struct control *control, unsigned status, struct weir_str message,
        struct weir_str report)
{
    if (control == NULL || control->waiting == NULL) {
        return;
    }
    struct buf json;
    buf_init(&json, ANSWER_MAX_BYTES);
    int r = buf_append(&json, WEIR_STR("{\"message\": "));
    r = r < 0 ? r : control_json_string(&json, message);
    r = r < 0 ? r : buf_append(&json, WEIR_STR(", \"report\": "));
    r = r < 0 ? r : control_json_string(&json, report);
    r = r < 0 ? r : buf_append(&json, WEIR_STR("}\n"));
    struct asking **link = &control->waiting;
    while (*link != NULL) {
        struct asking *asking = *link;
        if (!asking->is_covered) {
            link = &asking->next;
            continue;
        }
        *link = asking->next;
        asking->is_waiting = false;
        if (r < 0) {
            answer_message(asking->request, 503, "out of memory");
        } else {
            answer(asking->request, status, buf_str(&json));
        }
        request_wake(asking->request);
    }
    buf_fini(&json);
}

static const struct request_handler handler = {
    .slab_bytes = sizeof(struct asking),
    .run = on_run,
    .end = on_end,
};

/* ---- connections ------------------------------------------------------------------------- */

static void
on_closed(void *context, const struct addr_ip *peer, enum h1_close reason)
{
    (void)peer;
    (void)reason;
    struct control *control = context;
    control->connections--;
}

static bool
is_allowed(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
            (peer.uid == 0 || peer.uid == geteuid());
}

static void
on_accept(void *owner, int fd, const struct addr *peer)
{
    struct control *control = owner;
    if (control->connections >= CONNECTIONS_MAX) {
        close(fd);
        log_warn("control socket: %u connections are open, one more is turned away",
                CONNECTIONS_MAX);
        return;
    }
    control->connections++;
    const struct h1_settings *settings = is_allowed(fd) ? &control->allowed : &control->denied;
    if (h1_serve_fd(&control->engine, settings, fd, peer) < 0) {
        control->connections--;
    }
}

/* ---- life -------------------------------------------------------------------------------- */

static int
join(struct addr *out, const char *directory, const char *below)
{
    char path[sizeof(out->un.sun_path)];
    int len = snprintf(path, sizeof(path), "%s%s/" FILE_NAME, directory, below);
    if (len < 0 || (size_t)len >= sizeof(path)) {
        return -ENAMETOOLONG;
    }
    *out = (struct addr){ .len = sizeof(out->un) };
    out->un.sun_family = AF_UNIX;
    memcpy(out->un.sun_path, path, (size_t)len + 1);
    return 0;
}

int
control_address(const struct site_control *settings, struct addr *out)
{
    if (settings->addr.len > 0) {
        *out = settings->addr;
        return 0;
    }
    const char *runtime = getenv("RUNTIME_DIRECTORY"), *user = getenv("XDG_RUNTIME_DIR");
    if (runtime != NULL && runtime[0] == '/') {
        return join(out, runtime, "");
    }
    if (geteuid() == 0) {
        return join(out, "/run/", DIRECTORY_NAME);
    }
    return user != NULL && user[0] == '/' ? join(out, user, "/" DIRECTORY_NAME) : -ENOENT;
}

/* The directory of the preset address, where it is missing. */
static void
make_directory(const struct addr *addr)
{
    char path[sizeof(addr->un.sun_path)];
    memcpy(path, addr->un.sun_path, sizeof(path));
    char *slash = strrchr(path, '/');
    if (slash != NULL && slash != path) {
        *slash = '\0';
        mkdir(path, 0755); /* what is wrong with it, bind() says */
    }
}

int
control_open(struct loop *loop, const struct addr *addr, const struct control_owner *owner,
        struct control **out)
{
    struct control *control = calloc(1, sizeof(*control));
    if (control == NULL) {
        return -ENOMEM;
    }
    control->loop = loop;
    control->owner = *owner;
    control->addr = *addr;
    control->task.fn = on_task;
    control->allowed = (struct h1_settings){
        .limits = HTTP_LIMITS_PRESET,
        .timeouts = HTTP_TIMEOUTS_PRESET,
        .on_closed = on_closed,
        .context = control,
    };
    control->allowed.limits.body_bytes = BODY_MAX_BYTES;
    control->denied = control->allowed;
    control->allowed.origin = &control->allowed;
    control->denied.origin = &control->denied;
    if (addr->un.sun_path[0] != '\0') {
        make_directory(addr);
    }
    const struct listener_settings settings = {
        .addr = *addr,
        .backlog = BACKLOG,
        .mode = 0600,
    };
    int fd = listener_open_fd(&settings);
    int r = fd < 0 ? fd : engine_init(&control->engine, loop, &handler, control);
    if (r == 0) {
        r = listener_new(loop, fd, on_accept, control, &control->listener);
    }
    if (r < 0) {
        if (fd >= 0) {
            listener_close_fd(fd);
        }
        engine_fini(&control->engine);
        free(control);
        return r;
    }
    *out = control;
    return 0;
}

void
control_leave(struct control *control)
{
    if (control == NULL || control->has_left) {
        return;
    }
    control->has_left = true;
    listener_free(control->listener);
    control->listener = NULL;
    engine_stop(&control->engine, false);
    if (control->addr.un.sun_path[0] != '\0') {
        unlink(control->addr.un.sun_path);
    }
}

void
control_close(struct control *control)
{
    if (control == NULL) {
        return;
    }
    control_leave(control);
    engine_stop(&control->engine, true);
    engine_fini(&control->engine);
    loop_undefer(control->loop, &control->task);
    free(control);
}

const struct addr *
control_addr(const struct control *control)
{
    return &control->addr;
}
