/* SPDX-License-Identifier: MIT */
/* The master's half: what it reads of a configuration by itself, and what it takes from the
 * checker's answer. */
#include "server/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/document.h"
#include "config/emit.h"
#include "config/intake.h"
#include "server/checker.h"
#include "server/exit.h"
#include "server/hint.h"

#define ARENA_MAX_BYTES ((size_t)512 << 20)

struct plan_making {
    struct plan_order order;
    struct plan *plan;                   /* owned */
    const struct config_value *document; /* borrowed: in the plan's arena */
    bool has_mistakes;                   /* of the text; the checker finds them again */
    struct checker *checker;             /* owned */
};

static struct plan *
plan_new(void)
{
    struct plan *plan = calloc(1, sizeof(*plan));
    if (plan != NULL) {
        arena_init(&plan->arena, NULL, 0, ARENA_MAX_BYTES);
        plan->sources_fd = -1;
    }
    return plan;
}

void
plan_free(struct plan *plan)
{
    if (plan == NULL) {
        return;
    }
    if (plan->sources_fd >= 0) {
        close(plan->sources_fd);
    }
    arena_reset(&plan->arena);
    free(plan);
}

/* Reads the text into plan->sources_fd and what concerns the process into `plan`. Returns 0 and
 * sets *document; -EINVAL after a report; a negative errno. */
static int
read_text(const char *file, struct plan *plan, struct diagnostics *diagnostics,
        const struct config_value **document)
{
    struct intake intake;
    intake_init(&intake, true);
    int r = document_load(&intake, file, &plan->arena, diagnostics, document);
    if (r == 0) {
        plan->sources_fd = intake_seal(&intake);
        r = plan->sources_fd < 0 ? plan->sources_fd : 0;
    }
    intake_fini(&intake);
    struct site_process process;
    r = r < 0 ? r : site_read_process(*document, &plan->arena, diagnostics, &process);
    if (r == 0) {
        plan->workers = process.workers;
        plan->log = process.log;
        plan->control = process.control;
        plan->document = *document;
    }
    return r;
}

/* What the modules of a failed checker printed, for the report. */
static void
add_output(const struct checker_result *result, struct buf *report)
{
    struct emit emit;
    struct weir_str rest = buf_str(&result->output);
    emit_init(&emit, report);
    while (rest.len > 0) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        size_t len = end == NULL ? rest.len : (size_t)(end - rest.ptr);
        emit_format(&emit, "  | ");
        emit_escaped(&emit, weir_str_make(rest.ptr, len), true);
        emit_format(&emit, "\n");
        len += end != NULL;
        rest = weir_str_make(rest.ptr + len, rest.len - len);
    }
}

/* "it was ended by SIGSEGV", and the like. */
static void
describe_end(const struct checker_result *result, char *dst, size_t dst_bytes)
{
    const char *name = WIFSIGNALED(result->status) ? sigabbrev_np(WTERMSIG(result->status))
                                                   : NULL;
    if (result->end == CHECKER_HUNG) {
        snprintf(dst, dst_bytes, "it did not come back within 30 seconds");
    } else if (result->end == CHECKER_FLOODED) {
        snprintf(dst, dst_bytes, "it wrote more than a check has room for");
    } else if (result->end == CHECKER_GARBLED) {
        snprintf(dst, dst_bytes, "it wrote into the check's answer");
    } else if (name != NULL) {
        snprintf(dst, dst_bytes, "it was ended by SIG%s", name);
    } else {
        snprintf(dst, dst_bytes, "it ended the process with exit code %d",
                WEXITSTATUS(result->status));
    }
}

/* A checker that did not answer is a mistake of the configuration, which named the module. */
static void
report_end(const struct checker_result *result, const struct config_value *document,
        struct diagnostics *diagnostics)
{
    char how[128];
    const struct checker_page *page = &result->page;
    const struct config_value *at = site_find_module(document, weir_str_from(page->module));
    describe_end(result, how, sizeof(how));
    if (at != NULL) {
        struct diagnostic *d = config_mistake(diagnostics, DIAGNOSTIC_MODULE_FAILED, at,
                "module \"%s\" does not survive a check (%s)", page->module, page->step);
        diagnostic_note(d, "%s", how);
        diagnostic_hint(d, "take it out, or ask whoever wrote it");
    } else {
        diagnostics_add(diagnostics, DIAGNOSTIC_MODULE_FAILED, NULL,
                "the check of this configuration does not come to its end: %s", how);
    }
}

/* What a checker that has ended tells us. Returns 0, or a negative errno: -EINVAL when `code`
 * says why. */
