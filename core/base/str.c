/* SPDX-License-Identifier: MIT */
/* Slices of text: comparing, trimming, splitting. No locale is asked. */
#include <errno.h>

#include <weir/str.h>

static unsigned char
fold(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 'A' && u <= 'Z' ? (unsigned char)(u | 0x20) : u;
}

bool
weir_str_eq_icase(struct weir_str a, struct weir_str b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (fold(a.ptr[i]) != fold(b.ptr[i])) {
            return false;
        }
    }
    return true;
}

int
weir_str_compare(struct weir_str a, struct weir_str b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common == 0 ? 0 : memcmp(a.ptr, b.ptr, common);
    if (order != 0) {
        return order;
    }
    return (a.len > b.len) - (a.len < b.len);
}

struct weir_str
weir_str_trim(struct weir_str s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

bool
weir_str_split(struct weir_str *rest, char separator, struct weir_str *part)
{
    /* A NULL pointer says that the last part has been taken. */
    if (rest->ptr == NULL) {
        return false;
    }
    const char *end = rest->len == 0 ? NULL : memchr(rest->ptr, separator, rest->len);
    if (end == NULL) {
        *part = weir_str_trim(*rest);
        *rest = weir_str_make(NULL, 0);
        return true;
    }
    size_t taken = (size_t)(end - rest->ptr);
    *part = weir_str_trim(weir_str_make(rest->ptr, taken));
    rest->ptr += taken + 1;
    rest->len -= taken + 1;
    return true;
}

bool
weir_str_list_has(struct weir_str list, struct weir_str token)
{
    struct weir_str part;
    while (weir_str_split(&list, ',', &part)) {
        if (weir_str_eq_icase(part, token)) {
            return true;
        }
    }
    return false;
}

bool
weir_str_is_token(struct weir_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool is_alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                (c >= 'A' && c <= 'Z');
        if (!is_alnum && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL)) {
            return false;
        }
    }
    return s.len > 0;
}

int
weir_str_to_path(struct weir_str s, char *dst, size_t dst_bytes)
{
    if (s.len >= dst_bytes) {
        return -ENAMETOOLONG;
    }
    if (s.len > 0 && memchr(s.ptr, '\0', s.len) != NULL) {
        return -EINVAL;
    }
    if (s.len > 0) {
        memcpy(dst, s.ptr, s.len);
    }
    dst[s.len] = '\0';
    return 0;
}
