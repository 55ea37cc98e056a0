/* SPDX-License-Identifier: MIT */
/* weir checker: the short-lived process in which a configuration's modules are tried. Started
 * by checker.c alone; privileges are gone already. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "module/loader.h"
#include "module/site_check.h"
#include "server/checker_wire.h"
#include "server/exit.h"
#include "server/main.h"

static struct checker_page *page;

static void
on_step(const char *module, const char *step)
{
    snprintf(page->module, sizeof(page->module), "%s", module == NULL ? "" : module);
    snprintf(page->step, sizeof(page->step), "%s", step == NULL ? "" : step);
}

static bool
attach(void)
{
    page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, CHECKER_FD_PAGE, 0);
    /* Nothing that modules start inherits these. */
    for (int fd = CHECKER_FD_SOURCES; fd < CHECKER_FD_END; fd++) {
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) == -1) {
            return false;
        }
    }
    return page != MAP_FAILED;
}

/* Loads and checks everything. Returns 0 and the plan, or a negative errno. */
static int
check(struct diagnostics *diagnostics, struct buf *plan)
{
    struct site *site = NULL;
    int r = site_load_bundle(CHECKER_FD_SOURCES, diagnostics, &site);
    r = r < 0 ? r : site_check(site, diagnostics);
    r = r < 0 ? r : plan_wire_write(site, plan);
    site_free(site);
    return r;
}

static int
code_of(int r)
{
    return r == 0 ? EXIT_OK : r == -EINVAL ? EXIT_CONFIGURATION : EXIT_SYSTEM;
}

static bool
send_all(struct weir_str bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(CHECKER_FD_ANSWER, bytes.ptr, bytes.len);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        size_t sent = n < 0 ? 0 : (size_t)n;
        bytes = weir_str_make(bytes.ptr + sent, bytes.len - sent);
    }
    return true;
}

static bool
answer(bool color)
{
    struct buf report, plan, whole;
    buf_init(&report, CHECKER_REPORT_MAX_BYTES);
    buf_init(&plan, PLAN_WIRE_MAX_BYTES);
    buf_init(&whole, CHECKER_ANSWER_MAX_BYTES);
    struct diagnostics *diagnostics = diagnostics_new();
    int r = diagnostics == NULL ? -ENOMEM : check(diagnostics, &plan);
    if (diagnostics != NULL && r != -ENOMEM) {
        int printed = diagnostics_print(diagnostics, DIAGNOSTIC_TEXT, color, &report);
        r = printed < 0 ? printed : r;
    }
    if (r < 0 && r != -EINVAL) {
        (void)!buf_printf(&report, "weir: the configuration cannot be checked: %s\n",
                strerrordesc_np(-r));
    }
    struct checker_answer said = { code_of(r), buf_str(&report), buf_str(&plan) };
    bool ok = checker_answer_write(&said, &whole) == 0 && send_all(buf_str(&whole));
    diagnostics_free(diagnostics);
    buf_fini(&report);
    buf_fini(&plan);
    buf_fini(&whole);
    return ok;
}

int
command_checker(int argc, char **argv)
{
    bool color = false;
    if (!attach()) {
        fputs("weir checker is started by weir run; to check a configuration: weir check\n",
                stderr);
        return EXIT_USAGE_ERROR;
    }
    page->is_running = 1;
    for (int i = 1; i < argc; i++) {
        color |= strcmp(argv[i], "--color") == 0;
        if (strcmp(argv[i], "--root") == 0) {
            loader_serve_root();
        }
    }
    loader_watch(on_step);
    bool ok = answer(color);
    /* Without destructors of modules: it has been answered. */
    _exit(ok ? EXIT_OK : EXIT_SYSTEM);
}
