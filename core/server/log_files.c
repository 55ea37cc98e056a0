/* SPDX-License-Identifier: MIT */
#include "server/log_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "observe/log.h"
#include "server/exit.h"
#include "server/hint.h"

struct log_file {
    char *path; /* owned */
    int fd;
    struct log_file *next;
};

struct log_files {
    struct log_file *first;
};

struct log_files *
log_files_new(void)
{
    return calloc(1, sizeof(struct log_files));
}

void
log_files_free(struct log_files *files)
{
    while (files != NULL && files->first != NULL) {
        struct log_file *file = files->first;
        files->first = file->next;
        close(file->fd);
        free(file->path);
        free(file);
    }
    free(files);
}

/* With rights that whoever may write to the directory may not have: no link of theirs is
 * followed. */
static int
open_path(const char *path)
{
    return open(path,
            O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW,
            0640);
}

static int
refuse(struct weir_str path, int error)
{
    const char *hint = "";
    switch (error) {
    case ELOOP:
        log_error("log file %.*s: is a symbolic link, which is not followed: name the file "
                  "that it leads to, or a standard stream as \"stdout\" or \"stderr\"",
                WEIR_STR_ARG(path));
        return EXIT_SYSTEM;
    case ENOENT:
        hint = "; its directory has to be there";
        break;
    case ENXIO:
        hint = "; a pipe or a socket without anybody who reads from it";
        break;
    case EACCES:
    case EPERM:
    case EROFS:
        hint = "; whoever starts the server has to be allowed to write there";
        break;
    default:
        hint = hint_of(error);
        break;
    }
    log_error("log file %.*s: %s%s", WEIR_STR_ARG(path), strerror(error), hint);
    return error == EACCES || error == EPERM ? EXIT_PERMISSION : EXIT_SYSTEM;
}

static int
open_one(struct log_files *files, struct weir_str name)
{
    char path[PATH_MAX];
    int r = weir_str_to_path(name, path, sizeof(path));
    if (r < 0) {
        return refuse(name, -r);
    }
    if (log_files_find(files, name) >= 0) {
        return EXIT_OK;
    }
    int fd = open_path(path);
    if (fd == -1) {
        return refuse(name, errno);
    }
    struct log_file *file = calloc(1, sizeof(*file));
    char *kept = strdup(path);
    if (file == NULL || kept == NULL) {
        close(fd);
        free(file);
        free(kept);
        return refuse(name, ENOMEM);
    }
    *file = (struct log_file){ kept, fd, files->first };
    files->first = file;
    return EXIT_OK;
}

int
log_files_open(struct log_files *files, const struct plan *plan)
{
    int result = plan->log.file.len > 0 ? open_one(files, plan->log.file) : EXIT_OK;
    for (size_t i = 0; i < plan->log_files_count; i++) {
        int code = open_one(files, plan->log_files[i]);
        result = code == EXIT_OK ? result : code;
    }
    return result;
}

int
log_files_error_log(const struct log_files *files, const struct plan *plan)
{
    int fd = plan->log.file.len > 0 ? log_files_find(files, plan->log.file) : -1;
    return fd == -1 ? STDERR_FILENO : fd;
}

int
log_files_find(const struct log_files *files, struct weir_str path)
{
    for (const struct log_file *file = files->first; file != NULL; file = file->next) {
        if (weir_str_eq(weir_str_from(file->path), path)) {
            return file->fd;
        }
    }
    return -1;
}

static bool
is_named(const struct log_file *file, const struct plan *plan)
{
    struct weir_str path = weir_str_from(file->path);
    bool is = weir_str_eq(plan->log.file, path);
    for (size_t i = 0; !is && i < plan->log_files_count; i++) {
        is = weir_str_eq(plan->log_files[i], path);
    }
    return is;
}

void
log_files_keep(struct log_files *files, const struct plan *const *plans, size_t count,
        int in_use)
{
    struct log_file **link = &files->first;
    while (*link != NULL) {
        struct log_file *file = *link;
        bool is_kept = file->fd == in_use;
        for (size_t i = 0; i < count; i++) {
            is_kept |= is_named(file, plans[i]);
        }
        if (is_kept) {
            link = &file->next;
            continue;
        }
        *link = file->next;
        close(file->fd);
        free(file->path);
        free(file);
    }
}

void
log_files_reopen(struct log_files *files)
{
    for (struct log_file *file = files->first; file != NULL; file = file->next) {
        int fd = open_path(file->path);
        if (fd == -1) {
            refuse(weir_str_from(file->path), errno);
            continue;
        }
        dup3(fd, file->fd, O_CLOEXEC);
        close(fd);
    }
}
