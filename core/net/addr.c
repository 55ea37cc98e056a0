/* SPDX-License-Identifier: MIT */
/* Parsing and formatting of socket addresses. */
#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "base/num.h"

static int
parse_unix(struct weir_str path, bool is_abstract, struct addr *out, const char **why)
{
    struct addr addr = { .len = 0 };
    addr.un.sun_family = AF_UNIX;
    if (path.len == 0) {
        *why = "the socket's name is empty";
        return -EINVAL;
    }
    /* An abstract name has a NUL in front and its length for an end, a path a NUL behind. */
    if (path.len + 1 > sizeof(addr.un.sun_path)) {
        *why = "the socket's name is longer than the 107 bytes that the system takes";
        return -EINVAL;
    }
    if (memchr(path.ptr, '\0', path.len) != NULL) {
        *why = "the socket's name holds a NUL byte";
        return -EINVAL;
    }
    memcpy(addr.un.sun_path + (is_abstract ? 1 : 0), path.ptr, path.len);
    addr.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
    *out = addr;
    return 0;
}

static int
parse_ip(struct weir_str host, uint16_t port, struct addr *out, const char **why)
{
    char text[INET6_ADDRSTRLEN];
    struct addr addr = { .len = 0 };
    bool is_bracketed = host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (is_bracketed) {
        host = weir_str_make(host.ptr + 1, host.len - 2);
    }
    if (host.len == 0 && !is_bracketed) {
        addr.in6.sin6_family = AF_INET6;
        addr.in6.sin6_port = htons(port);
        addr.len = sizeof(addr.in6);
    } else if (weir_str_to_path(host, text, sizeof(text)) < 0) {
        *why = "not an IP address";
        return -EINVAL;
    } else if (is_bracketed && inet_pton(AF_INET6, text, &addr.in6.sin6_addr) == 1) {
        addr.in6.sin6_family = AF_INET6;
        addr.in6.sin6_port = htons(port);
        addr.len = sizeof(addr.in6);
    } else if (!is_bracketed && inet_pton(AF_INET, text, &addr.in.sin_addr) == 1) {
        addr.in.sin_family = AF_INET;
        addr.in.sin_port = htons(port);
        addr.len = sizeof(addr.in);
    } else {
        *why = is_bracketed
                ? "not an IPv6 address"
                : "not an IPv4 address (names are not looked up; IPv6 needs brackets)";
        return -EINVAL;
    }
    *out = addr;
    return 0;
}

int
addr_parse(struct weir_str text, struct addr *out, const char **why)
{
    const char *unused;
    why = why == NULL ? &unused : why;
    if (weir_str_starts_with(text, WEIR_STR("unix:"))) {
        return parse_unix(weir_str_make(text.ptr + 5, text.len - 5), false, out, why);
    }
    if (text.len > 0 && text.ptr[0] == '@') {
        return parse_unix(weir_str_make(text.ptr + 1, text.len - 1), true, out, why);
    }
    const char *colon = text.len == 0 ? NULL : memrchr(text.ptr, ':', text.len);
    if (colon == NULL) {
        *why = "no port: write \":8080\", \"127.0.0.1:8080\", \"[::1]:8080\" or \"unix:/path\"";
        return -EINVAL;
    }
    size_t host_len = (size_t)(colon - text.ptr);
    uint64_t port;
    if (num_parse_u64(weir_str_make(colon + 1, text.len - host_len - 1), UINT16_MAX, &port) <
            0) {
        *why = "the port is not a number from 0 to 65535";
        return -EINVAL;
    }
    return parse_ip(weir_str_make(text.ptr, host_len), (uint16_t)port, out, why);
}

static bool
is_mapped_v4(const struct addr *addr)
{
    return addr->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&addr->in6.sin6_addr);
}

size_t
addr_format_ip(const struct addr *addr, char *dst)
{
    dst[0] = '\0';
    if (addr->len == 0) {
        return 0;
    }
    const char *text = NULL;
    if (addr->sa.sa_family == AF_INET) {
        text = inet_ntop(AF_INET, &addr->in.sin_addr, dst, ADDR_TEXT_BYTES);
    } else if (is_mapped_v4(addr)) {
        text = inet_ntop(AF_INET, &addr->in6.sin6_addr.s6_addr[12], dst, ADDR_TEXT_BYTES);
    } else if (addr->sa.sa_family == AF_INET6) {
        text = inet_ntop(AF_INET6, &addr->in6.sin6_addr, dst, ADDR_TEXT_BYTES);
    }
    return text == NULL ? 0 : strlen(text);
}

uint16_t
addr_port(const struct addr *addr)
{
    if (addr->len == 0) {
        return 0;
    }
    if (addr->sa.sa_family == AF_INET) {
        return ntohs(addr->in.sin_port);
    }
    return addr->sa.sa_family == AF_INET6 ? ntohs(addr->in6.sin6_port) : 0;
}

static size_t
format_unix(const struct addr *addr, char *dst)
{
    size_t header = offsetof(struct sockaddr_un, sun_path);
    if (addr->len <= header || (addr->len == header + 1 && addr->un.sun_path[0] == '\0')) {
        return (size_t)snprintf(dst, ADDR_TEXT_BYTES, "unix:");
    }
    const char *path = addr->un.sun_path;
    size_t len = addr->len - header;
    if (path[0] == '\0') {
        return (size_t)snprintf(dst, ADDR_TEXT_BYTES, "@%.*s", (int)len - 1, path + 1);
    }
    return (size_t)snprintf(dst, ADDR_TEXT_BYTES, "unix:%.*s", (int)strnlen(path, len), path);
}

