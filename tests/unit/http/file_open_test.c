/* SPDX-License-Identifier: MIT */
/* Paths beneath a directory, in each of the ways that kernels offer: what is reached, and what
 * never is. */
#include "http/file_open.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/file_rig.h"
#include "support/unit.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

struct place {
    struct tree tree;
    int dir_fd;
};

static void
place_init(struct place *place)
{
    tree_init(&place->tree);
    tree_text(&place->tree, "out/secret", "secret");
    tree_text(&place->tree, "root/a", "a");
    tree_text(&place->tree, "root/d/b", "b");
    tree_link(&place->tree, "root/in", "d/b");
    tree_link(&place->tree, "root/dir", "d");
    tree_link(&place->tree, "root/up", "../out/secret");
    tree_link(&place->tree, "root/up-dir", "../out");
    tree_link(&place->tree, "root/back", "../root/a");
    tree_link(&place->tree, "root/abs", "/etc/passwd");
    tree_link(&place->tree, "root/loop", "loop");
    tree_link(&place->tree, "root/dangling", "nothing");
    tree_link(&place->tree, "root/proc", "/proc/self/root");
    char path[128];
    tree_full(&place->tree, "root/fifo", path, sizeof(path));
    ck_assert_int_eq(mkfifo(path, 0644), 0);
    tree_full(&place->tree, "root", path, sizeof(path));
    place->dir_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ne(place->dir_fd, -1);
}

static void
place_fini(struct place *place)
{
    close(place->dir_fd);
    tree_fini(&place->tree);
}

static const struct row {
    const char *why, *path;
    int with_links, without; /* 0, or the error, with links beneath and with none */
} rows[] = {
    { "a file", "a", 0, 0 },
    { "below", "d/b", 0, 0 },
    { "the directory itself", "", 0, 0 },
    { "nothing", "nothing", -ENOENT, -ENOENT },
    { "below a file", "a/b", -ENOTDIR, -ENOTDIR },
    { "a link to a file", "in", 0, -ELOOP },
    { "a link on the way", "dir/b", 0, -ELOOP },
    { "a link out", "up", -EXDEV, -ELOOP },
    { "a link out on the way", "up-dir/secret", -EXDEV, -ELOOP },
    { "out and back", "back", -EXDEV, -ELOOP },
    { "an absolute link", "abs", -EXDEV, -ELOOP },
    { "a link to itself", "loop", -ELOOP, -ELOOP },
    { "a link to nothing", "dangling", -ENOENT, -ELOOP },
    { "a way out through /proc", "proc/etc/passwd", -EXDEV, -ELOOP },
    { "dots", "..", -EXDEV, -EXDEV },
    { "dots below", "d/../../out/secret", -EXDEV, -EXDEV },
    { "an absolute path", "/etc/passwd", -EXDEV, -EXDEV },
    { "a FIFO is only held", "fifo", 0, 0 },
};

static void
check_row(const struct place *place, const struct row *row, enum file_way way,
        enum weir_symlinks symlinks)
{
    struct file_lookup lookup = {
        .dir_fd = place->dir_fd,
        .path = row->path,
        .symlinks = symlinks,
        .way = way,
        .may_block = true,
    };
    bool follows = symlinks == WEIR_SYMLINKS_BENEATH && way != FILE_WAY_WALK;
    int want = follows ? row->with_links : row->without;
    int fd;
    struct stat st;
    int r = file_hold(&lookup, &fd, &st);
    if (way == FILE_WAY_WALK && want < 0) {
        /* The walk says ENOTDIR of a link on the way, and looks at no dots. */
        ck_assert_msg(r < 0, "%s: reached by walking", row->why);
    } else {
        ck_assert_msg(r == want, "%s, way %d, links %d: %d", row->why, (int)way, (int)symlinks,
                r);
    }
    if (r == 0) {
        ck_assert_msg((fcntl(fd, F_GETFL) & O_PATH) != 0, "%s: opened", row->why);
        close(fd);
    }
}

