/* SPDX-License-Identifier: MIT */
/* How long an answer of DNS holds (RFC 1035 section 4.1): for records whose time the library
 * does not tell. Pure; any thread. */
#ifndef WEIR_NET_DNS_ANSWER_H
#define WEIR_NET_DNS_ANSWER_H

#include <stddef.h>
#include <stdint.h>

/* The shortest time of the records in the section of answers, in seconds; 0 when there are
 * none, or the message is broken anywhere before their end. A time with the topmost bit set is
 * 0 (RFC 2181 section 8). */
uint32_t dns_answer_ttl(const unsigned char *message, size_t len);

#endif
