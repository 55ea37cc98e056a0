/* SPDX-License-Identifier: MIT */
/* A port is first bound without SO_REUSEPORT, so that one which another program of the same
 * user shares already is reported and not shared. */
#include "server/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/listener.h"
#include "observe/log.h"
#include "server/exit.h"
#include "server/hint.h"

struct sockets {
    struct listening *first; /* oldest first: of several "any port" each stays whose it was */
};

struct sockets *
sockets_new(void)
{
    return calloc(1, sizeof(struct sockets));
}

/* The path of its file, as long as that is still the one that was made; NULL: there is none. */
static const char *
own_file(const struct listening *listening, struct stat *file)
{
    const char *path = listening->bound.un.sun_path;
    bool is_own = listening->bound.sa.sa_family == AF_UNIX && path[0] != '\0' &&
            lstat(path, file) == 0 && S_ISSOCK(file->st_mode) &&
            file->st_dev == listening->file_device && file->st_ino == listening->file_number;
    return is_own ? path : NULL;
}

static void
close_all(struct listening *listening)
{
    struct stat file;
    const char *path = own_file(listening, &file);
    if (path != NULL) {
        unlink(path);
    }
    for (unsigned i = 0; i < listening->count; i++) {
        listener_close_fd(listening->fds[i]);
    }
    free(listening->fds);
    free((char *)(uintptr_t)listening->text.ptr);
    free(listening);
}

void
sockets_free(struct sockets *sockets)
{
    while (sockets != NULL && sockets->first != NULL) {
        struct listening *listening = sockets->first;
        sockets->first = listening->next;
        close_all(listening);
    }
    free(sockets);
}

void
sockets_unref(struct sockets *sockets, struct listening *listening)
{
    if (--listening->references > 0) {
        return;
    }
    struct listening **link = &sockets->first;
    while (*link != listening) {
        link = &(*link)->next;
    }
    *link = listening->next;
    close_all(listening);
}

static int
explain(struct weir_str address, int error)
{
    const char *hint = "";
    switch (error) {
    case EADDRINUSE:
        hint = "; another program listens there: stop it, or choose another port";
        break;
    case EACCES:
    case EPERM:
        hint = "; ports below 1024 need root or CAP_NET_BIND_SERVICE, a socket file a "
               "directory that you may write to";
        break;
    case EADDRNOTAVAIL:
        hint = "; this machine has no such address";
        break;
    default:
        hint = hint_of(error);
        break;
    }
    log_error("listener %.*s: %s%s", WEIR_STR_ARG(address), strerror(error), hint);
    return error == EACCES || error == EPERM ? EXIT_PERMISSION : EXIT_SYSTEM;
}

static bool
stat_file(const struct addr *addr, struct stat *file)
{
    return addr->un.sun_path[0] != '\0' && lstat(addr->un.sun_path, file) == 0;
}

/* The first socket of an address, which says whether it is free and what its port is. */
static int
open_first(struct listening *listening, const struct plan_listener *planned)
{
    struct listener_settings settings = {
        .addr = planned->addr,
        .backlog = planned->backlog,
        .mode = planned->mode,
    };
    int fd = listener_open_fd(&settings);
    if (fd < 0) {
        return fd;
    }
    int r = listener_bound_addr(fd, &listening->bound);
    struct stat file;
    if (r == 0 && listening->is_shared && stat_file(&listening->bound, &file)) {
        listening->file_device = file.st_dev;
        listening->file_number = file.st_ino;
    }
    if (r == 0 && !listening->is_shared) {
        listener_close_fd(fd);
        settings.addr = listening->bound;
        settings.shares_port = true;
        fd = listener_open_fd(&settings);
        if (fd < 0) {
            return fd;
        }
    }
    listening->fds[listening->count++] = fd;
    return r;
}

int
sockets_grow(struct listening *listening, int backlog, unsigned slots)
{
    if (listening->is_shared || listening->count >= slots) {
        return EXIT_OK;
    }
    int *fds = realloc(listening->fds, slots * sizeof(*fds));
    if (fds == NULL) {
        return explain(listening->text, ENOMEM);
    }
    listening->fds = fds;
    while (listening->count < slots) {
        const struct listener_settings settings = {
            .addr = listening->bound,
            .backlog = backlog,
            .shares_port = true,
        };
        int fd = listener_open_fd(&settings);
        if (fd < 0) {
            return explain(listening->text, -fd);
        }
        listening->fds[listening->count++] = fd;
    }
    return EXIT_OK;
}

void
sockets_adjust(const struct listening *listening, const struct plan_listener *planned)
{
    for (unsigned i = 0; i < listening->count; i++) {
        if (listen(listening->fds[i], planned->backlog) == -1) {
            log_warn("listener %.*s: backlog: %s", WEIR_STR_ARG(listening->text),
                    strerror(errno));
        }
    }
    struct stat file;
    const char *path = own_file(listening, &file);
    if (path != NULL && (file.st_mode & 07777) != planned->mode &&
            fchmodat(AT_FDCWD, path, planned->mode, AT_SYMLINK_NOFOLLOW) == -1) {
        log_warn("listener %.*s: mode: %s", WEIR_STR_ARG(listening->text), strerror(errno));
    }
}

static bool
is_among(struct listening *const *some, size_t count, const struct listening *listening)
{
    bool is = false;
    for (size_t i = 0; i < count; i++) {
        is |= some[i] == listening;
    }
    return is;
}

/* An open address; none of `taken`, since "any port" twice is two ports. */
static struct listening *
find(const struct sockets *sockets, const struct addr *addr, struct listening *const *taken,
        size_t taken_count)
{
    struct listening *listening = sockets->first;
    while (listening != NULL &&
            (!addr_eq(&listening->configured, addr) ||
                    is_among(taken, taken_count, listening))) {
        listening = listening->next;
    }
    return listening;
}

static int
open_new(struct sockets *sockets, const struct plan_listener *planned, struct listening **out)
{
    struct listening *listening = calloc(1, sizeof(*listening));
    char *text = strndup(planned->address.ptr, planned->address.len);
    int *fds = calloc(1, sizeof(*fds));
    if (listening == NULL || text == NULL || fds == NULL) {
        free(listening);
        free(text);
        free(fds);
        return explain(planned->address, ENOMEM);
    }
    listening->configured = planned->addr;
    listening->text = weir_str_make(text, planned->address.len);
    listening->fds = fds;
    listening->is_shared = planned->addr.sa.sa_family == AF_UNIX;
    int r = open_first(listening, planned);
    if (r < 0) {
        close_all(listening);
        return explain(planned->address, -r);
    }
    struct listening **link = &sockets->first;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = listening;
    *out = listening;
    return EXIT_OK;
}

int
sockets_open(struct sockets *sockets, const struct plan *plan, unsigned slots,
        struct listening **out)
{
    int result = EXIT_OK;
    size_t opened = 0;
    for (size_t i = 0; i < plan->listeners_count; i++) {
        const struct plan_listener *planned = &plan->listeners[i];
        struct listening *listening = find(sockets, &planned->addr, out, opened);
        int code = EXIT_OK;
        if (listening == NULL) {
            code = open_new(sockets, planned, &listening);
        }
        if (code == EXIT_OK) {
            listening->references++;
            out[opened++] = listening;
            code = sockets_grow(listening, planned->backlog, slots);
        }
        /* The others are tried, so that all are named. */
        result = code == EXIT_OK ? result : code;
    }
    for (size_t i = 0; result != EXIT_OK && i < opened; i++) {
        sockets_unref(sockets, out[i]);
    }
    return result;
}
