/* SPDX-License-Identifier: MIT */
/* What a module's own check has to say, shown in its place in the file. */
#include <stdio.h>
#include <stdlib.h>

#include "config/schema.h"

/* Follows "response.set[2]" from the merged object as far as it goes. */
static const struct config_value *
follow(const struct config_value *value, const char *path)
{
    while (value != NULL && *path != '\0') {
        const struct config_value *next = NULL;
        if (*path == '.') {
            path++;
        } else if (*path == '[') {
            char *end;
            unsigned long index = strtoul(path + 1, &end, 10);
            if (value->kind == CONFIG_LIST && *end == ']' && index < value->count) {
                next = value->items[index];
            }
            if (next == NULL) {
                return value;
            }
            value = next;
            path = end + 1;
        } else {
            size_t len = strcspn(path, ".[");
            next = config_find(value, weir_str_make(path, len));
            if (next == NULL) {
                return value;
            }
            value = next;
            path += len;
        }
    }
    return value;
}

static struct diagnostic *module_says(struct weir_conf_report *report, const char *option,
        const char *format, va_list arguments) WEIR_PRINTF(3, 0);
static struct diagnostic *
module_says(struct weir_conf_report *report, const char *option, const char *format,
        va_list arguments)
{
    char text[512];
    const struct config_value *at = report->where;
    if (option != NULL && option[0] != '\0' && report->object != NULL) {
        at = follow(report->object, option);
        at = at == report->object ? report->where : at;
    }
    vsnprintf(text, sizeof(text), format, arguments);
    if (at == NULL) {
        return diagnostics_add(report->diagnostics, DIAGNOSTIC_MODULE_SAYS, NULL, "%s: %s",
                report->who, text);
    }
    bool at_key = at == report->where && at->key.ptr != NULL;
    struct diagnostic *d = at_key
            ? config_key_mistake(report->diagnostics, DIAGNOSTIC_MODULE_SAYS, at, "%s", text)
            : config_mistake(report->diagnostics, DIAGNOSTIC_MODULE_SAYS, at, "%s", text);
    diagnostic_more(d, "says module %s", report->who);
    return d;
}

void
weir_conf_error(struct weir_conf_report *report, const char *option, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    module_says(report, option, format, arguments);
    va_end(arguments);
    report->has_failed = true;
}

void
weir_conf_warning(struct weir_conf_report *report, const char *option, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    diagnostic_warn(module_says(report, option, format, arguments));
    va_end(arguments);
}
