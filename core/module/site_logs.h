/* SPDX-License-Identifier: MIT */
/* Which files the modules write logs to: the master opens them, whose rights suffice. */
#ifndef WEIR_MODULE_SITE_LOGS_H
#define WEIR_MODULE_SITE_LOGS_H

#include "module/site.h"

/* Finds all values of options of type WEIR_TYPE_LOG in the site's filled options, and sets
 * site->log_files. Returns 0 or -ENOMEM. */
WEIR_MUST_USE int site_find_logs(struct site *site);

#endif
