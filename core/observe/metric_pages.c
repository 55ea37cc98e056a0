/* SPDX-License-Identifier: MIT */
/* The memory. Files in memory are sealed against another size, so that nobody's mapping breaks;
 * what a worker may not write it is sent a descriptor of that cannot: it is opened anew,
 * through /proc, and the file belongs to the master's account alone. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "observe/metric_layout.h"

static void
close_fd(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

/* ---- files ------------------------------------------------------------------------------- */

/* A descriptor of the same file that can only be read, or a negative errno. */
static int
open_for_reading(int fd)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int reading = open(path, O_RDONLY | O_CLOEXEC);
    return reading == -1 ? -errno : reading;
}

/* A file in memory; returns a descriptor to write with, sets *read_fd to one that cannot. */
static int
make_file(const char *name, size_t bytes, int *read_fd)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd == -1) {
        return -errno;
    }
    int r = 0;
    if (fchmod(fd, S_IRUSR | S_IWUSR) == -1 || ftruncate(fd, (off_t)bytes) == -1 ||
            fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == -1) {
        r = -errno;
    } else {
        r = open_for_reading(fd);
    }
    if (r < 0) {
        close(fd);
        return r;
    }
    *read_fd = r;
    return fd;
}

static int
map(int fd, size_t bytes, int protection, void **out)
{
    struct stat file;
    if (fstat(fd, &file) == -1) {
        return -errno;
    }
    /* A file of another size would end in a signal. */
    if (!S_ISREG(file.st_mode) || file.st_size != (off_t)bytes) {
        return -EPROTO;
    }
    void *memory = mmap(NULL, bytes, protection, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        return -errno;
    }
    *out = memory;
    return 0;
}

static int
map_page(int fd, int protection, struct metric_page **out)
{
    void *memory;
    int r = map(fd, sizeof(struct metric_page), protection, &memory);
    if (r < 0) {
        return r;
    }
    struct metric_page *page = memory;
    if (page->magic != METRIC_MAGIC) {
        munmap(memory, sizeof(struct metric_page));
        return -EPROTO;
    }
    *out = page;
    return 0;
}

/* ---- life -------------------------------------------------------------------------------- */

static void
free_shards(struct metric_shard *shards)
{
    while (shards != NULL) {
        struct metric_shard *shard = shards;
        shards = shard->next;
        free(shard);
    }
}

void
metric_free(struct metric_pages *pages)
{
    if (pages == NULL) {
        return;
    }
    for (unsigned i = 0; i < METRIC_SHARDS_MAX; i++) {
        struct metric_page *page = atomic_load(&pages->pages[i]);
        if (page != NULL) {
            munmap(page, sizeof(struct metric_page));
        }
        if (i < pages->count) {
            close_fd(pages->fds[i].read);
            close_fd(pages->fds[i].write);
        }
    }
    for (unsigned i = 0; i < pages->lent_count; i++) {
        munmap(pages->lent[i], sizeof(struct metric_page));
    }
    free_shards(pages->shards);
    free(pages->folded);
    free(pages->master);
    if (pages->totals != NULL) {
        munmap(pages->totals, sizeof(struct metric_totals));
    }
    close_fd(pages->totals_fd);
    free(pages);
}

int
metric_new(struct metric_pages **out)
{
    struct metric_pages *pages = calloc(1, sizeof(*pages));
    if (pages == NULL) {
        return -ENOMEM;
    }
    pages->totals_fd = -1;
    void *memory;
    int fd = make_file("weir-metrics", sizeof(struct metric_totals), &pages->totals_fd);
    int r = fd < 0 ? fd
                   : map(fd, sizeof(struct metric_totals), PROT_READ | PROT_WRITE, &memory);
    close_fd(fd);
    if (r == 0) {
        pages->totals = memory;
        pages->totals->magic = METRIC_MAGIC;
        pages->totals->bytes = sizeof(struct metric_totals);
        pages->folded = metric_shard_new(&pages->totals->folded);
        pages->master = metric_shard_new(&pages->totals->master);
        r = pages->folded == NULL || pages->master == NULL ? -ENOMEM : 0;
    }
    if (r < 0) {
        metric_free(pages);
        return r;
    }
    *out = pages;
    return 0;
}

