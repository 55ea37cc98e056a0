/* SPDX-License-Identifier: MIT */
/* The authority that a request names, in Host or in its target (RFC 9110 section 7.2, RFC 3986
 * section 3.2): checked, split into name and port, compared. Pure functions; any thread.
 *
 * Narrower than the grammar where the wider reading helps nobody but an attacker: no userinfo,
 * no empty host (an http URI has none, RFC 9110 section 4.2.1, hence no empty Host either), no
 * percent-encoding and no empty label (a second spelling of a name), no IPv6 zone and no
 * IPvFuture, at most 255 bytes. A trailing dot and an empty port are read and dropped. */
#ifndef WEIR_HTTP_HOST_H
#define WEIR_HTTP_HOST_H

#include <stdint.h>

#include <weir/str.h>

/* Longest name, also after host_name(). */
#define HOST_NAME_BYTES 255

enum host_kind {
    HOST_NAME,
    HOST_IPV4,
    HOST_IPV6
};

struct host {
    struct weir_str raw_name; /* as sent, without brackets; borrowed from the parsed text */
    enum host_kind kind;
    bool is_canonical; /* raw_name is what host_name() would answer */
    bool has_port;     /* digits were given */
    uint16_t port;     /* 0 when has_port is false */
};

/* Reads `name`, `name:port`, `[v6]`, `[v6]:port`. Returns 0; -EINVAL (answer 400), also for an
 * empty text. */
WEIR_MUST_USE int host_parse(struct weir_str text, struct host *out);

/* The spelling under which names are looked up and compared: lower case, no trailing dot, an
 * IPv6 address as RFC 5952 writes it, without brackets. The raw name itself when it is already
 * so, else written to `dst`, which holds HOST_NAME_BYTES bytes. */
struct weir_str host_name(const struct host *host, char *dst);

/* The same name, whatever the case and the port. */
bool host_eq(const struct host *a, const struct host *b);

#endif
