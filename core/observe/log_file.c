/* SPDX-License-Identifier: MIT */
/* Files have a fixed descriptor number, over which another may be put at any time (dup3); lines
 * are appended, so it does not matter between which two. `lock` guards both lists and the
 * writer's start. A file is freed when nobody logs to it any more and the writer has been
 * through all rings since. */
#include "observe/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "observe/log.h"
#include "observe/log_writer.h"

#define CLOSE_FLUSH_MS 2000u
#define FILE_MODE      0640

struct offer {
    struct offer *next;
    int fd; /* owned */
    size_t path_len;
    char path[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct weir_log_file *files;     /* guarded by lock */
static struct weir_log_file *abandoned; /* closed, and still the writer's */
static struct offer *offers;            /* guarded by lock */

static bool
is_stream(struct weir_str path)
{
    return weir_str_eq(path, WEIR_STR("stdout")) || weir_str_eq(path, WEIR_STR("stderr"));
}

/* A descriptor of our own on the file. */
static int
open_path(struct weir_str path)
{
    if (is_stream(path)) {
        int from = weir_str_eq(path, WEIR_STR("stdout")) ? STDOUT_FILENO : STDERR_FILENO;
        int copy = fcntl(from, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        return copy == -1 ? -errno : copy;
    }
    char name[4096];
    int r = weir_str_to_path(path, name, sizeof(name));
    if (r < 0) {
        return r;
    }
    /* Not to be held up by a FIFO that nobody reads. */
    int fd = open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
            FILE_MODE);
    return fd == -1 ? -errno : fd;
}

static struct weir_log_file *
find_file(struct weir_str path)
{
    struct weir_log_file *file = files;
    while (file != NULL && !weir_str_eq(weir_str_from(file->path), path)) {
        file = file->next;
    }
    return file;
}

/* The descriptor that was offered for `path`, taken; -1: none. */
static int
take_offer(struct weir_str path)
{
    for (struct offer **at = &offers; *at != NULL; at = &(*at)->next) {
        struct offer *offer = *at;
        if (weir_str_eq(weir_str_make(offer->path, offer->path_len), path)) {
            int fd = offer->fd;
            *at = offer->next;
            free(offer);
            return fd;
        }
    }
    return -1;
}

/* Puts `fd`, which is used up, over the file's. */
static int
put_over(struct weir_log_file *file, int fd)
{
    int r = dup3(fd, file->fd, O_CLOEXEC) == -1 ? -errno : 0;
    close(fd);
    return r;
}

int
log_file_offer(struct weir_str path, int fd)
{
    struct offer *offer = malloc(sizeof(*offer) + path.len);
    pthread_mutex_lock(&lock);
    struct weir_log_file *file = find_file(path);
    int r = 0;
    if (file != NULL) {
        r = put_over(file, fd);
        free(offer);
    } else if (offer == NULL) {
        r = -ENOMEM;
        close(fd);
    } else {
        int old = take_offer(path);
        if (old != -1) {
            close(old);
        }
        *offer = (struct offer){ .next = offers, .fd = fd, .path_len = path.len };
        memcpy(offer->path, path.ptr, path.len);
        offers = offer;
    }
    pthread_mutex_unlock(&lock);
    return r;
}

static int
add_file(struct weir_str path, struct weir_log_file **out)
{
    struct weir_log_file *file = calloc(1, sizeof(*file) + path.len + 1);
    if (file == NULL) {
        return -ENOMEM;
    }
    memcpy(file->path, path.ptr, path.len);
    file->references = 1;
    int fd = take_offer(path);
    file->fd = fd != -1 ? fd : open_path(path);
    int r = file->fd < 0 ? file->fd : 0;
    if (r == 0) {
        r = log_writer_start();
    }
    if (r < 0) {
        if (file->fd >= 0) {
            close(file->fd);
        }
        free(file);
        return r;
    }
    file->next = files;
    files = file;
    *out = file;
    return 0;
}

int
log_file_open(struct weir_str path, struct weir_log_file **out)
{
    if (path.len == 0 || (path.ptr[0] != '/' && !is_stream(path))) {
        return -EINVAL;
    }
    pthread_mutex_lock(&lock);
    struct weir_log_file *file = find_file(path);
    int r = 0;
    if (file != NULL) {
        file->references++;
        *out = file;
    } else {
        r = add_file(path, out);
    }
    pthread_mutex_unlock(&lock);
    return r;
}

void
log_file_close(struct weir_log_file *file)
{
    if (file == NULL) {
        return;
    }
    pthread_mutex_lock(&lock);
    bool is_last = --file->references == 0;
    for (struct weir_log_file **at = &files; is_last && *at != NULL; at = &(*at)->next) {
        if (*at == file) {
            *at = file->next;
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    if (!is_last) {
        return;
    }
    if (log_writer_flush(CLOSE_FLUSH_MS)) {
        close(file->fd);
        free(file);
        return;
    }
    /* Where the disk does not answer the file is left to the writer for good. */
    pthread_mutex_lock(&lock);
    file->next = abandoned;
    abandoned = file;
    pthread_mutex_unlock(&lock);
}

void
log_file_reopen(void)
{
    pthread_mutex_lock(&lock);
    for (struct weir_log_file *file = files; file != NULL; file = file->next) {
        if (is_stream(weir_str_from(file->path))) {
            continue;
        }
        int fd = open_path(weir_str_from(file->path));
        int r = fd < 0 ? fd : put_over(file, fd);
        if (r < 0) {
            log_error("log file %s cannot be opened anew: %s; lines go on to the old one",
                    file->path, strerror(-r));
        }
    }
    pthread_mutex_unlock(&lock);
}

bool
log_file_flush(unsigned timeout_ms)
{
    return log_writer_flush(timeout_ms);
}

int
weir_log_open(struct weir_str path, struct weir_log_file **out)
{
    return log_file_open(path, out);
}

void
weir_log_close(struct weir_log_file *file)
{
    log_file_close(file);
}

int
weir_log_line(struct weir_log_file *file, struct weir_str line)
{
    return log_writer_put(file, line);
}
