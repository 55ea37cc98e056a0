/* SPDX-License-Identifier: MIT */
/* Questions about normalised paths. */
#include "static.h"

bool
static_path_strip(struct weir_str path, struct weir_str prefix, struct weir_str *out)
{
    while (prefix.len > 0 && prefix.ptr[prefix.len - 1] == '/') {
        prefix.len--;
    }
    if (!weir_str_starts_with(path, prefix)) {
        return false;
    }
    struct weir_str rest = weir_str_make(path.ptr + prefix.len, path.len - prefix.len);
    if (rest.len > 0 && rest.ptr[0] != '/') {
        return false; /* /www is no prefix of /www-secret */
    }
    *out = rest;
    return true;
}

bool
static_path_is_hidden(struct weir_str path)
{
    for (size_t i = 0; i + 1 < path.len; i++) {
        if (path.ptr[i] != '/' || path.ptr[i + 1] != '.') {
            continue;
        }
        struct weir_str rest = weir_str_make(path.ptr + i + 1, path.len - i - 1);
        bool is_well_known = i == 0 && weir_str_starts_with(rest, WEIR_STR(".well-known")) &&
                (rest.len == 11 || rest.ptr[11] == '/');
        if (!is_well_known) {
            return true;
        }
    }
    return false;
}

bool
static_path_names_file(struct weir_str path)
{
    for (size_t i = path.len; i > 0 && path.ptr[i - 1] != '/'; i--) {
        if (path.ptr[i - 1] == '.') {
            return true;
        }
    }
    return false;
}
