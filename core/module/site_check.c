/* SPDX-License-Identifier: MIT */
/* A key that is refused here has a table entry, so that it is read and merged like any other;
 * what has none yet is SCHEMA_NOT_IN_BUILD in site_tables.c. */
#include "module/site_check.h"

#include <errno.h>

#include "module/generation.h"

/* Reports the key `section`.`key` of the document. */
static void
refuse_key(const struct site *site, const char *section, const char *key, const char *why,
        struct diagnostics *diagnostics)
{
    const struct config_value *at = config_find_name(config_find_name(site->document, section),
            key);
    if (at == NULL) {
        return; /* a preset is never refused */
    }
    struct diagnostic *d = config_key_mistake(diagnostics, DIAGNOSTIC_NOT_IN_BUILD, at,
            "\"%s\" is not in this build", key);
    diagnostic_note(d, "%s", why);
    diagnostic_hint(d, "leave it out");
}

static void
check_abilities(const struct site *site, struct diagnostics *diagnostics)
{
    if (site->control.addr.len > 0 && site->control.addr.sa.sa_family != AF_UNIX) {
        refuse_key(site, "control", "listen",
                "the control socket knows who asks, and is a Unix socket: \"unix:/run/...\"",
                diagnostics);
    }
}

static void
check_numbers(const struct site *site, struct diagnostics *diagnostics)
{
    if (site->listeners_count > SITE_MAX_LISTENERS) {
        config_mistake(diagnostics, DIAGNOSTIC_RANGE,
                site->listeners[SITE_MAX_LISTENERS]->where,
                "this is one of %zu addresses; %d at most", site->listeners_count,
                SITE_MAX_LISTENERS);
    }
    if (site->log_files_count > SITE_MAX_LOG_FILES) {
        diagnostics_add(diagnostics, DIAGNOSTIC_RANGE, NULL,
                "the modules write to %zu log files; %d at most", site->log_files_count,
                SITE_MAX_LOG_FILES);
    }
}

/* Several loops call a module's hooks at the same time. */
static void
check_loops(const struct site *site, struct diagnostics *diagnostics)
{
    for (size_t i = 0; site->workers.loops > 1 && i < site->modules_count; i++) {
        const struct site_module *module = &site->modules[i];
        if ((module->module->flags & WEIR_MODULE_MANY_LOOPS) == 0) {
            struct diagnostic *d = config_mistake(diagnostics, DIAGNOSTIC_MODULE_REFUSED,
                    module->where,
                    "module \"%s\" does not say that it is safe with several event loops",
                    module->module->name);
            diagnostic_hint(d, "give \"workers\" more \"processes\" instead of \"loops\"");
        }
    }
}

int
site_check(const struct site *site, struct diagnostics *diagnostics)
{
    size_t before = diagnostics_errors(diagnostics);
    check_abilities(site, diagnostics);
    check_numbers(site, diagnostics);
    check_loops(site, diagnostics);
    int r = generation_check(site, diagnostics);
    if (r == -ENOMEM || diagnostics_is_incomplete(diagnostics)) {
        return -ENOMEM;
    }
    if (r < 0 && diagnostics_errors(diagnostics) == before) {
        diagnostics_add(diagnostics, DIAGNOSTIC_MEMORY, NULL,
                "the hooks of this configuration cannot be put in order: %s",
                strerrordesc_np(-r));
    }
    return diagnostics_errors(diagnostics) > before ? -EINVAL : 0;
}
