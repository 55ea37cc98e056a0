/* SPDX-License-Identifier: MIT */
/* A module that does to the process that loads it what WEIR_WICKED of the environment says
 * while it is loaded, and its options later. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weir/module.h>

/* Where the checker's answer goes (server/checker_wire.h). */
#define ANSWER_FD 4

struct wicked_conf {
    struct weir_str check, open;
};

struct wicked_options {
    struct weir_str init;
};

static void
write_for_ever(int fd)
{
    static const char text[4096] = "all work and no play";
    while (write(fd, text, sizeof(text)) > 0) {
    }
}

/* Puts another text in the place of the configuration that is being checked. */
static void
change_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_TRUNC);
    if (fd == -1 || write(fd, "{ changed", 9) != 9) {
        abort();
    }
    close(fd);
}

static void
be_wicked(const char *how)
{
    if (strcmp(how, "crash") == 0) {
        signal(SIGSEGV, SIG_DFL); /* a sanitizer's report is not what is tested */
        raise(SIGSEGV);
    } else if (strcmp(how, "abort") == 0) {
        fputs("wicked: I give up\n", stderr);
        abort();
    } else if (strcmp(how, "exit") == 0) {
        exit(0);
    } else if (strcmp(how, "hang") == 0) {
        for (;;) {
            pause();
        }
    } else if (strcmp(how, "print") == 0) {
        write_for_ever(STDERR_FILENO);
    } else if (strcmp(how, "flood") == 0) {
        write_for_ever(ANSWER_FD);
    } else if (strcmp(how, "garble") == 0) {
        (void)!write(ANSWER_FD, "nonsense", 8);
    } else if (strcmp(how, "leave") == 0) {
        /* A child that keeps the pipes. */
        if (fork() == 0) {
            for (;;) {
                pause();
            }
        }
    } else if (strncmp(how, "change:", 7) == 0) {
        change_file(how + 7);
    }
}

__attribute__((constructor)) static void
load(void)
{
    const char *how = getenv("WEIR_WICKED");
    if (how != NULL) {
        be_wicked(how);
    }
}

static int
init(const void *options, struct weir_conf_report *report)
{
    const struct wicked_options *wicked = options;
    (void)report;
    be_wicked(wicked->init.ptr == NULL ? "" : wicked->init.ptr);
    return 0;
}

static int
conf_check(const void *conf, struct weir_conf_report *report)
{
    const struct wicked_conf *wicked = conf;
    (void)report;
    be_wicked(wicked->check.ptr == NULL ? "" : wicked->check.ptr);
    return 0;
}

/* In workers only. */
static int
conf_open(void *conf, struct weir_conf_report *report)
{
    const struct wicked_conf *wicked = conf;
    (void)report;
    be_wicked(wicked->open.ptr == NULL ? "" : wicked->open.ptr);
    return 0;
}

static enum weir_verdict
answer(struct weir_request *request, const void *conf)
{
    (void)request;
    (void)conf;
    return WEIR_NEXT;
}

static const struct weir_option options[] = {
    WEIR_STRING(struct wicked_conf, check),
    WEIR_STRING(struct wicked_conf, open),
};

static const struct weir_option own_options[] = {
    WEIR_STRING(struct wicked_options, init),
};

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_CONTENT, .request = answer },
};

WEIR_EXPORT const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("wicked", "1", "Harm in a check"),
    WEIR_HANDLERS({ .name = "wicked",
            .options = WEIR_OPTIONS(struct wicked_conf, options),
            .hooks = WEIR_HOOKS(hooks),
            .conf_check = conf_check,
            .conf_open = conf_open }),
    .options = WEIR_OPTIONS(struct wicked_options, own_options),
    .init = init,
};