static int
take_result(const struct checker_result *result, const struct config_value *document,
        struct plan *plan, struct diagnostics *diagnostics, struct buf *report, int *code)
{
    switch (result->end) {
    case CHECKER_ANSWERED:
        *code = result->said.code;
        if (buf_append(report, result->said.report) < 0) {
            return -ENOMEM;
        }
        if (*code == EXIT_OK) {
            return plan_wire_read(result->said.plan, document, plan);
        }
        return -EINVAL;
    case CHECKER_REFUSED:
        *code = result->code == EXIT_PERMISSION || result->code == EXIT_CONFIGURATION
                ? result->code
                : EXIT_SYSTEM;
        if (result->page.error > 0 || result->code > EXIT_CONFIGURATION) {
            (void)!buf_printf(report, "weir: the checker could not be started: %s\n",
                    result->page.error > 0 ? strerrordesc_np(result->page.error)
                                           : "it ended at once");
        }
        return -EINVAL;
    case CHECKER_BROKEN:
        return result->error;
    case CHECKER_DIED:
    case CHECKER_HUNG:
    case CHECKER_FLOODED:
    case CHECKER_GARBLED:
        *code = EXIT_CONFIGURATION;
        report_end(result, document, diagnostics);
        return -EINVAL;
    }
    return -EPROTO;
}

/* Reports the mistakes of the text itself. */
static int
report_text(struct diagnostics *diagnostics, bool color, struct buf *report)
{
    return diagnostics_print(diagnostics, DIAGNOSTIC_TEXT, color, report) < 0
            ? EXIT_SYSTEM
            : EXIT_CONFIGURATION;
}

/* `r` is a negative errno. */
static int
report_system(struct buf *report, int r)
{
    (void)!buf_printf(report, "weir: the configuration cannot be checked: %s%s\n",
            r == -EPROTO ? "the checker's answer does not fit the text" : strerrordesc_np(-r),
            hint_of(-r));
    return EXIT_SYSTEM;
}

static int
conclude(struct plan_making *making, const struct checker_result *result)
{
    int code = EXIT_SYSTEM;
    struct plan *plan = making->plan;
    struct buf *report = making->order.report;
    struct diagnostics *diagnostics = diagnostics_new();
    int r = diagnostics == NULL
            ? -ENOMEM
            : take_result(result, making->document, plan, diagnostics, report, &code);
    if (r == -EINVAL &&
            diagnostics_print(diagnostics, DIAGNOSTIC_TEXT, making->order.color, report) < 0) {
        r = -ENOMEM;
    }
    if (result->end != CHECKER_ANSWERED || code != EXIT_OK) {
        add_output(result, report);
    }
    diagnostics_free(diagnostics);
    if (r == 0 && making->has_mistakes) {
        r = -EPROTO;
    }
    return r == 0 || r == -EINVAL ? code : report_system(report, r);
}

static void
on_checked(void *context, const struct checker_result *result)
{
    struct plan_making *making = context;
    const struct plan_order order = making->order;
    int code = conclude(making, result);
    struct plan *plan = code == EXIT_OK ? making->plan : NULL;
    making->plan = code == EXIT_OK ? NULL : making->plan;
    plan_cancel(making);
    order.done(order.context, code, plan);
}

int
plan_begin(const struct plan_order *order, struct plan_making **out)
{
    int code = EXIT_SYSTEM;
    struct plan_making *making = calloc(1, sizeof(*making));
    struct plan *plan = making == NULL ? NULL : plan_new();
    struct diagnostics *diagnostics = diagnostics_new();
    int r = plan == NULL || diagnostics == NULL ? -ENOMEM : 0;
    if (making != NULL) {
        making->order = *order;
        making->plan = plan;
    }
    r = r < 0 ? r : read_text(order->file, plan, diagnostics, &making->document);
    if (r == -EINVAL && making->document == NULL) {
        code = report_text(diagnostics, order->color, order->report);
    } else if (r == 0 || r == -EINVAL) {
        making->has_mistakes = r < 0;
        const struct checker_job job = { .program = order->program,
            .sources_fd = plan->sources_fd,
            .user = plan->workers.user,
            .group = plan->workers.group,
            .color = order->color,
            .deadline_ns = CHECKER_DEADLINE_NS };
        r = checker_start(order->loop, &job, on_checked, making, &making->checker);
    }
    diagnostics_free(diagnostics);
    if (r == 0) {
        *out = making;
        return EXIT_OK;
    }
    plan_cancel(making);
    return r == -EINVAL ? code : report_system(order->report, r);
}

void
plan_cancel(struct plan_making *making)
{
    if (making != NULL) {
        checker_free(making->checker);
        plan_free(making->plan);
        free(making);
    }
}

bool
plan_reap(struct plan_making *making, pid_t pid)
{
    return making != NULL && checker_reap(making->checker, pid);
}
