/* SPDX-License-Identifier: MIT */
/* Authorities: checking, splitting, the canonical spelling. */
#include "http/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>

#include "base/num.h"

/* RFC 3986 section 2.3: unreserved. */
static const bool name_bytes[256] = {
    ['-'] = true,
    ['.'] = true,
    ['0' ... '9'] = true,
    ['A' ... 'Z'] = true,
    ['_'] = true,
    ['a' ... 'z'] = true,
    ['~'] = true,
};

static bool
is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

/* Four decimal numbers up to 255 without leading zeros, as inet_pton() has them. */
static bool
is_dotted_quad(struct weir_str text)
{
    unsigned parts = 1, value = 0, digits = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '.') {
            if (digits == 0 || ++parts > 4) {
                return false;
            }
            value = digits = 0;
            continue;
        }
        if (c < '0' || c > '9' || (digits > 0 && value == 0)) {
            return false;
        }
        value = value * 10 + (unsigned)(c - '0');
        if (++digits > 3 || value > 255) {
            return false;
        }
    }
    return parts == 4 && digits > 0;
}

static bool
read_v6(struct weir_str text, struct in6_addr *address)
{
    char copy[INET6_ADDRSTRLEN];
    return weir_str_to_path(text, copy, sizeof(copy)) == 0 &&
            inet_pton(AF_INET6, copy, address) == 1;
}

/* Writes the address as RFC 5952 has it; returns its length. */
static size_t
format_v6(struct weir_str text, char dst[INET6_ADDRSTRLEN])
{
    struct in6_addr address;
    if (!read_v6(text, &address) ||
            inet_ntop(AF_INET6, &address, dst, INET6_ADDRSTRLEN) == NULL) {
        return 0;
    }
    return strlen(dst);
}

static int
parse_v6(struct weir_str name, struct host *host)
{
    char canonical[INET6_ADDRSTRLEN];
    size_t len = format_v6(name, canonical);
    if (len == 0) {
        return -EINVAL;
    }
    host->raw_name = name;
    host->kind = HOST_IPV6;
    host->is_canonical = weir_str_eq(name, weir_str_make(canonical, len));
    return 0;
}

static int
parse_name(struct weir_str name, struct host *host)
{
    if (name.len == 0 || name.len > HOST_NAME_BYTES || name.ptr[0] == '.') {
        return -EINVAL;
    }
    bool has_upper = false;
    for (size_t i = 0; i < name.len; i++) {
        if (!name_bytes[(unsigned char)name.ptr[i]]) {
            return -EINVAL;
        }
        if (name.ptr[i] == '.' && i > 0 && name.ptr[i - 1] == '.') {
            return -EINVAL; /* an empty label */
        }
        has_upper = has_upper || is_upper(name.ptr[i]);
    }
    bool has_dot = name.ptr[name.len - 1] == '.';
    bool is_v4 = name.ptr[0] <= '9' &&
            is_dotted_quad(weir_str_make(name.ptr, name.len - has_dot));

    host->raw_name = name;
    host->kind = is_v4 ? HOST_IPV4 : HOST_NAME;
    host->is_canonical = !has_upper && !has_dot;
    return 0;
}

/* What follows the name: nothing, or a colon and a port that may be empty (RFC 3986 3.2.3). */
static int
parse_port(struct weir_str text, struct host *host)
{
    if (text.len <= 1) {
        return text.len == 0 || text.ptr[0] == ':' ? 0 : -EINVAL;
    }
    uint64_t port;
    if (text.ptr[0] != ':' ||
            num_parse_u64(weir_str_make(text.ptr + 1, text.len - 1), UINT16_MAX, &port) != 0) {
        return -EINVAL;
    }
    host->port = (uint16_t)port;
    host->has_port = true;
    return 0;
}

int
host_parse(struct weir_str text, struct host *out)
{
    struct host host = { .has_port = false };
    if (text.len == 0) {
        return -EINVAL;
    }
    bool has_bracket = text.ptr[0] == '[';
    const char *end = memchr(text.ptr, has_bracket ? ']' : ':', text.len);
    if (end == NULL && has_bracket) {
        return -EINVAL;
    }
    size_t len = end == NULL ? text.len : (size_t)(end - text.ptr);
    int r = has_bracket ? parse_v6(weir_str_make(text.ptr + 1, len - 1), &host)
                        : parse_name(weir_str_make(text.ptr, len), &host);
    if (r != 0) {
        return r;
    }
    len += has_bracket; /* the closing one */
    r = parse_port(weir_str_make(text.ptr + len, text.len - len), &host);
    if (r != 0) {
        return r;
    }
    *out = host;
    return 0;
}

struct weir_str
host_name(const struct host *host, char *dst)
{
    if (host->is_canonical) {
        return host->raw_name;
    }
    if (host->kind == HOST_IPV6) {
        char text[INET6_ADDRSTRLEN];
        size_t len = format_v6(host->raw_name, text);
        memcpy(dst, text, len);
        return weir_str_make(dst, len);
    }
    size_t len = host->raw_name.len;
    if (host->raw_name.ptr[len - 1] == '.') {
        len--;
    }
    for (size_t i = 0; i < len; i++) {
        char c = host->raw_name.ptr[i];
        dst[i] = is_upper(c) ? (char)(c | 0x20) : c;
    }
    return weir_str_make(dst, len);
}

bool
host_eq(const struct host *a, const struct host *b)
{
    char a_name[HOST_NAME_BYTES], b_name[HOST_NAME_BYTES];
    return a->kind == b->kind && weir_str_eq(host_name(a, a_name), host_name(b, b_name));
}
