/* SPDX-License-Identifier: MIT */
/* A configuration as one document: the main file, the files it includes, and what strings take
 * from the environment, put together as CONFIG.md says ("Shape"). */
#ifndef WEIR_CONFIG_DOCUMENT_H
#define WEIR_CONFIG_DOCUMENT_H

#include "config/intake.h"
#include "config/value.h"

/* How many files one configuration may have. */
#define DOCUMENT_MAX_FILES 1000

/* Reads `path` and what it includes, through `intake`, into `arena`, which also holds the
 * sources until its end. Mistakes go to `diagnostics`. Returns 0 and sets *out, also when there
 * were mistakes that leave something to look at; -EINVAL when there is nothing; -ENOMEM. */
WEIR_MUST_USE int document_load(struct intake *intake, const char *path, struct arena *arena,
        struct diagnostics *diagnostics, const struct config_value **out);

/* The same for one text instead of a main file, with the system's answers; `name` gives it a
 * place for relative paths. */
WEIR_MUST_USE int document_load_text(const char *name, struct weir_str text,
        struct arena *arena, struct diagnostics *diagnostics, const struct config_value **out);

#endif
