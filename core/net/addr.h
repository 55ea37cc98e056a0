/* SPDX-License-Identifier: MIT */
/* Socket addresses as the configuration spells them: ":8080", "127.0.0.1:8080", "[::1]:8080",
 * "unix:/run/weir/web.sock", "@abstract" (CONFIG.md, `listen`). Any thread. */
#ifndef WEIR_NET_ADDR_H
#define WEIR_NET_ADDR_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <weir/str.h>

struct addr {
    socklen_t len; /* of the member in use; 0: none */
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
};

/* A peer's address and port in 20 bytes, for connections and requests to carry. */
struct addr_ip {
    uint16_t family; /* AF_INET, AF_INET6 or AF_UNIX */
    uint16_t port;
    uint8_t bytes[16]; /* network order; IPv4 in the first four */
};

/* An IPv4 address mapped into IPv6 becomes IPv4. */
struct addr_ip addr_to_ip(const struct addr *addr);

/* Reads an address as it stands in fields: IPv4 or IPv6, the latter with or without brackets, a
 * port allowed behind IPv4 and brackets. Returns 0; -EINVAL, when *out is as it was. */
WEIR_MUST_USE int addr_ip_parse(struct weir_str text, struct addr_ip *out);

/* The address without its port, as addr_format_ip(); ADDR_TEXT_BYTES. */
size_t addr_ip_format(const struct addr_ip *ip, char *dst);

/* Longest text of addr_format(). */
#define ADDR_TEXT_BYTES 128

/* Reads one address; no names are looked up. ":8080" is [::]:8080, which listener.c makes serve
 * both IP versions. Returns 0; -EINVAL, and *why (may be NULL) is a constant text that says
 * what is wrong. */
WEIR_MUST_USE int addr_parse(struct weir_str text, struct addr *out, const char **why);

/* Writes the address, terminated, cut at ADDR_TEXT_BYTES; an IPv4 address mapped into IPv6 is
 * written as IPv4. Returns the bytes without the terminator. */
size_t addr_format(const struct addr *addr, char *dst);

/* The same without the port: for logs and {client.ip}. Empty for a Unix socket. */
size_t addr_format_ip(const struct addr *addr, char *dst);

/* 0 for Unix sockets. */
uint16_t addr_port(const struct addr *addr);

bool addr_eq(const struct addr *a, const struct addr *b);

#endif
