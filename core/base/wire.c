/* SPDX-License-Identifier: MIT */
#include "base/wire.h"

int
wire_put_u64(struct buf *out, uint64_t value)
{
    return buf_append(out, weir_str_make((const char *)&value, sizeof(value)));
}

int
wire_put_str(struct buf *out, struct weir_str text)
{
    int r = wire_put_u64(out, text.len);
    return r < 0 ? r : buf_append(out, text);
}

void
wire_init(struct wire *wire, struct weir_str bytes)
{
    wire->rest = bytes;
    wire->is_damaged = false;
}

static const char *
take(struct wire *wire, size_t bytes)
{
    if (wire->is_damaged || bytes > wire->rest.len) {
        wire->is_damaged = true;
        return NULL;
    }
    const char *taken = wire->rest.ptr;
    wire->rest = weir_str_make(taken + bytes, wire->rest.len - bytes);
    return taken;
}

uint64_t
wire_get_u64(struct wire *wire, uint64_t max)
{
    uint64_t value = 0;
    const char *taken = take(wire, sizeof(value));
    if (taken != NULL) {
        memcpy(&value, taken, sizeof(value)); /* not aligned */
    }
    if (value > max) {
        wire->is_damaged = true;
        return 0;
    }
    return value;
}

struct weir_str
wire_get_str(struct wire *wire, size_t max_bytes)
{
    size_t len = (size_t)wire_get_u64(wire, max_bytes);
    const char *taken = take(wire, len);
    return taken == NULL ? weir_str_make("", 0) : weir_str_make(taken, len);
}

bool
wire_is_complete(const struct wire *wire)
{
    return !wire->is_damaged && wire->rest.len == 0;
}
