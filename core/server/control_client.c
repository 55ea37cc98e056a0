/* SPDX-License-Identifier: MIT */
#include "server/control_client.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/num.h"
#include "config/document.h"
#include "config/intake.h"
#include "server/control.h"
#include "server/exit.h"

#define ARENA_MAX_BYTES  ((size_t)512 << 20)
#define ANSWER_MAX_BYTES ((size_t)16 << 20)

/* What `control` of the configuration says; presets where it cannot be read. */
static int
read_configured(const char *file, struct addr *out)
{
    struct arena arena;
    arena_init(&arena, NULL, 0, ARENA_MAX_BYTES);
    struct diagnostics *diagnostics = diagnostics_new();
    const struct config_value *document = NULL;
    struct site_process process;
    struct intake intake;
    intake_init(&intake, false);
    int r = diagnostics == NULL ? -ENOMEM
                                : document_load(&intake, file, &arena, diagnostics, &document);
    r = r < 0 ? r : site_read_process(document, &arena, diagnostics, &process);
    r = r < 0 ? r : control_address(&process.control, out);
    intake_fini(&intake);
    diagnostics_free(diagnostics);
    arena_reset(&arena);
    return r;
}

static int
find_address(const struct control_target *target, struct addr *out)
{
    if (target->control != NULL) {
        size_t len = strlen(target->control);
        *out = (struct addr){ .len = sizeof(out->un) };
        out->un.sun_family = AF_UNIX;
        if (len == 0 || len >= sizeof(out->un.sun_path)) {
            return -ENAMETOOLONG;
        }
        memcpy(out->un.sun_path, target->control, len + 1);
        return 0;
    }
    static const struct site_control preset;
    return target->file != NULL ? read_configured(target->file, out)
                                : control_address(&preset, out);
}

static int
unreachable(const struct control_target *target, const char *path, int error, int *exit_code)
{
    *exit_code = error == EACCES || error == EPERM ? EXIT_PERMISSION : EXIT_UNREACHABLE;
    fprintf(stderr, "weir: the control socket %s: %s%s\n", path, strerror(error),
            *exit_code == EXIT_PERMISSION
                    ? "; ask as root, or as the account that the server was started by"
                    : target->control == NULL && target->file == NULL
                    ? "; is the server running? -c FILE or --control PATH says where it is"
                    : "; is the server running?");
    return 0;
}

static bool
write_all(int fd, struct weir_str bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        bytes.ptr += n;
        bytes.len -= (size_t)n;
    }
    return true;
}

static bool
read_all(int fd, struct buf *out)
{
    ssize_t n;
    do {
        char *memory;
        if (buf_reserve(out, 65536, &memory) < 0) {
            errno = ENOMEM;
            return false;
        }
        n = read(fd, memory, 65536);
        buf_commit(out, n > 0 ? (size_t)n : 0);
    } while (n > 0);
    return n == 0;
}

/* Our own server's answer: a status, and a body to the end of the connection. */
static unsigned
take_answer(struct buf *answer)
{
    struct weir_str all = buf_str(answer);
    const char *end = all.len == 0 ? NULL : memmem(all.ptr, all.len, "\r\n\r\n", 4);
    uint64_t status;
    if (end == NULL || all.len < 12 ||
            num_parse_u64(weir_str_make(all.ptr + 9, 3), 599, &status) < 0) {
        return 0;
    }
    buf_consume(answer, (size_t)(end - all.ptr) + 4);
    return (unsigned)status;
}

/* The field that says which server is meant; none where no configuration was named, or its path
 * cannot stand in a field. */
static void
say_which(const struct control_target *target, char *field, size_t bytes)
{
    char path[PATH_MAX];
    field[0] = '\0';
    if (target->control != NULL || target->file == NULL ||
            realpath(target->file, path) == NULL) {
        return;
    }
    for (const char *at = path; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            return;
        }
    }
    snprintf(field, bytes, CONTROL_FILE_FIELD ": %s\r\n", path);
}

unsigned
control_ask(const struct control_target *target, const char *method, const char *path,
        struct buf *body, int *exit_code)
{
    struct addr addr;
    int r = find_address(target, &addr);
    if (r < 0) {
        fprintf(stderr,
                "weir: where the control socket is cannot be told (%s): --control PATH\n",
                strerror(-r));
        *exit_code = EXIT_UNREACHABLE;
        return 0;
    }
    const char *name = addr.un.sun_path[0] == '\0' ? addr.un.sun_path + 1 : addr.un.sun_path;
    char request[PATH_MAX + 256], which[PATH_MAX + 32];
    say_which(target, which, sizeof(which));
    snprintf(request, sizeof(request),
            "%s %s HTTP/1.1\r\nHost: weir\r\nContent-Length: 0\r\n%sConnection: close\r\n\r\n",
            method, path, which);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd != -1 && connect(fd, &addr.sa, addr.len) == 0 &&
            write_all(fd, weir_str_from(request)) && read_all(fd, body);
    int error = errno;
    if (fd != -1) {
        close(fd);
    }
    unsigned status = ok ? take_answer(body) : 0;
    if (status == 0) {
        if (ok) {
            fprintf(stderr,
                    "weir: the control socket %s: the server ended before it answered\n", name);
            *exit_code = EXIT_UNREACHABLE;
            return 0;
        }
        return (unsigned)unreachable(target, name, error, exit_code);
    }
    return status;
}
