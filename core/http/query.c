/* SPDX-License-Identifier: MIT */
/* Taking queries apart. */
#include "http/query.h"

#include "base/num.h"

bool
query_next(struct weir_str *rest, struct query_param *out)
{
    while (rest->len > 0) {
        const char *end = memchr(rest->ptr, '&', rest->len);
        struct weir_str part = weir_str_make(rest->ptr,
                end == NULL ? rest->len : (size_t)(end - rest->ptr));
        size_t taken = end == NULL ? part.len : part.len + 1;
        rest->ptr += taken;
        rest->len -= taken;
        if (part.len == 0) {
            continue;
        }
        const char *equals = memchr(part.ptr, '=', part.len);
        size_t name_len = equals == NULL ? part.len : (size_t)(equals - part.ptr);
        size_t value_at = equals == NULL ? part.len : name_len + 1;
        *out = (struct query_param){
            .raw_name = weir_str_make(part.ptr, name_len),
            .raw_value = weir_str_make(part.ptr + value_at, part.len - value_at),
            .has_value = equals != NULL,
        };
        return true;
    }
    return false;
}

/* Takes one decoded byte off the front of *raw, which is not empty. */
static char
take_byte(struct weir_str *raw)
{
    char c = raw->ptr[0];
    size_t taken = 1;
    if (c == '+') {
        c = ' ';
    } else if (c == '%' && raw->len >= 3) {
        int high = num_hex_digit(raw->ptr[1]), low = num_hex_digit(raw->ptr[2]);
        if (high >= 0 && low >= 0) {
            c = (char)(high << 4 | low);
            taken = 3;
        }
    }
    raw->ptr += taken;
    raw->len -= taken;
    return c;
}

size_t
query_decode(struct weir_str raw, char *dst)
{
    size_t len = 0;
    while (raw.len > 0) {
        dst[len++] = take_byte(&raw);
    }
    return len;
}

/* Whether `raw` decodes to `text`, without a buffer. */
static bool
decodes_to(struct weir_str raw, struct weir_str text)
{
    size_t len = 0;
    while (raw.len > 0) {
        char c = take_byte(&raw);
        if (len == text.len || text.ptr[len] != c) {
            return false;
        }
        len++;
    }
    return len == text.len;
}

bool
query_find(struct weir_str query, struct weir_str name, struct weir_str *raw_value)
{
    struct query_param param;
    while (query_next(&query, &param)) {
        if (decodes_to(param.raw_name, name)) {
            *raw_value = param.raw_value;
            return true;
        }
    }
    return false;
}
