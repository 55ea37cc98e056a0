/* SPDX-License-Identifier: MIT */
/* Growable bytes with a ceiling. */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

#define BUF_MIN_BYTES 256u

void
buf_init(struct buf *buf, size_t ceiling_bytes)
{
    *buf = (struct buf){ .ceiling_bytes = ceiling_bytes };
}

void
buf_fini(struct buf *buf)
{
    free(buf->memory);
    buf_init(buf, buf->ceiling_bytes);
}

struct weir_str
buf_str(const struct buf *buf)
{
    return buf->memory == NULL ? weir_str_make("", 0)
                               : weir_str_make(buf->memory + buf->start, buf->end - buf->start);
}

int
buf_reserve(struct buf *buf, size_t bytes, char **dst)
{
    size_t used = buf->end - buf->start;
    if (bytes > buf->ceiling_bytes || used > buf->ceiling_bytes - bytes) {
        return -ENOBUFS;
    }
    if (bytes > buf->capacity_bytes - buf->end && buf->start > 0) {
        memmove(buf->memory, buf->memory + buf->start, used);
        buf->start = 0;
        buf->end = used;
    }
    if (bytes > buf->capacity_bytes - buf->end) {
        size_t capacity = buf->capacity_bytes < BUF_MIN_BYTES ? BUF_MIN_BYTES
                                                              : buf->capacity_bytes;
        while (capacity - used < bytes) {
            capacity = capacity > buf->ceiling_bytes / 2 ? buf->ceiling_bytes : capacity * 2;
        }
        char *memory = realloc(buf->memory, capacity);
        if (memory == NULL) {
            return -ENOMEM;
        }
        buf->memory = memory;
        buf->capacity_bytes = capacity;
    }
    *dst = buf->memory + buf->end;
    return 0;
}

void
buf_commit(struct buf *buf, size_t bytes)
{
    WEIR_ASSERT(bytes <= buf->capacity_bytes - buf->end);
    buf->end += bytes;
}

int
buf_append(struct buf *buf, struct weir_str bytes)
{
    if (bytes.len == 0) {
        return 0;
    }
    char *dst;
    int r = buf_reserve(buf, bytes.len, &dst);
    if (r == 0) {
        memcpy(dst, bytes.ptr, bytes.len);
        buf_commit(buf, bytes.len);
    }
    return r;
}

int
buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *dst;
    int r = len < 0 ? -EINVAL : buf_reserve(buf, (size_t)len + 1, &dst);
    if (r == 0) {
        vsnprintf(dst, (size_t)len + 1, format, again);
        buf_commit(buf, (size_t)len);
    }
    va_end(again);
    return r;
}

void
buf_consume(struct buf *buf, size_t bytes)
{
    WEIR_ASSERT(bytes <= buf->end - buf->start);
    buf->start += bytes;
    if (buf->start == buf->end) {
        buf->start = buf->end = 0;
    }
}