START_TEST(reaches_only_what_is_beneath)
{
    struct place place;
    place_init(&place);
    for (int way = FILE_WAY_WALK; way <= (int)file_way_probe(); way++) {
        check_row(&place, &rows[_i], (enum file_way)way, WEIR_SYMLINKS_BENEATH);
        check_row(&place, &rows[_i], (enum file_way)way, WEIR_SYMLINKS_DENY);
    }
    place_fini(&place);
}
END_TEST

START_TEST(says_when_it_might_block)
{
    struct place place;
    place_init(&place);
    struct file_lookup lookup = { .dir_fd = place.dir_fd, .path = "a" };
    int fd;
    struct stat st;
    lookup.way = FILE_WAY_WALK;
    ck_assert_int_eq(file_hold(&lookup, &fd, &st), -EAGAIN);
    lookup.way = FILE_WAY_OPENAT2;
    ck_assert_int_eq(file_hold(&lookup, &fd, &st), -EAGAIN);
    place_fini(&place);
}
END_TEST

/* Another process swaps a directory for a link that leads out, over and over: the secret is
 * never reached, in no way of resolving. */
static atomic_bool is_over;

static void *
swap(void *context)
{
    const struct place *place = context;
    char d[128], link[128];
    tree_full(&place->tree, "root/d", d, sizeof(d));
    tree_full(&place->tree, "root/up-dir", link, sizeof(link));
    while (!atomic_load(&is_over)) {
        int r = renameat2(AT_FDCWD, d, AT_FDCWD, link, RENAME_EXCHANGE);
        (void)r;
    }
    return NULL;
}

START_TEST(is_not_fooled_by_links_that_are_swapped)
{
    struct place place;
    place_init(&place);
    tree_text(&place.tree, "out/b", "secret");
    pthread_t thread;
    atomic_store(&is_over, false);
    ck_assert_int_eq(pthread_create(&thread, NULL, swap, &place), 0);
    /* However the threads are scheduled, the file is reached sooner or later. */
    unsigned reached = 0;
    for (int i = 0; i < 20000 || reached == 0; i++) {
        struct file_lookup lookup = {
            .dir_fd = place.dir_fd,
            .path = "d/b",
            .way = i % 2 == 0 ? FILE_WAY_WALK : file_way_probe(),
            .may_block = true,
        };
        int fd;
        struct stat st;
        if (file_hold(&lookup, &fd, &st) < 0) {
            continue;
        }
        int file = file_open(&lookup, fd, &st);
        close(fd);
        char byte = 0;
        if (file >= 0) {
            ck_assert_int_eq(read(file, &byte, 1), 1);
            ck_assert_int_eq(byte, 'b');
            close(file);
            reached++;
        }
    }
    atomic_store(&is_over, true);
    pthread_join(thread, NULL);
    place_fini(&place);
}
END_TEST

/* Somebody who opens the other end of a FIFO would notice a reader. */
START_TEST(never_opens_a_fifo)
{
    struct place place;
    place_init(&place);
    char path[128];
    tree_full(&place.tree, "root/fifo", path, sizeof(path));
    struct file_lookup lookup = {
        .dir_fd = place.dir_fd,
        .path = "fifo",
        .way = file_way_probe(),
        .may_block = true,
    };
    int fd;
    struct stat st;
    ck_assert_int_eq(file_hold(&lookup, &fd, &st), 0);
    ck_assert(S_ISFIFO(st.st_mode));
    ck_assert_int_eq(open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC), -1);
    ck_assert_int_eq(errno, ENXIO);
    close(fd);
    place_fini(&place);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, reaches_only_what_is_beneath, 0, LENGTH(rows));
    tcase_add_test(tests, says_when_it_might_block);
    tcase_add_test(tests, is_not_fooled_by_links_that_are_swapped);
    tcase_add_test(tests, never_opens_a_fifo);
}

UNIT_MAIN("http/file_open", add_tests)
