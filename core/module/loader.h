/* SPDX-License-Identifier: MIT */
/* Where module tables come from: shared objects in the module directory, or tables that the
 * program registered (tests, the testkit, a Python host). The only user of libdl. Nothing that
 * was loaded is ever unloaded; the list is the process's. Thread: one, while starting. */
#ifndef WEIR_MODULE_LOADER_H
#define WEIR_MODULE_LOADER_H

#include <weir/module.h>

#include "config/schema.h"

/* Room for what is wrong with a module and what to do. */
struct loader_mistake {
    char message[256]; /* what was found */
    char note[512];    /* what was expected, or what the system said; may be empty */
    char hint[256];    /* what to do; may be empty */
};

/* Makes `module`, which lives for ever, available under its name, before any file. Returns 0;
 * -EINVAL and *mistake (may be NULL) when the table is damaged; -EEXIST; -ENOMEM. */
WEIR_MUST_USE int loader_register(const struct weir_module *module,
        struct loader_mistake *mistake);

/* The module `name` (NULL: whatever its name); from `path` when that is not NULL (absolute),
 * else a registered one, else NAME.so in the module directory. Its table is checked, and
 * brought to the size this build knows. Returns 0; -ENOENT when there is no such module;
 * -EINVAL and *mistake when it does not fit; -ENOMEM. */
WEIR_MUST_USE int loader_open(const char *name, const char *path,
        const struct weir_module **out, struct loader_mistake *mistake);

/* Compares the file that loader_open(name, path) would load with `sha256`, 64 hexadecimal
 * digits of either case. Call it before: what a file may do when it is loaded cannot be undone.
 * Returns 0; -ENOENT when there is no such file; -EINVAL and *mistake when it is another file,
 * or the module is part of the program. */
WEIR_MUST_USE int loader_verify(const char *name, const char *path, struct weir_str sha256,
        struct loader_mistake *mistake);

/* Called before a module is given control while the configuration is read, and after it came
 * back (`module` NULL): what ends the process in between is its doing. `step` is "load", "init"
 * or "conf_check". NULL: nobody is told. */
typedef void loader_step_fn(const char *module, const char *step);
void loader_watch(loader_step_fn *fn);
void loader_step(const char *module, const char *step);

/* Refuses files that everybody may write to, as it is done for root anyway: for a process that
 * root has started with fewer rights. */
void loader_serve_root(void);

/* True when loader_open(name, NULL) would find something. Loads nothing. */
bool loader_is_installed(const char *name);

/* Runs module->init once a process, with its filled options. Returns what it returned the first
 * time. */
WEIR_MUST_USE int loader_init(const struct weir_module *module, const void *options,
        struct weir_conf_report *report);

/* Calls `each` with the name of every registered and installed module, sorted, each once. */
typedef void loader_name_fn(void *context, const char *name);
WEIR_MUST_USE int loader_names(loader_name_fn *each, void *context); /* 0 or -ENOMEM */

/* Where modules are looked for: WEIR_MODULE_DIR of the environment (not when privileges were
 * gained by exec), else where this build installs them. */
const char *loader_directory(void);

/* A name that a module or handler may have: letters, digits, _ and -. */
#define LOADER_NAME_MAX 64
bool loader_is_name(struct weir_str name);

#endif
