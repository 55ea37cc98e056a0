/* SPDX-License-Identifier: MIT */
#include "support/file_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "event/loop.h"

void
tree_init(struct tree *tree)
{
    snprintf(tree->path, sizeof(tree->path), "/tmp/weir-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(tree->path));
    ck_assert_int_eq(chmod(tree->path, 0755), 0);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void
tree_fini(struct tree *tree)
{
    ck_assert_int_eq(nftw(tree->path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void
tree_full(const struct tree *tree, const char *path, char *dst, size_t dst_bytes)
{
    int len = snprintf(dst, dst_bytes, "%s/%s", tree->path, path);
    ck_assert(len > 0 && (size_t)len < dst_bytes);
}

static void
make_directories(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        ck_assert(mkdir(path, 0755) == 0 || errno == EEXIST);
        *slash = '/';
    }
}

void
tree_touch(const struct tree *tree, const char *path, int64_t seconds)
{
    char full[512];
    tree_full(tree, path, full, sizeof(full));
    struct timespec times[2] = { { .tv_sec = seconds }, { .tv_sec = seconds } };
    ck_assert_int_eq(utimensat(AT_FDCWD, full, times, AT_SYMLINK_NOFOLLOW), 0);
}

void
tree_file(const struct tree *tree, const char *path, const void *bytes, size_t len)
{
    char full[512];
    tree_full(tree, path, full, sizeof(full));
    make_directories(full);
    int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ck_assert_int_ne(fd, -1);
    ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
    close(fd);
    tree_touch(tree, path, TREE_TIME);
}

void
tree_text(const struct tree *tree, const char *path, const char *text)
{
    tree_file(tree, path, text, strlen(text));
}

void
tree_link(const struct tree *tree, const char *path, const char *target)
{
    char full[512];
    tree_full(tree, path, full, sizeof(full));
    make_directories(full);
    unlink(full);
    ck_assert_int_eq(symlink(target, full), 0);
}

void
file_rig_init(struct file_rig *files, const struct weir_handler *handler, const void *conf,
        int way)
{
    file_rig_init_with(files, handler, &conf, 1, way);
}

void
file_rig_init_with(struct file_rig *files, const struct weir_handler *handlers,
        const void *const *confs, unsigned count, int way)
{
    rig_init_with(&files->rig, handlers, confs, count);
    ck_assert_int_eq(mailbox_new(files->rig.loop, &files->mailbox), 0);
    struct pool_settings settings = {
        .name = "files",
        .threads_min = 2,
        .threads_max = 2,
        .queue_max = 1000,
        .queue_timeout_ns = CLOCK_NEVER,
        .idle_timeout_ns = CLOCK_NEVER,
    };
    ck_assert_int_eq(pool_new(&settings, &files->pool), 0);
    struct file_cache_settings cache = FILE_CACHE_PRESET;
    cache.way = way == 0 ? FILE_WAY_CACHED : (enum file_way)way;
    ck_assert_int_eq(file_cache_new(files->rig.loop, files->pool, files->mailbox, &cache,
                             &files->cache),
            0);
    files->rig.engine.files = files->cache;
}

void
file_rig_fini(struct file_rig *files)
{
    file_rig_settle(files);
    rig_connect(&files->rig); /* ends the last one */
    memory_stream_end(&files->rig.stream);
    file_rig_settle(files);
    ck_assert(pool_stop(files->pool, CLOCK_NEVER));
    ck_assert_uint_eq(files->cache->out, 0);
    file_cache_free(files->cache);
    pool_free(files->pool);
    mailbox_free(files->mailbox);
    rig_fini(&files->rig);
}

void
file_rig_settle(struct file_rig *files)
{
    rig_settle(&files->rig);
    while (files->cache->out > 0) {
        loop_turn(files->rig.loop, true); /* until the mailbox brings one back */
        rig_settle(&files->rig);
    }
}

void
file_rig_send(struct file_rig *files, struct weir_str bytes)
{
    rig_send(&files->rig, bytes);
    file_rig_settle(files);
}

struct rig_answer
file_rig_ask(struct file_rig *files, const char *request, size_t split)
{
    rig_connect(&files->rig);
    struct weir_str bytes = weir_str_from(request);
    for (size_t i = 0; split == SIZE_MAX && i < bytes.len; i++) {
        file_rig_send(files, weir_str_make(bytes.ptr + i, 1));
    }
    if (split != SIZE_MAX && split > 0) {
        file_rig_send(files, weir_str_make(bytes.ptr, split));
    }
    if (split != SIZE_MAX) {
        file_rig_send(files, weir_str_make(bytes.ptr + split, bytes.len - split));
    }
    struct weir_str rest = rig_received(&files->rig);
    struct rig_answer answer;
    ck_assert_msg(rig_next_answer(&rest, strncmp(request, "HEAD", 4) == 0, &answer),
            "no answer to %.60s: %.*s", request, WEIR_STR_ARG(rest));
    return answer;
}
