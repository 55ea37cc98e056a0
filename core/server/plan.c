/* SPDX-License-Identifier: MIT */
/* The master's half: what it reads of a configuration by itself, and what it takes from the
 * checker's answer. */
#include "server/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "config/document.h"
#include "config/intake.h"
#include "server/exit.h"
#include "server/plan_wire.h"

#define ARENA_MAX_BYTES ((size_t)512 << 20)

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
    }
    return r;
}

static int
check(struct plan *plan, const struct config_value *document, struct diagnostics *diagnostics)
{
    struct site *site = NULL;
    struct buf wire;
    buf_init(&wire, PLAN_WIRE_MAX_BYTES);
    int r = site_load_bundle(plan->sources_fd, diagnostics, &site);
    r = r < 0 ? r : plan_wire_write(site, &wire);
    r = r < 0 ? r : plan_wire_read(buf_str(&wire), document, plan);
    site_free(site);
    buf_fini(&wire);
    return r;
}

int
plan_make(const char *file, bool color, struct buf *report, struct plan **out)
{
    const struct config_value *document = NULL;
    struct plan *plan = plan_new();
    struct diagnostics *diagnostics = diagnostics_new();
    int r = plan == NULL || diagnostics == NULL ? -ENOMEM : 0;
    r = r < 0 ? r : read_text(file, plan, diagnostics, &document);
    if (r == 0) {
        diagnostics_free(diagnostics);
        diagnostics = diagnostics_new();
        r = diagnostics == NULL ? -ENOMEM : check(plan, document, diagnostics);
    }
    if (diagnostics != NULL && r != -ENOMEM) {
        (void)!diagnostics_print(diagnostics, DIAGNOSTIC_TEXT, color, report);
    }
    diagnostics_free(diagnostics);
    if (r == 0) {
        *out = plan;
        return EXIT_OK;
    }
    plan_free(plan);
    return r == -EINVAL ? EXIT_CONFIGURATION : EXIT_SYSTEM;
}
