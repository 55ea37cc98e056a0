/* SPDX-License-Identifier: MIT */
/* The table of methods. */
#include "http/method.h"

static const struct {
    struct weir_str name;
    unsigned flags;
} methods[METHOD_COUNT] = { [METHOD_OTHER] = { WEIR_STR_INIT(""), 0 },
#define METHOD_ROW(id, name, flags) [METHOD_##id] = { WEIR_STR_INIT(name), flags },
    METHODS(METHOD_ROW)
#undef METHOD_ROW
};

enum method
method_parse(struct weir_str name)
{
    /* The commonest stand first. */
    for (enum method method = METHOD_GET; method < METHOD_COUNT; method++) {
        if (weir_str_eq(name, methods[method].name)) {
            return method;
        }
    }
    return METHOD_OTHER;
}

struct weir_str
method_name(enum method method)
{
    return methods[method].name;
}

unsigned
method_flags(enum method method)
{
    return methods[method].flags;
}
