/* SPDX-License-Identifier: MIT */
/* The control socket: HTTP and JSON on a Unix socket, for whoever runs the server. Served by
 * the master on an engine of its own, without modules; only root and the account of the master
 * are let in (SO_PEERCRED), whatever the file's mode says.
 *
 *     GET  /status          what runs: generations, workers, listeners
 *     POST /reload          a new generation; answers when it serves (200) or was refused (409,
 * with the report in "report"); with ?wait=false at once (202) POST /reopen          opens log
 * files anew POST /stop            answers what was accepted, and ends (202)
 *
 * Thread: the master's. */
#ifndef WEIR_SERVER_CONTROL_H
#define WEIR_SERVER_CONTROL_H

#include "base/buf.h"
#include "module/site.h"

struct control;
struct loop;

/* Who does what is asked. */
struct control_owner {
    int (*status)(void *context, struct buf *json); /* 0 or a negative errno */
    void (*reload)(void *context); /* ends in control_reloaded(), perhaps within the call */
    void (*reopen)(void *context);
    void (*stop)(void *context);
    void *context;
    const char *file; /* borrowed: the configuration that is run */
};

/* The field of a request in which its client says, by an absolute path, of which configuration
 * the server is meant; another's answers 421. */
#define CONTROL_FILE_FIELD "Weir-Configuration"

/* The socket's address: what is configured, else control.sock in $RUNTIME_DIRECTORY, in
 * /run/weir for root, or in $XDG_RUNTIME_DIR/weir. Returns 0; -ENOENT when there is no such
 * directory; -ENAMETOOLONG. */
WEIR_MUST_USE int control_address(const struct site_control *settings, struct addr *out);

/* Listens there. Returns 0 or a negative errno: -EADDRINUSE when another server answers there.
 */
WEIR_MUST_USE int control_open(struct loop *loop, const struct addr *addr,
        const struct control_owner *owner, struct control **out);

/* Takes the socket's file away and lets nobody in any more; who is there is still answered. */
void control_leave(struct control *control);

/* Leaves, and ends its connections. NULL: nothing. */
void control_close(struct control *control);

/* Where it listens. */
const struct addr *control_addr(const struct control *control);

/* A reload begins to read the configuration: its end answers all who have asked until now, and
 * those who ask later wait for the next. NULL: nothing. */
void control_reload_begins(struct control *control);

/* The reload has ended, for all who asked before it began, with an HTTP status: 200, 409 when
 * it was refused, 503 when it does not take place. `report` is what weir check prints. NULL:
 * nothing. */
void control_reloaded(struct control *control, unsigned status, struct weir_str message,
        struct weir_str report);

/* Appends `text` as a JSON string, with its quotes. Returns 0 or a negative errno. */
WEIR_MUST_USE int control_json_string(struct buf *json, struct weir_str text);

#endif