struct metric_shard *
metric_own(struct metric_pages *pages)
{
    return pages->master;
}

/* ---- lending ----------------------------------------------------------------------------- */

static int
add_shard(struct metric_pages *pages)
{
    unsigned i = pages->count;
    if (i == METRIC_SHARDS_MAX) {
        return -ENOSPC;
    }
    int reading = -1;
    void *memory = NULL;
    int fd = make_file("weir-metrics-shard", sizeof(struct metric_page), &reading);
    int r = fd < 0 ? fd : map(fd, sizeof(struct metric_page), PROT_READ | PROT_WRITE, &memory);
    if (r < 0) {
        close_fd(fd);
        close_fd(reading);
        return r;
    }
    struct metric_page *page = memory;
    page->magic = METRIC_MAGIC;
    pages->fds[i].read = reading;
    pages->fds[i].write = fd;
    pages->owners[i] = NULL;
    pages->count++;
    atomic_store(&pages->pages[i], page);
    atomic_store(&pages->totals->shard_count, pages->count);
    return 0;
}

int
metric_lend(struct metric_pages *pages, const void *owner, unsigned count)
{
    unsigned unused = 0;
    for (unsigned i = 0; i < pages->count; i++) {
        unused += pages->owners[i] == NULL;
    }
    for (; unused < count; unused++) {
        int r = add_shard(pages);
        if (r < 0) {
            return r;
        }
    }
    for (unsigned i = 0; count > 0; i++) {
        if (pages->owners[i] == NULL) {
            pages->owners[i] = owner;
            count--;
        }
    }
    return 0;
}

int
metric_totals_fd(const struct metric_pages *pages)
{
    return pages->totals_fd;
}

unsigned
metric_shard_count(const struct metric_pages *pages)
{
    return pages->count;
}

int
metric_shard_fd(const struct metric_pages *pages, unsigned i)
{
    return pages->fds[i].read;
}

int
metric_lent_fd(const struct metric_pages *pages, unsigned i, const void *owner)
{
    return pages->owners[i] == owner ? pages->fds[i].write : -1;
}

/* ---- a worker ---------------------------------------------------------------------------- */

int
metric_attach(int totals_fd, struct metric_pages **out)
{
    struct metric_pages *pages = calloc(1, sizeof(*pages));
    if (pages == NULL) {
        return -ENOMEM;
    }
    pages->totals_fd = -1;
    void *memory;
    int r = map(totals_fd, sizeof(struct metric_totals), PROT_READ, &memory);
    if (r == 0) {
        pages->totals = memory;
        r = pages->totals->magic != METRIC_MAGIC ||
                        pages->totals->bytes != sizeof(struct metric_totals)
                ? -EPROTO
                : 0;
    }
    if (r < 0) {
        metric_free(pages);
        return r;
    }
    *out = pages;
    return 0;
}

int
metric_attach_shard(struct metric_pages *pages, unsigned i, int fd)
{
    struct metric_page *page;
    if (i >= METRIC_SHARDS_MAX || atomic_load(&pages->pages[i]) != NULL) {
        return -EPROTO;
    }
    int r = map_page(fd, PROT_READ, &page);
    if (r == 0) {
        atomic_store(&pages->pages[i], page);
    }
    return r;
}

int
metric_attach_lent(struct metric_pages *pages, int fd)
{
    if (pages->lent_count == METRIC_SHARDS_MAX) {
        return -EPROTO;
    }
    int r = map_page(fd, PROT_READ | PROT_WRITE, &pages->lent[pages->lent_count]);
    if (r == 0) {
        pages->lent_count++;
    }
    return r;
}

struct metric_shard *
metric_take(struct metric_pages *pages)
{
    if (pages->taken_count == pages->lent_count) {
        return NULL;
    }
    struct metric_shard *shard = metric_shard_new(pages->lent[pages->taken_count]);
    if (shard != NULL) {
        pages->taken_count++;
        shard->next = pages->shards;
        pages->shards = shard;
    }
    return shard;
}
