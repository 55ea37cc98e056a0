/* SPDX-License-Identifier: MIT */
#include "http/file_listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"

const struct weir_listing listing_busy = { .error = -EBUSY };
const struct weir_listing listing_no_memory = { .error = -ENOMEM };
const struct weir_listing listing_invalid = { .error = -EINVAL };

static void
free_listing(struct hold *hold)
{
    struct weir_listing *listing = (struct weir_listing *)hold;
    for (uint32_t i = 0; i < listing->count; i++) {
        free((char *)(uintptr_t)listing->entries[i].name.ptr);
    }
    free(listing->entries);
    free(listing);
}

static int
add(struct weir_listing *listing, const char *name, const struct stat *st)
{
    if (listing->count == listing->capacity) {
        uint32_t capacity = listing->capacity == 0 ? 64 : listing->capacity * 2;
        struct weir_listing_entry *entries = realloc(listing->entries,
                capacity * sizeof(*entries));
        if (entries == NULL) {
            return -ENOMEM;
        }
        listing->entries = entries;
        listing->capacity = capacity;
    }
    size_t len = strlen(name);
    char *copy = malloc(len);
    if (copy == NULL) {
        return -ENOMEM;
    }
    memcpy(copy, name, len);
    enum weir_file_kind kind = S_ISDIR(st->st_mode) ? WEIR_FILE_DIRECTORY
            : S_ISREG(st->st_mode)                  ? WEIR_FILE_REGULAR
                                                    : WEIR_FILE_OTHER;
    listing->entries[listing->count++] = (struct weir_listing_entry){
        .name = weir_str_make(copy, len),
        .kind = kind,
        .size = kind == WEIR_FILE_REGULAR ? (uint64_t)st->st_size : 0,
        .modified_s = st->st_mtim.tv_sec,
    };
    return 0;
}

/* What the name leads to, as a request for it would find it: a link is resolved beneath the
 * same root, from the root's directory, since it may lead up and down again. */
static int
look(const struct file_lookup *lookup, int dir_fd, const char *name, struct stat *st)
{
    if (fstatat(dir_fd, name, st, AT_SYMLINK_NOFOLLOW) == -1) {
        return -errno;
    }
    if (!S_ISLNK(st->st_mode)) {
        return 0;
    }
    size_t path_len = strlen(lookup->path), name_len = strlen(name);
    char *path = malloc(path_len + name_len + 2);
    if (path == NULL) {
        return -ENOMEM;
    }
    memcpy(path, lookup->path, path_len);
    size_t at = path_len;
    if (at > 0) {
        path[at++] = '/';
    }
    memcpy(path + at, name, name_len + 1);
    struct file_lookup link = *lookup;
    link.path = path;
    int fd;
    int r = file_hold(&link, &fd, st);
    free(path);
    if (r == 0) {
        close(fd);
    }
    return r;
}

static int
compare(const void *a, const void *b)
{
    const struct weir_listing_entry *x = a, *y = b;
    bool x_is_directory = x->kind == WEIR_FILE_DIRECTORY;
    bool y_is_directory = y->kind == WEIR_FILE_DIRECTORY;
    if (x_is_directory != y_is_directory) {
        return x_is_directory ? -1 : 1;
    }
    return weir_str_compare(x->name, y->name);
}

static int
read_names(struct weir_listing *listing, const struct file_lookup *lookup, DIR *dir,
        uint32_t max)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            return -errno;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (listing->count == max) {
            listing->is_cut = true;
            return 0;
        }
        struct stat st;
        if (look(lookup, dirfd(dir), entry->d_name, &st) < 0) {
            continue; /* gone again, or a link that leads nowhere we go */
        }
        int r = add(listing, entry->d_name, &st);
        if (r < 0) {
            return r;
        }
    }
}

static int
open_dir(const struct file_lookup *lookup, DIR **out)
{
    int held;
    struct stat st;
    int r = file_hold(lookup, &held, &st);
    if (r < 0) {
        return r;
    }
    int fd = S_ISDIR(st.st_mode) ? file_open_directory(held) : -ENOTDIR;
    close(held);
    if (fd < 0) {
        return fd;
    }
    *out = fdopendir(fd);
    if (*out == NULL) {
        r = -errno;
        close(fd);
    }
    return r;
}

struct weir_listing *
listing_load(const struct file_lookup *lookup, uint32_t max)
{
    WEIR_ASSERT(lookup->may_block);
    struct weir_listing *listing = calloc(1, sizeof(*listing));
    if (listing == NULL) {
        return NULL;
    }
    hold_init(&listing->hold, free_listing);
    DIR *dir;
    listing->error = open_dir(lookup, &dir);
    if (listing->error < 0) {
        return listing;
    }
    listing->error = read_names(listing, lookup, dir, max);
    closedir(dir);
    if (listing->count > 0) {
        qsort(listing->entries, listing->count, sizeof(*listing->entries), compare);
    }
    return listing;
}

int
weir_listing_error(const struct weir_listing *listing)
{
    return listing->error;
}

uint32_t
weir_listing_count(const struct weir_listing *listing)
{
    return listing->count;
}

bool
weir_listing_is_cut(const struct weir_listing *listing)
{
    return listing->is_cut;
}

const struct weir_listing_entry *
weir_listing_at(const struct weir_listing *listing, uint32_t i)
{
    WEIR_ASSERT(i < listing->count);
    return &listing->entries[i];
}
