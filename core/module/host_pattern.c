/* SPDX-License-Identifier: MIT */
/* The same parser and spelling as for the Host field, so that a name in the file and one on the
 * wire meet. */
#include "module/host_pattern.h"

#include <errno.h>

#include "http/host.h"

bool
host_pattern_matches(const struct host_pattern *pattern, struct weir_str host)
{
    if (!pattern->is_suffix) {
        return weir_str_eq(pattern->name, host);
    }
    return host.len > pattern->name.len &&
            memcmp(host.ptr + host.len - pattern->name.len, pattern->name.ptr,
                    pattern->name.len) == 0;
}

static struct diagnostic *
refuse(struct schema *schema, const struct config_value *value, const char *why)
{
    return config_mistake(schema->diagnostics, DIAGNOSTIC_HOST, value, "\"%.*s\" %s",
            (int)(value->string.len < 200 ? value->string.len : 200), value->string.ptr, why);
}

bool
host_pattern_read(struct schema *schema, const struct config_value *value,
        struct host_pattern *out)
{
    struct weir_str text;
    struct host host;
    char name[HOST_NAME_BYTES + 1];
    if (!schema_expect_string(schema, value, "a host", &text)) {
        return false;
    }
    if (weir_str_eq(text, WEIR_STR("*"))) {
        diagnostic_hint(refuse(schema, value, "is no host"),
                "leave \"host\" out to take every name");
        return false;
    }
    bool is_suffix = weir_str_starts_with(text, WEIR_STR("*."));
    if (is_suffix) {
        text = weir_str_make(text.ptr + 2, text.len - 2);
    }
    if (host_parse(text, &host) < 0 || (is_suffix && host.kind != HOST_NAME)) {
        struct diagnostic *d = refuse(schema, value, "is no host");
        if (text.len > 0 && memchr(text.ptr, '*', text.len) != NULL) {
            diagnostic_hint(d, "a star stands for whole labels at the front: *.example.com");
        } else if (memmem(text.ptr, text.len, "://", 3) != NULL) {
            diagnostic_hint(d, "leave out the scheme");
        } else {
            bool is_ascii = true;
            for (size_t i = 0; i < text.len; i++) {
                is_ascii = is_ascii && (unsigned char)text.ptr[i] < 0x80;
            }
            diagnostic_hint(d,
                    is_ascii ? "a name such as example.com, or an address"
                             : "write the name in its ASCII form: xn--...");
        }
        return false;
    }
    if (host.has_port) {
        diagnostic_hint(refuse(schema, value, "has a port"),
                "leave it out: \"listen\" says the port");
        return false;
    }
    struct weir_str canonical = host_name(&host, name + 1);
    if (is_suffix) {
        /* With the dot in front, so that one comparison of bytes decides. */
        memmove(name + 1, canonical.ptr, canonical.len);
        name[0] = '.';
        canonical = weir_str_make(name, canonical.len + 1);
    }
    *out = (struct host_pattern){ arena_copy(schema->arena, canonical), is_suffix };
    schema->no_memory |= out->name.ptr == NULL;
    return out->name.ptr != NULL;
}
