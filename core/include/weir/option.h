/* SPDX-License-Identifier: MIT */
/* Options: how a handler says what may be configured. */
#ifndef WEIR_OPTION_H
#define WEIR_OPTION_H

#include <stdint.h>

#include <weir/api.h>
#include <weir/str.h>

WEIR_BEGIN_DECLS

struct weir_option;
struct weir_conf_report;

struct weir_options {
    const struct weir_option *items;
    uint32_t count, item_bytes, conf_bytes;
};

WEIR_END_DECLS

#endif