size_t
addr_format(const struct addr *addr, char *dst)
{
    if (addr->len > 0 && addr->sa.sa_family == AF_UNIX) {
        return format_unix(addr, dst);
    }
    char ip[ADDR_TEXT_BYTES];
    bool has_brackets = addr->len > 0 && addr->sa.sa_family == AF_INET6 && !is_mapped_v4(addr);
    addr_format_ip(addr, ip);
    int len = snprintf(dst, ADDR_TEXT_BYTES, has_brackets ? "[%.64s]:%u" : "%.64s:%u", ip,
            (unsigned)addr_port(addr));
    return len < 0 ? 0 : (size_t)len;
}

bool
addr_eq(const struct addr *a, const struct addr *b)
{
    if (a->len != b->len || a->len == 0 || a->sa.sa_family != b->sa.sa_family) {
        return a->len == 0 && b->len == 0;
    }
    if (a->sa.sa_family == AF_INET) {
        return a->in.sin_port == b->in.sin_port &&
                a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
    }
    if (a->sa.sa_family == AF_INET6) {
        return a->in6.sin6_port == b->in6.sin6_port &&
                memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof(a->in6.sin6_addr)) == 0;
    }
    return memcmp(&a->un, &b->un, a->len) == 0;
}

struct addr_ip
addr_to_ip(const struct addr *addr)
{
    struct addr_ip ip = { .family = AF_UNIX };
    if (addr->len == 0 || addr->sa.sa_family == AF_UNIX) {
        return ip;
    }
    ip.port = addr_port(addr);
    if (addr->sa.sa_family == AF_INET) {
        ip.family = AF_INET;
        memcpy(ip.bytes, &addr->in.sin_addr, 4);
    } else if (is_mapped_v4(addr)) {
        ip.family = AF_INET;
        memcpy(ip.bytes, &addr->in6.sin6_addr.s6_addr[12], 4);
    } else {
        ip.family = AF_INET6;
        memcpy(ip.bytes, &addr->in6.sin6_addr, 16);
    }
    return ip;
}

/* inet_ntop() goes through printf, which a line of a log would feel. */
static size_t
format_v4(const unsigned char *bytes, char *dst)
{
    char *at = dst;
    for (int i = 0; i < 4; i++) {
        unsigned byte = bytes[i];
        if (byte >= 100) {
            *at++ = (char)('0' + byte / 100);
        }
        if (byte >= 10) {
            *at++ = (char)('0' + byte / 10 % 10);
        }
        *at++ = (char)('0' + byte % 10);
        *at++ = '.';
    }
    *--at = '\0';
    return (size_t)(at - dst);
}

size_t
addr_ip_format(const struct addr_ip *ip, char *dst)
{
    if (ip->family == AF_INET) {
        return format_v4(ip->bytes, dst);
    }
    dst[0] = '\0';
    if (ip->family == AF_UNIX ||
            inet_ntop(ip->family, ip->bytes, dst, ADDR_TEXT_BYTES) == NULL) {
        return 0;
    }
    return strlen(dst);
}

int
addr_ip_parse(struct weir_str text, struct addr_ip *out)
{
    struct weir_str ip = text, port = weir_str_make("", 0);
    bool is_bracketed = text.len > 0 && text.ptr[0] == '[';
    const char *end = text.len == 0 ? NULL
                                    : memchr(text.ptr, is_bracketed ? ']' : ':', text.len);
    bool is_bare_v6 = !is_bracketed && end != NULL &&
            memrchr(text.ptr, ':', text.len) != end; /* more than one colon */
    if (is_bracketed && end == NULL) {
        return -EINVAL;
    }
    if (is_bracketed) {
        ip = weir_str_make(text.ptr + 1, (size_t)(end - text.ptr) - 1);
        end++;
    } else if (end != NULL && !is_bare_v6) {
        ip = weir_str_make(text.ptr, (size_t)(end - text.ptr));
    }
    if (end != NULL && !is_bare_v6) {
        port = weir_str_make(end, text.len - (size_t)(end - text.ptr));
    }
    uint64_t number = 0;
    if (port.len > 0 &&
            (port.ptr[0] != ':' ||
                    num_parse_u64(weir_str_make(port.ptr + 1, port.len - 1), UINT16_MAX,
                            &number) < 0)) {
        return -EINVAL;
    }
    char copy[INET6_ADDRSTRLEN];
    struct addr addr = { .len = 0 };
    if (weir_str_to_path(ip, copy, sizeof(copy)) < 0) {
        return -EINVAL;
    }
    if ((is_bracketed || is_bare_v6) && inet_pton(AF_INET6, copy, &addr.in6.sin6_addr) == 1) {
        addr.in6.sin6_family = AF_INET6;
        addr.in6.sin6_port = htons((uint16_t)number);
        addr.len = sizeof(addr.in6);
    } else if (!is_bracketed && !is_bare_v6 &&
            inet_pton(AF_INET, copy, &addr.in.sin_addr) == 1) {
        addr.in.sin_family = AF_INET;
        addr.in.sin_port = htons((uint16_t)number);
        addr.len = sizeof(addr.in);
    } else {
        return -EINVAL;
    }
    *out = addr_to_ip(&addr);
    return 0;
}
