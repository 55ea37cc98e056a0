/* SPDX-License-Identifier: MIT */
/* What hooks cost that have nothing to say: a file of 1 KiB, served so many times on a memory
 * stream through so many of them.
 *
 *     hooks HOOKS REQUESTS [counted]
 *
 * With `counted` everything is counted that a worker counts (core/module/figures.h). Says how
 * often memory was allocated while it did; a profiler that counts instructions says the rest,
 * as a difference of two runs (tests/integration/test_costs.py). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/module.h>

#include "module/figures.h"
#include "static.h"
#include "support/failalloc.h"
#include "support/file_rig.h"
#include "support/metric_rig.h"
#include "support/unit.h"

#define GET         "GET /1k.bin HTTP/1.1\r\nHost: a\r\n\r\n"
#define ANSWER_ROOM 4096u

extern const struct weir_module weir_module_v1; /* static */

static enum weir_verdict
say_nothing(struct weir_request *request, const void *conf)
{
    (void)request;
    (void)conf;
    return WEIR_NEXT;
}

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_ACCESS, .request = say_nothing },
    { .on = WEIR_ON_ACCESS, .request = say_nothing },
    { .on = WEIR_ON_ACCESS, .request = say_nothing },
    { .on = WEIR_ON_PREPARE, .request = say_nothing },
    { .on = WEIR_ON_PREPARE, .request = say_nothing },
    { .on = WEIR_ON_PREPARE, .request = say_nothing },
};

/* A whole number up to `max`. */
static uint32_t
number(const char *text, unsigned long max)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-' || n > max) {
        fprintf(stderr, "hooks: not a number up to %lu: %s\n", max, text);
        exit(EXIT_FAILURE);
    }
    return (uint32_t)n;
}

static void
ask(struct file_rig *files)
{
    struct memory_stream *stream = &files->rig.stream;
    memory_stream_send(stream, WEIR_STR(GET));
    for (int turn = 0; turn < 4; turn++) {
        loop_turn(files->rig.loop, false);
    }
    struct weir_str answer = buf_str(&stream->received);
    ck_assert(weir_str_starts_with(answer, WEIR_STR("HTTP/1.1 200 ")) && answer.len > 1024);
    buf_consume(&stream->received, answer.len);
}

int
main(int argc, char **argv)
{
    if (argc < 3 || argc > 4 || (argc == 4 && strcmp(argv[3], "counted") != 0)) {
        fprintf(stderr, "usage: hooks HOOKS REQUESTS [counted]\n");
        return EXIT_FAILURE;
    }
    uint32_t count = number(argv[1], sizeof(hooks) / sizeof(hooks[0]));
    uint32_t requests = number(argv[2], 1000000);

    struct tree tree;
    tree_init(&tree);
    static const char body[1024];
    tree_file(&tree, "1k.bin", body, sizeof(body));
    struct static_conf conf = { .root = weir_str_from(tree.path) };
    struct weir_handler handlers[] = {
        { .name = "empty", .hooks = WEIR_HOOKS(hooks) },
        weir_module_v1.handlers.items[0],
    };
    handlers[0].hooks.count = count;
    const void *confs[] = { NULL, &conf };
    ck_assert_int_eq(handlers[1].conf_open(&conf, NULL), 0);
    struct file_rig files;
    file_rig_init_with(&files, handlers, confs, 2, 0);

    struct metric_pages *master = NULL, *worker = NULL;
    struct figures *figures = NULL;
    if (argc == 4) {
        ck_assert_int_eq(metric_new(&master), 0);
        worker = metric_rig_worker(master, &files, 1);
        figures = figures_new(metric_take(worker));
        ck_assert_ptr_nonnull(figures);
        figures_begin(figures, &files.rig.map);
    }

    rig_connect(&files.rig);
    memory_stream_reserve(&files.rig.stream, ANSWER_ROOM);
    /* Once everything is in the cache, by a thread where the kernel lacks openat2() (it does
     * under valgrind), the clock stands still and nobody looks again. */
    file_rig_send(&files, WEIR_STR(GET));
    buf_consume(&files.rig.stream.received, rig_received(&files.rig).len);
    for (int i = 0; i < 10; i++) {
        ask(&files);
    }
    uint64_t before = failalloc_count();
    for (uint32_t i = 0; i < requests; i++) {
        ask(&files);
    }
    printf("allocations: %ju\n", (uintmax_t)(failalloc_count() - before));

    file_rig_fini(&files);
    figures_free(figures);
    metric_free(worker);
    metric_free(master);
    handlers[1].conf_close(&conf);
    tree_fini(&tree);
    return EXIT_SUCCESS;
}
